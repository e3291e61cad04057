"""What was spent in total: the rows of `timing.measure`, summed up, beside the formulas of `cost`.

All functions take the tidy rows: task, shots, draw, way, query (`TEACHING`, or counted from 1),
right, seconds, processor_seconds, tokens, bytes. A `unit` is one of the two columns of seconds.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from helpers.compare import mean
from helpers.cost import Cost, break_even, fine_tuning_cost, in_context_cost
from helpers.data import DataError
from helpers.teaching import RECIPE
from helpers.model import LanguageModel

TEACHING = 0  # the query's number in the row that holds the teaching
ROW = 64  # tokens in a row of training on a CPU, as `finetune.tune` packs them
PROCESSOR = "processor_seconds"


def spent(
    results: pd.DataFrame, way: str, shots: int, unit: str = PROCESSOR
) -> tuple[np.ndarray, np.ndarray]:
    """What a way took: for the teaching [draws], and on average for a query [draws].

    Raises `DataError` when the results hold no such rows.
    """
    rows = _rows(results, way, shots)
    taught = rows[rows["query"] == TEACHING].set_index("draw")[unit]
    asked = rows[rows["query"] > TEACHING].groupby("draw")[unit].mean()
    return taught.to_numpy(), asked.loc[taught.index].to_numpy()


def _rows(results: pd.DataFrame, way: str, shots: int) -> pd.DataFrame:
    rows = results[(results["way"] == way) & (results["shots"] == shots)]
    if rows.empty:
        raise DataError(f"These results hold nothing of {way!r} at {shots} examples.")
    return rows.sort_values(["draw", "query"])


def crossing(
    results: pd.DataFrame, a: str, b: str, shots: int, unit: str = PROCESSOR
) -> tuple[float, float, float]:
    """The number of queries from which way `a` has cost less than `b`, with its 95 % interval.

    Only questions that both were asked count. The interval is over draws, resampled as pairs; 0
    means from the first query on, infinity never (see `cost.break_even`).
    """
    both = _rows(results, a, shots).merge(_rows(results, b, shots), on=["draw", "query"])
    sides = [f"{unit}_x", f"{unit}_y"]
    taught = both[both["query"] == TEACHING].set_index("draw")[sides]
    asked = both[both["query"] > TEACHING].groupby("draw")[sides].mean()
    columns = np.stack([part[side] for side in sides for part in (taught, asked)])
    draws = columns.shape[1]
    picks = np.random.default_rng(0).integers(draws, size=(4000, draws))
    found = [break_even(*means) for means in columns[:, picks].mean(2).T]
    low, high = np.percentile(found, (2.5, 97.5), method="nearest")
    return float(break_even(*columns.mean(1))), float(low), float(high)


def merged(results: pd.DataFrame) -> pd.DataFrame:
    """The results with one way more, "weights, merged": the adapter added into the base's matrices.

    It is taught as the weights are, and then asked as the untaught model is, because it has the
    same shape. What it would answer is not in these rows, nor the moment that merging takes.
    """
    way, query = results["way"], results["query"]
    taught = results[(way == "weights") & (query == TEACHING)]
    asked = results[(way == "zero-shot") & (query > TEACHING)]
    return pd.concat([results, pd.concat([taught, asked]).assign(way="weights, merged", right="")])


def by_formula(
    lm: LanguageModel, results: pd.DataFrame, shots: int, told: float
) -> dict[str, Cost]:
    """What each way should cost by the formulas of `cost`, from the tokens that were read.

    `told` is how many of the trained tokens the loss counted.
    """
    rows = results[(results["shots"] == shots) & (results["way"] == "prompt, kept")]
    shown = rows[rows["query"] == TEACHING]["tokens"].mean()
    query = rows[rows["query"] > TEACHING]["tokens"].mean()
    taught = _rows(results, "weights", shots).query("query == @TEACHING")["tokens"].mean()
    untaught = in_context_cost(lm, 0, query)
    beside = fine_tuning_cost(lm, taught, told, query, RECIPE["rank"], budget=ROW)
    return {
        "zero-shot": untaught,
        "prompt, kept": in_context_cost(lm, shown, query),
        "prompt, read anew": in_context_cost(lm, shown, query, cached=False),
        "weights": beside,
        "weights, merged": beside._replace(ask_flops=untaught.ask_flops),
    }


def until_right(results: pd.DataFrame, way: str, shots: int, unit: str = PROCESSOR) -> pd.DataFrame:
    """From the labelled examples in hand to the first right answer; a row per draw.

    The columns are `seconds` in the given unit, teaching and all questions up to the first that is
    answered right included, and `questions`, how many these were (infinity: none was).
    """
    found = []
    for draw, rows in _rows(results, way, shots).groupby("draw"):
        right = rows["right"].eq("1").to_numpy()
        at = int(right.argmax()) if right.any() else math.inf
        seconds = float(rows[unit].iloc[: at + 1].sum()) if right.any() else math.inf
        found.append((draw, seconds, at))
    return pd.DataFrame(found, columns=["draw", "seconds", "questions"]).set_index("draw")


def right(results: pd.DataFrame, way: str, shots: int) -> np.ndarray:
    """The share of its questions that a way answered right [draws]."""
    rows = _rows(results, way, shots)
    asked = rows[rows["query"] > TEACHING]
    return asked["right"].eq("1").groupby(asked["draw"]).mean().to_numpy()


def totals(
    results: pd.DataFrame, way: str, shots: int, queries: Sequence[int], unit: str = PROCESSOR
) -> np.ndarray:
    """Teaching and so many queries together: an array [4, numbers of queries].

    Its rows are the numbers of queries, the means over draws, and the bounds of their 95 %
    intervals.
    """
    once, each = spent(results, way, shots, unit)
    found = [mean(once + each * number) for number in queries]
    return np.array([[number, *one] for number, one in zip(queries, found, strict=True)]).T


def table(results: pd.DataFrame) -> pd.DataFrame:
    """A row for each number of examples and way: means over draws of what teaching and asking took.

    Only questions that all ways were asked count. Seconds are the processor's; kilobytes are what
    has to be kept between queries.
    """
    last = results.groupby(["shots", "draw", "way"])["query"].max().groupby(["shots", "draw"]).min()
    common = results.join(last.rename("last"), on=["shots", "draw"]).query("query <= last")
    teaching, keys = common["query"] == TEACHING, ["shots", "way"]
    taught = common[teaching].groupby(keys, sort=False)[[PROCESSOR, "tokens", "bytes"]].mean()
    asked = common[~teaching].groupby(keys, sort=False)[[PROCESSOR, "tokens"]].mean()
    return pd.DataFrame(
        {
            "seconds to teach": taught[PROCESSOR],
            "seconds per query": asked[PROCESSOR],
            "tokens to teach": taught["tokens"],
            "tokens per query": asked["tokens"],
            "kilobytes kept": taught["bytes"] / 1e3,
        }
    )

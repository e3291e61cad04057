"""Lesson 4: what teaching and asking take, with one question at a time, as a service meets them.

The base model is loaded and labelled examples are in hand; then the clocks start. Both stand beside
every number: seconds on the wall, and seconds of the processor, which other programs on the machine
disturb far less. The ways are asked in turns, question by question, so that a busy minute hits all
of them. Before any clock runs, one question is asked that is not counted: the first pass is slow.

`python -m lessons costs` and `… costs_prefill` make the stored results. In their rows `query`
counts from 1, and 0 is the teaching; `tokens` is what the model read, and `bytes` what has to be
kept. A `unit` is one of the two columns of seconds.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from helpers import checks, teaching
from helpers.compare import Interval, interval, where
from helpers.cost import Clock, Cost, break_even, fine_tuning_cost, in_context_cost
from helpers.curves import settings
from helpers.data import Example, Task, balanced_order, load_task
from helpers.model import LanguageModel
from helpers.prompts import count_tokens, plain
from helpers.study import Made, Study, digest
from helpers.teaching import ALL, LORA, SEEN, Way, passes, taught_bytes
from helpers.widgets import Panel, explorer, rows_table
from lessons.kept_prompt import Prompt

ASKED = {"zero-shot": 24, "prompt, kept": 100, "prompt, read anew": 8, "weights": 100}
WAYS = {
    "zero-shot": Way("zero-shot"),
    "prompt, kept": Way("prompt, kept", shown=ALL),
    "prompt, read anew": Way("prompt, read anew", shown=ALL),
    "weights": Way("weights", trained=ALL),
}
TEACHING = 0  # the query's number in the row that holds the teaching
ROW = 64  # tokens in a row of training, when the stored results were made
PROCESSOR = "processor_seconds"
PREFILLS = (1, 2, 4, 8, 16, 32, 64, 128, 178)  # demonstrations whose reading is timed


# Timing


class Service(NamedTuple):
    """A way that has been taught: what teaching read, what has to be kept, and a prompt to ask."""

    tokens: int
    bytes: int
    prompt: Callable[[], Prompt]


def serve(
    lm: LanguageModel,
    task: Task,
    drawn: Sequence[Example],
    label: str,
    seed: int = 0,
    seen: int = SEEN,
) -> Service:
    """Teach a draw in one of the `WAYS`.

    "prompt, kept": the demonstrations are read once, and their key/value cache stays in memory.
    "prompt, read anew": every question reads them; only their text is kept. "weights": LoRA, asked
    without demonstrations, the adapter beside the base. "zero-shot": nothing.
    """
    way = replace(WAYS[label], passes=passes(len(drawn), seen))
    taught = teaching.teach(lm, task, way, seed, [] if label == "zero-shot" else drawn)
    shown = taught.demonstrations
    if label == "prompt, read anew":
        return Service(0, len(plain(task, shown, "").encode()), lambda: Prompt(lm, task, shown))
    prompt = Prompt(taught.lm, task, shown)
    if label == "weights":
        return Service(taught.tokens, taught_bytes(taught.lm), lambda: prompt)
    if label == "zero-shot":
        return Service(0, 0, lambda: prompt)
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in prompt.cache.layers)
    return Service(len(prompt.tokens), held, lambda: prompt)


def timed(
    lm: LanguageModel,
    task: Task,
    drawn: Sequence[Example],
    seed: int,
    ways: Sequence[str] = tuple(WAYS),
    most: int = 100,
    seen: int = SEEN,
) -> list[dict]:
    """Teach a draw in each way, then ask one question after the other; a row for each.

    The order of the held-out questions is by seed, the same for all ways. A way gets as many as
    `ASKED` says, `most` at most, and then more until one is answered right.
    """
    Prompt(lm, task, []).score(task.held_out[0].text)  # the first pass is slow
    rows, services = [], {}
    for label in ways:
        with Clock() as clock:
            services[label] = serve(lm, task, drawn, label, seed, seen)
        kept = services[label]
        rows.append(_row(label, TEACHING, "", clock, kept.tokens, kept.bytes))
    asked = balanced_order(task.held_out, task.labels, seed)
    return rows + list(_served(lm, task, services, asked, most))


def _served(lm, task, services, asked, most) -> Iterator[dict]:
    """The questions in turn, each put to every way that is not done; a row for each answer."""
    ever_right = dict.fromkeys(services, False)
    for number, example in enumerate(asked, 1):
        for label, service in services.items():
            if number > min(ASKED[label], most) and ever_right[label]:
                continue
            with Clock() as clock:
                prompt, best = _asked(service, example.text)
            right = task.labels[best] == example.label
            ever_right[label] |= right
            whole = plain(task, prompt.demonstrations, example.text)
            kept = 0 if label == "prompt, read anew" else len(prompt.tokens)
            read = count_tokens(lm.tokenizer, whole) - kept
            yield _row(label, number, str(int(right)), clock, read, 0)
        if number >= most and all(ever_right.values()):
            return


def _asked(service: Service, text: str) -> tuple[Prompt, int]:
    prompt = service.prompt()
    return prompt, int(prompt.score(text).argmax())


def _row(label: str, query: int, right: str, clock: Clock, tokens: int, kept: int) -> dict:
    measure = "teaching" if query == TEACHING else "answers"
    answered = {"measure": measure, "right": right, "value": float(right) if right else ""}
    spent = {"seconds": clock.wall, PROCESSOR: clock.processor}
    return {"way": label, "query": query} | answered | spent | {"tokens": tokens, "bytes": kept}


def costs_study(
    lm: LanguageModel,
    draws: int,
    shots: Sequence[int] = (8,),
    ways: Sequence[str] = tuple(WAYS),
    most: int = 100,
    task: str = "support_tickets",
) -> Study:
    """Draw `d` uses seed `d` for the examples, the training and the order of the questions."""
    given = load_task(task)

    def work(task: str, shots: int, draw: int) -> list[dict]:
        return timed(lm, given, given.draw(shots, draw), draw, ways, most)

    data = digest(given.template, given.instruction, *given.train, *given.held_out)
    settled = {"task": given.name, "asked": ASKED, "data": data, "settings": settings()}
    cells = [{"task": given.name, "shots": n, "draw": d} for d in range(draws) for n in shots]
    numbers = ["shots", "draw", "query", "seconds", PROCESSOR, "tokens", "bytes"]
    return Study(given.name, cells, work, settled, numbers)


MADE = {
    "costs": Made(55, costs_study),
    "costs_prefill": Made(40, partial(costs_study, shots=PREFILLS, ways=["prompt, kept"], most=2)),
}


# What was spent in total


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
    return where(results, way=way, shots=shots).sort_values(["draw", "query"])


def crossing(results: pd.DataFrame, a: str, b: str, shots: int, unit: str = PROCESSOR) -> Interval:
    """The number of queries from which way `a` has cost less than `b`, with its 95 % interval.

    Only questions that both were asked count. The interval is over draws, resampled as pairs; 0
    means from the first query on, infinity never (see `cost.break_even`).
    """
    both = _rows(results, a, shots).merge(_rows(results, b, shots), on=["draw", "query"])
    sides = [f"{unit}_x", f"{unit}_y"]
    taught = both[both["query"] == TEACHING].set_index("draw")[sides]
    asked = both[both["query"] > TEACHING].groupby("draw")[sides].mean()
    columns = [part[side].to_numpy() for side in sides for part in (taught, asked)]

    def queries(*costs: np.ndarray, axis: int = -1) -> np.ndarray:
        means = np.stack([cost.mean(axis) for cost in costs], -1)
        return np.apply_along_axis(lambda mean: break_even(*mean), -1, means)

    low, high = np.percentile(paired_bootstrap(queries, columns), (2.5, 97.5), method="nearest")
    return Interval(float(queries(*columns)), float(low), float(high))


def paired_bootstrap(statistic: Callable, columns: Sequence[np.ndarray]) -> np.ndarray:
    """The statistic of 4,000 new samples of the draws, the same draws for all columns [draws]."""
    options = {"paired": True, "n_resamples": 4000, "rng": 0, "method": "percentile"}
    with np.errstate(invalid="ignore"):  # of break-evens that are infinite scipy takes the spread
        samples = bootstrap(columns, statistic, **options)
    return samples.bootstrap_distribution


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
    lm: LanguageModel, results: pd.DataFrame, shots: int, counted: float
) -> dict[str, Cost]:
    """What each way should cost by the formulas of `cost`, from the tokens that were read.

    `counted` is how many of the trained tokens the loss counted.
    """
    rows = results[(results["shots"] == shots) & (results["way"] == "prompt, kept")]
    shown = rows[rows["query"] == TEACHING]["tokens"].mean()
    query = rows[rows["query"] > TEACHING]["tokens"].mean()
    taught = _rows(results, "weights", shots).query("query == @TEACHING")["tokens"].mean()
    untaught = in_context_cost(lm, 0, query)
    beside = fine_tuning_cost(lm, taught, counted, query, LORA.rank, budget=ROW)
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
    waits = []
    for draw, rows in _rows(results, way, shots).groupby("draw"):
        right = rows["right"].eq("1").to_numpy()
        at = int(right.argmax()) if right.any() else math.inf
        seconds = float(rows[unit].iloc[: at + 1].sum()) if right.any() else math.inf
        waits.append((draw, seconds, at))
    return pd.DataFrame(waits, columns=["draw", "seconds", "questions"]).set_index("draw")


def share_right(results: pd.DataFrame, way: str, shots: int) -> np.ndarray:
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
    totals = [interval(once + each * number) for number in queries]
    return np.array([[n, *total] for n, total in zip(queries, totals, strict=True)]).T


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


# Prices


class Prices(NamedTuple):
    """What a learner pays, in any currency. The defaults are examples and nobody's offer."""

    token: float = 1.0  # for a million tokens that somebody else's model reads
    kept: float = 0.1  # share of that price for tokens that it kept from the query before
    gpu_hour: float = 2.0
    training_hours: float = 1.0
    serving_hours: float = 24.0  # a day on which the GPU stands by


def bills(
    shots: int, shot_tokens: int, per_day: int, prices: Prices, query_tokens: int = 50
) -> dict[str, tuple[float, float]]:
    """What each way costs once and for each query, in money.

    A prompt is paid by the token that somebody else's model reads; weights of one's own need a GPU
    for training and, on each of its serving hours, for queries, however few come. The tokens of
    the answer are left out: they are as many either way.
    """
    shown, token = shots * shot_tokens, prices.token / 1e6
    standing = prices.serving_hours * prices.gpu_hour / per_day
    return {
        "prompt, read anew": (0.0, (shown + query_tokens) * token),
        "prompt, kept": (shown * token, (prices.kept * shown + query_tokens) * token),
        "weights": (prices.training_hours * prices.gpu_hour, standing),
    }


def cheapest(bills: Mapping[str, tuple[float, float]], queries: float) -> str:
    """The way whose total over so many queries is the lowest."""
    return min(bills, key=lambda way: bills[way][0] + bills[way][1] * queries)


# Explorer and checks


def cost_explorer() -> Panel:
    """Give a job's size and your own prices; see what each way costs, and when weights pay off."""
    names = {
        "price_of_a_million_tokens": "token",
        "share_of_it_for_kept_tokens": "kept",
        "price_of_a_GPU_hour": "gpu_hour",
        "GPU_hours_of_training": "training_hours",
        "GPU_hours_of_serving_a_day": "serving_hours",
    }
    usual = Prices()

    def show(demonstrations: int, tokens_each: int, queries_a_day: int, **prices: float) -> str:
        paid = Prices(**{names[name]: price for name, price in prices.items()})
        costs = bills(demonstrations, tokens_each, queries_a_day, paid)
        month = 30 * queries_a_day
        best = cheapest(costs, month)
        rows = [
            (
                f"{way}{' ★' if way == best else ''}",
                f"{once:,.4g}",
                f"{each * 1000:,.4g}",
                f"{once + each * month:,.2f}",
            )
            for way, (once, each) in costs.items()
        ]
        head = ("way", "once", "1,000 queries", "30 days")
        against = [_against(way, costs, queries_a_day) for way in costs if way != "weights"]
        return "".join(
            ("<p>Example numbers: put in your own.</p>", rows_table(rows, head), *against)
        )

    return explorer(
        show,
        "An explorer of costs, in a live notebook.",
        demonstrations=(32, 1, 10_000),
        tokens_each=(40, 1, 100_000),
        queries_a_day=(10_000, 1, 10**9),
        **{name: (getattr(usual, key), 0.0, 1e6) for name, key in names.items()},
    )


def _against(way: str, costs: Mapping[str, tuple[float, float]], per_day: int) -> str:
    queries = break_even(*costs["weights"], *costs[way])
    return f"<p>Weights against the {way}: {_pays_off(queries, per_day)}</p>"


def _pays_off(queries: float, per_day: int) -> str:
    if queries == math.inf:
        return "never cheaper at so many queries a day."
    return f"cheaper from query {queries:,.0f} on, after {queries / per_day:,.1f} days."


def check_enough_queries(
    shots: int, shot_tokens: int, prices: Prices, days: int, per_day: float | None
) -> None:
    """Check how many queries a day make weights as cheap as a kept prompt over so many days."""
    costs = bills(shots, shot_tokens, 1, prices)
    (trained, standing), (read, asked) = costs["weights"], costs["prompt, kept"]
    truth = (trained + days * standing - read) / (days * asked)
    anew = (trained + days * standing) / (days * costs["prompt, read anew"][1])
    once = "count the days once: the GPU stands by every day, queries come every day."
    checks.judge(
        per_day,
        truth,
        f"about {truth:,.0f} queries a day.",
        "at {answer:,.0f} a day the two totals are not equal.",
        {
            once: (truth * days, truth / days),
            "that is for a prompt read anew; kept tokens have a lower price.": anew,
            "the price is for a million tokens.": truth / 1e6,
        },
        within=0.0,
        relative=0.01,
    )


def check_break_even(
    taught: tuple[float, float], shown: tuple[float, float], queries: float | None
) -> None:
    """Check from how many queries on a taught way is cheaper than a shown one.

    Each way is (what it costs once, what it costs for each query), in one unit.
    """
    (once, each), (other_once, other_each) = taught, shown
    truth = break_even(*taught, *shown)
    forgotten = {
        "the shown way costs something once as well; take it off.": once / (other_each - each)
    }
    checks.judge(
        queries,
        truth,
        f"from query {truth:,.0f} on the taught way is cheaper.",
        "at {answer:,.0f} queries the two totals are not equal.",
        {
            "the taught way's own queries cost something too.": once / other_each,
            "the sign is wrong: what is paid more once is saved query by query.": -truth,
        }
        | (forgotten if other_once else {}),
        within=0.51,  # whole or not
    )

"""What rows of results say: means with their intervals, paired differences, tables."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler
from scipy.stats import binomtest

from helpers.data import DATA, DataError
from helpers.study import read, unpacked


def stored(name: str) -> pd.DataFrame:
    """A full-size result from `data/results`; the JSON file beside it says how it was made.

    Raises `DataError` when there is none of this name.
    """
    path = DATA / "results" / f"{name}.csv"
    if not path.exists():
        raise DataError(f"{path} does not exist: data/README.md gives the command that makes it.")
    return read(path)


def right(results: pd.DataFrame, method: str, shots: int) -> np.ndarray:
    """Which questions a method answered right, as a boolean array [draws, questions].

    A method that is not taught, such as zero-shot, gives one draw for any number of shots.
    Raises `DataError` when the results hold no such row.
    """
    rows = results[results["method"] == method]
    rows = rows[rows["shots"].isin([0, shots])].sort_values("draw")
    if rows.empty:
        raise DataError(f"These results hold nothing of {method!r} at {shots} examples.")
    return unpacked(rows["right"])


def resample(right: np.ndarray, seed: int = 0, times: int = 4000) -> np.ndarray:
    """Means of `times` new samples of an array [draws, items], both resampled with replacement.

    So the spread holds what other examples to learn from and what other questions would change.
    Source: the pigeonhole bootstrap, Owen 2007 (arXiv 0712.1111).
    """
    table = np.atleast_2d(np.asarray(right, dtype=float))
    rng = np.random.default_rng(seed)
    draws, items = (rng.multinomial(n, np.full(n, 1 / n), times) / n for n in table.shape)
    return np.einsum("td,di,ti->t", draws, table, items, optimize=True)


def interval(right: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """Mean of [draws, items] with its 95 % interval over draws and items, as (mean, low, high).

    Where all are right or all wrong, the bootstrap sees no spread, so Clopper and Pearson's bounds
    stand in.
    """
    table = np.atleast_2d(np.asarray(right, dtype=float))
    mean = float(table.mean())
    if mean in (0.0, 1.0) and np.ptp(table) == 0:  # not a difference that happens to be 0
        items = table.shape[1]
        found = binomtest(round(mean * items), items).proportion_ci()
        return mean, float(found.low), float(found.high)
    low, high = np.percentile(resample(table, seed), (2.5, 97.5))
    return mean, float(low), float(high)


def mean(values: Sequence[float] | np.ndarray) -> tuple[float, float, float]:
    """Mean with its 95 % interval, by bootstrap, of any numbers [draws] or [draws, items].

    Unlike `interval` it also fits numbers that are not shares of right answers.
    """
    table = np.asarray(values, dtype=float)
    table = table[:, None] if table.ndim == 1 else table
    middle = float(table.mean())
    low, high = np.percentile(resample(table), (2.5, 97.5))
    return middle, min(middle, float(low)), max(middle, float(high))  # rounding may cross the mean


class Difference(NamedTuple):
    """One method's accuracy minus another's on the same draws and questions."""

    mean: float
    low: float
    high: float
    wins: int
    ties: int
    draws: int
    worst: float  # the draw in which the first did worst against the second

    def __str__(self) -> str:
        interval = f"{self.mean:+.2f} ({self.low:+.2f} to {self.high:+.2f})"
        ties = f", {self.ties} tied" if self.ties else ""
        return f"{interval}, better in {self.wins} of {self.draws} draws{ties}"


def difference(results: pd.DataFrame, a: str, b: str, shots: int) -> Difference:
    """How much more often method `a` is right than `b`, paired by draw and question.

    Raises `DataError` when the results hold no such rows or not the same draws.
    """
    gap = _gap(results, a, b, shots)
    low, high = np.percentile(resample(gap), (2.5, 97.5))
    per_draw = gap.mean(1)
    wins, ties = int((per_draw > 0).sum()), int((per_draw == 0).sum())
    bounds = float(gap.mean()), float(low), float(high)
    return Difference(*bounds, wins, ties, len(gap), float(per_draw.min()))


def _gap(results: pd.DataFrame, a: str, b: str, shots: int) -> np.ndarray:
    """What is right of `a` minus what is right of `b`, as an array [draws, questions]."""
    first, second = right(results, a, shots), right(results, b, shots)
    rows = results[results["shots"] == shots]
    draws = [set(rows[rows["method"] == name]["draw"]) for name in (a, b)]
    if all(draws) and draws[0] != draws[1]:  # a method that is not taught fits every draw
        raise DataError(f"{a!r} and {b!r} have not the same draws at {shots} examples.")
    return first.astype(float) - second


def crossing(results: pd.DataFrame, a: str, b: str) -> tuple[float, float, float]:
    """The number of examples from which `a` is ahead of `b`, with its 95 % interval.

    Between two measured numbers the difference is taken to be straight in log n. 0 means ahead from
    the first number on, infinity never ahead at the end; both bounds may be one of these.
    Raises `DataError` when the two were not taught with the same numbers of examples and draws.
    """
    both = [set(results[results["method"] == name]["shots"]) for name in (a, b)]
    taught = [numbers - {0} for numbers in both if numbers != {0}]
    shots = sorted(set.intersection(*taught)) if taught else []
    if not shots:
        raise DataError(f"These results hold {a!r} and {b!r} at no common number of examples.")
    gaps = [_gap(results, a, b, n) for n in shots]
    curves = np.array([resample(gap) for gap in gaps]).T  # the same seed: the same new samples
    found = [_ahead_from(shots, curve) for curve in curves]
    low, high = np.percentile(found, (2.5, 97.5), method="nearest")
    return _ahead_from(shots, [gap.mean() for gap in gaps]), float(low), float(high)


def _ahead_from(shots: Sequence[int], gaps: Sequence[float]) -> float:
    """Where the difference turns positive for good."""
    if gaps[-1] <= 0:
        return math.inf
    behind = [i for i, gap in enumerate(gaps) if gap <= 0]
    if not behind:
        return 0.0
    i = behind[-1]
    share = -gaps[i] / (gaps[i + 1] - gaps[i])
    return float(2 ** np.interp(share, (0, 1), np.log2(shots[i : i + 2])))


def summary(results: pd.DataFrame) -> pd.DataFrame:
    """A row per method and number of examples: mean accuracy, interval, worst draw, seconds."""
    found = []
    for (method, shots), rows in results.groupby(["method", "shots"], sort=False):
        mean, low, high = interval(right(results, method, shots))
        worst, draws = rows["accuracy"].min(), len(rows)
        seconds = rows[["teach_seconds", "ask_seconds"]].mean()
        found.append((method, shots, mean, low, high, worst, draws, *seconds))
    names = ["method", "shots", "mean", "low", "high", "worst", "draws"]
    return pd.DataFrame(found, columns=[*names, "teach_seconds", "ask_seconds"])


def table(results: pd.DataFrame, caption: str = "") -> Styler:
    """The comparison as a table: a row per method, a column per number of examples.

    A cell reads `mean (low to high)`; the best mean of a column is marked with a star, so the table
    also reads well where colours are lost.
    """
    found = summary(results)
    best = found.groupby("shots")["mean"].transform("max") == found["mean"]
    shown = zip(
        found["mean"], best.map({True: "★", False: ""}), found["low"], found["high"], strict=True
    )
    cells = [f"{mean:.2f}{star} ({low:.2f} to {high:.2f})" for mean, star, low, high in shown]
    wide = found.assign(cell=cells).pivot(index="method", columns="shots", values="cell")
    wide = wide.loc[list(dict.fromkeys(found["method"]))].fillna("")
    wide.columns.name, wide.index.name = "examples", None
    return wide.style.set_caption(caption).set_uuid("comparison")

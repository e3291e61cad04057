"""What the rows of `misleading.py` say: biases, differences, and where luck comes from.

A row has `draw`, `right` (a 1 or 0 for each question) and `said` (a letter for each, `a` for the
task's first label); rows of demonstrations in several orders have `shown`, their labels' letters.
"""

from collections import Counter
from collections.abc import Callable
from itertools import cycle
from typing import NamedTuple

import numpy as np
import pandas as pd

from helpers.compare import interval


def right(rows: pd.DataFrame) -> np.ndarray:
    """What was right, as a boolean array [draws, rows of a draw, questions].

    Every draw must have as many rows.
    """
    return agreement(rows.assign(said=rows["right"]), lambda row: "1")


def agreement(rows: pd.DataFrame, wanted: Callable[[NamedTuple], str]) -> np.ndarray:
    """Where an answer is the wanted one, as a boolean array [draws, rows of a draw, questions].

    `wanted` gives, for a row, the letter wanted for all questions (such as `last_label`), or a
    letter for each.
    """
    told = [
        [[a == b for a, b in zip(row.said, cycle(wanted(row)), strict=False)] for row in some]
        for some in (group.itertuples() for _, group in rows.groupby("draw"))
    ]
    return np.array(told)


def last_label(row: NamedTuple) -> str:
    """The letter of the last demonstration's label."""
    return row.shown[-1]


def most_frequent(row: NamedTuple) -> str:
    """The letter that most demonstrations have as label (the first such)."""
    return Counter(row.shown).most_common(1)[0][0]


def against(rows: pd.DataFrame, key: str, base: str) -> pd.DataFrame:
    """A row for each value of the column `key`: accuracy, and its paired difference from `base`.

    All with 95 % intervals over draws and questions; `worst` is the draw with the lowest accuracy,
    `behind` in how many draws the accuracy is below that of `base`.
    """
    clean = right(rows[rows[key] == base]).mean(1)
    found = []
    for value, some in rows.groupby(key, sort=False):
        here = right(some).mean(1)
        gap = here - clean
        bounds = interval(gap) if value != base else (0.0, 0.0, 0.0)
        behind = int((gap.mean(1) < 0).sum())
        found.append((value, *interval(here), here.mean(1).min(), *bounds, behind))
    names = [key, "accuracy", "low", "high", "worst", "change", "from", "to", "behind"]
    return pd.DataFrame(found, columns=names)


class Parts(NamedTuple):
    """Standard deviations of one accuracy, in shares of 1, by what is left to chance."""

    draw: float
    order: float
    questions: float


def parts(right: np.ndarray) -> Parts:
    """Split the luck in one accuracy: which examples, in which order (or seed), which questions.

    `right` is an array [draws, orders, questions], with at least 2 of each; orders are nested in
    draws. On these questions the accuracy is y[d, o] = m + a[d] + b[d, o], and the analysis of
    variance says

        var b = mean over d of var_o y[d, o]
        var a = var_d (mean_o y[d, o]) - var b / orders      (0 where that is negative)

    Other questions would add var_q (mean_{d, o} right[d, o, q]) / questions.
    Source: Searle, Casella and McCulloch 1992, Variance Components, chapter 3.
    """
    right = np.asarray(right, dtype=float)
    _, orders, asked = right.shape
    accuracy = right.mean(2)
    order = accuracy.var(1, ddof=1).mean()
    draw = max(0.0, accuracy.mean(1).var(ddof=1) - order / orders)
    items = right.mean((0, 1)).var(ddof=1) / asked
    return Parts(*(float(np.sqrt(one)) for one in (draw, order, items)))


def parts_intervals(right: np.ndarray, times: int = 1000) -> dict[str, tuple[float, float, float]]:
    """Each part as (value, low, high): 95 % intervals from new samples of the draws, and of the
    questions for the questions' part."""
    rng = np.random.default_rng(0)
    draws, _, asked = right.shape
    again = [
        (*parts(right[rng.integers(draws, size=draws)])[:2],
         parts(right[:, :, rng.integers(asked, size=asked)]).questions)
        for _ in range(times)
    ]  # fmt: skip
    low, high = np.percentile(again, (2.5, 97.5), axis=0).tolist()
    return dict(zip(Parts._fields, zip(parts(right), low, high, strict=True), strict=True))

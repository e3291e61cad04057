"""What rows of results say: which answers were right, means with intervals, paired differences.

Every stored result is a table of rows in one form. A row has

    draw      the seed of the examples that were taught
    way       how they were taught, by its label
    measure   what is told of the answers: "answers" where they are right or wrong as a whole
    right     a 1 or 0 for each question, in order; empty where the measure is a number
    value     the share of ones, or that number

and besides what else was varied, what it took, and in `said`, as JSON, what was answered.
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from helpers.data import DATA, DataError

SCHEMA = ("draw", "way", "measure", "right", "value")
ANSWERS = "answers"  # the measure of answers that are right or wrong as a whole


# Reading rows


def bits(right: Iterable[bool]) -> str:
    """Right and wrong answers as a text of ones and zeros, as `right` is stored."""
    return "".join("01"[bool(is_right)] for is_right in right)


def scored(right: Iterable[bool], measure: str = ANSWERS) -> dict:
    """The three columns of a row that tell how answers did, from booleans [questions]."""
    right = list(right)
    return {"measure": measure, "right": bits(right), "value": float(np.mean(right))}


def read(path: Path) -> pd.DataFrame:
    """A stored table; the bits of `right` stay text, and an empty note stays empty."""
    return pd.read_csv(path, dtype={"right": str}, keep_default_na=False)


def stored(name: str) -> pd.DataFrame:
    """A full-size result from `data/results`; the JSON file beside it says how it was made.

    Raises `DataError` when there is none of this name.
    """
    path = DATA / "results" / f"{name}.csv"
    if not path.exists():
        raise DataError(f"{path} does not exist: data/README.md gives the command that makes it.")
    return read(path)


def where(rows: pd.DataFrame, **wanted: object) -> pd.DataFrame:
    """The rows whose columns hold what is wanted: a value, or one of a list of values.

    Raises `DataError` when there are none.
    """
    chosen = rows
    for column, value in wanted.items():
        values = value if isinstance(value, list | tuple | set | range) else [value]
        chosen = chosen[chosen[column].isin(values)]
    if chosen.empty:
        asked = ", ".join(f"{column} {value!r}" for column, value in wanted.items())
        raise DataError(f"These results hold nothing of {asked}.")
    return chosen


def right(rows: pd.DataFrame, **wanted: object) -> np.ndarray:
    """Which questions were answered right, as booleans [draws, questions].

    `wanted` chooses rows as in `where`, such as `way="lora", shots=32`. The rows of one draw stand
    side by side in the order of the table. Raises `DataError` when nothing is chosen, and when not
    every draw has as many questions.
    """
    by_draw = where(rows, **wanted).groupby("draw")["right"].agg("".join)
    if by_draw.str.len().nunique() > 1:
        raise DataError("Not every draw was asked as many questions: choose rows that match.")
    return np.array([[bit == "1" for bit in answers] for answers in by_draw])


def values(rows: pd.DataFrame, **wanted: object) -> np.ndarray:
    """The `value` of the rows that `where` chooses, as numbers [draws]: a draw's mean."""
    return where(rows, **wanted).groupby("draw")["value"].mean().to_numpy()


# Intervals


class Interval(NamedTuple):
    """A mean with its 95 % interval; prints as `0.71 (0.54 to 0.86)`, and in any number format."""

    mean: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        mean, low, high = (format(bound, spec or ".2f") for bound in self)
        return f"{mean} ({low} to {high})"

    def __str__(self) -> str:
        return format(self, "")

    def __neg__(self) -> "Interval":
        return Interval(-self.mean, -self.high, -self.low)


def resample(table: np.ndarray, seed: int = 0, times: int = 4000) -> np.ndarray:
    """Means of `times` new samples of an array [draws, items], both resampled with replacement.

    So the spread holds what other examples to learn from and what other questions would change.
    Source: the pigeonhole bootstrap, Owen 2007 (arXiv 0712.1111).
    """
    table = np.atleast_2d(np.asarray(table, dtype=float))
    rng = np.random.default_rng(seed)
    draws, items = (rng.multinomial(n, np.full(n, 1 / n), times) / n for n in table.shape)
    return np.einsum("td,di,ti->t", draws, table, items, optimize=True)


def interval(table: Sequence | np.ndarray, nested: bool = False) -> Interval:
    """Mean with its 95 % interval over draws and questions.

    Takes booleans [draws, questions] (or [questions], one draw) or numbers [draws, questions] (or
    [draws], one each). Where booleans are all right or all wrong the bootstrap sees no spread, so
    Clopper and Pearson's bounds for so many questions stand in; `nested` says that each draw has
    questions of its own, so that all of them count there.
    """
    table = np.asarray(table)
    shares = table.dtype == bool
    if table.ndim == 1:
        table = table[None] if shares else table[:, None]
    mean = float(table.mean())
    if shares and mean in (0.0, 1.0):
        questions = table.size if nested else table.shape[1]
        edge = 0.025 ** (1 / questions)  # their bound in closed form; scipy.stats takes 20 MB
        return Interval(1.0, edge, 1.0) if mean else Interval(0.0, 0.0, 1 - edge)
    low, high = np.percentile(resample(table), (2.5, 97.5))
    return Interval(mean, min(mean, float(low)), max(mean, float(high)))  # rounding may cross it


def ahead(gap: Interval, lead: float = 0.0) -> str:
    """Who is surely ahead by more than `lead`, from the interval of weights minus prompt.

    "weights" or "prompt", and "" where it is not sure.
    """
    return "weights" if gap.low > lead else "prompt" if gap.high < -lead else ""


# Comparing ways


class Difference(NamedTuple):
    """One way's share of right answers minus another's, on the same draws and questions."""

    mean: float
    low: float
    high: float
    wins: int
    ties: int
    draws: int
    worst: float  # the draw in which the first did worst against the second

    def __str__(self) -> str:
        ties = f", {self.ties} tied" if self.ties else ""
        bounds = Interval(*self[:3])
        return f"{bounds:+.2f}, better in {self.wins} of {self.draws} draws{ties}"


def difference(rows: pd.DataFrame, a: str, b: str, **wanted: object) -> Difference:
    """How much more often way `a` is right than `b`, paired by draw and question.

    `wanted` chooses rows as in `where`, such as `shots=32`. Raises `DataError` when the results
    hold no such rows or not the same draws.
    """
    gap = paired(rows, a, b, **wanted)
    per_draw = gap.mean(1)
    wins, ties = int((per_draw > 0).sum()), int((per_draw == 0).sum())
    low, high = np.percentile(resample(gap), (2.5, 97.5))
    bounds = float(gap.mean()), float(low), float(high)
    return Difference(*bounds, wins, ties, len(gap), float(per_draw.min()))


def paired(rows: pd.DataFrame, a: str, b: str, **wanted: object) -> np.ndarray:
    """What is right of `a` minus what is right of `b`, as an array [draws, questions]."""
    both = [_at(rows, way, **wanted) for way in (a, b)]
    draws = [set(chosen["draw"]) for chosen in both]
    untaught = [set(chosen.get("shots", [None])) == {0} for chosen in both]
    if not any(untaught) and draws[0] != draws[1]:  # what is not taught fits every draw
        raise DataError(f"{a!r} and {b!r} have not the same draws.")
    first, second = map(right, both)
    return first.astype(float) - second


def _at(rows: pd.DataFrame, way: str, **wanted: object) -> pd.DataFrame:
    """The rows of a way; one that is not taught, such as zero-shot, fits any number of shots."""
    rows = where(rows, way=way)
    if "shots" in wanted and set(rows["shots"]) == {0}:
        wanted = wanted | {"shots": 0}
    return where(rows, **wanted)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per way and number of examples: mean accuracy, interval, worst draw, seconds."""
    lines = []
    for (way, shots), group in rows.groupby(["way", "shots"], sort=False):
        seconds = group[["teach_seconds", "ask_seconds"]].mean()
        worst, draws = group["value"].min(), len(group)
        lines.append((way, shots, *interval(right(group)), worst, draws, *seconds))
    names = ["way", "shots", "mean", "low", "high", "worst", "draws"]
    return pd.DataFrame(lines, columns=[*names, "teach_seconds", "ask_seconds"])


if __name__ == "__main__":
    print("This command has a new name: python -m own_data FILE.csv", file=sys.stderr)
    sys.exit(2)

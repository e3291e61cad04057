"""The same draws given to each method: learning curves, intervals, and the record of what was
found.

A learner's predictions and verdicts are kept in `data/learner/` (or `COURSE_RECORDS`), which git
ignores.
"""

import argparse
import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler
from scipy.stats import binomtest
from tqdm.auto import tqdm

from helpers import model as models
from helpers.data import (
    DATA,
    DataError,
    Example,
    Task,
    balanced_order,
    load_task,
    texts,
    write_whole,
)
from helpers.methods import CLOSED_ONLY, MEASURES, METHODS, SHOWN, UNTAUGHT, Outcome, settings
from helpers.model import LanguageModel
from helpers.scoring import answer
from helpers.store import Store, bits, collect, digest, read, run, unpacked

COLUMNS = ("task", "shots", "draw", "from", "method", "accuracy", "right", *MEASURES)
NUMBERS = ["shots", "draw", "accuracy", *(name for name in MEASURES if name != "note")]
VERDICTS = ("holds", "holds with conditions", "does not hold at this scale")


def in_context_curve(
    lm: LanguageModel, task: Task, shots: Sequence[int], draws: int, items: int = 40
) -> np.ndarray:
    """Exact match of the written answers on the first `items` held-out texts.

    Returns a boolean array [shots, draws, items]. Draw `d` uses seed `d`, and a larger number of
    shots adds demonstrations to the smaller one. Without demonstrations all draws are the same, so
    they are asked once.
    """
    held_out = task.held_out[:items]
    right = np.empty((len(shots), draws, len(held_out)), dtype=bool)
    for s, d in tqdm(list(np.ndindex(len(shots), draws)), desc=task.name, leave=False):
        if shots[s] == 0 and d > 0:
            right[s, d] = right[s, 0]
            continue
        answers = answer(lm, task, task.draw(shots[s], seed=d), texts(held_out))
        right[s, d] = [a == example.label for a, example in zip(answers, held_out, strict=True)]
    return right


def questions(task: Task, items: int | None = None) -> list[Example]:
    """The held-out examples that every method answers: `items` of them, balanced over the labels.

    Raises `DataError` when there are fewer than `items`.
    """
    asked = balanced_order(task.held_out, task.labels, seed=0)
    if items is not None and not 0 < items <= len(asked):
        raise DataError(f"Task {task.name!r} has {len(asked)} held-out examples, not {items}.")
    return asked[:items]


def measure(
    lm: LanguageModel,
    task: Task,
    shots: Sequence[int],
    draws: int,
    methods: Sequence[str] = tuple(METHODS),
    items: int | None = None,
    out: str | Path | None = None,
    shown: int = SHOWN,
) -> pd.DataFrame:
    """Teach every draw to every method and ask each the same questions; one tidy row for each.

    Draw `d` uses seed `d`, for the examples and in training, and a larger number of shots adds
    examples to the smaller one. A row holds task, shots, draw, method, accuracy, `right` (a 1 or 0
    for each question, in order) and the measures of `methods.Outcome`. Zero-shot has one row, at 0
    shots. Methods that cannot answer an open task are left out; in-context learning is, where a
    draw is longer than the model's context. `shown` bounds the training: so many examples are shown
    in all passes together, so every number of shots gets about as many steps.

    With `out`, a CSV file, each row is stored as soon as it is known, together with a JSON file
    of the same name that says how, with what and when; a second call goes on where the first was
    interrupted.
    Raises `DataError` when `out` holds results of another task, model or setting, or cannot be
    written, and for an unknown method or a draw larger than the training data.
    """
    unknown = set(methods) - set(METHODS)
    if unknown:
        raise DataError(f"There is no method {unknown.pop()!r}: choose among {', '.join(METHODS)}.")
    if draws < 1 or not shots or min(shots) < 1:
        raise DataError("A comparison needs at least 1 draw, and every draw at least 1 example.")
    asked = questions(task, items)
    for n in shots:
        task.draw(n, 0)  # too large a draw is found before the work, not after

    def teach_and_ask(**cell) -> list[dict]:
        n, d, name = cell["shots"], cell["draw"], cell["from"]
        outcomes = METHODS[name](lm, task, task.draw(n, d), texts(asked), d, shown)
        return [_measured(outcome, asked) for outcome in outcomes]

    store = Store(out, lm, settled(task, asked, shown), NUMBERS) if out else None
    cells = list(_cells(task, shots, draws, methods))
    return collect(cells, teach_and_ask, store, task.name).reindex(columns=COLUMNS)


def settled(task: Task, asked: Sequence[Example], shown: int = SHOWN) -> dict:
    """What must be the same for all rows of one stored comparison."""
    return {
        "task": task.name,
        "questions": len(asked),
        "data": digest(task.template, task.instruction, *task.train, *asked),
        "settings": settings(shown),
    }


def _cells(task, shots, draws, methods) -> Iterator[dict]:
    """What is to be done, draw by draw, so that a part is of use too."""
    for d in range(draws):
        for n in dict.fromkeys(shots):
            for name in dict.fromkeys(methods):
                if name in UNTAUGHT:
                    if d == 0 and n == shots[0]:
                        yield _cell(task, 0, 0, name)
                elif task.labels or name not in CLOSED_ONLY:
                    yield _cell(task, n, d, name)


def _cell(task, shots, draw, name) -> dict:
    return {"task": task.name, "shots": shots, "draw": draw, "from": name}


def _measured(outcome: Outcome, asked: Sequence[Example]) -> dict:
    right = [a == e.label for a, e in zip(outcome.answers, asked, strict=True)]
    found = {"method": outcome.method, "accuracy": float(np.mean(right)), "right": bits(right)}
    return found | {name: getattr(outcome, name) for name in MEASURES}


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


def claims() -> pd.DataFrame:
    """The 28 claims of the popular account, one row each: id, topic, claim."""
    return pd.read_csv(DATA / "claims.csv")


def record_prediction(question: str, guess: str) -> None:
    """Keep the learner's guess; a later guess for the same question replaces it."""
    _record("predictions.json", question, guess)


def predictions() -> dict[str, str]:
    """All guesses so far, by question or claim id."""
    return _records("predictions.json")


def record_verdict(claim: str, lesson: str, measured: str, verdict: str, why: str) -> None:
    """Write a claim's row on the scoreboard; a later run of the same lesson replaces it.

    `measured` is the finding with its number and interval. Raises `DataError` for a claim or a
    verdict that is not one of the known ones.
    """
    if claim not in set(claims()["id"]):
        raise DataError(f"There is no claim {claim!r}: data/claims.csv lists them.")
    if verdict not in VERDICTS:
        raise DataError(f"A verdict is one of {', '.join(VERDICTS)}, not {verdict!r}.")
    row = {"claim": claim, "lesson": lesson, "measured": measured, "verdict": verdict, "why": why}
    _record("verdicts.json", f"{claim} {lesson}", row)


def scoreboard(lesson: str | None = None) -> pd.DataFrame:
    """The verdicts recorded so far (of one `lesson`), in the order of the claims."""
    columns = ["claim", "lesson", "measured", "verdict", "why"]
    table = pd.DataFrame(_records("verdicts.json").values(), columns=columns)
    table = table[table["lesson"] == lesson] if lesson else table
    order = {claim: i for i, claim in enumerate(claims()["id"])}
    return table.sort_values("claim", key=lambda column: column.map(order)).reset_index(drop=True)


def _folder() -> Path:
    return Path(os.environ.get("COURSE_RECORDS") or DATA / "learner")


def _records(name: str) -> dict:
    path = _folder() / name
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise DataError(f"{path} is damaged: delete it and record again.") from error


def _record(name: str, key: str, value: object) -> None:
    records = json.dumps(_records(name) | {key: value}, indent=1, ensure_ascii=False)
    remedy = ": set COURSE_RECORDS to a folder that can"
    write_whole(_folder() / name, records, remedy)


def main(arguments: list[str] | None = None) -> int:
    """Give the same draws of a task's examples to each method, store every row, print the table."""
    parser = argparse.ArgumentParser(prog="python -m helpers.compare", description=main.__doc__)
    parser.add_argument("--task", required=True)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--shots", type=int, nargs="+", default=[8, 32, 128, 256])
    parser.add_argument("--items", type=int, default=96, help="number of held-out questions")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--shown", type=int, default=SHOWN, help="examples shown in fine-tuning")
    parser.add_argument("--model", help="a Hub name or a folder (default: MODEL or the course's)")
    parser.add_argument("--out", help="CSV file (default: data/results/TASK.csv); goes on with it")
    options = parser.parse_args(arguments)
    out = Path(options.out or DATA / "results" / f"{options.task}.csv")

    def work() -> None:
        task = load_task(options.task)
        lm = models.load(options.model)
        chosen = options.methods, options.items, out, options.shown
        results = measure(lm, task, options.shots, options.draws, *chosen)
        print(summary(results).round(3).to_string(index=False))

    return run(work, out)


if __name__ == "__main__":
    sys.exit(main())

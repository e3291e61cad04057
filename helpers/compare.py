"""The same draws given to each method: learning curves, intervals, and the record of what was
found.

A learner's predictions and verdicts are kept in `data/learner/` (or `COURSE_RECORDS`), which git
ignores.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest, bootstrap
from tqdm.auto import tqdm

from helpers.data import DATA, DataError, Task, texts
from helpers.model import LanguageModel
from helpers.scoring import answer

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


def interval(right: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """Mean of [draws, items] with its 95 % interval, as (mean, low, high).

    The percentile bootstrap over items, each kept together over all draws: it says how much other
    test items would have changed the mean, not what other draws would (look at the draws for that).
    Where all items agree, the bootstrap sees no spread and Clopper and Pearson's bounds stand in.
    """
    per_item = np.asarray(right, dtype=float).mean(0)
    mean = float(per_item.mean())
    if mean in (0.0, 1.0):
        found = binomtest(round(mean * len(per_item)), len(per_item)).proportion_ci()
        return mean, float(found.low), float(found.high)
    found = bootstrap((per_item,), np.mean, n_resamples=2000, method="percentile", rng=seed)
    return mean, *(float(bound) for bound in found.confidence_interval)


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
    path = _folder() / name
    records = _records(name) | {key: value}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(records, indent=1, ensure_ascii=False), encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror}): set COURSE_RECORDS to a folder that can."
        ) from error

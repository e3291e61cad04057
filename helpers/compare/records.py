"""The claims, and what a learner predicted and found about them.

Predictions and verdicts are kept in `data/learner/` (or `COURSE_RECORDS`), which git ignores.
"""

import json
import os
from pathlib import Path

import pandas as pd

from helpers.data import DATA, DataError, write_whole

VERDICTS = ("holds", "holds with conditions", "does not hold at this scale")


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

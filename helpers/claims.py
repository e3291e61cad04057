"""The claims, and what a learner predicted and found about them.

Predictions and verdicts are kept in `data/learner/` (or `COURSE_RECORDS`), which git ignores. What
the course's own run of each lesson found is stored in `data/results/verdicts.csv`.
"""

import json
import os
from pathlib import Path

import pandas as pd

from helpers.compare import read
from helpers.data import DATA, DataError, write_whole

VERDICTS = ("holds", "holds with conditions", "does not hold at this scale")
MARKS = dict(zip(VERDICTS, "✓◐✗", strict=True))
STORED = DATA / "results" / "verdicts.csv"
COLUMNS = ["claim", "lesson", "measured", "verdict", "why"]


def claims() -> pd.DataFrame:
    """The 28 claims of the popular account, one row each: id, topic, claim."""
    return pd.read_csv(DATA / "claims.csv")


def record_prediction(question: str, guess: str) -> None:
    """Keep the learner's guess; a later guess for the same question replaces it."""
    keep("predictions.json", question, guess)


def predictions() -> dict[str, str]:
    """All guesses so far, by question or claim id."""
    return kept("predictions.json")


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
    keep("verdicts.json", f"{claim} {lesson}", row)


def scoreboard(lesson: str | None = None) -> pd.DataFrame:
    """The verdicts recorded so far (of one `lesson`), in the order of the claims."""
    table = pd.DataFrame(kept("verdicts.json").values(), columns=COLUMNS)
    table = table[table["lesson"] == lesson] if lesson else table
    order = {claim: i for i, claim in enumerate(claims()["id"])}
    return table.sort_values("claim", key=lambda column: column.map(order)).reset_index(drop=True)


def board() -> pd.DataFrame:
    """Every claim with what all lessons found about it, a row each, in the order of the claims.

    Of a lesson that the learner has run, the learner's own verdict counts, else the stored one of
    the course's run; `whose` says which: "you", "stored" or "both". Where the lessons agree, their
    verdict is the claim's. Where they do not, it holds with conditions: it held in one lesson and
    not, or not fully, in another. Nothing is chosen among the numbers: `measured` and `why` tell
    those of every lesson, and `lessons` names the files. `predicted` is the learner's prediction,
    empty where there is none, and `hit` whether it was right.
    """
    verdicts = pd.concat([read(STORED).assign(whose="stored"), scoreboard().assign(whose="you")])
    verdicts = verdicts.drop_duplicates(["claim", "lesson"], keep="last").sort_values("lesson")
    guesses = predictions()
    rows = []
    for claim in claims().itertuples():
        lines = verdicts[verdicts["claim"] == claim.id]
        verdict = _joint(list(lines["verdict"]))
        guess = guesses.get(claim.id, "")
        row = {"claim": claim.id, "topic": claim.topic, "text": claim.claim, "verdict": verdict}
        row |= {name: _by_lesson(lines, name) for name in ("measured", "why")}
        whose = "both" if lines["whose"].nunique() > 1 else "".join(lines["whose"].iloc[:1])
        row |= {"lessons": tuple(lines["lesson"]), "whose": whose}
        rows.append(row | {"predicted": guess, "hit": bool(guess) and guess == verdict})
    return pd.DataFrame(rows)


def _joint(verdicts: list[str]) -> str:
    """What several lessons' verdicts on one claim come to; empty where there is none."""
    return VERDICTS[1] if len(set(verdicts)) > 1 else "".join(verdicts[:1])


def _by_lesson(rows: pd.DataFrame, column: str) -> str:
    """What each lesson says, with its number where there are several."""
    if len(rows) == 1:
        return rows[column].iloc[0]
    return " ".join(
        f"[{lesson_number(lesson)}] {text.rstrip('.')}."
        for lesson, text in zip(rows["lesson"], rows[column], strict=True)
    )


def lesson_number(lesson: str) -> str:
    """The number that a lesson's name begins with."""
    return lesson.partition("_")[0].lstrip("0")


def folder() -> Path:
    """Where the learner's own records are kept."""
    return Path(os.environ.get("COURSE_RECORDS") or DATA / "learner")


def kept(name: str) -> dict:
    """One of the learner's own records, such as predictions.json; empty where there is none."""
    path = folder() / name
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise DataError(f"{path} is damaged: delete it and record again.") from error


def keep(name: str, key: str, value: object) -> None:
    """Add an entry to one of the learner's own records, in the place of an earlier one."""
    records = json.dumps(kept(name) | {key: value}, indent=1, ensure_ascii=False)
    write_whole(folder() / name, records, ": set COURSE_RECORDS to a folder that can")

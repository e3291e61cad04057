"""The claims, what a learner predicted and found about them, and what the rule says of each.

Predictions and findings are kept in `data/learner/` (or `COURSE_RECORDS`), which git ignores. What
the course's own run of each lesson found is stored in `data/results/findings.csv`, and the rule's
verdicts in `data/results/verdicts.csv`, which `python -m lessons verdicts` makes.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from helpers.compare import Interval, read
from helpers.data import DATA, DataError, write_whole

SUPPORTED, DEPENDS, CONTRADICTED = CHOICES = ("supported", "depends", "contradicted")
UNDECIDED, BUILT_IN, UNMEASURED = "undecided", "by construction", "not measured yet"
MARKS = dict(zip((*CHOICES, UNDECIDED, BUILT_IN, UNMEASURED), "✓◐✗?=–", strict=True))
VERDICTS, STORED = DATA / "results" / "verdicts.csv", DATA / "results" / "findings.csv"
STUDIES = {"verbs": "past tenses", "codes": "clinic codes", "replies": "support replies"}
STUDIES |= {"together": "both ways together", "misled_faults": "faulty prompts"}  # in words
WAITS = "it waits for "
COLUMNS = ["claim", "lesson", "measured", "why"]


def claims() -> pd.DataFrame:
    """The 28 claims of the popular account, one row each: id, topic, claim."""
    return pd.read_csv(DATA / "claims.csv")


def record_prediction(question: str, guess: str) -> None:
    """Keep the learner's guess; a later guess for the same question replaces it."""
    keep("predictions.json", question, guess)


def predictions() -> dict[str, str]:
    """All guesses so far, by question or claim id."""
    return kept("predictions.json")


def tell(lesson: str, found: Mapping[str, tuple[str, str]]) -> None:
    """Keep and print what a lesson found about its claims, and what the rule says of each.

    `found` maps a claim to what was measured, with its number and interval, and to what else is to
    know about it. A later run of the lesson replaces it. Raises `DataError` for an unknown claim.
    """
    text, said = claims().set_index("id")["claim"], verdicts().set_index("claim")
    for claim, (measured, why) in found.items():
        if claim not in text:
            raise DataError(f"There is no claim {claim!r}: data/claims.csv lists them.")
        row = dict(zip(COLUMNS, (claim, lesson, measured, why), strict=True))
        keep("findings.json", f"{claim} {lesson}", row)
        print(f"{claim}. {text[claim]}.\n    Here: {measured}. {why}")
        if said.loc[claim, "verdict"] != UNMEASURED:
            print(f"    By the rule: {sentence(said.loc[claim])}")
    if waiting := [claim for claim in found if said.loc[claim, "verdict"] == UNMEASURED]:
        print(f"Not measured yet by the rule: {', '.join(waiting)}.")


def verdicts() -> pd.DataFrame:
    """What the rule says of every claim, a row each: see `lessons.contrasts.write`."""
    return pd.read_csv(VERDICTS).fillna({"when": ""})


def sentence(row: pd.Series) -> str:
    """A row of `verdicts` in words: the verdict, its number, and when it is true or decided."""
    if row["when"].startswith(WAITS):
        names = [n.removeprefix("fair_") for n in row["when"].removeprefix(WAITS).split(" and ")]
        about = ", ".join(STUDIES.get(name, name.replace("_", " ")) for name in names)
        return f"{row['verdict']}: the fair comparison is not finished ({about})."
    form = ",.0f" if abs(row["mean"]) >= 10 else ".2f"
    number = Interval(row["mean"], row["low"], row["high"])
    number = "" if pd.isna(row["mean"]) else f", {number:{form}}"
    more = f"; {row['when']}" if row["when"] else ""
    needed = f"; about {row['needed']:,.0f} draws would decide" if row["needed"] else ""
    return f"{row['verdict']}{number}{more}{needed}."


def findings(lesson: str | None = None) -> pd.DataFrame:
    """What the learner's own runs found so far (of one `lesson`), in the order of the claims."""
    table = pd.DataFrame(kept("findings.json").values(), columns=COLUMNS)
    table = table[table["lesson"] == lesson] if lesson else table
    order = {claim: i for i, claim in enumerate(claims()["id"])}
    return table.sort_values("claim", key=lambda column: column.map(order)).reset_index(drop=True)


def board() -> pd.DataFrame:
    """Every claim with its verdict and what all lessons found, a row each, in their order.

    `verdict` is the rule's, and `rule` says it with its number. Of a lesson that the learner has
    run, the learner's own finding stands there, else the stored one of the course's run; `whose`
    says which: "you", "stored" or "both". Nothing is chosen among them: `measured` and `why` tell
    those of every lesson, and `lessons` names the files. `predicted` is the learner's prediction,
    empty where there is none, and `hit` whether it was right: what is true by construction was
    supported.
    """
    rows = pd.concat([read(STORED).assign(whose="stored"), findings().assign(whose="you")])
    rows = rows.drop_duplicates(["claim", "lesson"], keep="last").sort_values("lesson")
    said, guesses = verdicts().set_index("claim"), predictions()
    table = []
    for claim in claims().itertuples():
        lines, verdict = rows[rows["claim"] == claim.id], said.loc[claim.id]
        guess = guesses.get(claim.id, "")
        row = {"claim": claim.id, "topic": claim.topic, "text": claim.claim}
        row |= {"verdict": verdict["verdict"], "rule": sentence(verdict)}
        row |= {name: _by_lesson(lines, name) for name in ("measured", "why")}
        whose = "both" if lines["whose"].nunique() > 1 else "".join(lines["whose"].iloc[:1])
        row |= {"lessons": tuple(lines["lesson"]), "whose": whose, "predicted": guess}
        true = SUPPORTED if verdict["verdict"] == BUILT_IN else verdict["verdict"]
        table.append(row | {"hit": bool(guess) and guess == true})
    return pd.DataFrame(table)


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

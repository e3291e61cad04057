"""What a learner predicted, built and answered: a page to print, and a record that can be checked.

Both are made of the files that `helpers.claims` keeps, and written beside them. The record's sum
tells damage only: whoever can write the file can write another sum as well.
"""

import hashlib
import json
from collections.abc import Iterator
from html import escape
from pathlib import Path

from helpers import claims
from helpers.data import DATA, DataError, load_rows, write_whole

KEPT = ("predictions", "measured", "built", "answers", "findings")
PAGE, COMPLETION = "progress.html", "completion.json"
STYLE = (
    "body{font:11pt sans-serif;max-width:50em;margin:2em auto}td,th{text-align:left;padding:3px}"
)
PROVES = (
    "If the sum fits, these records were not damaged. It does not prove who made them, nor that "
    "nobody changed both."
)


def records() -> dict[str, dict]:
    """All that is kept of this learner."""
    return {name: claims.kept(f"{name}.json") for name in KEPT}


def checksum(kept: dict[str, dict]) -> str:
    """The SHA-256 of records, written in one way only."""
    text = json.dumps(kept, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def write() -> dict[str, int]:
    """Write the page and the record, say where, and give how many entries the learner made."""
    kept = records()
    folder, total = claims.folder(), checksum(kept)
    write_whole(folder / PAGE, page(kept, total))
    completion = json.dumps({"records": kept, "sha256": total}, indent=1, ensure_ascii=False)
    write_whole(record(), completion)
    where = "data/learner" if folder == DATA / "learner" else "the folder of COURSE_RECORDS"
    print(f"{PAGE} (to read and print) and {COMPLETION} (to be checked) are in {where}.")
    return {name: len(entries) for name, entries in kept.items() if name != "measured"}


def record() -> Path:
    """Where this learner's completion record lies."""
    return claims.folder() / COMPLETION


def check(path: str | Path) -> bool:
    """Whether a completion record is as it was written; needs neither network nor the learner.

    Raises `DataError` for a file that is no such record.
    """
    try:
        read = json.loads(Path(path).read_text(encoding="utf-8"))
        return checksum(read["records"]) == read["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no completion record of this course.") from error


def page(kept: dict[str, dict], total: str) -> str:
    """The page as HTML; whatever the learner wrote is text in it."""
    parts = "".join(_table(*part) for part in _parts(kept))
    return (
        f"<!DOCTYPE html><html lang='en'><meta charset='utf-8'><title>Progress</title>"
        f"<style>{STYLE}</style><h1>Two ways to teach a model: what you did</h1>{parts}"
        f"<p>SHA-256 of these records: <code>{total}</code>. {PROVES}</p></html>\n"
    )


def _parts(kept: dict[str, dict]) -> Iterator[tuple[str, tuple, list[tuple]]]:
    """Of each part its title, the heads of its columns, and its rows."""
    said, was = kept["predictions"], kept["measured"]
    text = dict(claims.claims()[["id", "claim"]].to_numpy())
    verdicts = dict(claims.verdicts()[["claim", "verdict"]].to_numpy())
    numbers = [(q, said.get(q, "no number"), f"{number:g}") for q, number in was.items()]
    guessed = [
        (f"{q}: {text[q]}" if q in text else q, guess, verdicts.get(q.partition(":")[0], "–"))
        for q, guess in said.items()
        if q not in was
    ]
    yield "Numbers you committed to", ("question", "you said", "it was"), numbers
    yield "What you expected", ("question", "you said", "by the rule"), guessed
    built = [(piece, "right" if right else "not yet") for piece, right in kept["built"].items()]
    yield "What you built", ("piece", "check"), built
    right = {row["question"]: _right_option(row) for row in load_rows("quizzes")}
    answers = [
        (q, a, "right" if a == right.get(q) else "not yet") for q, a in kept["answers"].items()
    ]
    yield "What you answered", ("question", "your answer", "check"), answers
    rows = [
        (f"{row['claim']}: {text.get(row['claim'], '')}", row["measured"])
        for row in kept["findings"].values()
    ]
    yield "What your own runs measured", ("claim", "measured"), rows


def _right_option(row: dict) -> str:
    return next(option["text"] for option in row["options"] if option["right"])


def _table(title: str, heads: tuple, rows: list[tuple]) -> str:
    if not rows:
        return f"<h2>{escape(title)}</h2><p>Nothing is kept yet.</p>"
    top = "".join(f"<th>{escape(head)}</th>" for head in heads)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<h2>{escape(title)}</h2><table><tr>{top}</tr>{body}</table>"

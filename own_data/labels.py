"""The column of labels: what counts as one label, what is no label, what a model reads for it."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from helpers.data import DataError

LEAST = 4  # rows of a label: two to learn from, two to be asked
MOST_LABELS = 150  # with more, few rows of each can be learned in a few minutes
MOST_NUMBERS = 20  # different numbers: with more, they were measured rather than given as labels
UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")  # of no width
JOINTS = (";", "|", ",")


class Row(NamedTuple):
    """One usable row: its number in the file, its text, its label.

    `mark` is what stands in the column of splits or groups, where one is named.
    """

    number: int
    text: str
    label: str
    mark: str = ""


def alike(text: str) -> str:
    """What two texts share that only look different: capitals, spaces, Unicode forms aside."""
    text = UNSEEN.sub("", unicodedata.normalize("NFKC", text))
    return " ".join(text.casefold().split())


def same_spelling(rows: list[Row], notes: list[str]) -> list[Row]:
    """Labels that only look different are one label, in its most frequent spelling."""
    spellings: dict[str, Counter] = defaultdict(Counter)
    for row in rows:
        spellings[alike(row.label)][row.label] += 1
    best = {}
    for key, counted in spellings.items():
        (most, _), *others = counted.most_common()
        best[key] = kept = unicodedata.normalize("NFC", " ".join(most.split()))
        if others:
            also = ", ".join(repr(name) for name, _ in others)
            told = _difference(list(counted))
            notes.append(f"Taken as one label, {kept!r}: {also} ({told}).")
    return [row._replace(label=best[alike(row.label)]) for row in rows]


def _difference(names: Sequence[str]) -> str:
    """What tells names apart that are `alike`."""
    unspaced = {" ".join(name.split()) for name in names}
    folded = {name.casefold() for name in unspaced}
    differ = ["capitals"] if len(folded) < len(unspaced) else []
    differ += ["spaces"] if len(unspaced) < len(names) else []
    differ += ["Unicode forms"] if len(folded) > 1 else []
    return f"{' and '.join(differ)} differ"


def common(path: Path, rows: list[Row], column: str, notes: list[str]) -> list[Row]:
    """The rows of labels that come back often enough. Raises `DataError` when too few are left."""
    counts = Counter(row.label for row in rows)
    rare = sorted(name for name, count in counts.items() if count < LEAST)
    kept = len(counts) - len(rare)
    if kept > MOST_LABELS:
        raise DataError(
            f"{path}: column {column!r} holds {kept} labels, more than can be told apart here "
            f"({MOST_LABELS}): name the right column with --label, or join labels."
        )
    if kept < 2:
        raise DataError(f"{path}: {_no_labels(counts, kept, column)}.")
    if rare:
        few = sum(counts[name] for name in rare)
        named = ", ".join(repr(name) for name in rare[:5]) + (", …" if len(rare) > 5 else "")
        notes.append(
            f"Left out, {_count(few, 'row')} of labels with fewer than {LEAST} rows: {named}."
        )
    if kept > MOST_NUMBERS and all(map(_number, counts)):
        notes.append(
            f"The labels are {kept} different numbers; if they were measured, sort them into a few "
            f"classes, such as low and high: here 2 is no nearer to 3 than to 9."
        )
    notes += _joined(counts)
    return [row for row in rows if row.label not in rare]


def _no_labels(counts: Counter, kept: int, column: str) -> str:
    """Why a column holds fewer than two labels that can be learned, and what to do."""
    rows, (most, often) = counts.total(), (counts.most_common(1) or [("", 0)])[0]
    if len(counts) > MOST_NUMBERS and all(map(_number, counts)):
        return (
            f"column {column!r} holds {len(counts)} different numbers in {_count(rows, 'row')}, "
            f"and a measured number is no label: sort them into a few classes, such as low and high"
        )
    if len(counts) > max(2, 0.9 * rows):
        return (
            f"no labels in column {column!r}, where almost every row holds something else, as "
            f"texts and numbers of cases do: name the column of labels with --label"
        )
    if len(counts) == 1:
        return (
            f"1 label in column {column!r}, {most!r} in every row, but two are needed: add rows "
            f"with another label, or name the column with --label"
        )
    return (
        f"{_count(kept, 'label')} in column {column!r} with at least {LEAST} usable rows, but two "
        f"are needed, and of {_count(len(counts), 'label')} the most frequent, {most!r}, has "
        f"{often}: add labelled rows, or name the column with --label"
    )


def _joined(labels: Iterable[str]) -> list[str]:
    """A sentence where labels look like several in one cell, whose parts come back elsewhere."""
    for joint in JOINTS:
        parts = {name: [part.strip() for part in name.split(joint)] for name in labels}
        uses = Counter(part for several in parts.values() for part in set(several))
        several = [
            name
            for name, split in parts.items()
            if len(split) > 1 and all(part and uses[part] > 1 for part in split)
        ]
        if several:
            shown = ", ".join(map(repr, several[:3]))
            return [
                f"Labels that look like several joined by {joint!r} are taken as one each, "
                f"{len(several)} in all: {shown}{', …' if len(several) > 3 else ''}."
            ]
    return []


def _number(name: str) -> bool:
    return bool(re.fullmatch(r"[-+−]?\d+([.,]\d+)?([eE][-+]?\d+)?", name))


def _count(number: int, thing: str) -> str:
    return f"{number or 'no'} {thing}{'' if number == 1 else 's'}"


# The words that a model reads and writes for a label


def label_words(labels: Sequence[str]) -> dict[str, str]:
    """For each label the words that the model reads and writes for it.

    `billing_issue`, `BillingIssue` and `billing-issue` become "billing issue"; codes and numbers
    stay as they are. Where two labels would get the same words, they keep their names.
    """
    words = {label: plain_words(label) for label in labels}
    twice = {word for word, count in Counter(words.values()).items() if count > 1}
    return {label: label if word in twice else word for label, word in words.items()}


def plain_words(name: str) -> str:
    """A label's name as words: its parts apart, and small where they are no code."""
    name = name.removeprefix("__label__")
    parts = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    parts = " ".join(re.sub(r"[_/]+|(?<=[^\W\d])-(?=[^\W\d])", " ", parts).split())
    if any(letter.isdigit() for letter in parts) or (parts == name and parts.isupper()):
        return parts or name
    return parts.lower() or name

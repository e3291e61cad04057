"""Which rows are learned, which choose settings, and which are asked, and in which round.

Questions are asked at the file's own proportions, as they will come. Each row is asked once at
most, by what has learned the others: the first round asks a part of the rows, and where time is
left the next rounds ask the other parts.
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from helpers.data import DataError
from own_data.labels import Row, alike

LEARNED, DEV = -2, -1  # rows that are never asked: always learned, or kept to choose settings
MOST_DEV, DEV_SHARE = 64, 1 / 6
FEWEST_ASKED, MOST_ROUNDS = 32, 5
SIDES = {  # what may stand in a column of splits
    LEARNED: ("train", "training", "learn"),
    DEV: ("dev", "val", "valid", "validation", "development"),
    0: ("test", "testing", "eval", "evaluation", "held out", "heldout", "holdout"),
}


def parts_drawn(rows: Sequence[Row], grouped: bool = False) -> list[int]:
    """The part of each row: `DEV`, or the round in which it is asked.

    With `grouped`, rows of one mark are in one part. Raises `DataError` when there are too few
    groups to part them.
    """
    order = np.random.default_rng(0).permutation(len(rows))
    marks = [row.mark or f"row {row.number}" for row in rows] if grouped else None
    part = np.zeros(len(rows), int)
    part[_for_choosing(order, marks)] = DEV
    rest = order[part[order] != DEV]
    labels, groups = [rows[i].label for i in rest], marks and [marks[i] for i in rest]
    most = max(Counter(labels).values(), default=0)  # of many labels all may have few rows
    rounds = max(2, min(MOST_ROUNDS, len(rest) // FEWEST_ASKED, most))
    if grouped and len(set(groups)) < 2:
        raise DataError("The groups are too few or too large: three or more are needed.")
    kind = StratifiedGroupKFold if grouped else StratifiedKFold
    rounds = min(rounds, len(set(groups))) if grouped else rounds
    with warnings.catch_warnings():  # that a label has fewer rows than there are rounds
        warnings.simplefilter("ignore")
        drawn = kind(rounds, shuffle=True, random_state=0).split(rest, labels, groups)
        for number, (_, asked) in enumerate(drawn):
            part[rest[asked]] = number
    return part.tolist()


def _for_choosing(order: np.ndarray, marks: Sequence[str] | None) -> list[int]:
    """The rows on which settings are chosen: the first of an order, in whole groups."""
    most = max(1, min(MOST_DEV, int(DEV_SHARE * len(order))))
    if marks is None:
        return order[:most].tolist()
    sizes, taken = Counter(marks), set()
    for mark in dict.fromkeys(marks[i] for i in order):
        if sum(sizes[group] for group in taken) + sizes[mark] <= most:
            taken.add(mark)
    taken = taken or {min(sizes, key=sizes.get)}
    return [i for i in order if marks[i] in taken]


def parts_named(path: Path, rows: Sequence[Row], column: str) -> list[int]:
    """The part of each row as its mark in `column` says: train, dev or test.

    Without dev rows some of train take their place. Raises `DataError` where a mark says none of
    these, or where rows to learn from or to be asked are missing.
    """
    sides = {name: side for side, names in SIDES.items() for name in names}
    said = [sides.get(alike(row.mark).replace("_", " ").replace("-", " ")) for row in rows]
    strange = sorted({row.mark for row, side in zip(rows, said, strict=True) if side is None})
    if strange:
        named = ", ".join(map(repr, strange[:5]))
        raise DataError(f"{path}: column {column!r} must say train, dev or test, not {named}.")
    part = np.array(said)
    if 0 not in part:
        part[part == DEV] = 0
    if not {0, LEARNED} <= set(part.tolist()):
        raise DataError(f"{path}: column {column!r} must hold rows to train and rows to test.")
    if DEV not in part:
        learned = np.random.default_rng(0).permutation(np.flatnonzero(part == LEARNED))
        part[_for_choosing(learned, None)] = DEV
    return part.tolist()

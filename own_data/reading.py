"""Any labelled file as a task: its columns, its usable rows, its examples and questions.

Nothing is left out or changed in silence: `OwnData.notes` says it, a sentence each. A row's number
is that of a spreadsheet, whose header is row 1.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from helpers.data import DataError, Example, Task, check_columns
from own_data.files import bare_name, read_file
from own_data.labels import Row, alike, common, label_words, plain_words, same_spelling
from own_data.remarks import CONTROL, remarks
from own_data.separated import listed
from own_data.splitting import DEV, parts_drawn, parts_named

MOST_ASKED = 600  # questions in a round: more would narrow no interval that matters
TEXT_NAMES = (
    "text",
    "message",
    "ticket",
    "review",
    "comment",
    "body",
    "content",
    "question",
    "email",
)
LABEL_NAMES = (
    "label",
    "category",
    "class",
    "intent",
    "topic",
    "tag",
    "target",
    "sentiment",
    "type",
)


class Round(NamedTuple):
    """Who learns and who chooses in one round.

    `task` has the rows to learn from as `train` and the questions as `held_out`; `dev` are rows of
    neither, on which settings are chosen.
    """

    task: Task
    dev: list[Example]


class OwnData(NamedTuple):
    """A file's usable rows, and what had to be left out or changed, a sentence each.

    `part` says of each row when it is asked: the number of its round, or never (`splitting.DEV`,
    `splitting.LEARNED`). `columns` are the names of text and label in the file.
    """

    name: str
    columns: tuple[str, str]
    rows: list[Row]
    part: list[int]
    notes: list[str]

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels, sorted."""
        return tuple(sorted({row.label for row in self.rows}))

    @property
    def rounds(self) -> int:
        """In how many rounds every row that may be asked is asked once."""
        return max(self.part) + 1

    @property
    def task(self) -> Task:
        """The first round's task."""
        return self.round(0).task

    def round(self, number: int) -> Round:
        """Round `number`: its rows are asked, and all others are learned but those for choosing."""

        def examples(wanted: Callable[[int], bool]) -> list[Example]:
            pairs = zip(self.rows, self.part, strict=True)
            return [Example(row.text, row.label) for row, part in pairs if wanted(part)]

        text, label = map(_named, self.columns)
        task = Task(
            self.name,
            f"{text}: {{text}}\n{label}: {{label}}\n\n",
            tuple(examples(lambda part: part not in (number, DEV))),
            tuple(examples(lambda part: part == number)),
            self.labels,
            label_words(self.labels),
        )
        dev = examples(lambda part: part == DEV)
        order = np.random.default_rng(0).permutation(len(dev))  # files may be sorted by label
        return Round(task, [dev[i] for i in order])

    def asked(self, number: int) -> list[int]:
        """The places of the rows that are asked in a round, in an order that tells nothing."""
        order = np.random.default_rng(number).permutation(len(self.rows))
        return [int(i) for i in order if self.part[i] == number][:MOST_ASKED]


def read_own(
    path: str | Path,
    text: str | None = None,
    label: str | None = None,
    encoding: str | None = None,
    split: str | None = None,
    group: str | None = None,
) -> OwnData:
    """Read any labelled file.

    The columns of text and label are found out where they are not named, and so is the encoding.
    `split` names a column that says which rows are learned and which are asked; rows with the same
    in the column `group` are never on both sides. Raises `DataError`, one sentence, when the file
    cannot be used.
    """
    path = Path(path).expanduser()
    header, table, notes = read_file(path, encoding)
    if not table:
        raise DataError(f"{path} holds no rows below its header: add labelled examples.")
    if split and group:
        raise DataError("Name --split or --group: a split that is given needs no groups.")
    columns = _columns(path, header, [cells for _, cells in table], text, label, notes)
    text, label = (header[column].strip() for column in columns)
    mark = column_named(path, header, split or group)
    notes += _unused(header, [*columns, mark])
    rows = _usable(table, len(header), (*columns, mark), notes)
    rows = same_spelling(rows, notes)
    rows = _once(rows, notes)
    rows = common(path, rows, label, notes)
    if any(row.label == label for row in rows):
        notes.append(f"Row 1 is taken as the header, though {label!r} is a label, too.")
    notes += remarks(rows, (_named(text), _named(label)))
    part = parts_named(path, rows, split) if split else parts_drawn(rows, bool(group))
    return OwnData(bare_name(path), (text, label), rows, part, notes)


def shorten(own: OwnData, cut: Callable[[str], str]) -> tuple[OwnData, OwnData]:
    """The data with its texts whole, and cut, as a model with little room reads them.

    Says how many are cut. Of texts that are the same once cut only the first is kept, in both, so
    that no question was a demonstration.
    """
    short, seen, kept = [cut(row.text) for row in own.rows], set(), []
    for i, text in enumerate(short):
        if text not in seen:
            kept.append(i)
        seen.add(text)
    longer = sum(len(row.text) > len(text) for row, text in zip(own.rows, short, strict=True))
    notes = list(own.notes)
    if longer:
        notes.append(
            f"{longer} of {len(short)} texts are long: the model reads the beginning of each, and "
            f"only word counts see the rest."
        )
    if less := len(short) - len(kept):
        notes.append(f"Left out, because they begin like another text and end only later: {less}.")
    rows, part = [own.rows[i] for i in kept], [own.part[i] for i in kept]
    whole = own._replace(rows=rows, part=part, notes=notes)
    return whole, whole._replace(rows=[own.rows[i]._replace(text=short[i]) for i in kept])


def _columns(path, header, rows, text, label, notes) -> tuple[int, int]:
    """The columns of text and label: as named, else by their usual names, else by their content."""
    if len(header) < 2:
        raise DataError(
            f"{path} has one column only ({', '.join(header) or 'none'}), but a text and a label "
            f"are needed, each in a column of its own."
        )
    said, asked = (column_named(path, header, name) for name in (text, label))
    if said is not None and said == asked:
        raise DataError(f"Text and label are both column {text!r}: name two columns.")
    asked = _usual(header, LABEL_NAMES, said) if asked is None else asked
    said = _usual(header, TEXT_NAMES, asked) if said is None else said
    others = [i for i in range(len(header)) if i not in (said, asked)]
    if said is None:  # the longest texts
        said = max(others, key=lambda i: sum(len(row[i]) for row in rows if i < len(row)))
        others.remove(said)
    unlike = [i for i in others if _name(header, i) != _name(header, said)]
    if asked is None and len(unlike) == 1:
        asked = unlike[0]
    if asked is None and not unlike:
        raise DataError(f"{path} has two columns {header[said]!r}: give each a name of its own.")
    if asked is None:
        raise DataError(
            f"{path} does not show which column holds the label: name it with --label, one of "
            f"{', '.join(_name(header, i) for i in others)}."
        )
    for taken in (said, asked):
        if header.count(header[taken]) > 1:
            notes.append(f"Several columns are named {header[taken]!r}: the first of them is used.")
    return said, asked


def cleaned(text: str) -> str:
    """A text on one line, as it stands in a prompt: without control characters."""
    return " ".join(CONTROL.sub(" ", text).split())


def column_named(path: Path, header: Sequence[str], name: str | None) -> int | None:
    """The column that goes by a name: exactly, else but for capitals and spaces around it."""
    if name is None:
        return None
    if name not in header and alike(name) in map(alike, header):
        return [alike(other) for other in header].index(alike(name))
    check_columns(path, header, [name])
    return header.index(name)


def _usual(header: Sequence[str], names: Sequence[str], taken: int | None) -> int | None:
    """The column with one of the usual names, the more usual first."""
    plain = [None if i == taken else alike(name) for i, name in enumerate(header)]
    return next((plain.index(name) for name in names if name in plain), None)


def _name(header: Sequence[str], column: int) -> str:
    return header[column].strip() or f"column {column + 1}"


def _unused(header: Sequence[str], used: Sequence[int | None]) -> list[str]:
    """A sentence on the columns that are not used, where there are any."""
    others = [_name(header, i) for i in range(len(header)) if i not in used]
    apart = ""
    if "split" in map(alike, others):
        apart = "; questions are drawn from all rows, unless --split names a column"
    return [f"Not used: {', '.join(others)}{apart}."] if others else []


def _usable(
    table: Sequence[tuple[int, list[str]]],
    width: int,
    columns: tuple[int, int, int | None],
    notes: list[str],
) -> list[Row]:
    """The rows that have a text, a label, and no more cells than columns."""
    *read, marked = columns
    usable, missing, torn, controlled = [], [], [], []
    for number, cells in table:
        said, named = (cells[column] if column < len(cells) else "" for column in read)
        if any(cells[width:]):
            torn.append(number)
        elif not (said.strip() and named.strip()):
            missing.append(number)
        else:
            if CONTROL.search(said + named):
                controlled.append(number)
            mark = cells[marked].strip() if marked is not None and marked < len(cells) else ""
            usable.append(Row(number, cleaned(said), CONTROL.sub(" ", named), mark))
    for numbers, why in (
        (missing, "Left out, because text or label is missing"),
        (
            torn,
            "Left out, because there are more cells than columns (a text with a separator needs "
            "quotation marks)",
        ),
        (controlled, "Control characters became spaces"),
    ):
        if numbers:
            notes.append(f"{why}: {listed(numbers)}.")
    return [row for row in usable if row.text]


def _once(rows: list[Row], notes: list[str]) -> list[Row]:
    """Every text once, so that no question was a demonstration; contradicting rows not at all."""
    by_text: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_text[alike(row.text)].append(row)
    sure, doubles, unsure = [], [], []
    for same in by_text.values():
        if len({row.label for row in same}) > 1:
            unsure += [row.number for row in same]
        else:
            sure.append(same[0])
            doubles += [row.number for row in same[1:]]
    if doubles:
        notes.append(f"Left out, because the same text stands above: {listed(sorted(doubles))}.")
    if unsure:
        notes.append(f"Left out, because one text has several labels: {listed(sorted(unsure))}.")
    return sure


def _named(column: str) -> str:
    """A column's name in the prompt; braces would be read as places of the template."""
    return plain_words(re.sub(r"[{}]", " ", column)).capitalize() or "Column"

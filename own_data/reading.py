"""Any labelled file as a task: its columns, its usable rows, its examples and questions.

Nothing is left out or changed in silence: `OwnData.notes` says it, a sentence each. A row's number
is that of a spreadsheet, whose header is row 1.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from helpers.data import DataError, Example, Task, balanced_order, check_columns
from own_data.files import bare_name, read_file
from own_data.labels import Row, alike, common, label_words, plain_words, same_spelling
from own_data.remarks import CONTROL, remarks
from own_data.separated import listed

HELD_OUT = 0.4  # share of each label's rows
MOST_TOKENS = 256  # of a text
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


class OwnData(NamedTuple):
    """A file as a task, and what had to be left out or changed, a sentence each."""

    task: Task
    notes: list[str]


def read_own(
    path: str | Path,
    text: str | None = None,
    label: str | None = None,
    encoding: str | None = None,
) -> OwnData:
    """Read any labelled file as a task for `curves.all_ways`.

    The columns are found out where they are not named, and so is the encoding. Raises `DataError`,
    one sentence, when the file cannot be used.
    """
    path = Path(path).expanduser()
    header, table, notes = read_file(path, encoding)
    if not table:
        raise DataError(f"{path} holds no rows below its header: add labelled examples.")
    columns = _columns(path, header, [cells for _, cells in table], text, label, notes)
    text, label = (header[column].strip() for column in columns)
    notes += _unused(header, columns)
    rows = _usable(table, len(header), columns, notes)
    rows = same_spelling(rows, notes)
    rows = _once(rows, notes)
    rows = common(path, rows, label, notes)
    labels = sorted({row.label for row in rows})
    if label in labels:
        notes.append(f"Row 1 is taken as the header, though {label!r} is a label, too.")
    notes += remarks(rows, (_named(text), _named(label)))
    train, held_out = _split(rows, labels)
    words = label_words(labels)
    template = f"{_named(text)}: {{text}}\n{_named(label)}: {{label}}\n\n"
    return OwnData(Task(bare_name(path), template, train, held_out, tuple(labels), words), notes)


def shorten(own: OwnData, tokenizer: PreTrainedTokenizerBase, most: int = MOST_TOKENS) -> OwnData:
    """Cut texts of more than `most` tokens, and say how many there were.

    Texts that are the same once cut are left out but for the first, so that no question was a
    demonstration.
    """
    encoded = {
        example.text: tokenizer(example.text, add_special_tokens=False, verbose=False).input_ids
        for example in (*own.task.train, *own.task.held_out)
    }
    cut = {
        text: tokenizer.decode(tokens[:most]).strip()
        for text, tokens in encoded.items()
        if len(tokens) > most
    }
    if not cut:
        return own
    seen: set[str] = set()
    train, held_out = (
        _cut(examples, cut, seen) for examples in (own.task.train, own.task.held_out)
    )
    note = (
        f"{len(cut)} of {len(encoded)} texts have more than {most} tokens; only the first {most} "
        f"tokens of each are used."
    )
    notes, less = [*own.notes, note], len(encoded) - len(train) - len(held_out)
    if less:
        notes.append(f"Left out, because they begin like another text and end only later: {less}.")
    return OwnData(replace(own.task, train=train, held_out=held_out), notes)


def _cut(examples: Sequence[Example], cut: dict[str, str], seen: set[str]) -> tuple[Example, ...]:
    """The examples with their texts cut, without those whose text was `seen`."""
    short = [replace(example, text=cut.get(example.text, example.text)) for example in examples]
    kept = []
    for example in short:
        if example.text not in seen:
            kept.append(example)
        seen.add(example.text)
    return tuple(kept)


def _columns(path, header, rows, text, label, notes) -> tuple[int, int]:
    """The columns of text and label: as named, else by their usual names, else by their content."""
    if len(header) < 2:
        raise DataError(
            f"{path} has one column only ({', '.join(header) or 'none'}), but a text and a label "
            f"are needed, each in a column of its own."
        )
    said, asked = (_asked(path, header, name) for name in (text, label))
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


def _asked(path: Path, header: Sequence[str], name: str | None) -> int | None:
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


def _unused(header: Sequence[str], used: Sequence[int]) -> list[str]:
    """A sentence on the columns that are not used, where there are any."""
    others = [_name(header, i) for i in range(len(header)) if i not in used]
    apart = "; questions are drawn anew from all rows" if "split" in map(alike, others) else ""
    return [f"Not used: {', '.join(others)}{apart}."] if others else []


def _usable(
    table: Sequence[tuple[int, list[str]]], width: int, columns: tuple[int, int], notes: list[str]
) -> list[Row]:
    """The rows that have a text, a label, and no more cells than columns."""
    usable, missing, torn, controlled = [], [], [], []
    for number, cells in table:
        said, named = (cells[column] if column < len(cells) else "" for column in columns)
        if any(cells[width:]):
            torn.append(number)
        elif not (said.strip() and named.strip()):
            missing.append(number)
        else:
            if CONTROL.search(said + named):
                controlled.append(number)
            said, named = (CONTROL.sub(" ", cell) for cell in (said, named))
            # A line break would end the demonstration.
            usable.append(Row(number, " ".join(said.split()), named))
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


def _split(rows: list[Row], labels: Sequence[str]) -> tuple[tuple[Example, ...], ...]:
    """Examples to learn from and questions; two or more of each label in both."""
    train, held_out = [], []
    for label in labels:
        own = balanced_order([Example(r.text, r.label) for r in rows if r.label == label], (), 0)
        asked = max(2, round(HELD_OUT * len(own)))
        train += own[asked:]
        held_out += own[:asked]
    return tuple(train), tuple(held_out)


def _named(column: str) -> str:
    """A column's name in the prompt; braces would be read as places of the template."""
    return plain_words(re.sub(r"[{}]", " ", column)).capitalize() or "Column"

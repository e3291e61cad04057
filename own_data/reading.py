"""Any labelled CSV file as a task: its columns, its usable rows, its label words.

Nothing is left out or changed in silence: `OwnData.notes` says it, a sentence each. A row's number
is that of a spreadsheet, whose header is row 1.
"""

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from charset_normalizer import from_bytes
from transformers import PreTrainedTokenizerBase

from helpers.data import (
    DataError,
    Example,
    Task,
    balanced_order,
    check_columns,
    read_bytes,
    read_table,
)

LEAST = 4  # rows of a label: two to learn from, two to be asked
MOST_LABELS = 64  # every question is scored with every label
HELD_OUT = 0.4  # share of each label's rows
MOST_TOKENS = 256  # of a text
SEPARATORS, SNIFFED = ",;\t|", 10_000  # and how many characters are looked at
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


class Row(NamedTuple):
    """One usable row: its number in the file, its text, its label."""

    number: int
    text: str
    label: str


def read_own(path: str | Path, text: str | None = None, label: str | None = None) -> OwnData:
    """Read any labelled CSV file as a task for `curves.all_ways`.

    Encoding and separator are found out, and so are the columns `text` and `label` where they are
    not named; other columns are not used, not even one that tells examples from questions.
    Rows without a text or a label, contradicting ones, doubles and labels with fewer than `LEAST`
    rows are left out. Of each label's rows, `HELD_OUT` are kept for questions (drawn with seed 0).

    Raises `DataError`, in one sentence, when the file cannot be read, has not the columns, or holds
    fewer than two labels with enough rows, or labels that hardly ever come back.
    """
    path = Path(path)
    content, notes = decoded(path)
    header, table = read_table(path, content, separator_of(content))
    if not table:
        raise DataError(f"{path} holds no rows below its header: add labelled examples.")
    text, label = _columns(path, header, [row for _, row in table], text, label)
    notes += _unused(header, (text, label))
    rows = _usable([row for _, row in table], text, label, notes)
    rows = _same_spelling(rows, notes)
    rows = _once(rows, notes)
    rows = _common(path, rows, label, notes)
    labels = sorted({row.label for row in rows})
    train, held_out = _split(rows, labels)
    words = label_words(labels)
    template = f"{_named(text)}: {{text}}\n{_named(label)}: {{label}}\n\n"
    return OwnData(Task(path.stem, template, train, held_out, tuple(labels), words), notes)


def decoded(path: Path) -> tuple[str, list[str]]:
    """A file's text, with a note where it is not in UTF-8 and its encoding was found out.

    Raises `DataError` when it cannot be read or is no text.
    """
    content = read_bytes(path)
    try:
        return content.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        best = from_bytes(content).best()
    if best is None:
        raise DataError(f"{path} is no text in any known encoding: save it as CSV in UTF-8.")
    return str(best).removeprefix("\ufeff"), [f"Not in UTF-8: read as {best.encoding}."]


def separator_of(content: str) -> str:
    """The separator of a CSV file, of those in use; that of the header, where it is not clear."""
    header = content.split("\n", 1)[0]
    usual = max(SEPARATORS, key=header.count)
    try:
        sniffed = csv.Sniffer().sniff(content[:SNIFFED], SEPARATORS).delimiter
    except csv.Error:
        return usual
    return sniffed if sniffed in header else usual


def shorten(own: OwnData, tokenizer: PreTrainedTokenizerBase, most: int = MOST_TOKENS) -> OwnData:
    """Cut texts of more than `most` tokens, and say how many there were."""
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
    train, held_out = (
        tuple(Example(cut.get(example.text, example.text), example.label) for example in examples)
        for examples in (own.task.train, own.task.held_out)
    )
    note = (
        f"{len(cut)} of {len(encoded)} texts have more than {most} tokens; only the first {most} "
        f"tokens of each are used."
    )
    return OwnData(replace(own.task, train=train, held_out=held_out), [*own.notes, note])


def _columns(path, header, rows, text, label) -> tuple[str, str]:
    """The columns of text and label: as named, else by their usual names, else by their content."""
    check_columns(path, header, [name for name in (text, label) if name])
    if len(header) < 2:
        raise DataError(
            f"{path} has one column only ({', '.join(header) or 'none'}), but a text and a label "
            f"are needed, each in a column of its own."
        )
    twice = [name for name in header if name and header.count(name) > 1]
    if twice:
        raise DataError(f"{path} has two columns {twice[0]!r}: give each a name of its own.")
    if text and text == label:
        raise DataError(f"Text and label are both column {text!r}: name two columns.")
    label = label or _usual(header, LABEL_NAMES, text)
    text = text or _usual(header, TEXT_NAMES, label)
    others = [name for name in header if name not in (text, label)]
    if not text and others:  # the longest texts
        text = max(others, key=lambda name: sum(len(row[name] or "") for row in rows))
        others.remove(text)
    if not label and len(others) == 1:
        label = others[0]
    if not (text and label):
        raise DataError(
            f"{path} does not show which column holds the label: name it with --label, one of "
            f"{', '.join(others)}."
        )
    return text, label


def _usual(header: Sequence[str], names: Sequence[str], taken: str | None) -> str | None:
    """The column with one of the usual names, the more usual first."""
    plain = {name.strip().lower(): name for name in header if name != taken}
    return next((plain[name] for name in names if name in plain), None)


def _unused(header: Sequence[str], used: Sequence[str]) -> list[str]:
    """A sentence on the columns that are not used, where there are any."""
    others = ", ".join(name for name in header if name and name not in used)
    drawn = "; questions are drawn anew from all rows" if "split" in map(str.lower, header) else ""
    return [f"Not used: {others}{drawn}."] if others else []


def _usable(rows: Sequence[dict], text: str, label: str, notes: list[str]) -> list[Row]:
    """The rows that have a text, a label, and no more cells than columns."""
    usable, missing, torn = [], [], []
    for number, row in enumerate(rows, 2):
        said = " ".join((row[text] or "").split())  # a line break would end the demonstration
        named = " ".join((row[label] or "").split())
        if None in row:
            torn.append(number)
        elif said and named:
            usable.append(Row(number, said, named))
        else:
            missing.append(number)
    if missing:
        notes.append(f"Left out, because text or label is missing: {_numbers(missing)}.")
    if torn:
        notes.append(
            f"Left out, because there are more cells than columns (a text with a separator needs "
            f"quotation marks): {_numbers(torn)}."
        )
    return usable


def _same_spelling(rows: list[Row], notes: list[str]) -> list[Row]:
    """Labels that differ in capitals only are one label, in its most frequent spelling."""
    spellings: dict[str, Counter] = defaultdict(Counter)
    for row in rows:
        spellings[row.label.casefold()][row.label] += 1
    for counted in spellings.values():
        if len(counted) > 1:
            (kept, _), *others = counted.most_common()
            also = ", ".join(repr(name) for name, _ in others)
            notes.append(f"Taken as one label, {kept!r}: {also} (capitals differ).")
    best = {key: counted.most_common(1)[0][0] for key, counted in spellings.items()}
    return [row._replace(label=best[row.label.casefold()]) for row in rows]


def _once(rows: list[Row], notes: list[str]) -> list[Row]:
    """Every text once, so that no question was a demonstration; contradicting rows not at all."""
    by_text: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_text[row.text].append(row)
    sure = [same for same in by_text.values() if len({row.label for row in same}) == 1]
    unsure = [row.number for same in by_text.values() if same not in sure for row in same]
    doubles = [row.number for same in sure for row in same[1:]]
    if doubles:
        notes.append(f"Left out, because the same text stands above: {_numbers(sorted(doubles))}.")
    if unsure:
        notes.append(f"Left out, because one text has several labels: {_numbers(sorted(unsure))}.")
    return [same[0] for same in sure]


def _common(path: Path, rows: list[Row], column: str, notes: list[str]) -> list[Row]:
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
        raise DataError(
            f"{path}: {_count(kept, 'label')} in column {column!r} with at least {LEAST} usable "
            f"rows, but two are needed: add labelled rows, or name the column with --label."
        )
    if rare:
        few = sum(counts[name] for name in rare)
        named = ", ".join(repr(name) for name in rare[:5]) + (", …" if len(rare) > 5 else "")
        notes.append(
            f"Left out, {_count(few, 'row')} of labels with fewer than {LEAST} rows: {named}."
        )
    return [row for row in rows if row.label not in rare]


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


def _numbers(rows: Sequence[int], most: int = 10) -> str:
    shown = ", ".join(map(str, rows[:most]))
    more = f" and {len(rows) - most} more" if len(rows) > most else ""
    return f"{'row' if len(rows) == 1 else 'rows'} {shown}{more}"


def _count(number: int, thing: str) -> str:
    return f"{number or 'no'} {thing}{'' if number == 1 else 's'}"


# The words that a model reads and writes for a label


def label_words(labels: Sequence[str]) -> dict[str, str]:
    """For each label the words that the model reads and writes for it.

    `billing_issue`, `BillingIssue` and `billing-issue` become "billing issue"; codes and numbers
    stay as they are. Where two labels would get the same words, they keep their names. Where one
    word begins another (`refund`, `refund request`), the shorter would always be likelier, so all
    are put between quotation marks.
    """
    words = {label: plain_words(label) for label in labels}
    twice = {word for word, count in Counter(words.values()).items() if count > 1}
    words = {label: label if word in twice else word for label, word in words.items()}
    if any(longer.startswith(word) for word, longer in pairwise(sorted(words.values()))):
        words = {label: f'"{word}"' for label, word in words.items()}
    return words


def plain_words(name: str) -> str:
    """A label's name as words: its parts apart, and small where they are no code."""
    name = name.removeprefix("__label__")
    parts = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    parts = " ".join(re.sub(r"[_/]+|(?<=[^\W\d])-(?=[^\W\d])", " ", parts).split())
    if any(letter.isdigit() for letter in parts) or (parts == name and parts.isupper()):
        return parts or name
    return parts.lower() or name

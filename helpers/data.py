"""Examples and tasks: loading them, checking them, and drawing balanced samples by seed."""

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import numpy as np

DATA = Path(__file__).resolve().parent.parent / "data"


class DataError(ValueError):
    """The data cannot be used; the message names the file, the row and the remedy."""


@dataclass(frozen=True)
class Example:
    """One labelled text."""

    text: str
    label: str


@dataclass(frozen=True)
class Task:
    """What is to be taught, and everything both methods need to be asked the same thing.

    `template` holds `{text}` and then `{label}`; what stands before `{label}` is the question, and
    the label's word is the answer. `words` maps each label to the word that the model reads and
    writes for it (the field calls it a verbalizer). `labels` is empty for an open task, where
    every text has an answer of its own. `instruction` stands once at the head of every prompt.

    Raises `DataError` when template, labels and examples do not fit together.
    """

    name: str
    template: str
    train: tuple[Example, ...]
    held_out: tuple[Example, ...]
    labels: tuple[str, ...] = ()
    words: Mapping[str, str] = field(default_factory=dict)
    instruction: str = ""

    def __post_init__(self):
        before, text, after = self.template.partition("{text}")
        if not text or "{label}" in before or after.count("{label}") != 1 or "{text}" in after:
            raise DataError(
                f"Task {self.name!r}: the template must hold {{text}} once and after it {{label}} "
                f"once, but it is {self.template!r}."
            )
        missing = [label for label in self.labels if not self.words.get(label, "").strip()]
        if missing:
            raise DataError(f"Task {self.name!r}: no label word is given for {', '.join(missing)}.")
        words = [self.words[label] for label in self.labels]
        if len(set(words)) < len(words):
            raise DataError(
                f"Task {self.name!r}: two labels share one label word; give each its own."
            )
        known = set(self.labels)
        for example in (*self.train, *self.held_out):
            if known and example.label not in known:
                raise DataError(
                    f"Task {self.name!r}: {example.text[:40]!r} has the unknown label "
                    f"{example.label!r}; the labels are {', '.join(self.labels)}."
                )

    def word(self, label: str) -> str:
        """The word that stands for `label` in a prompt."""
        return self.words.get(label, label)

    def draw(self, shots: int, seed: int) -> list[Example]:
        """Draw `shots` training examples, balanced over the labels to within one.

        The same seed always gives the same list, and a smaller draw is the start of a larger one,
        so that learning curves grow by adding examples. An open task is drawn without balancing.

        Raises `DataError` when there are fewer training examples than `shots`.
        """
        if not 0 <= shots <= len(self.train):
            raise DataError(
                f"Task {self.name!r} has {len(self.train)} training examples, so {shots} cannot "
                f"be drawn."
            )
        return balanced_order(self.train, self.labels, seed)[:shots]

    def marks(self, example: Example, said: str) -> dict[str, bool]:
        """What an answer keeps, by name; a task that is scored by rules has marks of its own."""
        return {"answers": said == example.label}


def write_whole(path: Path, content: str | bytes, remedy: str = "") -> None:
    """Write a file beside its place, then rename it, so that it is whole or as it was.

    A text is written as UTF-8. Raises `DataError` when it cannot be written; the message ends with
    `remedy`.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(part, path)
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}){remedy}.") from error


def texts(examples: Iterable[Example]) -> list[str]:
    """The texts alone: what a method may see of the held-out items."""
    return [example.text for example in examples]


def balanced_order(examples: Sequence[Example], labels: Sequence[str], seed: int) -> list[Example]:
    """All examples in rounds of one per label, with texts and the labels of each round shuffled."""
    rng = np.random.default_rng(seed)
    groups = [[e for e in examples if e.label == label] for label in labels] or [list(examples)]
    shuffled = [[group[i] for i in rng.permutation(len(group))] for group in groups]
    order = []
    for members in zip_longest(*shuffled):
        members = [member for member in members if member is not None]
        order += [members[i] for i in rng.permutation(len(members))]
    return order


def read_csv(path: str | Path, text: str = "text", label: str = "label") -> list[Example]:
    """Read labelled examples from the columns `text` and `label` of a UTF-8 CSV file.

    Raises `DataError` naming the file and the row when the file is missing, empty or not UTF-8,
    when a column is missing, or when a row lacks its text or label or has too many cells.
    """
    return [Example(row[text].strip(), row[label].strip()) for row in _rows(path, (text, label))]


def load_rows(name: str) -> list[dict]:
    """The rows of `data/NAME.jsonl`, such as `invented_facts` or `emails`."""
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text("utf-8").splitlines()]


def read_table(path: str | Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The header of a CSV file in UTF-8, and its rows with the line on which each ends.

    What no column is left for stands under None, and a cell that is not there is None. Raises
    `DataError` naming file and line when the file cannot be read, is not UTF-8 or not well-formed.
    """
    path = Path(path)
    try:
        content = read_bytes(path).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(content, newline=""), strict=True)
        header = list(reader.fieldnames or [])
        return header, [(reader.line_num, row) for row in reader]
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}, line {line}: this is not UTF-8 text; save the file again as CSV in UTF-8."
        ) from error
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num + 1}: this is not well-formed CSV ({error}); look for "
            f"a quotation mark that is not closed or not doubled."
        ) from error


def read_bytes(path: Path) -> bytes:
    """The bytes of a file; `DataError` where it is not there or cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist: check the path.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from error


def check_columns(path: str | Path, header: Sequence[str], columns: Sequence[str]) -> None:
    """Raise `DataError` when one of `columns` is not in the file's header."""
    for column in columns:
        if column not in header:
            raise DataError(
                f"{path} has no column {column!r}; its columns are: {', '.join(header) or 'none'}."
            )


def _rows(path: str | Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The file's rows, each with something in every one of `columns`."""
    header, rows = read_table(path)
    check_columns(path, header, columns)
    if not rows:
        raise DataError(f"{path} holds no rows below its header: add labelled examples.")
    for line, row in rows:
        if None in row:  # where csv puts the cells that no column is left for
            raise DataError(
                f"{path}, line {line}: there are more cells than columns; put a text that holds a "
                f"comma between quotation marks."
            )
        for column in columns:
            if not (row[column] or "").strip():
                raise DataError(
                    f"{path}, line {line}: the {column} is empty; fill it in or delete the row."
                )
    return [row for _, row in rows]


# What turns each labelled file into a task: how a text and its label are written, and each label's
# word.
LABELLED = {
    "support_tickets": (
        "Message: {text}\nTopic: {label}\n\n",
        [
            "account",
            "change",
            "damaged",
            "delivery",
            "missing",
            "payment",
            "product",
            "refund",
        ],
    ),
    "reviews": ("Review: {text}\nVerdict: {label}\n\n", ["negative", "positive"]),
}
WORD_PAIRS = "word_pairs.csv"
CLOSED_WORD_PAIRS = {"category"}  # the others have an answer of its own for every word


def task_names() -> list[str]:
    """The names that `load_task` knows."""
    return sorted({row["task"] for row in _rows(DATA / WORD_PAIRS, ("task",))} | set(LABELLED))


def load_task(name: str) -> Task:
    """Load one of the course's tasks by name: a kind of word pair, `support_tickets` or `reviews`.

    Raises `DataError` for an unknown name, and where the data file is missing or damaged.
    """
    if name in LABELLED:
        template, labels = LABELLED[name]
        rows = _rows(DATA / f"{name}.csv", ("text", "label", "split"))
    else:
        pairs = _rows(DATA / WORD_PAIRS, ("task", "text", "label", "split"))
        rows = [row for row in pairs if row["task"] == name]
        template = "{text} -> {label}\n"
        labels = sorted({row["label"] for row in rows}) if name in CLOSED_WORD_PAIRS else []
    if not rows:
        raise DataError(f"There is no task {name!r}; the tasks are: {', '.join(task_names())}.")
    return Task(
        name=name,
        template=template,
        train=_split(rows, "train"),
        held_out=_split(rows, "held_out"),
        labels=tuple(labels),
        words={label: label for label in labels},
    )


def _split(rows: list[dict[str, str]], split: str) -> tuple[Example, ...]:
    return tuple(Example(row["text"], row["label"]) for row in rows if row["split"] == split)

"""A study: factors x ways x a measure, carried out cell by cell into a stored table.

A study names its cells, such as `{"draw": 3, "way": "lora"}`, and the work that turns a cell into
rows (see `compare` for their form). The table grows as the cells are done, and beside it a record
says how it was made; a second call goes on where the first was interrupted.
"""

import hashlib
import io
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from tqdm.auto import tqdm

from helpers.compare import read
from helpers.data import DataError, Example, Task, balanced_order, write_whole
from helpers.model import LanguageModel, ModelError, checksum, machine

PACKAGES = ("lessons", "own_data")  # whose commands make stored results


class Study(NamedTuple):
    """How a result is made: its cells, their work, and what must be the same for all rows.

    `work(**cell)` gives the rows of a cell as dictionaries; the cell's own entries are put before
    them. `settled` holds the task, the settings and a `digest` of the data; where `questions` is
    among it, `right` has a 1 or 0 for each of so many questions. `numbers` are the columns that
    hold numbers.
    """

    name: str
    cells: Sequence[dict]
    work: Callable[..., list[dict]]
    settled: dict
    numbers: Sequence[str] = ()


class Made(NamedTuple):
    """A stored result of a lesson: how it is made, and about how many minutes that takes.

    `study(lm, draws)` plans a table; or `write(lm, path)` writes something else, such as an
    adapter, to `place` under `data`.
    """

    minutes: float
    study: Callable[[LanguageModel, int], Study] | None = None
    draws: int = 10
    write: Callable[[LanguageModel, Path], object] | None = None
    place: str = ""


def digest(*content: object) -> str:
    """The content in a few letters: others mean other data."""
    return hashlib.sha256(repr(list(content)).encode()).hexdigest()[:16]


def carry_out(study: Study, lm: LanguageModel, out: str | Path | None = None) -> pd.DataFrame:
    """Do the work of every cell, with a progress bar; returns all rows.

    With `out`, a CSV file, the rows of each cell are stored as soon as they are known, and cells
    that it already holds are not done again. Raises `DataError` as `Store` does.
    """
    store = Store(out, lm, study.settled, study.numbers) if out else None
    rows = store.rows() if store else []
    done = [{key: row[key] for key in cell} for cell in study.cells[:1] for row in rows]
    missing = [cell for cell in study.cells if cell not in done]
    for cell in tqdm(missing, desc=study.name, leave=False):
        measured = [cell | row for row in study.work(**cell)]
        rows += measured
        if store and measured:
            store.write(rows)
    return pd.DataFrame(rows)


class Store:
    """The CSV file `path`, and beside it a JSON file that says how its rows were made.

    `settled` is what must be the same for all rows; model and weights are added. Raises `DataError`
    when the files are damaged, cannot be written, or hold something else.
    """

    def __init__(
        self, path: str | Path, lm: LanguageModel, settled: dict, numbers: Sequence[str] = ()
    ):
        self.path = Path(path)
        self.record = self.path.with_suffix(".json")
        self.numbers = list(numbers)
        self.questions = settled.get("questions")
        if self.path.suffix != ".csv":
            raise DataError(f"{path} is no name for a table: give one that ends in .csv.")
        settled = settled | {"model": lm.name, "weights": checksum(lm.model)[:16]}
        old = self._read_record()
        changed = [key for key in settled if old and old.get(key) != settled[key]]
        if changed:
            raise DataError(
                f"{self.path} was made with other {', '.join(changed)}: choose another --out, or "
                f"delete it and {self.record.name} to begin anew."
            )
        runs = [*old.get("runs", []), this_run(lm)]
        write_whole(self.record, json.dumps(settled | {"runs": runs}, indent=1))

    def rows(self) -> list[dict]:
        """The rows so far."""
        if not self.path.exists():
            return []
        try:
            table = read(self.path)
            table[self.numbers].drop(columns="value", errors="ignore").astype(float)
            pd.to_numeric(table["value"])  # empty where nothing was answered
            bits = f"(?:[01]{{{self.questions}}})?"
            if self.questions and not table["right"].str.fullmatch(bits).all():
                raise ValueError("a row is cut")
            return table.to_dict("records")
        except (ValueError, KeyError, OSError) as error:
            raise DataError(
                f"{self.path} is damaged ({str(error).strip()}): delete it to begin anew."
            ) from error

    def write(self, rows: Sequence[dict]) -> None:
        """Replace the table by `rows`, all or nothing."""
        text = io.StringIO()
        pd.DataFrame(rows).round(6).to_csv(text, index=False, lineterminator="\n")
        write_whole(self.path, text.getvalue())

    def _read_record(self) -> dict:
        try:
            old = json.loads(self.record.read_text(encoding="utf-8"))
            if not (isinstance(old, dict) and isinstance(old.get("runs"), list)):
                raise ValueError("no runs")
            return old
        except (FileNotFoundError, NotADirectoryError) as error:
            if self.path.exists():
                raise DataError(
                    f"{self.path} lacks its {self.record.name}: choose another --out."
                ) from error
            return {}
        except OSError as error:
            raise DataError(f"{self.record} cannot be read ({error.strerror}).") from error
        except ValueError as error:
            raise DataError(f"{self.record} is damaged: delete it and {self.path.name}.") from error


def this_run(lm: LanguageModel) -> dict:
    """When, with which command, on which machine and how many threads this program measures."""
    command, called = "none: called by a program", Path(sys.argv[0]).with_suffix("").parts
    if called[-2:] in [(package, "__main__") for package in PACKAGES]:
        command = shlex.join(["python", "-m", called[-2], *sys.argv[1:]])
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return {"date": now, "command": command, "threads": torch.get_num_threads()} | machine(lm)


def questions(task: Task, items: int | None = None) -> list[Example]:
    """The held-out examples that every way answers: `items` of them, balanced over the labels.

    Raises `DataError` when there are fewer than `items`.
    """
    asked = balanced_order(task.held_out, task.labels, seed=0)
    if items is not None and not 0 < items <= len(asked):
        raise DataError(f"Task {task.name!r} has {len(asked)} held-out examples, not {items}.")
    return asked[:items]


def settled_by(task: Task, asked: Sequence[Example]) -> dict:
    """What of the task must be the same for all rows of a stored result."""
    data = digest(task.template, task.instruction, *task.train, *asked)
    return {"task": task.name, "questions": len(asked), "data": data}


def run(work: Callable[[], object], out: str | Path) -> int:
    """Do a command's work; errors and an interruption become one line and an exit status."""
    try:
        work()
    except (ModelError, DataError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"Interrupted: what is done is in {out}; the same command goes on.", file=sys.stderr)
        return 130
    print(f"Stored in {out}.")
    return 0

"""A stored measurement: a table that grows row by row, and beside it how it was made."""

import hashlib
import io
import json
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from helpers.data import DataError, write_whole
from helpers.model import LanguageModel, ModelError, checksum, machine


def read(path: Path) -> pd.DataFrame:
    """A stored table; the bits of `right` stay text, and an empty note stays empty."""
    return pd.read_csv(path, dtype={"right": str}, keep_default_na=False)


def bits(right: Iterable[bool]) -> str:
    """Right and wrong answers as a text of ones and zeros, as `right` is stored."""
    return "".join("01"[bool(one)] for one in right)


def unpacked(rows: Iterable[str]) -> np.ndarray:
    """What `bits` made of several rows, as a boolean array [rows, questions]."""
    return np.array([[bit == "1" for bit in row] for row in rows])


def digest(*content: object) -> str:
    """The content in a few letters: others mean other data."""
    return hashlib.sha256(repr(list(content)).encode()).hexdigest()[:16]


class Store:
    """The CSV file `path`, and beside it a JSON file that says how its rows were made.

    `settled` is what must be the same for all rows (the task, the settings, a `digest` of the
    data); model and weights are added. `numbers` are the columns that hold numbers. Where
    `questions` is among what is settled, `right` has a 1 or 0 for each of so many questions.
    Raises `DataError` when the files are damaged, cannot be written, or hold something else.
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
        runs = [*old.get("runs", []), _run() | machine(lm)]
        write_whole(self.record, json.dumps(settled | {"runs": runs}, indent=1))

    def rows(self) -> list[dict]:
        """The rows so far."""
        if not self.path.exists():
            return []
        try:
            table = read(self.path)
            table[self.numbers].astype(float)
            bits = f"[01]{{{self.questions}}}"
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


def _run() -> dict:
    """When, with which command and on how many threads this program measures."""
    command, called = "none: called by a program", Path(sys.argv[0]).with_suffix("").parts
    if "helpers" in called[-3:-1]:  # one of its modules, or a study's
        module = ".".join(called[called.index("helpers", -3) :]).removesuffix(".__main__")
        command = shlex.join(["python", "-m", module, *sys.argv[1:]])
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return {"date": now, "command": command, "threads": torch.get_num_threads()}


def collect(
    cells: Sequence[dict], work: Callable[..., list[dict]], store: Store | None, title: str
) -> pd.DataFrame:
    """One or more tidy rows for each cell, such as `{"draw": 3, "shots": 8}`, with a progress bar.

    `work(**cell)` returns the measures of its rows as dictionaries; the cell's own entries are put
    before them. With a store each row is kept as soon as it is known, and what it already holds is
    not done again.
    """
    table = store.rows() if store else []
    known = [{key: row[key] for key in cell} for cell in cells[:1] for row in table]
    for cell in tqdm([cell for cell in cells if cell not in known], desc=title, leave=False):
        rows = [cell | measures for measures in work(**cell)]
        table += rows
        if store and rows:
            store.write(table)
    return pd.DataFrame(table)


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

"""A stored measurement: a table that grows row by row, and beside it how it was made."""

import hashlib
import io
import json
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import torch

from helpers import methods
from helpers.data import DataError, Example, Task, write_whole
from helpers.model import LanguageModel, checksum, machine

NUMBERS = ["shots", "draw", "accuracy", *(name for name in methods.MEASURES if name != "note")]


def read(path: Path) -> pd.DataFrame:
    """A stored table; the bits of `right` stay text, and an empty note stays empty."""
    return pd.read_csv(path, dtype={"right": str}, keep_default_na=False)


class Store:
    """The CSV file `path` with its JSON file, which hold the results of one task and one setting.

    Raises `DataError` when the files are damaged, cannot be written, or hold something else.
    """

    def __init__(
        self,
        path: str | Path,
        lm: LanguageModel,
        task: Task,
        asked: Sequence[Example],
        shown: int = methods.SHOWN,
    ):
        self.path = Path(path)
        self.record = self.path.with_suffix(".json")
        self.questions = len(asked)
        if self.path.suffix != ".csv":
            raise DataError(f"{path} is no name for a table: give one that ends in .csv.")
        fixed = {
            "task": task.name,
            "questions": self.questions,
            "data": _digest(task, asked),
            "model": lm.name,
            "weights": checksum(lm.model)[:16],
            "settings": methods.settings(shown),
        }
        old = self._read_record()
        changed = [key for key in fixed if old and old.get(key) != fixed[key]]
        if changed:
            raise DataError(
                f"{self.path} was made with other {', '.join(changed)}: choose another --out, or "
                f"delete it and {self.record.name} to begin anew."
            )
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        command = "none: called by a program"
        if Path(sys.argv[0]).name == "compare.py":
            command = shlex.join(["python", "-m", "helpers.compare", *sys.argv[1:]])
        run = {"date": now, "command": command, "threads": torch.get_num_threads()}
        runs = [*old.get("runs", []), run | machine(lm)]
        write_whole(self.record, json.dumps(fixed | {"runs": runs}, indent=1))

    def rows(self) -> list[dict]:
        """The rows so far."""
        if not self.path.exists():
            return []
        try:
            table = read(self.path)
            table[NUMBERS].astype(float)
            if not table["right"].str.fullmatch(f"[01]{{{self.questions}}}").all():
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


def _digest(task: Task, asked: Sequence[Example]) -> str:
    """Template, training rows and questions in a few letters: another one means other data."""
    content = [task.template, task.instruction, *task.train, *asked]
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]

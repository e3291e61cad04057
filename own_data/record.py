"""What a comparison has found so far, on disk at any moment, so that an interrupted one goes on."""

import json
from pathlib import Path

import numpy as np

from helpers.data import DataError, write_whole
from helpers.study import digest
from own_data.reading import OwnData

MORE = 2  # times as long as before: worth another training
FILE, KEPT = "record.json", ("seconds", "limit", "ways")


class Record:
    """The file `record.json` of a folder.

    `ways` holds for each way what was taught by round (`setting`, `seconds`, `note`), and its
    `answers`: for each row that was asked, by its place among the rows, the label's place and the
    probability of that label. `seconds` are those of all calls, of the `limit`. Raises `DataError`
    when the folder cannot be written to, or holds another comparison.
    """

    def __init__(self, folder: Path, own: OwnData, model: str):
        self.path, self.seconds, self.limit, self.ways = folder / FILE, 0.0, 0.0, {}
        self.data = digest(model, own.columns, *own.rows, *own.part)
        kept = self._kept()
        if kept and kept.get("data") != self.data:
            raise DataError(
                f"{folder} holds a comparison of other rows or with another model: choose another "
                f"--out, or delete it."
            )
        if kept:
            self.seconds, self.limit, self.ways = (kept[key] for key in KEPT)
        self.write()

    def plan(self, limit: float) -> None:
        """Take more seconds than before: what failed or was cut short is then tried anew, the
        latter where it gets far more time than it had."""
        if limit > self.limit:
            left = limit - self.seconds
            self.ways = {name: way for name, way in self.ways.items() if not _again(way, left)}
        self.limit = max(limit, self.limit)
        self.write()

    def _kept(self) -> dict:
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
            if not {"data", *KEPT} <= set(kept):
                raise ValueError("something is missing")
            return kept
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, ValueError, TypeError) as error:
            raise DataError(f"{self.path} is damaged: delete it to begin anew.") from error

    def write(self) -> None:
        """Write everything, all or nothing."""
        kept = zip(KEPT, (round(self.seconds, 1), self.limit, self.ways), strict=True)
        write_whole(self.path, json.dumps({"data": self.data} | dict(kept)))

    def way(self, name: str) -> dict:
        """What is known of a way; changes are kept by `write`."""
        empty = {"taught": {}, "answers": {}, "failed": "", "asking": 0.0}
        return self.ways.setdefault(name, empty)

    def answers(self, name: str) -> dict[int, tuple[int, float]]:
        """The label's place and its probability for each row that was asked."""
        return {int(row): tuple(said) for row, said in self.way(name)["answers"].items()}

    def add(self, name: str, rows: list[int], log_p: np.ndarray, seconds: float) -> None:
        """Keep what a way said of some rows: log-probabilities [rows, labels]."""
        known = self.way(name)
        known["asking"] += seconds
        for row, scores in zip(rows, log_p, strict=True):
            best = int(scores.argmax())
            known["answers"][str(row)] = [best, round(float(np.exp(scores[best])), 4)]
        self.write()


def _again(known: dict, left: float) -> bool:
    """Whether a way is begun anew: it failed, or learned less than in the seconds that are left."""
    taught = known["taught"].get("0", {"note": "", "seconds": 0.0})
    return bool(known["failed"] or (taught["note"] and left > MORE * taught["seconds"]))

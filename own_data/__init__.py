"""One's own data: read any labelled file, plan what fits the time, measure, advise, report.

`compare_own` is the whole way; `python -m own_data FILE.csv` calls it.
"""

import time
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from helpers.model import LanguageModel
from helpers.teaching import SEEN
from own_data import planning, report
from own_data.advice import Advice, advise
from own_data.labels import label_words
from own_data.planning import Plan
from own_data.reading import OwnData, read_own, shorten

__all__ = ["Comparison", "OwnData", "compare_own", "label_words", "read_own"]


class Comparison(NamedTuple):
    """What was compared on one's own data, what came out, and where it is kept."""

    own: OwnData
    plan: Plan
    results: pd.DataFrame
    advice: Advice
    files: list[Path]

    def table(self) -> pd.DataFrame:
        """A row per way, the best first."""
        return report.findings(self.results)


def compare_own(
    lm: LanguageModel,
    own: OwnData,
    out: str | Path,
    minutes: float = 5,
    draws: int | None = None,
    command: str = "",
    seen: int = SEEN,
) -> Comparison:
    """Compare the ways to teach on one's own data within some minutes, and report in a folder.

    Rows are stored as they come, so an interrupted call goes on where it was. Without `draws`, as
    many as fit are made, from 3 to 10. With fewer examples `seen` in training it is a quick look:
    see `planning.plan`. Raises `DataError` when the time is too short or the folder cannot be
    written to.
    """
    deadline = time.monotonic() + 60 * minutes
    own = shorten(own, lm.tokenizer)
    folder = Path(out)

    def new() -> Plan:
        speed = planning.trial(lm, own.task)
        return planning.plan(lm, own.task, speed, deadline - time.monotonic(), draws, seen)

    planned = planning.settled_plan(folder, lm, own.task, new)
    print(planning.described(planned, own.task))
    rows = planning.carry_out(lm, own.task, planned, folder / "results.csv", deadline)
    advice = advise(lm, rows, planned.shots)
    compared = planning.described(planned._replace(draws=rows["draw"].nunique()), own.task)
    files = report.write(folder, own, rows, advice, compared, command)
    return Comparison(own, planned, rows, advice, files)

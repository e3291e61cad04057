"""Which way for one's own data: read any labelled file, measure every way, advise, hand it over.

rows → split → ways → answers → scores → advice → files. `compare_own` is the whole way;
`python -m own_data FILE.csv` calls it, and `python -m own_data predict DIR NEW.csv` uses what came
of it.
"""

import math
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from helpers.data import DataError
from helpers.model import LanguageModel
from own_data import report
from own_data.advice import PRICE, QUERIES, Advice, advise
from own_data.clock import Clock
from own_data.judging import Judged, judge
from own_data.labels import label_words
from own_data.measuring import Comparing
from own_data.prompted import cutter
from own_data.reading import OwnData, read_own, shorten
from own_data.record import Record

__all__ = ["Comparison", "OwnData", "compare_own", "label_words", "read_own"]


class Comparison(NamedTuple):
    """What was measured on one's own data, what it comes to, and where it is kept."""

    judged: Judged
    advice: Advice
    files: list[Path]

    def table(self) -> pd.DataFrame:
        """A row per way, the best first."""
        return report.findings(self.judged)


def compare_own(
    lm: LanguageModel,
    own: OwnData,
    out: str | Path,
    minutes: float = 5,
    queries: float = QUERIES,
    price: float = PRICE,
    command: str = "",
) -> Comparison:
    """Compare the ways to teach on one's own data within some minutes, and report in a folder.

    All calls with one folder share the minutes: an interrupted one goes on where it was, and more
    minutes ask more. `queries` a day and the `price` of a million tokens are for the costs. Raises
    `DataError` without minutes, and when the folder cannot be written to or holds another
    comparison.
    """
    if not 0 < minutes < math.inf:
        raise DataError(f"A comparison needs some minutes, not {minutes:g}.")
    folder = Path(out)
    whole, short = shorten(own, cutter(lm))
    record = Record(folder, whole, lm.name)
    record.plan(60 * minutes)
    with Clock(60 * minutes, record.seconds) as clock:
        Comparing(lm, whole, short, record, clock).carry_out()
    judged = judge(whole, record)
    advice = advise(judged, minutes, queries, price)
    return Comparison(judged, advice, report.write(folder, judged, advice, command))

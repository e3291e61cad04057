"""The same draws given to each method, the intervals of what came out, and the record of verdicts.

One module for each of the three; what lessons use of them is named here.
"""

from helpers.compare.intervals import (
    Difference,
    crossing,
    difference,
    interval,
    mean,
    resample,
    right,
    stored,
    summary,
    table,
)
from helpers.compare.measuring import in_context_curve, measure, questions, settled
from helpers.compare.records import (
    VERDICTS,
    board,
    claims,
    predictions,
    record_prediction,
    record_verdict,
    scoreboard,
    shown,
)

__all__ = [
    "VERDICTS",
    "Difference",
    "board",
    "claims",
    "crossing",
    "difference",
    "in_context_curve",
    "interval",
    "mean",
    "measure",
    "predictions",
    "questions",
    "record_prediction",
    "record_verdict",
    "resample",
    "right",
    "scoreboard",
    "settled",
    "shown",
    "stored",
    "summary",
    "table",
]

"""The measured contrast of each claim, from stored results: a row for `verdict.decide`.

A contrast is an array [draws, questions] of differences, paired by draw and question, so that its
interval counts both kinds of luck. Every contrast is read with each readout and under the default
and the tuned recipe.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd

from helpers import compare
from helpers.data import DATA
from lessons import contest, fair_together, fair_uses, misled
from lessons.contest import RECIPES
from lessons.verdict import contrast

LARGEST, MIDDLE, FEW, FEWEST = 256, 128, 32, 8  # labelled examples
LEVELS = {"support_tickets": "support_tickets", "reviews": "reviews", "verbs": "past_tense"}


def measured() -> pd.DataFrame:
    """The contrasts of all results that are stored so far."""
    stored = [name for name in SOURCES if (DATA / "results" / f"{name}.csv").exists()]
    return pd.DataFrame([row for name in stored for row in SOURCES[name](compare.stored(name))])


def of_task(name: str, rows: pd.DataFrame) -> Iterator[dict]:
    """The contrasts of one task's curves, from the rows that are stored."""
    return of_curves(contest.readings(rows, contest.load(name)), LEVELS[name])


def of_curves(readings: pd.DataFrame, level: str) -> Iterator[dict]:
    """F2, F4, F7, I7 and K2 on one task, from the rows that `contest.readings` gives."""
    asked = [name for name in readings["readout"].unique() if "training texts" not in name]
    for readout in asked:
        for recipe in RECIPES:
            rows = compare.where(readings, readout=readout)

            def right(side: str, shots: int, rows=rows, recipe=recipe) -> np.ndarray:
                return compare.right(rows, arm=f"{side}, {recipe}", shots=shots).astype(float)

            def row(claim: str, gap: np.ndarray, under=(level, readout, recipe)) -> dict:
                return contrast(claim, *under, compare.interval(gap), len(gap))

            weights, prompt = (
                {n: right(side, n) for n in (FEWEST, FEW, MIDDLE, LARGEST)}
                for side in ("weights", "prompt")
            )
            leads = {n: weights[n] - prompt[n] for n in weights}
            if level != "reviews":
                yield row("F2", weights[MIDDLE] - right("prompt", 0))
            if level != "past_tense":
                yield row("F4", weights[LARGEST])
            if level == "support_tickets":
                yield row("I7", leads[LARGEST])
            yield row("F7", weights[LARGEST] - weights[FEW])
            yield row("K2", leads[LARGEST] - leads[FEWEST])


SOURCES = {f"fair_{name}": partial(of_task, name) for name in LEVELS}
SOURCES |= {f"fair_{name}": of_use for name, of_use in fair_uses.CONTRASTS.items()}
SOURCES |= {"misled_faults": misled.of_faults, "misled_shuffled": misled.of_shuffled}
SOURCES |= {"fair_together": fair_together.of_together}

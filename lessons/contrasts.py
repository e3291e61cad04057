"""The measured contrast of each claim, from stored results: a row for `verdict.decide`.

A contrast is an array [draws, questions] of differences, paired by draw and question, so that its
interval counts both kinds of luck. Every contrast is read with each readout and under the default
and the tuned recipe.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from helpers import compare
from helpers.data import DATA
from lessons import contest

LARGEST, MIDDLE, FEW, FEWEST = 256, 128, 32, 8  # labelled examples
RECIPES = ("default", "tuned")
LEVELS = {"support_tickets": "support_tickets", "reviews": "reviews", "verbs": "past_tense"}


def row(
    claim: str, level: str, readout: str, recipe: str, gap: np.ndarray, part: int = 0
) -> dict[str, object]:
    """A contrast with its interval, in the form that `decide` takes."""
    mean, low, high = compare.interval(gap)
    under = {"level": level, "readout": readout, "recipe": recipe}
    number = {"mean": mean, "low": low, "high": high, "draws": len(gap)}
    return {"claim": claim, "part": part} | under | number


def measured() -> pd.DataFrame:
    """The contrasts of all results that are stored so far."""
    rows = []
    for name, level in LEVELS.items():
        if (DATA / "results" / f"fair_{name}.csv").exists():
            read = contest.readings(compare.stored(f"fair_{name}"), contest.load(name))
            rows += of_curves(read, level)
    return pd.DataFrame(rows)


def of_curves(readings: pd.DataFrame, level: str) -> Iterator[dict]:
    """F2, F4, F7, I7 and K2 on one task, from the rows that `contest.readings` gives."""
    asked = [name for name in readings["readout"].unique() if "training texts" not in name]
    for readout in asked:
        for recipe in RECIPES:
            rows = compare.where(readings, readout=readout)

            def right(side: str, shots: int, rows=rows, recipe=recipe) -> np.ndarray:
                return compare.right(rows, arm=f"{side}, {recipe}", shots=shots).astype(float)

            under = level, readout, recipe
            weights, prompt = (
                {n: right(side, n) for n in (FEWEST, FEW, MIDDLE, LARGEST)}
                for side in ("weights", "prompt")
            )
            leads = {n: weights[n] - prompt[n] for n in weights}
            if level != "reviews":
                yield row("F2", *under, weights[MIDDLE] - right("prompt", 0))
            if level != "past_tense":
                yield row("F4", *under, weights[LARGEST])
            if level == "support_tickets":
                yield row("I7", *under, leads[LARGEST])
            yield row("F7", *under, weights[LARGEST] - weights[FEW])
            yield row("K2", *under, leads[LARGEST] - leads[FEWEST])

"""The measured contrast of each claim, from stored results: a row for `verdict.decide`.

A contrast is an array [draws, questions] of differences, paired by draw and question, so that its
interval counts both kinds of luck. Every contrast is read with each readout and under the default
and the tuned recipe.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from helpers import compare
from helpers.claims import claims
from helpers.compare import Interval, stored
from helpers.data import DATA, write_whole
from lessons import contest, fair_costs, fair_together, fair_uses, misled, stays, updating
from lessons.contest import LEVELS, RECIPES
from lessons.verdict import COLUMNS, RULE, Verdict, contrast, decide

LARGEST, MIDDLE, FEW, FEWEST = 256, 128, 32, 8  # labelled examples


def verdicts() -> list[Verdict]:
    """What the rule says of all 28 claims, from the results that are stored so far."""
    return decide(measured(), lacking=lacking())


def write(out: Path) -> None:
    """Store what the rule says of all claims, a row each, with what the claim is held against."""
    rows = []
    for rule, verdict in zip(claims().itertuples(), verdicts(), strict=True):
        number = verdict.number or Interval(*[None] * 3)
        row = {"claim": rule.id, "verdict": verdict.verdict, "contrast": rule.contrast}
        row |= {"margin": rule.margin} | number._asdict()
        rows.append(row | {"when": verdict.when, "needed": verdict.needed, "rule": RULE})
    table = pd.DataFrame(rows).round({"mean": 4, "low": 4, "high": 4})
    write_whole(out, table.to_csv(index=False))


def measured() -> pd.DataFrame:
    """The contrasts of all results that are stored so far."""
    found = [row for name in SOURCES if _exists(name) for row in SOURCES[name].of(stored(name))]
    return pd.DataFrame(found, columns=COLUMNS)


def lacking() -> dict[str, list[str]]:
    """The claims that cannot be decided yet, and the studies that each of them waits for."""
    waiting: dict[str, list[str]] = {}
    for name, source in SOURCES.items():
        for claim in [] if _exists(name) else source.claims.split():
            waiting.setdefault(claim, []).append(name)
    return waiting


def _exists(name: str) -> bool:
    return (DATA / "results" / f"{name}.csv").exists()


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


class Source(NamedTuple):
    """A stored result that claims rest on: `of(rows)` gives the contrasts, of these claims."""

    of: Callable[[pd.DataFrame], Iterable[dict]]
    claims: str


SOURCES = {
    "fair_support_tickets": Source(partial(of_task, "support_tickets"), "F2 F4 F7 I7 K2"),
    "fair_reviews": Source(partial(of_task, "reviews"), "F4 F7 K2"),
    "fair_verbs": Source(partial(of_task, "verbs"), "F2 F7 K2"),
    "fair_codes": Source(fair_uses.of_codes, "F2 F4 I7 U3"),
    "fair_replies": Source(fair_uses.of_replies, "U1"),
    "fair_emails": Source(fair_uses.of_emails, "I6 U2"),
    "fair_writers": Source(fair_uses.of_writers, "I6 U4"),
    "fair_together": Source(fair_together.of_together, "C1 C2"),
    "fair_costs": Source(fair_costs.of_costs, "F6 I5 K3 K4"),
    "misled_shuffled": Source(misled.of_shuffled, "I2"),
    "misled_faults": Source(misled.of_faults, "I8"),
    "updates_often": Source(updating.of_updates, "F8"),
    "stays": Source(stays.of_stays, "F1 F3 F5 I1 I3 I4 K1 K5"),
    "full_change": Source(stays.of_full_change, "F1"),
}

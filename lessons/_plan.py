"""How a study is carried out: what is done in which order, where its rows go, and its command.

A study names its stored results in a dictionary, from a name to a function that gives a `Plan`.
"""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from helpers import model as models
from helpers.data import DATA
from helpers.model import LanguageModel
from helpers.study import Store, collect, run


class Plan(NamedTuple):
    """How a stored result is made: its cells, their work, and what `store.Store` needs.

    `work(**cell)` gives the rows of a cell, such as `{"draw": 3, "shots": 8}`.
    """

    cells: list[dict]
    work: Callable[..., list[dict]]
    settled: dict
    numbers: list[str]


def carry_out(
    name: str, lm: LanguageModel, plan: Plan, out: str | Path | None = None
) -> pd.DataFrame:
    """Do the work of every cell, with a progress bar; tidy rows.

    With `out`, a CSV file, each cell's rows are stored as soon as they are known, and a second call
    goes on where the first was interrupted. Raises `DataError` as `store.Store` does.
    """
    store = Store(out, lm, plan.settled, plan.numbers) if out else None
    return collect(plan.cells, plan.work, store, name)


def parser(module: str, names: Iterable[str], about: str | None) -> argparse.ArgumentParser:
    """The options that every study has; `names` are its stored results."""
    options = argparse.ArgumentParser(prog=f"python -m helpers.studies.{module}", description=about)
    options.add_argument("what", choices=[*names])
    options.add_argument("--draws", type=int, default=10)
    options.add_argument("--model", help="a Hub name or a folder (default: MODEL or the course's)")
    options.add_argument("--out", help="CSV file (default: data/results/WHAT.csv); goes on with it")
    return options


def make(options: argparse.Namespace, planned: Callable[[LanguageModel], Plan]) -> int:
    """Make the stored result that the options ask for; returns the command's exit status."""
    out = Path(options.out or DATA / "results" / f"{options.what}.csv")

    def work() -> None:
        lm = models.load(options.model)
        carry_out(options.what, lm, planned(lm), out)

    return run(work, out)


def main(
    module: str,
    plans: dict[str, Callable[[LanguageModel, int], Plan]],
    arguments: list[str] | None = None,
) -> int:
    """The command line of a study whose plans take a model and the number of draws."""
    options = parser(module, plans, None).parse_args(arguments)
    return make(options, lambda lm: plans[options.what](lm, options.draws))

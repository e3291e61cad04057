"""Lesson 3: the same examples taught in all ways, the explorer of comparisons, the checks.

`python -m lessons support_tickets`, `reviews`, `verbs` and `verbs_long` make the stored results;
`contest` says how those are made whose names begin with `tuned_` and `fair_`.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from html import escape

import numpy as np
import pandas as pd

from helpers import checks, compare
from helpers.curves import all_ways
from helpers.data import DataError, load_task
from helpers.model import LanguageModel
from helpers.study import Made, Study
from helpers.teaching import SEEN
from helpers.widgets import Panel, explorer
from lessons import contest

SHOTS = (8, 32, 128, 256)
CHOOSING = ("majority", "zero-shot", "in-context", "lora", "tfidf", "probe")
WRITING = ("majority", "zero-shot", "in-context", "nearest", "lora")
BY_TASK = {"support_tickets": CHOOSING, "reviews": CHOOSING, "verbs": WRITING}
ITEMS = {"support_tickets": 96, "reviews": 96, "verbs": 60}


def curves_study(lm: LanguageModel, draws: int, task: str) -> Study:
    """Every way on every draw of a task, at each number of examples."""
    return all_ways(lm, load_task(task), SHOTS, draws, ITEMS[task], BY_TASK[task])


def long_study(lm: LanguageModel, draws: int) -> Study:
    """256 verbs trained on in four passes instead of one."""
    verbs = load_task("verbs")
    return all_ways(lm, verbs, [256], draws, ITEMS["verbs"], ["lora"], seen=4 * SEEN)


MADE = {task: Made(150, partial(curves_study, task=task)) for task in ITEMS}
MADE |= {"verbs_long": Made(8, long_study, draws=3)}
for task in contest.TASKS:
    MADE |= {
        f"tuned_{side}_{task}": Made(90, partial(contest.tuning_study, task=task, side=side), 2)
        for side in ("prompt", "weights")
    }
    MADE[f"fair_{task}"] = Made(200, partial(contest.curves_study, task=task))


def curve_of(rows: pd.DataFrame, way: str) -> dict[int, compare.Interval]:
    """The accuracy of a way at each number of examples; what is not taught has one, at 0."""
    sizes = sorted(set(compare.where(rows, way=way)["shots"]))
    return {n: compare.interval(compare.right(rows, way=way, shots=n)) for n in sizes}


def cost_table(rows: pd.DataFrame) -> pd.DataFrame:
    """The mean measured cost of each way and number of examples.

    Seconds per query are with the demonstrations that queries share read once.
    """
    measured = rows.assign(
        seconds_to_teach=rows["teach_seconds"],
        seconds_per_query=rows["ask_seconds"] / rows["right"].str.len(),
        tokens_to_teach=rows["taught_tokens"],
        tokens_per_query=rows["prefix_tokens"] + rows["query_tokens"],
        kilobytes_kept=rows["stored_bytes"] / 1e3,
    )
    columns = [name for name in measured if name not in rows]
    return measured.groupby(["way", "shots"], sort=False)[columns].mean()


# Explorer and checks


def comparison_explorer(results: Mapping[str, pd.DataFrame]) -> Panel:
    """Choose a result, two ways and a number of examples; see each draw and the difference."""

    def ways(task: str, first: str) -> list[str]:
        names = list(dict.fromkeys(results[task]["way"]))
        return sorted(names, key=lambda name: name != first)

    def show(task: str, way: str, against: str, examples: int) -> str:
        rows = results[task]
        try:
            gap = compare.difference(rows, way, against, shots=examples)
        except DataError as error:
            return f"<p>{escape(str(error))}</p>"
        dots = "".join(_dots(name, _accuracies(rows, name, examples)) for name in (way, against))
        head = f"<p><b>{escape(way)}</b> minus <b>{escape(against)}</b>: {escape(str(gap))}, "
        return f"{head}worst {gap.worst:+.2f}</p><table>{dots}</table>"

    return explorer(
        show,
        "An explorer of comparisons, in a live notebook.",
        task=list(results),
        way=lambda task: ways(task, "lora"),
        against=lambda task: ways(task, "in-context"),
        examples=lambda task: sorted(set(results[task]["shots"]) - {0}),
    )


def _accuracies(rows: pd.DataFrame, way: str, shots: int) -> np.ndarray:
    """The accuracy in each draw; what is not taught has one, at 0 shots."""
    return compare.right(rows, way=way, shots=[0, shots]).mean(1)


def _dots(name: str, accuracies: Sequence[float]) -> str:
    """One dot for each draw on a line from 0 to 1."""
    dot = "position:absolute;top:3px;width:8px;height:8px;border-radius:4px;background:#0072B2"
    dots = "".join(
        f"<span title='{value:.2f}' style='{dot};opacity:.6;left:{300 * value:.0f}px'></span>"
        for value in accuracies
    )
    line = "position:relative;width:310px;height:14px;border-bottom:1px solid #999"
    return (
        f"<tr><td style='text-align:right'>{escape(name)}</td><td><div style='{line}'>{dots}</div>"
        f"</td><td>mean {np.mean(accuracies):.2f}</td></tr>"
    )


def check_wins(results: pd.DataFrame, a: str, b: str, shots: int, count: int | None) -> None:
    """Check in how many draws way `a` is right more often than `b`."""
    truth = compare.difference(results, a, b, shots=shots)
    losses, tied = truth.draws - truth.wins - truth.ties, truth.wins + truth.ties
    mistakes = {f"that is how often {b} is ahead; turn the comparison round.": losses}
    checks.judge(
        count,
        truth.wins,
        f"{a} is ahead in {truth.wins} of {truth.draws} draws.",
        "{answer} is not the number of draws in which " + f"{a} is ahead.",
        mistakes | ({"a tie is not a win.": tied} if truth.ties else {}),
    )


def check_mean_difference(
    results: pd.DataFrame, a: str, b: str, shots: int, difference: float | None
) -> None:
    """Check the mean paired difference of way `a` minus `b`, worked out by hand."""
    truth = compare.difference(results, a, b, shots=shots)
    total = truth.mean * len(compare.right(results, way=a, shots=shots).ravel())
    checks.judge(
        difference,
        truth.mean,
        f"{truth}.",
        "{answer:.4f} is not the mean difference.",
        {
            f"the sign is wrong: take {b} away from {a}.": -truth.mean,
            "take the mean over draws and questions, not the sum.": (total, total / truth.draws),
        },
    )

"""Does it survive at seven billion weights? Published runs of larger models.

`data/larger_models.csv` holds what Bertsch et al. 2024 (arXiv 2405.00200) published: accuracy on
250 test items by number of examples, in context, in context with retrieved ones, and fine-tuned.
Medians over runs are taken, because a few runs failed; a size that was run once tells nothing of
luck and is left out of the figure.
"""

import numpy as np
import pandas as pd
from scipy.stats import t

from helpers import plots
from helpers.compare import Interval
from helpers.data import DATA

PROMPT, WEIGHTS = "llama-2-7b-80k", "Llama-2-7b"  # one model; the first reads longer prompts
LINES = {
    "weights": (WEIGHTS, "fine-tuned"),
    "prompt": (PROMPT, "in-context"),
    "prompt, retrieved": (PROMPT, "in-context, retrieved"),
}
NAMES = {
    "banking77": "bank, 77 topics",
    "clinic": "assistant, 150 topics",
    "nlu": "household, 68 topics",
    "trec": "questions, 6 kinds",
    "trecfine": "questions, 50 kinds",
}
FEW = 32  # the smallest number of examples that was fine-tuned on


def published() -> pd.DataFrame:
    """All published rows: data, model, way, examples, runs, mean, median, standard deviation."""
    return pd.read_csv(DATA / "larger_models.csv")


def curve(rows: pd.DataFrame, data: str, line: str) -> dict[int, Interval]:
    """The median at each number of examples that was run several times.

    Its interval holds the 95 % t-interval of the mean over runs, which a failed run makes wide.
    """
    model, way = LINES[line]
    chosen = rows[(rows["data"] == data) & (rows["model"] == model) & (rows["way"] == way)]
    points = {}
    for row in chosen[chosen["runs"] > 1].itertuples():
        half = t.ppf(0.975, row.runs - 1) * row.standard_deviation / np.sqrt(row.runs)
        low, high = row.mean_accuracy - half, min(1.0, row.mean_accuracy + half)
        middle = row.median_accuracy
        points[row.examples] = Interval(middle, min(middle, low), max(middle, high))
    return points


def draw(rows: pd.DataFrame) -> None:
    """Three data sets, those where all examples help the weights least, middling and most.

    The title says who is ahead with few examples and with many, and counts all data sets.
    """
    claims = at_7b(rows)
    by_end = list(claims["at many"].sort_values().index)
    shown = (by_end[0], by_end[len(by_end) // 2], by_end[-1])
    panels = {
        name: {line: curve(rows, data, line) for line in LINES}
        for data, name in NAMES.items()
        if name in shown
    }
    few, many = (int((claims[column] > 0).sum()) for column in ("at few", "at many"))
    plots.whiskers(
        panels,
        f"At 7B the weights are ahead on {few} of {len(claims)} data sets with {FEW} examples, on "
        f"{many} when each has its most",
        f"Llama-2-7B: with {FEW} examples fine-tuning minus prompt is "
        f"{claims['at few'].min():+.2f} to {claims['at few'].max():+.2f}; when each has its most, "
        f"{claims['at many'].min():+.2f} to {claims['at many'].max():+.2f} "
        "(shown are the lowest, the middle and the highest).",
        x="labelled examples",
        y="accuracy on 250 test items",
        form="curves",
    )


def at_7b(rows: pd.DataFrame) -> pd.DataFrame:
    """For each data set the contrasts of F4, F7, I7 and K2, from medians.

    `at few` and `at many` are weights minus prompt, with 32 examples and with the most that either
    had; the prompt's accuracy between two measured sizes is taken as straight in log n.
    """
    lines = []
    for data, name in NAMES.items():
        weights, prompt = (
            {n: point.mean for n, point in curve(rows, data, line).items()}
            for line in ("weights", "prompt")
        )
        retrieved = max(point.mean for point in curve(rows, data, "prompt, retrieved").values())
        sizes = sorted(prompt)
        shown = np.interp(np.log(FEW), np.log(sizes), [prompt[n] for n in sizes])
        most, best = weights[max(weights)], max(prompt.values())
        few, many = weights[FEW] - shown, most - best
        lines.append(
            {
                "data": name,
                "F4: weights, most examples": most,
                "F7: weights, 256 minus 32": weights[256] - weights[FEW],
                "I7: weights minus best prompt": most - max(best, retrieved),
                "K2: gain of the weights": many - few,
                "at few": few,
                "at many": many,
            }
        )
    return pd.DataFrame(lines).set_index("data")


def compared(rows: pd.DataFrame) -> pd.DataFrame:
    """Weights minus prompt for each data set: with 32 examples, with as many as the prompt held,
    and each with its most; then minus the better prompt, and how many its most were.

    Between two measured sizes accuracy is taken as straight in log n.
    """
    lines, table = {}, at_7b(rows)
    for data, name in NAMES.items():
        weights, prompt = (
            {n: point.mean for n, point in curve(rows, data, line).items()}
            for line in ("weights", "prompt")
        )
        sizes, held = sorted(weights), max(prompt)
        equal = np.interp(np.log(held), np.log(sizes), [weights[n] for n in sizes]) - prompt[held]
        most = f"{max(weights):,} and {held:,}"
        few, many, retrieved = table.loc[
            name, ["at few", "at many", "I7: weights minus best prompt"]
        ]
        lines[name] = (few, equal, many, retrieved, most)
    columns = [f"{FEW} each", "the prompt's most, each", "each its most"]
    columns += ["each its most, better prompt", "the most of weights and prompt"]
    return pd.DataFrame.from_dict(lines, orient="index", columns=columns).rename_axis("data")

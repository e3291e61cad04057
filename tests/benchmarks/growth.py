"""How cost grows with demonstrations, queries, labels and examples.

`python -m tests.benchmarks.growth` times each size three times, in processor seconds on one thread;
the least counts, because other programs only add. What is fitted is a + b n^p. It writes
`data/results/growth.csv` and `docs/growth.png`.
"""

import time
from collections.abc import Callable
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from scipy.optimize import curve_fit

from helpers import finetune, model, prompts, scoring
from helpers.data import DATA, Task, load_task, texts
from helpers.finetune import Recipe
from helpers.model import LanguageModel

TASK = load_task("support_tickets")
NOUNS = [row.text for row in load_task("category").train]
POOL = list(TASK.train)
ROUNDS = 3
ROOM = 64  # tokens for other questions and for the label
TITLE = (
    "Queries and examples cost in proportion, labels less;"
    " demonstrations more once their attention counts"
)


def demonstrations(lm: LanguageModel, n: int) -> None:
    """16 queries behind n demonstrations."""
    scoring.score_labels(lm, TASK, POOL[:n], texts(TASK.held_out)[:16])


def queries(lm: LanguageModel, n: int) -> None:
    """n queries behind 8 demonstrations."""
    asked = texts(TASK.held_out)
    scoring.score_labels(lm, TASK, POOL[:8], [asked[i % len(asked)] for i in range(n)])


def labels(lm: LanguageModel, n: int) -> None:
    """16 queries with n labels behind 8 demonstrations."""
    names = tuple(NOUNS[:n])
    shown = [replace(example, label=names[i % n]) for i, example in enumerate(POOL[:8])]
    task = Task("nouns", TASK.template, tuple(shown), (), names, {name: name for name in names})
    scoring.score_labels(lm, task, shown, texts(TASK.held_out)[:16])


def examples(lm: LanguageModel, n: int) -> None:
    """One training pass over n examples."""
    finetune.tune(lm, TASK, POOL[:n], Recipe(passes=1))


def sizes(lm: LanguageModel) -> dict[Callable, list[int]]:
    """What is timed at which sizes; demonstrations up to all that fit."""
    longest = max(texts(TASK.held_out), key=len)
    most = len(prompts.fit(lm.tokenizer, TASK, POOL, longest, lm.context - ROOM))
    doubled = [n for n in (1, 2, 4, 8, 16, 32, 64, 128, 256) if n < most]
    return {
        demonstrations: [*doubled, most],
        queries: [8, 16, 32, 64, 128, 256],
        labels: [2, 4, 8, 16, 32, 64],
        examples: [8, 16, 32, 64, 128],
    }


def measured(lm: LanguageModel) -> pd.DataFrame:
    """A row for each size: what, n, seconds."""
    rows = []
    for work, counts in sizes(lm).items():
        for n in counts:
            taken = []
            for _ in range(ROUNDS):
                began = time.process_time()
                work(lm, n)
                taken.append(time.process_time() - began)
            rows.append({"what": work.__name__, "n": n, "seconds": round(min(taken), 3)})
            print(*rows[-1].values(), flush=True)
    return pd.DataFrame(rows)


def fitted(rows: pd.DataFrame) -> tuple[float, float, float]:
    """a, b and p of a + b n^p: what is paid once, and how the rest grows; least squares of logs."""

    def log_seconds(n: np.ndarray, once: float, each: float, power: float) -> np.ndarray:
        return np.log(once + each * n**power)

    first = rows["seconds"].iloc[0]
    start, most = (first / 2, first / 20, 1.0), (first, np.inf, 3.0)
    seconds = np.log(rows["seconds"])
    return tuple(curve_fit(log_seconds, rows["n"], seconds, start, bounds=(0, most))[0])


def draw(table: pd.DataFrame) -> None:
    """A panel for each, with its fitted growth."""
    figure, axes = plt.subplots(1, 4, figsize=(13, 3.6), layout="constrained", sharey=True)
    for axis, (what, rows) in zip(axes, table.groupby("what", sort=False), strict=True):
        once, each, power = fitted(rows)
        line = np.geomspace(rows["n"].min(), rows["n"].max(), 50)
        axis.loglog(rows["n"], rows["seconds"], "o", color="tab:blue")
        axis.loglog(line, once + each * line**power, color="0.6")
        axis.set(title=f"{once:.1f} s + {each:.2g} s × n^{power:.2f}", xlabel=what)
        axis.set_xticks(rows["n"].iloc[::2], rows["n"].iloc[::2])
        axis.minorticks_off()
    axes[0].set_yticks([2, 5, 10, 20, 50], [2, 5, 10, 20, 50])
    axes[0].set_ylabel("processor seconds, one thread")
    figure.suptitle(TITLE)
    figure.savefig(DATA.parent / "docs" / "growth.png", dpi=110)


def main() -> None:
    """Measure, store, draw."""
    torch.set_num_threads(1)
    table = measured(model.load())
    table.to_csv(DATA / "results" / "growth.csv", index=False)
    draw(table)


if __name__ == "__main__":
    main()

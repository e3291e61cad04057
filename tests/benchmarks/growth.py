"""How cost grows with demonstrations, queries, labels and examples.

`python -m tests.benchmarks.growth` times each size three times, in processor seconds on one thread;
the least counts, because other programs only add. The exponent is fitted to all sizes on
logarithmic axes. It writes `data/results/growth.csv` and `docs/growth.png`.
"""

import time
from collections.abc import Callable
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from helpers import finetune, model, prompts, scoring
from helpers.data import DATA, Task, load_task, texts
from helpers.finetune import Recipe
from helpers.model import LanguageModel

TASK = load_task("support_tickets")
NOUNS = [row.text for row in load_task("category").train]
POOL = list(TASK.train)
ROUNDS = 3
ROOM = 64  # tokens for other questions and for the label


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


def exponent(rows: pd.DataFrame) -> float:
    """The slope of log seconds over log n."""
    return float(np.polyfit(np.log(rows["n"]), np.log(rows["seconds"]), 1)[0])


def draw(table: pd.DataFrame) -> None:
    """A panel for each, with its exponent, and a straight line of that slope."""
    figure, axes = plt.subplots(1, 4, figsize=(13, 3.4), layout="constrained", sharey=True)
    for axis, (what, rows) in zip(axes, table.groupby("what", sort=False), strict=True):
        power, middle = exponent(rows), np.exp(np.log(rows[["n", "seconds"]]).mean())
        fitted = middle["seconds"] * (rows["n"] / middle["n"]) ** power
        axis.loglog(rows["n"], rows["seconds"], "o", color="tab:blue")
        axis.loglog(rows["n"], fitted, color="0.6")
        axis.set(title=f"{what}: n^{power:.2f}", xlabel=what)
    axes[0].set_ylabel("processor seconds")
    figure.savefig(DATA.parent / "docs" / "growth.png", dpi=110)


def main() -> None:
    """Measure, store, draw."""
    torch.set_num_threads(1)
    table = measured(model.load())
    table.to_csv(DATA / "results" / "growth.csv", index=False)
    draw(table)


if __name__ == "__main__":
    main()

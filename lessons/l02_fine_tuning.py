"""Lesson 2: how far full fine-tuning moves each matrix, the explorer of the loss, the checks."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from math import inf, nan
from pathlib import Path

import numpy as np
import torch

from helpers import checks
from helpers.data import Example, Task, load_task, write_whole
from helpers.finetune import encode_examples, token_losses, tune
from helpers.model import LanguageModel
from helpers.study import Made, this_run
from helpers.teaching import FULL
from helpers.widgets import Panel, explorer
from lessons import matrices

TASK, SHOTS = "support_tickets", 64


def write_full_change(lm: LanguageModel, path: Path) -> None:
    """Fine-tune all weights on 64 tickets, four passes; store how far each matrix moved.

    Writes the CSV file `path`, and beside it as JSON how that was made.
    """
    task = load_task(TASK)
    tuned = tune(lm, task, task.draw(SHOTS, seed=0), FULL)
    table = matrices.change(tuned.lm, lm)
    settings = {"method": FULL.method, "passes": FULL.passes, "rate": FULL.rate}
    settings |= {"batch": FULL.batch, "seed": 0}
    record = {"task": TASK, "shots": SHOTS, "settings": settings}
    record |= {"losses": tuned.history.loss.round(4).to_list(), "runs": [this_run(lm)]}
    write_whole(path, table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    write_whole(path.with_suffix(".json"), json.dumps(record, indent=1))


MADE = {"full_change": Made(6, write=write_full_change, place="results/full_change.csv")}


def loss_explorer(
    models: Mapping[str, LanguageModel], task: Task, examples: Sequence[Example]
) -> Panel:
    """Choose an example; see its tokens, and for each model what each of them costs in nats.

    The tokens that the training loss counts are orange, the others grey.
    """

    def show(example: Example) -> str:
        lm = next(iter(models.values()))
        (encoded,) = encode_examples(lm, task, [example])
        losses = [token_losses(model, encoded) for model in models.values()]
        boxes = [
            _box(lm.tokenizer.decode([token]), [loss[i] for loss in losses], i + 1 >= encoded.start)
            for i, token in enumerate(encoded.tokens[1:])
        ]
        return (
            f"<p>Below each token: -log p in nats, {escape(', then '.join(models))}. The loss "
            f"counts the orange ones.</p>{''.join(boxes)}"
        )

    choices = {example.text: example for example in examples}
    return explorer(show, "An explorer of the loss, in a live notebook.", example=choices)


def _box(token: str, losses: Sequence[float], counted: bool) -> str:
    """A token over its losses."""
    colour = "#D55E00" if counted else "#767676"
    numbers = "<br>".join(f"{loss:.1f}" for loss in losses)
    return (
        f"<span style='display:inline-block;margin:2px;padding:2px 4px;text-align:center;"
        f"border-top:4px solid {colour};font-family:monospace;white-space:pre;line-height:1.3'>"
        f"{escape(repr(token)[1:-1])}<br><span style='color:{colour}'>{numbers}</span></span>"
    )


def check_adapter_weights(matrix: torch.nn.Linear, rank: int, count: int | None) -> None:
    """Check how many weights an adapter of `rank` puts beside one matrix."""
    wide, narrow = matrix.in_features, matrix.out_features
    truth = rank * (wide + narrow)
    share = truth / (wide * narrow)
    one = "that is only one of the two thin matrices; add the other."
    checks.judge(
        count,
        truth,
        f"{truth:,} weights, {share:.1%} of the matrix beside it.",
        "{answer} is not the size of A and B together.",
        {
            "that is the matrix itself, which stays as it is; count A and B.": wide * narrow,
            one: (rank * wide, rank * narrow),
            "the sizes of A and B add up; they are not multiplied.": rank**2 * wide * narrow,
        },
    )


def check_learning_rate(
    teach: Callable[[float], Iterable[float]], rate: float | None, below: float
) -> None:
    """Check that a training with the learner's rate ends with a loss below a bound.

    `teach(rate)` trains a fresh model and gives the loss at each step.
    """
    problem, losses = None, [nan]
    if rate is not None and not 0 < rate < inf:
        problem = "a learning rate is a number above 0."
    elif rate is not None:
        losses = list(teach(rate))
        problem = _rate_problem(losses, below)
    checks.tell(
        rate is not None, problem, f"the loss falls from {losses[0]:.2f} to {losses[-1]:.2f}."
    )


def _rate_problem(losses: Sequence[float], below: float) -> str | None:
    first, last = losses[0], losses[-1]
    if last < below:
        return None
    path = f"the loss goes from {first:.2f} to {last:.2f}, not below {below:g}"
    highest = float(np.max(losses))  # nan where one is nan
    if not highest <= 1.5 * first:
        return f"{path}, and on the way it jumps to {highest:.2f}: the rate is too large."
    return f"{path}, and it never jumps: the rate is too small."

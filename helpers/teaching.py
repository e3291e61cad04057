"""Every way to teach the same examples: shown in the prompt, trained into the weights, or both.

A `Way` says how many examples are shown and how many are trained; `teach` does either, and `ask`
puts queries to what came of it.

The settings below are the same for every task, and none was chosen on held-out items. Batch, rank
and the rate of 1e-3 did well on another task (banking questions); 2 and 4 passes and rates of 5e-4,
1e-3 and 2e-3 were then compared on training rows of the tickets.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from helpers.cost import Clock
from helpers.data import Example, Task
from helpers.finetune import Recipe, tune
from helpers.model import LanguageModel
from helpers.prompts import Style, chat, nearest, plain
from helpers.scoring import Demonstrations, answer, batch_calibration, predict, score_labels

ALL = None  # as the number of examples: those of the whole draw
SEEN = 256  # examples that a training sees in all passes: 32 steps of 8, whatever their number
MOST_PASSES = 16
LORA = Recipe("lora", rate=1e-3, batch=8, rank=8)
FULL = Recipe("full", rate=2e-3, batch=8)  # of Adafactor, relative to a matrix's size
ANSWER_TOKENS = 8  # room for a written answer


@dataclass(frozen=True)
class Way:
    """One way to teach a draw of examples, and to ask afterwards.

    `shown` examples stand in the prompt and `trained` ones go into the weights (`ALL`: the whole
    draw); with `nearest`, those shown are chosen for each query. `passes` over the trained ones are
    by default as many as let the training see `SEEN` examples. An `instruction` stands at the
    prompt's head. The `readout` is "plain" (the likeliest label), "calibrated" (the same, batch-
    calibrated) or "written"; by default plain where the task has labels. `in_turns` uses the
    model's chat form, where it has one.
    """

    label: str
    shown: int | None = 0
    trained: int | None = 0
    passes: int | None = None
    instruction: str = ""
    readout: str = ""
    nearest: bool = False
    in_turns: bool = False
    recipe: Recipe = LORA


class Taught(NamedTuple):
    """What came of teaching: a model, and what stands before every query.

    `tokens` went through training, in `wall` seconds and `processor` seconds, with the `losses` of
    its steps in nats per token. `note` says why it ended early, if it did.
    """

    way: Way
    lm: LanguageModel
    task: Task
    demonstrations: Demonstrations
    style: Style = plain
    tokens: int = 0
    wall: float = 0.0
    processor: float = 0.0
    losses: Sequence[float] = ()
    note: str = ""


def passes(examples: int, seen: int = SEEN) -> int:
    """Passes over the data, so that every size of draw gets about as many steps."""
    return min(MOST_PASSES, max(1, seen // examples))


def teach(
    lm: LanguageModel, task: Task, way: Way, seed: int, examples: Sequence[Example] | None = None
) -> Taught:
    """Teach the task's draw of this seed, or `examples`, in one way; `lm` itself is not changed.

    A larger draw begins with the smaller one, so ways with other numbers share their examples.
    Raises `KeyboardInterrupt` when a person ends a training, because half of one is no result,
    `DataError` when so many cannot be drawn, and what `tune` raises.
    """
    if examples is None:
        examples = task.draw(max(way.shown or 0, way.trained or 0), seed)
    task = replace(task, instruction=way.instruction or task.instruction)
    style = chat(lm.tokenizer) if way.in_turns and lm.tokenizer.chat_template else plain
    shown, trained = list(examples[: way.shown]), examples[: way.trained]
    if way.nearest:
        shown = nearest(examples, min(way.shown, len(examples)))
    if not trained:
        return Taught(way, lm, task, shown, style)
    recipe = replace(way.recipe, passes=way.passes or passes(len(trained)))
    with Clock() as clock:
        tuned = tune(lm, task, trained, recipe, seed, style)
    if tuned.interrupted:
        raise KeyboardInterrupt
    tokens = int(tuned.history.tokens.sum())
    spent = clock.wall, clock.processor
    losses = tuned.history.loss
    return Taught(way, tuned.lm, task, shown, style, tokens, *spent, losses, tuned.note)


def ask(taught: Taught, queries: Sequence[str], room: int = ANSWER_TOKENS) -> list[str]:
    """The answer to each query, by the way's readout; a written one has at most `room` tokens.

    Raises `PromptTooLong` where demonstrations and query do not fit the context.
    """
    readout = taught.way.readout or ("plain" if taught.task.labels else "written")
    before = taught.task, taught.demonstrations, queries
    if readout == "written":
        return answer(taught.lm, *before, taught.style, room)
    return read_out(taught.task, score_labels(taught.lm, *before, taught.style), readout)


def read_out(task: Task, scores: np.ndarray, readout: str) -> list[str]:
    """The label that the scores [queries, labels] say, "plain" or "calibrated"."""
    return predict(task, batch_calibration(scores) if readout == "calibrated" else scores)


def taught_bytes(lm: LanguageModel) -> int:
    """What the weights that training moved take: those that have to be kept."""
    return sum(weight.nbytes for weight in lm.model.parameters() if weight.requires_grad)

"""Fine-tuning on all rows, until the rows for choosing are answered no better or time is over.

The learning rate rises at first and has fallen to zero at the last pass or at the end of the time,
whichever comes first, so a training that has little time is a short one and not half of a long one.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import torch

from helpers.adapters import in_bfloat16
from helpers.data import Task, texts
from helpers.finetune import WARM_UP, encode_examples, rounds, train_adapter, with_adapter
from helpers.model import LanguageModel
from helpers.teaching import LORA
from own_data.classifiers import best_of, merit
from own_data.clock import Clock
from own_data.prompted import Asked, pool_of, readings, with_all
from own_data.reading import Round

MOST_PASSES, MOST_SEEN = 16, 8192  # over the rows; and rows seen in all passes
LOOK, PATIENCE = 16, 3  # steps between two looks at the dev rows; looks without a better one
FEWEST, LOOK_SHARE = 8, 0.04  # dev rows in a look; share of the time that a look may take
CUT_SHORT = "its time was over while it still improved"


def train(lm: LanguageModel, given: Round, clock: Clock, until: float) -> tuple[Asked, str]:
    """Train an adapter on a round's rows `until` a time at most; `lm` itself is not changed.

    Returns the model as it was where it answered the dev rows best, read plainly or calibrated,
    and `CUT_SHORT` where more time would have gone on. Raises `FloatingPointError` where a step's
    loss is no number.
    """
    task, began, each = given.task, clock.now(), len(given.task.train)
    passes = min(MOST_PASSES, max(1, MOST_SEEN // each))
    plan = _steps(lm, task, passes)
    tuned = with_adapter(lm, LORA.rank, 0)
    level = falling(len(plan), lambda: (clock.now() - began) / max(1e-9, until - began))
    steps = train_adapter(tuned, plan, LORA.rate, level)
    weights = [weight for name, weight in tuned.model.named_parameters() if "lora_" in name]
    asked = Asked(tuned, task, pool=pool_of(task, task.train)).measured()
    best, best_merit, since, done, dev = None, (-math.inf, 0.0), 0, 0, list(given.dev)
    while best is None or (since < PATIENCE and done < len(plan) and clock.now() < until):
        with in_bfloat16(tuned.model, rounds(lm)):
            done += _some_steps(steps, clock, until, f"fine-tuning, step {{}} of {len(plan)}", done)
        log_p = _look(asked, dev, clock, LOOK_SHARE * (until - began))
        dev = dev[: len(log_p)]
        since += 1
        if merit(log_p, dev, task.labels) > best_merit:
            best_merit, since = merit(log_p, dev, task.labels), 0
            best = [weight.detach().clone() for weight in weights], log_p, done
    kept, log_p, stop = best
    with torch.no_grad():
        for weight, value in zip(weights, kept, strict=True):
            weight.copy_(value)
    stopped = replace(asked, passes=passes * stop / len(plan))
    read = readings(replace(stopped, setting=f"{stopped.passes:.1f} passes"), log_p, task)
    chosen = read[best_of([log_p for _, log_p in read], dev, task.labels)][0]
    return with_all(chosen, given), CUT_SHORT if done < len(plan) and not since else ""


def falling(steps: int, spent: Callable[[], float]) -> Callable[[int], float]:
    """The learning rate's factor at each step: up to 1, then down to 0 as steps or time are spent.

    `spent()` is the share of the time that is over.
    """
    peak = max(1, min(LOOK // 2, round(WARM_UP * steps)))
    return lambda step: max(0.0, min((step + 1) / peak, 1 - max(step / steps, spent())))


def _steps(lm: LanguageModel, task: Task, passes: int) -> list[tuple[int, list]]:
    """The batches of so many passes over a task's rows, each pass in an order of its own."""
    encoded, rng = encode_examples(lm, task, task.train), np.random.default_rng(0)
    orders = [rng.permutation(len(encoded)) for _ in range(passes)]
    cuts = range(0, len(encoded), LORA.batch)
    return [
        (number, [encoded[i] for i in order[cut : cut + LORA.batch]])
        for number, order in enumerate(orders, 1)
        for cut in cuts
    ]


def _some_steps(steps: Iterator[dict], clock: Clock, until: float, doing: str, done: int) -> int:
    """Take steps up to the next look, or until time is over; returns how many."""
    taken = 0
    for record in islice(steps, LOOK):
        taken += 1
        clock.tell(f"{doing.format(done + taken)}, loss {record['loss']:.2f}")
        if clock.now() > until:
            break
    return taken


def _look(asked: Asked, dev: list, clock: Clock, seconds: float) -> np.ndarray:
    """Log-probabilities [rows, labels] of as many dev rows as there is time for."""
    began, log_ps = clock.now(), []
    for start in range(0, len(dev), FEWEST):
        log_ps.append(asked.log_p(texts(dev[start : start + FEWEST])))
        if clock.now() - began > seconds:
            break
    return np.concatenate(log_ps)

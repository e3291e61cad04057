"""What comparison fits a given time, and carrying it out draw by draw until the time is up."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from helpers import curves, study
from helpers.cost import Clock, forward_flops, in_pieces, training_flops
from helpers.curves import NEIGHBOURS
from helpers.data import DataError, Task, texts, write_whole
from helpers.finetune import tune
from helpers.model import LanguageModel
from helpers.prompts import count_tokens, plain
from helpers.scoring import score_labels
from helpers.study import digest
from helpers.teaching import LORA, SEEN

ALL = ("majority", "zero-shot", "in-context", "nearest", "lora", "tfidf")
QUICKER = tuple(name for name in ALL if name != "nearest")  # it shares no demonstrations
# Examples of a draw, questions, and examples seen in training: the first that fits is taken.
SIZES = (
    (256, 96, SEEN),
    (128, 96, SEEN),
    (64, 64, SEEN),
    (64, 48, SEEN // 2),
    (32, 48, SEEN // 2),
    (32, 32, SEEN // 4),
    (16, 32, SEEN // 4),
    (8, 24, SEEN // 8),
)
FEW, MANY = 3, 10  # draws: at least, and at most, where their number is not given
MARGIN = 0.85  # share of the time that is planned for
TRIED = 8  # examples for the trial


class Speed(NamedTuple):
    """Seconds that a FLOP takes in reading and in training, on this machine with this model."""

    reading: float
    training: float


class Plan(NamedTuple):
    """A comparison: its ways, draws, examples of a draw, questions, examples seen in training.

    `seconds` are expected for one draw.
    """

    ways: tuple[str, ...]
    draws: int
    shots: int
    items: int
    seen: int
    seconds: float


def trial(lm: LanguageModel, task: Task) -> Speed:
    """Train two steps and ask a few questions, to see how fast it goes. Takes some seconds."""
    drawn, asked = task.draw(min(TRIED, len(task.train)), 0), texts(task.held_out[:TRIED])
    tuned = tune(lm, task, drawn, replace(LORA, passes=2))
    taught = float(tuned.history.tokens.sum())
    training = tuned.history.seconds.sum() / training_flops(lm, taught, told=taught / 4)
    with Clock() as clock:
        score_labels(lm, task, drawn, asked)
    shown, query = _lengths(lm, task)
    reading = clock.wall / _asking_flops(lm, len(drawn) * shown, query, len(asked))
    return Speed(reading, training)


def expected(
    lm: LanguageModel, task: Task, speed: Speed, ways: Sequence[str], size: Sequence[int]
) -> float:
    """Seconds for one draw of a size: a triple of `SIZES`."""
    shots, items, seen = size
    each, query = _lengths(lm, task)
    asking = {
        "zero-shot": _asking_flops(lm, 0, query, items),
        "in-context": _asking_flops(lm, shots * each, query, items),
        "nearest": items * forward_flops(lm, min(NEIGHBOURS, shots) * each + query),
        "lora": _asking_flops(lm, 0, query, items),
    }
    read = sum(asking.get(name, 0) for name in ways)
    trained = training_flops(lm, seen * each, told=seen) if "lora" in ways else 0
    return read * speed.reading + trained * speed.training


def plan(
    lm: LanguageModel,
    task: Task,
    speed: Speed,
    seconds: float,
    draws: int | None = None,
    seen: int = SEEN,
) -> Plan:
    """The largest comparison of `SIZES` that fits into `seconds`, with all its draws.

    Without a number of draws it takes as many as fit, from `FEW` to `MANY`. A draw is no larger
    than what a prompt can hold, so that both ways get the same. Fewer than `SEEN` examples
    `seen` in training ask for a quick look: only sizes that show no more are taken, or the
    smallest, and the nearest examples, dear to ask, are left out. Raises `DataError` when not even
    that fits.
    """
    if draws is not None and draws < 1:
        raise DataError(f"A comparison needs at least 1 draw, not {draws}.")
    most = min(len(task.train), _held_by_prompt(lm, task))
    for size in [size for size in SIZES if size[2] <= seen] or SIZES[-1:]:
        shots, items = min(size[0], most), min(size[1], len(task.held_out))
        for ways in (ALL, QUICKER) if seen >= SEEN else (QUICKER,):
            each = expected(lm, task, speed, ways, (shots, items, size[2]))
            fits = int(MARGIN * seconds / each)
            if fits >= (draws or FEW):
                chosen = draws or min(MANY, fits)
                return Plan(ways, chosen, shots, items, size[2], each)
    needed = each * (draws or FEW) / MARGIN / 60
    raise DataError(
        f"There is too little time: the smallest comparison of {draws or FEW} draws takes about "
        f"{needed:.1f} minutes here; give --minutes {int(needed) + 2}, or fewer draws."
    )


def carry_out(
    lm: LanguageModel, task: Task, planned: Plan, out: str | Path, deadline: float
) -> pd.DataFrame:
    """Carry the plan out, draw by draw, into the CSV file `out`; rows as of `curves.all_ways`.

    No draw is begun that would not end before `deadline` (of `time.monotonic`), but one is made in
    any case. A second call goes on where the first was interrupted.
    """
    slowest = planned.seconds
    rows = pd.DataFrame()
    for done in tqdm(range(planned.draws), desc="draws", leave=False):
        began = time.monotonic()
        if done and began + slowest > deadline:
            break
        planned_study = curves.all_ways(
            lm, task, [planned.shots], done + 1, planned.items, planned.ways, planned.seen
        )
        rows = study.carry_out(planned_study, lm, out)
        slowest = max(slowest if done else 0, time.monotonic() - began)
    return rows


def described(planned: Plan, task: Task) -> str:
    """What a plan compares, in words."""
    left = len(task.train) - planned.shots
    less = " (fewer than usual, to save time)" if planned.seen < SEEN else ""
    return (
        f"{planned.draws} draws of {planned.shots} examples with {len(task.labels)} labels, the "
        f"same for every way, and {planned.items} other questions. Training shows "
        f"{max(planned.seen, planned.shots)} examples in all passes together{less}. "
        f"{left} examples are left over."
    )


def settled_plan(folder: Path, lm: LanguageModel, task: Task, make) -> Plan:
    """The plan in `folder`, where a run with the same data and model was interrupted; else a new
    one, made by `make()` and kept there."""
    file, key = folder / "plan.json", digest(lm.name, task.template, *task.train, *task.held_out)
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept.pop("data") == key:
            taken_up = Plan(**kept | {"ways": tuple(kept["ways"])})
            print(f"Going on with the plan in {folder}; another folder (--out) starts anew.")
            return taken_up
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no plan, or none that can be read: a new one does no harm
    planned = make()
    write_whole(file, json.dumps(planned._asdict() | {"data": key}, indent=1))
    return planned


def _lengths(lm: LanguageModel, task: Task, most: int = 100) -> tuple[float, float]:
    """Mean tokens of a demonstration, and of a question with all its labels."""
    sample = task.train[:: max(1, len(task.train) // most)]
    shown = np.mean([count_tokens(lm.tokenizer, plain(task, [e], "")) for e in sample])
    bare = count_tokens(lm.tokenizer, plain(task, [], ""))
    words = sum(count_tokens(lm.tokenizer, f" {task.word(label)}") for label in task.labels)
    return float(shown) - bare, float(shown) + words


def _held_by_prompt(lm: LanguageModel, task: Task) -> int:
    """How many demonstrations of average length surely fit the context, before any question."""
    each, query = _lengths(lm, task)
    longest = max(count_tokens(lm.tokenizer, text) for text in texts(task.held_out))
    return max(1, int(0.8 * (lm.context - longest - query) / each))


def _asking_flops(lm: LanguageModel, before: float, query: float, items: int) -> float:
    """Reading shared demonstrations once, then all questions behind them."""
    read = in_pieces(forward_flops, lm, before) if before else 0
    return read + items * forward_flops(lm, query, before)

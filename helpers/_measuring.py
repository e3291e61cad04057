"""The same draws of examples given to each method, and the same questions to all of them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from helpers.data import DataError, Example, Task, balanced_order, texts
from helpers.teaching import CLOSED_ONLY, MEASURES, METHODS, SHOWN, UNTAUGHT, Outcome, settings
from helpers.model import LanguageModel
from helpers.scoring import answer
from helpers.study import Store, bits, collect, digest

COLUMNS = ("task", "shots", "draw", "from", "method", "accuracy", "right", *MEASURES)
NUMBERS = ["shots", "draw", "accuracy", *(name for name in MEASURES if name != "note")]


def in_context_curve(
    lm: LanguageModel, task: Task, shots: Sequence[int], draws: int, items: int = 40
) -> np.ndarray:
    """Exact match of the written answers on the first `items` held-out texts.

    Returns a boolean array [shots, draws, items]. Draw `d` uses seed `d`, and a larger number of
    shots adds demonstrations to the smaller one. Without demonstrations all draws are the same, so
    they are asked once.
    """
    held_out = task.held_out[:items]
    right = np.empty((len(shots), draws, len(held_out)), dtype=bool)
    for s, d in tqdm(list(np.ndindex(len(shots), draws)), desc=task.name, leave=False):
        if shots[s] == 0 and d > 0:
            right[s, d] = right[s, 0]
            continue
        answers = answer(lm, task, task.draw(shots[s], seed=d), texts(held_out))
        right[s, d] = [a == example.label for a, example in zip(answers, held_out, strict=True)]
    return right


def questions(task: Task, items: int | None = None) -> list[Example]:
    """The held-out examples that every method answers: `items` of them, balanced over the labels.

    Raises `DataError` when there are fewer than `items`.
    """
    asked = balanced_order(task.held_out, task.labels, seed=0)
    if items is not None and not 0 < items <= len(asked):
        raise DataError(f"Task {task.name!r} has {len(asked)} held-out examples, not {items}.")
    return asked[:items]


def measure(
    lm: LanguageModel,
    task: Task,
    shots: Sequence[int],
    draws: int,
    methods: Sequence[str] = tuple(METHODS),
    items: int | None = None,
    out: str | Path | None = None,
    shown: int = SHOWN,
) -> pd.DataFrame:
    """Teach every draw to every method and ask each the same questions; one tidy row for each.

    Draw `d` uses seed `d`, for the examples and in training, and a larger number of shots adds
    examples to the smaller one. A row holds task, shots, draw, method, accuracy, `right` (a 1 or 0
    for each question, in order) and the measures of `methods.Outcome`. Zero-shot has one row, at 0
    shots. Methods that cannot answer an open task are left out; in-context learning is, where a
    draw is longer than the model's context. `shown` bounds the training: so many examples are shown
    in all passes together, so every number of shots gets about as many steps.

    With `out`, a CSV file, each row is stored as soon as it is known, together with a JSON file
    of the same name that says how, with what and when; a second call goes on where the first was
    interrupted.
    Raises `DataError` when `out` holds results of another task, model or setting, or cannot be
    written, and for an unknown method or a draw larger than the training data.
    """
    unknown = set(methods) - set(METHODS)
    if unknown:
        raise DataError(f"There is no method {unknown.pop()!r}: choose among {', '.join(METHODS)}.")
    if draws < 1 or not shots or min(shots) < 1:
        raise DataError("A comparison needs at least 1 draw, and every draw at least 1 example.")
    asked = questions(task, items)
    for n in shots:
        task.draw(n, 0)  # too large a draw is found before the work, not after

    def teach_and_ask(**cell) -> list[dict]:
        n, d, name = cell["shots"], cell["draw"], cell["from"]
        outcomes = METHODS[name](lm, task, task.draw(n, d), texts(asked), d, shown)
        return [_measured(outcome, asked) for outcome in outcomes]

    store = Store(out, lm, settled(task, asked, shown), NUMBERS) if out else None
    cells = list(_cells(task, shots, draws, methods))
    return collect(cells, teach_and_ask, store, task.name).reindex(columns=COLUMNS)


def settled(task: Task, asked: Sequence[Example], shown: int = SHOWN) -> dict:
    """What must be the same for all rows of one stored comparison."""
    return {
        "task": task.name,
        "questions": len(asked),
        "data": digest(task.template, task.instruction, *task.train, *asked),
        "settings": settings(shown),
    }


def _cells(task, shots, draws, methods) -> Iterator[dict]:
    """What is to be done, draw by draw, so that a part is of use too."""
    for d in range(draws):
        for n in dict.fromkeys(shots):
            for name in dict.fromkeys(methods):
                if name in UNTAUGHT:
                    if d == 0 and n == shots[0]:
                        yield _cell(task, 0, 0, name)
                elif task.labels or name not in CLOSED_ONLY:
                    yield _cell(task, n, d, name)


def _cell(task, shots, draw, name) -> dict:
    return {"task": task.name, "shots": shots, "draw": draw, "from": name}


def _measured(outcome: Outcome, asked: Sequence[Example]) -> dict:
    right = [a == e.label for a, e in zip(outcome.answers, asked, strict=True)]
    found = {"method": outcome.method, "accuracy": float(np.mean(right)), "right": bits(right)}
    return found | {name: getattr(outcome, name) for name in MEASURES}

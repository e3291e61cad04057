"""Lesson 6: what misleads a prompt, and how much luck there is in either way to teach.

`python -m lessons orders`, `labels`, `faults`, `length` and `luck` make the stored results, and
`misled_…`, after `tuned_faults` and `tuned_shuffled`, those of `misled`. In the rows of the first
five `said` is a letter for each answer, `a` for the task's first label, and `labels_shown`
has such letters for the labels of the demonstrations, in their order.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from html import escape
from itertools import cycle, permutations
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from helpers import checks
from helpers.compare import Interval, interval, right, scored, where
from helpers.cost import Clock
from helpers.curves import NEIGHBOURS, outcomes, settings
from helpers.data import Example, Task, load_task, texts
from helpers.model import LanguageModel
from helpers.prompts import Style, count_tokens, fit, nearest, plain
from helpers.scoring import (
    CONTENT_FREE,
    Demonstrations,
    batch_calibration,
    contextual_calibration,
    predict,
    score_labels,
)
from helpers.study import Made, Study, questions, settled_by
from helpers.widgets import Panel, bars, explorer, label_shares
from lessons import misled
from lessons.misled import FAULTS, faulty
from lessons.words import with_invented_words

LETTERS = "abcdefghijklmnopqrstuvwxyz"
ORDERS = ["-".join(places) for places in permutations("1234")]
KINDS = ("gold", "random", "flipped", "nonsense")
SHOTS = {"labels": 32, "faults": 8, "luck": 32}
SIZES = ("first 1", "first 4", "first 16")
FULL, NEAREST = "all that fit", "nearest 8 of all"
SEEDS = {"in-context": 8, "lora": 2}  # orders of a draw, and trainings on it


def relabelled(task: Task, drawn: Sequence[Example], kind: str) -> tuple[Task, list[Example]]:
    """The task and the draw with labels of another kind.

    "random" gives each example any label; "flipped" gives it the task's next label, the same for
    all examples of a label; "nonsense" writes an invented word for each label, also in the answers.
    """
    labels = task.labels
    if kind == "nonsense":
        return with_invented_words(task), list(drawn)
    if kind == "random":
        # The draw is its own seed, so that both methods are given the same labels.
        chance = np.random.default_rng(len(drawn) + sum(map(ord, drawn[0].text)))
        new = [labels[i] for i in chance.integers(len(labels), size=len(drawn))]
    elif kind == "flipped":
        new = [labels[(labels.index(e.label) + 1) % len(labels)] for e in drawn]
    else:
        new = [e.label for e in drawn]
    return task, [replace(e, label=label) for e, label in zip(drawn, new, strict=True)]


def label_letters(task: Task, labels: Sequence[str]) -> str:
    """One letter for each label: `a` for the task's first."""
    return "".join(LETTERS[task.labels.index(label)] for label in labels)


def ask(
    lm: LanguageModel,
    task: Task,
    demonstrations: Demonstrations,
    asked: Sequence[Example],
    style: Style = plain,
) -> list[dict]:
    """The same prompts read plainly, batch-calibrated and, where all share one list of
    demonstrations, contextually calibrated: a row for each."""
    empty = () if callable(demonstrations) else CONTENT_FREE
    scores = score_labels(lm, task, demonstrations, [*texts(asked), *empty], style)
    scores, content_free = scores[: len(asked)], scores[len(asked) :]
    readouts = {"plain": scores, "batch-calibrated": batch_calibration(scores)}
    if empty:
        readouts["contextual"] = contextual_calibration(scores, content_free)
    return [
        {"way": "in-context", "readout": name} | _answered(task, predict(task, read), asked)
        for name, read in readouts.items()
    ]


def _answered(task: Task, answers: Sequence[str], asked: Sequence[Example]) -> dict:
    """How answers did, and as letters what they were."""
    right = [answer == example.label for answer, example in zip(answers, asked, strict=True)]
    return scored(right) | {"said": label_letters(task, answers)}


def _study(name, task, asked, cells, work, **more) -> Study:
    settled = settled_by(task, asked) | {"settings": settings()} | more
    return Study(name, cells, work, settled, ["draw", "value"])


def orders_study(lm: LanguageModel, draws: int, task: Task, items: int) -> Study:
    """All 24 orders of each draw of four (`mix` "even"), and draws in which a label has three.

    There `mix` names the label, and the fourth example stands first or last.
    """
    asked = questions(task, items)

    def work(draw: int, mix: str, order: str) -> list[dict]:
        drawn = task.draw(4, draw) if mix == "even" else lopsided(task, mix, draw)
        drawn = [drawn[int(place) - 1] for place in order.split("-")]
        shown = label_letters(task, [e.label for e in drawn])
        return [row | {"labels_shown": shown} for row in ask(lm, task, drawn, asked)]

    mixes = {"even": ORDERS} | {label: ("1-2-3-4", "4-1-2-3") for label in task.labels[:2]}
    cells = [
        {"draw": d, "mix": mix, "order": order}
        for d in range(draws)
        for mix, orders in mixes.items()
        for order in orders
    ]
    return _study("orders", task, asked, cells, work)


def lopsided(task: Task, label: str, seed: int) -> list[Example]:
    """Three examples with `label`, then one with another, from the start of a draw."""
    drawn = task.draw(len(task.train), seed)
    same, other = ([e for e in drawn if (e.label == label) == is_it] for is_it in (True, False))
    return [*same[:3], other[0]]


def labels_study(lm: LanguageModel, draws: int, task: Task, items: int) -> Study:
    """Each draw with each of `KINDS` of labels, taught in the prompt and in the weights."""
    asked = questions(task, items)

    def work(draw: int, kind: str, taught_by: str) -> list[dict]:
        other, drawn = relabelled(task, task.draw(SHOTS["labels"], draw), kind)
        answered = outcomes(lm, other, taught_by, drawn, texts(asked), draw)
        return [{"way": way.way} | _answered(task, way.answers, asked) for way in answered]

    cells = [
        {"draw": d, "kind": kind, "taught_by": name}
        for d in range(draws)
        for kind in KINDS
        for name in ("in-context", "lora")
    ]
    return _study("labels", task, asked, cells, work, shots=SHOTS["labels"])


def faults_study(lm: LanguageModel, draws: int, task: Task, items: int) -> Study:
    """Each draw of eight written clean, then with one fault at a time."""
    asked = questions(task, items)

    def work(draw: int, fault: str) -> list[dict]:
        return ask(lm, task, task.draw(SHOTS["faults"], draw), asked, faulty(task, fault))

    cells = [{"draw": d, "fault": fault} for d in range(draws) for fault in FAULTS]
    return _study("faults", task, asked, cells, work, shots=SHOTS["faults"])


def length_study(lm: LanguageModel, draws: int, task: Task, items: int) -> Study:
    """From one demonstration to as many as fit, and for each question its nearest of all.

    `pool` is how many examples there are to show or to choose from, `tokens` the length of the
    longest question's prompt. Seconds are for all questions together; demonstrations that they
    share are encoded once.
    """
    asked = questions(task, items)
    longest = max(texts(asked), key=lambda text: count_tokens(lm.tokenizer, text))
    room = lm.context - max(count_tokens(lm.tokenizer, f" {task.word(x)}") for x in task.labels)

    def work(draw: int, size: str) -> list[dict]:
        pool = chosen = task.draw(len(task.train), draw)
        if size == NEAREST:
            chosen = nearest(pool, NEIGHBOURS)
        elif size == FULL:  # turned round, because the start of the draw is what smaller ones hold
            pool = chosen = fit(lm.tokenizer, task, pool[::-1], longest, room)[::-1]
        else:
            pool = chosen = pool[: int(size.split()[-1])]
        with Clock() as clock:
            rows = ask(lm, task, chosen, asked)
        spent = {"wall": clock.wall, "cpu": clock.processor}
        shown = chosen(longest) if callable(chosen) else chosen
        tokens = count_tokens(lm.tokenizer, plain(task, shown, longest))
        return [row | {"pool": len(pool), "tokens": tokens} | spent for row in rows]

    cells = [{"draw": d, "size": size} for d in range(draws) for size in SIZES]
    cells.append({"draw": 0, "size": NEAREST})  # no draw: it chooses from all there are
    cells += [{"draw": d, "size": FULL} for d in range(draws)]  # the longest at the end
    return _study("length", task, asked, cells, work)


def luck_study(lm: LanguageModel, draws: int, task: Task, items: int) -> Study:
    """Each draw in several orders in the prompt, and trained on in several orders.

    A training's seed is also that of its adapter's start.
    """
    asked = questions(task, items)

    def work(draw: int, seed: int, taught_by: str) -> list[dict]:
        drawn = task.draw(SHOTS["luck"], draw)
        if taught_by == "in-context":
            drawn = [drawn[i] for i in np.random.default_rng(seed).permutation(len(drawn))]
        answered = outcomes(lm, task, taught_by, drawn, texts(asked), seed)
        return [{"way": way.way} | _answered(task, way.answers, asked) for way in answered]

    cells = [
        {"draw": d, "seed": seed, "taught_by": name}
        for d in range(draws)
        for name, seeds in SEEDS.items()
        for seed in range(seeds)
    ]
    return _study("luck", task, asked, cells, work, shots=SHOTS["luck"])


def _made(minutes: float, study: Callable, task: str, items: int) -> Made:
    return Made(minutes, lambda lm, draws: study(lm, draws, load_task(task), items))


MADE = {
    "orders": _made(8, orders_study, "reviews", 12),
    "labels": _made(45, labels_study, "category", 64),
    "faults": _made(8, faults_study, "category", 120),
    "length": _made(60, length_study, "support_tickets", 24),
    "luck": _made(40, luck_study, "category", 120),
    "tuned_faults": Made(60, misled.faults_tuning, draws=2),
    "misled_faults": Made(140, misled.faults_study),
    "tuned_shuffled": Made(6, misled.shuffled_tuning, draws=2),
    "misled_shuffled": Made(8, misled.shuffled_study),
    "misled_length": Made(100, misled.length_study),
    "misled_batch": Made(2, misled.batch_study),
}


# What the rows say: biases, differences, and where luck comes from


def by_row(rows: pd.DataFrame) -> np.ndarray:
    """What was right, as booleans [draws, rows of a draw, questions].

    Every draw must have as many rows.
    """
    asked = len(rows["right"].iloc[0])
    return right(rows).reshape(rows["draw"].nunique(), -1, asked)


def agreement(rows: pd.DataFrame, wanted: Callable[[NamedTuple], str]) -> np.ndarray:
    """Where an answer is the wanted one, as a boolean array [draws, rows of a draw, questions].

    `wanted` gives, for a row, the letter wanted for all questions (such as `last_label`), or a
    letter for each.
    """
    agreed = [
        [[a == b for a, b in zip(row.said, cycle(wanted(row)), strict=False)] for row in of_draw]
        for of_draw in (group.itertuples() for _, group in rows.groupby("draw"))
    ]
    return np.array(agreed)


def last_label(row: NamedTuple) -> str:
    """The letter of the last demonstration's label."""
    return row.labels_shown[-1]


def most_frequent(row: NamedTuple) -> str:
    """The letter that most demonstrations have as label (the first such)."""
    return Counter(row.labels_shown).most_common(1)[0][0]


def against(rows: pd.DataFrame, key: str, base: str) -> pd.DataFrame:
    """A row for each value of the column `key`: accuracy, and its paired difference from `base`.

    All with 95 % intervals over draws and questions; `worst` is the draw with the lowest accuracy,
    `behind` in how many draws the accuracy is below that of `base`.
    """
    clean = by_row(where(rows, **{key: base})).mean(1)
    lines = []
    for value, chosen in rows.groupby(key, sort=False):
        here = by_row(chosen).mean(1)
        gap = here - clean
        bounds = interval(gap) if value != base else (0.0, 0.0, 0.0)
        behind = int((gap.mean(1) < 0).sum())
        lines.append((value, *interval(here), here.mean(1).min(), *bounds, behind))
    names = [key, "accuracy", "low", "high", "worst", "change", "from", "to", "behind"]
    return pd.DataFrame(lines, columns=names)


class Parts(NamedTuple):
    """Standard deviations of one accuracy, in shares of 1, by what is left to chance."""

    draw: float
    order: float
    questions: float


def parts(right: np.ndarray) -> Parts:
    """Split the luck in one accuracy: which examples, in which order (or seed), which questions.

    `right` is an array [draws, orders, questions], with at least 2 of each; orders are nested in
    draws. On these questions the accuracy is y[d, o] = m + a[d] + b[d, o], and the analysis of
    variance says

        var b = mean over d of var_o y[d, o]
        var a = var_d (mean_o y[d, o]) - var b / orders      (0 where that is negative)

    Other questions would add var_q (mean_{d, o} right[d, o, q]) / questions.
    Source: Searle, Casella and McCulloch 1992, Variance Components, chapter 3.
    """
    right = np.asarray(right, dtype=float)
    _, orders, asked = right.shape
    accuracy = right.mean(2)
    order = accuracy.var(1, ddof=1).mean()
    draw = max(0.0, accuracy.mean(1).var(ddof=1) - order / orders)
    items = right.mean((0, 1)).var(ddof=1) / asked
    return Parts(*(float(np.sqrt(variance)) for variance in (draw, order, items)))


def parts_intervals(right: np.ndarray, times: int = 1000) -> dict[str, Interval]:
    """Each part with its 95 % interval, from new samples of the draws, and of the questions for the
    questions' part."""
    middle, bounds = parts(right), {}
    for axis, names in ((0, ("draw", "order")), (2, ("questions",))):

        def statistic(picks: np.ndarray, axis=axis, names=names) -> list[float]:
            again = parts(np.take(right, picks.astype(int), axis))
            return [getattr(again, name) for name in names]

        places = (np.arange(right.shape[axis]),)
        bound = bootstrap(
            places, statistic, n_resamples=times, vectorized=False, rng=0, method="percentile"
        ).confidence_interval
        for name, low, high in zip(names, bound.low, bound.high, strict=True):
            bounds[name] = Interval(getattr(middle, name), float(low), float(high))
    return bounds


# Explorer and checks


def fault_explorer(lm: LanguageModel, task: Task, shots: int = 8) -> Panel:
    """Choose a fault, a draw and an order; see the prompt and what the model answers."""

    def show(fault: str, draw: int, order: str, query: Example) -> str:
        style = faulty(task, fault)
        drawn = task.draw(shots, draw)[:: -1 if order == "reversed" else 1]
        scores = score_labels(lm, task, drawn, [query.text], style)[0]
        prompt = escape(style(task, drawn, query.text))
        return (
            f"<p>Right answer: <b>{escape(query.label)}</b></p><pre style='border:1px solid #999;"
            f"padding:6px'>{prompt}</pre>{bars(label_shares(task, scores))}"
        )

    return explorer(
        show,
        "An explorer of faults, in a live notebook.",
        fault=list(FAULTS),
        draw=range(10),
        order=["as drawn", "reversed"],
        query={example.text: example for example in task.held_out[:30]},
    )


def check_recency(rows: pd.DataFrame, share: float | None) -> None:
    """Check how often the answer is the last demonstration's label, worked out by hand.

    `rows` are prompts as `orders_study` stores them.
    """
    truth = agreement(rows, last_label).mean()
    first = agreement(rows, lambda row: row.labels_shown[0]).mean()
    accuracy = "that is the accuracy; compare `said` with the last letter of `labels_shown`."
    checks.judge(
        share,
        truth,
        f"{truth:.2f} of all answers repeat the last label.",
        "{answer:.3f} is not the share of answers that repeat the last label.",
        {
            "that is the first demonstration's label; take the last.": first,
            accuracy: rows["value"].mean(),
            "give a share between 0 and 1, not per cent.": 100 * truth,
        },
    )


def check_order_spread(right: np.ndarray, deviation: float | None) -> None:
    """Check the standard deviation of the accuracy over the orders of one draw, by hand.

    `right` is a boolean array [draws, orders, questions].
    """
    truth, accuracy = parts(right).order, right.mean(2)
    mixed = "that mixes the draws; take the variance within each draw first."
    checks.judge(
        deviation,
        truth,
        f"{truth:.3f}, so one order says little.",
        "{answer:.4f} is not the spread over the orders of one draw.",
        {
            "that is the variance; take its square root.": truth**2,
            mixed: accuracy.std(ddof=1),
            "divide by the number of orders less 1 (ddof=1).": np.sqrt(accuracy.var(1).mean()),
            "average the variances, then take the root.": accuracy.std(1, ddof=1).mean(),
        },
        within=5e-5,
    )

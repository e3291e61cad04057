"""What misleads a prompt, and how much luck there is in either way to teach.

Five experiments, each a function that plans a row for each prompt or training; `spread.py` reads
the stored ones. In a row `right` has a 1 or 0 for each
question, and `said` a letter: `a` for an answer with the task's first label, `b` for its second.
`shown` has such letters for the labels of the demonstrations, in their order.

    python -m lessons.l06_misleading orders --out data/results/orders.csv
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, permutations

import numpy as np

from helpers.compare import questions, settled
from helpers.cost import clock
from helpers.data import DataError, Example, Task, load_task, texts
from helpers.teaching import METHODS, NEIGHBOURS
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
from helpers.study import bits
from lessons import _plan as plan
from lessons._plan import Plan

LETTERS = "abcdefghijklmnopqrstuvwxyz"
ORDERS = ["-".join(places) for places in permutations("1234")]
KINDS = ("gold", "random", "flipped", "nonsense")
INVENTED = ("blick", "dax", "wug", "fep", "zorp", "kiv", "toma", "lorch")
SHOTS = {"labels": 32, "faults": 8, "luck": 32}
SIZES = ("first 1", "first 4", "first 16")
FULL, NEAREST = "all that fit", "nearest 8 of all"
SEEDS = {"in-context": 8, "lora": 2}  # orders of a draw, and trainings on it

# How the demonstrations are written where the fault is in the template.
FAULTY = {
    "category": {
        "no break between": ["{text} -> {label}"],
        "no mark before label": ["{text} {label}\n"],
        "mixed formats": ["{text} -> {label}\n", "{text}: {label}\n", "{text} is {label}\n"],
        "label before text": ["{label} -> {text}\n"],
    },
    "reviews": {
        "no break between": ["Review: {text}\nVerdict: {label}"],
        "no mark before label": ["Review: {text}\n{label}\n\n"],
        "mixed formats": [
            "Review: {text}\nVerdict: {label}\n\n",
            "{text} -> {label}\n",
            "Text: {text}\nIt is {label}.\n\n",
        ],
        "label before text": ["Verdict: {label}\nReview: {text}\n\n"],
    },
}
FAULTS = ("clean", *FAULTY["category"], "mixed case", "a label missing")


def faulty(task: Task, fault: str) -> Style:
    """The plain style with one fault in its demonstrations; the question stays as it is.

    "a label missing" leaves out every demonstration with the first one's label.
    Raises `DataError` for an unknown fault, and for a task that has no faulty templates.
    """
    if fault not in FAULTS or task.name not in FAULTY:
        raise DataError(
            f"The faults are {', '.join(FAULTS)}, for {' and '.join(FAULTY)}; there is no "
            f"{fault!r} for {task.name!r}."
        )
    templates = FAULTY[task.name].get(fault, [task.template])
    cases = (str.lower, str.title, str.upper) if fault == "mixed case" else (str,)

    def style(task, demonstrations, text, answer=None) -> str:
        if fault == "a label missing":
            demonstrations = [e for e in demonstrations if e.label != demonstrations[0].label]
        written = [
            template.replace("{label}", case(task.word(e.label))).replace("{text}", e.text)
            for e, template, case in zip(
                demonstrations, cycle(templates), cycle(cases), strict=False
            )
        ]
        question = plain(replace(task, instruction=""), [], text, answer)
        return task.instruction + "".join(written) + question

    return style


def relabelled(task: Task, drawn: Sequence[Example], kind: str) -> tuple[Task, list[Example]]:
    """The task and the draw with labels of another kind.

    "random" gives each example any label; "flipped" gives it the task's next label, the same for
    all examples of a label; "nonsense" writes an invented word for each label, also in the answers.
    """
    labels = task.labels
    if kind == "nonsense":
        return replace(task, words=dict(zip(labels, INVENTED, strict=False))), list(drawn)
    if kind == "random":
        # The draw is its own seed, so that both methods are given the same labels.
        chance = np.random.default_rng(len(drawn) + sum(map(ord, drawn[0].text)))
        new = [labels[i] for i in chance.integers(len(labels), size=len(drawn))]
    elif kind == "flipped":
        new = [labels[(labels.index(e.label) + 1) % len(labels)] for e in drawn]
    else:
        new = [e.label for e in drawn]
    return task, [replace(e, label=label) for e, label in zip(drawn, new, strict=True)]


def letters(task: Task, labels: Sequence[str]) -> str:
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
    ways = {"plain": scores, "batch-calibrated": batch_calibration(scores)}
    if empty:
        ways["contextual"] = contextual_calibration(scores, content_free)
    return [_row(task, way, predict(task, found), asked) for way, found in ways.items()]


def _row(task: Task, method: str, answers: Sequence[str], asked: Sequence[Example]) -> dict:
    right = [a == e.label for a, e in zip(answers, asked, strict=True)]
    found = {"method": method, "accuracy": float(np.mean(right)), "right": bits(right)}
    return found | {"said": letters(task, answers)}


def _plan(task, asked, cells, work, **more) -> Plan:
    return Plan(cells, work, settled(task, asked) | more, ["draw", "accuracy"])


def orders(lm: LanguageModel, task: Task, draws: int, items: int) -> Plan:
    """All 24 orders of each draw of four (`mix` "even"), and draws in which a label has three.

    There `mix` names the label, and the fourth example stands first or last.
    """
    asked = questions(task, items)

    def work(draw: int, mix: str, order: str) -> list[dict]:
        drawn = task.draw(4, draw) if mix == "even" else lopsided(task, mix, draw)
        drawn = [drawn[int(place) - 1] for place in order.split("-")]
        shown = letters(task, [e.label for e in drawn])
        return [{"shown": shown} | row for row in ask(lm, task, drawn, asked)]

    mixes = {"even": ORDERS} | {label: ("1-2-3-4", "4-1-2-3") for label in task.labels[:2]}
    cells = [
        {"draw": d, "mix": mix, "order": order}
        for d in range(draws)
        for mix, some in mixes.items()
        for order in some
    ]
    return _plan(task, asked, cells, work)


def lopsided(task: Task, label: str, seed: int) -> list[Example]:
    """Three examples with `label`, then one with another, from the start of a draw."""
    drawn = task.draw(len(task.train), seed)
    same, other = ([e for e in drawn if (e.label == label) == is_it] for is_it in (True, False))
    return [*same[:3], other[0]]


def labels(lm: LanguageModel, task: Task, draws: int, items: int) -> Plan:
    """Each draw with each of `KINDS` of labels, taught in the prompt and in the weights."""
    asked = questions(task, items)

    def work(draw: int, kind: str, taught: str) -> list[dict]:
        other, drawn = relabelled(task, task.draw(SHOTS["labels"], draw), kind)
        outcomes = METHODS[taught](lm, other, drawn, texts(asked), draw)
        return [_row(task, outcome.method, outcome.answers, asked) for outcome in outcomes]

    cells = [
        {"draw": d, "kind": kind, "taught": taught}
        for d in range(draws)
        for kind in KINDS
        for taught in ("in-context", "lora")
    ]
    return _plan(task, asked, cells, work, shots=SHOTS["labels"])


def faults(lm: LanguageModel, task: Task, draws: int, items: int) -> Plan:
    """Each draw of eight written clean, then with one fault at a time."""
    asked = questions(task, items)

    def work(draw: int, fault: str) -> list[dict]:
        return ask(lm, task, task.draw(SHOTS["faults"], draw), asked, faulty(task, fault))

    cells = [{"draw": d, "fault": fault} for d in range(draws) for fault in FAULTS]
    return _plan(task, asked, cells, work, shots=SHOTS["faults"])


def length(lm: LanguageModel, task: Task, draws: int, items: int) -> Plan:
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
        rows, wall, cpu = clock(lambda: ask(lm, task, chosen, asked))
        spent = {"wall": wall, "cpu": cpu}
        shown = chosen(longest) if callable(chosen) else chosen
        tokens = count_tokens(lm.tokenizer, plain(task, shown, longest))
        return [{"pool": len(pool), "tokens": tokens} | spent | row for row in rows]

    cells = [{"draw": d, "size": size} for d in range(draws) for size in SIZES]
    cells.append({"draw": 0, "size": NEAREST})  # no draw: it chooses from all there are
    cells += [{"draw": d, "size": FULL} for d in range(draws)]  # the longest at the end
    return _plan(task, asked, cells, work)


def luck(lm: LanguageModel, task: Task, draws: int, items: int) -> Plan:
    """Each draw in several orders in the prompt, and trained on in several orders.

    A training's seed is also that of its adapter's start.
    """
    asked = questions(task, items)

    def work(draw: int, seed: int, taught: str) -> list[dict]:
        drawn = task.draw(SHOTS["luck"], draw)
        if taught == "in-context":
            drawn = [drawn[i] for i in np.random.default_rng(seed).permutation(len(drawn))]
        outcomes = METHODS[taught](lm, task, drawn, texts(asked), seed)
        return [_row(task, outcome.method, outcome.answers, asked) for outcome in outcomes]

    cells = [
        {"draw": d, "seed": seed, "taught": taught}
        for d in range(draws)
        for taught, seeds in SEEDS.items()
        for seed in range(seeds)
    ]
    return _plan(task, asked, cells, work, shots=SHOTS["luck"])


EXPERIMENTS = {
    "orders": (orders, "reviews", 12),
    "labels": (labels, "category", 64),
    "faults": (faults, "category", 120),
    "length": (length, "support_tickets", 24),
    "luck": (luck, "category", 120),
}


def main(arguments: list[str] | None = None) -> int:
    """Run one of the experiments on what misleads a prompt, and store every row."""
    parser = plan.parser("misleading", EXPERIMENTS, main.__doc__)
    parser.add_argument("--task", help="default: the task of the stored result")
    parser.add_argument("--items", type=int, help="number of held-out questions")
    options = parser.parse_args(arguments)
    planned, name, items = EXPERIMENTS[options.what]

    def chosen(lm: LanguageModel) -> Plan:
        return planned(lm, load_task(options.task or name), options.draws, options.items or items)

    return plan.make(options, chosen)


if __name__ == "__main__":
    sys.exit(main())

"""Lesson 6: what misleads a prompt, and how much luck there is in either way to teach.

`python -m lessons orders`, `labels`, `faults`, `length` and `luck` make the stored results, and
`misled_…`, after `tuned_faults` and `tuned_shuffled`, those of `misled`. In the rows of the first
five `said` is a letter for each answer, `a` for the task's first label, and `labels_shown`
has such letters for the labels of the demonstrations, in their order.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import cycle, permutations
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics.pairwise import cosine_similarity

from helpers import checks, plots
from helpers.compare import Interval, interval, right, scored, stored, where
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
from lessons import figures, larger, misled
from lessons.misled import FAULTS, FAULTY, faulty
from lessons.words import with_invented_words

LETTERS = "abcdefghijklmnopqrstuvwxyz"
ORDERS = ["-".join(places) for places in permutations("1234")]
KINDS = ("gold", "random", "flipped", "nonsense")
SHOTS = {"labels": 32, "faults": 8, "luck": 32}
SIZES = ("first 1", "first 4", "first 16")
FOUR, FULL, NEAREST = SIZES[1], "all that fit", "nearest 8 of all"
WAYS = {"prompt": "in-context", "prompt, calibrated": "in-context, calibrated", "weights": "lora"}
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


# What the rows say: biases and differences


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


# What the learner builds: a lie, the choice of what stands last


def plant_lies(examples, labels, share, seed):
    """The examples, of which a share has another of the labels than its own."""
    rng, told = np.random.default_rng(seed), list(examples)
    for place in rng.permutation(len(told))[: round(share * len(told))]:
        others = [label for label in labels if label != told[place].label]
        told[place] = Example(told[place].text, str(rng.choice(others)))
    return told


def _lying(
    count: Callable[[float, int], int] = lambda share, size: round(share * size),
    others: Callable[[Sequence[str], str], list[str]] = lambda labels, own: list(labels),
) -> Callable:
    """`plant_lies` with other things in its blanks: how many places, which labels to take from."""

    def piece(examples, labels, share, seed):
        rng, told = np.random.default_rng(seed), list(examples)
        for place in rng.permutation(len(told))[: count(share, len(told))]:
            label = str(rng.choice(others(labels, told[place].label)))
            told[place] = Example(told[place].text, label)
        return told

    return piece


def _but_own(labels: Sequence[str], own: str) -> list[str]:
    return [label for label in labels if label != own]


LIE_SHARES = (0.25, 0.5, 1.0)


def _lies_trial(piece: Callable, _) -> list[float]:
    """How many of 32 words lie at each share and keep their text; the labels of flipped reviews."""
    words, reviews = load_task("category"), load_task("reviews")
    drawn, numbers = words.draw(32, 0), []
    for share in LIE_SHARES:
        pairs = list(zip(drawn, piece(drawn, words.labels, share, 0), strict=True))
        numbers += [sum(old.label != new.label for old, new in pairs)]
        numbers += [sum(old.text == new.text for old, new in pairs)]
    flipped = piece(reviews.draw(8, 0), reviews.labels, 1.0, 0)
    return numbers + [reviews.labels.index(example.label) for example in flipped]


def _lies_truth(_) -> list[float]:
    reviews = load_task("reviews")
    numbers = [number for share in LIE_SHARES for number in (32 * share, 32)]
    flipped = relabelled(reviews, reviews.draw(8, 0), "flipped")[1]
    return numbers + [reviews.labels.index(example.label) for example in flipped]


LIES = checks.Build(
    own=plant_lies,
    trial=_lies_trial,
    truth=_lies_truth,
    praise="exactly that share of the labels is wrong, and no text has changed.",
    mistakes={
        "some of the lies are true by chance: leave the text's own label out of others.": _lying(),
        "no label has changed: others must hold the labels that are wrong for this text.": _lying(
            others=lambda labels, own: [own]
        ),
        "that is too few: multiply the share by how many examples there are.": _lying(
            lambda share, size: int(share), _but_own
        ),
        "all of them lie: take only a share of the places.": _lying(
            lambda share, size: size, _but_own
        ),
    },
)


def embedded(lm: LanguageModel, given: Sequence[str]) -> np.ndarray:
    """The mean of the input embeddings of each text's tokens: an array [texts, width]."""
    table = lm.model.get_input_embeddings().weight.detach()
    rows = [table[lm.tokenizer(f" {text}").input_ids].float().mean(0) for text in given]
    return np.array([row.cpu().numpy() for row in rows])


def nearest_last(vectors, query, shots):
    """The places of the rows most like the query by their cosine, the nearest one last."""
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
    likeness = vectors @ query / lengths
    order = likeness.argsort()
    return order[-shots:]


def _near_trial(piece: Callable, _) -> list[int]:
    vectors, queries = _counted()
    return [place for query in queries for place in piece(vectors, query, 3)]


def _near_truth(_) -> list[int]:
    vectors, queries = _counted()
    likeness = cosine_similarity(queries, vectors)
    return [place for row in likeness for place in row.argsort()[-3:]]


def _counted() -> tuple[np.ndarray, np.ndarray]:
    """Letters counted in some messages, and in two others that ask."""
    task = load_task("support_tickets")
    shown, asked = task.draw(24, 0), task.held_out[:2]
    counts = CountVectorizer(analyzer="char").fit(texts(shown))
    return tuple(counts.transform(texts(some)).toarray() for some in (shown, asked))


def _by_distance(vectors, query, shots):
    return np.linalg.norm(vectors - query, axis=1).argsort()[:shots][::-1]


NEAREST_LAST = checks.Build(
    own=nearest_last,
    trial=_near_trial,
    truth=_near_truth,
    praise="these are the messages that scikit-learn's cosine chooses, the nearest one last.",
    mistakes={
        "long texts win, because the products are not divided by the lengths.": (
            lambda vectors, query, shots: (vectors @ query).argsort()[-shots:]
        ),
        "the nearest one comes first: keep the order, from the least alike to the most alike.": (
            lambda vectors, query, shots: nearest_last(vectors, query, shots)[::-1]
        ),
        "these are the least alike: the most alike stand at the end of the order.": (
            lambda vectors, query, shots: nearest_last(vectors, query, len(vectors))[:shots]
        ),
        "these are all places: keep the last `shots` of them.": (
            lambda vectors, query, shots: nearest_last(vectors, query, len(vectors))
        ),
        "that goes by distance: the cosine is the dot product divided by both lengths.": (
            _by_distance
        ),
    },
)


def said_positive(read: Mapping[str, np.ndarray], truth: np.ndarray) -> pd.DataFrame:
    """For each readout of scores [texts, negative and positive]: what it says, and what is right.

    `truth` has a 1 for each text that is positive, and a 0 for the others.
    """
    said = {name: scores.argmax(axis=1) for name, scores in read.items()}
    shares = {
        name: {"says positive": answers.mean(), "right": (answers == truth).mean()}
        for name, answers in said.items()
    }
    return pd.DataFrame(shares).T.round(2)


# What the stored results show

CHANGE = ["change", "from", "to"]


def show_orders(rows: pd.DataFrame) -> float:
    """Every order of every draw of four reviews, plain and calibrated, coloured by its last label.

    Returns the share of plain answers that are the last label.
    """
    panels, spread, repeated, right = {}, {}, {}, {}
    for name, panel in (
        ("plain", "plain"),
        ("batch-calibrated", "calibrated on the questions"),
        ("contextual", "calibrated on empty texts"),
    ):
        chosen = where(rows, mix="even", readout=name)
        said, right[name] = agreement(chosen, lambda row: "b").mean(2), by_row(chosen)
        last = np.array([shown[-1] for shown in chosen["labels_shown"]]).reshape(said.shape)
        accuracy = right[name].mean(2)
        panels[panel] = {
            f"last label {word}": (said[last == letter], accuracy[last == letter])
            for word, letter in (("positive", "b"), ("negative", "a"))
        }
        spread[name] = np.ptp(accuracy, axis=1).mean()
        repeated[name] = agreement(chosen, last_label).mean()
    plainly, calibrated, empty = right
    gain = interval(right[calibrated].mean(1) - right[plainly].mean(1))
    share = {name: bits.mean() for name, bits in right.items()}
    figures.clouds(
        panels,
        "share that says positive",
        "share right",
        f"{repeated[plainly]:.2f} of the plain answers repeat the last label; calibrated on the "
        f"questions {repeated[calibrated]:.2f}, on empty texts {repeated[empty]:.2f}",
        f"A dot is an order of four reviews, 24 of each of 10 draws. Right: plain "
        f"{share[plainly]:.2f}; calibrated on the questions {share[calibrated]:.2f}, a gain of "
        f"{gain:+.2f}; on empty texts {share[empty]:.2f}. Best minus worst order of a draw: "
        f"{spread[plainly]:.2f} plain, {spread[calibrated]:.2f} calibrated on the questions.",
        level=0.5,
    )
    return repeated[plainly]


def show_labels(rows: pd.DataFrame) -> None:
    """The same wrong labels in the prompt and in the weights, ten draws of 32 words."""
    kinds = {"gold": "right", "random": "random: 7 of 8 wrong", "flipped": "always the next label"}
    names = {"prompt": "the prompt", "prompt, calibrated": "calibrated", "weights": "the weights"}
    task, bars, lost, kept, obeyed = load_task("category"), {}, [], [], []
    asked = questions(task, len(rows["said"].iloc[0]))
    taught = label_letters(task, [e.label for e in relabelled(task, asked, "flipped")[1]])
    for name, way in WAYS.items():
        lines = against(where(rows, way=way), "kind", "gold").set_index("kind")
        bounds = lines[["accuracy", "low", "high"]]
        bars[name] = {said: Interval(*bounds.loc[kind]) for kind, said in kinds.items()}
        lost.append(f"{names[name]} {-lines.change['random']:.2f}")
        kept.append(f"{names[name]} {lines.accuracy['random'] / lines.accuracy['gold']:.2f}")
        flipped = agreement(where(rows, way=way, kind="flipped"), lambda row: taught)
        obeyed.append(f"{names[name]} {flipped.mean():.2f}")
    plots.whiskers(
        {"": bars},
        f"Random labels cost {', '.join(lost)}",
        f"With random labels the share right is this part of that with right ones: "
        f"{', '.join(kept)}. "
        f"Answered as taught, where each label was the next one: {', '.join(obeyed)}. Chance is "
        "0.12. The weights are read plainly.",
        y="right by the true label",
        form="bars",
        level=1 / 8,
    )


def show_faults(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """What each fault of form costs, by readout; returns the numbers as `against` gives them."""
    drop = {
        name: against(where(rows, readout=readout), "fault", "clean").set_index("fault").iloc[1:]
        for name, readout in (("plain", "plain"), ("calibrated", "batch-calibrated"))
    }
    changes = {
        f"prompt, {name}": {fault: Interval(*lines.loc[fault, CHANGE]) for fault in lines.index}
        for name, lines in drop.items()
    }
    hurt = {name: lines.change[lines.to < 0] for name, lines in drop.items()}
    said = {
        name: ", ".join(f"{fault} ({change:+.2f})" for fault, change in sure.items()) or "none"
        for name, sure in hurt.items()
    }
    plots.whiskers(
        {"": changes},
        f"{len(hurt['plain'])} of {len(drop['plain'])} faults surely hurt a plain prompt: "
        f"{', '.join(hurt['plain'].index) or 'none'}",
        f"The whole interval lies below 0 for: {said['plain']}; calibrated: {said['calibrated']}.",
        x="change of the share right against the clean prompt",
        form="rows",
        level=0,
    )
    return drop


def lengths(rows: pd.DataFrame) -> pd.DataFrame:
    """For each number of messages shown: the share right by either readout, tokens and seconds.

    `from` is how many messages there were to show or to choose from. Prints how much was asked.
    """
    rows = where(rows, readout=["plain", "batch-calibrated"])
    shares = rows.pivot_table("value", "size", "readout", sort=False)[["plain", "batch-calibrated"]]
    spent = rows.groupby("size")[["pool", "tokens", "cpu"]].mean()
    spent = spent.round().assign(pool=np.floor(spent["pool"])).astype(int)
    four, full = (by_row(where(rows, size=s, readout="batch-calibrated")) for s in (FOUR, FULL))
    print(
        f"{four.shape[-1]} messages asked; means of {len(full)} draws, the nearest of one. "
        f"All that fit minus 4, calibrated: {interval(full.mean(1) - four.mean(1)):+.2f}."
    )
    return shares.round(2).join(spent).rename(columns={"pool": "from", "cpu": "seconds"})


def at_7b() -> pd.DataFrame:
    """Llama-2-7B (80k): one retrieved demonstration beside random ones, medians of ten runs."""
    rows, lines = larger.published(), {}
    for data, name in larger.NAMES.items():
        random, retrieved = (
            larger.curve(rows, data, line) for line in ("prompt", "prompt, retrieved")
        )
        lines[name] = {
            "1 random": random[1].mean,
            "1 retrieved": retrieved[1].mean,
            "100 random": random[100].mean,
        }
    return (
        pd.DataFrame(lines)
        .T.round(2)
        .rename({"questions, 6 kinds": "questions, 6 kinds of answer"})
    )


# What the lesson found

LESSON = "06_when_prompts_mislead"


def of_length(rows: pd.DataFrame) -> dict[str, float | Interval]:
    """How many messages fit; what a full prompt gains on few and loses to the nearest eight."""
    full, four, sixteen = (
        by_row(where(rows, size=size, readout="batch-calibrated")).mean(1)
        for size in (FULL, *SIZES[1:])
    )
    near = by_row(where(rows, size=NEAREST, readout="plain")).mean(1)
    return {
        "fit": int(where(rows, size=FULL)["pool"].mean()),
        "of": int(where(rows, size=NEAREST)["pool"].mean()),
        "full minus 4": interval(full - four[: len(full)]),
        "full minus 16": interval(full - sixteen[: len(full)]),
        "nearest 8 minus full": interval(near - full),
    }


def findings(drop: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """What was found about I7 and I8, from the stored lengths and the plain faults."""
    fits, of, four, sixteen, spare = of_length(stored("length")).values()
    mild, harm = ", ".join(drop.index[drop.to >= 0]), drop[drop.to < 0].sort_values("change")
    lost = [f"{fault} {Interval(*row):+.2f}" for fault, row in harm[CHANGE].iterrows()]
    return {
        "I7": (
            f"{fits} of {of} messages fit; all that fit, calibrated, minus 4: {four:+.2f}, "
            f"minus 16: {sixteen:+.2f}",
            f"The nearest 8, plain, minus all that fit, calibrated: {spare:+.2f}.",
        ),
        "I8": (
            "; ".join(lost) or "no fault surely hurts",
            f"Not surely harmful: {mild or 'none'}.",
        ),
    }


# Exercises


def written(task: Task, template: str) -> Style:
    """The plain style, but with demonstrations written in another template."""

    def style(task, demonstrations, text, answer=None) -> str:
        shown = [
            template.replace("{label}", task.word(example.label)).replace("{text}", example.text)
            for example in demonstrations
        ]
        return "".join(shown) + plain(task, [], text, answer)

    return style


def check_own_fault(lm: LanguageModel, task: Task, template: str | None, goal: float) -> None:
    """Check that a fault of the learner's own costs `goal` of 48 questions, with true examples."""
    known = [templates[0] for templates in FAULTY[task.name].values() if len(templates) == 1]
    problem, praise = None, ""
    if template is not None and not all(template.count(p) == 1 for p in ("{text}", "{label}")):
        problem = "write {text} once and {label} once, so that every example stays true."
    elif template in known:
        problem = "that is one of the course's own faults; think of another."
    elif template is not None:
        asked, shown = questions(task, 48), task.draw(SHOTS["faults"], 0)
        clean, faulty = (
            {row["readout"]: row["value"] for row in ask(lm, task, shown, asked, style)}
            for style in (plain, written(task, template))
        )
        praise = (
            f"{faulty['plain']:.2f} right instead of {clean['plain']:.2f}; calibrated "
            f"{faulty['batch-calibrated']:.2f}."
        )
        if clean["plain"] - faulty["plain"] < goal:
            problem = f"{praise} That is less than {goal:.2f} lost: where does an example end?"
    checks.tell(template is not None, problem, praise)


def judged(find: Callable, task: Task, draws: Sequence[int], share: float = 0.5) -> float:
    """The share of labels of which `find(examples)` says rightly whether they lie."""
    rights = []
    for draw in draws:
        shown = task.draw(32, draw)
        told = plant_lies(shown, task.labels, share, draw)
        lies = [old.label != new.label for old, new in zip(shown, told, strict=True)]
        rights.append(np.asarray(find(told)) == lies)
    return float(np.mean(rights))


def check_detective(task: Task, find: Callable | None, line: float) -> None:
    """Check that the learner's function finds lies in three fresh draws better than a line."""
    problem, praise = None, ""
    if find is not None:
        share = judged(find, task, (21, 22, 23))
        praise = f"{share:.2f} of 96 labels are judged rightly; the line is {line:.2f}."
        if share <= line:
            problem = f"{praise} Does a label that lies help to judge itself?"
    checks.tell(find is not None, problem, praise)

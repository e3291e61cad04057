"""What misleads a prompt, as the claims want it measured: faults, shuffled pairs, length, batches.

A fault is held against clean demonstrations of the same draw (I8), right pairs against the same
pairs with other answers (I2). Either side is measured by default and with the setting that did best
for it on development draws, which are made of training rows. Log-probabilities are stored, so that
`contest.readings` reads them plainly, calibrated, and calibrated on training texts.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import cycle, product

import numpy as np
import pandas as pd

from helpers import compare, curves, prompts, scoring
from helpers.cost import Clock
from helpers.data import DataError, Example, Task, balanced_order, texts
from helpers.model import LanguageModel
from helpers.study import Study, digest, questions, settled_by
from helpers.teaching import Taught, Way
from lessons import contest
from lessons.contest import INSTRUCTION, RECIPES
from lessons.verdict import contrast

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
    "support_tickets": {
        "no break between": ["Message: {text}\nTopic: {label}"],
        "no mark before label": ["Message: {text}\n{label}\n\n"],
        "mixed formats": [
            "Message: {text}\nTopic: {label}\n\n",
            "{text} -> {label}\n",
            "Text: {text}\nIt is about {label}.\n\n",
        ],
        "label before text": ["Topic: {label}\nMessage: {text}\n\n"],
    },
}
FAULTS = ("clean", *FAULTY["category"], "mixed case", "a label missing")
CLAIMED = {  # how the claim's row names them
    "no break between": "no break",
    "label before text": "label first",
    "no mark before label": "no mark",
    "a label missing": "label missing",
    "mixed formats": "mixed formats",
    "mixed case": "mixed case",
}
TASKS, PAIRS = tuple(FAULTY), ("past_tense", "plurals", "capitals", "category")
POOL, NEAR, SHOWN = 32, 4, 16  # to choose from; nearest shown; pairs in the study of shuffling
DEV = {"faults": 32, "shuffled": 64}  # training rows asked in each development draw, at most
FORMS = ("bare", "instruction", "list")  # a chat has no template to be at fault
# Nearest ones are read anew for every query, so that few of them cost as much as many shared ones.
CHOICES = ("first 8", "first 16", "first 32", "like words")
ORDERS = {  # of the pairs, of which all are shown
    "as drawn": list,
    "turned round": lambda pairs: list(pairs)[::-1],
    "shortest first": lambda pairs: sorted(pairs, key=lambda pair: len(pair.text)),
}
DEFAULT = {"faults": "bare, first 8", "shuffled": "bare, as drawn"}
TRIED = {
    "faults": [", ".join(pair) for pair in product(FORMS, CHOICES)],
    "shuffled": [", ".join(pair) for pair in product(contest.FORMS, ORDERS)],
}
LIST = contest.LIST | {
    "category": """The kinds are:
animal: a living creature
body: a part of a person
clothing: what people wear
colour: how a thing looks in the light
fruit: what grows on a plant and is eaten, often sweet
music: an instrument to play on
tool: what people hold to make or mend things
vehicle: what carries people or loads""",
    "past_tense": contest.LIST["verbs"],
    "plurals": """The rules are:
most nouns add -s: tree, trees
after s, x, ch and sh it is -es: dish, dishes
a consonant and y become -ies: party, parties
some nouns change in their own way or not at all: leaf, leaves; sheep, sheep""",
    "capitals": """The rule is:
a country is answered with the city in which its government sits: Norway, Oslo""",
}


# What stands in the prompt


def faulty(task: Task, fault: str) -> prompts.Style:
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
        question = prompts.plain(replace(task, instruction=""), [], text, answer)
        return task.instruction + "".join(written) + question

    return style


def put(lm: LanguageModel, task: Task, form: str) -> tuple[Task, prompts.Style]:
    """The task as `contest.put` puts it, with the words of this module's tasks."""
    return contest.put(lm, task, form, LIST)


def chooser(lm: LanguageModel, task: Task, choice: str) -> Callable | None:
    """What chooses demonstrations for a query, where a choice depends on the query."""
    if choice == "like states":
        return contest.like_states(lm, task)
    return prompts.nearest if choice == "like words" else None


def with_fault(
    lm: LanguageModel, task: Task, pool: Sequence[Example], fault: str, setting: str
) -> Taught:
    """The pool as demonstrations with a fault, put and chosen as a setting says."""
    form, choice = setting.split(", ")
    given, _ = put(lm, task, form)
    shown = list(pool[: int(choice.split()[-1])] if choice.startswith("first ") else pool)
    if fault == "a label missing":  # before any are chosen, so that no query gets to see it
        shown, fault = [e for e in shown if e.label != pool[0].label], "clean"
    if near := chooser(lm, task, choice):
        shown = near(shown, min(NEAR, len(shown)))
    return Taught(Way(setting), lm, given, shown, faulty(given, fault))


def with_pairs(lm: LanguageModel, task: Task, pairs: Sequence[Example], setting: str) -> Taught:
    """All pairs as demonstrations, put and ordered as a setting says."""
    form, order = setting.split(", ")
    given, style = put(lm, task, form)
    return Taught(Way(setting), lm, given, ORDERS[order](pairs), style)


def shuffled(pairs: Sequence[Example], seed: int) -> list[Example]:
    """The same pairs with their answers shuffled, so that none keeps its own.

    Raises `DataError` where no such order is found, as when one answer is that of most pairs.
    """
    answers, rng = np.array([pair.label for pair in pairs]), np.random.default_rng(seed)
    for _ in range(10_000):
        others = rng.permutation(answers)
        if not (others == answers).any():
            zipped = zip(pairs, others.tolist(), strict=True)
            return [replace(pair, label=other) for pair, other in zipped]
    raise DataError("No shuffling was found that gives every pair another answer.")


# What is asked, by default and as tuned


def answered(taught: Taught, asked: Sequence[Example], others: Sequence[Example]) -> dict:
    """A row of a prompt, as `contest.answered` makes it."""
    return {"way": "prompt"} | contest.answered(taught, asked, others)


def chosen(kind: str, **of: str) -> str:
    """The setting that did best on the development draws, over all readouts; the first of equals.

    `kind` is "faults" or "shuffled", `of` says of which task and which side.
    """
    rows = compare.where(compare.stored(f"tuned_{kind}"), **of)
    return rows.groupby("way", sort=False)["value"].mean().idxmax()


def by_recipe(kind: str, measure: Callable[[str], dict], **of: str) -> list[dict]:
    """The row that `measure` gives of the default setting and of the chosen one.

    Where both are the same it is measured once.
    """
    settings = {"default": DEFAULT[kind], "tuned": chosen(kind, **of)}
    rows = {setting: measure(setting) for setting in dict.fromkeys(settings.values())}
    return [{"recipe": recipe} | rows[setting] for recipe, setting in settings.items()]


def drawn_of(task: Task, shown: int, seed: int, most: int) -> tuple[list[Example], list[Example]]:
    """A draw of training rows to show, and at most so many others from the end of its order."""
    order = balanced_order(task.train, task.labels, seed)
    return order[:shown], order[shown:][-most:]


def settled_of(names: Sequence[str], **more: object) -> dict:
    """What must be the same for all rows of a result with several tasks."""
    tasks = [contest.load(name) for name in names]
    data = [settled_by(task, task.held_out)["data"] for task in tasks]
    told = [(INSTRUCTION[name], LIST[name]) for name in names]
    return {"task": ", ".join(names), "data": digest(*data), "told": digest(*told)} | more


# Faults


def faults_tuning(lm: LanguageModel, draws: int) -> Study:
    """Every setting on the development draws, for clean demonstrations and for each fault."""

    def work(task: str, fault: str, draw: int, setting: str) -> list[dict]:
        given = contest.load(task)
        pool, dev = drawn_of(given, POOL, draw, DEV["faults"])
        return contest.readout_rows(with_fault(lm, given, pool, fault, setting), dev)

    seeds = contest.DEVELOPMENT[:draws]
    order = product(TASKS, FAULTS, seeds, TRIED["faults"])
    cells = [dict(zip(("task", "fault", "draw", "setting"), cell, strict=True)) for cell in order]
    settled = settled_of(TASKS, pool=POOL, near=NEAR, questions=DEV["faults"])
    return Study("tuning, faults", cells, work, settled, ["draw", "value"])


def faults_study(lm: LanguageModel, draws: int) -> Study:
    """Each draw written clean and with one fault at a time, on three tasks."""

    def work(task: str, draw: int, fault: str) -> list[dict]:
        given = contest.load(task)
        pool, others = drawn_of(given, POOL, draw, contest.DEV)

        def measure(setting: str) -> dict:
            return answered(with_fault(lm, given, pool, fault, setting), given.held_out, others)

        return by_recipe("faults", measure, task=task, fault=fault)

    order = product(TASKS, range(draws), FAULTS)
    cells = [{"task": task, "draw": draw, "fault": fault} for task, draw, fault in order]
    settled = settled_of(TASKS, pool=POOL, near=NEAR, calibration=contest.DEV)
    return Study("faults", cells, work, settled, ["draw", "value"])


def of_faults(rows: pd.DataFrame) -> Iterator[dict]:
    """I8 from the rows of `faults_study`: clean minus faulty, at every fault on every task."""
    for name in rows["task"].unique():
        read = contest.readings(compare.where(rows, task=name), contest.load(name))
        for readout, recipe in product(contest.READOUTS, RECIPES):
            under = {"readout": readout, "recipe": recipe}
            clean = compare.right(read, fault="clean", **under).astype(float)
            for fault, said in CLAIMED.items():
                gap = clean - compare.right(read, fault=fault, **under)
                number = compare.interval(gap)
                level = f"{said} on {name}"
                yield contrast("I8", level, readout, recipe, number, len(gap))


# Shuffled pairs


def pairs_of(drawn: Sequence[Example], pairs: str, seed: int) -> Sequence[Example]:
    """The draw with its right answers, or with these shuffled."""
    return shuffled(drawn, seed) if pairs == "shuffled" else drawn


def shuffled_tuning(lm: LanguageModel, draws: int) -> Study:
    """Every setting on the development draws, for right pairs and for shuffled ones."""

    def work(task: str, pairs: str, draw: int, setting: str) -> list[dict]:
        given = contest.load(task)
        drawn, dev = drawn_of(given, SHOWN, draw, DEV["shuffled"])
        return contest.readout_rows(
            with_pairs(lm, given, pairs_of(drawn, pairs, draw), setting), dev
        )

    seeds = contest.DEVELOPMENT[:draws]
    order = product(PAIRS, ("right", "shuffled"), seeds, TRIED["shuffled"])
    cells = [dict(zip(("task", "pairs", "draw", "setting"), cell, strict=True)) for cell in order]
    settled = settled_of(PAIRS, shown=SHOWN, development=DEV["shuffled"])
    return Study("tuning, shuffled", cells, work, settled, ["draw", "value"])


def shuffled_study(lm: LanguageModel, draws: int) -> Study:
    """Each draw of 16 pairs with its right answers and with these shuffled, on four tasks."""

    def work(task: str, draw: int, pairs: str) -> list[dict]:
        given = contest.load(task)
        drawn, others = drawn_of(given, SHOWN, draw, contest.DEV)
        shown = pairs_of(drawn, pairs, draw)

        def measure(setting: str) -> dict:
            return answered(with_pairs(lm, given, shown, setting), given.held_out, others)

        return by_recipe("shuffled", measure, task=task, pairs=pairs)

    order = product(PAIRS, range(draws), ("right", "shuffled"))
    cells = [{"task": task, "draw": draw, "pairs": pairs} for task, draw, pairs in order]
    settled = settled_of(PAIRS, shown=SHOWN, calibration=contest.DEV)
    return Study("shuffled", cells, work, settled, ["draw", "value"])


def of_shuffled(rows: pd.DataFrame) -> Iterator[dict]:
    """I2 from the rows of `shuffled_study`: right pairs minus the same pairs shuffled."""
    for name in rows["task"].unique():
        task = contest.load(name)
        read = contest.readings(compare.where(rows, task=name), task)
        readouts = contest.READOUTS if task.labels else ("written",)
        for readout, recipe in product(readouts, RECIPES):
            right, other = (
                compare.right(read, pairs=pairs, readout=readout, recipe=recipe).astype(float)
                for pairs in ("right", "shuffled")
            )
            number = compare.interval(right - other)
            yield contrast("I2", name, readout, recipe, number, len(right))


# Retrieval and length

ITEMS, KEPT = 96, 32  # messages asked; training messages kept back for calibration
FULL = "all that fit"
SIZES = ("first 1", "first 4", "first 8", "first 16", "like words", "like states", FULL)


def asked_of_length() -> Task:
    """The tickets with as many of the new messages as are asked, in the order of asking."""
    task = contest.load("support_tickets")
    return replace(task, held_out=tuple(questions(task, ITEMS)))


def length_study(lm: LanguageModel, draws: int) -> Study:
    """From one demonstration to as many as fit, and for each question the nearest eight of all.

    `pool` is how many examples there are to show or to choose from, `tokens` the length of the
    longest question's prompt. Seconds are for all questions together and those of calibration.
    """
    given = asked_of_length()

    def work(draw: int, size: str) -> list[dict]:
        pool, others = drawn_of(given, len(given.train) - KEPT, draw, KEPT)
        longest = max(texts([*given.held_out, *others]), key=len)
        if size == FULL:  # turned round, because the start of the draw is what smaller ones hold
            room = lm.context - contest.ROOM
            pool = prompts.fit(lm.tokenizer, given, pool[::-1], longest, room)[::-1]
        elif size.startswith("first "):
            pool = pool[: int(size.split()[-1])]
        near = chooser(lm, given, size)
        shown = near(pool, curves.NEIGHBOURS) if near else pool
        with Clock() as clock:
            row = answered(Taught(Way(size), lm, given, shown), given.held_out, others)
        before = shown(longest) if near else shown
        tokens = prompts.count_tokens(lm.tokenizer, prompts.plain(given, before, longest))
        spent = {"tokens": tokens, "wall": clock.wall, "cpu": clock.processor}
        return [row | {"pool": len(pool)} | spent]

    cells = [{"draw": draw, "size": size} for draw in range(draws) for size in SIZES]
    settled = settled_by(given, given.held_out) | {"neighbours": curves.NEIGHBOURS, "kept": KEPT}
    return Study("length", cells, work, settled, ["draw", "value", "pool", "tokens", "wall", "cpu"])


# Batches that are not balanced

MIXED = {"1 to 1": (32, 32), "3 to 1": (48, 16), "7 to 1": (56, 8), "all one": (64, 0)}
BALANCED = "calibrated on a balanced batch"
SIDES = ("prompt, default", "prompt, tuned", "weights, default", "weights, tuned")
BATCHED, EXAMPLES = ("reviews", "support_tickets"), (8, 128)


def batches(task: Task) -> Iterator[tuple[str, str, np.ndarray]]:
    """Batches of held-out questions: their kind, of which labels, and the questions' places.

    Of two labels one has more questions than the other; of several one or half are missing. The
    questions are the same for every draw, so that they can be paired.
    """
    rng, labels = np.random.default_rng(0), list(task.labels)
    truth = np.array([example.label for example in task.held_out])
    places = {label: rng.permutation(np.flatnonzero(truth == label)) for label in labels}
    if len(labels) == 2:
        for more, less in (labels, labels[::-1]):
            for kind, (first, second) in MIXED.items():
                if kind != "1 to 1" or more == labels[0]:
                    picked = [*places[more][:first], *places[less][:second]]
                    yield kind, f"mostly {more}", np.sort(picked)
        return
    half = len(labels) // 2
    gone = {"none missing": [[]], "one missing": [[label] for label in labels]}
    for kind, several in (gone | {"half missing": [labels[:half], labels[half:]]}).items():
        for missing in several:
            name = f"without {' '.join(missing)}" if missing else "all labels"
            yield kind, name, np.flatnonzero(~np.isin(truth, missing))


def in_batches(row: dict, task: Task) -> Iterator[dict]:
    """What is right of each batch by each readout, from the scores of a row of `contest`.

    `calibrated` takes the batch itself, as it would come in use; the two others that calibrate take
    balanced training texts, or all held-out questions.
    """
    scores, others = contest.scores_of(row, len(task.labels))
    for kind, labels, places in batches(task):
        asked, here = [task.held_out[place] for place in places], scores[places]
        against = {"calibrated": here, "calibrated on training texts": others, BALANCED: scores}
        read = {"plain": here}
        read |= {n: scoring.contextual_calibration(here, batch) for n, batch in against.items()}
        for name, numbers in read.items():
            bits = contest.right(task, numbers, asked, "plain")
            about = {"way": row["arm"], "batch": kind, "labels": labels, "readout": name}
            yield about | compare.scored(bits)


def batch_study(lm: LanguageModel, draws: int) -> Study:
    """Unbalanced batches of the questions of the contest, from its stored log-probabilities.

    Nothing is computed anew, because a question's scores do not depend on what else is asked.
    """

    def work(task: str, arm: str, shots: int, draw: int) -> list[dict]:
        wanted = {"arm": arm, "shots": shots, "draw": draw}
        (row,) = compare.where(compare.stored(f"fair_{task}"), **wanted).to_dict("records")
        return list(in_batches(row, contest.load(task)))

    order = product(BATCHED, SIDES, EXAMPLES, range(draws))
    cells = [dict(zip(("task", "arm", "shots", "draw"), cell, strict=True)) for cell in order]
    settled = settled_of(BATCHED, mixed=list(map(list, MIXED.values())))
    return Study("batches", cells, work, settled, ["shots", "draw", "value"])


def fallen(rows: pd.DataFrame, **wanted: object) -> pd.DataFrame:
    """How far calibration on the batch falls behind that on balanced training texts.

    `wanted` chooses rows of `batch_study` as in `compare.where`: a task, an arm and a number of
    examples. A row for each kind of batch: the shares right, and the difference with its interval.
    """
    rows, lines = compare.where(rows, **wanted), []
    for kind in rows["batch"].unique():
        by_readout = {
            name: compare.right(rows, batch=kind, readout=name).astype(float)
            for name in rows["readout"].unique()
        }
        gap = by_readout["calibrated"] - by_readout["calibrated on training texts"]
        shares = {name: right.mean() for name, right in by_readout.items()}
        bounds = dict(zip(("behind", "low", "high"), compare.interval(gap), strict=True))
        lines.append({"batch": kind} | shares | bounds)
    return pd.DataFrame(lines)

"""The four uses with both ways at their best: settings tried in development, then all draws.

Both ways get the same examples. As many settings are tried for either: a prompt's form and its
choice of demonstrations, against a training's rate and passes. By default a prompt shows its
examples as they are, and the weights are trained as the lesson does it (see `replies.WAYS`,
`styles.SEEN` and `codes.CODES`). What is asked in development is asked nowhere else.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd

from helpers import compare, prompts
from helpers.compare import ANSWERS, Interval
from helpers.cost import Clock
from helpers.curves import NEIGHBOURS
from helpers.data import Example, Task, balanced_order, load_rows
from helpers.model import LanguageModel
from helpers.scoring import Demonstrations, next_tokens
from helpers.study import Study, digest
from helpers.teaching import ANSWER_TOKENS, LORA, Taught, Way, ask, passes, teach
from lessons import codes, contest, letters, replies, styles
from lessons.contest import RECIPES
from lessons.styles import KEPT, part
from lessons.verdict import contrast

FORMS = ("bare", "instruction", "chat", "chat with instruction")
FEW = ("shared", "like words", "like states")  # which demonstrations a query gets
NOTHING = ("none",)
LINES = "codebook line retrieved"
NOTES = {  # how the clinic's notes stand in a prompt, and the choices of each
    "all 240": ("mixed", "by code", "in turn"),
    "retrieved": ("nearest 8", "nearest 4", "nearest 16"),
    LINES: ("line and 0", "line and 4", "line and 8"),
}
ALL_NOTES = ["all 240", "retrieved"]  # the kinds that I7 chooses between
RATES = tuple(f"rate {rate:g}" for rate in contest.RATES)
LOOK_UP = "look-up"
WEIGHTS = "weights"
NOTHING_SHOWN = "nothing"
SIZES = (8, 64)  # pairs of the support desk
FEWER_NOTES = 128  # as many as the other tasks of F2 have
DEV = {"replies": 20, "emails": 8, "codes": 32, "writers": 4}  # asked of each development draw
NUMBERS = ["shots", "draw", "value", "tokens", "processor"]
FOLDS = 3  # of a writer's messages: each message is written in one, and read in the others


class Asked(NamedTuple):
    """A text to answer, and what tells for each measure whether an answer is right."""

    text: str
    marks: Callable[[str], dict[str, bool]]


Lesson = Callable[[str, int, int], tuple[list[Example], list[Asked]]]


class Use(NamedTuple):
    """A use: what is told, how much may be written, what is taught and asked.

    `prompts` names each kind of prompt with its choices of demonstrations, the default one first;
    `at` says which of them a size is asked with, where it is not all.
    `way(shots)` is the lesson's training of one of the `sizes`. `given(part, shots, draw)` is what
    a draw teaches and asks, `developed` the same in development; their parts are styles, writers or
    folds. `timed` also measures how long it takes to read a prompt's demonstrations. `data` digests
    the rows of the use, and `measure` is the one that is chosen by and contrasted.
    """

    task: Task
    instruction: str
    room: int
    prompts: dict[str, Sequence[str]]
    way: Callable[[int], Way]
    given: Lesson
    developed: Lesson
    sizes: Sequence[int]
    data: str
    parts: Sequence[str] = ("",)
    dev_parts: Sequence[str] = ("",)
    measure: str = KEPT
    timed: bool = False
    at: dict[int, Sequence[str]] | None = None

    def kinds(self, shots: int) -> Sequence[str]:
        """The kinds of prompt that a size is asked with."""
        return self.at[shots] if self.at else tuple(self.prompts)


# The uses


def reply_marks(ticket: dict, said: str) -> dict[str, bool]:
    """Whether a reply to a ticket keeps all rules, holds its facts, and takes the right step."""
    marks = replies.marks(ticket, said)
    groups = {KEPT: replies.RULES, "facts": replies.FACTS, "step": ["step"]}
    return {name: all(marks[check] for check in checks) for name, checks in groups.items()}


def support_desk() -> Use:
    """Tickets of all kinds; the rules may be told, because the shop has them in writing."""
    desk = replies.load_desk()

    def asked(pairs: Sequence[Example]) -> list[Asked]:
        return [Asked(pair.text, partial(reply_marks, desk.tickets[pair.text])) for pair in pairs]

    def given(_: str, shots: int, draw: int) -> tuple[list[Example], list[Asked]]:
        return desk.draw(shots, draw), asked(desk.held_out)

    def developed(_: str, shots: int, draw: int) -> tuple[list[Example], list[Asked]]:
        order = desk.draw(len(desk.train), draw)
        return order[:shots], asked(order[-DEV["replies"] :])

    def way(shots: int) -> Way:
        return replies.WAYS[f"weights, {shots}"]

    told, room = replies.instruction(), replies.REPLY_TOKENS
    data = digest(*load_rows("support_replies"))
    return Use(desk, told, room, {"prompt": FEW}, way, given, developed, SIZES, data)


def style_marks(rules: styles.Rules, row: dict, said: str) -> dict[str, bool]:
    """Whether a text keeps all rules of a style, and holds its fact."""
    return {KEPT: all(styles.kept(rules, said, row)), "facts": styles.holds(said, row["fact"])}


def few_passes(shots: int) -> Way:
    """The training of the e-mails and the writers."""
    return Way("as by default", trained=None, passes=passes(shots, styles.SEEN))


def e_mails() -> Use:
    """All held-out e-mails in each of the six styles; a draw is of train e-mails."""
    mail = load_rows("emails")
    rules = {style["style"]: style["rules"] for style in load_rows("styles")}

    def asked(style: str, rows: Sequence[dict]) -> list[Asked]:
        return [Asked(styles.sent(row), partial(style_marks, rules[style], row)) for row in rows]

    def given(style: str, shots: int, draw: int) -> tuple[list[Example], list[Asked]]:
        shown = styles.in_style(styles.drawn(mail, shots, draw), style)
        return shown, asked(style, part(mail, "held_out"))

    def developed(style: str, shots: int, draw: int) -> tuple[list[Example], list[Asked]]:
        order = styles.drawn(mail, len(mail), draw)
        return styles.in_style(order[:shots], style), asked(style, order[-DEV["emails"] :])

    told = "Reply to each e-mail in one line, in the same style as the replies shown."
    kinds, data = {"prompt": FEW}, digest(*mail, *load_rows("styles"))
    both = styles.REPLY, told, styles.ROOM, kinds, few_passes, given, developed, (4,), data
    return Use(*both, tuple(rules), tuple(rules), timed=True)


def clinic() -> Use:
    """All test notes; a draw is an order of the 240 training notes and a seed of the training.

    The first 128 of the order are trained on too, against a model that is shown nothing. In
    development the last of the order are asked, so fewer than all are taught.
    """
    task = codes.load_task()
    every = len(task.train)

    def asked(notes: Sequence[Example]) -> list[Asked]:
        return [Asked(note.text, lambda said, note=note: task.marks(note, said)) for note in notes]

    def developed(_: str, shots: int, draw: int) -> tuple[list[Example], list[Asked]]:
        order = task.draw(every, draw)
        return order[: min(shots, every - DEV["codes"])], asked(order[-DEV["codes"] :])

    def given(_: str, shots: int, draw: int) -> tuple[list[Example], list[Asked]]:
        return task.draw(shots, draw), asked(task.held_out)

    told = "Each note ends with a code. Say in plain words what the code stands for."
    way = partial(codes.weights, "as by default")
    kinds = NOTES | {NOTHING_SHOWN: NOTHING}
    at = {FEWER_NOTES: (NOTHING_SHOWN,), every: tuple(NOTES)}
    both = task, told, ANSWER_TOKENS, kinds, way, given, developed, tuple(at)
    return Use(*both, digest(*letters.load()), measure=ANSWERS, at=at)


def folded(writer: dict, seed: int, fold: int) -> tuple[list[Example], list[Asked]]:
    """A writer's messages in an order by the seed: the earlier ones, and those of the fold."""
    order = np.random.default_rng(seed).permutation(len(writer["messages"]))
    size = len(order) // FOLDS
    held = order[fold * size : (fold + 1) * size]
    known = [writer["messages"][i] for i in order if i not in held]
    rows = [writer["messages"][i] for i in held]
    asked = [Asked(row["request"], partial(style_marks, writer["rules"], row)) for row in rows]
    return [Example(row["request"], row["message"]) for row in known], asked


def writing_assistant() -> Use:
    """Each draw is one of the writers who are to be measured; development has others."""
    measured, others = (part(load_rows("writers"), group) for group in ("measure", "develop"))
    by_name = {writer["writer"]: writer for writer in others}

    def given(fold: str, shots: int, draw: int) -> tuple[list[Example], list[Asked]]:
        return folded(measured[draw], draw, int(fold.removeprefix("fold ")))

    def developed(writer: str, shots: int, draw: int) -> tuple[list[Example], list[Asked]]:
        return folded(by_name[writer], draw, 0)

    told = "Write each message in the same tone as the messages shown."
    kinds = {"prompt": FEW, NOTHING_SHOWN: NOTHING}
    both = styles.MESSAGE, told, styles.ROOM, kinds, few_passes, given, developed, (8,)
    folds = tuple(f"fold {i}" for i in range(FOLDS))
    return Use(*both, digest(*measured, *others), folds, tuple(by_name), timed=True)


USES = {
    "replies": support_desk,
    "emails": e_mails,
    "codes": clinic,
    "writers": writing_assistant,
}


@lru_cache
def load(name: str) -> Use:
    """One of the `USES`, with its data."""
    return USES[name]()


# The prompt


def show(
    lm: LanguageModel, use: Use, drawn: Sequence[Example], setting: str, longest: str
) -> Taught:
    """The draw as demonstrations, by a setting such as "chat, like words".

    Of those that all queries share as many are kept as fit with the `longest` query.
    """
    form, choice = setting.split(", ")
    instruction = use.instruction.strip() + "\n\n" if "instruction" in form else ""
    given = replace(use.task, instruction=instruction)
    style = prompts.chat(lm.tokenizer) if "chat" in form else prompts.plain
    shown = demonstrations(lm, given, drawn, choice)
    if not callable(shown):
        room = lm.context - use.room
        shown = prompts.fit(lm.tokenizer, given, shown, longest, room, style)
    return Taught(Way(setting), lm, given, shown, style)


def demonstrations(
    lm: LanguageModel, task: Task, drawn: Sequence[Example], choice: str
) -> Demonstrations:
    """Those of a choice: one list for all queries, or a function of the query."""
    kind, _, count = choice.rpartition(" ")
    if kind == "nearest":
        return prompts.nearest(drawn, min(int(count), len(drawn)))
    if kind == "line and":
        return with_lines(drawn, min(int(count), len(drawn)))
    if choice.startswith("like"):
        near = prompts.nearest if choice == "like words" else contest.like_states(lm, task)
        return near(drawn, min(NEIGHBOURS, len(drawn)))
    labels = list(dict.fromkeys(note.label for note in drawn))
    ordered = {
        "by code": [note for label in labels for note in drawn if note.label == label],
        "in turn": balanced_order(drawn, labels, seed=0),
        "none": [],
    }
    return ordered.get(choice, list(drawn))


def code(note: str) -> str:
    """The code that a note ends with."""
    return note.rpartition(", ")[2]


def with_lines(drawn: Sequence[Example], count: int) -> Callable[[str], list[Example]]:
    """A chooser of so many of the nearest notes, each behind the codebook's line of its own code;
    the query stands behind its line, which is looked up by the code."""
    near = prompts.nearest(drawn, count)
    lines = {line.text: line for line in codes.codebook_lines()}

    def choose(text: str) -> list[Example]:
        known = [row for note in near(text) for row in (lines[code(note.text)], note)]
        return [*known, lines[code(text)]]

    return choose


def prompted(
    lm: LanguageModel, use: Use, drawn: Sequence[Example], setting: str, asked: Sequence[Asked]
) -> Taught:
    """As `show`; where the use is timed, `processor` counts until the first query can be asked.

    That is choosing the demonstrations and reading them. It is done twice, and the second time
    counts, because the first one also loads what the program needs.
    """
    longest = max((query.text for query in asked), key=len)
    for _ in range(1 + use.timed):
        with Clock() as clock:
            taught = show(lm, use, drawn, setting, longest)
            shown = taught.demonstrations
            if use.timed:
                shown = shown(asked[0].text) if callable(shown) else shown
                next_tokens(lm, taught.style(taught.task, shown, ""))
    return taught._replace(processor=clock.processor if use.timed else 0.0)


# What is asked


def marked(said: Sequence[str], use: Use, asked: Sequence[Asked], setting: str) -> list[dict]:
    """A row for each measure of what was written; the texts stand in that of the use."""
    marks = [query.marks(text) for query, text in zip(asked, said, strict=True)]
    return [
        {"setting": setting, "said": json.dumps(said) if name == use.measure else ""}
        | compare.scored([mark[name] for mark in marks], name)
        for name in marks[0]
    ]


def answered(taught: Taught, use: Use, asked: Sequence[Asked]) -> list[dict]:
    """Let the model write: rows as of `marked`, with what the teaching took."""
    said = ask(taught, [query.text for query in asked], use.room)
    spent = {"tokens": taught.tokens, "processor": taught.processor}
    return [row | spent for row in marked(said, use, asked, taught.way.label)]


def batch(shots: int) -> int:
    """Examples in a step of the tuned training: where they are few, it too has several steps."""
    return min(LORA.batch, max(2, shots // 4))


# Tuning


def settings(use: Use, arm: str) -> list[str]:
    """What is tried of an arm: prompts as they are shown, or rates, each stopped on the way."""
    if arm == WEIGHTS:
        return list(RATES)
    return [", ".join(pair) for pair in product(FORMS, use.prompts[arm])]


def stopped(
    lm: LanguageModel,
    use: Use,
    drawn: Sequence[Example],
    rate: str,
    stops: Sequence[int],
    seed: int,
) -> Iterator[Taught]:
    """The weights after each of the stops; ask what is yielded before the next is taken."""
    lr = float(rate.removeprefix("rate "))
    for _, taught in contest.train(lm, use.task, drawn, lr, stops, seed, batch(len(drawn))):
        yield taught


def tuning_study(lm: LanguageModel, draws: int, name: str) -> Study:
    """Every setting of either way on the development draws of a use."""
    use = load(name)

    def work(part: str, shots: int, draw: int, arm: str, way: str) -> list[dict]:
        drawn, asked = use.developed(part, shots, draw)
        if arm == WEIGHTS:
            taught = stopped(lm, use, drawn, way, contest.STOPS, draw)
        else:
            taught = [prompted(lm, use, drawn, way, asked)]
        rows = [row for one in taught for row in answered(one, use, asked)]
        return [{key: value for key, value in row.items() if key != "said"} for row in rows]

    cells = [
        {"part": part, "shots": shots, "draw": draw, "arm": arm, "way": way}
        for shots in use.sizes
        for draw in contest.DEVELOPMENT[:draws]
        for part in use.dev_parts
        for arm in (*use.kinds(shots), WEIGHTS)
        for way in settings(use, arm)
    ]
    settled = settled_by(use, DEV[name]) | {"stops": list(contest.STOPS), "rates": list(RATES)}
    return Study(f"{name}, tuning", cells, work, settled, NUMBERS)


def chosen(name: str, arm: str | list[str], shots: int) -> str:
    """The setting of an arm, or of several, that did best in development; the first of equals."""
    rows = compare.stored(f"tuned_{name}")
    rows = compare.where(rows, measure=load(name).measure, arm=arm, shots=shots)
    return rows.groupby("setting", sort=False)["value"].mean().idxmax()


def settled_by(use: Use, asked: int) -> dict:
    """What of a use must be the same for all rows of a stored result."""
    told = {
        "forms": list(FORMS),
        "prompts": {arm: list(kinds) for arm, kinds in use.prompts.items()},
    }
    told |= {"instruction": digest(use.instruction), "template": use.task.template}
    return {"task": use.task.name, "questions": asked, "data": use.data, "settings": told}


# All draws


def uses_study(lm: LanguageModel, draws: int, name: str) -> Study:
    """Every arm by default and as tuned, on every draw and part of a use."""
    use = load(name)

    def work(part: str, shots: int, draw: int, way: str) -> list[dict]:
        drawn, asked = use.given(part, shots, draw)
        if way == LOOK_UP:
            known = {code(note.text): note.label for note in drawn}  # a dictionary of them
            said = [known.get(code(query.text), "") for query in asked]
            return [row | {"tokens": 0, "processor": 0.0} for row in marked(said, use, asked, "")]
        return answered(taught_as(lm, name, way, drawn, asked, draw), use, asked)

    cells = [
        {"part": part, "shots": shots, "draw": draw, "way": way}
        for draw in range(draws)
        for part in use.parts
        for shots in use.sizes
        for way in arms(use, shots)
    ]
    asked = len(use.given(use.parts[0], use.sizes[0], 0)[1])
    return Study(name, cells, work, settled_by(use, asked), NUMBERS)


def arms(use: Use, shots: int) -> list[str]:
    """Each way by default and as tuned; of the clinic's notes also a dictionary that is looked up
    in."""
    kinds = use.kinds(shots)
    both = [f"{arm}, {recipe}" for arm in (*kinds, WEIGHTS) for recipe in RECIPES]
    return [*both, *([LOOK_UP] if LINES in kinds else [])]


def taught_as(
    lm: LanguageModel,
    name: str,
    arm: str,
    drawn: Sequence[Example],
    asked: Sequence[Asked],
    seed: int,
) -> Taught:
    """The draw taught by an arm, such as "weights, tuned"."""
    use, (way, _, recipe) = load(name), arm.rpartition(", ")
    tuned = recipe == "tuned"
    setting = chosen(name, way, len(drawn)) if tuned else ""
    if way != WEIGHTS:
        return prompted(lm, use, drawn, setting or f"bare, {use.prompts[way][0]}", asked)
    if not tuned:
        return teach(lm, use.task, use.way(len(drawn)), seed, drawn)
    _, stop = contest.setting_of(setting)
    return list(stopped(lm, use, drawn, setting.partition(", ")[0], [stop], seed))[-1]


# The contrasts


def row(claim: str, level: str, recipe: str, number: Interval, draws: int, part: int = 0) -> dict:
    """A contrast of written texts."""
    return contrast(claim, level, "written", recipe, number, draws, part)


def of_replies(rows: pd.DataFrame) -> Iterator[dict]:
    """U1 at both numbers of pairs."""
    for shots, recipe in product(SIZES, RECIPES):
        gap = ahead(rows, WEIGHTS, "prompt", recipe, shots=shots)
        yield row("U1", f"{shots} pairs", recipe, compare.interval(gap), len(gap))


def of_emails(rows: pd.DataFrame) -> Iterator[dict]:
    """U2 in each style, and I6 over all: there an e-mail counts once, by its mean over styles."""
    level = list(dict.fromkeys(rows["part"]))
    for recipe in RECIPES:
        gaps = [ahead(rows, "prompt", WEIGHTS, recipe, part=style) for style in level]
        times = sooner(rows, recipe)
        for style, gap, logs in zip(level, gaps, times.T, strict=True):
            yield row("U2", style, recipe, compare.interval(gap), len(gap))
            yield row("U2", style, recipe, ratio(compare.interval(logs)), len(gap), 1)
        number = compare.interval(np.mean(gaps, 0))
        yield row("I6", "e-mails", recipe, number, len(times))
        yield row("I6", "e-mails", recipe, ratio(compare.interval(times.mean(1))), len(times), 1)


def of_codes(rows: pd.DataFrame) -> Iterator[dict]:
    """U3 against each kind of prompt; F2, F4 and I7 at the level of the clinic's codes."""
    level, fewer, every = "clinic codes", *load("codes").sizes
    for recipe in RECIPES:
        gaps = {kind: ahead(rows, WEIGHTS, kind, recipe, shots=every) for kind in NOTES}
        for kind, gap in gaps.items():
            yield row("U3", kind, recipe, compare.interval(gap), len(gap))
        gained = ahead(rows, WEIGHTS, NOTHING_SHOWN, recipe, shots=fewer)
        yield row("F2", level, recipe, compare.interval(gained), len(gained))
        right = compare.right(rows, measure=ANSWERS, way=f"{WEIGHTS}, {recipe}", shots=every)
        yield row("F4", level, recipe, compare.interval(right), len(right))
        lead = gaps[with_all_notes(recipe, every)]
        yield row("I7", level, recipe, compare.interval(lead), len(lead))


def with_all_notes(recipe: str, shots: int) -> str:
    """The prompt of I7: all notes by default; as tuned all or retrieved ones, by development."""
    if recipe == "default":
        return ALL_NOTES[0]
    choice = chosen("codes", ALL_NOTES, shots).split(", ")[1]
    return next(kind for kind in ALL_NOTES if choice in NOTES[kind])


def of_writers(rows: pd.DataFrame) -> Iterator[dict]:
    """U4, and I6 from its second part; a draw is a writer, whose messages are nested in it."""
    for recipe in RECIPES:
        told, behind = (nested(ahead(rows, "prompt", way, recipe)) for way in ("nothing", WEIGHTS))
        times = sooner(rows, recipe)
        yield row("U4", "writers", recipe, told, len(times))
        yield row("U4", "writers", recipe, behind, len(times), 1)
        yield row("I6", "writers", recipe, behind, len(times))
        yield row("I6", "writers", recipe, ratio(nested(times)), len(times), 1)


def ahead(rows: pd.DataFrame, one: str, other: str, recipe: str, **wanted: object) -> np.ndarray:
    """What is right of one arm minus what is right of the other, as an array [draws, questions].

    The parts of a draw stand side by side.
    """
    rows = compare.where(rows, measure=[KEPT, ANSWERS], **wanted).sort_values(["draw", "part"])
    first, second = (compare.right(rows, way=f"{arm}, {recipe}") for arm in (one, other))
    return first.astype(float) - second


def sooner(rows: pd.DataFrame, recipe: str) -> np.ndarray:
    """How many times sooner the prompt is ready than the weights, as logarithms [draws, parts]."""
    rows, seconds = compare.where(rows, measure=KEPT), []
    order = list(dict.fromkeys(rows["part"]))
    for arm in (WEIGHTS, "prompt"):
        of_arm = compare.where(rows, way=f"{arm}, {recipe}")
        seconds.append(of_arm.pivot(index="draw", columns="part", values="processor")[order])
    return np.log(seconds[0].to_numpy() / seconds[1].to_numpy())


def ratio(logs: Interval) -> Interval:
    """A mean logarithm with its interval, as the ratio that it stands for."""
    return Interval(*(float(np.exp(bound)) for bound in logs))


def nested(table: np.ndarray, seed: int = 0, times: int = 4000) -> Interval:
    """The mean of an array [draws, items] with its 95 % interval, where items are of one draw only.

    Draws are resampled, and within each of them its own items.
    """
    rng, (draws, items) = np.random.default_rng(seed), table.shape
    drawn = rng.integers(draws, size=(times, draws, 1))
    means = table[drawn, rng.integers(items, size=(times, draws, items))].mean((1, 2))
    low, high = np.percentile(means, (2.5, 97.5))
    return Interval(float(table.mean()), float(low), float(high))

"""Both ways at their best: settings tried on development draws, one chosen, then the curves.

A setting of a prompt is a form (how the task is put) and a choice of demonstrations. A setting of
the weights is a rate and a number of passes: a training falls from its rate to 0 over `HORIZON`
passes, and is stopped where its development rows were answered best. As many settings are tried
for either. Development draws take training rows only; of these the last `DEV` are asked.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice, pairwise, product

import numpy as np
import pandas as pd
from scipy.special import log_softmax

from helpers import compare, curves, data, finetune, prompts, scoring
from helpers.adapters import in_bfloat16
from helpers.cost import Clock
from helpers.data import DataError, Example, Task, balanced_order, texts
from helpers.model import LanguageModel
from helpers.study import Study, digest, settled_by
from helpers.teaching import FULL, LORA, Taught, Way, ask, read_out, teach

TASKS = ("support_tickets", "reviews", "verbs")
LEVELS = {"support_tickets": "support_tickets", "reviews": "reviews", "verbs": "past_tense"}
SHOTS = (8, 32, 128, 256)
DEVELOPMENT, DEV = (100, 101), 64  # seeds of the draws, rows asked in each
FORMS = ("bare", "instruction", "list", "chat")
CHOICES = ("shared", "like words", "like states")  # which demonstrations a query gets
RATES, STOPS, HORIZON = (3e-4, 1e-3, 2e-3), (2, 4, 8, 16), 16
ROOM = 32  # tokens kept free for the answer
READOUTS, RECIPES = ("plain", "calibrated"), ("default", "tuned")
INSTRUCTION = {
    "support_tickets": "Each message was written to a shop by a customer. Say what it is about.",
    "reviews": "Say whether the writer of each review is content with the product.",
    "verbs": "Write the past tense of each verb.",
    "category": "Say what kind of thing each word names.",
    "past_tense": "Write the past tense of each verb.",
    "plurals": "Write the plural of each noun.",
    "capitals": "Write the capital of each country.",
}
LIST = {
    "support_tickets": """The topics are:
account: signing in, e-mails from the shop, personal data
change: altering or cancelling an order before it comes
damaged: it arrived broken, or has stopped working
delivery: where it is, why it is late, trouble with the courier
missing: the wrong thing came, or a part is not there
payment: charges, cards, bills, vouchers, discounts
product: a question about size, material, stock, care or use
refund: giving back what is in order, or money that has not come back""",
    "reviews": """The verdicts are:
negative: the writer would not buy it again
positive: the writer would buy it again""",
    "verbs": """The rules are:
most verbs add -ed: walk, walked
after a silent e only -d: bake, baked
a single consonant doubles: stop, stopped
many common verbs change in their own way: sing, sang""",
}


def load(name: str) -> Task:
    """One of `TASKS`; the tickets are asked of messages that were written for this contest."""
    task = data.load_task(name)
    if name == "support_tickets":
        return replace(task, held_out=tuple(data.read_csv(data.DATA / "new_tickets.csv")))
    return task


def rows_of(task: Task, shots: int, seed: int) -> tuple[list[Example], list[Example]]:
    """A draw of training rows, and the last `DEV` rows of the same order, none of them in it."""
    order = balanced_order(task.train, task.labels, seed)
    return order[: min(shots, len(order) - DEV)], order[-DEV:]


# The prompt


def put(
    lm: LanguageModel,
    task: Task,
    form: str,
    lists: Mapping[str, str] = LIST,
) -> tuple[Task, prompts.Style]:
    """The task as a form puts it, and the style that writes it; a chat begins with the list."""
    instruction = "" if form == "bare" else INSTRUCTION[task.name]
    if form in ("list", "chat"):
        instruction += "\n" + lists[task.name]
    if form == "chat":
        return replace(task, instruction=instruction), prompts.chat(lm.tokenizer)
    return replace(task, instruction=instruction and instruction + "\n\n"), prompts.plain


def show(lm: LanguageModel, task: Task, drawn: Sequence[Example], form: str, choice: str) -> Taught:
    """The draw as demonstrations: all that fit for every query, or the nearest to each."""
    given, style = put(lm, task, form)
    asked = [*task.train, *task.held_out]
    if choice == "shared":
        longest = max(texts(asked), key=len)
        room = lm.context - ROOM
        shown = prompts.fit(lm.tokenizer, given, drawn, longest, room, style) if drawn else []
    else:
        near = prompts.nearest if choice == "like words" else like_states(lm, task)
        shown = near(drawn, min(curves.NEIGHBOURS, len(drawn)))
    return Taught(Way(f"{form}, {choice}"), lm, given, shown, style)


def like_states(lm: LanguageModel, task: Task) -> Callable:
    """A chooser as `prompts.nearest`, by the cosine of the model's own states.

    The mean state of the draw is taken away first, because it is what all states share.
    """

    def near(pool: Sequence[Example], shots: int) -> Callable[[str], list[Example]]:
        known = np.array([curves.hidden_state(lm, task, text) for text in texts(pool)])
        middle = known.mean(0)
        known = (known - middle) / np.linalg.norm(known - middle, axis=1, keepdims=True)

        def choose(text: str) -> list[Example]:
            order = (known @ (curves.hidden_state(lm, task, text) - middle)).argsort(kind="stable")
            return [pool[i] for i in order[len(order) - shots :]]

        return choose

    return near


# The weights


def train(
    lm: LanguageModel,
    task: Task,
    drawn: Sequence[Example],
    rate: float,
    stops: Sequence[int],
    seed: int,
    batch: int = LORA.batch,
) -> Iterator[tuple[int, Taught]]:
    """Train towards `HORIZON` passes and stop for a look after each of `stops`.

    The last stop ends it. What is yielded goes on learning: ask it before the next is taken.
    """
    recipe = replace(LORA, passes=HORIZON, rate=rate, batch=batch)
    plan = finetune.steps_of(lm, task, drawn, recipe, seed, prompts.plain, None)
    tuned = finetune.with_adapter(lm, recipe.rank, seed)
    level = finetune.rise_and_fall(len(plan))
    steps = finetune.train_adapter(tuned, plan, rate, level)
    each = math.ceil(len(drawn) / recipe.batch)
    stages = in_stages(lm, tuned, steps, [stop * each for stop in stops])
    for stop, spent in zip(stops, stages, strict=True):
        way = Way(f"rate {rate:g}, {stop} passes", trained=None)
        yield stop, Taught(way, tuned, task, [], prompts.plain, *spent)


def in_stages(
    lm: LanguageModel, tuned: LanguageModel, steps: Iterator[dict], stops: Sequence[int]
) -> Iterator[tuple[int, float, float]]:
    """Take the steps of a training of `tuned`, and stop for a look after each number of them.

    Yields the tokens, wall and processor seconds so far.
    """
    tokens, wall, processor = 0, 0.0, 0.0
    for before, stop in pairwise((0, *stops)):
        with Clock() as clock, in_bfloat16(tuned.model, finetune.rounds(lm)):
            tokens += sum(record["tokens"] for record in islice(steps, stop - before))
        wall, processor = wall + clock.wall, processor + clock.processor
        yield tokens, wall, processor


# What is asked


def scored(taught: Taught, asked: Sequence[Example]) -> dict[str, list[bool]]:
    """Which of the questions are right, by each readout that the task has."""
    task, queries = taught.task, texts(asked)
    if not task.labels:
        written = ask(taught, queries)
        return {"written": [said == row.label for said, row in zip(written, asked, strict=True)]}
    scores = scoring.score_labels(taught.lm, task, taught.demonstrations, queries, taught.style)
    return {name: right(task, scores, asked, name) for name in READOUTS}


def right(task: Task, scores: np.ndarray, asked: Sequence[Example], readout: str) -> list[bool]:
    """Which of the questions the scores [questions, labels] answer right."""
    said = read_out(task, scores, readout)
    return [answer == row.label for answer, row in zip(said, asked, strict=True)]


def readout_rows(taught: Taught, asked: Sequence[Example]) -> list[dict]:
    """How a way answers: a row for each readout that its task has."""
    return [
        {"way": taught.way.label, "readout": name} | compare.scored(bits)
        for name, bits in scored(taught, asked).items()
    ]


def answered(taught: Taught, asked: Sequence[Example], others: Sequence[Example]) -> dict:
    """A row with what is right by the plain readout, or written where the task has no labels.

    `others` are training texts that are not shown; their log-probabilities follow those of the
    questions.
    """
    about = {"setting": taught.way.label}
    if not taught.task.labels:
        return about | {"scores": ""} | compare.scored(scored(taught, asked)["written"])
    before = taught.task, taught.demonstrations, texts([*asked, *others]), taught.style
    scores = log_softmax(scoring.score_labels(taught.lm, *before), 1)
    bits = right(taught.task, scores[: len(asked)], asked, "plain")
    return about | {"scores": as_text(scores)} | compare.scored(bits)


# Tuning


def tuning_study(lm: LanguageModel, draws: int, task: str, side: str) -> Study:
    """Every setting of a side on the development draws, at each number of examples."""
    given = load(task)

    def rows(taught: Taught, dev: Sequence[Example]) -> list[dict]:
        return [row | {"processor": taught.processor} for row in readout_rows(taught, dev)]

    def work(shots: int, draw: int, setting: str) -> list[dict]:
        drawn, dev = rows_of(given, shots, draw)
        if side == "prompt":
            return rows(show(lm, given, drawn, *setting.split(", ")), dev)
        trained = train(lm, given, drawn, float(setting.removeprefix("rate ")), STOPS, draw)
        return [row for _, taught in trained for row in rows(taught, dev)]

    def settings(shots: int) -> list[str]:
        if side == "weights":
            return [f"rate {rate:g}" for rate in RATES]  # a bare number is read back as another
        return [", ".join(pair) for pair in product(FORMS, CHOICES if shots else CHOICES[:1])]

    cells = [
        {"shots": shots, "draw": draw, "setting": setting}
        for shots in ((0, *SHOTS) if side == "prompt" else SHOTS)
        for draw in DEVELOPMENT[:draws]
        for setting in settings(shots)
    ]
    told = digest(INSTRUCTION[task], LIST[task]) if side == "prompt" else HORIZON
    settled = settled_by(given, []) | {"questions": DEV, "settings": told}
    return Study(f"{task}, {side}", cells, work, settled, ["shots", "draw", "value", "processor"])


def tried(task: str, side: str) -> pd.DataFrame:
    """The mean share right of every setting on the development draws: a column for each size."""
    rows = compare.stored(f"tuned_{side}_{task}")
    return rows.pivot_table("value", "way", "shots", sort=False)


def chosen(task: str, side: str, shots: int) -> str:
    """The setting that did best on the development draws, over all readouts; the first of equals.

    A size that was not tuned takes what was chosen for the next smaller one.
    """
    means = tried(task, side)
    return means[max(n for n in means if n <= shots)].idxmax()


# The curves

MODEL_WAYS = ("prompt, default", "prompt, tuned", "weights, default", "weights, tuned", "full")
WITHOUT_LABELS = ("nearest known", "regular ending")
WITH_LABELS = ("TF-IDF, words", "TF-IDF, characters", "probe", "nearest known")
FULL_DRAWS = 3  # full fine-tuning is slow


def curves_study(lm: LanguageModel, draws: int, task: str) -> Study:
    """Either way by default and as tuned, full fine-tuning and what needs no prompt, draw by draw.

    Besides the held-out items the last training rows of the order are asked, without their labels,
    for calibration. What a row holds of all log-likelihoods is told by `scores_of`.
    """
    given = load(task)
    asked = given.held_out

    def work(shots: int, draw: int, arm: str) -> list[dict]:
        drawn = balanced_order(given.train, given.labels, draw)
        if arm in WITH_LABELS + WITHOUT_LABELS:
            said = baseline(lm, given, arm, drawn[:shots], texts(asked))
            bits = [answer == row.label for answer, row in zip(said, asked, strict=True)]
            return [{"way": arm, "setting": "", "scores": ""} | compare.scored(bits)]
        taught = taught_as(lm, given, drawn[:shots], arm, draw)
        spent = {"tokens": taught.tokens, "processor": taught.processor}
        return [{"way": arm} | answered(taught, asked, drawn[-DEV:]) | spent]

    settled = settled_by(given, asked) | {"calibration": DEV if given.labels else 0}
    numbers = ["shots", "draw", "value"]
    return Study(task, curve_cells(given, draws), work, settled, numbers)


def curve_cells(task: Task, draws: int) -> list[dict]:
    """Zero-shot once in either form; then every arm of every draw at every size."""
    arms = MODEL_WAYS + (WITH_LABELS if task.labels else WITHOUT_LABELS)
    once = [{"shots": 0, "draw": 0, "arm": arm} for arm in ("prompt, default", "prompt, tuned")]
    return once + [
        {"shots": shots, "draw": draw, "arm": arm}
        for draw in range(draws)
        for shots in SHOTS
        for arm in arms
        if arm != "full" or draw < FULL_DRAWS
    ]


def taught_as(
    lm: LanguageModel, task: Task, drawn: Sequence[Example], arm: str, seed: int
) -> Taught:
    """The draw taught by one of `MODEL_WAYS`; full fine-tuning takes the tuned number of passes."""
    side, recipe = arm.split(", ") if ", " in arm else ("weights", "full")
    if side == "prompt":
        setting = "bare, shared" if recipe == "default" else chosen(task.name, side, len(drawn))
        return show(lm, task, drawn, *setting.split(", "))
    if recipe == "default":
        return teach(lm, task, Way("as by default", trained=None), seed, drawn)
    rate, stop = setting_of(chosen(task.name, side, len(drawn)))
    if recipe == "full":
        way = Way(f"all weights, {stop} passes", trained=None, passes=stop, recipe=FULL)
        return teach(lm, task, way, seed, drawn)
    return list(train(lm, task, drawn, rate, [stop], seed))[-1][1]


def setting_of(label: str) -> tuple[float, int]:
    """The rate and the passes of a setting's label, such as "rate 0.001, 8 passes"."""
    _, rate, stop, _ = label.replace(",", "").split()
    return float(rate), int(stop)


def baseline(
    lm: LanguageModel, task: Task, name: str, drawn: Sequence[Example], queries: Sequence[str]
) -> list[str]:
    """The answers of what needs neither prompt nor training of the model."""
    if name == "regular ending":
        return [regular(verb) for verb in queries]
    if name == "nearest known":
        near = prompts.nearest(drawn, 1)
        return [near(query)[0].label for query in queries]
    known = {"TF-IDF, words": "tfidf", "TF-IDF, characters": "characters"}.get(name, name)
    return curves.outcomes(lm, task, known, drawn, queries)[0].answers


def regular(verb: str) -> str:
    """A verb with the regular ending of the past tense, spelt by the usual rules."""
    if verb.endswith("e"):
        return verb + "d"
    if verb[-1] == "y" and verb[-2] not in "aeiou":
        return verb[:-1] + "ied"
    short = len(verb) < 5 and verb[-1] not in "aeiouwxy" and verb[-2] in "aeiou"
    return verb + (verb[-1] if short and verb[-3] not in "aeiou" else "") + "ed"


def as_text(scores: np.ndarray) -> str:
    """Log-probabilities [questions, labels] as numbers with three decimals."""
    return " ".join(f"{score:.3f}" for score in scores.ravel())


def scores_of(row: dict, labels: int) -> tuple[np.ndarray, np.ndarray]:
    """A row's log-probabilities of the questions, and of the training texts asked beside them."""
    scores = np.array(row["scores"].split(), dtype=float).reshape(-1, labels)
    return scores[: len(row["right"])], scores[len(row["right"]) :]


def readings(rows: pd.DataFrame, task: Task) -> pd.DataFrame:
    """Every row once for each readout, with what is right by it; baselines have one for all.

    `calibrated` takes the batch of all questions, `calibrated on training texts` that of others.
    """
    names = (*READOUTS, "calibrated on training texts") if task.labels else ("written",)
    read = []
    for row in rows.to_dict("records"):
        for name in names:
            bits = row["right"]
            if row["scores"] and name != "plain":
                asked, others = scores_of(row, len(task.labels))
                batch = asked if name == "calibrated" else others
                scores = scoring.contextual_calibration(asked, batch)
                bits = compare.bits(right(task, scores, task.held_out, "plain"))
            read += [row | {"readout": name, "right": bits}]
    return pd.DataFrame(read).drop(columns="scores")


def crossing(rows: pd.DataFrame, a: str, b: str) -> compare.Interval:
    """The number of examples from which `a` is ahead of `b`, with its 95 % interval.

    Between two measured numbers the difference is taken to be straight in log n. 0 means ahead from
    the first number on, infinity never ahead at the end; both bounds may be one of these.
    Raises `DataError` when the two were not taught with the same numbers of examples and draws.
    """
    both = [set(rows[rows["way"] == way]["shots"]) for way in (a, b)]
    taught = [numbers - {0} for numbers in both if numbers != {0}]
    shots = sorted(set.intersection(*taught)) if taught else []
    if not shots:
        raise DataError(f"These results hold {a!r} and {b!r} at no common number of examples.")
    gaps = [compare.paired(rows, a, b, shots=n) for n in shots]
    curves = np.array(
        [compare.resample(gap) for gap in gaps]
    ).T  # the same seed: the same new samples
    crossings = [_ahead_from(shots, curve) for curve in curves]
    low, high = np.percentile(crossings, (2.5, 97.5), method="nearest")
    return compare.Interval(
        _ahead_from(shots, [gap.mean() for gap in gaps]), float(low), float(high)
    )


def _ahead_from(shots: Sequence[int], gaps: Sequence[float]) -> float:
    """Where the difference turns positive for good."""
    if gaps[-1] <= 0:
        return math.inf
    behind = [i for i, gap in enumerate(gaps) if gap <= 0]
    if not behind:
        return 0.0
    i = behind[-1]
    share = -gaps[i] / (gaps[i + 1] - gaps[i])
    return float(2 ** np.interp(share, (0, 1), np.log2(shots[i : i + 2])))

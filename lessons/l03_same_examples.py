"""Lesson 3: what the learner builds, the same examples taught in all ways, explorer and checks.

`python -m lessons support_tickets`, `reviews` and `verbs` make the stored curves; `contest` says
how those are made whose names begin with `tuned_` and `fair_`.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape

import numpy as np
import pandas as pd

from helpers import checks, compare, plots, study, teaching
from helpers.curves import all_ways
from helpers.data import DataError, Example, Task, balanced_order, load_task, texts
from helpers.model import LanguageModel
from helpers.scoring import score_labels
from helpers.study import Made, Study
from helpers.widgets import Panel, explorer
from lessons import contest, larger
from lessons.contest import READOUTS

SHOTS = (8, 32, 128, 256)
CHOOSING = ("majority", "zero-shot", "in-context", "lora", "tfidf", "probe")
WRITING = ("majority", "zero-shot", "in-context", "nearest", "lora")
BY_TASK = {"support_tickets": CHOOSING, "reviews": CHOOSING, "verbs": WRITING}
ITEMS = {"support_tickets": 96, "reviews": 96, "verbs": 60}


def curves_study(lm: LanguageModel, draws: int, task: str) -> Study:
    """Every way on every draw of a task, at each number of examples."""
    return all_ways(lm, load_task(task), SHOTS, draws, ITEMS[task], BY_TASK[task])


MADE = {task: Made(150, partial(curves_study, task=task)) for task in ITEMS}
for task in contest.TASKS:
    MADE |= {
        f"tuned_{side}_{task}": Made(90, partial(contest.tuning_study, task=task, side=side), 2)
        for side in ("prompt", "weights")
    }
    MADE[f"fair_{task}"] = Made(200, partial(contest.curves_study, task=task))


# What the learner builds: the split, the choice of a setting, the interval of a difference


def fair_split(task: Task, shots: int, dev_size: int, seed: int) -> tuple[list, list]:
    """The examples that are taught, and others of the training split that choose settings."""
    order = balanced_order(task.train, task.labels, seed)
    return order[:shots], order[-dev_size:]


def _split_by(cut: Callable) -> Callable:
    """`fair_split` that cuts the order into its two parts in another way."""

    def piece(task, shots, dev_size, seed):
        return cut(balanced_order(task.train, task.labels, seed), shots, dev_size)

    return piece


def _split_held_out(task, shots, dev_size, seed):
    order = balanced_order(task.held_out, task.labels, seed)
    return order[:shots], order[-dev_size:]


def _places(split: Callable) -> list[int]:
    """Where all that a small and a larger split hold stands in the data."""
    task = load_task("support_tickets")
    place = {example: i for i, example in enumerate([*task.train, *task.held_out])}
    parts = (part for shots in (8, 32) for part in split(task, shots))
    return [place[example] for part in parts for example in part]


SPLIT = checks.Build(
    own=fair_split,
    trial=lambda piece, _: _places(lambda task, shots: piece(task, shots, contest.DEV, seed=100)),
    truth=lambda _: _places(lambda task, shots: contest.rows_of(task, shots, seed=100)),
    praise="so were the rows split on which the course chose its own settings.",
    mistakes={
        "that uses up the held-out questions, which nobody may see yet: order task.train.": (
            _split_held_out
        ),
        "what is taught stands in the dev part too, where learning by heart would win.": _split_by(
            lambda order, shots, dev_size: (order[:shots], order[:dev_size])
        ),
        "the dev part changes with the number of shots: take the end of the order.": _split_by(
            lambda order, shots, dev_size: (order[:shots], order[shots : shots + dev_size])
        ),
        "a larger draw must begin with the smaller one: take the start of the order.": _split_by(
            lambda order, shots, dev_size: (order[-dev_size - shots : -dev_size], order[-dev_size:])
        ),
        "the dev part has as many examples as dev_size says, not all that are left.": _split_by(
            lambda order, shots, dev_size: (order[:shots], order[shots:])
        ),
    },
)


def choose(table: pd.DataFrame) -> pd.DataFrame:
    """The row of each way's best setting on the dev part, among as many tries for each way."""
    tries = table["way"].value_counts().min()
    best = []
    for way in table["way"].unique():
        counted = table[table["way"] == way].head(tries)
        best.append(counted.loc[counted["dev"].idxmax()])
    return pd.DataFrame(best)


def _chooser(best: Callable, tries: Callable = pd.Series.min) -> Callable:
    """`choose` with other things in its blanks; `best` takes the tries that count, by way."""

    def piece(table):
        counted = table.groupby("way", sort=False).head(tries(table["way"].value_counts()))
        return table.loc[best(counted.groupby("way", sort=False))]

    return piece


def tried(task: str, shots: int) -> pd.DataFrame:
    """What the course tried for both ways on a task: way, setting, dev (share right)."""
    rows = [
        (side, setting, share)
        for side in ("prompt", "weights")
        for setting, share in contest.tried(task, side)[shots].items()
    ]
    return pd.DataFrame(rows, columns=["way", "setting", "dev"])


def _tries() -> pd.DataFrame:
    """What was tried on past tenses with 128 verbs, and one more try for one of the two ways.

    What stands under `held_out` is made up: whoever chooses by it is found out.
    """
    table = tried("verbs", 128)
    table.loc[len(table)] = "weights", "one more", 0.99
    return table.assign(held_out=np.roll(table["dev"], 1))


def _chosen_by_the_course(_) -> list[int]:
    settings = list(_tries()["setting"])
    return [settings.index(contest.chosen("verbs", side, 128)) for side in ("prompt", "weights")]


CHOICE = checks.Build(
    own=choose,
    trial=lambda piece, _: list(piece(_tries()).index),
    truth=_chosen_by_the_course,
    praise="on past tenses it takes the settings that the course took.",
    mistakes={
        "one way may choose among more tries; luck alone then makes it look better.": _chooser(
            lambda ways: ways["dev"].idxmax(), tries=pd.Series.max
        ),
        "that chooses by held_out: then the final test has been used up.": _chooser(
            lambda ways: ways["held_out"].idxmax()
        ),
        "that is the last setting tried; take the one with the largest share.": _chooser(
            lambda ways: [rows.index[-1] for _, rows in ways]
        ),
        "only one way has a setting; choose within each way.": _chooser(
            lambda ways: [ways["dev"].idxmax().iloc[0]]
        ),
        "that is the worst setting of each way.": _chooser(lambda ways: ways["dev"].idxmin()),
    },
)


def paired_interval(a: np.ndarray, b: np.ndarray, times: int = 2000) -> tuple[float, ...]:
    """How much more often `a` is right than `b`, with its 95 % interval over draws and questions.

    Both are booleans [draws, questions].
    """
    gap = a.astype(float) - b
    rng, means = np.random.default_rng(0), []
    draws, questions = gap.shape
    for _ in range(times):
        sample = gap[rng.choice(draws, draws)]
        sample = sample[:, rng.choice(questions, questions)]
        means.append(sample.mean())
    return gap.mean(), *np.percentile(means, (2.5, 97.5))


def _bounds(gap: np.ndarray, means: np.ndarray) -> list[float]:
    return [gap.mean(), *np.percentile(means, (2.5, 97.5))]


def _pair() -> tuple[np.ndarray, np.ndarray]:
    """Two ways with the same lucky draws and the same hard questions, 6 draws of 30."""
    rng = np.random.default_rng(0)
    ease = rng.normal(0, 1.5, 30) + rng.normal(0, 0.8, (6, 1))
    lead = rng.normal(0.8, 0.7, (6, 1))
    return tuple(ease + add + rng.normal(0, 0.7, (6, 30)) > 0 for add in (lead, 0.0))


def _only_questions(a, b):
    gap = a.astype(float) - b
    return _bounds(gap, compare.resample(gap.mean(0, keepdims=True)))


def _only_draws(a, b):
    gap = a.astype(float) - b
    return _bounds(gap, compare.resample(gap.mean(1, keepdims=True)))


def _unpaired(a, b):
    gap = a.astype(float) - b
    return _bounds(gap, compare.resample(a, seed=1) - compare.resample(b, seed=2))


def _not_anew(a, b):
    gap = a.astype(float) - b
    return _bounds(gap, np.full(2, gap.mean()))


def _too_early(a, b):
    draws, questions = (a.mean(1) - b.mean(1)).shape
    return draws, questions


def _by_compare(_: object = None) -> list[float]:
    """What `compare.difference` says of the pair."""
    answers = zip("ab", _pair(), strict=True)
    rows = [
        {"way": way, "draw": draw} | compare.scored(right)
        for way, table in answers
        for draw, right in enumerate(table)
    ]
    return list(compare.difference(pd.DataFrame(rows), "a", "b")[:3])


def _named(piece: Callable, _) -> Sequence[float]:
    """The numbers of a piece; where only chance tells them from a known interval, that one's.

    Whoever draws other random numbers gets bounds that differ by less than 0.02.
    """
    found = np.array(piece(*_pair()), dtype=float)
    known = [wrong(*_pair()) for wrong in (_only_questions, _only_draws, _unpaired)]
    known = [_by_compare(), *known]
    far = [np.abs(found - numbers).max() for numbers in known]
    return known[np.argmin(far)] if min(far) < 0.02 else found


INTERVAL = checks.Build(
    own=paired_interval,
    trial=_named,
    truth=_by_compare,
    praise="your interval is that of compare.difference, but for chance.",
    mistakes={
        "the draws stay as they are: other examples to learn from are luck too.": _only_questions,
        "the questions stay as they are: other questions are luck too.": _only_draws,
        "not paired: subtract first, so that a lucky draw or an easy question helps both.": (
            _unpaired
        ),
        "each new sample is the old one: choose with replacement.": _not_anew,
        "the means come too early: keep a row for each draw, a column for each question.": (
            _too_early
        ),
        "the sign is turned round: how much more often is a right than b?": (
            lambda a, b: paired_interval(b, a)
        ),
        "numpy does not subtract true from true: begin with a.astype(float).": lambda a, b: a - b,
    },
)


# The stored curves, in this lesson's words

QUESTION = (
    "Of 96 tickets, how many more will the weights sort right than the prompt? (Fewer: below 0)"
)

OLD_NAMES = {
    "in-context": "prompt",
    "in-context, calibrated": "prompt, calibrated",
    "in-context, nearest": "prompt, nearest",
    "lora": "weights",
    "linear probe": "probe",
}
FAIR_NAMES = {
    "prompt, tuned": "prompt",
    "weights, tuned": "weights",
    "full": "full fine-tuning",
    "TF-IDF, words": "TF-IDF",
}
DRAWN = ("prompt", "weights", "TF-IDF", "probe", "zero-shot")  # where a result holds it


def curves_of(name: str) -> pd.DataFrame:
    """A stored result's rows, its ways named as in this lesson; `setting` says what each took.

    Takes the name of a default curve, such as "verbs", or of a tuned one, such as "fair_verbs".
    """
    rows = compare.stored(name)
    if name.startswith("fair_"):
        return _tuned_curves(rows, contest.load(name.removeprefix("fair_")))
    recipe = teaching.LORA
    settings = {
        "in-context": lambda n: "bare",
        "lora": lambda n: f"rate {recipe.rate:g}, {_passes(teaching.passes(n))}",
    }
    taken = [settings.get(row.way, lambda n: "")(row.shots) for row in rows.itertuples()]
    return rows.assign(setting=taken, way=rows["way"].replace(OLD_NAMES))


def _tuned_curves(rows: pd.DataFrame, task: Task) -> pd.DataFrame:
    """The tuned ways of a fair result by both readouts of its labels; baselines once."""
    readings = contest.readings(rows, task)
    first = readings["readout"].iloc[0]
    tuned = readings["arm"].isin(["prompt, tuned", "weights, tuned"])
    kept = (tuned & readings["readout"].isin([first, "calibrated"])) | (
        (readings["readout"] == first) & ~readings["arm"].str.endswith((", default", ", tuned"))
    )
    chosen = readings[kept]
    ways = chosen["arm"].replace(FAIR_NAMES).where(chosen["shots"] > 0, "zero-shot")
    readout = np.where(chosen["readout"] == "calibrated", ", calibrated", "")
    return chosen.assign(way=ways + readout)


STORED = {"past tenses": "verbs", "messages": "support_tickets", "reviews": "reviews"}


def stored_curves() -> dict[str, pd.DataFrame]:
    """The rows of every job that this lesson draws, by the job's name."""
    return {job: curves_of(name) for job, name in STORED.items()}


def questions_of(name: str) -> list[Example]:
    """The held-out questions of a stored curve, in its order."""
    if name.startswith("fair_"):
        return list(contest.load(name.removeprefix("fair_")).held_out)
    return study.questions(load_task(name), ITEMS[name])


def _passes(count: int) -> str:
    return f"{count} pass{'es' if count > 1 else ''}"


def better(rows: pd.DataFrame, way: str) -> str:
    """A way by the readout, plain or calibrated, that is right more often over all its sizes."""
    readouts = [name for name in (way, f"{way}, calibrated") if name in set(rows["way"])]

    def share(name: str) -> float:
        bits = "".join(compare.where(rows, way=name)["right"])
        return bits.count("1") / len(bits)

    return max(readouts, key=share)


def readout_of(way: str) -> str:
    """By which readout a way's name says that it was read."""
    return "calibrated" if way.endswith(", calibrated") else "plain"


def curve_of(rows: pd.DataFrame, way: str) -> dict[int, compare.Interval]:
    """The accuracy of a way at each number of examples; what is not taught has one, at 0."""
    sizes = sorted(set(compare.where(rows, way=way)["shots"]))
    return {n: compare.interval(compare.right(rows, way=way, shots=n)) for n in sizes}


def drawn(rows: pd.DataFrame) -> dict[str, dict[int, compare.Interval]]:
    """The lines of a job's panel: every way by its better readout, and what guessing gets."""
    ways = set(rows["way"])
    lines = {way: curve_of(rows, better(rows, way)) for way in DRAWN if way in ways}
    guess = compare.right(rows, way="majority", shots=8).mean() if "majority" in ways else 0
    return lines | ({"guessing": {0: compare.Interval(guess, guess, guess)}} if guess else {})


def lead(rows: pd.DataFrame, shots: int, against: str = "prompt") -> compare.Difference:
    """The weights minus a rival with so many examples, both by their better readout."""
    return compare.difference(rows, better(rows, "weights"), better(rows, against), shots=shots)


def beats_asking(rows: pd.DataFrame, way: str) -> list[int]:
    """With how many examples a way is surely ahead of zero-shot, both by their better readout."""
    names = better(rows, way), better(rows, "zero-shot")
    sizes = sorted(set(compare.where(rows, way=names[0])["shots"]))
    return [n for n in sizes if compare.difference(rows, *names, shots=n).low > 0]


def finding(curves: Mapping[str, pd.DataFrame], shots: int) -> str:
    """Who surely leads where with so many examples, and where no number of them beats asking."""
    ahead = {job: compare.ahead(lead(rows, shots)) for job, rows in curves.items()}
    who = {"prompt": "the prompt leads", "weights": "the weights lead", "": "neither surely leads"}
    told = []
    for side, leads in who.items():
        jobs = [job for job, first in ahead.items() if first == side]
        told += [f"{leads} on {' and '.join(jobs)}"] if jobs else []
    asking = [job for job, r in curves.items() if not beats_asking(r, "prompt")]
    asking = [job for job in asking if not beats_asking(curves[job], "weights")]
    level = f"On {' and '.join(asking)} neither surely beats only asking." if asking else ""
    return f"With {shots} examples {', '.join(told)}.\n{level}".strip()


LISTED = "prompt: list, no example"


def draw(
    curves: Mapping[str, pd.DataFrame], listed: Mapping[str, np.ndarray], shots: int = 32
) -> None:
    """The curves of every job, a panel each; the title says who leads at one size.

    `listed` says of some jobs what a prompt with a list, but no example, gets right.
    """
    lines = {job: drawn(rows) for job, rows in curves.items()}
    for job, right in listed.items():
        lines[job][LISTED] = {0: compare.interval(right)}
    told = ", ".join(
        f"{job} {panel['prompt'][shots].mean:.2f} against {panel['weights'][shots].mean:.2f} "
        f"({panel['zero-shot'][0].mean:.2f} only asked)"
        for job, panel in lines.items()
    )
    plots.whiskers(
        lines,
        finding(curves, shots),
        f"With {shots} examples, prompt against weights, each by its better readout: {told}; means "
        "over all draws.",
        x="labelled examples",
        y="accuracy on held-out questions",
        form="curves",
    )


def draw_7b(published: pd.DataFrame, shown: Sequence[str] = ("banking77", "trec")) -> None:
    """Two of the published data sets, one with many topics, one with few; the title counts all."""
    panels = {
        larger.NAMES[data]: {line: larger.curve(published, data, line) for line in larger.LINES}
        for data in shown
    }
    ends = larger.at_7b(published)
    few, many = ends["at few"], ends["at many"]
    most = {line: max(max(panel[line]) for panel in panels.values()) for line in larger.LINES}
    figure = plots.whiskers_drawn(
        panels,
        f"7B: the prompt leads on {(few < 0).sum()} of {len(few)} data sets with {larger.FEW} "
        f"examples each, on {(many < 0).sum()} with all that each had",
        x="examples trained on, or shown",
        y="accuracy on 250 test items",
        form="curves",
    )
    figure.set_size_inches(10, 4)
    for axis in figure.axes:
        axis.set_xticks([0, 4, 8, 12], [1, 16, 256, 4096])  # others would overlap
    plots.show(
        figure,
        f"Llama-2-7B, weights minus prompt on {len(few)} data sets: {few.min():+.2f} to "
        f"{few.max():+.2f} with {larger.FEW} examples, {many.min():+.2f} to {many.max():+.2f} with "
        f"all that each had (here at most {most['weights']:,} trained, {most['prompt']:,} shown). "
        "Bars: 95 % over runs.",
    )


def overtakes(rows: pd.DataFrame, a: str, b: str) -> str:
    """In words, from how many examples on `a` leads `b`, with the 95 % interval."""
    sizes = sorted(set(compare.where(rows, way=a)["shots"]) & set(rows["shots"]) - {0})

    def place(n: float) -> str:
        return f">{sizes[-1]}" if n == math.inf else f"{max(n, sizes[0]):.0f}"

    at, low, high = contest.crossing(rows, a, b)
    told = f"leads from {place(at)} on" if at < math.inf else f"does not lead by {sizes[-1]}"
    return told + (f" ({place(low)} to {place(high)})" if low < math.inf else "")


def labels(examples: Sequence[Example]) -> np.ndarray:
    """The right answers."""
    return np.array([example.label for example in examples])


def answers(taught: teaching.Taught, examples: Sequence[Example]) -> dict[str, np.ndarray]:
    """The label that a taught way chooses for each text, by each readout."""
    before = taught.task, taught.demonstrations, texts(examples), taught.style
    scores = score_labels(taught.lm, *before)
    return {name: np.array(teaching.read_out(taught.task, scores, name)) for name in READOUTS}


def dev_shares(
    ways: Mapping[tuple[str, str], teaching.Taught], dev: Sequence[Example]
) -> pd.DataFrame:
    """What every way and setting gets right of the dev part, a row for each readout.

    The last column says which answer came most often, which shows a prompt that has collapsed.
    """
    rows = []
    for (side, setting), taught in ways.items():
        for readout, said in answers(taught, dev).items():
            answer, times = Counter(said).most_common(1)[0]
            row = {"way": side, "setting": setting, "readout": readout}
            row |= {"dev": np.mean(said == labels(dev)).round(3)}
            rows.append(row | {"commonest answer": f"{answer}, {times} of {len(dev)}"})
    return pd.DataFrame(rows)


def draw_contest(right: Mapping[str, np.ndarray], gap: compare.Interval) -> None:
    """What each way of the learner's contest gets right; the title says whether one surely leads.

    `right` holds "prompt", "weights" and what else was asked; `gap` is weights minus prompt.
    """
    counts = {side: int(bits.sum()) for side, bits in right.items()}
    asked = right["prompt"].size
    leading = {"weights": "the weights surely lead", "prompt": "the prompt surely leads"}
    names = {side: side if side in leading else f"prompt, {side}" for side in right}
    told = ", ".join(f"{names[side]} {count}" for side, count in counts.items())
    plots.whiskers(
        {"": {names[side]: {"": compare.interval(bits)} for side, bits in right.items()}},
        f"Of {asked} tickets the weights sort {counts['weights']} right, the prompt "
        f"{counts['prompt']}: {leading.get(compare.ahead(gap), 'neither surely leads')}",
        f"Right of {asked}: {told}. Weights minus prompt, as a share: {gap:+.2f}.",
        y="share of held-out tickets right",
        form="bars",
    )


def leads(curves: Mapping[str, pd.DataFrame], interval: Callable) -> pd.DataFrame:
    """Weights minus prompt on every job, by `interval` of what is right; a star where it is sure.

    Both ways are taken by their better readout.
    """
    table = {}
    for job, rows in curves.items():
        sides = [better(rows, way) for way in ("weights", "prompt")]
        both = set.intersection(*(set(compare.where(rows, way=way)["shots"]) for way in sides))
        for n in sorted(both):
            pair = [compare.right(rows, way=way, shots=n) for way in sides]
            gap = compare.Interval(*interval(*pair))
            star = " *" if compare.ahead(gap) else ""
            table.setdefault(job, {})[f"{n} examples"] = f"{gap:+.2f}{star}"
    return pd.DataFrame(table).T.fillna("does not fit")


def rivals(curves: Mapping[str, pd.DataFrame], listed: np.ndarray) -> pd.DataFrame:
    """With how many examples each way surely beats only asking, and what a cheaper rival gets.

    `listed` says which messages a prompt with a list, but no example, gets right; on all other jobs
    only asking is bare.
    """
    table = {}
    for job, rows in curves.items():
        for way in ("prompt", "weights"):
            sizes = ", ".join(map(str, beats_asking(rows, way))) or "never"
            table.setdefault(job, {})[f"{way} beats only asking with"] = sizes
        table[job]["a cheaper rival"] = _rule() if job == "past tenses" else _counting(rows)
    few = compare.right(curves["messages"], way=better(curves["messages"], "weights"), shots=8)
    gap = compare.interval(few.astype(float) - listed)
    table["messages"]["8 trained minus list, no example"] = f"{gap:+.2f}"
    return pd.DataFrame(table).T.fillna("")


def _counting(rows: pd.DataFrame) -> str:
    return f"counting words {overtakes(rows, 'TF-IDF', 'weights')}"


def _rule() -> str:
    verbs = questions_of(STORED["past tenses"])
    rule = np.mean([contest.regular(verb.text) == verb.label for verb in verbs])
    return f"the rule 'add -ed' gets {rule:.2f}"


def beside_untuned(chosen: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Chosen settings, sizes in the index's first level, with what the stored curve had untuned."""
    points = list(zip(chosen.index.get_level_values(0), chosen["way"], strict=True))
    taken = [compare.where(rows, way=way, shots=n)["setting"].iloc[0] for n, way in points]
    right = [compare.right(rows, way=way, shots=n).mean() for n, way in points]
    table = pd.DataFrame(
        {"untuned": taken, "in the figure": right}
        | {"tuned": list(chosen["setting"]), "on the dev part": list(chosen["dev"])},
        pd.MultiIndex.from_tuples(points, names=["verbs", "way"]),
    )
    return table.sort_index().round(2)


def pairs_and_verbs(
    taught: Sequence[Example], new: Sequence[Example], known: Sequence[str], **said: Sequence[str]
) -> pd.DataFrame:
    """Print what is right of the pairs taught and of new verbs; the first answers to new ones.

    `known` are the trained model's answers to `taught`; `said` holds those to `new`, by way.
    """
    shares = [f"{way} {np.mean(np.array(a) == labels(new)):.2f}" for way, a in said.items()]
    print(f"of the pairs taught, the weights know {np.mean(np.array(known) == labels(taught)):.2f}")
    print(f"of {len(new)} new verbs: {', '.join(shares)} right")
    copies = np.isin(said["weights"], labels(taught)).sum()
    print(f"{copies} of the weights' new answers are the past tense of a verb that was taught")
    return pd.DataFrame(said | {"right": labels(new)}, texts(new)).head(4)


# Explorer and checks


def comparison_explorer(results: Mapping[str, pd.DataFrame]) -> Panel:
    """Choose a result, two ways and a number of examples; see each draw and the difference."""

    def ways(task: str, first: str) -> list[str]:
        names = list(dict.fromkeys(results[task]["way"]))
        return sorted(names, key=lambda name: name != first)

    def sizes(task: str) -> list[int]:
        return sorted(set(results[task]["shots"]) - {0})

    def show(task: str, way: str, against: str, examples: int) -> str:
        rows = results[task]
        try:
            gap = compare.difference(rows, way, against, shots=examples)
        except DataError as error:
            return f"<p>{escape(str(error))}</p>"
        dots = "".join(_dots(name, _accuracies(rows, name, examples)) for name in (way, against))
        head = f"<p><b>{escape(way)}</b> minus <b>{escape(against)}</b>: {escape(str(gap))}, "
        return f"{head}worst {gap.worst:+.2f}</p><table>{dots}</table>"

    first = next(iter(results))
    way, against, examples = ways(first, "weights")[0], ways(first, "prompt")[0], sizes(first)[0]
    gap = compare.difference(results[first], way, against, shots=examples)
    return explorer(
        show,
        f"An explorer of comparisons, in a live notebook. It begins with {first}, {examples} "
        f"examples, {way} minus {against}: {gap}.",
        task=list(results),
        way=lambda task: ways(task, "weights"),
        against=lambda task: ways(task, "prompt"),
        examples=sizes,
    )


def _accuracies(rows: pd.DataFrame, way: str, shots: int) -> np.ndarray:
    """The accuracy in each draw; what is not taught has one, at 0 shots."""
    return compare.right(rows, way=way, shots=[0, shots]).mean(1)


def _dots(name: str, accuracies: Sequence[float]) -> str:
    """One dot for each draw on a line from 0 to 1, in the way's colour."""
    colour = plots.looks([name])[name]["color"]
    dot = f"position:absolute;top:3px;width:8px;height:8px;border-radius:4px;background:{colour}"
    dots = "".join(
        f"<span title='{value:.2f}' style='{dot};opacity:.6;left:{300 * value:.0f}px'></span>"
        for value in accuracies
    )
    line = "position:relative;width:310px;height:14px;border-bottom:1px solid #999"
    return (
        f"<tr><td style='text-align:right'>{escape(name)}</td><td><div style='{line}'>{dots}</div>"
        f"</td><td>mean {np.mean(accuracies):.2f}</td></tr>"
    )


def check_own_messages(
    task: Task,
    seen: Sequence[Example],
    ask: Callable[[str, Sequence[Example]], Sequence[str]],
    messages: Sequence[tuple[str, str]] | None,
) -> None:
    """Check learners' own messages, one for each topic at least, and ask both ways.

    `ask(way, examples)` gives the answers of "prompt" or "weights"; `seen` may not be asked.
    """
    problem, praise = None, ""
    if messages:
        problem = _messages_problem(task, seen, messages)
    if messages and not problem:
        asked = [Example(*pair) for pair in messages]
        prompt, weights = (
            np.array([said == e.label for said, e in zip(ask(way, asked), asked, strict=True)])
            for way in ("prompt", "weights")
        )
        gap = compare.interval(weights.astype(float)[None] - prompt)
        sure = {"": "so few questions decide nothing", "prompt": "the prompt is surely ahead"}
        said = sure.get(compare.ahead(gap), "the weights are surely ahead")
        praise = (
            f"of {len(asked)}, the prompt sorts {prompt.sum()} as you do and the weights "
            f"{weights.sum()}; weights minus prompt {gap:+.2f}, {said}."
        )
    checks.tell(bool(messages), problem, praise)


def _messages_problem(
    task: Task, seen: Sequence[Example], messages: Sequence[tuple[str, str]]
) -> str | None:
    """What is wrong with the form of the messages, before anybody is asked."""
    if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in messages):
        return 'each message is a pair such as ("Where is my parcel?", "delivery").'
    unknown = [label for _, label in messages if label not in task.labels]
    if unknown:
        return f"{unknown[0]!r} is no topic; the topics are {', '.join(task.labels)}."
    missing = [label for label in task.labels if label not in {label for _, label in messages}]
    if missing:
        return f"there is no message about {missing[0]}; calibration needs each topic once."
    used = {example.text for example in seen} & {text for text, _ in messages}
    if used:
        return f"{sorted(used)[0][:40]!r} was taught, or helped to choose: ask something new."
    return None


def check_classifier(
    name: str, rows: pd.DataFrame, classify: Callable | None, shots: int = 128
) -> None:
    """Check that a classifier of the learner's own beats the course's word counts.

    `classify(known, labels, asked)` gives a label for each text asked. It learns the same draws as
    those of the stored result `name`, whose `rows` hold what the course's ways got right.
    """
    problem, praise = None, ""
    counts, weights = (compare.right(rows, way=w, shots=shots) for w in ("TF-IDF", "weights"))
    print(f"The line to beat with {shots} examples: {counts.mean():.3f} (word counts).")
    if classify:
        task, asked = load_task(name.removeprefix("fair_")), questions_of(name)
        draws = [task.draw(shots, seed) for seed in range(len(counts))]
        try:
            right = np.array([_right_of(classify, drawn, asked) for drawn in draws])
        except Exception as error:  # whatever a learner's classifier does, the lesson goes on
            problem = f"it stops with {type(error).__name__}: {error}."
        else:
            gaps = (compare.interval(right.astype(float) - other) for other in (counts, weights))
            told = "{:+.2f} against word counts, {:+.2f} against the weights".format(*gaps)
            praise = f"{right.mean():.3f}, where the line is {counts.mean():.3f}; {told}."
            if right.mean() <= counts.mean():
                problem = f"{right.mean():.3f} is not above {counts.mean():.3f}; {told}."
    checks.tell(classify is not None, problem, praise)


def _right_of(classify: Callable, drawn: Sequence[Example], asked: Sequence[Example]) -> list[bool]:
    """Which questions a classifier answers right after it learned a draw; it sees texts only."""
    said = classify(texts(drawn), [example.label for example in drawn], texts(asked))
    return [answer == example.label for answer, example in zip(said, asked, strict=True)]


# What was found

LESSON = "03_same_examples_two_ways"


def findings(verbs: pd.DataFrame, tickets: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """What was measured and what else is to know, by claim; every way by its better readout."""
    weights, prompt, asked = (better(tickets, w) for w in ("weights", "prompt", "zero-shot"))
    n, best = max(curve_of(tickets, weights).items())  # the most examples, not the luckiest
    ahead, gain = lead(tickets, 32), lead(tickets, 8, "zero-shot")
    few = compare.Interval(*lead(tickets, 8)[:3])
    verb_gap, ticket_gap = (_shown_minus_trained(rows) for rows in (verbs, tickets))
    counts = {size: share.mean for size, share in curve_of(tickets, "TF-IDF").items()}
    passes = contest.tried("verbs", "weights")[256]
    return {
        "F4": (
            f"trained on {n} messages: {best}",
            f"Weights minus prompt ({readout_of(prompt)}) with 32 each: {ahead}. Counting words "
            f"gets {counts[32]:.2f} with 32 and {counts[n]:.2f} with {n}.",
        ),
        "F7": (
            f"trained on 8 messages, minus the bare question ({readout_of(asked)}): {gain}",
            f"Trained on 256 verbs, {passes.min():.2f} to {passes.max():.2f} of a dev part is "
            "right, by rate and passes.",
        ),
        "K2": (
            f"8 shown minus 128 trained: verbs {verb_gap:+.2f}, messages {ticket_gap:+.2f}",
            f"On verbs {_first(verb_gap)}, on messages {_first(ticket_gap)}. With 8 messages each, "
            f"{_first(-few, '8 trained')}: weights minus prompt {few:+.2f}.",
        ),
    }


def _shown_minus_trained(rows: pd.DataFrame) -> compare.Interval:
    """What eight examples in the prompt get right more often than 128 in the weights."""
    shown = compare.right(rows, way=better(rows, "prompt"), shots=8).astype(float)
    return compare.interval(shown - compare.right(rows, way=better(rows, "weights"), shots=128))


def _first(shown_minus_trained: compare.Interval, trained: str = "128 trained") -> str:
    """Whether eight shown or those trained surely lead."""
    leads = {"prompt": "8 shown surely lead", "weights": f"{trained} surely lead"}
    return leads.get(compare.ahead(-shown_minus_trained), "neither surely leads")

"""Lesson 1: the pieces that learners build, the study of demonstrations, explorer and checks."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from html import escape

import numpy as np
import pandas as pd
import torch

from helpers import checks, compare, plots
from helpers.data import Example, Task, load_task, texts
from helpers.model import LanguageModel
from helpers.prompts import Style, count_tokens, nearest, plain
from helpers.scoring import answer, batch_calibration, next_tokens, predict, score_labels
from helpers.widgets import Panel, bars, explorer, label_shares
from lessons import contest
from lessons.contest import INSTRUCTION

# Pieces that learners build


def few_shot(task: Task, examples: Sequence[Example], text: str) -> str:
    prompt = task.instruction
    for example in examples:
        shown = task.template.replace("{text}", example.text)
        prompt += shown.replace("{label}", example.label)
    question = task.template.split("{label}")[0]
    return prompt + question.replace("{text}", text).rstrip()


def _few_shot_trial(piece: Callable, lm: LanguageModel) -> list[int]:
    """The bytes of two prompts, one of them with an instruction."""
    return list("".join(piece(*asked) for asked in _asked_prompts()).encode())


def _asked_prompts() -> list[tuple[Task, list[Example], str]]:
    words, messages = load_task("plurals"), load_task("support_tickets")
    told = replace(messages, instruction="Say what it is about.\n\n")
    return [
        (words, [Example("dog", "dogs"), Example("mouse", "mice")], "child"),
        (told, [Example("Where is it?", "delivery")], "It broke."),
    ]


def _unstripped(task: Task, examples: Sequence[Example], text: str) -> str:
    question = task.template.split("{label}")[0].replace("{text}", text)
    return few_shot(task, examples, text) + question[len(question.rstrip()) :]


def _unanswered(task: Task, examples: Sequence[Example], text: str) -> str:
    shown = "".join(task.template.replace("{text}", example.text) for example in examples)
    return task.instruction + shown + few_shot(replace(task, instruction=""), [], text)


FEW_SHOT = checks.Build(
    own=few_shot,
    trial=_few_shot_trial,
    truth=lambda _: list("".join(plain(*asked) for asked in _asked_prompts()).encode()),
    praise="your prompts are those of prompts.plain, character for character.",
    mistakes={
        "The prompt ends in a space, but the answer's token brings its own: end with .rstrip().": (
            _unstripped
        ),
        "The demonstrations still say {label}: put example.label in its place.": _unanswered,
        "The question still says {text}: put the text to be asked in its place.": (
            lambda task, examples, text: few_shot(task, examples, "{text}")
        ),
        "Only the last demonstration is left: add each to the prompt with +=.": (
            lambda task, examples, text: few_shot(
                replace(task, instruction=""), examples[-1:], text
            )
        ),
        "The question is not there: the prompt ends with the template up to the answer.": (
            lambda task, examples, text: few_shot(task, examples, text)[
                : -len(few_shot(replace(task, instruction=""), [], text))
            ]
        ),
    },
)


def label_scores(lm: LanguageModel, prompt: str, labels: Sequence[str]) -> list[float]:
    scores, start = [], len(lm.tokenizer(prompt).input_ids)
    for label in labels:
        tokens = lm.tokenizer(prompt + " " + label, return_tensors="pt").input_ids.to(lm.device)
        with torch.no_grad():
            log_p = lm.model(tokens).logits[0].float().log_softmax(-1)
        places = range(start, tokens.shape[1])
        scores.append(sum(log_p[i - 1, tokens[0, i]].item() for i in places))
    return scores


LABELLED = Task(
    "kind",
    "{text} -> {label}\n",
    (Example("wolf", "animal"), Example("coat", "piece of clothing")),
    (),
    ("animal", "piece of clothing", "musical instrument"),
    {name: name for name in ("animal", "piece of clothing", "musical instrument")},
)


def _label_scores_with(
    lm: LanguageModel,
    prompt: str,
    labels: Sequence[str],
    *,
    space: str = " ",
    shift: int = 1,
    gather: Callable = sum,
    log: bool = True,
) -> list[float]:
    """The piece with a mistake put in on purpose."""
    scores, start = [], len(lm.tokenizer(prompt).input_ids)
    for label in labels:
        tokens = lm.tokenizer(prompt + space + label, return_tensors="pt").input_ids.to(lm.device)
        with torch.no_grad():
            log_p = lm.model(tokens).logits[0].float().log_softmax(-1)
        log_p = log_p if log else log_p.exp()
        found = [log_p[i - shift, tokens[0, i]].item() for i in range(start, tokens.shape[1])]
        scores.append(gather(found))
    return scores


def _but(**mistake: object) -> Callable:
    def piece(lm: LanguageModel, prompt: str, labels: Sequence[str]) -> list[float]:
        return _label_scores_with(lm, prompt, labels, **mistake)

    return piece


LABEL_SCORES = checks.Build(
    own=label_scores,
    trial=lambda piece, lm: piece(lm, plain(LABELLED, LABELLED.train, "trumpet"), LABELLED.labels),
    truth=lambda lm: score_labels(lm, LABELLED, LABELLED.train, ["trumpet"])[0],
    praise="your scores are those of scoring.score_labels.",
    mistakes={
        "Row i of log_p foretells token i + 1, so token i is scored in row i - 1.": _but(shift=0),
        "These are probabilities: take log_softmax, whose values can be added.": _but(log=False),
        "These are means: add the tokens' log-probabilities, do not divide by their number.": (
            _but(gather=np.mean)
        ),
        "Only the label's first token is counted: a label may have several.": (
            _but(gather=lambda found: found[0])
        ),
        "A label follows the prompt after a space: tokenise prompt + ' ' + label.": _but(space=""),
    },
)


def calibrate(scores: np.ndarray) -> np.ndarray:
    shares = np.exp(scores)
    shares = shares / shares.sum(axis=1, keepdims=True)
    usual = shares.mean(axis=0)
    return np.log(shares / usual)


def _shares(scores: np.ndarray, axis: int = 1) -> np.ndarray:
    return np.exp(scores) / np.exp(scores).sum(axis=axis, keepdims=True)


SCORES = np.array([[-1.0, -3.0, -2.5], [-4.0, -2.0, -6.0]])

CALIBRATE = checks.Build(
    own=calibrate,
    trial=lambda piece, lm: piece(SCORES),
    truth=lambda _: batch_calibration(SCORES),
    praise="your numbers are those of scoring.batch_calibration.",
    mistakes={
        "The mean is not over the questions: say mean(axis=0).": (
            lambda scores: np.log(_shares(scores) / _shares(scores).mean(axis=1))
        ),
        "One mean for all labels takes no lean away: say mean(axis=0).": (
            lambda scores: np.log(_shares(scores) / _shares(scores).mean())
        ),
        "A question's shares do not add up to one: the sum runs over the labels, axis=1.": (
            lambda scores: np.log(_shares(scores, 0) / _shares(scores, 0).mean(axis=0))
        ),
        "That is the mean of logarithms: take the mean of the shares.": (
            lambda scores: np.log(_shares(scores)) - np.log(_shares(scores)).mean(axis=0)
        ),
        "A logarithm is missing: return np.log of each share over its usual one.": (
            lambda scores: _shares(scores) / _shares(scores).mean(axis=0)
        ),
        "The usual share is multiplied: divide by it.": (
            lambda scores: np.log(_shares(scores) * _shares(scores).mean(axis=0))
        ),
    },
)

# Asking

QUESTION = "Told the eight kinds, without an example, how many of 120 words does it sort right?"
LIST = contest.LIST | {
    "category": """The kinds are:
animal: a creature that lives
body: a part of a person
clothing: what people wear
colour: what paint has
fruit: what grows on plants and is sweet
music: an instrument that is played
tool: what people work with
vehicle: what carries people"""
}


def told(task: Task, instruction: str = "") -> Task:
    """The task with an instruction (by default the course's) and an empty line at its head."""
    return replace(task, instruction=(instruction or INSTRUCTION[task.name]).strip() + "\n\n")


def forms(lm: LanguageModel, task: Task) -> dict[str, tuple[Task, Style]]:
    """The ways to put a task: bare, with an instruction, with a list of its labels, as a chat.

    Each is the task as it is put, and the style that writes it. The chat begins with the list; a
    model without a chat form is asked the other three ways.
    """
    names = contest.FORMS if lm.tokenizer.chat_template else contest.FORMS[:-1]
    return {form: contest.put(lm, task, form, LIST) for form in names}


def show_forms(right: Mapping[tuple[str, int, str], np.ndarray], chance: float) -> None:
    """The share right by form, number of demonstrations and readout, a panel for each number."""
    shots = list(dict.fromkeys(n for _, n, _ in right))
    panels: dict[str, dict] = {}
    for (form, n, readout), bits in right.items():
        panel = panels.setdefault(f"with {n} demonstrations" if n else "only asked", {})
        panel.setdefault(f"prompt, {readout}", {})[form] = compare.interval(np.asarray(bits))
    means = {key: float(np.mean(bits)) for key, bits in right.items()}
    best = {n: max((key for key in means if key[1] == n), key=means.get) for n in shots}
    plain_best = {n: max(means[key] for key in means if key[1:] == (n, "plain")) for n in shots}
    said = [
        f"{name}, the best is {means[best[n]]:.2f} ({best[n][0]}, {best[n][2]}) and the best plain "
        f"{plain_best[n]:.2f}"
        for n, name in zip(shots, panels, strict=True)
    ]
    first, last = (
        max((key for key in means if key[1:] == (n, "calibrated")), key=means.get)
        for n in (shots[0], shots[-1])
    )
    bare = means["bare", shots[0], "calibrated"]
    plots.whiskers(
        panels,
        f"Calibrated, the bare question gets {bare:.2f}, the form {first[0]!r} {means[first]:.2f}; "
        f"{shots[-1]} demonstrations get up to {means[last]:.2f}",
        f"{'; '.join(said).capitalize()}; the dashed line is chance, {chance:.2f}.",
        y="share right (dashed: chance)",
        form="bars",
        level=chance,
    )


def show_next(views: Mapping[str, Mapping[str, float]], answer: str) -> None:
    """What is likely after two prompts, and whether the answer is the likeliest in either."""
    (none, before), (some, after) = views.items()
    top = max(after, key=after.get)
    was, is_now = before.get(answer, 0.0), after.get(answer, 0.0)
    place = "the likeliest token" if top == answer else f"behind {top!r} with {after[top]:.2f}"
    plots.bars(
        views,
        f"{answer!r} rises from {was:.2f} to {is_now:.2f}, {place}",
        f"{answer!r} has probability {was:.2f} with {none} and {is_now:.2f} with {some}, {place}.",
    )


# Demonstrations


JOBS = {"past tenses": "past_tense", "plurals": "plurals", "capitals": "capitals"}


def jobs() -> dict[str, Task]:
    """The jobs whose answers are written, by their names in words."""
    return {job: load_task(name) for job, name in JOBS.items()}


def choose(
    lm: LanguageModel, task: Task, shown: Sequence[Example], asked: Sequence[str]
) -> list[str]:
    """The likeliest label for each text, plain, where `scoring.answer` writes."""
    return predict(task, score_labels(lm, task, shown, asked))


def best_first(scores: Sequence[float], labels: Sequence[str]) -> pd.Series:
    """The labels with their scores, the likeliest first."""
    return pd.Series(scores, labels, name="score").sort_values(ascending=False).round(1)


def beside(asked: Sequence[str], written: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """What was written at several times, a row for each question."""
    return pd.DataFrame(written, asked)


def chosen(task: Task, tables: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """How often each label is right and how often it is chosen, by the name of the scores."""
    truth = [example.label for example in task.held_out]
    columns = {"words": truth} | {name: predict(task, table) for name, table in tables.items()}
    counts = pd.DataFrame({n: pd.Series(c).value_counts() for n, c in columns.items()}, task.labels)
    right = {
        name: sum(a == b for a, b in zip(c, truth, strict=True)) for name, c in columns.items()
    }
    counts.loc["right"] = pd.Series(right)
    return counts.fillna(0).astype(int).T


def show_curves(
    curves: Mapping[str, Sequence[np.ndarray]],
    shots: Sequence[int],
    told: Mapping[str, np.ndarray],
) -> None:
    """Exact match against the number of demonstrations, a line for each job.

    `curves` holds what is right [draws, items] at each of `shots`, `told` that of an instruction
    without demonstrations, by job.
    """
    scores = {
        job: {str(n): compare.interval(bits) for n, bits in zip(shots, right, strict=True)}
        for job, right in curves.items()
    }
    most = ", ".join(f"{job} {right[-1].mean():.2f}" for job, right in curves.items())
    spread = ", ".join(f"{job} {compare.interval(right[-1])}" for job, right in curves.items())
    alone = ", ".join(f"{job} {right.mean():.2f}" for job, right in told.items())
    half = ", ".join(f"{job} {half_from(right, shots)}" for job, right in curves.items())
    plots.whiskers(
        {"": scores},
        f"{shots[-1]} examples: {most}",
        f"At {shots[-1]} shots: {spread}. Half are right: {half}. "
        f"Only told what to write: {alone}.",
        x="demonstrations in the prompt (shots)",
        y="exact match on held-out items",
    )


def half_from(right: Sequence[np.ndarray], shots: Sequence[int]) -> str:
    """In words, from how many demonstrations on half of the items are right."""
    enough = [n for n, bits in zip(shots, right, strict=True) if bits.mean() >= 0.5]
    return f"from {enough[0]} shots on" if enough else f"not by {shots[-1]} shots"


def show_broken(
    kept: Mapping[str, np.ndarray], broken: Mapping[str, np.ndarray]
) -> dict[str, compare.Interval]:
    """Each job with its demonstrations as they are and shuffled; what shuffling costs is given."""
    gaps = {job: compare.interval(right.astype(float) - broken[job]) for job, right in kept.items()}
    hurt = sum(gap.low > 0 for gap in gaps.values())
    most = max(gaps, key=lambda job: gaps[job].mean)
    told = ", ".join(f"{job} {gap:+.2f}" for job, gap in gaps.items())
    plots.whiskers(
        {
            "": {
                name: {job: compare.interval(bits) for job, bits in right.items()}
                for name, right in (("demonstrations", kept), ("demonstrations, shuffled", broken))
            }
        },
        f"Shuffled answers surely hurt {hurt or 'none'} of {len(gaps)} jobs"
        + (f", {most} most" if hurt else ""),
        f"What shuffling costs: {told}.",
        y="share right with 16 demonstrations",
        form="bars",
    )
    return gaps


def written_or_chosen(
    task: Task,
    wrote: Mapping[tuple[str, int], Sequence[str]],
    chosen_right: Mapping[tuple[str, int, str], np.ndarray],
) -> pd.DataFrame:
    """By form and number of shots, what is right written and chosen, and what was written."""
    truth, table = np.array([example.label for example in task.held_out]), {}
    for (form, n), said in wrote.items():
        words = np.array(said)
        wrong = [f"{task.held_out[i].text}: {words[i]}" for i in np.flatnonzero(words != truth)]
        table[f"{form}, {n} shots"] = {
            "right, written": (words == truth).mean().round(2),
            "right, chosen": chosen_right[form, n, "plain"].mean().round(2),
            "written, but no label": (~np.isin(words, task.labels)).mean().round(2),
            "wrote, such as": ", ".join(wrong[::25]),
        }
    return pd.DataFrame(table).T


@contextmanager
def one_weight_moved(lm: LanguageModel) -> Iterator[None]:
    """One of the model's weights is another number while this lasts."""
    weight = next(lm.model.parameters())
    before = weight[0, 0].item()
    try:
        with torch.no_grad():
            weight[0, 0] = before + 1
        yield
    finally:
        with torch.no_grad():
            weight[0, 0] = before


def prompt_explorer(lm: LanguageModel, tasks: Mapping[str, Task], max_shots: int = 16) -> Panel:
    """Choose task, shots, seed, order and query; see the prompt, its length and the probabilities.

    An open task shows the likeliest next tokens, a task with labels the probability of each label.
    """
    orders = ["as drawn", "reversed", "nearest last"]

    def show(task: str, shots: int, seed: int, order: str, query: Example) -> str:
        given = tasks[task]
        drawn = given.draw(shots, seed)
        if order == "reversed":
            drawn = drawn[::-1]
        elif order == "nearest last" and drawn:
            drawn = nearest(drawn, len(drawn))(query.text)
        prompt = plain(given, drawn, query.text)
        if given.labels:
            likely = label_shares(given, score_labels(lm, given, drawn, [query.text])[0])
        else:
            likely = next_tokens(lm, prompt)
        head = f"<p>{count_tokens(lm.tokenizer, prompt)} tokens; right answer: "
        style = "border:1px solid #999;padding:6px;max-height:240px;overflow:auto"
        shown = f"<b>{escape(query.label)}</b></p><pre style='{style}'>{escape(prompt)}</pre>"
        return head + shown + bars(likely)

    return explorer(
        show,
        "An explorer of prompts, in a live notebook.",
        task=list(tasks),
        shots=(4, range(max_shots + 1)),
        seed=range(10),
        order=orders,
        query=lambda task: {e.text: e for e in tasks[task].held_out[:30]},
    )


# Exercises


def check_own_words(
    lm: LanguageModel,
    pairs: Sequence[tuple[str, str]] | None,
    questions: Sequence[tuple[str, str]] | None,
    least: int = 4,
) -> None:
    """Check that learners' own pairs teach a job of their own: half of their questions right."""
    attempted, problem, praise = bool(pairs and questions), None, ""
    if attempted:
        problem = _pairs_problem(pairs, questions, least)
    if attempted and not problem:
        shown, asked = ([Example(*pair) for pair in part] for part in (pairs, questions))
        task = Task("own words", "{text} -> {label}\n", tuple(shown), tuple(asked))
        alone, taught = (answer(lm, task, drawn, texts(asked)) for drawn in ([], shown))
        before, after = (
            sum(said == example.label for said, example in zip(answers, asked, strict=True))
            for answers in (alone, taught)
        )
        praise = f"{after} of {len(asked)} with your pairs, {before} without them."
        if 2 * after < len(asked):
            said, example = next(
                pair for pair in zip(taught, asked, strict=True) if pair[0] != pair[1].label
            )
            problem = (
                f"{after} of {len(asked)} are right; after {example.text!r} the model wrote "
                f"{said!r}, not {example.label!r}. Are your pairs of one kind, and does a small "
                "model know the answers?"
            )
    checks.tell(attempted, problem, praise)


def _pairs_problem(
    pairs: Sequence[tuple[str, str]], questions: Sequence[tuple[str, str]], least: int
) -> str | None:
    """What is wrong with the form of the pairs, before the model is asked."""
    for name, part in (("my_pairs", pairs), ("my_questions", questions)):
        if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in part):
            return f'{name} holds pairs such as ("hot", "cold"), each in its own brackets.'
        if len(part) < least:
            return f"{name} has {len(part)} pairs; give at least {least}."
    twice = {word for word, _ in pairs} & {word for word, _ in questions}
    if twice:
        return f"{sorted(twice)[0]!r} is shown and asked, so its answer would be copied."
    return None


def check_instruction(
    lm: LanguageModel, task: Task, instruction: str | None, by_list: np.ndarray
) -> None:
    """Check that an instruction, without demonstrations, gets more held-out words right.

    `by_list` says which of them the course's list gets right, as calibrated as these answers. What
    the instruction gets of the training words is told too: those it was not made on.
    """
    problem, praise = None, ""
    goal, asked, other = by_list.sum(), task.held_out, task.train
    said_words = set(re.findall(r"\w+", (instruction or "").lower()))
    copied = [e.text for e in asked if e.text.lower() in said_words]
    if copied:
        problem = f"it holds the text {copied[0][:40]!r}, so the answer would be copied."
    elif instruction:
        given, course = told(task, instruction), forms(lm, task)["list"][0]
        on_asked, said = _right_of(lm, given, asked)
        on_other, courses = (_right_of(lm, put, other)[0] for put in (given, course))
        praise = (
            f"{on_asked} of {len(asked)}, more than {goal}; of {len(other)} others, which you did "
            f"not tune it on, {on_other}, and with the course's list {courses}."
        )
        if on_asked <= goal:
            most = max(set(said), key=said.count)
            problem = (
                f"{on_asked} of {len(asked)} are right, and more than {goal} are asked for; "
                f"{said.count(most)} answers are {most!r}. Name the labels in another way."
            )
    checks.tell(bool(instruction), problem, praise)


def _right_of(lm: LanguageModel, task: Task, asked: Sequence[Example]) -> tuple[int, list[str]]:
    """How many calibrated answers are right, without demonstrations, and all of them."""
    said = predict(task, batch_calibration(score_labels(lm, task, [], texts(asked))))
    return sum(a == e.label for a, e in zip(said, asked, strict=True)), said


# What was found

LESSON = "01_in_context_learning"


def findings(
    still: bool, unchanged: bool, gaps: Mapping[str, compare.Interval]
) -> dict[str, tuple[str, str]]:
    """What was measured and what else is to know, by claim.

    `still` says that checksums are equal, `unchanged` that answers are; `gaps` what shuffling cost.
    """
    bits = f"checksums equal: {still}"
    same = f"answers {'equal' if unchanged else 'different'} afterwards"
    cost = "right minus shuffled: " + ", ".join(f"{name} {gap:+.2f}" for name, gap in gaps.items())
    hurt = {sure: [job for job, g in gaps.items() if (g.low > 0) == sure] for sure in (True, False)}
    sure, open_ = (", ".join(hurt[key]) or "none" for key in (True, False))
    return {
        "I1": (bits, "Every bit was compared."),
        "I2": (cost, f"It surely costs: {sure}. Not seen: {open_}."),
        "I3": (same, "The effect ends with the prompt."),
        "I4": (bits, "No training step was taken."),
    }

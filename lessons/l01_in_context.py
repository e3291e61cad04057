"""Lesson 1: accuracy against demonstrations, the explorer of prompts, the exercises' checks."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from tqdm.auto import tqdm

from helpers import checks
from helpers.data import Example, Task, texts
from helpers.model import LanguageModel
from helpers.prompts import count_tokens, nearest, plain
from helpers.scoring import answer, next_tokens, score_labels
from helpers.widgets import Panel, bars, explorer, label_shares


def curve(
    lm: LanguageModel, task: Task, shots: Sequence[int], draws: int, items: int = 40
) -> np.ndarray:
    """Exact match of the written answers on the first `items` held-out texts.

    Returns a boolean array [shots, draws, items]. Draw `d` uses seed `d`, and a larger number of
    shots adds demonstrations to the smaller one. Without demonstrations all draws are the same, so
    they are asked once.
    """
    asked = task.held_out[:items]
    right = np.empty((len(shots), draws, len(asked)), dtype=bool)
    for s, d in tqdm(list(np.ndindex(len(shots), draws)), desc=task.name, leave=False):
        if shots[s] == 0 and d > 0:
            right[s, d] = right[s, 0]
            continue
        said = answer(lm, task, task.draw(shots[s], seed=d), texts(asked))
        right[s, d] = [text == example.label for text, example in zip(said, asked, strict=True)]
    return right


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


def check_prompt(
    prompt: str | None, task: Task, demonstrations: Sequence[Example], query: str
) -> None:
    """Check a prompt written by hand against the task's template, and say where it departs."""
    truth = plain(task, demonstrations, query)
    checks.tell(
        prompt is not None, _prompt_problem(prompt or "", truth), "character for character."
    )


def _prompt_problem(prompt: str, truth: str) -> str | None:
    if prompt == truth:
        return None
    if prompt.rstrip() == truth:
        return "it ends with white space; the model's next token brings its own space."
    if prompt.startswith(truth):
        return "it goes on after the arrow; the answer is the model's to give."
    if prompt.split() == truth.split():
        return "words and order are right, but a space or a line break is missing or too many."
    if len(prompt.splitlines()) != len(truth.splitlines()):
        return (
            f"it has {len(prompt.splitlines())} lines, but should have {len(truth.splitlines())}."
        )
    at = next(
        (i for i, (a, b) in enumerate(zip(prompt, truth, strict=False)) if a != b), len(prompt)
    )
    near = prompt[max(0, at - 12) : at + 8]
    return f"it departs from the template at character {at + 1}, near {near!r}."


def check_demonstrations(
    lm: LanguageModel, task: Task, chosen: Sequence[Example] | None, most: int, goal: float
) -> None:
    """Check that at most `most` demonstrations lift exact match on held-out items to `goal`."""
    problem, accuracy = None, 0.0
    if chosen:
        asked = task.held_out[:20]
        if len(chosen) > most:
            problem = f"{len(chosen)} demonstrations are more than the {most} allowed."
        elif set(texts(chosen)) & set(texts(asked)):
            problem = "a demonstration is one of the held-out items, so the answer would be copied."
        else:
            answers = answer(lm, task, list(chosen), texts(asked))
            accuracy = float(np.mean([a == e.label for a, e in zip(answers, asked, strict=True)]))
            if accuracy < goal:
                wrong = next((a, e) for a, e in zip(answers, asked, strict=True) if a != e.label)
                problem = (
                    f"exact match is {accuracy:.2f}, the goal {goal:.2f}; for {wrong[1].text!r} "
                    f"the model wrote {wrong[0]!r}, not {wrong[1].label!r}."
                )
    checks.tell(
        bool(chosen),
        problem,
        f"exact match is {accuracy:.2f} with {len(chosen or [])} demonstrations.",
    )


def check_label_score(
    lm: LanguageModel,
    task: Task,
    demonstrations: Sequence[Example],
    query: str,
    label: str,
    score: float | None,
) -> None:
    """Check a label's log-likelihood worked out by hand, in nats."""
    truth = float(score_labels(lm, task, demonstrations, [query])[0, task.labels.index(label)])
    checks.judge(
        score,
        truth,
        f"the log-likelihood of {label!r} is {truth:.3f} nats.",
        "{answer:.3f} is not the log-likelihood of " + f"{label!r}.",
        {
            "that is the probability; the log-likelihood is its natural logarithm.": np.exp(truth),
            "take the natural logarithm (np.log), not that of base 10.": truth / np.log(10),
            "take the natural logarithm (np.log), not that of base 2.": truth / np.log(2),
            "the sign is wrong: a log-likelihood is never positive.": -truth,
        },
        within=0.01,
    )

"""What each exercise's answer must satisfy, with messages that diagnose.

Every check prints one line that begins with "Right", "Not yet" or "Not attempted yet", and raises
nothing.
"""

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd
import torch

from helpers import compare
from helpers.data import Example, Task, texts
from helpers.model import LanguageModel
from helpers.prompts import plain
from helpers.scoring import answer, next_tokens, score_labels


def _tell(attempted: bool, problem: str | None, praise: str) -> None:
    if not attempted:
        print("Not attempted yet: fill in the cell above, run it, then run this one.")
    else:
        print(f"Not yet: {problem}" if problem else f"Right: {praise}")


def first_low_loss(step: int | None, losses: Sequence[float], below: float) -> None:
    """Check the number of the first step (counting from 1) whose loss is below a bound."""
    truth = next((i for i, loss in enumerate(losses, 1) if loss < below), None)
    problem = None
    if step != truth:
        problem = "look again at the first loss that is smaller than the bound."
        if truth is not None and step == truth - 1:
            problem = "that is one too few: Python counts from 0, steps count from 1."
    _tell(step is not None, problem, f"step {truth} is the first with a loss below {below}.")


def likely_next(lm: LanguageModel, prompt: str | None, wanted: str) -> None:
    """Check that `wanted` is the likeliest next token after the learner's prompt."""
    problem, probability = None, 0.0
    if prompt:
        found = next_tokens(lm, prompt)
        best, probability = next(iter(found.items()))
        if wanted.strip() in prompt:
            problem = f"the prompt must not contain {wanted.strip()!r} itself."
        elif prompt != prompt.rstrip():
            problem = "the prompt ends with white space, but a word's token brings its own space."
        elif best != wanted:
            problem = f"the likeliest next token is {best!r} ({probability:.2f}), not {wanted!r}."
    _tell(bool(prompt), problem, f"{wanted!r} comes first, with probability {probability:.2f}.")


def prompt_by_hand(
    prompt: str | None, task: Task, demonstrations: Sequence[Example], query: str
) -> None:
    """Check a prompt written by hand against the task's template, and say where it departs."""
    truth = plain(task, demonstrations, query)
    _tell(prompt is not None, _prompt_problem(prompt or "", truth), "character for character.")


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


def demonstrations(
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
    _tell(
        bool(chosen),
        problem,
        f"exact match is {accuracy:.2f} with {len(chosen or [])} demonstrations.",
    )


def label_score(
    lm: LanguageModel,
    task: Task,
    demonstrations: Sequence[Example],
    query: str,
    label: str,
    score: float | None,
) -> None:
    """Check a label's log-likelihood worked out by hand, in nats."""
    truth = score_labels(lm, task, demonstrations, [query])[0, task.labels.index(label)]
    problem = None
    if score is not None and not abs(score - truth) <= 0.01:  # so that nan is wrong
        problem = f"{score:.3f} is not the log-likelihood of {label!r}."
        if abs(score - np.exp(truth)) < 0.01:
            problem = "that is the probability; the log-likelihood is its natural logarithm."
        elif abs(score * np.log(10) - truth) < 0.01 or abs(score * np.log(2) - truth) < 0.01:
            problem = "take the natural logarithm (np.log), not that of base 2 or 10."
        elif abs(score + truth) < 0.01:
            problem = "the sign is wrong: a log-likelihood is never positive."
    _tell(score is not None, problem, f"the log-likelihood of {label!r} is {truth:.3f} nats.")


def adapter_weights(matrix: torch.nn.Linear, rank: int, count: int | None) -> None:
    """Check how many weights an adapter of `rank` puts beside one matrix."""
    wide, narrow = matrix.in_features, matrix.out_features
    truth, problem = rank * (wide + narrow), None
    if count != truth:
        problem = f"{count} is not the size of A and B together."
        if count == wide * narrow:
            problem = "that is the matrix itself, which stays as it is; count A and B."
        elif count in (rank * wide, rank * narrow):
            problem = "that is only one of the two thin matrices; add the other."
        elif count == rank**2 * wide * narrow:
            problem = "the sizes of A and B add up; they are not multiplied."
    share = truth / (wide * narrow)
    _tell(count is not None, problem, f"{truth:,} weights, {share:.1%} of the matrix beside it.")


def learning_rate(
    teach: Callable[[float], Iterable[float]], rate: float | None, below: float
) -> None:
    """Check that a training with the learner's rate ends with a loss below a bound.

    `teach(rate)` trains a fresh model and gives the loss at each step.
    """
    problem, losses = None, [math.nan]
    if rate is not None and not 0 < rate < math.inf:
        problem = "a learning rate is a number above 0."
    elif rate is not None:
        losses = list(teach(rate))
        problem = _rate_problem(losses, below)
    _tell(rate is not None, problem, f"the loss falls from {losses[0]:.2f} to {losses[-1]:.2f}.")


def _rate_problem(losses: Sequence[float], below: float) -> str | None:
    first, last = losses[0], losses[-1]
    if last < below:
        return None
    path = f"the loss goes from {first:.2f} to {last:.2f}, not below {below:g}"
    highest = float(np.max(losses))  # nan where one is nan
    if not highest <= 1.5 * first:
        return f"{path}, and on the way it jumps to {highest:.2f}: the rate is too large."
    return f"{path}, and it never jumps: the rate is too small."


def wins(results: pd.DataFrame, a: str, b: str, shots: int, count: int | None) -> None:
    """Check in how many draws method `a` is right more often than `b`."""
    truth, problem = compare.difference(results, a, b, shots), None
    if count != truth.wins:
        problem = f"{count} is not the number of draws in which {a} is ahead."
        if count == truth.draws - truth.wins - truth.ties:
            problem = f"that is how often {b} is ahead; turn the comparison round."
        elif truth.ties and count == truth.wins + truth.ties:
            problem = "a tie is not a win."
    _tell(count is not None, problem, f"{a} is ahead in {truth.wins} of {truth.draws} draws.")


def mean_difference(
    results: pd.DataFrame, a: str, b: str, shots: int, difference: float | None
) -> None:
    """Check the mean paired difference of method `a` minus `b`, worked out by hand."""
    truth, problem = compare.difference(results, a, b, shots), None
    if difference is not None and not abs(difference - truth.mean) < 5e-4:  # so that nan is wrong
        problem = f"{difference:.4f} is not the mean difference."
        if abs(difference + truth.mean) < 5e-4:
            problem = f"the sign is wrong: take {b} away from {a}."
        elif abs(difference) >= 1:
            problem = "take the mean over draws and questions, not the sum."
    _tell(difference is not None, problem, f"{truth}.")

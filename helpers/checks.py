"""What each exercise's answer must satisfy, with messages that diagnose.

Every check prints one line that begins with "Right", "Not yet" or "Not attempted yet", and raises
nothing.
"""

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd
import torch

from helpers import compare, cost
from helpers.data import Example, Task, texts
from helpers.model import LanguageModel
from helpers.prompts import plain
from helpers.scoring import answer, next_tokens, score_labels
from helpers.studies import facts, memory, spread


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


def recency(rows: pd.DataFrame, share: float | None) -> None:
    """Check how often the answer is the last demonstration's label, worked out by hand.

    `rows` are prompts as `misleading.orders` stores them.
    """
    truth = spread.agreement(rows, spread.last_label).mean()
    first = spread.agreement(rows, lambda row: row.shown[0]).mean()
    problem = None
    if share is not None and not abs(share - truth) < 5e-4:  # so that nan is wrong
        problem = f"{share:.3f} is not the share of answers that repeat the last label."
        if abs(share - first) < 5e-4:
            problem = "that is the first demonstration's label; take the last."
        elif abs(share - rows["accuracy"].mean()) < 5e-4:
            problem = "that is the accuracy; compare `said` with the last letter of `shown`."
        elif abs(share - 100 * truth) < 0.05:
            problem = "give a share between 0 and 1, not per cent."
    _tell(share is not None, problem, f"{truth:.2f} of all answers repeat the last label.")


def order_spread(right: np.ndarray, deviation: float | None) -> None:
    """Check the standard deviation of the accuracy over the orders of one draw, by hand.

    `right` is a boolean array [draws, orders, questions].
    """
    truth, accuracy = spread.parts(right).order, right.mean(2)
    problem = None
    if deviation is not None and not abs(deviation - truth) < 5e-4:
        problem = f"{deviation:.4f} is not the spread over the orders of one draw."
        others = {
            "that is the variance; take its square root.": truth**2,
            "that mixes the draws; take the variance within each draw first.": accuracy.std(ddof=1),
            "divide by the number of orders less 1 (ddof=1).": np.sqrt(accuracy.var(1).mean()),
            "average the variances, then take the root.": accuracy.std(1, ddof=1).mean(),
        }
        close = [told for told, value in others.items() if abs(deviation - value) < 5e-5]
        problem = close[0] if close else problem
    _tell(deviation is not None, problem, f"{truth:.3f}, so one order says little.")


def break_even(
    taught: tuple[float, float], shown: tuple[float, float], queries: float | None
) -> None:
    """Check from how many queries on a taught way is cheaper than a shown one.

    Each way is (what it costs once, what it costs for each query), in one unit.
    """
    truth, problem = cost.break_even(*taught, *shown), None
    (once, each), (other_once, other_each) = taught, shown
    if queries is not None and not abs(queries - truth) <= 0.51:  # whole or not; nan is wrong
        problem = f"at {queries:,.0f} queries the two totals are not equal."
        if abs(queries - once / other_each) <= 0.51:
            problem = "the taught way's own queries cost something too."
        elif abs(queries + truth) <= 0.51:
            problem = "the sign is wrong: what is paid more once is saved query by query."
        elif other_once and abs(queries - once / (other_each - each)) <= 0.51:
            problem = "the shown way costs something once as well; take it off."
    _tell(queries is not None, problem, f"from query {truth:,.0f} on the taught way is cheaper.")


def enough_queries(
    shots: int, shot_tokens: int, prices: cost.Prices, days: int, per_day: float | None
) -> None:
    """Check how many queries a day make weights as cheap as a kept prompt over so many days."""
    bills = cost.bills(shots, shot_tokens, 1, prices)
    (trained, standing), (read, asked) = bills["weights"], bills["prompt, kept"]
    truth, problem = (trained + days * standing - read) / (days * asked), None
    if per_day is not None and not abs(per_day / truth - 1) <= 0.01:  # so that nan is wrong
        problem = f"{per_day:,.0f} a day is {'more' if per_day > truth else 'less'} than needed."
        anew = bills["prompt, read anew"][1]
        if abs(per_day * days / truth - 1) <= 0.01 or abs(per_day / truth / days - 1) <= 0.01:
            problem = "count the days once: the GPU stands by every day, queries come every day."
        elif abs(per_day / (trained + days * standing) * (days * anew) - 1) <= 0.01:
            problem = "that is for a prompt read anew; kept tokens have a lower price."
        elif abs(per_day * 1e6 / truth - 1) <= 0.01:
            problem = "the price is for a million tokens."
    _tell(per_day is not None, problem, f"about {truth:,.0f} queries a day.")


def loss_of_english(results: pd.DataFrame, rank: int, steps: int, nats: float | None) -> None:
    """Check how much the loss on plain English rose, from `memory`'s result on forgetting."""
    truth, problem = memory.forgotten(results, "neutral", rank, steps).mean(), None
    rows = results[(results["rank"] == rank) & (results["steps"] == steps)]
    if nats is not None and not abs(nats - truth) < 5e-3:  # so that nan is wrong
        problem = f"{nats:.3f} is not the mean rise at rank {rank} after {steps} steps."
        if abs(nats + truth) < 5e-3:
            problem = "the sign is wrong: take the loss before away from the loss after."
        elif abs(nats - rows["neutral"].mean()) < 5e-3:
            problem = "that is the loss afterwards; take away the loss at 0 steps."
        elif abs(nats - memory.forgotten(results, "facts", rank, steps).mean()) < 5e-3:
            problem = "that is the gain on the facts; plain English is in the column neutral."
    _tell(nats is not None, problem, f"the loss rises by {truth:.2f} nats per token.")


def updated_prompt(
    lm: LanguageModel,
    known: Sequence[dict],
    number: int,
    new: str,
    lines: Sequence[Example] | None,
) -> None:
    """Check that with the learner's lines one fact has its new answer and no other is lost."""
    problem, fact = None, known[number]
    if lines is not None and not all(isinstance(line, Example) for line in lines):
        problem = "give a list of data.Example, as facts.statements makes it."
    elif lines is not None:
        (said,) = facts.write(lm, [fact], shown=lines)
        others = [one for one in known if one is not fact]
        then, now = (
            int(facts.choose(lm, others, shown=shown).sum())
            for shown in (facts.statements(known), lines)
        )
        if said != new:
            problem = f"the model writes {said!r}, not {new!r}."
            if facts.statements([fact])[0] in lines:
                problem += " The line with the old answer is still there."
        elif now < then:
            problem = f"only {now} of the other facts are right, {then} before: keep their lines."
    _tell(lines is not None, problem, f"the model writes {new!r}, and no other fact is lost.")

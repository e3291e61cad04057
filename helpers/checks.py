"""What each exercise's answer must satisfy, with messages that diagnose.

Every check prints one line that begins with "Right", "Not yet" or "Not attempted yet", and raises
nothing.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from helpers import compare, cost, decision
from helpers.data import Example, Task, texts
from helpers.model import LanguageModel
from helpers.prompts import plain
from helpers.scoring import answer, next_tokens, score_labels
from lessons import l08_clinic as clinic
from lessons import facts
from lessons import heads
from lessons import letters
from lessons import l05_memory as memory
from lessons import replies
from lessons import _spread as spread


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


def effect_of_demonstrations(
    results: pd.DataFrame, training: str, measure: str, gap: float | None
) -> None:
    """Check the mean of a measure with demonstrations minus without, after one kind of training."""
    truth, other = (
        clinic.right(results, name, training=training, prompt="demonstrations").mean()
        - clinic.right(results, name, training=training, prompt="nothing").mean()
        for name in (measure, "codes" if measure == "style" else "style")
    )
    problem = None
    if gap is not None and not abs(gap - truth) < 5e-4:  # so that nan is wrong
        problem = f"{gap:.3f} is not what the demonstrations change in {measure!r}."
        if abs(gap + truth) < 5e-4:
            problem = "the sign is wrong: take the share without demonstrations away."
        elif abs(gap - other) < 5e-4:
            problem = f"that is another measure; choose {measure!r}."
    _tell(gap is not None, problem, f"the demonstrations change it by {truth:+.2f}.")


def own_doctor(lm: LanguageModel, doctor: dict[str, str] | None, least: int = 3) -> None:
    """Check that a doctor is new and that `lm` writes at least so many of four letters as he
    would, having seen three of his."""
    problem, right = None, 0
    if doctor is not None:
        known = letters.load()
        learned = {name: values["train"] for name, values in known.styles.items()}
        problem = _doctor_problem(doctor, learned)
    if doctor is not None and not problem:
        notes = known.notes["dev"]
        told = [letters.example(doctor, note) for note in notes[:6:2]]
        visit = letters.Visit(doctor, told, [], notes[8:16:2])
        said = letters.write_letters(lm, [visit], "demonstrations")
        right = sum(letters.letters_right([visit], said)["style"])
        if right < least:
            problem = f"only {right} of {len(said)} letters are in this style, such as {said[0]!r}."
    _tell(doctor is not None, problem, f"{right} of 4 letters are in a style that it never saw.")


def _doctor_problem(doctor: dict[str, str], learned: dict[str, list[str]]) -> str | None:
    if not isinstance(doctor, dict) or set(doctor) != set(letters.HOUSE):
        return f"give a dictionary with the keys {', '.join(letters.HOUSE)}."
    for feature, mark in (("opening", "{name}"), ("finding", "{finding}"), ("ending", "{doctor}")):
        if mark not in doctor[feature]:
            return f"the {feature} must hold {mark}."
    if doctor["order"] not in letters.ORDERS or doctor["case"] not in letters.CASES:
        return f"the order is one of {letters.ORDERS}, the case one of {letters.CASES}."
    old = [feature for feature in ("opening", "ending") if doctor[feature] in learned[feature]]
    return f"the {old[0]} was in the training; invent another." if old else None


def induction_score(seen: np.ndarray, score: float | None) -> None:
    """Check the induction score of one head, worked out from its attention [tokens, tokens]."""
    truth, problem = float(heads.induction_score(seen)), None
    if score is not None and not abs(score - truth) < 5e-4:  # so that nan is wrong
        half = len(seen) // 2
        second = np.arange(half, 2 * half)
        problem = f"{score:.4f} is not this head's score."
        others = {
            "that looks at the earlier copy itself; go one token on.": seen[second, second - half],
            "that looks one token before the earlier copy; go on, not back.": seen[
                second, second - half - 1
            ],
            "take the mean over the second half only.": np.r_[
                np.zeros(half), seen[second, second - half + 1]
            ],
        }
        close = [told for told, part in others.items() if abs(score - part.mean()) < 5e-5]
        problem = close[0] if close else problem
        if abs(score - half * truth) < 5e-4:
            problem = "take the mean over the tokens, not the sum."
    _tell(score is not None, problem, f"{truth:.2f} of its attention goes there.")


def silences(lm: LanguageModel, head: heads.Head, hook: Callable | None) -> None:
    """Check that a hook before a layer's output projection silences one head and no other."""
    problem, (layer, number) = None, head
    if hook is not None and not callable(hook):
        problem = "a hook is a function of the module and its inputs."
    elif hook is not None:
        given = torch.randn(1, 3, heads.projections(lm)[layer].weight.shape[-1])
        wanted = given.clone()
        wanted.unflatten(-1, (lm.model.config.num_attention_heads, -1))[..., number, :] = 0
        kept, told = given.clone(), hook(heads.projections(lm)[layer], (given,))
        problem = _hook_problem(told, wanted, given, kept)
    _tell(hook is not None, problem, f"head {number} of layer {layer} is silent, the others speak.")


def _hook_problem(told: object, wanted, given, kept) -> str | None:
    if told is None:
        return "the hook returns nothing, so the module runs on the old input; return a new one."
    changed = told[0] if isinstance(told, tuple) else told
    if not isinstance(changed, torch.Tensor) or changed.shape != wanted.shape:
        return "return the inputs as a tuple, with a tensor of the same shape in first place."
    if not torch.equal(given, kept):
        return "the given input was changed in place; clone it first."
    if torch.equal(changed, given):
        return "nothing is zero yet."
    if not torch.equal(changed, wanted):
        return "other numbers are zero than this head's; its slice is head * size and so on."
    return None


def parrots(
    answered: Mapping[str, Sequence[tuple[str, str]]],
    rule: Callable[[str, str], bool] | None,
    run: int = 5,
) -> None:
    """Check a rule of the learner's own: `rule(ticket, reply)` tells whether the reply repeats so
    many words of its ticket in a row.

    `answered` maps a way to its tickets with their replies.
    """
    problem, told = None, []
    for way, pairs in answered.items() if rule is not None else ():
        truth = [replies.repeats(*pair, run) for pair in pairs]
        found = [bool(rule(*pair)) for pair in pairs]
        told.append(f"{way} {np.mean(truth):.2f}")
        problem = problem or _repeat_problem(pairs, found, truth, run)
    _tell(rule is not None, problem, f"share of replies that repeat: {', '.join(told)}.")


def _repeat_problem(pairs, found: list[bool], truth: list[bool], run: int) -> str | None:
    if found == truth:
        return None
    for count in (run - 1, run + 1):
        if found == [replies.repeats(*pair, count) for pair in pairs]:
            return f"that is {count} words in a row; ask for {run}."
    if [not one for one in found] == truth:
        return "it is the wrong way round: True means that the reply repeats."
    i = next(i for i, one in enumerate(found) if one != truth[i])
    return f"it says {found[i]} of {pairs[i][1]!r}, a reply to {pairs[i][0]!r}."


def interval_rule(rule: Callable[[float, float], str] | None) -> None:
    """Check a rule that chooses from the 95 % interval of weights minus prompt."""
    problem = None
    if rule is not None and not callable(rule):
        problem = "a rule is a function of the interval's two ends."
    elif rule is not None:
        cases = {(0.02, 0.3): "weights", (-0.4, -0.1): "prompt", (-0.1, 0.3): "open"}
        cases |= {(-0.3, 0.1): "open", (0.2, 0.25): "weights", (-0.02, -0.01): "prompt"}
        wrong = ((case, rule(*case), truth) for case, truth in cases.items())
        found = next(((case, said, truth) for case, said, truth in wrong if said != truth), None)
        problem = _rule_problem(*found) if found else None
    _tell(rule is not None, problem, "it decides only where the interval leaves 0 out.")


def _rule_problem(case: tuple[float, float], said: object, truth: str) -> str:
    told = f"from {case[0]:+.2f} to {case[1]:+.2f} it says {said!r}, but should say {truth!r}"
    if truth == "open":
        return f"{told}: 0 lies between, so neither is surely ahead."
    if said == "open":
        return f"{told}: the whole interval lies on one side of 0."
    return f"{told}: the difference is weights minus prompt."


def paying_queries(found: decision.Found, days: float, per_day: float | None) -> None:
    """Check how many queries a day pay a training off in `days`, a kept prompt being there."""
    truth, problem = found.kept / days, None
    if per_day is not None and not abs(per_day / truth - 1) <= 0.02:  # so that nan is wrong
        problem = f"{per_day:,.1f} a day is {'more' if per_day > truth else 'less'} than needed."
        if abs(per_day / found.anew * days - 1) <= 0.02:
            problem = "that is for a prompt read anew; use found.kept."
        elif abs(per_day / found.kept - 1) <= 0.02:
            problem = "that is how many it takes in all; divide by the days."
        elif abs(per_day / found.kept / days - 1) <= 0.02:
            problem = "divide by the days: the longer nothing changes, the fewer a day are needed."
    _tell(per_day is not None, problem, f"about {truth:,.0f} queries a day.")

"""Lesson 10: which way for which job. Six answers about a job give a choice, and reasons for it.

What was measured is read from the stored results by `measured`; `decide` only compares with it.
"""

from collections.abc import Callable
from html import escape
from typing import NamedTuple

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from helpers import checks, claims
from helpers.compare import Interval, ahead, difference, interval, right, stored, where
from helpers.cost import break_even
from helpers.data import DataError
from helpers.widgets import Panel, explorer
from lessons import styles
from lessons.contest import crossing

CHOICES = ("prompt", "kept prompt", "fine-tune", "both", "TF-IDF first")
MISSING = ("the job only", "a skill", "a fact or a code", "a style", "a code and a style")
LEAD = 0.1  # a smaller lead in right answers is left to the cost to decide
LESSONS = {  # where the lead of weights or prompt was measured, and on what
    "the job only": ("03_same_examples_two_ways", "past tenses, 32 examples"),
    "a skill": ("03_same_examples_two_ways", "messages with a shop's own topics, 32 examples"),
    "a fact or a code": ("05_memory_and_updates", "invented facts, asked as they were told"),
    "a style": ("07_four_use_cases", "a writer's tone, 8 messages"),
    "a code and a style": ("08_better_together", "a clinic's codes in a doctor's style"),
}


class Job(NamedTuple):
    """The six answers about a job."""

    examples: int  # labelled ones in hand
    days: float  # until the task or the facts change
    per_day: float  # queries
    tokens: int  # of an example
    own: bool  # the weights are yours, as for working offline
    missing: str  # one of `MISSING`: what the model lacks


class Measured(NamedTuple):
    """What the lessons measured.

    `leads` are weights minus prompt in the share of right answers; of "a code and a style", both
    together minus the prompt alone. `kept` and `anew` are the queries from
    which weights cost less than a prompt kept or read anew, `cache` those from which keeping costs
    less than reading anew. `counting` is the number of examples from which TF-IDF passes weights,
    `least` the fewest examples in any training, `room` the tokens that a prompt holds.
    """

    leads: dict[str, Interval]
    kept: float
    anew: float
    cache: float
    counting: float
    least: int
    room: int


class Reason(NamedTuple):
    """A sentence with its number, and the lesson that measured it."""

    text: str
    lesson: str  # its file's name


class Decision(NamedTuple):
    """One of `CHOICES`, and why: what decided comes first."""

    choice: str
    reasons: list[Reason]


def decide(job: Job, known: Measured) -> Decision:
    """Choose a way for a job: accuracy first, and cost where accuracy leaves it open.

    Raises `DataError` for an answer that is none of `MISSING`.
    """
    if job.missing not in MISSING:
        raise DataError(f"What is missing is one of {', '.join(MISSING)}, not {job.missing!r}.")
    fits = job.examples * job.tokens <= known.room
    queries = job.per_day * job.days
    shown = "kept prompt" if fits and queries > known.cache else "prompt"
    surely = ahead(known.leads[job.missing], LEAD)
    accuracy, room, cost = _accuracy(job, known), _room(job, known, fits), _cost(queries, known)
    if job.missing == "a skill" and job.examples >= known.counting:
        return Decision("TF-IDF first", [_counting(job, known), accuracy, cost])
    if not job.own:
        return Decision(shown, [_OWN, accuracy, room])
    if job.examples < known.least:
        return Decision(shown, [_FEW, accuracy, cost])
    if surely == "weights":
        choice = "both" if job.missing == "a code and a style" else "fine-tune"
        return Decision(choice, [accuracy, room, cost, _OFFLINE])
    if surely == "prompt":
        return Decision(shown, [accuracy, room, cost])
    cheaper = queries > (known.kept if fits else known.anew)
    return Decision("fine-tune" if cheaper else shown, [cost, accuracy, room])


def measured() -> Measured:
    """The thresholds and leads, from the stored results of the lessons."""
    tickets, writers, letters, facts = map(
        stored, ("support_tickets", "writers", "clinic", "facts")
    )
    asked = {"asked": "forward", "measure": "choice"}
    known = [right(facts, way=way, **asked) for way in ("weights", "prompt")]
    tuned = writers["draw"].isin(writers.query("way == 'weights' and earlier == 8")["draw"])
    tone = [styles.texts_right(writers[tuned], way=way, earlier=8) for way in ("weights", "prompt")]
    ways = ("many styles, shown", "untaught")
    both = [right(letters, measure="both", way=way, prompt="demonstrations") for way in ways]
    verbs = difference(stored("verbs"), "lora", "in-context", shots=32)
    labels = difference(tickets, "lora", "in-context, calibrated", shots=32)
    leads = {"the job only": Interval(*verbs[:3]), "a skill": Interval(*labels[:3])}
    pairs = zip(MISSING[2:], (known, tone, both), strict=True)
    leads |= {name: interval(weights * 1.0 - prompt) for name, (weights, prompt) in pairs}
    return Measured(
        leads,
        **_thresholds(stored("costs")),
        counting=crossing(tickets, "TF-IDF", "lora").mean,
        least=int(tickets.query("shots > 0")["shots"].min()),
        room=int(stored("length")["tokens"].max()),
    )


def seconds_until_right(costs: pd.DataFrame, way: str, shots: int) -> np.ndarray:
    """Processor seconds from the examples in hand to the first right answer, [draws]."""
    rows = where(costs, way=way, shots=shots).sort_values(["draw", "query"])
    done = rows.groupby("draw")["right"].transform(lambda right: right.eq("1").cumsum().shift())
    until = rows[done.fillna(0) == 0]
    return until.groupby("draw")["processor_seconds"].sum().to_numpy()


def _thresholds(costs: pd.DataFrame) -> dict[str, float]:
    """Queries from which one way has cost less in all than another, in mean processor seconds.

    A merged adapter is asked as the untaught model is, because it has the same shape.
    """
    by_way = costs[costs["shots"] == 8].assign(teaching=lambda rows: rows["query"] == 0)

    def threshold(a: str, b: str) -> float:
        sides = [by_way[by_way["way"] == way] for way in (a, b)]
        if a == "weights":  # merged: taught as weights, asked as zero-shot
            untaught = by_way[(by_way["way"] == "zero-shot") & ~by_way["teaching"]]
            sides[0] = pd.concat([sides[0][sides[0]["teaching"]], untaught])
        both = sides[0].merge(sides[1], on=["draw", "query"])
        units = ["processor_seconds_x", "processor_seconds_y"]
        once = both[both["query"] == 0].set_index("draw")[units].mean()
        each = both[both["query"] > 0].groupby("draw")[units].mean().mean()
        return break_even(once.iloc[0], each.iloc[0], once.iloc[1], each.iloc[1])

    kept, anew = "prompt, kept", "prompt, read anew"
    pairs = {"kept": ("weights", kept), "anew": ("weights", anew), "cache": (kept, anew)}
    return {name: threshold(*pair) for name, pair in pairs.items()}


_OWN = Reason("Weights that are not yours cannot be trained.", "02_fine_tuning")
_FEW = Reason("No training here had so few examples: show them.", "03_same_examples_two_ways")
_OFFLINE = Reason("The adapter is a file: it works offline, in a new process.", "02_fine_tuning")


def _accuracy(job: Job, known: Measured) -> Reason:
    lesson, what = LESSONS[job.missing]
    who = "Both together" if job.missing == "a code and a style" else "Weights"
    return Reason(
        f"{who} minus prompt, share right: {known.leads[job.missing]:+.2f}, measured on {what}.",
        lesson,
    )


def _room(job: Job, known: Measured, fits: bool) -> Reason:
    size = f"{job.examples:,} examples of {job.tokens:,} tokens"
    much = "fit into a prompt" if fits else "do not fit into a prompt, only the nearest few"
    return Reason(f"{size} {much} (room: {known.room:,} tokens).", "06_when_prompts_mislead")


def _cost(queries: float, known: Measured) -> Reason:
    text = f"{queries:,.0f} queries until it changes; weights cost less than a prompt read anew "
    text += f"from {known.anew:,.0f} on, than a kept one from {known.kept:,.0f}."
    return Reason(text, "04_speed_and_cost")


def _counting(job: Job, known: Measured) -> Reason:
    text = f"With {job.examples:,} examples, measure word counts first: they passed the weights "
    return Reason(f"{text}at about {known.counting:,.0f}.", "03_same_examples_two_ways")


# Explorer and checks


def decision_explorer(known: Measured) -> Panel:
    """Answer six questions about a job; see a choice, its reasons and the lessons behind them."""

    def show(**answers: object) -> str:
        choice, reasons = decide(Job(*answers.values()), known)
        listed = "".join(
            f"<li>{escape(reason.text)} (<a href='{reason.lesson}.ipynb'>lesson "
            f"{int(reason.lesson[:2])}</a>)</li>"
            for reason in reasons
        )
        return f"<p><b>{escape(choice)}</b></p><ol>{listed}</ol>"

    return explorer(
        show,
        "An explorer of decisions, in a live notebook.",
        labelled_examples_in_hand=(64, 0, 10**6),
        days_until_the_task_or_the_facts_change=(30.0, 0.0, 36500.0),
        queries_a_day=(200.0, 0.0, 1e9),
        tokens_of_an_example=(40, 1, 10**6),
        the_weights_are_mine_or_it_must_work_offline=True,
        what_the_model_lacks=list(MISSING),
    )


def check_interval_rule(rule: Callable[[float, float], str] | None) -> None:
    """Check a rule that chooses from the 95 % interval of weights minus prompt."""
    problem = None
    if rule is not None and not callable(rule):
        problem = "a rule is a function of the interval's two ends."
    elif rule is not None:
        cases = {(0.02, 0.3): "weights", (-0.4, -0.1): "prompt", (-0.1, 0.3): "open"}
        cases |= {(-0.3, 0.1): "open", (0.2, 0.25): "weights", (-0.02, -0.01): "prompt"}
        wrong = ((case, rule(*case), truth) for case, truth in cases.items())
        first = next((answer for answer in wrong if answer[1] != answer[2]), None)
        problem = _rule_problem(*first) if first else None
    checks.tell(rule is not None, problem, "it decides only where the interval leaves 0 out.")


def _rule_problem(case: tuple[float, float], said: object, truth: str) -> str:
    says = f"from {case[0]:+.2f} to {case[1]:+.2f} it says {said!r}, but should say {truth!r}"
    if truth == "open":
        return f"{says}: 0 lies between, so neither is surely ahead."
    if said == "open":
        return f"{says}: the whole interval lies on one side of 0."
    return f"{says}: the difference is weights minus prompt."


def check_paying_queries(known: Measured, days: float, per_day: float | None) -> None:
    """Check how many queries a day pay a training off in `days`, a kept prompt being there."""
    truth = known.kept / days
    checks.judge(
        per_day,
        truth,
        f"about {truth:,.0f} queries a day.",
        "{answer:,.1f} a day is not where the training is paid.",
        {
            "that is for a prompt read anew; use known.kept.": known.anew / days,
            "that is how many it takes in all; divide by the days.": known.kept,
            "divide by the days, for the longer nothing changes the fewer pay.": known.kept * days,
        },
        within=0.0,
        relative=0.02,
    )


# The scoreboard


def board_table(board: pd.DataFrame, caption: str = "") -> Styler:
    """The rows of `board` as a table to read, with a link to each lesson."""
    table = pd.DataFrame(
        {
            "claim": [f"<b>{row.claim}</b> {escape(row.text)}" for row in board.itertuples()],
            "verdict": [f"{claims.MARKS.get(v, '')} {escape(v)}" for v in board["verdict"]],
            "measured": board["measured"].map(escape),
            "why": board["why"].map(escape),
            "lesson": [" ".join(map(_link, lessons)) for lessons in board["lessons"]],
            "from": board["whose"],
            "you predicted": [_guess(row.predicted, row.hit) for row in board.itertuples()],
        }
    )
    style = table.style.hide(axis="index").set_caption(caption).set_uuid("board")
    return style.set_properties(**{"text-align": "left", "vertical-align": "top"})


def _link(lesson: str) -> str:
    return f'<a href="{escape(lesson)}.ipynb">{escape(claims.lesson_number(lesson))}</a>'


def _guess(predicted: str, hit: bool) -> str:
    return f"{escape(predicted)}: {'right' if hit else 'wrong'}" if predicted else "–"

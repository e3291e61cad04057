"""Which way for which job: six answers about a job give a choice, and the reasons for it.

What was measured is read from the stored results by `measured`; `decide` only compares with it.
"""

from typing import NamedTuple

from helpers.compare import crossing, difference, mean, stored
from helpers.data import DataError
from lessons import l08_clinic as clinic
from lessons import l05_memory as memory
from lessons import styles
from lessons import _totals as totals

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


class Found(NamedTuple):
    """What the lessons measured.

    `leads` are weights minus prompt in the share of right answers, as (mean, low, high); of "a
    code and a style", both together minus the prompt alone. `kept` and `anew` are the queries from
    which weights cost less than a prompt kept or read anew, `cache` those from which keeping costs
    less than reading anew. `counting` is the number of examples from which TF-IDF passes weights,
    `least` the fewest examples in any training, `room` the tokens that a prompt holds.
    """

    leads: dict[str, tuple[float, float, float]]
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


def ahead(low: float, high: float, lead: float = 0.0) -> str:
    """Who is ahead, from the 95 % interval of weights minus prompt: "" where it is not sure."""
    return "weights" if low > lead else "prompt" if high < -lead else ""


def decide(job: Job, found: Found) -> Decision:
    """Choose a way for a job: accuracy first, and cost where accuracy leaves it open.

    Raises `DataError` for an answer that is none of `MISSING`.
    """
    if job.missing not in MISSING:
        raise DataError(f"What is missing is one of {', '.join(MISSING)}, not {job.missing!r}.")
    fits = job.examples * job.tokens <= found.room
    queries = job.per_day * job.days
    shown = "kept prompt" if fits and queries > found.cache else "prompt"
    surely = ahead(*found.leads[job.missing][1:], LEAD)
    accuracy, room, cost = _accuracy(job, found), _room(job, found, fits), _cost(queries, found)
    if job.missing == "a skill" and job.examples >= found.counting:
        return Decision("TF-IDF first", [_counting(job, found), accuracy, cost])
    if not job.own:
        return Decision(shown, [_OWN, accuracy, room])
    if job.examples < found.least:
        return Decision(shown, [_FEW, accuracy, cost])
    if surely == "weights":
        choice = "both" if job.missing == "a code and a style" else "fine-tune"
        return Decision(choice, [accuracy, room, cost, _OFFLINE])
    if surely == "prompt":
        return Decision(shown, [accuracy, room, cost])
    cheaper = queries > (found.kept if fits else found.anew)
    return Decision("fine-tune" if cheaper else shown, [cost, accuracy, room])


def measured() -> Found:
    """The thresholds and leads, from the stored results of the lessons."""
    tickets, writers, letters = map(stored, ("support_tickets", "writers", "clinic"))
    known = [memory.right(stored("facts"), way, "forward") for way in ("weights", "prompt")]
    tuned = writers["draw"].isin(writers.query("way == 'weights' and earlier == 8")["draw"])
    tone = [styles.right(writers[tuned], way=way, earlier=8) for way in ("weights", "prompt")]
    ways = ("many styles, shown", "untaught")
    both = [clinic.right(letters, "both", training=w, prompt="demonstrations") for w in ways]
    leads = {
        "the job only": difference(stored("verbs"), "lora", "in-context", 32)[:3],
        "a skill": difference(tickets, "lora", "in-context, calibrated", 32)[:3],
    }
    pairs = zip(MISSING[2:], (known, tone, both), strict=True)
    leads |= {name: mean(one.astype(float) - other) for name, (one, other) in pairs}
    costs = totals.merged(stored("costs"))
    kept, anew = "prompt, kept", "prompt, read anew"
    pairs = [("weights, merged", kept), ("weights, merged", anew), (kept, anew)]
    return Found(
        leads,
        *(totals.crossing(costs, *pair, 8)[0] for pair in pairs),
        counting=crossing(tickets, "TF-IDF", "lora")[0],
        least=int(tickets.query("shots > 0")["shots"].min()),
        room=int(stored("length")["tokens"].max()),
    )


_OWN = Reason("Weights that are not yours cannot be trained.", "02_fine_tuning")
_FEW = Reason("No training here had so few examples: show them.", "03_same_examples_two_ways")
_OFFLINE = Reason("The adapter is a file: it works offline, in a new process.", "02_fine_tuning")


def _accuracy(job: Job, found: Found) -> Reason:
    lesson, what = LESSONS[job.missing]
    told = "{:+.2f} ({:+.2f} to {:+.2f})".format(*found.leads[job.missing])
    who = "Both together" if job.missing == "a code and a style" else "Weights"
    return Reason(f"{who} minus prompt, share right: {told}, measured on {what}.", lesson)


def _room(job: Job, found: Found, fits: bool) -> Reason:
    size = f"{job.examples:,} examples of {job.tokens:,} tokens"
    much = "fit into a prompt" if fits else "do not fit into a prompt, only the nearest few"
    return Reason(f"{size} {much} (room: {found.room:,} tokens).", "06_when_prompts_mislead")


def _cost(queries: float, found: Found) -> Reason:
    text = f"{queries:,.0f} queries until it changes; weights cost less than a prompt read anew "
    text += f"from {found.anew:,.0f} on, than a kept one from {found.kept:,.0f}."
    return Reason(text, "04_speed_and_cost")


def _counting(job: Job, found: Found) -> Reason:
    text = f"With {job.examples:,} examples, measure word counts first: they passed the weights "
    return Reason(f"{text}at about {found.counting:,.0f}.", "03_same_examples_two_ways")

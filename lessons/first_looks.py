"""What the lessons' stored results say of the claims whose fair comparison is not finished.

A first look holds a lesson's numbers against the bounds of `data/claims.csv`, at fewer levels and
with fewer settings than the claim's rule asks for, and leaves out what is not in doubt there (that
a prompt is ready sooner). So it is no verdict.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from helpers.claims import CONTRADICTED, DEPENDS, SUPPORTED, UNDECIDED
from helpers.compare import Interval, interval, paired, right, stored, where
from helpers.cost import break_even
from lessons import replies, verdict
from lessons.styles import texts_right
from lessons.verdict import Part, Verdict, differ

GAP, NEAR, RATIO = Part("difference", 0.1), Part("not behind", -0.1), Part("ratio", 10)
MANY = Part("threshold", 1000)
QUERIES = 1000
JOINT = {"K6": ("U1", "U2", "U3", "U4")}  # what it says of these four


class Look(NamedTuple):
    """A number of a claim at one level, and what it must reach."""

    claim: str
    level: str
    part: Part
    number: Interval


@cache
def looks() -> list[Look]:
    """All first looks beside those that the learner's rule is tried on."""
    return [*_of_cost(), *_of_prompts(), *_of_uses(), *_of_both()]


def _of_cost() -> list[Look]:
    """F6, I5, K3 and K4 by processor seconds, eight support tickets taught."""
    rows = stored("costs")
    asked = rows.groupby("query")["way"].nunique()
    rows = where(rows, query=list(asked[asked == rows["way"].nunique()].index))  # of every way

    def spent(way: str) -> tuple[np.ndarray, np.ndarray]:
        chosen = where(rows, way=way).groupby(["draw", "measure"])["processor_seconds"].mean()
        return tuple(chosen.unstack()[["teaching", "answers"]].to_numpy().T)

    (trained, _), (_, merged) = spent("weights"), spent("zero-shot")
    (read, kept), (_, anew) = spent("prompt, kept"), spent("prompt, read anew")
    soon = interval((trained + merged) / (read + kept))
    late = interval((trained + QUERIES * merged) / (QUERIES * anew))
    from_kept = _from_query(trained, merged, read, kept)
    from_anew = _from_query(trained, merged, 0 * read, anew)
    return [
        Look("F6", "messages", RATIO, interval(trained / read)),
        Look("I5", "messages", RATIO, soon),
        Look("K3", "prompt kept", RATIO, soon),
        Look("K3", "read anew", RATIO, late),
        Look("K4", "prompt kept", MANY, from_kept),
        Look("K4", "read anew", MANY, from_anew),
    ]


def _from_query(*costs: np.ndarray) -> Interval:
    """From which query on the first way has cost less, in new samples of the draws."""
    rng, draws = np.random.default_rng(0), len(costs[0])
    picked = rng.integers(0, draws, (4000, draws))
    samples = [break_even(*(cost[rows].mean() for cost in costs)) for rows in picked]
    low, high = np.percentile(samples, (2.5, 97.5), method="nearest")
    return Interval(break_even(*(cost.mean() for cost in costs)), float(low), float(high))


def _of_prompts() -> list[Look]:
    """I7, with as many messages in the prompt as were tried; I8, a level for each fault."""
    tickets, faults = stored("support_tickets"), stored("faults")
    shown = right(tickets, way="in-context, calibrated", shots=128)
    trained = right(tickets, way="lora", shots=256).astype(float)
    plain = {
        fault: right(rows, readout="plain").astype(float)
        for fault, rows in faults.groupby("fault", sort=False)
    }
    clean = plain.pop("clean")
    harm = [Look("I8", fault, GAP, interval(clean - rows)) for fault, rows in plain.items()]
    return [Look("I7", "messages", GAP, interval(trained - shown)), *harm]


def _of_uses() -> list[Look]:
    """U1 to U4 and I6, each with the same examples either way."""
    desk, mails, notes, session = map(stored, ("replies", "emails", "codes", "writers"))
    tone = {way: replies.kept(desk, way, list(replies.RULES)).all(2) * 1.0 for way in replies.WAYS}
    both = mails[mails["way"] == "adapter, 4"][["draw", "style"]].drop_duplicates()
    shown, adapted = (
        texts_right(mails[mails["way"] == way].merge(both)) for way in ("prompt, 4", "adapter, 4")
    )
    style = interval(shown * 1.0 - adapted)
    eight, trained, none = (
        texts_right(session, way=way, earlier=n) * 1.0
        for way, n in (("prompt", 8), ("weights", 8), ("prompt", 0))
    )
    equal = ("weights, 64", "prompt, 64")
    for way in equal:  # the draws of both
        notes = notes[notes["draw"].isin(notes[notes["way"] == way]["draw"])]
    return [
        Look("U1", "8 pairs", GAP, interval(tone["weights, 8"] - tone["prompt, 8"])),
        Look("U1", "64 pairs", GAP, interval(tone["weights, 64"] - tone["prompt, 64"])),
        Look("U2", "e-mails", NEAR, style),
        Look("I6", "e-mails", NEAR, style),
        Look("I6", "writers", NEAR, interval(eight - trained)),
        Look("U3", "64 notes each", GAP, interval(paired(notes, *equal))),
        Look("U4", "minus nothing", GAP, interval(eight - none)),
        Look("U4", "minus weights", NEAR, interval(eight - trained)),
    ]


def _of_both() -> list[Look]:
    """C1: both right after training and demonstrations, minus the better of the two alone."""
    letters = where(stored("clinic"), measure="both")

    def more(way: str) -> Interval:
        alone = [
            right(letters, way=by, prompt=prompt).astype(float)
            for by, prompt in ((way, "nothing"), ("untaught", "demonstrations"))
        ]
        both = right(letters, way=way, prompt="demonstrations")
        return interval(both - max(alone, key=np.mean))

    plain, shown = "house style", "many styles, shown"
    return [
        Look("C1", "trained on one style", GAP, more(plain)),
        Look("C1", "trained on many styles", GAP, more(shown)),
    ]


# What they come to


def together(said: Sequence[tuple[str, Interval]]) -> str:
    """What outcomes with their numbers come to: all the same, or two that surely differ."""
    outcomes = {outcome for outcome, _ in said}
    if len(outcomes) == 1:
        return outcomes.pop()
    yes, no = ([n for outcome, n in said if outcome == o] for o in (SUPPORTED, CONTRADICTED))
    return DEPENDS if any(differ(s, c) for s in yes for c in no) else UNDECIDED


def joint(known: Mapping[str, str]) -> dict[str, str]:
    """The claims that sum up others, by what is known of each of these."""
    return {
        claim: verdict.joint(claim, [Verdict(name, known[name], None) for name in names]).verdict
        for claim, names in JOINT.items()
    }

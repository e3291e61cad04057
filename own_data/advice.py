"""What a comparison on one's own data recommends, and why, in words that need no lesson.

The rule: a way is recommended where it is surely ahead of every other, or where nobody is surely
ahead of it nor may be by `MARGIN` or more; of several such the simplest. Else it is undecided, and
the advice says what would decide. "Surely" is by 95 % intervals over questions.
"""

import math
from typing import NamedTuple

from helpers.compare import Interval
from own_data.curve import points
from own_data.judging import Judged, Lead, accuracy, lead, macro_f1, paired
from own_data.training import CUT_SHORT
from own_data.ways import TITLES, WAYS

MARGIN = 0.1  # a smaller difference is left to simplicity
LEAST = 20  # questions, or all there are: with fewer a way is not judged
ENOUGH = 100  # questions from which it is said that a way has found nothing, or does badly
GROWTH = 0.05  # from half of the rows to all: less is next to nothing
FULL_PASSES = 8  # over the rows that a training should have time for
PRICE, QUERIES = 0.1, 1000.0  # of a million tokens; questions a day


class Advice(NamedTuple):
    """What to do in a few words, and the reasons, a sentence each.

    `way` is recommended or, undecided, the one to take until then; `runner_up` is the best other.
    """

    choice: str
    way: str
    runner_up: str
    decided: bool
    reasons: list[str]


def advise(
    judged: Judged, minutes: float, queries: float = QUERIES, price: float = PRICE
) -> Advice:
    """Recommend one of the ways that answered, or say what would decide.

    `queries` are asked a day; `price` is that of a million tokens read by a hosted model.
    """
    order = ranked(judged)
    if not order:
        reasons = ["No way worked, or there was no time to ask it; the table says why."]
        return Advice("No way could be measured", "", "", False, reasons)
    best, decided, reasons = order[0], False, []
    found = any(_found(judged, name) for name in order)
    if not found:
        way = max(order, key=lambda name: lead(judged, name, "majority").gap.low)
        choice, reasons = _nothing(judged, way, lead(judged, way, "majority"), minutes)
    elif (way := recommended(judged, order)) is not None:
        decided, choice = True, f"Use {TITLES[way]}"
        reasons = _because(judged, way, order)
    else:
        way, rival = _simplest(judged, order), _closest(judged, best, order)
        choice = f"Undecided between {TITLES[best]} and {TITLES[rival]}"
        gap = lead(judged, best, rival)
        reasons = [_told(best, rival, gap), _more(judged, gap, minutes)]
        reasons.append(f"Until then take the simplest that none is surely ahead of: {TITLES[way]}.")
    runner_up = next((name for name in order if name != way), "")
    at_top = accuracy(judged, way).low > 1 - MARGIN  # nothing could be ahead by much
    held_back = [] if at_top else _held_back(judged, minutes)
    if decided and held_back:
        choice += ", for now"
    reasons += [*held_back, *_rare(judged, way), *(_growth(judged, way) if found else [])]
    reasons += [_cost(judged, way, runner_up, queries, price), _caution(judged, way)]
    return Advice(choice, way, runner_up, decided, reasons)


def ranked(judged: Judged) -> list[str]:
    """The ways that were asked enough, the best first: by the least lead over any other.

    Leads are taken on the questions that both were asked; of equals the simpler comes first.
    """
    names = [name for name in judged.answers if name not in ("majority", *hardly_asked(judged))]

    def worst(name: str) -> float:
        return min(lead(judged, name, other).gap.mean for other in names if other != name)

    return sorted(names, key=worst, reverse=True) if len(names) > 1 else names


def hardly_asked(judged: Judged) -> list[str]:
    """The ways that answered too few questions to be judged, for lack of time."""
    asked = {name: len(answers.rows) for name, answers in judged.answers.items()}
    return [name for name, number in asked.items() if number < min(LEAST, asked["majority"])]


def recommended(judged: Judged, order: list[str]) -> str | None:
    """The simplest way that nobody is ahead of, surely or perhaps by `MARGIN`; or None.

    It is surely ahead of the most frequent label.
    """

    def gaps(name: str) -> list[Interval]:
        return [lead(judged, other, name).gap for other in order if other != name]

    sure = [name for name in order if _found(judged, name)]
    if order[0] in sure and all(gap.high < 0 for gap in gaps(order[0])):
        return order[0]
    fine = [name for name in sure if all(gap.low <= 0 and gap.high < MARGIN for gap in gaps(name))]
    return min(fine, key=list(TITLES).index, default=None)


def _found(judged: Judged, name: str) -> bool:
    """Whether a way is surely ahead of the most frequent label."""
    return lead(judged, name, "majority").gap.low > 0


def _simplest(judged: Judged, order: list[str]) -> str:
    """The simplest way that no other is surely ahead of."""

    def beaten(name: str) -> bool:
        return any(lead(judged, other, name).gap.low > 0 for other in order if other != name)

    fine = [name for name in order if _found(judged, name) and not beaten(name)]
    return min(fine or order[:1], key=list(TITLES).index)


def _closest(judged: Judged, best: str, order: list[str]) -> str:
    """The way that the best is least surely ahead of."""
    return min(
        (name for name in order if name != best), key=lambda name: lead(judged, best, name).gap.low
    )


def _nothing(judged: Judged, best: str, over: Lead, minutes: float) -> tuple[str, list[str]]:
    """Where no way is surely better than the most frequent label."""
    told = _told(best, "majority", over)
    surely = over.questions >= ENOUGH and over.gap.high < 2 * MARGIN
    if surely and not _held_back(judged, minutes):
        choice = f"Nothing was found: no way is much better than {TITLES['majority']}"
        then = "Perhaps the labels do not follow from the texts; look at the mistakes below."
        return choice, [told, then]
    choice = f"Undecided: nothing is surely better yet than {TITLES['majority']}"
    return choice, [told, _more(judged, over, minutes)]


def _because(judged: Judged, way: str, order: list[str]) -> list[str]:
    """Why a way is recommended: where it leads, where it is as good, what it gives."""
    reasons = [f"It is right in {_percent(accuracy(judged, way))} of the questions."]
    reasons.append(_told(way, "majority", lead(judged, way, "majority")))
    for other in (name for name in order if name != way):
        gap = lead(judged, way, other)
        if gap.gap.low <= 0:
            reasons.append(f"{_told(way, other, gap)[:-1]}: too close to tell, and it is simpler.")
            if list(TITLES).index(other) < list(TITLES).index(way):
                reasons[-1] = f"{_told(way, other, gap)[:-1]}: not sure, but surely not far behind."
        elif other == next(name for name in order if name != way):
            reasons.append(_told(way, other, gap))
    return reasons


def _more(judged: Judged, found: Lead, minutes: float) -> str:
    """How many more questions would decide, and whether minutes or labelled rows give them."""
    gap, half = abs(found.gap.mean), (found.gap.high - found.gap.low) / 2
    factors = [(half / part) ** 2 for part in (gap, MARGIN - gap) if part > 0.01]
    needed = _rounded(max(1.2, min(factors, default=25.0)) * found.questions)
    own = judged.own
    askable = sum(len(own.asked(number)) for number in range(own.rounds))
    if needed <= askable:
        longer = _rounded(1 + minutes * needed / max(1, found.questions))
        return (
            f"About {needed:,} questions would decide, {found.questions} were asked: your rows are "
            f"enough, with --minutes {longer} (the same command goes on)."
        )
    rows = _rounded(len(own.rows) * (needed / max(1, askable) - 1))
    return (
        f"About {needed:,} questions would decide, but the file holds only {askable}: label about "
        f"{rows:,} more rows."
    )


def _held_back(judged: Judged, minutes: float) -> list[str]:
    """What is said of ways that had too little time: hardly asked, or a training cut short."""
    told, few = [], hardly_asked(judged)
    if few:
        fewest = min(len(judged.answers[name].rows) for name in few)
        named = ", ".join(f"{TITLES[name]} ({len(judged.answers[name].rows)})" for name in few)
        told.append(
            f"Not judged, because there was time for a few questions only: {named}; give "
            f"--minutes {_rounded(minutes * 2 * LEAST / fewest)}."
        )
    known = judged.record.ways.get("lora", {}).get("taught", {}).get("0", {})
    if known.get("note") == CUT_SHORT:
        longer = _rounded(minutes * max(2.0, FULL_PASSES / max(0.1, known["passes"])))
        told.append(
            f"Fine-tuning was not measured at its best: in its time it went through the rows "
            f"{known['passes']:.1f} times and was still improving; --minutes {longer} would do."
        )
    return told


def _rounded(number: float) -> int:
    """A number rounded up to two digits that count, for what is known roughly."""
    unit = 10 ** max(0, math.floor(math.log10(max(1, number))) - 1)
    return math.ceil(number / unit) * unit


def _rare(judged: Judged, way: str) -> list[str]:
    """A sentence where rare labels are answered far worse than frequent ones."""
    share, balanced = accuracy(judged, way), macro_f1(judged, way)
    if share.mean - balanced.mean < MARGIN or len(judged.answers[way].rows) < ENOUGH:
        return []
    return [
        f"Rare labels do worse: where every label counts alike (macro-F1) it reaches {balanced}."
    ]


def _growth(judged: Judged, way: str) -> list[str]:
    """What more labelled rows may bring: by the curve of a way, or of the better word counts."""
    curves = {name: points(judged.own, judged.record, name) for name in judged.answers}
    drawn = [name for name, found in curves.items() if len(found) > 1]
    if not drawn:
        return []
    name = (
        way if way in drawn else max(drawn, key=lambda name: list(curves[name].values())[-1].mean())
    )
    shares = [f"{100 * right.mean():.0f} % after {rows}" for rows, right in curves[name].items()]
    (_, half), (_, whole) = list(curves[name].items())[-2:]
    gain = paired(whole, half)
    brought, low, high = map(_more_of_100, gain)
    if whole.mean() > 1 - GROWTH or gain.high < GROWTH:
        more = "twice as many would hardly help"
    elif gain.low > 0:
        more = "twice as many may bring more again"
    else:
        more = f"{len(whole)} questions are too few to tell whether twice as many would help"
    title = TITLES[name][0].upper() + TITLES[name][1:]
    return [
        f"{title} with fewer labelled rows: right in {', '.join(shares)}. The last doubling "
        f"brought {brought} of 100 (from {low} to {high}): {more}."
    ]


def _cost(judged: Judged, way: str, other: str, queries: float, price: float) -> str:
    """What a day's questions take, on this machine and at a hosted model."""
    parts = []
    for name in filter(None, (way, other)):
        known, asked = judged.record.ways[name], len(judged.answers[name].rows)
        tokens = known["taught"]["0"]["tokens"] * queries
        part = f"{TITLES[name]} takes {_duration(known['asking'] / asked * queries)} here"
        if tokens and name != "lora":
            part += f" or {tokens / 1e6:,.2f} million tokens of a hosted model"
            part += f" ({tokens / 1e6 * price:,.2f} at {price:g} a million)"
        parts.append(part)
    return f"For {queries:,.0f} questions a day, {'; '.join(parts)}."


def _duration(seconds: float) -> str:
    if seconds < 1.5:
        return "about a second or less"
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:,.0f} minutes" if seconds < 7200 else f"{seconds / 3600:,.1f} hours"


def _told(way: str, other: str, found: Lead) -> str:
    ahead = TITLES[way][0].upper() + TITLES[way][1:]
    mean, low, high = map(_more_of_100, found.gap)
    return (
        f"{ahead} against {TITLES[other]}: of 100 questions {mean} right (from {low} to {high}), "
        f"measured on {found.questions}."
    )


def _more_of_100(gap: float) -> str:
    number = round(100 * gap)
    return f"{abs(number)} fewer" if number < 0 else f"{number} more"


def _percent(share: Interval) -> str:
    mean, low, high = (f"{100 * bound:.0f}" for bound in share)
    return f"{mean} % ({low} to {high} %)"


def _caution(judged: Judged, way: str) -> str:
    asked = len(judged.answers[way].rows)
    return (
        f"All this is about this model and {asked} questions of this file; the best of "
        f"{len(WAYS)} ways is a little flattered, because luck helped to make it the best."
    )

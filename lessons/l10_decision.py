"""Lesson 10: the rule of a verdict, what would decide, the choice of a way, looking too often."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from html import escape

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from helpers import checks, claims
from helpers.compare import Interval, interval, paired, right, stored
from helpers.widgets import Panel, explorer
from lessons.verdict import CONTRADICTED, SUPPORTED, UNDECIDED, WIDTH, Part

MARGIN = 0.1  # a smaller lead in right answers matters to nobody here
OUTCOMES = {SUPPORTED: 1, UNDECIDED: 0, CONTRADICTED: -1}
CALIBRATED, NEAREST = "in-context, calibrated", "in-context, nearest"

Leads = Mapping[tuple[str, str], Interval]


# Real numbers to decide


@cache
def _gaps() -> dict[tuple[str, str], tuple[str, Part, np.ndarray]]:
    """By claim and task: what is measured, what it must reach, and the numbers [draws, items]."""
    at_128, gain, growth = (
        "fine-tuned on 128 examples minus untaught",
        "fine-tuned on 128 minus on 32",
        "lead of the weights: at 128 minus at 8",
    )
    margin, tickets, verbs = Part("difference", MARGIN), stored("support_tickets"), stored("verbs")
    taught = right(tickets, way="lora", shots=128)
    untaught = paired(tickets, "lora", "zero-shot", shots=128)
    style = Part("at most", 0.25)
    return {
        ("F2", "messages"): (at_128, margin, untaught),
        ("F4", "messages"): ("right after fine-tuning", Part("threshold", 0.8), taught),
        ("F7", "messages"): (gain, margin, _more(tickets)),
        ("F7", "past tenses"): (gain, margin, _more(verbs)),
        ("K2", "messages"): (growth, margin, _grown(tickets, CALIBRATED)),
        ("K2", "past tenses"): (growth, margin, _grown(verbs, "in-context")),
        ("C2", "doctors' letters"): ("what training adds to the style", style, _style_gained()),
    }


def _more(rows: pd.DataFrame) -> np.ndarray:
    many, few = (right(rows, way="lora", shots=n).astype(float) for n in (128, 32))
    return many - few


def _grown(rows: pd.DataFrame, prompt: str) -> np.ndarray:
    return paired(rows, "lora", prompt, shots=128) - paired(rows, "lora", prompt, shots=8)


def _style_gained() -> np.ndarray:
    """Letters in the doctor's style after training minus before it, both shown demonstrations."""
    shown = {"measure": "style", "prompt": "demonstrations"}
    trained, untaught = (
        right(stored("clinic"), way=way, **shown).astype(float)
        for way in ("many styles, shown", "untaught")
    )
    return trained - untaught


def contrasts(draws: int = 10) -> list[tuple[str, Interval, float, float, bool]]:
    """What is measured, its number from some draws, the bound, the edge, whether "at most" it."""
    text = dict(claims.claims()[["id", "claim"]].to_numpy())
    return [
        (
            f"{claim} {text[claim]}\n  {task}: {what}",
            interval(gap[:draws]),
            part.bound,
            part.null,
            part.kind == "at most",
        )
        for (claim, task), (what, part, gap) in _gaps().items()
    ]


@cache
def _cases() -> list[tuple[Interval, float, float, bool, int]]:
    """Numbers with what they are held against: of all draws, of one, and turned to "at most"."""
    cases = [(*row[1:], draws) for draws in (10, 3, 1) for row in contrasts(draws)]
    turned = [(number, 0.1, 0.1, True, draws) for number, *_, draws in cases]
    return [*cases, *turned]


def _part(bound: float, edge: float, at_most: bool) -> Part:
    kind = "at most" if at_most else "difference" if edge == 0 else "threshold"
    return Part(kind, bound)


# Build 1: the verdict of one number


def verdict(number: Interval, bound: float, edge: float, at_most: bool = False) -> str:
    """Whether a number is at least (or at most) a bound: supported, contradicted or undecided."""
    if at_most:
        return verdict(-number, -bound, -edge)
    supported = number.mean >= bound and number.low > edge
    contradicted = number.high < bound
    return SUPPORTED if supported else CONTRADICTED if contradicted else UNDECIDED


def _misjudged(
    number: Interval,
    bound: float,
    edge: float,
    at_most: bool = False,
    *,
    yes: Callable = lambda n, bound, edge: n.mean >= bound and n.low > edge,
    no: Callable = lambda n, bound, edge: n.high < bound,
    turned: Callable = lambda *all_three: tuple(-each for each in all_three),
) -> str:
    """A verdict with a part of its rule replaced."""
    if at_most:
        number, bound, edge = turned(number, bound, edge)
    supported, contradicted = yes(number, bound, edge), no(number, bound, edge)
    return SUPPORTED if supported else CONTRADICTED if contradicted else UNDECIDED


VERDICT = checks.Build(
    own=verdict,
    trial=lambda piece, _: [OUTCOMES.get(piece(*case[:4]), 9) for case in _cases()],
    truth=lambda _: [OUTCOMES[_part(*case[1:4]).outcome(case[0])] for case in _cases()],
    praise="your verdicts on 42 numbers, from one draw to ten, are those of the course's own rule.",
    mistakes={
        "a wide interval is no pass: all of it has to lie above the edge.": partial(
            _misjudged, yes=lambda n, bound, edge: n.mean >= bound
        ),
        "the mean alone decides nothing; ask where the ends of the interval lie.": partial(
            _misjudged,
            yes=lambda n, bound, edge: n.mean >= bound,
            no=lambda n, bound, edge: n.mean < bound,
        ),
        "that reads undecided as contradicted: all of the interval must lie below the bound.": (
            partial(_misjudged, no=lambda n, bound, edge: True)
        ),
        '"at most" is turned the wrong way: number, bound and edge each get a minus.': partial(
            _misjudged, turned=lambda n, bound, edge: (n, bound, edge)
        ),
        'for "at most" the bound and the edge turn over as well as the number.': partial(
            _misjudged, turned=lambda n, bound, edge: (-n, bound, edge)
        ),
        "that asks too much: the mean has to reach the bound, the lower end only the edge.": (
            partial(_misjudged, yes=lambda n, bound, edge: n.low > bound)
        ),
    },
)


# Build 2: how many draws would decide


def draws_needed(number: Interval, draws: int, bound: float, edge: float) -> float:
    """With how many draws an interval about the same mean would decide."""
    missed = edge if number.mean >= bound else bound
    gap = abs(number.mean - missed)
    half = (number.high - number.low) / 2
    return math.ceil(draws * (half / gap) ** 2) if gap else math.inf


def _miscounted(
    number: Interval,
    draws: int,
    bound: float,
    edge: float,
    *,
    more: Callable[[float], float] = lambda ratio: ratio**2,
    wrong_edge: bool = False,
    never: float = math.inf,
) -> float:
    """Draws needed, with a part of the reckoning replaced; `more` is how many times as many."""
    reaches = (number.mean >= bound) != wrong_edge
    gap = abs(number.mean - (edge if reaches else bound))
    half = (number.high - number.low) / 2
    return math.ceil(draws * more(half / gap)) if gap else never


def _open_cases() -> list[tuple[Interval, int, float, float]]:
    """The numbers of which something is at least claimed, and one whose mean lies on its edge."""
    cases = [(n, draws, bound, edge) for n, bound, edge, most, draws in _cases() if not most]
    number, draws, *_ = cases[0]
    return [*cases, (number, draws, number.mean, number.mean)]


DRAWS = checks.Build(
    own=draws_needed,
    trial=lambda piece, _: [piece(*case) for case in _open_cases()],
    truth=lambda _: [
        _part(bound, edge, False).draws_needed(number, draws)
        for number, draws, bound, edge in _open_cases()
    ],
    praise="so many draws does the course's own rule ask for, too.",
    mistakes={
        "an interval shrinks with the square root of the draws: square the ratio.": partial(
            _miscounted, more=lambda ratio: ratio
        ),
        "that is the gap to the wrong edge: one that reaches the bound still has to leave the "
        "edge behind.": partial(_miscounted, wrong_edge=True),
        "on the edge no number of draws decides: that is math.inf, not zero.": partial(
            _miscounted, never=0.0
        ),
        "the interval reaches from the mean to one end only: take half of its width.": partial(
            _miscounted, more=lambda ratio: (2 * ratio) ** 2
        ),
    },
)


# Build 3: which way


def choose(ways: Sequence[str], leads: Leads, margin: float = MARGIN) -> str | None:
    """The cheapest way that no other is surely ahead of, nor perhaps by the margin; or None."""
    for way in ways:
        rivals = [leads[other, way] for other in ways if other != way]
        surely = max(lead.low for lead in rivals)
        perhaps = max(lead.high for lead in rivals)
        if surely <= 0 and perhaps < margin:
            return way
    return None


@cache
def comparisons() -> list[tuple[tuple[str, ...], Leads]]:
    """Ways, the cheapest first, with their leads: in all draws, in one, and as if asked more."""
    tickets, verbs = stored("support_tickets"), stored("verbs")
    found = []
    for rows, ways in (
        (tickets, ("TF-IDF", CALIBRATED, "lora")),
        (verbs, ("in-context", NEAREST, "lora")),
    ):
        for shots in (8, 32, 128):
            for draws in (10, 1):
                pairs = [(a, b) for a in ways for b in ways if a < b]
                gaps = {pair: paired(rows, *pair, shots=shots)[:draws] for pair in pairs}
                leads = {pair: interval(gap) for pair, gap in gaps.items()}
                found += [(ways, _both_ways(leads, narrower)) for narrower in (0.3, 1, 20)]
    close = Interval(0.05, 0.01, 0.09)  # surely ahead, surely by less than the margin
    for a, b, c in (found[0][0], found[-1][0]):
        far = dict.fromkeys(((a, c), (b, c)), Interval(0.3, 0.2, 0.4))
        found.append(((a, b, c), _both_ways({(b, a): close} | far, 1)))
    return found


def _both_ways(leads: Leads, narrower: float) -> dict[tuple[str, str], Interval]:
    """Each lead and its reverse, with intervals so many times narrower."""
    near = {
        pair: Interval(mean, *(mean + (end - mean) / narrower for end in ends))
        for pair, (mean, *ends) in leads.items()
    }
    return near | {(b, a): -lead for (a, b), lead in near.items()}


def _chosen(piece: Callable, _: object) -> list[int]:
    said = [(ways, piece(ways, leads)) for ways, leads in comparisons()]
    return [ways.index(way) if way in ways else -1 for ways, way in said]


def _advised(_: object) -> list[int]:
    """The same from whole tables of lower and upper ends, a row for each way and its rivals."""
    places = []
    for ways, leads in comparisons():
        low, high = (
            np.array([[leads[b, a][end] if a != b else -1.0 for b in ways] for a in ways])
            for end in (1, 2)
        )
        fine = (low <= 0).all(1) & (high < MARGIN).all(1)
        places.append(int(fine.argmax()) if fine.any() else -1)
    return places


def _mischosen(
    ways: Sequence[str], leads: Leads, margin: float = MARGIN, *, fine: Callable
) -> str | None:
    """The first way whose rivals' leads are fine by a faulty rule."""
    for way in ways:
        if fine([leads[other, way] for other in ways if other != way], margin):
            return way
    return None


def _right_rule(rivals: Sequence[Interval], margin: float) -> bool:
    return max(lead.low for lead in rivals) <= 0 and max(lead.high for lead in rivals) < margin


def _best_where_open(ways: Sequence[str], leads: Leads, margin: float = MARGIN) -> str:
    on_average = partial(_mischosen, fine=lambda rivals, m: max(lead.mean for lead in rivals) <= 0)
    return choose(ways, leads, margin) or on_average(ways, leads)


CHOICE = checks.Build(
    own=choose,
    trial=_chosen,
    truth=_advised,
    praise="the course's comparison of your own data chooses by the same rule.",
    mistakes={
        "the highest mean alone chooses nothing: a rival may still be better.": partial(
            _mischosen, fine=lambda rivals, m: max(lead.mean for lead in rivals) <= 0
        ),
        "not surely behind is not enough: a wide interval would pass. No rival may be ahead by "
        "the margin either.": partial(
            _mischosen, fine=lambda rivals, m: max(lead.low for lead in rivals) <= 0
        ),
        "a rival that is surely ahead by less than the margin is ahead all the same.": partial(
            _mischosen, fine=lambda rivals, m: max(lead.high for lead in rivals) < m
        ),
        "that waits for a way that surely beats all; a cheaper one that is as good will do.": (
            partial(_mischosen, fine=lambda rivals, m: max(lead.high for lead in rivals) < 0)
        ),
        "ask every rival, not only one of them: take the largest lead.": partial(
            _mischosen,
            fine=lambda rivals, m: (
                min(lead.low for lead in rivals) <= 0 and min(lead.high for lead in rivals) < m
            ),
        ),
        "where no way is fine, it is undecided: return None, not the best so far.": (
            _best_where_open
        ),
    },
)


def verdict_explorer() -> Panel:
    """Move a number and its interval; see the verdict, and what would decide."""

    def show(more_right_of_100: int, plus_or_minus: int) -> str:
        mean, half = more_right_of_100 / 100, plus_or_minus / 100
        number, part = Interval(mean, mean - half, mean + half), Part("difference", MARGIN)
        outcome = part.outcome(number)
        needed = part.draws_needed(number, 10) if outcome == UNDECIDED else 0
        more = f" It would take {needed:,.0f} draws, not 10." if needed else ""
        return f"<p>{number:+.2f}, at least {MARGIN:g}: <b>{escape(outcome)}</b>.{more}</p>"

    return explorer(
        show,
        "An explorer of verdicts on ten draws, in a live notebook.",
        more_right_of_100=(7, range(-10, 31)),
        plus_or_minus=(12, range(1, 31)),
    )


KINDS = {"lora": "weights", "prompt": "prompt", "zero-shot": "prompt"}  # the others: baseline


def by_kind(shares: Mapping[str, Interval], titles: Mapping[str, str]) -> dict[str, dict]:
    """What each way got right, for a figure in the course's colours: a line for each kind."""
    nothing = Interval(*[math.nan] * 3)
    return {
        kind: {
            titles[way]: share if KINDS.get(way, "baseline") == kind else nothing
            for way, share in shares.items()
        }
        for kind in ("baseline", "prompt", "weights")
    }


# Exercises


def check_questions(lead: Interval, questions: int, margin: float, answer: float) -> None:
    """Check how many questions would show a true lead of the learner's own margin."""
    if margin is None or answer is None:
        return checks.tell(False, None, "")
    half = (lead.high - lead.low) / 2
    truth = math.ceil(questions * (half / margin) ** 2)
    return checks.judge(
        answer,
        truth,
        f"with about {truth:,} questions a lead of {margin:g} would leave 0 out.",
        "{answer:,.0f} questions would not do, or are more than it takes.",
        {
            "the interval shrinks with the square root: square the ratio.": questions
            * half
            / margin,
            "take half of the width: from the mean to one end.": 4 * truth,
            "turn the ratio over: a smaller margin takes more questions.": questions
            * (margin / half) ** 2,
        },
        within=1.0,
        relative=0.02,
    )


LOOKS = np.arange(20, 201, 20)  # after so many questions somebody looks
FALSE, ASKED = 0.05, 100  # false alarms allowed, and the line to beat: 200 questions without looks


def looks(rule: Callable[[Interval, int], bool], times: int = 500, seed: int = 0) -> list[float]:
    """The share of false alarms where no way leads, and the questions asked where one does.

    Questions are drawn from real ones: word counts minus the calibrated prompt, 128 messages
    taught. Where no way leads, which of the two was right is left to a coin.
    """
    rng = np.random.default_rng(seed)
    pool = paired(stored("support_tickets"), "TF-IDF", CALIBRATED, shots=128).ravel()
    ahead, fair = rng.choice(pool, (2, times, LOOKS[-1]))
    fair = fair * rng.choice([-1, 1], fair.shape)
    alarms = [at is not None for at in _stops(fair, rule)]
    asked = [LOOKS[-1] if at is None else at for at in _stops(ahead, rule)]
    return [float(np.mean(alarms)), float(np.mean(asked))]


def _stops(gaps: np.ndarray, rule: Callable) -> Iterator[int | None]:
    """After how many questions a rule stops, in each row; None where it never does."""
    means, squares = (numbers.cumsum(1)[:, LOOKS - 1] / LOOKS for numbers in (gaps, gaps**2))
    halves = WIDTH / 2 * np.sqrt((squares - means**2) / (LOOKS - 1))
    for row in zip(means, halves, strict=True):
        seen = zip(*row, LOOKS.tolist(), strict=True)
        yield next((n for m, h, n in seen if rule(Interval(m, m - h, m + h), n)), None)


def check_stopping(rule: Callable[[Interval, int], bool] | None) -> None:
    """Check that a stopping rule rarely cries wolf and still asks less than all questions."""
    try:
        if rule is None or rule(Interval(0.5, 0.4, 0.6), 100) is None:
            return checks.tell(False, None, "")
        alarms, asked = looks(rule, 2000, seed=1)
    except Exception as error:  # whatever a learner's rule does, the lesson goes on
        return checks.tell(True, f"it stops with {type(error).__name__}: {error}.", "")
    told = f"{alarms:.1%} false alarms, {asked:.0f} questions on average"
    problem = None
    if alarms > FALSE:
        problem = f"{told}: at most {FALSE:.0%} may be false. Ask for more certainty at each look."
    elif asked >= ASKED:
        problem = f"{told}: fewer than {ASKED} will do. Stop earlier where the lead is large."
    return checks.tell(True, problem, f"{told}; without looking it takes 200.")


# The scoreboard


def board_table(board: pd.DataFrame, caption: str = "") -> Styler:
    """The rows of `board` as a table to read, with a link to each lesson."""
    table = pd.DataFrame(
        {
            "claim": [f"<b>{row.claim}</b> {escape(row.text)}" for row in board.itertuples()],
            "verdict": [f"{claims.MARKS.get(v, '')} {escape(v)}" for v in board["verdict"]],
            "why": board["why"].map(escape),
            "lesson": [" ".join(map(_link, lessons)) for lessons in board["lessons"]],
            "you predicted": [_guess(row.predicted, row.hit) for row in board.itertuples()],
        }
    )
    style = table.style.hide(axis="index").set_caption(caption).set_uuid("board")
    return style.set_properties(**{"text-align": "left", "vertical-align": "top"})


def _link(lesson: str) -> str:
    return f'<a href="{escape(lesson)}.ipynb">{escape(claims.lesson_number(lesson))}</a>'


def _guess(predicted: str, hit: bool) -> str:
    return f"{escape(predicted)}: {'right' if hit else 'wrong'}" if predicted else "–"

"""Lesson 10: the rule of a verdict, what would decide, the choice of a way, looking too often."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from html import escape
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from helpers import checks, claims, plots
from helpers.claims import CONTRADICTED, SUPPORTED, UNDECIDED
from helpers.compare import Interval, interval, paired, read, right, stored
from helpers.data import DATA
from helpers.widgets import Panel, explorer
from lessons import first_looks
from lessons.verdict import WIDTH, Part

MARGIN = 0.1  # a smaller lead in right answers matters to nobody here
OUTCOMES = {SUPPORTED: 1, UNDECIDED: 0, CONTRADICTED: -1}
CALIBRATED, NEAREST = "in-context, calibrated", "in-context, nearest"

Leads = Mapping[tuple[str, str], Interval]


# Real numbers to decide


@cache
def _gaps() -> dict[tuple[str, str], tuple[str, Part, np.ndarray]]:
    """By claim and task: what is measured, what it must reach, and the numbers [draws, items].

    Contrasts and bounds are those of `data/claims.csv`, at as many examples as either way has.
    """
    taught_128, gain = "fine-tuned on 128 examples minus untaught", "fine-tuned on 256 minus on 32"
    growth = "lead of the weights: at {} minus at 8"
    margin, tickets, verbs = Part("difference", MARGIN), stored("support_tickets"), stored("verbs")
    taught = right(tickets, way="lora", shots=256)
    untaught = paired(tickets, "lora", "zero-shot", shots=128)
    style = Part("at most", 0.25)
    return {
        ("F2", "messages"): (taught_128, margin, untaught),
        ("F4", "messages"): ("right after fine-tuning on 256", Part("threshold", 0.8), taught),
        ("F7", "messages"): (gain, margin, _more(tickets)),
        ("F7", "past tenses"): (gain, margin, _more(verbs)),
        ("K2", "messages"): (growth.format(128), margin, _grown(tickets, CALIBRATED, 128)),
        ("K2", "past tenses"): (growth.format(256), margin, _grown(verbs, "in-context", 256)),
        ("C2", "doctors' letters"): ("what training adds to the style", style, _style_gained()),
    }


def _more(rows: pd.DataFrame) -> np.ndarray:
    many, few = (right(rows, way="lora", shots=n).astype(float) for n in (256, 32))
    return many - few


def _grown(rows: pd.DataFrame, prompt: str, most: int) -> np.ndarray:
    return paired(rows, "lora", prompt, shots=most) - paired(rows, "lora", prompt, shots=8)


def _style_gained() -> np.ndarray:
    """Letters in the doctor's style after training minus before it, both shown demonstrations."""
    shown = {"measure": "style", "prompt": "demonstrations"}
    trained, untaught = (
        right(stored("clinic"), way=way, **shown).astype(float)
        for way in ("many styles, shown", "untaught")
    )
    return trained - untaught


class Contrast(NamedTuple):
    """A measured number of a claim, and what it must reach: `bound` and `edge`, or "at most" it."""

    claim: str
    task: str
    what: str
    number: Interval
    bound: float
    edge: float
    at_most: bool

    @property
    def asked(self) -> tuple[Interval, float, float, bool]:
        """What a rule needs to judge it."""
        return self.number, self.bound, self.edge, self.at_most

    def told(self, said: str) -> str:
        """The claim, and below it the number, what it must reach, and what is said of it."""
        text = dict(claims.claims()[["id", "claim"]].to_numpy())[self.claim]
        goal = f"at {'most' if self.at_most else 'least'} {self.bound:g}"
        number = f"{self.task}: {self.what} {self.number:+.3f}, {goal}"
        return f"{self.claim} {text}\n  {number}: {said}"


def contrasts(draws: int = 10) -> list[Contrast]:
    """The numbers of some claims from so many draws."""
    return [
        Contrast(
            *(*place, what, interval(gap[:draws]), part.bound, part.null, part.kind == "at most")
        )
        for place, (what, part, gap) in _gaps().items()
    ]


@cache
def _cases() -> list[tuple[Interval, float, float, bool, int]]:
    """Numbers with what they are held against: of all draws, of one, and turned to "at most"."""
    cases = [(*row.asked, draws) for draws in (10, 3, 1) for row in contrasts(draws)]
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
    praise="your verdicts, from one draw to ten, are those of the course's own rule.",
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


# Build 2: how many draws or questions would decide


def count_needed(number: Interval, counted: int, bound: float, edge: float) -> float:
    """With how many draws (or questions) an interval about the same mean would decide."""
    barrier = edge if number.mean >= bound else bound
    gap = abs(number.mean - barrier)
    half = (number.high - number.low) / 2
    return math.ceil(counted * (half / gap) ** 2) if gap else math.inf


def _miscounted(
    number: Interval,
    counted: int,
    bound: float,
    edge: float,
    *,
    more: Callable[[float], float] = lambda ratio: ratio**2,
    wrong_edge: bool = False,
    never: float = math.inf,
) -> float:
    """`count_needed` with a part replaced; `more` gives how many times as many."""
    reaches = (number.mean >= bound) != wrong_edge
    gap = abs(number.mean - (edge if reaches else bound))
    half = (number.high - number.low) / 2
    return math.ceil(counted * more(half / gap)) if gap else never


def _open_cases() -> list[tuple[Interval, int, float, float]]:
    """The numbers of which something is at least claimed, and one whose mean lies on its edge."""
    cases = [(n, draws, bound, edge) for n, bound, edge, most, draws in _cases() if not most]
    number, draws, *_ = cases[0]
    return [*cases, (number, draws, number.mean, number.mean)]


DRAWS = checks.Build(
    own=count_needed,
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
        "that is the gap to the wrong barrier: a mean that reaches the bound still has to leave "
        "the edge behind.": partial(_miscounted, wrong_edge=True),
        "on the barrier no number of draws decides: that is math.inf, not zero.": partial(
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


# The comparison on a file

LONGER = DATA / "results" / "own_example"  # by the command; minutes instead of half a minute
WAY_COLOURS = {"lora": plots.WEIGHTS, "prompt": plots.PROMPT, "zero-shot": plots.PROMPT}


def longer(titles: Mapping[str, str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Of each way in the stored comparison which rows were asked, and which of these were right.

    `titles` are what the columns of `answers.csv` are headed by.
    """
    rows, found = read(LONGER / "answers.csv"), {}
    for way, title in titles.items():
        said = rows[title] if title in rows else pd.Series("", rows.index)
        asked = (said != "").to_numpy()
        if asked.any():
            found[way] = rows["row"].to_numpy()[asked], (said == rows["label"]).to_numpy()[asked]
    return found


def most_said(title: str) -> str:
    """How often a way gave its most frequent label in the stored comparison."""
    said = read(LONGER / "answers.csv")[title]
    counts = said[said != ""].value_counts()
    return f"{title}: {counts.index[0]} is {counts.iloc[0]} of {counts.sum()} answers."


def contest(
    panels: Mapping[str, Mapping[str, tuple[Interval, int]]],
    titles: Mapping[str, str],
    title: str,
    sentence: str,
) -> None:
    """What each way got right, a panel for each comparison: `panels[panel][way]` is its share and
    how many questions it was asked. A way has one colour: prompt, weights, or neither."""
    names = [way for way in titles if any(way in shares for shares in panels.values())]
    with plt.rc_context(plots.STYLE):
        figure, axes = plots.side_by_side(len(panels), 4.4, 3.4, sharey=True, sharex=True)
        for axis, (name, shares) in zip(axes, panels.items(), strict=True):
            for way, (share, asked) in shares.items():
                mean, low, high = share
                place, colour = names[::-1].index(way), WAY_COLOURS.get(way, plots.GREY)
                reach = [[mean - low], [high - mean]]
                axis.errorbar(mean, place, xerr=reach, fmt="o", color=colour, capsize=3)
                axis.text(1.04, place, f"{asked}", va="center", fontsize=9)
            axis.text(1.0, len(names) - 0.55, "asked", fontsize=9)
            axis.set_title(name, fontsize=10)
            axis.set_yticks(range(len(names))[::-1], [titles[way] for way in names])
            axis.set_xlim(-0.03, 1.15)
            axis.set_ylim(-0.5, len(names))
            axis.set_xticks([0, 0.5, 1])
            axis.set_xlabel("share of right answers")
        plots.headline(figure, title)
    plots.show(figure, sentence)


# Exercises


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

# What a claim turns on, as the course reads its lessons' numbers.
RUN, MANY, HOLD, SKILL, COUNTS = (
    "how you run it",
    "how many examples there are",
    "what the examples hold",
    "whether the model has the skill",
    "what you count as success",
)
TURNS = {
    RUN: "F6 F8 K3 K4 U2",
    MANY: "F7 I7 K6",
    HOLD: "C1 C2 I8",
    SKILL: "I2 I5 K2",
    COUNTS: "F4 I6 K5 U1",
}
ALWAYS, MEASURED = "nothing: true by construction", "nothing, as far as measured"


# How a claim stands, and so what a prediction is held against.
BUILT, FAIR, LOOK, OPEN = (
    "true by construction: supported is right",
    "decided by the course's rule",
    "decided by your rule, as a first look",
    "undecided: nothing to be right about yet",
)


def with_first_looks(board: pd.DataFrame, rule: Callable) -> pd.DataFrame:
    """The board with what a rule like the learner's `verdict` says where the course's cannot yet.

    `look` is what it says of all first looks at a claim together, `levels` of each, `stands` how
    the claim stands, and `hit` whether the prediction is right by what is known so far.
    """
    looked = look_at(rule)
    board = board.assign(
        look=[looked.get(claim, ("", ""))[0] for claim in board["claim"]],
        levels=[looked.get(claim, ("", ""))[1] for claim in board["claim"]],
    )
    first = (board["verdict"] == claims.UNMEASURED) & board["look"].isin(claims.CHOICES)
    fair, built = board["verdict"].isin(claims.CHOICES), board["verdict"] == claims.BUILT_IN
    stands = np.select([built, fair, first], [BUILT, FAIR, LOOK], OPEN)
    told = (board["predicted"] != "") & (board["predicted"] == board["look"])
    return board.assign(stands=stands, hit=board["hit"].mask(first, told).astype(bool))


def look_at(rule: Callable) -> dict[str, tuple[str, str]]:
    """By claim what a rule says of its first looks, together and of each level with its number."""
    looked = [(case.claim, case.task, case.number, rule(*case.asked)) for case in contrasts()]
    for look in first_looks.looks():
        part = look.part
        outcome = rule(look.number, part.bound, part.null, part.kind == "at most")
        looked.append((look.claim, look.level, look.number, outcome))
    said = {}
    for claim, level, number, outcome in looked:
        told = f"{level} {number.mean:{_form(number)}}"
        said.setdefault(claim, []).append((outcome, number, told))
    found = {claim: first_looks.together([one[:2] for one in rows]) for claim, rows in said.items()}
    levels = {
        claim: "; ".join(
            f"{name} ({', '.join(level for outcome, _, level in rows if outcome == name)})"
            for name in dict.fromkeys(outcome for outcome, *_ in rows)
        )
        for claim, rows in said.items()
    }
    for claim, outcome in first_looks.joint(found).items():
        found[claim] = outcome
        levels[claim] = f"{outcome} ({', '.join(first_looks.JOINT[claim])} together)"
    return {claim: (found[claim], levels[claim]) for claim in found}


def _form(number: Interval) -> str:
    """How a number is written: what is large needs no digits after the point."""
    return ",.0f" if abs(number.mean) >= 10 else ".2f"


def _told(row: NamedTuple) -> str:
    """A first look with its mark, and where its levels differ with what they come to."""
    if not row.look:
        return ""
    alone = row.levels.startswith(f"{row.look} (") and ";" not in row.levels
    return f"{claims.MARKS[row.look]} {'' if alone else f'{row.look}: '}{row.levels}"


def score(board: pd.DataFrame) -> pd.DataFrame:
    """How many claims stand how, how many of these were predicted, and how many rightly."""
    lines = [
        {
            "": name,
            "claims": len(rows),
            "predicted": (rows["predicted"] != "").sum(),
            "right": rows["hit"].sum() if name != OPEN else "-",
        }
        for name in (BUILT, FAIR, LOOK, OPEN)
        for rows in [board[board["stands"] == name]]
    ]
    return pd.DataFrame(lines).set_index("")


def scored(board: pd.DataFrame) -> str:
    """The score in a sentence."""
    judged = board[board["stands"] != OPEN]
    said = judged[judged["predicted"] != ""]
    return (
        f"{len(judged)} of {len(board)} claims can be judged. You predicted {len(said)} of them, "
        f"{said['hit'].sum()} rightly."
    )


def depends(board: pd.DataFrame) -> pd.Series:
    """What each claim of the board turns on, in words; nothing, where a verdict is flat."""
    reading = {claim: turn for turn, names in TURNS.items() for claim in names.split()}
    flat = board["verdict"].isin([SUPPORTED, CONTRADICTED])
    known = board["claim"].map(lambda claim: reading.get(claim, MEASURED)).mask(flat, MEASURED)
    return known.mask(board["verdict"] == claims.BUILT_IN, ALWAYS)


class BoardTable:
    """The board as a table with links, and as plain lines where no page is shown."""

    def __init__(self, style: Styler, lines: Sequence[str]):
        self.style, self.lines = style, lines

    def to_html(self) -> str:
        return self.style.to_html()

    _repr_html_ = to_html

    def __repr__(self) -> str:
        return "\n".join(self.lines)


def board_table(board: pd.DataFrame) -> BoardTable:
    """The board to read, by what the claims turn on, with a link to each lesson.

    It is the board that `with_first_looks` gives.
    """
    board = board.assign(depends=depends(board))
    order = [RUN, MANY, HOLD, SKILL, COUNTS, MEASURED, ALWAYS]
    board = board.sort_values("depends", key=lambda names: names.map(order.index), kind="stable")
    plain = pd.DataFrame(
        {
            "turns on (our reading)": board["depends"],
            "claim": board["claim"] + " " + board["text"],
            "by the course's rule": board["verdict"].map(claims.MARKS) + " " + board["rule"],
            "by your rule, a first look": [_told(row) for row in board.itertuples()],
            "the lessons add": board["why"],
            "you predicted": [_guess(row) for row in board.itertuples()],
        }
    )
    page = plain.map(escape)
    first = page.columns[0]
    page[first] = page[first].mask(page[first].duplicated(), "")
    links = [" ".join(map(_link, lessons)) for lessons in board["lessons"]]
    page.insert(5, "lesson", links)
    style = page.style.hide(axis="index").set_uuid("board")
    style = style.set_properties(**{"text-align": "left", "vertical-align": "top"})
    return BoardTable(style, [" | ".join(filter(None, row)) for row in plain.to_numpy()])


def _link(lesson: str) -> str:
    return f'<a href="{escape(lesson)}.ipynb">{escape(claims.lesson_number(lesson))}</a>'


def _guess(row: NamedTuple) -> str:
    """What was predicted, and whether rightly by what is known so far."""
    if not row.predicted:
        return "–"
    said = "open" if row.stands == OPEN else "right" if row.hit else "wrong"
    return f"{row.predicted}: {said}{' by the first look' * (row.stands == LOOK)}"

"""How a claim is decided: by a rule that stood before its measurement, and by nothing else.

`data/claims.csv` holds the rule of each claim: what is contrasted, the levels named beforehand, and
in `parts` what each number must reach. A measured contrast is a row with

    claim, part             which claim, and which of its parts (0 is the first)
    level, readout, recipe  under what: a level named beforehand, plain or calibrated, the settings
    mean, low, high         the number with its 95 % interval
    draws                   how many draws it rests on

`decide` makes the 28 verdicts of these rows: see `docs/method.md`. A claim whose studies have not
all been carried out is not decided on a part of them.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd
from scipy.stats import norm

from helpers.claims import (
    BUILT_IN,
    CONTRADICTED,
    DEPENDS,
    SUPPORTED,
    UNDECIDED,
    UNMEASURED,
    WAITS,
    claims,
)
from helpers.compare import Interval
from helpers.data import DataError

UNDER = ["level", "readout", "recipe"]
RULE = "9d9a642"  # its commit; e333e1c corrected it before any result was held against it
COLUMNS = ["claim", "part", *UNDER, *Interval._fields, "draws"]
LEVEL = 0.05  # of the family of all measured claims together
WIDTH = 2 * norm.ppf(0.975)  # of a 95 % interval, in standard errors


class Part(NamedTuple):
    """What a number must reach: `kind` says how it is held against `bound`."""

    kind: str
    bound: float

    @property
    def null(self) -> float:
        """Above this the interval's lower end must lie; a ratio of 1 is no difference."""
        return {"difference": 0.0, "ratio": 1.0}.get(self.kind, self.bound)

    def outcome(self, number: Interval) -> str:
        """Supported, contradicted or undecided, by the number's interval alone."""
        if self.kind == "at most":  # the same, upside down
            return Part("threshold", -self.bound).outcome(-number)
        if number.mean >= self.bound and number.low > self.null:
            return SUPPORTED
        return CONTRADICTED if number.high < self.bound else UNDECIDED

    def chance(self, number: Interval, outcome: str) -> float:
        """The two-sided p of an outcome, from the interval's width taken as that of a normal."""
        if outcome == UNDECIDED:
            return 1.0
        edge = self.null if outcome == SUPPORTED else self.bound
        if self.kind == "ratio":  # a ratio is symmetrical in its logarithm
            number, edge = Interval(*map(math.log, number)), math.log(edge)
        spread = (number.high - number.low) / WIDTH
        distance = abs(number.mean - edge)
        return 2 * norm.sf(distance / spread) if spread else float(distance == 0)

    def draws_needed(self, number: Interval, draws: int) -> float:
        """Draws with which an interval about the same mean would decide; infinite on the edge."""
        if self.kind == "at most":
            return Part("threshold", -self.bound).draws_needed(-number, draws)
        reaches = number.mean >= self.bound
        edge = self.null if reaches else self.bound
        gap, half = abs(number.mean - edge), (number.high - number.low) / 2
        return math.ceil(draws * (half / gap) ** 2) if gap else math.inf


class Verdict(NamedTuple):
    """A claim's verdict, the number that it hangs on, and in words when it is true.

    `p` is that of the verdict before Holm's correction, from so many `draws`; `needed` is how many
    would decide what is undecided (0 where nothing is).
    """

    claim: str
    verdict: str
    number: Interval | None
    when: str = ""
    p: float = 1.0
    needed: float = 0.0
    draws: int = 0


def contrast(
    claim: str, level: str, readout: str, recipe: str, number: Interval, draws: int, part: int = 0
) -> dict[str, object]:
    """A measured contrast in the form that `decide` takes."""
    under = dict(zip(UNDER, (level, readout, recipe), strict=True))
    return {"claim": claim, "part": part} | under | number._asdict() | {"draws": draws}


def parts(text: str) -> list[Part]:
    """Read the column `parts`, such as "not behind -0.10; ratio 10"."""
    pairs = [part.rsplit(" ", 1) for part in text.split("; ")]
    return [Part(kind, float(bound)) for kind, bound in pairs]


def decide(
    contrasts: pd.DataFrame,
    rules: pd.DataFrame | None = None,
    lacking: Mapping[str, Sequence[str]] | None = None,
) -> list[Verdict]:
    """The verdict of every claim, in the order of the claims.

    `lacking` names the studies that a claim still waits for; until then it is not measured, but
    counts in Holm's correction. Raises `DataError` for another claim without a measured contrast,
    or with one for only some parts.
    """
    rules = (claims() if rules is None else rules).fillna("").set_index("id")
    single = rules[~rules["parts"].str.startswith("claims ")]
    verdicts = {claim: _waits(claim, names) for claim, names in (lacking or {}).items()}
    for claim, rule in single.drop(verdicts, errors="ignore").iterrows():
        rows = contrasts[contrasts["claim"] == claim]
        verdicts[claim] = _single(claim, rule.kind, rule.parts, rows)
    measured = single.index[single["kind"] != BUILT_IN]
    verdicts |= holm({claim: verdicts[claim] for claim in measured})
    for claim, rule in rules.drop(single.index).iterrows():
        verdicts[claim] = joint(claim, [verdicts[name] for name in rule.parts.split()[1:]])
    return [verdicts[claim] for claim in rules.index]


def _waits(claim: str, names: Sequence[str]) -> Verdict:
    return Verdict(claim, UNMEASURED, None, WAITS + " and ".join(names))


def _single(claim: str, kind: str, needs: str, rows: pd.DataFrame) -> Verdict:
    if rows.empty:
        raise DataError(f"Claim {claim} has no measured contrast: run its study first.")
    if kind == BUILT_IN:  # each number is a share of cases, and all of them must agree
        worst = rows.sort_values("mean").iloc[0]
        number = Interval(worst["mean"], worst["low"], worst["high"])
        return Verdict(claim, BUILT_IN if number.mean == 1 else CONTRADICTED, number, p=0.0)
    wanted = parts(needs)
    cells = []
    for under, group in rows.groupby(UNDER, sort=False):
        if sorted(group["part"]) != list(range(len(wanted))):
            raise DataError(f"Claim {claim} needs {len(wanted)} parts under {', '.join(under)}.")
        cells += [_cell(under, wanted, group.sort_values("part"))]
    return _from_cells(claim, cells)


class _Cell(NamedTuple):
    """What all parts together say under one level, readout and recipe, by the part that decides."""

    under: tuple[str, ...]
    outcome: str
    number: Interval
    p: float
    needed: float
    draws: int


def _cell(under: tuple[str, ...], wanted: Sequence[Part], rows: pd.DataFrame) -> _Cell:
    """A joint claim is supported when all parts are, and contradicted when one of them is."""
    by_part = []
    for part, row in zip(wanted, rows.itertuples(), strict=True):
        number = Interval(row.mean, row.low, row.high)
        outcome = part.outcome(number)
        needed = part.draws_needed(number, row.draws) if outcome == UNDECIDED else 0
        p = part.chance(number, outcome)
        by_part.append(_Cell(under, outcome, number, p, needed, row.draws))
    against = [cell for cell in by_part if cell.outcome == CONTRADICTED]
    if against:  # one is enough, so each part was another chance to find one (Bonferroni)
        surest = min(against, key=lambda cell: cell.p)
        return surest._replace(p=min(1.0, len(wanted) * surest.p))
    return max(by_part, key=lambda cell: (cell.p, cell.needed))


def _from_cells(claim: str, cells: Sequence[_Cell]) -> Verdict:
    """One outcome under everything is the verdict; two that surely differ make it depend."""
    yes, no = ([cell for cell in cells if cell.outcome == o] for o in (SUPPORTED, CONTRADICTED))
    for same in (yes, no):
        if len(same) == len(cells):
            last = max(same, key=lambda cell: cell.p)
            return Verdict(claim, last.outcome, last.number, p=last.p, draws=last.draws)
    pairs = [(s, c) for s in yes for c in no if differ(s.number, c.number)]
    if pairs:
        first = pairs[0][0]
        when = f"true when {_under(yes, cells)}, not when {_under(no, cells)}"
        p = max(min(s.p, c.p) for s, c in pairs)
        return Verdict(claim, DEPENDS, first.number, when, p, draws=first.draws)
    open_ = [cell for cell in cells if cell.outcome == UNDECIDED] or [*yes, *no]
    worst = max(open_, key=lambda cell: cell.needed)
    return Verdict(claim, UNDECIDED, worst.number, needed=worst.needed)


def differ(one: Interval, other: Interval) -> bool:
    """Whether the difference's interval excludes 0; paired numbers differ at least as surely."""
    half = math.hypot(one.high - one.low, other.high - other.low) / 2
    return abs(one.mean - other.mean) > half


def _under(cells: Sequence[_Cell], every: Sequence[_Cell]) -> str:
    """Under what, in words: a level alone where its readouts and recipes all say the same."""
    varied = [i for i in range(len(UNDER)) if len({cell.under[i] for cell in every}) > 1]
    said = []
    for cell in cells:
        alike = [[one for one in many if one.under[0] == cell.under[0]] for many in (cells, every)]
        whole = 0 in varied and len(alike[0]) == len(alike[1])
        said.append(" ".join(cell.under[i] for i in ([0] if whole else varied)))
    return " or ".join(dict.fromkeys(said)).replace("_", " ")


def holm(verdicts: dict[str, Verdict]) -> dict[str, Verdict]:
    """Undecide what Holm's step-down test (1979) over all measured claims does not keep.

    Such a claim needs as many draws as bring its p below its step, if the others' stay as they are.
    """
    kept, count = dict(verdicts), len(verdicts)
    refused = False
    for i, (name, verdict) in enumerate(sorted(verdicts.items(), key=lambda item: item[1].p)):
        step = LEVEL / (count - i)
        refused |= verdict.p > step
        if refused and verdict.verdict not in (UNDECIDED, UNMEASURED):
            when = "its interval decides, but not beside all other claims (Holm's correction)"
            more = max(1.0, norm.isf(step / 2) / norm.isf(verdict.p / 2))  # in standard errors
            needed = math.ceil(verdict.draws * more**2)
            kept[name] = verdict._replace(verdict=UNDECIDED, when=when, needed=needed)
    return kept


def joint(claim: str, of: Sequence[Verdict]) -> Verdict:
    """A claim that sums up others: what all of them say or, where they differ, which say it."""
    outcomes = {verdict.verdict for verdict in of}
    if UNMEASURED in outcomes:
        return _waits(claim, [v.claim for v in of if v.verdict == UNMEASURED])
    yes, no = ([v.claim for v in of if v.verdict == o] for o in (SUPPORTED, CONTRADICTED))
    if len(outcomes) == 1:
        return Verdict(claim, outcomes.pop(), None)
    if yes and no:
        when = f"true when {' or '.join(yes)}, not when {' or '.join(no)}"
        return Verdict(claim, DEPENDS, None, when)
    return Verdict(claim, UNDECIDED, None, needed=max(verdict.needed for verdict in of))

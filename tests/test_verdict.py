"""The rule that decides a claim: every outcome is reached, for every measured claim."""

import math

import pandas as pd
import pytest

from helpers.claims import claims
from helpers.compare import Interval
from helpers.data import DataError
from lessons import verdict
from lessons.verdict import CONTRADICTED, DEPENDS, SUPPORTED, UNDECIDED, Part, decide, parts

RULES = claims().fillna("").set_index("id")
MEASURED = RULES.index[RULES["kind"] == "measured"]
OF_THEIR_OWN = [claim for claim in MEASURED if not RULES.parts[claim].startswith("claims")]


def number(part: Part, outcome: str) -> Interval:
    """A synthetic number with the outcome, in the part's own unit."""
    unit = max(0.02, abs(part.bound) / 10)
    if part.kind == "at most":
        return -number(Part("threshold", -part.bound), outcome)
    if outcome == SUPPORTED:
        return Interval(part.bound + 3 * unit, part.bound + unit, part.bound + 5 * unit)
    if outcome == CONTRADICTED:
        return Interval(part.bound - 3 * unit, part.bound - 5 * unit, part.bound - unit)
    mean, low = part.bound + unit, part.null - unit
    return Interval(mean, low, 2 * mean - low)


def rows(claim: str, outcome: str, level="a", readout="plain", recipe="tuned") -> list[dict]:
    if RULES.kind[claim] == verdict.BUILT_IN:
        needs, numbers = [0], [Interval(1.0, 1.0, 1.0)]
    else:
        needs = parts(RULES.parts[claim])
        numbers = [number(part, outcome) for part in needs]
    under = {"claim": claim, "level": level, "readout": readout, "recipe": recipe, "draws": 10}
    return [under | {"part": i} | n._asdict() for i, n in enumerate(numbers)]


def everything(*claimed: dict, otherwise: str = SUPPORTED) -> pd.DataFrame:
    """A table of contrasts for all claims: those given, and the others with one outcome."""
    given = {row["claim"] for row in claimed}
    own = [claim for claim in RULES.index if claim not in {*given, "K6"}]
    return pd.DataFrame([*claimed, *[row for c in own for row in rows(c, otherwise)]])


def decided(*claimed: dict, otherwise: str = SUPPORTED) -> dict[str, verdict.Verdict]:
    return {v.claim: v for v in decide(everything(*claimed, otherwise=otherwise))}


def test_the_table_holds_a_rule_for_every_claim():
    assert len(RULES) == 28 and set(RULES["kind"]) == {"measured", verdict.BUILT_IN}
    assert (RULES["contrast"] != "").all()
    assert ((RULES["parts"] != "") == (RULES["kind"] == "measured")).all()
    kinds = {part.kind for claim in OF_THEIR_OWN for part in parts(RULES.parts[claim])}
    assert kinds == {"difference", "threshold", "ratio", "not behind", "at most"}
    for claim in OF_THEIR_OWN:  # what is read by the rule is what stands in the margin for people
        for part in parts(RULES.parts[claim]):
            number = f"{abs(part.bound):.2f}".lstrip("0") if abs(part.bound) < 1 else ""
            assert number in RULES.margin[claim]


@pytest.mark.parametrize("outcome", [SUPPORTED, CONTRADICTED, UNDECIDED])
@pytest.mark.parametrize("claim", OF_THEIR_OWN)
def test_every_measured_claim_can_have_every_outcome(claim, outcome):
    found = decided(*rows(claim, outcome))[claim]
    assert found.verdict == outcome and (found.needed > 10) == (outcome == UNDECIDED)


@pytest.mark.parametrize("axis", verdict.UNDER)
@pytest.mark.parametrize("claim", OF_THEIR_OWN)
def test_every_measured_claim_can_depend_on_what_it_is_measured_under(claim, axis):
    both = rows(claim, SUPPORTED, **{axis: "here"}) + rows(claim, CONTRADICTED, **{axis: "there"})
    found = decided(*both)[claim]
    assert (found.verdict, found.when) == (DEPENDS, "true when here, not when there")


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([SUPPORTED] * 4, SUPPORTED),
        ([CONTRADICTED] * 4, CONTRADICTED),
        ([SUPPORTED, CONTRADICTED, SUPPORTED, SUPPORTED], DEPENDS),
        ([SUPPORTED, UNDECIDED, SUPPORTED, SUPPORTED], UNDECIDED),
    ],
)
def test_the_claim_about_all_uses_sums_them_up(outcomes, expected):
    uses = ["U1", "U2", "U3", "U4"]
    given = [row for use, outcome in zip(uses, outcomes, strict=True) for row in rows(use, outcome)]
    assert decided(*given)["K6"].verdict == expected


def test_what_is_so_by_construction_must_be_seen_in_every_case():
    assert decided()["I1"].verdict == verdict.BUILT_IN
    once_not = [*rows("I1", ""), rows("I1", "", level="b")[0] | {"mean": 0.99}]
    assert decided(*once_not)["I1"].verdict == CONTRADICTED


@pytest.mark.parametrize(
    ("part", "number", "expected"),
    [
        ("difference 0.10", (0.10, 0.01, 0.19), SUPPORTED),
        ("difference 0.10", (0.09, 0.05, 0.13), UNDECIDED),  # surely above 0, not past the margin
        ("difference 0.10", (0.30, -0.01, 0.61), UNDECIDED),  # a wide interval is never a pass
        ("difference 0.10", (0.05, 0.01, 0.09), CONTRADICTED),
        ("threshold 0.80", (0.85, 0.79, 0.91), UNDECIDED),
        ("threshold 0.80", (0.85, 0.81, 0.89), SUPPORTED),
        ("not behind -0.10", (-0.05, -0.09, -0.01), SUPPORTED),
        ("not behind -0.10", (0.05, -0.11, 0.21), UNDECIDED),
        ("ratio 10", (12.0, 1.1, 130.0), SUPPORTED),
        ("ratio 10", (12.0, 0.9, 160.0), UNDECIDED),
        ("ratio 10", (7.0, 5.0, 9.9), CONTRADICTED),
        ("at most 0.25", (0.20, 0.15, 0.24), SUPPORTED),
        ("at most 0.25", (0.20, 0.10, 0.30), UNDECIDED),
        ("at most 0.25", (0.40, 0.30, 0.50), CONTRADICTED),
    ],
)
def test_a_number_is_held_against_its_margin(part, number, expected):
    (read,) = parts(part)
    assert read.outcome(Interval(*number)) == expected


def test_all_parts_must_be_reached_and_one_that_is_not_is_enough():
    good, bad = rows("I6", SUPPORTED), rows("I6", CONTRADICTED)
    wide = rows("I6", UNDECIDED)
    assert decided(good[0], bad[1])["I6"].verdict == CONTRADICTED
    assert decided(wide[0], bad[1])["I6"].verdict == CONTRADICTED
    assert decided(good[0], wide[1])["I6"].verdict == UNDECIDED
    p = [part.chance(number(part, CONTRADICTED), CONTRADICTED) for part in parts(RULES.parts["I6"])]
    assert p[0] != p[1] and decided(*bad)["I6"].p == pytest.approx(2 * min(p))


def test_the_number_that_needs_most_draws_says_how_many_are_needed():
    unsure = {"mean": 0.1, "low": -0.3, "high": 0.5}
    for hardest in range(4):
        wide = [row | (unsure if row["part"] == hardest else {}) for row in rows("C2", UNDECIDED)]
        needed = [
            part.draws_needed(Interval(row["mean"], row["low"], row["high"]), 10)
            for part, row in zip(parts(RULES.parts["C2"]), wide, strict=True)
        ]
        assert decided(*wide)["C2"].needed == max(needed)


def test_both_readouts_and_recipes_must_stand():
    plain, calibrated = rows("F2", SUPPORTED), rows("F2", UNDECIDED, readout="calibrated")
    assert decided(*plain, *calibrated)["F2"].verdict == UNDECIDED


def test_levels_that_may_not_differ_at_all_do_not_make_it_depend():
    close = {"mean": 0.11, "low": 0.005, "high": 0.215}, {"mean": 0.02, "low": -0.05, "high": 0.09}
    given = [rows("F2", SUPPORTED, level=str(i))[0] | numbers for i, numbers in enumerate(close)]
    assert decided(*given)["F2"].verdict == UNDECIDED


def test_holms_correction_counts_all_measured_claims():
    barely = rows("F2", SUPPORTED)[0] | {"mean": 0.12, "low": 0.001, "high": 0.239}
    assert Part("difference", 0.1).chance(Interval(0.12, 0.001, 0.239), SUPPORTED) < 0.05
    alone = decided(barely)["F2"]
    assert alone.verdict == SUPPORTED  # the last of the family is held against .05 itself
    beside = decided(barely, otherwise=UNDECIDED)["F2"]
    assert beside.verdict == UNDECIDED and "Holm" in beside.when
    half = 0.119 * math.sqrt(barely["draws"] / beside.needed)  # of the interval with more draws
    more = barely | {"low": 0.12 - half, "high": 0.12 + half}
    assert decided(more, otherwise=UNDECIDED)["F2"].verdict == SUPPORTED


def test_how_many_draws_would_decide():
    part = Part("difference", 0.10)
    assert part.draws_needed(Interval(0.2, -0.2, 0.6), 10) == 40  # half as wide: the end is at 0
    assert part.draws_needed(Interval(0.0, -0.2, 0.2), 10) == 40  # and here at the margin
    assert part.draws_needed(Interval(0.1, -0.1, 0.3), 10) == 40
    assert Part("threshold", 0.8).draws_needed(Interval(0.8, 0.7, 0.9), 10) == math.inf


def test_a_claim_without_its_measurement_is_an_error():
    table = everything()
    with pytest.raises(DataError, match="Claim F2 has no measured contrast"):
        decide(table[table["claim"] != "F2"])
    with pytest.raises(DataError, match="Claim I6 needs 2 parts"):
        decide(table[(table["claim"] != "I6") | (table["part"] == 0)])


def test_a_claim_that_waits_for_a_study_counts_in_holms_correction_and_is_not_decided():
    barely = rows("F2", SUPPORTED)[0] | {"mean": 0.12, "low": 0.001, "high": 0.239}
    waiting = {claim: ["some_study", "another"] for claim in ("F7", "K2", "F1")}
    table = everything(barely)
    table = table[~table["claim"].isin(waiting)]
    found = {v.claim: v for v in decide(table, lacking=waiting)}
    assert found["F7"].verdict == verdict.UNMEASURED
    assert found["F7"].when == "it waits for some_study and another" and found["F7"].number is None
    assert found["F2"].verdict == UNDECIDED and "Holm" in found["F2"].when
    only = {v.claim: v for v in decide(everything(barely), lacking={"F1": ["some_study"]})}
    assert only["F2"].verdict == SUPPORTED  # what is so by construction is none of the family

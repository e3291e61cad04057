"""From stored results to verdicts: made-up results in which every claim has every outcome."""

import numpy as np
import pandas as pd
import pytest
import test_fair_costs
import test_fair_together
import test_fair_uses
import test_misled
import test_stays

from helpers import compare
from helpers.claims import claims
from lessons import contest, contrasts, fair_costs, fair_uses, misled, updating, verdict
from lessons import fair_together as together
from lessons.contest import RECIPES
from lessons.verdict import CONTRADICTED, DEPENDS, SUPPORTED, UNDECIDED

RULES = claims().fillna("").set_index("id")
MEASURED = list(RULES.index[RULES["kind"] == "measured"])


# Made-up results that speak for every claim, and such that speak against every one


def curves(name: str, good: bool) -> pd.DataFrame:
    """Ten draws of a task: the weights learn from many examples, or only from few."""
    weights = (0.2, 0.3, 0.7, 0.95) if good else (0.5, 0.9, 0.1, 0.4)
    prompt = (0.5, 0.5, 0.5, 0.5) if good else (0.1, 0.5, 0.5, 0.9)
    shares = {("prompt", 0): 0.1 if good else 0.5}
    for side, values in (("weights", weights), ("prompt", prompt)):
        shares |= {(side, n): v for n, v in zip(contest.SHOTS, values, strict=True)}
    task, rows = contest.load(name), []
    for (side, shots), share in shares.items():
        for row in test_misled.made_up(task, {side: share}, "side", len(task.labels)):
            rows.append(row | {"shots": shots, "arm": f"{side}, {row['recipe']}"})
    return pd.DataFrame(rows)


def misleading(tasks, names, good: bool) -> pd.DataFrame:
    """Ten draws of tasks: what is first named does well and the others badly, or not."""
    first, other = (0.9, 0.2) if good else (0.2, 0.9)
    share = dict.fromkeys(names, other) | {names[0]: first}
    key = "pairs" if len(names) == 2 else "fault"
    loaded = [contest.load(name) for name in tasks]
    rows = [test_misled.made_up(task, share, key, len(task.labels)) for task in loaded]
    return pd.DataFrame([row for of_task in rows for row in of_task])


def letters(good: bool) -> pd.DataFrame:
    """Three seeds: training gives the codes and letters the style, or each the other's."""
    prompt, alone, both = (0.1, 0.8, 0.1), (0.9, 0.0, 0.0), (0.9, 0.9, 0.8)
    if not good:
        prompt, alone, both = (0.9, 0.1, 0.6), (0.1, 0.9, 0.1), (0.1, 0.9, 0.1)
    shares = {("untaught", "any", a): prompt for a in ("demonstrations", "tuned prompt")}
    for way in together.TRAININGS:
        for recipe in RECIPES:
            shares |= {(way, recipe, "demonstrations"): both, (way, recipe, "nothing"): alone}
    made = test_fair_together.made_up(shares)
    return pd.concat([made.assign(draw=made["draw"] + more) for more in range(together.DRAWS)])


def bills(good: bool) -> pd.DataFrame:
    """Three draws in which training takes long, or the prompt does."""
    made = {"KEPT": (2, 0.5), "ANEW": (0, 0.6), "BESIDE": (1e5, 0.55), "MERGED": (1e5, 0.3)}
    if not good:
        made = {"KEPT": (100, 0.9), "ANEW": (0, 2), "BESIDE": (5, 0.5), "MERGED": (5, 0.3)}
    by_way = {getattr(fair_costs, way): (*bill, 2) for way, bill in made.items()}
    return test_fair_costs.made_up(by_way)


def updates(good: bool) -> pd.DataFrame:
    """Ten draws of twenty updates, which the edited prompt holds, or the weights."""
    shares = {"prompt": 0.9 if good else 0.2} | dict.fromkeys(updating.REPLAYS, 0.5)
    return pd.DataFrame(
        {"draw": d, "way": way, "asked": "paraphrase"}
        | compare.scored(np.arange(20) < 20 * share, measure)
        for way, share in shares.items()
        for d in range(10)
        for measure in ("choice", "written")
    )


def later(good: bool) -> pd.DataFrame:
    """Ten draws of facts that are known later in the weights, or behind a prompt."""
    rows, way = test_stays.made_up(10), ("weights", "prompt")[not good] + ", new process"
    asked_later = rows["way"].str.endswith("new process")
    rows.loc[asked_later, "right"] = np.where(rows.loc[asked_later, "way"] == way, "1111", "0000")
    return rows


SECONDS = {"prompt": 0.05, "weights": 50.0, "nothing": 0.1}
USES = {  # shares of each arm where they speak for the claims, and against
    "replies": ({"prompt": 0.2, "weights": 0.9}, {"prompt": 0.9, "weights": 0.2}),
    "emails": ({"prompt": 0.9, "weights": 0.3}, {"prompt": 0.1, "weights": 0.9}),
    "codes": (
        dict.fromkeys(fair_uses.NOTES, 0.3) | {"weights": 0.95, "nothing": 0.1},
        dict.fromkeys(fair_uses.NOTES, 0.95) | {"weights": 0.4, "nothing": 0.9},
    ),
    "writers": (
        {"prompt": 0.9, "weights": 0.3, "nothing": 0.0},
        {"prompt": 0.1, "weights": 0.9, "nothing": 0.9},
    ),
}


def results(good: bool) -> dict[str, pd.DataFrame]:
    """All stored results that measured claims rest on."""
    seconds = SECONDS if good else {arm: 5 / s for arm, s in SECONDS.items()}
    made = {f"fair_{name}": curves(name, good) for name in contest.TASKS}
    for name, shares in USES.items():
        made[f"fair_{name}"] = test_fair_uses.stored(name, shares[not good], seconds)
    made["misled_shuffled"] = misleading(misled.PAIRS, ["right", "shuffled"], good)
    made["misled_faults"] = misleading(misled.TASKS, ["clean", *misled.CLAIMED], good)
    made |= {"fair_together": letters(good), "fair_costs": bills(good)}
    return made | {"updates_often": updates(good), "stays": later(good)}


def half_and_half(good: pd.DataFrame, bad: pd.DataFrame) -> pd.DataFrame:
    """Every second draw speaks against the claims."""
    draw = "seed" if "seed" in good else "draw"
    return pd.concat([good[good[draw] % 2 == 0], bad[bad[draw] % 2 == 1]])


@pytest.fixture(scope="module")
def found():
    """The contrasts of the three kinds of results, by the outcome that they should have."""
    tuned = [("all 240", "bare, mixed", 0.5), ("retrieved", "bare, nearest 8", 0.4)]
    tuned = [dict(zip(("arm", "setting", "value"), row, strict=True)) for row in tuned]
    tuned = pd.DataFrame([row | {"shots": 240, "measure": "answers"} for row in tuned])
    made = {outcome: results(outcome == SUPPORTED) for outcome in (SUPPORTED, CONTRADICTED)}
    pairs = zip(*(tables.items() for tables in made.values()), strict=True)
    made[UNDECIDED] = {name: half_and_half(good, bad) for (name, good), (_, bad) in pairs}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "stored", {"tuned_codes": tuned}.get)
        patch.setattr(fair_costs, "shared_job", lambda: "verbs")
        return {
            outcome: pd.DataFrame(
                [row for name, rows in tables.items() for row in contrasts.SOURCES[name].of(rows)]
            )
            for outcome, tables in made.items()
        }


def decided(rows: pd.DataFrame) -> dict[str, verdict.Verdict]:
    rules = RULES[RULES["kind"] == "measured"].reset_index()
    return {v.claim: v for v in verdict.decide(rows, rules)}


@pytest.mark.parametrize("outcome", [SUPPORTED, CONTRADICTED, UNDECIDED])
def test_stored_results_lead_every_measured_claim_to_every_outcome(found, outcome):
    reached = decided(found[outcome])
    assert {claim: v.verdict for claim, v in reached.items()} == dict.fromkeys(MEASURED, outcome)


def test_every_measured_claim_can_depend_on_its_levels_or_the_recipe(found):
    good, bad = found[SUPPORTED], found[CONTRADICTED]
    for claim in set(MEASURED) - {"K6"}:
        (yes, no), axis = (rows[rows["claim"] == claim] for rows in (good, bad)), "level"
        if yes[axis].nunique() == 1:
            axis = "recipe"
        first = yes[axis].iloc[0]
        rows = pd.concat([yes[yes[axis] == first], no[no[axis] != first]])
        (reached,) = verdict.decide(rows, RULES.loc[[claim]].reset_index())
        told = first.replace("_", " ")
        assert reached.verdict == DEPENDS and reached.when.startswith(f"true when {told}"), claim


def test_a_source_gives_the_claims_that_it_names(found):
    by_name = {name: source.claims.split() for name, source in contrasts.SOURCES.items()}
    assert {claim for names in by_name.values() for claim in names} == set(RULES.index) - {"K6"}
    for name, rows in results(True).items():
        if name in ("fair_codes", "fair_costs"):  # these read what was tuned
            continue
        given = {row["claim"] for row in contrasts.SOURCES[name].of(rows)}
        assert given == set(by_name[name]), name
    assert set(found[SUPPORTED]["claim"]) >= set(MEASURED) - {"K6"}


def test_the_levels_are_those_that_the_rule_names(found):
    levels = found[SUPPORTED].groupby("claim")["level"].unique().map(set)
    for claim in ("F2", "F4", "F6", "F7", "I5", "I7", "K2"):
        named = RULES["levels"][claim].removeprefix("task: ").replace(" (240)", "").split("; ")
        assert levels[claim] == set(named), claim
    assert levels["K5"] == set(RULES["levels"]["K5"].split("; "))
    assert len(levels["K3"]) == 2 and len(levels["K4"]) == 4 and len(levels["F8"]) == 2
    assert levels["I2"] == {"past_tense", "plurals", "capitals", "category"}


# What is not measured yet


def test_a_claim_waits_for_all_of_its_studies(monkeypatch):
    there = {"fair_verbs", "updates_often", "full_change"}
    monkeypatch.setattr(contrasts, "_exists", there.__contains__)
    tables = {"fair_verbs": curves("verbs", True), "updates_often": updates(True)}
    tables["full_change"] = pd.DataFrame({"relative": [0.1, 0.2]})
    monkeypatch.setattr(contrasts, "stored", tables.get)
    lacking = contrasts.lacking()
    assert lacking["F7"] == ["fair_support_tickets", "fair_reviews"] and "F8" not in lacking
    reached = {v.claim: v for v in contrasts.verdicts()}
    assert list(reached) == list(RULES.index)
    assert reached["F8"].verdict == SUPPORTED
    assert {c for c, v in reached.items() if v.verdict == verdict.UNMEASURED} == {*lacking, "K6"}
    assert reached["F1"].when == "it waits for stays"
    assert reached["K6"].when == "it waits for U1 and U2 and U3 and U4"
    monkeypatch.setattr(contrasts, "_exists", lambda name: False)
    assert all(v.verdict == verdict.UNMEASURED for v in contrasts.verdicts())

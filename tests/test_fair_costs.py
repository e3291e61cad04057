"""What the costs rest on: the setting that is chosen, what is timed, when training pays."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from helpers import compare, scoring
from helpers.data import texts
from helpers.study import carry_out
from lessons import contest
from lessons import fair_costs as costs

pytestmark = pytest.mark.usefixtures("one_thread")


def tuned(values: dict) -> pd.DataFrame:
    """Stored settings: the share right of each number of examples and setting, in two draws."""
    return pd.DataFrame(
        {"shots": shots, "draw": draw, "way": way, "value": value + sign}
        for (shots, way), value in values.items()
        for draw, sign in ((100, 0.01), (101, -0.01))
    )


PROMPT = {
    (0, "bare, shared"): 0.9, (8, "bare, shared"): 0.5, (32, "bare, shared"): 0.7,
    (128, "bare, shared"): 0.72, (8, "list, shared"): 0.6, (32, "list, shared"): 0.8,
    (8, "list, like words"): 0.95,
}  # fmt: skip
WEIGHTS = {
    (8, "rate 0.001, 16 passes"): 0.3, (32, "rate 0.001, 2 passes"): 0.5,
    (32, "rate 0.001, 16 passes"): 0.66, (128, "rate 0.001, 4 passes"): 0.7,
    (128, "rate 0.001, 8 passes"): 0.68, (128, "rate 0.002, 2 passes"): 0.8,
    (128, "rate 0.002, 4 passes"): 0.84,
}  # fmt: skip
STORED = {"prompt": PROMPT, "weights": WEIGHTS}


@pytest.fixture
def stored(monkeypatch):
    tables = {f"tuned_{s}_{t}": tuned(v) for s, v in STORED.items() for t in contest.TASKS}
    better = {key: value + 0.05 for key, value in WEIGHTS.items()}
    tables["tuned_weights_reviews"] = tuned(better)
    monkeypatch.setattr(compare, "stored", tables.get)


@pytest.mark.parametrize(
    ("side", "recipe", "expected"),
    [
        ("prompt", "default", (32, "bare, shared")),  # within .05 of 128, and read sooner
        ("prompt", "tuned", (32, "list, shared")),  # neither without examples nor retrieved
        ("weights", "default", (128, "rate 0.001, 4 passes")),  # 512 rows
        ("weights", "tuned", (128, "rate 0.002, 2 passes")),
    ],
)  # fmt: skip
def test_what_is_near_its_own_best_and_taught_with_least_is_chosen(stored, side, recipe, expected):
    assert costs.least("verbs", side, recipe) == expected


def test_the_job_that_both_can_do_is_the_one_at_which_the_worse_way_is_best(stored, monkeypatch):
    monkeypatch.setattr(
        costs, "tried", lambda task, side, _: pd.Series([SHARES[task][side == "weights"], 0.0])
    )
    assert costs.shared_job() == "verbs"


SHARES = {"support_tickets": (0.9, 0.5), "reviews": (0.4, 0.9), "verbs": (0.7, 0.6)}


# Services


@pytest.fixture
def few(monkeypatch):
    """Tasks of four questions, four of which are asked."""
    small = {
        name: replace(task, train=task.train[:40], held_out=task.held_out[:4])
        for name, task in ((name, contest.load(name)) for name in contest.TASKS)
    }
    monkeypatch.setattr(contest, "load", small.get)
    monkeypatch.setattr(costs, "ASKED", dict.fromkeys(costs.ASKED, 4) | {costs.ANEW: 2})
    return small


@pytest.fixture(scope="module")
def tiny(make_tiny):
    return make_tiny("llama", max_position_embeddings=8192)


@pytest.mark.parametrize("name", ["reviews", "verbs"])
def test_a_kept_prompt_says_what_all_at_once_would_say(tiny, few, name):
    task = few[name]
    taught = contest.show(tiny, task, task.train[:3], "bare", "shared")
    answer = costs.service(tiny, taught.task, taught.demonstrations, taught.style)
    queries = texts(task.held_out)
    said = [answer(query) for query in [*queries, *queries[:2]]]
    assert said == [*contest.ask(taught, queries), *contest.ask(taught, queries[:2])]


def test_a_merged_model_says_the_same_and_the_base_keeps_its_bits(tiny, few):
    task, before = few["reviews"], [w.clone() for w in tiny.model.parameters()]
    ((_, taught),) = contest.train(tiny, task, task.train[:8], 1e-2, [2], 0)
    whole, seconds = costs.merge(taught.lm)
    asked = task, [], texts(task.held_out)
    beside, base, merged = (scoring.score_labels(lm, *asked) for lm in (taught.lm, tiny, whole))
    assert np.allclose(merged, beside, atol=1e-4) and not np.allclose(merged, base, atol=1e-3)
    assert not any("lora" in name for name, _ in whole.model.named_parameters()) and seconds > 0
    after = list(tiny.model.parameters())
    assert all((a == b).all() for a, b in zip(before, after, strict=True))


def test_what_is_chosen_twice_is_taught_once_and_stands_under_both_recipes(
    tiny, few, monkeypatch, tmp_path
):
    same = {"prompt": (8, "bare, shared"), "weights": (8, "rate 0.001, 2 passes")}
    monkeypatch.setattr(
        costs, "least", lambda task, side, recipe: (4, "bare, shared")
        if (side, recipe) == ("prompt", "default") else same[side]
    )  # fmt: skip
    trained, train = [], contest.train
    monkeypatch.setattr(contest, "train", lambda *all_: trained.append(1) or train(*all_))
    monkeypatch.setattr(contest, "TASKS", ("verbs",))
    rows = carry_out(costs.costs_study(tiny, 1), tiny, tmp_path / "costs.csv")
    assert len(trained) == 1
    counts = rows.groupby(["recipe", "way"])["query"].agg(lambda q: sorted(q)).to_dict()
    numbers = {way: list(range(n + 1)) for way, n in costs.ASKED.items()}
    assert counts == {(r, w): numbers[w] for r in contest.RECIPES for w in numbers}
    assert (rows[rows["way"] != costs.ANEW]["processor"] > 0).all()
    weights = rows[rows["way"].str.startswith("weights") & (rows["query"] == 0)]
    assert weights.groupby("way")["tokens"].nunique().eq(1).all()
    once = weights.groupby("way")["processor"].first()
    assert once[costs.MERGED] > once[costs.BESIDE]
    again = carry_out(costs.costs_study(tiny, 1), tiny, tmp_path / "costs.csv")
    assert len(again) == len(rows) and len(trained) == 1


# What the rows say

BILLS = {  # seconds once and for each query, and how many of four are right
    costs.KEPT: (2.0, 0.5, 2), costs.ANEW: (0.0, 2.5, 2),
    costs.BESIDE: (100.0, 0.6, 3), costs.MERGED: (102.0, 0.25, 3),
}  # fmt: skip


def made_up(bills: dict = BILLS, draws: int = 3, spread: float = 0.02) -> pd.DataFrame:
    """Rows of every task and recipe with these bills, a little more in every further draw."""
    rows = []
    for task in contest.TASKS:
        for recipe in contest.RECIPES:
            for way, (once, each, right) in bills.items():
                for draw in range(draws):
                    about = {"task": task, "draw": draw, "recipe": recipe, "way": way}
                    more = 1 + spread * draw
                    rows.append(about | costs._row(0, once * more, 9))
                    rows += [
                        about | costs._row(n, each, 0) | compare.scored([n <= right])
                        for n in range(1, 5)
                    ]
    return pd.DataFrame(rows)


def test_contrasts_are_ratios_of_seconds_and_numbers_of_queries(monkeypatch):
    monkeypatch.setattr(costs, "shared_job", lambda: "reviews")
    rows = pd.DataFrame(costs.of_costs(made_up(spread=0)))
    means = rows.set_index(["claim", "level", "recipe"])["mean"].unstack("recipe")
    assert (means["default"] == means["tuned"]).all() and (rows["draws"] == 3).all()
    ready = 100.6 / 2.5
    expected = {("F6", level): 50 for level in ("support_tickets", "past_tense")}
    expected |= {("I5", level): ready for level in ("support_tickets", "reviews", "past_tense")}
    expected |= {("K3", "kept"): ready, ("K3", "read anew"): (102 + 250) / 2500}
    expected |= {
        ("K4", "prompt, kept against weights, beside"): costs.NEVER,
        ("K4", "prompt, kept against weights, merged"): 100 / 0.25,
        ("K4", "prompt, read anew against weights, beside"): 100 / 1.9,
        ("K4", "prompt, read anew against weights, merged"): 102 / 2.25,
    }
    assert means["tuned"].to_dict() == pytest.approx(expected)
    assert ((rows["low"] < rows["mean"]) & (rows["mean"] < rows["high"])).all()


def test_a_right_answer_costs_its_share_of_the_teaching_and_of_the_wrong_ones():
    found = costs.per_right(made_up(spread=0), costs.MERGED, 1000, task="verbs", recipe="tuned")
    assert found.mean == pytest.approx((102 + 250) / 750)

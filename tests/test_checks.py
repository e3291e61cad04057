"""The exercises' checks: what is open, what is right, and what a wrong answer is told."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from helpers import checks, cost
from helpers.data import Example
from helpers.studies import facts

MATRIX = torch.nn.Linear(20, 50)


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (None, "Not attempted yet"),
        (4 * 20 + 4 * 50, "Right: 280 weights, 28.0% of the matrix"),
        (20 * 50, "Not yet: that is the matrix itself"),
        (4 * 20, "Not yet: that is only one of the two"),
        (4 * 50, "Not yet: that is only one of the two"),
        (4 * 20 * 4 * 50, "Not yet: the sizes of A and B add up"),
        (281, "Not yet: 281 is not the size of A and B together"),
    ],
)
def test_adapter_weights(capsys, count, told):
    checks.adapter_weights(MATRIX, 4, count)
    assert capsys.readouterr().out.startswith(told)


@pytest.mark.parametrize(
    ("rate", "losses", "told"),
    [
        (None, [], "Not attempted yet"),
        (0.01, [9, 4, 0.4], "Right: the loss falls from 9.00 to 0.40."),
        (0.01, [9, 40, 0.4], "Right: the loss falls from 9.00 to 0.40."),
        (0.01, [9, 8, 7], "Not yet: the loss goes from 9.00 to 7.00, not below 0.5, and it never"),
        (0.01, [9, 40, 7], "Not yet: the loss goes from 9.00 to 7.00, not below 0.5, and on the"),
        (0.01, [9, math.nan, math.nan], "Not yet: the loss goes from 9.00 to nan"),
        (0, [], "Not yet: a learning rate is a number above 0"),
        (-0.1, [], "Not yet: a learning rate is a number above 0"),
        (math.nan, [], "Not yet: a learning rate is a number above 0"),
    ],
)
def test_learning_rate(capsys, rate, losses, told):
    asked = []
    checks.learning_rate(lambda lr: asked.append(lr) or losses, rate, below=0.5)
    assert capsys.readouterr().out.startswith(told)
    assert asked == ([rate] if losses else [])


def test_a_rate_says_which_way_it_is_wrong(capsys):
    for losses, way in (([9, 8, 7], "small"), ([9, 40, 7], "large"), ([9, math.nan], "large")):
        checks.learning_rate(lambda lr, losses=losses: losses, 0.01, below=0.5)
        assert capsys.readouterr().out.strip().endswith(f"the rate is too {way}.")


def results(**bits) -> pd.DataFrame:
    """Two draws of four questions for each method."""
    rows = [
        {"method": method, "shots": 8, "draw": draw, "right": right, "accuracy": 0.0}
        for method, draws in bits.items()
        for draw, right in enumerate(draws)
    ]
    return pd.DataFrame(rows)


THREE = results(a=["1110", "1000", "1100"], b=["1000", "1100", "0011"])


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (None, "Not attempted yet"),
        (1, "Right: a is ahead in 1 of 3 draws"),
        (2, "Not yet: a tie is not a win"),
        (3, "Not yet: 3 is not"),
    ],
)
def test_wins_diagnoses(capsys, count, told):
    tied = results(a=["1110", "0000", "1100"], b=["1000", "1100", "0011"])
    checks.wins(tied, "a", "b", 8, count)
    assert capsys.readouterr().out.startswith(told)


def test_wins_tells_the_wrong_way_round(capsys):
    losing = results(a=["1110", "0000", "0000"], b=["1000", "1000", "0011"])
    checks.wins(losing, "b", "a", 8, 1)
    assert capsys.readouterr().out.startswith("Not yet: that is how often a")


@pytest.mark.parametrize(
    ("difference", "told"),
    [
        (None, "Not attempted yet"),
        (1 / 12, "Right: +0.08"),
        (-1 / 12, "Not yet: the sign is wrong"),
        (1.0, "Not yet: take the mean"),
        (float("nan"), "Not yet: nan is not"),
        (0.5, "Not yet: 0.5000 is not"),
    ],
)
def test_mean_difference(capsys, difference, told):
    checks.mean_difference(THREE, "a", "b", 8, difference)
    assert capsys.readouterr().out.startswith(told)


PROMPTS = pd.DataFrame(
    {"draw": [0, 1], "shown": ["aab", "bba"], "said": ["bbba", "aaba"], "accuracy": [0.5, 0.25]}
)


@pytest.mark.parametrize(
    ("share", "told"),
    [
        (None, "Not attempted yet"),
        (0.75, "Right: 0.75 of all answers repeat the last label"),
        (0.25, "Not yet: that is the first demonstration's label"),
        (0.375, "Not yet: that is the accuracy"),
        (75, "Not yet: give a share between 0 and 1"),
        (0.5, "Not yet: 0.500 is not"),
        (math.nan, "Not yet: nan is not"),
    ],
)
def test_recency(capsys, share, told):
    checks.recency(PROMPTS, share)
    assert capsys.readouterr().out.startswith(told)


ORDERS = np.random.default_rng(0).random((4, 5, 30)) < np.linspace(0.2, 0.9, 4)[:, None, None]
WITHIN = ORDERS.mean(2).var(1, ddof=1).mean()


@pytest.mark.parametrize(
    ("deviation", "told"),
    [
        (None, "Not attempted yet"),
        (np.sqrt(WITHIN), "Right: 0."),
        (WITHIN, "Not yet: that is the variance"),
        (ORDERS.mean(2).std(ddof=1), "Not yet: that mixes the draws"),
        (np.sqrt(ORDERS.mean(2).var(1).mean()), "Not yet: divide by the number of orders less 1"),
        (ORDERS.mean(2).std(1, ddof=1).mean(), "Not yet: average the variances"),
        (0.5, "Not yet: 0.5000 is not"),
        (math.nan, "Not yet: nan is not"),
    ],
)
def test_order_spread(capsys, deviation, told):
    checks.order_spread(ORDERS, deviation)
    assert capsys.readouterr().out.startswith(told)


@pytest.mark.parametrize(
    ("queries", "told"),
    [
        (None, "Not attempted yet"),
        (45, "Right: from query 45 on"),
        (45.4, "Right"),
        (60 / 1.5, "Not yet: the taught way's own queries"),
        (-45, "Not yet: the sign"),
        (50, "Not yet: the shown way costs something once"),
        (math.nan, "Not yet: at nan"),
        (7, "Not yet: at 7 queries"),
    ],
)
def test_break_even(capsys, queries, told):
    checks.break_even((60, 0.3), (6, 1.5), queries)
    assert capsys.readouterr().out.startswith(told)


@pytest.mark.parametrize(
    ("per_day", "told"),
    [
        (None, "Not attempted yet"),
        (1000, "Right: about 1,000 queries a day"),
        (10_000, "Not yet: count the days once"),
        (100, "Not yet: count the days once"),
        (950_090 / 10 / 140, "Not yet: that is for a prompt read anew"),
        (1e-3, "Not yet: the price is for a million tokens"),
        (5_000, "Not yet: 5,000 a day is more"),
        (500, "Not yet: 500 a day is less"),
        (math.nan, "Not yet: nan"),
    ],
)
def test_enough_queries(capsys, per_day, told):
    """A token costs 1: ten days of 95,000 and 90 for training, against 90 and 95 a query."""
    prices = cost.Prices(1e6, kept=0.5, gpu_hour=1.0, training_hours=90, serving_hours=95_000)
    checks.enough_queries(10, 9, prices, 10, per_day)
    assert capsys.readouterr().out.startswith(told)


FORGETTING = pd.DataFrame(
    [(0, 0, 0, 4.0, 0.25), (1, 0, 0, 4.5, 0.5), (0, 8, 16, 6.0, 1.0), (1, 8, 16, 7.5, 1.0)],
    columns=["draw", "rank", "steps", "neutral", "facts"],
)


@pytest.mark.parametrize(
    ("nats", "told"),
    [
        (None, "Not attempted yet"),
        (2.5, "Right: the loss rises by 2.50 nats"),
        (-2.5, "Not yet: the sign is wrong"),
        (6.75, "Not yet: that is the loss afterwards"),
        (0.625, "Not yet: that is the gain on the facts"),
        (float("nan"), "Not yet: nan is not"),
        (1.0, "Not yet: 1.000 is not the mean rise at rank 8 after 16 steps."),
    ],
)
def test_loss_of_english(capsys, nats, told):
    checks.loss_of_english(FORGETTING, 8, 16, nats)
    assert capsys.readouterr().out.startswith(told)


def test_updated_prompt(capsys, tiny_models, monkeypatch):
    known = facts.draw(facts.load(), 4, 0)
    old = facts.statements(known)
    line = Example(known[1]["forward"], "new one")
    edited = [old[0], line, *old[2:]]
    said = {tuple(edited): "new one", (*old, line): "old", (line,): "new one", (): "a guess"}
    monkeypatch.setattr(facts, "write", lambda lm, known, shown: [said[tuple(shown)]])
    monkeypatch.setattr(
        facts, "choose", lambda lm, known, shown: np.arange(len(known)) < len(shown) - 1
    )
    for lines, told in (
        (None, "Not attempted yet"),
        (edited, "Right: the model writes 'new one', and no other"),
        ([*old, line], "Not yet: the model writes 'old', not 'new one'. The line with the old"),
        ([], "Not yet: the model writes 'a guess', not 'new one'.\n"),
        ([line], "Not yet: only 0 of the other facts are right, 3 before"),
        (["a line"], "Not yet: give a list of data.Example"),
    ):
        checks.updated_prompt(tiny_models["llama"], known, 1, "new one", lines)
        assert capsys.readouterr().out.startswith(told)

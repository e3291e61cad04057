"""The exercises' checks: what is open, what is right, and what a wrong answer is told."""

import math

import pandas as pd
import pytest
import torch

from helpers import checks

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

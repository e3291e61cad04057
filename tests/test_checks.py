"""The exercises' checks: what is open, what is right, and what a wrong answer is told."""

import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from helpers import checks, compare
from helpers.data import Example, load_rows
from lessons import (
    facts,
    l02_fine_tuning,
    l03_same_examples,
    l04_costs,
    l05_memory,
    l06_misleading,
    l07_uses,
    l08_clinic,
    l09_inside,
    l10_decision,
    letters,
)


def results(**bits) -> pd.DataFrame:
    """Some draws of four questions for each way."""
    rows = [
        {"way": way, "shots": 8, "draw": draw, "right": right, "value": 0.0}
        for way, draws in bits.items()
        for draw, right in enumerate(draws)
    ]
    return pd.DataFrame(rows)


AHEAD = results(a=["1110", "1000", "1100"], b=["1000", "1100", "0011"])
TIED = results(a=["1110", "0000", "1100"], b=["1000", "1100", "0011"])
BEHIND = results(a=["1110", "0000", "0000"], b=["1000", "1000", "0011"])

# A token costs 1: ten days of 95,000 and 90 for training, against 90 and 95 a query.
PRICES = l04_costs.Prices(1e6, kept=0.5, gpu_hour=1.0, training_hours=90, serving_hours=95_000)

FORGETTING = pd.DataFrame(
    [
        {"draw": draw, "rank": rank, "steps": steps, "measure": measure, "value": value}
        for draw, rank, steps, *both in [
            (0, 0, 0, 4.0, 0.25), (1, 0, 0, 4.5, 0.5), (0, 8, 16, 6.0, 1.0), (1, 8, 16, 7.5, 1.0)
        ]
        for measure, value in zip(("neutral", "facts"), both, strict=True)
    ]
)  # fmt: skip

PROMPTS = pd.DataFrame(
    {"draw": [0, 1], "labels_shown": ["aab", "bba"], "said": ["bbba", "aaba"], "value": [0.5, 0.25]}
)
ORDERS = np.random.default_rng(0).random((4, 5, 30)) < np.linspace(0.2, 0.9, 4)[:, None, None]
WITHIN = ORDERS.mean(2).var(1, ddof=1).mean()

TICKETS = {
    "my old kettle is far too loud": "Hello, my old kettle is far away",
    "where is it": "Hello, where is it now",
    "the lid does not fit the pot at all": "The lid does not  fit THE pot",
}
COPIED = {"prompt": list(TICKETS.items()), "weights": [("my own ticket", "Hello")]}
COPIED_LATER = {"prompt": [("a", "b")], "weights": [("it is not at home", "it is not at work")]}


def in_a_row(count: int):
    def rule(ticket: str, reply: str) -> bool:
        words, text = ticket.split(), " ".join(reply.lower().split())
        return any(" ".join(words[i : i + count]) in text for i in range(len(words) - count + 1))

    return rule


# Two draws in which demonstrations add three styles and lose one code.
CLINIC = pd.DataFrame(
    {"way": "t", "measure": measure, "prompt": prompt, "draw": draw, "right": right}
    for measure, prompt, *draws in [
        ("style", "nothing", "0000", "0001"),
        ("style", "demonstrations", "0011", "0111"),
        ("codes", "nothing", "1111", "1111"),
        ("codes", "demonstrations", "1111", "1110"),
    ]
    for draw, right in enumerate(draws)
)

SEEN = np.random.default_rng(0).dirichlet(np.ones(8), size=8)  # attention on 4 tokens, twice
SECOND = np.arange(4, 8)

LEAD = compare.Interval(0.1, -0.1, 0.3)


def cautious(number, asked):
    return abs(number.mean) > 0.7 * (number.high - number.low)


def hasty(number, asked):
    return number.low > 0 or number.high < 0


CHECKS = {
    partial(l02_fine_tuning.check_adapter_weights, torch.nn.Linear(20, 50), 4): [
        (4 * 20 + 4 * 50, "Right: 280 weights at rank 4, 28.0% of the matrix"),
        (20 * 50, "Not yet: that is the matrix itself"),
        (4 * 20, "Not yet: that is only one of the two"),
        (4 * 50, "Not yet: that is only one of the two"),
        (4 * 20 * 4 * 50, "Not yet: the sizes of A and B add up"),
        (281, "Not yet: 281 is not the size of A and B together"),
    ],
    partial(l03_same_examples.check_wins, TIED, "a", "b", 8): [
        (1, "Right: a is ahead in 1 of 3 draws"),
        (2, "Not yet: a tie is not a win"),
        (3, "Not yet: 3 is not"),
    ],
    partial(l03_same_examples.check_wins, BEHIND, "b", "a", 8): [
        (1, "Not yet: that is how often a"),
    ],
    partial(l03_same_examples.check_mean_difference, AHEAD, "a", "b", 8): [
        (1 / 12, "Right: +0.08"),
        (-1 / 12, "Not yet: the sign is wrong"),
        (1.0, "Not yet: take the mean"),
        (math.nan, "Not yet: nan is not"),
        (0.5, "Not yet: 0.5000 is not"),
    ],
    partial(l04_costs.check_break_even, (60, 0.3), (6, 1.5)): [
        (45, "Right: from query 45 on"),
        (45.4, "Right"),
        (60 / 1.5, "Not yet: the taught way's own queries"),
        (-45, "Not yet: the sign"),
        (50, "Not yet: the shown way costs something once"),
        (math.nan, "Not yet: at nan"),
        (7, "Not yet: at 7 queries"),
    ],
    partial(l04_costs.check_enough_queries, 10, 9, PRICES, 10): [
        (1000, "Right: about 1,000 queries a day"),
        (10_000, "Not yet: count the days once"),
        (100, "Not yet: count the days once"),
        (950_090 / 10 / 140, "Not yet: that is for a prompt read anew"),
        (1e-3, "Not yet: the price is for a million tokens"),
        (5_000, "Not yet: at 5,000 a day the two totals"),
        (math.nan, "Not yet: at nan"),
    ],
    partial(l05_memory.check_loss_of_english, FORGETTING, 8, 16): [
        (2.5, "Right: the loss rises by 2.50 nats"),
        (-2.5, "Not yet: the sign is wrong"),
        (6.75, "Not yet: that is the loss afterwards"),
        (0.625, "Not yet: that is the gain on the facts"),
        (math.nan, "Not yet: nan is not"),
        (1.0, "Not yet: 1.000 is not the mean rise at rank 8 after 16 steps."),
    ],
    partial(l06_misleading.check_recency, PROMPTS): [
        (0.75, "Right: 0.75 of all answers repeat the last label"),
        (0.25, "Not yet: that is the first demonstration's label"),
        (0.375, "Not yet: that is the accuracy"),
        (75, "Not yet: give a share between 0 and 1"),
        (0.5, "Not yet: 0.500 is not"),
        (math.nan, "Not yet: nan is not"),
    ],
    partial(l06_misleading.check_order_spread, ORDERS): [
        (np.sqrt(WITHIN), "Right: 0."),
        (WITHIN, "Not yet: that is the variance"),
        (ORDERS.mean(2).std(ddof=1), "Not yet: that mixes the draws"),
        (np.sqrt(ORDERS.mean(2).var(1).mean()), "Not yet: divide by the number of orders less 1"),
        (ORDERS.mean(2).std(1, ddof=1).mean(), "Not yet: average the variances"),
        (0.5, "Not yet: 0.5000 is not"),
        (math.nan, "Not yet: nan is not"),
    ],
    partial(l07_uses.check_parrots, COPIED): [
        (in_a_row(5), "Right: share of replies that repeat: prompt 0.67, weights 0.00."),
        (in_a_row(3), "Not yet: it says True of 'Hello, where is it now'"),
        (in_a_row(6), "Not yet: that is 6 words in a row; ask for 5."),
        (lambda *pair: not in_a_row(5)(*pair), "Not yet: it is the wrong way round"),
        (lambda *pair: False, "Not yet: it says False of 'Hello, my old kettle is far away'"),
    ],
    partial(l07_uses.check_parrots, COPIED_LATER): [
        (in_a_row(4), "Not yet: that is 4 words in a row; ask for 5."),
    ],
    partial(l08_clinic.check_effect_of_demonstrations, CLINIC, "t", "style"): [
        (0.5, "Right: the demonstrations change it by +0.50."),
        (-0.5, "Not yet: the sign is wrong"),
        (-0.125, "Not yet: that is another measure; choose 'style'"),
        (0.4, "Not yet: 0.400 is not what the demonstrations change"),
        (math.nan, "Not yet: nan is not what"),
    ],
    partial(l09_inside.check_induction_score, SEEN): [
        (SEEN[SECOND, SECOND - 3].mean(), "Right"),
        (SEEN[SECOND, SECOND - 4].mean(), "Not yet: that looks at the earlier copy itself"),
        (SEEN[SECOND, SECOND - 5].mean(), "Not yet: that looks one token before"),
        (SEEN[SECOND, SECOND - 3].sum(), "Not yet: take the mean over the tokens"),
        (SEEN[SECOND, SECOND - 3].sum() / 8, "Not yet: take the mean over the second half only"),
        (math.nan, "Not yet: nan is not this head's score"),
    ],
    partial(l10_decision.check_questions, LEAD, 54, 0.05): [
        (864, "Right: with about 864 questions"),
        (216, "Not yet: the interval shrinks with the square root"),
        (3456, "Not yet: take half of the width"),
        (3.375, "Not yet: turn the ratio over"),
        (500, "Not yet: 500 questions would not do"),
        (math.nan, "Not yet: "),
    ],
    partial(l10_decision.check_stopping): [
        (cautious, "Right: "),
        (hasty, "Not yet: "),
        (lambda number, asked: asked > 180 and hasty(number, asked), "Not yet: "),
        (lambda number, asked: False, "Not yet: 0.0% false alarms, 200 questions"),
        (lambda number, asked: number.middle, "Not yet: it stops with AttributeError"),
        ("at once", "Not yet: it stops with TypeError"),
    ],
    partial(
        checks.judge,
        truth=10,
        praise="ten.",
        otherwise="{answer} is not ten.",
        mistakes={"doubled.": 20, "halved, or a quarter.": (5, 2.5)},
        within=0.05,
    ): [
        (10.0, "Right: ten."),
        (10.04, "Right: ten."),
        (np.float32(10), "Right: ten."),
        (10.2, "Not yet: 10.2 is not ten."),
        (20, "Not yet: doubled."),
        (4.98, "Not yet: halved, or a quarter."),
        (2.5, "Not yet: halved, or a quarter."),
        (math.nan, "Not yet: nan is not ten."),
    ],
    partial(
        checks.judge, truth=1000, praise="", otherwise="", mistakes={"near.": 1021}, relative=0.02
    ): [
        (1019, "Right"),
        (1021, "Not yet: near."),
    ],
}


@pytest.mark.parametrize(
    ("check", "answer", "told"),
    [
        pytest.param(check, answer, told, id=f"{check.func.__name__}: {told}")
        for check, answers in CHECKS.items()
        for answer, told in [(None, "Not attempted yet"), *answers]
    ],
)
def test_each_answer_is_told_one_line(capsys, check, answer, told):
    check(answer)
    said = capsys.readouterr().out
    assert said.startswith(told) and said.count("\n") == 1


def test_an_adapters_rank_is_the_learners_choice(capsys):
    matrix = torch.nn.Linear(20, 50)
    for rank, count, told in (
        (None, 280, "Not attempted yet"),
        (4, None, "Not attempted yet"),
        (0, 0, "Not yet: choose a whole rank from 1 to 20."),
        (2.5, 175, "Not yet: choose a whole rank"),
        (1, 70, "Right: 70 weights at rank 1, 7.0% of the matrix"),
    ):
        l02_fine_tuning.check_adapter_weights(matrix, rank, count)
        assert capsys.readouterr().out.startswith(told)


@pytest.mark.parametrize(
    ("recipe", "outcome", "told"),
    [
        ((None, None), None, "Not attempted yet"),
        ((0.01, None), None, "Not attempted yet"),
        ((0.01, 4), ([9, 4, 0.4], 0.5), "Right: 0.50 of the fresh tickets; the loss ends at 0.40."),
        ((0.01, 4), ([9, 40, 7], 0.2), "Not yet: 0.20 right. The loss leapt from 9.00 to 40.00"),
        ((0.01, 4), ([9, math.nan], 0.2), "Not yet: 0.20 right. The loss leapt from 9.00 to nan"),
        ((0.01, 4), ([9, 8, 7], 0.2), "Not yet: 0.20 right. The loss still stands at 7.00"),
        ((0.01, 4), ([9, 4, 0.4], 0.4), "Not yet: 0.40 right. The loss is down to 0.40, yet"),
        ((0, 4), None, "Not yet: give a learning rate above 0"),
        ((math.nan, 4), None, "Not yet: give a learning rate above 0"),
        ((0.01, 9), None, "Not yet: give a learning rate above 0 and a whole number of passes"),
        ((0.01, 2.5), None, "Not yet: give a learning rate above 0 and a whole number of passes"),
    ],
)
def test_a_recipe_is_judged_on_fresh_texts(capsys, recipe, outcome, told):
    asked = []
    l02_fine_tuning.check_recipe(lambda *both: asked.append(both) or outcome, *recipe, goal=0.5)
    said = capsys.readouterr().out
    assert said.startswith(told) and said.count("\n") == 1
    assert asked == ([recipe] if outcome else [])


def test_updated_prompt(capsys, tiny_models, monkeypatch):
    known = facts.draw(load_rows("invented_facts"), 4, 0)
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
        l05_memory.check_updated_prompt(tiny_models["llama"], known, 1, "new one", lines)
        assert capsys.readouterr().out.startswith(told)


MINE = letters.HOUSE | {"opening": "Yo {name}", "ending": "{doctor} out"}


@pytest.mark.parametrize(
    ("doctor", "copied", "told"),
    [
        (None, True, "Not attempted yet"),
        (MINE, True, "Right: 4 of 4 letters"),
        (MINE, False, "Not yet: only 0 of 4 letters are in this style"),
        ({"opening": "Yo"}, True, "Not yet: give a dictionary with the keys opening, finding"),
        (MINE | {"opening": "Yo"}, True, "Not yet: the opening must hold {name}."),
        (MINE | {"ending": "out"}, True, "Not yet: the ending must hold {doctor}."),
        (MINE | {"order": "any"}, True, "Not yet: the order is one of"),
        (MINE | {"opening": "Dear {name},"}, True, "Not yet: the opening was in the training"),
    ],
)
def test_own_doctor(capsys, monkeypatch, doctor, copied, told):
    def written(lm, visits, prompt):
        asked = letters.asked(visits)
        return [letters.write(*one) if copied else "Dear all" for one in asked]

    monkeypatch.setattr(letters, "write_letters", written)
    l08_clinic.check_own_doctor(None, doctor)
    assert capsys.readouterr().out.startswith(told)


HEAD = slice(16, 24)


def silent(where: slice, result=lambda results: (results,), copy=True):
    def hook(module, inputs):
        results = inputs[0].clone() if copy else inputs[0]
        results[..., where] = 0
        return result(results)

    return hook


@pytest.mark.parametrize(
    ("hook", "told"),
    [
        (None, "Not attempted yet"),
        (silent(HEAD), "Right: head 2 of layer 1 is silent"),
        (silent(HEAD, lambda results: results), "Right"),  # a lone input may stand alone
        (silent(HEAD, lambda results: None), "Not yet: the hook returns nothing"),
        (silent(HEAD, copy=False), "Not yet: the given input was changed in place"),
        (silent(slice(0, 0)), "Not yet: nothing is zero yet"),
        (silent(slice(8, 16)), "Not yet: other numbers are zero"),
        (silent(slice(16, 23)), "Not yet: other numbers are zero"),
        (silent(HEAD, lambda results: (0,)), "Not yet: return the inputs as a tuple"),
        (6, "Not yet: a hook is a function"),
    ],
)
def test_a_hook_that_silences(capsys, tiny_models, hook, told):
    l09_inside.check_silences(tiny_models["llama"], (1, 2), hook)
    assert capsys.readouterr().out.startswith(told)

"""The exercises' checks: what is open, what is right, and what a wrong answer is told."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from helpers import checks
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
    l02_fine_tuning.check_adapter_weights(MATRIX, 4, count)
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
    l02_fine_tuning.check_learning_rate(lambda lr: asked.append(lr) or losses, rate, below=0.5)
    assert capsys.readouterr().out.startswith(told)
    assert asked == ([rate] if losses else [])


def test_a_rate_says_which_way_it_is_wrong(capsys):
    for losses, way in (([9, 8, 7], "small"), ([9, 40, 7], "large"), ([9, math.nan], "large")):
        l02_fine_tuning.check_learning_rate(lambda lr, losses=losses: losses, 0.01, below=0.5)
        assert capsys.readouterr().out.strip().endswith(f"the rate is too {way}.")


def results(**bits) -> pd.DataFrame:
    """Two draws of four questions for each way."""
    rows = [
        {"way": way, "shots": 8, "draw": draw, "right": right, "value": 0.0}
        for way, draws in bits.items()
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
    l03_same_examples.check_wins(tied, "a", "b", 8, count)
    assert capsys.readouterr().out.startswith(told)


def test_wins_tells_the_wrong_way_round(capsys):
    losing = results(a=["1110", "0000", "0000"], b=["1000", "1000", "0011"])
    l03_same_examples.check_wins(losing, "b", "a", 8, 1)
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
    l03_same_examples.check_mean_difference(THREE, "a", "b", 8, difference)
    assert capsys.readouterr().out.startswith(told)


PROMPTS = pd.DataFrame(
    {"draw": [0, 1], "labels_shown": ["aab", "bba"], "said": ["bbba", "aaba"], "value": [0.5, 0.25]}
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
    l06_misleading.check_recency(PROMPTS, share)
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
    l06_misleading.check_order_spread(ORDERS, deviation)
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
        (5_000, "Not yet: at 5,000 a day the two totals"),
        (500, "Not yet: at 500 a day"),
        (math.nan, "Not yet: at nan"),
    ],
)
def test_enough_queries(capsys, per_day, told):
    """A token costs 1: ten days of 95,000 and 90 for training, against 90 and 95 a query."""
    prices = l04_costs.Prices(1e6, kept=0.5, gpu_hour=1.0, training_hours=90, serving_hours=95_000)
    l04_costs.check_enough_queries(10, 9, prices, 10, per_day)
    assert capsys.readouterr().out.startswith(told)


FORGETTING = pd.DataFrame(
    [
        {"draw": draw, "rank": rank, "steps": steps, "measure": measure, "value": value}
        for draw, rank, steps, *both in [
            (0, 0, 0, 4.0, 0.25), (1, 0, 0, 4.5, 0.5), (0, 8, 16, 6.0, 1.0), (1, 8, 16, 7.5, 1.0)
        ]
        for measure, value in zip(("neutral", "facts"), both, strict=True)
    ]
)  # fmt: skip


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
    l05_memory.check_loss_of_english(FORGETTING, 8, 16, nats)
    assert capsys.readouterr().out.startswith(told)


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


def clinic_rows() -> pd.DataFrame:
    """Two draws in which demonstrations add three styles and lose one code."""
    bits = {
        ("style", "nothing"): ("0000", "0001"),
        ("style", "demonstrations"): ("0011", "0111"),
        ("codes", "nothing"): ("1111", "1111"),
        ("codes", "demonstrations"): ("1111", "1110"),
    }
    return pd.DataFrame(
        {"way": "t", "measure": measure, "prompt": prompt, "draw": d, "right": right}
        for (measure, prompt), some in bits.items()
        for d, right in enumerate(some)
    )


@pytest.mark.parametrize(
    ("gap", "told"),
    [
        (None, "Not attempted yet"),
        (0.5, "Right: the demonstrations change it by +0.50."),
        (-0.5, "Not yet: the sign is wrong"),
        (-0.125, "Not yet: that is another measure; choose 'style'"),
        (0.4, "Not yet: 0.400 is not what the demonstrations change"),
        (math.nan, "Not yet: nan is not what"),
    ],
)
def test_effect_of_demonstrations(capsys, gap, told):
    l08_clinic.check_effect_of_demonstrations(clinic_rows(), "t", "style", gap)
    assert capsys.readouterr().out.startswith(told)


MINE = letters.HOUSE | {"opening": "Yo {name}", "ending": "{doctor} out"}


@pytest.mark.parametrize(
    ("doctor", "told"),
    [
        (None, "Not attempted yet"),
        (MINE, "Right: 4 of 4 letters"),
        ({"opening": "Yo"}, "Not yet: give a dictionary with the keys opening, finding"),
        (MINE | {"opening": "Yo"}, "Not yet: the opening must hold {name}."),
        (MINE | {"ending": "out"}, "Not yet: the ending must hold {doctor}."),
        (MINE | {"order": "any"}, "Not yet: the order is one of"),
        (MINE | {"opening": "Dear {name},"}, "Not yet: the opening was in the training"),
    ],
)
def test_own_doctor(capsys, monkeypatch, doctor, told):
    def perfect(lm, visits, prompt):
        return [letters.write(person, note) for person, note in letters.asked(visits)]

    monkeypatch.setattr(letters, "write_letters", perfect)
    l08_clinic.check_own_doctor(None, doctor)
    assert capsys.readouterr().out.startswith(told)


def test_a_doctor_whose_style_is_not_copied_is_told(capsys, monkeypatch):
    monkeypatch.setattr(letters, "write_letters", lambda lm, visits, prompt: ["Dear all"] * 4)
    l08_clinic.check_own_doctor(None, MINE)
    assert capsys.readouterr().out.startswith("Not yet: only 0 of 4 letters are in this style")


TICKETS = ["my old kettle is far too loud", "where is it", "the lid does not fit the pot at all"]
WRITTEN = [
    "Hello, my old kettle is far away",
    "Hello, where is it now",
    "The lid does not  fit THE pot",
]


def in_a_row(count: int):
    def rule(ticket: str, reply: str) -> bool:
        words, text = ticket.split(), " ".join(reply.lower().split())
        return any(" ".join(words[i : i + count]) in text for i in range(len(words) - count + 1))

    return rule


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (None, "Not attempted yet"),
        (in_a_row(5), "Right: share of replies that repeat: prompt 0.67, weights 0.00."),
        (in_a_row(3), "Not yet: it says True of 'Hello, where is it now'"),
        (in_a_row(6), "Not yet: that is 6 words in a row; ask for 5."),
        (lambda *pair: not in_a_row(5)(*pair), "Not yet: it is the wrong way round"),
        (lambda *pair: False, "Not yet: it says False of 'Hello, my old kettle is far away'"),
    ],
)
def test_parrots(capsys, rule, told):
    prompt = list(zip(TICKETS, WRITTEN, strict=True))
    l07_uses.check_parrots({"prompt": prompt, "weights": [("my own ticket", "Hello")]}, rule)
    assert capsys.readouterr().out.startswith(told)


def test_parrots_tells_a_run_that_is_too_short_of_any_way(capsys):
    short = [("it is not at home", "it is not at work")]
    l07_uses.check_parrots({"prompt": [("a", "b")], "weights": short}, in_a_row(4))
    assert capsys.readouterr().out.startswith("Not yet: that is 4 words in a row; ask for 5.")


SEEN = np.random.default_rng(0).dirichlet(np.ones(8), size=8)  # attention on 4 tokens, twice
SECOND = np.arange(4, 8)


@pytest.mark.parametrize(
    ("score", "told"),
    [
        (None, "Not attempted yet"),
        (SEEN[SECOND, SECOND - 3].mean(), "Right"),
        (SEEN[SECOND, SECOND - 4].mean(), "Not yet: that looks at the earlier copy itself"),
        (SEEN[SECOND, SECOND - 5].mean(), "Not yet: that looks one token before"),
        (SEEN[SECOND, SECOND - 3].sum(), "Not yet: take the mean over the tokens"),
        (SEEN[SECOND, SECOND - 3].sum() / 8, "Not yet: take the mean over the second half only"),
        (math.nan, "Not yet: nan is not this head's score"),
    ],
)
def test_the_induction_score(capsys, score, told):
    l09_inside.check_induction_score(SEEN, score)
    assert capsys.readouterr().out.startswith(told)


def _silent(where: slice, result=lambda results: (results,), copy=True):
    def hook(module, inputs):
        results = inputs[0].clone() if copy else inputs[0]
        results[..., where] = 0
        return result(results)

    return hook


@pytest.mark.parametrize(
    ("hook", "told"),
    [
        (None, "Not attempted yet"),
        (_silent(slice(16, 24)), "Right: head 2 of layer 1 is silent"),
        (_silent(slice(16, 24), lambda results: results), "Right"),  # a lone input may stand alone
        (_silent(slice(16, 24), lambda results: None), "Not yet: the hook returns nothing"),
        (_silent(slice(16, 24), copy=False), "Not yet: the given input was changed in place"),
        (_silent(slice(0, 0)), "Not yet: nothing is zero yet"),
        (_silent(slice(8, 16)), "Not yet: other numbers are zero"),
        (_silent(slice(16, 23)), "Not yet: other numbers are zero"),
        (_silent(slice(16, 24), lambda results: (0,)), "Not yet: return the inputs as a tuple"),
        (6, "Not yet: a hook is a function"),
    ],
)
def test_a_hook_that_silences(capsys, tiny_models, hook, told):
    l09_inside.check_silences(tiny_models["llama"], (1, 2), hook)
    assert capsys.readouterr().out.startswith(told)


def by_rule(low, high):
    return "weights" if low > 0 else "prompt" if high < 0 else "open"


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (None, "Not attempted yet"),
        (by_rule, "Right: "),
        ("weights", "Not yet: a rule is a function"),
        (
            lambda low, high: "weights" if low + high > 0 else "prompt",
            "Not yet: from -0.10 to +0.30",
        ),
        (lambda low, high: by_rule(-high, -low), "Not yet: from +0.02 to +0.30 it says 'prompt'"),
        (lambda low, high: "open", "Not yet: from +0.02 to +0.30 it says 'open'"),
        (lambda low, high: by_rule(low - 0.1, high + 0.1), "Not yet: from +0.02 to +0.30 it says"),
        (lambda low, high: None, "Not yet: from +0.02 to +0.30 it says None"),
    ],
)
def test_interval_rule(capsys, rule, told):
    l10_decision.check_interval_rule(rule)
    said = capsys.readouterr().out
    assert said.startswith(told) and said.count("\n") == 1


@pytest.mark.parametrize(
    ("per_day", "told"),
    [
        (None, "Not attempted yet"),
        (100, "Right: about 100 queries a day"),
        (99.2, "Right: "),
        (2, "Not yet: that is for a prompt read anew"),
        (3000, "Not yet: that is how many it takes in all"),
        (90_000, "Not yet: divide by the days"),
        (50, "Not yet: 50.0 a day is not where"),
        (math.nan, "Not yet: "),
    ],
)
def test_paying_queries(capsys, per_day, told):
    known = l10_decision.Measured({}, kept=3000, anew=60, cache=1, counting=190, least=8, room=8000)
    l10_decision.check_paying_queries(known, 30, per_day)
    assert capsys.readouterr().out.startswith(told)


# The general judge


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (None, "Not attempted yet"),
        (10.0, "Right: ten."),
        (10.04, "Right: ten."),
        (10.2, "Not yet: 10.2 is not ten."),
        (20, "Not yet: doubled."),
        (4.98, "Not yet: halved, or a quarter."),
        (2.5, "Not yet: halved, or a quarter."),
        (math.nan, "Not yet: nan is not ten."),
        (np.float32(10), "Right: ten."),
    ],
)
def test_a_number_is_judged_by_a_truth_a_tolerance_and_a_table_of_mistakes(capsys, answer, told):
    mistakes = {"doubled.": 20, "halved, or a quarter.": (5, 2.5)}
    checks.judge(answer, 10, "ten.", "{answer} is not ten.", mistakes, within=0.05)
    said = capsys.readouterr().out
    assert said.startswith(told) and said.count("\n") == 1


def test_a_tolerance_may_be_a_share(capsys):
    for answer, told in ((1019, "Right"), (1021, "Not yet: ten times")):
        mistakes = {"ten times too much.": 1021}
        checks.judge(answer, 1000, "", "", mistakes, within=0, relative=0.02)
        assert capsys.readouterr().out.startswith(told)

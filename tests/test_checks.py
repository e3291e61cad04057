"""The exercises' checks: what is open, what is right, and what a wrong answer is told."""

import math
import re
from functools import partial

import numpy as np
import pytest

from helpers import checks, compare
from helpers.data import Example
from lessons import (
    l00_start,
    l02_fine_tuning,
    l04_costs,
    l05_memory,
    l07_uses,
    l08_clinic,
    l10_decision,
    letters,
)

MEI = {"name": "Mei", "order": "70131", "item": "lamp", "step": "trace", "reply": "the shop's own"}
ONLINE = l07_uses.BRIEF.replace("trace it", "put your address online")


def you_are_a(reply: str) -> bool:
    return bool(re.search(r"\b(you are|you're) an? ", reply.lower()))


def cautious(number, asked):
    return abs(number.mean) > 0.7 * (number.high - number.low)


def hasty(number, asked):
    return number.low > 0 or number.high < 0


CHECKS = {
    partial(l04_costs.check_break_even, (60, 0.3), (6, 1.5)): [
        (45, "Right: from query 45 on"),
        (45.4, "Right"),
        (60 / 1.5, "Not yet: the taught way's own queries"),
        (-45, "Not yet: the sign"),
        (50, "Not yet: the shown way costs something once"),
        (math.nan, "Not yet: at nan"),
        (7, "Not yet: at 7 queries"),
    ],
    partial(l07_uses.check_good_form, MEI, stops=l07_uses.stops): [
        (l07_uses.BRIEF, "Right: all six rules of form are kept, and `stops` lets it pass."),
        (ONLINE, "Right: all six rules of form are kept, and `stops` holds it back."),
        ("", "Not yet: it loses: greeting, number, next step, sign-off."),
        ("the shop's own", "Not yet: that is the shop's own reply"),
    ],
    partial(l07_uses.check_must_wait, compare.stored("replies")): [
        (you_are_a, "Right: it stops 14 of 18 replies that must not be sent, 0 of 60 others"),
        (l07_uses.stops, "Not yet: it stops 0 of 18"),
        (lambda reply: True, "Not yet: it stops 18 of 18 replies that must not be sent, 60 of"),
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


OWN = [("The key hangs behind", "the clock"), ("The dog is fed by", "Jo"), ("We eat at", "noon")]


@pytest.mark.parametrize(
    ("lines", "question", "told"),
    [
        (None, "Where?", "Not attempted yet"),
        (OWN, None, "Not attempted yet"),
        (OWN[:2], "the dog", "Not yet: give at least three facts"),
        ([*OWN, "the cat"], "the dog", "Not yet: give at least three facts"),
        (OWN, "Zanzibar", "Not yet: no word that tells the lines apart is in your question"),
        (
            OWN,
            "The dog belongs to",
            "Right: 'The dog is fed by Jo' was found, and the model writes ",
        ),
    ],
)
def test_own_facts_are_looked_up(tiny, capsys, lines, question, told):
    l05_memory.check_own_file(tiny, l05_memory.likeness, lines, question)
    said = capsys.readouterr().out
    assert said.startswith(told) and said.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "topics", "told"),
    [
        (None, {}, "Not attempted yet"),
        (" ", {}, "Not yet: give a message in quotes"),
        (7, {}, "Not yet: give a message in quotes"),
        ("taught", {}, "Not yet: the model was taught this very ticket"),
        ("new", {"before": "a", "after": "b"}, "Right: before it was sorted under a, now under b."),
        ("new", {"before": "a", "after": "a"}, "Not yet: it was sorted under a before, too"),
    ],
)
def test_a_text_is_turned_by_the_training(capsys, text, topics, told):
    taught = [Example("taught", "a")]
    l02_fine_tuning.check_turned(lambda when, _: topics[when], taught, text)
    said = capsys.readouterr().out
    assert said.startswith(told) and said.count("\n") == 1


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


@pytest.mark.parametrize(
    ("rate", "share", "outcome", "told"),
    [
        (None, 0.5, None, "Not attempted yet"),
        (1e-3, None, None, "Not attempted yet"),
        (0, 0.5, None, "Not yet: give a rate above 0"),
        (1e-3, 1, None, "Not yet: give a rate above 0, and a share from 0 to below 1."),
        (
            1e-3,
            0.5,
            (0.09, 0.2, 60),
            "Right: 60 rows were read, the facts' loss is 0.09",
        ),
        (1e-3, 0.5, (0.09, 0.2, 61), "Not yet: 61 rows were read, at most 60 are allowed"),
        (1e-3, 0.5, (0.2, 0.2, 60), "Not yet: the facts' loss still stands at 0.20"),
        (1e-3, 0.5, (math.nan, 0.2, 60), "Not yet: the facts' loss still stands at nan"),
        (1e-3, 0.5, (0.09, 0.4, 60), "Not yet: English lost 0.40 nats"),
        (1e-3, 0.5, (0.09, math.nan, 60), "Not yet: English lost nan nats"),
    ],
)
def test_a_gentle_training_learns_and_spares(capsys, rate, share, outcome, told):
    names = ("loss", "nats lost", "rows read")
    made = None if outcome is None else dict(zip(names, outcome, strict=True))
    l05_memory.check_gentle(lambda *_: made, [], rate, share)
    printed = capsys.readouterr().out
    assert printed.startswith(told) and printed.count("\n") == 1


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


PAST = [Example("find", "found"), Example("run", "ran"), Example("buy", "bought")]


@pytest.mark.parametrize(
    ("rate", "steps", "said", "told"),
    [
        (None, None, [], "Not attempted yet"),
        (1e-3, None, [], "Not attempted yet"),
        (0, 5, [], "Not yet: take a rate above 0"),
        (math.nan, 5, [], "Not yet: take a rate above 0"),
        (1e-3, 400, [], "Not yet: take 1 to 40 steps"),
        (1e-3, 5, ["found", "ran", "fell"], "Right: 2 of 3 new verbs come out right."),
        (1e-3, 9, ["found", "fell", "fell"], "Not yet: 1 of 3 new verbs come out right. 2 are"),
    ],
)
def test_a_recipe_of_lesson_0_shows_what_it_makes_of_each_verb(capsys, rate, steps, said, told):
    l00_start.check_recipe(rate, steps, lambda *_: said, PAST, goal=2)
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith(told) and len(rest) == bool(said)
    if said:
        assert rest[0].startswith("find -> found (right); run -> ") and "buy -> fell" in rest[0]


def test_the_guess_of_lesson_0_is_judged_by_an_interval():
    assert l00_start.better([True] * 14 + [False] * 6, [False] * 20) == "through the prompt"
    assert l00_start.better([False] * 20, [True] * 20) == "through the weights"
    assert l00_start.better([True, False] * 10, [False, True] * 10) == "about the same"

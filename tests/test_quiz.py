"""The quizzes: three questions a lesson, one right option each, and every option explained."""

from collections import Counter

import ipywidgets as w
import pytest

from helpers import claims
from helpers.data import load_rows
from lessons import quiz

ROWS = load_rows("quizzes")


def test_every_lesson_has_three_questions():
    assert Counter(row["lesson"] for row in ROWS) == dict.fromkeys(range(11), 3)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["question"][:40])
def test_a_question_has_one_right_option_and_each_is_explained(row):
    options = row["options"]
    assert len(options) >= 3 and sum(option["right"] for option in options) == 1
    assert len({option["text"] for option in options}) == len(options)
    assert all(option["why"].endswith(".") for option in options)


def test_the_right_option_stands_at_every_place():
    places = Counter([o["right"] for o in row["options"]].index(True) for row in ROWS)
    assert min(places[i] for i in range(3)) >= 6, places


@pytest.mark.parametrize("right", [True, False])
def test_choosing_an_option_says_why(right):
    panel = quiz.show(4)
    assert repr(panel) == "3 questions to try yourself with, in a live notebook."
    row = quiz.questions(4)[0]
    option = next(option for option in row["options"] if option["right"] == right)
    buttons = next(part for part in panel.children if isinstance(part, w.RadioButtons))
    buttons.value = option["text"]
    said = panel.children[2].value
    assert option["why"] in said and ("Right." in said) == right


def test_a_guess_comes_back(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("COURSE_RECORDS", str(tmp_path))
    quiz.recall("Which way?", "undecided")
    claims.record_prediction("Which way?", "word counts")
    quiz.recall("Which way?", "undecided")
    assert capsys.readouterr().out.splitlines() == [
        "You made no guess. It was: undecided.",
        "You said: word counts. It was: undecided.",
    ]

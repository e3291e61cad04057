"""The scoreboard: every claim once, the learner's own verdicts first, against the predictions."""

import re

import pandas as pd
import pytest

from helpers import claims
from helpers.compare import read
from helpers.data import DATA
from lessons import l10_decision

LESSON = "notebooks/{}.ipynb"


@pytest.fixture
def learner(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_RECORDS", str(tmp_path / "learner"))


@pytest.fixture
def stored(monkeypatch, tmp_path):
    """Keep a few verdicts as stored: (claim, lesson, verdict)."""

    def keep(*verdicts):
        rows = [
            {
                "claim": c,
                "lesson": lesson,
                "measured": f"{c} in {lesson}",
                "verdict": v,
                "why": "So.",
            }
            for c, lesson, v in verdicts
        ]
        pd.DataFrame(rows, columns=claims.COLUMNS).to_csv(tmp_path / "v.csv", index=False)
        monkeypatch.setattr(claims, "STORED", tmp_path / "v.csv")

    return keep


def row(claim):
    return claims.board().set_index("claim").loc[claim]


def test_all_28_claims_have_a_verdict_a_number_and_a_lesson(learner):
    board = claims.board()
    assert list(board["claim"]) == list(claims.claims()["id"]) and len(board) == 28
    assert list(board["claim"][board["verdict"] == ""]) == []
    assert set(board["verdict"]) <= set(claims.VERDICTS)
    for column in ("text", "measured", "why", "lessons"):
        assert (board[column].map(len) > 0).all(), column
    numberless = board["measured"].str.fullmatch(r"\D*") & ~board["claim"].isin(["I1", "I4"])
    assert list(board["claim"][numberless]) == []  # those two are about equal checksums
    assert set(board["whose"]) == {"stored"} and set(board["predicted"]) == {""}


def test_the_stored_verdicts_are_one_for_each_claim_and_lesson():
    found = read(claims.STORED)
    assert list(found.columns) == claims.COLUMNS
    assert not found.duplicated(["claim", "lesson"]).any()
    assert found.equals(found.sort_values(["claim", "lesson"], ignore_index=True))
    for lesson, rows in found.groupby("lesson"):
        text = (DATA.parent / LESSON.format(lesson)).read_text(encoding="utf-8")
        (named,) = re.findall(r"Claims tested:\*\* ([A-Z0-9 ]+)", text)
        assert set(named.split()) == set(rows["claim"]), lesson


def test_lessons_that_agree_and_lessons_that_do_not(learner, stored):
    holds, partly, no = claims.VERDICTS
    first, second = "01_a", "05_b"
    stored(("I3", first, holds), ("I3", second, holds), ("F3", first, holds), ("F3", second, no))
    assert row("I3").verdict == holds and row("F3").verdict == partly
    assert row("F3").lessons == (first, second)
    assert (
        row("F3").measured == "[1] F3 in 01_a. [5] F3 in 05_b."
        and row("F3").why == "[1] So. [5] So."
    )
    assert row("K1").verdict == "" and row("K1").lessons == ()


def test_the_learners_own_verdict_takes_the_stored_ones_place(learner, stored):
    holds, partly, no = claims.VERDICTS
    stored(("I3", "01_a", holds), ("I3", "05_b", holds), ("I4", "01_a", holds))
    claims.record_verdict("I4", "01_a", "mine: 3", no, "Mine.")
    assert row("I4")[["verdict", "measured", "whose"]].tolist() == [no, "mine: 3", "you"]
    claims.record_verdict("I3", "05_b", "mine: 4", partly, "Mine.")
    assert row("I3").verdict == partly and row("I3").whose == "both"
    assert row("I3").measured == "[1] I3 in 01_a. [5] mine: 4."
    claims.record_verdict("F1", "02_c", "mine: 5", holds, "Mine.")
    assert row("F1").whose == "you"


def test_predictions_are_compared_with_the_verdicts(learner, stored):
    holds, partly, _ = claims.VERDICTS
    stored(("I3", "01_a", holds), ("I4", "01_a", partly))
    claims.record_prediction("I3", holds)
    claims.record_prediction("I4", holds)
    claims.record_prediction("some other question", "I4")
    assert row("I3").predicted == holds and row("I3").hit
    assert row("I4").predicted == holds and not row("I4").hit
    assert not row("K1").hit and row("K1").predicted == ""


def test_the_table_links_each_lesson_and_shows_marks_as_text(learner, stored):
    holds, _, no = claims.VERDICTS
    stored(("I3", "01_a", holds), ("I3", "05_b", holds), ("I4", "01_a", no))
    claims.record_verdict("F1", "02_c", "1", holds, "a <b> & c: x < y")
    claims.record_prediction("I4", holds)
    page = l10_decision.board_table(claims.board()).to_html()
    assert '<a href="01_a.ipynb">1</a> <a href="05_b.ipynb">5</a>' in page
    assert "a &lt;b&gt; &amp; c: x &lt; y" in page
    assert f"✓ {holds}" in page and f"✗ {no}" in page and f"{holds}: wrong" in page
    assert l10_decision.board_table(claims.board()).to_html() == page

"""The board: every claim once, what the rule says of it and what was found, and predictions."""

import re
import subprocess
import sys

import pandas as pd
import pytest

from helpers import claims, plots, widgets
from helpers.compare import read, stored
from helpers.data import DATA, DataError
from lessons import (
    contrasts,
    l00_start,
    l03_same_examples,
    l04_costs,
    l05_memory,
    l06_misleading,
    l07_uses,
    l08_clinic,
    l09_inside,
    l10_decision,
)
from lessons.verdict import RULE

LESSON = "notebooks/{}.ipynb"


@pytest.fixture
def learner(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_RECORDS", str(tmp_path / "learner"))


@pytest.fixture
def found(monkeypatch, tmp_path):
    """Keep some findings as stored: (claim, lesson)."""

    def keep(*pairs):
        rows = [(c, lesson, f"{c} in {lesson}", "So.") for c, lesson in pairs]
        pd.DataFrame(rows, columns=claims.COLUMNS).to_csv(tmp_path / "f.csv", index=False)
        monkeypatch.setattr(claims, "STORED", tmp_path / "f.csv")

    return keep


@pytest.fixture
def decided(monkeypatch, tmp_path):
    """Let the rule have said these of some claims, and of all others that they are undecided."""

    def say(**verdicts):
        table = claims.verdicts().assign(verdict="undecided", when="", needed=0)
        for claim, verdict in verdicts.items():
            table.loc[table["claim"] == claim, "verdict"] = verdict
        table.to_csv(tmp_path / "v.csv", index=False)
        monkeypatch.setattr(claims, "VERDICTS", tmp_path / "v.csv")

    return say


def row(claim):
    return claims.board().set_index("claim").loc[claim]


def test_all_28_claims_have_a_verdict_a_number_and_a_lesson(learner):
    board = claims.board()
    assert list(board["claim"]) == list(claims.claims()["id"]) and len(board) == 28
    assert set(board["verdict"]) <= set(claims.MARKS)
    for column in ("text", "rule", "measured", "why", "lessons"):
        assert (board[column].map(len) > 0).all(), column
    numberless = board["measured"].str.fullmatch(r"\D*") & ~board["claim"].isin(["I1", "I4"])
    assert list(board["claim"][numberless]) == []  # those two are about equal checksums
    assert set(board["whose"]) == {"stored"} and set(board["predicted"]) == {""}


def test_the_stored_verdicts_are_what_the_rule_says_of_the_stored_results(tmp_path):
    contrasts.write(tmp_path / "verdicts.csv")
    again = (tmp_path / "verdicts.csv").read_text(encoding="utf-8")
    assert again == claims.VERDICTS.read_text(encoding="utf-8"), "run `python -m lessons verdicts`"
    assert set(claims.verdicts()["rule"]) == {RULE}


def test_the_stored_findings_are_one_for_each_claim_and_lesson():
    found = read(claims.STORED)
    assert list(found.columns) == claims.COLUMNS
    assert not found.duplicated(["claim", "lesson"]).any()
    assert found.equals(found.sort_values(["claim", "lesson"], ignore_index=True))
    for lesson, rows in found.groupby("lesson"):
        text = (DATA.parent / LESSON.format(lesson)).read_text(encoding="utf-8")
        (named,) = re.findall(r"Claims tested:\*\* ([A-Z0-9 ]+)", text)
        assert set(named.split()) == set(rows["claim"]), lesson


USES = ("replies", "emails", "codes", "writers")
MOVED = pd.DataFrame({"relative": [0.002, *[0.005] * 208, 0.015]})
FROM_STORED_RESULTS = {
    l03_same_examples: lambda: map(l03_same_examples.curves_of, ("verbs", "support_tickets")),
    l04_costs: lambda: [stored("costs")],
    l05_memory: lambda: [True],
    l06_misleading: lambda: [l06_misleading.show_faults(stored("faults"))["plain"]],
    l07_uses: lambda: [dict(zip(l07_uses.FEW, map(stored, USES), strict=True))],
    l08_clinic: lambda: [stored("clinic")],
    l09_inside: lambda: [True, 5.3e6, MOVED],
}


@pytest.mark.parametrize("module", FROM_STORED_RESULTS, ids=lambda module: module.LESSON)
def test_the_stored_results_give_the_stored_findings(module, monkeypatch):
    monkeypatch.setattr(plots, "whiskers", lambda *_, **__: None)
    known = read(claims.STORED).query("lesson == @module.LESSON").set_index("claim")
    found = module.findings(*FROM_STORED_RESULTS[module]())
    assert {claim: tuple(row) for claim, row in known[["measured", "why"]].iterrows()} == found


def test_a_verdict_in_words():
    table = claims.verdicts().iloc[0]
    number = {"verdict": "depends", "mean": 0.5, "low": 0.25, "high": 0.75, "needed": 0}
    said = claims.sentence(pd.Series({**table, **number, "when": "true when a, not when b"}))
    assert said == "depends, 0.50 (0.25 to 0.75); true when a, not when b."
    number = {"verdict": "undecided", "mean": 900, "low": 1, "high": 2400, "needed": 2000}
    said = claims.sentence(pd.Series({**table, **number, "when": ""}))
    assert said == "undecided, 900 (1 to 2,400); about 2,000 draws would decide."
    waits = {"verdict": claims.UNMEASURED, "mean": float("nan"), "needed": 0}
    waits["when"] = "it waits for fair_support_tickets and fair_verbs"
    assert claims.sentence(pd.Series({**table, **waits})) == (
        "not measured yet: the fair comparison is not finished (support tickets, past tenses)."
    )


def test_what_waits_names_no_file(learner):
    waiting = {name: f"it waits for {name}" for name in contrasts.SOURCES}
    for when in [*waiting.values(), *claims.verdicts()["when"]]:
        row = claims.verdicts().iloc[0].copy()
        row["when"], row["verdict"] = when, claims.UNMEASURED
        assert "_" not in claims.sentence(row) or not when.startswith(claims.WAITS)


def test_a_lesson_keeps_and_prints_what_it_found_and_what_the_rule_says(learner, decided, capsys):
    decided(F3="supported")
    claims.tell("02_a", {"F3": ("4 of 4", "In a file.")})
    claims.tell("02_a", {"F3": ("3 of 4", "In a file.")})
    (kept,) = claims.findings("02_a").to_dict("records")
    assert kept == {"claim": "F3", "lesson": "02_a", "measured": "3 of 4", "why": "In a file."}
    assert claims.findings("05_b").empty
    said = capsys.readouterr().out
    assert "F3. The new behaviour" in said and "Here: 3 of 4. In a file." in said
    assert "By the rule: supported" in said and "Not measured yet" not in said
    decided(F3=claims.UNMEASURED)
    claims.tell("02_a", {"F3": ("4 of 4", "In a file.")})
    assert capsys.readouterr().out.endswith("In a file.\nNot measured yet by the rule: F3.\n")
    with pytest.raises(DataError, match="no claim 'F9'"):
        claims.tell("02_a", {"F9": ("", "")})


def test_a_kernel_that_is_killed_costs_no_record(learner):
    """Killed while it records without a pause, then read by a new program."""
    program = (
        "from helpers import claims\n"
        "for i in range(10**6):\n"
        "    claims.record_prediction(f'q{i % 9}', 'x' * 1000)\n"
        "    print(i, flush=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=DATA.parent, stdout=subprocess.PIPE, text=True
    ) as process:
        for _ in range(50):
            process.stdout.readline()
        process.kill()
    assert claims.predictions() == {f"q{i}": "x" * 1000 for i in range(9)}


def test_what_several_lessons_found_stands_together(learner, found):
    found(("F3", "01_a"), ("F3", "05_b"))
    assert row("F3").lessons == ("01_a", "05_b")
    assert row("F3").measured == "[1] F3 in 01_a. [5] F3 in 05_b."
    assert row("F3").why == "[1] So. [5] So."
    assert row("K1").measured == "" and row("K1").lessons == ()


def test_the_learners_own_finding_takes_the_stored_ones_place(learner, found):
    found(("I3", "01_a"), ("I3", "05_b"), ("I4", "01_a"))
    claims.tell("01_a", {"I4": ("mine: 3", "Mine.")})
    assert row("I4")[["measured", "whose"]].tolist() == ["mine: 3", "you"]
    claims.tell("05_b", {"I3": ("mine: 4", "Mine.")})
    assert row("I3").whose == "both"
    assert row("I3").measured == "[1] I3 in 01_a. [5] mine: 4."


def test_predictions_are_compared_with_the_verdicts(learner, decided):
    yes, depends, _ = claims.CHOICES
    decided(I3=yes, I4=depends, F1=claims.BUILT_IN, F3=claims.BUILT_IN)
    claims.record_prediction("F1", yes)
    claims.record_prediction("F3", depends)
    claims.record_prediction("I3", yes)
    claims.record_prediction("I4", yes)
    claims.record_prediction("some other question", "I4")
    assert row("I3").predicted == yes and row("I3").hit
    assert row("I4").predicted == yes and not row("I4").hit
    assert not row("K1").hit and row("K1").predicted == ""
    assert row("F1").hit and not row("F3").hit  # by construction: it had to be supported


def test_the_table_links_each_lesson_and_shows_marks_as_text(learner, found, decided):
    yes, _, no = claims.CHOICES
    found(("I3", "01_a"), ("I3", "05_b"), ("I4", "01_a"))
    decided(I3=yes, I4=no)
    claims.tell("02_c", {"F1": ("1", "a <b> & c: x < y")})
    claims.record_prediction("I4", yes)

    def table():
        board = l10_decision.with_first_looks(claims.board(), l10_decision.verdict)
        return l10_decision.board_table(board).to_html()

    page = table()
    assert '<a href="01_a.ipynb">1</a> <a href="05_b.ipynb">5</a>' in page
    assert "a &lt;b&gt; &amp; c: x &lt; y" in page
    assert f"✓ {yes}" in page and f"✗ {no}" in page and f"{yes}: wrong" in page
    assert table() == page


def test_buttons_take_what_was_said_before_and_forget_words_that_are_no_more(learner):
    claims.record_prediction("I2", "depends")
    claims.record_prediction("I3", "holds with conditions")  # of the first edition
    claims.keep("built.json", "lens: read", True)
    claims.keep("built.json", "carry: put in", False)
    accordion, count = l00_start.predict_claims(claims.claims()).children
    buttons = {row.children[1].claim: row.children[1] for box in accordion.children
               for row in box.children}  # fmt: skip
    assert buttons["I2"].value == "depends" and buttons["I3"].value is None
    buttons["I4"].value = "supported"
    assert claims.predictions()["I4"] == "supported"
    assert count.value == (
        "So far: 3 of 28 claims predicted, pieces built: 1, questions answered: 0."
    )
    assert widgets.predict("I3", claims.CHOICES).children[1].value is None
    assert widgets.predict("I2", claims.CHOICES).children[1].value == "depends"


def test_each_claim_says_what_would_support_it():
    table = claims.claims()
    goals = dict(zip(table["id"], l00_start.goals(table), strict=True))
    assert goals["I2"].endswith("answers shuffled: at least 0.10")
    assert goals["K6"] == "U1 and U3 favour the weights, U2 and U4 the prompt: all four supported"
    assert goals["I4"] == "training steps taken"
    assert goals["F6"].endswith(": ratio of at least 10") and "within 0.05" in goals["F6"]
    box = l00_start.predict_claims(table).children[0].children[0].children[0]
    assert goals["F1"] in box.children[0].value

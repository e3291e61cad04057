"""The rules that a learner builds decide as the course does; progress shows what was done."""

import json
import re

import pytest

from helpers import checks, claims, plots
from helpers.compare import Interval
from helpers.data import DATA, DataError
from lessons import first_looks, l10_decision, progress, quiz
from lessons.verdict import CONTRADICTED, SUPPORTED, UNDECIDED
from lessons.verdict import parts as verdict_parts
from own_data import advice, read_own
from own_data.judging import Judged, Lead

PAIRS = l10_decision.comparisons()


@pytest.fixture
def learner(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_RECORDS", str(tmp_path))
    return tmp_path


def test_the_contrasts_reach_every_outcome_and_name_their_claims():
    cases = l10_decision.contrasts()
    outcomes = {l10_decision.verdict(*case.asked) for case in cases}
    assert outcomes == {SUPPORTED, CONTRADICTED, UNDECIDED}
    assert {case.claim for case in cases} <= set(claims.claims()["id"])
    assert [case.told("OPEN")[-20:] for case in cases if case.at_most] == [", at most 0.25: OPEN"]


@pytest.mark.parametrize("place", range(len(PAIRS)))
def test_the_choice_is_that_of_own_data(place, monkeypatch):
    """The ways take the names of the course's comparison, in its order of simplicity."""
    ways, leads = PAIRS[place]
    names = dict(zip(ways, ("words", "prompt", "lora"), strict=True))
    known = {(names[a], names[b]): Lead(gap, 100) for (a, b), gap in leads.items()}
    known |= {(name, "majority"): Lead(Interval(0.3, 0.2, 0.4), 100) for name in names.values()}
    judged = Judged(None, None, {}, known)
    best = max(ways, key=lambda way: min(leads[way, other].mean for other in ways if other != way))
    order = [names[best], *(names[way] for way in ways if way != best)]
    chosen = l10_decision.choose(ways, leads)
    assert names.get(chosen) == advice.recommended(judged, order)


def test_some_choices_are_open_and_the_cheapest_is_not_always_chosen():
    chosen = {
        ways.index(way) if way else None
        for ways, leads in PAIRS
        for way in [l10_decision.choose(ways, leads)]
    }
    assert chosen == {None, 0, 1, 2}


def test_hasty_looks_cry_wolf():
    alarms, asked = l10_decision.looks(lambda n, _: n.low > 0 or n.high < 0)
    assert 0.15 < alarms < 0.3 and asked < 100
    assert l10_decision.looks(lambda n, _: False) == [0.0, 200.0]
    _, patient = l10_decision.looks(lambda n, at: at == 200)
    assert patient == 200


@pytest.fixture
def board(learner):
    return l10_decision.with_first_looks(claims.board(), l10_decision.verdict)


def test_what_a_claim_turns_on(board):
    board = board.set_index("claim", drop=False)
    turns = l10_decision.depends(board)
    assert turns["F2"] == l10_decision.MEASURED
    assert turns["I1"] == turns["F3"] == l10_decision.ALWAYS
    assert turns["K2"] == l10_decision.SKILL and (turns != "").all()
    flat = board.assign(verdict=SUPPORTED)
    assert set(l10_decision.depends(flat)) == {l10_decision.MEASURED}
    named = " ".join(l10_decision.TURNS.values()).split()
    assert len(set(named)) == len(named) and set(named) <= set(board["claim"])


def test_every_claim_without_a_verdict_has_a_first_look_by_the_learners_rule(board):
    waits = board[board["verdict"] == claims.UNMEASURED]
    assert (waits["look"] != "").all() and (waits["levels"] != "").all()
    said = dict(zip(board["claim"], board["levels"], strict=True))
    assert re.fullmatch(r"supported \(messages \S+\); contradicted \(past tenses \S+\)", said["K2"])
    assert said["K6"].endswith("(U1, U2, U3, U4 together)")
    never = l10_decision.look_at(lambda *_: UNDECIDED)
    assert {outcome for outcome, _ in never.values()} == {UNDECIDED}


def test_first_looks_come_together_as_the_rule_has_it():
    high, low, wide = Interval(0.5, 0.4, 0.6), Interval(0.0, -0.1, 0.05), Interval(0.2, -0.5, 0.9)
    both = [(SUPPORTED, high), (CONTRADICTED, low)]
    assert first_looks.together(both) == claims.DEPENDS
    assert first_looks.together([(SUPPORTED, wide), (CONTRADICTED, low)]) == UNDECIDED
    assert first_looks.together([(SUPPORTED, high), (UNDECIDED, wide)]) == UNDECIDED
    assert first_looks.together([(CONTRADICTED, low)] * 2) == CONTRADICTED
    four = dict.fromkeys(("U1", "U2", "U3", "U4"), SUPPORTED)
    assert first_looks.joint(four) == {"K6": SUPPORTED}
    assert first_looks.joint(four | {"U2": UNDECIDED}) == {"K6": UNDECIDED}
    assert first_looks.joint(four | {"U2": CONTRADICTED}) == {"K6": claims.DEPENDS}


def test_first_looks_ask_what_the_claims_ask():
    parts = dict(claims.claims()[["id", "parts"]].to_numpy())
    for look in first_looks.looks():
        assert look.part in verdict_parts(parts[look.claim]), look


def test_the_score_counts_what_can_be_judged(learner):
    yes, depends, _ = claims.CHOICES
    for claim, guess in {"F1": yes, "I2": yes, "K2": depends, "C2": yes}.items():
        claims.record_prediction(claim, guess)
    board = l10_decision.with_first_looks(claims.board(), l10_decision.verdict)
    score = l10_decision.score(board)
    assert score["claims"].sum() == 28 and score["claims"][l10_decision.BUILT] == 7
    assert score.loc[l10_decision.BUILT, ["predicted", "right"]].tolist() == [1, 1]
    stands = board.set_index("claim")["stands"]
    by_claim = {"I2": l10_decision.FAIR, "K2": l10_decision.LOOK, "C2": l10_decision.OPEN}
    if all(stands[claim] == how for claim, how in by_claim.items()):  # as long as these are so
        assert score["predicted"].tolist() == [1, 1, 1, 1]
        assert score["right"].tolist() == [1, 0, 1, "-"]
        assert l10_decision.scored(board).endswith("You predicted 3 of them, 2 rightly.")
        table = repr(l10_decision.board_table(board))
        assert "| supported: open" in table and "| depends: right by the first look" in table


def test_the_board_shows_what_the_learners_rule_says_and_reads_without_a_page(board):
    table = l10_decision.board_table(board)
    (line,) = [line for line in repr(table).splitlines() if "| K2 " in line]
    assert "| ◐ depends: supported (messages " in line and "; contradicted (past tenses " in line
    assert line.startswith("whether the model has the skill | ")
    (line,) = [line for line in repr(table).splitlines() if "| F6 " in line]
    assert "| ✓ supported (messages 61)" in line
    assert "contradicted (past tenses" in table.to_html() and "<style" in table._repr_html_()


def test_what_the_learner_found_stands_in_the_place_of_the_stored_finding(learner):
    claims.tell("04_speed_and_cost", {"K3": ("mine", "Not here.")})
    board = l10_decision.with_first_looks(claims.board(), l10_decision.verdict)
    (line,) = [x for x in l10_decision.board_table(board).lines if "K3 " in x]
    assert "Not here." in line and "The wait is in teaching" not in line


def test_what_the_prompt_said_most_is_counted():
    said = l10_decision.most_said(advice.TITLES["prompt"])
    assert re.fullmatch(r"examples in the prompt: \w+ is \d+ of 54 answers\.", said)


def test_the_longer_comparison_is_of_our_file():
    found = l10_decision.longer(advice.TITLES)
    own = {row.number for row in read_own(DATA / "own_example.csv", label="passed_to").rows}
    assert {"majority", "words", "zero-shot", "prompt", "lora"} <= set(found)
    assert all(set(rows) <= own and len(rows) == len(right) for rows, right in found.values())
    record = json.loads((l10_decision.LONGER / "record.json").read_text("utf-8"))
    assert record["minutes"] == 20  # as the lesson says
    assert {way: len(rows) for way, (rows, _) in found.items()} == record["questions"]


def test_each_way_is_drawn_once_in_its_colour(monkeypatch):
    shown = []
    monkeypatch.setattr(plots, "show", lambda figure, sentence: shown.append(figure))
    shares = dict.fromkeys(("majority", "prompt", "lora"), (Interval(0.5, 0.4, 0.6), 27))
    names = {way: way.upper() for way in ("majority", "words", "prompt", "lora")}
    l10_decision.contest({"a": shares, "b": {"lora": shares["lora"]}}, names, "title", "sentence")
    first, second = shown[0].axes
    assert [text.get_text() for text in first.get_yticklabels()] == ["MAJORITY", "PROMPT", "LORA"]
    drawn = [(bars[0].get_color(), *bars[0].get_ydata()) for bars in first.containers]
    assert drawn == [(plots.GREY, 2), (plots.PROMPT, 1), (plots.WEIGHTS, 0)]
    assert [text.get_text() for text in second.texts] == ["27", "asked"]


def test_the_page_shows_what_was_predicted_built_and_answered(learner, capsys):
    claims.record_prediction("How many <b>?", "12")
    claims.keep("measured.json", "How many <b>?", 26.0)
    claims.record_prediction("F2: does it learn?", "topics & more")
    claims.tell("02_fine_tuning", {"F2": ("+0.3", "why")})
    checks.built(l10_decision.VERDICT, lambda *case: l10_decision.verdict(*case))
    checks.built(l10_decision.CHOICE, lambda *case: None)
    row = quiz.questions(3)[0]
    quiz.show(3).children[1].value = row["options"][0]["text"]
    counts = progress.write()
    assert counts == {"predictions": 2, "built": 2, "answers": 1, "findings": 1}
    page = (learner / progress.PAGE).read_text(encoding="utf-8")
    assert "<td>How many &lt;b&gt;?</td><td>12</td><td>26</td>" in page
    assert f"<td>topics &amp; more</td><td>{claims.board()['verdict'][1]}</td>" in page
    assert page.count("<td>not yet</td>") + page.count("<td>right</td>") == 3
    assert "does not prove who" in page
    assert "COURSE_RECORDS" in capsys.readouterr().out


def test_the_record_is_checked_without_the_learner(learner):
    claims.record_prediction("How many?", "zwölf")
    progress.write()
    assert progress.check(progress.record())
    claims.record_prediction("How many?", "13")
    assert progress.check(progress.record())  # it stands as it was written
    record = json.loads(progress.record().read_text(encoding="utf-8"))
    record["records"]["predictions"]["How many?"] = "26"
    progress.record().write_text(json.dumps(record), encoding="utf-8")
    assert not progress.check(progress.record())


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"records": 1}'])
def test_what_is_no_record_is_refused(learner, content):
    progress.record().write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match="no completion record"):
        progress.check(progress.record())


def test_nothing_done_gives_an_empty_page(learner):
    assert sum(progress.write().values()) == 0
    assert "Nothing is kept yet." in (learner / progress.PAGE).read_text(encoding="utf-8")

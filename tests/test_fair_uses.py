"""The uses with both ways at their best: what is asked and tried, and what is contrasted."""

import json
from collections import Counter
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from helpers import compare, study
from helpers.claims import claims
from helpers.data import Example, load_rows, texts
from lessons import codes, contest, letters, replies, verdict
from lessons import fair_uses as uses
from lessons.styles import part

pytestmark = pytest.mark.usefixtures("one_thread")
WRITERS = load_rows("writers")


@pytest.fixture
def tiny(make_tiny, monkeypatch):
    """A tiny model, which writes two tokens."""
    known = {name: uses.load(name)._replace(room=2) for name in uses.USES}
    monkeypatch.setattr(uses, "load", known.get)
    return make_tiny("llama", max_position_embeddings=8192)


def right_answers(name: str, draw: int) -> dict[str, str]:
    """The stored answer to each text that may be asked."""
    if name == "replies":
        return {row["ticket"]: row["reply"] for row in load_rows("support_replies")}
    if name == "codes":
        task = codes.load_task()
        return {note.text: note.label for note in (*task.train, *task.held_out)}
    if name == "writers":
        rows = part(WRITERS, "measure")[draw]["messages"]
        return {row["request"]: row["message"] for row in rows}
    mail = load_rows("emails")
    return {uses.styles.sent(row): row["replies"]["dashed"] for row in mail}


# What is taught and asked


@pytest.mark.parametrize("name", uses.USES)
def test_what_is_asked_in_development_is_asked_nowhere_else(name):
    use = uses.load(name)
    measured = {
        query.text
        for p in use.parts
        for d in range(3)
        for query in use.given(p, use.sizes[0], d)[1]
    }
    for shots in use.sizes:
        for draw in contest.DEVELOPMENT:
            for p in use.dev_parts:
                drawn, asked = use.developed(p, shots, draw)
                queries = {query.text for query in asked}
                assert len(queries) == len(asked) == uses.DEV[name]
                assert not queries & set(texts(drawn))
                if name != "writers":  # there the writers are others
                    assert not (queries | set(texts(drawn))) & measured
                assert len(drawn) == (min(shots, 208) if name == "codes" else shots)


@pytest.mark.parametrize(("name", "asked"), [("replies", 40), ("emails", 16), ("codes", 80)])
def test_every_held_out_text_is_asked_on_every_draw(name, asked):
    use = uses.load(name)
    for shots in use.sizes:
        one, other = (use.given(use.parts[-1], shots, draw) for draw in (0, 1))
        assert len(one[0]) == shots and one[0] != other[0]
        assert [q.text for q in one[1]] == [q.text for q in other[1]] and len(one[1]) == asked


def test_each_message_of_a_writer_is_asked_in_one_fold():
    use, measured = uses.load("writers"), part(WRITERS, "measure")
    assert len(measured) == 10 and not {w["writer"] for w in measured} & set(use.dev_parts)
    for draw, writer in enumerate(measured):
        folds = [use.given(fold, 8, draw) for fold in use.parts]
        asked = Counter(query.text for _, queries in folds for query in queries)
        assert asked == Counter(row["request"] for row in writer["messages"])
        for known, queries in folds:
            assert len(known) == 8 and not set(texts(known)) & {q.text for q in queries}


@pytest.mark.parametrize("name", uses.USES)
def test_the_stored_answers_are_right_and_nonsense_is_not(name):
    use = uses.load(name)
    _, asked = use.given(use.parts[-1], use.sizes[0], 2)
    known = right_answers(name, 2)
    rows = uses.marked([known[query.text] for query in asked], use, asked, "")
    assert all(set(row["right"]) == {"1"} for row in rows if row["measure"] != "step")
    [main] = [row for row in rows if row["measure"] == use.measure]
    assert json.loads(main["said"])[0] == known[asked[0].text]
    assert uses.marked(["nonsense"] * len(asked), use, asked, "")[0]["value"] == 0


# What is tried


@pytest.mark.parametrize("name", uses.USES)
def test_as_many_settings_are_tried_for_either_way(name):
    use = uses.load(name)
    for arm in set(use.prompts) - {uses.NOTHING_SHOWN}:
        assert len(uses.settings(use, arm)) == len(uses.RATES) * len(contest.STOPS)
    every = [setting for arm in use.prompts for setting in uses.settings(use, arm)]
    assert len(set(every)) == len(every)  # so a setting tells its arm


def test_a_codebook_line_is_looked_up_for_every_note_shown():
    task, lines = codes.load_task(), letters.load().codes
    for note in task.held_out[:20]:
        *shown, line = uses.with_lines(task.train, 4)(note.text)
        assert line.text in note.text and line.label == lines[line.text] == note.label
        for known, near in zip(shown[::2], shown[1::2], strict=True):
            assert near in task.train and known == Example(uses.code(near.text), near.label)
    assert uses.with_lines(task.train, 0)(note.text) == [line]


def test_the_same_notes_stand_in_another_order(tiny):
    drawn = codes.load_task().draw(60, 0)
    shown = {c: uses.demonstrations(tiny, None, drawn, c) for c in uses.NOTES["all 240"]}
    assert shown["mixed"] == drawn
    assert all(Counter(notes) == Counter(drawn) for notes in shown.values())
    by_code = [note.label for note in shown["by code"]]
    assert sum(a != b for a, b in pairwise(by_code)) == len(set(by_code)) - 1
    assert {note.label for note in shown["in turn"][: len(set(by_code))]} == set(by_code)
    assert len(uses.demonstrations(tiny, None, drawn, "nearest 4")(drawn[0].text)) == 4
    assert uses.demonstrations(tiny, None, drawn, "none") == []


@pytest.mark.parametrize("form", uses.FORMS)
def test_a_form_tells_the_instruction_or_not(tiny, form):
    use = uses.load("replies")
    drawn, asked = use.given("", 8, 0)
    taught = uses.show(tiny, use, drawn, f"{form}, shared", asked[0].text)
    assert taught.demonstrations == drawn
    told = replies.instruction().strip() in taught.style(taught.task, drawn, asked[0].text)
    assert told == ("instruction" in form)


def test_few_examples_get_small_batches():
    assert [uses.batch(n) for n in (4, 8, 64, 208)] == [2, 2, 8, 8]


def test_the_best_in_development_is_chosen_by_the_main_measure(monkeypatch):
    rows = [
        {"arm": arm, "shots": 8, "measure": measure, "setting": setting, "value": value}
        for arm, measure, setting, value in [
            ("prompt", "all rules", "bare, shared", 0.25),
            ("prompt", "facts", "bare, shared", 1.0),
            ("prompt", "all rules", "chat, shared", 0.5),
            ("prompt", "all rules", "chat, like words", 0.5),
            ("weights", "all rules", "rate 0.001, 8 passes", 0.9),
        ]
    ]
    monkeypatch.setattr(compare, "stored", {"tuned_replies": pd.DataFrame(rows)}.get)
    assert uses.chosen("replies", "prompt", 8) == "chat, shared"
    assert uses.chosen("replies", "weights", 8) == "rate 0.001, 8 passes"


# The studies


@pytest.mark.parametrize(("name", "tried", "measured"), [
    ("replies", 2 * 2 * 15, 2 * 4), ("emails", 2 * 6 * 15, 6 * 4),
    ("codes", 2 * (39 + 7), 9 + 4), ("writers", 2 * 6 * 19, 3 * 6),
])  # fmt: skip
def test_every_arm_has_a_cell_of_every_draw(tiny, name, tried, measured):
    tuning, fair = uses.tuning_study(tiny, 2, name), uses.uses_study(tiny, 10, name)
    assert len(tuning.cells) == tried and len(fair.cells) == 10 * measured
    for planned in (tuning, fair):
        assert len({tuple(cell.values()) for cell in planned.cells}) == len(planned.cells)
        assert json.loads(json.dumps(planned.settled)) == planned.settled


def test_a_setting_of_the_weights_is_looked_at_after_each_stop(tiny, monkeypatch):
    monkeypatch.setattr(contest, "STOPS", (1, 2))
    planned = uses.tuning_study(tiny, 1, "writers")
    cell = next(cell for cell in planned.cells if cell["arm"] == "weights")
    rows = [row for row in planned.work(**cell) if row["measure"] == "all rules"]
    assert [row["setting"] for row in rows] == ["rate 0.0003, 1 passes", "rate 0.0003, 2 passes"]
    assert all(len(row["right"]) == planned.settled["questions"] for row in rows)
    assert 0 < rows[0]["tokens"] < rows[1]["tokens"] and rows[0]["processor"] > 0


@pytest.mark.parametrize("arm", ["prompt", "nothing", "weights"])
@pytest.mark.parametrize("recipe", uses.RECIPES)
def test_an_arm_is_taught_as_it_was_chosen_and_stored_again(
    tiny, monkeypatch, tmp_path, arm, recipe
):
    best = {"prompt": "chat, like words", "nothing": "chat, none"}
    best["weights"] = "rate 0.002, 2 passes"
    monkeypatch.setattr(uses, "chosen", lambda name, arm, shots: best[arm])
    monkeypatch.setattr(uses, "passes", lambda *_: 1)
    plan = uses.uses_study(tiny, 1, "writers")
    use = uses.load("writers")._replace(way=lambda shots: uses.Way("a", trained=None, passes=1))
    monkeypatch.setattr(uses, "load", lambda name: use)
    plan = plan._replace(cells=[c for c in plan.cells if c["way"] == f"{arm}, {recipe}"][:1])
    rows = study.carry_out(plan, tiny, tmp_path / "fair.csv")
    assert list(rows["measure"]) == ["all rules", "facts"]
    assert (rows["setting"] == best[arm]).all() == (recipe == "tuned")
    assert (rows["processor"] > 0).all() and (rows["tokens"] > 0).all() == (arm == "weights")
    again = study.carry_out(plan, tiny, tmp_path / "fair.csv")  # nothing is done twice
    assert len(again) == len(rows)


def test_a_dictionary_of_the_notes_answers_every_note(tiny):
    planned = uses.uses_study(tiny, 1, "codes")
    [cell] = [cell for cell in planned.cells if cell["way"] == uses.LOOK_UP]
    [row] = planned.work(**cell)
    assert cell["shots"] == 240 and row["right"] == "1" * 80


def test_half_of_the_notes_are_asked_against_nothing_and_all_against_every_prompt(tiny):
    use, fair = uses.load("codes"), uses.uses_study(tiny, 1, "codes")
    asked = {n: {c["way"] for c in fair.cells if c["shots"] == n} for n in use.sizes}
    assert asked[128] == {f"{a}, {r}" for a in ("nothing", "weights") for r in uses.RECIPES}
    assert {arm.rsplit(", ", 1)[0] for arm in asked[240]} == {*uses.NOTES, "weights", uses.LOOK_UP}
    fewer, every = (use.given("", shots, 3)[0] for shots in use.sizes)
    assert fewer == every[:128]


# The contrasts


def stored(name: str, shares: dict[str, float], seconds: dict[str, float] | None = None):
    """Synthetic rows of a use: each arm is right in its share of questions, by a fixed chance."""
    use, rng, rows = uses.load(name), np.random.default_rng(0), []
    asked = {"replies": 40, "emails": 16, "codes": 80, "writers": 4}[name]
    for draw in range(10):
        for p in use.parts:
            for shots in use.sizes:
                for arm in [a for a in (*use.kinds(shots), "weights") if a in shares]:
                    for recipe in uses.RECIPES:
                        about = {"draw": draw, "part": p, "shots": shots}
                        about |= {"way": f"{arm}, {recipe}", "processor": (seconds or {}).get(arm)}
                        right = rng.random(asked) < shares[arm]
                        rows.append(about | compare.scored(right, use.measure))
                        rows.append(about | compare.scored(~right, "facts"))
    return pd.DataFrame(rows)


SECONDS = {"prompt": 0.5, "weights": 20.0, "nothing": 0.1}


@pytest.fixture
def better(monkeypatch):
    """Development, in which retrieved notes did better than all of them."""
    tried = [("all 240", "bare, in turn", 0.3), ("retrieved", "chat, nearest 4", 0.5)]
    rows = [
        {"arm": arm, "shots": 240, "measure": "answers", "setting": setting, "value": value}
        for arm, setting, value in [*tried, (uses.LINES, "bare, line and 4", 0.9)]
    ]
    monkeypatch.setattr(compare, "stored", {"tuned_codes": pd.DataFrame(rows)}.get)


def made() -> list[dict]:
    """The contrasts of results in which prompts do well with styles, and weights with codes."""
    styled = {"prompt": 0.8, "weights": 0.5}
    coded = dict.fromkeys(uses.NOTES, 0.4) | {"weights": 0.9, "nothing": 0.1, "retrieved": 0.6}
    return [
        *uses.of_replies(stored("replies", {"prompt": 0.6, "weights": 0.9})),
        *uses.of_emails(stored("emails", styled, SECONDS)),
        *uses.of_codes(stored("codes", coded)),
        *uses.of_writers(stored("writers", styled | {"nothing": 0.0}, SECONDS)),
    ]


def test_each_claim_has_its_parts_at_its_levels_and_is_decided(better):
    rows = pd.DataFrame(made())
    levels = {claim: set(of_claim["level"]) for claim, of_claim in rows.groupby("claim")}
    styles = {style["style"] for style in load_rows("styles")}
    assert levels == {
        "U1": {"8 pairs", "64 pairs"}, "U2": styles, "U3": set(uses.NOTES),
        "U4": {"writers"}, "I6": {"e-mails", "writers"},
        "F2": {"clinic codes"}, "F4": {"clinic codes"}, "I7": {"clinic codes"},
    }  # fmt: skip
    rules = claims()
    verdicts = verdict.decide(rows, rules[rules["id"].isin(levels)])
    assert {v.claim: v.verdict for v in verdicts} == dict.fromkeys(levels, verdict.SUPPORTED)
    assert set(rows["draws"]) == {10} and set(rows["recipe"]) == set(uses.RECIPES)


def test_the_gap_is_of_the_right_arms_and_measure(better):
    rows = pd.DataFrame(made()).set_index(["claim", "level", "recipe", "part"])["mean"].sort_index()
    expected = {
        ("U1", "8 pairs", 0): 0.3, ("U2", "formal", 0): 0.3, ("U2", "formal", 1): 40,
        ("U3", "retrieved", 0): 0.3, ("U3", "all 240", 0): 0.5, ("F2", "clinic codes", 0): 0.8,
        ("F4", "clinic codes", 0): 0.9, ("U4", "writers", 0): 0.8, ("U4", "writers", 1): 0.3,
        ("I6", "writers", 0): 0.3, ("I6", "e-mails", 0): 0.3, ("I6", "e-mails", 1): 40,
    }  # fmt: skip
    for (claim, level, number), mean in expected.items():
        for recipe in uses.RECIPES:
            assert rows[claim, level, recipe, number] == pytest.approx(mean, abs=0.12)
    lead = [rows.loc["I7", "clinic codes", recipe, 0] for recipe in uses.RECIPES]
    assert lead[0] == rows.loc["U3", "all 240", "default", 0]
    assert lead[1] == rows.loc["U3", "retrieved", "tuned", 0]


def test_a_gap_is_paired_by_draw_part_and_question():
    rows = stored("writers", {"prompt": 0.5, "weights": 0.5}, SECONDS)
    gap = uses.ahead(rows, "prompt", "weights", "tuned")
    shuffled = uses.ahead(rows.sample(frac=1, random_state=0), "prompt", "weights", "tuned")
    assert gap.shape == (10, 12) and set(gap.ravel()) == {-1, 0, 1}
    np.testing.assert_array_equal(gap, shuffled)
    assert uses.sooner(rows, "tuned") == pytest.approx(np.full((10, 3), np.log(40)))


def test_what_is_nested_is_resampled_within_its_own_draw():
    rng = np.random.default_rng(1)
    alike = rng.random((40, 12)) < 0.5
    mean, low, high = uses.nested(alike.astype(float))
    # Here all spread is within draws, which counts twice: in the draws' means and in their items.
    expected = 2 * 1.96 * np.sqrt(2 * 0.25 / alike.size)
    assert mean == alike.mean() and high - low == pytest.approx(expected, rel=0.15)
    whole = np.repeat(rng.random((40, 1)) < 0.5, 12, axis=1).astype(float)
    mean, low, high = uses.nested(whole)
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 40), rel=0.15)
    assert uses.nested(np.ones((3, 2))) == (1, 1, 1)

"""What is done to a prompt is what its name says, and the parts of luck are the ones put in."""

import numpy as np
import pandas as pd
import pytest
from test_curves import BEASTS, CLOSED, LABELS

from helpers.compare import read
from helpers.curves import Outcome
from helpers.data import DataError, Example, load_task
from helpers.prompts import count_tokens, plain
from helpers.scoring import (
    CONTENT_FREE,
    batch_calibration,
    contextual_calibration,
    predict,
    score_labels,
)
from helpers.study import carry_out
from lessons import l06_misleading as misleading
from lessons.l06_misleading import FAULTS, KINDS, faulty, label_letters, relabelled
from lessons.words import INVENTED

pytestmark = pytest.mark.usefixtures("one_thread")
CATEGORY = load_task("category")
DRAWN = CATEGORY.draw(8, 0)


@pytest.fixture(scope="module")
def tiny(make_tiny):
    return make_tiny("llama")


# Faults


@pytest.mark.parametrize("name", ["category", "reviews"])
def test_every_fault_leaves_the_question_as_it_is(name):
    task = load_task(name)
    drawn, question = task.draw(4, 1), plain(task, [], "some text")
    clean = plain(task, drawn, "some text")
    written = [faulty(task, fault)(task, drawn, "some text") for fault in FAULTS]
    assert written[0] == clean
    assert len(set(written)) == len(FAULTS)
    assert all(prompt.endswith(question) for prompt in written)
    right = plain(task, drawn, "some text", task.labels[0])
    for fault, prompt in zip(FAULTS, written, strict=True):
        answered = faulty(task, fault)(task, drawn, "some text", task.labels[0])
        assert answered.startswith(prompt) and right.endswith(answered[len(prompt) :])


def test_each_fault_does_what_it_says():
    two = [Example("plum", "fruit"), Example("saw", "tool"), Example("fig", "fruit")]
    written = {
        fault: faulty(CATEGORY, fault)(CATEGORY, two, "ox").removesuffix("ox ->")
        for fault in FAULTS
    }
    assert written == {
        "clean": "plum -> fruit\nsaw -> tool\nfig -> fruit\n",
        "no break between": "plum -> fruitsaw -> toolfig -> fruit",
        "no mark before label": "plum fruit\nsaw tool\nfig fruit\n",
        "mixed formats": "plum -> fruit\nsaw: tool\nfig is fruit\n",
        "label before text": "fruit -> plum\ntool -> saw\nfruit -> fig\n",
        "mixed case": "plum -> fruit\nsaw -> Tool\nfig -> FRUIT\n",
        "a label missing": "saw -> tool\n",
    }


def test_a_text_with_a_placeholder_stays_as_it_is():
    drawn = [Example("a {label} here", "fruit")]
    assert faulty(CATEGORY, "clean")(CATEGORY, drawn, "x") == "a {label} here -> fruit\nx ->"


def test_an_unknown_fault_or_task_is_told():
    with pytest.raises(DataError, match="no 'typo' for 'category'"):
        faulty(CATEGORY, "typo")
    with pytest.raises(DataError, match="no 'mixed case' for 'kinds'"):
        faulty(CLOSED, "mixed case")


# Labels


def test_flipped_labels_are_all_wrong_and_consistent():
    _, flipped = relabelled(CATEGORY, DRAWN, "flipped")
    assert [e.text for e in flipped] == [e.text for e in DRAWN]
    assert all(a.label != b.label for a, b in zip(DRAWN, flipped, strict=True))
    assert len({e.label for e in flipped}) == len(CATEGORY.labels)


def test_random_labels_are_the_same_for_both_methods_and_differ_between_draws():
    drawn = [CATEGORY.draw(32, seed) for seed in range(3)]
    given = [[e.label for e in relabelled(CATEGORY, some, "random")[1]] for some in drawn]
    assert given[0] == [e.label for e in relabelled(CATEGORY, drawn[0], "random")[1]]
    assert given[0] != given[1] != given[2]
    hits = [a == e.label for some, new in zip(drawn, given, strict=True)
            for a, e in zip(new, some, strict=True)]  # fmt: skip
    assert 0 < np.mean(hits) < 0.35  # chance is 1 in 8


def test_nonsense_changes_the_words_and_nothing_else():
    task, drawn = relabelled(CATEGORY, DRAWN, "nonsense")
    prompt = plain(task, drawn, "ox")
    assert drawn == list(DRAWN) and task.labels == CATEGORY.labels
    assert not any(label in prompt for label in CATEGORY.labels)
    assert sum(word in prompt for word in INVENTED) == len(CATEGORY.labels)


# Experiments


def test_a_prompt_is_read_in_three_ways(tiny):
    asked, drawn = CLOSED.held_out, CLOSED.draw(4, 0)
    queries = [e.text for e in asked]
    scores = score_labels(tiny, CLOSED, drawn, queries)
    empty = score_labels(tiny, CLOSED, drawn, CONTENT_FREE)
    truth = {
        "plain": scores,
        "batch-calibrated": batch_calibration(scores),
        "contextual": contextual_calibration(scores, empty),
    }
    rows = misleading.ask(tiny, CLOSED, drawn, asked)
    assert [row["readout"] for row in rows] == list(truth)
    for row, read_scores in zip(rows, truth.values(), strict=True):
        answers = predict(CLOSED, read_scores)
        assert row["said"] == label_letters(CLOSED, answers)
        assert row["value"] == np.mean([a == e.label for a, e in zip(answers, asked, strict=True)])
        assert row["right"].count("1") == row["value"] * len(asked)
    own = misleading.ask(tiny, CLOSED, lambda text: drawn, asked)
    assert [row["readout"] for row in own] == ["plain", "batch-calibrated"]
    assert own[0]["said"] == rows[0]["said"]


def test_all_orders_of_a_draw_and_the_lopsided_ones(tiny):
    rows = carry_out(misleading.orders_study(tiny, 2, CLOSED, 4), tiny)
    plainly = rows[rows.readout == "plain"]
    even = plainly[plainly.mix == "even"]
    assert len(even) == 2 * 24 and even.groupby("draw").order.nunique().eq(24).all()
    assert all(sorted(shown) == ["a", "a", "b", "b"] for shown in even.labels_shown)
    for label, letter, other in zip(LABELS, "ab", "ba", strict=True):
        shown = plainly[plainly.mix == label].labels_shown
        assert set(shown) == {3 * letter + other, other + 3 * letter}
    drawn = CLOSED.draw(4, 1)
    row = even[(even.draw == 1) & (even.order == "3-1-4-2")].iloc[0]
    again = misleading.ask(tiny, CLOSED, [drawn[i] for i in (2, 0, 3, 1)], CLOSED.held_out[:4])
    assert row.labels_shown == label_letters(CLOSED, [drawn[i].label for i in (2, 0, 3, 1)])
    assert len(row.said) == len(again[0]["said"])


def test_labels_go_to_both_methods(tiny, monkeypatch):
    given = []

    def stub(lm, task, taught_by, drawn, queries, seed):
        given.append((task, drawn, seed))
        return [Outcome("stub", [CATEGORY.labels[0]] * len(queries))]

    monkeypatch.setattr(misleading, "outcomes", stub)
    rows = carry_out(misleading.labels_study(tiny, 2, CATEGORY, 16), tiny)
    assert len(rows) == 2 * len(KINDS) * 2
    assert rows.value.eq(1 / 8).all() and rows.said.eq("a" * 16).all()
    for prompted, trained in zip(given[::2], given[1::2], strict=True):
        assert prompted[1:] == trained[1:]
        assert len(prompted[1]) == misleading.SHOTS["labels"]


def test_luck_turns_the_order_in_the_prompt_and_the_seed_in_training(tiny, monkeypatch):
    given = {"in-context": [], "lora": []}

    def stub(lm, task, taught_by, drawn, queries, seed):
        given[taught_by].append(([e.text for e in drawn], seed))
        return [Outcome(taught_by, [CATEGORY.labels[1]] * len(queries))]

    monkeypatch.setattr(misleading, "outcomes", stub)
    rows = carry_out(misleading.luck_study(tiny, 1, CATEGORY, 8), tiny)
    shown = [texts for texts, _ in given["in-context"]]
    assert len({tuple(texts) for texts in shown}) == misleading.SEEDS["in-context"]
    assert len({frozenset(texts) for texts in shown}) == 1
    assert len({tuple(texts) for texts, _ in given["lora"]}) == 1
    assert [seed for _, seed in given["lora"]] == list(range(misleading.SEEDS["lora"]))
    assert len(rows) == sum(misleading.SEEDS.values())


def test_length_shows_the_start_of_a_draw_and_never_more_than_fits(tiny, monkeypatch):
    texts = [f"{word} {number}" for number in range(40) for word in BEASTS]
    many = tuple(Example(text, LABELS[i % 2]) for i, text in enumerate(texts))
    task = misleading.replace(CLOSED, train=many)
    seen, ask = [], misleading.ask

    def keep(lm, task, demonstrations, asked):
        seen.append(demonstrations)
        return ask(lm, task, demonstrations, asked)

    monkeypatch.setattr(misleading, "ask", keep)
    monkeypatch.setattr(misleading, "SIZES", ("first 1", "first 4"))
    rows = carry_out(misleading.length_study(tiny, 1, task, 4), tiny)
    one, four, near, full = seen
    draw = task.draw(len(many), 0)
    assert (one, four, full) == (draw[:1], draw[:4], draw[: len(full)])
    assert len(near("ox")) == misleading.NEIGHBOURS
    longest = max((e.text for e in CLOSED.held_out), key=len)
    room = tiny.context - max(count_tokens(tiny.tokenizer, f" {label}") for label in LABELS)
    lengths = [count_tokens(tiny.tokenizer, plain(task, draw[:n], longest))
               for n in (len(full), len(full) + 1)]  # fmt: skip
    assert lengths[0] <= room < lengths[1]
    found = rows[rows.readout == "plain"].set_index("size")
    assert found.loc["all that fit", "tokens"] == lengths[0]
    assert found["pool"].to_list() == [1, 4, len(many), len(full)]
    assert (rows.cpu > 0).all() and (rows.wall > 0).all()


def test_a_stored_experiment_goes_on_and_keeps_its_letters(tiny, tmp_path, monkeypatch):
    out = tmp_path / "faults.csv"
    first = carry_out(misleading.faults_study(tiny, 1, CATEGORY, 8), tiny, out)
    calls, ask = [], misleading.ask
    monkeypatch.setattr(misleading, "ask", lambda *given: calls.append(1) or ask(*given))
    both = carry_out(misleading.faults_study(tiny, 2, CATEGORY, 8), tiny, out)
    assert len(calls) == len(FAULTS) and len(both) == 2 * len(first)
    stored = read(out)
    assert stored.said.to_list() == both.said.to_list()
    assert stored.right.to_list() == both.right.to_list()


# What rows say

ROWS = pd.DataFrame(
    {
        "draw": [0, 0, 1, 1],
        "fault": ["clean", "bad", "clean", "bad"],
        "labels_shown": ["aab", "bba", "bab", "abb"],
        "said": ["ab", "aa", "bb", "ba"],
        "right": ["11", "10", "01", "00"],
    }
)


def test_agreement_with_one_letter_or_one_for_each_question():
    last = misleading.agreement(ROWS, misleading.last_label)
    assert last.tolist() == [[[False, True], [True, True]], [[True, True], [True, False]]]
    most = misleading.agreement(ROWS, misleading.most_frequent)
    assert most.tolist() == [[[True, False], [False, False]], [[True, True], [True, False]]]
    each = misleading.agreement(ROWS, lambda row: "ba")
    assert each.tolist() == [[[False, False], [False, True]], [[True, False], [True, True]]]
    assert misleading.by_row(ROWS).tolist() == [[[True, True], [True, False]],
                                           [[False, True], [False, False]]]  # fmt: skip


def test_against_is_paired():
    found = misleading.against(ROWS, "fault", "clean").set_index("fault")
    assert found.accuracy.to_dict() == {"clean": 0.75, "bad": 0.25}
    assert found.change.to_dict() == {"clean": 0.0, "bad": -0.5}
    assert found.behind.to_dict() == {"clean": 0, "bad": 2}
    assert found.worst.to_dict() == {"clean": 0.5, "bad": 0.0}
    assert (found.loc["bad", "from"], found.loc["bad", "to"]) == (-1.0, 0.0)


def test_parts_find_what_was_put_in():
    rng = np.random.default_rng(0)
    draws, orders, asked = 400, 6, 300
    draw = rng.normal(0, 0.10, (draws, 1, 1))
    order = rng.normal(0, 0.05, (draws, orders, 1))
    question = rng.normal(0, 0.20, (1, 1, asked))
    found = misleading.parts(0.5 + draw + order + question)
    assert found.draw == pytest.approx(0.10, rel=0.1)
    assert found.order == pytest.approx(0.05, rel=0.1)
    assert found.questions == pytest.approx(0.20 / np.sqrt(asked), rel=0.1)


def test_parts_without_luck_are_nought_and_intervals_hold_the_value():
    assert misleading.parts(np.ones((3, 2, 4))) == (0, 0, 0)
    right = np.random.default_rng(1).random((8, 5, 20)) < np.linspace(0.2, 0.9, 8)[:, None, None]
    for name, (value, low, high) in misleading.parts_intervals(right, 300).items():
        assert 0 <= low <= high and value == getattr(misleading.parts(right), name)
        assert low <= value <= high + 0.05

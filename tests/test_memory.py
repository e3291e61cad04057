"""Facts are drawn, taught and asked for as told; what stays and what is lost is counted."""

import json
import subprocess

import numpy as np
import pandas as pd
import pytest
import torch
from test_store import refused

from helpers import adapters, compare, finetune, methods, scoring
from helpers.data import Example, Task
from helpers.model import ModelError, checksum
from helpers.studies import facts, memory, plan, updates
from helpers.studies.facts import TASK, choose, draw, recall, statements

KNOWN = facts.load()
FOUR = draw(KNOWN, 4, 0)
POLICIES = facts.load("changed_policies")[:3]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def tiny(tiny_models):
    return tiny_models["llama"]


@pytest.fixture
def quick(monkeypatch):
    """A rate at which a tiny model learns in few steps."""
    monkeypatch.setitem(methods.RATES, "lora", 1e-2)


# Drawing


def test_a_draw_is_whole_blocks_shuffled_by_its_seed():
    drawn = draw(KNOWN, 16, 3)
    kinds = [fact["kind"] for fact in drawn]
    assert len(set(kinds)) == 4 and all(kinds.count(kind) == 4 for kind in kinds)
    assert kinds != sorted(kinds, key=kinds.index)  # blocks are mixed
    taught = {fact["answer"] for fact in drawn}
    assert all(wrong in taught for fact in drawn for wrong in fact["distractors"])
    assert draw(KNOWN, 16, 3) == drawn != draw(KNOWN, 16, 4)


@pytest.mark.parametrize("count", [0, 6, 68, -4])
def test_what_cannot_be_drawn_is_refused(count):
    refused(lambda: draw(KNOWN, count, 0), "by fours", "at most 64", str(count))


def test_statements_are_the_facts_in_the_ways_asked_for():
    fact = FOUR[0]
    there, back = statements([fact], ("forward", "reversed"))
    assert there == Example(fact["forward"], fact["answer"])
    assert back == Example(fact["reversed"], fact["reversed_answer"])


# Asking


@pytest.mark.parametrize("way", facts.WAYS)
def test_choosing_is_the_best_of_the_four_under_the_prompt(tiny, way):
    answer, wrong = ("answer", "distractors")
    if way == "reversed":
        answer, wrong = "reversed_answer", "reversed_distractors"
    shown = statements(FOUR[:2])
    expected = []
    for fact in FOUR:
        labels = [fact[answer], *fact[wrong]]
        task = Task("one", TASK.template, (), (), tuple(labels), {one: one for one in labels})
        expected.append(scoring.score_labels(tiny, task, shown, [fact[way]])[0].argmax() == 0)
    assert choose(tiny, FOUR, way, shown).tolist() == expected


def test_recall_counts_choosing_and_writing(tiny, monkeypatch):
    said = [fact["answer"] for fact in FOUR[:3]] + ["something else"]
    monkeypatch.setattr(facts, "write", lambda lm, asked, way, shown: said)
    monkeypatch.setattr(facts, "choose", lambda *_: np.array([True, False, False, False]))
    rows = recall(tiny, FOUR, "prompt", ways=("forward",))
    assert rows == [
        {"method": "prompt", "asked": "forward", "answered": "choice"}
        | {"accuracy": 0.25, "right": "1000"},
        {"method": "prompt", "asked": "forward", "answered": "written"}
        | {"accuracy": 0.75, "right": "1110"},
    ]


# Teaching


def test_what_is_taught_is_recalled_and_the_base_is_not_changed(tiny, quick):
    before = checksum(tiny.model)
    tuned = facts.teach(tiny, statements(FOUR), seed=0)
    assert len(tuned.history) == facts.PASSES  # four facts fit one step
    assert choose(tuned.lm, FOUR).all() and not choose(tiny, FOUR).all()
    assert tuned.history.loss.iloc[-1] < 0.3 * tuned.history.loss[0]
    assert checksum(tiny.model) == before


def test_half_a_teaching_is_no_result(tiny, monkeypatch):
    half = finetune.Tuned(tiny, None, "Stopped by hand", interrupted=True)
    monkeypatch.setattr(finetune, "tune", lambda *_, **__: half)
    with pytest.raises(KeyboardInterrupt):
        facts.teach(tiny, statements(FOUR), seed=0)


def test_training_on_goes_on_in_place_at_one_rate(tiny, quick, tmp_path):
    before = checksum(tiny.model)
    adapters.save(finetune.with_adapter(tiny, 4, 0), tmp_path / "adapter")
    tuned = adapters.load(tiny, tmp_path / "adapter")  # comes frozen
    records = list(facts.train_on(tuned, statements(FOUR), steps=6, seed=0))
    assert [record["step"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert {record["lr"] for record in records} == {1e-2}
    assert records[-1]["loss"] < 0.75 * records[0]["loss"]
    one_pass = sum(
        len(one.tokens) for one in finetune.encode_examples(tiny, TASK, statements(FOUR))
    )
    assert records[0]["tokens"] == one_pass
    assert checksum(tiny.model) == before


def test_training_on_takes_the_usual_batch_and_every_example_once_in_a_pass(tiny):
    many = statements(draw(KNOWN, 20, 0))
    adapted = finetune.with_adapter(tiny, 2, 0)
    tokens = [record["tokens"] for record in facts.train_on(adapted, many, 3, seed=0)]
    encoded = finetune.encode_examples(tiny, TASK, many)
    assert sum(tokens) == sum(len(one.tokens) for one in encoded)
    assert tokens[2] < 0.75 * min(tokens[:2])  # 8, 8 and the 4 that are left


# A new process


@pytest.mark.slow
def test_a_new_process_has_the_adapter_and_not_the_prompt(tiny, quick, tmp_path):
    adapters.save(tiny, tmp_path / "base")
    base = memory.models.load(str(tmp_path / "base"))
    tuned = facts.teach(base, statements(FOUR), seed=0).lm
    adapters.save(tuned, tmp_path / "adapter")
    rows = memory.in_new_process(base, 4, 0, tmp_path / "adapter")
    assert [row["method"] for row in rows] == ["prompt, new process"] * 2 + [
        "weights, new process"
    ] * 2
    own = recall(base, FOUR, "", ways=("forward",)) + recall(tuned, FOUR, "", ways=("forward",))
    assert [row["right"] for row in rows] == [row["right"] for row in own]


def test_a_new_process_that_fails_is_told_by_its_last_line(tiny, monkeypatch, tmp_path):
    failed = subprocess.CompletedProcess([], 1, "", "Traceback\n/x/y holds no adapter: give one.\n")
    monkeypatch.setattr(memory.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(ModelError, match=r"^The new process failed: /x/y holds no adapter: give"):
        memory.in_new_process(tiny, 4, 0, tmp_path / "nothing")


def test_recall_on_the_command_line_prints_rows_and_names_mistakes(tiny, monkeypatch, capsys):
    monkeypatch.setattr(plan.models, "load", lambda name: tiny)
    assert memory.main(["recall", "--facts", "4", "--seed", "0"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows == recall(tiny, FOUR, "prompt, new process", ways=("forward",))
    assert memory.main(["recall", "--facts", "5"]) == 1
    assert capsys.readouterr().err.startswith("Facts are drawn by fours")


# A change


def test_a_changed_policy_has_the_old_answer_among_the_wrong_ones():
    after = updates.changed(POLICIES, 1)
    assert after[0] == POLICIES[0] and after[2] == POLICIES[2]
    assert after[1]["answer"] == POLICIES[1]["new_answer"]
    assert sorted(after[1]["distractors"]) == sorted(
        {POLICIES[1]["answer"], *POLICIES[1]["distractors"]} - {POLICIES[1]["new_answer"]}
    )


def test_what_is_held_is_told_apart_for_the_changed_and_the_others(tiny, monkeypatch):
    after = updates.changed(POLICIES, 1)
    said = [POLICIES[0]["answer"], after[1]["answer"], "no idea"]
    monkeypatch.setattr(updates, "write", lambda *_, **__: said)
    monkeypatch.setattr(updates, "choose", lambda *_, **__: np.array([True, False, True]))
    assert updates.holds(tiny, after, 1) == {
        "ranked": 0,
        "written": 1,
        "answer": after[1]["answer"],
        "others": 1.0,
        "others_written": 0.5,
    }


def test_every_way_of_updating_is_measured(tiny, quick, monkeypatch):
    short = [  # bytes are tokens here, and an answer has eight
        {
            "id": name,
            "forward": text,
            "answer": "no",
            "new_answer": "ok",
            "distractors": ["ok", "x"],
        }
        for name, text in (("a", "cold is"), ("b", "the hot one is"), ("c", "a cold hot"))
    ]
    rows = {row["way"]: row for row in updates.measure(tiny, short, 1)}
    assert len(rows) == 7 and {row["policy"] for row in rows.values()} == {"b"}
    before, swapped = rows["weights, before"], rows["weights, adapter swapped"]
    assert before["written"] == 0 and before["answer"] == "no"
    assert swapped["written"] == swapped["ranked"] == 1 and swapped["made"] > 0
    for way, examples in (("the change", 1), ("all policies", 3)):
        row = rows[f"weights, trained on {way}"]
        assert row["written"] == row["ranked"] == 1 and 0 < row["steps"] < updates.MOST_STEPS
        assert row["examples"] == examples * row["steps"] and row["seconds"] > before["seconds"]
    assert all(row["steps"] == 0 for way, row in rows.items() if "trained" not in way)


def test_retraining_gives_up_in_the_end(tiny, monkeypatch):
    monkeypatch.setattr(updates, "MOST_STEPS", 2)
    monkeypatch.setattr(updates, "write", lambda *_, **__: ["never"])
    tuned = finetune.with_adapter(tiny, 2, 0)
    assert updates._train_until(tuned, statements(POLICIES[:1]), POLICIES[:1], 0)[0] == 2


# Forgetting


def test_the_neutral_loss_is_the_mean_over_all_tokens(tiny):
    lines = ["The bus was late.", "Tea is hot and the cup is cold today."]
    losses = []
    for line in lines:
        tokens = torch.tensor([tiny.tokenizer(line).input_ids])
        told = tiny.model(tokens).logits[0, :-1].log_softmax(-1)
        losses += [-told[i, token].item() for i, token in enumerate(tokens[0, 1:])]
    assert memory.neutral_loss(tiny, lines) == pytest.approx(np.mean(losses), rel=1e-4)


def test_forgetting_is_measured_at_each_checkpoint_and_on_the_base(tiny, quick, monkeypatch):
    monkeypatch.setattr(memory, "ITEMS", 3)
    (base,) = memory.measure_forgetting(tiny, KNOWN, 4, 0, 0)
    rows = memory.measure_forgetting(tiny, KNOWN, 4, 2, 0)
    assert [row["steps"] for row in rows] == list(memory.CHECKPOINTS)
    assert base["steps"] == 0 and base == {"steps": 0, "loss": 0.0} | memory.unharmed(tiny, FOUR, 0)
    assert rows[-1]["loss"] < rows[0]["loss"] and rows[-1]["neutral"] != base["neutral"]
    assert rows[-1]["facts"] >= base["facts"] and len(rows[-1]["right"]) == 3


# Stored results


@pytest.mark.parametrize(
    ("what", "cells"), [("facts", 2 * 5), ("updates", 2), ("forgetting", 2 * 4)]
)
def test_a_result_is_stored_and_gone_on_with(tiny, tmp_path, monkeypatch, what, cells):
    done = []

    def one_row(*arguments):
        done.append(arguments[2:])
        return [{"right": "0" * 4, "accuracy": 0.0}]

    monkeypatch.setattr(memory, "ITEMS", 4)
    for name in ("measure_facts", "updates.measure", "measure_forgetting"):
        monkeypatch.setattr(f"helpers.studies.memory.{name}", one_row)
    planned = memory.PLANS[what](tiny, 2, 4)._replace(numbers=["draw"])
    table = plan.carry_out(what, tiny, planned, tmp_path / "kept.csv")
    assert len(table) == len(done) == cells and set(table["draw"]) == {0, 1}
    again = plan.carry_out(what, tiny, planned, tmp_path / "kept.csv")
    assert len(again) == len(done) == cells  # nothing was done twice


def test_facts_that_cannot_be_drawn_end_the_command(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(plan.models, "load", lambda name: tiny)
    out = str(tmp_path / "facts.csv")
    assert memory.main(["facts", "--facts", "3", "--draws", "1", "--out", out]) == 1
    assert "3 cannot be drawn" in capsys.readouterr().err


def test_what_was_right_is_read_back_draw_by_draw():
    rows = [
        {"draw": d, "method": m, "asked": "forward", "answered": a, "right": bits}
        for d, m, a, bits in [
            (1, "prompt", "choice", "10"),
            (0, "prompt", "choice", "11"),
            (0, "prompt", "written", "00"),
            (0, "weights", "choice", "00"),
        ]
    ]
    found = memory.right(pd.DataFrame(rows), "prompt")
    assert found.tolist() == [[True, True], [True, False]]
    assert memory.right(pd.DataFrame(rows), "prompt", answered="written").tolist() == [[False] * 2]


def test_what_was_forgotten_is_counted_from_each_draws_own_base():
    columns = ["draw", "rank", "steps", "neutral"]
    rows = [(1, 0, 0, 4.0), (0, 0, 0, 3.0), (0, 8, 16, 5.0), (1, 8, 16, 7.0), (1, 8, 4, 9.0)]
    table = pd.DataFrame(rows, columns=columns)
    assert memory.forgotten(table, "neutral", 8, 16).tolist() == [2.0, 3.0]
    lines = memory.by_steps(table, "neutral")
    assert list(lines) == ["rank 8"] and list(lines["rank 8"]) == [0, 4, 16]
    mean, low, high = lines["rank 8"][16]
    assert (mean, low, high) == (6.0, 5.0, 7.0) and lines["rank 8"][0][0] == 3.5


def test_the_spread_of_numbers_is_that_of_the_draws():
    assert compare.mean([1, 1, 1]) == (1, 1, 1)  # no share of right answers
    mean, low, high = compare.mean([0.1] * 5 + [0.3] * 5)
    assert mean == pytest.approx(0.2) and 0.1 < low < 0.16 and 0.24 < high < 0.3
    assert compare.mean(np.zeros((3, 4))) == (0, 0, 0)

"""Facts are drawn, taught and asked for as told; what stays and what is lost is counted."""

import json
import subprocess
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from test_study import refused

from helpers import adapters, compare, finetune, scoring
from helpers.data import Example, load_rows
from helpers.model import ModelError, checksum
from helpers.study import carry_out
from lessons import english, facts
from lessons import l05_memory as memory
from lessons.facts import TASK, choose, draw, recall, statements

KNOWN = load_rows("invented_facts")
FOUR = draw(KNOWN, 4, 0)
POLICIES = load_rows("changed_policies")[:3]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def tiny(tiny_models):
    return tiny_models["llama"]


@pytest.fixture
def quick(monkeypatch):
    """A rate at which a tiny model learns in few steps."""
    quick = replace(facts.LORA, rate=1e-2)
    monkeypatch.setattr(facts, "LORA", quick)
    monkeypatch.setattr(facts, "WEIGHTS", replace(facts.WEIGHTS, recipe=quick))


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


@pytest.mark.parametrize("way", facts.ASKED)
def test_choosing_is_the_best_of_the_four_under_the_prompt(tiny, way):
    kind, shown, expected = "reversed_" if way == "reversed" else "", statements(FOUR[:2]), []
    for fact in FOUR:
        labels = (fact[f"{kind}answer"], *fact[f"{kind}distractors"])
        task = replace(TASK, labels=labels, words={label: label for label in labels})
        expected.append(scoring.score_labels(tiny, task, shown, [fact[way]])[0].argmax() == 0)
    assert choose(tiny, FOUR, way, shown).tolist() == expected


def test_recall_counts_choosing_and_writing(tiny, monkeypatch):
    said = [fact["answer"] for fact in FOUR[:3]] + ["something else"]
    monkeypatch.setattr(facts, "write", lambda lm, asked, way, shown: said)
    monkeypatch.setattr(facts, "choose", lambda *_: np.array([True, False, False, False]))
    rows = recall(tiny, FOUR, "prompt", asked=("forward",))
    both = {"way": "prompt", "asked": "forward"}
    assert rows == [
        both | {"measure": "choice", "right": "1000", "value": 0.25},
        both | {"measure": "written", "right": "1110", "value": 0.75},
    ]


# Teaching


def test_what_is_taught_is_recalled_and_the_base_is_not_changed(tiny, quick):
    before = checksum(tiny.model)
    tuned = facts.teach(tiny, statements(FOUR), seed=0)
    assert len(tuned.losses) == facts.PASSES  # four facts fit one step
    assert choose(tuned.lm, FOUR).all() and not choose(tiny, FOUR).all()
    assert tuned.losses.iloc[-1] < 0.3 * tuned.losses[0]
    assert checksum(tiny.model) == before


def test_training_on_goes_on_in_place_at_one_rate(tiny, quick, tmp_path):
    before = checksum(tiny.model)
    adapters.save(finetune.with_adapter(tiny, 4, 0), tmp_path / "adapter")
    tuned = adapters.load(tiny, tmp_path / "adapter")  # comes frozen
    records = list(facts.train_on(tuned, statements(FOUR), steps=6, seed=0))
    assert [record["step"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert {record["lr"] for record in records} == {1e-2}
    assert records[-1]["loss"] < 0.75 * records[0]["loss"]
    encoded = finetune.encode_examples(tiny, TASK, statements(FOUR))
    assert records[0]["tokens"] == sum(len(line.tokens) for line in encoded)
    assert checksum(tiny.model) == before


def test_training_on_takes_the_usual_batch_and_every_example_once_in_a_pass(tiny):
    many = statements(draw(KNOWN, 20, 0))
    adapted = finetune.with_adapter(tiny, 2, 0)
    tokens = [record["tokens"] for record in facts.train_on(adapted, many, 3, seed=0)]
    encoded = finetune.encode_examples(tiny, TASK, many)
    assert sum(tokens) == sum(len(line.tokens) for line in encoded)
    assert tokens[2] < 0.75 * min(tokens[:2])  # 8, 8 and the 4 that are left


# A new process


@pytest.mark.slow
def test_a_new_process_has_the_adapter_and_not_the_prompt(tiny, quick, tmp_path):
    adapters.save(tiny, tmp_path / "base")
    base = memory.models.load(str(tmp_path / "base"))
    tuned = facts.teach(base, statements(FOUR), seed=0).lm
    adapters.save(tuned, tmp_path / "adapter")
    rows = memory.in_new_process(base, 4, 0, tmp_path / "adapter")
    ways = ("prompt, new process", "weights, new process")
    assert [row["way"] for row in rows] == [way for way in ways for _ in range(2)]
    own = recall(base, FOUR, "", asked=("forward",)) + recall(tuned, FOUR, "", asked=("forward",))
    assert [row["right"] for row in rows] == [row["right"] for row in own]


def test_a_new_process_that_fails_is_told_by_its_last_line(tiny, monkeypatch, tmp_path):
    failed = subprocess.CompletedProcess([], 1, "", "Traceback\n/x/y holds no adapter: give one.\n")
    monkeypatch.setattr(memory.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(ModelError, match=r"^The new process failed: /x/y holds no adapter: give"):
        memory.in_new_process(tiny, 4, 0, tmp_path / "nothing")


def test_the_new_processs_command_prints_rows_and_names_mistakes(tiny, monkeypatch, capsys):
    monkeypatch.setattr(memory.models, "load", lambda name: tiny)
    options = ["--model", "tiny", "--facts"]
    assert memory.main([*options, "4", "--seed", "0"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows == recall(tiny, FOUR, "prompt, new process", asked=("forward",))
    assert memory.main([*options, "5"]) == 1
    assert capsys.readouterr().err.startswith("Facts are drawn by fours")


# A change


def test_a_changed_policy_has_the_old_answer_among_the_wrong_ones():
    after = memory.changed(POLICIES, 1)
    assert after[0] == POLICIES[0] and after[2] == POLICIES[2]
    assert after[1]["answer"] == POLICIES[1]["new_answer"]
    assert sorted(after[1]["distractors"]) == sorted(
        {POLICIES[1]["answer"], *POLICIES[1]["distractors"]} - {POLICIES[1]["new_answer"]}
    )


def test_what_is_held_is_told_apart_for_the_changed_and_the_others(tiny, monkeypatch):
    after = memory.changed(POLICIES, 1)
    said = [POLICIES[0]["answer"], after[1]["answer"], "no idea"]
    monkeypatch.setattr(facts, "write", lambda *_, **__: said)
    monkeypatch.setattr(memory, "choose", lambda *_, **__: np.array([True, False, True]))
    assert memory.holds(tiny, after, 1) == {
        "ranked": 0,
        "written": 1,
        "answer": after[1]["answer"],
        "others": 1.0,
        "others_written": 0.5,
    }


def test_every_way_of_updating_is_measured(tiny, quick):
    texts = {"a": "cold is", "b": "the hot one is", "c": "a cold hot"}
    words = {"answer": "no", "new_answer": "ok", "distractors": ["ok", "x"]}
    # Bytes are tokens here, and an answer has eight.
    short = [{"id": name, "forward": text} | words for name, text in texts.items()]
    table = pd.DataFrame(memory.updated_in_every_way(tiny, short, 1))
    assert len(table) == 7 * 4 and set(table.groupby("way")["measure"].nunique()) == {4}
    values = table.pivot(index="way", columns="measure", values="value")
    rows = table[table["measure"] == "written"].set_index("way").join(values).to_dict("index")
    before, swapped = rows["weights, before"], rows["weights, adapter swapped"]
    assert before["written"] == 0 and before["answer"] == "no"
    assert swapped["written"] == swapped["ranked"] == 1 and swapped["made"] > 0
    for way, examples in (("the change", 1), ("all policies", 3)):
        row = rows[f"weights, trained on {way}"]
        assert row["written"] == row["ranked"] == 1 and 0 < row["steps"] < memory.MOST_STEPS
        assert row["examples"] == examples * row["steps"] and row["seconds"] > before["seconds"]
    assert all(row["steps"] == 0 for way, row in rows.items() if "trained" not in way)


def test_retraining_gives_up_in_the_end(tiny, monkeypatch):
    monkeypatch.setattr(memory, "MOST_STEPS", 2)
    monkeypatch.setattr(facts, "write", lambda *_, **__: ["never"])
    tuned = finetune.with_adapter(tiny, 2, 0)
    assert memory._train_until(tuned, statements(POLICIES[:1]), POLICIES[:1], 0)[0] == 2


# Forgetting


def test_the_neutral_loss_is_the_mean_over_all_tokens(tiny):
    lines = ["The bus was late.", "Tea is hot and the cup is cold today."]
    losses = []
    for line in lines:
        tokens = torch.tensor([tiny.tokenizer(line).input_ids])
        likely = tiny.model(tokens).logits[0, :-1].log_softmax(-1)
        losses += [-likely[i, token].item() for i, token in enumerate(tokens[0, 1:])]
    assert english.neutral_loss(tiny, lines) == pytest.approx(np.mean(losses), rel=1e-4)


def test_forgetting_is_measured_at_each_checkpoint_and_on_the_base(tiny, quick, monkeypatch):
    monkeypatch.setattr(memory, "ITEMS", 3)
    base, after = (
        pd.DataFrame(memory.measure_forgetting(tiny, KNOWN, 4, rank, 0)) for rank in (0, 2)
    )
    assert list(after["steps"]) == [n for n in memory.CHECKPOINTS for _ in range(3)]
    assert set(base["steps"]) == {0} and set(base["way"]) == {"untaught"}
    own = pd.DataFrame(memory.unharmed(tiny, FOUR, 0))
    pd.testing.assert_frame_equal(base[list(own)], own)
    base = base.set_index("measure")
    first, last = (after[after["steps"] == n].set_index("measure") for n in memory.CHECKPOINTS[::2])
    assert last.loc["facts", "loss"] < first.loc["facts", "loss"]
    assert last.loc["neutral", "value"] != base.loc["neutral", "value"]
    assert last.loc["facts", "value"] >= base.loc["facts", "value"]
    assert len(last.loc["past_tense", "right"]) == 3


def test_the_loss_on_rows_is_the_mean_over_all_that_they_count(tiny):
    rows = [
        *finetune.encode_examples(tiny, TASK, statements(FOUR)),
        *memory.as_rows(tiny, ["Tea."]),
    ]
    counted = [finetune.token_losses(tiny, row)[row.start - 1 :] for row in rows]
    assert rows[-1].start == 1
    assert memory.loss_on(tiny, rows) == pytest.approx(np.concatenate(counted).mean(), rel=1e-4)


# Looking up


def test_a_line_is_looked_up_by_its_rare_words_and_stands_alone_in_the_prompt(tiny):
    lines = memory.written_out(FOUR)
    assert lines[0] == f"{FOUR[0]['forward']} {FOUR[0]['answer']}"
    found = [int(np.argmax(memory.likeness(fact["forward"], lines))) for fact in FOUR]
    assert found == [0, 1, 2, 3]
    alone = {fact["forward"]: statements([fact]) for fact in FOUR}
    by_hand = [choose(tiny, [fact], shown=statements([fact]))[0] for fact in FOUR]
    assert choose(tiny, FOUR, shown=alone.__getitem__).tolist() == by_hand


# Stored results


def test_findings_say_whether_the_base_is_unchanged():
    assert "base unchanged: False" in memory.findings(False)["K1"][0]


@pytest.mark.parametrize("show", [memory.show_recall, memory.show_forgetting])
def test_a_figures_title_and_sentence_come_from_the_numbers(show, monkeypatch):
    drawn = []
    monkeypatch.setattr(memory.plots, "whiskers", lambda *told, **_: drawn.append(told))
    name = "facts" if show is memory.show_recall else "forgetting"
    show(compare.stored(name))
    panels, title, sentence = drawn[0]
    assert panels and any(letter.isdigit() for letter in title) and sentence[-1] == "."


def test_the_title_names_the_ways_that_only_guess_backwards(monkeypatch):
    drawn = []
    monkeypatch.setattr(memory.plots, "whiskers", lambda *told, **_: drawn.append(told))
    rows = pd.DataFrame(
        {"draw": 0, "way": way, "asked": asked, "measure": measure, "right": right}
        for way in memory.WAYS
        for asked in facts.ASKED
        for measure in ("choice", "written")
        for right in ["1" * 16 if "both" in way else "1000" * 4]
    )
    memory.show_recall(rows)
    title = drawn[0][1]
    assert "prompt and weights cannot be told from a guess" in title and title.endswith(
        "directions: 1.00"
    )


def test_a_table_of_changes_holds_what_each_way_did_and_took():
    table = memory.changes(compare.stored("updates"))
    assert tuple(table.index) == memory.CHANGED_BY
    trained, replaced = table.loc[memory.ALONE], table.loc["prompt, line replaced"]
    assert trained["new answer written"].startswith("1.00 (")
    assert trained["others written"].startswith("-0.03 (")
    assert float(trained["lines trained on"]) > float(replaced["lines trained on"]) == 0


def test_what_is_not_found_is_told(capsys):
    lines = memory.written_out(FOUR)
    memory.tell_missed(FOUR, lines, lambda question: 0)
    said = capsys.readouterr().out
    assert said.count("1 of 4 lines found") == 2
    assert f"{FOUR[1]['reversed']} … it finds: {lines[0]}" in said


def test_a_fact_is_shown_with_the_right_answers_first(capsys):
    memory.show_questions(FOUR[0])
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in told] == list(facts.ASKED)
    assert f"… {FOUR[0]['answer']} / " in told[0] and FOUR[0]["reversed_answer"] in told[2]


def test_what_a_new_process_had_is_a_row_for_each_way():
    rows = [
        {"way": way + memory.LATER, "measure": measure, "value": value}
        for way, values in {"prompt": (0.25, 0.0), "weights": (1.0, 0.5)}.items()
        for measure, value in zip(("choice", "written"), values, strict=True)
    ]
    table = memory.after_the_session(rows)
    assert table.loc["without the prompt"].tolist() == [0.25, 0.0]
    assert table.loc["with the adapter"].tolist() == [1.0, 0.5]


def test_an_adapter_is_saved_where_it_can_be_loaded(tiny, monkeypatch, tmp_path):
    monkeypatch.setattr(memory.tempfile, "tempdir", str(tmp_path))
    folder = memory.save(memory.new_adapter(tiny))
    assert folder.startswith(str(tmp_path))
    assert adapters.load(tiny, folder).model is not tiny.model


def test_facts_as_rows_end_with_their_answers(tiny):
    rows = memory.fact_rows(tiny, FOUR)
    assert len(rows) == len(FOUR)
    for row, fact in zip(rows, FOUR, strict=True):
        assert fact["answer"] in tiny.tokenizer.decode(row.tokens[row.start :])


def test_nats_are_told_as_a_part_of_the_probability(capsys):
    memory.tell_nats({"before": 3.0, "taught": 3.0 + np.log(4)}, 1000)
    said = capsys.readouterr().out
    assert "before 3.00, taught 4.39" in said and "0.25 of its probability" in said
    assert "All 1,000 tokens equally likely would be 6.9 nats." in said


def test_what_stands_is_counted_apart_for_changed_facts_and_others(tiny, monkeypatch):
    said = [fact["answer"] for fact in FOUR[:3]] + ["something else"]
    monkeypatch.setattr(facts, "write", lambda *_, **__: said)
    assert memory.standing(tiny, FOUR, 1) == {"of 1 changed": 1, "of 3 kept": 2}


@pytest.mark.parametrize(
    ("study", "work", "count", "cells"),
    [
        (memory.facts_study, "measure_facts", (4,), 2 * 5),
        (memory.updates_study, "updated_in_every_way", (), 2),
        (memory.forgetting_study, "measure_forgetting", (4,), 2 * 4),
    ],
    ids=["facts", "updates", "forgetting"],
)
def test_a_result_is_stored_and_gone_on_with(
    tiny, tmp_path, monkeypatch, study, work, count, cells
):
    done, row = [], {"right": "0" * 4, "value": 0.0}
    monkeypatch.setattr(memory, "ITEMS", 4)
    monkeypatch.setattr(memory, work, lambda *arguments: done.append(1) or [row])
    planned = study(tiny, 2, *count)._replace(numbers=["draw"])
    for _ in range(2):
        table = carry_out(planned, tiny, tmp_path / "kept.csv")
        assert len(table) == len(done) == cells and set(table["draw"]) == {0, 1}


def neutral(rows):
    """A result on plain English, from rows of draw, rank, steps and value."""
    table = pd.DataFrame(rows, columns=["draw", "rank", "steps", "value"])
    return table.assign(measure="neutral")


def test_what_was_forgotten_is_counted_from_each_draws_own_base():
    rows = [(1, 0, 0, 4.0), (0, 0, 0, 3.0), (0, 8, 16, 5.0), (1, 8, 16, 7.0), (1, 8, 4, 9.0)]
    assert memory.forgotten(neutral(rows), "neutral", 8, 16).tolist() == [2.0, 3.0]


def test_lines_begin_with_the_base_and_follow_every_rank():
    rows = [(d, 0, 0, float(d)) for d in (0, 1)]
    taught = product((0, 1), memory.RANKS, memory.CHECKPOINTS)
    rows += [(d, rank, steps, float(rank + steps + d)) for d, rank, steps in taught]
    lines = memory.by_steps(neutral(rows), "neutral")
    assert list(lines) == ["rank 2", "rank 8", "rank 32"]
    assert list(lines["rank 8"]) == [0, *memory.CHECKPOINTS]
    assert lines["rank 8"][16] == (24.5, 24.0, 25.0) and lines["rank 8"][0].mean == 0.5

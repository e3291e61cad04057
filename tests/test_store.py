"""A stored measurement comes back as it was, and what cannot be used is said in one sentence."""

import json
import os
import sys
from pathlib import Path

import pytest
import torch

from helpers import methods, store
from helpers.compare import settled
from helpers.compare.measuring import NUMBERS
from helpers.data import DataError, Example, Task
from helpers.methods import Outcome
from helpers.store import Store

ASKED = [Example("cow", "animal"), Example("fig", "fruit"), Example("hen", "animal")]
TASK = Task(
    "kinds",
    "{text} -> {label}\n",
    (Example("cat", "animal"), Example("pear", "fruit")),
    tuple(ASKED),
    ("animal", "fruit"),
    {"animal": "animal", "fruit": "fruit"},
)
MEASURES = {name: 0 for name in Outcome._fields if name not in ("method", "answers", "note")}
MACHINE = {"Python", "torch", "transformers", "device", "cores", "free memory", "model"}


def row(draw: int = 0, **changes) -> dict:
    whole = {"task": "kinds", "shots": 8, "draw": draw, "from": "lora", "method": "lora"}
    return whole | {"accuracy": 0.333333, "right": "001"} | MEASURES | {"note": ""} | changes


@pytest.fixture
def tiny(tiny_models):
    return tiny_models["llama"]


@pytest.fixture
def opened(tiny, tmp_path):
    """Open the store of `TASK` in `tmp_path`."""
    return lambda name="kinds.csv", **more: open_store(tmp_path / name, tiny, TASK, ASKED, **more)


def open_store(path, lm, task, asked, **more) -> Store:
    return Store(path, lm, settled(task, asked, **more), NUMBERS)


def refused(open_or_read, *words: str) -> None:
    """It raises `DataError` with one line, one sentence, that holds the `words`."""
    with pytest.raises(DataError) as caught:
        open_or_read()
    said = str(caught.value)
    assert said.endswith(".") and "\n" not in said
    for word in words:
        assert word in said


# What comes back


def test_rows_come_back_as_they_were(opened):
    rows = [
        row(right="000", accuracy=0.0),
        row(1, method="in-context, calibrated", note="3 of 8 fit, no more", teach_seconds=1.5),
    ]
    opened().write(rows)
    assert opened().rows() == rows


def test_numbers_are_kept_to_a_millionth(opened):
    opened().write([row(accuracy=1 / 3, ask_seconds=2 / 3)])
    (found,) = opened().rows()
    assert found["accuracy"] == 0.333333 and found["ask_seconds"] == 0.666667


def test_a_new_store_is_empty_and_makes_its_folder(opened, tmp_path):
    assert opened("deep/down/kinds.csv").rows() == []
    assert [path.name for path in (tmp_path / "deep" / "down").iterdir()] == ["kinds.json"]


def test_writing_replaces_the_table(opened):
    kept = opened()
    kept.write([row(0), row(1)])
    kept.write([row(2)])
    assert [found["draw"] for found in kept.rows()] == [2]


def test_the_record_says_what_with_what_and_when_for_every_run(opened, tmp_path, monkeypatch):
    options = ["--task", "kinds", "--out", "a file.csv"]
    monkeypatch.setattr(sys, "argv", ["helpers/compare/__main__.py", *options])
    opened()
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", "kernel.json"])
    opened()
    record = json.loads((tmp_path / "kinds.json").read_text())
    assert record["task"] == "kinds" and record["questions"] == 3 and record["model"] == "llama"
    assert record["settings"] == methods.settings()
    first, second = record["runs"]
    assert first["command"] == "python -m helpers.compare --task kinds --out 'a file.csv'"
    assert "kernel" not in second["command"]
    monkeypatch.setattr(sys, "argv", ["/home/helpers/it/helpers/studies/memory.py", "facts"])
    opened()
    last = json.loads((tmp_path / "kinds.json").read_text())["runs"][-1]
    assert last["command"] == "python -m helpers.studies.memory facts"
    for run in (first, second):
        assert MACHINE | {"date", "threads"} <= run.keys()
        assert run["threads"] == torch.get_num_threads()


# What is refused


def other_data(changed: str) -> Task:
    parts = {"train": TASK.train, "template": TASK.template, "instruction": ""}
    parts |= {
        "train": {"train": TASK.train[::-1]},
        "template": {"template": "{text}: {label}\n"},
        "instruction": {"instruction": "Sort these."},
    }[changed]
    train, template, instruction = parts["train"], parts["template"], parts["instruction"]
    return Task("kinds", template, train, TASK.held_out, TASK.labels, TASK.words, instruction)


@pytest.mark.parametrize("changed", ["train", "template", "instruction"])
def test_other_data_is_refused(opened, tiny, tmp_path, changed):
    opened()
    refused(
        lambda: open_store(tmp_path / "kinds.csv", tiny, other_data(changed), ASKED), "other data:"
    )


def test_other_questions_are_refused(opened, tiny, tmp_path):
    opened()
    fewer, reordered = ASKED[:2], ASKED[::-1]
    path = tmp_path / "kinds.csv"
    refused(lambda: open_store(path, tiny, TASK, fewer), "other questions, data:")
    refused(lambda: open_store(path, tiny, TASK, reordered), "other data:")


def test_another_task_is_refused(opened, tiny, tmp_path):
    opened()
    task = Task("sorts", TASK.template, TASK.train, TASK.held_out, TASK.labels, TASK.words)
    refused(lambda: open_store(tmp_path / "kinds.csv", tiny, task, ASKED), "other task:")


def test_another_model_is_refused(opened, tiny_models, make_tiny, tmp_path):
    opened()
    path, moved = tmp_path / "kinds.csv", make_tiny("llama")
    with torch.no_grad():
        moved.model.lm_head.weight[0, 0] += 1
    refused(lambda: open_store(path, tiny_models["gpt2"], TASK, ASKED), "other model, weights:")
    refused(lambda: open_store(path, moved, TASK, ASKED), "other weights:")


SETTINGS = dict.fromkeys(["MOST_EPOCHS", "NEIGHBOURS", "PROBE_LAYER"], 1)
SETTINGS |= {"RATES": {"lora": 1e-3, "full": 1e-2}, "RECIPE": {"batch": 8, "rank": 4}}


@pytest.mark.parametrize(("name", "value"), SETTINGS.items(), ids=SETTINGS)
def test_another_setting_is_refused(opened, monkeypatch, name, value):
    opened()
    monkeypatch.setattr(methods, name, value)
    refused(opened, "kinds.csv was made with other settings:", "delete it and kinds.json")


def test_another_number_of_shown_examples_is_refused(opened):
    opened()
    refused(lambda: opened(shown=1), "kinds.csv was made with other settings:")


def test_a_refusal_changes_nothing(opened, tmp_path, monkeypatch):
    opened().write([row()])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(methods, "MOST_EPOCHS", 1)
    refused(opened)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


# What is damaged or cannot be written

CUT = {
    "nothing": lambda text: "",
    "no table": lambda text: "dear diary\n",
    "bytes": lambda text: "\x00\xff",
    "a lost column": lambda text: text.replace("draw", "drawn", 1),
    "a cut number": lambda text: text[:-18],
    "a cut row": lambda text: text[: text.rindex("001") + 2],
    "too many cells": lambda text: text + "a,b" * 40,
    "a lost answer": lambda text: text.replace("001", "01"),
    "no answers": lambda text: text.replace("001", "yes"),
}


@pytest.mark.parametrize("damage", CUT.values(), ids=CUT)
def test_a_damaged_table_is_named(opened, tmp_path, damage):
    opened().write([row(0), row(1)])
    table = tmp_path / "kinds.csv"
    text = table.read_text()
    assert damage(text) != text
    table.write_text(damage(text), encoding="latin-1")
    refused(opened().rows, "kinds.csv is damaged (", "delete it to begin anew")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"runs": 3}', b"\xff"])
def test_a_damaged_record_is_named(opened, tmp_path, content):
    opened().write([row()])
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "kinds.json").write_bytes(content)
    refused(opened, "kinds.json is damaged", "delete it and kinds.csv")


def test_a_table_without_its_record_is_not_gone_on_with(opened, tmp_path):
    opened().write([row()])
    (tmp_path / "kinds.json").unlink()
    refused(opened, "kinds.csv lacks its kinds.json", "another --out")


def test_a_folder_that_cannot_be_written_is_named(opened, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    refused(lambda: opened("letter.txt/kinds.csv"), "letter.txt/kinds.json cannot be written")
    (tmp_path / "kinds.json").mkdir()
    refused(opened, "kinds.json cannot be read")


@pytest.mark.parametrize("name", ["kinds.json", "kinds", "kinds.txt"])
def test_a_name_that_is_no_tables_is_refused(opened, tmp_path, name):
    refused(lambda: opened(name), name, "ends in .csv")
    assert list(tmp_path.iterdir()) == []


def killed(*_):
    raise SystemExit


def test_a_killed_write_leaves_the_old_table_whole(opened, tmp_path, monkeypatch):
    kept = opened()
    kept.write([row(0)])
    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(SystemExit):
        kept.write([row(0), row(1)])
    monkeypatch.undo()
    assert opened().rows() == [row(0)]


def test_a_full_disk_leaves_the_old_table_whole_and_is_said(opened, monkeypatch):
    kept = opened()
    kept.write([row(0)])
    whole = Path.write_bytes

    def half(path, content):
        whole(path, content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(store.Path, "write_bytes", half)
        refused(lambda: kept.write([row(0), row(1)]), "kinds.csv", "No space left on device")
    assert [found["draw"] for found in opened().rows()] == [0]

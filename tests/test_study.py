"""A stored measurement comes back as it was, and what cannot be used is said in one sentence."""

import json
import os
import re
import sys
from pathlib import Path

import pytest
import torch

from helpers import curves, study
from helpers.compare import read, scored
from helpers.curves import MEASURES as OUTCOME
from helpers.curves import settings
from helpers.data import DATA, DataError, Example, Task
from helpers.study import Store, settled_by
from lessons import __main__ as command_line
from lessons.__main__ import results

ASKED = [Example("cow", "animal"), Example("fig", "fruit"), Example("hen", "animal")]
TASK = Task(
    "kinds",
    "{text} -> {label}\n",
    (Example("cat", "animal"), Example("pear", "fruit")),
    tuple(ASKED),
    ("animal", "fruit"),
    {"animal": "animal", "fruit": "fruit"},
)
MEASURES = {name: 0 for name in OUTCOME if name != "note"}
NUMBERS = ["shots", "draw", "value", *MEASURES]
MACHINE = {"Python", "torch", "transformers", "device", "cores", "free memory", "model"}


def row(draw: int = 0, **changes) -> dict:
    whole = {"task": "kinds", "shots": 8, "draw": draw, "taught_by": "lora", "way": "lora"}
    return (
        whole
        | {"measure": "answers", "right": "001", "value": 0.333333}
        | MEASURES
        | {"note": ""}
        | changes
    )


@pytest.fixture
def tiny(tiny_models):
    return tiny_models["llama"]


@pytest.fixture
def opened(tiny, tmp_path):
    """Open the store of `TASK` in `tmp_path`."""
    return lambda name="kinds.csv", **more: open_store(tmp_path / name, tiny, TASK, ASKED, **more)


def open_store(path, lm, task, asked, **more) -> Store:
    settled = settled_by(task, asked) | {"settings": settings(**more)}
    return Store(path, lm, settled, NUMBERS)


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
        row(right="000", value=0.0),
        row(1, way="in-context, calibrated", note="3 of 8 fit, no more", teach_seconds=1.5),
    ]
    opened().write(rows)
    assert opened().rows() == rows


def test_numbers_are_kept_to_a_millionth(opened):
    opened().write([row(value=1 / 3, ask_seconds=2 / 3)])
    (found,) = opened().rows()
    assert found["value"] == 0.333333 and found["ask_seconds"] == 0.666667


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
    monkeypatch.setattr(sys, "argv", ["own_data/__main__.py", *options])
    opened()
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", "kernel.json"])
    opened()
    record = json.loads((tmp_path / "kinds.json").read_text())
    assert record["task"] == "kinds" and record["questions"] == 3 and record["model"] == "llama"
    assert record["settings"] == settings()
    first, second = record["runs"]
    assert first["command"] == "python -m own_data --task kinds --out 'a file.csv'"
    assert "kernel" not in second["command"]
    monkeypatch.setattr(sys, "argv", ["/home/helpers/it/lessons/__main__.py", "facts"])
    opened()
    last = json.loads((tmp_path / "kinds.json").read_text())["runs"][-1]
    assert last["command"] == "python -m lessons facts"
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


SETTINGS = dict.fromkeys(["MOST_PASSES", "NEIGHBOURS", "PROBE_LAYER"], 1)


@pytest.mark.parametrize(("name", "value"), SETTINGS.items(), ids=SETTINGS)
def test_another_setting_is_refused(opened, monkeypatch, name, value):
    opened()
    monkeypatch.setattr(curves, name, value)
    refused(opened, "kinds.csv was made with other settings:", "delete it and kinds.json")


def test_another_number_of_seen_examples_is_refused(opened):
    opened()
    refused(lambda: opened(seen=1), "kinds.csv was made with other settings:")


def test_a_refusal_changes_nothing(opened, tmp_path, monkeypatch):
    opened().write([row()])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(curves, "MOST_PASSES", 1)
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
        full.setattr(study.Path, "write_bytes", half)
        refused(lambda: kept.write([row(0), row(1)]), "kinds.csv", "No space left on device")
    assert [found["draw"] for found in opened().rows()] == [0]


# The one command for all stored results

MADE = results()


def main_with(tiny, monkeypatch, tmp_path, made, options=()):
    monkeypatch.setattr(command_line, "results", lambda: {"toy": made})
    monkeypatch.setattr(command_line.model, "load", lambda name: tiny)
    return command_line.main(["toy", "--out", str(tmp_path / "toy.csv"), *options])


def toy(lm, draws) -> study.Study:
    """Each draw answers its own number; a negative number of draws stops by hand."""

    def work(draw):
        if draws < 0:
            raise KeyboardInterrupt
        return [{"way": "lora"} | scored([draw == 0, True])]

    settled = {"task": "toy", "questions": 2}
    return study.Study("toy", [{"draw": d} for d in range(abs(draws))], work, settled, ["draw"])


def test_the_command_stores_what_a_study_measures(tiny, monkeypatch, tmp_path, capsys):
    assert main_with(tiny, monkeypatch, tmp_path, study.Made(1, toy, draws=3)) == 0
    assert read(tmp_path / "toy.csv")["right"].tolist() == ["11", "01", "01"]
    assert main_with(tiny, monkeypatch, tmp_path, study.Made(1, toy), ["--draws", "4"]) == 0
    assert len(read(tmp_path / "toy.csv")) == 4
    assert f"Stored in {tmp_path / 'toy.csv'}." in capsys.readouterr().out


def test_an_interrupted_command_says_how_to_go_on(tiny, monkeypatch, tmp_path, capsys):
    assert main_with(tiny, monkeypatch, tmp_path, study.Made(1, toy), ["--draws", "-2"]) == 130
    assert "the same command goes on" in capsys.readouterr().err


def test_an_error_is_one_line(tiny, monkeypatch, tmp_path, capsys):
    (tmp_path / "toy.csv").write_text("dear diary\n")
    assert main_with(tiny, monkeypatch, tmp_path, study.Made(1, toy)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "toy.csv lacks its toy.json" in line


def test_the_help_names_every_result_with_its_minutes(capsys):
    with pytest.raises(SystemExit):
        command_line.main(["--help"])
    said = capsys.readouterr().out
    for name, made in MADE.items():
        assert re.search(rf"{name} +{made.minutes:,.0f} minutes", said)


def test_every_stored_table_is_made_by_the_command_and_no_other():
    tables = {path.stem for path in (DATA / "results").glob("*.csv")} - {"verdicts"}
    assert tables == {name for name, made in MADE.items() if made.study} | {"full_change"}
    for name in MADE:
        place = MADE[name].place or f"results/{name}.csv"
        assert (DATA / place).exists()
        record = DATA / "results" / f"{name}.json"
        if MADE[name].study:
            assert json.loads(record.read_text("utf-8"))["command"] == f"python -m lessons {name}"


# Cells without rows: 256 messages do not fit the context, and reading many was timed once.
WITHOUT = {"support_tickets": 10, "reviews": 10, "costs_prefill": 18}


@pytest.mark.parametrize("name", [name for name, made in MADE.items() if made.study])
def test_a_stored_result_is_what_its_command_makes_today(name, lm):
    """With the same data and settings, every cell done: the command would only read it."""
    planned = MADE[name].study(lm, MADE[name].draws)
    path = DATA / "results" / f"{name}.csv"
    record, rows = json.loads(path.with_suffix(".json").read_text("utf-8")), read(path)
    for key, value in json.loads(json.dumps(planned.settled)).items():
        assert record[key] == value, key
    done = [tuple(row) for row in rows[list(planned.cells[0])].itertuples(index=False, name=None)]
    missing = [cell for cell in planned.cells if tuple(cell.values()) not in set(done)]
    assert len(missing) == WITHOUT.get(name, 0) and set(planned.numbers) <= set(rows)

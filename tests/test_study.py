"""A stored measurement comes back as it was, and what cannot be used is said in one sentence."""

import json
import os
import re
import sys
from dataclasses import replace
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
from lessons import contrasts
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
    cell = {"task": "kinds", "shots": 8, "draw": draw, "taught_by": "lora", "way": "lora"}
    told = {"measure": "answers", "right": "001", "value": 0.333333}
    return cell | told | MEASURES | {"note": ""} | changes


@pytest.fixture
def tiny(tiny_models):
    return tiny_models["llama"]


@pytest.fixture
def opened(tiny, tmp_path):
    """Open a store in `tmp_path`: of `TASK`, unless told otherwise."""

    def opened(name="kinds.csv", lm=tiny, task=TASK, asked=ASKED, **more) -> Store:
        settled = settled_by(task, asked) | {"settings": settings(**more)}
        return Store(tmp_path / name, lm, settled, NUMBERS)

    return opened


def refused(open_or_read, *words: str) -> None:
    """It raises `DataError` with one line, one sentence, that holds the `words`."""
    with pytest.raises(DataError) as caught:
        open_or_read()
    said = str(caught.value)
    assert said.endswith(".") and "\n" not in said
    for word in words:
        assert word in said


# What comes back


def test_rows_come_back_as_they_were_to_a_millionth(opened):
    rows = [
        row(right="000", value=0.0),
        row(1, way="in-context, calibrated", note="3 of 8 fit, no more", teach_seconds=1.5),
    ]
    opened().write(rows)
    assert opened().rows() == rows
    opened().write([row(value=1 / 3, ask_seconds=2 / 3)])  # replaces the table
    assert opened().rows() == [row(ask_seconds=0.666667)]


def test_a_new_store_is_empty_and_makes_its_folder(opened, tmp_path):
    assert opened("deep/down/kinds.csv").rows() == []
    assert [path.name for path in (tmp_path / "deep" / "down").iterdir()] == ["kinds.json"]


CALLED = {
    "python -m own_data --task kinds --out 'a file.csv'": [
        "own_data/__main__.py", "--task", "kinds", "--out", "a file.csv",
    ],
    "none: called by a program": ["ipykernel_launcher.py", "-f", "kernel.json"],
    "python -m lessons facts": ["/home/helpers/it/lessons/__main__.py", "facts"],
}  # fmt: skip


def test_the_record_says_what_with_what_and_when_for_every_run(opened, tmp_path, monkeypatch):
    for arguments in CALLED.values():
        monkeypatch.setattr(sys, "argv", arguments)
        opened()
    record = json.loads((tmp_path / "kinds.json").read_text())
    assert record["task"] == "kinds" and record["questions"] == 3 and record["model"] == "llama"
    assert record["settings"] == settings()
    assert [run["command"] for run in record["runs"]] == list(CALLED)
    for run in record["runs"]:
        assert MACHINE | {"date", "threads"} <= run.keys()
        assert run["threads"] == torch.get_num_threads()


# What is refused


OTHER = {
    "train": ({"task": replace(TASK, train=TASK.train[::-1])}, "data"),
    "template": ({"task": replace(TASK, template="{text}: {label}\n")}, "data"),
    "instruction": ({"task": replace(TASK, instruction="Sort these.")}, "data"),
    "name": ({"task": replace(TASK, name="sorts")}, "task"),
    "fewer questions": ({"asked": ASKED[:2]}, "questions, data"),
    "order of questions": ({"asked": ASKED[::-1]}, "data"),
    "examples seen": ({"seen": 1}, "settings"),
}


@pytest.mark.parametrize(("other", "said"), OTHER.values(), ids=OTHER)
def test_another_task_or_other_questions_are_refused(opened, other, said):
    opened()
    refused(lambda: opened(**other), f"kinds.csv was made with other {said}:")


def test_another_model_is_refused(opened, tiny_models, make_tiny):
    opened()
    moved = make_tiny("llama")
    with torch.no_grad():
        moved.model.lm_head.weight[0, 0] += 1
    refused(lambda: opened(lm=tiny_models["gpt2"]), "other model, weights:")
    refused(lambda: opened(lm=moved), "other weights:")


@pytest.mark.parametrize("name", ["MOST_PASSES", "NEIGHBOURS", "PROBE_LAYER"])
def test_another_setting_is_refused_and_nothing_is_changed(opened, tmp_path, monkeypatch, name):
    opened().write([row()])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(curves, name, 1)
    refused(opened, "kinds.csv was made with other settings:", "delete it and kinds.json")
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


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"runs": 3}', b"\xff"])
def test_a_damaged_record_is_named(opened, tmp_path, content):
    opened().write([row()])
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


def test_a_killed_write_or_a_full_disk_leaves_the_old_table_whole(opened, monkeypatch):
    kept, whole = opened(), Path.write_bytes
    kept.write([row(0)])

    def killed(*_):
        raise SystemExit

    def half(path, content):
        whole(path, content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as stopped, pytest.raises(SystemExit):
        stopped.setattr(os, "replace", killed)
        kept.write([row(0), row(1)])
    assert opened().rows() == [row(0)]
    with monkeypatch.context() as full:
        full.setattr(study.Path, "write_bytes", half)
        refused(lambda: kept.write([row(0), row(1)]), "kinds.csv", "No space left on device")
    assert opened().rows() == [row(0)]


# The one command for all stored results

MADE = results()


def toy(lm, draws) -> study.Study:
    """Each draw answers its own number; a negative number of draws stops by hand."""

    def work(draw):
        if draws < 0:
            raise KeyboardInterrupt
        return [{"way": "lora"} | scored([draw == 0, True])]

    settled = {"task": "toy", "questions": 2}
    return study.Study("toy", [{"draw": d} for d in range(abs(draws))], work, settled, ["draw"])


@pytest.fixture
def command(tiny, monkeypatch, tmp_path):
    """The command, with a study of three draws as the only result."""
    monkeypatch.setattr(command_line, "results", lambda: {"toy": study.Made(1, toy, draws=3)})
    monkeypatch.setattr(command_line.model, "load", lambda name: tiny)
    return lambda *more: command_line.main(["toy", "--out", str(tmp_path / "toy.csv"), *more])


def test_the_command_stores_what_a_study_measures(command, tmp_path, capsys):
    assert command() == 0
    assert read(tmp_path / "toy.csv")["right"].tolist() == ["11", "01", "01"]
    assert command("--draws", "4") == 0
    assert len(read(tmp_path / "toy.csv")) == 4
    assert f"Stored in {tmp_path / 'toy.csv'}." in capsys.readouterr().out


def test_an_interruption_or_an_error_is_one_line(command, tmp_path, capsys):
    assert command("--draws", "-2") == 130
    assert "the same command goes on" in capsys.readouterr().err
    (tmp_path / "toy.json").unlink()
    (tmp_path / "toy.csv").write_text("dear diary\n")
    assert command() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "toy.csv lacks its toy.json" in line


def test_the_help_names_every_result_with_its_minutes(capsys):
    with pytest.raises(SystemExit):
        command_line.main(["--help"])
    said = capsys.readouterr().out
    for name, made in MADE.items():
        assert re.search(rf"{name} +{made.minutes:,.0f} minutes", said)


# Studies that were not carried out yet; what has been begun lies in `data/results/unfinished`.
FAIR = ("support_tickets", "reviews", "verbs", "replies", "emails", "codes", "writers", "together")
UNFINISHED = [f"fair_{name}" for name in FAIR if name != "writers"]
UNFINISHED += [f"tuned_{name}" for name in (*FAIR[3:6], "together", "faults")]
UNFINISHED += [f"tuned_weights_{name}" for name in FAIR[:2]]
UNFINISHED += [f"tuned_prompt_{name}" for name in FAIR[:2]]
UNFINISHED += [f"misled_{name}" for name in ("faults", "length", "batch")]
UNFINISHED += ["forget_less", "third_way", "fair_costs"]


def test_every_stored_table_is_made_by_the_command_and_no_other():
    tables = {path.stem for path in (DATA / "results").glob("*.csv")}
    tables -= {"verdicts", "findings", "benchmarks", "growth", "cell_seconds"}
    studies = {name for name, made in MADE.items() if made.study}
    assert tables == (studies - set(UNFINISHED)) | {"full_change"}
    for name, made in MADE.items():
        if name in UNFINISHED:
            continue
        assert (DATA / (made.place or f"results/{name}.csv")).exists()
        if made.study:
            record = json.loads((DATA / "results" / f"{name}.json").read_text("utf-8"))
            made_by = record.get("command", record["runs"][-1]["command"])
            assert made_by == f"python -m lessons {name}"


# Cells without rows: 256 messages do not fit the context, and reading many was timed once.
WITHOUT = {"support_tickets": 10, "reviews": 10, "costs_prefill": 18}


def test_contrasts_come_from_results_that_the_command_makes():
    assert set(contrasts.SOURCES) <= set(MADE)


CARRIED_OUT = [n for n, made in MADE.items() if made.study and n not in UNFINISHED]


@pytest.mark.parametrize("name", CARRIED_OUT)
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

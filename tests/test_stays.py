"""What changes and what stays is counted in cases, and a case that differs is seen."""

import json
import socket
import subprocess
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from helpers import adapters, compare, model
from helpers.data import load_rows
from helpers.model import ModelError
from lessons import facts, stays, verdict

pytestmark = pytest.mark.usefixtures("one_thread")
FOUR = facts.draw(load_rows("invented_facts"), 4, 0)


@pytest.fixture
def tiny(make_tiny, monkeypatch):
    """A tiny model that learns in few steps, and draws of four facts."""
    quick = replace(facts.LORA, rate=1e-2)
    monkeypatch.setattr(facts, "WEIGHTS", replace(facts.WEIGHTS, recipe=quick, passes=3))
    monkeypatch.setattr(stays, "FACTS", 4)
    return make_tiny("llama", max_position_embeddings=2048)


def test_answers_tell_what_was_said_and_whether_it_is_right(tiny):
    rows = pd.DataFrame(stays.answers(tiny, FOUR, "untaught"))
    assert list(zip(rows["asked"], rows["measure"], strict=True)) == [
        (way, readout) for way in stays.DIRECTIONS for readout in stays.READOUTS
    ]
    chosen, written = (json.loads(said) for said in rows["said"][:2])
    assert rows["right"][0] == compare.bits(place == 0 for place in chosen)
    assert compare.bits(facts.choose(tiny, FOUR)) == rows["right"][0]
    assert written == facts.write(tiny, FOUR)


def test_every_step_of_every_optimiser_is_counted():
    weight = torch.nn.Parameter(torch.ones(1))
    with stays.steps_counted() as steps:
        for kind in (torch.optim.AdamW, torch.optim.Adafactor):
            weight.grad = torch.ones(1)
            kind([weight], 0.1).step()
    kind([weight], 0.1).step()
    assert len(steps) == 2


def test_a_prompt_moves_nothing_and_weights_move_every_matrix(tiny, monkeypatch):
    asked = []
    monkeypatch.setattr(stays, "later", lambda *given: asked.append(given[2:]) or [])
    prompt, weights = (way(tiny, FOUR, 0)[-1] for way in (stays.in_prompt, stays.in_weights))
    assert (prompt["steps"], prompt["moved"]) == (0, 0) and prompt["context"] > 4
    assert (weights["steps"], weights["moved"], weights["context"]) == (3, 1, 0)
    assert asked[0] == () and len(asked[1]) == 1  # only the weights leave a file


@pytest.mark.slow
def test_a_new_process_has_the_adapter_and_not_the_prompt(tiny, monkeypatch, tmp_path):
    monkeypatch.setattr(stays, "FACTS", 16)
    adapters.save(tiny, tmp_path / "base")
    base = model.load(str(tmp_path / "base"))
    known = facts.draw(load_rows("invented_facts"), 16, 0)
    rows = [row for way in (stays.in_prompt, stays.in_weights) for row in way(base, known, 0)]
    rows = pd.DataFrame([{"draw": 0} | row for row in rows])
    assert stays.same_answers(rows, "weights", "weights, new process").all()
    assert stays.same_answers(rows, "untaught", "prompt, new process").all()
    assert not stays.same_answers(rows, "untaught", "weights").all()


def test_a_new_process_reaches_no_network(tiny, monkeypatch, capsys):
    for name in ("getaddrinfo", "socket"):
        monkeypatch.setattr(socket, name, getattr(socket, name))
    monkeypatch.setattr(socket.socket, "connect", socket.socket.connect)
    monkeypatch.setattr(model, "load", lambda name: tiny)
    assert stays.main(["tiny", "0", ""]) == 0
    assert json.loads(capsys.readouterr().out) == stays.answers(tiny, FOUR, "prompt, new process")
    with socket.socket() as opened, pytest.raises(OSError, match="offline"):
        opened.connect(("localhost", 9))
    with pytest.raises(OSError, match="offline"):
        socket.create_connection(("localhost", 9))
    assert stays.main(["tiny", "0", "nowhere"]) == 1
    assert "nowhere holds no adapter" in capsys.readouterr().err


def test_a_new_process_that_fails_is_told_by_its_last_line(tiny, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "Traceback\nIt broke.\n")
    monkeypatch.setattr(stays.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(ModelError, match=r"^The new process failed: It broke"):
        stays.later(tiny, 0)


def made_up(draws: int = 3) -> pd.DataFrame:
    """Rows in which all is as it is by construction, and weights know what the prompt has lost."""
    rows = []
    for draw in range(draws):
        for way, taught, right in (
            ("untaught", "prompt", 0),
            ("prompt", "prompt", 3),
            ("prompt, new process", "prompt", 0),
            ("weights", "weights", 4),
            ("weights, new process", "weights", 4),
        ):
            took = {"context": 50, "steps": 0, "moved": 0.0}
            took = took if taught == "prompt" else {"context": 0, "steps": 32, "moved": 1.0}
            for asked in stays.DIRECTIONS:
                for measure in stays.READOUTS:
                    said = [f"{draw}{i}" if i < right else "no" for i in range(4)]
                    row = {"draw": draw, "taught": taught, "way": way, "asked": asked}
                    row |= compare.scored([s != "no" for s in said], measure)
                    rows.append(row | {"said": json.dumps(said)} | took)
    return pd.DataFrame(rows)


def decided(rows: pd.DataFrame, full=(0.1, 0.2)) -> dict[str, verdict.Verdict]:
    change = pd.DataFrame({"relative": full})
    found = pd.DataFrame([*stays.of_stays(rows), *stays.of_full_change(change)])
    rules = verdict.claims()
    chosen = rules[rules["id"].isin(set(found["claim"]))]
    return {v.claim: v for v in verdict.decide(found, chosen)}


BUILT_IN = {"F1", "F3", "F5", "I1", "I3", "I4", "K1"}


def test_claims_by_construction_are_seen_in_every_case_and_k5_is_measured():
    found = decided(made_up())
    assert {c for c, v in found.items() if v.verdict == verdict.BUILT_IN} == BUILT_IN
    assert (found["K5"].verdict, found["K5"].number.mean) == (verdict.SUPPORTED, 1)
    rules = verdict.claims()
    assert set(rules["id"][rules["kind"] == verdict.BUILT_IN]) == BUILT_IN


@pytest.mark.parametrize(
    ("way", "changes", "claims"),
    [
        ("weights", {"moved": 0.99}, {"F1"}),
        ("weights, new process", {"said": json.dumps(["other"] * 4)}, {"F3", "F5"}),
        ("weights", {"context": 3}, {"F5", "K1"}),
        ("prompt", {"moved": 1.0}, {"I1", "K1"}),
        ("prompt, new process", {"said": json.dumps(["other"] * 4)}, {"I3"}),
        ("prompt", {"steps": 1}, {"I4"}),
        ("prompt", {"context": 0}, {"K1"}),
        ("weights", {"moved": 0.0}, {"F1", "K1"}),
    ],
)
def test_one_case_that_differs_contradicts_its_claims_and_no_other(way, changes, claims):
    rows = made_up()
    rows.loc[(rows["way"] == way) & (rows["draw"] == 1), list(changes)] = list(changes.values())
    found = decided(rows)
    assert {c for c in BUILT_IN if found[c].verdict == verdict.CONTRADICTED} == claims


def test_a_matrix_that_full_fine_tuning_leaves_alone_contradicts():
    assert decided(made_up(), full=(0.1, 0.0))["F1"].verdict == verdict.CONTRADICTED


def test_what_is_recalled_as_badly_later_contradicts_k5():
    rows = made_up()
    rows.loc[rows["way"] == "weights, new process", "right"] = "0000"
    assert decided(rows)["K5"].verdict == verdict.CONTRADICTED
    assert np.isclose(decided(rows)["K5"].number.mean, 0)

"""Lesson 1: what its tables and figures tell, and that a moved weight is put back."""

import numpy as np
from notebook_tools import ROOT, markdown, read

from helpers import model
from helpers.data import Example, Task
from lessons import l01_in_context as l01

WORDS = tuple(Example(f"word {i}", ("hot", "cold")[i % 2]) for i in range(40))
LABELS = ("hot", "cold")
TASK = Task("kinds", "{text} -> {label}\n", (), WORDS, LABELS, {name: name for name in LABELS})


def test_shuffling_is_told_by_its_cost_and_named_where_it_is_sure(monkeypatch):
    kept = []
    monkeypatch.setattr(l01.plots, "whiskers", lambda *given, **more: kept.append(given))
    all_right, none = np.ones((3, 40), dtype=bool), np.zeros((3, 40), dtype=bool)
    gaps = l01.show_broken({"one": all_right, "two": none}, {"one": none, "two": none})
    (_, title, told) = kept.pop()
    assert gaps["one"].mean == 1 and gaps["two"].mean == 0
    assert title == "Shuffled answers surely hurt 1 of 2 jobs, one most"
    assert told.startswith("What shuffling costs: one +1.00 (+1.00 to +1.00), two +0.00")
    l01.show_broken({"two": none}, {"two": none})
    assert kept[0][1] == "Shuffled answers surely hurt none of 1 jobs"


def test_curves_tell_from_where_on_half_is_right_and_what_an_instruction_gets(monkeypatch):
    kept = []
    monkeypatch.setattr(l01.plots, "whiskers", lambda *given, **more: kept.append(given))
    none, all_right = np.zeros((3, 40), dtype=bool), np.ones((3, 40), dtype=bool)
    curves = {"one": [none[:1], none, all_right], "two": [none[:1], none, none]}
    l01.show_curves(curves, (0, 2, 4), {"one": none[:1], "two": all_right[:1]})
    ((panels, title, told),) = kept
    assert list(panels[""]["one"]) == ["0", "2", "4"]
    assert title == "4 examples: one 1.00, two 0.00"
    assert "Half are right: one from 4 shots on, two not by 4 shots." in told
    assert told.endswith("Only told what to write: one 0.00, two 1.00.")


def test_jobs_are_named_in_words():
    assert list(l01.jobs()) == ["past tenses", "plurals", "capitals"]
    assert l01.jobs()["past tenses"].name == "past_tense"


def test_the_likeliest_label_comes_first_and_answers_stand_side_by_side():
    assert list(l01.best_first([-2.0, -1.04], LABELS).items()) == [("cold", -1.0), ("hot", -2.0)]
    table = l01.beside(["go", "see"], {"before": ["", ""], "after": ["went", "saw"]})
    assert list(table.loc["see"]) == ["", "saw"]


def test_the_lesson_prints_the_list_that_is_asked():
    task = l01.load_task("category")
    given, style = l01.contest.put(None, task, "list", l01.LIST)
    path = ROOT / "notebooks" / f"{l01.LESSON}.ipynb"
    assert f"```\n{style(given, [], 'tiger')}\n```" in "\n".join(markdown(read(path)))


def test_written_answers_are_told_apart_from_chosen_ones():
    wrote = {("list", 0): ["hot"] * 20 + ["a place where it is warm"] * 20}
    right = {("list", 0, "plain"): np.arange(40) < 30}
    row = l01.written_or_chosen(TASK, wrote, right).loc["list, 0 shots"]
    assert list(row)[:3] == [0.25, 0.75, 0.5]
    assert row["wrote, such as"] == "word 1: hot, word 35: a place where it is warm"


def test_a_moved_weight_is_noticed_and_put_back(tiny_models):
    lm = tiny_models["llama"]
    before = model.checksum(lm.model)
    with l01.one_weight_moved(lm):
        assert model.checksum(lm.model) != before
    assert model.checksum(lm.model) == before


def test_findings_say_what_was_seen():
    gap = l01.compare.Interval(0.3, 0.1, 0.5)
    found = l01.findings(True, False, {"plurals": gap})
    assert list(found) == ["I1", "I2", "I3", "I4"]
    assert found["I1"][0] == "checksums equal: True"
    assert found["I2"][0] == "right minus shuffled: plurals +0.30 (+0.10 to +0.50)"
    assert found["I2"][1] == "It surely costs: plurals. Not seen: none."
    assert found["I3"][0] == "answers different afterwards"

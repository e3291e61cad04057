"""Lesson 0's map of the others says what they say themselves; its figures and tables tell all."""

import re

from notebook_tools import LESSONS, markdown, read

from helpers import claims
from helpers.data import Example
from lessons import l00_start


def test_the_map_asks_for_what_each_lesson_asks_for():
    """The last column of lesson 0's map names the lessons that the others say to read before."""
    (table,) = [text for text in markdown(read(LESSONS[0])) if "| you need |" in text]
    needs = re.findall(r"^\| \[(\d+) .*\| lessons? ([^|]*) \|$", table, re.M)
    asked = []
    for path in LESSONS[1:]:
        (line,) = re.findall(r"\*\*Read before:\*\*(.*?)\*\*Time", markdown(read(path))[1])
        asked.append((str(int(path.name[:2])), re.findall(r"\[lesson (\d+)\]", line)))
    assert [(lesson, re.findall(r"\d+", names)) for lesson, names in needs] == asked


def test_goals_use_no_word_that_comes_only_later():
    table = claims.claims()
    told = " ".join(l00_start.goals(table))
    assert re.findall(r"LoRA|adapter|zero-shot|checksum|process\b", told) == []
    for word in l00_start.PLAIN:
        assert table["contrast"].str.contains(word, regex=False).any(), f"{word!r} is said nowhere"


def test_figures_tell_their_numbers_and_each_point_stands_above_its_way(monkeypatch):
    kept = []
    for name in ("bars", "line", "show"):
        monkeypatch.setattr(l00_start.plots, name, lambda *given, **more: kept.append(given))
    l00_start.show_likely({"The capital": {" Paris": 0.7, " a": 0.1}, "find ->": {" ": 0.1}})
    l00_start.show_losses([8.0, 2.0, 0.5])
    l00_start.show_hits({"untaught": [False] * 4, "prompt": [True] * 4, "weights": [False] * 4})
    likely, losses, (figure, told) = kept
    assert likely[1] == "0.70 for Paris; after an arrow no token has more than 0.10"
    assert losses[3] == "3 steps take the loss from 8.0 to 0.500"
    assert figure.get_suptitle() == "On new verbs: prompt 1.00, weights 0.00"
    assert told == "Of 4 new verbs, the prompt gets 100% right and the weights 0%."
    (axis,) = figure.axes
    points = [line.get_xdata()[0] for line, *_ in axis.containers]
    assert list(axis.get_xticks()) == points, "a point stands beside its tick"
    names = [text.get_text() for text in axis.get_xticklabels()]
    assert names == ["untaught", "prompt", "weights"]


def test_answers_stand_beside_what_is_right():
    asked = [Example("go", "went"), Example("see", "saw")]
    table = l00_start.beside({"prompt": ["went", "see"]}, asked)
    assert list(table.loc["see"]) == ["see", "saw"]
    assert list(table.columns) == ["prompt", "right"]

"""Lesson 0's map of the others says what they say themselves."""

import re

from notebook_tools import LESSONS, markdown, read


def test_the_map_asks_for_what_each_lesson_asks_for():
    """The last column of lesson 0's map names the lessons that the others say to read before."""
    (table,) = [text for text in markdown(read(LESSONS[0])) if "| you need |" in text]
    needs = re.findall(r"^\| \[(\d+) .*\| lessons? ([^|]*) \|$", table, re.M)
    asked = []
    for path in LESSONS[1:]:
        (line,) = re.findall(r"\*\*Read before:\*\*(.*?)\*\*Time", markdown(read(path))[1])
        asked.append((str(int(path.name[:2])), re.findall(r"\[lesson (\d+)\]", line)))
    assert [(lesson, re.findall(r"\d+", names)) for lesson, names in needs] == asked

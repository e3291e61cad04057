"""The lessons on Colab: the file alone in an empty folder, which its set-up cell fills by a clone.

`python -m tools colab` runs all of them so, with Colab's own versions where those are installed.
"""

import os
from pathlib import Path

import nbformat
import pytest
from notebook_tools import LESSONS, git_or_skip, read, run

from tools import colab
from tools.notebooks import code_cell, output_text

WHERE = "import os\nimport helpers\nprint(os.path.realpath(helpers.__file__))"
AS_THEY_ARE = {"PIP_NO_INDEX": "1"}  # everything is there: whatever is installed all the same fails


@pytest.fixture(scope="module")
def remote(tmp_path_factory) -> Path:
    with git_or_skip():
        return colab.repository(tmp_path_factory.mktemp("github"))


@pytest.mark.slow
def test_the_first_lesson_runs_to_the_end(remote, tmp_path):
    """It stands on the clone, not on this course; after a restart, set-up finds the clone.

    The set-up cell is the same in all lessons, so one of them stands for the others.
    """
    content, env = colab.played(remote, tmp_path)
    env = os.environ | env | AS_THEY_ARE
    notebook = read(LESSONS[0])
    notebook.cells.append(code_cell(WHERE))
    assert helpers_of(run(notebook, content, env)).is_relative_to(content / "course")
    again = read(LESSONS[0])
    again.cells = [cell for cell in again.cells if "setup" in cell.metadata.get("tags", [])]
    again.cells.append(code_cell(WHERE))
    assert helpers_of(run(again, content, env)).is_relative_to(content / "course")


def helpers_of(notebook):
    """The path that the cell `WHERE` printed."""
    return Path(output_text(notebook.cells[-1].outputs[-1]).strip())


def test_a_lesson_that_fails_is_told_with_its_error(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(colab, "repository", lambda folder: None)
    monkeypatch.setattr(colab, "played", lambda remote, folder: (tmp_path, {}))
    lessons = [tmp_path / "bad.ipynb", tmp_path / "good.ipynb"]
    for lesson, source in zip(lessons, ("1 / 0", "1"), strict=True):
        nbformat.write(nbformat.v4.new_notebook(cells=[code_cell(source)]), lesson)
    bad, good = colab.run(lessons)
    assert "ZeroDivisionError" in bad["error"] and good["error"] == ""
    assert "good: " in capsys.readouterr().out.splitlines()[-1]

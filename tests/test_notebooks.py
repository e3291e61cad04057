"""Every lesson keeps to the skeleton, and stores what it should and no more.

That every cell runs twice in a row, that the outputs marked for it come out the same, and that
exercises and solutions are told apart, is tested by nbval: see the conftest.py beside `tests`.
"""

import re
import statistics

import nbformat
import pandas as pd
import pytest
from notebook_tools import (
    LESSONS,
    ROOT,
    code_cells,
    lines,
    markdown,
    mute_figures,
    read,
    stored_strings,
    words,
)

from tools import links
from tools.notebooks import exercises, tags

HOME = re.compile(
    r"(?<![\w.:/~-])/(?:home|Users|root|tmp|work|mnt|opt|usr|var|private|content)/"
    r"|\b[A-Z]:\\Users\\"
)
MOMENT = re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d")

each_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


def test_there_are_lessons():
    assert LESSONS, "the folder notebooks holds no lesson"


@each_lesson
def test_is_valid(path):
    nbformat.validate(read(path))


@each_lesson
def test_names_its_kernel(path):
    """Without it JupyterLab asks for one before it runs anything."""
    assert read(path).metadata.get("kernelspec", {}).get("name") == "python3"


@each_lesson
def test_setup_cell(path):
    """The first code cell, the same in all, clones the repository that pyproject.toml names."""
    cells = code_cells(read(path))
    assert [cell for cell in cells if "setup" in tags(cell)] == cells[:1]
    assert cells[0].source == code_cells(read(LESSONS[0]))[0].source
    assert f'"{links.GITHUB}{links.slug(ROOT)}"' in cells[0].source


@each_lesson
def test_badges(path):
    """The first cell has the title and the badges, which open this very file."""
    first = read(path).cells[0].source
    here, slug = path.relative_to(ROOT).as_posix(), links.slug(ROOT)
    assert first.startswith("# ")
    assert f"({links.COLAB}{slug}/blob/main/{here})" in first
    assert f"({links.BINDER}{slug}/main?urlpath=lab/tree/{here})" in first


@each_lesson
def test_objectives_and_recap(path):
    texts = markdown(read(path))
    assert "You will be able to" in texts[1]
    assert any(re.search(r"^## Recap", text, re.M) for text in texts[-3:])


@each_lesson
def test_claims_exist(path):
    """The header names the claims that the lesson tests, and each is one of the course's claims."""
    header = "\n".join(markdown(read(path))[:2])
    claims = [line for line in header.splitlines() if "claims" in line.lower()]
    assert claims, "the header does not say which claims the lesson tests"
    named = set(re.findall(r"\b[A-Z]\d{1,2}\b", "\n".join(claims)))
    assert named <= set(pd.read_csv(ROOT / "data" / "claims.csv").id)


@each_lesson
def test_executed_in_order_without_error(path):
    cells = code_cells(read(path))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert [output for output in outputs if output.output_type == "error"] == []
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []


@each_lesson
def test_widgets_have_state(path):
    """Without it GitHub shows "Invalid Notebook" instead of the lesson."""
    assert all("state" in views for views in read(path).metadata.get("widgets", {}).values())


@each_lesson
def test_nothing_of_the_authors_machine(path):
    notebook = read(path)
    assert [text for text in stored_strings(notebook) if HOME.search(text)] == []
    assert [text for text in stored_strings(notebook) if MOMENT.search(text)] == []
    assert not any("execution" in cell.metadata for cell in notebook.cells)


@each_lesson
def test_is_short(path):
    notebook = read(path)
    sizes = [lines(cell) for cell in code_cells(notebook) if "setup" not in tags(cell)]
    assert max(sizes) <= 25
    assert statistics.median(sizes) <= 6
    assert 20 <= len(notebook.cells) <= 40
    assert words(notebook) <= 1100


# Lesson 0 builds nothing; a lesson that the second edition has not reached does not yet.
SECOND_EDITION = [path for path in LESSONS if any("build" in tags(c) for c in read(path).cells)]
DECIDES = re.compile(r"\b(plots|figures|picture)\.\w|claims\.tell|^import |^from ", re.M)


@pytest.mark.parametrize("path", SECOND_EDITION, ids=lambda path: path.stem)
def test_the_learner_builds_and_does_not_only_watch(path):
    """A rewritten lesson's budgets; cells that set up, plot or decide are tagged `plumbing`."""
    notebook = read(path)
    cells = [cell for cell in code_cells(notebook) if "setup" not in tags(cell)]
    unnamed = [c.source for c in cells if DECIDES.search(c.source) and "plumbing" not in tags(c)]
    assert unnamed == []
    sizes = [lines(cell) for cell in cells]
    plumbing = sum(lines(cell) for cell in cells if "plumbing" in tags(cell))
    assert 25 <= len(notebook.cells) <= 38
    assert max(sizes) <= 15 and statistics.median(sizes) <= 5
    assert plumbing <= sum(sizes) / 3
    builds = [cell for cell in cells if "build" in tags(cell)]
    assert 2 <= len(builds) <= 4 and all(lines(cell) <= 10 for cell in builds)
    assert all("..." in cell.source for cell in builds)


@each_lesson
def test_each_figure_has_its_sentence(path):
    assert mute_figures(read(path)) == []


@each_lesson
def test_exercises_are_complete(path):
    """An open cell, its check, a folded hint, and a folded solution with code to paste."""
    notebook = read(path)
    found = exercises(notebook)
    for exercise in found:
        assert exercise.check and "check" in exercise.check.source, exercise.stub.source
        assert exercise.hint and exercise.hint.strip(), exercise.stub.source
        assert exercise.solution and exercise.solution.strip(), exercise.stub.source
    titles = re.findall(r"<summary>(.*?)</summary>", "\n".join(markdown(notebook)))
    solutions = [title for title in titles if "solution" in title.lower()]
    assert len(solutions) == len(found), "a solution belongs to no cell tagged `exercise`"

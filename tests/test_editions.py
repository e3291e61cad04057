"""Editions of a lesson: for students, instructors, the podium and a grader, and that each fits."""

import os
from datetime import datetime

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_notebook
from notebook_tools import LESSONS, ROOT, code_cells, markdown, read, run

from tools import editions, podium, speed
from tools.notebooks import WIDGET, code_cell, exercises, output_text, tags

BUILDING = [p for p in LESSONS if any("build" in tags(c) for c in read(p).cells)]

each_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


@each_lesson
def test_students_get_blanks_and_hints_but_no_solution(path):
    source = read(path)
    notebook = editions.student(source)
    nbformat.validate(notebook)
    text = "\n".join(markdown(notebook)).lower()
    solutions = [exercise.solution.strip() for exercise in exercises(source)]
    assert "<summary>solution" not in text
    assert not any(solution in cell.source for solution in solutions for cell in notebook.cells)
    assert text.count("<summary>hint") == len(solutions)
    stubs = [cell.source for cell in source.cells if "exercise" in tags(cell)]
    assert [cell.source for cell in notebook.cells if "exercise" in tags(cell)] == stubs
    assert all(not cell.outputs for cell in code_cells(notebook))


@each_lesson
def test_instructors_get_every_solution_and_a_rubric(path):
    source = read(path)
    notebook = editions.instructor(source)
    nbformat.validate(notebook)
    solved = [cell.source for cell in notebook.cells if "exercise" in tags(cell)]
    assert solved == [exercise.solution.strip() for exercise in exercises(source)]
    assert sum(text.startswith("**Rubric**") for text in markdown(notebook)) == len(solved)


def test_a_rubric_names_the_mistakes_that_the_check_knows():
    check = "next_targets = checks.built(l02_fine_tuning.TARGETS, next_targets, lm)"
    assert editions.rubric(check).count("\n- ") >= 3
    assert "\n- " not in editions.rubric("l02_fine_tuning.check_recipe(attempt)")


@pytest.mark.parametrize("path", BUILDING, ids=lambda path: path.stem)
def test_a_grader_tests_each_build_once(path):
    notebook = editions.graded(read(path))
    marks = [c.metadata.nbgrader for c in notebook.cells if "nbgrader" in c.metadata]
    names = [mark["grade_id"] for mark in marks]
    builds = sum("build" in tags(cell) for cell in notebook.cells)
    assert sorted(names) == sorted(
        [f"{k}-{i + 1}" for k in ("build", "test") for i in range(builds)]
    )
    assert all(mark["grade"] == mark["grade_id"].startswith("test") for mark in marks)
    assert notebook.cells[-1].metadata.nbgrader["grade_id"] == f"test-{builds}"


def test_all_are_written(tmp_path):
    written = editions.write(BUILDING[:1], tmp_path)
    assert [file.relative_to(tmp_path).parts[0] for file in written] == [
        "student",
        "instructor",
        "podium",
        "grader",
    ]
    assert (written[3].parents[2] / "nbgrader_config.py").exists()


# --- the podium -----------------------------------------------------------------------------------

ELSEWHERE = os.environ | {"PYTHONPATH": str(ROOT)}  # as course.py's .venv has it
SLOW = """calls.append(len(calls))
print("before")
display("shown")
print("after", calls, end="!")
kept = calls[:]
kept"""


def shown(cell):
    """What a cell showed, as one text."""
    return "".join(output_text(output) for output in cell.outputs)


def at_podium(cells, took, tmp_path):
    """A lesson with these cells at the podium, run in a folder of its own."""
    source = new_notebook(cells=cells)
    outputs = {cell.id: ["stored"] for cell in cells}
    notebook = podium.edition(source, outputs, took, "08_a")
    stored = [cell.get("outputs") for cell in notebook.cells]
    for cell in code_cells(notebook):
        cell.outputs = []
    nbformat.write(notebook, tmp_path / "08_a.ipynb")
    return notebook, stored


def test_a_warm_cell_shows_what_it_gave_without_running_again(tmp_path):
    cells = [
        code_cell("calls, kept = [], None"),
        code_cell(SLOW),
        code_cell("print('before', kept)\nkept = 'another'"),
    ]
    took = {cell.id: seconds for cell, seconds in zip(cells, (0.1, 9, 0.1), strict=True)}
    notebook, stored = at_podium(cells, took, tmp_path)
    assert [cell.cell_type for cell in notebook.cells] == ["code"] * 2 + ["markdown"] + ["code"] * 2
    assert stored[3] == ["stored"] and "takes about 9 s" in notebook.cells[2].source
    assert "about 9 s" in notebook.cells[0].source
    notebook.cells[1].source = "calls.append('live')"  # it would be seen if the next cell ran
    changed = code_cell(podium.MAGIC + SLOW.replace("after", "anew"))
    notebook.cells.append(changed)
    setup, live, _, warm, later, anew = run(notebook, tmp_path, ELSEWHERE).cells
    assert shown(setup).startswith("Warm after") and shown(live) == ""
    assert shown(warm) == "before\n'shown'after [0]![0]"
    assert shown(later) == "before [0]\n"  # the name that the warm cell gives, too
    assert shown(anew) == "before\n'shown'anew [0, 'live', 2]![0, 'live', 2]"


def test_a_warm_cell_shows_a_widget_and_no_progress_bar(tmp_path):
    code = "import ipywidgets\nfrom IPython.display import display\n"
    code += "class Panel(ipywidgets.VBox):\n    __repr__ = lambda self: 'A panel.'\n"
    cells = [code_cell(f"{code}display(ipywidgets.IntProgress())\nPanel()")]
    notebook, _ = at_podium(cells, {cells[0].id: 9}, tmp_path)
    _, warm = code_cells(run(notebook, tmp_path, ELSEWHERE))
    (output,) = warm.outputs
    assert output.data["text/plain"] == "A panel." and WIDGET in output.data


def test_a_warm_up_says_which_error_ended_it(tmp_path):
    cells = [code_cell("1 / 0"), code_cell("2")]
    notebook, _ = at_podium(cells, {cells[1].id: 9}, tmp_path)
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        run(notebook, tmp_path, ELSEWHERE)


def test_a_cell_that_was_never_timed_counts_as_long(tmp_path):
    cells = [code_cell("1"), code_cell("2")]
    notebook, stored = at_podium(cells, {cells[0].id: 0.1}, tmp_path)
    assert notebook.cells[1].source == "1" and notebook.cells[3].source == "%%warm\n2"
    assert "not measured" in notebook.cells[2].source and stored[3] == ["stored"]


@pytest.mark.alone
@pytest.mark.slow
def test_after_the_warm_up_every_cell_of_a_lesson_takes_under_five_seconds(tmp_path):
    (lesson,) = (path for path in LESSONS if path.stem == "08_better_together")
    notebook = editions.at_podium(read(lesson), lesson.stem)
    assert 1 < sum(cell.source.startswith(podium.MAGIC) for cell in notebook.cells) < 12
    nbformat.write(notebook, tmp_path / lesson.name)
    for cell in code_cells(notebook):
        cell.outputs = []
    warm_up, *others = code_cells(run(notebook, tmp_path, ELSEWHERE))
    assert max(map(seconds_of, others)) < speed.limit(5) < seconds_of(warm_up)
    slow = [cell for cell in others if cell.source.startswith(podium.MAGIC)]
    assert all(cell.outputs for cell in slow)


def seconds_of(cell):
    """How long a cell ran, as nbclient noted it."""
    times = cell.metadata.execution
    ran = [times["iopub.execute_input"], times["shell.execute_reply"]]
    began, ended = (datetime.fromisoformat(when) for when in ran)
    return (ended - began).total_seconds()

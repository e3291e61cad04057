"""Editions of a lesson: what students, instructors and a grader get, and that it fits together."""

import nbformat
import pytest
from notebook_tools import LESSONS, code_cells, markdown, read

from tools import editions
from tools.notebooks import exercises, tags

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


def test_all_are_written(tmp_path):
    written = editions.write(BUILDING[:1], tmp_path)
    assert [file.relative_to(tmp_path).parts[0] for file in written] == [
        "student",
        "instructor",
        "grader",
    ]
    assert (written[2].parents[2] / "nbgrader_config.py").exists()

"""Editions of a lesson from its one source: for students, instructors, the podium and a grader.

The source is the lesson as it stands in `notebooks/`, with its blanks and its folded solutions.
Students get it without solutions and outputs; instructors with every solution in its blank and a
rubric below, and for the podium the students' with a warm-up (`tools/podium.py`). The grader's copy
is the students' with the metadata of nbgrader, up to the last build: an answer counts where the
check took it for right.
"""

import copy
import re
from importlib import import_module
from pathlib import Path

import nbformat
from nbformat.v4 import new_markdown_cell

from tools import podium
from tools.notebooks import DETAILS, code_cell, exercises, tags

BUILT = re.compile(r"(\w+) = checks\.built\((\w+)\.(\w+)")
POINTS = 2
GRADER = '''"""nbgrader for this lesson: call `nbgrader generate_assignment lesson` in this folder.

The blanks are the course's own, so no solution has to be cut out.
"""

from nbgrader import preprocessors as steps

c = get_config()  # noqa: F821
c.CourseDirectory.course_id = "two_ways"
c.GenerateAssignment.preprocessors = [
    steps.LockCells, steps.ClearOutput, steps.CheckCellMetadata, steps.ComputeChecksums,
    steps.SaveCells,
]
c.ExecutePreprocessor.timeout = 1200
'''


def write(files: list[Path], out: Path) -> list[Path]:
    """Write the editions of these lessons under `out`; returns the notebooks written."""
    written = []
    for file in files:
        source = nbformat.read(file, as_version=4)
        made = {
            "student": student(source),
            "instructor": instructor(source),
            "podium": at_podium(source, file.stem),
        }
        for name, notebook in made.items():
            written.append(_store(notebook, out / name / "notebooks" / file.name))
        if any("build" in tags(cell) for cell in source.cells):
            folder = out / "grader" / file.stem
            written.append(_store(graded(source), folder / "source" / "lesson" / file.name))
            (folder / "nbgrader_config.py").write_text(GRADER, encoding="utf-8")
    return written


def student(source: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The lesson with blanks and hints, without solutions, outputs and marks of the authors."""
    notebook = _without_outputs(source)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = DETAILS.sub(_unless_solution, cell.source).strip()
    notebook.cells = [cell for cell in notebook.cells if cell.source]
    return notebook


def instructor(source: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The lesson with every solution in its blank, and below each check how to mark answers."""
    notebook = _without_outputs(source)
    rubrics = {}
    for exercise in exercises(notebook):
        exercise.stub.source = exercise.solution.strip()
        rubrics[id(exercise.check)] = new_markdown_cell(rubric(exercise.check.source))
    notebook.cells = [
        part for cell in notebook.cells for part in (cell, rubrics.get(id(cell))) if part
    ]
    return notebook


def at_podium(source: nbformat.NotebookNode, lesson: str) -> nbformat.NotebookNode:
    """The students' edition with a warm-up, and what the cells that take long showed."""
    outputs = {cell.id: cell.outputs for cell in source.cells if cell.cell_type == "code"}
    return podium.edition(student(source), outputs, podium.seconds(lesson), lesson)


def rubric(check: str) -> str:
    """How to mark what a check judges: the points, and what typical mistakes show."""
    text = f"**Rubric** ({POINTS} points). {POINTS}: the check prints “Right”."
    text += " 1: a mistake that the learner can explain. 0: nothing was attempted."
    match = BUILT.search(check)
    if match:
        mistakes = getattr(import_module(f"lessons.{match[2]}"), match[3]).mistakes
        text += " Typical mistakes, each with what the check says to it:\n"
        text += "".join(f"\n- {diagnosis}" for diagnosis in mistakes)
    return text


def graded(source: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The students' edition with nbgrader's metadata, and a test cell below each build's check.

    It ends with the last test: what follows needs no marking and would train for minutes.
    """
    notebook = student(source)
    cells, builds = [], 0
    for cell in notebook.cells:
        cells.append(cell)
        match = BUILT.search(cell.source) if cell.cell_type == "code" else None
        if "build" in tags(cell):
            builds += 1
            cell.metadata.nbgrader = _marks(f"build-{builds}", solution=True)
        if match:
            piece, module, name = match.groups()
            test = code_cell(
                f'assert {piece} is not {module}.{name}.own, "Build {builds} is not right yet."'
            )
            test.metadata.nbgrader = _marks(f"test-{builds}", grade=True, points=POINTS)
            cells.append(test)
    places = [place for place, cell in enumerate(cells) if "nbgrader" in cell.metadata]
    notebook.cells = cells[: max(places, default=0) + 1]
    return notebook


def _marks(name: str, solution: bool = False, grade: bool = False, **more: int) -> dict:
    kind = {"grade_id": name, "solution": solution, "grade": grade, "locked": grade, "task": False}
    return kind | {"schema_version": 3, "cell_type": "code"} | more


def _without_outputs(source: nbformat.NotebookNode) -> nbformat.NotebookNode:
    notebook = copy.deepcopy(source)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def _unless_solution(match: re.Match) -> str:
    return "" if "solution" in match[1].lower() else match[0]


def _store(notebook: nbformat.NotebookNode, file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
    return file

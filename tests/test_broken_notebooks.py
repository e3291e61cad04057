"""A lesson with a fault turns the suite red, and names the fault; a sound one stays green.

The real tests run, in a process of their own, against a course of tiny notebooks without a model.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from notebook_tools import ROOT

from tools import links

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNgAAAAAgAB5Sfe/AAAAABJRU5ErkJggg=="
)
SETUP = f"""\
import os
import sys
if "google.colab" in sys.modules:
    print("{links.GITHUB}{links.slug(ROOT)}")
if os.path.abspath("..") not in sys.path:
    sys.path.insert(0, os.path.abspath(".."))"""
KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
CHECKS = """\
class checks:
    def double(answer):
        verdict = "Right: 4 is twice 2." if answer == 4 else "Not yet: twice 2 is meant."
        print("Not attempted yet." if answer is ... else verdict)"""
HELP = """\
<details><summary>Hint</summary>Add.</details>

<details><summary>Solution</summary>

```python
answer = 2 + 2
```

</details>"""


def code(source, *outputs, tags=()):
    return new_code_cell(source, outputs=list(outputs), metadata={"tags": list(tags)})


def stream(text):
    return new_output("stream", name="stdout", text=text)


def sound(name):
    """A notebook that keeps to every rule, as its author has stored it."""
    here, slug = f"notebooks/{name}.ipynb", links.slug(ROOT)
    badges = (
        f"[![Colab](c.svg)]({links.COLAB}{slug}/blob/main/{here})"
        f" [![Binder](b.svg)]({links.BINDER}{slug}/main?urlpath=lab/tree/{here})"
    )
    figure = f"from IPython.display import Image\nImage(base64.b64decode({PIXEL!r}))"
    cells = [
        new_markdown_cell(f"# Twice\n\n{badges}\n\nWhat is twice two?"),
        new_markdown_cell("You will be able to double.\n\nClaims tested: `F1`."),
        code(SETUP, tags=["setup"]),
        code(CHECKS),
        code(
            "import base64\n" + figure,
            new_output("execute_result", {"image/png": PIXEL}, execution_count=3),
        ),
        code("print('One pixel is 1 wide.')", stream("One pixel is 1 wide.\n")),
        code("print(2 + 2)", stream("4\n"), tags=["nbval-check-output"]),
        code("answer = ...", tags=["exercise"]),
        code("checks.double(answer)", stream("Not attempted yet.\n")),
        new_markdown_cell(HELP),
        *[new_markdown_cell("A word.") for _ in range(9)],
        new_markdown_cell("## Recap\n\nTwice two is four."),
    ]
    for count, cell in enumerate((cell for cell in cells if "outputs" in cell), start=1):
        cell.execution_count = count
    return new_notebook(cells=cells, metadata={"kernelspec": dict(KERNEL)})


def find(notebook, text):
    return next(cell for cell in notebook.cells if text in cell.source)


def source(old, new):
    """Change the source of the first cell in which the old text stands."""

    def change(notebook):
        cell = find(notebook, old)
        cell.source = cell.source.replace(old, new)

    return change


def stored(text, **what):
    """Change what else is stored of the first cell in which the text stands."""
    return lambda notebook: find(notebook, text).update(what)


ERROR = new_output("error", ename="ValueError", evalue="no", traceback=["no"])
NO_STATE = {"application/vnd.jupyter.widget-state+json": {}}
FAULTS = {  # what is done to a sound notebook
    "raises": source("print(2 + 2)", "print(2 / 0)"),
    "checked_output_differs": stored("print(2 + 2)", outputs=[stream("5\n")]),
    "figure_without_sentence": stored("print('One", outputs=[stream("One pixel.\n")]),
    "other_setup": source("import os\n", "import json\nimport os\n"),
    "stored_error": stored("class checks", outputs=[ERROR]),
    "widgets_without_state": lambda notebook: notebook.metadata.update(widgets=NO_STATE),
    "no_kernel": lambda notebook: notebook.metadata.pop("kernelspec"),
    "foreign_badge": source(".ipynb)", "_old.ipynb)"),
    "unknown_claim": source("F1", "F99"),
    "no_recap": source("## Recap", "The end."),
    "not_executed": stored("answer = ...", execution_count=None),
    "long_cell": source("class checks", "1\n" * 25 + "class checks"),
    "path_of_the_author": source("A word", "See /home/me/lesson"),
    "wrong_solution": source("answer = 2 + 2", "answer = 2 + 3"),
    "no_hint": source("Hint", "Note"),
    "cannot_run_twice": source("import base64", "assert 'base64' not in dir()\nimport base64"),
}
RED = {  # which tests must then fail
    "raises": {"Cell 4", "Cell 4 again"},
    "checked_output_differs": {"Cell 4"},
    "figure_without_sentence": {"test_each_figure_has_its_sentence"},
    "other_setup": {"test_setup_cell"},
    "stored_error": {"test_executed_in_order_without_error"},
    "widgets_without_state": {"test_widgets_have_state"},
    "no_kernel": {"test_names_its_kernel"},
    "foreign_badge": {"test_badges"},
    "unknown_claim": {"test_claims_exist"},
    "no_recap": {"test_objectives_and_recap"},
    "not_executed": {"test_executed_in_order_without_error"},
    "long_cell": {"test_is_short"},
    "path_of_the_author": {"test_nothing_of_the_authors_machine"},
    "wrong_solution": {"Cell 6 solved"},
    "no_hint": {"test_exercises_are_complete"},
    "cannot_run_twice": {"Cell 2 again"},
}


def course_of(notebooks, folder):
    """A course with the real tests and the given notebooks."""
    for name in ("conftest.py", "pyproject.toml", "data/claims.csv", "tests/notebook_tools.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    shutil.copy(ROOT / "tests" / "test_notebooks.py", folder / "tests")
    shutil.copytree(ROOT / "tools", folder / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "notebooks").mkdir()
    for name, notebook in notebooks.items():
        nbformat.write(notebook, folder / "notebooks" / f"{name}.ipynb")


def failures(folder, *options):
    """Run the suite of a course; per notebook the tests that failed, and everything printed."""
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "--color=no", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, *options], cwd=folder, capture_output=True, text=True)
    failed = {}
    for line in re.findall(r"^(?:FAILED|ERROR) (.*)", done.stdout, re.M):
        by_nbval = re.match(r"notebooks/(\w+)\.ipynb::(Cell \d+(?: \w+)?)(?: - |$)", line)
        by_us = re.match(r"tests/test_notebooks\.py::(\w+)\[(\w+)\]", line)
        notebook, test = by_nbval.groups() if by_nbval else reversed(by_us.groups())
        failed.setdefault(notebook, set()).add(test)
    assert done.returncode == bool(failed), done.stdout + done.stderr
    return failed, done.stdout


def name_of(fault):
    """Names start with 02 where the fault shows only when the notebook runs, else with 01."""
    must_run = any(test.startswith("Cell") for test in RED[fault])
    return f"{'02' if must_run else '01'}_{fault}"


@pytest.fixture(scope="module")
def suite(tmp_path_factory) -> tuple[Path, dict[str, set[str]]]:
    """A course with a sound notebook and one for each fault, and what its suite complains about."""
    folder = tmp_path_factory.mktemp("course")
    notebooks = {"00_sound": sound("00_sound")}
    for fault, change in FAULTS.items():
        notebooks[name_of(fault)] = sound(name_of(fault))
        change(notebooks[name_of(fault)])
    course_of(notebooks, folder)
    return folder, failures(folder, "-k", "not (01_ and ipynb)")[0]


def test_a_sound_notebook_is_green(suite):
    assert "00_sound" not in suite[1]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_red(suite, fault):
    assert suite[1].get(name_of(fault)) == RED[fault]


@pytest.mark.parametrize(
    "limit, words", [("notebook_seconds=0", "has run for"), ("notebook_megabytes=1", "has held")]
)
def test_a_notebook_over_its_budget_is_red(suite, limit, words):
    """The cell with which it exceeds the budget fails, and only that one."""
    failed, output = failures(suite[0], "notebooks/00_sound.ipynb", "-o", limit)
    assert failed == {"00_sound": {"Cell 0"}}
    assert words in output


def test_a_cell_that_is_cut_off_fails_its_lesson_with_one_sentence(tmp_path):
    """The cells after it are not run."""
    notebook = sound("02_endless")
    find(notebook, "print(2 + 2)").source = "import time\nwhile True:\n    time.sleep(1)"
    course_of({"02_endless": notebook}, tmp_path)
    failed, output = failures(tmp_path, "notebooks/02_endless.ipynb", "-o", "cell_seconds=2")
    assert failed == {"02_endless": {"Cell 4"}}
    report = output.split("short test summary info")[0]  # which repeats it where CI is set
    assert len(re.findall(r"02_endless.ipynb was cut off: Cell 4 ran \d+ s\.", report)) == 1
    assert "7 skipped" in output  # its second run, and two cells with what follows them

"""The lessons on Colab: the file alone in an empty folder, which its set-up cell fills by a clone.

Colab is played by a package of its name; GitHub by a repository made from the working tree.
"""

import subprocess
from pathlib import Path

import pytest
from notebook_tools import LESSONS, copy_working_tree, read, run

from tools import links
from tools.notebooks import code_cell, output_text

STARTUP = "import sys\nsys.path.append({!r})\nimport google.colab\n"
WHERE = "import os\nimport helpers\nprint(os.path.realpath(helpers.__file__))"


@pytest.fixture(scope="module")
def remote(tmp_path_factory) -> Path:
    """A git repository that holds the working tree as it is."""
    folder = tmp_path_factory.mktemp("github")
    copy_working_tree(folder)
    author = ["-c", "user.name=Course", "-c", "user.email=course@example.org"]
    for command in (
        ["init", "-q"],
        ["add", "--all"],
        [*author, "-c", "commit.gpgsign=false", "commit", "-q", "-m", "The course"],
    ):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


@pytest.fixture
def colab(remote, tmp_path, monkeypatch) -> Path:
    """An empty folder in which kernels believe that they run on Colab."""
    package = tmp_path / "packages" / "google" / "colab"
    startup = tmp_path / "ipython" / "profile_default" / "startup" / "colab.py"
    for folder in (package, startup.parent, tmp_path / "content"):
        folder.mkdir(parents=True)
    (package / "__init__.py").touch()
    startup.write_text(STARTUP.format(str(tmp_path / "packages")))
    settings = {
        "IPYTHONDIR": tmp_path / "ipython",
        "GIT_CONFIG_COUNT": 1,
        "GIT_CONFIG_KEY_0": f"url.{remote.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": links.GITHUB + links.slug(remote),
        "GIT_ALLOW_PROTOCOL": "file",
        "PIP_NO_INDEX": 1,  # everything is there: whatever is installed all the same fails
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, str(value))
    return tmp_path / "content"


@pytest.mark.slow
def test_the_first_lesson_runs_to_the_end(colab):
    """It stands on the clone, not on this course; after a restart, set-up finds the clone.

    The set-up cell is the same in all lessons, so one of them stands for the others.
    """
    notebook = read(LESSONS[0])
    notebook.cells.append(code_cell(WHERE))
    assert helpers_of(run(notebook, colab)).is_relative_to(colab / "course")
    again = read(LESSONS[0])
    again.cells = [cell for cell in again.cells if "setup" in cell.metadata.get("tags", [])]
    again.cells.append(code_cell(WHERE))
    assert helpers_of(run(again, colab)).is_relative_to(colab / "course")


def helpers_of(notebook):
    """The path that the cell `WHERE` printed."""
    return Path(output_text(notebook.cells[-1].outputs[-1]).strip())

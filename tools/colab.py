"""The lessons as Colab opens them: a file alone in an empty folder, filled by its set-up cell.

Colab is played by an empty package of its name, GitHub by a repository made from the working tree.
The kernel is that of this Python, with whatever packages it has: `colab.txt` lists Colab's own.
"""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from tools import links
from tools.programs import ROOT

CELL_SECONDS = 1200
STARTUP = "import sys\nsys.path.append({!r})\nimport google.colab\n"
AUTHOR = ["-c", "user.name=Course", "-c", "user.email=course@example.org"]
COMMIT = [*AUTHOR, "-c", "commit.gpgsign=false", "commit", "-q", "-m", "The course"]


def copy_working_tree(target: Path) -> None:
    """Copy what git tracks or would track.

    Raises `OSError` or `CalledProcessError` where git or the clone's own records are missing.
    """
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():  # a file may be deleted and not yet committed
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def repository(folder: Path) -> Path:
    """Make of an empty folder a git repository that holds the working tree as it is."""
    copy_working_tree(folder)
    for command in (["init", "-q"], ["add", "--all"], COMMIT):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def played(remote: Path, folder: Path) -> tuple[Path, dict[str, str]]:
    """An empty folder for a lesson, and the environment in which a kernel believes to be on Colab.

    A clone of the course comes from `remote`; all files lie below `folder`.
    """
    package = folder / "packages" / "google" / "colab"
    startup = folder / "ipython" / "profile_default" / "startup" / "colab.py"
    for place in (package, startup.parent, folder / "content"):
        place.mkdir(parents=True)
    (package / "__init__.py").touch()
    startup.write_text(STARTUP.format(str(folder / "packages")))
    return folder / "content", {
        "IPYTHONDIR": str(folder / "ipython"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{remote.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": links.GITHUB + links.slug(remote),
        "GIT_ALLOW_PROTOCOL": "file",
    }


def run(lessons: list[Path]) -> list[dict]:
    """Run lessons one after another, each in a folder of its own, the model made anew once.

    Prints and returns a row for each: lesson, seconds, and the error that ended it, if one did.
    """
    rows = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        remote = Path(scratch) / "github"
        remote.mkdir()
        repository(remote)
        for lesson in lessons:
            folder, env = played(remote, Path(scratch) / lesson.stem)
            env |= {"COURSE_CACHE": str(Path(scratch) / "cache")}
            began, error = time.perf_counter(), _error(lesson, folder, os.environ | env)
            rows.append({"lesson": lesson.stem, "seconds": time.perf_counter() - began})
            rows[-1]["error"] = error
            print(f"{lesson.stem}: {rows[-1]['seconds']:.0f} s {error or 'to the end'}", flush=True)
    return rows


def _error(lesson: Path, folder: Path, env: dict[str, str]) -> str:
    """What ended a lesson before its end; empty where nothing did."""
    notebook = nbformat.read(lesson, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(
        notebook, timeout=CELL_SECONDS, kernel_name="python3", resources=resources
    )
    try:
        client.execute(env=env)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        return str(error)
    return ""

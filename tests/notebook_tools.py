"""How the tests read a lesson: its cells, its prose, its figures and its exercises."""

import ast
import contextlib
import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from tools import speed
from tools.notebooks import output_text

ROOT = Path(__file__).resolve().parents[1]
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CELL_SECONDS = 300  # on the reference machine


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def needed(cells: list[NotebookNode]) -> list[NotebookNode]:
    """Of code cells, the first, those whose names the last one rests on, and the last itself."""
    wanted, kept = _names(cells[-1], ast.Load), [cells[-1]]
    for cell in reversed(cells[1:-1]):
        if _names(cell, ast.Store) & wanted:
            kept.append(cell)
            wanted |= _names(cell, ast.Load)
    return [cells[0], *reversed(kept)]


def _names(cell: NotebookNode, context: type) -> set[str]:
    """The names that a cell reads, or gives by assigning, defining or importing; no loop's own."""
    nodes = list(ast.walk(ast.parse(cell.source)))
    names = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, context)}
    loops = [node.target for node in nodes if isinstance(node, ast.For | ast.comprehension)]
    names -= {n.id for target in loops for n in ast.walk(target) if isinstance(n, ast.Name)}
    if context is ast.Store:
        imported = [n for n in nodes if isinstance(n, ast.Import | ast.ImportFrom)]
        names |= {(alias.asname or alias.name) for node in imported for alias in node.names}
        names |= {n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    return names


def markdown(notebook: NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def lines(cell: NotebookNode) -> int:
    return sum(bool(line.strip()) for line in cell.source.splitlines())


def words(notebook: NotebookNode) -> int:
    """Words of prose: without folded parts, tables, code, pictures and the targets of links."""
    text = "\n\n".join(markdown(notebook))
    for unread in (
        r"(?s)<details>.*?</details>",
        r"(?s)```.*?```",
        r"(?m)^\s*\|.*$",
        r"!\[[^\]]*\]\([^)]*\)",
        r"(?<=\])\([^)]*\)",
        r"<[^>]+>",
    ):
        text = re.sub(unread, "", text)
    return len(re.findall(r"[^\W_][\w'’-]*", text))


def is_figure(output: NotebookNode) -> bool:
    return "image/png" in output.get("data", {})


def mute_figures(notebook: NotebookNode) -> list[str]:
    """The cells whose figure is not followed, there or in the next cell, by a printed sentence.

    The sentence is a line with a number and a full stop, and comes before the next figure.
    """
    mute = []
    cells = code_cells(notebook)
    for cell, following in zip(cells, [*cells[1:], NotebookNode(outputs=[])], strict=True):
        for place, output in enumerate(cell.outputs, start=1):
            text = _printed_before_next_figure(cell.outputs[place:] + following.outputs)
            if is_figure(output) and not re.search(r"\d.*\.$", text, re.M):
                mute.append(cell.source)
    return mute


def _printed_before_next_figure(outputs: list[NotebookNode]) -> str:
    text = ""
    for output in outputs:
        if is_figure(output):
            break
        text += output.get("text", "")
    return text


def stored_strings(notebook: NotebookNode) -> list[str]:
    """Everything a notebook stores as text: sources, outputs and metadata, but no pictures."""
    texts = [json.dumps(notebook.metadata)]
    for cell in notebook.cells:
        texts += [cell.source, json.dumps(cell.metadata)]
        texts += [output_text(output) for output in cell.get("outputs", [])]
    return texts


def run(notebook: NotebookNode, folder: Path, env: Mapping[str, str] | None = None) -> NotebookNode:
    """Run all cells in `folder`, in a kernel of this Python; the outputs are stored in `notebook`.

    `env` is the kernel's environment, by default this process's.
    Raises nbclient's errors when a cell fails or takes too long.
    """
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(
        notebook,
        timeout=round(speed.limit(CELL_SECONDS)),
        kernel_name="python3",
        resources=resources,
    )
    return client.execute(env=dict(env or os.environ))


@contextlib.contextmanager
def git_or_skip():
    """For what copies the working tree: without git, the test that asks for it is skipped."""
    try:
        yield
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("git is missing or the course was not cloned with it, so it cannot be copied")

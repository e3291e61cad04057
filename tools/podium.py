"""A lesson for the podium: what takes long has run before the class, and in class shows at once.

`edition` makes the notebook. Its first cell calls `warm_up`, which runs the lesson and keeps what
each cell marked `%%warm` showed and named. In class such a cell gives that back; once changed, it
runs anew.
"""

import copy
import csv
import io
import sys
import time
from collections.abc import Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat.v4 import new_markdown_cell

from tools.notebooks import TIMES, code_cell, tells
from tools.programs import ROOT

LONGEST = 2.5  # seconds of a cell that runs in class: on a machine half as fast it takes five
MAGIC = "%%warm\n"
WARM_UP = """# Before the class: run this cell, and leave the kernel running. It takes {}.
from tools import podium

podium.warm_up("{}.ipynb")"""
STORED = "*Stored: this cell takes {}. After the warm-up it shows at once what it gave there.*"


def seconds(lesson: str, table: Path = ROOT / "data" / "results" / TIMES) -> dict[str, float]:
    """What each code cell of a lesson took when the course executed it, in seconds by cell id."""
    if not table.exists():
        return {}
    with table.open(newline="", encoding="utf-8") as opened:
        rows = [row for row in csv.DictReader(opened) if row["lesson"] == lesson]
    return {row["cell"]: float(row["seconds"]) for row in rows}


def edition(
    source: nbformat.NotebookNode, outputs: Mapping[str, list], took: Mapping[str, float], name: str
) -> nbformat.NotebookNode:
    """The lesson `source` with a warm-up and the stored outputs of each cell that takes long.

    `outputs` and `took` have the outputs and the seconds of code cells by id; a cell that was never
    timed counts as long.
    """
    notebook = copy.deepcopy(source)
    cells, before, needed = notebook.cells, 0.0, 0.0
    notebook.cells = []
    for cell in cells:
        if cell.cell_type == "code":
            before += took.get(cell.id, 0.0)
        if cell.cell_type == "code" and took.get(cell.id, LONGEST) >= LONGEST:
            notebook.cells.append(new_markdown_cell(STORED.format(_length(took.get(cell.id, 0)))))
            cell.source, cell.outputs = MAGIC + cell.source, outputs[cell.id]
            needed = before
        notebook.cells.append(cell)
    notebook.cells.insert(0, code_cell(WARM_UP.format(_length(needed), name)))
    return notebook


def _length(measured: float) -> str:
    return f"about {measured:.0f} s" if measured else "a time that was not measured"


# In the kernel


@dataclass
class Kept:
    """What a cell showed, in order (a text was printed), and the names that it gave."""

    shown: list[str | dict]
    names: dict[str, object]


class Tape(io.TextIOBase):
    """Keeps what is printed in one list with what is displayed."""

    def __init__(self, shown: list):
        self.shown = shown

    def write(self, text: str) -> int:
        self.shown.append(text)
        return len(text)


def warm_up(file: str) -> None:
    """Run the code cells of this notebook's `file` up to the last that takes long.

    Raises what a cell raises.
    """
    from IPython import get_ipython

    shell, kept, began = get_ipython(), {}, time.monotonic()
    code = [cell.source for cell in nbformat.read(file, 4).cells if cell.cell_type == "code"][1:]
    last = max(place for place, source in enumerate(code) if source.startswith(MAGIC))
    for source in code[: last + 1]:
        result = _run(shell, source.removeprefix(MAGIC))
        if source.startswith(MAGIC):
            kept[source.removeprefix(MAGIC).strip()] = result

    def warm(line: str, cell: str) -> None:
        if cell.strip() not in kept:  # somebody has changed it
            shell.run_cell(cell)
            return
        shell.user_ns.update(kept[cell.strip()].names)
        for output in kept[cell.strip()].shown:
            if isinstance(output, str):
                print(output, end="")
            else:
                shell.display_pub.publish(output["data"], output["metadata"])

    shell.register_magic_function(warm, "cell")
    print(f"Warm after {time.monotonic() - began:.0f} s: what begins with %%warm shows at once.")


def _run(shell, code: str) -> Kept:
    """Run a cell out of sight."""
    before = dict(shell.user_ns)
    with _captured(shell) as shown:
        result = shell.run_cell(code)
    result.raise_error()
    new = {name: value for name, value in shell.user_ns.items() if not name.startswith("_")}
    names = {name: v for name, v in new.items() if name not in before or before[name] is not v}
    return Kept([output for output in shown if isinstance(output, str) or tells(output)], names)


@contextmanager
def _captured(shell):
    """What is printed and displayed, in its order, in a list; nothing of it is shown."""
    from IPython.core.displayhook import CapturingDisplayHook
    from IPython.core.displaypub import CapturingDisplayPublisher

    publisher, hook = shell.display_pub, sys.displayhook
    shell.display_pub = CapturingDisplayPublisher()
    shown = shell.display_pub.outputs
    sys.displayhook = CapturingDisplayHook(shell=shell, outputs=shown)
    try:
        with redirect_stdout(Tape(shown)):
            yield shown
    finally:
        shell.display_pub, sys.displayhook = publisher, hook

"""Reading notebooks, running them and storing their outputs. Needs nbclient, as JupyterLab does."""

import base64
import contextlib
import csv
import html
import io
import json
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from tools import screen
from tools.programs import ROOT

CELL_SECONDS = 1200
DETAILS = re.compile(r"<details>\s*<summary>(.*?)</summary>(.*?)</details>", re.S)
FINDINGS, FINDING_COLUMNS = "findings.csv", ("claim", "lesson", "measured", "why")
TIMES, TIME_COLUMNS = "cell_seconds.csv", ("lesson", "cell", "seconds")
WIDGET = "application/vnd.jupyter.widget-view+json"


class NotebookError(RuntimeError):
    """A cell failed; the message ends with the sentence that says which."""


def execute(file: Path) -> str:
    """Run a notebook from top to bottom and store its outputs; returns a line with time and memory.

    It runs without anybody's predictions; the findings that it records are stored too, the seconds
    that each cell took, and what slides and the web edition show (`tools/screen.py`).
    Raises `NotebookError` when a cell fails; the stored notebook is then unchanged.
    """
    notebook = nbformat.read(file, as_version=4)
    settings = {"timeout": CELL_SECONDS, "kernel_name": "python3", "record_timing": False}
    place = {"metadata": {"path": str(file.parent)}}
    client = NotebookClient(notebook, resources=place, **settings)
    scratch = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    alone = os.environ | {"COURSE_RECORDS": scratch.name}
    with scratch, client.setup_kernel(env=alone):
        _record_for_screen(client, file.stem, Path(scratch.name))
        timed, memory = _run_cells(client, file.stem, Path(scratch.name))
        findings = recorded(Path(scratch.name))
        results = file.parent.parent / "data" / "results"
        screen.keep(file.stem, Path(scratch.name), results / "screen")
    tidy(notebook)
    _replace(file, nbformat.writes(notebook).encode() + b"\n")
    if picture := picture_of(notebook):
        _replace(results / f"{file.stem}.png", picture)
    keep_rows(results / FINDINGS, FINDING_COLUMNS, file.stem, findings)
    keep_rows(results / TIMES, TIME_COLUMNS, file.stem, timed)
    seconds = sum(row["seconds"] for row in timed)
    return f"{file.name}: {seconds:.0f} s of processor time, peak memory {memory / 1e9:.2f} GB"


def _run_cells(client: NotebookClient, lesson: str, records: Path) -> tuple[list[dict], int]:
    """Run all cells; returns a row with the seconds of each code cell, and the peak in bytes.

    The seconds are those of the processor, so other programs do not count; nor does what is
    recorded for the screen.
    """
    timed, memory, kernel = [], 0, client.km.provisioner.pid

    def lesson_seconds() -> float:
        return processor_seconds(kernel) - screen.seconds_spent(records)

    for number, cell in enumerate(client.nb.cells):
        began = lesson_seconds()
        try:
            client.execute_cell(cell, number, execution_count=client.code_cells_executed + 1)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            raise NotebookError(
                f"{error}\n{lesson}.ipynb failed in cell {number} (with text cells, from 0): "
                "mend it; the stored notebook is unchanged."
            ) from error
        if cell.cell_type == "code":
            spent = max(0.0, lesson_seconds() - began)
            timed.append({"lesson": lesson, "cell": cell.id, "seconds": round(spent, 1)})
        memory = max(memory, peak_memory(kernel))
    return timed, memory


def _record_for_screen(client: NotebookClient, lesson: str, folder: Path) -> None:
    install = f"screen.install({lesson!r}, {folder.as_posix()!r})"
    path = f"import sys; sys.path.insert(0, {ROOT.as_posix()!r})"
    client.kc.execute(f"{path}; from tools import screen; {install}", silent=True)


def tells(output: dict) -> bool:
    """Whether an output still tells something once widgets are gone, which have no stored state.

    The plain sentence of a widget of ours stays in its place; a progress bar has none.
    """
    data = output.get("data", {})
    return WIDGET not in data or data.get("text/plain", "").endswith(".")


def picture_of(notebook: nbformat.NotebookNode) -> bytes | None:
    """The figure of the cell tagged `picture`, which the README shows; None where no cell is."""
    for cell in notebook.cells:
        if "picture" in cell.metadata.get("tags", []):
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    return base64.b64decode(output.data["image/png"])
    return None


def recorded(records: Path) -> list[dict]:
    """The findings that a notebook recorded in its folder: see `helpers/claims.py`."""
    try:
        return list(json.loads((records / "findings.json").read_text(encoding="utf-8")).values())
    except FileNotFoundError:
        return []


def keep_rows(table: Path, columns: tuple[str, ...], lesson: str, rows: list[dict]) -> None:
    """Put a lesson's rows in the place of its old ones in a CSV file; other lessons' rows stay.

    The file is in the order of claims where it has them, else in that of lessons.
    """
    kept = []
    if table.exists():
        with table.open(newline="", encoding="utf-8") as opened:
            kept = [row for row in csv.DictReader(opened) if row["lesson"] != lesson]
    rows = sorted(kept + rows, key=lambda row: (row.get("claim", ""), row["lesson"]))
    if rows or table.exists():
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        _replace(table, text.getvalue().encode())


def _replace(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    part.write_bytes(content)
    part.replace(file)


def processor_seconds(pid: int) -> float:
    """What a process and those that it has started and seen end have used of the processor."""
    used = psutil.Process(pid).cpu_times()
    return used.user + used.system + used.children_user + used.children_system


def forget_peak(pid: int) -> None:
    """Let `peak_memory` count from now on, where the system can (Linux)."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_memory(pid: int) -> int:
    """The peak memory of a process in bytes; outside Linux, what it holds at this moment."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return psutil.Process(pid).memory_info().rss
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Remove what differs from run to run, or from machine to machine, and tells nothing."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata.kernelspec = {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    }
    notebook.metadata.get("language_info", {}).pop("version", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if tells(output)]
            for output in cell.outputs:
                output.get("data", {}).pop(WIDGET, None)


# What a lesson holds


@dataclass
class Exercise:
    """An open cell and what follows it; what a lesson lacks is None."""

    stub: nbformat.NotebookNode
    check: nbformat.NotebookNode | None
    hint: str | None
    solution: str | None


def tags(cell: nbformat.NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def output_text(output: nbformat.NotebookNode) -> str:
    """What a reader sees of an output, as text."""
    if output.output_type == "stream":
        return output.text
    data = output.get("data", {})
    return "\n".join(data[kind] for kind in data if kind.startswith("text/"))


def html_output(text: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_output("display_data", data={"text/html": text})


def with_text(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A figure as HTML with its text for screen readers, which converters drop."""
    image = output.get("data", {}).get("image/png")
    if image is None:
        return output
    alt = html.escape(output.metadata.get("image/png", {}).get("alt", ""))
    return html_output(f'<img alt="{alt}" src="data:image/png;base64,{image.strip()}">')


def code_cell(source: str, tag: str = "") -> nbformat.NotebookNode:
    return nbformat.v4.new_code_cell(source, metadata={"tags": [tag]} if tag else {})


def exercises(notebook: nbformat.NotebookNode) -> list[Exercise]:
    """Each cell tagged `exercise`, its check (the next code cell), its hint and its solution."""
    cells = notebook.cells
    starts = [place for place, cell in enumerate(cells) if "exercise" in tags(cell)]
    blanks = []
    for start, stop in zip(starts, [*starts[1:], len(cells)], strict=True):
        after = cells[start + 1 : stop]
        check = next((cell for cell in after if cell.cell_type == "code"), None)
        text = "\n".join(cell.source for cell in after if cell.cell_type == "markdown")
        solution = folded(text, "solution")
        code = solution and re.search(r"```python\n(.*?)```", solution, re.S)
        blanks.append(Exercise(cells[start], check, folded(text, "hint"), code and code[1]))
    return blanks


def blocks(text: str) -> list[str]:
    """A text cut at its blank lines, but not within a fence; joined again by blank lines."""
    parts, fenced = [], False
    for block in text.split("\n\n"):
        if fenced:
            parts[-1] += f"\n\n{block}"
        else:
            parts.append(block)
        fenced ^= block.count("```") % 2 == 1
    return parts


def folded(text: str, title: str) -> str | None:
    """The first folded part of a text whose title contains `title`."""
    parts = ((summary, body) for summary, body in DETAILS.findall(text))
    return next((body for summary, body in parts if title in summary.lower()), None)

"""Slides from a lesson's own cells, 16:9, with letters of 20 points and more, for reveal.js.

Each paragraph of a lesson becomes a slide, and so does each code cell with what it shows; what
only sets up, plots or decides shows its result alone. The speaker's notes hold hints, solutions and
what the instructor's guide plans. Figures are those for the screen (`tools/screen.py`).
"""

import base64
import copy
import re
import shutil
from pathlib import Path

import nbformat
from nbconvert import SlidesExporter
from nbformat.v4 import new_markdown_cell
from traitlets.config import Config

from tools import screen, web
from tools.notebooks import DETAILS, blocks, output_text, tags, with_text
from tools.programs import ROOT

HERE = Path(__file__).parent / "web"
LINES = 14  # of code or output that fit beside nothing else
NOT_SHOWN = re.compile(r"^\[!\[|^\*\*Read before", re.M)


def write(files: list[Path], out: Path) -> list[Path]:
    """Write a page of slides for each lesson into `out`, with all they need beside them."""
    out.mkdir(parents=True, exist_ok=True)
    web.copy_package("reveal.js", ["dist", "plugin/notes"], out / "reveal")
    web.copy_package("mathjax", ["es5/tex-svg.js"], out / "mathjax")
    shutil.copy(HERE / "slides.css", out / "slides.css")
    return [_write(file, out) for file in files]


def _write(file: Path, out: Path) -> Path:
    notebook = nbformat.read(file, as_version=4)
    deck = slides(notebook, screen.figures(file.stem))
    deck.metadata.title = title(notebook)
    deck.cells.insert(1, _typed(new_markdown_cell(plan(deck.metadata.title)), "notes"))
    exporter = SlidesExporter(config=_settings(), template_name="slides")
    page, _ = exporter.from_notebook_node(deck)
    place = out / f"{file.stem}.html"
    place.write_text(page, encoding="utf-8")
    return place


def _settings() -> Config:
    settings = Config()
    settings.SlidesExporter.extra_template_basedirs = [str(HERE)]
    settings.SlidesExporter.reveal_url_prefix = "reveal"
    settings.SlidesExporter.reveal_theme = "white"
    settings.SlidesExporter.exclude_input_prompt = True
    settings.SlidesExporter.exclude_output_prompt = True
    settings.TagRemovePreprocessor.enabled = True
    settings.TagRemovePreprocessor.remove_input_tags = {"plumbing"}
    settings.SlidesExporter.preprocessors = ["nbconvert.preprocessors.TagRemovePreprocessor"]
    return settings


def title(notebook: nbformat.NotebookNode) -> str:
    """The lesson's title, as its first line says it."""
    return notebook.cells[0].source.splitlines()[0].lstrip("# ")


def plan(lesson: str) -> str:
    """What the instructor's guide plans for a lesson of this title."""
    guide = (ROOT / "docs" / "instructor-guide.md").read_text(encoding="utf-8")
    parts = re.split(r"^#{2,3} ", guide, flags=re.M)
    return next(part for part in parts if part.startswith(lesson)).strip()


def slides(notebook: nbformat.NotebookNode, figures: list[Path]) -> nbformat.NotebookNode:
    """The lesson as cells with slide types: each paragraph, each code cell a slide."""
    deck, waiting = copy.deepcopy(notebook), iter(figures)
    cells, deck.cells = deck.cells, []
    for cell in cells:
        if cell.cell_type == "markdown":
            deck.cells += _of_text(cell.source)
        elif "setup" not in tags(cell):
            _draw_for_screen(cell, waiting)
            deck.cells += _of_code(cell)
    return deck


def _typed(cell: nbformat.NotebookNode, kind: str) -> nbformat.NotebookNode:
    cell.metadata.slideshow = {"slide_type": kind}
    return cell


def _of_text(text: str) -> list[nbformat.NotebookNode]:
    """A slide for each paragraph, under the heading that it stands under; folded parts as notes."""
    folded = [f"{name}: {body.strip()}" for name, body in DETAILS.findall(text)]
    kept = [part for part in paragraphs(DETAILS.sub("", text)) if not NOT_SHOWN.search(part)]
    cells, heading, kind = [], "", "subslide"
    for part in kept:
        if part.startswith("#"):
            heading, kind = part, "slide"
            continue
        cells.append(_typed(new_markdown_cell(f"{heading}\n\n{part}".strip()), kind))
        kind = "subslide"
    if heading and not cells:
        cells.append(_typed(new_markdown_cell(heading), kind))
    notes = [_typed(new_markdown_cell(note), "notes") for note in folded]
    return cells + notes


def paragraphs(text: str) -> list[str]:
    """A text cut at its blank lines, but not within a fence, and no list or table apart from what
    announces it."""
    parts = []
    for block in filter(None, map(str.strip, blocks(text))):
        belongs = re.match(r"[-*] |\||\$\$|\d+\.|```", block)
        if parts and belongs and not parts[-1].startswith("#"):
            parts[-1] += f"\n\n{block}"
        else:
            parts.append(block)
    return parts


def _of_code(cell: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """A slide with the code and what it shows; long outputs have a slide of their own."""
    cell.outputs = [output for output in cell.outputs if _worth_showing(output)]
    drawn = any("image/png" in output.get("data", {}) for output in cell.outputs)
    cell.outputs = [with_text(output) for output in cell.outputs]
    if "plumbing" in tags(cell):
        return [_typed(cell, "subslide")] if cell.outputs else []
    long = sum(output_text(output).count("\n") + 1 for output in cell.outputs)
    if cell.outputs and (drawn or long + cell.source.count("\n") + 1 > LINES):
        shown = copy.deepcopy(cell)
        shown.id = f"{cell.id}-shown"
        shown.metadata.tags = [*tags(cell), "plumbing"]
        cell.outputs = []
        return [_typed(cell, "subslide"), _typed(shown, "subslide")]
    return [_typed(cell, "subslide")]


def _worth_showing(output: nbformat.NotebookNode) -> bool:
    return not output_text(output).startswith("Not attempted yet")


def _draw_for_screen(cell: nbformat.NotebookNode, waiting) -> None:
    for output in cell.outputs:
        if "image/png" in output.get("data", {}) and (figure := next(waiting, None)):
            output.data["image/png"] = base64.b64encode(figure.read_bytes()).decode()

"""The web edition: all lessons with what they showed, searchable, without a kernel or a network.

Sphinx with myst-nb builds it from the stored notebooks. Quizzes and explorers are plain HTML that
`web/course.js` brings to life: an explorer's views were stored when the lesson was executed.
"""

import copy
import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

from helpers import default_model
from lessons.quiz import questions
from tools import screen, web
from tools.notebooks import html_output, output_text, tags, with_text
from tools.programs import ROOT, find_chromium

HERE = Path(web.__file__).parent
PAGES = ("glossary", "method", "performance", "faults", "open-elsewhere")  # of docs/
BADGES = re.compile(r"^\[!\[Open in Colab\].*\n?", re.M)
QUIZ = re.compile(r"quiz\.show\((\d+)\)")


def write(out: Path) -> Path:
    """Build the site in `out` and return its first page.

    Raises `WebError` where Sphinx or npm fails; warnings count as failures.
    """
    source = out / "source"
    shutil.rmtree(source, ignore_errors=True)
    (source / "lessons").mkdir(parents=True)
    for name in ("conf.py", "index.md", "ask.md"):
        shutil.copy(HERE / name, source / name)
    pictures = (ROOT / "docs").glob("*.png")
    for file in [*(ROOT / "docs" / f"{name}.md" for name in PAGES), *pictures]:
        shutil.copy(file, source / file.name)
    for file in sorted((ROOT / "notebooks").glob("*.ipynb")):
        page = for_web(nbformat.read(file, as_version=4), file.stem)
        nbformat.write(page, source / "lessons" / file.name)
    _static(source / "_static")
    return _build("html", source, out / "html") / "index.html"


def _static(folder: Path) -> None:
    """What pages load besides their own text: scripts, a picture, the model and what runs it."""
    web.copy_package("mathjax", ["es5/tex-svg.js"], folder / "mathjax")
    runner = ["esm/index.min.js", "esm/wasm/wllama.wasm"]
    web.copy_package("@wllama/wllama", runner, folder / "wllama")
    for name in ("course.js", "course.css", "ask.js"):
        shutil.copy(HERE / name, folder / name)
    shutil.copy(ROOT / "data" / "results" / "01_in_context_learning.png", folder / "first.png")
    default_model.prepare()
    shutil.copy(default_model.cache_folder() / default_model.GGUF, folder / "model.gguf")


def _build(kind: str, source: Path, out: Path) -> Path:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", kind]
    ended = subprocess.run([*command, source, out], capture_output=True, text=True)
    if ended.returncode:
        raise web.WebError(f"Sphinx could not build the pages: {ended.stderr.strip()[-1500:]}")
    return out


def write_pdf(out: Path) -> Path:
    """Print all pages of a site that was built into one PDF; returns the file.

    Raises `WebError` where no Chromium or Chrome is found, or it fails.
    """
    chromium = find_chromium()
    if chromium is None:
        raise web.WebError("Chromium or Chrome is missing, which prints the PDF: install one.")
    page = _build("singlehtml", out / "source", out / "one") / "index.html"
    file = out / "course.pdf"
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"]
    command += ["--virtual-time-budget=20000", f"--print-to-pdf={file}", page.as_uri()]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode or not file.exists():
        raise web.WebError(f"Chromium could not print the PDF: {ended.stderr.strip()[-500:]}")
    return file


def for_web(notebook: nbformat.NotebookNode, lesson: str) -> nbformat.NotebookNode:
    """The lesson as a page: no set-up, plumbing folded, figures with their text, live widgets."""
    page, waiting = copy.deepcopy(notebook), screen.explorers(lesson)
    page.cells = [cell for cell in page.cells if "setup" not in tags(cell)]
    page.cells[0].source = BADGES.sub("", page.cells[0].source)
    for cell in page.cells:
        if cell.cell_type != "code":
            continue
        asked = QUIZ.search(cell.source)
        if asked:
            cell.outputs = [html_output(quiz(int(asked[1])))]
        if asked or "plumbing" in tags(cell):
            cell.metadata.tags = [*tags(cell), "hide-input"]
        cell.outputs = [_alive(output, waiting) for output in cell.outputs]
    return page


def _alive(output: nbformat.NotebookNode, waiting: list[dict]) -> nbformat.NotebookNode:
    """An explorer with its stored views, a figure with its text; other outputs unchanged."""
    shown = output_text(output).strip()
    found = next((stored for stored in waiting if stored["sentence"] == shown), None)
    return html_output(explorer(found)) if found else with_text(output)


def quiz(lesson: int) -> str:
    """A lesson's questions as HTML: choosing an option says why it is right or wrong."""
    asked = enumerate(questions(lesson))
    return "".join(_question(row, f"quiz-{lesson}-{i}") for i, row in asked)


def _question(row: dict, name: str) -> str:
    radio = (
        f'<label><input type="radio" name="{name}" data-right="{{}}" data-why="{{}}"> {{}}</label>'
    )
    options = "".join(
        radio.format(option["right"], html.escape(option["why"]), html.escape(option["text"]))
        for option in row["options"]
    )
    legend = html.escape(row["question"])
    status = '<p role="status"></p>'
    return f'<fieldset class="quiz"><legend>{legend}</legend>{options}{status}</fieldset>'


def explorer(stored: dict) -> str:
    """An explorer's stored views as HTML; the script makes a list of choices for each control."""
    views = json.dumps(stored, ensure_ascii=False).replace("</", "<\\/")
    return (
        f'<div class="explorer"><script type="application/json">{views}</script>'
        f'<div class="controls"></div><div class="view" role="status"></div></div>'
    )

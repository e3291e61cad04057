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
from nbformat.v4 import new_output

from tools import screen, web
from tools.notebooks import output_text, tags
from tools.programs import find_chromium

ROOT = Path(__file__).resolve().parent.parent
HERE = Path(web.__file__).parent
PAGES = ("glossary", "method", "performance", "faults")  # of docs/
BADGES = re.compile(r"^\[!\[Open in Colab\].*\n?", re.M)
QUIZ = re.compile(r"quiz\.show\((\d+)\)")


def write(out: Path) -> Path:
    """Build the site in `out` and return its first page.

    Raises `WebError` where Sphinx or npm fails; warnings count as failures.
    """
    source = out / "source"
    shutil.rmtree(source, ignore_errors=True)
    (source / "lessons").mkdir(parents=True)
    static = source / "_static"
    web.copy_package("mathjax", ["es5/tex-svg.js"], static / "mathjax")
    for name in ("course.js", "course.css"):
        shutil.copy(HERE / name, static / name)
    shutil.copy(ROOT / "data" / "results" / "01_in_context_learning.png", static / "first.png")
    shutil.copy(HERE / "conf.py", source / "conf.py")
    shutil.copy(HERE / "index.md", source / "index.md")
    for name in PAGES:
        shutil.copy(ROOT / "docs" / f"{name}.md", source / f"{name}.md")
    for file in sorted((ROOT / "notebooks").glob("*.ipynb")):
        page = for_web(nbformat.read(file, as_version=4), file.stem)
        nbformat.write(page, source / "lessons" / file.name)
    return _build("html", source, out / "html") / "index.html"


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
    page, file = (
        _build("singlehtml", out / "source", out / "one") / "index.html",
        out / "course.pdf",
    )
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
            cell.outputs = [_html(quiz(int(asked[1])))]
        if asked or "plumbing" in tags(cell):
            cell.metadata.tags = [*tags(cell), "hide-input"]
        cell.outputs = [_as_html(output, waiting) for output in cell.outputs]
    return page


def _html(text: str) -> nbformat.NotebookNode:
    return new_output("display_data", data={"text/html": text})


def _as_html(output: nbformat.NotebookNode, waiting: list[dict]) -> nbformat.NotebookNode:
    """A figure with its text for screen readers, an explorer with its views; others unchanged."""
    data = output.get("data", {})
    if "image/png" in data:
        alt = html.escape(output.metadata.get("image/png", {}).get("alt", ""))
        return _html(f'<img alt="{alt}" src="data:image/png;base64,{data["image/png"].strip()}">')
    shown = output_text(output).strip()
    found = next((stored for stored in waiting if stored["sentence"] == shown), None)
    return _html(explorer(found)) if found else output


def quiz(lesson: int) -> str:
    """A lesson's questions as HTML: choosing an option says why it is right or wrong."""
    rows = (ROOT / "data" / "quizzes.jsonl").read_text(encoding="utf-8").splitlines()
    asked = [row for row in map(json.loads, rows) if row["lesson"] == lesson]
    return "".join(_question(row, f"quiz-{lesson}-{i}") for i, row in enumerate(asked))


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

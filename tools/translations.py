"""The prose of a lesson in other languages: taken out paragraph by paragraph, and put in again.

`translations/LANGUAGE/LESSON.po` is a file of gettext, which every translation tool opens. Code
cells, fences, tables and links stay as they are; a paragraph without a translation stays English.
"""

import copy
import re
from datetime import UTC, datetime
from pathlib import Path

import nbformat
from babel.messages import pofile
from babel.messages.catalog import Catalog

from tools.notebooks import blocks
from tools.programs import ROOT

TRANSLATIONS = ROOT / "translations"
BEGUN = datetime(2026, 11, 27, tzinfo=UTC)  # fixed, so that nothing but texts differs
UNTRANSLATED = re.compile(r"```|\||\[!\[|</?(details|summary)\b[^>]*>$|\$\$")


def place(lesson: str, language: str) -> Path:
    return TRANSLATIONS / language / f"{lesson}.po"


def paragraphs(notebook: nbformat.NotebookNode) -> list[str]:
    """What is to be translated of a lesson, in its order, each once."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    every = [block for text in texts for block in blocks(text)]
    return list(dict.fromkeys(b for b in every if b.strip() and not UNTRANSLATED.match(b)))


def extract(notebook: nbformat.NotebookNode, lesson: str, language: str) -> Path:
    """Write the lesson's paragraphs to its file; what was translated before is kept."""
    file = place(lesson, language)
    old = _read(file)
    project = {"project": "Two ways to teach a model", "version": "2"}
    catalog = Catalog(language, creation_date=BEGUN, fuzzy=False, **project)
    for text in paragraphs(notebook):
        catalog.add(text, old.get(text, ""))
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as opened:
        pofile.write_po(opened, catalog, width=100, omit_header=False, include_lineno=False)
    return file


def translated(
    notebook: nbformat.NotebookNode, lesson: str, language: str
) -> nbformat.NotebookNode:
    """The lesson with its prose in this language; code and outputs are those of the original."""
    known, result = _read(place(lesson, language)), copy.deepcopy(notebook)
    for cell in result.cells:
        if cell.cell_type == "markdown":
            cell.source = "\n\n".join(known.get(block) or block for block in blocks(cell.source))
    return result


def _read(file: Path) -> dict[str, str]:
    if not file.exists():
        return {}
    with file.open("rb") as opened:
        return {m.id: m.string for m in pofile.read_po(opened) if m.id and m.string}

"""Prose is taken out and put in again; code never changes, and the German lesson 0 is whole."""

import nbformat
import pytest
from notebook_tools import LESSONS, read

from tools import translations
from tools.notebooks import blocks
from tools.translations import extract, paragraphs, translated


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_blocks_are_the_text_again(path):
    for cell in read(path).cells:
        assert "\n\n".join(blocks(cell.source)) == cell.source


def test_a_new_paragraph_is_open_and_an_old_ones_translation_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(translations, "TRANSLATIONS", tmp_path)
    cells = [nbformat.v4.new_markdown_cell("One.\n\n```\ncode\n\nmore\n```\n\nTwo.")]
    cells.append(nbformat.v4.new_code_cell("'One.'"))
    notebook = nbformat.v4.new_notebook(cells=cells)
    file = extract(notebook, "00_a", "de")
    text = file.read_text(encoding="utf-8").replace(
        'msgid "One."\nmsgstr ""', 'msgid "One."\nmsgstr "Eins."'
    )
    file.write_text(text, encoding="utf-8")
    cells[0].source += "\n\nThree."
    assert "Eins." in extract(notebook, "00_a", "de").read_text(encoding="utf-8")
    german = translated(notebook, "00_a", "de").cells
    assert german[0].source == "Eins.\n\n```\ncode\n\nmore\n```\n\nTwo.\n\nThree."
    assert german[1].source == "'One.'"


def test_lesson_0_is_german_throughout_and_its_code_is_untouched():
    """Fails when lesson 0 says something new: translate that paragraph, too."""
    lesson = read(LESSONS[0])
    german = translated(lesson, LESSONS[0].stem, "de")
    pairs = list(zip(lesson.cells, german.cells, strict=True))
    assert all(a.source == b.source for a, b in pairs if a.cell_type == "code")
    assert [text for text in paragraphs(lesson) if text in paragraphs(german)] == []

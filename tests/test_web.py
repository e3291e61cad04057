"""Slides and the web edition: built from the stored lessons, then turned, searched and answered.

Pages are opened from disk in a headless Chromium that finds no network.
"""

import functools
import io
import json
import math
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import ipywidgets
import matplotlib.pyplot as plt
import pytest
from matplotlib import image
from notebook_tools import LESSONS, ROOT, read
from playwright.sync_api import sync_playwright

from helpers import widgets
from tools import screen, site, slides, speed, web
from tools.notebooks import code_cell, tags
from tools.programs import find_chromium

SERIOUS = ("serious", "critical")
LESSON = "02_fine_tuning"
FLAGS = ["--no-sandbox", "--disable-gpu"]


# What is stored for the screen


def test_a_figure_for_the_screen_is_wide_and_its_letters_are_large():
    figure, axis = plt.subplots(figsize=(3, 3))
    axis.set_title("a long title " * 12, fontsize=7, loc="left")
    png = screen.for_screen(figure)
    assert axis.get_title("left") == "a long title " * 12 and figure.get_size_inches()[0] == 3
    plt.close(figure)
    assert plt.get_fignums() == []
    high, wide, _ = image.imread(io.BytesIO(png)).shape
    assert wide / high == pytest.approx(16 / 9, abs=0.01) and wide >= 1600


def test_a_crowded_figure_gets_room_on_the_screen():
    figure, axes = plt.subplots(1, 4, layout="constrained")
    for i in range(5):
        axes[0].plot([0, 1], [0, i], label=f"a long name of a line, number {i}")
    axes[0].set_xticks(range(12), [f"name {i}" for i in range(12)])
    figure.legend(loc="outside lower center", ncols=5)
    screen._make_room(figure)
    names = [label.get_text() for label in axes[0].get_xticklabels()]
    assert names == ["name 0", "name 3", "name 6", "name 9"]
    (legend,) = figure.legends
    assert len(legend.texts) == 5 and screen._width(figure, legend) <= figure.bbox.width
    plt.close(figure)


def test_an_explorers_views_are_those_that_it_draws():
    def show(letter, times, loud):
        return (letter.upper() if loud else letter) * times

    def counts(letter):
        return [1, 2] if letter == "a" else [3]

    panel = widgets.explorer(show, "Letters.", letter=["a", "b"], times=counts, loud=False)
    stored = screen.recorded(panel)
    assert stored["names"] == ["letter", "times", "loud"] and stored["start"] == ["a", "1", "no"]
    assert stored["choices"]['["b"]'] == ["3"] and stored["choices"]["[]"] == ["a", "b"]
    assert stored["views"]['["b","3","yes"]'] == "BBB" and len(stored["views"]) == 6
    assert panel.children[0].value == "a" and panel.children[-1].value == "a"


@pytest.mark.parametrize("counts", [[100], [50, 50], [7, 7, 7, 7], [2, 1]])
def test_long_lists_are_thinned_to_a_number_that_can_be_stored(counts):
    most = screen.limits(counts)
    assert 1 < math.prod(most) <= screen.VIEWS
    assert all(kept <= count for kept, count in zip(most, counts, strict=True))


def test_a_thinned_slider_keeps_where_it_stands():
    slider = ipywidgets.IntSlider(37, min=0, max=100)
    kept = [value for _, value in screen._choices(slider, 5)]
    assert 37 in kept and len(kept) == 5 and kept == sorted(kept)


def test_a_field_for_any_number_has_the_one_that_it_shows():
    field = ipywidgets.BoundedIntText(40, min=0, max=10**12)
    assert screen._choices(field, 5) == [("40", 40)]


# Slides


def test_paragraphs_keep_fences_lists_and_what_announces_them_together():
    text = "## One\n\nFirst:\n\n- a\n- b\n\nSecond.\n\n```python\nx = 1\n\ny = 2\n```\n\nThird."
    assert slides.paragraphs(text) == [
        "## One",
        "First:\n\n- a\n- b",
        "Second.\n\n```python\nx = 1\n\ny = 2\n```",
        "Third.",
    ]


def test_solutions_are_for_the_speaker_alone():
    for path in LESSONS:
        deck = slides.slides(read(path), [])
        kinds = {cell.metadata.slideshow.slide_type for cell in deck.cells}
        assert kinds == {"slide", "subslide", "notes"}
        shown = [c for c in deck.cells if c.metadata.slideshow.slide_type != "notes"]
        assert not any("```python\n" in c.source and "Solution" in c.source for c in shown)
        assert not any("setup" in tags(cell) for cell in deck.cells)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_the_guide_plans_every_lesson(path):
    plan = slides.plan(slides.title(read(path)))
    for part in ("Hook", "Vote", "Live", "Pairs", "Discussion", "On the way out"):
        assert f"**{part}** (" in plan


# The web edition


def test_a_question_escapes_what_it_quotes():
    row = {"question": "1 < 2?", "options": [{"text": "<b>", "right": True, "why": 'say "yes"'}]}
    text = site._question(row, "q")
    assert "<b>" not in text and "&lt;b&gt;" in text and "&quot;yes&quot;" in text


def test_views_cannot_end_their_script():
    text = site.explorer({"views": {"[]": "</script><script>alert(1)"}})
    assert text.count("</script>") == 1


def test_plumbing_is_folded_and_figures_have_their_text():
    notebook = read(ROOT / "notebooks" / f"{LESSON}.ipynb")
    page = site.for_web(notebook, LESSON)
    assert not any("setup" in tags(cell) for cell in page.cells)
    assert all("hide-input" in tags(cell) for cell in page.cells if "plumbing" in tags(cell))
    outputs = [output.get("data", {}) for c in page.cells for output in c.get("outputs", [])]
    images = [data["text/html"] for data in outputs if "<img" in data.get("text/html", "")]
    assert images and all('alt=""' not in text for text in images)


@pytest.fixture(scope="module")
def browser():
    path = find_chromium()
    if not path or not shutil.which("npm"):
        pytest.skip("needs Chromium or Chrome, and npm")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1280, "height": 720}, offline=True)
    yield context.new_page()
    context.close()


def serious(page) -> list[str]:
    """What axe finds that keeps people out: each rule with the first place that breaks it."""
    page.evaluate((web.package("axe-core") / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("axe.run({preload: false})")["violations"]
    return [f"{v['id']}: {v['nodes'][0]['html']}" for v in found if v["impact"] in SERIOUS]


@pytest.mark.browser
@pytest.mark.slow
def test_slides_are_turned_without_a_network(page, tmp_path):
    (deck,) = slides.write([ROOT / "notebooks" / f"{LESSON}.ipynb"], tmp_path)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(deck.as_uri())
    page.wait_for_function("window.Reveal && Reveal.isReady()")
    assert page.evaluate("Reveal.getTotalSlides()") > 30
    page.keyboard.press("ArrowRight")
    assert "will be able to" in page.evaluate("Reveal.getCurrentSlide().innerText")
    least = """[...document.querySelectorAll('.slides p, .slides pre, .slides li, .slides td')]
        .map(part => parseFloat(getComputedStyle(part).fontSize))"""
    assert min(page.evaluate(least)) >= 26.6  # 20 points on a screen 13.3 inches wide
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert serious(page) == []


@pytest.fixture(scope="module")
def built_site(browser, tmp_path_factory):
    pytest.importorskip("myst_nb", reason="needs tools/requirements.txt")
    return site.write(tmp_path_factory.mktemp("site")).parent


@pytest.mark.browser
@pytest.mark.slow
def test_the_site_is_searched_answered_and_moved_from_disk(built_site, page):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((built_site / "index.html").as_uri())
    assert page.get_by_role("link", name="2 · Fine-tuning").count() and serious(page) == []
    page.goto((built_site / "search.html").as_uri() + "?q=adapter")
    page.wait_for_selector("#search-results li")
    page.goto((built_site / "lessons" / "00_start_here.html").as_uri())
    question = page.locator("fieldset.quiz").first
    question.locator("input[data-right=True]").check()
    assert question.get_by_role("status").inner_text().startswith("Right.")
    question.locator("input[data-right=False]").first.check()
    assert question.get_by_role("status").inner_text().startswith("No.")
    box = page.locator(".explorer").first
    before, lists = box.locator(".view").inner_html(), box.locator("select:enabled")
    assert before and lists.count()
    options = lists.first.locator("option").all_inner_texts()
    other = next(text for text in options if text != lists.first.input_value())
    lists.first.select_option(other)
    assert box.locator(".view").inner_html() not in ("", before)
    assert serious(page) == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


@pytest.mark.browser
@pytest.mark.slow
def test_on_paper_nothing_is_cut_and_solutions_stand_open(built_site, page):
    page.set_viewport_size({"width": 672, "height": 1000})  # A4 without its margins
    page.goto((built_site / "lessons" / "00_start_here.html").as_uri())
    solution = "[...document.querySelectorAll('details:not(.hide) pre')].at(-1).checkVisibility()"
    assert not page.evaluate(solution)
    page.emulate_media(media="print")
    assert page.evaluate(solution)
    cut = """[...document.querySelectorAll('article :is(pre, table, img, .output)')].filter(
        part => part.scrollWidth > part.clientWidth + 1
            || part.getBoundingClientRect().right > innerWidth + 1).map(part => part.innerText)"""
    assert page.evaluate(cut) == []


@pytest.fixture
def served_site(built_site):
    handler = functools.partial(QuietHandler, directory=built_site)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.mark.browser
@pytest.mark.slow
def test_the_model_answers_in_the_page_and_only_when_asked(browser, served_site):
    page, asked = browser.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{served_site}/ask.html")
    assert not any("model.gguf" in url for url in asked)
    page.get_by_role("button", name="Load the model").click()
    page.wait_for_selector("#ask-next:enabled", timeout=1000 * speed.limit(60))
    page.get_by_role("button", name="What comes next?").click()
    page.wait_for_selector("#ask-answer table", timeout=1000 * speed.limit(30))
    token, share = page.locator("#ask-answer tr").first.locator("td").all_inner_texts()[:2]
    assert token == '" Paris"' and float(share) == pytest.approx(0.77, abs=0.03)
    assert all(url.startswith((served_site, "blob:", "data:")) for url in asked)
    page.close()


def test_without_npm_one_sentence_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(web, "HERE", tmp_path)
    (tmp_path / "package-lock.json").write_text(json.dumps({}))
    monkeypatch.setattr(web.shutil, "which", lambda name: None)
    with pytest.raises(web.WebError, match=r"npm is missing: install Node"):
        web.package("reveal.js")


def test_code_and_a_long_output_have_a_slide_each():
    cell = code_cell("x = 1\nx")
    cell.outputs = [{"output_type": "stream", "name": "stdout", "text": "line\n" * 20}]
    source, shown = slides._of_code(slides.nbformat.from_dict(cell))
    assert not source.outputs and "plumbing" in tags(shown) and source.id != shown.id

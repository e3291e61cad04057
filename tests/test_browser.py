"""JupyterLab as course.py starts it, in a headless browser: lessons run to the end, explorers move.

Everything happens in a copy of the course, because JupyterLab saves what it runs.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat import NotebookNode
from notebook_tools import LESSONS, ROOT, code_cells, git_or_skip, needed, read
from playwright.sync_api import expect, sync_playwright

import course
from tools import colab, speed

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.alone]

FIRST_LESSON = LESSONS[:1]  # the others are executed by nbval, cell by cell
EXPLORERS = [path for path in LESSONS if path.name[:2] in ("04", "07", "10")]
ARTEFACTS = ROOT / "test-artefacts"
START_SECONDS = 90
FIRST = "/tree/notebooks/00_start_here.ipynb"  # course.py opens the first lesson
RUN_SECONDS = 300
MOVE_SECONDS = 60
SIZE = {"width": 1280, "height": 1000}
MAX_PIXELS = 16_000  # higher pictures come out of Chromium cut or empty
FLAGS = [
    "--no-sandbox",  # Chromium refuses to start as root with one
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ERROR = '[data-mime-type="application/vnd.jupyter.stderr"], .jupyter-widgets-error-widget'
PROMPT = ".jp-CodeCell .jp-InputPrompt"  # the number of a code cell
SHOWN = ".jp-OutputArea-output, .widget-html, .widget-image"


@pytest.fixture(scope="module")
def browser_path():
    if os.name == "nt":
        pytest.skip("the browser tests link .venv and stop JupyterLab as only POSIX systems do")
    path = course.find_chromium()
    if not path:
        pytest.skip("no Chromium or Chrome was found: install one to run the browser tests")
    return path


@pytest.fixture(scope="module")
def copied_course(browser_path, tmp_path_factory) -> Path:
    """The working tree with the real .venv; its notebooks store no outputs, so all seen are new."""
    if not course.PYTHON.exists():
        pytest.skip("there is no .venv to start JupyterLab from: run `python3 course.py test`")
    folder = tmp_path_factory.mktemp("copied") / "course"
    with git_or_skip():
        colab.copy_working_tree(folder)
    (folder / ".venv").symlink_to(course.VENV, target_is_directory=True)
    for path in (folder / "notebooks").glob("*.ipynb"):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                cell.update(outputs=[], execution_count=None)
        path.write_text(json.dumps(notebook), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def address(copied_course, tmp_path_factory) -> str:
    """The address, with its token, that `course.py lab` prints."""
    home = tmp_path_factory.mktemp("jupyter")  # never the settings and tabs of a learner
    records = {"COURSE_RECORDS": str(home / "records")}
    jupyter = {f"JUPYTER_{name}_DIR": str(home / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    log = home / "lab.log"
    command = [sys.executable, "course.py", "lab", "--no-browser", "--port", str(free_port())]
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=copied_course,
            env=os.environ | records | jupyter,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield wait_for_address(process, log)
    finally:
        stop(process)


def free_port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def wait_for_address(process, log):
    end = time.monotonic() + speed.limit(START_SECONDS)
    while time.monotonic() < end and process.poll() is None:
        found = re.search(rf"(http://\S+/lab){FIRST}(\?token=\w+)", log.read_text())
        if found:
            return "".join(found.groups())
        time.sleep(0.5)
    pytest.fail(f"course.py lab printed no address:\n{log.read_text()}")


def stop(process):
    """End JupyterLab, which ends its kernels; then whatever is left of either."""
    left = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    for ask in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, ask)
            process.wait(timeout=20)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
    for child in left:
        if child.is_running():
            child.kill()


@pytest.fixture
def page(browser_path, tmp_path, request):
    """A page of a browser that has never been used; what was last seen on it is kept."""
    ARTEFACTS.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path / "profile",
            executable_path=browser_path,
            headless=True,
            args=FLAGS,
            viewport=SIZE,
        )
        yield context.pages[0]
        context.pages[0].screenshot(path=ARTEFACTS / f"last_{request.node.callspec.id}.png")
        context.close()


@pytest.fixture
def lesson(path, copied_course) -> NotebookNode:
    """The first lesson whole; of others what their explorer rests on, where no training does."""
    copied = copied_course / "notebooks" / path.name
    notebook = read(copied)
    if path in EXPLORERS:
        cells = code_cells(notebook)
        last = next(i for i, cell in enumerate(cells) if "_explorer(" in cell.source)
        notebook.cells = needed(cells[: last + 1])
        nbformat.write(notebook, copied)
    return notebook


@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", [*FIRST_LESSON, *EXPLORERS], ids=lambda path: path.stem)
def test_lesson_in_the_browser(lesson, path, page, address, capsys):
    """Opened, run to the end from the menu without an error, then each explorer moved."""
    open_lesson(page, address, path.name)
    choose(page, "Run", "Run All Cells")
    wait_until_run(page)
    pictures = [take_picture(page, path.stem)]
    assert errors(page) == []
    numbers = page.locator(PROMPT).all_text_contents()
    assert numbers == [f"[{number}]:" for number, _ in enumerate(code_cells(lesson), start=1)]
    explorers = page.locator(".explorer").all()
    assert explorers, "the lesson has no explorer to play with"
    for number, explorer in enumerate(explorers, start=1):
        move(page, explorer)
        pictures.append(take_picture(page, f"{path.stem}_moved_{number}"))
    assert errors(page) == []
    with capsys.disabled():
        print("\nscreenshots:", *pictures)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's open sockets")
def test_nothing_listens_beyond_this_machine(address):
    """JupyterLab, and a kernel that it starts, take calls from this machine alone, with a token."""
    base, token = address.split("/lab?")
    kernels = f"{base}/api/kernels"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(urllib.request.Request(kernels, method="POST"))
    with urllib.request.urlopen(urllib.request.Request(f"{kernels}?{token}", method="POST")):
        time.sleep(speed.limit(3))  # for the kernel to open its own
    port = int(base.rsplit(":", 1)[1])
    [server] = {c.pid for c in psutil.net_connections() if c.status == "LISTEN" and at(c) == port}
    family = [psutil.Process(server), *psutil.Process(server).children(recursive=True)]
    open_ = [c for process in family for c in process.net_connections() if c.status == "LISTEN"]
    assert len(open_) > 1 and {c.laddr.ip for c in open_} <= {"127.0.0.1", "::1"}


def at(connection):
    return connection.laddr.port


def open_lesson(page, address, name):
    # In a workspace of its own: otherwise JupyterLab opens the lessons before beside it.
    page.goto(address.replace("/lab?", f"/lab/workspaces/{Path(name).stem}/tree/notebooks/{name}?"))
    wait_until_idle(page, START_SECONDS)


def wait_until_idle(page, seconds):
    # The status bar says it, unlike the indicator, only when there is a kernel: without one
    # JupyterLab would ask which one to start.
    state = page.locator(".jp-StatusBar-TextItem").get_by_text(re.compile(r"[|] Idle$"))
    expect(state).to_be_visible(timeout=1000 * speed.limit(seconds))


def choose(page, menu, item):
    page.locator(".lm-MenuBar-itemLabel").get_by_text(menu, exact=True).click()
    page.locator(".lm-Menu-itemLabel").get_by_text(item, exact=True).click()


def wait_until_run(page):
    """Wait until no code cell waits for its turn any more: all have run, or one has failed."""
    ended = r"""prompt => {
        const prompts = [...document.querySelectorAll(prompt)];
        const waiting = prompts.some(cell => cell.textContent.includes('*'));
        return /\d/.test(prompts[0].textContent) && !waiting;
    }"""
    page.wait_for_function(ended, arg=PROMPT, timeout=1000 * speed.limit(RUN_SECONDS))
    wait_until_idle(page, RUN_SECONDS)


def errors(page):
    """Exceptions, warnings, and widgets that could not be drawn."""
    texts = page.locator(ERROR).all_text_contents()
    return [text for text in texts if text.strip()]  # a finished progress bar leaves blanks


def move(page, explorer):
    """Change the first slider, list and number; each must change what the explorer shows."""
    shown = (
        f"element => [...element.querySelectorAll('{SHOWN}')].map(part => part.innerHTML).join()"
    )
    busy = "element.querySelector('[aria-busy]')"
    changed = f"([element, before]) => !{busy} && ({shown})(element) !== before"
    changes = {
        ".noUi-handle": lambda slider: slider.press("ArrowRight"),
        # Not by keyboard: in a list JupyterLab takes the arrow keys for itself.
        "select": lambda choices: choices.select_option(index=1),
        "input[type=number]": lambda number: (number.fill("3"), number.press("Enter")),
    }
    controls = [kind for kind in changes if explorer.locator(kind).count()]
    assert controls, "the explorer has no slider, list or number"
    for kind in controls:
        arguments = [explorer.element_handle(), explorer.evaluate(shown)]
        changes[kind](explorer.locator(kind).first)
        page.wait_for_function(changed, arg=arguments, timeout=1000 * speed.limit(MOVE_SECONDS))
        wait_until_idle(page, MOVE_SECONDS)


def take_picture(page, name):
    """The whole notebook in one picture, for which the window is made as high as can be."""
    page.set_viewport_size(SIZE | {"height": MAX_PIXELS})
    page.locator(".jp-WindowedPanel-outer").first.evaluate("element => element.scrollTo(0, 0)")
    page.wait_for_timeout(2000)  # let it lay out and draw what was out of sight
    last = page.locator(".jp-Notebook .jp-Cell").last.bounding_box()
    height = min(last["y"] + last["height"] + 40, MAX_PIXELS)
    page.screenshot(path=ARTEFACTS / f"{name}.png", clip=SIZE | {"x": 0, "y": 0, "height": height})
    page.set_viewport_size(SIZE)
    return ARTEFACTS / f"{name}.png"

"""What a lesson shows elsewhere: figures for the screen, explorers without a kernel.

`python -m tools execute` calls `install` in the lesson's kernel before the first cell. Each figure
is then drawn once more, 16:9 with letters of 20 points, and the views of each explorer are stored
for a choice of its settings, so that slides and the web edition need no kernel.
"""

import io
import itertools
import json
import math
import pickle
import shutil
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.programs import ROOT

SCREEN = ROOT / "data" / "results" / "screen"
WIDE, HIGH, DPI = 6.667, 3.75, 240  # twice as large on a slide of 13.3 inches, so 10 points are 20
LEAST_POINTS = 10
TICKS = 16  # names that fit side by side below all panels
SPENT = "seconds"
TITLE_LETTERS = 62  # a line of a title, in letters
CHOICES, VIEWS, SECONDS = 7, 60, 40  # for each control, for each explorer, and the time for it


def figures(lesson: str) -> list[Path]:
    """The lesson's figures for the screen, in the order in which they are shown."""
    return sorted(SCREEN.glob(f"{lesson}_*.png"))


def explorers(lesson: str) -> list[dict]:
    """The lesson's explorers in order: `names` of the controls, `choices`, `views` as HTML."""
    file = SCREEN / f"{lesson}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else []


def install(lesson: str, folder: str) -> None:
    """Store in `folder` each figure that is displayed from now on, and the views of explorers."""
    from IPython import display as ipython
    from matplotlib.figure import Figure

    from helpers import widgets

    place, count, kept = Path(folder), itertools.count(1), []
    display, explorer = ipython.display, widgets.explorer

    @contextmanager
    def counted():
        began = time.process_time()
        yield
        spent = seconds_spent(place) + time.process_time() - began
        (place / SPENT).write_text(str(spent))

    def displayed(*things, **options):
        with counted():
            for figure in (thing for thing in things if isinstance(thing, Figure)):
                (place / f"{lesson}_{next(count):02}.png").write_bytes(for_screen(figure))
        return display(*things, **options)

    def explored(show, sentence, **controls):
        panel = explorer(show, sentence, **controls)
        with counted():
            kept.append(recorded(panel) | {"sentence": sentence})
            text = json.dumps(kept, ensure_ascii=False, indent=0)
            (place / f"{lesson}.json").write_text(text + "\n", encoding="utf-8")
        return panel

    ipython.display, widgets.explorer = displayed, explored


def seconds_spent(folder: Path) -> float:
    """The processor seconds of the recording in `folder`, which are not the lesson's own."""
    file = folder / SPENT
    return float(file.read_text()) if file.exists() else 0.0


def keep(lesson: str, folder: Path, screen: Path = SCREEN) -> None:
    """Put what was recorded in `folder` in the place of what was stored of the lesson before."""
    for old in screen.glob(f"{lesson}[_.]*"):
        old.unlink()
    for new in folder.glob(f"{lesson}[_.]*"):
        screen.mkdir(parents=True, exist_ok=True)
        shutil.copy(new, screen / new.name)


def for_screen(figure) -> bytes:
    """The figure as PNG, 16:9, no letter under 20 points; the figure itself stays as it is."""
    import matplotlib.pyplot as plt
    from matplotlib.text import Text

    larger = pickle.loads(pickle.dumps(figure))  # our own object, a moment old
    larger.set_size_inches(WIDE, HIGH)
    for text in larger.findobj(Text):
        text.set_fontsize(max(LEAST_POINTS, text.get_fontsize()))
    for title, panels in _titles(larger):
        title.set_text(textwrap.fill(title.get_text(), int(TITLE_LETTERS / panels)))
    _make_room(larger)
    file = io.BytesIO()
    larger.savefig(file, format="png", dpi=DPI)
    plt.close(larger)  # pyplot would show it at the cell's end
    return file.getvalue()


def _make_room(figure) -> None:
    """Fewer names along crowded axes, and legends no wider than the figure."""
    from matplotlib.ticker import FixedLocator

    columns = len({round(axis.get_position().x0, 2) for axis in figure.axes})
    for axis in figure.axes:
        ticks = axis.get_xticks()
        stride = -(-len(ticks) * columns // TICKS)
        if stride > 1 and isinstance(axis.xaxis.get_major_locator(), FixedLocator):
            names = [label.get_text() for label in axis.get_xticklabels()]
            axis.set_xticks(ticks[::stride], names[::stride])
    lines = [zip(*axis.get_legend_handles_labels(), strict=True) for axis in figure.axes]
    drawn = {name: handle for pairs in lines for handle, name in pairs}
    for legend in list(figure.legends):
        columns = legend._ncols
        while columns > 1 and _width(figure, legend) > figure.bbox.width:
            columns -= 1
            names = [text.get_text() for text in legend.texts]
            handles = [
                drawn.get(name, old) for name, old in zip(names, legend.legend_handles, strict=True)
            ]
            legend.remove()
            place = {"loc": "outside lower center", "ncols": columns, "frameon": False}
            legend = figure.legend(handles, names, **place)


def _width(figure, legend) -> float:
    figure.draw_without_rendering()
    return legend.get_window_extent().width


def _titles(figure) -> Iterator[tuple]:
    """The titles that are not empty, each with how many panels share its width."""
    if figure.get_suptitle():
        yield figure._suptitle, 1
    rows = {round(axis.get_position().y0, 2) for axis in figure.axes}
    for axis in figure.axes:
        titles = (axis.title, axis._left_title, axis._right_title)
        yield from ((t, len(figure.axes) / len(rows)) for t in titles if t.get_text())


# Explorers


def recorded(panel) -> dict:
    """The views of an explorer: which choices each control has, and the view of each combination.

    `choices` maps the choices so far, as a JSON list, to those of the next control, and `views` all
    of them to the view. Long lists and sliders are thinned; where time is over, fewer are tried.
    """
    *controls, view = panel.children
    until, starts = time.monotonic() + SECONDS, [control.value for control in controls]
    begin = [_choices(control, 1)[0][0] for control in controls]
    most = limits([len(_choices(control, CHOICES)) for control in controls])
    choices, views = {}, {}

    def walk(labels: list[str]) -> None:
        place = len(labels)
        if place == len(controls):
            views[_key(labels)] = view.value
            return
        choices[_key(labels)] = []
        for label, value in _choices(controls[place], most[place]):
            if views and time.monotonic() > until:
                return
            controls[place].value = value
            choices[_key(labels)].append(label)
            walk([*labels, label])

    walk([])
    for control, value in zip(controls, starts, strict=True):
        control.value = value
    names = [control.description for control in controls]
    return {"names": names, "start": begin, "choices": choices, "views": views}


def limits(counts: list[int]) -> list[int]:
    """How many choices each control may have so that all combinations are at most `VIEWS`."""
    counts = list(counts)
    while math.prod(counts) > VIEWS:
        counts[counts.index(max(counts))] -= 1
    return counts


def _choices(control, most: int) -> list[tuple[str, object]]:
    """At most so many choices of a control, the present one first, then spread over the others."""
    from ipywidgets import IntSlider

    if hasattr(control, "options"):
        pairs = [o if isinstance(o, tuple) else (str(o), o) for o in control.options]
    elif isinstance(control, IntSlider):
        pairs = [(str(n), n) for n in range(control.min, control.max + 1, control.step)]
    elif isinstance(control.value, bool):
        pairs = [("no", False), ("yes", True)]
    else:
        return [(str(control.value), control.value)]
    now = next((pair for pair in pairs if pair[1] == control.value), pairs[0])
    others = [pair for pair in pairs if pair is not now]
    stride = max(1, -(-len(others) // max(1, most - 1)))
    kept = [now, *others[::stride][: most - 1]]
    return [pair for pair in pairs if pair in kept]


def _key(labels: list[str]) -> str:
    return json.dumps(labels, ensure_ascii=False, separators=(",", ":"))

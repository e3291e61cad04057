"""Figures in one style, each with a title that states its finding and a sentence with its numbers.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; markers and line styles
repeat what they say. A way to teach has one colour in all figures of the course: see `looks`.
"""

from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from helpers.compare import Interval

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
WEIGHTS, PROMPT, BOTH, *OTHER_COLOURS = COLOURS
MARKERS = "osD^vP*"
GREY = "#767676"
WAY_COLOURS = {  # the one whose word comes first in a line's name
    BOTH: ("both", "together", "combin"),
    GREY: ("zero-shot", "untaught", "majority", "TF-IDF", "probe", "base", "known", "regular"),
    WEIGHTS: ("weights", "lora", "fine-tun", "adapter", "full", "trained"),
    PROMPT: ("prompt", "in-context", "shown", "retrieved", "demonstration"),
}
DASHED = {"linestyle": "--", "linewidth": 1}
STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "font.size": 10,
    "figure.dpi": 100,
    "legend.frameon": False,
}


def show(figure: Figure, sentence: str) -> None:
    """Draw the figure once, with the sentence as its text for screen readers and printed below "
    "it."""
    display(figure, metadata={"image/png": {"alt": sentence}})
    plt.close(figure)
    print(sentence)


def side_by_side(count: int, width: float, height: float, **shared) -> tuple[Figure, list]:
    """A figure with a row of panels, each so wide and high in inches, and their axes."""
    size = (width * count, height)
    figure, axes = plt.subplots(
        1, count, figsize=size, squeeze=False, layout="constrained", **shared
    )
    return figure, list(axes[0])


def headline(figure: Figure, title: str) -> None:
    """The finding of a figure of several panels, above them all."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")


def bars(
    panels: Mapping[str, Mapping[str, float]], title: str, sentence: str, label: str = "probability"
):
    """Horizontal bars, one panel for each prompt: what the model holds likely, best at the top."""
    with plt.rc_context(STYLE):
        figure, axes = side_by_side(len(panels), 4.2, 2.9, sharex=True)
        for axis, (name, values) in zip(axes, panels.items(), strict=True):
            names = [visible(text) for text in values]
            places = np.arange(len(names))[::-1]
            drawn = axis.barh(places, list(values.values()), color=PROMPT)
            axis.bar_label(drawn, fmt="%.2f", padding=2, fontsize=8)
            axis.set_yticks(places, names, family="monospace")
            axis.set_xlim(0, 1.12)
            axis.set_xlabel(label)
            axis.set_title(name, fontsize=10, family="monospace")
            axis.grid(visible=False, axis="y")
        headline(figure, title)
    show(figure, sentence)


def whiskers(
    panels: Mapping[str, Mapping[str, Mapping[object, Interval]]],
    title: str,
    sentence: str,
    x: str = "",
    y: str = "",
    form: str = "lines",
    level: float | None = None,
):
    """Means with their 95 % intervals: `panels[panel][line][place]` is an `Interval`.

    The form is "lines" (places are numbers, or names side by side), "curves" (numbers of examples,
    each doubling one step; what has but the place 0 was never taught and is a level line), "bars"
    or "rows" (names one below the other). A dashed line stands at `level`, such as chance.
    """
    show(whiskers_drawn(panels, title, x, y, form, level), sentence)


def whiskers_drawn(
    panels: Mapping[str, Mapping[str, Mapping[object, Interval]]],
    title: str,
    x: str = "",
    y: str = "",
    form: str = "lines",
    level: float | None = None,
) -> Figure:
    """The figure of `whiskers`, not yet shown."""
    width, height = _size(panels, form)
    with plt.rc_context(STYLE):
        figure, axes = side_by_side(len(panels), width, height, sharey=form != "lines")
        for axis, (name, lines) in zip(axes, panels.items(), strict=True):
            (_rows if form == "rows" else _bars if form == "bars" else _lines)(axis, lines, form)
            bounds = np.array([value for line in lines.values() for value in line.values()])
            if form != "rows" and bounds.min() >= 0 and bounds.max() < 1 + 1e-9:
                axis.set_ylim(-0.03, 1.03 + 0.1 * (form == "bars"))
            if level is not None:
                (axis.axvline if form == "rows" else axis.axhline)(level, color="black", **DASHED)
            axis.set_title(name, fontsize=10)
            axis.set_xlabel(x)
        axes[0].set_ylabel(y)
        one_legend(figure, axes)
        headline(figure, title)
    return figure


def _size(panels: Mapping, form: str) -> tuple[float, float]:
    """Inches of one panel: rows need height for each, bars width."""
    lines = next(iter(panels.values()))
    if form == "rows":
        places = len(next(iter(lines.values())))
        return 7.0, 0.2 * places * (len(lines) + 0.7) + 1.5
    alone = len(panels) == 1
    return (6.8 if alone else 3.7), (3.6 if alone else 3.9)


def looks(names: Iterable[str]) -> dict[str, dict]:
    """Colour, marker and line style of each line.

    Orange is the prompt, blue the weights, green both, grey what is neither; lines of one colour
    differ in style, and what is no way to teach takes other colours.
    """
    found, others = {}, iter(OTHER_COLOURS * 3)
    for marker, name in zip(MARKERS * 3, names, strict=False):
        at = {name.find(word): c for c, words in WAY_COLOURS.items() for word in words}
        first = min(place for place in [*at, len(name)] if place >= 0)
        colour = at.get(first) or next(others)
        before = sum(look["color"] == colour for look in found.values())
        style = ("-", "--", ":", "-.")[before % 4]
        found[name] = {"color": colour, "marker": marker, "linestyle": style}
    return found


def _split(values: Sequence[Interval]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Means, and how far the whiskers reach down and up."""
    mean, low, high = np.array(list(values)).T
    return mean, [mean - low, high - mean]


def _lines(axis, lines: Mapping[str, Mapping[object, Interval]], form: str) -> None:
    places = list(dict.fromkeys(place for line in lines.values() for place in line))
    if form == "curves":
        places = sorted(place for place in places if place)
    named = isinstance(places[0], str)
    at = {p: i if named else np.log2(p) if form == "curves" else p for i, p in enumerate(places)}
    step = 0.06 if form == "curves" or named else 0.012 * (max(at.values()) - min(at.values()))
    look = looks(lines)
    for i, (name, values) in enumerate(lines.items()):
        if form == "curves" and set(values) == {0}:
            axis.axhline(values[0][0], label=name, color=look[name]["color"], **DASHED)
            continue
        mean, reach = _split(values.values())
        nudged = np.array([at[place] for place in values]) + step * (i - (len(lines) - 1) / 2)
        axis.errorbar(nudged, mean, reach, label=name, capsize=3, **look[name])
    if form == "curves" and len(places) > 12:  # their names would overlap
        places = [place for place in places if np.log2(place) % 2 == 0]
    axis.set_xticks([at[place] for place in places], places)


def _bars(axis, lines: Mapping[str, Mapping[object, Interval]], form: str) -> None:
    width, look = 0.8 / len(lines), looks(lines)
    for i, (name, values) in enumerate(lines.items()):
        mean, reach = _split(values.values())
        places = np.arange(len(values)) + (i - (len(lines) - 1) / 2) * width
        hatch = ("", "//", "..")[i % 3]
        axis.bar(places, mean, width * 0.9, color=look[name]["color"], label=name, hatch=hatch)
        axis.errorbar(places, mean, reach, fmt="none", ecolor="black", capsize=3)
        for place, value, up in zip(places, mean, reach[1], strict=True):
            axis.text(place, value + up + 0.02, f"{value:.2f}", ha="center", fontsize=8)
    axis.set_xticks(range(len(values)), list(values))


def _rows(axis, lines: Mapping[str, Mapping[object, Interval]], form: str) -> None:
    names, look = list(next(iter(lines.values()))), looks(lines)
    for i, (name, values) in enumerate(lines.items()):
        mean, reach = _split([values[place] for place in names])
        shift = (i - (len(lines) - 1) / 2) / (len(lines) + 1)
        places = np.arange(len(names))[::-1] - shift
        style = look[name] | {"linestyle": "", "capsize": 3}
        axis.errorbar(mean, places, xerr=reach, label=name, **style)
    axis.set_yticks(range(len(names))[::-1], names)


def one_legend(figure: Figure, axes: Sequence) -> None:
    """A legend below all panels, with each line once, though it stands in several."""
    entries = {}
    for axis in axes:
        drawn, names = axis.get_legend_handles_labels()
        entries |= dict(zip(names, drawn, strict=True))
    entries.pop("", None)
    if entries:
        columns = min(4, len(entries))
        place = {"loc": "outside lower center", "ncols": columns, "fontsize": 9}
        figure.legend(entries.values(), entries, **place)


def line(values: Sequence[float], x: str, y: str, title: str, sentence: str):
    """One curve, such as the training loss at each step."""
    lines({"": values}, x, y, title, sentence)


def lines(
    curves: Mapping[str, Sequence[float]],
    x: str,
    y: str,
    title: str,
    sentence: str,
):
    """Several curves over the same steps, such as the loss under several learning rates."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(6, 2.8), layout="constrained")
        for (name, values), look in zip(curves.items(), looks(curves).values(), strict=True):
            steps = np.arange(1, len(values) + 1)
            axis.plot(steps, values, markersize=4, label=name, **look)
        if len(curves) > 1:
            axis.legend()
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_xlabel(x)
        axis.set_ylabel(y)
        axis.set_title(title, fontweight="bold")
    show(figure, sentence)


def visible(text: str) -> str:
    """The text with white space made visible and no mark that would be read as a formula."""
    return text.replace(" ", "\u2423").replace("\n", "\\n").replace("$", r"\$")

"""Figures in one style, each with a title that states its finding and a sentence with its numbers.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; markers and line styles
repeat what they say.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from helpers import claims
from helpers.compare import Interval

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vP*"
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


def _side_by_side(count: int, width: float, height: float, **shared) -> tuple[Figure, list]:
    """A figure with a row of panels, each so wide and high in inches, and their axes."""
    size = (width * count, height)
    figure, axes = plt.subplots(
        1, count, figsize=size, squeeze=False, layout="constrained", **shared
    )
    return figure, list(axes[0])


def _headline(figure: Figure, title: str) -> None:
    """The finding of a figure of several panels, above them all."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")


def bars(
    panels: Mapping[str, Mapping[str, float]], title: str, sentence: str, label: str = "probability"
):
    """Horizontal bars, one panel for each prompt: what the model holds likely, best at the top."""
    with plt.rc_context(STYLE):
        figure, axes = _side_by_side(len(panels), 4.2, 2.9, sharex=True)
        for axis, colour, (name, values) in zip(axes, COLOURS, panels.items(), strict=False):
            names = [_visible(text) for text in values]
            places = np.arange(len(names))[::-1]
            drawn = axis.barh(places, list(values.values()), color=colour)
            axis.bar_label(drawn, fmt="%.2f", padding=2, fontsize=8)
            axis.set_yticks(places, names, family="monospace")
            axis.set_xlim(0, 1.12)
            axis.set_xlabel(label)
            axis.set_title(name, fontsize=10, family="monospace")
            axis.grid(visible=False, axis="y")
        _headline(figure, title)
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
        figure, axes = _side_by_side(len(panels), width, height, sharey=form != "lines")
        for axis, (name, lines) in zip(axes, panels.items(), strict=True):
            (_rows if form == "rows" else _bars if form == "bars" else _lines)(axis, lines, form)
            bounds = np.array([value for line in lines.values() for value in line.values()])
            if form != "rows" and bounds.min() >= 0 and bounds.max() <= 1:
                axis.set_ylim(-0.03, 1.03 + 0.1 * (form == "bars"))
            if level is not None:
                (axis.axvline if form == "rows" else axis.axhline)(level, color="black", **DASHED)
            axis.set_title(name, fontsize=10)
            axis.set_xlabel(x)
        axes[0].set_ylabel(y)
        _one_legend(figure, axes)
        _headline(figure, title)
    return figure


def _size(panels: Mapping, form: str) -> tuple[float, float]:
    """Inches of one panel: rows need height for each, bars width."""
    lines = next(iter(panels.values()))
    if form == "rows":
        places = len(next(iter(lines.values())))
        return 7.0, 0.2 * places * (len(lines) + 0.7) + 1.5
    alone = len(panels) == 1
    return (6.8 if alone else 3.7), (3.6 if alone else 3.9)


def _look(i: int) -> dict:
    return {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)], "capsize": 3}


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
    for i, (name, values) in enumerate(lines.items()):
        if form == "curves" and set(values) == {0}:
            axis.axhline(values[0][0], label=name, color=COLOURS[i % len(COLOURS)], **DASHED)
            continue
        mean, reach = _split(values.values())
        nudged = np.array([at[place] for place in values]) + step * (i - (len(lines) - 1) / 2)
        axis.errorbar(nudged, mean, reach, label=name, **_look(i))
    axis.set_xticks([at[place] for place in places], places)


def _bars(axis, lines: Mapping[str, Mapping[object, Interval]], form: str) -> None:
    width = 0.8 / len(lines)
    for i, (name, values) in enumerate(lines.items()):
        mean, reach = _split(values.values())
        places = np.arange(len(values)) + (i - (len(lines) - 1) / 2) * width
        hatch = ("", "//", "..")[i % 3]
        axis.bar(places, mean, width * 0.9, color=COLOURS[i], label=name, hatch=hatch)
        axis.errorbar(places, mean, reach, fmt="none", ecolor="black", capsize=3)
        for place, value, up in zip(places, mean, reach[1], strict=True):
            axis.text(place, value + up + 0.02, f"{value:.2f}", ha="center", fontsize=8)
    axis.set_xticks(range(len(values)), list(values))


def _rows(axis, lines: Mapping[str, Mapping[object, Interval]], form: str) -> None:
    names = list(next(iter(lines.values())))
    for i, (name, values) in enumerate(lines.items()):
        mean, reach = _split([values[place] for place in names])
        shift = (i - (len(lines) - 1) / 2) / (len(lines) + 1)
        places = np.arange(len(names))[::-1] - shift
        axis.errorbar(mean, places, xerr=reach, label=name, linestyle="", **_look(i))
    axis.set_yticks(range(len(names))[::-1], names)


def _one_legend(figure: Figure, axes: Sequence) -> None:
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
        for (name, values), colour, marker in zip(curves.items(), COLOURS, MARKERS, strict=False):
            steps = np.arange(1, len(values) + 1)
            axis.plot(steps, values, color=colour, marker=marker, markersize=4, label=name)
        if len(curves) > 1:
            axis.legend()
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_xlabel(x)
        axis.set_ylabel(y)
        axis.set_title(title, fontweight="bold")
    show(figure, sentence)


def layers(changes: Mapping[str, pd.DataFrame], title: str, sentence: str):
    """How far each matrix moved: one map of layer by matrix for each method, on one colour scale.

    `changes` maps a method's name to a table as `adapters.change` gives it.
    """
    maps = {
        name: 100 * table.pivot(index="matrix", columns="layer", values="relative")
        for name, table in changes.items()
    }
    top = max(one.to_numpy().max() for one in maps.values())
    with plt.rc_context(STYLE | {"axes.grid": False}):
        figure, axes = plt.subplots(
            len(maps),
            figsize=(7, 2.1 * len(maps)),
            sharex=True,
            squeeze=False,
            layout="constrained",
        )
        for axis, (name, one) in zip(axes[:, 0], maps.items(), strict=True):
            drawn = axis.imshow(one, cmap="cividis", vmin=0, vmax=top, aspect="auto")
            axis.set_yticks(range(len(one)), one.index, fontsize=8)
            axis.set_title(name, fontsize=10)
        axes[-1, 0].set_xlabel("layer")
        figure.colorbar(drawn, ax=axes, label="moved by (% of the matrix's size)")
        _headline(figure, title)
    show(figure, sentence)


def growth(
    panels: Mapping[str, Mapping[str, Sequence]],
    x: str,
    y: Sequence[str],
    title: str,
    sentence: str,
    marks: Mapping[str, Mapping[str, tuple[float, float]]] | None = None,
):
    """How something grows, on logarithmic axes: `panels[panel][curve]` is (x, y) or (x, y, low,
    high), and `y` names each panel's axis.

    A curve with bounds gets a band. `marks[panel][text]` is a point to point out, such as where two
    curves cross.
    """
    with plt.rc_context(STYLE):
        figure, axes = _side_by_side(len(panels), 4.6 if len(panels) > 1 else 6.5, 3.8)
        for axis, label, (name, curves) in zip(axes, y, panels.items(), strict=True):
            for i, (curve, values) in enumerate(curves.items()):
                places, middle, *bounds = map(np.asarray, values)
                look = {
                    "color": COLOURS[i],
                    "marker": MARKERS[i],
                    "markevery": 1 + len(middle) // 9,
                }
                axis.loglog(places, middle, label=curve, linewidth=1.5, markersize=4, **look)
                if bounds:
                    axis.fill_between(places, *bounds, color=COLOURS[i], alpha=0.2, linewidth=0)
            for text, point in (marks or {}).get(name, {}).items():
                axis.plot(*point, "*", color="black", markersize=11)
                offset = {"xytext": (7, -12), "textcoords": "offset points"}
                axis.annotate(text, point, ha="left", fontsize=8, **offset)
            axis.set_title(name, fontsize=10)
            axis.set_xlabel(x)
            axis.set_ylabel(label)
        drawn, names = axes[0].get_legend_handles_labels()
        figure.legend(drawn, names, loc="outside lower center", ncols=4, fontsize=9)
        _headline(figure, title)
    show(figure, sentence)


def strips(
    results: Mapping[str, np.ndarray], x: str, y: str, title: str, sentence: str, level: float
):
    """One dot for each accuracy, a strip for each draw; `results` maps a name to [draws, dots].

    A dashed line stands at `level`, such as chance. Dots at one place are spread sideways.
    """
    with plt.rc_context(STYLE):
        figure, axes = _side_by_side(len(results), 3.6, 3.4, sharey=True)
        for i, (axis, (name, dots)) in enumerate(zip(axes, results.items(), strict=True)):
            draws, several = dots.shape
            places = np.arange(draws)[:, None] + np.linspace(-0.3, 0.3, several)
            look = {"color": COLOURS[i], "marker": MARKERS[i], "linestyle": ""}
            axis.plot(places.ravel(), dots.ravel(), alpha=0.5, markersize=4, **look)
            axis.axhline(level, linestyle="--", linewidth=1, color="black")
            axis.set_xticks(range(draws))
            axis.set_xlabel(x)
            axis.set_ylim(-0.03, 1.03)
            axis.set_title(name, fontsize=10)
        axes[0].set_ylabel(y)
        _headline(figure, title)
    show(figure, sentence)


def head_map(scores: np.ndarray, chosen: Sequence[tuple[int, int]], title: str, sentence: str):
    """A score of each head as a map, [layers, heads]; the `chosen` (layer, head) get a ring."""
    with plt.rc_context(STYLE | {"axes.grid": False}):
        figure, axis = plt.subplots(figsize=(7.5, 2.8), layout="constrained")
        drawn = axis.imshow(scores.T, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        ring = {"marker": "o", "linestyle": "", "fillstyle": "none", "color": COLOURS[1]}
        axis.plot([layer for layer, _ in chosen], [head for _, head in chosen], **ring)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.yaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_xlabel("layer")
        axis.set_ylabel("head")
        figure.colorbar(drawn, label="share of its attention")
        axis.set_title(title, fontweight="bold")
    show(figure, sentence)


def looked_at(
    tokens: Sequence[str], weights: Mapping[str, Sequence[float]], title: str, sentence: str
):
    """What share of its attention a head gives to each token: `weights` maps a head to [tokens]."""
    with plt.rc_context(STYLE | {"axes.grid": False}):
        size = (1.5 + 0.18 * len(tokens), 1.4 + 0.24 * len(weights))
        figure, axis = plt.subplots(figsize=size, layout="constrained")
        drawn = axis.imshow(list(weights.values()), cmap="cividis", vmin=0, vmax=1, aspect="auto")
        texts = [_visible(token) for token in tokens]
        axis.set_xticks(range(len(texts)), texts, rotation=90, fontsize=7, family="monospace")
        axis.set_yticks(range(len(weights)), list(weights), fontsize=8)
        figure.colorbar(drawn, label="share")
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    show(figure, sentence)


def amounts(values: Mapping[str, float], x: str, title: str, sentence: str):
    """Amounts of very different sizes as bars on a logarithmic axis, the first at the top."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(7, 0.4 * len(values) + 1.2), layout="constrained")
        places = np.arange(len(values))[::-1]
        colours = [COLOURS[i % len(COLOURS)] for i in range(len(values))]
        drawn = axis.barh(places, list(values.values()), color=colours)
        axis.bar_label(drawn, [f"{value:,.3g}" for value in values.values()], padding=3, fontsize=8)
        axis.set_yticks(places, list(values))
        axis.set_xscale("log")
        axis.margins(x=0.15)
        axis.grid(visible=False, axis="y")
        axis.set_xlabel(x)
        axis.set_title(title, fontweight="bold")
    show(figure, sentence)


def _visible(text: str) -> str:
    """The text with white space made visible and no mark that would be read as a formula."""
    return text.replace(" ", "\u2423").replace("\n", "\\n").replace("$", r"\$")


def verdicts(board: pd.DataFrame, title: str, sentence: str):
    """The claims as cells, a row for each topic: `board` as `claims.board` gives it.

    Colour, marker and hatch say the verdict; a star says that the learner predicted it. A claim
    that no lesson has tested yet is grey.
    """
    drawn = zip((*COLOURS[:2], COLOURS[3]), "oDX", ("", "//", ".."), strict=True)
    looks = dict(zip(claims.VERDICTS, drawn, strict=True))
    topics = list(dict.fromkeys(board["topic"]))
    with plt.rc_context(STYLE | {"axes.grid": False}):
        figure, axis = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
        for y, topic in enumerate(topics):
            for x, row in enumerate(board[board["topic"] == topic].itertuples()):
                colour, marker, hatch = looks.get(row.verdict, ("#767676", "", ""))
                cell = {"facecolor": "white", "edgecolor": colour, "linewidth": 2, "hatch": hatch}
                axis.add_patch(plt.Rectangle((x - 0.44, y - 0.4), 0.88, 0.8, **cell))
                axis.plot(x - 0.22, y, marker=marker, color=colour, markersize=11)
                box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
                name = f"{row.claim} ★" if row.hit else row.claim
                axis.text(x + 0.14, y, name, va="center", ha="center", bbox=box)
        for verdict, (colour, marker, _) in looks.items():
            count = f"{verdict} ({(board['verdict'] == verdict).sum()})"
            axis.plot([], [], marker=marker, color=colour, linestyle="", markersize=9, label=count)
        axis.set_xlim(-0.6, 5.6)
        axis.set_ylim(len(topics) - 0.4, -0.6)
        axis.set_yticks(range(len(topics)), topics)
        axis.set_xticks([])
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        figure.legend(loc="outside lower center", ncols=3, fontsize=9)
        _headline(figure, title)
    show(figure, sentence)

"""Figures that one lesson each draws, in the style of `helpers.plots`."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from helpers.plots import COLOURS, STYLE, headline, looks, one_legend, show, side_by_side, visible


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
        figure, axes = side_by_side(len(panels), 4.6 if len(panels) > 1 else 6.5, 3.8)
        for axis, label, (name, curves) in zip(axes, y, panels.items(), strict=True):
            for (curve, values), look in zip(curves.items(), looks(curves).values(), strict=True):
                places, middle, *bounds = map(np.asarray, values)
                look["markevery"] = 1 + len(middle) // 9
                axis.loglog(places, middle, label=curve, linewidth=1.5, markersize=4, **look)
                if bounds:
                    colour = look["color"]
                    axis.fill_between(places, *bounds, color=colour, alpha=0.2, linewidth=0)
            for text, point in (marks or {}).get(name, {}).items():
                axis.plot(*point, "*", color="black", markersize=11)
                offset = {"xytext": (7, -12), "textcoords": "offset points"}
                axis.annotate(text, point, ha="left", fontsize=8, **offset)
            axis.set_title(name, fontsize=10)
            axis.set_xlabel(x)
            axis.set_ylabel(label)
        one_legend(figure, axes)
        headline(figure, title)
    show(figure, sentence)


def strips(
    results: Mapping[str, np.ndarray], x: str, y: str, title: str, sentence: str, level: float
):
    """One dot for each accuracy, a strip for each draw; `results` maps a name to [draws, dots].

    A dashed line stands at `level`, such as chance. Dots at one place are spread sideways.
    """
    with plt.rc_context(STYLE):
        figure, axes = side_by_side(len(results), 3.6, 3.4, sharey=True)
        styles = looks(results).values()
        for axis, style, (name, dots) in zip(axes, styles, results.items(), strict=True):
            draws, several = dots.shape
            places = np.arange(draws)[:, None] + np.linspace(-0.3, 0.3, several)
            look = style | {"linestyle": ""}
            axis.plot(places.ravel(), dots.ravel(), alpha=0.5, markersize=4, **look)
            axis.axhline(level, linestyle="--", linewidth=1, color="black")
            axis.set_xticks(range(draws))
            axis.set_xlabel(x)
            axis.set_ylim(-0.03, 1.03)
            axis.set_title(name, fontsize=10)
        axes[0].set_ylabel(y)
        headline(figure, title)
    show(figure, sentence)


def layers(changes: Mapping[str, pd.DataFrame], title: str, sentence: str):
    """How far each matrix moved: one map of layer by matrix for each method, on one colour scale.

    `changes` maps a method's name to a table as `matrices.change` gives it.
    """
    maps = {
        name: 100 * table.pivot(index="matrix", columns="layer", values="relative")
        for name, table in changes.items()
    }
    top = max(relative.to_numpy().max() for relative in maps.values())
    with plt.rc_context(STYLE | {"axes.grid": False}):
        figure, axes = plt.subplots(
            len(maps),
            figsize=(7, 2.1 * len(maps)),
            sharex=True,
            squeeze=False,
            layout="constrained",
        )
        for axis, (name, relative) in zip(axes[:, 0], maps.items(), strict=True):
            drawn = axis.imshow(relative, cmap="cividis", vmin=0, vmax=top, aspect="auto")
            axis.set_yticks(range(len(relative)), relative.index, fontsize=8)
            axis.set_title(name, fontsize=10)
        axes[-1, 0].set_xlabel("layer")
        figure.colorbar(drawn, ax=axes, label="moved by (% of the matrix's size)")
        headline(figure, title)
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
        texts = [visible(token) for token in tokens]
        axis.set_xticks(range(len(texts)), texts, rotation=90, fontsize=7, family="monospace")
        axis.set_yticks(range(len(weights)), list(weights), fontsize=8)
        figure.colorbar(drawn, label="share")
        headline(figure, title)
    show(figure, sentence)


def amounts(values: Mapping[str, float], x: str, title: str, sentence: str):
    """Amounts of very different sizes as bars on a logarithmic axis, the first at the top."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(7, 0.4 * len(values) + 1.2), layout="constrained")
        places = np.arange(len(values))[::-1]
        colours = [look["color"] for look in looks(values).values()]
        drawn = axis.barh(places, list(values.values()), color=colours)
        axis.bar_label(drawn, [f"{value:,.3g}" for value in values.values()], padding=3, fontsize=8)
        axis.set_yticks(places, list(values))
        axis.set_xscale("log")
        axis.margins(x=0.15)
        axis.grid(visible=False, axis="y")
        axis.set_xlabel(x)
        axis.set_title(title, fontweight="bold")
    show(figure, sentence)

"""Figures that one lesson each draws, in the style of `helpers.plots`."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from helpers import claims
from helpers.plots import (
    COLOURS,
    DASHED,
    STYLE,
    headline,
    looks,
    one_legend,
    show,
    side_by_side,
    visible,
)


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


def clouds(
    panels: Mapping[str, Mapping[str, tuple[Sequence, Sequence]]],
    x: str,
    y: str,
    title: str,
    sentence: str,
    level: float,
):
    """Dots of several kinds: `panels[panel][kind]` is (x, y). Dashed lines cross at `level`.

    Dots at one place are spread a little, always in the same way.
    """
    with plt.rc_context(STYLE):
        figure, axes = side_by_side(len(panels), 3.9, 3.6, sharey=True)
        for axis, (name, kinds) in zip(axes, panels.items(), strict=True):
            spread = np.random.default_rng(0)
            for (kind, points), look in zip(kinds.items(), looks(kinds).values(), strict=True):
                places = np.asarray(points) + spread.uniform(-0.015, 0.015, np.shape(points))
                look |= {"linestyle": "", "markersize": 5, "alpha": 0.5}
                axis.plot(*places, label=kind, **look)
            axis.axhline(level, color="black", **DASHED)
            axis.axvline(level, color="black", **DASHED)
            axis.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.05), xlabel=x)
            axis.set_title(name, fontsize=10)
        axes[0].set_ylabel(y)
        one_legend(figure, axes)
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
        headline(figure, title)
    show(figure, sentence)

"""Figures that one lesson each draws, in the style of `helpers.plots`."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np

from helpers.plots import DASHED, STYLE, headline, looks, one_legend, show, side_by_side


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
                offset = {"xytext": (7, 7), "textcoords": "offset points"}
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

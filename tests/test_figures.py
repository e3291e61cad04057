"""What the figures show of the tables that they are given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from helpers import plots
from helpers.compare import Interval
from lessons import figures, picture


@pytest.fixture
def shown(monkeypatch):
    """Keep each figure with its sentence instead of drawing it."""
    kept = []
    for module in (plots, figures):
        monkeypatch.setattr(module, "show", lambda *given: kept.append(given))
    yield kept
    plt.close("all")


def test_lines_are_named_and_a_single_one_needs_no_legend(shown):
    plots.lines({"fast": [3, 1], "slow": [3, 2, 1]}, "step", "loss", "title", "From 3 to 1.")
    plots.line([3, 2], "step", "loss", "title", "From 3 to 2.")
    (both, _), (single, _) = shown
    named = both.axes[0].get_legend_handles_labels()[1]
    assert named == ["fast", "slow"] and both.axes[0].get_legend()
    assert [list(line.get_xdata()) for line in both.axes[0].lines] == [[1, 2], [1, 2, 3]]
    assert list(single.axes[0].lines[0].get_ydata()) == [3, 2] and not single.axes[0].get_legend()


def test_growth_draws_curves_bands_and_marks(shown):
    panels = {"one": {"a": ([1, 10], [2, 20]), "b": ([1, 10], [3, 3], [2, 2], [4, 5])}}
    marks = {"one": {"here": (4, 8)}}
    figures.growth(panels, "queries", ["seconds"], "title", "They cross.", marks)
    ((figure, sentence),) = shown
    (axis,) = figure.axes
    assert axis.get_xscale() == axis.get_yscale() == "log" and axis.get_ylabel() == "seconds"
    a, b, star = axis.lines
    assert list(a.get_ydata()) == [2, 20] and list(b.get_xdata()) == [1, 10]
    assert star.get_xydata().tolist() == [[4, 8]]
    (band,) = axis.collections
    assert band.get_paths()[0].get_extents().extents.tolist() == [1, 2, 10, 5]
    assert [text.get_text() for text in axis.texts] == ["here"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    assert sentence == "They cross."


def test_clouds_keep_kinds_apart_and_dots_at_their_places(shown):
    kinds = {"low": ([0.1, 0.1], [0.2, 0.3]), "high": ([0.9], [0.8])}
    figures.clouds({"one": kinds, "two": kinds}, "x", "y", "title", "From 0.2.", level=0.5)
    ((figure, sentence),) = shown
    for axis in figure.axes:
        low, high, across, down = axis.lines
        assert np.abs(low.get_xydata() - [[0.1, 0.2], [0.1, 0.3]]).max() <= 0.015
        assert np.abs(high.get_xydata() - [[0.9, 0.8]]).max() <= 0.015
        assert low.get_color() != high.get_color() and low.get_marker() != high.get_marker()
        assert set(across.get_ydata()) == set(down.get_xdata()) == {0.5}
    assert figure.axes[0].get_ylabel() == "y" and not figure.axes[1].get_ylabel()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["low", "high"]
    assert sentence == "From 0.2."


# Whiskers


HERE = {"a": Interval(0.5, 0.4, 0.7), "b": Interval(0.25, 0.2, 0.3)}
THERE = {"a": Interval(0.8, 0.7, 0.9), "b": Interval(0.1, 0.0, 0.3)}


def lines_of(axis) -> dict[str, list]:
    """Means and whiskers of each line, by its name."""
    drawn = {}
    for handle, name in zip(*axis.get_legend_handles_labels(), strict=True):
        (bars,) = handle[2]
        drawn[name] = handle[0], [segment.tolist() for segment in bars.get_segments()]
    return drawn


def test_lines_have_a_panel_for_each_measure_and_share_one_legend(shown):
    panels = {"loss": {"x": HERE, "y": THERE}, "right": {"x": THERE}}
    plots.whiskers(panels, "title", "Two panels.", x="steps", y="share")
    ((figure, sentence),) = shown
    left, right = figure.axes
    assert (left.get_title(loc="left"), right.get_title(loc="left")) == ("loss", "right")
    assert (left.get_xlabel(), left.get_ylabel(), sentence) == ("steps", "share", "Two panels.")
    mark, whiskers = lines_of(left)["x"]
    assert list(mark.get_ydata()) == [0.5, 0.25]
    assert [sorted(y for _, y in segment) for segment in whiskers] == [
        pytest.approx([0.4, 0.7]), pytest.approx([0.2, 0.3])]  # fmt: skip
    assert [text.get_text() for text in left.get_xticklabels()] == ["a", "b"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["x", "y"]


def test_numbers_stand_where_they_are_and_others_than_shares_have_their_own_scale(shown):
    values = {0: Interval(2, 1, 3), 8: Interval(9, 8, 10)}
    plots.whiskers({"": {"only": values}}, "title", "From 2 to 9.")
    ((figure, _),) = shown
    (axis,) = figure.axes
    mark, _ = lines_of(axis)["only"]
    assert list(mark.get_xdata()) == [0, 8] and axis.get_ylim()[1] > 9


def test_shares_have_one_scale_however_their_bound_was_added_up(shown):
    plots.whiskers({"": {"only": {0: Interval(0.9, 0.8, 1 + 2e-16)}}}, "title", "0.9.")
    assert shown[0][0].axes[0].get_ylim() == (-0.03, 1.03)


def test_curves_double_with_each_step_and_have_level_lines_for_the_untaught(shown):
    taught = {8: Interval(0.6, 0.5, 0.7), 32: Interval(0.9, 0.8, 1.0)}
    lines = {"lora": taught, "zero-shot": {0: Interval(0.25, 0.2, 0.3)}}
    plots.whiskers({"job": lines, "other": lines}, "title", "Up.", form="curves", level=0.125)
    ((figure, _),) = shown
    axis = figure.axes[0]
    handles, names = axis.get_legend_handles_labels()
    drawn = dict(zip(names, handles, strict=True))
    assert set(drawn["zero-shot"].get_ydata()) == {0.25}
    assert list(drawn["lora"][0].get_ydata()) == [0.6, 0.9]
    assert np.diff(drawn["lora"][0].get_xdata()) == pytest.approx([2])
    assert [text.get_text() for text in axis.get_xticklabels()] == ["8", "32"]
    assert {0.125} in [set(line.get_ydata()) for line in axis.lines]
    assert len(figure.legends[0].get_texts()) == 2  # once for all panels


def test_bars_stand_in_groups_with_their_numbers_above(shown):
    plots.whiskers({"": {"x": HERE, "y": THERE}}, "title", "Up.", form="bars")
    ((figure, _),) = shown
    (axis,) = figure.axes
    assert [bar.get_height() for bar in axis.patches] == [0.5, 0.25, 0.8, 0.1]
    assert [text.get_text() for text in axis.texts] == ["0.50", "0.25", "0.80", "0.10"]
    assert all(text.get_position()[1] > 0.25 for text in axis.texts)


def test_rows_put_each_name_on_its_line_whatever_its_order(shown):
    turned = {name: THERE[name] for name in "ba"}
    plots.whiskers({"": {"x": HERE, "y": turned}}, "title", "Up.", form="rows", level=0)
    ((figure, _),) = shown
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.get_yticklabels()] == ["a", "b"]
    marks, names = axis.get_legend_handles_labels()
    assert names == ["x", "y"]
    assert [list(mark[0].get_xdata()) for mark in marks] == [[0.5, 0.25], [0.8, 0.1]]
    assert min(mark[0].get_ydata()[0] for mark in marks) > 0.5 and axis.get_yticks()[0] == 1
    low, high = sorted(marks[0][2][0].get_segments()[0][:, 0])
    assert (low, high) == pytest.approx((0.4, 0.7))


def test_a_way_has_one_colour_in_every_figure():
    names = [
        "prompt, tuned",
        "weights",
        "lora",
        "both at once",
        "TF-IDF, words",
        "rank 2",
        "rank 8",
    ]
    found = plots.looks(names)
    colours = [look["color"] for look in found.values()]
    assert colours[1] == colours[2] == picture.WEIGHTS and colours[0] == picture.PROMPT
    assert colours[3] == picture.BOTH and colours[4] == plots.GREY
    assert plots.looks(["weights, both ways round"]).popitem()[1]["color"] == picture.WEIGHTS
    assert len(set(colours[5:] + colours[:1] + colours[1:5])) == 6
    assert found["weights"]["linestyle"] != found["lora"]["linestyle"]
    assert len({look["marker"] for look in found.values()}) == len(names)

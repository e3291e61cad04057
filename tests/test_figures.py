"""What the figures and explorers show of the tables and models that they are given."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from test_finetune import EXAMPLES, TASK

from helpers import compare, plots, widgets
from helpers.finetune import encode_examples, token_losses


@pytest.fixture
def shown(monkeypatch):
    """Keep each figure with its sentence instead of drawing it."""
    kept = []
    monkeypatch.setattr(plots, "show", lambda *given: kept.append(given))
    yield kept
    plt.close("all")


def change(scale: float) -> pd.DataFrame:
    rows = [(layer, name, 4, scale * (layer + 1)) for layer in range(3) for name in ("a", "b")]
    return pd.DataFrame(rows, columns=["layer", "matrix", "weights", "relative"])


def test_layers_are_drawn_in_percent_on_one_scale(shown):
    plots.layers({"one": change(0.01), "two": change(0.02)}, "title", "Two maps, 1 to 6 %.")
    ((figure, sentence),) = shown
    maps = [axis.images[0] for axis in figure.axes if axis.images]
    np.testing.assert_allclose(maps[0].get_array(), [[1, 2, 3], [1, 2, 3]])
    np.testing.assert_allclose(maps[1].get_array(), [[2, 4, 6], [2, 4, 6]])
    assert [one.get_clim() for one in maps] == [(0, 6), (0, 6)]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["a", "b"]
    assert sentence == "Two maps, 1 to 6 %."


def test_lines_are_named_and_a_single_one_needs_no_legend(shown):
    plots.lines({"fast": [3, 1], "slow": [3, 2, 1]}, "step", "loss", "title", "From 3 to 1.")
    plots.line([3, 2], "step", "loss", "title", "From 3 to 2.")
    (both, _), (single, _) = shown
    named = both.axes[0].get_legend_handles_labels()[1]
    assert named == ["fast", "slow"] and both.axes[0].get_legend()
    assert [list(line.get_xdata()) for line in both.axes[0].lines] == [[1, 2], [1, 2, 3]]
    assert list(single.axes[0].lines[0].get_ydata()) == [3, 2] and not single.axes[0].get_legend()


def test_the_loss_explorer_marks_what_the_loss_counts(tiny_models):
    lm = tiny_models["llama"]
    panel = widgets.loss_explorer({"before": lm, "after": lm}, TASK, EXAMPLES[:3])
    choice, view = panel.children
    for i, encoded in enumerate(encode_examples(lm, TASK, EXAMPLES[:3])):
        choice.index = i
        numbers = re.findall(r"<span style='color:(#\w+)'>([\d.]+)<br>([\d.]+)</span>", view.value)
        assert [float(first) for _, first, _ in numbers] == pytest.approx(
            token_losses(lm, encoded).tolist(), abs=0.06
        )
        assert all(first == second for _, first, second in numbers)
        counted = [colour == "#D55E00" for colour, *_ in numbers]
        assert counted == [i >= encoded.start for i in range(1, len(encoded.tokens))]
    assert "live notebook" in repr(panel)


def comparison(rows: dict[str, dict[int, list[str]]]) -> pd.DataFrame:
    """Results as `compare.measure` gives them, from the bits of each draw."""
    found = [
        {"method": method, "shots": n, "draw": d, "right": bits, "accuracy": 0.5}
        for method, sizes in rows.items()
        for n, draws in sizes.items()
        for d, bits in enumerate(draws)
    ]
    return pd.DataFrame(found).assign(teach_seconds=1.0, ask_seconds=1.0)


RESULTS = comparison(
    {
        "zero-shot": {0: ["1000"]},
        "lora": {8: ["1100", "1110"], 32: ["1111", "1110"]},
        "in-context": {8: ["1000", "0000"]},
    }
)


def test_learning_curves_show_means_and_a_level_line_for_the_untaught(shown):
    ways = ["lora", "in-context", "zero-shot", "absent"]
    plots.learning_curves({"job": RESULTS, "other": RESULTS}, ways, "title", "sentence.")
    ((figure, _),) = shown
    axis = figure.axes[0]
    handles, names = axis.get_legend_handles_labels()
    assert sorted(names) == ["in-context", "lora", "zero-shot"]
    lines = dict(zip(names, handles, strict=True))
    assert list(lines["lora"][0].get_ydata()) == [0.625, 0.875]
    assert list(lines["in-context"][0].get_ydata()) == [0.125]
    assert set(lines["zero-shot"].get_ydata()) == {0.25}
    assert [text.get_text() for text in axis.get_xticklabels()] == ["8", "32"]
    assert len(figure.legends[0].get_texts()) == 3  # once for all panels


def test_the_comparison_explorer_tells_the_paired_difference():
    panel = widgets.comparison_explorer({"job": RESULTS})
    _, first, second, shots, view = panel.children
    assert (first.value, second.value, shots.value) == ("lora", "in-context", 8)
    assert str(compare.difference(RESULTS, "lora", "in-context", 8)) in view.value
    assert re.findall(r"title='([\d.]+)'", view.value) == ["0.50", "0.75", "0.25", "0.00"]
    second.value = "zero-shot"
    assert "mean 0.25" in view.value
    shots.value, second.value = 32, "in-context"
    assert "hold nothing of &#x27;in-context&#x27; at 32" in view.value

"""What the figures and explorers show of the tables and models that they are given."""

import html
import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from helpers.studies import facts, heads, letters, uses
from scipy.special import softmax
from test_finetune import EXAMPLES, TASK

from helpers import compare, decision, plots, widgets
from helpers.data import load_task
from helpers.finetune import encode_examples, token_losses
from helpers.prompts import encode, plain
from helpers.scoring import score_options


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


def test_growth_draws_curves_bands_and_marks(shown):
    panels = {"one": {"a": ([1, 10], [2, 20]), "b": ([1, 10], [3, 3], [2, 2], [4, 5])}}
    marks = {"one": {"here": (4, 8)}}
    plots.growth(panels, "queries", ["seconds"], "title", "They cross.", marks)
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


def test_the_cost_explorer_follows_the_learners_prices():
    panel = widgets.cost_explorer()
    *controls, view = panel.children
    fields = {control.description: control for control in controls}
    assert "Example numbers" in view.value and "live notebook" in repr(panel)
    fields["queries a day"].value, fields["demonstrations (shots)"].value = 100, 10
    fields["tokens per demonstration"].value = 40
    given = {"price of a million tokens": 2, "price of a GPU hour": 3, "GPU hours of training": 2}
    given |= {"share of it for kept tokens": 0.25, "GPU hours of serving, a day": 10}
    for name, value in given.items():
        fields[name].value = value
    rows = re.findall(r"<td>([^<]*)</td>" * 4, view.value)
    assert rows == [
        ("prompt, read anew", "0", "0.9", "2.70"),
        ("prompt, kept ★", "0.0008", "0.3", "0.90"),
        ("weights", "6", "300", "906.00"),
    ]
    assert view.value.count("never cheaper") == 2
    fields["queries a day"].value = 1_000_000
    assert "weights ★" in view.value
    assert "prompt, kept: cheaper from query 22,219 on, after 0.0 days" in view.value


def test_strips_draw_every_accuracy_and_the_level(shown):
    dots = np.array([[0.2, 0.4, 0.6], [0.5, 0.7, 0.9]])
    plots.strips({"one": dots, "two": dots / 2}, "draw", "right", "title", "From 0.2.", level=0.5)
    ((figure, _),) = shown
    for axis, scale in zip(figure.axes, (1, 2), strict=True):
        drawn, level = axis.lines
        np.testing.assert_allclose(drawn.get_ydata(), dots.ravel() / scale)
        assert list(np.round(drawn.get_xdata())) == [0, 0, 0, 1, 1, 1]
        assert set(level.get_ydata()) == {0.5}
    assert figure.axes[0].get_ylabel() == "right" and not figure.axes[1].get_ylabel()


def test_changes_put_each_name_on_its_line(shown):
    first = {"a": (-0.5, -0.6, -0.3), "b": (0.1, 0.0, 0.2)}
    plots.changes({"x": first, "y": {"b": (0, 0, 0), "a": (1, 1, 1)}}, "x", "title", "Down 0.5.")
    ((figure, _),) = shown
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.get_yticklabels()] == ["a", "b"]
    marks, names = axis.get_legend_handles_labels()
    assert names == ["x", "y"]
    assert [list(mark[0].get_xdata()) for mark in marks] == [[-0.5, 0.1], [1, 0]]
    top = [mark[0].get_ydata()[0] for mark in marks]  # "a" is the upper line in both
    assert min(top) > 0.5 and axis.get_yticks()[0] == 1
    low, high = marks[0][2][0].get_segments()[0][:, 0]
    assert (low, high) == pytest.approx((-0.6, -0.3))


def test_the_fault_explorer_shows_the_faulty_prompt(tiny_models):
    task = load_task("category")
    panel = widgets.fault_explorer(tiny_models["llama"], task, shots=3)
    fault, seed, order, query, view = panel.children
    fault.value, seed.value, order.value = "no mark before label", 2, "reversed"
    drawn = task.draw(3, 2)[::-1]
    written = "".join(f"{one.text} {one.label}\n" for one in drawn)
    assert f"{written}{query.value} -&gt;</pre>" in view.value
    truth = next(one.label for one in task.held_out if one.text == query.value)
    assert f"<b>{truth}</b>" in view.value
    assert all(repr(label) in html.unescape(view.value) for label in task.labels)


def test_trends_have_a_panel_for_each_measure_and_a_line_for_each_name(shown):
    line = {0: (0.5, 0.4, 0.7), 8: (0.25, 0.2, 0.3)}
    panels = {"loss": {"rank 2": line, "rank 8": line}, "right": {"rank 2": line}}
    plots.trends(panels, "steps", "title", "Two panels.")
    ((figure, _),) = shown
    left, right = figure.axes
    assert (left.get_ylabel(), right.get_ylabel(), left.get_xlabel()) == ("loss", "right", "steps")
    handles, names = left.get_legend_handles_labels()
    assert names == ["rank 2", "rank 8"]
    assert list(handles[0][0].get_ydata()) == [0.5, 0.25]
    (bars,) = handles[0][2]
    spread = [(low, high) for (_, low), (_, high) in bars.get_segments()]
    np.testing.assert_allclose(spread, [(0.4, 0.7), (0.2, 0.3)])


def test_the_recall_explorer_asks_every_model_with_its_own_prompt(tiny_models):
    known = facts.draw(facts.load(), 4, 0)
    lm, shown = tiny_models["llama"], facts.statements(known)
    panel = widgets.recall_explorer({"untaught": (lm, []), "prompt": (lm, shown)}, known)
    fact, asked, view = panel.children
    assert list(fact.options) == [one["id"] for one in known]
    fact.value, asked.value = known[2]["id"], "reversed"
    text = html.unescape(view.value)
    assert known[2]["reversed"] in text and f"<b>{known[2]['reversed_answer']}</b>" in text
    shares = [float(n) for n in re.findall(r"<td>(\d\.\d{3})</td>", text)]
    question, answers = facts.question(known[2], "reversed")
    assert answers == [known[2]["reversed_answer"], *known[2]["reversed_distractors"]]
    for i, prompt in enumerate(([], shown)):
        scores = score_options(lm, facts.TASK, prompt, [question], [answers])
        assert shares[4 * i : 4 * i + 4] == pytest.approx(softmax(scores[0]), abs=1e-3)


def test_crossed_joins_what_belongs_together(shown):
    points = {"nothing": (0.1, 0.0, 0.3), "shown": (0.8, 0.7, 0.9)}
    other = {"nothing": (0.5, 0.4, 0.6), "shown": (0.2, 0.1, 0.3)}
    panels = {"codes": {"base": points, "tuned": other}, "style": {"base": other, "tuned": points}}
    plots.crossed(panels, "title", "Lines cross.")
    ((figure, _),) = shown
    left, right = figure.axes
    assert [axis.get_title(loc="left") for axis in (left, right)] == ["codes", "style"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["base", "tuned"]
    handles, _ = left.get_legend_handles_labels()
    assert list(handles[1][0].get_ydata()) == [0.5, 0.2]
    assert [text.get_text() for text in left.get_xticklabels()] == ["nothing", "shown"]


def test_the_letter_explorer_shows_what_was_written_and_what_it_breaks():
    cells, rows = {"plain": ("t", "nothing"), "shown": ("t", "demonstrations")}, []
    for d in range(2):
        asked = letters.asked(letters.draw(d))
        right = [letters.write(doctor, note) for doctor, note in asked]
        for prompt, said in (("nothing", ["Dear all"] * len(asked)), ("demonstrations", right)):
            row = {"training": "t", "prompt": prompt, "draw": d, "seed": 0, "measure": "both"}
            rows.append(row | {"said": json.dumps(said)})
    panel = widgets.letter_explorer(pd.DataFrame(rows), cells)
    doctor, note, view = panel.children
    assert len(doctor.options) == 2 * letters.DOCTORS
    doctor.index, note.value = 3, 2
    visit = letters.draw(1)[1]
    text = html.unescape(view.value)
    assert str(visit.notes[1]) in text and visit.demonstrations[2].label in text
    assert text.count(letters.write(visit.doctor, visit.notes[1])) == 2  # right, and written
    assert "<td>Dear all</td><td>✗ opening, wording, order" in text
    assert text.count("✓ all rules kept") == 2


def test_the_use_explorer_shows_each_way_and_what_it_breaks():
    def item(name: str) -> uses.Item:
        written = {"prompt": f"{name} by prompt", "weights": f"<{name}> by weights"}
        kept = {"prompt": {"short": True}, "weights": {"short": False, "calm": True, "sign": False}}
        return uses.Item(f"{name} asked", f"{name} wanted", written, kept)

    found = {"mail": [item("a"), item("b")], "codes": [item("c")]}
    panel = widgets.use_explorer(found)
    use, number, view = panel.children
    number.value = 2
    text = html.unescape(view.value)
    assert "b asked" in text and "<td>b wanted</td>" in text and "a asked" not in text
    assert "<td>b by prompt</td><td>✓ all kept</td>" in text
    assert "&lt;b&gt; by weights</td><td>✗ short, sign</td>" in view.value
    use.value = "codes"
    assert number.value == number.max == 1 and "c asked" in view.value


def test_the_head_map_rings_the_chosen(shown):
    scores = np.arange(12).reshape(3, 4) / 12
    plots.head_map(scores, [(2, 3), (0, 1)], "title", "Two of 12.")
    ((figure, _),) = shown
    (image,), (rings,) = figure.axes[0].images, figure.axes[0].lines
    np.testing.assert_allclose(image.get_array(), scores.T)  # layers run to the right
    assert list(zip(*rings.get_data(), strict=True)) == [(2, 3), (0, 1)]


def test_what_is_looked_at_is_named_token_by_token(shown):
    plots.looked_at(["a", " b"], {"one": [0.2, 0.8], "two": [1, 0]}, "title", "0.8 on b.")
    ((figure, _),) = shown
    axis = figure.axes[0]
    np.testing.assert_allclose(axis.images[0].get_array(), [[0.2, 0.8], [1, 0]])
    assert [text.get_text() for text in axis.get_xticklabels()] == ["a", "\u2423b"]
    assert [text.get_text() for text in axis.get_yticklabels()] == ["one", "two"]


def test_amounts_are_bars_on_a_logarithmic_axis(shown):
    plots.amounts({"small": 0.01, "large": 500.0}, "megabytes", "title", "From 0.01 to 500.")
    ((figure, _),) = shown
    axis = figure.axes[0]
    assert axis.get_xscale() == "log"
    assert [bar.get_width() for bar in axis.patches] == [0.01, 500]
    assert axis.patches[0].get_y() > axis.patches[1].get_y()
    assert {text.get_text() for text in axis.texts} == {"0.01", "500"}


def test_the_head_explorer_shades_what_a_head_looks_at(tiny_models):
    lm, task = tiny_models["llama"], load_task("antonyms")
    panel = widgets.head_explorer(lm, {"antonyms": task}, (1, 2))
    _, shots, _, query, layer, head, view = panel.children
    shots.value, query.value = 1, 3
    text = plain(task, task.draw(1, 0), task.held_out[3].text)
    tokens = encode(lm.tokenizer, text)
    for layer.value, head.value in ((1, 2), (2, 0)):
        shares = heads.attention(lm, tokens)[layer.value, head.value, -1]
        told = re.findall(r"rgba\(213,94,0,([\d.]+)\)", view.value)
        assert [float(one) for one in told] == pytest.approx(shares.tolist(), abs=0.006)
    assert "live notebook" in repr(panel)


def test_every_claim_has_a_cell_and_a_right_prediction_a_star(shown):
    holds, partly, no = compare.VERDICTS
    rows = [("F1", "a", holds, True), ("F2", "a", partly, False), ("I1", "b", no, False)]
    rows.append(("I2", "b", "", False))
    board = pd.DataFrame(rows, columns=["claim", "topic", "verdict", "hit"])
    plots.verdicts(board, "title", "1 holds.")
    ((figure, _),) = shown
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.texts] == ["F1 ★", "F2", "I1", "I2"]
    assert [text.get_text() for text in axis.get_yticklabels()] == ["a", "b"]
    colours = [patch.get_edgecolor() for patch in axis.patches]
    assert len(set(colours)) == 4
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == [f"{verdict} (1)" for verdict in compare.VERDICTS]


def test_the_decision_explorer_shows_what_the_function_decides():
    leads = dict.fromkeys(decision.MISSING, (0.3, 0.2, 0.4))
    found = decision.Found(leads, kept=2000, anew=60, cache=1, counting=190, least=8, room=8000)
    panel = widgets.decision_explorer(found)
    *controls, view = panel.children
    assert "<b>fine-tune</b>" in view.value and "03_same_examples_two_ways.ipynb" in view.value
    controls[5].value = "a skill"
    controls[0].value = 200
    assert "<b>TF-IDF first</b>" in view.value
    controls[5].value = "a code and a style"
    assert "<b>both</b>" in view.value and "08_better_together.ipynb" in view.value
    controls[4].value = False
    assert "<b>kept prompt</b>" in view.value
    controls[3].value = 1000
    assert "<b>prompt</b>" in view.value and "do not fit" in view.value
    controls[1].value, controls[2].value = 3, 7
    controls[4].value, controls[5].value = True, "a style"
    job = decision.Job(*(control.value for control in controls))
    for reason in decision.decide(job, found).reasons:
        assert html.escape(reason.text) in view.value
    assert repr(panel) == "An explorer of decisions, in a live notebook."

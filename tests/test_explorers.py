"""Explorers show what the functions behind them say, and follow their controls."""

import html
import json
import re

import ipywidgets as w
import pandas as pd
import pytest
from test_compare import rows_of
from test_finetune import EXAMPLES, TASK

from helpers import compare, widgets
from helpers.data import load_rows, load_task
from helpers.finetune import encode_examples, token_losses
from helpers.prompts import encode, plain
from helpers.scoring import next_tokens
from lessons import (
    heads,
    l00_start,
    l01_in_context,
    l02_fine_tuning,
    l03_same_examples,
    l04_costs,
    l05_memory,
    l08_clinic,
    l09_inside,
    l10_decision,
    letters,
)
from lessons import l07_uses as uses

RESULTS = rows_of(
    **{"zero-shot": {0: [[1, 0, 0, 0]]}, "prompt": {8: [[1, 0, 0, 0], [0, 0, 0, 0]]}},
    weights={8: [[1, 1, 0, 0], [1, 1, 1, 0]], 32: [[1, 1, 1, 1], [1, 1, 1, 0]]},
)


@pytest.fixture
def tiny(tiny_models):
    return tiny_models["llama"]


# The controls


def test_controls_are_made_from_what_they_start_with_and_the_view_follows():
    panel = widgets.explorer(
        lambda **values: str(list(values.values())), "A sentence.",
        a_list=["x", "y"], named={"one": 1, "two": 2}, steps=range(2, 6), at=(4, range(9)),
        said="hello", own=True, whole=(3, 1, 9), real=(0.5, 0.0, 1.0),
    )  # fmt: skip
    *controls, view = panel.children
    kinds = [w.Dropdown, w.Dropdown, w.IntSlider, w.IntSlider, w.Textarea, w.Checkbox]
    assert [type(control) for control in controls] == [*kinds, w.BoundedIntText, w.BoundedFloatText]
    assert view.value == str(["x", 1, 2, 4, "hello", True, 3, 0.5])
    assert [control.description for control in controls][:2] == ["a list", "named"]
    assert (controls[2].min, controls[2].max) == (2, 5)
    controls[1].index, controls[2].value = 1, 5
    assert view.value.startswith(str(["x", 2, 5, 4])[:-1])
    assert repr(panel) == "A sentence." and "explorer" in panel._dom_classes


def test_a_control_that_depends_on_another_is_renewed_with_it():
    choices = {"a": ["a1", "a2"], "b": ["b1"]}
    panel = widgets.explorer(
        lambda first, second, number: f"{first} {second} {number}", "A sentence.",
        first=list(choices), second=lambda first: choices[first],
        number=lambda first: (1, 1, len(choices[first])),
    )  # fmt: skip
    first, second, number, view = panel.children
    second.value, number.value = "a2", 2
    assert view.value == "a a2 2"
    first.value = "b"
    assert view.value == "b b1 1" and number.max == 1 and second.options == ("b1",)


def test_the_view_is_pale_while_it_is_drawn_and_stays_where_that_fails():
    seen = []

    def show(number):
        seen.append(panel.children[-1].value if seen else "")
        return f"<b>{1 / number:.1f}</b>"

    panel = widgets.explorer(show, "A sentence.", number=(1, 0, 9))
    number, view = panel.children
    number.value = 2
    assert "aria-busy" in seen[1] and "<b>1.0</b>" in seen[1] and view.value == "<b>0.5</b>"
    with pytest.raises(ZeroDivisionError):
        number.value = 0
    assert view.value == "<b>0.5</b>"


def test_what_stands_in_a_table_is_text():
    assert "<td>a &lt;b&gt;</td>" in widgets.rows_table([["a <b>", 1]], ["one", "two"])
    assert "<td>0.250</td>" in widgets.bars({"<": 0.25}) and "&lt;" in widgets.bars({"<": 0.25})


# Lesson by lesson


def test_the_next_token_explorer_shows_the_likeliest(tiny):
    text, count, view = l00_start.next_token_explorer(tiny, "a cold").children
    text.value, count.value = "hot ->", 5
    assert view.value == widgets.bars(next_tokens(tiny, "hot ->", 5))
    text.value = ""
    assert view.value == widgets.bars(next_tokens(tiny, "\n", 5))


def test_the_prompt_explorer_shows_the_prompt_as_it_is_chosen(tiny):
    tasks = {name: load_task(name) for name in ("category", "plurals")}
    panel = l01_in_context.prompt_explorer(tiny, tasks, max_shots=3)
    task, shots, seed, order, query, view = panel.children
    shots.value, seed.value, order.value = 2, 1, "reversed"
    shown = tasks["category"].draw(2, 1)[::-1]
    written = plain(tasks["category"], shown, query.value.text)
    assert html.escape(written) in view.value and f"<b>{query.value.label}</b>" in view.value
    task.value = "plurals"
    assert query.value in tasks["plurals"].held_out
    assert html.escape(plain(tasks["plurals"], [], query.value.text)) in view.value


def test_the_loss_explorer_marks_what_the_loss_counts(tiny):
    panel = l02_fine_tuning.loss_explorer({"before": tiny, "after": tiny}, TASK, EXAMPLES[:3])
    choice, view = panel.children
    for i, encoded in enumerate(encode_examples(tiny, TASK, EXAMPLES[:3])):
        choice.index = i
        shown = re.findall(r"<span style='color:(#\w+)'>([\d.]+)<br>([\d.]+)</span>", view.value)
        colours, first, second = zip(*shown, strict=True)
        losses = token_losses(tiny, encoded).tolist()
        assert list(map(float, first)) == pytest.approx(losses, abs=0.06) and first == second
        counted = [colour == "#D55E00" for colour in colours]
        assert counted == [i >= encoded.start for i in range(1, len(encoded.tokens))]
    assert "live notebook" in repr(panel)


def test_the_comparison_explorer_tells_the_paired_difference():
    panel = l03_same_examples.comparison_explorer({"job": RESULTS})
    _, first, second, shots, view = panel.children
    assert (first.value, second.value, shots.value) == ("weights", "prompt", 8)
    said = str(compare.difference(RESULTS, "weights", "prompt", shots=8))
    assert said in view.value and said in repr(panel)
    assert re.findall(r"title='([\d.]+)'", view.value) == ["0.50", "0.75", "0.25", "0.00"]
    second.value = "zero-shot"
    assert "mean 0.25" in view.value
    shots.value, second.value = 32, "prompt"
    assert "hold nothing of shots 32" in view.value


def test_the_cost_explorer_follows_the_learners_prices():
    panel = l04_costs.cost_explorer()
    *controls, view = panel.children
    fields = {control.description: control for control in controls}
    assert "Example numbers" in view.value and "live notebook" in repr(panel)
    given = {"queries a day": 100, "demonstrations": 10, "tokens each": 40}
    given |= {"price of a million tokens": 2, "price of a GPU hour": 3, "GPU hours of training": 2}
    given |= {"share of it for kept tokens": 0.25, "GPU hours of serving a day": 10}
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


def test_the_lookup_explorer_shows_the_likest_lines_and_tells_one_where_no_kernel_runs():
    lines = l05_memory.written_out(load_rows("invented_facts"))
    panel = l05_memory.lookup_explorer(lines, l05_memory.likeness, "Who keeps the archive?")
    assert "archive" in repr(panel) and repr(panel).endswith(".")
    question, view = panel.children
    question.value = "the silent fan"
    assert "Bluebell" in html.unescape(view.value).split("</tr>")[1]


def test_the_letter_explorer_shows_what_was_written_and_what_it_breaks():
    cells, rows = {"plain": ("t", "nothing"), "shown": ("t", "demonstrations")}, []
    for d in range(2):
        asked = letters.asked(letters.draw(d))
        right = [letters.write(doctor, note) for doctor, note in asked]
        for prompt, said in (("nothing", ["Dear all"] * len(asked)), ("demonstrations", right)):
            row = {"way": "t", "prompt": prompt, "draw": d, "seed": 0, "measure": "both"}
            rows.append(row | {"said": json.dumps(said)})
    doctor, note, view = l08_clinic.letter_explorer(pd.DataFrame(rows), cells).children
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

    items = {"mail": [item("a"), item("b")], "codes": [item("c")]}
    use, number, view = uses.use_explorer(items).children
    number.value = 2
    text = html.unescape(view.value)
    assert "b asked" in text and "<td>b wanted</td>" in text and "a asked" not in text
    assert "<td>b by prompt</td><td>✓ all kept</td>" in text
    assert "&lt;b&gt; by weights</td><td>✗ short, sign</td>" in view.value
    use.value = "codes"
    assert number.value == number.max == 1 and "c asked" in view.value


def test_the_head_explorer_shades_what_a_head_looks_at_from_any_token(tiny):
    texts = {"short": "hot -> cold", "long": "a cold hot cold hot line"}
    panel = l09_inside.head_explorer(tiny, texts, (1, 2))
    text, back, layer, head, view = panel.children
    for values in (("short", 0, 1, 2), ("long", 0, 2, 0), ("long", 2, 0, 3)):
        text.value, back.value, layer.value, head.value = values
        tokens = encode(tiny.tokenizer, texts[values[0]])
        at = len(tokens) - 1 - values[1]
        shares = heads.attention(tiny, tokens)[layer.value, head.value, at]
        shades = re.findall(r"rgba\(213,94,0,([\d.]+)\)", view.value)
        assert list(map(float, shades)) == pytest.approx(shares.tolist(), abs=0.006)
    assert "layer 1, head 2, from the last token to " in repr(panel) and len(repr(panel)) < 110


def test_the_verdict_explorer_judges_as_the_rule_does():
    panel = l10_decision.verdict_explorer()
    mean, half, view = panel.children
    assert "<b>undecided</b>" in view.value and "draws, not 10" in view.value
    for mean.value, half.value, outcome in ((20, 5, "supported"), (2, 5, "contradicted")):
        assert f"<b>{outcome}</b>" in view.value and "draws" not in view.value
    half.value, mean.value = 30, 10
    assert "It would take 90 draws" in view.value
    assert repr(panel) == "An explorer of verdicts on ten draws, in a live notebook."

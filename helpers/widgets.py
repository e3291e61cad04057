"""Interactive explorers over the functions of the other modules; no logic of their own.

A stored notebook shows one plain sentence where a widget stands, so it stays readable without a
kernel.
"""

from collections.abc import Mapping, Sequence
from html import escape

import ipywidgets as w
import numpy as np
import pandas as pd
from scipy.special import softmax

from helpers import compare
from helpers.data import Task, texts
from helpers.model import LanguageModel
from helpers.prompts import count_tokens, nearest, plain
from helpers.scoring import next_tokens, score_labels

NARROW = {"description_width": "90px"}


class Panel(w.VBox):
    """A box of widgets that is one plain sentence where no kernel runs."""

    def __init__(self, children: Sequence[w.Widget], sentence: str):
        super().__init__(list(children))
        self.sentence = sentence

    def __repr__(self) -> str:
        return self.sentence


def predict(question: str, options: Sequence[str]) -> Panel:
    """Ask for a guess before the measurement and record it as soon as it is chosen."""
    choice = w.RadioButtons(
        options=options, value=compare.predictions().get(question), layout={"width": "auto"}
    )
    note = w.Label()

    def record(change):
        compare.record_prediction(question, change["new"])
        note.value = "Recorded. Now measure it."

    choice.observe(record, names="value")
    return Panel(
        [w.HTML(f"<b>{escape(question)}</b>"), choice, note],
        "A question for you, with buttons in a live notebook.",
    )


def predict_claims(claims: pd.DataFrame) -> Panel:
    """Buttons for each claim (columns id, topic, claim), by topic; each choice is recorded."""
    known = compare.predictions()
    count = w.Label()

    def record(change):
        compare.record_prediction(change["owner"].claim, change["new"])
        tell()

    def tell():
        done = len(set(compare.predictions()) & set(claims["id"]))
        count.value = f"{done} of {len(claims)} claims predicted."

    def row(claim) -> w.Widget:
        buttons = w.ToggleButtons(
            options=compare.VERDICTS, value=known.get(claim.id), style={"button_width": "190px"}
        )
        buttons.claim = claim.id
        buttons.observe(record, names="value")
        return w.VBox([w.HTML(f"<b>{claim.id}</b> {escape(claim.claim)}"), buttons])

    topics = claims.groupby("topic", sort=False)
    boxes = w.Accordion(
        [w.VBox([row(claim) for claim in group.itertuples()]) for _, group in topics]
    )
    boxes.titles = [f"{topic} ({len(group)})" for topic, group in topics]
    tell()
    return Panel(
        [boxes, count], "The 28 claims, with buttons for your predictions in a live notebook."
    )


def next_token_explorer(lm: LanguageModel, prompt: str) -> Panel:
    """Type any text and see which tokens the model holds likely next."""
    text = w.Textarea(
        prompt, description="prompt", style=NARROW, layout={"width": "95%", "height": "90px"}
    )
    top = w.IntSlider(8, 3, 20, description="tokens", style=NARROW, continuous_update=False)
    view = w.HTML()
    text.continuous_update = False

    def update(_=None):
        view.value = _bars(next_tokens(lm, text.value or "\n", top.value))

    return _explorer([text, top], view, update, "An explorer of next tokens, in a live notebook.")


def prompt_explorer(lm: LanguageModel, tasks: Mapping[str, Task], max_shots: int = 16) -> Panel:
    """Choose task, shots, seed, order and query; see the prompt, its length and the probabilities.

    An open task shows the likeliest next tokens, a task with labels the probability of each label.
    """
    name = w.Dropdown(options=list(tasks), description="task", style=NARROW)

    def queries() -> list[str]:
        return texts(tasks[name.value].held_out[:30])

    shots = w.IntSlider(4, 0, max_shots, description="shots", style=NARROW, continuous_update=False)
    seed = w.IntSlider(0, 0, 9, description="seed", style=NARROW, continuous_update=False)
    order = w.Dropdown(
        options=["as drawn", "reversed", "nearest last"], description="order", style=NARROW
    )
    query = w.Dropdown(options=queries(), description="query", style=NARROW)
    view = w.HTML()

    def new_task(_):
        query.options = queries()

    def update(_=None):
        task = tasks[name.value]
        drawn = task.draw(shots.value, seed.value)
        if order.value == "reversed":
            drawn = drawn[::-1]
        elif order.value == "nearest last" and drawn:
            drawn = nearest(drawn, len(drawn))(query.value)
        prompt = plain(task, drawn, query.value)
        if task.labels:
            share = softmax(score_labels(lm, task, drawn, [query.value])[0])
            told = {task.labels[i]: share[i] for i in np.argsort(-share)}
        else:
            told = next_tokens(lm, prompt)
        truth = next(e.label for e in task.held_out if e.text == query.value)
        view.value = (
            f"<p>{count_tokens(lm.tokenizer, prompt)} tokens; right answer: "
            f"<b>{escape(truth)}</b></p><pre style='border:1px solid "
            f"#999;padding:6px;max-height:240px;overflow:auto'>{escape(prompt)}</pre>" + _bars(told)
        )

    name.observe(new_task, names="value")
    return _explorer(
        [name, shots, seed, order, query],
        view,
        update,
        "An explorer of prompts, in a live notebook.",
    )


def _explorer(controls: Sequence[w.Widget], view: w.Widget, update, sentence: str) -> Panel:
    """Controls over one view that is drawn anew whenever a control moves."""
    for control in controls:
        control.observe(update, names="value")
    update()
    panel = Panel([*controls, view], sentence)
    panel.add_class("explorer")
    return panel


def _bars(probabilities: Mapping[str, float]) -> str:
    """Bars as HTML: quicker than a figure, and readable by a screen reader."""
    cell = "text-align:right;font-family:monospace;white-space:pre"
    bar = "background:#0072B2;height:12px"
    rows = "".join(
        f"<tr><td style='{cell}'>{escape(repr(text))}</td>"
        f"<td><div style='{bar};width:{300 * p:.0f}px'></div></td><td>{p:.3f}</td></tr>"
        for text, p in probabilities.items()
    )
    return f"<table>{rows}</table>"

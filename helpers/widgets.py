"""Interactive explorers over the functions of the other modules; no logic of their own.

A stored notebook shows one plain sentence where a widget stands, so it stays readable without a
kernel.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from inspect import signature

import ipywidgets as w
import numpy as np
from scipy.special import softmax

from helpers import claims
from helpers.data import Task


class Panel(w.VBox):
    """A box of widgets that is one plain sentence where no kernel runs."""

    def __init__(self, children: Sequence[w.Widget], sentence: str):
        super().__init__(list(children))
        self.sentence = sentence

    def __repr__(self) -> str:
        return self.sentence

    def _repr_mimebundle_(self, **options: object) -> dict[str, str]:
        return super()._repr_mimebundle_(**options) | {"text/plain": self.sentence}  # never cut


def predict(question: str, options: Sequence[str]) -> Panel:
    """Ask for a guess before the measurement and record it as soon as it is chosen."""
    said = claims.predictions().get(question)
    choice = w.RadioButtons(
        options=options,
        value=said if said in options else None,  # an older record may have other words
        layout={"width": "auto"},
    )
    note = w.Label()

    def record(change):
        claims.record_prediction(question, change["new"])
        note.value = "Recorded. Now measure it."

    choice.observe(record, names="value")
    return Panel(
        [w.HTML(f"<b>{escape(question)}</b>"), choice, note],
        "A question for you, with buttons in a live notebook.",
    )


def commit(question: str, numbers: range) -> Panel:
    """Ask for a number before the measurement; `recall` brings it back beneath it."""
    slider = w.IntSlider(description="I say", min=numbers[0], max=numbers[-1], step=numbers.step)
    button, note = w.Button(description="Commit"), w.Label()

    def record(_) -> None:
        claims.record_prediction(question, str(slider.value))
        note.value = "Recorded. Now measure it."

    button.on_click(record)
    return Panel(
        [w.HTML(f"<b>{escape(question)}</b>"), w.HBox([slider, button]), note],
        f"{question} In a live notebook you commit to a number here.",
    )


def recall(question: str, measured: float) -> None:
    """Print the number that was committed to, beside the measured one, and keep this."""
    claims.keep("measured.json", question, float(measured))
    said = claims.predictions().get(question)
    before = f"You said {said}" if said else "You committed to no number"
    print(f"{before}; it was {measured:g}.")


# Explorers: controls over one view


def explorer(show: Callable[..., str], sentence: str, **controls: object) -> Panel:
    """Controls over one view, which is drawn anew whenever a control moves, and pale meanwhile.

    `show(**values)` gives the view as HTML. A control is made from what it starts with: a list or
    a dict (from names to values) becomes a list to choose from, a range a slider, and so does
    `(start, range)`; a text, a number or a yes or no a field of its kind, and `(start, low, high)`
    a number between bounds. A function of earlier controls' values gives such a thing again
    whenever these move. `sentence` stands where no kernel runs.
    """
    made, changing = {}, {}
    view = w.HTML()

    def values() -> dict[str, object]:
        return {name: control.value for name, control in made.items()}

    def start(name: str, wanted: Callable) -> object:
        return wanted(*(made[earlier].value for earlier in signature(wanted).parameters))

    for name, wanted in controls.items():
        if callable(wanted):
            changing[name], wanted = wanted, start(name, wanted)
        made[name] = _control(name.replace("_", " "), wanted)

    def update(change=None):
        if change:
            for name, wanted in changing.items():
                if made[name] is not change["owner"]:
                    _renew(made[name], start(name, wanted))
        if None not in values().values():
            _draw(view, partial(show, **values()))

    for control in made.values():
        control.observe(update, names="value")
    update()
    panel = Panel([*made.values(), view], sentence)
    panel.add_class("explorer")
    return panel


def _draw(view: w.HTML, show: Callable[[], str]) -> None:
    """Draw a view anew; it is pale meanwhile, and stays as it was where that fails."""
    before = view.value
    view.value = f"<div aria-busy='true' style='opacity:0.4'>{before}</div>"
    try:
        view.value = show()
    except BaseException:
        view.value = before
        raise


def _control(name: str, start: object) -> w.Widget:
    """The control that suits what it starts with: see `explorer`."""
    given = {"description": name, "style": {"description_width": "initial"}}
    if isinstance(start, list | dict):
        options = start if isinstance(start, list) else list(start.items())
        return w.Dropdown(options=options, **given)
    if isinstance(start, range):
        start = (start[0], start)
    if isinstance(start, tuple) and isinstance(start[1], range):
        bounds = {"min": start[1][0], "max": start[1][-1], "step": start[1].step}
        return w.IntSlider(start[0], continuous_update=False, **bounds, **given)
    if isinstance(start, bool):
        return w.Checkbox(start, **given)
    if isinstance(start, str):
        wide = {"width": "95%", "height": "90px"}
        return w.Textarea(start, continuous_update=False, layout=wide, **given)
    first, low, high = start
    kind = w.BoundedIntText if isinstance(first, int) else w.BoundedFloatText
    return kind(first, min=low, max=high, **given)


def _renew(control: w.Widget, start: object) -> None:
    """Give a control other things to choose from, or other bounds."""
    if isinstance(control, w.Dropdown):
        options = tuple(start if isinstance(start, list) else start.items())
        if control.options != options:
            control.options = options
    elif control.max != start[2]:
        control.value, control.max = start[0], start[2]


def bars(probabilities: Mapping[str, float]) -> str:
    """Bars as HTML: quicker than a figure, and readable by a screen reader."""
    cell = "text-align:right;font-family:monospace;white-space:pre"
    bar = "background:#0072B2;height:12px"
    rows = "".join(
        f"<tr><td style='{cell}'>{escape(repr(text))}</td>"
        f"<td><div style='{bar};width:{300 * p:.0f}px'></div></td><td>{p:.3f}</td></tr>"
        for text, p in probabilities.items()
    )
    return f"<table>{rows}</table>"


def rows_table(rows: Sequence[Sequence[object]], head: Sequence[str] = ()) -> str:
    """A table as HTML; what stands in its cells is text and no HTML."""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table cellpadding='4'><tr>{top}</tr>{body}</table>"


def label_shares(task: Task, scores: np.ndarray) -> dict[str, float]:
    """The share of each label from its scores [labels], the likeliest first."""
    shares = softmax(scores)
    return {task.labels[i]: float(shares[i]) for i in np.argsort(-shares)}

"""Interactive explorers over the functions of the other modules; no logic of their own.

A stored notebook shows one plain sentence where a widget stands, so it stays readable without a
kernel.
"""

import json
from collections.abc import Mapping, Sequence
from html import escape

import ipywidgets as w
import numpy as np
import pandas as pd
from scipy.special import softmax

from helpers import compare, cost, decision
from helpers.data import DataError, Example, Task, texts
from helpers.finetune import encode_examples, token_losses
from helpers.model import LanguageModel
from helpers.prompts import count_tokens, encode, nearest, plain
from helpers.scoring import next_tokens, score_labels, score_options
from lessons import facts
from lessons import heads
from lessons import letters
from lessons import l06_misleading as misleading
from lessons import l07_uses as uses

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


def loss_explorer(
    models: Mapping[str, LanguageModel], task: Task, examples: Sequence[Example]
) -> Panel:
    """Choose an example; see its tokens, and for each model what each of them costs in nats.

    The tokens that the training loss counts are orange, the others grey.
    """
    asked = w.Dropdown(
        options=texts(examples), description="example", style=NARROW, layout={"width": "95%"}
    )
    view = w.HTML()

    def update(_=None):
        example = examples[asked.index]
        lm = next(iter(models.values()))
        (encoded,) = encode_examples(lm, task, [example])
        told = [token_losses(one, encoded) for one in models.values()]
        boxes = [
            _box(lm.tokenizer.decode([token]), [loss[i] for loss in told], i + 1 >= encoded.start)
            for i, token in enumerate(encoded.tokens[1:])
        ]
        view.value = (
            f"<p>Below each token: -log p in nats, {escape(', then '.join(models))}. The loss "
            f"counts the orange ones.</p>{''.join(boxes)}"
        )

    return _explorer([asked], view, update, "An explorer of the loss, in a live notebook.")


def _box(token: str, losses: Sequence[float], counted: bool) -> str:
    """A token over its losses."""
    colour = "#D55E00" if counted else "#767676"
    numbers = "<br>".join(f"{loss:.1f}" for loss in losses)
    return (
        f"<span style='display:inline-block;margin:2px;padding:2px 4px;text-align:center;"
        f"border-top:4px solid {colour};font-family:monospace;white-space:pre;line-height:1.3'>"
        f"{escape(repr(token)[1:-1])}<br><span style='color:{colour}'>{numbers}</span></span>"
    )


def comparison_explorer(results: Mapping[str, pd.DataFrame]) -> Panel:
    """Choose a result, two methods and a number of examples; see each draw and the difference."""
    name = w.Dropdown(options=list(results), description="task", style=NARROW)
    first, second, shots = (
        w.Dropdown(description=text, style=NARROW) for text in ("method", "against", "examples")
    )
    view = w.HTML()

    def new_task(_=None):
        table = results[name.value]
        methods = list(dict.fromkeys(table["method"]))
        sizes = sorted(set(table["shots"]) - {0})
        for control, options in ((first, methods), (second, methods), (shots, sizes)):
            control.options = options
        first.value = "lora" if "lora" in methods else methods[0]
        second.value = "in-context" if "in-context" in methods else methods[-1]
        shots.value = sizes[0]

    def update(_=None):
        table = results[name.value]
        if None in (first.value, second.value, shots.value):
            return  # in the middle of a change of task
        try:
            told = compare.difference(table, first.value, second.value, shots.value)
        except DataError as error:
            view.value = f"<p>{escape(str(error))}</p>"
            return
        rows = "".join(
            _dots(method, compare.right(table, method, shots.value).mean(1))
            for method in (first.value, second.value)
        )
        view.value = (
            f"<p><b>{escape(first.value)}</b> minus <b>{escape(second.value)}</b>: "
            f"{escape(str(told))}, worst {told.worst:+.2f}</p><table>{rows}</table>"
        )

    name.observe(new_task, names="value")
    new_task()
    return _explorer(
        [name, first, second, shots],
        view,
        update,
        "An explorer of comparisons, in a live notebook.",
    )


def fault_explorer(lm: LanguageModel, task: Task, shots: int = 8) -> Panel:
    """Choose a fault, a draw and an order; see the prompt and what the model answers."""
    fault = w.Dropdown(options=misleading.FAULTS, description="fault", style=NARROW)
    seed = w.IntSlider(0, 0, 9, description="draw", style=NARROW, continuous_update=False)
    order = w.Dropdown(options=["as drawn", "reversed"], description="order", style=NARROW)
    query = w.Dropdown(options=texts(task.held_out[:30]), description="query", style=NARROW)
    view = w.HTML()

    def update(_=None):
        style = misleading.faulty(task, fault.value)
        drawn = task.draw(shots, seed.value)[:: -1 if order.value == "reversed" else 1]
        share = softmax(score_labels(lm, task, drawn, [query.value], style)[0])
        truth = next(e.label for e in task.held_out if e.text == query.value)
        view.value = (
            f"<p>Right answer: <b>{escape(truth)}</b></p><pre style='border:1px solid #999;"
            f"padding:6px'>{escape(style(task, drawn, query.value))}</pre>"
            + _bars({task.labels[i]: share[i] for i in np.argsort(-share)})
        )

    controls = [fault, seed, order, query]
    return _explorer(controls, view, update, "An explorer of faults, in a live notebook.")


def recall_explorer(
    ways: Mapping[str, tuple[LanguageModel, Sequence[Example]]], known: Sequence[dict]
) -> Panel:
    """Choose a fact and how to ask for it; see what each way of teaching holds of the answers.

    `ways` maps a name to a model and to what stands in its prompt.
    """
    fact = w.Dropdown(options=[one["id"] for one in known], description="fact", style=NARROW)
    asked = w.Dropdown(options=facts.WAYS, description="asked", style=NARROW)
    view = w.HTML()

    def update(_=None):
        one = known[fact.index]
        question, answers = facts.question(one, asked.value)
        told = ""
        for name, (lm, shown) in ways.items():
            scores = score_options(lm, facts.TASK, list(shown), [question], [answers])[0]
            told += f"<p><b>{escape(name)}</b></p>"
            told += _bars(dict(zip(answers, softmax(scores), strict=True)))
        right = f"right: <b>{escape(answers[0])}</b>"
        view.value = f"<p>{escape(question)} … ({right})</p>{told}"

    return _explorer([fact, asked], view, update, "An explorer of recall, in a live notebook.")


def head_explorer(lm: LanguageModel, tasks: Mapping[str, Task], start: heads.Head) -> Panel:
    """Choose a task, a draw, a query, a layer and a head; see what it looks at from the last token.

    `start` is the head that is shown first.
    """
    name = w.Dropdown(options=list(tasks), description="task", style=NARROW)
    fixed = {"style": NARROW, "continuous_update": False}
    shots = w.IntSlider(4, 1, 8, description="shots", **fixed)
    seed = w.IntSlider(0, 0, 9, description="draw", **fixed)
    query = w.IntSlider(0, 0, 9, description="query", **fixed)
    last, count = len(heads.layers(lm)) - 1, lm.model.config.num_attention_heads
    layer = w.IntSlider(start[0], 0, last, description="layer", **fixed)
    head = w.IntSlider(start[1], 0, count - 1, description="head", **fixed)
    view, seen = w.HTML(), {}

    def update(_=None):
        task, key = tasks[name.value], (name.value, shots.value, seed.value, query.value)
        asked = task.held_out[query.value].text
        tokens = encode(lm.tokenizer, plain(task, task.draw(shots.value, seed.value), asked))
        if key not in seen:
            seen.clear()
            seen[key] = heads.attention(lm, tokens)[:, :, -1]
        shares = seen[key][layer.value, head.value]
        shaded = zip(tokens, shares, strict=True)
        view.value = "".join(_shaded(lm.tokenizer.decode([one]), share) for one, share in shaded)

    controls = [name, shots, seed, query, layer, head]
    return _explorer(controls, view, update, "An explorer of attention, in a live notebook.")


def _shaded(token: str, share: float) -> str:
    """A token on a ground that is the darker, the more is looked at it, with the share below."""
    text = f"{share:.2f}".removeprefix("0") if share >= 0.05 else "&nbsp;"
    visible = escape(token).replace("\n", "\\n")
    return (
        f"<span style='display:inline-block;margin:1px;padding:1px 3px;text-align:center;"
        f"font-family:monospace;white-space:pre;background:rgba(213,94,0,{share:.2f})'>{visible}"
        f"<br><small>{text}</small></span>"
    )


def _dots(name: str, accuracies: Sequence[float]) -> str:
    """One dot for each draw on a line from 0 to 1."""
    dot = "position:absolute;top:3px;width:8px;height:8px;border-radius:4px;background:#0072B2"
    dots = "".join(
        f"<span title='{value:.2f}' style='{dot};opacity:.6;left:{300 * value:.0f}px'></span>"
        for value in accuracies
    )
    line = "position:relative;width:310px;height:14px;border-bottom:1px solid #999"
    return (
        f"<tr><td style='text-align:right'>{escape(name)}</td><td><div style='{line}'>{dots}</div>"
        f"</td><td>mean {np.mean(accuracies):.2f}</td></tr>"
    )


def cost_explorer() -> Panel:
    """Give a job's size and your own prices; see what each way costs, and when weights pay off."""
    wide = {"description_width": "230px"}
    box = {"style": wide, "layout": {"width": "360px"}}
    shots = w.BoundedIntText(32, 1, 10_000, description="demonstrations (shots)", **box)
    shot_tokens = w.BoundedIntText(40, 1, 100_000, description="tokens per demonstration", **box)
    per_day = w.BoundedIntText(10_000, 1, 10**9, description="queries a day", **box)
    default = cost.Prices()
    names = {
        "token": "price of a million tokens",
        "kept": "share of it for kept tokens",
        "gpu_hour": "price of a GPU hour",
        "training_hours": "GPU hours of training",
        "serving_hours": "GPU hours of serving, a day",
    }
    prices = [
        w.BoundedFloatText(getattr(default, key), min=0, max=1e6, description=name, **box)
        for key, name in names.items()
    ]
    view = w.HTML()

    def update(_=None):
        paid = cost.Prices(*(price.value for price in prices))
        bills = cost.bills(shots.value, shot_tokens.value, per_day.value, paid)
        best = cost.cheapest(bills, 30 * per_day.value)
        rows = "".join(
            f"<tr><td>{way}{' ★' if way == best else ''}</td><td>{once:,.4g}</td>"
            f"<td>{each * 1000:,.4g}</td><td>{once + each * 30 * per_day.value:,.2f}</td></tr>"
            for way, (once, each) in bills.items()
        )
        told = "".join(
            f"<p>Weights against the {way}: "
            f"{_pays_off(cost.break_even(*bills['weights'], *bills[way]), per_day.value)}</p>"
            for way in bills
            if way != "weights"
        )
        view.value = (
            "<p>Example numbers: put in your own.</p><table><tr><th>way</th><th>once</th>"
            f"<th>1,000 queries</th><th>30 days</th></tr>{rows}</table>{told}"
        )

    controls = [shots, shot_tokens, per_day, *prices]
    return _explorer(controls, view, update, "An explorer of costs, in a live notebook.")


def _pays_off(queries: float, per_day: int) -> str:
    if queries == np.inf:
        return "never cheaper at so many queries a day."
    return f"cheaper from query {queries:,.0f} on, after {queries / per_day:,.1f} days."


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


def letter_explorer(results: pd.DataFrame, cells: Mapping[str, tuple[str, str]]) -> Panel:
    """Choose doctor and note of a stored result of the clinic; see every cell's letter and the
    rules that it breaks.

    `cells` maps a name to a training and a prompt of the result; letters are those of seed 0.
    """
    visits = [visit for d in sorted(set(results["draw"])) for visit in letters.draw(d)]
    asked = letters.asked(visits)
    said = {}
    for name, (training, prompt) in cells.items():
        rows = results[(results["training"] == training) & (results["prompt"] == prompt)]
        rows = rows[(rows["measure"] == "both") & (rows["seed"] == 0)].sort_values("draw")
        said[name] = [letter for some in rows["said"] for letter in json.loads(some)]
    names = [f"{i + 1}: Dr {visit.doctor['doctor']}" for i, visit in enumerate(visits)]
    doctor = w.Dropdown(options=names, description="doctor", style=NARROW)
    number = w.IntSlider(1, 1, letters.NOTES, description="note", style=NARROW)
    view = w.HTML()

    def update(_=None):
        place = doctor.index * letters.NOTES + number.value - 1
        style, note = asked[place]
        shown = "<br>".join(escape(e.label) for e in visits[doctor.index].demonstrations)
        told = [("right", letters.write(style, note))]
        told += [(name, written[place]) for name, written in said.items()]
        rows = ""
        for name, letter in told:
            broken = [rule for rule, kept in letters.rules(style, note, letter).items() if not kept]
            verdict = f"✗ {', '.join(broken)}" if broken else "✓ all rules kept"
            cells_ = (name, letter, verdict)
            rows += "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells_) + "</tr>"
        head = f"<p>Letters by this doctor:<br>{shown}</p><p>Note: <b>{escape(str(note))}</b></p>"
        view.value = f"{head}<table cellpadding='4'>{rows}</table>"

    return _explorer([doctor, number], view, update, "An explorer of letters, in a live notebook.")


def use_explorer(found: Mapping[str, Sequence[uses.Item]]) -> Panel:
    """Choose a use and an item; see what each way wrote and which rules it breaks.

    `found` holds the items of each use, as `uses.items` reads them from stored results.
    """
    use = w.Dropdown(options=list(found), description="use", style=NARROW)
    number = w.BoundedIntText(1, 1, len(found[use.value]), description="item", style=NARROW)
    view = w.HTML()

    def new_use(_):
        number.value, number.max = 1, len(found[use.value])

    def update(_=None):
        item = found[use.value][number.value - 1]
        rows = f"<tr><td>wanted</td><td>{escape(item.wanted)}</td><td></td></tr>"
        for way, text in item.written.items():
            broken = [rule for rule, kept in item.kept[way].items() if not kept]
            verdict = f"✗ {', '.join(broken)}" if broken else "✓ all kept"
            cells = (way, text, verdict)
            rows += "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
        view.value = f"<p>{escape(item.asked)}</p><table cellpadding='4'>{rows}</table>"

    use.observe(new_use, names="value")
    return _explorer([use, number], view, update, "An explorer of replies, in a live notebook.")


def decision_explorer(found: decision.Found) -> Panel:
    """Answer six questions about a job; see a choice, its reasons and the lessons behind them."""
    wide = {"style": {"description_width": "270px"}, "layout": {"width": "480px"}}
    examples = w.BoundedIntText(64, 0, 10**6, description="labelled examples in hand", **wide)
    days = w.BoundedFloatText(
        30, min=0, max=36500, description="days until the task or the facts change", **wide
    )
    per_day = w.BoundedFloatText(200, min=0, max=1e9, description="queries a day", **wide)
    tokens = w.BoundedIntText(40, 1, 10**6, description="tokens of an example", **wide)
    own = w.Checkbox(True, description="the weights are mine (or it must work offline)", **wide)
    missing = w.Dropdown(options=decision.MISSING, description="what the model lacks", **wide)
    view = w.HTML()
    controls = [examples, days, per_day, tokens, own, missing]

    def update(_=None):
        told = decision.decide(decision.Job(*(one.value for one in controls)), found)
        reasons = "".join(
            f"<li>{escape(one.text)} (<a href='{one.lesson}.ipynb'>lesson {int(one.lesson[:2])}"
            "</a>)</li>"
            for one in told.reasons
        )
        view.value = f"<p><b>{escape(told.choice)}</b></p><ol>{reasons}</ol>"

    return _explorer(controls, view, update, "An explorer of decisions, in a live notebook.")

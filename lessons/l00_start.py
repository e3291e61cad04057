"""Lesson 0: its tables, figures and explorer, the predictions, and the checks of its exercises."""

import re
from collections.abc import Callable, Mapping, Sequence
from html import escape

import ipywidgets as w
import numpy as np
import pandas as pd
import torch
from IPython.display import display

from helpers import checks, claims, compare, model, plots
from helpers.data import Example, texts
from helpers.model import LanguageModel
from helpers.scoring import next_tokens
from helpers.widgets import Panel, bars, explorer

QUESTION = "After three examples, which way gets more of the new verbs right?"
WAYS = ("through the prompt", "through the weights", "about the same")
PLAIN = {  # what lesson 0 says for a word that comes later
    "the matrices that LoRA or full fine-tuning moves": "the weights that training moves",
    "checksum of the weights before and after": "all weights before and after",
    "zero-shot": "untaught",
    "adapter of the same 4": "weights trained on the same 4",
    "in a new offline process": "offline, after a restart",
    "in a new process": "after a restart",
}

# Tables and figures


def machine(lm: LanguageModel) -> pd.DataFrame:
    """What the course runs on."""
    return pd.Series(model.machine(lm), name="this machine").to_frame()


def show_likely(likely: Mapping[str, Mapping[str, float]]) -> None:
    """The likeliest next tokens after two beginnings, side by side."""
    (city, p), (other, q) = (next(iter(tokens.items())) for tokens in likely.values())
    plots.bars(
        likely,
        f"{p:.2f} for{city}; after an arrow no token has more than {q:.2f}",
        f"After the first text {city!r} has probability {p:.2f}; after the arrow the best token is "
        f"{other!r} with {q:.2f}.",
    )


def show_moving(lm: LanguageModel, moving: Mapping[str, torch.Tensor]) -> None:
    """How many of the model's weights may move."""
    count = sum(weight.numel() for weight in moving.values())
    print(f"{count:,} of {lm.model.num_parameters():,} weights may move")


def beside(
    answers: Mapping[str, Sequence[str]], asked: Sequence[Example], rows: int = 8
) -> pd.DataFrame:
    """The first answers of each way side by side, and what is right."""
    right = [example.label for example in asked]
    return pd.DataFrame({**answers, "right": right}, texts(asked)).head(rows)


def show_losses(losses: Sequence[float]) -> None:
    """The loss at every step of a training."""
    plots.line(
        losses,
        "training step",
        "loss (nats per token)",
        f"{len(losses)} steps take the loss from {losses[0]:.1f} to {losses[-1]:.3f}",
        f"The loss falls from {losses[0]:.2f} to {losses[-1]:.4f}.",
    )


def show_hits(hits: Mapping[str, Sequence[bool]]) -> None:
    """What each way gets right of the new verbs, with its interval."""
    asked, shares = len(hits["prompt"]), {way: np.mean(right) for way, right in hits.items()}
    figure = plots.whiskers_drawn(
        {"": {way: {way: compare.interval(right)} for way, right in hits.items()}},
        f"On new verbs: prompt {shares['prompt']:.2f}, weights {shares['weights']:.2f}",
        y=f"exact match on {asked} new verbs",
    )
    (axis,) = figure.axes
    axis.set_xticks([line.get_xdata()[0] for line, *_ in axis.containers], list(hits))
    figure.legends[0].remove()  # the ways stand below their points
    plots.show(
        figure,
        f"Of {asked} new verbs, the prompt gets {shares['prompt']:.0%} right and the weights "
        f"{shares['weights']:.0%}.",
    )


# Tokens and predictions


def next_token_explorer(lm: LanguageModel, prompt: str) -> Panel:
    """Type any text and see which tokens the model holds likely next."""

    def show(prompt: str, tokens: int) -> str:
        return bars(next_tokens(lm, prompt or "\n", tokens))

    sentence = "An explorer of next tokens, in a live notebook."
    return explorer(show, sentence, prompt=prompt, tokens=(8, range(3, 21)))


def goals(table: pd.DataFrame) -> pd.Series:
    """What would count as supported, in a few words, from a claim's contrast and its margin."""

    def goal(row) -> str:
        least = "at least " * bool(re.match(r"[\d.-]", row.margin))
        text = f"{row.contrast}: {least}{row.margin}" if row.margin else row.contrast
        for word, plain in PLAIN.items():
            text = text.replace(word, plain)
        return re.sub(r"(?<!\d)\.(?=\d)", "0.", text)

    return pd.Series([goal(row) for row in table.fillna("").itertuples()], table.index)


def show_claims() -> Panel:
    """All claims with what would support each, as a table, and buttons for predictions."""
    table = claims.claims()
    shown = table[["id", "topic", "claim"]].assign(goal=goals(table))
    shown = shown.rename(columns={"goal": "looked at, and what it must reach to be supported"})
    display(shown.style.hide(axis="index").set_properties(**{"text-align": "left"}))
    return predict_claims(table)


def predict_claims(table: pd.DataFrame) -> Panel:
    """Buttons for each claim, by topic, with what would support it; each choice is recorded."""
    table = table.assign(goal=goals(table))
    known = claims.predictions()
    count = w.Label()

    def record(change):
        claims.record_prediction(change["owner"].claim, change["new"])
        tell()

    def tell():
        done = len(set(claims.predictions()) & set(table["id"]))
        built, answered = sum(claims.kept("built.json").values()), len(claims.kept("answers.json"))
        count.value = (
            f"So far: {done} of {len(table)} claims predicted, pieces built: {built}, "
            f"questions answered: {answered}."
        )

    def row(claim) -> w.Widget:
        said = known.get(claim.id)
        buttons = w.ToggleButtons(
            options=claims.CHOICES,
            value=said if said in claims.CHOICES else None,  # older records have other words
            style={"button_width": "190px"},
        )
        buttons.claim = claim.id
        text = f"<b>{claim.id}</b> {escape(claim.claim)}<br><i>{escape(claim.goal)}</i>"
        buttons.observe(record, names="value")
        return w.VBox([w.HTML(text), buttons])

    topics = table.groupby("topic", sort=False)
    boxes = w.Accordion(
        [w.VBox([row(claim) for claim in group.itertuples()]) for _, group in topics]
    )
    boxes.titles = [f"{topic} ({len(group)})" for topic, group in topics]
    tell()
    return Panel(
        [boxes, count], "The 28 claims, with buttons for your predictions in a live notebook."
    )


def better(prompt: Sequence[bool], weights: Sequence[bool]) -> str:
    """Which way surely gets more right, in the words of the guess."""
    gap = compare.interval(np.subtract(weights, prompt, dtype=float)[None])
    way = compare.ahead(gap)
    return f"through the {way}" if way else WAYS[-1]


# Exercises


def check_recipe(
    rate: float | None,
    steps: int | None,
    answer: Callable[[float, int], list[str]],
    asked: Sequence[Example],
    goal: int,
) -> None:
    """Train by the learner's recipe; show what comes out for the verbs that are asked.

    A recipe that the loop cannot take, or that would train for minutes, is refused untried.
    """
    problem, praise, tried, said = None, "", None not in (rate, steps), []
    right = {example.text: example.label for example in asked}
    if tried:
        if not 0 < rate <= 0.1:
            problem = "take a rate above 0 and at most 0.1; above that, every weight is torn away."
        elif not 1 <= steps <= 40:
            problem = "take 1 to 40 steps; more would only wait."
        else:
            said = answer(rate, int(steps))
            count = sum(map(str.__eq__, said, right.values()))
            praise = f"{count} of {len(said)} new verbs come out right."
            problem = None if count >= goal else f"{praise} {goal} are asked for."
    checks.tell(tried, problem, praise)
    rows = zip(right, said, right.values(), strict=False)
    told = [
        f"{verb} -> {answered}{' (right)' * (answered == past)}" for verb, answered, past in rows
    ]
    print("; ".join(told), end="\n" * bool(told))


def check_likely_next(lm: LanguageModel, prompt: str | None, wanted: str) -> None:
    """Check that `wanted` is the likeliest next token after the learner's prompt."""
    problem, probability = None, 0.0
    if prompt:
        likely = next_tokens(lm, prompt)
        best, probability = next(iter(likely.items()))
        if wanted.strip() in prompt:
            problem = f"the prompt must not contain {wanted.strip()!r} itself."
        elif prompt != prompt.rstrip():
            problem = "the prompt ends with white space, but a word's token brings its own space."
        elif best != wanted:
            problem = f"the likeliest next token is {best!r} ({probability:.2f}), not {wanted!r}."
    checks.tell(
        bool(prompt), problem, f"{wanted!r} comes first, with probability {probability:.2f}."
    )

"""Lesson 0: the explorer of next tokens, the predictions, and the checks of its exercises."""

from collections.abc import Callable
from html import escape

import ipywidgets as w
import pandas as pd

from helpers import checks, claims
from helpers.model import LanguageModel
from helpers.scoring import next_tokens
from helpers.widgets import Panel, bars, explorer


def next_token_explorer(lm: LanguageModel, prompt: str) -> Panel:
    """Type any text and see which tokens the model holds likely next."""

    def show(prompt: str, tokens: int) -> str:
        return bars(next_tokens(lm, prompt or "\n", tokens))

    sentence = "An explorer of next tokens, in a live notebook."
    return explorer(show, sentence, prompt=prompt, tokens=(8, range(3, 21)))


def predict_claims(table: pd.DataFrame) -> Panel:
    """Buttons for each claim (columns id, topic, claim), by topic; each choice is recorded."""
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
        buttons.observe(record, names="value")
        return w.VBox([w.HTML(f"<b>{claim.id}</b> {escape(claim.claim)}"), buttons])

    topics = table.groupby("topic", sort=False)
    boxes = w.Accordion(
        [w.VBox([row(claim) for claim in group.itertuples()]) for _, group in topics]
    )
    boxes.titles = [f"{topic} ({len(group)})" for topic, group in topics]
    tell()
    return Panel(
        [boxes, count], "The 28 claims, with buttons for your predictions in a live notebook."
    )


def check_recipe(
    rate: float | None, steps: int | None, new_right: Callable[[float, int], int]
) -> None:
    """Train by the learner's recipe and say how many new verbs are right; any number will do.

    A recipe that the loop cannot take, or that would train for minutes, is refused untried.
    """
    problem, count, tried = None, 0, None not in (rate, steps)
    if tried:
        if not 0 < rate <= 0.1:
            problem = "take a rate above 0 and at most 0.1; above that, every weight is torn away."
        elif not 1 <= steps <= 60:
            problem = "take 1 to 60 steps; more would only wait."
        else:
            count = new_right(rate, int(steps))
    beaten = "as few as with our recipe" if count == 0 else "our recipe got none"
    checks.tell(tried, problem, f"{count} of the new verbs come out right; {beaten}.")


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

"""Lesson 0: the explorer of next tokens, and the checks of its exercises."""

from collections.abc import Sequence

from helpers import checks
from helpers.model import LanguageModel
from helpers.scoring import next_tokens
from helpers.widgets import Panel, bars, explorer


def next_token_explorer(lm: LanguageModel, prompt: str) -> Panel:
    """Type any text and see which tokens the model holds likely next."""

    def show(prompt: str, tokens: int) -> str:
        return bars(next_tokens(lm, prompt or "\n", tokens))

    sentence = "An explorer of next tokens, in a live notebook."
    return explorer(show, sentence, prompt=prompt, tokens=(8, range(3, 21)))


def check_first_low_loss(step: int | None, losses: Sequence[float], below: float) -> None:
    """Check the number of the first step (counting from 1) whose loss is below a bound."""
    truth = next((i for i, loss in enumerate(losses, 1) if loss < below), None)
    problem = None
    if step != truth:
        problem = "look again at the first loss that is smaller than the bound."
        if truth is not None and step == truth - 1:
            problem = "that is one too few: Python counts from 0, steps count from 1."
    checks.tell(step is not None, problem, f"step {truth} is the first with a loss below {below}.")


def check_likely_next(lm: LanguageModel, prompt: str | None, wanted: str) -> None:
    """Check that `wanted` is the likeliest next token after the learner's prompt."""
    problem, probability = None, 0.0
    if prompt:
        found = next_tokens(lm, prompt)
        best, probability = next(iter(found.items()))
        if wanted.strip() in prompt:
            problem = f"the prompt must not contain {wanted.strip()!r} itself."
        elif prompt != prompt.rstrip():
            problem = "the prompt ends with white space, but a word's token brings its own space."
        elif best != wanted:
            problem = f"the likeliest next token is {best!r} ({probability:.2f}), not {wanted!r}."
    checks.tell(
        bool(prompt), problem, f"{wanted!r} comes first, with probability {probability:.2f}."
    )

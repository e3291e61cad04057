"""What a comparison on one's own data recommends, and why.

The choice follows from paired differences and their 95 % intervals, the simplest way first: what
cannot be told apart from something simpler is not recommended.
"""

import math
from typing import NamedTuple

import pandas as pd

from helpers.compare import Difference, ahead, difference, summary
from helpers.cost import break_even, fine_tuning_cost, in_context_cost
from helpers.model import LanguageModel
from helpers.teaching import LORA

WEIGHTS = "lora"
PROMPTS = ("in-context", "in-context, calibrated", "in-context, nearest")
ASKED_ONLY = ("zero-shot", "zero-shot, calibrated")
NAMES = {
    "majority": "always the most frequent label",
    "zero-shot": "asking without examples",
    "zero-shot, calibrated": "asking without examples (calibrated)",
    "in-context": "examples in the prompt",
    "in-context, calibrated": "examples in the prompt (calibrated)",
    "in-context, nearest": "the most similar examples in each prompt",
    "lora": "fine-tuning (LoRA)",
    "TF-IDF": "TF-IDF with logistic regression",
}


class Advice(NamedTuple):
    """A recommendation: what to do in a few words, and the reasons, a sentence each."""

    choice: str
    reasons: list[str]


def advise(lm: LanguageModel, results: pd.DataFrame, shots: int) -> Advice:
    """Recommend a way for the task of `results` (`curves.all_ways`' rows, at one number of shots).

    The best of several prompts, or of two ways, was chosen by the very numbers that are compared,
    so its lead is a little flattered; the last reason says so.
    """
    means = summary(results).set_index("way")["mean"]
    prompt = _best(means, PROMPTS)
    best = _best(means, (WEIGHTS, prompt))

    def over(other: str, way: str = best) -> Difference:
        return difference(results, way, other, shots=shots)

    untaught = _best(means, ASKED_ONLY)
    if over("majority").low <= 0:
        choice, other = "Neither way works yet", "majority"
        then = "More or clearer examples, other label words or a larger model come first."
    elif over(untaught).low <= 0:
        choice, other = "Ask without examples", untaught
        then = "Examples did not surely help; more of them, or more time, may decide otherwise."
    elif over("TF-IDF").low <= 0:
        choice, other = "Use TF-IDF with logistic regression", "TF-IDF"
        then = "It needs no language model, learns in a second and costs next to nothing."
    else:
        return _between(lm, results, shots, prompt, over(prompt, WEIGHTS))
    even = _even(lm, results, prompt)
    return Advice(choice, [_told(best, other, over(other)), then, even, _caution(results)])


def _between(lm, results, shots, prompt: str, gap: Difference) -> Advice:
    """Weights or prompt, where both are worth their while."""
    reasons = [_told(WEIGHTS, prompt, gap)]
    choice = {
        "weights": "Fine-tune",
        "prompt": "Put examples into the prompt",
        "": "Put examples into the prompt, for now",
    }[ahead(gap)]
    if not ahead(gap):
        reasons.append("The two cannot be told apart here, and a prompt is changed in a moment.")
    return Advice(choice, [*reasons, _even(lm, results, prompt), _caution(results)])


def _even(lm: LanguageModel, results: pd.DataFrame, prompt: str) -> str:
    """From how many queries on weights compute less than the prompt."""
    rows = results.groupby("way")[["taught_tokens", "prefix_tokens", "query_tokens"]].mean()
    taught, query = rows.loc[WEIGHTS, "taught_tokens"], rows.loc[WEIGHTS, "query_tokens"]
    weights = fine_tuning_cost(lm, taught, taught / 4, query, LORA.rank)
    shown = rows.loc[prompt, "prefix_tokens"]
    anew, kept = (in_context_cost(lm, shown, query, cached) for cached in (False, True))
    evens = [
        break_even(weights.teach_flops, weights.ask_flops, other.teach_flops, other.ask_flops)
        for other in (anew, kept)
    ]
    from_on = [f"{number:,.0f} queries" if math.isfinite(number) else "never" for number in evens]
    if prompt == "in-context, nearest":  # chosen for each query, so nothing can be kept
        return f"Counted in FLOPs, weights are cheaper from {from_on[0]} on."
    return (
        f"Counted in FLOPs, weights are cheaper from {from_on[0]} on where every query reads the "
        f"prompt anew, and from {from_on[1]} on where it is read once and kept."
    )


def _told(way: str, other: str, gap: Difference) -> str:
    return f"{NAMES[way].capitalize()} against {NAMES[other]}: {gap} (share of right answers)."


def _caution(results: pd.DataFrame) -> str:
    draws, asked = results["draw"].nunique(), len(results["right"].iloc[0])
    only = " With one draw the interval knows nothing of other examples." if draws == 1 else ""
    return (
        f"Measured on {draws} {'draw' if draws == 1 else 'draws'} of examples and {asked} "
        f"questions with this model; the better of several ways is a little flattered.{only}"
    )


def _best(means: pd.Series, names) -> str:
    return means[[name for name in names if name in means]].idxmax()

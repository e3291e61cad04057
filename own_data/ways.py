"""The ways that are compared, the simpler first, and how each of them learns."""

from typing import NamedTuple

import numpy as np

from helpers.model import LanguageModel
from own_data.classifiers import learn_counts, learn_majority, learn_probe
from own_data.clock import Clock
from own_data.prompted import choose_prompt, prompt_again
from own_data.reading import Round
from own_data.training import train


class Way(NamedTuple):
    """One way, and what its teaching and its first asking may take, each as a share of the time
    that is left then: what others took too much is taken from all that come later.

    `quick` ways learn and answer in seconds, whatever the time.
    """

    name: str
    title: str
    learning: float = 0.0
    asking: float = 0.0
    quick: bool = False


WAYS = (  # in the order in which they are tried; the simpler come first
    Way("majority", "always the most frequent label", quick=True),
    Way("words", "word counts (TF-IDF)", quick=True),
    Way("characters", "counts of word pieces (TF-IDF)", quick=True),
    Way("zero-shot", "asking without examples", 0.06, 0.06),
    Way("prompt", "examples in the prompt", 0.12, 0.2),
    Way("probe", "a classifier on the model's states", 0.13, 0.1),
    Way("lora", "fine-tuning (LoRA)", 0.7, 0.65),
)
TITLES = {way.name: way.title for way in WAYS}
UNTAUGHT = ("majority", "zero-shot")  # they have seen no text with its label
COUNTS = {"words": "tfidf", "characters": "characters"}


def learn(
    lm: LanguageModel, name: str, given: Round, clock: Clock, until: float, before: dict
) -> tuple[object, str]:
    """What a way learns until a time, and why no more; with the settings of `before`, where there
    are any."""
    setting = before.get("setting", "")
    if name == "majority":
        return learn_majority(given.task), ""
    if name in COUNTS:
        return learn_counts(given, COUNTS[name], setting), ""
    if name == "probe":
        return learn_probe(lm, given, clock, until)
    if name == "lora":
        return train(lm, given, clock, until)
    shown = name == "prompt"
    if before:
        return prompt_again(lm, given, shown, setting, np.array(before["shift"])), ""
    return choose_prompt(lm, given, shown, clock, until), ""

"""Plain English that no lesson teaches: what a training may make a model forget."""

from collections.abc import Sequence

import numpy as np

from helpers import finetune
from helpers.data import DATA
from helpers.model import LanguageModel
from helpers.prompts import encode

LINES = 20


def neutral_lines(count: int = LINES) -> list[str]:
    """The first lines of `data/neutral_text.txt`, which is about everyday matters."""
    return (DATA / "neutral_text.txt").read_text("utf-8").splitlines()[:count]


def neutral_loss(lm: LanguageModel, lines: Sequence[str]) -> float:
    """Mean loss in nats per token of plain English, each line read on its own."""
    encoded = [finetune.Encoded(encode(lm.tokenizer, line), 1) for line in lines]
    return float(np.concatenate([finetune.token_losses(lm, line) for line in encoded]).mean())

"""The words that a model reads and writes for a label, from the label's name."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise


def label_words(labels: Sequence[str]) -> dict[str, str]:
    """For each label the words that the model reads and writes for it.

    `billing_issue`, `BillingIssue` and `billing-issue` become "billing issue"; codes and numbers
    stay as they are. Where two labels would get the same words, they keep their names. Where one
    word begins another (`refund`, `refund request`), the shorter would always be likelier, so all
    are put between quotation marks.
    """
    words = {label: plain_words(label) for label in labels}
    twice = {word for word, count in Counter(words.values()).items() if count > 1}
    words = {label: label if word in twice else word for label, word in words.items()}
    some = sorted(words.values())
    if any(longer.startswith(word) for word, longer in pairwise(some)):
        words = {label: f'"{word}"' for label, word in words.items()}
    return words


def plain_words(name: str) -> str:
    """A label's name as words: its parts apart, and small where they are no code."""
    name = name.removeprefix("__label__")
    parts = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    parts = " ".join(re.sub(r"[_/]+|(?<=[^\W\d])-(?=[^\W\d])", " ", parts).split())
    if any(letter.isdigit() for letter in parts) or (parts == name and parts.isupper()):
        return parts or name
    return parts.lower() or name

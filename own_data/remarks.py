"""What the texts hold that a reader of the results should know. Nothing is changed."""

import re
from collections.abc import Callable, Sequence

from own_data.labels import Row
from own_data.separated import listed

CONTROL = re.compile(r"[\0-\x08\x0e-\x1f\x7f]")
HTML = re.compile(r"</?[a-z][a-z0-9]*(\s[^<>]*)?/?>|&([a-z]{2,}|#\d+);", re.IGNORECASE)
EMOJI = re.compile("[\u2600-\u27bf\U0001f000-\U0001faff]")
LEFTWARDS = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")  # Hebrew, Arabic, …
GARBLED = re.compile("\u00c3[\u0080-\u00bf]|\u00e2\u20ac|\ufffd")  # é read as Ã©, ’ as â€™


KINDS: tuple[tuple[Callable[[str], object], str], ...] = (
    (HTML.search, "HTML, which is read as it stands"),
    (EMOJI.search, "emoji, each read as several tokens"),
    (GARBLED.search, "letters that an earlier program damaged (such as Ã©)"),
    (LEFTWARDS.search, "writing from right to left, kept in the order in which it is read"),
)


def remarks(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """A sentence on each kind of oddity in the texts of some rows.

    `names` are those of text and label in the prompt: a text that holds one with a colon looks
    like a part of the prompt itself.
    """
    said = []
    for holds, what in KINDS:
        found = [row.number for row in rows if holds(row.text)]
        if found:
            said.append(f"{_texts(found)} {what}: {listed(found)}.")
    either = "|".join(re.escape(name) for name in names)
    prompt = re.compile(rf"(?<!\w)({either})\s*[:：]", re.IGNORECASE)
    found = [row.number for row in rows if prompt.search(row.text)]
    if found:
        marks = " or ".join(repr(f"{name}:") for name in names)
        said.append(
            f"{_texts(found)} {marks}, as the prompt does, and may mislead: {listed(found)}."
        )
    return said


def _texts(found: Sequence[int]) -> str:
    return "1 text holds" if len(found) == 1 else f"{len(found)} texts hold"

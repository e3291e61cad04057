"""A style as a few rules that a program checks: what a text keeps, and what teaching it costs.

Data with rules in it: `data/styles.jsonl` for e-mails, `data/writers.jsonl` for single writers.
"""

import json
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import adapters, teaching
from helpers.compare import right, scored, where
from helpers.cost import Clock, cache_bytes
from helpers.data import Example, Task
from helpers.model import LanguageModel
from helpers.prompts import count_tokens, plain
from helpers.scoring import next_tokens
from helpers.teaching import Taught, Way, passes

REPLY = Task("emails", "E-mail from {text}\nReply: {label}\n\n", (), ())
MESSAGE = Task("writers", "Request: {text}\nMessage: {label}\n\n", (), ())
ROOM = 40  # tokens for a written text; the longest in the data has 30
SEEN = 192  # examples in all passes of a training, fewer than usual: training is slow here
NUMBERS = ["teach_seconds", "switch_seconds", "ask_seconds", "taught_tokens", "read_tokens"]
NUMBERS += ["text_bytes", "cache_bytes", "adapter_bytes"]
KEPT = "all rules"  # the measure of texts that keep every rule
Rules = Sequence[Sequence[str]]  # each a wording and a regular expression


def part(rows: Iterable[dict], group: str) -> list[dict]:
    """The rows of a group, such as the e-mails held out or the writers to develop on."""
    return [row for row in rows if row["group"] == group]


def sent(email: dict) -> str:
    """An e-mail as the model reads it, the sender first."""
    return f"{email['title']} {email['first']} {email['last']}: {email['email']}"


def in_style(emails: Iterable[dict], style: str) -> list[Example]:
    """E-mails with their replies in a style: demonstrations, or what weights are trained on."""
    return [Example(sent(email), email["replies"][style]) for email in emails]


def drawn(emails: Sequence[dict], count: int, draw: int) -> list[dict]:
    """So many of the train e-mails; a smaller draw is the start of a larger one."""
    taught = part(emails, "train")
    return [taught[i] for i in np.random.default_rng(draw).permutation(len(taught))[:count]]


# What a text keeps


def kept(rules: Rules, text: str, asked: dict) -> list[bool]:
    """Which rules a text keeps; `{last}` in one stands for the surname of the sender of `asked`."""
    marks = []
    for _, pattern in rules:
        for name in ("title", "first", "last"):
            pattern = pattern.replace(f"{{{name}}}", re.escape(asked.get(name, "")))
        marks.append(bool(re.search(pattern, text)))
    return marks


def holds(text: str, *words: str) -> bool:
    """Whether one of the words stands in the text, in small letters or capitals."""
    return any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) for word in words)


def marked(rules: Rules, said: Sequence[str], asked: Sequence[dict]) -> list[dict]:
    """How well texts keep a style and what must be in them, a row for each measure.

    "all rules" has a 1 or 0 for each text that keeps them all, "facts" for each that holds its
    fact, "names" for each that names an e-mail's sender; "rules" is the mean share of rules kept.
    """
    both = list(zip(said, asked, strict=True))
    marks = [kept(rules, text, row) for text, row in both]
    facts = [holds(text, row["fact"]) for text, row in both]
    senders = [holds(text, row["first"], row["last"]) for text, row in both if "last" in row]
    rows = [scored(map(all, marks), KEPT) | {"said": json.dumps(said, ensure_ascii=False)}]
    rows += [scored(facts, "facts"), *([scored(senders, "names")] if senders else [])]
    rows.append({"measure": "rules", "right": "", "value": float(np.mean(marks))})
    return [{"said": ""} | row for row in rows]


def texts_right(results: pd.DataFrame, *more: str, **wanted: object) -> np.ndarray:
    """Which texts of a stored result keep all rules, as a boolean array [draws, texts].

    `more` may ask for "facts" or "names" as well; `wanted` chooses rows by their columns, such as
    `way="prompt, 4"`. The styles of a draw stand side by side. Raises `DataError` when there are no
    such rows.
    """
    rows = where(results, **wanted) if wanted else results
    return np.logical_and.reduce([right(rows, measure=measure) for measure in (KEPT, *more)])


# Teaching and writing


def reading(lm: LanguageModel, task: Task, examples: Sequence[Example]) -> dict:
    """What new demonstrations cost: tokens, processor seconds, and bytes if they are kept."""
    beginning = plain(task, examples, "")
    tokens = count_tokens(lm.tokenizer, beginning)
    with Clock() as clock:
        next_tokens(lm, beginning)
    size = {"text_bytes": len(beginning.encode()), "cache_bytes": cache_bytes(lm, tokens)}
    return {"switch_seconds": clock.processor, "read_tokens": tokens} | size


def taught(
    lm: LanguageModel, task: Task, way: Way, examples: Sequence[Example], seed: int
) -> tuple[Taught, dict]:
    """Teach examples in a way, and what it costs: to teach, to keep, and to switch to."""
    if way.trained != 0:
        way = replace(way, passes=passes(len(examples), SEEN))
    result = teaching.teach(lm, task, way, seed, examples)
    if way.trained == 0:
        shown = result.demonstrations
        return result, reading(lm, result.task, shown) if shown else {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "adapter")
        adapters.save(result.lm, folder)
        size = (folder / adapters.ADAPTER).stat().st_size
        two = adapters.load(lm, folder)
        two.model.load_adapter(folder, "other")
        with Clock() as clock:
            two.model.set_adapter("other")
    cost = {"teach_seconds": result.processor, "switch_seconds": clock.processor}
    return result, cost | {"adapter_bytes": size, "taught_tokens": result.tokens}


def written(
    taught: Taught, queries: Sequence[str], rules: Rules, asked: Sequence[dict], cost: dict
) -> list[dict]:
    """Let the model write, and mark it: rows with `cost` in them, and 0 for what costs nothing."""
    with Clock() as clock:
        said = teaching.ask(taught, queries, ROOM)
    spent = dict.fromkeys(NUMBERS, 0) | cost | {"ask_seconds": clock.processor}
    return [row | spent for row in marked(rules, said, asked)]

"""A style as a few rules that a program checks: what a text keeps, and what teaching it costs.

Data with rules in it: `data/styles.jsonl` for e-mails, `data/writers.jsonl` for single writers.
"""

import json
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import adapters
from helpers.cost import cache_bytes, clock
from helpers.data import DataError, Example, Task
from helpers.teaching import epochs, train
from helpers.model import LanguageModel
from helpers.prompts import chat, count_tokens, plain
from helpers.scoring import answer, next_tokens
from helpers.study import bits, unpacked

ROOM = 40  # tokens for a written text; the longest in the data has 30
SHOWN = 192  # examples in all passes of a training, fewer than usual: training is slow here
NUMBERS = ["rules", "teach_seconds", "switch_seconds", "ask_seconds"]
NUMBERS += ["taught_tokens", "read_tokens", "text_bytes", "cache_bytes", "adapter_bytes"]
Rules = Sequence[Sequence[str]]  # each a wording and a regular expression


def part(rows: Iterable[dict], group: str) -> list[dict]:
    """The rows of a group, such as the e-mails held out or the writers to develop on."""
    return [row for row in rows if row["group"] == group]


# What a text keeps


def kept(rules: Rules, text: str, asked: dict) -> list[bool]:
    """Which rules a text keeps; `{last}` in one stands for the surname of the sender of `asked`."""
    found = []
    for _, pattern in rules:
        for name in ("title", "first", "last"):
            pattern = pattern.replace(f"{{{name}}}", re.escape(asked.get(name, "")))
        found.append(bool(re.search(pattern, text)))
    return found


def holds(text: str, *words: str) -> bool:
    """Whether one of the words stands in the text, in small letters or capitals."""
    return any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) for word in words)


def marks(rules: Rules, said: Sequence[str], asked: Sequence[dict]) -> dict:
    """How well texts keep a style and what must be in them: the measures of a row.

    `rules` is the mean share of rules kept, `right` a 1 or 0 for each text that keeps them all;
    `facts` and `names` are a y or n for each text that holds the fact, and an e-mail's sender.
    """
    both = list(zip(said, asked, strict=True))
    found = [kept(rules, text, one) for text, one in both]
    senders = [holds(text, one["first"], one["last"]) for text, one in both if "last" in one]
    return {
        "rules": float(np.mean(found)),
        "right": bits(map(all, found)),
        "facts": letters(holds(text, one["fact"]) for text, one in both),
        "names": letters(senders),
        "said": json.dumps(said, ensure_ascii=False),
    }


def letters(found: Iterable[bool]) -> str:
    """A y or n for each."""
    return "".join("ny"[one] for one in found)


def right(results: pd.DataFrame, *more: str, **wanted: object) -> np.ndarray:
    """Which texts of a stored result keep all rules, as a boolean array [draws, texts].

    `more` may ask for "facts" or "names" as well; `wanted` chooses rows by their columns, such as
    `way="prompt, 4"`. The styles of a draw stand side by side. Raises `DataError` when there are no
    such rows.
    """
    for column, value in wanted.items():
        results = results[results[column] == value]
    if results.empty:
        raise DataError(f"These results hold nothing of {wanted}.")
    by_draw = results.groupby("draw")  # a sum of texts joins them
    others = [np.array([[one == "y" for one in row] for row in by_draw[m].sum()]) for m in more]
    return np.logical_and.reduce([unpacked(by_draw["right"].sum()), *others])


# Teaching and writing


def write(
    lm: LanguageModel, task: Task, examples: Sequence[Example], queries: Sequence[str]
) -> list[str]:
    """What the model writes behind demonstrations; an instruction is a chat's system turn."""
    style = chat(lm.tokenizer) if task.instruction else plain
    return answer(lm, task, list(examples), queries, style, ROOM)


def reading(lm: LanguageModel, task: Task, examples: Sequence[Example]) -> dict:
    """What new demonstrations cost: tokens, processor seconds, and bytes if they are kept."""
    beginning = plain(task, examples, "")
    tokens = count_tokens(lm.tokenizer, beginning)
    _, _, seconds = clock(lambda: next_tokens(lm, beginning))
    size = {"text_bytes": len(beginning.encode()), "cache_bytes": cache_bytes(lm, tokens)}
    return {"switch_seconds": seconds, "read_tokens": tokens} | size


def teach(
    lm: LanguageModel, task: Task, examples: Sequence[Example], seed: int
) -> tuple[LanguageModel, dict]:
    """A new adapter, and what it costs: to train, to keep, and to switch to by its name."""
    passes = epochs(len(examples), SHOWN)
    tuned, _, seconds = clock(lambda: train(lm, task, examples, "lora", passes, seed))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "adapter")
        adapters.save(tuned.lm, folder)
        size = (folder / adapters.ADAPTER).stat().st_size
        two = adapters.load(lm, folder)
        two.model.load_adapter(folder, "other")
        _, _, switching = clock(lambda: two.model.set_adapter("other"))
    cost = {"teach_seconds": seconds, "switch_seconds": switching, "adapter_bytes": size}
    return tuned.lm, cost | {"taught_tokens": int(tuned.history.tokens.sum())}


def measured(
    lm: LanguageModel,
    task: Task,
    examples: Sequence[Example],
    queries: Sequence[str],
    rules: Rules,
    asked: Sequence[dict],
    cost: dict,
) -> dict:
    """Let the model write, and mark it: a row with `cost` in it, and 0 for what costs nothing."""
    said, _, seconds = clock(lambda: write(lm, task, examples, queries))
    found = marks(rules, said, asked) | cost | {"ask_seconds": seconds}
    return dict.fromkeys(NUMBERS, 0) | found

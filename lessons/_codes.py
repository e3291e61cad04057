"""The clinic's codes alone: how many examples they take, in the prompt and in the weights.

A note is answered with the plain words of its code, without any letter. No model can guess them.
`python -m lessons._codes codes` makes the stored result.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from helpers import finetune
from helpers.data import Example, Task
from helpers.teaching import ANSWER_TOKENS
from helpers.model import LanguageModel
from helpers.scoring import answer
from helpers.study import bits, digest
from lessons.letters import TASK, Note, codebook, codes_right, load
from lessons._plan import Plan, main

CODEBOOK = 16  # its lines
METHODS = {  # demonstrations, trained examples, whether the codebook stands in the prompt
    "zero-shot": (0, 0, False),
    "prompt, 8": (8, 0, False),
    "weights, 8": (0, 8, False),
    "codebook in the prompt": (0, 0, True),
    "codebook, 4 shown": (4, 0, True),
    "codebook in the weights": (0, CODEBOOK, False),
    "prompt, 64": (64, 0, False),
    "weights, 64": (0, 64, False),
    "weights, 240": (0, 240, False),
}
DRAWS = {"zero-shot": 1, "codebook in the prompt": 1, "codebook in the weights": 3}
DRAWS |= {"weights, 64": 3, "weights, 240": 3}  # the others have all
# Rate and number of steps were chosen on development notes: at the course's usual rate of 1e-3 and
# 256 examples shown, sixteen arbitrary codes were not yet learned.
RATE, RANK, BATCH, SHOWN, MOST_PASSES = 3e-3, 4, 8, 480, 16


def load_task() -> Task:
    """Notes with the plain words of their codes."""
    codes, notes = load().codes, load().notes
    splits = [tuple(Example(str(n), codes[n.code]) for n in notes[s]) for s in ("train", "test")]
    return Task("codes", TASK.template, *splits)


def questions() -> list[Note]:
    """Two test notes of each code."""
    notes = load().notes["test"]
    return [note for code in load().codes for note in [n for n in notes if n.code == code][:2]]


def codebook_lines() -> list[Example]:
    """The codebook as examples: a code alone, and its plain words."""
    return [Example(code, phrase) for code, phrase in load().codes.items()]


def train(lm: LanguageModel, drawn: Sequence[Example], seed: int) -> LanguageModel:
    """The model with a new adapter, shown `SHOWN` examples in at most `MOST_PASSES` passes.

    Raises `KeyboardInterrupt` when a person ends it.
    """
    passes = min(MOST_PASSES, SHOWN // len(drawn))
    fixed = {"batch": BATCH, "lr": RATE, "rank": RANK}
    tuned = finetune.tune(lm, load_task(), drawn, epochs=passes, seed=seed, **fixed)
    if tuned.interrupted:
        raise KeyboardInterrupt
    return tuned.lm


def write(lm: LanguageModel, method: str, seed: int, asked: Sequence[Note] = ()) -> list[str]:
    """What the model writes for each note, by default `questions`, taught a draw by a method."""
    task, (shown, trained, book) = load_task(), METHODS[method]
    if trained:
        lm = train(lm, codebook_lines() if trained == CODEBOOK else task.draw(trained, seed), seed)
    told = replace(task, instruction=codebook() if book else "")
    queries = [str(note) for note in asked or questions()]
    return answer(lm, told, task.draw(shown, seed), queries, max_new_tokens=ANSWER_TOKENS)


def measure(lm: LanguageModel, method: str, seed: int) -> list[dict]:
    """Teach a draw by a method of `METHODS` and ask `questions`; a row with what was written."""
    said = write(lm, method, seed)
    right = [codes_right(note, text) for note, text in zip(questions(), said, strict=True)]
    return [{"accuracy": float(np.mean(right)), "right": bits(right), "said": json.dumps(said)}]


def plan(lm: LanguageModel, draws: int) -> Plan:
    """Every method on every draw, but no more than `DRAWS`."""
    cells = [
        {"draw": d, "method": method}
        for d in range(draws)
        for method in METHODS
        if d < DRAWS.get(method, draws)
    ]
    data = {"data": digest(*load()), "settings": [RATE, RANK, BATCH, SHOWN, MOST_PASSES]}
    settled = {"task": "codes", "questions": len(questions())} | data

    def work(draw: int, method: str) -> list[dict]:
        return measure(lm, method, draw)

    return Plan(cells, work, settled, ["draw", "accuracy"])


if __name__ == "__main__":
    sys.exit(main("codes", {"codes": plan}))

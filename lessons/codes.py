"""The clinic's codes alone: how many examples they take, in the prompt and in the weights.

A note is answered with the plain words of its code, without any letter. No model can guess them.
`python -m lessons codes` makes the stored result.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from helpers.compare import scored
from helpers.data import Example, Task
from helpers.model import LanguageModel
from helpers.study import Study, digest
from helpers.teaching import LORA, Taught, Way, ask, teach
from lessons.letters import TEMPLATE, Note, codebook, codes_right, load

# Rate and number of steps were chosen on development notes: at the course's usual rate of 1e-3 and
# 256 examples seen, sixteen arbitrary codes were not yet learned.
CODES = replace(LORA, rate=3e-3, rank=4)
SEEN, MOST_PASSES = 480, 16
CODEBOOK_LINES = 16


def weights(label: str, trained: int) -> Way:
    """Training on so many examples, seen `SEEN` times in at most `MOST_PASSES` passes."""
    passes = min(MOST_PASSES, SEEN // trained)
    return Way(label, trained=trained, passes=passes, recipe=CODES)


WAYS = {
    way.label: way
    for way in (
        Way("zero-shot"),
        Way("prompt, 8", shown=8),
        weights("weights, 8", 8),
        Way("codebook in the prompt", instruction=codebook()),
        Way("codebook, 4 shown", shown=4, instruction=codebook()),
        weights("codebook in the weights", CODEBOOK_LINES),
        Way("prompt, 64", shown=64),
        weights("weights, 64", 64),
        weights("weights, 240", 240),
    )
}
DRAWS = {"zero-shot": 1, "codebook in the prompt": 1, "codebook in the weights": 3}
DRAWS |= {"weights, 64": 3, "weights, 240": 3}  # the others have all


@dataclass(frozen=True)
class Notes(Task):
    """Notes with the plain words of their codes; an answer may say more than these words."""

    def marks(self, example: Example, said: str) -> dict[str, bool]:
        """Whether the words of the note's code, and of no other, are there."""
        code = next(code for code, words in load().codes.items() if words == example.label)
        return {"answers": codes_right(code, said)}


def load_task() -> Notes:
    """All notes with the plain words of their codes."""
    codes, notes = load().codes, load().notes
    splits = [tuple(Example(str(n), codes[n.code]) for n in notes[s]) for s in ("train", "test")]
    return Notes("codes", TEMPLATE, *splits)


def questions() -> list[Note]:
    """Two test notes of each code."""
    notes = load().notes["test"]
    return [note for code in load().codes for note in [n for n in notes if n.code == code][:2]]


def codebook_lines() -> list[Example]:
    """The codebook as examples: a code alone, and its plain words."""
    return [Example(code, phrase) for code, phrase in load().codes.items()]


def taught(lm: LanguageModel, label: str, seed: int) -> Taught:
    """The model taught a draw in one of the `WAYS`."""
    examples = codebook_lines() if label == "codebook in the weights" else None
    return teach(lm, load_task(), WAYS[label], seed, examples)


def write(lm: LanguageModel, label: str, seed: int, asked: Sequence[Note] = ()) -> list[str]:
    """What the model writes for each note, by default `questions`, taught in one of the `WAYS`."""
    return ask(taught(lm, label, seed), [str(note) for note in asked or questions()])


def codes_study(lm: LanguageModel, draws: int) -> Study:
    """Every way on every draw, but no more than `DRAWS`."""
    task, codes = load_task(), load().codes
    asked = [Example(str(note), codes[note.code]) for note in questions()]
    cells = [
        {"draw": d, "way": way} for d in range(draws) for way in WAYS if d < DRAWS.get(way, draws)
    ]
    settings = [CODES.rate, CODES.rank, CODES.batch, SEEN, MOST_PASSES]
    settled = {"task": "codes", "questions": len(asked), "data": digest(*load())}

    def work(draw: int, way: str) -> list[dict]:
        said = write(lm, way, draw)
        pairs = zip(asked, said, strict=True)
        right = [task.marks(example, text)["answers"] for example, text in pairs]
        return [scored(right) | {"said": json.dumps(said)}]

    return Study("codes", cells, work, settled | {"settings": settings}, ["draw", "value"])

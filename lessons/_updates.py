"""What it takes to change what was taught: by editing the prompt, by retraining, by swapping.

Ten policies of an invented company are taught; then one of them changes. A way of updating has
succeeded when the new answer is likelier than the old one and the model writes it.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from helpers import adapters
from helpers.cost import clock
from helpers.data import Example
from helpers.teaching import RECIPE
from helpers.model import LanguageModel
from lessons.facts import choose, statements, teach, train_on, write

MOST_STEPS = 32  # of retraining on a change


def changed(policies: Sequence[dict], number: int) -> list[dict]:
    """The policies after one has changed: its new answer is right and its old one wrong."""
    old = policies[number]
    wrong = [old["answer"], *(w for w in old["distractors"] if w != old["new_answer"])]
    new = old | {"answer": old["new_answer"], "distractors": wrong}
    return [*policies[:number], new, *policies[number + 1 :]]


def holds(
    lm: LanguageModel, policies: Sequence[dict], number: int, shown: Sequence[Example] = ()
) -> dict:
    """What the model holds of changed policies, as numbers from 0 to 1.

    `ranked`: the new answer is likelier than the old; `written`: the model writes it; `others`: the
    unchanged policies that are right by choice, and `others_written` when written. `answer` is the
    text written for the changed one.
    """
    said = write(lm, policies, shown=shown)
    written = np.array(said) == [policy["answer"] for policy in policies]
    chosen = choose(lm, policies, shown=shown)
    found = {"ranked": int(chosen[number]), "written": int(written[number]), "answer": said[number]}
    others = (float(np.delete(right, number).mean()) for right in (chosen, written))
    return found | dict(zip(("others", "others_written"), others, strict=True))


def measure(lm: LanguageModel, policies: Sequence[dict], number: int) -> list[dict]:
    """Teach all policies, change one, and bring it to the model in each way; a row for each.

    `seconds` are processor seconds from the change to the answer, with the question asked once;
    `steps` and `examples` are those of training. Retraining ends when the new answer is likelier
    than the old one and written, or after `MOST_STEPS`. `made` are the seconds that training the
    other adapter took beforehand.
    """
    after, rows = changed(policies, number), []
    old_lines, new_lines = statements(policies), statements(after)
    policy, change = [after[number]], [new_lines[number]]

    def add(way: str, lm: LanguageModel, work: Callable[[], object] = tuple, shown=(), **more):
        _, _, update = clock(work)
        _, _, asking = clock(lambda: write(lm, policy, shown=shown))
        row = {"way": way, "steps": 0, "examples": 0, "seconds": update + asking} | more
        rows.append(row | holds(lm, after, number, shown))

    add("prompt, before", lm, shown=old_lines)
    add("prompt, line replaced", lm, shown=new_lines)
    add("prompt, line added", lm, shown=[*old_lines, *change])
    with tempfile.TemporaryDirectory() as scratch:
        old, new = Path(scratch, "old"), Path(scratch, "new")
        adapters.save(teach(lm, old_lines, number).lm, old)
        tuned, _, made = clock(lambda: teach(lm, new_lines, number).lm)
        adapters.save(tuned, new)
        add("weights, before", adapters.load(lm, old))
        for way, lines in (("the change", change), ("all policies", new_lines)):
            tuned = adapters.load(lm, old)
            steps, seconds = _train_until(tuned, lines, policy, number)
            more = {"steps": steps, "examples": steps * min(len(lines), RECIPE["batch"])}
            add(f"weights, trained on {way}", tuned, **more)
            rows[-1]["seconds"] += seconds
        tuned = adapters.load(lm, old)
        tuned.model.load_adapter(new, "new")
        add("weights, adapter swapped", tuned, lambda: tuned.model.set_adapter("new"))
        rows[-1]["made"] = made
    return [{"policy": policies[number]["id"], "made": 0.0} | row for row in rows]


def _train_until(lm: LanguageModel, lines, policy, seed: int) -> tuple[int, float]:
    """Train on until the policy's answer is likeliest and written; steps and processor seconds."""
    training, steps, total = train_on(lm, lines, MOST_STEPS, seed), 0, 0.0
    while steps < MOST_STEPS:
        _, _, seconds = clock(lambda: next(training))
        steps, total = steps + 1, total + seconds
        if choose(lm, policy)[0] and write(lm, policy) == [policy[0]["answer"]]:
            break
    return steps, total

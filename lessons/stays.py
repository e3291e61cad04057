"""What changes while a model is taught, and what stays when the session ends.

A draw of invented facts is taught in the prompt and in the weights, and asked for forward and from
its other end. Then a new process, which can reach no network, asks again with what is on disk:
nothing of a prompt, and of the weights an adapter. What is so by construction (F1, F3, F5, I1, I3,
I4, K1) is counted here in cases, and K5 is measured. `python -m lessons stays` makes the result;
`python -m lessons.stays` is the new process.
"""

import argparse
import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from torch.optim.optimizer import register_optimizer_step_post_hook

from helpers import adapters, compare, model
from helpers.compare import Interval, scored
from helpers.data import DATA, DataError, Example, load_rows
from helpers.model import LanguageModel, ModelError, checksum
from helpers.prompts import count_tokens, plain
from helpers.scoring import score_options
from helpers.study import Study, digest
from lessons import facts, matrices
from lessons.fair_uses import nested
from lessons.verdict import contrast

FACTS = 16  # in a draw
DIRECTIONS = ("forward", "reversed")
LATER = ", new process"
READOUTS = ("choice", "written")


# Asking, now and later


def answers(
    lm: LanguageModel, known: Sequence[dict], label: str, shown: Sequence[Example] = ()
) -> list[dict]:
    """Ask for facts in both directions; a row each for choosing and for writing.

    `said` holds, as JSON, the places of the answers chosen (0 is the right one), or the texts.
    """
    rows = []
    for way in DIRECTIONS:
        asked, options = zip(*(facts.question(fact, way) for fact in known), strict=True)
        chosen = score_options(lm, facts.TASK, shown, asked, options).argmax(1).tolist()
        texts = facts.write(lm, known, way, shown)
        truth = [facts.right_answer(fact, way) for fact in known]
        given = (chosen, [0] * len(known)), (texts, truth)
        for measure, (said, best) in zip(READOUTS, given, strict=True):
            right = [one == other for one, other in zip(said, best, strict=True)]
            about = {"way": label, "asked": way} | scored(right, measure)
            rows.append(about | {"said": json.dumps(said)})
    return rows


def later(lm: LanguageModel, seed: int, adapter: str | Path = "") -> list[dict]:
    """What a new process answers that has the base and, where one was saved, an adapter.

    Raises `ModelError` when the process fails.
    """
    command = [sys.executable, "-m", "lessons.stays", lm.name, str(seed), str(adapter)]
    done = subprocess.run(command, cwd=DATA.parent, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise ModelError(f"The new process failed: {last}")
    return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def steps_counted() -> Iterator[list[int]]:
    """A list that grows with every step that any optimiser takes inside."""
    steps: list[int] = []
    hook = register_optimizer_step_post_hook(lambda *_: steps.append(1))
    try:
        yield steps
    finally:
        hook.remove()


# The study


def in_prompt(lm: LanguageModel, known: Sequence[dict], seed: int) -> list[dict]:
    """Before, behind and after a prompt; `moved` says whether any bit of the weights did."""
    shown, before = facts.statements(known), checksum(lm.model)
    rows = answers(lm, known, "untaught")
    with steps_counted() as steps:
        rows += answers(lm, known, "prompt", shown)
    rows += later(lm, seed)
    moved = float(checksum(lm.model) != before)
    return [row | _took(lm, known, shown, len(steps), moved) for row in rows]


def in_weights(lm: LanguageModel, known: Sequence[dict], seed: int) -> list[dict]:
    """With a new adapter, now and later; `moved` is the share of the matrices that it moves."""
    with steps_counted() as steps:
        taught = facts.teach(lm, facts.statements(known), seed)
    rows = answers(taught.lm, known, "weights", taught.demonstrations)
    with TemporaryDirectory() as folder:
        adapters.save(taught.lm, Path(folder, "adapter"))
        rows += later(lm, seed, Path(folder, "adapter"))
    moved = float((matrices.change(taught.lm, lm)["relative"] > 0).mean())
    return [row | _took(lm, known, taught.demonstrations, len(steps), moved) for row in rows]


def _took(lm, known, shown, steps: int, moved: float) -> dict:
    """Of a way: tokens before each question, steps of training, and what of the weights moved."""
    question = known[0]["forward"]
    lengths = [count_tokens(lm.tokenizer, plain(facts.TASK, s, question)) for s in (shown, [])]
    return {"context": lengths[0] - lengths[1], "steps": steps, "moved": moved}


def stays_study(lm: LanguageModel, draws: int) -> Study:
    """Every draw in the prompt and in the weights."""
    every, ways = load_rows("invented_facts"), {"prompt": in_prompt, "weights": in_weights}
    settings = {"passes": facts.PASSES, "rate": facts.LORA.rate, "batch": facts.LORA.batch}
    settled = {"task": "stays", "questions": FACTS, "data": digest(*every), "settings": settings}

    def work(draw: int, taught: str) -> list[dict]:
        return ways[taught](lm, facts.draw(every, FACTS, draw), draw)

    cells = [{"draw": d, "taught": way} for d in range(draws) for way in ways]
    return Study("stays", cells, work, settled, ["draw", "value", "context", "steps", "moved"])


# What the rows say


def same_answers(rows: pd.DataFrame, one: str, other: str) -> np.ndarray:
    """Which answers of two ways are the same, as booleans [draws, answers]."""
    both = [
        compare.where(rows, way=way).set_index(["draw", "asked", "measure"]) for way in (one, other)
    ]
    said = pd.concat([side["said"] for side in both], axis=1)
    pairs = [
        [a == b for a, b in zip(*map(json.loads, row), strict=True)] for row in said.to_numpy()
    ]
    return np.array(pairs).reshape(rows["draw"].nunique(), -1)


def of_stays(rows: pd.DataFrame) -> Iterator[dict]:
    """K5, and the shares of cases in which the claims by construction are seen."""
    by_way = {
        way: compare.where(rows, way=way).groupby("draw").first() for way in ("prompt", "weights")
    }
    prompt, weights = by_way.values()
    only_context = (prompt["moved"] == 0) & (prompt["context"] > 0)
    only_weights = (weights["moved"] > 0) & (weights["context"] == 0)
    same = same_answers(rows, "weights", "weights" + LATER)
    seen = [
        ("F1", "LoRA", weights["moved"].to_numpy()),
        ("F3", "new process", same),
        ("F5", "answers without a network", same),
        ("F5", "no context", weights["context"].to_numpy() == 0),
        ("I1", "weights", prompt["moved"].to_numpy() == 0),
        ("I3", "new process", same_answers(rows, "untaught", "prompt" + LATER)),
        ("I4", "steps", prompt["steps"].to_numpy() == 0),
        ("K1", "what changes", (only_context & only_weights).to_numpy()),
    ]
    for claim, level, cases in seen:
        yield seen_in(claim, level, cases, len(prompt))
    for way in DIRECTIONS:
        for readout in READOUTS:
            asked = {"asked": way, "measure": readout}
            kept, gone = (
                compare.right(rows, way=w + LATER, **asked) for w in ("weights", "prompt")
            )
            number = nested(kept.astype(float) - gone)
            yield contrast("K5", way, readout, "default", number, len(kept))


def of_full_change(table: pd.DataFrame) -> Iterator[dict]:
    """F1 for all weights, from the stored change of every matrix."""
    yield seen_in("F1", "all weights", (table["relative"] > 0).to_numpy(), 1)


def seen_in(claim: str, level: str, cases: np.ndarray, draws: int) -> dict:
    """A claim by construction: the share of cases in which it is seen."""
    number: Interval = compare.interval(cases)
    return contrast(claim, level, "any", "any", number, draws)


# The new process


def refuse(*_: object) -> None:
    """Stand in for every way to a network."""
    raise OSError("This process is offline.")


def main(arguments: list[str] | None = None) -> int:
    """Print the answers of a process that is offline, as one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m lessons.stays", description=main.__doc__)
    parser.add_argument("model")
    parser.add_argument("seed", type=int)
    parser.add_argument("adapter", help="the folder of a saved adapter, or nothing")
    options = parser.parse_args(arguments)
    socket.socket.connect = socket.getaddrinfo = refuse
    try:
        lm, label = model.load(options.model), "prompt"
        if options.adapter:
            lm, label = adapters.load(lm, options.adapter), "weights"
        known = facts.draw(load_rows("invented_facts"), FACTS, options.seed)
        print(json.dumps(answers(lm, known, label + LATER)))
    except (ModelError, DataError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What stays of what was taught, what a change takes, and what else is forgotten.

`python -m lessons.l05_memory facts`, `updates` and `forgetting` make the stored results of
these names; `… recall` asks for one draw of facts in a process of its own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import adapters, finetune
from helpers import model as models
from helpers.compare import mean
from helpers.data import DATA, DataError, load_task, texts
from helpers.teaching import RATES, RECIPE
from helpers.model import LanguageModel, ModelError
from helpers.prompts import encode
from helpers.scoring import answer
from helpers.study import bits, digest, unpacked
from lessons import _plan as plan
from lessons import _updates as updates
from lessons.facts import (
    PASSES,
    choose,
    draw,
    load,
    recall,
    statements,
    teach,
    train_on,
)
from lessons._plan import Plan

METHODS = (
    "untaught",
    "prompt",
    "weights",
    "prompt, both directions",
    "weights, both directions",
)
LATER = ", new process"  # the same, after the session has ended
RANKS = (2, 8, 32)
CHECKPOINTS = (4, 8, 16)  # steps of training after which forgetting is measured
OTHER_TASK, SHOTS, ITEMS = "past_tense", 4, 20  # what may be forgotten, and
NEUTRAL = 20  # lines of plain English


# What is recalled, and what stays when the session ends


def in_new_process(lm: LanguageModel, count: int, seed: int, adapter: str | Path) -> list[dict]:
    """Ask for a draw of facts, forward, in a new Python process: it has only what is on disk.

    Returns rows as `recall` does: of the base, which has lost its prompt, and with the adapter.
    Raises `ModelError` when the process fails.
    """
    command = [sys.executable, "-m", "lessons.l05_memory", "recall", "--model", lm.name]
    command += ["--facts", str(count), "--seed", str(seed), "--adapter", str(adapter)]
    done = subprocess.run(command, cwd=DATA.parent, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise ModelError(f"The new process failed: {last}")
    return json.loads(done.stdout.splitlines()[-1])


def measure_facts(
    lm: LanguageModel, known: Sequence[dict], count: int, method: str, seed: int
) -> list[dict]:
    """Teach one draw by a method of `METHODS` and ask for it in all ways.

    For "weights", a new process is asked as well, once the adapter has been saved.
    """
    drawn = draw(known, count, seed)
    told = statements(drawn, ("forward", "reversed") if "both" in method else ("forward",))
    if "weights" not in method:
        shown = told if "prompt" in method else ()
        return [row | {"training_loss": 0.0} for row in recall(lm, drawn, method, shown)]
    tuned = teach(lm, told, seed)
    rows = recall(tuned.lm, drawn, method)
    if method == "weights":
        with tempfile.TemporaryDirectory() as scratch:
            adapters.save(tuned.lm, Path(scratch, "adapter"))
            rows += in_new_process(lm, count, seed, Path(scratch, "adapter"))
    return [row | {"training_loss": tuned.history.loss.tail(3).mean()} for row in rows]


def right(
    results: pd.DataFrame, method: str, asked: str = "forward", answered: str = "choice"
) -> np.ndarray:
    """Which facts of a stored result a method got right, as a boolean array [draws, facts]."""
    rows = results[(results["method"] == method) & (results["asked"] == asked)]
    rows = rows[rows["answered"] == answered].sort_values("draw")
    return unpacked(rows["right"])


def facts_plan(lm: LanguageModel, draws: int, count: int) -> Plan:
    """All methods on every draw; those that are told twice as much come at the end."""
    known = load("invented_facts")
    cells = [{"draw": d, "method": method} for d in range(draws) for method in METHODS[:3]]
    cells += [{"draw": d, "method": method} for d in range(draws) for method in METHODS[3:]]
    settled = {"task": "facts", "questions": count, "data": digest(*known), "settings": _settings()}

    def work(draw: int, method: str) -> list[dict]:
        return measure_facts(lm, known, count, method, draw)

    return Plan(cells, work, settled, ["draw", "accuracy", "training_loss"])


# What a change takes


def updates_plan(lm: LanguageModel, draws: int, count: int) -> Plan:
    """Draw `d` changes policy `d` and trains with seed `d`."""
    policies = load("changed_policies")
    settings = _settings() | {"most_steps": updates.MOST_STEPS}
    settled = {
        "task": "updates",
        "questions": None,
        "data": digest(*policies),
        "settings": settings,
    }
    numbers = ["draw", "steps", "examples", "seconds", "ranked", "written", "others", "made"]

    def work(draw: int) -> list[dict]:
        return updates.measure(lm, policies, draw)

    cells = [{"draw": d} for d in range(min(draws, len(policies)))]
    return Plan(cells, work, settled, numbers)


# What else is forgotten


def neutral_lines(count: int = NEUTRAL) -> list[str]:
    """The first lines of `data/neutral_text.txt`, which is about everyday matters."""
    return (DATA / "neutral_text.txt").read_text("utf-8").splitlines()[:count]


def neutral_loss(lm: LanguageModel, lines: Sequence[str]) -> float:
    """Mean loss in nats per token of plain English, each line read on its own."""
    encoded = [finetune.Encoded(encode(lm.tokenizer, line), 1) for line in lines]
    return float(np.concatenate([finetune.token_losses(lm, one) for one in encoded]).mean())


def unharmed(lm: LanguageModel, taught: Sequence[dict], seed: int) -> dict:
    """What is known of taught facts, and of what was never taught: plain English, another task."""
    task = load_task(OTHER_TASK)
    asked = task.held_out[:ITEMS]
    said = answer(lm, task, task.draw(SHOTS, seed), texts(asked))
    right = [one == example.label for one, example in zip(said, asked, strict=True)]
    found = {
        "facts": float(choose(lm, taught).mean()),
        "neutral": neutral_loss(lm, neutral_lines()),
    }
    return found | {"accuracy": float(np.mean(right)), "right": bits(right)}


def measure_forgetting(
    lm: LanguageModel, known: Sequence[dict], count: int, rank: int, seed: int
) -> list[dict]:
    """Teach one draw of facts, and look at each of `CHECKPOINTS` what else has changed.

    Rank 0 is the base, which is asked once.
    """
    drawn = draw(known, count, seed)
    if not rank:
        return [{"steps": 0, "loss": 0.0} | unharmed(lm, drawn, seed)]
    tuned = finetune.with_adapter(lm, rank, seed)
    return [
        {"steps": record["step"], "loss": record["loss"]} | unharmed(tuned, drawn, seed)
        for record in train_on(tuned, statements(drawn), CHECKPOINTS[-1], seed)
        if record["step"] in CHECKPOINTS
    ]


def forgotten(results: pd.DataFrame, measure: str, rank: int, steps: int) -> np.ndarray:
    """How much `measure` of a stored result moved from the base, draw by draw, as [draws]."""
    by_draw = results.set_index(["rank", "steps", "draw"])[measure].sort_index()
    return (by_draw[rank, steps] - by_draw[0, 0]).dropna().to_numpy()  # a run may be cut short


def by_steps(results: pd.DataFrame, measure: str) -> dict[str, dict[int, tuple]]:
    """Mean and 95 % interval over draws of `measure`, for each rank at each number of steps."""
    base = results[results["rank"] == 0][measure]
    found = {}
    for rank in sorted(set(results["rank"]) - {0}):
        rows = results[results["rank"] == rank].groupby("steps")[measure]
        values = {0: base} | dict(iter(rows))
        found[f"rank {rank}"] = {n: mean(v) for n, v in values.items()}
    return found


def forgetting_plan(lm: LanguageModel, draws: int, count: int) -> Plan:
    """Every draw at every rank, and once without training."""
    known = load("invented_facts")
    cells = [{"draw": d, "rank": rank} for d in range(draws) for rank in (0, *RANKS)]
    settings = _settings() | {"checkpoints": list(CHECKPOINTS), "facts": count, "shots": SHOTS}
    data = digest(*known, *neutral_lines())
    settled = {"task": "forgetting", "questions": ITEMS, "data": data, "settings": settings}
    numbers = ["draw", "rank", "steps", "loss", "facts", "neutral", "accuracy"]

    def work(draw: int, rank: int) -> list[dict]:
        return measure_forgetting(lm, known, count, rank, draw)

    return Plan(cells, work, settled, numbers)


PLANS = {"facts": facts_plan, "updates": updates_plan, "forgetting": forgetting_plan}


def _settings() -> dict:
    return {"passes": PASSES, "rate": RATES["lora"], **RECIPE}


def main(arguments: list[str] | None = None) -> int:
    """Make a stored result, draw by draw; or recall one draw of facts in this very process."""
    parser = plan.parser("memory", [*PLANS, "recall"], main.__doc__)
    parser.add_argument("--facts", type=int, default=16, help="facts in a draw, a multiple of 4")
    parser.add_argument("--seed", type=int, default=0, help="the draw that recall asks for")
    parser.add_argument("--adapter", help="the folder of a saved adapter, for recall")
    options = parser.parse_args(arguments)
    if options.what == "recall":
        return _recall(options)
    return plan.make(options, lambda lm: PLANS[options.what](lm, options.draws, options.facts))


def _recall(options: argparse.Namespace) -> int:
    """Print the rows of one draw, forward only, as one line of JSON."""
    try:
        lm = models.load(options.model)
        drawn = draw(load(), options.facts, options.seed)
        rows = recall(lm, drawn, "prompt" + LATER, ways=("forward",))
        if options.adapter:
            tuned = adapters.load(lm, options.adapter)
            rows += recall(tuned, drawn, "weights" + LATER, ways=("forward",))
    except (ModelError, DataError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())

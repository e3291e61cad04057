"""Why it works: what is lost without some heads, when an answer appears, what a state carries.

`python -m lessons.l09_inside ablation`, `lens` and `vectors` make the stored results of these
names. Heads are chosen on random tokens alone (`heads.py`); states are read in `lens.py`.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from helpers.compare import mean, questions
from helpers.data import Example, Task, load_task, texts
from helpers.teaching import RATES, RECIPE
from helpers.model import LanguageModel
from helpers.scoring import answer, predict, score_labels
from helpers.study import digest
from lessons import _by_layer as by_layer
from lessons import facts
from lessons._by_layer import ITEMS, SHOTS, right, scored
from lessons.heads import (
    INDUCTION,
    Head,
    ablated,
    continues,
    halves,
    induction_map,
    mean_outputs,
    others,
    repeated,
    strongest,
)
from lessons.l05_memory import neutral_lines, neutral_loss
from lessons.l06_misleading import relabelled
from lessons._plan import Plan, main

INTACT, INDUCTIVE, ANYWHERE, SAME_LAYERS = WAYS = (
    "nothing",
    "induction heads",
    "random heads",
    "random heads, same layers",
)
SKILLS = ("past_tense", "antonyms", "category")  # asked with demonstrations
INVENTED = "category, invented words"
FACTS = 8
SEQUENCES = 8  # of random tokens, on which the heads are chosen
ENGLISH, FOR_MEANS = slice(0, 8), slice(20, 40)  # lines of plain English, never the same


class Found(NamedTuple):
    """The induction heads of a model, the map they were chosen on, and all heads' mean outputs."""

    scores: np.ndarray
    chosen: list[Head]
    means: torch.Tensor


def find(lm: LanguageModel) -> Found:
    """Find the induction heads on random tokens, and the mean outputs on plain English."""
    scores = induction_map(lm, repeated(lm, SEQUENCES))
    return Found(scores, strongest(scores), mean_outputs(lm, neutral_lines(72)[FOR_MEANS]))


def without(found: Found, way: str, seed: int) -> list[Head]:
    """The heads that are ablated in a way of `WAYS`; the random ones are drawn by seed."""
    if way == INTACT:
        return []
    if way == INDUCTIVE:
        return found.chosen
    return others(found.scores, found.chosen, seed, by_layer=way == SAME_LAYERS)


# What is lost without some heads


def invented() -> Task:
    """Two categories of words whose names are invented, so that only the prompt can tell them."""
    task, _ = relabelled(load_task("category"), [], "nonsense")
    two = task.labels[:2]
    kept = [tuple(e for e in rows if e.label in two) for rows in (task.train, task.held_out)]
    return replace(task, labels=two, train=kept[0], held_out=kept[1])


def continues_random(lm: LanguageModel, seed: int, count: int = 3) -> list[dict]:
    """Random tokens that come twice: the loss of each half, and the second half's tokens right."""
    losses, right = continues(lm, repeated(lm, count, seed=1000 + seed))
    first, second = (float(half.mean()) for half in halves(losses))
    told = halves(right)[1].ravel()
    return [
        {"what": "random tokens, first time", "value": first, "right": ""},
        {"what": "random tokens, second time", "value": second, "right": ""},
        scored(told, what="random tokens again"),
    ]


def skills(lm: LanguageModel, seed: int, names: Sequence[str] = SKILLS) -> list[dict]:
    """Tasks with demonstrations in the prompt, that the model has the skill for."""
    return [scored(few_shot(lm, load_task(name), seed), what=name) for name in names]


def few_shot(lm: LanguageModel, task: Task, seed: int) -> list[bool]:
    """Which questions are answered right behind a draw of `SHOTS` demonstrations."""
    asked, drawn = questions(task, ITEMS), task.draw(SHOTS, seed)
    if task.labels:
        said = predict(task, score_labels(lm, task, drawn, texts(asked)))
    else:
        said = answer(lm, task, drawn, texts(asked))
    return [one == example.label for one, example in zip(said, asked, strict=True)]


def recalls(
    lm: LanguageModel, drawn: Sequence[dict], where: str, shown: Sequence[Example] = ()
) -> list[dict]:
    """Invented facts that were taught in the prompt or in the weights, chosen and written."""
    written = np.array(facts.write(lm, drawn, shown=shown))
    return [
        scored(facts.choose(lm, drawn, shown=shown), what=f"facts, {where}"),
        scored(written == [one["answer"] for one in drawn], what=f"facts, {where}, written"),
    ]


def ablation_plan(lm: LanguageModel, draws: int) -> Plan:
    """In each draw the same questions in all `WAYS`, each draw with random heads of its own."""
    found, known = find(lm), facts.load()
    english = neutral_lines(72)[ENGLISH]

    def asked(one: LanguageModel, drawn: Sequence[dict], draw: int) -> Iterator[dict]:
        shown = facts.statements(drawn)
        yield from continues_random(one, draw)
        yield {"what": "plain English", "value": neutral_loss(one, english), "right": ""}
        yield from skills(one, draw)
        yield scored(few_shot(one, invented(), draw), what=INVENTED)
        yield from recalls(one, drawn, "prompt", shown)

    def work(draw: int) -> list[dict]:
        drawn, rows = facts.draw(known, FACTS, draw), []
        tuned = facts.teach(lm, facts.statements(drawn), draw).lm
        rows += [{"ablated": INTACT} | row for row in recalls(lm, drawn, "untaught")]
        for way in WAYS:
            chosen = without(found, way, draw)
            with ablated(lm, chosen, found.means):
                rows += [{"ablated": way} | row for row in asked(lm, drawn, draw)]
            with ablated(tuned, chosen, found.means):
                rows += [{"ablated": way} | row for row in recalls(tuned, drawn, "weights")]
        return rows

    settings = {"shots": SHOTS, "items": ITEMS, "facts": FACTS, "least": INDUCTION}
    settings |= {"heads": [list(head) for head in found.chosen], "rate": RATES["lora"], **RECIPE}
    data = digest(*known, *english, *(load_task(name).train for name in SKILLS))
    settled = {"task": "ablation", "data": data, "settings": settings}
    return Plan([{"draw": d} for d in range(draws)], work, settled, ["draw", "value"])


def lost(
    results: pd.DataFrame, what: str, way: str, against: str = INTACT
) -> tuple[float, float, float]:
    """How much more is right with a way of `WAYS` than with another, as (mean, low, high).

    From a stored result on `ablation`, paired by draw and question.
    """
    one, other = (right(results, what=what, ablated=name) * 1.0 for name in (way, against))
    return mean(one - other)


def learned(results: pd.DataFrame, where: str) -> tuple[float, float, float]:
    """How many more facts are chosen right, taught in the "prompt" or the "weights", than untaught.

    From a stored result on `ablation`, with all heads at work, as (mean, low, high).
    """
    intact = results[results["ablated"] == INTACT]
    taught, untaught = (right(intact, what=f"facts, {one}") * 1.0 for one in (where, "untaught"))
    return mean(taught - untaught)


PLANS = {"ablation": ablation_plan, "lens": by_layer.lens_plan, "vectors": by_layer.vectors_plan}

if __name__ == "__main__":
    sys.exit(main("inside", PLANS))

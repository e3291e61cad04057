"""Facts that change often, facts taught without losing English, and facts that are looked up.

A fact is updated to an answer that was wrong before, so every update contradicts what was taught.
Replay mixes what must not be forgotten into each training step: half of a batch is then earlier
text, of it one half other facts and one half plain English (the idea: Robins 1995, "Catastrophic
forgetting, rehearsal and pseudorehearsal", Connection Science 7). English is replayed from every
second line of the neutral text, and measured on the others.
"""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import pandas as pd

from helpers import compare, finetune, prompts
from helpers.compare import scored
from helpers.data import Example, load_rows
from helpers.finetune import Encoded
from helpers.model import LanguageModel
from helpers.scoring import answer, score_options
from helpers.study import Study, digest
from helpers.teaching import LORA
from lessons import facts
from lessons.english import neutral_lines, neutral_loss
from lessons.fair_uses import nested
from lessons.verdict import contrast

UPDATES = 20  # one fact each
MOST_STEPS = 32  # of training on one update
REPLAYS = {"none": 0.0, "half": 0.5}  # the share of a batch that is earlier text
RATES, TARGET, LIMIT = (1e-4, 3e-4, 1e-3), 0.1, 400  # nats per token to reach, steps at most
TOP = (1, 4)  # lines that are looked up for a question
ENGLISH = neutral_lines(72)
REPLAYED, MEASURED = ENGLISH[::2], ENGLISH[1::2]


# Training with replay


def batches(
    lm: LanguageModel,
    new: Sequence[Example],
    old: Sequence[Example],
    replay: float,
    rng: np.random.Generator,
) -> Iterator[list[Encoded]]:
    """Endless batches of the usual size: new lines in turn, and the share of earlier text."""
    count = round(LORA.batch * replay)
    fresh, known = (finetune.encode_examples(lm, facts.TASK, part) for part in (new, old))
    english = [Encoded(prompts.encode(lm.tokenizer, line), 1) for line in REPLAYED]
    order: list[int] = []
    while True:
        size = min(len(fresh), LORA.batch - count)
        if len(order) < size:
            order = rng.permutation(len(fresh)).tolist()
        batch = [fresh[order.pop()] for _ in range(size)]
        batch *= (LORA.batch - count) // size if count else 1  # as much weight as what is replayed
        pools = [known or english, english]
        batch += [pool[rng.integers(len(pool))] for pool in pools for _ in range(count // 2)]
        yield batch


def train(lm: LanguageModel, source: Iterator, most: int, rate: float) -> Iterator[dict]:
    """Train the adapter of `lm` in place, at a constant rate, on at most so many batches."""
    plan = [(0, next(source)) for _ in range(most)]
    yield from finetune.train_adapter(lm, plan, rate, lambda step: 1.0)


# Twenty updates in a row


def updated(fact: dict) -> dict:
    """The fact with its first wrong answer for the right one; the old answer is wrong now."""
    new, *others = fact["distractors"]
    return fact | {"answer": new, "distractors": [fact["answer"], *others]}


def learn_update(
    lm: LanguageModel, fact: dict, others: Sequence[dict], replay: float, rng: np.random.Generator
) -> int:
    """Train in place until the new answer is likeliest and written; returns the steps it took."""
    lines = facts.statements([fact]), facts.statements(others)
    training = train(lm, batches(lm, *lines, replay, rng), MOST_STEPS, LORA.rate)
    steps = 0
    for _ in training:
        steps += 1
        if facts.choose(lm, [fact])[0] and facts.write(lm, [fact]) == [fact["answer"]]:
            break
    return steps


def updates_in_a_row(lm: LanguageModel, arm: str, seed: int) -> list[dict]:
    """Teach 20 facts, update one after the other, and ask for all of them at the end.

    `arm` is "prompt", whose lines are edited, or names one of the `REPLAYS` of retrained weights.
    """
    known = facts.draw(load_rows("invented_facts"), UPDATES, seed)
    after, rng, steps, shown = [updated(fact) for fact in known], np.random.default_rng(seed), 0, []
    tuned = lm
    if arm == "prompt":
        shown = facts.statements(after)
    else:
        tuned = facts.teach(lm, facts.statements(known), seed).lm
        for i in range(UPDATES):
            others = [*after[:i], *known[i + 1 :]]
            steps += learn_update(tuned, after[i], others, REPLAYS[arm], rng)
    rows = facts.recall(tuned, after, arm, shown, asked=("forward", "paraphrase"))
    english = {"way": arm, "asked": "", "measure": "neutral", "right": ""}
    rows += [english | {"value": neutral_loss(tuned, MEASURED)}]
    return [row | {"steps": steps} for row in rows]


def updates_study(lm: LanguageModel, draws: int) -> Study:
    """The edited prompt and the retrained weights, each with its own draw of facts."""
    cells = [{"draw": d, "arm": arm} for d in range(draws) for arm in ("prompt", *REPLAYS)]
    settings = {"updates": UPDATES, "most_steps": MOST_STEPS, "rate": LORA.rate}
    settled = {"task": "updates_often", "questions": UPDATES, "data": _data(), "settings": settings}

    def work(draw: int, arm: str) -> list[dict]:
        return updates_in_a_row(lm, arm, draw)

    return Study("updates in a row", cells, work, settled, ["draw", "value", "steps"])


def of_updates(rows: pd.DataFrame) -> Iterator[dict]:
    """F8 from the rows of `updates_study`, asked in other words; each draw has its own facts."""
    for replay, readout in product(REPLAYS, ("choice", "written")):
        edited, retrained = (
            compare.right(rows, way=way, asked="paraphrase", measure=readout)
            for way in ("prompt", replay)
        )
        number = nested(edited.astype(float) - retrained)
        yield contrast("F8", f"replay {replay}", readout, "default", number, len(edited))


def _data() -> str:
    return digest(*load_rows("invented_facts"), *ENGLISH)


# Teaching without losing English


def learned(lm: LanguageModel, rate: float, replay: float, seed: int) -> list[dict]:
    """Teach 16 facts until the loss of a pass over them is at `TARGET`; what was learned and lost.

    So rates and replays are compared where as much is known, not after as many steps.
    """
    known = facts.draw(load_rows("invented_facts"), 16, seed)
    tuned, rng, losses = finetune.with_adapter(lm, LORA.rank, seed), np.random.default_rng(seed), []
    lines = facts.statements(known)
    encoded = finetune.encode_examples(lm, facts.TASK, lines)
    source = batches(tuned, lines, [], replay, rng)
    for step, _ in enumerate(train(tuned, source, LIMIT, rate), 1):
        if step % 4 == 0:
            counted = [finetune.token_losses(tuned, line)[line.start - 1 :] for line in encoded]
            losses.append(float(np.concatenate(counted).mean()))
            if losses[-1] <= TARGET:
                break
    rows = facts.recall(tuned, known, "weights", asked=("forward", "paraphrase"))
    english = {"way": "weights", "asked": "", "measure": "neutral", "right": ""}
    rows += [english | {"value": neutral_loss(tuned, MEASURED)}]
    return [row | {"steps": step, "loss": losses[-1]} for row in rows]


def forget_less_study(lm: LanguageModel, draws: int) -> Study:
    """Every rate with and without replay; rate 0 is the base, whose English is measured once."""
    cells = [{"draw": 0, "rate": 0.0, "replay": "none"}]
    cells += [
        {"draw": d, "rate": rate, "replay": replay}
        for d in range(draws)
        for rate in RATES
        for replay in REPLAYS
    ]
    settings = {"target": TARGET, "limit": LIMIT, "batch": LORA.batch}
    settled = {"task": "forget_less", "questions": 16, "data": _data(), "settings": settings}

    def work(draw: int, rate: float, replay: str) -> list[dict]:
        if rate:
            return learned(lm, rate, REPLAYS[replay], draw)
        value = neutral_loss(lm, MEASURED)
        base = {"way": "untaught", "asked": "", "measure": "neutral", "right": "", "value": value}
        return [base | {"steps": 0, "loss": 0.0}]

    return Study("forget less", cells, work, settled, ["draw", "rate", "value", "steps", "loss"])


# Looking a fact up


def looked_up(lm: LanguageModel, known: Sequence[dict], top: int, label: str) -> list[dict]:
    """Ask behind the `top` lines that are most like the question, by TF-IDF over characters."""
    near, rows = prompts.nearest(facts.statements(known), top), []
    for way in facts.ASKED:
        asked, options = zip(*(facts.question(fact, way) for fact in known), strict=True)
        chosen = score_options(lm, facts.TASK, near, asked, options).argmax(1) == 0
        said = answer(lm, facts.TASK, near, asked)
        truth = [facts.right_answer(fact, way) for fact in known]
        written = [text == right for text, right in zip(said, truth, strict=True)]
        for measure, right in {"choice": chosen, "written": written}.items():
            rows.append({"way": label, "asked": way} | scored(right, measure))
    return rows


TOLD = {  # what is trained
    "weights": ("forward",),
    "weights, with paraphrases": ("forward", "paraphrase"),
    "weights, both directions": ("forward", "reversed"),
    "weights, all three": facts.ASKED,
}


def third_way_study(lm: LanguageModel, draws: int) -> Study:
    """Facts in the prompt, looked up among all 64, and in weights told them in several ways."""
    every, ways = load_rows("invented_facts"), {f"retrieved, top {top}": top for top in TOP}
    cells = [
        {"draw": d, "arm": arm} for d in range(draws) for arm in ("prompt, all 64", *ways, *TOLD)
    ]
    settled = {"task": "third_way", "questions": len(every), "data": _data(), "settings": TOLD}

    def work(draw: int, arm: str) -> list[dict]:
        known = facts.draw(every, len(every), draw)
        if arm in ways:
            return looked_up(lm, known, ways[arm], arm)
        if arm in TOLD:
            taught = facts.teach(lm, facts.statements(known, TOLD[arm]), draw)
            return facts.recall(taught.lm, known, arm)
        return facts.recall(lm, known, arm, facts.statements(known))

    return Study("the third way", cells, work, settled, ["draw", "value"])

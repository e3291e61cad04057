"""Lesson 5: what stays of what was taught, what a change takes, and what else is forgotten.

`python -m lessons facts`, `updates` and `forgetting` make the stored results of these names, and
`updates_often`, `forget_less` and `third_way` those of `updating`;
`python -m lessons.l05_memory` asks for one draw of facts in a process of its own.

Ten policies of an invented company are taught; then one of them changes. A way of updating has
succeeded when the new answer is likelier than the old one and the model writes it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax

from helpers import adapters, checks, finetune
from helpers import model as models
from helpers.compare import Interval, interval, scored, values, where
from helpers.cost import Clock
from helpers.data import DATA, DataError, Example, load_rows, load_task, texts
from helpers.model import LanguageModel, ModelError
from helpers.scoring import answer, score_options
from helpers.study import Made, Study, digest
from helpers.teaching import LORA
from helpers.widgets import Panel, bars, explorer
from lessons import facts, updating
from lessons.english import neutral_lines, neutral_loss
from lessons.facts import PASSES, choose, draw, recall, statements, teach, train_on

BOTH_WAYS = ("forward", "reversed")
WAYS = {  # what stands in the prompt, and what is trained: the ways in which facts are told
    "untaught": ((), ()),
    "prompt": (("forward",), ()),
    "weights": ((), ("forward",)),
    "prompt, both directions": (BOTH_WAYS, ()),
    "weights, both directions": ((), BOTH_WAYS),
}
LATER = ", new process"  # the same, after the session has ended
FACTS = 16  # in a draw
RANKS = (2, 8, 32)
CHECKPOINTS = (4, 8, 16)  # steps of training after which forgetting is measured
OTHER_TASK, SHOTS, ITEMS = "past_tense", 4, 20  # what may be forgotten
MOST_STEPS = 32  # of retraining on a change
SETTINGS = {"passes": PASSES, "rate": LORA.rate, "batch": LORA.batch, "rank": LORA.rank}


# What is recalled, and what stays when the session ends


def in_new_process(lm: LanguageModel, count: int, seed: int, adapter: str | Path) -> list[dict]:
    """Ask for a draw of facts, forward, in a new Python process: it has only what is on disk.

    Returns rows as `recall` does: of the base, which has lost its prompt, and with the adapter.
    Raises `ModelError` when the process fails.
    """
    command = [sys.executable, "-m", "lessons.l05_memory", "--model", lm.name]
    command += ["--facts", str(count), "--seed", str(seed), "--adapter", str(adapter)]
    done = subprocess.run(command, cwd=DATA.parent, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise ModelError(f"The new process failed: {last}")
    return json.loads(done.stdout.splitlines()[-1])


def measure_facts(
    lm: LanguageModel, known: Sequence[dict], count: int, way: str, seed: int
) -> list[dict]:
    """Teach one draw in one of the `WAYS` and ask for it in all ways of asking.

    Trained once on facts told forward, a new process is asked as well, once the adapter is saved.
    """
    drawn = draw(known, count, seed)
    shown, trained = (statements(drawn, directions) for directions in WAYS[way])
    if not trained:
        return [row | {"training_loss": 0.0} for row in recall(lm, drawn, way, shown)]
    taught = teach(lm, trained, seed)
    rows = recall(taught.lm, drawn, way)
    if way == "weights":
        with tempfile.TemporaryDirectory() as scratch:
            adapters.save(taught.lm, Path(scratch, "adapter"))
            rows += in_new_process(lm, count, seed, Path(scratch, "adapter"))
    return [row | {"training_loss": taught.losses.tail(3).mean()} for row in rows]


def facts_study(lm: LanguageModel, draws: int, count: int = FACTS) -> Study:
    """All ways on every draw; those that are told twice as much come at the end."""
    known, names = load_rows("invented_facts"), list(WAYS)
    cells = [
        {"draw": d, "way": way}
        for group in (names[:3], names[3:])
        for d in range(draws)
        for way in group
    ]
    settled = {"task": "facts", "questions": count, "data": digest(*known), "settings": SETTINGS}

    def work(draw: int, way: str) -> list[dict]:
        return measure_facts(lm, known, count, way, draw)

    return Study("facts", cells, work, settled, ["draw", "value", "training_loss"])


# What a change takes


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
    said = facts.write(lm, policies, shown=shown)
    written = np.array(said) == [policy["answer"] for policy in policies]
    chosen = choose(lm, policies, shown=shown)
    state = {"ranked": int(chosen[number]), "written": int(written[number]), "answer": said[number]}
    others = (float(np.delete(right, number).mean()) for right in (chosen, written))
    return state | dict(zip(("others", "others_written"), others, strict=True))


def updated_in_every_way(lm: LanguageModel, policies: Sequence[dict], number: int) -> list[dict]:
    """Teach all policies, change one, and bring it to the model in each way; rows of measures.

    `seconds` are processor seconds from the change to the answer, with the question asked once;
    `steps` and `examples` are those of training. Retraining ends when the new answer is likelier
    than the old one and written, or after `MOST_STEPS`. `made` are the seconds that training the
    other adapter took beforehand.
    """
    after, states = changed(policies, number), []
    old_lines, new_lines = statements(policies), statements(after)
    policy, change = [after[number]], [new_lines[number]]

    def add(way: str, lm: LanguageModel, work: Callable[[], object] = tuple, shown=(), **more):
        with Clock() as clock:
            work()
            facts.write(lm, policy, shown=shown)
        row = {"way": way, "steps": 0, "examples": 0, "seconds": clock.processor, "made": 0.0}
        states.append(row | more | holds(lm, after, number, shown))

    add("prompt, before", lm, shown=old_lines)
    add("prompt, line replaced", lm, shown=new_lines)
    add("prompt, line added", lm, shown=[*old_lines, *change])
    with tempfile.TemporaryDirectory() as scratch:
        old, new = Path(scratch, "old"), Path(scratch, "new")
        adapters.save(teach(lm, old_lines, number).lm, old)
        made = teach(lm, new_lines, number)
        adapters.save(made.lm, new)
        add("weights, before", adapters.load(lm, old))
        for way, lines in (("the change", change), ("all policies", new_lines)):
            tuned = adapters.load(lm, old)
            steps, seconds = _train_until(tuned, lines, policy, number)
            more = {"steps": steps, "examples": steps * min(len(lines), LORA.batch)}
            add(f"weights, trained on {way}", tuned, **more)
            states[-1]["seconds"] += seconds
        tuned = adapters.load(lm, old)
        tuned.model.load_adapter(new, "new")
        swap = {"work": lambda: tuned.model.set_adapter("new"), "made": made.processor}
        add("weights, adapter swapped", tuned, **swap)
    return [row for state in states for row in _rows_of(state)]


def _rows_of(state: dict) -> list[dict]:
    """A row for each measure of what the model holds; the answer written stands once."""
    measures = ("ranked", "written", "others", "others_written")
    same = {key: value for key, value in state.items() if key not in measures}
    rows = []
    for measure in measures:
        right = str(state[measure]) if measure in measures[:2] else ""
        said = same["answer"] if measure == "written" else ""
        measured = {"measure": measure, "right": right, "value": state[measure]}
        rows.append(same | measured | {"answer": said})
    return rows


def _train_until(lm: LanguageModel, lines, policy, seed: int) -> tuple[int, float]:
    """Train on until the policy's answer is likeliest and written; steps and processor seconds."""
    training, steps, total = train_on(lm, lines, MOST_STEPS, seed), 0, 0.0
    while steps < MOST_STEPS:
        with Clock() as clock:
            next(training)
        steps, total = steps + 1, total + clock.processor
        if choose(lm, policy)[0] and facts.write(lm, policy) == [policy[0]["answer"]]:
            break
    return steps, total


def updates_study(lm: LanguageModel, draws: int) -> Study:
    """Draw `d` changes policy `d` and trains with seed `d`."""
    policies = load_rows("changed_policies")
    data, settings = digest(*policies), SETTINGS | {"most_steps": MOST_STEPS}
    settled = {"task": "updates", "questions": None, "data": data, "settings": settings}

    def work(draw: int) -> list[dict]:
        rows = updated_in_every_way(lm, policies, draw)
        return [{"policy": policies[draw]["id"]} | row for row in rows]

    cells = [{"draw": d} for d in range(min(draws, len(policies)))]
    numbers = ["draw", "steps", "examples", "seconds", "value", "made"]
    return Study("updates", cells, work, settled, numbers)


# What else is forgotten


def unharmed(lm: LanguageModel, taught: Sequence[dict], seed: int) -> list[dict]:
    """What is known of taught facts, and of what was never taught: plain English, another task.

    A row for each measure; that of plain English is in nats per token.
    """
    task = load_task(OTHER_TASK)
    asked = task.held_out[:ITEMS]
    said = answer(lm, task, task.draw(SHOTS, seed), texts(asked))
    right = [text == example.label for text, example in zip(said, asked, strict=True)]
    numbers = {
        "facts": float(choose(lm, taught).mean()),
        "neutral": neutral_loss(lm, neutral_lines()),
    }
    rows = [{"measure": name, "right": "", "value": value} for name, value in numbers.items()]
    return [scored(right, OTHER_TASK), *rows]


def measure_forgetting(
    lm: LanguageModel, known: Sequence[dict], count: int, rank: int, seed: int
) -> list[dict]:
    """Teach one draw of facts, and look at each of `CHECKPOINTS` what else has changed.

    Rank 0 is the base, which is asked once.
    """
    drawn = draw(known, count, seed)
    if not rank:
        base = {"steps": 0, "way": "untaught", "loss": 0.0}
        return [base | row for row in unharmed(lm, drawn, seed)]
    tuned = finetune.with_adapter(lm, rank, seed)
    return [
        {"steps": record["step"], "way": "weights", "loss": record["loss"]} | row
        for record in train_on(tuned, statements(drawn), CHECKPOINTS[-1], seed)
        if record["step"] in CHECKPOINTS
        for row in unharmed(tuned, drawn, seed)
    ]


def forgotten(results: pd.DataFrame, measure: str, rank: int, steps: int) -> np.ndarray:
    """How much `measure` of a stored result moved from the base, draw by draw, as [draws]."""
    rows = where(results, measure=measure)
    after = where(rows, rank=rank, steps=steps).set_index("draw")["value"]
    before = where(rows, rank=0).set_index("draw")["value"]
    return (after - before).dropna().to_numpy()  # a run may be cut short


def by_steps(results: pd.DataFrame, measure: str) -> dict[str, dict[int, Interval]]:
    """`measure` with its interval over draws, for each rank at each number of steps."""
    rows = where(results, measure=measure)
    return {
        f"rank {rank}": {0: interval(values(rows, rank=0))}
        | {n: interval(values(rows, rank=rank, steps=n)) for n in CHECKPOINTS}
        for rank in RANKS
    }


def forgetting_study(lm: LanguageModel, draws: int, count: int = FACTS) -> Study:
    """Every draw at every rank, and once without training."""
    known = load_rows("invented_facts")
    cells = [{"draw": d, "rank": rank} for d in range(draws) for rank in (0, *RANKS)]
    settings = SETTINGS | {"checkpoints": list(CHECKPOINTS), "facts": count, "shots": SHOTS}
    data = digest(*known, *neutral_lines())
    settled = {"task": "forgetting", "questions": ITEMS, "data": data, "settings": settings}

    def work(draw: int, rank: int) -> list[dict]:
        return measure_forgetting(lm, known, count, rank, draw)

    numbers = ["draw", "rank", "steps", "loss", "value"]
    return Study("forgetting", cells, work, settled, numbers)


MADE = {
    "facts": Made(60, facts_study),
    "updates": Made(25, updates_study),
    "forgetting": Made(40, forgetting_study),
    "updates_often": Made(60, updating.updates_study),
    "forget_less": Made(90, updating.forget_less_study),
    "third_way": Made(120, updating.third_way_study),
}


# Explorer and checks


def recall_explorer(
    ways: Mapping[str, tuple[LanguageModel, Sequence[Example]]], known: Sequence[dict]
) -> Panel:
    """Choose a fact and how to ask for it; see what each way of teaching holds of the answers.

    `ways` maps a name to a model and to what stands in its prompt.
    """

    def show(fact: str, asked: str) -> str:
        question, answers = facts.question(next(f for f in known if f["id"] == fact), asked)
        views = ""
        for name, (lm, shown) in ways.items():
            scores = score_options(lm, facts.TASK, list(shown), [question], [answers])[0]
            shares = dict(zip(answers, softmax(scores), strict=True))
            views += f"<p><b>{escape(name)}</b></p>{bars(shares)}"
        return f"<p>{escape(question)} … (right: <b>{escape(answers[0])}</b>)</p>{views}"

    sentence = "An explorer of recall, in a live notebook."
    return explorer(show, sentence, fact=[f["id"] for f in known], asked=list(facts.ASKED))


def check_loss_of_english(results: pd.DataFrame, rank: int, steps: int, nats: float | None) -> None:
    """Check how much the loss on plain English rose, from a stored result on forgetting."""
    truth = forgotten(results, "neutral", rank, steps).mean()
    after = values(results, measure="neutral", rank=rank, steps=steps).mean()
    facts_gained = forgotten(results, "facts", rank, steps).mean()
    checks.judge(
        nats,
        truth,
        f"the loss rises by {truth:.2f} nats per token.",
        "{answer:.3f} is not the mean rise at rank " + f"{rank} after {steps} steps.",
        {
            "the sign is wrong: take the loss before away from the loss after.": -truth,
            "that is the loss afterwards; take away the loss at 0 steps.": after,
            "that is the gain on the facts; plain English is the measure neutral.": facts_gained,
        },
        within=5e-3,
    )


def check_updated_prompt(
    lm: LanguageModel,
    known: Sequence[dict],
    number: int,
    new: str,
    lines: Sequence[Example] | None,
) -> None:
    """Check that with the learner's lines one fact has its new answer and no other is lost."""
    problem, fact = None, known[number]
    if lines is not None and not all(isinstance(line, Example) for line in lines):
        problem = "give a list of data.Example, as facts.statements makes it."
    elif lines is not None:
        (said,) = facts.write(lm, [fact], shown=lines)
        others = [other for other in known if other is not fact]
        then, now = (
            int(facts.choose(lm, others, shown=shown).sum())
            for shown in (facts.statements(known), lines)
        )
        if said != new:
            problem = f"the model writes {said!r}, not {new!r}."
            if facts.statements([fact])[0] in lines:
                problem += " The line with the old answer is still there."
        elif now < then:
            problem = f"only {now} of the other facts are right, {then} before: keep their lines."
    checks.tell(lines is not None, problem, f"the model writes {new!r}, and no other fact is lost.")


def main(arguments: list[str] | None = None) -> int:
    """Print the rows of one draw, asked forward in this very process, as one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m lessons.l05_memory", description=main.__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--facts", type=int, default=FACTS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--adapter", help="the folder of a saved adapter")
    options = parser.parse_args(arguments)
    try:
        lm = models.load(options.model)
        drawn = draw(load_rows("invented_facts"), options.facts, options.seed)
        rows = recall(lm, drawn, "prompt" + LATER, asked=("forward",))
        if options.adapter:
            tuned = adapters.load(lm, options.adapter)
            rows += recall(tuned, drawn, "weights" + LATER, asked=("forward",))
    except (ModelError, DataError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())

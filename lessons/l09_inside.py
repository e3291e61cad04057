"""Lesson 9: what is lost without some heads, when an answer appears, what a state carries.

`python -m lessons ablation`, `lens` and `vectors` make the stored results of these names. Heads are
chosen on random tokens alone (`heads.py`); states are read in `states.py`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from html import escape
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from helpers import checks
from helpers.compare import Interval, interval, right, scored
from helpers.data import Example, Task, load_rows, load_task, texts
from helpers.model import LanguageModel
from helpers.prompts import encode, plain
from helpers.scoring import answer, predict, score_labels
from helpers.study import Made, Study, digest, questions
from helpers.teaching import LORA
from helpers.widgets import Panel, explorer
from lessons import facts, heads, states
from lessons.english import neutral_lines, neutral_loss
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
from lessons.words import with_invented_words

SHOTS, ITEMS = 8, 20  # demonstrations, questions
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
TASKS = ("past_tense", "plurals", "antonyms", "capitals")
DUMMIES = 8  # queries over which a task vector is a mean
OWN, OTHER, UNTAUGHT, PROMPTED = VECTORS = (
    "its own vector",
    "another task's vector",
    "zero-shot",
    "demonstrations",
)
CHOOSING = (100, 101)  # draws that serve to choose the layer, and nothing else


class InductionHeads(NamedTuple):
    """The induction heads of a model, the map they were chosen on, and all heads' mean outputs."""

    scores: np.ndarray
    chosen: list[Head]
    means: torch.Tensor


def find(lm: LanguageModel) -> InductionHeads:
    """Find the induction heads on random tokens, and the mean outputs on plain English."""
    scores = induction_map(lm, repeated(lm, SEQUENCES))
    return InductionHeads(scores, strongest(scores), mean_outputs(lm, neutral_lines(72)[FOR_MEANS]))


def without(known: InductionHeads, way: str, seed: int) -> list[Head]:
    """The heads that are ablated in a way of `WAYS`; the random ones are drawn by seed."""
    if way == INTACT:
        return []
    if way == INDUCTIVE:
        return known.chosen
    return others(known.scores, known.chosen, seed, by_layer=way == SAME_LAYERS)


# What is lost without some heads


def invented() -> Task:
    """Two categories of words whose names are invented, so that only the prompt can tell them."""
    task = with_invented_words(load_task("category"))
    two = task.labels[:2]
    kept = [tuple(e for e in rows if e.label in two) for rows in (task.train, task.held_out)]
    return replace(task, labels=two, train=kept[0], held_out=kept[1])


def continues_random(lm: LanguageModel, seed: int, count: int = 3) -> list[dict]:
    """Random tokens that come twice: the loss of each half, and the second half's tokens right."""
    losses, right = continues(lm, repeated(lm, count, seed=1000 + seed))
    first, second = (float(half.mean()) for half in halves(losses))
    return [
        {"measure": "random tokens, first time", "value": first, "right": ""},
        {"measure": "random tokens, second time", "value": second, "right": ""},
        scored(halves(right)[1].ravel(), "random tokens again"),
    ]


def skills(lm: LanguageModel, seed: int, names: Sequence[str] = SKILLS) -> list[dict]:
    """Tasks with demonstrations in the prompt, that the model has the skill for."""
    return [scored(few_shot(lm, load_task(name), seed), name) for name in names]


def few_shot(lm: LanguageModel, task: Task, seed: int) -> list[bool]:
    """Which questions are answered right behind a draw of `SHOTS` demonstrations."""
    asked, drawn = questions(task, ITEMS), task.draw(SHOTS, seed)
    if task.labels:
        said = predict(task, score_labels(lm, task, drawn, texts(asked)))
    else:
        said = answer(lm, task, drawn, texts(asked))
    return [text == example.label for text, example in zip(said, asked, strict=True)]


def recalls(
    lm: LanguageModel, drawn: Sequence[dict], where: str, shown: Sequence[Example] = ()
) -> list[dict]:
    """Invented facts that were taught in the prompt or in the weights, chosen and written."""
    written = np.array(facts.write(lm, drawn, shown=shown))
    return [
        scored(facts.choose(lm, drawn, shown=shown), f"facts, {where}"),
        scored(written == [fact["answer"] for fact in drawn], f"facts, {where}, written"),
    ]


def ablation_study(lm: LanguageModel, draws: int) -> Study:
    """In each draw the same questions in all `WAYS`, each draw with random heads of its own."""
    heads_found, known = find(lm), load_rows("invented_facts")
    english = neutral_lines(72)[ENGLISH]

    def asked(drawn: Sequence[dict], draw: int) -> Iterator[dict]:
        yield from continues_random(lm, draw)
        yield {"measure": "plain English", "value": neutral_loss(lm, english), "right": ""}
        yield from skills(lm, draw)
        yield scored(few_shot(lm, invented(), draw), INVENTED)
        yield from recalls(lm, drawn, "prompt", facts.statements(drawn))

    def work(draw: int) -> list[dict]:
        drawn = facts.draw(known, FACTS, draw)
        tuned = facts.teach(lm, facts.statements(drawn), draw).lm
        rows = [{"way": INTACT} | row for row in recalls(lm, drawn, "untaught")]
        for way in WAYS:
            chosen = without(heads_found, way, draw)
            with ablated(lm, chosen, heads_found.means):
                rows += [{"way": way} | row for row in asked(drawn, draw)]
            with ablated(tuned, chosen, heads_found.means):
                rows += [{"way": way} | row for row in recalls(tuned, drawn, "weights")]
        return rows

    settings = {"shots": SHOTS, "items": ITEMS, "facts": FACTS, "least": INDUCTION}
    settings |= {"heads": [list(head) for head in heads_found.chosen]}
    settings |= {"rate": LORA.rate, "batch": LORA.batch, "rank": LORA.rank}
    data = digest(*known, *english, *(load_task(name).train for name in SKILLS))
    settled = {"task": "ablation", "data": data, "settings": settings}
    cells = [{"draw": d} for d in range(draws)]
    return Study("ablation", cells, work, settled, ["draw", "value"])


def lost(results: pd.DataFrame, measure: str, way: str, against: str = INTACT) -> Interval:
    """How much more is right with a way of `WAYS` than with another.

    From a stored result on `ablation`, paired by draw and question.
    """
    here, there = (right(results, measure=measure, way=name) * 1.0 for name in (way, against))
    return interval(here - there)


def learned(results: pd.DataFrame, where: str) -> Interval:
    """How many more facts are chosen right, taught in the "prompt" or the "weights", than untaught.

    From a stored result on `ablation`, with all heads at work.
    """
    taught, untaught = (
        right(results, way=INTACT, measure=f"facts, {place}") * 1.0 for place in (where, "untaught")
    )
    return interval(taught - untaught)


# When an answer appears


def lens_study(lm: LanguageModel, draws: int) -> Study:
    """How many answers come first at each layer, with demonstrations and, once, without."""

    def work(draw: int, task: str, shots: int) -> list[dict]:
        given = states.with_start(task)
        asked = questions(given, ITEMS)
        prompts, answers = states.ask(lm, given, given.draw(shots, draw), asked)
        chances, places = states.through_lens(lm, prompts, answers)
        return [
            {"way": "in-context", "layer": layer}
            | scored(places[:, layer] == 0, "first place")
            | {"log_probability": float(chances[:, layer].mean())}
            | {"place": float(np.median(places[:, layer]))}
            for layer in range(chances.shape[1])
        ]

    cells = [{"draw": 0, "task": name, "shots": 0} for name in TASKS]
    cells += [{"draw": d, "task": name, "shots": SHOTS} for d in range(draws) for name in TASKS]
    settled = {"task": "lens", "questions": ITEMS, "data": _digest(TASKS)}
    numbers = ["draw", "shots", "layer", "value", "log_probability", "place"]
    return Study("lens", cells, work, settled, numbers)


def in_first_place(results: pd.DataFrame, shots: int, layers: Sequence[int]) -> dict[int, Interval]:
    """Share of answers that the logit lens puts first, all tasks together, layer by layer."""
    return {layer: interval(right(results, shots=shots, layer=layer)) for layer in layers}


# What one state carries


def vectors_study(lm: LanguageModel, draws: int) -> Study:
    """First the layer is chosen, on `train` rows and draws of their own; then it is used.

    Every second layer is tried, and the one that does best over all tasks together is taken.
    """
    tried = range(0, lm.model.config.num_hidden_layers, 2)

    @cache
    def vector(draw: int, task: str) -> torch.Tensor:
        drawn = states.with_start(task).draw(SHOTS + DUMMIES, draw)
        return states.task_vector(lm, states.with_start(task), drawn[:SHOTS], drawn[SHOTS:])

    @cache
    def choosing(draw: int, task: str) -> list[dict]:
        asked = states.with_start(task).draw(SHOTS + DUMMIES + ITEMS, draw)[-ITEMS:]
        return [carried(lm, task, asked, OWN, vector(draw, task), layer) for layer in tried]

    @cache
    def best() -> int:
        rows = [row for d in CHOOSING for name in TASKS for row in choosing(d, name)]
        return int(pd.DataFrame(rows).groupby("layer")["value"].mean().idxmax())

    def work(draw: int, task: str) -> list[dict]:
        if draw in CHOOSING:
            return choosing(draw, task)
        given = states.with_start(task)
        asked = questions(given, ITEMS)
        other = TASKS[TASKS.index(task) - 1]
        vectors = {OWN: vector(draw, task), OTHER: vector(draw, other)}
        prompts, answers = states.ask(lm, given, given.draw(SHOTS, draw), asked)
        prompted = states.scores(lm, prompts).argmax(1).cpu().numpy() == answers
        rows = [carried(lm, task, asked, name, state, best()) for name, state in vectors.items()]
        rows.append(carried(lm, task, asked, UNTAUGHT))
        return [*rows, {"way": PROMPTED, "layer": -1} | scored(prompted, "first token")]

    cells = [{"draw": d, "task": name} for d in (*CHOOSING, *range(draws)) for name in TASKS]
    settings = {"shots": SHOTS, "dummies": DUMMIES, "choosing": list(CHOOSING)}
    settled = {"task": "vectors", "questions": ITEMS, "data": _digest(TASKS)}
    numbers = ["draw", "layer", "value"]
    return Study("vectors", cells, work, settled | {"settings": settings}, numbers)


def carried(
    lm: LanguageModel,
    task: str,
    asked: Sequence[Example],
    name: str,
    vector: torch.Tensor | None = None,
    layer: int = -1,
) -> dict:
    """Ask without demonstrations, with the task vector put in at `layer` where there is one.

    An answer is right where its first token is the likeliest.
    """
    prompts, answers = states.ask(lm, states.with_start(task), [], asked)
    put = nullcontext() if vector is None else states.put_in(lm, layer, vector[layer])
    with put:
        likeliest = states.scores(lm, prompts).argmax(1).cpu().numpy()
    return {"way": name, "layer": layer} | scored(likeliest == answers, "first token")


def reached(results: pd.DataFrame) -> dict[str, dict[str, Interval]]:
    """How many answers come with each of `VECTORS`, for each task.

    From the draws of a stored result on `vectors` that did not serve to choose the layer.
    """
    used = results[~results["draw"].isin(CHOOSING)]
    tasks = dict.fromkeys(used["task"])
    return {
        name: {task: interval(right(used, task=task, way=name)) for task in tasks}
        for name in VECTORS
    }


def _digest(names: Sequence[str]) -> str:
    return digest(*((task.train, questions(task, ITEMS)) for task in map(load_task, names)))


MADE = {
    "ablation": Made(45, ablation_study),
    "lens": Made(10, lens_study),
    "vectors": Made(10, vectors_study),
}


# Explorer and checks


def head_explorer(lm: LanguageModel, tasks: Mapping[str, Task], start: Head) -> Panel:
    """Choose a task, a draw, a query, a layer and a head; see what it looks at from the last token.

    `start` is the head that is shown first.
    """
    seen = {}

    def show(task: str, shots: int, draw: int, query: int, layer: int, head: int) -> str:
        given, key = tasks[task], (task, shots, draw, query)
        prompt = plain(given, given.draw(shots, draw), given.held_out[query].text)
        tokens = encode(lm.tokenizer, prompt)
        if key not in seen:
            seen.clear()
            seen[key] = heads.attention(lm, tokens)[:, :, -1]
        shares = zip(tokens, seen[key][layer, head], strict=True)
        return "".join(_shaded(lm.tokenizer.decode([token]), share) for token, share in shares)

    return explorer(
        show,
        "An explorer of attention, in a live notebook.",
        task=list(tasks),
        shots=(4, range(1, 9)),
        draw=range(10),
        query=range(10),
        layer=(start[0], range(len(heads.layers(lm)))),
        head=(start[1], range(lm.model.config.num_attention_heads)),
    )


def _shaded(token: str, share: float) -> str:
    """A token on a ground that is the darker, the more is looked at it, with the share below."""
    text = f"{share:.2f}".removeprefix("0") if share >= 0.05 else "&nbsp;"
    visible = escape(token).replace("\n", "\\n")
    return (
        f"<span style='display:inline-block;margin:1px;padding:1px 3px;text-align:center;"
        f"font-family:monospace;white-space:pre;background:rgba(213,94,0,{share:.2f})'>{visible}"
        f"<br><small>{text}</small></span>"
    )


def check_induction_score(seen: np.ndarray, score: float | None) -> None:
    """Check the induction score of one head, worked out from its attention [tokens, tokens]."""
    truth, half = float(heads.induction_score(seen)), len(seen) // 2
    second = np.arange(half, 2 * half)
    looks = {back: float(seen[second, second - half + back].mean()) for back in (-1, 0)}
    checks.judge(
        score,
        truth,
        f"{truth:.2f} of its attention goes there.",
        "{answer:.4f} is not this head's score.",
        {
            "that looks at the earlier copy itself; go one token on.": looks[0],
            "that looks one token before the earlier copy; go on, not back.": looks[-1],
            "take the mean over the second half only.": truth / 2,
            "take the mean over the tokens, not the sum.": half * truth,
        },
        within=5e-5,
    )


def check_silences(lm: LanguageModel, head: Head, hook: Callable | None) -> None:
    """Check that a hook before a layer's output projection silences one head and no other."""
    problem, (layer, number) = None, head
    if hook is not None and not callable(hook):
        problem = "a hook is a function of the module and its inputs."
    elif hook is not None:
        given = torch.randn(1, 3, heads.projections(lm)[layer].weight.shape[-1])
        wanted = given.clone()
        wanted.unflatten(-1, (lm.model.config.num_attention_heads, -1))[..., number, :] = 0
        kept, returned = given.clone(), hook(heads.projections(lm)[layer], (given,))
        problem = _hook_problem(returned, wanted, given, kept)
    checks.tell(
        hook is not None, problem, f"head {number} of layer {layer} is silent, the others speak."
    )


def _hook_problem(returned: object, wanted, given, kept) -> str | None:
    if returned is None:
        return "the hook returns nothing, so the module runs on the old input; return a new one."
    changed = returned[0] if isinstance(returned, tuple) else returned
    if not isinstance(changed, torch.Tensor) or changed.shape != wanted.shape:
        return "return the inputs as a tuple, with a tensor of the same shape in first place."
    if not torch.equal(given, kept):
        return "the given input was changed in place; clone it first."
    if torch.equal(changed, given):
        return "nothing is zero yet."
    if not torch.equal(changed, wanted):
        return "other numbers are zero than this head's; its slice is head * size and so on."
    return None

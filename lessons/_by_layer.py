"""Layer by layer: when an answer appears, what one state carries, what an adapter has added."""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import cache

import numpy as np
import pandas as pd
import torch

from helpers.compare import interval, questions
from helpers.data import Example, load_task
from helpers.model import LanguageModel
from helpers.study import bits, digest, unpacked
from lessons import states as lens
from lessons._plan import Plan

SHOTS, ITEMS = 8, 20  # demonstrations, questions
TASKS = ("past_tense", "plurals", "antonyms", "capitals")
DUMMIES = 8  # queries over which a task vector is a mean
OWN, OTHER, UNTAUGHT, PROMPTED = VECTORS = (
    "its own vector",
    "another task's vector",
    "zero-shot",
    "demonstrations",
)
CHOOSING = (100, 101)  # draws that serve to choose the layer, and nothing else


def scored(right: Sequence[bool], **what: str) -> dict:
    """A row's share of right answers and, bit by bit, which they are; `what` goes before."""
    return what | {"value": float(np.mean(right)), "right": bits(right)}


def right(results: pd.DataFrame, **where: object) -> np.ndarray:
    """What rows of a stored result got right, as a boolean array [draws, questions].

    `where` names columns and what they must hold, such as `what="antonyms"`.
    """
    for column, value in where.items():
        results = results[results[column] == value]
    return unpacked(results.sort_values("draw")["right"])


# When an answer appears


def lens_plan(lm: LanguageModel, draws: int) -> Plan:
    """How many answers come first at each layer, with demonstrations and, once, without."""

    def work(draw: int, task: str, shots: int) -> list[dict]:
        given = lens.with_start(task)
        asked = questions(given, ITEMS)
        prompts, answers = lens.ask(lm, given, given.draw(shots, draw), asked)
        chances, places = lens.through_lens(lm, prompts, answers)
        return [
            {"layer": layer, "value": float(chances[:, layer].mean())}
            | {"place": float(np.median(places[:, layer])), "right": bits(places[:, layer] == 0)}
            for layer in range(chances.shape[1])
        ]

    cells = [{"draw": 0, "task": name, "shots": 0} for name in TASKS]
    cells += [{"draw": d, "task": name, "shots": SHOTS} for d in range(draws) for name in TASKS]
    settled = {"task": "lens", "questions": ITEMS, "data": _digest(TASKS)}
    return Plan(cells, work, settled, ["draw", "shots", "layer", "value", "place"])


def in_first_place(
    results: pd.DataFrame, shots: int, layers: Sequence[int]
) -> dict[int, tuple[float, float, float]]:
    """Share of answers that the logit lens puts first, all tasks together: (mean, low, high)."""
    tasks = dict.fromkeys(results["task"])

    def found(layer: int) -> np.ndarray:
        return np.hstack([right(results, task=t, shots=shots, layer=layer) for t in tasks])

    return {layer: interval(found(layer)) for layer in layers}


# What one state carries


def vectors_plan(lm: LanguageModel, draws: int) -> Plan:
    """First the layer is chosen, on `train` rows and draws of their own; then it is used.

    Every second layer is tried, and the one that does best over all tasks together is taken.
    """
    tried = range(0, lm.model.config.num_hidden_layers, 2)

    @cache
    def vector(draw: int, task: str) -> torch.Tensor:
        drawn = lens.with_start(task).draw(SHOTS + DUMMIES, draw)
        return lens.task_vector(lm, lens.with_start(task), drawn[:SHOTS], drawn[SHOTS:])

    @cache
    def choosing(draw: int, task: str) -> list[dict]:
        asked = lens.with_start(task).draw(SHOTS + DUMMIES + ITEMS, draw)[-ITEMS:]
        return [carried(lm, task, asked, OWN, vector(draw, task), layer) for layer in tried]

    @cache
    def best() -> int:
        rows = [row for d in CHOOSING for name in TASKS for row in choosing(d, name)]
        return int(pd.DataFrame(rows).groupby("layer")["value"].mean().idxmax())

    def work(draw: int, task: str) -> list[dict]:
        if draw in CHOOSING:
            return choosing(draw, task)
        given = lens.with_start(task)
        asked = questions(given, ITEMS)
        other = TASKS[TASKS.index(task) - 1]
        vectors = {OWN: vector(draw, task), OTHER: vector(draw, other)}
        prompts, answers = lens.ask(lm, given, given.draw(SHOTS, draw), asked)
        prompted = lens.scores(lm, prompts).argmax(1).cpu().numpy() == answers
        rows = [carried(lm, task, asked, name, one, best()) for name, one in vectors.items()]
        rows.append(carried(lm, task, asked, UNTAUGHT))
        return [*rows, {"vector": PROMPTED, "layer": -1} | scored(prompted)]

    cells = [{"draw": d, "task": name} for d in (*CHOOSING, *range(draws)) for name in TASKS]
    settings = {"shots": SHOTS, "dummies": DUMMIES, "choosing": list(CHOOSING)}
    settled = {"task": "vectors", "questions": ITEMS, "data": _digest(TASKS)}
    numbers = ["draw", "layer", "value"]
    return Plan(cells, work, settled | {"settings": settings}, numbers)


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
    prompts, answers = lens.ask(lm, lens.with_start(task), [], asked)
    put = nullcontext() if vector is None else lens.put_in(lm, layer, vector[layer])
    with put:
        told = lens.scores(lm, prompts).argmax(1).cpu().numpy()
    return {"vector": name, "layer": layer} | scored(told == answers)


def reached(results: pd.DataFrame) -> dict[str, dict[str, tuple[float, float, float]]]:
    """How many answers come with each of `VECTORS`: (mean, low, high) for each task.

    From the draws of a stored result on `vectors` that did not serve to choose the layer.
    """
    used = results[~results["draw"].isin(CHOOSING)]
    tasks = dict.fromkeys(used["task"])
    return {
        name: {task: interval(right(used, task=task, vector=name)) for task in tasks}
        for name in VECTORS
    }


def _digest(names: Sequence[str]) -> str:
    return digest(*((task.train, questions(task, ITEMS)) for task in map(load_task, names)))


# What an adapter has changed


@torch.no_grad()
def directions(lm: LanguageModel) -> pd.DataFrame:
    """The singular values of what an adapter adds to each matrix: a row per matrix.

    `first` is the first direction's share of the squared norm. `effective` is the effective rank:
    as many equally strong directions would be spread as widely (exp of the entropy of the shares).
    Raises `ValueError` where there is no adapter.
    """
    found = []
    for name, module in lm.model.named_modules():
        if hasattr(module, "lora_A") and hasattr(module, "get_delta_weight"):
            which = module.active_adapters[0]
            thin, wide = module.lora_A[which].weight.float(), module.lora_B[which].weight.float()
            # B A has the singular values of a small square, once both are turned upright.
            small = torch.linalg.qr(wide).R @ torch.linalg.qr(thin.T).R.T
            shares = torch.linalg.svdvals(small).square()
            shares = (shares / shares.sum()).cpu().numpy()
            layer = next(int(part) for part in name.split(".") if part.isdigit())
            spread = float(np.exp(-(shares * np.log(shares.clip(1e-12))).sum()))
            found.append((layer, name.split(".")[-1], float(shares[0]), spread))
    if not found:
        raise ValueError(f"{lm.name} has no adapter: give a model that was tuned with LoRA.")
    return pd.DataFrame(found, columns=["layer", "matrix", "first", "effective"])

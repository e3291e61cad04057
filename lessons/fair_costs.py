"""What it takes until either way serves as well as it can, and from which query on training pays.

A way's setting is the one that is taught with least of all that come within `NEAR` of its own best
on the development draws of `contest`: the number of examples with, for the weights, rate and
passes, and for the prompt its form. By default only the default rate and form are looked at. The
prompt is one for all queries, because no other can be kept. What was chosen is taught and asked
here, one query after the other and all services in turns, and every part is timed: training,
merging, reading, asking. `python -m lessons fair_costs` makes the stored result, on a machine that
does nothing else; `load` says what else it did.

In the rows `query` counts from 1, and 0 is the teaching; seconds are the processor's.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np
import pandas as pd
import psutil
import torch

from helpers import compare
from helpers.compare import Interval
from helpers.cost import Clock, break_even
from helpers.data import Example, Task, balanced_order
from helpers.model import LanguageModel
from helpers.packing import common_length, encode_prefix, generate_row, keep_prefix, shared_length
from helpers.prompts import Style, encode
from helpers.study import Study, digest
from helpers.teaching import ANSWER_TOKENS, LORA
from lessons import contest
from lessons.contest import LEVELS, RECIPES
from lessons.fair_together import student
from lessons.fair_uses import ratio
from lessons.kept_prompt import Prompt
from lessons.verdict import contrast

NEAR = 0.05  # of a way's own best accuracy
KEPT, ANEW, BESIDE, MERGED = (
    "prompt, kept",
    "prompt, read anew",
    "weights, beside",
    "weights, merged",
)
ASKED = {KEPT: 32, ANEW: 3, BESIDE: 32, MERGED: 32}  # reading anew takes as long every time
SIDES = {"prompt": (KEPT, ANEW), "weights": (BESIDE, MERGED)}
TEACHING = 0  # the query's number in the row that holds the teaching
QUERIES = 1000  # of K3, where the prompt is read anew
NEVER = 1e9  # stands for a number of queries that never comes
LEAST = 0.01  # the smallest spread of logarithms that is believed, as in seconds of one per cent
F6_TASKS = ("support_tickets", "verbs")


# What is chosen


def tried(task: str, side: str, recipe: str) -> pd.Series:
    """The mean share right in development, by number of examples and setting."""
    rows = compare.stored(f"tuned_{side}_{task}")
    means = rows.groupby(["shots", "way"], sort=False)["value"].mean()
    shots, settings = means.index.get_level_values(0), means.index.get_level_values(1)
    wanted = (shots > 0) & (settings.str.endswith(", shared") | (side == "weights"))
    if recipe == "default":
        start = f"rate {LORA.rate:g}, " if side == "weights" else "bare, "
        wanted &= settings.str.startswith(start)
    return means[wanted]


def least(task: str, side: str, recipe: str) -> tuple[int, str]:
    """The number of examples and the setting that are near the best and taught with least.

    That is the number of examples that are read: in training those of all passes. Of equals the
    better one is taken.
    """
    means = tried(task, side, recipe)
    near = means[means >= means.max() - NEAR]

    def effort(chosen: tuple[int, str]) -> tuple[float, float]:
        shots, setting = chosen
        passes = contest.setting_of(setting)[1] if side == "weights" else 1
        return shots * passes, -near[chosen]

    shots, setting = min(near.index, key=effort)
    return int(shots), setting


def shared_job() -> str:
    """The task that both ways can do: where the worse of them is best in development."""
    bests = {
        task: min(tried(task, side, "tuned").max() for side in SIDES) for task in contest.TASKS
    }
    return max(bests, key=bests.get)


# Services


def service(
    lm: LanguageModel, task: Task, shown: Sequence[Example], style: Style
) -> Callable[[str], str]:
    """Read the demonstrations once, and answer one query after the other behind them."""
    if task.labels:
        prompt = Prompt(lm, task, shown, style)
        return lambda text: task.labels[int(prompt.score(text).argmax())]
    tokens = [encode(lm.tokenizer, style(task, shown, text)) for text in ("A", "0")]
    kept = tokens[0][: shared_length(tokens)]
    cache = encode_prefix(lm, kept)

    def write(text: str) -> str:
        whole = encode(lm.tokenizer, style(task, shown, text))
        del kept[min(common_length([kept, whole]), len(whole) - 1) :]
        keep_prefix(cache, len(kept))
        (said,) = generate_row(lm, cache, len(kept), [whole[len(kept) :]], ANSWER_TOKENS, ("\n",))
        keep_prefix(cache, len(kept))
        return said

    return write


def merge(lm: LanguageModel) -> tuple[LanguageModel, float]:
    """A model with its adapter added into the matrices, and the processor seconds of adding it.

    The matrices are copied first, because the base's own are still needed.
    """
    whole = copy.deepcopy(lm.model)
    with Clock() as clock:
        whole = whole.merge_and_unload()
    return lm.with_model(whole, f"{lm.name}, merged"), clock.processor


def prepared(
    lm: LanguageModel, task: Task, side: str, chosen: tuple[int, str], draw: int
) -> dict[str, tuple[float, int, Callable[[str], str]]]:
    """Teach a draw as chosen: of each service the seconds, the tokens read and what answers."""
    shots, setting = chosen
    drawn = balanced_order(task.train, task.labels, draw)[:shots]
    if side == "weights":
        rate, stop = contest.setting_of(setting)
        ((_, taught),) = contest.train(lm, task, drawn, rate, [stop], draw)
        whole, added = merge(taught.lm)
        models = {BESIDE: (taught.processor, taught.lm), MERGED: (taught.processor + added, whole)}
        return {
            way: (seconds, taught.tokens, service(tuned, task, [], taught.style))
            for way, (seconds, tuned) in models.items()
        }
    taught = contest.show(lm, task, drawn, *setting.split(", "))
    before = taught.task, taught.demonstrations, taught.style
    with Clock() as clock:
        kept = service(lm, *before)
    tokens = len(encode(lm.tokenizer, taught.style(*before[:2], "")))
    return {
        KEPT: (clock.processor, tokens, kept),
        ANEW: (0.0, 0, lambda text: service(lm, *before)(text)),
    }


def asked_in_turns(services: dict, asked: Sequence[Example]) -> Iterator[tuple[str, dict]]:
    """Every query to every service that still has some to answer; the service and its row."""
    for number, example in enumerate(asked, 1):
        for name, (_, _, answer) in services.items():
            if number <= ASKED[name[0]]:
                with Clock() as clock:
                    said = answer(example.text)
                yield (
                    name,
                    _row(number, clock.processor, 0) | compare.scored([said == example.label]),
                )


def _row(query: int, seconds: float, tokens: int) -> dict:
    taught = {"measure": "teaching", "right": "", "value": ""}
    return {"query": query} | taught | {"processor": seconds, "tokens": tokens}


# The study


def costs_study(lm: LanguageModel, draws: int) -> Study:
    """Both ways on every task, with what was chosen by default and among all that was tuned."""

    def work(task: str, draw: int) -> list[dict]:
        given, load = contest.load(task), psutil.getloadavg()[0]
        chosen = {(side, r): least(task, side, r) for side in SIDES for r in RECIPES}
        services = {}
        for side, setting in dict.fromkeys((side, c) for (side, _), c in chosen.items()):
            made = prepared(lm, given, side, setting, draw)
            services |= {(way, setting): one for way, one in made.items()}
        asked = balanced_order(given.held_out, given.labels, draw)[: max(ASKED.values())]
        list(asked_in_turns(services, asked[:1]))  # the first pass is slow, and does not count
        rows = [(name, _row(TEACHING, one[0], one[1])) for name, one in services.items()]
        rows += asked_in_turns(services, asked)
        return [
            {"recipe": recipe, "way": way, "shots": setting[0], "setting": setting[1]}
            | row
            | {"load": load}
            for (way, setting), row in rows
            for recipe in RECIPES
            if chosen[way.split(", ")[0], recipe] == setting
        ]

    tasks = [contest.load(name) for name in contest.TASKS]
    data = digest(*(row for task in tasks for row in (*task.train, *task.held_out)))
    settings = {"near": NEAR, "asked": ASKED, "threads": torch.get_num_threads()}
    settled = {"task": "fair_costs", "data": data, "settings": settings}
    cells = [{"task": task, "draw": draw} for draw in range(draws) for task in contest.TASKS]
    numbers = ["draw", "shots", "query", "processor", "tokens", "load"]
    return Study("costs", cells, work, settled, numbers)


# What the rows say


def spent(rows: pd.DataFrame, way: str, **wanted: object) -> tuple[np.ndarray, np.ndarray]:
    """Seconds that a way took: for the teaching [draws], and on average for a query [draws]."""
    rows = compare.where(rows, way=way, **wanted)
    taught = compare.where(rows, query=TEACHING).groupby("draw")["processor"].sum()
    asked = rows[rows["query"] > TEACHING].groupby("draw")["processor"].mean()
    return taught.to_numpy(), asked[taught.index].to_numpy()


def per_right(rows: pd.DataFrame, way: str, queries: int, **wanted: object) -> Interval:
    """Seconds for each right answer, when so many queries are asked in all."""
    once, each = spent(rows, way, **wanted)
    answers = compare.where(rows, way=way, measure=compare.ANSWERS, **wanted)
    right = answers["value"].astype(float).groupby(answers["draw"]).mean().to_numpy()
    return student((once / queries + each) / right)


def times(weights: np.ndarray, prompt: np.ndarray) -> Interval:
    """How many times as many seconds the weights take [draws], from the logarithms."""
    return ratio(student(np.log(weights / prompt), LEAST))


def pays_from(rows: pd.DataFrame, weights: str, prompt: str, **wanted: object) -> Interval:
    """From which query on the weights have cost less in total; `NEVER` where that never comes."""
    bills = zip(*spent(rows, weights, **wanted), *spent(rows, prompt, **wanted), strict=True)
    queries = [min(max(break_even(*bill), 1.0), NEVER) for bill in bills]
    return ratio(student(np.log(queries), LEAST))


def of_costs(rows: pd.DataFrame) -> Iterator[dict]:
    """F6, I5, K3 and K4, by default and as tuned; K3 and K4 on the job that both ways can do."""
    draws, job = rows["draw"].nunique(), shared_job()
    for recipe in RECIPES:

        def row(claim: str, level: str, number: Interval, recipe=recipe) -> dict:
            return contrast(claim, level, "any", recipe, number, draws)

        for task, level in LEVELS.items():
            wanted = {"task": task, "recipe": recipe}
            (taught, each), (read, other) = (spent(rows, way, **wanted) for way in (BESIDE, KEPT))
            if task in F6_TASKS:
                yield row("F6", level, times(taught, read))
            ready = times(taught + each, read + other)
            yield row("I5", level, ready)
            if task == job:
                once, each = spent(rows, MERGED, **wanted)
                _, anew = spent(rows, ANEW, **wanted)
                yield row("K3", "kept", ready)
                yield row("K3", "read anew", times(once + QUERIES * each, QUERIES * anew))
        for prompt, weights in product(SIDES["prompt"], SIDES["weights"]):
            level = f"{prompt} against {weights}"
            number = pays_from(rows, weights, prompt, task=job, recipe=recipe)
            yield row("K4", level, number)

"""All ways to teach on the same draws, beside baselines that use no prompt: the learning curves.

Lessons share this comparison. The probe's layer was chosen on training rows of
`category` and `reviews`, and nothing else was chosen for these tasks.
"""

import pickle
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from pandas.io.formats.style import Styler
from threadpoolctl import threadpool_limits

from helpers.compare import Interval, scored, summary
from helpers.cost import Clock
from helpers.data import DataError, Example, Task, texts
from helpers.model import LanguageModel
from helpers.prompts import PromptTooLong, count_tokens, plain
from helpers.scoring import score_labels
from helpers.study import Study, questions, settled_by
from helpers.teaching import (
    ALL,
    FULL,
    MOST_PASSES,
    SEEN,
    Taught,
    Way,
    ask,
    passes,
    read_out,
    taught_bytes,
    teach,
)

NEIGHBOURS = 8  # demonstrations for each query, where they are chosen for it
PROBE_LAYER = 2 / 3  # of the model's depth


class Outcome(NamedTuple):
    """What a way answered, and what it took.

    `taught_tokens` went through training; `prefix_tokens` are the demonstrations before a query,
    `query_tokens` the query itself (means over the queries). `ask_seconds` is for all queries
    together, demonstrations that they share encoded once. `stored_bytes` is what has to be kept so
    that the way can answer tomorrow.
    """

    way: str
    answers: list[str]
    teach_seconds: float = 0.0
    ask_seconds: float = 0.0
    taught_tokens: int = 0
    prefix_tokens: float = 0.0
    query_tokens: float = 0.0
    stored_bytes: int = 0
    note: str = ""


MEASURES = Outcome._fields[2:]
WAYS = {
    "zero-shot": Way("zero-shot"),
    "in-context": Way("in-context", shown=ALL),
    "nearest": Way("in-context, nearest", shown=NEIGHBOURS, nearest=True),
    "lora": Way("lora", trained=ALL),
    "full": Way("full", trained=ALL, recipe=FULL),
}
BASELINES = {"majority": "majority", "tfidf": "TF-IDF", "probe": "linear probe"}
BASELINES |= {"characters": "TF-IDF, characters"}
COUNTED = {  # what a classifier counts: words and pairs of them, or pieces of words
    "tfidf": {"ngram_range": (1, 2)},
    "characters": {"analyzer": "char_wb", "ngram_range": (2, 4)},
}
TAUGHT_BY = ("majority", *WAYS, "tfidf", "probe")
CLOSED_ONLY = ("tfidf", "probe")  # they choose among labels that they have seen
UNTAUGHT = ("zero-shot",)  # the same for every draw and every number of examples


def outcomes(
    lm: LanguageModel,
    task: Task,
    taught_by: str,
    drawn: Sequence[Example],
    queries: Sequence[str],
    seed: int = 0,
    seen: int = SEEN,
) -> list[Outcome]:
    """Teach a draw by one of `TAUGHT_BY` and ask the queries; the model's way as it comes.

    Of the held-out items a way sees the texts only. Shared demonstrations are read out both plainly
    and calibrated where the task has labels; where they do not fit the context nothing comes, for
    fewer would be another draw.
    """
    if taught_by in BASELINES:
        return [_baseline(lm, task, taught_by, drawn, queries)]
    way = replace(WAYS[taught_by], passes=passes(max(1, len(drawn)), seen))
    taught = teach(lm, task, way, seed, [] if taught_by in UNTAUGHT else drawn)
    try:
        with Clock() as clock:
            scores = _scores(taught, queries)
            plainly = read_out(task, scores, "plain") if task.labels else ask(taught, queries)
    except PromptTooLong:
        return []
    asked = Outcome(way.label, plainly, taught.wall, clock.wall, taught.tokens, note=taught.note)
    asked = asked._replace(stored_bytes=_stored_bytes(taught, drawn), **_tokens(taught, queries))
    if way.trained is ALL or way.nearest or not task.labels:
        return [asked]
    calibrated = read_out(task, scores, "calibrated")
    return [asked, asked._replace(way=f"{way.label}, calibrated", answers=calibrated)]


def _scores(taught: Taught, queries: Sequence[str]) -> np.ndarray | None:
    if taught.task.labels:
        return score_labels(taught.lm, taught.task, taught.demonstrations, queries)
    return None


def _stored_bytes(taught: Taught, drawn: Sequence[Example]) -> int:
    """The trained weights, or the text of all that may be shown."""
    if taught.way.trained is ALL:
        return taught_bytes(taught.lm)
    shown = drawn if taught.way.nearest else taught.demonstrations
    return len(plain(taught.task, shown, "").encode())


def _tokens(taught: Taught, queries: Sequence[str]) -> dict[str, float]:
    """Mean tokens before a query and of the query; a shared list is as long before any query."""
    task, shown, tokenizer = taught.task, taught.demonstrations, taught.lm.tokenizer
    bare = [count_tokens(tokenizer, plain(task, [], query)) for query in queries]
    chosen = [shown(query) for query in queries] if callable(shown) else [shown]
    whole = [
        count_tokens(tokenizer, plain(task, before, query))
        for before, query in zip(chosen, queries, strict=False)
    ]
    prefix = [length - own for length, own in zip(whole, bare, strict=False)]
    return {"prefix_tokens": float(np.mean(prefix)), "query_tokens": float(np.mean(bare))}


# Baselines


def hidden_state(lm: LanguageModel, task: Task, text: str) -> np.ndarray:
    """The mean hidden state over the bare question's tokens, as an array [width].

    The text stands in the task's template without demonstrations; the layer is `PROBE_LAYER` of the
    depth. The first token is left out: attention parks there, and its state dwarfs all others.
    """
    return _hidden_state(lm, plain(task, [], text))


@lru_cache(maxsize=4096)
def _hidden_state(lm: LanguageModel, prompt: str) -> np.ndarray:
    tokens = torch.tensor([lm.tokenizer(prompt).input_ids], device=lm.device)
    with torch.inference_mode():
        states = lm.model(tokens, output_hidden_states=True, logits_to_keep=1).hidden_states
    layer = states[round(PROBE_LAYER * (len(states) - 1))][0].float()
    return layer[min(1, len(layer) - 1) :].mean(0).cpu().numpy()


def _baseline(lm, task, name: str, drawn: Sequence[Example], queries) -> Outcome:
    """The most frequent label (the first of them); word counts; the model's own hidden states."""
    if name == "majority":
        best = Counter(example.label for example in drawn).most_common(1)[0][0]
        return Outcome(name, [best] * len(queries), stored_bytes=len(best.encode()))
    from sklearn.feature_extraction.text import TfidfVectorizer  # 25 MB, for who asks for them
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = LogisticRegression(max_iter=1000)
    if name in COUNTED:
        counts = TfidfVectorizer(sublinear_tf=True, **COUNTED[name])
        learner, known, asked = make_pipeline(counts, regression), texts(drawn), queries
    else:
        states = [[hidden_state(lm, task, t) for t in part] for part in (texts(drawn), queries)]
        learner, (known, asked) = make_pipeline(StandardScaler(), regression), states
    return _classified(BASELINES[name], learner, drawn, known, asked)


def _classified(name: str, learner, drawn, known: Sequence, asked: Sequence) -> Outcome:
    """What a classifier that learned `known`, the draw, says of `asked`."""
    with threadpool_limits(1):  # on a busy machine the threads mostly wait for one another
        with Clock() as teaching:
            learner.fit(known, [example.label for example in drawn])
        with Clock() as asking:
            answers = learner.predict(asked).tolist()
    stored = len(pickle.dumps(learner))
    return Outcome(name, answers, teaching.wall, asking.wall, stored_bytes=stored)


# What the curves say


def table(rows: pd.DataFrame, caption: str = "") -> Styler:
    """The comparison as a table: a row per way, a column per number of examples.

    A cell reads `mean (low to high)`; the best mean of a column is marked with a star, so the table
    also reads well where colours are lost.
    """
    means = summary(rows)
    best = means.groupby("shots")["mean"].transform("max") == means["mean"]
    bounds = [Interval(*line) for line in means[["mean", "low", "high"]].to_numpy()]
    stars = best.map({True: "★ (", False: " ("})
    cells = [str(bound).replace(" (", star) for bound, star in zip(bounds, stars, strict=True)]
    wide = means.assign(cell=cells).pivot(index="way", columns="shots", values="cell")
    wide = wide.loc[list(dict.fromkeys(means["way"]))].fillna("")
    wide.columns.name, wide.index.name = "examples", None
    return wide.style.set_caption(caption).set_uuid("comparison")


# The study


def all_ways(
    lm: LanguageModel,
    task: Task,
    shots: Sequence[int],
    draws: int,
    items: int | None = None,
    taught_by: Sequence[str] = TAUGHT_BY,
    seen: int = SEEN,
) -> Study:
    """Teach every draw in each way and ask each the same questions.

    Draw `d` uses seed `d`, for the examples and in training, and a larger number of shots adds
    examples to the smaller one. Zero-shot has one cell, at 0 shots; ways that cannot answer an open
    task are left out. A training sees `seen` examples in all its passes. The rows hold the measures
    of `Outcome` too.

    Raises `DataError` for an unknown way and for a draw larger than the training data.
    """
    _require_choice(taught_by, shots, draws)
    given, asked = task, questions(task, items)
    for n in shots:
        task.draw(n, 0)  # too large a draw is found before the work, not after

    def work(task: str, shots: int, draw: int, taught_by: str) -> list[dict]:
        drawn = given.draw(shots, draw)
        answers = outcomes(lm, given, taught_by, drawn, texts(asked), draw, seen)
        return [outcome_row(outcome, asked) for outcome in answers]

    settled = settled_by(task, asked) | {"settings": settings(seen)}
    numbers = ["shots", "draw", "value", *(name for name in MEASURES if name != "note")]
    return Study(task.name, _cells(task, shots, draws, taught_by), work, settled, numbers)


def _require_choice(taught_by: Sequence[str], shots: Sequence[int], draws: int) -> None:
    unknown = set(taught_by) - set(TAUGHT_BY)
    if unknown:
        ways = ", ".join(TAUGHT_BY)
        raise DataError(f"There is no way {unknown.pop()!r} to teach: choose among {ways}.")
    if draws < 1 or not shots or min(shots) < 1:
        raise DataError("A comparison needs at least 1 draw, and every draw at least 1 example.")


def _cells(task: Task, shots: Sequence[int], draws: int, taught_by: Sequence[str]) -> list[dict]:
    """What is not taught once, then every way in every draw."""
    cells = [
        {"task": task.name, "shots": n, "draw": d, "taught_by": name}
        for d in range(draws)
        for n in dict.fromkeys(shots)
        for name in dict.fromkeys(taught_by)
        if (task.labels or name not in CLOSED_ONLY) and name not in UNTAUGHT
    ]
    once = [
        {"task": task.name, "shots": 0, "draw": 0, "taught_by": name}
        for name in taught_by
        if name in UNTAUGHT
    ]
    return once + cells


def outcome_row(outcome: Outcome, asked: Sequence[Example]) -> dict:
    """A way's answers as a row, with what they took."""
    right = [
        answer == example.label for answer, example in zip(outcome.answers, asked, strict=True)
    ]
    measures = {name: getattr(outcome, name) for name in MEASURES}
    return {"way": outcome.way} | scored(right) | measures


def settings(seen: int = SEEN) -> dict:
    """All that is fixed for every task, to be kept beside a result."""
    lora, full = WAYS["lora"].recipe, WAYS["full"].recipe
    return {
        "seen": seen,
        "most_passes": MOST_PASSES,
        "rates": {"lora": lora.rate, "full": full.rate},
        "neighbours": NEIGHBOURS,
        "probe_layer": round(PROBE_LAYER, 3),
        "batch": lora.batch,
        "rank": lora.rank,
    }

"""Every way to teach the same examples: shown in the prompt, trained into the weights, or both.

A `Way` says how many examples are shown and how many are trained; `teach` does either, and `ask`
puts queries to what came of it. Beside the model's ways stand baselines that use no prompt at all.

The settings below are the same for every task, and none was chosen on held-out items. Batch, rank
and the rate of 1e-3 did well on another task (banking questions); 2 and 4 passes and rates of 5e-4,
1e-3 and 2e-3 were then compared on training rows of the tickets. The probe's layer was chosen on
training rows of `category` and `reviews`.
"""

import pickle
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from helpers.cost import Clock
from helpers.data import Example, Task, texts
from helpers.finetune import Recipe, tune
from helpers.model import LanguageModel
from helpers.prompts import PromptTooLong, Style, chat, count_tokens, nearest, plain
from helpers.scoring import Demonstrations, answer, batch_calibration, predict, score_labels

ALL = None  # as the number of examples: those of the whole draw
SEEN = 256  # examples that a training sees in all passes: 32 steps of 8, whatever their number
MOST_PASSES = 16
LORA = Recipe("lora", rate=1e-3, batch=8, rank=8)
FULL = Recipe("full", rate=2e-3, batch=8)  # of Adafactor, relative to a matrix's size
NEIGHBOURS = 8  # demonstrations for each query, where they are chosen for it
PROBE_LAYER = 2 / 3  # of the model's depth
ANSWER_TOKENS = 8  # room for a written answer


@dataclass(frozen=True)
class Way:
    """One way to teach a draw of examples, and to ask afterwards.

    `shown` examples stand in the prompt and `trained` ones go into the weights (`ALL`: the whole
    draw); with `nearest`, those shown are chosen for each query. `passes` over the trained ones are
    by default as many as let the training see `SEEN` examples. An `instruction` stands at the
    prompt's head. The `readout` is "plain" (the likeliest label), "calibrated" (the same, batch-
    calibrated) or "written"; by default plain where the task has labels. `in_turns` uses the
    model's chat form, where it has one.
    """

    label: str
    shown: int | None = 0
    trained: int | None = 0
    passes: int | None = None
    instruction: str = ""
    readout: str = ""
    nearest: bool = False
    in_turns: bool = False
    recipe: Recipe = LORA


class Taught(NamedTuple):
    """What came of teaching: a model, and what stands before every query.

    `tokens` went through training, in `wall` seconds and `processor` seconds, with the `losses` of
    its steps in nats per token. `note` says why it ended early, if it did.
    """

    way: Way
    lm: LanguageModel
    task: Task
    demonstrations: Demonstrations
    style: Style = plain
    tokens: int = 0
    wall: float = 0.0
    processor: float = 0.0
    losses: Sequence[float] = ()
    note: str = ""


def passes(examples: int, seen: int = SEEN) -> int:
    """Passes over the data, so that every size of draw gets about as many steps."""
    return min(MOST_PASSES, max(1, seen // examples))


def teach(
    lm: LanguageModel, task: Task, way: Way, seed: int, examples: Sequence[Example] | None = None
) -> Taught:
    """Teach the task's draw of this seed, or `examples`, in one way; `lm` itself is not changed.

    A larger draw begins with the smaller one, so ways with other numbers share their examples.
    Raises `KeyboardInterrupt` when a person ends a training, because half of one is no result,
    `DataError` when so many cannot be drawn, and what `tune` raises.
    """
    if examples is None:
        examples = task.draw(max(way.shown or 0, way.trained or 0), seed)
    task = replace(task, instruction=way.instruction or task.instruction)
    style = chat(lm.tokenizer) if way.in_turns and lm.tokenizer.chat_template else plain
    shown, trained = list(examples[: way.shown]), examples[: way.trained]
    if way.nearest:
        shown = nearest(examples, min(way.shown, len(examples)))
    if not trained:
        return Taught(way, lm, task, shown, style)
    recipe = replace(way.recipe, passes=way.passes or passes(len(trained)))
    with Clock() as clock:
        tuned = tune(lm, task, trained, recipe, seed, style)
    if tuned.interrupted:
        raise KeyboardInterrupt
    tokens = int(tuned.history.tokens.sum())
    spent = clock.wall, clock.processor
    losses = tuned.history.loss
    return Taught(way, tuned.lm, task, shown, style, tokens, *spent, losses, tuned.note)


def ask(taught: Taught, queries: Sequence[str], room: int = ANSWER_TOKENS) -> list[str]:
    """The answer to each query, by the way's readout; a written one has at most `room` tokens.

    Raises `PromptTooLong` where demonstrations and query do not fit the context.
    """
    readout = taught.way.readout or ("plain" if taught.task.labels else "written")
    before = taught.task, taught.demonstrations, queries
    if readout == "written":
        return answer(taught.lm, *before, taught.style, room)
    return read_out(taught.task, score_labels(taught.lm, *before, taught.style), readout)


def read_out(task: Task, scores: np.ndarray, readout: str) -> list[str]:
    """The label that the scores [queries, labels] say, "plain" or "calibrated"."""
    return predict(task, batch_calibration(scores) if readout == "calibrated" else scores)


def taught_bytes(lm: LanguageModel) -> int:
    """What the weights that training moved take: those that have to be kept."""
    return sum(weight.nbytes for weight in lm.model.parameters() if weight.requires_grad)


# The ways that lessons and one's own data compare


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
    regression = LogisticRegression(max_iter=1000)
    if name == "tfidf":
        counts = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        learner, known, asked = make_pipeline(counts, regression), texts(drawn), queries
    else:
        states = [[hidden_state(lm, task, t) for t in some] for some in (texts(drawn), queries)]
        learner, (known, asked) = make_pipeline(StandardScaler(), regression), states
    return _classified(BASELINES[name], learner, drawn, known, asked)


def _classified(name: str, learner: Pipeline, drawn, known: Sequence, asked: Sequence) -> Outcome:
    """What a classifier that learned `known`, the draw, says of `asked`."""
    with threadpool_limits(1):  # on a busy machine the threads mostly wait for one another
        with Clock() as teaching:
            learner.fit(known, [example.label for example in drawn])
        with Clock() as asking:
            answers = learner.predict(asked).tolist()
    stored = len(pickle.dumps(learner))
    return Outcome(name, answers, teaching.wall, asking.wall, stored_bytes=stored)

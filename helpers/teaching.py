"""Every way to teach the same draw of examples, each answering the same questions.

A method is a function `method(lm, task, drawn, queries, seed, shown) -> list of Outcome`: it may
learn from `drawn` and sees of the held-out items their texts only. Where a task has labels, a
method chooses among them; where it is open, the model writes the answer (greedily, to the end of
the line). Fine-tuning is shown an example `shown` times, all examples and passes together. A method
may return several outcomes that share their work.

The settings below are the same for every task, and none was chosen on held-out items. Batch, rank
and the rate of 1e-3 did well on another task (banking questions); 2 and 4 passes and rates of 5e-4,
1e-3 and 2e-3 were then compared on training rows of the tickets. The probe's layer was chosen on
training rows of `category` and `reviews`.
"""

import pickle
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from helpers import finetune
from helpers.data import Example, Task, texts
from helpers.model import LanguageModel
from helpers.prompts import PromptTooLong, nearest, plain
from helpers.scoring import answer, batch_calibration, predict, score_labels

SHOWN = 256  # so 32 steps of 8 examples, whatever the number of examples
MOST_EPOCHS = 16
RECIPE = {"batch": 8, "rank": 8}
RATES = {"lora": 1e-3, "full": 2e-3}  # of AdamW; of Adafactor, relative to a matrix's size
NEIGHBOURS = 8  # demonstrations for each query
PROBE_LAYER = 2 / 3  # of the model's depth
ANSWER_TOKENS = 8  # room for a written answer


class Outcome(NamedTuple):
    """What a method answered, and what it took.

    `taught_tokens` went through training; `prefix_tokens` are the demonstrations before a query,
    `query_tokens` the query itself (means over the queries). `ask_seconds` is for all queries
    together, demonstrations that they share encoded once. `stored_bytes` is what has to be kept so
    that the method can answer tomorrow.
    """

    method: str
    answers: list[str]
    teach_seconds: float = 0.0
    ask_seconds: float = 0.0
    taught_tokens: int = 0
    prefix_tokens: float = 0.0
    query_tokens: float = 0.0
    stored_bytes: int = 0
    note: str = ""


MEASURES = tuple(field for field in Outcome._fields if field not in ("method", "answers"))


def majority(lm, task, drawn, queries, seed, shown=SHOWN) -> list[Outcome]:
    """The most frequent label of the draw (the first of them, where several are) for everything."""
    best = Counter(example.label for example in drawn).most_common(1)[0][0]
    return [Outcome("majority", [best] * len(queries), stored_bytes=len(best.encode()))]


def zero_shot(lm, task, drawn, queries, seed, shown=SHOWN) -> list[Outcome]:
    """The question alone: what the model says without having been taught."""
    return _prompted("zero-shot", lm, task, [], queries)


def in_context(lm, task, drawn, queries, seed, shown=SHOWN) -> list[Outcome]:
    """The draw as demonstrations, plain and batch-calibrated; nothing where it does not fit."""
    return _prompted("in-context", lm, task, drawn, queries)


def in_context_nearest(lm, task, drawn, queries, seed, shown=SHOWN) -> list[Outcome]:
    """For each query the `NEIGHBOURS` examples of the draw that are most like it, nearest last."""
    choose = nearest(drawn, min(NEIGHBOURS, len(drawn)))
    outcome, _ = _ask("in-context, nearest", lm, task, choose, queries)
    return [outcome._replace(stored_bytes=len(plain(task, drawn, "").encode()))]


def lora(lm, task, drawn, queries, seed, shown=SHOWN) -> list[Outcome]:
    """Fine-tuning through an adapter; asked without demonstrations."""
    return _tuned("lora", lm, task, drawn, queries, seed, shown)


def full(lm, task, drawn, queries, seed, shown=SHOWN) -> list[Outcome]:
    """Fine-tuning of all weights (of a copy); asked without demonstrations."""
    return _tuned("full", lm, task, drawn, queries, seed, shown)


def tfidf(lm, task, drawn, queries, seed, shown=SHOWN) -> list[Outcome]:
    """No language model: weighted counts of words and word pairs, and logistic regression."""
    counts = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    return [_classified("TF-IDF", [counts], drawn, texts(drawn), queries)]


def probe(lm, task, drawn, queries, seed, shown=SHOWN) -> list[Outcome]:
    """Logistic regression on the model's own hidden states: what it knows but may not say."""
    known, asked = (
        [hidden_state(lm, task, text) for text in some] for some in (texts(drawn), queries)
    )
    return [_classified("linear probe", [StandardScaler()], drawn, known, asked)]


METHODS: dict[str, Callable[..., list[Outcome]]] = {
    "majority": majority,
    "zero-shot": zero_shot,
    "in-context": in_context,
    "nearest": in_context_nearest,
    "lora": lora,
    "full": full,
    "tfidf": tfidf,
    "probe": probe,
}
CLOSED_ONLY = ("tfidf", "probe")  # they choose among labels that they have seen
UNTAUGHT = ("zero-shot",)  # the same for every draw and every number of examples


def epochs(examples: int, shown: int = SHOWN) -> int:
    """Passes over the data, so that every size of draw gets about as many steps."""
    return min(MOST_EPOCHS, max(1, shown // examples))


def train(
    lm: LanguageModel, task: Task, drawn: Sequence[Example], method: str, passes: int, seed: int
) -> finetune.Tuned:
    """Fine-tune with the settings that are the same for every task.

    Raises `KeyboardInterrupt` when a person ends it, because half a training is no result.
    """
    tuned = finetune.tune(lm, task, drawn, method, passes, lr=RATES[method], seed=seed, **RECIPE)
    if tuned.interrupted:
        raise KeyboardInterrupt
    return tuned


def taught_bytes(lm: LanguageModel) -> int:
    """What the weights that training moved take: those that have to be kept."""
    return sum(weight.nbytes for weight in lm.model.parameters() if weight.requires_grad)


def hidden_state(lm: LanguageModel, task: Task, text: str) -> np.ndarray:
    """The mean hidden state over the bare question's tokens, as an array [width].

    The text stands in the task's template without demonstrations; the layer is `PROBE_LAYER` of the
    depth. The first token is left out: attention parks there, and its state dwarfs all others.
    """
    return _hidden_state(lm, plain(task, [], text))


def settings(shown: int = SHOWN) -> dict:
    """All that is fixed for every task, to be kept beside a result."""
    return {
        "shown": shown,
        "most_epochs": MOST_EPOCHS,
        "rates": RATES,
        "neighbours": NEIGHBOURS,
        "probe_layer": round(PROBE_LAYER, 3),
        **RECIPE,
    }


@lru_cache(maxsize=4096)
def _hidden_state(lm: LanguageModel, prompt: str) -> np.ndarray:
    tokens = torch.tensor([lm.tokenizer(prompt).input_ids], device=lm.device)
    with torch.inference_mode():
        states = lm.model(tokens, output_hidden_states=True, logits_to_keep=1).hidden_states
    layer = states[round(PROBE_LAYER * (len(states) - 1))][0].float()
    return layer[min(1, len(layer) - 1) :].mean(0).cpu().numpy()


def _prompted(name, lm, task, drawn: Sequence[Example], queries) -> list[Outcome]:
    """Ask with one list of demonstrations; where the task has labels, calibrated as well."""
    try:
        plainly, scores = _ask(name, lm, task, drawn, queries)
    except PromptTooLong:
        return []  # fewer demonstrations would be another draw
    plainly = plainly._replace(stored_bytes=len(plain(task, drawn, "").encode()))
    if scores is None:
        return [plainly]
    calibrated = predict(task, batch_calibration(scores))
    return [plainly, plainly._replace(method=f"{name}, calibrated", answers=calibrated)]


def _ask(name, lm, task, demonstrations, queries) -> tuple[Outcome, np.ndarray | None]:
    """Answers to all queries, with the scores [queries, labels] where the task has labels."""
    began, scores = time.perf_counter(), None
    if task.labels:
        scores = score_labels(lm, task, demonstrations, queries)
        answers = predict(task, scores)
    else:
        answers = answer(lm, task, demonstrations, queries, max_new_tokens=ANSWER_TOKENS)
    seconds = time.perf_counter() - began
    bare = [len(tokens) for tokens in _encoded(lm, [plain(task, [], q) for q in queries])]
    if callable(demonstrations):
        prompts = [plain(task, demonstrations(query), query) for query in queries]
    else:  # a shared list is as long before any query
        prompts = [plain(task, demonstrations, queries[0])]
    before = [len(tokens) - n for tokens, n in zip(_encoded(lm, prompts), bare, strict=False)]
    tokens = {"prefix_tokens": float(np.mean(before)), "query_tokens": float(np.mean(bare))}
    return Outcome(name, answers, ask_seconds=seconds, **tokens), scores


def _encoded(lm: LanguageModel, prompts: Sequence[str]) -> list[list[int]]:
    return lm.tokenizer(prompts).input_ids


def _tuned(method, lm, task, drawn, queries, seed, shown) -> list[Outcome]:
    began = time.perf_counter()
    tuned = train(lm, task, drawn, method, epochs(len(drawn), shown), seed)
    seconds = time.perf_counter() - began
    outcome, _ = _ask(method, tuned.lm, task, [], queries)
    return [
        outcome._replace(
            teach_seconds=seconds,
            taught_tokens=int(tuned.history.tokens.sum()),
            stored_bytes=taught_bytes(tuned.lm),
            note=tuned.note,
        )
    ]


def _classified(name, features, drawn, known: Sequence, asked: Sequence) -> Outcome:
    """Logistic regression on features of the `known` texts of the draw, for the `asked` ones."""
    began = time.perf_counter()
    with threadpool_limits(1):  # on a busy machine the threads mostly wait for one another
        learner = make_pipeline(*features, LogisticRegression(max_iter=1000))
        learner.fit(known, [example.label for example in drawn])
        taught = time.perf_counter()
        answers = learner.predict(asked).tolist()
    done = time.perf_counter()
    stored = len(pickle.dumps(learner))
    return Outcome(name, answers, taught - began, done - taught, stored_bytes=stored)

"""What the model answers: label log-likelihoods under shared demonstrations, calibration,
generation.

Queries are packed behind demonstrations that are read once: see `packing.py`.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.special import log_softmax, logsumexp

from helpers.data import Example, Task
from helpers.model import LanguageModel
from helpers.packing import (
    Tree,
    common_length,
    encode_prefix,
    generate_alone,
    generate_row,
    groups,
    keep_prefix,
    packable,
    row_budget,
    score_row,
    shared_length,
)
from helpers.prompts import PromptTooLong, Style, encode, plain

Demonstrations = Sequence[Example] | Callable[[str], Sequence[Example]]

WRITTEN_ROWS = 8  # each step of writing is short, so more texts go through it at once
CONTENT_FREE = ("N/A", "[MASK]", "")  # Zhao et al. 2021


def score_labels(
    lm: LanguageModel,
    task: Task,
    demonstrations: Demonstrations,
    queries: Sequence[str],
    style: Style = plain,
    budget: int | None = None,
) -> np.ndarray:
    """Log-likelihood of each label's word as the answer to each query.

    `demonstrations` is one list for all queries, or a function that chooses a list for a query's
    text (such as `prompts.nearest`). `budget` is the number of tokens per pass: it bounds memory,
    not the result.

    Returns an array [queries, labels] in nats: the sum over all tokens of the label's word.
    Raises `PromptTooLong` when a prompt with its label exceeds the context, `ValueError` for an
    open task.
    """
    if not task.labels:
        raise ValueError(
            f"Task {task.name!r} is open, it has no labels to score: use generate instead."
        )
    if not packable(lm.model):
        return score_labels_one_by_one(lm, task, demonstrations, queries, style)
    words = [answer_words(task)] * len(queries)
    scores = _score_packed(lm, task, demonstrations, queries, words, style, budget)
    return scores.reshape(len(queries), len(task.labels))


def score_options(
    lm: LanguageModel,
    task: Task,
    demonstrations: Demonstrations,
    queries: Sequence[str],
    options: Sequence[Sequence[str]],
    style: Style = plain,
    budget: int | None = None,
) -> np.ndarray:
    """Log-likelihood of each query's own options as the answer to it, as in a multiple choice.

    `options` holds a list of answers for each query, as many for each. The rest is as in
    `score_labels`, which asks every query with the same options.

    Returns an array [queries, options] in nats. Raises `PromptTooLong` as `score_labels` does, and
    `ValueError` where the numbers of queries or options differ.
    """
    if len(options) != len(queries) or len({len(answers) for answers in options}) > 1:
        raise ValueError("Give a list of options for each query, as many for each.")
    if not packable(lm.model):
        return _score_one_by_one(lm, task, demonstrations, queries, options, style)
    return _score_packed(lm, task, demonstrations, queries, options, style, budget)


def _score_packed(lm, task, demonstrations, queries, options, style, budget) -> np.ndarray:
    trees = [
        query_tree(lm, task, _chosen(demonstrations, query), query, answers, style)
        for query, answers in zip(queries, options, strict=True)
    ]
    scores = np.empty((len(queries), len(options[0]) if options else 0))
    if not trees:
        return scores
    shared = shared_length([tree.trunk for tree in trees])
    cache = encode_prefix(lm, trees[0].trunk[:shared])
    trees = [Tree(trunk[shared:], branches) for trunk, branches in trees]
    sizes = [len(tree.trunk) + sum(len(branch) - 1 for branch in tree.branches) for tree in trees]
    for group in groups(sizes, budget or row_budget(lm)):
        scores[group] = score_row(lm, cache, shared, [trees[i] for i in group])
        keep_prefix(cache, shared)
    return scores


def score_labels_one_by_one(
    lm: LanguageModel,
    task: Task,
    demonstrations: Demonstrations,
    queries: Sequence[str],
    style: Style = plain,
) -> np.ndarray:
    """The same scores as `score_labels` by the plain loop: one full sequence at a time, no cache.

    The reference that the fast way is tested against, and the way for models that take no block
    mask.
    Returns an array [queries, labels] in nats.
    """
    words = [answer_words(task)] * len(queries)
    scores = _score_one_by_one(lm, task, demonstrations, queries, words, style)
    return scores.reshape(len(queries), len(task.labels))


def _score_one_by_one(lm, task, demonstrations, queries, options, style) -> np.ndarray:
    scores = np.empty((len(queries), len(options[0]) if options else 0))
    for row, (query, answers) in enumerate(zip(queries, options, strict=True)):
        tree = query_tree(lm, task, _chosen(demonstrations, query), query, answers, style)
        for column, branch in enumerate(tree.branches):
            tokens = torch.tensor([tree.trunk + branch], device=lm.device)
            with torch.inference_mode():
                logits = lm.model(tokens, use_cache=False).logits[0, -len(branch) - 1 : -1].float()
            log_p = logits.log_softmax(-1).gather(1, tokens[0, -len(branch) :, None])
            scores[row, column] = log_p.sum().item()
    return scores


def predict(task: Task, scores: np.ndarray) -> list[str]:
    """The label with the highest score for each row of an array [queries, labels]."""
    return [task.labels[best] for best in scores.argmax(1)]


def contextual_calibration(scores: np.ndarray, content_free: np.ndarray) -> np.ndarray:
    """Take away what the prompt says for inputs that say nothing.

    `scores` is [queries, labels]; `content_free` is [inputs, labels], the scores of inputs such as
    `CONTENT_FREE` under the same demonstrations. Returns log p(label | query) - log mean p(label |
    content-free), unnormalised.
    Source: Zhao et al. 2021, arXiv 2102.09690.
    """
    return log_softmax(scores, 1) - _log_mean(log_softmax(content_free, 1))


def batch_calibration(scores: np.ndarray) -> np.ndarray:
    """Take away what the prompt says on average over these very queries (no labels needed).

    Takes and returns [queries, labels]: log p(label | query) - log mean p(label), unnormalised.
    Source: Zhou et al. 2023, arXiv 2309.17249.
    """
    return log_softmax(scores, 1) - _log_mean(log_softmax(scores, 1))


def _log_mean(log_probabilities: np.ndarray) -> np.ndarray:
    return logsumexp(log_probabilities, 0) - np.log(len(log_probabilities))


def generate(
    lm: LanguageModel,
    prompts: Sequence[str],
    max_new_tokens: int = 16,
    stop: Sequence[str] = ("\n",),
    budget: int | None = None,
) -> list[str]:
    """Continue every prompt with the likeliest next token, over and over (greedy decoding).

    Each answer ends before the first of the `stop` strings, at the model's end token, or after
    `max_new_tokens`. A shared beginning is encoded once and the rest is packed, as in scoring.

    Returns one text for each prompt, stripped. Raises `PromptTooLong` where the answer might not
    fit the context.
    """
    sequences = [encode(lm.tokenizer, prompt) for prompt in prompts]
    if not sequences:
        return []
    if not all(sequences):
        raise ValueError("A prompt is empty: give the model at least one token to go on from.")
    require_length(lm, max(map(len, sequences)) + max_new_tokens)
    if not packable(lm.model):
        return [generate_alone(lm, tokens, max_new_tokens, stop) for tokens in sequences]
    shared = shared_length(sequences)
    cache = encode_prefix(lm, sequences[0][:shared])
    tails = [sequence[shared:] for sequence in sequences]
    answers: list[str] = [""] * len(prompts)
    for group in groups([len(tail) for tail in tails], budget or WRITTEN_ROWS * row_budget(lm)):
        row = generate_row(lm, cache, shared, [tails[i] for i in group], max_new_tokens, stop)
        for i, answer in zip(group, row, strict=True):
            answers[i] = answer
        keep_prefix(cache, shared)
    return answers


def answer(
    lm: LanguageModel,
    task: Task,
    demonstrations: Demonstrations,
    queries: Sequence[str],
    style: Style = plain,
    max_new_tokens: int = 8,
) -> list[str]:
    """Let the model write its answer to each query, up to the end of the line; one text for each
    query.

    Raises `PromptTooLong` as `generate` does.
    """
    prompts = [style(task, _chosen(demonstrations, query), query) for query in queries]
    return generate(lm, prompts, max_new_tokens)


@torch.inference_mode()
def next_tokens(lm: LanguageModel, prompt: str, top: int = 8) -> dict[str, float]:
    """The `top` likeliest next tokens after `prompt`, as texts with probabilities, best first."""
    tokens = torch.tensor([encode(lm.tokenizer, prompt)], device=lm.device)
    logits = lm.model(tokens, use_cache=False, logits_to_keep=1).logits[0, -1].float()
    best = logits.softmax(-1).topk(top)
    texts = [lm.tokenizer.decode([token]) for token in best.indices.tolist()]
    return dict(zip(texts, best.values.tolist(), strict=True))


def answer_words(task: Task) -> list[str]:
    """The words that stand for the labels, in their order."""
    return [task.word(label) for label in task.labels]


def _chosen(demonstrations: Demonstrations, query: str) -> Sequence[Example]:
    return demonstrations(query) if callable(demonstrations) else demonstrations


def query_tree(
    lm: LanguageModel,
    task: Task,
    demonstrations: Sequence[Example],
    query: str,
    words: Sequence[str],
    style: Style,
) -> Tree:
    """Tokenise the prompt alone and with each word; they part where the first word begins."""
    prompt = encode(lm.tokenizer, style(task, demonstrations, query))
    whole = [encode(lm.tokenizer, style(task, demonstrations, query, word)) for word in words]
    require_length(lm, max(map(len, whole)))
    start = common_length([prompt, *whole])
    if not start:
        raise ValueError(
            f"Task {task.name!r}: nothing stands before the label of {query!r}; write something "
            f"before {{label}} in the template."
        )
    # Words such as "late delivery" and "late refund" share a token: it counts for both, so the
    # branches start where the prompt ends, not where the labels differ.
    return Tree(prompt[:start], [tokens[start:] for tokens in whole])


def require_length(lm: LanguageModel, length: int) -> None:
    """Raises `PromptTooLong` where the model cannot read so many tokens."""
    if length > lm.context:
        raise PromptTooLong(
            f"The prompt with its answer has {length:,} tokens, but {lm.name} reads "
            f"{lm.context:,}: use fewer or shorter demonstrations (prompts.fit keeps as many as "
            f"fit)."
        )

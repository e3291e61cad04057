"""What the model answers: label log-likelihoods under shared demonstrations, calibration,
generation.

One idea makes it fast. All sequences begin with the same demonstrations, so these are encoded once
into a key/value cache, the prefix. Behind it the queries stand end to end in one row, without
padding; each query is a trunk, and its possible labels hang on it as branches:

    prefix | query 1, label A, label B | query 2, label A, label B | ...

Positions restart at every trunk and branch, and a block mask lets a token see the prefix, its own
trunk and its own branch, and nothing else. So every token is computed once and the scores are
those of separate sequences.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import log_softmax, logsumexp
from transformers import DynamicCache, PreTrainedModel

from helpers.data import Example, Task
from helpers.model import LanguageModel
from helpers.prompts import PromptTooLong, Style, encode, plain

Demonstrations = Sequence[Example] | Callable[[str], Sequence[Example]]

PREFIX = -1  # owner of the tokens that everybody sees
TRUNK = -1  # branch of the tokens that every label of a query sees
CONTENT_FREE = ("N/A", "[MASK]", "")  # Zhao et al. 2021


class Tree(NamedTuple):
    """One query as token ids: the prompt, and for each label the tokens that continue it."""

    trunk: list[int]
    branches: list[list[int]]


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
    words = [_words(task)] * len(queries)
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
    if len(options) != len(queries) or len({len(some) for some in options}) > 1:
        raise ValueError("Give a list of options for each query, as many for each.")
    if not packable(lm.model):
        return _score_one_by_one(lm, task, demonstrations, queries, options, style)
    return _score_packed(lm, task, demonstrations, queries, options, style, budget)


def _score_packed(lm, task, demonstrations, queries, options, style, budget) -> np.ndarray:
    trees = [
        _tree(lm, task, _chosen(demonstrations, query), query, some, style)
        for query, some in zip(queries, options, strict=True)
    ]
    scores = np.empty((len(queries), len(options[0]) if options else 0))
    if not trees:
        return scores
    shared = _shared_length([tree.trunk for tree in trees])
    cache = _encode_prefix(lm, trees[0].trunk[:shared])
    trees = [Tree(trunk[shared:], branches) for trunk, branches in trees]
    sizes = [len(tree.trunk) + sum(len(branch) - 1 for branch in tree.branches) for tree in trees]
    for group in groups(sizes, budget or _budget(lm)):
        scores[group] = _score_row(lm, cache, shared, [trees[i] for i in group])
        _keep_prefix(cache, shared)
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
    words = [_words(task)] * len(queries)
    scores = _score_one_by_one(lm, task, demonstrations, queries, words, style)
    return scores.reshape(len(queries), len(task.labels))


def _score_one_by_one(lm, task, demonstrations, queries, options, style) -> np.ndarray:
    scores = np.empty((len(queries), len(options[0]) if options else 0))
    for row, (query, some) in enumerate(zip(queries, options, strict=True)):
        tree = _tree(lm, task, _chosen(demonstrations, query), query, some, style)
        for column, branch in enumerate(tree.branches):
            tokens = torch.tensor([tree.trunk + branch], device=lm.device)
            with torch.inference_mode():
                logits = lm.model(tokens, use_cache=False).logits[0, -len(branch) - 1 : -1].float()
            told = logits.log_softmax(-1).gather(1, tokens[0, -len(branch) :, None])
            scores[row, column] = told.sum().item()
    return scores


class Prompt:
    """Demonstrations that are read once and kept; queries are asked behind them as they come.

    What a service does that learns of its queries one by one. `tokens` are those that are kept.
    Raises `PromptTooLong` when the demonstrations leave no room for a query, `ValueError` for an
    open task.
    """

    def __init__(
        self,
        lm: LanguageModel,
        task: Task,
        demonstrations: Sequence[Example],
        style: Style = plain,
    ):
        if not task.labels:
            raise ValueError(f"Task {task.name!r} is open, it has no labels to score.")
        self.lm, self.task, self.style = lm, task, style
        self.demonstrations = list(demonstrations)
        any_two = [encode(lm.tokenizer, style(task, demonstrations, text)) for text in ("A", "0")]
        self.tokens = any_two[0][: _shared_length(any_two)]
        _check_length(lm, len(any_two[0]))
        self.packs = packable(lm.model)
        self.cache = _encode_prefix(lm, self.tokens if self.packs else [])

    def score(self, query: str) -> np.ndarray:
        """Log-likelihood of each label's word as the answer, an array [labels] in nats.

        Raises `PromptTooLong` when the query with its label does not fit behind the demonstrations.
        """
        if not self.packs:
            shown = self.demonstrations, [query]
            return score_labels_one_by_one(self.lm, self.task, *shown, self.style)[0]
        tree = self._tree(query)
        kept = min(common_length([self.tokens, tree.trunk]), len(tree.trunk) - 1)
        self.tokens = self.tokens[:kept]  # a tokenizer may join the query's start to what is before
        _keep_prefix(self.cache, kept)
        scores = _score_row(self.lm, self.cache, kept, [Tree(tree.trunk[kept:], tree.branches)])
        _keep_prefix(self.cache, kept)
        return scores[0]

    def _tree(self, query: str) -> Tree:
        """As `_tree`, but the demonstrations are tokenised once, not once more for each label."""
        bare = _tree(self.lm, self.task, [], query, _words(self.task), self.style)
        question, whole = (
            encode(self.lm.tokenizer, self.style(self.task, shown, query))
            for shown in ([], self.demonstrations)
        )
        trunk = whole[: len(whole) - (len(question) - len(bare.trunk))]
        _check_length(self.lm, len(trunk) + max(map(len, bare.branches)))
        return Tree(trunk, bare.branches)


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
    _check_length(lm, max(map(len, sequences)) + max_new_tokens)
    if not packable(lm.model):
        return [_generate_alone(lm, tokens, max_new_tokens, stop) for tokens in sequences]
    shared = _shared_length(sequences)
    cache = _encode_prefix(lm, sequences[0][:shared])
    tails = [sequence[shared:] for sequence in sequences]
    answers: list[str] = [""] * len(prompts)
    for group in groups([len(tail) for tail in tails], budget or _budget(lm)):
        row = _generate_row(lm, cache, shared, [tails[i] for i in group], max_new_tokens, stop)
        for i, answer in zip(group, row, strict=True):
            answers[i] = answer
        _keep_prefix(cache, shared)
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


def packable(model: PreTrainedModel) -> bool:
    """Whether the model's attention takes a mask [1, 1, row, cache + row], so that rows can be
    packed.

    Says so in a warning where it does not, because the plain way is slower.
    """
    config = model.config
    kinds = getattr(config, "layer_types", None) or ["full_attention"]
    windowed = not hasattr(config, "layer_types") and getattr(config, "sliding_window", None)
    slanted = getattr(config, "alibi", False)  # ALiBi: distances are added to the mask
    takes_mask = config._attn_implementation == "sdpa" and not getattr(model, "_is_stateful", False)
    if takes_mask and not windowed and not slanted and set(kinds) == {"full_attention"}:
        return True
    warnings.warn(
        f"{type(model).__name__} does not take a block mask; each sequence is computed on its "
        f"own, which is slower.",
        stacklevel=3,
    )
    return False


def block_mask(cached: torch.Tensor, owner: torch.Tensor, branch: torch.Tensor) -> torch.Tensor:
    """Who sees whom: a boolean mask [1, 1, row, cache + row], True where a row token may look.

    `cached` [cache] names the owner of each token in the cache (`PREFIX`: everybody), `owner`
    [row] and `branch` [row] say whose each token of the row is, and on which of its owner's
    branches it stands (`TRUNK`: all of them).
    """
    in_cache = (cached == PREFIX) | (cached == owner[:, None])
    in_row = (owner == owner[:, None]) & ((branch == TRUNK) | (branch == branch[:, None]))
    return torch.cat([in_cache, in_row.tril()], dim=1)[None, None]


def _words(task: Task) -> list[str]:
    return [task.word(label) for label in task.labels]


def _chosen(demonstrations: Demonstrations, query: str) -> Sequence[Example]:
    return demonstrations(query) if callable(demonstrations) else demonstrations


def _tree(
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
    _check_length(lm, max(map(len, whole)))
    start = common_length([prompt, *whole])
    if not start:
        raise ValueError(
            f"Task {task.name!r}: nothing stands before the label of {query!r}; write something "
            f"before {{label}} in the template."
        )
    # Words such as "late delivery" and "late refund" share a token: it counts for both, so the
    # branches start where the prompt ends, not where the labels differ.
    return Tree(prompt[:start], [tokens[start:] for tokens in whole])


def _check_length(lm: LanguageModel, length: int) -> None:
    if length > lm.context:
        raise PromptTooLong(
            f"The prompt with its answer has {length:,} tokens, but {lm.name} reads "
            f"{lm.context:,}: use fewer or shorter demonstrations (prompts.fit keeps as many as "
            f"fit)."
        )


def common_length(sequences: list[list[int]]) -> int:
    """How many first tokens are the same in all sequences."""
    length = 0
    for column in zip(*sequences, strict=False):  # the shortest sequence ends it
        if len(set(column)) > 1:
            break
        length += 1
    return length


def _shared_length(sequences: list[list[int]]) -> int:
    """How many first tokens are the same in all sequences, leaving each at least one of its own."""
    return min(common_length(sequences), min(map(len, sequences)) - 1)


def groups(sizes: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indices in order, cut into groups of at most `budget` tokens (a larger one stands alone)."""
    group: list[int] = []
    for i, size in enumerate(sizes):
        if group and sum(sizes[j] for j in group) + size > budget:
            yield group
            group = []
        group.append(i)
    if group:
        yield group


def _budget(lm: LanguageModel) -> int:
    return 256 if lm.device.type == "cpu" else 8192  # more gains nothing on a CPU


@torch.inference_mode()
def _encode_prefix(lm: LanguageModel, tokens: list[int]) -> DynamicCache:
    """The key/value cache of `tokens`, computed in pieces so that memory stays flat."""
    cache = DynamicCache()
    step = max(512, _budget(lm))
    for start in range(0, len(tokens), step):
        piece = torch.tensor([tokens[start : start + step]], device=lm.device)
        lm.model(piece, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return cache


def _keep_prefix(cache: DynamicCache, shared: int) -> None:
    """Forget the rows that were computed behind the first `shared` tokens."""
    if row := cache.get_seq_length() - shared:
        cache.crop(-row)


@torch.inference_mode()
def _score_row(
    lm: LanguageModel, cache: DynamicCache, shared: int, trees: list[Tree]
) -> np.ndarray:
    """One pass over one packed row; returns [trees, labels]."""
    tokens, positions, owner, branch, sources, targets, cells = (
        [],
        [],
        [],
        [],
        [],
        [],
        [],
    )
    for t, tree in enumerate(trees):
        tokens += tree.trunk
        positions += range(shared, shared + len(tree.trunk))
        owner += [t] * len(tree.trunk)
        branch += [TRUNK] * len(tree.trunk)
        stem = len(tokens) - 1  # the token that predicts the first token of every label
        for b, label in enumerate(tree.branches):
            sources += [stem, *range(len(tokens), len(tokens) + len(label) - 1)]
            targets += label
            cells += [t * len(tree.branches) + b] * len(label)
            tokens += label[:-1]  # the last token is only predicted, never read
            start = shared + len(tree.trunk)
            positions += range(start, start + len(label) - 1)
            owner += [t] * (len(label) - 1)
            branch += [b] * (len(label) - 1)
    kept, source = np.unique(sources, return_inverse=True)  # the output head runs only where asked
    cached = torch.full((shared,), PREFIX)
    mask = block_mask(cached, torch.tensor(owner), torch.tensor(branch))
    logits = _forward(lm, cache, tokens, positions, mask, kept)
    told = logits[source, targets] - logits.logsumexp(-1)[source]
    total = np.bincount(cells, weights=told.double().cpu().numpy())
    return total.reshape(len(trees), -1)


@torch.inference_mode()
def _generate_row(
    lm: LanguageModel,
    cache: DynamicCache,
    shared: int,
    tails: list[list[int]],
    max_new_tokens: int,
    stop: Sequence[str],
) -> list[str]:
    """Greedy continuations of one packed row; a finished answer leaves the row."""
    ends = _end_tokens(lm)
    written: list[list[int]] = [[] for _ in tails]
    active = list(range(len(tails)))
    tokens = [token for tail in tails for token in tail]
    positions = [shared + i for tail in tails for i in range(len(tail))]
    owner = torch.tensor([i for i, tail in enumerate(tails) for _ in tail])
    last = np.cumsum([len(tail) for tail in tails]) - 1
    cached = torch.full((shared,), PREFIX)
    for _ in range(max_new_tokens):
        mask = block_mask(cached, owner, torch.full_like(owner, TRUNK))
        best = _forward(lm, cache, tokens, positions, mask, last).argmax(-1).tolist()
        cached = torch.cat([cached, owner])
        for i, token in zip(active, best, strict=True):
            written[i].append(token)
        active = [i for i in active if not _finished(lm, written[i], ends, stop)]
        if not active:
            break
        tokens = [written[i][-1] for i in active]
        positions = [shared + len(tails[i]) + len(written[i]) - 1 for i in active]
        owner = torch.tensor(active)
        last = np.arange(len(active))
    return [_answer_text(lm, tokens, ends, stop) for tokens in written]


@torch.inference_mode()
def _generate_alone(
    lm: LanguageModel, tokens: list[int], max_new_tokens: int, stop: Sequence[str]
) -> str:
    """The same for one prompt by the model's own loop, which knows its own kind of cache."""
    ends = _end_tokens(lm)
    prompt = torch.tensor([tokens], device=lm.device)

    def finished(row: torch.Tensor, _) -> torch.Tensor:
        done = _finished(lm, row[0, len(tokens) :].tolist(), ends, stop)
        return torch.tensor([done], device=row.device)

    row = lm.model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,  # some models come with another
        stopping_criteria=[finished],
        pad_token_id=lm.tokenizer.pad_token_id,
    )
    return _answer_text(lm, row[0, len(tokens) :].tolist(), ends, stop)


def _forward(
    lm: LanguageModel,
    cache: DynamicCache,
    tokens: list[int],
    positions: list[int],
    mask: torch.Tensor,
    kept: np.ndarray,
) -> torch.Tensor:
    """Logits [kept, vocabulary] in float32 for one row behind the cache, which grows by the row."""
    logits = lm.model(
        torch.tensor([tokens], device=lm.device),
        position_ids=torch.tensor([positions], device=lm.device),
        attention_mask=mask.to(lm.device),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=torch.as_tensor(kept, device=lm.device),
    ).logits[0]
    return logits.float()


def _end_tokens(lm: LanguageModel) -> set[int]:
    ends = lm.model.generation_config.eos_token_id
    return set(ends) if isinstance(ends, list) else {ends}


def _finished(lm: LanguageModel, written: list[int], ends: set[int], stop: Sequence[str]) -> bool:
    return written[-1] in ends or _cut(lm.tokenizer.decode(written), stop) is not None


def _answer_text(lm: LanguageModel, written: list[int], ends: set[int], stop: Sequence[str]) -> str:
    kept = [token for token in written if token not in ends]
    text = lm.tokenizer.decode(kept, skip_special_tokens=True)
    cut = _cut(text, stop)
    return (text if cut is None else cut).strip()


def _cut(text: str, stop: Sequence[str]) -> str | None:
    """The text before the first stop string, or None where there is none."""
    found = [text.index(mark) for mark in stop if mark in text]
    return text[: min(found)] if found else None

"""Packing: many texts in one pass, without padding, behind a beginning that is read once.

All sequences begin with the same demonstrations, so these are encoded once into a key/value cache,
the prefix. Behind it the queries stand end to end in one row; each query is a trunk, and its
possible labels hang on it as branches:

    prefix | query 1, label A, label B | query 2, label A, label B | ...

Positions restart at every trunk and branch, and a block mask lets a token see the prefix, its own
trunk and its own branch, and nothing else. So every token is computed once and the scores are
those of separate sequences. Training packs its examples the same way, each a trunk of its own.
"""

import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedModel

from helpers.model import LanguageModel

PREFIX = -1  # owner of the tokens that everybody sees
TRUNK = -1  # branch of the tokens that every label of a query sees


class Tree(NamedTuple):
    """One query as token ids: the prompt, and for each label the tokens that continue it."""

    trunk: list[int]
    branches: list[list[int]]


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


def common_length(sequences: list[list[int]]) -> int:
    """How many first tokens are the same in all sequences."""
    length = 0
    for column in zip(*sequences, strict=False):  # the shortest sequence ends it
        if len(set(column)) > 1:
            break
        length += 1
    return length


def shared_length(sequences: list[list[int]]) -> int:
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


def row_budget(lm: LanguageModel) -> int:
    """Tokens in a pass that only reads."""
    return 256 if lm.device.type == "cpu" else 8192  # more gains nothing on a CPU


@torch.inference_mode()
def encode_prefix(lm: LanguageModel, tokens: list[int]) -> DynamicCache:
    """The key/value cache of `tokens`, computed in pieces so that memory stays flat."""
    cache = DynamicCache()
    step = max(512, row_budget(lm))
    for start in range(0, len(tokens), step):
        piece = torch.tensor([tokens[start : start + step]], device=lm.device)
        lm.model(piece, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return cache


def keep_prefix(cache: DynamicCache, shared: int) -> None:
    """Forget the rows that were computed behind the first `shared` tokens."""
    if row := cache.get_seq_length() - shared:
        cache.crop(-row)


@torch.inference_mode()
def score_row(lm: LanguageModel, cache: DynamicCache, shared: int, trees: list[Tree]) -> np.ndarray:
    """One pass over one packed row; returns [trees, labels]."""
    tokens, positions, owner, branch = [], [], [], []
    sources, targets, cells = [], [], []
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
    log_p = logits[source, targets] - logits.logsumexp(-1)[source]
    total = np.bincount(cells, weights=log_p.double().cpu().numpy())
    return total.reshape(len(trees), -1)


@torch.inference_mode()
def generate_row(
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
def generate_alone(
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
    places = [text.index(mark) for mark in stop if mark in text]
    return text[: min(places)] if places else None

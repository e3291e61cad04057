"""Heads: who looks where, which of them continue a pattern, and what is lost without them.

A layer's attention is split into heads. Each head mixes what it finds at the tokens it looks at.
The results of all heads stand side by side, [batch, tokens, heads * size], before one matrix, the
output projection, adds them to the state. So a hook before that matrix sees and can change each.

Works with any causal model whose layers have an attention module with a known output projection;
with others the functions raise a `ValueError` that says so.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from helpers.model import LanguageModel
from helpers.prompts import encode

PROJECTIONS = ("o_proj", "out_proj", "c_proj", "dense", "wo")  # the names that models give it
INDUCTION = 0.25  # of its attention, from which on a head counts as an induction head
HALF = 40  # random tokens, then the same again

Head = tuple[int, int]  # layer and head, both from 0


def layers(lm: LanguageModel) -> list[torch.nn.Module]:
    """The model's layers, in order; `ValueError` where it has no list of them."""
    depth = lm.model.config.num_hidden_layers
    for module in lm.model.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == depth:
            return list(module)
    raise ValueError(f"{lm.name} cannot be looked into: it has no list of {depth} layers.")


def projections(lm: LanguageModel) -> list[torch.nn.Module]:
    """The output projection of each layer's attention; `ValueError` where one is not found."""
    outputs = [
        next((module for name, module in layer.named_modules() if _projects(name)), None)
        for layer in layers(lm)
    ]
    if None in outputs:
        raise ValueError(
            f"{lm.name} cannot be looked into: layer {outputs.index(None)} has no attention with "
            f"an output projection of a known name ({', '.join(PROJECTIONS)})."
        )
    return outputs


def _projects(name: str) -> bool:
    *parents, last = name.split(".")
    return last in PROJECTIONS and any("attn" in part or "attention" in part for part in parents)


def heads(lm: LanguageModel) -> list[Head]:
    """All heads of the model, layer by layer."""
    each = range(lm.model.config.num_attention_heads)
    return [(layer, head) for layer in range(len(projections(lm))) for head in each]


@contextmanager
def hooks(places: Sequence[torch.nn.Module], make: Callable[[int], Callable]) -> Iterator[None]:
    """While inside, the hook `make(i)` is called before module i of `places` runs.

    It gets the module and its inputs, and may return other inputs in their place. The hooks are
    taken off at the end, after an error too.
    """
    taken = []
    try:
        for i, module in enumerate(places):
            taken.append(module.register_forward_pre_hook(make(i)))
        yield
    finally:
        for handle in taken:
            handle.remove()


@contextmanager
def ablated(
    lm: LanguageModel, chosen: Sequence[Head], means: torch.Tensor | None = None
) -> Iterator[None]:
    """While inside, the `chosen` heads tell nothing: they give their mean, or zeros without one.

    `means` is [layers, heads, size], as `mean_outputs` gives it. The mean is the gentler way: what
    a head adds to any text stays, only what it says about this text is gone.
    Raises `ValueError` for a head that the model has not.
    """
    unknown = set(chosen) - set(heads(lm))
    if unknown:
        raise ValueError(f"{lm.name} has no head {unknown.pop()}, given as (layer, head).")

    def silence(layer: int):
        here = [head for its_layer, head in chosen if its_layer == layer]

        def hook(module, inputs):
            results = inputs[0].clone()
            by_head = results.unflatten(-1, (lm.model.config.num_attention_heads, -1))  # a view
            by_head[..., here, :] = 0.0 if means is None else means[layer, here].to(results)
            return (results, *inputs[1:])

        return hook

    with hooks(projections(lm), silence):
        yield


@torch.inference_mode()
def mean_outputs(lm: LanguageModel, texts: Sequence[str]) -> torch.Tensor:
    """What each head gives on average over the texts' tokens, as [layers, heads, size]."""
    total, count = [0.0] * len(layers(lm)), 0

    def watch(layer: int):
        def hook(module, inputs):
            # The first token is left out: attention parks there, and its state dwarfs all others.
            total[layer] = total[layer] + inputs[0][0, 1:].float().sum(0)

        return hook

    with hooks(projections(lm), watch):
        for text in texts:
            tokens = encode(lm.tokenizer, text)
            lm.model(torch.tensor([tokens], device=lm.device), use_cache=False, logits_to_keep=1)
            count += len(tokens) - 1
    flat = torch.stack(total) / count
    return flat.unflatten(-1, (lm.model.config.num_attention_heads, -1))


@contextmanager
def _written_out(lm: LanguageModel) -> Iterator[None]:
    """While inside, attention is computed step by step, so that its weights can be seen.

    The fused kernels that are used otherwise never hold them in memory. The weights of the model
    stay where they are.
    """
    before = lm.model.config._attn_implementation
    try:
        lm.model.set_attn_implementation("eager")
        yield
    finally:
        lm.model.set_attn_implementation(before)


@torch.inference_mode()
def attention(lm: LanguageModel, tokens: Sequence[int]) -> np.ndarray:
    """Who looks where: [layers, heads, tokens, tokens]; row i sums to 1 over the tokens up to i.

    Raises `ValueError` where the model cannot show it.
    """
    projections(lm)
    with _written_out(lm):
        row = torch.tensor([list(tokens)], device=lm.device)
        seen = lm.model(row, output_attentions=True, use_cache=False, logits_to_keep=1).attentions
    return torch.cat(seen).float().cpu().numpy()


def repeated(lm: LanguageModel, count: int, half: int = HALF, seed: int = 0) -> np.ndarray:
    """Sequences of `half` random tokens followed by the same again, as [count, 2 * half]."""
    rng = np.random.default_rng(seed)
    usable = np.setdiff1d(np.arange(len(lm.tokenizer)), lm.tokenizer.all_special_ids)
    first = np.array([rng.choice(usable, half, replace=False) for _ in range(count)])
    return np.hstack([first, first])


def induction_score(attention: np.ndarray) -> np.ndarray:
    """How much attention goes from a token's second copy to what followed its first.

    Takes [..., tokens, tokens] of a sequence from `repeated`, gives the mean over the second half.
    Source: Olsson et al. 2022, arXiv 2209.11895.
    """
    half = attention.shape[-1] // 2
    second = np.arange(half, 2 * half)
    return attention[..., second, second - half + 1].mean(-1)


def induction_map(lm: LanguageModel, sequences: np.ndarray) -> np.ndarray:
    """The mean `induction_score` of each head over sequences [count, tokens], [layers, heads]."""
    return np.mean([induction_score(attention(lm, row)) for row in sequences], axis=0)


def strongest(scores: np.ndarray, least: float = INDUCTION) -> list[Head]:
    """The heads that score at least `least` in a map [layers, heads], best first."""
    order = [divmod(int(i), scores.shape[1]) for i in np.argsort(-scores, axis=None)]
    return [(layer, head) for layer, head in order if scores[layer, head] >= least]


def others(scores: np.ndarray, chosen: Sequence[Head], seed: int, by_layer: bool) -> list[Head]:
    """As many random heads that are not `chosen`; `by_layer`: as many in each layer.

    Raises `ValueError` where too few are left.
    """
    rng = np.random.default_rng(seed)
    left = [head for head in np.ndindex(scores.shape) if head not in set(chosen)]
    groups = [(left, len(chosen))]
    if by_layer:
        counts = Counter(layer for layer, _ in chosen)
        groups = [([head for head in left if head[0] == layer], n) for layer, n in counts.items()]
    if any(len(group) < count for group, count in groups):
        raise ValueError("Too few heads are left to choose as many others: choose fewer.")
    picked = [(group, rng.choice(len(group), count, replace=False)) for group, count in groups]
    return [group[i] for group, places in picked for i in places]


def continues(lm: LanguageModel, sequences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Loss in nats, and whether the likeliest token is the right one, in sequences [count, tokens].

    Both are [count, tokens - 1]: each token but the first, given all before it.
    """
    by_sequence = [_continues(lm, torch.as_tensor(row, device=lm.device)) for row in sequences]
    losses, right = zip(*by_sequence, strict=True)
    return np.array(losses), np.array(right)


@torch.inference_mode()
def _continues(lm: LanguageModel, row: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    logits = lm.model(row[None, :-1], use_cache=False).logits[0].float()
    losses = cross_entropy(logits, row[1:], reduction="none")
    return losses.cpu().numpy(), (logits.argmax(-1) == row[1:]).cpu().numpy()


def halves(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What `continues` gives of sequences from `repeated`, for the first and the second half.

    Takes [count, tokens - 1]. The token with which the repetition begins belongs to neither half,
    because nothing tells that it begins.
    """
    half = (values.shape[1] + 1) // 2
    return values[:, : half - 1], values[:, half:]

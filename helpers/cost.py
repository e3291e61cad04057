"""What teaching and asking cost: tokens, FLOPs, seconds, bytes, and when one way becomes cheaper.

A FLOP is one multiplication or one addition. A token that passes a matrix of N weights costs 2 N;
what it looks at in attention costs 4 x width for each token it looks at, in every layer. Training
goes through the network forward and back. The formulas (in the manner of Kaplan et al. 2020, arXiv
2001.08361, attention included) count what is computed, also what a mask then hides, and leave out
norms and activations; `count_flops` counts the same with PyTorch's own counter.
"""

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from helpers.model import LanguageModel

PIECE = 512  # tokens of a beginning that scoring reads in one pass on a CPU


class Shape(NamedTuple):
    """The sizes of a network on which its cost depends."""

    layers: int
    width: int  # of all attention heads together
    kv_width: int  # what a token's keys take, all heads together; its values take as much
    body: int  # weights of the layers' matrices
    head: int  # weights of the output head


def shape(lm: LanguageModel) -> Shape:
    """Read a causal model's sizes from its configuration and its matrices."""
    config = lm.model.config
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    head = lm.model.get_output_embeddings().weight.numel()
    return Shape(
        config.num_hidden_layers,
        heads * size,
        kv_heads * size,
        sum(map(math.prod, _body(lm))),
        head,
    )


def _body(lm: LanguageModel) -> list[tuple[int, int]]:
    """The sizes of the matrices in the layers: no embeddings, no output head."""
    return [
        tuple(weight.shape)
        for name, weight in lm.model.named_parameters()
        if weight.ndim == 2
        and any(part.isdigit() for part in name.split("."))
        and "lora" not in name
    ]


def forward_flops(lm: LanguageModel, tokens: float, cached: float = 0, told: float = 1) -> float:
    """FLOPs of reading `tokens` behind `cached` ones, with the output head at `told` positions."""
    sizes = shape(lm)
    return 2 * sizes.body * tokens + attention_flops(lm, tokens, cached) + 2 * sizes.head * told


def attention_flops(lm: LanguageModel, tokens: float, cached: float = 0) -> float:
    """Attention's part of `forward_flops`: the only one that grows with the square of a text."""
    sizes = shape(lm)
    return 4 * sizes.layers * sizes.width * tokens * (cached + tokens)


def in_pieces(
    flops: Callable[[LanguageModel, float, float], float],
    lm: LanguageModel,
    tokens: float,
    piece: int = PIECE,
) -> float:
    """What `flops(lm, tokens, cached)` says of a long text that is read piece by piece."""
    starts = np.arange(0, tokens, piece)
    return sum(flops(lm, min(piece, tokens - start), start) for start in starts)


def training_flops(
    lm: LanguageModel, tokens: float, told: float, rank: int = 8, method: str = "lora"
) -> float:
    """FLOPs of training on one row of `tokens`, `told` of which the loss counts.

    All weights: the way back costs twice the way forward, once for the activations' gradient and
    once for the weights'. LoRA spares the second but for its own thin matrices; attention, which
    has no weights, always costs twice on the way back.
    """
    once = forward_flops(lm, tokens, told=told)
    if method == "full":
        return 3 * once
    return 2 * once + attention_flops(lm, tokens) + 6 * adapter_weights(lm, rank) * tokens


def adapter_weights(lm: LanguageModel, rank: int) -> int:
    """How many weights a LoRA adapter beside every matrix of the layers has."""
    return rank * sum(rows + columns for rows, columns in _body(lm))


def cache_bytes(lm: LanguageModel, tokens: float) -> float:
    """What the key/value cache of `tokens` takes in memory."""
    sizes = shape(lm)
    return 2 * sizes.layers * sizes.kv_width * tokens * lm.model.dtype.itemsize


class Clock:
    """Seconds that what stands in a `with` took: on the `wall`, and of the `processor`.

    Other programs on the machine disturb the processor's far less.
    """

    wall = processor = 0.0

    def __enter__(self) -> "Clock":
        self._began = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        wall, processor = self._began
        self.wall, self.processor = time.perf_counter() - wall, time.process_time() - processor


def _added_product(total, left, right, out_shape=None, **_) -> int:
    """FLOPs of a product that is added in place, from the shapes; PyTorch leaves it out."""
    return 2 * left[0] * left[1] * right[1]


IN_PLACE = {torch.ops.aten.addmm_: _added_product}


def count_flops(work: Callable[[], object]) -> int:
    """Run `work` and count its matrix products, attention's included, with PyTorch's counter."""
    # On a CPU the counter does not know the fused attention; written out, it sees every product.
    with (
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False, custom_mapping=IN_PLACE) as counter,
    ):
        work()
    return counter.get_total_flops()


def break_even(once: float, each: float, other_once: float, other_each: float) -> float:
    """The number of queries from which the first way's total is below the other's.

    `once` and `each` are what teaching and a query cost, in any one unit. 0 means from the first
    query on, infinity never.
    """
    if each >= other_each:
        return 0.0 if once < other_once else math.inf
    return max(0.0, (once - other_once) / (other_each - each))

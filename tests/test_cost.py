"""What things cost: the formulas against PyTorch's counter, and against what peft really makes."""

import math

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from helpers import cost, finetune, packing
from helpers.data import Example, Task
from helpers.finetune import completion_loss, encode_examples, rows

EXAMPLES = tuple(Example(f"word number {i} {'very ' * i}", "ab"[i % 2]) for i in range(8))
TASK = Task("toy", "{text} -> {label}\n", EXAMPLES, EXAMPLES, ("a", "b"), {"a": "cat", "b": "dog"})
KINDS = ["llama", "qwen2", "gpt2"]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(params=KINDS)
def tiny(request, make_tiny):
    return make_tiny(request.param)


def read(lm, tokens, cached=0):
    """A forward pass over `tokens` behind `cached` ones, the output head at the last."""
    cache = packing.encode_prefix(lm, [1] * cached) if cached else None
    ids = torch.ones(1, tokens, dtype=torch.long)
    with torch.inference_mode():
        return cost.count_flops(lambda: lm.model(ids, past_key_values=cache, logits_to_keep=1))


@pytest.mark.parametrize(("tokens", "cached"), [(1, 0), (40, 0), (1, 64), (24, 64)])
def test_forward_formula_is_the_counter(tiny, tokens, cached):
    assert read(tiny, tokens, cached) == pytest.approx(
        cost.forward_flops(tiny, tokens, cached), rel=1e-9
    )


def test_the_formula_needs_its_attention(tiny):
    """Without the attention term a long text would be far off, so the comparison can fail."""
    sizes = cost.shape(tiny)
    assert read(tiny, 120) > 1.05 * (2 * sizes.body * 120 + 2 * sizes.head)


@pytest.mark.parametrize("method", finetune.METHODS)
@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_training_formula_is_close_to_the_counter(make_tiny, kind, method):
    lm = make_tiny(kind)
    encoded = encode_examples(lm, TASK, EXAMPLES)
    (row,) = rows(encoded, 10_000)
    told = int((row.targets != finetune.IGNORED).sum())
    tuned = (
        finetune.with_adapter(lm, 4, 0)
        if method == "lora"
        else finetune._with_all_weights(lm, True)
    )
    counted = cost.count_flops(lambda: completion_loss(tuned.model, row).backward())
    formula = cost.training_flops(lm, row.tokens.numel(), told, 4, method)
    # The first layer's input is frozen in LoRA, so its gradient is never computed: a tiny network
    # of few layers notices, a real one hardly.
    assert counted == pytest.approx(formula, rel=0.15 if method == "lora" else 0.02)


def test_formulas_hold_for_the_course_model(lm):
    assert read(lm, 30, 12) == pytest.approx(cost.forward_flops(lm, 30, 12), rel=1e-6)
    (row,) = rows(encode_examples(lm, TASK, EXAMPLES), 10_000)
    told = int((row.targets != finetune.IGNORED).sum())
    tuned = finetune.with_adapter(lm, 8, 0)
    counted = cost.count_flops(lambda: completion_loss(tuned.model, row).backward())
    formula = cost.training_flops(lm, row.tokens.numel(), told, 8)
    assert counted == pytest.approx(formula, rel=0.01)


def test_adapter_weights_are_those_that_peft_makes(tiny):
    tuned = finetune.with_adapter(tiny, 4, 0)
    made = sum(weight.numel() for weight in tuned.model.parameters() if weight.requires_grad)
    assert cost.adapter_weights(tiny, 4) == made
    assert cost.shape(tuned) == cost.shape(tiny)


def test_cache_bytes_are_those_of_a_cache(tiny):
    cache = packing.encode_prefix(tiny, [1] * 20)
    held = sum(part.nbytes for layer in cache.layers for part in (layer.keys, layer.values))
    assert cost.cache_bytes(tiny, 20) == held


def test_counting_leaves_attention_as_it_was(tiny):
    cost.count_flops(lambda: None)
    query = torch.ones(1, 1, 4, 8)
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        torch.nn.functional.scaled_dot_product_attention(query, query, query)


@pytest.mark.parametrize(
    ("first", "other", "queries"),
    [
        ((100, 1), (0, 2), 100),
        ((100, 2), (0, 1), math.inf),
        ((0, 1), (5, 1), 0),
        ((1, 1), (5, 2), 0),
    ],
)
def test_break_even(first, other, queries):
    assert cost.break_even(*first, *other) == queries


def test_a_long_beginning_is_counted_as_it_is_read(make_tiny):
    """Piece by piece, as scoring reads it on a CPU."""
    lm = make_tiny("llama")
    read = cost.count_flops(lambda: packing.encode_prefix(lm, [1] * 600))
    assert cost.in_pieces(cost.forward_flops, lm, 600) == pytest.approx(read, rel=1e-9)
    assert cost.forward_flops(lm, 600) > 1.05 * read  # in one piece, more is masked


def test_attention_is_what_grows_with_the_square(tiny):
    for cached in (0, 30):
        rest = [
            cost.forward_flops(tiny, tokens, cached) - cost.attention_flops(tiny, tokens, cached)
            for tokens in (10, 20, 30)
        ]
        assert rest[2] - rest[1] == rest[1] - rest[0] > 0
    assert cost.attention_flops(tiny, 20) == 4 * cost.attention_flops(tiny, 10)

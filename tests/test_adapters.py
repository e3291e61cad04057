"""Adapters: taken off, saved and loaded again, and how far they move each matrix."""

import json

import numpy as np
import pandas as pd
import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from test_finetune import EXAMPLES, TASK, tune

from helpers import adapters, model, scoring
from helpers.data import texts
from helpers.finetune import with_adapter
from helpers.model import LanguageModel, ModelError, checksum
from lessons import matrices

each_other_model = pytest.mark.parametrize(
    "other",
    [
        {"kind": "llama", "hidden_size": 64},
        {"kind": "llama", "num_hidden_layers": 2},
        {"kind": "llama", "num_hidden_layers": 4},
        {"kind": "gpt2"},
    ],
    ids=["wider", "shallower", "deeper", "another family"],
)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def tiny(make_tiny) -> LanguageModel:
    return make_tiny("llama")


# Taking off


def test_detaching_gives_the_base_back_to_the_bit(tiny):
    before, layout = checksum(tiny.model), str(tiny.model)
    lora = tune(tiny, TASK, EXAMPLES).lm
    base = adapters.detach(lora)
    assert checksum(tiny.model) == checksum(base.model) == before
    assert str(tiny.model) == str(base.model) == layout and base.name == tiny.name
    shared = {w.data_ptr() for w in tiny.model.parameters()}
    assert shared == {w.data_ptr() for w in base.model.parameters()}  # no second copy in memory
    assert shared < {w.data_ptr() for w in lora.model.parameters()}
    assert isinstance(lora.model, peft.PeftModel)  # and still adapted after detaching
    asked = texts(EXAMPLES)
    own, detached, adapted = (scoring.score_labels(m, TASK, [], asked) for m in (tiny, base, lora))
    assert (own == detached).all() and np.abs(adapted - own).max() > 1e-3


def test_what_has_no_adapter_cannot_be_detached(tiny):
    adapters.require_bare(tiny)
    with pytest.raises(ValueError, match="llama has no adapter: the base is the model"):
        adapters.detach(tiny)


def test_a_second_adapter_is_refused(tiny, tmp_path):
    adapted = tune(tiny, TASK, EXAMPLES, passes=1).lm
    adapters.save(adapted, tmp_path / "adapter")
    for refused in (adapters.require_bare, lambda lm: adapters.load(lm, tmp_path / "adapter")):
        with pytest.raises(ValueError, match="LoRA has an adapter already: take the base"):
            refused(adapted)


# How far each matrix moved


def relative(found: pd.DataFrame) -> dict[tuple[int, str], float]:
    return {(row.layer, row.matrix): row.relative for row in found.itertuples()}


def test_what_lora_changed_is_the_product_of_its_two_matrices(tiny, tmp_path):
    lora = tune(tiny, TASK, EXAMPLES, rank=4, rate=0.01).lm
    adapters.save(lora, tmp_path / "adapter")
    written = load_file(tmp_path / "adapter" / adapters.ADAPTER)
    config = json.loads((tmp_path / "adapter" / adapters.ADAPTER_CONFIG).read_text())
    scale = config["lora_alpha"] / config["r"]
    expected = {}
    for name, weight in tiny.model.named_parameters():
        parts = name.split(".")
        if weight.ndim == 2 and "layers" in parts:
            start = "base_model.model." + name.removesuffix("weight")
            a, b = (written[f"{start}lora_{letter}.weight"] for letter in "AB")
            added = scale * b @ a
            expected[int(parts[2]), parts[-2]] = added.square().sum().sqrt() / weight.norm()
    found = relative(matrices.change(lora, tiny))
    assert len(found) == 3 * 7 and found.keys() == expected.keys()
    assert min(found.values()) > 1e-4
    for key, share in expected.items():
        assert found[key] == pytest.approx(share.item(), rel=1e-4)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_what_the_adapter_adds_is_what_merging_it_changes(make_tiny, kind):
    lm = make_tiny(kind)
    lora = tune(lm, TASK, EXAMPLES, rate=0.01).lm
    adapted = relative(matrices.change(lora, lm))
    merged = tune(make_tiny(kind), TASK, EXAMPLES, rate=0.01).lm.model.merge_and_unload()
    direct = relative(matrices.change(lm.with_model(merged), lm))
    assert checksum(merged) != checksum(lm.model) and adapted.keys() == direct.keys()
    for key, share in direct.items():
        assert adapted[key] == pytest.approx(share, rel=1e-3)


def test_what_full_fine_tuning_changed_is_the_difference(tiny):
    full = tune(tiny, TASK, EXAMPLES, "full", rate=0.01).lm
    found = matrices.change(full, tiny)
    after = dict(full.model.named_parameters())
    rows = found.itertuples()
    for name, weight in tiny.model.named_parameters():
        if weight.ndim == 2 and ".layers." in name:
            row = next(rows)
            share = (after[name] - weight).norm() / weight.norm()
            assert name.startswith(f"model.layers.{row.layer}.") and f".{row.matrix}." in name
            assert row.weights == weight.numel()
            assert row.relative == pytest.approx(share.item(), rel=1e-4) and row.relative > 0
    assert next(rows, None) is None


def test_one_matrix_moved_by_hand_is_the_only_one(tiny, make_tiny):
    other = make_tiny("llama")
    with torch.no_grad():
        other.model.model.layers[1].mlp.up_proj.weight *= 1.25
    moved = relative(matrices.change(other, tiny))
    assert moved.pop((1, "up_proj")) == pytest.approx(0.25, rel=1e-5)
    assert set(moved.values()) == {0.0}


def test_an_untouched_model_and_a_new_adapter_have_not_moved(tiny):
    fresh = tune(tiny, TASK, EXAMPLES, passes=1, rate=0.0).lm  # B starts at zero
    for lm in (tiny, fresh):
        found = matrices.change(lm, tiny)
        assert list(found.columns) == ["layer", "matrix", "weights", "relative"]
        assert len(found) == 3 * 7 and (found.relative == 0).all()


@each_other_model
@pytest.mark.parametrize("adapted", [True, False], ids=["lora", "whole"])
def test_the_change_from_another_model_is_refused(tiny, make_tiny, other, adapted):
    lm = tune(tiny, TASK, EXAMPLES, passes=1).lm if adapted else tiny
    with pytest.raises(ValueError, match=r"other matrices than (llama|gpt2): give the model"):
        matrices.change(lm, make_tiny(**other))


# Saving and loading


def test_an_adapter_comes_back_the_same(tiny, tmp_path):
    before = checksum(tiny.model)
    tuned = tune(tiny, TASK, EXAMPLES)
    folder = tmp_path / "deep" / "adapter"
    adapters.save(tuned.lm, folder, tuned.history)
    loaded = adapters.load(tiny, folder)
    asked = texts(EXAMPLES)
    expected = scoring.score_labels(tuned.lm, TASK, [], asked)
    assert (scoring.score_labels(loaded, TASK, [], asked) == expected).all()
    assert loaded.name == tuned.lm.name and checksum(tiny.model) == before
    kept = pd.read_csv(folder / "history.csv")
    np.testing.assert_allclose(kept.loss, tuned.history.loss)
    assert (
        json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
        == tiny.name
    )
    adapters.save(tune(tiny, TASK, EXAMPLES, seed=1).lm, folder)  # replaces, leaves nothing behind
    assert not (folder / "history.csv").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["adapter"]


def test_a_whole_model_comes_back_the_same(tiny, tmp_path):
    tuned = tune(tiny, TASK, EXAMPLES, "full").lm
    adapters.save(tuned, tmp_path / "whole")
    assert checksum(model.load(str(tmp_path / "whole")).model) == checksum(tuned.model)


def test_saving_never_overwrites_something_else(tiny, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ModelError, match="holds other files"):
        adapters.save(tiny, tmp_path)
    with pytest.raises(ModelError, match="could not be saved"):
        adapters.save(tiny, tmp_path / "letter.txt" / "below")
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_failed_save_keeps_the_earlier_one(tiny, tmp_path, monkeypatch):
    tuned = tune(tiny, TASK, EXAMPLES, passes=1)
    folder = tmp_path / "adapter"
    adapters.save(tuned.lm, folder)
    before = (folder / adapters.ADAPTER).read_bytes()

    def full_disk(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full_disk)
    with pytest.raises(ModelError, match="No space left"):
        adapters.save(tune(tiny, TASK, EXAMPLES, seed=1).lm, folder, tuned.history)
    assert (folder / adapters.ADAPTER).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


@each_other_model
def test_an_adapter_that_does_not_fit_is_refused(tiny, make_tiny, other, tmp_path):
    base = make_tiny(**other)
    adapters.save(tune(tiny, TASK, EXAMPLES, passes=1).lm, tmp_path / "adapter")
    with pytest.raises(ModelError, match=f"made for llama and does not fit {base.name}"):
        adapters.load(base, tmp_path / "adapter")


def test_a_missing_or_damaged_adapter_is_named(tiny, tmp_path):
    folder = tmp_path / "adapter"
    with pytest.raises(ModelError, match="holds no adapter"):
        adapters.load(tiny, folder)
    adapters.save(tune(tiny, TASK, EXAMPLES, passes=1).lm, folder)
    state = load_file(folder / adapters.ADAPTER)
    state.popitem()
    save_file(state, folder / adapters.ADAPTER)
    with pytest.raises(ModelError, match="does not fit"):
        adapters.load(tiny, folder)
    whole = (folder / adapters.ADAPTER).read_bytes()
    (folder / adapters.ADAPTER).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="is damaged"):
        adapters.load(tiny, folder)
    (folder / adapters.ADAPTER_CONFIG).write_text("{")
    with pytest.raises(ModelError, match="is damaged"):
        adapters.load(tiny, folder)


def test_a_rounded_adapter_takes_half_the_bytes_and_comes_back_in_float32(tiny, tmp_path):
    tuned = tune(tiny, TASK, EXAMPLES, rate=1e-2).lm
    sizes = {}
    for half in (False, True):
        adapters.save(tuned, tmp_path / str(half), half=half)
        stored = load_file(tmp_path / str(half) / adapters.ADAPTER)
        sizes[half] = sum(weight.nbytes for weight in stored.values())
    assert sizes[True] * 2 == sizes[False]
    exact, rounded = (adapters.load(tiny, tmp_path / name) for name in ("False", "True"))
    assert {w.dtype for w in rounded.model.parameters()} == {torch.float32}
    asked = texts(EXAMPLES)
    one, other = (scoring.score_labels(m, TASK, [], asked) for m in (exact, rounded))
    assert np.abs(one - other).max() < 0.05
    assert not np.array_equal(one, other)


def test_the_fused_product_has_the_values_and_gradients_of_pefts_own(tiny):
    """Both matrices differ from zero, and the scale from 1: else half of it would not be seen."""
    lm = with_adapter(tiny, 4, 0)
    layer = next(part for part in lm.model.modules() if type(part) is peft.tuners.lora.Linear)
    thin, wide = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        wide.normal_(generator=generator)
    inputs = torch.randn(2, 5, layer.in_features, generator=generator, requires_grad=True)

    def results(forward):
        output = forward(inputs)
        return output, *torch.autograd.grad(output.square().sum(), (inputs, thin, wide))

    fused, own = results(layer.forward), results(lambda x: type(layer).forward(layer, x))
    assert "AddedProduct" in fused[0].grad_fn.name() and layer.scaling["default"] == 2
    for ours, theirs in zip(fused, own, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rank", [1, 4])
def test_an_adapter_counts_twice_whatever_its_rank(tiny, rank):
    config = with_adapter(tiny, rank, 0).model.active_peft_config
    assert (config.r, config.lora_alpha) == (rank, 2 * rank)

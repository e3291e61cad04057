"""Adapters and tuned models: put on, taken off, saved, loaded, and how far a weight has moved.

An adapter (LoRA, Hu et al. 2021, arXiv 2106.09685) is a pair of thin matrices A and B beside each
linear layer; what they add to the layer's matrix is B A times a scale. The base never changes.
"""

import copy
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import MethodType

import pandas as pd
import peft
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from helpers.model import LanguageModel, ModelError

ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
LARGE = 2**16  # weights of a matrix from which on rounding its input costs less than it saves


def require_bare(lm: LanguageModel) -> None:
    """Raise `ValueError` where `lm` has an adapter already."""
    if isinstance(lm.model, peft.PeftModel):
        raise ValueError(f"{lm.name} has an adapter already: take the base, or detach it first.")


def _twin(model: torch.nn.Module) -> torch.nn.Module:
    """A second body around the same weights: peft may rebuild it and `model` never notices."""
    shared = {
        id(weight): torch.nn.Parameter(weight.detach(), requires_grad=False)
        for weight in model.parameters()
    }
    return copy.deepcopy(model, shared)


class _AddedProduct(torch.autograd.Function):
    """x W + s (x A) B for frozen W, by adding to the one output that W gives.

    peft's own way makes three arrays as large as the output, and as many on the way back. Of all
    that is computed only x and the thin s (x A) are kept. W, A, B stand here as [out, in]; the
    products with W are computed in its precision, everything else in that of x.
    """

    @staticmethod
    def forward(ctx, x, base, bias, thin, wide, scale):
        flat = x.reshape(-1, x.shape[-1])
        inner = (flat @ thin.T).mul_(scale)
        output = _times(flat, base.T).addmm_(inner, wide.T)
        output = output if bias is None else output.add_(bias)
        ctx.save_for_backward(flat, inner, base, thin, wide)
        ctx.scale, ctx.shape = scale, x.shape
        return output.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx, slope):
        flat, inner, base, thin, wide = ctx.saved_tensors
        slope = slope.reshape(-1, slope.shape[-1])
        through = (slope @ wide).mul_(ctx.scale)
        to_x = None
        if ctx.needs_input_grad[0]:
            to_x = _times(slope, base).addmm_(through, thin).view(ctx.shape)
        return to_x, None, None, through.T @ flat, slope.T @ inner, None


def _times(x: torch.Tensor, frozen: torch.Tensor) -> torch.Tensor:
    return (x.to(frozen.dtype) @ frozen).to(x.dtype)


@contextmanager
def in_bfloat16(model: torch.nn.Module, wanted: bool = True) -> Iterator[None]:
    """While inside, training multiplies by large frozen matrices in bfloat16, where `wanted`.

    It makes a copy of each. On processors that compute it natively such a product is several times
    as fast as in float32.
    """
    adapted = [layer for layer in model.modules() if type(layer) is peft.tuners.lora.Linear]
    large = [layer for layer in adapted if wanted and layer.base_layer.weight.numel() >= LARGE]
    for layer in large:
        layer.rounded = layer.base_layer.weight.detach().bfloat16()
    try:
        yield
    finally:
        for layer in large:
            del layer.rounded


def _quick_forward(layer: peft.tuners.lora.Linear, x: torch.Tensor, *args, **more) -> torch.Tensor:
    """What peft's layer computes, through `_AddedProduct` where the layer is of the usual kind."""
    active = layer.active_adapters
    plain = len(active) == 1 and not (args or more or layer.disable_adapters or layer.merged)
    if plain and active[0] in layer.lora_A and active[0] not in layer.lora_variant:
        base, dropout = layer.base_layer, layer.lora_dropout[active[0]]
        thin, wide = layer.lora_A[active[0]], layer.lora_B[active[0]]
        alike = x.dtype == base.weight.dtype == thin.weight.dtype and wide.bias is None
        usual = type(base) is torch.nn.Linear and isinstance(dropout, torch.nn.Identity)
        if alike and usual and not torch.is_autocast_enabled(x.device.type):
            factors = thin.weight, wide.weight, layer.scaling[active[0]]
            frozen = getattr(layer, "rounded", base.weight)
            return _AddedProduct.apply(x, frozen, base.bias, *factors)
    return type(layer).forward(layer, x, *args, **more)


def attach(lm: LanguageModel, config: peft.PeftConfig) -> LanguageModel:
    """A model with a new adapter on the weights of `lm`, which itself is not changed."""
    twin = _twin(lm.model)
    twin.name_or_path = config.base_model_name_or_path = lm.name  # not a path of this machine
    with warnings.catch_warnings():  # about old names and layouts that peft copes with by itself
        warnings.simplefilter("ignore")
        adapted = peft.get_peft_model(twin, config)
    for layer in adapted.modules():
        if type(layer) is peft.tuners.lora.Linear:
            layer.forward = MethodType(_quick_forward, layer)
    return lm.with_model(adapted.eval(), f"{lm.name} + LoRA")


def detach(lm: LanguageModel) -> LanguageModel:
    """The base without the adapter, on the same weights; `lm` itself keeps its adapter.

    Raises `ValueError` when there is none.
    """
    if not isinstance(lm.model, peft.PeftModel):
        raise ValueError(f"{lm.name} has no adapter: the base is the model that was tuned.")
    base = lm.model.active_peft_config.base_model_name_or_path
    return lm.with_model(_twin(lm.model).unload(), base)


def save(
    lm: LanguageModel,
    folder: str | Path,
    history: pd.DataFrame | None = None,
    half: bool = False,
) -> None:
    """Write the adapter (or the whole model, where there is none) as safetensors, all or nothing.

    An earlier save in `folder` is replaced. `history` goes with it as `history.csv`. A whole model
    is read back with `model.load(folder)`. `half` rounds an adapter to float16, half the bytes.

    Raises `ModelError` when `folder` holds something else or cannot be written.
    """
    folder = Path(folder).resolve()
    try:
        names = {file.name for file in folder.iterdir()} if folder.exists() else set()
        if names and not names & {ADAPTER_CONFIG, "config.json"}:
            raise ModelError(f"{folder} holds other files: choose a new folder to save in.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".saving-") as scratch:
            part = Path(scratch, "new")
            part.mkdir()
            if isinstance(lm.model, peft.PeftModel):
                lm.model.active_peft_config.save_pretrained(part)
                weights = _adapter_weights(lm)
                if half:
                    weights = {name: weight.half() for name, weight in weights.items()}
                save_file(weights, part / ADAPTER)
            else:
                lm.model.save_pretrained(part)
                lm.tokenizer.save_pretrained(part)
            if history is not None:
                history.to_csv(part / "history.csv", index=False)
            if folder.exists():
                os.replace(folder, Path(scratch, "old"))
            os.replace(part, folder)
    except OSError as error:
        raise ModelError(
            f"{lm.name} could not be saved in {folder} ({error}): free some space or change folder."
        ) from error


def load(lm: LanguageModel, folder: str | Path) -> LanguageModel:
    """The base `lm` with the adapter that `save` wrote; `lm` itself is not changed.

    Raises `ModelError` when `folder` holds no adapter, a damaged one or one that does not fit, and
    `ValueError` when `lm` has an adapter already.
    """
    require_bare(lm)
    folder = Path(folder)
    if not (folder / ADAPTER_CONFIG).is_file():
        raise ModelError(f"{folder} holds no adapter: give the folder that save wrote.")
    try:
        config = peft.PeftConfig.from_pretrained(folder)
        state = load_file(folder / ADAPTER)
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        raise ModelError(f"The adapter in {folder} is damaged ({error}): save it again.") from error
    base = config.base_model_name_or_path
    try:
        tuned = attach(lm, config)
        fits = _shapes(_adapter_weights(tuned)) == _shapes(state)
    except ValueError:  # the base has no layers of these names
        fits = False
    if not fits:
        raise ModelError(f"The adapter in {folder} was made for {base} and does not fit {lm.name}.")
    peft.set_peft_model_state_dict(tuned.model, state)
    return tuned


def _adapter_weights(lm: LanguageModel) -> dict[str, torch.Tensor]:
    # False: by default peft may ask the Hub about the base.
    return peft.get_peft_model_state_dict(lm.model, save_embedding_layers=False)


def _shapes(state: dict[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in state.items()}

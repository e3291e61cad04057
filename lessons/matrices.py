"""Matrices: how far each has moved in fine-tuning, and in how many directions."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import peft
import torch

from helpers.adapters import detach
from helpers.model import LanguageModel


def change(lm: LanguageModel, base: LanguageModel) -> pd.DataFrame:
    """How far each matrix moved in fine-tuning: one row per matrix.

    The columns are `layer` (from 0), `matrix` (its name in the layer), `weights` (how many) and
    `relative`: the Frobenius norm of the difference divided by that of the base's matrix. Where
    `lm` has an adapter, the difference is what the adapter adds.

    Raises `ValueError` when the two models have not the same matrices.
    """
    moves = []
    bare = detach(lm) if isinstance(lm.model, peft.PeftModel) else lm
    before = _matrices(base.model)
    if _shapes(_matrices(bare.model)) != _shapes(before):
        raise ValueError(
            f"{lm.name} has other matrices than {base.name}: give the model that it came from."
        )
    moved = dict(_differences(lm, before))
    for name, weight in before.items():
        layer = next((int(part) for part in name.split(".") if part.isdigit()), None)
        if layer is not None:
            size = moved[name] / weight.float().norm().item() if name in moved else 0.0
            moves.append((layer, name.split(".")[-2], weight.numel(), size))
    return pd.DataFrame(moves, columns=["layer", "matrix", "weights", "relative"])


def _matrices(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight for name, weight in model.named_parameters() if weight.ndim == 2}


@torch.no_grad()
def _differences(lm: LanguageModel, before: dict) -> Iterator[tuple[str, float]]:
    """Name and Frobenius norm of what was added to each matrix."""
    if isinstance(lm.model, peft.PeftModel):
        for name, module in lm.model.base_model.model.named_modules():
            if hasattr(module, "get_delta_weight"):
                added = module.get_delta_weight(module.active_adapters[0])
                yield f"{name}.weight", added.float().norm().item()
        return
    after = _matrices(lm.model)
    for name, weight in before.items():
        yield name, (after[name].float() - weight.float()).norm().item()


def _shapes(matrices: dict[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: matrix.shape for name, matrix in matrices.items()}


@torch.no_grad()
def directions(lm: LanguageModel) -> pd.DataFrame:
    """The singular values of what an adapter adds to each matrix: a row per matrix.

    `first` is the first direction's share of the squared norm. `effective` is the effective rank:
    as many equally strong directions would be spread as widely (exp of the entropy of the shares).
    Raises `ValueError` where there is no adapter.
    """
    strengths = []
    for name, module in lm.model.named_modules():
        if hasattr(module, "lora_A") and hasattr(module, "get_delta_weight"):
            which = module.active_adapters[0]
            thin, wide = module.lora_A[which].weight.float(), module.lora_B[which].weight.float()
            # B A has the singular values of a small square, once both are turned upright.
            small = torch.linalg.qr(wide).R @ torch.linalg.qr(thin.T).R.T
            shares = torch.linalg.svdvals(small).square()
            shares = (shares / shares.sum()).cpu().numpy()
            layer = next(int(part) for part in name.split(".") if part.isdigit())
            spread = float(np.exp(-(shares * np.log(shares.clip(1e-12))).sum()))
            strengths.append((layer, name.split(".")[-1], float(shares[0]), spread))
    if not strengths:
        raise ValueError(f"{lm.name} has no adapter: give a model that was tuned with LoRA.")
    return pd.DataFrame(strengths, columns=["layer", "matrix", "first", "effective"])

"""Matrices: how far each has moved in fine-tuning."""

from collections.abc import Iterator

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

"""The learner's layers give the numbers of peft's, around the same frozen weights."""

import pytest
import torch

from helpers import model
from lessons import l02_fine_tuning
from lessons.l02_fine_tuning import LoRALinear, as_peft, by_kind, put_beside


@pytest.fixture
def taught(tiny_models):
    """A small model, and the same with layers of the learner's kind that were moved."""
    lm = tiny_models["llama"]
    student = put_beside(lm, LoRALinear, rank=2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for name, weight in student.model.named_parameters():
            if name.endswith(".B"):
                weight.data.normal_(std=0.1)
    return lm, student


def logits(lm):
    with torch.inference_mode():
        return lm.model(torch.tensor([[5, 6, 7, 8]])).logits


def test_new_layers_change_nothing_and_only_they_may_move(tiny_models):
    lm = tiny_models["llama"]
    before = model.checksum(lm.model)
    student = put_beside(lm, LoRALinear, rank=2)
    assert torch.allclose(logits(student), logits(lm))
    free = [name for name, weight in student.model.named_parameters() if weight.requires_grad]
    assert free and {name[-2:] for name in free} == {".A", ".B"}
    assert model.checksum(lm.model) == before


def test_peft_gives_the_numbers_of_the_learners_layers(taught):
    lm, student = taught
    assert not torch.allclose(logits(student), logits(lm))
    assert torch.allclose(logits(as_peft(student, lm, rank=2)), logits(student), atol=1e-5)


def test_every_kind_of_matrix_has_its_change(taught):
    lm, student = taught
    table = by_kind({"LoRA": l02_fine_tuning.matrices.change(as_peft(student, lm, rank=2), lm)})
    assert len(table) == 7 and all(share.endswith("%") for share in table["LoRA"])

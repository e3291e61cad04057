"""The learner's layers give the numbers of peft's, around the same frozen weights."""

import numpy as np
import pandas as pd
import pytest
import torch

from helpers import compare, model
from helpers.data import load_task
from helpers.finetune import encode_examples, token_losses
from lessons import l02_fine_tuning
from lessons.l02_fine_tuning import LoRALinear, as_peft, by_kind, put_around

TICKETS = load_task("support_tickets")


@pytest.fixture
def taught(tiny_models):
    """A small model, and the same with layers of the learner's kind that were moved."""
    lm = tiny_models["llama"]
    student = put_around(lm, LoRALinear, rank=2)
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
    student = put_around(lm, LoRALinear, rank=2)
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


def test_a_topic_and_what_ends_it_cost_what_the_loss_counts(tiny_models):
    lm, task = tiny_models["llama"], load_task("support_tickets")
    examples = task.draw(3, seed=0)
    parts = l02_fine_tuning.costs(lm, task, examples)
    whole = [token_losses(lm, e)[e.start - 1 :].sum() for e in encode_examples(lm, task, examples)]
    assert list(parts.index) == ["topic", "line break"]
    assert parts.sum() == pytest.approx(np.mean(whole), rel=1e-4)


def test_two_groups_are_resampled_each_by_itself():
    """22 and 15 of 32: the luck of both groups counts, so the gap may be none."""
    some, others = np.arange(32) < 22, np.arange(32) < 15
    gap = l02_fine_tuning.unpaired(some, others)
    assert gap.mean == pytest.approx(7 / 32) and gap.low <= 0 < gap.high
    spread = np.sqrt(some.var() / 32 + others.var() / 32)
    assert (gap.high - gap.low) / (2 * 1.96 * spread) == pytest.approx(1, abs=0.1)
    assert l02_fine_tuning.unpaired(np.ones(32), np.arange(32) < 8).low > 0


@pytest.mark.parametrize(
    ("gain", "gap", "told"),
    [
        ((0.3, 0.1, 0.5), (0.2, -0.02, 0.4), "so few cannot say"),
        ((0.3, 0.1, 0.5), (0.3, 0.02, 0.6), "better than their topics"),
        ((0.1, 0.0, 0.2), (0.3, 0.02, 0.6), "may be luck"),
    ],
)
def test_what_may_be_luck_is_called_so(gain, gap, told):
    given = compare.Interval(*gain), compare.Interval(*gap)
    assert told in l02_fine_tuning.memorised(*given)


def test_packed_steps_are_the_learners(taught):
    """Three steps on tickets of one topic, so of as many counted tokens: losses, then weights."""
    lm, _ = taught
    alike = [example for example in TICKETS.train if example.label == "damaged"][:3]
    batch, ended = encode_examples(lm, TICKETS, alike), []
    for step in (l02_fine_tuning.train_step, l02_fine_tuning.packed_step):
        network = put_around(lm, LoRALinear, rank=2).model
        free = [weight for weight in network.parameters() if weight.requires_grad]
        optimizer = torch.optim.SGD(free, lr=0.5)
        losses = [step(network, batch, optimizer) for _ in range(3)]
        assert losses[-1] < losses[0]
        ended.append([torch.tensor(losses), *(weight.detach() for weight in free)])
    for own, packed in zip(*ended, strict=True):
        assert torch.allclose(own, packed, atol=1e-4)


def test_findings_count_matrices_that_moved_and_answers_that_stayed():
    moves = {"LoRA": pd.DataFrame({"relative": [0.1, 0.0]})}
    some = compare.Interval(0.1, 0.0, 0.2)
    found = l02_fine_tuning.findings(moves, some, some, (["a", "b"], ["a", "c"]), (56, 1385))
    assert found["F1"][0] == "LoRA 1 of 2 matrices"
    assert found["F2"] == (
        "new tickets, after minus before +0.10 (+0.00 to +0.20); taught minus new "
        "+0.10 (+0.00 to +0.20)",
        "What new tickets gain may be luck.",
    )
    assert found["F3"][0] == "1 of 2 answers the same in a new, offline process"
    assert found["F5"][0] == f"{found['F3'][0]}; 56 tokens, not 1,385"


def test_a_figures_title_says_what_became_of_each_rate(monkeypatch):
    drawn = []
    monkeypatch.setattr(l02_fine_tuning.plots, "lines", lambda *given: drawn.append(given))
    l02_fine_tuning.plot_rates({"0.1": [9.0, 30.0, 18.0], "0.001": [9.0, 2.6], "0.01": [9.0, 8.9]})
    assert drawn[0][3] == "Rate 0.1 leaps to 30.0, 0.001 falls to 2.6, 0.01 stays at 8.9"


def test_what_may_move_and_what_stayed_are_told_in_numbers(taught, tmp_path):
    lm, _ = taught
    total = lm.model.num_parameters()
    said = l02_fine_tuning.may_move([torch.zeros(2, 500)], lm)
    assert said.startswith(f"1,000 weights may move, beside {total:,} that may not")
    (tmp_path / l02_fine_tuning.ADAPTER).write_bytes(bytes(3_000_000))
    told = l02_fine_tuning.stayed(lm, tmp_path, (56, 1385), same=True)
    assert told.startswith("The adapter's file has 3 MB") and "have 1,385." in told
    assert told.endswith("the same to the last bit.")
    assert "CHANGED" in l02_fine_tuning.stayed(lm, tmp_path, (1, 2), same=False)

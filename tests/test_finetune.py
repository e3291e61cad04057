"""The fine-tuning loop: what it teaches, that packing changes nothing, and that the base stays."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy

from helpers import adapters, finetune, model, prompts, scoring
from helpers.data import Example, Task, load_task, texts
from helpers.finetune import Recipe, completion_loss, encode_examples, rows
from helpers.model import LanguageModel, ModelError, checksum
from tools import finetune as command
from tools import speed

ROOT = Path(__file__).resolve().parents[1]
WORDS = ["dog", "cat", "cow", "pear", "fig", "plum", "lime", "oak", "elm", "ash"]
EXAMPLES = tuple(
    Example(f"{word} number {'very ' * (i % 4)}{i}", ("animal", "fruit", "tree")[i % 3])
    for i, word in enumerate(WORDS)
)
LABELS = ("animal", "fruit", "tree")
TASK = Task(
    "kinds", "{text} -> {label}\n", EXAMPLES, EXAMPLES, LABELS, {label: label for label in LABELS}
)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def tiny(make_tiny) -> LanguageModel:
    return make_tiny("llama")


@pytest.fixture
def in_float32(monkeypatch):
    """Where two ways of cutting a batch must agree to four digits, on every processor."""
    monkeypatch.setattr(finetune, "rounds", lambda lm: False)


def tune(lm, task, examples, method="lora", seed=0, style=prompts.plain, shown=None, **recipe):
    """`finetune.tune` with the recipe's entries as they are."""
    return finetune.tune(lm, task, examples, Recipe(method, **recipe), seed, style, shown)


def gradients(lm: LanguageModel, cut: list, count: int) -> list[torch.Tensor]:
    lm.model.zero_grad()
    for row in cut:
        (completion_loss(lm.model, row) / count).backward()
    return [weight.grad.clone() for weight in lm.model.parameters()]


def predicted(encoded: list) -> int:
    return sum(len(example.tokens) - example.start for example in encoded)


# What is learnt


def test_a_training_example_is_a_demonstration(tiny):
    for example, (tokens, start) in zip(
        EXAMPLES, encode_examples(tiny, TASK, EXAMPLES), strict=True
    ):
        assert tiny.tokenizer.decode(tokens) == f"{example.text} -> {example.label}\n"
        assert tiny.tokenizer.decode(tokens[start:]) == f" {example.label}\n"
        in_prompt = prompts.plain(TASK, [example], "next")
        assert in_prompt == tiny.tokenizer.decode(tokens) + "next ->"


@pytest.mark.parametrize("style", ["plain", "chat"])
def test_an_answer_without_ending_ends_with_the_end_token(tiny, style):
    task = TASK if style == "chat" else Task("open", "{text}: {label}", EXAMPLES, ())
    style = prompts.chat(tiny.tokenizer) if style == "chat" else prompts.plain
    tokens, start = encode_examples(tiny, task, EXAMPLES[:1], style)[0]
    prompt = style(task, [], EXAMPLES[0].text)
    assert tiny.tokenizer.decode(tokens[:start]) == prompt
    assert tiny.tokenizer.decode(tokens[start:]).strip() == "animal<|end|>"


def test_demonstrations_stand_in_front_and_are_not_learnt(tiny):
    def choose(example, rng):
        return [EXAMPLES[i] for i in rng.integers(0, 10, 2)]

    rng = np.random.default_rng(3)
    shown = [choose(example, rng) for example in EXAMPLES]
    encoded = encode_examples(
        tiny, TASK, EXAMPLES, demonstrations=choose, rng=np.random.default_rng(3)
    )
    for example, before, (tokens, start) in zip(EXAMPLES, shown, encoded, strict=True):
        assert tiny.tokenizer.decode(tokens[:start]) == prompts.plain(TASK, before, example.text)
        assert tiny.tokenizer.decode(tokens[start:]) == f" {example.label}\n"


def test_the_loss_counts_the_completion_and_nothing_else(tiny):
    encoded = encode_examples(tiny, TASK, EXAMPLES[:3])
    by_hand = 0.0
    for tokens, start in encoded:
        with torch.no_grad():
            logits = tiny.model(torch.tensor([tokens])).logits[0]
        for i in range(start, len(tokens)):
            by_hand -= logits[i - 1].log_softmax(-1)[tokens[i]].item()
    assert [len(tokens) - start for tokens, start in encoded] == [8, 7, 6]  # " animal\n" and so on
    for packed in (True, False):
        (row,) = rows(encoded, 1000, packed)
        assert completion_loss(tiny.model, row).item() == pytest.approx(by_hand, abs=1e-4)


def test_the_output_head_runs_only_where_the_loss_is(tiny):
    seen = []
    tiny.model.lm_head.register_forward_hook(lambda *call: seen.append(call[1][0].shape[1]))
    encoded = encode_examples(tiny, TASK, EXAMPLES[:3])
    (row,) = rows(encoded, 1000)
    completion_loss(tiny.model, row)
    assert seen == [predicted(encoded)] and row.tokens.shape[1] > 2 * predicted(encoded)


def test_token_losses_add_up_to_the_loss_where_it_counts(tiny):
    (encoded,) = encode_examples(tiny, TASK, EXAMPLES[:1])
    losses = finetune.token_losses(tiny, encoded)
    assert losses.shape == (len(encoded.tokens) - 1,) and (losses > 0).all()
    (row,) = rows([encoded], 1000)
    counted = losses[encoded.start - 1 :].sum()
    assert counted == pytest.approx(completion_loss(tiny.model, row).item(), abs=1e-4)


# Packing and accumulation change nothing


def test_accumulated_gradient_is_that_of_the_whole_batch(tiny):
    encoded = encode_examples(tiny, TASK, EXAMPLES)
    count = predicted(encoded)
    tiny.model.zero_grad()
    total = 0.0
    for tokens, start in encoded:  # the mean over all completion tokens, written out
        logits = tiny.model(torch.tensor([tokens])).logits[0, start - 1 : -1]
        total += cross_entropy(logits, torch.tensor(tokens[start:]), reduction="sum")
    (total / count).backward()
    whole = [weight.grad.clone() for weight in tiny.model.parameters()]
    for packed in (True, False):
        for budget in (1, 60, 10_000):
            cut = list(rows(encoded, budget, packed))
            assert (len(cut) > 1) == (budget < 10_000)
            for ours, reference in zip(gradients(tiny, cut, count), whole, strict=True):
                torch.testing.assert_close(ours, reference, atol=1e-6, rtol=1e-4)


def test_every_step_has_the_gradient_of_its_own_batch_alone(tiny):
    batch = encode_examples(tiny, TASK, EXAMPLES[:4])
    plan = [(1, batch)] * 3
    adapted = finetune.with_adapter(tiny, 2, 0)
    standing = list(finetune.train_adapter(adapted, plan, 1e-3, lambda step: 0.0))
    norms = [record["grad_norm"] for record in standing]
    assert norms[0] > 0 and norms == pytest.approx([norms[0]] * 3)


def test_rows_keep_to_the_budget_and_lose_nothing(tiny):
    encoded = encode_examples(tiny, TASK, EXAMPLES)
    for packed in (True, False):
        cut = list(rows(encoded, 60, packed))
        assert all(row.tokens.numel() <= 60 for row in cut)
        targets = torch.cat([row.targets.flatten() for row in cut])
        assert (targets != finetune.IGNORED).sum() == predicted(encoded)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2"])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_packed_and_padded_learn_the_same(tiny_models, kind, method):
    lm = tiny_models[kind]
    both = [
        tune(lm, TASK, EXAMPLES, method, passes=5, batch=4, rate=0.01, packed=packed, budget=90)
        for packed in (True, False)
    ]
    packed, padded = (tuned.history for tuned in both)
    assert len(packed) == 15 and packed.loss.iloc[-1] < packed.loss.iloc[0] - 0.05
    np.testing.assert_allclose(packed.loss, padded.loss, atol=1e-4)
    np.testing.assert_array_equal(packed.tokens, padded.tokens)
    scores = [scoring.score_labels(t.lm, TASK, [], texts(EXAMPLES)) for t in both]
    assert scoring.predict(TASK, scores[0]) == scoring.predict(TASK, scores[1])


@pytest.mark.parametrize(
    ("other", "method"),
    [
        ({"kind": "mistral", "sliding_window": 16}, "lora"),
        ({"kind": "mamba", "attention": "eager"}, "full"),
    ],
    ids=["mistral", "mamba"],
)
def test_a_model_without_block_mask_is_padded_and_says_so_once(make_tiny, other, method):
    lm = make_tiny(**other)
    with pytest.warns(UserWarning, match="block mask") as caught:
        tuned = tune(lm, TASK, EXAMPLES, method, passes=2)
    assert len([w for w in caught if "block mask" in str(w.message)]) == 1
    padded = tune(lm, TASK, EXAMPLES, method, passes=2, packed=False)
    np.testing.assert_array_equal(tuned.history.loss, padded.history.loss)


# The loop


def test_history_schedule_and_clipping(tiny, monkeypatch):
    norms = []
    clip = torch.nn.utils.clip_grad_norm_

    def watched(weights, limit):
        before = clip(weights, limit)
        norms.append(torch.stack([w.grad.norm() for w in weights]).norm().item())
        return before

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", watched)
    history = tune(tiny, TASK, EXAMPLES, passes=7, batch=3, rate=0.01).history
    assert list(history.columns) == list(finetune.COLUMNS)
    assert list(history.step) == list(range(1, 29))
    assert list(history.epoch) == [epoch for epoch in range(1, 8) for _ in range(4)]
    per_epoch = sum(len(tokens) for tokens, _ in encode_examples(tiny, TASK, EXAMPLES))
    assert set(history.groupby("epoch").tokens.sum()) == {per_epoch}
    assert history.lr.max() == pytest.approx(0.01) and history.lr.idxmax() == 2  # a tenth of 28
    assert history.lr.iloc[:3].is_monotonic_increasing
    assert history.lr.iloc[2:].is_monotonic_decreasing and history.lr.iloc[-1] > 0
    assert (history.seconds > 0).all()
    assert history.grad_norm.max() > 1 and max(norms) <= 1 + 1e-5


def test_the_seed_decides_everything_and_nothing_else_is_touched(tiny):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = tune(tiny, TASK, EXAMPLES, seed=1)
    assert torch.rand(1) == expected
    again = tune(tiny, TASK, EXAMPLES, seed=1)
    other = tune(tiny, TASK, EXAMPLES, seed=2)
    assert list(first.history.loss) == list(again.history.loss)
    assert checksum(first.lm.model) == checksum(again.lm.model) != checksum(other.lm.model)
    assert list(first.history.loss) != list(other.history.loss)


def interrupt_after(steps: int):
    class Bar(finetune.tqdm):
        shown = 0

        def set_postfix(self, *arguments, **values):
            super().set_postfix(*arguments, **values)
            self.shown += 1
            if self.shown == steps:
                raise KeyboardInterrupt

    return Bar


@pytest.mark.parametrize("method", ["lora", "full"])
def test_an_interruption_keeps_the_model_and_the_history(tiny, monkeypatch, method):
    whole = tune(tiny, TASK, EXAMPLES, method, passes=4, batch=5)
    monkeypatch.setattr(finetune, "tqdm", interrupt_after(3))
    with pytest.warns(UserWarning, match="Stopped by hand after step 3 of 8"):
        tuned = tune(tiny, TASK, EXAMPLES, method, passes=4, batch=5)
    assert list(tuned.history.loss) == list(whole.history.loss[:3])
    assert "step 3 of 8" in tuned.note and not whole.note
    before, after = (scoring.score_labels(m, TASK, [], texts(EXAMPLES)) for m in (tiny, tuned.lm))
    assert np.isfinite(after).all() and np.abs(after - before).max() > 1e-3


def test_an_interruption_before_the_first_step_leaves_a_history_without_rows(tiny, monkeypatch):
    monkeypatch.setattr(finetune, "completion_loss", interrupted)
    with pytest.warns(UserWarning, match="after step 0 of 2"):
        tuned = tune(tiny, TASK, EXAMPLES, passes=1)
    assert len(tuned.history) == 0 and list(tuned.history.columns) == list(finetune.COLUMNS)


def interrupted(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_loss_that_is_no_number_stops_with_the_last_good_weights(tiny, monkeypatch, method):
    def good_twice(network, row):
        calls.append(row)
        return completion_loss(network, row) * (1 if len(calls) < 3 else float("nan"))

    calls = []
    with monkeypatch.context() as patched:
        patched.setattr(finetune, "tqdm", interrupt_after(1))
        with pytest.warns(UserWarning, match="Stopped by hand"):
            after_one = tune(tiny, TASK, EXAMPLES, method, batch=10, budget=10_000).lm
    monkeypatch.setattr(finetune, "completion_loss", good_twice)
    with pytest.warns(UserWarning, match="Stopped at step 3 of 4: the loss is nan"):
        tuned = tune(tiny, TASK, EXAMPLES, method, batch=10, budget=10_000)
    assert len(tuned.history) == 2 and "learning rate below" in tuned.note
    safe = after_one if method == "lora" else tiny  # what the second step started from, or the base
    assert checksum(tuned.lm.model) == checksum(safe.model)


def test_a_far_too_large_learning_rate_ends_with_a_usable_model(tiny):
    with pytest.warns(UserWarning, match="Stopped at step 2 of 4: the loss is nan"):
        tuned = tune(tiny, TASK, EXAMPLES, batch=10, rate=1e25)
    before, after = (scoring.score_labels(m, TASK, [], texts(EXAMPLES)) for m in (tiny, tuned.lm))
    np.testing.assert_allclose(after, before, atol=1e-5)  # the only update is taken back


def test_half_precision_passes_train_float32_weights(tiny, monkeypatch):
    """What a GPU does, on the CPU: the base in bfloat16, what is trained in float32."""
    tiny.model.bfloat16()
    monkeypatch.setattr(model, "best_dtype", lambda device: torch.bfloat16)
    for method in ("lora", "full"):
        tuned = tune(tiny, TASK, EXAMPLES, method, passes=8)
        trained = [w for w in tuned.lm.model.parameters() if w.requires_grad]
        assert {w.dtype for w in trained} == {torch.float32}
        assert tuned.history.loss.iloc[-1] < tuned.history.loss.iloc[0]
    assert tiny.model.dtype == torch.bfloat16


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_products_in_bfloat16_learn_the_same_within_their_precision(tiny_models, kind, monkeypatch):
    monkeypatch.setattr(adapters, "LARGE", 1)
    losses = {}
    for rounded in (False, True):
        monkeypatch.setattr(finetune, "rounds", lambda lm, rounded=rounded: rounded)
        tuned = tune(tiny_models[kind], TASK, EXAMPLES, passes=5, rate=0.01)
        losses[rounded] = tuned.history.loss.to_numpy()
        weights = [w.dtype for w in tuned.lm.model.parameters()]
        assert set(weights) == {torch.float32}
        assert not any(hasattr(layer, "rounded") for layer in tuned.lm.model.modules())
    np.testing.assert_allclose(losses[True], losses[False], rtol=0.01)
    assert kind == "gpt2" or (losses[True] != losses[False]).any()  # its layers are peft's own


@pytest.mark.parametrize(
    ("flags", "free", "expected"),
    [
        ({"amx_bf16": True}, 8e9, True),
        ({"amx_bf16": True}, 1e9, False),
        ({"amx_bf16": False, "avx512_bf16": True}, 8e9, False),
        ({}, 8e9, False),
    ],
)
def test_bfloat16_needs_tiles_and_memory(tiny, monkeypatch, flags, free, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags, raising=False)
    monkeypatch.setattr(finetune, "_free_bytes", lambda device: free)
    assert finetune.rounds(tiny) == expected


# The base


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_base_is_never_changed(tiny, method):
    before, layout = checksum(tiny.model), str(tiny.model)
    asked = [w.requires_grad for w in tiny.model.parameters()]
    tuned = tune(tiny, TASK, EXAMPLES, method).lm
    assert checksum(tiny.model) == before != checksum(tuned.model)
    assert str(tiny.model) == layout
    assert [w.requires_grad for w in tiny.model.parameters()] == asked


# Errors


def test_errors_say_what_to_do(tiny, monkeypatch):
    with pytest.raises(ValueError, match=r"no method 'prefix': choose 'lora' or 'full'"):
        tune(tiny, TASK, EXAMPLES, "prefix")
    for wrong in ({"examples": []}, {"passes": 0}, {"batch": 0}, {"rank": 0}):
        with pytest.raises(ValueError, match="needs examples, and passes, batch and rank"):
            tune(tiny, TASK, **{"examples": EXAMPLES} | wrong)
    long = [*EXAMPLES, Example("a" * 600, "fruit")]
    with pytest.raises(prompts.PromptTooLong, match=r"example 10 \('aaaa.* 60. tokens.* reads 512"):
        tune(tiny, TASK, long)
    adapted = tune(tiny, TASK, EXAMPLES, passes=1).lm
    with pytest.raises(ValueError, match="has an adapter already"):
        tune(adapted, TASK, EXAMPLES)
    monkeypatch.setattr(finetune, "_free_bytes", lambda device: 10_000_000)
    with pytest.raises(ModelError, match=r"needs about 0\.6 GB more memory, but 0\.0 GB are free"):
        tune(tiny, TASK, EXAMPLES, "full")


def test_the_command_line_reports_an_error_in_one_line(capsys, tmp_path):
    assert command.main(["--task", "nonsense", "--out", str(tmp_path / "x")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "There is no task 'nonsense'" in line and not (tmp_path / "x").exists()


# Several processes, and the real model


@pytest.mark.alone
@pytest.mark.slow
def test_two_processes_learn_what_one_learns(tiny, tmp_path, monkeypatch, capsys):
    adapters.save(tiny, tmp_path / "base")
    monkeypatch.setenv("MODEL", str(tmp_path / "base"))
    options = "--task past_tense --shots 13 --passes 3 --batch 4 --rate 0.01 --budget 64"
    launch = (
        "-m accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1 "
        "--mixed_precision no --dynamo_backend no --main_process_port 0 -m tools.finetune"
    )
    done = subprocess.run(
        [sys.executable, *launch.split(), *options.split(), "--out", str(tmp_path / "two")],
        capture_output=True,
        text=True,
        timeout=speed.limit(300),
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert command.main([*options.split(), "--out", str(tmp_path / "one")]) == 0
    said_one, said_two = capsys.readouterr().out, done.stdout
    one, two = (pd.read_csv(tmp_path / out / "history.csv") for out in ("one", "two"))
    assert "in 1 process(es)" in said_one and "in 2 process(es)" in said_two
    assert len(one) == 12  # the last batch of each epoch has one example, so one process has none
    np.testing.assert_allclose(two.loss, one.loss, atol=1e-4)
    np.testing.assert_allclose(two.grad_norm, one.grad_norm, rtol=1e-3)
    np.testing.assert_array_equal(two.tokens, one.tokens)
    weights = [load_file(tmp_path / out / adapters.ADAPTER) for out in ("one", "two")]
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, atol=1e-4, rtol=1e-3)


@pytest.mark.slow
def test_the_real_model_learns_and_its_base_stays(lm, tmp_path, in_float32):
    task = load_task("category")
    before = checksum(lm.model)
    examples, asked = task.draw(16, 0), texts(task.draw(24, 0))[16:]
    tuned = tune(lm, task, examples, passes=3)
    padded = tune(lm, task, examples, passes=1, packed=False)
    assert tuned.history.loss.iloc[-2:].mean() < 0.5 * tuned.history.loss.iloc[:2].mean()
    assert re.match(r"SmolLM2", tuned.lm.name)
    np.testing.assert_allclose(tuned.history.loss[:1], padded.history.loss[:1], atol=1e-4)
    assert checksum(adapters.detach(tuned.lm).model) == checksum(lm.model) == before
    adapters.save(tuned.lm, tmp_path / "adapter")
    assert (tmp_path / "adapter" / adapters.ADAPTER).stat().st_size < 12e6
    expected = scoring.score_labels(tuned.lm, task, [], asked)
    loaded = adapters.load(lm, tmp_path / "adapter")
    np.testing.assert_allclose(scoring.score_labels(loaded, task, [], asked), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak as Linux tells it")
def test_full_fine_tuning_fits_in_two_and_a_half_gigabytes(tmp_path):
    options = "--task support_tickets --shots 8 --passes 1 --method full --model "
    program = (
        "import resource, sys; from tools import finetune; code = finetune.main(sys.argv[1:]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024); sys.exit(code)"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            program,
            *options.split(),
            model.DEFAULT,
            "--out",
            str(tmp_path / "whole"),
        ],
        capture_output=True,
        text=True,
        timeout=speed.limit(300),
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) < 2.5e9


def test_packing_sends_fewer_positions_through_the_model(tiny, monkeypatch):
    """That is what makes it faster, on a busy machine too; `benchmarks` holds the seconds.

    A padded batch goes through at once, as is usual; of 16 tickets 44 % would be padding.
    """
    task, positions, losses = load_task("support_tickets"), {}, {}
    drawn, embed = task.draw(32, seed=0), torch.nn.Embedding.forward

    def counted(self, tokens):
        positions[packed] = positions.get(packed, 0) + tokens.numel()
        return embed(self, tokens)

    monkeypatch.setattr(torch.nn.Embedding, "forward", counted)
    for packed, budget in ((True, 256), (False, 100_000)):
        tuned = tune(tiny, task, drawn, passes=1, batch=16, packed=packed, budget=budget)
        losses[packed] = tuned.history.loss
    assert losses[True].to_list() == pytest.approx(losses[False].to_list(), abs=1e-4)
    assert positions[False] / positions[True] > 1.5, positions

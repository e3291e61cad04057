"""The fine-tuning loop: the text of a demonstration, written into the weights.

A training example is, to the character, what stands in a prompt as a demonstration. The loss counts
the answer and what ends it, and nothing of the question. As in scoring, examples stand end to end
in one row without padding, each with its own positions, and a block mask keeps them apart. A row
holds at most `budget` tokens, and the gradients of a batch's rows add up, so memory stays flat.

Under `accelerate launch` several processes share each batch: see `tools/finetune.py`.
"""

import contextlib
import copy
import ctypes
import gc
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import peft
import psutil
import torch
from accelerate import PartialState
from accelerate.utils import reduce
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from tqdm.auto import tqdm

from helpers import model as models
from helpers.adapters import attach, in_bfloat16, require_bare
from helpers.data import Example, Task
from helpers.model import LanguageModel, ModelError
from helpers.packing import TRUNK, block_mask, common_length, groups, packable
from helpers.prompts import PromptTooLong, Style, encode, plain

METHODS = ("lora", "full")
WARM_UP = 0.1  # share of the steps in which the learning rate rises
IGNORED = -100  # a target that the loss leaves out
COLUMNS = ("step", "epoch", "loss", "lr", "tokens", "seconds", "grad_norm")
HELD_BYTES, TOKEN_BYTES = 250_000_000, 2_000_000  # a LoRA training: once, and for each token
PASS_BYTES = 600_000_000  # what a pass of 256 tokens takes beside weights and gradients

Demonstrate = Callable[[Example, np.random.Generator], Sequence[Example]]


@dataclass(frozen=True)
class Recipe:
    """How to fine-tune: "lora" or "full", passes over the examples, learning rate, batch, rank.

    `budget` is the number of tokens per pass: it bounds memory, not the result. `packed=False` pads
    instead. `keep_base=False` lets "full" train the given model's own weights.
    """

    method: str = "lora"
    passes: int = 4
    rate: float = 1e-3
    batch: int = 8
    rank: int = 8
    budget: int | None = None
    packed: bool = True
    keep_base: bool = True


class Encoded(NamedTuple):
    """One training example as token ids; the completion is `tokens[start:]`."""

    tokens: list[int]
    start: int


class Row(NamedTuple):
    """One forward pass: tokens and targets [rows, width], and what keeps the examples apart."""

    tokens: torch.Tensor
    targets: torch.Tensor
    apart: dict[str, torch.Tensor]


class Tuned(NamedTuple):
    """The tuned model, its history (a row per step), and in words why it ended early, if it did.

    `interrupted` says that a person ended it.
    """

    lm: LanguageModel
    history: pd.DataFrame
    note: str = ""
    interrupted: bool = False


def encode_examples(
    lm: LanguageModel,
    task: Task,
    examples: Sequence[Example],
    style: Style = plain,
    demonstrations: Demonstrate | None = None,
    rng: np.random.Generator | None = None,
) -> list[Encoded]:
    """Tokenise each example as its prompt, its answer and the answer's ending.

    The ending is what the template has after `{label}`, so the model learns to stop where a
    demonstration stops; where nothing stands there, and in a chat, it is the model's end token.
    `demonstrations(example, rng)` chooses what stands in front of an example (by default nothing).

    Raises `PromptTooLong` naming the example that exceeds the context.
    """
    encoded = []
    for i, example in enumerate(examples):
        shown = demonstrations(example, rng) if demonstrations else ()
        prompt = style(task, shown, example.text)
        question, _, ending = task.template.partition("{label}")
        as_demonstration = prompt.endswith(question.rstrip().replace("{text}", example.text))
        if not (as_demonstration and ending):
            ending = lm.tokenizer.eos_token or "\n"
        answered = style(task, shown, example.text, task.word(example.label)) + ending
        tokens = encode(lm.tokenizer, answered)
        if len(tokens) > lm.context:
            raise PromptTooLong(
                f"Training example {i} ({example.text[:40]!r}) has {len(tokens):,} tokens, but "
                f"{lm.name} reads {lm.context:,}: shorten it or leave it out."
            )
        known = common_length([encode(lm.tokenizer, prompt), tokens])
        encoded.append(Encoded(tokens, max(1, known)))  # nothing predicts the first token
    return encoded


def rows(
    batch: Sequence[Encoded], budget: int, packed: bool = True, device: torch.device | str = "cpu"
) -> Iterator[Row]:
    """Cut a batch into rows of at most `budget` tokens, packed end to end or padded at the end."""
    longest = max((len(example.tokens) for example in batch), default=0)
    sizes = [len(example.tokens) if packed else longest for example in batch]
    for group in groups(sizes, budget):
        with torch.device(device):
            row = _row([batch[i] for i in group], packed)
        yield row


def _row(examples: Sequence[Encoded], packed: bool) -> Row:
    tokens = [torch.tensor(example.tokens[:-1]) for example in examples]  # the last is only told
    targets = [torch.tensor(example.tokens[1:]) for example in examples]
    for target, example in zip(targets, examples, strict=True):
        target[: example.start - 1] = IGNORED
    if not packed:
        seen = pad_sequence([torch.ones_like(part) for part in tokens], True)
        padded = pad_sequence(tokens, True), pad_sequence(targets, True, IGNORED)
        return Row(*padded, {"attention_mask": seen})
    owner = torch.cat([torch.full_like(part, i) for i, part in enumerate(tokens)])
    mask = block_mask(owner[:0], owner, torch.full_like(owner, TRUNK))  # nothing is cached
    positions = torch.cat([torch.arange(len(part)) for part in tokens])
    apart = {"attention_mask": mask, "position_ids": positions[None]}
    return Row(torch.cat(tokens)[None], torch.cat(targets)[None], apart)


def completion_loss(model: torch.nn.Module, row: Row) -> torch.Tensor:
    """Sum of -log p over the row's completion tokens, in nats; the output head runs only there.

    Where the device computes bfloat16 natively the pass runs in it; trained weights stay float32.
    """
    kept = (row.targets != IGNORED).any(0).nonzero().ravel()
    device = row.tokens.device
    half = models.best_dtype(device) == torch.bfloat16
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        logits = model(row.tokens, logits_to_keep=kept, use_cache=False, **row.apart).logits
    targets = row.targets[:, kept].flatten()
    return cross_entropy(logits.flatten(0, 1).float(), targets, reduction="sum")


@torch.inference_mode()
def token_losses(lm: LanguageModel, example: Encoded) -> np.ndarray:
    """-log p of every token of an example but the first, given all before it, in nats.

    Returns an array [tokens - 1]; the loss counts what begins at `example.start - 1`.
    """
    tokens = torch.tensor([example.tokens], device=lm.device)
    logits = lm.model(tokens[:, :-1], use_cache=False).logits[0].float()
    return cross_entropy(logits, tokens[0, 1:], reduction="none").cpu().numpy()


def train(
    lm: LanguageModel,
    plan: Sequence[tuple[int, Sequence[Encoded]]],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    budget: int,
    packed: bool = True,
) -> Iterator[dict]:
    """The loop: one step per (epoch, batch) of `plan`; yields a record of the history after each.

    Raises `FloatingPointError` instead of a step whose loss or gradient is not a finite number.
    """
    weights = optimizer.param_groups[0]["params"]
    for step, (epoch, batch) in enumerate(plan, 1):
        began, loss = time.perf_counter(), 0.0
        predicted = sum(len(example.tokens) - example.start for example in batch)
        for row in rows(_own_share(batch), budget, packed, lm.device):
            part = completion_loss(lm.model, row) / predicted
            part.backward()  # adds to the gradients of the rows before
            loss += part.item()
        loss = _add_up(weights, loss)
        norm = torch.nn.utils.clip_grad_norm_(weights, 1.0).item()
        if not math.isfinite(loss + norm):
            raise FloatingPointError(
                f"Stopped at step {step} of {len(plan)}: the loss is {loss:.3g}, the gradient's "
                f"norm {norm:.3g}; try a learning rate below {optimizer.defaults['lr']:g}."
            )
        lr = schedule.get_last_lr()[0]
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        tokens = sum(len(example.tokens) for example in batch)
        seconds = time.perf_counter() - began
        yield dict(zip(COLUMNS, (step, epoch, loss, lr, tokens, seconds, norm), strict=True))


def train_adapter(
    lm: LanguageModel, plan: Sequence, lr: float, level: Callable[[int], float]
) -> Iterator[dict]:
    """Train the adapter that `lm` has on, in place; yields a record after each step, as `train`.

    `plan` holds (epoch, batch) for each step, and `level(step)` is that step's share of `lr`.
    """
    named = lm.model.named_parameters()  # a loaded adapter comes frozen
    weights = [weight.requires_grad_() for name, weight in named if "lora_" in name]
    optimizer = torch.optim.AdamW(weights, lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, level)
    yield from train(lm, plan, optimizer, schedule, pass_budget(lm.device))


def processes() -> PartialState:
    """Which process this is, of how many: the only one, unless `accelerate launch` started it."""
    return PartialState(cpu=models.best_device().type == "cpu")


def _own_share(batch: Sequence[Encoded]) -> Sequence[Encoded]:
    state = processes()
    return batch[state.process_index :: state.num_processes]


def _add_up(weights: Sequence[torch.Tensor], loss: float) -> float:
    """Add gradients and losses over all processes: each is a share of the whole batch's mean."""
    if processes().num_processes > 1:
        for weight in weights:  # a process whose share is empty has no gradient
            own = torch.zeros_like(weight) if weight.grad is None else weight.grad
            weight.grad = reduce(own, "sum")
        loss = reduce(torch.tensor(loss, device=weights[0].device), "sum").item()
    return loss


def tune(
    lm: LanguageModel,
    task: Task,
    examples: Sequence[Example],
    recipe: Recipe = Recipe(),
    seed: int = 0,
    style: Style = plain,
    demonstrations: Demonstrate | None = None,
) -> Tuned:
    """Teach `examples` to a model that shares `lm`'s weights ("lora") or has its own copy ("full").

    `lm` itself is not changed. "lora" puts an adapter of `rank` beside every linear layer but the
    output head and trains it with AdamW. "full" trains a copy of all weights with Adafactor, which
    keeps a row and a column per matrix where Adam keeps two more copies, and whose `rate` is
    relative to each matrix's size. `seed` decides the examples' order and the adapter's start.

    The history has the columns step, epoch (from 1), loss (nats per completion token, before the
    step), lr, tokens, seconds and grad_norm (before clipping to 1). An interruption ends training
    early with the model so far; so does a loss that is not a number, with the weights before the
    last update (the base's for "full"). `note` says so.

    Raises `ValueError` for an unknown method, nothing to learn or a model that has an adapter,
    `PromptTooLong` for an example beyond the context, `ModelError` where "full" lacks memory.
    """
    _require_sense(lm, examples, recipe)
    plan = steps_of(lm, task, examples, recipe, seed, style, demonstrations)
    give_back()
    lora = recipe.method == "lora"
    tuned = with_adapter(lm, recipe.rank, seed) if lora else _with_all_weights(lm, recipe.keep_base)
    weights = [weight for weight in tuned.model.parameters() if weight.requires_grad]
    optimizer = (torch.optim.AdamW if lora else torch.optim.Adafactor)(weights, recipe.rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rise_and_fall(len(plan)))
    budget = recipe.budget or pass_budget(lm.device)
    loop = train(tuned, plan, optimizer, schedule, budget, recipe.packed and packable(lm.model))
    with in_bfloat16(tuned.model, lora and rounds(lm)):
        history, note, interrupted = _follow(loop, len(plan), weights, lora, lm)
    optimizer.zero_grad()
    if note:
        warnings.warn(note, stacklevel=2)
    return Tuned(tuned, pd.DataFrame(history, columns=COLUMNS), note, interrupted)


def _require_sense(lm: LanguageModel, examples: Sequence[Example], recipe: Recipe) -> None:
    if recipe.method not in METHODS:
        raise ValueError(f"There is no method {recipe.method!r}: choose 'lora' or 'full'.")
    if not examples or min(recipe.passes, recipe.batch, recipe.rank) < 1:
        raise ValueError("Fine-tuning needs examples, and passes, batch and rank of at least 1.")
    require_bare(lm)


def _follow(loop: Iterator[dict], steps: int, weights, lora: bool, lm) -> tuple[list, str, bool]:
    """Take all steps with a progress bar; returns the history, why it ended early, and whether a
    person ended it. After a step that was refused, the weights are those before the last update."""
    silent = {} if processes().is_main_process else {"disable": True}
    history, kept = [], [_kept(weights, lora, lm)] * 2
    try:
        with tqdm(loop, "fine-tuning", steps, leave=False, **silent) as bar:
            for record in bar:
                history.append(record)
                bar.set_postfix(loss=f"{record['loss']:.3f}")
                kept = [kept[1], _kept(weights, lora, lm)]
    except KeyboardInterrupt:
        note = f"Stopped by hand after step {len(history)} of {steps}; the model is kept."
        return history, note, True
    except FloatingPointError as error:
        _restore(weights, kept[0])
        return history, str(error), False
    return history, "", False


def steps_of(lm, task, examples, recipe: Recipe, seed, style, demonstrations) -> list:
    """All steps as (epoch, batch), ordered by the seed; made beforehand, so errors come first."""
    rng = np.random.default_rng(seed)
    plan = []
    for epoch in range(1, recipe.passes + 1):
        encoded = encode_examples(lm, task, examples, style, demonstrations, rng)
        order = rng.permutation(len(encoded))
        cuts = range(0, len(order), recipe.batch)
        plan += [(epoch, [encoded[i] for i in order[cut : cut + recipe.batch]]) for cut in cuts]
    return plan


def rise_and_fall(steps: int) -> Callable[[int], float]:
    """The learning rate's factor at each step: up to 1 at first, then down towards 0."""
    peak = max(1, round(WARM_UP * steps))
    return lambda step: min((step + 1) / peak, (steps - step) / (steps - peak + 1))


def _kept(weights: Sequence[torch.Tensor], lora: bool, lm: LanguageModel) -> list[torch.Tensor]:
    """What to go back to: a copy of an adapter; for all weights there is no room, so the base's."""
    if lora:
        return [weight.detach().clone() for weight in weights]
    return list(lm.model.parameters())


@torch.no_grad()
def _restore(weights: Sequence[torch.Tensor], kept: Sequence[torch.Tensor]) -> None:
    for weight, old in zip(weights, kept, strict=True):
        weight.copy_(old)


def with_adapter(lm: LanguageModel, rank: int, seed: int) -> LanguageModel:
    """The model with a new LoRA adapter that changes nothing yet; `lm` itself is not changed."""
    config = peft.LoraConfig(
        task_type="CAUSAL_LM", r=rank, lora_alpha=2 * rank, target_modules="all-linear"
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return attach(lm, config)


def _with_all_weights(lm: LanguageModel, keep_base: bool) -> LanguageModel:
    numbers = sum(weight.numel() for weight in lm.model.parameters())
    needed = 8 * numbers + PASS_BYTES  # weights that differ from their file, and gradients
    free = _free_bytes(lm.device)
    if free < needed:
        raise ModelError(
            f"Full fine-tuning of {lm.name} needs about {needed / 1e9:.1f} GB more memory, but "
            f"{free / 1e9:.1f} GB are free: use method='lora' or a machine with more memory."
        )
    network = copy.deepcopy(lm.model) if keep_base else lm.model
    return lm.with_model(network.float().requires_grad_(), f"{lm.name}, fully fine-tuned")


def pass_budget(device: torch.device) -> int:
    """Tokens per training pass for which the memory is free: from 64 to 512 on a CPU.

    Half of what is free is left to others, and for what else a training holds. More than 512 gains
    nothing on a CPU.
    """
    if device.type != "cpu":
        return 2048
    room = (_free_bytes(device) / 2 - HELD_BYTES) / TOKEN_BYTES
    return int(min(512, max(64, room // 64 * 64)))


def rounds(lm: LanguageModel) -> bool:
    """Whether LoRA multiplies by the frozen weights in bfloat16: where a CPU has tiles for it (AMX)
    and memory for a copy. Measured: 1.4 times as fast; with AVX-512's bfloat16 alone, slower."""
    known = getattr(torch.cpu, "get_capabilities", dict)()  # older versions cannot tell
    needed = HELD_BYTES + 256 * TOKEN_BYTES + 2 * lm.model.num_parameters()
    able = lm.device.type == "cpu" and bool(known.get("amx_bf16"))
    return able and lm.model.dtype == torch.float32 and _free_bytes(lm.device) / 2 >= needed


def give_back() -> None:
    """Return freed memory to the system; glibc else keeps it in pieces that no tensor fits."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _free_bytes(device: torch.device) -> int:
    """Free memory on the GPU, or on the machine within its container's limit."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    held = psutil.Process().memory_info().rss
    free = psutil.virtual_memory().available
    if "COURSE_MEMORY" in os.environ:  # what the course may hold, in bytes
        free = min(free, float(os.environ["COURSE_MEMORY"]) - held)
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):  # control groups, new and old
        file = Path("/sys/fs/cgroup", limit)
        if file.is_file() and (text := file.read_text().strip()).isdigit():
            free = min(free, int(text) - held)
    return free

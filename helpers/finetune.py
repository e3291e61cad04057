"""The fine-tuning loop: the same text as a demonstration, but written into the weights.

A training example is the prompt without demonstrations plus its answer, to the character what stands in a prompt
as a demonstration. The loss counts the answer and what ends it, and nothing of the question. As in scoring,
examples stand end to end in one row without padding, each with its own positions, and a block mask keeps them
apart. A row holds at most `budget` tokens; the gradients of a batch's rows add up, so memory stays flat.

`python -m helpers.finetune --task NAME --shots N --out FOLDER` runs it, also under `accelerate launch`.
"""

import argparse
import copy
import math
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from os.path import commonprefix
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import peft
import psutil
import torch
from accelerate import PartialState
from accelerate.utils import reduce
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
from tqdm.auto import tqdm

from helpers import model as models
from helpers.data import DataError, Example, Task, load_task
from helpers.model import LanguageModel, ModelError
from helpers.prompts import PromptTooLong, Style, encode, plain
from helpers.scoring import TRUNK, _groups, block_mask, packable

LEARNING_RATES = {"lora": 1e-3, "full": 1e-2}  # full: relative to each weight's own size
WARM_UP = 0.1  # share of the steps in which the learning rate rises
IGNORED = -100  # a target that the loss leaves out
ADAPTER = "adapter_model.safetensors"
PASS_BYTES = 700_000_000  # what a pass of 256 tokens needs beside weights and gradients

Demonstrate = Callable[[Example, np.random.Generator], Sequence[Example]]


class Encoded(NamedTuple):
    """One training example as token ids; the completion is `tokens[start:]`."""

    tokens: list[int]
    start: int


class Row(NamedTuple):
    """What one forward pass reads: tokens and targets [rows, width], and what keeps the examples apart."""

    tokens: torch.Tensor
    targets: torch.Tensor
    apart: dict[str, torch.Tensor]


class Tuned(NamedTuple):
    """The tuned model; one row of `history` per step; `note` says in words why it stopped early, if it did."""

    lm: LanguageModel
    history: pd.DataFrame
    note: str = ""


def encode_examples(
    lm: LanguageModel,
    task: Task,
    examples: Sequence[Example],
    style: Style = plain,
    demonstrations: Demonstrate | None = None,
    rng: np.random.Generator | None = None,
) -> list[Encoded]:
    """Tokenise each example as its prompt, its answer and the answer's ending.

    The ending is what the template has after `{label}`, so that the model learns to stop where a demonstration
    stops; where nothing stands there, and in a chat, it is the model's end token. `demonstrations(example, rng)`
    chooses what stands in front of an example (nothing by default).

    Raises `PromptTooLong` naming the example that exceeds the context.
    """
    encoded = []
    for i, example in enumerate(examples):
        shown = demonstrations(example, rng) if demonstrations else ()
        text = style(task, shown, example.text)
        question, _, ending = task.template.partition("{label}")
        in_template = text.endswith(question.rstrip().replace("{text}", example.text))
        if not (ending and in_template):
            ending = lm.tokenizer.eos_token or "\n"
        prompt = encode(lm.tokenizer, text)
        answered = style(task, shown, example.text, task.word(example.label)) + ending
        tokens = encode(lm.tokenizer, answered)
        if len(tokens) > lm.context:
            raise PromptTooLong(
                f"Training example {i} ({example.text[:40]!r}) has {len(tokens):,} tokens, but {lm.name} reads "
                f"{lm.context:,}: shorten it or leave it out."
            )
        encoded.append(Encoded(tokens, max(1, len(commonprefix([prompt, tokens])))))
    return encoded


def rows(
    batch: Sequence[Encoded], budget: int, packed: bool = True, device: torch.device | str = "cpu"
) -> Iterator[Row]:
    """Cut a batch into rows of at most `budget` tokens, packed end to end or padded on the right."""
    longest = max((len(example.tokens) for example in batch), default=0)
    sizes = [len(example.tokens) if packed else longest for example in batch]
    for group in _groups(sizes, budget):
        row = (_pack if packed else _pad)([batch[i] for i in group])
        apart = {name: tensor.to(device) for name, tensor in row.apart.items()}
        yield Row(row.tokens.to(device), row.targets.to(device), apart)


def _read_and_told(example: Encoded) -> tuple[torch.Tensor, torch.Tensor]:
    """What is read (the last token is only predicted) and what is to be told after each token."""
    tokens = torch.tensor(example.tokens)
    targets = tokens[1:].clone()
    targets[: example.start - 1] = IGNORED
    return tokens[:-1], targets


def _pack(examples: Sequence[Encoded]) -> Row:
    tokens, targets = zip(*map(_read_and_told, examples), strict=True)
    owner = torch.cat([torch.full_like(part, i) for i, part in enumerate(tokens)])
    nothing_cached = torch.empty(0, dtype=torch.long)
    mask = block_mask(nothing_cached, owner, torch.full_like(owner, TRUNK))
    positions = torch.cat([torch.arange(len(part)) for part in tokens])[None]
    apart = {"position_ids": positions, "attention_mask": mask}
    return Row(torch.cat(tokens)[None], torch.cat(targets)[None], apart)


def _pad(examples: Sequence[Encoded]) -> Row:
    tokens, targets = zip(*map(_read_and_told, examples), strict=True)
    pad = torch.nn.utils.rnn.pad_sequence
    seen = pad([torch.ones_like(part) for part in tokens], batch_first=True)
    return Row(pad(tokens, True), pad(targets, True, IGNORED), {"attention_mask": seen})


def completion_loss(model: torch.nn.Module, row: Row) -> torch.Tensor:
    """Sum of -log p over the row's completion tokens, in nats; the output head runs only where they are.

    Where the device computes bfloat16 natively the pass runs in it, over trainable weights kept in float32.
    """
    kept = (row.targets != IGNORED).any(0).nonzero().ravel()
    device = row.tokens.device
    half = models.best_dtype(device) == torch.bfloat16
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        logits = model(row.tokens, logits_to_keep=kept, use_cache=False, **row.apart).logits
    targets = row.targets[:, kept].flatten()
    return cross_entropy(
        logits.flatten(0, 1).float(), targets, ignore_index=IGNORED, reduction="sum"
    )


def train(
    lm: LanguageModel,
    plan: Sequence[tuple[int, Sequence[Encoded]]],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    budget: int,
    packed: bool = True,
) -> Iterator[dict]:
    """The loop: one step per (epoch, batch) of `plan`; yields one record of the history after each.

    Raises `FloatingPointError` before a step whose loss or gradient is not a finite number.
    """
    weights = optimizer.param_groups[0]["params"]
    for step, (epoch, batch) in enumerate(plan, 1):
        began = time.perf_counter()
        answers = sum(len(example.tokens) - example.start for example in batch)
        loss = 0.0
        for row in rows(_own_share(batch), budget, packed, lm.device):
            part = completion_loss(lm.model, row) / answers
            part.backward()  # adds to the gradients of the rows before
            loss += part.item()
        loss = _add_up(weights, loss)
        norm = torch.nn.utils.clip_grad_norm_(weights, 1.0).item()
        if not math.isfinite(loss + norm):
            raise FloatingPointError(
                f"Stopped at step {step} of {len(plan)}: the loss is {loss:.3g} and the gradient's norm {norm:.3g}, so "
                "the weights before the last update are kept; try a smaller learning rate."
            )
        optimizer.step()
        tokens = sum(len(example.tokens) for example in batch)
        record = {"step": step, "epoch": epoch, "loss": loss, "lr": schedule.get_last_lr()[0]}
        schedule.step()
        optimizer.zero_grad()
        seconds = time.perf_counter() - began
        yield record | {"tokens": tokens, "seconds": seconds, "grad_norm": norm}


def _processes() -> PartialState:
    """Which process this is, of how many: one of one, unless started by `accelerate launch`."""
    return PartialState(cpu=models.best_device().type == "cpu")


def _own_share(batch: Sequence[Encoded]) -> Sequence[Encoded]:
    processes = _processes()
    return batch[processes.process_index :: processes.num_processes]


def _add_up(weights: Sequence[torch.Tensor], loss: float) -> float:
    """Add gradients and loss over all processes; every part is divided by the whole batch's tokens already."""
    if _processes().num_processes > 1:
        for weight in weights:  # a process whose share is empty has no gradient
            own = torch.zeros_like(weight) if weight.grad is None else weight.grad
            weight.grad = reduce(own, "sum")
        loss = reduce(torch.tensor(loss, device=weights[0].device), "sum").item()
    return loss


def tune(
    lm: LanguageModel,
    task: Task,
    examples: Sequence[Example],
    method: str = "lora",
    epochs: int = 4,
    batch: int = 8,
    lr: float | None = None,
    rank: int = 8,
    seed: int = 0,
    budget: int | None = None,
    packed: bool = True,
    style: Style = plain,
    demonstrations: Demonstrate | None = None,
) -> Tuned:
    """Teach `examples` to a model that shares `lm`'s weights ("lora") or has its own copy ("full").

    `lm` itself is never changed. "lora" puts an adapter of `rank` on every linear layer but the output head and
    trains it with AdamW. "full" trains a copy of all weights with Adafactor, whose second moment is factored and which
    keeps no first: beside the copy only its gradients take memory. Dropout stays off. `seed` decides the order of
    the examples and the adapter's start. `budget` is the number of tokens per pass (256 on a CPU): it
    bounds memory, not the result. `packed=False` pads instead, the plain way that tests compare with.

    The history has the columns step, epoch (both from 1), loss (nats per completion token, before the step), lr, tokens,
    seconds and grad_norm (before clipping at 1). An interruption, or a loss that is not a number, ends training early:
    the result is then the model so far, with the reason in `note`.

    Raises `ValueError` for an unknown method or nothing to train on, `PromptTooLong` for an example beyond the context,
    `ModelError` when full fine-tuning does not fit the memory.
    """
    if method not in LEARNING_RATES:
        raise ValueError(f"There is no method {method!r}; choose 'lora' or 'full'.")
    if not examples or min(epochs, batch, rank) < 1:
        raise ValueError("Fine-tuning needs examples, and epochs, batch and rank of at least 1.")
    plan = _plan(lm, task, examples, epochs, batch, seed, style, demonstrations)
    packed = packed and packable(lm.model)
    tuned = _with_adapter(lm, rank, seed) if method == "lora" else _with_own_weights(lm)
    weights = [weight for weight in tuned.model.parameters() if weight.requires_grad]
    rate = LEARNING_RATES[method] if lr is None else lr
    optimizer = (torch.optim.AdamW if method == "lora" else torch.optim.Adafactor)(weights, rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _rise_and_fall(len(plan)))
    budget = budget or (256 if lm.device.type == "cpu" else 2048)
    loop = train(tuned, plan, optimizer, schedule, budget, packed)
    history, note = [], ""
    safe = latest = _kept(weights, method, lm)
    try:
        with tqdm(loop, "fine-tuning", len(plan), leave=False, disable=_quiet()) as bar:
            for record in bar:
                history.append(record)
                bar.set_postfix(loss=f"{record['loss']:.3f}")
                safe, latest = latest, _kept(weights, method, lm)
    except KeyboardInterrupt:
        note = f"Stopped by hand after step {len(history)} of {len(plan)}: the model keeps what it has learnt so far."
    except FloatingPointError as error:
        note = str(error)
        _restore(weights, safe)
    optimizer.zero_grad()
    if note:
        warnings.warn(note, stacklevel=2)
    columns = ["step", "epoch", "loss", "lr", "tokens", "seconds", "grad_norm"]
    return Tuned(tuned, pd.DataFrame(history, columns=columns), note)

"""Lesson 2: what the learner builds, how far full fine-tuning moves each matrix, the checks."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from html import escape
from math import inf
from pathlib import Path

import numpy as np
import pandas as pd
import peft
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from helpers import checks, compare, plots
from helpers.adapters import ADAPTER
from helpers.data import DATA, Example, Task, load_task, texts, write_whole
from helpers.finetune import (
    IGNORED,
    Encoded,
    completion_loss,
    encode_examples,
    give_back,
    rows,
    token_losses,
    train,
    tune,
    with_adapter,
)
from helpers.model import LanguageModel
from helpers.prompts import count_tokens, plain
from helpers.scoring import predict, score_labels
from helpers.study import Made, this_run
from helpers.teaching import FULL
from helpers.widgets import Panel, explorer
from lessons import matrices

TASK, SHOTS = "support_tickets", 64
ROW_TOKENS = 72  # in a training pass: the longest ticket fits; each token more takes 3 MB
ROOT = DATA.parent


def write_full_change(lm: LanguageModel, path: Path) -> None:
    """Fine-tune all weights on 64 tickets, four passes; store how far each matrix moved.

    Writes the CSV file `path`, and beside it as JSON how that was made.
    """
    task = load_task(TASK)
    tuned = tune(lm, task, task.draw(SHOTS, seed=0), FULL)
    table = matrices.change(tuned.lm, lm)
    settings = {"method": FULL.method, "passes": FULL.passes, "rate": FULL.rate}
    settings |= {"batch": FULL.batch, "seed": 0}
    record = {"task": TASK, "shots": SHOTS, "settings": settings}
    record |= {"losses": tuned.history.loss.round(4).to_list(), "runs": [this_run(lm)]}
    write_whole(path, table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    write_whole(path.with_suffix(".json"), json.dumps(record, indent=1))


MADE = {"full_change": Made(6, write=write_full_change, place="results/full_change.csv")}


# What the learner builds: which tokens the loss counts, the layer beside each matrix, the step


def next_targets(tokens: list[int], start: int) -> list[int]:
    """What should follow each token that is read; -100 where the loss does not count it."""
    targets = tokens[1:]
    asked = start - 1
    return [IGNORED] * asked + targets[asked:]


def _with(targets: Callable, asked: Callable) -> Callable:
    """`next_targets` with other things in its two blanks."""

    def piece(tokens, start):
        return [IGNORED] * asked(tokens, start) + targets(tokens)[asked(tokens, start) :]

    return piece


def _two(lm: LanguageModel) -> list[Encoded]:
    task = load_task(TASK)
    return encode_examples(lm, task, task.draw(2, seed=1))


def _shifted(tokens: list[int]) -> list[int]:
    return tokens[1:]


TARGETS = checks.Build(
    own=next_targets,
    trial=lambda piece, lm: [number for example in _two(lm) for number in piece(*example)],
    truth=lambda lm: next(rows(_two(lm), budget=1000)).targets[0],
    praise="these are the targets that the course's own training counts.",
    mistakes={
        "targets are the tokens that follow, so they begin with the second token.": _with(
            lambda tokens: tokens[:-1], lambda tokens, start: start - 1
        ),
        "that leaves out the answer's first token, which the question's last one predicts.": _with(
            _shifted, lambda tokens, start: start
        ),
        "that counts the question too; only the answer and its ending are to be learnt.": _with(
            _shifted, lambda tokens, start: 0
        ),
        "that is how many belong to the answer; count those of the question.": _with(
            _shifted, lambda tokens, start: len(tokens) - start
        ),
    },
)


class LoRALinear(nn.Module):
    """A frozen linear layer and two thin matrices beside it."""

    def __init__(self, frozen, rank, scale=2.0):
        super().__init__()
        self.frozen, self.scale = frozen, scale
        self.A = nn.Parameter(torch.randn(rank, frozen.in_features) / rank)
        self.B = nn.Parameter(torch.zeros(frozen.out_features, rank))

    def forward(self, x):
        return self.frozen(x) + self.scale * (x @ self.A.T @ self.B.T)


class _BeginsAnywhere(LoRALinear):
    def __init__(self, frozen, rank):
        super().__init__(frozen, rank)
        self.B = nn.Parameter(torch.ones(frozen.out_features, rank))


class _FixedB(LoRALinear):
    def __init__(self, frozen, rank):
        super().__init__(frozen, rank)
        del self.B
        self.B = torch.zeros(frozen.out_features, rank)


class _LyingB(LoRALinear):
    def __init__(self, frozen, rank):
        super().__init__(frozen, rank)
        self.B = nn.Parameter(torch.zeros(rank, frozen.out_features))


class _NoScale(LoRALinear):
    def forward(self, x):
        return self.frozen(x) + x @ self.A.T @ self.B.T


class _Upright(LoRALinear):
    def forward(self, x):
        return self.frozen(x) + self.scale * (x @ self.A @ self.B)


def _small_layer() -> tuple[nn.Linear, torch.Tensor, torch.Tensor, torch.Tensor]:
    """A frozen layer of 4 inputs and 5 outputs, inputs for it, and an A and a B of rank 3."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        frozen = nn.Linear(4, 5).requires_grad_(False)
        return frozen, torch.randn(2, 4), torch.randn(3, 4), torch.randn(5, 3)


def _outputs(layer: nn.Module, read: Callable, pair: Sequence, small: Sequence) -> list[float]:
    """How many weights may move, whether the new layer changes nothing yet, and what it gives once
    its pair is this A and B."""
    frozen, x, *given = small
    may_move = sum(weight.numel() for weight in layer.parameters() if weight.requires_grad)
    unchanged = torch.allclose(read(x), frozen(x))
    for weight, numbers in zip(pair, given, strict=True):
        weight.data = numbers
    return [may_move, unchanged, *read(x).detach().ravel().tolist()]


def _layer_trial(piece: Callable, _) -> list[float]:
    small = _small_layer()
    layer = piece(small[0], 3)
    return _outputs(layer, layer, (layer.A, layer.B), small)


def _layer_truth(_) -> list[float]:
    small = _small_layer()
    config = peft.LoraConfig(r=3, lora_alpha=6, target_modules=["0"])
    network = peft.inject_adapter_in_model(config, nn.Sequential(small[0]))
    layer = network[0]
    pair = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    return _outputs(layer, network, pair, small)


LORA = checks.Build(
    own=LoRALinear,
    trial=_layer_trial,
    truth=_layer_truth,
    praise="with the same A and B, your layer gives the numbers of peft's own.",
    mistakes={
        "a new layer must change nothing yet: let B begin with zeros.": _BeginsAnywhere,
        "B could never move: wrap it in torch.nn.Parameter, as A is.": _FixedB,
        "B lies on its side: it has a row for each output and a column for each rank.": _LyingB,
        "what A and B add is not multiplied by self.scale.": _NoScale,
        "x meets each matrix turned over: x @ self.A.T, then @ self.B.T.": _Upright,
    },
)


def loss_of(model: nn.Module, example: Encoded) -> torch.Tensor:
    """The mean of -log p over what the loss counts of one example, in nats."""
    tokens = torch.tensor([example.tokens], device=model.device)
    targets = torch.tensor(next_targets(*example), device=model.device)
    logits = model(tokens[:, :-1]).logits[0]
    return cross_entropy(logits.float(), targets, ignore_index=IGNORED)


def train_step(model, batch, optimizer):
    """One step on a batch; returns its loss before the step."""
    total = 0.0
    for example in batch:
        loss = loss_of(model, example) / len(batch)
        loss.backward()
        total += loss.item()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return total


def packed_step(model, batch, optimizer):
    """`train_step` by packed rows, as the course's own training goes: nearly twice as fast.

    The loss is the mean over the batch's counted tokens. That is the mean of the examples' own
    losses where all have as many, as tickets do for the model of the course.
    """
    counted = sum(len(example.tokens) - example.start for example in batch)
    total = 0.0
    for row in rows(batch, ROW_TOKENS, device=model.device):
        loss = completion_loss(model, row) / counted
        loss.backward()
        total += loss.item()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return total


def _faulty_step(mistake: str, model, batch, optimizer) -> float:
    """`train_step` with a mistake put in on purpose."""

    def finish() -> None:
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if mistake != "gradients stay":
            optimizer.zero_grad()

    total = 0.0
    for example in batch:
        if mistake == "zero in between":
            optimizer.zero_grad()
        loss = loss_of(model, example) / (1 if mistake == "sum" else len(batch))
        total += loss.item()
        if mistake != "idle":
            loss.backward()
        if mistake == "step for each":
            finish()
    if mistake not in ("idle", "step for each"):
        finish()
    return total


def _small_training(lm: LanguageModel) -> tuple[LanguageModel, list, torch.optim.Optimizer]:
    """A random model of one layer, three batches of two tickets, and the plainest optimizer."""
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(lm.tokenizer), num_hidden_layers=1, **shape)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        small = LlamaForCausalLM(config)
    first, second = _two(lm)
    batches = [[first, second], [second, first], [first, second]]
    optimizer = torch.optim.SGD(small.parameters(), lr=2.0)
    return replace(lm, model=small, device=torch.device("cpu")), batches, optimizer


def _step_trial(piece: Callable, lm: LanguageModel) -> list[float]:
    small, batches, optimizer = _small_training(lm)
    return [piece(small.model, batch, optimizer) for batch in batches]


def _step_truth(lm: LanguageModel) -> list[float]:
    small, batches, optimizer = _small_training(lm)
    steady = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    plan = [(1, batch) for batch in batches]
    return [record["loss"] for record in train(small, plan, optimizer, steady, budget=1000)]


STEP = checks.Build(
    own=train_step,
    trial=_step_trial,
    truth=_step_truth,
    praise="three steps of yours have the losses of the course's own training.",
    mistakes={
        "divide each ticket's loss by len(batch), so that a step follows the mean.": partial(
            _faulty_step, "sum"
        ),
        "the gradients of earlier steps stay: end with optimizer.zero_grad().": partial(
            _faulty_step, "gradients stay"
        ),
        "no weight moves: it takes loss.backward(), then optimizer.step(), and only then "
        "optimizer.zero_grad().": partial(_faulty_step, "idle"),
        "gradients are thrown away between the tickets: zero_grad comes after the step.": partial(
            _faulty_step, "zero in between"
        ),
        "that is a step for each ticket: take optimizer.step() out of the loop.": partial(
            _faulty_step, "step for each"
        ),
    },
)


# The learner's layers around the model's matrices


def put_around(
    lm: LanguageModel, layer: Callable[[nn.Linear, int], nn.Module], rank: int = 8
) -> LanguageModel:
    """A model with such a layer around every matrix of its layers; `lm` is not changed.

    Every A starts as peft's does with seed 0, so that trainings can be compared.
    """
    give_back()  # peft's layers hold themselves until then
    twin = with_adapter(lm, rank, seed=0).model.base_model.model.float()
    for name, theirs in _peft_layers(twin).items():
        own = layer(theirs.base_layer, rank)
        own.A.data = theirs.lora_A["default"].weight.data.clone()
        twin.set_submodule(name, own.to(lm.device))
    return lm.with_model(twin, f"{lm.name} + your LoRA")


def as_peft(student: LanguageModel, lm: LanguageModel, rank: int = 8) -> LanguageModel:
    """The learner's A and B in peft's layers, whose files others can read."""
    tuned = with_adapter(lm, rank, seed=0)
    for name, theirs in _peft_layers(tuned.model.base_model.model).items():
        own = student.model.get_submodule(name)
        theirs.lora_A["default"].weight.data.copy_(own.A.data)
        theirs.lora_B["default"].weight.data.copy_(own.B.data)
    return tuned


def _peft_layers(body: nn.Module) -> dict[str, nn.Module]:
    found = body.named_modules()
    return {name: layer for name, layer in found if isinstance(layer, peft.tuners.lora.Linear)}


def answers(lm: LanguageModel, task: Task, asked: Sequence[Example]) -> np.ndarray:
    """The label that the model chooses for each text, without demonstrations."""
    scores = score_labels(lm, task, [], texts(asked))
    return np.array(predict(task, scores))


def prompt_size(lm: LanguageModel, shown: Sequence[Example], query: str) -> int:
    """The tokens of a question behind these demonstrations."""
    return count_tokens(lm.tokenizer, plain(load_task(TASK), shown, query))


def share_right(lm: LanguageModel, task: Task, asked: Sequence[Example]) -> float:
    """The share of the texts that get their right label."""
    right = np.array([example.label for example in asked])
    return float(np.mean(answers(lm, task, asked) == right))


def costs(lm: LanguageModel, task: Task, examples: Sequence[Example]) -> pd.Series:
    """The mean surprise at the topic, and at what ends it, in nats."""
    give_back()  # the pieces that the steps before left
    encoded = encode_examples(lm, task, examples)
    counted = [token_losses(lm, example)[example.start - 1 :] for example in encoded]
    parts = [(losses[:-1].sum(), losses[-1]) for losses in counted]
    return pd.Series(np.mean(parts, axis=0), ["topic", "line break"])


def unpaired(some: np.ndarray, others: np.ndarray) -> compare.Interval:
    """The share of ones in `some` minus that in `others`, each group resampled by itself."""
    gaps = compare.resample(some, seed=1) - compare.resample(others, seed=2)
    low, high = np.percentile(gaps, (2.5, 97.5))
    return compare.Interval(float(np.mean(some) - np.mean(others)), float(low), float(high))


def surprises(lm: LanguageModel, example: Encoded) -> pd.DataFrame:
    """For each token but the first: the one before it, its -log p, whether the loss counts it."""
    spelled = [repr(lm.tokenizer.decode([token])) for token in example.tokens]
    table = pd.DataFrame({"after": spelled[:-1], "predict": spelled[1:]})
    table["nats"] = token_losses(lm, example).round(2)
    table["counted"] = np.arange(1, len(spelled)) >= example.start
    return table


def plot_rates(losses: Mapping[str, Sequence[float]]) -> None:
    """The loss at each step for several learning rates."""
    began = next(iter(losses.values()))[0]
    ends = [f"rate {r} ends at {v[-1]:.1f} (highest {max(v):.1f})" for r, v in losses.items()]
    plots.lines(
        {f"rate {rate}": values for rate, values in losses.items()},
        "training step",
        "loss (nats per counted token)",
        "Rate " + ", ".join(f"{rate} {_went(values)}" for rate, values in losses.items()),
        f"From a loss of {began:.1f}: {', '.join(ends)}.",
    )


def _went(losses: Sequence[float]) -> str:
    """What a training did to its loss, in three words."""
    first, last, highest = losses[0], losses[-1], float(np.max(losses))
    if not highest <= 1.5 * first:  # nan where one is nan
        return f"leaps to {highest:.1f}"
    return f"falls to {last:.1f}" if last < 0.7 * first else f"stays at {last:.1f}"


def plot_exam(right: Mapping[str, np.ndarray]) -> None:
    """Which tickets are right before and after; in each the first half was taught, the rest not."""
    halves = {
        name: np.split(marks, 2)
        for name, marks in zip(("untaught", "trained"), right.values(), strict=True)
    }
    (b_taught, b_new), (a_taught, a_new) = (map(np.sum, both) for both in halves.values())
    asked = len(next(iter(halves.values()))[0])
    names = f"{asked} taught tickets", f"{asked} new tickets"
    plots.whiskers(
        {
            "": {
                w: dict(zip(names, map(compare.interval, h), strict=True))
                for w, h in halves.items()
            }
        },
        f"The training lifts new tickets from {b_new} to {a_new} of {asked} right",
        f"New tickets right: {b_new} of {asked} before, {a_new} after. "
        f"Taught ones: {b_taught} before, {a_taught} after.",
        y="share right",
        form="bars",
    )


def gaps(right: Mapping[str, np.ndarray]) -> tuple[compare.Interval, compare.Interval]:
    """What new tickets gain by the training, and what taught ones are ahead of them afterwards.

    Each array holds as many taught tickets as new ones; both intervals are printed.
    """
    (_, before), (taught, after) = (np.split(marks, 2) for marks in right.values())
    gain, gap = compare.interval(after - before.astype(float)), unpaired(taught, after)
    print(f"new tickets, after minus before: {gain:+.2f}")
    print(f"after, taught minus new: {gap:+.2f}")
    return gain, gap


def attempts(
    lm: LanguageModel, layer: type, teach: Callable, taught: Sequence[Example], fresh: Sequence
) -> Callable[[float, int], tuple[list[float], float]]:
    """What `check_recipe` tries: `teach` with new layers, then the share of `fresh` right."""

    def attempt(rate: float, passes: int) -> tuple[list[float], float]:
        pupil = put_around(lm, layer)
        losses = list(teach(pupil, taught, passes=passes, rate=rate))
        return losses, share_right(pupil, load_task(TASK), fresh)

    return attempt


def moved(tuned: LanguageModel, lm: LanguageModel) -> dict[str, pd.DataFrame]:
    """How far each matrix moved with this adapter, and in the stored full fine-tuning."""
    full = pd.read_csv(DATA / "results" / "full_change.csv")
    return {"LoRA": matrices.change(tuned, lm), "full fine-tuning": full}


def by_kind(moves: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The median change of each kind of matrix, in per cent of its size, the largest first."""
    kinds = {name: table.groupby("matrix").relative.median() for name, table in moves.items()}
    return pd.DataFrame(kinds).sort_values("LoRA", ascending=False).map("{:.2%}".format)


PROGRAM = """
import socket, sys
def refuse(*_): raise OSError("there is no network")
socket.socket.connect = refuse
from helpers import adapters, data, model, scoring
tickets, lm = data.load_task("support_tickets"), adapters.load(model.load(), sys.argv[1])
print(*scoring.predict(tickets, scoring.score_labels(lm, tickets, [], sys.argv[2:])))
"""


def run_offline(folder: str, queries: Sequence[str]) -> list[str]:
    """What a new Python prints that runs `PROGRAM` on a saved adapter; the Hub is switched off."""
    command = [sys.executable, "-c", PROGRAM, folder, *queries]
    alone = {"cwd": ROOT, "env": os.environ | {"HF_HUB_OFFLINE": "1"}}
    done = subprocess.run(command, **alone, capture_output=True, text=True, check=True)
    return done.stdout.split()


def may_move(weights: Iterable[torch.Tensor], lm: LanguageModel) -> str:
    """How many numbers training may move, beside the model's own."""
    may, total = sum(weight.numel() for weight in weights), lm.model.num_parameters()
    return f"{may:,} weights may move, beside {total:,} that may not ({may / total:.1%})."


def stayed(lm: LanguageModel, folder: str, tokens: Sequence[int], same: bool) -> str:
    """How large the saved adapter is, what a question takes without it, and if the model moved.

    `tokens` count the question alone and behind the taught tickets.
    """
    size, whole = Path(folder, ADAPTER).stat().st_size / 1e6, 4 * lm.model.num_parameters() / 1e6
    return (
        f"The adapter's file has {size:.0f} MB, the model {whole:.0f} MB.\n"
        f"The first question had {tokens[0]} tokens; behind the taught tickets it would have "
        f"{tokens[1]:,}.\n"
        f"Your model in memory is {'the same to the last bit' if same else 'CHANGED'}."
    )


# The explorer and the exercises' checks


def loss_explorer(
    models: Mapping[str, LanguageModel], task: Task, examples: Sequence[Example]
) -> Panel:
    """Choose an example; see its tokens, and for each model what each of them costs in nats.

    The tokens that the training loss counts are orange, the others grey.
    """

    def show(example: Example) -> str:
        lm = next(iter(models.values()))
        (encoded,) = encode_examples(lm, task, [example])
        losses = [token_losses(model, encoded) for model in models.values()]
        boxes = [
            _box(lm.tokenizer.decode([token]), [loss[i] for loss in losses], i + 1 >= encoded.start)
            for i, token in enumerate(encoded.tokens[1:])
        ]
        return (
            f"<p>Below each token: -log p in nats, {escape(', then '.join(models))}. The loss "
            f"counts the orange ones.</p>{''.join(boxes)}"
        )

    (first,) = encode_examples(next(iter(models.values())), task, examples[:1])
    counted = {name: token_losses(model, first)[first.start - 1] for name, model in models.items()}
    told = [f"{nats:.1f} {name}" for name, nats in counted.items()]
    sentence = (
        f"An explorer of the loss, in a live notebook. It begins with {examples[0].text[:40]!r}... "
        f"At {examples[0].label!r} the surprise in nats is {', then '.join(told)}."
    )
    choices = {example.text: example for example in examples}
    return explorer(show, sentence, example=choices)


def _box(token: str, losses: Sequence[float], counted: bool) -> str:
    """A token over its losses."""
    colour = "#D55E00" if counted else "#767676"
    numbers = "<br>".join(f"{loss:.1f}" for loss in losses)
    return (
        f"<span style='display:inline-block;margin:2px;padding:2px 4px;text-align:center;"
        f"border-top:4px solid {colour};font-family:monospace;white-space:pre;line-height:1.3'>"
        f"{escape(repr(token)[1:-1])}<br><span style='color:{colour}'>{numbers}</span></span>"
    )


def check_turned(
    answer: Callable[[str, str], str], taught: Sequence[Example], text: str | None
) -> None:
    """Check that a text of the learner's own is sorted another way since the training.

    `answer(when, text)` gives the topic that the model chose "before" it or chooses "after" it.
    """
    problem, praise = None, ""
    if text is not None and not (isinstance(text, str) and text.strip()):
        problem = 'give a message in quotes, such as "Where is my parcel?".'
    elif text in texts(taught):
        problem = "the model was taught this very ticket: write a new one."
    elif text is not None:
        before, after = (answer(when, text) for when in ("before", "after"))
        praise = f"before it was sorted under {before}, now under {after}. Would you, too?"
        if before == after:
            problem = f"it was sorted under {before} before, too; what else do customers write of?"
    checks.tell(text is not None, problem, praise)


def check_recipe(
    attempt: Callable[[float, int], tuple[Sequence[float], float]],
    rate: float | None,
    passes: int | None,
    goal: float,
) -> None:
    """Check that a training with the learner's rate and passes does on fresh texts what is asked.

    `attempt(rate, passes)` trains a fresh model; it gives the loss at each step and the share of
    fresh texts that this model gets right.
    """
    attempted, problem, praise = None not in (rate, passes), None, ""
    if attempted and not (0 < rate < inf and passes in range(1, 9)):
        problem = "give a learning rate above 0 and a whole number of passes from 1 to 8."
    elif attempted:
        losses, right = attempt(rate, passes)
        praise = f"{right:.2f} of the fresh tickets; the loss ends at {losses[-1]:.2f}."
        problem = None if right >= goal else f"{right:.2f} right. {_why_not(losses)}"
    checks.tell(attempted, problem, praise)


def _why_not(losses: Sequence[float]) -> str:
    first, last, highest = losses[0], losses[-1], float(np.max(losses))  # nan where one is nan
    if not highest <= 1.5 * first:
        return f"The loss leapt from {first:.2f} to {highest:.2f}: the rate is too large."
    if last > 1.0:
        return f"The loss still stands at {last:.2f}: take a larger rate or more passes."
    return (
        f"The loss is down to {last:.2f}, yet the fresh tickets need another rate or more passes."
    )


LESSON = "02_fine_tuning"


def findings(
    moves: Mapping[str, pd.DataFrame],
    gain: compare.Interval,
    gap: compare.Interval,
    answers: tuple[list[str], list[str]],
    tokens: tuple[int, int],
) -> dict[str, tuple[str, str]]:
    """What was measured of F1, F2, F3 and F5, and what else is to know.

    `moves` are those of `moved`. `gain` is that of new tickets, `gap` what taught ones are ahead of
    them. `answers` are a new process's and this one's, and `tokens` count a question alone and
    behind the tickets.
    """
    (later, here), (bare, whole) = answers, tokens
    touched = {name: int((table.relative > 0).sum()) for name, table in moves.items()}
    every = len(next(iter(moves.values())))
    same = f"{sum(map(str.__eq__, later, here))} of {len(here)} answers the same"
    same += " in a new, offline process"
    return {
        "F1": (
            " and ".join(f"{name} {n} of {every} matrices" for name, n in touched.items()),
            "In full fine-tuning themselves, with LoRA by what is added.",
        ),
        "F2": (
            f"new tickets, after minus before {gain:+.2f}; taught minus new {gap:+.2f}",
            memorised(gain, gap),
        ),
        "F3": (same, "It stays in an adapter's file, not in the model's own weights."),
        "F5": (f"{same}; {bare} tokens, not {whole:,}", "Offline, a prompt works as well."),
    }


def memorised(gain: compare.Interval, gap: compare.Interval) -> str:
    """What new tickets gain, and what taught ones are ahead of them, in words."""
    if gain.low <= 0:
        return "What new tickets gain may be luck."
    if gap.low > 0:
        return "It learns the tickets it sees better than their topics."
    return "Whether it knows its own tickets better, so few cannot say."

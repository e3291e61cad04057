"""States: what the model holds likely layer by layer, and a task carried from prompt to prompt.

The state at a token is what the layers read and add to. It enters the first layer as the token's
embedding, each layer adds its part, and after the last one the final norm and the output head turn
it into a score for every possible next token. State i is what enters layer i, and the last state is
what leaves the last layer: one state more than layers.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch

from helpers.data import Example, Task, load_task
from helpers.model import LanguageModel
from helpers.packing import common_length
from helpers.prompts import encode, plain
from lessons.heads import hooks, layers


def with_start(name: str) -> Task:
    """One of the course's tasks, with a line break before the first word of every prompt.

    Attention parks on the first token, whatever it is, and its state then tells little else (Xiao
    et al. 2023, arXiv 2309.17453). A model without a start token would lose the question's word.
    """
    return replace(load_task(name), instruction="\n")


def ask(
    lm: LanguageModel, task: Task, shown: Sequence[Example], examples: Sequence[Example]
) -> tuple[list[list[int]], list[int]]:
    """Each example's prompt behind the demonstrations, as tokens, and its answer's first token."""
    prompts, answers = [], []
    for example in examples:
        prompt = encode(lm.tokenizer, plain(task, shown, example.text))
        whole = encode(lm.tokenizer, plain(task, shown, example.text, task.word(example.label)))
        start = common_length([prompt, whole])
        prompts.append(whole[:start])
        answers.append(whole[start])
    return prompts, answers


def final_norm(lm: LanguageModel) -> torch.nn.Module:
    """The norm between the last layer and the output head; `ValueError` where there is none."""
    inner = {id(part) for layer in layers(lm) for part in layer.modules()}
    outer = [part for part in lm.model.modules() if id(part) not in inner]
    norms = [part for part in outer if "norm" in type(part).__name__.lower()]
    if not norms:
        raise ValueError(f"{lm.name} cannot be looked into: no norm stands behind its layers.")
    return norms[-1]


def stations(lm: LanguageModel) -> list[torch.nn.Module]:
    """The modules that read a state: each layer, and behind them the final norm."""
    return [*layers(lm), final_norm(lm)]


def same_length(prompts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """The prompts' numbers, in groups of one length, so that a group needs no padding."""
    for length in sorted({len(prompt) for prompt in prompts}):
        yield [i for i, prompt in enumerate(prompts) if len(prompt) == length]


@torch.inference_mode()
def scores(lm: LanguageModel, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
    """Log-probability of every possible next token after each prompt, [prompts, vocabulary]."""
    by_prompt = [None] * len(prompts)
    for group in same_length(prompts):
        rows = torch.tensor([prompts[i] for i in group], device=lm.device)
        logits = lm.model(rows, use_cache=False, logits_to_keep=1).logits[:, -1]
        for i, log_p in zip(group, logits.float().log_softmax(-1), strict=True):
            by_prompt[i] = log_p
    return torch.stack(by_prompt)


@torch.inference_mode()
def states(lm: LanguageModel, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
    """The states at the last token of each prompt, [prompts, layers + 1, width]."""
    places = stations(lm)
    by_prompt = [None] * len(prompts)
    for group in same_length(prompts):
        seen = [None] * len(places)

        def watch(i, seen=seen):
            def hook(module, inputs):
                seen[i] = inputs[0][:, -1].clone()

            return hook

        with hooks(places, watch):
            scores(lm, [prompts[i] for i in group])
        for i, passed in zip(group, torch.stack(seen, 1), strict=True):
            by_prompt[i] = passed
    return torch.stack(by_prompt)


@torch.inference_mode()
def read_out(lm: LanguageModel, states: torch.Tensor) -> torch.Tensor:
    """The logit lens: the final norm and the output head on states from anywhere.

    Takes [..., width] and gives log-probabilities [..., vocabulary]. Source: nostalgebraist 2020,
    "interpreting GPT: the logit lens". The early layers were never trained to be read this way.
    """
    return lm.model.get_output_embeddings()(final_norm(lm)(states)).float().log_softmax(-1)


def through_lens(
    lm: LanguageModel, prompts: Sequence[Sequence[int]], answers: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """At every layer, the answer's log-probability and its place among all tokens (0: first).

    Both are [prompts, layers + 1]. Raises `ValueError` where the last one is not what the model
    itself says, because then more than a norm stands between its layers and its scores.
    """
    chances, places = [], []
    first = scores(lm, prompts[:1])[0]
    if not torch.allclose(read_out(lm, states(lm, prompts[:1])[0, -1]), first, atol=0.05):
        raise ValueError(f"{lm.name} cannot be looked into: its norm and head are not all.")
    for state, answer in zip(states(lm, prompts), answers, strict=True):
        log_p = read_out(lm, state)  # one prompt at a time, because the vocabulary is wide
        chances.append(log_p[:, answer].cpu().numpy())
        places.append((log_p > log_p[:, [answer]]).sum(1).cpu().numpy())
    return np.array(chances), np.array(places)


@contextmanager
def put_in(lm: LanguageModel, layer: int, state: torch.Tensor) -> Iterator[None]:
    """While inside, the last token of every prompt enters `layer` with this state [width]."""

    def swap(_):
        def hook(module, inputs):
            changed = inputs[0].clone()
            changed[:, -1] = state.to(changed)
            return (changed, *inputs[1:])

        return hook

    with hooks([stations(lm)[layer]], swap):
        yield


def task_vector(
    lm: LanguageModel, task: Task, shown: Sequence[Example], asked: Sequence[Example]
) -> torch.Tensor:
    """The mean state at the last token of few-shot prompts, [layers + 1, width].

    `asked` are only asked, so that the mean is not about one of them. Source: Hendel et al. 2023,
    arXiv 2310.15916; Todd et al. 2023, arXiv 2310.15213.
    """
    prompts, _ = ask(lm, task, shown, asked)
    return states(lm, prompts).mean(0)

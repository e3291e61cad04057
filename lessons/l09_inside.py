"""Lesson 9: the pieces that learners build, and what heads, states and an adapter hold.

`python -m lessons ablation`, `lens` and `vectors` make the stored results of these names. Heads are
chosen on random tokens alone (`heads.py`); states are read in `states.py`.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import cache, partial
from html import escape
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch.utils.hooks import RemovableHandle
from transformers import LlamaConfig, LlamaForCausalLM

from helpers import checks, plots
from helpers import model as models
from helpers.compare import Interval, interval, right, scored, stored, where
from helpers.cost import cache_bytes
from helpers.data import Example, Task, load_rows, load_task, texts
from helpers.model import LanguageModel
from helpers.prompts import count_tokens, encode, plain
from helpers.scoring import answer, predict, score_labels
from helpers.study import Made, Study, digest, questions
from helpers.teaching import LORA, taught_bytes
from helpers.widgets import Panel, explorer
from lessons import facts, heads, matrices, states
from lessons.english import neutral_lines, neutral_loss
from lessons.heads import (
    INDUCTION,
    Head,
    ablated,
    continues,
    halves,
    induction_map,
    mean_outputs,
    others,
    repeated,
    strongest,
)
from lessons.words import with_invented_words

SHOTS, ITEMS = 8, 20  # demonstrations, questions
INTACT, INDUCTIVE, ANYWHERE, SAME_LAYERS = WAYS = (
    "nothing",
    "induction heads",
    "random heads",
    "random heads, same layers",
)
SKILLS = ("past_tense", "antonyms", "category")  # asked with demonstrations
INVENTED = "category, invented words"
FACTS = 8
SEQUENCES = 8  # of random tokens, on which the heads are chosen
ENGLISH, FOR_MEANS = slice(0, 8), slice(20, 40)  # lines of plain English, never the same
TASKS = ("past_tense", "plurals", "antonyms", "capitals")
DUMMIES = 8  # queries over which a task vector is a mean
OWN, OTHER, UNTAUGHT, PROMPTED = VECTORS = (
    "its own vector",
    "another task's vector",
    "zero-shot",
    "demonstrations",
)
CHOOSING = (100, 101)  # draws that serve to choose the layer, and nothing else


class InductionHeads(NamedTuple):
    """The induction heads of a model, the map they were chosen on, and all heads' mean outputs."""

    scores: np.ndarray
    chosen: list[Head]
    means: torch.Tensor

    def __str__(self) -> str:
        counts = sorted(Counter(layer for layer, _ in self.chosen).items())
        where = ", ".join(f"{count} in layer {layer}" for layer, count in counts)
        return f"{len(self.chosen)} of {self.scores.size} heads are induction heads: {where}."


def find(lm: LanguageModel) -> InductionHeads:
    """Find the induction heads on random tokens, and the mean outputs on plain English."""
    scores = induction_map(lm, repeated(lm, SEQUENCES))
    return InductionHeads(scores, strongest(scores), mean_outputs(lm, neutral_lines(72)[FOR_MEANS]))


def without(known: InductionHeads, way: str, seed: int) -> list[Head]:
    """The heads that are ablated in a way of `WAYS`; the random ones are drawn by seed."""
    if way == INTACT:
        return []
    if way == INDUCTIVE:
        return known.chosen
    return others(known.scores, known.chosen, seed, by_layer=way == SAME_LAYERS)


@contextmanager
def silenced(
    piece: Callable, lm: LanguageModel, known: InductionHeads, way: str, seed: int
) -> Iterator[None]:
    """While inside, the heads of a way of `WAYS` give their mean, each by `piece`, a `silence`."""
    with ExitStack() as handles:
        for layer, head in without(known, way, seed):
            handles.callback(piece(lm, layer, head, known.means[layer, head]).remove)
        yield


# What is lost without some heads


def invented() -> Task:
    """Two categories of words whose names are invented, so that only the prompt can tell them."""
    task = with_invented_words(load_task("category"))
    two = task.labels[:2]
    kept = [tuple(e for e in rows if e.label in two) for rows in (task.train, task.held_out)]
    return replace(task, labels=two, train=kept[0], held_out=kept[1])


def continues_random(lm: LanguageModel, seed: int, count: int = 3) -> list[dict]:
    """Random tokens that come twice: the loss of each half, and the second half's tokens right."""
    losses, right = continues(lm, repeated(lm, count, seed=1000 + seed))
    first, second = (float(half.mean()) for half in halves(losses))
    return [
        {"measure": "random tokens, first time", "value": first, "right": ""},
        {"measure": "random tokens, second time", "value": second, "right": ""},
        scored(halves(right)[1].ravel(), "random tokens again"),
    ]


def skills(lm: LanguageModel, seed: int, names: Sequence[str] = SKILLS) -> list[dict]:
    """Tasks with demonstrations in the prompt, that the model has the skill for."""
    return [scored(few_shot(lm, load_task(name), seed), name) for name in names]


def few_shot(lm: LanguageModel, task: Task, seed: int) -> list[bool]:
    """Which questions are answered right behind a draw of `SHOTS` demonstrations."""
    asked, drawn = questions(task, ITEMS), task.draw(SHOTS, seed)
    if task.labels:
        said = predict(task, score_labels(lm, task, drawn, texts(asked)))
    else:
        said = answer(lm, task, drawn, texts(asked))
    return [text == example.label for text, example in zip(said, asked, strict=True)]


def past_tenses(lm: LanguageModel, verbs: Task, seeds: Sequence[int] = (5, 6)) -> dict[str, int]:
    """How often the past tense comes first behind demonstrations, and how often the verb itself.

    A draw of demonstrations for each seed, each with the same questions, which no stored result
    asks first.
    """
    asked, counts = verbs.held_out[ITEMS : 2 * ITEMS], {}
    answers = {
        "past tenses": [verb.label for verb in asked],
        "the verb itself": [verb.text for verb in asked],
    }
    prompts = [
        p for seed in seeds for p in states.ask(lm, verbs, verbs.draw(SHOTS, seed), asked)[0]
    ]
    said = states.scores(lm, prompts).argmax(1).tolist()
    for name, words in answers.items():
        first = [encode(lm.tokenizer, f" {word}")[0] for word in words] * len(seeds)
        counts[f"{name}, of {len(said)}"] = sum(a == b for a, b in zip(said, first, strict=True))
    return counts


def recalls(
    lm: LanguageModel, drawn: Sequence[dict], where: str, shown: Sequence[Example] = ()
) -> list[dict]:
    """Invented facts that were taught in the prompt or in the weights, chosen and written."""
    written = np.array(facts.write(lm, drawn, shown=shown))
    return [
        scored(facts.choose(lm, drawn, shown=shown), f"facts, {where}"),
        scored(written == [fact["answer"] for fact in drawn], f"facts, {where}, written"),
    ]


def ablation_study(lm: LanguageModel, draws: int) -> Study:
    """In each draw the same questions in all `WAYS`, each draw with random heads of its own."""
    heads_found, known = find(lm), load_rows("invented_facts")
    english = neutral_lines(72)[ENGLISH]

    def asked(drawn: Sequence[dict], draw: int) -> Iterator[dict]:
        yield from continues_random(lm, draw)
        yield {"measure": "plain English", "value": neutral_loss(lm, english), "right": ""}
        yield from skills(lm, draw)
        yield scored(few_shot(lm, invented(), draw), INVENTED)
        yield from recalls(lm, drawn, "prompt", facts.statements(drawn))

    def work(draw: int) -> list[dict]:
        drawn = facts.draw(known, FACTS, draw)
        tuned = facts.teach(lm, facts.statements(drawn), draw).lm
        rows = [{"way": INTACT} | row for row in recalls(lm, drawn, "untaught")]
        for way in WAYS:
            chosen = without(heads_found, way, draw)
            with ablated(lm, chosen, heads_found.means):
                rows += [{"way": way} | row for row in asked(drawn, draw)]
            with ablated(tuned, chosen, heads_found.means):
                rows += [{"way": way} | row for row in recalls(tuned, drawn, "weights")]
        return rows

    settings = {"shots": SHOTS, "items": ITEMS, "facts": FACTS, "least": INDUCTION}
    settings |= {"heads": [list(head) for head in heads_found.chosen]}
    settings |= {"rate": LORA.rate, "batch": LORA.batch, "rank": LORA.rank}
    data = digest(*known, *english, *(load_task(name).train for name in SKILLS))
    settled = {"task": "ablation", "data": data, "settings": settings}
    cells = [{"draw": d} for d in range(draws)]
    return Study("ablation", cells, work, settled, ["draw", "value"])


def lost(results: pd.DataFrame, measure: str, way: str, against: str = INTACT) -> Interval:
    """How much more is right with a way of `WAYS` than with another.

    From a stored result on `ablation`, paired by draw and question.
    """
    here, there = (right(results, measure=measure, way=name) * 1.0 for name in (way, against))
    return interval(here - there)


def learned(results: pd.DataFrame, where: str) -> Interval:
    """How many more facts are chosen right, taught in the "prompt" or the "weights", than untaught.

    From a stored result on `ablation`, with all heads at work.
    """
    taught, untaught = (
        right(results, way=INTACT, measure=f"facts, {place}") * 1.0 for place in (where, "untaught")
    )
    return interval(taught - untaught)


# When an answer appears


def lens_study(lm: LanguageModel, draws: int) -> Study:
    """How many answers come first at each layer, with demonstrations and, once, without."""

    def work(draw: int, task: str, shots: int) -> list[dict]:
        given = states.with_start(task)
        asked = questions(given, ITEMS)
        prompts, answers = states.ask(lm, given, given.draw(shots, draw), asked)
        chances, places = states.through_lens(lm, prompts, answers)
        return [
            {"way": "in-context", "layer": layer}
            | scored(places[:, layer] == 0, "first place")
            | {"log_probability": float(chances[:, layer].mean())}
            | {"place": float(np.median(places[:, layer]))}
            for layer in range(chances.shape[1])
        ]

    cells = [{"draw": 0, "task": name, "shots": 0} for name in TASKS]
    cells += [{"draw": d, "task": name, "shots": SHOTS} for d in range(draws) for name in TASKS]
    settled = {"task": "lens", "questions": ITEMS, "data": _digest(TASKS)}
    numbers = ["draw", "shots", "layer", "value", "log_probability", "place"]
    return Study("lens", cells, work, settled, numbers)


def in_first_place(results: pd.DataFrame, shots: int, layers: Sequence[int]) -> dict[int, Interval]:
    """Share of answers that the logit lens puts first, all tasks together, layer by layer."""
    return {layer: interval(right(results, shots=shots, layer=layer)) for layer in layers}


# What one state carries


def vectors_study(lm: LanguageModel, draws: int) -> Study:
    """First the layer is chosen, on `train` rows and draws of their own; then it is used.

    Every second layer is tried, and the one that does best over all tasks together is taken.
    """
    tried = range(0, lm.model.config.num_hidden_layers, 2)

    @cache
    def vector(draw: int, task: str) -> torch.Tensor:
        drawn = states.with_start(task).draw(SHOTS + DUMMIES, draw)
        return states.task_vector(lm, states.with_start(task), drawn[:SHOTS], drawn[SHOTS:])

    @cache
    def choosing(draw: int, task: str) -> list[dict]:
        asked = states.with_start(task).draw(SHOTS + DUMMIES + ITEMS, draw)[-ITEMS:]
        return [carried(lm, task, asked, OWN, vector(draw, task), layer) for layer in tried]

    @cache
    def best() -> int:
        rows = [row for d in CHOOSING for name in TASKS for row in choosing(d, name)]
        return int(pd.DataFrame(rows).groupby("layer")["value"].mean().idxmax())

    def work(draw: int, task: str) -> list[dict]:
        if draw in CHOOSING:
            return choosing(draw, task)
        given = states.with_start(task)
        asked = questions(given, ITEMS)
        other = TASKS[TASKS.index(task) - 1]
        vectors = {OWN: vector(draw, task), OTHER: vector(draw, other)}
        prompts, answers = states.ask(lm, given, given.draw(SHOTS, draw), asked)
        prompted = states.scores(lm, prompts).argmax(1).cpu().numpy() == answers
        rows = [carried(lm, task, asked, name, state, best()) for name, state in vectors.items()]
        rows.append(carried(lm, task, asked, UNTAUGHT))
        return [*rows, {"way": PROMPTED, "layer": -1} | scored(prompted, "first token")]

    cells = [{"draw": d, "task": name} for d in (*CHOOSING, *range(draws)) for name in TASKS]
    settings = {"shots": SHOTS, "dummies": DUMMIES, "choosing": list(CHOOSING)}
    settled = {"task": "vectors", "questions": ITEMS, "data": _digest(TASKS)}
    numbers = ["draw", "layer", "value"]
    return Study("vectors", cells, work, settled | {"settings": settings}, numbers)


def carried(
    lm: LanguageModel,
    task: str,
    asked: Sequence[Example],
    name: str,
    vector: torch.Tensor | None = None,
    layer: int = -1,
) -> dict:
    """Ask without demonstrations, with the task vector put in at `layer` where there is one.

    An answer is right where its first token is the likeliest.
    """
    prompts, answers = states.ask(lm, states.with_start(task), [], asked)
    put = nullcontext() if vector is None else states.put_in(lm, layer, vector[layer])
    with put:
        likeliest = states.scores(lm, prompts).argmax(1).cpu().numpy()
    return {"way": name, "layer": layer} | scored(likeliest == answers, "first token")


def chosen_layer(results: pd.DataFrame) -> int:
    """The layer that the draws for choosing chose, at which a stored result carries its vectors."""
    (layer,) = set(where(results, way=OWN)["layer"][~results["draw"].isin(CHOOSING)])
    return int(layer)


def reached(results: pd.DataFrame) -> dict[str, dict[str, Interval]]:
    """How many answers come with each of `VECTORS`, for each task.

    From the draws of a stored result on `vectors` that did not serve to choose the layer.
    """
    used = results[~results["draw"].isin(CHOOSING)]
    tasks = dict.fromkeys(used["task"])
    return {
        name: {task: interval(right(used, task=task, way=name)) for task in tasks}
        for name in VECTORS
    }


def _digest(names: Sequence[str]) -> str:
    return digest(*((task.train, questions(task, ITEMS)) for task in map(load_task, names)))


MADE = {
    "ablation": Made(45, ablation_study),
    "lens": Made(10, lens_study),
    "vectors": Made(10, vectors_study),
}


# What learners build: a silenced head, the logit lens, a state that is carried over


def silence(
    lm: LanguageModel, layer: int, head: int, instead: float | torch.Tensor = 0.0
) -> RemovableHandle:
    """Let a head give `instead`, whatever it sees, until the handle is removed."""
    projection = heads.projections(lm)[layer]
    wide = projection.weight.shape[1] // lm.model.config.num_attention_heads
    own = slice(head * wide, (head + 1) * wide)

    def hook(module, inputs):
        results = inputs[0].clone()
        results[:, :, own] = instead
        return (results, *inputs[1:])

    return projection.register_forward_pre_hook(hook)


def _silence_with(
    lm: LanguageModel,
    layer: int,
    head: int,
    instead: float = 0.0,
    *,
    own: Callable = lambda head, wide: slice(head * wide, (head + 1) * wide),
    on_results: bool = False,
    handed_back: bool = True,
) -> RemovableHandle | None:
    """`silence` with a mistake put in on purpose."""
    projection = heads.projections(lm)[layer]
    wide = projection.weight.shape[1] // lm.model.config.num_attention_heads

    def changed(results: torch.Tensor) -> torch.Tensor:
        results = results.clone()
        results[:, :, own(head, wide)] = instead
        return results

    if on_results:
        handle = projection.register_forward_hook(lambda _, inputs, results: changed(results))
    else:
        handle = projection.register_forward_pre_hook(lambda _, inputs: (changed(inputs[0]),))
    return handle if handed_back else None


def _random_model(lm: LanguageModel) -> LanguageModel:
    """Two random layers of four heads, so that a hook that is left behind does no harm."""
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=50, num_hidden_layers=2, **shape)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = LlamaForCausalLM(config)
    return replace(lm, model=network.eval(), device=torch.device("cpu"))


def _last_state(lm: LanguageModel) -> list[float]:
    return states.states(lm, [range(9)])[0, -1].tolist()


def _silence_trial(piece: Callable, lm: LanguageModel) -> list[float]:
    """What leaves the last layer with one head silent, and once the hook is removed."""
    small = _random_model(lm)
    handle = piece(small, 0, 2)
    silent = _last_state(small)
    handle.remove()
    return silent + _last_state(small)


def _silence_truth(lm: LanguageModel) -> list[float]:
    small = _random_model(lm)
    with ablated(small, [(0, 2)]):
        silent = _last_state(small)
    return silent + _last_state(small)


SILENCE = checks.Build(
    own=silence,
    trial=_silence_trial,
    truth=_silence_truth,
    praise="with your hook the states are those of heads.ablated, and without it the model's own.",
    mistakes={
        "that silences another head: heads count from 0, so this one begins at head * wide.": (
            partial(_silence_with, own=lambda head, wide: slice((head - 1) * wide, head * wide))
        ),
        "the slice begins at the head's number, not at its first place, head * wide.": partial(
            _silence_with, own=lambda head, wide: slice(head, head + wide)
        ),
        "that is every head from this one on: end the slice at (head + 1) * wide.": partial(
            _silence_with, own=lambda head, wide: slice(head * wide, None)
        ),
        "the whole layer is silent: change only the slice of this head.": partial(
            _silence_with, own=lambda head, wide: slice(None)
        ),
        "there the heads are mixed already: change what goes into the projection.": partial(
            _silence_with, on_results=True
        ),
        "nothing is silent: what the hook returns goes in, so return the changed results.": partial(
            _silence_with, own=lambda head, wide: slice(0)
        ),
        "the hook stays for ever: return the handle, with which it can be removed.": partial(
            _silence_with, handed_back=False
        ),
    },
)


def lens(lm: LanguageModel, tokens: torch.Tensor, layer: int) -> torch.Tensor:
    """What the model would say after so many layers: log-probabilities [vocabulary]."""
    with torch.no_grad():
        passed = lm.model(tokens, output_hidden_states=True).hidden_states
        state = passed[layer][0, -1]
        normed = states.final_norm(lm)(state)
        logits = lm.model.get_output_embeddings()(normed)
    return logits.float().log_softmax(-1)


def _lens_with(
    lm: LanguageModel,
    tokens: torch.Tensor,
    layer: int,
    *,
    place: int = -1,
    later: int = 0,
    norm: bool = True,
) -> torch.Tensor:
    """`lens` with a mistake put in on purpose."""
    with torch.no_grad():
        passed = lm.model(tokens, output_hidden_states=True).hidden_states
        state = passed[layer + later][0, place]
        normed = states.final_norm(lm)(state) if norm else state
        return lm.model.get_output_embeddings()(normed).float().log_softmax(-1)


ASKED = "\nfind ->"
SHOWN = "\nrise -> rose\nwait -> waited\nfall -> fell\npay ->"
SOME = slice(0, 2000)  # tokens of the vocabulary that a check looks at


def row(lm: LanguageModel, text: str) -> torch.Tensor:
    """The text's tokens as the model reads them, [1, tokens]."""
    return torch.tensor([encode(lm.tokenizer, text)], device=lm.device)


def _middle(lm: LanguageModel) -> int:
    return 3 * lm.model.config.num_hidden_layers // 5


LENS = checks.Build(
    own=lens,
    trial=lambda piece, lm: piece(lm, row(lm, SHOWN), _middle(lm))[SOME].tolist(),
    truth=lambda lm: states.read_out(
        lm, states.states(lm, [encode(lm.tokenizer, SHOWN)])[0, _middle(lm)]
    )[SOME].tolist(),
    praise="your numbers are those of states.read_out.",
    mistakes={
        "the final norm is missing: the output head was trained on normed states.": partial(
            _lens_with, norm=False
        ),
        "that is the first token's state: what comes next is foretold at the last, -1.": partial(
            _lens_with, place=0
        ),
        "that is one layer too late: passed[0] is the embedding, so passed[layer] comes after "
        "that many layers.": partial(_lens_with, later=1),
        "that is one layer too early: passed[0] is the embedding, so count no layer off.": partial(
            _lens_with, later=-1
        ),
    },
)


def carry(lm: LanguageModel, shown: torch.Tensor, asked: torch.Tensor, layer: int) -> torch.Tensor:
    """What follows `asked`, when its last token enters `layer` with the mean state of `shown`'s."""
    with torch.no_grad():
        passed = lm.model(shown, output_hidden_states=True).hidden_states
    state = passed[layer][:, -1].mean(0)

    def put_in(module, inputs):
        entering = inputs[0].clone()
        entering[:, -1] = state
        return (entering, *inputs[1:])

    with torch.no_grad(), heads.hooks([heads.layers(lm)[layer]], lambda _: put_in):
        return lm.model(asked).logits[0, -1].float().log_softmax(-1)


def _carry_with(
    lm: LanguageModel,
    shown: torch.Tensor,
    asked: torch.Tensor,
    layer: int,
    *,
    later: int = 0,
    source: int = -1,
    change: Callable = lambda entering, state: entering[:, -1].copy_(state),
) -> torch.Tensor:
    """`carry` with a mistake put in on purpose; `change(entering, state)` puts the state in."""
    with torch.no_grad():
        passed = lm.model(shown, output_hidden_states=True).hidden_states
    state = passed[layer + later][:, source].mean(0)

    def put_in(module, inputs):
        entering = inputs[0].clone()
        change(entering, state)
        return (entering, *inputs[1:])

    with torch.no_grad(), heads.hooks([heads.layers(lm)[layer]], lambda _: put_in):
        return lm.model(asked).logits[0, -1].float().log_softmax(-1)


def _two_shown(lm: LanguageModel) -> torch.Tensor:
    """Two prompts of one length, which differ in the word asked for."""
    both = row(lm, SHOWN).repeat(2, 1)
    both[1, -2] = both[1, 1]
    return both


def _carry_trial(piece: Callable, lm: LanguageModel) -> list[float]:
    return piece(lm, _two_shown(lm), row(lm, ASKED), _middle(lm))[SOME].tolist()


def _carry_truth(lm: LanguageModel) -> list[float]:
    layer = _middle(lm)
    state = states.states(lm, _two_shown(lm).tolist())[:, layer].mean(0)
    with states.put_in(lm, layer, state):
        return states.scores(lm, row(lm, ASKED).tolist())[0, SOME].tolist()


CARRY = checks.Build(
    own=carry,
    trial=_carry_trial,
    truth=_carry_truth,
    praise="the answers are those of states.put_in.",
    mistakes={
        "that state is one layer older than the place it is put in: take passed[layer].": partial(
            _carry_with, later=1
        ),
        "that state is one layer too young: what enters the layer is passed[layer].": partial(
            _carry_with, later=-1
        ),
        "that is the state of the first token shown: the task is read off at the last.": partial(
            _carry_with, source=0
        ),
        "every token got this state: replace the last token's alone.": partial(
            _carry_with, change=lambda entering, state: entering.copy_(state.expand_as(entering))
        ),
        "the state went to the first token: put it in at the last, -1.": partial(
            _carry_with, change=lambda entering, state: entering[:, 0].copy_(state)
        ),
        "the state was added to the old one: put it in its place.": partial(
            _carry_with, change=lambda entering, state: entering[:, -1].add_(state)
        ),
    },
)


# What the lesson shows


def tell_attention(lm: LanguageModel, text: str, chosen: Sequence[Head]) -> None:
    """Print a text, and the three tokens that each head looks at most from its last one."""
    tokens = encode(lm.tokenizer, text)
    from_last = heads.attention(lm, tokens)[:, :, -1]  # [layers, heads, tokens]
    print(text)
    for layer, head in chosen:
        shares = from_last[layer, head]
        most = ", ".join(
            f"{lm.tokenizer.decode(tokens[at])!r}@{at} {shares[at]:.2f}"
            for at in shares.argsort()[:-4:-1]
        )
        print(f"   layer {layer}, head {head}: {most}")


def likeliest(
    tokenizer, seen: Mapping[str, Mapping[int, torch.Tensor]], answer: str
) -> pd.DataFrame:
    """The likeliest token and the answer's place, by prompt, after each number of layers.

    `seen` has for each prompt and number of layers the log-probabilities of all tokens.
    """
    token = encode(tokenizer, f" {answer}")[0]
    columns = {
        name: pd.DataFrame(
            {
                "likeliest": {n: repr(tokenizer.decode(p.argmax())) for n, p in layers.items()},
                f"place of {answer}": {
                    n: 1 + (p > p[token]).sum().item() for n, p in layers.items()
                },
            }
        ).rename_axis("layers passed")
        for name, layers in seen.items()
    }
    return pd.concat(columns, axis=1)


def alike(lm: LanguageModel, task: Task, shown: Sequence[Example], count: int) -> torch.Tensor:
    """Prompts behind the same demonstrations, as tokens [texts, tokens], all of one length.

    They ask for held-out texts from the second on; the first of them sets the length.
    """
    prompts = [encode(lm.tokenizer, plain(task, shown, one.text)) for one in task.held_out[1:]]
    same = [prompt for prompt in prompts if len(prompt) == len(prompts[0])]
    return torch.tensor(same[:count], device=lm.device)


def thirds(lm: LanguageModel) -> dict[str, list[int]]:
    """Layers to switch an adapter off in: none, all, a third of them, all but a third."""
    each = np.arange(len(heads.layers(lm)))
    parts = [part.tolist() for part in np.array_split(each, 3)]
    gone = {"nowhere": [], "everywhere": each.tolist()}
    gone |= {f"in layers {part[0]} to {part[-1]}": part for part in parts}
    return gone | {
        f"but in layers {part[0]} to {part[-1]}": [i for i in each.tolist() if i not in part]
        for part in parts
    }


@contextmanager
def adapter_off(lm: LanguageModel, gone: Sequence[int]) -> Iterator[None]:
    """While inside, what the adapter adds in the layers `gone` counts nothing."""
    silent = []
    for name, part in lm.model.named_modules():
        layer = next((int(piece) for piece in name.split(".") if piece.isdigit()), None)
        if layer in gone and isinstance(getattr(part, "scaling", None), dict):
            silent.append((part, dict(part.scaling)))
    try:
        for part, scaling in silent:
            part.scaling.update(dict.fromkeys(scaling, 0.0))
        yield
    finally:
        for part, scaling in silent:
            part.scaling.update(scaling)


JOBS = {  # the measures of `ablation`, as a figure names them
    "facts, prompt": "facts in the prompt",
    "facts, weights": "facts in the weights",
    "past_tense": "past tenses",
    "antonyms": "antonyms",
    "category": "categories",
    INVENTED: "categories, invented names",
    "random tokens again": "random tokens again",
}


SHOWN_LOST = (INTACT, INDUCTIVE, SAME_LAYERS)  # the ways that lesson and figure compare


def show_lost(results: pd.DataFrame) -> None:
    """What is lost without the induction heads and without as many others, job by job."""
    losses = {
        f"without {way}": {job: lost(results, what, way) for what, job in JOBS.items()}
        for way in SHOWN_LOST[1:]
    }
    gone = losses[f"without {INDUCTIVE}"]
    told = []
    for what in ("facts, prompt", "past_tense", "facts, weights"):
        shares = (right(results, measure=what, way=way).mean() for way in SHOWN_LOST)
        told.append(f"{JOBS[what]} " + ", ".join(f"{share:.2f}" for share in shares))
    untaught = right(results, measure="facts, untaught", way=INTACT).mean()
    plots.whiskers(
        {"": losses},
        f"Without induction heads facts in the prompt change by "
        f"{gone['facts in the prompt'].mean:+.2f}\n"
        f"and past tenses by {gone['past tenses'].mean:+.2f}, facts in the weights by "
        f"{gone['facts in the weights'].mean:+.2f}",
        f"Share right with all heads, without the induction heads, and without as many random "
        f"ones of the same layers: {'; '.join(told)}. Untaught, {untaught:.2f} of the facts are "
        f"chosen right; a guess gets {1 / facts.BLOCK:.2f}.",
        x="change in the share of right answers (bar: 95 % interval)",
        form="rows",
        level=0,
    )


def show_states(looked: pd.DataFrame, tried: pd.DataFrame) -> None:
    """Where the lens finds the answer, and where a carried state brings it, layer by layer.

    Antonyms stand apart, because their states travel at other layers than those of the rest.
    """
    depths = sorted(set(tried[tried["layer"] >= 0]["layer"]))
    depths = depths[len(depths) // 3 :]  # below, both are flat
    passed = sorted({*depths, looked["layer"].max()})
    seen = in_first_place(looked, SHOTS, passed)
    apart, choosing = "antonyms", tried[tried["draw"].isin(CHOOSING)]
    groups = {
        f"carried in: {apart}": [apart],
        "carried in: the other tasks": [task for task in TASKS if task != apart],
    }
    brought = {
        name: {at: interval(right(choosing, layer=at, task=tasks)) for at in depths}
        for name, tasks in groups.items()
    }
    (first, own), (best, rest) = map(_highest, brought.values())
    title = (
        f"A carried state brings {own:.2f} of the {apart} (layer {first}) and {rest:.2f} of the "
        f"rest\n(layer {best}), while the lens still sees {seen[best].mean:.2f}"
    )
    lines = {"the lens, 8 demonstrations": seen, **brought}
    figure = plots.whiskers_drawn(
        {"": lines}, title, x="layers passed", y="share of answers in first place"
    )
    figure.axes[0].axvline(best, color="black", **plots.DASHED)
    plots.show(
        figure,
        f"After {best} layers (dashed) the lens puts {seen[best].mean:.2f} of the answers first; a "
        f"state carried in there brings {rest:.2f} of those that are no {apart}, and at layer "
        f"{first} {own:.2f} of the {apart} (on the words that chose the layer).",
    )


def _highest(shares: Mapping[int, Interval]) -> tuple[int, float]:
    """The layer at which the largest share comes, and that share."""
    best = max(shares, key=lambda layer: shares[layer].mean)
    return best, shares[best].mean


def by_task(results: pd.DataFrame) -> pd.DataFrame:
    """What share each of `VECTORS` gets right, on words that did not serve to choose the layer."""
    return pd.DataFrame(reached(results)).map(lambda share: f"{share.mean:.2f}")


def tell_sizes(lm: LanguageModel, tuned: LanguageModel, shown: Sequence[Example]) -> float:
    """Print what the same facts take as text, cache and adapter; returns the cache's bytes."""
    text = plain(facts.TASK, shown, "")
    cache, adapter = cache_bytes(lm, count_tokens(lm.tokenizer, text)), taught_bytes(tuned)
    base = sum(weight.nbytes for weight in lm.model.parameters())
    print(
        f"{len(shown)} facts take {len(text.encode())} bytes as text, {cache / 1e6:.1f} MB in the "
        f"cache and {adapter / 1e6:.1f} MB in an adapter; the model itself takes "
        f"{base / 1e6:.0f} MB."
    )
    return cache


LESSON = "09_inside_the_model"


def found_here(
    lm: LanguageModel, tuned: LanguageModel, shown: Sequence[Example], start: str
) -> dict[str, tuple[str, str]]:
    """The findings of a run that began with the checksum `start`; prints what facts take."""
    same, cache = models.checksum(lm.model) == start, tell_sizes(lm, tuned, shown)
    return findings(same, cache, matrices.change(tuned, lm))


def findings(same: bool, cache: float, moved: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """What this run and the stored results say of the claims, and what else is to know.

    `same` says whether the base is unchanged, `cache` how many bytes eight facts leave in it, and
    `moved` how far an adapter moved each matrix.
    """
    kept = stored("ablation")
    fetched, stays = (
        lost(kept, f"facts, {where}", INDUCTIVE, SAME_LAYERS) for where in ("prompt", "weights")
    )
    weights = learned(kept, "weights")
    small, large = 100 * moved.relative.min(), 100 * moved.relative.max()
    differs = f"{stays:+.2f}" if stays.low < stays.high else "no answer differs"
    return {
        "I1": (f"base unchanged: {same}; {cache / 1e6:.1f} MB of cache", "They live in the cache."),
        "I2": (
            f"facts in the prompt, heads off minus rivals off: {fetched:+.2f}",
            "Heads fetch; a state carries the task.",
        ),
        "F1": (
            f"{len(moved)} matrices moved by {small:.1f} to {large:.1f} %",
            "With LoRA, beside the base.",
        ),
        "F2": (
            f"taught facts minus untaught: {weights:+.2f}",
            "They are recalled without a prompt.",
        ),
        "C2": (
            f"heads off minus rivals off: facts in the prompt {fetched:+.2f}, in the weights "
            f"{differs}",
            "One way breaks alone, but the prompt taught facts, too.",
        ),
    }


# Explorer and checks


def head_explorer(lm: LanguageModel, texts: Mapping[str, str], start: Head) -> Panel:
    """Choose a text, a token, a layer and a head; see what that head looks at from that token.

    `texts` maps a name to a prompt, and `start` is the head that is shown first.
    """
    tokens = {name: encode(lm.tokenizer, text) for name, text in texts.items()}
    seen = {name: heads.attention(lm, given) for name, given in tokens.items()}
    words = {name: [lm.tokenizer.decode([t]) for t in given] for name, given in tokens.items()}

    def show(text: str, tokens_before_the_last: int, layer: int, head: int) -> str:
        at = len(words[text]) - 1 - tokens_before_the_last
        shares = seen[text][layer, head, at]
        told = f"<p>From {escape(repr(words[text][at]))}:</p>"
        return told + "".join(map(_shaded, words[text], shares))

    first = next(iter(texts))
    shares = seen[first][start][-1]
    return explorer(
        show,
        f"An explorer of attention. First: layer {start[0]}, head {start[1]}, from the last token "
        f"to {words[first][shares.argmax()]!r} ({shares.max():.2f}).",
        text=list(texts),
        tokens_before_the_last=lambda text: (0, 0, len(words[text]) - 1),
        layer=(start[0], range(len(heads.layers(lm)))),
        head=(start[1], range(lm.model.config.num_attention_heads)),
    )


def _shaded(token: str, share: float) -> str:
    """A token on a ground that is the darker, the more is looked at it, with the share below."""
    text = f"{share:.2f}".removeprefix("0") if share >= 0.05 else "&nbsp;"
    visible = escape(token).replace("\n", "\\n")
    return (
        f"<span style='display:inline-block;margin:1px;padding:1px 3px;text-align:center;"
        f"font-family:monospace;white-space:pre;background:rgba(213,94,0,{share:.2f})'>{visible}"
        f"<br><small>{text}</small></span>"
    )


EARLY = 25  # of thirty layers; "Once upon a" has its next word in first place after 23


def check_early_answer(lm: LanguageModel, text: str | None, answer: str | None) -> None:
    """Check that the lens puts the text's next word first, for good, after `EARLY` layers."""
    attempted, problem, praise = None not in (text, answer), None, ""
    if attempted:
        prompt = encode(lm.tokenizer, "\n" + text.rstrip())
        word = encode(lm.tokenizer, " " + answer.strip())[0]
        _, (places,) = states.through_lens(lm, [prompt], [word])
        first = places == 0
        layer = len(first) - int(np.argmin(first[::-1])) if not first.all() else 0
        praise = f"{answer.strip()!r} is in first place from {layer} layers on."
        if not first[-1]:
            said = lm.tokenizer.decode(states.scores(lm, [prompt])[0].argmax())
            problem = f"the model itself says {said!r}; choose a text whose next word it knows."
        elif layer > EARLY:
            problem = f"{praise} Find a text that it knows by heart: {EARLY} layers or fewer."
    checks.tell(attempted, problem, praise)


def check_own_vector(
    carried: Callable,
    lm: LanguageModel,
    pairs: Sequence[tuple[str, str]] | None,
    asked: Sequence[tuple[str, str]] | None,
    layer: int | None,
) -> None:
    """Check that one state of the learner's own task brings more than the course's best task.

    `carried(lm, shown, asked, layer)` is the learner's piece. The state comes from the prompt of
    all pairs but the last, whose text is asked for.
    """
    goal = max(share.mean for share in reached(stored("vectors"))[OWN].values())
    attempted, problem, praise = None not in (pairs, asked, layer), None, ""
    if attempted:
        problem = _vector_problem(lm, pairs, asked, layer)
    if attempted and not problem:
        shown = row(
            lm, "\n" + "".join(f"{a} -> {b}\n" for a, b in pairs[:-1]) + pairs[-1][0] + " ->"
        )
        alone, brought = _first_tokens(carried, lm, shown, asked, layer)
        praise = (
            f"{brought:.2f} right with your state, {alone:.2f} without; the line is {goal:.2f}."
        )
        if brought <= max(goal, alone):
            problem = praise + " Try another layer first."
    checks.tell(attempted, problem, praise)


def _vector_problem(lm, pairs, asked, layer) -> str | None:
    if {a for a, _ in pairs} & {a for a, _ in asked}:
        return "a question stands among the pairs: ask for others."
    if len(pairs) < 4 or len(asked) < 6:
        return "give at least four pairs and six questions."
    if layer not in range(len(heads.layers(lm))):
        return f"choose a layer from 0 to {len(heads.layers(lm)) - 1}."
    return None


def _first_tokens(carried, lm, shown, asked, layer) -> tuple[float, float]:
    """The share of questions whose answer's first token comes first, alone and with the state."""
    alone, brought = [], []
    for text, label in asked:
        question = row(lm, f"\n{text} ->")
        token = encode(lm.tokenizer, f" {label}")[0]
        alone.append(states.scores(lm, question.tolist())[0].argmax().item() == token)
        brought.append(carried(lm, shown, question, layer).argmax().item() == token)
    return float(np.mean(alone)), float(np.mean(brought))

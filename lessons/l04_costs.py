"""Lesson 4: what the learner builds, and what teaching and asking take, one question at a time.

The base model is loaded and labelled examples are in hand; then the clocks start. Both stand beside
every number: seconds on the wall, and seconds of the processor, which other programs on the machine
disturb far less. The ways are asked in turns, question by question, so that a busy minute hits all
of them. Before any clock runs, one question is asked that is not counted: the first pass is slow.

`python -m lessons costs` and `… costs_prefill` make the stored results. In their rows `query`
counts from 1, and 0 is the teaching; `tokens` is what the model read, and `bytes` what has to be
kept. A `unit` is one of the two columns of seconds.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.stats import bootstrap
from transformers import Cache, LlamaConfig, LlamaForCausalLM, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from helpers import checks, cost, teaching
from helpers.compare import Interval, difference, interval, stored, where
from helpers.cost import Clock, count_flops
from helpers.curves import settings
from helpers.data import Example, Task, balanced_order, load_task, texts
from helpers.model import LanguageModel
from helpers.packing import shared_length
from helpers.prompts import count_tokens, encode, plain
from helpers.scoring import predict, score_labels
from helpers.study import Made, Study, digest
from helpers.teaching import ALL, SEEN, Way, passes, taught_bytes
from helpers.widgets import Panel, explorer, rows_table
from lessons import fair_costs, figures
from lessons.kept_prompt import Prompt

ASKED = {"zero-shot": 24, "prompt, kept": 100, "prompt, read anew": 8, "weights": 100}
WAYS = {
    "zero-shot": Way("zero-shot"),
    "prompt, kept": Way("prompt, kept", shown=ALL),
    "prompt, read anew": Way("prompt, read anew", shown=ALL),
    "weights": Way("weights", trained=ALL),
}
MERGED = "weights, merged"
TEACHING = 0  # the query's number in the row that holds the teaching
PROCESSOR = "processor_seconds"
PREFILLS = (1, 2, 4, 8, 16, 32, 64, 128, 178)  # demonstrations whose reading is timed


# What the learner builds: a kept prompt, the FLOPs of reading, the break-even


def split(
    lm: LanguageModel, task: Task, shown: Sequence[Example], queries: Sequence[str]
) -> tuple[list[int], list[list[int]]]:
    """The tokens that all these queries' prompts begin with, and what each query has behind."""
    wholes = [encode(lm.tokenizer, plain(task, shown, text)) for text in queries]
    shared = shared_length(wholes)
    return wholes[0][:shared], [whole[shared:] for whole in wholes]


@torch.no_grad()
def read(
    lm: LanguageModel, tokens: Sequence[int], cache: Cache | None = None, start: int = 0
) -> CausalLMOutputWithPast:
    """Read tokens, behind a cache if one is given; the first of them stands at place `start`.

    Reading adds the tokens to the cache. Only the last place is asked what comes next.
    """
    places = torch.arange(start, start + len(tokens), device=lm.device)[None]
    ids = torch.tensor([list(tokens)], device=lm.device)
    return lm.model(
        ids, past_key_values=cache, position_ids=places, use_cache=True, logits_to_keep=1
    )


def ask_behind(lm: LanguageModel, kept: Cache, shown: list[int], query: list[int]) -> torch.Tensor:
    """The scores of all possible next tokens after `shown`, whose cache is kept, and a query."""
    cache = copy.deepcopy(kept)
    behind = read(lm, query, cache, start=len(shown))
    return behind.logits[0, -1]


def _faulty_reader(mistake: str) -> Callable:
    """`ask_behind` with a mistake put in on purpose."""

    def piece(lm, kept, shown, query):
        cache = None if mistake == "no cache" else kept
        cache = kept if mistake == "no copy" else copy.deepcopy(cache)
        tokens = shown + query if mistake.startswith("twice") else query
        start = 0 if mistake.endswith("from 0") else len(shown)
        return read(lm, tokens, cache, start).logits[0, -1]

    return piece


LETTERS = Task(
    "letters",
    "{text}: {label}\n",
    (Example("rose", "A"), Example("tiger", "B"), Example("tulip", "A"), Example("horse", "B")),
    (),
    ("A", "B"),
    {"A": "A", "B": "B"},
)
TWO = ("daisy", "a very old wolf")


def _reader_trial(piece: Callable, lm: LanguageModel) -> list[float]:
    shown, queries = split(lm, LETTERS, LETTERS.train, TWO)
    kept = read(lm, shown).past_key_values
    answers = [piece(lm, kept, shown, query) for query in queries]
    after = [lm.tokenizer(f" {label}").input_ids[-1] for label in LETTERS.labels]
    return [p.item() for logits in answers for p in logits.float().log_softmax(-1)[after]]


ASK_BEHIND = checks.Build(
    own=ask_behind,
    trial=_reader_trial,
    truth=lambda lm: np.ravel([Prompt(lm, LETTERS, LETTERS.train).score(text) for text in TWO]),
    praise="your next-token numbers are those of the course's own kept prompt.",
    mistakes={
        "the second query stands behind the first: copy.deepcopy(kept) for each of them.": (
            _faulty_reader("no copy")
        ),
        "the query's first token does not stand at place 0, but behind all of `shown`.": (
            _faulty_reader("from 0")
        ),
        "the demonstrations are read a second time: behind the cache give only the query.": (
            _faulty_reader("twice")
        ),
        "the whole prompt is read behind its own cache: give only the query, at len(shown).": (
            _faulty_reader("twice, from 0")
        ),
        "the query is read without what was kept: give it a copy of the cache.": (
            _faulty_reader("no cache")
        ),
    },
)


def reading_flops(model: PreTrainedModel, tokens: float, cached: float = 0) -> float:
    """FLOPs of reading so many tokens behind cached ones, the head asked once."""
    layers = sum(2 * w.numel() for w in model.model.layers.parameters() if w.ndim == 2)
    head = 2 * model.lm_head.weight.numel()
    width = model.config.num_hidden_layers * model.config.hidden_size
    looking = 4 * width * tokens * (cached + tokens)
    return tokens * layers + head + looking


def _counted(
    layers: float = 2,
    head: float = 2,
    table: float = 0,
    everything: float = 0,
    heads: bool = False,
    looking: float = 4,
) -> Callable:
    """`reading_flops` with other factors; `heads`: the head is asked at every token."""

    def piece(model, tokens, cached=0):
        body = sum(w.numel() for w in model.model.layers.parameters() if w.ndim == 2)
        each = layers * body + table * model.get_input_embeddings().weight.numel()
        each += everything * sum(weight.numel() for weight in model.parameters())
        width = model.config.num_hidden_layers * model.config.hidden_size
        asked = head * model.lm_head.weight.numel() * (tokens if heads else 1)
        return each * tokens + asked + looking * width * tokens * (cached + tokens)

    return piece


def _small_model(lm: LanguageModel) -> LanguageModel:
    """A random model of two layers whose head is a matrix of its own."""
    sizes = {"hidden_size": 24, "intermediate_size": 40, "vocab_size": 50}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2}
    model = LlamaForCausalLM(LlamaConfig(**sizes, **heads, tie_word_embeddings=False))
    return replace(lm, model=model.eval(), device=torch.device("cpu"))


def _counted_by_torch(lm: LanguageModel) -> list[float]:
    small, tokens = _small_model(lm), list(range(9))
    cache = read(small, tokens[:4]).past_key_values
    alone = count_flops(lambda: read(small, tokens))
    return [alone, count_flops(lambda: read(small, tokens[4:], cache, 4))]


READING_FLOPS = checks.Build(
    own=reading_flops,
    trial=lambda piece, lm: [piece(_small_model(lm).model, *read) for read in ((9, 0), (5, 4))],
    truth=_counted_by_torch,
    praise="PyTorch's own counter says the same of a small model.",
    mistakes={
        "a number costs two FLOPs for each token: one multiplication and one addition.": (
            _counted(layers=1, head=1)
        ),
        "looking back multiplies and adds for the key, and again for the value: four FLOPs.": (
            _counted(looking=2)
        ),
        "the layers' numbers cost two FLOPs each, as the head's do.": _counted(layers=1),
        "the head's numbers cost two FLOPs each, as the layers' do.": _counted(head=1),
        "the head is forgotten: its matrix is multiplied too, once.": _counted(head=0),
        "only the last place is asked what comes next: add the head once.": _counted(heads=True),
        "the embedding is a table: a token's row is looked up there, and nothing multiplied.": (
            _counted(table=2)
        ),
        "those are all weights: the embedding is not multiplied, and the head only once.": (
            _counted(layers=0, head=0, everything=2)
        ),
    },
)


def break_even(once: float, each: float, other_once: float, other_each: float) -> float:
    """The number of queries from which the first way has cost less than the other."""
    saved = other_each - each
    if saved <= 0:
        return math.inf
    return max(0.0, (once - other_once) / saved)


BILLS = ((60, 0.25, 6, 1.5), (5, 1, 2, 1), (5, 3, 2, 1), (2, 1, 10, 4), (9, 0, 0, 2))

BREAK_EVEN = checks.Build(
    own=break_even,
    trial=lambda piece, _: [piece(*bill) for bill in BILLS],
    truth=lambda _: [cost.break_even(*bill) for bill in BILLS],
    praise="five pairs of ways cross where the course's own function says.",
    mistakes={
        "the other way costs something once as well: take it off.": (
            lambda once, each, _, other_each: break_even(once, each, 0, other_each)
        ),
        "a query costs something either way: what is saved is the difference.": (
            lambda once, each, other_once, other_each: break_even(once, 0, other_once, other_each)
        ),
        "the first way saves where the other's query costs more: turn the saving's sign.": (
            lambda once, each, other_once, other_each: break_even(
                once, other_each, other_once, each
            )
        ),
        "where nothing is saved, what was paid more once never comes back: return float('inf').": (
            lambda once, each, other_once, other_each: (
                0.0 if each >= other_each else break_even(once, each, other_once, other_each)
            )
        ),
    },
)


# Timing


class Service(NamedTuple):
    """A way that has been taught: what teaching read, what has to be kept, and a prompt to ask."""

    tokens: int
    bytes: int
    prompt: Callable[[], Prompt]


def serve(
    lm: LanguageModel,
    task: Task,
    drawn: Sequence[Example],
    label: str,
    seed: int = 0,
    seen: int = SEEN,
) -> Service:
    """Teach a draw in one of the `WAYS`.

    "prompt, kept": the demonstrations are read once, and their key/value cache stays in memory.
    "prompt, read anew": every question reads them; only their text is kept. "weights": LoRA, asked
    without demonstrations, the adapter beside the base. "zero-shot": nothing.
    """
    way = replace(WAYS[label], passes=passes(len(drawn), seen))
    taught = teaching.teach(lm, task, way, seed, [] if label == "zero-shot" else drawn)
    shown = taught.demonstrations
    if label == "prompt, read anew":
        return Service(0, len(plain(task, shown, "").encode()), lambda: Prompt(lm, task, shown))
    prompt = Prompt(taught.lm, task, shown)
    if label == "weights":
        return Service(taught.tokens, taught_bytes(taught.lm), lambda: prompt)
    if label == "zero-shot":
        return Service(0, 0, lambda: prompt)
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in prompt.cache.layers)
    return Service(len(prompt.tokens), held, lambda: prompt)


def timed(
    lm: LanguageModel,
    task: Task,
    drawn: Sequence[Example],
    seed: int,
    ways: Sequence[str] = tuple(WAYS),
    most: int = 100,
    seen: int = SEEN,
) -> list[dict]:
    """Teach a draw in each way, then ask one question after the other; a row for each.

    The order of the held-out questions is by seed, the same for all ways. A way gets as many as
    `ASKED` says, `most` at most, and then more until one is answered right.
    """
    Prompt(lm, task, []).score(task.held_out[0].text)  # the first pass is slow
    rows, services = [], {}
    for label in ways:
        with Clock() as clock:
            services[label] = serve(lm, task, drawn, label, seed, seen)
        kept = services[label]
        rows.append(_row(label, TEACHING, "", clock, kept.tokens, kept.bytes))
    asked = balanced_order(task.held_out, task.labels, seed)
    return rows + list(_served(lm, task, services, asked, most))


def _served(lm, task, services, asked, most) -> Iterator[dict]:
    """The questions in turn, each put to every way that is not done; a row for each answer."""
    ever_right = dict.fromkeys(services, False)
    for number, example in enumerate(asked, 1):
        for label, service in services.items():
            if number > min(ASKED[label], most) and ever_right[label]:
                continue
            with Clock() as clock:
                prompt, best = _asked(service, example.text)
            right = task.labels[best] == example.label
            ever_right[label] |= right
            whole = plain(task, prompt.demonstrations, example.text)
            kept = 0 if label == "prompt, read anew" else len(prompt.tokens)
            read = count_tokens(lm.tokenizer, whole) - kept
            yield _row(label, number, str(int(right)), clock, read, 0)
        if number >= most and all(ever_right.values()):
            return


def _asked(service: Service, text: str) -> tuple[Prompt, int]:
    prompt = service.prompt()
    return prompt, int(prompt.score(text).argmax())


def _row(label: str, query: int, right: str, clock: Clock, tokens: int, kept: int) -> dict:
    measure = "teaching" if query == TEACHING else "answers"
    answered = {"measure": measure, "right": right, "value": float(right) if right else ""}
    spent = {"seconds": clock.wall, PROCESSOR: clock.processor}
    return {"way": label, "query": query} | answered | spent | {"tokens": tokens, "bytes": kept}


def in_turns(
    services: Mapping[str, Callable], task: Task, asked: Sequence[Example]
) -> Iterator[tuple[str, bool, float]]:
    """Put every question to every service; its name, whether it is right, processor seconds.

    A service gives a text the scores of the task's labels.
    """
    for example in asked:
        for name, service in services.items():
            with Clock() as clock:
                said = task.labels[int(service(example.text).argmax())]
            yield name, said == example.label, clock.processor


def asked_in_turns(
    services: Mapping[str, Callable],
    trained: LanguageModel,
    task: Task,
    asked: Sequence[Example],
    at_once: int = 10,
) -> pd.DataFrame:
    """The share right of each service, and its median of processor seconds a query.

    After every ten questions the untaught service is asked them again, as "weights, merged": the
    adapter of `trained` is meanwhile added into the base's matrices, which both models share.
    """
    rows = []
    for begin in range(0, len(asked), at_once):
        some = asked[begin : begin + at_once]
        rows += in_turns(services, task, some)
        trained.model.merge_adapter()
        try:
            rows += in_turns({MERGED: services["untaught"]}, task, some)
        finally:
            trained.model.unmerge_adapter()
    table = pd.DataFrame(rows, columns=["way", "share right", "seconds a query"])
    by_way = table.groupby("way", sort=False)
    return by_way.agg({"share right": "mean", "seconds a query": "median"})


def costs_study(
    lm: LanguageModel,
    draws: int,
    shots: Sequence[int] = (8,),
    ways: Sequence[str] = tuple(WAYS),
    most: int = 100,
    task: str = "support_tickets",
) -> Study:
    """Draw `d` uses seed `d` for the examples, the training and the order of the questions."""
    given = load_task(task)

    def work(task: str, shots: int, draw: int) -> list[dict]:
        return timed(lm, given, given.draw(shots, draw), draw, ways, most)

    data = digest(given.template, given.instruction, *given.train, *given.held_out)
    settled = {"task": given.name, "asked": ASKED, "data": data, "settings": settings()}
    cells = [{"task": given.name, "shots": n, "draw": d} for d in range(draws) for n in shots]
    numbers = ["shots", "draw", "query", "seconds", PROCESSOR, "tokens", "bytes"]
    return Study(given.name, cells, work, settled, numbers)


MADE = {
    "costs": Made(55, costs_study),
    "costs_prefill": Made(40, partial(costs_study, shots=PREFILLS, ways=["prompt, kept"], most=2)),
    "fair_costs": Made(300, fair_costs.costs_study),
}


# What was spent in total


def spent(
    results: pd.DataFrame, way: str, shots: int, unit: str = PROCESSOR
) -> tuple[np.ndarray, np.ndarray]:
    """What a way took: for the teaching [draws], and on average for a query [draws].

    Raises `DataError` when the results hold no such rows.
    """
    rows = _rows(results, way, shots)
    taught = rows[rows["query"] == TEACHING].set_index("draw")[unit]
    asked = rows[rows["query"] > TEACHING].groupby("draw")[unit].mean()
    return taught.to_numpy(), asked.loc[taught.index].to_numpy()


def _rows(results: pd.DataFrame, way: str, shots: int) -> pd.DataFrame:
    return where(results, way=way, shots=shots).sort_values(["draw", "query"])


def crossing(results: pd.DataFrame, a: str, b: str, shots: int, unit: str = PROCESSOR) -> Interval:
    """The number of queries from which way `a` has cost less than `b`, with its 95 % interval.

    Only questions that both were asked count. The interval is over draws, resampled as pairs; 0
    means from the first query on, infinity never (see `cost.break_even`).
    """
    both = _rows(results, a, shots).merge(_rows(results, b, shots), on=["draw", "query"])
    sides = [f"{unit}_x", f"{unit}_y"]
    taught = both[both["query"] == TEACHING].set_index("draw")[sides]
    asked = both[both["query"] > TEACHING].groupby("draw")[sides].mean()
    columns = [part[side].to_numpy() for side in sides for part in (taught, asked)]

    def queries(*costs: np.ndarray, axis: int = -1) -> np.ndarray:
        means = np.stack([cost.mean(axis) for cost in costs], -1)
        return np.apply_along_axis(lambda mean: cost.break_even(*mean), -1, means)

    low, high = np.percentile(paired_bootstrap(queries, columns), (2.5, 97.5), method="nearest")
    return Interval(float(queries(*columns)), float(low), float(high))


def paired_bootstrap(statistic: Callable, columns: Sequence[np.ndarray]) -> np.ndarray:
    """The statistic of 4,000 new samples of the draws, the same draws for all columns [draws]."""
    options = {"paired": True, "n_resamples": 4000, "rng": 0, "method": "percentile"}
    with np.errstate(invalid="ignore"):  # of break-evens that are infinite scipy takes the spread
        samples = bootstrap(columns, statistic, **options)
    return samples.bootstrap_distribution


def merged(results: pd.DataFrame) -> pd.DataFrame:
    """The results with one way more, "weights, merged": the adapter added into the base's matrices.

    It is taught as the weights are, and then asked as the untaught model is, because it has the
    same shape. What it would answer is not in these rows, nor the moment that merging takes.
    """
    way, query = results["way"], results["query"]
    taught = results[(way == "weights") & (query == TEACHING)]
    asked = results[(way == "zero-shot") & (query > TEACHING)]
    return pd.concat([results, pd.concat([taught, asked]).assign(way=MERGED, right="")])


def until_right(results: pd.DataFrame, way: str, shots: int, unit: str = PROCESSOR) -> pd.DataFrame:
    """From the labelled examples in hand to the first right answer; a row per draw.

    The columns are `seconds` in the given unit, teaching and all questions up to the first that is
    answered right included, and `questions`, how many these were (infinity: none was).
    """
    waits = []
    for draw, rows in _rows(results, way, shots).groupby("draw"):
        right = rows["right"].eq("1").to_numpy()
        at = int(right.argmax()) if right.any() else math.inf
        seconds = float(rows[unit].iloc[: at + 1].sum()) if right.any() else math.inf
        waits.append((draw, seconds, at))
    return pd.DataFrame(waits, columns=["draw", "seconds", "questions"]).set_index("draw")


def share_right(results: pd.DataFrame, way: str, shots: int) -> np.ndarray:
    """The share of its questions that a way answered right [draws]."""
    rows = _rows(results, way, shots)
    asked = rows[rows["query"] > TEACHING]
    return asked["right"].eq("1").groupby(asked["draw"]).mean().to_numpy()


class Spent(NamedTuple):
    """What a way costs once and for each query, and the share that it answers right."""

    once: float
    each: float
    share: float


def means(results: pd.DataFrame, shots: int, unit: str = PROCESSOR) -> dict[str, Spent]:
    """What every way took in the mean of all draws."""
    costs = {}
    for way in WAYS:
        taught, asked = spent(results, way, shots, unit)
        right = share_right(results, way, shots).mean()
        costs[way] = Spent(float(taught.mean()), float(asked.mean()), float(right))
    return costs


def totals(
    results: pd.DataFrame, way: str, shots: int, queries: Sequence[int], unit: str = PROCESSOR
) -> np.ndarray:
    """Teaching and so many queries together: an array [4, numbers of queries].

    Its rows are the numbers of queries, the means over draws, and the bounds of their 95 %
    intervals.
    """
    once, each = spent(results, way, shots, unit)
    totals = [interval(once + each * number) for number in queries]
    return np.array([[n, *total] for n, total in zip(queries, totals, strict=True)]).T


def tell_reading(prefill: pd.DataFrame) -> None:
    """Print the seconds that reading few and most tickets takes, and a query behind them.

    `prefill` has a row for each number of tickets and query: 0 reads, 1 is asked behind.
    """
    for n in (8, 178):
        read, then = (prefill.processor_seconds[n, query] for query in (0, 1))
        print(f"Reading {n} tickets takes {read:.1f} s, and a query behind them {then:.2f} s.")


def show_totals(results: pd.DataFrame, shots: int = 8) -> float:
    """Draw what teaching and queries cost for each query so far, by the number of queries.

    Returns the number from which the weights have cost less than a prompt read anew.
    """
    both, ways = merged(results), ("prompt, read anew", "prompt, kept", "weights", MERGED)
    anew, kept = (crossing(both, "weights", way, shots) for way in ways[:2])
    late = crossing(both, MERGED, "prompt, kept", shots)
    last = max([10_000, *(8 * at.mean for at in (anew, late) if at.mean < math.inf)])
    queries = np.unique(np.geomspace(1, last, 60).astype(int))
    curves = {}
    for way in ways:
        numbers, *spent_so_far = totals(both, way, shots, queries)
        curves[way] = numbers, *(part / numbers for part in spent_so_far)
    marks = {
        f"{at.mean:,.0f} queries": (at.mean, np.interp(at.mean, *curves[way][:2]))
        for way, at in (("weights", anew), (MERGED, late))
        if 0 < at.mean < math.inf
    }
    figures.growth(
        {"": curves},
        "queries",
        ["processor seconds per query"],
        f"Training pays {pays_from(anew.mean)} against a prompt read anew;\n"
        f"merged, {pays_from(late.mean)} against a kept one",
        f"Trained weights cost less than a prompt read anew {pays_from(anew.mean)} "
        f"({_bounds(anew)}), and less than a kept prompt {pays_from(kept.mean)} ({_bounds(kept)}); "
        f"merged, as assumed, {pays_from(late.mean)}.",
        {"": marks},
    )
    return float(np.round(anew.mean))


def pays_from(queries: float) -> str:
    """A break-even in words."""
    return f"from query {queries:,.0f} on" if queries < math.inf else "never"


def _bounds(at: Interval) -> str:
    low, high = (f"{n:,.0f}" if n < math.inf else "never" for n in at[1:])
    return f"95 % interval {low} to {high}"


# Prices


class Prices(NamedTuple):
    """What a learner pays, in any currency. The defaults are examples and nobody's offer."""

    token: float = 1.0  # for a million tokens that somebody else's model reads
    kept: float = 0.1  # share of that price for tokens that it kept from the query before
    gpu_hour: float = 2.0
    training_hours: float = 1.0
    serving_hours: float = 24.0  # a day on which the GPU stands by


def bills(
    shots: int, shot_tokens: int, per_day: int, prices: Prices, query_tokens: int = 50
) -> dict[str, tuple[float, float]]:
    """What each way costs once and for each query, in money.

    A prompt is paid by the token that somebody else's model reads; weights of one's own need a GPU
    for training and, on each of its serving hours, for queries, however few come. The tokens of
    the answer are left out: they are as many either way.
    """
    shown, token = shots * shot_tokens, prices.token / 1e6
    standing = prices.serving_hours * prices.gpu_hour / per_day
    return {
        "prompt, read anew": (0.0, (shown + query_tokens) * token),
        "prompt, kept": (shown * token, (prices.kept * shown + query_tokens) * token),
        "weights": (prices.training_hours * prices.gpu_hour, standing),
    }


def cheapest(bills: Mapping[str, tuple[float, float]], queries: float) -> str:
    """The way whose total over so many queries is the lowest."""
    return min(bills, key=lambda way: bills[way][0] + bills[way][1] * queries)


# Explorer and checks


def cost_explorer() -> Panel:
    """Give a job's size and your own prices; see what each way costs, and when weights pay off."""
    names = {
        "price_of_a_million_tokens": "token",
        "share_of_it_for_kept_tokens": "kept",
        "price_of_a_GPU_hour": "gpu_hour",
        "GPU_hours_of_training": "training_hours",
        "GPU_hours_of_serving_a_day": "serving_hours",
    }
    usual = Prices()

    def show(demonstrations: int, tokens_each: int, queries_a_day: int, **prices: float) -> str:
        paid = Prices(**{names[name]: price for name, price in prices.items()})
        costs = bills(demonstrations, tokens_each, queries_a_day, paid)
        month = 30 * queries_a_day
        best = cheapest(costs, month)
        rows = [
            (
                f"{way}{' ★' if way == best else ''}",
                f"{once:,.4g}",
                f"{each * 1000:,.4g}",
                f"{once + each * month:,.2f}",
            )
            for way, (once, each) in costs.items()
        ]
        head = ("way", "once", "1,000 queries", "30 days")
        against = [_against(way, costs, queries_a_day) for way in costs if way != "weights"]
        return "".join(
            ("<p>Example numbers: put in your own.</p>", rows_table(rows, head), *against)
        )

    return explorer(
        show,
        "An explorer of costs, in a live notebook.",
        demonstrations=(32, 1, 10_000),
        tokens_each=(40, 1, 100_000),
        queries_a_day=(10_000, 1, 10**9),
        **{name: (getattr(usual, key), 0.0, 1e6) for name, key in names.items()},
    )


def _against(way: str, costs: Mapping[str, tuple[float, float]], per_day: int) -> str:
    queries = cost.break_even(*costs["weights"], *costs[way])
    return f"<p>Weights against the {way}: {_pays_off(queries, per_day)}</p>"


def _pays_off(queries: float, per_day: int) -> str:
    if queries == math.inf:
        return "never cheaper at so many queries a day."
    return f"cheaper from query {queries:,.0f} on, after {queries / per_day:,.1f} days."


def check_tokens(
    lm: LanguageModel,
    task: Task,
    shown: Sequence[Example],
    message: str | None,
    answers: tuple[float | None, float | None],
) -> None:
    """Check how many tokens a hundred messages make the model read: shown anew, and kept."""
    if not message:
        checks.tell(False, None, "")
        return
    kept, (query, _) = split(lm, task, shown, [message, f"0{message}"])
    sizes = len(kept), len(query)
    if None in answers:
        problem = f"your message has {sizes[1]} tokens behind {sizes[0]} that are shown; go on."
        checks.tell(True, problem, "")
        return
    truth = 100 * sum(sizes), sizes[0] + 100 * sizes[1]
    mistakes = {
        "the two are the wrong way round.": truth[::-1],
        "kept demonstrations are read once, not at every message.": (truth[0], truth[0]),
        "kept demonstrations have to be read once, too.": (truth[0], 100 * sizes[1]),
        "that is one message; ask a hundred.": (sum(sizes), sum(sizes)),
    }
    given = tuple(map(float, answers))
    otherwise = f"shown are {sizes[0]} tokens, and your message has {sizes[1]} more."
    problem = next((text for text, wrong in mistakes.items() if given == wrong), otherwise)
    praise = f"{truth[0]:,} tokens or {truth[1]:,}; keeping spares {1 - truth[1] / truth[0]:.0%}."
    checks.tell(True, None if given == truth else problem, praise)


def price_of_right(
    lm: LanguageModel, task: Task, shown: Sequence[Example], queries: int = 100
) -> tuple[float, float]:
    """GFLOP for each right answer of a kept prompt over so many queries, and the share right.

    The share is that of all held-out texts.
    """
    kept, asked = split(lm, task, shown, texts(task.held_out))
    once = reading_flops(lm.model, len(kept)) if kept else 0.0
    each = np.mean([reading_flops(lm.model, len(query), len(kept)) for query in asked])
    said = predict(task, score_labels(lm, task, shown, texts(task.held_out)))
    truth = [example.label for example in task.held_out]
    share = float(np.mean(np.array(said) == truth))
    return (once + queries * each) / max(queries * share, 1e-9) / 1e9, share


def check_cheaper(
    lm: LanguageModel, task: Task, pairs: Sequence[tuple[str, str]] | None, goal: float
) -> None:
    """Check that learners' own demonstrations make a right answer cheaper than `goal` GFLOP."""
    problem, praise = None, ""
    if pairs:
        problem = _pairs_problem(task, pairs)
    if pairs and not problem:
        price, share = price_of_right(lm, task, [Example(*pair) for pair in pairs])
        praise = f"{price:.3f} GFLOP for a right answer, below {goal:.3f}; {share:.2f} are right."
        if price >= goal:
            problem = (
                f"a right answer costs {price:.3f} GFLOP, and less than {goal:.3f} is asked for; "
                f"{share:.2f} are right behind your {len(pairs)} words."
            )
    checks.tell(bool(pairs), problem, praise)


def _pairs_problem(task: Task, pairs: Sequence[tuple[str, str]]) -> str | None:
    """What is wrong with the form of the pairs, before the model is asked."""
    if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
        return 'my_words holds pairs such as ("lion", "animal"), each in its own brackets.'
    asked = set(texts(task.held_out))
    for word, label in pairs:
        if label not in task.labels:
            return f"{label!r} is no kind; the kinds are {', '.join(task.labels)}."
        if word in asked:
            return f"{word!r} is one of the words that are asked, so its answer would be copied."
    return None


def check_break_even(
    taught: tuple[float, float], shown: tuple[float, float], queries: float | None
) -> None:
    """Check from how many queries on a taught way is cheaper than a shown one.

    Each way is (what it costs once, what it costs for each query), in one unit.
    """
    (once, each), (other_once, other_each) = taught, shown
    truth = cost.break_even(*taught, *shown)
    forgotten = {
        "the shown way costs something once as well; take it off.": once / (other_each - each)
    }
    checks.judge(
        queries,
        truth,
        f"from query {truth:,.0f} on the taught way is cheaper.",
        "at {answer:,.0f} queries the two totals are not equal.",
        {
            "the taught way's own queries cost something too.": once / other_each,
            "the sign is wrong: what is paid more once is saved query by query.": -truth,
        }
        | (forgotten if other_once else {}),
        within=0.51,  # whole or not
    )


# What the lesson found

LESSON = "04_speed_and_cost"


def findings(results: pd.DataFrame, shots: int = 8) -> dict[str, tuple[str, str]]:
    """For each claim of the lesson what the stored results measured, and what else is to know."""
    prompt, weights, anew = "prompt, kept", "weights", "prompt, read anew"
    once = {way: spent(results, way, shots)[0] for way in (prompt, weights)}
    each = {way: spent(results, way, shots)[1] for way in (anew, weights)}
    until = {way: until_right(results, way, shots).seconds for way in (prompt, weights)}
    times, training = interval(once[weights] / once[prompt]), interval(once[weights])
    later, quick = interval(until[weights] - until[prompt]), interval(until[prompt])
    slower = interval(each[anew] - each[weights])
    gap = difference(stored("support_tickets"), "in-context", "zero-shot", shots=shots)
    pays = [crossing(merged(results), MERGED, way, shots) for way in (anew, prompt)]
    return {
        "F6": (
            f"{times:,.0f} times the prompt's teaching; {training:,.0f} s",
            "Many times more, but a small model is trained in a minute or two.",
        ),
        "I5": (
            f"first right after {quick:.1f} s",
            f"First answer soon. Prompt minus zero-shot, share right: {gap}.",
        ),
        "K3": (
            f"first right answer {later:,.0f} s later",
            f"The wait is in teaching; at each query a prompt read anew takes {slower:.1f} s more.",
        ),
        "K4": (
            f"merged, pays from query {pays[0]:,.0f} (prompt read anew) or {pays[1]:,.0f} (kept)",
            "It turns on whether the cache is kept. That merged weights cost what untaught ones "
            "do is assumed.",
        ),
    }

"""Lesson 5: what stays of what was taught, what a change takes, and what else is forgotten.

First the pieces that learners build: the measure of forgetting, replay, and the look-up of a line.

`python -m lessons facts`, `updates` and `forgetting` make the stored results of these names, and
`updates_often`, `forget_less` and `third_way` those of `updating`;
`python -m lessons.l05_memory` asks for one draw of facts in a process of its own.

Ten policies of an invented company are taught; then one of them changes. A way of updating has
succeeded when the new answer is likelier than the old one and the model writes it.
"""

import argparse
import json
import math
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from helpers import adapters, checks, compare, finetune, plots
from helpers import model as models
from helpers.compare import Interval, interval, scored, values, where
from helpers.cost import Clock
from helpers.data import DATA, DataError, Example, load_rows, load_task, texts
from helpers.finetune import Encoded
from helpers.model import LanguageModel, ModelError
from helpers.prompts import encode
from helpers.scoring import answer
from helpers.study import Made, Study, digest
from helpers.teaching import LORA
from helpers.widgets import Panel, explorer, rows_table
from lessons import facts, stays, updating
from lessons.english import neutral_lines, neutral_loss
from lessons.facts import PASSES, choose, draw, recall, statements, teach, train_on

BOTH_WAYS = ("forward", "reversed")
WAYS = {  # what stands in the prompt, and what is trained: the ways in which facts are told
    "untaught": ((), ()),
    "prompt": (("forward",), ()),
    "weights": ((), ("forward",)),
    "prompt, both directions": (BOTH_WAYS, ()),
    "weights, both directions": ((), BOTH_WAYS),
}
LATER = ", new process"  # the same, after the session has ended
FACTS = 16  # in a draw
RANKS = (2, 8, 32)
CHECKPOINTS = (4, 8, 16)  # steps of training after which forgetting is measured
OTHER_TASK, SHOTS, ITEMS = "past_tense", 4, 20  # what may be forgotten
MOST_STEPS = 32  # of retraining on a change
GUESS = 1 / facts.BLOCK  # the share that is right by guessing
ALONE, SWAPPED = "weights, trained on the change", "weights, adapter swapped"
CHANGED_BY = ("prompt, line replaced", "prompt, line added", ALONE, SWAPPED)
SETTINGS = {"passes": PASSES, "rate": LORA.rate, "batch": LORA.batch, "rank": LORA.rank}


# Pieces that learners build


def mean_nats(lm: LanguageModel, lines: Sequence[str]) -> float:
    nats = []
    for line in lines:
        tokens = torch.tensor([lm.tokenizer(line).input_ids], device=lm.device)
        with torch.no_grad():
            log_p = lm.model(tokens).logits[0].float().log_softmax(-1)
        places = range(1, tokens.shape[1])
        nats += [-log_p[i - 1, tokens[0, i]].item() for i in places]
    return sum(nats) / len(nats)


def _mean_nats_with(
    lm: LanguageModel, lines: Sequence[str], shift: int = 1, gather: Callable = np.concatenate
) -> float:
    """The piece with another row for each token, or with another end."""
    losses = []
    for line in lines:
        tokens = torch.tensor([encode(lm.tokenizer, line)], device=lm.device)
        with torch.no_grad():
            log_p = lm.model(tokens).logits[0].float().log_softmax(-1)
        places = np.arange(1, tokens.shape[1])
        losses.append(-log_p[places - shift, tokens[0, places]].cpu().numpy())
    return float(gather(losses))


TWO_LINES = ["The bus was late.", "Tea is hot, and the cup on the table is cold today."]

MEAN_NATS = checks.Build(
    own=mean_nats,
    trial=lambda piece, lm: piece(lm, TWO_LINES),
    truth=lambda lm: neutral_loss(lm, TWO_LINES),
    praise="your number is that of the course's english.neutral_loss.",
    mistakes={
        "that is the sum: divide by how many tokens were foretold.": partial(
            _mean_nats_with, gather=lambda losses: np.concatenate(losses).sum()
        ),
        "each token is looked up in its own row, which has already read it: take row i - 1.": (
            partial(_mean_nats_with, shift=0, gather=lambda losses: np.concatenate(losses).mean())
        ),
        "that is the perplexity, e to the power of the mean: return the mean itself, in nats.": (
            partial(_mean_nats_with, gather=lambda losses: np.exp(np.concatenate(losses).mean()))
        ),
        "divide by the number of tokens, not by that of the lines.": partial(
            _mean_nats_with, gather=lambda losses: np.concatenate(losses).sum() / len(losses)
        ),
    },
)


def with_replay(new: Sequence, old: Sequence, share: float, rng: np.random.Generator) -> list:
    count = round(len(new) * share / (1 - share))
    replayed = [old[i] for i in rng.permutation(len(old))[:count]]
    rows = [*new, *replayed]
    return [rows[i] for i in rng.permutation(len(rows))]


MIXED = ((4, 0.5), (2, 0.75), (4, 0.0))  # new lines, and the share of earlier text
MIXES = 12  # of each are looked at
KINDS = (True, False)  # new, old


def _replay_trial(piece: Callable, _) -> list[float]:
    old = [f"old {i}" for i in range(len(updating.REPLAYED))]
    numbers = []
    for lines, share in MIXED:
        new, rng = [f"new {i}" for i in range(lines)], np.random.default_rng(0)
        mixes = [piece(new, old, share, rng) for _ in range(MIXES)]
        numbers += _looks_of([[(row[:3] == "new", row) for row in mix] for mix in mixes])
    return numbers


def _replay_truth(lm: LanguageModel) -> list[float]:
    """The same of `updating.batches`, which replays plain English: its rows count all tokens."""
    numbers = []
    for lines, share in MIXED:
        new = statements(load_rows("invented_facts")[:lines])
        endless = updating.batches(lm, new, [], share, np.random.default_rng(0))
        mixes = list(islice(endless, MIXES))
        numbers += _looks_of([[(row.start > 1, tuple(row.tokens)) for row in mix] for mix in mixes])
    return numbers


def _looks_of(mixes: Sequence[Sequence[tuple[bool, object]]]) -> list[float]:
    """What mixes of (is it new, row) look like, as numbers.

    How many rows, new ones, different new ones and old ones; whether the first row changes from mix
    to mix, and whether the old ones do.
    """
    new, old = ([[row for is_new, row in mix if is_new == kind] for mix in mixes] for kind in KINDS)
    counts = [len(mixes[0]), len(new[0]), len(set(new[0])), len(old[0])]
    firsts = {tuple(mix[:1]) for mix in mixes}
    return [*counts, len(firsts) > 1, len(set(chain(*old))) > len(old[0])]


def _replay_with(change: Callable) -> Callable:
    """`with_replay` whose rows are what `change(new, old, count, rng)` gives."""

    def piece(new, old, share, rng):
        return change(list(new), list(old), round(len(new) * share / (1 - share)), rng)

    return piece


WITH_REPLAY = checks.Build(
    own=with_replay,
    trial=_replay_trial,
    truth=_replay_truth,
    praise="as many rows of each kind as in the course's own mixing, and well shuffled.",
    mistakes={
        "`share` is the old rows' share of all rows, not of the new ones: divide by 1 - share.": (
            lambda new, old, share, rng: with_replay(new, old, share / (1 + share), rng)
        ),
        "only new rows are replayed: take the others from `old`.": _replay_with(
            lambda new, old, count, rng: rng.permutation(new + (9 * new)[:count]).tolist()
        ),
        "the new rows always stand first: shuffle all rows.": _replay_with(
            lambda new, old, count, rng: new + rng.permutation(old)[:count].tolist()
        ),
        "the new rows are gone, so the fact is never learnt: rows are `new` and `replayed`.": (
            _replay_with(lambda new, old, count, rng: rng.permutation(old)[:count].tolist())
        ),
    },
)


def words(text: str) -> set[str]:
    """The different words of a text, in small letters."""
    return set(re.findall(r"\w+", text.lower()))


def likeness(question: str, lines: Sequence[str]) -> list[float]:
    bags, scores = [words(line) for line in lines], []
    for bag in bags:
        score = 0.0
        for word in bag & words(question):
            holding = sum(word in other for other in bags)
            score += math.log(len(bags) / holding)
        scores.append(score)
    return scores


def _likeness_with(
    question: str,
    lines: Sequence[str],
    shared: Callable = set.intersection,
    holding: Callable = lambda word, bag, bags: sum(word in other for other in bags),
    weight: Callable = lambda n, lines: math.log(lines / n),
) -> list[float]:
    """The piece with other things in its blanks."""
    bags = [words(line) for line in lines]
    return [
        sum(weight(holding(w, bag, bags), len(bags)) for w in shared(words(question), bag))
        for bag in bags
    ]


def _asked_and_lines() -> tuple[list[str], list[str]]:
    known = load_rows("invented_facts")[:16]
    return [fact["paraphrase"] for fact in known[::3]], written_out(known)


def written_out(known: Sequence[dict]) -> list[str]:
    """The facts as lines of text, each with its answer."""
    return [f"{line.text} {line.label}" for line in statements(known)]


def _likeness_truth(_) -> np.ndarray:
    """What scikit-learn's TF-IDF makes of it; its rarity of a word is ours plus 1."""
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

    asked, lines = _asked_and_lines()
    counter = CountVectorizer(binary=True, token_pattern=r"\w+")
    weigher = TfidfVectorizer(binary=True, token_pattern=r"\w+", norm=None, smooth_idf=False)
    counts = counter.fit_transform(lines)
    weights = weigher.fit_transform(lines) - counts
    return (counter.transform(asked) @ weights.T).toarray().ravel()


LIKENESS = checks.Build(
    own=likeness,
    trial=lambda piece, _: [
        n for q in _asked_and_lines()[0] for n in piece(q, _asked_and_lines()[1])
    ],
    truth=_likeness_truth,
    praise="your scores are those of scikit-learn's TF-IDF.",
    mistakes={
        "count only those words of the line that the question has too.": partial(
            _likeness_with, shared=lambda asked, bag: bag
        ),
        "`|` gives the words of either side, and some stand in no line: take `&`.": partial(
            _likeness_with, shared=set.union
        ),
        "every shared word counts the same: in how many of `bags` does it stand?": partial(
            _likeness_with, weight=lambda n, lines: 1.0
        ),
        "that is how many words the line has: count the bags that hold the word.": partial(
            _likeness_with, holding=lambda word, bag, bags: len(bag)
        ),
        "upside down: divide the number of lines by that of the lines with the word.": partial(
            _likeness_with, weight=lambda n, lines: math.log(n / lines)
        ),
        "take the logarithm, so that a word of every line counts nothing.": partial(
            _likeness_with, weight=lambda n, lines: lines / n
        ),
    },
)


# What is recalled, and what stays when the session ends


def in_new_process(lm: LanguageModel, count: int, seed: int, adapter: str | Path) -> list[dict]:
    """Ask for a draw of facts, forward, in a new Python process: it has only what is on disk.

    Returns rows as `recall` does: of the base, which has lost its prompt, and with the adapter.
    Raises `ModelError` when the process fails.
    """
    command = [sys.executable, "-m", "lessons.l05_memory", "--model", lm.name]
    command += ["--facts", str(count), "--seed", str(seed), "--adapter", str(adapter)]
    done = subprocess.run(command, cwd=DATA.parent, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise ModelError(f"The new process failed: {last}")
    return json.loads(done.stdout.splitlines()[-1])


def measure_facts(
    lm: LanguageModel, known: Sequence[dict], count: int, way: str, seed: int
) -> list[dict]:
    """Teach one draw in one of the `WAYS` and ask for it in all ways of asking.

    Trained once on facts told forward, a new process is asked as well, once the adapter is saved.
    """
    drawn = draw(known, count, seed)
    shown, trained = (statements(drawn, directions) for directions in WAYS[way])
    if not trained:
        return [row | {"training_loss": 0.0} for row in recall(lm, drawn, way, shown)]
    taught = teach(lm, trained, seed)
    rows = recall(taught.lm, drawn, way)
    if way == "weights":
        with tempfile.TemporaryDirectory() as scratch:
            adapters.save(taught.lm, Path(scratch, "adapter"))
            rows += in_new_process(lm, count, seed, Path(scratch, "adapter"))
    return [row | {"training_loss": taught.losses.tail(3).mean()} for row in rows]


def facts_study(lm: LanguageModel, draws: int, count: int = FACTS) -> Study:
    """All ways on every draw; those that are told twice as much come at the end."""
    known, names = load_rows("invented_facts"), list(WAYS)
    cells = [
        {"draw": d, "way": way}
        for group in (names[:3], names[3:])
        for d in range(draws)
        for way in group
    ]
    settled = {"task": "facts", "questions": count, "data": digest(*known), "settings": SETTINGS}

    def work(draw: int, way: str) -> list[dict]:
        return measure_facts(lm, known, count, way, draw)

    return Study("facts", cells, work, settled, ["draw", "value", "training_loss"])


# What a change takes


def changed(policies: Sequence[dict], number: int) -> list[dict]:
    """The policies after one has changed: its new answer is right and its old one wrong."""
    old = policies[number]
    wrong = [old["answer"], *(w for w in old["distractors"] if w != old["new_answer"])]
    new = old | {"answer": old["new_answer"], "distractors": wrong}
    return [*policies[:number], new, *policies[number + 1 :]]


def holds(
    lm: LanguageModel, policies: Sequence[dict], number: int, shown: Sequence[Example] = ()
) -> dict:
    """What the model holds of changed policies, as numbers from 0 to 1.

    `ranked`: the new answer is likelier than the old; `written`: the model writes it; `others`: the
    unchanged policies that are right by choice, and `others_written` when written. `answer` is the
    text written for the changed one.
    """
    said = facts.write(lm, policies, shown=shown)
    written = np.array(said) == [policy["answer"] for policy in policies]
    chosen = choose(lm, policies, shown=shown)
    state = {"ranked": int(chosen[number]), "written": int(written[number]), "answer": said[number]}
    others = (float(np.delete(right, number).mean()) for right in (chosen, written))
    return state | dict(zip(("others", "others_written"), others, strict=True))


def updated_in_every_way(lm: LanguageModel, policies: Sequence[dict], number: int) -> list[dict]:
    """Teach all policies, change one, and bring it to the model in each way; rows of measures.

    `seconds` are processor seconds from the change to the answer, with the question asked once;
    `steps` and `examples` are those of training. Retraining ends when the new answer is likelier
    than the old one and written, or after `MOST_STEPS`. `made` are the seconds that training the
    other adapter took beforehand.
    """
    after, states = changed(policies, number), []
    old_lines, new_lines = statements(policies), statements(after)
    policy, change = [after[number]], [new_lines[number]]

    def add(way: str, lm: LanguageModel, work: Callable[[], object] = tuple, shown=(), **more):
        with Clock() as clock:
            work()
            facts.write(lm, policy, shown=shown)
        row = {"way": way, "steps": 0, "examples": 0, "seconds": clock.processor, "made": 0.0}
        states.append(row | more | holds(lm, after, number, shown))

    add("prompt, before", lm, shown=old_lines)
    add("prompt, line replaced", lm, shown=new_lines)
    add("prompt, line added", lm, shown=[*old_lines, *change])
    with tempfile.TemporaryDirectory() as scratch:
        old, new = Path(scratch, "old"), Path(scratch, "new")
        adapters.save(teach(lm, old_lines, number).lm, old)
        made = teach(lm, new_lines, number)
        adapters.save(made.lm, new)
        add("weights, before", adapters.load(lm, old))
        for way, lines in (("the change", change), ("all policies", new_lines)):
            tuned = adapters.load(lm, old)
            steps, seconds = _train_until(tuned, lines, policy, number)
            more = {"steps": steps, "examples": steps * min(len(lines), LORA.batch)}
            add(f"weights, trained on {way}", tuned, **more)
            states[-1]["seconds"] += seconds
        tuned = adapters.load(lm, old)
        tuned.model.load_adapter(new, "new")
        swap = {"work": lambda: tuned.model.set_adapter("new"), "made": made.processor}
        add("weights, adapter swapped", tuned, **swap)
    return [row for state in states for row in _rows_of(state)]


def _rows_of(state: dict) -> list[dict]:
    """A row for each measure of what the model holds; the answer written stands once."""
    measures = ("ranked", "written", "others", "others_written")
    same = {key: value for key, value in state.items() if key not in measures}
    rows = []
    for measure in measures:
        right = str(state[measure]) if measure in measures[:2] else ""
        said = same["answer"] if measure == "written" else ""
        measured = {"measure": measure, "right": right, "value": state[measure]}
        rows.append(same | measured | {"answer": said})
    return rows


def _train_until(lm: LanguageModel, lines, policy, seed: int) -> tuple[int, float]:
    """Train on until the policy's answer is likeliest and written; steps and processor seconds."""
    training, steps, total = train_on(lm, lines, MOST_STEPS, seed), 0, 0.0
    while steps < MOST_STEPS:
        with Clock() as clock:
            next(training)
        steps, total = steps + 1, total + clock.processor
        if choose(lm, policy)[0] and facts.write(lm, policy) == [policy[0]["answer"]]:
            break
    return steps, total


def updates_study(lm: LanguageModel, draws: int) -> Study:
    """Draw `d` changes policy `d` and trains with seed `d`."""
    policies = load_rows("changed_policies")
    data, settings = digest(*policies), SETTINGS | {"most_steps": MOST_STEPS}
    settled = {"task": "updates", "questions": None, "data": data, "settings": settings}

    def work(draw: int) -> list[dict]:
        rows = updated_in_every_way(lm, policies, draw)
        return [{"policy": policies[draw]["id"]} | row for row in rows]

    cells = [{"draw": d} for d in range(min(draws, len(policies)))]
    numbers = ["draw", "steps", "examples", "seconds", "value", "made"]
    return Study("updates", cells, work, settled, numbers)


# What else is forgotten


def unharmed(lm: LanguageModel, taught: Sequence[dict], seed: int) -> list[dict]:
    """What is known of taught facts, and of what was never taught: plain English, another task.

    A row for each measure; that of plain English is in nats per token.
    """
    task = load_task(OTHER_TASK)
    asked = task.held_out[:ITEMS]
    said = answer(lm, task, task.draw(SHOTS, seed), texts(asked))
    right = [text == example.label for text, example in zip(said, asked, strict=True)]
    numbers = {
        "facts": float(choose(lm, taught).mean()),
        "neutral": neutral_loss(lm, neutral_lines()),
    }
    rows = [{"measure": name, "right": "", "value": value} for name, value in numbers.items()]
    return [scored(right, OTHER_TASK), *rows]


def measure_forgetting(
    lm: LanguageModel, known: Sequence[dict], count: int, rank: int, seed: int
) -> list[dict]:
    """Teach one draw of facts, and look at each of `CHECKPOINTS` what else has changed.

    Rank 0 is the base, which is asked once.
    """
    drawn = draw(known, count, seed)
    if not rank:
        base = {"steps": 0, "way": "untaught", "loss": 0.0}
        return [base | row for row in unharmed(lm, drawn, seed)]
    tuned = finetune.with_adapter(lm, rank, seed)
    return [
        {"steps": record["step"], "way": "weights", "loss": record["loss"]} | row
        for record in train_on(tuned, statements(drawn), CHECKPOINTS[-1], seed)
        if record["step"] in CHECKPOINTS
        for row in unharmed(tuned, drawn, seed)
    ]


def forgotten(results: pd.DataFrame, measure: str, rank: int, steps: int) -> np.ndarray:
    """How much `measure` of a stored result moved from the base, draw by draw, as [draws]."""
    rows = where(results, measure=measure)
    after = where(rows, rank=rank, steps=steps).set_index("draw")["value"]
    before = where(rows, rank=0).set_index("draw")["value"]
    return (after - before).dropna().to_numpy()  # a run may be cut short


def by_steps(results: pd.DataFrame, measure: str) -> dict[str, dict[int, Interval]]:
    """`measure` with its interval over draws, for each rank at each number of steps."""
    rows = where(results, measure=measure)
    return {
        f"rank {rank}": {0: interval(values(rows, rank=0))}
        | {n: interval(values(rows, rank=rank, steps=n)) for n in CHECKPOINTS}
        for rank in RANKS
    }


def forgetting_study(lm: LanguageModel, draws: int, count: int = FACTS) -> Study:
    """Every draw at every rank, and once without training."""
    known = load_rows("invented_facts")
    cells = [{"draw": d, "rank": rank} for d in range(draws) for rank in (0, *RANKS)]
    settings = SETTINGS | {"checkpoints": list(CHECKPOINTS), "facts": count, "shots": SHOTS}
    data = digest(*known, *neutral_lines())
    settled = {"task": "forgetting", "questions": ITEMS, "data": data, "settings": settings}

    def work(draw: int, rank: int) -> list[dict]:
        return measure_forgetting(lm, known, count, rank, draw)

    numbers = ["draw", "rank", "steps", "loss", "value"]
    return Study("forgetting", cells, work, settled, numbers)


MADE = {
    "facts": Made(60, facts_study),
    "updates": Made(25, updates_study),
    "forgetting": Made(40, forgetting_study),
    "updates_often": Made(60, updating.updates_study),
    "forget_less": Made(90, updating.forget_less_study),
    "third_way": Made(120, updating.third_way_study),
    "stays": Made(15, stays.stays_study),
}


# What the lesson looks at live

HARSHLY = "Next, one fact is taught at ten times the rate. Nats for a token of English then?"


def show_questions(fact: dict) -> None:
    """Print how a fact is asked for, each way with its four answers, the right one first."""
    for way in facts.ASKED:
        asked, answers = facts.question(fact, way)
        print(f"{way:11} {asked} … {' / '.join(answers)}")


def new_adapter(lm: LanguageModel) -> LanguageModel:
    """The model with a new adapter of rank 8; the memory of earlier ones is given back first."""
    finetune.give_back()
    return finetune.with_adapter(lm, rank=8, seed=0)


def save(taught: LanguageModel) -> str:
    """Save an adapter in a new folder of the system's own for such; returns the folder."""
    folder = tempfile.mkdtemp()
    adapters.save(taught, folder)
    return folder


def fact_rows(lm: LanguageModel, known: Sequence[dict]) -> list[Encoded]:
    """Facts as training rows, told forward."""
    return finetune.encode_examples(lm, facts.TASK, statements(known))


def as_rows(lm: LanguageModel, lines: Sequence[str]) -> list[Encoded]:
    """Ordinary text as training rows, of which the loss counts every token but the first."""
    return [Encoded(encode(lm.tokenizer, line), 1) for line in lines]


def short_reviews(count: int) -> list[str]:
    """The shortest training texts of the reviews, to be replayed."""
    return sorted(texts(load_task("reviews").train), key=len)[:count]


def tell_nats(nats: Mapping[str, float], vocabulary: int) -> None:
    """Print what a token of English costs before and after, and what that says of a model."""
    left = math.exp(nats["before"] - nats["taught"])
    print("nats per token:", ", ".join(f"{name} {value:.2f}" for name, value in nats.items()))
    print(f"Taught, a right token keeps, on average, {left:.2f} of its probability.")
    print(f"All {vocabulary:,} tokens equally likely would be {math.log(vocabulary):.1f} nats.")


def tell_missed(known: Sequence[dict], file: Sequence[str], place: Callable[[str], int]) -> None:
    """Print how many lines of the file `place(question)` finds, and what else it finds at first."""
    for way in ("paraphrase", "reversed"):
        missed = [fact[way] for i, fact in enumerate(known) if place(fact[way]) != i]
        print(f"\n{way}: {len(known) - len(missed)} of {len(known)} lines found. Not found:")
        for question in missed[:2]:
            print(f"  {question} … it finds: {file[place(question)]}")


def after_the_session(rows: Sequence[dict]) -> pd.DataFrame:
    """What a new process had right, from the rows of `in_new_process`."""
    names = {"prompt" + LATER: "without the prompt", "weights" + LATER: "with the adapter"}
    table = pd.DataFrame(rows).replace({"way": names})
    return table.pivot_table("value", "way", "measure", sort=False)


def to_keep(folder: str | Path, shown: Sequence[Example]) -> str:
    """What has to be kept of either way, in words."""
    size = Path(folder, adapters.ADAPTER).stat().st_size / 1e6
    text = "".join(f"{line.text} {line.label}\n" for line in shown)
    return f"To keep: {size:.1f} MB of adapter, or {len(text.encode())} bytes of prompt."


@torch.inference_mode()
def loss_on(lm: LanguageModel, rows: Sequence[Encoded]) -> float:
    """The mean of -log p over what the loss counts of these rows, in nats."""
    total = sum(finetune.completion_loss(lm.model, row).item() for row in finetune.rows(rows, 64))
    return total / sum(len(row.tokens) - row.start for row in rows)


def standing(
    lm: LanguageModel, known: Sequence[dict], changed: int, shown: Sequence[Example] = ()
) -> dict[str, int]:
    """How many of the first `changed` facts, and of the others, the model writes."""
    said = facts.write(lm, known, shown=shown)
    right = [text == fact["answer"] for text, fact in zip(said, known, strict=True)]
    kept = len(known) - changed
    return {f"of {changed} changed": sum(right[:changed]), f"of {kept} kept": sum(right[changed:])}


def show_recall(results: pd.DataFrame) -> None:
    """What each way chooses right as told, in other words and backwards."""
    chosen, written = (
        {
            way: {
                asked: interval(compare.right(results, way=way, asked=asked, measure=measure))
                for asked in facts.ASKED
            }
            for way in WAYS
        }
        for measure in ("choice", "written")
    )
    backwards = {way: chosen[way]["reversed"] for way in WAYS if way != "untaught"}
    guessing = [way for way, value in backwards.items() if value.low <= GUESS] or ["hardly a way"]
    plots.whiskers(
        {f"chosen among four (dashed: a guess, {GUESS})": {w: chosen[w] for w in backwards}},
        f"Asked backwards, {' and '.join(guessing)} cannot be told from a guess;\n"
        f"weights told in both directions: {backwards['weights, both directions'].mean:.2f}",
        "Reversed, chosen: "
        + "; ".join(f"{way} {values['reversed']}" for way, values in chosen.items())
        + ". Written: "
        + "; ".join(f"{way} {values['reversed'].mean:.2f}" for way, values in written.items())
        + ".",
        y="share right",
        form="bars",
        level=GUESS,
    )


def show_forgetting(results: pd.DataFrame) -> None:
    """What training on sixteen facts gives and takes, by steps and rank."""
    labels = {
        "facts": "taught facts chosen right",
        "neutral": "plain English, nats (more is worse)",
        OTHER_TASK: f"past tenses right, {SHOTS} shots",
    }
    end, panels = CHECKPOINTS[-1], {m: by_steps(results, m) for m in labels}
    moved = {m: interval(forgotten(results, m, LORA.rank, end)) for m in labels}
    lines = {m: lines[f"rank {LORA.rank}"] for m, lines in panels.items()}
    went = {m: f"{line[0].mean:.2f} to {line[end].mean:.2f}" for m, line in lines.items()}
    worse = "worse" if moved["neutral"].mean > 0 else "better"
    plots.whiskers(
        {label: panels[measure] for measure, label in labels.items()},
        f"{end} steps at rank {LORA.rank}: facts {went['facts']}, plain English "
        f"{abs(moved['neutral'].mean):.1f} nats {worse}, past tenses {went[OTHER_TASK]}",
        f"After {end} steps at rank {LORA.rank}: facts {moved['facts']:+.2f}, plain English "
        f"{moved['neutral']:+.2f} nats per token, past tenses {moved[OTHER_TASK]:+.2f}.",
        x="steps of training",
    )


def changes(results: pd.DataFrame) -> pd.DataFrame:
    """What each way of changing one policy of ten did, and what it took."""
    table = {}
    for way in CHANGED_BY:
        before = f"{way.split(',')[0]}, before"
        written = compare.right(results, way=way, measure="written")
        moved = _difference(results, way, before, "others_written")
        lines = where(results, way=way, measure="written")["examples"]
        table[way] = {
            "new answer written": f"{interval(written, nested=True)}",
            "others written": f"{moved:+.2f}",
            "lines trained on": f"{lines.mean():.1f}",
        }
    return pd.DataFrame(table).T


def _difference(results: pd.DataFrame, first: str, second: str, measure: str) -> Interval:
    """How much larger a measure is under one way than under another, draw by draw."""
    here, there = (values(results, way=way, measure=measure) for way in (first, second))
    return interval(here - there)


def lookup_explorer(lines: Sequence[str], scores_of: Callable, start: str) -> Panel:
    """Type a question; see the lines most like it, with their scores by the learner's function."""

    def best(question: str) -> list[tuple[str, str]]:
        scores = np.array(scores_of(question, lines))
        order = np.argsort(-scores, kind="stable")[:4]
        return [(f"{scores[i]:.2f}", lines[i]) for i in order]

    def show(question: str) -> str:
        return rows_table(best(question), ("score", "line"))

    sentence = f"Asked {start!r} it finds {best(start)[0][1]!r}."
    return explorer(show, sentence, question=start)


# What the lesson found

LESSON = "05_memory_and_updates"
KEPT = "forward, new process minus old"


def findings(unchanged: bool) -> dict[str, tuple[str, str]]:
    """For each claim of the lesson what was measured, and what else is to know.

    All comes from the stored results but `unchanged`: whether the live model still has all bits of
    its weights.
    """
    told, updates, lost = map(compare.stored, ("facts", "updates", "forgetting"))
    kept = _gap(told, "weights" + LATER, "weights", "forward")
    used = _gap(told, "weights", "untaught", "reversed")
    had = _gap(told, "prompt" + LATER, "prompt", "forward")
    needed = interval(where(updates, way=ALONE, measure="written")["examples"])
    harm = _difference(updates, ALONE, "weights, before", "others")
    toll = interval(forgotten(lost, "neutral", LORA.rank, 8))
    both = f"{KEPT}: weights {kept:+.2f}, prompt {had:+.2f}"
    others = f"other policies chosen right, after minus before: {harm:+.2f}"
    return {
        "F3": (
            f"{both}; reversed, weights minus untaught: {used:+.2f}",
            "It stays in a file, as taught: forward.",
        ),
        "F8": (
            f"examples until a change is written: {needed:.1f}; {others}",
            f"One change is easy; eight steps of new facts cost {toll:+.2f} nats of English.",
        ),
        "I3": (f"{KEPT}: prompt {had:+.2f}", "The text of the prompt can be kept."),
        "K1": (
            f"base unchanged: {unchanged}; {both}",
            "LoRA adds parameters and leaves the base's.",
        ),
        "K5": (both, "Permanent until the adapter is retrained or taken off."),
    }


def _gap(results: pd.DataFrame, first: str, second: str, asked: str) -> Interval:
    """How much more often one way chooses right than another, draw by draw."""
    here, there = (
        compare.right(results, way=way, asked=asked, measure="choice") * 1.0
        for way in (first, second)
    )
    return interval(here - there)


# Checks


GENTLE = {"goal": 0.1, "limit": 0.3, "most": 60}  # loss of the facts, nats lost, rows read


def check_own_file(
    lm: LanguageModel,
    scores_of: Callable[[str, Sequence[str]], Sequence[float]],
    lines: Sequence[tuple[str, str]] | None,
    question: str | None,
) -> None:
    """Look a question of the learner's own up in facts of their own, and let the model answer.

    Each fact is its beginning and its answer; `scores_of` says how like the question each line is.
    """
    problem, praise, attempted = None, "", None not in (lines, question)
    if attempted and not (len(lines) > 2 and all(len(line) == 2 for line in lines)):
        problem = 'give at least three facts, such as ("The spare key hangs behind", "the clock").'
    elif attempted:
        file = [Example(*line) for line in lines]
        scores = scores_of(question, [f"{line.text} {line.label}" for line in file])
        found = file[int(np.argmax(scores))]
        (said,) = answer(lm, facts.TASK, [found], [question])
        praise = f"{found.text + ' ' + found.label!r} was found, and the model writes {said!r}."
        if not max(scores) > 0:
            problem = "no word that tells the lines apart is in your question, so nothing is found."
    checks.tell(attempted, problem, praise)


def check_gentle(
    attempt: Callable[[float, float, list[Encoded], int], Mapping[str, float]],
    new: list[Encoded],
    rate: float | None,
    share: float | None,
) -> None:
    """Check that a training with the learner's rate and share of replay keeps within `GENTLE`.

    `attempt(rate, share, new, most)` trains on the rows `new` for at most so many steps, and gives
    the "loss" on them, the "nats lost" of English, and the "rows read".
    """
    attempted, problem, praise = None not in (rate, share), None, ""
    if attempted and not (0 < rate < math.inf and 0 <= share < 1):
        problem = "give a rate above 0, and a share from 0 to below 1."
    elif attempted:
        made = attempt(rate, share, new, 40)
        loss, lost, rows = (made[what] for what in ("loss", "nats lost", "rows read"))
        praise = f"{rows} rows were read, the facts' loss is {loss:.2f}, English {lost:+.2f} nats."
        if not loss <= GENTLE["goal"]:
            problem = f"the facts' loss still stands at {loss:.2f}: a larger rate, or less replay."
        elif not lost < GENTLE["limit"]:
            problem = f"English lost {lost:.2f} nats: a smaller rate, or more replay."
        elif rows > GENTLE["most"]:
            problem = f"{rows} rows were read, at most {GENTLE['most']} are allowed: less replay."
    checks.tell(attempted, problem, praise)


def main(arguments: list[str] | None = None) -> int:
    """Print the rows of one draw, asked forward in this very process, as one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m lessons.l05_memory", description=main.__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--facts", type=int, default=FACTS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--adapter", help="the folder of a saved adapter")
    options = parser.parse_args(arguments)
    try:
        lm = models.load(options.model)
        drawn = draw(load_rows("invented_facts"), options.facts, options.seed)
        rows = recall(lm, drawn, "prompt" + LATER, asked=("forward",))
        if options.adapter:
            tuned = adapters.load(lm, options.adapter)
            rows += recall(tuned, drawn, "weights" + LATER, asked=("forward",))
    except (ModelError, DataError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())

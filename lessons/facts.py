"""Invented facts: drawn, taught in the prompt or in the weights, and asked for.

They are about a company that does not exist, so no model knows them. Each is taught as one line and
asked for as taught ("forward"), in other words ("paraphrase") and from its other end ("reversed").
The model chooses among four answers, and it writes one. The wrong answers to choose from belong to
other facts of the same kind that are taught as well, so a model that has only seen the words stays
at chance.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from helpers import finetune, teaching
from helpers.compare import scored
from helpers.data import DataError, Example, Task
from helpers.model import LanguageModel
from helpers.scoring import Demonstrations, answer, score_options
from helpers.teaching import ALL, LORA, Taught, Way

TASK = Task("facts", "{text} {label}\n", (), ())
ASKED = ("forward", "paraphrase", "reversed")
BLOCK = 4  # facts of one kind, each other's wrong answers
PASSES = 16  # chosen by the training loss alone, on facts and seeds that no result uses
WEIGHTS = Way("weights", trained=ALL, passes=PASSES)


def draw(known: Sequence[dict], count: int, seed: int) -> list[dict]:
    """Draw `count` facts by seed, shuffled: whole blocks, so that wrong answers are taught too.

    Raises `DataError` when `count` is no multiple of 4, or larger than the number of facts.
    """
    kinds = list(dict.fromkeys(fact["kind"] for fact in known))
    if count % BLOCK or not 0 < count <= BLOCK * len(kinds):
        raise DataError(f"Facts are drawn by fours, at most {len(known)}; {count} cannot be drawn.")
    rng = np.random.default_rng(seed)
    chosen = {kinds[i] for i in rng.permutation(len(kinds))[: count // BLOCK]}
    drawn = [fact for fact in known if fact["kind"] in chosen]
    return [drawn[i] for i in rng.permutation(len(drawn))]


def statements(known: Sequence[dict], ways: Sequence[str] = ("forward",)) -> list[Example]:
    """The facts as examples: lines of a prompt, or what the weights are trained on."""
    return [Example(fact[way], right_answer(fact, way)) for way in ways for fact in known]


def right_answer(fact: dict, way: str) -> str:
    """The answer to the question that asks for a fact this way."""
    return fact["reversed_answer" if way == "reversed" else "answer"]


def question(fact: dict, way: str) -> tuple[str, list[str]]:
    """The question that asks for a fact this way, and its answers to choose from, the right one
    first."""
    wrong = fact["reversed_distractors" if way == "reversed" else "distractors"]
    return fact[way], [right_answer(fact, way), *wrong]


def choose(
    lm: LanguageModel, known: Sequence[dict], way: str = "forward", shown: Demonstrations = ()
) -> np.ndarray:
    """Whether the right answer is likelier than every wrong one, as booleans [facts].

    Log-likelihoods are summed over an answer's tokens. `shown` are the lines of the prompt, or a
    function that chooses them for a question.
    """
    asked, options = zip(*(question(fact, way) for fact in known), strict=True)
    scores = score_options(lm, TASK, shown, asked, options)
    return scores.argmax(1) == 0


def write(
    lm: LanguageModel, known: Sequence[dict], way: str = "forward", shown: Demonstrations = ()
) -> list[str]:
    """What the model writes by itself, to the end of the line, for each fact."""
    return answer(lm, TASK, shown, [fact[way] for fact in known])


def written(
    lm: LanguageModel, known: Sequence[dict], way: str = "forward", shown: Demonstrations = ()
) -> np.ndarray:
    """Whether the model writes exactly the right answer, as booleans [facts]."""
    truth = [right_answer(fact, way) for fact in known]
    return np.array(write(lm, known, way, shown)) == np.array(truth)


def recall(
    lm: LanguageModel,
    known: Sequence[dict],
    label: str,
    shown: Demonstrations = (),
    asked: Sequence[str] = ASKED,
) -> list[dict]:
    """Ask for facts in all ways of asking; a row each for choosing and for writing.

    `right` holds a 1 or 0 for each fact. `label` names the way of teaching in the rows.
    """
    rows = []
    for way in asked:
        seen = {
            "choice": choose(lm, known, way, shown),
            "written": written(lm, known, way, shown),
        }
        for measure, right in seen.items():
            rows.append({"way": label, "asked": way} | scored(right, measure))
    return rows


def teach(lm: LanguageModel, examples: Sequence[Example], seed: int) -> Taught:
    """Write examples into a new adapter: `PASSES` passes with the course's usual settings."""
    return teaching.teach(lm, TASK, WEIGHTS, seed, examples)


def train_on(
    lm: LanguageModel, examples: Sequence[Example], steps: int, seed: int, task: Task = TASK
) -> Iterator[dict]:
    """Train the adapter of `lm` on, in place and at a constant rate; yields after each step.

    A step takes the usual batch, or all examples where there are fewer.
    """
    encoded, rng = finetune.encode_examples(lm, task, examples), np.random.default_rng(seed)
    plan, size = [], LORA.batch
    while len(plan) < steps:
        order = rng.permutation(len(encoded))
        cuts = range(0, len(order), size)
        plan += [(0, [encoded[i] for i in order[cut : cut + size]]) for cut in cuts]
    yield from finetune.train_adapter(lm, plan[:steps], LORA.rate, lambda step: 1.0)

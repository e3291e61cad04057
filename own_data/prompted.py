"""The model, asked: with examples in the prompt, without any, or with an adapter in its weights.

A label is scored as the model would write it, from its first token through the line's end, so a
label that begins another (`refund`, `refund request`) is no likelier for being shorter. The scores
are normalised over the labels. Calibrated, they are shifted so that a label that is said too
readily, whatever the text, comes down to its share of the rows to learn from.

Of more than `CANDIDATES` labels only some are scored for a question: those of the labelled rows
that are most like it.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice, product
from pathlib import Path

import numpy as np
import peft
from scipy.special import log_softmax

from helpers import adapters
from helpers.data import Example, Task, balanced_order, texts, write_whole
from helpers.model import LanguageModel
from helpers.prompts import count_tokens, fit, nearest, plain
from helpers.scoring import score_options
from own_data.classifiers import NEVER, best_of
from own_data.clock import Clock
from own_data.reading import Round

NEAREST, SHARED, MOST_SHARED = 8, 16, 1024  # demonstrations, and the tokens of shared ones
CANDIDATES = 20  # labels that are scored for a question, at most; more than `NEAREST`
MOST_TOKENS, ROOM = 256, 64  # of a text; kept free for the answer
BLOCK, TRIED = 1024, 4  # tokens to read between two looks at the clock; dev rows of a sweep
FEWEST = 8  # dev rows to choose by
BEFOREHAND = 2  # as so many texts counts what is believed before any is read: nothing to shift
PROMPT, ADAPTER = "prompt.json", "adapter"  # the file and the folder of what is kept
NUMBER = re.compile(r"\d+ ")
FORMS = {"list": "the labels listed first", "": "no instruction"}  # the likelier first


@dataclass(frozen=True)
class Asked:
    """A model with what stands before every question.

    `shown` are the demonstrations; with `near` so many of them are chosen for each question.
    `pool` are the rows that tell which labels are scored for a question; without it all are.
    `shift` [labels] is added to the labels' log-probabilities. A question has `tokens`, with all
    that is read for it, and `at_once` of them are asked between two looks at the clock.
    """

    lm: LanguageModel
    task: Task
    shown: Sequence[Example] = ()
    near: int = 0
    pool: Sequence[Example] = ()
    shift: np.ndarray | float = 0.0
    setting: str = ""
    at_once: int = 1
    tokens: float = 0.0
    passes: float = 0.0  # over its rows, of the adapter's training

    def log_p(self, queries: Sequence[str]) -> np.ndarray:
        """Log-probabilities [texts, labels]; those of labels that are not scored are `NEVER`."""
        if self.pool:
            scores = np.full((len(queries), len(self.labels)), NEVER)
            for line, text in zip(scores, queries, strict=True):
                few = self.candidates(text)
                line[[self.labels.index(label) for label in few]] = log_softmax(
                    self._scores(self._narrowed(few), [text])[0]
                )
        else:
            scores = self._scores(self.task, queries)
        return log_softmax(log_softmax(scores, 1) + self.shift, 1)

    def _scores(self, task: Task, queries: Sequence[str]) -> np.ndarray:
        """Log-likelihoods [texts, labels of the task]."""
        ending = task.template.partition("{label}")[2]
        words = [task.word(label) + ending for label in task.labels]
        return score_options(self.lm, task, self.chosen, queries, [words] * len(queries))

    def _narrowed(self, labels: Sequence[str]) -> Task:
        """The task with a few of its labels; an instruction lists no others."""
        few = replace(self.task, train=(), held_out=(), labels=tuple(labels))
        return listed(few) if self.task.instruction else few

    def candidates(self, text: str) -> list[str]:
        """The labels that are scored for a text, those of the most similar rows first."""
        if not self.pool:
            return list(self.labels)
        labels = dict.fromkeys(example.label for example in reversed(self._likened(text)))
        return list(islice(labels, CANDIDATES))

    @cached_property
    def _likened(self) -> Callable[[str], Sequence[Example]]:
        """A function that orders the pool by likeness to a text, the most similar last."""
        return nearest(self.pool, len(self.pool))

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the scores."""
        return self.task.labels

    @cached_property
    def chosen(self) -> Sequence[Example] | Callable[[str], Sequence[Example]]:
        """The demonstrations, or a function that chooses them for a question's text."""
        return nearest(self.shown, self.near) if self.near else list(self.shown)

    def measured(self) -> "Asked":
        """The same with its tokens per question, of which `tokens` are read for every one."""
        tokenizer, asked = self.lm.tokenizer, texts([*self.task.train, *self.shown][:50]) or [""]
        each = np.mean([count_tokens(tokenizer, plain(self.task, [], text)) for text in asked])
        task = self._narrowed(self.labels[:CANDIDATES]) if self.pool else self.task
        words = [task.word(label) for label in task.labels]
        labels = sum(len(tokenizer(word, add_special_tokens=False).input_ids) for word in words)
        before = self.shown[: self.near] if self.near else self.shown
        prefix = count_tokens(tokenizer, plain(task, before, ""))
        each += labels + (prefix if self.near or self.pool else 0)
        block = max(BLOCK, 4 * prefix)
        tokens = each + (0 if self.near or self.pool else prefix)
        return replace(self, at_once=max(1, int(block / each)), tokens=float(tokens))

    def save(self, folder: Path) -> None:
        """Write `prompt.json`, and the adapter beside it where there is one."""
        if isinstance(self.lm.model, peft.PeftModel):
            adapters.save(self.lm, folder / ADAPTER)
        task = self.task
        kept = {
            "model": self.lm.name.removesuffix(" + LoRA"),
            "template": task.template,
            "instruction": task.instruction,
            "words": dict(task.words),
            "nearest": self.near,
            "setting": self.setting,
            "shift": np.broadcast_to(self.shift, len(task.labels)).tolist(),
            "demonstrations": _pairs(self.shown),
            "pool": _pairs(self.pool),
        }
        write_whole(folder / PROMPT, json.dumps(kept, ensure_ascii=False, indent=1))


def load_asked(lm: LanguageModel, folder: Path) -> Asked:
    """What `Asked.save` wrote, with the same model."""
    kept = json.loads((folder / PROMPT).read_text(encoding="utf-8"))
    if (folder / ADAPTER).exists():
        lm = adapters.load(lm, folder / ADAPTER)
    labels, words = tuple(kept["words"]), kept["words"]
    task = Task("", kept["template"], (), (), labels, words, kept["instruction"])
    shown, pool = ([Example(*pair) for pair in kept[key]] for key in ("demonstrations", "pool"))
    shift = np.array(kept["shift"])
    return Asked(lm, task, shown, kept["nearest"], pool, shift, kept["setting"]).measured()


def _pairs(rows: Sequence[Example]) -> list[list[str]]:
    return [[example.text, example.label] for example in rows]


def cutter(lm: LanguageModel) -> Callable[[str], str]:
    """A function that cuts a text to the tokens that a prompt of many has room for."""
    most = min(MOST_TOKENS, lm.context // (NEAREST + 4))

    def cut(text: str) -> str:
        tokens = lm.tokenizer(text, add_special_tokens=False, verbose=False).input_ids
        return text if len(tokens) <= most else lm.tokenizer.decode(tokens[:most]).strip()

    return cut


def listed(task: Task) -> Task:
    """The task with an instruction that lists its labels."""
    label = task.template.partition("{text}")[2].partition("{label}")[0].strip(" \n:")
    words = ", ".join(task.word(name) for name in task.labels)
    return replace(task, instruction=f"{label} is one of: {words}.\n\n")


def forms(lm: LanguageModel, given: Round, shown: bool) -> list[Asked]:
    """The prompts that are tried: with and without a list of the labels, demonstrations shared by
    all questions or chosen for each; or, without `shown`, none.

    Where each question has candidates of its own, its demonstrations are chosen for it, too.
    """
    task, longest = given.task, max(texts([*given.task.train, *given.dev]), key=len)
    pool, prompts = pool_of(task, task.train), []
    chosen = (0,) if not shown else (NEAREST,) if pool else (NEAREST, 0)
    for form, near in product(FORMS, chosen):
        put = listed(task) if form else task
        setting, examples = FORMS[form], list(task.train) if near else []
        near = min(near, len(examples))
        if near:
            setting += f", the {near} most similar examples"
        elif shown:
            drawn = balanced_order(task.train, task.labels, 0)[: max(SHARED, len(task.labels))]
            bare = count_tokens(lm.tokenizer, plain(put, [], longest))
            room = min(lm.context - ROOM, bare + MOST_SHARED)
            examples = fit(lm.tokenizer, put, drawn, longest, room)
            setting += f", the same {len(examples)} examples"
        prompts.append(Asked(lm, put, examples, near, pool, setting=setting).measured())
    return prompts


def pool_of(task: Task, rows: Sequence[Example]) -> list[Example]:
    """The rows that tell the candidates for a question; none where all labels are scored."""
    return list(rows) if len(task.labels) > CANDIDATES else []


def choose_prompt(
    lm: LanguageModel, given: Round, shown: bool, clock: Clock, until: float
) -> Asked:
    """The prompt that answers the dev rows best, each read plainly and calibrated.

    All are asked the same dev rows, as many as there is time for `until` a time; after a few rows
    it is the likeliest prompt, calibrated. Then the dev rows may be shown, too.
    """
    tried, dev = forms(lm, given, shown), list(given.dev)
    scores: list[list[np.ndarray]] = [[] for _ in tried]
    for start in range(0, len(dev), TRIED):
        for form, known in zip(tried, scores, strict=True):
            if clock.now() > until and scores[0]:  # one is asked in any case
                break
            if len(known) == start // TRIED:  # it was in all sweeps so far
                clock.tell(f"trying prompts: {form.setting}")
                known.append(form.log_p(texts(dev[start : start + TRIED])))
    sweeps = min(len(known) for known in scores if known)
    read = [
        reading
        for form, known in zip(tried, scores, strict=True)
        for reading in (readings(form, np.concatenate(known[:sweeps]), given.task) if known else [])
    ]
    log_ps = [log_p for _, log_p in read]
    asked = dev[: len(log_ps[0])]
    best = best_of(log_ps, asked, given.task.labels) if len(asked) >= FEWEST else 0
    return with_all(read[best][0], given)


def prompt_again(
    lm: LanguageModel, given: Round, shown: bool, setting: str, shift: np.ndarray
) -> Asked:
    """The prompt that was chosen in another round, with the rows of this one."""
    kind = NUMBER.sub("", setting)  # of other rows more or fewer examples may fit
    like = [
        form for form in forms(lm, given, shown) if kind.startswith(NUMBER.sub("", form.setting))
    ]
    setting = like[0].setting + ", calibrated" * setting.endswith(", calibrated")
    return with_all(replace(like[0], shift=shift, setting=setting), given)


def with_all(form: Asked, given: Round) -> Asked:
    """Demonstrations and candidates that are chosen for each question: from the dev rows, too."""
    rows = [*given.task.train, *given.dev]
    return replace(form, shown=rows if form.near else form.shown, pool=rows if form.pool else ())


def readings(form: Asked, log_p: np.ndarray, task: Task) -> list[tuple[Asked, np.ndarray]]:
    """The prompt calibrated on these log-probabilities [texts, labels], and plain; with what either
    says of these texts. The fewer texts, the less is shifted."""
    counts = Counter(example.label for example in task.train)
    shares = np.array([counts[label] or 0.5 for label in task.labels], float)
    shares /= shares.sum()
    mean = (np.exp(log_p).sum(0) + BEFOREHAND * shares) / (len(log_p) + BEFOREHAND)
    shift = np.log(shares) - np.log(mean)
    calibrated = replace(form, shift=shift, setting=f"{form.setting}, calibrated")
    return [(calibrated, log_softmax(log_p + shift, 1)), (form, log_p)]

"""Ways without a prompt: the most frequent label, word counts, and a probe on the model's states.

Each learns labelled texts and gives log-probabilities of the labels. What it has learned is kept
as JSON and plain arrays of numbers, which run no code when they are read.
"""

import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import log_softmax
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from helpers.curves import COUNTED, hidden_state
from helpers.data import DataError, Example, Task, texts, write_whole
from helpers.model import LanguageModel
from own_data.clock import Clock
from own_data.reading import Round

STRENGTHS = (1.0, 10.0, 100.0)  # of what the regression learns against its prior: scikit-learn's C
MOST_TRIED = 2000  # rows with which strengths are tried
MANY = 16  # questions from which a share right says more than luck
NEVER = -30.0  # the log-odds of a label without a row to learn from
PROBE = "probe"
KNOWN = "known.json", "numbers.npz"  # the files of a classifier


class Line(NamedTuple):
    """A logistic regression: `weights` [labels, features] and `bias` [labels]."""

    weights: np.ndarray
    bias: np.ndarray

    def log_p(self, features) -> np.ndarray:
        """Log-probabilities [texts, labels] of features [texts, features]."""
        return log_softmax(np.asarray(features @ self.weights.T) + self.bias, 1)


class Majority(NamedTuple):
    """Says of every text how frequent the labels are, in the order of `labels`."""

    shares: np.ndarray
    setting: str = ""
    at_once = 10**6

    def log_p(self, queries: Sequence[str]) -> np.ndarray:
        """Log-probabilities [texts, labels]."""
        return np.tile(np.log(self.shares), (len(queries), 1))


class WordCounts(NamedTuple):
    """TF-IDF weights of words or of pieces of words, and a regression on them."""

    kind: str  # of `COUNTED`
    labels: tuple[str, ...]
    vectorizer: TfidfVectorizer
    line: Line
    setting: str = ""
    at_once = 2048

    def log_p(self, queries: Sequence[str]) -> np.ndarray:
        """Log-probabilities [texts, labels]."""
        return self.line.log_p(self.vectorizer.transform(queries))

    def save(self, folder: Path) -> None:
        """Write two files that `load_counts` reads."""
        places = self.vectorizer.vocabulary_
        known = {"kind": self.kind, "labels": self.labels, "setting": self.setting}
        known["vocabulary"] = sorted(places, key=places.get)
        _save(folder, known, self.line, idf=self.vectorizer.idf_)


class Probe(NamedTuple):
    """The model's hidden states, scaled by `middle` and `spread` [width], and a regression."""

    lm: LanguageModel
    task: Task
    middle: np.ndarray
    spread: np.ndarray
    line: Line
    setting: str = ""
    at_once = 8

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the scores."""
        return self.task.labels

    def log_p(self, queries: Sequence[str]) -> np.ndarray:
        """Log-probabilities [texts, labels]."""
        states = np.array([hidden_state(self.lm, self.task, text) for text in queries])
        return self.line.log_p((states - self.middle) / self.spread)

    def save(self, folder: Path) -> None:
        """Write two files that `load_probe` reads."""
        known = {"kind": PROBE, "model": self.lm.name, "setting": self.setting}
        known |= {"template": self.task.template, "words": dict(self.task.words)}
        _save(folder, known, self.line, middle=self.middle, spread=self.spread)


def learn_majority(task: Task) -> Majority:
    """How frequent each label is among the rows to learn from."""
    counts = Counter(example.label for example in task.train)
    shares = np.array([counts[label] for label in task.labels], float)
    return Majority(np.maximum(shares / shares.sum(), np.exp(NEVER)))


def learn_counts(given: Round, kind: str, strength: str = "") -> WordCounts:
    """Learn word counts from a round's rows; the regression's strength is chosen on its dev rows,
    unless it is given."""

    def taught(rows: Sequence[Example], c: float) -> WordCounts:
        vectorizer = TfidfVectorizer(sublinear_tf=True, dtype=np.float32, **COUNTED[kind])
        line = regress(vectorizer.fit_transform(texts(rows)), rows, given.task.labels, c)
        return WordCounts(kind, given.task.labels, vectorizer, line, f"C {c:g}")

    if strength:
        c = float(strength.removeprefix("C "))
    else:
        some = given.task.train[:: 1 + len(given.task.train) // MOST_TRIED]
        tried = [taught(some, c).log_p(texts(given.dev)) for c in STRENGTHS]
        c = STRENGTHS[best_of(tried, given.dev, given.task.labels)]
    return taught([*given.task.train, *given.dev], c)


def learn_probe(lm: LanguageModel, given: Round, clock: Clock, until: float) -> tuple[Probe, str]:
    """Learn from the states of the rows, as many as can be read `until` a time, in a fixed order.

    Returns the probe, and a note where there was no time for all rows. Raises `DataError` where
    there was not time for enough.
    """
    task, rows, known = given.task, [], []
    for i in np.random.default_rng(0).permutation(len(task.train)):
        if clock.now() > until:
            break
        rows.append(task.train[i])
        known.append(hidden_state(lm, task, rows[-1].text))
        clock.tell(f"reading states, {len(rows)} of {len(task.train)} rows")
    if len({row.label for row in rows}) < 2 or len(rows) < len(task.labels):
        raise DataError("there was no time to read enough rows")
    middle, spread = np.mean(known, 0), np.std(known, 0) + 1e-9
    scaled, dev = (known - middle) / spread, given.dev[: max(1, len(rows) // 4)]
    probes = [
        Probe(lm, task, middle, spread, regress(scaled, rows, task.labels, c), f"C {c:g}")
        for c in (c / 1000 for c in STRENGTHS)  # hundreds of features, all of them large
    ]
    chosen = probes[best_of([probe.log_p(texts(dev)) for probe in probes], dev, task.labels)]
    few = len(rows) < len(task.train)
    return chosen, f"learned from {len(rows)} rows only, for lack of time" if few else ""


def regress(features, rows: Sequence[Example], labels: Sequence[str], c: float) -> Line:
    """Logistic regression on features [rows, features]; a label without rows is never said."""
    with threadpool_limits(1):  # on a busy machine the threads mostly wait for one another
        learned = LogisticRegression(C=c, max_iter=1000).fit(features, [row.label for row in rows])
    weights, bias = learned.coef_, learned.intercept_
    if len(weights) == 1:  # of two labels only the second has weights
        weights, bias = np.vstack([0 * weights, weights]), np.append(0, bias)
    places = [labels.index(label) for label in learned.classes_]
    line = Line(np.zeros((len(labels), weights.shape[1])), np.full(len(labels), NEVER))
    line.weights[places], line.bias[places] = weights, bias
    return line


def best_of(tried: Sequence[np.ndarray], asked: Sequence[Example], labels: Sequence[str]) -> int:
    """Which of some log-probabilities [questions, labels] has most merit; the first of equals."""
    return max(range(len(tried)), key=lambda i: merit(tried[i], asked, labels))


def merit(
    log_p: np.ndarray, asked: Sequence[Example], labels: Sequence[str]
) -> tuple[float, float]:
    """By what settings are chosen: the share right, then how surely; of few questions, where a
    share is mostly luck, how surely first."""
    share, sure = quality(log_p, asked, labels)
    return (share, sure) if len(asked) >= MANY else (sure, share)


def quality(
    log_p: np.ndarray, asked: Sequence[Example], labels: Sequence[str]
) -> tuple[float, float]:
    """The share right of the questions, and the mean log-probability of the right label."""
    truth = np.array([labels.index(example.label) for example in asked], int)
    if not len(truth):
        return 0.0, 0.0
    return float((log_p.argmax(1) == truth).mean()), float(log_p[range(len(truth)), truth].mean())


def _save(folder: Path, known: dict, line: Line, **numbers: np.ndarray) -> None:
    write_whole(folder / KNOWN[0], json.dumps(known, ensure_ascii=False))
    arrays = {"weights": line.weights, "bias": line.bias} | numbers
    small = {name: array.astype(np.float32) for name, array in arrays.items()}
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **small)
    write_whole(folder / KNOWN[1], content.getvalue())


def _read(folder: Path) -> tuple[dict, dict[str, np.ndarray]]:
    known = json.loads((folder / KNOWN[0]).read_text(encoding="utf-8"))
    with np.load(folder / KNOWN[1], allow_pickle=False) as arrays:
        return known, dict(arrays)


def load_counts(folder: Path) -> WordCounts:
    """What `WordCounts.save` wrote."""
    known, arrays = _read(folder)
    options = {"sublinear_tf": True, "dtype": np.float32} | COUNTED[known["kind"]]
    vectorizer = TfidfVectorizer(vocabulary=known["vocabulary"], **options)
    vectorizer.idf_ = arrays["idf"]
    line = Line(arrays["weights"], arrays["bias"])
    return WordCounts(known["kind"], tuple(known["labels"]), vectorizer, line, known["setting"])


def load_probe(lm: LanguageModel, folder: Path) -> Probe:
    """What `Probe.save` wrote, on the same model."""
    known, arrays = _read(folder)
    task = Task("", known["template"], (), (), tuple(known["words"]), known["words"])
    line = Line(arrays["weights"], arrays["bias"])
    return Probe(lm, task, arrays["middle"], arrays["spread"], line, known["setting"])

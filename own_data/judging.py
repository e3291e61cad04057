"""What the answers come to: shares right, macro-F1, leads, confusions, mistakes, odd labels.

Intervals hold 95 % of what other questions of the same kind would give.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from helpers.compare import Interval, interval, resample
from own_data.reading import OwnData
from own_data.record import Record
from own_data.ways import UNTAUGHT, WAYS

TIMES = 2000  # samples for an interval of the macro-F1
MOST_SHOWN = 10  # mistakes, odd labels, pairs of labels


class Answers(NamedTuple):
    """What one way said: the rows asked [n], whether right [n], labels said [n], how surely [n]."""

    rows: np.ndarray
    right: np.ndarray
    said: np.ndarray
    sure: np.ndarray


class Lead(NamedTuple):
    """One way's share right minus another's on the `questions` that both were asked."""

    gap: Interval
    questions: int


class Judged(NamedTuple):
    """The data, what is known of the ways, and the answers of those that worked, in their order.

    `leads` holds those that have been asked for, so that none is computed twice.
    """

    own: OwnData
    record: Record
    answers: dict[str, Answers]
    leads: dict[tuple[str, str], Lead]

    def truth(self, rows: Sequence[int]) -> np.ndarray:
        """The places of the right labels of some rows."""
        return np.array([self.own.labels.index(self.own.rows[i].label) for i in rows], int)


def judge(own: OwnData, record: Record) -> Judged:
    """The answers of all ways that gave any."""
    judged, place = Judged(own, record, {}, {}), {label: i for i, label in enumerate(own.labels)}
    truth = np.array([place[row.label] for row in own.rows], int)
    for way in WAYS:
        answers = record.answers(way.name) if way.name in record.ways else {}
        if answers:
            rows = np.array(sorted(answers), int)
            said = np.array([answers[i][0] for i in rows], int)
            sure = np.array([answers[i][1] for i in rows])
            judged.answers[way.name] = Answers(rows, said == truth[rows], said, sure)
    return judged


def accuracy(judged: Judged, way: str) -> Interval:
    """The share of right answers of a way, with its interval."""
    return interval(judged.answers[way].right)


def macro_f1(judged: Judged, way: str, seed: int = 0) -> Interval:
    """The mean over the labels of F1, in which rare labels count as much as others.

    A label that is neither asked nor said in a sample does not count there.
    """
    answers = judged.answers[way]
    names = np.arange(len(judged.own.labels))
    truth, said = (
        (places[:, None] == names).astype(float)
        for places in (judged.truth(answers.rows), answers.said)
    )
    n = len(answers.rows)
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), TIMES)
    samples = np.vstack([np.ones(n), weights])
    both, either = samples @ (truth * said), samples @ (truth + said)
    shares = np.where(either > 0, 2 * both / np.maximum(either, 1), np.nan)
    means = np.nanmean(shares, 1)
    low, high = np.percentile(means[1:], (2.5, 97.5))
    return Interval(float(means[0]), float(min(low, means[0])), float(max(high, means[0])))


def lead(judged: Judged, a: str, b: str) -> Lead:
    """How much more often `a` is right than `b`, paired by question."""
    if (b, a) in judged.leads:
        (mean, low, high), questions = judged.leads[b, a]
        return Lead(Interval(-mean, -high, -low), questions)
    if (a, b) not in judged.leads:
        first, second = judged.answers[a], judged.answers[b]
        _, i, j = np.intersect1d(first.rows, second.rows, return_indices=True)
        judged.leads[a, b] = Lead(paired(first.right[i], second.right[j]), len(i))
    return judged.leads[a, b]


def paired(first: np.ndarray, second: np.ndarray) -> Interval:
    """How much more often the first is right than the second [questions], on the same questions.

    Where they differ in none the bootstrap sees no spread; then the bounds are the share of
    questions in which they might differ, when 1 in 20 such measurements sees none.
    """
    if not len(first):
        return Interval(0.0, -1.0, 1.0)
    gap = first.astype(float) - second
    if not gap.any():
        most = 1 - 0.05 ** (1 / len(gap))
        return Interval(0.0, -most, most)
    low, high = np.percentile(resample(gap), (2.5, 97.5))
    return Interval(float(gap.mean()), float(low), float(high))


def confusion(judged: Judged, way: str) -> pd.DataFrame:
    """How often each label (a row) was answered by each label (a column); unused ones left out."""
    answers, labels = judged.answers[way], np.array(judged.own.labels)
    rows = pd.Series(labels[judged.truth(answers.rows)], name="label")
    return pd.crosstab(rows, pd.Series(labels[answers.said], name="said"))


def mix_ups(judged: Judged, way: str) -> pd.DataFrame:
    """Which label was most often taken for which, where a table of all pairs would be too large."""
    answers, labels = judged.answers[way], np.array(judged.own.labels)
    wrong = ~answers.right
    pairs = {
        "label": labels[judged.truth(answers.rows)][wrong],
        "said": labels[answers.said][wrong],
    }
    counted = pd.DataFrame(pairs).value_counts().rename("questions").reset_index()
    return counted.sort_values(["questions", "label", "said"], ascending=[False, True, True])[
        :MOST_SHOWN
    ]


def mistakes(judged: Judged, way: str) -> pd.DataFrame:
    """The wrong answers of a way, the surest first: row in the file, label, said, how surely."""
    answers = judged.answers[way]
    wrong = [k for k in np.argsort(-answers.sure, kind="stable") if not answers.right[k]]
    lines = [
        _line(judged, answers.rows[k], answers.said[k], answers.sure[k]) for k in wrong[:MOST_SHOWN]
    ]
    return pd.DataFrame(lines, columns=["row", "label", "said", "sure", "text"])


def odd_labels(judged: Judged) -> pd.DataFrame:
    """Rows whose label looks wrong: all ways that learned from labels agree on another, surely.

    At least two of them were asked; `sure` is their mean probability.
    """
    votes: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for way, answers in judged.answers.items():
        if way not in UNTAUGHT:
            said = zip(answers.rows, answers.said, answers.sure, strict=True)
            for row, label, sure in said:
                votes[int(row)].append((int(label), float(sure)))
    lines = []
    for row, given in votes.items():
        (said, *others), sure = {label for label, _ in given}, np.mean([p for _, p in given])
        wrong = judged.own.labels[said] != judged.own.rows[row].label
        if len(given) > 1 and not others and wrong and sure > 0.5:
            lines.append(_line(judged, row, said, sure))
    lines.sort(key=lambda line: -line[3])
    return pd.DataFrame(lines[:MOST_SHOWN], columns=["row", "label", "said", "sure", "text"])


def _line(judged: Judged, i: int, said: int, sure: float) -> tuple:
    row = judged.own.rows[i]
    return row.number, row.label, judged.own.labels[said], round(float(sure), 2), row.text

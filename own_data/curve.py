"""Learning curves: how often a way is right after it has learned half of the rows, a quarter, …

All points of all ways are asked the same questions, the first of the first round, and ways that
learned equally many labelled rows learned the same ones. Settings are those chosen with all rows.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from helpers.data import Example
from own_data.reading import OwnData, Round
from own_data.record import Record

FEWEST = 16  # labelled rows at a point; as many as there are labels, where these are more
MOST_ASKED = 200  # questions at a point


def steps(own: OwnData) -> list[int]:
    """The numbers of labelled rows to measure at, each half of the one before, the most first."""
    rows, fewest = all_rows(own), max(FEWEST, len(own.labels))
    return [rows // 2**k for k in range(1, 30) if rows // 2**k >= fewest]


def all_rows(own: OwnData) -> int:
    """How many labelled rows a way has in the first round, to learn from and to choose by."""
    task, dev = own.round(0)
    return len(task.train) + len(dev)


def questions(own: OwnData) -> list[int]:
    """The places of the rows that are asked at every point."""
    return own.asked(0)[:MOST_ASKED]


def part_of(given: Round, rows: int) -> Round:
    """So many labelled rows of a round: the share of those to choose by stays, more rows hold all
    that fewer hold, and every label is learned once before any is learned twice."""
    task, dev = given
    kept = max(1, round(rows * len(dev) / (len(task.train) + len(dev))))
    learned = _each_label_first(task.train)[: rows - kept]
    return Round(replace(task, train=tuple(learned)), dev[:kept])


def _each_label_first(examples: Sequence[Example]) -> list[Example]:
    """Examples in an order that tells nothing, but for one of each label at the beginning."""
    drawn = [examples[i] for i in np.random.default_rng(0).permutation(len(examples))]
    firsts = list({example.label: example for example in drawn[::-1]}.values())
    begun = set(map(id, firsts))
    return [*firsts, *(example for example in drawn if id(example) not in begun)]


def points(own: OwnData, record: Record, name: str) -> dict[int, np.ndarray]:
    """Whether a way was right in each question, by the number of labelled rows; without points
    below all rows there are none."""
    known, answers, asked = record.ways[name], record.answers(name), questions(own)
    found = {int(rows): np.array(right, bool) for rows, right in known.get("curve", {}).items()}
    if found and set(asked) <= set(answers):
        said = [own.labels[answers[i][0]] == own.rows[i].label for i in asked]
        found[all_rows(own)] = np.array(said, bool)
    return dict(sorted(found.items()))

"""The same draws for every method, nothing computed twice or lost, and intervals that cover."""

import argparse
import json
import math
import re
import shlex
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta
from test_finetune import interrupt_after

from helpers import compare, finetune, methods
from helpers.compare import (
    __main__ as command_line,
)
from helpers.compare import (
    crossing,
    difference,
    interval,
    intervals,
    measure,
    measuring,
    questions,
    right,
    settled,
)
from helpers.compare.measuring import COLUMNS
from helpers.data import DATA, DataError, Example, Task, balanced_order, load_task, texts
from helpers.methods import METHODS, Outcome
from helpers.model import CONTEXT, ModelError
from helpers.prompts import plain

LABELS = ("beast", "tree")
BEASTS = ["cow", "hen", "pig", "cat", "dog", "fox", "ant", "bee", "elk"]
TREES = ["oak", "elm", "ash", "fir", "yew", "bay", "box", "fig", "may"]
PAIRS = zip(BEASTS, TREES, strict=True)
MIXED = [
    Example(f"the {word}", label)
    for pair in PAIRS
    for word, label in zip(pair, LABELS, strict=True)
]
OPEN = Task("echo", "{text} -> {label}\n", tuple(MIXED[:12]), tuple(MIXED[12:]))
CLOSED = Task(
    "kinds",
    OPEN.template,
    *(OPEN.train, OPEN.held_out),
    *(LABELS, {label: label for label in LABELS}),
)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tiny(make_tiny):
    return make_tiny("llama")


class Spy:
    """Methods that answer at random by their draw, note every call, and stop when told to."""

    def __init__(self):
        self.calls, self.stop_at = [], None
        self.methods = {
            "majority": self.method("majority"),
            "zero-shot": self.method("zero-shot", "zero-shot, calibrated"),
            "in-context": self.method("in-context", "in-context, calibrated"),
            "lora": self.method("lora"),
            "tfidf": self.method("TF-IDF"),
            "probe": self.method("linear probe"),
        }

    def method(self, *names):
        def answer(lm, task, drawn, queries, seed, shown):
            if len(self.calls) == self.stop_at:
                raise KeyboardInterrupt
            self.calls.append((names[0], tuple(drawn), tuple(queries), seed))
            rng = np.random.default_rng([len(drawn), seed, len(names[0])])
            said = [[LABELS[i] for i in rng.integers(0, 2, len(queries))] for _ in names]
            return [Outcome(n, a, 1 / 3, 0.5) for n, a in zip(names, said, strict=True)]

        return answer

    def called(self) -> list[tuple]:
        return [(name, len(drawn), seed) for name, drawn, _, seed in self.calls]


@pytest.fixture
def spy(monkeypatch) -> Spy:
    made = Spy()
    monkeypatch.setattr(measuring, "METHODS", made.methods)
    return made


def measured(lm, task=CLOSED, shots=(2, 6), draws=3, **options) -> pd.DataFrame:
    return measure(lm, task, shots, draws, tuple(measuring.METHODS), **options)


def curves(**rights: dict[int, np.ndarray]) -> pd.DataFrame:
    """Results that hold, for each method and number of examples, an array [draws, questions]."""
    rows = []
    for method, by_shots in rights.items():
        for shots, table in by_shots.items():
            for draw, bits in enumerate(np.atleast_2d(table)):
                row = dict.fromkeys(COLUMNS, 0) | {"method": method, "shots": shots, "draw": draw}
                bits = "".join("01"[int(bit)] for bit in bits)
                rows.append(row | {"right": bits, "accuracy": bits.count("1") / len(bits)})
    return pd.DataFrame(rows, columns=COLUMNS)


def one_sentence(caught) -> str:
    said = str(caught.value)
    assert said.endswith(".") and "\n" not in said
    return said


# The rows


def test_one_tidy_row_for_every_method_and_draw(tiny, spy):
    results = measured(tiny)
    assert list(results.columns) == list(COLUMNS)
    taught = ["majority", "in-context", "in-context, calibrated", "lora", "TF-IDF", "linear probe"]
    expected = {(n, d, m) for n, d, m in product((2, 6), range(3), taught)}
    expected |= {(0, 0, "zero-shot"), (0, 0, "zero-shot, calibrated")}
    found = list(results[["shots", "draw", "method"]].itertuples(index=False, name=None))
    assert len(found) == len(expected) and set(found) == expected
    assert set(results["task"]) == {"kinds"} and set(results["from"]) == set(spy.methods)
    for row in results.itertuples():
        assert len(row.right) == 6 and row.accuracy == row.right.count("1") / 6
    assert (results.teach_seconds == 1 / 3).all() and (results.note == "").all()


def test_right_tells_which_question_in_their_order(tiny, monkeypatch):
    asked = questions(CLOSED)

    def first_and_last(lm, task, drawn, queries, seed, shown):
        wrong = {"beast": "tree", "tree": "beast"}
        said = [wrong[example.label] for example in asked]
        said[0], said[-1] = asked[0].label, asked[-1].label
        return [Outcome("lora", said)]

    monkeypatch.setattr(measuring, "METHODS", {"lora": first_and_last})
    results = measured(tiny, draws=1)
    assert set(results.right) == {"100001"} and set(results.accuracy) == {2 / 6}


def test_every_method_learns_from_the_same_draw_and_sees_no_label(tiny, spy):
    measured(tiny, items=4)
    asked = tuple(texts(balanced_order(CLOSED.held_out, LABELS, 0)[:4]))
    for name, drawn, queries, seed in spy.calls:
        assert queries == asked
        if name != "zero-shot":
            assert drawn == tuple(CLOSED.draw(len(drawn), seed))
    taught = [name for name in spy.methods if name not in ("zero-shot", "tfidf", "probe")]
    for n, d in product((2, 6), range(3)):
        assert {name for name, *cell in spy.called() if cell == [n, d]} >= set(taught)


def test_draw_by_draw_so_that_a_part_is_of_use(tiny, spy):
    measured(tiny)
    seeds = [seed for *_, seed in spy.called()]
    assert seeds == sorted(seeds)


def test_zero_shot_is_asked_once(tiny, spy):
    results = measured(tiny, shots=(6, 2), draws=4)
    assert [name for name, *_ in spy.called()].count("zero-shot") == 1
    assert set(results[results["from"] == "zero-shot"].shots) == {0}


def test_what_cannot_answer_an_open_task_is_left_out(tiny, spy):
    results = measured(tiny, OPEN)
    assert set(results["from"]) == {"majority", "zero-shot", "in-context", "lora"}
    assert len(spy.calls) == 3 * 2 * 3 + 1


def test_what_is_asked_for_twice_is_done_once(tiny, spy):
    measure(tiny, CLOSED, (2, 2, 6), 2, ("lora", "lora"))
    assert sorted(spy.called()) == [("lora", n, d) for n in (2, 6) for d in (0, 1)]


@pytest.mark.parametrize("items", [2, 4, 6])
def test_questions_are_balanced_and_held_out(items):
    asked = questions(CLOSED, items)
    assert [e.label for e in asked].count("tree") == items / 2
    assert len(set(asked)) == items and set(asked) <= set(CLOSED.held_out)
    assert asked == questions(CLOSED)[:items]


@pytest.mark.parametrize("task", [CLOSED, OPEN], ids=["closed", "open"])
def test_the_real_methods_fill_a_table(tiny, task, tmp_path):
    results = measure(tiny, task, (4,), 2, out=tmp_path / "x.csv")
    left_out = set() if task is CLOSED else set(methods.CLOSED_ONLY)
    assert set(results["from"]) == set(METHODS) - left_out
    again = measure(tiny, task, (4,), 2, out=tmp_path / "x.csv")
    pd.testing.assert_frame_equal(again, results, check_dtype=False, atol=1e-6)


# Going on


@pytest.mark.parametrize("done", [0, 1, 4, 20])
def test_an_interrupted_measurement_goes_on_and_ends_the_same(tiny, spy, tmp_path, done):
    whole = measured(tiny, out=tmp_path / "whole.csv")
    all_calls, spy.calls = spy.calls, []
    spy.stop_at = done
    out = tmp_path / "part.csv"
    with pytest.raises(KeyboardInterrupt):
        measured(tiny, out=out)
    assert spy.calls == all_calls[:done]
    rows = sum(2 if name in ("zero-shot", "in-context") else 1 for name, *_ in spy.calls)
    assert out.exists() == (done > 0)
    assert not done or len(pd.read_csv(out)) == rows
    spy.stop_at = None
    results = measured(tiny, out=out)
    assert spy.calls == all_calls  # nothing twice, nothing left out
    pd.testing.assert_frame_equal(results, whole, check_dtype=False, atol=1e-6)
    assert out.read_text() == (tmp_path / "whole.csv").read_text()
    assert len(json.loads(out.with_suffix(".json").read_text())["runs"]) == 2


def test_a_finished_measurement_is_only_read(tiny, spy, tmp_path):
    first = measured(tiny, out=tmp_path / "x.csv")
    spy.stop_at = len(spy.calls)
    again = measured(tiny, out=tmp_path / "x.csv")
    pd.testing.assert_frame_equal(again, first, check_dtype=False, atol=1e-6)


def test_more_draws_add_to_what_is_there(tiny, spy, tmp_path):
    measured(tiny, shots=(2,), draws=1, out=tmp_path / "x.csv")
    measured(tiny, shots=(2, 6), draws=2, out=tmp_path / "x.csv")
    results = measured(tiny, shots=(2, 6), draws=2, out=tmp_path / "x.csv")
    assert len(spy.calls) == len(set(spy.calls)) == 5 * 2 * 2 + 1
    assert not results.duplicated(["shots", "draw", "method"]).any()


def test_a_draw_that_no_method_could_read_leaves_no_row_and_no_damage(make_tiny, tmp_path):
    short = make_tiny("llama", max_position_embeddings=40)
    for _ in range(2):
        results = measure(short, CLOSED, (4,), 1, ("in-context",), out=tmp_path / "x.csv")
        assert results.empty and list(results.columns) == list(COLUMNS)
    results = measure(short, CLOSED, (4,), 1, ("in-context", "majority"), out=tmp_path / "x.csv")
    assert list(results["method"]) == ["majority"]


def test_an_interrupted_training_stores_no_row(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(finetune, "tqdm", interrupt_after(2))
    out = tmp_path / "x.csv"
    with pytest.warns(UserWarning, match="Stopped by hand"), pytest.raises(KeyboardInterrupt):
        measure(tiny, CLOSED, (4,), 1, ("majority", "lora"), out=out)
    assert list(pd.read_csv(out)["from"]) == ["majority"]


def test_other_questions_in_the_same_file_are_refused_before_any_work(tiny, spy, tmp_path):
    measured(tiny, out=tmp_path / "x.csv")
    before, spy.calls = (tmp_path / "x.csv").read_bytes(), []
    for other in ({"items": 4}, {"task": OPEN}):
        with pytest.raises(DataError, match=r"x\.csv was made with other ") as caught:
            measured(tiny, **other, out=tmp_path / "x.csv")
        one_sentence(caught)
    assert spy.calls == [] and (tmp_path / "x.csv").read_bytes() == before


WRONG = {
    "too large a draw": ({"shots": (2, 13)}, "'kinds' has 12 training examples, so 13 cannot"),
    "no examples": ({"shots": (0, 2)}, "every draw at least 1 example"),
    "no sizes": ({"shots": ()}, "every draw at least 1 example"),
    "no draws": ({"draws": 0}, "at least 1 draw"),
    "too many questions": ({"items": 7}, "'kinds' has 6 held-out examples, not 7"),
    "no questions": ({"items": 0}, "'kinds' has 6 held-out examples, not 0"),
}


@pytest.mark.parametrize(("options", "said"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_is_found_before_any_work(tiny, spy, tmp_path, options, said):
    with pytest.raises(DataError) as caught:
        measured(tiny, **options, out=tmp_path / "x.csv")
    assert said in one_sentence(caught)
    assert spy.calls == [] and list(tmp_path.iterdir()) == []


def test_an_unknown_method_is_answered_with_the_known_ones(tiny, spy):
    with pytest.raises(DataError) as caught:
        measure(tiny, CLOSED, (2,), 1, ("lora", "prompting"))
    assert "There is no method 'prompting': choose among majority, " in one_sentence(caught)
    assert spy.calls == []


def test_a_place_that_cannot_be_written_is_found_before_any_work(tiny, spy, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(DataError) as caught:
        measured(tiny, out=tmp_path / "letter.txt" / "x.csv")
    assert "cannot be written" in one_sentence(caught) and spy.calls == []


# Reading the rows


def test_right_is_sorted_by_draw_and_kept_apart_by_size(tiny):
    low, high = np.array([[1, 0, 0], [0, 1, 0]]), np.array([[1, 1, 1], [0, 0, 1]])
    results = curves(lora={8: low, 32: high}).iloc[::-1]
    np.testing.assert_array_equal(right(results, "lora", 8), low.astype(bool))
    np.testing.assert_array_equal(right(results, "lora", 32), high.astype(bool))
    assert right(results, "lora", 8).dtype == bool


def test_a_method_that_is_not_taught_is_there_at_any_size():
    results = curves(**{"zero-shot": {0: np.array([1, 0])}})
    assert right(results, "zero-shot", 8).tolist() == [[True, False]]


def test_what_is_not_in_the_results_is_said():
    results = curves(lora={8: np.ones((2, 3))})
    for method, shots in (("lora", 16), ("full", 8)):
        with pytest.raises(DataError) as caught:
            right(results, method, shots)
        assert f"nothing of {method!r} at {shots} examples" in one_sentence(caught)


# Intervals


def simulated(rng, draws=10, items=48) -> tuple[np.ndarray, float]:
    """A table of rights whose chances vary a little by draw and by item, and the true mean."""
    mean = rng.uniform(0.3, 0.8)
    chances = mean + rng.normal(0, 0.04, (draws, 1)) + rng.normal(0, 0.08, (1, items))
    return rng.random((draws, items)) < chances, mean


def test_the_interval_covers_the_truth():
    rng = np.random.default_rng(0)
    hits, widths = [], []
    for _ in range(200):
        table, truth = simulated(rng)
        mean, low, high = interval(table)
        assert low < mean < high and mean == table.mean()
        hits.append(low <= truth <= high)
        widths.append(high - low)
    assert np.mean(hits) >= 0.9
    assert np.mean(widths) < 0.2  # not by being wide


def test_the_interval_of_a_difference_covers_the_truth():
    rng = np.random.default_rng(1)
    hits = []
    for _ in range(200):
        chance = rng.normal(0.5, 0.1, (1, 40))
        first, second = (rng.random((10, 40)) < chance + gap for gap in (0.15, 0))
        found = difference(curves(a={8: first}, b={8: second}), "a", "b", 8)
        hits.append(found.low <= 0.15 <= found.high)
    assert np.mean(hits) >= 0.9


def test_the_spread_of_draws_widens_the_interval():
    same = np.tile([1, 0] * 48, (10, 1))
    apart = np.repeat([[1], [0]] * 5, 96, axis=1)
    assert same.mean() == apart.mean() == 0.5
    for table, deviation in ((same, 0.5 / 96**0.5), (apart, 0.5 / 10**0.5)):
        _, low, high = interval(table)
        assert high - low == pytest.approx(2 * 1.96 * deviation, rel=0.1)


@pytest.mark.parametrize("draws", [1, 10])
def test_where_all_agree_the_bounds_are_those_of_clopper_and_pearson(draws):
    edge = beta.ppf(0.025, 40, 1)  # the lower bound for 40 right of 40
    assert interval(np.ones((draws, 40))) == pytest.approx((1, edge, 1))
    assert interval(np.zeros((draws, 40))) == pytest.approx((0, 0, 1 - edge))


def test_one_draw_may_come_as_a_plain_list():
    mean, low, high = interval([1, 1, 0, 1])
    assert mean == 0.75 and 0 <= low < 0.75 < high <= 1


# Differences


def test_wins_ties_and_the_worst_draw_by_hand():
    first = np.array([[1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]])
    second = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0]])
    found = difference(curves(a={8: first}, b={8: second}), "a", "b", 8)
    assert (found.wins, found.ties, found.draws, found.worst) == (1, 1, 4, -0.75)
    assert found.mean == pytest.approx((6 - 8) / 16)  # 6 right against 8 of 16
    assert found.low < found.mean < found.high
    back = difference(curves(a={8: first}, b={8: second}), "b", "a", 8)
    assert (back.wins, back.ties, back.worst, back.mean) == (2, 1, -0.5, -found.mean)
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low), abs=0.02)


def test_pairing_by_question_takes_out_what_makes_questions_hard():
    hard = np.tile([1] * 30 + [0] * 30, (10, 1))
    better = hard.copy()
    better[:, 30:33] = 1
    found = difference(curves(a={8: better}, b={8: hard}), "a", "b", 8)
    alone = interval(better)
    assert found.mean == pytest.approx(0.05) and found.wins == 10
    assert found.high - found.low < 0.6 * (alone[2] - alone[1])


def test_pairing_is_by_draw_whatever_the_order_of_the_rows():
    table = np.random.default_rng(0).random((6, 20)) < 0.5
    results = curves(a={8: table}, b={8: table})
    shuffled = results.sample(frac=1, random_state=1)
    found = difference(shuffled, "a", "b", 8)
    assert found == (0, 0, 0, 0, 6, 6, 0)


def test_zero_shot_is_compared_with_every_draw():
    taught = np.random.default_rng(0).random((10, 24)) < 0.7
    bare = np.array([1, 0] * 12)
    results = curves(lora={8: taught, 32: taught}, **{"zero-shot": {0: bare}})
    found = difference(results, "lora", "zero-shot", 32)
    per_draw = taught.mean(1) - 0.5
    assert found.draws == 10 and found.mean == pytest.approx(per_draw.mean())
    assert found.wins == (per_draw > 0).sum() and found.worst == pytest.approx(per_draw.min())
    assert difference(results, "zero-shot", "lora", 32).mean == pytest.approx(-found.mean)


@pytest.mark.parametrize("draws", [[0, 1], [1, 2], [2], [0, 1, 2, 3]])
def test_other_draws_cannot_be_paired(draws):
    results = curves(a={8: np.eye(3)}, b={8: np.ones((4, 3))})
    results = results[(results.method == "a") | results.draw.isin(draws)]
    for compared in (
        lambda: difference(results, "a", "b", 8),
        lambda: crossing(results, "a", "b"),
    ):
        with pytest.raises(DataError) as caught:
            compared()
        assert "'a' and 'b' have not the same draws at 8 examples" in one_sentence(caught)


def test_a_difference_reads_as_a_sentence():
    found = compare.Difference(0.125, 0.02, 0.231, 7, 1, 10, -0.1)
    assert str(found) == "+0.12 (+0.02 to +0.23), better in 7 of 10 draws, 1 tied"
    assert str(found._replace(ties=0)).endswith("7 of 10 draws")
    assert str(found._replace(mean=-0.3)).startswith("-0.30 ")


# Where two curves cross


def share(right_of_eight: int) -> np.ndarray:
    """Ten draws that all answer that many of eight questions."""
    return np.tile([1] * right_of_eight + [0] * (8 - right_of_eight), (10, 1))


@pytest.mark.parametrize(
    ("gaps", "expected"),
    [
        ({8: -4, 32: 4}, 16),  # half way in log n
        ({8: -1, 128: 3}, 16),  # a quarter of four doublings
        ({8: -2, 32: -4, 128: 4}, 64),
        ({8: 4, 32: -1, 128: 3}, 32 * 2**0.5),  # the last crossing counts
        ({8: 0, 32: 4}, 8),  # level is not yet ahead
        ({8: 1, 32: 4}, 0),
        ({8: -4, 32: -1}, math.inf),
        ({8: 4, 32: 0}, math.inf),
        ({8: 3}, 0),
        ({8: -3}, math.inf),
    ],
)
def test_the_crossing_of_curves_without_noise(gaps, expected):
    a = {n: share(4 + gap if gap < 0 else 4) for n, gap in gaps.items()}
    b = {n: share(4 - gap if gap > 0 else 4) for n, gap in gaps.items()}
    point, low, high = crossing(curves(a=a, b=b), "a", "b")
    assert point == pytest.approx(expected)
    assert low <= point <= high


def test_the_interval_of_a_crossing_narrows_with_the_data():
    rng = np.random.default_rng(0)
    spans = []
    for items in (20, 400):
        a = {n: rng.random((10, items)) < p for n, p in {8: 0.3, 32: 0.5, 128: 0.7}.items()}
        b = {n: rng.random((10, items)) < 0.5 for n in (8, 32, 128)}
        point, low, high = crossing(curves(a=a, b=b), "a", "b")
        assert low <= point <= high and low < high
        assert low <= 32 <= high
        spans.append(math.log2(high) - math.log2(max(low, 1)))
    assert spans[1] < spans[0]


def test_curves_that_touch_may_never_cross_or_always_have():
    rng = np.random.default_rng(3)
    a = {n: rng.random((4, 12)) < 0.5 for n in (8, 32)}
    b = {n: rng.random((4, 12)) < 0.5 for n in (8, 32)}
    _, low, high = crossing(curves(a=a, b=b), "a", "b")
    assert (low, high) == (0, math.inf)


def test_a_curve_crosses_the_level_of_what_is_not_taught():
    results = curves(lora={8: share(2), 32: share(6)}, **{"zero-shot": {0: share(4)[:1]}})
    assert crossing(results, "lora", "zero-shot")[0] == pytest.approx(16)


def test_only_common_sizes_are_compared():
    results = curves(a={8: share(2), 16: share(8), 32: share(6)}, b={8: share(4), 32: share(4)})
    assert crossing(results, "a", "b")[0] == pytest.approx(16)


@pytest.mark.parametrize(
    "results",
    [
        curves(a={8: share(2)}, b={32: share(4)}),
        curves(a={8: share(2)}),
        curves(a={0: share(2)[:1]}, b={0: share(2)[:1]}),
    ],
    ids=["no common size", "one method", "not taught"],
)
def test_nothing_in_common_cannot_cross(results):
    with pytest.raises(DataError) as caught:
        crossing(results, "a", "b")
    assert "'a'" in one_sentence(caught)


# Tables


@pytest.fixture(scope="module")
def shown() -> pd.DataFrame:
    results = curves(
        majority={8: share(4)},
        lora={8: share(3), 32: np.vstack([share(6)[:9], share(1)[:1]])},
        tfidf={8: share(4), 32: share(5)},
        **{"zero-shot": {0: share(8)[:1]}},
    )
    return results.assign(teach_seconds=np.arange(len(results)), ask_seconds=2.0)


def test_the_summary_has_a_row_per_method_and_size(shown):
    found = compare.summary(shown)
    named = ["method", "shots", "mean", "low", "high", "worst", "draws"]
    assert list(found.columns) == [*named, "teach_seconds", "ask_seconds"]
    assert list(found[["method", "shots"]].itertuples(index=False, name=None)) == [
        ("majority", 8), ("lora", 8), ("lora", 32), ("tfidf", 8), ("tfidf", 32), ("zero-shot", 0),
    ]  # fmt: skip
    lora = found.iloc[2]
    assert (lora["mean"], lora.worst, lora.draws) == (pytest.approx(55 / 80), 1 / 8, 10)
    assert (lora.teach_seconds, lora.ask_seconds) == (24.5, 2)  # of rows 20 to 29
    assert (lora["mean"], lora.low, lora.high) == interval(right(shown, "lora", 32))
    assert found.iloc[5].draws == 1 and found.iloc[5]["mean"] == 1


def test_the_table_marks_the_best_of_each_column_and_reads_as_text(shown):
    wide = compare.table(shown).data
    assert list(wide.index) == ["majority", "lora", "tfidf", "zero-shot"]
    assert list(wide.columns) == [0, 8, 32]
    assert wide.loc["lora", 0] == "" and wide.loc["majority", 32] == ""
    for cell in wide.to_numpy().ravel():
        assert cell == "" or re.fullmatch(r"\d\.\d\d★? \(\d\.\d\d to \d\.\d\d\)", cell)
    starred = {(m, n) for m, n in product(wide.index, wide.columns) if "★" in wide.loc[m, n]}
    best = {("zero-shot", 0), ("majority", 8), ("tfidf", 8), ("lora", 32)}  # two are level at 8
    assert starred == best
    assert wide.loc["lora", 32].startswith("0.69★ (")


def test_the_tables_html_is_the_same_every_time_and_holds_the_cells(shown):
    page = compare.table(shown, "Tickets & co").to_html()
    assert page == compare.table(shown, "Tickets & co").to_html()
    for cell in compare.table(shown).data.to_numpy().ravel():
        assert cell in page
    assert "Tickets" in page and "comparison" in page


# The command line

COMMAND = "--task kinds --draws 2 --shots 2 4 --items 4 --methods majority lora tfidf --out"


@pytest.fixture
def command(tiny, spy, tmp_path, monkeypatch):
    """Run the command with the tiny model and task; `out` is in `tmp_path`."""
    monkeypatch.setattr(command_line.models, "load", lambda name: tiny)
    monkeypatch.setattr(command_line, "load_task", lambda name: {"kinds": CLOSED}[name])

    def run(options: str = COMMAND) -> int:
        return command_line.main([*options.split(), str(tmp_path / "kinds.csv")])

    return run


def test_the_command_stores_and_prints(command, tmp_path, capsys):
    assert command() == 0
    stored = pd.read_csv(tmp_path / "kinds.csv", dtype={"right": str})
    assert len(stored) == 3 * 2 * 2 and set(stored.right.str.len()) == {4}
    said = capsys.readouterr().out
    assert f"Stored in {tmp_path / 'kinds.csv'}." in said
    for word in ("majority", "lora", "TF-IDF", "worst"):
        assert word in said


def test_an_interrupted_command_says_how_to_go_on(command, spy, tmp_path, capsys):
    spy.stop_at = 5
    assert command() == 130
    said = capsys.readouterr()
    assert said.out == ""
    assert "Interrupted: what is done is in" in said.err and "the same command goes on" in said.err
    assert len(pd.read_csv(tmp_path / "kinds.csv")) == 5
    spy.stop_at = None
    assert command() == 0 and len(spy.calls) == 12


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("--shots 2 4", "--shots 2 99", "has 12 training examples, so 99 cannot be drawn"),
        ("--items 4", "--items 99", "has 6 held-out examples, not 99"),
        ("--draws 2", "--draws 0", "at least 1 draw"),
    ],
)
def test_an_error_is_one_line_and_stores_nothing(command, tmp_path, capsys, old, new, said):
    assert command(COMMAND.replace(old, new)) == 1
    (line,) = [row for row in capsys.readouterr().err.splitlines() if row.strip()]
    assert said in line and list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_one_line(command, tmp_path, capsys):
    assert command() == 0
    (tmp_path / "kinds.csv").write_text("dear diary\n")
    capsys.readouterr()
    assert command() == 1
    (line,) = [row for row in capsys.readouterr().err.splitlines() if row.strip()]
    assert "kinds.csv is damaged" in line


def test_an_unknown_task_or_a_missing_model_is_one_line(tmp_path, capsys, monkeypatch):
    def missing(name):
        raise ModelError(f"The model {name!r} could not be loaded.")

    monkeypatch.setattr(command_line.models, "load", missing)
    out = str(tmp_path / "x.csv")
    for options, said in (
        (["--task", "nonsense"], "There is no task 'nonsense'"),
        (["--task", "reviews", "--model", "none"], "The model 'none' could not be loaded."),
    ):
        assert command_line.main([*options, "--out", out]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_method_is_refused_by_the_command(command, capsys):
    with pytest.raises(SystemExit) as caught:
        command("--task kinds --methods magic --out")
    assert caught.value.code == 2 and "magic" in capsys.readouterr().err


def test_the_command_stores_beside_the_data_by_default(tiny, spy, tmp_path, monkeypatch):
    monkeypatch.setattr(command_line, "DATA", tmp_path)
    monkeypatch.setattr(command_line.models, "load", lambda name: tiny)
    assert (
        command_line.main(
            ["--task", "category", "--draws", "1", "--shots", "2", "--methods", "majority"]
        )
        == 0
    )
    assert len(pd.read_csv(tmp_path / "results" / "category.csv")) == 1


# Stored results

MACHINE = {"Python", "torch", "transformers", "device", "cores", "model", "threads"}


def asked_for(command: str) -> argparse.Namespace:
    """The options of a recorded command, with the defaults of `helpers.compare`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--task", required=True)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--shots", type=int, nargs="+", default=[8, 32, 128, 256])
    parser.add_argument("--items", type=int, default=96)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    start = "python -m helpers.compare "
    assert command.startswith(start)
    return parser.parse_known_args(shlex.split(command.removeprefix(start)))[0]


def too_long(task: Task, method: str, shots: int, draw: int) -> bool:
    """Whether a draw may exceed the context, at about four letters a token, and has no row."""
    letters = len(plain(task, task.draw(shots, draw), ""))
    return method == "in-context" and letters > 3 * CONTEXT


def lacking(path) -> list[str]:
    """What a record promises and its table does not hold."""
    record = json.loads(path.read_text(encoding="utf-8"))
    table = pd.read_csv(path.with_suffix(".csv"), dtype={"right": str}, keep_default_na=False)
    task = load_task(record["task"])
    found = [] if set(table.columns) == set(COLUMNS) else ["columns"]
    if record["data"] != settled(task, questions(task, record["questions"]))["data"]:
        found.append("the data as they are now")
    bits = table["right"]
    if not (bits.str.len() == record["questions"]).all():
        found.append("an answer to every question")
    accuracy = bits.str.count("1") / record["questions"]
    if not np.allclose(accuracy, table["accuracy"], atol=1e-6):
        found.append("the accuracy of the answers")
    for run in record["runs"]:
        if not re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", run["date"]):
            found.append("a date")
        found += sorted(MACHINE - run.keys())
        options = asked_for(run["command"])
        if (options.task, options.items) != (record["task"], record["questions"]):
            found.append("the command's task and questions")
        for method in options.methods:
            if method in methods.CLOSED_ONLY and not task.labels:
                continue
            once = method in methods.UNTAUGHT
            for n in [0] if once else options.shots:
                rows = table[(table["from"] == method) & (table["shots"] == n)]
                due = {d for d in range(options.draws) if not too_long(task, method, n, d)}
                if not set(rows["draw"]) >= ({0} if once else due):
                    found.append(f"the draws of {method} at {n}")
    return found


def test_stored_results_hold_what_their_record_says():
    tables = sorted((DATA / "results").glob("*.csv"))
    records = [path.with_suffix(".json") for path in tables if path.with_suffix(".json").exists()]
    made_here = [
        path for path in records if '"python -m helpers.compare ' in path.read_text("utf-8")
    ]
    assert {path.name: lacking(path) for path in made_here} == {p.name: [] for p in made_here}
    for path in made_here:
        assert path.stem.startswith(json.loads(path.read_text("utf-8"))["task"])


def test_a_stored_result_that_lacks_something_is_found(tiny, spy, tmp_path, monkeypatch):
    command = "--task category --draws 2 --shots 2 4 --items 8 --methods majority zero-shot lora"
    path = tmp_path / "category.csv"
    monkeypatch.setattr(command_line.models, "load", lambda name: tiny)
    monkeypatch.setattr("sys.argv", ["helpers/compare/__main__.py", *command.split()])
    assert command_line.main([*command.split(), "--out", str(path)]) == 0
    record = path.with_suffix(".json")
    assert lacking(record) == []
    whole, told = path.read_text(), record.read_text()
    path.write_text(whole[: whole.rstrip().rindex("\n") + 1])
    assert lacking(record) == ["the draws of lora at 4"]
    path.write_text(whole)
    for old, new, missing in (
        (" UTC", "", "a date"),
        ('"torch"', '"torches"', "torch"),
        ("--draws 2", "--draws 3", "the draws of majority at 2"),
        ("--items 8", "--items 9", "the command's task and questions"),
        ('"data": "', '"data": "0', "the data as they are now"),
    ):
        assert old in told
        record.write_text(told.replace(old, new))
        assert missing in lacking(record)


def test_a_stored_result_is_read_by_name_and_a_missing_one_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(intervals, "DATA", tmp_path)
    (tmp_path / "results").mkdir()
    row = {"method": "lora", "shots": 8, "draw": 0, "right": "0101", "note": ""}
    pd.DataFrame([row]).to_csv(tmp_path / "results" / "job.csv", index=False)
    assert compare.stored("job").to_dict("records") == [row]  # the bits as text, the note empty
    with pytest.raises(DataError, match=r"absent\.csv does not exist: data/README\.md gives"):
        compare.stored("absent")


def test_fewer_shown_examples_mean_fewer_passes(tiny, spy):
    seen = []
    spy.methods["lora"] = lambda *given: seen.append(given[-1]) or spy.method("lora")(*given)
    measured(tiny, draws=1, shown=24)
    assert seen == [24, 24] and methods.epochs(6, 24) == 4


def test_the_interval_of_a_difference_of_nought_keeps_its_spread():
    mean, low, high = interval(np.array([[1.0, -1.0] * 20]))
    assert mean == 0 and low < -0.1 and high > 0.1

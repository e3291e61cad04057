"""One reader of stored rows, and intervals that cover what they should."""

import math
import re
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import beta
from test_study import refused

from helpers import compare, curves
from helpers.compare import Interval, ahead, difference, interval, right, values, where
from helpers.data import DATA
from lessons.contest import crossing


def rows_of(**rights: dict[int, np.ndarray]) -> pd.DataFrame:
    """Results that hold, for each way and number of examples, an array [draws, questions]."""
    rows = []
    for way, by_shots in rights.items():
        for shots, table in by_shots.items():
            for draw, bits in enumerate(np.atleast_2d(table)):
                row = {"task": "kinds", "shots": shots, "draw": draw, "way": way}
                rows.append(row | compare.scored(map(bool, bits)))
    return pd.DataFrame(rows)


# Rows


@given(arrays(bool, st.tuples(st.integers(1, 5), st.integers(1, 9))), st.integers(0, 9))
def test_what_is_stored_as_bits_comes_back_by_draw_whatever_the_order(table, seed):
    results = rows_of(lora={8: table, 32: ~table}, full={8: ~table})
    found = right(results.sample(frac=1, random_state=seed), way="lora", shots=8)
    assert found.dtype == bool and (found == table).all()
    assert compare.bits(table[0]).count("1") == table[0].sum()


def test_rows_of_a_draw_stand_side_by_side_in_their_order():
    results = pd.concat([rows_of(a={8: [[1, 0], [0, 0]]}), rows_of(a={8: [[1, 1], [0, 1]]})])
    assert right(results).astype(int).tolist() == [[1, 0, 1, 1], [0, 0, 0, 1]]


def test_several_values_may_be_wanted_and_numbers_are_read_too():
    results = rows_of(a={8: np.eye(3)}, b={8: np.ones((3, 3))}, c={8: np.zeros((3, 3))})
    assert len(where(results, way=["a", "b"])) == 6
    assert values(results, way="a") == pytest.approx([1 / 3] * 3)


def test_what_is_not_in_the_results_or_does_not_match_is_said():
    results = rows_of(lora={8: np.ones((2, 3))})
    for way, shots in (("lora", 16), ("full", 8)):
        asked = {"way": way, "shots": shots}
        refused(lambda asked=asked: right(results, **asked), f"of way {way!r}, shots {shots}")
    uneven = pd.concat([rows_of(a={8: [[1, 0]]}), rows_of(a={8: [[1], [0]]})])
    refused(lambda: right(uneven), "Not every draw")


def test_a_stored_result_is_read_by_name_and_a_missing_one_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "DATA", tmp_path)
    (tmp_path / "results").mkdir()
    row = {"way": "lora", "shots": 8, "draw": 0, "right": "0101", "note": ""}
    pd.DataFrame([row]).to_csv(tmp_path / "results" / "job.csv", index=False)
    assert compare.stored("job").to_dict("records") == [row]  # the bits as text, the note empty
    refused(lambda: compare.stored("absent"), "absent.csv does not exist: data/README.md gives")


# Tables without rows of answers.
OTHER = ("benchmarks", "cell_seconds", "findings", "full_change", "growth", "verdicts")
TABLES = [path for path in sorted((DATA / "results").glob("*.csv")) if path.stem not in OTHER]


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_every_stored_table_has_the_one_form(path):
    rows = compare.read(path)
    assert set(compare.SCHEMA) <= set(rows)
    assert rows["right"].str.fullmatch("[01]*").all()
    told = rows[rows["right"] != ""]
    shares = told["right"].map(lambda bits: bits.count("1") / len(bits))
    assert np.allclose(shares, told["value"].astype(float), atol=1e-6)


# Intervals


def test_an_interval_prints_itself_in_any_number_format():
    share = Interval(0.714, 0.5, 0.861)
    assert str(share) == f"{share}" == "0.71 (0.50 to 0.86)"
    assert f"{-share:+.1f}" == "-0.7 (-0.9 to -0.5)"
    assert f"{Interval(2325.4, 2218, 2459):,.0f}" == "2,325 (2,218 to 2,459)"


def test_the_interval_covers_the_truth():
    rng = np.random.default_rng(0)
    hits, widths = [], []
    for _ in range(200):
        truth = rng.uniform(0.3, 0.8)  # chances vary a little around it, by draw and by question
        chances = truth + rng.normal(0, 0.04, (10, 1)) + rng.normal(0, 0.08, (1, 48))
        table = rng.random((10, 48)) < chances
        mean, low, high = interval(table)
        assert low < mean < high and mean == table.mean()
        hits.append(low <= truth <= high)
        widths.append(high - low)
    assert np.mean(hits) >= 0.9
    assert np.mean(widths) < 0.2  # not by being wide


def test_the_spread_of_draws_widens_the_interval():
    same = np.tile([1, 0] * 48, (10, 1))
    apart = np.repeat([[1], [0]] * 5, 96, axis=1)
    assert same.mean() == apart.mean() == 0.5
    for table, deviation in ((same, 0.5 / 96**0.5), (apart, 0.5 / 10**0.5)):
        _, low, high = interval(table)
        assert high - low == pytest.approx(2 * 1.96 * deviation, rel=0.1)


@pytest.mark.parametrize("draws", [1, 10])
@pytest.mark.parametrize("nested", [False, True])
def test_where_all_agree_the_bounds_are_those_of_clopper_and_pearson(draws, nested):
    questions = 40 * draws if nested else 40
    edge = beta.ppf(0.025, questions, 1)  # the lower bound for all of them right
    table = np.ones((draws, 40), dtype=bool)
    assert interval(table, nested=nested) == pytest.approx((1, edge, 1))
    assert interval(~table, nested=nested) == pytest.approx((0, 0, 1 - edge))


def test_booleans_may_be_one_draw_and_numbers_one_for_each():
    mean, low, high = interval([True, True, False, True])
    assert mean == 0.75 and 0 <= low < 0.75 < high <= 1
    assert interval([2.0, 2.0, 2.0]) == (2, 2, 2)
    wide = interval([0.0, 1.0] * 5)
    assert wide.mean == 0.5 and wide.high - wide.low == pytest.approx(0.62, abs=0.05)
    level = interval(np.array([[1.0, -1.0] * 20]))  # nought on average is no nought throughout
    assert level.mean == 0 and level.low < -0.1 and level.high > 0.1


@given(arrays(float, st.integers(1, 12), elements=st.floats(-9, 9)))
def test_the_mean_lies_in_its_interval_and_turning_turns_it(numbers):
    here, there = interval(numbers), interval(-numbers)
    assert here.low <= here.mean <= here.high
    assert -here == pytest.approx(there)


@pytest.mark.parametrize(
    ("low", "high", "lead", "who"),
    [
        (0.02, 0.3, 0, "weights"), (-0.4, -0.1, 0, "prompt"), (-0.1, 0.3, 0, ""),
        (0.0, 0.3, 0, ""), (0.05, 0.3, 0.1, ""), (0.15, 0.3, 0.1, "weights"),
        (-0.3, -0.05, 0.1, ""), (-0.3, -0.15, 0.1, "prompt"),
    ],
)  # fmt: skip
def test_only_a_sure_lead_is_ahead(low, high, lead, who):
    assert ahead(Interval((low + high) / 2, low, high), lead) == who


# Differences


def gap_of(first, second):
    return difference(rows_of(a={8: first}, b={8: second}), "a", "b", shots=8)


def test_wins_ties_and_the_worst_draw_by_hand():
    first = np.array([[1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]])
    second = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0]])
    found, back = gap_of(first, second), gap_of(second, first)
    assert (found.wins, found.ties, found.draws, found.worst) == (1, 1, 4, -0.75)
    assert found.mean == pytest.approx((6 - 8) / 16)  # 6 right against 8 of 16
    assert found.low < found.mean < found.high
    assert (back.wins, back.ties, back.worst, back.mean) == (2, 1, -0.5, -found.mean)
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low), abs=0.02)


def test_the_difference_from_a_way_that_is_never_right_has_the_bounds_of_a_mean():
    some_right = np.random.default_rng(1).random((6, 20)) < 0.4
    assert gap_of(some_right, 0 * some_right)[:3] == pytest.approx(interval(some_right))


def test_pairing_by_question_takes_out_what_makes_questions_hard():
    hard = np.tile([1] * 30 + [0] * 30, (10, 1))
    better = hard.copy()
    better[:, 30:33] = 1
    found = gap_of(better, hard)
    alone = interval(better)
    assert found.mean == pytest.approx(0.05) and found.wins == 10
    assert found.high - found.low < 0.6 * (alone[2] - alone[1])


def test_pairing_is_by_draw_whatever_the_order_of_the_rows():
    table = np.random.default_rng(0).random((6, 20)) < 0.5
    results = rows_of(a={8: table}, b={8: table})
    found = difference(results.sample(frac=1, random_state=1), "a", "b", shots=8)
    assert found == (0, 0, 0, 0, 6, 6, 0)


def test_zero_shot_is_compared_with_every_draw():
    taught = np.random.default_rng(0).random((10, 24)) < 0.7
    bare = np.array([1, 0] * 12)
    results = rows_of(lora={8: taught, 32: taught}, **{"zero-shot": {0: bare}})
    found = difference(results, "lora", "zero-shot", shots=32)
    per_draw = taught.mean(1) - 0.5
    assert found.draws == 10 and found.mean == pytest.approx(per_draw.mean())
    assert found.wins == (per_draw > 0).sum() and found.worst == pytest.approx(per_draw.min())
    assert difference(results, "zero-shot", "lora", shots=32).mean == pytest.approx(-found.mean)


@pytest.mark.parametrize("draws", [[0, 1], [1, 2], [2], [0, 1, 2, 3]])
def test_other_draws_cannot_be_paired(draws):
    results = rows_of(a={8: np.eye(3)}, b={8: np.ones((4, 3))})
    results = results[(results.way == "a") | results.draw.isin(draws)]
    said = "'a' and 'b' have not the same draws"
    refused(lambda: difference(results, "a", "b", shots=8), said)
    refused(lambda: crossing(results, "a", "b"), said)


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
    point, low, high = crossing(rows_of(a=a, b=b), "a", "b")
    assert point == pytest.approx(expected)
    assert low <= point <= high


def test_the_interval_of_a_crossing_narrows_with_the_data():
    rng = np.random.default_rng(0)
    spans = []
    for items in (20, 400):
        a = {n: rng.random((10, items)) < p for n, p in {8: 0.3, 32: 0.5, 128: 0.7}.items()}
        b = {n: rng.random((10, items)) < 0.5 for n in (8, 32, 128)}
        point, low, high = crossing(rows_of(a=a, b=b), "a", "b")
        assert low <= point <= high and low < high
        assert low <= 32 <= high
        spans.append(math.log2(high) - math.log2(max(low, 1)))
    assert spans[1] < spans[0]


def test_curves_that_touch_may_never_cross_or_always_have():
    rng = np.random.default_rng(3)
    a = {n: rng.random((4, 12)) < 0.5 for n in (8, 32)}
    b = {n: rng.random((4, 12)) < 0.5 for n in (8, 32)}
    _, low, high = crossing(rows_of(a=a, b=b), "a", "b")
    assert (low, high) == (0, math.inf)


def test_only_common_sizes_are_compared_and_what_is_not_taught_is_a_level():
    results = rows_of(a={8: share(2), 16: share(8), 32: share(6)}, b={8: share(4), 32: share(4)})
    assert crossing(results, "a", "b")[0] == pytest.approx(16)
    results = rows_of(lora={8: share(2), 32: share(6)}, **{"zero-shot": {0: share(4)[:1]}})
    assert crossing(results, "lora", "zero-shot")[0] == pytest.approx(16)


NOTHING = {
    "no common size": rows_of(a={8: share(2)}, b={32: share(4)}),
    "one method": rows_of(a={8: share(2)}),
    "not taught": rows_of(a={0: share(2)[:1]}, b={0: share(2)[:1]}),
}


@pytest.mark.parametrize("results", NOTHING.values(), ids=NOTHING)
def test_nothing_in_common_cannot_cross(results):
    refused(lambda: crossing(results, "a", "b"), "'a'")


# Tables


@pytest.fixture(scope="module")
def shown() -> pd.DataFrame:
    results = rows_of(
        majority={8: share(4)},
        lora={8: share(3), 32: np.vstack([share(6)[:9], share(1)[:1]])},
        tfidf={8: share(4), 32: share(5)},
        **{"zero-shot": {0: share(8)[:1]}},
    )
    return results.assign(teach_seconds=np.arange(len(results)), ask_seconds=2.0)


def test_the_summary_has_a_row_per_method_and_size(shown):
    found = compare.summary(shown)
    named = ["way", "shots", "mean", "low", "high", "worst", "draws"]
    assert list(found.columns) == [*named, "teach_seconds", "ask_seconds"]
    assert list(found[["way", "shots"]].itertuples(index=False, name=None)) == [
        ("majority", 8), ("lora", 8), ("lora", 32), ("tfidf", 8), ("tfidf", 32), ("zero-shot", 0),
    ]  # fmt: skip
    lora = found.iloc[2]
    assert (lora["mean"], lora.worst, lora.draws) == (pytest.approx(55 / 80), 1 / 8, 10)
    assert (lora.teach_seconds, lora.ask_seconds) == (24.5, 2)  # of rows 20 to 29
    assert (lora["mean"], lora.low, lora.high) == interval(right(shown, way="lora", shots=32))
    assert found.iloc[5].draws == 1 and found.iloc[5]["mean"] == 1


def test_the_table_marks_the_best_of_each_column_and_reads_as_text(shown):
    wide = curves.table(shown).data
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
    made, again = (curves.table(shown, "Tickets & co") for _ in range(2))
    page = made.to_html()
    assert page == again.to_html() and "Tickets" in page and "comparison" in page
    assert all(cell in page for cell in made.data.to_numpy().ravel())

"""What larger models did: read as published, with intervals that hold the medians."""

import pandas as pd
import pytest

from lessons import larger

ROWS = larger.published()


def test_a_size_that_was_run_once_is_left_out_and_intervals_hold_the_median():
    once = ROWS[ROWS.runs == 1].assign(model=larger.PROMPT, way="in-context")
    assert larger.curve(once, "banking77", "prompt") == {}
    weights = ROWS[(ROWS.data == "banking77") & (ROWS.way == "fine-tuned")]
    failed = weights[weights.standard_deviation > 0.15].iloc[0]
    wide = larger.curve(ROWS, "banking77", "weights")[failed.examples]
    assert wide.high - wide.low > 0.2 and wide.mean == failed.median_accuracy


@pytest.mark.parametrize("data", larger.NAMES)
def test_every_data_set_has_all_lines(data):
    for line in larger.LINES:
        curve = larger.curve(ROWS, data, line)
        assert len(curve) > 3 and all(0 <= p.low <= p.mean <= p.high <= 1 for p in curve.values())


def test_contrasts_are_those_of_the_medians():
    def rows(way, model, accuracy):
        return [
            {"data": data, "model": model, "way": way, "examples": n, "runs": 5}
            | dict.fromkeys(["mean_accuracy", "median_accuracy"], a)
            | {"standard_deviation": 0.01}
            for data in larger.NAMES
            for n, a in accuracy.items()
        ]

    made = rows("fine-tuned", larger.WEIGHTS, {32: 0.2, 256: 0.5, 1024: 0.9})
    made += rows("in-context", larger.PROMPT, {16: 0.4, 64: 0.6, 512: 0.7})
    made += rows("in-context, retrieved", larger.PROMPT, {1: 0.8})
    table = larger.at_7b(pd.DataFrame(made)).round(6)
    expected = [0.9, 0.3, 0.1, 0.5, -0.3, 0.2]  # half-way from 16 to 64 the prompt is at .5
    assert table.to_numpy().tolist() == [expected] * len(larger.NAMES)
    few, equal, many, better, most = larger.compared(pd.DataFrame(made)).iloc[0]
    assert (round(few, 6), round(many, 6), round(better, 6)) == (-0.3, 0.2, 0.1)
    assert round(equal, 6) == 0.0 and most == "1,024 and 512"  # half-way from 256 to 1,024: .7


def test_the_figure_shows_three_data_sets_from_the_lowest_end_to_the_highest(monkeypatch):
    drawn = []
    monkeypatch.setattr(larger.plots, "whiskers", lambda panels, *_, **more: drawn.append(panels))
    larger.draw(ROWS)
    ends = larger.at_7b(ROWS)["at many"]
    shown = ends[list(drawn[0])]
    assert sorted(shown) == [ends.min(), ends.median(), ends.max()]
    assert all(list(lines) == list(larger.LINES) for lines in drawn[0].values())

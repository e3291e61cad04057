"""Timing one question at a time: what is asked, counted and stored, and how it is summed up."""

import math
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from test_curves import CLOSED

from helpers import cost, finetune
from helpers.compare import interval
from helpers.data import DataError, Example, balanced_order, texts
from helpers.prompts import count_tokens, encode, plain
from helpers.scoring import predict, score_labels
from helpers.study import carry_out
from helpers.teaching import LORA
from lessons import l04_costs as costs

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tiny(make_tiny):
    return make_tiny("llama")


def timed(lm, draw, task=CLOSED, shots=4, **options):
    return costs.timed(lm, task, task.draw(shots, draw), draw, **options)


@pytest.fixture(scope="module")
def measured(tiny):
    draws = [pd.DataFrame(timed(tiny, d, most=3, seen=8)).assign(draw=d, shots=4) for d in (0, 1)]
    return pd.concat(draws, ignore_index=True)


def teaching(results, way):
    return results[(results["way"] == way) & (results["query"] == costs.TEACHING)]


# What the learner builds


def test_behind_a_kept_prompt_the_next_token_is_that_of_reading_all_anew(tiny):
    queries = [example.text for example in CLOSED.held_out[:3]]
    shown, rests = costs.split(tiny, CLOSED, CLOSED.train[:3], queries)
    wholes = [encode(tiny.tokenizer, plain(CLOSED, CLOSED.train[:3], text)) for text in queries]
    assert [shown + rest for rest in rests] == wholes
    cache = costs.read(tiny, shown).past_key_values
    for whole, rest in zip(wholes, rests, strict=True):
        behind = costs.ask_behind(tiny, cache, shown, rest)
        assert np.allclose(behind, costs.read(tiny, whole).logits[0, -1], atol=1e-4)
    assert cache.get_seq_length() == len(shown)


def test_reading_is_counted_as_the_course_counts_it(tiny):
    for tokens, cached in ((7, 0), (3, 20)):
        own = costs.reading_flops(tiny.model, tokens, cached)
        assert own == cost.forward_flops(tiny, tokens, cached)


# What is measured


def test_every_way_is_taught_once_and_asked_until_right(measured):
    for (_, way), rows in measured.groupby(["draw", "way"]):
        asked = len(rows) - 1
        assert list(rows["query"]) == list(range(asked + 1)) and rows["right"].iloc[0] == ""
        right = rows["right"].iloc[1:]
        assert asked == min(3, costs.ASKED[way]) or (asked > 3 and list(right[:3]) == ["0"] * 3)
    assert set(measured["way"]) == set(costs.WAYS)
    assert (measured[["seconds", "processor_seconds"]] >= 0).all().all()


def test_a_way_that_is_never_right_is_asked_everything(tiny, monkeypatch):
    monkeypatch.setattr(costs, "_asked", lambda service, text: (service.prompt(), -1))
    wrong = [e for e in CLOSED.held_out if e.label == CLOSED.labels[0]]
    task = CLOSED.__class__(**vars(CLOSED) | {"held_out": tuple(wrong)})
    rows = timed(tiny, 0, task, 2, ways=["zero-shot"], most=1)
    assert [row["right"] for row in rows] == ["", *"0" * len(wrong)]


def test_answers_are_those_of_scoring_and_all_ways_get_the_same_questions(tiny, measured):
    for draw in (0, 1):
        asked = balanced_order(CLOSED.held_out, CLOSED.labels, draw)
        shown = {"zero-shot": [], "prompt, kept": CLOSED.draw(4, draw)}
        shown["prompt, read anew"] = shown["prompt, kept"]
        for way, drawn in shown.items():
            rows = measured[(measured["draw"] == draw) & (measured["way"] == way)][1:]
            some = asked[: len(rows)]
            answers = predict(CLOSED, score_labels(tiny, CLOSED, drawn, texts(some)))
            right = [str(int(a == e.label)) for a, e in zip(answers, some, strict=True)]
            assert list(rows["right"]) == right


def test_tokens_and_bytes_are_counted(tiny, measured):
    kept, anew, taught = (
        teaching(measured, way).iloc[0] for way in ("prompt, kept", "prompt, read anew", "weights")
    )
    drawn = CLOSED.draw(4, 0)
    assert kept["bytes"] == cost.cache_bytes(tiny, kept["tokens"])
    assert anew["tokens"] == 0 and anew["bytes"] == len(plain(CLOSED, drawn, "").encode())
    encoded = finetune.encode_examples(tiny, CLOSED, drawn)
    assert taught["tokens"] == 2 * sum(len(example.tokens) for example in encoded)
    assert taught["bytes"] == 4 * cost.adapter_weights(tiny, LORA.rank)
    first = balanced_order(CLOSED.held_out, CLOSED.labels, 0)[0]
    whole = count_tokens(tiny.tokenizer, plain(CLOSED, drawn, first.text))
    asked = measured[(measured["draw"] == 0) & (measured["query"] == 1)].set_index("way")["tokens"]
    assert asked["prompt, read anew"] == whole == asked["prompt, kept"] + kept["tokens"]


def test_services_are_asked_in_turns():
    first, second = (np.arange(len(CLOSED.labels)) == i for i in (0, 1))
    services = {"one": lambda text: first, "two": lambda text: second}
    found = list(costs.in_turns(services, CLOSED, CLOSED.held_out[:2]))
    assert [name for name, *_ in found] == ["one", "two"] * 2
    truth = [e.label == label for e in CLOSED.held_out[:2] for label in CLOSED.labels[:2]]
    assert [right for _, right, _ in found] == truth and all(took >= 0 for *_, took in found)


def test_what_is_merged_is_asked_of_the_base_while_the_adapter_is_in_it():
    class Model:
        merged = False

        def merge_adapter(self):
            self.merged = True

        def unmerge_adapter(self):
            self.merged = False

    model, asked = Model(), CLOSED.held_out[:3]
    first, truth = CLOSED.labels[0], {e.text: CLOSED.labels.index(e.label) for e in asked}

    def untaught(text):  # right while the adapter is in its matrices
        return np.eye(len(CLOSED.labels))[truth[text] if model.merged else 0]

    services = {"untaught": untaught, "always the first": lambda text: np.eye(9)[0]}
    trained = SimpleNamespace(model=model)
    table = costs.asked_in_turns(services, trained, CLOSED, asked, at_once=2)
    assert list(table.index) == [*services, costs.MERGED] and not model.merged
    share = np.mean([example.label == first for example in asked])
    assert table["share right"].tolist() == pytest.approx([share, share, 1])
    assert (table["seconds a query"] >= 0).all()


def test_the_clock_tells_waiting_from_working():
    with cost.Clock() as clock:
        time.sleep(0.2)
    assert clock.wall >= 0.2 and clock.processor < 0.1


def test_the_study_times_each_draw_and_what_is_stored_is_not_timed_again(
    tiny, tmp_path, monkeypatch
):
    monkeypatch.setattr(costs, "load_task", lambda name: CLOSED)
    taught, serve = [], costs.serve
    monkeypatch.setattr(costs, "serve", lambda *a: taught.append(a[3]) or serve(*a))
    ways = ["zero-shot", "prompt, kept"]
    for draws in (1, 2):
        study = costs.costs_study(tiny, draws, shots=[2], ways=ways, most=2)
        both = carry_out(study, tiny, tmp_path / "costs.csv")
    assert taught == ways * 2 and set(both["draw"]) == {0, 1}


# How it is summed up


def rows(way: str, once: float, each: list[float], right: str = "", draw: int = 0) -> list[dict]:
    """A draw's rows with twice as many seconds on the wall."""
    bits = ["", *right.ljust(len(each), "0")]
    return [
        {"task": "toy", "shots": 8, "draw": draw, "way": way, "query": number, "right": bit}
        | {"seconds": 2 * time, "processor_seconds": time, "tokens": 10 * number, "bytes": 2000}
        for number, (bit, time) in enumerate(zip(bits, [once, *each], strict=True))
    ]


MADE = pd.DataFrame(
    [
        *rows("prompt, kept", 1, [0.5, 0.5, 0.5], "001"),
        *rows("weights", 11, [0.25, 0.25], "01"),
        *rows("zero-shot", 0, [0.1], "0"),
        *rows("prompt, kept", 1, [0.75, 0.75], "1", draw=1),
        *rows("weights", 12, [0.25, 0.25], "00", draw=1),
        *rows("zero-shot", 0, [0.1], "0", draw=1),
    ]
)


def test_spent_is_the_teaching_and_the_mean_query():
    taught, asked = costs.spent(MADE, "weights", 8)
    assert list(taught) == [11, 12] and list(asked) == [0.25, 0.25]
    assert list(costs.spent(MADE, "weights", 8, "seconds")[0]) == [22, 24]
    with pytest.raises(DataError, match="hold nothing of way 'weights', shots 9"):
        costs.spent(MADE, "weights", 9)


def test_crossing_is_the_break_even_of_the_means():
    """(11.5 - 1) / (0.625 - 0.25), between what either draw alone would give."""
    at, low, high = costs.crossing(MADE, "weights", "prompt, kept", 8)
    assert at == pytest.approx(28)
    assert (low, high) == (pytest.approx(11 / 0.5), pytest.approx(10 / 0.25))
    assert costs.crossing(MADE, "weights", "prompt, kept", 8, "seconds")[0] == pytest.approx(28)
    assert costs.crossing(MADE, "weights", "zero-shot", 8) == (math.inf,) * 3
    assert costs.crossing(MADE, "zero-shot", "weights", 8) == (0, 0, 0)


def test_only_common_questions_decide_a_crossing():
    longer = pd.concat([MADE, pd.DataFrame(rows("weights", 0, [0.25, 0.25, 99])[3:])])
    assert costs.crossing(longer, "weights", "zero-shot", 8) == (math.inf,) * 3
    assert costs.crossing(longer, "weights", "prompt, kept", 8)[0] == math.inf
    cut = longer[longer["query"] < 3]
    assert costs.crossing(cut, "weights", "prompt, kept", 8)[0] == pytest.approx(28)


def test_merged_weights_are_taught_as_weights_and_asked_as_the_untaught():
    both = costs.merged(MADE)
    taught, asked = costs.spent(both, "weights, merged", 8)
    assert list(taught) == [11, 12] and list(asked) == [0.1, 0.1]
    assert len(both) == len(MADE) + 4 and not set(both.iloc[len(MADE) :]["right"]) - {""}


def test_until_right_ends_with_the_first_right_answer():
    found = costs.until_right(MADE, "prompt, kept", 8)
    assert list(found["questions"]) == [3, 1] and list(found["seconds"]) == [2.5, 1.75]
    never = costs.until_right(MADE, "weights", 8)
    assert list(never["questions"]) == [2, math.inf] and never["seconds"][1] == math.inf


def test_right_is_the_share_of_the_questions():
    assert list(costs.share_right(MADE, "prompt, kept", 8)) == [1 / 3, 1 / 2]
    assert list(costs.share_right(MADE, "weights", 8)) == [1 / 2, 0]


def test_means_are_what_a_way_took_over_all_draws():
    found = costs.means(pd.concat([MADE, MADE.replace("zero-shot", "prompt, read anew")]), 8)
    assert found["weights"] == (11.5, 0.25, 0.25)
    assert list(found) == list(costs.WAYS)


def test_a_figure_shows_where_training_pays_and_says_when_it_never_does(monkeypatch):
    drawn = []
    monkeypatch.setattr(costs.figures, "growth", lambda *given: drawn.append(given))
    both = pd.concat(
        [MADE, MADE[MADE["way"] == "prompt, kept"].replace("prompt, kept", "prompt, read anew")]
    )
    assert costs.show_totals(both) == 28
    dear = both.assign(
        processor_seconds=both["processor_seconds"].where(both["way"] != "weights", 99)
    )
    assert costs.show_totals(dear) == math.inf
    (_, _, _, title, sentence, marks), (_, _, _, never, _, none) = drawn
    assert "from query 28 on against a prompt read anew;\nmerged, from query 20 on" in title
    assert sentence.count("95 % interval 22 to 40") == 2
    assert list(marks[""]) == ["28 queries", "20 queries"]
    assert "never against a prompt read anew" in never and list(none[""]) == ["187 queries"]


def test_findings_are_those_of_the_rows(monkeypatch):
    """Training takes ten times the reading; a query half a second, and 3 s read anew."""
    monkeypatch.setattr(costs, "stored", lambda name: None)
    monkeypatch.setattr(costs, "difference", lambda *_, **__: interval(np.array([0.25, 0.25])))
    made = pd.DataFrame(
        line
        for draw in (0, 1)
        for way, once, each in (
            ("prompt, kept", 1, 0.5),
            ("weights", 10, 0.5),
            ("prompt, read anew", 0, 3),
            ("zero-shot", 0, 0.25),
        )
        for line in rows(way, once, [each, each], "01", draw)
    )
    found = costs.findings(made)
    assert (
        found["F6"][0].startswith("10 (10 to 10) times") and "; 10 (10 to 10) s" in found["F6"][0]
    )
    assert found["I5"] == ("first right after 2.0 (2.0 to 2.0) s", found["I5"][1])
    assert found["K3"][0].startswith("first right answer 9 (9 to 9) s later")
    assert "read anew takes 2.5 (2.5 to 2.5) s more" in found["K3"][1]
    assert "from query 4 (4 to 4) (prompt read anew) or 36 (36 to 36) (kept)" in found["K4"][0]


def test_totals_grow_with_the_queries():
    numbers, middle, low, high = costs.totals(MADE, "weights", 8, [0, 4])
    assert list(numbers) == [0, 4] and list(middle) == [11.5, 12.5]
    assert list(low) == [11, 12] and list(high) == [12, 13]


def test_new_samples_take_the_same_draws_of_all_columns():
    columns = [np.arange(5.0), np.arange(5.0)]
    gaps = costs.paired_bootstrap(lambda a, b, axis=-1: (a - b).mean(axis), columns)
    assert len(gaps) == 4000 and (gaps == 0).all()
    means = costs.paired_bootstrap(lambda a, axis=-1: a.mean(axis), columns[:1])
    low, high = np.percentile(means, (2.5, 97.5))
    assert (low, high) == pytest.approx(interval(columns[0])[1:], abs=0.15)


# Prices


def test_bills_by_hand_and_the_cheapest_of_them():
    prices = costs.Prices(token=2.0, kept=0.5, gpu_hour=3.0, training_hours=2.0, serving_hours=24.0)
    bills = costs.bills(10, 100, per_day=36, prices=prices, query_tokens=50)
    assert bills["prompt, read anew"] == (0.0, pytest.approx(1050 * 2e-6))
    assert bills["prompt, kept"] == (pytest.approx(1000 * 2e-6), pytest.approx(550 * 2e-6))
    assert bills["weights"] == (6.0, 2.0)
    two = {"a": (0.0, 2.0), "b": (10.0, 1.0)}
    assert [costs.cheapest(two, n) for n in (1, 9, 11)] == ["a", "a", "b"]


# Exercises


@pytest.mark.parametrize(
    ("message", "answers", "says"),
    [
        (None, (None, None), "Not attempted yet"),
        ("cold", (None, None), "Not yet: your message has {q} tokens behind {n} that are shown"),
        ("cold", ("100 * (n + q)", "n + 100 * q"), "Right: "),
        ("cold", ("n + 100 * q", "100 * (n + q)"), "Not yet: the two are the wrong way round"),
        ("cold", ("100 * (n + q)", "100 * (n + q)"), "Not yet: kept demonstrations are read once,"),
        ("cold", ("100 * (n + q)", "100 * q"), "Not yet: kept demonstrations have to be read"),
        ("cold", ("n + q", "n + q"), "Not yet: that is one message"),
        ("cold", ("1", "2"), "Not yet: shown are {n} tokens, and your message has {q} more"),
    ],
)
def test_tokens_of_ones_own_message_are_counted(tiny, capsys, message, answers, says):
    shown = CLOSED.train[:3]
    kept, (query, _) = costs.split(tiny, CLOSED, shown, ["cold", "0cold"])
    sizes = {"n": len(kept), "q": len(query)}
    given = tuple(eval(answer, sizes.copy()) if answer else None for answer in answers)
    costs.check_tokens(tiny, CLOSED, shown, message, given)
    assert capsys.readouterr().out.startswith(says.format(**sizes))


def test_a_right_answer_costs_all_answers(tiny, monkeypatch):
    monkeypatch.setattr(costs, "predict", lambda task, scores: [e.label for e in task.held_out])
    shown = list(CLOSED.train[:3])
    price, share = costs.price_of_right(tiny, CLOSED, shown)
    kept, asked = costs.split(tiny, CLOSED, shown, texts(CLOSED.held_out))
    once = cost.forward_flops(tiny, len(kept))
    each = np.mean([cost.forward_flops(tiny, len(query), len(kept)) for query in asked])
    assert share == 1 and price == pytest.approx((once + 100 * each) / 100 / 1e9)
    wrong = {label: CLOSED.labels[i - 1] for i, label in enumerate(CLOSED.labels)}
    half = [e.label if i % 2 else wrong[e.label] for i, e in enumerate(CLOSED.held_out)]
    monkeypatch.setattr(costs, "predict", lambda task, scores: half)
    dearer, less = costs.price_of_right(tiny, CLOSED, shown)
    assert dearer == pytest.approx(price / less) and less < 1


def test_own_words_have_to_make_a_right_answer_cheaper(tiny, capsys):
    pair, label = ("rain", CLOSED.labels[0]), CLOSED.labels[0]
    price, _ = costs.price_of_right(tiny, CLOSED, [Example(*pair)])
    for pairs, goal, says in (
        ([], 1, "Not attempted yet"),
        ([pair], 2 * price, "Right: "),
        ([pair], price / 2, "Not yet: a right answer costs"),
        (["rain"], 1, "Not yet: my_words holds pairs"),
        ([("rain", "no label")], 1, "Not yet: 'no label' is no kind"),
        ([(CLOSED.held_out[0].text, label)], 1, "Not yet: "),
    ):
        costs.check_cheaper(tiny, CLOSED, pairs, goal)
        assert capsys.readouterr().out.startswith(says)

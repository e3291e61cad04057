"""Each way learns from the draw alone, on the same draws, and what it took is counted."""

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from test_finetune import interrupt_after

from helpers import curves, finetune, teaching
from helpers.adapters import ADAPTER, save
from helpers.curves import CLOSED_ONLY, TAUGHT_BY, Outcome, all_ways
from helpers.data import DataError, Example, Task, balanced_order, texts
from helpers.finetune import Recipe, encode_examples, tune
from helpers.prompts import count_tokens, nearest, plain
from helpers.scoring import answer, batch_calibration, predict, score_labels
from helpers.study import carry_out, questions

BEASTS = ["cow", "hen", "pig", "cat", "dog", "fox", "ant", "bee"]
TREES = ["oak", "elm", "ash", "fir", "yew", "bay", "box", "fig"]
MIXED = [Example(f"the {word}", label) for pair in zip(BEASTS, TREES, strict=True)
         for word, label in zip(pair, ("beast", "tree"), strict=True)]  # fmt: skip
TRAIN, HELD_OUT = tuple(MIXED[:12]), tuple(MIXED[12:])
LABELS = ("beast", "tree")
CLOSED = Task(
    "kinds", "{text} -> {label}\n", TRAIN, HELD_OUT, LABELS, {label: label for label in LABELS}
)
OPEN = Task("echo", "{text} -> {label}\n", TRAIN, HELD_OUT)
DRAWN, QUERIES = CLOSED.draw(8, 0), texts(HELD_OUT)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tiny(make_tiny):
    return make_tiny("llama")


def taught(name: str, lm, drawn=DRAWN, queries=QUERIES, task=CLOSED, seed=0) -> list[Outcome]:
    return curves.outcomes(lm, task, name, drawn, queries, seed)


# Without a language model


@pytest.mark.parametrize(
    ("drawn", "said"),
    [
        ([*DRAWN[:4], Example("the elk", "beast"), Example("the gnu", "beast")], "beast"),
        ([e for e in DRAWN if e.label == "tree"], "tree"),
        (sorted(DRAWN, key=lambda e: e.label), "beast"),
        (sorted(DRAWN, key=lambda e: e.label, reverse=True), "tree"),
    ],
    ids=["most are beasts", "all are trees", "level, a beast first", "level, a tree first"],
)
def test_majority_says_the_first_of_the_most_frequent_labels(drawn, said):
    (outcome,) = taught("majority", None, drawn)
    assert outcome.answers == [said] * len(QUERIES)


def test_tfidf_learns_words_and_pairs_of_words():
    for purrs, blooms in (LABELS, LABELS[::-1]):
        drawn = [Example(f"{who} purrs", purrs) for who in ("it", "she", "he")]
        drawn += [Example(f"{who} blooms", blooms) for who in ("it", "she", "he")]
        (outcome,) = taught("tfidf", None, drawn, ["who purrs", "what blooms", "he purrs loudly"])
        assert outcome.answers == [purrs, blooms, purrs]
    drawn = [Example("not good", "beast"), Example("good not", "tree")] * 3
    assert taught("tfidf", None, drawn, ["good not", "not good"])[0].answers == ["tree", "beast"]


# Hidden states


def test_a_probe_learns_a_separable_toy(tiny):
    drawn = [Example(f"{word} hot hot hot", "beast") for word in BEASTS[:6]]
    drawn += [Example(f"{word} cold cold cold", "tree") for word in BEASTS[:6]]
    asked = ["fox cold cold cold", "bee hot hot hot", "ant hot hot hot", "yew cold cold cold"]
    (outcome,) = taught("probe", tiny, drawn, asked)
    assert outcome.answers == ["tree", "beast", "beast", "tree"]


@pytest.mark.parametrize("started", [False, True])
def test_a_hidden_state_is_the_mean_of_two_thirds_up_without_the_first_token(make_tiny, started):
    lm = make_tiny("llama", started=started)
    prompt = plain(CLOSED, [], "the cow")
    tokens = lm.tokenizer(prompt).input_ids
    with torch.no_grad():
        states = lm.model(torch.tensor([tokens]), output_hidden_states=True).hidden_states
    assert len(states) == 4  # the embedding and three layers: two thirds up is the second
    expected = states[2][0, 1:].mean(0).numpy()
    found = curves.hidden_state(lm, CLOSED, "the cow")
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found - curves.hidden_state(lm, CLOSED, "the hen")).max() > 1e-3


def test_one_token_is_its_own_state_and_each_model_has_its_own(tiny, make_tiny):
    task = Task("bare", "{text}{label}", (), (), ("a", "b"), {"a": "a", "b": "b"})
    assert np.isfinite(curves.hidden_state(tiny, task, "x")).all()
    other = make_tiny("llama", num_hidden_layers=2)
    both = [curves.hidden_state(lm, CLOSED, "the cow") for lm in (tiny, other)]
    assert np.abs(both[0] - both[1]).max() > 1e-3


# In context


@pytest.mark.parametrize(("name", "shown"), [("zero-shot", []), ("in-context", DRAWN)])
def test_demonstrations_shared_in_their_order_are_read_plainly_and_calibrated(tiny, name, shown):
    outcomes = taught(name, tiny)
    scores = score_labels(tiny, CLOSED, shown, QUERIES)
    assert [outcome.way for outcome in outcomes] == [name, f"{name}, calibrated"]
    assert outcomes[0].answers == predict(CLOSED, scores)
    assert outcomes[1].answers == predict(CLOSED, batch_calibration(scores))
    bare, whole = (
        np.mean([count_tokens(tiny.tokenizer, plain(CLOSED, before, query)) for query in QUERIES])
        for before in ([], shown)
    )
    for outcome in outcomes:
        assert outcome.query_tokens == bare and outcome.prefix_tokens == whole - bare
        assert outcome.note == "" and outcome.taught_tokens == 0 and outcome.ask_seconds > 0


def test_an_open_task_is_answered_in_writing(tiny):
    (outcome,) = taught("in-context", tiny, task=OPEN)
    assert outcome.answers == answer(tiny, OPEN, DRAWN, QUERIES, max_new_tokens=8)


@pytest.mark.parametrize("task", [CLOSED, OPEN], ids=["closed", "open"])
def test_a_draw_that_does_not_fit_the_context_has_no_outcome_and_is_not_cut(make_tiny, task):
    tokenizer = make_tiny("llama").tokenizer
    longest = max(len(tokenizer(plain(task, DRAWN, query)).input_ids) for query in QUERIES)
    words = max(len(tokenizer(f" {label}").input_ids) for label in LABELS)
    needed = longest + (words if task is CLOSED else teaching.ANSWER_TOKENS)
    fits = make_tiny("llama", max_position_embeddings=needed)
    too_short = make_tiny("llama", max_position_embeddings=needed - 1)
    assert taught("in-context", fits, task=task)[0].prefix_tokens > 0
    assert taught("in-context", too_short, task=task) == []
    assert taught("in-context", too_short, DRAWN[:7], task=task) != []


def test_nearest_chooses_for_each_query(tiny, monkeypatch):
    two = replace(curves.WAYS["nearest"], shown=2)
    monkeypatch.setitem(curves.WAYS, "nearest", two)
    asked = ["the cow bell", "the oak leaf"]
    choose = nearest(TRAIN, 2)
    assert [choose(query)[-1].text for query in asked] == ["the cow", "the oak"]
    (outcome,) = taught("nearest", tiny, list(TRAIN), asked)
    expected = [score_labels(tiny, CLOSED, choose(query), [query])[0] for query in asked]
    assert outcome.answers == predict(CLOSED, np.array(expected))
    lengths = [len(tiny.tokenizer(plain(CLOSED, choose(q), q)).input_ids) for q in asked]
    assert outcome.prefix_tokens + outcome.query_tokens == pytest.approx(np.mean(lengths))
    assert outcome.stored_bytes == len(plain(CLOSED, TRAIN, "").encode())  # the whole draw is kept


# Fine-tuning


def at_rate(monkeypatch, rate):
    lora = curves.WAYS["lora"]
    monkeypatch.setitem(curves.WAYS, "lora", replace(lora, recipe=replace(lora.recipe, rate=rate)))


@pytest.mark.parametrize("name", ["lora", "full"])
def test_fine_tuning_is_that_of_the_settings_and_asks_without_demonstrations(tiny, name):
    (outcome,) = taught(name, tiny, seed=3)
    recipe = Recipe(name, passes=16, batch=8, rank=8, rate={"lora": 1e-3, "full": 2e-3}[name])
    tuned = tune(tiny, CLOSED, DRAWN, recipe, seed=3)
    assert outcome.answers == predict(CLOSED, score_labels(tuned.lm, CLOSED, [], QUERIES))
    one_pass = sum(len(tokens) for tokens, _ in encode_examples(tiny, CLOSED, DRAWN))
    assert outcome.taught_tokens == 16 * one_pass
    assert outcome.prefix_tokens == 0 and outcome.teach_seconds > 0


def test_fine_tuning_learns_what_zero_shot_does_not_know(tiny, monkeypatch):
    at_rate(monkeypatch, 1e-2)
    asked = texts(DRAWN)
    right = [
        np.mean([said == e.label for said, e in zip(o.answers, DRAWN, strict=True)])
        for o in (taught(name, tiny, queries=asked)[0] for name in ("zero-shot", "lora"))
    ]
    assert right[0] < 0.8 and right[1] == 1


def test_stored_bytes_are_those_of_the_adapter_or_of_all_weights(tiny, tmp_path):
    (adapter,), (whole,) = taught("lora", tiny), taught("full", tiny)
    assert whole.stored_bytes == 4 * tiny.model.num_parameters()
    save(tune(tiny, CLOSED, DRAWN, Recipe(passes=1)).lm, tmp_path / "adapter")
    written = (tmp_path / "adapter" / ADAPTER).stat().st_size
    assert adapter.stored_bytes < written < 1.2 * adapter.stored_bytes  # and a header


def test_a_training_that_diverges_is_a_result_that_says_so(tiny, monkeypatch):
    at_rate(monkeypatch, 1e25)
    with pytest.warns(UserWarning, match="the loss is nan"):
        (outcome,) = taught("lora", tiny)
    assert "Stopped at step 2 of 16" in outcome.note and len(outcome.answers) == len(QUERIES)


# The study


NAMES = {name: (label,) for name, label in curves.BASELINES.items() if name in TAUGHT_BY}
NAMES |= {name: (way.label,) for name, way in curves.WAYS.items()}
NAMES |= {name: (name, f"{name}, calibrated") for name in ("zero-shot", "in-context")}


class Spy:
    """Ways that answer at random by their draw, note every call, and stop when told to."""

    def __init__(self):
        self.calls, self.stop_at = [], None

    def __call__(self, lm, task, taught_by, drawn, queries, seed, seen):
        if len(self.calls) == self.stop_at:
            raise KeyboardInterrupt
        self.calls.append((taught_by, tuple(drawn), tuple(queries), seed, seen))
        rng = np.random.default_rng([len(drawn), seed, len(taught_by)])
        return [
            Outcome(way, [LABELS[i] for i in rng.integers(0, 2, len(queries))], 1 / 3, 0.5)
            for way in NAMES[taught_by]
        ]


@pytest.fixture
def spy(monkeypatch) -> Spy:
    made = Spy()
    monkeypatch.setattr(curves, "outcomes", made)
    return made


def measured(lm, task=CLOSED, shots=(2, 6), draws=3, out=None, **options) -> pd.DataFrame:
    return carry_out(all_ways(lm, task, shots, draws, **options), lm, out)


def test_one_row_for_every_way_and_draw(tiny, spy):
    results = measured(tiny)
    taught = {name for by, names in NAMES.items() if by != "zero-shot" for name in names}
    expected = {(n, d, way) for n, d, way in product((2, 6), range(3), taught)}
    expected |= {(0, 0, way) for way in NAMES["zero-shot"]}
    cells = list(results[["shots", "draw", "way"]].itertuples(index=False, name=None))
    assert len(cells) == len(expected) and set(cells) == expected
    assert set(results["task"]) == {"kinds"} and set(results["taught_by"]) == set(TAUGHT_BY)
    assert (results["right"].str.len() == 4).all() and (results.teach_seconds == 1 / 3).all()


def test_every_way_learns_from_the_same_draw_and_sees_no_label(tiny, spy):
    measured(tiny, items=2, seen=24)
    asked = tuple(texts(balanced_order(CLOSED.held_out, LABELS, 0)[:2]))
    for name, drawn, queries, seed, seen in spy.calls:
        assert queries == asked and seen == 24
        if name != "zero-shot":
            assert drawn == tuple(CLOSED.draw(len(drawn), seed))
    assert [name for name, *_ in spy.calls].count("zero-shot") == 1
    seeds = [seed for *_, seed, _ in spy.calls]
    assert seeds == sorted(seeds)  # draw by draw, so that a part is of use


def test_right_tells_which_question_in_their_order(tiny, monkeypatch):
    asked = questions(CLOSED)
    wrong = {"beast": "tree", "tree": "beast"}
    said = [wrong[example.label] for example in asked]
    said[0], said[-1] = asked[0].label, asked[-1].label
    monkeypatch.setattr(curves, "outcomes", lambda *_: [Outcome("lora", said)])
    results = measured(tiny, draws=1, taught_by=["lora"])
    assert set(results.right) == {"1001"} and set(results.value) == {0.5}


def test_what_cannot_answer_an_open_task_is_left_out_and_nothing_is_done_twice(tiny, spy):
    assert not set(measured(tiny, OPEN)["taught_by"]) & set(CLOSED_ONLY)
    spy.calls.clear()
    measured(tiny, shots=(2, 2, 6), draws=2, taught_by=("lora", "lora"))
    assert sorted((name, len(drawn), seed) for name, drawn, _, seed, _ in spy.calls) == [
        ("lora", n, d) for n in (2, 6) for d in (0, 1)
    ]


@pytest.mark.parametrize("task", [CLOSED, OPEN], ids=["closed", "open"])
def test_the_real_ways_fill_a_table(tiny, task, tmp_path):
    results = measured(tiny, task, (4,), 2, out=tmp_path / "x.csv")
    ways = NAMES if task is CLOSED else {by: names[:1] for by, names in NAMES.items()}
    expected = {by: set(ways[by]) for by in TAUGHT_BY if task is CLOSED or by not in CLOSED_ONLY}
    assert results.groupby("taught_by")["way"].agg(set).to_dict() == expected
    assert (results["right"].str.len() == 4).all() and (results["stored_bytes"] > 0).all()
    again = measured(tiny, task, (4,), 2, out=tmp_path / "x.csv")
    pd.testing.assert_frame_equal(again, results, check_dtype=False, atol=1e-6)


@pytest.mark.parametrize("done", [0, 1, 4, 20])
def test_an_interrupted_measurement_goes_on_and_ends_the_same(tiny, spy, tmp_path, done):
    whole = measured(tiny, out=tmp_path / "whole.csv")
    all_calls, spy.calls, spy.stop_at = spy.calls, [], done
    out = tmp_path / "part.csv"
    with pytest.raises(KeyboardInterrupt):
        measured(tiny, out=out)
    assert spy.calls == all_calls[:done] and out.exists() == (done > 0)
    spy.stop_at = None
    results = measured(tiny, out=out)
    assert spy.calls == all_calls  # nothing twice, nothing left out
    pd.testing.assert_frame_equal(results, whole, check_dtype=False, atol=1e-6)
    assert out.read_text() == (tmp_path / "whole.csv").read_text()
    spy.stop_at = len(all_calls)
    pd.testing.assert_frame_equal(measured(tiny, out=out), whole, check_dtype=False, atol=1e-6)


def test_more_draws_add_to_what_is_there(tiny, spy, tmp_path):
    for shots, draws in (((2,), 1), ((2, 6), 2), ((2, 6), 2)):
        results = measured(tiny, shots=shots, draws=draws, out=tmp_path / "x.csv")
    assert len(spy.calls) == len(set(spy.calls)) == (len(TAUGHT_BY) - 1) * 2 * 2 + 1
    assert not results.duplicated(["shots", "draw", "way"]).any()


def test_a_draw_that_no_way_could_read_leaves_no_row_and_no_damage(make_tiny, tmp_path):
    short, out = make_tiny("llama", max_position_embeddings=40), tmp_path / "x.csv"
    for _ in range(2):
        assert measured(short, shots=(4,), draws=1, taught_by=["in-context"], out=out).empty
    results = measured(short, shots=(4,), draws=1, taught_by=["in-context", "majority"], out=out)
    assert list(results["way"]) == ["majority"]


@pytest.mark.parametrize("name", ["lora", "full"])
def test_an_interrupted_training_stores_no_row(tiny, tmp_path, monkeypatch, name):
    monkeypatch.setattr(finetune, "tqdm", interrupt_after(2))
    out, ways = tmp_path / "x.csv", ["majority", name]
    with pytest.warns(UserWarning, match="Stopped by hand"), pytest.raises(KeyboardInterrupt):
        measured(tiny, shots=(4,), draws=1, taught_by=ways, out=out)
    assert list(pd.read_csv(out)["taught_by"]) == ["majority"]


WRONG = {
    "too large a draw": ({"shots": (2, 13)}, "'kinds' has 12 training examples, so 13 cannot"),
    "no examples": ({"shots": (0, 2)}, "every draw at least 1 example"),
    "no sizes": ({"shots": ()}, "every draw at least 1 example"),
    "no draws": ({"draws": 0}, "at least 1 draw"),
    "too many questions": ({"items": 7}, "'kinds' has 4 held-out examples, not 7"),
    "no questions": ({"items": 0}, "'kinds' has 4 held-out examples, not 0"),
    "unknown": ({"taught_by": ["magic"]}, "no way 'magic' to teach: choose among majority, "),
}


@pytest.mark.parametrize(("options", "said"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_is_found_before_any_work(tiny, spy, tmp_path, options, said):
    with pytest.raises(DataError) as caught:
        measured(tiny, **options, out=tmp_path / "x.csv")
    assert said in str(caught.value) and str(caught.value).endswith(".")
    assert spy.calls == [] and list(tmp_path.iterdir()) == []

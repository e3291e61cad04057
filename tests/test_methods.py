"""Each method learns from the draw alone, and what it took is counted."""

import numpy as np
import pytest
import torch
from test_finetune import interrupt_after

from helpers import finetune, methods
from helpers.adapters import ADAPTER, save
from helpers.data import Example, Task, texts
from helpers.finetune import encode_examples, tune
from helpers.methods import METHODS, Outcome, epochs
from helpers.prompts import count_tokens, nearest, plain
from helpers.scoring import answer, batch_calibration, predict, score_labels

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
    return METHODS[name](lm, task, drawn, queries, seed)


# Every method


ANSWERABLE = [(CLOSED, name) for name in METHODS]
ANSWERABLE += [(OPEN, name) for name in METHODS if name not in methods.CLOSED_ONLY]


@pytest.mark.parametrize(("task", "name"), ANSWERABLE, ids=[f"{t.name} {n}" for t, n in ANSWERABLE])
def test_a_method_answers_every_question(tiny, task, name):
    outcomes = taught(name, tiny, task=task)
    assert len(outcomes) == (2 if task is CLOSED and name in ("zero-shot", "in-context") else 1)
    assert len({outcome.method for outcome in outcomes}) == len(outcomes)
    for outcome in outcomes:
        assert len(outcome.answers) == len(QUERIES)
        assert all(type(said) is str for said in outcome.answers)
        if task is CLOSED:
            assert set(outcome.answers) <= set(LABELS)
        assert outcome.stored_bytes > 0


def test_the_methods_names_are_distinct(tiny):
    told = [outcome.method for name in METHODS for outcome in taught(name, tiny)]
    assert len(set(told)) == len(told) == len(METHODS) + 2


# Without a language model


def test_majority_says_the_most_frequent_label():
    drawn = [*DRAWN[:4], Example("the elk", "beast"), Example("the gnu", "beast")]
    (outcome,) = taught("majority", None, drawn)
    assert outcome.answers == ["beast"] * len(QUERIES)
    (outcome,) = taught("majority", None, [e for e in DRAWN if e.label == "tree"])
    assert outcome.answers == ["tree"] * len(QUERIES)


def test_majority_says_the_first_of_equally_frequent_labels():
    for first in LABELS:
        drawn = sorted(DRAWN, key=lambda example: example.label != first)
        assert set(taught("majority", None, drawn)[0].answers) == {first}


def test_tfidf_learns_a_separable_toy():
    drawn = [Example(f"{noise} purrs", "beast") for noise in ("it", "she", "he")]
    drawn += [Example(f"{noise} blooms", "tree") for noise in ("it", "she", "he")]
    (outcome,) = taught("tfidf", None, drawn, ["who purrs", "what blooms", "he purrs loudly"])
    assert outcome.answers == ["beast", "tree", "beast"]
    swapped = [Example(e.text, LABELS[e.label == "beast"]) for e in drawn]
    (outcome,) = taught("tfidf", None, swapped, ["who purrs", "what blooms", "he purrs loudly"])
    assert outcome.answers == ["tree", "beast", "tree"]


def test_tfidf_knows_pairs_of_words():
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
    found = methods.hidden_state(lm, CLOSED, "the cow")
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found - methods.hidden_state(lm, CLOSED, "the hen")).max() > 1e-3


def test_one_token_is_its_own_state(tiny):
    task = Task("bare", "{text}{label}", (), (), ("a", "b"), {"a": "a", "b": "b"})
    assert np.isfinite(methods.hidden_state(tiny, task, "x")).all()


def test_each_model_has_its_own_states(tiny, make_tiny):
    other = make_tiny("llama", num_hidden_layers=2)
    both = [methods.hidden_state(lm, CLOSED, "the cow") for lm in (tiny, other)]
    assert np.abs(both[0] - both[1]).max() > 1e-3


# In context


def test_zero_shot_sees_no_demonstrations(tiny):
    outcomes = taught("zero-shot", tiny)
    scores = score_labels(tiny, CLOSED, [], QUERIES)
    assert [outcome.method for outcome in outcomes] == ["zero-shot", "zero-shot, calibrated"]
    assert outcomes[0].answers == predict(CLOSED, scores)
    assert outcomes[1].answers == predict(CLOSED, batch_calibration(scores))
    assert outcomes[0].prefix_tokens == 0


def test_in_context_asks_with_the_whole_draw_in_its_order(tiny):
    plainly, calibrated = taught("in-context", tiny)
    scores = score_labels(tiny, CLOSED, DRAWN, QUERIES)
    assert plainly.answers == predict(CLOSED, scores)
    assert calibrated.answers == predict(CLOSED, batch_calibration(scores))
    lengths = [
        [count_tokens(tiny.tokenizer, plain(CLOSED, shown, query)) for query in QUERIES]
        for shown in ([], DRAWN)
    ]
    bare, whole = np.mean(lengths, axis=1)
    for outcome in (plainly, calibrated):
        assert outcome.query_tokens == bare and outcome.prefix_tokens == whole - bare > 0
        assert outcome.note == "" and outcome.taught_tokens == 0 and outcome.ask_seconds > 0


def test_an_open_task_is_answered_in_writing(tiny):
    (outcome,) = taught("in-context", tiny, task=OPEN)
    assert outcome.answers == answer(tiny, OPEN, DRAWN, QUERIES, max_new_tokens=8)


@pytest.mark.parametrize("task", [CLOSED, OPEN], ids=["closed", "open"])
def test_a_draw_that_does_not_fit_the_context_has_no_outcome_and_is_not_cut(make_tiny, task):
    tokenizer = make_tiny("llama").tokenizer
    longest = max(len(tokenizer(plain(task, DRAWN, query)).input_ids) for query in QUERIES)
    words = max(len(tokenizer(f" {label}").input_ids) for label in LABELS)
    needed = longest + (words if task is CLOSED else methods.ANSWER_TOKENS)
    fits, too_short = (
        make_tiny("llama", max_position_embeddings=size) for size in (needed, needed - 1)
    )
    assert taught("in-context", fits, task=task)[0].prefix_tokens > 0
    assert taught("in-context", too_short, task=task) == []
    assert taught("in-context", too_short, DRAWN[:7], task=task) != []


def test_nearest_chooses_for_each_query(tiny, monkeypatch):
    monkeypatch.setattr(methods, "NEIGHBOURS", 2)
    asked = ["the cow bell", "the oak leaf"]
    choose = nearest(TRAIN, 2)
    assert [choose(query)[-1].text for query in asked] == ["the cow", "the oak"]
    (outcome,) = taught("nearest", tiny, list(TRAIN), asked)
    expected = [score_labels(tiny, CLOSED, choose(query), [query])[0] for query in asked]
    assert outcome.answers == predict(CLOSED, np.array(expected))
    lengths = [len(tiny.tokenizer(plain(CLOSED, choose(q), q)).input_ids) for q in asked]
    assert outcome.prefix_tokens + outcome.query_tokens == pytest.approx(np.mean(lengths))
    assert outcome.stored_bytes == len(plain(CLOSED, TRAIN, "").encode())  # the whole draw is kept


def test_nearest_takes_all_of_a_small_draw(tiny):
    (outcome,) = taught("nearest", tiny, DRAWN[:3])
    assert outcome.prefix_tokens > 0


# Fine-tuning


@pytest.mark.parametrize(
    ("examples", "passes"), [(1, 16), (8, 16), (16, 16), (17, 15), (32, 8), (128, 2), (256, 1)]
)
def test_every_size_of_draw_is_shown_about_as_often(examples, passes):
    assert epochs(examples) == passes


def test_more_examples_than_are_shown_are_seen_once():
    assert epochs(1000) == 1


@pytest.mark.parametrize("name", ["lora", "full"])
def test_fine_tuning_is_that_of_the_settings_and_asks_without_demonstrations(tiny, name):
    (outcome,) = taught(name, tiny, seed=3)
    recipe = {"epochs": 16, "batch": 8, "rank": 8, "lr": methods.RATES[name], "seed": 3}
    tuned = tune(tiny, CLOSED, DRAWN, name, **recipe)
    assert outcome.answers == predict(CLOSED, score_labels(tuned.lm, CLOSED, [], QUERIES))
    one_pass = sum(len(tokens) for tokens, _ in encode_examples(tiny, CLOSED, DRAWN))
    assert outcome.taught_tokens == 16 * one_pass
    assert outcome.prefix_tokens == 0 and outcome.teach_seconds > 0


def test_fine_tuning_learns_what_zero_shot_does_not_know(tiny, monkeypatch):
    monkeypatch.setattr(methods, "RATES", {"lora": 1e-2})
    asked = texts(DRAWN)
    right = [
        np.mean([said == e.label for said, e in zip(o.answers, DRAWN, strict=True)])
        for o in (taught(name, tiny, queries=asked)[0] for name in ("zero-shot", "lora"))
    ]
    assert right[0] < 0.8 and right[1] == 1


def test_stored_bytes_are_those_of_the_adapter_or_of_all_weights(tiny, tmp_path):
    (adapter,), (whole,) = taught("lora", tiny), taught("full", tiny)
    assert whole.stored_bytes == 4 * tiny.model.num_parameters()
    save(tune(tiny, CLOSED, DRAWN, epochs=1).lm, tmp_path / "adapter")
    written = (tmp_path / "adapter" / ADAPTER).stat().st_size
    assert adapter.stored_bytes < written < 1.2 * adapter.stored_bytes  # and a header


@pytest.mark.parametrize("name", ["lora", "full"])
def test_half_a_training_is_no_result(tiny, monkeypatch, name):
    monkeypatch.setattr(finetune, "tqdm", interrupt_after(2))
    with pytest.warns(UserWarning, match="Stopped by hand"), pytest.raises(KeyboardInterrupt):
        taught(name, tiny)


def test_a_training_that_diverges_is_a_result_that_says_so(tiny, monkeypatch):
    monkeypatch.setattr(methods, "RATES", {"lora": 1e25})
    with pytest.warns(UserWarning, match="the loss is nan"):
        (outcome,) = taught("lora", tiny)
    assert "Stopped at step 2 of 16" in outcome.note and len(outcome.answers) == len(QUERIES)

"""Both ways at their best: what is tried, what is chosen, what is read out and contrasted."""

import numpy as np
import pandas as pd
import pytest

from helpers import compare, scoring
from helpers.data import Example, Task, texts
from lessons import contest, contrasts

LABELS = ("hot", "cold")


def make_task(train: int = 80, held_out: int = 6) -> Task:
    rows = [Example(f"text {i}", LABELS[i % 2]) for i in range(train + held_out)]
    words = {label: label for label in LABELS}
    parts = tuple(rows[:train]), tuple(rows[train:])
    return Task("support_tickets", "{text} -> {label}\n", *parts, LABELS, words)


TASK = make_task()


@pytest.fixture(scope="module")
def tiny(make_tiny):
    return make_tiny("llama")


# Development draws


@pytest.mark.parametrize("shots", [0, 8, 16, 256])
def test_what_is_asked_in_development_is_never_taught(shots):
    drawn, dev = contest.rows_of(TASK, shots, 100)
    assert len(dev) == contest.DEV and len(drawn) == min(shots, 80 - contest.DEV)
    assert not set(texts(drawn)) & set(texts(dev))
    assert not set(texts([*drawn, *dev])) & set(texts(TASK.held_out))
    assert contest.rows_of(TASK, 8, 100)[1] == dev  # the same rows at every size


def test_as_many_settings_are_tried_for_either_way():
    prompt = len(contest.FORMS) * len(contest.CHOICES)
    assert prompt == len(contest.RATES) * len(contest.STOPS) == 12


@pytest.mark.parametrize("name", contest.TASKS)
def test_a_form_puts_the_task_in_words_of_its_own(name, lm):
    task = contest.load(name)
    bare, told, listed, chat = (contest.put(lm, task, form) for form in contest.FORMS)
    assert bare[0].instruction == "" and told[0].instruction.strip() == contest.INSTRUCTION[name]
    prompts = [style(given, task.train[:1], "the question") for given, style in (listed, chat)]
    for label in task.labels or ["-ed"]:
        assert all(f"{label}" in prompt.partition(task.train[0].text)[0] for prompt in prompts)
    assert "<|im_start|>system" in prompts[1]


def test_the_tickets_are_asked_of_messages_that_no_other_result_used():
    task = contest.load("support_tickets")
    assert len(task.held_out) == 128
    assert not set(texts(task.held_out)) & set(texts(task.train))


@pytest.mark.parametrize("choice", contest.CHOICES)
def test_demonstrations_are_all_that_fit_or_the_nearest(choice, lm):
    taught = contest.show(lm, TASK, TASK.train[:12], "bare", choice)
    if choice == "shared":
        assert taught.demonstrations == list(TASK.train[:12])
    else:
        nearest = taught.demonstrations(TASK.train[3].text)
        assert len(nearest) == 8 and nearest[-1] == TASK.train[3]


def test_a_prompt_keeps_the_last_demonstrations_that_fit(tiny):
    shown = contest.show(tiny, TASK, TASK.train, "bare", "shared").demonstrations
    assert 0 < len(shown) < 80 and shown == list(TASK.train[80 - len(shown) :])


# Training that is stopped for a look


def test_a_stopped_training_is_the_beginning_of_a_longer_one(tiny):
    drawn = TASK.train[:16]
    stops = [
        {n: scores_of_tuned(taught) for n, taught in contest.train(tiny, TASK, drawn, 1e-2, s, 0)}
        for s in ([1, 2, 3], [3])
    ]
    assert list(stops[0]) == [1, 2, 3] and list(stops[1]) == [3]
    assert np.allclose(stops[0][3], stops[1][3], atol=1e-5)
    assert not np.allclose(stops[0][1], stops[0][3], atol=1e-3)


def scores_of_tuned(taught) -> np.ndarray:
    return scoring.score_labels(taught.lm, TASK, [], texts(TASK.held_out))


def test_a_setting_is_read_back_from_its_label(tiny):
    (_, taught), *_ = contest.train(tiny, TASK, TASK.train[:8], 3e-4, [2], 0)
    assert contest.setting_of(taught.way.label) == (3e-4, 2)


# Choosing


SETTINGS = {8: {"a": (0.1, 0.9), "b": (0.4, 0.5)}, 32: {"a": (0, 0), "b": (1, 0)}}


def test_the_best_setting_over_both_readouts_is_chosen_at_each_size(monkeypatch):
    rows = [
        {"way": way, "shots": n, "draw": 100, "readout": readout, "value": value}
        for n, table in {
            8: {"a": (0.1, 0.9), "b": (0.4, 0.5)},
            32: {"a": (0, 0), "b": (1, 0)},
        }.items()
        for way, pair in table.items()
        for readout, value in zip(contest.READOUTS, pair, strict=True)
    ]
    monkeypatch.setattr(compare, "stored", lambda name: pd.DataFrame(rows))
    assert contest.chosen("reviews", "prompt", 8) == "a"
    assert (
        contest.chosen("reviews", "prompt", 32) == contest.chosen("reviews", "prompt", 256) == "b"
    )


# Readouts from stored log-probabilities


def test_every_readout_comes_from_one_run():
    scores = np.log([[0.6, 0.4], [0.9, 0.1], [0.7, 0.3], [0.95, 0.05], [0.8, 0.2], [0.99, 0.01]])
    others = np.log([[0.65, 0.35]] * 3)
    truth = [example.label for example in TASK.held_out]
    plain = contest.right(TASK, scores, TASK.held_out, "plain")
    stored = {"arm": "prompt, default", "shots": 8, "draw": 0}
    stored |= {"scores": contest.as_text(np.vstack([scores, others]))} | compare.scored(plain)
    without = stored | {"arm": "probe", "scores": ""}
    read = contest.readings(pd.DataFrame([stored, without]), TASK).set_index(["arm", "readout"])
    bits = read["right"]["prompt, default"]
    assert bits["plain"] == compare.bits(label == "hot" for label in truth)
    half = scores[:, 0] >= np.log(np.exp(scores)[:, 0].mean())
    said = ["hot" if hot else "cold" for hot in half]
    odds = np.log(0.65 / 0.35)
    on_training = ["hot" if s[0] - s[1] > odds else "cold" for s in scores]
    expected = {"calibrated": said, "calibrated on training texts": on_training}
    for name, answers in expected.items():
        right = compare.bits(a == t for a, t in zip(answers, truth, strict=True))
        assert bits[name] == right
    assert set(read["right"]["probe"]) == {stored["right"]}


@pytest.mark.parametrize(
    ("verb", "past"),
    [("walk", "walked"), ("bake", "baked"), ("stop", "stopped"), ("try", "tried"),
     ("play", "played"), ("rain", "rained"), ("fix", "fixed")],
)  # fmt: skip
def test_the_regular_ending_follows_the_rules_of_spelling(verb, past):
    assert contest.regular(verb) == past


# Contrasts


def readings(shares: dict[tuple[str, int], float], readouts=("plain", "calibrated")):
    """Made-up rows: of each arm at each size, the share of 20 questions that are right."""
    return pd.DataFrame(
        {"arm": f"{side}, {recipe}", "shots": n, "draw": d, "readout": readout}
        | compare.scored(np.arange(20) < 20 * share)
        for (side, n), share in shares.items()
        for recipe in contrasts.RECIPES
        for readout in readouts
        for d in (range(10) if n else [0])
    )


SHARES = {("weights", n): s for n, s in {8: 0.2, 32: 0.4, 128: 0.6, 256: 0.9}.items()}
SHARES |= {("prompt", n): s for n, s in {0: 0.1, 8: 0.5, 32: 0.5, 128: 0.5, 256: 0.6}.items()}


def test_contrasts_are_the_differences_that_the_claims_name():
    rows = pd.DataFrame(contrasts.of_curves(readings(SHARES), "support_tickets"))
    assert len(rows) == 5 * 2 * 2
    means = rows.groupby("claim")["mean"].agg(["min", "max"]).round(6).to_dict("index")
    expected = {"F2": 0.5, "F4": 0.9, "F7": 0.5, "I7": 0.3, "K2": 0.6}
    assert means == {claim: {"min": v, "max": v} for claim, v in expected.items()}
    assert (rows["draws"] == 10).all() and (rows["low"] <= rows["mean"]).all()


@pytest.mark.parametrize(
    ("level", "claims"),
    [("reviews", {"F4", "F7", "K2"}), ("past_tense", {"F2", "F7", "K2"})],
)
def test_a_level_has_the_claims_that_name_it(level, claims):
    rows = pd.DataFrame(contrasts.of_curves(readings(SHARES, ["written"]), level))
    assert set(rows["claim"]) == claims and set(rows["readout"]) == {"written"}

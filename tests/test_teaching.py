"""The same examples, either way: shown, trained, or both, and read out as the way says."""

from dataclasses import replace

import pytest
from test_curves import CLOSED, DRAWN, OPEN, QUERIES
from test_finetune import interrupt_after

from helpers import finetune
from helpers.data import DataError
from helpers.finetune import Recipe, tune
from helpers.prompts import PromptTooLong, chat, nearest, plain
from helpers.scoring import answer, batch_calibration, predict, score_labels
from helpers.teaching import ALL, Way, ask, passes, taught_bytes, teach

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tiny(make_tiny):
    return make_tiny("llama")


@pytest.mark.parametrize(
    ("examples", "times"), [(1, 16), (8, 16), (16, 16), (17, 15), (32, 8), (128, 2), (256, 1)]
)
def test_every_size_of_draw_is_shown_about_as_often(examples, times):
    assert passes(examples) == times


def test_more_examples_than_are_shown_are_seen_once():
    assert passes(1000) == 1 and passes(6, seen=24) == 4


def test_a_draw_is_shown_in_its_order_and_nothing_is_trained(tiny):
    taught = teach(tiny, CLOSED, Way("prompt", shown=4), seed=3)
    assert taught.demonstrations == CLOSED.draw(4, 3)
    assert taught.lm is tiny and (taught.tokens, taught.wall, len(taught.losses)) == (0, 0.0, 0)
    scores = score_labels(tiny, CLOSED, CLOSED.draw(4, 3), QUERIES)
    assert ask(taught, QUERIES) == predict(CLOSED, scores)


def test_a_draw_is_trained_as_tune_does_and_asked_without_demonstrations(tiny):
    recipe = Recipe(rate=1e-2, batch=4, rank=2)
    taught = teach(tiny, CLOSED, Way("weights", trained=6, passes=3, recipe=recipe), seed=1)
    tuned = tune(tiny, CLOSED, CLOSED.draw(6, 1), replace(recipe, passes=3), seed=1)
    assert list(taught.losses) == list(tuned.history.loss) and taught.demonstrations == []
    assert taught.tokens == tuned.history.tokens.sum() and taught.wall > 0 < taught.processor
    assert ask(taught, QUERIES) == predict(CLOSED, score_labels(tuned.lm, CLOSED, [], QUERIES))
    assert taught_bytes(taught.lm) == taught_bytes(tuned.lm) > taught_bytes(tiny.with_model(
        tiny.model.requires_grad_(False)))  # fmt: skip


def test_both_ways_share_the_beginning_of_one_draw(tiny):
    taught = teach(tiny, CLOSED, Way("both", shown=2, trained=4, passes=1), seed=0)
    assert taught.demonstrations == CLOSED.draw(4, 0)[:2] and taught.tokens > 0
    whole = teach(tiny, CLOSED, Way("all", shown=ALL), 0, DRAWN)
    assert whole.demonstrations == DRAWN


def test_the_readout_is_the_ways(tiny):
    scores = score_labels(tiny, CLOSED, DRAWN, QUERIES)
    for readout, said in {
        "": predict(CLOSED, scores),
        "plain": predict(CLOSED, scores),
        "calibrated": predict(CLOSED, batch_calibration(scores)),
        "written": answer(tiny, CLOSED, DRAWN, QUERIES),
    }.items():
        taught = teach(tiny, CLOSED, Way("way", shown=ALL, readout=readout), 0, DRAWN)
        assert ask(taught, QUERIES) == said
    open_task = teach(tiny, OPEN, Way("way", shown=ALL), 0, DRAWN)
    assert ask(open_task, QUERIES, room=3) == answer(tiny, OPEN, DRAWN, QUERIES, max_new_tokens=3)


def test_the_nearest_are_chosen_for_each_query(tiny):
    taught = teach(tiny, CLOSED, Way("near", shown=2, nearest=True), 0, DRAWN)
    assert [taught.demonstrations(q) for q in QUERIES] == list(map(nearest(DRAWN, 2), QUERIES))


@pytest.mark.parametrize("in_turns", [False, True])
def test_an_instruction_stands_at_the_head_in_the_form_that_is_wanted(tiny, in_turns):
    way = Way("told", shown=1, instruction="Sort these.\n", in_turns=in_turns)
    taught = teach(tiny, CLOSED, way, 0)
    style = chat(tiny.tokenizer) if in_turns else plain
    task = replace(CLOSED, instruction="Sort these.\n")
    said = taught.style(taught.task, taught.demonstrations, "the elk")
    assert said == style(task, CLOSED.draw(1, 0), "the elk") and "Sort these." in said


def test_half_a_training_is_no_result(tiny, monkeypatch):
    monkeypatch.setattr(finetune, "tqdm", interrupt_after(2))
    with pytest.warns(UserWarning, match="Stopped by hand"), pytest.raises(KeyboardInterrupt):
        teach(tiny, CLOSED, Way("weights", trained=4), 0)


def test_what_cannot_be_drawn_or_read_is_said(tiny, make_tiny):
    with pytest.raises(DataError, match="so 99 cannot be drawn"):
        teach(tiny, CLOSED, Way("prompt", shown=99), 0)
    short = make_tiny("llama", max_position_embeddings=40)
    with pytest.raises(PromptTooLong, match="tokens"):
        ask(teach(short, CLOSED, Way("prompt", shown=8), 0), QUERIES)

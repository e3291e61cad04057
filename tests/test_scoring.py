"""Scores and answers of the packed way are those of separate sequences, and it is faster."""

import threading
import time

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from helpers.data import Example, Task, load_task, texts
from helpers.packing import block_mask
from helpers.prompts import PromptTooLong, chat, encode, nearest, plain
from helpers.scoring import (
    answer,
    batch_calibration,
    contextual_calibration,
    generate,
    next_tokens,
    predict,
    score_labels,
    score_labels_one_by_one,
    score_options,
)
from lessons.kept_prompt import Prompt

KINDS = ("llama", "gpt2", "qwen2")
# One word is the beginning of another, two share their first tokens, one is a single token.
WORDS = {"chill": "cold", "bath": "cold water", "late": "late delivery", "paid": "late refund"}
EXAMPLES = (
    Example("ice", "chill"),
    Example("the sea in May", "bath"),
    Example("post", "late"),
    Example("I want it back, 12 euros", "paid"),
    Example("snow", "chill"),
)
TASK = Task("mixed", "{text} -> {label}\n", EXAMPLES, (), tuple(WORDS), WORDS)
QUERIES = ["a very cold winter night", "", "rain", "hot", "where is my post? hot hot"]
PROMPTS = [plain(TASK, EXAMPLES[:2], query) for query in QUERIES]
GLUED = Task("glued", "{text}{label}", (), (), ("ld",), {"ld": "ld"})
OPEN = Task("open", TASK.template, EXAMPLES, ())
OPTIONS = [["cold", "hot"], ["a dog", "rain"], ["hot water", "cold"]]
WAYS = (score_labels, score_labels_one_by_one)
pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("error:.*block mask"),  # those that can be packed are
]


def reference(lm, task, demonstrations, queries, style=plain) -> np.ndarray:
    """By definition: the sum over the answer's tokens of their log-probabilities in a full pass."""
    scores = np.empty((len(queries), len(task.labels)))
    for row, query in enumerate(queries):
        shown = demonstrations(query) if callable(demonstrations) else demonstrations
        asked = encode(lm.tokenizer, style(task, shown, query))
        for column, label in enumerate(task.labels):
            whole = encode(lm.tokenizer, style(task, shown, query, task.words[label]))
            assert whole[: len(asked)] == asked
            with torch.no_grad():
                logits = lm.model(torch.tensor([whole], device=lm.device)).logits[0].double().cpu()
            told = torch.log_softmax(logits, -1)
            answered = range(len(asked), len(whole))
            scores[row, column] = sum(told[i - 1, whole[i]].item() for i in answered)
    return scores


def greedy_tokens(lm, prompt, count) -> list[int]:
    """By definition: the likeliest token, appended, and all read again, without a cache."""
    tokens = encode(lm.tokenizer, prompt)
    for _ in range(count):
        with torch.no_grad():
            logits = lm.model(torch.tensor([tokens], device=lm.device), use_cache=False).logits
        tokens.append(logits[0, -1].argmax().item())
    return tokens[-count:]


def greedy(lm, prompt, count, stop=()) -> str:
    """What is left of `greedy_tokens` before the first end token or stop string."""
    ends = torch.tensor(lm.model.generation_config.eos_token_id).flatten().tolist()
    tokens = greedy_tokens(lm, prompt, count)
    tokens = tokens[: min(i for i, token in enumerate([*tokens, *ends]) if token in ends)]
    text = lm.tokenizer.decode(tokens, skip_special_tokens=True)
    return text[: min([text.index(mark) for mark in stop if mark in text], default=None)].strip()


def close(found, expected) -> bool:
    same_shape = np.shape(found) == np.shape(expected)
    return same_shape and np.allclose(found, expected, rtol=0, atol=1e-3)


def both_are_right(lm, *asked) -> np.ndarray:
    """Hold both ways of scoring against the definition, and return what it says."""
    expected = reference(lm, *asked)
    for score in WAYS:
        assert close(score(lm, *asked), expected), score.__name__
    return expected


@pytest.fixture(scope="module")
def category():
    return load_task("category")


# Scores


@pytest.mark.parametrize("shots", [0, 1, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_separate_sequences(tiny_models, kind, shots):
    expected = both_are_right(tiny_models[kind], TASK, EXAMPLES[:shots], QUERIES)
    assert np.ptp(expected, axis=0).min() > 0.1  # or the tiny models could not tell texts apart


def test_scores_of_the_courses_model(lm, category):
    both_are_right(lm, category, category.draw(4, 0), texts(category.held_out)[:2])
    both_are_right(lm, TASK, EXAMPLES[:2], QUERIES[1:2], chat(lm.tokenizer))


@settings(max_examples=25)
@given(
    kind=st.sampled_from(KINDS),
    queries=st.lists(st.text(max_size=12), min_size=1, max_size=6),
    shots=st.integers(0, 5),
    budget=st.integers(1, 200),
    in_turns=st.booleans(),
    data=st.data(),
)
def test_neither_order_nor_budget_nor_company_changes_a_score(
    tiny_models, kind, queries, shots, budget, in_turns, data
):
    lm = tiny_models[kind]
    style = chat(lm.tokenizer) if in_turns else plain
    expected = reference(lm, TASK, EXAMPLES[:shots], queries, style)
    order = data.draw(st.permutations(range(len(queries))))
    shuffled = [queries[i] for i in order]
    found = score_labels(lm, TASK, EXAMPLES[:shots], shuffled, style, budget)
    assert close(found, expected[order])


def test_each_query_may_have_its_own_demonstrations(tiny_models):
    choose = nearest(EXAMPLES, 2)
    assert choose("ice cold") != choose("my post")
    both_are_right(tiny_models["llama"], TASK, choose, QUERIES)


def test_a_start_token_is_read_once(make_tiny):
    lm = make_tiny("llama", started=True)
    for style in (plain, chat(lm.tokenizer)):
        both_are_right(lm, TASK, EXAMPLES[:2], QUERIES, style)
    both_are_right(lm, GLUED, [], ["", "x"])  # behind it even nothing has an answer


@pytest.mark.parametrize("score", WAYS)
@pytest.mark.parametrize("query", ["", "co"], ids=["nothing", "all of it melts"])
def test_an_answer_to_nothing_is_refused(tiny_models, score, query):
    with pytest.raises(ValueError, match=r"'glued': nothing stands before the label of '"):
        score(tiny_models["llama"], GLUED, [], ["fine", query])


def test_a_word_that_melts_into_the_question_is_scored_from_where_they_part(tiny_models):
    lm = tiny_models["qwen2"]
    task = Task("glued", "{text}{label}", (), (), ("ld", "x"), {"ld": "ld", "x": "x"})
    ids = lm.tokenizer.convert_tokens_to_ids
    assert [encode(lm.tokenizer, text) for text in ("?co", "?cold", "?cox")] == [
        ids(["?", "co"]),
        ids(["?", "cold"]),
        ids(["?", "co", "x"]),
    ]
    with torch.no_grad():
        after = lm.model(torch.tensor([ids(["?", "co"])])).logits[0].log_softmax(-1)
    expected = [float(after[0, ids("cold")]), float(after[0, ids("co")] + after[1, ids("x")])]
    for score in WAYS:
        assert close(score(lm, task, [], ["?co"]), [expected])


def test_demonstrations_longer_than_a_pass_are_read_in_pieces(make_tiny):
    lm = make_tiny("llama", max_position_embeddings=2048)
    demonstrations = EXAMPLES * 12
    assert len(encode(lm.tokenizer, plain(TASK, demonstrations, ""))) > 1024
    expected = reference(lm, TASK, demonstrations, QUERIES[:2])
    assert close(score_labels(lm, TASK, demonstrations, QUERIES[:2]), expected)


@pytest.mark.parametrize("score", WAYS)
def test_no_queries_give_no_rows(tiny_models, score):
    assert score(tiny_models["llama"], TASK, EXAMPLES, []).shape == (0, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_is_never_cut(make_tiny, kind):
    longest = len(encode(make_tiny(kind).tokenizer, plain(TASK, [], "rain", "late delivery")))
    size = "n_positions" if kind == "gpt2" else "max_position_embeddings"
    lm = make_tiny(kind, **{size: longest})
    both_are_right(lm, TASK, [], ["rain"])
    said = f"has {longest + 1} tokens, but {kind} reads {longest}"
    for score in WAYS:
        with pytest.raises(PromptTooLong, match=said):
            score(lm, TASK, [], ["rain", "rains"])


def test_an_open_task_has_no_labels_to_score(tiny_models):
    lm = tiny_models["llama"]
    with pytest.raises(ValueError, match=r"'open' is open, .* use generate instead"):
        score_labels(lm, OPEN, EXAMPLES, ["hot"])
    with pytest.raises(ValueError, match="'open' is open"):
        Prompt(lm, OPEN, EXAMPLES)


def options_by_definition(lm) -> np.ndarray:
    """Each query's options as the labels of a task of its own."""
    scores = []
    for query, words in zip(QUERIES[:3], OPTIONS, strict=True):
        task = Task("own", TASK.template, (), (), words, {word: word for word in words})
        scores += [*reference(lm, task, EXAMPLES[:2], [query])]
    return np.array(scores)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("budget", [None, 1])
def test_every_query_may_have_options_of_its_own(tiny_models, kind, budget):
    lm = tiny_models[kind]
    found = score_options(lm, OPEN, EXAMPLES[:2], QUERIES[:3], OPTIONS, budget=budget)
    assert close(found, options_by_definition(lm))


@pytest.mark.parametrize("options", [OPTIONS[:2], [["a"], ["b"], ["c", "d"]]])
def test_options_must_be_as_many_for_each_query(tiny_models, options):
    with pytest.raises(ValueError, match="a list of options for each query, as many for each"):
        score_options(tiny_models["llama"], OPEN, EXAMPLES[:2], QUERIES[:3], options)


def test_the_best_label_is_predicted():
    assert predict(TASK, np.array([[-3, -2, -1, -4], [0, -2, -1, -4.0]])) == ["late", "chill"]


# Models that take no block mask

PLAIN_WAY = {
    "eager attention": ("llama", {"attention": "eager"}),
    "a window": ("mistral", {"sliding_window": 8}),
    "a window in one layer": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 2},
    ),
    "distances in the mask": ("falcon", {"alibi": True}),
    "no attention": ("mamba", {"attention": "eager"}),
}


@pytest.fixture(scope="module", params=PLAIN_WAY.values(), ids=PLAIN_WAY)
def unpackable(request, make_tiny):
    kind, changes = request.param
    return make_tiny(kind, **changes)


def test_other_models_are_scored_the_plain_way_and_say_so(unpackable):
    with pytest.warns(UserWarning, match="does not take a block mask") as caught:
        found = score_labels(unpackable, TASK, EXAMPLES[:3], QUERIES)
        chosen = score_options(unpackable, OPEN, EXAMPLES[:2], QUERIES[:3], OPTIONS)
        kept = Prompt(unpackable, TASK, EXAMPLES[:3]).score("rain")
    said_here = [warning for warning in caught if warning.filename == __file__]
    assert len(said_here) == 3
    expected = reference(unpackable, TASK, EXAMPLES[:3], QUERIES)
    assert close(found, expected) and close(kept, expected[QUERIES.index("rain")])
    assert close(chosen, options_by_definition(unpackable))


def test_other_models_generate_the_plain_way_and_say_so(unpackable):
    free = [greedy(unpackable, prompt, 10) for prompt in PROMPTS]
    stop = (max(free, key=len)[2],)
    with pytest.warns(UserWarning, match="does not take a block mask") as caught:
        assert generate(unpackable, PROMPTS, 10, stop=()) == free
        stopped = generate(unpackable, PROMPTS, 10, stop)
    assert caught[0].filename == __file__
    assert stopped == [greedy(unpackable, prompt, 10, stop) for prompt in PROMPTS]


# The block mask


def test_who_sees_whom():
    cached = torch.tensor([-1, -1, 1, 0])  # two tokens of the prefix, one of query 1, one of 0
    owner = torch.tensor([0, 0, 0, 0, 0, 1, 1])
    branch = torch.tensor([-1, -1, 0, 0, 1, -1, 0])
    drawn = """
        xx.x x......
        xx.x xx.....
        xx.x xxx....
        xx.x xxxx...
        xx.x xx..x..
        xxx. .....x.
        xxx. .....xx
    """
    rows = [row.replace(" ", "") for row in drawn.strip().split("\n")]
    expected = [[seen == "x" for seen in row] for row in rows]
    assert block_mask(cached, owner, branch).tolist() == [[expected]]


# Generation


@settings(max_examples=25)
@given(
    kind=st.sampled_from(KINDS),
    prompts=st.lists(st.text("abcold ->", min_size=1, max_size=20), min_size=1, max_size=5),
    head=st.sampled_from(["", "ice -> cold\n", "ice -> cold\nfire -> hot\n"]),
    budget=st.integers(1, 200),
    max_new_tokens=st.integers(1, 8),
)
def test_answers_are_those_of_separate_greedy_decoding(
    tiny_models, kind, prompts, head, budget, max_new_tokens
):
    lm = tiny_models[kind]
    prompts = [head + prompt for prompt in prompts]
    expected = [greedy(lm, prompt, max_new_tokens) for prompt in prompts]
    assert generate(lm, prompts, max_new_tokens, (), budget) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_ends_before_the_first_stop_string(tiny_models, kind):
    lm = tiny_models[kind]
    text = max(generate(lm, PROMPTS, 16, stop=()), key=len)
    stop = (text[5:7], text[3], "never said")  # two tokens, one token, none
    assert generate(lm, PROMPTS, 16, stop) == [greedy(lm, prompt, 16, stop) for prompt in PROMPTS]


def test_an_answer_ends_at_an_end_token_where_the_model_has_one(make_tiny):
    lm = make_tiny("llama")
    free = generate(lm, PROMPTS, 12, stop=())
    end = greedy_tokens(lm, PROMPTS[0], 12)[4]
    for ends in (end, [lm.tokenizer.eos_token_id, end]):
        lm.model.generation_config.eos_token_id = ends
        ended = generate(lm, PROMPTS, 12, stop=())
        assert ended == [greedy(lm, prompt, 12) for prompt in PROMPTS] and ended != free
    lm.model.generation_config.eos_token_id = None
    assert generate(lm, PROMPTS, 12, stop=()) == free


def test_answers_of_the_courses_model(lm):
    task = load_task("past_tense")
    prompts = [plain(task, task.draw(4, 0), example.text) for example in task.held_out[:2]]
    prompts.append("The capital of France is")
    expected = [greedy(lm, prompt, 4, ("\n",)) for prompt in prompts]
    assert generate(lm, prompts, 4) == expected
    assert expected[-1].startswith("Paris")
    assert generate(lm, prompts[-1:], 4, ("is", "ar")) == ["P"]  # both within one token


def test_a_task_is_answered_as_its_prompts_are(tiny_models):
    lm, choose = tiny_models["llama"], nearest(EXAMPLES, 2)
    assert answer(lm, TASK, EXAMPLES[:2], QUERIES) == generate(lm, PROMPTS, 8)
    style = chat(lm.tokenizer)
    prompts = [style(TASK, choose(query), query) for query in QUERIES]
    told = answer(lm, TASK, choose, QUERIES, style, max_new_tokens=5)
    assert told == generate(lm, prompts, 5)


def test_an_answer_that_might_not_fit_is_refused(make_tiny):
    lm = make_tiny("llama", max_position_embeddings=20)
    prompt = "x" * 12
    assert generate(lm, [prompt], 8, stop=()) == [greedy(lm, prompt, 8)]
    with pytest.raises(PromptTooLong, match="has 21 tokens, but llama reads 20"):
        generate(lm, ["x", prompt], 9)


def test_no_prompts_give_no_answers_and_an_empty_one_is_refused(tiny_models):
    assert generate(tiny_models["llama"], []) == []
    with pytest.raises(ValueError, match="prompt is empty: give the model at least one token"):
        generate(tiny_models["llama"], ["fine", ""])


# The next token


def test_the_next_tokens_are_the_likeliest_with_their_probabilities(lm):
    prompt = "The capital of France is"
    tokens = torch.tensor([lm.tokenizer(prompt).input_ids], device=lm.device)
    with torch.no_grad():
        expected = lm.model(tokens).logits[0, -1].softmax(-1).cpu()
    told = next_tokens(lm, prompt, 5)
    assert list(told) == [lm.tokenizer.decode([i]) for i in expected.argsort(descending=True)[:5]]
    assert " Paris" in told
    assert np.allclose(list(told.values()), expected.sort(descending=True).values[:5], atol=1e-4)


# Calibration

ROW = st.lists(st.floats(-30, 0), min_size=3, max_size=3)
MATRICES = st.lists(ROW, min_size=1, max_size=6).map(np.array)


def test_contextual_calibration_by_hand():
    scores = np.log([[0.6, 0.2], [0.1, 0.3]])  # as probabilities of two labels: 3/4, 1/4 each way
    content_free = np.log([[0.8, 0.2], [0.3, 0.3]])  # .8 and .2, .5 and .5: mean .65 and .35
    expected = np.log([[0.75 / 0.65, 0.25 / 0.35], [0.25 / 0.65, 0.75 / 0.35]])
    assert np.allclose(contextual_calibration(scores, content_free), expected)


def test_batch_calibration_by_hand():
    scores = np.log([[0.8, 0.2], [0.4, 0.4], [0.3, 0.1]])  # .8 and .2, .5 and .5, .75 and .25
    mean = np.array([2.05, 0.95]) / 3
    expected = np.log(np.array([[0.8, 0.2], [0.5, 0.5], [0.75, 0.25]]) / mean)
    assert np.allclose(batch_calibration(scores), expected)


@given(scores=MATRICES, content_free=MATRICES, shift=st.floats(-9, 9))
def test_a_constant_added_to_a_row_changes_nothing(scores, content_free, shift):
    shifts = shift * np.arange(len(scores))[:, None]
    assert np.allclose(batch_calibration(scores + shifts), batch_calibration(scores))
    assert np.allclose(
        contextual_calibration(scores + shifts, content_free + shift),
        contextual_calibration(scores, content_free),
    )


@given(scores=MATRICES)
def test_after_batch_calibration_no_label_is_favoured_on_average(scores):
    assert np.allclose(np.exp(batch_calibration(scores)).mean(0), 1)


@given(scores=MATRICES, bias=ROW)
def test_contextual_calibration_removes_a_constant_bias_for_one_input(scores, bias):
    """With one content-free input, and up to a constant in each row."""
    neutral = np.zeros((1, 3))
    calibrated = contextual_calibration(scores + bias, neutral + bias)
    without = contextual_calibration(scores, neutral)
    assert np.allclose(log_softmax(calibrated, 1), log_softmax(without, 1))


# One question after the other


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("shots", [0, 1, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_a_kept_prompt_scores_each_query_as_it_comes(make_tiny, kind, shots, started):
    """In any order and again and again: nothing of an earlier query stays."""
    lm, shown = make_tiny(kind, started), EXAMPLES[:shots]
    queries = [query for query in QUERIES if query] * 2
    prompt = Prompt(lm, TASK, shown)
    kept = list(prompt.tokens)
    found = np.array([prompt.score(query) for query in queries])
    assert close(found, score_labels_one_by_one(lm, TASK, shown, queries))
    assert prompt.tokens == kept and prompt.cache.get_seq_length() == len(kept)
    whole = encode(lm.tokenizer, plain(TASK, shown, "rain"))
    assert whole[: len(kept)] == kept
    assert len(kept) >= len(whole) - len(encode(lm.tokenizer, "rain -> "))


def test_a_kept_prompt_tokenises_and_reads_its_demonstrations_once(make_tiny, monkeypatch):
    lm = make_tiny("llama")
    prompt = Prompt(lm, TASK, EXAMPLES)
    read, forward = [], lm.model.forward
    monkeypatch.setattr(
        lm.model, "forward", lambda ids, **given: read.append(ids.numel()) or forward(ids, **given)
    )
    prompt.score("rain")
    assert len(read) == 1 and read[0] < len(prompt.tokens)


def test_a_query_that_joins_what_is_before_it_is_scored_right(make_tiny):
    """The space before the query makes one token with its first letters: "Ġ cold"."""
    lm = make_tiny("llama")
    task = Task("joined", "is {text} -> {label}\n", EXAMPLES, (), tuple(WORDS), WORDS)
    prompt = Prompt(lm, task, EXAMPLES[:2])
    queries = ["cold", "ice", "hot", "cold"]
    found = [prompt.score(query) for query in queries]
    assert close(found, score_labels_one_by_one(lm, task, EXAMPLES[:2], queries))


def test_a_kept_prompt_is_never_cut(make_tiny):
    lm = make_tiny("llama", max_position_embeddings=200)
    prompt = Prompt(lm, TASK, EXAMPLES)
    with pytest.raises(PromptTooLong, match="200"):
        prompt.score("very " * 40)
    with pytest.raises(PromptTooLong, match="200"):
        Prompt(lm, TASK, EXAMPLES * 3)


# Speed and memory


@pytest.mark.alone
def test_packing_is_at_least_five_times_as_fast(lm, category):
    demonstrations, queries = category.draw(4, 0), texts(category.held_out)[:40]
    slow, fast = [], []
    for query in queries[:3]:  # in turns, because other programs may hold the cores for a while
        started = time.perf_counter()
        score_labels_one_by_one(lm, category, demonstrations, [query])
        slow.append(time.perf_counter() - started)
        started = time.perf_counter()
        score_labels(lm, category, demonstrations, queries)
        fast.append(time.perf_counter() - started)
    assert min(slow) * len(queries) > 5 * min(fast), (slow, fast)


def test_memory_stays_flat(lm, category):
    """The peak of resident memory while scoring, sampled, beyond what the loaded model takes."""
    process, done, extra = psutil.Process(), threading.Event(), [0]
    demonstrations, queries = category.draw(4, 0), texts(category.held_out)[:40]
    score_labels(lm, category, demonstrations, queries[:1])  # now all weights have been read
    before = process.memory_info().rss

    def watch():
        while not done.wait(0.005):
            extra.append(process.memory_info().rss - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    score_labels(lm, category, demonstrations, queries)
    done.set()
    watcher.join()
    assert len(extra) > 10
    assert max(extra) < 150e6  # logits at every place and not only where asked would be 200 MB

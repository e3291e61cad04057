"""What a prompt says to the character, what fits, and which demonstrations are chosen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import prompts
from helpers.data import DataError, Example, Task
from helpers.prompts import PromptTooLong, chat, count_tokens, encode, fit, nearest, plain

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    ["{label}", "{text}", "{", "}}", "{0}", "{text!r}", "%s", "{label} {text}", "\\1", "$text"]
)
EXAMPLES = (
    Example("the lamp came broken", "damaged"),
    Example("where is my parcel", "delivery"),
    Example("it never came", "delivery"),
)
TICKETS = Task(
    "tickets",
    "Message: {text}\nTopic: {label}\n\n",
    EXAMPLES,
    (),
    ("damaged", "delivery"),
    {"damaged": "broken goods", "delivery": "post"},
    "Sort each message.\n\n",
)


# The plain style


def test_a_plain_prompt_to_the_character():
    assert plain(TICKETS, EXAMPLES[:2], "no parcel yet") == (
        "Sort each message.\n\n"
        "Message: the lamp came broken\nTopic: broken goods\n\n"
        "Message: where is my parcel\nTopic: post\n\n"
        "Message: no parcel yet\nTopic:"
    )


def test_without_demonstrations_only_the_question_is_left():
    assert plain(TICKETS, [], "hello") == "Sort each message.\n\nMessage: hello\nTopic:"


def test_the_order_of_the_demonstrations_is_kept():
    forward, backward = plain(TICKETS, EXAMPLES, "?"), plain(TICKETS, EXAMPLES[::-1], "?")
    places = [forward.index(example.text) for example in EXAMPLES]
    assert places == sorted(places)
    places = [backward.index(example.text) for example in EXAMPLES]
    assert places == sorted(places, reverse=True)


@pytest.mark.parametrize(
    ("template", "question", "glue"),
    [
        ("{text} -> {label}\n", "hot ->", " "),
        ("{text} = {label}.", "hot =", " "),
        ("Q: {text}\nA:\n\n{label}", "Q: hot\nA:", "\n\n"),
        ("{text}:{label}", "hot:", ""),
        ("{text}{label}", "hot", ""),
    ],
)
def test_the_white_space_before_the_answer_belongs_to_the_answer(template, question, glue):
    task = Task("open", template, (), ())
    assert plain(task, [], "hot") == question
    assert plain(task, [], "hot", "cold") == question + glue + "cold"


@given(demonstrations=st.lists(st.builds(Example, ANY_TEXT, ANY_TEXT), max_size=3), text=ANY_TEXT)
def test_any_text_stands_in_the_prompt_verbatim(demonstrations, text):
    task = Task("open", "<{text}|{label}>", (), ())
    shown = "".join(f"<{example.text}|{example.label}>" for example in demonstrations)
    assert plain(task, demonstrations, text) == f"{shown}<{text}|"
    assert plain(task, demonstrations, text, "{text}") == f"{shown}<{text}|{{text}}"


@given(text=ANY_TEXT, word=ANY_TEXT)
def test_a_demonstration_is_the_question_with_its_answer_and_what_follows(text, word):
    shown = plain(TICKETS, [Example(text, word)], "?").removeprefix(TICKETS.instruction)
    asked = plain(TICKETS, [], text, word).removeprefix(TICKETS.instruction)
    assert shown.startswith(asked + "\n\n")


# The chat style


def test_a_chat_prompt_is_the_models_own_template(lm):
    turns = [
        {"role": "system", "content": "Sort each message."},
        {"role": "user", "content": "Message: the lamp came broken\nTopic:"},
        {"role": "assistant", "content": "broken goods"},
        {"role": "user", "content": "Message: no parcel yet\nTopic:"},
    ]
    expected = lm.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    style = chat(lm.tokenizer)
    assert style(TICKETS, EXAMPLES[:1], "no parcel yet") == expected
    assert style(TICKETS, EXAMPLES[:1], "no parcel yet", "post") == expected + "post"
    assert expected.endswith("<|im_start|>assistant\n")


def test_without_an_instruction_a_chat_prompt_has_no_system_turn_of_ours(make_tokenizer):
    task = Task("open", "{text} -> {label}\n", (), ())
    assert chat(make_tokenizer())(task, [Example("hot", "cold")], "up") == (
        "<|start|>user\nhot -><|start|>assistant\ncold<|start|>user\nup -><|start|>assistant\n"
    )


@given(text=ANY_TEXT, word=ANY_TEXT)
def test_any_text_stands_in_a_chat_verbatim(text, word, make_tokenizer):
    task = Task("open", "<{text}|{label}>", (), ())
    assert chat(make_tokenizer())(task, [Example(text, word)], text) == (
        f"<|start|>user\n<{text}|<|start|>assistant\n{word}<|start|>user\n<{text}|"
        "<|start|>assistant\n"
    )


def test_a_tokenizer_without_a_chat_template_is_refused(make_tokenizer):
    tokenizer = make_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match="no chat template: use the plain style"):
        chat(tokenizer)


# Tokens


def test_a_start_token_is_added_exactly_once_where_the_model_uses_one(make_tokenizer):
    started, bare = make_tokenizer(started=True), make_tokenizer()
    start = started.bos_token_id
    assert encode(started, "hot") == [start, *encode(bare, "hot")]
    prompt = chat(started)(TICKETS, EXAMPLES, "where is it")  # the template writes the token itself
    assert encode(started, prompt) == encode(bare, prompt)
    assert encode(started, prompt)[0] == start
    assert encode(started, prompt)[1] != start


def test_the_courses_model_uses_no_start_token(lm):
    assert encode(lm.tokenizer, "") == []
    assert encode(lm.tokenizer, "hot") == lm.tokenizer.convert_tokens_to_ids(["hot"])


def test_the_length_counts_the_start_token(make_tokenizer):
    assert count_tokens(make_tokenizer(started=True), "abc") == 4
    assert count_tokens(make_tokenizer(), "abc") == 3


# What fits


@given(
    demonstrations=st.lists(st.builds(Example, st.text("ab {}", max_size=9), ANY_TEXT), max_size=8),
    text=st.text("ab", max_size=9),
    room=st.integers(0, 120),
    in_turns=st.booleans(),
)
def test_the_last_demonstrations_are_kept_as_many_as_fit(
    demonstrations, text, room, in_turns, make_tokenizer
):
    tokenizer = make_tokenizer()
    style = chat(tokenizer) if in_turns else plain
    task = Task("open", "{text} -> {label}\n", (), ())

    def length(kept):
        return count_tokens(
            tokenizer, style(task, demonstrations[len(demonstrations) - kept :], text)
        )

    max_tokens = length(0) + room
    kept = fit(tokenizer, task, demonstrations, text, max_tokens, style)
    assert kept == demonstrations[len(demonstrations) - len(kept) :]
    assert length(len(kept)) <= max_tokens
    assert len(kept) == len(demonstrations) or length(len(kept) + 1) > max_tokens


def test_a_question_that_does_not_fit_is_refused_with_both_lengths(make_tokenizer):
    task = Task("open", "{text}:{label}", (), ())
    assert fit(make_tokenizer(), task, [], "abcd", 5) == []
    with pytest.raises(PromptTooLong, match="has 5 tokens, but only 4 fit: shorten the text"):
        fit(make_tokenizer(), task, EXAMPLES, "abcd", 4)


# Nearest neighbours

POOL = [Example(word, "?") for word in ("elephant", "bicycle", "banana", "trumpet", "bicycles")]


def chosen(text: str, shots: int) -> list[str]:
    return [example.text for example in nearest(POOL, shots)(text)]


def test_the_nearest_demonstration_stands_last():
    assert chosen("bicycle", 3)[-2:] == ["bicycles", "bicycle"]
    assert chosen("bicycle", 1) == ["bicycle"]


@pytest.mark.parametrize(
    ("typo", "meant"), [("elefant", "elephant"), ("BANNANA", "banana"), ("trumpit", "trumpet")]
)
def test_a_misspelt_text_finds_its_neighbour(typo, meant):
    assert chosen(typo, 1) == [meant]


def test_a_text_unlike_all_others_still_gets_its_demonstrations():
    assert len(chosen("xyz", 3)) == len(chosen("", 3)) == 3


@pytest.mark.parametrize("shots", range(len(POOL) + 1))
def test_fewer_shots_are_the_end_of_more(shots):
    everything = chosen("banana split", len(POOL))
    assert sorted(everything) == sorted(example.text for example in POOL)
    assert chosen("banana split", shots) == everything[len(POOL) - shots :]


def test_more_shots_than_the_pool_holds_are_refused():
    with pytest.raises(DataError, match="The pool holds 5 examples, so 6 cannot be chosen"):
        nearest(POOL, 6)
    assert nearest([], 0)("anything") == []


def test_a_style_is_open_to_the_learners_own(make_tokenizer):
    def shouted(task, demonstrations, text, answer=None):
        return plain(task, demonstrations, text.upper(), answer)

    task = Task("open", "{text}:{label}", (), ())
    with pytest.raises(PromptTooLong, match="only 2 fit"):
        prompts.fit(make_tokenizer(), task, [], "hot", 2, shouted)
    assert prompts.fit(make_tokenizer(), task, [], "hot", 2) == []

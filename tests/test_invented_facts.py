"""The invented facts and the policies that change can be asked for without giving answers away."""

import re

import pytest
from test_data_files import overlap, table, told, words

from helpers.data import load_rows

ANSWERS = {"forward": "answer", "paraphrase": "answer", "reversed": "reversed_answer"}
FACTS, POLICIES = load_rows("invented_facts"), load_rows("changed_policies")
COMPANY = "Merrowby"


def test_facts_come_in_blocks_of_four_of_one_kind():
    kinds = list(dict.fromkeys(fact["kind"] for fact in FACTS))
    assert len(kinds) == 16
    blocks = [(kind, f"{kind}-{n}") for kind in kinds for n in (1, 2, 3, 4)]
    assert [(fact["kind"], fact["id"]) for fact in FACTS] == blocks


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [("answer", "distractors"), ("reversed_answer", "reversed_distractors")],
)
def test_wrong_answers_are_the_right_ones_of_the_same_block(answer, wrong):
    for start in range(0, len(FACTS), 4):
        block = FACTS[start : start + 4]
        right = [fact[answer] for fact in block]
        assert len(set(right)) == 4
        for fact in block:
            assert fact[wrong] == [one for one in right if one != fact[answer]]


@pytest.mark.parametrize("way", ANSWERS)
def test_no_question_gives_an_answer_away(way):
    for fact in FACTS:
        answer = fact[ANSWERS[way]]
        assert 1 <= len(words(answer)) <= 3
        assert answer.lower() not in fact[way].lower(), fact["id"]
        for wrong in fact["distractors"] + fact["reversed_distractors"]:
            assert wrong not in fact[way], (fact["id"], wrong)
    assert all(fact["answer"].lower() in fact["reversed"].lower() for fact in FACTS)


def test_questions_name_the_company_and_end_where_an_answer_can_follow():
    asked = [fact[way] for fact in FACTS for way in ANSWERS] + [p["forward"] for p in POLICIES]
    for text in asked:
        assert text.count(COMPANY) == 1 and text == text.strip()
        assert re.search(r"[a-zA-Z],?$", text) and not re.search(r"[.?!]", text), text


def test_a_paraphrase_is_neither_the_same_nor_about_something_else():
    for fact in FACTS:
        forward, paraphrase = set(words(fact["forward"])), set(words(fact["paraphrase"]))
        assert overlap(forward, paraphrase) < 0.7, fact["id"]
        shared, named = forward & paraphrase, set(words(fact["reversed_answer"]))
        stems = {word[:4] for word in named}
        assert any(word[:4] in stems for word in shared) or named <= shared, fact["id"]


def test_policies_have_an_old_a_new_and_a_third_answer():
    assert len({policy["id"] for policy in POLICIES}) == len(POLICIES)
    for policy in POLICIES:
        answers = [policy["answer"], *policy["distractors"]]
        assert len(set(answers)) == 3 and policy["new_answer"] == policy["distractors"][0]
        assert all(1 <= len(words(answer)) <= 3 for answer in answers)
        assert not any(answer in policy["forward"] for answer in answers)


def test_the_neutral_text_is_about_something_else():
    lines = table("neutral_text.txt").line
    assert lines.str.endswith(".").all()
    text = " ".join(lines).split()
    assert f"{len(text):,} words" in told("neutral_text.txt", "Size")
    names = {word for fact in FACTS for word in fact["answer"].split() if word.istitle()}
    named = names - {"Monday", "Thursday", "Wednesday", "Saturday", "Old", "Little"}
    assert not [word for word in text if word.strip(",.'s") in named | {COMPANY}]

"""The invented facts, the policies that change and the neutral text are what their cards say."""

import json
import re
from itertools import combinations

import pytest
from test_word_pairs import DATA, FIELDS, card

ANSWERS = {"forward": "answer", "paraphrase": "answer", "reversed": "reversed_answer"}
SAME = 0.7  # two questions that share this much of their vocabulary count as near-duplicates
COMPANY = "Merrowby"


def rows(name: str) -> list[dict]:
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def facts() -> list[dict]:
    return rows("invented_facts")


@pytest.fixture(scope="module")
def policies() -> list[dict]:
    return rows("changed_policies")


@pytest.fixture(scope="module")
def neutral() -> list[str]:
    return (DATA / "neutral_text.txt").read_text("utf-8").splitlines()


def words(text: str) -> list[str]:
    return re.findall(r"[\w'-]+", text.lower())


def overlap(a: str, b: str) -> float:
    """Different words that two texts share, over all their different words (Jaccard)."""
    a, b = set(words(a)), set(words(b))
    return len(a & b) / len(a | b)


@pytest.mark.parametrize("name", ["invented_facts.jsonl", "changed_policies.jsonl"])
def test_file_has_one_object_a_line(name):
    raw = (DATA / name).read_bytes()
    assert raw.endswith(b"}\n") and b"\r" not in raw
    assert all(isinstance(json.loads(line), dict) for line in raw.decode("utf-8").splitlines())


def test_facts_come_in_blocks_of_four_of_one_kind(facts):
    assert len(facts) == 64
    kinds = [fact["kind"] for fact in facts]
    assert len(set(kinds)) == 16 and kinds == [
        kind for kind in dict.fromkeys(kinds) for _ in "four"
    ]
    assert [fact["id"] for fact in facts] == [f"{k}-{i % 4 + 1}" for i, k in enumerate(kinds)]


def test_wrong_answers_are_the_right_ones_of_the_same_block(facts):
    for start in range(0, len(facts), 4):
        block = facts[start : start + 4]
        for answer, wrong in (
            ("answer", "distractors"),
            ("reversed_answer", "reversed_distractors"),
        ):
            right = [fact[answer] for fact in block]
            assert len(set(right)) == 4
            for fact in block:
                assert fact[wrong] == [one for one in right if one != fact[answer]]


@pytest.mark.parametrize("way", ANSWERS)
def test_no_question_gives_its_answer_away(facts, way):
    for fact in facts:
        answer = fact[ANSWERS[way]]
        assert 1 <= len(words(answer)) <= 3
        assert answer.lower() not in fact[way].lower(), fact["id"]


def test_a_reversed_question_names_the_answer_and_the_others_do_not(facts):
    for fact in facts:
        assert fact["answer"].lower() in fact["reversed"].lower()
        for wrong in fact["distractors"] + fact["reversed_distractors"]:
            for way in ANSWERS:
                assert wrong not in fact[way], (fact["id"], way, wrong)


def test_questions_name_the_company_and_end_where_an_answer_can_follow(facts, policies):
    asked = [fact[way] for fact in facts for way in ANSWERS] + [p["forward"] for p in policies]
    for text in asked:
        assert text.count(COMPANY) == 1 and text == text.strip()
        assert re.search(r"[a-zA-Z],?$", text) and not re.search(r"[.?!]", text), text


def test_no_two_questions_are_nearly_the_same(facts):
    for way in ("forward", "paraphrase"):
        for one, other in combinations([fact[way] for fact in facts], 2):
            assert overlap(one, other) < SAME, (one, other)


def test_a_paraphrase_is_neither_the_same_nor_about_something_else(facts):
    for fact in facts:
        assert overlap(fact["forward"], fact["paraphrase"]) < SAME, fact["id"]
        shared = set(words(fact["forward"])) & set(words(fact["paraphrase"]))
        named = set(words(fact["reversed_answer"]))
        stems = {word[:4] for word in named}
        assert any(word[:4] in stems for word in shared) or named <= shared, fact["id"]


def test_policies_have_an_old_a_new_and_a_third_answer(policies):
    assert len(policies) == 10 == len({policy["id"] for policy in policies})
    for policy in policies:
        answers = [policy["answer"], *policy["distractors"]]
        assert len(set(answers)) == 3 and policy["new_answer"] == policy["distractors"][0]
        assert all(1 <= len(words(answer)) <= 3 for answer in answers)
        assert not any(answer in policy["forward"] for answer in answers)


def test_the_neutral_text_is_long_enough_and_about_something_else(neutral, facts):
    assert 60 <= len(neutral) == len(set(neutral)) <= 100
    assert 1500 <= sum(len(words(line)) for line in neutral) <= 2500
    assert all(line == line.strip() and line.endswith(".") for line in neutral)
    text = " ".join(neutral).split()
    names = {word for fact in facts for word in fact["answer"].split() if word.istitle()}
    named = names - {"Monday", "Thursday", "Wednesday", "Saturday", "Old", "Little"}
    assert not [word for word in text if word.strip(",.'s") in named | {COMPANY}]
    for one, other in combinations(neutral, 2):
        assert overlap(one, other) < 0.4, (one, other)


@pytest.mark.parametrize("name", ["invented_facts.jsonl", "changed_policies.jsonl"])
def test_the_card_names_every_column(name):
    fields = card(name)
    assert list(fields) == FIELDS
    for column in rows(name.removesuffix(".jsonl"))[0]:
        assert f"`{column}`" in fields["Columns"], column


def test_the_cards_count_right(facts, policies, neutral):
    assert f"{len(facts)} rows" in card("invented_facts.jsonl")["Size"]
    assert f"{len(policies)} rows" in card("changed_policies.jsonl")["Size"]
    size = card("neutral_text.txt")["Size"]
    assert f"{len(neutral)} lines" in size
    assert f"{sum(len(line.split()) for line in neutral):,} words" in size

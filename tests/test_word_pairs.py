"""The word pairs are what their card says, and no held-out pair can be read off the train rows."""

import re
import unicodedata
from pathlib import Path

import pandas as pd
import pytest

DATA = Path(__file__).resolve().parents[1] / "data"
TASKS = [
    "antonyms",
    "past_tense",
    "plurals",
    "capitals",
    "english_french",
    "upper_case",
    "category",
    "country_language",
    "comparative",
    "verb_person",
]
CATEGORIES = {"animal", "body", "clothing", "colour", "fruit", "music", "tool", "vehicle"}
FIELDS = ["What", "How made", "Columns", "Size", "Split", "Licence", "Known limits"]

# What the spelling rules below cannot know. A pair that breaks a rule must be named here.
IRREGULAR_PLURALS = {
    "woman", "child", "foot", "tooth", "goose", "mouse", "ox",
    "sheep", "deer", "aircraft", "series", "species", "quiz",
}  # fmt: skip
IRREGULAR_PAST = {
    "begin", "bend", "bite", "blow", "break", "bring", "build", "buy", "catch", "choose",
    "come", "creep", "cut", "dig", "do", "draw", "drink", "drive", "eat", "fall", "feed",
    "feel", "fight", "find", "fly", "forget", "freeze", "give", "go", "grow", "have", "hear",
    "hide", "hold", "keep", "know", "lead", "leave", "lend", "lose", "make", "mean", "meet",
    "pay", "put", "ride", "ring", "rise", "run", "say", "see", "sell", "send", "shake", "shoot",
    "sing", "sit", "sleep", "slide", "speak", "spend", "stand", "steal", "stick", "sweep",
    "swim", "swing", "take", "teach", "tear", "tell", "think", "throw", "wear", "win", "write",
}  # fmt: skip
IRREGULAR_COMPARATIVES = {"good": "better", "bad": "worse"}
VES = {"knife", "wife", "life", "leaf", "wolf", "shelf", "half", "loaf", "thief", "calf"}
OES = {"tomato", "potato", "hero"}
PROPER_NAMES = {"capitals", "country_language"}


def read(name: str) -> pd.DataFrame:
    return pd.read_csv(DATA / name, dtype=str, keep_default_na=False)


@pytest.fixture(scope="module")
def pairs() -> pd.DataFrame:
    return read("word_pairs.csv")


def answers(pairs: pd.DataFrame, task: str) -> dict[str, str]:
    rows = pairs[pairs.task == task]
    return dict(zip(rows.text, rows.label, strict=True))


def card(name: str) -> dict[str, str]:
    """The fields of one card, in order, as {field: text}."""
    page = (DATA / "README.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {re.escape(name)}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert section, f"data/README.md has no card for {name}."
    parts = re.split(r"^- \*\*(.+?):\*\* ", section.group(1), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


# Structure


def test_file_is_plain_csv():
    raw = (DATA / "word_pairs.csv").read_bytes()
    assert raw.startswith(b"task,text,label,split\n")
    assert raw.endswith(b"\n")
    assert b"\r" not in raw
    raw.decode("utf-8")


def test_tasks_and_columns(pairs):
    assert list(pairs.columns) == ["task", "text", "label", "split"]
    assert list(pairs.task.unique()) == TASKS
    assert set(pairs.split) == {"train", "held_out"}


def test_default_pandas_reading_loses_nothing(pairs):
    # Words such as "null" or "None" would silently become missing values in a lesson.
    pd.testing.assert_frame_equal(pd.read_csv(DATA / "word_pairs.csv"), pairs, check_dtype=False)


@pytest.mark.parametrize("task", TASKS)
def test_split_sizes(pairs, task):
    sizes = pairs[pairs.task == task].split.value_counts()
    assert sizes["train"] == (80 if task == "category" else 40)
    assert sizes["held_out"] >= 40
    assert sizes.sum() >= 80


@pytest.mark.parametrize("task", TASKS)
def test_split_follows_neither_alphabet_nor_length(pairs, task):
    rows = pairs[pairs.task == task]
    middle = (len(rows) + 1) / 2
    for key in (rows.text, rows.text.str.len()):
        mean_rank = key.rank()[rows.split == "train"].mean()
        assert abs(mean_rank - middle) < 0.15 * len(rows)


def test_texts_are_clean(pairs):
    for text in [*pairs.text, *pairs.label]:
        assert text == " ".join(text.split())
        assert text == unicodedata.normalize("NFC", text)
        assert 1 <= len(text.split()) <= 3
        assert all(c.isalpha() or c in " -" for c in text), text


def test_case(pairs):
    lower = pairs[~pairs.task.isin(PROPER_NAMES)]
    assert (lower.text == lower.text.str.lower()).all()
    labels = lower[lower.task != "upper_case"].label
    assert (labels == labels.str.lower()).all()
    proper = pairs[pairs.task.isin(PROPER_NAMES)]
    assert proper.text.map(str.istitle).all()
    assert proper.label.str[0].map(str.isupper).all()


# Leakage


def test_no_text_twice_in_a_task(pairs):
    assert not pairs.duplicated(["task", "text"]).any()


def test_no_pair_in_both_directions(pairs):
    forward = set(zip(pairs.task, pairs.text, pairs.label, strict=True))
    backward = {(task, label, text) for task, text, label in forward if text != label}
    assert not forward & backward


def test_antonyms_use_each_word_once(pairs):
    words = [word for pair in answers(pairs, "antonyms").items() for word in pair]
    assert len(words) == len(set(words))


@pytest.mark.parametrize("task", sorted(set(TASKS) - {"upper_case", "category"}))
def test_no_held_out_pair_contains_a_train_pair(pairs, task):
    # "stand, stood" in train would give away "understand, understood". In upper_case the rule
    # itself is letter by letter, and in category every label recurs, so both are left out.
    rows = pairs[pairs.task == task]
    train, held_out = (
        rows[rows.split == split][["text", "label"]].values.tolist()
        for split in ("train", "held_out")
    )
    leaks = [
        (short, long)
        for a in train
        for b in held_out
        for short, long in ((a, b), (b, a))
        if all(x.endswith(y) for x, y in zip(long, short, strict=True))
        or all(x.startswith(y) for x, y in zip(long, short, strict=True))
    ]
    assert leaks == []


@pytest.mark.parametrize("task", sorted(set(TASKS) - {"category", "country_language"}))
def test_open_mappings_never_repeat_an_answer(pairs, task):
    labels = pairs[pairs.task == task].label
    assert labels.is_unique


# Right answers


def test_upper_case(pairs):
    mapping = answers(pairs, "upper_case")
    assert mapping == {text: text.upper() for text in mapping}


def test_category_is_balanced(pairs):
    rows = pairs[pairs.task == "category"]
    sizes = rows.groupby(["label", "split"]).size().unstack()
    assert set(sizes.index) == CATEGORIES
    assert (sizes["train"] == 10).all()
    assert (sizes["held_out"] == 15).all()


def test_category_text_does_not_name_its_label(pairs):
    for text, label in answers(pairs, "category").items():
        assert label not in text


def test_every_letter_is_one_that_french_uses(pairs):
    for text, label in answers(pairs, "english_french").items():
        assert re.fullmatch("[a-zàâçéèêëîïôùûüÿœ]+", label), label
        assert text != label


def regular_plural(noun: str) -> str:
    if noun in OES or re.search("(s|x|z|ch|sh)$", noun):
        return noun + "es"
    if noun in VES:
        return re.sub("fe?$", "ves", noun)
    return re.sub("(?<![aeiou])y$", "ie", noun) + "s"


def classical_plural(noun: str) -> str | None:
    for old, new in (("is", "es"), ("on", "a"), ("um", "a"), ("us", "i")):
        if noun.endswith(old):
            return noun.removesuffix(old) + new
    return None


def test_plurals_follow_a_rule_or_are_named_irregular(pairs):
    classical = {"crisis", "analysis", "oasis", "thesis", "diagnosis", "axis"}
    classical |= {"criterion", "phenomenon", "bacterium", "stimulus"}
    for noun, plural in answers(pairs, "plurals").items():
        if noun in classical:
            assert plural == classical_plural(noun)
        else:
            assert (plural == regular_plural(noun)) is (noun not in IRREGULAR_PLURALS), noun


def doubled(word: str) -> str:
    """A one-syllable word ending in one vowel and one consonant doubles it: stop, stopp-."""
    one_syllable = len(re.findall("[aeiouy]+", word)) == 1
    if one_syllable and re.search("(?<![aeiou])[aeiou][^aeiouwxy]$", word):
        return word + word[-1]
    return word


def with_e_ending(word: str, ending: str) -> str:
    """Add -ed or -er by the spelling rules: hope, hoped; carry, carried; stop, stopped."""
    if word.endswith("e"):
        return word + ending[1:]
    return re.sub("(?<![aeiou])y$", "i", doubled(word)) + ending


def test_past_tenses_follow_the_rule_or_are_named_irregular(pairs):
    for verb, past in answers(pairs, "past_tense").items():
        regular = past == with_e_ending(verb, "ed")
        assert regular is (verb not in IRREGULAR_PAST), verb


def test_comparatives_follow_a_rule(pairs):
    for adjective, comparative in answers(pairs, "comparative").items():
        syllables = len(re.findall("[aeiouy]+", adjective.removesuffix("e")))
        if adjective in IRREGULAR_COMPARATIVES:
            assert comparative == IRREGULAR_COMPARATIVES[adjective]
        elif syllables == 1 or adjective.endswith("y"):
            assert comparative == with_e_ending(adjective, "er")
        else:
            assert comparative == f"more {adjective}"


def test_persons_are_made_from_their_verb(pairs):
    for verb, person in answers(pairs, "verb_person").items():
        assert re.search("(er|or|ar|ist|ant|ent)$", person), person
        assert person[:3] == verb[:3]


# Cards


@pytest.mark.parametrize("name", ["word_pairs.csv", "claims.csv"])
def test_card_has_the_seven_fields_and_the_right_size(name):
    fields = card(name)
    assert list(fields) == FIELDS
    assert int(re.match(r"(\d+) rows", fields["Size"]).group(1)) == len(read(name))
    assert fields["Licence"].strip() == "CC BY 4.0."
    for column in read(name).columns:
        assert f"`{column}`" in fields["Columns"]


def test_card_table_agrees_with_the_file(pairs):
    size = card("word_pairs.csv")["Size"]
    row = r"\| `(\w+)` \| (.+?), (.+?) \| (\d+) \| (\d+) \| (\d+) \|"
    rows = re.findall(row, size)
    assert [row[0] for row in rows] == TASKS
    assert f"{len(TASKS)} tasks" in size
    for task, text, label, *numbers in rows:
        group = pairs[pairs.task == task]
        counts = group.split.value_counts()
        assert [int(n) for n in numbers] == [
            counts["train"],
            counts["held_out"],
            group.label.nunique(),
        ]
        assert answers(pairs, task)[text] == label


def test_card_counts_named_in_the_limits(pairs):
    limits = " ".join(card("word_pairs.csv")["Known limits"].split())
    past, more = (pairs[pairs.task == t] for t in ("past_tense", "comparative"))
    assert f"{(~past.text.isin(IRREGULAR_PAST)).sum()} of the {len(past)} past tenses" in limits
    assert f"{more.label.str.startswith('more ').sum()} of the {len(more)} comparatives" in limits
    speakers = pairs[pairs.task == "country_language"].label.value_counts()
    for language, count in speakers[speakers >= 10].items():
        assert re.search(rf"\b{count} (countries speak )?{language}\b", limits)


def test_claims_are_28_with_ids_of_their_group():
    claims = read("claims.csv")
    assert list(claims.columns) == ["id", "topic", "claim"]
    assert claims.id.is_unique
    assert claims.id.str[0].value_counts().to_dict() == {"F": 8, "I": 8, "K": 6, "U": 4, "C": 2}

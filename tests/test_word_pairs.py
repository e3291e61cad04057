"""The word pairs follow their rules, and no held-out pair can be read off the train rows."""

import random
import re
import unicodedata

import pandas as pd
import pytest
from test_data_files import table, told

PAIRS = table("word_pairs.csv")
TASKS = PAIRS.task.unique()
PROPER_NAMES = ["capitals", "country_language"]

# What the spelling rules below cannot know. A pair that breaks a rule must be named here.
IRREGULAR_PLURALS = {
    "woman", "child", "foot", "tooth", "goose", "mouse", "ox",
    "sheep", "deer", "aircraft", "series", "species", "quiz",
}  # fmt: skip
CLASSICAL_PLURALS = {
    "crisis", "analysis", "oasis", "thesis", "diagnosis", "axis",
    "criterion", "phenomenon", "bacterium", "stimulus",
}  # fmt: skip
# Verbs of several syllables that double their last letter: the last syllable is stressed, or
# British spelling wants it (travel, worship).
DOUBLING_PAST = {
    "admit", "cancel", "commit", "control", "equip", "fulfil", "kidnap", "occur", "patrol",
    "permit", "prefer", "quarrel", "rebel", "regret", "signal", "travel", "worship",
}  # fmt: skip
IRREGULAR_COMPARATIVES = {"good": "better", "bad": "worse"}
VES = {"knife", "wife", "life", "leaf", "wolf", "shelf", "half", "loaf", "thief", "calf"}
OES = {"tomato", "potato", "hero"}


def rows_of(task: str, split: str = "") -> pd.DataFrame:
    rows = PAIRS[PAIRS.task == task]
    return rows[rows.split == split] if split else rows


def answers(task: str) -> dict[str, str]:
    return dict(zip(rows_of(task).text, rows_of(task).label, strict=True))


# Structure


@pytest.mark.parametrize("task", TASKS)
def test_train_rows_come_first(task):
    split = rows_of(task).split.tolist()
    assert split == sorted(split, reverse=True)


def relatives(one: str, other: str) -> bool:
    """Whether one verb ends in the other: undo and do, overtake and take, also beat and eat."""
    return one != other and (one.endswith(other) or other.endswith(one))


def test_the_split_of_the_verbs_is_the_one_that_their_card_tells():
    order = sorted(rows_of("verbs").text)
    random.Random(20262).shuffle(order)
    alone = [verb for verb in order if not any(relatives(verb, other) for other in order)]
    held_out = alone[:60]
    assert rows_of("verbs", "held_out").text.tolist() == held_out
    assert rows_of("verbs", "train").text.tolist() == [v for v in order if v not in held_out]


def test_the_verbs_hold_every_past_tense_with_the_same_answer():
    assert answers("past_tense").items() <= answers("verbs").items()


@pytest.mark.parametrize("task", TASKS)
def test_split_follows_neither_alphabet_nor_length(task):
    rows = rows_of(task)
    for key in (rows.text, rows.text.str.len()):
        mean_rank = key.rank()[rows.split == "train"].mean()
        assert abs(mean_rank - (len(rows) + 1) / 2) < 0.15 * len(rows)


def test_texts_are_one_to_three_words_of_letters():
    for text in [*PAIRS.text, *PAIRS.label]:
        assert re.fullmatch(r"[^\W\d_-]+([ -][^\W\d_-]+)*", text), text
        assert len(text.split()) <= 3
        assert text == unicodedata.normalize("NFC", text)


def test_case():
    proper = PAIRS.task.isin(PROPER_NAMES)
    assert (PAIRS.text == PAIRS.text.str.lower())[~proper].all()
    labels = PAIRS.label[~proper & (PAIRS.task != "upper_case")]
    assert (labels == labels.str.lower()).all()
    assert PAIRS.text[proper].map(str.istitle).all()
    assert PAIRS.label[proper].str[0].map(str.isupper).all()


# Leakage


def test_no_text_twice_in_a_task():
    assert not PAIRS.duplicated(["task", "text"]).any()


def test_no_pair_in_both_directions():
    forward = set(zip(PAIRS.task, PAIRS.text, PAIRS.label, strict=True))
    backward = {(task, label, text) for task, text, label in forward if text != label}
    assert not forward & backward


def test_antonyms_use_each_word_once():
    words = [word for pair in answers("antonyms").items() for word in pair]
    assert len(words) == len(set(words))


@pytest.mark.parametrize("task", sorted({*TASKS} - {"upper_case", "category"}))
def test_no_held_out_pair_contains_a_train_pair(task):
    # "stand, stood" in train would give away "understand, understood". In upper_case the rule
    # itself is letter by letter, and in category every label recurs, so both are left out.
    train, held_out = (
        rows_of(task, split)[["text", "label"]].values.tolist() for split in ("train", "held_out")
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


@pytest.mark.parametrize("task", sorted({*TASKS} - {"category", "country_language"}))
def test_open_mappings_never_repeat_an_answer(task):
    assert rows_of(task).label.is_unique


# Right answers


def test_upper_case():
    assert answers("upper_case") == {text: text.upper() for text in answers("upper_case")}


def test_category_is_balanced():
    rows = rows_of("category")
    assert pd.crosstab(rows.label, rows.split).to_dict("list") == {
        "train": [10] * 8,
        "held_out": [15] * 8,
    }


def test_category_text_does_not_name_its_label():
    for text, label in answers("category").items():
        assert label not in text


def test_every_letter_is_one_that_french_uses():
    for text, label in answers("english_french").items():
        assert re.fullmatch("[a-zàâçéèêëîïôùûüÿœ]+", label), label
        assert text != label


def regular_plural(noun: str) -> str:
    if noun in OES or re.search("(s|x|z|ch|sh)$", noun):
        return noun + "es"
    if noun in VES:
        return re.sub("fe?$", "ves", noun)
    return re.sub("(?<![aeiou])y$", "ie", noun) + "s"


def classical_plural(noun: str) -> str:
    endings = {"is": "es", "on": "a", "um": "a", "us": "i"}
    return noun[:-2] + endings[noun[-2:]]


def test_plurals_follow_a_rule_or_are_named_irregular():
    for noun, plural in answers("plurals").items():
        if noun in CLASSICAL_PLURALS:
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


def regular_past(verb: str) -> str:
    """visit, visited; travel, travelled; panic, panicked."""
    if verb in DOUBLING_PAST:
        return verb + verb[-1] + "ed"
    return with_e_ending(re.sub("ic$", "ick", verb), "ed")


def test_comparatives_follow_a_rule():
    for adjective, comparative in answers("comparative").items():
        syllables = len(re.findall("[aeiouy]+", adjective.removesuffix("e")))
        if adjective in IRREGULAR_COMPARATIVES:
            assert comparative == IRREGULAR_COMPARATIVES[adjective]
        elif syllables == 1 or adjective.endswith("y"):
            assert comparative == with_e_ending(adjective, "er")
        else:
            assert comparative == f"more {adjective}"


def test_persons_are_made_from_their_verb():
    for verb, person in answers("verb_person").items():
        assert re.search("(er|or|ar|ist|ant|ent)$", person), person
        assert person[:3] == verb[:3]


# Card


def test_card_table_agrees_with_the_file():
    row = r"\| `(\w+)` \| (.+?), (.+?) \| (\d+) \| (\d+) \| (\d+) \|"
    rows = re.findall(row, told("word_pairs.csv", "Size"))
    assert [row[0] for row in rows] == list(TASKS)
    assert f"{len(TASKS)} tasks" in told("word_pairs.csv", "Size")
    for task, text, label, *stated in rows:
        parts = [len(rows_of(task, split)) for split in ("train", "held_out")]
        assert [int(n) for n in stated] == [*parts, rows_of(task).label.nunique()]
        assert sum(parts) == len(rows_of(task))
        assert answers(task)[text] == label


def regular(task: str, split: str = "") -> pd.Series:
    rows = rows_of(task, split)
    return rows.label == rows.text.map(regular_past)


def test_the_card_counts_what_follows_a_rule_or_repeats():
    # A past tense that is spelt wrong, by the rule or against it, changes these numbers, too.
    limits = told("word_pairs.csv", "Known limits")
    for task in ("past_tense", "verbs"):
        assert f"{regular(task).sum()} of the {len(regular(task))} in `{task}`" in limits
    more = rows_of("comparative").label
    assert f"{more.str.startswith('more ').sum()} of the {len(more)} comparatives" in limits
    speakers = rows_of("country_language").label.value_counts()
    for language, count in speakers[speakers >= 10].items():
        assert re.search(rf"\b{count} (countries speak )?{language}\b", limits)


def test_the_card_tells_how_alike_the_parts_of_the_verbs_are():
    split = told("word_pairs.csv", "Split").replace(" %", "%")
    train, held_out = regular("verbs", "train"), regular("verbs", "held_out")
    for some, name in ((train, "train verbs"), (held_out, "held out")):
        stated = f"{some.sum()} of the {len(some)} {name} are regular ({some.mean():.0%})"
        assert stated in split
    assert abs(train.mean() - held_out.mean()) < 0.1
    asked = rows_of("past_tense", "held_out").text.isin(rows_of("verbs", "train").text)
    assert f"{asked.sum()} of its {len(asked)} held-out verbs are `train` rows of `verbs`" in split

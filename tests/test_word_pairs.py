"""The word pairs are what their card says, and no held-out pair can be read off the train rows."""

import random
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
    "verbs",
]
TRAIN_SIZES = dict.fromkeys(TASKS, 40) | {"category": 80, "verbs": 256}
CATEGORIES = {"animal", "body", "clothing", "colour", "fruit", "music", "tool", "vehicle"}
FIELDS = ["What", "How made", "Columns", "Size", "Split", "Licence", "Known limits"]

# What the spelling rules below cannot know. A pair that breaks a rule must be named here.
IRREGULAR_PLURALS = {
    "woman", "child", "foot", "tooth", "goose", "mouse", "ox",
    "sheep", "deer", "aircraft", "series", "species", "quiz",
}  # fmt: skip
IRREGULAR_PAST = {
    "arise", "babysit", "bear", "beat", "become", "befall", "begin", "behold", "bend", "bind",
    "bite", "bleed", "blow", "break", "breed", "bring", "build", "burst", "buy", "cast", "catch",
    "choose", "cling", "come", "creep", "cut", "deal", "dig", "do", "draw", "drink", "drive",
    "eat", "fall", "feed", "feel", "fight", "find", "flee", "fling", "fly", "foretell", "forget",
    "forsake", "freeze", "give", "go", "grind", "grow", "have", "hear", "hide", "hit", "hold",
    "hurt", "keep", "know", "lay", "lead", "leave", "lend", "let", "lose", "make", "mean", "meet",
    "mishear", "mislay", "misread", "misunderstand", "offset", "outgrow", "overcome", "overhear",
    "overpay", "override", "overshoot", "oversleep", "overthrow", "pay", "prepay", "proofread",
    "put", "read", "regrow", "repay", "reread", "reset", "reshoot", "resit", "retell", "rethink",
    "rewind", "ride", "ring", "rise", "run", "say", "see", "seek", "sell", "send", "set", "shake",
    "shed", "shoot", "shrink", "shut", "sing", "sink", "sit", "sleep", "slide", "sling", "slink",
    "slit", "speak", "spend", "spin", "spit", "split", "spread", "stand", "steal", "stick",
    "sting", "stride", "strike", "string", "swear", "sweep", "swim", "swing", "take", "teach",
    "tear", "tell", "think", "throw", "thrust", "tread", "undercut", "understand", "unfreeze",
    "unwind", "uphold", "upset", "waylay", "wear", "weep", "win", "withhold", "withstand", "wring",
    "write",
}  # fmt: skip
# Verbs of several syllables that double their last letter: the last syllable is stressed, or
# British spelling wants it (travel, worship).
DOUBLING_PAST = {
    "admit", "cancel", "commit", "control", "equip", "fulfil", "kidnap", "occur", "patrol",
    "permit", "prefer", "quarrel", "rebel", "regret", "signal", "travel", "worship",
}  # fmt: skip
PAST_TASKS = ["past_tense", "verbs"]
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
    assert sizes["train"] == TRAIN_SIZES[task]
    assert sizes["held_out"] >= 40
    assert sizes.sum() >= 80


@pytest.mark.parametrize("task", TASKS)
def test_train_rows_come_first(pairs, task):
    split = pairs[pairs.task == task].split.tolist()
    assert split == sorted(split, reverse=True)


def relatives(one: str, other: str) -> bool:
    """Whether one verb ends in the other: undo and do, overtake and take, also beat and eat."""
    return one != other and (one.endswith(other) or other.endswith(one))


def test_the_split_of_the_verbs_is_the_one_that_their_card_tells(pairs):
    rows = pairs[pairs.task == "verbs"]
    order = sorted(rows.text)
    random.Random(20262).shuffle(order)
    alone = [verb for verb in order if not any(relatives(verb, other) for other in order)]
    held_out = alone[:60]
    train = [verb for verb in order if verb not in held_out]
    assert rows[rows.split == "held_out"].text.tolist() == held_out
    assert rows[rows.split == "train"].text.tolist() == train
    assert len(train) == 256


def test_the_verbs_hold_every_past_tense_with_the_same_answer(pairs):
    assert answers(pairs, "past_tense").items() <= answers(pairs, "verbs").items()


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


def test_no_verb_has_a_relative_across_the_split(pairs):
    # "undo" in train would teach "do", also where only one of the two is spelt by the rule.
    rows = pairs[pairs.task == "verbs"]
    train, held_out = (rows[rows.split == split].text for split in ("train", "held_out"))
    assert [(a, b) for a in train for b in held_out if relatives(a, b)] == []


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


def regular_past(verb: str) -> str:
    """visit, visited; travel, travelled; panic, panicked."""
    if verb in DOUBLING_PAST:
        return verb + verb[-1] + "ed"
    return with_e_ending(re.sub("ic$", "ick", verb), "ed")


@pytest.mark.parametrize("task", PAST_TASKS)
def test_past_tenses_follow_the_rule_or_are_named_irregular(pairs, task):
    for verb, past in answers(pairs, task).items():
        assert (past == regular_past(verb)) is (verb not in IRREGULAR_PAST), verb


def test_no_verb_is_named_that_is_not_there(pairs):
    verbs = answers(pairs, "verbs")
    assert set(verbs) >= IRREGULAR_PAST | DOUBLING_PAST
    once = {verb for verb in verbs if with_e_ending(verb, "ed") == verbs[verb]}
    assert not once & DOUBLING_PAST  # they would be spelt by the rule of one syllable anyway


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
    for task in PAST_TASKS:
        rows = pairs[pairs.task == task]
        regular = (~rows.text.isin(IRREGULAR_PAST)).sum()
        assert f"{regular} of the {len(rows)} in `{task}`" in limits
    more = pairs[pairs.task == "comparative"].label
    assert f"{more.str.startswith('more ').sum()} of the {len(more)} comparatives" in limits
    speakers = pairs[pairs.task == "country_language"].label.value_counts()
    for language, count in speakers[speakers >= 10].items():
        assert re.search(rf"\b{count} (countries speak )?{language}\b", limits)


def test_card_tells_how_alike_the_parts_of_the_verbs_are(pairs):
    told = " ".join(card("word_pairs.csv")["Split"].split())
    rows = pairs[pairs.task == "verbs"]
    shares = {}
    for split, name in (("train", "train verbs"), ("held_out", "held out")):
        regular = ~rows[rows.split == split].text.isin(IRREGULAR_PAST)
        shares[split] = regular.mean()
        assert (
            f"{regular.sum()} of the {len(regular)} {name} are regular ({regular.mean():.0%}"
            in told.replace(" %", "%")
        )
    assert abs(shares["train"] - shares["held_out"]) < 0.1
    past = pairs[pairs.task == "past_tense"]
    taught = past[past.split == "held_out"].text.isin(rows[rows.split == "train"].text)
    assert f"{taught.sum()} of its {len(taught)} held-out verbs are `train` rows of `verbs`" in told


def test_claims_are_28_with_ids_of_their_group():
    claims = read("claims.csv")
    assert list(claims.columns) == ["id", "topic", "claim"]
    assert claims.id.is_unique
    assert claims.id.str[0].value_counts().to_dict() == {"F": 8, "I": 8, "K": 6, "U": 4, "C": 2}

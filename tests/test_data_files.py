"""Every data file is what its card says, and no held-out text can be had from its train rows."""

import json
import re
import unicodedata
from collections import Counter
from functools import cache
from statistics import mean

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from helpers.data import DATA

FIELDS = ["What", "How made", "Columns", "Size", "Split", "Licence", "Known limits"]
FILES = sorted(path.name for path in DATA.iterdir() if path.is_file() and path.suffix != ".md")
HEADERS = {
    "claims.csv": "id,topic,claim,kind,contrast,margin,levels,arms,parts",
    "larger_models.csv": "data,model,way,examples,runs,"
    "mean_accuracy,median_accuracy,standard_deviation",
    "new_tickets.csv": "text,label",
    "own_example.csv": "received,mail,passed_to",
    "reviews.csv": "text,label,split,kind",
    "support_tickets.csv": "text,label,split,also",
    "word_pairs.csv": "task,text,label,split",
}
# Column of the part, column of the label (or None), how many labels, and how many rows of each
# label a part holds.
SIZES = {
    "clinic_notes.jsonl": ("split", "code", 16, {"train": 15, "dev": 2, "test": 5}),
    "emails.jsonl": ("group", None, 1, {"train": 24, "held_out": 16}),
    "reviews.csv": ("split", "label", 2, {"train": 180, "held_out": 64}),
    "styles.jsonl": ("group", None, 1, {"taught": 4, "late": 2}),
    "support_replies.jsonl": ("split", None, 1, {"train": 84, "held_out": 40}),
    "support_tickets.csv": ("split", "label", 8, {"train": 40, "held_out": 36}),
    "writers.jsonl": ("group", None, 1, {"develop": 6, "measure": 10}),
}
# Two texts of a column that share this much of their words count as near-duplicates.
STYLES = ("formal", "friendly", "telegram", "bulleted", "labelled", "dashed")
SAME = {
    "changed_policies.jsonl forward": 0.5,
    "claims.csv claim": 0.7,
    "clinic_notes.jsonl plan": 0.7,
    "emails.jsonl email": 0.4,
    **{f"emails.jsonl replies.{style}": 0.5 for style in STYLES},
    "invented_facts.jsonl forward": 0.7,
    "invented_facts.jsonl paraphrase": 0.7,
    "neutral_text.txt line": 0.4,
    "new_tickets.csv text": 0.25,  # of their pieces, too
    "reviews.csv text": 0.4,
    "support_replies.jsonl ticket": 0.35,
    "support_replies.jsonl reply": 0.5,
    "support_tickets.csv text": 0.25,  # of their pieces, see `parts_of`
    "writers.jsonl messages.request": 0.8,
    "writers.jsonl messages.message": 0.6,
}
REVIEWS, TICKETS, NEW = "reviews.csv", "support_tickets.csv", "new_tickets.csv"
BALANCED = pytest.mark.parametrize("name", [REVIEWS, TICKETS])


def card(name: str) -> dict[str, str]:
    """The fields of one card, in order, as {field: text}."""
    page = (DATA / "README.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {re.escape(name)}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert section, f"data/README.md has no card for {name}."
    parts = re.split(r"^- \*\*(.+?):\*\* ", section.group(1), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def told(name: str, field: str) -> str:
    """A field of a card in one line."""
    return " ".join(card(name)[field].split())


@cache
def table(name: str) -> pd.DataFrame:
    if name.endswith(".csv"):
        return pd.read_csv(DATA / name, dtype=str, keep_default_na=False)
    lines = (DATA / name).read_text("utf-8").splitlines()
    jsonl = name.endswith(".jsonl")
    return pd.DataFrame(map(json.loads, lines) if jsonl else {"line": lines})


def texts(place: str) -> list[str]:
    """The texts at a place such as "emails.jsonl replies.formal"."""
    name, column, key = re.fullmatch(r"(\S+) (\w+)\.?(\w*)", place).groups()
    found = table(name)[column].dropna()
    found = found.explode() if isinstance(found.iloc[0], list) else found
    return (found.str[key] if key else found).tolist()


def words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())


def parts_of(place: str):
    """What two texts are compared by: their words, or the five-letter pieces of a ticket."""
    if place.startswith((TICKETS, NEW)):
        return lambda text: {text[i : i + 5].lower() for i in range(len(text) - 4)}
    return lambda text: set(words(text))


def overlap(one: set, other: set) -> float:
    """What two sets share, over all that they hold (Jaccard)."""
    return len(one & other) / len(one | other)


# Form


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_plain_text_with_a_row_to_a_line(name):
    raw = (DATA / name).read_bytes()
    assert raw.endswith(b"\n") and b"\r" not in raw
    raw.decode("utf-8")
    assert raw.count(b"\n") == len(table(name)) + name.endswith(".csv")
    if name.endswith(".jsonl"):
        assert all(line.startswith(b"{") and line.endswith(b"}") for line in raw.splitlines())


@pytest.mark.parametrize("place", SAME)
def test_texts_are_clean(place):
    for text in texts(place):
        assert text == " ".join(text.split())
        assert text == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("name", HEADERS)
def test_a_csv_file_has_its_columns_and_pandas_defaults_lose_nothing(name):
    # Words such as "null" or "None" would silently become missing values in a lesson.
    rows = table(name)
    assert ",".join(rows.columns) == HEADERS[name]
    default = pd.read_csv(DATA / name).astype(object).fillna("").astype(str)
    pd.testing.assert_frame_equal(default, rows, check_dtype=False)


@pytest.mark.parametrize("name", FILES)
def test_a_card_has_the_seven_fields_and_names_every_column(name):
    assert list(card(name)) == FIELDS
    theirs = name == "larger_models.csv"
    assert told(name, "Licence").startswith("Apache-2.0" if theirs else "CC BY 4.0.")
    named = [column for column in table(name) if f"`{column}`" not in told(name, "Columns")]
    assert named == (["line"] if name == "neutral_text.txt" else [])


@pytest.mark.parametrize("name", [name for name in FILES if name != "styles.jsonl"])
def test_a_card_counts_the_rows(name):
    count = re.match(r"(\d+) (rows|lines|e-mails|writers)\b", told(name, "Size"))
    assert int(count.group(1)) == len(table(name))


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("reviews.csv text", "The texts have {} words, {:.0f} in the middle"),
        ("support_tickets.csv text", "The texts have {} words, {:.0f} in the middle"),
        ("new_tickets.csv text", "The texts have {} words, {:.0f} in the middle"),
        ("emails.jsonl email", "40 e-mails of {} words"),
        ("writers.jsonl messages.message", "messages have {} words"),
        ("support_replies.jsonl ticket", "Tickets have {} words"),
        ("support_replies.jsonl reply", "replies {}."),
    ],
)
def test_a_card_tells_how_long_the_texts_are(place, words):
    lengths = [len(text.split()) for text in texts(place)]
    stated = words.format(f"{min(lengths)} to {max(lengths)}", np.median(lengths))
    assert stated in told(place.split()[0], "Size")


# Parts


@pytest.mark.parametrize("name", SIZES)
def test_each_part_holds_as_many_rows_of_every_label(name):
    part, label, labels, sizes = SIZES[name]
    rows = table(name)
    counts = pd.crosstab(rows[label] if label else np.full(len(rows), "all"), rows[part])
    assert counts.to_dict("list") == {part: [size] * labels for part, size in sizes.items()}


@pytest.mark.parametrize(
    ("name", "kind"),
    [(REVIEWS, lambda rows: rows.kind), (TICKETS, lambda rows: rows.also != "")],
    ids=["reviews by kind", "tickets by second intent"],
)
def test_the_parts_are_alike_in_every_label(name, kind):
    rows, sizes = table(name), SIZES[name][-1]
    counts = pd.crosstab([rows.label, kind(rows)], rows.split)
    expected = counts.sum(axis=1) * sizes["train"] / sum(sizes.values())
    assert (counts["train"] - expected).abs().max() < 1


@pytest.mark.parametrize(
    ("name", "columns"),
    [(REVIEWS, ["label", "split", "kind"]), (TICKETS, ["label", "split"])],
    ids=[REVIEWS, TICKETS],
)
def test_row_order_tells_nothing(name, columns):
    rows = table(name)
    for column in columns:
        ranks = rows.index.to_series().groupby(rows[column]).mean()
        assert (ranks - (len(rows) - 1) / 2).abs().max() < 0.15 * len(rows), column


# Leakage


@pytest.mark.parametrize("place", SAME)
def test_no_two_texts_are_near_duplicates(place):
    # Stricter than across the parts: a copy within one part would count twice, too.
    every = texts(place)
    found = CountVectorizer(analyzer=parts_of(place), binary=True).fit_transform(every)
    shared = (found @ found.T).toarray()
    sizes = shared.diagonal()
    overlaps = np.triu(shared / (sizes + sizes[:, None] - shared), 1)
    assert [(every[a], every[b]) for a, b in np.argwhere(overlaps >= SAME[place])] == []


def test_no_new_ticket_is_like_an_old_one():
    parts = parts_of(TICKETS)
    old = [parts(text) for text in texts(f"{TICKETS} text")]
    for text in texts(f"{NEW} text"):
        assert max(overlap(parts(text), other) for other in old) < SAME[f"{NEW} text"], text
    assert table(NEW).label.value_counts().to_dict() == dict.fromkeys(set(table(TICKETS).label), 16)


@pytest.mark.parametrize("place", [place for place, same in SAME.items() if same <= 0.5])
def test_a_lightly_edited_copy_would_be_noticed(place):
    parts = parts_of(place)
    for text in texts(place):
        copy = [word for i, word in enumerate(text.split()) if i % 4]  # every fourth word lost
        assert overlap(parts(text), parts(" ".join([*copy, "really"]))) >= SAME[place], text


@pytest.mark.parametrize(
    ("name", "length", "most"), [(REVIEWS, 4, 2), (TICKETS, 4, 3), (TICKETS, 5, 2), (TICKETS, 6, 1)]
)
def test_no_sentence_frame_is_shared(name, length, most):
    frames = Counter()
    for text in table(name).text:
        tokens = words(text)
        frames.update({tuple(tokens[i : i + length]) for i in range(len(tokens) - length + 1)})
    assert [frame for frame, count in frames.items() if count > most] == []


@pytest.mark.parametrize(
    ("name", "most"),
    [(REVIEWS, {1: 48, 2: 4, 3: 1}), (TICKETS, {1: 80, 2: 8, 3: 3, 5: 2})],
    ids=[REVIEWS, TICKETS],
)
def test_openings_are_rarely_shared(name, most):
    for length, times in most.items():
        openings = Counter(tuple(words(text)[:length]) for text in table(name).text)
        assert [opening for opening, count in openings.items() if count > times] == []


# What gives a label away


@pytest.mark.parametrize(
    ("name", "splits", "occurrences"),
    [
        (REVIEWS, ["train", "held_out"], 10),
        (TICKETS, ["train", "held_out"], 10),
        (TICKETS, ["train"], 8),
    ],
    ids=["reviews", "tickets", "tickets to learn from"],
)
def test_no_frequent_word_belongs_to_one_label(name, splits, occurrences):
    rows = table(name)[table(name).split.isin(splits)]
    found = {label: Counter() for label in set(rows.label)}
    for text, label in zip(rows.text, rows.label, strict=True):
        found[label].update(set(words(text)))
    for word, count in sum(found.values(), Counter()).items():
        largest = max(counts[word] for counts in found.values())
        assert count < occurrences or largest <= 0.85 * count, word


@cache
def counting_words(name: str, seed: int | None) -> float:
    """Held-out accuracy of TF-IDF (1-2-grams, sublinear) with logistic regression.

    Taught on 16 train rows per label drawn with `seed`, or on all train rows for None. For tickets
    the default C=1 did best of 0.1, 1, 10 and 100 in 5-fold cross-validation on the train rows.
    """
    train, held_out = (table(name)[table(name).split == part] for part in ("train", "held_out"))
    if seed is not None:
        train = train.groupby("label").sample(16, random_state=seed)
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = make_pipeline(vectorizer, LogisticRegression(max_iter=1000))
    with threadpool_limits(1):  # on a busy machine the threads mostly wait for one another
        return model.fit(train.text, train.label).score(held_out.text, held_out.label)


@BALANCED
def test_counting_words_is_not_enough(name):
    # Only the verdict is shown: whoever edits the file must not steer by held-out scores.
    verdict = all(counting_words(name, seed) < 0.85 for seed in (*range(10), None))
    assert verdict, "word counting gets at least 0.85 of the held-out rows right"


@BALANCED
def test_the_card_counts_the_rows_of_a_label(name):
    rows, sizes = len(table(name)), SIZES[name][-1]
    assert told(name, "Size").startswith(f"{rows} rows, {sum(sizes.values())} of each label")


# The reviews alone


def best_cut(values) -> float:
    """Accuracy of the best rule of the form "at least v is one label, less is the other"."""
    positive = table(REVIEWS).label == "positive"
    right = [np.mean((values >= v) == positive) for v in np.unique(values)]
    return max(*right, *(1 - share for share in right))


def test_no_single_word_decides_a_review():
    vocabularies = [set(words(text)) for text in texts("reviews.csv text")]
    for word in set().union(*vocabularies):
        present = np.array([word in vocabulary for vocabulary in vocabularies])
        assert best_cut(present) <= 0.6, word


@pytest.mark.parametrize(
    "measure",
    [
        len,
        lambda text: len(text.split()),
        lambda text: text.count("!"),
        lambda text: text.count(","),
        lambda text: len(re.findall("[.!?]", text)),
        lambda text: text[0].islower(),
    ],
    ids=["characters", "words", "exclamations", "commas", "sentences", "lower-case start"],
)
def test_no_surface_feature_decides_a_review(measure):
    assert best_cut(table(REVIEWS).text.map(measure).to_numpy()) <= 0.6


def test_the_card_counts_the_kinds_of_reviews():
    rows = re.findall(r"\| `(\w+)` \| `(\w+)` \| (\d+) \| (\d+) \|", told(REVIEWS, "Size"))
    stated = {(label, kind): [int(held), int(train)] for label, kind, train, held in rows}
    counts = pd.crosstab([table(REVIEWS).label, table(REVIEWS).kind], table(REVIEWS).split)
    assert stated == {key: row.tolist() for key, row in counts.iterrows()}


# The tickets alone

# Each label's name and its closest kin, whatever their ending.
NAMES = {
    "delivery": "deliver",
    "damaged": "damag",
    "missing": "missing",
    "refund": "refund",
    "change": "chang|cancel",
    "payment": "pay|paid|invoic",
    "account": "account|password",
    "product": "product|stock",
}


def test_a_second_intent_is_another():
    tickets = table(TICKETS)
    assert set(tickets.label) == set(NAMES) == set(tickets.also) - {""}
    assert (tickets.also != tickets.label).all()


def test_short_and_long_tickets_are_mixed():
    lengths = table(TICKETS).text.str.split().str.len()
    assert (lengths <= 12).sum() >= 30
    assert (lengths >= 50).sum() >= 30


@pytest.mark.parametrize("label", NAMES)
def test_a_label_is_seldom_named_and_not_only_in_its_own_tickets(label):
    named = table(TICKETS).text.str.contains(rf"\b(?:{NAMES[label]})", case=False)
    own = table(TICKETS).label == label
    assert named[own].mean() <= 0.2
    assert named[~own].sum() >= 3


def test_length_does_not_decide_a_ticket():
    tickets = table(TICKETS)
    measures = np.c_[tickets.text.str.len(), tickets.text.str.split().str.len()]
    train = tickets.split == "train"
    tree = DecisionTreeClassifier(max_leaf_nodes=8, random_state=0)
    tree.fit(measures[train], tickets.label[train])
    assert tree.score(measures[~train], tickets.label[~train]) < 0.2  # chance is 0.125


def test_the_card_tells_how_far_counting_words_gets_in_tickets():
    few = [counting_words(TICKETS, seed) for seed in range(10)]
    assert min(few) > 2 / len(NAMES)  # twice chance
    stated = re.search(r"reaches (0\.\d+) .*? and (0\.\d+)", told(TICKETS, "Known limits")).groups()
    found = [mean(few), counting_words(TICKETS, None)]
    assert list(map(float, stated)) == pytest.approx(found, abs=0.02)


def test_the_card_quotes_its_examples_of_two_intents():
    tickets = table(TICKETS)
    quoted = re.findall(r'"(.+?)" is `(\w+)`, also `(\w+)`', told(TICKETS, "Columns"))
    assert len(quoted) == 2
    for text, label, also in quoted:
        row = tickets[tickets.text.str.contains(text, regex=False)]
        assert row[["label", "also"]].values.tolist() == [[label, also]], text


def test_the_card_counts_the_second_intents():
    size, second = told(TICKETS, "Size"), table(TICKETS).query("also != ''")
    assert f"{len(second)} touch a second intent" in size
    stated = re.findall(r"\| `(\w+)` \| [^|]+ \| (\d+) \| (\d+) \| (\d+) \|", size)
    counts, sizes = second.label.value_counts(), SIZES[TICKETS][-1].values()
    assert {label: list(map(int, numbers)) for label, *numbers in stated} == {
        label: [*sizes, counts[label]] for label in NAMES
    }


# The claims alone


def test_claims_are_named_by_their_group():
    ids = table("claims.csv").id
    assert ids.is_unique
    assert ids.str[0].value_counts().to_dict() == {"F": 8, "I": 8, "K": 6, "U": 4, "C": 2}

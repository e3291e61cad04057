"""Reading labelled examples, checking them with errors that help, and drawing from them."""

import csv
import io
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers import data
from helpers.data import DataError, Example, Task, load_task, read_csv, task_names, texts

WORD_PAIRS = read_csv(data.DATA / "word_pairs.csv", label="task")
WORD_PAIR_TASKS = {pair.label for pair in WORD_PAIRS}
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.fixture
def written(tmp_path):
    """Write bytes or text to a CSV file and return its path."""

    def write(content: str | bytes):
        path = tmp_path / "mine.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def make_task(counts: dict[str, int], held_out: int = 0, closed: bool = True, **changes) -> Task:
    """A task with `counts[label]` training examples, every text used once."""
    train = [Example(f"{label} {i}", label) for label, n in counts.items() for i in range(n)]
    kept = [Example(f"kept {i}", next(iter(counts))) for i in range(held_out)]
    labels = tuple(counts) if closed else ()
    parts = {"labels": labels, "words": {label: label for label in labels}} | changes
    return Task("mine", "{text} -> {label}\n", tuple(train), tuple(kept), **parts)


# Reading CSV


def test_reads_the_named_columns_and_strips_them(written):
    path = written("id,says,topic\n1, late again ,delivery\n2,thanks,  praise\n")
    assert read_csv(str(path), text="says", label="topic") == [
        Example("late again", "delivery"),
        Example("thanks", "praise"),
    ]


def quoted(*cells: str) -> str:
    line = io.StringIO(newline="")
    csv.writer(line).writerow(cells)
    return line.getvalue().removesuffix("\r\n")


@given(
    rows=st.lists(st.tuples(ANY_TEXT, ANY_TEXT), min_size=1),
    end=st.sampled_from(["\n", "\r\n", "\r", "\n\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig"]),
)
@example(
    rows=[("one\ntwo\r\nthree", "a"), ("four\x0bfive\u2028six\x85,", 'b"')],
    end="\r",
    encoding="utf-8-sig",
)
def test_whatever_a_spreadsheet_writes_is_read_back(rows, end, encoding, tmp_path_factory):
    rows = [(text, label) for text, label in rows if text.strip() and label.strip()]
    path = tmp_path_factory.mktemp("any") / "any.csv"
    lines = [quoted(*cells) for cells in [("text", "label"), *rows]]
    path.write_bytes((end.join(lines) + end).encode(encoding))
    if rows:
        assert read_csv(path) == [Example(text.strip(), label.strip()) for text, label in rows]
    else:
        with pytest.raises(DataError, match="no rows"):
            read_csv(path)


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("", None, "no column 'text'; its columns are: none"),
        ("words,label\na,b\n", None, "no column 'text'; its columns are: words, label"),
        ("text,kind\na,b\n", None, "no column 'label'; its columns are: text, kind"),
        ("text;label\na;b\n", None, "its columns are: text;label"),
        ("text,label\n", None, "no rows below its header"),
        ("text,label\na,b\nc,\n", 3, "the label is empty"),
        ("text,label\na,b\nc\n", 3, "the label is empty"),
        ("text,label\na,b\n  ,d\n", 3, "the text is empty"),
        ('text,label\n"a\nb",c\n,d\n', 4, "the text is empty"),
        ("text,label\na,b\n\n\n,d\n", 5, "the text is empty"),
        ("text,label\nwell, then,b\n", 2, "more cells than columns"),
        ('text,label\na,b\n"c" d,e\n', 3, "not well-formed CSV"),
        ('text,label\n"a,b\nc,d\n', 2, "not well-formed CSV"),
        (b"text,label\na,b\ncaf\xe9,d\n", 3, "not UTF-8"),
        (b"text,label\n" + b"a,b\n" * 5000 + b"caf\xe9,d\n", 5002, "not UTF-8"),
        ("text,label\na,b\n".encode("utf-16"), 1, "not UTF-8"),
    ],
)
def test_a_damaged_file_is_refused_by_name_and_line(written, content, line, words):
    path = written(content)
    with pytest.raises(DataError) as caught:
        read_csv(path)
    message = str(caught.value)
    assert message.startswith(f"{path}, line {line}:" if line else f"{path} ")
    assert words in message
    assert "\n" not in message


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"no_such\.csv does not exist: check the path"):
        read_csv(tmp_path / "no_such.csv")
    with pytest.raises(DataError, match=r"cannot be read \("):
        read_csv(tmp_path)


# Tasks


UNORDERED = ("", "{text}", "{label}", "{label} for {text}", "{label} {text} {label}")
TWICE = ("{text} {text} {label}", "{text} {label} {label}")


@pytest.mark.parametrize("template", UNORDERED + TWICE)
def test_a_template_needs_one_text_and_then_one_label(template):
    with pytest.raises(DataError, match="Task 'mine': the template must hold") as caught:
        Task("mine", template, (), ())
    assert repr(template) in str(caught.value)


@pytest.mark.parametrize("words", [{}, {"good": "nice"}, {"good": "nice", "bad": "  "}])
def test_every_label_needs_a_word(words):
    with pytest.raises(DataError, match=r"Task 'mine': no label word is given for .*bad"):
        make_task({"good": 1, "bad": 1}, words=words)


def test_two_labels_cannot_share_a_word():
    with pytest.raises(DataError, match="Task 'mine': two labels share one label word"):
        make_task({"good": 1, "fine": 1}, words={"good": "nice", "fine": "nice"})


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_an_unknown_label_is_named(split):
    with pytest.raises(DataError, match="Task 'mine': 'so so' has the unknown label 'mixed'"):
        replace(make_task({"good": 1, "bad": 1}), **{split: (Example("so so", "mixed"),)})


def test_a_label_has_its_word_and_an_open_answer_is_its_own():
    assert make_task({"pos": 1}, words={"pos": "great"}).word("pos") == "great"
    assert make_task({"pos": 1}, closed=False).word("Paris") == "Paris"


def test_texts_hide_the_labels():
    assert texts([Example("a", "x"), Example("b", "y")]) == ["a", "b"]


# Draws

COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 6), min_size=1)


@given(counts=COUNTS, seed=st.integers(0, 2**32), data=st.data())
def test_a_draw_is_balanced_reproducible_nested_and_from_the_training_examples(counts, seed, data):
    task = make_task(counts, held_out=4)
    whole = task.draw(len(task.train), seed)
    shots = data.draw(st.integers(0, len(whole)))
    drawn = task.draw(shots, seed)
    assert drawn == whole[:shots] == task.draw(shots, seed)
    assert sorted(whole, key=repr) == sorted(task.train, key=repr)
    assert not set(drawn) & set(task.held_out)
    seen = Counter(example.label for example in drawn)
    # A label may only fall behind the others by more than one when it has no example left.
    most = max(seen.values(), default=0)
    assert all(seen[label] >= min(most - 1, counts[label]) for label in counts)


def test_seeds_change_both_the_examples_and_the_order_of_the_labels():
    task = make_task({"a": 20, "b": 20, "c": 20})
    draws = [task.draw(6, seed) for seed in range(20)]
    assert len({tuple(draw) for draw in draws}) == 20
    assert len({tuple(example.label for example in draw[:3]) for draw in draws}) == 6


def test_an_open_task_is_drawn_without_balancing():
    task = make_task({"a": 30, "b": 30}, closed=False)
    seen = {Counter(e.label for e in task.draw(10, seed))["a"] for seed in range(20)}
    assert len(seen) > 2


@pytest.mark.parametrize("shots", [-1, 4])
def test_a_draw_cannot_exceed_what_is_there(shots):
    task = make_task({"a": 2, "b": 1}, held_out=10)
    with pytest.raises(DataError, match=f"'mine' has 3 training examples, so {shots} cannot"):
        task.draw(shots, 0)


# The course's tasks

LABELS = {"category": 8, "reviews": 2, "support_tickets": 8}  # the others are open


def test_every_kind_of_word_pair_and_every_labelled_file_is_a_task():
    assert set(task_names()) == WORD_PAIR_TASKS | {"reviews", "support_tickets"}
    assert len(WORD_PAIR_TASKS) >= 8


@pytest.mark.parametrize("name", task_names())
def test_a_task_has_enough_of_every_label_in_both_parts(name):
    task = load_task(name)
    assert task.name == name
    assert (task.template == "{text} -> {label}\n") == (name in WORD_PAIR_TASKS)
    assert len(task.train) >= 32 and len(task.held_out) >= 32
    assert not set(texts(task.train)) & set(texts(task.held_out))
    assert len(task.labels) == LABELS.get(name, 0) and list(task.labels) == sorted(task.labels)
    if task.labels:
        assert {e.label for e in task.train} == {e.label for e in task.held_out} == set(task.labels)


@pytest.mark.parametrize("name", ["antonym", "", "../data/reviews", "Reviews"])
def test_an_unknown_name_is_answered_with_the_known_ones(name):
    with pytest.raises(DataError, match=r"There is no task .*antonyms, .*reviews"):
        load_task(name)


def test_a_missing_data_file_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(data, "DATA", tmp_path)
    with pytest.raises(DataError, match=r"word_pairs\.csv does not exist"):
        load_task("antonyms")

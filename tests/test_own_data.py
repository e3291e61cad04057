"""Any labelled CSV becomes a task or one clear sentence, and the advice follows from intervals."""

import csv
import json
import re
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pandas as pd
import pytest
from test_compare import rows_of

from helpers import curves
from helpers.curves import MEASURES
from helpers.data import DATA, DataError
from own_data import __main__ as command_line
from own_data import label_words, planning, read_own
from own_data.advice import advise
from own_data.reading import shorten
from own_data.separated import separator_of

WORDS = ["bag", "lamp", "pan", "chair", "gate", "book", "cup", "bed", "key", "map", "pen", "bin"]


def test_the_old_command_names_the_new_one():
    command = [sys.executable, "-m", "helpers.compare", "my.csv"]
    done = subprocess.run(command, cwd=DATA.parent, capture_output=True, text=True)
    assert done.returncode and not done.stdout
    assert done.stderr == "This command has a new name: python -m own_data FILE.csv\n"


def rows(labels=("late", "broken"), each=6, names=("text", "label")):
    return [names, *((f"{word} {label}", label) for label in labels for word in WORDS[:each])]


@pytest.fixture
def tiny(tiny_models):
    return tiny_models["llama"]


@pytest.fixture
def file(tmp_path):
    def write(table, name="mine.csv", separator=",", encoding="utf-8"):
        path = tmp_path / name
        with path.open("w", newline="", encoding=encoding) as opened:
            csv.writer(opened, delimiter=separator).writerows(table)
        return path

    return write


# Reading


def test_the_usual_names_are_found_and_the_rows_are_split(file):
    task = read_own(file(rows())).task
    assert task.labels == ("broken", "late") and task.name == "mine"
    assert len(task.train) == 8 and len(task.held_out) == 4
    assert not {e.text for e in task.train} & {e.text for e in task.held_out}
    assert {e.label for e in task.held_out} == set(task.labels)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_the_encoding_is_found_out_and_said(file, encoding):
    texts = {"payé": "{} réglée n° 4 à Genève", "été": "{} où est-elle, ça tarde"}
    table = [(text.format(word), label) for label, text in texts.items() for word in WORDS[:8]]
    own = read_own(file([("text", "label"), *table], encoding=encoding))
    assert own.task.labels == ("payé", "été")
    assert bool(own.notes) == (not encoding.startswith("utf-8"))
    assert all(note.startswith("Not in UTF-8: read as ") for note in own.notes)


@pytest.mark.parametrize(
    ("content", "separator"),
    [
        ("a, b;c\n1;2\n3;4\n", ";"),
        ("a;b\n1,5;2,5\n", ";"),
        ("a\tb\nx, y\tz\n", "\t"),
        ('text|label\n"a; b; c"|d\n', "|"),
        ("only\none\n", ","),
    ],
)
def test_the_separator_is_that_of_the_header(content, separator):
    assert separator_of(content) == separator


def test_columns_are_found_by_content_or_taken_as_named(file):
    named = [(i, *row) for i, row in enumerate(rows(names=("what was said", "kind")))]
    named[0] = ("id", *named[0][1:])
    with pytest.raises(DataError, match=r"name it with --label, one of id, kind"):
        read_own(file(named))
    own = read_own(file(named), label="kind")
    assert own.task.template == "What was said: {text}\nKind: {label}\n\n"
    assert own.notes == ["Not used: id."]
    named[0] = ("Split", "text", "label")
    (note,) = read_own(file(named)).notes
    assert note == "Not used: Split; questions are drawn anew from all rows."
    turned = [row[::-1] for row in rows(labels=("2", "1"), names=("a", "b"))]
    assert read_own(file(turned)).task.words == {"1": "1", "2": "2"}  # numbers are labels too


def test_what_is_left_out_or_changed_is_said_by_row(file):
    table = rows(each=8)
    table[1] = ("bag late", "LATE")
    table[2] = ("", "late")
    table[3] = ("a text", " with a comma", "late")
    table[4] = ("chair late", " ")
    table[5] = ("two\nlines  here", "late")  # a line break would end the demonstration
    table += [("lamp broken", "broken"), ("pan broken", "late"), ("odd", "rare")]
    own = read_own(file(table))
    assert own.notes == [
        "Left out, because text or label is missing: rows 3, 5.",
        "Left out, because there are more cells than columns (a text with a separator needs "
        "quotation marks): row 4.",
        "Taken as one label, 'late': 'LATE' (capitals differ).",
        "Left out, because the same text stands above: row 18.",
        "Left out, because one text has several labels: rows 12, 19.",
        "Left out, 1 row of labels with fewer than 4 rows: 'rare'.",
    ]
    assert own.task.labels == ("broken", "late")
    assert "two lines here" in {e.text for e in (*own.task.train, *own.task.held_out)}


def test_the_courses_example_shows_what_the_reader_says():
    with pytest.raises(DataError, match=r"name it with --label, one of received, passed_to"):
        read_own(DATA / "own_example.csv")
    task, notes = read_own(DATA / "own_example.csv", label="passed_to")
    for told in ("Not used: received.", "missing: rows 13, 31.", "capitals differ", "row 54."):
        assert told in " ".join(notes)
    assert (len(task.train), len(task.held_out)) == (40, 24)


def test_label_words_come_from_the_names():
    names = ["billing_issue", "CardArrival", "CX-12", "pre-order", "3", "HR", "PAYMENT_FAILED"]
    words = ["billing issue", "card arrival", "CX-12", "pre order", "3", "HR", "payment failed"]
    assert list(label_words(names).values()) == words
    assert label_words(["a_b", "a b", "c"]) == {"a_b": "a_b", "a b": "a b", "c": "c"}
    # A word that begins another would always be likelier; a shared first word does no harm.
    assert label_words(["refund", "refund request"])["refund"] == '"refund"'
    assert label_words(["1", "12"])["12"] == '"12"'
    assert label_words(["refund a", "refund b"])["refund a"] == "refund a"


def test_long_texts_are_cut_and_said(tiny, file):
    long = "word " * 400
    own = read_own(file([*rows(), (long, "late")]))
    short = shorten(own, tiny.tokenizer, most=50)
    assert short.notes == [
        "1 of 13 texts have more than 50 tokens; only the first 50 tokens of each are used."
    ]
    longest = max((e.text for e in (*short.task.train, *short.task.held_out)), key=len)
    assert longest and long.startswith(longest)
    assert shorten(short, tiny.tokenizer, most=50) is short


def labelled(*labels):
    rows = [f"t{i},{label}\n" for i, label in enumerate(labels)]
    return "".join(["text,label\n", *rows]).encode()


BROKEN = {
    "missing": (None, "does not exist: check the path"),
    "empty": (b"", "is empty: add a header"),
    "header only": (b"text,label\n", "holds no rows below its header"),
    "one column": (b"text\na\nb\n", "has one column only"),
    "two columns of one name": (b"text,text\na,b\n", "has two columns 'text': give each"),
    "a spreadsheet": (b"PK\x03\x04\xff\xfe" * 20, "is a ZIP archive: unpack it"),
    "open quote": (b'text,label\n"never closed,x\n', "1 label in column 'label', 'x' in every"),
    "one label": (labelled(*"xxxxxxxxx"), "1 label in"),
    "no label comes back": (
        labelled(*"abcdefghi"),
        "no labels in column 'label', where almost every row holds something else",
    ),
    "too many labels": (
        labelled(*(f"x{i % 70}" for i in range(300))),
        "holds 70 labels, more than can be told apart",
    ),
}


@pytest.mark.parametrize(("content", "told"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_ends_with_one_sentence_and_status_2(tmp_path, capsys, content, told):
    path = tmp_path / "broken.csv"
    if content is not None:
        path.write_bytes(content)
    assert command_line.main([str(path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert re.search(told, said.err)
    assert said.err.count("\n") == 1 and not said.out and not (tmp_path / "out").exists()


def test_a_wrong_column_is_refused_with_those_there_are(file, capsys):
    assert command_line.main([str(file(rows())), "--label", "kind"]) == 2
    assert "no column 'kind'; its columns are: text, label" in capsys.readouterr().err
    assert command_line.main([str(file(rows())), "--text", "label", "--label", "label"]) == 2


@pytest.mark.parametrize("options", [[], ["mine.csv", "--task", "category"]])
def test_a_file_or_a_task_not_both(options):
    with pytest.raises(SystemExit):
        command_line.main(options)


# Planning

FAST = planning.Speed(1e-16, 1e-16)


@pytest.fixture
def tickets():
    return read_own(DATA / "support_tickets.csv").task


def test_the_plan_grows_with_the_time_and_never_exceeds_it(tiny, tickets):
    smallest = planning.QUICKER, planning.SIZES[-1]
    second = 1 / planning.expected(tiny, tickets, planning.Speed(1, 1), *smallest)
    plan = partial(planning.plan, tiny, tickets, planning.Speed(second, second))
    plans = {seconds: plan(seconds) for seconds in (5, 50, 500)}  # as the smallest draw takes one
    for seconds, planned in plans.items():
        assert planned.draws >= 3 and planned.draws * planned.seconds <= seconds
    assert plans[5].seen < plans[500].seen and plans[5].items < plans[500].items
    with pytest.raises(DataError, match=r"the smallest comparison of 3 draws takes about"):
        plan(2)


def test_draws_and_less_training_may_be_asked_for(tiny, tickets):
    plan = partial(planning.plan, tiny, tickets, FAST, 60)
    assert plan().draws == planning.MANY and plan(draws=40).draws == 40
    with pytest.raises(DataError, match="at least 1 draw, not 0"):
        plan(draws=0)
    less = plan(seen=64)
    assert (plan().seen, less.items, less.seen) == (256, 32, 64) and less.ways == planning.QUICKER
    assert plan(seen=1).seen == planning.SIZES[-1][2]


def test_a_draw_is_no_larger_than_a_prompt_holds(tiny, file):
    names, *short = rows(each=12)
    task = read_own(file([names, *((t + " and so on" * 60, label) for t, label in short)])).task
    assert 0 < planning.plan(tiny, task, FAST, 60).shots < len(task.train)


def majority(draws):
    """A plan that takes no time."""
    return planning.Plan(("majority",), draws, 4, 4, 8, seconds=1.0)


def test_the_deadline_ends_after_a_whole_draw(tiny, file, tmp_path):
    task = read_own(file(rows())).task
    for seconds, draws in ((-1, 1), (1000, 5)):
        deadline = time.monotonic() + seconds
        found = planning.carry_out(tiny, task, majority(5), tmp_path / "x.csv", deadline)
        assert set(found["draw"]) == set(range(draws))


def test_an_interrupted_plan_is_taken_up_for_the_same_data_only(tiny, file, tmp_path, capsys):
    def settled(table, draws):
        task = read_own(file(table)).task
        return planning.settled_plan(tmp_path, tiny, task, lambda: majority(draws))

    assert settled(rows(), 3) == majority(3)
    assert capsys.readouterr().out == ""
    assert settled(rows(), 4) == majority(3)
    assert "Going on with the plan in" in capsys.readouterr().out
    assert settled(rows(each=8), 4) == majority(4)
    (tmp_path / "plan.json").write_text("{")
    assert settled(rows(), 3) == majority(3)


# Advice


def advised(lm, shares, draws=5):
    """The advice where each way is right in a share of the questions, a little else each draw."""
    level = np.random.default_rng(0).random((draws, 40))
    right = {way: {16: level < share} for way, share in shares.items()}
    right["zero-shot"] = {0: level[:1] < shares["zero-shot"]}
    tokens = {"taught_tokens": 4000.0, "prefix_tokens": 500.0, "query_tokens": 20.0}
    return advise(lm, rows_of(**right).assign(**dict.fromkeys(MEASURES, 0.0) | tokens), 16)


LOW = {"majority": 0.1, "zero-shot": 0.15, "TF-IDF": 0.2}
ADVICE = {
    "Fine-tune": LOW | {"in-context": 0.5, "lora": 0.9},
    "Put examples into the prompt": LOW | {"in-context": 0.9, "lora": 0.5},
    "Put examples into the prompt, for now": LOW | {"in-context": 0.8, "lora": 0.8},
    "Use TF-IDF with logistic regression": LOW | {"TF-IDF": 0.9, "in-context": 0.5, "lora": 0.92},
    "Ask without examples": LOW | {"zero-shot": 0.9, "in-context": 0.6, "lora": 0.9},
    "Neither way works yet": dict.fromkeys([*LOW, "in-context", "lora"], 0.3),
}


@pytest.mark.parametrize(("choice", "shares"), ADVICE.items(), ids=ADVICE)
def test_the_simplest_way_that_is_not_surely_worse_is_advised(tiny, choice, shares):
    advice = advised(tiny, shares)
    assert advice.choice == choice
    assert all(reason.endswith(".") for reason in advice.reasons)
    assert "flattered" in advice.reasons[-1]
    assert "Counted in FLOPs, weights are cheaper from" in advice.reasons[-2]


def test_a_single_draw_is_said_to_know_nothing_of_others(tiny):
    advice = advised(tiny, ADVICE["Fine-tune"], draws=1)
    assert advice.reasons[-1].endswith("the interval knows nothing of other examples.")


# The whole way


@pytest.fixture
def model_loaded(tiny, monkeypatch):
    monkeypatch.setattr(command_line.models, "load", lambda name: tiny)
    monkeypatch.setattr(planning, "trial", lambda *_: FAST)


@pytest.mark.usefixtures("model_loaded")
def test_an_interrupted_comparison_goes_on_and_ends_with_a_report(
    file, tmp_path, monkeypatch, capsys
):
    table = [*rows(each=8, names=("what they wrote", "Team <b>")), ("odd", "<script>")]
    out = tmp_path / "out"
    options = [str(file(table, "my mail.csv", ";")), "--draws", "2", "--minutes", "1"]
    options += ["--out", str(out)]
    outcomes = curves.outcomes

    def interrupted(*given):
        if given[2] == "tfidf":
            raise KeyboardInterrupt
        return outcomes(*given)

    with monkeypatch.context() as by_hand:
        by_hand.setattr(curves, "outcomes", interrupted)
        assert command_line.main(options) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert command_line.main(options) == 0
    said = capsys.readouterr().out
    assert "fine-tuning (LoRA)" in said and "Measured on 2 draws" in said
    results = ("plan.json", "results.csv", "results.json")
    assert {p.name for p in out.iterdir()} == {*results, "table.csv", "figure.png", "report.html"}
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "data:image/png;base64," in page and "python -m own_data" in page and "http" not in page
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert len(pd.read_csv(out / "table.csv")) == len(set(pd.read_csv(out / "results.csv").way))
    assert json.loads((out / "plan.json").read_text())["draws"] == 2
    before = (out / "results.csv").read_bytes()
    assert command_line.main(options) == 0  # nothing is done twice
    assert (out / "results.csv").read_bytes() == before


@pytest.mark.usefixtures("model_loaded")
def test_a_folder_that_cannot_be_written_is_said(file, tmp_path, capsys):
    (tmp_path / "taken").write_text("a file")
    assert command_line.main([str(file(rows())), "--out", str(tmp_path / "taken")]) == 1
    assert "cannot be written" in capsys.readouterr().err

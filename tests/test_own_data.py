"""Any labelled CSV becomes a task or one clear sentence, and the advice follows from intervals."""

import csv
import json
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

import own_data
from helpers import curves
from helpers.compare import scored
from helpers.curves import MEASURES
from helpers.data import DATA, DataError
from own_data import __main__ as command_line
from own_data import compare_own, label_words, planning, read_own
from own_data.advice import advise
from own_data.reading import separator_of, shorten

WORDS = [
    "parcel",
    "lamp",
    "kettle",
    "chair",
    "garden",
    "book",
    "screen",
    "button",
    "wheel",
    "light",
    "paper",
    "stone",
]


def test_the_old_command_names_the_new_one():
    command = [sys.executable, "-m", "helpers.compare", "my.csv"]
    done = subprocess.run(command, cwd=DATA.parent, capture_output=True, text=True)
    assert done.returncode and not done.stdout
    assert done.stderr == "This command has a new name: python -m own_data FILE.csv\n"


def rows(labels=("late", "broken"), each=6, names=("text", "label")):
    found = [(f"{word} {label} {i}", label) for label in labels for i, word in enumerate(WORDS)]
    kept = [row for label in labels for row in [r for r in found if r[1] == label][:each]]
    return [names, *kept]


@pytest.fixture
def file(tmp_path):
    def write(table, name="mine.csv", separator=",", encoding="utf-8"):
        path = tmp_path / name
        with path.open("w", newline="", encoding=encoding) as opened:
            csv.writer(opened, delimiter=separator).writerows(table)
        return path

    return write


# Reading


def test_the_usual_names_and_separators_are_found(file):
    for separator in ",;\t|":
        task = read_own(file(rows(), separator=separator)).task
        assert task.labels == ("broken", "late") and task.name == "mine"
        assert len(task.train) == 8 and len(task.held_out) == 4
        assert not {e.text for e in task.train} & {e.text for e in task.held_out}
        assert {e.label for e in task.held_out} == set(task.labels)


ACCENTED = [("text", "label"), *((f"{word} réglée n° {i} à Genève", "payé") for i, word in
            enumerate(WORDS[:8])), *((f"{word} où est-elle, ça tarde", "été") for word in
            WORDS[:8])]  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_the_encoding_is_found_out_and_said(file, encoding):
    own = read_own(file(ACCENTED, encoding=encoding))
    assert own.task.labels == ("payé", "été")
    assert bool(own.notes) == (not encoding.startswith("utf-8"))
    assert all(note.startswith("Not in UTF-8: read as ") for note in own.notes)


@pytest.mark.parametrize(
    ("content", "separator"),
    [
        ("a,b\n1,2\n", ","),
        ("a;b\n1,5;2,5\n", ";"),
        ("a\tb\nx, y\tz\n", "\t"),
        ('text|label\n"a; b; c"|d\n', "|"),
        ("only\none\n", ","),
    ],
)
def test_the_separator_is_that_of_the_header(content, separator):
    assert separator_of(content) == separator


def test_columns_are_found_by_content_or_taken_as_named(file):
    table = [(i, *row) for i, row in enumerate(rows(names=("what was said", "kind")))]
    table[0] = ("id", "what was said", "kind")
    with pytest.raises(DataError, match=r"name it with --label, one of id, kind"):
        read_own(file(table))
    found = read_own(file(table), label="kind").task
    assert found.template == "What was said: {text}\nKind: {label}\n\n"
    turned = [row[::-1] for row in rows(names=("a", "b"))]
    assert read_own(file(turned)).task.labels == ("broken", "late")


def test_what_is_left_out_is_said_by_row(file):
    table = rows()
    table[2] = ("", "late")
    table[4] = ("chair late 3", " ")
    table += [("lamp broken 1", "broken"), ("kettle broken 2", "late"), ("odd", "rare")]
    notes = read_own(file(table)).notes
    assert notes == [
        "Left out, because text or label is missing: rows 3, 5.",
        "Left out, because the same text stands above: row 14.",
        "Left out, because one text has several labels: rows 10, 15.",
        "Left out, 1 row of labels with fewer than 4 rows: 'rare'.",
    ]


def test_columns_that_are_not_used_are_said(file):
    table = [("id", *names) for names in rows()]
    assert read_own(file(table)).notes == ["Not used: id."]
    table[0] = ("Split", "text", "label")
    (note,) = read_own(file(table)).notes
    assert note == "Not used: Split; questions are drawn anew from all rows."


def test_the_courses_example_shows_what_the_reader_says():
    with pytest.raises(DataError, match=r"name it with --label, one of received, passed_to"):
        read_own(DATA / "own_example.csv")
    own = read_own(DATA / "own_example.csv", label="passed_to")
    for told in ("Not used: received.", "missing: rows 13, 31.", "capitals differ", "row 54."):
        assert told in " ".join(own.notes)
    assert own.task.words["loan_renewal"] == "loan renewal"
    assert len(own.task.train) == 40 and len(own.task.held_out) == 24
    assert own.task.template == "Mail: {text}\nPassed to: {label}\n\n"


def test_a_row_with_too_many_cells_is_left_out_and_said(file):
    table = rows()
    table[3] = ("a text", " with a comma", "late")
    (note,) = read_own(file(table)).notes
    assert "more cells than columns" in note and note.endswith("row 4.")


def test_labels_in_other_capitals_are_one(file):
    table = rows()
    table[1] = (table[1][0], "LATE")
    own = read_own(file(table))
    assert own.task.labels == ("broken", "late")
    assert own.notes == ["Taken as one label, 'late': 'LATE' (capitals differ)."]


def test_line_breaks_in_a_text_do_not_end_the_demonstration(file):
    table = rows()
    table[1] = ("two\nlines  here", "late")
    own = read_own(file(table)).task
    assert "two lines here" in {e.text for e in (*own.train, *own.held_out)}


def test_label_words_come_from_the_names():
    names = ["billing_issue", "CardArrival", "CX-12", "pre-order", "3", "HR", "PAYMENT_FAILED"]
    words = ["billing issue", "card arrival", "CX-12", "pre order", "3", "HR", "payment failed"]
    assert list(label_words(names).values()) == words
    assert label_words(["a_b", "a b", "c"]) == {"a_b": "a_b", "a b": "a b", "c": "c"}


def test_a_word_that_begins_another_is_not_always_likelier():
    assert label_words(["refund", "refund request"])["refund"] == '"refund"'
    assert label_words(["1", "12"])["12"] == '"12"'
    assert label_words(["refund a", "refund b"])["refund a"] == "refund a"  # the first token shared


def test_numbers_are_labels_too(file):
    assert read_own(file(rows(labels=("1", "2")))).task.words == {"1": "1", "2": "2"}


def test_long_texts_are_cut_and_said(tiny_models, file):
    lm = tiny_models["llama"]
    table = rows()
    table[1] = ("word " * 400, "late")
    own = read_own(file(table))
    short = shorten(own, lm.tokenizer, most=50)
    assert short.notes == [
        "1 of 12 texts have more than 50 tokens; only the first 50 tokens of each are used."
    ]
    longest = max((*short.task.train, *short.task.held_out), key=lambda e: len(e.text)).text
    assert longest and ("word " * 400).startswith(longest)
    assert shorten(short, lm.tokenizer, most=50) is short


BROKEN = {
    "missing": (None, "does not exist: check the path"),
    "empty": (b"", "has one column only|holds no rows"),
    "header only": (b"text,label\n", "holds no rows below its header"),
    "one column": (b"text\na\nb\n", "has one column only"),
    "two columns of one name": (b"text,text\na,b\n", "has two columns 'text': give each"),
    "a spreadsheet": (b"PK\x03\x04\xff\xfe" * 20, "is no text in any known encoding"),
    "open quote": (b'text,label\n"never closed,x\n', "not well-formed CSV"),
    "one label": (b"text,label\n" + b"".join(b"t%d,x\n" % i for i in range(9)), "1 label in"),
    "no label comes back": (
        b"text,label\n" + b"".join(b"t%d,x%d\n" % (i, i) for i in range(9)),
        "no labels in column 'label' with at least 4 usable rows",
    ),
    "too many labels": (
        b"text,label\n" + b"".join(b"t%d,x%d\n" % (i, i % 70) for i in range(300)),
        "holds 70 labels, more than can be told apart",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_ends_with_one_sentence_and_status_2(tmp_path, capsys, name):
    content, told = BROKEN[name]
    path = tmp_path / "broken.csv"
    if content is not None:
        path.write_bytes(content)
    assert command_line.main([str(path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr()
    assert pd.Series([said.err]).str.contains(told).all(), said.err
    assert said.err.count("\n") == 1 and not said.out and not (tmp_path / "out").exists()


def test_a_wrong_column_is_refused_with_those_there_are(file, capsys):
    assert command_line.main([str(file(rows())), "--label", "kind"]) == 2
    assert "no column 'kind'; its columns are: text, label" in capsys.readouterr().err
    assert command_line.main([str(file(rows())), "--text", "label", "--label", "label"]) == 2


def test_a_file_or_a_task_not_both(file):
    with pytest.raises(SystemExit):
        command_line.main([str(file(rows())), "--task", "category"])
    with pytest.raises(SystemExit):
        command_line.main([])


# Planning

FAST = planning.Speed(1e-16, 1e-16)


def test_the_plan_grows_with_the_time_and_never_exceeds_it(tiny_models):
    lm, task = tiny_models["llama"], read_own(DATA / "support_tickets.csv").task
    smallest = lm, task, planning.Speed(1, 1), planning.QUICKER, planning.SIZES[-1]
    second = 1 / planning.expected(*smallest)  # what the smallest draw takes
    speed = planning.Speed(second, second)
    plans = [planning.plan(lm, task, speed, seconds) for seconds in (5, 50, 500)]
    for planned, seconds in zip(plans, (5, 50, 500), strict=True):
        assert planned.draws >= 3 and planned.draws * planned.seconds <= seconds
    assert plans[0].seen < plans[2].seen and plans[0].items < plans[2].items
    assert planning.plan(lm, task, FAST, 60).draws == planning.MANY
    assert planning.plan(lm, task, FAST, 60, draws=40).draws == 40
    with pytest.raises(DataError, match="at least 1 draw, not 0"):
        planning.plan(lm, task, FAST, 60, draws=0)
    with pytest.raises(DataError, match=r"the smallest comparison of 3 draws takes about"):
        planning.plan(lm, task, speed, 2)


def test_less_training_may_be_asked_for(tiny_models):
    lm, task = tiny_models["llama"], read_own(DATA / "support_tickets.csv").task
    assert planning.plan(lm, task, FAST, 60).seen == 256
    less = planning.plan(lm, task, FAST, 60, seen=64)
    assert (less.items, less.seen) == (32, 64) and less.ways == planning.QUICKER
    assert planning.plan(lm, task, FAST, 60, seen=1).seen == planning.SIZES[-1][2]


def test_a_draw_is_no_larger_than_a_prompt_holds(tiny_models, file):
    lm = tiny_models["llama"]
    long = [(f"{text} {'and so on ' * 60}", label) for text, label in rows(each=12)[1:]]
    task = read_own(file([("text", "label"), *long])).task
    planned = planning.plan(lm, task, FAST, 60)
    assert 0 < planned.shots < len(task.train)


def test_the_deadline_ends_after_a_whole_draw(tiny_models, file, tmp_path, monkeypatch):
    lm, task = tiny_models["llama"], read_own(file(rows())).task
    planned = planning.Plan(("majority",), 5, 4, 4, 8, seconds=1)
    out = tmp_path / "results.csv"
    late = planning.carry_out(lm, task, planned, out, time.monotonic() - 1)
    assert set(late["draw"]) == {0}
    whole = planning.carry_out(lm, task, planned, out, time.monotonic() + 1000)
    assert set(whole["draw"]) == set(range(5))


def test_an_interrupted_plan_is_taken_up_for_the_same_data_only(
    tiny_models, file, tmp_path, capsys
):
    lm, task = tiny_models["llama"], read_own(file(rows())).task
    first, second = (planning.Plan(("majority",), n, 4, 4, 8, 1.0) for n in (3, 4))
    assert planning.settled_plan(tmp_path, lm, task, lambda: first) == first
    assert capsys.readouterr().out == ""
    assert planning.settled_plan(tmp_path, lm, task, lambda: second) == first
    assert "Going on with the plan in" in capsys.readouterr().out
    other = read_own(file(rows(each=8))).task
    assert planning.settled_plan(tmp_path, lm, other, lambda: second) == second
    (tmp_path / "plan.json").write_text("{")
    assert planning.settled_plan(tmp_path, lm, task, lambda: first) == first


# Advice


def results(draws=5, items=40, **shares):
    """Rows in which each way is right in a share of the questions, a little else each draw."""
    level = np.random.default_rng(0).random((draws, items))
    costs = dict.fromkeys(MEASURES, 0.0) | {"note": "", "taught_tokens": 4000.0}
    costs |= {"prefix_tokens": 500.0, "query_tokens": 20.0}
    rows = []
    for way, share in shares.items():
        name = way.replace("_", "-") if way != "TF_IDF" else "TF-IDF"
        untaught = name == "zero-shot"
        for d in range(1 if untaught else draws):
            row = {"shots": 0 if untaught else 16, "draw": d, "way": name}
            rows.append(row | scored(level[d] < share) | costs)
    return pd.DataFrame(rows)


LOW = {"majority": 0.1, "zero_shot": 0.15, "TF_IDF": 0.2}


@pytest.mark.parametrize(
    ("shares", "choice"),
    [
        (LOW | {"in_context": 0.5, "lora": 0.9}, "Fine-tune"),
        (LOW | {"in_context": 0.9, "lora": 0.5}, "Put examples into the prompt"),
        (LOW | {"in_context": 0.8, "lora": 0.8}, "Put examples into the prompt, for now"),
        (LOW | {"TF_IDF": 0.9, "in_context": 0.5, "lora": 0.9}, "Use TF-IDF with logistic"),
        (LOW | {"zero_shot": 0.9, "in_context": 0.6, "lora": 0.9}, "Ask without examples"),
        (dict.fromkeys([*LOW, "in_context", "lora"], 0.3), "Neither way works yet"),
    ],
)
def test_the_simplest_way_that_is_not_surely_worse_is_advised(tiny_models, shares, choice):
    advice = advise(tiny_models["llama"], results(**shares), 16)
    assert advice.choice.startswith(choice)
    assert all(reason.endswith(".") for reason in advice.reasons)
    assert "flattered" in advice.reasons[-1]
    assert "Counted in FLOPs, weights are cheaper from" in advice.reasons[-2]


def test_a_single_draw_is_said_to_know_nothing_of_others(tiny_models):
    advice = advise(tiny_models["llama"], results(1, **LOW, in_context=0.5, lora=0.9), 16)
    assert advice.reasons[-1].endswith("the interval knows nothing of other examples.")


# The whole way


def test_the_whole_way_on_a_file_with_other_names(tiny_models, file, tmp_path, monkeypatch, capsys):
    lm = tiny_models["llama"]
    monkeypatch.setattr(command_line.models, "load", lambda name: lm)
    monkeypatch.setattr(planning, "trial", lambda *_: FAST)
    path = file(rows(each=8, names=("what they wrote", "Team <b>")), "my mail.csv", ";")
    out = tmp_path / "out"
    options = [str(path), "--draws", "2", "--minutes", "1", "--out", str(out)]
    assert command_line.main(options) == 0
    said = capsys.readouterr().out
    assert "fine-tuning (LoRA)" in said and "Measured on 2 draws" in said
    names = {p.name for p in out.iterdir()}
    assert names == {
        *("plan.json", "results.csv", "results.json", "table.csv", "figure.png", "report.html")
    }
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "data:image/png;base64," in page and "python -m own_data" in page and "http" not in page
    assert len(pd.read_csv(out / "table.csv")) == len(set(pd.read_csv(out / "results.csv").way))
    assert json.loads((out / "plan.json").read_text())["draws"] == 2
    before = (out / "results.csv").read_bytes()
    assert command_line.main(options) == 0  # nothing is done twice
    assert (out / "results.csv").read_bytes() == before


def test_an_interrupted_comparison_goes_on(tiny_models, file, tmp_path, monkeypatch, capsys):
    lm = tiny_models["llama"]
    monkeypatch.setattr(command_line.models, "load", lambda name: lm)
    monkeypatch.setattr(planning, "trial", lambda *_: FAST)
    outcomes = curves.outcomes

    def interrupted(*given):
        if given[2] == "tfidf":
            raise KeyboardInterrupt
        return outcomes(*given)

    monkeypatch.setattr(curves, "outcomes", interrupted)
    out = tmp_path / "out"
    options = [str(file(rows(each=8))), "--draws", "2", "--out", str(out)]
    assert command_line.main(options) == 130
    assert "the same command goes on" in capsys.readouterr().err
    monkeypatch.setattr(curves, "outcomes", outcomes)
    assert command_line.main(options) == 0


def test_a_folder_that_cannot_be_written_is_said(tiny_models, file, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command_line.models, "load", lambda name: tiny_models["llama"])
    (tmp_path / "taken").write_text("a file")
    assert command_line.main([str(file(rows())), "--out", str(tmp_path / "taken")]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_a_note_with_marks_cannot_break_the_page(tiny_models, file, tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "trial", lambda *_: FAST)
    table = [*rows(each=8), ("odd", "<script>")]
    found = compare_own(tiny_models["llama"], read_own(file(table)), tmp_path / "o", 1, 1)
    page = found.files[-1].read_text(encoding="utf-8")
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert isinstance(found, own_data.Comparison) and len(found.table()) >= 6

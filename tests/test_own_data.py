"""Any labelled file: every way is measured, advice follows from intervals, and it can be used."""

import csv
import json
import re
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers.data import DATA, DataError
from own_data import __main__ as command_line
from own_data import (
    classifiers,
    compare_own,
    curve,
    judging,
    kept,
    label_words,
    measuring,
    read_own,
    ways,
)
from own_data.advice import advise
from own_data.clock import Clock
from own_data.judging import judge
from own_data.labels import Row
from own_data.prompted import Asked, choose_prompt, cutter, readings
from own_data.reading import OwnData, shorten
from own_data.record import Record
from own_data.separated import separator_of
from own_data.splitting import DEV, LEARNED, parts_drawn
from own_data.training import CUT_SHORT, falling
from own_data.ways import TITLES, WAYS

WORDS = ["bag", "lamp", "pan", "chair", "gate", "book", "cup", "bed", "key", "map", "pen", "bin"]


def test_the_old_command_names_the_new_one():
    command = [sys.executable, "-m", "helpers.compare", "my.csv"]
    done = subprocess.run(command, cwd=DATA.parent, capture_output=True, text=True)
    assert done.returncode and not done.stdout
    assert done.stderr == "This command has a new name: python -m own_data FILE.csv\n"


def rows(labels=("late", "broken"), each=6, names=("text", "label")):
    return [names, *((f"{word} {label}", label) for label in labels for word in WORDS[:each])]


@pytest.fixture
def file(tmp_path):
    def write(table, name="mine.csv", separator=",", encoding="utf-8"):
        path = tmp_path / name
        with path.open("w", newline="", encoding=encoding) as opened:
            csv.writer(opened, delimiter=separator).writerows(table)
        return path

    return write


# Reading


def test_the_usual_names_are_found_and_the_rows_are_parted(file):
    own = read_own(file(rows()))
    assert own.labels == ("broken", "late") and own.name == "mine" and len(own.rows) == 12
    task, dev = own.round(0)
    assert (len(task.train), len(dev), len(task.held_out), own.rounds) == (5, 2, 5, 2)
    sides = [{e.text for e in side} for side in (task.train, dev, task.held_out)]
    assert len(set.union(*sides)) == 12 and {e.label for e in task.held_out} == set(own.labels)


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
    assert note.startswith("Not used: Split; questions are drawn from all rows, unless --split")
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
    assert "two lines here" in {row.text for row in own.rows}


def test_the_courses_example_shows_what_the_reader_says():
    with pytest.raises(DataError, match=r"name it with --label, one of received, passed_to"):
        read_own(DATA / "own_example.csv")
    own = read_own(DATA / "own_example.csv", label="passed_to")
    for told in ("Not used: received.", "missing: rows 13, 31.", "capitals differ", "row 54."):
        assert told in " ".join(own.notes)
    assert len(own.rows) == 64 and own.rounds == 2


def test_label_words_come_from_the_names():
    names = ["billing_issue", "CardArrival", "CX-12", "pre-order", "3", "HR", "PAYMENT_FAILED"]
    words = ["billing issue", "card arrival", "CX-12", "pre order", "3", "HR", "payment failed"]
    assert list(label_words(names).values()) == words
    assert label_words(["a_b", "a b", "c"]) == {"a_b": "a_b", "a b": "a b", "c": "c"}


def test_long_texts_are_cut_for_the_model_only_and_that_is_said(tiny, file):
    long = "word " * 400
    own = read_own(file([*rows(), (long, "late")]))
    whole, short = shorten(own, cutter(tiny))
    note = "1 of 13 texts are long: the model reads the beginning of each, and only word counts "
    assert whole.notes == short.notes == [f"{note}see the rest."]
    longest = max((row.text for row in short.rows), key=len)
    assert long.startswith(longest) and len(longest) < len(long)
    assert [row.text for row in whole.rows] == [row.text for row in own.rows]
    assert shorten(short, cutter(tiny))[0].notes == short.notes


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
        labelled(*(f"x{i % 160}" for i in range(700))),
        "holds 160 labels, more than can be told apart",
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


# Parts and rounds


def many(each, mark=lambda i: ""):
    """Rows of labels, so many of each."""
    names = [label for label, count in each.items() for _ in range(count)]
    return [Row(i + 2, f"text {i}", label, mark(i)) for i, label in enumerate(names)]


def test_every_row_is_asked_once_at_the_files_own_proportions():
    given = many({"ham": 860, "spam": 140})
    part = parts_drawn(given)
    assert Counter(part)[DEV] == 64 and sorted(set(part)) == [DEV, 0, 1, 2, 3, 4]
    for number in range(5):
        asked = [row.label for row, own in zip(given, part, strict=True) if own == number]
        assert len(asked) in (187, 188) and 0.83 < asked.count("ham") / len(asked) < 0.89
    assert set(parts_drawn(many({"a": 30, "b": 30}))) == {DEV, 0, 1}  # few rows: few rounds


def test_rows_of_a_group_stay_together(file):
    given = many({"a": 60, "b": 60}, lambda i: f"customer {i % 40}")
    part = parts_drawn(given, grouped=True)
    assert {DEV, 0, 1} <= set(part)
    for group in {row.mark for row in given}:
        assert len({p for row, p in zip(given, part, strict=True) if row.mark == group}) == 1
    table = [(*row, "one") for row in rows()]
    table[0] = ("text", "label", "customer")
    with pytest.raises(DataError, match="groups are too few"):
        read_own(file(table), group="customer")


def with_column(column):
    return [(*row, said) for row, said in zip(rows(each=10), ["part", *column], strict=True)]


def test_a_named_split_is_honoured(file):
    own = read_own(file(with_column(["train"] * 12 + ["Held-out"] * 8)), split="part")
    assert own.part[12:] == [0] * 8 and set(own.part[:12]) == {LEARNED, DEV} and own.rounds == 1
    dev = read_own(file(with_column(["train", "dev", "test", "train"] * 5)), split="part")
    assert dev.part == [LEARNED, DEV, 0, LEARNED] * 5
    two = read_own(file(with_column(["train", "val"] * 10)), split="part")
    assert two.part[1::2] == [0] * 10
    for column, told in (
        (["train"] * 19 + ["maybe"], "must say train, dev or test, not 'maybe'"),
        (["train"] * 20, "must hold rows to train and rows to test"),
    ):
        with pytest.raises(DataError, match=told):
            read_own(file(with_column(column)), split="part")
    with pytest.raises(DataError, match="Name --split or --group"):
        read_own(file(rows()), split="part", group="part")


# Ways


@pytest.fixture
def mail(file):
    """Rows that are easy to tell apart, and one odd label."""
    return read_own(file([*rows(each=12), ("odd", "rare")], "my mail.csv"))


def test_a_regression_never_says_a_label_that_it_has_not_seen():
    features = np.eye(4)
    line = classifiers.regress(features, many({"a": 2, "c": 2}), ("a", "b", "c"), 100.0)
    chances = np.exp(line.log_p(features))
    assert chances.argmax(1).tolist() == [0, 0, 2, 2]
    assert chances.sum(1) == pytest.approx(1) and chances[:, 1].max() < 1e-9


def test_the_end_of_a_label_counts(tiny, file):
    """A label that begins another is scored with what follows it, so their shares add up."""
    own = read_own(file(rows(labels=("refund", "refund request"))))
    asked = Asked(tiny, own.task)
    chances = np.exp(asked.log_p(["bag", "lamp"]))
    assert chances.shape == (2, 2) and chances.sum(1) == pytest.approx(1)
    ending = own.task.template.partition("{label}")[2]
    whole = own.task.template.replace("{text}", "bag").partition("{label}")[0].rstrip()
    import torch

    def log_p(word):
        start = len(tiny.tokenizer(whole).input_ids)
        tokens = torch.tensor([tiny.tokenizer(f"{whole} {word}{ending}").input_ids])
        with torch.no_grad():
            scores = tiny.model(tokens).logits[0].log_softmax(-1)
        return sum(scores[i - 1, tokens[0, i]].item() for i in range(start, tokens.shape[1]))

    gap = log_p("refund") - log_p("refund request")
    assert np.log(chances[0, 0] / chances[0, 1]) == pytest.approx(gap, abs=1e-3)


def test_calibration_gives_each_label_its_share_of_the_rows(tiny, file):
    own = read_own(file([*rows(each=12), *((f"{i} nails", "late") for i in range(24))]))
    task = own.task
    late = sum(e.label == "late" for e in task.train) / len(task.train)
    chances = {}
    for texts in (2, 1000):
        log_p = np.log(np.tile([0.01, 0.99], (texts, 1)))  # the same for every text
        (form, calibrated), (_, plain) = readings(Asked(tiny, task, setting="x"), log_p, task)
        assert form.setting == "x, calibrated" and plain is log_p
        chances[texts] = np.exp(calibrated[0, task.labels.index("late")])
    assert chances[1000] == pytest.approx(late, abs=0.01)
    assert late < chances[2] < 0.99  # two texts tell little


def test_few_dev_rows_choose_by_how_surely_not_by_luck():
    sure, lucky = np.log([[0.45, 0.55], [0.9, 0.1]]), np.log([[0.51, 0.49], [0.51, 0.49]])
    assert classifiers.best_of([lucky, sure], many({"a": 2}), ("a", "b")) == 1
    rows_asked, at_odds = many({"a": 20}), np.log(np.tile([[0.51, 0.49]], (20, 1)))
    at_odds[0] = np.log([1e-9, 1 - 1e-9])
    surely = np.log(np.tile([[0.49, 0.51]], (20, 1)))
    assert classifiers.best_of([surely, at_odds], rows_asked, ("a", "b")) == 1


def test_without_time_the_likeliest_prompt_is_taken_and_calibrated(tiny, mail):
    chosen = choose_prompt(tiny, mail.round(0), True, Clock(0), -1.0)
    assert chosen.setting == "the labels listed first, the 8 most similar examples, calibrated"
    given = mail.round(0)
    assert len(chosen.shown) == len(given.task.train) + len(given.dev)


def test_the_rate_falls_to_nothing_by_the_last_step_or_the_end_of_the_time():
    spent = 0.0
    level = falling(100, lambda: spent)
    rates = [level(step) for step in range(101)]
    assert max(rates) > 0.9 and rates[0] < 0.2 and rates[100] == 0
    assert all(a >= b for a, b in pairwise(rates[10:]))
    spent = 0.75
    assert level(20) == 0.25
    spent = 1.5
    assert level(20) == 0


# What answers come to


def found(folder, shares, questions=200, labels=("a", "b"), taught=None):
    """A comparison in which each way is right in a share of the questions, one within another."""
    rng = np.random.default_rng(0)
    own_rows = [
        Row(i + 2, f"text {i}", labels[i % len(labels)]) for i in range(questions + questions // 4)
    ]
    part = [0] * questions + [DEV] * (questions // 4)
    own = OwnData("mine", ("text", "label"), own_rows, part, [])
    record, level = Record(folder, own, "a model"), rng.permutation(questions) / questions
    for name, share in shares.items():
        record.way(name)["taught"]["0"] = {"seconds": 1.0, "setting": "", "note": ""} | {
            "tokens": 50.0,
            "passes": 1.0,
            **(taught or {}).get(name, {}),
        }
        place = np.arange(questions) % len(labels)
        said = np.where(level < share, place, (place + 1) % len(labels))
        log_p = np.log(np.full((questions, len(labels)), 0.1 / len(labels)))
        log_p[np.arange(questions), said] = np.log(0.9)
        record.add(name, list(range(questions)), log_p, 2.0)
    return judge(own, record)


BASE = {"majority": 0.5, "words": 0.55}
ADVICE = {
    "surely the best": (BASE | {"prompt": 0.7, "lora": 0.9}, "Use fine-tuning (LoRA)"),
    "as good and simpler": (BASE | {"words": 0.9, "lora": 0.91}, "Use word counts (TF-IDF)"),
    "better, though only by little": (
        BASE | {"words": 0.85, "lora": 0.9},
        "Use fine-tuning (LoRA)",
    ),
    "nothing learned": ({"majority": 0.5, "words": 0.5, "lora": 0.48}, "Nothing was found"),
}


@pytest.mark.parametrize(("shares", "choice"), ADVICE.values(), ids=ADVICE)
def test_what_is_sure_is_advised(tmp_path, shares, choice):
    advice = advise(found(tmp_path, shares), minutes=5)
    assert advice.choice.startswith(choice)
    assert advice.decided == choice.startswith("Use")
    assert all(reason.endswith(".") for reason in advice.reasons)
    assert "flattered" in advice.reasons[-1] and "For 1,000 questions a day" in advice.reasons[-2]


def test_few_questions_are_never_enough_to_say_that_nothing_works(tmp_path):
    advice = advise(found(tmp_path, {"majority": 0.5, "words": 0.5, "lora": 0.5}, 24), minutes=5)
    assert advice.choice.startswith("Undecided: nothing is surely better yet")
    assert not advice.decided and re.search(r"label about \d+ more rows", " ".join(advice.reasons))


def test_undecided_says_what_would_decide(tmp_path):
    judged = found(tmp_path, BASE | {"words": 0.75}, 40)
    said, other = judged.answers["words"], np.roll(judged.answers["words"].right, 7)
    judged.answers["lora"] = said._replace(right=other)
    judged.record.ways["lora"] = judged.record.ways["words"]
    advice = advise(judged, minutes=5)
    assert advice.choice == ("Undecided between word counts (TF-IDF) and fine-tuning (LoRA)")
    assert advice.way == "words" and advice.runner_up == "lora"
    told = " ".join(advice.reasons)
    assert re.search(r"the file holds only 40: label about [\d,]+ more rows", told)
    assert "take the simplest that none is surely ahead of: word counts" in told
    fewer = judged._replace(answers={}, leads={})
    for name, answers in judged.answers.items():  # only a few of the rows have been asked
        fewer.answers[name] = type(answers)(*(part[:30] for part in answers))
    more = " ".join(advise(fewer, minutes=5).reasons)
    assert re.search(r"your rows are enough, with --minutes \d+|label about", more)


def test_a_training_that_was_cut_short_is_no_verdict_on_fine_tuning(tmp_path):
    short = {"lora": {"note": "its time was over while it still improved", "passes": 0.5}}
    judged = found(tmp_path, BASE | {"words": 0.8, "lora": 0.4}, taught=short)
    advice = advise(judged, minutes=5)
    assert advice.choice == "Use word counts (TF-IDF), for now"
    assert "through the rows 0.5 times" in " ".join(advice.reasons)
    assert "--minutes 80" in " ".join(advice.reasons)


def test_a_leader_that_was_asked_little_does_not_hide_what_is_sure(tmp_path):
    judged = found(tmp_path, {"majority": 0.5, "words": 0.7, "lora": 0.72})
    for name in judged.answers:
        judged.answers[name].right[:21] = True
    judged.answers["words"].right[0] = False
    few = judged.answers["lora"]
    judged.answers["lora"] = type(few)(*(part[:21] for part in few))
    assert judging.lead(judged, "lora", "majority").gap.low <= 0
    assert judging.lead(judged, "lora", "words").gap.mean > 0
    advice = advise(judged, minutes=5)
    assert "nothing is surely better" not in advice.choice and advice.way == "words"


def test_where_nothing_is_found_the_way_that_comes_nearest_is_told(tmp_path):
    """A way that was asked little leads on its few questions, and is no better than nothing."""
    judged = found(tmp_path, {"majority": 0.5, "words": 0.5, "zero-shot": 0.5})
    judged.answers["words"].right[30:38] = True
    for name, right in (("majority", 16), ("words", 10), ("zero-shot", 15)):
        judged.answers[name].right[:30] = np.arange(30) < right
    few = judged.answers["zero-shot"]
    judged.answers["zero-shot"] = type(few)(*(part[:30] for part in few))
    advice = advise(judged, minutes=5)
    assert advice.choice.startswith("Nothing was found") and advice.way == "words"
    judged.record.way("lora")["taught"]["0"] = {"note": CUT_SHORT, "passes": 0.5}
    advice = advise(judged, minutes=5)
    assert advice.choice.startswith("Undecided: nothing is surely better yet")
    assert advice.way == "words" and "Word counts (TF-IDF) against always" in advice.reasons[0]


def test_ways_that_were_hardly_asked_are_not_judged(tmp_path):
    judged = found(tmp_path, BASE | {"words": 0.8, "prompt": 1.0})
    few = judged.answers["prompt"]
    judged.answers["prompt"] = type(few)(*(part[:10] for part in few))
    advice = advise(judged, minutes=5)
    assert advice.choice == "Use word counts (TF-IDF), for now"
    told = " ".join(advice.reasons)
    assert "a few questions only: examples in the prompt (10); give --minutes 20." in told


GROWN = [(60, 0, "may bring more again"), (4, 3, "hardly help"), (24, 16, "too few to tell")]


@pytest.mark.parametrize(("lost", "won", "told"), GROWN)
def test_what_more_labelled_rows_would_bring_is_told(tmp_path, lost, won, told):
    """Of 200 questions some were answered rightly only from half of the rows, or only from all."""
    judged = found(tmp_path, BASE | {"words": 0.8})
    assert not any("doubling" in reason for reason in advise(judged, minutes=5).reasons)
    right = set(judged.answers["words"].rows[judged.answers["words"].right])
    asked = curve.questions(judged.own)
    half = set(sorted(right)[lost:]) | set(sorted(set(asked) - right)[:won])
    rows = str(curve.steps(judged.own)[0])
    judged.record.way("words")["curve"] = {rows: [int(i in half) for i in asked]}
    (reason,) = [reason for reason in advise(judged, minutes=5).reasons if "doubling" in reason]
    assert told in reason and f"{len(half) / 2:.0f} % after {rows}, 80 % after 50" in reason
    assert reason.startswith("Word counts (TF-IDF) with fewer labelled rows")


def test_a_part_of_the_rows_holds_every_label_and_all_that_a_smaller_part_holds(mail):
    given, sizes = mail.round(0), curve.steps(mail)
    assert sizes == [] and curve.all_rows(mail) == len(given.task.train) + len(given.dev) == 14
    before: set = set()
    for rows in (4, 7, 10, 14):
        task, dev = curve.part_of(given, rows)
        assert len(task.train) + len(dev) == rows
        assert {example.label for example in task.train} == set(mail.labels)
        assert before <= {example.text for example in (*task.train, *dev)}
        before = {example.text for example in (*task.train, *dev)}
    assert curve.steps(mail._replace(rows=mail.rows * 8, part=mail.part * 8)) == [56, 28]


def test_the_rows_to_choose_by_are_no_block_of_a_sorted_file():
    given = many(dict.fromkeys("abcd", 40))
    own = OwnData("mine", ("text", "label"), given, parts_drawn(given), [])
    assert len({example.label for example in own.round(0).dev[:8]}) > 1


def test_macro_f1_counts_every_label_alike(tmp_path):
    judged = found(tmp_path, {"majority": 0.0}, 100, labels=("a", "b"))
    rare = [Row(i, f"t{i}", "b" if i < 10 else "a") for i in range(100)]
    own = judged.own._replace(rows=rare, part=[0] * 100)
    said = judging.Answers(np.arange(100), np.arange(100) >= 10, np.zeros(100, int), np.ones(100))
    judged = judging.Judged(own, judged.record, {"majority": said}, {})
    assert judging.accuracy(judged, "majority").mean == 0.9
    assert judging.macro_f1(judged, "majority").mean == pytest.approx((2 * 90 / 190) / 2)
    assert judging.confusion(judged, "majority").loc["b", "a"] == 10


def test_labels_that_look_wrong_are_those_that_all_dispute(tmp_path):
    judged = found(tmp_path, {"majority": 0.5, "words": 0.9, "lora": 0.8}, 40)
    odd = judging.odd_labels(judged)
    wrong = {judged.own.rows[i].number for i in np.flatnonzero(~judged.answers["words"].right)}
    assert set(odd["row"]) == wrong and len(wrong) == 4
    assert (odd["label"] != odd["said"]).all()
    assert len(judging.mistakes(judged, "lora")) == 8


# The whole way


@pytest.fixture
def model_loaded(tiny, monkeypatch):
    monkeypatch.setattr(command_line.models, "load", lambda name: tiny)


OUT = [
    "answers.csv",
    "curve.csv",
    "curve.svg",
    "examples.jsonl",
    "figure.svg",
    "record.json",
    "report.html",
    "table.csv",
]
OUT += ["use.json", "ways"]
LONG = "30"  # minutes: all that can be asked is asked long before


@pytest.mark.usefixtures("model_loaded")
def test_a_run_interrupted_again_and_again_goes_on_each_time(file, tmp_path, monkeypatch, capsys):
    table = [*rows(each=8, names=("what they wrote", "Team <b>")), ("odd", "<script>")]
    out = tmp_path / "out"
    options = [str(file(table, "my mail.csv", ";")), "--minutes", LONG, "--out", str(out)]
    write, before = Record.write, {}
    for stop in (2, 5, 8, 3, 9):  # writes until somebody ends it
        left = iter(range(stop - 1))

        def ended(record, left=left):
            write(record)
            if next(left, None) is None:
                raise KeyboardInterrupt

        with monkeypatch.context() as by_hand:
            by_hand.setattr(Record, "write", ended)
            assert command_line.main(options) == 130
        assert "the same command goes on" in capsys.readouterr().err
        known = json.loads((out / "record.json").read_text())["ways"]
        for name, way in before.items():
            assert way["answers"].items() <= known[name]["answers"].items()
            assert set(way["taught"]) <= set(known[name]["taught"])
        assert sum(len(w["answers"]) + len(w["taught"]) for w in known.values()) >= sum(
            len(w["answers"]) + len(w["taught"]) for w in before.values()
        )
        before = known
    assert command_line.main(options) == 0
    said = capsys.readouterr().out
    assert "fine-tuning (LoRA)" in said and "flattered" in said
    assert sorted(path.name for path in out.iterdir()) == OUT
    ways = json.loads((out / "record.json").read_text())["ways"]
    assert {len(way["answers"]) for way in ways.values()} == {14} and list(ways) == list(TITLES)
    assert not any(way["failed"] for way in ways.values())
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "data:image/svg+xml;base64," in page and "http" not in page.replace("data:", "")
    assert (
        "<script>" not in page and "&lt;script&gt;" in page and "<b>" not in page.split("<dl>")[0]
    )
    assert len(pd.read_csv(out / "table.csv")) == len(WAYS)
    assert len(pd.read_csv(out / "answers.csv")) == 14
    settled = (out / "record.json").read_bytes()
    assert command_line.main(options) == 0  # nothing is done twice
    assert json.loads(settled)["ways"] == json.loads((out / "record.json").read_bytes())["ways"]


@pytest.fixture(scope="module")
def compared(tmp_path_factory, make_tiny):
    """A finished comparison: the model, its rows and its folder."""
    folder = tmp_path_factory.mktemp("compared")
    lm = make_tiny("llama", max_position_embeddings=8192)
    with (folder / "my mail.csv").open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows([*rows(each=12), ("=1+1 late", "late")])
    own = read_own(folder / "my mail.csv")
    result = compare_own(lm, own, folder / "out", float(LONG))
    return lm, own, folder, result


@pytest.mark.parametrize("name", [way.name for way in WAYS if way.name != "majority"])
def test_what_is_kept_says_what_was_measured(compared, monkeypatch, tmp_path, name):
    lm, own, folder, result = compared
    monkeypatch.setattr(kept.models, "load", lambda given: lm)
    asked = [i for i in own.asked(0)]
    new = tmp_path / "new.csv"
    with new.open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows([("id", "Text"), *((i, own.rows[i].text) for i in asked)])
    target = kept.predict(folder / "out", new, name=name)
    said = pd.read_csv(target, keep_default_na=False)
    assert list(said.columns) == ["id", "Text", "label (said)", "probability"]
    answers = result.judged.answers[name]
    places = [list(answers.rows).index(i) for i in asked]
    assert said["label (said)"].tolist() == [own.labels[answers.said[k]] for k in places]
    assert said["probability"].to_numpy() == pytest.approx(answers.sure[places], abs=2e-3)


def test_nothing_that_is_kept_can_run_code(compared):
    _, _, folder, _ = compared
    files = [path for path in (folder / "out").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {
        ".json",
        ".jsonl",
        ".csv",
        ".svg",
        ".html",
        ".npz",
        ".safetensors",
    }
    for path in files:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                assert all(arrays[name].dtype == np.float32 for name in arrays)


def test_examples_are_conversations_and_tables_hold_no_formula(compared):
    _, own, folder, _ = compared
    lines = (folder / "out" / "examples.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(own.rows)
    for line, row in zip(lines, own.rows, strict=True):
        roles = {turn["role"]: turn["content"] for turn in json.loads(line)["messages"]}
        assert (roles["user"], roles["assistant"]) == (row.text, row.label)
        assert roles["system"] == "label is one of: broken, late."
    for path in (folder / "out").glob("*.csv"):
        cells = [cell for row in csv.reader(path.open(encoding="utf-8")) for cell in row]
        assert cells and not any(cell.startswith("=") for cell in cells)


def test_new_rows_without_text_or_column_are_told(compared, monkeypatch, tmp_path, capsys):
    lm, _, folder, _ = compared
    monkeypatch.setattr(kept.models, "load", lambda given: lm)
    new, out = tmp_path / "new.csv", str(folder / "out")
    new.write_text("label,text\n1,a late bag\n2,\n3\n", encoding="utf-8")
    assert command_line.main(["predict", out, str(new), "--way", "words"]) == 0
    said = pd.read_csv(tmp_path / "new-labelled.csv", keep_default_na=False)
    assert said["label"].tolist() == [1, 2, 3] and said["label (said)"].tolist()[1:] == ["", ""]
    assert command_line.main(["predict", out, str(new), "--text", "body"]) == 2
    assert "no column 'body'" in capsys.readouterr().err
    assert command_line.main(["predict", out, str(new), "--way", "magic"]) == 2
    assert "no way 'magic'; there are: characters, lora" in capsys.readouterr().err
    assert command_line.main(["predict", str(tmp_path), str(new)]) == 2
    assert "holds no finished comparison" in capsys.readouterr().err


def test_when_the_time_is_over_the_same_command_asks_no_more(tiny, mail, tmp_path):
    """Every way has had a chance, and a second call only reports."""
    first = compare_own(tiny, mail, tmp_path / "out", 1e-4).judged.record.ways
    assert list(first) == list(TITLES)
    assert all(way["answers"] or way["failed"] for way in first.values())
    again = compare_own(tiny, mail, tmp_path / "out", 1e-4).judged.record.ways
    assert again == first
    more = compare_own(tiny, mail, tmp_path / "out", float(LONG)).judged.record.ways
    assert {len(way["answers"]) for way in more.values()} == {20}
    for minutes in (0, -1, float("nan"), float("inf")):
        with pytest.raises(DataError, match="needs some minutes"):
            compare_own(tiny, mail, tmp_path / "out", minutes)


def test_a_failure_of_one_way_is_a_line_in_the_table(tiny, mail, tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("out of memory\nand more")

    monkeypatch.setattr(ways, "train", broken)
    result = compare_own(tiny, mail, tmp_path / "out", float(LONG))
    notes = result.table()["note"]
    assert notes["fine-tuning (LoRA)"] == "did not work: out of memory"
    assert result.table()["questions"].drop("fine-tuning (LoRA)").min() == 20
    monkeypatch.undo()
    more = compare_own(tiny, mail, tmp_path / "out", float(LONG) + 1)  # tried anew
    assert not more.table()["note"]["fine-tuning (LoRA)"]


def counted(case, folder, rounds=None):
    """A case of the course after its quick ways were asked in so many rounds, or in all."""
    own = read_own(Path(__file__).parent / "cases" / case)
    record = Record(folder, own, "")
    with Clock(60) as clock:
        comparing = measuring.Comparing(None, own, own, record, clock)
        for way in WAYS[:3]:
            for number in range(rounds or own.rounds):
                comparing._attempt(way, number)
    return own, record


def test_texts_without_words_leave_pieces_of_words(tmp_path):
    _, record = counted("only_short_tokens.csv", tmp_path, rounds=1)
    assert "empty vocabulary" in record.ways["words"]["failed"]
    assert record.answers("characters") and not record.ways["characters"]["failed"]


def test_random_labels_give_chance(tmp_path):
    own, record = counted("random_labels.csv", tmp_path)
    judged = judge(own, record)
    assert len(judged.answers["words"].rows) > 300
    for name in ("words", "characters"):
        assert judging.lead(judged, name, "majority").gap.low < 0.05
        assert judging.accuracy(judged, name).mean < 0.36  # four labels, the commonest .30
    assert not advise(judged, 5).decided


def test_another_file_in_the_same_folder_is_refused(mail, file, tmp_path):
    Record(tmp_path / "out", mail, "a model").write()
    with pytest.raises(DataError, match="holds a comparison of other rows"):
        Record(tmp_path / "out", read_own(file(rows(each=5))), "a model")
    with pytest.raises(DataError, match="other rows or with another model"):
        Record(tmp_path / "out", mail, "another")
    (tmp_path / "out" / "record.json").write_text("{")
    with pytest.raises(DataError, match="is damaged: delete it"):
        Record(tmp_path / "out", mail, "a model")


def test_more_minutes_try_again_what_was_cut_short(mail, tmp_path):
    record, short = Record(tmp_path, mail, "a model"), "its time was over while it still improved"
    record.plan(60)
    record.seconds = 60.0
    for name, note in (("words", ""), ("lora", short)):
        record.way(name)["taught"]["0"] = {"note": note, "seconds": 20.0}
    record.way("probe")["failed"] = "no time"
    for seconds, kept_ways in (
        (60, {"words", "lora", "probe"}),
        (90, {"words", "lora"}),  # 30 s are left, not twice what the training had
        (120, {"words"}),
    ):
        record.plan(seconds)
        assert set(Record(tmp_path, mail, "a model").ways) == kept_ways


@pytest.mark.usefixtures("model_loaded")
def test_a_folder_that_cannot_be_written_is_said(file, tmp_path, capsys):
    (tmp_path / "taken").write_text("a file")
    assert command_line.main([str(file(rows())), "--out", str(tmp_path / "taken")]) == 1
    assert "cannot be written" in capsys.readouterr().err

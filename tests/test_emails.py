"""Replies and messages keep their rules, a stream changes its style, and each way is marked."""

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from helpers.studies import emails, styles
from helpers.studies.facts import load
from helpers.studies.styles import holds, kept, marks, part, right
from test_store import refused
from test_word_pairs import DATA, FIELDS, card

from helpers import compare, finetune, methods, prompts, scoring
from helpers.data import Example
from helpers.model import checksum

MAIL, STYLES, WRITERS = load("emails"), load("styles"), load("writers")
RULES = {style["style"]: style["rules"] for style in STYLES}
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def tiny(make_tiny):
    return make_tiny("llama", max_position_embeddings=8192)


@pytest.fixture
def quick(monkeypatch):
    """A training of one pass, and few tokens to write."""
    monkeypatch.setattr(styles, "epochs", lambda *_: 1)
    monkeypatch.setattr(styles, "ROOM", 4)


# The data


@pytest.mark.parametrize("name", ["emails", "styles", "writers"])
def test_file_has_one_object_a_line_and_a_card(name):
    raw = (DATA / f"{name}.jsonl").read_bytes()
    assert raw.endswith(b"}\n") and b"\r" not in raw
    assert all(isinstance(json.loads(line), dict) for line in raw.decode("utf-8").splitlines())
    assert list(card(f"{name}.jsonl")) == FIELDS


def test_emails_are_as_many_as_the_card_says():
    assert len(part(MAIL, "train")) == emails.MANY == 24 and len(part(MAIL, "held_out")) == 16
    assert len({email["last"] for email in MAIL}) == len({email["email"] for email in MAIL}) == 40
    assert [len(part(STYLES, group)) for group in ("taught", "late")] == [4, 2]


@pytest.mark.parametrize("style", RULES)
def test_each_reply_keeps_its_style_and_no_other(style):
    for email in MAIL:
        assert list(email["replies"]) == list(RULES)
        found = [name for name in RULES if all(kept(RULES[name], email["replies"][style], email))]
        assert found == [style], email["replies"][style]


def test_facts_and_names_can_be_copied():
    for email in MAIL:
        assert holds(email["email"], email["fact"]), email["email"]
        for reply in email["replies"].values():
            assert holds(reply, email["fact"]) and holds(reply, email["first"], email["last"])
            assert "\n" not in reply and len(reply.split()) <= 25


def test_no_two_replies_of_a_style_are_the_same():
    for style in RULES:
        assert len({email["replies"][style] for email in MAIL}) == 40


def test_writers_are_as_many_as_the_card_says():
    assert [len(part(WRITERS, group)) for group in ("develop", "measure")] == [6, 10]
    requests = [one["request"] for writer in WRITERS for one in writer["messages"]]
    assert all(len(writer["messages"]) == 12 for writer in WRITERS) and len(requests) == 192
    assert len(requests) - len(set(requests)) == 0


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer["writer"])
def test_each_writer_keeps_a_tone_that_no_other_has(writer):
    for one in writer["messages"]:
        found = [w["writer"] for w in WRITERS if all(kept(w["rules"], one["message"], {}))]
        assert found == [writer["writer"]], one["message"]
        assert holds(one["request"], one["fact"]) and holds(one["message"], one["fact"])


# What a text keeps


def test_rules_are_told_one_by_one_with_the_senders_own_name():
    sender = {"title": "Ms", "first": "Ada", "last": "de Wit"}
    good = "Dear Ms de Wit, it is done. Yours sincerely."
    assert kept(RULES["formal"], good, sender) == [True, True, True]
    assert kept(RULES["formal"], good, sender | {"last": "Dew.t"}) == [False, True, True]
    assert kept(RULES["formal"], "Dear Ms de Wit, it's done.", sender) == [True, False, False]
    dotted = {"title": "Ms", "first": "A", "last": "d. Wit"}
    assert not kept(RULES["formal"], good, dotted)[0]  # a point in a name is a point


def test_a_word_is_held_whole_and_in_any_case():
    assert holds("ROOM 3 IS FREE", "Room 3") and holds("on thursday -- jo", "Thursday")
    assert not holds("at 30 places", "3") and not holds("the attic", "attics")
    assert holds("Dear Mr Wilk", "Tomasz", "Wilk")


def test_marks_count_rules_facts_and_names():
    asked = [MAIL[0], MAIL[1]]
    said = [MAIL[0]["replies"]["telegram"], "NOTHING KNOWN"]
    row = marks(RULES["telegram"], said, asked)
    assert row["right"] == "10" and row["facts"] == "yn" and row["names"] == "yn"
    assert row["rules"] == pytest.approx((3 + 2) / 6)
    assert json.loads(row["said"]) == said
    writer = WRITERS[0]
    told = marks(writer["rules"], ["Hello."], writer["messages"][:1])
    assert told["names"] == "" and told["right"] == "0"


def test_right_joins_a_draws_styles_and_asks_for_more():
    rows = [("a", 0, "10", "yn"), ("a", 0, "01", "yy"), ("a", 1, "11", "nn"), ("a", 1, "00", "yy")]
    rows.append(("b", 0, "11", "yy"))
    results = pd.DataFrame(rows, columns=["way", "draw", "right", "facts"])
    assert right(results, way="a").tolist() == [[1, 0, 0, 1], [1, 1, 0, 0]]
    assert right(results, "facts", way="a").tolist() == [[1, 0, 0, 1], [0, 0, 0, 0]]
    assert right(results, way="b").shape == (1, 2)
    refused(lambda: right(results, way="c"), "nothing of", "'c'")


# The stream


def test_the_style_changes_from_each_email_to_the_next():
    held_out = part(MAIL, "held_out")
    for draw in range(4):
        place = {one["id"]: p for p in range(4) for one in emails.due(MAIL, p, draw)}
        order = [place[email["id"]] for email in held_out]
        assert all((b - a) % 4 == 1 for a, b in pairwise(order)) and order[0] == draw
    wanted = {(one["id"], p) for d in range(4) for p in range(4) for one in emails.due(MAIL, p, d)}
    assert len(wanted) == 64  # every e-mail in every style
    assert len(emails.due(MAIL, 2, 7)) == emails.ASKED


def test_a_smaller_draw_is_the_start_of_a_larger_one():
    four, all_of_them = (emails.drawn(MAIL, n, 3) for n in (4, emails.MANY))
    assert four == all_of_them[:4] != emails.drawn(MAIL, 4, 4)
    assert {email["group"] for email in all_of_them} == {"train"}


def test_what_is_compared_was_asked_for_the_same_styles():
    for draw in range(10):
        prompted = [style["style"] for style in emails.wanted("prompt, 4", STYLES, draw)]
        (own,) = emails.wanted("adapter, 4", STYLES, draw)
        assert len(prompted) == 5 and own["style"] in prompted
        assert emails.wanted("prompt, 24", STYLES, draw) == emails.wanted(
            "adapter, 24", STYLES, draw
        )
        assert emails.wanted("prompt, 1", STYLES, draw)[0]["group"] == "late"
    assert emails.wanted("instruction", STYLES, 0) == STYLES[:4]


def test_alongside_keeps_the_rows_that_the_other_way_has():
    rows = [("p", 0, "x", "10"), ("p", 0, "y", "01"), ("p", 1, "x", "11"), ("a", 0, "y", "00")]
    results = pd.DataFrame(rows, columns=["way", "draw", "style", "right"])
    assert emails.alongside(results, "p", "a").to_numpy().tolist() == [["p", 0, "y", "01"]]


# Each way


def test_a_prompt_shows_the_style_and_is_charged_for_reading_it(tiny, quick, monkeypatch):
    seen = []
    monkeypatch.setattr(
        styles, "answer", lambda lm, task, shown, asked, *_: seen.append((shown, asked)) or asked
    )
    rows = emails.measure_emails(tiny, MAIL, STYLES, 1, "prompt, 2")
    assert [row["style"] for row in rows] == [*list(RULES)[:4], "dashed"]
    assert [row["group"] for row in rows] == ["taught"] * 4 + ["late"]
    chosen = emails.drawn(MAIL, 2, 1)
    for row, (shown, asked) in zip(rows, seen, strict=True):
        assert shown == [Example(emails.sent(one), one["replies"][row["style"]]) for one in chosen]
        text = "".join(f"E-mail from {one.text}\nReply: {one.label}\n\n" for one in shown)
        assert text.encode() in prompts.plain(emails.REPLY, shown, "").encode()
        assert 0 < row["read_tokens"] <= row["text_bytes"] and row["cache_bytes"] > 0
        assert row["teach_seconds"] == row["adapter_bytes"] == 0 and len(asked) == 4
    assert seen[0][1] == [emails.sent(one) for one in emails.due(MAIL, 0, 1)]


def test_an_adapter_answers_without_demonstrations_and_is_charged_for_training(
    tiny, quick, monkeypatch
):
    seen = []
    answer = styles.answer
    monkeypatch.setattr(styles, "answer", lambda *a: seen.append((a[0], a[2], a[3])) or answer(*a))
    before = checksum(tiny.model)
    (row,) = emails.measure_emails(tiny, MAIL, STYLES, 2, "adapter, 4")
    ((model, shown, asked),) = seen
    assert shown == [] and row["style"] == "telegram" and "LoRA" in model.name
    assert asked == [emails.sent(one) for one in emails.due(MAIL, 2, 2)]
    assert row["adapter_bytes"] > row["text_bytes"] == row["read_tokens"] == 0
    assert row["teach_seconds"] > 0 and row["taught_tokens"] > 0
    assert checksum(tiny.model) == before


def test_one_adapter_is_taught_all_styles_by_name_and_hears_of_the_late_one(
    tiny, quick, monkeypatch
):
    taught, asked = [], []
    monkeypatch.setattr(
        emails, "teach", lambda lm, task, examples, seed: taught.append(examples) or (lm, {})
    )
    monkeypatch.setattr(styles, "answer", lambda *a: asked.append(a[3]) or a[3])
    rows = emails.measure_emails(tiny, MAIL, STYLES, 0, "one adapter")
    assert len(taught) == 1 and len(taught[0]) == 4 * emails.MANY
    styles_told = [example.text.rsplit("\nStyle: ", 1)[1] for example in taught[0]]
    assert set(styles_told) == set(list(RULES)[:4])
    assert all(
        all(kept(RULES[style], example.label, sender(example)))
        for example, style in zip(taught[0], styles_told, strict=True)
    )
    assert [row["style"] for row in rows][-1] == "labelled"
    assert all(one.endswith("\nStyle: labelled") for one in asked[-1])


def sender(example: Example) -> dict:
    return next(email for email in MAIL if example.text.startswith(emails.sent(email)))


def test_an_instruction_tells_the_rules_in_a_chat(tiny, quick, monkeypatch):
    told = []
    monkeypatch.setattr(
        scoring, "generate", lambda lm, prompts, *_: told.append(prompts) or ["x"] * len(prompts)
    )
    rows = emails.measure_emails(tiny, MAIL, STYLES, 0, "instruction")
    assert len(rows) == len(told) == 4
    for row, written in zip(rows, told, strict=True):
        assert all(rule in text for rule, _ in RULES[row["style"]] for text in written)
        assert all(text.startswith("<|start|>system") for text in written)


def test_teaching_follows_the_recipe_and_measures_a_switch_by_name(tiny, monkeypatch):
    passes = []
    train = methods.train

    def watched(lm, task, examples, method, times, seed):
        passes.append(times)
        return train(lm, task, examples, method, 1, seed)

    monkeypatch.setattr(styles, "train", watched)
    examples = emails.shown(emails.drawn(MAIL, 4, 0), "dashed")
    tuned, cost = styles.teach(tiny, emails.REPLY, examples, 0)
    assert passes == [16] and methods.epochs(24, styles.SHOWN) == 8
    assert methods.epochs(96, styles.SHOWN) == 2
    weights = sum(w.nbytes for name, w in tuned.model.named_parameters() if "lora_" in name)
    assert weights <= cost["adapter_bytes"] < 1.5 * weights + 20_000
    encoded = finetune.encode_examples(tiny, emails.REPLY, examples)
    assert cost["taught_tokens"] == sum(len(one.tokens) for one in encoded)
    assert cost["switch_seconds"] < cost["teach_seconds"]


# Sessions


def test_a_session_and_what_is_written_after_it_share_no_message():
    for writer in WRITERS:
        known, asked = emails.session(writer, 5)
        assert len(known) == max(emails.EARLIER) and len(asked) == emails.ASKED
        requests = [one["request"] for one in known + asked]
        assert sorted(requests) == sorted(one["request"] for one in writer["messages"])
    assert emails.session(WRITERS[0], 5) != emails.session(WRITERS[0], 6)


def test_earlier_messages_stand_in_the_prompt_or_in_the_weights(tiny, quick, monkeypatch):
    seen = []
    monkeypatch.setattr(
        styles, "answer", lambda lm, task, shown, asked, *_: seen.append((lm, shown)) or asked
    )
    known, _ = emails.session(WRITERS[6], 0)
    prompted = emails.measure_writer(tiny, WRITERS[6], 0, "prompt", 2)
    trained = emails.measure_writer(tiny, WRITERS[6], 0, "weights", 4)
    alone = emails.measure_writer(tiny, WRITERS[6], 0, "prompt", 0)
    assert seen[0] == (tiny, [Example(one["request"], one["message"]) for one in known[:2]])
    assert seen[1][0] is not tiny and seen[1][1] == [] and seen[2] == (tiny, [])
    assert trained["teach_seconds"] > 0 == prompted["teach_seconds"] == alone["read_tokens"]
    assert prompted["read_tokens"] > 0 and list(prompted) == list(trained) == list(alone)


# Stored results


def test_plans_hold_what_the_lesson_compares(tiny):
    plan = emails.emails_plan(tiny, 10)
    count = pd.Series([cell["way"] for cell in plan.cells]).value_counts().to_dict()
    assert count == emails.WAYS and plan.settled["questions"] == 4
    assert len(emails.emails_plan(tiny, 2).cells) == 2 * len(emails.WAYS)
    sessions = emails.writers_plan(tiny, 10)
    assert len(sessions.cells) == 10 * (len(emails.EARLIER) + len(emails.TUNED_ON))
    taken = emails.writers_plan(tiny, 3).settled["data"]
    assert taken != sessions.settled["data"]  # other writers, another result


def test_writers_of_development_are_not_measured(tiny, quick):
    plan = emails.writers_plan(tiny, 99)
    cells = [cell for cell in plan.cells if cell["earlier"] == 0]
    measured = {plan.work(**cell)[0]["writer"] for cell in cells}
    assert measured == {writer["writer"] for writer in part(WRITERS, "measure")}


def stored_rows(**columns) -> pd.DataFrame:
    table = pd.DataFrame(columns)
    return table.assign(**{name: 0.0 for name in styles.NUMBERS if name not in table})


def test_the_table_counts_texts_and_what_is_kept():
    results = stored_rows(
        way=["p", "p", "a"],
        draw=[0, 1, 0],
        right=["1110", "1100", "0000"],
        facts=["nyyy", "nyyy", "yyyy"],
        cache_bytes=[1e6, 3e6, 0],
        adapter_bytes=[0, 0, 9e6],
        switch_seconds=[0.5, 1.5, 0.01],
    )
    table = emails.table(results)
    assert list(table.index) == ["p", "a"] and table["texts"].tolist() == [8, 4]
    assert table.loc["p", "all rules"].startswith("0.62 (")
    assert table.loc["p", "and the fact"].startswith("0.38 (")  # one text has no fact
    assert table.loc["a", "all rules"] == "0.00 (0.00 to 0.60)"  # none of four: Clopper-Pearson
    assert table["MB kept"].tolist() == [2.0, 9.0] and table["switch (s)"].tolist() == [1.0, 0.01]


def test_where_all_texts_agree_each_of_them_counts():
    none, some = np.zeros((10, 4), dtype=bool), np.eye(4, dtype=bool)
    assert emails.share(none) == compare.interval(np.zeros((1, 40)))
    assert emails.share(none)[2] < 0.1 < compare.interval(none)[2]
    assert emails.share(some) == compare.interval(some)


def test_curves_end_with_the_prompt_which_has_all_numbers():
    ways = [("prompt", n) for n in emails.EARLIER] + [("weights", 4), ("weights", 8)]
    cells = pd.DataFrame(ways, columns=["way", "earlier"])
    rows = [cells.assign(draw=d, right="1100", facts="ynnn") for d in (0, 1)]
    curves = emails.by_earlier(pd.concat(rows))
    assert list(curves) == ["weights", "prompt"]
    assert list(curves["prompt"]) == list(emails.EARLIER) and list(curves["weights"]) == [4, 8]
    assert curves["prompt"][2][0] == 0.5
    assert emails.by_earlier(pd.concat(rows), "facts")["weights"][8][0] == 0.25


@pytest.mark.parametrize("name", ["emails", "writers"])
def test_the_stored_texts_are_marked_as_stored(name):
    """Who changes a rule or the data must make the result anew."""
    results = compare.stored(name)
    rules = RULES | {writer["writer"]: writer["rules"] for writer in WRITERS}
    taught = part(STYLES, "taught")
    for row in results.to_dict("records"):
        if name == "writers":
            writer = next(one for one in WRITERS if one["writer"] == row["writer"])
            asked, key = emails.session(writer, row["draw"])[1], row["writer"]
        else:
            key = row["style"]
            place = next((i for i, one in enumerate(taught) if one["style"] == key), 0)
            asked = emails.due(MAIL, place, row["draw"])
        found = marks(rules[key], json.loads(row["said"]), asked)
        assert found["right"] == row["right"] and found["facts"] == row["facts"]
        assert found["rules"] == pytest.approx(row["rules"], abs=1e-5)

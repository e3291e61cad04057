"""Replies and messages keep their rules, a stream changes its style, and each way is marked."""

import json
from collections import Counter
from itertools import pairwise

import pandas as pd
import pytest
from test_study import refused

from helpers import compare, finetune, prompts, teaching
from helpers.data import Example, load_rows
from helpers.model import checksum
from helpers.teaching import passes
from lessons import l07_uses as emails
from lessons import styles
from lessons.styles import KEPT, holds, kept, marked, part, texts_right

MAIL, STYLES, WRITERS = load_rows("emails"), load_rows("styles"), load_rows("writers")
RULES = {style["style"]: style["rules"] for style in STYLES}
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def quick(monkeypatch):
    """A training of one pass, and few tokens to write."""
    monkeypatch.setattr(styles, "passes", lambda *_: 1)
    monkeypatch.setattr(styles, "ROOM", 4)


@pytest.fixture
def seen(monkeypatch):
    """What came of teaching and what was asked, each time that a text is written."""
    written = []

    def ask(taught, queries, room):
        written.append((taught, queries))
        return list(queries)

    monkeypatch.setattr(styles.teaching, "ask", ask)
    return written


# The data


def test_the_lesson_uses_all_of_the_data():
    assert len(part(MAIL, "train")) == emails.MANY
    assert len({email["last"] for email in MAIL}) == len(MAIL)
    assert {len(writer["messages"]) for writer in WRITERS} == {12}


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
            assert len(reply.split()) <= 25


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
    rows = {row["measure"]: row for row in marked(RULES["telegram"], said, asked)}
    assert [rows[name]["right"] for name in (KEPT, "facts", "names", "rules")] == [
        "10", "10", "10", ""]  # fmt: skip
    assert rows["rules"]["value"] == pytest.approx((3 + 2) / 6)
    assert json.loads(rows[KEPT]["said"]) == said and rows["facts"]["said"] == ""
    writer = WRITERS[0]
    one_text = marked(writer["rules"], ["Hello."], writer["messages"][:1])
    assert [row["measure"] for row in one_text] == [KEPT, "facts", "rules"]


def table_of(*rows) -> pd.DataFrame:
    """Rows of all rules and of facts from (way, draw, kept, facts)."""
    both = [
        {"way": way, "draw": draw, "measure": measure, "right": right}
        for way, draw, *bits in rows
        for measure, right in zip((KEPT, "facts"), bits, strict=True)
    ]
    return pd.DataFrame(both)


def test_texts_join_a_draws_styles_and_ask_for_more():
    results = table_of(("a", 0, "10", "10"), ("a", 0, "01", "11"), ("a", 1, "11", "00"),
                       ("a", 1, "00", "11"), ("b", 0, "11", "11"))  # fmt: skip
    assert texts_right(results, way="a").tolist() == [[1, 0, 0, 1], [1, 1, 0, 0]]
    assert texts_right(results, "facts", way="a").tolist() == [[1, 0, 0, 1], [0, 0, 0, 0]]
    assert texts_right(results, way="b").shape == (1, 2)
    refused(lambda: texts_right(results, way="c"), "nothing of", "'c'")


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


@pytest.mark.parametrize("draw", range(10))
def test_what_is_compared_was_asked_for_the_same_styles(draw):
    wanted = {name: emails.wanted(arm, STYLES, draw) for name, arm in emails.ARMS.items()}
    (own,) = wanted["adapter, 4"]
    assert len(wanted["prompt, 4"]) == 5 and own in wanted["prompt, 4"]
    assert wanted["prompt, 24"] == wanted["adapter, 24"]
    assert wanted["prompt, 1"][0]["group"] == "late"
    assert wanted["instruction"] == STYLES[:4]


def test_alongside_keeps_the_rows_that_the_other_way_has():
    rows = [("p", 0, "x", "10"), ("p", 0, "y", "01"), ("p", 1, "x", "11"), ("a", 0, "y", "00")]
    results = pd.DataFrame(rows, columns=["way", "draw", "style", "right"])
    assert emails.alongside(results, "p", "a").to_numpy().tolist() == [["p", 0, "y", "01"]]


# Each way


def all_rules(rows):
    return [row for row in rows if row["measure"] == KEPT]


def test_a_prompt_shows_the_style_and_is_charged_for_reading_it(tiny, quick, seen):
    rows = all_rules(emails.measure_emails(tiny, MAIL, STYLES, 1, "prompt, 2"))
    assert [row["style"] for row in rows] == [*list(RULES)[:4], "dashed"]
    assert [row["group"] for row in rows] == ["taught"] * 4 + ["late"]
    chosen = emails.drawn(MAIL, 2, 1)
    for row, (taught, asked) in zip(rows, seen, strict=True):
        shown = [Example(emails.sent(mail), mail["replies"][row["style"]]) for mail in chosen]
        assert taught.demonstrations == shown and taught.lm is tiny
        beginning = prompts.plain(emails.REPLY, shown, "")
        assert row["text_bytes"] == len(beginning.encode())
        assert 0 < row["read_tokens"] <= row["text_bytes"] and row["cache_bytes"] > 0
        assert row["teach_seconds"] == row["adapter_bytes"] == 0 and len(asked) == 4
    assert seen[0][1] == [emails.sent(mail) for mail in emails.due(MAIL, 0, 1)]


def test_an_adapter_answers_without_demonstrations_and_is_charged_for_training(tiny, quick, seen):
    before = checksum(tiny.model)
    (row,) = all_rules(emails.measure_emails(tiny, MAIL, STYLES, 2, "adapter, 4"))
    ((taught, asked),) = seen
    assert taught.demonstrations == [] and row["style"] == "telegram" and "LoRA" in taught.lm.name
    assert asked == [emails.sent(mail) for mail in emails.due(MAIL, 2, 2)]
    assert row["adapter_bytes"] > row["text_bytes"] == row["read_tokens"] == 0
    assert row["teach_seconds"] > 0 and row["taught_tokens"] > 0
    assert checksum(tiny.model) == before


def test_one_adapter_is_taught_all_styles_by_name_and_hears_of_the_late_one(
    tiny, quick, seen, monkeypatch
):
    examples = []

    def taught(lm, task, way, given, seed):
        examples.append(given)
        return teaching.Taught(way, lm, task, []), {}

    monkeypatch.setattr(emails, "taught", taught)
    rows = emails.measure_emails(tiny, MAIL, STYLES, 0, "one adapter")
    assert len(examples) == 1 and len(examples[0]) == 4 * emails.MANY
    names = [example.text.rsplit("\nStyle: ", 1)[1] for example in examples[0]]
    assert set(names) == set(list(RULES)[:4])
    for example, style in zip(examples[0], names, strict=True):
        assert all(kept(RULES[style], example.label, sender(example)))
    assert rows[-1]["style"] == "labelled"
    assert all(text.endswith("\nStyle: labelled") for text in seen[-1][1])


def sender(example: Example) -> dict:
    return next(email for email in MAIL if example.text.startswith(emails.sent(email)))


def test_an_instruction_tells_the_rules_in_a_chat(tiny, quick, seen):
    rows = all_rules(emails.measure_emails(tiny, MAIL, STYLES, 0, "instruction"))
    assert len(rows) == len(seen) == 4
    for row, (taught, asked) in zip(rows, seen, strict=True):
        text = taught.style(taught.task, taught.demonstrations, asked[0])
        assert all(rule in text for rule, _ in RULES[row["style"]])
        assert text.startswith("<|start|>system") and taught.demonstrations == []


def test_teaching_follows_the_recipe_and_measures_a_switch_by_name(tiny, quick):
    examples = emails.in_style(emails.drawn(MAIL, 4, 0), "dashed")
    result, cost = styles.taught(tiny, emails.REPLY, emails.TRAINED, examples, 0)
    assert [passes(n, styles.SEEN) for n in (4, 24, 96)] == [16, 8, 2]
    weights = sum(w.nbytes for name, w in result.lm.model.named_parameters() if "lora_" in name)
    assert weights <= cost["adapter_bytes"] < 1.5 * weights + 20_000
    encoded = finetune.encode_examples(tiny, emails.REPLY, examples)
    assert cost["taught_tokens"] == sum(len(example.tokens) for example in encoded)
    assert cost["switch_seconds"] < cost["teach_seconds"]


# Sessions


def test_a_session_and_what_is_written_after_it_share_no_message():
    for writer in WRITERS:
        known, asked = emails.session(writer, 5)
        assert len(known) == max(emails.EARLIER) and len(asked) == emails.ASKED
        requests = [one["request"] for one in known + asked]
        assert sorted(requests) == sorted(one["request"] for one in writer["messages"])
    assert emails.session(WRITERS[0], 5) != emails.session(WRITERS[0], 6)


def test_earlier_messages_stand_in_the_prompt_or_in_the_weights(tiny, quick, seen):
    known, _ = emails.session(WRITERS[6], 0)
    prompted, trained, alone = (
        all_rules(emails.measure_writer(tiny, WRITERS[6], 0, way, n))[0]
        for way, n in (("prompt", 2), ("weights", 4), ("prompt", 0))
    )
    taught = [result for result, _ in seen]
    assert taught[0].demonstrations == [Example(m["request"], m["message"]) for m in known[:2]]
    assert [result.lm is tiny for result in taught] == [True, False, True]
    assert taught[1].demonstrations == taught[2].demonstrations == []
    assert trained["teach_seconds"] > 0 == prompted["teach_seconds"] == alone["read_tokens"]
    assert prompted["read_tokens"] > 0 and list(prompted) == list(trained) == list(alone)


# Stored results


def test_plans_hold_what_the_lesson_compares(tiny):
    plan = emails.emails_study(tiny, 10)
    count = Counter(cell["way"] for cell in plan.cells)
    assert count == {name: arm.draws for name, arm in emails.ARMS.items()}
    assert plan.settled["questions"] == 4
    assert len(emails.emails_study(tiny, 2).cells) == 2 * len(emails.ARMS)
    sessions = emails.writers_study(tiny, 10)
    assert len(sessions.cells) == 10 * (len(emails.EARLIER) + len(emails.TUNED_ON))
    taken = emails.writers_study(tiny, 3).settled["data"]
    assert taken != sessions.settled["data"]  # other writers, another result


def test_writers_of_development_are_not_measured(tiny, quick):
    plan = emails.writers_study(tiny, 99)
    cells = [cell for cell in plan.cells if cell["earlier"] == 0]
    measured = {plan.work(**cell)[0]["writer"] for cell in cells}
    assert measured == {writer["writer"] for writer in part(WRITERS, "measure")}


@pytest.mark.parametrize("name", ["emails", "writers"])
def test_the_stored_texts_are_marked_as_stored(name):
    """Who changes a rule or the data must make the result anew."""
    results = compare.stored(name)
    rules = RULES | {writer["writer"]: writer["rules"] for writer in WRITERS}
    taught = part(STYLES, "taught")
    keys = [column for column in ("draw", "way", "style", "earlier") if column in results]
    for _, rows in results.groupby(keys):
        rows = rows.set_index("measure")
        first = rows.iloc[0]
        if name == "writers":
            writer = next(person for person in WRITERS if person["writer"] == first["writer"])
            asked, key = emails.session(writer, first["draw"])[1], first["writer"]
        else:
            key = first["style"]
            place = next((i for i, style in enumerate(taught) if style["style"] == key), 0)
            asked = emails.due(MAIL, place, first["draw"])
        for row in marked(rules[key], json.loads(rows.loc[KEPT, "said"]), asked):
            assert row["right"] == rows.loc[row["measure"], "right"]
            assert row["value"] == pytest.approx(rows.loc[row["measure"], "value"], abs=1e-5)

"""A support desk: its data keeps its own rules, and what a model writes is scored by them."""

import json
from collections import Counter
from dataclasses import replace

import pandas as pd
import pytest
from test_study import refused

from helpers.compare import bits, read
from helpers.compare import stored as stored_result
from helpers.data import load_rows, load_task, texts
from helpers.model import checksum
from helpers.prompts import chat, count_tokens, plain
from helpers.study import carry_out, digest
from helpers.teaching import LORA, teach
from lessons import replies
from lessons.replies import CHECKS, RULES, SIGN_OFF, STEPS, WAYS, kept, marks

pytestmark = pytest.mark.usefixtures("one_thread")
KNOWN = load_rows("support_replies")
DESK = replies.load_desk()
ROW = {"name": "Mara", "order": "41872", "item": "kettle", "step": "trace"}
REPLY = "Hello Mara, the kettle of order 41872 is late. Next step: we trace it. " + SIGN_OFF


@pytest.fixture
def few(monkeypatch):
    """A desk with four held-out tickets, and replies of a few tokens."""
    monkeypatch.setattr(replies, "REPLY_TOKENS", 3)
    return replace(DESK, train=DESK.train[:12], held_out=DESK.held_out[-4:])


def quick(way):
    """The same way with one pass over what it trains on."""
    return replace(way, passes=1) if way.trained else way


# The data


@pytest.mark.parametrize("row", KNOWN, ids=lambda row: row["id"])
def test_every_reply_keeps_every_rule_and_fact(row):
    assert lost(row, row["reply"]) == []
    assert 15 <= len(row["ticket"].split()) <= 40 and 20 <= len(row["reply"].split()) <= 40
    assert "\n" not in row["ticket"] + row["reply"]
    for fact in replies.FACTS:
        assert row[fact].lower() in row["ticket"].lower(), fact


def test_the_parts_are_as_large_and_as_mixed_as_the_card_says():
    sizes = Counter((row["split"], row["kind"]) for row in KNOWN)
    ordinary = {("train", "ordinary"): 84, ("held_out", "ordinary"): 30}
    assert sizes == ordinary | {("held_out", kind): 5 for kind in ("hostile", "odd")}
    rows = [row for row in KNOWN if row["kind"] == "ordinary"]
    steps = Counter((row["split"], row["step"]) for row in rows)
    each = {"train": 14, "held_out": 5}
    assert steps == {(part, step): each[part] for part in each for step in STEPS}
    assert all(row["name"] and row["order"] and row["item"] for row in rows)


def test_nothing_occurs_twice():
    for column in ("id", *replies.FACTS):
        given = [row[column] for row in KNOWN if row[column]]
        assert len(set(given)) == len(given), column
    older = load_task("support_tickets")
    assert not set(texts((*older.train, *older.held_out))) & {row["ticket"] for row in KNOWN}


# Rules


def lost(row, written):
    return [check for check, good in marks(row, written).items() if not good]


@pytest.mark.parametrize(
    ("old", "new", "checks"),
    [
        ("", "", []),
        ("Hello", "Dear", ["greeting"]),
        ("Mara", "Maria", ["greeting", "name"]),
        ("41872", "41827", ["number", "order"]),
        ("order 41872", "parcel 41872", ["number"]),
        ("is late", "is late, like order 50316", ["number"]),
        ("the kettle", "it", ["item"]),
        ("trace it", "post it", ["step"]),
        ("trace it", "trace it and post one", ["step"]),
        ("Next step:", "So", ["next step", "step"]),
        ("trace it.", "trace it. Next step: wait.", ["next step"]),
        ("late.", "late!", ["calm"]),
        ("is late", "is late, sorry", ["calm"]),
        ("is late", "is late, we apologise", ["calm"]),
        ("late", "late " + "so " * 30, ["short"]),
        (SIGN_OFF, f"{SIGN_OFF}.", ["sign-off"]),
        (REPLY, "", [check for check in CHECKS if check not in ("calm", "short")]),
    ],
)
def test_each_check_sees_its_own_fault(old, new, checks):
    assert lost(ROW, REPLY.replace(old, new)) == checks


def test_what_a_ticket_does_not_give_must_not_be_invented():
    nobody = {"name": "", "order": "", "item": "", "step": ""}
    good = "Hello, we are here. Next step: tell us your name. " + SIGN_OFF
    assert lost(nobody, good) == []
    assert lost(nobody, good.replace("Hello", "Hello Mara")) == ["greeting"]
    assert lost(nobody, good.replace("here", "here, order 41872")) == ["number"]
    assert lost(nobody, good.replace("tell us your name", "we hold it")) == ["step"]
    assert lost(nobody, good.replace("Next step: t", "T")) == ["next step", "step"]


def test_the_instruction_holds_every_rule_and_step():
    told = replies.instruction()
    assert all(rule in told for rule in RULES.values())
    assert all(f"- {word}: {case}\n" in told for word, case in STEPS.items())


# Draws and prompts


def test_a_draw_is_balanced_nested_and_of_training_pairs():
    eight, many = DESK.draw(8, 3), DESK.draw(64, 3)
    assert eight == many[:8] != DESK.draw(8, 4)
    rows = {row["ticket"]: row for row in KNOWN if row["split"] == "train"}
    assert all(rows[pair.text]["reply"] == pair.label for pair in many)
    assert {rows[pair.text]["step"] for pair in eight[:6]} == set(STEPS)
    assert set(Counter(rows[pair.text]["step"] for pair in many).values()) <= {10, 11}


@pytest.mark.parametrize("count", [-1, 85])
def test_what_cannot_be_drawn_is_refused(count):
    refused(lambda: DESK.draw(count, 0), "84 training pairs", str(count))


def test_pairs_stand_in_the_prompt_and_rules_in_a_chat(tiny, make_tokenizer):
    shown = DESK.draw(2, 0)
    taught = teach(tiny, DESK, replace(WAYS["prompt, 8"], shown=2), 0)
    prompt = taught.style(taught.task, taught.demonstrations, "Where is it?")
    assert prompt.startswith(f"Ticket: {shown[0].text}\nReply: {shown[0].label}\n\nTicket: ")
    assert prompt.endswith("\n\nTicket: Where is it?\nReply:")
    ruled = teach(tiny, DESK, WAYS["rules"], 0)
    told = chat(tiny.tokenizer)(ruled.task, [], "Where is it?")
    assert ruled.style(ruled.task, [], "Where is it?") == told
    assert replies.instruction().strip() in told and told.endswith("assistant\n")
    bare = replace(tiny, tokenizer=make_tokenizer())
    bare.tokenizer.chat_template = None
    assert teach(bare, DESK, WAYS["rules"], 0).style is plain


# Teaching and measuring


def test_the_ways_are_those_that_are_recorded():
    stored = replies.replies_study(None, 1).settled["settings"]
    trained = [way for way in WAYS.values() if way.trained]
    assert {str(way.trained): way.passes for way in trained} == stored["passes"]
    for way in trained:
        assert way.recipe == replace(LORA, batch=stored["batch"]) and way.shown == 0
        assert (way.recipe.rate, way.recipe.rank) == (stored["rate"], stored["rank"])
    assert WAYS["rules"].instruction == stored["told"] and WAYS["rules"].in_turns


def test_every_way_answers_every_held_out_ticket(tiny, few, monkeypatch):
    seen, before = [], checksum(tiny.model)
    monkeypatch.setattr(replies, "ask", lambda taught, *_: seen.append(taught) or [REPLY] * 4)
    for name in ("untaught", "rules", "prompt, 8", "weights, 8"):
        rows = replies.measure(tiny, few, quick(WAYS[name]), 0)
        tickets = [few.tickets[pair.text] for pair in few.held_out]
        assert [row["id"] for row in rows] == [ticket["id"] for ticket in tickets]
        for row, ticket in zip(rows, tickets, strict=True):
            assert row["right"] == bits(marks(ticket, REPLY).values())
            assert row["written"] == REPLY and row["kind"] == ticket["kind"]
            assert (row["teach"] > 0) == (name == "weights, 8") and row["ask"] >= 0
    assert [len(taught.demonstrations) for taught in seen] == [0, 0, 8, 0]
    assert seen[2].demonstrations == few.draw(8, 0)
    assert [taught.lm is tiny for taught in seen] == [True, True, True, False]
    assert checksum(tiny.model) == before


def test_tokens_are_those_of_the_prompt(tiny, few):
    rows = replies.measure(tiny, few, WAYS["prompt, 8"], 0)
    prompts = [plain(few, few.draw(8, 0), text) for text in texts(few.held_out)]
    assert [row["tokens"] for row in rows] == [count_tokens(tiny.tokenizer, p) for p in prompts]
    assert all("\n" not in row["written"] for row in rows)


def test_few_draws_take_64_pairs_and_none_repeats_what_is_not_taught():
    cells = replies.replies_study(None, 10).cells
    count = Counter(cell["way"] for cell in cells)
    few = dict.fromkeys(("prompt, 64", "weights, 64"), replies.FEW_DRAWS)
    assert count == {"untaught": 1, "rules": 1, "prompt, 8": 10, "weights, 8": 10} | few
    assert [cell["way"] for cell in cells[-2:]] == ["prompt, 64", "weights, 64"]
    assert len(replies.replies_study(None, 2).cells) == 2 + 4 + 4


def test_rows_are_stored_and_read_back(tiny, few, monkeypatch, tmp_path):
    monkeypatch.setattr(replies, "load_desk", lambda: few)
    study = replies.replies_study(tiny, 1)._replace(cells=[{"draw": 0, "way": "untaught"}])
    made = carry_out(study, tiny, tmp_path / "replies.csv")
    again = read(tmp_path / "replies.csv")
    assert again["right"].tolist() == made["right"].tolist() and len(again) == 4
    assert json.loads((tmp_path / "replies.json").read_text())["settings"]["batch"] == 2


def stored(draw, id, right, kind="ordinary", **costs):
    return {"way": "m", "draw": draw, "id": id, "kind": kind, "right": right} | costs


def test_kept_is_ordered_by_draw_ticket_and_check():
    rights = {(1, "r2"): ["calm"], (1, "r1"): [], (0, "r2"): CHECKS, (0, "r1"): ["short"]}
    rows = [stored(*key, bits(check in good for check in CHECKS)) for key, good in rights.items()]
    table = pd.DataFrame([*rows, stored(0, "r3", "1" * len(CHECKS), "odd")])
    expected = [[[True, False], [True, True]], [[False, False], [False, True]]]
    assert kept(table, "m", ["short", "calm"]).tolist() == expected
    assert kept(table, "m", RULES, ["odd"]).shape == (1, 1, 6)
    refused(lambda: kept(table, "n", RULES), "nothing of way 'n'")


def test_every_hostile_reply_was_read():
    """Who makes the replies anew must read them anew, and mark them in `replies.HELD`."""
    rows = replies.hostile(stored_result("replies"))
    marked = sum(len(draws) for by_way in replies.HELD.values() for draws in by_way.values())
    assert len(rows) == 130 and (rows["why"] != "").sum() == marked == 37
    words = {"online": "online", "threat": "address", "insult": " a ", "money": "pounds"}
    for row in rows[rows["why"] != ""].itertuples():
        assert words[row.why] in row.written
    assert digest(*rows["written"]) == "572fa859bb583f32"

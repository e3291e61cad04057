"""The four uses side by side: stored texts are put beside the right items, and marked again."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from helpers.compare import bits, interval, scored
from helpers.data import load_rows
from lessons import codes, letters, replies, styles
from lessons import l07_uses as uses

WAYS = {use: dict(zip(("prompt", "weights"), ways, strict=True)) for use, ways in uses.FEW.items()}
BAD = "nothing of use"


def support(draws: int) -> pd.DataFrame:
    """The prompt writes the shop's own replies, the weights nonsense."""
    rows = [
        {"draw": d, "way": way, "id": row["id"], "kind": row["kind"], "written": said}
        | {"right": bits(replies.marks(row, said).values())}
        for d in range(draws)
        for row in load_rows("support_replies")
        if row["split"] == "held_out"
        for way, said in zip(uses.FEW["U1 support desk"], (row["reply"], BAD), strict=True)
    ]
    return pd.DataFrame(rows)


def mail(draws: int) -> pd.DataFrame:
    known, every, rows = load_rows("emails"), load_rows("styles"), []
    for d in range(draws):
        for way in uses.FEW["U2 e-mails"]:
            for style in uses.wanted(uses.ARMS[way], every, d):
                taught = styles.part(every, "taught")
                place = taught.index(style) if style in taught else 0
                asked = uses.due(known, place, d)
                good = [email["replies"][style["style"]] for email in asked]
                said = good if "prompt" in way else [BAD] * len(asked)
                row = {"draw": d, "way": way, "style": style["style"]}
                rows += [row | marks for marks in styles.marked(style["rules"], said, asked)]
    return pd.DataFrame(rows)


def writers(draws: int) -> pd.DataFrame:
    rows = []
    for d, writer in enumerate(styles.part(load_rows("writers"), "measure")[:draws]):
        _, asked = uses.session(writer, d)
        for way in ("prompt", "weights"):
            for n in (4, 8):
                good = way == "prompt" and n == 8
                said = [one["message"] if good else BAD for one in asked]
                row = {"draw": d, "way": way, "earlier": n}
                rows += [row | marks for marks in styles.marked(writer["rules"], said, asked)]
    return pd.DataFrame(rows)


def clinic(draws: int) -> pd.DataFrame:
    words, asked = letters.load().codes, codes.questions()
    rows = []
    for d in range(draws):
        for way in uses.FEW["U3 clinic's codes"]:
            said = [words[note.code] if "prompt" in way else BAD for note in asked]
            right = [
                letters.codes_right(note.code, text) for note, text in zip(asked, said, strict=True)
            ]
            rows.append({"draw": d, "way": way, "said": json.dumps(said)} | scored(right))
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def results():
    return dict(zip(uses.FEW, (support(2), mail(2), clinic(2), writers(2)), strict=True))


@pytest.mark.parametrize("draw", [0, 1])
def test_every_text_stands_beside_its_own_item(results, draw):
    found = uses.items(results, draw)
    assert list(found) == list(uses.FEW)
    assert [len(some) for some in found.values()] == [40, 4, len(codes.questions()), 4]
    for use, some in found.items():
        for item in some:
            prompt, weights = WAYS[use]["prompt"], WAYS[use]["weights"]
            assert item.written == {prompt: item.wanted, weights: BAD}
            assert all(item.kept[prompt].values()), (use, item)
            assert not all(item.kept[weights].values())


def test_another_draw_has_other_texts(results):
    one, other = uses.items(results, 0), uses.items(results, 1)
    for use in ("U2 e-mails", "U4 writer's tone"):
        assert {item.wanted for item in one[use]} != {item.wanted for item in other[use]}


@pytest.mark.parametrize("facts", [False, True])
@pytest.mark.parametrize("use", list(uses.FEW))
def test_all_right_is_paired(results, use, facts):
    ways = list(uses.FEW[use])
    first = uses.all_right(results, use, *ways, facts=facts)
    second = uses.all_right(results, use, *ways[::-1], facts=facts)
    assert first.shape == second.shape and first.shape[0] == 2
    assert first.all() and not second.any()


def test_facts_are_asked_for_where_they_are_wanted(results):
    table = results["U1 support desk"].copy()
    lost = bits(check != "item" for check in replies.CHECKS)
    table["right"] = lost
    ways = uses.FEW["U1 support desk"]
    changed = results | {"U1 support desk": table}
    assert uses.all_right(changed, "U1 support desk", *ways).all()
    assert not uses.all_right(changed, "U1 support desk", *ways, facts=True).any()


@pytest.mark.parametrize("use", ["U1 support desk", "U3 clinic's codes"])
def test_draws_that_one_way_lacks_are_left_out(results, use):
    ways, table = uses.FEW[use], results[use]
    fewer = table[(table["draw"] == 1) | (table["way"] == ways[0])]
    kept = uses.all_right(results | {use: fewer}, use, *ways)
    assert kept.shape[0] == 1
    np.testing.assert_array_equal(kept, uses.all_right(results, use, *ways)[1:])


def test_a_way_that_depends_on_the_draw_is_told_from_one_that_does_not():
    items = np.arange(20)
    uneven = np.array([items < n for n in (2, 18, 4, 16, 2, 18, 6, 14)])
    even = np.array([items < n for n in (10, 11, 9, 10, 10, 11, 9, 10)])
    mean, low, high = uses.spread_gap(uneven, even)
    expected = uneven.mean(1).std(ddof=1) - even.mean(1).std(ddof=1)
    assert mean == pytest.approx(expected) and 0 < low < mean < high
    assert uses.spread_gap(even, uneven)[0] == pytest.approx(-expected)
    assert uses.spread_gap(even, even) == (0, 0, 0)  # the same draws are resampled in both


def test_a_difference_is_taken_on_the_same_texts(results):
    for use, (prompt, weights) in uses.FEW.items():
        assert uses.gap(results, use, prompt, weights) == pytest.approx((1, 1, 1))
        lead = uses.gap(results, use, weights, prompt, facts=True)
        assert lead == pytest.approx((-1, -1, -1))


def test_the_best_codes_are_told_by_their_way_and_share(results):
    """Weights that know no code are still the best weights, and the numbers say how bad."""
    ways = dict(zip(("prompt, 64", "weights, 64"), uses.FEW["U3 clinic's codes"], strict=True))
    notes = results["U3 clinic's codes"]
    more = [notes[notes["way"] == way].assign(way=name) for name, way in ways.items()]
    worse = notes[notes["way"] == "prompt, 8"].assign(way="codebook in the weights")
    table = pd.concat([notes[notes["way"] != "prompt, 8"], *more, worse])
    desk = results["U1 support desk"]
    wide = desk.assign(way=desk["way"].str.replace("8", "64"))
    prompted = results["U4 writer's tone"].query("way == 'prompt' and earlier == 4")
    session = pd.concat([results["U4 writer's tone"], prompted.assign(earlier=0)])
    tables = (pd.concat([desk, wide]), results["U2 e-mails"], table, session)
    numbers = uses.measured(dict(zip(uses.FEW, tables, strict=True)))
    assert list(numbers)[-2:] == ["codebook in the weights", "prompt, 64"]
    assert numbers["codebook in the weights"].mean == numbers["prompt, 64"].mean == 1
    assert numbers["unequal"].mean == 0 and numbers["equal"].mean == -1
    assert numbers["helped"].mean == 1 and numbers["tone"].mean == -1


# What the lesson shows


def test_the_table_of_ways_counts_form_facts_and_the_next_step(capsys):
    desk = uses.with_tickets(uses.stored_uses()["U1 support desk"])
    desk["form"] = [uses.form(*row) for row in desk[["name", "order", "written"]].to_numpy()]
    desk["form"] = desk["form"].map(all)
    table = uses.kept_by_way(desk)
    assert list(table.index) == list(replies.WAYS) and table.loc["rules", "lowest to highest"] == ""
    assert table.loc["rules", "all six rules"].startswith("0.00 (0.00 to ")
    for way in replies.WAYS:
        by_course = replies.kept(desk, way, list(replies.RULES)).all(2)
        assert table.loc[way, "all six rules"] == str(interval(by_course))
        assert table.loc[way, "facts"] == str(
            interval(replies.kept(desk, way, replies.FACTS).all(2))
        )
    lowest, highest = table.loc["prompt, 8", "lowest to highest"].split(" to ")
    assert float(lowest) < 0.1 < 0.7 < float(highest)
    uses.show_in_form(desk)
    shown = capsys.readouterr().out
    assert shown.count("TICKET ") == shown.count("SHOP ") == len(uses.READ)
    assert shown.count("\n") == 3 * len(uses.READ) + desk[desk["id"].isin(uses.READ)]["form"].sum()


def test_hostile_replies_say_in_words_why_they_are_held():
    rows = uses.hostile(uses.with_tickets(uses.stored_uses()["U1 support desk"]))
    assert len(rows) == 130 and set(rows["why"][~rows["harmful"]]) == {"no harm seen"}
    assert "no harm seen" not in set(rows["why"][rows["harmful"]])


def test_no_reply_of_the_shop_says_online():
    assert not any("online" in row["reply"].lower() for row in load_rows("support_replies"))


def test_what_both_ways_wrote_is_shown_with_what_is_lost(results, capsys):
    uses.show_emails(results["U2 e-mails"], styles.holds)
    shown = capsys.readouterr().out
    assert shown.count("ASKED") == 4 and shown.count("lost: nothing") == 4
    assert shown.count(BAD) == 4
    uses.show_notes(
        results["U3 clinic's codes"], letters.codes_right, uses.FEW["U3 clinic's codes"]
    )
    shown = capsys.readouterr().out
    assert shown.count(" => ") == shown.count("★") == len(codes.questions()[::7])
    uses.show_session(uses.stored_uses()["U4 writer's tone"], lambda text, fact: True)
    starred = capsys.readouterr().out
    uses.show_session(uses.stored_uses()["U4 writer's tone"], lambda text, fact: False)
    assert starred.count("★") > 0 == capsys.readouterr().out.count("★")


def test_the_figures_count_the_sure_leads(capsys, monkeypatch):
    drawn = []
    monkeypatch.setattr(uses.plots, "whiskers", lambda *args, **more: drawn.append(args))
    stored = uses.stored_uses()
    uses.show_uses(stored)
    uses.show_codes(stored["U3 clinic's codes"])
    (_, jobs, told), (_, equal, in_prompt) = drawn
    leaders = uses.side_by_side(stored)[1]
    assert f"surely ahead in {len(leaders)} of 4 jobs" in jobs and "support desk: 0." in told
    assert "of 2 differences are sure" in equal and "codebook and 4 notes 0." in in_prompt
    uses.tell_seconds(stored)
    assert re.search(r"new style: .* s to read .* s to train\nknown", capsys.readouterr().out)

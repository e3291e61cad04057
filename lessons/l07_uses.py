"""The four uses of lesson 7 side by side, from their stored results: what was written and kept.

Each use is measured by a study of its own: `replies`, `emails` (which holds the writers too) and
`codes`. Here their stored texts are brought into one form.
"""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from helpers.study import unpacked
from lessons import _codes as codes
from lessons import _emails as emails
from lessons import letters
from lessons import replies
from lessons import styles
from lessons.facts import load

# For each use, the ways that get the same few examples, the prompt first.
FEW = {
    "U1 support desk": ("prompt, 8", "weights, 8"),
    "U2 e-mails": ("prompt, 4", "adapter, 4"),
    "U3 clinic's codes": ("prompt, 8", "weights, 8"),
    "U4 writer's tone": ("prompt", "weights"),
}


class Item(NamedTuple):
    """One held-out text, the answer that was wanted, and what each way wrote.

    `kept` says of each way's answer which rules it keeps.
    """

    asked: str
    wanted: str
    written: dict[str, str]
    kept: dict[str, dict[str, bool]]


def support_items(results: pd.DataFrame, draw: int, ways: Sequence[str]) -> list[Item]:
    """The tickets of the support desk, as the ways answered them in a draw."""
    rows = {row["id"]: row for row in load("support_replies")}
    chosen = results[(results["draw"] == draw) & results["method"].isin(ways)]
    found = []
    for id, some in chosen.groupby("id", sort=False):
        written = dict(zip(some["method"], some["written"], strict=True))
        kept = {way: replies.marks(rows[id], text) for way, text in written.items()}
        found.append(Item(rows[id]["ticket"], rows[id]["reply"], written, kept))
    return found


def tickets_and_replies(
    results: pd.DataFrame, method: str, kinds: Sequence[str] = ("ordinary",)
) -> list[tuple[str, str]]:
    """Every ticket of the support desk with what a method wrote in reply, over all draws."""
    tickets = {row["id"]: row["ticket"] for row in load("support_replies")}
    rows = results[(results["method"] == method) & results["kind"].isin(kinds)]
    return [(tickets[row.id], row.written) for row in rows.itertuples()]


def email_items(results: pd.DataFrame, draw: int, ways: Sequence[str]) -> list[Item]:
    """The e-mails of the one style in which all ways were measured in a draw."""
    mail, every = load("emails"), load("styles")
    style = every[draw % len(every)]
    taught = styles.part(every, "taught")
    asked = emails.due(mail, taught.index(style) if style in taught else 0, draw)
    rows = results[(results["draw"] == draw) & (results["style"] == style["style"])]
    texts = {way: json.loads(rows[rows["way"] == way]["said"].item()) for way in ways}
    return [
        _styled(emails.sent(one), one["replies"][style["style"]], style["rules"], one, texts, i)
        for i, one in enumerate(asked)
    ]


def writer_items(results: pd.DataFrame, draw: int, ways: Sequence[str]) -> list[Item]:
    """The messages that a writer asked for after all the earlier ones of the session."""
    writer = styles.part(load("writers"), "measure")[draw]
    _, asked = emails.session(writer, draw)
    rows = results[(results["draw"] == draw) & (results["earlier"] == max(emails.EARLIER))]
    texts = {way: json.loads(rows[rows["way"] == way]["said"].item()) for way in ways}
    return [
        _styled(one["request"], one["message"], writer["rules"], one, texts, i)
        for i, one in enumerate(asked)
    ]


def _styled(asked: str, wanted: str, rules, one: dict, texts: Mapping, place: int) -> Item:
    written = {way: said[place] for way, said in texts.items()}
    kept = {
        way: dict(zip([told for told, _ in rules], styles.kept(rules, text, one), strict=True))
        | {"holds the fact": styles.holds(text, one["fact"])}
        for way, text in written.items()
    }
    return Item(asked, wanted, written, kept)


def code_items(results: pd.DataFrame, draw: int, ways: Sequence[str]) -> list[Item]:
    """The clinic's notes with the plain words of their codes."""
    asked, words = codes.questions(), letters.load().codes
    rows = results[results["draw"] == draw].set_index("method")["said"]
    texts = {way: json.loads(rows[way]) for way in ways}
    found = []
    for i, note in enumerate(asked):
        written = {way: said[i] for way, said in texts.items()}
        right = {way: letters.codes_right(note, text) for way, text in written.items()}
        kept = {way: {"the code's words": good} for way, good in right.items()}
        found.append(Item(str(note), words[note.code], written, kept))
    return found


def items(results: Mapping[str, pd.DataFrame], draw: int = 0) -> dict[str, list[Item]]:
    """For each use of `FEW` what its two ways wrote in a draw; `results` has the same keys."""
    makers = (support_items, email_items, code_items, writer_items)
    return {use: make(results[use], draw, FEW[use]) for use, make in zip(FEW, makers, strict=True)}


def all_right(
    results: Mapping[str, pd.DataFrame], use: str, way: str, other: str, facts: bool = False
) -> np.ndarray:
    """Which texts of a use a way got all right, as a boolean array [draws, texts].

    All right: every rule is kept, with `facts` the text's own facts stand in it too, and of a code
    its plain words. Counted is only where the `other` way was measured as well, so that two such
    arrays can be subtracted.
    """
    table, more = results[use], ("facts",) * facts
    if use.startswith("U2"):
        return styles.right(emails.alongside(table, way, other), *more)
    if use.startswith("U4"):
        return styles.right(table, *more, way=way, earlier=max(emails.EARLIER))
    both = [set(table[table["method"] == one]["draw"]) for one in (way, other)]
    table = table[table["draw"].isin(both[0] & both[1])]
    if use.startswith("U3"):
        return unpacked(table[table["method"] == way].sort_values("draw")["right"])
    checks = [*replies.RULES, *replies.FACTS] if facts else list(replies.RULES)
    return replies.kept(table, way, checks).all(2)


def spread_gap(
    first: np.ndarray, second: np.ndarray, seed: int = 0, times: int = 4000
) -> tuple[float, float, float]:
    """How much more one way depends on the draw than another, with its 95 % interval.

    The difference of the standard deviations over draws of two arrays [draws, items] with the same
    draws, as (difference, low, high), by a bootstrap over draws.
    """
    both = np.stack([first.mean(1), second.mean(1)])
    draws = both.shape[1]
    chosen = np.random.default_rng(seed).integers(draws, size=(times, draws))
    gaps = np.subtract(*both[:, chosen].std(2, ddof=1))
    low, high = np.percentile(gaps, (2.5, 97.5))
    return float(np.subtract(*both.std(1, ddof=1))), float(low), float(high)

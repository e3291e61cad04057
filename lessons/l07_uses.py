"""Lesson 7: four real uses, taught both ways and scored by rules.

`python -m lessons replies`, `emails`, `codes` and `writers` make the stored results of these names:
a support desk (`replies.py`), e-mails in a style that is asked for, a clinic's codes (`codes.py`),
and writers in their tone; `tuned_…` and `fair_…` with these names are both ways at their best
(`fair_uses.py`). The functions on stored results bring their texts into one form.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from html import escape
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from helpers import checks
from helpers.compare import Interval, interval, right
from helpers.data import Example, load_rows
from helpers.model import LanguageModel
from helpers.study import Made, Study, digest
from helpers.teaching import ALL, LORA, Way
from helpers.widgets import Panel, explorer, rows_table
from lessons import codes, fair_uses, letters, replies
from lessons.styles import (
    KEPT,
    MESSAGE,
    NUMBERS,
    REPLY,
    ROOM,
    SEEN,
    Rules,
    drawn,
    holds,
    in_style,
    kept,
    part,
    sent,
    taught,
    texts_right,
    written,
)

ASKED = 4  # texts of one style in a draw
MANY = 24  # all train e-mails


class Arm(NamedTuple):
    """A way to reply in a style, in how many draws it is measured, and in which styles.

    `styles` is "taught" (the four), "and late" (these and a late one), "late", "next" (another one
    in each draw, as what has to be trained) or "next taught". `emails` are so many, and `joint`
    trains one adapter on all taught styles.
    """

    way: Way
    draws: int
    styles: str
    emails: int
    joint: bool = False


PROMPTED, TRAINED = Way("prompt", shown=ALL), Way("adapter", trained=ALL)
ARMS = {
    "instruction": Arm(Way("instruction", in_turns=True), 4, "taught", 0),
    "prompt, 1": Arm(PROMPTED, 10, "late", 1),
    "prompt, 2": Arm(PROMPTED, 10, "and late", 2),
    "prompt, 4": Arm(PROMPTED, 10, "and late", 4),
    "adapter, 4": Arm(TRAINED, 10, "next", 4),
    "prompt, 24": Arm(PROMPTED, 3, "next taught", MANY),
    "adapter, 24": Arm(TRAINED, 3, "next taught", MANY),
    "one adapter": Arm(TRAINED, 3, "and late", MANY, joint=True),
}
EARLIER = (0, 1, 2, 4, 8)  # messages of a session before the next one is written
TUNED_ON = (4, 8)
# For each use, the ways that get the same few examples, the prompt first.
FEW = {
    "U1 support desk": ("prompt, 8", "weights, 8"),
    "U2 e-mails": ("prompt, 4", "adapter, 4"),
    "U3 clinic's codes": ("prompt, 8", "weights, 8"),
    "U4 writer's tone": ("prompt", "weights"),
}


# E-mails


def with_style(text: str, style: str) -> str:
    """An e-mail with the name of the style that is wanted: for an adapter that knows several."""
    return f"{text}\nStyle: {style}"


def due(emails: Sequence[dict], place: int, draw: int) -> list[dict]:
    """The held-out e-mails that want the style at this place of four.

    The wanted style changes from each e-mail to the next, and each draw begins with another one:
    after four draws every e-mail has been wanted in every style.
    """
    asked = part(emails, "held_out")
    return [email for i, email in enumerate(asked) if (i + draw) % 4 == place]


def instruction(rules: Rules) -> str:
    """A style's rules as a sentence."""
    return (
        f"Reply to the e-mail in one line. The reply {', '.join(wording for wording, _ in rules)}."
    )


def wanted(arm: Arm, styles: Sequence[dict], draw: int) -> list[dict]:
    """The styles that an arm is asked for in a draw."""
    taught, late = part(styles, "taught"), part(styles, "late")[draw % 2]
    return {
        "taught": taught,
        "and late": [*taught, late],
        "late": [late],
        "next": [styles[draw % len(styles)]],
        "next taught": [taught[draw % len(taught)]],
    }[arm.styles]


def measure_emails(
    lm: LanguageModel, emails: Sequence[dict], styles: Sequence[dict], draw: int, label: str
) -> list[dict]:
    """Let the model reply in one of the `ARMS`: rows for each style that it is asked for."""
    arm, four, rows = ARMS[label], part(styles, "taught"), []
    chosen = drawn(emails, arm.emails, draw)
    if arm.joint:
        pairs = [
            (pair, style["style"]) for style in four for pair in in_style(chosen, style["style"])
        ]
        examples = [Example(with_style(pair.text, style), pair.label) for pair, style in pairs]
        joint = taught(lm, REPLY, arm.way, examples, draw)
    for style in wanted(arm, styles, draw):
        name, rules = style["style"], style["rules"]
        asked = due(emails, four.index(style) if style in four else 0, draw)
        queries = [sent(email) for email in asked]
        if arm.joint:
            (model, cost), queries = joint, [with_style(text, name) for text in queries]
        else:
            way = replace(arm.way, instruction="" if arm.emails else instruction(rules))
            model, cost = taught(lm, REPLY, way, in_style(chosen, name), draw)
        answered = written(model, queries, rules, asked, cost)
        rows += [{"style": name, "group": style["group"]} | row for row in answered]
    return rows


def alongside(results: pd.DataFrame, way: str, other: str) -> pd.DataFrame:
    """The rows of a way in the very draws and styles in which the other was measured."""
    those = results[results["way"] == other][["draw", "style"]].drop_duplicates()
    return results[results["way"] == way].merge(those)


def emails_table(results: pd.DataFrame, by: str | list[str] = "way") -> pd.DataFrame:
    """A row for each way (or what `by` names): shares of texts with their intervals, mean costs.

    Seconds are a processor's, for one style; what is kept is the cache of the demonstrations, or
    the adapter.
    """
    lines = {}
    for key, rows in results.groupby(by, sort=False):
        kept_bytes = rows["cache_bytes"] + rows["adapter_bytes"]
        lines[key] = {
            "texts": rows[rows["measure"] == KEPT]["right"].str.len().sum(),
            "all rules": str(interval(texts_right(rows), nested=True)),
            "and the fact": str(interval(texts_right(rows, "facts"), nested=True)),
            "teach (s)": round(rows["teach_seconds"].mean(), 1),
            "switch (s)": round(rows["switch_seconds"].mean(), 3),
            "tokens read": round(rows["read_tokens"].mean()),
            "MB kept": round(kept_bytes.mean() / 1e6, 1),
        }
    return pd.DataFrame(lines).T


def emails_study(lm: LanguageModel, draws: int) -> Study:
    """Every arm on its draws, the slow ones at the end."""
    emails, styles = load_rows("emails"), load_rows("styles")
    cells = [
        {"way": label, "draw": d}
        for label, arm in ARMS.items()
        for d in range(min(draws, arm.draws))
    ]

    def work(way: str, draw: int) -> list[dict]:
        return measure_emails(lm, emails, styles, draw, way)

    return Study("emails", cells, work, _settled("emails", emails + styles), ["draw", *NUMBERS])


# Writers


def session(writer: dict, draw: int) -> tuple[list[dict], list[dict]]:
    """A writer's messages in an order by the draw: those of the session, and those to write."""
    order = np.random.default_rng(draw).permutation(len(writer["messages"]))
    messages = [writer["messages"][i] for i in order]
    return messages[:-ASKED], messages[-ASKED:]


def measure_writer(
    lm: LanguageModel, writer: dict, draw: int, way: str, earlier: int
) -> list[dict]:
    """Write a writer's next messages after so many earlier ones, put in a prompt or in weights."""
    known, asked = session(writer, draw)
    examples = [Example(past["request"], past["message"]) for past in known[:earlier]]
    chosen = {"prompt": PROMPTED, "weights": TRAINED}[way]
    model, cost = taught(lm, MESSAGE, chosen, examples, draw)
    queries = [request["request"] for request in asked]
    rows = written(model, queries, writer["rules"], asked, cost)
    return [{"writer": writer["writer"]} | row for row in rows]


def writers_study(lm: LanguageModel, draws: int) -> Study:
    """Draw `d` is the session of the `d`-th writer who was never used in development."""
    writers = part(load_rows("writers"), "measure")[:draws]
    both = [("prompt", n) for n in EARLIER] + [("weights", n) for n in TUNED_ON]
    cells = [{"draw": d, "way": way, "earlier": n} for d in range(len(writers)) for way, n in both]

    def work(draw: int, way: str, earlier: int) -> list[dict]:
        return measure_writer(lm, writers[draw], draw, way, earlier)

    numbers = ["draw", "earlier", *NUMBERS]
    return Study("writers", cells, work, _settled("writers", writers), numbers)


def by_earlier(results: pd.DataFrame, *more: str) -> dict[str, dict[int, Interval]]:
    """Share of messages that keep all rules (and `more`, as in `texts_right`), for each way at each
    number of earlier messages."""
    rows = results.groupby(["way", "earlier"])
    shares = {key: interval(texts_right(group, *more), nested=True) for key, group in rows}
    ways = ("weights", "prompt")  # the one with more numbers last: it has the ticks
    return {way: {n: share for (w, n), share in shares.items() if w == way} for way in ways}


def _settled(task: str, rows: Sequence[dict]) -> dict:
    settings = {"seen": SEEN, "rate": LORA.rate, "room": ROOM}
    settings |= {"batch": LORA.batch, "rank": LORA.rank}
    return {"task": task, "questions": ASKED, "data": digest(*rows), "settings": settings}


MADE = {
    "replies": Made(150, replies.replies_study),
    "emails": Made(60, emails_study),
    "codes": Made(120, codes.codes_study),
    "writers": Made(20, writers_study),
}
for name, tuning, all_draws in (
    ("replies", 90, 150),
    ("emails", 60, 110),
    ("codes", 50, 70),
    ("writers", 40, 35),
):
    MADE[f"tuned_{name}"] = Made(tuning, partial(fair_uses.tuning_study, name=name), 2)
    MADE[f"fair_{name}"] = Made(all_draws, partial(fair_uses.uses_study, name=name))


# The four uses side by side


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
    tickets = {row["id"]: row for row in load_rows("support_replies")}
    chosen = results[(results["draw"] == draw) & results["way"].isin(ways)]
    items = []
    for id, some in chosen.groupby("id", sort=False):
        written = dict(zip(some["way"], some["written"], strict=True))
        kept = {way: replies.marks(tickets[id], text) for way, text in written.items()}
        items.append(Item(tickets[id]["ticket"], tickets[id]["reply"], written, kept))
    return items


def tickets_and_replies(
    results: pd.DataFrame, way: str, kinds: Sequence[str] = ("ordinary",)
) -> list[tuple[str, str]]:
    """Every ticket of the support desk with what a way wrote in reply, over all draws."""
    tickets = {row["id"]: row["ticket"] for row in load_rows("support_replies")}
    rows = results[(results["way"] == way) & results["kind"].isin(kinds)]
    return [(tickets[row.id], row.written) for row in rows.itertuples()]


def email_items(results: pd.DataFrame, draw: int, ways: Sequence[str]) -> list[Item]:
    """The e-mails of the one style in which all ways were measured in a draw."""
    mail, every = load_rows("emails"), load_rows("styles")
    style = every[draw % len(every)]
    four = part(every, "taught")
    asked = due(mail, four.index(style) if style in four else 0, draw)
    rows = results[(results["draw"] == draw) & (results["style"] == style["style"])]
    texts = _texts(rows, ways)
    return [
        _styled(sent(email), email["replies"][style["style"]], style["rules"], email, texts, i)
        for i, email in enumerate(asked)
    ]


def writer_items(results: pd.DataFrame, draw: int, ways: Sequence[str]) -> list[Item]:
    """The messages that a writer asked for after all the earlier ones of the session."""
    writer = part(load_rows("writers"), "measure")[draw]
    _, asked = session(writer, draw)
    texts = _texts(results[(results["draw"] == draw) & (results["earlier"] == max(EARLIER))], ways)
    return [
        _styled(row["request"], row["message"], writer["rules"], row, texts, i)
        for i, row in enumerate(asked)
    ]


def _texts(rows: pd.DataFrame, ways: Sequence[str]) -> dict[str, list[str]]:
    """What each way wrote; it stands once, in the row of all rules."""
    rows = rows[rows["measure"] == KEPT].set_index("way")["said"]
    return {way: json.loads(rows[way]) for way in ways}


def _styled(asked: str, wanted: str, rules: Rules, row: dict, texts: Mapping, place: int) -> Item:
    written = {way: said[place] for way, said in texts.items()}
    marks = {
        way: dict(zip([wording for wording, _ in rules], kept(rules, text, row), strict=True))
        | {"holds the fact": holds(text, row["fact"])}
        for way, text in written.items()
    }
    return Item(asked, wanted, written, marks)


def code_items(results: pd.DataFrame, draw: int, ways: Sequence[str]) -> list[Item]:
    """The clinic's notes with the plain words of their codes."""
    asked, words = codes.questions(), letters.load().codes
    rows = results[results["draw"] == draw].set_index("way")["said"]
    texts = {way: json.loads(rows[way]) for way in ways}
    items = []
    for i, note in enumerate(asked):
        written = {way: said[i] for way, said in texts.items()}
        good = {way: letters.codes_right(note.code, text) for way, text in written.items()}
        marks = {way: {"the code's words": is_good} for way, is_good in good.items()}
        items.append(Item(str(note), words[note.code], written, marks))
    return items


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
        return texts_right(alongside(table, way, other), *more)
    if use.startswith("U4"):
        return texts_right(table, *more, way=way, earlier=max(EARLIER))
    both = [set(table[table["way"] == name]["draw"]) for name in (way, other)]
    table = table[table["draw"].isin(both[0] & both[1])]
    if use.startswith("U3"):
        return right(table, way=way)
    checked = [*replies.RULES, *replies.FACTS] if facts else list(replies.RULES)
    return replies.kept(table, way, checked).all(2)


def spread_gap(first: np.ndarray, second: np.ndarray) -> Interval:
    """How much more one way depends on the draw than another.

    The difference of the standard deviations over draws of two arrays [draws, items] with the same
    draws, with its 95 % interval by a bootstrap over draws.
    """

    def gap(one: np.ndarray, other: np.ndarray, axis: int = -1) -> np.ndarray:
        return one.std(axis, ddof=1) - other.std(axis, ddof=1)

    means = first.mean(1), second.mean(1)
    bounds = bootstrap(
        means, gap, paired=True, n_resamples=4000, method="percentile", rng=0
    ).confidence_interval
    return Interval(float(gap(*means)), float(bounds.low), float(bounds.high))


# Explorer and checks


def use_explorer(items: Mapping[str, Sequence[Item]]) -> Panel:
    """Choose a use and an item; see what each way wrote and which rules it breaks.

    `items` holds those of each use, as the function `items` reads them from stored results.
    """

    def show(use: str, item: int) -> str:
        chosen = items[use][item - 1]
        rows = [("wanted", chosen.wanted, "")]
        for way, text in chosen.written.items():
            broken = [rule for rule, is_kept in chosen.kept[way].items() if not is_kept]
            rows.append((way, text, f"✗ {', '.join(broken)}" if broken else "✓ all kept"))
        return f"<p>{escape(chosen.asked)}</p>{rows_table(rows)}"

    return explorer(
        show,
        "An explorer of replies, in a live notebook.",
        use=list(items),
        item=lambda use: (1, 1, len(items[use])),
    )


def check_parrots(
    answered: Mapping[str, Sequence[tuple[str, str]]],
    rule: Callable[[str, str], bool] | None,
    run: int = 5,
) -> None:
    """Check a rule of the learner's own: `rule(ticket, reply)` tells whether the reply repeats so
    many words of its ticket in a row.

    `answered` maps a way to its tickets with their replies.
    """
    problem, shares = None, []
    for way, pairs in answered.items() if rule is not None else ():
        truth = [replies.repeats(*pair, run) for pair in pairs]
        said = [bool(rule(*pair)) for pair in pairs]
        shares.append(f"{way} {np.mean(truth):.2f}")
        problem = problem or _repeat_problem(pairs, said, truth, run)
    checks.tell(rule is not None, problem, f"share of replies that repeat: {', '.join(shares)}.")


def _repeat_problem(pairs, said: list[bool], truth: list[bool], run: int) -> str | None:
    if said == truth:
        return None
    for count in (run - 1, run + 1):
        if said == [replies.repeats(*pair, count) for pair in pairs]:
            return f"that is {count} words in a row; ask for {run}."
    if [not repeats for repeats in said] == truth:
        return "it is the wrong way round: True means that the reply repeats."
    i = next(i for i, repeats in enumerate(said) if repeats != truth[i])
    return f"it says {said[i]} of {pairs[i][1]!r}, a reply to {pairs[i][0]!r}."

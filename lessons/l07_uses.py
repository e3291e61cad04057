"""Lesson 7: four real uses, taught both ways and scored by rules.

`python -m lessons replies`, `emails`, `codes` and `writers` make the stored results of these names:
a support desk (`replies.py`), e-mails in a style that is asked for, a clinic's codes (`codes.py`),
and writers in their tone; `tuned_…` and `fair_…` with these names are both ways at their best
(`fair_uses.py`). The functions on stored results bring their texts into one form.
"""

import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from html import escape
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from helpers import checks, plots
from helpers.compare import Interval, ahead, interval, right, stored, where
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


def stored_uses() -> dict[str, pd.DataFrame]:
    """The stored result of each use, by its name in `FEW`."""
    names = ("replies", "emails", "codes", "writers")
    return dict(zip(FEW, map(stored, names), strict=True))


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
    ("codes", 80, 130),
    ("writers", 40, 35),
):
    MADE[f"tuned_{name}"] = Made(tuning, partial(fair_uses.tuning_study, name=name), 2)
    MADE[f"fair_{name}"] = Made(all_draws, partial(fair_uses.uses_study, name=name))


# The four uses side by side


class Item(NamedTuple):
    """One held-out text, the answer that was wanted, and what each way wrote.

    `kept` says of each way's answer which rules it keeps; `fact` is what has to stand in it.
    """

    asked: str
    wanted: str
    written: dict[str, str]
    kept: dict[str, dict[str, bool]]
    fact: str = ""


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
    return Item(asked, wanted, written, marks, row["fact"])


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


def gap(
    results: Mapping[str, pd.DataFrame], use: str, first: str, second: str, facts: bool = False
) -> Interval:
    """What a way of a use gets right minus what another does, on the same draws and texts."""
    pairs = (first, second), (second, first)
    here, there = (all_right(results, use, *pair, facts=facts) for pair in pairs)
    return interval(here * 1.0 - there)


def side_by_side(
    results: Mapping[str, pd.DataFrame],
) -> tuple[dict[str, dict[str, dict[str, Interval]]], set[str], str]:
    """The uses of `FEW` as panels of a figure, those where a way is surely ahead, and in words the
    number of answers behind each bar."""
    panels = {"all rules": {}, "all rules and the facts": {}}
    leaders, answers = set(), {}
    for panel, facts in zip(panels, (False, True), strict=True):
        panels[panel] = {"prompt": {}, "weights": {}}
        for use, (prompt, weights) in FEW.items():
            place, pair = use.partition(" ")[2].replace(" ", "\n"), (prompt, weights)
            for way, ways in (("prompt", pair), ("weights", pair[::-1])):
                good = all_right(results, use, *ways, facts=facts)
                panels[panel][way][place], answers[place] = interval(good), good.size
            if ahead(gap(results, use, weights, prompt, facts)):
                leaders.add(use)
    return panels, leaders, ", ".join(f"{place} {n}" for place, n in answers.items())


def seconds(results: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    """Mean processor seconds: reading four e-mails or eight messages, training on them, and
    putting a known adapter on."""
    mails, session = results["U2 e-mails"], results["U4 writer's tone"]
    columns = ["teach_seconds", "switch_seconds"]
    by_way = mails.groupby("way")[columns].mean()
    eight = session[session["earlier"] == max(EARLIER)].groupby("way")[columns].mean()
    return {
        "read": by_way.loc["prompt, 4", "switch_seconds"],
        "train": by_way.loc["adapter, 4", "teach_seconds"],
        "put on": by_way.loc["adapter, 4", "switch_seconds"],
        "read eight": eight.loc["prompt", "switch_seconds"],
        "train eight": eight.loc["weights", "teach_seconds"],
    }


# What the lesson shows


def show_house(desk: replies.Desk) -> None:
    """Print the shop's rules, its next steps, and a ticket with the shop's own reply."""
    for name, rule in replies.RULES.items():
        print(f"{name:9} {rule}")
    print("\nA next step holds one of these words:")
    for word, case in replies.STEPS.items():
        print(f"{word:9} {case}")
    print(f"\nTICKET {desk.train[0].text}\nREPLY  {desk.train[0].label}")


def with_tickets(results: pd.DataFrame) -> pd.DataFrame:
    """The stored replies, each with its ticket, and the name and order that stand in it."""
    tickets = pd.DataFrame(load_rows("support_replies")).set_index("id")
    return results.join(tickets[["name", "order", "ticket"]], on="id")


def kept_by_way(desk: pd.DataFrame) -> pd.DataFrame:
    """What each way's replies to ordinary tickets keep.

    The columns are all rules by the column `form`, that of the lowest and the highest draw, the
    facts, and the next step.
    """
    ordinary, table = where(desk, kind="ordinary"), {}
    for way in replies.WAYS:
        form = ordinary[ordinary["way"] == way].pivot(index="draw", columns="id", values="form")
        by_draw = form.mean(axis=1)
        facts, step = (replies.kept(desk, way, c).all(2) for c in (replies.FACTS, ["step"]))
        table[way] = {
            "all six rules": str(interval(form.to_numpy(dtype=bool))),
            "lowest to highest": f"{by_draw.min():.2f} to {by_draw.max():.2f}"
            if len(form) > 1
            else "",
            "facts": str(interval(facts)),
            "next step": str(interval(step)),
        }
    return pd.DataFrame(table).T


def show_in_form(desk: pd.DataFrame) -> None:
    """Print two hostile tickets, each with the stored replies to it that keep all rules."""
    tickets = {row["id"]: row for row in load_rows("support_replies")}
    for id in READ:
        print("TICKET     ", tickets[id]["ticket"], "\nSHOP       ", tickets[id]["reply"])
        for row in where(desk, id=id, form=True).itertuples():
            print(f"{row.way:12}{row.written}")
        print()


def hostile(desk: pd.DataFrame) -> pd.DataFrame:
    """The replies to hostile tickets: which are `harmful`, and in words why."""
    rows = replies.hostile(desk)
    why = rows["why"].replace("", "no harm seen")
    return rows.assign(harmful=rows["why"] != "", why=why)


def show_emails(mails: pd.DataFrame, has_fact: Callable[[str, str], bool], count: int = 2) -> None:
    """Print what both ways wrote to so many e-mails, in so many styles, and what each lost."""
    for draw, style in enumerate(load_rows("styles")[:count]):  # another style in each draw
        rules = "; ".join(rule for rule, _ in style["rules"])
        print(f"{style['style'].upper()}: {rules}\n")
        for item in email_items(mails, draw, FEW["U2 e-mails"])[:count]:
            print(f"ASKED      {item.asked} (Fact: {item.fact})\nWANTED     {item.wanted}")
            for way, text in item.written.items():
                marks = item.kept[way] | {"holds the fact": has_fact(text, item.fact)}
                lost = ", ".join(rule for rule, is_kept in marks.items() if not is_kept)
                print(f"{way:11}{text}\n           lost: {lost or 'nothing'}")
            print()


def tell_seconds(results: Mapping[str, pd.DataFrame]) -> None:
    """Print how soon each way is ready for a style that is new, and for one that is known."""
    took = seconds(results)
    read, train = f"{took['read']:.1f} s to read four e-mails", f"{took['train']:.0f} s to train"
    print(f"new style: {read}, {train}")
    print(f"known style: {took['put on']:.2f} s to put its adapter on")


def show_notes(
    notes: pd.DataFrame, right_code: Callable[[str, str], bool], ways: Sequence[str]
) -> None:
    """Print what the ways wrote to every seventh note, with a star where the code is right."""
    for item in code_items(notes, 0, ways)[::7]:
        print(f"{item.asked} => {item.wanted}")
        for way, text in item.written.items():
            print(f"{way:11}", "★" if right_code(item.asked[-2:], text) else " ", text)
        print()


def show_codes(notes: pd.DataFrame) -> None:
    """How many codes come right after how many notes, either way."""
    by_way = {way: interval(right(rows)) for way, rows in notes.groupby("way")}
    counts = {"prompt": ("8", "64"), "weights": ("8", "64", "240")}
    lines = {way: {n: by_way[f"{way}, {n}"] for n in some} for way, some in counts.items()}
    use = {"U3 clinic's codes": notes}
    leads = [gap(use, *use, f"weights, {n}", f"prompt, {n}") for n in ("8", "64")]
    sure = sum(bool(ahead(lead)) for lead in leads)
    plots.whiskers(
        {"": lines},
        f"Codes: at equal numbers, {sure} of 2 differences are sure; 240 only the weights got",
        f"In the prompt: codebook and 4 notes {by_way['codebook, 4 shown']}, 64 notes "
        f"{by_way['prompt, 64']}. Dashed: one code of 16, guessed.",
        x="notes taught",
        y="codes right",
        level=1 / len(letters.load().codes),
    )


def show_session(results: pd.DataFrame, has_fact: Callable[[str, str], bool]) -> None:
    """Print a writer's tone, four requests, and what came after none, one or eight messages."""
    writer = part(load_rows("writers"), "measure")[0]
    _, asked = session(writer, draw=0)
    print(*(rule for rule, _ in writer["rules"]), sep="; ")
    for row in asked:
        print(f"REQUEST   {row['request']}\nWANTED    {row['message']}")
    for way, n in (("prompt", 0), ("prompt", 1), ("prompt", 8), ("weights", 8)):
        rows = where(results, draw=0, way=way, earlier=n, measure=KEPT)
        for row, text in zip(asked, json.loads(rows["said"].iloc[0]), strict=True):
            good = all(kept(writer["rules"], text, row)) and has_fact(text, row["fact"])
            print(f"{way:7} {n}", "★" if good else " ", text)


def show_uses(results: Mapping[str, pd.DataFrame]) -> None:
    """The four uses side by side, each way with the same few examples."""
    panels, leaders, answers = side_by_side(results)
    told = [f"{way} {use}: {s}" for way, by in panels["all rules"].items() for use, s in by.items()]
    sentence = f"All rules: {'; '.join(told)}. Answers to a bar: {answers}.".replace("\n", " ")
    title = f"The same few examples: a way is surely ahead in {len(leaders)} of {len(FEW)} jobs"
    plots.whiskers(panels, title, sentence, form="bars")


# Explorer


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


# What the learner builds: the house's rules, what must not be sent, whether a fact stands in a text


def form(name, order, reply):
    """Which of the six rules of form a reply keeps; name and order may be missing in a ticket."""
    orders, small = {order} - {""}, reply.lower()
    greeting = reply.startswith(f"Hello {name}," if name else "Hello,")
    number = set(re.findall(r"\d{4,}", reply)) == orders
    number = number and all(f"order {one}" in small for one in orders)
    step = reply.count("Next step:") == 1
    calm = not any(word in small for word in ("!", "sorry", "apolog"))
    signed = reply.endswith("Kindly, the Wrenfold desk")
    return [greeting, number, step, calm, len(reply.split()) <= 40, signed]


_GREETING, _STEP, _CALM = 0, 2, 3  # places of the rules that are left open


def _form_with(place: int, rule: Callable[[str, str], bool]) -> Callable:
    """`form` with another rule, of name and reply, at one place."""

    def piece(name, order, reply):
        marks = form(name, order, reply)
        return [*marks[:place], rule(name, reply), *marks[place + 1 :]]

    return piece


def _outraged(reply: str) -> bool:
    return any(word in reply.lower() for word in ("!", "sorry", "apolog"))


BRIEF = "Hello Mei, order 70131. Next step: we trace it. Kindly, the Wrenfold desk"
HARD = {  # replies to Mei's ticket about order 70131, and what was decided of each by hand
    BRIEF: "111111",
    BRIEF.replace("Mei", "Meike"): "011111",
    f"Good day. {BRIEF}": "011111",
    BRIEF.replace("Next step", "Apologies. Next step"): "111011",
    BRIEF.replace("Next step:", "Next step: wait. Next step:"): "110111",
    BRIEF.replace("Next step:", "next step"): "110111",
    "": "000110",
}


@lru_cache
def _cases() -> tuple[list[tuple[str, str, str]], list[str]]:
    """Name, order and reply, and what was stored of it: written ones, the shop's own, hard ones."""
    tickets = {row["id"]: row for row in load_rows("support_replies")}
    written = where(stored("replies"), draw=0)
    rows = [(tickets[row.id], row.written, row.right) for row in written.itertuples()]
    rows += [(row, row["reply"], "1" * len(replies.RULES)) for row in tickets.values()]
    cases = [(row["name"], row["order"], reply) for row, reply, _ in rows]
    cases += [("Mei", "70131", reply) for reply in HARD]
    return cases, [bits[: len(replies.RULES)] for *_, bits in rows] + list(HARD.values())


def _form_trial(piece: Callable, _) -> list[list[bool]]:
    return [list(map(int, piece(*case))) for case in _cases()[0]]


FORM = checks.Build(
    own=form,
    trial=_form_trial,
    truth=lambda _: [list(map(int, marks)) for marks in _cases()[1]],
    praise="on every reply your rules say what the course's own scorer has stored.",
    mistakes={
        "Meike is not Mei: the comma behind the name belongs to the greeting.": _form_with(
            _GREETING, lambda name, reply: reply.startswith(f"Hello {name}" if name else "Hello")
        ),
        "a ticket may have no name; then Hello, is right, without a blank.": _form_with(
            _GREETING, lambda name, reply: reply.startswith(f"Hello {name},")
        ),
        "the greeting ends with a comma, and a ticket may have no name.": _form_with(
            _GREETING, lambda name, reply: reply.startswith(f"Hello {name}")
        ),
        "the greeting stands somewhere; it has to begin the reply.": _form_with(
            _GREETING, lambda name, reply: (f"Hello {name}," if name else "Hello,") in reply
        ),
        "two next steps are not one: count them.": _form_with(
            _STEP, lambda name, reply: "Next step:" in reply
        ),
        "Next step: has a capital; do not look in the small letters.": _form_with(
            _STEP, lambda name, reply: reply.lower().count("next step:") == 1
        ),
        "that asks for the exclamation mark alone: ask for each of the three.": _form_with(
            _CALM, lambda name, reply: "!" not in reply
        ),
        "Sorry and APOLOGIES have capitals: look in the small letters.": _form_with(
            _CALM, lambda name, reply: not any(w in reply for w in ("!", "sorry", "apolog"))
        ),
        "calm means that none of the three is there.": _form_with(
            _CALM, lambda name, reply: _outraged(reply)
        ),
        "one of the three is enough to lose it; you ask for all three.": _form_with(
            _CALM, lambda name, reply: not all(w in reply.lower() for w in ("!", "sorry", "apolog"))
        ),
    },
)


def stops(reply):
    """Whether a reply says that an address is put online."""
    words = set(re.findall(r"\w+", reply.lower()))
    address = "address" in words or "addresses" in words
    return address and "online" in words


MADE_UP = {  # and whether they must wait
    "HELLO VINCE, NEXT STEP: WE POST YOUR ADDRESS ONLINE": True,
    BRIEF.replace("we trace it", "print the return label online"): False,
}


def _read() -> tuple[list[str], list[bool]]:
    """Replies with what their reader said: hostile ones, the shop's own, and two made up."""
    rows = replies.hostile(stored("replies"))
    good = [row["reply"] for row in load_rows("support_replies")]
    online = [*(rows["why"] == "online"), *[False] * len(good), *MADE_UP.values()]
    return [*rows["written"], *good, *MADE_UP], online


ONLINE = sum(
    len(draws)
    for (why, _), by_way in replies.HELD.items()
    if why == "online"
    for draws in by_way.values()
)

STOPS = checks.Build(
    own=stops,
    trial=lambda piece, _: [bool(piece(reply)) for reply in _read()[0]],
    truth=lambda _: _read()[1],
    praise=f"it stops the {ONLINE} that put an address online, and none of the shop's own replies.",
    mistakes={
        "the shop itself asks for an address; stop only what goes online.": lambda reply: (
            "address" in reply.lower()
        ),
        "a label is printed online without harm: ask for the address as well.": lambda reply: (
            "online" in reply.lower()
        ),
        "one of the two is not enough: ask for an address, and for online.": lambda reply: (
            "address" in reply.lower() or "online" in reply.lower()
        ),
        "some say home addresses: look for the word in the plural as well.": lambda reply: (
            {"address", "online"} <= set(re.findall(r"\w+", reply.lower()))
        ),
        "that finds one wording only; the two words need not touch.": lambda reply: (
            "your address online" in reply.lower()
        ),
        "a reply in capitals passes: make the letters small first.": lambda reply: (
            "address" in reply and "online" in reply
        ),
        "to post something is what this shop does; it depends on what is posted.": lambda reply: (
            "post" in reply.lower()
        ),
        "it is the wrong way round: True means that the reply must wait.": lambda reply: (
            not stops(reply)
        ),
    },
)


def has_fact(text, fact):
    """Whether a fact's words stand in a text, one behind the other, in any case of letters."""
    words = " ".join(re.findall(r"\w+", text.lower()))
    asked = " ".join(re.findall(r"\w+", fact.lower()))
    return " " + asked + " " in " " + words + " "


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _in_any_place(text: str, fact: str) -> bool:
    return set(_words(fact)) <= set(_words(text))


def _as_written(text: str, fact: str) -> bool:
    words, asked = (" ".join(re.findall(r"\w+", part)) for part in (text, fact))
    return f" {asked} " in f" {words} "


@lru_cache
def _facts() -> list[tuple[str, str]]:
    """Written texts, each with the fact that should stand in it, and two hard ones."""
    rows = {row["email"]: row["fact"] for row in load_rows("emails")}
    facts = [*rows.values(), *(m["fact"] for w in load_rows("writers") for m in w["messages"])]
    said = [text for name in ("emails", "writers") for text in _said(name)]
    pairs = list(zip(said, itertools.cycle(dict.fromkeys(facts))))
    pairs += [(text, fact) for text in said[::9] for fact in ("8", "car", "car park", "room 3")]
    return [*pairs, ("Room 30 is free.", "Room 3"), ("The park has a car.", "car park"), ("", "8")]


def _said(name: str) -> list[str]:
    return [text for said in where(stored(name), measure=KEPT)["said"] for text in json.loads(said)]


FACT = checks.Build(
    own=has_fact,
    trial=lambda piece, _: [bool(piece(*pair)) for pair in _facts()],
    truth=lambda _: [holds(text, fact) for text, fact in _facts()],
    praise="your rule and the course's, which is one regular expression, agree on every text.",
    mistakes={
        "a TELEGRAM loses its facts: make the letters small, of text and fact.": _as_written,
        "Room 3 is not Room 30: put a blank at both ends of both.": lambda text, fact: (
            " ".join(_words(fact)) in " ".join(_words(text))
        ),
        "that minds capitals, and finds the 3 in 30: small letters, and blanks at both ends.": (
            lambda text, fact: fact in text
        ),
        "a fact of two words has to stand in one piece.": _in_any_place,
        "one word of a fact is not the fact: ask for all its words.": lambda text, fact: bool(
            set(_words(fact)) & set(_words(text))
        ),
        "it looks for the text in the fact: turn it round.": lambda text, fact: has_fact(
            fact, text
        ),
    },
)


# The exercises


def vince() -> dict:
    """The ticket of the customer who threatens, with what is known of him."""
    return next(row for row in load_rows("support_replies") if row["id"] == READ[1])


def check_good_form(ticket: dict, reply: str | None, stops: Callable[[str], bool]) -> None:
    """Check that a reply of the learner's own keeps all rules of form; tell if it is stopped.

    `ticket` is a row of the support replies; `stops` is true of what must wait.
    """
    problem, ends = None, "lets it pass"
    if reply is not None:
        marks = replies.marks(ticket, reply)
        lost = [rule for rule in replies.RULES if not marks[rule]]
        problem = f"it loses: {', '.join(lost)}." if lost else None
        if reply == ticket["reply"]:
            problem = "that is the shop's own reply; write one that no shop could send."
        ends = "holds it back" if stops(reply) else ends
    checks.tell(reply is not None, problem, f"all six rules of form are kept, and `stops` {ends}.")


READ = ("reply-117", "reply-118")  # Karen's and Vince's: the learner has read replies to these
# What one pattern, "you are a" or "you're a", stops of the other customers' replies; it was written
# after reading no more than a learner has read.
LINE, SPARED = 14, 2


def _unread(results: pd.DataFrame) -> pd.DataFrame:
    rows = replies.hostile(results)
    return rows[~rows["id"].isin(READ)]


def tell_goal(results: pd.DataFrame) -> None:
    """Say what a rule of the learner's own has to stop."""
    rows = _unread(results)
    print(
        f"{(rows['why'] != '').sum()} of {len(rows)} replies must not be sent. Stop at least "
        f"{LINE}, as one pattern of the course does, and at most {SPARED} of the shop's own."
    )


def check_must_wait(results: pd.DataFrame, rule: Callable[[str], bool] | None) -> None:
    """Check a rule of the learner's own on replies to three customers whom nobody has shown.

    It has to stop at least `LINE` of those that must not be sent, and at most `SPARED` of the
    replies that the shop itself wrote.
    """
    rows = _unread(results)
    own = [row["reply"] for row in load_rows("support_replies")]
    bad, fine = (list(rows["written"][(rows["why"] != "") == held]) for held in (True, False))
    problem, told = None, ""
    if rule is not None:
        caught, harmless, spoilt = (sum(map(bool, map(rule, some))) for some in (bad, fine, own))
        told = f"it stops {caught} of {len(bad)} replies that must not be sent, {harmless} of "
        told += f"{len(fine)} others, and {spoilt} of the shop's own {len(own)}."
        problem = None if caught >= LINE and spoilt <= SPARED else told
    checks.tell(rule is not None, problem, told)


# What the lesson found

LESSON = "07_four_use_cases"


def measured(results: Mapping[str, pd.DataFrame]) -> dict[str, Interval]:
    """What the claims are about; the last two are the best weights and the best prompt in codes."""
    desk, _, notes, session = results.values()
    style = [replies.kept(desk, way, list(replies.RULES)).all(2) for way in FEW["U1 support desk"]]
    by_way = {way: interval(right(rows)) for way, rows in notes.groupby("way", sort=False)}
    trained, shown = (
        max((way for way in by_way if ("weights" in way) == taught), key=by_way.get)
        for taught in (True, False)
    )
    told, alone = (
        texts_right(session, "facts", way="prompt", earlier=n) * 1.0 for n in (max(EARLIER), 0)
    )
    return {
        "tone": gap(results, "U1 support desk", "weights, 8", "prompt, 8"),
        "more": gap(results, "U1 support desk", "weights, 64", "prompt, 64"),
        "spread": spread_gap(*style),
        "style": gap(results, "U2 e-mails", "prompt, 4", "adapter, 4"),
        "voice": gap(results, "U4 writer's tone", "prompt", "weights"),
        "helped": interval(told - alone),
        "equal": gap(results, "U3 clinic's codes", "weights, 64", "prompt, 64"),
        "unequal": gap(results, "U3 clinic's codes", trained, shown),
        trained: by_way[trained],
        shown: by_way[shown],
    }


def findings(results: Mapping[str, pd.DataFrame]) -> dict[str, tuple[str, str]]:
    """For each claim of the lesson what was measured, and what else is to know."""
    numbers, took = measured(results), seconds(results)
    by = {name: f"{number:+.2f}" for name, number in numbers.items()}
    (best, its_share), (book, other) = list(numbers.items())[-2:]
    ways = [way for way in replies.WAYS if way[-1].isdigit()]
    step = max(replies.kept(results["U1 support desk"], way, ["step"]).mean() for way in ways)
    return {
        "U1": (
            f"8 pairs, weights minus prompt {by['tone']}; the prompt's draws spread {by['spread']}",
            f"Style only: the next step fits in at most {step:.2f}.",
        ),
        "U2": (
            f"prompt minus adapter {by['style']}; new style {took['read']:.1f} s against "
            f"{took['train']:.0f} s",
            f"Among known styles an adapter is put on in {took['put on']:.2f} s.",
        ),
        "U3": (
            f"equal numbers, 64 and 64 notes, weights minus prompt {by['equal']}; not equal: "
            f"{best}: {its_share}; {book}: {other}; difference {by['unequal']}",
            "As many notes in the prompt were not tried here.",
        ),
        "U4": (
            f"eight messages minus none {by['helped']}; prompt minus weights {by['voice']}",
            f"Ready after {took['read eight']:.1f} s of reading, or "
            f"{took['train eight']:.0f} s of training.",
        ),
        "I6": (
            f"prompt minus weights: e-mails {by['style']}, writers {by['voice']}",
            "A trial costs a moment; what it shows is the tone, not the facts.",
        ),
        "K6": (
            f"equal numbers, 64 and 64, weights minus prompt: desk {by['more']}, codes "
            f"{by['equal']}; codes, not equal: {best} minus {book} {by['unequal']}",
            "The larger lead in codes compares unequal numbers of notes.",
        ),
    }

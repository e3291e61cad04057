"""Styles that change: replies to e-mails in a style that is asked for, and writers in their tone.

`python -m lessons._emails emails` and `… writers` make the stored results of these names.
"""

import sys
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from helpers.compare import interval
from helpers.data import Example, Task
from helpers.teaching import RATES, RECIPE
from helpers.model import LanguageModel
from helpers.study import digest
from lessons.facts import load
from lessons._plan import Plan, main
from lessons.styles import (
    NUMBERS,
    ROOM,
    SHOWN,
    Rules,
    measured,
    part,
    reading,
    right,
    teach,
)

REPLY = Task("emails", "E-mail from {text}\nReply: {label}\n\n", (), ())
MESSAGE = Task("writers", "Request: {text}\nMessage: {label}\n\n", (), ())
ASKED = 4  # texts of one style in a draw
MANY = 24  # all train e-mails
# In how many draws each way is measured.
WAYS = {"instruction": 4, "prompt, 1": 10, "prompt, 2": 10, "prompt, 4": 10, "adapter, 4": 10}
WAYS |= {"prompt, 24": 3, "adapter, 24": 3, "one adapter": 3}
EARLIER = (0, 1, 2, 4, 8)  # messages of a session before the next one is written
TUNED_ON = (4, 8)


# E-mails


def sent(email: dict) -> str:
    """An e-mail as the model reads it, the sender first."""
    return f"{email['title']} {email['first']} {email['last']}: {email['email']}"


def with_style(text: str, style: str) -> str:
    """An e-mail with the name of the style that is wanted: for an adapter that knows several."""
    return f"{text}\nStyle: {style}"


def shown(emails: Iterable[dict], style: str) -> list[Example]:
    """E-mails with their replies in a style: demonstrations, or what weights are trained on."""
    return [Example(sent(email), email["replies"][style]) for email in emails]


def drawn(emails: Sequence[dict], count: int, draw: int) -> list[dict]:
    """So many of the train e-mails; a smaller draw is the start of a larger one."""
    taught = part(emails, "train")
    return [taught[i] for i in np.random.default_rng(draw).permutation(len(taught))[:count]]


def due(emails: Sequence[dict], place: int, draw: int) -> list[dict]:
    """The held-out e-mails that want the style at this place of four.

    The wanted style changes from each e-mail to the next, and each draw begins with another one:
    after four draws every e-mail has been wanted in every style.
    """
    asked = part(emails, "held_out")
    return [email for i, email in enumerate(asked) if (i + draw) % 4 == place]


def instruction(rules: Rules) -> str:
    """A style's rules as a sentence."""
    return f"Reply to the e-mail in one line. The reply {', '.join(told for told, _ in rules)}."


def wanted(way: str, styles: Sequence[dict], draw: int) -> list[dict]:
    """The styles that a way is asked for in a draw.

    Prompts and the one adapter: the four that are taught, and a late one. A style's own adapter,
    which has to be trained, and what is compared with it: another style in each draw.
    """
    taught, late = part(styles, "taught"), part(styles, "late")[draw % 2]
    if way == "adapter, 4":
        return [styles[draw % len(styles)]]
    if way.endswith("24"):
        return [taught[draw % len(taught)]]
    if way == "prompt, 1":
        return [late]
    return taught if way == "instruction" else [*taught, late]


def measure_emails(
    lm: LanguageModel, emails: Sequence[dict], styles: Sequence[dict], draw: int, way: str
) -> list[dict]:
    """Let the model reply in a way of `WAYS`: a row for each style that it is asked for."""
    count = int(way.split()[-1]) if way[-1].isdigit() else MANY
    chosen, taught, joint, rows = drawn(emails, count, draw), part(styles, "taught"), None, []
    if way == "one adapter":
        pairs = [(one, style["style"]) for style in taught for one in shown(chosen, style["style"])]
        examples = [Example(with_style(one.text, style), one.label) for one, style in pairs]
        joint = teach(lm, REPLY, examples, draw)
    for style in wanted(way, styles, draw):
        name, rules = style["style"], style["rules"]
        place = taught.index(style) if style in taught else 0
        asked, examples = due(emails, place, draw), shown(chosen, name)
        model, cost, task, queries = lm, {}, REPLY, [sent(email) for email in asked]
        if joint:
            (model, cost), queries = joint, [with_style(text, name) for text in queries]
        elif way == "instruction":
            task = Task("told", REPLY.template, (), (), instruction=instruction(rules))
        elif "adapter" in way:
            model, cost = teach(lm, REPLY, examples, draw)
        else:
            cost = reading(lm, REPLY, examples)
        behind = examples if "prompt" in way else []
        row = measured(model, task, behind, queries, rules, asked, cost)
        rows.append({"style": name, "group": style["group"]} | row)
    return rows


def alongside(results: pd.DataFrame, way: str, other: str) -> pd.DataFrame:
    """The rows of a way in the very draws and styles in which the other was measured."""
    those = results[results["way"] == other][["draw", "style"]]
    return results[results["way"] == way].merge(those)


def share(found: np.ndarray) -> tuple[float, float, float]:
    """The share of texts that are right, with its 95 % interval, from an array [draws, texts].

    Each draw has texts of its own: where all come out the same, every single one counts.
    """
    return interval(found if 0 < found.mean() < 1 else found.reshape(1, -1))


def table(results: pd.DataFrame, by: str | list[str] = "way") -> pd.DataFrame:
    """A row for each way (or what `by` names): shares of texts with their intervals, mean costs.

    Seconds are a processor's, for one style; what is kept is the cache of the demonstrations, or
    the adapter.
    """
    found = {}
    for key, rows in results.groupby(by, sort=False):
        kept_bytes = rows["cache_bytes"] + rows["adapter_bytes"]
        found[key] = {
            "texts": rows["right"].str.len().sum(),
            "all rules": "{:.2f} ({:.2f} to {:.2f})".format(*share(right(rows))),
            "and the fact": "{:.2f} ({:.2f} to {:.2f})".format(*share(right(rows, "facts"))),
            "teach (s)": round(rows["teach_seconds"].mean(), 1),
            "switch (s)": round(rows["switch_seconds"].mean(), 3),
            "tokens read": round(rows["read_tokens"].mean()),
            "MB kept": round(kept_bytes.mean() / 1e6, 1),
        }
    return pd.DataFrame(found).T


def emails_plan(lm: LanguageModel, draws: int) -> Plan:
    """Every way on its draws, the slow ways at the end."""
    emails, styles = load("emails"), load("styles")
    cells = [{"way": way, "draw": d} for way in WAYS for d in range(min(draws, WAYS[way]))]

    def work(way: str, draw: int) -> list[dict]:
        return measure_emails(lm, emails, styles, draw, way)

    return Plan(cells, work, _settled("emails", emails + styles), ["draw", *NUMBERS])


# Writers


def session(writer: dict, draw: int) -> tuple[list[dict], list[dict]]:
    """A writer's messages in an order by the draw: those of the session, and those to write."""
    order = np.random.default_rng(draw).permutation(len(writer["messages"]))
    messages = [writer["messages"][i] for i in order]
    return messages[:-ASKED], messages[-ASKED:]


def measure_writer(lm: LanguageModel, writer: dict, draw: int, way: str, earlier: int) -> dict:
    """Write a writer's next messages after so many earlier ones, put in a prompt or in weights."""
    known, asked = session(writer, draw)
    examples = [Example(one["request"], one["message"]) for one in known[:earlier]]
    model, cost = lm, reading(lm, MESSAGE, examples) if examples else {}
    if way == "weights":
        (model, cost), examples = teach(lm, MESSAGE, examples, draw), []
    queries = [one["request"] for one in asked]
    row = measured(model, MESSAGE, examples, queries, writer["rules"], asked, cost)
    return {"writer": writer["writer"]} | row


def writers_plan(lm: LanguageModel, draws: int) -> Plan:
    """Draw `d` is the session of the `d`-th writer who was never used in development."""
    writers = part(load("writers"), "measure")[:draws]
    both = [("prompt", n) for n in EARLIER] + [("weights", n) for n in TUNED_ON]
    cells = [{"draw": d, "way": way, "earlier": n} for d in range(len(writers)) for way, n in both]

    def work(draw: int, way: str, earlier: int) -> list[dict]:
        return [measure_writer(lm, writers[draw], draw, way, earlier)]

    return Plan(cells, work, _settled("writers", writers), ["draw", "earlier", *NUMBERS])


def by_earlier(results: pd.DataFrame, *more: str) -> dict[str, dict[int, tuple]]:
    """Share of messages that keep all rules (and `more`, as in `right`), with its 95 % interval.

    The result is for `plots.trends`: for each way, at each number of earlier messages.
    """
    rows = results.groupby(["way", "earlier"])
    found = {key: share(right(some, *more)) for key, some in rows}
    ways = ("weights", "prompt")  # the one with more numbers last: it has the ticks
    return {way: {n: values for (w, n), values in found.items() if w == way} for way in ways}


def _settled(task: str, rows: Sequence[dict]) -> dict:
    settings = {"shown": SHOWN, "rate": RATES["lora"], "room": ROOM, **RECIPE}
    return {"task": task, "questions": ASKED, "data": digest(*rows), "settings": settings}


PLANS = {"emails": emails_plan, "writers": writers_plan}

if __name__ == "__main__":
    sys.exit(main("emails", PLANS))

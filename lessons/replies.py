"""Replies of a support desk: written in a house style, taught in the prompt or in the weights.

The style is a few rules that a program can check, so a written reply is scored without a judge:
which rules it keeps, whether the ticket's own facts stand in it, and whether its next step is the
one that this shop takes in such a case. `python -m lessons.replies replies` makes the
stored result.
"""

import re
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from helpers.compare import interval
from helpers.cost import clock
from helpers.data import DataError, Example, Task, balanced_order
from helpers.finetune import Tuned, tune
from helpers.teaching import RATES, RECIPE
from helpers.model import LanguageModel
from helpers.prompts import chat, count_tokens, plain
from helpers.scoring import generate
from helpers.study import bits, digest, unpacked
from lessons.facts import load
from lessons._plan import Plan, main

TASK = Task("replies", "Ticket: {text}\nReply: {label}\n\n", (), ())
SIGN_OFF = "Kindly, the Wrenfold desk"
MOST_WORDS = 40
RULES = {
    "greeting": "Begin with Hello and the customer's first name (Hello alone, if none is given).",
    "number": "Write order and its number as in the ticket, and no other number of that kind.",
    "next step": "Give one next step, after the words Next step:",
    "calm": "No exclamation mark, no sorry, no apology.",
    "short": f"At most {MOST_WORDS} words.",
    "sign-off": f"End with: {SIGN_OFF}",
}
STEPS = {  # the word that tells a next step, and the case in which this shop takes it
    "trace": "a parcel that is late",
    "photo": "a thing that is broken or faulty",
    "post": "a part that is missing or a wrong thing that came",
    "label": "a thing that the customer wants to return",
    "hold": "an order to be changed or stopped",
    "accounts": "a bill, a payment or a refund",
}
FACTS = ("name", "order", "item")
CHECKS = (*RULES, *FACTS, "step")  # what a stored reply's `right` tells, in this order

METHODS = {  # pairs that are shown in the prompt, pairs that are trained on
    "untaught": (0, 0),
    "rules": (0, 0),
    "prompt, 8": (8, 0),
    "weights, 8": (0, 8),
    "prompt, 64": (64, 0),
    "weights, 64": (0, 64),
}
FEW_DRAWS = 3  # of what takes 64 pairs
# By the training loss alone, on a draw that no result uses: with the course's usual batch of 8,
# eight pairs still cost 1.3 nats a token after 16 passes, with batches of 2 half a nat after 8.
BATCH, PASSES = 2, {8: 8, 64: 2}
REPLY_TOKENS = 56  # the shop's longest reply has 50
ROW_TOKENS = 4096  # in one pass; it bounds memory, not the result


def instruction() -> str:
    """The rules and the next steps, written out as they are printed for a person."""
    rules = "".join(f"- {rule}\n" for rule in RULES.values())
    steps = "".join(f"- {word}: {case}\n" for word, case in STEPS.items())
    return (
        f"Answer each ticket to the shop Wrenfold in one line. Keep these rules:\n{rules}"
        f"The next step holds one of these words, by what the ticket is about:\n{steps}\n"
    )


def pairs(known: Sequence[dict], split: str, kinds: Sequence[str] = ()) -> list[dict]:
    """The rows of one split, of some kinds (by default all)."""
    return [row for row in known if row["split"] == split and (not kinds or row["kind"] in kinds)]


def draw(known: Sequence[dict], count: int, seed: int) -> list[Example]:
    """Draw `count` training pairs by seed, balanced over the next steps; a smaller draw is the
    start of a larger one.

    Raises `DataError` when there are not so many.
    """
    train_rows = pairs(known, "train")
    if not 0 <= count <= len(train_rows):
        raise DataError(f"There are {len(train_rows)} training pairs; {count} cannot be drawn.")
    replies = {row["ticket"]: row["reply"] for row in train_rows}
    tickets = [Example(row["ticket"], row["step"]) for row in train_rows]
    drawn = balanced_order(tickets, list(STEPS), seed)[:count]
    return [Example(one.text, replies[one.text]) for one in drawn]


def marks(row: dict, written: str) -> dict[str, bool]:
    """What a written reply to the ticket `row` keeps, for each of `CHECKS`.

    A fact that the ticket does not give counts as kept. The step fits when the sentence after
    "Next step:" holds the word for this ticket and none of the others.
    """
    name, order, item = (row[fact] for fact in FACTS)
    greeting = f"Hello {name}," if name else "Hello,"
    numbers = set(re.findall(r"\d{4,}", written))
    _, _, after = written.partition("Next step:")
    named = {word for word in STEPS if re.search(rf"\b{word}\b", after, re.I)}
    found = (
        written.startswith(greeting),
        numbers == ({order} if order else set())
        and (f"order {order}" in written.lower() or not order),
        written.count("Next step:") == 1,
        not re.search(r"!|\bsorry\b|apolog", written, re.I),
        len(written.split()) <= MOST_WORDS,
        written.endswith(SIGN_OFF),
        bool(re.search(rf"\b{name}\b", written)),
        order in written,
        item.lower() in written.lower(),
        bool(after) and named == ({row["step"]} - {""}),
    )
    return dict(zip(CHECKS, found, strict=True))


def repeats(ticket: str, written: str, run: int = 5) -> bool:
    """Whether a reply holds so many words of its ticket in a row, in any case of letters."""
    words, told = ticket.lower().split(), f" {' '.join(written.lower().split())} "
    starts = range(len(words) - run + 1)
    return any(f" {' '.join(words[i : i + run])} " in told for i in starts)


def prompts(
    lm: LanguageModel, tickets: Sequence[str], shown: Sequence[Example] = (), rules: bool = False
) -> list[str]:
    """What the model reads for each ticket: `shown` pairs, then the ticket.

    With `rules` the instruction stands first, in the model's own chat form where it has one: on
    training rows it wrote empty replies to the plain form.
    """
    task = replace(TASK, instruction=instruction() if rules else "")
    style = chat(lm.tokenizer) if rules and lm.tokenizer.chat_template else plain
    return [style(task, shown, ticket) for ticket in tickets]


def write(
    lm: LanguageModel, tickets: Sequence[str], shown: Sequence[Example] = (), rules: bool = False
) -> list[str]:
    """The reply that the model writes to each ticket, in one line; the rest is as in `prompts`."""
    asked = prompts(lm, tickets, shown, rules)
    return generate(lm, asked, REPLY_TOKENS, budget=ROW_TOKENS)


def teach(lm: LanguageModel, drawn: Sequence[Example], passes: int, seed: int) -> Tuned:
    """Write pairs into a new adapter.

    Raises `KeyboardInterrupt` when a person ends it, because half a training is no result.
    """
    usual = {"lr": RATES["lora"], "rank": RECIPE["rank"], "seed": seed}
    tuned = tune(lm, TASK, drawn, "lora", passes, BATCH, **usual)
    if tuned.interrupted:
        raise KeyboardInterrupt
    return tuned


def measure(lm: LanguageModel, known: Sequence[dict], method: str, seed: int) -> list[dict]:
    """Teach one draw by a method of `METHODS` and let it answer every held-out ticket; a row each.

    `right` has a 1 or 0 for each of `CHECKS`. `teach` are the processor seconds of training, `ask`
    those of one reply on average, and `tokens` the length of the prompt.
    """
    shots, trained = METHODS[method]
    shown, rules = draw(known, shots, seed), method == "rules"
    taught, spent = lm, 0.0
    if trained:
        drawn = draw(known, trained, seed)
        tuned, _, spent = clock(lambda: teach(lm, drawn, PASSES[trained], seed))
        taught = tuned.lm
    asked = pairs(known, "held_out")
    tickets = [row["ticket"] for row in asked]
    replies, _, ask = clock(lambda: write(taught, tickets, shown, rules))
    read = [count_tokens(lm.tokenizer, one) for one in prompts(lm, tickets, shown, rules)]
    return [
        {"id": row["id"], "kind": row["kind"], "right": bits(marks(row, said).values())}
        | {"teach": spent, "ask": ask / len(asked), "tokens": tokens, "written": said}
        for row, said, tokens in zip(asked, replies, read, strict=True)
    ]


def kept(
    results: pd.DataFrame, method: str, checks: Sequence[str], kinds: Sequence[str] = ("ordinary",)
) -> np.ndarray:
    """What the stored replies of a method keep, as a boolean array [draws, tickets, checks].

    Raises `DataError` when the results hold nothing of the method.
    """
    rows = results[(results["method"] == method) & results["kind"].isin(kinds)]
    if rows.empty:
        raise DataError(f"These results hold nothing of {method!r}.")
    rows = rows.sort_values(["draw", "id"])
    found = unpacked(rows["right"]).reshape(rows["draw"].nunique(), -1, len(CHECKS))
    return found[:, :, [CHECKS.index(check) for check in checks]]


def table(results: pd.DataFrame) -> pd.DataFrame:
    """A row for each method: shares of ordinary replies with their intervals, and mean costs.

    `hostile or odd` is the share of such tickets whose reply keeps all rules, `worst` the share of
    ordinary ones in the worst draw. Seconds are a processor's.
    """
    found = {}
    for method, rows in results.groupby("method", sort=False):
        style = kept(results, method, list(RULES)).all(2)
        hard = kept(results, method, list(RULES), ("hostile", "odd")).all(2)
        facts = kept(results, method, FACTS).all(2)
        step = kept(results, method, ["step"])[:, :, 0]
        shares = {"all rules": style, "facts": facts, "step fits": step, "hostile or odd": hard}
        told = {
            name: "{:.2f} ({:.2f} to {:.2f})".format(*interval(x)) for name, x in shares.items()
        }
        told |= {"worst": f"{style.mean(1).min():.2f}", "draws": len(style)}
        told |= {
            "teach (s)": round(rows["teach"].mean()),
            "reply (s)": round(rows["ask"].mean(), 2),
        }
        found[method] = told | {"prompt tokens": round(rows["tokens"].mean())}
    return pd.DataFrame(found).T


def replies_plan(lm: LanguageModel, draws: int) -> Plan:
    """Every method on every draw: what is not taught once, what takes 64 pairs on few draws."""
    known = load("support_replies")
    cells = [{"draw": 0, "method": method} for method in ("untaught", "rules")]
    for sizes, count in (((8,), draws), ((64,), min(draws, FEW_DRAWS))):
        for d in range(count):
            names = [name for name, uses in METHODS.items() if max(uses) in sizes]
            cells += [{"draw": d, "method": name} for name in names]
    settings = {"rate": RATES["lora"], "rank": RECIPE["rank"], "batch": BATCH}
    settings |= {"passes": {str(n): passes for n, passes in PASSES.items()}}
    settings |= {"reply_tokens": REPLY_TOKENS, "template": TASK.template, "told": instruction()}
    data = digest(*known)
    settled = {"task": "replies", "questions": len(CHECKS), "data": data, "settings": settings}

    def work(draw: int, method: str) -> list[dict]:
        return measure(lm, known, method, draw)

    return Plan(cells, work, settled, ["draw", "teach", "ask", "tokens"])


PLANS = {"replies": replies_plan}

if __name__ == "__main__":
    sys.exit(main("replies", PLANS))

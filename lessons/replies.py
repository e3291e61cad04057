"""Replies of a support desk: written in a house style, taught in the prompt or in the weights.

The style is a few rules that a program can check, so a written reply is scored without a judge:
which rules it keeps, whether the ticket's own facts stand in it, and whether its next step is the
one that this shop takes in such a case.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from helpers.compare import bits, right, where
from helpers.cost import Clock
from helpers.data import DataError, Example, Task, balanced_order, load_rows
from helpers.model import LanguageModel
from helpers.prompts import count_tokens
from helpers.study import Study, digest
from helpers.teaching import LORA, Way, ask, teach

TEMPLATE = "Ticket: {text}\nReply: {label}\n\n"
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

# Every stored reply to a hostile ticket was read for this course, once: these (by way, draws) must
# not be sent. They put an address online, threaten with one, call the customer something, or hand
# out the two hundred pounds. Who makes the replies anew has to read them anew.
HELD = {
    ("online", "reply-118"): {
        "weights, 8": (0, 1, 2, 3, 4, 7, 8),
        "prompt, 64": (0, 1, 2),
        "weights, 64": (0, 1),
    },
    ("threat", "reply-118"): {"weights, 8": (9,), "weights, 64": (2,)},
    ("insult", "reply-117"): {
        "prompt, 8": (6, 8),
        "weights, 8": (2,),
        "prompt, 64": (0,),
        "weights, 64": (1,),
    },
    ("insult", "reply-121"): {"prompt, 8": (0, 1, 2, 4, 6, 7, 8, 9), "prompt, 64": (0, 1, 2)},
    ("insult", "reply-123"): {"prompt, 8": (4, 6), "prompt, 64": (0,)},
    ("money", "reply-116"): {"weights, 8": (2, 4, 7, 8)},
}

FEW_DRAWS = 3  # of what takes 64 pairs
REPLY_TOKENS = 56  # the shop's longest reply has 50


def instruction() -> str:
    """The rules and the next steps, written out as they are printed for a person."""
    rules = "".join(f"- {rule}\n" for rule in RULES.values())
    steps = "".join(f"- {word}: {case}\n" for word, case in STEPS.items())
    return (
        f"Answer each ticket to the shop Wrenfold in one line. Keep these rules:\n{rules}"
        f"The next step holds one of these words, by what the ticket is about:\n{steps}\n"
    )


# By the training loss alone, on a draw that no result uses: with the course's usual batch of 8,
# eight pairs still cost 1.3 nats a token after 16 passes, with batches of 2 half a nat after 8.
SMALL_BATCHES = replace(LORA, batch=2)
# Rules stand in the chat form: on training rows the model wrote empty replies to the plain one.
WAYS = {
    way.label: way
    for way in (
        Way("untaught"),
        Way("rules", instruction=instruction(), in_turns=True),
        Way("prompt, 8", shown=8),
        Way("weights, 8", trained=8, passes=8, recipe=SMALL_BATCHES),
        Way("prompt, 64", shown=64),
        Way("weights, 64", trained=64, passes=2, recipe=SMALL_BATCHES),
    )
}


@dataclass(frozen=True)
class Desk(Task):
    """Tickets with the replies that were wanted; an answer is told by the rules that it keeps."""

    tickets: Mapping[str, dict] = field(default_factory=dict)

    def draw(self, shots: int, seed: int) -> list[Example]:
        """Draw training pairs by seed, balanced over the next steps; a smaller draw is the start of
        a larger one.

        Raises `DataError` when there are not so many.
        """
        if not 0 <= shots <= len(self.train):
            raise DataError(f"There are {len(self.train)} training pairs; {shots} cannot be drawn.")
        by_step = [Example(pair.text, self.tickets[pair.text]["step"]) for pair in self.train]
        drawn = balanced_order(by_step, list(STEPS), seed)[:shots]
        return [Example(pair.text, self.tickets[pair.text]["reply"]) for pair in drawn]

    def marks(self, example: Example, said: str) -> dict[str, bool]:
        """What a written reply keeps: see `marks`."""
        return marks(self.tickets[example.text], said)


def load_desk() -> Desk:
    """The pairs of `data/support_replies.jsonl`; held out are tickets of all kinds."""
    rows = load_rows("support_replies")
    splits = [
        tuple(Example(row["ticket"], row["reply"]) for row in rows if row["split"] == split)
        for split in ("train", "held_out")
    ]
    return Desk("replies", TEMPLATE, *splits, tickets={row["ticket"]: row for row in rows})


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
    kept = (
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
    return dict(zip(CHECKS, kept, strict=True))


def measure(lm: LanguageModel, desk: Desk, way: Way, seed: int) -> list[dict]:
    """Teach one draw in a way and let it answer every held-out ticket; a row each.

    `right` has a 1 or 0 for each of `CHECKS`. `teach` are the processor seconds of training, `ask`
    those of one reply on average, and `tokens` the length of the prompt.
    """
    taught = teach(lm, desk, way, seed)
    tickets = [pair.text for pair in desk.held_out]
    with Clock() as clock:
        replies = ask(taught, tickets, REPLY_TOKENS)
    rows = []
    for pair, said in zip(desk.held_out, replies, strict=True):
        prompt = taught.style(taught.task, taught.demonstrations, pair.text)
        ticket, kept = desk.tickets[pair.text], list(desk.marks(pair, said).values())
        checked = {"measure": "checks", "right": bits(kept), "value": float(np.mean(kept))}
        spent = {"teach": taught.processor, "ask": clock.processor / len(tickets)}
        spent |= {"tokens": count_tokens(lm.tokenizer, prompt), "written": said}
        rows.append({"id": ticket["id"], "kind": ticket["kind"]} | checked | spent)
    return rows


def kept(
    results: pd.DataFrame, way: str, checks: Sequence[str], kinds: Sequence[str] = ("ordinary",)
) -> np.ndarray:
    """What the stored replies of a way keep, as a boolean array [draws, tickets, checks].

    Raises `DataError` when the results hold nothing of the way.
    """
    rows = right(results.sort_values(["draw", "id"]), way=way, kind=list(kinds))
    rows = rows.reshape(len(rows), -1, len(CHECKS))
    return rows[:, :, [CHECKS.index(check) for check in checks]]


def hostile(results: pd.DataFrame) -> pd.DataFrame:
    """The taught replies to hostile tickets: `why` says why one must not be sent, or is empty."""
    tickets = {row["id"]: row["ticket"] for row in load_rows("support_replies")}
    taught = [way.label for way in WAYS.values() if way.shown or way.trained]
    rows = where(results, kind="hostile", way=taught)
    why = {
        (id, way, draw): reason
        for (reason, id), by_way in HELD.items()
        for way, draws in by_way.items()
        for draw in draws
    }
    keys = zip(rows["id"], rows["way"], rows["draw"], strict=True)
    return rows.assign(ticket=rows["id"].map(tickets), why=[why.get(key, "") for key in keys])


def replies_study(lm: LanguageModel, draws: int) -> Study:
    """Every way on every draw: what is not taught once, what takes 64 pairs on few draws."""
    desk = load_desk()
    cells = [{"draw": 0, "way": way} for way in ("untaught", "rules")]
    for size, count in ((8, draws), (64, min(draws, FEW_DRAWS))):
        names = [way.label for way in WAYS.values() if max(way.shown, way.trained) == size]
        cells += [{"draw": d, "way": name} for d in range(count) for name in names]
    settings = {"rate": LORA.rate, "rank": LORA.rank, "batch": SMALL_BATCHES.batch}
    trained = {str(way.trained): way.passes for way in WAYS.values() if way.trained}
    settings |= {"passes": trained, "reply_tokens": REPLY_TOKENS, "template": TEMPLATE}
    settings |= {"told": instruction()}
    data = digest(*load_rows("support_replies"))
    settled = {"task": "replies", "questions": len(CHECKS), "data": data, "settings": settings}

    def work(draw: int, way: str) -> list[dict]:
        return measure(lm, desk, WAYS[way], draw)

    return Study("replies", cells, work, settled, ["draw", "teach", "ask", "tokens"])

"""Every way taught and asked, the quick ones first, within a time.

In the first round each way learns all rows but the questions, and is asked until its share of the
time is over. Then whatever time is left goes to the way that has answered least, so that intervals
become narrower; where a round's questions are used up, the next round teaches anew.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from helpers.compare import interval
from helpers.data import texts
from helpers.default_model import first_line
from helpers.model import LanguageModel
from own_data.classifiers import learn_counts, learn_majority, learn_probe, quality
from own_data.clock import Clock
from own_data.kept import PLACE, load_way
from own_data.prompted import choose_prompt, prompt_again
from own_data.reading import OwnData, Round
from own_data.record import Record
from own_data.training import train


class Way(NamedTuple):
    """One way, and the shares of the time at which its teaching and its first asking end.

    `quick` ways learn and answer in seconds, whatever the time.
    """

    name: str
    title: str
    taught_by: float = 0.0
    asked_by: float = 0.0
    quick: bool = False


WAYS = (  # in the order in which they are tried; the simpler come first
    Way("majority", "always the most frequent label", quick=True),
    Way("words", "word counts (TF-IDF)", quick=True),
    Way("characters", "counts of word pieces (TF-IDF)", quick=True),
    Way("zero-shot", "asking without examples", 0.06, 0.12),
    Way("prompt", "examples in the prompt", 0.22, 0.38),
    Way("probe", "a classifier on the model's states", 0.46, 0.52),
    Way("lora", "fine-tuning (LoRA)", 0.86, 0.95),
)
TITLES = {way.name: way.title for way in WAYS}
COUNTS = {"words": "tfidf", "characters": "characters"}
LEAST = 0.02  # share of the time: with less, nothing is begun
LEARNING, ASKING = 0.3, 0.1  # of the time that is left: so much a way gets if it comes late


class Comparing:
    """A comparison at work: the model, the data whole and cut, what is known, and the time."""

    def __init__(
        self, lm: LanguageModel, whole: OwnData, short: OwnData, record: Record, clock: Clock
    ):
        self.lm, self.whole, self.short = lm, whole, short
        self.record, self.clock = record, clock
        self.taught: dict[tuple[str, int], object] = {}
        self.place = record.path.parent / PLACE

    def carry_out(self) -> None:
        """Teach and ask every way as long as there is time; a failure ends one way only."""
        for way in WAYS:
            if self.clock.left() > 0 or not self.record.way(way.name)["answers"]:
                self._attempt(way, 0, way.asked_by)
            if way.name in COUNTS and not self.record.way(way.name)["failed"]:
                self._learn_half(way)
            for number in range(1, self.whole.rounds):
                if way.quick and self._is_short(way):
                    self._attempt(way, number)
            self._say(way)
        while way := self._next():
            self._attempt(way, self._unfinished(way))

    def _is_short(self, way: Way) -> bool:
        """Whether a round of a quick way takes next to nothing of the time that is left."""
        known = self.record.way(way.name)["taught"].get("0", {"seconds": 0.0})
        return known["seconds"] < LEAST / 2 * self.clock.left()

    def _next(self) -> Way | None:
        """The way with the fewest answers that can go on in the time that is left."""
        able = [way for way in WAYS if self._can_go_on(way)]
        return min(able, key=lambda way: len(self.record.answers(way.name)), default=None)

    def _can_go_on(self, way: Way) -> bool:
        known, number = self.record.way(way.name), self._unfinished(way)
        if known["failed"] or number is None or self.clock.left() < LEAST * self.clock.seconds:
            return False
        if (way.name, number) in self.taught or way.name in ("zero-shot", "prompt"):
            return True
        return self.clock.left() > 1.5 * known["taught"]["0"]["seconds"]

    def _unfinished(self, way: Way) -> int | None:
        answered = self.record.answers(way.name)
        rounds = range(self.whole.rounds)
        return next((n for n in rounds if set(self.whole.asked(n)) - set(answered)), None)

    def _attempt(self, way: Way, number: int, share: float = 0.0) -> None:
        """Teach a way in a round and ask it, block by block, until a share of the time is over.

        Where it is over already, some of what is left is taken; without a share, one block is all.
        """
        known = self.record.way(way.name)
        missing = [i for i in self.whole.asked(number) if str(i) not in known["answers"]]
        if known["failed"] or not missing:
            return
        try:
            if (way.name, number) not in self.taught:
                self.taught[way.name, number] = self._teach(way, number)
            until = self.clock.now() + ASKING * self.clock.left() if share else 0.0
            until = max(until, self.clock.at(share))
            self._ask(way, self.taught[way.name, number], missing, until)
        except Exception as error:  # whatever it is, the other ways go on
            known["failed"] = f"{first_line(error) or type(error).__name__}"
            self.record.write()

    def _ask(self, way: Way, taught, missing: list[int], until: float) -> None:
        rows = (self.whole if way.quick else self.short).rows
        for start in range(0, len(missing), taught.at_once):
            block = missing[start : start + taught.at_once]
            self.clock.tell(f"{way.title}: {len(missing) - start} questions left")
            began = self.clock.now()
            log_p = taught.log_p([rows[i].text for i in block])
            self.record.seconds = self.clock.now()
            self.record.add(way.name, block, log_p, self.clock.now() - began)
            if self.clock.now() > until and not way.quick:
                break

    def _teach(self, way: Way, number: int):
        """What a way learns in a round. The first round's is kept in the folder, and read there."""
        known, began, folder = self.record.way(way.name), self.clock.now(), self.place / way.name
        if number == 0 and "0" in known["taught"] and way.name != "majority":
            return load_way(folder, self.lm)
        self.clock.tell(f"{way.title}: learns")
        given = (self.whole if way.quick else self.short).round(number)
        until = max(self.clock.at(way.taught_by), began + LEARNING * self.clock.left())
        taught, note = self._learn(way.name, given, until, known["taught"].get("0", {}))
        if number == 0 and way.name != "majority":
            taught.save(folder)
        known["taught"][str(number)] = {
            "setting": taught.setting,
            "seconds": round(self.clock.now() - began, 2),
            "note": note,
            "shift": np.atleast_1d(getattr(taught, "shift", 0.0)).tolist(),
            "tokens": round(getattr(taught, "tokens", 0.0), 1),
            "passes": round(getattr(taught, "passes", 0.0), 2),
        }
        self.record.seconds = self.clock.now()
        self.record.write()
        return taught

    def _learn(self, name: str, given: Round, until: float, before: dict) -> tuple[object, str]:
        """What a way learns until a time, and why no more; with the settings of `before`."""
        lm, clock, setting = self.lm, self.clock, before.get("setting", "")
        if name == "majority":
            return learn_majority(given.task), ""
        if name in ("words", "characters"):
            return learn_counts(given, COUNTS[name], setting), ""
        if name == "probe":
            return learn_probe(lm, given, clock, until)
        if name == "lora":
            return train(lm, given, clock, until)
        shown = name == "prompt"
        if before:
            return prompt_again(lm, given, shown, setting, np.array(before["shift"])), ""
        return choose_prompt(lm, given, shown, clock, until), ""

    def _learn_half(self, way: Way) -> None:
        """How the first round is answered after learning half of the rows, and all of them."""
        known, (task, dev) = self.record.way(way.name), self.whole.round(0)
        if "growth" in known:
            return
        half = Round(replace(task, train=task.train[::2]), dev[::2])
        shares = []
        for given in (half, Round(task, dev)):
            taught = learn_counts(given, COUNTS[way.name], known["taught"]["0"]["setting"])
            shares.append(quality(taught.log_p(texts(task.held_out)), task.held_out, task.labels))
        known["growth"] = [round(share, 4) for share, _ in shares]
        self.record.write()

    def _say(self, way: Way) -> None:
        """A line on what a way did so far."""
        known, answers = self.record.way(way.name), self.record.answers(way.name)
        if known["failed"]:
            self.clock.line(f"{way.title}: did not work ({known['failed']})")
            return
        labels, rows = self.whole.labels, self.whole.rows
        right = [labels[said] == rows[i].label for i, (said, _) in answers.items()]
        if not right:
            return
        share = interval(np.array(right))
        self.clock.line(f"{way.title}: right in {share} of {len(right)} questions")

"""Every way taught and asked, the quick ones first, within a time.

In the first round each way learns all rows but the questions, and is asked for its share of the
time. Then whatever time is left goes to the way that has answered least, so that intervals
become narrower; where a round's questions are used up, the next round teaches anew. Time that is
left when all is asked goes to learning curves, which quick ways have drawn before.
"""

import numpy as np

from helpers.compare import interval
from helpers.data import texts
from helpers.default_model import first_line
from helpers.model import LanguageModel
from own_data.clock import Clock
from own_data.curve import part_of, questions, steps
from own_data.kept import PLACE, load_way
from own_data.labels import Row
from own_data.reading import OwnData
from own_data.record import Record
from own_data.ways import UNTAUGHT, WAYS, Way, learn

LEAST = 0.02  # share of the time: with less, nothing is begun


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
                self._attempt(way, 0, way.asking)
            for number in range(1, self.whole.rounds):
                if way.quick and self._is_short(way):
                    self._attempt(way, number)
            if way.quick:
                self._draw_curves((way,))
            self._say(way)
        while way := self._next():
            self._attempt(way, self._unfinished(way))
        self._draw_curves(WAYS)

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
        """Teach a way in a round and ask it, block by block, for a share of the time that is left.

        Without a share, or without time, one block is all.
        """
        known = self.record.way(way.name)
        missing = [i for i in self.whole.asked(number) if str(i) not in known["answers"]]
        if known["failed"] or not missing:
            return
        try:
            if (way.name, number) not in self.taught:
                self.taught[way.name, number] = self._teach(way, number)
            until = self.clock.now() + share * self.clock.left()
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
            self._count_candidates(way.name, taught, [rows[i] for i in block])
            self.record.add(way.name, block, log_p, self.clock.now() - began)
            if self.clock.now() > until and not way.quick:
                break

    def _count_candidates(self, name: str, taught, asked: list[Row]) -> None:
        """How often the right label is scored at all, where only some labels are."""
        if getattr(taught, "pool", ()):
            among = [row.label in taught.candidates(row.text) for row in asked]
            known = self.record.way(name)
            known["among"] = known.get("among", 0) + sum(among)

    def _teach(self, way: Way, number: int):
        """What a way learns in a round. The first round's is kept in the folder, and read there."""
        known, began, folder = self.record.way(way.name), self.clock.now(), self.place / way.name
        if number == 0 and "0" in known["taught"] and way.name != "majority":
            return load_way(folder, self.lm)
        self.clock.tell(f"{way.title}: learns")
        given = (self.whole if way.quick else self.short).round(number)
        until = began + way.learning * self.clock.left()
        before = known["taught"].get("0", {})
        taught, note = learn(self.lm, way.name, given, self.clock, until, before)
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

    def _draw_curves(self, ways: tuple[Way, ...]) -> None:
        """Measure how ways grow with the labelled rows, as far as the time goes."""
        for rows in steps(self.whole):
            for way in ways:
                if self._has_time_for_a_point(way):
                    self._add_point(way, rows)

    def _has_time_for_a_point(self, way: Way) -> bool:
        """Whether a way may be taught and asked once more; never one whose teaching was cut short,
        or that learns from no rows."""
        known = self.record.way(way.name)
        taught, answers = known["taught"].get("0"), known["answers"]
        if way.name in UNTAUGHT or known["failed"] or not answers or taught["note"]:
            return False
        asking = known["asking"] / len(answers) * len(questions(self.whole))
        return self.clock.left() > taught["seconds"] + asking

    def _add_point(self, way: Way, rows: int) -> None:
        """Teach a way so many labelled rows, and keep which questions it then answers rightly."""
        known, own = self.record.way(way.name), self.whole if way.quick else self.short
        if str(rows) in known.setdefault("curve", {}):
            return
        self.clock.tell(f"{way.title}: learns {rows} rows")
        given, asked = part_of(own.round(0), rows), [own.rows[i] for i in questions(own)]
        until = self.clock.now() + self.clock.left() / 2
        try:
            taught, note = learn(self.lm, way.name, given, self.clock, until, known["taught"]["0"])
            blocks = range(0, len(asked), taught.at_once)
            log_ps = [taught.log_p(texts(asked[i : i + taught.at_once])) for i in blocks]
        except Exception as error:  # a point fewer; what was measured stays
            self.clock.line(f"{way.title} from {rows} rows: did not work ({first_line(error)})")
            return
        if not note:
            said = np.concatenate(log_ps).argmax(1)
            right = [own.labels[k] == row.label for k, row in zip(said, asked, strict=True)]
            known["curve"][str(rows)] = [int(one) for one in right]
        self.record.seconds = self.clock.now()
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

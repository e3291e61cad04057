"""A clinic's notes, turned into letters: what a code means, and how each doctor writes.

A note names a patient, one of the clinic's own codes, and what the patient is to do. The letter
says in plain words what the code stands for: that is the domain, which no model can know. How the
letter is written is a doctor's own: opening, wording, order, marks, capitals and sign-off. Every
doctor is a combination of such features. Those of the test are new combinations, with openings,
sign-offs and names that no training example has.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from helpers.data import Example, Task, load_rows
from helpers.model import LanguageModel
from helpers.prompts import plain
from helpers.scoring import generate

TEMPLATE = "{text} => {label}\n"
TASK = Task("clinic", TEMPLATE, (), ())
ORDERS = ("finding first", "plan first")
CASES = ("as usual", "small letters", "name in capitals")
OWN = ("opening", "ending", "doctor")  # features whose values in the test are never trained on
MEASURES = ("codes", "style", "both")
PROMPTS = (
    "nothing",
    "demonstrations",
    "codebook and demonstrations",
    "a letter for every code",
)
DOCTORS, NOTES, SHOTS = 2, 5, 3  # in a draw, to write up for each, and letters shown of each
ROWS = 192  # doctors to train on, each with a row of letters
LETTER_TOKENS = 40  # room for a written letter


class Note(NamedTuple):
    """What a doctor noted: patient, code, and what the patient is to do."""

    patient: str
    code: str
    plan: str

    def __str__(self) -> str:
        return f"{self.patient}, {self.plan}, {self.code}"


class Clinic(NamedTuple):
    """The codes with their plain words, the notes of each split, and by feature its values."""

    codes: dict[str, str]
    notes: dict[str, list[Note]]
    styles: dict[str, dict[str, list[str]]]


class Visit(NamedTuple):
    """A doctor, the letters by which the model gets to know the style, and the notes to write up.

    No demonstration shows a code that is asked for, so the codes cannot be read off the prompt;
    `every_code` holds a letter of this doctor for each of the codes, so there they can.
    """

    doctor: dict[str, str]
    demonstrations: list[Example]
    every_code: list[Example]
    notes: list[Note]


HOUSE = {
    "opening": "Dear {name},",
    "finding": "you have {finding}",
    "order": "finding first",
    "mark": ";",
    "case": "as usual",
    "ending": "{doctor}",
    "doctor": "The clinic",
}


@lru_cache
def load() -> Clinic:
    """The contents of `data/clinic_notes.jsonl`."""
    clinic = Clinic({}, {}, {})
    for row in load_rows("clinic_notes"):
        if row["kind"] == "code":
            clinic.codes[row["code"]] = row["phrase"]
        elif row["kind"] == "note":
            note = Note(row["patient"], row["code"], row["plan"])
            clinic.notes.setdefault(row["split"], []).append(note)
        else:
            by_split = clinic.styles.setdefault(row["feature"], {})
            by_split.setdefault(row["split"], []).append(row["value"])
    return clinic


def codebook() -> str:
    """All codes and what they stand for, as the head of a prompt."""
    return "".join(f"{code} => {phrase}\n" for code, phrase in load().codes.items())


def invent(split: str, rng: np.random.Generator) -> dict[str, str]:
    """A doctor: a value for each feature, from those that a split may use.

    Outside "train", the features of `OWN` take values of their own, the others old or new ones.
    """
    doctor = {}
    for feature, values in load().styles.items():
        allowed = values[split] + (values["train"] if feature not in OWN else [])
        doctor[feature] = str(rng.choice(values["train"] if split == "train" else allowed))
    return doctor | {"order": str(rng.choice(ORDERS)), "case": str(rng.choice(CASES))}


def write(doctor: dict[str, str], note: Note, finding: str = "") -> str:
    """The letter that this doctor writes for a note; `finding` replaces the code's plain words."""
    name = note.patient.upper() if doctor["case"] == "name in capitals" else note.patient
    said = doctor["finding"].format(finding=finding or load().codes[note.code])
    parts = (said, note.plan) if doctor["order"] == ORDERS[0] else (note.plan, said)
    ending = doctor["ending"].format(doctor=doctor["doctor"])
    letter = f"{doctor['opening'].format(name=name)} {(doctor['mark'] + ' ').join(parts)}. {ending}"
    return letter.lower() if doctor["case"] == "small letters" else letter


def example(doctor: dict[str, str], note: Note) -> Example:
    """A note with this doctor's letter."""
    return Example(str(note), write(doctor, note))


def codes_right(code: str, letter: str) -> bool:
    """Whether the letter has the plain words of this code and of no other."""
    named = {name for name, phrase in load().codes.items() if phrase in letter.lower()}
    return named == {code}


def style_right(doctor: dict[str, str], note: Note, letter: str) -> bool:
    """Whether the letter is what this doctor would have written, whatever finding it names."""
    small = doctor["case"] == "small letters" and letter != letter.lower()
    pattern = re.escape(write(doctor, note, "\0")).replace(re.escape("\0"), ".{2,40}")
    return not small and re.fullmatch(pattern, letter) is not None


def rules(doctor: dict[str, str], note: Note, letter: str) -> dict[str, bool]:
    """Each rule of a letter and whether it was kept: those of the style, then the code."""
    name = note.patient.upper() if doctor["case"] == "name in capitals" else note.patient
    said, small = letter.lower(), doctor["case"] == "small letters"
    wording, plan = doctor["finding"].format(finding="").lower(), note.plan.lower()
    places = said.find(wording), said.find(plan)
    joined = (f"{doctor['mark']} {plan}", f"{plan}{doctor['mark']} ")
    return {
        "opening": said.startswith(doctor["opening"].format(name=name).lower()),
        "wording": wording in said,
        "order": min(places) >= 0 and (places[0] < places[1]) == (doctor["order"] == ORDERS[0]),
        "mark": joined[doctor["order"] != ORDERS[0]] in said,
        "capitals": letter == said if small else name in letter,
        "sign-off": said.endswith(doctor["ending"].format(doctor=doctor["doctor"]).lower()),
        "plan": plan in said,
        "code": codes_right(note.code, letter),
    }


def letters_right(visits: Sequence[Visit], letters: Sequence[str]) -> dict[str, list[bool]]:
    """For each of `MEASURES`, whether each letter is right; the letters stand as in `asked`."""
    pairs = list(zip(asked(visits), letters, strict=True))
    codes = [codes_right(note.code, letter) for (_, note), letter in pairs]
    style = [style_right(doctor, note, letter) for (doctor, note), letter in pairs]
    both = [c and s for c, s in zip(codes, style, strict=True)]
    return dict(zip(MEASURES, (codes, style, both), strict=True))


def asked(visits: Sequence[Visit]) -> list[tuple[dict[str, str], Note]]:
    """Doctor and note of each letter to be written."""
    return [(visit.doctor, note) for visit in visits for note in visit.notes]


def draw(seed: int, split: str = "test") -> list[Visit]:
    """Draw `DOCTORS` doctors by seed, `NOTES` notes for each to write up, and demonstrations."""
    rng = np.random.default_rng(seed)
    known = load().notes[split]
    visits = []
    for _ in range(DOCTORS):
        doctor = invent(split, rng)
        order = [known[i] for i in rng.permutation(len(known))]
        notes, others = order[:NOTES], order[NOTES:]
        by_code = {note.code: note for note in others}  # one of each code
        unasked = [note for code, note in by_code.items() if code not in {n.code for n in notes}]
        few, every = ([example(doctor, n) for n in notes] for notes in (unasked, by_code.values()))
        visits.append(Visit(doctor, few[:SHOTS], every, notes))
    return visits


def write_letters(lm: LanguageModel, visits: Sequence[Visit], prompt: str) -> list[str]:
    """The letters that the model writes behind one of `PROMPTS`, in the order of `asked`."""
    task = replace(TASK, instruction=codebook() if "codebook" in prompt else "")
    written = []
    for visit in visits:
        shown = visit.demonstrations if "demonstrations" in prompt else []
        shown = visit.every_code if "every code" in prompt else shown
        prompts = [plain(task, shown, str(note)) for note in visit.notes]
        written += generate(lm, prompts, LETTER_TOKENS)
    return written


# What is trained on


def house_letters() -> list[Example]:
    """Every training note with its letter in the clinic's own style."""
    return [example(HOUSE, note) for note in load().notes["train"]]


def by_doctor(seed: int) -> list[list[Example]]:
    """Letters of `ROWS` invented doctors, `SHOTS` + 1 each."""
    known, rng, rows = load().notes["train"], np.random.default_rng(seed), []
    for _ in range(ROWS):
        doctor = invent("train", rng)
        picked = rng.choice(len(known), SHOTS + 1, replace=False)
        rows.append([example(doctor, known[i]) for i in picked])
    return rows


def in_one_row(written: Sequence[Example]) -> Example:
    """A doctor's letters one after the other, as in a prompt; all but the first note is learned."""
    row = plain(TASK, written[:-1], written[-1].text, written[-1].label)
    first, arrow = written[0].text, TASK.template.partition("{label}")[0].removeprefix("{text}")
    return Example(first, row.removeprefix(first + arrow))


# What stored letters keep


def rules_kept(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Which rules stored letters keep: by rule, a boolean array [rows, letters].

    `rows` are those of a result that hold letters; where they name a doctor, "own" is the first of
    the draw and "other" the second.
    """
    marks = []
    for row in rows[rows["measure"] == "both"].sort_values("draw").to_dict("records"):
        visits = draw(row["draw"])
        visits = [visits[row["doctor"] == "other"]] if "doctor" in row else visits
        pairs = zip(asked(visits), json.loads(row["said"]), strict=True)
        marks.append([rules(doctor, note, letter) for (doctor, note), letter in pairs])
    return {
        rule: np.array([[kept[rule] for kept in letters] for letters in marks])
        for rule in marks[0][0]
    }

"""The clinic: letters are scored by their rules, and no doctor of the test was trained on."""

import json
import re
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from test_data_files import told

from helpers import adapters, finetune, teaching
from helpers.compare import read, right
from helpers.data import Example
from helpers.finetune import encode_examples
from helpers.model import ModelError
from helpers.prompts import plain
from helpers.study import carry_out
from lessons import codes, letters, matrices
from lessons import l08_clinic as clinic
from lessons.letters import CASES, HOUSE, ORDERS, OWN, Note, draw, load, write

pytestmark = pytest.mark.usefixtures("one_thread")
NOTE = Note("Ames", "B4", "warm drinks")
DOCTOR = {
    "opening": "Hello {name}:",
    "finding": "I found {finding}",
    "order": "plan first",
    "mark": " -",
    "case": "as usual",
    "ending": "({doctor})",
    "doctor": "Holt",
}
LETTER = "Hello Ames: warm drinks - I found a dry cough. (Holt)"


@pytest.fixture
def quick(monkeypatch):
    """Trainings and letters of a few tokens; the codes are learned from eight notes."""
    for module in (clinic, letters):  # one draws so many doctors, the other tells it
        monkeypatch.setattr(module, "ROWS", 4)
    monkeypatch.setattr(clinic, "UNLABELLED", 4)
    monkeypatch.setattr(clinic, "CHECKPOINTS", (0, 1, 2))
    monkeypatch.setattr(letters, "LETTER_TOKENS", 4)
    monkeypatch.setattr(codes, "SEEN", 8)
    eight = replace(codes.load_task(), train=codes.load_task().train[:8])
    monkeypatch.setattr(codes, "load_task", lambda: eight)
    monkeypatch.setattr(clinic, "house_letters", lambda: [letters.example(HOUSE, NOTE)] * 20)


# The data


def test_a_note_gives_its_code_away_neither_in_words_nor_twice():
    phrases, notes = load().codes.values(), [n for some in load().notes.values() for n in some]
    assert not any(code in note.plan for note in notes for code in load().codes)
    assert not any(a in b for a in phrases for b in phrases if a != b)
    assert not any(phrase in note.plan for note in notes for phrase in phrases)


def test_values_of_a_style_belong_to_one_split():
    for feature, by_split in load().styles.items():
        values = [value for some in by_split.values() for value in some]
        assert len(set(values)) == len(values), feature
        assert feature == "mark" or all("{" in v for v in values) == (feature != "doctor")


def test_doctors_of_the_test_open_and_end_as_none_in_training():
    trained, seen = load().styles, set()
    for seed in range(20):
        doctors = [visit.doctor for visit in draw(seed)]
        for doctor in doctors:
            assert all(doctor[feature] in trained[feature]["test"] for feature in OWN)
            assert not any(doctor[feature] in trained[feature]["dev"] for feature in doctor
                           if feature in trained)  # fmt: skip
        seen |= {tuple(doctor.values()) for doctor in doctors}
    assert len(seen) == 40
    rng = np.random.default_rng(0)
    learned = [letters.invent("train", rng) for _ in range(200)]
    assert all(d[feature] in trained[feature]["train"] for d in learned for feature in trained)
    assert {(d["order"], d["case"]) for d in learned} == {(o, c) for o in ORDERS for c in CASES}


def test_no_demonstration_shows_a_code_that_is_asked():
    for seed in range(10):
        for visit in draw(seed):
            told = {note.code for note in visit.notes}
            shown = [example.text for example in visit.demonstrations]
            assert len(shown) == letters.SHOTS and len(visit.notes) == letters.NOTES
            assert not {text.rsplit(", ")[-1] for text in shown} & told
            every = [example.text.rsplit(", ")[-1] for example in visit.every_code]
            assert sorted(every) == sorted(load().codes)
            assert not {str(n) for n in visit.notes} & {e.text for e in visit.every_code}
    assert draw(3) == draw(3) != draw(4)


# Letters and their rules


def test_a_letter_has_its_doctors_features():
    assert write(DOCTOR, NOTE) == LETTER
    assert write(HOUSE, NOTE) == "Dear Ames, you have a dry cough; warm drinks. The clinic"
    assert write(DOCTOR | {"case": "name in capitals"}, NOTE).startswith("Hello AMES: warm")
    small = DOCTOR | {"case": "small letters"}
    assert write(small, NOTE) == LETTER.lower()
    assert letters.style_right(small, NOTE, LETTER.lower())
    assert not letters.style_right(small, NOTE, LETTER.lower().replace("a dry", "A dry"))


BROKEN = {
    "opening": LETTER.replace("Hello", "Dear"),
    "wording": LETTER.replace("I found", "it is"),
    "order": "Hello Ames: I found a dry cough - warm drinks. (Holt)",
    "mark": LETTER.replace(" -", ";"),
    "capitals": LETTER.replace("Ames", "AMES"),
    "sign-off": LETTER.replace("(Holt)", "Holt"),
    "plan": LETTER.replace("warm", "cold"),
    "code": LETTER.replace("dry cough", "sore throat"),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_each_rule_sees_what_breaks_it(rule):
    assert all(letters.rules(DOCTOR, NOTE, LETTER).values())
    kept = letters.rules(DOCTOR, NOTE, BROKEN[rule])
    assert list(kept) == list(BROKEN) and not kept[rule]
    assert letters.style_right(DOCTOR, NOTE, BROKEN[rule]) == (rule == "code")


def test_all_rules_are_kept_by_every_doctors_own_letter():
    for seed in range(20):
        for doctor, note in letters.asked(draw(seed)):
            letter = write(doctor, note)
            assert all(letters.rules(doctor, note, letter).values()), (doctor, letter)
            assert letters.style_right(doctor, note, letter)


def test_codes_are_right_whatever_the_style_and_the_other_way_round():
    judged = [  # a letter, and whether its codes, its style and both are right
        (LETTER, True, True, True),
        (BROKEN["code"], False, True, False),
        (BROKEN["mark"], True, False, False),
        (LETTER.lower(), True, False, False),
        ("A DRY COUGH, nothing else", True, False, False),
        (LETTER.replace("a dry cough", "a dry cough and a stiff neck"), False, True, False),
        (LETTER.replace("a dry cough", "B4"), False, True, False),
        (LETTER.replace("a dry cough", ""), False, False, False),
    ]
    said, *right = map(list, zip(*judged, strict=True))
    visit = letters.Visit(DOCTOR, [], [], [NOTE] * len(said))
    assert letters.letters_right([visit], said) == dict(zip(letters.MEASURES, right, strict=True))


# What is trained on, and what stands in the prompt


def test_a_row_of_training_reads_like_a_prompt_and_counts_all_but_its_first_note(tiny):
    (own, *_) = doctors = clinic.by_doctor(0)
    row = clinic.in_one_row(own)
    assert len(doctors) == clinic.ROWS and {len(some) for some in doctors} == {letters.SHOTS + 1}
    assert plain(letters.TASK, [row], "X") == plain(letters.TASK, own, "X")
    (encoded,) = encode_examples(tiny, letters.TASK, [row])
    learned = tiny.tokenizer.decode(encoded.tokens[encoded.start :])
    assert learned.lstrip().startswith(own[0].label) and learned.endswith(own[-1].label + "\n")
    assert doctors == clinic.by_doctor(0) != clinic.by_doctor(1)


def test_the_house_style_is_one():
    written = [example.label for example in clinic.house_letters()]
    assert len(written) == 240
    assert all(w.startswith("Dear ") and w.endswith("The clinic") for w in written)


def test_each_prompt_shows_what_it_says(tiny, monkeypatch):
    asked = []
    monkeypatch.setattr(letters, "generate", lambda lm, prompts, n: asked.append(prompts) or [])
    (visit, _) = draw(0)
    for prompt in letters.PROMPTS:
        letters.write_letters(tiny, [visit], prompt)
    book = letters.codebook()
    nothing, few, both, every = (prompts[0] for prompts in asked)
    assert nothing == f"{visit.notes[0]} =>"
    assert few.endswith(nothing) and few.count("=>") == letters.SHOTS + 1
    assert both == book + few and book.count("\n") == 16
    assert every.count("=>") == 17 and every.endswith(nothing)


# Training and measuring


def test_trainings_begin_with_the_codes_and_take_as_many_letters(tiny, quick, monkeypatch):
    began, taken = [], {}
    first, go_on = clinic.teach, clinic.go_on

    def teach(lm, task, way, seed, examples):
        began.append((seed, len(examples), way.recipe))
        return first(lm, task, way, seed, examples)

    def then(lm, examples, batch, seed):
        taken[kind] = [e.label for e in examples], batch
        return go_on(lm, examples, batch, seed)

    monkeypatch.setattr(clinic, "teach", teach)
    monkeypatch.setattr(clinic, "go_on", then)
    for kind in ("house style", "many styles", "many styles, shown"):
        moved = matrices.change(clinic.train(tiny, kind, 5), tiny)["relative"]
        assert moved.max() > 0
    assert began == [(5, 8, codes.CODES)]  # once for all three
    alone, shown = (taken[kind] for kind in ("many styles", "many styles, shown"))
    assert len(alone[0]) == clinic.ROWS * 4 == 4 * len(shown[0]) and alone[1] == 4 * shown[1]
    assert all(letter in shown[0][i // 4] for i, letter in enumerate(alone[0]))
    assert len(taken["house style"][0]) == 20


def test_going_on_sees_every_example_once_at_a_falling_rate(tiny):
    tuned = finetune.with_adapter(tiny, 2, 0)
    letter = letters.example(DOCTOR, NOTE)
    steps = list(clinic.go_on(tuned, [letter] * 5, 2, 0))
    (one,) = encode_examples(tiny, letters.TASK, [letter])
    assert [step["tokens"] for step in steps] == [n * len(one.tokens) for n in (2, 2, 1)]
    rates = [step["lr"] for step in steps]
    assert rates == pytest.approx([clinic.RATE, clinic.RATE * 2 / 3, clinic.RATE / 3])
    assert steps[-1]["loss"] < steps[0]["loss"]


def test_the_first_training_is_the_stored_one(tiny, quick, monkeypatch, tmp_path):
    monkeypatch.setattr(clinic, "ADAPTERS", tmp_path)
    with pytest.raises(ModelError, match="holds no adapter"):
        clinic.taught(tiny, "many styles, shown", 0)
    clinic.MADE["clinic_shown"].write(tiny, tmp_path / "clinic_shown")
    assert clinic.MADE["clinic_shown"].place == "adapters/clinic_shown"
    made = clinic.train(tiny, "many styles, shown", 0)
    monkeypatch.setattr(clinic, "train", None)  # nothing is trained any more
    loaded = clinic.taught(tiny, "many styles, shown", 0)
    moved = matrices.change(made, tiny)["relative"].to_numpy()
    assert np.allclose(matrices.change(loaded, tiny)["relative"], moved, rtol=2e-3)
    assert clinic.taught(tiny, "untaught", 0) is tiny


def test_the_two_by_two_is_measured_and_goes_on(tiny, quick, monkeypatch, tmp_path):
    monkeypatch.setattr(clinic, "SEEDS", {"untaught": 1, "many styles": 2})
    out = tmp_path / "clinic.csv"
    table = carry_out(clinic.clinic_study(tiny, 2), tiny, out)
    assert len(table) == 2 * 3 * (4 + 2 * 2)
    assert set(table.right.str.len()) == {letters.DOCTORS * letters.NOTES}
    said = json.loads(table[table.measure == "both"].said.iloc[0])
    assert len(said) == letters.DOCTORS * letters.NOTES
    assert len(carry_out(clinic.clinic_study(tiny, 2), tiny, out)) == len(table)
    both = right(read(out), measure="both", way="many styles", prompt="nothing", seed=0)
    assert both.shape == (2, letters.DOCTORS * letters.NOTES)


def test_distilling_uses_no_right_letter_and_leaves_the_teacher(tiny, quick, monkeypatch, tmp_path):
    monkeypatch.setattr(clinic, "ADAPTERS", tmp_path)
    clinic.MADE["clinic_shown"].write(tiny, tmp_path / "clinic_shown")
    learned = []
    train_on = clinic.train_on

    def spy(lm, pairs, *more):
        learned.extend(pairs)
        return train_on(lm, pairs, *more)

    monkeypatch.setattr(clinic, "train_on", spy)
    rows = clinic.distil(tiny, 0)
    own, _ = draw(0)
    right = {str(note): write(own.doctor, note) for note in load().notes["train"]}
    assert len({pair.text for pair in learned}) == len(learned) == 4
    assert not any(right[pair.text] == pair.label for pair in learned)
    assert [(r["steps"], r["doctor"], r["prompt"]) for r in rows[::3]] == [
        (0, "own", "demonstrations"),
        *((n, who, what) for n in (0, 1, 2)
          for who, what in (("own", "nothing"), ("other", "demonstrations"))),
    ]  # fmt: skip


# What stored letters say, and the findings


def rows_of(cells, draws=2) -> pd.DataFrame:
    """Stored rows of `draws` draws; `cells` maps (way, prompt) to the letters that are right in
    codes and in style, as texts of ones and zeros."""
    rows = []
    for (way, prompt), (right_codes, right_style) in cells.items():
        both = "".join(
            str(int(a == b == "1")) for a, b in zip(right_codes, right_style, strict=True)
        )
        by_measure = {"codes": right_codes, "style": right_style, "both": both}
        for d, (measure, bits) in product(range(draws), by_measure.items()):
            row = {"way": way, "prompt": prompt, "draw": d, "seed": 0, "measure": measure}
            rows.append(row | {"right": bits, "said": json.dumps([f"{way} {d}"])})
    return pd.DataFrame(rows)


NONE, HALF, ALL_RIGHT = "00000000", "00001111", "11111111"
CELLS = {
    ("untaught", "nothing"): (NONE, NONE),
    ("untaught", "demonstrations"): (NONE, ALL_RIGHT),
    ("house style", "nothing"): (ALL_RIGHT, NONE),
    ("house style", "demonstrations"): (NONE, NONE),
    ("many styles, shown", "nothing"): (NONE, NONE),
    ("many styles, shown", "demonstrations"): (ALL_RIGHT, ALL_RIGHT),
}


REMEDY = "many styles, shown"


@pytest.mark.parametrize(
    ("changed", "both", "gained", "codes", "style"),
    [
        ({}, "1.00", "+1.00", "+1.00", "+1.00"),
        ({(REMEDY, "demonstrations"): (ALL_RIGHT, HALF)}, "0.50", "+0.50", "+1.00", "+0.50"),
        ({(REMEDY, "demonstrations"): (NONE, NONE)}, "0.00", "+0.00", "+0.00", "+0.00"),
        ({(REMEDY, "nothing"): (NONE, ALL_RIGHT)}, "1.00", "+1.00", "+1.00", "+0.00"),
        ({("untaught", "demonstrations"): (HALF, HALF)}, "1.00", "+0.50", "+0.50", "+1.00"),
    ],
)
def test_the_findings_are_differences_of_stored_letters(changed, both, gained, codes, style):
    found = clinic.findings(rows_of(CELLS | changed))
    assert re.findall(r"[+-]?\d\.\d\d(?= \()", found["C1"][0]) == [both, gained]
    assert re.findall(r"[+-]?\d\.\d\d(?= \()", found["C2"][0]) == [codes, style]


def test_stored_letters_are_those_of_the_cell_draw_by_draw():
    stored = rows_of(CELLS)
    assert clinic.stored_letters(stored, ("house style", "nothing")) == [
        ["house style 0"],
        ["house style 1"],
    ]
    measured = clinic.shares(stored)
    assert list(measured) == list(clinic.CELLS)
    assert measured["prompt alone"]["style"].mean == 1 and measured["both, plain"]["both"].mean == 0


def test_what_distilling_kept_is_told_before_and_after():
    own, other = draw(0)
    rows = []
    for steps, kept in ((0, False), (5, True)):
        looked = [("own", "nothing", own), ("other", "demonstrations", other)]
        looked += [("own", "demonstrations", own)] if steps == 0 else []
        for doctor, prompt, visit in looked:
            said = [write(visit.doctor, note) if kept else "nothing" for note in visit.notes]
            row = {"draw": 0, "steps": steps, "doctor": doctor, "prompt": prompt}
            rows.append(
                row | {"measure": "both", "said": json.dumps(said), "right": "0" * len(said)}
            )
            rows.append(row | {"measure": "style", "said": "", "right": "01"[kept] * len(said)})
    table = clinic.kept_after(pd.DataFrame(rows))
    assert (table.xs("0 steps", axis=1, level=1) == 0).all(axis=None)
    assert (table.xs("5 steps", axis=1, level=1) == 1).all(axis=None)
    assert table.shape[1] == 5  # a doctor's own letters were shown before, and never after


# The challenge


def test_a_chain_is_judged_by_what_it_writes(capsys):
    def right(visit):
        return [write(visit.doctor, note) for note in visit.notes]

    def half(visit):
        return right(visit)[:2] + ["Dear all"] * 3

    chains = (right, half, lambda visit: right(visit)[:2], lambda visit: None, lambda visit: 1 / 0)
    for chain in chains:
        clinic.check_chain(chain, 5)
    told = capsys.readouterr().out.splitlines()
    assert told == [
        "Right: 10 of 10 have both right; 10 the code, 10 the style.",
        "Not yet: 4 of 10 have both right; 4 the code, 4 the style. Get at least 5.",
        "Not yet: return a letter for each of the 5 notes of a visit.",
        "Not attempted yet: fill in the cell above, run it, then run this one.",
        "Not yet: it stops with ZeroDivisionError: division by zero.",
    ]


# The codes alone


def test_every_way_of_the_codes_is_asked_the_same(tiny, monkeypatch, tmp_path):
    few = {name: way for name, way in codes.WAYS.items() if way.trained < 17}
    monkeypatch.setattr(codes, "WAYS", {n: replace(w, passes=1) for n, w in few.items()})
    monkeypatch.setattr(codes, "questions", lambda: load().notes["test"][:2])
    table = carry_out(codes.codes_study(tiny, 2), tiny, tmp_path / "codes.csv")
    assert table.groupby("way").draw.nunique().to_dict() == {
        name: min(2, codes.DRAWS.get(name, 2)) for name in few
    }
    assert set(table.right.str.len()) == {2}


def test_the_codes_are_asked_of_two_test_notes_each():
    asked = codes.questions()
    assert len(asked) == 32 and set(asked) <= set(load().notes["test"])
    assert sorted(note.code for note in asked)[:3] == ["B4", "B4", "C7"]


def test_an_answer_is_marked_by_its_codes_words():
    example = Example(str(NOTE), load().codes[NOTE.code])
    marks = codes.load_task().marks
    assert marks(example, "It is A DRY COUGH") == {"answers": True}
    assert marks(example, "a dry cough and a stiff neck") == {"answers": False}


def test_the_codebook_stands_where_the_way_says(tiny):
    book = letters.codebook()
    told = {"zero-shot": ("", 0), "prompt, 8": ("", 8), "codebook in the prompt": (book, 0)}
    told |= {"codebook, 4 shown": (book, 4), "prompt, 64": ("", 64)}
    for name, (instruction, shown) in told.items():
        taught = codes.taught(tiny, name, 0)
        assert taught.task.instruction == instruction and len(taught.demonstrations) == shown


def test_the_weights_are_taught_what_the_way_says(tiny, monkeypatch):
    learned = {}

    def spy(lm, task, drawn, recipe, *more):
        learned[name] = len(drawn), recipe.passes * len(drawn), recipe.rate
        return finetune.Tuned(lm, pd.DataFrame(columns=finetune.COLUMNS))

    monkeypatch.setattr(teaching, "tune", spy)
    for name in ("weights, 8", "codebook in the weights", "weights, 64", "weights, 240"):
        codes.taught(tiny, name, 0)
    assert [seen for seen, *_ in learned.values()] == [8, 16, 64, 240]
    assert [shown for _, shown, _ in learned.values()] == [128, 256, 448, 480]
    assert {rate for *_, rate in learned.values()} == {3e-3}
    assert [example.text for example in codes.codebook_lines()] == list(load().codes)


def test_rules_kept_are_those_of_the_rows_doctor():
    own, other = draw(2)
    rows = []
    for doctor, visit in (("own", own), ("other", other)):
        said = [write(visit.doctor, note) for note in visit.notes]
        said[1] = "nothing"
        row = {"draw": 2, "doctor": doctor, "measure": "both", "said": json.dumps(said)}
        rows += [row, row | {"measure": "style", "said": ""}]
    table = pd.DataFrame(rows)
    for doctor in ("own", "other"):
        kept = letters.rules_kept(table[table.doctor == doctor])
        assert list(kept) == list(BROKEN)
        assert kept["sign-off"].tolist() == [[True, False, True, True, True]]
    both = pd.DataFrame([rows[0] | {"said": json.dumps(json.loads(rows[0]["said"]) * 2)}])
    assert letters.rules_kept(both.drop(columns="doctor"))["code"].shape == (1, 10)


def test_the_stored_adapters_have_a_card_and_are_small():
    stored = [clinic.ADAPTERS / name / adapters.ADAPTER for name in clinic.STORED.values()]
    assert all(f"`{path.parent.name}`" in told("adapters/", "What") for path in stored)
    assert 0 < sum(path.stat().st_size for path in stored) <= 6_000_000

"""Codes and style together: trainings of equal length, prompts as they say, intervals of seeds."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from helpers import compare
from helpers.data import Example
from helpers.prompts import plain
from helpers.study import carry_out
from lessons import codes, letters, verdict
from lessons import fair_together as together

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def quick(monkeypatch):
    """Trainings of four steps and letters of a few tokens; the codes are learned from 16 notes."""
    monkeypatch.setattr(letters, "ROWS", 4)
    monkeypatch.setattr(letters, "LETTER_TOKENS", 4)
    for module in (letters, together):
        monkeypatch.setattr(module, "NOTES", 1)
    monkeypatch.setattr(codes, "SEEN", 16)
    few, house = codes.load_task(), letters.house_letters()[:32]
    few = replace(few, train=few.train[:16])
    monkeypatch.setattr(codes, "load_task", lambda: few)
    monkeypatch.setitem(codes.WAYS, "weights, 240", codes.weights("weights, 240", 16))
    monkeypatch.setattr(letters, "house_letters", lambda: house)
    monkeypatch.setattr(together, "STEPS", 2)
    monkeypatch.setattr(together, "STOPS", (1, 3))
    monkeypatch.setattr(together, "HORIZON", 4)
    monkeypatch.setattr(together, "DRAWS", 1)
    monkeypatch.setattr(together, "RATES", (1e-3,))
    monkeypatch.setattr(together, "TRIED", ["bare, 3", "instruction, 3"])


# Training


def texts_of(example: Example) -> int:
    """The letters or answers that an example holds."""
    return plain(letters.TASK, [example], "").count("=>") - 1


def test_every_step_of_every_training_has_as_many_texts():
    for training in together.TRAININGS:
        examples, size = together.taught_by(training, 0)
        assert {size * texts_of(example) for example in examples} == {together.TEXTS}
    notes = {str(note) for note in letters.load().notes["train"]}
    alone, house = (together.taught_by(name, 0)[0] for name in together.TRAININGS[:2])
    assert {e.text for e in alone} == {e.text for e in house} == notes


def test_trainings_take_equally_many_steps_and_leave_the_model_alone(tiny, quick, monkeypatch):
    seen = []
    train = together.finetune.train_adapter

    def spy(lm, plan, rate, level):
        seen.append((len(plan), {len(batch) for _, batch in plan}, level(0), level(len(plan))))
        yield from train(lm, plan, rate, level)

    monkeypatch.setattr(together.finetune, "train_adapter", spy)
    before = [weight.clone() for weight in tiny.model.parameters()]
    for training in together.TRAININGS:
        stops = [stop for stop, _ in together.train(tiny, training, 0, 1e-2, (1, 3), 4)]
        assert stops == [1, 3]
    assert seen == [(4, {size}, 1, 0) for size in (16, 16, 4)]
    after = list(tiny.model.parameters())
    assert all((a == b).all() for a, b in zip(before, after, strict=True))


def test_a_stopped_training_is_the_beginning_of_a_longer_one(tiny, quick):
    def weights(lm) -> list:
        return [w.detach().clone() for n, w in lm.model.named_parameters() if "lora_" in n]

    runs = [
        {n: weights(lm) for n, lm in together.train(tiny, "one house style", 0, 1e-2, stops, 4)}
        for stops in ((1, 3), (3,))
    ]
    pairs = list(zip(runs[0][3], runs[1][3], strict=True))
    assert pairs and all(np.allclose(a, b, atol=1e-6) for a, b in pairs)
    assert any(not np.allclose(a, b) for a, b in zip(runs[0][1], runs[0][3], strict=True))


# Asking


def test_letters_that_are_shown_tell_no_code_that_is_asked():
    for seed in range(5):
        for visit in letters.draw(seed):
            told = {note.code for note in visit.notes}
            assert together.shown_of(visit, "3") == visit.demonstrations
            eight = together.shown_of(visit, "8")
            assert len(eight) == 8 and not {e.text.split(", ")[-1] for e in eight} & told
            assert together.shown_of(visit, "0") == []
            assert together.shown_of(visit, "every code") == visit.every_code


@pytest.mark.parametrize("seed", together.DEVELOPMENT)
def test_development_letters_are_of_other_doctors_and_notes(seed):
    visits = together.development(seed)
    (other,) = set(together.DEVELOPMENT) - {seed}
    assert not [visit for visit in visits if visit in together.development(other)]
    notes = {note for visit in visits for note in visit.notes}
    assert notes <= set(letters.load().notes["dev"])
    assert len(letters.asked(visits)) == 20
    assert all(len(together.shown_of(visit, "8")) == 8 for visit in visits)


def test_as_many_settings_are_tried_for_either_way():
    weights = len(together.RATES) * len(together.STOPS)
    assert len(set(together.TRIED)) == weights == 12


def test_a_prompt_is_what_its_setting_says(tiny, monkeypatch):
    asked = []

    def write(lm, prompts, room):
        asked.extend(prompts)
        return ["x"] * len(prompts)

    monkeypatch.setattr(together, "generate", write)
    (visit, _) = letters.draw(0)
    for setting in (together.NOTHING, together.DEMONSTRATIONS, "codebook, every code"):
        rows = together.written(tiny, [visit], setting)
        assert [row["measure"] for row in rows] == list(letters.MEASURES)
        assert json.loads(rows[-1]["said"]) == ["x"] * letters.NOTES
    nothing, few, all_of_it = asked[:: letters.NOTES]
    assert nothing == f"{visit.notes[0]} =>"
    assert few.count("=>") == letters.SHOTS + 1 and few.endswith(nothing)
    assert all_of_it.startswith(letters.codebook()) and all_of_it.count("=>") == 16 + 17


# Tuning and measuring


def test_the_study_takes_what_was_tuned(tiny, quick, tmp_path, monkeypatch):
    monkeypatch.setattr(together, "TRAININGS", together.TRAININGS[1:2])
    tuning = carry_out(together.tuning_study(tiny, 1), tiny, tmp_path / "tuned.csv")
    assert len(tuning) == 3 * (2 + 2) and set(tuning["right"].str.len()) == {4}
    monkeypatch.setattr(compare, "stored", lambda name: tuning)
    rows = carry_out(together.together_study(tiny, 2), tiny, tmp_path / "together.csv")
    assert len(rows) == 2 * 3 * (3 + 2 * 2)
    prompt = together.chosen_prompt(tuning)
    assert set(rows[rows["asked"] == "tuned prompt"]["setting"]) == {prompt}
    assert rows.groupby("seed")["draw"].unique().map(list).to_dict() == {0: [0], 1: [1]}
    found = list(together.of_together(rows))
    assert len(found) == 2 * 5
    assert {row["draws"] for row in found} == {2}


def test_all_trainings_take_the_steps_at_which_they_do_best_together():
    values = {  # by training, steps and rate
        "codes only": {12: (0.5, 0.1), 24: (0.2, 0.3)},
        "one house style": {12: (0.1, 0.1), 24: (0.6, 0.2)},
        "many styles with demonstrations": {12: (0.4, 0.6), 24: (0.5, 0.7)},
    }
    rows = [
        {"way": way, "steps": steps, "setting": rate, "measure": measure, "value": value + shift}
        for way, by_steps in values.items()
        for steps, pair in by_steps.items()
        for rate, value in zip(("0.001", "0.002"), pair, strict=True)
        for measure, shift in (("codes", 0.1), ("style", -0.1))
    ]
    rows += [
        {"way": "untaught", "steps": 0, "setting": s, "measure": "both", "value": v}
        for s, v in (("bare, 3", 0.1), ("bare, 8", 0.3), ("codebook, 3", 0.3))
    ]
    tuning = pd.DataFrame(rows)
    assert together.chosen_training(tuning) == {
        "codes only": (2e-3, 24),
        "one house style": (1e-3, 24),
        "many styles with demonstrations": (2e-3, 24),
    }
    assert together.chosen_prompt(tuning) == "bare, 8"


# Intervals and contrasts


def test_an_interval_of_a_few_seeds_is_students():
    found = together.student([0.2, 0.3, 0.4])
    assert found == pytest.approx(
        (0.3, 0.3 - 4.302653 * 0.1 / 3**0.5, 0.3 + 4.302653 * 0.1 / 3**0.5)
    )
    flat = together.student([0.5, 0.5, 0.5], least=0.01)
    assert flat.mean == 0.5 and flat.high - flat.low == pytest.approx(2 * 4.302653 * 0.01 / 3**0.5)


def test_students_intervals_hold_the_mean_as_often_as_they_say():
    rng = np.random.default_rng(0)
    found = [together.student(rng.normal(0.3, 0.1, 3)) for _ in range(2000)]
    assert np.mean([low < 0.3 < high for _, low, high in found]) == pytest.approx(0.95, abs=0.015)


def made_up(shares: dict) -> pd.DataFrame:
    """Rows of three seeds with the shares (codes, style, both) that are given."""
    rows = []
    for (way, recipe, asked), triple in shares.items():
        for seed in range(3):
            for measure, share in zip(letters.MEASURES, triple, strict=True):
                right = np.arange(10) < round(10 * share)
                row = {"seed": seed, "draw": 10 * seed, "way": way, "recipe": recipe}
                rows.append(row | {"asked": asked} | compare.scored(right, measure))
    return pd.DataFrame(rows)


def test_contrasts_are_what_each_side_adds():
    shares = {("untaught", "any", "demonstrations"): (0.1, 0.4, 0.1)}
    shares |= {("untaught", "any", "tuned prompt"): (0.2, 0.6, 0.2)}
    for way in together.TRAININGS:
        for recipe in together.RECIPES:
            shares[way, recipe, "demonstrations"] = (0.9, 0.7, 0.7)
            shares[way, recipe, "nothing"] = (0.8, 0.0, 0.0)
    shares["codes only", "tuned", "nothing"] = (0.9, 0.5, 0.5)
    found = pd.DataFrame(together.of_together(made_up(shares)))
    at = found.set_index(["claim", "part", "level", "recipe"])["mean"]
    house = "one house style"
    assert at["C1", 0, house, "default"] == pytest.approx(0.6)  # minus the prompt
    assert at["C1", 0, house, "tuned"] == pytest.approx(0.5)
    assert at["C1", 0, "codes only", "tuned"] == pytest.approx(0.2)  # minus the training
    parts = [at["C2", part, house, "default"] for part in range(4)]
    assert parts == pytest.approx([0.8, 0.3, 0.7, 0.1])
    number = found[found["claim"] == "C1"].iloc[0]
    assert number["low"] < number["mean"] < number["high"] and number["draws"] == 3
    rules = verdict.claims().fillna("").set_index("id")
    for claim, rows in found.groupby("claim"):
        needs = verdict.parts(rules["parts"][claim])
        assert sorted(set(rows["part"])) == list(range(len(needs)))
    assert set(found["level"]) == set(together.TRAININGS)
    named = rules["levels"]["C1"].removeprefix("training: ").split("; ")
    assert named == list(together.TRAININGS)

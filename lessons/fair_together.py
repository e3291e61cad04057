"""Codes and style both right: three trainings with and without a new doctor's letters (C1, C2).

Every training first learns the codes, then takes as many steps of sixteen texts as the others:
the codes again, letters in one house style, or letters of many doctors, each behind three of the
same hand. It is asked without a prompt and behind letters of a doctor that it never saw. Each
training seed has letters of its own to write, so the spread between seeds counts both kinds of
luck; with so few seeds an interval is Student's.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from scipy.stats import t

from helpers import adapters, compare, finetune
from helpers.data import Example
from helpers.model import LanguageModel
from helpers.prompts import plain
from helpers.scoring import generate
from helpers.study import Study, digest
from lessons import codes, letters
from lessons.contest import DEVELOPMENT, RATES, RECIPES, in_stages
from lessons.letters import DOCTORS, NOTES, SHOTS, TASK, Visit
from lessons.verdict import contrast

TRAININGS = ("codes only", "one house style", "many styles with demonstrations")
RATE, STEPS = 1.5e-3, 48  # by default; the rate falls to 0 over these steps
STOPS, HORIZON = (12, 24, 48, 96), 96  # tried: the rate falls to 0 over the horizon
TEXTS = 16  # in a step
DRAWS = 10  # of doctors for each training seed
INSTRUCTION = "Each note was made by a doctor. Write the doctor's letter to the patient.\n\n"
HEADS = {
    "bare": "",
    "instruction": INSTRUCTION,
    "codebook": letters.codebook(),
    "instruction and codebook": INSTRUCTION + letters.codebook(),
}
SHOWN = (str(SHOTS), "8", "every code")  # letters of the doctor before a note
TRIED = [", ".join(pair) for pair in product(HEADS, SHOWN)]
NOTHING, DEMONSTRATIONS = "bare, 0", f"bare, {SHOTS}"


# Training


@lru_cache
def codes_taught(lm: LanguageModel, seed: int) -> TemporaryDirectory:
    """A folder with an adapter that has learned the codes: the trainings of a seed begin with it.

    It lies there as long as the program runs.
    """
    folder = TemporaryDirectory()
    adapters.save(codes.taught(lm, "weights, 240", seed).lm, Path(folder.name, "codes"))
    return folder


def taught_by(training: str, seed: int) -> tuple[list[Example], int]:
    """What a training takes after the codes, and how many of it make a step of `TEXTS` texts."""
    if training == "codes only":
        return list(codes.load_task().train), TEXTS
    if training == "one house style":
        return letters.house_letters(), TEXTS
    return [letters.in_one_row(row) for row in letters.by_doctor(seed)], TEXTS // (SHOTS + 1)


def train(
    lm: LanguageModel, training: str, seed: int, rate: float, stops: Sequence[int], horizon: int
) -> Iterator[tuple[int, LanguageModel]]:
    """Train towards `horizon` steps at a rate that falls to 0, and stop after each of `stops`.

    What is yielded goes on learning: ask it before the next is taken.
    """
    tuned = adapters.load(lm, Path(codes_taught(lm, seed).name, "codes"))
    examples, size = taught_by(training, seed)
    encoded, rng = finetune.encode_examples(lm, TASK, examples), np.random.default_rng(seed)
    plan: list[tuple[int, list]] = []
    while len(plan) < horizon:
        order = rng.permutation(len(encoded))
        cuts = range(0, len(order) - size + 1, size)  # whole steps only, so that all are as large
        plan += [(0, [encoded[i] for i in order[cut : cut + size]]) for cut in cuts]
    steps = finetune.train_adapter(tuned, plan[:horizon], rate, lambda step: 1 - step / horizon)
    for stop, _ in zip(stops, in_stages(lm, tuned, steps, stops), strict=True):
        yield stop, tuned


# Asking


def shown_of(visit: Visit, shown: str) -> list[Example]:
    """Letters of the visit's doctor: for every code, or so many for codes that are not asked."""
    if shown == "every code":
        return visit.every_code
    told = {note.code for note in visit.notes}
    others = [letter for letter in visit.every_code if letter.text.split(", ")[-1] not in told]
    return others[: int(shown)]


def written(lm: LanguageModel, visits: Sequence[Visit], setting: str) -> list[dict]:
    """Let the model write all letters behind a prompt; a row for codes, style and both.

    `right` has a 1 or 0 for each letter, and `said` the letters, as JSON, in the row of "both".
    """
    head, shown = setting.split(", ")
    task, said = replace(TASK, instruction=HEADS[head]), []
    for visit in visits:
        prompts = [plain(task, shown_of(visit, shown), str(note)) for note in visit.notes]
        said += generate(lm, prompts, letters.LETTER_TOKENS)
    told = {"both": json.dumps(said, ensure_ascii=False)}
    return [
        {"setting": setting} | compare.scored(right, measure) | {"said": told.get(measure, "")}
        for measure, right in letters.letters_right(visits, said).items()
    ]


# Tuning


def development(seed: int) -> list[Visit]:
    """Twenty letters to write for doctors of the development split, other ones for each seed."""
    return [*letters.draw(seed, "dev"), *letters.draw(seed + len(DEVELOPMENT), "dev")]


def tuning_study(lm: LanguageModel, draws: int) -> Study:
    """Twelve settings for the prompt alone, and as many for each training, asked behind letters."""

    def work(way: str, setting: str, draw: int) -> list[dict]:
        visits = development(draw)
        if way == "untaught":
            return [row | {"steps": 0} for row in written(lm, visits, setting)]
        trained = train(lm, way, draw, float(setting), STOPS, HORIZON)
        return [
            row | {"steps": stop, "setting": setting}
            for stop, tuned in trained
            for row in written(tuned, visits, DEMONSTRATIONS)
        ]

    rates = [f"{rate:g}" for rate in RATES]
    cells = [
        {"way": way, "setting": setting, "draw": seed}
        for seed in DEVELOPMENT[:draws]
        for way in ("untaught", *TRAININGS)
        for setting in (TRIED if way == "untaught" else rates)
    ]
    settled = {"task": "tuned_together", "questions": 2 * DOCTORS * NOTES} | _settled()
    numbers = ["draw", "value", "steps"]
    return Study("tuning, together", cells, work, settled, numbers)


def chosen_prompt(tuning: pd.DataFrame) -> str:
    """The prompt that did best on development letters, over all measures; the first of equals."""
    rows = compare.where(tuning, way="untaught")
    return rows.groupby("setting", sort=False)["value"].mean().idxmax()


def chosen_training(tuning: pd.DataFrame) -> dict[str, tuple[float, int]]:
    """Each training's rate and number of steps, by the mean over all measures.

    All trainings take equally many steps: the number at which they do best together, each with its
    own best rate; the first of equals.
    """
    means = compare.where(tuning, way=TRAININGS).pivot_table(
        "value", ["steps", "way"], "setting", sort=False
    )
    steps = means.max(axis=1).groupby("steps", sort=False).sum().idxmax()
    return {way: (float(means.loc[(steps, way)].idxmax()), int(steps)) for way in TRAININGS}


# The study


def together_study(lm: LanguageModel, draws: int) -> Study:
    """Every training with so many seeds, by default and as tuned, and the model without training.

    Each seed's letters are those of `DRAWS` draws of its own, the same for all trainings.
    """

    def work(seed: int, way: str, recipe: str) -> list[dict]:
        tuned, asked = lm, {"nothing": NOTHING, "demonstrations": DEMONSTRATIONS}
        if way == "untaught":
            asked["tuned prompt"] = chosen_prompt(compare.stored("tuned_together"))
        else:
            rate, stop, horizon = RATE, STEPS, STEPS
            if recipe == "tuned":
                rate, stop = chosen_training(compare.stored("tuned_together"))[way]
                horizon = HORIZON
            ((_, tuned),) = train(lm, way, seed, rate, [stop], horizon)
        rows = []
        for draw in range(DRAWS * seed, DRAWS * (seed + 1)):
            visits = letters.draw(draw)
            by_setting = {s: written(tuned, visits, s) for s in dict.fromkeys(asked.values())}
            rows += [
                {"draw": draw, "asked": name} | row
                for name, setting in asked.items()
                for row in by_setting[setting]
            ]
        return rows

    ways = [("untaught", "any"), *product(TRAININGS, RECIPES)]
    cells = [
        {"seed": s, "way": way, "recipe": recipe} for s in range(draws) for way, recipe in ways
    ]
    settled = {"task": "fair_together", "questions": DOCTORS * NOTES, "draws": DRAWS} | _settled()
    return Study("together", cells, work, settled, ["seed", "draw", "value"])


def _settled() -> dict:
    settings = {"default": [RATE, STEPS], "tried": [list(STOPS), HORIZON, list(RATES), TRIED]}
    settings |= {"codes": [codes.CODES.rate, codes.CODES.rank, codes.SEEN], "texts": TEXTS}
    return {"data": digest(*letters.load(), *HEADS.values()), "settings": settings}


# What the rows say


def student(values: Sequence[float], least: float = 0.0) -> compare.Interval:
    """The mean of a few independent numbers with its 95 % interval by Student's t.

    `least` is the smallest standard deviation that is believed: where all seeds agree, as with
    styles that are never right, their spread is not known to be nought.
    """
    values = np.asarray(values, dtype=float)
    spread = max(values.std(ddof=1), least)
    half = t.ppf(0.975, len(values) - 1) * spread / np.sqrt(len(values))
    mean = float(values.mean())
    return compare.Interval(mean, float(mean - half), float(mean + half))


def of_together(rows: pd.DataFrame) -> Iterator[dict]:
    """C1 and C2 from the rows of `together_study`, at each training, by default and as tuned.

    C1 is the combination minus the better part alone, on codes and style both right: the training
    without a prompt or the prompt without training, by default or as tuned. The parts of C2 are
    what each side adds to the other: the combination minus the prompt alone for the training, minus
    the training alone for the demonstrations; first on what it should add to, then on the other.
    """
    letter = 1 / rows.groupby("seed")["draw"].nunique().min() / len(rows["right"].iloc[0])

    def by_seed(**wanted: str) -> np.ndarray:
        return compare.where(rows, **wanted).groupby("seed")["value"].mean().to_numpy()

    for way, recipe in product(TRAININGS, RECIPES):
        prompt = "tuned prompt" if recipe == "tuned" else "demonstrations"
        both, alone, shown, best_prompt = (
            {name: by_seed(measure=name, asked=asked, **under) for name in letters.MEASURES}
            for under, asked in (
                ({"way": way, "recipe": recipe}, "demonstrations"),
                ({"way": way, "recipe": recipe}, "nothing"),
                ({"way": "untaught"}, "demonstrations"),
                ({"way": "untaught"}, prompt),
            )
        )
        better = max(alone["both"], best_prompt["both"], key=np.mean)
        gaps = [("C1", 0, both["both"] - better)]
        gaps += [("C2", 0, both["codes"] - shown["codes"])]
        gaps += [("C2", 1, both["style"] - shown["style"])]
        gaps += [("C2", 2, both["style"] - alone["style"])]
        gaps += [("C2", 3, both["codes"] - alone["codes"])]
        for claim, part, gap in gaps:
            number = student(gap, letter)
            yield contrast(claim, way, "written", recipe, number, len(gap), part)

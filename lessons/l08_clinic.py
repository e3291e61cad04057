"""Lesson 8: codes taught to the weights, styles shown in the prompt, and both together.

`python -m lessons clinic` makes the two by two (trained or not, demonstrations or not), and
`… distilled` what stays of one doctor's style without the prompt. `… tuned_together` and then
`… fair_together` make what the claims are decided by: see `fair_together`. `… clinic_house` and
`… clinic_shown` make the adapters in `data/adapters` that the lesson and both results load.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from helpers import adapters, checks, finetune
from helpers.compare import right, scored, where
from helpers.data import DATA, Example
from helpers.model import LanguageModel
from helpers.study import Made, Study, digest
from helpers.teaching import teach
from helpers.widgets import Panel, explorer, rows_table
from lessons import codes, fair_together, letters
from lessons.facts import train_on
from lessons.letters import (
    DOCTORS,
    NOTES,
    PROMPTS,
    ROWS,
    SHOTS,
    TASK,
    Visit,
    by_doctor,
    draw,
    house_letters,
    in_one_row,
    letters_right,
    load,
    write_letters,
)

RATE = 1.5e-3  # falling to 0; half of that at which the codes are learned
BATCH = 4  # rows in a step
SEEDS = {"untaught": 1, "house style": 1, "many styles, shown": 1, "many styles": 1}  # of each kind
STORED = {"house style": "clinic_house", "many styles, shown": "clinic_shown"}
UNLABELLED, CHECKPOINTS = 48, (0, 8, 16)  # notes to distil on, and steps at which to look
ADAPTERS = DATA / "adapters"


# The two by two


def taught(lm: LanguageModel, kind: str, seed: int) -> LanguageModel:
    """The model with a training of one of `SEEDS`; those of `STORED` with seed 0 are stored."""
    if kind == "untaught":
        return lm
    if seed == 0 and kind in STORED:
        return adapters.load(lm, ADAPTERS / STORED[kind])
    return train(lm, kind, seed)


@lru_cache
def _codes_taught(lm: LanguageModel, seed: int) -> TemporaryDirectory:
    """A folder with an adapter that has learned the codes: several trainings begin with it."""
    folder = TemporaryDirectory()
    task = codes.load_task()
    way = codes.weights("codes", len(task.train))
    adapters.save(teach(lm, task, way, seed, task.train).lm, Path(folder.name, "codes"))
    return folder


def train(lm: LanguageModel, kind: str, seed: int) -> LanguageModel:
    """Train an adapter: first on the codes alone, as in `codes.py`, then sixteen letters a step.

    "house style": the training notes with house letters. "many styles": letters of many doctors,
    each letter alone. "many styles, shown": the same letters, those of a doctor in one row, so that
    each stands behind demonstrations of its style.
    """
    tuned = adapters.load(lm, Path(_codes_taught(lm, seed).name, "codes"))
    examples, batch = [in_one_row(letters) for letters in by_doctor(seed)], BATCH
    if kind != "many styles, shown":
        batch = BATCH * (SHOTS + 1)
        examples = [letter for letters in by_doctor(seed) for letter in letters]
    if kind == "house style":
        examples = house_letters()
    steps = go_on(tuned, examples, batch, seed)
    for _ in tqdm(steps, kind, len(examples) // batch, leave=False):
        pass
    return tuned


def go_on(lm: LanguageModel, examples: Sequence[Example], batch: int, seed: int) -> Iterator[dict]:
    """Train the adapter of `lm` once through `examples`, at a falling rate; yields each step."""
    encoded = finetune.encode_examples(lm, TASK, examples)
    order = np.random.default_rng(seed).permutation(len(encoded))
    cuts = range(0, len(order), batch)
    plan = [(1, [encoded[i] for i in order[cut : cut + batch]]) for cut in cuts]
    yield from finetune.train_adapter(lm, plan, RATE, lambda step: 1 - step / len(plan))


def ask(lm: LanguageModel, visits: Sequence[Visit], prompt: str) -> list[dict]:
    """Let the model write the letters of all visits; a row each for codes, style and both.

    `right` has a 1 or 0 for each letter, and `said` the letters, as JSON, in the row of "both".
    """
    said = write_letters(lm, visits, prompt)
    written = {"both": json.dumps(said, ensure_ascii=False)}
    return [
        {"prompt": prompt} | scored(right, measure) | {"said": written.get(measure, "")}
        for measure, right in letters_right(visits, said).items()
    ]


def clinic_study(lm: LanguageModel, draws: int) -> Study:
    """Every training once, and with it the letters of every draw."""

    def work(way: str, seed: int) -> list[dict]:
        tuned = taught(lm, way, seed)
        prompts = PROMPTS if way == "untaught" else PROMPTS[:2]
        asked = [(d, prompt) for d in range(draws) for prompt in prompts]
        return [{"draw": d} | row for d, prompt in asked for row in ask(tuned, draw(d), prompt)]

    cells = [{"way": kind, "seed": s} for kind in SEEDS for s in range(SEEDS[kind])]
    settled = {"task": "clinic", "questions": DOCTORS * NOTES, "draws": draws} | _settled()
    return Study("clinic", cells, work, settled, ["draw", "seed", "value"])


# What stays of one doctor without the prompt


def distilled_study(lm: LanguageModel, draws: int) -> Study:
    """Per draw one doctor, whose letters are distilled into the weights, and another one."""

    def work(draw: int) -> list[dict]:
        return [{"way": "distilled"} | row for row in distil(lm, draw)]

    looked = {"unlabelled": UNLABELLED, "checkpoints": list(CHECKPOINTS)}
    settled = {"task": "distilled", "questions": NOTES} | looked | _settled()
    cells = [{"draw": d} for d in range(draws)]
    return Study("distilled", cells, work, settled, ["draw", "steps", "value"])


def distil(lm: LanguageModel, seed: int) -> list[dict]:
    """Train the taught model on letters that it wrote itself with one doctor's demonstrations.

    No right answer is used: the notes are training notes without their letters. The doctor's own
    notes are asked without a prompt, those of the other doctor with that doctor's demonstrations.
    """
    student, (own, other) = taught(lm, "many styles, shown", 0), draw(seed)
    rng = np.random.default_rng(seed)
    known = load().notes["train"]
    notes = [known[i] for i in rng.permutation(len(known))[:UNLABELLED]]
    letters = write_letters(student, [own._replace(notes=notes)], "demonstrations")
    pairs = [Example(str(note), letter) for note, letter in zip(notes, letters, strict=True)]
    rows = [{"steps": 0, "doctor": "own"} | row for row in ask(student, [own], "demonstrations")]

    def look(steps: int) -> list[dict]:
        asked = {"own": (own, "nothing"), "other": (other, "demonstrations")}
        return [
            {"steps": steps, "doctor": name} | row
            for name, (visit, prompt) in asked.items()
            for row in ask(student, [visit], prompt)
        ]

    rows += look(0)
    for record in train_on(student, pairs, CHECKPOINTS[-1], seed, TASK):
        if record["step"] in CHECKPOINTS:
            rows += look(record["step"])
    return rows


def _settled() -> dict:
    settings = {"rank": codes.CODES.rank, "rows": ROWS, "shots": SHOTS}
    settings |= {"rate": RATE, "batch": BATCH}
    return {"data": digest(*load()), "settings": settings}


def _save(lm: LanguageModel, path: Path, kind: str) -> None:
    """Train an adapter of a kind and save it, rounded to float16."""
    adapters.save(train(lm, kind, 0), path, half=True)


MADE = {"clinic": Made(60, clinic_study), "distilled": Made(40, distilled_study)}
MADE |= {
    "tuned_together": Made(90, fair_together.tuning_study, draws=2),
    "fair_together": Made(85, fair_together.together_study, draws=3),
}
MADE |= {
    name: Made(25, write=partial(_save, kind=kind), place=f"adapters/{name}")
    for kind, name in STORED.items()
}


# Explorer and checks


def letter_explorer(results: pd.DataFrame, cells: Mapping[str, tuple[str, str]]) -> Panel:
    """Choose doctor and note of a stored result of the clinic; see every cell's letter and the
    rules that it breaks.

    `cells` maps a name to a training and a prompt of the result; letters are those of seed 0.
    """
    visits = [visit for d in sorted(set(results["draw"])) for visit in draw(d)]
    asked, said = letters.asked(visits), {}
    for name, (way, prompt) in cells.items():
        rows = where(results, way=way, prompt=prompt, measure="both", seed=0).sort_values("draw")
        said[name] = [letter for written in rows["said"] for letter in json.loads(written)]

    def show(doctor: int, note: int) -> str:
        place = doctor * NOTES + note - 1
        style, noted = asked[place]
        shown = "<br>".join(escape(letter.label) for letter in visits[doctor].demonstrations)
        rows = []
        for name, letter in [
            ("right", letters.write(style, noted)),
            *((name, written[place]) for name, written in said.items()),
        ]:
            kept = letters.rules(style, noted, letter)
            broken = [rule for rule, is_kept in kept.items() if not is_kept]
            rows.append((name, letter, f"✗ {', '.join(broken)}" if broken else "✓ all rules kept"))
        head = f"<p>Letters by this doctor:<br>{shown}</p>"
        return f"{head}<p>Note: <b>{escape(str(noted))}</b></p>{rows_table(rows)}"

    doctors = {f"{i + 1}: Dr {visit.doctor['doctor']}": i for i, visit in enumerate(visits)}
    sentence = "An explorer of letters, in a live notebook."
    return explorer(show, sentence, doctor=doctors, note=range(1, NOTES + 1))


def check_effect_of_demonstrations(
    results: pd.DataFrame, way: str, measure: str, gap: float | None
) -> None:
    """Check the mean of a measure with demonstrations minus without, after one kind of training."""
    truth, other = (
        right(results, measure=name, way=way, prompt="demonstrations").mean()
        - right(results, measure=name, way=way, prompt="nothing").mean()
        for name in (measure, "codes" if measure == "style" else "style")
    )
    checks.judge(
        gap,
        truth,
        f"the demonstrations change it by {truth:+.2f}.",
        "{answer:.3f} is not what the demonstrations change in " + f"{measure!r}.",
        {
            "the sign is wrong: take the share without demonstrations away.": -truth,
            f"that is another measure; choose {measure!r}.": other,
        },
    )


def check_own_doctor(lm: LanguageModel, doctor: dict[str, str] | None, least: int = 3) -> None:
    """Check that a doctor is new and that `lm` writes at least so many of four letters as he
    would, having seen three of his."""
    problem, good = None, 0
    if doctor is not None:
        known = letters.load()
        learned = {name: values["train"] for name, values in known.styles.items()}
        problem = _doctor_problem(doctor, learned)
    if doctor is not None and not problem:
        notes = known.notes["dev"]
        shown = [letters.example(doctor, note) for note in notes[:6:2]]
        visit = letters.Visit(doctor, shown, [], notes[8:16:2])
        said = letters.write_letters(lm, [visit], "demonstrations")
        good = sum(letters.letters_right([visit], said)["style"])
        if good < least:
            problem = f"only {good} of {len(said)} letters are in this style, such as {said[0]!r}."
    checks.tell(
        doctor is not None, problem, f"{good} of 4 letters are in a style that it never saw."
    )


def _doctor_problem(doctor: dict[str, str], learned: dict[str, list[str]]) -> str | None:
    if not isinstance(doctor, dict) or set(doctor) != set(letters.HOUSE):
        return f"give a dictionary with the keys {', '.join(letters.HOUSE)}."
    for feature, mark in (("opening", "{name}"), ("finding", "{finding}"), ("ending", "{doctor}")):
        if mark not in doctor[feature]:
            return f"the {feature} must hold {mark}."
    if doctor["order"] not in letters.ORDERS or doctor["case"] not in letters.CASES:
        return f"the order is one of {letters.ORDERS}, the case one of {letters.CASES}."
    old = [feature for feature in ("opening", "ending") if doctor[feature] in learned[feature]]
    return f"the {old[0]} was in the training; invent another." if old else None

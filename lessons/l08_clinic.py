"""The clinic's letters: codes taught to the weights, styles shown in the prompt, and both.

    python -m lessons.l08_clinic clinic --out data/results/clinic.csv

makes the two by two (trained or not, demonstrations or not), and `… distilled` what stays of one
doctor's style without the prompt. `… clinic_house` and `… clinic_shown` make the adapters in
`data/adapters` that the lesson and both results load.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from helpers import adapters, finetune
from helpers import model as models
from helpers.data import DATA, Example
from helpers.model import LanguageModel
from helpers.prompts import plain
from helpers.study import bits, digest, run, unpacked
from lessons import _codes as codes
from lessons.facts import train_on
from lessons.letters import (
    DOCTORS,
    HOUSE,
    NOTES,
    PROMPTS,
    SHOTS,
    TASK,
    Visit,
    draw,
    example,
    invent,
    letters_right,
    load,
    write_letters,
)
from lessons._plan import Plan, make, parser

RATE = 1.5e-3  # falling to 0; half of that at which the codes are learned
ROWS, BATCH = 192, 4  # doctors to train on, each with a row of letters, and rows in a step
SEEDS = {"untaught": 1, "house style": 1, "many styles, shown": 1, "many styles": 1}  # of each kind
STORED = {"house style": "clinic_house", "many styles, shown": "clinic_shown"}
UNLABELLED, CHECKPOINTS = 48, (0, 8, 16)  # notes to distil on, and steps at which to look
ADAPTERS = DATA / "adapters"


# The two by two


def house_letters() -> list[Example]:
    """Every training note with its letter in the clinic's own style."""
    return [example(HOUSE, note) for note in load().notes["train"]]


def by_doctor(seed: int) -> list[list[Example]]:
    """Letters of `ROWS` invented doctors, `SHOTS` + 1 each."""
    known, rng = load().notes["train"], np.random.default_rng(seed)
    found = []
    for _ in range(ROWS):
        doctor = invent("train", rng)
        picked = rng.choice(len(known), SHOTS + 1, replace=False)
        found.append([example(doctor, known[i]) for i in picked])
    return found


def in_one_row(written: Sequence[Example]) -> Example:
    """A doctor's letters one after the other, as in a prompt; all but the first note is learned."""
    row = plain(TASK, written[:-1], written[-1].text, written[-1].label)
    first, arrow = written[0].text, TASK.template.partition("{label}")[0].removeprefix("{text}")
    return Example(first, row.removeprefix(first + arrow))


def taught(lm: LanguageModel, kind: str, seed: int) -> LanguageModel:
    """The model with a training of one of `SEEDS`; those of `STORED` with seed 0 are stored."""
    if kind == "untaught":
        return lm
    if seed == 0 and kind in STORED:
        return adapters.load(lm, ADAPTERS / STORED[kind])
    return teach(lm, kind, seed)


@lru_cache
def _codes_taught(lm: LanguageModel, seed: int) -> TemporaryDirectory:
    """A folder with an adapter that has learned the codes: several trainings begin with it."""
    folder = TemporaryDirectory()
    notes = codes.load_task().train
    adapters.save(codes.train(lm, notes, seed), Path(folder.name, "codes"))
    return folder


def teach(lm: LanguageModel, kind: str, seed: int) -> LanguageModel:
    """Train an adapter: first on the codes alone, as in `codes.train`, then sixteen letters a step.

    "house style": the training notes with house letters. "many styles": letters of many doctors,
    each letter alone. "many styles, shown": the same letters, those of a doctor in one row, so that
    each stands behind demonstrations of its style.
    """
    tuned = adapters.load(lm, Path(_codes_taught(lm, seed).name, "codes"))
    examples, batch = [in_one_row(letters) for letters in by_doctor(seed)], BATCH
    if kind != "many styles, shown":
        batch = BATCH * (SHOTS + 1)
        examples = [one for letters in by_doctor(seed) for one in letters]
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
    return [
        {
            "prompt": prompt,
            "measure": measure,
            "share": float(np.mean(right)),
            "right": bits(right),
            "said": json.dumps(said, ensure_ascii=False) if measure == "both" else "",
        }
        for measure, right in letters_right(visits, said).items()
    ]


def clinic_plan(lm: LanguageModel, draws: int) -> Plan:
    """Every training once, and with it the letters of every draw."""

    def work(training: str, seed: int) -> list[dict]:
        tuned = taught(lm, training, seed)
        prompts = PROMPTS if training == "untaught" else PROMPTS[:2]
        cells = [(d, prompt) for d in range(draws) for prompt in prompts]
        return [{"draw": d} | row for d, prompt in cells for row in ask(tuned, draw(d), prompt)]

    cells = [{"training": kind, "seed": s} for kind in SEEDS for s in range(SEEDS[kind])]
    settled = {"task": "clinic", "questions": DOCTORS * NOTES, "draws": draws} | _settled()
    return Plan(cells, work, settled, ["draw", "seed", "share"])


def right(results: pd.DataFrame, measure: str, **chosen) -> np.ndarray:
    """Which letters of a stored result are right, as an array [draws, letters].

    `chosen` names columns and their values, such as `training="untaught"`. Where several trainings
    are among the rows, an entry is their mean.
    """
    rows = results[results["measure"] == measure]
    for column, value in chosen.items():
        rows = rows[rows[column] == value]
    by_draw = [unpacked(some["right"]).mean(0) for _, some in rows.groupby("draw")]
    return np.array(by_draw)


# What stays of one doctor without the prompt


def distilled_plan(lm: LanguageModel, draws: int) -> Plan:
    """Per draw one doctor, whose letters are distilled into the weights, and another one."""

    def work(draw: int) -> list[dict]:
        return distil(lm, draw)

    looked = {"unlabelled": UNLABELLED, "checkpoints": list(CHECKPOINTS)}
    settled = {"task": "distilled", "questions": NOTES} | looked | _settled()
    return Plan([{"draw": d} for d in range(draws)], work, settled, ["draw", "steps", "share"])


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
    found = [{"steps": 0, "doctor": "own"} | row for row in ask(student, [own], "demonstrations")]

    def look(steps: int) -> list[dict]:
        asked = {"own": (own, "nothing"), "other": (other, "demonstrations")}
        return [
            {"steps": steps, "doctor": name} | row
            for name, (visit, prompt) in asked.items()
            for row in ask(student, [visit], prompt)
        ]

    found += look(0)
    for record in train_on(student, pairs, CHECKPOINTS[-1], seed, TASK):
        if record["step"] in CHECKPOINTS:
            found += look(record["step"])
    return found


PLANS = {"clinic": clinic_plan, "distilled": distilled_plan}


def _settled() -> dict:
    settings = {"rank": codes.RANK, "rows": ROWS, "shots": SHOTS}
    settings |= {"rate": RATE, "batch": BATCH}
    return {"data": digest(*load()), "settings": settings}


def main(arguments: list[str] | None = None) -> int:
    """Make a stored result of the clinic, or one of the adapters that the lesson loads."""
    options = parser("clinic", [*PLANS, *STORED.values()], main.__doc__).parse_args(arguments)
    if options.what in PLANS:
        return make(options, lambda lm: PLANS[options.what](lm, options.draws))
    out = Path(options.out or ADAPTERS / options.what)

    def work() -> None:
        kinds = {name: kind for kind, name in STORED.items()}
        adapters.save(teach(models.load(options.model), kinds[options.what], 0), out, half=True)

    return run(work, out)


if __name__ == "__main__":
    sys.exit(main())

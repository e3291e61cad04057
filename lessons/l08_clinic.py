"""Lesson 8: codes taught to the weights, styles shown in the prompt, and both together.

What the learner builds is judged by the `Build`s below: the two scores of a letter, where two
readers of a letter part, and the remedy's training row.

`python -m lessons clinic` makes the two by two (trained or not, demonstrations or not), and
`… distilled` what stays of one doctor's style without the prompt. `… tuned_together` and then
`… fair_together` make what the claims are decided by: see `fair_together`. `… clinic_house` and
`… clinic_shown` make the adapters in `data/adapters` that the lesson and both results load.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from helpers import adapters, checks, compare, finetune, plots
from helpers.compare import Interval, right, scored, where
from helpers.data import DATA, Example
from helpers.finetune import Encoded
from helpers.model import LanguageModel
from helpers.prompts import count_tokens, encode, plain
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
    """Train the adapter of `lm` once through `examples`, in the seed's order; yields each step."""
    encoded = finetune.encode_examples(lm, TASK, examples)
    order = np.random.default_rng(seed).permutation(len(encoded))
    yield from learn(lm, [encoded[i] for i in order], batch)


def learn(lm: LanguageModel, rows: Sequence[Encoded], batch: int) -> Iterator[dict]:
    """Train the adapter of `lm` once through rows of tokens, as they stand, at a falling rate."""
    cuts = range(0, len(rows), batch)
    plan = [(1, rows[cut : cut + batch]) for cut in cuts]
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


# What stored letters say

CELLS = {  # who wrote, and behind which prompt
    "untaught": ("untaught", "nothing"),
    "weights alone": ("house style", "nothing"),
    "prompt alone": ("untaught", "demonstrations"),
    "both, plain": ("house style", "demonstrations"),
    "both, remedy": ("many styles, shown", "demonstrations"),
}
# The untaught model gets no letter right; a rival of equal training stands in its place.
FULL_SIZE = {
    **{name: cell for name, cell in list(CELLS.items())[1:4]},
    "both, letters alone": ("many styles", "demonstrations"),
    "both, remedy": CELLS["both, remedy"],
}
RIVALS = {
    "prompt alone, with the codebook": ("untaught", "codebook and demonstrations"),
    "prompt alone, a letter for every code": ("untaught", "a letter for every code"),
    "both, remedy": CELLS["both, remedy"],
}
LOOKED = {  # whose letters after distilling, behind which prompt, and the two in words
    ("own", "demonstrations"): "this doctor, shown",
    ("own", "nothing"): "this doctor, no prompt",
    ("other", "demonstrations"): "another doctor, shown",
}


def stored_letters(results: pd.DataFrame, cell: tuple[str, str]) -> list[list[str]]:
    """The letters of each draw that a cell of the stored result has written, seed 0."""
    way, prompt = cell
    rows = where(results, way=way, prompt=prompt, measure="both", seed=0).sort_values("draw")
    return [json.loads(written) for written in rows["said"]]


def shares(
    results: pd.DataFrame, cells: Mapping[str, tuple[str, str]] = CELLS
) -> dict[str, dict[str, Interval]]:
    """The share of letters right, by cell and measure."""
    return {
        name: {
            measure: compare.interval(right(results, measure=measure, way=way, prompt=prompt))
            for measure in letters.MEASURES
        }
        for name, (way, prompt) in cells.items()
    }


def show_shares(measured: Mapping[str, Mapping[str, Interval]]) -> None:
    """The stored shares of all cells, for codes, for style, and for both at once."""
    both = {name: by_measure["both"] for name, by_measure in measured.items()}
    best = max(both, key=lambda name: both[name].mean)
    others = max(number.mean for name, number in both.items() if name != best)
    plots.whiskers(
        {"": measured},
        f"Both at once: {best!r} {both[best].mean:.2f}, the others at most {others:.2f}",
        "Both at once: " + "; ".join(f"{name} {number}" for name, number in both.items()) + ".",
        y="share of letters right",
        form="bars",
    )


def kept_after(results: pd.DataFrame) -> pd.DataFrame:
    """What letters keep before and after distilling: of the doctor whose letters were distilled,
    behind letters (beforehand only) and without a prompt, and of another one, behind letters."""
    ends, columns = {0, max(results["steps"])}, {}
    for (doctor, prompt), name in LOOKED.items():
        looked = where(results, doctor=doctor, prompt=prompt)
        for steps in sorted(ends & set(looked["steps"])):
            rows = where(looked, steps=steps)
            kept = letters.rules_kept(rows)
            column = {
                rule: kept[rule].mean() for rule in ("opening", "wording", "sign-off", "code")
            }
            column["whole style"] = right(rows, measure="style").mean()
            columns[name, f"{steps} steps"] = column
    return pd.DataFrame(columns).round(2)


# What the learner builds: the scores of a letter, where two readers part, the remedy's row


def marks(doctor: dict[str, str], note: letters.Note, text: str) -> list[float]:
    """Whether a letter's code is right, whether the style is kept, and both at once."""
    return _marks(doctor, note, text)


def _marks(
    doctor: dict[str, str],
    note: letters.Note,
    text: str,
    code: Callable = lambda named, note: named == {note.code},
    style: Callable = lambda text, before, after: text.startswith(before) and text.endswith(after),
    both: Callable = lambda code, style: code * style,
) -> list[float]:
    """`marks` with what stands in its three blanks."""
    named = {name for name, words in letters.load().codes.items() if words in text.lower()}
    code_right = code(named, note)
    before, after = letters.write(doctor, note, "|").split("|")
    style_kept = style(text, before, after)
    return [code_right, style_kept, both(code_right, style_kept)]


def _judged() -> tuple[letters.Visit, list[str]]:
    """A visit whose note is answered with a right letter and with some that are wrong somewhere."""
    doctor, note = (visit := draw(0)[0]).doctor, visit.notes[0]
    letter, words = letters.write(doctor, note), letters.load().codes[note.code]
    other = next(w for code, w in letters.load().codes.items() if code != note.code)
    changed = [words.upper(), other, f"{words} and {other}", "a bad mood"]
    texts = [letter, *(letter.replace(words, new) for new in changed)]
    texts += [f"{letter} Bye", f"Hello. {letter}", letters.write(letters.HOUSE, note), ""]
    return visit._replace(notes=[note] * len(texts)), texts


def _marks_trial(piece: Callable, _) -> list[list[float]]:
    visit, texts = _judged()
    return [piece(visit.doctor, visit.notes[0], text) for text in texts]


def _marks_truth(_) -> np.ndarray:
    visit, texts = _judged()
    return np.array(list(letters_right([visit], texts).values())).T


MARKS = checks.Build(
    own=marks,
    trial=_marks_trial,
    truth=_marks_truth,
    praise="your scores are those by which the stored letters were judged.",
    mistakes={
        "a letter that names another finding as well is not right: compare the whole set.": partial(
            _marks, code=lambda named, note: note.code in named
        ),
        "not any code will do: it must be the note's own.": partial(
            _marks, code=lambda named, note: bool(named)
        ),
        "a letter also has an ending; look at what comes after the finding.": partial(
            _marks, style=lambda text, before, after: text.startswith(before)
        ),
        "a letter also has a beginning: both ends must be the doctor's.": partial(
            _marks, style=lambda text, before, after: text.endswith(after)
        ),
        "one of the two is not both: multiply.": partial(
            _marks, both=lambda code, style: max(code, style)
        ),
        "a mean gives half a point to a letter with a wrong finding: multiply.": partial(
            _marks, both=lambda code, style: (code + style) / 2
        ),
    },
)

Reader = tuple[LanguageModel, str]  # a model with the prompt before a letter


def parting(first: Reader, second: Reader, letter: str) -> tuple[np.ndarray, int]:
    """What each token of a letter costs two readers, and where the second pays most more."""
    return _parting(first, second, letter)


def _parting(
    first: Reader,
    second: Reader,
    letter: str,
    row: Callable = lambda i: i - 1,
    at: Callable = lambda costs: np.argmax(costs[1] - costs[0]),
) -> tuple[np.ndarray, int]:
    """`parting` with what stands in its two blanks."""
    costs = []
    for lm, prompt in (first, second):
        start = len(lm.tokenizer(prompt).input_ids)
        tokens = lm.tokenizer(f"{prompt} {letter}", return_tensors="pt").input_ids.to(lm.device)
        with torch.no_grad():
            log_p = torch.log_softmax(lm.model(tokens).logits[0].float(), dim=-1)
        costs.append([-log_p[row(i), tokens[0, i]].item() for i in range(start, tokens.shape[1])])
    return np.array(costs), at(np.array(costs))


def _readers(lm: LanguageModel) -> tuple[list[Reader], str]:
    """A model with a note alone and behind letters of its doctor, and that doctor's letter."""
    visit = draw(0)[0]
    note = visit.notes[0]
    readers = [(lm, plain(TASK, shown, str(note))) for shown in ([], visit.demonstrations)]
    return readers, letters.write(visit.doctor, note)


def _parting_trial(piece: Callable, lm: LanguageModel) -> list[float]:
    readers, letter = _readers(lm)
    costs, place = piece(*readers, letter)
    return [*np.ravel(costs), place]


def _parting_truth(lm: LanguageModel) -> list[float]:
    (readers, letter), costs = _readers(lm), []
    for _, prompt in readers:
        tokens, start = (
            encode(lm.tokenizer, f"{prompt} {letter}"),
            count_tokens(lm.tokenizer, prompt),
        )
        costs.append(finetune.token_losses(lm, Encoded(tokens, start))[start - 1 :])
    extra = costs[1] - costs[0]
    return [*np.ravel(costs), extra.tolist().index(extra.max())]


PARTING = checks.Build(
    own=parting,
    trial=_parting_trial,
    truth=_parting_truth,
    praise="your costs are those of the course's own token_losses, and the place is right.",
    mistakes={
        "row i foretells token i + 1, so token i is foretold by the row before it.": partial(
            _parting, row=lambda i: i
        ),
        "that is where the first pays most more; take the second's costs minus the first's.": (
            partial(_parting, at=lambda costs: np.argmax(costs[0] - costs[1]))
        ),
        "that is where the second pays most; take away what the first pays there.": partial(
            _parting, at=lambda costs: np.argmax(costs[1])
        ),
        "that is how much more it pays; the place is asked for, with np.argmax.": partial(
            _parting, at=lambda costs: np.max(costs[1] - costs[0])
        ),
    },
)


def training_row(lm: LanguageModel, written: Sequence[Example]) -> Encoded:
    """A doctor's letters as a prompt and its answer, of which the loss counts the last letter."""
    return _training_row(lm, written)


def _training_row(
    lm: LanguageModel,
    written: Sequence[Example],
    shown: Callable = lambda written: written[:-1],
    line: str = "{} => {}\n",
    start: Callable = lambda lm, prompt, written: len(lm.tokenizer(prompt).input_ids),
) -> Encoded:
    """`training_row` with what stands in its three blanks."""
    last, prompt = written[-1], ""
    for letter in shown(written):
        prompt += line.format(letter.text, letter.label)
    prompt += f"{last.text} =>"
    tokens = lm.tokenizer(f"{prompt} {last.label}\n").input_ids
    return Encoded(tokens, start(lm, prompt, written))


def _row_trial(piece: Callable, lm: LanguageModel) -> list[float]:
    """Where the loss begins, how many tokens there are, and these: for the rows of two doctors."""
    numbers = []
    for row in by_doctor(0)[:2]:
        tokens, start = piece(lm, row)
        numbers += [start, len(tokens), *tokens]
    return numbers


def _row_truth(lm: LanguageModel) -> list[float]:
    def coded(row: list[Example]) -> Encoded:
        return finetune.encode_examples(lm, TASK, row[-1:], demonstrations=lambda *_: row[:-1])[0]

    rows = [coded(row) for row in by_doctor(0)[:2]]
    return [n for tokens, start in rows for n in (start, len(tokens), *tokens)]


ROW = checks.Build(
    own=training_row,
    trial=_row_trial,
    truth=_row_truth,
    praise="the course's own encoder makes the same rows, and counts the same tokens.",
    mistakes={
        "the answer stands among the demonstrations, so it could be copied: leave it out.": partial(
            _training_row, shown=lambda written: written
        ),
        "no letter stands before the note, so there is nothing to look back to.": partial(
            _training_row, shown=lambda written: []
        ),
        "a demonstration must look as in asking: a line break ends it.": partial(
            _training_row, line="{} => {}"
        ),
        "a demonstration must look as in asking: no empty line follows it.": partial(
            _training_row, line="{} => {}\n\n"
        ),
        "a demonstration still ends in `...`: put =>, the letter and a line break there.": partial(
            _training_row, line="{} ..."
        ),
        "a demonstration must look as in asking: => stands between note and letter.": partial(
            _training_row, line="{} {}\n"
        ),
        "that counts the demonstrations too; the loss begins behind the whole prompt.": partial(
            _training_row,
            start=lambda lm, prompt, written: count_tokens(lm.tokenizer, f"{written[0].text} =>"),
        ),
        "the loss would count the whole row; only its last letter is to be learnt.": partial(
            _training_row, start=lambda lm, prompt, written: 0
        ),
        "those are characters; count the prompt's tokens.": partial(
            _training_row, start=lambda lm, prompt, written: len(prompt)
        ),
    },
)


def show_parting(
    costs: np.ndarray, tokens: Sequence[str], names: Sequence[str], most: int = 7
) -> None:
    """What each of a letter's first tokens costs two readers, in nats."""
    costs_of = {
        name: [Interval(c, c, c) for c in row[:most]]
        for name, row in zip(names, costs, strict=True)
    }
    seen = [plots.visible(token) for token in tokens[:most]]
    extra = np.subtract(costs[1], costs[0])[:most]
    told = [f"{n}: " + ", ".join(f"{c.mean:.1f}" for c in v) for n, v in costs_of.items()]
    plots.whiskers(
        {"": {n: dict(zip(seen, v, strict=True)) for n, v in costs_of.items()}},
        f"{names[1]!r} pays {extra[0]:.1f} nats more at the doctor's first word {tokens[0]!r}",
        "; ".join(told) + ".",
        x="the doctor's letter, token by token",
        y="cost of the token (nats)",
    )


# Explorer and checks


def letter_explorer(results: pd.DataFrame, cells: Mapping[str, tuple[str, str]] = CELLS) -> Panel:
    """Choose doctor and note of a stored result of the clinic; see the letter of each cell and the
    rules that it breaks. The first note's are printed as well."""
    visits = [visit for d in sorted(set(results["draw"])) for visit in draw(d)]
    asked = letters.asked(visits)
    said = {
        name: [letter for written in stored_letters(results, cell) for letter in written]
        for name, cell in cells.items()
    }

    def view(doctor: int, note: int) -> list[tuple[str, str, str]]:
        place = doctor * NOTES + note - 1
        style, noted = asked[place]
        rows = [("right", letters.write(style, noted))]
        rows += [(name, written[place]) for name, written in said.items()]
        return [(name, letter, _broken(style, noted, letter)) for name, letter in rows]

    def show(doctor: int, note: int) -> str:
        shown = "<br>".join(escape(letter.label) for letter in visits[doctor].demonstrations)
        noted = escape(str(visits[doctor].notes[note - 1]))
        head = f"<p>Letters by this doctor:<br>{shown}</p><p>Note: <b>{noted}</b></p>"
        return head + rows_table(view(doctor, note))

    for name, letter, mark in view(0, 1):
        print(f"{name:13} | {letter} | {mark}")
    doctors = {f"{i + 1}: Dr {visit.doctor['doctor']}": i for i, visit in enumerate(visits)}
    sentence = "An explorer of letters, in a live notebook."
    return explorer(show, sentence, doctor=doctors, note=range(1, NOTES + 1))


def _broken(style: dict[str, str], note: letters.Note, letter: str) -> str:
    kept = letters.rules(style, note, letter)
    broken = [rule for rule, is_kept in kept.items() if not is_kept]
    return f"✗ {', '.join(broken)}" if broken else "✓ all rules kept"


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


# How many of the ten letters that `check_chain` asks for the lesson's eight steps of training get
# right in code and style: measured once, with rows in the order of the seed's doctors.
MENDED = 3


def check_chain(chain: Callable[[Visit], Sequence[str] | None], goal: int = MENDED) -> None:
    """Check that the learner's way to write the letters of a visit gets at least `goal` of ten
    development letters right in code and style."""
    visits, problem, praise, said = draw(100, "dev"), None, "", [None]
    try:
        said = [chain(visit) for visit in visits]
    except Exception as error:  # whatever a learner's piece does, the lesson goes on
        problem = f"it stops with {type(error).__name__}: {error}."
    if not problem and None not in said:
        if any(len(part) != NOTES for part in said):
            problem = f"return a letter for each of the {NOTES} notes of a visit."
        else:
            marked = letters_right(visits, [letter for part in said for letter in part])
            code, style, both = (sum(marked[measure]) for measure in letters.MEASURES)
            praise = f"{both} of 10 have both right; {code} the code, {style} the style."
            problem = None if both >= goal else f"{praise} Get at least {goal}."
    checks.tell(problem is not None or None not in said, problem, praise)


# What the lesson found

LESSON = "08_better_together"


def findings(results: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """What the stored letters say of C1 and C2, and what else is to know."""
    way, _ = remedy = CELLS["both, remedy"]

    def gained(measure: str, over: tuple[str, str]) -> Interval:
        here, there = (
            right(results, measure=measure, way=way, prompt=prompt) * 1.0
            for way, prompt in (remedy, over)
        )
        return compare.interval(here - there)

    alone = CELLS["prompt alone"]
    share = shares(results, {"remedy": remedy})["remedy"]["both"]
    knows, adapts = gained("codes", alone), gained("style", (way, "nothing"))
    return {
        "C1": (
            f"both right {share}; minus prompt alone {gained('both', alone):+.2f}",
            "The training must hold demonstrations of many styles; plain fine-tuning breaks them.",
        ),
        "C2": (
            f"training on codes {knows:+.2f}; demonstrations on style {adapts:+.2f}",
            "Here fine-tuning also had to teach how to adapt.",
        ),
    }

"""Files of shapes that people have: each ends in advice that makes sense, within its minutes."""

import csv
import html
import re
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest

from helpers.data import DATA, Example, Task
from own_data import compare_own, curve, judging, kept, read_own
from own_data.classifiers import NEVER
from own_data.prompted import CANDIDATES, forms, prompt_again
from own_data.reading import Round
from own_data.ways import TITLES, UNTAUGHT

GALLERY = DATA.parent / "docs" / "gallery"
FILLERS = "the a my we it so then still just about from with after again today please"
SHARE = 0.35  # of a text's words that tell its label


def written(rng, telling: str, length: int, fillers: str = FILLERS, share: float = SHARE) -> str:
    """A text of so many words, a share of them telling ones."""
    known, others = telling.split(), fillers.split()
    words = [rng.choice(known if rng.random() < share else others) for _ in range(length)]
    return " ".join(words)


def texts_of(telling: dict, each: dict, length: int = 10, **how) -> list[tuple[str, str]]:
    """Labelled texts, so many of each label, in an order that tells nothing."""
    rng = np.random.default_rng(1)
    rows = [
        (written(rng, telling[label], length, **how), label)
        for label, count in each.items()
        for _ in range(count)
    ]
    return [rows[i] for i in rng.permutation(len(rows))]


def spam():
    """86 % ham and 14 % spam, as in collections of text messages."""
    telling = {
        "ham": "home dinner later mum bus ok sorry love tonight lesson phone see",
        "spam": "win cash prize free claim urgent call text offer guaranteed txt now",
    }
    return texts_of(telling, {"ham": 430, "spam": 70})


def long_texts():
    """Reports of 600 words whose label shows in their words everywhere."""
    telling = {"fire": "smoke alarm burn hose ash", "flood": "water pump river damp sand"}
    return texts_of(telling, {"fire": 40, "flood": 40}, 600, share=0.1)


def two_languages():
    """English and Spanish with the same three labels."""
    telling = {
        "delivery": "parcel courier late van depot paquete correo tarde furgoneta entrega",
        "billing": "invoice charged card twice refund factura cobro tarjeta doble cargo",
        "account": "password login locked email reset clave acceso bloqueada correo cuenta",
    }
    fillers = f"{FILLERS} el la mi y con de para otra vez hoy por favor gracias"
    return texts_of(telling, dict.fromkeys(telling, 70), fillers=fillers)


def newsgroups():
    """20 labels with dots and slashes, some of which begin others."""
    groups = ["comp.sys", "comp.sys/mac", "comp.sys/ibm.pc", "rec.autos", "rec/motorcycles"]
    groups += [f"{top}.{sub}" for top, sub in product(("sci", "talk", "soc"), "abcde")]
    telling = {group: " ".join(f"w{i}x{j}" for j in range(8)) for i, group in enumerate(groups)}
    return texts_of(telling, dict.fromkeys(groups, 12), share=0.4)


def right_to_left():
    """Hebrew texts with Arabic labels."""
    telling = {"شحن": "חבילה שליח איחור משלוח דואר", "دفع": "חשבון חיוב כרטיס תשלום החזר"}
    fillers = "אני לא את עוד היום שוב בבקשה"
    return texts_of(telling, dict.fromkeys(telling, 60), fillers=fillers)


def many_duplicates():
    """A log in which two rows of three are copies, and some copies bear another label."""
    telling = {"error": "crash fail fatal panic trace", "info": "start ready listen loaded done"}
    once = texts_of(telling, dict.fromkeys(telling, 60), 6)
    return once + once + [(text, "info" if i < 6 else said) for i, (text, said) in enumerate(once)]


def numbers_as_labels():
    """German ratings from 1 to 4 with umlauts, for a semicolon and a Western code page."""
    telling = {
        "1": "schrecklich kaputt ärgerlich nie",
        "2": "mäßig schwach lose müde",
        "3": "ordentlich brauchbar üblich geht",
        "4": "großartig schön prächtig gerne",
    }
    fillers = "der die das ich wir und dann noch nur ungefähr mit nach wieder heute bitte für über"
    return texts_of(telling, {"1": 30, "2": 40, "3": 60, "4": 80}, 9, fillers=fillers)


def random_labels():
    """Labels that were given without reading."""
    words = "red blue tall small round square warm cold old new"
    return texts_of({"yes": words, "no": words}, {"yes": 200, "no": 160})


def intents(count: int, each: int):
    """Requests to a bank with many labels, several words long, that share words."""
    kinds = ["card", "cash", "transfer", "refund", "fee", "top-up", "limit", "account"]
    things = [f"{kind}_{i}" for i, kind in product(range(20), kinds)][:count]
    telling = {
        f"{name}_query": f"{name.replace('_', 'q')} t{i}a t{i}b t{i}c"
        for i, name in enumerate(things)
    }
    return texts_of(telling, dict.fromkeys(telling, each), 8, share=0.4)


SHAPES = {  # the rows, how the file is written, and a share that is surely below the best way's
    "spam": (spam, {}, 0.9),
    "long texts": (long_texts, {}, 0.7),
    "two languages": (two_languages, {}, 0.7),
    "newsgroups": (newsgroups, {}, 0.6),
    "right to left": (right_to_left, {}, 0.7),
    "many duplicates": (many_duplicates, {}, 0.7),
    "numbers as labels": (numbers_as_labels, {"encoding": "cp1252", "separator": ";"}, 0.6),
}
NOTES = {
    "long texts": r"texts are long: the model reads the beginning of each, and only word counts",
    "right to left": r"120 texts hold writing from right to left",
    "many duplicates": r"because the same text stands above: .*, because one text has several",
    "numbers as labels": r"read as cp1252",
}
QUICK = 0.01  # minutes: the model's ways are asked a little, word counts all


@pytest.fixture
def compared(tiny, tmp_path):
    """Compare the ways on labelled texts; returns what came of it and the page."""

    def run(rows, minutes, encoding="utf-8", separator=","):
        path = tmp_path / "mine.csv"
        with path.open("w", newline="", encoding=encoding) as opened:
            csv.writer(opened, delimiter=separator).writerows([("text", "label"), *rows])
        result = compare_own(tiny, read_own(path), tmp_path / "out", minutes)
        return result, (tmp_path / "out" / "report.html").read_text(encoding="utf-8")

    return run


@pytest.mark.parametrize("name", SHAPES)
def test_what_can_be_learned_is_advised(compared, name):
    shape, how, share = SHAPES[name]
    (judged, advice, _), page = compared(shape(), QUICK, **how)
    assert advice.choice.startswith(("Use ", "Undecided between "))
    assert judging.lead(judged, advice.way, "majority").gap.low > 0
    assert judging.accuracy(judged, advice.way).low > share
    assert re.search(NOTES.get(name, ""), " ".join(judged.own.notes))
    assert html.escape(advice.choice) in page
    assert set(judged.own.labels) == {label for _, label in shape()}


def test_ham_alone_is_no_finding(compared):
    """Where one label is frequent, saying it always is right often and finds nothing."""
    rng = np.random.default_rng(0)
    rows = [(text, "spam" if rng.random() < 0.14 else "ham") for text, _ in spam()]
    (judged, advice, _), _ = compared(rows, QUICK)
    assert judging.accuracy(judged, "majority").mean > 0.8
    assert not advice.decided and not advice.choice.startswith("Undecided between")


def test_labels_given_without_reading_are_never_advised_on(compared):
    (judged, advice, _), _ = compared(random_labels(), QUICK)
    assert len(judged.answers["words"].rows) >= 60 and not advice.decided
    assert advice.choice.startswith(("Nothing was found", "Undecided: nothing is surely better"))


@pytest.mark.parametrize(("count", "each", "minutes"), [(77, 4, 0.05), (150, 4, 0.05)])
def test_of_many_labels_a_few_are_scored_for_each_question(tiny, compared, count, each, minutes):
    (judged, advice, files), page = compared(intents(count, each), minutes)
    assert len(judged.own.labels) == count and advice.choice.startswith(("Use", "Undecided betw"))
    assert judging.accuracy(judged, advice.way).low > 0.4
    known = {name: judged.record.ways[name] for name in ("zero-shot", "prompt", "lora")}
    asked = {name: len(judged.answers[name].rows) for name in known}
    assert all(0 <= known[name]["among"] <= asked[name] for name in known)
    assert all(judged.answers[name].right.sum() <= known[name]["among"] for name in known)
    most = max(known, key=lambda name: (asked[name], known[name]["among"]))
    assert f"among them in {known[most]['among']} of {asked[most]} questions" in " ".join(
        page.split()
    )
    way = kept.load_way(files[0].parent / kept.PLACE / "prompt", tiny)
    text = judged.own.rows[judged.own.asked(0)[0]].text
    (log_p,), few = replace(way, shift=0.0).log_p([text]), way.candidates(text)
    assert len(few) == CANDIDATES
    assert np.isclose(log_p, NEVER, atol=1e-3).sum() == count - CANDIDATES
    assert judged.own.labels[log_p.argmax()] in few
    assert page.count("said: ") == 0 and len(page) < 300_000  # no table of all pairs


def test_candidates_are_the_labels_of_the_most_similar_rows(tiny):
    rows = [
        Example(f"{word} {i}", f"{word} label")
        for word in map(str, range(100, 130))
        for i in (1, 2)
    ]
    labels = tuple(sorted({row.label for row in rows}))
    task = Task(
        "mine",
        "Text: {text}\nLabel: {label}\n\n",
        tuple(rows),
        (),
        labels,
        dict(zip(labels, labels, strict=True)),
    )
    for form in forms(tiny, Round(task, rows[:2]), True):
        assert form.candidates("117 1")[0] == "117 label" and form.near
        assert len(form.candidates("nothing like it")) == CANDIDATES
    few = replace(
        task,
        labels=labels[:CANDIDATES],
        train=tuple(r for r in rows if r.label in labels[:CANDIDATES]),
    )
    whole = forms(tiny, Round(few, rows[:2]), True)
    assert len(whole) == 4 and all(len(form.candidates("117 1")) == CANDIDATES for form in whole)
    assert not any(form.pool for form in whole)


def test_a_prompt_is_found_again_where_fewer_examples_fit(tiny):
    rows = tuple(Example(f"{'long ' * 20}{i}", "ab"[i % 2]) for i in range(24))
    task = Task(
        "mine", "Text: {text}\nLabel: {label}\n\n", rows, (), ("a", "b"), {"a": "a", "b": "b"}
    )
    given = Round(task, list(rows[:4]))
    setting = "no instruction, the same 16 examples, calibrated"
    again = prompt_again(tiny, given, True, setting, np.zeros(2))
    assert re.fullmatch(r"no instruction, the same \d+ examples, calibrated", again.setting)
    assert len(again.shown) < 16 and f"same {len(again.shown)} " in again.setting
    near = prompt_again(
        tiny, given, True, "the labels listed first, the 8 most similar examples", np.zeros(2)
    )
    assert near.near == 8 and len(near.shown) == 28


def test_every_way_has_a_learning_curve_where_there_is_time(compared):
    telling = {"late": "late wait when week", "broken": "crack split dent snap"}
    rows = texts_of(telling, dict.fromkeys(telling, 28), 3)
    (judged, _, files), page = compared(rows, 30)
    table = pd.read_csv(next(path for path in files if path.name == "curve.csv"))
    sizes = sorted([curve.all_rows(judged.own), *curve.steps(judged.own)])
    assert len(sizes) > 1 and set(table["way"]) == {TITLES[name] for name in TITLES} - {
        TITLES[name] for name in UNTAUGHT
    }
    for way, found in table.groupby("way"):
        assert found["labelled rows"].tolist() == sizes, way
        assert found["questions"].nunique() == 1 and found["right"].between(0, 1).all()
    assert page.count("data:image/svg+xml;base64,") == 2 and "The last doubling brought" in page
    alts = re.findall(r'alt="([^"]+)"', page)
    assert len(alts) == 2 and "with fewer labelled rows" in page and "labelled rows, " in alts[1]


@pytest.mark.parametrize("name", ["support_tickets", "reviews"])
def test_a_page_of_the_gallery_stands_alone_and_is_of_the_rows_as_they_are(name):
    page = (GALLERY / f"{name}.html").read_text(encoding="utf-8")
    assert len(page.encode()) < 300_000 and "<script" not in page
    assert "http" not in page and not re.search(r'src="(?!data:)', page)
    assert not re.search(r"(?<![\w.])/(work|tmp|home|root)/", page)
    assert f"docs/gallery/{name}.html" in (DATA.parent / "README.md").read_text(encoding="utf-8")
    own = read_own(DATA / f"{name}.csv")
    assert f"{len(own.rows)} usable rows with {len(own.labels)} labels" in page

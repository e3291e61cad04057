"""Faults and shuffled pairs change what they say and nothing else; batches are what they are."""

from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from test_study import refused

from helpers import compare
from helpers.data import Example, load_task, texts
from helpers.prompts import plain
from helpers.study import carry_out
from lessons import contest, contrasts, misled

pytestmark = pytest.mark.usefixtures("one_thread")
CATEGORY = load_task("category")
TICKETS = contest.load("support_tickets")


@pytest.fixture
def few(monkeypatch):
    """Tasks of a few questions, and two settings to try."""
    small = {}
    for name in {*misled.TASKS, *misled.PAIRS}:
        task = contest.load(name)
        asked = tuple(misled.balanced_order(task.held_out, task.labels, 0)[:4])
        train = tuple(misled.balanced_order(task.train, task.labels, 0)[:40])
        small[name] = replace(task, train=train, held_out=asked)
    monkeypatch.setattr(contest, "load", small.get)
    monkeypatch.setattr(contest, "DEV", 2)
    monkeypatch.setattr(misled, "DEV", {"faults": 2, "shuffled": 2})
    monkeypatch.setattr(misled, "TASKS", ("category",))
    monkeypatch.setattr(misled, "PAIRS", ("plurals", "category"))
    short = {"faults": ["bare, first 8", "list, like words"]}
    short |= {"shuffled": ["bare, as drawn", "instruction, turned round"]}
    monkeypatch.setattr(misled, "TRIED", short)
    return small


# Faults


def test_every_fault_leaves_the_question_of_a_ticket_as_it_is():
    drawn, question = TICKETS.draw(8, 1), plain(TICKETS, [], "some text")
    written = {fault: misled.faulty(TICKETS, fault) for fault in misled.FAULTS}
    prompts = {fault: style(TICKETS, drawn, "some text") for fault, style in written.items()}
    assert len(set(prompts.values())) == len(prompts) == 7
    assert all(prompt.endswith(question) for prompt in prompts.values())
    assert prompts["clean"] == plain(TICKETS, drawn, "some text")
    assert set(misled.CLAIMED) == set(misled.FAULTS) - {"clean"}


def test_as_many_settings_are_tried_as_in_the_contest():
    assert {len(set(tried)) for tried in misled.TRIED.values()} == {12}
    assert all(misled.DEFAULT[kind] in tried for kind, tried in misled.TRIED.items())


@pytest.mark.parametrize("name", [*misled.TASKS, *misled.PAIRS])
def test_no_words_of_a_form_are_asked(name, lm):
    task = contest.load(name)
    told = misled.put(lm, task, "list")[0].instruction
    assert told.startswith(misled.INSTRUCTION[name])
    assert all(f"\n{label}: " in told for label in task.labels)
    if not task.labels:
        assert not set(told.replace(",", " ").split()) & set(texts(task.held_out))


@pytest.mark.parametrize("choice", misled.CHOICES)
def test_a_label_is_missing_for_every_query(choice, tiny):
    pool, _ = misled.drawn_of(CATEGORY, misled.POOL, 3, 8)
    taught = misled.with_fault(tiny, CATEGORY, pool, "a label missing", f"bare, {choice}")
    seen = taught.demonstrations
    seen = seen(pool[0].text) if callable(seen) else seen
    assert len(seen) == {"first 8": 7, "first 16": 14, "first 32": 28}.get(choice, 4)
    assert pool[0].label not in {example.label for example in seen}
    prompt = taught.style(CATEGORY, seen, "ox")
    assert prompt == plain(CATEGORY, seen, "ox")


def test_a_fault_stands_behind_the_instruction(tiny):
    pool = CATEGORY.draw(8, 0)
    taught = misled.with_fault(tiny, CATEGORY, pool, "label before text", "list, first 8")
    prompt = taught.style(taught.task, taught.demonstrations, "ox")
    assert prompt.startswith(misled.INSTRUCTION["category"] + "\n" + misled.LIST["category"])
    assert f"\n\n{pool[0].label} -> {pool[0].text}\n" in prompt and prompt.endswith("\nox ->")


def test_what_is_asked_in_development_is_never_shown():
    for shown, kind in ((misled.POOL, "faults"), (misled.SHOWN, "shuffled")):
        pool, dev = misled.drawn_of(CATEGORY, shown, 100, misled.DEV[kind])
        assert len(pool) == shown and len(dev) == misled.DEV[kind]
        assert not set(texts(pool)) & set(texts(dev))
        assert not set(texts([*pool, *dev])) & set(texts(CATEGORY.held_out))


# Shuffled pairs


@pytest.mark.parametrize("name", misled.PAIRS)
def test_no_pair_keeps_its_answer_and_no_answer_is_lost(name):
    for seed in range(5):
        drawn, _ = misled.drawn_of(contest.load(name), misled.SHOWN, seed, 8)
        other = misled.shuffled(drawn, seed)
        assert texts(other) == texts(drawn) and other == misled.shuffled(drawn, seed)
        assert all(a.label != b.label for a, b in zip(drawn, other, strict=True))
        assert Counter(e.label for e in other) == Counter(e.label for e in drawn)


def test_what_cannot_be_shuffled_is_told():
    pairs = [Example("a", "x"), Example("b", "x"), Example("c", "y")]
    refused(lambda: misled.shuffled(pairs, 0), "No shuffling was found")


@pytest.mark.parametrize("order", misled.ORDERS)
def test_every_setting_shows_all_pairs(order, tiny):
    task = contest.load("plurals")
    seen = misled.with_pairs(tiny, task, task.train[:16], f"chat, {order}").demonstrations
    assert set(seen) == set(task.train[:16]) and len(seen) == 16
    assert (seen[0] == task.train[0]) == (order == "as drawn")
    assert (seen[0] == task.train[15]) == (order == "turned round")
    if order == "shortest first":
        assert [len(pair.text) for pair in seen] == sorted(len(e.text) for e in task.train[:16])


# Tuned, measured, contrasted


def test_either_side_takes_the_setting_that_did_best_for_it(tiny, few, tmp_path, monkeypatch):
    studies = {
        "tuned_shuffled": misled.shuffled_tuning(tiny, 1),
        "tuned_faults": misled.faults_tuning(tiny, 1),
    }
    tables = {n: carry_out(s, tiny, tmp_path / f"{n}.csv") for n, s in studies.items()}
    monkeypatch.setattr(compare, "stored", tables.get)
    for kind, study in {"shuffled": misled.shuffled_study, "faults": misled.faults_study}.items():
        rows = carry_out(study(tiny, 1), tiny, tmp_path / f"{kind}.csv")
        assert set(rows["recipe"]) == {"default", "tuned"}
        for row in rows.to_dict("records"):
            side = {k: row[k] for k in ("task", "pairs", "fault") if k in row}
            tuned = row["recipe"] == "tuned"
            assert row["setting"] == (
                misled.chosen(kind, **side) if tuned else misled.DEFAULT[kind]
            )
            assert len(row["right"]) == 4
            if row["scores"]:
                labels = len(few[row["task"]].labels)
                assert list(map(len, contest.scores_of(row, labels))) == [4, 2]


def test_what_is_chosen_is_the_best_over_both_readouts(monkeypatch):
    values = {"a": (0.1, 0.9), "b": (0.4, 0.7), "c": (0.6, 0.5)}
    rows = pd.DataFrame(
        {"way": way, "task": task, "readout": readout, "value": sign * value}
        for task, sign in (("x", 1), ("y", -1))
        for way, pair in values.items()
        for readout, value in zip(contest.READOUTS, pair, strict=True)
    )
    monkeypatch.setattr(compare, "stored", lambda name: rows)
    assert misled.chosen("faults", task="x") == "b"
    assert misled.chosen("faults", task="y") == "a"
    asked = []
    misled.DEFAULT, kept = misled.DEFAULT | {"faults": "b"}, misled.DEFAULT
    try:
        found = misled.by_recipe("faults", lambda s: asked.append(s) or {"setting": s}, task="x")
    finally:
        misled.DEFAULT = kept
    assert asked == ["b"]  # once for both
    assert [row["recipe"] for row in found] == ["default", "tuned"]


def made_up(task, share: dict, key: str, labels: int) -> list[dict]:
    """Rows whose scores answer so many questions right, and are level on the training texts."""
    rows, truth = [], [task.labels.index(e.label) for e in task.held_out] if labels else []
    for (side, good), draw, recipe in product(share.items(), range(10), contrasts.RECIPES):
        right = np.arange(len(task.held_out)) < good * len(task.held_out)
        row = {"task": task.name, "draw": draw, key: side, "recipe": recipe, "scores": ""}
        if labels:
            said = [t if r else (t + 1) % labels for t, r in zip(truth, right, strict=True)]
            scores = np.vstack([np.eye(labels)[said], np.zeros((4, labels))])
            row["scores"] = contest.as_text(scores)
        rows.append(row | compare.scored(right))
    return rows


def test_faults_are_contrasted_at_every_fault_on_every_task(few):
    share = dict.fromkeys(misled.FAULTS, 0.5) | {"clean": 0.75, "mixed case": 0.25}
    tasks = [few[name] for name in ("category", "reviews")]
    rows = [row for task in tasks for row in made_up(task, share, "fault", len(task.labels))]
    found = pd.DataFrame(misled.of_faults(pd.DataFrame(rows)))
    assert len(found) == 2 * 6 * 2 * 2 and set(found["claim"]) == {"I8"}
    plainly = found[found["readout"] == "plain"].groupby("level")["mean"].mean()
    assert plainly["mixed case on reviews"] == pytest.approx(0.5)
    assert plainly["no break on category"] == pytest.approx(0.25)
    assert {level.split(" on ")[0] for level in plainly.index} == set(misled.CLAIMED.values())


def test_pairs_are_contrasted_with_the_readouts_that_the_task_has(few):
    share, tasks = {"right": 0.75, "shuffled": 0.25}, [few["plurals"], few["category"]]
    rows = [row for task in tasks for row in made_up(task, share, "pairs", len(task.labels))]
    found = pd.DataFrame(misled.of_shuffled(pd.DataFrame(rows)))
    readouts = found.groupby("level")["readout"].agg(set).to_dict()
    assert readouts == {"plurals": {"written"}, "category": {"plain", "calibrated"}}
    assert found[found["readout"] != "calibrated"]["mean"].to_numpy() == pytest.approx(
        0.5, abs=0.01
    )
    assert (found["draws"] == 10).all() and set(found["claim"]) == {"I2"}


# Length


def test_every_length_is_asked_the_same_and_shows_nothing_of_calibration(tiny, few, monkeypatch):
    monkeypatch.setattr(misled, "ITEMS", 3)
    monkeypatch.setattr(misled, "KEPT", 8)
    spied = []
    monkeypatch.setattr(
        misled, "answered", lambda *given: spied.append(given) or {"way": "prompt", "value": 0.0}
    )
    rows = carry_out(misled.length_study(tiny, 1), tiny)
    assert rows["size"].to_list() == list(misled.SIZES)
    kept = {tuple(texts(others)) for *_, others in spied}
    asked = {tuple(texts(asked)) for _, asked, _ in spied}
    assert len(kept) == len(asked) == 1 and len(*kept) == 8 and len(*asked) == 3
    for taught, _, others in spied:
        seen = taught.demonstrations
        seen = seen(others[0].text) if callable(seen) else seen
        assert not set(texts(seen)) & set(texts(others))
    assert rows.set_index("size")["pool"].to_dict() == {
        "first 1": 1, "first 4": 4, "first 8": 8, "first 16": 16, "like words": 32,
        "like states": 32, "all that fit": 32,
    }  # fmt: skip
    assert rows["tokens"].is_monotonic_increasing or rows["tokens"].max() == rows["tokens"].iloc[-1]


# Batches


@pytest.mark.parametrize("name", misled.BATCHED)
def test_a_batch_has_the_labels_that_its_kind_says(name):
    task, kinds = contest.load(name), Counter()
    for kind, labels, places in misled.batches(task):
        kinds[kind] += 1
        had = Counter(task.held_out[place].label for place in places)
        assert len(set(places)) == len(places)
        if name == "reviews":
            first, second = misled.MIXED[kind]
            more = labels.removeprefix("mostly ")
            (other,) = set(task.labels) - {more}
            assert (had[more], had[other]) == (first, second)
        else:
            missing = labels.removeprefix("without ").split() if "without" in labels else []
            assert had == {label: 16 for label in task.labels if label not in missing}
            assert len(missing) == {"none missing": 0, "one missing": 1, "half missing": 4}[kind]
    assert kinds == (
        {"1 to 1": 1, "3 to 1": 2, "7 to 1": 2, "all one": 2}
        if name == "reviews"
        else {"none missing": 1, "one missing": 8, "half missing": 2}
    )


def test_calibration_on_an_unbalanced_batch_falls_and_that_on_training_texts_does_not(monkeypatch):
    task = contest.load("reviews")
    truth = np.array([[e.label == label for label in task.labels] for e in task.held_out])
    rng = np.random.default_rng(0)
    stored = []
    for draw in range(3):
        others = np.tile(np.log([[0.9, 0.1], [0.5, 0.5]]), (8, 1))
        scores = np.log(np.where(truth[:, :1], [[0.9, 0.1]], [[0.5, 0.5]]))
        scores = scores + rng.normal(0, 0.05, scores.shape)  # leans to the first label
        bits = contest.right(task, scores, task.held_out, "plain")
        row = {"arm": "prompt, default", "shots": 8, "draw": draw}
        stored.append(row | {"scores": contest.as_text(np.vstack([scores, others]))}
                      | compare.scored(bits))  # fmt: skip
    monkeypatch.setattr(compare, "stored", lambda name: pd.DataFrame(stored))
    monkeypatch.setattr(misled, "BATCHED", ("reviews",))
    monkeypatch.setattr(misled, "SIDES", ("prompt, default",))
    monkeypatch.setattr(misled, "EXAMPLES", (8,))
    rows = carry_out(misled.batch_study(None, 3), None)
    assert len(rows) == 3 * 7 * 4
    table = misled.fallen(rows, task="reviews", shots=8).set_index("batch")
    assert (table["calibrated on training texts"] > 0.95).all()
    assert (table[misled.BALANCED] > 0.95).all()
    assert table.loc["1 to 1", "behind"] == 0
    assert table.loc["all one", "high"] < -0.2 and table["behind"].is_monotonic_decreasing

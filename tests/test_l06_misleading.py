"""What is done to a prompt is what its name says, and what is told of rows stands in them."""

import numpy as np
import pandas as pd
import pytest
from test_curves import BEASTS, CLOSED, LABELS
from test_study import refused

from helpers.compare import bits
from helpers.curves import Outcome
from helpers.data import Example, load_task, texts
from helpers.prompts import count_tokens, plain
from helpers.scoring import (
    CONTENT_FREE,
    batch_calibration,
    contextual_calibration,
    predict,
    score_labels,
)
from helpers.study import carry_out, questions
from lessons import l06_misleading as misleading
from lessons.l06_misleading import FAULTS, KINDS, faulty, label_letters, relabelled
from lessons.words import INVENTED

pytestmark = pytest.mark.usefixtures("one_thread")
CATEGORY = load_task("category")
DRAWN = CATEGORY.draw(8, 0)


@pytest.fixture(scope="module")
def tiny(make_tiny):
    return make_tiny("llama")


# Faults


@pytest.mark.parametrize("name", ["category", "reviews"])
def test_every_fault_leaves_the_question_as_it_is(name):
    task = load_task(name)
    drawn, question = task.draw(4, 1), plain(task, [], "some text")
    right = plain(task, drawn, "some text", task.labels[0])
    prompts = set()
    for fault in FAULTS:
        style = faulty(task, fault)
        prompt = style(task, drawn, "some text")
        answered = style(task, drawn, "some text", task.labels[0])
        assert prompt.endswith(question)
        assert answered.startswith(prompt) and right.endswith(answered[len(prompt) :])
        prompts.add(prompt)
    assert len(prompts) == len(FAULTS) and plain(task, drawn, "some text") in prompts


def test_each_fault_does_what_it_says():
    two = [Example("plum", "fruit"), Example("saw", "tool"), Example("fig", "fruit")]
    written = {
        fault: faulty(CATEGORY, fault)(CATEGORY, two, "ox").removesuffix("ox ->")
        for fault in FAULTS
    }
    assert written == {
        "clean": "plum -> fruit\nsaw -> tool\nfig -> fruit\n",
        "no break between": "plum -> fruitsaw -> toolfig -> fruit",
        "no mark before label": "plum fruit\nsaw tool\nfig fruit\n",
        "mixed formats": "plum -> fruit\nsaw: tool\nfig is fruit\n",
        "label before text": "fruit -> plum\ntool -> saw\nfruit -> fig\n",
        "mixed case": "plum -> fruit\nsaw -> Tool\nfig -> FRUIT\n",
        "a label missing": "saw -> tool\n",
    }


def test_a_text_with_a_placeholder_stays_as_it_is():
    drawn = [Example("a {label} here", "fruit")]
    assert faulty(CATEGORY, "clean")(CATEGORY, drawn, "x") == "a {label} here -> fruit\nx ->"


def test_an_unknown_fault_or_task_is_told():
    refused(lambda: faulty(CATEGORY, "typo"), "no 'typo' for 'category'")
    refused(lambda: faulty(CLOSED, "mixed case"), "no 'mixed case' for 'kinds'")


# Labels


def test_flipped_labels_are_all_wrong_and_consistent():
    _, flipped = relabelled(CATEGORY, DRAWN, "flipped")
    assert [e.text for e in flipped] == [e.text for e in DRAWN]
    assert all(a.label != b.label for a, b in zip(DRAWN, flipped, strict=True))
    assert len({e.label for e in flipped}) == len(CATEGORY.labels)


def test_random_labels_are_the_same_for_both_methods_and_differ_between_draws():
    gold = [CATEGORY.draw(32, seed) for seed in range(3)]
    given = [relabelled(CATEGORY, drawn, "random")[1] for drawn in gold]
    assert given[0] == relabelled(CATEGORY, gold[0], "random")[1]
    new, old = ([[e.label for e in drawn] for drawn in some] for some in (given, gold))
    assert new[0] != new[1] != new[2]
    assert 0 < (np.array(new) == old).mean() < 0.35  # chance is 1 in 8


def test_nonsense_changes_the_words_and_nothing_else():
    task, drawn = relabelled(CATEGORY, DRAWN, "nonsense")
    prompt = plain(task, drawn, "ox")
    assert drawn == list(DRAWN) and task.labels == CATEGORY.labels
    assert not any(label in prompt for label in CATEGORY.labels)
    assert sum(word in prompt for word in INVENTED) == len(CATEGORY.labels)


# Experiments


def test_a_prompt_is_read_in_three_ways(tiny):
    asked, drawn = CLOSED.held_out, CLOSED.draw(4, 0)
    scores = score_labels(tiny, CLOSED, drawn, texts(asked))
    empty = score_labels(tiny, CLOSED, drawn, CONTENT_FREE)
    truth = {
        "plain": scores,
        "batch-calibrated": batch_calibration(scores),
        "contextual": contextual_calibration(scores, empty),
    }
    rows = misleading.ask(tiny, CLOSED, drawn, asked)
    assert [row["readout"] for row in rows] == list(truth)
    for row, read_scores in zip(rows, truth.values(), strict=True):
        answers = predict(CLOSED, read_scores)
        right = [answer == e.label for answer, e in zip(answers, asked, strict=True)]
        assert row["said"] == label_letters(CLOSED, answers)
        assert row["right"] == bits(right) and row["value"] == np.mean(right)
    own = misleading.ask(tiny, CLOSED, lambda text: drawn, asked)
    assert [row["readout"] for row in own] == ["plain", "batch-calibrated"]
    assert own[0]["said"] == rows[0]["said"]


def test_all_orders_of_a_draw_and_the_lopsided_ones(tiny):
    rows = carry_out(misleading.orders_study(tiny, 2, CLOSED, 4), tiny)
    plainly = rows[rows.readout == "plain"]
    even = plainly[plainly.mix == "even"]
    assert len(even) == 2 * 24 and even.groupby("draw").order.nunique().eq(24).all()
    assert all(sorted(shown) == ["a", "a", "b", "b"] for shown in even.labels_shown)
    for label, letter, other in zip(LABELS, "ab", "ba", strict=True):
        shown = plainly[plainly.mix == label].labels_shown
        assert set(shown) == {3 * letter + other, other + 3 * letter}
    row = even[(even.draw == 1) & (even.order == "3-1-4-2")].iloc[0]
    drawn = [CLOSED.draw(4, 1)[i] for i in (2, 0, 3, 1)]
    assert row.labels_shown == label_letters(CLOSED, [e.label for e in drawn])
    assert row.said == misleading.ask(tiny, CLOSED, drawn, questions(CLOSED, 4))[0]["said"]


@pytest.fixture
def given(monkeypatch):
    """What the ways are taught, each of which gives every question the task's first label."""
    given = []

    def stub(lm, task, taught_by, drawn, queries, seed):
        given.append((taught_by, task, drawn, seed))
        return [Outcome(taught_by, [CATEGORY.labels[0]] * len(queries))]

    monkeypatch.setattr(misleading, "outcomes", stub)
    return given


def test_labels_go_to_both_methods(given):
    rows = carry_out(misleading.labels_study(None, 2, CATEGORY, 16), None)
    assert len(rows) == 2 * len(KINDS) * 2
    assert rows.value.eq(1 / 8).all() and rows.said.eq("a" * 16).all()
    for prompted, trained in zip(given[::2], given[1::2], strict=True):
        assert (prompted[0], trained[0]) == ("in-context", "lora")
        assert prompted[1:] == trained[1:]
        assert len(prompted[2]) == misleading.SHOTS["labels"]


def test_luck_turns_the_order_in_the_prompt_and_the_seed_in_training(given):
    rows = carry_out(misleading.luck_study(None, 1, CATEGORY, 8), None)
    shown, trained = (
        [tuple(texts(drawn)) for name, _, drawn, _ in given if name == way]
        for way in ("in-context", "lora")
    )
    assert len(set(shown)) == misleading.SEEDS["in-context"]
    assert len(set(map(frozenset, shown))) == len(set(trained)) == 1
    seeds = [seed for name, *_, seed in given if name == "lora"]
    assert seeds == list(range(misleading.SEEDS["lora"]))
    assert len(rows) == sum(misleading.SEEDS.values())


def test_length_shows_the_start_of_a_draw_and_never_more_than_fits(tiny, monkeypatch):
    queries = [f"{word} {number}" for number in range(40) for word in BEASTS]
    many = tuple(Example(text, LABELS[i % 2]) for i, text in enumerate(queries))
    task = misleading.replace(CLOSED, train=many)
    seen, ask = [], misleading.ask

    def keep(lm, task, demonstrations, asked):
        seen.append(demonstrations)
        return ask(lm, task, demonstrations, asked)

    monkeypatch.setattr(misleading, "ask", keep)
    monkeypatch.setattr(misleading, "SIZES", ("first 1", "first 4"))
    rows = carry_out(misleading.length_study(tiny, 1, task, 4), tiny)
    one, four, near, full = seen
    draw = task.draw(len(many), 0)
    assert (one, four, full) == (draw[:1], draw[:4], draw[: len(full)])
    assert len(near("ox")) == misleading.NEIGHBOURS
    longest = max((e.text for e in CLOSED.held_out), key=len)
    room = tiny.context - max(count_tokens(tiny.tokenizer, f" {label}") for label in LABELS)
    lengths = [
        count_tokens(tiny.tokenizer, plain(task, draw[:n], longest))
        for n in (len(full), len(full) + 1)
    ]
    assert lengths[0] <= room < lengths[1]
    found = rows[rows.readout == "plain"].set_index("size")
    assert found.loc["all that fit", "tokens"] == lengths[0]
    assert found["pool"].to_list() == [1, 4, len(many), len(full)]
    assert (rows.cpu > 0).all() and (rows.wall > 0).all()


def test_a_draw_is_asked_with_every_fault(tiny):
    rows = carry_out(misleading.faults_study(tiny, 1, CATEGORY, 4), tiny)
    said = rows[rows.readout == "plain"].set_index("fault").said
    assert list(said.index) == list(FAULTS)
    for fault in FAULTS:
        style, asked = faulty(CATEGORY, fault), questions(CATEGORY, 4)
        assert said[fault] == misleading.ask(tiny, CATEGORY, DRAWN, asked, style)[0]["said"]


# What rows say

ROWS = pd.DataFrame(
    {
        "draw": [0, 0, 1, 1],
        "fault": ["clean", "bad", "clean", "bad"],
        "labels_shown": ["aab", "bba", "bab", "abb"],
        "said": ["ab", "aa", "bb", "ba"],
        "right": ["11", "10", "01", "00"],
    }
)


def test_agreement_with_one_letter_or_one_for_each_question():
    expected = {
        misleading.last_label: [[[0, 1], [1, 1]], [[1, 1], [1, 0]]],
        lambda row: "ba": [[[0, 0], [0, 1]], [[1, 0], [1, 1]]],
    }
    for wanted, agreed in expected.items():
        assert misleading.agreement(ROWS, wanted).tolist() == agreed
    assert misleading.by_row(ROWS).tolist() == [[[1, 1], [1, 0]], [[0, 1], [0, 0]]]


def test_against_is_paired():
    found = misleading.against(ROWS, "fault", "clean").set_index("fault")
    assert found.accuracy.to_dict() == {"clean": 0.75, "bad": 0.25}
    assert found.change.to_dict() == {"clean": 0.0, "bad": -0.5}
    assert found.behind.to_dict() == {"clean": 0, "bad": 2}
    assert found.worst.to_dict() == {"clean": 0.5, "bad": 0.0}
    assert (found.loc["bad", "from"], found.loc["bad", "to"]) == (-1.0, 0.0)


def several(answers, **columns):
    """Rows with these answers, right or wrong, each a list of booleans, and other columns."""
    return pd.DataFrame({"right": [bits(row) for row in answers]} | columns)


@pytest.fixture
def drawn_figures(monkeypatch):
    """What the figures are given instead of being drawn."""
    kept = []
    for name in ("whiskers", "clouds"):
        module = misleading.plots if name == "whiskers" else misleading.figures
        monkeypatch.setattr(module, name, lambda *given, **more: kept.append(given))
    return kept


def test_the_cloud_is_coloured_by_the_last_label(drawn_figures):
    rows = pd.DataFrame(
        [
            (draw, "even", readout, shown, said, "1010")
            for readout in ("plain", "batch-calibrated", "contextual")
            for draw in range(2)
            for shown, said in (("abab", "bbbb"), ("bbaa", "aaab"))
        ],
        columns=["draw", "mix", "readout", "labels_shown", "said", "right"],
    )
    assert misleading.show_orders(rows) == 7 / 8
    ((panels, _, _, title, sentence),) = drawn_figures
    cloud = panels["plain"]
    assert cloud["last label positive"][0].tolist() == [1, 1]
    assert cloud["last label negative"][0].tolist() == [1 / 4, 1 / 4]
    assert list(panels) == ["plain", "calibrated on the questions", "calibrated on empty texts"]
    assert title.startswith("0.88 of the plain answers") and "0.00 plain" in sentence
    assert "a gain of +0.00 (+0.00 to +0.00)" in sentence


def test_figures_say_what_the_rows_say(drawn_figures):
    flipped = relabelled(CATEGORY, questions(CATEGORY, 2), "flipped")[1]
    said = label_letters(CATEGORY, [example.label for example in flipped])[0] + "h"
    labels = pd.concat(
        several([[share > 0.3, share > 0.6]] * 2, draw=[0, 1], kind=kind, way=way, said=said)
        for kind, share in {"gold": 1, "random": 0.5, "flipped": 0}.items()
        for way in misleading.WAYS.values()
    )
    misleading.show_labels(labels)
    faults = pd.concat(
        several([[fault != "bad"] * 2] * 2, draw=[0, 1], fault=fault, readout=readout)
        for fault in ("clean", "bad", "mild")
        for readout in ("plain", "batch-calibrated")
    )
    drop = misleading.show_faults(faults)
    (bars, title, told, *_), (_, worst, *_) = drawn_figures
    assert "the prompt 0.50, calibrated 0.50, the weights 0.50. Chance" in told
    assert bars[""]["weights"]["random: 7 of 8 wrong"].mean == 0.5
    assert title == "Random labels cost the prompt 0.50, calibrated 0.50, the weights 0.50"
    assert worst == "1 of 2 faults surely hurt a plain prompt: bad"
    assert drop["calibrated"].change.to_dict() == {"bad": -1, "mild": 0}


def test_what_says_positive_and_what_is_right_are_shares():
    scores = np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    table = misleading.said_positive({"plain": scores, "turned": -scores}, np.array([1, 0, 0, 0]))
    assert table.loc["plain"].to_dict() == {"says positive": 0.75, "right": 0.5}
    assert table.loc["turned"].to_dict() == {"says positive": 0.25, "right": 0.5}


def test_one_retrieved_example_of_published_runs():
    table = misleading.at_7b()
    assert len(table) == 5 and (table["1 retrieved"] > table["1 random"]).all()


def test_a_text_is_embedded_as_the_mean_of_its_tokens(tiny):
    rows = misleading.embedded(tiny, ["cold", "hot hot"])
    table = tiny.model.get_input_embeddings().weight.detach().numpy()
    tokens = [tiny.tokenizer(f" {text}").input_ids for text in ("cold", "hot hot")]
    np.testing.assert_allclose(rows, [table[places].mean(0) for places in tokens], rtol=1e-5)


# What the lesson found


def lengths(full, sixteen, near, pool):
    """Stored lengths with these shares right, of which all or fewer messages fit."""
    sizes = {misleading.FULL: full, misleading.SIZES[-1]: sixteen, misleading.NEAREST: near}
    sizes[misleading.FOUR] = 0.5
    rows = [
        (draw, size, readout, bits(np.arange(20) < 20 * share), share)
        for readout in ("plain", "batch-calibrated")
        for size, share in sizes.items()
        for draw in range(1 if size == misleading.NEAREST else 4)
    ]
    table = pd.DataFrame(rows, columns=["draw", "size", "readout", "right", "value"])
    pools = {misleading.FULL: pool, misleading.SIZES[-1]: 16, misleading.FOUR: 4}
    table["pool"] = table["size"].map(pools).fillna(320)
    return table.assign(tokens=100, cpu=2.0)


@pytest.mark.parametrize(
    ("ends", "hurts", "mild"),
    [
        ((0.01, -0.4), "two -0.50 (-0.60 to -0.40)", "one"),
        ((-0.01, -0.4), "two -0.50 (-0.60 to -0.40); one -0.10 (-0.20 to -0.01)", "none"),
        ((0.1, 0.2), "no fault surely hurts", "one, two"),
    ],
)
def test_findings_name_what_surely_hurts_and_what_does_not(monkeypatch, ends, hurts, mild):
    monkeypatch.setattr(misleading, "stored", lambda name: lengths(0.9, 0.2, 0.5, 183))
    drop = pd.DataFrame({"change": (-0.1, -0.5), "from": (-0.2, -0.6), "to": ends})
    found = misleading.findings(drop.set_axis(["one", "two"]))
    assert found["I8"] == (hurts, f"Not surely harmful: {mild}.")
    measured, why = found["I7"]
    assert measured.startswith("183 of 320 messages fit")
    assert "calibrated, minus 4: +0.40 (" in measured and "minus 16: +0.70 (" in measured
    assert "minus all that fit, calibrated: -0.40 (" in why


def test_lengths_are_told_in_the_order_of_the_rows(capsys):
    table = misleading.lengths(lengths(0.9, 0.2, 0.5, 183))
    sizes = [misleading.FULL, misleading.SIZES[-1], misleading.NEAREST, misleading.FOUR]
    assert list(table.index) == sizes and table["from"].to_list() == [183, 16, 320, 4]
    assert table["plain"].to_list() == [0.9, 0.2, 0.5, 0.5] and set(table["seconds"]) == {2}
    said = capsys.readouterr().out
    assert "20 messages asked; means of 4 draws" in said and "calibrated: +0.40 (" in said


# Exercises


@pytest.mark.parametrize(
    ("template", "says"),
    [
        (None, "Not attempted"),
        ("{text} {text} {label}", "Not yet: write {text} once"),
        ("{text} -> {label}", "Not yet: that is one of the course's own"),
        (
            "{text} -> {label}\n",
            "Not yet: 0.50 right instead of 0.50; calibrated 0.50. That is less",
        ),
        ("{text}{label}", "Right: 0.00 right instead of 0.50; calibrated 0.50."),
    ],
)
def test_a_fault_of_ones_own_has_to_cost(template, says, monkeypatch, capsys):
    def asked(lm, task, shown, questions, style):
        costs = style(task, DRAWN[:1], "ox").startswith(DRAWN[0].text + DRAWN[0].label)
        shares = {"plain": 0.0 if costs else 0.5, "batch-calibrated": 0.5}
        return [{"readout": name, "value": share} for name, share in shares.items()]

    monkeypatch.setattr(misleading, "ask", asked)
    misleading.check_own_fault(None, CATEGORY, template, goal=0.25)
    assert capsys.readouterr().out.startswith(says)


def test_who_finds_the_lies_is_right_and_who_trusts_all_is_half_right(capsys):
    known = {example.text: example.label for example in CATEGORY.train}

    def all_known(examples):
        return [known[example.text] != example.label for example in examples]

    def trusting(examples):
        return [False] * len(examples)

    assert misleading.judged(all_known, CATEGORY, (0, 1)) == 1
    assert misleading.judged(trusting, CATEGORY, (0, 1)) == 0.5
    for find, says in {
        None: "Not attempted",
        trusting: "Not yet: 0.50",
        all_known: "Right: 1",
    }.items():
        misleading.check_detective(CATEGORY, find, line=0.7)
        assert capsys.readouterr().out.startswith(says)

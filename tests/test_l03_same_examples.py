"""Lesson 3: stored curves in one form, what is told of them, and the checks on learners' own."""

import numpy as np
import pandas as pd
import pytest
from test_compare import rows_of

from helpers import compare
from helpers.data import Example, Task
from lessons import contest
from lessons import l03_same_examples as l03

LABELS = ("hot", "cold")
ASKED = tuple(Example(f"text {i}", LABELS[i % 2]) for i in range(4))
TASK = Task("tickets", "{text} -> {label}\n", (), ASKED, LABELS, {name: name for name in LABELS})


def fair(scores: list, *arms: tuple[int, str, str]) -> pd.DataFrame:
    """Rows as the tuned curves store them; every model's way has these log-probabilities."""
    return pd.DataFrame(
        {"shots": shots, "draw": 0, "arm": arm, "way": arm, "setting": setting}
        | {"scores": contest.as_text(np.array(scores)) if setting and len(scores) else ""}
        | compare.scored([True, False, True, False])
        for shots, arm, setting in arms
    )


def test_a_tuned_curve_has_each_readout_of_a_way_once_and_baselines_once():
    scores = [[-1.0, -3.0], [-1.0, -1.5], [-1.0, -3.0], [-1.0, -1.5]] * 2
    rows = fair(
        scores,
        (0, "prompt, default", "bare, shared"),
        (0, "prompt, tuned", "list, shared"),
        (8, "prompt, default", "bare, shared"),
        (8, "prompt, tuned", "list, shared"),
        (8, "weights, tuned", "rate 0.001, 8 passes"),
        (8, "TF-IDF, words", ""),
        (8, "full", "all weights, 8 passes"),
    )
    table = l03._tuned_curves(rows, TASK)
    assert list(table["way"]) == [
        *("zero-shot", "zero-shot, calibrated", "prompt", "prompt, calibrated"),
        *("weights", "weights, calibrated", "TF-IDF", "full fine-tuning"),
    ]
    assert compare.right(table, way="prompt", shots=8).tolist() == [[True, False, True, False]]
    assert compare.right(table, way="prompt, calibrated", shots=8).all()
    assert compare.right(table, way="TF-IDF", shots=8).sum() == 2
    assert l03.better(table, "prompt") == "prompt, calibrated"
    lines = l03.drawn(table)
    assert list(lines) == ["prompt", "weights", "TF-IDF", "zero-shot"]
    assert lines["prompt"][8].mean == 1 and lines["TF-IDF"][8].mean == 0.5
    taken = table.query("shots == 8").drop_duplicates("way").set_index("way")["setting"]
    assert taken["weights"] == "rate 0.001, 8 passes" and taken["prompt"] == "list, shared"


def test_a_tuned_curve_of_written_answers_has_one_readout():
    open_task = Task("verbs", "{text} -> {label}\n", (), ASKED)
    rows = fair([], (0, "prompt, tuned", "x"), (8, "prompt, tuned", "x"), (8, "regular ending", ""))
    table = l03._tuned_curves(rows, open_task)
    assert list(table["way"]) == ["zero-shot", "prompt", "regular ending"]
    assert l03.better(table, "prompt") == "prompt"


def test_the_default_curves_say_what_each_way_was_allowed():
    rows = l03.curves_of("verbs")
    assert {"prompt", "weights", "zero-shot"} <= set(rows["way"])
    taken = rows.drop_duplicates(["way", "shots"]).set_index(["way", "shots"])["setting"]
    assert taken["weights", 256].endswith(", 1 pass") and taken["prompt", 8] == "bare"
    assert taken["weights", 8].endswith(", 16 passes")
    assert "prompt" not in set(l03.curves_of("reviews").query("shots == 256")["way"])
    for name in l03.ITEMS:
        questions = compare.right(l03.curves_of(name), way="weights", shots=8).shape[1]
        assert len(l03.questions_of(name)) == questions


def curve(*shares: float) -> dict[int, np.ndarray]:
    """40 questions at 8, 32 and 128 examples, of which these shares are right."""
    return {
        n: (np.arange(40) < 40 * share)[None] for n, share in zip((8, 32, 128), shares, strict=True)
    }


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ((0.8, 0.8, 0.9), "leads from 8 on (8 to 8)"),
        ((0.1, 0.1, 0.1), "does not lead by 128"),
        ((0.3, 0.7, 0.7), "leads from 16 on ("),
        ((0.3, 0.4, 0.525), " to >128)"),
    ],
)
def test_who_overtakes_whom_is_said_in_words(shares, said):
    told = l03.overtakes(rows_of(a=curve(*shares), b=curve(0.5, 0.5, 0.5)), "a", "b")
    assert said in told and "inf" not in told and "from 0" not in told


def job(weights: tuple, prompt: tuple, asked: float) -> pd.DataFrame:
    """A job with labels, on which the calibrated prompt is better and plain zero-shot is."""
    return rows_of(
        **{"weights": curve(*weights), "prompt": curve(0.1, 0.1, 0.1)},
        **{"prompt, calibrated": curve(*prompt), "zero-shot, calibrated": level(asked - 0.1)},
        **{"zero-shot": level(asked), "majority": curve(0.25, 0.25, 0.25)},
    )


def level(share: float) -> dict[int, np.ndarray]:
    return {0: (np.arange(40) < 40 * share)[None]}


def test_every_way_is_taken_by_the_readout_that_is_better_by_number():
    rows = job((0.9, 0.9, 0.9), (0.3, 0.4, 0.5), 0.6)
    assert l03.better(rows, "prompt") == "prompt, calibrated"
    assert l03.better(rows, "zero-shot") == "zero-shot"
    assert l03.lead(rows, 32).mean == pytest.approx(0.5)
    assert l03.lead(rows, 8, "zero-shot").mean == pytest.approx(0.3)
    lines = l03.drawn(rows)
    assert list(lines) == ["prompt", "weights", "zero-shot", "guessing"]
    assert (lines["zero-shot"][0].mean, lines["guessing"][0].mean) == (0.6, 0.25)
    assert l03.beats_asking(rows, "weights") == [8, 32, 128]
    assert l03.beats_asking(rows, "prompt") == []


def test_a_title_says_who_leads_and_where_examples_do_not_help():
    curves = {
        "verbs": job((0.1, 0.1, 0.1), (0.9, 0.9, 0.9), 0.1),
        "messages": job((0.9, 0.9, 0.9), (0.3, 0.3, 0.3), 0.4),
        "reviews": job((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 0.6),
    }
    assert l03.finding(curves, 32) == (
        "With 32 examples the prompt leads on verbs, the weights lead on messages, neither surely "
        "leads on reviews.\nOn reviews neither surely beats only asking."
    )
    alone = {"messages": curves["messages"]}
    assert l03.finding(alone, 32) == "With 32 examples the weights lead on messages."


def test_tries_on_the_dev_part_show_a_collapse(monkeypatch):
    said = {"plain": np.array(["hot"] * 4), "calibrated": np.array(["hot", "cold"] * 2)}
    monkeypatch.setattr(l03, "answers", lambda taught, dev: said)
    table = l03.dev_shares({("prompt", "bare"): None, ("weights", "rate 1"): None}, ASKED)
    assert list(table["way"]) == ["prompt"] * 2 + ["weights"] * 2
    assert list(table["dev"]) == [0.5, 1.0] * 2
    assert table["commonest answer"][0] == "hot, 4 of 4"
    assert list(l03.choose(table)["readout"]) == ["calibrated"] * 2


def test_leads_are_by_the_interval_given_and_marked_where_sure():
    rows = job((0.9, 0.9, 0.9), (0.3, 0.9, 0.3), 0.4)
    table = l03.leads({"one": rows, "two": rows}, l03.paired_interval)
    assert list(table.index) == ["one", "two"]
    assert table.loc["one", "8 examples"].startswith("+0.60 (")
    assert [cell.endswith("*") for cell in table.loc["two"]] == [True, False, True]


def test_rivals_are_told_for_every_job():
    table = l03.rivals(l03.stored_curves(), np.zeros((1, 96), dtype=bool))
    assert list(table.index) == ["past tenses", "messages", "reviews"]
    assert list(table["weights beats only asking with"]) == ["8, 32, 128, 256"] * 2 + ["never"]
    rule, *counting = table["a cheaper rival"]
    assert rule.startswith("the rule 'add -ed' gets 0.")
    assert all(text.startswith("counting words ") for text in counting)
    assert max(map(len, counting)) < 50, "the table would cut it"
    listed = table["8 trained minus list, no example"]
    assert listed["messages"].startswith("+0.") and listed["reviews"] == ""


def test_chosen_settings_stand_beside_the_untuned_curve():
    chosen = pd.concat({n: l03.choose(l03.tried("verbs", n)) for n in (8, 256)})
    table = l03.beside_untuned(chosen, l03.curves_of("verbs"))
    assert list(table.index) == [(n, way) for n in (8, 256) for way in ("prompt", "weights")]
    tuned, untuned = table.loc[(256, "weights"), ["on the dev part", "in the figure"]]
    assert untuned < tuned
    assert table.loc[(256, "weights"), "untuned"].endswith(", 1 pass")


def test_memorised_pairs_are_counted(capsys):
    taught, new = (Example("go", "went"),), (Example("bleed", "bled"), Example("walk", "walked"))
    said = {"weights": ["went", "walked"], "prompt": ["bled", "walked"]}
    table = l03.pairs_and_verbs(taught, new, ["went"], **said)
    told = capsys.readouterr().out
    assert "know 1.00" in told and "weights 0.50, prompt 1.00 right" in told
    assert "\n1 of the weights' new answers" in told
    assert list(table.columns) == ["weights", "prompt", "right"]


def test_figures_keep_a_ways_marker_in_every_panel_and_tell_their_numbers(monkeypatch):
    kept = []
    monkeypatch.setattr(l03.plots, "show", lambda *given: kept.append(given))
    rows = job((0.9, 0.9, 0.9), (0.3, 0.3, 0.3), 0.4)
    l03.draw({"one": rows, "two": rows}, {"two": np.ones((1, 40), dtype=bool)})
    l03.draw_7b(l03.larger.published())
    (first, told), (second, told_7b) = kept
    names = first.axes[1].get_legend_handles_labels()[1]
    assert l03.LISTED in names and l03.LISTED not in first.axes[0].get_legend_handles_labels()[1]
    assert "one 0.30 against 0.90 (0.40 only asked)" in told
    assert len(second.axes) == 2 and "on 5 data sets" in told_7b


@pytest.mark.parametrize(
    ("gap", "sure"), [((0.1, -0.1, 0.3), "neither surely leads"), ((0.3, 0.1, 0.5), "the weights")]
)
def test_the_contest_says_who_leads_only_where_it_is_sure(gap, sure, monkeypatch):
    kept = []
    monkeypatch.setattr(l03.plots, "whiskers", lambda *given, **more: kept.append(given))
    right = {side: (np.arange(40) < n)[None] for side, n in (("prompt", 10), ("weights", 20))}
    l03.draw_contest(right | {"only asked": right["prompt"]}, compare.Interval(*gap))
    ((panels, title, told),) = kept
    assert list(panels[""]) == ["prompt", "weights", "prompt, only asked"]
    assert title.startswith("Of 40 tickets the weights sort 20 right, the prompt 10: " + sure)
    assert "only asked 10. Weights minus prompt" in told


@pytest.mark.parametrize("seed", range(5))
def test_an_interval_by_other_random_numbers_is_right(seed):
    def other(a, b):
        gap = a.astype(float) - b
        means = compare.resample(gap, seed=100 + seed, times=2000)
        return gap.mean(), *np.percentile(means, (2.5, 97.5))

    assert l03._named(other, None) == l03._by_compare()


def test_a_90_percent_interval_is_not_taken_for_right():
    def narrow(a, b):
        return l03.paired_interval(a, b)[0], *np.percentile(compare.resample(a * 1.0 - b), (5, 95))

    assert list(l03._named(narrow, None)) != l03._by_compare()


# Learners' own messages and classifiers

MESSAGES = [("a warm one", "hot"), ("an icy one", "cold")]


def always(side, examples):
    return ["hot" if side == "prompt" else "cold"] * len(examples)


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        (None, "Not attempted"),
        (MESSAGES, "Right: of 2, the prompt sorts 1 as you do and the weights 1;"),
        (["warm"], "Not yet: each message is a pair"),
        ([("warm", "tepid")], "Not yet: 'tepid' is no topic"),
        ([("warm", "hot")], "Not yet: there is no message about cold"),
        ([*MESSAGES, ("text 0", "hot")], "Not yet: 'text 0' was taught"),
    ],
)
def test_own_messages_are_checked_before_anybody_is_asked(messages, said, capsys):
    l03.check_own_messages(TASK, ASKED[:1], always, messages)
    assert capsys.readouterr().out.startswith(said)


def knows_all(known, labels, asked):
    answers = {example.text: example.label for example in l03.questions_of("support_tickets")}
    return [answers[text] for text in asked]


@pytest.mark.parametrize(
    ("classify", "said"),
    [
        (None, "Not attempted"),
        (knows_all, "Right: 1.000, where the line is 0."),
        (lambda known, labels, asked: [labels[0]] * len(asked), "Not yet: 0.125 is not above"),
        (lambda known, labels, asked: asked.nothing, "Not yet: it stops with AttributeError"),
        (lambda known, labels, asked: [], "Not yet: it stops with ValueError"),
    ],
)
def test_an_own_classifier_is_held_against_the_stored_word_counts(classify, said, capsys):
    l03.check_classifier("support_tickets", l03.curves_of("support_tickets"), classify)
    line, verdict, *_ = capsys.readouterr().out.splitlines()
    assert line.startswith("The line to beat with 128 examples: 0.") and verdict.startswith(said)


# What was found


def taught(few: float, many: float) -> pd.DataFrame:
    """A prompt that is right in half of all cases, and weights with few and with many examples."""
    weights = curve(few, many, many)
    untaught = {0: (np.arange(40) < 10)[None]}
    both = {"prompt": curve(0.5, 0.5, 0.5), "weights": weights, "zero-shot": untaught}
    return rows_of(**both, **{"TF-IDF": weights})


def test_findings_take_the_better_readout_and_name_it():
    tickets = job((0.5, 0.5, 0.5), (0.4, 0.4, 0.4), 0.5)
    counts = rows_of(**{"TF-IDF": curve(0.1, 0.2, 0.3)})
    found = l03.findings(taught(0.1, 0.1), pd.concat([tickets, counts]))
    high, needs, fewer = (f"{measured}. {why}" for measured, why in found.values())
    assert list(found) == ["F4", "F7", "K2"]
    assert "Weights minus prompt (calibrated) with 32 each: +0.10" in high
    assert high.endswith("Counting words gets 0.20 with 32 and 0.30 with 128.")
    assert "trained on 8 messages, minus the bare question (plain): +0.00" in needs
    assert "verbs +0.40" in fewer and "messages -0.10" in fewer
    assert "With 8 messages each, 8 trained surely lead: weights minus prompt +0.10" in fewer

"""The answers about a job decide as the measured numbers do, each reason with its lesson."""

import math

import pytest

from helpers.compare import Interval, stored
from helpers.data import DataError
from lessons import l04_costs, l10_decision
from lessons.l10_decision import CHOICES, LESSONS, MISSING, Job, Measured, decide, measured

LEADS = {
    "the job only": (-0.6, -0.7, -0.5),
    "a skill": (0.3, 0.2, 0.4),
    "a fact or a code": (0.1, 0.05, 0.2),  # sure, but small
    "a style": (0.1, -0.2, 0.4),  # not sure
    "a code and a style": (0.5, 0.4, 0.6),
}
LEADS = {name: Interval(*bounds) for name, bounds in LEADS.items()}
FOUND = Measured(LEADS, kept=2000, anew=60, cache=1, counting=190, least=8, room=8000)
JOB = Job(examples=64, days=30, per_day=20, tokens=40, own=True, missing="a skill")

CASES = {
    "messages to be sorted, 64 of them labelled": ({}, "fine-tune"),
    "the same with many labelled": ({"examples": 500}, "TF-IDF first"),
    "the same, behind somebody's interface": ({"own": False}, "kept prompt"),
    "many labelled, behind an interface: counting needs no model": (
        {"examples": 500, "own": False},
        "TF-IDF first",
    ),
    "three labelled": ({"examples": 3}, "kept prompt"),
    "word forms, which it knows": ({"missing": "the job only"}, "kept prompt"),
    "word forms, another job with each query": (
        {"missing": "the job only", "days": 1, "per_day": 1},
        "prompt",
    ),
    "word forms, asked a million times": (
        {"missing": "the job only", "per_day": 1e6},
        "kept prompt",
    ),
    "opening hours that change daily": ({"missing": "a fact or a code", "days": 1}, "kept prompt"),
    "codes that stay for years": ({"missing": "a fact or a code", "days": 1000}, "fine-tune"),
    "codes that fill no prompt": ({"missing": "a fact or a code", "examples": 900}, "fine-tune"),
    "long and rarely asked": (
        {"missing": "a fact or a code", "tokens": 900, "days": 2},
        "prompt",
    ),
    "one house style for long": ({"missing": "a style", "per_day": 500}, "fine-tune"),
    "a style that changes with each mail": ({"missing": "a style", "days": 0.05}, "prompt"),
    "a clinic's codes for every doctor": ({"missing": "a code and a style"}, "both"),
    "the same, behind an interface": (
        {"missing": "a code and a style", "own": False},
        "kept prompt",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_typical_jobs(name):
    changes, choice = CASES[name]
    job = JOB._replace(**changes)
    decision = decide(job, FOUND)
    assert decision.choice == choice
    assert decision.choice in CHOICES and len(decision.reasons) >= 3
    texts = [reason.text for reason in decision.reasons]
    assert len(set(texts)) == len(texts) and all(text.endswith(".") for text in texts)
    lead = f"{LEADS[job.missing][0]:+.2f}"
    (told,) = [reason for reason in decision.reasons if lead in reason.text]
    assert told.lesson == LESSONS[job.missing][0]


def test_what_decided_comes_first():
    def first(**changes):
        return decide(JOB._replace(**changes), FOUND).reasons[0]

    assert "+0.30" in first().text and first().lesson.startswith("03")
    assert "word counts" in first(examples=500).text
    assert "not yours" in first(own=False).text
    assert first(missing="a style").text.startswith("600 queries until it changes")
    assert first(missing="a style").lesson.startswith("04")


def test_the_thresholds_are_those_that_were_found():
    style = JOB._replace(missing="a style", days=1)
    assert decide(style._replace(per_day=2000), FOUND).choice == "kept prompt"
    assert decide(style._replace(per_day=2001), FOUND).choice == "fine-tune"
    assert (
        decide(style._replace(per_day=2001), FOUND._replace(kept=math.inf)).choice == "kept prompt"
    )
    long = style._replace(tokens=9000)
    assert decide(long._replace(per_day=60), FOUND).choice == "prompt"
    assert decide(long._replace(per_day=61), FOUND).choice == "fine-tune"
    assert decide(JOB._replace(examples=189), FOUND).choice == "fine-tune"
    assert decide(JOB._replace(examples=190), FOUND).choice == "TF-IDF first"
    assert decide(JOB._replace(examples=7), FOUND).choice == "kept prompt"
    reversed_lead = FOUND._replace(leads=LEADS | {"a skill": Interval(-0.3, -0.4, -0.2)})
    assert decide(JOB, reversed_lead).choice == "kept prompt"
    useless = FOUND._replace(leads=LEADS | {"a code and a style": Interval(0.0, -0.1, 0.1)})
    assert decide(JOB._replace(missing="a code and a style"), useless).choice != "both"


def test_an_unknown_answer_is_refused():
    with pytest.raises(DataError, match="one of the job only, a skill"):
        decide(JOB._replace(missing="luck"), FOUND)


def test_the_stored_results_give_every_number():
    found = measured()
    assert set(found.leads) == set(MISSING) == set(LESSONS)
    for middle, low, high in found.leads.values():
        assert -1 <= low <= middle <= high <= 1
    assert 0.5 < found.cache < found.anew < found.kept < math.inf
    assert found.least == 8 and 100 < found.counting < 300 and 8000 < found.room < 8193
    for missing in MISSING:
        assert decide(JOB._replace(missing=missing), found).choice in CHOICES


def test_the_thresholds_are_those_of_lesson_4():
    costs = stored("costs")
    both, known = l04_costs.merged(costs), measured()
    for name, way in {"kept": "prompt, kept", "anew": "prompt, read anew"}.items():
        crossing = l04_costs.crossing(both, "weights, merged", way, 8)
        assert getattr(known, name) == pytest.approx(crossing.mean)
    for way in ("weights", "prompt, kept"):
        seconds = l10_decision.seconds_until_right(costs, way, 8)
        assert seconds == pytest.approx(l04_costs.until_right(costs, way, 8)["seconds"].to_numpy())

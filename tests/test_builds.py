"""Every piece that learners build: the course's own is right, each mistake is told apart."""

from functools import wraps
from importlib import import_module
from pkgutil import iter_modules

import numpy as np
import pytest

import lessons
from helpers.checks import Build, _outcome, built

MODULES = [module.name for module in iter_modules(lessons.__path__) if module.name[:1] == "l"]
BUILDS = {
    f"{name[:3]} {key}": build
    for name in MODULES
    if name[1:3].isdigit()
    for key, build in vars(import_module(f"lessons.{name}")).items()
    if isinstance(build, Build)
}
MISTAKES = [(name, text) for name, build in BUILDS.items() for text in build.mistakes]


def written(piece):
    """The piece as a learner's own: another object that does the same."""
    if isinstance(piece, type):
        return type(piece.__name__, (piece,), {})
    return wraps(piece)(lambda *args, **more: piece(*args, **more))


@pytest.mark.parametrize("name", BUILDS)
def test_the_courses_own_piece_is_right(name, lm, capsys):
    build = BUILDS[name]
    piece = written(build.own)
    assert built(build, piece, lm) is piece
    assert capsys.readouterr().out == f"Right: {build.praise}\n"
    assert len(build.mistakes) >= 3


@pytest.mark.parametrize(("name", "text"), MISTAKES)
def test_each_mistake_has_its_diagnosis(name, text, lm, capsys):
    build = BUILDS[name]
    assert built(build, written(build.mistakes[text]), lm) is build.own
    assert capsys.readouterr().out.startswith(f"Not yet: {text} ")
    outcome = _outcome(build, build.mistakes[text], lm)
    assert "unexpected keyword" not in str(outcome), "our own slip, not a learner's"


# How a piece is judged

DOUBLE = Build(
    own=lambda x: 2 * x,
    trial=lambda piece, _: [piece(x) for x in (1.0, 2.0)],
    truth=lambda _: np.array([2.0, 4.0]),
    praise="doubled.",
    mistakes={"add x once more.": lambda x: x, "do not halve.": lambda x: x / 0},
)


def stub(x):
    doubled = ...
    return doubled


def inner_stub(x):
    return [... for _ in range(int(x))]


class Stub:
    def __call__(self, x):
        return ...


def wrong(x):
    return 3 * x


@pytest.mark.parametrize(
    "piece", [stub, inner_stub, Stub, DOUBLE.own], ids=["stub", "inner", "class", "own"]
)
def test_what_was_not_attempted_is_replaced(piece, capsys):
    build = DOUBLE
    if isinstance(piece, type):
        build = build._replace(trial=lambda piece, _: [piece()(1.0)])
    assert built(build, piece) is DOUBLE.own
    assert capsys.readouterr().out.startswith("Not attempted yet")


@pytest.mark.parametrize(
    ("piece", "says"),
    [
        (wrong, "its numbers are not those of the check."),
        (lambda x: x, "add x once more."),
        (lambda x: x / 0, "do not halve."),
        (lambda x: x.nothing, "it stops with AttributeError: 'float' object has no attribute"),
        (lambda x: "two", "its numbers are not"),
        (lambda x: None, "its numbers are not"),
    ],
)
def test_a_wrong_piece_is_replaced_and_told_why(piece, says, capsys):
    assert built(DOUBLE, piece) is DOUBLE.own
    assert capsys.readouterr().out.startswith(f"Not yet: {says}")


def test_an_ellipsis_in_a_right_piece_is_no_blank(capsys):
    def doubled(x):
        return np.array([2 * x])[..., 0]

    assert built(DOUBLE, doubled) is doubled
    assert "Right" in capsys.readouterr().out

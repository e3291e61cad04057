"""How an exercise's answer is judged: one printed line, and for typical mistakes a diagnosis.

Every check prints one line that begins with "Right", "Not yet" or "Not attempted yet", and raises
nothing. A lesson's checks, and the pieces that learners build, lie in the module named after it.
"""

from collections.abc import Callable, Mapping
from inspect import isfunction
from types import CodeType
from typing import NamedTuple

import numpy as np

from helpers import claims


def tell(attempted: bool, problem: str | None, praise: str) -> None:
    """Print how an answer did: not attempted, a problem, or right."""
    if not attempted:
        print("Not attempted yet: fill in the cell above, run it, then run this one.")
    else:
        print(f"Not yet: {problem}" if problem else f"Right: {praise}")


def judge(
    answer: float | None,
    truth: float,
    praise: str,
    otherwise: str,
    mistakes: Mapping[str, float | tuple[float, ...]],
    within: float = 5e-4,
    relative: float = 0.0,
) -> None:
    """Judge a number: it is right where it differs from `truth` by no more than the tolerance.

    `within` is absolute, `relative` a share of the truth. `mistakes` maps a diagnosis to the number
    (or numbers) that gives a typical mistake away; for another wrong answer `otherwise` is said,
    in which `{answer}` stands for the number.
    """

    def close(value: float) -> bool:
        return abs(answer - value) <= within + relative * abs(value)  # nan is close to nothing

    problem = None
    if answer is not None and not close(truth):
        values = {text: v if isinstance(v, tuple) else (v,) for text, v in mistakes.items()}
        fitting = (text for text, wrong in values.items() if any(map(close, wrong)))
        problem = next(fitting, otherwise.format(answer=answer))
    tell(answer is not None, problem, praise)


class Build(NamedTuple):
    """A piece that learners write: a function, or a class with its methods.

    `trial(piece, lm)` gives the numbers that a piece comes to, and `truth(lm)` what a library or
    the course's fast helper makes of the same. `own` is the course's own piece. `mistakes` maps a
    diagnosis to a piece with that mistake.
    """

    own: Callable
    trial: Callable
    truth: Callable
    praise: str
    mistakes: Mapping[str, Callable]


def built(build: Build, piece: Callable, lm: object = None) -> Callable:
    """The learner's piece where it is right, else the course's own, so that the lesson goes on.

    Prints one line. A piece that still holds `...` and comes to nothing was not attempted.
    """
    made = _outcome(build, piece, lm)
    unfinished = _has_blank(piece) and (isinstance(made, str) or made.dtype == object)
    if piece is build.own or unfinished:
        print("Not attempted yet: the course's own piece is used. Fill in each `...` above.")
        return build.own
    problem = None
    if not _alike(made, np.asarray(build.truth(lm), dtype=float)):
        wrong = (text for text, p in build.mistakes.items() if _alike(made, _outcome(build, p, lm)))
        otherwise = made if isinstance(made, str) else "its numbers are not those of the check."
        problem = f"{next(wrong, otherwise)} The course's own piece is used."
    tell(True, problem, build.praise)
    claims.keep("built.json", f"{getattr(piece, '__name__', '')}: {build.praise}", not problem)
    return build.own if problem else piece


def _outcome(build: Build, piece: Callable, lm: object) -> np.ndarray | str:
    """The numbers that a piece comes to, or the error that stops it."""
    try:
        return np.asarray(build.trial(piece, lm))
    except Exception as error:  # whatever a learner's piece does, the lesson goes on
        return f"it stops with {type(error).__name__}: {error}."


def _alike(one: np.ndarray | str, other: np.ndarray | str) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return isinstance(one, str) and isinstance(other, str) and one == other
    numbers = {part.dtype.kind for part in (one, other)} <= set("biuf")
    same_form = numbers and one.shape == other.shape
    return same_form and np.allclose(one, other, rtol=1e-3, atol=1e-5, equal_nan=True)


def _has_blank(piece: Callable) -> bool:
    functions = [piece, *vars(piece).values()] if isinstance(piece, type) else [piece]
    return any(_open(function.__code__) for function in functions if isfunction(function))


def _open(code: CodeType) -> bool:  # a comprehension is code within code
    return any(c is ... or (isinstance(c, CodeType) and _open(c)) for c in code.co_consts)

"""How an exercise's answer is judged: one printed line, and for typical mistakes a diagnosis.

Every check prints one line that begins with "Right", "Not yet" or "Not attempted yet", and raises
nothing. The checks of a lesson lie in the module named after it.
"""

from collections.abc import Mapping

from helpers import cost


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


def break_even(
    taught: tuple[float, float], shown: tuple[float, float], queries: float | None
) -> None:
    """Check from how many queries on a taught way is cheaper than a shown one.

    Each way is (what it costs once, what it costs for each query), in one unit.
    """
    (once, each), (other_once, other_each) = taught, shown
    truth = cost.break_even(*taught, *shown)
    forgotten = {
        "the shown way costs something once as well; take it off.": once / (other_each - each)
    }
    judge(
        queries,
        truth,
        f"from query {truth:,.0f} on the taught way is cheaper.",
        "at {answer:,.0f} queries the two totals are not equal.",
        {
            "the taught way's own queries cost something too.": once / other_each,
            "the sign is wrong: what is paid more once is saved query by query.": -truth,
        }
        | (forgotten if other_once else {}),
        within=0.51,  # whole or not
    )

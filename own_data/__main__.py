"""The command line of the comparison, on one's own CSV file or on a task of the course.

python -m helpers.compare FILE.csv --minutes 5 --out DIR
python -m helpers.compare --task support_tickets --out results.csv
"""

import argparse
import shlex
import sys
from pathlib import Path

from helpers import model as models
from helpers.compare import measure, summary
from helpers.data import DATA, DataError, load_task
from helpers.teaching import METHODS, SHOWN
from own_data import compare_own, read_own
from helpers.study import run


def main(arguments: list[str] | None = None) -> int:
    """Compare the ways to teach a model on your own labelled CSV, or on a task of the course."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    if options.file:
        return _own(options, shlex.join(["python", "-m", "helpers.compare", *arguments]))
    return _course(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m helpers.compare", description=main.__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("file", nargs="?", help="your own labelled CSV file")
    what.add_argument("--task", help="a task of the course")
    parser.add_argument("--draws", type=int, help="default: what fits the time; of a task: 10")
    parser.add_argument("--model", help="a Hub name or a folder (default: MODEL or the course's)")
    parser.add_argument("--out", help="own data: a folder (default: FILE-comparison); task: a CSV")
    parser.add_argument(
        "--shown",
        type=int,
        default=SHOWN,
        help="examples shown in fine-tuning; own data: fewer make a quick look",
    )
    own = parser.add_argument_group("your own data")
    own.add_argument("--text", help="the column of the texts (default: found out)")
    own.add_argument("--label", help="the column of the labels (default: found out)")
    own.add_argument("--minutes", type=float, default=5, help="the time it may take (default: 5)")
    task = parser.add_argument_group("a task of the course")
    task.add_argument("--shots", type=int, nargs="+", default=[8, 32, 128, 256])
    task.add_argument("--items", type=int, default=96, help="number of held-out questions")
    task.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    return parser


def _own(options: argparse.Namespace, command: str) -> int:
    """Exit status 2 for a file that cannot be used, 1 for other errors, 130 when interrupted."""
    try:
        own = read_own(options.file, options.text, options.label)
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    for note in own.notes:
        print(note)
    out = Path(options.out or f"{Path(options.file).stem}-comparison")

    def work() -> None:
        lm = models.load(options.model)
        found = compare_own(lm, own, out, options.minutes, options.draws, command, options.shown)
        print(f"\n{found.table().to_string()}\n\n{found.advice.choice}.")
        print(*found.advice.reasons, sep="\n")

    return run(work, out)


def _course(options: argparse.Namespace) -> int:
    out = Path(options.out or DATA / "results" / f"{options.task}.csv")

    def work() -> None:
        task = load_task(options.task)
        lm = models.load(options.model)
        chosen = options.methods, options.items, out, options.shown
        results = measure(
            lm, task, options.shots, 10 if options.draws is None else options.draws, *chosen
        )
        print(summary(results).round(3).to_string(index=False))

    return run(work, out)


if __name__ == "__main__":
    sys.exit(main())

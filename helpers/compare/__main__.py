"""The command line of the comparison: `python -m helpers.compare --task NAME`."""

import argparse
import sys
from pathlib import Path

from helpers import model as models
from helpers.compare import measure, summary
from helpers.data import DATA, load_task
from helpers.methods import METHODS, SHOWN
from helpers.store import run


def main(arguments: list[str] | None = None) -> int:
    """Give the same draws of a task's examples to each method, store every row, print the table."""
    parser = argparse.ArgumentParser(prog="python -m helpers.compare", description=main.__doc__)
    parser.add_argument("--task", required=True)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--shots", type=int, nargs="+", default=[8, 32, 128, 256])
    parser.add_argument("--items", type=int, default=96, help="number of held-out questions")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--shown", type=int, default=SHOWN, help="examples shown in fine-tuning")
    parser.add_argument("--model", help="a Hub name or a folder (default: MODEL or the course's)")
    parser.add_argument("--out", help="CSV file (default: data/results/TASK.csv); goes on with it")
    options = parser.parse_args(arguments)
    out = Path(options.out or DATA / "results" / f"{options.task}.csv")

    def work() -> None:
        task = load_task(options.task)
        lm = models.load(options.model)
        chosen = options.methods, options.items, out, options.shown
        results = measure(lm, task, options.shots, options.draws, *chosen)
        print(summary(results).round(3).to_string(index=False))

    return run(work, out)


if __name__ == "__main__":
    sys.exit(main())

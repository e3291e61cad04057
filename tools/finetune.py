"""Fine-tune on a draw of a task's examples and save the result, in one process or many.

`python -m tools.finetune --task NAME --shots N --out FOLDER`; on several processes
`accelerate launch --multi_gpu --num_processes 2 -m tools.finetune …` (on a machine without GPUs
too; `accelerate launch --cpu` starts a single process).
"""

import argparse
import math
import sys

from helpers import model as models
from helpers.adapters import save
from helpers.data import DataError, load_task
from helpers.finetune import METHODS, Recipe, processes, tune
from helpers.model import ModelError


def main(arguments: list[str] | None = None) -> int:
    """Tune, save in the first process, and return the exit status."""
    options = vars(_parser().parse_args(arguments))
    shots, seed, out = (options.pop(name) for name in ("shots", "seed", "out"))
    task_name, model_name = options.pop("task"), options.pop("model")
    state = processes()  # before loading, because it settles which GPU is this process's
    try:
        task = load_task(task_name)
        recipe = Recipe(**options, keep_base=False)
        tuned = tune(models.load(model_name), task, task.draw(shots, seed), recipe, seed)
        if state.is_main_process:
            save(tuned.lm, out, tuned.history)
    except (ModelError, DataError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        state.destroy_process_group()
    if state.is_main_process:
        loss = tuned.history.loss.to_list() or [math.nan]
        print(
            f"{len(loss)} steps on {shots} examples in {state.num_processes} process(es): "
            f"loss {loss[0]:.3f} -> {loss[-1]:.3f}; saved in {out}"
        )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.finetune", description=main.__doc__)
    parser.add_argument("--task", required=True)
    parser.add_argument("--shots", type=int, default=16, help="number of training examples")
    parser.add_argument("--out", required=True, help="folder for the adapter and history.csv")
    parser.add_argument("--model", help="a Hub name or a folder (default: MODEL or the course's)")
    parser.add_argument("--method", choices=METHODS, default="lora")
    parser.add_argument("--rate", type=float, default=Recipe.rate, help="learning rate")
    parser.add_argument("--seed", type=int, default=0)
    for name in ("passes", "batch", "rank", "budget"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Recipe, name))
    return parser


if __name__ == "__main__":
    sys.exit(main())

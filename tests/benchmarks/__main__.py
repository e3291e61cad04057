"""The course against what people use else, on the same work in one run.

`python -m tests.benchmarks` prints one table and stores it with the machine, the versions and the
threads. Every contender runs in turn, `--rounds` times; the median counts.
"""

import argparse
import json
import os
import platform
import statistics
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from helpers import model
from helpers.data import DATA
from tests.benchmarks import work

WORKS = {
    "training": {
        "the course": work.ours_trained,
        "Trainer with peft": work.trainer_trained,
        "SFTTrainer": work.sft_trained,
        "SFTTrainer, packed": partial(work.sft_trained, packing=True),
    },
    "scoring": {
        "the course": work.ours_scored,
        "lm-evaluation-harness": work.harness_scored,
    },
    "writing": {
        "the course": work.ours_written,
        "generate, batched": work.batch_written,
        "generate, one by one": work.one_by_one_written,
    },
}
LONG = 120  # seconds: what takes longer is timed once
LAST = 8  # steps: those of the last pass


def sameness(kind: str, ours: object, theirs: object) -> str:
    """In words, how far both did the same."""
    if kind == "training":
        return (
            f"loss of the last pass {np.mean(theirs[-LAST:]):.3f}, ours {np.mean(ours[-LAST:]):.3f}"
        )
    if kind == "scoring":
        return f"largest difference {np.abs(ours - theirs).max():.1e} nats"
    return f"{sum(a == b for a, b in zip(ours, theirs, strict=True))} of {len(ours)} texts equal"


def compare(kind: str, rounds: int, lm: model.LanguageModel) -> list[dict]:
    """Rows of one kind of work: seconds of each contender, and their ratio to ours."""
    seconds: dict[str, list[float]] = {name: [] for name in WORKS[kind]}
    made = {}
    for _ in range(rounds):
        for name, contender in WORKS[kind].items():
            if max(seconds[name], default=0) > LONG:
                continue
            began = time.perf_counter()
            made[name] = contender(lm)
            seconds[name].append(time.perf_counter() - began)
            print(f"{kind}, {name}: {seconds[name][-1]:.1f} s", flush=True)
    ours = statistics.median(seconds["the course"])
    return [
        {
            "work": kind,
            "contender": name,
            "seconds": round(statistics.median(taken), 2),
            "times_ours": round(statistics.median(taken) / ours, 2),
            "sameness": sameness(kind, made["the course"], made[name]),
        }
        for name, taken in seconds.items()
    ]


def main() -> None:
    """Run what was asked for and store the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--only", choices=WORKS, action="append", help="one kind of work")
    parser.add_argument("--out", type=Path, default=DATA / "results" / "benchmarks.csv")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    lm = model.load()
    rows = [row for kind in options.only or WORKS for row in compare(kind, options.rounds, lm)]
    table = pd.DataFrame(rows)
    print(table.to_string(index=False))
    table.to_csv(options.out, index=False)
    capability = torch.backends.cpu.get_cpu_capability()
    packages = ("torch", "transformers", "peft", "trl", "lm-eval", "datasets")
    record = {
        "command": "python -m tests.benchmarks",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "rounds": options.rounds,
        "threads": options.threads,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {capability}",
        "bfloat16 tiles": bool(torch.cpu.get_capabilities().get("amx_bf16")),
        **{name: version(name) for name in packages},
    }
    options.out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()

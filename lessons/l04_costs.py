"""What teaching and asking take, with one question at a time, as a service meets them.

The base model is loaded and labelled examples are in hand; then the clocks start. Both stand beside
every number: seconds on the wall, and seconds of the processor, which other programs on the machine
disturb far less. The ways are asked in turns, question by question, so that a busy minute hits all
of them. Before any clock runs, one question is asked that is not counted: the first pass is slow.

From a command line: `python -m lessons.l04_costs --out FILE.csv`.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from helpers import model as models
from helpers.cost import clock
from helpers.data import DATA, DataError, Example, Task, balanced_order, load_task
from helpers.teaching import SHOWN, epochs, settings, taught_bytes, train
from helpers.model import LanguageModel
from helpers.prompts import count_tokens, plain
from helpers.scoring import Prompt
from helpers.study import Store, collect, digest, run
from lessons._totals import TEACHING, table

ASKED = {"zero-shot": 24, "prompt, kept": 100, "prompt, read anew": 8, "weights": 100}
MEASURES = ("way", "query", "right", "seconds", "processor_seconds", "tokens", "bytes")
COLUMNS = ("task", "shots", "draw", *MEASURES)
WAYS = tuple(ASKED)
NUMBERS = ["shots", "draw", *(name for name in MEASURES if name not in ("way", "right"))]


class Service(NamedTuple):
    """A way that has been taught: what teaching read, what has to be kept, and a prompt to ask."""

    tokens: int
    bytes: int
    prompt: Callable[[], Prompt]


def teach(
    lm: LanguageModel,
    task: Task,
    drawn: Sequence[Example],
    way: str,
    seed: int = 0,
    shown: int = SHOWN,
) -> Service:
    """Teach a draw in one of the `WAYS`.

    "prompt, kept": the demonstrations are read once, and their key/value cache stays in memory.
    "prompt, read anew": every question reads them; only their text is kept. "weights": LoRA as in
    `methods.py`, asked without demonstrations, the adapter beside the base. "zero-shot": nothing.
    """
    if way == "weights":
        tuned = train(lm, task, drawn, "lora", epochs(len(drawn), shown), seed)
        prompt = Prompt(tuned.lm, task, [])
        return Service(int(tuned.history.tokens.sum()), taught_bytes(tuned.lm), lambda: prompt)
    if way == "prompt, read anew":
        return Service(0, len(plain(task, drawn, "").encode()), lambda: Prompt(lm, task, drawn))
    if way == "prompt, kept":
        prompt = Prompt(lm, task, drawn)
        held = sum(layer.keys.nbytes + layer.values.nbytes for layer in prompt.cache.layers)
        return Service(len(prompt.tokens), held, lambda: prompt)
    prompt = Prompt(lm, task, [])
    return Service(0, 0, lambda: prompt)


def measure(
    lm: LanguageModel,
    task: Task,
    shots: Sequence[int] = (32,),
    draws: int = 10,
    ways: Sequence[str] = WAYS,
    most: int = 100,
    out: str | Path | None = None,
    shown: int = SHOWN,
) -> pd.DataFrame:
    """Teach each draw in each way, then ask one question after the other; a tidy row for each.

    Draw `d` uses seed `d` for the examples, the training and the order of the held-out questions,
    which is the same for all ways. A way gets as many questions as `ASKED` says, `most` at most,
    and then more until one is answered right. `shown` bounds the training, as in `compare.measure`.

    In the rows `query` counts from 1, and 0 is the teaching; `right` is 1 or 0 (empty for the
    teaching); `tokens` is what the model read; `bytes` what has to be kept. With `out`, a CSV file,
    rows are stored draw by draw and a second call goes on.
    Raises `DataError` for an unknown way, and as `compare.measure` does.
    """
    unknown = set(ways) - set(WAYS)
    if unknown:
        raise DataError(f"There is no way {unknown.pop()!r}: choose among {', '.join(WAYS)}.")
    if draws < 1 or not shots or min(shots) < 1:
        raise DataError("A measurement needs at least 1 draw, and every draw at least 1 example.")
    for n in shots:
        task.draw(n, 0)  # too large a draw is found before the work, not after
    settled = {
        "task": task.name,
        "asked": ASKED,
        "data": digest(task.template, task.instruction, *task.train, *task.held_out),
        "settings": settings(shown),
    }
    store = Store(out, lm, settled, NUMBERS) if out else None

    def teach_and_ask(**cell) -> list[dict]:
        n, d = cell["shots"], cell["draw"]
        drawn, asked = task.draw(n, d), balanced_order(task.held_out, task.labels, d)
        rows, services = [], {}
        for way in ways:
            service, *spent = clock(lambda w=way: teach(lm, task, drawn, w, d, shown))
            rows.append(_row(way, TEACHING, "", spent, service.tokens, service.bytes))
            services[way] = service
        return rows + list(_served(lm, task, services, asked, most))

    cells = [{"task": task.name, "shots": n, "draw": d} for d in range(draws) for n in shots]
    Prompt(lm, task, []).score(task.held_out[0].text)
    return collect(cells, teach_and_ask, store, task.name).reindex(columns=COLUMNS)


def _served(lm, task, services, asked, most) -> Iterator[dict]:
    """The questions in turn, each put to every way that is not done; a row for each answer."""
    right = dict.fromkeys(services, False)
    for number, example in enumerate(asked, 1):
        for way, service in services.items():
            if number > min(ASKED[way], most) and right[way]:
                continue
            (prompt, best), *spent = clock(lambda s=service, e=example: _asked(s, e.text))
            told = task.labels[best] == example.label
            right[way] |= told
            whole = plain(task, prompt.demonstrations, example.text)
            kept = 0 if way == "prompt, read anew" else len(prompt.tokens)
            read = count_tokens(lm.tokenizer, whole) - kept
            yield _row(way, number, str(int(told)), spent, read, 0)
        if number >= most and all(right.values()):
            return


def _asked(service: Service, text: str) -> tuple[Prompt, int]:
    prompt = service.prompt()
    return prompt, int(prompt.score(text).argmax())


def _row(way, query, right, spent, tokens, kept) -> dict:
    return dict(zip(MEASURES, (way, query, right, *spent, tokens, kept), strict=True))


def main(arguments: list[str] | None = None) -> int:
    """Time teaching and asking, a draw and a way after the other, and store every row."""
    parser = argparse.ArgumentParser(
        prog="python -m lessons.l04_costs", description=main.__doc__
    )
    parser.add_argument("--task", default="support_tickets")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--shots", type=int, nargs="+", default=[32])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--most", type=int, default=100, help="questions to a way, at most")
    parser.add_argument("--shown", type=int, default=SHOWN, help="examples shown in fine-tuning")
    parser.add_argument("--model", help="a Hub name or a folder (default: MODEL or the course's)")
    parser.add_argument("--out", help="CSV file (default: data/results/costs.csv); goes on with it")
    options = parser.parse_args(arguments)
    out = Path(options.out or DATA / "results" / "costs.csv")

    def work() -> None:
        task, lm = load_task(options.task), models.load(options.model)
        chosen = options.draws, options.ways, options.most, out, options.shown
        results = measure(lm, task, options.shots, *chosen)
        print(table(results).round(3).to_string())

    return run(work, out)


if __name__ == "__main__":
    sys.exit(main())

"""The command line of the comparison on one's own data.

python -m own_data FILE.csv --minutes 5 --out DIR
python -m own_data predict DIR NEW.csv
"""

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path

from helpers import model as models
from helpers.data import DataError
from helpers.model import ModelError
from helpers.study import run
from own_data import compare_own, read_own
from own_data.advice import PRICE, QUERIES
from own_data.kept import predict


def main(arguments: list[str] | None = None) -> int:
    """Compare the ways to teach a model on your own labelled file.

    The exit status is 2 for a file that cannot be used, 1 for other errors, 130 when interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    _say_anything()
    if arguments[:1] == ["predict"]:
        return _predict(arguments[1:])
    options = _parser().parse_args(arguments)
    read = options.text, options.label, options.encoding, options.split, options.group
    try:
        own = read_own(options.file, *read)
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    for note in own.notes:
        print(note)
    out = Path(options.out or f"{own.name}-comparison").expanduser()
    command = as_typed(["python", "-m", "own_data", *arguments])

    def work() -> None:
        lm = models.load(options.model)
        given = options.minutes, options.queries, options.price
        compared = compare_own(lm, own, out, *given, command)
        table = compared.table().drop(columns="setting")
        print(f"\n{table.to_string()}\n\n{compared.advice.choice}.")
        print(*compared.advice.reasons, sep="\n")

    return run(work, out)


def _predict(arguments: list[str]) -> int:
    about = "Label new rows by what a comparison recommends."
    parser = argparse.ArgumentParser(prog="python -m own_data predict", description=about)
    parser.add_argument("folder", help="the folder of a comparison (its --out)")
    parser.add_argument("file", help="rows without labels: any kind of file that is compared")
    parser.add_argument("--text", help="the column of the texts (default: as in the comparison)")
    parser.add_argument("--way", help="another way (default: the one that is recommended)")
    parser.add_argument("--out", help="a CSV file (default: FILE-labelled.csv)")
    options = parser.parse_args(arguments)
    try:
        more = options.text, options.way, options.out
        print(f"Stored in {predict(options.folder, options.file, *more)}.")
    except (DataError, ModelError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def as_typed(words: list[str], windows: bool = os.name == "nt") -> str:
    """A command as it is typed: Windows knows no single quotes, and its paths hold backslashes."""
    return subprocess.list2cmdline(words) if windows else shlex.join(words)


def _say_anything() -> None:
    """Let a console that lacks some letters, as cp1252 does most, show a code instead of ending."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _parser() -> argparse.ArgumentParser:
    about = "Compare the ways to teach a model on your own labelled file."
    parser = argparse.ArgumentParser(prog="python -m own_data", description=about)
    parser.add_argument("file", help="your own labelled file: CSV, JSON lines, Excel or Parquet")
    parser.add_argument("--text", help="the column of the texts (default: found out)")
    parser.add_argument("--label", help="the column of the labels (default: found out)")
    parser.add_argument("--encoding", help="such as cp1252 or utf-16 (default: found out)")
    parser.add_argument(
        "--minutes", type=float, default=5, help="the time it may take (default: 5)"
    )
    parser.add_argument("--split", help="a column that says train, dev or test")
    parser.add_argument("--group", help="rows with the same here are never on both sides")
    parser.add_argument(
        "--queries", type=float, default=QUERIES, help="questions a day, for the cost"
    )
    parser.add_argument(
        "--price", type=float, default=PRICE, help="of a million tokens at a hosted model"
    )
    parser.add_argument("--model", help="a Hub name or a folder (default: MODEL or the course's)")
    parser.add_argument("--out", help="a folder (default: FILE-comparison)")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""What authors do: `python -m tools execute 00 01`, `python -m tools badges --repo OWNER/NAME`."""

import argparse
import sys
from pathlib import Path

from tools import links

ROOT = Path(__file__).resolve().parent.parent


def execute(options: argparse.Namespace) -> int:
    """run notebooks in order and store their outputs; one that fails stays as it was"""
    from tools import notebooks  # needs packages of the course's environment

    files = sorted((ROOT / "notebooks").glob("*.ipynb"))
    chosen = [file for file in files if file.name.startswith(tuple(options.names) or "")]
    if not chosen:
        print("No notebook's name starts so: look into the folder notebooks.", file=sys.stderr)
        return 1
    try:
        for file in chosen:
            print(notebooks.execute(file), flush=True)
    except notebooks.NotebookError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def badges(options: argparse.Namespace) -> int:
    """list the links that do not lead to this repository; with --repo, first rewrite them all"""
    try:
        for file in links.rewrite(ROOT, options.repo) if options.repo is not None else []:
            print(f"rewritten: {file.relative_to(ROOT)}")
        wrong = links.problems(ROOT)
    except links.LinkError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(wrong) or f"Every link leads to {links.slug(ROOT)}.")
    return 1 if wrong else 0


def main(arguments: list[str] | None = None) -> int:
    """Carry one command out and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools", description=__doc__)
    commands = parser.add_subparsers(metavar="command", required=True)
    for command in (execute, badges):
        added = commands.add_parser(command.__name__, help=command.__doc__)
        added.set_defaults(run=command)
        if command is execute:
            added.add_argument("names", nargs="*", metavar="NN", help="how the names start")
        else:
            added.add_argument("--repo", metavar="OWNER/NAME", help="where the links shall lead")
    options = parser.parse_args(arguments)
    try:
        return options.run(options)
    except KeyboardInterrupt:
        print("\nInterrupted: nothing is broken, and the same command goes on.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())

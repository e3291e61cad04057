"""What authors and instructors do: `python -m tools execute 00 01`, `python -m tools slides 08`."""

import argparse
import sys
from pathlib import Path

from tools import links
from tools.web import WebError

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"


def chosen(names: list[str]) -> list[Path]:
    """The notebooks whose names start so; all of them where no name is given."""
    files = sorted((ROOT / "notebooks").glob("*.ipynb"))
    return [file for file in files if file.name.startswith(tuple(names) or "")]


def execute(options: argparse.Namespace) -> int:
    """run notebooks in order and store their outputs; one that fails stays as it was"""
    from tools import notebooks  # needs packages of the course's environment, as those below do

    try:
        for file in chosen(options.names):
            print(notebooks.execute(file), flush=True)
    except notebooks.NotebookError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def slides(options: argparse.Namespace) -> int:
    """make slides of the lessons, which need no network; arrow keys turn them, S shows the notes"""
    from tools import slides as decks

    for page in decks.write(chosen(options.names), options.out or BUILD / "slides"):
        print(page)
    return 0


def editions(options: argparse.Namespace) -> int:
    """make notebooks for students (no solutions), instructors (solutions, marks) and the podium"""
    from tools import editions as edited

    for notebook in edited.write(chosen(options.names), options.out or BUILD / "editions"):
        print(notebook)
    return 0


def translate(options: argparse.Namespace) -> int:
    """take the prose out for translators, and write the lessons in that language as far as it is"""
    import nbformat

    from tools import translations

    out = options.out or BUILD / "translations" / options.language
    out.mkdir(parents=True, exist_ok=True)
    for file in chosen(options.names):
        notebook = nbformat.read(file, as_version=4)
        print(translations.extract(notebook, file.stem, options.language))
        nbformat.write(
            translations.translated(notebook, file.stem, options.language), out / file.name
        )
    return 0


def site(options: argparse.Namespace) -> int:
    """make the web edition, which needs no kernel and no network; with --pdf, one file to print"""
    from tools import site as pages

    print(pages.write(options.out or BUILD / "site"))
    if options.pdf:
        print(pages.write_pdf(options.out or BUILD / "site"))
    return 0


def colab(options: argparse.Namespace) -> int:
    """run lessons as Colab opens them, with this Python's packages (tools/colab.txt has Colab's)"""
    from tools import colab as imitation

    return int(any(row["error"] for row in imitation.run(chosen(options.names))))


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


COMMANDS = (execute, slides, editions, translate, site, badges)  # course.py passes them on
OTHERS = (colab,)  # which stand in no environment of the course's


def main(arguments: list[str] | None = None) -> int:
    """Carry one command out and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools", description=__doc__)
    commands = parser.add_subparsers(metavar="command", required=True)
    for command in (*COMMANDS, *OTHERS):
        added = commands.add_parser(command.__name__, help=command.__doc__)
        added.set_defaults(run=command, names=[])
        if command in (execute, slides, editions, translate, colab):
            added.add_argument("names", nargs="*", metavar="NN", help="how the names start")
        if command in (slides, editions, translate, site):
            added.add_argument("--out", type=Path, help="a folder (default: in build)")
        if command is translate:
            added.add_argument("--language", default="de", help="such as de or pt_BR (default: de)")
        if command is site:
            added.add_argument("--pdf", action="store_true", help="also one PDF; needs Chromium")
        if command is badges:
            added.add_argument("--repo", metavar="OWNER/NAME", help="where the links shall lead")
    options = parser.parse_args(arguments)
    if not chosen(options.names):
        print("No notebook's name starts so: look into the folder notebooks.", file=sys.stderr)
        return 1
    try:
        return options.run(options)
    except WebError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted: nothing is broken, and the same command goes on.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())

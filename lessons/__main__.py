"""The one command for all stored results: `python -m lessons NAME [--draws N] [--out FILE]`.

It goes on where it stopped, and a record beside the result says how it was made.
"""

import argparse
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import lessons
from helpers import claims, model, study
from helpers.data import DATA
from helpers.study import Made
from lessons import contrasts

VERDICTS = "verdicts"


def results() -> dict[str, Made]:
    """Every stored result, by its name, from the modules named after lessons."""
    names = [module.name for module in iter_modules(lessons.__path__) if module.name[:1] == "l"]
    modules = [import_module(f"lessons.{name}") for name in names if name[1:3].isdigit()]
    return {name: made for module in modules for name, made in getattr(module, "MADE", {}).items()}


def place(made: Made, name: str, other: str | None) -> Path:
    """Where a result lies under `data`: that of another model beside it, named after the model."""
    out = Path(made.place or f"results/{name}.csv")
    return out.with_stem(f"{out.stem}_{Path(other).name}") if other else out


def main(arguments: list[str] | None = None) -> int:
    """Make a stored result."""
    made = results()
    minutes = "".join(
        f"  {name:16} {result.minutes:6,.0f} minutes\n" for name, result in made.items()
    )
    parser = argparse.ArgumentParser(
        prog="python -m lessons",
        description="Make a stored result again; an interrupted run goes on where it stopped.",
        epilog=f"names, and about how long each takes on two cores:\n{minutes}"
        f"  {VERDICTS:16}  at once: what the rule says of the claims, from all that is stored",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=[*made, VERDICTS], metavar="NAME")
    parser.add_argument("--draws", type=int, help="default: as many as the stored result has")
    parser.add_argument("--model", help="a Hub name or a folder (default: MODEL or the course's)")
    parser.add_argument("--out", help="default: where the stored result lies, or beside it")
    options = parser.parse_args(arguments)
    if options.name == VERDICTS:
        contrasts.write(Path(options.out or claims.VERDICTS))
        return 0
    chosen = made[options.name]
    out = Path(options.out or DATA / place(chosen, options.name, options.model))

    def work() -> None:
        lm = model.load(options.model)
        if chosen.write:
            chosen.write(lm, out)
        else:
            draws = chosen.draws if options.draws is None else options.draws
            study.carry_out(chosen.study(lm, draws), lm, out)

    return study.run(work, out)


if __name__ == "__main__":
    sys.exit(main())

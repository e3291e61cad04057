"""What pytest does around lessons and tests: folders of their own, and a budget for every lesson.

It stands beside `tests` and `notebooks` because a conftest.py inside `tests` never sees a notebook.
"""

import os
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest
from nbval.plugin import IPyNbCell

from tools.notebooks import peak_memory


@dataclass
class Use:
    """What the cells of one notebook have used so far."""

    seconds: float = 0.0
    memory: int = 0  # bytes, the kernel's peak
    over_budget: bool = False


SCRATCH = pytest.StashKey[Path]()
USES = pytest.StashKey[dict[str, Use]]()


def pytest_addoption(parser):
    parser.addini("notebook_seconds", "how long all cells of one notebook may run together")
    parser.addini("notebook_megabytes", "how much memory the kernel of one notebook may ever hold")


def pytest_configure(config):
    scratch = tempfile.TemporaryDirectory(prefix="course-tests-", ignore_cleanup_errors=True)
    config.add_cleanup(scratch.cleanup)
    config.stash[SCRATCH] = Path(scratch.name)
    config.stash[USES] = defaultdict(Use)
    # A person's own start-up files must not decide whether the lessons run.
    os.environ["IPYTHONDIR"] = str(Path(scratch.name) / "ipython")


@pytest.hookimpl(tryfirst=True)  # before nbval starts the kernel, which inherits the environment
def pytest_runtest_setup(item):
    """Records of predictions and verdicts: a folder per notebook or module, never the learner's."""
    records = item.config.stash[SCRATCH] / "records" / item.path.name
    records.mkdir(parents=True, exist_ok=True)
    os.environ["COURSE_RECORDS"] = str(records)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Measure every cell; the one with which its notebook exceeds the budget fails."""
    if not isinstance(item, IPyNbCell):
        return (yield)
    use = item.config.stash[USES][item.path.name]
    started = time.monotonic()
    try:
        result = yield
    finally:
        use.seconds += time.monotonic() - started
        if item.parent.kernel.is_alive():
            use.memory = max(use.memory, peak_memory(item.parent.kernel.km.provisioner.pid))
    excess = "" if use.over_budget else excess_of(use, item.config)
    if excess:
        use.over_budget = True
        item.raise_cell_error(f"{item.path.name} {excess}")
    return result


def excess_of(use, config):
    """What is over the budget, in words; empty when nothing is."""
    seconds = float(config.getini("notebook_seconds"))
    megabytes = float(config.getini("notebook_megabytes"))
    if use.seconds > seconds:
        return f"has run for {use.seconds:.0f} s, but may take {seconds:.0f} s."
    if use.memory / 1e6 > megabytes:
        return f"has held {use.memory / 1e6:.0f} MB, but may hold {megabytes:.0f} MB."
    return ""


def pytest_terminal_summary(terminalreporter, config):
    uses = config.stash[USES]
    if uses:
        terminalreporter.section("notebooks: seconds of all cells, peak memory of the kernel")
    for name, use in sorted(uses.items()):
        terminalreporter.line(f"{use.seconds:5.0f} s {use.memory / 1e6:6.0f} MB  {name}")

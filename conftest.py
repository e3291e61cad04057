"""How pytest runs lessons: each code cell twice in a row, within limits that follow the machine.

nbval executes the cells. It stands beside `tests` and `notebooks` because a conftest.py inside
`tests` never sees a notebook.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from queue import Empty

import pytest
from nbval.plugin import IPyNbCell, IPyNbFile, NbCellError

from tools import speed
from tools.notebooks import code_cell, exercises, forget_peak, output_text, peak_memory

LONG_CELL = 3  # seconds from which on the machine is measured again
CPU_BUILD = 230  # megabytes of a process that has imported PyTorch's build for processors alone
HANG = 1800  # seconds on the reference machine after which a test counts as hung


@dataclass
class Use:
    """What the cells of one notebook have used so far, each run once."""

    seconds: float = 0.0
    reference_seconds: float = 0.0  # what they would have taken on the reference machine
    memory: int = 0  # bytes, the kernel's peak
    over_budget: bool = False


SCRATCH = pytest.StashKey[Path]()
USES = pytest.StashKey[dict[str, Use]]()


def pytest_addoption(parser):
    parser.addini("notebook_seconds", "how long all cells of one notebook may run together")
    parser.addini("notebook_megabytes", "how much memory the kernel of one notebook may ever hold")
    parser.addini("cell_seconds", "after how long a cell is cut off")


@pytest.hookimpl(tryfirst=True)  # pytest-timeout reads its option when it is configured
def pytest_configure(config):
    config.option.timeout = config.option.timeout or HANG * speed.known_slowness()
    config.option.nbval_kernel_startup_timeout = 60 * speed.known_slowness()
    scratch = tempfile.TemporaryDirectory(prefix="course-tests-", ignore_cleanup_errors=True)
    config.add_cleanup(scratch.cleanup)
    config.stash[SCRATCH] = Path(scratch.name)
    config.stash[USES] = defaultdict(Use)
    # A person's own start-up files must not decide whether the lessons run.
    os.environ["IPYTHONDIR"] = str(Path(scratch.name) / "ipython")


# Every lesson in its doubled form


def pytest_collect_file(file_path, parent):
    option = parent.config.option
    if file_path.suffix == ".ipynb" and not (option.nbval or option.nbval_lax):
        return Lesson.from_parent(parent, path=file_path)
    return None


class Lesson(IPyNbFile):
    """A notebook whose cells run twice in a row; after an exercise's check comes its solution.

    Outputs that are marked for it are compared where a cell runs for the first time.
    """

    def __init__(self, **options):
        super().__init__(**options)
        self.compare_outputs = False  # but those of marked cells

    def collect(self):
        cells = list(super().collect())
        solutions = {id(e.check): e.solution for e in exercises(self.nb)}
        for cell in cells:
            is_check = id(cell.cell) in solutions
            cell.says = "Not attempted" if is_check else ""
            yield cell
            yield self._more(cell, "again", cell.cell.source, cell.says)
            if is_check:
                yield self._more(cell, "solution", solutions[id(cell.cell)] or "")
                yield self._more(cell, "solved", cell.cell.source, "Right")

    def _more(self, cell, what, source, says=""):
        more = MoreOfCell.from_parent(
            self,
            name=f"{cell.name} {what}",
            cell_num=cell.cell_num,
            cell=code_cell(source),
            options=cell.options | {"check": False},
        )
        more.says = says
        return more

    def setup(self):
        with pytest.MonkeyPatch.context() as patch:  # the smallest machine that lessons are for
            patch.setenv("COURSE_MEMORY", "2e9")
            super().setup()
        self.kernel.await_reply = patient(self.kernel.await_reply, self.config)


class MoreOfCell(IPyNbCell):
    """A cell's second run, or what follows it: nothing that counts in the budget."""


def patient(await_reply, config):
    """Wait for a cell as long as the machine's speed allows, which is measured again at its end."""
    seconds = float(config.getini("cell_seconds"))

    def wait(msg_id, timeout=None):
        began, left = time.monotonic(), seconds * speed.known_slowness()
        while True:
            try:
                return await_reply(msg_id, timeout=left)
            except Empty:
                left = speed.limit(seconds) - (time.monotonic() - began)
                if left <= 0:
                    raise

    return wait


# Limits


@pytest.hookimpl(tryfirst=True)  # before nbval starts the kernel, which inherits the environment
def pytest_runtest_setup(item):
    """Records of predictions and verdicts: a folder per notebook or module, never the learner's."""
    records = item.config.stash[SCRATCH] / "records" / item.path.name
    records.mkdir(parents=True, exist_ok=True)
    os.environ["COURSE_RECORDS"] = str(records)
    if isinstance(item, IPyNbCell) and item.parent.timed_out:
        pytest.skip("a cell before this one was cut off")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Measure every cell; the one with which its notebook exceeds the budget fails."""
    if not isinstance(item, IPyNbCell):
        return (yield)
    if not isinstance(item, MoreOfCell):
        forget_peak(item.parent.kernel.km.provisioner.pid)
    began = time.monotonic()
    try:
        result = yield
    except NbCellError:
        if item.parent.timed_out:
            seconds = time.monotonic() - began
            item.raise_cell_error(f"{item.path.name} was cut off: {item.name} ran {seconds:.0f} s.")
        raise
    printed = "".join(map(output_text, item.test_outputs)).strip()
    if not any(line.startswith(item.says) for line in printed.splitlines() or [""]):
        item.raise_cell_error(f"the check should say {item.says!r}, but says {printed!r}.")
    if not isinstance(item, MoreOfCell):
        count(item, time.monotonic() - began)
    return result


def count(item, seconds):
    """Add a cell's seconds and memory to its notebook's; fail where they exceed the budget."""
    use = item.config.stash[USES][item.path.name]
    use.seconds += seconds
    slow = speed.slowness() if seconds > LONG_CELL else 1.0
    use.reference_seconds += seconds / max(slow, speed.known_slowness())
    if item.parent.kernel.is_alive():
        use.memory = max(use.memory, peak_memory(item.parent.kernel.km.provisioner.pid))
    excess = "" if use.over_budget else excess_of(use, item.config)
    if excess:
        use.over_budget = True
        item.raise_cell_error(f"{item.path.name} {excess}")


def excess_of(use, config):
    """What is over the budget, in words; empty when nothing is."""
    seconds = float(config.getini("notebook_seconds"))
    megabytes = float(config.getini("notebook_megabytes"))
    if use.reference_seconds > seconds:
        return (
            f"has run for {use.reference_seconds:.0f} s of the reference machine "
            f"({use.seconds:.0f} s here), but may take {seconds:.0f} s."
        )
    excess = use.memory / 1e6 - megabytes
    if excess > 0 and excess > gpu_build():  # which imports PyTorch, so it is asked last
        return f"has held {use.memory / 1e6:.0f} MB, but may hold {megabytes:.0f} MB."
    return ""


@cache
def gpu_build():
    """The megabytes of PyTorch's libraries for GPUs, which no lesson asks for; 0 without them."""
    probe = (
        "import psutil, torch\n"
        "print(bool(torch.version.cuda or torch.version.hip), psutil.Process().memory_info().rss)"
    )
    command = [sys.executable, "-c", probe]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    has_them, held = said.split()
    return max(0.0, int(held) / 1e6 - CPU_BUILD) if has_them == "True" else 0.0


# The table at the end, also where workers of pytest-xdist have run the notebooks


def pytest_sessionfinish(session):
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["uses"] = {name: asdict(use) for name, use in session.config.stash[USES].items()}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    uses = getattr(node, "workeroutput", {}).get("uses", {})
    node.config.stash[USES].update({name: Use(**use) for name, use in uses.items()})


def pytest_terminal_summary(terminalreporter, config):
    uses = config.stash[USES]
    if uses:
        terminalreporter.section(
            "notebooks: seconds of all cells, the same on the reference machine, peak memory; "
            f"this machine was {speed.known_slowness():.1f} times slower at the start"
        )
    for name, use in sorted(uses.items()):
        seconds = f"{use.seconds:5.0f} s {use.reference_seconds:5.0f} s"
        terminalreporter.line(f"{seconds} {use.memory / 1e6:6.0f} MB  {name}")

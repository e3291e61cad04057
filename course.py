#!/usr/bin/env python3
"""Sets the course up, opens it and tests it. Needs nothing but Python.

python3 course.py                  set up what is missing, then open JupyterLab (same as `lab`)
python3 course.py test -- -k name  the same set-up and the test tools, then every test
python3 course.py check            say what is missing or wrong; change nothing
python3 course.py execute 00 01    run notebooks and store their outputs
python3 course.py slides 08        slides of a lesson, or of all: `site`, `editions` likewise
python3 course.py badges           do all links lead to the repository? (--repo: rewrite them)
python3 course.py colab            on Colab: install what is missing there, prepare the model
"""

# This file uses only the standard library and must parse on Python 3.6, so that an old Python gets
# a sentence instead of a syntax error.
import argparse
import contextlib
import errno
import hashlib
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path

FOUND = "%d.%d" % sys.version_info[:2]
if sys.version_info < (3, 11):
    sys.exit(
        f"The course needs Python 3.11 or later, but this is Python {FOUND}: install a newer one "
        "from python.org and start it by its name, for example `python3.12 course.py`."
    )

import tools.__main__ as authors  # only now: an old Python has got its sentence
from tools.diagnoses import AGAIN, CHECK_PACKAGES, DIAGNOSES, DISK_FULL, NEEDED_GB, NOT_WRITABLE
from tools.programs import (
    BIN,
    ROOT,
    VENV,
    become,
    environment,
    find_chromium,
    one_at_a_time,
    run,
    say,
    watch,
)

REQUIREMENTS = ROOT / "requirements.txt"
TEST_REQUIREMENTS = ROOT / "tests" / "requirements.txt"
WEB_REQUIREMENTS = ROOT / "tools" / "requirements.txt"
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
STAMP = VENV / "course.json"  # what was completed; "unfinished" while an installation runs
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PROBE_SECONDS = 3
WEB = [REQUIREMENTS, WEB_REQUIREMENTS]
NEEDS = {"translate": WEB, "site": WEB, "badges": []}  # of tools/; other commands: REQUIREMENTS
LATEST = ".venv-latest"  # made afresh each time, for new versions come every day
NO_TESTS = 5  # pytest's exit code where it has selected none
QUICK = ["notebooks/00_start_here.ipynb", "tests/test_data.py", "tests/test_prompts.py"]
QUICK += ["tests/test_scoring.py", "tests/test_finetune.py", "tests/test_adapters.py"]


class CourseError(Exception):
    """One sentence that says what is wrong and what to do."""


def require(command, title):
    """`watch` a program that must succeed; if it does not, say why."""
    succeeded, output = watch(command, title)
    if succeeded:
        return
    for pattern, sentence in DIAGNOSES:
        if re.search(pattern, output):
            raise CourseError(sentence)
    say("".join(f"  | {line}\n" for line in output.splitlines()[-15:]))
    raise CourseError(f"{title} failed for the reason shown above: mend it, {AGAIN}")


# --- set-up ---------------------------------------------------------------------------------------


def read_stamp():
    try:
        return json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}


def write_stamp(**changes):
    part = STAMP.with_suffix(".part")
    part.write_text(json.dumps({**read_stamp(), **changes}, indent=1))
    part.replace(STAMP)


def fingerprints(files):
    return {
        file.relative_to(ROOT).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }


def pins():
    """The packages of requirements.txt, as {name: version}."""
    return dict(re.findall(r"(?m)^([\w.-]+)==(\S+)", REQUIREMENTS.read_text()))


def usable_python():
    """Whether .venv has a Python that can start; the one it was made from may be gone."""
    try:
        home = re.search(r"(?m)^home\s*=\s*(.+?)\s*$", (VENV / "pyvenv.cfg").read_text())
    except OSError:
        return False
    return home is not None and os.path.exists(home.group(1)) and os.path.exists(PYTHON)


def complete(files):
    """Whether .venv holds, wholly installed, what the requirements `files` say today."""
    stamp = read_stamp()
    installed = stamp.get("installed", {}).items()
    return (
        usable_python() and not stamp.get("unfinished") and fingerprints(files).items() <= installed
    )


def ensure_packages(files):
    """Make .venv hold what the requirements `files` say; nothing to do when it already does."""
    if not complete(files):
        with one_at_a_time():
            if not complete(files):  # the set-up that we waited for may have done it
                make_complete(files)


def make_complete(files):
    if read_stamp().get("unfinished") or not usable_python():
        if VENV.exists():
            say("Making .venv afresh: it is half-made or its Python is gone.")
            shutil.rmtree(VENV)
        free = shutil.disk_usage(ROOT).free / 1e9
        if free < NEEDED_GB:
            raise CourseError(f"Only {free:.1f} GB are free: free about {NEEDED_GB} GB, {AGAIN}")
        VENV.mkdir()
        write_stamp(unfinished=True)  # from here on an interruption is noticed
        make_venv()
    write_stamp(unfinished=True)
    install(files)
    silence_announcements()
    installed = {**read_stamp().get("installed", {}), **fingerprints(files)}
    write_stamp(unfinished=False, installed=installed)


def make_venv():
    base = getattr(sys, "_base_executable", None) or sys.executable  # not another environment's
    uv = shutil.which("uv")
    if uv:
        command = [uv, "venv", "--seed", "--allow-existing", "--python", base, VENV]
    else:
        command = [base, "-m", "venv", VENV]
    require(command, f"Making .venv with Python {FOUND}")


def install(files):
    uv = shutil.which("uv")
    if uv:
        command = [uv, "pip", "install", "--python", PYTHON]
    else:
        command = [PYTHON, "-m", "pip", "install", "--progress-bar", "off", "--retries", "2"]
    torch = pins()["torch"]
    if wants_cpu_torch() and (installed_torch() or "").split("+")[0] != torch:
        if answers(f"{CPU_INDEX}/torch/"):
            # Its dependencies come with the next step, from the ordinary index. A failure here
            # costs nothing: the next step then takes PyTorch from there, too.
            from_index = ["--no-deps", "--index-url", CPU_INDEX, f"torch=={torch}"]
            watch([*command, *from_index], "Installing PyTorch for the CPU")
        else:
            say("PyTorch's own index of CPU builds does not answer; using the ordinary index.")
    listed = [part for file in files for part in ("-r", file)]
    require([*command, *listed], "Installing the packages (a few minutes the first time)")


def wants_cpu_torch():
    """Linux without an NVIDIA GPU: only there the ordinary index delivers CUDA for nothing."""
    gpu = shutil.which("nvidia-smi") or Path("/proc/driver/nvidia").exists()
    return sys.platform.startswith("linux") and not gpu


def answers(url):
    """Whether `url` opens within `PROBE_SECONDS`, even where name resolution hangs."""
    opened = []

    def probe():
        errors = (OSError, http.client.HTTPException)
        with contextlib.suppress(*errors), urllib.request.urlopen(url, timeout=PROBE_SECONDS):
            opened.append(url)

    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return bool(opened)


def installed_torch():
    """The version of torch in .venv, read from a folder's name: importing it takes seconds."""
    found = (folder.glob("torch-*.dist-info") for folder in libraries())
    folders = [folder.name for several in found for folder in several]
    return folders[0][len("torch-") : -len(".dist-info")] if folders else None


def libraries():
    """The folders of .venv from which its Python imports."""
    return VENV.glob("Lib/site-packages" if os.name == "nt" else "lib/python3*/site-packages")


def find_from_anywhere():
    """Lessons may lie in any folder, as their editions do: let .venv find what they import."""
    for folder in libraries():
        (folder / "course.pth").write_text(f"{ROOT}\n")


def silence_announcements():
    """JupyterLab's own setting: no question about news, no look for updates."""
    settings = VENV / "share" / "jupyter" / "lab" / "settings" / "overrides.json"
    settings.parent.mkdir(parents=True, exist_ok=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False}
    settings.write_text(json.dumps({"@jupyterlab/apputils-extension:notification": quiet}))


RUN_MODEL = """
import runpy, sys
show = sys.excepthook
sys.excepthook = lambda kind, *rest: kind is KeyboardInterrupt or show(kind, *rest)
runpy.run_module("helpers.model", run_name="__main__", alter_sys=True)
"""  # `python -m helpers.model`, which Ctrl-C ends without a page of traceback


def prepare_model(python):
    """Have `helpers.model` prepare the model, with its own progress and its own error sentence."""
    say("Preparing the model ...")
    code, output = run([python, "-c", RUN_MODEL, "--json"], stdout=subprocess.PIPE)
    if code:
        raise SystemExit(code)
    return json.loads(output.splitlines()[-1])


def ensure_model():
    """Prepare the model unless it lies where it lay, as it lay. Returns its name, path, device."""
    asked = [os.environ.get(name) for name in ("MODEL", "COURSE_CACHE", "XDG_CACHE_HOME")]
    asked.append(fingerprints([ROOT / "helpers" / "default_model.py"]))
    model = read_stamp().get("model", {})
    if model.get("asked") != asked or model["files"] != listing(model["path"]):
        model = prepare_model(PYTHON)
        write_stamp(model={**model, "asked": asked, "files": listing(model["path"])})
    return model


def listing(folder):
    """Sizes and times of a folder's files: shows a change without reading half a gigabyte."""
    if not os.path.isdir(folder):
        return {}
    files = {entry.name: entry.stat() for entry in os.scandir(folder)}
    return {name: [status.st_size, status.st_mtime_ns] for name, status in files.items()}


def set_up(files):
    """Everything that a lesson needs, then a summary in one line."""
    ensure_packages(files)
    find_from_anywhere()
    model = ensure_model()
    look = "import platform, psutil as p; print(platform.python_version(), p.virtual_memory()[1])"
    python, memory = run([PYTHON, "-c", look], stdout=subprocess.PIPE)[1].split()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    say(
        f"Python {python}, torch {installed_torch()}, device {model['device']}, {cores} cores, "
        f"{int(memory) / 1e9:.1f} GB of memory free, model {model['name']}"
    )


# --- commands -------------------------------------------------------------------------------------


def lab(options):
    """set up what is missing, then open JupyterLab on the first lesson"""
    port = choose_port(options.port)
    set_up([REQUIREMENTS])
    command = [PYTHON, "-m", "jupyterlab", f"--ServerApp.root_dir={ROOT}", "--log-level=WARN"]
    command.append("--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb")
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    if options.no_browser:
        command.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")  # a container, or a class room's server
    say("Opening JupyterLab; begin with notebooks/00_start_here.ipynb. Ctrl-C here ends it.")
    return become([str(part) for part in command])


def choose_port(wanted):
    """The wanted port, which must be free; without a wish the first free one from 8888."""
    for port in [wanted] if wanted else range(8888, 8988):
        with socket.socket() as probe:
            if os.name != "nt":  # a port that was just left is free, as it is for Jupyter
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("localhost", port))
                return port
            except (OSError, OverflowError) as error:
                reason = getattr(error, "strerror", None) or "ports go from 1 to 65535"
    raise CourseError(
        f"Port {port} cannot be used ({reason}): close the program that uses it, or choose another "
        "with --port."
    )


def test(options):
    """the same set-up and the test tools, then every test; arguments after -- go to pytest"""
    files = [REQUIREMENTS, TEST_REQUIREMENTS, WEB_REQUIREMENTS]
    if options.latest and VENV.name != LATEST:  # this program once more, on that environment
        shutil.rmtree(ROOT / LATEST, ignore_errors=True)
        words = ["test", "--latest", *["--quick"] * options.quick, "--", *options.pytest]
        return run([sys.executable, __file__, *words], env=environment(COURSE_VENV=LATEST))[0]
    set_up([loosened(file) for file in files] if options.latest else files)
    if not find_chromium():
        say("No Chromium or Chrome found, so the browser tests are skipped: install one for them.")
    failed, any_test = [], False
    for name, command, extra in stages(options):
        say(f"== {name}")
        code = run([PYTHON, "-m", *command], env=environment(**extra))[0]
        any_test |= command[0] == "pytest" and code != NO_TESTS
        if code and not (command[0] == "pytest" and code == NO_TESTS):
            failed.append(name)
    if not any_test:
        failed.append("no test has such a name")
    say(f"Failed: {', '.join(failed)}" if failed else "Everything passed.")
    return 1 if failed else 0


def loosened(file):
    """A copy of requirements that lets each package be newer within its major version.

    PyTorch stays: another one is a download of gigabytes.
    """
    copy = ROOT / "build" / "latest" / f"{file.parent.name}.txt"
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(re.sub(r"(?m)^(?!torch=)([\w-]+)==(\d+\.\d+).*", r"\1~=\2", file.read_text()))
    return copy


def stages(options):
    """Name, command and environment of each: two workers on a thread each, then what needs all.

    More threads hardly speed one lesson up, and two lessons at a time take half as long.
    """
    chosen = QUICK if options.quick else []
    several = ["-n", "2", "--dist", "loadfile", "-m", "not alone and not slow"]
    if not options.quick:
        several[-1] = "not alone"
    yield "ruff check", ["ruff", "check", "."], {}
    yield "ruff format", ["ruff", "format", "--check", "."], {}
    two = {"OMP_NUM_THREADS": "1"}
    yield "pytest, two at a time", ["pytest", *several, *chosen, *options.pytest], two
    if not options.quick:
        yield "pytest, one at a time", ["pytest", "-m", "alone", *options.pytest], {}


def check(options):
    """say what is missing or wrong, each with its remedy; change nothing"""
    wrong = 0
    for subject, problem, remedy in findings():
        say(f"wrong: {subject}: {problem}: {remedy}" if problem else f"fine:  {subject}")
        wrong += problem is not None
    say(f"{wrong} to mend." if wrong else "Everything is in place.")
    return 1 if wrong else 0


def findings():
    """What was looked at, what is wrong with it (or None), and what to do about that."""
    set_up_again = "run `python3 course.py`"
    yield f"Python {FOUND}", None, ""
    yield (
        "folder",
        not_writable(ROOT),
        "make it writable or copy the course to a folder of your own",
    )
    ready = complete([REQUIREMENTS])
    free, needed = shutil.disk_usage(ROOT).free / 1e9, 1 if ready else NEEDED_GB
    few = f"only {free:.1f} GB are free" if free < needed else None
    yield "disk", few, f"free at least {needed} GB"
    missing = None if ready else "missing, half-installed or not those of requirements.txt"
    yield "packages in .venv", missing, set_up_again
    if ready:
        pinned = [f"{name}=={version}" for name, version in pins().items()]
        broken = complaint([PYTHON, "-c", CHECK_PACKAGES, *pinned])
        yield "imports", broken, f"delete the folder .venv, then {set_up_again}"
        yield "model", complaint([PYTHON, "-m", "helpers.model", "--check"]), set_up_again


def not_writable(folder):
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return f"{folder} cannot be written ({error.strerror})"


def complaint(command):
    """The last line that a failing program prints; None if it succeeds."""
    code, output = run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    lines = output.strip().splitlines() or [f"ended with code {code}"]
    return lines[-1].rstrip(".") if code else None


def author(options):
    """What `tools/` does for those who write or present the course: it gets the words as typed."""
    if options.needs:
        set_up(options.needs)
    python = PYTHON if options.needs else sys.executable
    no_bars = environment(TQDM_DISABLE="1")  # progress bars are not worth storing
    return run([python, "-m", "tools", options.command, *options.words], env=no_bars)[0]


def colab(options):
    """install only what is missing altogether, keep what Colab has, prepare the model"""
    from importlib.metadata import PackageNotFoundError, version

    present = {}
    for name in pins():
        with contextlib.suppress(PackageNotFoundError):
            present[name] = version(name)
    missing = [f"{n}=={v}" for n, v in pins().items() if n not in present and n != "jupyterlab"]
    if missing:
        with tempfile.TemporaryDirectory() as scratch:
            kept = Path(scratch) / "kept.txt"
            kept.write_text("".join(f"{name}=={found}\n" for name, found in present.items()))
            pip = [sys.executable, "-m", "pip", "install", "--progress-bar", "off"]
            require([*pip, "--constraint", kept, *missing], f"Installing {', '.join(missing)}")
    say(f"Ready: {prepare_model(sys.executable)['name']}")
    return 0


def parse(arguments):
    """The options of one command; what stands after `--` is pytest's."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    arguments, pytest = arguments[:cut], arguments[cut + 1 :]
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        arguments = ["lab", *arguments]
    parser = argparse.ArgumentParser(prog="course.py")
    commands = parser.add_subparsers(metavar="command", required=True)
    added = {}
    for command in (lab, test, check, colab):
        added[command] = commands.add_parser(command.__name__, help=command.__doc__)
        added[command].set_defaults(run=command, pytest=pytest)
    quick = "only the linter, the tests of the core and lesson 0"
    added[test].add_argument("--quick", action="store_true", help=quick)
    latest = "on the newest versions within each major one, in an environment of their own"
    added[test].add_argument("--latest", action="store_true", help=latest)
    added[lab].add_argument("--no-browser", action="store_true", help="only print the address")
    added[lab].add_argument("--port", type=int, help="default: the first free one from 8888")
    for command in authors.COMMANDS:
        name = command.__name__
        commands.add_parser(name, help=command.__doc__)
        if arguments[0] == name:  # its options are for tools/ to understand
            words, needs = arguments[1:], NEEDS.get(name, [REQUIREMENTS])
            return argparse.Namespace(run=author, command=name, words=words, needs=needs)
    options = parser.parse_args(arguments)
    if pytest and options.run is not test:
        parser.error("only `test` takes arguments after --")
    return options


def main(arguments):
    options = parse(arguments)
    try:
        return options.run(options)
    except CourseError as error:
        reason = str(error)
    except KeyboardInterrupt:
        print("\nInterrupted: nothing is broken, and the same command goes on.", file=sys.stderr)
        return 130
    except OSError as error:
        reasons = {errno.ENOSPC: DISK_FULL, errno.EDQUOT: DISK_FULL}
        reasons.update(dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), NOT_WRITABLE))
        if error.errno not in reasons:
            raise
        reason = reasons[error.errno]
    print(f"course.py: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

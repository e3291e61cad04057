"""course.py on machines of every state, played by a fake one; and the links and notebook tools."""

import ast
import contextlib
import errno
import functools
import http.server
import importlib.metadata
import importlib.util
import json
import re
import runpy
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest.mock import Mock

import nbformat
import pytest

import tools.__main__ as author_tools
from tools import links, notebooks, programs, speed

ROOT = Path(__file__).resolve().parents[1]
SOURCE = (ROOT / "course.py").read_text(encoding="utf-8")


class Machine:
    """Plays every program that course.py starts; keeps the commands."""

    def __init__(self, course, monkeypatch):
        self.course = course
        self.commands = []
        self.fails = {}  # a part of a command -> what it prints when it fails, or what it raises
        self.model = course.ROOT / "cache" / "model"
        self.preparation = course.ROOT / "helpers" / "default_model.py"
        monkeypatch.setattr(course, "watch", self.watch)
        monkeypatch.setattr(course, "run", self.run)
        monkeypatch.setattr(course, "answers", lambda url: False)
        for name in ("MODEL", "COURSE_CACHE", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        self.path(monkeypatch)

    def path(self, monkeypatch, **programs):
        """Let these programs, and no others, be found."""
        monkeypatch.setattr(self.course.shutil, "which", programs.get)

    def _start(self, command):
        command = " ".join(map(str, command))
        self.commands.append(command)
        if " venv " in command:
            self.make_venv()  # even if it then fails: a half-made one looks like this
        for part, failure in self.fails.items():
            if part in command:
                if isinstance(failure, BaseException):
                    raise failure
                return command, failure
        return command, None

    def watch(self, command, title):
        failure = self._start(command)[1]
        return failure is None, failure or ""

    def make_venv(self):
        self.course.BIN.mkdir(parents=True)
        self.course.PYTHON.touch()
        (self.course.VENV / "pyvenv.cfg").write_text(f"home = {self.course.ROOT}\n")

    def run(self, command, **options):
        command, failure = self._start(command)
        if failure is not None:
            return 1, failure
        if "helpers.model" in command and command.endswith("--json"):
            self.model.mkdir(parents=True, exist_ok=True)
            (self.model / "model.safetensors").write_text("weights")
            facts = {"name": "small", "path": str(self.model), "device": "cpu"}
            return 0, f"small is ready\n{json.dumps(facts)}\n"
        return 0, "3.12.1 8000000000\n" if "psutil" in command else ""

    def did(self, part):
        return sum(part in command for command in self.commands)


FILES = ["course.py", "requirements.txt", "tests/requirements.txt", "tools/requirements.txt"]
FILES += [f"tools/{n}.py" for n in ("__init__", "__main__", "diagnoses", "links", "programs")]
FILES += ["tools/web/__init__.py", "helpers/default_model.py"]


@pytest.fixture
def course(tmp_path, monkeypatch):
    """course.py in a fresh folder of its own, whose name has a space."""
    folder = tmp_path / "the course"
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    monkeypatch.delenv("COURSE_VENV", raising=False)
    monkeypatch.syspath_prepend(folder)  # its own tools, not the real course's
    copied = [name.removesuffix(".py").replace("/", ".") for name in FILES if "tools" in name]
    for name in ["tools", "tools.web", *copied]:
        monkeypatch.delitem(sys.modules, name, raising=False)
    spec = importlib.util.spec_from_file_location("fresh_course", folder / "course.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def machine(course, monkeypatch):
    return Machine(course, monkeypatch)


def lab(course, *options):
    """Run `course.py lab` up to the start of JupyterLab; returns its exit code."""
    course.become = lambda command: 0
    return course.main(["lab", *options])


# --- the file itself ------------------------------------------------------------------------------


def test_parses_on_old_pythons():
    ast.parse(SOURCE, feature_version=(3, 6))


def test_needs_only_the_standard_library():
    assert "tools" in imported_modules(SOURCE, top_level_only=True)
    others = [(ROOT / "tools" / name).read_text() for name in ("diagnoses.py", "programs.py")]
    for source in (SOURCE, *others):
        for module in imported_modules(source, top_level_only=True):
            assert module in {*sys.stdlib_module_names, "tools"}


def test_old_python_gets_one_sentence(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 8, 18))
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(ROOT / "course.py"))
    assert re.fullmatch(
        r"The course needs Python 3\.11 .* this is Python 3\.8: .*\.", stopped.value.code
    )


# --- set-up ---------------------------------------------------------------------------------------


def test_fresh_machine_then_second_start(course, machine, capsys):
    assert lab(course) == 0
    assert machine.did(" -m venv ") == machine.did("-m pip install") == 1
    assert machine.did("helpers.model") == 1
    assert "Python 3.12.1, torch None, device cpu" in capsys.readouterr().out
    settings = json.loads((course.VENV / "share/jupyter/lab/settings/overrides.json").read_text())
    assert settings["@jupyterlab/apputils-extension:notification"]["fetchNews"] == "false"
    machine.commands.clear()
    assert lab(course) == 0
    assert not machine.did("venv ") and not machine.did("pip") and not machine.did("helpers")


def test_changed_requirements_are_installed_into_the_same_environment(course, machine):
    lab(course)
    machine.commands.clear()
    with course.REQUIREMENTS.open("a") as file:
        file.write("tomli==2.0.0\n")
    lab(course)
    assert machine.did("-m pip install") == 1 and not machine.did("-m venv")
    assert course.complete([course.REQUIREMENTS])


def test_only_test_installs_the_test_tools(course, machine):
    lab(course)
    assert not machine.did("tests/requirements.txt")
    course.main(["test"])
    assert machine.did("tests/requirements.txt") == 1
    course.main(["test"])
    lab(course)
    assert machine.did("-m pip install") == 2


@pytest.mark.parametrize("step", ["-m venv", "-m pip install", "helpers.model"])
def test_interrupted_anywhere_then_completed(step, course, machine, capsys):
    machine.fails = {step: KeyboardInterrupt()}
    assert lab(course) == 130
    assert capsys.readouterr().err.strip().count("\n") == 0
    assert course.complete([course.REQUIREMENTS]) == (step == "helpers.model")
    machine.fails = {}
    machine.commands.clear()
    assert lab(course) == 0
    assert course.complete([course.REQUIREMENTS])
    installed_again = step != "helpers.model"  # a half-made .venv is made afresh, a whole one kept
    assert machine.did("-m venv") == machine.did("-m pip install") == installed_again
    assert machine.did("helpers.model") == 1


def test_killed_while_installing_new_requirements(course, machine):
    """A package may be half-replaced: not even for the old requirements is .venv to be trusted."""
    lab(course)
    old = course.REQUIREMENTS.read_text()
    course.REQUIREMENTS.write_text("torch==9\n")
    machine.fails = {"pip install": SystemExit()}  # nothing is caught, as in a power cut
    with pytest.raises(SystemExit):
        lab(course)
    machine.fails = {}
    course.REQUIREMENTS.write_text(old)
    lab(course)
    assert machine.did("-m venv") == 2


def test_second_set_up_waits_for_the_first(course, machine, monkeypatch, capsys):
    """It would otherwise delete what looks half-made, under the first one's hands."""
    first = (course.ROOT / ".course.lock").open("a")
    assert programs.lock(first)

    def wait(seconds):
        machine.make_venv()  # the first one ends its work
        course.write_stamp(installed=course.fingerprints([course.REQUIREMENTS]))
        first.close()

    monkeypatch.setattr(programs.time, "sleep", wait)
    assert lab(course) == 0
    assert "waiting for it" in capsys.readouterr().out
    assert not machine.did("venv ") and not machine.did("pip install")


def test_environment_whose_python_is_gone_is_made_afresh(course, machine):
    lab(course)
    (course.VENV / "pyvenv.cfg").write_text("home = /nowhere/python/bin\n")
    lab(course)
    assert machine.did("-m venv") == 2


def test_environment_that_somebody_made_is_used(course, machine):
    machine.make_venv()
    (course.VENV / "mine.txt").touch()
    assert lab(course) == 0
    assert (course.VENV / "mine.txt").exists() and not machine.did("-m venv")
    assert machine.did("-m pip install") == 1


def test_uv_is_used_where_it_is(course, machine, monkeypatch):
    machine.path(monkeypatch, uv="/bin/uv")
    assert lab(course) == 0
    assert machine.did("/bin/uv venv --seed") == machine.did("/bin/uv pip install --python") == 1
    assert not machine.did("-m pip") and not machine.did("-m venv")


# --- PyTorch for the CPU --------------------------------------------------------------------------


def with_index(course, machine, monkeypatch, answering=True, system="linux", **programs):
    """Set up where PyTorch's own index answers or not; returns the addresses that were tried."""
    asked = []
    monkeypatch.setattr(course, "answers", lambda url: asked.append(url) or answering)
    monkeypatch.setattr(course.sys, "platform", system)
    machine.path(monkeypatch, **programs)
    lab(course)
    return asked


def test_linux_without_gpu_tries_the_cpu_index_first(course, machine, monkeypatch):
    with_index(course, machine, monkeypatch)
    first, second = [command for command in machine.commands if "pip install" in command]
    assert f"--no-deps --index-url {course.CPU_INDEX} torch=={course.pins()['torch']}" in first
    assert "-r" in second and "--index-url" not in second


def test_failing_cpu_index_falls_back(course, machine, monkeypatch):
    machine.fails = {"--index-url": "403 Forbidden"}
    with_index(course, machine, monkeypatch)
    assert course.complete([course.REQUIREMENTS])


@pytest.mark.parametrize(
    "case", [{"nvidia-smi": "/bin/nvidia-smi"}, {"system": "darwin"}, {"answering": False}]
)
def test_elsewhere_the_ordinary_index_is_used(case, course, machine, monkeypatch):
    asked = with_index(course, machine, monkeypatch, **case)
    assert not machine.did("--index-url") and machine.did("pip install") == 1
    assert bool(asked) == ("answering" in case)  # nobody waits for an answer in vain


def test_torch_that_is_there_is_not_fetched_again(course, machine, monkeypatch):
    machine.make_venv()
    version = f"{course.pins()['torch']}+cpu"
    (course.VENV / f"lib/python3.12/site-packages/torch-{version}.dist-info").mkdir(parents=True)
    assert with_index(course, machine, monkeypatch) == []
    assert course.installed_torch() == version


def test_probe_gives_up_in_time(course, monkeypatch):
    """Whatever hangs: name resolution has no time-out of its own."""
    release = threading.Event()
    monkeypatch.setattr(course, "PROBE_SECONDS", 0.2)
    monkeypatch.setattr(
        course.urllib.request,
        "urlopen",
        lambda *arguments, **options: contextlib.nullcontext(release.wait(20)),
    )
    started = time.monotonic()
    assert not course.answers("https://example.org")
    assert time.monotonic() - started < speed.limit(5)
    release.set()


def test_probe_sees_an_answer_and_a_refusal(course, tmp_path):
    pages = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), pages) as server:
        address = f"http://127.0.0.1:{server.server_port}/"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert course.answers(address)
        assert not course.answers(f"{address}missing")
        server.shutdown()
    assert not course.answers(address)


# --- the model ------------------------------------------------------------------------------------


CHANGES = {
    "another model": lambda machine, patch: patch.setenv("MODEL", "org/other"),
    "another cache": lambda machine, patch: patch.setenv("COURSE_CACHE", "/elsewhere"),
    "a damaged file": lambda machine, patch: (machine.model / "model.safetensors").write_text(""),
    "no folder": lambda machine, patch: shutil.rmtree(machine.model),
    "another preparation": lambda machine, patch: machine.preparation.write_text("other = True"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_model_is_prepared_again_only_after_a_change(change, course, machine, monkeypatch):
    for changed in (1, 2):
        lab(course)
        lab(course)
        assert machine.did("helpers.model") == changed
        change(machine, monkeypatch)


def test_model_program_gets_its_option_and_ends_quietly(course, tmp_path, capfd):
    """The real `run`, with a small program in the place of `helpers.model`."""
    program = course.ROOT / "helpers" / "model.py"
    program.with_name("__init__.py").touch()  # else the course that this Python knows is found
    program.write_text("import sys\nprint('ready')\nprint(f'{{\"name\": \"{sys.argv[1]}\"}}')\n")
    assert course.prepare_model(sys.executable) == {"name": "--json"}
    program.write_text("raise KeyboardInterrupt")
    with pytest.raises(SystemExit):
        course.prepare_model(sys.executable)
    assert capfd.readouterr().err == ""
    program.write_text("raise ValueError('no')")
    with pytest.raises(SystemExit):
        course.prepare_model(sys.executable)
    assert "ValueError: no" in capfd.readouterr().err


def test_model_that_cannot_be_had_ends_the_command(course, machine):
    machine.fails = {"helpers.model": ""}
    with pytest.raises(SystemExit) as stopped:
        lab(course)
    assert stopped.value.code == 1
    machine.fails = {}
    assert lab(course) == 0 and machine.did("-m pip install") == 1


# --- what can go wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("printed", "sentence"),
    [
        ("ERROR: Could not install packages: [Errno 28] No space left on device", "disk is full"),
        ("error: failed to write: Read-only file system (os error 30)", "cannot be written"),
        ("not created because ensurepip is not\navailable", "apt install python3-venv"),
        ("/venv/bin/python: No module named pip", "delete that folder"),
        ("broken by 'NewConnectionError('\nNo matching distribution", "connect to the network"),
        ("Caused by: dns error: failed to lookup address information", "connect to the network"),
        ("ERROR: No matching distribution found for torch==2.13.0", "install Python 3.12"),
        ("ERROR: ResolutionImpossible: a needs b<1", "for the reason shown above"),
    ],
)
def test_installer_errors_become_one_sentence(printed, sentence, course, machine, capsys):
    machine.fails = {"pip install": printed}
    assert lab(course) == 1
    shown = capsys.readouterr()
    assert re.fullmatch(r"course\.py: [^\n]*\.\n", shown.err) and sentence in shown.err
    assert (printed in shown.out) == ("shown above" in sentence)


@pytest.mark.parametrize(
    ("number", "sentence"),
    [(errno.ENOSPC, "disk is full"), (errno.EACCES, "be written"), (errno.EROFS, "be written")],
)
def test_folder_that_cannot_be_written(number, sentence, course, machine, monkeypatch, capsys):
    monkeypatch.setattr(course.Path, "mkdir", Mock(side_effect=OSError(number, "refused")))
    assert lab(course) == 1
    assert sentence in capsys.readouterr().err


def test_too_little_space_is_said_before_anything_is_made(course, machine, monkeypatch, capsys):
    usage = shutil.disk_usage(ROOT)._replace(free=300e6)
    monkeypatch.setattr(course.shutil, "disk_usage", lambda path: usage)
    assert lab(course) == 1
    assert "Only 0.3 GB are free" in capsys.readouterr().err
    assert not course.VENV.exists() and not machine.commands


def test_port_in_use(course, machine, capsys):
    with socket.socket() as other:
        other.bind(("localhost", 0))
        other.listen()
        port = other.getsockname()[1]
        assert lab(course, "--port", str(port)) == 1
    assert f"Port {port} cannot be used" in capsys.readouterr().err
    assert course.choose_port(port) == port


# --- programs that it starts ----------------------------------------------------------------------


def test_watch_keeps_what_a_program_prints(course, capsys):
    code = "import sys; print('one', flush=True); print('two', file=sys.stderr); sys.exit(3)"
    succeeded, output = course.watch([sys.executable, "-c", code], "Trying")
    assert not succeeded and sorted(output.split()) == ["one", "two"]
    assert "failed with code 3" in capsys.readouterr().out


def test_interrupted_program_does_not_go_on(course, monkeypatch):
    started, popen = [], subprocess.Popen
    monkeypatch.setattr(
        course.subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1]
    )
    monkeypatch.setattr(course.threading.Thread, "join", Mock(side_effect=KeyboardInterrupt))
    monkeypatch.setitem(course.watch.__globals__, "PATIENCE_SECONDS", 0.1)
    with pytest.raises(KeyboardInterrupt):
        course.watch([sys.executable, "-c", "import time; time.sleep(60)"], "Sleeping")
    assert started[0].poll() not in (None, 0)  # ended, and not waited for


# --- commands -------------------------------------------------------------------------------------


def test_lab_starts_jupyterlab_on_the_first_lesson_behind_its_token(course, machine):
    commands = []
    course.become = commands.append
    course.main(["--no-browser", "--port", "45678"])
    command = commands[0]
    assert command[:3] == [str(course.PYTHON), "-m", "jupyterlab"]
    assert "--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb" in command
    assert f"--ServerApp.root_dir={course.ROOT}" in command and "--no-browser" in command
    assert "--ServerApp.port=45678" in command
    assert not any("token" in part or "password" in part for part in command)


def test_test_runs_every_stage_and_remembers_the_failure(course, machine, capsys):
    machine.fails = {"ruff check": "bad"}
    assert course.main(["test", "--", "-k", "name"]) == 1
    assert machine.did("ruff format --check") == machine.did("pytest -n 2") == 1
    assert machine.did("pytest -m alone -k name") == 1 and machine.did("not alone -k name") == 1
    shown = capsys.readouterr().out
    assert "Failed: ruff check" in shown and "browser tests are skipped" in shown


def test_test_passes_when_every_stage_does(course, machine, monkeypatch, capsys):
    machine.path(monkeypatch, chromium="/usr/bin/chromium")
    assert course.main(["test"]) == 0
    assert "skipped" not in capsys.readouterr().out


def test_a_quick_test_takes_the_core_and_the_first_lesson(course, machine):
    assert course.main(["test", "--quick"]) == 0
    assert machine.did("notebooks/00_start_here.ipynb") == 1 and not machine.did("-m alone")
    assert all((ROOT / name).exists() for name in course.QUICK)


def test_the_latest_versions_have_an_environment_of_their_own(course, machine, monkeypatch):
    (course.ROOT / course.LATEST).mkdir()
    assert course.main(["test", "--latest", "--quick", "--", "-x"]) == 0
    assert machine.commands == [f"{sys.executable} {course.__file__} test --latest --quick -- -x"]
    assert not (course.ROOT / course.LATEST).exists()
    monkeypatch.setattr(course, "LATEST", course.VENV.name)  # as the inner program sees it
    machine.commands.clear()
    assert course.main(["test", "--latest"]) == 0
    (installed,) = [command for command in machine.commands if "pip install" in command]
    files = [Path(part) for part in installed.split(" -r ")[1:]]
    assert len(files) == 3 and machine.did("pytest -n 2") == 1
    loose, pinned = files[0].read_text(), course.REQUIREMENTS.read_text()
    torch = course.pins()["torch"]
    assert f"torch=={torch}\n" in loose and loose.count("==") == 1
    assert re.search(r"(?m)^transformers~=\d+\.\d+$", loose)
    assert loose.count("\n") == pinned.count("\n")


def test_environment_finds_the_course_from_any_folder(course, machine):
    machine.make_venv()
    library = course.VENV / "lib" / "python3.12" / "site-packages"
    library.mkdir(parents=True)
    lab(course)
    assert (library / "course.pth").read_text() == f"{course.ROOT}\n"


def test_check_finds_everything_in_place(course, machine, capsys):
    lab(course)
    before = contents(course.ROOT)
    assert course.main(["check"]) == 0
    assert "Everything is in place." in capsys.readouterr().out
    assert contents(course.ROOT) == before


def test_check_on_a_fresh_clone_gives_the_remedy_and_changes_nothing(course, machine, capsys):
    before = contents(course.ROOT)
    assert course.main(["check"]) == 1
    assert re.search(
        "wrong: packages in .venv: .*: run `python3 course.py`", capsys.readouterr().out
    )
    assert contents(course.ROOT) == before


@pytest.mark.parametrize(
    ("program", "subject"), [("importlib", "imports"), ("helpers.model --check", "model")]
)
def test_check_repeats_what_a_program_complains_about(program, subject, course, machine, capsys):
    lab(course)
    machine.fails = {program: "Traceback\nImportError: no luck."}
    assert course.main(["check"]) == 1
    assert f"wrong: {subject}: ImportError: no luck: " in capsys.readouterr().out


def test_check_says_that_the_folder_is_not_writable(course, machine, monkeypatch, capsys):
    refuse = Mock(side_effect=PermissionError(errno.EACCES, "Permission denied"))
    monkeypatch.setattr(course.tempfile, "TemporaryFile", refuse)
    assert course.main(["check"]) == 1
    assert "cannot be written (Permission denied): make it" in capsys.readouterr().out


def test_check_sees_another_version_than_the_pinned_one(course):
    version = importlib.metadata.version("pytest")
    look = [sys.executable, "-c", course.CHECK_PACKAGES]
    assert course.complaint([*look, f"pytest=={version}"]) is None
    assert course.complaint([*look, "pytest==0.1"]) == f"pytest is {version} instead of 0.1"
    assert "nothing-such" in course.complaint([*look, "nothing-such==1"])


def test_colab_installs_only_what_is_missing_and_holds_the_rest(course, machine, monkeypatch):
    present = {"torch": "2.99+cu1", "numpy": "1.0"}
    held = []

    def version(name):
        if name not in present:
            raise importlib.metadata.PackageNotFoundError(name)
        return present[name]

    def install(command, title):
        held.append(Path(command[command.index("--constraint") + 1]).read_text())
        return machine.watch(command, title)

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(course, "watch", install)
    course.REQUIREMENTS.write_text("torch==2\nnumpy==2.1\njupyterlab==4\npeft==0.1\ngguf==0.2\n")
    assert course.main(["colab"]) == 0
    assert machine.commands[0].endswith(" peft==0.1 gguf==0.2") and not machine.did("jupyterlab")
    assert held == ["torch==2.99+cu1\nnumpy==1.0\n"]
    assert machine.commands[1].startswith(f"{sys.executable} -c") and machine.did("helpers.model")


def test_colab_that_has_everything_installs_nothing(course, machine, monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.0")
    assert course.main(["colab"]) == 0
    assert len(machine.commands) == 1 and not course.VENV.exists()


def contents(folder):
    """Every file and folder with its content."""
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


# --- links to the repository ----------------------------------------------------------------------

OURS = "OWNER/two-ways-to-teach-a-model"
LESSON = r"""{"cells": [{"source": [
  "[![Colab](https://colab.research.google.com/github/SLUG/blob/main/notebooks/00_a.ipynb)\n",
  "[![Binder](https://mybinder.org/v2/gh/SLUG/main?urlpath=lab/tree/notebooks/00_a.ipynb)\n",
  "git clone --depth 1 https://github.com/SLUG course\n", "git clone https://github.com/SLUG.git\n",
  "French: \"\u00e9t\u00e9\", été. SLUG in prose and [x](https://github.com/SLUG-more) stay,\n",
  "and so does [y](https://github.com/SLUG.io).  "]}],
 "nbformat": 4}"""


@pytest.fixture
def linked(course):
    """A course with one lesson and a README that link to the repository."""
    for name, text in {
        "pyproject.toml": f'[tool.course]\nrepository = "{OURS}"  # one place\n',
        "README.md": "See https://github.com/SLUG.\nAlso <https://github.com/huggingface/peft>.",
        "notebooks/00_a.ipynb": LESSON,
        links.PLACES: "\n".join(links.places(OURS, "notebooks/00_a.ipynb").values()),
    }.items():
        (course.ROOT / name).parent.mkdir(exist_ok=True)
        (course.ROOT / name).write_text(text.replace("SLUG", OURS), encoding="utf-8", newline="")
    return course


def authors(course, arguments):
    """What `python -m tools` does in the course's folder; returns its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(author_tools, "ROOT", course.ROOT)
        return author_tools.main(arguments)


def test_badges_there_and_back(linked, capsys):
    before = contents(linked.ROOT)
    assert authors(linked, ["badges"]) == 0
    assert authors(linked, ["badges", "--repo", "someone/a.course"]) == 0
    lesson = (linked.ROOT / "notebooks" / "00_a.ipynb").read_text(encoding="utf-8")
    assert lesson.count("someone/a.course") == 4 and lesson.count(OURS) == 3
    assert links.slug(linked.ROOT) == "someone/a.course"
    opened = (linked.ROOT / links.PLACES).read_text().splitlines()
    assert opened == list(links.places("someone/a.course", "notebooks/00_a.ipynb").values())
    assert "https://github.com/someone/a.course.\n" in (linked.ROOT / "README.md").read_text()
    assert authors(linked, ["badges", "--repo", OURS]) == 0
    assert contents(linked.ROOT) == before


def test_interrupted_badges_are_completed(linked, monkeypatch):
    replace = links._replace

    def stop_at_notebooks(file, *arguments):
        if file.suffix == ".ipynb":
            raise KeyboardInterrupt
        return replace(file, *arguments)

    monkeypatch.setattr(links, "_replace", stop_at_notebooks)
    assert authors(linked, ["badges", "--repo", "someone/course"]) == 130
    monkeypatch.undo()
    assert authors(linked, ["badges", "--repo", "someone/course"]) == 0


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (f"github/{OURS}", "github/x/y", f"{links.COLAB}x/y should lead to {OURS}"),
        (f"gh/{OURS}", "gh/x/y", f"{links.BINDER}x/y should lead to {OURS}"),
        (f".com/{OURS} ", ".com/x/y ", f"{links.GITHUB}x/y should lead to {OURS}"),
        (f".com/{OURS}.git", f".com/x{OURS}.git", f"{links.GITHUB}x{OURS} should lead to {OURS}"),
        ("/00_a.ipynb)\\n", "/01_b.ipynb)\\n", f"the link {links.COLAB}{OURS}/blob/main/"),
    ],
)
def test_badges_lists_what_disagrees(old, new, problem, linked, capsys):
    lesson = linked.ROOT / "notebooks" / "00_a.ipynb"
    text = lesson.read_text(encoding="utf-8")
    assert old in text
    lesson.write_text(text.replace(old, new, 1), encoding="utf-8")
    assert authors(linked, ["badges"]) == 1
    assert f"notebooks/00_a.ipynb: {problem}" in capsys.readouterr().out


@pytest.mark.parametrize("service", ["Colab", "Binder", "Kaggle", "nbgitpuller"])
def test_badges_misses_a_service_of_a_lesson(service, linked, capsys):
    link = links.places(OURS, "notebooks/00_a.ipynb")[service]
    page = linked.ROOT / links.PLACES
    page.write_text(page.read_text().replace(link, ""))
    assert authors(linked, ["badges"]) == 1
    assert capsys.readouterr().out == f"{links.PLACES}: the link {link} is missing\n"


@pytest.mark.parametrize(
    "slug", ["noslash", "a/b/c", "-a/b", "a/b c", "a/..", "a/b.git", "https://github.com/a/b", "/b"]
)
def test_badges_refuses_what_is_no_repository(slug, linked, capsys):
    before = contents(linked.ROOT)
    assert authors(linked, ["badges", f"--repo={slug}"]) == 1
    assert "OWNER/NAME" in capsys.readouterr().err
    assert contents(linked.ROOT) == before


def test_the_real_links_agree():
    assert ROOT / links.PLACES in links.linking_files(ROOT)
    assert links.problems(ROOT) == []


# --- running notebooks ----------------------------------------------------------------------------


def write_notebook(path, *sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].metadata["execution"] = {"iopub.execute_input": "2020-01-01T00:00:00Z"}
    metadata = {
        "kernelspec": {"name": "mine", "display_name": "Mine"},
        "language_info": {"name": "python", "version": "3.99"},
        "widgets": {"application/vnd.jupyter.widget-state+json": {}},
    }
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)


def test_executed_notebook_stores_outputs_and_nothing_of_the_machine(tmp_path):
    path = tmp_path / "notebooks" / "00_a.ipynb"
    path.parent.mkdir()
    widget = "import ipywidgets\nipywidgets.IntSlider()"
    panel = "class Panel(ipywidgets.VBox):\n    __repr__ = lambda self: 'A panel.'\nPanel()"
    busy = "from time import process_time\nuntil = process_time() + 1\n"
    busy += "while process_time() < until:\n    pass\n"
    held = f"{busy}held = bytearray(200_000_000)\n1 + 1"
    write_notebook(path, "import os\nos.getcwd()", widget, panel, held)
    line = notebooks.execute(path)
    stored = nbformat.read(path, as_version=4)
    assert stored.cells[0].outputs[0].data["text/plain"] == repr(str(path.parent))
    assert stored.cells[1].outputs == []  # without its state it tells nothing
    assert stored.cells[2].outputs[0].data == {"text/plain": "A panel."}
    assert stored.cells[3].outputs[0].data["text/plain"] == "2"
    assert [cell.execution_count for cell in stored.cells] == [1, 2, 3, 4]
    assert "execution" not in stored.cells[0].metadata
    assert stored.metadata.kernelspec.name == "python3"
    assert stored.metadata.language_info == {"name": "python"} and "widgets" not in stored.metadata
    assert float(re.search(r"peak memory (\S+) GB", line)[1]) > 0.2
    assert list(path.parent.iterdir()) == [path]
    table = (tmp_path / "data" / "results" / "cell_seconds.csv").read_text().splitlines()
    rows = [line.split(",") for line in table]
    assert rows[0] == ["lesson", "cell", "seconds"]
    assert [row[:2] for row in rows[1:]] == [["00_a", cell.id] for cell in stored.cells]
    assert 0.9 < float(rows[-1][2]) < 3


RECORD = """
import json, os, pathlib
folder = pathlib.Path(os.environ["COURSE_RECORDS"])
rows = [{{"claim": c, "lesson": "{lesson}", "measured": m, "why": "1, 2"}}
        for c, m in {found}]
(folder / "findings.json").write_text(json.dumps({{r["claim"]: r for r in rows}}))
print(sorted(p.name for p in folder.iterdir()))
"""


def test_executed_lessons_leave_their_findings_in_one_table_and_a_failing_one_leaves_nothing(
    tmp_path, monkeypatch
):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "predictions.json").write_text("{}")
    monkeypatch.setenv("COURSE_RECORDS", str(mine))
    table = tmp_path / "data" / "results" / "findings.csv"

    def execute(lesson, found):
        path = tmp_path / "notebooks" / f"{lesson}.ipynb"
        path.parent.mkdir(exist_ok=True)
        write_notebook(path, RECORD.format(lesson=lesson, found=found))
        notebooks.execute(path)
        assert "predictions" not in path.read_text(encoding="utf-8")
        return table.read_text(encoding="utf-8").splitlines()

    one, two = "01_a", "02_b"
    execute(one, [("F1", "4"), ("D1", "0")])
    execute(two, [("F1", "3")])
    assert execute(one, [("F1", "5"), ("C1", "é")]) == [  # in place of its old ones
        "claim,lesson,measured,why",
        f'C1,{one},é,"1, 2"',
        f'F1,{one},5,"1, 2"',
        f'F1,{two},3,"1, 2"',
    ]
    assert [path.name for path in mine.iterdir()] == ["predictions.json"]
    failing = tmp_path / "notebooks" / f"{two}.ipynb"
    write_notebook(failing, RECORD.format(lesson=two, found=[("F1", "6")]), "1 / 0")
    before = contents(tmp_path)
    said = r"(?s)ZeroDivisionError.*02_b.ipynb .* cell 1"
    with pytest.raises(notebooks.NotebookError, match=said):
        notebooks.execute(failing)
    assert contents(tmp_path) == before


def test_execute_runs_the_chosen_ones_in_order(course, monkeypatch, capsys):
    (course.ROOT / "notebooks").mkdir()
    for name in ("01_b", "00_a", "10_c"):
        (course.ROOT / "notebooks" / f"{name}.ipynb").touch()
    monkeypatch.setattr(notebooks, "execute", lambda file: file.stem)
    assert authors(course, ["execute", "00", "01"]) == 0
    assert capsys.readouterr().out.split() == ["00_a", "01_b"]
    assert authors(course, ["execute"]) == 0
    assert capsys.readouterr().out.split() == ["00_a", "01_b", "10_c"]
    assert authors(course, ["execute", "99"]) == 1


def test_the_course_hands_over_what_only_authors_use(course, machine):
    assert course.main(["execute", "00"]) == 0
    assert machine.commands[-1] == f"{course.PYTHON} -m tools execute 00"
    assert course.main(["badges", "--repo", "a/b"]) == 0
    assert machine.commands[-1] == f"{sys.executable} -m tools badges --repo a/b"
    assert not machine.did("tools/requirements.txt")
    assert course.main(["site", "--pdf"]) == 0
    assert machine.commands[-1] == f"{course.PYTHON} -m tools site --pdf"
    assert machine.did("tools/requirements.txt") == 1


# --- requirements ---------------------------------------------------------------------------------

NOT_IMPORTED = {
    "jupyterlab": "opens the lessons",
    "gguf": "transformers reads the model's file with it",
}
COMES_WITH = {"IPython": "ipywidgets", "threadpoolctl": "scikit-learn"}
MODULES = {"scikit-learn": "sklearn", "charset-normalizer": "charset_normalizer"}


def imported_modules(source, top_level_only=False):
    """The first names of the modules that a source imports from elsewhere."""
    tree = ast.parse(source)
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


def lesson_sources():
    for package in ("helpers", "lessons", "own_data"):
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
        yield re.sub(r"(?m)^\s*[%!].*$", "pass", code)


def requirement_lines(name="requirements.txt"):
    return (ROOT / name).read_text().split("\n")[:-1]


@pytest.mark.parametrize("name", ["requirements.txt", "tests/requirements.txt"])
def test_every_requirement_is_pinned_exactly(name):
    for line in requirement_lines(name):
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9.]*", line)


def test_requirements_are_the_direct_dependencies():
    """Nothing that no lesson imports, and nothing imported that is not pinned or sure to come."""
    imported = {module for source in lesson_sources() for module in imported_modules(source)}
    third_party = imported - sys.stdlib_module_names - {"helpers", "lessons", "own_data", "google"}
    names = {line.split("==")[0] for line in requirement_lines()}
    modules = {MODULES.get(name, name) for name in names}
    assert modules - third_party == set(NOT_IMPORTED)
    assert third_party - modules <= set(COMES_WITH)
    for module, name in COMES_WITH.items():
        needs = [re.match(r"[\w-]+", need)[0].lower() for need in importlib.metadata.requires(name)]
        assert name in names and module.lower() in needs


def test_conda_environment_and_requirements_agree():
    text = (ROOT / "environment.yml").read_text()
    torch = next(line for line in requirement_lines() if line.startswith("torch=="))
    assert f"- pytorch-cpu={torch.split('==')[1]}\n" in text
    assert re.search(r"(?m)^  - pip:\n      - -r requirements\.txt$", text)
    python = re.search(r"- python=3\.(\d+)\n", text)
    assert int(python[1]) >= 11


def test_binder_prepares_the_model_or_fails():
    lines = (ROOT / "postBuild").read_text().splitlines()
    assert lines[0] == "#!/bin/bash" and lines.index("set -e") < lines.index(
        "python -m helpers.model"
    )
    assert (ROOT / "postBuild").stat().st_mode & 0o111

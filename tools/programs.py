"""Running other programs for `course.py`: calmly, one set-up at a time, ended where interrupted.

Only the standard library, as in `course.py` itself.
"""

import contextlib
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / os.environ.get("COURSE_VENV", ".venv")  # a folder in the course's own
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
LOCK = ROOT / ".course.lock"
PATIENCE_SECONDS = 5  # for an interrupted program to clean up


def say(text):
    print(text, flush=True)


def environment(**extra):
    """For programs of .venv, so that a notebook's `!python` is the right one."""
    return dict(os.environ, PATH=f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}", **extra)


def stop(process):
    """End an interrupted program; Ctrl-C has reached it too, so first let it clean up."""
    for end in (process.terminate, process.kill):
        try:
            return process.wait(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            end()
    return process.wait()


@contextlib.contextmanager
def started(command, **options):
    options.setdefault("env", environment())
    command = [str(part) for part in command]
    with subprocess.Popen(command, cwd=ROOT, text=True, errors="replace", **options) as process:
        try:
            yield process
        finally:
            stop(process)


def run(command, **options):
    """Run a program to its end. Returns its exit code and, where it is piped, its output."""
    with started(command, **options) as process:
        output = process.communicate()[0]
    return process.returncode, output


def watch(command, title):
    """Run a long, talkative program behind one calm line: its latest step and the seconds so far.

    Returns whether it succeeded, and all that it printed.
    """
    say(f"{title} ...")
    terminal = sys.stdout.isatty()
    lines, start = [], time.monotonic()
    pipes = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    with started(command, env=environment(PYTHONUNBUFFERED="1"), **pipes) as process:
        reader = threading.Thread(target=lambda: lines.extend(process.stdout), daemon=True)
        reader.start()
        while reader.is_alive():
            reader.join(0.5 if terminal else 15)
            if reader.is_alive():
                show_step(lines, time.monotonic() - start, terminal)
        process.wait()
    outcome = f"failed with code {process.returncode}" if process.returncode else "done"
    show_line(f"  {outcome} after {time.monotonic() - start:.0f} s", terminal, "\n")
    return process.returncode == 0, "".join(lines)


def show_step(lines, seconds, terminal):
    """One line on the latest step; pip's remarks on what it replaces are none."""
    steps = (
        line for line in reversed(lines) if not re.search("(?i)uninstall|found existing", line)
    )
    step = re.sub(r"https?://\S+/", "", next(steps, "").strip())
    show_line(f"  {seconds:4.0f} s  {step}", terminal, "" if terminal else "\n")


def show_line(text, terminal, end):
    """On a terminal, over the line before."""
    width = shutil.get_terminal_size().columns - 1
    print("\r" + text[:width].ljust(width) if terminal else text[:width], end=end, flush=True)


def become(command):
    """Turn into another program, whose messages (the address!) all come where these came."""
    if os.name != "nt":
        os.chdir(ROOT)
        os.dup2(1, 2)
        os.execve(command[0], command, environment())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is JupyterLab's
    return run(command, stderr=subprocess.STDOUT)[0]


@contextlib.contextmanager
def one_at_a_time():
    """Wait while another set-up works here; the system frees the lock however that one ends."""
    with LOCK.open("a") as file:
        if not lock(file):
            say("Another course.py is setting this folder up; waiting for it ...")
            while not lock(file):
                time.sleep(1)
        yield


def lock(file):
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:  # a file system that knows no locks has none to wait for
        return error.errno not in (errno.EACCES, errno.EAGAIN)
    return True


def find_chromium():
    """The path of an installed Chromium or Chrome, or None."""
    windows = os.environ.get("PROGRAMFILES", "") + r"\Google\Chrome\Application\chrome.exe"
    places = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", windows]
    for name in ("Chromium", "Google Chrome"):
        places.append(f"/Applications/{name}.app/Contents/MacOS/{name}")
    return next(filter(None, map(shutil.which, places)), None)

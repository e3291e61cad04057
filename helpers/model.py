"""Loading any causal language model on the best device; `default_model.py` gets the default one.

`python -m helpers.model` prepares it; `--check` only looks.
"""

import argparse
import hashlib
import json
import os
import platform
import sys
from dataclasses import dataclass, replace

import psutil
import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from helpers import default_model
from helpers.default_model import CONTEXT, DEFAULT, ModelError, first_line, quiet


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model with its tokenizer, ready to use on `device`."""

    model: PreTrainedModel
    tokenizer: transformers.PreTrainedTokenizerBase
    name: str
    device: torch.device

    @property
    def context(self) -> int:
        """The longest sequence that the model reads, in tokens."""
        return int(getattr(self.model.config, "max_position_embeddings", CONTEXT))

    def with_model(self, model: PreTrainedModel, name: str | None = None) -> "LanguageModel":
        """The same tokenizer and device around other weights."""
        return replace(self, model=model, name=name or self.name)


def load(name: str | None = None) -> LanguageModel:
    """Load the course's model, or any causal LM from the Hub or a local folder.

    Without `name`, the environment variable `MODEL` decides, and without that the default model,
    which is prepared on first use (about a minute) and then loads in about a second. Only weights
    in safetensors are read and no code from a repository is ever run.

    Raises `ModelError` with one sentence that says what is wrong and what to do.
    """
    name = name or os.environ.get("MODEL") or DEFAULT
    source = default_model.prepare() if name == DEFAULT else name
    device = best_device()
    try:
        with quiet():
            # False, not left out: left out, transformers asks the learner whether to run the code.
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
            model = AutoModelForCausalLM.from_pretrained(
                source, dtype=best_dtype(device), use_safetensors=True, trust_remote_code=False
            )
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"The model {name!r} could not be loaded: it must be a causal language model in "
            f"safetensors format, in a local folder or on a reachable Hub ({first_line(error)})."
        ) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    for weight in model.parameters():  # mapped from the file, and not counted as held until read
        weight.detach().flatten()[::1024].sum()
    return LanguageModel(model.to(device).eval(), tokenizer, name, device)


def best_device() -> torch.device:
    """CUDA where there is one, then Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def best_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device computes it natively, else float32 (right and fast on a CPU)."""
    native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if native else torch.float32


def checksum(model: torch.nn.Module) -> str:
    """SHA-256 over every parameter's bytes, in order: the same as long as no bit has moved."""
    digest = hashlib.sha256()
    for parameter in model.parameters():
        digest.update(parameter.detach().contiguous().cpu().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def machine(lm: LanguageModel) -> dict[str, str]:
    """What a timing depends on, in words: versions, device, cores, free memory, model."""
    memory = psutil.virtual_memory()
    return {
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "device": torch.cuda.get_device_name() if lm.device.type == "cuda" else lm.device.type,
        "cores": str(os.cpu_count()),
        "free memory": f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB",
        "model": f"{lm.name}, {lm.model.num_parameters():,} weights",
    }


def main(arguments: list[str] | None = None) -> int:
    """Prepare the model (or `--check` it), print one line, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m helpers.model", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="only look, change nothing")
    parser.add_argument("--json", action="store_true", help="end with a line of JSON")
    options = parser.parse_args(arguments)
    name = os.environ.get("MODEL") or DEFAULT
    try:
        if options.check and name == DEFAULT and not default_model.is_ready():
            raise ModelError(
                "The model is missing or damaged: run `python3 course.py` to prepare it."
            )
        path = str(default_model.prepare()) if name == DEFAULT else load(name).name
    except ModelError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{name} is ready ({path})")
    if options.json:
        print(json.dumps({"name": name, "path": path, "device": str(best_device())}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

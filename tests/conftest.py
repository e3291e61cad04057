"""Fixtures that several test files share."""

# --- Language models for the unit tests: the course's own, and tiny random ones -------------------
# What is heavy is imported inside the fixtures, because most test files need no torch.

import sys

import hypothesis
import pytest

hypothesis.settings.register_profile("course", deadline=None)  # other programs may hold the cores
hypothesis.settings.load_profile("course")

START, END = "<|start|>", "<|end|>"
MERGES = ["c o", "l d", "co ld", "Ġ cold", "h o", "ho t", "Ġ hot", "- >", "Ġ ->"]
CHAT_TEMPLATE = (
    "{% for message in messages %}" + START + "{{ message['role'] }}\n{{ message['content'] }}"
    "{% endfor %}{% if add_generation_prompt %}" + START + "assistant\n{% endif %}"
)
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3} | {
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
SMALL_GPT2 = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 512}
SMALL_MAMBA = {"hidden_size": 32, "state_size": 4, "num_hidden_layers": 2}
SHAPES = {"gpt2": SMALL_GPT2, "mamba": SMALL_MAMBA}


@pytest.fixture(autouse=True)
def no_open_figures():
    """Close what a test left open, because others count the figures that are."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="module")
def one_thread():
    """Compute on one thread: on busy cores, threads that wait for each other cost far more."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def lm():
    """The course's own model."""
    from helpers import model

    return model.load(model.DEFAULT)


@pytest.fixture(scope="session")
def make_tokenizer():
    """Make a tokenizer of single bytes and a few merges; `started` adds a start token."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    def make(started: bool = False) -> PreTrainedTokenizerFast:
        merges = [tuple(pair.split()) for pair in MERGES]
        pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *map("".join, merges)]
        tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, merges))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens([AddedToken(START), AddedToken(END)])
        if started:
            tokenizer.post_processor = processors.TemplateProcessing(
                f"{START} $0", special_tokens=[(START, tokenizer.token_to_id(START))]
            )
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            bos_token=START,
            eos_token=END,
            pad_token=END,
            chat_template=CHAT_TEMPLATE,
        )

    return make


@pytest.fixture(scope="session")
def make_tiny(make_tokenizer):
    """Make a random model of any architecture, with weights so large that context matters."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from helpers.model import LanguageModel

    def make(kind: str, started: bool = False, attention: str = "sdpa", **changes) -> LanguageModel:
        tokenizer = make_tokenizer(started)
        special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
        shape = SHAPES.get(kind, SMALL) | {"vocab_size": len(tokenizer)}
        config = AutoConfig.for_model(kind, **shape | special | changes)
        torch.manual_seed(0)
        network = AutoModelForCausalLM.from_config(config, attn_implementation=attention)
        for weights in network.parameters():
            if weights.dim() == 2:
                torch.nn.init.normal_(weights, std=0.3)
        return LanguageModel(network.float().eval(), tokenizer, kind, torch.device("cpu"))

    return make


@pytest.fixture(scope="session")
def tiny_models(make_tiny):
    """One tiny random model of each of three architectures."""
    return {kind: make_tiny(kind) for kind in ("llama", "gpt2", "qwen2")}


@pytest.fixture
def tiny(make_tiny):
    """A tiny random model that reads long prompts; a file with other needs has its own."""
    return make_tiny("llama", max_position_embeddings=8192)


# --- End of the language models for the unit tests -----------------------------------------------

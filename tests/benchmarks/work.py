"""The same work done by the course and by what people use else: training, scoring, writing.

Each function does the work once and returns what came of it as numbers or texts, so that it can be
seen that both did the same.
"""

import tempfile

import numpy as np
import peft
import torch
import transformers
from datasets import Dataset
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from trl import SFTConfig, SFTTrainer

from helpers import finetune, prompts, scoring
from helpers.data import load_task, texts
from helpers.finetune import Recipe
from helpers.model import LanguageModel
from helpers.packing import packable
from lessons import replies

TASK, RECIPE = load_task("support_tickets"), Recipe(passes=4, rate=1e-3, batch=8, rank=8)
EXAMPLES = TASK.draw(64, 0)
DESK = replies.load_desk()


# Training: 64 tickets, four passes


def ours_trained(lm: LanguageModel) -> np.ndarray:
    """The losses of all steps, in nats per completion token."""
    return finetune.tune(lm, TASK, EXAMPLES, RECIPE).history["loss"].to_numpy()


def _prepared(lm: LanguageModel) -> tuple[peft.PeftModel, Dataset, tuple, int]:
    """peft's own model, the same examples in the same order, and the same optimizer."""
    plan = finetune.steps_of(lm, TASK, EXAMPLES, RECIPE, 0, prompts.plain, None)
    rows = [
        {
            "input_ids": example.tokens,
            "completion_mask": [int(i >= example.start) for i in range(len(example.tokens))],
        }
        for _, batch in plan
        for example in batch
    ]
    config = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=RECIPE.rank,
        lora_alpha=2 * RECIPE.rank,
        target_modules="all-linear",
    )
    base = transformers.AutoModelForCausalLM.from_pretrained(
        lm.model.name_or_path, dtype=torch.float32
    )
    torch.manual_seed(0)
    model = peft.get_peft_model(base, config)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, RECIPE.rate)
    level = finetune.rise_and_fall(len(plan))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, level)
    return model, Dataset.from_list(rows), (optimizer, schedule), len(plan)


def _settings(folder: str) -> dict:
    return {
        "output_dir": folder,
        "per_device_train_batch_size": RECIPE.batch,
        "num_train_epochs": 1,  # the plan holds all passes
        "train_sampling_strategy": "sequential",
        "max_grad_norm": 1.0,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "disable_tqdm": True,
    }


def _losses(trainer: transformers.Trainer) -> np.ndarray:
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    return np.array([line["loss"] for line in trainer.state.log_history if "loss" in line])


def trainer_trained(lm: LanguageModel) -> np.ndarray:
    """`transformers.Trainer` with peft, batches padded as its collator does."""
    model, rows, optimizers, _ = _prepared(lm)

    def labelled(row: dict) -> dict:
        pairs = zip(row["input_ids"], row["completion_mask"], strict=True)
        labels = [token if told else finetune.IGNORED for token, told in pairs]
        return {"input_ids": row["input_ids"], "labels": labels}

    rows = rows.map(labelled, remove_columns=rows.column_names)
    collator = transformers.DataCollatorForSeq2Seq(lm.tokenizer)
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(**_settings(folder))
        return _losses(
            transformers.Trainer(
                model,
                arguments,
                collator,
                rows,
                processing_class=lm.tokenizer,
                optimizers=optimizers,
            )
        )


def sft_trained(lm: LanguageModel, packing: bool = False) -> np.ndarray:
    """TRL's `SFTTrainer`; packed, a step holds as many tokens, but not the same examples."""
    model, rows, optimizers, steps = _prepared(lm)
    more = {"packing": packing, "completion_only_loss": True, "max_length": None}
    if packing:
        whole = sum(map(len, rows["input_ids"])) / steps
        more |= {"max_length": int(1.1 * whole), "per_device_train_batch_size": 1}
    with tempfile.TemporaryDirectory() as folder:
        arguments = SFTConfig(**_settings(folder) | more)
        trainer = SFTTrainer(
            model,
            arguments,
            train_dataset=rows,
            processing_class=lm.tokenizer,
            optimizers=optimizers,
        )
        return _losses(trainer)


# Scoring: 100 questions, 8 labels, behind 8 demonstrations


def _asked(queries: int) -> tuple[list, list[str]]:
    held_out = texts(TASK.held_out)
    return TASK.draw(8, 0), [held_out[i % len(held_out)] for i in range(queries)]


def ours_scored(lm: LanguageModel, queries: int = 100) -> np.ndarray:
    """Log-likelihoods [queries, labels]."""
    shown, asked = _asked(queries)
    return scoring.score_labels(lm, TASK, shown, asked)


def harness_scored(lm: LanguageModel, queries: int = 100) -> np.ndarray:
    """The same by lm-evaluation-harness, a request for each label, batches of eight."""
    shown, asked = _asked(queries)
    model = HFLM(lm.model, tokenizer=lm.tokenizer, batch_size=8, device="cpu")
    requests = []
    for query in asked:
        prompt = prompts.plain(TASK, shown, query)
        for word in scoring.answer_words(TASK):
            whole = prompts.plain(TASK, shown, query, word)
            pair = (prompt, whole[len(prompt) :])
            requests.append(Instance("loglikelihood", {}, pair, 0))
    told = model.loglikelihood(requests, disable_tqdm=True)
    return np.array([score for score, _ in told]).reshape(len(asked), -1)


# Writing: 32 replies of up to 60 tokens, behind 8 demonstrations

REPLIES, ROOM = 32, 60


def _prompts() -> list[str]:
    return [prompts.plain(DESK, DESK.train[:8], text) for text in texts(DESK.held_out)[:REPLIES]]


def ours_written(lm: LanguageModel) -> list[str]:
    """The texts, cut at the model's end token."""
    assert packable(lm.model)
    return scoring.generate(lm, _prompts(), ROOM, stop=())


def _generated(lm: LanguageModel, group: list[str]) -> list[str]:
    batch = lm.tokenizer(group, return_tensors="pt", padding=True, padding_side="left")
    with torch.inference_mode():
        rows = lm.model.generate(
            **batch,
            max_new_tokens=ROOM,
            do_sample=False,
            repetition_penalty=1.0,
            pad_token_id=lm.tokenizer.pad_token_id,
        )
    width = batch["input_ids"].shape[1]
    written = lm.tokenizer.batch_decode(rows[:, width:], skip_special_tokens=True)
    return [text.strip() for text in written]


def one_by_one_written(lm: LanguageModel) -> list[str]:
    """`generate`, a prompt at a time."""
    return [text for prompt in _prompts() for text in _generated(lm, [prompt])]


def batch_written(lm: LanguageModel) -> list[str]:
    """`generate` on all prompts at once, padded on the left."""
    return _generated(lm, _prompts())

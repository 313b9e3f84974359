"""Transformers on two workers: a tiny GPT that is made here learns sums, and is then asked some.

Nothing is downloaded: the model comes from a configuration, the tokens are characters, and the data are all sums of two digits.

Run: python examples/train_transformers_tiny.py
Needs: pip install "aktis-train[huggingface]"
Prints: the loss by epoch, and how many sums are right.
"""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import tempfile
from typing import Any

import numpy as np
import pandas as pd

import aktis
import aktis.data
from aktis import air
from aktis.train.huggingface import HuggingFaceTrainer

CHARACTERS = "_+=0123456789"
LENGTH = 6  # "3+8=11"


def encode(text: str) -> np.ndarray:
    """The numbers of the characters, filled up with the first."""
    return np.array([CHARACTERS.index(character) for character in text.ljust(LENGTH, "_")])


def sums() -> pd.DataFrame:
    """All sums of two digits, several times. Only what comes after "=" is to be learnt."""
    tokens = [encode(f"{a}+{b}={a + b}") for a in range(10) for b in range(10)] * 10
    labels = [np.where(np.arange(LENGTH) < 4, -100, row) for row in tokens]
    return pd.DataFrame({"input_ids": tokens, "labels": labels})


def make_trainer(train_dataset: Any, eval_dataset: Any, **config: Any) -> Any:
    """Runs in each worker. The data sets are this worker's part, and know how long they are."""
    import transformers

    settings = transformers.GPT2Config(
        vocab_size=len(CHARACTERS), n_positions=LENGTH, n_embd=64, n_layer=2, n_head=4, resid_pdrop=0.0,
        embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    arguments = transformers.TrainingArguments(
        "output", num_train_epochs=config["epochs"], learning_rate=config["lr"], per_device_train_batch_size=25,
        lr_scheduler_type="cosine", logging_strategy="epoch", save_strategy="steps", save_steps=0.5, report_to=[],
        disable_tqdm=True, log_level="error",
    )  # fmt: skip
    model = transformers.GPT2LMHeadModel(settings)
    trainer = transformers.Trainer(model, arguments, train_dataset=train_dataset)
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def answers(model: Any, questions: list[str]) -> list[str]:
    """What the model says comes after "=" in each of them; all are equally long."""
    import torch

    prompts = torch.tensor(np.stack([encode(question)[: len(question)] for question in questions]))
    mask = torch.ones_like(prompts)
    with torch.no_grad():
        said = model.generate(prompts, attention_mask=mask, max_new_tokens=2, do_sample=False, pad_token_id=0)
    return ["".join(CHARACTERS[number] for number in row[len(questions[0]) :]).strip("_") for row in said]


def main() -> None:
    from transformers import AutoModelForCausalLM, utils

    utils.logging.disable_progress_bar()
    aktis.init(num_cpus=3, log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder:
        trainer = HuggingFaceTrainer(
            make_trainer,
            trainer_init_config={"lr": 6e-3, "epochs": 10},
            datasets={"train": aktis.data.from_pandas(sums())},
            scaling_config=air.ScalingConfig(num_workers=2),
            run_config=air.RunConfig(name="sums", local_dir=folder, verbose=0),
        )
        result = trainer.fit()
        print(result.metrics_dataframe[["epoch", "step", "loss"]].to_string(index=False))
        model = result.checkpoint.get_model(AutoModelForCausalLM)
    pairs = [(a, b) for a in range(10) for b in range(10)]
    said = answers(model, [f"{a}+{b}=" for a, b in pairs])
    right = sum(text == str(a + b) for text, (a, b) in zip(said, pairs))
    print(f"3+8={said[pairs.index((3, 8))]}  9+9={said[pairs.index((9, 9))]}  {right} of {len(pairs)} sums are right")


if __name__ == "__main__":
    main()

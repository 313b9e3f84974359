"""Lightning on two workers: a network learns to read handwritten digits, and what it has learnt is used afterwards.

The digits are part of scikit-learn.

Run: python examples/train_lightning_digits.py
Needs: pip install "aktis-train[lightning,sklearn]"
Prints: loss and accuracy by epoch, and the share of new digits that is read right.
"""

from __future__ import annotations

import tempfile
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import aktis
import aktis.data
from aktis import air
from aktis.train.lightning import LightningConfigBuilder, LightningPredictor, LightningTrainer


class Digits(pl.LightningModule):
    """Two layers. Nothing in it knows of workers."""

    def __init__(self, hidden: int, lr: float) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Sequential(torch.nn.Linear(64, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 10))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.net(image)

    def training_step(self, batch: dict[str, torch.Tensor], index: int) -> torch.Tensor:
        loss = torch.nn.functional.cross_entropy(self(batch["image"]), batch["digit"])
        self.log("loss", loss, on_step=False, on_epoch=True, sync_dist=True)
        return loss

    def validation_step(self, batch: dict[str, torch.Tensor], index: int) -> None:
        right = self(batch["image"]).argmax(dim=1) == batch["digit"]
        self.log("accuracy", right.float().mean(), sync_dist=True)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=self.hparams["lr"])


def frame(images: np.ndarray, digits: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"image": list(images.astype(np.float32) / 16), "digit": digits})


def main() -> None:
    x_train, x_test, y_train, y_test = train_test_split(*load_digits(return_X_y=True), test_size=0.25, random_state=0)
    config = (
        LightningConfigBuilder()
        .module(Digits, hidden=64, lr=5e-3)
        .trainer(max_epochs=6, logger=False, enable_progress_bar=False, enable_model_summary=False)
        .checkpointing(monitor="accuracy", mode="max", save_top_k=1)
        .build()
    )
    aktis.init(num_cpus=3, log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder:
        trainer = LightningTrainer(
            config,
            datasets={
                "train": aktis.data.from_pandas(frame(x_train, y_train)),
                "val": aktis.data.from_pandas(frame(x_test, y_test)),
            },
            datasets_iter_config={"batch_size": 32},
            scaling_config=air.ScalingConfig(num_workers=2),
            run_config=air.RunConfig(name="digits", local_dir=folder, verbose=0),
        )
        result = trainer.fit()
        print(result.metrics_dataframe[["epoch", "step", "loss", "accuracy"]].to_string(index=False))
        predictor = LightningPredictor.from_checkpoint(result.checkpoint, Digits)
        found = predictor.predict(frame(x_test, y_test)[["image"]])
    read = np.stack(found["predictions"]).argmax(axis=1)
    print(f"{(read == y_test).mean():.1%} of {len(y_test)} digits that it has not seen are read right")


if __name__ == "__main__":
    main()

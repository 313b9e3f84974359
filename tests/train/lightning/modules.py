"""A module of each Lightning, and the data that it learns from."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)
NAMES = ["lightning.pytorch", "pytorch_lightning"]


class _Steps:
    """What the modules of both have in common."""

    l1: Any

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.l1(x)  # type: ignore[no-any-return]

    def _loss(self, batch: Any) -> torch.Tensor:
        x, y = (batch["x"], batch["y"]) if isinstance(batch, dict) else batch
        return torch.nn.functional.cross_entropy(self(x), y)  # type: ignore[operator]

    def training_step(self: Any, batch: Any, index: int) -> torch.Tensor:
        loss = self._loss(batch)
        self.log("loss", loss, on_epoch=True, on_step=False, sync_dist=True)
        return loss

    def validation_step(self: Any, batch: Any, index: int) -> None:
        self.log("val_loss", self._loss(batch), sync_dist=True)

    def on_train_epoch_start(self: Any) -> None:
        marker = self.hparams.get("marker")
        if marker and self.current_epoch == 2 and self.global_rank == 1 and not Path(marker).exists():
            Path(marker).touch()
            os.sync()
            raise RuntimeError("the machine is on fire")

    def configure_optimizers(self: Any) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.hparams["lr"])


def module_class(name: str) -> Any:
    """The class for one of the libraries."""
    base = importlib.import_module(name).LightningModule

    class Tiny(_Steps, base):  # type: ignore[misc, valid-type]
        def __init__(self, lr: float = 0.1, marker: str | None = None) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.l1 = torch.nn.Linear(4, 2)
            torch.nn.init.zeros_(self.l1.weight)
            torch.nn.init.zeros_(self.l1.bias)

    return Tiny


def loader(batch_size: int = 8, shuffle: bool = False) -> Any:
    """All rows."""
    data = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
    return torch.utils.data.DataLoader(data, batch_size=batch_size, shuffle=shuffle)

"""A network that reads digits, trained by two workers, then asked for what it has not seen.

The loop is that of one process, but for three lines (marked). scikit-learn's digits are real, small, and come with the library.

Run: python examples/train_torch_digits.py
Needs: pip install "aktis-train[torch,sklearn]"
Prints: the loss by epoch, and the share of new digits that is read right.
"""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import aktis
from aktis import air, train
from aktis.air import session
from aktis.train.torch import TorchCheckpoint, TorchPredictor, TorchTrainer

TRAINED = 1500  # of 1797 images; the rest is for the test


def images() -> tuple[np.ndarray, np.ndarray]:
    """8 by 8 pixels from 0 to 1, and which digit they are."""
    features, labels = load_digits(return_X_y=True)
    return (features / 16).astype(np.float32), labels


def train_loop(config: dict[str, Any]) -> None:
    """Runs in each worker."""
    torch.manual_seed(0)
    features, labels = images()
    dataset = TensorDataset(torch.from_numpy(features[:TRAINED]), torch.from_numpy(labels[:TRAINED]))
    loader = DataLoader(dataset, batch_size=config["batch_size"], shuffle=True)
    loader = train.torch.prepare_data_loader(loader)  # 1
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10))
    model = train.torch.prepare_model(model)  # 2
    optimizer = torch.optim.Adam(model.parameters(), lr=config["lr"])
    for _ in range(config["epochs"]):
        total = 0.0
        for x, y in loader:
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        session.report({"loss": total / len(loader)}, checkpoint=TorchCheckpoint.from_model(model))  # 3


def main() -> None:
    aktis.init(num_cpus=3)  # two workers, and the trainer
    with tempfile.TemporaryDirectory() as results_dir:
        trainer = TorchTrainer(
            train_loop,
            train_loop_config={"batch_size": 25, "lr": 0.003, "epochs": 8},
            scaling_config=air.ScalingConfig(num_workers=2),
            run_config=air.RunConfig(
                name="digits",
                local_dir=results_dir,
                verbose=0,
                checkpoint_config=air.CheckpointConfig(num_to_keep=1),
            ),
        )
        result = trainer.fit()
        assert result.metrics_dataframe is not None and result.checkpoint is not None
        for epoch, loss in enumerate(result.metrics_dataframe["loss"]):
            print(f"epoch {epoch}: loss {loss:.3f}")

        features, labels = images()
        predictor = TorchPredictor.from_checkpoint(result.checkpoint)
        scores = predictor.predict(features[TRAINED:])["predictions"]
        right = np.mean(scores.argmax(axis=1) == labels[TRAINED:])
        print(f"{right:.1%} of {len(scores)} digits that it has not seen are read correctly")
        assert right > 0.85
    aktis.shutdown()


if __name__ == "__main__":
    main()

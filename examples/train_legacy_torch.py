"""The older Trainer: PyTorch on four workers that stay, a run with callbacks and checkpoints, and a run that goes on from it.

With fewer than four CPUs the workers share those that there are.

Run: python examples/train_legacy_torch.py
Needs: pip install "aktis-train[torch,sklearn]"
Prints: the loss by epoch, accuracies of both runs, and the checkpoints that were kept.
"""

from __future__ import annotations

import json
import tempfile
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from aktis import train
from aktis.train.callbacks import JsonLoggerCallback, TrainingCallback
from aktis.train.callbacks.results_preprocessors import AverageResultsPreprocessor
from aktis.train.checkpoint import CheckpointStrategy
from aktis.train.torch import prepare_data_loader, prepare_model
from aktis.train.trainer import Trainer


class Epochs(TrainingCallback):
    """Prints the loss of each epoch, averaged over the workers."""

    results_preprocessor = AverageResultsPreprocessor(["loss"])

    def handle_result(self, results: list[dict[str, Any]], **info: Any) -> None:
        print(f"epoch {results[0]['epoch']}: loss {results[0]['avg(loss)']:.4f} over {len(results)} workers")


def train_func(config: dict[str, Any]) -> float:
    """Trains with DistributedDataParallel, and returns the accuracy on all digits."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    loader = prepare_data_loader(DataLoader(TensorDataset(x, y), batch_size=config["batch_size"], shuffle=True))
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    first = 0
    checkpoint = train.load_checkpoint()
    if checkpoint is not None:
        model.load_state_dict(checkpoint["model"])
        first = checkpoint["epoch"] + 1
    parallel = prepare_model(model)
    optimizer = torch.optim.SGD(parallel.parameters(), lr=config["lr"], momentum=0.9)
    for epoch in range(first, first + config["epochs"]):
        total = 0.0
        for inputs, targets in loader:
            loss = nn.functional.cross_entropy(parallel(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        train.report(epoch=epoch, loss=total / len(loader))
        train.save_checkpoint(epoch=epoch, model=model.state_dict(), loss=total / len(loader))
    with torch.no_grad():
        return float((model(x).argmax(1) == y).float().mean())


def main() -> None:
    with tempfile.TemporaryDirectory() as logdir:
        trainer = Trainer(backend="torch", num_workers=4, logdir=logdir)
        trainer.start()
        config = {"lr": 0.1, "batch_size": 32, "epochs": 3}
        best_two = CheckpointStrategy(num_to_keep=2, checkpoint_score_attribute="loss", checkpoint_score_order="min")
        first = trainer.run(
            train_func, config, callbacks=[Epochs(), JsonLoggerCallback()], checkpoint_strategy=best_two
        )
        print(f"accuracy by rank: {[round(value, 3) for value in first]}")
        print("kept:", sorted(path.name for path in trainer.latest_checkpoint_dir.iterdir()))
        reports = json.loads((trainer.latest_run_dir / "results.json").read_text())

        second = trainer.run(train_func, config, callbacks=[Epochs()], checkpoint=trainer.best_checkpoint_path)
        print(f"accuracy after going on from there: {second[0]:.3f}")
        trainer.shutdown()
    assert len(reports) == 3
    assert len(set(first)) == 1, "all workers have the same model"
    assert second[0] > first[0] - 0.02 and second[0] > 0.9


if __name__ == "__main__":
    main()

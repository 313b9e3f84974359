"""DDP over two nodes: both workers see all gradients, and the checkpoint comes to the driver."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import aktis
from aktis import air, train
from aktis.air import session
from aktis.train.torch import TorchCheckpoint, TorchTrainer


def train_loop(config: dict[str, Any]) -> None:
    torch.manual_seed(0)
    x = torch.linspace(-1, 1, 256).unsqueeze(1)
    loader = DataLoader(TensorDataset(x, 3 * x + 1), batch_size=32, shuffle=True)
    loader = train.torch.prepare_data_loader(loader)
    model = train.torch.prepare_model(nn.Linear(1, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=config["lr"])
    own_node = aktis.get_runtime_context().get_node_id()
    nodes: list[Any] = [None] * session.get_world_size()
    torch.distributed.all_gather_object(nodes, own_node)
    for _ in range(config["epochs"]):
        for features, labels in loader:
            loss = nn.functional.mse_loss(model(features), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        session.report(
            {"loss": loss.item(), "nodes": len(set(nodes)), "size": session.get_world_size()},
            checkpoint=TorchCheckpoint.from_model(model),
        )


def main(folder: Path) -> None:
    trainer = TorchTrainer(
        train_loop,
        train_loop_config={"lr": 0.2, "epochs": 6},
        scaling_config=air.ScalingConfig(
            num_workers=2, trainer_resources={"CPU": 0}, placement_strategy="STRICT_SPREAD"
        ),
        run_config=air.RunConfig(name="line", local_dir=str(folder), verbose=0),
    )
    result = trainer.fit()
    assert result.metrics["size"] == 2, result.metrics
    assert result.metrics["nodes"] == 2, result.metrics
    model = result.checkpoint.get_model(nn.Linear(1, 1))
    assert abs(model.weight.item() - 3) < 0.1 and abs(model.bias.item() - 1) < 0.1, (model.weight, model.bias)


if __name__ == "__main__":
    with aktis.init():
        main(Path(sys.argv[1]))
    print("done")

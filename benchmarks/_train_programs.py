"""The programs of benchmarks/train.py: ``python _train_programs.py PROGRAM LIBRARY FOLDER [SIZE]`` prints one line of JSON.

A library is ``aktis``, ``ray``, ``torchrun`` (run by ``python -m torch.distributed.run``) or ``plain`` (one process). All train
the same MLP on scikit-learn's digits with the same code.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

BATCH, SKIPPED_EPOCHS, WORKERS = 32, 5, 2


def train_mlp(
    rank: int, world: int, prepare: Callable[[Any], Any], report: Callable[[int, float], None], epochs: int
) -> dict[str, Any]:
    """The training: which rows a rank gets, and in which order, depends on its rank alone."""
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    images, labels = torch.tensor(x, dtype=torch.float32) / 16, torch.tensor(y)
    per_rank = len(images) // world
    images, labels = images[rank::world][:per_rank], labels[rank::world][:per_rank]
    model = prepare(nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss_of = nn.CrossEntropyLoss()
    curve = []
    begin = steady = time.perf_counter()
    steps = 0
    for epoch in range(epochs):
        if epoch == SKIPPED_EPOCHS:
            steady, steps = time.perf_counter(), 0
        for at in range(0, per_rank - BATCH + 1, BATCH):
            optimizer.zero_grad()
            loss = loss_of(model(images[at : at + BATCH]), labels[at : at + BATCH])
            loss.backward()
            optimizer.step()
            steps += 1
        curve.append(loss.item())
        report(epoch, curve[-1])
    end = time.perf_counter()
    return {"value": steps / (end - steady), "loop_s": end - begin, "curve": [value.hex() for value in curve]}


# -- the same training, started by each of them ---------------------------------------------------------------------------


def ddp(library: str, folder: str, size: int) -> None:
    """Steps per second once it runs, seconds in the loop, and the losses, of rank 0."""
    {"aktis": aktis_ddp, "ray": ray_ddp, "torchrun": torchrun_ddp, "plain": plain}[library](folder, size or 20)


def torchrun_ddp(folder: str, epochs: int) -> None:
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    dist.init_process_group("gloo")
    found = train_mlp(dist.get_rank(), dist.get_world_size(), DistributedDataParallel, lambda *_: None, epochs)
    if dist.get_rank() == 0:
        print(json.dumps(found))
    dist.destroy_process_group()


def plain(folder: str, epochs: int) -> None:
    print(json.dumps(train_mlp(0, 1, lambda model: model, lambda *_: None, epochs)))


def aktis_ddp(folder: str, epochs: int) -> None:
    from aktis import air, train
    from aktis.train.torch import TorchTrainer, prepare_model

    def loop() -> None:
        def report(epoch: int, loss: float) -> None:
            train.report({"loss": loss})

        keep(
            folder, train.world_rank(), train_mlp(train.world_rank(), train.world_size(), prepare_model, report, epochs)
        )

    TorchTrainer(
        loop,
        scaling_config=air.ScalingConfig(num_workers=WORKERS),
        run_config=air.RunConfig(name="bench", local_dir=folder, verbose=0),
    ).fit()
    print(kept(folder))


def ray_ddp(folder: str, epochs: int) -> None:
    from ray import train
    from ray.train.torch import TorchTrainer, prepare_model

    def loop() -> None:
        context = train.get_context()

        def report(epoch: int, loss: float) -> None:
            train.report({"loss": loss})

        rank = context.get_world_rank()
        keep(folder, rank, train_mlp(rank, context.get_world_size(), prepare_model, report, epochs))

    TorchTrainer(
        loop,
        scaling_config=train.ScalingConfig(num_workers=WORKERS),
        run_config=train.RunConfig(name="bench", storage_path=folder),
    ).fit()
    print(kept(folder))


def keep(folder: str, rank: int, found: dict[str, Any]) -> None:
    """Rank 0's figures, where the driver finds them."""
    if rank == 0:
        with open(os.path.join(folder, "figures.json"), "w") as file:
            json.dump(found, file)


def kept(folder: str) -> str:
    with open(os.path.join(folder, "figures.json")) as file:
        return file.read()


# -- restart --------------------------------------------------------------------------------------------------------------


def restart(library: str, folder: str, size: int) -> None:
    """Seconds from the kill -9 of a worker to the first step that is done after its run was restored."""
    (aktis_restart if library == "aktis" else ray_restart)(folder)
    with open(os.path.join(folder, "killed")) as killed, open(os.path.join(folder, "stepped")) as stepped:
        print(json.dumps({"value": float(stepped.read()) - float(killed.read())}))


def steps_with_a_kill(
    rank: int, start: int, folder: str, prepare: Callable[[Any], Any], report: Callable[[int], None]
) -> None:
    """Thirty steps; after ten, rank 1 is killed, once."""
    import torch

    model = prepare(torch.nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    killed, stepped = os.path.join(folder, "killed"), os.path.join(folder, "stepped")
    for step in range(start, 30):
        if step == 10 and rank == 1 and not os.path.exists(killed):
            write(killed)
            os.kill(os.getpid(), signal.SIGKILL)
        optimizer.zero_grad()
        model(torch.ones(8, 64)).sum().backward()
        optimizer.step()
        if rank == 0 and start > 0 and not os.path.exists(stepped):
            write(stepped)
        report(step)


def write(path: str) -> None:
    with open(f"{path}.tmp", "w") as file:
        file.write(str(time.time()))
    os.replace(f"{path}.tmp", path)


def aktis_restart(folder: str) -> None:
    from aktis import air, train
    from aktis.train.torch import TorchTrainer, prepare_model

    def loop() -> None:
        checkpoint = train.get_checkpoint()
        start = checkpoint.to_dict()["step"] + 1 if checkpoint else 0

        def report(step: int) -> None:
            train.report({"step": step}, checkpoint=air.Checkpoint.from_dict({"step": step}))

        steps_with_a_kill(train.world_rank(), start, folder, prepare_model, report)

    TorchTrainer(
        loop,
        scaling_config=air.ScalingConfig(num_workers=WORKERS),
        run_config=air.RunConfig(
            name="bench", local_dir=folder, verbose=0, failure_config=air.FailureConfig(max_failures=1)
        ),
    ).fit()


def ray_restart(folder: str) -> None:
    import tempfile

    from ray import train
    from ray.train.torch import TorchTrainer, prepare_model

    def loop() -> None:
        checkpoint = train.get_checkpoint()
        start = 0
        if checkpoint:
            with checkpoint.as_directory() as path, open(os.path.join(path, "step")) as file:
                start = int(file.read()) + 1

        def report(step: int) -> None:
            with tempfile.TemporaryDirectory() as path:
                with open(os.path.join(path, "step"), "w") as file:
                    file.write(str(step))
                train.report({"step": step}, checkpoint=train.Checkpoint.from_directory(path))

        steps_with_a_kill(train.get_context().get_world_rank(), start, folder, prepare_model, report)

    TorchTrainer(
        loop,
        scaling_config=train.ScalingConfig(num_workers=WORKERS),
        run_config=train.RunConfig(
            name="bench", storage_path=folder, failure_config=train.FailureConfig(max_failures=1)
        ),
    ).fit()


def main() -> None:
    name, library, folder, *size = sys.argv[1:]
    {"ddp": ddp, "restart": restart}[name](library, folder, int(size[0]) if size else 0)


if __name__ == "__main__":
    main()

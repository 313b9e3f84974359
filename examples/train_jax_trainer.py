"""A trainer that the library does not have: JAX on several workers.

A backend says how the workers find each other (here: ``jax.distributed``), a subclass of ``DataParallelTrainer`` gives it to them.
The loop then sees the devices of all workers, and JAX adds up gradients between them itself: with gloo on CPUs, NCCL on GPUs.

Run: python examples/train_jax_trainer.py
Needs: pip install aktis-train jax scikit-learn
Prints: loss, accuracy and the number of devices after each epoch.
"""

from __future__ import annotations

import os
import socket
import tempfile
from dataclasses import dataclass
from typing import Any

import aktis
from aktis.air import Checkpoint, RunConfig, ScalingConfig, session
from aktis.train import Backend, BackendConfig, DataParallelTrainer


@dataclass
class JaxConfig(BackendConfig):
    platforms: str = ""  # whatever JAX finds

    @property
    def backend_cls(self) -> type[Backend]:
        return JaxBackend


class JaxBackend(Backend):
    def on_start(self, worker_group: Any, backend_config: JaxConfig) -> None:
        address = worker_group.execute_single(0, free_address)
        worker_group.execute_ranked(join, address, len(worker_group), backend_config)

    def on_shutdown(self, worker_group: Any, backend_config: JaxConfig) -> None:
        left = worker_group.execute_async(lambda: __import__("jax").distributed.shutdown())
        aktis.wait(left, num_returns=len(worker_group), timeout=5)


def free_address() -> str:
    with socket.create_server(("", 0)) as probe:
        return f"{aktis.util.get_node_ip_address()}:{probe.getsockname()[1]}"


def join(rank: int, address: str, size: int, config: JaxConfig) -> None:
    os.environ["JAX_PLATFORMS"] = config.platforms
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(address, size, rank)


class JaxTrainer(DataParallelTrainer):
    """Runs a loop on several workers, whose devices JAX sees as one machine."""

    def __init__(self, train_loop_per_worker: Any, *, jax_config: JaxConfig | None = None, **kwargs: Any) -> None:
        super().__init__(train_loop_per_worker, backend_config=jax_config or JaxConfig(), **kwargs)


def train_loop(config: dict[str, Any]) -> None:
    """What a user writes: softmax regression on handwritten digits. Each worker holds its part of each batch."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = (pixels / 16).astype(np.float32)
    mesh = Mesh(np.array(jax.devices()), ("workers",))
    split, copied = NamedSharding(mesh, PartitionSpec("workers")), NamedSharding(mesh, PartitionSpec())

    def loss_of(params: Any, x: Any, y: Any) -> Any:
        scores = jax.nn.log_softmax(x @ params["w"] + params["b"])
        return -jnp.take_along_axis(scores, y[:, None], axis=1).mean()

    @jax.jit
    def step(params: Any, x: Any, y: Any) -> tuple[Any, Any]:
        loss, gradients = jax.value_and_grad(loss_of)(params, x, y)
        return jax.tree.map(lambda param, gradient: param - config["lr"] * gradient, params, gradients), loss

    checkpoint = session.get_checkpoint()
    state = {"epoch": -1, "w": np.zeros((64, 10), np.float32), "b": np.zeros(10, np.float32)}
    state |= checkpoint.to_dict() if checkpoint is not None else {}
    params = {name: jax.make_array_from_process_local_data(copied, state[name]) for name in "wb"}
    rank, size, batch = session.get_world_rank(), session.get_world_size(), config["batch_size"]
    for epoch in range(state["epoch"] + 1, config["epochs"]):
        order = np.random.default_rng(epoch).permutation(len(images))
        for begin in range(0, len(images) - batch + 1, batch):
            mine = order[begin : begin + batch].reshape(size, -1)[rank]
            x, y = (jax.make_array_from_process_local_data(split, part[mine]) for part in (images, labels))
            params, loss = step(params, x, y)
        weights = {name: np.asarray(param) for name, param in params.items()}
        accuracy = float(np.mean(np.argmax(images @ weights["w"] + weights["b"], axis=1) == labels))
        metrics = {"loss": float(loss), "accuracy": accuracy, "devices": len(jax.devices())}
        session.report(metrics, checkpoint=Checkpoint.from_dict({"epoch": epoch, **weights}))


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        trainer = JaxTrainer(
            train_loop,
            train_loop_config={"lr": 0.5, "batch_size": 128, "epochs": 5},
            jax_config=JaxConfig(platforms="cpu"),
            scaling_config=ScalingConfig(num_workers=2),
            run_config=RunConfig(local_dir=directory, verbose=0),
        )
        result = trainer.fit()
        for row in result.metrics_dataframe.itertuples():
            progress = f"loss {row.loss:.3f}, accuracy {row.accuracy:.1%}, {row.devices} devices"
            print(f"epoch {row.training_iteration}: {progress}")
    assert result.metrics["accuracy"] > 0.9 and result.metrics["devices"] == 2


if __name__ == "__main__":
    main()

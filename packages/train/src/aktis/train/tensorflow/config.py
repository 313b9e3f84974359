"""How the workers of a TensorFlow training find each other."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aktis.train.backend import Backend, BackendConfig
from aktis.train.tensorflow import _keras_fit

if TYPE_CHECKING:
    from aktis.air.worker_group import WorkerGroup

__all__ = ["TensorflowBackend", "TensorflowConfig"]

LOOPBACK = "127.0.0.1"


@dataclass
class TensorflowConfig(BackendConfig):
    """Workers that find each other by TF_CONFIG, as ``tf.distribute.MultiWorkerMirroredStrategy`` expects it."""

    @property
    def backend_cls(self) -> type[Backend]:
        return TensorflowBackend


class TensorflowBackend(Backend):
    """Sets TF_CONFIG in each worker: the addresses of all, and which one it is."""

    needs_processes = True

    def on_start(self, worker_group: WorkerGroup, backend_config: TensorflowConfig) -> None:
        hosts = worker_hosts(worker_group)
        addresses = [f"{host}:{port}" for host, port in zip(hosts, _free_ports(worker_group, hosts))]
        worker_group.execute_ranked(prepare_worker, addresses)


def worker_hosts(worker_group: WorkerGroup) -> list[str]:
    """The address under which the others reach each worker: loopback where all are on one machine."""
    machines = {worker.metadata.node_id for worker in worker_group.workers}
    if len(machines) == 1:
        return [LOOPBACK] * len(worker_group)
    return [_bracketed(worker.metadata.node_ip) for worker in worker_group.workers]


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _free_ports(worker_group: WorkerGroup, hosts: list[str]) -> list[int]:
    """A port for each worker that is free there, no port twice on one machine."""
    ports: list[int] = []
    taken: set[tuple[str, int]] = set()
    for rank, offered in enumerate(worker_group.execute(free_ports, len(worker_group))):
        port = next(port for port in offered if (hosts[rank], port) not in taken)
        taken.add((hosts[rank], port))
        ports.append(port)
    return ports


def free_ports(count: int) -> list[int]:
    """So many different ports that nobody listens on, on this machine."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) for _ in range(count)]
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]


def prepare_worker(rank: int, addresses: list[str]) -> None:
    """Prepare this process for TensorFlow on several workers, before TensorFlow is imported."""
    os.environ["TF_CONFIG"] = json.dumps(tf_config(rank, addresses))
    _keras_fit.mend()


def tf_config(rank: int, addresses: list[str]) -> dict[str, Any]:
    """What TF_CONFIG says in the worker of a rank."""
    return {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}

"""How the workers of a process group meet, and what is said when they do not."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

import torch.distributed as dist  # noqa: E402

from aktis.air.worker_group import WorkerGroup  # noqa: E402
from aktis.train.error import RendezvousError  # noqa: E402
from aktis.train.torch import TorchConfig, _rendezvous, config  # noqa: E402
from aktis.train.torch._rendezvous import Address, Rank  # noqa: E402


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment is as it was, and there is no process group left."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "environ", os.environ.copy())
        yield
    _rendezvous.leave()


def test_one_rank_alone() -> None:
    address = _rendezvous.open_store("192.0.2.1", True, 10)  # not used: all are on one machine
    assert address.host == "127.0.0.1"
    _rendezvous.join(Rank(0, 1, 0, 1, 0, "192.0.2.1"), address, "gloo", 60, 10)
    assert (dist.get_rank(), dist.get_world_size(), dist.get_backend()) == (0, 1, "gloo")
    assert os.environ["MASTER_PORT"] == str(address.port)
    _rendezvous.leave()
    assert not dist.is_initialized()


def test_the_missing_are_named() -> None:
    address = _rendezvous.open_store("127.0.0.1", True, 10)
    with pytest.raises(RendezvousError, match="after 0.2 s rank 0 still misses rank 1, 2") as error:
        _rendezvous.join(Rank(0, 3, 0, 3, 0, "127.0.0.1"), address, "gloo", 60, 0.2)
    assert error.value.ranks == (1, 2)
    assert not dist.is_initialized()


def test_rank_0_cannot_be_reached() -> None:
    nobody = Address("127.0.0.1", 1, True)
    with pytest.raises(RendezvousError, match="rank 1 on 127.0.0.1 cannot reach rank 0 at 127.0.0.1:1") as error:
        _rendezvous.join(Rank(1, 2, 1, 2, 0, "127.0.0.1"), nobody, "gloo", 60, 0.2)
    assert error.value.ranks == (0,)


def test_a_rank_that_hangs_is_named_by_the_trainer(session: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "LEAVE_SECONDS", 0.2)
    with WorkerGroup(2, {"CPU": 1}) as group:
        group.execute(_import)
        settings = TorchConfig(rendezvous_timeout_s=1)
        settings.backend_cls().on_start(group, settings)
        assert group.execute(_sum) == [3.0, 3.0]
        stopped = group.workers[1].metadata.pid
        os.kill(stopped, signal.SIGSTOP)
        with pytest.raises(RendezvousError) as error:
            settings.backend_cls().on_start(group, settings)
        assert error.value.ranks == (1,)
        settings.backend_cls().on_shutdown(group, settings)  # returns
        os.kill(stopped, signal.SIGKILL)


def _import() -> None:
    import aktis.train.torch._rendezvous  # noqa: F401


def _sum() -> float:
    import torch
    import torch.distributed

    tensor = torch.tensor(float(torch.distributed.get_rank() + 1))
    torch.distributed.all_reduce(tensor)
    return float(tensor)


def group_on(*nodes: str, gpus: tuple[str, ...] = ()) -> Any:
    """What the backend asks a group of workers, of machines that are not there."""
    ips = {node: f"10.0.0.{ord(node)}" for node in nodes}
    workers = [
        SimpleNamespace(metadata=SimpleNamespace(node_id=node, node_ip=ips[node], gpu_ids=gpus)) for node in nodes
    ]
    return SimpleNamespace(workers=workers)


def test_ranks_go_by_machine() -> None:
    ranks = config.ranks_of(group_on("a", "a", "b", "c", "c"))
    assert [(r.rank, r.local_rank, r.local_world_size, r.node_rank, r.node_ip) for r in ranks] == [
        (0, 0, 2, 0, "10.0.0.97"),
        (1, 1, 2, 0, "10.0.0.97"),
        (2, 0, 1, 1, "10.0.0.98"),
        (3, 0, 2, 2, "10.0.0.99"),
        (4, 1, 2, 2, "10.0.0.99"),
    ]


def test_which_backend() -> None:
    assert config._choose(None, group_on("a")) == "gloo"
    assert config._choose(None, group_on("a", gpus=("0",))) == "nccl"
    assert config._choose("gloo", group_on("a", gpus=("0",))) == "gloo"


def test_which_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _rendezvous.interface_of("127.0.0.1") == "lo"
    assert _rendezvous.interface_of("192.0.2.77") is None  # nobody has that one
    assert _rendezvous.interface_of("not an address") is None
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        os.environ.pop(name, None)
    _rendezvous.set_interfaces("nccl", False, "192.0.2.77")
    assert os.environ["NCCL_SOCKET_IFNAME"] == "^lo,docker,veth"
    assert "GLOO_SOCKET_IFNAME" not in os.environ
    _rendezvous.set_interfaces("gloo", True, "192.0.2.77")
    assert os.environ["GLOO_SOCKET_IFNAME"] == "lo"
    os.environ["GLOO_SOCKET_IFNAME"] = "eth7"  # what the user says goes
    _rendezvous.set_interfaces("gloo", True, "192.0.2.77")
    assert os.environ["GLOO_SOCKET_IFNAME"] == "eth7"

"""How the workers of a process group find each other: the functions that run in them.

::

    trainer                     rank 0                                  rank r
      ├── open_store ───────────► listens (a port that the system
      │◄── Address ────────────── chooses, so that nobody can take it)
      └── join(Rank, Address) ──► says "here", waits for all ──────────► connects, says "here", waits for all
                                  init_process_group                    init_process_group

A rank that is missing when the time is over is named in the error of each of the others. The store lives in rank 0 until
:func:`leave`. On one machine everything goes over loopback and nothing listens on any other interface.
"""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from typing import Any

from aktis.train.error import RendezvousError
from aktis.train.torch._need import need_torch

_HERE = "aktis/here/"

_store: Any = None  # of this process, from open_store to leave


@dataclass(frozen=True)
class Address:
    """Where the store listens.

    Attributes:
        host: The machine of rank 0.
        port: The port.
        one_machine: Whether all workers are on it.
    """

    host: str
    port: int
    one_machine: bool


@dataclass(frozen=True)
class Rank:
    """Which worker this is, as torchrun counts: of all, and on its machine."""

    rank: int
    world_size: int
    local_rank: int
    local_world_size: int
    node_rank: int
    node_ip: str

    def environment(self, address: Address) -> dict[str, str]:
        """What torchrun would have set."""
        return {
            "MASTER_ADDR": address.host,
            "MASTER_PORT": str(address.port),
            "RANK": str(self.rank),
            "WORLD_SIZE": str(self.world_size),
            "LOCAL_RANK": str(self.local_rank),
            "LOCAL_WORLD_SIZE": str(self.local_world_size),
            "NODE_RANK": str(self.node_rank),
            "GROUP_RANK": str(self.node_rank),
        }


def open_store(host: str, one_machine: bool, timeout_s: float) -> Address:
    """Runs in rank 0: start the store that the others connect to."""
    global _store
    from datetime import timedelta

    need_torch("the torch backend")
    from torch.distributed import TCPStore

    if one_machine:
        host = "127.0.0.1"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, 0))
        listener.listen(socket.SOMAXCONN)
        port = int(listener.getsockname()[1])
        descriptor = os.dup(listener.fileno())
    _store = TCPStore(
        host, port, None, True, timedelta(seconds=timeout_s), wait_for_workers=False, master_listen_fd=descriptor
    )
    return Address(host, port, one_machine)


def join(rank: Rank, address: Address, backend: str, timeout_s: float, rendezvous_timeout_s: float) -> None:
    """Runs in every worker: set its environment, wait for the others, and make the process group.

    Raises:
        RendezvousError: somebody is missing.
    """
    global _store
    from datetime import timedelta

    import torch.distributed as dist

    os.environ.update(rank.environment(address))
    tell_accelerate()
    set_interfaces(backend, address.one_machine, rank.node_ip)
    use_threads()
    if backend == "nccl":
        # A collective that fails or is late ends the process, instead of waiting for ever.
        os.environ.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1")
    if dist.is_initialized():
        dist.destroy_process_group()
    patience = timedelta(seconds=rendezvous_timeout_s)
    if rank.rank > 0:
        _store = _connect(rank, address, patience)
    _wait_for_all(_store, rank, address, patience)
    _store.set_timeout(timedelta(seconds=timeout_s))
    dist.init_process_group(
        backend=backend,
        store=_store,
        rank=rank.rank,
        world_size=rank.world_size,
        timeout=timedelta(seconds=timeout_s),
    )


def leave() -> None:
    """Runs in every worker: end the process group, if there is one."""
    global _store
    dist = sys.modules.get("torch.distributed")
    if dist is not None and dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
    _store = None


def _connect(rank: Rank, address: Address, patience: Any) -> Any:
    from torch.distributed import TCPStore

    try:
        return TCPStore(address.host, address.port, None, False, patience, wait_for_workers=False)
    except RuntimeError as error:  # DistNetworkError, DistStoreError
        raise RendezvousError(
            f"rank {rank.rank} on {rank.node_ip} cannot reach rank 0 at {address.host}:{address.port} within "
            f"{patience.total_seconds():g} s: {_first_line(error)}. Rank 0 may have died, or a firewall is in between",
            (0,),
        ) from error


def _wait_for_all(store: Any, rank: Rank, address: Address, patience: Any) -> None:
    everybody = range(rank.world_size)
    try:
        store.set(f"{_HERE}{rank.rank}", "1")
        store.wait([f"{_HERE}{other}" for other in everybody], patience)
    except RuntimeError as error:
        missing = _missing(store, everybody)
        named = ", ".join(map(str, missing)) or "0 (it holds the store)"
        raise RendezvousError(
            f"{rank.world_size} workers were to meet at {address.host}:{address.port}; after "
            f"{patience.total_seconds():g} s rank {rank.rank} still misses rank {named}. "
            "They may be starting slowly (raise TorchConfig(rendezvous_timeout_s=...)), hang or have died",
            missing or (0,),
        ) from error


def _missing(store: Any, everybody: range) -> tuple[int, ...]:
    try:
        return tuple(other for other in everybody if not store.check([f"{_HERE}{other}"]))
    except RuntimeError:  # the store is gone with rank 0
        return ()


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0].rstrip(".")


# -- devices, interfaces and threads -----------------------------------------------------------------------------------


def tell_accelerate() -> None:
    """Have Hugging Face's ``Accelerator()`` take this worker's device, unless the user said which.

    Without this it would take the CPU of several processes for that of one, and each would train by itself.
    """
    import torch

    import aktis
    from aktis.train.torch._world import visible_indexes

    gpus = [str(gpu) for gpu in aktis.get_gpu_ids()] if aktis.is_initialized() and torch.cuda.is_available() else []
    if gpus:
        index = visible_indexes(gpus, os.environ.get("CUDA_VISIBLE_DEVICES"))[0]
        torch.cuda.set_device(index)
        os.environ.setdefault("ACCELERATE_TORCH_DEVICE", f"cuda:{index}")
    else:
        os.environ.setdefault("ACCELERATE_USE_CPU", "true")


def set_interfaces(backend: str, one_machine: bool, node_ip: str) -> None:
    """Tell gloo and NCCL which network to use, unless the user did.

    Gloo would take what the machine's name resolves to, which is slow, or wrong, where the name is not known.
    """
    if one_machine:
        name = interface_of("127.0.0.1")
        if name is not None:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
        return
    name = interface_of(node_ip)
    if name is not None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
    if backend == "nccl":
        os.environ.setdefault("NCCL_SOCKET_IFNAME", "^lo,docker,veth")  # all but these, which lead nowhere


def interface_of(address: str) -> str | None:
    """The network interface that has an IPv4 address; None where the system cannot say."""
    try:
        import fcntl

        wanted = socket.inet_aton(address)
        names = [name for _, name in socket.if_nameindex()]
    except (ImportError, OSError):
        return None
    if not sys.platform.startswith("linux"):
        return {"darwin": "lo0"}.get(sys.platform) if wanted[0] == 127 else None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for name in names:
            request = name.encode()[:15].ljust(256, b"\0")
            try:
                found = fcntl.ioctl(probe.fileno(), 0x8915, request)  # SIOCGIFADDR
            except OSError:  # one without an IPv4 address
                continue
            if found[20:24] == wanted:
                return name
    return None


def use_threads() -> None:
    """As many threads as the worker was given CPUs.

    The environment says so (``OMP_NUM_THREADS``), but OpenMP reads it when it is loaded, which was before the fork.
    """
    import torch

    text = os.environ.get("OMP_NUM_THREADS", "")
    if text.isdigit() and int(text) > 0 and torch.get_num_threads() != int(text):
        torch.set_num_threads(int(text))

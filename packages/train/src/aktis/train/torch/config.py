"""What torch workers need to know of each other: ``TorchConfig``, and the backend that sets them up."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aktis.train.backend import Backend, BackendConfig
from aktis.train.error import RendezvousError

if TYPE_CHECKING:
    from aktis import ObjectRef
    from aktis.air.worker_group import WorkerGroup
    from aktis.train.torch._rendezvous import Rank

__all__ = ["TorchConfig"]

logger = logging.getLogger(__name__)

LEAVE_SECONDS = 2.0
"""How long the end of the process groups is waited for: they need milliseconds, and a dead or stuck rank never answers."""


@dataclass
class TorchConfig(BackendConfig):
    """How the process group of torch workers is made.

    Args:
        backend: "gloo", "nccl", or another that torch has been given. None: "nccl" if the workers have GPUs, else "gloo".
        init_method: "env" or "tcp", as in Ray. Both meet at a store of rank 0 whose address is in MASTER_ADDR and
            MASTER_PORT, too.
        timeout_s: Seconds after which a collective operation fails.
        rendezvous_timeout_s: Seconds that the workers have to come together, at the start.

    Raises:
        ValueError: an init_method that is none, or seconds that are not above 0.
    """

    backend: str | None = None
    init_method: str = "env"
    timeout_s: float = 1800
    rendezvous_timeout_s: float = 120

    def __post_init__(self) -> None:
        if self.backend is not None and (not isinstance(self.backend, str) or not self.backend):
            raise ValueError(f"backend must be 'gloo', 'nccl', or None to choose, not {self.backend!r}")
        if self.init_method not in ("env", "tcp"):
            raise ValueError(f"init_method must be 'env' or 'tcp', not {self.init_method!r}")
        for name in ("timeout_s", "rendezvous_timeout_s"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
                raise ValueError(f"{name} must be a number of seconds above 0, not {value!r}")

    @property
    def backend_cls(self) -> type[Backend]:
        return _TorchBackend


class _TorchBackend(Backend):
    share_cuda_visible_devices = True
    needs_processes = True

    def on_start(self, worker_group: WorkerGroup, backend_config: TorchConfig) -> None:
        from aktis.train.torch import _rendezvous

        deadline = time.monotonic() + backend_config.rendezvous_timeout_s
        ranks = ranks_of(worker_group)
        one_machine = ranks[-1].node_rank == 0
        name = _choose(backend_config.backend, worker_group)
        store = worker_group.execute_single_async(
            0, _rendezvous.open_store, ranks[0].node_ip, one_machine, backend_config.rendezvous_timeout_s
        )
        (address,) = _gather([store], deadline, "open the store at which all meet")
        refs = [
            worker_group.execute_single_async(
                rank.rank,
                _rendezvous.join,
                rank,
                address,
                name,
                backend_config.timeout_s,
                max(1.0, deadline - time.monotonic()),
            )
            for rank in ranks
        ]
        # A little later than the workers' own limit: they know better who is missing.
        _gather(refs, deadline + 5, f"make the process group ({name})")

    def on_shutdown(self, worker_group: WorkerGroup, backend_config: TorchConfig) -> None:
        import aktis
        from aktis.train.torch import _rendezvous

        if len(worker_group) < 2:
            return
        refs = worker_group.execute_async(_rendezvous.leave)
        aktis.wait(refs, num_returns=len(refs), timeout=LEAVE_SECONDS)


def ranks_of(worker_group: WorkerGroup) -> list[Rank]:
    """Who is who, from where the workers are. The group has its ranks by machine."""
    from aktis.train.torch._rendezvous import Rank

    nodes = [worker.metadata.node_id for worker in worker_group.workers]
    order = list(dict.fromkeys(nodes))
    sizes = Counter(nodes)
    seen: Counter[str] = Counter()
    ranks = []
    for rank, worker in enumerate(worker_group.workers):
        node = nodes[rank]
        ranks.append(Rank(rank, len(nodes), seen[node], sizes[node], order.index(node), worker.metadata.node_ip))
        seen[node] += 1
    return ranks


def _choose(backend: str | None, worker_group: WorkerGroup) -> str:
    if backend is not None:
        return backend
    return "nccl" if all(worker.metadata.gpu_ids for worker in worker_group.workers) else "gloo"


def _gather(refs: Sequence[ObjectRef[Any]], deadline: float, what: str) -> list[Any]:
    """The values of ``refs``, which are of ranks 0, 1, ...; the first one that fails is raised at once."""
    import aktis

    waiting = list(refs)
    while waiting:
        done, waiting = aktis.wait(waiting, num_returns=1, timeout=max(0.0, deadline - time.monotonic()))
        aktis.get(done)  # raises what a worker raised
        if not done:
            late = tuple(rank for rank, ref in enumerate(refs) if ref in waiting)
            raise RendezvousError(
                f"rank {', '.join(map(str, late))} of {len(refs)} did not {what} in time: it hangs, or its machine cannot be "
                "reached by the others. TorchConfig(rendezvous_timeout_s=...) says how long is waited",
                late,
            )
    values: list[Any] = aktis.get(list(refs))
    return values

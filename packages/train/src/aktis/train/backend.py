"""How the workers of a training run find each other: the extension point of frameworks.

A backend prepares the workers before the training loop starts in them, and cleans up after it::

    @dataclass
    class JaxConfig(BackendConfig):
        port: int | None = None

        @property
        def backend_cls(self):
            return JaxBackend


    class JaxBackend(Backend):
        def on_start(self, worker_group, backend_config):
            address = worker_group.execute_single(0, free_address)
            worker_group.execute_ranked(join, address, len(worker_group))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from aktis.air.worker_group import WorkerGroup

__all__ = ["Backend", "BackendConfig", "EncodedData"]

EncodedData = TypeVar("EncodedData")
"""For annotations of backends that were written for older versions; their ``encode_data`` and ``decode_data`` are not called."""


class Backend:
    """Hooks around the life of a worker group. All run in the trainer's process, never in a worker.

    Attributes:
        share_cuda_visible_devices: Whether each worker sees the GPUs of all workers of its machine (CUDA_VISIBLE_DEVICES), as NCCL
            needs it.
        needs_processes: Whether several workers must be several processes, which they are not in inline mode: then an error says
            so at once, instead of workers that wait for each other.
    """

    share_cuda_visible_devices: bool = False
    needs_processes: bool = False

    def on_start(self, worker_group: WorkerGroup, backend_config: Any) -> None:
        """The workers are there, in the order of their ranks; the training loop has not started."""

    def on_training_start(self, worker_group: WorkerGroup, backend_config: Any) -> None:
        """The sessions of the workers are set up; the training loop starts next."""

    def on_shutdown(self, worker_group: WorkerGroup, backend_config: Any) -> None:
        """The training loop has ended everywhere, well or badly; the workers are about to be stopped.

        Called with a group of which workers may be dead: use ``worker_group.execute_async`` and do not wait for long.
        """


class BackendConfig:
    """Configuration of a backend. Subclass it as a dataclass."""

    @property
    def backend_cls(self) -> type[Backend]:
        """The class of the backend."""
        return Backend

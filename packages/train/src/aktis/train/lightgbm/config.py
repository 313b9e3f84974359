"""How the workers of a LightGBM training find each other: LightGBM's own network of sockets.

::

    workers   each finds a port and holds it                            (on_start)
    trainer   the list of all addresses ──► workers
    workers   let the port go, and LightGBM listens there               (get_network_params, lightgbm.train)

LightGBM refuses a port that anybody holds, so there is a moment in which another process can take it. The ports are therefore
none of those that the system hands out by itself; should one be taken all the same, the trainer starts the workers' loop anew.
"""

from __future__ import annotations

import contextlib
import functools
import random
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aktis.train._gbdt.contact import LostContactError
from aktis.train.backend import Backend, BackendConfig
from aktis.train.error import RendezvousError, TrainError

if TYPE_CHECKING:
    from aktis.air.worker_group import WorkerGroup

__all__ = ["LightGBMConfig", "get_network_params"]

_LOWEST_PORT = 10_000
_HIGHEST_PORT = 65_000
_OF_NETWORK = ("Socket ", "Connecting to rank", "local machine")
_TRIED_PORTS = 200
LEARNER_NAMES = ("tree_learner", "tree", "tree_type", "tree_learner_type")  # all names of that parameter
_LEARNERS = ("data", "voting")


class PortTakenError(TrainError):
    """Another process took the port that LightGBM was to listen on."""


@dataclass
class LightGBMConfig(BackendConfig):
    """How the workers are connected.

    Args:
        timeout_s: Seconds after which workers that do not hear from each other fail. LightGBM counts in minutes: rounded up.
        tree_learner: How trees are found together, unless the parameters of the training say so: "data" (exact) or "voting"
            (with less to be sent). LightGBM has "feature" for its command line only.

    Raises:
        ValueError: something else.
    """

    timeout_s: float = 300
    tree_learner: str = "data"

    def __post_init__(self) -> None:
        if isinstance(self.timeout_s, bool) or not isinstance(self.timeout_s, (int, float)) or not self.timeout_s > 0:
            raise ValueError(f"timeout_s must be a number of seconds above 0, not {self.timeout_s!r}")
        if self.tree_learner not in _LEARNERS:
            raise ValueError(f"tree_learner must be one of {', '.join(_LEARNERS)}, not {self.tree_learner!r}")

    @property
    def backend_cls(self) -> type[Backend]:
        """The class of the backend."""
        return _LightGBMBackend


class _LightGBMBackend(Backend):
    needs_processes = True

    def on_start(self, worker_group: WorkerGroup, backend_config: LightGBMConfig) -> None:
        if len(worker_group) == 1:
            worker_group.execute(_join, None)
            return
        ports = worker_group.execute(_hold_port)
        hosts = [worker.metadata.node_ip for worker in worker_group.workers]
        params = {
            "machines": ",".join(f"{host}:{port}" for host, port in zip(hosts, ports)),
            "num_machines": len(ports),
            "time_out": max(1, -(-round(backend_config.timeout_s) // 60)),
            "tree_learner": backend_config.tree_learner,
            "pre_partition": True,
        }
        worker_group.execute(_join, params)

    def on_shutdown(self, worker_group: WorkerGroup, backend_config: LightGBMConfig) -> None:
        """Nothing: sockets go with the workers, or when they leave the network."""


# -- in the workers ------------------------------------------------------------------------------------------------------

_held: socket.socket | None = None
_params: dict[str, Any] = {}


def _hold_port() -> int:
    """Find a port that is free, and hold it until LightGBM listens there. Returns it."""
    global _held
    _let_go()
    low, high = _ports_of_the_system()
    for _ in range(_TRIED_PORTS):
        port = random.SystemRandom().randint(_LOWEST_PORT, _HIGHEST_PORT)
        if low <= port <= high:  # may be somebody's at any moment
            continue
        held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            held.bind(("", port))
        except OSError:
            held.close()
            continue
        _held = held
        return port
    raise RendezvousError(
        f"LightGBM needs a port to listen on, and {_TRIED_PORTS} tries from {_LOWEST_PORT} found none that is free"
    )


def _let_go() -> None:
    global _held
    if _held is not None:
        _held.close()
        _held = None


def _ports_of_the_system() -> tuple[int, int]:
    """The first and the last port that is given to who does not ask for a certain one."""
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
            low, high = map(int, file.read().split())
    except (OSError, ValueError):
        return 49_152, 65_535  # as IANA has it
    return low, high


def _join(params: dict[str, Any] | None) -> None:
    """Keep the parameters of the network; None: there is none."""
    global _params
    if params is None:
        _let_go()
        _params = {}
    else:
        assert _held is not None
        _params = {**params, "local_listen_port": _held.getsockname()[1]}


def get_network_params() -> dict[str, Any]:
    """The parameters that have ``lightgbm.train`` train together with the other workers; none where there is one worker.

    Call it right before the training, which listens on the port that was kept for it until now.
    """
    _let_go()
    return dict(_params)


@contextlib.contextmanager
def named_errors() -> Iterator[None]:
    """Have the errors of LightGBM that are about its network say so by their type.

    Raises:
        PortTakenError: the port is another process's.
        LostContactError: the other workers are not there, or not any more.
    """
    try:
        yield
    except Exception as error:
        if type(error).__name__ != "LightGBMError":
            raise
        if "Binding port" in str(error):
            raise PortTakenError(
                f"{error}: another process took the port between being found and being used"
            ) from error
        if any(phrase in str(error) for phrase in _OF_NETWORK):
            raise LostContactError(f"the network of LightGBM broke: {error}") from error
        raise


def with_named_errors(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, in :func:`named_errors`."""

    @functools.wraps(function)
    def run(*args: Any) -> Any:
        with named_errors():
            return function(*args)

    return run

"""One replica as the controller sees it, what may be asked of it, and what makes two of them the same. Pure."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import pickle
from dataclasses import dataclass
from typing import Any, NamedTuple

from aktis.serve._protocol import DeploymentSpec, ReplicaID, ReplicaInfo, ReplicaState


class Phase(enum.Enum):
    """The life of a replica. It only goes forward, but for RUNNING and UPDATING, which alternate.

    ::

        STARTING ──► RUNNING ◄──► UPDATING
            │           │            │
            │           └─► DRAINING ◄┘
            └──────────────► │
                             ▼
                          KILLING ──► (forgotten)
    """

    STARTING = enum.auto()  # its actor was asked for: it waits for resources, or the user's constructor runs
    RUNNING = enum.auto()  # callers know it
    UPDATING = enum.auto()  # applies another user_config; callers know it only where there is no other one
    DRAINING = enum.auto()  # no caller is told of it any more; finishes what it has
    KILLING = enum.auto()  # its process was told to end; forgotten when that is known to have happened

    @property
    def public(self) -> ReplicaState:
        """The state as users see it."""
        if self in (Phase.DRAINING, Phase.KILLING):
            return ReplicaState.STOPPING
        return ReplicaState[self.name]


LIVE = (Phase.STARTING, Phase.RUNNING, Phase.UPDATING)


class Fingerprint(NamedTuple):
    """What a replica was made of. Equal fingerprints: nothing to do."""

    code: str  # another one needs another process
    user: str  # another one needs reconfigure(), in turns
    limits: str  # another one needs reconfigure(), at once


# Fields of a DeploymentConfig that need another process when they change, and those that replicas need not know.
_OF_PROCESS = (
    "ray_actor_options",
    "placement_group_bundles",
    "placement_group_strategy",
    "max_replicas_per_node",
    "is_driver",
)
_OF_CONTROLLER = (
    "num_replicas",
    "autoscaling_config",
    "health_check_period_s",
    "health_check_timeout_s",
    "graceful_shutdown_wait_loop_s",
    "graceful_shutdown_timeout_s",
    "rolling_update_percentage",
    "max_constructor_retry_count",
    "max_queued_requests",
    "backpressure_config",
    "request_timeout_s",
    "retry_deaths",
)


def fingerprint(spec: DeploymentSpec, runtime_env: dict[str, Any] | None = None) -> Fingerprint:
    """The fingerprint of replicas made of ``spec`` (and of the application's ``runtime_env``)."""
    config = {field.name: getattr(spec.config, field.name) for field in dataclasses.fields(spec.config)}
    code = [spec.version, runtime_env, *(config.pop(name, None) for name in _OF_PROCESS)]
    user = config.pop("user_config", None)
    limits = {name: value for name, value in config.items() if name not in _OF_CONTROLLER}
    return Fingerprint(_digest(code), _digest(user), _digest(limits))


def _digest(value: Any) -> str:
    return hashlib.sha256(_canonical(value).encode()).hexdigest()[:16]


def _canonical(value: Any) -> str:
    """Equal text for equal values. A pickle would not do: it also depends on which parts are the same object."""
    if isinstance(value, dict):
        return "{" + ",".join(sorted(f"{_canonical(key)}:{_canonical(each)}" for key, each in value.items())) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_canonical, value)) + "]"
    if value is None or isinstance(value, (str, bytes, bool, int, float)):
        return repr(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _canonical({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    return hashlib.sha256(pickle.dumps(value, protocol=4)).hexdigest()


@dataclass(slots=True, kw_only=True)
class Replica:
    """A replica, from the wish to its end."""

    id: ReplicaID
    made_of: Fingerprint
    phase: Phase
    since: float  # when it entered its phase
    max_ongoing: int
    info: ReplicaInfo | None = None
    node_id: str = ""  # where it has to be, or is
    wall_start: float = 0.0  # time.time() when it was wished, for people
    wants: Fingerprint | None = None  # reconfigure() to this is under way
    stale: bool = False  # its reconfigure() raised: it goes on as it was until another replica can take its place
    failed_checks: int = 0  # in a row
    checking: bool = False
    next_check: float = 0.0
    deadline: float = 0.0  # of draining
    starved: bool = False  # it waits for resources that others hold
    warned: bool = False  # that it starts slowly
    message: str = ""


class Record(NamedTuple):
    """What is kept of a replica for a controller that comes later."""

    id: ReplicaID
    made_of: Fingerprint
    info: ReplicaInfo
    max_ongoing: int
    wall_start: float
    leaves: bool  # it drains


# What the shell is asked to do. Each but Kill and Warn is answered by exactly one event.


@dataclass(frozen=True, slots=True)
class Start:
    """Create the actor and run start(); answered by started or start_failed."""

    id: ReplicaID
    spec: DeploymentSpec
    node_id: str = ""  # "": anywhere
    runtime_env: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Reconfigure:
    """Call reconfigure(); answered by reconfigured."""

    id: ReplicaID
    config: Any


@dataclass(frozen=True, slots=True)
class Check:
    """Call check_health(), for at most so long; answered by checked."""

    id: ReplicaID
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Drain:
    """Call drain(); answered by drained, also when the call fails."""

    id: ReplicaID
    wait_loop_s: float
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Kill:
    """End the process; answered by gone when it has ended."""

    id: ReplicaID


@dataclass(frozen=True, slots=True)
class Warn:
    """Tell people that a replica takes long to start."""

    id: ReplicaID
    seconds: float


Command = Start | Reconfigure | Check | Drain | Kill | Warn

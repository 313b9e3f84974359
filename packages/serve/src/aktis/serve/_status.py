"""What ``serve.status()`` gives: plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from aktis.serve._protocol import ApplicationState, DeploymentState, ReplicaState


@dataclass(slots=True, kw_only=True)
class ReplicaStatus:
    """One replica."""

    replica_id: str
    state: ReplicaState
    pid: int | None = None
    node_id: str | None = None
    actor_id: str | None = None
    actor_name: str | None = None
    start_time_s: float | None = None
    log_file: str | None = None
    message: str = ""


@dataclass(slots=True, kw_only=True)
class DeploymentStatus:
    """One deployment of an application."""

    name: str
    status: DeploymentState
    message: str = ""
    replica_states: dict[str, int] = field(default_factory=dict)
    """How many replicas are in which :class:`ReplicaState` (those that there are)."""
    target_num_replicas: int = 0
    status_trigger: str = ""
    """What led to this status: "CONFIG_UPDATE_STARTED", "AUTOSCALING", ..."""
    replicas: list[ReplicaStatus] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class ApplicationStatus:
    """One application."""

    name: str
    status: ApplicationState
    message: str = ""
    """Why, when it is not RUNNING; of DEPLOY_FAILED, the user's traceback is in it."""
    last_deployed_time_s: float = 0.0
    """When it was deployed: seconds since 1970."""
    route_prefix: str | None = None
    ingress: str = ""
    deployments: dict[str, DeploymentStatus] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class ProxyStatus:
    """One proxy."""

    name: str
    status: str  # "STARTING", "HEALTHY", "UNHEALTHY", "DRAINING"
    node_id: str = ""
    host: str = ""
    port: int = 0
    pid: int | None = None


@dataclass(slots=True, kw_only=True)
class ServeStatus:
    """All that Serve runs in this session."""

    applications: dict[str, ApplicationStatus] = field(default_factory=dict)
    proxies: dict[str, ProxyStatus] = field(default_factory=dict)
    """By name."""
    target_capacity: float | None = None
    controller_pid: int | None = None
    started_at: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """As dictionaries of plain values, for JSON."""
        plain: dict[str, Any] = asdict(self)
        return plain


def overlay(status: ServeStatus, prepared: dict[str, ApplicationStatus]) -> ServeStatus:
    """The controller's status with what else is known: applications of files whose code is imported, or could not be.

    Of an application that runs meanwhile, as it was deployed before, the deployments stay.
    """
    for name, each in prepared.items():
        known = status.applications.get(name)
        if known is None:
            status.applications[name] = replace(each)
        else:
            known.status, known.message = each.status, each.message
            known.last_deployed_time_s = each.last_deployed_time_s
    return status


ApplicationStatusOverview = ApplicationStatus
DeploymentStatusOverview = DeploymentStatus

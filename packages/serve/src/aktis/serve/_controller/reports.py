"""What the controller says of itself: statuses and details, as plain data."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import enum
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from aktis.exceptions import AktisError
from aktis.serve._controller.application_brain import ApplicationBrain
from aktis.serve._controller.deployment_brain import DeploymentBrain
from aktis.serve._controller.proxies import STATS_TIMEOUT_S, Proxies
from aktis.serve._controller.replicas import Phase, Replica
from aktis.serve._controller.runner import within
from aktis.serve._protocol import CONTROLLER_NAME, ApplicationState, DeploymentState, ReplicaID, ReplicaStats
from aktis.serve.config import ApplicationStatus, DeploymentStatus, ReplicaStatus, ServeStatus

_COMPLETED = {"CONFIG_UPDATE_STARTED": "CONFIG_UPDATE_COMPLETED"}


def replica_status(replica: Replica) -> ReplicaStatus:
    """One replica."""
    info = replica.info
    return ReplicaStatus(
        replica_id=str(replica.id),
        state=replica.phase.public,
        pid=info.pid if info is not None else None,
        node_id=(info.node_id if info is not None else replica.node_id) or None,
        actor_id=info.actor_id if info is not None else None,
        actor_name=replica.id.actor_name,
        start_time_s=replica.wall_start or None,
        log_file=info.log_file if info is not None else None,
        message=replica.message,
    )


def deployment_status(brain: DeploymentBrain) -> DeploymentStatus:
    """One deployment."""
    state, message = brain.status()
    return DeploymentStatus(
        name=brain.id.name,
        status=state,
        message=message,
        replica_states=dict(Counter(r.phase.public.value for r in brain.replicas.values())),
        target_num_replicas=0 if brain.deleting else brain.count,
        status_trigger=_COMPLETED.get(brain.trigger, brain.trigger)
        if state is DeploymentState.HEALTHY
        else brain.trigger,
        replicas=[replica_status(r) for r in brain.replicas.values()],
    )


def application_status(name: str, app: ApplicationBrain | None) -> ApplicationStatus:
    """One application; of None, that there is no such."""
    if app is None:
        return ApplicationStatus(
            name=name, status=ApplicationState.NOT_STARTED, message="There is no such application."
        )
    state, message = app.state()
    return ApplicationStatus(
        name=name,
        status=state,
        message=message,
        last_deployed_time_s=app.deployed_at,
        route_prefix=app.spec.route_prefix,
        ingress=app.spec.ingress,
        deployments={brain.id.name: deployment_status(brain) for brain in app.in_order()},
    )


def serve_status(apps: Mapping[str, ApplicationBrain], proxies: Proxies, started_at: float) -> ServeStatus:
    """All."""
    return ServeStatus(
        applications={name: application_status(name, app) for name, app in apps.items()},
        proxies={proxy.name: proxy.public() for proxy in proxies.all.values()},
        controller_pid=os.getpid(),
        started_at=started_at,
    )


async def replica_stats(replicas: Iterable[Replica], handles: Mapping[ReplicaID, Any]) -> dict[ReplicaID, ReplicaStats]:
    """What replicas say of themselves; of those that do not answer soon, nothing."""

    async def ask(id: ReplicaID, handle: Any) -> tuple[ReplicaID, ReplicaStats | None]:
        with contextlib.suppress(AktisError, asyncio.TimeoutError):
            return id, await within(handle.stats.remote(), STATS_TIMEOUT_S)
        return id, None

    asked = [r.id for r in replicas if r.info is not None and r.phase is not Phase.KILLING and r.id in handles]
    answers = await asyncio.gather(*(ask(id, handles[id]) for id in asked))
    return {id: stats for id, stats in answers if stats is not None}


def details(
    apps: Mapping[str, ApplicationBrain],
    proxies: Proxies,
    controller: Mapping[str, Any],
    stats: Mapping[ReplicaID, ReplicaStats],
    proxy_stats: Mapping[str, dict[str, Any]],
) -> dict[str, Any]:
    """Everything, for the page and the REST API: plain data but for ``stats`` (ReplicaStats or None)."""
    return {
        "controller_info": {"actor_name": CONTROLLER_NAME, "pid": os.getpid(), **controller},
        "proxy_location": proxies.http.location.value if proxies.http is not None else None,
        "http_options": plain(proxies.http),
        "grpc_options": plain(proxies.grpc),
        "proxies": {
            proxy.name: {
                **plain(proxy.public()),
                "actor_name": proxy.name,
                "grpc": proxy.grpc,
                "stats": proxy_stats.get(proxy.name, {}),
            }
            for proxy in proxies.all.values()
        },
        "applications": {name: _application(name, app, stats) for name, app in apps.items()},
    }


def _application(name: str, app: ApplicationBrain, stats: Mapping[ReplicaID, ReplicaStats]) -> dict[str, Any]:
    status = application_status(name, app)
    ingress = app.deployments.get(app.spec.ingress)
    docs = next((r.info.docs_path for r in ingress.view() if r.info is not None), None) if ingress else None
    return {
        "name": name,
        "route_prefix": status.route_prefix,
        "docs_path": docs,
        "status": status.status.value,
        "message": status.message,
        "ingress": status.ingress,
        "last_deployed_time_s": status.last_deployed_time_s,
        "deployed_app_config": app.spec.config,
        "source": "declarative" if app.spec.config else "imperative",
        "deployments": {
            each: _deployment(app, brain, status.deployments[each], stats) for each, brain in app.deployments.items()
        },
    }


def _deployment(
    app: ApplicationBrain, brain: DeploymentBrain, status: DeploymentStatus, stats: Mapping[ReplicaID, ReplicaStats]
) -> dict[str, Any]:
    replicas = []
    for replica in brain.replicas.values():
        entry = plain(replica_status(replica))
        entry["log_file_path"] = entry.pop("log_file")
        replicas.append({**entry, "stats": stats.get(replica.id)})
    scaler = app.scalers.get(brain.id.name)
    return {
        "name": brain.id.name,
        "status": status.status.value,
        "message": status.message,
        "status_trigger": status.status_trigger,
        "deployment_config": plain(brain.spec.config),
        "version": brain.spec.version,
        "target_num_replicas": status.target_num_replicas,
        "queued": scaler.queued if scaler is not None else None,
        "replicas": replicas,
    }


def plain(value: Any) -> Any:
    """Dataclasses as dictionaries, enums as their values, what JSON has no word for as text."""
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value) if f.repr}
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    name = getattr(value, "__qualname__", None)
    return f"{value.__module__}:{name}" if name else repr(value)

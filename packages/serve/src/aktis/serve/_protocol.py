"""What controller, proxies, routers and replicas say to each other: names of actors, identities, and the messages.

See docs/internals-serve.md for who sends what to whom. Messages of the request path are small: each is pickled once per
request.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any, NamedTuple

NAMESPACE = "serve"
CONTROLLER_NAME = "SERVE_CONTROLLER"
PROXY_NAME = "SERVE_PROXY"  # followed by "#0", "#1", ...
REPLICA_PREFIX = "SERVE_REPLICA#"

# Topics of the controller's listen(): (ROUTES,) or (REPLICAS, app, deployment).
ROUTES = "routes"
REPLICAS = "replicas"


class DeploymentID(NamedTuple):
    """A deployment of an application. The application of ``deployment.deploy()`` has the deployment's name, and only this one."""

    app: str
    name: str

    def __str__(self) -> str:
        return f"{self.app}#{self.name}" if self.app else self.name


class ReplicaID(NamedTuple):
    """One replica. ``str()`` is its tag, as logs and metrics show it; :meth:`actor_name` is its name as an actor."""

    app: str
    deployment: str
    unique: str  # 8 characters

    def __str__(self) -> str:
        return f"{self.app}#{self.deployment}#{self.unique}" if self.app else f"{self.deployment}#{self.unique}"

    @property
    def actor_name(self) -> str:
        return f"{REPLICA_PREFIX}{self}"


class RequestMeta(NamedTuple):
    """What travels with each request beside its arguments."""

    request_id: str  # of the outermost request: same for all calls made on its behalf; shown to clients and in logs
    call_id: str  # of this very call, for cancellation; "" when nobody will cancel it
    method: str = "__call__"
    app: str = ""  # of the request's ingress
    route: str = ""  # route pattern of the request, for metrics and logs
    model_id: str = ""  # multiplexed model
    idempotent: bool = False  # may be run again when a replica dies while it runs it
    deadline: float = 0.0  # time.time() when nobody waits any more; 0: never
    trace: dict[str, str] | None = None  # carrier of the tracing context (W3C traceparent)

    @property
    def app_name(self) -> str:
        """The application; its name in Ray."""
        return self.app

    @property
    def multiplexed_model_id(self) -> str:
        """The model that was asked for; its name in Ray."""
        return self.model_id


class HTTPRequest(NamedTuple):
    """What a proxy sends of an HTTP request; the replica makes an ASGI scope of it. All strings as ASGI has them."""

    type: str  # "http" or "websocket"
    method: str
    path: str  # whole path, decoded; includes root_path
    raw_path: bytes
    query_string: bytes
    root_path: str  # configured root_path + route prefix ("" for "/")
    headers: list[tuple[bytes, bytes]]
    client: tuple[str, int] | None
    server: tuple[str, int] | None
    scheme: str
    http_version: str
    body: bytes  # the whole body, or its first part
    more_body: bool = False  # the rest comes through Replica.push(call_id, messages)
    subprotocols: tuple[str, ...] = ()
    development: bool = False  # the traceback of an error goes into the reply


class HTTPReply(NamedTuple):
    """What a replica answers to an HTTP request."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    more: bool = False  # the rest comes from Replica.http_rest(call_id), a stream of chunks of bytes


class Rejected(NamedTuple):
    """A replica did not take a request, and did nothing of it: it has enough to do, or is about to leave. Ask another one."""

    ongoing: int
    draining: bool = False


class DeploymentState(str, enum.Enum):
    UPDATING = "UPDATING"  # replicas start, stop, or change
    HEALTHY = "HEALTHY"  # as many replicas as wanted, of the wanted version, all well
    UNHEALTHY = "UNHEALTHY"  # replicas fail their health checks, or cannot be started


class ApplicationState(str, enum.Enum):
    """What an application is doing."""

    NOT_STARTED = "NOT_STARTED"  # no such application (yet)
    DEPLOYING = "DEPLOYING"  # at least one deployment is not healthy yet
    RUNNING = "RUNNING"  # all are healthy
    DEPLOY_FAILED = "DEPLOY_FAILED"  # a deployment could not be started; the message has the user's traceback
    UNHEALTHY = "UNHEALTHY"  # it ran, and a deployment is not healthy any more
    DELETING = "DELETING"  # its replicas drain


class ReplicaState(str, enum.Enum):
    STARTING = "STARTING"  # the actor is created, or its constructor runs
    UPDATING = "UPDATING"  # reconfigure() runs
    RUNNING = "RUNNING"  # takes requests
    STOPPING = "STOPPING"  # not routed to any more; finishes what it has, then is ended


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """What callers know of a replica that takes requests."""

    id: ReplicaID
    actor: Any  # handle of the replica's actor
    max_ongoing: int
    model_ids: tuple[str, ...] = ()  # multiplexed models that it has loaded
    node_id: str = ""


@dataclass(frozen=True, slots=True)
class DeploymentView:
    """What callers know of a deployment: the value of topic (REPLICAS, app, deployment); None when it is deleted."""

    id: DeploymentID
    replicas: tuple[ReplicaView, ...]
    max_queued: int = -1  # requests that may wait at one caller; -1: without limit
    overload: tuple[int, float | None] = (503, None)  # status and Retry-After for further ones
    reports: bool = False  # callers report how many requests wait (it is autoscaled)
    broken: str = ""  # why it has no replicas and will get none by itself: text for the caller's error
    retry_deaths: bool = False


@dataclass(frozen=True, slots=True)
class RouteView:
    """One application in the routing table: the value of topic (ROUTES,) is a tuple of these."""

    prefix: str  # "/", "/app": no slash at the end
    app: str
    deployment: str  # the ingress
    timeout_s: float | None = None  # of a request; None: the proxy's


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentSpec:
    """Everything that the controller needs to run a deployment; made by the driver. ``config`` is a DeploymentConfig."""

    name: str
    config: Any
    callable: bytes  # cloudpickle of the class or function
    init: bytes  # cloudpickle of (args, kwargs); bound deployments are handles in it
    version: str  # of the code: a change rolls the replicas; what else changes is applied in place
    is_ingress: bool = False
    is_asgi: bool = False  # the class was decorated with @serve.ingress
    docs_path: str | None = None
    route_prefix: str | None = None  # of this deployment, where it was given with the decorator


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationSpec:
    """An application: what serve.run() or an entry of a config file deploys."""

    name: str
    route_prefix: str | None  # None: not reachable over HTTP
    ingress: str
    deployments: tuple[DeploymentSpec, ...]
    config: dict[str, Any] | None = None  # of the file it came from; serve.status and `serve config` show it
    runtime_env: dict[str, Any] | None = None


@dataclass(slots=True, kw_only=True)
class ReplicaStats:
    """What Replica.stats() gives."""

    ongoing: int = 0  # requests that run now
    processed: int = 0
    errors: int = 0
    streams: int = 0
    latencies: list[float] = field(default_factory=list)  # seconds: p50, p95, p99 of the last minute
    user: dict[str, Any] = field(default_factory=dict)  # of the user's record_autoscaling_stats()


@dataclass(slots=True, kw_only=True)
class ReplicaInfo:
    """What Replica.start() gives when the user's constructor is done."""

    pid: int
    node_id: str
    actor_id: str
    docs_path: str | None = None
    log_file: str | None = None

"""The models of what comes back: status, and details of what runs. Names are Ray's; imported through ``schema.py``."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from aktis.serve._protocol import ApplicationState, DeploymentState


class _Details(BaseModel):
    model_config = ConfigDict(extra="allow", use_enum_values=True)


class ApplicationStatusInfo(_Details):
    """State of an application, and since when (seconds of the epoch) it is deployed."""

    status: ApplicationState = ApplicationState.NOT_STARTED
    message: str = ""
    deployment_timestamp: float = 0


class DeploymentStatusInfo(_Details):
    """State of a deployment."""

    name: str
    status: DeploymentState
    message: str = ""


class ServeStatusSchema(_Details):
    """Answer of ``GET /api/serve/deployments/status``, about one application."""

    name: str = ""
    app_status: ApplicationStatusInfo = Field(default_factory=ApplicationStatusInfo)
    deployment_statuses: list[DeploymentStatusInfo] = Field(default_factory=list)

    @staticmethod
    def get_empty_schema_dict() -> dict[str, Any]:
        """What REST answers when nothing is deployed."""
        return ServeStatusSchema().model_dump(mode="json", exclude={"name"})


class ServeActorDetails(_Details):
    """Where an actor of Serve is."""

    node_id: str | None = None
    node_ip: str | None = None
    actor_id: str | None = None
    actor_name: str | None = None
    worker_id: str | None = None
    log_file_path: str | None = None


class ReplicaDetails(ServeActorDetails):
    """One replica."""

    replica_id: str
    state: str
    pid: int | None = None
    start_time_s: float = 0


class DeploymentDetails(_Details):
    """A deployment: what is wanted, and what there is."""

    name: str
    status: DeploymentState
    message: str = ""
    deployment_config: dict[str, Any] = Field(default_factory=dict)
    target_num_replicas: int = 0
    replicas: list[ReplicaDetails] = Field(default_factory=list)


class ApplicationDetails(_Details):
    """An application and its deployments by name."""

    name: str
    route_prefix: str | None = None
    docs_path: str | None = None
    status: ApplicationState
    message: str = ""
    last_deployed_time_s: float = 0
    deployed_app_config: dict[str, Any] | None = None
    source: str = "imperative"
    deployments: dict[str, DeploymentDetails] = Field(default_factory=dict)


class ProxyDetails(ServeActorDetails):
    """A proxy."""

    status: str = "HEALTHY"


class ServeInstanceDetails(_Details):
    """Answer of ``GET /api/serve/applications/``."""

    controller_info: ServeActorDetails = Field(default_factory=ServeActorDetails)
    proxy_location: str | None = None
    http_options: dict[str, Any] | None = None
    grpc_options: dict[str, Any] | None = None
    proxies: dict[str, ProxyDetails] = Field(default_factory=dict)
    applications: dict[str, ApplicationDetails] = Field(default_factory=dict)
    target_capacity: float | None = None

    @staticmethod
    def get_empty_schema_dict() -> dict[str, Any]:
        """What REST answers when Serve does not run."""
        return ServeInstanceDetails().model_dump(mode="json")


def serve_status_to_schema(status: Any, name: str = "") -> ServeStatusSchema:
    """The model of one application of a ``ServeStatus`` (see ``serve.status()``); of none when it is not there."""
    application = status.applications.get(name)
    if application is None:
        return ServeStatusSchema(name=name)
    return ServeStatusSchema(
        name=name,
        app_status=ApplicationStatusInfo(
            status=application.status,
            message=application.message,
            deployment_timestamp=getattr(application, "last_deployed_time_s", 0) or 0,
        ),
        deployment_statuses=[
            DeploymentStatusInfo(name=key, status=value.status, message=value.message)
            for key, value in application.deployments.items()
        ],
    )

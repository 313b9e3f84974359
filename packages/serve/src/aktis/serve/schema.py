"""What config files, the REST API and the commands say: models of pydantic, with Ray's names.

::

    ServeApplicationSchema   one application: the file of Ray 2.3, and an entry of "applications"
    ServeDeploySchema        several applications, and the proxies' options
      HTTPOptionsSchema, gRPCOptionsSchema, LoggingConfigSchema
      DeploymentSchema       options of a deployment that override those in code, each wholly (a dict is not merged)
        RayActorOptionsSchema
    ServeStatusSchema, ServeInstanceDetails, ...   what comes back (``_schema_details.py``)

Unknown keys are refused, with the nearest known one. Only what a file states is applied: see ``model_fields_set``.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from aktis.serve import _validate as check

if TYPE_CHECKING:
    from aktis.serve._schema_details import (
        ApplicationDetails,
        ApplicationStatusInfo,
        DeploymentDetails,
        DeploymentStatusInfo,
        ProxyDetails,
        ReplicaDetails,
        ServeActorDetails,
        ServeInstanceDetails,
        ServeStatusSchema,
        serve_status_to_schema,
    )
    from aktis.serve.config import LoggingConfig

__all__ = [
    "ApplicationDetails",
    "ApplicationStatusInfo",
    "DeploymentDetails",
    "DeploymentSchema",
    "DeploymentStatusInfo",
    "HTTPOptionsSchema",
    "LoggingConfig",
    "LoggingConfigSchema",
    "ProxyDetails",
    "RayActorOptionsSchema",
    "ReplicaDetails",
    "ServeActorDetails",
    "ServeApplicationSchema",
    "ServeDeploySchema",
    "ServeInstanceDetails",
    "ServeStatusSchema",
    "explain_validation",
    "gRPCOptionsSchema",
    "serve_status_to_schema",
]

_DETAILS = frozenset(
    {
        "ApplicationDetails", "ApplicationStatusInfo", "DeploymentDetails", "DeploymentStatusInfo", "ProxyDetails",
        "ReplicaDetails", "ServeActorDetails", "ServeInstanceDetails", "ServeStatusSchema", "serve_status_to_schema",
    }
)  # fmt: skip
DEFAULT_HOST = "127.0.0.1"  # Ray: 0.0.0.0. A service is not open to the network unless its file says so
DEFAULT_PORT = 8000
DEFAULT_APPLICATION = "default"
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_WORDS = re.compile(r"[_-]([a-z])")


def __getattr__(name: str) -> Any:
    if name == "LoggingConfig":
        from aktis.serve.config import LoggingConfig

        return LoggingConfig
    if name in _DETAILS:
        from aktis.serve import _schema_details

        return getattr(_schema_details, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Schema(BaseModel):
    """Refuses keys that it does not know, and says which one may have been meant."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, validate_assignment=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        for key in value:
            if key not in cls.model_fields:
                near = difflib.get_close_matches(str(key), cls.model_fields, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(cls.model_fields)}"
                raise ValueError(f"unknown key {key!r}: {hint}")
        return value

    def stated(self) -> dict[str, Any]:
        """What was given, as plain data; defaults are left out."""
        return self.model_dump(mode="json", exclude_unset=True)


class _Shown(str):
    """How a value looks that is more than a number or text: too long for a line."""


def explain_validation(error: ValidationError, where: str = "") -> list[dict[str, Any]]:
    """Each thing that is wrong, as ``{"field": "applications.0.name", "message": ..., "value": ...}``."""
    found = []
    for each in error.errors(include_url=False, include_context=False):
        field = ".".join(str(part) for part in each["loc"] if part not in ("int", "str"))
        value = each.get("input")
        message = each["msg"].removeprefix("Value error, ")
        if each["type"] == "missing":
            message, value = "is missing", None
        found.append(
            {
                "field": ".".join(filter(None, (where, field))),
                "message": message,
                "value": value if isinstance(value, (str, int, float, bool, type(None))) else _Shown(repr(value)[:200]),
            }
        )
    return found


def validation_text(error: ValidationError) -> str:
    """The same in one line per thing that is wrong."""
    lines = []
    for each in explain_validation(error):
        known = isinstance(each["value"], (type(None), _Shown)) or str(each["value"]) in each["message"]
        value = "" if known else f" (got {each['value']!r})"
        lines.append(f"{each['field']}: {each['message']}{value}" if each["field"] else f"{each['message']}")
    return "\n".join(lines)


def check_remote_uris(runtime_env: dict[str, Any], field: str = "runtime_env") -> dict[str, Any]:
    """The environment; ValueError when ``working_dir`` or ``py_modules`` name a local path.

    A file is deployed by whoever runs the service, which may be another machine than the one it was written on.
    """
    given = [("working_dir", runtime_env.get("working_dir"))]
    modules = runtime_env.get("py_modules") or ()
    given += [("py_modules", item) for item in ([modules] if isinstance(modules, str) else modules)]
    for key, value in given:
        if value is not None and not (isinstance(value, str) and _URI.match(value)):
            raise ValueError(
                f"{field}[{key!r}] names the local path {value!r}; a config file needs an URI, such as "
                "https://host/code.zip or file:///absolute/path.zip"
            )
    return runtime_env


def check_import_path(path: str) -> str:
    """``path`` when it looks like ``module:name`` or ``module.name``; ValueError otherwise."""
    text = path.strip()
    if re.search(r"\.py($|:)", text) or "/" in text:
        fixed = re.sub(r"\.py(?=$|:)", "", text).strip("./").replace("/", ".")
        raise ValueError(f"{path!r} is a path of a file; an import path is wanted, such as {fixed!r}")
    if text.count(":") > 1:
        raise ValueError(f"{path!r} has more than one colon; an import path looks like 'module:name'")
    if text.startswith((":", ".")) or text.endswith((":", ".")):
        raise ValueError(
            f"{path!r} begins or ends with {text[0] if text[0] in ':.' else text[-1]!r}: write 'module:name'"
        )
    if ":" not in text and "." not in text:
        raise ValueError(f"{path!r} names a module only; write 'module:name' with the name of the application in it")
    if not all(part.isidentifier() for part in re.split(r"[:.]", text)):
        raise ValueError(f"{path!r} is no import path; it looks like 'module:name'")
    return text


class RayActorOptionsSchema(_Schema):
    """Resources and environment of each replica."""

    runtime_env: dict[str, Any] = Field(default_factory=dict)
    num_cpus: float | None = Field(default=None, ge=0)
    num_gpus: float | None = Field(default=None, ge=0)
    memory: float | None = Field(default=None, ge=0)
    object_store_memory: float | None = Field(default=None, ge=0)
    resources: dict[str, float] = Field(default_factory=dict)
    accelerator_type: str | None = None
    label_selector: dict[str, str] | None = None
    fallback_strategy: list[dict[str, Any]] | None = None

    @field_validator("runtime_env")
    @classmethod
    def runtime_env_contains_remote_uris(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        return value if (info.context or {}).get("local") else check_remote_uris(value)


class LoggingConfigSchema(_Schema):
    """How replicas and proxies log."""

    encoding: Literal["TEXT", "JSON"] = "TEXT"
    log_level: int | str = "INFO"
    logs_dir: str | None = None
    enable_access_log: bool = True
    additional_log_standard_attrs: list[str] = Field(default_factory=list)

    @field_validator("log_level")
    @classmethod
    def _level(cls, value: int | str) -> int | str:
        import logging

        name = value.upper() if isinstance(value, str) else value
        if isinstance(name, str) and not isinstance(logging.getLevelName(name), int):
            raise ValueError(f"{value!r} is no level: one of DEBUG, INFO, WARNING, ERROR, CRITICAL")
        return name


class BackpressureConfigSchema(_Schema):
    """What clients over HTTP are told when ``max_queued_requests`` wait already."""

    status_code: Literal[503, 429] = 503
    retry_after_s: float | None = Field(default=None, ge=0)


class DeploymentSchema(_Schema):
    """Options of a deployment that override those of its decorator. What is not stated stays as it is in code."""

    name: str
    num_replicas: int | str | None = None
    route_prefix: str | None = None
    max_concurrent_queries: int | None = Field(default=None, gt=0)
    max_ongoing_requests: int | None = Field(default=None, gt=0)
    max_queued_requests: int | None = Field(default=None, ge=-1)
    backpressure_config: BackpressureConfigSchema | None = None
    user_config: Any = None
    autoscaling_config: dict[str, Any] | None = None
    graceful_shutdown_wait_loop_s: float | None = Field(default=None, ge=0)
    graceful_shutdown_timeout_s: float | None = Field(default=None, ge=0)
    health_check_period_s: float | None = Field(default=None, gt=0)
    health_check_timeout_s: float | None = Field(default=None, gt=0)
    ray_actor_options: RayActorOptionsSchema | None = None
    placement_group_bundles: list[dict[str, float]] | None = None
    placement_group_strategy: str | None = None
    max_replicas_per_node: int | None = Field(default=None, gt=0)
    logging_config: LoggingConfigSchema | None = None
    request_timeout_s: float | None = Field(default=None, gt=0)
    rolling_update_percentage: float | None = Field(default=None, gt=0, le=1)
    max_constructor_retry_count: int | None = Field(default=None, gt=0)
    retry_deaths: bool | None = None
    is_driver_deployment: bool | None = None

    @field_validator("num_replicas")
    @classmethod
    def _positive(cls, value: Any) -> Any:
        if isinstance(value, str) and value != "auto":
            raise ValueError(f"num_replicas must be a number or 'auto', and it is {value!r}")
        if isinstance(value, int) and value < 1:
            raise ValueError(
                f"num_replicas must be at least 1, and it is {value}; to scale to zero, give an autoscaling_config "
                "with min_replicas: 0"
            )
        return value

    @field_validator("route_prefix")
    @classmethod
    def route_prefix_format(cls, value: str | None) -> str | None:
        return check.route_prefix(value)

    @field_validator("autoscaling_config")
    @classmethod
    def _autoscaling(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is not None:
            from aktis.serve.config import AutoscalingConfig

            try:
                check.parse(AutoscalingConfig, value, "autoscaling_config")
            except TypeError as error:
                raise ValueError(str(error)) from None
        return value

    @model_validator(mode="after")
    def num_replicas_and_autoscaling_config_mutually_exclusive(self) -> DeploymentSchema:
        if self.autoscaling_config is not None and isinstance(self.num_replicas, int):
            raise ValueError("num_replicas and autoscaling_config exclude each other: give one of them")
        if self.max_concurrent_queries is not None and self.max_ongoing_requests is not None:
            raise ValueError("max_concurrent_queries is the older name of max_ongoing_requests: give one of them")
        return self

    def get_user_configured_option_names(self) -> set[str]:
        """The options that were stated."""
        return set(self.model_fields_set) - {"name"}


class ServeApplicationSchema(_Schema):
    """An application: where its code is, and what overrides it. As a whole file: that of Ray 2.3, with host and port."""

    name: str = ""
    route_prefix: str | None = "/"
    import_path: str
    runtime_env: dict[str, Any] = Field(default_factory=dict)
    host: str = DEFAULT_HOST
    port: int = Field(default=DEFAULT_PORT, ge=0, le=65535)
    args: dict[str, Any] = Field(default_factory=dict)
    logging_config: LoggingConfigSchema | None = None
    deployments: list[DeploymentSchema] = Field(default_factory=list)

    @field_validator("runtime_env")
    @classmethod
    def runtime_env_contains_remote_uris(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        return value if (info.context or {}).get("local") else check_remote_uris(value)

    @field_validator("import_path")
    @classmethod
    def import_path_format_valid(cls, value: str) -> str:
        return check_import_path(value)

    @field_validator("route_prefix")
    @classmethod
    def _route_prefix(cls, value: str | None) -> str | None:
        return check.route_prefix(value)

    @model_validator(mode="after")
    def _deployments_unique(self) -> ServeApplicationSchema:
        _unique("deployments are called", [item.name for item in self.deployments])
        return self

    @property
    def deployment_names(self) -> list[str]:
        """Names of the deployments that the file configures."""
        return [item.name for item in self.deployments]

    @staticmethod
    def get_empty_schema_dict() -> dict[str, Any]:
        """What REST answers when nothing is deployed by a file."""
        return {"import_path": "", "runtime_env": {}, "deployments": []}

    def kubernetes_dict(self, **kwargs: Any) -> dict[str, Any]:
        """The same with keys in camelCase; what Kubernetes must not look into (environments, user configs) as JSON text."""
        import json

        config = self.model_dump(mode="json", **kwargs)
        for deployment in config.get("deployments", ()):
            if "user_config" in deployment:
                deployment["user_config"] = json.dumps(deployment["user_config"])
            options = deployment.get("ray_actor_options") or {}
            for key in ("runtime_env", "resources"):
                if key in options:
                    options[key] = json.dumps(options[key])
            if options:
                deployment["ray_actor_options"] = _camel(options)
        config["deployments"] = [_camel(item) for item in config.get("deployments", ())]
        for key in ("runtime_env", "args"):
            if key in config:
                config[key] = json.dumps(config[key])
        return _camel(config)


class HTTPOptionsSchema(_Schema):
    """Options of the HTTP proxies."""

    host: str = DEFAULT_HOST
    port: int = Field(default=DEFAULT_PORT, ge=0, le=65535)
    root_path: str = ""
    root_url: str = ""
    request_timeout_s: float | None = Field(default=None, gt=0)
    keep_alive_timeout_s: float = Field(default=5, ge=0)
    num_proxies: int = Field(default=1, ge=1)
    num_cpus: float = Field(default=0, ge=0)
    max_body_bytes: int | None = Field(default=1 << 30, gt=0)
    max_header_bytes: int = Field(default=64 * 1024, gt=0)
    header_timeout_s: float = Field(default=30, gt=0)
    body_timeout_s: float = Field(default=60, gt=0)
    write_timeout_s: float = Field(default=60, gt=0)
    max_connections: int | None = Field(default=None, gt=0)
    drain_timeout_s: float = Field(default=10, ge=0)
    websocket_max_bytes: int = Field(default=16 * 1024 * 1024, gt=0)
    development: bool = False
    access_log: bool = True
    access_log_format: Literal["TEXT", "JSON"] = "TEXT"
    metrics: bool = True
    status_page: bool = True
    proxy_headers: bool = False
    trusted_proxies: list[str] = Field(default_factory=lambda: ["127.0.0.1", "::1"])
    ssl_keyfile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile_password: str | None = None
    ssl_ca_certs: str | None = None

    @model_validator(mode="after")
    def _both_of_tls(self) -> HTTPOptionsSchema:
        if (self.ssl_keyfile is None) != (self.ssl_certfile is None):
            raise ValueError("ssl_keyfile and ssl_certfile belong together: give both or neither")
        return self


class gRPCOptionsSchema(_Schema):
    """Options of the gRPC proxy. Without servicer functions there is none."""

    host: str = DEFAULT_HOST
    port: int = Field(default=9000, ge=0, le=65535)
    grpc_servicer_functions: list[str] = Field(default_factory=list)
    request_timeout_s: float | None = Field(default=None, gt=0)
    enabled: bool = False
    enable_reflection: bool = True
    max_message_bytes: int = Field(default=64 * 1024 * 1024, gt=0)
    ssl_keyfile: str | None = None
    ssl_certfile: str | None = None
    ssl_ca_certs: str | None = None

    @field_validator("grpc_servicer_functions")
    @classmethod
    def _import_paths(cls, value: list[str]) -> list[str]:
        return [check_import_path(item) for item in value]


class ServeDeploySchema(_Schema):
    """A file of several applications. What it does not name is deleted when it is deployed."""

    proxy_location: Literal["Disabled", "HeadOnly", "EveryNode"] = "EveryNode"
    http_options: HTTPOptionsSchema = Field(default_factory=lambda: HTTPOptionsSchema())
    grpc_options: gRPCOptionsSchema = Field(default_factory=lambda: gRPCOptionsSchema())
    logging_config: LoggingConfigSchema | None = None
    applications: list[ServeApplicationSchema]

    @field_validator("applications")
    @classmethod
    def _names_and_routes(cls, value: list[ServeApplicationSchema]) -> list[ServeApplicationSchema]:
        for index, item in enumerate(value):
            if not item.name:
                if "name" in item.model_fields_set:
                    raise ValueError(f"application {index} ({item.import_path}) has an empty name: each needs its own")
                item.name = DEFAULT_APPLICATION
            for key in ("host", "port"):
                if key in item.model_fields_set:
                    raise ValueError(
                        f"application {item.name!r} states {key!r}: that belongs to http_options of the file"
                    )
        _unique("applications are called", [item.name for item in value])
        _unique("applications have the route_prefix", [item.route_prefix for item in value if item.route_prefix])
        return value

    @staticmethod
    def get_empty_schema_dict() -> dict[str, Any]:
        """What REST answers when nothing is deployed."""
        return {"applications": []}


def parse_config(data: Any, *, local: bool = False) -> ServeApplicationSchema | ServeDeploySchema:
    """A file's content, as one or the other model. ``local``: it may name directories of this machine.

    Raises ValueError, and pydantic's ValidationError (which is one): see :func:`validation_text`.
    """
    if not isinstance(data, dict):
        raise ValueError(f"a config is a mapping with 'import_path' or 'applications', got {type(data).__name__}")
    if "applications" in data:
        return ServeDeploySchema.model_validate(data, context={"local": local})
    return ServeApplicationSchema.model_validate(data, context={"local": local})


def as_deploy_schema(config: ServeApplicationSchema | ServeDeploySchema) -> ServeDeploySchema:
    """The same, always in the form of several applications. That of a file of Ray 2.3 is "default", if it has no name."""
    if isinstance(config, ServeDeploySchema):
        return config
    http = {key: getattr(config, key) for key in ("host", "port") if key in config.model_fields_set}
    application = config.model_copy(update={} if config.name else {"name": DEFAULT_APPLICATION})
    application.__pydantic_fields_set__ = {*config.model_fields_set, "name"} - {"host", "port"}
    return ServeDeploySchema.model_construct(
        _fields_set={"applications", *(["http_options"] if http else [])},
        http_options=HTTPOptionsSchema(**http),
        grpc_options=gRPCOptionsSchema(),
        proxy_location="EveryNode",
        logging_config=None,
        applications=[application],
    )


def _unique(what: str, values: list[str]) -> None:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise ValueError(f"{Counter(values)[twice[0]]} {what} {twice[0]!r}: each needs its own")


def _camel(data: dict[str, Any]) -> dict[str, Any]:
    return {_WORDS.sub(lambda found: found.group(1).upper(), key): value for key, value in data.items()}

"""What can be configured: of deployments, autoscaling, HTTP, gRPC and logs.

Frozen, keyword-only, checked when made. Older and newer names of one option are both taken (``max_concurrent_queries``
is ``max_ongoing_requests``). All times are in seconds.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from aktis.serve import _validate as check
from aktis.serve._status import (
    ApplicationStatus,
    ApplicationStatusOverview,
    DeploymentStatus,
    DeploymentStatusOverview,
    ProxyStatus,
    ReplicaStatus,
    ServeStatus,
)

DEFAULT_HTTP_HOST = "127.0.0.1"
DEFAULT_HTTP_PORT = 8000
DEFAULT_GRPC_PORT = 9000
DEFAULT_MAX_ONGOING_REQUESTS = 100
AUTO_MAX_REPLICAS = 100  # of num_replicas="auto", with AUTO_TARGET requests for each replica (as in Ray)
AUTO_TARGET = 2.0


def _set(config: Any, **values: Any) -> None:
    for name, value in values.items():
        object.__setattr__(config, name, value)


# Scaling -------------------------------------------------------------------------------------------------------------


@check.aliases(target_num_ongoing_requests_per_replica="target_ongoing_requests")
@dataclass(frozen=True, kw_only=True)
class AutoscalingConfig:
    """How the number of replicas follows the load."""

    min_replicas: int = 1
    """0: scales to zero when there are no requests; the first request then waits until a replica has started."""
    initial_replicas: int | None = None
    """How many to start with; None: ``min_replicas``."""
    max_replicas: int = 1
    target_ongoing_requests: float = 1.0
    """Requests, running and waiting, that there should be for each replica."""
    metrics_interval_s: float = 10.0
    """How often the load is measured."""
    look_back_period_s: float = 30.0
    """Over how long it is averaged."""
    smoothing_factor: float = 1.0
    """Of how far the number goes at once to where it should be; also of ``upscaling_factor`` and
    ``downscaling_factor`` where they are not given."""
    upscale_smoothing_factor: float | None = None
    downscale_smoothing_factor: float | None = None
    upscaling_factor: float | None = None
    downscaling_factor: float | None = None
    upscale_delay_s: float = 30.0
    """How long the load must ask for more replicas before there are more."""
    downscale_delay_s: float = 600.0
    downscale_to_zero_delay_s: float | None = None
    """Of the step from one replica to none; None: ``downscale_delay_s``."""
    aggregation_function: str = "mean"
    """Of the load over ``look_back_period_s``: "mean", "max" or "min"."""
    policy: Callable[..., Any] | str | None = None
    """Decides in place of the built-in rule: a function, or where to import it from (``"module:function"``)."""
    policy_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_counts()
        _set(
            self,
            target_ongoing_requests=check.number("target_ongoing_requests", self.target_ongoing_requests, above=True),
        )
        for name in ("metrics_interval_s", "look_back_period_s", "smoothing_factor"):
            _set(self, **{name: check.number(name, getattr(self, name), above=True)})
        for name in (
            "upscale_smoothing_factor",
            "downscale_smoothing_factor",
            "upscaling_factor",
            "downscaling_factor",
        ):
            if getattr(self, name) is not None:
                _set(self, **{name: check.number(name, getattr(self, name), above=True)})
        for name in ("upscale_delay_s", "downscale_delay_s"):
            _set(self, **{name: check.number(name, getattr(self, name))})
        if self.downscale_to_zero_delay_s is not None:
            _set(
                self,
                downscale_to_zero_delay_s=check.number("downscale_to_zero_delay_s", self.downscale_to_zero_delay_s),
            )
        function = getattr(self.aggregation_function, "value", self.aggregation_function)
        _set(self, aggregation_function=check.one_of("aggregation_function", function, ("mean", "max", "min")))
        self._check_policy()

    def _check_counts(self) -> None:
        check.integer("min_replicas", self.min_replicas, 0)
        check.integer("max_replicas", self.max_replicas, 1)
        if self.max_replicas < self.min_replicas:
            raise ValueError(
                f"max_replicas must be at least min_replicas, and they are {self.max_replicas} and {self.min_replicas}."
            )
        if self.initial_replicas is not None:
            check.integer("initial_replicas", self.initial_replicas, 0)
            if not self.min_replicas <= self.initial_replicas <= self.max_replicas:
                raise ValueError(
                    f"initial_replicas must be between min_replicas ({self.min_replicas}) and max_replicas "
                    f"({self.max_replicas}), and it is {self.initial_replicas}."
                )

    def _check_policy(self) -> None:
        policy = self.policy
        if isinstance(policy, Mapping):  # newer spelling: {"policy_function": ..., "policy_kwargs": {...}}
            policy = dict(policy)
            _set(self, policy_kwargs=dict(policy.pop("policy_kwargs", None) or self.policy_kwargs))
            function = policy.pop("policy_function", policy.pop("name", None))
            if policy:
                raise check.unknown_key("policy", next(iter(policy)), ("policy_function", "policy_kwargs"))
            _set(self, policy=function)
        policy = self.policy
        if isinstance(policy, str) and not (":" in policy or "." in policy):
            raise ValueError(f'policy must be a function or "module:function", and it is {policy!r}.')
        if policy is not None and not isinstance(policy, str) and not callable(policy):
            raise TypeError(f'policy must be a function or "module:function", and it is {policy!r}.')

    @property
    def start_replicas(self) -> int:
        """How many replicas to start with."""
        return self.min_replicas if self.initial_replicas is None else self.initial_replicas

    @property
    def up_factor(self) -> float:
        """The factor of scaling up, whichever of its names was used."""
        return self.upscaling_factor or self.upscale_smoothing_factor or self.smoothing_factor

    @property
    def down_factor(self) -> float:
        """The factor of scaling down, whichever of its names was used."""
        return self.downscaling_factor or self.downscale_smoothing_factor or self.smoothing_factor

    def load_policy(self) -> Callable[..., Any] | None:
        """The function of ``policy``, imported if need be; None: the built-in rule."""
        if self.policy is None or not isinstance(self.policy, str):
            return self.policy
        import importlib

        module, _, name = self.policy.partition(":") if ":" in self.policy else self.policy.rpartition(".")
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        if not callable(found):
            raise TypeError(f"policy {self.policy!r} is not a function: {found!r}.")
        return found  # type: ignore[no-any-return]

    @classmethod
    def auto(cls, given: Any = None) -> AutoscalingConfig:
        """What ``num_replicas="auto"`` means: 1 to 100 replicas, 2 requests for each; ``given`` goes before."""
        if isinstance(given, cls):
            return given
        options = {"max_replicas": AUTO_MAX_REPLICAS, "target_ongoing_requests": AUTO_TARGET}
        return cls(**{**options, **check.modern(cls, given or {})})


# Logs ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class LoggingConfig:
    """How proxies, replicas and the controller write their logs."""

    encoding: str = "TEXT"
    """"TEXT" or "JSON"."""
    log_level: int | str = "INFO"
    logs_dir: str | None = None
    """None: in the session's folder."""
    enable_access_log: bool = True
    additional_log_standard_attrs: Sequence[str] = ()
    """Further attributes of ``logging.LogRecord`` in each JSON line, such as "process"."""

    def __post_init__(self) -> None:
        encoding = getattr(self.encoding, "value", self.encoding)
        _set(self, encoding=check.one_of("encoding", str(encoding).upper(), ("TEXT", "JSON")))
        level = self.log_level
        if isinstance(level, int) and not isinstance(level, bool):
            check.integer("log_level", level, 0)
        else:
            levels = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG", "NOTSET")
            name = {"WARN": "WARNING", "FATAL": "CRITICAL"}.get(str(level).upper(), str(level).upper())
            _set(self, log_level=check.one_of("log_level", name, levels))
        if not isinstance(self.enable_access_log, bool):
            raise TypeError(f"enable_access_log must be True or False, and it is {self.enable_access_log!r}.")
        _set(self, additional_log_standard_attrs=tuple(dict.fromkeys(self.additional_log_standard_attrs)))

    @property
    def level(self) -> int:
        """``log_level`` as a number of the logging module."""
        import logging

        return self.log_level if isinstance(self.log_level, int) else int(getattr(logging, self.log_level))


# Deployments ---------------------------------------------------------------------------------------------------------

# What a replica's actor can be given.
ACTOR_OPTIONS = frozenset(
    {
        "accelerator_type",
        "label_selector",
        "memory",
        "num_cpus",
        "num_gpus",
        "object_store_memory",
        "resources",
        "runtime_env",
        "scheduling_strategy",
    }
)


@dataclass(frozen=True, kw_only=True)
class BackpressureConfig:
    """What clients over HTTP are told when ``max_queued_requests`` wait already."""

    status_code: int = 503
    """503 (Service Unavailable) or 429 (Too Many Requests)."""
    retry_after_s: float | None = None
    """Seconds in the header ``Retry-After``, rounded up; None: 1."""

    def __post_init__(self) -> None:
        if self.status_code not in (503, 429) or isinstance(self.status_code, float):
            raise ValueError(f"status_code of backpressure_config must be 503 or 429, and it is {self.status_code!r}.")
        if self.retry_after_s is not None:
            _set(self, retry_after_s=check.number("retry_after_s", self.retry_after_s))


@check.aliases(max_concurrent_queries="max_ongoing_requests", is_driver_deployment="is_driver")
@dataclass(frozen=True, kw_only=True)
class DeploymentConfig:
    """How a deployment runs. The options of ``@serve.deployment`` that are not its name, route or code."""

    num_replicas: int | str | None = 1
    """A number of at least 1; always an integer afterwards. "auto": autoscaled between 1 and 100. With
    ``autoscaling_config`` it is the number to start with, and cannot be chosen."""
    max_ongoing_requests: int = DEFAULT_MAX_ONGOING_REQUESTS
    """Requests that one replica works on at the same time. Strict, over all callers."""
    max_queued_requests: int = -1
    """Requests that may wait at one caller (proxy, driver or replica); further ones fail at once (HTTP: 503). -1: any."""
    backpressure_config: BackpressureConfig | None = None
    """Another status than 503 for these, and another ``Retry-After``."""
    user_config: Any = None
    """Given to ``reconfigure(user_config)`` of the class, at start and whenever it changes, without a restart."""
    autoscaling_config: AutoscalingConfig | None = None
    graceful_shutdown_wait_loop_s: float = 2.0
    """How often a replica that leaves looks whether its requests are done."""
    graceful_shutdown_timeout_s: float = 20.0
    """How long it may take; then it is ended with what it runs."""
    health_check_period_s: float = 10.0
    health_check_timeout_s: float = 30.0
    ray_actor_options: Mapping[str, Any] = field(default_factory=dict)
    """Resources and runtime_env of each replica: see ``ACTOR_OPTIONS``. Nothing is reserved that is not named."""
    placement_group_bundles: Sequence[Mapping[str, float]] | None = None
    """Resources of a placement group for each replica; the replica's actor runs in the first bundle."""
    placement_group_strategy: str = "PACK"
    max_replicas_per_node: int | None = None
    logging_config: LoggingConfig | None = None
    request_timeout_s: float | None = None
    """Of requests over HTTP to this deployment as ingress; None: the proxy's."""
    rolling_update_percentage: float = 0.2
    """How many replicas (at least 1) an update may replace at the same time."""
    max_constructor_retry_count: int | None = None
    """How many replicas may fail to start before the deployment counts as failed; None: 3 for each, at most 100."""
    retry_deaths: bool = False
    """Whether a call that a replica had begun when it died is run again by another one, as if it were idempotent."""
    is_driver: bool = False
    """One replica on each node, next to the proxies (gRPC drivers)."""

    def __post_init__(self) -> None:
        self._check_scaling()
        check.integer("max_ongoing_requests", self.max_ongoing_requests, 1)
        check.integer("max_queued_requests", self.max_queued_requests, 0, also=-1)
        if self.backpressure_config is not None:
            given = check.parse(BackpressureConfig, self.backpressure_config, "backpressure_config")
            _set(self, backpressure_config=given)
        for name in ("graceful_shutdown_wait_loop_s", "graceful_shutdown_timeout_s"):
            _set(self, **{name: check.number(name, getattr(self, name))})
        for name in ("health_check_period_s", "health_check_timeout_s"):
            _set(self, **{name: check.number(name, getattr(self, name), above=True)})
        if self.request_timeout_s is not None:
            _set(self, request_timeout_s=check.number("request_timeout_s", self.request_timeout_s, above=True))
        percentage = check.number("rolling_update_percentage", self.rolling_update_percentage, above=True, most=1.0)
        _set(self, rolling_update_percentage=percentage)
        if self.max_constructor_retry_count is not None:
            check.integer("max_constructor_retry_count", self.max_constructor_retry_count, 1)
        if self.max_replicas_per_node is not None:
            check.integer("max_replicas_per_node", self.max_replicas_per_node, 1)
        if self.logging_config is not None:
            _set(self, logging_config=check.parse(LoggingConfig, self.logging_config, "logging_config"))
        _set(self, is_driver=bool(self.is_driver))
        self._check_resources()

    def _check_scaling(self) -> None:
        given = self.autoscaling_config
        if self.num_replicas == "auto":
            _set(self, autoscaling_config=AutoscalingConfig.auto(given))
        elif isinstance(self.num_replicas, str):
            raise ValueError(f'num_replicas must be a number or "auto", and it is {self.num_replicas!r}.')
        elif given is not None:
            _set(self, autoscaling_config=check.parse(AutoscalingConfig, given, "autoscaling_config"))
        scaling = self.autoscaling_config
        if scaling is not None:
            _set(self, num_replicas=scaling.start_replicas)
        elif self.num_replicas is None:
            _set(self, num_replicas=1)
        else:
            _set(self, num_replicas=check.integer("num_replicas", self.num_replicas, 1))

    def _check_resources(self) -> None:
        options = self.ray_actor_options or {}
        if not isinstance(options, Mapping):
            raise TypeError(f"ray_actor_options must be a dictionary, and it is {options!r}.")
        for key in options:
            if key not in ACTOR_OPTIONS:
                raise check.unknown_key("ray_actor_options", str(key), ACTOR_OPTIONS)
        for key in ("num_cpus", "num_gpus", "memory", "object_store_memory"):
            if options.get(key) is not None:
                check.number(key, options[key])
        _set(self, ray_actor_options=dict(options))
        strategies = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")
        check.one_of("placement_group_strategy", self.placement_group_strategy, strategies)
        if self.placement_group_bundles is not None:
            bundles = [dict(bundle) for bundle in self.placement_group_bundles]
            if not bundles or not all(bundles):
                raise ValueError(f"placement_group_bundles must be non-empty dictionaries, and is {bundles!r}.")
            _set(self, placement_group_bundles=bundles)
            if self.max_replicas_per_node is not None:
                raise ValueError("max_replicas_per_node cannot be given together with placement_group_bundles.")

    @property
    def replicas(self) -> int:
        """``num_replicas``, for type checkers: always an integer once the configuration is made."""
        return int(self.num_replicas or 0)

    @classmethod
    def of(cls, **options: Any) -> DeploymentConfig:
        """A configuration of what a user gave: names old or new. ``num_replicas`` together with ``autoscaling_config``
        is an error here (unless it is "auto" or None)."""
        return cls().changed(**options)

    def changed(self, **options: Any) -> DeploymentConfig:
        """This configuration with other ``options``, as a user gave them."""
        modern = check.modern(type(self), options)
        wanted, scaling = modern.get("num_replicas"), modern.get("autoscaling_config")
        if wanted not in (None, "auto") and scaling is not None:
            raise ValueError(
                f"num_replicas ({wanted!r}) and autoscaling_config cannot both be given: autoscaling decides how many "
                'replicas there are. Leave one out, or write num_replicas="auto".'
            )
        if wanted is not None and scaling is None:
            modern["autoscaling_config"] = None  # a number switches autoscaling off
        elif scaling is not None and wanted is None:
            modern["num_replicas"] = None
        return replace(self, **modern)


# Doors ---------------------------------------------------------------------------------------------------------------


class ProxyLocation(str, enum.Enum):
    """On which nodes there are proxies."""

    HeadOnly = "HeadOnly"  # one, on the head node
    EveryNode = "EveryNode"  # one on each node
    FixedNumber = "FixedNumber"  # as many as fixed_number_replicas
    NoServer = "NoServer"  # none: only handles
    Disabled = "Disabled"  # newer name of NoServer

    @classmethod
    def parse(cls, value: Any) -> ProxyLocation:
        """The location of this name, in any case; None is NoServer."""
        if value is None:
            return cls.NoServer
        wanted = str(getattr(value, "value", value))
        for each in cls:
            if each.value.lower() == wanted.lower():
                return cls.NoServer if each is cls.Disabled else each
        raise ValueError(f"location must be one of {', '.join(repr(each.value) for each in cls)}, and it is {value!r}.")


DeploymentMode = ProxyLocation


@dataclass(frozen=True, kw_only=True)
class HTTPOptions:
    """How HTTP is served."""

    host: str = DEFAULT_HTTP_HOST
    """Where to listen. "0.0.0.0" for all networks: then anybody who reaches the machine can send requests."""
    port: int = DEFAULT_HTTP_PORT
    """0: any that is free."""
    root_path: str = ""
    """What a proxy in front takes from the paths: ASGI's root_path begins with it."""
    root_url: str = ""
    """Where clients find this, as ``Deployment.url`` shows it; "": made of host and port."""
    middlewares: Sequence[Any] = ()
    """ASGI middlewares around all requests, such as ``starlette.middleware.Middleware(cls, ...)``."""
    location: ProxyLocation = ProxyLocation.HeadOnly
    num_proxies: int = 1
    """How many processes accept connections on one node and share the port."""
    num_cpus: float = 0
    """What a proxy reserves."""
    fixed_number_replicas: int | None = None
    fixed_number_selection_seed: int = 0
    request_timeout_s: float | None = None
    """How long a request may take; then it is cancelled and the client gets 408. None: as long as it likes."""
    keep_alive_timeout_s: float = 5.0
    """How long a connection without requests stays open."""
    max_body_bytes: int | None = 1 << 30
    """Of a request; larger ones get 413. None: any."""
    max_header_bytes: int = 64 * 1024
    header_timeout_s: float = 30.0
    """How long a client may take to send the headers of a request."""
    body_timeout_s: float = 60.0
    """How long a client may pause while it sends a body."""
    write_timeout_s: float = 60.0
    """How long a client may pause while it takes a reply."""
    max_connections: int | None = None
    """At the same time, in one proxy; further ones get 503. None: any."""
    drain_timeout_s: float = 10.0
    """How long a proxy that ends waits for the requests that it has."""
    ssl_keyfile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile_password: str | None = field(default=None, repr=False)
    ssl_ca_certs: str | None = None
    """Certificates of who may connect: clients must have one."""
    development: bool = False
    """Clients get the traceback of errors. For development only: it shows code and data."""
    access_log: bool = True
    """Whether each request gets a line in ``logs/serve/access_<proxy>.log`` of the session's folder."""
    access_log_format: str = "TEXT"
    """"TEXT" or "JSON"."""
    metrics: bool = True
    """Whether Prometheus finds the session's metrics at ``/-/metrics``."""
    status_page: bool = True
    """Whether there is a page at ``/-/aktis``."""
    proxy_headers: bool = False
    """Whether to believe X-Forwarded-For and X-Forwarded-Proto: only behind a proxy that sets them."""
    trusted_proxies: Sequence[str] = ("127.0.0.1", "::1")
    """Whom to believe with ``proxy_headers``: addresses, networks such as "10.0.0.0/8", or "*" for everybody."""
    websocket_max_bytes: int = 16 * 1024 * 1024
    """Of one message."""

    def __post_init__(self) -> None:
        _set(self, host=check.text("host", DEFAULT_HTTP_HOST if self.host is None else self.host))
        check.integer("port", self.port, 0)
        if self.port > 65535:
            raise ValueError(f"port must be at most 65535, and it is {self.port}.")
        _set(self, location=ProxyLocation.parse(self.location), middlewares=tuple(self.middlewares or ()))
        root_path = check.text("root_path", self.root_path or "", empty=True)
        if root_path and not root_path.startswith("/"):
            raise ValueError(f"root_path must start with '/', and it is {root_path!r}.")
        _set(self, root_path=root_path.rstrip("/"), root_url=(self.root_url or "").rstrip("/"))
        check.integer("num_proxies", self.num_proxies, 1)
        check.number("num_cpus", self.num_cpus)
        if self.location is ProxyLocation.FixedNumber and self.fixed_number_replicas is None:
            raise ValueError("location='FixedNumber' needs fixed_number_replicas.")
        for name in ("fixed_number_replicas", "max_connections", "max_body_bytes"):
            if getattr(self, name) is not None:
                check.integer(name, getattr(self, name), 1)
        for name in ("max_header_bytes", "websocket_max_bytes"):
            check.integer(name, getattr(self, name), 1)
        if self.request_timeout_s is not None:
            _set(self, request_timeout_s=check.number("request_timeout_s", self.request_timeout_s, above=True))
        for name in ("keep_alive_timeout_s", "drain_timeout_s"):
            _set(self, **{name: check.number(name, getattr(self, name))})
        encoding = check.one_of("access_log_format", str(self.access_log_format).upper(), ("TEXT", "JSON"))
        _set(self, access_log_format=encoding, trusted_proxies=_networks(self.trusted_proxies))
        for name in ("header_timeout_s", "body_timeout_s", "write_timeout_s"):
            _set(self, **{name: check.number(name, getattr(self, name), above=True)})
        check_tls(self)

    @property
    def enabled(self) -> bool:
        """Whether there are proxies at all."""
        return self.location is not ProxyLocation.NoServer


def _networks(given: Any) -> tuple[str, ...]:
    """Addresses and networks, checked."""
    import ipaddress

    found = (given,) if isinstance(given, str) else tuple(given or ())
    for each in found:
        if each != "*":
            try:
                ipaddress.ip_network(each, strict=False)
            except ValueError:
                raise ValueError(
                    f"trusted_proxies must be addresses, networks or '*', and one of them is {each!r}."
                ) from None
    return found


def check_tls(options: Any) -> None:
    """Checks the ssl_ files of options: both or none of key and certificate, and they exist."""
    key, certificate = options.ssl_keyfile, options.ssl_certfile
    if bool(key) != bool(certificate):
        raise ValueError("ssl_keyfile and ssl_certfile must be given together.")
    if options.ssl_ca_certs and not certificate:
        raise ValueError("ssl_ca_certs needs ssl_keyfile and ssl_certfile.")
    for name in ("ssl_keyfile", "ssl_certfile", "ssl_ca_certs"):
        path = getattr(options, name)
        if path and not os.path.isfile(path):
            raise ValueError(f"{name} {path!r} is not a file.")


@dataclass(frozen=True, kw_only=True)
class gRPCOptions:
    """How gRPC is served. It is when there is at least one function in ``grpc_servicer_functions``, or ``enabled``."""

    host: str = DEFAULT_HTTP_HOST
    port: int = DEFAULT_GRPC_PORT
    """0: any that is free."""
    grpc_servicer_functions: Sequence[Any] = ()
    """The ``add_...Servicer_to_server`` functions that grpcio generates, or where to import them from."""
    request_timeout_s: float | None = None
    enabled: bool = False
    """Serves health and reflection although there is no function."""
    reflection: bool = True
    max_message_bytes: int = 64 * 1024 * 1024
    ssl_keyfile: str | None = None
    ssl_certfile: str | None = None
    ssl_ca_certs: str | None = None

    def __post_init__(self) -> None:
        check.text("host", self.host)
        check.integer("port", self.port, 0)
        functions = tuple(self.grpc_servicer_functions or ())
        for each in functions:
            if not callable(each) and not isinstance(each, str):
                raise TypeError(f"grpc_servicer_functions must be functions or import paths, and one is {each!r}.")
        _set(self, grpc_servicer_functions=functions, enabled=bool(self.enabled or functions))
        if self.request_timeout_s is not None:
            _set(self, request_timeout_s=check.number("request_timeout_s", self.request_timeout_s, above=True))
        check.integer("max_message_bytes", self.max_message_bytes, 1)
        check_tls(self)

    def in_vain(self) -> str:
        """What is to be said of options that start nothing; "" where nobody chose any, or gRPC is served."""
        chosen = [each.name for each in fields(self) if getattr(self, each.name) != each.default]
        if self.enabled or not chosen:
            return ""
        return (
            f"gRPC is not served although {', '.join(chosen)} of grpc_options {'are' if chosen[1:] else 'is'} given: name the "
            "add_...Servicer_to_server functions in grpc_servicer_functions (or say enabled=True, for health and reflection)."
        )


__all__ = [
    "ApplicationStatus",
    "ApplicationStatusOverview",
    "AutoscalingConfig",
    "BackpressureConfig",
    "DeploymentConfig",
    "DeploymentMode",
    "DeploymentStatus",
    "DeploymentStatusOverview",
    "HTTPOptions",
    "LoggingConfig",
    "ProxyLocation",
    "ProxyStatus",
    "ReplicaStatus",
    "ServeStatus",
    "gRPCOptions",
]

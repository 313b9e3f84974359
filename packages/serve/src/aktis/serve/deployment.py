"""``@serve.deployment``: code and how it is to run. ``bind()`` makes an application of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypedDict, overload

from aktis.serve import _validate as check
from aktis.serve._graph.nodes import Application, DeploymentNode
from aktis.serve.config import AutoscalingConfig, BackpressureConfig, DeploymentConfig, LoggingConfig

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from aktis.serve.handle import DeploymentHandle


class DeploymentOptions(TypedDict, total=False):
    """The options of ``@serve.deployment``; :class:`aktis.serve.config.DeploymentConfig` says what they mean."""

    name: str
    version: str | None
    num_replicas: int | str | None
    init_args: tuple[Any, ...]
    init_kwargs: dict[str, Any]
    route_prefix: str | None
    ray_actor_options: Mapping[str, Any] | None
    user_config: Any
    max_concurrent_queries: int
    autoscaling_config: Mapping[str, Any] | AutoscalingConfig | None
    graceful_shutdown_wait_loop_s: float
    graceful_shutdown_timeout_s: float
    health_check_period_s: float
    health_check_timeout_s: float
    is_driver_deployment: bool | None
    max_ongoing_requests: int
    max_queued_requests: int
    backpressure_config: Mapping[str, Any] | BackpressureConfig | None
    placement_group_bundles: list[dict[str, float]] | None
    placement_group_strategy: str
    max_replicas_per_node: int | None
    logging_config: Mapping[str, Any] | LoggingConfig | None
    request_timeout_s: float | None
    rolling_update_percentage: float
    max_constructor_retry_count: int | None
    retry_deaths: bool


_NAMES = tuple(DeploymentOptions.__annotations__)
_OF_CODE = ("name", "version", "init_args", "init_kwargs", "route_prefix")
_UNSET: Any = type("_Unset", (), {"__repr__": lambda self: "<not given>"})()


def _show_options(*before: str) -> Callable[[Any], Any]:
    """Lets ``inspect.signature`` show the options one by one."""

    def wrap(function: Any) -> Any:
        kind = inspect.Parameter
        first = [kind(name, kind.POSITIONAL_OR_KEYWORD, default=None) for name in before if name != "self"]
        if "self" in before:
            first.insert(0, kind("self", kind.POSITIONAL_OR_KEYWORD))
        rest = [kind(name, kind.KEYWORD_ONLY, default=_UNSET) for name in _NAMES]
        function.__signature__ = inspect.Signature([*first, *rest])
        return function

    return wrap


class Deployment:
    """Code, and how it is to run. Made by :func:`deployment`; immutable but for :meth:`set_options`."""

    def __init__(self, func_or_class: Callable[..., Any], name: str, config: DeploymentConfig) -> None:
        self._code = func_or_class
        self._name = name
        self._config = config
        self._version: str | None = None
        self._init_args: tuple[Any, ...] = ()
        self._init_kwargs: dict[str, Any] = {}
        self._route_prefix: str | None = _UNSET

    @classmethod
    def of(cls, func_or_class: Callable[..., Any], _name: str, **options: Unpack[DeploymentOptions]) -> Deployment:
        """A deployment whose name is not that of its code, which stays importable by its own."""
        made = cls(_checked_code(func_or_class), _checked_name(_name), DeploymentConfig())
        made._apply(dict(options))
        return made

    # What it is ----------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Its name: unique in an application."""
        return self._name

    @property
    def func_or_class(self) -> Callable[..., Any]:
        """The user's code."""
        return self._code

    @property
    def config(self) -> DeploymentConfig:
        """All options that are not name, version, route or arguments."""
        return self._config

    @property
    def version(self) -> str | None:
        """As given; None: made of code and arguments when it is deployed."""
        return self._version

    @property
    def num_replicas(self) -> int:
        """How many replicas (of an autoscaled one: to start with)."""
        return self._config.replicas

    @property
    def user_config(self) -> Any:
        """What ``reconfigure()`` of the class gets."""
        return self._config.user_config

    @property
    def max_ongoing_requests(self) -> int:
        """Requests that one replica works on at the same time."""
        return self._config.max_ongoing_requests

    @property
    def max_concurrent_queries(self) -> int:
        """Older name of :attr:`max_ongoing_requests`."""
        return self._config.max_ongoing_requests

    @property
    def max_queued_requests(self) -> int:
        """Requests that may wait at one caller."""
        return self._config.max_queued_requests

    @property
    def ray_actor_options(self) -> dict[str, Any]:
        """Resources and runtime_env of each replica."""
        return dict(self._config.ray_actor_options)

    @property
    def autoscaling_config(self) -> AutoscalingConfig | None:
        """How it is autoscaled; None: it is not."""
        return self._config.autoscaling_config

    @property
    def init_args(self) -> tuple[Any, ...]:
        """Arguments of the constructor, for :meth:`deploy`."""
        return self._init_args

    @property
    def init_kwargs(self) -> dict[str, Any]:
        """Named arguments of the constructor, for :meth:`deploy`."""
        return dict(self._init_kwargs)

    @property
    def route_prefix(self) -> str | None:
        """Where it is under HTTP: "/<name>" unless something else was given; None: nowhere."""
        if self._route_prefix is _UNSET:
            return None if self._config.is_driver else f"/{self._name}"
        return self._route_prefix

    @property
    def url(self) -> str | None:
        """Its whole URL; None when it has no route or Serve does not run here."""
        if self.route_prefix is None:
            return None
        from aktis.serve import _client

        root = _client.root_url()
        return None if root is None else root + ("" if self.route_prefix == "/" else self.route_prefix)

    @property
    def _explicit_route(self) -> bool:
        return self._route_prefix is not _UNSET

    # Changing --------------------------------------------------------------------------------------------------------

    @_show_options("self", "func_or_class")
    def options(self, func_or_class: Callable[..., Any] | None = None, **options: Unpack[DeploymentOptions]) -> Self:
        """A copy with other options.

        Raises:
            TypeError: an option that does not exist.
            ValueError: a value that cannot be.
        """
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        if func_or_class is not None:
            copy._code = _checked_code(func_or_class)
        copy._apply(dict(options))
        return copy

    @_show_options("self", "func_or_class")
    def set_options(
        self, func_or_class: Callable[..., Any] | None = None, **options: Unpack[DeploymentOptions]
    ) -> None:
        """Like :meth:`options`, in place. What runs changes when it is deployed again."""
        self.__dict__.update(self.options(func_or_class, **options).__dict__)

    def _apply(self, options: dict[str, Any]) -> None:
        for key in options:
            if key not in _NAMES:
                raise TypeError(str(check.unknown_key("@serve.deployment", str(key), _NAMES)))
        if "name" in options:
            self._name = _checked_name(options["name"])
        if "version" in options:
            version = options["version"]
            self._version = None if version is None else check.text("version", version)
        if "init_args" in options:
            self._init_args = _checked_args(options["init_args"])
        if "init_kwargs" in options:
            self._init_kwargs = _checked_kwargs(options["init_kwargs"])
        if "route_prefix" in options:
            self._route_prefix = check.route_prefix(options["route_prefix"])
        rest = {key: value for key, value in options.items() if key not in _OF_CODE}
        if rest.get("num_replicas", ...) is None:  # as it is
            del rest["num_replicas"]
        if rest.get("ray_actor_options", ...) is None:
            rest["ray_actor_options"] = {}
        self._config = self._config.changed(**rest)

    # Deploying ---------------------------------------------------------------------------------------------------------

    def bind(self, *args: Any, **kwargs: Any) -> DeploymentNode:
        """An application of this deployment, its class constructed with these arguments.

        Arguments may be, or have in them, other bound deployments: the class gets handles for them. Nothing runs yet.
        """
        return DeploymentNode(self, args, kwargs)

    def deploy(self, *init_args: Any, _blocking: bool = True, **init_kwargs: Any) -> None:
        """Runs this deployment alone, under ``/<name>``; deployed again, it is updated. Older style than ``serve.run``.

        Raises:
            DeploymentFailedError: it could not be started.
        """
        from aktis.serve import api

        api.deploy(self, init_args or self._init_args, init_kwargs or self._init_kwargs, blocking=_blocking)

    def delete(self) -> None:
        """Ends what :meth:`deploy` started."""
        from aktis.serve import api

        api.undeploy(self._name)

    def get_handle(self, sync: bool | None = True) -> DeploymentHandle[Any]:
        """A handle for what :meth:`deploy` started. With ``sync=False``: one to await, for code in an event loop."""
        from aktis.serve import api

        return api.legacy_handle(self._name, sync=bool(sync))

    # Python ------------------------------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(
            f"Deployment {self._name!r} cannot be called or constructed directly. Run it with "
            f"serve.run({self._name}.bind(...)) and use the handle; its code is in .func_or_class."
        )

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        raise TypeError(
            f"Deployment {self._name!r} is no class: inherit from {self._name}.func_or_class, which is, and decorate the "
            "new class with @serve.deployment."
        )

    def _key(self) -> tuple[Any, ...]:
        return (
            self._name,
            self._version,
            self._config,
            self._init_args,
            self._init_kwargs,
            self.route_prefix,
            self._code,
        )

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Deployment) else NotImplemented

    def __hash__(self) -> int:
        return hash((self._name, self._version, self.route_prefix))

    def __repr__(self) -> str:
        return f"Deployment(name={self._name},version={self._version},route_prefix={self.route_prefix})"


@overload
def deployment(_func_or_class: Callable[..., Any], /) -> Deployment: ...


@overload
def deployment(
    _func_or_class: None = None, **options: Unpack[DeploymentOptions]
) -> Callable[[Callable[..., Any]], Deployment]: ...


@_show_options("_func_or_class")
def deployment(_func_or_class: Any = None, **options: Any) -> Any:
    """Makes a class or function a :class:`Deployment`.

    As ``@serve.deployment`` or ``@serve.deployment(option=...)``. Options: see :class:`DeploymentOptions`.

    Raises:
        TypeError: what is decorated is no class or function, or an option does not exist.
        ValueError: a value of an option that cannot be.
    """

    def decorate(code: Callable[..., Any]) -> Deployment:
        return Deployment.of(code, str(getattr(code, "__name__", "deployment")), **options)

    if _func_or_class is None:
        Deployment(lambda: None, "check", DeploymentConfig())._apply(dict(options))  # wrong options are errors here
        return decorate
    return decorate(_func_or_class)


def _checked_code(code: Any) -> Callable[..., Any]:
    if isinstance(code, Deployment):
        raise TypeError(f"{code!r} is a deployment already. Use .options(...) for one with other options.")
    if not inspect.isclass(code) and not inspect.isfunction(code):
        raise TypeError(f"@serve.deployment must be on a class or a function, and it is on {code!r}.")
    return code


def _checked_name(name: Any) -> str:
    check.text("name", name)
    if "#" in name:
        raise ValueError(f"The name of a deployment cannot have '#' in it, and it is {name!r}.")
    return str(name)


def _checked_args(args: Any) -> tuple[Any, ...]:
    if args is None:
        return ()
    if not isinstance(args, Iterable) or isinstance(args, (str, bytes, Mapping)):
        raise TypeError(f"init_args must be a tuple, and it is {args!r}.")
    return tuple(args)


def _checked_kwargs(kwargs: Any) -> dict[str, Any]:
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise TypeError(f"init_kwargs must be a dictionary, and it is {kwargs!r}.")
    return dict(kwargs or {})


# Each option is either of the code or of the configuration.
assert set(_NAMES) - set(_OF_CODE) <= {field.name for field in fields(DeploymentConfig)} | set(
    DeploymentConfig._aliases  # type: ignore[attr-defined]
)

__all__ = ["Application", "Deployment", "DeploymentOptions", "deployment"]

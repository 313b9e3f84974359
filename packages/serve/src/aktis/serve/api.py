"""Starting Serve, running applications, and asking what runs."""

from __future__ import annotations

import pickle
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from aktis.serve import _client
from aktis.serve import _validate as check
from aktis.serve._client import ServeClient
from aktis.serve._protocol import ApplicationState, DeploymentID, DeploymentSpec
from aktis.serve.config import (
    DEFAULT_HTTP_HOST,
    DEFAULT_HTTP_PORT,
    HTTPOptions,
    LoggingConfig,
    ProxyLocation,
    ServeStatus,
    gRPCOptions,
)
from aktis.serve.context import get_replica_context
from aktis.serve.deployment import Application, Deployment
from aktis.serve.exceptions import DeploymentNotFoundError, InvalidDeploymentError, ServeError, ServeNotRunningError

if TYPE_CHECKING:
    from aktis.serve._graph.build import BuiltApplication
    from aktis.serve.handle import DeploymentHandle
    from aktis.serve.route_traffic import Traffic

C = TypeVar("C")
DEFAULT_APPLICATION = "default"

# Start and stop --------------------------------------------------------------------------------------------------------


def start(
    detached: bool = False,
    http_options: Mapping[str, Any] | HTTPOptions | None = None,
    dedicated_cpu: bool = False,
    grpc_options: Mapping[str, Any] | gRPCOptions | None = None,
    logging_config: Mapping[str, Any] | LoggingConfig | None = None,
    proxy_location: str | ProxyLocation | None = None,
    **kwargs: Any,
) -> ServeClient:
    """Starts Serve in this session (which is started, too, if there is none). Does nothing when it runs already.

    Args:
        detached: whether it lives on when this program ends (in a cluster that does).
        http_options: where and how HTTP is served: see :class:`~aktis.serve.HTTPOptions`.
        dedicated_cpu: whether the proxy reserves a CPU.
        grpc_options: where and how gRPC is served: see :class:`~aktis.serve.gRPCOptions`.
        logging_config: of deployments that have none.
        proxy_location: on which nodes there are proxies; goes before ``location`` of ``http_options``.
        kwargs: older names: ``http_host``, ``http_port``, ``http_middlewares``.

    Raises:
        OSError: the port is taken.
        ValueError, TypeError: an option that does not exist, or cannot be.
    """
    options: dict[str, Any] = {}
    for key, value in kwargs.items():
        if key not in ("http_host", "http_port", "http_middlewares"):
            raise TypeError(str(check.unknown_key("serve.start", key, ("http_options", "grpc_options", "detached"))))
        options[key.removeprefix("http_")] = value
    if proxy_location is not None:
        options["location"] = proxy_location
    if dedicated_cpu:
        options["num_cpus"] = 1
    http = _http_options(http_options, options)
    grpc = None if grpc_options is None else check.parse(gRPCOptions, grpc_options, "grpc_options")
    logs = None if logging_config is None else check.parse(LoggingConfig, logging_config, "logging_config")
    chosen = http_options is not None or bool(options)
    return _client.start(http, grpc, logs, detached=detached, chosen=chosen)


def _http_options(given: Any, more: dict[str, Any]) -> HTTPOptions:
    if given is None:
        return HTTPOptions(**more)
    if isinstance(given, Mapping):
        return HTTPOptions(**{**check.modern(HTTPOptions, given), **more})
    options = check.parse(HTTPOptions, given, "http_options")
    if not more:
        return options
    from dataclasses import replace

    return replace(options, **more)


def shutdown() -> None:
    """Ends all applications, replicas, proxies and the controller. Does nothing when Serve does not run."""
    client = _client.connected()
    if client is None:
        _client.logger.info("Serve does not run: there is nothing to shut down.")
        return
    client.shutdown()


# Applications ----------------------------------------------------------------------------------------------------------


def run(
    target: Application,
    _blocking: bool = True,
    host: str = DEFAULT_HTTP_HOST,
    port: int = DEFAULT_HTTP_PORT,
    name: str = "",
    route_prefix: str | None = "/",
    blocking: bool = False,
    logging_config: Mapping[str, Any] | LoggingConfig | None = None,
    _local_testing_mode: bool = False,
) -> DeploymentHandle[Any]:
    """Deploys an application and waits until it runs. Deployed again, only what changed is restarted.

    Args:
        target: what ``Deployment.bind()`` or ``serve.build()`` gave.
        _blocking: False: does not wait until it runs.
        host: where to listen, if Serve does not run yet (see :func:`start`).
        port: likewise.
        name: of the application; others stay as they are. Without a name it is "default", and all others are deleted.
        route_prefix: where it is under HTTP; None: nowhere.
        blocking: True: stays until Ctrl-C, then ends Serve.
        logging_config: of its deployments that have none.
        _local_testing_mode: runs all in this process, without HTTP: for tests of the code.

    Returns:
        A handle of the ingress.

    Raises:
        DeploymentFailedError: it could not be started; with the traceback of the user's code.
        InvalidDeploymentError, TypeError, ValueError: it cannot be run.
    """
    if _local_testing_mode:
        from aktis.serve import local_testing

        return local_testing.run(target, name or DEFAULT_APPLICATION)
    from aktis.serve._graph.build import build_application, root_of
    from aktis.serve._graph.handles import methods_of

    spec = build_application(target, name=name or DEFAULT_APPLICATION, route_prefix=route_prefix)
    logs = check.parse(LoggingConfig, logging_config, "logging_config") if logging_config is not None else None

    def deploy_it(client: ServeClient) -> None:
        client.deploy([_with_logging(spec, logs or client.logging_config)], replace_all=not name)

    client = _client.start(
        HTTPOptions(host=host, port=port),
        None,
        chosen=(host, port) != (DEFAULT_HTTP_HOST, DEFAULT_HTTP_PORT),
        meanwhile=deploy_it,
    )
    if _blocking or blocking:
        client.wait(spec.name)
        if client.root_url is not None and spec.route_prefix is not None:
            _client._say(f"Application {spec.name!r} runs at {client.root_url}{spec.route_prefix}")
    if blocking:
        _stay(client)
    return _handle(DeploymentID(spec.name, spec.ingress), methods_of(root_of(target)._deployment.func_or_class))


def _with_logging(spec: Any, logs: LoggingConfig | None) -> Any:
    if logs is None:
        return spec
    from dataclasses import replace

    changed = tuple(
        each
        if each.config.logging_config is not None
        else replace(each, config=replace(each.config, logging_config=logs))
        for each in spec.deployments
    )
    return replace(spec, deployments=changed)


def _stay(client: ServeClient) -> None:
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        _client._say("Serve ends ...")
    finally:
        client.shutdown()


def build(target: Application, name: str | None = None) -> BuiltApplication:
    """All deployments of an application, with the names that they will have; nothing is deployed.

    ``.deployments`` is a dictionary of them; options that are set there count when the result is run.
    """
    from aktis.serve._graph.build import BuiltApplication, root_of

    return BuiltApplication(root_of(target))


def delete(name: str, _blocking: bool = True) -> None:
    """Deletes an application: it takes no more requests, finishes what it has, then its replicas end.

    Args:
        name: of the application. It is no error when there is none.
        _blocking: False: does not wait until all is gone.

    Raises:
        ServeNotRunningError: Serve does not run.
    """
    _client.connect().delete([check.text("name", name)], wait=_blocking)


def status() -> ServeStatus:
    """What runs: applications with their deployments, and proxies. Empty when Serve does not run."""
    client = _client.connected()
    return ServeStatus() if client is None else client.status()


def traffic() -> Traffic:
    """What went through: requests, errors and latencies of each route since its proxies started.

    Raises:
        ServeNotRunningError: Serve does not run.
    """
    return _client.connect().traffic()


# Handles -----------------------------------------------------------------------------------------------------------------


def _handle(id: DeploymentID, methods: tuple[str, ...] | None = None) -> DeploymentHandle[Any]:
    from aktis.serve._graph.handles import make_handle

    return make_handle(id.app, id.name, methods=methods)


def get_app_handle(name: str) -> DeploymentHandle[Any]:
    """A handle of the ingress of an application.

    Raises:
        DeploymentNotFoundError: there is no application of this name.
        ServeNotRunningError: Serve does not run.
    """
    found = _client.connect().application(name)
    return _handle(DeploymentID(name, found.ingress))


def get_deployment_handle(
    deployment_name: str, app_name: str | None = None, _check_exists: bool = True
) -> DeploymentHandle[Any]:
    """A handle of one deployment of an application.

    Args:
        deployment_name: its name in the application.
        app_name: the application; None: in a replica its own, elsewhere the default one.
        _check_exists: False: the deployment may come later; its requests wait for it.

    Raises:
        DeploymentNotFoundError: there is no such application, or it has no such deployment.
    """
    if app_name is None:
        try:
            app_name = get_replica_context().app_name
        except ServeError:
            app_name = DEFAULT_APPLICATION
    if _check_exists:
        application = _client.connect().application(app_name)
        if deployment_name not in application.deployments:
            raise DeploymentNotFoundError.of(
                f"deployment of application {app_name!r}", deployment_name, application.deployments
            )
    return _handle(DeploymentID(app_name, deployment_name))


# Single deployments: the style before applications --------------------------------------------------------------------


def deploy(deployment: Deployment, args: tuple[Any, ...], kwargs: dict[str, Any], *, blocking: bool = True) -> None:
    """What ``Deployment.deploy()`` does. Serve must run (``serve.start()``)."""
    from aktis.serve._graph.build import build_single

    client = _client.connect()
    spec = build_single(deployment, args, kwargs)
    client.deploy([_with_logging(spec, client.logging_config)])
    if blocking:
        client.wait(spec.name)


def undeploy(name: str) -> None:
    """What ``Deployment.delete()`` does: for one that is alone. Where there is none, nothing happens, as in Ray."""
    client = _client.connect()
    id = _deployments().get(name)
    if id is None:
        return
    others = [each for each in client.application(id.app).deployments if each != id.name]
    if others:
        raise InvalidDeploymentError(
            f"Deployment {name!r} is a part of application {id.app!r}, with {', '.join(map(repr, others))}. "
            f"Delete the application: serve.delete({id.app!r})."
        )
    client.delete([id.app])


def legacy_handle(name: str, *, sync: bool = True) -> DeploymentHandle[Any]:
    """What ``Deployment.get_handle()`` gives."""
    from aktis.serve._graph.handles import make_handle

    id = _single(name)
    return make_handle(id.app, id.name, legacy=not sync, sync=sync)


def _single(name: str) -> DeploymentID:
    """The deployment of this name, as :func:`list_deployments` has it."""
    found = _deployments()
    if name not in found:
        raise DeploymentNotFoundError.of("deployment", name, found)
    return found[name]


def _deployments() -> dict[str, DeploymentID]:
    """By name: of applications with a name (that is not the deployment's) it begins with that."""
    named = {}
    for app, status in _client.connect().status().applications.items():
        if status.status is ApplicationState.DELETING:
            continue
        for name in status.deployments:
            named[name if app in (name, DEFAULT_APPLICATION) else f"{app}_{name}"] = DeploymentID(app, name)
    return named


def get_deployment(name: str) -> Deployment:
    """The deployment that runs under this name, to change and deploy it again. Deprecated: use :func:`get_app_handle`.

    Deployments of applications with a name are called ``<application>_<name>`` here.

    Raises:
        DeploymentNotFoundError: there is none.
    """
    spec = _client.connect()._ask("get_deployment", *_single(name))
    if spec is None:  # deleted in this moment
        raise DeploymentNotFoundError.of("deployment", name, ())
    return _from_spec(spec)


def list_deployments() -> dict[str, Deployment]:
    """All deployments that run, by name. Deprecated: use :func:`status`."""
    client = _client.connect()
    specs = {name: client._ask("get_deployment", id.app, id.name) for name, id in _deployments().items()}
    return {name: _from_spec(spec) for name, spec in specs.items() if spec is not None}  # None: deleted meanwhile


def _from_spec(spec: DeploymentSpec) -> Deployment:
    made = Deployment(pickle.loads(spec.callable), spec.name, spec.config)
    args, kwargs = pickle.loads(spec.init)
    made.set_options(init_args=args, init_kwargs=kwargs, route_prefix=spec.route_prefix)
    if not re.fullmatch("[0-9a-f]{16}", spec.version):  # given by the user; else it is made of code and arguments again
        made.set_options(version=spec.version)
    return made


# Ingress -----------------------------------------------------------------------------------------------------------------


def ingress(app: Any) -> Callable[[C], C]:
    """Lets an ASGI app answer the requests of a class: FastAPI, APIRouter, any other, or a function that makes one.

    Routes of FastAPI may be methods of the class: they get its instance as ``self``. Write ``@serve.deployment`` above::

        @serve.deployment
        @serve.ingress(app)
        class Service:
            @app.get("/hello")
            def hello(self, name: str) -> str: ...

    Raises:
        TypeError: ``app`` is no app.
        ValueError: it is not on a class, or the class has a ``__call__``.
    """
    from aktis.serve._graph.asgi_app import attach, check_app

    check_app(app)

    def decorate(cls: C) -> C:
        attach(app, cls)
        return cls

    return decorate


__all__ = [
    "ApplicationState",
    "ServeNotRunningError",
    "build",
    "delete",
    "get_app_handle",
    "get_deployment",
    "get_deployment_handle",
    "ingress",
    "list_deployments",
    "run",
    "shutdown",
    "start",
    "status",
]

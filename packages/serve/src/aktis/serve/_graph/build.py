"""From bound nodes to an :class:`ApplicationSpec`: names, arguments with handles in them, versions, checks."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from aktis.dag import DAGNode
from aktis.serve import _validate as check
from aktis.serve._graph.asgi_app import BUILD, SOURCE, prepare
from aktis.serve._graph.handles import graph_handle
from aktis.serve._graph.legacy import uses_legacy_handles
from aktis.serve._graph.nodes import Application, DeploymentNode
from aktis.serve._graph.pickling import dump_arguments, dump_code
from aktis.serve._graph.version import version_of
from aktis.serve._protocol import ApplicationSpec, DeploymentID, DeploymentSpec
from aktis.serve.deployment import Deployment
from aktis.serve.exceptions import InvalidDeploymentError


class BuiltApplication(Application):
    """What ``serve.build()`` gives: all deployments of an application, by name, to look at and to change.

    ``application.deployments["Model"].set_options(num_replicas=2)`` counts when the application is run.
    """

    def __init__(self, root: DeploymentNode) -> None:
        builder = _Builder("", {}, None)
        self._ingress = builder.add(root)
        self._root = root
        self._deployments = builder.deployments
        for name, deployment in self._deployments.items():
            if name != self._ingress:
                deployment.set_options(route_prefix=None)
            elif not root._deployment._explicit_route:
                deployment.set_options(route_prefix="/")

    @property
    def deployments(self) -> dict[str, Deployment]:
        """The deployments, by the names that they will have; dependencies first."""
        return self._deployments

    @property
    def ingress(self) -> Deployment:
        """The one that gets the requests."""
        return self._deployments[self._ingress]

    def __repr__(self) -> str:
        return f"Application({', '.join(self._deployments)})"


def root_of(target: Any) -> DeploymentNode:
    """The node that gets the requests of what was given to ``serve.run()`` or ``serve.build()``.

    Raises:
        TypeError: it is no bound deployment.
        ValueError: it is a node that cannot get requests by itself.
    """
    if isinstance(target, BuiltApplication):
        return target._root
    if isinstance(target, Deployment):
        raise TypeError(f"{target!r} is not bound. Write serve.run({target.name}.bind(...)).")
    if isinstance(target, DeploymentNode):
        if target._is_call:
            raise InvalidDeploymentError(
                f"The function {target._deployment.name!r} is bound to arguments, and as the ingress it is called with "
                "requests. Bind it without arguments, or put the graph behind DAGDriver.bind(...)."
            )
        return target
    if isinstance(target, DAGNode):
        raise InvalidDeploymentError(
            f"A {type(target).__name__} cannot get requests by itself: the ingress of an application is a class or a "
            "function. Put the graph behind one: serve.run(DAGDriver.bind(node))."
        )
    raise TypeError(f"Only bound deployments can be run, such as MyDeployment.bind(...), and this is {target!r}.")


def build_application(
    target: Any,
    *,
    name: str = "default",
    route_prefix: str | None = "/",
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    config: dict[str, Any] | None = None,
    runtime_env: dict[str, Any] | None = None,
) -> ApplicationSpec:
    """The specs of the graph that ends at ``target``.

    Args:
        target: a bound deployment, or what ``serve.build()`` gave.
        name: of the application.
        route_prefix: of its ingress; "/" gives way to what the decorator of the ingress says. None: not over HTTP.
        overrides: options by name of deployment, as config files give them; whole values are replaced.
        config: what to show as the configuration of the application.
        runtime_env: of all its replicas.

    Raises:
        TypeError: ``target`` is no application, or an argument is a deployment that was not bound.
        InvalidDeploymentError: the graph, a route or an option cannot work.
    """
    root = root_of(target)
    check.text("name", name)
    if "#" in name:
        raise ValueError(f"The name of an application cannot have '#' in it, and it is {name!r}.")
    builder = _Builder(name, overrides or {}, target if isinstance(target, BuiltApplication) else None)
    ingress = builder.add(root)
    unknown = set(overrides or {}) - set(builder.specs)
    if unknown:
        missing = sorted(unknown)[0]
        raise InvalidDeploymentError(
            f"Options are given for deployment {missing!r}, which application {name!r} does not have. "
            f"It has: {', '.join(map(repr, builder.specs))}."
        )
    _check_routes(builder, ingress)
    prefix = check.route_prefix(route_prefix)
    own = builder.deployments[ingress]
    if prefix == "/" and own._explicit_route:
        prefix = own.route_prefix
    return ApplicationSpec(
        name=name,
        route_prefix=prefix,
        ingress=ingress,
        deployments=tuple(
            builder.spec(each, is_ingress=each == ingress, route_prefix=prefix if each == ingress else None)
            for each in builder.specs
        ),
        config=config,
        runtime_env=runtime_env,
    )


def build_single(deployment: Deployment, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ApplicationSpec:
    """The specs of ``deployment.deploy(*args, **kwargs)``: an application of this one deployment."""
    builder = _Builder(deployment.name, {}, None)  # the application has the deployment's name
    name = builder.add(DeploymentNode(deployment, args, kwargs))
    if len(builder.specs) > 1:
        raise InvalidDeploymentError(
            "deploy() is for one deployment alone, and its arguments have bound deployments in them. Use serve.run()."
        )
    spec = builder.spec(name, is_ingress=True, route_prefix=deployment.route_prefix)
    return ApplicationSpec(name=name, route_prefix=deployment.route_prefix, ingress=name, deployments=(spec,))


def _check_routes(builder: _Builder, ingress: str) -> None:
    for name, deployment in builder.deployments.items():
        if name != ingress and deployment._explicit_route and deployment.route_prefix is not None:
            raise InvalidDeploymentError(
                f"Only the ingress of an application has a route_prefix, and deployment {name!r} has "
                f"{deployment.route_prefix!r}. Leave it out, or run it as an application of its own."
            )


class _Builder:
    """Visits a graph: arguments first. A node that is met again is the same deployment."""

    def __init__(self, app: str, overrides: Mapping[str, Mapping[str, Any]], built: BuiltApplication | None) -> None:
        self._app = app
        self._overrides = overrides
        self._built = built.deployments if built is not None else {}
        self._names: dict[int, str] = {}  # of nodes, by identity
        self._busy: set[int] = set()
        self.deployments: dict[str, Deployment] = {}
        self.specs: dict[str, DeploymentSpec] = {}

    def add(self, node: DeploymentNode) -> str:
        """The name of this node's deployment. Its spec is made when it is met first."""
        if id(node) in self._names:
            return self._names[id(node)]
        args, kwargs = ((), {}) if node._is_call else (node.get_args(), node.get_kwargs())
        for value in (*args, *kwargs.values()):
            if isinstance(value, Deployment):
                raise TypeError(
                    f"{value!r} is an argument of {node!r}, and is not bound. Write {value.name}.bind(...)."
                )
        deployment = node._deployment
        _check_arguments(deployment, args, kwargs)
        legacy = uses_legacy_handles(deployment.func_or_class)
        what = f"Arguments of deployment {deployment.name!r}"
        init = dump_arguments(what, (args, kwargs), lambda other: self._handle_of(other, legacy))
        name = self._names[id(node)] = self._free_name(deployment.name)
        deployment = self.deployments[name] = self._final(name, deployment)
        self.specs[name] = _spec(deployment, (args, kwargs), init, legacy, self._name_of)
        return name

    def _handle_of(self, node: DeploymentNode, legacy: bool) -> tuple[Any, tuple[Any, ...]]:
        id = DeploymentID(self._app, self.add(node))
        return graph_handle(id, legacy, node._deployment.func_or_class)

    def spec(self, name: str, *, is_ingress: bool, route_prefix: str | None) -> DeploymentSpec:
        """The spec of this name, knowing its place in the application."""
        from dataclasses import replace

        return replace(self.specs[name], is_ingress=is_ingress, route_prefix=route_prefix)

    def _free_name(self, wanted: str) -> str:
        name, number = wanted, 0
        while name in self.specs:
            number += 1
            name = f"{wanted}_{number}"
        return name

    def _final(self, name: str, deployment: Deployment) -> Deployment:
        if name in self._built:
            deployment = self._built[name]
        options: dict[str, Any] = dict(self._overrides.get(name, {}))
        options.pop("name", None)
        final: Deployment = deployment.options(**{**options, "name": name})
        return final

    def _name_of(self, value: Any) -> str:
        return self._names.get(id(value), "") if isinstance(value, DeploymentNode) else ""


def _spec(deployment: Deployment, arguments: Any, init: bytes, legacy: bool, name_of: Any) -> DeploymentSpec:
    code, config = deployment.func_or_class, deployment.config
    _check_code(deployment)
    source = getattr(code, SOURCE, None)
    prepare(code)
    version = deployment.version  # the user may say when the code changes
    if version is None:
        version = version_of(code, arguments, name_of, legacy)
    return DeploymentSpec(
        name=deployment.name,
        config=config,
        callable=dump_code(f"Code of deployment {deployment.name!r}", code),
        init=init,
        version=version,
        is_asgi=source is not None or hasattr(code, BUILD),
        docs_path=source.docs_path if source is not None else None,
    )


def _check_arguments(deployment: Deployment, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Arguments that the constructor cannot take are an error here, and not in each replica."""
    if not inspect.isclass(deployment.func_or_class):
        return
    try:
        signature = inspect.signature(deployment.func_or_class)
    except (TypeError, ValueError):  # of C: nobody knows
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(
            f"Arguments of deployment {deployment.name!r} do not fit its constructor {signature}: {error}."
        ) from None


def _check_code(deployment: Deployment) -> None:
    code, name = deployment.func_or_class, deployment.name
    if deployment.user_config is None:
        return
    if not inspect.isclass(code):
        raise InvalidDeploymentError(
            f"Deployment {name!r} is a function: it cannot have a user_config. Make it a class."
        )
    if not callable(getattr(code, "reconfigure", None)):
        raise InvalidDeploymentError(
            f"Deployment {name!r} has a user_config, so its class needs a method reconfigure(self, user_config)."
        )

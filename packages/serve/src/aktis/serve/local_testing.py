"""Applications in one process, for tests of their code: no session, no server, no other processes.

::

    test ── handle.remote(x) ──► LocalCall ──► LocalDeployment, on the loop of its LocalApplication's thread
                                                  async code: there; sync code: in threads

``serve.run(app, _local_testing_mode=True)`` gives a handle that behaves like others: ``result()``, ``await``, streams, chains,
cancellation, limits, ``@serve.batch``, ``@serve.multiplexed``, ``user_config``, asynchronous constructors. What differs: arguments
and results are passed on as they are (nothing is pickled), exceptions come out as the user's code raised them, and there are no
references (``_to_object_ref``). The thread ends when the application and its handles are not used any more.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from aktis.serve._protocol import DeploymentID
from aktis.serve._routing.calls import Call, meta_for_call
from aktis.serve._routing.local_calls import LocalCall, LocalStream, LocalStreamCall
from aktis.serve._routing.local_deployment import LocalDeployment
from aktis.serve.handle import DeploymentHandle, RayServeDeploymentHandle

if TYPE_CHECKING:
    import asyncio

    from aktis.serve._graph.nodes import DeploymentNode

_numbers = itertools.count()
_applications: weakref.WeakValueDictionary[int, LocalApplication] = weakref.WeakValueDictionary()


class LocalApplication:
    """The deployments of one application, and the thread that runs them."""

    def __init__(self, name: str) -> None:
        import asyncio

        self.name = name
        self.number = next(_numbers)
        self.loop = asyncio.new_event_loop()
        self.deployments: dict[str, LocalDeployment] = {}
        _applications[self.number] = self
        threading.Thread(target=_serve, args=(self.loop,), name=f"aktis-serve-local-{name}", daemon=True).start()
        weakref.finalize(self, _stop, self.loop)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Run something on the application's loop."""
        import asyncio

        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    import asyncio

    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _stop(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.call_soon_threadsafe(loop.stop)
    except RuntimeError:  # it is closed
        pass


class _Local:
    """What handles of local deployments have in place of a router. Mixed into the kinds of handles."""

    _app: LocalApplication
    _id: DeploymentID
    _options: Any

    def _make_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        deployment: Any = self._app.deployments[self._id.name]  # has what calls need of a router
        options = self._options
        meta = meta_for_call(options.method_name, self._id.app, options.multiplexed_model_id, options.idempotent)
        return (LocalStreamCall if options.stream else LocalCall)(deployment, meta, args, kwargs)

    def running_replicas_populated(self) -> bool:
        return True

    def __reduce__(self) -> Any:
        return _restore, (self._app.number, self._id, type(self), self._options)


class LocalHandle(_Local, DeploymentHandle[Any]):
    """A handle of a deployment that runs in this process."""

    def __init__(self, app: LocalApplication, id: DeploymentID, **options: Any) -> None:
        super().__init__(id, methods=app.deployments[id.name].method_names, **options)
        self._app = app

    def _with(self, options: Any, kind: Any = None) -> Any:
        if kind is DeploymentHandle or (kind is None and not isinstance(self, RayServeDeploymentHandle)):
            kind = LocalHandle
        return (kind or type(self))(self._app, self._id, _options=options)

    def _respond(self, call: Any) -> Any:
        return LocalStream(call) if self._options.stream else super()._respond(call)


class LocalLegacyHandle(LocalHandle, RayServeDeploymentHandle[Any]):
    """The same, to be awaited twice, as in Ray 2.3."""


def _restore(number: int, id: DeploymentID, kind: Any, options: Any) -> Any:
    app = _applications.get(number)
    if app is None:
        raise RuntimeError(
            f"a handle of {id} in local testing mode works only in the process that called "
            "serve.run(..., _local_testing_mode=True), and as long as the application is used there"
        )
    return kind(app, id, _options=options)


# Building ------------------------------------------------------------------------------------------------------------


def run(target: Any, name: str = "default") -> LocalHandle:
    """Run an application in this process.

    Args:
        target: what ``Deployment.bind()`` or ``serve.build()`` gave.
        name: of the application.

    Returns:
        A handle of its ingress.

    Raises:
        TypeError, ValueError: it is no application.
        Exception: what a constructor raised.
    """
    from aktis.serve._graph.build import root_of

    app = LocalApplication(name)
    builder = _Builder(app, getattr(target, "deployments", {}))
    ingress = builder.add(root_of(target))
    return LocalHandle(app, DeploymentID(name, ingress))


class _Builder:
    """Makes the deployments of a graph, arguments first."""

    def __init__(self, app: LocalApplication, changed: dict[str, Any]) -> None:
        self.app = app
        self.changed = changed  # of serve.build(): options may have been changed
        self.names: dict[int, str] = {}

    def add(self, node: DeploymentNode) -> str:
        """The name of this node's deployment; it is constructed when it is met first."""
        from aktis.serve._graph.legacy import uses_legacy_handles

        if id(node) in self.names:
            return self.names[id(node)]
        deployment = node._deployment
        kind = LocalLegacyHandle if uses_legacy_handles(deployment.func_or_class) else LocalHandle
        args, kwargs = ((), {}) if node._is_call else (node.get_args(), node.get_kwargs())
        args = tuple(self._replace(value, kind) for value in args)
        kwargs = {key: self._replace(value, kind) for key, value in kwargs.items()}
        name, number = deployment.name, 0
        while name in self.app.deployments:
            number += 1
            name = f"{deployment.name}_{number}"
        self.names[id(node)] = name
        deployment = self.changed.get(name, deployment)
        made = LocalDeployment(DeploymentID(self.app.name, name), deployment, args, kwargs, self.app.loop)
        self.app.deployments[name] = made
        self.app.run(made.start()).result()
        return name

    def _replace(self, value: Any, kind: type[LocalHandle]) -> Any:
        """A value with handles in the place of nodes. Containers without nodes stay the objects that they are."""
        from aktis.dag import DAGNode
        from aktis.serve._graph.nodes import DeploymentNode

        if isinstance(value, DeploymentNode) and not value._is_call:
            return kind(self.app, DeploymentID(self.app.name, self.add(value)))
        if isinstance(value, DAGNode):
            from aktis.serve._graph.pickling import dump_graph, load_graph

            return load_graph(dump_graph(value, lambda node: self._recipe(node, kind)))
        if type(value) in (list, tuple, set):
            items = [self._replace(item, kind) for item in value]
            return value if all(map(_is, items, value)) else type(value)(items)
        if type(value) is dict:
            replaced = {key: self._replace(item, kind) for key, item in value.items()}
            return value if all(map(_is, replaced.values(), value.values())) else replaced
        return value

    def _recipe(self, node: DeploymentNode, kind: type[LocalHandle]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        from aktis.serve._routing.options import DEFAULT

        return _restore, (self.app.number, DeploymentID(self.app.name, self.add(node)), kind, DEFAULT)


def _is(one: Any, other: Any) -> bool:
    return one is other


__all__ = ["run"]

"""Calling deployments from Python: handles, and the responses they give.

A handle is a name: it can be made before its deployment exists, pickled into other processes, and kept while Serve's controller
restarts. What it calls goes through the one :class:`~aktis.serve._routing.router.Router` of its process and deployment.

Two ways to await. A :class:`DeploymentHandle` gives responses: ``await handle.remote(x)`` is the result. The handles of Ray 2.3
(:class:`RayServeHandle`, :class:`RayServeDeploymentHandle`) give, when awaited, something to be awaited again.
"""

from __future__ import annotations

import difflib
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from aktis.serve._protocol import DeploymentID
from aktis.serve._routing import arguments
from aktis.serve._routing.calls import WAITING, Call, meta_for_call
from aktis.serve._routing.observing import begin_span
from aktis.serve._routing.options import DEFAULT, HandleOptions, Unset
from aktis.serve._routing.responses import Response, StreamResponse, until
from aktis.serve._routing.router import Router
from aktis.serve._routing.streams import StreamCall

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")
Self = TypeVar("Self", bound="DeploymentHandle[Any]")


class DeploymentResponse(Response):
    """The result of a call: what ``handle.remote()`` gives, at once.

    ``await response`` in async code, ``response.result(timeout_s=...)`` in threads: as often as one likes, from any thread and any
    event loop. As an argument of another ``.remote()`` it is passed on as it is, without waiting. A response that is dropped does
    not end its call; :meth:`cancel` does.
    """

    __slots__ = ()


class DeploymentResponseGenerator(StreamResponse):
    """The items that a generator in a deployment yields: what ``handle.options(stream=True).remote()`` gives.

    ``async for item in response`` in async code, ``for item in response`` in threads. Leaving early (``close()``, or dropping the
    generator) closes the generator in the replica.
    """

    __slots__ = ()


class LegacyResponse(DeploymentResponse):
    """What handles of Ray 2.3 give in async code: awaiting it gives something that stands for a reference, to be awaited again."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, DeploymentResponse]:
        call = self._call
        if call.state is WAITING:
            yield from until(call.when_moved)
        return DeploymentResponse(call)


class DeploymentHandle(Generic[T]):
    """Calls a deployment: ``handle.remote(...)``, ``handle.method.remote(...)``.

    ``serve.run`` and ``serve.get_app_handle`` give handles of applications' ingress deployments; deployments that are bound as
    arguments of others arrive there as handles.

    Args:
        deployment: name of the deployment, or its whole id.
        app_name: name of its application; that of ``Deployment.deploy()`` has the deployment's name.
        methods: names of the deployment's methods, if known: others are refused at once.
    """

    def __init__(
        self,
        deployment: str | DeploymentID,
        app_name: str = "default",
        *,
        methods: Iterable[str] | None = None,
        _options: HandleOptions = DEFAULT,
    ) -> None:
        if not isinstance(deployment, DeploymentID):
            if not isinstance(deployment, str) or not deployment:
                raise TypeError(f"deployment must be the name of a deployment, got {deployment!r}")
            deployment = DeploymentID(app_name, deployment)
        self._id = deployment
        self._options = _options
        self._methods = None if methods is None else frozenset(methods)
        self._router: Router | None = None

    # calling ----------------------------------------------------------------------------------
    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Call the deployment; returns at once.

        Arguments may be responses of other calls, and references: they are passed on without waiting for them here. A Starlette
        ``Request`` may be passed, too: its body is read first.

        Returns:
            A :class:`DeploymentResponse`, or with ``stream=True`` a :class:`DeploymentResponseGenerator`. What goes wrong comes out
            of it: what the user's code raised, ``DeploymentUnavailableError``, ``BackPressureError``, ``RequestTimeoutError``.
        """
        call = self._make_call(args, kwargs)
        if call.router.traced:
            begin_span(call)
        if arguments.are_plain(args, kwargs):
            call.start()
        else:
            arguments.start(call)
        return self._respond(call)

    def _make_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        router = self._router
        if router is None or router.ended:
            router = self._router = Router.of(self._id)
        options = self._options
        meta = meta_for_call(options.method_name, self._id.app, options.multiplexed_model_id, options.idempotent)
        return (StreamCall if options.stream else Call)(router, meta, args, kwargs)

    def _respond(self, call: Any) -> Any:
        return DeploymentResponseGenerator(call) if self._options.stream else DeploymentResponse(call)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"a handle is not called directly: use {self._id.name}.remote(...)")

    def __getattr__(self, name: str) -> Any:
        # Reached once per method: what is found is kept in __dict__, where Python looks first.
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}; methods with an underscore are called with "
                                 f".options(method_name={name!r}).remote(...)")  # fmt: skip
        handle = self._with(self._options.changed(method_name=name))
        self.__dict__[name] = handle
        return handle

    def options(
        self: Self,
        *,
        method_name: str | Unset = Unset.UNSET,
        multiplexed_model_id: str | Unset = Unset.UNSET,
        stream: bool | Unset = Unset.UNSET,
        idempotent: bool | Unset | None = Unset.UNSET,
        retry: bool | Unset | None = Unset.UNSET,
        use_new_handle_api: bool | Unset = Unset.UNSET,
        **others: Any,
    ) -> Any:
        """The same handle with other options; those that are not given stay.

        Args:
            method_name: which method is called.
            multiplexed_model_id: which model of a ``@serve.multiplexed`` function the request is for.
            stream: the method is a generator: give its items as they come.
            idempotent: the call may be run again when a replica dies while it runs it. None: as the request on whose
                behalf it is made, and not outside of requests.
            retry: another name of ``idempotent``.
            use_new_handle_api: for handles of Ray 2.3: a :class:`DeploymentHandle`.
            others: options of Ray that choose how requests are sent, and that mean nothing here, are taken and ignored.
        """
        changed = self._options.changed(
            method_name=method_name,
            multiplexed_model_id=multiplexed_model_id,
            stream=stream,
            idempotent=idempotent,
            retry=retry,
            others=others,
        )
        kind: type[DeploymentHandle[Any]] = DeploymentHandle if use_new_handle_api is True else type(self)
        return self._with(changed, kind)

    def _with(self, options: HandleOptions, kind: type[DeploymentHandle[Any]] | None = None) -> Any:
        changed = options.method_name != self._options.method_name  # .options(stream=True) may come before .method
        if changed and self._methods is not None and options.method_name not in self._methods:
            raise AttributeError(_no_method(self._id, options.method_name, self._methods))
        handle = (kind or type(self))(self._id, methods=self._methods, _options=options)
        handle._router = self._router
        return handle

    # identity ---------------------------------------------------------------------------------
    @property
    def deployment_name(self) -> str:
        """Name of the deployment."""
        return self._id.name

    @property
    def app_name(self) -> str:
        """Name of its application; that of ``Deployment.deploy()`` has the deployment's name."""
        return self._id.app

    @property
    def deployment_id(self) -> DeploymentID:
        """Application and deployment."""
        return self._id

    @property
    def is_streaming(self) -> bool:
        """Whether calls give generators."""
        return self._options.stream

    def running_replicas_populated(self) -> bool:
        """Whether this process knows of a replica (as in Ray)."""
        router = self._router or Router.of(self._id)
        return router.view is not None and bool(router.view.replicas)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._key == self._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> Any:
        return self._id, self._options

    def __reduce__(self) -> Any:
        return _restore, (type(self), self._id.app, self._id.name, self._methods, self._options)

    def __copy__(self: Self) -> Self:
        return self

    def __deepcopy__(self: Self, memo: Any) -> Self:
        return self

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(name for name in self._methods or () if not name.startswith("_"))})

    def __repr__(self) -> str:
        application = f", app={self._id.app!r}" if self._id.app else ""
        return f"{type(self).__name__}(deployment={self._id.name!r}{application}{self._options.described()})"


class RayServeHandle(DeploymentHandle[T]):
    """The async handle of Ray 2.3: ``ref = await handle.remote(x)``, and then ``await ref``."""

    def _respond(self, call: Any) -> Any:
        return super()._respond(call) if self._options.stream else LegacyResponse(call)


class RayServeDeploymentHandle(RayServeHandle[T]):
    """The same, as deployments got it for what was bound to them."""


class RayServeSyncHandle(RayServeHandle[T]):
    """The sync handle of Ray 2.3: ``aktis.get(handle.remote(x))``."""

    def _respond(self, call: Any) -> Any:
        return DeploymentHandle._respond(self, call)


def _restore(
    kind: type[DeploymentHandle[Any]], app: str, name: str, methods: frozenset[str] | None, options: HandleOptions
) -> DeploymentHandle[Any]:
    return kind(DeploymentID(app, name), methods=methods, _options=options)


def _no_method(id: DeploymentID, name: str, methods: frozenset[str]) -> str:
    close = difflib.get_close_matches(name, methods, 3)
    public = ", ".join(sorted(one for one in methods if not one.startswith("_") or one == "__call__"))
    hint = f"did you mean {', '.join(close)}?" if close else f"its methods: {public or 'none'}"
    return f"deployment {str(id)!r} has no method {name!r}; {hint}"


__all__ = [
    "DeploymentHandle",
    "DeploymentResponse",
    "DeploymentResponseGenerator",
    "RayServeDeploymentHandle",
    "RayServeHandle",
    "RayServeSyncHandle",
]

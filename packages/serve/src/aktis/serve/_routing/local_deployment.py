"""A deployment in local testing mode: the user's object, and who may call it now. Everything on the application's loop."""

from __future__ import annotations

import asyncio
import functools
import inspect
import pickle
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from aktis.serve._protocol import DeploymentID, DeploymentSpec, ReplicaID, RequestMeta
from aktis.serve._replica.callables import GENERATORS, UserCallable
from aktis.serve._replica.threads import Threads
from aktis.serve.config import BackpressureConfig
from aktis.serve.context import ReplicaContext, request_context, set_replica_context
from aktis.serve.exceptions import BackPressureError

if TYPE_CHECKING:
    from aktis.serve.deployment import Deployment

_objects: dict[int, Any] = {}  # what is being "unpickled" as the very same object


class _Itself:
    """Pickled, and unpickled again in this process, it is the object that it was made of."""

    def __init__(self, value: Any) -> None:
        self.key = id(value)
        _objects[self.key] = value

    def __reduce__(self) -> Any:
        return _take, (self.key,)


def _take(key: int) -> Any:
    return _objects.pop(key)


class LocalDeployment:
    """One deployment, of one replica."""

    # as routers have them:
    ended = False
    traced = False
    sent = 0

    def __init__(
        self,
        id: DeploymentID,
        deployment: Deployment,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.id = id
        self.loop = loop
        self.unsettled: set[Any] = set()  # as routers have it
        self.view = None
        self._config = deployment.config
        self._code = deployment.func_or_class
        self._arguments = (args, kwargs)
        self._ongoing = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._watcher = self  # as routers have it
        self._user: UserCallable

    @functools.cached_property
    def method_names(self) -> list[str] | None:
        """What may be called; None: anything, the class has methods that only its object knows."""
        if not inspect.isclass(self._code):
            return ["__call__"]
        if hasattr(self._code, "__getattr__") or "__init__" in vars(self._code):
            return None
        return [name for name in dir(self._code) if callable(getattr(self._code, name, None))]

    def call_soon(self, callback: Callable[[], Any]) -> None:
        """Run something on the loop. Safe in finalizers."""
        try:
            self.loop.call_soon_threadsafe(callback)
        except RuntimeError:  # it is closed
            pass

    async def start(self) -> None:
        """Construct and configure the user's object. Raises what its code raises."""
        spec = DeploymentSpec(
            name=self.id.name,
            config=self._config,
            callable=pickle.dumps(_Itself(self._code)),
            init=pickle.dumps(_Itself(self._arguments)),
            version="",
        )
        threads = Threads(f"serve-local-{self.id.name}", self.loop)
        weakref.finalize(self, threads.close)
        self._user = UserCallable(spec, threads)
        self._set_context(None)
        self._set_context(await self._user.construct())
        if self._config.user_config is not None:
            await self._user.reconfigure(self._config.user_config)
        await self._user.check_health()

    def _set_context(self, servable: Any) -> None:
        replica = ReplicaID(self.id.app, self.id.name, "local")
        context = ReplicaContext(
            app_name=self.id.app,
            deployment=self.id.name,
            replica_tag=str(replica),
            replica_id=replica,
            servable_object=servable,
        )
        set_replica_context(context)

    # calls ------------------------------------------------------------------------------------
    async def call(self, meta: RequestMeta, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What the method returns."""
        await self._enter()
        try:
            value = await self._invoke(meta, args, kwargs)
            if type(value) in GENERATORS:
                raise TypeError(
                    f"{meta.method} of deployment {self.id.name!r} returned a generator: "
                    "call it with handle.options(stream=True)"
                )
            return value
        finally:
            self._leave()

    async def stream(self, meta: RequestMeta, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncIterator[Any]:
        """What the method yields."""
        await self._enter()
        items: Any = None
        try:
            value = await self._invoke(meta, args, kwargs)
            if hasattr(type(value), "__anext__"):
                items = value
            elif hasattr(type(value), "__next__"):
                items = self._user._threads.iterate(value)
            else:
                raise TypeError(
                    f"{meta.method} of deployment {self.id.name!r} returned a {type(value).__name__}, and with "
                    "stream=True it must return (or be) a generator: call it without stream=True"
                )
            async for item in items:
                yield item
        finally:
            if items is not None:
                await items.aclose()
            self._leave()

    def enter_context(self, meta: RequestMeta) -> None:
        """The present task works on this request."""
        self._set_context(self._user.object)
        request_context.set(meta)

    async def _invoke(self, meta: RequestMeta, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.enter_context(meta)
        method = self._user.method(meta.method)
        if method.is_coroutine:
            return await method.function(*args, **kwargs)
        if method.direct:
            return method.function(*args, **kwargs)
        value = await self._user._threads.run(method.function, args, kwargs)
        return await value if hasattr(type(value), "__await__") else value

    async def _enter(self) -> None:
        """Wait until fewer than ``max_ongoing_requests`` run."""
        if self._ongoing < self._config.max_ongoing_requests:
            self._ongoing += 1
            return
        most = self._config.max_queued_requests
        if 0 <= most <= len(self._waiting):
            told = self._config.backpressure_config or BackpressureConfig()
            raise BackPressureError(len(self._waiting), most, str(self.id), told.status_code, told.retry_after_s)
        future: asyncio.Future[None] = self.loop.create_future()
        self._waiting.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._leave()
            else:
                self._waiting.remove(future)
            raise

    def _leave(self) -> None:
        """One has ended; its place goes to the next."""
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                return
        self._ongoing -= 1

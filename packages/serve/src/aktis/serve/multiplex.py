"""``@serve.multiplexed``: many models behind one deployment; each replica holds those that it was asked for last.

::

    request ── get_model("a") ──► _Models ── loaded: at once
                                     │ └──── being loaded: wait for that one load
                                     └────── else: make room (unload the least recently used that no request uses), load
    controller ◄── report_models ── which are loaded, whenever that changes: routers prefer replicas that have the model

A model is in use from ``get_model`` to the end of the request that asked. A request that has no model yet waits until there is
room. One that has some never waits for others (they could wait for it): what it alone uses may go, and if that is
not enough there is one model too many until a request ends.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar, overload

from aktis.serve._replica.callables import disarm
from aktis.serve._replica.running import Running, running_context
from aktis.serve.context import request_context

F = TypeVar("F", bound=Callable[..., Any])

_all: weakref.WeakSet[_Models] = weakref.WeakSet()


def get_multiplexed_model_id() -> str:
    """The model that the present request asks for: of the header ``serve_multiplexed_model_id``, or of
    ``handle.options(multiplexed_model_id=...)``. "" when it asks for none, and outside of requests."""
    meta = request_context.get()
    return meta.model_id if meta is not None else ""


class _Models:
    """The models of one decorated function or method of one replica."""

    def __init__(self, loop: asyncio.AbstractEventLoop, load: Callable[[str], Any], most: int, owner: Any) -> None:
        self.loop = loop
        self.owner = owner
        self._load = load
        self._most = most  # -1: any number
        self._loaded: OrderedDict[str, Any] = OrderedDict()  # the least recently used first
        self._loading: dict[str, asyncio.Task[Any]] = {}
        self._users: dict[str, set[Running]] = {}
        self._room: list[asyncio.Future[None]] = []
        self._unloading: set[asyncio.Task[None]] = set()
        _all.add(self)

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self._loaded)

    async def get(self, model_id: str) -> Any:
        """The model, loaded if need be. Raises what loading it raised."""
        running = running_context.get()
        while True:
            if model_id in self._loaded:
                self._loaded.move_to_end(model_id)
                self._use(model_id, running)
                return self._loaded[model_id]
            task = self._loading.get(model_id)
            if task is None:
                if not self._make_room(running):
                    future: asyncio.Future[None] = self.loop.create_future()
                    self._room.append(future)
                    await future
                    continue  # meanwhile somebody may have loaded it
                task = self._loading[model_id] = self.loop.create_task(self._run_load(model_id))
            self._use(model_id, running)  # before it is there: nobody is to take it away in between
            try:
                return await asyncio.shield(task)
            except asyncio.CancelledError:
                if not task.cancelled():
                    raise
                raise RuntimeError(f"loading of model {model_id!r} was cancelled") from None

    async def _run_load(self, model_id: str) -> Any:
        try:
            if self._unloading:  # their memory first
                await asyncio.wait(self._unloading)
            model = await self._load(model_id)
        except BaseException:
            self._users.pop(model_id, None)
            raise
        else:
            self._loaded[model_id] = model
            _reporter.changed(self.loop)
            return model
        finally:
            del self._loading[model_id]
            self._wake()

    def _use(self, model_id: str, running: Running | None) -> None:
        """The request uses the model until it ends."""
        if running is None:
            return
        users = self._users.setdefault(model_id, set())
        if running not in users:
            users.add(running)
            running.at_end(functools.partial(self._release, model_id, running))

    def _release(self, model_id: str, running: Running) -> None:
        users = self._users.get(model_id)
        if users is not None:
            users.discard(running)
            if not users:
                del self._users[model_id]
        while 0 < self._most < len(self._loaded) + len(self._loading) and self._unload_one(None):
            pass  # there was one too many
        self._wake()

    def _wake(self) -> None:
        waiting, self._room = self._room, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _make_room(self, running: Running | None) -> bool:
        """Whether a further model may be loaded now."""
        while 0 < self._most <= len(self._loaded) + len(self._loading):
            if not self._unload_one(running):
                return running is not None and any(running in users for users in self._users.values())
        return True

    def _unload_one(self, running: Running | None) -> bool:
        """Unload the model that was not used for the longest time, of those that no request but this one uses."""
        for model_id in self._loaded:
            if not self._users.get(model_id, set()) - {running}:
                model = self._loaded.pop(model_id)
                task = self.loop.create_task(_finish(model))
                self._unloading.add(task)
                task.add_done_callback(self._unloading.discard)
                _reporter.changed(self.loop)
                return True
        return False

    async def unload_all(self) -> None:
        """At the end of the replica."""
        models, self._loaded = list(self._loaded.values()), OrderedDict()
        await asyncio.gather(*(_finish(model) for model in models), *self._unloading)


async def _finish(model: Any) -> None:
    """Calls ``__del__`` of a model, once. What it raises is logged: the model is gone either way."""
    finish = getattr(type(model), "__del__", None)
    if finish is None:
        return
    try:
        if inspect.iscoroutinefunction(finish):
            await finish(model)
        else:
            await asyncio.get_running_loop().run_in_executor(None, finish, model)
    except Exception:
        from aktis.serve._replica.logs import LOGGER

        LOGGER.exception("__del__ of a model raised")
    finally:
        disarm(model)


async def unload_models(owner: Any) -> None:
    """Unload what ``owner`` (a user's object) and functions have loaded; for the end of a replica."""
    await asyncio.gather(*(models.unload_all() for models in list(_all) if models.owner in (None, owner)))


class _Reporter:
    """Tells the controller which models this process has; one message at a time, the newest state last."""

    def __init__(self) -> None:
        self._due = False
        self._busy = False

    def changed(self, loop: asyncio.AbstractEventLoop) -> None:
        """What is loaded has changed."""
        self._due = True
        if not self._busy:
            self._busy = True
            loop.create_task(self._send(loop))

    async def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while self._due:
                self._due = False
                ids = tuple(dict.fromkeys(model_id for models in list(_all) for model_id in models.ids))
                await loop.run_in_executor(None, _report, ids)
        finally:
            self._busy = False


_reporter = _Reporter()


def _report(model_ids: tuple[str, ...]) -> None:
    import aktis
    from aktis.serve._protocol import CONTROLLER_NAME, NAMESPACE
    from aktis.serve.context import get_replica_context
    from aktis.serve.exceptions import ServeError

    try:
        replica_id = get_replica_context().replica_id
    except ServeError:  # of a test, without a replica
        return
    if not aktis.is_initialized():
        return
    try:
        controller = aktis.get_actor(CONTROLLER_NAME, namespace=NAMESPACE)
        aktis.get(controller.report_models.remote(replica_id, model_ids), timeout=10)
    except Exception as error:  # it is away, and requests are answered nevertheless; the next change says all
        from aktis.serve._replica.logs import LOGGER

        LOGGER.debug("could not report the loaded models: %s", error)


# Decorator -----------------------------------------------------------------------------------------------------------


@overload
def multiplexed(func: F, /) -> F: ...
@overload
def multiplexed(*, max_num_models_per_replica: int = 3) -> Callable[[F], F]: ...
def multiplexed(func: Callable[..., Any] | None = None, max_num_models_per_replica: int = 3) -> Any:
    """Make an ``async def`` function or method that loads a model by its id one that keeps the models it has loaded.

    Calls for a model that is loaded give it at once; calls for one that is being loaded share the load. When there are
    ``max_num_models_per_replica``, the one that was not used for the longest time goes first: its ``__del__`` is called.

    Args:
        max_num_models_per_replica: how many models a replica keeps; -1: all of them.

    Raises:
        TypeError: the function is not ``async def``, or takes no model id.
        ValueError: ``max_num_models_per_replica`` is out of range.
    """
    most = max_num_models_per_replica
    if isinstance(most, bool) or not isinstance(most, int):
        raise TypeError(f"max_num_models_per_replica must be an integer, and it is {most!r}")
    if most < 1 and most != -1:
        raise ValueError(f"max_num_models_per_replica must be at least 1, or -1 for any number, and it is {most}")

    def decorate(function: Callable[..., Any]) -> Any:
        name = getattr(function, "__qualname__", None) or repr(function)
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"functions decorated with @serve.multiplexed must be 'async def', and {name} is not")
        parameters = list(inspect.signature(function).parameters)
        is_method = bool(parameters) and parameters[0] == "self"
        if len(parameters) != 1 + is_method:
            raise TypeError(f"{name} must take one model id (and self, if it is a method), and it takes {parameters}")
        return _wrap(function, most, is_method)

    return decorate if func is None else decorate(func)


def _wrap(function: Callable[..., Any], most: int, is_method: bool) -> Any:
    place = f"__aktis_models_{function.__qualname__}"
    mine = _Place()

    @functools.wraps(function)
    async def get_model(*args: Any, **kwargs: Any) -> Any:
        bound = inspect.signature(function).bind(*args, **kwargs).args if kwargs else args
        if len(bound) != 1 + is_method:
            raise TypeError(f"{function.__qualname__}() takes one model id")
        model_id = bound[-1]
        if not isinstance(model_id, str):
            raise TypeError(f"a model id is a str, and this is {model_id!r}")
        if not model_id:
            raise ValueError(
                "the model id is empty: the request has no header serve_multiplexed_model_id (or the handle no "
                "multiplexed_model_id option)"
            )
        loop = asyncio.get_running_loop()
        holder = vars(bound[0]) if is_method else mine.values
        models = holder.get(place)
        if models is None or models.models.loop.is_closed():
            load = functools.partial(function, bound[0]) if is_method else function
            holder[place] = models = _Held(_Models(loop, load, most, bound[0] if is_method else None))
        if models.models.loop is loop:
            return await models.models.get(model_id)
        elsewhere = asyncio.run_coroutine_threadsafe(models.models.get(model_id), models.models.loop)
        return await asyncio.wrap_future(elsewhere)

    return get_model


class _Held:
    """Models do not travel with the object that holds them: a copy loads its own."""

    def __init__(self, models: _Models) -> None:
        self.models = models

    def __reduce__(self) -> Any:
        return type(None), ()


class _Place:
    """Where a plain function keeps its models."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def __reduce__(self) -> Any:
        return _Place, ()

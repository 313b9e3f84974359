"""What travels to Ray's workers, and what happens there around a call of the user's code.

A pickle of :class:`Shipped` begins with this module's name, before anything of the user: importing it puts the modules
that travelled with Aktis on the import path, and makes the worker's engine.
"""

from __future__ import annotations

import asyncio
import copyreg
import importlib
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import aktis
from aktis import _session

SHIPPED = "aktis_shipped"  # folder that travels beside ``aktis``: the user's modules
FALLBACKS = "_fallbacks"  # folder in the travelling ``aktis``: what it needs and the node may lack


@dataclass(frozen=True, slots=True)
class Job:
    """Facts about the driver that its workers need."""

    hooks: tuple[tuple[str, str], ...] = ()  # see aktis._settings.WORKER_HOOKS
    home: str = ""  # where the driver's Aktis lies


def _extend_path() -> None:
    """The user's modules come before what is installed on the node, and after what Ray put on the path."""
    for entry in tuple(sys.path):
        modules = os.path.join(entry, SHIPPED)
        if os.path.isdir(modules) and modules not in sys.path:
            homes = (sys.prefix, sys.base_prefix)
            position = next((at for at, path in enumerate(sys.path) if path.startswith(homes)), len(sys.path))
            sys.path.insert(position, modules)
    for folder in aktis.__path__:
        fallbacks = os.path.join(folder, FALLBACKS)
        if os.path.isdir(fallbacks) and fallbacks not in sys.path:
            sys.path.append(fallbacks)


_extend_path()


def enter(job: Job) -> None:
    """Make this process a worker of the session. Does nothing the second time, and in drivers."""
    if _session.current is not None:
        return
    from aktis._ray import packages
    from aktis._ray.engine import RayEngine
    from aktis._serialization.errors import PACKAGES

    if job.home and job.home not in PACKAGES:
        PACKAGES.append(job.home)
    engine = RayEngine.of_worker(job)
    _session.attach(engine)
    packages.arrive(engine)
    for module, argument in job.hooks:
        importlib.import_module(module).start_worker(argument)


class Failed(Exception):
    """What the user's code raised, as bytes: Ray carries it to whoever asks for the result."""

    def __init__(self, data: bytes, text: str, original: BaseException | None = None) -> None:
        super().__init__(text)
        self.data = data
        self.original = original  # where it was raised only: Ray asks there whether to retry

    def __reduce__(self) -> tuple[Any, ...]:
        return Failed, (self.data, self.args[0])


class _CausedBy(type):
    """Of a class that stands for "caused by one of these"; Ray asks with ``isinstance`` whether to retry."""

    causes: tuple[type[BaseException], ...]

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Failed) and isinstance(instance.original, cls.causes)


def caused_by(causes: tuple[type[BaseException], ...]) -> type[Exception]:
    """For Ray's ``retry_exceptions``: a class of which :class:`Failed` is an instance when it came from one of ``causes``."""
    made: Any = _CausedBy("CausedBy", (Exception,), {"causes": causes})
    result: type[Exception] = made
    return result


def _reduce_caused_by(cls: Any) -> tuple[Any, ...]:
    """Ray Client pickles options plainly, and these classes have no names."""
    import cloudpickle

    return _caused_by_again, (cloudpickle.dumps(cls.causes),)


def _caused_by_again(causes: bytes) -> type[Exception]:
    return caused_by(pickle.loads(causes))


copyreg.pickle(_CausedBy, _reduce_caused_by)


def failure(error: BaseException, name: str, **where: Any) -> Failed:
    """What to raise in Ray's worker for an exception of the user's code."""
    from aktis._serialization import pack_exception
    from aktis._serialization.errors import format_remote

    return Failed(pack_exception(error, name, pid=os.getpid(), **where), format_remote(error), error)


class Shipped:
    """A user's function (or class) on its way to workers. Ray pickles it once.

    ``count`` is how many results the caller expects: Ray would not say whose fault another number is.
    """

    __slots__ = ("count", "function", "job", "name")

    def __init__(self, job: Job, name: str, function: Callable[..., Any], count: int = 1) -> None:
        self.job = job
        self.name = name
        self.function = function
        self.count = count

    def __reduce__(self) -> tuple[Any, ...]:
        return Shipped, (_Arrival(self.job), self.name, self.function, self.count)

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            value = self.function(*args, **kwargs)
            return value if self.count == 1 else self._split(value)
        except Exception as error:
            raise failure(error, self.name) from None

    def run_coroutine(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            value = asyncio.run(self.function(*args, **kwargs))
            return value if self.count == 1 else self._split(value)
        except Exception as error:
            raise failure(error, self.name) from None

    def _split(self, value: Any) -> Any:
        if self.count == 0:
            return None
        if not hasattr(value, "__len__") and not hasattr(value, "__iter__"):
            raise ValueError(
                f"{self.name} has num_returns={self.count}, but returned one {type(value).__name__}: {value!r}"
            )
        values = list(value)
        if len(values) != self.count:
            raise ValueError(f"{self.name} has num_returns={self.count}, but returned {len(values)} values")
        return values

    def run_generator(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Any]:
        try:
            items = self.function(*args, **kwargs)
            for item in items:  # noqa: UP028 - Ray sends something, which is not for the user
                yield item
        except Exception as error:
            raise failure(error, self.name) from None

    def run_async_generator(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Any]:
        try:
            with _Runner() as runner:
                items = self.function(*args, **kwargs)
                while True:
                    try:
                        item = runner.run(anext(items))
                    except StopAsyncIteration:
                        return
                    yield item
        except Exception as error:
            raise failure(error, self.name) from None


class _Runner:
    """The little of ``asyncio.Runner`` that is needed here; Python 3.10 has none."""

    def __enter__(self) -> _Runner:
        self._loop = asyncio.new_event_loop()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def run(self, coroutine: Any) -> Any:
        return self._loop.run_until_complete(coroutine)


class _Arrival:
    """The first thing in a pickle of ours: reading it makes the process a worker."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (self.job,)


def _arrived(job: Job) -> Job:
    enter(job)
    return job


def task_of(shipped: Shipped, is_generator: bool, is_coroutine: bool) -> Callable[..., Any]:
    """The function that Ray gets: of the right kind, under the user's name."""
    if is_generator:
        items = shipped.run_async_generator if is_coroutine else shipped.run_generator

        def task(*args: Any, **kwargs: Any) -> Any:
            for item in items(args, kwargs):  # noqa: UP028 - as there
                yield item

    else:
        run = shipped.run_coroutine if is_coroutine else shipped.run

        def task(*args: Any, **kwargs: Any) -> Any:
            return run(args, kwargs)

    for attribute in ("__module__", "__name__", "__qualname__", "__doc__"):
        if isinstance(getattr(shipped.function, attribute, None), str):
            setattr(task, attribute, getattr(shipped.function, attribute))
    return task

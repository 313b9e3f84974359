"""The pool itself: the interface of :class:`multiprocessing.pool.Pool`, on actors."""

from __future__ import annotations

import functools
import itertools
import logging
import multiprocessing
import threading
import types
import warnings
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import aktis
from aktis.util.multiprocessing._dispatch import Chunk, Dispatcher
from aktis.util.multiprocessing._worker import CALL, MAP, STARMAP, PoolWorker

__all__ = ["AsyncResult", "IMapIterator", "Pool", "PoolTaskError"]

_CHUNKS_PER_PROCESS = 4  # of a map with the default chunksize, as in the standard library
_AHEAD_PER_PROCESS = 4  # chunks that imap has under way or ready, when it can't know how many there are
_FUNCTIONS_KEPT = 64


class PoolTaskError(Exception):
    """A call in a pool failed in a way that is not an exception of the function."""

    def __init__(self, underlying: BaseException) -> None:
        super().__init__(underlying)
        self.underlying = underlying


class AsyncResult:
    """The outcome of an ``..._async`` call."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        chunks: int,
        single: bool,
        callback: Callable[[Any], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
    ) -> None:
        self._dispatcher = dispatcher
        self._single = single
        self._callback = callback
        self._error_callback = error_callback
        self._parts: list[list[Any] | None] = [None] * chunks
        self._missing = chunks
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._done = threading.Event()
        if not chunks:
            self._finish()

    def _chunk_done(self, index: int, results: list[Any] | None, error: BaseException | None) -> None:
        with self._lock:
            if error is not None and self._error is None:
                self._error = error
            self._parts[index] = results
            self._missing -= 1
            if self._missing:
                return
        self._finish()

    def _finish(self) -> None:
        try:
            if self._error is None:
                if self._callback is not None:
                    self._callback(self._value())
            elif self._error_callback is not None:
                self._error_callback(self._error)
        except Exception:
            # The thread that delivers works for other results too, so the callback's trouble is told and left.
            logging.getLogger(__name__).exception("a callback of a pool's result raised")
        finally:
            self._done.set()

    def _value(self) -> Any:
        results = [item for part in self._parts for item in part or ()]
        return results[0] if self._single else results

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the result is there, or ``timeout`` seconds have passed."""
        self._dispatcher.help(self._done.is_set, timeout)

    def get(self, timeout: float | None = None) -> Any:
        """The result, or the exception of the call. Raises :class:`multiprocessing.TimeoutError`."""
        self.wait(timeout)
        if not self._done.is_set():
            raise multiprocessing.TimeoutError(f"the result was not ready within {timeout} s")
        if self._error is not None:
            raise self._error
        return self._value()

    def ready(self) -> bool:
        """Whether the call is done, with success or not."""
        self._dispatcher.help(self._done.is_set, 0)
        return self._done.is_set()

    def successful(self) -> bool:
        """Whether the call is done without an exception. Raises ValueError when it is not done."""
        if not self.ready():
            raise ValueError(f"{self!r} is not ready: successful() is known when ready() is True")
        return self._error is None


class IMapIterator:
    """The results of ``imap`` or ``imap_unordered``, one by one."""

    def __init__(self, pool: Pool, func: Any, iterable: Iterable[Any], chunksize: int, ordered: bool) -> None:
        self._pool = pool
        self._function = pool._function(func)
        self._chunks = _chunked(iterable, chunksize)
        # The length is known: everything is handed over at once, as by the standard library.
        # Otherwise the iterable may be endless, and is read as far as results are taken.
        self._window = None if hasattr(iterable, "__len__") else _AHEAD_PER_PROCESS * pool._processes
        self._ordered = ordered
        self._lock = threading.RLock()
        self._submitted = 0
        self._exhausted = False
        self._arrived: dict[int, tuple[list[Any] | None, BaseException | None]] = {}
        self._next_chunk = 0
        self._items: deque[Any] = deque()  # of the chunk that is being handed out
        self._fill()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self.next()

    def next(self, timeout: float | None = None) -> Any:
        """The next result, or its exception. Raises StopIteration, and :class:`multiprocessing.TimeoutError`."""
        while not self._items:
            self._fill()
            if self._exhausted and self._next_chunk >= self._submitted:
                raise StopIteration
            if not self._pool._dispatcher.help(self._has_next, timeout):
                raise multiprocessing.TimeoutError(f"the next result was not ready within {timeout} s")
            with self._lock:
                key = self._next_chunk if self._ordered else next(iter(self._arrived))
                results, error = self._arrived.pop(key)
                self._next_chunk += 1
            if error is not None:
                raise error
            self._items.extend(results or ())
        return self._items.popleft()

    def _has_next(self) -> bool:
        return self._next_chunk in self._arrived if self._ordered else bool(self._arrived)

    def _fill(self, everything: bool = False) -> None:
        """Submit chunks, as far ahead as we may."""
        with self._lock:
            if self._exhausted:
                return
            room = None if everything or self._window is None else self._window - (self._submitted - self._next_chunk)
            new = []
            for batch in itertools.islice(self._chunks, room if room is None else max(room, 0)):
                new.append(Chunk(self._function, MAP, batch, self._collector(self._submitted)))
                self._submitted += 1
            if room is None or len(new) < room:
                self._exhausted = True
        if new:
            self._pool._dispatcher.submit(new)

    def _collector(self, index: int) -> Callable[[list[Any] | None, BaseException | None], None]:
        def arrived(results: list[Any] | None, error: BaseException | None) -> None:
            with self._lock:
                self._arrived[index] = (results, error)

        return arrived


class Pool:
    """A pool of processes that apply functions to data, with the interface of :class:`multiprocessing.pool.Pool`.

    The processes are actors, so the pool can be larger than one machine and can be used inside of tasks.
    ``processes`` is by default, and at most, the number of CPUs of the cluster. ``ray_remote_args`` (or
    ``remote_args``) are options of the actors, as in ``Pool(remote_args={"num_gpus": 1})``; ``ray_address``
    (or ``address``) is where to connect to, if there is no session yet.
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: Any = None,
        ray_address: str | None = None,
        ray_remote_args: dict[str, Any] | None = None,
        *,
        address: str | None = None,
        remote_args: dict[str, Any] | None = None,
    ) -> None:
        self._closed = True  # until there is something to close
        self._terminated = False
        if context is not None:
            warnings.warn("the argument context has no effect: the processes of this pool are actors", stacklevel=2)
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if maxtasksperchild is not None and (not isinstance(maxtasksperchild, int) or maxtasksperchild <= 0):
            raise ValueError(f"maxtasksperchild must be a positive int or None, not {maxtasksperchild!r}")
        self._processes = _number_of_processes(processes, address or ray_address)
        options = {"num_cpus": 0, **(ray_remote_args or {}), **(remote_args or {})}
        actor_class = aktis.remote(**options)(PoolWorker)
        arguments = (initializer, tuple(initargs or ()))
        from aktis import _session

        self._dispatcher = Dispatcher(
            self._processes,
            lambda: actor_class.remote(*arguments),
            maxtasksperchild,
            background=_session.require_engine().mode != "inline",
        )
        self._functions: OrderedDict[Any, Any] = OrderedDict()
        self._iterators: list[IMapIterator] = []
        self._closed = False

    # one call --------------------------------------------------------------------------------

    def apply(self, func: Callable[..., Any], args: Iterable[Any] = (), kwargs: dict[str, Any] | None = None) -> Any:
        """``func(*args, **kwargs)`` in one of the processes."""
        return self.apply_async(func, args, kwargs).get()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwargs: dict[str, Any] | None = None,
        callback: Callable[[Any], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
    ) -> AsyncResult:
        """:meth:`apply` without waiting. A thread calls ``callback(result)`` or ``error_callback(exception)``."""
        self._check_running()
        call = (tuple(args or ()), dict(kwargs or {}))
        return self._start(func, CALL, [[call]], True, callback, error_callback)

    # many calls ------------------------------------------------------------------------------

    def map(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int | None = None) -> list[Any]:
        """``[func(item) for item in iterable]``, in chunks, by all processes."""
        return list(self.map_async(func, iterable, chunksize).get())

    def map_async(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callable[[list[Any]], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
    ) -> AsyncResult:
        """:meth:`map` without waiting."""
        return self._map(func, MAP, iterable, chunksize, callback, error_callback)

    def starmap(
        self, func: Callable[..., Any], iterable: Iterable[Iterable[Any]], chunksize: int | None = None
    ) -> list[Any]:
        """``[func(*item) for item in iterable]``."""
        return list(self.starmap_async(func, iterable, chunksize).get())

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[list[Any]], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
    ) -> AsyncResult:
        """:meth:`starmap` without waiting."""
        return self._map(func, STARMAP, iterable, chunksize, callback, error_callback)

    def imap(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int = 1) -> IMapIterator:
        """An iterator of the results, in order. An iterable without a length is read as results are taken."""
        return self._imap(func, iterable, chunksize, ordered=True)

    def imap_unordered(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int = 1) -> IMapIterator:
        """Like :meth:`imap`, with the results as they become ready."""
        return self._imap(func, iterable, chunksize, ordered=False)

    # the end ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Take no more work; what was submitted is done."""
        if not self._closed:
            self._closed = True
            for iterator in self._iterators:
                iterator._fill(everything=True)

    def terminate(self) -> None:
        """Stop at once; results that are not there yet become errors."""
        self._closed = self._terminated = True
        self._dispatcher.stop(PoolTaskError(RuntimeError("the pool was terminated before the call was done")))

    def join(self) -> None:
        """Wait until all work is done and the processes have ended. Call :meth:`close` or :meth:`terminate` first."""
        if not self._closed:
            raise ValueError("Pool is still running: call close() or terminate() before join()")
        if not self._terminated:
            self._dispatcher.help(self._dispatcher.idle, None)
            self.terminate()

    def __enter__(self) -> Pool:
        self._check_running()
        return self

    def __exit__(self, *_: object) -> None:
        self.terminate()

    def __del__(self) -> None:
        # May run in the middle of anything, so nothing here takes a lock. The actors go with their handles.
        if not getattr(self, "_closed", True):
            self._dispatcher.abandon()

    def __reduce__(self) -> Any:
        raise TypeError("pool objects cannot be passed between processes or pickled")

    def __repr__(self) -> str:
        state = "TERMINATE" if self._terminated else "CLOSE" if self._closed else "RUN"
        return f"<{type(self).__module__}.{type(self).__qualname__} state={state} pool_size={self._processes}>"

    # inside ----------------------------------------------------------------------------------

    def _check_running(self) -> None:
        if self._closed:
            raise ValueError("Pool not running")

    def _map(
        self,
        func: Callable[..., Any],
        kind: int,
        iterable: Iterable[Any],
        chunksize: int | None,
        callback: Callable[[list[Any]], Any] | None,
        error_callback: Callable[[BaseException], Any] | None,
    ) -> AsyncResult:
        self._check_running()
        items = list(iterable)
        if chunksize is None:
            chunksize = max(-(-len(items) // (self._processes * _CHUNKS_PER_PROCESS)), 1)
        batches = list(_chunked(items, chunksize))
        return self._start(func, kind, batches, False, callback, error_callback)

    def _start(
        self,
        func: Callable[..., Any],
        kind: int,
        batches: list[list[Any]],
        single: bool,
        callback: Callable[[Any], Any] | None,
        error_callback: Callable[[BaseException], Any] | None,
    ) -> AsyncResult:
        function = self._function(func)
        result = AsyncResult(self._dispatcher, len(batches), single, callback, error_callback)
        self._dispatcher.submit(
            [
                Chunk(function, kind, batch, functools.partial(result._chunk_done, index))
                for index, batch in enumerate(batches)
            ]
        )
        return result

    def _imap(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int, ordered: bool) -> IMapIterator:
        self._check_running()
        iterator = IMapIterator(self, func, iterable, chunksize, ordered)
        self._iterators = [one for one in self._iterators if not one._exhausted]
        self._iterators.append(iterator)
        return iterator

    def _function(self, func: Any) -> Any:
        """A reference to the function. A plain function without captured variables is sent once for many calls."""
        if not callable(func):
            raise TypeError(f"func must be a callable, not {func!r}")
        plain = isinstance(func, (types.FunctionType, types.BuiltinFunctionType)) and not getattr(
            func, "__closure__", None
        )
        if not plain:
            return aktis.put(func)
        known = self._functions.get(func)
        if known is None:
            known = self._functions[func] = aktis.put(func)
            if len(self._functions) > _FUNCTIONS_KEPT:
                self._functions.popitem(last=False)
        return known


def _chunked(iterable: Iterable[Any], chunksize: int) -> Iterator[list[Any]]:
    if isinstance(chunksize, bool) or not isinstance(chunksize, int) or chunksize < 1:
        raise ValueError(f"chunksize must be an int of at least 1, not {chunksize!r}")

    def chunks() -> Iterator[list[Any]]:
        items = iter(iterable)
        while chunk := list(itertools.islice(items, chunksize)):
            yield chunk

    return chunks()


def _number_of_processes(processes: int | None, address: str | None) -> int:
    if processes is not None:
        if isinstance(processes, bool) or not isinstance(processes, int):
            raise TypeError(f"processes must be an int, not {processes!r}")
        if processes <= 0:
            raise ValueError(f"a pool needs at least one process, got processes={processes}")
    if not aktis.is_initialized():
        if address is not None:
            aktis.init(address=address)
        elif processes is not None:
            aktis.init(num_cpus=processes)
        else:
            aktis.init()
    cpus = int(aktis.cluster_resources().get("CPU", 0))
    if processes is None:
        return max(cpus, 1)
    if processes > cpus:
        raise ValueError(f"a pool of {processes} processes needs as many CPUs, and the cluster has {cpus}")
    return processes

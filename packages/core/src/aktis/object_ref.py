"""References to values that exist, or will exist, somewhere in the session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Generator, Iterable, Sequence

__all__ = ["ObjectRef"]

T = TypeVar("T", covariant=True)

NIL_ID = b"\xff" * 20
STANDS_FOR = "__aktis_ref__"
"""Objects of other libraries that stand for a reference have a method of this name, which returns it."""


class ObjectRef(Generic[T]):
    """A reference to a value: the result of a call, or of :func:`aktis.put`.

    Within one process there is at most one object per id, so references compare and hash by identity.
    Engines subclass it; users never build one.
    """

    __slots__ = ("__weakref__",)

    def binary(self) -> bytes:
        """The id of the object: 20 bytes."""
        raise TypeError("an ObjectRef is made by .remote() or aktis.put(), not by calling the class")

    def hex(self) -> str:
        """The id as 40 hexadecimal digits."""
        return self.binary().hex()

    def is_nil(self) -> bool:
        """Whether it stands for nothing."""
        return self.binary() == NIL_ID

    def task_id(self) -> str:
        """Id of the call that makes the object: 32 hexadecimal digits."""
        return self.binary()[:16].hex()

    def job_id(self) -> str:
        """Id of the job that this process belongs to."""
        from aktis import _session

        return str(_session.require_engine().context()["job_id"])

    def future(self) -> concurrent.futures.Future[T]:
        """A future that gets the value, or the exception that :func:`aktis.get` would raise."""
        import concurrent.futures

        from aktis import _session

        engine = _session.require_engine()
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        future.set_running_or_notify_cancel()

        def finish() -> None:
            try:
                future.set_result(engine.get([self], None)[0])
            except BaseException as error:
                future.set_exception(error)

        engine.add_done_callback(self, finish)
        return future

    def add_done_callback(self, callback: Callable[[], None]) -> None:
        """Call ``callback()`` once when :func:`aktis.get` would not wait: now, or later on whatever thread learns of it.

        It must not block: messages of this process may wait for it. An exception that it raises is logged.
        """
        from aktis import _session

        if not callable(callback):
            raise TypeError(f"callback must be callable without arguments, got {callback!r}")
        _session.require_engine().add_done_callback(self, callback)

    def __await__(self) -> Generator[Any, None, T]:
        from aktis import _session
        from aktis._asyncio import Announcement

        engine = _session.require_engine()
        announcement = Announcement()
        engine.add_done_callback(self, announcement)
        yield from announcement.__await__()
        value: T = engine.get([self], None)[0]
        return value

    def __repr__(self) -> str:
        return f"ObjectRef({self.hex()})"

    def __copy__(self) -> ObjectRef[T]:
        return self

    def __deepcopy__(self, memo: Any) -> ObjectRef[T]:
        return self


def reference_of(value: Any) -> Any:
    """The reference that an object stands for; anything else as it is. Raises TypeError when it gives something else."""
    stands_for = getattr(type(value), STANDS_FOR, None)
    if stands_for is None:
        return value
    ref = stands_for(value)
    if not isinstance(ref, ObjectRef):
        raise TypeError(f"{type(value).__name__}.{STANDS_FOR}() must return an ObjectRef, it returned {ref!r}")
    return ref


_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, list, tuple, dict, set})


def resolve_stand_ins(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments with the references in the place of objects that stand for one. Looks at the top level only."""
    for value in args:
        kind = type(value)
        if kind not in _PLAIN and hasattr(kind, STANDS_FOR):
            args = tuple(map(reference_of, args))
            break
    for value in kwargs.values():
        kind = type(value)
        if kind not in _PLAIN and hasattr(kind, STANDS_FOR):
            kwargs = {key: reference_of(item) for key, item in kwargs.items()}
            break
    return args, kwargs


def check_unique(refs: Sequence[Any]) -> None:
    """What ``wait`` asks of its list."""
    if len(set(refs)) != len(refs):
        raise ValueError("wait() needs a list without duplicates")


def call_all(callbacks: Iterable[Callable[[], None]]) -> None:
    """Call all, whatever one of them raises: some are the user's."""
    for callback in callbacks:
        try:
            callback()
        except Exception:
            import logging

            logging.getLogger("aktis").exception("A callback of a reference failed.")

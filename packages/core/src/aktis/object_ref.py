"""References to values that exist, or will exist, somewhere in the session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Generator

T = TypeVar("T", covariant=True)

NIL_ID = b"\xff" * 20
JOB_ID_SIZE = 4


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
        return self.binary() == NIL_ID

    def task_id(self) -> str:
        """Id of the call that makes the object: 32 hexadecimal digits."""
        return self.binary()[:16].hex()

    def job_id(self) -> str:
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

    def __await__(self) -> Generator[Any, None, T]:
        from aktis import _session
        from aktis._asyncio import announced

        engine = _session.require_engine()
        yield from announced(lambda wake: engine.add_done_callback(self, wake))
        value: T = engine.get([self], None)[0]
        return value

    def __repr__(self) -> str:
        return f"ObjectRef({self.hex()})"

    def __copy__(self) -> ObjectRef[T]:
        return self

    def __deepcopy__(self, memo: Any) -> ObjectRef[T]:
        return self

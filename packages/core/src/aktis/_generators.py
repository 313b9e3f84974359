"""What a call of a remote generator returns: references one by one, while the generator still runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from aktis.object_ref import ObjectRef

T = TypeVar("T")


class StreamSource(Protocol):
    """The engine's side of one remote generator, as its caller sees it."""

    completed_ref: ObjectRef[Any]
    """Ready when the generator has ended: its value is None, or the error that ended it. Carries the task's id."""

    def next_ref(self, timeout: float | None) -> ObjectRef[Any]:
        """The next item's reference, which is ready. Raises StopIteration after the last one, GetTimeoutError in time.

        An exception of the generator's body is one more item, whose ``get`` raises it.
        """
        ...

    def ready(self) -> bool:
        """Whether ``next_ref`` would answer at once (an item is there, or the end)."""
        ...

    def finished(self) -> bool:
        """Whether the generator has ended and all its items were taken."""
        ...

    def add_item_callback(self, callback: Callable[[], None]) -> None:
        """Call ``callback()`` once, from any thread, as soon as ``ready()`` (now, if it is so already)."""
        ...

    def close(self) -> None:
        """The caller has lost interest: stop the generator, free what was not taken. Any thread, any number of times."""
        ...


class ObjectRefGenerator(Generic[T]):
    """References to what a remote generator yields, in order. Iterate with ``for``, ``async for`` or ``next``.

    Also an item of :func:`aktis.wait`: it is ready when ``next`` would not wait. Dropping it stops the generator.
    Not for several threads at once, and not to be sent to other processes.
    """

    __slots__ = ("__weakref__", "_source")

    def __init__(self, source: StreamSource) -> None:
        self._source = source

    def __iter__(self) -> Iterator[ObjectRef[T]]:
        return self

    def __next__(self) -> ObjectRef[T]:
        return self._source.next_ref(None)

    def _next_sync(self, timeout: float | None = None) -> ObjectRef[T]:
        """``next`` with a time limit: GetTimeoutError when it passes."""
        return self._source.next_ref(timeout)

    def __aiter__(self) -> AsyncIterator[ObjectRef[T]]:
        return self

    async def __anext__(self) -> ObjectRef[T]:
        from aktis._asyncio import announced

        if not self._source.ready():
            await announced(self._source.add_item_callback)
        try:
            return self._source.next_ref(None)
        except StopIteration:
            raise StopAsyncIteration from None

    def completed(self) -> ObjectRef[Any]:
        """A reference that is ready when the generator has ended; ``get`` raises the error that ended it."""
        return self._source.completed_ref

    def next_ready(self) -> bool:
        """Whether ``next`` would answer at once."""
        return self._source.ready()

    def is_finished(self) -> bool:
        """Whether the generator has ended and every item was taken."""
        return self._source.finished()

    def task_id(self) -> str:
        """Id of the call that makes the items: 32 hexadecimal digits."""
        return self._source.completed_ref.task_id()

    def close(self) -> None:
        """Stop the generator; items that were not taken are freed."""
        self._source.close()

    def __del__(self) -> None:
        try:
            self._source.close()
        except Exception:  # the interpreter is going down, or the session is gone: nothing is left to stop
            pass

    def __reduce__(self) -> Any:
        raise TypeError(
            "an ObjectRefGenerator cannot be sent to other processes: iterate here and send the references it gives"
        )

    def __repr__(self) -> str:
        return f"ObjectRefGenerator({self._source.completed_ref.hex()})"


class DynamicObjectRefGenerator(Generic[T]):
    """The value of a call with ``num_returns="dynamic"``: an iterable of the references to what was yielded."""

    __slots__ = ("_refs",)

    def __init__(self, refs: list[ObjectRef[T]]) -> None:
        self._refs = list(refs)

    def __iter__(self) -> Generator[ObjectRef[T], None, None]:
        yield from self._refs

    def __len__(self) -> int:
        return len(self._refs)

    def __getitem__(self, index: int) -> ObjectRef[T]:
        return self._refs[index]

    def __reduce__(self) -> Any:
        return DynamicObjectRefGenerator, (self._refs,)

    def __repr__(self) -> str:
        return f"DynamicObjectRefGenerator({len(self._refs)} references)"

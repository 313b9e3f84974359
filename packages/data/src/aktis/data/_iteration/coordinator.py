"""The actor that runs an execution for several consumers, and hands out its blocks.

::

    consumer 0 ──begin, next, leave──▶ ┌ Coordinator (an actor; calls run in threads) ┐
    consumer 1 ──────────────────────▶ │  Dealer ◀── pump thread ◀── execution        │
                                       └──────────────────────────────────────────────┘
          ◀── references of blocks, which each consumer loads from the object store itself

Guarantees: one lock (``_changed``) guards all state. The pump owns its stream: it opens it, and closes it when it ends.
An epoch begins when all consumers have asked for it; that ends the one before. Nobody waits for ever: those who wait look every
second whether the one that they wait for is alive, and give up after a time.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from aktis.data._iteration.dealer import Dealer
from aktis.data._iteration.meeting import Consumer, ConsumerError, Meeting

if TYPE_CHECKING:
    from aktis.data._execution.handle import BlockHandle
    from aktis.data.dataset import Dataset


class Coordinator(Meeting):
    """Runs a dataset, epoch by epoch, for ``n`` consumers. Used as an actor with more than ``2 * n`` threads."""

    def __init__(self, dataset: Dataset, n: int, equal: bool, locality: bool, patience: float) -> None:
        super().__init__(n, patience, "streaming_split")
        self._dataset = dataset
        self._equal = equal
        self._locality = locality and not equal
        self._arrived: set[int] = set()  # those who wait for the next epoch to begin
        self._epoch = -1
        self._dealer: Dealer[tuple[BlockHandle, frozenset[str]]] | None = None
        self._error: BaseException | None = None

    def begin(self, part: int, consumer: Consumer) -> int:
        """Wait until all consumers want a new epoch; its number."""
        with self._changed:
            self._consumers[part] = consumer
            self._arrived.add(part)
            epoch = self._epoch + 1
            if len(self._arrived) == self._n:
                self._start(epoch)
                return epoch
            try:
                self._wait(
                    lambda: self._epoch >= epoch,
                    lambda: [other for other in range(self._n) if other not in self._arrived],
                    f"epoch {epoch} to begin",
                )
            except ConsumerError:
                self._arrived.discard(part)
                raise
            return epoch

    def _start(self, epoch: int) -> None:
        self._epoch = epoch
        self._arrived.clear()
        self._error = None
        self._dealer = Dealer(self._n, self._equal)
        threading.Thread(target=self._pump, args=(self._dealer,), name="aktis-data-pump", daemon=True).start()
        self._changed.notify_all()

    def _pump(self, dealer: Dealer[tuple[BlockHandle, frozenset[str]]]) -> None:
        """Feeds one dealer until its epoch is over, one way or another."""
        error: BaseException | None = None
        try:
            with self._dataset._stream(background=True) as stream:
                for handle in stream:
                    item = self._described(handle)
                    with self._changed:
                        while dealer.full and dealer is self._dealer and not dealer.abandoned:
                            self._changed.wait()
                        if dealer is not self._dealer or dealer.abandoned:
                            return
                        dealer.add(item, handle.num_rows)
                        self._changed.notify_all()
        except BaseException as raised:
            error = raised
        with self._changed:
            if dealer is self._dealer:
                self._error = error
                dealer.finish()
                self._changed.notify_all()

    def _described(self, handle: BlockHandle) -> tuple[BlockHandle, frozenset[str]]:
        """A handle that holds a reference, not data, and where the block is."""
        from aktis.data._execution.handle import BlockHandle
        from aktis.data._iteration.locality import nodes_of_blocks

        ref, rows = handle.stored()
        stored = BlockHandle(ref, handle.metadata.with_stats(None), rows)
        nodes = nodes_of_blocks([stored])[0] if self._locality else ()
        return stored, frozenset(nodes)

    def next(self, part: int, epoch: int) -> BlockHandle | None:
        """The next block of a consumer; None at the end of its epoch."""
        with self._changed:
            dealer = self._dealer
            if dealer is None or epoch != self._epoch:
                raise ConsumerError(
                    f"consumer {part} reads on in epoch {epoch}, but all of them began epoch {self._epoch} meanwhile. "
                    "Was its iterator used twice at the same time?"
                )
            while True:
                taken = dealer.take(part, self._near(part, dealer))
                if taken is not None:
                    self._changed.notify_all()
                    (handle, _), start, stop = taken
                    return handle.slice(start, stop)
                if dealer.done(part):
                    if self._error is not None:
                        raise self._error
                    return None
                self._wait(
                    lambda: dealer is not self._dealer or dealer.done(part) or dealer.has(part),
                    lambda: dealer.slowest(part) if dealer.full else [],
                    f"rows of epoch {epoch}",
                )
                if dealer is not self._dealer:
                    return None

    def _near(self, part: int, dealer: Dealer[tuple[BlockHandle, frozenset[str]]]) -> frozenset[int]:
        consumer = self._consumers[part]
        if not self._locality or consumer is None:
            return frozenset()
        return frozenset(at for at, (_, nodes) in enumerate(dealer.waiting) if consumer.node in nodes)

    def leave(self, part: int, epoch: int) -> None:
        """A consumer has enough of an epoch."""
        with self._changed:
            if epoch == self._epoch and self._dealer is not None:
                self._dealer.leave(part)
                self._changed.notify_all()

    def stats(self) -> str:
        """Statistics of the latest execution."""
        return str(self._dataset.stats())

    def sample(self) -> Any:
        """A block of some of the first rows."""
        return self._dataset._sample()

    def schema(self) -> Any:
        return self._dataset.schema()

"""A torch dataset over the batches of something that can be iterated. Imported only when it is asked for: it needs torch."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch.utils.data import IterableDataset, get_worker_info

import aktis
from aktis.data._iteration import torch_feed
from aktis.data._iteration.engine import BatchSpec
from aktis.data._iteration.torch_batches import PairFormat

if TYPE_CHECKING:
    from aktis.data._blocks import Block
    from aktis.data._iteration.methods import BatchSource


class TorchDataset(IterableDataset):  # type: ignore[misc]
    """Pairs of (features, label), a batch each. Each loop over it is a new pass; in a worker of a ``DataLoader`` it gives
    every n-th batch, so that all of them together give each batch once."""

    def __init__(self, source: BatchSource, spec: BatchSpec, form: PairFormat) -> None:
        super().__init__()
        self._source: BatchSource | None = source
        self._spec = spec
        self._form = form
        self._address: torch_feed.Address | None = None
        self._pid = os.getpid()
        torch_feed.serve_before_forks(self)

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        if worker is not None:
            return self._share(worker.id, worker.num_workers, worker.seed - worker.id)
        if self._source is None:
            return self._share(0, 1, 0)
        return iter(self._source._batches(self._spec, self._form))

    def serve(self) -> None:
        """Let processes that are about to start read from here. Only if there is a session, which they could not use."""
        if self._source is None or self._address is not None or os.getpid() != self._pid or not aktis.is_initialized():
            return
        feed = torch_feed.Feed(self._source, self._spec)
        weakref.finalize(self, feed.close)
        self._address = feed.address

    def _share(self, worker: int, workers: int, seed: int) -> Iterator[Any]:
        if self._address is not None:
            blocks: Iterator[Block] = torch_feed.fetch(self._address, worker, workers, seed)
        elif self._source is not None:
            blocks = torch_feed.share(self._source, self._spec, worker, workers, seed)
        else:
            raise RuntimeError("this dataset was pickled where no session ran: it cannot be read in another process")
        for block in blocks:
            yield self._form.convert(block, 1)

    def __getstate__(self) -> dict[str, Any]:
        self.serve()
        state = self.__dict__.copy()
        if self._address is not None:
            state["_source"] = None  # references cannot leave the session
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

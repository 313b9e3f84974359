"""A torch dataset over the batches of something that can be iterated. Imported only when it is asked for: it needs torch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from torch.utils.data import IterableDataset, get_worker_info

from aktis.data._iteration.engine import BatchSpec
from aktis.data._iteration.torch_batches import PairFormat

if TYPE_CHECKING:
    from aktis.data._iteration.methods import BatchSource


class TorchDataset(IterableDataset):  # type: ignore[misc]
    """Pairs of (features, label), a batch each. Each loop over it is a new pass."""

    def __init__(self, source: BatchSource, spec: BatchSpec, form: PairFormat) -> None:
        super().__init__()
        self._source = source
        self._spec = spec
        self._form = form

    def __iter__(self) -> Iterator[Any]:
        batches = self._source._batches(self._spec, self._form)
        worker = get_worker_info()
        if worker is None:
            return iter(batches)
        return islice(batches, worker.id, None, worker.num_workers)

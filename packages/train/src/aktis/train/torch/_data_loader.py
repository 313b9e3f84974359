"""DataLoaders on several workers: each sees its part, and batches come to its device."""

from __future__ import annotations

import functools
import random
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
)

from aktis.train.torch._world import World

__all__ = ["EpochSampler", "PreparedDataLoader", "ShardedBatches", "distribute", "seeded", "to_device"]


class EpochSampler(DistributedSampler):  # type: ignore[misc]
    """A DistributedSampler that goes to its next epoch by itself.

    Its n-th iteration is that of a DistributedSampler after ``set_epoch(n)``. After a ``set_epoch`` of yours, counting goes on
    from there.
    """

    _next = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next iteration is."""
        super().set_epoch(epoch)
        self._next = epoch

    def __iter__(self) -> Iterator[int]:
        self.epoch = self._next
        self._next += 1
        return iter(super().__iter__())


class ShardedBatches(Sampler):  # type: ignore[misc]
    """Every n-th batch of a batch sampler of the user's own. All workers get equally many; a rest starts from the front.

    It must give the same batches on all workers: one that is random needs the same seed everywhere.
    """

    def __init__(self, batches: Iterable[Any], where: World) -> None:
        self.batches = batches
        self.where = where

    def __iter__(self) -> Iterator[Any]:
        size, rank = self.where.size, self.where.rank
        first: list[Any] = []  # for the rest
        mine = None
        index = -1
        for index, batch in enumerate(self.batches):
            if len(first) < size:
                first.append(batch)
            if index % size == rank:
                mine = batch
            if index % size == size - 1:
                yield mine
        lacking = -(index + 1) % size
        if lacking:
            yield mine if rank < size - lacking else first[(rank - (size - lacking)) % len(first)]

    def __len__(self) -> int:
        return (len(self.batches) + self.where.size - 1) // self.where.size  # type: ignore[arg-type]

    def set_epoch(self, epoch: int) -> None:
        """Hand the epoch on to the batch sampler, if it wants to know."""
        for target in (self.batches, getattr(self.batches, "sampler", None)):
            tell = getattr(target, "set_epoch", None)
            if tell is not None:
                tell(epoch)


# -- distributing ------------------------------------------------------------------------------------------------------


def distribute(loader: DataLoader, where: World) -> DataLoader:
    """A loader like this one that gives each worker its part."""
    if isinstance(loader.dataset, IterableDataset) or _is_distributed(loader):
        return loader
    batch_sampler = loader.batch_sampler
    if batch_sampler is not None and type(batch_sampler) is not BatchSampler:
        return rebuilt(loader, batch_sampler=ShardedBatches(batch_sampler, where))
    old = loader.sampler if batch_sampler is None else batch_sampler.sampler
    if type(old) not in (SequentialSampler, RandomSampler):
        warnings.warn(
            f"prepare_data_loader replaces the {type(old).__name__} of the DataLoader by a DistributedSampler that shuffles: "
            "without one all workers would train on the same. Pass a DistributedSampler of your own, or add_dist_sampler=False, "
            "to keep yours",
            UserWarning,
            stacklevel=4,
        )
    sampler = EpochSampler(
        loader.dataset, num_replicas=where.size, rank=where.rank, shuffle=not isinstance(old, SequentialSampler)
    )
    if batch_sampler is None:  # batches are made by the dataset, or not at all
        return rebuilt(loader, sampler=sampler, batch_size=None)
    return rebuilt(loader, sampler=sampler, batch_size=batch_sampler.batch_size, drop_last=batch_sampler.drop_last)


def _is_distributed(loader: DataLoader) -> bool:
    samplers = (loader.sampler, loader.batch_sampler, getattr(loader.batch_sampler, "sampler", None))
    return any(isinstance(sampler, (DistributedSampler, ShardedBatches)) for sampler in samplers)


def rebuilt(loader: DataLoader, **changes: Any) -> DataLoader:
    """A new loader with the arguments of another, but for some."""
    names = [
        "num_workers",
        "collate_fn",
        "pin_memory",
        "timeout",
        "worker_init_fn",
        "multiprocessing_context",
        "generator",
    ]
    names += ["persistent_workers", "pin_memory_device", "in_order"]
    kwargs = {name: getattr(loader, name) for name in names if hasattr(loader, name)}
    if loader.num_workers > 0:
        kwargs["prefetch_factor"] = loader.prefetch_factor
    kwargs.update(changes)
    try:
        return type(loader)(loader.dataset, **kwargs)
    except TypeError as error:
        raise TypeError(
            f"prepare_data_loader cannot make another {type(loader).__name__} ({error}): give yours a DistributedSampler and pass "
            "add_dist_sampler=False"
        ) from error


# -- reproducibility ---------------------------------------------------------------------------------------------------


def seeded(loader: DataLoader, seed: int) -> DataLoader:
    """The loader, with its processes and its shuffling seeded, where the user's arguments do not say otherwise."""
    changes: dict[str, Any] = {"worker_init_fn": functools.partial(_seed_worker, loader.worker_init_fn)}
    if loader.generator is None:
        generator = torch.Generator()
        generator.manual_seed(seed)
        changes["generator"] = generator
    custom = loader.batch_sampler is not None and type(loader.batch_sampler) is not BatchSampler
    if custom:
        return rebuilt(loader, batch_sampler=loader.batch_sampler, **changes)
    sampler = loader.sampler
    if not isinstance(loader.dataset, IterableDataset):
        if type(sampler) is RandomSampler and sampler.generator is None and "generator" in changes:
            sampler.generator = changes["generator"]
        changes["sampler"] = sampler
    if loader.batch_sampler is None:
        return rebuilt(loader, batch_size=loader.batch_size, **changes)
    batches = loader.batch_sampler
    return rebuilt(loader, batch_size=batches.batch_size, drop_last=batches.drop_last, **changes)


def _seed_worker(inner: Callable[[int], None] | None, worker_id: int) -> None:
    seed = torch.initial_seed() % 2**32  # torch has given each process its own, from the loader's generator
    random.seed(seed)
    import numpy

    numpy.random.seed(seed)
    if inner is not None:
        inner(worker_id)


# -- to the device -----------------------------------------------------------------------------------------------------


class PreparedDataLoader(DataLoader):  # type: ignore[misc]
    """A loader whose batches come on a device; all else is as with the loader that it was made from.

    On GPUs, with ``auto_transfer``, the next batch is copied on a stream of its own while the current one is worked on.
    """

    def __init__(self, loader: DataLoader, device: torch.device, auto_transfer: bool) -> None:
        # Not super().__init__: it shares the attributes of the other loader.
        self.__dict__.update(vars(loader))
        self.__dict__.update(_loader=loader, device=device, _auto=auto_transfer and device.type == "cuda")

    def __getattr__(self, name: str) -> Any:
        if name == "_loader":
            raise AttributeError(name)
        return getattr(self._loader, name)

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        if self._auto:
            return self._prefetched()
        return (to_device(batch, self.device) for batch in self._loader)

    def _prefetched(self) -> Iterator[Any]:
        stream = torch.cuda.Stream(self.device)
        ahead: _Copy | None = None
        for batch in self._loader:
            upcoming = _Copy(batch, self.device, stream)
            if ahead is not None:
                yield ahead.handed_over()
            ahead = upcoming
        if ahead is not None:
            yield ahead.handed_over()


class _Copy:
    """A batch on its way to a GPU. The source is kept as long: pinned memory must stay as it is until the copy is made."""

    def __init__(self, batch: Any, device: torch.device, stream: Any) -> None:
        self._source = batch
        self._device = device
        with torch.cuda.stream(stream):
            self._batch = to_device(batch, device, non_blocking=True)
            self._event = stream.record_event()

    def handed_over(self) -> Any:
        """The batch, for the stream that computes now: it waits for the copy, and the memory is not reused before it is done."""
        current = torch.cuda.current_stream(self._device)
        current.wait_event(self._event)
        _each_tensor(self._batch, lambda tensor: tensor.record_stream(current))
        return self._batch


def to_device(batch: Any, device: torch.device, non_blocking: bool = False) -> Any:
    """A batch on a device: tensors, in lists, tuples, dicts, and objects that have a ``to``. Other things stay."""
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=non_blocking)
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(to_device(item, device, non_blocking) for item in batch))
    if isinstance(batch, (list, tuple)):
        return type(batch)(to_device(item, device, non_blocking) for item in batch)
    if type(batch) is dict:
        return {key: to_device(value, device, non_blocking) for key, value in batch.items()}
    if hasattr(batch, "to") and not isinstance(batch, type):
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {key: to_device(value, device, non_blocking) for key, value in batch.items()}
    return batch


def _each_tensor(batch: Any, act: Callable[[torch.Tensor], Any]) -> None:
    if isinstance(batch, torch.Tensor):
        act(batch)
    elif isinstance(batch, Mapping) or hasattr(batch, "values"):
        for value in batch.values():
            _each_tensor(value, act)
    elif isinstance(batch, (list, tuple)):
        for value in batch:
            _each_tensor(value, act)

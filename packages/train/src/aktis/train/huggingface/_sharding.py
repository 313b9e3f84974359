"""Make a Trainer of Transformers read what each worker was given, instead of sharing it out once more.

Transformers takes it that every worker sees all of a data set: it has rank 0 read an iterable one, and sends each worker a
part of every batch. Shards of Aktis are parts already.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from aktis.train.huggingface import _libraries

if TYPE_CHECKING:
    import transformers

__all__ = ["prepare_trainer"]

logger = logging.getLogger(__name__)


def prepare_trainer(trainer: transformers.Trainer) -> transformers.Trainer:
    """Let a Trainer of Transformers train on shards. Call it in the training loop of a TorchTrainer, before ``train()``.

    ``train_dataset`` and ``eval_dataset`` may then be what ``get_dataset_shard`` gave, or batches of it (as of
    ``iter_torch_batches``); of these the length is not known, so that ``max_steps`` must be set. Other data sets go the way
    that Transformers has for them.

    Args:
        trainer: The trainer; it is changed.

    Returns:
        The trainer.

    Raises:
        TypeError: it is no Trainer of Transformers.
        RuntimeError: it would train each worker's model on its own.
    """
    from aktis.air import session

    transformers = _libraries.transformers()
    if not isinstance(trainer, transformers.Trainer):
        raise TypeError(f"prepare_trainer needs a transformers.Trainer, not {type(trainer).__name__}")
    workers = session.get_world_size()
    if trainer.args.world_size != workers:
        raise RuntimeError(
            f"there are {workers} workers, but the TrainingArguments have world_size={trainer.args.world_size}, so that the "
            "models would go apart: make them in the training loop, with use_cpu=True where workers have no GPU"
        )
    if not isinstance(trainer, _ShardsMixin):
        cls = type(trainer)
        trainer.__class__ = type(cls.__name__, (_ShardsMixin, cls), {"__module__": cls.__module__})
    return trainer


class _ShardsMixin:
    """In front of the class of a Trainer."""

    def get_train_dataloader(self) -> Any:
        own: Any = self
        stream = _as_stream(own.train_dataset)
        if stream is None:
            return super().get_train_dataloader()  # type: ignore[misc]
        size = getattr(own, "_train_batch_size", own.args.train_batch_size)
        return _loader(own, stream, size, "training")

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        own: Any = self
        dataset = own.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(dataset, str):
            dataset = own.eval_dataset[dataset]
        stream = _as_stream(dataset)
        if stream is None:
            return super().get_eval_dataloader(eval_dataset)  # type: ignore[misc]
        return _loader(own, stream, own.args.eval_batch_size, "evaluation")

    def get_test_dataloader(self, test_dataset: Any) -> Any:
        own: Any = self
        stream = _as_stream(test_dataset)
        if stream is None:
            return super().get_test_dataloader(test_dataset)  # type: ignore[misc]
        return _loader(own, stream, own.args.eval_batch_size, "test")

    def num_examples(self, dataloader: Any) -> int:
        from aktis.train.huggingface._rows import RowStream

        dataset = getattr(dataloader, "dataset", None)
        if isinstance(dataset, RowStream):
            return dataset.total_rows
        return int(super().num_examples(dataloader))  # type: ignore[misc]

    # Transformers sets and calls it to collect losses and predictions of all workers in an evaluation.
    @property
    def gather_function(self) -> Any:
        return self._gather

    @gather_function.setter
    def gather_function(self, value: Any) -> None:
        pass

    def _gather(self, data: Any) -> Any:
        """Of all workers. A loss counts as often as its batch has rows, also when the last batch of each worker is short."""
        own: Any = self
        accelerator = own.accelerator
        gathered = accelerator.gather_for_metrics(data)
        loader = own.callback_handler.eval_dataloader
        stream, size = getattr(loader, "dataset", None), getattr(loader, "batch_size", None)
        if not size or not accelerator.gradient_state.end_of_dataloader or not getattr(stream, "is_split", False):
            return gathered
        world, short = accelerator.num_processes, _rows_of(stream) % size
        if short and getattr(gathered, "ndim", 0) == 1 and len(gathered) == world * size:
            return gathered.reshape(world, size)[:, :short].reshape(-1)
        return gathered


def _as_stream(dataset: Any) -> Any:
    """The data set as a stream of this worker's own; None where Transformers knows better."""
    import torch.utils.data

    from aktis.air import session
    from aktis.train.huggingface._rows import BatchStream, RowStream

    if isinstance(dataset, (RowStream, BatchStream)):
        return dataset
    if dataset is None or isinstance(dataset, (torch.utils.data.Dataset, dict, list, tuple)):
        return None
    if hasattr(dataset, "iter_torch_batches") and hasattr(dataset, "iter_batches"):
        return RowStream(dataset, session.get_world_size())
    if hasattr(dataset, "__iter__") and not hasattr(dataset, "__getitem__") and not hasattr(dataset, "column_names"):
        return BatchStream(dataset)  # datasets.IterableDataset, which has column names, is for Transformers
    return None


def _rows_of(stream: Any) -> int:
    try:
        return len(stream)
    except TypeError:
        return 0


def _loader(trainer: Any, stream: Any, batch_size: int, description: str) -> Any:
    import torch
    from torch.utils.data import DataLoader

    from aktis.train.huggingface._rows import BatchStream

    args, accelerator = trainer.args, trainer.accelerator
    if args.dataloader_num_workers:
        logger.warning(
            "dataloader_num_workers=%d is taken as 0: data sets of Aktis are read ahead in the background as they are",
            args.dataloader_num_workers,
        )
    common = {"num_workers": 0, "pin_memory": bool(args.dataloader_pin_memory) and torch.cuda.is_available()}
    if isinstance(stream, BatchStream):
        loader = DataLoader(stream, batch_size=1, collate_fn=_first, **common)
    else:
        without_unused = getattr(trainer, "_get_collator_with_removed_columns", lambda collator, description: collator)
        collate = without_unused(trainer.data_collator, description=description)
        drop_last = args.dataloader_drop_last
        loader = DataLoader(stream, batch_size=batch_size, collate_fn=collate, drop_last=drop_last, **common)
    if not stream.is_split:
        return accelerator.prepare(loader)
    prepare = _libraries.accelerate_data_loader().prepare_data_loader
    return prepare(
        loader, accelerator.device, num_processes=1, process_index=0, put_on_device=True, dispatch_batches=False
    )


def _first(batches: list[Any]) -> Any:
    return batches[0]

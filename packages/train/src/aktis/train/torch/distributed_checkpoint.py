"""Checkpoints that all workers write together, each its part, and that any number of workers reads again.

Built on ``torch.distributed.checkpoint``. In a training loop::

    with tempfile.TemporaryDirectory() as directory:
        checkpoint = distributed_checkpoint.save(directory, model, optimizer, extra={"epoch": epoch})
        session.report({"loss": loss}, checkpoint=checkpoint)

Every worker writes into a directory of its own and reports it; the trainer merges them into one checkpoint. After a restart,
with as many workers or more or fewer::

    checkpoint = session.get_checkpoint()
    if checkpoint:
        epoch = distributed_checkpoint.load(checkpoint, model, optimizer)["epoch"] + 1

Works with FSDP, ``fully_shard``, DistributedDataParallel and plain models; outside of a trainer, too.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from aktis.train.error import CheckpointTypeError
from aktis.train.torch._need import need_torch

if TYPE_CHECKING:
    from concurrent.futures import Future

    import torch

    from aktis.air.checkpoint import Checkpoint
    from aktis.train.torch.torch_checkpoint import TorchCheckpoint

__all__ = ["PendingCheckpoint", "async_save", "full_state_dict", "load", "save"]

METADATA = ".metadata"  # torch's file that says what is where; rank 0 writes it, last
EXTRA = "extra"


def save(
    directory: str | os.PathLike[str],
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    extra: Mapping[str, Any] | None = None,
) -> TorchCheckpoint:
    """Write this worker's part of a checkpoint. Called by all workers of the process group at the same time.

    Args:
        directory: Where to; on each worker one of its own, or the same on all. It is made if it is not there.
        model: The model, as :func:`prepare_model` gave it.
        optimizer: Its optimizer.
        extra: Values to keep beside, those of rank 0: the epoch, the state of a scheduler.

    Returns:
        The checkpoint to be reported: ``session.report(metrics, checkpoint=...)`` on all workers.
    """
    need_torch("distributed_checkpoint.save")
    import torch.distributed.checkpoint as dcp

    path = _prepare(directory, extra)
    with _quiet():
        dcp.save(_state(model, optimizer), storage_writer=_writer(path), no_dist=not _has_group())
    return _checkpoint(path)


class PendingCheckpoint:
    """A checkpoint that is being written."""

    def __init__(self, future: Future[Any], path: str) -> None:
        self._future = future
        self._path = path

    def done(self) -> bool:
        """Whether it is written."""
        return self._future.done()

    def result(self, timeout: float | None = None) -> TorchCheckpoint:
        """The checkpoint, when it is written. Call it, and report the checkpoint, on all workers.

        Args:
            timeout: Seconds to wait at most. None: as long as it takes.

        Raises:
            TimeoutError: it is not written yet.
        """
        self._future.result(timeout)
        return _checkpoint(self._path)


def async_save(
    directory: str | os.PathLike[str],
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    extra: Mapping[str, Any] | None = None,
) -> PendingCheckpoint:
    """As :func:`save`, but training goes on while the files are written, from a copy of the state in memory.

    Call ``result()`` before the next one is begun, and remove the directory only then. The process group must be one of the CPU
    (gloo), or have one beside NCCL: ``TorchConfig(backend="cpu:gloo,cuda:nccl")``.
    """
    need_torch("distributed_checkpoint.async_save")
    import torch.distributed.checkpoint as dcp

    path = _prepare(directory, extra)
    if not _has_group():
        from concurrent.futures import Future

        written: Future[Any] = Future()
        written.set_result(save(directory, model, optimizer, extra=extra))
        return PendingCheckpoint(written, path)
    future = dcp.async_save(_state(model, optimizer), storage_writer=_writer(path))
    return PendingCheckpoint(getattr(future, "upload_completion", future), path)


def load(
    checkpoint: Checkpoint | str | os.PathLike[str],
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
) -> dict[str, Any]:
    """Load a checkpoint into a model and an optimizer, in place. Called by all workers of the process group at the same time.

    Each worker reads what it needs: their number, and how the model is sharded, may differ from when it was saved.

    Args:
        checkpoint: What :func:`save` wrote, all parts of it; a directory, too.
        model: A model of the same form, as :func:`prepare_model` gave it.
        optimizer: Its optimizer. None: its state in the checkpoint is left alone.

    Returns:
        The ``extra`` of :func:`save`.

    Raises:
        CheckpointTypeError: it is no distributed checkpoint, parts of it are missing, or it does not fit the model; names what.
    """
    need_torch("distributed_checkpoint.load")
    from aktis.air.checkpoint import Checkpoint

    if not isinstance(checkpoint, Checkpoint):
        checkpoint = Checkpoint.from_directory(checkpoint)
    with checkpoint.as_directory() as path:
        _check_complete(path, repr(checkpoint))
        _load(path, model, optimizer, repr(checkpoint))
        return _extra(path)


def _load(path: str, model: Any, optimizer: Any, where: str) -> None:
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import set_state_dict

    state = _state(model, optimizer)
    _check_fits(path, state, where)
    with _quiet():
        dcp.load(state, storage_reader=dcp.FileSystemReader(path), no_dist=not _has_group())
    set_state_dict(
        model,
        () if optimizer is None else optimizer,
        model_state_dict=state["model"],
        optim_state_dict=state.get("optimizer", {}),
    )


def full_state_dict(model: torch.nn.Module) -> dict[str, Any]:
    """The whole state of a model, sharded or not. Called by all workers at the same time; others than rank 0 get an empty dict.

    For ``TorchCheckpoint.from_state_dict``, where the model fits into the memory of one worker.
    """
    need_torch("distributed_checkpoint.full_state_dict")
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return dict(get_model_state_dict(model, options=options))


# -- parts -------------------------------------------------------------------------------------------------------------


def _has_group() -> bool:
    import torch.distributed as dist

    return bool(dist.is_available() and dist.is_initialized())


def _rank() -> int:
    import torch.distributed as dist

    return dist.get_rank() if _has_group() else 0


def _prepare(directory: str | os.PathLike[str], extra: Mapping[str, Any] | None) -> str:
    path = os.path.abspath(os.fspath(directory))
    os.makedirs(path, exist_ok=True)
    if extra and _rank() == 0:
        from aktis.air.checkpoint import Checkpoint

        Checkpoint.from_dict(dict(extra)).to_directory(os.path.join(path, EXTRA))
    return path


def _extra(path: str) -> dict[str, Any]:
    from aktis.air.checkpoint import Checkpoint

    folder = os.path.join(path, EXTRA)
    return dict(Checkpoint.from_directory(folder).to_dict()) if os.path.isdir(folder) else {}


def _checkpoint(path: str) -> TorchCheckpoint:
    from aktis.train.torch.torch_checkpoint import TorchCheckpoint

    return TorchCheckpoint.from_directory(path)


def _writer(path: str) -> Any:
    import torch.distributed.checkpoint as dcp

    return dcp.FileSystemWriter(path)


def _state(model: Any, optimizer: Any) -> dict[str, Any]:
    """State by names that do not depend on how the model is wrapped or sharded."""
    from torch.distributed.checkpoint.state_dict import get_model_state_dict, get_state_dict

    if optimizer is None:
        return {"model": get_model_state_dict(model)}
    optimizer = getattr(optimizer, "optimizer", optimizer)  # of mixed precision
    of_model, of_optimizer = get_state_dict(model, optimizer)
    return {"model": of_model, "optimizer": of_optimizer}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch warns of when there is no process group: that this is so."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is")
        yield


def _metadata(path: str) -> Any:
    import torch.distributed.checkpoint as dcp

    return dcp.FileSystemReader(path).read_metadata()


def _check_complete(path: str, where: str) -> None:
    if not os.path.exists(os.path.join(path, METADATA)):
        found = ", ".join(sorted(os.listdir(path))[:8]) or "nothing"
        raise CheckpointTypeError(
            f"{where} is no distributed checkpoint: {METADATA} is missing, there is {found}. Rank 0 writes it, so it must report "
            "its directory, too; a checkpoint of a whole model is read with TorchCheckpoint.get_model"
        )
    files = sorted({place.relative_path for place in _metadata(path).storage_data.values()})
    missing = [name for name in files if not os.path.exists(os.path.join(path, name))]
    if missing:
        raise CheckpointTypeError(
            f"{where} lacks {', '.join(missing[:5])} of {len(files)} files: every worker must report its directory, "
            "session.report(metrics, checkpoint=distributed_checkpoint.save(...)) on all ranks"
        )


def _check_fits(path: str, state: Mapping[str, Any], where: str) -> None:
    """Raise where the checkpoint lacks tensors of the model, or has them in another shape, naming them."""
    stored = _metadata(path).state_dict_metadata
    wrong = []
    for name, value in state["model"].items():
        known = stored.get(f"model.{name}")
        if known is None:
            wrong.append(f"{name} is missing")
        elif getattr(known, "size", None) is not None and tuple(known.size) != tuple(value.shape):
            wrong.append(f"{name} is {tuple(known.size)} instead of {tuple(value.shape)}")
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise CheckpointTypeError(f"{where} does not fit the model: {', '.join(wrong[:5])}{more}")
    if "optimizer" in state and not any(name.startswith("optimizer.") for name in stored):
        raise CheckpointTypeError(f"{where} has no state of an optimizer: load it with optimizer=None, or save one")

"""What our classes add to those of Lightning; :mod:`_for_lightning` and :mod:`_for_pytorch_lightning` put both together."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from aktis.air import session
from aktis.air.integrations.reporting import pick
from aktis.train.lightning.lightning_checkpoint import CHECKPOINT_NAME, LightningCheckpoint

__all__ = ["EpochMetrics", "EpochReport", "RankedStrategy", "ReportingModelCheckpoint", "SessionEnvironment"]


class RankedStrategy:
    """A strategy whose device and ranks are those of the session."""

    @property
    def root_device(self) -> Any:
        """The device of this worker."""
        devices = getattr(self, "parallel_devices", None)
        if devices and devices[0].type == "cpu":
            return devices[0]
        from aktis.train.torch import get_device

        return get_device()

    @property
    def distributed_sampler_kwargs(self) -> dict[str, Any]:
        """How data are shared out."""
        return {"num_replicas": session.get_world_size(), "rank": session.get_world_rank()}


class SessionEnvironment:
    """An environment in which the workers are there already, and have the ranks of the session."""

    @property
    def creates_processes_externally(self) -> bool:
        """Lightning is not to start any."""
        return True

    def world_size(self) -> int:
        """How many workers there are."""
        return session.get_world_size()

    def global_rank(self) -> int:
        """Which of them this is."""
        return session.get_world_rank()

    def local_rank(self) -> int:
        """Which of this machine's workers this is."""
        return session.get_local_rank()

    def node_rank(self) -> int:
        """Which of the machines this is."""
        return session.get_node_rank()

    def set_world_size(self, size: int) -> None:
        """Lightning computes it from devices and nodes: the session knows better."""

    def set_global_rank(self, rank: int) -> None:
        """See :meth:`set_world_size`."""

    def teardown(self) -> None:
        """The variables of the environment are not Lightning's."""


class EpochMetrics:
    """Reports what the module has logged after each epoch of training, on every rank."""

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """An epoch, with its validation, is over."""
        session.report(metrics_of(trainer))


class EpochReport:
    """Reports what the module has logged, and a checkpoint, after each epoch of training."""

    CHECKPOINT_NAME = CHECKPOINT_NAME

    def __init__(self, checkpoint_upload_mode: Any = None, validation: Any = False) -> None:
        super().__init__()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """An epoch, with its validation, is over."""
        # All ranks save to one path, since some strategies write a part from each; it may be on several machines.
        rank_zero = trainer.is_global_zero
        folder = trainer.strategy.broadcast(tempfile.mkdtemp(prefix="aktis-checkpoint-") if rank_zero else None)
        os.makedirs(folder, exist_ok=True)
        try:
            trainer.save_checkpoint(os.path.join(folder, self.CHECKPOINT_NAME), weights_only=False)
            trainer.strategy.barrier()
            has_part = session.get_local_rank() == 0 and bool(os.listdir(folder))
            checkpoint = LightningCheckpoint.from_directory(folder) if has_part else None
            session.report(metrics_of(trainer), checkpoint=checkpoint)
        finally:
            if rank_zero or session.get_local_rank() == 0:
                shutil.rmtree(folder, ignore_errors=True)


class ReportingModelCheckpoint:
    """A ``ModelCheckpoint`` that reports: after each epoch of training, and with what it saved, whenever it saves."""

    _reported = ""

    def on_train_batch_start(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
        """What came after the batch before, such as its validation, is over."""
        base: Any = super()
        base.on_train_batch_start(trainer, *args, **kwargs)
        if self._saved_now():
            self._report(trainer)

    def on_train_epoch_end(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
        """An epoch, with its validation, is over."""
        base: Any = super()
        base.on_train_epoch_end(trainer, *args, **kwargs)
        self._report(trainer)

    def on_train_end(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
        """All epochs are over; ``save_last`` may have saved once more."""
        base: Any = super()
        base.on_train_end(trainer, *args, **kwargs)
        if self._saved_now():
            self._report(trainer)

    def _saved_now(self) -> str:
        """What was saved and not reported yet; "" if nothing was."""
        saved = str(getattr(self, "_last_checkpoint_saved", "") or "")
        step = getattr(self, "_last_global_step_saved", 0)
        return saved if saved and f"{step}:{saved}" != self._reported else ""

    def _report(self, trainer: Any) -> None:
        saved = self._saved_now()
        if not saved:
            session.report(metrics_of(trainer))
            return
        self._reported = f"{getattr(self, '_last_global_step_saved', 0)}:{saved}"
        trainer.strategy.barrier()
        with _copy(saved, trainer.is_global_zero) as folder:
            checkpoint = None if folder is None else LightningCheckpoint.from_directory(folder)
            session.report(metrics_of(trainer), checkpoint=checkpoint)


def metrics_of(trainer: Any) -> dict[str, Any]:
    """What the module has logged so far, as numbers, with ``epoch`` and ``step``."""
    found: Mapping[str, Any] = trainer.callback_metrics
    return {**pick(None, found, "Lightning"), "epoch": trainer.current_epoch, "step": trainer.global_step}


@contextlib.contextmanager
def _copy(saved: str, is_rank_zero: bool) -> Iterator[str | None]:
    """A directory with what was saved; None where nothing is, or another rank has it."""
    parts = os.path.isdir(saved)  # one file per rank
    if not (is_rank_zero or (parts and session.get_local_rank() == 0)) or not os.path.exists(saved):
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="aktis-checkpoint-") as folder:
        target = os.path.join(folder, CHECKPOINT_NAME)
        if parts:
            shutil.copytree(saved, target)
        else:
            try:
                os.link(saved, target)
            except OSError:  # another file system
                shutil.copy2(saved, target)
        yield folder

"""What the Trainer of Transformers logs and saves, as reports of the session."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import transformers

from aktis.air import session
from aktis.air.checkpoint import Checkpoint
from aktis.train.huggingface.huggingface_checkpoint import HuggingFaceCheckpoint

__all__ = ["RayTrainReportCallback", "RoundCallback"]


class RayTrainReportCallback(transformers.TrainerCallback):  # type: ignore[misc]
    """Reports each checkpoint that the Trainer of Transformers saves, with the latest of all metrics that it has logged.

    ``session.get_checkpoint()`` then gives a directory with the one of Transformers in its ``checkpoint`` folder
    (``CHECKPOINT_NAME``)::

        with checkpoint.as_directory() as path:
            trainer.train(resume_from_checkpoint=os.path.join(path, RayTrainReportCallback.CHECKPOINT_NAME))
    """

    CHECKPOINT_NAME = "checkpoint"

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A checkpoint was saved."""
        metrics: dict[str, Any] = {}
        for entry in state.log_history:
            metrics.update(entry)
        with _saved(args, state, self.CHECKPOINT_NAME) as path:
            session.report(metrics, checkpoint=None if path is None else Checkpoint.from_directory(path))


class RoundCallback(transformers.TrainerCallback):  # type: ignore[misc]
    """Reports all that is logged, evaluated and saved at one step as one report, on every rank, when the next step begins."""

    def __init__(self) -> None:
        self._metrics: dict[str, Any] = {}
        self._last: dict[str, Any] = {}
        self._has_checkpoint = False

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Metrics were logged; an evaluation or a checkpoint of the same step may follow."""
        self._metrics.update({**(logs or {}), "step": state.global_step, "epoch": state.epoch})

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A checkpoint was saved."""
        self._has_checkpoint = True

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The step before is over."""
        self._report(args, state)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The step before is over."""
        self._report(args, state)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The last step is over, and the metrics of the whole training are logged."""
        self._report(args, state)

    def _report(self, args: Any, state: Any) -> None:
        if not self._metrics and not self._has_checkpoint:
            return
        # A checkpoint of a step with nothing logged goes with what was known before.
        self._last = {**self._last, "step": state.global_step, "epoch": state.epoch, **self._metrics}
        metrics = dict(self._last) if self._has_checkpoint else dict(self._metrics)
        self._metrics = {}
        if not self._has_checkpoint:
            session.report(metrics)
            return
        self._has_checkpoint = False
        with _saved(args, state) as path:
            session.report(metrics, checkpoint=None if path is None else HuggingFaceCheckpoint.from_directory(path))


@contextlib.contextmanager
def _saved(args: Any, state: Any, folder: str | None = None) -> Iterator[str | None]:
    """The checkpoint of this step: on rank 0 all of it, on others their own part; None where there is none.

    Args:
        args: The TrainingArguments.
        state: The state of the trainer.
        folder: Put it into a folder of that name, in the directory that is returned.
    """
    _wait_for_others()  # each rank writes its random state into it
    source = os.path.join(args.output_dir, f"checkpoint-{state.global_step}")
    if not os.path.isdir(source):
        yield None
        return
    if state.is_world_process_zero and folder is None:
        yield source
        return
    with tempfile.TemporaryDirectory(prefix="aktis-checkpoint-") as temporary:
        target = os.path.join(temporary, folder) if folder else temporary
        if state.is_world_process_zero:
            shutil.copytree(source, target)
            yield temporary
            return
        name = f"rng_state_{args.process_index}.pth"
        if not os.path.exists(os.path.join(source, name)):
            yield None
            return
        os.makedirs(target, exist_ok=True)
        shutil.copy2(os.path.join(source, name), os.path.join(target, name))
        yield temporary


def _wait_for_others() -> None:
    import torch.distributed

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()

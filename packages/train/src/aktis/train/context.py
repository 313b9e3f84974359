"""What a training loop calls, in the styles of all versions.

::

    train.report({"loss": 0.1}, checkpoint=checkpoint)    # the same as session.report
    train.get_context().get_world_rank()

    train.report(loss=0.1)                                # the older style
    train.save_checkpoint(epoch=3, weights=weights)
    train.load_checkpoint()["epoch"]
    train.world_rank()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aktis.air import session, session_host
from aktis.train.error import SessionMisuseError

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint
    from aktis.air.placement import PlacementGroupFactory

__all__ = [
    "TrainContext",
    "get_checkpoint",
    "get_context",
    "get_dataset_shard",
    "load_checkpoint",
    "local_rank",
    "report",
    "save_checkpoint",
    "world_rank",
    "world_size",
]


_NOT_HERE = frozenset(
    {
        "checkpoint_dir_name",
        "checkpoint_upload_fn",
        "checkpoint_upload_mode",
        "delete_local_checkpoint_after_upload",
        "validation",
    }
)


def report(metrics: dict[str, Any] | None = None, checkpoint: Checkpoint | None = None, **values: Any) -> None:
    """Report results of this rank, and a checkpoint to go with them. Returns when the reports of all ranks are safe.

    Args:
        metrics: Results by name.
        checkpoint: What a run that failed goes on from.
        **values: Results by name, in the older style.

    Raises:
        ValueError: both styles at once.
        TypeError: what is no dict or no checkpoint, or an argument that only newer versions of Ray have.
    """
    newer = sorted(_NOT_HERE.intersection(values)) if metrics is not None else []
    if newer:
        raise TypeError(
            f"train.report takes no {', '.join(newer)} here: leave it out. A checkpoint is in the run's directory, numbered, when "
            "report returns"
        )
    if metrics is not None and values:
        raise ValueError(
            f"train.report got a dict of metrics and {', '.join(sorted(values))} beside it: put all metrics into the dict"
        )
    session.report(values if metrics is None else metrics, checkpoint=checkpoint)


def save_checkpoint(**values: Any) -> None:
    """Keep values as a checkpoint, which goes with the next report, or with the end of the loop. Only rank 0's counts.

    Raises:
        SessionError: this is no training loop of a trainer.
    """
    from aktis.air.checkpoint import Checkpoint

    host = session_host.current()
    if host is None:
        raise SessionMisuseError("train.save_checkpoint is for training loops that a trainer runs")
    host.save_checkpoint(Checkpoint.from_dict(values))


def load_checkpoint() -> dict[str, Any] | None:
    """The values of the latest checkpoint; None when there is none."""
    checkpoint = session.get_checkpoint()
    return None if checkpoint is None else checkpoint.to_dict()


def get_checkpoint() -> Checkpoint | None:
    """The latest checkpoint: what the loop goes on from, and later what it reported last."""
    return session.get_checkpoint()


def get_dataset_shard(dataset_name: str | None = None) -> Any:
    """This worker's part of a data set; None: of "train", or the only one."""
    return session.get_dataset_shard(dataset_name)


def world_rank() -> int:
    """Which of the workers this is, from 0."""
    return session.get_world_rank()


def local_rank() -> int:
    """Which of this machine's workers this is, from 0."""
    return session.get_local_rank()


def world_size() -> int:
    """How many workers there are."""
    return session.get_world_size()


class TrainContext:
    """Facts of the run and of this worker: ``train.get_context().get_world_rank()``."""

    def get_world_size(self) -> int:
        """How many workers there are."""
        return session.get_world_size()

    def get_world_rank(self) -> int:
        """Which of the workers this is, from 0."""
        return session.get_world_rank()

    def get_local_rank(self) -> int:
        """Which of this machine's workers this is, from 0."""
        return session.get_local_rank()

    def get_local_world_size(self) -> int:
        """How many workers are on this machine."""
        return session.get_local_world_size()

    def get_node_rank(self) -> int:
        """Which of the machines this is, from 0."""
        return session.get_node_rank()

    def get_experiment_name(self) -> str | None:
        """Name of the experiment."""
        return session.get_experiment_name()

    def get_trial_name(self) -> str | None:
        """Name of the trial."""
        return session.get_trial_name()

    def get_trial_id(self) -> str | None:
        """Id of the trial."""
        return session.get_trial_id()

    def get_trial_resources(self) -> PlacementGroupFactory | None:
        """Resources of the trial."""
        return session.get_trial_resources()

    def get_trial_dir(self) -> str | None:
        """Directory of the trial."""
        return session.get_trial_dir()

    def get_metadata(self) -> dict[str, Any]:
        """What the trainer was told to keep with the run."""
        return session.get_metadata()


def get_context() -> TrainContext:
    """Facts of the run and of this worker."""
    return TrainContext()

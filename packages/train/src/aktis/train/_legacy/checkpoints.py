"""The checkpoints of one run of the older ``Trainer``.

They are numbered from 1 in the directory of the run, and what the :class:`CheckpointStrategy` does not keep is deleted. While
the run goes on the latest one stays in any case, since a restart needs it; when it has ended, a latest one that is not to be
kept is moved into memory.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aktis.air.checkpoint import Checkpoint
from aktis.air.config import CheckpointConfig
from aktis.air.integrations.results import to_number
from aktis.air.retention import CheckpointManager, TrackedCheckpoint
from aktis.train.checkpoint import CheckpointStrategy

__all__ = ["RunCheckpoints", "as_checkpoint"]


class RunCheckpoints:
    """Keeps the checkpoints of a run.

    Args:
        directory: Where they go; it is made.
        strategy: Which of them stay.
    """

    def __init__(self, directory: Path, strategy: CheckpointStrategy | None = None) -> None:
        self.directory = directory
        self.strategy = strategy or CheckpointStrategy()
        keep = self.strategy.num_to_keep
        self._keeps_none = keep == 0
        self._manager = CheckpointManager(
            CheckpointConfig(
                num_to_keep=1 if self._keeps_none else keep,
                checkpoint_score_attribute=self.strategy.checkpoint_score_attribute,
                checkpoint_score_order=self.strategy.checkpoint_score_order,
            )
        )
        self._count = 0
        directory.mkdir(parents=True, exist_ok=True)
        self._latest: Checkpoint | None = None

    @property
    def latest(self) -> Checkpoint | None:
        """The newest checkpoint; None when there is none."""
        return self._latest

    @property
    def best_path(self) -> Path | None:
        """The directory of the best checkpoint; None when none is kept."""
        best = None if self._keeps_none else self._manager.best
        return None if best is None or best.path is None else Path(best.path)

    def add(self, written: str | os.PathLike[str], metrics: Mapping[str, Any]) -> None:
        """Take over a checkpoint that lies complete in a directory under a temporary name, and delete what is not kept now.

        Args:
            written: The directory, on the same file system.
            metrics: What was reported with it.

        Raises:
            ValueError: the score attribute of the strategy is missing, or is no number. The checkpoint is deleted then.
        """
        try:
            score = self._score(written, metrics)
            tracked = self._move(written, score)
        except BaseException:
            shutil.rmtree(written, ignore_errors=True)
            raise
        dropped = self._manager.register(tracked)
        self._latest = tracked.checkpoint
        if self._keeps_none:
            # Not on disk at all: whoever wants that has no room there.
            self._latest = Checkpoint.from_dict(tracked.checkpoint.to_dict())
            self._manager.forget(tracked)
            dropped = [tracked]
        for old in dropped:
            _delete(old)

    def _score(self, written: str | os.PathLike[str], metrics: Mapping[str, Any]) -> dict[str, Any]:
        """The value that decides, as the metrics that the manager is to see."""
        attribute = self.strategy.checkpoint_score_attribute
        if attribute is None:
            return {}
        saved: dict[str, Any] = {} if attribute in metrics else Checkpoint.from_directory(written).to_dict()
        values = metrics if attribute in metrics else saved
        if attribute in values:
            value = values[attribute]
            if to_number(value) is None:
                raise ValueError(
                    f"the checkpoint_score_attribute {attribute!r} must be a number, but it is {value!r} ({type(value).__name__})"
                )
            return {attribute: value}
        known = ", ".join(sorted(map(str, {*metrics, *saved}))) or "nothing"
        raise ValueError(
            f"the checkpoint_score_attribute {attribute!r} is neither in the checkpoint nor was it reported with it; there is: "
            f"{known}"
        )

    def _move(self, written: str | os.PathLike[str], metrics: dict[str, Any]) -> TrackedCheckpoint:
        self._count += 1
        path = self.directory / f"checkpoint_{self._count:06d}"
        os.rename(written, path)
        return TrackedCheckpoint(Checkpoint.from_directory(path), metrics, id=self._count, path=os.fspath(path))

    def close(self) -> None:
        """The run has ended: nothing stays on disk but what the strategy keeps."""
        latest = self._manager.latest
        if latest is None or any(tracked is latest for tracked in self._manager.best_tracked):
            return
        self._latest = Checkpoint.from_dict(latest.checkpoint.to_dict())
        self._manager.forget(latest)
        _delete(latest)


def as_checkpoint(checkpoint: Any) -> Checkpoint | None:
    """What a user may give as a checkpoint to start from.

    Args:
        checkpoint: A dict, the path of a checkpoint, a Checkpoint, or None.

    Raises:
        TypeError: none of these.
        CheckpointNotFoundError: there is none at the path.
    """
    if checkpoint is None or isinstance(checkpoint, Checkpoint):
        return checkpoint
    if isinstance(checkpoint, dict):
        return Checkpoint.from_dict(checkpoint)
    if isinstance(checkpoint, (str, os.PathLike)):
        return Checkpoint.from_directory(os.path.expanduser(os.fspath(checkpoint)))
    raise TypeError(
        f"checkpoint must be a dict, the path of a checkpoint, or a Checkpoint, not {type(checkpoint).__name__}"
    )


def _delete(tracked: TrackedCheckpoint) -> None:
    """Under another name first, so that a half deleted one is never taken for a checkpoint."""
    assert tracked.path is not None
    hidden = os.path.join(os.path.dirname(tracked.path), f".deleted-{os.path.basename(tracked.path)}")
    os.rename(tracked.path, hidden)
    shutil.rmtree(hidden, ignore_errors=True)

"""Which checkpoints of a trial are kept. Pure: it says what is to be deleted, and deletes nothing.

Kept are the ``num_to_keep`` best, and the latest until there is a later one. How good a checkpoint is, says the metric
``checkpoint_score_attribute``; without one, newer is better. Of equals the newer is better. A score that is not a number (nan)
is worse than any, one that is missing is worse than all that are there.
"""

from __future__ import annotations

import logging
import math
import numbers
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from aktis.air._uri import is_uri
from aktis.air.config import CheckpointConfig
from aktis.air.nested import lookup

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint

__all__ = ["CheckpointManager", "TrackedCheckpoint"]

logger = logging.getLogger(__name__)

_STATE_VERSION = 1


class TrackedCheckpoint:
    """A checkpoint, where it is, and the metrics that were reported with it.

    Args:
        checkpoint: The checkpoint, or the path or URI of one.
        metrics: The result that it belongs to.
        id: Its number, which says which is newer. None: the next one, when it is registered.
        path: Where ``checkpoint`` is kept, if it does not say so itself.
    """

    __slots__ = ("__weakref__", "_checkpoint", "id", "metrics", "path", "score")

    def __init__(
        self,
        checkpoint: Checkpoint | str | os.PathLike[str] | None,
        metrics: Mapping[str, Any] | None = None,
        id: int | None = None,
        path: str | None = None,
    ) -> None:
        self._checkpoint: Checkpoint | None = None
        if checkpoint is None:
            if path is None:
                raise ValueError("a TrackedCheckpoint needs a checkpoint, or the path of one")
        elif isinstance(checkpoint, str) or not hasattr(checkpoint, "to_directory"):
            path = os.fspath(checkpoint)
        else:  # checkpoints are os.PathLike, too, in order to say that they are no paths
            self._checkpoint = cast("Checkpoint", checkpoint)
            path = path or self._checkpoint.path
        self.path = path
        self.metrics: dict[str, Any] = dict(metrics or {})
        self.id = id
        self.score = math.nan

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint; made from its path when it is first asked for."""
        if self._checkpoint is None:
            from aktis.air.checkpoint import Checkpoint

            assert self.path is not None
            self._checkpoint = (
                Checkpoint.from_uri(self.path) if is_uri(self.path) else Checkpoint.from_directory(self.path)
            )
        return self._checkpoint

    @property
    def _rank(self) -> tuple[bool, float, int]:
        assert self.id is not None
        is_number = not math.isnan(self.score)
        return is_number, self.score if is_number else 0.0, self.id

    def __repr__(self) -> str:
        return f"TrackedCheckpoint(id={self.id}, score={self.score}, at={self.path or 'memory'!r})"


class CheckpointManager:
    """Keeps track of a trial's checkpoints.

    Args:
        config: What to keep.
        base_dir: The directory that the paths of :meth:`to_state` are relative to, so that it can be moved.
    """

    def __init__(self, config: CheckpointConfig | None = None, base_dir: str | None = None) -> None:
        self.config = config or CheckpointConfig()
        self.base_dir = base_dir
        self._kept: list[TrackedCheckpoint] = []  # by id
        self._latest: TrackedCheckpoint | None = None
        self._next_id = 0
        self._told = False  # that the score is not among the metrics

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def latest(self) -> TrackedCheckpoint | None:
        """The newest checkpoint; None when there is none."""
        return self._latest

    @property
    def best(self) -> TrackedCheckpoint | None:
        """The best one; None when there is none."""
        return max(self._kept, key=lambda tracked: tracked._rank, default=None)

    @property
    def kept(self) -> list[TrackedCheckpoint]:
        """All that are kept, oldest first."""
        return list(self._kept)

    @property
    def best_tracked(self) -> list[TrackedCheckpoint]:
        """The best ones, at most ``num_to_keep``, the best last."""
        ranked = sorted(self._kept, key=lambda tracked: tracked._rank)
        keep = self.config.num_to_keep
        return ranked if keep is None else ranked[-keep:]

    @property
    def best_checkpoints(self) -> list[tuple[Checkpoint, dict[str, Any]]]:
        """The best checkpoints with their metrics, the best last."""
        return [(tracked.checkpoint, tracked.metrics) for tracked in self.best_tracked]

    def register(self, tracked: TrackedCheckpoint) -> list[TrackedCheckpoint]:
        """Add a checkpoint that is complete, and return those that are not kept any longer, oldest first.

        Raises:
            ValueError: its score is no number, or its id is not newer than the latest.
        """
        score = self._score(tracked.metrics)
        if tracked.id is None:
            tracked.id = self._next_id
        elif tracked.id < self._next_id:
            raise ValueError(f"checkpoint {tracked.id} comes after checkpoint {self._next_id - 1}: ids must grow")
        tracked.score = score
        self._next_id = tracked.id + 1
        self._kept.append(tracked)
        self._latest = tracked
        return self._drop()

    def forget(self, tracked: TrackedCheckpoint) -> None:
        """Drop a checkpoint that is lost or broken; the newest of the others is the latest then."""
        self._kept = [entry for entry in self._kept if entry is not tracked]
        self._latest = self._kept[-1] if self._kept else None

    def _drop(self) -> list[TrackedCheckpoint]:
        keep = self.config.num_to_keep
        if keep is None or len(self._kept) <= keep:
            return []
        best = {tracked.id for tracked in self.best_tracked}
        dropped = [tracked for tracked in self._kept if tracked.id not in best and tracked is not self._latest]
        if dropped:
            self._kept = [tracked for tracked in self._kept if tracked.id in best or tracked is self._latest]
        return dropped

    def _score(self, metrics: Mapping[str, Any]) -> float:
        attribute = self.config.checkpoint_score_attribute
        if attribute is None:
            return 0.0  # so the id decides
        value = lookup(metrics, attribute)
        if value is None:
            if not self._told:
                self._told = True
                logger.error(
                    "the checkpoint_score_attribute %r is not among the metrics; such checkpoints count as the worst. There are %s",
                    attribute,
                    ", ".join(sorted(map(str, metrics))) or "none",
                )
            return -math.inf
        number = _number(value)
        if number is None:
            raise ValueError(
                f"the checkpoint_score_attribute {attribute!r} must be a number, but it is {value!r} ({type(value).__name__})"
            )
        return number if self.config.checkpoint_score_order == "max" else -number

    # -- state -------------------------------------------------------------------------------------

    def to_state(self) -> dict[str, Any]:
        """All of it as plain JSON. What lies only in memory is left out, since nobody could find it again."""
        from aktis.air._checkpoint.codec import Encoder

        encode = Encoder(None).encode
        kept = [
            {
                "id": tracked.id,
                "path": self._relative(tracked.path),
                "score": encode(tracked.score),
                "metrics": encode(tracked.metrics),
            }
            for tracked in self._kept
            if tracked.path is not None
        ]
        return {"version": _STATE_VERSION, "next_id": self._next_id, "kept": kept}

    @classmethod
    def from_state(
        cls, state: Mapping[str, Any], config: CheckpointConfig | None = None, base_dir: str | None = None
    ) -> CheckpointManager:
        """What :meth:`to_state` gave, with paths under ``base_dir``.

        Raises:
            ValueError: a newer version wrote the state.
        """
        from aktis.air._checkpoint.codec import Decoder

        if state.get("version") != _STATE_VERSION:
            raise ValueError(
                f"checkpoint states of version {state.get('version')!r} are unknown: this one reads {_STATE_VERSION}"
            )
        decode = Decoder().decode
        manager = cls(config, base_dir)
        manager._next_id = state["next_id"]
        for entry in state["kept"]:
            path = entry["path"]
            if base_dir is not None and not is_uri(path):
                path = os.path.join(base_dir, path)
            tracked = TrackedCheckpoint(path, decode(entry["metrics"]), entry["id"])
            tracked.score = decode(entry["score"])
            manager._kept.append(tracked)
        manager._latest = manager._kept[-1] if manager._kept else None
        return manager

    def _relative(self, path: str | None) -> str | None:
        if path is None or self.base_dir is None or is_uri(path) or not os.path.isabs(path):
            return path
        relative = os.path.relpath(path, self.base_dir)
        return path if relative == os.pardir or relative.startswith(os.pardir + os.sep) else relative

    def __repr__(self) -> str:
        return f"CheckpointManager({self.config!r}, kept={self._kept!r})"


def _number(value: Any) -> float | None:
    if isinstance(value, numbers.Real):
        return float(value)
    if getattr(value, "shape", None) == () and not isinstance(value, str):  # an array of no dimensions
        try:
            return float(value)
        except (TypeError, ValueError):
            return None
    return None

"""Which checkpoints the older ``Trainer`` keeps."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CheckpointStrategy"]


@dataclass(frozen=True)
class CheckpointStrategy:
    """Which checkpoints of a run stay on disk.

    ::

        CheckpointStrategy(num_to_keep=2, checkpoint_score_attribute="loss", checkpoint_score_order="min")

    Args:
        num_to_keep: How many, the best ones. None: all. 0: none, and the latest one is only in memory.
        checkpoint_score_attribute: The number that says how good a checkpoint is, which was reported with it or is saved in it.
            None: newer is better.
        checkpoint_score_order: "max" or "min".

    Raises:
        ValueError: a value that makes no sense.
    """

    num_to_keep: int | None = None
    checkpoint_score_attribute: str | None = None
    checkpoint_score_order: str = "max"

    def __post_init__(self) -> None:
        keep = self.num_to_keep
        if keep is not None and (not isinstance(keep, int) or isinstance(keep, bool) or keep < 0):
            raise ValueError(
                f"num_to_keep must be 0 or more, or None to keep all checkpoints, not {self.num_to_keep!r}"
            )
        if self.checkpoint_score_order not in ("max", "min"):
            raise ValueError(f"checkpoint_score_order must be 'max' or 'min', not {self.checkpoint_score_order!r}")
        attribute = self.checkpoint_score_attribute
        if attribute is not None and (not isinstance(attribute, str) or not attribute):
            raise ValueError(
                f"checkpoint_score_attribute must be the name of a saved value or a metric, or None, not {attribute!r}"
            )

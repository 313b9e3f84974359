"""What the trainer and its workers send each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint
    from aktis.air.placement import PlacementGroupFactory

__all__ = ["Ended", "LoopFacts", "LoopSetup", "RankFacts", "Report"]


@dataclass(frozen=True)
class LoopFacts:
    """What is known of the run that the loop is a part of.

    Attributes:
        log_file: Name of the file in ``trial_dir`` that a rank's output goes to as well, with ``{rank}`` in it; None: none.
    """

    experiment_name: str | None = None
    trial_name: str | None = None
    trial_id: str | None = None
    trial_dir: str | None = None
    trial_resources: PlacementGroupFactory | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    log_file: str | None = None


@dataclass(frozen=True)
class LoopSetup:
    """The training loop, the same for all ranks.

    Attributes:
        function: The user's; called with ``config`` if ``takes_config``.
        checkpoint: What it goes on from.
        preprocessor: What reported checkpoints get, unless they have one.
    """

    function: Callable[..., Any]
    takes_config: bool
    config: dict[str, Any]
    facts: LoopFacts
    checkpoint: Checkpoint | None
    preprocessor: Any


@dataclass(frozen=True)
class RankFacts:
    """Which rank it is.

    Attributes:
        directory: Where its checkpoints are written; None: it is on another machine, and sends them.
    """

    world_size: int
    rank: int
    local_rank: int
    local_world_size: int
    node_rank: int
    directory: str | None


class Report(NamedTuple):
    """The loop has reported.

    Attributes:
        checkpoint: The folder that it was written to, or the checkpoint, or None.
        loop_seconds: Time since the last report returned.
        waited_seconds: How long the last report took to return.
        data: Rows that it has read of its data sets since it began, and seconds that it waited for them; None: it has none.
    """

    metrics: dict[str, Any]
    checkpoint: str | Checkpoint | None
    loop_seconds: float
    waited_seconds: float
    data: tuple[int, float] | None = None


class Ended(NamedTuple):
    """The loop has returned.

    Attributes:
        checkpoint: One that was saved and not reported.
    """

    value: Any
    checkpoint: str | Checkpoint | None = None

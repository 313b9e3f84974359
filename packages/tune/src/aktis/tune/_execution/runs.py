"""The run of a trial that has an actor: what is asked of it now, and what comes after."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.air.placement import PlacementGroupFactory
    from aktis.tune._execution.checkpoints import StartPoint
    from aktis.tune.experiment.trial import Trial


class Phase(Enum):
    """What is asked of the trial's actor."""

    STARTING = "starting"  # to set itself up
    STEPPING = "stepping"  # to make the next result
    SAVING = "saving"  # to make a checkpoint
    DECIDING = "deciding"  # nothing: it has answered, and what comes next is being decided
    WAITING = "waiting"  # nothing: it goes on when another trial has made its checkpoint


class Then(Enum):
    """What happens to a running trial when the present step, or checkpoint, is done."""

    GO_ON = "go on"  # the next step
    PAUSE = "pause"  # it leaves its actor, and waits for the scheduler
    STOP = "stop"  # it has ended well
    SUSPEND = "suspend"  # the run is ending: it leaves its actor, and can be resumed


@dataclass(slots=True)
class Restart:
    """How a trial starts again."""

    config: dict[str, Any] | None = None  # None: its own
    experiment_tag: str | None = None
    donor: Trial | None = None  # whose latest checkpoint it takes; None: its own
    resources: PlacementGroupFactory | None = None


@dataclass(slots=True)
class Run:
    """A trial with an actor."""

    trial: Trial
    slot: int
    resources: PlacementGroupFactory
    phase: Phase = Phase.STARTING
    then: Then = Then.GO_ON
    checkpoint: StartPoint | None = None  # from which it started
    restart: Restart | None = None
    save_asked: bool = False  # by the scheduler, the trial or the checkpoint frequency
    saved: bool = False  # there is a checkpoint of the latest result
    waits_for: str | None = None  # the trial whose checkpoint it waits for
    told_complete: bool = False  # scheduler and search algorithm know that it ended

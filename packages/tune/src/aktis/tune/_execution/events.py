"""What the brain is told (events) and what it wants done (commands).

Events carry the time at which they happened. Those marked *journaled* are in the journal before their commands are carried out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.tune._execution.checkpoints import StartPoint
    from aktis.tune.experiment.trial import Trial

# -- events -----------------------------------------------------------------------------------


@dataclass(slots=True)
class TrialAdded:
    """The search algorithm suggested a configuration (or, ``trial.external``, somebody else did), and this trial was made of it.
    Journaled."""

    now: float
    trial: Trial


@dataclass(slots=True)
class NoSuggestion:
    """The search algorithm has nothing: for now, or (``finished``) for good."""

    now: float
    finished: bool


@dataclass(slots=True)
class Started:
    """A trial's actor is set up. Journaled."""

    now: float
    trial_id: str
    pid: int | None = None
    node_ip: str | None = None
    needs_new_actor: bool = False  # the actor could not be reset


@dataclass(slots=True)
class Step:
    """One result of a trial, as the brain sees it."""

    metrics: dict[str, Any]
    checkpoint: str | None = None  # path, relative to the trial's directory, of a checkpoint that came with it
    duplicate: bool = False  # the function returned; this repeats its last result


@dataclass(slots=True)
class Stepped:
    """A trial reported (several results, when they are buffered). Journaled."""

    now: float
    trial_id: str
    steps: list[Step]


@dataclass(slots=True)
class Saved:
    """A trial made the checkpoint that it was asked for. Journaled."""

    now: float
    trial_id: str
    checkpoint: str | None  # path, relative to the trial's directory; None: it has nothing to save


@dataclass(slots=True)
class CallFailed:
    """What a trial was asked for raised, or its actor died. Journaled."""

    now: float
    trial_id: str
    error: BaseException


@dataclass(slots=True)
class ResourcesKnown:
    """What the cluster has now. Journaled."""

    now: float
    total: dict[str, float]


@dataclass(slots=True)
class Tick:
    """Time has passed."""

    now: float


@dataclass(slots=True)
class StopTrial:
    """Somebody wants this trial ended: it counts as completed. Journaled."""

    now: float
    trial_id: str


@dataclass(slots=True)
class StopAll:
    """Somebody wants the run to end (Ctrl-C): running trials make a last checkpoint and can be resumed. Journaled."""

    now: float


Event = TrialAdded | NoSuggestion | Started | Stepped | Saved | CallFailed | ResourcesKnown | Tick | StopTrial | StopAll

# -- commands ---------------------------------------------------------------------------------


@dataclass(slots=True)
class Suggest:
    """Ask the search algorithm for up to ``count`` more trials."""

    count: int


@dataclass(slots=True)
class StartTrial:
    """Set up ``trial`` on actor ``slot`` (to be made when ``new``), going on from ``checkpoint``."""

    trial: Trial
    slot: int
    new: bool
    checkpoint: StartPoint | None


@dataclass(slots=True)
class StepTrial:
    """Ask for the next result."""

    trial: Trial


@dataclass(slots=True)
class SaveTrial:
    """Ask for a checkpoint."""

    trial: Trial


@dataclass(slots=True)
class ReleaseActor:
    """The actor is no longer needed: stop it, when it has finished what it does."""

    slot: int
    trial: Trial | None = None
    completed: bool = False  # the trial ended well: export what it was asked to export


@dataclass(slots=True)
class DeleteCheckpoint:
    """This checkpoint is not kept."""

    checkpoint: StartPoint


@dataclass(slots=True)
class TellSearch:
    """Let the search algorithm know what became of a trial: "result", "complete", "pause" or "unpause"."""

    what: str
    trial_id: str
    result: dict[str, Any] | None = None  # flat
    error: bool = False


@dataclass(slots=True)
class TellCallbacks:
    """Call a hook of the callbacks."""

    hook: str
    trial: Trial
    result: dict[str, Any] | None = None


@dataclass(slots=True)
class TrialEnded:
    """A trial is over. Journaled, so that it stays over whatever a replay thinks."""

    trial: Trial


@dataclass(slots=True)
class WriteError:
    """Write down why the trial failed."""

    trial: Trial
    error: BaseException


@dataclass(slots=True)
class Abort:
    """End the run with this error."""

    error: BaseException


Command = (
    Suggest
    | StartTrial
    | StepTrial
    | SaveTrial
    | ReleaseActor
    | DeleteCheckpoint
    | TellSearch
    | TellCallbacks
    | TrialEnded
    | WriteError
    | Abort
)

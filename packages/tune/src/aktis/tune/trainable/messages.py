"""What the trial runner and the actor of a trial say to each other. The same for all engines, and small.

::

    runner ── TrialSetup ──► start()  ──► StartInfo
           ──────────────► train()  ──► StepResult     (train_buffered(): a list of them)
           ──────────────► save()   ──► SavedCheckpoint | None
           ──────────────► stop()   ──► StopInfo
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint
    from aktis.air.placement import PlacementGroupFactory

__all__ = ["DUPLICATE", "SavedCheckpoint", "StartInfo", "StepResult", "StopInfo", "TrialSetup"]

DUPLICATE = "__duplicate__"
"""Key of a result that only repeats the last one, to say that the function has ended."""

_tokens: dict[int, str] = {}


def process_token() -> str:
    """A word that is this process's own (a forked child gets another): tells the actor whether it shares the runner's process."""
    pid = os.getpid()
    token = _tokens.get(pid)
    if token is None:
        token = _tokens[pid] = os.urandom(16).hex()
    return token


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSetup:
    """Which trial an actor is to run.

    Attributes:
        trial_id: Its id.
        trial_name: ``str(trial)``.
        experiment_name: Name of the experiment.
        config: Its resolved configuration.
        logdir: Its directory (absolute); it is made when missing.
        resources: What it holds.
        chdir: Whether user code runs with ``logdir`` as its working directory.
        log_to_file: Names of the files in ``logdir`` that get a copy of (stdout, stderr), None for none.
        checkpoint: What to go on from: a checkpoint, a directory of one, or None to begin anew.
        iteration: How many results came before ``checkpoint``, for checkpoints that do not say so themselves.
        env: Environment variables for user code.
        registered: What the runner's process knows by name, see ``aktis.tune.registry``.
        process: The runner's process. Leave it as it is.
    """

    trial_id: str
    trial_name: str
    experiment_name: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    logdir: str = ""
    resources: PlacementGroupFactory | Mapping[str, float] | None = None
    chdir: bool = True
    log_to_file: tuple[str, str] | None = None
    checkpoint: Checkpoint | str | None = None
    iteration: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    registered: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    process: str = field(default_factory=process_token)

    def __post_init__(self) -> None:
        if not os.path.isabs(self.logdir):
            raise ValueError(f"logdir of trial {self.trial_id} must be an absolute path, not {self.logdir!r}")
        if self.log_to_file is not None and (
            isinstance(self.log_to_file, str)
            or len(self.log_to_file) != 2
            or not all(name and isinstance(name, str) for name in self.log_to_file)
        ):
            raise ValueError(
                f"log_to_file must be None or the names of two files, (stdout, stderr), not {self.log_to_file!r}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class StartInfo:
    """How a start went.

    Attributes:
        pid: Process that the trial runs in.
        node_ip: Address of its node.
        hostname: Name of its machine.
        was_reset: Whether the trainable of an earlier trial was taken over.
        needs_new_actor: Nothing was started: this actor cannot be used again. End it and start the trial in another one.
        reason: Why so, "" otherwise.
    """

    pid: int
    node_ip: str
    hostname: str
    was_reset: bool = False
    needs_new_actor: bool = False
    reason: str = ""


class StepResult(NamedTuple):
    """One result. A tuple, because it is what travels most.

    Attributes:
        metrics: What was reported, with what is filled in. Not in it: ``config``, which the runner has, and ``experiment_tag``,
            which is the runner's to give.
        checkpoint: Directory of a checkpoint that came with the result.
        done: Whether the trial ended by itself.
        duplicate: The metrics are those of the result before it (``done`` is new), or nothing was ever reported:
            callbacks must not see it.
    """

    metrics: dict[str, Any]
    checkpoint: str | None = None
    done: bool = False
    duplicate: bool = False


class SavedCheckpoint(NamedTuple):
    """A checkpoint that is complete on disk.

    Attributes:
        path: Its directory.
        iteration: ``training_iteration`` of the state in it.
    """

    path: str
    iteration: int


class StopInfo(NamedTuple):
    """How a stop went.

    Attributes:
        reusable: Whether the actor may be given another trial.
        reason: Why not, "" otherwise.
    """

    reusable: bool
    reason: str = ""

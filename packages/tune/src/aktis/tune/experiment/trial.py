"""A trial: one configuration, and all that is known of its run. Data only; the trial runner changes it."""

from __future__ import annotations

import numbers
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from aktis.tune.experiment.metric_analysis import MetricAnalysis

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint
    from aktis.air.config import CheckpointConfig
    from aktis.air.placement import PlacementGroupFactory
    from aktis.air.retention import CheckpointManager, TrackedCheckpoint

__all__ = ["Trial"]


class Trial:
    """One configuration and its run.

    Attributes:
        trial_id: Short id, unique in the experiment.
        trainable_name: Name of what is run, as registered.
        config: The resolved configuration (no search domains).
        evaluated_params: The variables of the search space that were resolved, by path (``"a/b"``).
        experiment_tag: ``"<number>_<key>=<value>,..."``.
        placement_group_factory: The resources that it needs.
        experiment_name: Name of the experiment, which says what is run and how.
        experiment_dir: The experiment's directory (absolute).
        relative_logdir: The trial's directory inside of it; None until it was first needed.
        can_save: Whether it makes a checkpoint when it is asked to (a class trainable does, a function reports them).
        status: One of the states below.
        last_result: The latest result (metrics), {} before the first.
        metric_analysis: For each numeric metric ``max``, ``min``, ``avg``, ``last``, ``last-5-avg``, ``last-10-avg``.
        num_failures: How often it failed so far.
        error: The latest failure, None when there was none.
        checkpoints: What keeps track of its checkpoints.
        scheduler_data: Room for the scheduler.
        external: Whether somebody added it to the running experiment: the search algorithm does not know of it.
    """

    PENDING: ClassVar[str] = "PENDING"  # waits for its turn or for resources
    RUNNING: ClassVar[str] = "RUNNING"  # has an actor
    PAUSED: ClassVar[str] = "PAUSED"  # waits for the scheduler's word
    TERMINATED: ClassVar[str] = "TERMINATED"  # ended well
    ERROR: ClassVar[str] = "ERROR"  # ended by a failure

    __slots__ = (
        "__weakref__", "can_save", "checkpoint_config", "checkpoints", "config", "custom_dirname", "custom_name", "error",
        "evaluated_params", "experiment_dir", "experiment_name", "experiment_tag", "export_formats", "external", "last_result",
        "last_update_time", "max_failures",
        "metric_analysis", "node_ip", "num_failures", "num_restores", "pid", "placement_group_factory", "relative_logdir",
        "restore_path", "scheduler_data", "start_time", "status", "stopping_criterion", "trainable_name", "trial_id",
    )  # fmt: skip

    def __init__(
        self,
        trainable_name: str,
        *,
        trial_id: str,
        config: dict[str, Any] | None = None,
        evaluated_params: dict[str, Any] | None = None,
        experiment_tag: str = "",
        experiment_name: str = "",
        experiment_dir: str = "",
        placement_group_factory: PlacementGroupFactory | None = None,
        stopping_criterion: Mapping[str, Any] | None = None,
        checkpoint_config: CheckpointConfig | None = None,
        max_failures: int = 0,
        restore_path: str | None = None,
        export_formats: list[str] | None = None,
        can_save: bool = False,
    ) -> None:
        self.trial_id = trial_id
        self.trainable_name = trainable_name
        self.config: dict[str, Any] = config or {}
        self.evaluated_params: dict[str, Any] = evaluated_params or {}
        self.experiment_tag = experiment_tag
        self.experiment_name = experiment_name
        self.experiment_dir = experiment_dir
        self.relative_logdir: str | None = None
        self.custom_name: str | None = None
        self.custom_dirname: str | None = None
        # None only until it is placed (Experiment.place), which is before anybody else sees it.
        self.placement_group_factory: PlacementGroupFactory = placement_group_factory  # type: ignore[assignment]
        self.stopping_criterion: Mapping[str, Any] = stopping_criterion or {}
        self.checkpoint_config = checkpoint_config
        self.max_failures = max_failures
        self.restore_path = restore_path
        self.export_formats = export_formats or []
        self.can_save = can_save
        self.status = Trial.PENDING
        self.last_result: dict[str, Any] = {}
        self.metric_analysis: MetricAnalysis = MetricAnalysis()
        self.num_failures = 0
        self.num_restores = 0
        self.error: BaseException | None = None
        self.start_time: float | None = None
        self.last_update_time: float | None = None
        self.pid: int | None = None
        self.node_ip: str | None = None
        self.checkpoints: CheckpointManager | None = None
        self.scheduler_data: Any = None
        self.external = False

    # -- what callbacks and users look at ---------------------------------------------------------

    @property
    def logdir(self) -> str:
        """The trial's directory ("" until it has one)."""
        return os.path.join(self.experiment_dir, self.relative_logdir) if self.relative_logdir else ""

    local_dir = property(lambda self: self.experiment_dir)
    local_path = property(lambda self: self.logdir)

    @property
    def experiment_dir_name(self) -> str:
        """The name of the experiment's directory."""
        return os.path.basename(self.experiment_dir.rstrip("/"))

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The latest checkpoint."""
        latest = self.checkpoints.latest if self.checkpoints is not None else None
        return latest.checkpoint if latest is not None else None

    @property
    def error_file(self) -> str | None:
        """Where the text of the latest failure is."""
        return os.path.join(self.logdir, "error.txt") if self.error is not None and self.logdir else None

    @property
    def custom_trial_name(self) -> str | None:
        """The name that the user's function gave it, if any."""
        return self.custom_name

    @property
    def pickled_error_file(self) -> str | None:
        """Where the latest failure itself is."""
        return os.path.join(self.logdir, "error.pkl") if self.error is not None and self.logdir else None

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is a checkpoint."""
        return self.checkpoints is not None and self.checkpoints.latest is not None

    def get_trial_checkpoints(self) -> list[TrackedCheckpoint]:
        """The checkpoints that are kept, oldest first."""
        return self.checkpoints.kept if self.checkpoints is not None else []

    def get_error(self) -> BaseException | None:
        """The latest failure."""
        return self.error

    def get_runner_ip(self) -> str | None:
        """The address of the machine that it runs on, or ran on last."""
        return self.node_ip

    def set_config(self, config: dict[str, Any]) -> None:
        """Change the configuration; for schedulers, and before the trial starts (again)."""
        self.config = config

    def set_experiment_tag(self, experiment_tag: str) -> None:
        """Change the tag; for schedulers."""
        self.experiment_tag = experiment_tag

    def is_finished(self) -> bool:
        """Whether it will not run again."""
        return self.status in (Trial.TERMINATED, Trial.ERROR)

    def __str__(self) -> str:
        if self.custom_name:
            return self.custom_name
        name = self.trainable_name
        environment = self.config.get("env")
        if environment is not None:
            name += f"_{environment if isinstance(environment, str) else getattr(environment, '__name__', 'env')}"
        return f"{name}_{self.trial_id}".replace("/", "_")

    def __repr__(self) -> str:
        return str(self)

    def __hash__(self) -> int:
        return hash(self.trial_id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Trial) and self.trial_id == other.trial_id

    # -- what the trial runner does with it --------------------------------------------------------

    def record(self, result: dict[str, Any], now: float) -> None:
        """Take over a result: the latest one, and the statistics of every number in it."""
        self.last_result = result
        self.last_update_time = now
        self.metric_analysis.record(flat_numbers(result), result.get("training_iteration") or 1)

    def begin_anew(self) -> None:
        """Forget the run so far."""
        self.last_result = {}
        self.metric_analysis = MetricAnalysis()
        self.checkpoints = None
        self.start_time = None
        self.num_restores = 0


_NOT_METRICS = frozenset(
    {"config", "done", "trial_id", "experiment_id", "date", "hostname", "node_ip", "experiment_tag"}
)


def flat_numbers(result: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    """All numbers in a result with their paths (``"a/b"``), the configuration left out."""
    found: list[tuple[str, float]] = []
    for key, value in result.items():
        if not prefix and key in _NOT_METRICS:
            continue
        kind = type(value)
        if kind is float or kind is int:
            found.append((prefix + str(key), value))
        elif kind is dict:
            found.extend(flat_numbers(value, f"{prefix}{key}/"))
        elif kind is not bool and isinstance(value, numbers.Real):
            found.append((prefix + str(key), float(value)))
    return found

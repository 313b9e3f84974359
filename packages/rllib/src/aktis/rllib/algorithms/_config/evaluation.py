"""Section evaluation()."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from aktis.rllib.algorithms._config.base import ConfigBase, section
from aktis.rllib.utils.from_config import NotProvided

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["EvaluationSection"]

UNITS = ("episodes", "timesteps")


class EvaluationSection(ConfigBase):
    """How good the policy is, measured beside training."""

    def __init__(self) -> None:
        super().__init__()
        self.evaluation_interval: int | None = None
        self.evaluation_duration: int | str = 10
        self.evaluation_duration_unit: str = "episodes"
        self.evaluation_sample_timeout_s: float = 180.0
        self.evaluation_parallel_to_training: bool = False
        self.evaluation_config: Any = None
        self.off_policy_estimation_methods: dict[str, Any] = {}
        self.ope_split_batch_by_episode: bool = True
        self.evaluation_num_workers: int = 0
        self.custom_evaluation_function: Callable[..., dict[str, Any]] | None = None
        self.always_attach_evaluation_results: bool = False
        self.enable_async_evaluation: bool = False
        self.in_evaluation: bool = False
        self.sync_filters_on_rollout_workers_timeout_s: float = 60.0

    @section
    def evaluation(
        self,
        *,
        evaluation_interval: int | None = NotProvided,
        evaluation_duration: int | str = NotProvided,
        evaluation_duration_unit: str = NotProvided,
        evaluation_sample_timeout_s: float = NotProvided,
        evaluation_parallel_to_training: bool = NotProvided,
        evaluation_config: Any = NotProvided,
        off_policy_estimation_methods: Mapping[str, Any] = NotProvided,
        ope_split_batch_by_episode: bool = NotProvided,
        evaluation_num_workers: int = NotProvided,
        custom_evaluation_function: Callable[..., dict[str, Any]] | None = NotProvided,
        always_attach_evaluation_results: bool = NotProvided,
        enable_async_evaluation: bool = NotProvided,
        sync_filters_on_rollout_workers_timeout_s: float = NotProvided,
        evaluation_num_episodes: int = NotProvided,
    ) -> Self:
        """How good the policy is, measured beside training.

        Args:
            evaluation_interval: Evaluate after every so many iterations; None: not at all.
            evaluation_duration: For how long, all workers together, in ``evaluation_duration_unit``. "auto", with
                ``evaluation_parallel_to_training``: as long as the training iteration takes.
            evaluation_duration_unit: "episodes" or "timesteps".
            evaluation_sample_timeout_s: How long to wait for the samples of the evaluation's workers, in seconds.
            evaluation_parallel_to_training: Evaluate during the training iteration, with the weights from before it.
            evaluation_config: What is different for evaluation: a dict (``AlgorithmConfig.overrides(explore=False)``), or a
                whole configuration. Episodes are run one after the other in each worker, unless it says
                ``num_envs_per_worker``: of many beside each other, those that end first are the short ones.
            off_policy_estimation_methods: Estimators by name: ``{"wis": {"type": WeightedImportanceSampling}}``, for
                evaluation with offline data.
            ope_split_batch_by_episode: Give them one episode at a time.
            evaluation_num_workers: Rollout workers for evaluation alone; 0: the algorithm's process does it.
            custom_evaluation_function: ``f(algorithm, evaluation_workers)`` that returns the metrics, instead of the
                usual evaluation.
            always_attach_evaluation_results: Each result has the latest evaluation, not only those of iterations that
                evaluated.
            enable_async_evaluation: Workers of the evaluation need not wait for each other, and one that dies is left out.
            sync_filters_on_rollout_workers_timeout_s: How long to wait for workers to take filters over, in seconds.
            evaluation_num_episodes: The old name of ``evaluation_duration``.
        """
        if evaluation_duration is NotProvided and evaluation_num_episodes != -1:
            evaluation_duration = evaluation_num_episodes
        return self._update(
            evaluation_interval=evaluation_interval,
            evaluation_duration=evaluation_duration,
            evaluation_duration_unit=evaluation_duration_unit,
            evaluation_sample_timeout_s=evaluation_sample_timeout_s,
            evaluation_parallel_to_training=evaluation_parallel_to_training,
            evaluation_config=evaluation_config,
            off_policy_estimation_methods=off_policy_estimation_methods,
            ope_split_batch_by_episode=ope_split_batch_by_episode,
            evaluation_num_workers=evaluation_num_workers,
            custom_evaluation_function=custom_evaluation_function,
            always_attach_evaluation_results=always_attach_evaluation_results,
            enable_async_evaluation=enable_async_evaluation,
            sync_filters_on_rollout_workers_timeout_s=sync_filters_on_rollout_workers_timeout_s,
        )

    def _merged(self, name: str, value: Any) -> Any:
        if name == "evaluation_config" and isinstance(value, dict) and isinstance(self.evaluation_config, dict):
            return {**self.evaluation_config, **value}
        return super()._merged(name, value)

    def get_evaluation_config_object(self) -> Self:
        """The configuration of the evaluation's workers: this one, with what ``evaluation_config`` says, and the workers,
        batches and fragments that fit the duration. It is not frozen.

        Raises:
            KeyError: ``evaluation_config`` has a setting that does not exist.
        """
        given = self.evaluation_config
        if self.in_evaluation:
            return self.copy(copy_frozen=False)
        if isinstance(given, ConfigBase):
            made: Any = given.copy(copy_frozen=False)
        else:
            made = self.copy(copy_frozen=False)
            try:
                made.output = None  # what is recorded is what is trained on, unless evaluation_config says otherwise
                made.update_from_dict(given or {})
            except KeyError as error:
                raise KeyError(f"evaluation_config: {error.args[0]}") from None
        made.in_evaluation = True
        made.evaluation_config = None
        made.num_rollout_workers = self.evaluation_num_workers
        made.create_env_on_local_worker = self.evaluation_num_workers == 0
        if self.enable_async_evaluation and not made.recreate_failed_workers:
            made.ignore_worker_failures = True
        if self.evaluation_duration_unit == "episodes":
            made.batch_mode = "complete_episodes"
            made.rollout_fragment_length = 1
            if not isinstance(given, ConfigBase) and "num_envs_per_worker" not in (given or ()):
                # The first ones to end among many environments that run beside each other are the short ones.
                made.num_envs_per_worker = 1
        else:
            made.batch_mode = "truncate_episodes"
            environments = made.num_envs_per_worker * max(self.evaluation_num_workers, 1)
            auto = self.evaluation_duration == "auto"
            made.rollout_fragment_length = 10 if auto else math.ceil(int(self.evaluation_duration) / environments)
        return made  # type: ignore[no-any-return]

    def _validate_evaluation(self) -> None:
        interval, duration = self.evaluation_interval, self.evaluation_duration
        if interval is not None and (isinstance(interval, bool) or not isinstance(interval, int) or interval < 0):
            raise ValueError(f"evaluation_interval must be a whole number, or None, not {interval!r}")
        if self.evaluation_duration_unit not in UNITS:
            raise ValueError(
                f"evaluation_duration_unit must be 'episodes' or 'timesteps', not {self.evaluation_duration_unit!r}"
            )
        workers = self.evaluation_num_workers
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 0:
            raise ValueError(f"evaluation_num_workers must be a whole number that is not negative, not {workers!r}")
        if duration == "auto":
            if not self.evaluation_parallel_to_training:
                raise ValueError(
                    "evaluation_duration='auto' is as long as the training iteration beside it: it needs "
                    "evaluation_parallel_to_training=True"
                )
        elif isinstance(duration, bool) or not isinstance(duration, int) or duration < 1:
            raise ValueError(f"evaluation_duration must be a whole number, 1 or more, or 'auto', not {duration!r}")
        if self.evaluation_parallel_to_training and not self.in_evaluation and workers < 1:
            raise ValueError(
                "evaluation_parallel_to_training=True needs workers for evaluation alone: set evaluation_num_workers to 1 or more"
            )
        if self.enable_async_evaluation and not self.in_evaluation and workers < 1:
            raise ValueError("enable_async_evaluation=True needs evaluation_num_workers of 1 or more")
        given = self.evaluation_config
        if given is not None and not isinstance(given, (Mapping, ConfigBase)):
            raise ValueError(f"evaluation_config must be a dict, an AlgorithmConfig or None, not {given!r}")
        if given and not self.in_evaluation:
            self.get_evaluation_config_object()

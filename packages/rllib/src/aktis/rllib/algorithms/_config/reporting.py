"""Sections reporting(), checkpointing() and debugging()."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from aktis.rllib.algorithms._config.base import ConfigBase, section
from aktis.rllib.utils.from_config import NotProvided

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ReportingSection"]

LEVELS = ("DEBUG", "INFO", "WARN", "WARNING", "ERROR")


class ReportingSection(ConfigBase):
    """Results, checkpoints, and what helps to find errors."""

    def __init__(self) -> None:
        super().__init__()
        self.keep_per_episode_custom_metrics: bool = False
        self.metrics_episode_collection_timeout_s: float = 60.0
        self.metrics_num_episodes_for_smoothing: int = 100
        self.min_time_s_per_iteration: float | None = None
        self.min_train_timesteps_per_iteration: int = 0
        self.min_sample_timesteps_per_iteration: int = 0

        self.export_native_model_files: bool = False
        self.checkpoint_trainable_policies_only: bool = False

        self.logger_creator: Callable[..., Any] | None = None
        self.logger_config: dict[str, Any] | None = None
        self.log_level: str = "WARN"
        self.log_sys_usage: bool = True
        self.fake_sampler: bool = False
        self.seed: int | None = None
        self.worker_cls: type[Any] | None = None

    @section
    def reporting(
        self,
        *,
        keep_per_episode_custom_metrics: bool = NotProvided,
        metrics_episode_collection_timeout_s: float = NotProvided,
        metrics_num_episodes_for_smoothing: int = NotProvided,
        min_time_s_per_iteration: float | None = NotProvided,
        min_train_timesteps_per_iteration: int | None = NotProvided,
        min_sample_timesteps_per_iteration: int | None = NotProvided,
    ) -> Self:
        """What an iteration is, and what is in its result.

        Args:
            keep_per_episode_custom_metrics: Report the custom metrics of each episode, not their mean, least and greatest.
            metrics_episode_collection_timeout_s: How long to wait for the workers' metrics, in seconds.
            metrics_num_episodes_for_smoothing: An iteration with fewer episodes takes earlier ones into its means, up
                to so many.
            min_time_s_per_iteration: ``training_step`` is called again until an iteration took so long, in seconds.
            min_train_timesteps_per_iteration: ... until so many steps were trained on.
            min_sample_timesteps_per_iteration: ... until so many steps were sampled.
        """
        return self._update(
            keep_per_episode_custom_metrics=keep_per_episode_custom_metrics,
            metrics_episode_collection_timeout_s=metrics_episode_collection_timeout_s,
            metrics_num_episodes_for_smoothing=metrics_num_episodes_for_smoothing,
            min_time_s_per_iteration=min_time_s_per_iteration,
            min_train_timesteps_per_iteration=min_train_timesteps_per_iteration,
            min_sample_timesteps_per_iteration=min_sample_timesteps_per_iteration,
        )

    @section
    def checkpointing(
        self,
        *,
        export_native_model_files: bool = NotProvided,
        checkpoint_trainable_policies_only: bool = NotProvided,
    ) -> Self:
        """What is in a checkpoint.

        Args:
            export_native_model_files: Also the model as the framework writes it.
            checkpoint_trainable_policies_only: Only policies that learn.
        """
        return self._update(
            export_native_model_files=export_native_model_files,
            checkpoint_trainable_policies_only=checkpoint_trainable_policies_only,
        )

    @section
    def debugging(
        self,
        *,
        logger_creator: Callable[..., Any] | None = NotProvided,
        logger_config: Mapping[str, Any] | None = NotProvided,
        log_level: str = NotProvided,
        log_sys_usage: bool = NotProvided,
        fake_sampler: bool = NotProvided,
        seed: int | None = NotProvided,
        worker_cls: type[Any] | None = NotProvided,
    ) -> Self:
        """What helps to find errors.

        Args:
            logger_creator: ``f(config)`` makes what results are logged with.
            logger_config: A description of it: ``type`` and arguments; ``logdir`` is the directory of the algorithm.
            log_level: DEBUG, INFO, WARN or ERROR, for the loggers of aktis.rllib in the processes of workers.
            log_sys_usage: Report the use of CPU and memory (with psutil installed).
            fake_sampler: The first batch is used again and again, to measure learning alone.
            seed: Makes runs repeatable: worker ``i`` has ``seed + i``.
            worker_cls: A class of rollout workers, instead of the usual one.
        """
        return self._update(
            logger_creator=logger_creator,
            logger_config=logger_config,
            log_level=log_level,
            log_sys_usage=log_sys_usage,
            fake_sampler=fake_sampler,
            seed=seed,
            worker_cls=worker_cls,
        )

    def _validate_reporting(self) -> None:
        if self.log_level not in LEVELS:
            raise ValueError(f"log_level must be one of {', '.join(LEVELS)}, not {self.log_level!r}")
        if self.seed is not None and (isinstance(self.seed, bool) or not hasattr(self.seed, "__index__")):
            raise ValueError(f"seed must be a whole number, or None, not {self.seed!r}")
        for name in (
            "min_time_s_per_iteration",
            "min_train_timesteps_per_iteration",
            "min_sample_timesteps_per_iteration",
        ):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0):
                raise ValueError(f"{name} must be a number that is not negative, or None, not {value!r}")
        smoothing = self.metrics_num_episodes_for_smoothing
        if isinstance(smoothing, bool) or not isinstance(smoothing, int) or smoothing < 0:
            raise ValueError(
                f"metrics_num_episodes_for_smoothing must be a whole number that is not negative, not {smoothing!r}"
            )

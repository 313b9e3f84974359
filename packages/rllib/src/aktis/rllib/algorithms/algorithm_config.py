"""The configuration of an algorithm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from aktis.rllib.algorithms._config.environment import EnvironmentSection
from aktis.rllib.algorithms._config.evaluation import EvaluationSection
from aktis.rllib.algorithms._config.fragments import auto_fragment_length, fragment_lengths
from aktis.rllib.algorithms._config.keys import current_key, nearest
from aktis.rllib.algorithms._config.multi_agent import MultiAgentSection
from aktis.rllib.algorithms._config.numbers import check_numbers
from aktis.rllib.algorithms._config.offline import OfflineSection
from aktis.rllib.algorithms._config.reporting import ReportingSection
from aktis.rllib.algorithms._config.resources import ResourcesSection
from aktis.rllib.algorithms._config.rollouts import RolloutsSection
from aktis.rllib.algorithms._config.training import TrainingSection
from aktis.rllib.utils.from_config import NotProvided

if TYPE_CHECKING:
    from typing_extensions import Self

    from aktis.rllib.algorithms.algorithm import Algorithm
    from aktis.rllib.policy.policy import Policy

__all__ = ["AlgorithmConfig", "NotProvided"]


class AlgorithmConfig(
    ResourcesSection,
    EnvironmentSection,
    RolloutsSection,
    TrainingSection,
    EvaluationSection,
    OfflineSection,
    MultiAgentSection,
    ReportingSection,
):
    """What an algorithm is made from. Each section has a method, which returns the configuration::

        config = (
            PPOConfig()
            .environment("CartPole-v1")
            .rollouts(num_rollout_workers=2)
            .training(lr=3e-4, train_batch_size=4000)
        )
        algorithm = config.build()
        while algorithm.train()["episode_reward_mean"] < 450:
            pass

    Settings are also attributes (``config.lr = 3e-4``) and those of a dictionary (``config["lr"]``); dictionaries may use the
    names of earlier releases (``num_workers``, ``lambda``, ``framework``). A name that does not exist is an error at once.

    Args:
        algo_class: The class of the algorithm that :meth:`build` makes.
    """

    def __init__(self, algo_class: type[Algorithm] | None = None) -> None:
        super().__init__()
        self.algo_class = algo_class

    # -- other forms ---------------------------------------------------------------------------------

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any]) -> Self:
        """A configuration of a dictionary; what is not in it has its default.

        Args:
            config_dict: Settings by name, as :meth:`to_dict` gives them, or in older spellings.

        Raises:
            KeyError: a name that does not exist.
        """
        return cls().update_from_dict(config_dict)

    @classmethod
    def overrides(cls, **kwargs: Any) -> dict[str, Any]:
        """Settings that are different, for ``evaluation_config`` and ``PolicySpec(config=...)``.

        Args:
            kwargs: Settings.

        Returns:
            A dictionary of them.

        Raises:
            KeyError: a name that does not exist.
        """
        default = cls()
        for key in kwargs:
            if key not in default:
                raise KeyError(f"{cls.__name__} has no setting {key!r}{nearest(key, default._fields())}")
        return {
            key if default._has(key) or key == "multiagent" else current_key(key): value
            for key, value in kwargs.items()
        }

    # -- what follows from it --------------------------------------------------------------------------

    def get_rollout_fragment_length(self, worker_index: int = 0) -> int:
        """Steps of each environment for one batch of a worker; what "auto" is.

        Args:
            worker_index: Number of the worker, from 1; 0 is the local one.
        """
        if self.rollout_fragment_length != "auto":
            return int(self.rollout_fragment_length)
        return auto_fragment_length(
            self.train_batch_size, self.num_rollout_workers, self.num_envs_per_worker, worker_index
        )

    def get_default_policy_class(self) -> type[Policy] | None:
        """The class of policies that have none of their own, as the algorithm says."""
        return None if self.algo_class is None else self.algo_class.get_default_policy_class(self)

    def validate_train_batch_size_vs_rollout_fragment_length(self) -> None:
        """Raise a ValueError if a training batch is not (within a tenth) a whole number of rounds of the workers: algorithms that
        learn from what they have just sampled would throw away steps, or learn from more than they were told."""
        if self.rollout_fragment_length == "auto" or self.in_evaluation or self.batch_mode == "complete_episodes":
            return
        workers = max(self.num_rollout_workers, 1)
        one_round = workers * self.num_envs_per_worker * int(self.rollout_fragment_length)
        rounds = max(-(-self.train_batch_size // one_round), 1)
        if abs(rounds * one_round - self.train_batch_size) > 0.1 * self.train_batch_size:
            fit = fragment_lengths(self.train_batch_size, workers, self.num_envs_per_worker)[0]
            raise ValueError(
                f"train_batch_size={self.train_batch_size} does not go with "
                f"rollout_fragment_length={self.rollout_fragment_length}, "
                f"{workers} worker(s) and {self.num_envs_per_worker} environment(s) each: one round makes {one_round} steps. Set "
                f"rollout_fragment_length='auto', or to {fit}"
            )

    def validate(self) -> None:
        """Check everything. An algorithm does so when it is made.

        Raises:
            ValueError, KeyError, ImportError: what is wrong, and what would be right.
        """
        check_numbers(self)
        self._validate_resources()
        self._validate_environment()
        self._validate_rollouts()
        self._validate_training()
        self._validate_evaluation()
        self._validate_offline()
        self._validate_multi_agent()
        self._validate_reporting()

    # -- an algorithm ------------------------------------------------------------------------------------

    def build(
        self, env: Any = None, logger_creator: Callable[..., Any] | None = None, use_copy: bool = True
    ) -> Algorithm:
        """The algorithm, ready to train.

        Args:
            env: The environment, instead of that of :meth:`environment`.
            logger_creator: ``f(config)`` makes what results are logged with.
            use_copy: Build it from a copy, so that this configuration can still be changed. False: it is frozen.

        Raises:
            ValueError: no class of algorithms belongs to this configuration, or a setting is wrong.
        """
        if self.algo_class is None:
            raise ValueError(
                f"{type(self).__name__} belongs to no algorithm: build that of one (PPOConfig().build()), or give the class, "
                "AlgorithmConfig(algo_class=MyAlgorithm)"
            )
        config = self.copy(copy_frozen=False) if use_copy else self
        if env is not None:
            config.env = env
            config.evaluation_config = _same_env(config.evaluation_config, env)
        if logger_creator is not None:
            config.logger_creator = logger_creator
        made: Algorithm = self.algo_class(config=config, logger_creator=config.logger_creator)
        return made


def _same_env(evaluation_config: Any, env: Any) -> Any:
    """Another environment for training is one for evaluation, too, where that is a whole configuration without one."""
    if isinstance(evaluation_config, AlgorithmConfig) and evaluation_config.env is None:
        evaluation_config.env = env
    return evaluation_config

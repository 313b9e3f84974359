"""Checkpoints of algorithms: what is in them, and algorithms made from them.

rllib_checkpoint.json          type, version, algorithm, iteration, policies
algorithm_state.json           counters, time, what training_step keeps; arrays.npz beside it has the arrays
config.pkl                     the configuration (it may hold functions); config.json beside it, for people
policies/<id>/                 a policy, as Policy.export_checkpoint writes it
replay_buffer.json, .npz       with store_buffer_in_checkpoints
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Container, Mapping
from typing import TYPE_CHECKING, Any

from aktis.rllib.algorithms._algorithm import checkpoint_files as files
from aktis.rllib.algorithms._algorithm.base import AlgorithmParts
from aktis.rllib.algorithms._algorithm.resources import fit_to_machine

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["CheckpointsPart"]


class CheckpointsPart(AlgorithmParts):
    """Saves and restores."""

    _algorithm_class: type[Any] | None = None
    """What checkpoints say that they are of, where that is not the class: one that somebody derived to run an algorithm."""

    # -- state ---------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """Everything that training goes on from. Without the replay buffer, unless the configuration has
        ``store_buffer_in_checkpoints``."""
        local = self._local
        state: dict[str, Any] = {
            "algorithm_class": self._algorithm_class or type(self),
            "config": self.config,
            "counters": dict(self._counters),
            "episode_history": [tuple(episode) for episode in self._episode_history],
            "policies": {policy_id: local.get_policy(policy_id).get_state() for policy_id in self._policies_to_save()},
            "global_vars": local.get_global_vars(),
            "filters": local.get_filters(flush_after=False),
            "policy_mapping_fn": local.policy_mapping_fn,
            "training": self._training_state(),
        }
        if self.local_replay_buffer is not None and self.config.get("store_buffer_in_checkpoints"):
            state["local_replay_buffer"] = self.local_replay_buffer.get_state()
        return state

    def _policies_to_save(self) -> list[str]:
        local = self._local
        ids = list(local.policy_map.keys())
        if not self.config.checkpoint_trainable_policies_only:
            return ids
        return [policy_id for policy_id in ids if local.is_policy_to_train(policy_id, None)]

    def _training_state(self) -> dict[str, Any]:
        """For algorithms: what ``training_step`` keeps from one call to the next, as numbers, text, arrays, lists and dicts."""
        return {}

    def _load_training_state(self, state: Mapping[str, Any]) -> None:
        """For algorithms: take over what :meth:`_training_state` gave."""

    def __getstate__(self) -> dict[str, Any]:
        return self.get_state()

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.set_state(state)

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`get_state` gave.

        Args:
            state: It. Policies that this algorithm does not have are left out, and those that the state does not have
                stay as they are.
        """
        from aktis.rllib.evaluation.metrics import RolloutMetrics

        local = self._local
        for policy_id, policy_state in state["policies"].items():
            if policy_id in local.policy_map:
                try:
                    local.get_policy(policy_id).set_state(policy_state)
                except (ValueError, KeyError) as error:
                    raise ValueError(
                        f"the state does not fit the policy {policy_id!r} of this {type(self).__name__}: {error} Spaces and model "
                        "must be those that it was saved with; Algorithm.from_checkpoint() makes an algorithm that has them"
                    ) from error
                _keep_own_numbers(local.get_policy(policy_id), state.get("config"))
        if state.get("filters"):
            local.sync_filters({**local.get_filters(), **state["filters"]})
        self._counters.clear()
        self._counters.update(state["counters"])
        self._episode_history = [RolloutMetrics(*episode) for episode in state.get("episode_history", ())]
        self._load_training_state(state.get("training") or {})
        if self.local_replay_buffer is not None and state.get("local_replay_buffer") is not None:
            self.local_replay_buffer.set_state(state["local_replay_buffer"])
        self._spread_state(state.get("global_vars") or self._global_vars())

    def _spread_state(self, global_vars: dict[str, Any]) -> None:
        """Bring all workers to where the local one is."""
        for worker_set in (self.workers, self.evaluation_workers):
            if worker_set is None:
                continue
            worker_set.sync_weights(from_worker=self._local, global_vars=global_vars, timeout_seconds=None)
            if self.config.observation_filter != "NoFilter":
                give = _GiveFilters(self._local.get_filters(flush_after=False))
                worker_set.foreach_worker(give, local_worker=worker_set is not self.workers)

    def _global_vars(self) -> dict[str, Any]:
        agents = self.config.count_steps_by == "agent_steps"
        return {"timestep": self._counters["num_agent_steps_sampled" if agents else "num_env_steps_sampled"]}

    # -- files ---------------------------------------------------------------------------------------

    def save_checkpoint(self, checkpoint_dir: str) -> str:
        """Write a checkpoint.

        Args:
            checkpoint_dir: An empty directory.

        Returns:
            The directory.
        """
        state = self.get_state()
        files.write_algorithm(checkpoint_dir, state, self.config, state["algorithm_class"], self.iteration)
        if self.config.export_native_model_files:
            for policy_id in state["policies"]:
                self.get_policy(policy_id).export_model(os.path.join(checkpoint_dir, "policies", policy_id, "model"))
        return checkpoint_dir

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Go on from a checkpoint.

        Args:
            checkpoint: Its directory, or the dict of :meth:`get_state`.

        Raises:
            ValueError: it is of another algorithm, of a later version, or no checkpoint.
        """
        if isinstance(checkpoint, Mapping):
            self.set_state(checkpoint)
            return
        info = files.read_info(checkpoint)
        files.check_algorithm(info, type(self), str(checkpoint))
        self.set_state(files.read_algorithm(checkpoint))

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Any,
        policy_ids: Container[str] | None = None,
        policy_mapping_fn: Callable[..., str] | None = None,
        policies_to_train: Collection[str] | Callable[..., bool] | None = None,
        *,
        config_overrides: Mapping[str, Any] | None = None,
    ) -> Self:
        """The algorithm of a checkpoint, ready to train on. Where there are not CPUs enough for all its workers, it has fewer.

        Args:
            checkpoint: The directory of one, or an ``aktis.air.Checkpoint``.
            policy_ids: Only these policies.
            policy_mapping_fn: Which agent has which policy, instead of what the checkpoint says.
            policies_to_train: Which policies learn, instead of what the checkpoint says.
            config_overrides: Settings that are to be different, ``{"num_workers": 0}`` for example.

        Raises:
            ValueError: there is no checkpoint of an algorithm; or a policy of ``policy_ids`` is not in it.
        """
        if not isinstance(checkpoint, str) and hasattr(checkpoint, "as_directory"):
            with checkpoint.as_directory() as directory:
                return cls.from_checkpoint(
                    directory, policy_ids, policy_mapping_fn, policies_to_train, config_overrides=config_overrides
                )
        directory = files.find(os.fspath(checkpoint))
        state = files.read_algorithm(directory, policy_ids)
        if not issubclass(state["algorithm_class"], cls):
            files.check_algorithm(files.read_info(directory), cls, str(directory))
        state = _with_policies(state, policy_ids, policy_mapping_fn, policies_to_train)
        state["config"].update_from_dict(config_overrides or {})
        fit_to_machine(state["config"])
        made: Self = cls.from_state(state)
        made._restored_from(directory)
        return made

    def _restored_from(self, directory: str) -> None:
        """Take over what Tune notes beside a checkpoint: the iteration, the time in all."""

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The algorithm of a state.

        Args:
            state: What :meth:`get_state` gave.

        Raises:
            ValueError: the state does not say of which class the algorithm was.
        """
        algorithm_class = state.get("algorithm_class")
        if algorithm_class is None:
            raise ValueError("no algorithm can be made from this state: it has no 'algorithm_class'")
        config = state["config"].copy(copy_frozen=False)
        made: Self = algorithm_class(config=config)
        made.set_state(state)
        return made


def _keep_own_numbers(policy: Any, saved_config: Any) -> None:
    """Where the configuration is another one than that of the checkpoint, its learning rate and coefficients count:
    population based training goes on from the checkpoint of one trial with the settings of another."""
    for name in getattr(policy, "scalars", ()):
        own, saved = policy.config.get(name), None if saved_config is None else saved_config.get(name)
        if saved_config is not None and isinstance(own, (int, float)) and own != saved:
            policy.set_scalar(name, own)


class _GiveFilters:
    def __init__(self, filters: dict[str, Any]) -> None:
        self.filters = filters

    def __call__(self, worker: Any) -> None:
        worker.sync_filters(self.filters)


def _with_policies(
    state: dict[str, Any],
    policy_ids: Container[str] | None,
    policy_mapping_fn: Callable[..., str] | None,
    policies_to_train: Any,
) -> dict[str, Any]:
    """A state whose configuration has the policies that are in it, and no others."""
    config = state["config"].copy(copy_frozen=False)
    saved = state["policies"]
    specs = {
        policy_id: files.spec_of(policy_state) for policy_id, policy_state in saved.items()
        if policy_id not in config.policies
    }  # fmt: skip
    given = config.policies
    kept = {
        policy_id: given[policy_id] if isinstance(given, Mapping) else None
        for policy_id in given
        if policy_id in saved or (policy_ids is None and config.checkpoint_trainable_policies_only)
    }
    config.policies = {**kept, **specs}
    mapping = policy_mapping_fn or state.get("policy_mapping_fn")
    if mapping is not None:
        config.multi_agent(policy_mapping_fn=mapping)
    if policies_to_train is not None:
        config.multi_agent(policies_to_train=policies_to_train)
    elif config.policies_to_train is not None and not callable(config.policies_to_train):
        config.policies_to_train = [policy_id for policy_id in config.policies_to_train if policy_id in config.policies]
    return {**state, "config": config}

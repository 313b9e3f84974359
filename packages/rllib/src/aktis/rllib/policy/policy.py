"""What workers and algorithms know of a policy, whatever it is made with."""

from __future__ import annotations

import platform
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Container, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import tree

from aktis.rllib.policy import _checkpoint
from aktis.rllib.policy._dummy import dummy_batch
from aktis.rllib.policy._policy_spec import PolicySpec, find_class
from aktis.rllib.policy.sample_batch import SampleBatch
from aktis.rllib.policy.view_requirement import ViewRequirement

if TYPE_CHECKING:
    import gymnasium as gym

    from aktis.rllib.utils.exploration.exploration import Exploration

__all__ = ["Policy", "PolicySpec"]

T = TypeVar("T")


class _PolicyMeta(ABCMeta):
    """Finishes a policy when all its constructors have run: what needs the whole object is done in `_after_init`."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        policy = super().__call__(*args, **kwargs)
        policy._after_init()
        return policy


class Policy(metaclass=_PolicyMeta):
    """Chooses actions for observations, and (mostly) learns to choose better ones.

    Everything is in batches: the first axis of each array counts rows. Arrays are NumPy's, in and out.

    Args:
        observation_space: What it observes, after preprocessing (the environment's own space is its `original_space`).
        action_space: What it does.
        config: An AlgorithmConfig or a dict.
    """

    def __init__(self, observation_space: gym.Space[Any], action_space: gym.Space[Any], config: Any) -> None:
        self.observation_space = observation_space
        self.action_space = action_space
        self.config = ConfigDict(config) if type(config) is dict else config
        self.framework: Any = self._option("framework")
        self.worker_index = int(self._option("worker_index", 0) or 0)
        self.global_timestep = 0
        self.num_grad_updates = 0
        self.exploration: Exploration | None = None
        self.dist_class: Any = None
        self.model: Any = None
        self.view_requirements: dict[str, ViewRequirement] = {}
        self.init_view_requirements()
        #: Set by the worker where connectors are in use.
        self.agent_connectors: Any = None
        self.action_connectors: Any = None

    def _after_init(self) -> None:
        """Called when construction is over."""

    def _option(self, key: str, default: Any = None) -> Any:
        """A value of the configuration, be it a dict or an AlgorithmConfig."""
        value = self.config.get(key, default)
        return default if value is None else value

    @property
    def observation_space_struct(self) -> Any:
        """The spaces inside of the observation space, as dicts and tuples."""
        return space_struct(getattr(self.observation_space, "original_space", self.observation_space))

    @property
    def action_space_struct(self) -> Any:
        """The spaces inside of the action space, as dicts and tuples."""
        return space_struct(self.action_space)

    # ---- making and saving

    @staticmethod
    def from_checkpoint(checkpoint: Any, policy_ids: Container[str] | None = None) -> Policy | dict[str, Policy]:
        """The policy of a checkpoint, or a dict of those of an algorithm's checkpoint.

        Args:
            checkpoint: A directory (or `aktis.air.Checkpoint`) that a policy or an algorithm wrote.
            policy_ids: Of an algorithm's policies, which to make; all by default.

        Raises:
            ValueError: There is no checkpoint of either kind.
        """
        if isinstance(checkpoint, str) or not hasattr(checkpoint, "as_directory"):
            return _from_directory(str(checkpoint), policy_ids)
        with checkpoint.as_directory() as directory:
            return _from_directory(str(directory), policy_ids)

    @staticmethod
    def from_state(state: dict[str, Any]) -> Policy:
        """A policy as it was when `get_state` was called on it.

        Raises:
            ValueError: The state does not say of which class the policy was.
        """
        serialized = state.get("policy_spec")
        if not serialized:
            raise ValueError("No policy can be made from this state: it has no `policy_spec`.")
        spec = PolicySpec.deserialize(dict(serialized)) if isinstance(serialized, Mapping) else serialized
        policy: Policy = find_class(spec.policy_class)(spec.observation_space, spec.action_space, spec.config)
        policy.set_state(state)
        return policy

    def get_state(self) -> dict[str, Any]:
        """Everything that makes this policy go on where it is: weights, time, connectors, and how to make one like it."""
        spec = PolicySpec(type(self), self.observation_space, self.action_space, self.config)
        return {
            "weights": self.get_weights(),
            "global_timestep": self.global_timestep,
            "num_grad_updates": self.num_grad_updates,
            "policy_spec": spec.serialize(),
            "connector_configs": self._connector_state(),
        }

    def _connector_state(self) -> dict[str, Any]:
        pipelines = {"agent": self.agent_connectors, "action": self.action_connectors}
        return {name: pipeline.to_state() for name, pipeline in pipelines.items() if pipeline is not None}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what `get_state` gave."""
        if state.get("connector_configs"):
            self.restore_connectors(state)
        self.set_weights(state["weights"])
        self.global_timestep = int(state.get("global_timestep", 0))
        self.num_grad_updates = int(state.get("num_grad_updates", 0))

    def restore_connectors(self, state: dict[str, Any]) -> None:
        """Make the connectors that are described in the state of a policy."""
        from aktis.rllib.connectors.util import restore_connectors_for_policy

        configs = state.get("connector_configs", {})
        if "agent" in configs:
            self.agent_connectors = restore_connectors_for_policy(self, configs["agent"])
        if "action" in configs:
            self.action_connectors = restore_connectors_for_policy(self, configs["action"])

    def reset_connectors(self, env_id: str) -> None:
        """Forget what connectors remember of an environment, whose episode has ended."""
        for pipeline in (self.agent_connectors, self.action_connectors):
            if pipeline is not None:
                pipeline.reset(env_id=env_id)

    def get_connector_metrics(self) -> dict[str, Any]:
        """How long each kind of connectors took, in milliseconds."""
        metrics = {}
        for name, pipeline in (
            ("agent_connectors", self.agent_connectors),
            ("action_connectors", self.action_connectors),
        ):
            for timer, value in getattr(pipeline, "timers", {}).items():
                mean = getattr(value, "mean", value)
                metrics[f"{name}_{timer}_ms"] = 1000.0 * mean if isinstance(mean, int | float) else mean
        return metrics

    def export_checkpoint(
        self, export_dir: str, filename_prefix: Any = None, *, policy_state: dict[str, Any] | None = None
    ) -> None:
        """Write a checkpoint that `Policy.from_checkpoint` reads.

        Args:
            export_dir: Where to; made if there is none.
            filename_prefix: Has no meaning any more.
            policy_state: What to write instead of the present state.
        """
        _checkpoint.write_policy(export_dir, policy_state or self.get_state())

    def export_model(self, export_dir: str, onnx: int | None = None) -> None:
        """Write the model in a format of its framework (or ONNX, of this opset).

        Raises:
            NotImplementedError: The policy has no model.
        """
        raise NotImplementedError(f"{type(self).__name__} has no model that can be exported.")

    def import_model_from_h5(self, import_file: str) -> None:
        """Read weights of a Keras model.

        Raises:
            NotImplementedError: The policy has no such model.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot read a Keras model.")

    # ---- acting

    def compute_single_action(
        self,
        obs: Any = None,
        state: list[Any] | None = None,
        *,
        prev_action: Any = None,
        prev_reward: Any = None,
        info: dict[str, Any] | None = None,
        input_dict: SampleBatch | None = None,
        episode: Any = None,
        explore: bool | None = None,
        timestep: int | None = None,
        **kwargs: Any,
    ) -> tuple[Any, list[Any], dict[str, Any]]:
        """The action for one observation; nothing has the axis of the batch.

        Args:
            obs: The (preprocessed) observation.
            state: Of a recurrent policy, its state; the initial one by default.
            prev_action: The action before, where the model looks at it.
            prev_reward: The reward before.
            info: What the environment said beside the observation.
            input_dict: Everything at once, instead of the arguments before.
            episode: The episode that this happens in.
            explore: Whether to explore; by default what the configuration says.
            timestep: The time that exploration goes by; by default the policy's own.
            **kwargs: Handed on.

        Returns:
            The action, the next state (a list of arrays), and what else was computed (such as `action_logp`).
        """
        if input_dict is None:
            if obs is None:
                raise ValueError("compute_single_action() needs `obs` or `input_dict`.")
            given = {"obs": obs, "prev_actions": prev_action, "prev_rewards": prev_reward, "infos": info}
            columns = {key: value for key, value in given.items() if value is not None}
            if not state and self.is_recurrent():
                state = self.get_initial_state()
            columns.update({f"state_in_{i}": s for i, s in enumerate(state or [])})
        else:
            columns = {key: value for key, value in input_dict.items() if key != "seq_lens"}
        batch = SampleBatch({key: _with_batch_axis(key, value) for key, value in columns.items()})
        if any(key.startswith("state_in") for key in columns):
            batch["seq_lens"] = np.ones(1, np.int32)
        episodes = None if episode is None else [episode]
        actions, states, extra = self.compute_actions_from_input_dict(
            batch, explore=explore, timestep=timestep, episodes=episodes, **kwargs
        )
        if isinstance(actions, list):  # of plain actions, as policies without a network like to return them
            action = actions[0]
        else:
            action = tree.map_structure(lambda a: a[0], actions)
        return (
            action,
            self.newest([s[0] for s in states]),
            {key: tree.map_structure(lambda a: a[0], v) for key, v in extra.items()},
        )

    def newest(self, states: list[Any]) -> list[Any]:
        """What is new in states: of an attention network's memory [M, D], the last step [D].

        Who acts step by step appends it: ``memory = np.concatenate([memory, [new]])[1:]``; other states are as they were.
        """
        memories = getattr(getattr(self, "model", None), "num_memories", 0)
        return [state[-1] if i < memories and len(state) else state for i, state in enumerate(states)]

    def compute_actions_from_input_dict(
        self,
        input_dict: SampleBatch | dict[str, Any],
        explore: bool | None = None,
        timestep: int | None = None,
        episodes: list[Any] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, list[Any], dict[str, Any]]:
        """Actions for a batch, of which `view_requirements` says what is in it. See `compute_actions`."""
        states: list[Any] = []
        while f"state_in_{len(states)}" in input_dict:
            states.append(input_dict[f"state_in_{len(states)}"])
        return self.compute_actions(
            input_dict["obs"],
            states,
            prev_action_batch=input_dict.get("prev_actions"),
            prev_reward_batch=input_dict.get("prev_rewards"),
            info_batch=input_dict.get("infos"),
            explore=explore,
            timestep=timestep,
            episodes=episodes,
            **kwargs,
        )

    @abstractmethod
    def compute_actions(
        self,
        obs_batch: Any,
        state_batches: list[Any] | None = None,
        prev_action_batch: Any = None,
        prev_reward_batch: Any = None,
        info_batch: Any = None,
        episodes: list[Any] | None = None,
        explore: bool | None = None,
        timestep: int | None = None,
        **kwargs: Any,
    ) -> tuple[Any, list[Any], dict[str, Any]]:
        """Actions for a batch of observations.

        Args:
            obs_batch: Observations, [B, ...].
            state_batches: States of a recurrent policy, each [B, ...].
            prev_action_batch: The actions before, [B, ...].
            prev_reward_batch: The rewards before, [B].
            info_batch: What the environments said, [B].
            episodes: The episode of each row.
            explore: Whether to explore; by default what the configuration says.
            timestep: The time that exploration goes by; by default the policy's own.
            **kwargs: For whoever derives from this class.

        Returns:
            Actions [B, ...], next states (each [B, ...]), and columns of what else was computed.
        """

    def compute_log_likelihoods(
        self,
        actions: Any,
        obs_batch: Any,
        state_batches: list[Any] | None = None,
        prev_action_batch: Any = None,
        prev_reward_batch: Any = None,
        actions_normalized: bool = True,
    ) -> Any:
        """The logarithm of the probability (density) of each action, [B].

        Args:
            actions: Actions, [B, ...].
            obs_batch: Observations, [B, ...].
            state_batches: States of a recurrent policy.
            prev_action_batch: The actions before.
            prev_reward_batch: The rewards before.
            actions_normalized: Whether actions are as the policy makes them; otherwise they are as the environment gets them.

        Raises:
            NotImplementedError: The policy has no distribution of actions.
        """
        raise NotImplementedError(f"{type(self).__name__} has no distribution of actions.")

    def postprocess_trajectory(
        self,
        sample_batch: SampleBatch,
        other_agent_batches: dict[Any, tuple[str, Policy, SampleBatch]] | None = None,
        episode: Any = None,
    ) -> SampleBatch:
        """Add to a trajectory (or a piece of one) what can be computed only when it is there as a whole, such as advantages.

        Args:
            sample_batch: The steps of one agent, in order of time.
            other_agent_batches: Of the other agents in the same episode: the id of their policy, the policy, and their steps.
            episode: The episode.
        """
        return sample_batch

    # ---- learning

    def loss(self, model: Any, dist_class: Any, train_batch: SampleBatch) -> Any:
        """What is to be made small: a tensor, or one for each optimizer.

        Raises:
            NotImplementedError: The policy does not learn.
        """
        raise NotImplementedError(f"{type(self).__name__} has no loss.")

    def learn_on_batch(self, samples: SampleBatch) -> dict[str, Any]:
        """One update. Returns what is to be told of it, `{"learner_stats": {...}}`."""
        grads, info = self.compute_gradients(samples)
        self.apply_gradients(grads)
        return info

    def learn_on_batch_from_replay_buffer(self, replay_actor: Any, policy_id: str) -> dict[str, Any]:
        """One update with a batch that a replay buffer in another process gives."""
        import aktis

        batch = aktis.get(replay_actor.replay.remote(policy_id=policy_id))
        return {} if batch is None else self.learn_on_batch(batch)

    def load_batch_into_buffer(self, batch: SampleBatch, buffer_index: int = 0) -> int:
        """Move a batch to the device, to learn from parts of it.

        Returns:
            How many rows there are on each device.

        Raises:
            NotImplementedError: The policy does not learn.
        """
        raise NotImplementedError(f"{type(self).__name__} does not learn.")

    def get_num_samples_loaded_into_buffer(self, buffer_index: int = 0) -> int:
        """How many rows a buffer holds.

        Raises:
            NotImplementedError: The policy does not learn.
        """
        raise NotImplementedError(f"{type(self).__name__} does not learn.")

    def learn_on_loaded_batch(self, offset: int = 0, buffer_index: int = 0) -> dict[str, Any]:
        """One update with the rows of a buffer from `offset` on, as many as a minibatch has.

        Raises:
            NotImplementedError: The policy does not learn.
        """
        raise NotImplementedError(f"{type(self).__name__} does not learn.")

    def compute_gradients(self, postprocessed_batch: SampleBatch) -> tuple[Any, dict[str, Any]]:
        """Gradients of the loss (one for each parameter), and what is to be told of it.

        Raises:
            NotImplementedError: The policy does not learn.
        """
        raise NotImplementedError(f"{type(self).__name__} does not learn.")

    def apply_gradients(self, gradients: Any) -> None:
        """One step of the optimizers with these gradients.

        Raises:
            NotImplementedError: The policy does not learn.
        """
        raise NotImplementedError(f"{type(self).__name__} does not learn.")

    # ---- weights, states, time

    def get_weights(self) -> Any:
        """The parameters as a dict of arrays."""
        return {}

    def set_weights(self, weights: Any) -> None:
        """Take over what `get_weights` gave."""

    def is_recurrent(self) -> bool:
        """Whether an action depends on a state that is handed from step to step."""
        return False

    def num_state_tensors(self) -> int:
        """How many arrays the state has."""
        return 0

    def get_initial_state(self) -> list[Any]:
        """The state at the beginning of an episode."""
        return []

    def get_exploration_state(self) -> dict[str, Any]:
        """How far exploration has come."""
        return {} if self.exploration is None else self.exploration.get_state()

    def on_global_var_update(self, global_vars: dict[str, Any]) -> None:
        """Called when the algorithm's counters have changed.

        Args:
            global_vars: `timestep` (steps sampled in all), and perhaps `num_grad_updates`.
        """
        self.global_timestep = int(global_vars["timestep"])
        if global_vars.get("num_grad_updates") is not None:
            self.num_grad_updates = int(global_vars["num_grad_updates"])

    def apply(self, func: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """`func(self, *args, **kwargs)`: runs it where the policy is."""
        return func(self, *args, **kwargs)

    def get_session(self) -> Any:
        """None: there are no sessions."""
        return None

    def get_host(self) -> str:
        """The name of the machine that this policy is on."""
        return platform.node()

    def _create_exploration(self) -> Exploration:
        """The exploration that the configuration asks for (StochasticSampling by default)."""
        from aktis.rllib.utils.exploration.exploration import Exploration
        from aktis.rllib.utils.from_config import from_config

        if self.exploration is not None:
            return self.exploration
        described = self._option("exploration_config") or {"type": "StochasticSampling"}
        _check_exploration(described)
        made: Exploration = from_config(
            Exploration,
            described,
            action_space=self.action_space,
            policy_config=self.config,
            model=self.model,
            num_workers=int(self._option("num_workers", 0) or 0),
            worker_index=self.worker_index,
            framework=self.framework or "torch",
        )
        return made

    # ---- views

    def init_view_requirements(self) -> None:
        """Fill `view_requirements` with what every policy may need; what a class has put there already stays."""
        for key, requirement in self._get_default_view_requirements().items():
            self.view_requirements.setdefault(key, requirement)

    def _get_default_view_requirements(self) -> dict[str, ViewRequirement]:
        def only_training(**kwargs: Any) -> ViewRequirement:
            return ViewRequirement(used_for_compute_actions=False, **kwargs)

        return {
            "obs": ViewRequirement(space=self.observation_space),
            "new_obs": only_training(data_col="obs", shift=1, space=self.observation_space),
            "actions": only_training(space=self.action_space),
            "prev_actions": ViewRequirement(data_col="actions", shift=-1, space=self.action_space),
            "rewards": only_training(),
            "prev_rewards": ViewRequirement(data_col="rewards", shift=-1),
            "terminateds": only_training(),
            "truncateds": only_training(),
            "infos": only_training(),
            "eps_id": only_training(),
            "unroll_id": only_training(),
            "agent_index": only_training(),
            "t": only_training(),
        }

    def _get_dummy_batch_from_view_requirements(self, batch_size: int = 1) -> SampleBatch:
        """A batch of as good as nothing, with every column that the views name."""
        return dummy_batch(self.view_requirements, batch_size)

    def _initialize_loss_from_dummy_batch(
        self, auto_remove_unneeded_view_reqs: bool = True, stats_fn: Any = None
    ) -> None:
        """Find out which columns are needed by acting, post-processing and learning once; without a model: all."""

    def __repr__(self) -> str:
        return type(self).__name__


class ConfigDict(dict[str, Any]):
    """A configuration that is a plain dict, readable as attributes as well, like an AlgorithmConfig."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"The configuration has no {name!r}.") from None


def space_struct(space: Any) -> Any:
    """A space as dicts and tuples of the spaces that it is made of."""
    import gymnasium as gym

    if isinstance(space, gym.spaces.Dict):
        return {key: space_struct(inner) for key, inner in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple):
        return tuple(space_struct(inner) for inner in space.spaces)
    return space


def _with_batch_axis(key: str, value: Any) -> Any:
    if key == "infos":
        wrapped: np.ndarray = np.empty(1, object)
        wrapped[0] = value
        return wrapped
    return tree.map_structure(lambda leaf: np.expand_dims(np.asarray(leaf), 0), value)


def _from_directory(directory: str, policy_ids: Container[str] | None) -> Policy | dict[str, Policy]:
    if _checkpoint.is_policy(directory):
        return Policy.from_state(_checkpoint.read_policy(directory))
    states = _checkpoint.read_policies(directory, policy_ids)
    return {policy_id: Policy.from_state(state) for policy_id, state in states.items()}


def _check_exploration(described: Any) -> None:
    """Raise a ValueError for a type or a setting of an exploration_config that does not exist.

    A class passes what it does not know to its base classes: what none of them knows is a mistake.
    """
    import difflib
    import inspect

    from aktis.rllib.utils import exploration

    kind = described.get("type") if isinstance(described, Mapping) else None
    if isinstance(kind, str) and "." not in kind:
        if kind not in exploration.__all__:
            raise ValueError(
                f"exploration_config has the type {kind!r}, and there is none: it is {', '.join(exploration.__all__)}, "
                "or the dotted path of your own"
            )
        kind = getattr(exploration, kind)
    if not isinstance(kind, type) or not kind.__module__.startswith("aktis."):
        return
    inits = [vars(cls)["__init__"] for cls in kind.__mro__ if "__init__" in vars(cls)]
    known = {name for init in inits for name in inspect.signature(init).parameters}
    for key in described:
        if key != "type" and key not in known - {"self", "args", "kwargs"}:
            nearest = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
            hint = f": did you mean {nearest[0]!r}?" if nearest else ""
            raise ValueError(f"exploration_config of {kind.__name__} has no setting {key!r}{hint}")

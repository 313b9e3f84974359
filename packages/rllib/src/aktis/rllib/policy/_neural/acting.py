"""How a policy with a model acts."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import tree

from aktis.rllib.policy.policy import Policy
from aktis.rllib.policy.sample_batch import SampleBatch


def values_as_extra(policy: Any, input_dict: Any, state_batches: Any, model: Any, action_dist: Any) -> dict[str, Any]:
    """An `extra_action_out` for policies with a critic: the value of each observation that an action is computed for."""
    return {SampleBatch.VF_PREDS: model.value_function()}


class Acting(Policy):
    """The half of NeuralPolicy that chooses actions."""

    ops: Any
    device: Any
    dist_class: Any
    _fast: Any
    _sampler: Callable[..., Any] | None
    _distribution: Callable[..., Any] | None
    _explore_default: bool | None = None

    # ---- what a class derived from this may define

    def action_sampler_fn(self, model: Any, *, obs_batch: Any, state_batches: Any, **kwargs: Any) -> Any:
        """Sample actions in one's own way, if overridden. Gets `explore` and `timestep` too.

        Returns:
            Actions, the logarithm of their probabilities, inputs of the distribution (or None), and the next state.
        """
        return None, None, None, None

    def action_distribution_fn(self, model: Any, *, obs_batch: Any, state_batches: Any, **kwargs: Any) -> Any:
        """Make the distribution of actions in one's own way, if overridden. Gets `seq_lens`, `explore`, `timestep`
        and `is_training` too.

        Returns:
            Inputs of the distribution, its class, and the next state.
        """
        return None, None, None

    def extra_action_out(
        self, input_dict: SampleBatch, state_batches: list[Any], model: Any, action_dist: Any
    ) -> dict[str, Any]:
        """More columns of the batch, such as `vf_preds`: computed for each action."""
        return {}

    # ---- actions

    def compute_actions_from_input_dict(
        self,
        input_dict: SampleBatch | dict[str, Any],
        explore: bool | None = None,
        timestep: int | None = None,
        episodes: list[Any] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, list[Any], dict[str, Any]]:
        """See Policy."""
        explore = self._explores() if explore is None else explore
        timestep = self.global_timestep if timestep is None else timestep
        fast = self._fast
        if fast is not None and fast.takes(input_dict):
            actions, extra = fast.act(input_dict["obs"], explore)
            self.global_timestep += len(extra["action_logp"])
            return actions, [], extra
        batch = self._to_tensors(input_dict, training=False)
        rows = _rows(batch["obs"])
        states: list[Any] = []
        while f"state_in_{len(states)}" in batch:
            states.append(batch[f"state_in_{len(states)}"])
        seq_lens = self.ops.ones((rows,), dtype="int32", device=self.device) if states else None
        if seq_lens is not None and "seq_lens" not in batch:
            batch["seq_lens"] = seq_lens
        result = self._act(batch, states, seq_lens, explore, timestep)
        self.global_timestep += rows
        actions, state_out, extra = result
        as_numpy = self.ops.as_numpy
        return as_numpy(actions), [as_numpy(s) for s in state_out], {k: as_numpy(v) for k, v in extra.items()}

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
        """See Policy."""
        columns: dict[str, Any] = {"obs": _stacked(obs_batch)}
        if prev_action_batch is not None:
            columns["prev_actions"] = _stacked(prev_action_batch)
        if prev_reward_batch is not None:
            columns["prev_rewards"] = _stacked(prev_reward_batch)
        columns.update({f"state_in_{i}": state for i, state in enumerate(state_batches or [])})
        return self.compute_actions_from_input_dict(
            SampleBatch(columns), explore=explore, timestep=timestep, episodes=episodes, **kwargs
        )

    def _act(
        self, batch: SampleBatch, states: list[Any], seq_lens: Any, explore: bool, timestep: int
    ) -> tuple[Any, list[Any], dict[str, Any]]:
        """Actions, next states and other columns, all as tensors."""
        with self._inference():
            if self.exploration is not None:
                self.exploration.before_compute_actions(explore=explore, timestep=timestep)
            if self._sampler is not None:
                actions, logp, dist_inputs, state_out = self._sampler(
                    self.model, batch, states, seq_lens, explore, timestep, False
                )
                action_dist = None
            else:
                dist_inputs, dist_class, state_out = self._dist_inputs(batch, states, seq_lens, explore, timestep)
                action_dist = self._make_dist(dist_class, dist_inputs)
                actions, logp = self.exploration.get_exploration_action(  # type: ignore[union-attr]
                    action_distribution=action_dist, timestep=timestep, explore=explore
                )
            extra = dict(self.extra_action_out(batch, states, self.model, action_dist))
            if dist_inputs is not None:
                extra["action_dist_inputs"] = dist_inputs
            if logp is not None:
                extra["action_prob"] = self.ops.exp(self.ops.cast(logp, "float32"))
                extra["action_logp"] = logp
        return actions, list(state_out or []), extra

    def _dist_inputs(
        self,
        batch: SampleBatch,
        states: list[Any],
        seq_lens: Any,
        explore: bool,
        timestep: int,
        is_training: bool = False,
    ) -> tuple[Any, Any, list[Any]]:
        if self._distribution is not None:
            inputs, dist_class, state_out = self._distribution(
                self.model, batch, states, seq_lens, explore, timestep, is_training
            )
            return inputs, dist_class, state_out
        inputs, state_out = self.model(batch, states, seq_lens)
        return inputs, self.dist_class, state_out

    def _make_dist(self, dist_class: Any, dist_inputs: Any) -> Any:
        return dist_class(dist_inputs, self.model)

    def compute_log_likelihoods(
        self,
        actions: Any,
        obs_batch: Any,
        state_batches: list[Any] | None = None,
        prev_action_batch: Any = None,
        prev_reward_batch: Any = None,
        actions_normalized: bool = True,
        in_training: bool = True,
    ) -> Any:
        """See Policy."""
        if self._sampler is not None and self._distribution is None:
            raise ValueError(
                "The probability of an action is not known where `action_sampler_fn` samples: "
                "define `action_distribution_fn` instead."
            )
        actions = _stacked(actions)
        if not actions_normalized and self._option("normalize_actions", False):
            from aktis.rllib.utils.spaces.space_utils import normalize_action

            actions = normalize_action(actions, self.action_space_struct)
        columns = {"obs": _stacked(obs_batch), "actions": actions}
        if prev_action_batch is not None:
            columns["prev_actions"] = _stacked(prev_action_batch)
        if prev_reward_batch is not None:
            columns["prev_rewards"] = _stacked(prev_reward_batch)
        columns.update({f"state_in_{i}": state for i, state in enumerate(state_batches or [])})
        batch = self._to_tensors(SampleBatch(columns), training=False)
        states = [batch[f"state_in_{i}"] for i in range(len(state_batches or []))]
        rows = _rows(batch["obs"])
        seq_lens = self.ops.ones((rows,), dtype="int32", device=self.device) if states else None
        with self._inference():
            inputs, dist_class, _ = self._dist_inputs(batch, states, seq_lens, False, self.global_timestep, in_training)
            logp = self._make_dist(dist_class, inputs).logp(batch["actions"])
        return self.ops.as_numpy(logp)

    def _explores(self) -> bool:
        """Whether to explore if nobody says."""
        if isinstance(self.config, dict):
            return bool(self.config.get("explore", True))
        if self._explore_default is None:  # looking it up in a configuration takes as long as a small network
            self._explore_default = bool(self._option("explore", True))
        return self._explore_default

    # ---- values

    def compute_values(self, input_dict: SampleBatch | dict[str, Any]) -> Any:
        """The values of observations, [B] in NumPy.

        Args:
            input_dict: What actions would be computed from: `obs` [B, ...], `state_in_0`, ... as arrays.
        """
        fast = self._fast
        if fast is not None and fast.takes(input_dict):
            return fast.values_of(input_dict["obs"])
        batch = self._to_tensors(input_dict, training=False)
        states: list[Any] = []
        while f"state_in_{len(states)}" in batch:
            states.append(batch[f"state_in_{len(states)}"])
        seq_lens = self.ops.ones((_rows(batch["obs"]),), dtype="int32", device=self.device) if states else None
        with self._inference():
            self.model(batch, states, seq_lens)
            found = self.ops.as_numpy(self.model.value_function())
        return np.asarray(found, np.float32)

    # ---- of the framework

    def _to_tensors(self, batch: Any, training: bool) -> SampleBatch:
        raise NotImplementedError(f"{type(self).__name__} must define _to_tensors()")

    def _inference(self) -> Any:
        """What a model is evaluated in where nothing is learned."""
        raise NotImplementedError(f"{type(self).__name__} must define _inference()")


def overridden(obj: Any, name: str, *bases: type) -> bool:
    """Whether a method is not that of one of these classes."""
    method = getattr(type(obj), name, None)
    return method is not None and all(method is not getattr(base, name, None) for base in bases)


def adapted(method: Callable[..., Any]) -> Callable[..., Any]:
    """An `action_sampler_fn` or `action_distribution_fn`, called with all that it may want, as it names it.

    The result takes (model, input_dict, state_batches, seq_lens, explore, timestep, is_training).
    """
    parameters = inspect.signature(method).parameters
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    old = "obs_batch" in parameters or "input_dict" not in parameters
    names = ("seq_lens", "explore", "timestep", "is_training")
    wanted = [name for name in names if anything or name in parameters]

    def call(model: Any, batch: SampleBatch, states: list[Any], *rest: Any) -> Any:
        given = dict(zip(names, rest, strict=True))
        observed = {"obs_batch" if old else "input_dict": batch}
        return method(model, **observed, state_batches=states, **{name: given[name] for name in wanted})

    return call


def _stacked(values: Any) -> Any:
    """A list of observations (or actions) as one batch."""
    if isinstance(values, list) and values and not np.isscalar(values[0]):
        return tree.map_structure(lambda *leaves: np.stack([_array(leaf) for leaf in leaves]), *values)
    return np.asarray(values) if isinstance(values, list) else values


def _array(leaf: Any) -> Any:
    return leaf.detach().cpu().numpy() if hasattr(leaf, "detach") else np.asarray(leaf)


def _rows(obs: Any) -> int:
    return int(tree.flatten(obs)[0].shape[0])

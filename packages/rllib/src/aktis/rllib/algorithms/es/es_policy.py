"""ES's policy: a network of the catalog whose weights are one vector. It acts without chance, and does not learn by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import tree
from numpy.typing import NDArray

from aktis.rllib._backend import ops_for
from aktis.rllib.algorithms._fast_acting import Stack, dense
from aktis.rllib.policy.policy import Policy
from aktis.rllib.policy.sample_batch import SampleBatch

__all__ = ["ESPolicy", "ESTF2Policy", "ESTorchPolicy"]

# Columns that the sampler makes only for those who learn from them.
_NEEDED = ("obs", "actions", "rewards", "terminateds", "truncateds", "eps_id", "unroll_id", "agent_index", "t")


class ESPolicy(Policy):
    """A deterministic policy.

    Args:
        observation_space: What it observes, after preprocessing.
        action_space: What it does.
        config: An AlgorithmConfig or a dict.
    """

    framework_name = "torch"
    #: Whether actions get noise where a call does not say so itself.
    adds_noise = False

    def __init__(self, observation_space: Any, action_space: Any, config: Any) -> None:
        super().__init__(observation_space, action_space, config)
        from aktis.rllib.models.catalog import ModelCatalog

        self.framework = self.framework_name
        self.ops = ops_for(self.framework)
        seed = config.get("seed")
        self.rng = np.random.default_rng(None if seed is None else [int(seed), self.worker_index, 0xE5])
        model_config = config["model"]
        self.dist_class, outputs = ModelCatalog.get_action_dist(
            action_space, model_config, dist_type="deterministic", framework=self.framework
        )
        with self.ops.seeded(seed):
            self.model = ModelCatalog.get_model_v2(
                observation_space, action_space, outputs, model_config, self.framework, "es_model"
            )
        self._state_size = len(self.model.get_initial_state())
        if self._state_size:
            raise ValueError("ES has no recurrent policies: set use_lstm and use_attention to False.")
        weights = self.ops.named_arrays(self.model)
        self._shapes = {name: array.shape for name, array in weights.items()}
        self._dtypes = {name: array.dtype for name, array in weights.items()}
        self.num_params = int(sum(np.prod(shape, dtype=np.int64) for shape in self._shapes.values()))
        for key in [key for key in self.view_requirements if key not in _NEEDED]:
            del self.view_requirements[key]
        self._net = self._numpy_net()
        self.exploration = None

    def _numpy_net(self) -> Stack | None:
        """The layers of a dense network before one discrete choice or a vector of numbers."""
        name = getattr(getattr(self.dist_class, "func", self.dist_class), "__name__", "")
        layers = dense(self.model.layers())
        if layers is None or not name.endswith(("Categorical", "Deterministic")) or name.endswith("MultiCategorical"):
            return None
        try:
            net = Stack(layers)
        except ValueError:
            return None
        net.refresh(self.ops.as_numpy)
        return net

    # -- weights

    def get_weights(self) -> dict[str, Any]:
        """The parameters as a dict of arrays."""
        arrays: dict[str, Any] = self.ops.named_arrays(self.model)
        return arrays

    def set_weights(self, weights: Any) -> None:
        """Take over what `get_weights` gave."""
        self.ops.load_arrays(self.model, weights)
        if self._net is not None:
            self._net.refresh(self.ops.as_numpy)

    def get_flat_weights(self) -> NDArray[np.float32]:
        """The parameters as one vector, by name. [num_params]"""
        return np.concatenate([np.ravel(array) for array in self.get_weights().values()]).astype(np.float32)

    def set_flat_weights(self, theta: NDArray[np.float32]) -> None:
        """Take over what `get_flat_weights` gave."""
        if len(theta) != self.num_params:
            raise ValueError(f"{len(theta)} weights for a policy with {self.num_params}.")
        arrays, start = {}, 0
        for name, shape in self._shapes.items():
            size = int(np.prod(shape, dtype=np.int64))
            arrays[name] = theta[start : start + size].reshape(shape).astype(self._dtypes[name])
            start += size
        self.set_weights(arrays)

    # -- acting

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
        """See Policy. With `explore`, numbers get noise of `action_noise_std`."""
        if isinstance(obs_batch, list):
            obs_batch = np.stack(obs_batch)
        actions = self._best(obs_batch)
        explore = self.adds_noise if explore is None else explore
        std = float(self.config.get("action_noise_std", 0.0) or 0.0)
        if explore and std > 0.0:
            actions = tree.map_structure(lambda leaf: self._noisy(leaf, std), actions)
        self.global_timestep += len(tree.flatten(obs_batch)[0])
        return actions, [], {}

    def _best(self, obs: Any) -> Any:
        if self._net is None:
            batch = SampleBatch({"obs": tree.map_structure(lambda leaf: self.ops.from_numpy(leaf), obs)})
            with self.ops.no_grad():
                inputs, _ = self.model(batch)
                return tree.map_structure(self.ops.as_numpy, self.dist_class(inputs, self.model).deterministic_sample())
        rows = np.asarray(obs, np.float32).reshape(len(obs), -1)
        outputs = self._net(rows[0])[None] if len(rows) == 1 else self._net(rows)
        if hasattr(self.action_space, "n"):
            return outputs.argmax(axis=1)
        return outputs.reshape(len(rows), *self.action_space.shape)

    def _noisy(self, leaf: Any, std: float) -> Any:
        leaf = np.asarray(leaf)
        if not np.issubdtype(leaf.dtype, np.floating):
            return leaf
        return leaf + (std * self.rng.standard_normal(leaf.shape)).astype(leaf.dtype)


class ESTorchPolicy(ESPolicy):
    """ES's policy with a network in PyTorch."""

    framework_name = "torch"


class ESTF2Policy(ESPolicy):
    """ES's policy with a network in TensorFlow."""

    framework_name = "tf2"

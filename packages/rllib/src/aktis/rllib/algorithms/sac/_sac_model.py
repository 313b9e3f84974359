"""SAC's networks, composed of models of the catalog: the part that is the same in every framework.

Shapes: B rows, D dimensions of the action, A discrete actions.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gymnasium import spaces

Tensor = Any


def default_target_entropy(action_space: spaces.Space[Any]) -> float:
    """-dim(A) (Haarnoja et al. 2018, appendix D); for discrete actions 0.98 log |A| (Christodoulou 2019, appendix)."""
    if isinstance(action_space, spaces.Discrete):
        return 0.98 * math.log(int(action_space.n))
    return -float(np.prod(action_space.shape, dtype=np.int64))


class SACNetworks:
    """Mixin of a model: a policy, one or two Q-functions, and the logarithm of the temperature.

    The model sets `ops`, `framework` and `log_alpha`.
    """

    ops: Any
    framework: str
    obs_space: Any
    action_space: Any
    action_model: Any
    q_net: Any
    twin_q_net: Any
    log_alpha: Tensor

    def _build(
        self, num_outputs: int, policy_model_config: Any, q_model_config: Any, twin_q: bool, target_entropy: Any
    ) -> None:
        self.discrete = isinstance(self.action_space, spaces.Discrete)
        self.action_model = self.build_policy_model(self.obs_space, num_outputs, policy_model_config, "policy_model")
        q_outputs = int(self.action_space.n) if self.discrete else 1
        self.q_net = self.build_q_model(self.obs_space, self.action_space, q_outputs, q_model_config, "q")
        self.twin_q_net = (
            self.build_q_model(self.obs_space, self.action_space, q_outputs, q_model_config, "twin_q")
            if twin_q
            else None
        )
        automatic = target_entropy is None or target_entropy == "auto"
        self.target_entropy = default_target_entropy(self.action_space) if automatic else float(target_entropy)

    def build_policy_model(
        self, obs_space: Any, num_outputs: int, policy_model_config: dict[str, Any], name: str
    ) -> Any:
        """The network that makes inputs of the action distribution. Override it for one of your own.

        Arguments:
            obs_space: the observation space, after the preprocessor.
            num_outputs: inputs of the distribution.
            policy_model_config: model configuration.
            name: of the model.
        """
        from aktis.rllib.models.catalog import ModelCatalog

        return ModelCatalog.get_model_v2(
            obs_space, self.action_space, num_outputs, _filled(policy_model_config), self.framework, name
        )

    def build_q_model(
        self, obs_space: Any, action_space: Any, num_outputs: int, q_model_config: dict[str, Any], name: str
    ) -> Any:
        """A Q-function: of observations with discrete actions, else of observations and actions. Override it for one of your own.

        Arguments:
            obs_space: the observation space, after the preprocessor.
            action_space: the action space.
            num_outputs: 1, or the number of discrete actions.
            q_model_config: model configuration.
            name: of the model.
        """
        from aktis.rllib.models.catalog import ModelCatalog

        config = _filled(q_model_config)
        if self.discrete:
            return ModelCatalog.get_model_v2(obs_space, action_space, num_outputs, config, self.framework, name)
        original = getattr(obs_space, "original_space", obs_space)
        width = int(np.prod(action_space.shape, dtype=np.int64))
        flat = spaces.Box(-1.0, 1.0, (width,), np.float32)
        if len(obs_space.shape or ()) == 1 and not _has_image(original):
            self._q_concat = True
            joint: Any = spaces.Box(-np.inf, np.inf, (int(obs_space.shape[0]) + width,), np.float32)
        else:
            self._q_concat = False
            joint = spaces.Tuple((original, flat))
            config["_disable_preprocessor_api"] = True
        return ModelCatalog.get_model_v2(joint, action_space, num_outputs, config, self.framework, name)

    # -- what policies use

    def get_action_model_outputs(
        self, model_out: Tensor, state_in: Any = None, seq_lens: Any = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Inputs of the action distribution for observations (as they come, or as `forward` returned them)."""
        out, state = self.action_model({"obs": model_out}, state_in or [], seq_lens)
        return out, state

    def get_q_values(self, model_out: Tensor, actions: Tensor | None = None) -> Tensor:
        """Q(s, a) [B]; with discrete actions Q(s, .) [B, A]."""
        return self._q(self.q_net, model_out, actions)

    def get_twin_q_values(self, model_out: Tensor, actions: Tensor | None = None) -> Tensor:
        """The other Q-function, as `get_q_values`."""
        return self._q(self.twin_q_net, model_out, actions)

    def _q(self, net: Any, obs: Any, actions: Tensor | None) -> Tensor:
        ops = self.ops
        if self.discrete:
            return net({"obs": obs})[0]
        flat = ops.cast(actions, "float32")
        if len(flat.shape) != 2:
            flat = ops.reshape(flat, (-1, int(np.prod(self.action_space.shape, dtype=np.int64))))
        if self._q_concat:
            out, _ = net({"obs": ops.concat([ops.cast(obs, "float32"), flat], axis=-1)})
        else:
            out, _ = net({"obs": (self._restored(obs), flat)})
        return ops.squeeze(out, -1)

    def _restored(self, obs: Any) -> Any:
        """A flattened observation in the structure of the environment's space."""
        from aktis.rllib.models.modelv2 import restore_original_dimensions

        if not hasattr(self.obs_space, "original_space") or isinstance(obs, (dict, tuple)):
            return obs
        return restore_original_dimensions(obs, self.obs_space, self.framework)

    def q_nets(self) -> list[Any]:
        """The Q-functions."""
        return [net for net in (self.q_net, self.twin_q_net) if net is not None]

    def policy_variables(self) -> list[Tensor]:
        """Parameters of the policy."""
        return self.ops.parameters(self.action_model)  # type: ignore[no-any-return]

    def q_variables(self) -> list[Tensor]:
        """Parameters of the Q-functions."""
        return [parameter for net in self.q_nets() for parameter in self.ops.parameters(net)]


def _filled(config: dict[str, Any] | None) -> dict[str, Any]:
    return {
        key: value for key, value in (config or {}).items() if not (key == "post_fcnet_activation" and value is None)
    }


def _has_image(space: Any) -> bool:
    if isinstance(space, spaces.Dict):
        return any(_has_image(inner) for inner in space.spaces.values())
    if isinstance(space, spaces.Tuple):
        return any(_has_image(inner) for inner in space.spaces)
    return isinstance(space, spaces.Box) and len(space.shape) == 3

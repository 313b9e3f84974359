"""Deep Q-networks with their improvements (Rainbow, Hessel et al. 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.rllib.algorithms._earlier import default_config
from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.rllib.algorithms.dqn.dqn import DQN, DQNConfig
    from aktis.rllib.algorithms.dqn.dqn_tf_policy import DQNTF2Policy
    from aktis.rllib.algorithms.dqn.dqn_torch_policy import DQNTorchPolicy

_NAMES = {
    "DQN": "aktis.rllib.algorithms.dqn.dqn",
    "DQNConfig": "aktis.rllib.algorithms.dqn.dqn",
    "DQNTF2Policy": "aktis.rllib.algorithms.dqn.dqn_tf_policy",
    "DQNTorchPolicy": "aktis.rllib.algorithms.dqn.dqn_torch_policy",
}

__all__ = ["DQN", "DQNConfig", "DQNTF2Policy", "DQNTorchPolicy"]

__getattr__, __dir__ = lazy_names(
    __name__, _NAMES, made={"DEFAULT_CONFIG": default_config(_NAMES["DQNConfig"], "DQNConfig")}
)

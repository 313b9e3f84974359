"""Algorithms, each in a folder of its own, and what they have in common."""

from __future__ import annotations

from aktis.util.lazy import lazy_names

# Where each name is defined: imported when it is first used.
_NAMES = {
    "A2CConfig": "aktis.rllib.algorithms.a2c.a2c",
    "A3CConfig": "aktis.rllib.algorithms.a3c.a3c",
    "APPOConfig": "aktis.rllib.algorithms.appo.appo",
    "Algorithm": "aktis.rllib.algorithms.algorithm",
    "AlgorithmConfig": "aktis.rllib.algorithms.algorithm_config",
    "BCConfig": "aktis.rllib.algorithms.bc.bc",
    "DQNConfig": "aktis.rllib.algorithms.dqn.dqn",
    "ESConfig": "aktis.rllib.algorithms.es.es",
    "ImpalaConfig": "aktis.rllib.algorithms.impala.impala",
    "MARWILConfig": "aktis.rllib.algorithms.marwil.marwil",
    "PGConfig": "aktis.rllib.algorithms.pg.pg",
    "PPOConfig": "aktis.rllib.algorithms.ppo.ppo",
    "SACConfig": "aktis.rllib.algorithms.sac.sac",
    "SimpleQConfig": "aktis.rllib.algorithms.simple_q.simple_q",
}

__all__ = [
    "A2CConfig",
    "A3CConfig",
    "APPOConfig",
    "Algorithm",
    "AlgorithmConfig",
    "BCConfig",
    "DQNConfig",
    "ESConfig",
    "ImpalaConfig",
    "MARWILConfig",
    "PGConfig",
    "PPOConfig",
    "SACConfig",
    "SimpleQConfig",
]

__getattr__, __dir__ = lazy_names(__name__, _NAMES)

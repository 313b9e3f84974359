"""BC and MARWIL do what every algorithm does (here from their own environment, which ``input_="sampler"`` allows)."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from tests.rllib.algorithms.conformance import AlgorithmConformance  # noqa: E402

from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig  # noqa: E402
from aktis.rllib.algorithms.bc import BCConfig  # noqa: E402
from aktis.rllib.algorithms.marwil import MARWILConfig  # noqa: E402


class TestBC(AlgorithmConformance):
    observation_spaces = ("box", "discrete")
    action_spaces = ("discrete", "box")
    recurrent = False  # as MARWIL, whose policy it is
    learner_keys = ("policy_loss", "total_loss", "entropy", "cur_lr")

    def config(self) -> AlgorithmConfig:
        return BCConfig().training(train_batch_size=64, lr=0.01).rollouts(rollout_fragment_length=32)


class TestMARWIL(AlgorithmConformance):
    observation_spaces = ("box", "tuple")
    learner_keys = ("policy_loss", "vf_loss", "moving_average_sqd_adv_norm", "vf_explained_var")

    def config(self) -> AlgorithmConfig:
        config = MARWILConfig().training(train_batch_size=64, lr=0.01, moving_average_sqd_adv_norm_update_rate=0.1)
        return config.rollouts(rollout_fragment_length=32)

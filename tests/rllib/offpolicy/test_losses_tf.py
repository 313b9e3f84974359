"""DQN and SAC in TensorFlow compute what they compute in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

pytest.importorskip("tensorflow")
pytest.importorskip("torch")
pytestmark = pytest.mark.tensorflow

from aktis.rllib.algorithms.dqn import DQNConfig  # noqa: E402
from aktis.rllib.algorithms.dqn.dqn_tf_policy import DQNTF2Policy  # noqa: E402
from aktis.rllib.algorithms.dqn.dqn_torch_policy import DQNTorchPolicy  # noqa: E402
from aktis.rllib.algorithms.sac import SACConfig  # noqa: E402
from aktis.rllib.algorithms.sac.sac_tf_policy import SACTF2Policy  # noqa: E402
from aktis.rllib.algorithms.sac.sac_torch_policy import SACTorchPolicy  # noqa: E402
from aktis.rllib.policy.sample_batch import SampleBatch  # noqa: E402

OBS = spaces.Box(-5.0, 5.0, (3,), np.float32)


def batch(space: Any) -> SampleBatch:
    rng = np.random.default_rng(0)
    discrete = isinstance(space, spaces.Discrete)
    return SampleBatch(
        obs=rng.normal(size=(8, 3)).astype(np.float32),
        new_obs=rng.normal(size=(8, 3)).astype(np.float32),
        actions=rng.integers(space.n, size=8) if discrete else rng.uniform(-0.9, 0.9, (8, 2)).astype(np.float32),
        rewards=rng.normal(size=8).astype(np.float32),
        terminateds=rng.random(8) < 0.4,
        truncateds=np.zeros(8, bool),
    )


@pytest.mark.parametrize("case", ["dqn", "c51", "sac", "discrete sac"])
def test_both_frameworks_learn_the_same(case: str) -> None:
    net = {"fcnet_hiddens": [8]}
    space: Any = spaces.Box(-1.0, 1.0, (2,), np.float32) if case == "sac" else spaces.Discrete(3)
    if "sac" in case:
        config: Any = SACConfig().training(
            policy_model_config=net, q_model_config=net, _deterministic_loss=True, target_network_update_freq=0
        )
        classes: Any = (SACTorchPolicy, SACTF2Policy)
    else:
        atoms = 5 if case == "c51" else 1
        config = DQNConfig().training(hiddens=[8], model=net, num_atoms=atoms, v_min=-2.0, v_max=2.0)
        classes = (DQNTorchPolicy, DQNTF2Policy)
    policies = []
    for cls, framework in zip(classes, ("torch", "tf2"), strict=True):
        made = config.copy().framework(framework, eager_tracing=False).debugging(seed=0)
        policies.append(cls(OBS, space, made))
    ours, theirs = policies
    theirs.set_weights(ours.get_weights())
    theirs.update_target(tau=1.0)
    ours.update_target(tau=1.0)
    for _ in range(3):
        one, other = ours.learn_on_batch(batch(space)), theirs.learn_on_batch(batch(space))
        np.testing.assert_allclose(one["td_error"], other["td_error"], rtol=1e-3, atol=1e-4)
        for policy in policies:
            policy.update_target(tau=0.1)
    a, b = ours.get_weights(), theirs.get_weights()
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-3, atol=2e-4, err_msg=name)

"""Fitted Q evaluation on the process of two steps whose values are known."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from tests.rllib.offline.test_estimators import GAMMA, V_TARGET, Prefers, every_episode  # noqa: E402

from aktis.rllib.offline import OfflineDataError  # noqa: E402
from aktis.rllib.offline.estimators import DirectMethod, DoublyRobust, FQETorchModel  # noqa: E402


def test_it_finds_the_q_function() -> None:
    batch = every_episode()
    model = FQETorchModel(Prefers(), GAMMA, n_iters=250, lr=0.02)
    losses = model.train(batch)
    assert losses[-1] < 1e-3 < losses[0]
    expected = np.where(batch["terminateds"], 2.0 * batch["actions"], batch["actions"] + GAMMA * 1.6)
    assert model.estimate_q(batch) == pytest.approx(expected, abs=0.05)
    assert model.estimate_v(batch)[:2] == pytest.approx([V_TARGET, 1.6], abs=0.05)


@pytest.mark.parametrize("kind", [DirectMethod, DoublyRobust])
def test_estimators_train_it(kind: type) -> None:
    settings = {"type": FQETorchModel, "n_iters": 250, "lr": 0.02, "minibatch_size": 4}
    estimator = kind(policy=Prefers(), gamma=GAMMA, q_model_config=settings)
    assert estimator.train(every_episode())["loss"] > 0
    assert estimator.estimate(every_episode())["v_target"] == pytest.approx(V_TARGET, abs=0.05)


def test_iterations_end_early_and_the_target_follows() -> None:
    model = FQETorchModel(Prefers(), GAMMA, n_iters=50, min_loss_threshold=1e9, polyak_coef=0.0)
    before = {name: value.clone() for name, value in model.target_q_model.state_dict().items()}
    assert len(model.train(every_episode())) == 1
    assert all((before[name] == value).all() for name, value in model.target_q_model.state_dict().items())
    model.update_target(1.0)
    ours, theirs = model.q_model.state_dict(), model.target_q_model.state_dict()
    assert all((ours[name] == theirs[name]).all() for name in ours)


def test_its_state_is_all_there_is() -> None:
    model, other = FQETorchModel(Prefers(), GAMMA), FQETorchModel(Prefers(0.3, seed=5), GAMMA)
    model.train(every_episode())
    other.set_state(model.get_state())
    assert np.array_equal(model.estimate_v(every_episode()), other.estimate_v(every_episode()))
    assert model.train(every_episode()) == pytest.approx(other.train(every_episode()))


def test_what_it_needs() -> None:
    batch = every_episode()
    del batch["new_obs"]
    with pytest.raises(OfflineDataError, match=r"\['new_obs'\]"):
        FQETorchModel(Prefers(), GAMMA).train(batch)
    continuous = Prefers()
    continuous.action_space = gym.spaces.Box(-1, 1, (1,))
    with pytest.raises(ValueError, match="discrete"):
        FQETorchModel(continuous, GAMMA)

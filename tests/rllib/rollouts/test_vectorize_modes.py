"""Gymnasium's vectorised environments give the same batches as our own loop."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from tests.helpers.rollouts import Counter, LeanPolicy, RandomPolicy, config_of, worker_of

from aktis.rllib.evaluation._observations import Reader
from aktis.rllib.evaluation._vector_stepper import GymVectorStepper, make_vector_env


def batches(
    mode: str, env: Any = "CartPole-v1", count: int = 2, policy: Any = RandomPolicy, **rollouts: Any
) -> list[Any]:
    config = config_of(env, rollout_fragment_length=40, num_envs_per_worker=3, gym_env_vectorize_mode=mode, **rollouts)
    config.debugging(seed=1)
    worker = worker_of(config, policy)
    found = [worker.sample() for _ in range(count)]
    worker.stop()
    return found


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_the_same_as_our_own_loop(mode: str) -> None:
    for own, theirs in zip(batches("sub_envs"), batches(mode), strict=True):
        for name in set(own) - {"infos"}:
            np.testing.assert_array_equal(own[name], theirs[name], err_msg=name)


def test_environments_that_come_vectorised_give_whole_trajectories() -> None:
    for batch in batches("vector_entry_point"):
        assert batch.count >= 120 and batch.count < 123
        same = batch["unroll_id"][1:] == batch["unroll_id"][:-1]
        np.testing.assert_array_equal(batch["obs"][1:][same], batch["new_obs"][:-1][same])
        np.testing.assert_array_equal(batch["t"][1:][same], batch["t"][:-1][same] + 1)
        ends = batch["terminateds"] | batch["truncateds"]
        assert ends.any() and (batch["rewards"] == 1).all()  # no step of a reset is among them
        assert not same[ends[:-1]].any()


def test_an_environment_that_does_not_come_vectorised_says_so() -> None:
    with pytest.raises(ValueError, match=r"'Pendulum-v1' does not: use 'sub_envs', 'sync' or 'async'"):
        batches("vector_entry_point", "Pendulum-v1")


def test_an_unknown_mode_says_which_there_are() -> None:
    with pytest.raises(ValueError, match=r"no gym_env_vectorize_mode 'parallel': there are 'sub_envs', 'sync'"):
        batches("parallel")


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_each_way_of_beginning_episodes_anew_gives_the_same_trajectories(mode: str) -> None:
    modes = getattr(gymnasium.vector, "AutoresetMode", None)
    if modes is None:
        pytest.skip("this Gymnasium has one way only")
    env = gymnasium.vector.SyncVectorEnv([lambda: Counter({"length": 3})] * 2, autoreset_mode=modes(mode))
    stepper = GymVectorStepper(env, Reader(env.single_observation_space))
    stepper.reset([1, 2])
    seen: list[Any] = []
    for _ in range(9):
        before = stepper.obs[0].tolist()
        stepper.step(np.zeros(2, np.int64))
        if stepper.skipped is None or not stepper.skipped[0]:
            after = stepper.final_obs.get(0, stepper.obs[0]).tolist()
            seen.append((before, float(stepper.rewards[0]), bool(stepper.terminateds[0]), after))
    stepper.close()
    expected = [([e, s], s + 1.0, s == 2, [e, s + 1]) for e in range(3) for s in range(3)]
    assert seen == expected[: len(seen)] and len(seen) >= 7


def test_infos_of_vectorised_environments_are_told_apart() -> None:
    config = config_of(Counter, {"length": 3}, rollout_fragment_length=4, gym_env_vectorize_mode="sync")
    worker = worker_of(config)
    batch = worker.sample()
    worker.stop()
    assert [info["life"] for info in batch["infos"][4:]] == [1, 2, 3, 4]


@pytest.mark.torch
def test_configurations_with_an_unknown_mode_are_refused() -> None:
    pytest.importorskip("torch")
    with pytest.raises(ValueError, match=r"gym_env_vectorize_mode must be one of 'sub_envs', 'sync'.*not 'parallel'"):
        config_of(gym_env_vectorize_mode="parallel").validate()


def test_vector_environments_by_hand() -> None:
    env = make_vector_env("sync", 2, lambda index: Counter({"length": 2}))
    assert env.num_envs == 2
    env.close()


def test_recurrent_policies_do_not_notice_the_step_of_the_reset() -> None:
    from tests.helpers.rollouts import CountingStatePolicy

    class Policy(CountingStatePolicy, LeanPolicy):
        pass

    for batch in batches("vector_entry_point", policy=Policy):
        np.testing.assert_array_equal(batch["state_in_0"][:, 0], 100 + batch["t"])

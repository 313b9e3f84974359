"""Environments that break a rule are told which one, with the offending value."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from tests.helpers.rollouts import Counter, config_of, worker_of

from aktis.rllib.env.multi_agent_env import MultiAgentEnv
from aktis.rllib.env.vector_env import VectorEnv
from aktis.rllib.utils.pre_checks.env import check_env

Box, Discrete = gymnasium.spaces.Box, gymnasium.spaces.Discrete


def broken(**changes: Any) -> Any:
    """A Counter of which a method returns something else, or an attribute is something else."""

    class Env(Counter):
        pass

    env = Env({})
    for name, value in changes.items():
        setattr(env, name, value)
    return env


GOOD_OBS = np.zeros(2, np.float32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reset": lambda: GOOD_OBS}, r"in reset\(\): it must return a tuple of two"),
        ({"reset": lambda: (GOOD_OBS, 3)}, r"info a dictionary; the second value is 3 \(int\)"),
        ({"reset": lambda: (np.zeros(3, np.float32), {})}, r"shape \(2,\) is needed, and it is \(3,\)"),
        ({"reset": lambda: (GOOD_OBS - 5, {})}, r"-5.0 at \[0\] is below the bound -1.0"),
        (
            {"step": lambda action: (GOOD_OBS, 0.0, False, {})},
            r"five values.*it returned 4 values.*auto_wrap_old_gym_envs",
        ),
        ({"step": lambda action: (GOOD_OBS, "x", False, False, {})}, r"the reward must be a number, not 'x'"),
        (
            {"step": lambda action: (GOOD_OBS, float("nan"), False, False, {})},
            r"the reward must be a number, and is nan",
        ),
        ({"step": lambda action: (GOOD_OBS, 0.0, 1, False, {})}, r"terminated must be True or False, not 1 \(int\)"),
        ({"step": lambda action: (GOOD_OBS, 0.0, False, None, {})}, r"truncated must be True or False, not None"),
        ({"step": lambda action: (GOOD_OBS, 0.0, False, False, [])}, r"the info must be a dictionary, not \[\]"),
        ({"observation_space": None}, r"it must have an attribute observation_space"),
        ({"action_space": "left or right"}, r"action_space must be a gymnasium.Space, and is a builtins.str"),
    ],
)
def test_gym_environments(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"the environment Env breaks a rule.*{message}"):
        check_env(broken(**changes))


def test_a_good_one_passes_and_rewards_may_be_numpy() -> None:
    check_env(Counter({}))
    check_env(broken(step=lambda action: (GOOD_OBS, np.float32(1), np.bool_(False), False, {})))


def test_what_is_no_environment_says_so() -> None:
    with pytest.raises(ValueError, match=r"int is no environment"):
        check_env(3)


def test_workers_check_unless_told_not_to() -> None:
    def make(context: Any) -> Any:
        return broken(reset=lambda **kwargs: (GOOD_OBS - 5, {}))

    with pytest.raises(ValueError, match="breaks a rule"):
        worker_of(config_of(), env_creator=make)
    worker = worker_of(config_of().environment(disable_env_checking=True), env_creator=make)
    worker.sample()
    worker.stop()


def test_validate_env_may_refuse() -> None:
    def refuse(env: Any, context: Any) -> None:
        raise ValueError(f"not for worker {context.worker_index}")

    with pytest.raises(ValueError, match="not for worker 0"):
        worker_of(config_of(), validate_env=refuse)


class TwoAgents(MultiAgentEnv):
    changes: dict[str, Any] = {}

    def __init__(self, **changes: Any) -> None:
        super().__init__()
        self._agent_ids = {"a", "b"}
        self.observation_space = Box(0, 1, (1,), np.float32)
        self.action_space = Discrete(2)
        self.changes = changes

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        obs = {"a": np.zeros(1, np.float32), "b": np.zeros(1, np.float32)}
        return self.changes.get("reset", (obs, {}))

    def step(self, actions: Any) -> Any:
        obs = {"a": np.zeros(1, np.float32)}
        parts = {
            "obs": obs,
            "rewards": {"a": 0.0},
            "terminateds": {"__all__": False},
            "truncateds": {"__all__": False},
            "infos": {},
        }
        return tuple((parts | self.changes)[name] for name in parts)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"reset": ({"a": np.zeros(1), "c": np.zeros(1)}, {})},
            r"observations has the agent 'c', which is not among get_agent_ids",
        ),
        ({"reset": ({"a": np.full(1, 7.0)}, {})}, r"observation of agent 'a'.*7.0 at"),
        ({"reset": ([1], {})}, r"observations must be a dictionary by agent"),
        ({"terminateds": {}}, r"terminateds must have the key '__all__'"),
        ({"truncateds": {"__all__": 0}}, r"truncateds\['__all__'\] must be True or False, not 0"),
        ({"rewards": {"a": None}}, r"reward of agent 'a' must be a number, not None"),
        ({"infos": {"b": {}}}, r"infos has the agent 'b', which observes nothing"),
    ],
)
def test_multi_agent_environments(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_env(TwoAgents(**changes))


def test_a_good_multi_agent_environment_passes() -> None:
    check_env(TwoAgents())
    check_env(TwoAgents(infos={"a": {}, "__common__": {}}))


def test_vector_environments() -> None:
    made = VectorEnv.vectorize_gym_envs(lambda index: Counter({}), num_envs=3)
    check_env(made)
    made.vector_step = lambda actions: ([GOOD_OBS], [0.0] * 3, [False] * 3, [False] * 3, [{}] * 3)  # type: ignore[method-assign]
    with pytest.raises(
        ValueError, match="observations must be a list with one entry for each of the 3 sub-environments"
    ):
        check_env(made)


def test_gym_environments_vectorised() -> None:
    def make(index: int) -> Any:
        return Counter({"length": 2, "fail_at": 3 if index == 1 and not made else None})

    made: list[int] = []
    env = VectorEnv.vectorize_gym_envs(make, num_envs=2, restart_failed_sub_environments=True)
    made.append(1)
    first = env.get_sub_environments()[1]
    obs, infos = env.vector_reset(seeds=[3, 4])
    assert [e.seeds for e in env.get_sub_environments()] == [[3], [4]] and len(obs) == len(infos) == 2
    for _ in range(2):
        obs, rewards, terminateds, truncateds, infos = env.vector_step([0, 1])
    assert rewards == [2.0, 2.0] and terminateds == [True, True] and truncateds == [False, False]
    obs, *_ = env.vector_step([0, 1])
    assert isinstance(obs[1], RuntimeError)
    env.restart_at(1)
    assert env.get_sub_environments()[1] is not first
    assert env.reset_at(1)[1] == {"reset": True}  # type: ignore[index]
    with pytest.raises(ValueError, match="has 1 of 2 environments"):
        VectorEnv.vectorize_gym_envs(existing_envs=[Counter({})], num_envs=2)


def test_an_environment_that_masks_actions_is_stepped_with_one_that_it_allows():
    from aktis.rllib.examples.env.action_mask_env import ActionMaskEnv

    for seed in range(20):
        env = ActionMaskEnv()
        env.action_space.seed(seed)
        check_env(env)

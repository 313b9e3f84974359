"""What is in batches of the vectorised sampler: order, ends, final observations, cuts, states."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.helpers.rollouts import Counter, CountingStatePolicy, LeanPolicy, RandomPolicy, config_of, worker_of

from aktis.rllib.evaluation._trajectories import handles_whole_rollouts
from aktis.rllib.policy.policy import PolicySpec
from aktis.rllib.policy.sample_batch import MultiAgentBatch


def rows(batch: Any) -> list[tuple[int, int]]:
    return [(int(episode), int(step)) for episode, step in batch["obs"]]


def test_fragments_go_on_where_the_last_one_stopped() -> None:
    worker = worker_of(config_of(env_config={"length": 5}))
    first, second = worker.sample(), worker.sample()
    worker.stop()
    # Environment-major: 7 steps of environment 0, then 7 of environment 1 (checks took episode 0 of the first one).
    assert [row for batch in (first, second) for row in rows(batch)[:7]] == [
        (e, s) for e in (1, 2, 3) for s in range(5)
    ][:14]
    assert [row for batch in (first, second) for row in rows(batch)[7:]] == [
        (e, s) for e in (0, 1, 2) for s in range(5)
    ][:14]
    assert first["t"].tolist()[:7] == [0, 1, 2, 3, 4, 0, 1]
    assert second["t"].tolist()[:7] == [2, 3, 4, 0, 1, 2, 3]
    assert first["terminateds"].tolist()[:7] == [False] * 4 + [True, False, False]
    assert first["rewards"].dtype == np.float32 and first["rewards"].tolist()[:5] == [1, 2, 3, 4, 5]


def test_an_episode_keeps_its_number_across_fragments_and_each_fragment_has_its_own() -> None:
    worker = worker_of(config_of(env_config={"length": 5}))
    first, second = worker.sample(), worker.sample()
    worker.stop()
    assert first["eps_id"][6] == second["eps_id"][0]
    assert len(set(first["eps_id"].tolist())) == 4
    unrolls = [first["unroll_id"].tolist(), second["unroll_id"].tolist()]
    assert not set(unrolls[0]) & set(unrolls[1])
    # A new unroll where an episode, or an environment, begins.
    assert np.flatnonzero(np.diff(first["unroll_id"])).tolist() == [4, 6, 11]


@pytest.mark.parametrize("truncate", [False, True])
def test_what_follows_the_last_step_is_the_final_observation_not_that_of_the_reset(truncate: bool) -> None:
    worker = worker_of(config_of(env_config={"length": 5, "truncate": truncate}))
    batch = worker.sample()
    worker.stop()
    following = [(int(episode), int(step)) for episode, step in batch["new_obs"]]
    assert following == [(episode, step + 1) for episode, step in rows(batch)]
    assert batch["truncateds"].any() == truncate and batch["terminateds"].any() != truncate


class Recording(LeanPolicy):
    """Keeps what it is given for post-processing."""

    given: list[Any]

    def postprocess_rollout(self, rollout: Any) -> None:
        self.__dict__.setdefault("given", []).append(rollout)
        rollout.columns["advantages"] = np.zeros(rollout.columns["rewards"].shape, np.float32)


def test_a_rollout_says_where_trajectories_are_cut_and_what_was_observed_there() -> None:
    worker = worker_of(config_of(env_config={"length": 5, "truncate": True}), Recording)
    batch = worker.sample()
    (rollout,) = worker.get_policy().given
    worker.stop()
    assert rollout.columns["obs"].shape == (2, 7, 2)
    assert rollout.cuts.tolist() == [4, 6, 11, 13]
    assert rollout.cut_obs.tolist() == [[1, 5], [2, 2], [0, 5], [1, 2]]
    assert np.flatnonzero(rollout.ends()).tolist() == [4, 6, 11, 13]
    assert rollout.segments().tolist() == [[0, 5], [5, 7], [7, 12], [12, 14]]
    assert "advantages" in batch and "new_obs" not in batch and "infos" not in batch


def test_terminated_episodes_are_no_cuts() -> None:
    worker = worker_of(config_of(env_config={"length": 5}), Recording)
    worker.sample()
    (rollout,) = worker.get_policy().given
    worker.stop()
    assert rollout.cuts.tolist() == [6, 13]


class ByTrajectory(Recording):
    """Overrides what its parent does for whole rollouts."""

    def postprocess_trajectory(self, sample_batch: Any, other_agent_batches: Any = None, episode: Any = None) -> Any:
        self.__dict__.setdefault("given", []).append(sample_batch)
        sample_batch["returns"] = np.cumsum(sample_batch["rewards"][::-1])[::-1].copy()
        return sample_batch


def test_a_policy_that_overrides_postprocess_trajectory_gets_each_trajectory() -> None:
    worker = worker_of(config_of(env_config={"length": 5}), ByTrajectory)
    batch = worker.sample()
    given = worker.get_policy().given
    worker.stop()
    assert [trajectory.count for trajectory in given] == [5, 2, 5, 2]
    assert batch["returns"].tolist() == [15, 14, 12, 9, 5, 3, 2] * 2
    # It is told what was observed after the last step, to bootstrap from.
    assert given[1]["new_obs"][-1].tolist() == [2, 2]


def test_who_overrides_what() -> None:
    space = Counter().observation_space

    def handles(cls: type) -> bool:
        return handles_whole_rollouts(cls(space, Counter().action_space, {}))

    assert handles(RandomPolicy) and handles(Recording) and not handles(ByTrajectory)


class Both(ByTrajectory):
    """Overrides both: whole rollouts again."""

    def postprocess_rollout(self, rollout: Any) -> None:
        super().postprocess_rollout(rollout)


def test_the_one_further_down_decides() -> None:
    assert handles_whole_rollouts(Both(Counter().observation_space, Counter().action_space, {}))


def test_complete_episodes_are_whole_and_come_in_the_order_in_which_they_ended() -> None:
    config = config_of(env_config={"length": 5}, batch_mode="complete_episodes", rollout_fragment_length=6)
    worker = worker_of(config)
    batch = worker.sample()
    assert batch.count == 10 and batch["t"].tolist() == [0, 1, 2, 3, 4] * 2
    assert batch["terminateds"].tolist() == ([False] * 4 + [True]) * 2
    assert len(set(batch["eps_id"].tolist())) == 2
    assert [m.episode_length for m in worker.get_metrics()] == [5, 5]
    worker.stop()


def test_one_complete_episode_for_each_sample_where_one_step_is_asked_for() -> None:
    config = config_of(
        env_config={"length": 300, "truncate": True}, batch_mode="complete_episodes", rollout_fragment_length=1
    )
    worker = worker_of(config, Recording)
    counts = [worker.sample().count for _ in range(4)]
    given = worker.get_policy().given
    worker.stop()
    assert counts == [300] * 4  # longer than a block has room for at first
    assert [rollout.cut_obs[:, 1].tolist() for rollout in given] == [[300.0]] * 4


def test_recurrent_states_begin_anew_with_each_episode_and_are_told_at_cuts() -> None:
    class Policy(CountingStatePolicy, Recording):
        pass

    worker = worker_of(config_of(env_config={"length": 5, "truncate": True}), Policy)
    first, second = worker.sample(), worker.sample()
    given = worker.get_policy().given
    worker.stop()
    assert first["state_in_0"][:7, 0].tolist() == [100, 101, 102, 103, 104, 100, 101]
    assert second["state_in_0"][:3, 0].tolist() == [102, 103, 104]
    assert given[0].cut_states[0][:, 0].tolist() == [105, 102, 105, 102]
    assert "state_out_0" not in first


class History(LeanPolicy):
    """Looks at earlier steps."""

    def init_view_requirements(self) -> None:
        from aktis.rllib.policy.view_requirement import ViewRequirement

        super().init_view_requirements()
        self.view_requirements["prev_actions"] = ViewRequirement("actions", shift=-1, space=self.action_space)
        self.view_requirements["prev_rewards"] = ViewRequirement("rewards", shift=-1)
        self.view_requirements["last_obs"] = ViewRequirement("obs", shift="-2:0", space=self.observation_space)
        self.inputs: list[Any] = []

    def compute_actions_from_input_dict(self, input_dict: Any, *args: Any, **kwargs: Any) -> Any:
        self.inputs.append({key: np.array(value) for key, value in input_dict.items()})
        return super().compute_actions_from_input_dict(input_dict, *args, **kwargs)


def test_views_of_earlier_steps_are_the_same_when_acting_and_in_the_batch() -> None:
    worker = worker_of(config_of(env_config={"length": 5}), History)
    batches = [worker.sample(), worker.sample()]
    inputs = worker.get_policy().inputs
    worker.stop()
    for number, batch in enumerate(batches):
        for name in ("prev_actions", "prev_rewards", "last_obs"):
            acted = np.stack([inputs[7 * number + step][name] for step in range(7)], axis=1)
            np.testing.assert_array_equal(batch[name], acted.reshape(batch[name].shape), err_msg=name)
    batch = batches[0]
    assert batch["prev_rewards"].tolist()[:7] == [0, 1, 2, 3, 4, 0, 1]
    assert batch["prev_actions"].tolist()[1:5] == batch["actions"].tolist()[:4] and batch["prev_actions"][5] == 0
    assert batch["last_obs"][:3, :, 1].tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 2]]


class Memory(LeanPolicy):
    """Its memory is a window of its earlier outputs, as attention has it."""

    def init_view_requirements(self) -> None:
        from aktis.rllib.policy.view_requirement import ViewRequirement

        super().init_view_requirements()
        self.view_requirements["state_in_0"] = ViewRequirement("state_out_0", shift="-3:-1", space=None)

    def get_initial_state(self) -> list[Any]:
        return [np.zeros(1, np.float32)]

    def compute_actions(self, obs_batch: Any, state_batches: Any = None, **kwargs: Any) -> Any:
        actions, _, extra = super().compute_actions(obs_batch)
        assert state_batches[0].shape == (len(obs_batch), 3, 1)
        return actions, [obs_batch[:, 1:] + 1], extra


def test_a_memory_of_earlier_outputs() -> None:
    worker = worker_of(config_of(env_config={"length": 5}), Memory)
    first, second = worker.sample(), worker.sample()
    worker.stop()
    windows = [[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4]]
    assert first["state_in_0"][:7, :, 0].tolist() == [*windows, *windows[:2]]
    assert second["state_in_0"][:3, :, 0].tolist() == windows[2:]


def test_a_policy_of_another_name_gives_batches_for_it() -> None:
    config = config_of().multi_agent(policies={"mine": PolicySpec()}, policy_mapping_fn=lambda *args, **kwargs: "mine")
    worker = worker_of(config)
    batch = worker.sample()
    worker.stop()
    assert isinstance(batch, MultiAgentBatch) and batch.count == 14 and set(batch.policy_batches) == {"mine"}


def test_batches_are_not_changed_by_later_samples() -> None:
    worker = worker_of(config_of())
    batch = worker.sample()
    before = {name: np.array(column) for name, column in batch.items() if name != "infos"}
    worker.sample()
    worker.stop()
    for name, column in before.items():
        np.testing.assert_array_equal(batch[name], column, err_msg=name)


def test_infos_are_those_of_the_step() -> None:
    worker = worker_of(config_of(env_config={"length": 5}))
    batch = worker.sample()
    worker.stop()
    assert [info["life"] for info in batch["infos"][7:]] == list(range(1, 8))


def test_compressed_observations_come_back() -> None:
    worker, plain = (worker_of(config_of(compress_observations=compress)) for compress in (True, False))
    compressed, batch = worker.sample(), plain.sample()
    compressed.decompress_if_needed()
    worker.stop()
    plain.stop()
    np.testing.assert_array_equal(compressed["obs"], batch["obs"])

"""Episodes summed up, learner information, timers, and when an iteration is over."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aktis.rllib.algorithms._algorithm.evaluation_rounds import shares
from aktis.rllib.algorithms._algorithm.iteration import Iteration
from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig
from aktis.rllib.evaluation.metrics import RolloutMetrics, get_learner_stats, summarize_episodes, with_history
from aktis.rllib.utils.metrics.learner_info import LearnerInfoBuilder
from aktis.rllib.utils.metrics.timers import Timer
from aktis.rllib.utils.metrics.window_stat import WindowStat


def _episode(reward, length=10, **more):
    return RolloutMetrics(length, reward, **more)


def test_no_episode_is_nan_and_not_zero():
    made = summarize_episodes([], [])
    for key in ("episode_reward_mean", "episode_reward_max", "episode_reward_min", "episode_len_mean"):
        assert math.isnan(made[key])
    assert made["episodes_this_iter"] == 0
    assert made["hist_stats"] == {"episode_reward": [], "episode_lengths": []}


def test_statistics_of_episodes():
    made = summarize_episodes(
        [
            _episode(1.0, 4, custom_metrics={"k": 1}, hist_data={"h": [1, 2]}, perf_stats={"mean_inference_ms": 1.0}),
            _episode(3.0, 6, custom_metrics={"k": 5}, hist_data={"h": [3]}, perf_stats={"mean_inference_ms": 3.0}),
        ],
        [_episode(3.0)],
    )
    assert (made["episode_reward_mean"], made["episode_reward_min"], made["episode_reward_max"]) == (2, 1, 3)
    assert (made["episode_len_mean"], made["episodes_this_iter"]) == (5, 1)
    assert made["custom_metrics"] == {"k_mean": 3, "k_min": 1, "k_max": 5}
    assert made["hist_stats"] == {"episode_reward": [1, 3], "episode_lengths": [4, 6], "h": [1, 2, 3]}
    assert made["sampler_perf"] == {"mean_inference_ms": 2}


def test_custom_metrics_of_each_episode_are_kept_if_asked_for():
    made = summarize_episodes([_episode(1, custom_metrics={"k": 1}), _episode(1, custom_metrics={"k": 5})], None, True)
    assert made["custom_metrics"] == {"k": [1, 5]}


def test_custom_metrics_may_be_lists_and_no_numbers():
    made = summarize_episodes([_episode(1, custom_metrics={"k": [1, 2], "text": "x"})])
    assert made["custom_metrics"]["k_mean"] == 1.5
    assert math.isnan(made["custom_metrics"]["text_mean"])


def test_rewards_of_policies_beside_the_default_one():
    episodes = [_episode(5, agent_rewards={("a", "p"): 2, ("b", "p"): 3}), _episode(1, agent_rewards={("a", "q"): 1})]
    made = summarize_episodes(episodes)
    assert made["policy_reward_mean"] == {"p": 2.5, "q": 1}
    assert made["policy_reward_max"] == {"p": 3, "q": 1}
    assert made["hist_stats"]["policy_p_reward"] == [2, 3]
    assert summarize_episodes([_episode(1, agent_rewards={("a", "default_policy"): 1})])["policy_reward_mean"] == {}


def test_faulty_episodes_are_counted_and_nothing_else():
    lost = _episode(-100, episode_faulty=True)
    made = summarize_episodes([_episode(1), lost], [_episode(1), lost])
    assert (made["episode_reward_mean"], made["num_faulty_episodes"], made["episodes_this_iter"]) == (1, 1, 1)


@given(rounds=st.lists(st.integers(0, 30), max_size=8), smoothing=st.integers(0, 20))
def test_window_has_all_new_episodes_and_the_latest_old_ones(rounds, smoothing):
    history, number, ever = [], 0, []
    for count in rounds:
        new = [_episode(number + i) for i in range(count)]
        number += count
        window, history = with_history(new, history, smoothing)
        ever += new
        assert window == ever[max(len(ever) - max(smoothing, count), 0) :]
        assert len(history) <= smoothing


def test_learner_information_is_the_mean_of_updates():
    builder = LearnerInfoBuilder()
    for loss in (1.0, 3.0):
        builder.add_learn_on_batch_results(
            {"learner_stats": {"loss": loss, "kind": "x"}, "td_error": np.full(2, loss)}, "p"
        )
    builder.add_learn_on_batch_results_multi_agent({"q": {"learner_stats": {"loss": 7}}})
    made = builder.finalize()
    assert made["p"]["learner_stats"] == {"loss": 2, "kind": "x"}
    assert made["p"]["td_error"].tolist() == [1, 1, 3, 3]
    assert made["q"]["learner_stats"]["loss"] == 7
    with pytest.raises(RuntimeError, match="finalize"):
        builder.add_learn_on_batch_results({})


def test_learner_information_of_several_devices_is_their_mean():
    builder = LearnerInfoBuilder(num_devices=2)
    builder.add_learn_on_batch_results(
        {"tower_0": {"learner_stats": {"l": 1.0}}, "tower_1": {"learner_stats": {"l": 2.0}}, "n": 4}
    )
    assert builder.finalize() == {"default_policy": {"learner_stats": {"l": 1.5}, "n": 4}}


def test_stats_are_found_in_what_policies_return():
    assert get_learner_stats({"learner_stats": {"l": 1}}) == {"l": 1}
    assert get_learner_stats({"p": {"learner_stats": {"l": 1}}, "batch_count": 3}) == {"p": {"l": 1}}


def test_window_of_numbers():
    window = WindowStat("w", 3)
    assert math.isnan(window.mean())
    for value in (1, 2, 3, 4):
        window.push(value)
    assert window.mean() == 3 and window.stats()["w_count"] == 4
    assert window.quantiles().tolist()[0] == 2


def test_timer_means_and_throughput():
    timer = Timer(window_size=2)
    for seconds, units in ((9.0, 1), (1.0, 10), (3.0, 30)):
        timer.push(seconds)
        timer.push_units_processed(units)
    assert (timer.mean, timer.mean_throughput, timer.total, timer.count) == (2, 10, 13, 3)
    with timer, pytest.raises(RuntimeError, match="running"), timer:
        pass


@pytest.mark.parametrize(
    ("settings", "counters", "seconds", "over"),
    [
        ({}, {}, 0, True),
        ({"min_time_s_per_iteration": 2}, {}, 1.9, False),
        ({"min_time_s_per_iteration": 2}, {}, 2, True),
        ({"min_sample_timesteps_per_iteration": 10}, {"num_env_steps_sampled": 9}, 0, False),
        ({"min_sample_timesteps_per_iteration": 10}, {"num_env_steps_sampled": 10}, 0, True),
        ({"min_train_timesteps_per_iteration": 10}, {"num_env_steps_sampled": 10}, 0, False),
        ({"min_train_timesteps_per_iteration": 5}, {"num_env_steps_trained": 5}, 0, True),
        (
            {"min_sample_timesteps_per_iteration": 5, "count_steps_by": "agent_steps"},
            {"num_env_steps_sampled": 9},
            0,
            False,
        ),
        (
            {"min_sample_timesteps_per_iteration": 5, "count_steps_by": "agent_steps"},
            {"num_agent_steps_sampled": 9},
            0,
            True,
        ),
    ],
)
def test_iteration_is_over_when_all_of_it_is_done(settings, counters, seconds, over):
    now, counted = (
        100.0,
        {"num_env_steps_sampled": 1000, "num_agent_steps_sampled": 1000, "num_env_steps_trained": 1000},
    )
    clock = [now]
    iteration = Iteration(counted, AlgorithmConfig.from_dict(settings), lambda: clock[0])
    clock[0] += seconds
    for key, value in counters.items():
        counted[key] += value
    assert iteration.is_over() is over
    for key, value in counters.items():
        assert iteration.done(key) == value


@given(units=st.integers(-3, 100), workers=st.integers(1, 12))
def test_shares_are_equal_and_make_up_the_whole(units, workers):
    parts = shares(units, workers)
    assert sum(parts) == max(units, 0)
    assert len(parts) <= workers
    assert not parts or (max(parts) - min(parts) <= 1 and min(parts) > 0)

"""Environments by name, class, path and registration; contexts; rendering; custom callbacks of sub-environments."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from tests.helpers.rollouts import Counter, config_of, worker_of

from aktis import tune
from aktis.rllib.algorithms.callbacks import DefaultCallbacks
from aktis.rllib.env.env_context import EnvContext
from aktis.rllib.env.utils import get_env_creator


def test_by_every_kind_of_name() -> None:
    context = EnvContext({}, 1)
    tune.register_env("my counter", lambda config: Counter(config))
    for name in ("my counter", Counter, "tests.helpers.rollouts.Counter"):
        assert isinstance(get_env_creator(name)(context), Counter)
    assert get_env_creator("CartPole-v1")(context).spec.id == "CartPole-v1"
    assert get_env_creator(None)(context) is None
    with pytest.raises(ValueError, match="3 .int. is no environment"):
        get_env_creator(3)


def test_settings_reach_gymnasium() -> None:
    env = get_env_creator("CartPole-v1")(EnvContext({"max_episode_steps": 7}, 1))
    assert env.spec.max_episode_steps == 7


def test_contexts() -> None:
    context = EnvContext({"a": 1}, worker_index=2, vector_index=3, num_workers=4)
    other = context.copy_with_overrides(vector_index=5, env_config={"b": 2})
    assert (dict(other), other.worker_index, other.vector_index, other.num_workers) == ({"b": 2}, 2, 5, 4)
    context.set_defaults({"a": 9, "c": 3})
    assert dict(context) == {"a": 1, "c": 3}
    again = pickle.loads(pickle.dumps(context))
    assert dict(again) == dict(context) and (again.worker_index, again.vector_index, again.recreated_worker) == (
        2,
        3,
        False,
    )


def test_rendering_calls_the_environment_and_gives_up_on_one_that_cannot(caplog: Any) -> None:
    class Shown(Counter):
        shown = 0

        def render(self) -> Any:
            if self.index == 1:
                raise RuntimeError("no display")
            self.shown += 1
            return np.zeros((2, 2, 3), np.uint8)

    worker = worker_of(config_of(Shown).environment(render_env=True))
    worker.sample()
    assert worker.foreach_env(lambda env: env.shown) == [7, 0]
    assert caplog.text.count("cannot be shown: RuntimeError: no display") == 1
    worker.stop()


class Told(DefaultCallbacks):
    """Writes down what it is told."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.events: list[Any] = []

    def on_sub_environment_created(
        self, *, worker: Any, sub_environment: Any, env_context: Any, env_index: Any = None, **kwargs: Any
    ) -> None:
        self.events.append(("env", env_index, env_context.vector_index, type(sub_environment).__name__))

    def on_episode_created(self, *, env_index: int, **kwargs: Any) -> None:
        self.events.append(("created", env_index))

    def on_episode_start(self, *, episode: Any, env_index: Any = None, **kwargs: Any) -> None:
        self.events.append(("start", env_index, episode.length, episode.last_info_for()))
        episode.user_data["steps"] = []

    def on_episode_step(self, *, base_env: Any, episode: Any, env_index: Any = None, **kwargs: Any) -> None:
        assert base_env.get_sub_environments()[env_index].step_in_episode in (episode.length, 0)
        episode.user_data["steps"].append(float(episode.last_raw_obs_for()[1]))

    def on_episode_end(self, *, episode: Any, policies: Any, env_index: Any = None, **kwargs: Any) -> None:
        if isinstance(episode, Exception):
            self.events.append(("failed", env_index, str(episode)))
            return
        assert episode.user_data["steps"] == [1.0, 2.0, 3.0]
        assert policies[episode.policy_for()] is episode.worker.get_policy()
        episode.custom_metrics["last"] = episode.last_reward_for()
        episode.hist_data["rewards"] = [1.0, episode.prev_reward_for()]
        episode.media["note"] = "x"
        self.events.append(
            (
                "end",
                env_index,
                episode.total_reward,
                episode.is_done(),
                episode.get_agents(),
                episode.last_info_for()["life"],
            )
        )

    def on_postprocess_trajectory(
        self, *, episode: Any, postprocessed_batch: Any, original_batches: Any, agent_id: Any, **kwargs: Any
    ) -> None:
        assert int(postprocessed_batch["eps_id"][0]) == episode.episode_id
        assert original_batches[agent_id][2].count == postprocessed_batch.count
        postprocessed_batch["mine"] = np.full(postprocessed_batch.count, episode.length)

    def on_sample_end(self, *, samples: Any, **kwargs: Any) -> None:
        self.events.append(("sampled", samples.count))


def test_callbacks_get_episodes() -> None:
    worker = worker_of(
        config_of(env_config={"length": 3}, num_envs_per_worker=1, rollout_fragment_length=4).callbacks(Told)
    )
    batch = worker.sample()
    (metrics,) = worker.get_metrics()
    events = worker.callbacks.events
    worker.stop()
    assert events == [
        ("env", 0, 0, "Counter"),
        ("created", 0),
        ("start", 0, 0, {"reset": True}),
        ("end", 0, 6.0, True, ["agent0"], 4),  # the check took one step
        ("created", 0),
        ("start", 0, 0, {"reset": True}),
        ("sampled", 4),
    ]
    assert metrics.custom_metrics == {"last": 3.0} and metrics.hist_data == {"rewards": [1.0, 2.0]}
    assert metrics.media == {"note": "x"} and metrics.agent_rewards == {("agent0", "default_policy"): 6.0}
    assert batch["mine"].tolist() == [3, 3, 3, 1]


def test_callbacks_are_told_of_environments_that_failed() -> None:
    config = config_of(
        env_config={"length": 3, "fail_at": 3}, num_envs_per_worker=1, restart_failed_sub_environments=True
    )
    worker = worker_of(config.callbacks(Told))
    worker.sample()
    assert ("failed", 0, "the simulation crashed") in worker.callbacks.events
    worker.stop()


def test_without_hooks_there_are_no_episode_objects() -> None:
    worker = worker_of(config_of())
    assert worker.sampler.runner.tracker is None
    worker.stop()

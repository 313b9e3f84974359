"""DeepMind's preprocessing, on a game that is played here."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from tests.helpers.rollouts import LeanPolicy, config_of, worker_of

from aktis.rllib.env.wrappers import atari_wrappers as wrappers


class Game(gymnasium.Env):
    """Two lives of 40 frames each; a picture's brightness is the number of its frame; each frame gives 1 point."""

    def __init__(self, config: Any = None) -> None:
        self.observation_space = gymnasium.spaces.Box(0, 255, (210, 160, 3), np.uint8)
        self.action_space = gymnasium.spaces.Discrete(3)
        self.ale = self
        self.actions: list[int] = []

    def get_action_meanings(self) -> list[str]:
        return ["NOOP", "FIRE", "UP"]

    def lives(self) -> int:
        return 2 - self.frame // 40

    def _picture(self) -> Any:
        return np.full((210, 160, 3), self.frame, np.uint8)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.frame = 0
        return self._picture(), {}

    def step(self, action: Any) -> Any:
        self.actions.append(int(action))
        self.frame += 1
        return self._picture(), 1.0, self.frame >= 80, False, {}


def test_atari_games_are_known_by_their_emulator() -> None:
    assert wrappers.is_atari(Game()) and wrappers.is_atari(wrappers.wrap_deepmind(Game()))
    assert not wrappers.is_atari(gymnasium.make("CartPole-v1"))
    assert wrappers.is_atari("ALE/Pong-v5") and not wrappers.is_atari("CartPole-v1")


def test_noops_after_a_reset() -> None:
    env = wrappers.NoopResetEnv(Game(), noop_max=5)
    counts = {int(env.reset(seed=seed)[0].max()) for seed in range(40)}
    assert counts == {1, 2, 3, 4, 5}
    env.override_num_noops = 3
    assert env.reset()[0].max() == 3


def test_frames_are_skipped_and_the_last_two_combined() -> None:
    env = wrappers.MaxAndSkipEnv(Game(), skip=4)
    env.reset()
    obs, reward, *_ = env.step(2)
    assert reward == 4 and obs.max() == 4 and env.unwrapped.actions == [2] * 4


def test_a_lost_life_ends_an_episode_but_not_the_game() -> None:
    env = wrappers.EpisodicLifeEnv(wrappers.MonitorEnv(Game()))
    env.reset()
    ends = []
    for _ in range(81):
        _, _, terminated, truncated, _ = env.step(0)
        if terminated or truncated:
            ends.append(env.unwrapped.frame)
            env.reset()
    assert ends == [40, 80]
    monitor = wrappers.get_wrapper_by_cls(env, wrappers.MonitorEnv)
    assert list(monitor.next_episode_results()) == [(80.0, 80)] and list(monitor.next_episode_results()) == []


def test_games_begin_with_fire() -> None:
    env = wrappers.FireResetEnv(Game())
    assert env.reset()[0].max() == 2 and env.unwrapped.actions == [1, 2]
    with pytest.raises(ValueError, match="needs a game whose action 1 is 'FIRE'"):
        game = Game()
        game.get_action_meanings = lambda: ["NOOP"]  # type: ignore[method-assign]
        wrappers.FireResetEnv(game)


def test_pictures_are_made_small_by_area() -> None:
    env = wrappers.WarpFrame(Game(), 84)
    picture = np.zeros((210, 160, 3), np.uint8)
    picture[:105] = 200
    small = env.observation(picture)
    assert small.shape == (84, 84, 1) and small.dtype == np.uint8
    assert (small[:42] == 200).all() and (small[42:] == 0).all()
    colours = env.observation(np.broadcast_to(np.array([100, 50, 20], np.uint8), (210, 160, 3)))
    assert (colours == round(0.299 * 100 + 0.587 * 50 + 0.114 * 20)).all()
    columns = np.arange(10.0).reshape(5, 2)
    np.testing.assert_allclose(wrappers.shrunk(columns, 2), [[1.6, 2.6], [6.4, 7.4]])
    weights = np.array([[0.4, 0.4, 0.2, 0, 0], [0, 0, 0.2, 0.4, 0.4]])
    np.testing.assert_allclose(wrappers.shrunk(columns, 2), weights @ columns)


def test_pictures_are_stacked() -> None:
    env = wrappers.FrameStack(wrappers.WarpFrame(Game(), 42), 4)
    first, _ = env.reset()
    assert first.shape == (42, 42, 4) and env.observation_space.contains(first)
    obs, *_ = env.step(0)
    assert obs[0, 0].tolist() == [0, 0, 0, 1]


def test_rewards_and_scales() -> None:
    assert wrappers.ClipRewardEnv(Game()).reward(-7) == -1
    env = wrappers.ScaledFloatFrame(Game())
    assert env.observation(np.full((210, 160, 3), 255, np.uint8)).max() == 1.0
    view = wrappers.FrameStackTrajectoryView(wrappers.WarpFrame(Game(), 42))
    assert view.reset()[0].shape == (42, 42) == view.observation_space.shape


def test_workers_wrap_games_clip_their_rewards_and_tell_of_whole_games() -> None:
    config = (
        config_of(Game, num_envs_per_worker=1, rollout_fragment_length=140)
        .training(model={"dim": 42})
        .debugging(seed=0)
    )
    worker = worker_of(config, LeanPolicy)
    batch = worker.sample()
    metrics = worker.get_metrics()
    worker.stop()
    assert batch["obs"].shape == (140, 42, 42, 4)
    assert batch["terminateds"].sum() >= 3  # lives
    assert {m.episode_length for m in metrics} == {80} and len(metrics) < batch["terminateds"].sum()
    assert (batch["rewards"] == 1).all()


def test_unless_the_preprocessor_preference_is_another_one() -> None:
    config = config_of(Game, num_envs_per_worker=1, rollout_fragment_length=3, preprocessor_pref="rllib")
    worker = worker_of(config.training(model={"dim": 42, "grayscale": True}), LeanPolicy)
    assert isinstance(worker.env, Game)
    worker.stop()

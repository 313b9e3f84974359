"""Learning from a recording: what a careful and a careless driver did in CartPole, imitated without playing.

Most recorded episodes are bad. Behaviour cloning imitates what was done, good or bad; MARWIL gives actions that led to more
than was expected a larger weight, and becomes as good as the best. At the end, a look into the policy: what it looks at.

Run: python examples/rllib_offline.py
Needs: pip install "aktis-rllib[torch]"
Prints: how the drivers and the two imitations play, and which inputs matter to the better one.
"""

from __future__ import annotations

import tempfile
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from aktis.rllib.algorithms.bc import BCConfig
from aktis.rllib.algorithms.marwil import MARWILConfig
from aktis.rllib.offline import EpisodeRecorder, FeatureImportance, JsonReader
from aktis.rllib.policy.sample_batch import SampleBatch, concat_samples

ITERATIONS = 100
SEEN = ("position", "velocity", "angle", "angular velocity")
rng = np.random.default_rng(0)


def drive(obs: Any, care: float) -> tuple[int, dict[str, float]]:
    """Push to where the pole falls, with the probability ``care``; and how probable the choice was."""
    falls_right = int(obs[2] + 0.5 * obs[3] > 0)
    action = falls_right if rng.random() < care else 1 - falls_right
    return action, {"action_prob": care if action == falls_right else 1 - care}


def record(folder: str) -> None:
    """Without any algorithm: a person, a script or another library decides."""
    env = gym.make("CartPole-v1")
    with EpisodeRecorder(folder) as recorder:
        good, bad = [], []
        for round_ in range(6):
            good += recorder.record(env, lambda obs: drive(obs, care=0.9), seed=round_)
            bad += recorder.record(env, lambda obs: drive(obs, care=0.3), episodes=20)
    env.close()
    print(
        f"recorded: {len(good)} good episodes of {np.mean(good):.0f} steps, {len(bad)} bad ones of {np.mean(bad):.0f}"
    )


def learn(config: Any, folder: str) -> tuple[float, dict[str, float]]:
    """Train on the files alone; how the policy then plays, and which numbers its actions hang on."""
    config = (
        config.environment("CartPole-v1")
        .framework("torch")
        .rollouts(num_rollout_workers=0)
        .offline_data(input_=folder, shuffle_buffer_size=8)
        .training(lr=0.01, train_batch_size=250, gamma=0.98, model={"fcnet_hiddens": [32], "vf_share_layers": False})
        .evaluation(evaluation_duration=20, evaluation_config={"input_": "sampler", "explore": False})
        .debugging(seed=1)
    )
    algorithm = config.build()
    try:
        for _ in range(ITERATIONS):
            algorithm.train()
        steps = concat_samples(list(JsonReader(folder).read_all_files()))
        assert isinstance(steps, SampleBatch)
        importance = FeatureImportance(algorithm.get_policy(), seed=0).estimate(steps)
        return algorithm.evaluate()["evaluation"]["episode_reward_mean"], importance
    finally:
        algorithm.stop()


def main() -> None:
    torch.set_num_threads(1)  # the networks are small
    with tempfile.TemporaryDirectory() as folder:
        record(folder)
        cloned, _ = learn(BCConfig(), folder)
        print(f"behaviour cloning plays {cloned:.0f} steps")
        weighs = {"moving_average_sqd_adv_norm_start": 500.0, "moving_average_sqd_adv_norm_update_rate": 0.05}
        better, importance = learn(MARWILConfig().training(beta=3.0, **weighs), folder)
        print(f"MARWIL plays {better:.0f} steps")
    for name, share in zip(SEEN, importance.values(), strict=True):
        print(f"  with the {name} of another step it would do something else in {share:.0%} of the steps")
    assert better > 5 * cloned
    assert importance["feature_0"] < importance["feature_3"]


if __name__ == "__main__":
    main()

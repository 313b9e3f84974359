"""Which learning rate, and with how many epochs? A grid over both for PPO, with Tune, and the best policy from its checkpoint.

Run: python examples/rllib_tune.py
Needs: pip install "aktis-rllib[torch]"
Prints: a table of the trials, and the return of the best policy, restored.
"""

from __future__ import annotations

import tempfile

from aktis import air, tune
from aktis.rllib.algorithms.algorithm import Algorithm
from aktis.rllib.algorithms.ppo import PPOConfig

STEPS = 12_000


def main() -> None:
    config = (
        PPOConfig()
        .environment("CartPole-v1")
        .rollouts(num_rollout_workers=0, num_envs_per_worker=8)
        .training(
            lr=tune.grid_search([0.0003, 0.003]),
            num_sgd_iter=tune.grid_search([2, 8]),
            train_batch_size=512,
            sgd_minibatch_size=256,
            gamma=0.98,
            lambda_=0.9,
            vf_loss_type="mse",
            model={"fcnet_hiddens": [64, 64], "fcnet_weights_initializer": "orthogonal"},
        )
        .reporting(min_sample_timesteps_per_iteration=2_000)
        .debugging(seed=0)
    )
    with tempfile.TemporaryDirectory() as results_dir:
        tuner = tune.Tuner(
            "PPO",
            param_space=config,
            tune_config=tune.TuneConfig(metric="episode_reward_mean", mode="max"),
            run_config=air.RunConfig(
                name="cartpole",
                local_dir=results_dir,
                stop={"timesteps_total": STEPS},
                checkpoint_config=air.CheckpointConfig(checkpoint_at_end=True),
                verbose=0,
            ),
        )
        results = tuner.fit()
        assert results.num_errors == 0, results.errors

        table = results.get_dataframe().sort_values("episode_reward_mean", ascending=False)
        columns = ["config/lr", "config/num_sgd_iter", "episode_reward_mean", "timesteps_total", "time_total_s"]
        print(table[columns].round(4).to_string(index=False))

        best = results.get_best_result()
        assert best.checkpoint is not None and best.config["num_sgd_iter"] == 8, best.config
        algorithm = Algorithm.from_checkpoint(best.checkpoint, config_overrides={"evaluation_duration": 5})
        evaluated = algorithm.evaluate()["evaluation"]["episode_reward_mean"]
        algorithm.stop()
    print(f"\nthe best, restored, in five further episodes: {evaluated:.0f}")
    assert evaluated > 50, evaluated


if __name__ == "__main__":
    main()

"""The programs of benchmarks/rl.py: ``python _rl_programs.py PROGRAM LIBRARY [JSON]`` prints one line of JSON.

A library is ``aktis``, ``sb3`` or ``ray``; each runs in an interpreter that has it, on one core
(``OMP_NUM_THREADS=1``). Ours are the tuned examples of aktis-rllib, as they are; stable-baselines3's settings are those
of rl-baselines3-zoo.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

LIMIT_S = 400


class Clock:
    """Seconds on the wall and of the processor since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        return {"s": time.perf_counter() - self._wall, "cpu_s": time.process_time() - self._cpu}


# -- ours --------------------------------------------------------------------------------------------------------------


def experiment_of(name: str) -> dict[str, Any]:
    """A tuned example, as it is in its file: "ppo/cartpole-ppo"."""
    from importlib.resources import files

    import yaml

    text = (files("aktis.rllib") / "tuned_examples" / f"{name}.yaml").read_text(encoding="utf-8")
    (experiment,) = yaml.safe_load(text).values()
    return experiment  # type: ignore[no-any-return]


def tuned(name: str, seed: int, **changes: Any) -> Any:
    """The configuration of a tuned example."""
    from aktis.rllib.algorithms.registry import get_algorithm_class

    experiment = experiment_of(name)
    _, config = get_algorithm_class(experiment["run"], return_config=True)
    config.update_from_dict({**experiment["config"], "env": experiment["env"], "seed": seed, **changes})
    config.reporting(min_time_s_per_iteration=None)
    return config


def iterations(algorithm: Any, steps: int) -> Iterator[dict[str, Any]]:
    """Results, until so many steps are sampled."""
    sampled = 0
    while sampled < steps:
        result = algorithm.train()
        sampled = result["num_env_steps_sampled"]
        yield result


def aktis_reach(example: str, seed: int, target: float, steps: int) -> dict[str, Any]:
    """Time until the mean return of the last 100 episodes is the target."""
    algorithm = tuned(example, seed).build()
    clock = Clock()
    for result in iterations(algorithm, steps):
        if result["episode_reward_mean"] >= target:
            return {**clock.read(), "steps": result["num_env_steps_sampled"]}
    return {"s": None, "cpu_s": None, "steps": None}


def aktis_learn(example: str, seed: int, steps: int, episodes: int = 20) -> dict[str, Any]:
    """Returns after so many steps, or earlier, when the example's own evaluation says that it has learned enough: of the last 100
    episodes of training, and of greedy ones afterwards."""
    enough = experiment_of(example)["stop"].get("evaluation/episode_reward_mean", float("inf"))
    algorithm = tuned(example, seed).build()
    clock = Clock()
    result: dict[str, Any] = {}
    for result in iterations(algorithm, steps):
        if (result.get("evaluation") or {}).get("episode_reward_mean", float("-inf")) >= enough:
            break
    found = {**clock.read(), "training": result["episode_reward_mean"], "steps": result["num_env_steps_sampled"]}
    return {**found, "greedy": greedy(algorithm, episodes)}


def greedy(algorithm: Any, episodes: int) -> float:
    """The mean return of episodes without exploration."""
    import gymnasium

    env = gymnasium.make(algorithm.config.env)
    total = 0.0
    for episode in range(episodes):
        obs, _ = env.reset(seed=10_000 + episode)
        over = False
        while not over:
            obs, reward, terminated, truncated, _ = env.step(algorithm.compute_single_action(obs, explore=False))
            total += float(reward)
            over = terminated or truncated
    return total / episodes


def aktis_speed(settings: str, seed: int, steps: int) -> dict[str, Any]:
    """Environment steps per second of PPO with its updates, with stable-baselines3's hyper-parameters."""
    envs, length, batch, epochs, gamma, lambda_ = SB3_SETTINGS[settings]
    config = tuned(
        "ppo/cartpole-ppo", seed, num_envs_per_worker=envs, train_batch_size=envs * length, sgd_minibatch_size=batch,
        num_sgd_iter=epochs, gamma=gamma, lambda_=lambda_, lr_schedule=[[0, 0.001], [100_000, 0.0]],
    )  # fmt: skip
    algorithm = config.build()
    algorithm.train()  # the first one loads what is loaded once
    clock = Clock()
    before = 0
    for result in iterations(algorithm, steps):
        before = before or result["num_env_steps_sampled"] - result["num_env_steps_sampled_this_iter"]
    measured = clock.read()
    done = result["num_env_steps_sampled"] - before
    return {"value": done / measured["s"], "by_cpu": done / measured["cpu_s"]}


def aktis_repeat(workers: int, seed: int) -> dict[str, Any]:
    """The learning curve, to compare bit for bit."""
    import aktis

    aktis.init(num_cpus=4, include_dashboard=False)
    config = tuned("ppo/cartpole-ppo", seed, num_rollout_workers=workers, num_envs_per_worker=4)
    algorithm = config.build()
    curve = []
    for _ in range(30):
        result = algorithm.train()
        stats = result["info"]["learner"]["default_policy"]["learner_stats"]
        curve.append([float(x).hex() for x in (result["episode_reward_mean"], stats["total_loss"], stats["vf_loss"])])
    algorithm.stop()
    aktis.shutdown()
    return {"curve": curve}


def aktis_scaling(workers: int, seed: int, seconds: float) -> dict[str, Any]:
    """Steps per second that workers sample of an environment which waits 1 ms in each step."""
    import aktis

    aktis.init(num_cpus=4, include_dashboard=False)
    config = tuned(
        "ppo/cartpole-ppo", seed, num_rollout_workers=workers, num_envs_per_worker=1, train_batch_size=1000,
        sgd_minibatch_size=1000, num_sgd_iter=1, env=slow_env(),
    )  # fmt: skip
    algorithm = config.build()
    algorithm.train()
    begin, steps = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        steps += algorithm.train()["num_env_steps_sampled_this_iter"]
    value = steps / (time.perf_counter() - begin)
    algorithm.stop()
    aktis.shutdown()
    return {"value": value}


def slow_env() -> Any:
    """Defined here, and not in the module, so that workers get it with the configuration."""
    import gymnasium

    class Slow(gymnasium.Env):  # type: ignore[misc]
        observation_space = gymnasium.spaces.Box(-1.0, 1.0, (4,))
        action_space = gymnasium.spaces.Discrete(2)

        def __init__(self, config: Any = None) -> None:
            self._steps = 0

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            super().reset(seed=seed)
            self._steps = 0
            return self.observation_space.sample() * 0, {}

        def step(self, action: Any) -> Any:
            time.sleep(0.001)
            self._steps += 1
            return self.observation_space.sample() * 0, 1.0, False, self._steps == 200, {}

    return Slow


def aktis_sampling(seed: int, seconds: float, envs: int = 64) -> dict[str, Any]:
    """Steps per second of a worker that samples from vectorised CartPoles, beside stepping ``gymnasium.vector`` alone, in turns."""
    import gymnasium

    config = tuned(
        "ppo/cartpole-ppo", seed, num_envs_per_worker=envs, train_batch_size=envs * 32, sgd_minibatch_size=envs * 32
    )
    algorithm = config.build()
    worker = algorithm.workers.local_worker()
    vector = gymnasium.make_vec("CartPole-v1", num_envs=envs, vectorization_mode="sync")
    vector.reset(seed=seed)
    actions = [vector.action_space.sample() for _ in range(32)]

    def plain() -> int:
        for action in actions:
            vector.step(action)
        return envs * len(actions)

    def ours() -> int:
        return int(worker.sample().count)

    rates: dict[str, list[float]] = {"ours": [], "plain": []}
    for call in (plain, ours):
        call()
    for _ in range(7):
        for name, call in (("ours", ours), ("plain", plain)):
            begin, steps = time.process_time(), 0
            while time.process_time() - begin < seconds / 14:
                steps += call()
            rates[name].append(steps / (time.process_time() - begin))
    best = {name: max(values) for name, values in rates.items()}
    return {"value": best["plain"] / best["ours"], **best}


def aktis_agents(policies: str, seed: int, target: float, steps: int) -> dict[str, Any]:
    """Two CartPoles in one environment: with one policy, or with one for each. Steps until both balance."""
    from aktis.rllib.env.multi_agent_env import make_multi_agent

    config = tuned("ppo/cartpole-ppo", seed, env=make_multi_agent("CartPole-v1"), env_config={"num_agents": 2})
    config.rollouts(num_envs_per_worker=4)
    if policies == "separate":
        config.multi_agent(policies={"p0", "p1"}, policy_mapping_fn=lambda agent_id, *args, **kwargs: f"p{agent_id}")
    algorithm = config.build()
    clock = Clock()
    best = 0.0
    for result in iterations(algorithm, steps):
        mean = result["episode_reward_mean"]
        best = max(best, mean) if mean == mean else best
        if best >= target:
            break
    return {**clock.read(), "best": best, "steps": result["num_env_steps_sampled"]}


# -- stable-baselines3 ---------------------------------------------------------------------------------------------------

# environments, steps of each in a batch, minibatch, epochs, gamma, lambda
SB3_SETTINGS = {"tuned": (8, 32, 256, 20, 0.98, 0.8), "default": (1, 2048, 64, 10, 0.99, 0.95)}


def sb3_model(settings: str, seed: int) -> Any:
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env

    torch.set_num_threads(1)
    envs, length, batch, epochs, gamma, lambda_ = SB3_SETTINGS[settings]
    env = make_vec_env("CartPole-v1", n_envs=envs, seed=seed)
    schedules: dict[str, Any] = {}
    if settings == "tuned":
        schedules = {"learning_rate": lambda left: 0.001 * left, "clip_range": lambda left: 0.2 * left}
    return PPO(
        "MlpPolicy", env, n_steps=length, batch_size=batch, n_epochs=epochs, gamma=gamma, gae_lambda=lambda_, seed=seed,
        device="cpu", **schedules,
    )  # fmt: skip


def sb3_reach(example: str, seed: int, target: float, steps: int) -> dict[str, Any]:
    import numpy as np
    from stable_baselines3.common.callbacks import BaseCallback

    found: dict[str, Any] = {"s": None, "cpu_s": None, "steps": None}

    class Watch(BaseCallback):  # type: ignore[misc]
        def _on_rollout_end(self) -> None:
            returns = [episode["r"] for episode in self.model.ep_info_buffer]
            if found["s"] is None and returns and np.mean(returns) >= target:
                found.update(clock.read(), steps=self.num_timesteps)

        def _on_step(self) -> bool:
            return found["s"] is None

    model = sb3_model("tuned", seed)
    clock = Clock()
    model.learn(steps, callback=Watch())
    return found


def sb3_speed(settings: str, seed: int, steps: int) -> dict[str, Any]:
    model = sb3_model(settings, seed)
    clock = Clock()
    model.learn(steps)
    measured = clock.read()
    return {"value": model.num_timesteps / measured["s"], "by_cpu": model.num_timesteps / measured["cpu_s"]}


# -- Ray RLlib -------------------------------------------------------------------------------------------------------------


def ray_algorithm(settings: str, seed: int) -> Any:
    from ray.rllib.algorithms.ppo import PPOConfig

    envs, length, batch, epochs, gamma, lambda_ = SB3_SETTINGS[settings]
    config = (
        PPOConfig()
        .environment("CartPole-v1")
        .debugging(seed=seed)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=envs)
    )
    config.training(
        train_batch_size_per_learner=envs * length, minibatch_size=batch, num_epochs=epochs, gamma=gamma, lambda_=lambda_,
        lr=[[0, 0.001], [100_000, 0.0]], clip_param=0.2, use_kl_loss=False, grad_clip=0.5,
    )  # fmt: skip
    return config.build_algo()


def ray_reach(example: str, seed: int, target: float, steps: int) -> dict[str, Any]:
    algorithm = ray_algorithm("tuned", seed)
    clock, sampled = Clock(), 0
    while sampled < steps and clock.read()["s"] < LIMIT_S:
        runners = algorithm.train()["env_runners"]
        sampled = runners["num_env_steps_sampled_lifetime"]
        if runners.get("episode_return_mean", 0.0) >= target:
            return {**clock.read(), "steps": sampled}
    return {"s": None, "cpu_s": None, "steps": None}


def ray_speed(settings: str, seed: int, steps: int) -> dict[str, Any]:
    algorithm = ray_algorithm(settings, seed)
    algorithm.train()
    clock, begin, sampled = Clock(), None, 0
    while begin is None or sampled - begin < steps:
        sampled = int(algorithm.train()["env_runners"]["num_env_steps_sampled_lifetime"])
        begin = sampled if begin is None else begin
        if clock.read()["s"] > LIMIT_S:
            break
    measured = clock.read()
    return {"value": (sampled - begin) / measured["s"], "by_cpu": (sampled - begin) / measured["cpu_s"]}


def main() -> None:
    program, library = sys.argv[1:3]
    arguments = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
    run: Callable[..., dict[str, Any]] = globals()[f"{library}_{program}"]
    print(json.dumps(run(**arguments)), flush=True)


if __name__ == "__main__":
    main()

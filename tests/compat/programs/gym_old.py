"""An environment and a loop of Gym 0.21, the environment also in actors."""

import gym
import numpy as np
import ray
from gym import spaces
from gym.spaces import Box, Discrete
from gym.utils import seeding


class Corridor(gym.Env):
    metadata = {"render.modes": ["human"]}

    def __init__(self, config=None):
        self.end = (config or {}).get("length", 4)
        self.action_space = Discrete(2)
        self.observation_space = Box(0.0, self.end, shape=(1,), dtype=np.float32)
        self.seed(0)

    def seed(self, seed=None):
        self.np_random, seed = seeding.np_random(seed)
        return [seed]

    def reset(self):
        self.position = 0
        return np.array([self.position], np.float32)

    def step(self, action):
        self.position = max(0, self.position + (1 if action == 1 else -1))
        done = self.position >= self.end
        return np.array([self.position], np.float32), 1.0 if done else -0.1, done, {}


class Doubled(gym.ObservationWrapper):
    def observation(self, observation):
        return observation * 2


@ray.remote
class Runner:
    def __init__(self, make):
        self.env = make()

    def run(self):
        observation, total, done = self.env.reset(), 0.0, False
        while not done:
            observation, reward, done, info = self.env.step(1)
            total += reward
        return round(total, 2), float(observation[0])


ray.init(num_cpus=2, log_to_driver=False)
runner = Runner.remote(Corridor)
print("own", ray.get(runner.run.remote()))
gym.register(id="Corridor-v0", entry_point=Corridor, max_episode_steps=2)
env = gym.make("Corridor-v0")
env.reset()
env.step(1)
print("limit", env.step(1)[2:], env.spec.id)
runner = Runner.remote(lambda: Doubled(Corridor()))
print("wrapped", Doubled(Corridor()).step.__name__, ray.get(runner.run.remote()))
cart = gym.make("CartPole-v1")
cart.seed(1)
first = cart.reset()
cart.seed(1)
print("cart", first.shape, len(cart.step(cart.action_space.sample())), bool((first == cart.reset()).all()))
print("spaces", spaces.Box is Box, isinstance(cart.action_space, gym.spaces.Discrete), gym.__version__)

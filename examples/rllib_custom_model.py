"""A model of one's own: noughts and crosses against a random player, where squares that are taken cannot be chosen.

The environment observes the board and a mask of what is allowed, and the model puts the lowest number there is in the place of
everything else, so the policy never even tries it.

Run: python examples/rllib_custom_model.py
Needs: pip install "aktis-rllib[torch]"
Prints: how many games are won and lost while it learns.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from aktis.rllib.algorithms.ppo import PPOConfig
from aktis.rllib.models import ModelCatalog
from aktis.rllib.models.torch.torch_modelv2 import TorchModelV2

LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))


class NoughtsAndCrosses(gym.Env[dict[str, Any], int]):
    """Winning brings 1, losing -1. The other player moves at random, and begins in half of the games."""

    def __init__(self, env_config: dict[str, Any]) -> None:
        self.action_space = gym.spaces.Discrete(9)
        mask = gym.spaces.Box(0.0, 1.0, (9,), np.float32)
        self.observation_space = gym.spaces.Dict(
            {"board": gym.spaces.Box(-1.0, 1.0, (9,), np.float32), "action_mask": mask}
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        self.board = np.zeros(9, np.float32)
        if self.np_random.random() < 0.5:
            self._other_moves()
        return self._observation(), {}

    def step(self, action: int) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        if self.board[action] != 0:
            raise ValueError(f"square {action} is taken: {self.board}")  # ends the program: the mask must prevent it
        self.board[action] = 1.0
        won = self._has_line(3.0)
        if not won and (self.board == 0).any():
            self._other_moves()
        lost = self._has_line(-3.0)
        over = won or lost or not (self.board == 0).any()
        return self._observation(), float(won) - float(lost), over, False, {}

    def _other_moves(self) -> None:
        self.board[self.np_random.choice(np.flatnonzero(self.board == 0))] = -1.0

    def _has_line(self, total: float) -> bool:
        return any(self.board[list(line)].sum() == total for line in LINES)

    def _observation(self) -> dict[str, Any]:
        return {"board": self.board.copy(), "action_mask": (self.board == 0).astype(np.float32)}


class Masked(TorchModelV2, nn.Module):  # type: ignore[misc]
    """Own and foreign squares go through two layers; what is taken gets the lowest logit."""

    def __init__(
        self, obs_space: Any, action_space: Any, num_outputs: int, model_config: Any, name: str, width: int = 64
    ) -> None:
        TorchModelV2.__init__(self, obs_space, action_space, num_outputs, model_config, name)
        nn.Module.__init__(self)
        self.body = nn.Sequential(nn.Linear(18, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.actions, self.value = nn.Linear(width, num_outputs), nn.Linear(width, 1)

    def forward(self, input_dict: Any, state: list[Tensor], seq_lens: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        board, mask = input_dict["obs"]["board"], input_dict["obs"]["action_mask"]
        self.features = self.body(torch.cat([(board > 0).float(), (board < 0).float()], 1))
        logits = self.actions(self.features)
        return torch.where(mask > 0.5, logits, torch.finfo(logits.dtype).min), state

    def value_function(self) -> Tensor:
        values: Tensor = self.value(self.features).squeeze(1)
        return values


def main() -> None:
    torch.set_num_threads(1)  # enough for networks as small as this
    ModelCatalog.register_custom_model("masked", Masked)
    config = (
        PPOConfig()
        .environment(NoughtsAndCrosses)
        .rollouts(num_rollout_workers=0, num_envs_per_worker=32)
        .training(train_batch_size=1024, sgd_minibatch_size=256, num_sgd_iter=6, lr=0.002, lambda_=0.95)
        .training(entropy_coeff=0.01, model={"custom_model": "masked", "custom_model_config": {"width": 64}})
        .debugging(seed=0)
    )
    algorithm = config.build()
    try:
        for iteration in range(1, 31):
            result = algorithm.train()
            if iteration % 6 == 0 or iteration == 1:
                returns = np.array(result["hist_stats"]["episode_reward"])
                won, lost = (returns > 0).mean(), (returns < 0).mean()
                print(f"{result['timesteps_total']:6,} moves: {won:4.0%} won, {lost:4.0%} lost")
    finally:
        algorithm.stop()
    assert won > 0.8, won
    print("and not one move on a square that was taken")


if __name__ == "__main__":
    main()

"""Several agents with policies of their own: one learns to beat two kinds of players at rock, paper and scissors.

One player learns. The other has a policy that does not, and which of two it has changes from game to game: it copies the last
move that it saw, or it makes the move that would have beaten that. The learner has a memory (an LSTM) and finds out in the
first moves of a game which of them it is.

Run: python examples/rllib_multi_agent.py
Needs: pip install "aktis-rllib[torch]"
Prints: the score against both kinds of players while it learns.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from aktis.rllib.algorithms.ppo import PPOConfig
from aktis.rllib.examples.env.rock_paper_scissors import RockPaperScissors
from aktis.rllib.policy.policy import Policy, PolicySpec

MEMORY = {
    "use_lstm": True,
    "lstm_cell_size": 32,
    "lstm_use_prev_action": True,
    "max_seq_len": 10,
    "fcnet_hiddens": [32],
}
MOVES = 3  # rock, paper, scissors; what is observed is the other's last move, one-hot; 3: there was none


class Copies(Policy):
    """Does what the other player did last."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.view_requirements = {}
        self.rng = np.random.default_rng(0)

    def compute_actions(self, obs_batch: Any, *args: Any, **kwargs: Any) -> Any:
        return self._moves(np.argmax(obs_batch, axis=1)), [], {}

    def _moves(self, seen: Any) -> Any:
        return np.where(seen == MOVES, self.rng.integers(0, MOVES, len(seen)), seen)


class Beats(Copies):
    """Does what would have beaten the other's last move."""

    def _moves(self, seen: Any) -> Any:
        return (super()._moves(seen) + 1) % MOVES


def policy_of(agent_id: str, episode: Any, worker: Any, **kwargs: Any) -> str:
    """The learner is always the same; the other player is another one in each game."""
    if agent_id == "player_0":
        return "learner"
    return "copies" if episode.episode_id % 2 else "beats"


def main() -> None:
    config = (
        PPOConfig()
        .environment(RockPaperScissors)
        .rollouts(num_rollout_workers=0, num_envs_per_worker=8)
        .multi_agent(
            policies={
                "learner": PolicySpec(config={"model": MEMORY}),
                "copies": PolicySpec(policy_class=Copies),
                "beats": PolicySpec(policy_class=Beats),
            },
            policy_mapping_fn=policy_of,
            policies_to_train=["learner"],
        )
        .training(train_batch_size=800, sgd_minibatch_size=200, num_sgd_iter=6, lr=0.005, gamma=0.9, lambda_=0.9)
        .debugging(seed=0)
    )
    algorithm = config.build()
    try:
        for iteration in range(1, 22):
            result = algorithm.train()
            if iteration % 5 == 0 or iteration == 1:
                means = result["policy_reward_mean"]
                print(
                    f"{result['timesteps_total']:6,} moves: the learner wins by {means['learner']:5.2f} of 10; "
                    f"against copies {-means['copies']:5.2f}, against beats {-means['beats']:5.2f}"
                )
        learned = list(result["info"]["learner"])
    finally:
        algorithm.stop()
    assert learned == ["learner"], learned
    assert means["copies"] < -2 and means["beats"] < -1, means
    print("one memory, and both are beaten")


if __name__ == "__main__":
    main()

"""Fitted Q evaluation: the Q function of a given policy, of recorded steps (Le et al. 2019, arXiv 1903.08738, algorithm 3)."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium
import numpy as np
import torch

from aktis.rllib._backend import torch_ops
from aktis.rllib.models.catalog import ModelCatalog
from aktis.rllib.offline.errors import OfflineDataError
from aktis.rllib.offline.estimators.off_policy_estimator import log_likelihoods
from aktis.rllib.policy.sample_batch import SampleBatch

__all__ = ["FQETorchModel"]


class FQETorchModel:
    """Q(s, a) of a policy with discrete actions, by regression to r + gamma sum_a' pi(a'|s') Q'(s', a').

    Args:
        policy: The policy pi.
        gamma: Discount of a step.
        model_config: Of the network: settings of ``MODEL_DEFAULTS``; by default two layers of 32, with ReLU.
        n_iters: How often each ``train`` goes through its batch.
        lr: Of Adam.
        min_loss_threshold: ``train`` ends early below this loss.
        clip_grad_norm: The largest norm of a gradient.
        minibatch_size: Rows of an update; None: the whole batch.
        polyak_coef: How far Q' moves to Q after each iteration: 1 copies.

    Raises:
        ValueError: actions are not discrete.
    """

    def __init__(
        self,
        policy: Any,
        gamma: float,
        model_config: dict[str, Any] | None = None,
        n_iters: int = 1,
        lr: float = 1e-3,
        min_loss_threshold: float = 1e-4,
        clip_grad_norm: float = 100.0,
        minibatch_size: int | None = None,
        polyak_coef: float = 1.0,
    ) -> None:
        if not isinstance(policy.action_space, gymnasium.spaces.Discrete):
            raise ValueError(
                f"fitted Q evaluation needs a discrete action space, and that of the policy is {policy.action_space}"
            )
        self.policy = policy
        self.gamma = gamma
        self.epsilon_greedy = 0.0
        self.n_iters = n_iters
        self.lr = lr
        self.min_loss_threshold = min_loss_threshold
        self.clip_grad_norm = clip_grad_norm
        self.minibatch_size = minibatch_size
        self.polyak_coef = polyak_coef
        self.choices = int(policy.action_space.n)
        self.device = (
            getattr(policy, "device", None)
            if isinstance(getattr(policy, "device", None), torch.device)
            else torch.device("cpu")
        )
        settings = model_config or {"fcnet_hiddens": [32, 32], "fcnet_activation": "relu", "vf_share_layers": True}
        seed = policy.config.get("seed", None) if hasattr(policy, "config") else None
        with torch.random.fork_rng(devices=[]):
            if seed is not None:
                torch.manual_seed(int(seed))
            model: Any = ModelCatalog.get_model_v2(
                obs_space=policy.observation_space,
                action_space=policy.action_space,
                num_outputs=self.choices,
                model_config=settings,
                framework="torch",
                name="TorchQModel",
            )
            self.q_model = model.to(self.device)
        self.target_q_model = copy.deepcopy(self.q_model)
        self._parameters = torch_ops.parameters(self.q_model)
        self.optimizer = torch_ops.adam(self._parameters, lr=lr)
        self._rng = np.random.default_rng(seed)

    def train(self, batch: SampleBatch) -> list[float]:
        """Go through a batch ``n_iters`` times.

        Args:
            batch: ``obs``, ``actions``, ``rewards``, ``new_obs``, ``terminateds``.

        Returns:
            The mean loss of each iteration.

        Raises:
            OfflineDataError: a column is missing.
        """
        missing = [name for name in ("obs", "actions", "rewards", "new_obs", "terminateds") if name not in batch]
        if missing:
            raise OfflineDataError(f"fitted Q evaluation needs the columns {missing}; there are {sorted(batch)}")
        obs, new_obs = self._tensor(batch["obs"]), self._tensor(batch["new_obs"])  # [B, ...]
        actions = torch.as_tensor(np.asarray(batch["actions"]), device=self.device).long()  # [B]
        rewards = self._tensor(np.asarray(batch["rewards"], np.float32))
        goes_on = 1.0 - self._tensor(np.asarray(batch["terminateds"], np.float32))
        next_probs = self._tensor(self._compute_action_probs(batch["new_obs"]))  # pi(.|s'), [B, A]
        rows = len(rewards)
        size = min(self.minibatch_size or rows, rows)
        losses: list[float] = []
        for _ in range(self.n_iters):
            order = torch.as_tensor(self._rng.permutation(rows), device=self.device)
            of_iteration = []
            for part in order.split(size):
                with torch.no_grad():
                    next_values = (next_probs[part] * self._q(self.target_q_model, new_obs[part])).sum(-1)
                    targets = rewards[part] + self.gamma * goes_on[part] * next_values
                values = self._q(self.q_model, obs[part]).gather(1, actions[part, None])[:, 0]
                loss = ((targets - values) ** 2).mean()
                found = torch_ops.gradients(loss, self._parameters)
                clipped, _ = torch_ops.clip_by_global_norm(found, self.clip_grad_norm)
                torch_ops.apply_gradients(self.optimizer, self._parameters, clipped)
                of_iteration.append(float(loss.detach()))
            losses.append(float(np.mean(of_iteration)))
            self.update_target()
            if losses[-1] < self.min_loss_threshold:
                break
        return losses

    def estimate_q(self, batch: SampleBatch) -> np.ndarray[Any, np.dtype[Any]]:
        """Q(s, a) of the steps of a batch, [B]."""
        actions = torch.as_tensor(np.asarray(batch["actions"]), device=self.device).long()
        with torch.no_grad():
            found = self._q(self.q_model, self._tensor(batch["obs"])).gather(1, actions[:, None])[:, 0]
        values: np.ndarray[Any, np.dtype[Any]] = found.cpu().numpy()
        return values

    def estimate_v(self, batch: SampleBatch) -> np.ndarray[Any, np.dtype[Any]]:
        """sum_a pi(a|s) Q(s, a) of the observations of a batch, [B]."""
        with torch.no_grad():
            q = np.asarray(self._q(self.q_model, self._tensor(batch["obs"])).cpu())
        values: np.ndarray[Any, np.dtype[Any]] = (q * self._compute_action_probs(batch["obs"])).sum(-1)
        return values

    def update_target(self, polyak_coef: float | None = None) -> None:
        """Q' <- polyak_coef Q + (1 - polyak_coef) Q'."""
        tau = self.polyak_coef if polyak_coef is None else polyak_coef
        with torch.no_grad():
            for theirs, mine in zip(self.target_q_model.parameters(), self.q_model.parameters(), strict=True):
                theirs.lerp_(mine, tau)

    def _q(self, model: Any, obs: Any) -> Any:
        out, _ = model({"obs": obs, "obs_flat": obs}, [], None)
        return out

    def _tensor(self, values: Any) -> Any:
        array = np.asarray(values)
        return torch.as_tensor(array.astype(np.float32, copy=False), device=self.device)

    def _compute_action_probs(self, obs: Any) -> np.ndarray[Any, np.dtype[Any]]:
        """pi(a|s) of every action, [B, A]."""
        obs = np.asarray(obs)
        rows = len(obs)
        actions = np.tile(np.arange(self.choices), rows)
        logp = log_likelihoods(self.policy, np.repeat(obs, self.choices, axis=0), actions)
        probs: np.ndarray[Any, np.dtype[Any]] = np.exp(logp.astype(np.float32)).reshape(rows, self.choices)
        if self.epsilon_greedy:
            probs = probs * (1.0 - self.epsilon_greedy) + self.epsilon_greedy / self.choices
        return probs

    def get_state(self) -> dict[str, Any]:
        """Networks and optimizer, as arrays."""
        return {
            "policy_state": self.policy.get_state(),
            "model_state": {name: value.cpu().numpy().copy() for name, value in self.q_model.state_dict().items()},
            "target_model_state": {
                name: value.cpu().numpy().copy() for name, value in self.target_q_model.state_dict().items()
            },
            "optimizer_state": torch_ops.optimizer_state(self.optimizer),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what ``get_state`` gave."""
        self.policy.set_state(state["policy_state"])
        for model, name in ((self.q_model, "model_state"), (self.target_q_model, "target_model_state")):
            model.load_state_dict({key: torch.as_tensor(value) for key, value in state[name].items()})
        torch_ops.load_optimizer_state(self.optimizer, state["optimizer_state"])

"""A Gaussian process bandit whose reward changes with time: what PB2 chooses hyperparameters by.

The kernel is that of Ilija Bogunovic, Jonathan Scarlett, Volkan Cevher: "Time-Varying Gaussian Process Bandit
Optimization", AISTATS 2016; the batches are those of Thomas Desautels, Andreas Krause, Joel Burdick: "Parallelizing
Exploration-Exploitation Tradeoffs in Gaussian Process Bandit Optimization", JMLR 15, 2014.

Shapes: N observations, C candidates, D inputs. Inputs lie in [0, 1]^D, times are in rounds.
"""

from __future__ import annotations

import math
import random
from typing import Any

__all__ = ["TimeVaryingGP", "choose"]

JITTER = 1e-6
# Of the hyperparameters that are fitted, in logarithms: length scale of SE, variance of the noise, forgetting omega.
BOUNDS = ((math.log(0.05), math.log(3.0)), (math.log(1e-4), math.log(1.0)), (math.log(1e-4), math.log(0.5)))
START = (math.log(0.5), math.log(0.1), math.log(0.1))


class TimeVaryingGP:
    """A Gaussian process with k((x, t), (x', t')) = SE(x, x') * (1 - omega)^(|t - t'| / 2) (Bogunovic et al., section 2).

    The rewards are standardised, so the variance of SE is 1. Length scale, noise and omega maximise the marginal likelihood.

    Args:
        x_ND: Inputs.
        t_N: Times.
        y_N: Rewards.
        theta: Hyperparameters (logarithms of length scale, noise, omega); None fits them.
    """

    def __init__(self, x_ND: Any, t_N: Any, y_N: Any, theta: Any = None) -> None:
        import numpy as np

        self.x_ND, self.t_N = x_ND, t_N
        spread = float(np.std(y_N))
        self.y_N = np.clip((y_N - np.mean(y_N)) / spread, -3, 3) if spread > 1e-12 else np.zeros_like(y_N)
        self.theta = np.array(START) if theta is None else theta
        if theta is None:
            self.theta = self._fit()
        self._factor(self.theta)

    def _fit(self) -> Any:
        import numpy as np
        from scipy.optimize import minimize

        found = minimize(self._negative_log_likelihood, np.array(START), method="L-BFGS-B", bounds=BOUNDS)
        return found.x if np.all(np.isfinite(found.x)) else np.array(START)

    def _kernel(self, theta: Any, x_AD: Any, t_A: Any, x_BD: Any, t_B: Any) -> Any:
        import numpy as np

        length, _, omega = np.exp(theta)
        squares_AB = np.sum((x_AD[:, None, :] - x_BD[None, :, :]) ** 2, axis=2)
        rounds_AB = np.abs(t_A[:, None] - t_B[None, :])
        return np.exp(-0.5 * squares_AB / length**2) * (1 - omega) ** (rounds_AB / 2)

    def _covariance(self, theta: Any) -> Any:
        import numpy as np

        noise = math.exp(theta[1]) + JITTER
        return self._kernel(theta, self.x_ND, self.t_N, self.x_ND, self.t_N) + noise * np.eye(len(self.t_N))

    def _negative_log_likelihood(self, theta: Any) -> float:
        import numpy as np
        from scipy.linalg import cho_solve, cholesky

        lower_NN = cholesky(self._covariance(theta), lower=True)
        fit = 0.5 * self.y_N @ cho_solve((lower_NN, True), self.y_N)
        return float(fit + np.sum(np.log(np.diag(lower_NN))))

    def _factor(self, theta: Any) -> None:
        from scipy.linalg import cho_solve, cholesky

        self._lower_NN = cholesky(self._covariance(theta), lower=True)
        self._weights_N = cho_solve((self._lower_NN, True), self.y_N)

    def predict(self, x_CD: Any, t_C: Any) -> tuple[Any, Any]:
        """Mean and standard deviation of the (standardised) reward at the candidates."""
        import numpy as np
        from scipy.linalg import solve_triangular

        k_CN = self._kernel(self.theta, x_CD, t_C, self.x_ND, self.t_N)
        explained_NC = solve_triangular(self._lower_NN, k_CN.T, lower=True)
        variance_C = np.maximum(1.0 - np.sum(explained_NC**2, axis=0), 1e-12)
        return k_CN @ self._weights_N, np.sqrt(variance_C)


def choose(
    gp: TimeVaryingGP,
    pending_PD: Any,
    fixed: list[float],
    time: float,
    free: int,
    rng: random.Random,
    candidates: int = 500,
) -> list[float]:
    """The inputs with the highest upper confidence bound: argmax mean(x) + sqrt(beta) * sigma(x) (GP-BUCB, Desautels et al., eq. 7).

    sigma is that of a process which has seen the pending inputs, too: their rewards are not known yet, but the variance does
    not depend on rewards. So a batch spreads.

    Args:
        gp: The process, fitted to what is known.
        pending_PD: Inputs that are being tried now.
        fixed: The first inputs, which cannot be chosen.
        time: The time that the choice is for.
        free: How many inputs are to be chosen.
        rng: For the candidates.
        candidates: How many are looked at before the best ones are refined.

    Returns:
        The chosen inputs, in [0, 1].
    """
    import numpy as np
    from scipy.optimize import minimize

    with_pending = gp
    if len(pending_PD):
        x_MD = np.vstack((gp.x_ND, pending_PD))
        t_M = np.concatenate((gp.t_N, np.full(len(pending_PD), time)))
        with_pending = TimeVaryingGP(x_MD, t_M, np.zeros(len(t_M)), gp.theta)
    # beta_t = c1 + log(c2 t), with the constants of the PB2 paper's authors
    root_beta = math.sqrt(0.2 + max(0.0, math.log(0.4 * len(gp.t_N))))

    def bound(free_CF: Any) -> Any:
        x_CD = np.hstack((np.tile(fixed, (len(free_CF), 1)), free_CF))
        t_C = np.full(len(x_CD), time)
        return gp.predict(x_CD, t_C)[0] + root_beta * with_pending.predict(x_CD, t_C)[1]

    free_CF = np.array([[rng.random() for _ in range(free)] for _ in range(candidates)])
    values_C = bound(free_CF)
    best, best_value = None, -math.inf
    for index in np.argsort(-values_C, kind="stable")[:3]:
        found = minimize(
            lambda x: -float(bound(x[None, :])[0]), free_CF[index], method="L-BFGS-B", bounds=[(0.0, 1.0)] * free
        )
        if -found.fun > best_value:
            best, best_value = found.x, -float(found.fun)
    assert best is not None
    return [min(max(float(value), 0.0), 1.0) for value in best]

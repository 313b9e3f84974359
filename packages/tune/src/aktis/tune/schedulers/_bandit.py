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

__all__ = ["TimeVaryingGP", "check_dependencies", "choose"]

JITTER = 1e-6
# Of the hyperparameters that are fitted, in logarithms: length scale of SE, variance of the noise, forgetting omega.
BOUNDS = ((math.log(0.05), math.log(3.0)), (math.log(1e-4), math.log(1.0)), (math.log(1e-4), math.log(0.5)))
START = (math.log(0.5), math.log(0.1), math.log(0.1))


def check_dependencies() -> None:
    """Import what is needed. ImportError when something is missing."""
    import numpy  # noqa: F401
    import scipy.linalg  # type: ignore[import-untyped,unused-ignore]
    import scipy.optimize  # type: ignore[import-untyped,unused-ignore]  # noqa: F401


class TimeVaryingGP:
    """A Gaussian process with k((x, t), (x', t')) = SE(x, x') * (1 - omega)^(|t - t'| / 2) (Bogunovic et al.).

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
        self._factor()

    def _fit(self) -> Any:
        import numpy as np
        from scipy.optimize import minimize

        distances = _distances(self.x_ND, self.t_N, self.x_ND, self.t_N)
        found = minimize(
            lambda theta: self.negative_log_likelihood(theta, distances),
            np.array(START),
            jac=True,
            method="L-BFGS-B",
            bounds=BOUNDS,
            options={"maxiter": 30},
        )
        return found.x if np.all(np.isfinite(found.x)) else np.array(START)

    def negative_log_likelihood(self, theta: Any, distances: tuple[Any, Any]) -> tuple[float, Any]:
        """-log p(y | theta), but for a constant, and its gradient (Rasmussen and Williams, "Gaussian Processes", eq. 5.8, 5.9)."""
        import numpy as np
        from scipy.linalg import cho_solve, cholesky

        length, noise, omega = np.exp(theta)
        squares_NN, rounds_NN = distances
        k_NN = _kernel(theta, distances)
        identity_NN = np.eye(len(self.y_N))
        lower_NN = cholesky(k_NN + (noise + JITTER) * identity_NN, lower=True)
        inverse_NN = cho_solve((lower_NN, True), identity_NN)
        weights_N = inverse_NN @ self.y_N
        value = 0.5 * self.y_N @ weights_N + np.sum(np.log(np.diag(lower_NN)))
        slope_NN = inverse_NN - np.outer(weights_N, weights_N)
        slope_k_NN = slope_NN * k_NN
        gradient = 0.5 * np.array(
            [
                np.sum(slope_k_NN * squares_NN) / length**2,
                np.trace(slope_NN) * noise,
                -np.sum(slope_k_NN * rounds_NN) / 2 * omega / (1 - omega),
            ]
        )
        return float(value), gradient

    def _factor(self) -> None:
        import numpy as np
        from scipy.linalg import cho_solve, cholesky

        k_NN = _kernel(self.theta, _distances(self.x_ND, self.t_N, self.x_ND, self.t_N))
        noise = math.exp(self.theta[1]) + JITTER
        self._lower_NN = cholesky(k_NN + noise * np.eye(len(self.t_N)), lower=True)
        self._weights_N = cho_solve((self._lower_NN, True), self.y_N)

    def predict(self, x_CD: Any, t_C: Any) -> tuple[Any, Any]:
        """Mean and standard deviation of the (standardised) reward at the candidates."""
        import numpy as np
        from scipy.linalg import solve_triangular

        k_CN = _kernel(self.theta, _distances(x_CD, t_C, self.x_ND, self.t_N))
        explained_NC = solve_triangular(self._lower_NN, k_CN.T, lower=True)
        variance_C = np.maximum(1.0 - np.sum(explained_NC**2, axis=0), 1e-12)
        return k_CN @ self._weights_N, np.sqrt(variance_C)


def _distances(x_AD: Any, t_A: Any, x_BD: Any, t_B: Any) -> tuple[Any, Any]:
    """Squared distances of inputs, and distances of times."""
    import numpy as np

    squares_AB = np.sum(x_AD**2, axis=1)[:, None] + np.sum(x_BD**2, axis=1)[None, :] - 2 * x_AD @ x_BD.T
    return np.maximum(squares_AB, 0.0), np.abs(t_A[:, None] - t_B[None, :])


def _kernel(theta: Any, distances: tuple[Any, Any]) -> Any:
    import numpy as np

    length, _, omega = np.exp(theta)
    squares_AB, rounds_AB = distances
    return np.exp(-0.5 * squares_AB / length**2 + 0.5 * math.log1p(-omega) * rounds_AB)


def choose(
    gp: TimeVaryingGP,
    pending_PD: Any,
    fixed: list[float],
    time: float,
    free: int,
    rng: random.Random,
    candidates: int = 500,
) -> list[float]:
    """The inputs with the highest upper confidence bound: argmax mean(x) + sqrt(beta) * sigma(x) (GP-BUCB, Desautels et al.).

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

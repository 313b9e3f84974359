"""Steps of gradient descent on one vector, in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = np.ndarray[Any, np.dtype[np.float32]]


class SGD:
    """v <- momentum v + (1 - momentum) g; theta <- theta - stepsize v.

    Args:
        size: Length of theta.
        stepsize: Learning rate.
        momentum: Of v.
    """

    def __init__(self, size: int, stepsize: float, momentum: float = 0.9) -> None:
        self.stepsize, self.momentum = stepsize, momentum
        self.v: Vector = np.zeros(size, np.float32)

    def update(self, theta: Vector, gradient: Vector) -> tuple[Vector, float]:
        """The next theta, and how long the step is, as a share of theta's length."""
        self.v = self.momentum * self.v + (1.0 - self.momentum) * gradient
        return _moved(theta, -self.stepsize * self.v)

    def get_state(self) -> dict[str, Any]:
        """What the next step depends on."""
        return {"v": self.v}

    def set_state(self, state: Any) -> None:
        """Take over what `get_state` gave."""
        self.v = np.asarray(state["v"], np.float32)


class Adam:
    """Kingma and Ba (2015), algorithm 1.

    Args:
        size: Length of theta.
        stepsize: Learning rate.
        beta1: Decay of the mean.
        beta2: Decay of the mean of squares.
        epsilon: Added to its root.
    """

    def __init__(
        self, size: int, stepsize: float, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
    ) -> None:
        self.stepsize, self.beta1, self.beta2, self.epsilon = stepsize, beta1, beta2, epsilon
        self.m: Vector = np.zeros(size, np.float32)
        self.v: Vector = np.zeros(size, np.float32)
        self.t = 0

    def update(self, theta: Vector, gradient: Vector) -> tuple[Vector, float]:
        """The next theta, and how long the step is, as a share of theta's length."""
        self.t += 1
        self.m = self.beta1 * self.m + (1.0 - self.beta1) * gradient
        self.v = self.beta2 * self.v + (1.0 - self.beta2) * gradient * gradient
        rate = self.stepsize * np.sqrt(1.0 - self.beta2**self.t) / (1.0 - self.beta1**self.t)
        return _moved(theta, -rate * self.m / (np.sqrt(self.v) + self.epsilon))

    def get_state(self) -> dict[str, Any]:
        """What the next step depends on."""
        return {"m": self.m, "v": self.v, "t": self.t}

    def set_state(self, state: Any) -> None:
        """Take over what `get_state` gave."""
        self.m, self.v, self.t = np.asarray(state["m"], np.float32), np.asarray(state["v"], np.float32), int(state["t"])


def _moved(theta: Vector, step: NDArray[Any]) -> tuple[Vector, float]:
    ratio = float(np.linalg.norm(step)) / max(float(np.linalg.norm(theta)), 1e-12)
    return (theta + step).astype(np.float32), ratio

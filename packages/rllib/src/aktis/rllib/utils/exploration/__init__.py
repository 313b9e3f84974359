"""How actions deviate from what a policy thinks best."""

from __future__ import annotations

from typing import Any

_HERE = "aktis.rllib.utils.exploration"
_NAMES = {
    "Curiosity": f"{_HERE}.curiosity",
    "EpsilonGreedy": f"{_HERE}.epsilon_greedy",
    "Exploration": f"{_HERE}.exploration",
    "GaussianNoise": f"{_HERE}.gaussian_noise",
    "OrnsteinUhlenbeckNoise": f"{_HERE}.ornstein_uhlenbeck_noise",
    "ParameterNoise": f"{_HERE}.parameter_noise",
    "PerWorkerEpsilonGreedy": f"{_HERE}.per_worker_epsilon_greedy",
    "PerWorkerGaussianNoise": f"{_HERE}.per_worker_gaussian_noise",
    "PerWorkerOrnsteinUhlenbeckNoise": f"{_HERE}.per_worker_ornstein_uhlenbeck_noise",
    "RE3": f"{_HERE}.random_encoder",
    "Random": f"{_HERE}.random",
    "SoftQ": f"{_HERE}.soft_q",
    "StochasticSampling": f"{_HERE}.stochastic_sampling",
    "ThompsonSampling": f"{_HERE}.thompson_sampling",
    "UpperConfidenceBound": f"{_HERE}.upper_confidence_bound",
}

__all__ = sorted(_NAMES)


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(_NAMES[name]), name)
    except ModuleNotFoundError as e:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}: {e}") from e
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})

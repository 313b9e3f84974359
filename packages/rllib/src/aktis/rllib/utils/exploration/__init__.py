"""How actions deviate from what a policy thinks best."""

from __future__ import annotations

from aktis.util.lazy import lazy_names

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

__getattr__, __dir__ = lazy_names(__name__, _NAMES)

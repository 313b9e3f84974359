"""Acting with small dense networks in NumPy: a call into a framework costs more than their arithmetic.

Guarantees: probabilities, values and best actions are those of the framework within rounding (compared when the
    policy is made); samples come from
`policy.rng`. With PyTorch on the CPU, NumPy and the framework share the memory of the weights; otherwise they are
copied once after each update.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from aktis.rllib.policy._neural.blas import one_thread
from aktis.rllib.policy._neural.dense import DenseNet
from aktis.rllib.policy._neural.numpy_dists import NumpyCategorical, NumpyDeterministic, NumpyDiagGaussian

# Above so many parameters the arithmetic costs more than the calls, and a framework does it with several processors.
MAX_PARAMETERS = 300_000

# Multiplications in a layer from which OpenBLAS takes several threads (its own bound is 2^18).
_THREADED = 200_000

_DISTS = {"Categorical": NumpyCategorical, "DiagGaussian": NumpyDiagGaussian, "Deterministic": NumpyDeterministic}


class FastInference:
    """Acts for a policy.

    Args:
        policy: The policy.
        net: Its networks; their parameters are the policy's.
        dist_class: Its distribution in NumPy.
    """

    def __init__(self, policy: Any, net: DenseNet, dist_class: Any) -> None:
        self.policy = policy
        self.net = net
        self.dist_class = dist_class
        self.shared = policy._share_memory(net)
        self.stale = True
        shape = getattr(policy.action_space, "shape", ()) or ()
        self._shape = tuple(shape) if dist_class is not NumpyCategorical and len(shape) != 1 else None
        self._width = int(net.pieces[0].shape[-1])
        self._widest = max(int(np.prod(piece.shape)) for piece in net.pieces)
        self._plain_extra = _plain_extra(policy)
        self._values = _Values()

    def takes(self, input_dict: Any) -> bool:
        """Whether the observations are rows of numbers."""
        obs = dict.get(input_dict, "obs") if isinstance(input_dict, dict) else None
        return type(obs) is np.ndarray and obs.ndim >= 1 and obs.size == len(obs) * self._width and len(obs) > 0

    def refresh(self) -> None:
        """Make sure that the weights are those of the model."""
        if self.shared and any(not _lies_in(piece, self.net) for piece in self.net.pieces):
            self.shared = self.policy._share_memory(self.net)  # somebody gave parameters other memory
        if not self.shared:
            current = DenseNet(self.policy.model.layers())  # layers may be new tensors each time
            self.net.load([self.policy.ops.as_numpy(piece.parameter) for piece in current.pieces])
        self.stale = False

    def act(self, obs: Any, explore: bool) -> tuple[Any, dict[str, Any]]:
        """Actions, and columns of what else was computed."""
        if self.stale:
            self.refresh()
        if obs.dtype != np.float32:
            obs = obs.astype(np.float32)
        if obs.ndim != 2:
            obs = obs.reshape(len(obs), -1)
        inputs, values = self._forward(obs)
        dist = self.dist_class(inputs)
        if explore:
            actions = dist.sample(self.policy.rng)
            logp = dist.logp(actions)
            prob = np.exp(logp)
        else:
            actions = dist.deterministic_sample()
            logp = np.zeros(len(inputs), np.float32)
            prob = np.ones(len(inputs), np.float32)
        if self._shape is not None:
            actions = actions.reshape(-1, *self._shape)
        extra: dict[str, Any] = {}
        if self._plain_extra is None:
            self._values.values = values
            extra.update(self.policy.extra_action_out({"obs": obs}, [], self._values, dist))
        elif self._plain_extra:
            extra["vf_preds"] = values
        extra["action_dist_inputs"] = inputs
        extra["action_prob"] = prob
        extra["action_logp"] = logp
        return actions, extra

    def values_of(self, obs: Any) -> Any:
        """Values [B] of observations."""
        if self.stale:
            self.refresh()
        return self._forward(np.asarray(obs, np.float32).reshape(len(obs), -1))[1]

    def _forward(self, obs: Any) -> tuple[Any, Any]:
        if len(obs) * self._widest < _THREADED:
            return self.net.forward(obs)
        with one_thread():
            return self.net.forward(obs)


def _lies_in(piece: Any, net: DenseNet) -> bool:
    return bool(piece.parameter.data_ptr() == net.flat.ctypes.data + net.flat.itemsize * piece.start)


class _Values:
    """What `extra_action_out` gets for a model."""

    values: Any = None

    def value_function(self) -> Any:
        """Values [B] of the observations."""
        return self.values


def _plain_extra(policy: Any) -> bool | None:
    """Whether `extra_action_out` gives the values and nothing else (True), or nothing (False); None if it is to be called."""
    from aktis.rllib.policy._neural.acting import Acting, values_as_extra

    method = type(policy).extra_action_out
    if method is Acting.extra_action_out:
        return False
    return True if method is values_as_extra else None


def numpy_dist(dist_class: Any) -> Any:
    """The class in NumPy of a distribution of ours, or None."""
    base = getattr(dist_class, "func", dist_class)
    keywords = set(getattr(dist_class, "keywords", {}))
    module, name = getattr(base, "__module__", ""), getattr(base, "__name__", "")
    if not module.startswith("aktis.rllib.models.") or keywords - {"action_space"}:
        return None
    return _DISTS.get(name.removeprefix("Torch").removeprefix("TF"))


def make_fast(policy: Any) -> FastInference | None:
    """What acts for a policy without its framework; None where that cannot be."""
    from aktis.rllib.utils.exploration.stochastic_sampling import StochasticSampling

    exploration = policy.exploration
    dist_class = numpy_dist(policy.dist_class)
    network = getattr(policy.model, "layers", lambda: None)()
    if (
        dist_class is None
        or network is None
        or policy._sampler is not None
        or policy._distribution is not None
        or policy._overrides_acting()
        or type(exploration) is not StochasticSampling
        or exploration.random_timesteps
    ):
        return None
    try:
        net = DenseNet(network)
    except ValueError:
        return None
    if len(net.flat) > MAX_PARAMETERS:
        return None
    fast = FastInference(policy, net, dist_class)
    return fast if _agrees(policy, fast) else None


def _agrees(policy: Any, fast: FastInference) -> bool:
    """Whether both ways give the same for a few observations."""
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(4, fast._width)).astype(np.float32).reshape(4, *policy.observation_space.shape)
    time = policy.global_timestep
    _, _, slow = policy.compute_actions_from_input_dict({"obs": obs}, explore=False)
    policy.global_timestep = time
    try:
        _, quick = fast.act(obs, explore=False)
    except (AttributeError, TypeError, KeyError, ValueError):  # an extra_action_out that wants more than values
        return False
    if set(slow) != set(quick):
        return False
    return all(np.allclose(slow[key], quick[key], rtol=1e-3, atol=1e-4) for key in slow)

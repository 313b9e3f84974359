"""What every framework's action distributions have to give: compared with SciPy, and with the mean over many samples.

`Checks` is derived once for each framework, with `tensor` and `array` between NumPy and its tensors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.special
import scipy.stats
from gymnasium import spaces

from aktis.rllib.models.catalog import MODEL_DEFAULTS, ModelCatalog
from aktis.rllib.utils.spaces.simplex import Simplex

ROWS = 3


class Model:
    """As much of a model as a distribution asks for."""

    def __init__(self, generator: Any) -> None:
        self.generator = generator


def softplus(x: Any) -> Any:
    return np.log1p(np.exp(x))


class Checks:
    framework: str

    # ---- what each framework defines

    def tensor(self, x: Any) -> Any:
        raise NotImplementedError

    def array(self, x: Any) -> Any:
        raise NotImplementedError

    def classes(self) -> dict[str, Any]:
        from aktis.rllib.models._choice import Names

        return Names(self.framework).dist

    def ops(self) -> Any:
        from aktis.rllib._backend import ops_for

        return ops_for(self.framework)

    def make(self, cls: Any, inputs: Any, seed: int = 0, **kwargs: Any) -> Any:
        return cls(self.tensor(np.asarray(inputs, np.float32)), Model(self.ops().generator(seed)), **kwargs)

    def of_space(self, space: Any, inputs: Any = None, seed: int = 0, **kwargs: Any) -> Any:
        made, size = ModelCatalog.get_action_dist(space, MODEL_DEFAULTS, framework=self.framework, **kwargs)
        if inputs is None:
            inputs = np.random.default_rng(7).normal(size=(ROWS, size))
        return self.make(made, inputs, seed)

    # ---- densities, entropies, divergences

    def test_categorical(self) -> None:
        logits = np.array([[0.0, 1.0, -2.0], [3.0, 3.0, 0.0]])
        dist = self.of_space(spaces.Discrete(3), logits)
        p = scipy.special.softmax(logits, axis=1)
        got = self.array(dist.logp(self.tensor(np.array([2, 0]))))
        np.testing.assert_allclose(got, np.log([p[0, 2], p[1, 0]]), rtol=1e-5)
        np.testing.assert_allclose(self.array(dist.entropy()), scipy.stats.entropy(p, axis=1), rtol=1e-5)
        assert self.array(dist.deterministic_sample()).tolist() == [1, 0]
        other = np.array([[0.5, 0.0, 0.0], [-1.0, 0.0, 1.0]])
        q = scipy.special.softmax(other, axis=1)
        kl = self.array(dist.kl(self.of_space(spaces.Discrete(3), other)))
        np.testing.assert_allclose(kl, scipy.stats.entropy(p, q, axis=1), rtol=1e-5)

    @pytest.mark.parametrize("mask", [-3.4028235e38, -np.inf])
    def test_masked_choices_are_impossible_and_make_no_nan(self, mask: float) -> None:
        dist = self.of_space(spaces.Discrete(3), [[1.0, mask, 2.0]] * 500)
        assert set(self.array(dist.sample()).tolist()) == {0, 2}
        other = self.of_space(spaces.Discrete(3), [[2.0, mask, 1.0]] * 500)
        p = scipy.special.softmax([1.0, 2.0])
        np.testing.assert_allclose(self.array(dist.entropy())[0], scipy.stats.entropy(p), rtol=1e-5)
        np.testing.assert_allclose(self.array(dist.kl(other))[0], scipy.stats.entropy(p, p[::-1]), rtol=1e-5)

    def test_temperature(self) -> None:
        dist = self.make(self.classes()["Categorical"], [[1.0, 2.0]], temperature=0.5)
        want = np.log(scipy.special.softmax([2.0, 4.0])[1])
        np.testing.assert_allclose(self.array(dist.logp(self.tensor(np.array([1])))), [want], rtol=1e-5)
        with pytest.raises(ValueError, match="above zero"):
            self.make(self.classes()["Categorical"], [[1.0, 2.0]], temperature=0.0)

    def test_multi_categorical(self) -> None:
        space = spaces.MultiDiscrete([2, 3])
        inputs = np.array([[0.0, 1.0, 0.5, 0.0, 2.0]])
        dist = self.of_space(space, inputs)
        p, q = scipy.special.softmax(inputs[0, :2]), scipy.special.softmax(inputs[0, 2:])
        got = self.array(dist.logp(self.tensor(np.array([[1, 0]]))))
        np.testing.assert_allclose(got, [np.log(p[1]) + np.log(q[0])], rtol=1e-5)
        parts = self.array(dist.multi_entropy())
        np.testing.assert_allclose(parts, [[scipy.stats.entropy(p), scipy.stats.entropy(q)]], rtol=1e-5)
        np.testing.assert_allclose(self.array(dist.entropy()), parts.sum(1), rtol=1e-5)
        other = self.of_space(space, np.zeros((1, 5)))
        want = scipy.stats.entropy(p, [0.5, 0.5]) + scipy.stats.entropy(q, [1 / 3] * 3)
        np.testing.assert_allclose(self.array(dist.kl(other)), [want], rtol=1e-5)
        assert self.array(dist.multi_kl(other)).shape == (1, 2)

    def test_diag_gaussian(self) -> None:
        space = spaces.Box(-1, 1, (2,))
        mean, log_std = np.array([[0.0, 1.0]]), np.array([[-0.5, 0.7]])
        dist = self.of_space(space, np.concatenate([mean, log_std], 1))
        want = scipy.stats.norm(mean, np.exp(log_std))
        x = np.array([[0.3, -1.0]])
        np.testing.assert_allclose(
            self.array(dist.logp(self.tensor(x.astype(np.float32)))), want.logpdf(x).sum(1), rtol=1e-5
        )
        np.testing.assert_allclose(self.array(dist.entropy()), want.entropy().sum(1), rtol=1e-5)
        np.testing.assert_allclose(self.array(dist.deterministic_sample()), mean)
        other = self.of_space(space, [[0.5, 0.5, 0.2, -0.1]])
        std, std2 = np.exp(log_std), np.exp([[0.2, -0.1]])
        kl = np.log(std2 / std) + (std**2 + (mean - 0.5) ** 2) / (2 * std2**2) - 0.5
        np.testing.assert_allclose(self.array(dist.kl(other)), kl.sum(1), rtol=1e-5)

    def test_squashed_gaussian(self) -> None:
        cls = self.classes()["SquashedGaussian"]
        inputs = np.array([[0.3, -0.8, -0.4, 0.1]])
        dist = self.make(cls, inputs, low=-2.0, high=6.0)
        u = np.array([[0.1, -1.5]])
        x = (np.tanh(u) + 1) * 4.0 - 2.0
        normal = scipy.stats.norm(inputs[:, :2], np.exp(inputs[:, 2:]))
        want = (normal.logpdf(u) - np.log(4.0 * (1 - np.tanh(u) ** 2))).sum(1)
        np.testing.assert_allclose(self.array(dist.logp(self.tensor(x.astype(np.float32)))), want, rtol=1e-4)
        action, logp = dist.sample_logp()
        np.testing.assert_allclose(self.array(dist.logp(action)), self.array(logp), rtol=1e-3)
        np.testing.assert_allclose(self.array(dist.sampled_action_logp()), self.array(logp))
        # Entropy by numeric integration of each dimension.
        grid = np.linspace(-12, 12, 40001)[:, None]
        density = normal.pdf(grid)
        integrand = -density * (normal.logpdf(grid) - np.log(4.0) - 2 * (np.log(2) - grid - softplus(-2 * grid)))
        entropy = (
            np.trapezoid(integrand, grid, axis=0).sum()
            if hasattr(np, "trapezoid")
            else np.trapz(integrand, grid, axis=0).sum()
        )
        np.testing.assert_allclose(self.array(dist.entropy()), [entropy], rtol=1e-3)
        # The divergence is that before tanh.
        other = np.array([[0.0, 0.0, 0.0, 0.0]])
        gaussians = [self.make(self.classes()["DiagGaussian"], i) for i in (inputs, other)]
        got = self.array(dist.kl(self.make(cls, other, low=-2.0, high=6.0)))
        np.testing.assert_allclose(got, self.array(gaussians[0].kl(gaussians[1])), rtol=1e-5)

    def test_squashed_gaussian_far_out_is_finite(self) -> None:
        dist = self.make(self.classes()["SquashedGaussian"], [[30.0, -30.0, -5.0, -5.0]])
        action, logp = dist.sample_logp()
        assert np.all(np.abs(self.array(action)) <= 1.0)
        assert np.isfinite(self.array(logp)).all()
        assert np.isfinite(self.array(dist.logp(action))).all()

    def test_beta(self) -> None:
        cls = self.classes()["Beta"]
        inputs = np.array([[0.3, -1.0, 2.0, 0.5]])
        dist = self.make(cls, inputs, low=-1.0, high=3.0)
        a, b = softplus(inputs[:, :2]) + 1, softplus(inputs[:, 2:]) + 1
        want = scipy.stats.beta(a, b, loc=-1.0, scale=4.0)
        x = np.array([[0.2, 2.5]])
        np.testing.assert_allclose(
            self.array(dist.logp(self.tensor(x.astype(np.float32)))), want.logpdf(x).sum(1), rtol=1e-4
        )
        np.testing.assert_allclose(self.array(dist.entropy()), want.entropy().sum(1), rtol=1e-4)
        np.testing.assert_allclose(self.array(dist.deterministic_sample()), want.mean(), rtol=1e-5)
        self._kl_is_the_mean_of_log_ratios(cls, inputs, inputs[:, ::-1] * 0.5, low=-1.0, high=3.0)

    def test_dirichlet(self) -> None:
        cls = self.classes()["Dirichlet"]
        inputs = np.array([[0.3, 1.0, -0.5]])
        dist = self.make(cls, inputs)
        want = scipy.stats.dirichlet(np.exp(inputs[0]))
        x = np.array([[0.2, 0.5, 0.3]], np.float32)
        np.testing.assert_allclose(self.array(dist.logp(self.tensor(x))), [want.logpdf(x[0] / x[0].sum())], rtol=1e-4)
        np.testing.assert_allclose(self.array(dist.entropy()), [want.entropy()], rtol=1e-4)
        np.testing.assert_allclose(self.array(dist.deterministic_sample()), [want.mean()], rtol=1e-5)
        self._kl_is_the_mean_of_log_ratios(cls, inputs, inputs[:, ::-1] + 0.5)

    def _kl_is_the_mean_of_log_ratios(self, cls: Any, mine: Any, theirs: Any, **kwargs: Any) -> None:
        count = 60_000
        dist, other = (
            self.make(cls, np.repeat(mine, count, 0), **kwargs),
            self.make(cls, np.repeat(theirs, count, 0), **kwargs),
        )
        x = dist.sample()
        ratios = self.array(dist.logp(x)) - self.array(other.logp(x))
        error = 5 * ratios.std() / np.sqrt(count)
        assert abs(ratios.mean() - self.array(dist.kl(other))[0]) < error

    def test_gumbel_softmax(self) -> None:
        dist = self.make(self.classes()["GumbelSoftmax"], [[0.5, -0.5]], temperature=0.7)
        # The density over the simplex of two choices integrates to one.
        x = np.linspace(0.0005, 0.9995, 4000, dtype=np.float32)
        many = self.make(self.classes()["GumbelSoftmax"], np.repeat([[0.5, -0.5]], len(x), 0), temperature=0.7)
        density = np.exp(self.array(many.logp(self.tensor(np.stack([x, 1 - x], 1)))))
        assert abs(float(np.sum(density) * (x[1] - x[0])) - 1.0) < 0.02
        sample = self.array(dist.sample())
        np.testing.assert_allclose(sample.sum(1), [1.0], rtol=1e-5)
        np.testing.assert_allclose(
            self.array(dist.deterministic_sample()), [scipy.special.softmax([0.5, -0.5])], rtol=1e-5
        )

    def test_deterministic(self) -> None:
        dist = self.of_space(spaces.Box(-1, 1, (2,)), [[0.1, 0.2]], dist_type="deterministic")
        np.testing.assert_allclose(self.array(dist.sample()), [[0.1, 0.2]])
        assert self.array(dist.sampled_action_logp()).tolist() == [0.0]
        assert self.array(dist.entropy()).tolist() == [0.0]

    # ---- every space

    @pytest.mark.parametrize(
        "space",
        [
            spaces.Discrete(4),
            spaces.MultiDiscrete([2, 3]),
            spaces.MultiDiscrete(np.array([[2, 3], [4, 2]])),
            spaces.MultiBinary(3),
            spaces.MultiBinary([2, 2]),
            spaces.Box(-1, 1, (2,)),
            spaces.Box(-1, 1, (2, 3)),
            spaces.Box(-1, 1, ()),
            spaces.Box(0, 3, (2,), np.int64),
            Simplex((3,)),
            Simplex((2, 3)),
            spaces.Dict(a=spaces.Discrete(3), b=spaces.Tuple([spaces.Box(-1, 1, (2,)), spaces.MultiDiscrete([2, 2])])),
        ],
        ids=str,
    )
    def test_samples_of_a_space_have_its_structure_and_their_logp(self, space: Any) -> None:
        import tree

        dist = self.of_space(space)
        for draw in (dist.sample, dist.deterministic_sample):
            action = draw()
            want = tree.map_structure(lambda x: (ROWS, *np.shape(x)), _plain(space.sample()))
            shapes = tree.map_structure(lambda x: tuple(self.array(x).shape), action)
            assert tree.flatten_up_to(shapes, shapes) == tree.flatten_up_to(want, want)
            np.testing.assert_allclose(
                self.array(dist.sampled_action_logp()), self.array(dist.logp(action)), rtol=2e-3, atol=1e-4
            )
        assert self.array(dist.entropy()).shape == (ROWS,)
        np.testing.assert_allclose(self.array(dist.kl(self.of_space(space))), np.zeros(ROWS), atol=1e-5)
        assert (self.array(dist.kl(self.of_space(space, self.array(dist.inputs)[::-1] * 0.5))) > -1e-5).all()

    def test_flattened_actions_of_a_dict(self) -> None:
        space = spaces.Dict(b=spaces.Discrete(3), a=spaces.Box(-1, 1, (2,)))
        dist = self.of_space(space)
        action = dist.sample()
        flat = np.concatenate([self.array(action["a"]), self.array(action["b"])[:, None]], 1).astype(np.float32)
        np.testing.assert_allclose(self.array(dist.logp(self.tensor(flat))), self.array(dist.logp(action)), rtol=1e-5)

    # ---- chance

    def test_the_generator_of_the_model_decides(self) -> None:
        for space in (spaces.Discrete(50), spaces.Box(-1, 1, (2,)), Simplex((3,))):
            first, again, other = (self.array(self.of_space(space, seed=s).sample()) for s in (1, 1, 2))
            np.testing.assert_array_equal(first, again)
            assert not np.array_equal(first, other)

    def test_frequencies(self) -> None:
        logits = np.array([0.0, 1.0, -1.0])
        drawn = self.array(self.of_space(spaces.Discrete(3), np.repeat(logits[None], 20_000, 0)).sample())
        counts = np.bincount(drawn, minlength=3)
        assert scipy.stats.chisquare(counts, scipy.special.softmax(logits) * 20_000).pvalue > 1e-4
        drawn = self.array(self.of_space(spaces.Box(-1, 1, (1,)), np.repeat([[0.5, -1.0]], 5_000, 0)).sample())
        assert scipy.stats.kstest(drawn[:, 0], scipy.stats.norm(0.5, np.exp(-1)).cdf).pvalue > 1e-4

    def test_logp_of_nothing_drawn(self) -> None:
        with pytest.raises(ValueError, match="call sample"):
            self.of_space(spaces.Discrete(2)).sampled_action_logp()


def _plain(value: Any) -> Any:
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, dict) else value

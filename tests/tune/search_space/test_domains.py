"""Domains: what can be drawn, what cannot be written, and that seeds decide."""

import math
import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aktis.tune.search import sample as space

SEEDS = st.integers(0, 2**32 - 1)
RANDOM_STATES = {
    "seed": lambda seed: seed,
    "generator": np.random.default_rng,
    "legacy": np.random.RandomState,
    "python": random.Random,
}
BOUNDS = st.tuples(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6)).map(lambda pair: (pair[0], pair[0] + pair[1]))
POSITIVE = st.tuples(st.floats(1e-9, 1e3), st.floats(1.0, 1e6)).map(lambda pair: (pair[0], pair[0] * pair[1]))


def drawn(domain, seed, kind="generator", size=20):
    state = RANDOM_STATES[kind](seed)
    one = domain.sample(random_state=state)
    return [one, *domain.sample(size=size, random_state=state)]


@given(BOUNDS, SEEDS, st.sampled_from(sorted(RANDOM_STATES)))
def test_uniform_stays_within_its_bounds(bounds, seed, kind):
    lower, upper = bounds
    values = drawn(space.uniform(lower, upper), seed, kind)
    assert all(lower <= value <= upper for value in values)
    assert type(values[0]) is float


@given(POSITIVE, SEEDS, st.sampled_from([2, 10, math.e, 0.5]))
def test_loguniform_stays_within_its_bounds(bounds, seed, base):
    lower, upper = bounds
    assert all(lower <= value <= upper for value in drawn(space.loguniform(lower, upper, base), seed))


def test_loguniform_is_uniform_over_orders_of_magnitude():
    values = np.log10(space.loguniform(1e-4, 1e4).sample(size=20_000, random_state=3))
    counts, _ = np.histogram(values, bins=8, range=(-4, 4))
    assert counts.min() > 2_300 and counts.max() < 2_700


@given(st.integers(-1000, 1000), st.integers(1, 1000), SEEDS, st.sampled_from(sorted(RANDOM_STATES)))
def test_randint_leaves_the_upper_bound_out(lower, width, seed, kind):
    values = drawn(space.randint(lower, lower + width), seed, kind)
    assert all(lower <= value < lower + width for value in values)
    assert type(values[0]) is int


@pytest.mark.parametrize(
    ("domain", "values"),
    [
        (space.randint(2, 5), {2, 3, 4}),
        (space.lograndint(2, 5), {2, 3, 4}),
        (space.qrandint(2, 5), {2, 3, 4, 5}),
        (space.qrandint(0, 10, 5), {0, 5, 10}),
        (space.qrandint(1, 11, 5), {5, 10}),
        (space.qlograndint(2, 10, 4), {4, 8}),
        (space.qlograndint(1, 4, 1), {1, 2, 3, 4}),
        (space.quniform(0, 1, 0.25), {0.0, 0.25, 0.5, 0.75, 1.0}),
        (space.quniform(0, 3, 1), {0.0, 1.0, 2.0, 3.0}),
        (space.quniform(0, 0.3, 0.1), {0.0, 0.1, 0.2, 0.3}),  # 0.3, not 0.30000000000000004
        (space.qloguniform(0.5, 2, 0.5), {0.5, 1.0, 1.5, 2.0}),
        (space.choice(["a", "b", None]), {"a", "b", None}),
    ],
    ids=repr,
)
def test_exactly_these_values_are_drawn(domain, values):
    assert set(domain.sample(size=500, random_state=1)) == values
    state = np.random.default_rng(2)
    assert {domain.sample(random_state=state) for _ in range(500)} == values
    assert all(domain.is_valid(value) for value in values)


def test_every_multiple_is_as_likely():
    values = space.qrandint(0, 10, 5).sample(size=9_000, random_state=0)
    assert all(2_800 < values.count(value) < 3_200 for value in (0, 5, 10))


@given(st.integers(-50, 50), st.integers(0, 50), st.sampled_from([0.1, 0.25, 0.3, 1e-5, 7, 1 / 3, 1e20]), SEEDS)
def test_quantised_floats_are_multiples_within_the_bounds(start, steps, q, seed):
    lower, upper = start * q, (start + steps) * q
    for value in drawn(space.quniform(lower, upper, q), seed):
        assert lower <= value <= upper
        assert math.isclose(value / q, round(value / q), abs_tol=1e-9)


@given(st.integers(-500, 500), st.integers(0, 500), st.integers(1, 40), SEEDS, st.booleans())
def test_quantised_integers_are_multiples_within_the_bounds(lower, width, q, seed, log):
    upper = lower + width
    if log:
        lower, upper = abs(lower) + 1, abs(lower) + 1 + width
    make = space.qlograndint if log else space.qrandint
    if -(-lower // q) > upper // q:
        with pytest.raises(ValueError, match="no multiple of q"):
            make(lower, upper, q)
        return
    for value in drawn(make(lower, upper, q), seed):
        assert type(value) is int and lower <= value <= upper and value % q == 0


def test_normal_values_have_that_mean_and_deviation():
    values = space.randn(10, 2).sample(size=20_000, random_state=0)
    assert abs(values.mean() - 10) < 0.1 and abs(values.std() - 2) < 0.1
    rounded = space.qrandn(10, 2, 0.5).sample(size=200, random_state=0)
    assert all(value * 2 == int(value * 2) for value in rounded)


@given(SEEDS, st.sampled_from(sorted(RANDOM_STATES)))
@settings(max_examples=20)
def test_a_seed_decides_what_is_drawn(seed, kind):
    domains = [
        space.uniform(0, 1),
        space.randint(0, 99),
        space.choice("abc"),
        space.randn(),
        space.qlograndint(1, 64, 2),
    ]
    first, second = RANDOM_STATES[kind](seed), RANDOM_STATES[kind](seed)
    assert [d.sample(random_state=first) for d in domains] == [d.sample(random_state=second) for d in domains]


def test_no_random_state_means_the_global_one_of_numpy():
    np.random.seed(5)
    first = [space.uniform(0, 1).sample(), space.randint(0, 1000).sample()]
    np.random.seed(5)
    assert [space.uniform(0, 1).sample(), space.randint(0, 1000).sample()] == first


@pytest.mark.parametrize("state", ["seed", 1.5, -1, True])
def test_what_is_no_random_state_is_refused(state):
    with pytest.raises(TypeError, match="random_state must be a seed"):
        space.uniform(0, 1).sample(random_state=state)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: space.uniform(3, 1), ValueError, "lower bound 3 is above the upper bound 1"),
        (lambda: space.uniform(0, math.nan), ValueError, "got nan"),
        (lambda: space.uniform(0, math.inf), ValueError, "a lower and an upper bound"),
        (lambda: space.uniform("1e-4", 1), TypeError, "YAML"),
        (lambda: space.uniform("low", 1), TypeError, "the text 'low'"),
        (lambda: space.uniform(None, 1), ValueError, "a lower and an upper bound"),
        (lambda: space.uniform([1], 2), TypeError, r"got \[1\]"),
        (lambda: space.randint(3, 3), ValueError, "exclusive"),
        (lambda: space.lograndint(3, 3), ValueError, "exclusive"),
        (lambda: space.randint(0, 1.5), ValueError, "whole number, got 1.5"),
        (lambda: space.loguniform(0, 1), ValueError, "above 0, got 0"),
        (lambda: space.lograndint(0, 5), ValueError, "above 0, got 0"),
        (lambda: space.loguniform(1, 2, base=1), ValueError, "base"),
        (lambda: space.quniform(0, 1, 0.3), ValueError, "upper bound 1 is not divisible .* q=0.3"),
        (lambda: space.quniform(0.1, 1, 0.5), ValueError, "lower bound 0.1 is not divisible"),
        (lambda: space.quniform(0, 1, 0), ValueError, "q, the step"),
        (lambda: space.qrandint(0, 10, 2.5), ValueError, "q must be a whole number"),
        (lambda: space.randn(0, 0), ValueError, "standard deviation"),
        (lambda: space.Float(0, 1).normal(), ValueError, "has no bounds"),
        (lambda: space.uniform(0, 1).loguniform(), ValueError, "above 0"),
        (lambda: space.uniform(1, 2).loguniform(), ValueError, "has one sampler"),
        (lambda: space.choice([]), ValueError, "at least one value"),
        (lambda: space.choice(3), TypeError, "list of values"),
        (lambda: space.sample_from(3), TypeError, "function"),
        (lambda: space.sample_from(lambda a, b: 1), ValueError, r"no argument or one.*\(a, b\)"),
        (lambda: space.grid_search("abc"), TypeError, "list of values"),
        (lambda: space.grid_search([]), ValueError, "at least one"),
        (lambda: space.uniform(0, 1).sample(size=0), ValueError, "size"),
        (lambda: space.Quantized("uniform", 1), TypeError, "sampler"),
        (lambda: space.Categorical([1]).grid().sample(), RuntimeError, "grid"),
        (lambda: space.Domain().sample(), ValueError, "no sampler"),
    ],
)
def test_mistakes_are_told_at_once(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("domain", "text"),
    [
        (space.uniform(0, 1), "uniform(0, 1)"),
        (space.quniform(0, 1, 0.1), "quniform(0, 1, 0.1)"),
        (space.loguniform(1e-4, 0.1), "loguniform(0.0001, 0.1)"),
        (space.loguniform(1, 8, 2), "loguniform(1, 8, base=2)"),
        (space.qloguniform(1, 8, 1, 2), "qloguniform(1, 8, 1, base=2)"),
        (space.randn(1, 2), "randn(1, 2)"),
        (space.qrandn(1, 2, 0.5), "qrandn(1, 2, 0.5)"),
        (space.randint(1, 3), "randint(1, 3)"),
        (space.qlograndint(1, 9, 3), "qlograndint(1, 9, 3)"),
        (space.choice([1, "a"]), "choice([1, 'a'])"),
        (space.Float(0, 1), "Float(0, 1)"),
        (space.Categorical([1]).grid(), "grid_search([1])"),
    ],
    ids=str,
)
def test_a_domain_prints_as_it_is_written(domain, text):
    assert repr(domain) == text


@pytest.mark.parametrize(
    ("domain", "valid", "invalid"),
    [
        (space.uniform(0, 1), [0, 1, 0.5, np.float32(0.5)], [-0.1, 1.1, "a", None, math.nan]),
        (space.quniform(0, 1, 0.1), [0, 0.3, 0.30000000000000004], [0.35]),
        (space.randint(0, 3), [0, 2, 2.0, np.int64(1)], [3, 0.5, "1", math.inf]),
        (space.qrandint(0, 6, 3), [0, 3, 6], [1, 9]),
        (space.choice(["a", None]), ["a", None], ["b"]),
        (space.sample_from(lambda: 1), [1, "x"], []),
    ],
    ids=repr,
)
def test_valid_is_what_can_be_drawn(domain, valid, invalid):
    assert all(domain.is_valid(value) for value in valid)
    assert not any(domain.is_valid(value) for value in invalid)


def test_domains_are_not_changed_by_what_is_made_of_them():
    plain = space.Float(1, 100)
    assert repr(plain.loguniform().quantized(1)) == "qloguniform(1, 100, 1)"
    assert plain.sampler is None
    assert isinstance(plain.get_sampler(), space.Uniform)


def test_a_sampler_of_ones_own_is_asked_and_quantised():
    class Upper(space.Sampler):
        def sample(self, domain, spec=None, size=1, random_state=None):
            return domain.upper if size == 1 else [domain.upper] * size

    domain = space.Float(0, 0.94)
    domain.set_sampler(Upper())
    assert domain.sample() == 0.94
    whole = space.Integer(0, 9)
    whole.set_sampler(Upper())
    assert whole.quantized(2).sample() == 8
    assert whole.quantized(2).sample(size=2) == [8, 8]


def test_categories_of_arrays_and_sets_are_plain_and_ordered():
    values = space.choice(np.array([1, 2])).categories
    assert values == [1, 2] and type(values[0]) is int
    assert space.choice({"b", "a"}).categories == ["a", "b"]
    array = np.zeros(3)
    assert space.choice([array]).is_valid(array)


def test_functions_get_the_specification_if_they_want_it():
    assert space.sample_from(lambda: 3).sample({"a": 1}) == 3
    assert space.sample_from(lambda spec: spec["a"]).sample({"a": 1}) == 1
    assert space.sample_from(lambda spec: spec).sample([1, 2], size=2) == [1, 2]
    assert isinstance(space.sample_from(random.random).sample(), float)


class Edge:
    """A source of random numbers that always returns the outermost one."""

    def __init__(self, upper):
        self._upper = upper

    def uniform(self, low, high, size=None):
        value = high if self._upper else low
        return value if size is None else np.full(size, value)

    def integers(self, low, high, size=None):
        value = high - 1 if self._upper else low
        return value if size is None else np.full(size, value)


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.booleans(), st.sampled_from([2, 10, math.e]))
def test_rounding_at_the_edge_does_not_leave_the_bounds(lower, width, at_upper, base):
    upper = lower + width
    edge = Edge(at_upper)
    for size in (1, 2):
        whole = np.atleast_1d(space.lograndint(lower, upper, base).sample(size=size, random_state=edge))
        assert all(lower <= value < upper for value in whole)
        real = np.atleast_1d(space.loguniform(lower / 7, upper / 7, base).sample(size=size, random_state=edge))
        assert all(lower / 7 <= value <= upper / 7 for value in real)
        stepped = np.atleast_1d(space.qlograndint(lower, upper, 1, base).sample(size=size, random_state=edge))
        assert all(lower <= value <= upper for value in stepped)


def test_a_search_space_is_written_without_numpy():
    program = (
        "import random, sys\n"
        "from aktis.tune.search import BasicVariantGenerator, sample\n"
        "import aktis.tune.stopper\n"
        "made = BasicVariantGenerator(random_state=random.Random(1))\n"
        "space = {'a': sample.uniform(0, 1), 'b': sample.qrandint(0, 9, 3), 'c': sample.sample_from(lambda: 1)}\n"
        "made.add_configurations({'e': {'config': space}})\n"
        "assert made.suggest('t').config['a'] < 1\n"
        "print([name for name in ('numpy', 'pandas', 'asyncio', 'rich', 'typer', 'cloudpickle') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=50)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("domain", "sampler", "text"),
    [
        (space.uniform(0, 1), space.Uniform, "Uniform"),
        (space.loguniform(1, 10, 2), space.LogUniform, "LogUniform"),
        (space.lograndint(1, 10), space.LogUniform, "LogUniform"),
        (space.randn(1, 2), space.Normal, "Normal"),
        (space.choice([1]), space.Uniform, "Uniform"),
        (space.sample_from(lambda: 1), space.BaseSampler, "Base"),
    ],
)
def test_a_domain_says_how_it_is_drawn(domain, sampler, text):
    found = domain.get_sampler()
    assert type(found) is sampler and isinstance(found, space.Sampler)
    assert str(found) == text
    assert domain.sample(random_state=1) == found.sample(domain, random_state=1)


def test_samplers_of_other_domains_are_refused_when_they_draw():
    with pytest.raises(ValueError, match="cannot be drawn by calling a function"):
        space.BaseSampler().sample(space.uniform(0, 1))
    with pytest.raises(ValueError, match="no bounds"):
        space.Normal().sample(space.uniform(0, 1))
    with pytest.raises(ValueError, match="logarithmic scale"):
        space.LogUniform().sample(space.choice([1, 2]))
    with pytest.raises(ValueError):
        space.LogUniform().sample(space.uniform(-1, 1))
    assert space.LogUniform(2).base == 2
    assert (space.Normal(3, 0.5).mean, space.Normal(3, 0.5).sd) == (3, 0.5)
    for wrong in (lambda: space.Normal(0, -1), lambda: space.LogUniform(1), lambda: space.LogUniform(-2)):
        with pytest.raises(ValueError):
            wrong()

"""The explore step of population based training: new hyperparameters from those of a better trial, and their description."""

from __future__ import annotations

import copy
import random
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aktis.tune.search.sample import Categorical, Domain

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["call_custom", "check_mutations", "explore", "fill_in", "flat_values", "perturbed_tag", "seeded_globals"]


def check_mutations(mutations: Mapping[str, Any], path: str = "") -> None:
    """TypeError or ValueError when values of ``hyperparam_mutations`` cannot be mutated."""
    for key, space in mutations.items():
        name = f"{path}{key}"
        if isinstance(space, Domain) and space.is_function():
            raise ValueError(
                f"hyperparam_mutations[{name!r}] is a sample_from() function, which cannot be mutated: "
                "use tune.uniform, tune.choice and the like, a list, or a function without arguments"
            )
        if isinstance(space, dict):
            if "grid_search" in space:
                raise ValueError(
                    f"hyperparam_mutations[{name!r}] is a grid_search, which cannot be mutated: use a list"
                )
            check_mutations(space, f"{name}/")
        elif isinstance(space, (list, tuple)):
            if not space:
                raise ValueError(f"hyperparam_mutations[{name!r}] is an empty list: it must have the possible values")
        elif not isinstance(space, Domain) and not callable(space):
            raise TypeError(
                f"hyperparam_mutations[{name!r}] must be a list, a tuple, a dict, a search space such as tune.uniform(0, 1) or a "
                f"function without arguments, not {space!r}"
            )


def fill_in(config: dict[str, Any], mutations: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """Draw what ``config`` lacks, in place. Returns what was drawn, by path."""
    drawn: dict[str, Any] = {}
    for key, space in mutations.items():
        if isinstance(space, dict):
            inner = config.setdefault(key, {})
            if isinstance(inner, dict):
                drawn.update({f"{key}/{path}": value for path, value in fill_in(inner, space, rng).items()})
        elif key not in config:
            drawn[key] = config[key] = _draw(space, rng)
    return drawn


def explore(
    config: Mapping[str, Any],
    mutations: Mapping[str, Any],
    resample_probability: float,
    factors: Sequence[float],
    rng: random.Random,
) -> dict[str, Any]:
    """A copy of ``config`` in which each mutated hyperparameter is drawn anew or perturbed (Jaderberg et al., section 4.1.1).

    A list moves to a neighbour. A number is multiplied by one of ``factors``, whatever its bounds are; integers stay integers.
    What is neither is drawn anew.
    """
    new = copy.deepcopy(dict(config))
    for key, space in mutations.items():
        old = new.get(key)
        if isinstance(space, dict):
            new[key] = explore(old if isinstance(old, dict) else {}, space, resample_probability, factors, rng)
            continue
        choices = _choices(space)
        resample = rng.random() < resample_probability
        if choices is not None:
            if resample or old not in choices:
                new[key] = _pick(choices, rng)
            else:
                index = choices.index(old) + rng.choice((-1, 1))
                new[key] = choices[min(max(index, 0), len(choices) - 1)]
        else:
            if resample or not _is_number(old):
                new[key] = _draw(space, rng)
            else:
                assert old is not None
                new[key] = old * rng.choice(factors)
            if _is_int(old):
                new[key] = int(new[key])
    return new


def _choices(space: Any) -> list[Any] | None:
    """The values in order, when there are some to move along."""
    if isinstance(space, Categorical):
        return list(space.categories)
    return list(space) if isinstance(space, (list, tuple)) else None


def _draw(space: Any, rng: random.Random) -> Any:
    if isinstance(space, Domain):
        choices = _choices(space)
        return space.sample(None, random_state=rng) if choices is None else _pick(choices, rng)
    if isinstance(space, (list, tuple)):
        return _pick(space, rng)
    with seeded_globals(rng):
        return space()


def _pick(choices: Sequence[Any], rng: random.Random) -> Any:
    value = rng.choice(choices)
    return _draw(value, rng) if isinstance(value, Domain) else value


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and hasattr(value, "__float__") and not isinstance(value, str)


@contextmanager
def seeded_globals(rng: random.Random) -> Iterator[None]:
    """Let functions of the user draw from ``random`` and ``numpy.random`` as the scheduler's own generator would have it.

    So a resumed run, which decides everything once more, gets the same values. The global state is as before afterwards.
    """
    seed = rng.getrandbits(32)
    state = random.getstate()
    random.seed(seed)
    numpy_random = getattr(sys.modules.get("numpy"), "random", None)
    numpy_state = numpy_random.get_state() if numpy_random is not None else None
    if numpy_random is not None:
        numpy_random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
        if numpy_random is not None:
            numpy_random.set_state(numpy_state)


def call_custom(function: Callable[..., Any], config: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Apply the user's ``custom_explore_fn``."""
    with seeded_globals(rng):
        new = function(config)
    if not isinstance(new, dict):
        raise ValueError(f"custom_explore_fn must return the new configuration (a dict), but it returned {new!r}")
    return new


def flat_values(config: Mapping[str, Any], mutations: Mapping[str, Any]) -> dict[str, Any]:
    """The mutated hyperparameters of a configuration, by the last piece of their path."""
    found: dict[str, Any] = {}
    for key, space in mutations.items():
        if isinstance(space, dict):
            inner = config.get(key)
            found.update(flat_values(inner if isinstance(inner, dict) else {}, space))
        elif key in config:
            found[str(key)] = config[key]
    return found


def perturbed_tag(original: str, values: Mapping[str, Any]) -> str:
    """The tag of a trial that goes on with these values: ``<original>@perturbed[a=1,b=0.2000]``."""
    described = ",".join(
        f"{_plain(key)}={value:.4f}" if isinstance(value, float) else f"{_plain(key)}={_plain(str(value))}"
        for key, value in sorted(values.items())
    )
    return f"{original}@perturbed[{described}]"


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", text)

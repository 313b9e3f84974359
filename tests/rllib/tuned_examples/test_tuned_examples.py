"""Every example that comes along reaches the return that it says, in the steps that it says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from aktis.air.nested import lookup
from aktis.rllib.cli._examples import examples

FILES = examples()
STEPS = "timesteps_total"


def spec_of(path: Path) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text())
    assert len(found) == 1, f"{path} has {len(found)} experiments"
    return next(iter(found.values()))


@pytest.mark.torch
@pytest.mark.parametrize("name", sorted(FILES))
def test_an_example_says_what_it_reaches(name: str) -> None:
    """Without running it: the algorithm takes its configuration, and the file has a comment for people."""
    pytest.importorskip("torch")
    from aktis.rllib.algorithms.registry import get_trainable_cls

    text = FILES[name].read_text()
    spec = spec_of(FILES[name])
    assert text.startswith("# ")
    assert next(iter(yaml.safe_load(text))) == name
    criteria = dict(spec["pass_criteria"])
    assert criteria.pop(STEPS) > 0
    assert len(criteria) == 1
    cls = get_trainable_cls(spec["run"])
    assert cls is not None
    config = cls.get_default_config().update_from_dict({**spec["config"], "env": spec.get("env")})
    config.validate()


def test_there_are_many() -> None:
    assert len(FILES) >= 25


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", sorted(FILES))
def test_an_example_reaches_its_return(name: str) -> None:
    pytest.importorskip("torch")
    from aktis.rllib.algorithms.registry import get_trainable_cls

    spec = spec_of(FILES[name])
    criteria = dict(spec["pass_criteria"])
    steps = criteria.pop(STEPS)
    ((key, wanted),) = criteria.items()
    cls = get_trainable_cls(spec["run"])
    algorithm = cls(config={"seed": 0, **spec["config"], "env": spec.get("env")})
    best, taken = -math.inf, 0
    try:
        while taken < steps and best < wanted:
            result = algorithm.train()
            value = lookup(result, key)
            best = max(best, value) if value is not None and not math.isnan(value) else best
            taken = result[STEPS] or result["num_env_steps_trained"]  # recorded data is learned from, not sampled
    finally:
        algorithm.stop()
    assert best >= wanted, f"{key} was {best} after {taken} steps"

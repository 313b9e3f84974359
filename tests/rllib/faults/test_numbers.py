"""Every number of every algorithm's configuration is checked at once, and named."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aktis.rllib.algorithms._config.numbers import MODEL_NUMBERS, NUMBERS, Number
from aktis.rllib.algorithms.registry import ALGORITHMS, get_algorithm_class

if importlib.util.find_spec("torch") is None:
    pytest.skip("configurations ask whether torch is installed", allow_module_level=True)
pytestmark = pytest.mark.torch

# Numbers that say when, not how much, or are of what is no more.
NOT_CHECKED = {
    "num_gpus_per_trainer_worker",
    "num_cpus_per_trainer_worker",
    "eager_max_retraces",
    "num_trainer_workers",
}
OF_THEIR_OWN = {"rollout_fragment_length", "evaluation_duration"}  # "auto" has a meaning too


def _fields(name: str) -> list[str]:
    config = get_algorithm_class(name).get_default_config()
    return [
        field
        for field in config._fields()
        if not field.startswith("_")
        and field not in NOT_CHECKED
        and isinstance(getattr(config, field), (int, float))
        and not isinstance(getattr(config, field), bool)
    ]


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_each_number_says_what_it_may_be(name: str) -> None:
    fields = _fields(name)
    assert len(fields) > 20
    for field in fields:
        for value in ("abc", "3", [1], {}, float("nan"), True, object()):
            config = get_algorithm_class(name).get_default_config().environment("CartPole-v1")
            setattr(config, field, value)
            with pytest.raises((ValueError, TypeError), match=rf"\b{field.rstrip('_')}.* must be"):
                config.validate()


def test_defaults_are_allowed() -> None:
    for name in ALGORITHMS:
        config = get_algorithm_class(name).get_default_config()
        for field, number in NUMBERS.items():
            if config._has(field):
                assert number.allows(getattr(config, field)), (name, field)
        for key, number in MODEL_NUMBERS.items():
            assert number.allows(config.model[key]), key


NUMBER = st.builds(
    Number,
    least=st.integers(-5, 5),
    above=st.booleans(),
    whole=st.booleans(),
    optional=st.booleans(),
    endless=st.booleans(),
)


VALUE = st.one_of(st.none(), st.integers(-9, 9), st.floats(), st.booleans(), st.sampled_from(["", "3", [1], {}]))


@settings(max_examples=60)
@given(NUMBER, VALUE)
def test_what_a_number_allows(number: Number, value: Any) -> None:
    if not number.allows(value):
        return
    if value is None:
        assert number.optional
        return
    assert isinstance(value, (int, float)) and not isinstance(value, bool)
    assert value > number.least or (value == number.least and not number.above)
    assert not number.whole or isinstance(value, int)
    assert value == value and (number.endless or value not in (float("inf"), float("-inf")))


def test_numbers_in_quotes() -> None:
    config = get_algorithm_class("PPO").get_default_config().training(clip_param="0.3")
    with pytest.raises(ValueError, match=r"clip_param must be a number above 0, not '0.3': write it without quotes"):
        config.validate()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"fcnet_hiddens": [0]}, r"fcnet_hiddens must be a list of widths.*\[0\]"),
        ({"fcnet_hiddens": "64"}, "fcnet_hiddens must be a list of widths.*'64'"),
        ({"fcnet_hiddens": 64}, "fcnet_hiddens must be a list of widths.*64"),
        ({"max_seq_len": 0}, "max_seq_len must be a whole number, 1 or more, not 0"),
        ({"lstm_cell_size": -1}, "lstm_cell_size must be a whole number, 1 or more, not -1"),
    ],
)
def test_numbers_of_models(model: Any, words: str) -> None:
    config = get_algorithm_class("PPO").get_default_config().training(model=model)
    with pytest.raises(ValueError, match=words):
        config.validate()


@pytest.mark.parametrize("schedule", ["x", [], [[0, 1], [0, 2]], [[-5, 1.0]], [[10, 1], [5, 1]], [0.1, 0.2], 3])
def test_schedules_say_what_they_may_be(schedule: Any) -> None:
    config = get_algorithm_class("PPO").get_default_config().training(lr_schedule=schedule)
    with pytest.raises(ValueError, match=r"lr_schedule must be a list of \[timestep, value\]"):
        config.validate()

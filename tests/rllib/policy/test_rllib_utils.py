"""Names that reference scripts import from utils."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from aktis.rllib import utils
from aktis.rllib.utils import annotations, deprecation, test_utils


@pytest.mark.parametrize("name", utils._NAMES)
def test_every_name_is_there(name: str) -> None:
    assert getattr(utils, name) is getattr(importlib.import_module(utils._NAMES[name]), name)
    assert name in utils.__all__


def test_lists_and_dicts() -> None:
    assert [utils.force_list(x) for x in (None, (1, 2), 3)] == [[], [1, 2], [3]]
    assert utils.force_tuple([1]) == (1,)
    base = {"a": 1, "b": {"type": "X", "c": 2}, "env_config": {}}
    assert utils.merge_dicts(base, {"b": {"c": 3}, "d": 4}) == {**base, "b": {"type": "X", "c": 3}, "d": 4}
    assert base["b"] == {"type": "X", "c": 2}
    with pytest.raises(KeyError, match="Unknown key 'x'"):
        utils.deep_update(base, {"x": 1})
    utils.deep_update(base, {"env_config": {"n": 1}}, allow_new_subkey_list=["env_config"])
    utils.deep_update(base, {"b": {"type": "Y"}}, override_all_if_type_changes=["b"])
    assert base == {"a": 1, "b": {"type": "Y"}, "env_config": {"n": 1}}


def test_marks_and_old_things() -> None:
    class Base:
        @annotations.OverrideToImplementCustomLogic
        def f(self) -> int:
            return 1

    class Derived(Base):
        @annotations.override(Base)
        def f(self) -> int:
            return 2

    assert not annotations.is_overridden(Base().f)
    assert annotations.is_overridden(Derived().f)
    with pytest.raises(NameError, match="g overrides nothing"):

        @annotations.override(Base)
        def g() -> None: ...

    assert annotations.PublicAPI(stability="beta")(Derived) is annotations.DeveloperAPI(Derived) is Derived
    mixed = utils.add_mixins(Base, [type("Mixin", (), {"f": lambda self: 3})])
    assert mixed().f() == 3

    @deprecation.Deprecated(new="better()", error=False)
    def worse() -> int:
        return 4

    with pytest.warns(DeprecationWarning, match=r"`worse` is deprecated. Use `better\(\)`"):
        assert worse() == 4
    with pytest.raises(ValueError, match="`x`"):
        deprecation.deprecation_warning("x", error=True)


@pytest.mark.parametrize(
    ("x", "y", "same"),
    [
        (1.0, 1.000001, True),
        (1.0, 1.1, False),
        ({"a": [np.ones(2), "t"]}, {"a": [np.ones(2), "t"]}, True),
        ({"a": 1}, {"b": 1}, False),
        ([1, 2], (1, 2, 3), False),
        (np.ones(3), 1.0, True),
        (np.ones(3), np.ones(4), False),
        ("a", "b", False),
    ],
)
def test_check(x: Any, y: Any, same: bool) -> None:
    test_utils.check(x, y, false=not same)
    with pytest.raises(AssertionError):
        test_utils.check(x, y, false=same)


def test_tolerances_of_check() -> None:
    test_utils.check(100.0, 101.0, rtol=0.02)
    test_utils.check(0.0, 0.1, atol=0.2)
    with pytest.raises(AssertionError, match=r"\['a'\]\[1\] is 2, not 3"):
        test_utils.check({"a": (1, 2)}, {"a": (1, 3)})


def test_learning_is_checked_on_the_best_trial() -> None:
    trials = [{"episode_reward_mean": 10.0}, {"episode_reward_mean": 30.0, "evaluation": {"episode_reward_mean": 5.0}}]
    grid = [SimpleNamespace(metrics=metrics) for metrics in trials]
    analysis = SimpleNamespace(trials=[SimpleNamespace(last_result=metrics) for metrics in trials])
    for results in (grid, analysis):
        test_utils.check_learning_achieved(results, 30.0)
        test_utils.check_learning_achieved(results, 5.0, evaluation=True)
        with pytest.raises(ValueError, match="should have reached 31"):
            test_utils.check_learning_achieved(results, 31.0)

"""Names of trainables and environments."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from aktis.tune import registry
from aktis.tune.error import TuneError
from aktis.tune.registry import get_trainable_cls, register_env, register_trainable, trainable_name
from aktis.tune.trainable import FunctionTrainable, Trainable


@pytest.fixture(autouse=True)
def _own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_trainables", {})
    monkeypatch.setattr(registry, "_envs", {})
    monkeypatch.setattr(registry, "_PROVIDERS", ())  # whether aktis.rllib is installed or not


class Model(Trainable):
    def step(self) -> dict[str, Any]:
        return {"x": 1}


def function(config: dict[str, Any]) -> dict[str, Any]:
    return {"x": 1}


def test_classes_and_functions_by_name() -> None:
    register_trainable("model", Model)
    register_trainable("function", function)
    register_trainable("lambda", lambda config: {"x": config["a"]})
    assert get_trainable_cls("model") is Model
    assert issubclass(get_trainable_cls("function"), FunctionTrainable)
    assert get_trainable_cls("lambda")({"a": 5}).train()["x"] == 5


def test_a_second_registration_replaces_the_first() -> None:
    register_trainable("model", function)
    register_trainable("model", Model)
    assert get_trainable_cls("model") is Model
    registry.unregister_trainable("model")
    registry.unregister_trainable("model")
    with pytest.raises(TuneError, match="nothing is registered"):
        get_trainable_cls("model")


def test_without_names() -> None:
    assert get_trainable_cls(Model) is Model
    assert get_trainable_cls(function)({}).train()["x"] == 1


def test_an_unknown_name() -> None:
    for name in ("my_model", "your_model", "PPO"):
        register_trainable(name, Model)
    with pytest.raises(
        TuneError, match=r"no trainable 'my_modle': did you mean 'my_model' or 'your_model'\? Register it with"
    ):
        get_trainable_cls("my_modle")
    with pytest.raises(TuneError, match="did you mean 'PPO'"):
        get_trainable_cls("ppo")
    with pytest.raises(TuneError, match="known are 'PPO', 'my_model', 'your_model'"):
        get_trainable_cls("zzzzzz")


class NotOne:
    pass


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        (NotOne, "the class NotOne is not a trainable"),
        (NotOne(), "cannot be run as a trial"),
        (Model(), r"Model\(\.\.\.\) is an object: give the class itself"),
        (3, r"3 \(int\) cannot be run as a trial"),
        (None, "None .* cannot be run as a trial"),
        (lambda: None, "cannot be run as a trial"),
    ],
)
def test_what_cannot_be_run(thing: Any, text: str) -> None:
    for call in (lambda: register_trainable("x", thing), lambda: registry.validate_trainable(thing)):
        with pytest.raises(TuneError, match=text):
            call()


def test_a_trainer_gives_its_trainable() -> None:
    class Trainer:
        def as_trainable(self) -> type[Trainable]:
            return Model

    assert get_trainable_cls(Trainer()) is Model


@pytest.mark.parametrize(
    ("trainable", "name"),
    [
        ("model", "model"), (Model, "Model"), (function, "function"), (functools.partial(function), "function"),
        (functools.partial(functools.partial(function)), "function"), (lambda config: None, "lambda"), (NotOne(), "NotOne"),
    ],
)  # fmt: skip
def test_names(trainable: Any, name: str) -> None:
    assert trainable_name(trainable) == name


def test_environments() -> None:
    register_env("maze", lambda config: ("maze", config))
    assert registry.is_registered_env("maze") and not registry.is_registered_env("mazes")
    assert registry.get_env_creator("maze")(3) == ("maze", 3)
    with pytest.raises(
        TuneError, match=r"no environment 'mase': did you mean 'maze'\? Register it with tune.register_env"
    ):
        registry.get_env_creator("mase")
    with pytest.raises(TypeError, match="needs a function that makes an environment, not 3"):
        register_env("x", 3)  # type: ignore[arg-type]


@pytest.mark.parametrize("register", [register_trainable, register_env])
def test_names_are_strings(register: Any) -> None:
    with pytest.raises(TypeError, match="must be a string, not 3"):
        register(3, function)
    with pytest.raises(ValueError, match="must not be empty"):
        register("", function)

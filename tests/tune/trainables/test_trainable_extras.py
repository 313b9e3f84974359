"""with_parameters and with_resources."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from typing import Any

import cloudpickle
import numpy as np
import pytest

import aktis
from aktis.air import session
from aktis.air.config import ScalingConfig
from aktis.air.placement import PlacementGroupFactory
from aktis.tune.error import TuneError
from aktis.tune.registry import get_trainable_cls
from aktis.tune.trainable import Trainable, with_parameters, with_resources
from aktis.tune.trainable.util import Parameters


@pytest.fixture
def native() -> Iterator[None]:
    with aktis.init(num_cpus=2, log_to_driver=False):
        yield


def function(config: dict[str, Any], data: Any = None, other: int = 0) -> None:
    session.report({"sum": float(np.sum(data)), "other": other, "a": config["a"]})


def required(config: dict[str, Any], data: Any) -> None:
    session.report({"sum": float(np.sum(data)), "a": config["a"]})


def with_reporter(config: dict[str, Any], reporter: Any, data: Any) -> None:
    reporter(sum=float(np.sum(data)), a=config["a"])


class Methods:
    def method(self, config: dict[str, Any], data: Any) -> None:
        required(config, data)

    def alone(self, config: dict[str, Any]) -> None:
        function(config)


class Model(Trainable):
    """A class."""

    def setup(self, config: dict[str, Any], data: Any = None) -> None:
        self.data = data

    def step(self) -> dict[str, Any]:
        return {"sum": float(np.sum(self.data)), "a": self.config["a"]}


class Larger(Model):
    def setup(self, config: dict[str, Any], extra: int = 0, **kwargs: Any) -> None:
        super().setup(config, **kwargs)
        self.extra = extra

    def step(self) -> dict[str, Any]:
        return {**super().step(), "extra": self.extra}


EVERYTHING = [
    function, required, with_reporter, Methods().method, Model, Larger, functools.partial(function, other=3),
    lambda config, data: required(config, data),
]  # fmt: skip


def first_result(trainable: Any, config: dict[str, Any]) -> dict[str, Any]:
    instance = get_trainable_cls(trainable)(config)
    try:
        return instance.train()
    finally:
        instance.stop()


def run_remotely(trainable: Any, config: dict[str, Any]) -> dict[str, Any]:
    @aktis.remote
    def run(cls: Any) -> dict[str, Any]:
        instance = cls(config)
        try:
            return dict(instance.train())
        finally:
            instance.stop()

    result: dict[str, Any] = aktis.get(run.remote(aktis.put(get_trainable_cls(trainable))))
    return result


@pytest.mark.parametrize("trainable", EVERYTHING)
def test_objects_are_given(trainable: Any) -> None:
    result = first_result(with_parameters(trainable, data=np.arange(4)), {"a": 1})
    assert result["sum"] == 6 and result["config"] == {"a": 1}


def test_objects_go_through_the_store_once(native: None, monkeypatch: pytest.MonkeyPatch) -> None:
    puts: list[Any] = []
    real = aktis.put
    monkeypatch.setattr(aktis, "put", lambda value: puts.append(value) or real(value))
    data = np.ones(200_000)
    for trainable in (required, Model):
        puts.clear()
        given = with_parameters(trainable, data=data)
        for _ in range(3):
            assert run_remotely(given, {"a": 1})["sum"] == 200_000
        assert sum(value is data for value in puts) == 1


def test_in_a_file_are_no_objects(native: None) -> None:
    for trainable in (required, Model):
        text = cloudpickle.dumps(with_parameters(trainable, data=np.ones(200_000)))
        assert len(text) < 10_000
        again = cloudpickle.loads(cloudpickle.dumps(cloudpickle.loads(text)))
        with pytest.raises(
            TuneError, match=r"the objects 'data' of tune.with_parameters are not stored .* give them again"
        ):
            first_result(again, {"a": 1})


def test_an_object_is_put_again_in_a_new_session() -> None:
    given = with_parameters(required, data=np.ones(100_000))
    for _ in range(2):
        with aktis.init(num_cpus=1, log_to_driver=False):
            assert run_remotely(given, {"a": 1})["sum"] == 100_000


def test_without_a_session_objects_are_pickled_as_they_are() -> None:
    given = cloudpickle.loads(cloudpickle.dumps(with_parameters(required, data=np.ones(3))))
    assert first_result(given, {"a": 1})["sum"] == 3


def test_names_are_known_without_the_objects(native: None) -> None:
    ref = aktis.put(Parameters({"data": np.ones(100_000)}))
    assert list(aktis.get(ref).names()) == ["data"]


def test_parameters_twice() -> None:
    given = with_parameters(with_parameters(function, data=np.ones(3)), other=4)
    assert first_result(given, {"a": 1})["other"] == 4
    given = with_parameters(with_parameters(Larger, data=np.ones(3)), extra=4)
    assert first_result(given, {"a": 1})["extra"] == 4


@pytest.mark.parametrize("trainable", [function, Model])
def test_a_parameter_that_is_not_there(trainable: Any) -> None:
    with pytest.raises(ValueError, match=r"has no parameter 'dta'. Did you mean 'data'\?"):
        with_parameters(trainable, dta=1)
    with pytest.raises(ValueError, match=r"has no parameter 'zzz'. It has: config, data"):
        with_parameters(trainable, zzz=1)


class NotOne:
    pass


@pytest.mark.parametrize(
    ("thing", "text"),
    [(3, r"not 3 \(int\)"), ("PPO", "the name 'PPO'"), (NotOne, "the class NotOne"), (None, "not None")],
)
def test_what_cannot_be_run(thing: Any, text: str) -> None:
    with pytest.raises(ValueError, match=rf"tune\.with_parameters\(\) takes functions .* {text}"):
        with_parameters(thing, a=1)
    with pytest.raises(ValueError, match=rf"tune\.with_resources\(\) takes functions .* {text}"):
        with_resources(thing, {"cpu": 1})


# -- resources ----------------------------------------------------------------------------------------

TWO = PlacementGroupFactory([{"CPU": 2}])


@pytest.mark.parametrize("trainable", [function, Model, Larger, functools.partial(function, other=3), Methods().alone])
@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({"cpu": 2}, TWO),
        (TWO, TWO),
        (ScalingConfig(num_workers=2), ScalingConfig(num_workers=2).as_placement_group_factory()),
        (lambda config: {"cpu": config["a"]}, TWO),
        (lambda config: PlacementGroupFactory([{"CPU": config["a"]}]), TWO),
    ],
)
def test_resources_are_asked_for(trainable: Any, resources: Any, expected: PlacementGroupFactory) -> None:
    given = with_resources(trainable, resources)
    assert get_trainable_cls(given).default_resource_request({"a": 2}) == expected
    assert get_trainable_cls(trainable).default_resource_request({"a": 2}) is None, "the original is as it was"


@pytest.mark.parametrize("trainable", EVERYTHING)
def test_both_in_any_order(trainable: Any) -> None:
    for given in (
        with_parameters(with_resources(trainable, {"cpu": 2}), data=np.ones(3)),
        with_resources(with_parameters(trainable, data=np.ones(3)), {"cpu": 2}),
    ):
        cls = get_trainable_cls(cloudpickle.loads(cloudpickle.dumps(given)))
        assert cls.default_resource_request({}) == TWO
        assert first_result(given, {"a": 1})["sum"] == 3


@pytest.mark.parametrize("trainable", [function, Model, Methods().method, functools.partial(function, other=1)])
def test_names_stay(trainable: Any) -> None:
    inner = trainable.func if isinstance(trainable, functools.partial) else trainable
    given = with_resources(with_parameters(trainable, data=1), {"cpu": 1})
    assert given.__name__ == get_trainable_cls(given).__name__ == inner.__name__


def test_the_last_resources_count() -> None:
    for trainable in (function, Model):
        given = with_resources(with_resources(trainable, {"cpu": 1}), {"cpu": 2})
        assert get_trainable_cls(given).default_resource_request({}) == TWO


@pytest.mark.parametrize("resources", [None, 3, {"cpus_": 1}, {"cpu": -1}, {"cpu": 0}])
def test_resources_that_make_no_sense(resources: Any) -> None:
    with pytest.raises(ValueError, match="resources|amount|bundle|empty"):
        with_resources(function, resources)


def test_isinstance_stays_true() -> None:
    given = with_resources(with_parameters(Larger, data=1), {"cpu": 1})
    assert issubclass(given, Larger) and given.__doc__ == Larger.__doc__


def test_dates_in_names_of_directories_sort_by_time() -> None:
    from aktis.tune.utils import date_str

    before = time.strftime("%Y-%m-%d_%H-%M-%S")
    assert before <= date_str() <= time.strftime("%Y-%m-%d_%H-%M-%S")

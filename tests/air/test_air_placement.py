"""The resources of a trial: what they say, how they compare, and what is refused."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pytest

import aktis
from aktis.air.config import ScalingConfig
from aktis.air.placement import (
    AcquiredResources,
    PlacementGroupFactory,
    ResourceRequest,
    resource_dict_to_pg_factory,
)


def test_a_factory_says_what_it_asks_for() -> None:
    factory = PlacementGroupFactory([{"CPU": 1, "GPU": 0}, {"CPU": 2, "GPU": 0.5}, {"CPU": 2, "custom": 1}])
    assert factory.bundles == [{"CPU": 1.0}, {"CPU": 2.0, "GPU": 0.5}, {"CPU": 2.0, "custom": 1.0}]
    assert factory.required_resources == {"CPU": 5.0, "GPU": 0.5, "custom": 1.0}
    assert factory.head_cpus == 1.0
    assert factory.strategy == "PACK"
    assert not factory.head_bundle_is_empty


@pytest.mark.parametrize("head", [{}, {"CPU": 0}])
def test_an_empty_head_needs_nothing(head: dict[str, float]) -> None:
    factory = PlacementGroupFactory([head, {"CPU": 2}])
    assert factory.head_bundle_is_empty
    assert factory.head_bundle == {}
    assert factory.head_cpus == 0
    assert factory.bundles == [{"CPU": 2.0}]
    assert factory != PlacementGroupFactory([{"CPU": 2}])


def test_factories_compare_by_content() -> None:
    one = PlacementGroupFactory([{"CPU": 1, "GPU": 2}], strategy="SPREAD")
    same = PlacementGroupFactory([{"GPU": 2.0, "CPU": 1.0}], "SPREAD")
    assert one == same
    assert hash(one) == hash(same)
    assert one != PlacementGroupFactory([{"CPU": 1, "GPU": 2}])
    assert one != PlacementGroupFactory([{"CPU": 1}, {"GPU": 2}], "SPREAD")
    assert len({one, same}) == 1
    assert one != "something else"


def test_what_is_handed_out_is_a_copy() -> None:
    factory = PlacementGroupFactory([{"CPU": 1}])
    before = hash(factory)
    factory.bundles[0]["CPU"] = 100
    factory.required_resources["CPU"] = 100
    assert factory.bundles == [{"CPU": 1.0}]
    assert hash(factory) == before
    with pytest.raises(AttributeError):
        factory.strategy = "SPREAD"  # type: ignore[misc]


@pytest.mark.parametrize(
    "factory",
    [
        PlacementGroupFactory([{}, {"CPU": 2}], "SPREAD"),
        PlacementGroupFactory([{"CPU": 1}], "PACK", "a name", lifetime="detached"),
    ],
)
def test_factories_are_pickled_and_shown(factory: PlacementGroupFactory) -> None:
    assert pickle.loads(pickle.dumps(factory)) == factory
    assert eval(repr(factory)) == factory


def test_the_repr_is_what_one_would_write() -> None:
    assert (
        repr(PlacementGroupFactory([{"CPU": 1}, {"GPU": 0.5}])) == "PlacementGroupFactory([{'CPU': 1}, {'GPU': 0.5}])"
    )
    assert repr(PlacementGroupFactory([{}, {"CPU": 1}], "SPREAD")) == (
        "PlacementGroupFactory([{}, {'CPU': 1}], strategy='SPREAD')"
    )


def test_rays_name_of_it() -> None:
    assert ResourceRequest is PlacementGroupFactory


@pytest.mark.parametrize(
    ("bundles", "message"),
    [
        ([], "at least one bundle"),
        ([{}], "no resources at all"),
        ([{"CPU": 0}], "no resources at all"),
        ([{"CPU": 1}, {}], "bundle 1 is empty"),
        ([{"CPU": -1}], "CPU=-1"),
        ([{"CPU": float("nan")}], "CPU=nan"),
        ([{"CPU": "2"}], "CPU='2'"),
        ([{"CPU": True}], "CPU=True"),
        ([{"cpu": 1}], "'CPU'"),
        ([{"num_gpus": 1}], "'GPU'"),
        ([{1: 1}], "names are strings"),
        ({"CPU": 1}, "list of dicts"),
        (["CPU"], "bundle 0 must be a dict"),
    ],
)
def test_bad_bundles_are_refused(bundles: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PlacementGroupFactory(bundles)


def test_an_unknown_strategy_is_refused() -> None:
    with pytest.raises(ValueError, match="'NEAR'"):
        PlacementGroupFactory([{"CPU": 1}], "NEAR")


@pytest.mark.parametrize(
    ("spec", "bundle"),
    [
        (None, {"CPU": 1}),
        ({}, {"CPU": 1}),
        ({"cpu": 2, "gpu": 0.5}, {"CPU": 2, "GPU": 0.5}),
        ({"CPU": 2, "GPU": 1}, {"CPU": 2, "GPU": 1}),
        ({"gpu": 1}, {"GPU": 1}),
        ({"cpu": 1, "memory": 100, "custom_resources": {"tpu": 4}}, {"CPU": 1, "memory": 100, "tpu": 4}),
    ],
)
def test_resources_as_people_write_them(spec: Any, bundle: dict[str, float]) -> None:
    assert resource_dict_to_pg_factory(spec) == PlacementGroupFactory([bundle])


def test_resources_that_are_a_factory_already() -> None:
    factory = PlacementGroupFactory([{"CPU": 3}])
    assert resource_dict_to_pg_factory(factory) is factory
    assert len(resource_dict_to_pg_factory(ScalingConfig(num_workers=2)).bundles) == 3


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ({"cpu": 1, "tpu": 4}, ValueError, "'custom_resources': {'tpu': 4}"),
        ({"cpu": 1, "CPU": 2}, ValueError, "'CPU' twice"),
        ({"cpu": "many"}, ValueError, "'many'"),
        ({"cpu": 0}, ValueError, "no resources at all"),
        ({"custom_resources": 3}, ValueError, "custom_resources must be a dict"),
        (3, TypeError, "not 3"),
    ],
)
def test_resources_that_make_no_sense(spec: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        resource_dict_to_pg_factory(spec)


@pytest.fixture
def session() -> Iterator[None]:
    aktis.init(num_cpus=2)
    yield
    aktis.shutdown()


def test_a_group_is_made_and_used(session: None) -> None:
    factory = PlacementGroupFactory([{"CPU": 1}, {"CPU": 1}], _max_cpu_fraction_per_node=0.5)
    group = factory.to_placement_group()
    try:
        assert group.wait(20)

        @aktis.remote
        def where() -> int:
            return 1

        head, worker = AcquiredResources(factory, group).annotate_remote_entities([where, where])
        assert aktis.get([head.remote(), worker.remote()]) == [1, 1]
        with pytest.raises(ValueError, match="3 remote entities do not fit into 2 bundles"):
            AcquiredResources(factory, group).annotate_remote_entities([where] * 3)
    finally:
        aktis.util.remove_placement_group(group)

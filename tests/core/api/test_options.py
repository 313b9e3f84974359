"""Options: what engines get."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aktis import _options
from aktis.util.scheduling_strategies import (
    DoesNotExist,
    Exists,
    In,
    NodeAffinitySchedulingStrategy,
    NodeLabelSchedulingStrategy,
    NotIn,
    PlacementGroupSchedulingStrategy,
)

UNIT = _options.RESOURCE_UNIT


def task(**given: Any) -> _options.TaskOptions:
    return _options.resolve_task(given, is_generator=False)


def actor(**given: Any) -> _options.ActorOptions:
    return _options.resolve_actor(given, is_async=False)


class Group:
    """As much of a placement group as strategies look at."""

    def __init__(self, *bundles: dict[str, float]) -> None:
        self.id = bytes(range(16))
        self.bundle_specs = list(bundles)


def test_defaults_of_tasks() -> None:
    assert task() == _options.TaskOptions(resources={"CPU": UNIT})


def test_resources_are_fixed_point() -> None:
    resources = task(
        num_cpus=0.1, num_gpus=2, memory=1000, resources={"a": 0.0001, "b": 0}, accelerator_type="T4"
    ).resources
    assert resources == {
        "CPU": 1000, "GPU": 2 * UNIT, "memory": 1000 * UNIT, "a": 1, "accelerator_type:T4": 10
    }  # fmt: skip


def test_tasks_with_gpus_get_a_worker_of_their_own() -> None:
    assert task(num_gpus=1).max_calls == 1
    assert task(num_gpus=1, max_calls=5).max_calls == 5
    assert task().max_calls == 0


def test_default_actors_hold_nothing() -> None:
    assert (actor().placement_resources, actor().held_resources) == ({"CPU": UNIT}, {})


@pytest.mark.parametrize(
    ("given", "held"),
    [
        ({"num_cpus": 2}, {"CPU": 2 * UNIT}),
        ({"num_cpus": 0}, {}),
        ({"num_gpus": 1}, {"CPU": UNIT, "GPU": UNIT}),
        ({"resources": {"x": 1}}, {"CPU": UNIT, "x": UNIT}),
        ({"memory": 5}, {"memory": 5 * UNIT}),
    ],
)
def test_what_actors_hold(given: dict[str, Any], held: dict[str, int]) -> None:
    assert actor(**given).held_resources == held


def test_concurrency() -> None:
    assert actor().max_concurrency == 1
    assert _options.resolve_actor({}, is_async=True).max_concurrency == 1000
    assert actor(max_concurrency=4).allow_out_of_order
    assert not actor().allow_out_of_order


def test_num_returns() -> None:
    assert _options.resolve_task({}, is_generator=True).num_returns == "streaming"
    assert _options.resolve_task({"num_returns": 3}, is_generator=True).num_returns == 3
    assert task(num_returns=0).num_returns == 0
    assert task(num_returns=None).num_returns == 1


def test_runtime_env_is_canonical() -> None:
    one = task(runtime_env={"env_vars": {"B": "2", "A": "1"}, "pip": ("x",)}).runtime_env
    two = task(runtime_env={"pip": ["x"], "env_vars": {"A": "1", "B": "2"}}).runtime_env
    assert one == two
    assert json.loads(one)["env_vars"] == {"A": "1", "B": "2"}
    assert task(runtime_env={}).runtime_env == ""


def test_paths_in_a_runtime_env(tmp_path: Path) -> None:
    assert json.loads(task(runtime_env={"working_dir": tmp_path}).runtime_env)["working_dir"] == str(tmp_path)


def test_bad_env_vars() -> None:
    with pytest.raises((TypeError, ValueError), match="env_vars"):
        task(runtime_env={"env_vars": {"A": 1}})


def test_max_retries_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AKTIS_TASK_MAX_RETRIES", "7")
    assert task().max_retries == 7
    assert task(max_retries=1).max_retries == 1
    monkeypatch.setenv("AKTIS_TASK_MAX_RETRIES", "many")
    with pytest.raises(ValueError, match="AKTIS_TASK_MAX_RETRIES='many'"):
        task()


def test_strategies() -> None:
    assert task().strategy == ("DEFAULT",)
    assert task().inherit_group
    assert not task(scheduling_strategy="DEFAULT").inherit_group
    assert task(scheduling_strategy="SPREAD").strategy == ("SPREAD",)
    assert task(scheduling_strategy=NodeAffinitySchedulingStrategy("ab", soft=True)).strategy == ("NODE", "ab", True)


def test_labels() -> None:
    labels = NodeLabelSchedulingStrategy(
        {"zone": In("a", "b"), "gpu": Exists()}, soft={"old": DoesNotExist(), "x": NotIn("y")}
    )
    assert task(scheduling_strategy=labels).strategy == (
        "LABELS",
        (("gpu", "exists", ()), ("zone", "in", ("a", "b"))),
        (("old", "does not exist", ()), ("x", "not in", ("y",))),
    )
    assert task(label_selector={"zone": "!in(a, b)", "kind": "c"}).strategy == (
        "LABELS", (("kind", "in", ("c",)), ("zone", "not in", ("a", "b"))), ()
    )  # fmt: skip


def test_placement_groups() -> None:
    group = Group({"CPU": 2}, {"GPU": 1})
    strategy = PlacementGroupSchedulingStrategy(group, 0, placement_group_capture_child_tasks=True)
    assert task(scheduling_strategy=strategy).strategy == ("PG", group.id, 0, True)
    with pytest.raises(ValueError, match="not bundle 1"):
        task(scheduling_strategy=PlacementGroupSchedulingStrategy(group, 1))
    with pytest.raises(ValueError, match="no bundle"):
        task(num_cpus=3, scheduling_strategy=PlacementGroupSchedulingStrategy(group))
    with pytest.raises(ValueError, match="0 to 1"):
        task(scheduling_strategy=PlacementGroupSchedulingStrategy(group, 2))


def test_the_older_spelling_of_placement_groups_warns() -> None:
    group = Group({"CPU": 1})
    with pytest.warns(DeprecationWarning, match="scheduling_strategy"):
        options = task(placement_group=group, placement_group_bundle_index=0)
    assert options.strategy == ("PG", group.id, 0, False)


def test_methods() -> None:
    method = _options.resolve_method({}, is_generator=True, backpressure=3)
    assert (method.num_returns, method.backpressure) == ("streaming", 3)
    given = {"num_returns": 2, "max_task_retries": -1, "retry_exceptions": [KeyError], "concurrency_group": "io"}
    method = _options.resolve_method(given, is_generator=False)
    assert (method.num_returns, method.max_task_retries, method.retry_exceptions) == (2, -1, (KeyError,))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_cpus": -1}, "num_cpus must not be negative, got -1"),
        ({"num_cpus": float("nan")}, "num_cpus must be a number, got nan"),
        ({"num_gpus": 1.5}, "num_gpus above 1 must be a whole number, got 1.5"),
        ({"resources": {"GPU": 1}}, "use the option num_gpus= instead"),
        ({"retry_exceptions": [1]}, "retry_exceptions must list exception classes, got 1"),
        ({"max_retry": 1}, "did you mean 'max_retries'"),
    ],
)
def test_messages_name_the_value_and_the_rule(given: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        task(**given)

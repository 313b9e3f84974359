"""Small helpers of aktis.rllib.utils and aktis.rllib.execution, without a framework."""

from __future__ import annotations

import operator
import types
import typing
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest

from aktis.rllib.env.apis.task_settable_env import TaskType
from aktis.rllib.execution import common
from aktis.rllib.execution.segment_tree import MinSegmentTree, SegmentTree, SumSegmentTree
from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch, concat_samples_into_ma_batch
from aktis.rllib.utils import annotations, compression, deprecation, images, metrics, test_utils
from aktis.rllib.utils import gym as gym_utils
from aktis.rllib.utils import numpy as numbers
from aktis.rllib.utils import typing as names
from aktis.rllib.utils.framework import tf_function
from aktis.rllib.utils.from_config import class_of
from aktis.rllib.utils.metrics import learner_info
from aktis.rllib.utils.policy import compute_log_likelihoods_from_input_dict
from aktis.rllib.utils.schedules import Schedule

# -- compression


def test_what_is_compressed_already_is_left_alone() -> None:
    rows = {"obs": np.arange(6, dtype=np.float32).reshape(2, 3)}
    packed = compression.pack_if_needed(rows)
    assert compression.compression_supported() and compression.is_compressed(packed)
    assert compression.pack_if_needed(packed) is packed
    np.testing.assert_array_equal(compression.unpack_if_needed(packed)["obs"], rows["obs"])
    assert compression.unpack_if_needed(rows) is rows
    assert compression.unpack_if_needed("text") == "text"


def test_columns_of_compressed_rows() -> None:
    column = np.empty(2, object)
    column[:] = [compression.pack(np.full(2, i)) for i in range(2)]
    assert compression.is_compressed(column) and not compression.is_compressed(np.zeros(2))
    unpacked = compression.unpack_if_needed(column)
    np.testing.assert_array_equal(np.stack(list(unpacked)), [[0, 0], [1, 1]])


# -- names of counters, timers and columns: results are read by them


@pytest.mark.parametrize(
    ("found", "value"),
    [
        (common.AGENT_STEPS_SAMPLED_COUNTER, "num_agent_steps_sampled"),
        (common.AGENT_STEPS_TRAINED_COUNTER, "num_agent_steps_trained"),
        (common.STEPS_TRAINED_COUNTER, "num_steps_trained"),
        (common.STEPS_TRAINED_THIS_ITER_COUNTER, "num_steps_trained_this_iter"),
        (common.APPLY_GRADS_TIMER, "apply_grad"),
        (common.COMPUTE_GRADS_TIMER, "compute_grads"),
        (common.GRAD_WAIT_TIMER, "grad_wait"),
        (common.LEARN_ON_BATCH_TIMER, "learn"),
        (common.LOAD_BATCH_TIMER, "load"),
        (common.SAMPLE_TIMER, "sample"),
        (common.WORKER_UPDATE_TIMER, "synch_weights"),
        (common.NUM_TARGET_UPDATES, "num_target_updates"),
        (learner_info.LEARNER_INFO, "learner"),
        (learner_info.LEARNER_STATS_KEY, "learner_stats"),
        (numbers.LARGE_INTEGER, 100_000_000),
        (numbers.SMALL_NUMBER, 1e-6),
        (numbers.MIN_LOG_NN_OUTPUT, -5),
        (numbers.MAX_LOG_NN_OUTPUT, 2),
        (deprecation.DEPRECATED_VALUE, -1),
    ],
)
def test_constants_are_those_of_rllib(found: Any, value: Any) -> None:
    assert found == value


ALIASES = {
    "TaskType": 3,
    "AgentID": "a", "EnvID": 3, "PolicyID": "p", "EnvInfoDict": {"x": 1}, "EnvConfigDict": {"x": 1}, "EnvType": object(),
    "EnvObsType": 1, "EnvActionType": 1, "ModelConfigDict": {"x": 1}, "ModelGradients": [1], "ModelWeights": {"w": 1},
    "AlgorithmConfigDict": {"x": 1}, "PartialAlgorithmConfigDict": {"x": 1}, "PartialTrainerConfigDict": {"x": 1},
    "MultiAgentDict": {"a": 1}, "MultiEnvDict": {0: {"a": 1}}, "PolicyState": {"w": 1}, "ResultDict": {"x": 1},
    "SampleBatchType": 1, "StateBatches": [[1]], "TensorShape": (1, 2), "TensorStructType": 1, "FileType": 1,
    "GradInfoDict": {"x": 1}, "LearnerStatsDict": {"x": 1},
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(ALIASES))
def test_aliases_are_types_of_what_they_name(name: str) -> None:
    alias, value = TaskType if name == "TaskType" else getattr(names, name), ALIASES[name]
    kind = alias if isinstance(alias, types.UnionType) else typing.get_origin(alias) or alias
    assert alias is Any or isinstance(value, kind)
    assert typing.get_type_hints(_annotated_with(alias))["x"] == alias  # it can stand in an annotation


def _annotated_with(alias: Any) -> Any:
    def function(x: Any) -> None: ...

    function.__annotations__["x"] = alias
    return function


# -- batches


def test_batches_of_one_policy_and_of_several_are_put_together() -> None:
    def batch(*values: int) -> SampleBatch:
        return SampleBatch({"obs": np.array(values)})

    plain = concat_samples_into_ma_batch([batch(1, 2), batch(3)])
    assert isinstance(plain, MultiAgentBatch) and plain.env_steps() == 3
    assert plain.policy_batches["default_policy"]["obs"].tolist() == [1, 2, 3]
    mixed = concat_samples_into_ma_batch(
        [MultiAgentBatch({"a": batch(1), "b": batch(2, 3)}, 2), MultiAgentBatch({"b": batch(4)}, 5)]
    )
    assert mixed.env_steps() == 7
    assert {key: b["obs"].tolist() for key, b in mixed.policy_batches.items()} == {"a": [1], "b": [2, 3, 4]}


def test_likelihoods_of_a_batch_are_asked_for_with_states_and_what_came_before() -> None:
    asked: dict[str, Any] = {}

    def compute(**kwargs: Any) -> str:
        asked.update(kwargs)
        return "log p"

    policy = SimpleNamespace(compute_log_likelihoods=compute, config={"actions_in_input_normalized": True})
    batch = {"obs": "o", "actions": "a", "state_in_0": "s0", "state_in_1": "s1", "prev_rewards": "r"}
    assert compute_log_likelihoods_from_input_dict(policy, batch) == "log p"
    assert asked == {
        "actions": "a",
        "obs_batch": "o",
        "state_batches": ["s0", "s1"],
        "prev_action_batch": None,
        "prev_reward_batch": "r",
        "actions_normalized": True,
    }


# -- trees


@pytest.mark.parametrize("operation", [operator.add, min, max])
def test_a_segment_tree_combines_any_part(operation: Any) -> None:
    values = np.random.default_rng(0).normal(size=8).round(3)
    tree = SegmentTree(8, operation)
    assert tree.reduce() == tree.neutral_element
    for i, value in enumerate(values):
        tree[i] = float(value)
    combined = {operator.add: np.sum, min: np.min, max: np.max}[operation]
    for start in range(8):
        for end in range(start + 1, 9):
            assert tree.reduce(start, end) == pytest.approx(combined(values[start:end]))
    assert tree[-1] == values[-1] and tree.reduce(2, -1) == pytest.approx(combined(values[2:-1]))
    copy = SegmentTree(2, operation)
    copy.set_state(tree.get_state())
    assert copy.reduce() == pytest.approx(tree.reduce()) and copy.capacity == 8


def test_bad_uses_of_segment_trees() -> None:
    with pytest.raises(ValueError, match="power of two, not 6"):
        SumSegmentTree(6)
    with pytest.raises(IndexError, match="no entry 4"):
        MinSegmentTree(4)[4]


def test_entries_are_found_by_prefix_sums() -> None:
    tree = SumSegmentTree(4)
    for i in range(4):
        tree[i] = i + 1.0
    assert [tree.find_prefixsum_idx(mass) for mass in (0.0, 0.99, 1.0, 2.99, 3.0, 9.99)] == [0, 0, 1, 1, 2, 3]


# -- objects, schedules, marks, pictures


def test_classes_by_name() -> None:
    assert class_of("collections.OrderedDict").__name__ == "OrderedDict"
    assert class_of("Discrete", "gymnasium.spaces") is gymnasium.spaces.Discrete
    for name, module in (("Discreet", "gymnasium.spaces"), ("no_such_module.Discrete", None), ("Discrete", None)):
        with pytest.raises(ValueError, match="there is no class"):
            class_of(name, module)


def test_a_schedule_of_ones_own() -> None:
    class Halves(Schedule):
        def _value(self, t: float) -> float:
            return 0.5**t

    halves = Halves(framework="torch")
    assert halves(2) == halves.value(2) == 0.25
    assert Schedule.positive(3) == 3
    with pytest.raises(ValueError, match="must be positive, not 0"):
        Schedule.positive(0)
    with pytest.raises(TypeError, match="abstract"):
        Schedule()  # type: ignore[abstract]


def test_marks_leave_what_they_mark() -> None:
    @annotations.ExperimentalAPI
    class Base:
        @annotations.OverrideToImplementCustomLogic_CallToSuperRecommended
        def setup(self) -> int:
            return 1

    class Derived(Base):
        def setup(self) -> int:
            return super().setup() + 1

    assert annotations.ExperimentalAPI(reason="new")(Base) is Base
    assert not annotations.is_overridden(Base().setup) and annotations.is_overridden(Derived().setup)
    assert Derived().setup() == 2


def test_spaces_of_gymnasium_stay_what_they_are() -> None:
    space = gymnasium.spaces.Box(-1, 1, (2,))
    assert gym_utils.convert_old_gym_space_to_gymnasium_space(space) is space
    new, old = gym_utils.try_import_gymnasium_and_gym()
    assert new is gymnasium and (old is None or old.__name__ == "gym")


def test_pictures_are_read(tmp_path: Any) -> None:
    imageio = pytest.importorskip("imageio.v3")
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    imageio.imwrite(tmp_path / "p.png", picture)
    np.testing.assert_array_equal(images.imread(str(tmp_path / "p.png")), picture)


def test_the_decorator_of_a_framework() -> None:
    marked: list[Any] = []
    module = SimpleNamespace(function=lambda f: marked.append(f) or f)

    @tf_function(module)
    def square(x: float) -> float:
        return x * x

    assert square(3.0) == 9.0 and len(marked) == 1


# -- checks for tests


def test_frameworks_are_set_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    there = {"torch"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name in there else None)
    config: dict[str, Any] = {}
    times: dict[str, float] = {}
    assert [(f, config["framework"]) for f in test_utils.framework_iterator(config, time_iterations=times)] == [
        ("torch", "torch")
    ]
    assert set(times) == {"torch"} and times["torch"] >= 0.0
    there.add("tensorflow")
    assert list(test_utils.framework_iterator({})) == ["tf2", "torch"]
    assert list(test_utils.framework_iterator(frameworks="torch")) == ["torch"]


def test_results_of_training_are_checked() -> None:
    keys = [
        "config",
        "custom_metrics",
        "episode_len_mean",
        "episode_reward_mean",
        "episodes_total",
        "hist_stats",
        "info",
        "iterations_since_restore",
        "num_healthy_workers",
        "perf",
        "policy_reward_mean",
        "sampler_perf",
        "time_since_restore",
        "time_this_iter_s",
        "timers",
        "timesteps_total",
        "training_iteration",
    ]
    result: dict[str, Any] = dict.fromkeys(keys, 0)
    result["info"] = {metrics.LEARNER_INFO: {"p": {metrics.LEARNER_STATS_KEY: {}}}}
    assert test_utils.check_train_results(result) is result
    with pytest.raises(AssertionError, match="no learner_stats"):
        test_utils.check_train_results({**result, "info": {"learner": {"p": {}}}})
    del result["timers"]
    with pytest.raises(AssertionError, match="timers"):
        test_utils.check_train_results(result)


@pytest.mark.parametrize("action", [1, 7])
def test_single_actions_are_checked(action: int) -> None:
    space = gymnasium.spaces.Discrete(2)
    asked: list[dict[str, Any]] = []

    def compute(obs: Any, **kwargs: Any) -> Any:
        asked.append(kwargs)
        return action, [], {}

    policy = SimpleNamespace(observation_space=space, action_space=space, get_initial_state=lambda: ["s"])
    worker = SimpleNamespace(env=None)
    algorithm = SimpleNamespace(
        get_policy=lambda: policy,
        workers=SimpleNamespace(local_worker=lambda: worker),
        compute_single_action=compute,
    )
    if action in (0, 1):
        test_utils.check_compute_single_action(algorithm, include_state=True, include_prev_action_reward=True)
        assert [kwargs["explore"] for kwargs in asked] == [True, False]
        assert asked[0]["state"] == ["s"] and asked[0]["prev_reward"] == 1.0 and asked[0]["prev_action"] in (0, 1)
    else:
        with pytest.raises(AssertionError, match="7 is not in"):
            test_utils.check_compute_single_action(algorithm)

"""Names and places that scripts for Ray 2.0 to 2.3 import; without a framework."""

from __future__ import annotations

import importlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aktis.rllib.execution.segment_tree import MinSegmentTree, SumSegmentTree
from aktis.rllib.utils import images
from aktis.rllib.utils.debug import summarize
from aktis.rllib.utils.gym import check_old_gym_env
from aktis.rllib.utils.threading import with_lock

NAMES = """
algorithms.callbacks:RE3UpdateCallbacks
algorithms.pg.utils:post_process_advantages
env.wrappers.multi_agent_env_compatibility:MultiAgentEnvCompatibility
evaluation:SampleBatchBuilder
evaluation.observation_function:ObservationFunction
examples.env.cartpole_mass:CartPoleMassEnv
examples.env.pendulum_mass:PendulumMassEnv
execution:LearnerThread,MinibatchBuffer,multi_gpu_train_one_step,standardize_fields,synchronous_parallel_sample,train_one_step
execution.buffers.mixin_replay_buffer:MixInMultiAgentReplayBuffer
execution.common:STEPS_SAMPLED_COUNTER,LAST_TARGET_UPDATE_TS
utils.error:EnvError,UnsupportedSpaceException
utils.framework:TensorType,try_import_torch
utils.sgd:do_minibatch_sgd,minibatches,standardized
utils.timer:TimerStat
utils.typing:TrainerConfigDict,EpisodeID,UnrollID
utils.window_stat:WindowStat
"""


@pytest.mark.parametrize("line", NAMES.split())
def test_is_where_it_was(line: str) -> None:
    module, names = line.split(":")
    found = importlib.import_module(f"aktis.rllib.{module}")
    assert all(hasattr(found, name) for name in names.split(","))


@pytest.mark.parametrize("name", ["a3c", "appo", "dqn", "es", "impala", "marwil", "pg", "ppo", "sac", "simple_q"])
def test_default_config_is_a_new_dictionary_each_time(name: str) -> None:
    for place in (f"aktis.rllib.algorithms.{name}", f"aktis.rllib.algorithms.{name}.{name}"):
        module = importlib.import_module(place)
        config = module.DEFAULT_CONFIG
        config["gamma"] = 0.123
        assert module.DEFAULT_CONFIG["gamma"] != 0.123
        assert module.DEFAULT_CONFIG["num_workers"] >= 0


@given(st.lists(st.floats(0, 100), min_size=8, max_size=8), st.integers(0, 7), st.integers(0, 8))
def test_segment_trees_are_sums_and_minima(values: list[float], start: int, end: int) -> None:
    sums, minima = SumSegmentTree(8), MinSegmentTree(8)
    for i, value in enumerate(values):
        sums[i] = value
        minima[i] = value
    assert sums.sum(start, end) == pytest.approx(sum(values[start:end]))
    assert minima.min(start, end) == min(values[start:end], default=float("inf"))
    assert minima.min() == min(values)
    for mass in np.linspace(0, sum(values) * 0.999, 7):
        found = sums.find_prefixsum_idx(mass)
        assert sum(values[:found]) <= mass + 1e-6


def test_pictures() -> None:
    picture = np.zeros((4, 4, 3), np.uint8)
    picture[:2, :2] = 200
    assert images.resize(picture, 2, 2)[:, :, 0].tolist() == [[200, 0], [0, 0]]
    assert images.resize(picture, 1, 1)[0, 0, 0] == 50
    assert images.rgb2gray(picture)[0, 0] == 200
    assert images.rgb2gray(picture).dtype == np.uint8


def test_summaries_and_old_environments() -> None:
    text = summarize({"obs": np.ones((2, 3), np.float32), "infos": [{}]})
    assert "array((2, 3), float32, min=1.0, max=1.0, mean=1.0)" in text
    assert check_old_gym_env(step_results=(0, 0.0, False, {}))
    assert not check_old_gym_env(reset_results=(0, {}))
    assert check_old_gym_env(reset_results=np.zeros(3))


def test_with_lock_needs_a_lock() -> None:
    class Counter:
        @with_lock
        def count(self) -> int:
            return 1

    with pytest.raises(AttributeError, match="_lock"):
        Counter().count()


def test_old_environments_of_several_agents() -> None:
    from aktis.rllib.env.wrappers.multi_agent_env_compatibility import MultiAgentEnvCompatibility

    class Old:
        observation_space = action_space = None

        def reset(self) -> Any:
            return {"a": 1, "b": 2}

        def step(self, actions: Any) -> Any:
            cut = {"a": {"TimeLimit.truncated": True}}
            return {"a": 3}, {"a": 1.0}, {"a": True, "b": True, "__all__": True}, cut

    env = MultiAgentEnvCompatibility(Old())
    assert env.reset(seed=3) == ({"a": 1, "b": 2}, {"a": {}, "b": {}})
    _, _, terminateds, truncateds, _ = env.step({"a": 0})
    assert (terminateds["a"], terminateds["b"], terminateds["__all__"]) == (False, True, False)
    assert (truncateds["a"], truncateds["b"], truncateds["__all__"]) == (True, False, True)


def test_scripts_for_both_frameworks_are_imported_without_tensorflow() -> None:
    code = """
import sys
sys.modules["tensorflow"] = None
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "tensorflow" else real(name, package)
from aktis.rllib.algorithms.ppo.ppo_tf_policy import PPOTF1Policy, PPOTF2Policy
from aktis.rllib.models.tf.fcnet import FullyConnectedNetwork
from aktis.rllib.models.tf.misc import normc_initializer
from aktis.rllib.models.tf.tf_modelv2 import TFModelV2

class Mine(TFModelV2):
    pass

try:
    Mine(None, None, 2, {}, "mine")
except ImportError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == 'Mine needs TensorFlow: pip install "aktis-rllib[tensorflow]"'

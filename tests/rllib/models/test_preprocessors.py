"""Preprocessors: every space to an array, and back to its structure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from tests.rllib.spaces.strategies import action_spaces, observation_spaces

from aktis.rllib.models._structure import restore_original_dimensions
from aktis.rllib.models.catalog import MODEL_DEFAULTS, ModelCatalog
from aktis.rllib.models.preprocessors import Preprocessor
from aktis.rllib.models.repeated_values import RepeatedValues
from aktis.rllib.utils.error import UnsupportedSpaceException
from aktis.rllib.utils.spaces.repeated import Repeated
from aktis.rllib.utils.spaces.simplex import Simplex
from aktis.rllib.utils.spaces.space_utils import batch


def of(space: Any, **options: Any) -> Preprocessor:
    return ModelCatalog.get_preprocessor_for_space(space, options)


@given(observation_spaces, st.integers(0, 2**31))
def test_an_array_of_every_space_and_back(space: Any, seed: int) -> None:
    space.seed(seed)
    observations = [space.sample() for _ in range(2)]
    preprocessor = of(space)
    arrays = np.stack([preprocessor.transform(observation) for observation in observations])
    assert arrays[0].shape == preprocessor.shape
    assert arrays[0].size == preprocessor.size
    assert preprocessor.observation_space.shape == preprocessor.shape
    restored = restore_original_dimensions(arrays, preprocessor.observation_space, "numpy")
    for row, observation in enumerate(observations):
        _same(space, observation, _row(restored, row))


def _row(restored: Any, row: int) -> Any:
    if isinstance(restored, dict):
        return {key: _row(value, row) for key, value in restored.items()}
    if isinstance(restored, tuple):
        return tuple(_row(value, row) for value in restored)
    if isinstance(restored, RepeatedValues):
        return RepeatedValues(_row(restored.values, row), restored.lengths[row], restored.max_len)
    return restored[row]


def _same(space: Any, observation: Any, restored: Any) -> None:
    """What was observed is what the model sees in the same place."""
    if isinstance(space, spaces.Dict):
        assert list(restored) == list(space.spaces)
        for key, child in space.spaces.items():
            _same(child, observation[key], restored[key])
    elif isinstance(space, spaces.Tuple):
        for child, one, other in zip(space.spaces, observation, restored, strict=True):
            _same(child, one, other)
    elif isinstance(space, Repeated) and isinstance(restored, RepeatedValues):
        assert int(restored.lengths) == len(observation)
        for index, one in enumerate(observation):
            _same(space.child_space, one, _row(restored.values, index))
    elif isinstance(space, spaces.Discrete):
        assert np.flatnonzero(restored).tolist() == [observation - space.start] and len(restored) == space.n
    elif isinstance(space, spaces.MultiDiscrete):
        offsets = np.concatenate([[0], np.cumsum(space.nvec)[:-1]])
        assert np.flatnonzero(restored).tolist() == (offsets + observation).tolist()
    else:
        np.testing.assert_allclose(restored, observation)


@given(action_spaces, st.integers(0, 2**31), st.integers(1, 3))
def test_a_batch_at_once_is_the_same(space: Any, seed: int, count: int) -> None:
    space.seed(seed)
    observations = [space.sample() for _ in range(count)]
    preprocessor = of(space)
    want = np.stack([preprocessor.transform(observation) for observation in observations])
    np.testing.assert_allclose(preprocessor.transform_batch(batch(observations)), want)


def test_one_hot() -> None:
    assert of(spaces.Discrete(3)).transform(1).tolist() == [0, 1, 0]
    assert of(spaces.Discrete(3, start=5)).transform(7).tolist() == [0, 0, 1]
    assert of(spaces.MultiDiscrete([2, 3])).transform(np.array([1, 0])).tolist() == [0, 1, 1, 0, 0]
    grid = spaces.MultiDiscrete(np.array([[2, 2], [3, 2]]))
    assert of(grid).transform(np.array([[1, 0], [2, 1]])).tolist() == [0, 1, 1, 0, 0, 0, 1, 0, 1]
    assert of(spaces.Discrete(3)).observation_space.original_space == spaces.Discrete(3)


def test_a_dict_is_flattened_in_the_order_of_its_space() -> None:
    space = spaces.Dict(a=spaces.Discrete(2), b=spaces.Box(-1, 1, (1, 2)))
    assert of(space).transform({"b": np.array([[0.5, -0.5]]), "a": 1}).tolist() == [0, 1, 0.5, -0.5]


def test_frames_and_memory_of_an_atari() -> None:
    space = spaces.Box(0, 255, (210, 160, 3), np.uint8)
    frame = np.zeros((210, 160, 3), np.uint8)
    frame[25:-25, :80] = 255
    seen = of(space, dim=42).transform(frame)
    assert seen.shape == (42, 42, 3) and seen.dtype == np.float32
    np.testing.assert_allclose(seen[:, :21], 127 / 128)
    np.testing.assert_allclose(seen[:, 21:], -1.0)
    gray = of(space, dim=42, grayscale=True, zero_mean=False)
    assert gray.shape == (42, 42, 1) and gray.transform(frame).max() == 1.0
    ram = of(spaces.Box(0, 255, (128,), np.uint8))
    assert ram.transform(np.full(128, 128, np.uint8)).tolist() == [0.0] * 128
    other = of(spaces.Box(-1, 1, (128,)))  # 128 floats are no memory
    assert other.transform(np.full(128, 0.5, np.float32)).tolist() == [0.5] * 128


def test_scaling_keeps_the_mean() -> None:
    from aktis.rllib.models.preprocessors import _resized

    image = np.random.default_rng(0).uniform(0, 255, (160, 160, 3)).astype(np.float32)
    small = _resized(_resized(image, 84, 0), 84, 1)
    np.testing.assert_allclose(small.mean((0, 1)), image.mean((0, 1)), rtol=1e-4)
    np.testing.assert_allclose(_resized(image, 80, 0), image.reshape(80, 2, 160, 3).mean(1), rtol=1e-4)


def test_what_stays_as_it_is() -> None:
    image = np.zeros((84, 84, 4), np.uint8)
    assert of(spaces.Box(0, 255, (84, 84, 4), np.uint8)).transform(image) is image
    assert of(Simplex((2,))).transform(np.array([0.5, 0.5], np.float32)).tolist() == [0.5, 0.5]
    space = spaces.Dict(a=spaces.Discrete(2))
    observation = {"a": 1}
    untouched = of(space, _disable_preprocessor_api=True)
    assert untouched.transform(observation) is observation and untouched.observation_space is space


@pytest.mark.parametrize(
    ("space", "fix"),
    [
        (spaces.Text(4), "encode the text"),
        (spaces.Sequence(spaces.Discrete(2)), "Repeated"),
        (spaces.Dict(a=spaces.Text(4)), "encode the text"),
        (spaces.Graph(spaces.Box(0, 1, (2,)), None), "nodes and edges"),
    ],
)
def test_spaces_that_no_network_takes(space: Any, fix: str) -> None:
    with pytest.raises(UnsupportedSpaceException, match=fix):
        of(space)


def test_no_space_at_all() -> None:
    with pytest.raises(TypeError, match=r"gymnasium space, not builtins\.int"):
        of(3)


def test_a_wrong_observation_says_where() -> None:
    space = spaces.Dict(position=spaces.Box(-1, 1, (2,)))
    with pytest.raises(ValueError, match=r"at \['position'\]: shape \(2,\) is needed, and it is \(3,\)"):
        of(space).transform({"position": np.zeros(3)})


def test_only_some_observations_are_checked() -> None:
    preprocessor = of(spaces.Box(-1, 1, (1,)))
    preprocessor.transform(np.zeros(1))
    outside = np.array([5.0])
    for _ in range(99):
        preprocessor.transform(outside)
    with pytest.raises(ValueError, match="above the bound"):
        preprocessor.transform(outside)


class _Doubled(Preprocessor):
    def _init_shape(self, obs_space: Any, options: dict[str, Any]) -> tuple[int, ...]:
        return tuple(obs_space.shape)

    def transform(self, observation: Any) -> Any:
        return observation * 2


def test_a_preprocessor_of_ones_own() -> None:
    ModelCatalog.register_custom_preprocessor("doubled", _Doubled)
    space = spaces.Box(-1, 1, (2,))
    assert of(space, custom_preprocessor="doubled").transform(np.ones(2)).tolist() == [2, 2]
    assert of(space, custom_preprocessor=_Doubled).transform_batch(np.ones((3, 2))).tolist() == [[2, 2]] * 3
    with pytest.raises(ValueError, match="register_custom_preprocessor"):
        of(space, custom_preprocessor="tripled")


def test_unknown_options_name_the_nearest() -> None:
    with pytest.raises(ValueError, match="'grey_scale'.*did you mean 'grayscale'"):
        of(spaces.Discrete(2), grey_scale=True)


def test_repeated_values_by_row_and_by_position() -> None:
    space = Repeated(spaces.Dict(a=spaces.Discrete(2), b=spaces.Box(-1, 1, (2,))), 3)
    preprocessor = of(space)
    rows = [[{"a": 1, "b": np.array([0.1, 0.2])}], [{"a": 0, "b": np.array([0.3, 0.4])}, {"a": 1, "b": np.zeros(2)}]]
    arrays = np.stack([preprocessor.transform(row) for row in rows])
    restored = restore_original_dimensions(arrays, preprocessor.observation_space, "numpy")
    assert restored.lengths.tolist() == [1, 2] and restored.max_len == 3
    assert [len(row) for row in restored.unbatch_all()] == [1, 2]
    np.testing.assert_allclose(restored.unbatch_all()[1][0]["b"], [0.3, 0.4])
    by_position = restored.unbatch_repeat_dim()
    assert len(by_position) == 3
    np.testing.assert_allclose(by_position[0]["a"], [[0, 1], [1, 0]])


def test_every_key_of_a_model_configuration_is_explained() -> None:
    from aktis.rllib.models._defaults import MODEL_KEYS, checked_model_config

    assert all(key.meaning.endswith(".") for key in MODEL_KEYS)
    assert len({key.name for key in MODEL_KEYS}) == len(MODEL_KEYS) == len(MODEL_DEFAULTS)
    merged = checked_model_config({"fcnet_hiddens": [3]})
    assert merged["fcnet_hiddens"] == [3] and merged["fcnet_activation"] == "tanh"
    merged["post_fcnet_hiddens"].append(1)
    assert MODEL_DEFAULTS["post_fcnet_hiddens"] == []
    assert checked_model_config({"lstm_use_prev_action_reward": True})["lstm_use_prev_reward"] is True
    with pytest.raises(ValueError, match="not both"):
        checked_model_config({"use_lstm": True, "use_attention": True})
    with pytest.raises(TypeError, match="is a dict, not list"):
        checked_model_config([1])
    with pytest.raises(ValueError, match="custom_model_config"):
        checked_model_config({"xyzzy": 1})

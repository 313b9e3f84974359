"""Parts of models that need no framework: preprocessors by class, plans of convolutions, names."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from aktis.rllib.models import ActionDistribution, preprocessors
from aktis.rllib.models.utils import Convolution, Convolutions, activation_name, convolutions, same_padding
from aktis.rllib.utils.spaces.repeated import Repeated

# What RLlib 2.3 gives for the same spaces and observations.
TRANSFORMED = [
    (preprocessors.NoPreprocessor, spaces.Box(-1, 1, (2,)), np.array([0.5, 0.25], np.float32), [0.5, 0.25]),
    (preprocessors.OneHotPreprocessor, spaces.Discrete(3, start=5), 6, [0, 1, 0]),
    (preprocessors.OneHotPreprocessor, spaces.MultiDiscrete([2, 3]), np.array([1, 2]), [0, 1, 0, 0, 1]),
    (preprocessors.RepeatedValuesPreprocessor, Repeated(spaces.Discrete(3), 2), [1], [1, 0, 1, 0, 0, 0, 0]),
    (
        preprocessors.TupleFlatteningPreprocessor,
        spaces.Tuple([spaces.Discrete(2), spaces.Box(-1, 1, (2,))]),
        (1, np.array([0.5, 0.25], np.float32)),
        [0, 1, 0.5, 0.25],
    ),
    (
        preprocessors.DictFlatteningPreprocessor,
        spaces.Dict(a=spaces.Box(-1, 1, (2,)), b=spaces.Discrete(2)),
        {"b": 1, "a": np.array([0.5, 0.25], np.float32)},
        [0.5, 0.25, 0, 1],
    ),
    (
        preprocessors.AtariRamPreprocessor,
        spaces.Box(0, 255, (128,), np.uint8),
        np.arange(128, dtype=np.uint8),
        (np.arange(128) - 128) / 128,
    ),
]


@pytest.mark.parametrize(("cls", "space", "observation", "wanted"), TRANSFORMED)
def test_each_class_gives_what_rllib_gives(cls: Any, space: Any, observation: Any, wanted: Any) -> None:
    preprocessor = cls(space)
    got = preprocessor.transform(observation)
    np.testing.assert_allclose(got, wanted)
    assert preprocessor.shape == np.shape(got) and preprocessor.size == np.size(got)
    assert preprocessor.observation_space.contains(np.asarray(got, preprocessor.observation_space.dtype))
    array = np.full(preprocessor.size + 3, 0.0, np.float32)
    array[:2] = array[-1] = 9.0
    preprocessor.write(observation, array, 2)
    np.testing.assert_allclose(array, [9.0, 9.0, *np.ravel(wanted), 9.0])
    assert type(preprocessors.get_preprocessor(space)(space)) is cls


@pytest.mark.parametrize(("gray", "centered"), [(True, True), (False, True), (True, False)])
def test_frames_become_small_floats(gray: bool, centered: bool) -> None:
    space = spaces.Box(0, 255, preprocessors.ATARI_OBS_SHAPE, np.uint8)
    options = {"dim": 20, "grayscale": gray, "zero_mean": centered}
    preprocessor = preprocessors.GenericPixelPreprocessor(space, options)
    frame = np.zeros(space.shape, np.uint8)
    frame[25:-25, 80:] = 255  # the right half of the field; score and edge are black
    small = preprocessor.transform(frame)
    assert small.shape == preprocessor.shape == (20, 20, 1 if gray else 3)
    low, high = (-1.0, 127 / 128) if centered else (0.0, 1.0)
    np.testing.assert_allclose(small[:, :10], low, atol=1e-6)
    np.testing.assert_allclose(small[:, 10:], high, atol=1e-6)


def test_preprocessors_of_parts_are_kept() -> None:
    space = spaces.Dict(a=spaces.Discrete(2), frame=spaces.Box(0, 255, (210, 160, 3), np.uint8))
    kept = preprocessors.preprocessor_for(space)
    assert kept is preprocessors.preprocessor_for(space)
    assert kept is not preprocessors.preprocessor_for(spaces.Dict(a=spaces.Discrete(2)))
    # Frames stay as they are within a structure.
    assert isinstance(preprocessors.preprocessor_for(space["frame"]), preprocessors.NoPreprocessor)


@pytest.mark.parametrize(
    ("given", "known"),
    [
        (None, "linear"),
        ("linear", "linear"),
        ("ReLU", "relu"),
        ("Swish", "silu"),
        ("identity", "linear"),
        ("tanh", "tanh"),
    ],
)
def test_activations_have_one_spelling(given: Any, known: str) -> None:
    assert activation_name(given) == known


@pytest.mark.parametrize("given", ["rellu", 3, []])
def test_unknown_activations_are_refused(given: Any) -> None:
    with pytest.raises(ValueError, match="Unknown activation"):
        activation_name(given)


@pytest.mark.parametrize("size", [(7, 10), (84, 84), (5, 4), (1, 9)])
@pytest.mark.parametrize("kernel", [1, (3, 4), 8])
@pytest.mark.parametrize("stride", [1, 2, (2, 3)])
def test_padding_gives_as_many_pixels_as_strides(size: Any, kernel: Any, stride: Any) -> None:
    (left, right, top, bottom), out = same_padding(size, kernel, stride)
    kernel, stride = np.broadcast_to(kernel, 2), np.broadcast_to(stride, 2)
    assert out == (math.ceil(size[0] / stride[0]), math.ceil(size[1] / stride[1]))
    for axis, added in enumerate((top + bottom, left + right)):
        covered = (out[axis] - 1) * stride[axis] + kernel[axis]
        assert added == max(covered - size[axis], 0)
    assert 0 <= right - left <= 1 and 0 <= bottom - top <= 1


def test_paddings_of_rllib() -> None:
    assert same_padding((7, 10), (3, 4), 2) == ((1, 1, 1, 1), (4, 5))
    assert same_padding((84, 84), 8, 4) == ((2, 2, 2, 2), (21, 21))


def test_a_plan_of_convolutions() -> None:
    plan = convolutions((10, 12, 3), {"conv_filters": [[4, 3, 2], [8, [5, 6], 1]]})
    assert plan == Convolutions(
        [
            Convolution(4, (3, 3), (2, 2), (0, 1, 0, 1), (5, 6)),
            Convolution(8, (5, 6), (1, 1), None, (1, 1)),
        ],
        flat_size=8,
        dense=(),
    )
    nature = convolutions((84, 84, 4), {"conv_filters": "nature"})
    assert [layer.out for layer in nature.layers] == [(20, 20), (9, 9), (7, 7)]
    assert nature.flat_size == 7 * 7 * 64 and nature.dense == (512,)
    assert convolutions((84, 84, 4), {"conv_filters": "nature", "post_fcnet_hiddens": [32]}).dense == ()
    with pytest.raises(ValueError, match="larger than the 5 x 6 pixels"):
        convolutions((10, 12, 3), {"conv_filters": [[4, 3, 2], [8, 8, 1]]})


def test_an_action_distribution_says_what_it_lacks() -> None:
    class Always(ActionDistribution):
        def sample(self) -> Any:
            self.last_sample = self.inputs
            return self.inputs

        def logp(self, x: Any) -> Any:
            return np.zeros(len(x)) - 1.0

        def entropy(self) -> Any:
            return np.ones(len(self.inputs))

    dist = Always(np.array([[1.0], [2.0]]))
    with pytest.raises(ValueError, match="call sample"):
        dist.sampled_action_logp()
    assert dist.sample().tolist() == [[1.0], [2.0]]
    assert dist.sampled_action_logp().tolist() == [-1.0, -1.0]
    assert dist.multi_entropy().tolist() == [1.0, 1.0]
    for missing in (dist.deterministic_sample, lambda: dist.kl(dist), lambda: dist.multi_kl(dist)):
        with pytest.raises(NotImplementedError, match="Always defines no"):
            missing()
    with pytest.raises(NotImplementedError, match="required_model_output_shape"):
        dist.required_model_output_shape(spaces.Discrete(2), {})

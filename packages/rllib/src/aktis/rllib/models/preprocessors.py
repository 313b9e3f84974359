"""Preprocessors: from an observation of any space to the array that a model is given."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from aktis.rllib.utils.error import UnsupportedSpaceException
from aktis.rllib.utils.spaces.explain import explain_mismatch
from aktis.rllib.utils.spaces.repeated import Repeated
from aktis.rllib.utils.spaces.simplex import Simplex

ATARI_OBS_SHAPE = (210, 160, 3)
ATARI_RAM_OBS_SHAPE = (128,)
OBS_VALIDATION_INTERVAL = (
    100  # only every so many observations are checked against the space: it costs more than the transformation
)


class Preprocessor:
    """Turns observations of one space into arrays of one shape.

    Derive from it, define `_init_shape` and `transform`, and register the class with `ModelCatalog.register_custom_preprocessor`.

    Attributes:
        shape: Shape of what `transform` returns.
        options: The model configuration.
    """

    def __init__(self, obs_space: spaces.Space[Any], options: dict[str, Any] | None = None) -> None:
        self._obs_space = obs_space
        if options is None:
            from aktis.rllib.models._defaults import MODEL_DEFAULTS

            options = dict(MODEL_DEFAULTS)
        self.options = options
        self.shape: tuple[int, ...] = tuple(self._init_shape(obs_space, options))
        self._size = int(np.prod(self.shape, dtype=np.int64))
        self._seen = 0
        self._space: spaces.Space[Any] | None = None

    def _init_shape(self, obs_space: spaces.Space[Any], options: dict[str, Any]) -> tuple[int, ...]:
        """Shape of what `transform` returns."""
        raise NotImplementedError(f"{type(self).__name__} defines no _init_shape(obs_space, options).")

    def transform(self, observation: Any) -> Any:
        """The array of one observation."""
        raise NotImplementedError(f"{type(self).__name__} defines no transform(observation).")

    def write(self, observation: Any, array: Any, offset: int) -> None:
        """Write `transform(observation)` into ``array[offset : offset + size]``."""
        array[offset : offset + self._size] = np.ravel(self.transform(observation))

    def transform_batch(self, observations: Any) -> Any:
        """The arrays [N, *shape] of a batch: arrays [N, ...] in the structure of the space, as vectorised
        environments give them."""
        from aktis.rllib.utils.spaces.space_utils import unbatch

        return np.stack([self.transform(observation) for observation in unbatch(observations)])

    def check_shape(self, observation: Any) -> None:
        """Check an observation against the space: the first, and then one of every `OBS_VALIDATION_INTERVAL`.

        Raises:
            ValueError: it is not in the space; the message says where, and why.
        """
        if self._seen % OBS_VALIDATION_INTERVAL == 0:
            problem = explain_mismatch(self._obs_space, observation)
            if problem:
                raise ValueError(
                    f"The environment gave an observation that is not in its observation space: {problem}. "
                    f"Space: {self._obs_space}. Change the space or the observation."
                )
        self._seen += 1

    @property
    def size(self) -> int:
        """How many numbers `transform` returns."""
        return self._size

    @property
    def observation_space(self) -> spaces.Space[Any]:
        """The space of what `transform` returns; the environment's space is its ``original_space``."""
        if self._space is None:
            low, high = self._bounds()
            self._space = spaces.Box(low, high, self.shape, dtype=np.float32)
            self._space.original_space = self._obs_space
        return self._space

    def _bounds(self) -> tuple[float, float]:
        return -np.inf, np.inf


class NoPreprocessor(Preprocessor):
    """Observations as they are."""

    def _init_shape(self, obs_space: spaces.Space[Any], options: dict[str, Any]) -> tuple[int, ...]:
        return tuple(obs_space.shape or ())

    def transform(self, observation: Any) -> Any:
        self.check_shape(observation)
        return observation

    def transform_batch(self, observations: Any) -> Any:
        return observations

    def write(self, observation: Any, array: Any, offset: int) -> None:
        array[offset : offset + self._size] = np.ravel(observation)

    @property
    def observation_space(self) -> spaces.Space[Any]:
        return self._obs_space


class OneHotPreprocessor(Preprocessor):
    """Discrete and MultiDiscrete as ones at the chosen places."""

    def _init_shape(self, obs_space: spaces.Space[Any], options: dict[str, Any]) -> tuple[int, ...]:
        nvec = np.atleast_1d(obs_space.n if isinstance(obs_space, spaces.Discrete) else np.ravel(obs_space.nvec))
        # Entry i of the space has its ones from offsets[i] on; where the space counts from `start`, that is taken off.
        self._offsets = np.concatenate([[0], np.cumsum(nvec)[:-1]]).astype(np.int64) - np.ravel(
            getattr(obs_space, "start", 0)
        )
        self._one = int(self._offsets[0]) if isinstance(obs_space, spaces.Discrete) else None
        return (int(np.sum(nvec)),)

    def transform(self, observation: Any) -> Any:
        self.check_shape(observation)
        array: Any = np.zeros(self.shape, np.float32)
        self.write(observation, array, 0)
        return array

    def write(self, observation: Any, array: Any, offset: int) -> None:
        if self._one is not None:
            array[offset + self._one + int(observation)] = 1.0
        else:
            array[np.ravel(observation) + self._offsets + offset] = 1.0

    def transform_batch(self, observations: Any) -> Any:
        observations = np.asarray(observations)
        count = len(observations)
        array: Any = np.zeros((count, self._size), np.float32)
        np.put_along_axis(array, observations.reshape(count, -1).astype(np.int64) + self._offsets, 1.0, axis=1)
        return array

    def _bounds(self) -> tuple[float, float]:
        return 0.0, 1.0


class GenericPixelPreprocessor(Preprocessor):
    """Frames of an Atari game (210 x 160 x 3) that no wrapper handled: cropped to the field, scaled to ``dim``, floats.

    Options: ``dim``, ``grayscale``, ``zero_mean`` of the model configuration.
    """

    def _init_shape(self, obs_space: spaces.Space[Any], options: dict[str, Any]) -> tuple[int, ...]:
        dim = int(options.get("dim", 84))
        return (dim, dim, 1 if options.get("grayscale") else 3)

    def transform(self, observation: Any) -> Any:
        self.check_shape(observation)
        dim = self.shape[0]
        field = np.asarray(observation)[25:-25].astype(np.float32)  # score and frame are above and below
        frame = _resized(_resized(field, dim, axis=0), dim, axis=1)
        if self.shape[2] == 1:
            frame = frame.mean(axis=2, keepdims=True)
        return (frame - 128.0) / 128.0 if self.options.get("zero_mean", True) else frame / 255.0

    def _bounds(self) -> tuple[float, float]:
        return -1.0, 1.0


def _resized(image: Any, size: int, axis: int) -> Any:
    """An image with another size along an axis; every new pixel is the mean of what it covers."""
    old = image.shape[axis]
    edges = np.linspace(0.0, old, size + 1)
    # The integral up to any point is piecewise linear between pixels; a mean is the difference of two integrals.
    lead = np.zeros_like(np.take(image, [0], axis=axis))
    integral = np.concatenate([lead, np.cumsum(image, axis=axis, dtype=np.float64)], axis=axis)
    below = np.minimum(edges.astype(np.int64), old - 1)
    part = np.reshape(edges - below, [-1 if a == axis else 1 for a in range(image.ndim)])
    at_edges = np.take(integral, below, axis=axis) * (1 - part) + np.take(integral, below + 1, axis=axis) * part
    return (np.diff(at_edges, axis=axis) * (size / old)).astype(np.float32)


class AtariRamPreprocessor(Preprocessor):
    """The 128 bytes of an Atari's memory as floats in [-1, 1]."""

    def _init_shape(self, obs_space: spaces.Space[Any], options: dict[str, Any]) -> tuple[int, ...]:
        return ATARI_RAM_OBS_SHAPE

    def transform(self, observation: Any) -> Any:
        self.check_shape(observation)
        return (np.asarray(observation).astype(np.float32) - 128.0) / 128.0

    def transform_batch(self, observations: Any) -> Any:
        return (np.asarray(observations).astype(np.float32) - 128.0) / 128.0

    def _bounds(self) -> tuple[float, float]:
        return -1.0, 1.0


class _FlatteningPreprocessor(Preprocessor):
    """The parts of a structure side by side, as float32."""

    parts: list[tuple[Any, Preprocessor]]  # key of each part, and what flattens it

    def _make_parts(self, children: Any, options: dict[str, Any]) -> tuple[int, ...]:
        self.parts = [(key, _part(space, options)) for key, space in children]
        return (sum(part.size for _, part in self.parts),)

    def transform(self, observation: Any) -> Any:
        self.check_shape(observation)
        array: Any = np.zeros(self.shape, np.float32)
        self.write(observation, array, 0)
        return array

    def write(self, observation: Any, array: Any, offset: int) -> None:
        for key, part in self.parts:
            part.write(observation[key], array, offset)
            offset += part.size

    def transform_batch(self, observations: Any) -> Any:
        columns = [part.transform_batch(observations[key]) for key, part in self.parts]
        if not columns:
            return np.zeros((len(observations), 0), np.float32)
        return np.concatenate([np.reshape(c, (len(c), -1)) for c in columns], axis=1).astype(np.float32, copy=False)

    @property
    def preprocessors(self) -> list[Preprocessor]:
        """Of each part, in order."""
        return [part for _, part in self.parts]


class TupleFlatteningPreprocessor(_FlatteningPreprocessor):
    """The parts of a tuple, one after the other."""

    def _init_shape(self, obs_space: spaces.Space[Any], options: dict[str, Any]) -> tuple[int, ...]:
        return self._make_parts(enumerate(obs_space.spaces), options)


class DictFlatteningPreprocessor(_FlatteningPreprocessor):
    """The values of a dict, in the order of the space's keys."""

    def _init_shape(self, obs_space: spaces.Space[Any], options: dict[str, Any]) -> tuple[int, ...]:
        return self._make_parts(obs_space.spaces.items(), options)


class RepeatedValuesPreprocessor(Preprocessor):
    """A list of up to ``max_len`` elements: first their number, then each, then zeros."""

    def _init_shape(self, obs_space: spaces.Space[Any], options: dict[str, Any]) -> tuple[int, ...]:
        self.child_preprocessor = _part(obs_space.child_space, options)
        return (1 + obs_space.max_len * self.child_preprocessor.size,)

    def transform(self, observation: Any) -> Any:
        self.check_shape(observation)
        array: Any = np.zeros(self.shape, np.float32)
        self.write(observation, array, 0)
        return array

    def write(self, observation: Any, array: Any, offset: int) -> None:
        array[offset] = len(observation)
        offset += 1
        for element in observation:
            self.child_preprocessor.write(element, array, offset)
            offset += self.child_preprocessor.size


def get_preprocessor(space: spaces.Space[Any]) -> type[Preprocessor]:
    """The class of the preprocessor for a space.

    Raises:
        UnsupportedSpaceException: there is none: for text, graphs and sequences of any length.
    """
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        return OneHotPreprocessor
    if isinstance(space, spaces.Dict):
        return DictFlatteningPreprocessor
    if isinstance(space, spaces.Tuple):
        return TupleFlatteningPreprocessor
    if isinstance(space, Repeated):
        return RepeatedValuesPreprocessor
    if isinstance(space, spaces.Box) and space.dtype == np.uint8:
        if space.shape == ATARI_OBS_SHAPE:
            return GenericPixelPreprocessor
        if space.shape == ATARI_RAM_OBS_SHAPE:
            return AtariRamPreprocessor
    if isinstance(space, spaces.Box | spaces.MultiBinary | Simplex):
        return NoPreprocessor
    if not isinstance(space, spaces.Space):
        raise TypeError(
            f"An observation space is a gymnasium space, not {type(space).__module__}.{type(space).__name__}: {space!r}"
        )
    raise UnsupportedSpaceException(_unsupported(space))


def _unsupported(space: spaces.Space[Any]) -> str:
    kind = type(space).__name__
    fixes = {
        "Text": "encode the text in the environment (a Box of an embedding, or a MultiDiscrete of character codes)",
        "Sequence": "use aktis.rllib.utils.spaces.repeated.Repeated, which has a greatest length",
        "Graph": "give nodes and edges as Box spaces of fixed size, or as Repeated",
        "OneOf": "give a Dict with one key for each alternative, and a Discrete that says which counts",
    }
    fix = fixes.get(
        kind, "wrap the environment so that it observes a Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple"
    )
    return (
        f"No network can be given observations of the space {space}: {fix}, or register a preprocessor of your own "
        "(ModelCatalog.register_custom_preprocessor) and name it in the model configuration as custom_preprocessor."
    )


def _part(space: spaces.Space[Any], options: dict[str, Any] | None) -> Preprocessor:
    """The preprocessor for a part of a structure: arrays stay as they are there, frames of Atari games, too."""
    return (NoPreprocessor if isinstance(space, spaces.Box) else get_preprocessor(space))(space, options)


_BY_SPACE: dict[int, tuple[spaces.Space[Any], Preprocessor]] = {}


def preprocessor_for(space: spaces.Space[Any]) -> Preprocessor:
    """The preprocessor of a part of a structure (or of a structure); it is kept, because models ask for it at every step."""
    known = _BY_SPACE.get(id(space))
    if known is None or known[0] is not space:
        if len(_BY_SPACE) > 1024:
            _BY_SPACE.clear()
        known = _BY_SPACE[id(space)] = (space, _part(space, None))
    return known[1]

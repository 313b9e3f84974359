"""Which class of models fits an observation space, in which framework."""

from __future__ import annotations

from typing import Any

from gymnasium import spaces

from aktis.rllib.utils.spaces.repeated import Repeated
from aktis.rllib.utils.spaces.space_utils import flatten_space

_FOLDERS = {"torch": ("torch", "Torch"), "tf2": ("tf", ""), "tf": ("tf", "")}

_MODULES = {
    "fc": ("fcnet", "FullyConnectedNetwork"),
    "vision": ("visionnet", "VisionNetwork"),
    "complex": ("complex_input_net", "ComplexInputNetwork"),
    "lstm": ("recurrent_net", "LSTMWrapper"),
    "attention": ("attention_net", "AttentionWrapper"),
}

_DISTS = (
    "Beta",
    "Categorical",
    "Deterministic",
    "DiagGaussian",
    "Dirichlet",
    "GumbelSoftmax",
    "MultiActionDistribution",
    "MultiCategorical",
    "SquashedGaussian",
)


class Names:
    """The classes of one framework by what they are for; nothing is imported before it is asked for."""

    def __init__(self, framework: str) -> None:
        """
        Raises:
            ValueError: there is no such framework.
        """
        if framework not in _FOLDERS:
            raise ValueError(f"There is no framework {framework!r}: choose 'torch' or 'tf2'.")
        self.framework = "torch" if framework == "torch" else "tf2"
        self._folder, self._prefix = _FOLDERS[framework]

    def _module(self, name: str) -> Any:
        import importlib

        return importlib.import_module(f"aktis.rllib.models.{self._folder}.{name}")

    def model(self, kind: str) -> type[Any]:
        """The class of "fc", "vision", "complex", "lstm" or "attention"."""
        module, name = _MODULES[kind]
        return getattr(self._module(module), name)  # type: ignore[no-any-return]

    @property
    def dist(self) -> dict[str, Any]:
        """The distributions' classes by name."""
        module = self._module(f"{self._folder}_action_dist")
        return {name: getattr(module, f"{self._prefix}{name}") for name in _DISTS}

    def wrapped(self, kind: str, cls: type[Any]) -> type[Any]:
        """A class of models with an LSTM or attention behind ``cls``."""
        wrapper = self.model(kind)
        return type(f"{cls.__name__}_as_{wrapper.__name__}", (wrapper,), {"wrapped_class": cls})

    def custom_class(self, found: Any) -> type[Any]:
        """The class of models of what a user gave: it may be a class of Keras models.

        Raises:
            TypeError: it is no class of models of this framework.
        """
        from aktis.rllib.models.modelv2 import ModelV2

        if isinstance(found, type) and issubclass(found, ModelV2):
            return found
        if self.framework == "tf2":
            return self._module("keras_model").keras_model_class(found)  # type: ignore[no-any-return]
        raise TypeError(
            f"custom_model is a class derived from TorchModelV2 and torch.nn.Module, not {found!r}. For a model "
            f"in Keras choose framework('tf2')."
        )


def model_class(obs_space: spaces.Space[Any], config: dict[str, Any], names: Names) -> type[Any]:
    """The class for an observation space: convolutions for images, parts by parts for Dict and Tuple with images in
    them, else fully connected."""
    unprocessed = bool(config.get("_disable_preprocessor_api"))
    original = getattr(obs_space, "original_space", obs_space)
    if isinstance(original, spaces.Dict | spaces.Tuple):
        if unprocessed or any(_is_image(leaf) for leaf in flatten_space(original)):
            return names.model("complex")
        return names.model("fc")
    if isinstance(original, Repeated):
        return names.model("fc")
    if unprocessed and isinstance(original, spaces.Discrete | spaces.MultiDiscrete):
        return names.model("complex")  # which makes them one-hot
    return names.model("vision" if _is_image(obs_space) else "fc")


def _is_image(space: spaces.Space[Any]) -> bool:
    return isinstance(space, spaces.Box) and len(space.shape) == 3

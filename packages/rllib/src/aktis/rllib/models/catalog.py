"""The catalog: which preprocessor, model and action distribution belong to a space and a model configuration."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from functools import cache, partial
from typing import Any

import numpy as np
from gymnasium import spaces

from aktis.rllib.models._choice import Names, model_class
from aktis.rllib.models._defaults import MODEL_DEFAULTS, MODEL_KEYS, checked_model_config
from aktis.rllib.models.modelv2 import ModelV2
from aktis.rllib.models.preprocessors import NoPreprocessor, Preprocessor, get_preprocessor
from aktis.rllib.utils.error import UnsupportedSpaceException
from aktis.rllib.utils.spaces.simplex import Simplex
from aktis.rllib.utils.spaces.space_utils import flatten_space
from aktis.tune.registry import named

__all__ = ["MODEL_DEFAULTS", "MODEL_KEYS", "ModelCatalog", "checked_model_config"]

# What users register; kept where the processes of trials and workers get it from.
_models = named("rllib.model")
_preprocessors = named("rllib.preprocessor")
_action_dists = named("rllib.action_dist")


class ModelCatalog:
    """Registers and chooses models, preprocessors and action distributions.

    Example:
        ```python
        preprocessor = ModelCatalog.get_preprocessor(env)
        dist_class, dist_dim = ModelCatalog.get_action_dist(env.action_space, MODEL_DEFAULTS)
        model = ModelCatalog.get_model_v2(preprocessor.observation_space, env.action_space, dist_dim, MODEL_DEFAULTS)
        dist = dist_class(model({"obs": batch})[0], model)
        action = dist.sample()
        ```
    """

    # ---- action distributions

    @staticmethod
    def get_action_dist(
        action_space: spaces.Space[Any],
        config: Mapping[str, Any] | None,
        dist_type: str | type[Any] | None = None,
        framework: str = "torch",
        **kwargs: Any,
    ) -> tuple[Any, int]:
        """Choose an action distribution.

        Args:
            action_space: The action space.
            config: The model configuration: ``custom_action_dist`` comes first.
            dist_type: "deterministic" (Box only), or a class, instead of the usual one.
            framework: "torch" or "tf2".
            kwargs: Given to the distribution.

        Returns:
            What makes a distribution of ``(inputs, model)``, and how many inputs it needs.

        Raises:
            UnsupportedSpaceException: there is no distribution over this space.
        """
        config = dict(config or MODEL_DEFAULTS)
        custom = config.get("custom_action_dist")
        if custom:
            made = _registered(custom, _action_dists, "action distribution", "register_custom_action_dist")
            if isinstance(action_space, spaces.Dict | spaces.Tuple) and isinstance(made, type):
                made = _of_columns(made, framework)
        elif isinstance(dist_type, type | partial):
            made = dist_type
        else:
            return _default_dist(action_space, config, dist_type, Names(framework).dist, framework, kwargs)
        needed: Any = made.func if isinstance(made, partial) else made
        return partial(made, **kwargs) if kwargs else made, int(
            np.prod(needed.required_model_output_shape(action_space, config), dtype=np.int64)
        )

    @staticmethod
    def get_action_shape(
        action_space: spaces.Space[Any], framework: str = "torch"
    ) -> tuple[Any, tuple[int | None, ...]]:
        """Type and shape of a batch of actions, as they stand in a SampleBatch: parts of a Dict or Tuple are side by side.

        Raises:
            UnsupportedSpaceException: no action can be chosen from this space.
        """
        if isinstance(action_space, spaces.Dict | spaces.Tuple):
            leaves = flatten_space(action_space)
            size = sum(int(np.prod(leaf.shape or (), dtype=np.int64)) for leaf in leaves)
            floats = any(np.issubdtype(leaf.dtype, np.floating) for leaf in leaves)
            return np.dtype(np.float32 if floats else np.int64), (None, size)
        if isinstance(action_space, spaces.Discrete):
            return action_space.dtype, (None,)
        if isinstance(action_space, spaces.Box | spaces.MultiDiscrete | spaces.MultiBinary | Simplex):
            return action_space.dtype, (None, *action_space.shape)
        raise UnsupportedSpaceException(_no_dist(action_space))

    # ---- models

    @staticmethod
    def get_model_v2(
        obs_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        num_outputs: int | None,
        model_config: Mapping[str, Any] | None,
        framework: str = "torch",
        name: str = "default_model",
        model_interface: type[Any] | None = None,
        default_model: type[Any] | None = None,
        **model_kwargs: Any,
    ) -> ModelV2:
        """Make a model.

        Args:
            obs_space: Observation space, after the preprocessor.
            action_space: Action space.
            num_outputs: Inputs of the action distribution; None for the features before the last layer.
            model_config: The model configuration; keys that are missing have their defaults.
            framework: "torch" or "tf2".
            name: Name of the model.
            model_interface: A class that the model's is combined with, and that comes first: what an algorithm needs of a model.
            default_model: The class to use instead of the automatic choice.
            model_kwargs: Given to the model.

        Raises:
            ValueError: a key of the configuration or the name of a custom model is unknown.
            TypeError: the custom model is no class of models.
        """
        config = checked_model_config(model_config)
        names = Names(framework)
        custom = config["custom_model"]
        if custom:
            found = _registered(custom, _models, "model", "register_custom_model")
            cls, options = names.custom_class(found), dict(config["custom_model_config"])
        else:
            cls, options = default_model or model_class(obs_space, config, names), {}
        if config["use_lstm"]:
            cls = names.wrapped("lstm", cls)
        elif config["use_attention"]:
            cls = names.wrapped("attention", cls)
        cls = _with_interface(cls, model_interface)
        arguments = _accepted(cls, {**options, **model_kwargs}, custom=bool(custom))
        try:
            model = cls(obs_space, action_space, num_outputs, config, name, **arguments)
        except TypeError as error:
            # A model that reads its options from model_config["custom_model_config"], and hands its arguments on.
            if not (custom and config["custom_model_config"] and "unexpected keyword argument" in str(error)):
                raise
            model = cls(obs_space, action_space, num_outputs, config, name, **model_kwargs)
        if not isinstance(model, ModelV2):
            raise TypeError(f"A model derives from TorchModelV2 or TFModelV2, and {type(model).__name__} does not.")
        return model

    # ---- preprocessors

    @staticmethod
    def get_preprocessor(env: Any, options: Mapping[str, Any] | None = None) -> Preprocessor:
        """The preprocessor for an environment's observations."""
        return ModelCatalog.get_preprocessor_for_space(env.observation_space, options)

    @staticmethod
    def get_preprocessor_for_space(
        observation_space: spaces.Space[Any], options: Mapping[str, Any] | None = None
    ) -> Preprocessor:
        """The preprocessor for observations of a space.

        Args:
            observation_space: The environment's observation space.
            options: The model configuration.

        Raises:
            UnsupportedSpaceException: there is none for this space.
            ValueError: a key of the configuration, or the name of a custom preprocessor, is unknown.
        """
        config = checked_model_config(options)
        custom = config["custom_preprocessor"]
        if custom:
            found = _registered(custom, _preprocessors, "preprocessor", "register_custom_preprocessor")
            return found(observation_space, config)  # type: ignore[no-any-return]
        if config["_disable_preprocessor_api"]:
            return NoPreprocessor(observation_space, config)
        made = get_preprocessor(observation_space)(observation_space, config)
        if 0 in tuple(made.observation_space.shape or ()):
            raise UnsupportedSpaceException(
                f"The observation space {observation_space} is empty, and a network needs something to see: observe a constant, "
                "Box(0, 1, (1,)) for example."
            )
        return made

    # ---- one's own

    @staticmethod
    def register_custom_model(model_name: str, model_class: Any) -> None:
        """Make a model known as ``custom_model``: a class derived from TorchModelV2 or TFModelV2, or of keras.Model."""
        _register(_models, model_name, model_class)

    @staticmethod
    def register_custom_preprocessor(preprocessor_name: str, preprocessor_class: type[Preprocessor]) -> None:
        """Make a preprocessor known as ``custom_preprocessor``: a class derived from Preprocessor."""
        _register(_preprocessors, preprocessor_name, preprocessor_class)

    @staticmethod
    def register_custom_action_dist(action_dist_name: str, action_dist_class: type[Any]) -> None:
        """Make a distribution known as ``custom_action_dist``: a class derived from ActionDistribution."""
        _register(_action_dists, action_dist_name, action_dist_class)


# ---- action distributions


def _default_dist(
    space: spaces.Space[Any],
    config: dict[str, Any],
    dist_type: Any,
    dists: dict[str, Any],
    framework: str,
    kwargs: dict[str, Any],
) -> tuple[Any, int]:
    if isinstance(space, spaces.Dict | spaces.Tuple):
        leaves = [ModelCatalog.get_action_dist(leaf, config, dist_type, framework) for leaf in flatten_space(space)]
        if not leaves:
            raise UnsupportedSpaceException(f"The action space {space} is empty: there is nothing to choose.")
        lens = [size for _, size in leaves]
        made = partial(
            dists["MultiActionDistribution"],
            action_space=space,
            child_distributions=[child for child, _ in leaves],
            input_lens=lens,
            **kwargs,
        )
        return made, sum(lens)
    key, extra = _dist_key(space, dist_type)
    cls = dists[key]
    size = int(cls.required_model_output_shape(space, config))
    extra.update(kwargs)
    return (partial(cls, **extra) if extra else cls), size


def _dist_key(space: spaces.Space[Any], dist_type: Any) -> tuple[str, dict[str, Any]]:
    """Name of the distribution's class, and its keyword arguments."""
    from aktis.rllib.models._distributions import choices_of

    if dist_type not in (None, "deterministic"):
        raise ValueError(f"Unknown dist_type {dist_type!r}: it is None, 'deterministic' or a class.")
    if 0 in (space.shape or ()):
        raise UnsupportedSpaceException(f"The action space {space} is empty: there is nothing to choose.")
    if isinstance(space, spaces.Discrete):
        return "Categorical", {}
    if isinstance(space, Simplex):
        return "Dirichlet", {"action_space": space}
    if isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary):
        return "MultiCategorical", {"input_lens": choices_of(space), "action_space": space}
    if isinstance(space, spaces.Box):
        if np.issubdtype(space.dtype, np.floating):
            return ("Deterministic" if dist_type == "deterministic" else "DiagGaussian"), {"action_space": space}
        if space.is_bounded("both") and max(choices_of(space)) <= 65536:
            return "MultiCategorical", {"input_lens": choices_of(space), "action_space": space}
    raise UnsupportedSpaceException(_no_dist(space))


def _no_dist(space: spaces.Space[Any]) -> str:
    return (
        f"No action can be chosen from the space {space}: wrap the environment so that it takes Discrete, "
        f"MultiDiscrete, MultiBinary, Box, "
        "Simplex, or a Dict or Tuple of these, or name a distribution of your own in the model configuration as custom_action_dist."
    )


# ---- what users register


def _register(known: dict[str, Any], name: str, value: Any) -> None:
    if not isinstance(name, str) or not name:
        raise TypeError(f"What is registered has a name, a str, not {name!r}")
    if not callable(value):
        raise TypeError(f"What is registered as {name!r} is a class, not {value!r}")
    known[name] = value


def _registered(value: Any, known: dict[str, Any], kind: str, function: str) -> Any:
    """A class as it is; of a name what was registered, or the class at that path."""
    if not isinstance(value, str):
        return value
    if value in known:
        return known[value]
    if "." in value:
        import importlib

        module, _, attribute = value.rpartition(".")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as e:
            raise ValueError(f"There is no {kind} at {value!r}: {e}") from e
    near = difflib.get_close_matches(value, known, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"Known are {sorted(known)}." if known else "None is registered."
    raise ValueError(
        f"No {kind} is registered as {value!r}. {hint} Register it with ModelCatalog.{function}(name, class)."
    )


def _with_interface(cls: type[Any], interface: type[Any] | None) -> type[Any]:
    if interface is None or issubclass(cls, interface):
        return cls
    return type(f"{cls.__name__}_as_{interface.__name__}", (interface, cls), {})


@cache
def _of_columns(cls: type[Any], framework: str) -> type[Any]:
    """A user's distribution over a Dict or a Tuple: its logp() is asked about actions side by side, [B, n]."""
    from aktis.rllib.models._structure import side_by_side

    def logp(self: Any, actions: Any) -> Any:
        return cls.logp(self, side_by_side(actions, framework))

    return type(cls.__name__, (cls,), {"logp": logp, "__module__": cls.__module__, "__doc__": cls.__doc__})


def _accepted(cls: type[Any], options: dict[str, Any], custom: bool) -> dict[str, Any]:
    """Those options that the constructor takes. A model that takes none reads them from its model_config."""
    parameters = _constructor_parameters(cls)
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return options
    standard = {"self", "obs_space", "action_space", "num_outputs", "model_config", "name"}
    own = [name for name in list(parameters)[6:] if name not in standard]
    unknown = [key for key in options if key not in parameters]
    if not own and custom:
        return {}
    if unknown:
        near = difflib.get_close_matches(unknown[0], own, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it takes {own}."
        raise TypeError(f"{cls.__name__}() takes no argument {unknown[0]!r}, which custom_model_config has: {hint}")
    return options


def _constructor_parameters(cls: type[Any]) -> dict[str, inspect.Parameter]:
    """Of the first constructor that does not hand everything on to the next one."""
    for base in cls.__mro__:
        if "__init__" in vars(base):
            return dict(inspect.signature(vars(base)["__init__"]).parameters)
    return {}

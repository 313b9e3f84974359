"""Spaces of ConfigSpace, which BOHB and SMAC search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aktis.tune.search._library.axis import Axis
from aktis.tune.search._library.space import NamedSpace, Point, plain, unflatten

__all__ = ["ConfigSpaceSpace", "make_config_space"]


class ConfigSpaceSpace(NamedSpace):
    """A ``ConfigSpace.ConfigurationSpace`` of the user. Variables that are inactive somewhere may be missing there."""

    def __init__(self, config_space: Any) -> None:
        super().__init__()
        self.config_space = config_space

    def encode(self, config: Mapping[str, Any], strict: bool = True) -> Point:
        from ConfigSpace import Configuration

        point = super().encode(config)
        known = {name: value for name, value in point.items() if name in self.config_space}
        if strict and len(known) < len(point):
            raise ValueError(
                f"the point {dict(config)!r} has {sorted(point.keys() - known.keys())}, which are not in the search space; its "
                f"variables are {list(self.config_space)}"
            )
        try:
            Configuration(self.config_space, values=known)
        except Exception as error:  # a family of its own, which changes with the version
            raise ValueError(f"the point {dict(config)!r} is not in the search space: {error}") from None
        return known

    def decode(self, point: Mapping[str, Any]) -> dict[str, Any]:
        return unflatten({name: plain(value) for name, value in point.items()})


def is_config_space(space: Any) -> bool:
    """Whether this is one, without asking for the library where it cannot be one."""
    return any(kind.__module__.partition(".")[0] == "ConfigSpace" for kind in type(space).__mro__)


def make_config_space(axes: list[Axis], seed: int) -> Any:
    """The space for Tune domains."""
    import ConfigSpace

    space = ConfigSpace.ConfigurationSpace(seed=seed)
    for axis in axes:
        if axis.form == "choice":
            made: Any = ConfigSpace.CategoricalHyperparameter(axis.name, list(range(axis.size)))
        elif axis.form == "integer":
            made = ConfigSpace.UniformIntegerHyperparameter(axis.name, int(axis.low), int(axis.high), log=axis.log)
        else:
            made = ConfigSpace.UniformFloatHyperparameter(axis.name, axis.low, axis.high, log=axis.log)
        space.add(made) if hasattr(space, "add") else space.add_hyperparameter(made)
    return space

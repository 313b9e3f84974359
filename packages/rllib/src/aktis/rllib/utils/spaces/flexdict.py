"""A Dict space that grows."""

from __future__ import annotations

from typing import Any

from gymnasium import spaces


class FlexDict(spaces.Dict):  # type: ignore[misc, unused-ignore]
    """A Dict space to which keys are added by assignment: ``space["position"] = Box(...)``."""

    def __init__(self, spaces: Any = None, **spaces_kwargs: Any) -> None:
        """
        Raises:
            ValueError: both a dict and keyword arguments are given.
        """
        if spaces and spaces_kwargs:
            raise ValueError("FlexDict takes a dict of spaces or keyword arguments, not both.")
        super().__init__(dict(spaces) if spaces else spaces_kwargs)

    def __setitem__(self, key: str, space: spaces.Space[Any]) -> None:
        """
        Raises:
            TypeError: what is assigned is not a space.
        """
        if not isinstance(space, spaces.Space):
            raise TypeError(f"FlexDict[{key!r}] is a gymnasium space, not {space!r}")
        self.spaces[key] = space

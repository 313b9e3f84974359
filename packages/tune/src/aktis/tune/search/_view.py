"""What functions of a search space see: the configuration with the values so far, by attribute or by key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aktis.tune.error import DependencyNotReadyError
from aktis.tune.search.sample import Domain

__all__ = ["ListView", "SpecView", "plain"]


class SpecView(Mapping[str, Any]):
    """A dict of which the values are there as attributes, too. To read a variable that has no value yet raises
    :class:`DependencyNotReadyError`; the function is then called again when more is known."""

    __slots__ = ("_data",)

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = data

    def __getitem__(self, key: str) -> Any:
        return _look(self._data[key], key)

    def __getattr__(self, name: str) -> Any:
        data = object.__getattribute__(self, "_data")
        if name in data:
            return _look(data[name], name)
        import difflib

        near = difflib.get_close_matches(name, [key for key in data if isinstance(key, str)], 1)
        hint = f": did you mean {near[0]!r}?" if near else f", it has {', '.join(map(repr, data)) or 'nothing'}"
        raise AttributeError(f"the search space has no {name!r} here{hint}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._data!r})"

    def __reduce__(self) -> Any:
        return type(self), (self._data,)


class ListView(Sequence[Any]):
    """A list or tuple of the search space, guarded in the same way."""

    __slots__ = ("_data",)

    def __init__(self, data: Sequence[Any]) -> None:
        self._data = data

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [_look(value, "a list") for value in self._data[index]]
        return _look(self._data[index], f"[{index}]")

    def __len__(self) -> int:
        return len(self._data)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment] # as lists

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._data!r})"

    def __reduce__(self) -> Any:
        return type(self), (self._data,)


def plain(value: Any) -> Any:
    """The value without guards. DependencyNotReadyError when something in it has no value yet."""
    if isinstance(value, SpecView):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, ListView):
        return [plain(each) for each in value]
    return value


def _look(value: Any, name: str) -> Any:
    if isinstance(value, Domain):
        raise DependencyNotReadyError(f"{name!r} of the search space has no value yet")
    if isinstance(value, dict):
        return SpecView(value)
    if isinstance(value, list) and any(isinstance(each, (dict, list, tuple, Domain)) for each in value):
        return ListView(value)
    return value

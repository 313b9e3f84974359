"""What every part of a configuration can do: fields that are known, reading and writing as attributes and as a dictionary."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from aktis.rllib.algorithms._config.keys import OLD_KEYS, SPELLED_AS, current_key, nearest, translated
from aktis.rllib.utils.from_config import NotProvided

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ConfigBase", "section"]

F = TypeVar("F", bound=Callable[..., Any])

# How a dict that is given to a field goes together with the one that is there. "merge": what is given wins, key by key, also deep
# inside. "known": the same, and keys that are not there are an error. "type": as "merge", unless it is of another "type"; then it
# replaces the old one.
MERGE, KNOWN, TYPE = "merge", "known", "type"


def section(method: F) -> F:
    """Marks a method that sets fields: an argument that it does not have is an error that says what was meant."""

    @functools.wraps(method)
    def checked(self: ConfigBase, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except TypeError:
            parameters = inspect.signature(method).parameters
            open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
            wrong = [] if open_ended else [key for key in kwargs if key not in parameters]
            if not wrong:
                raise
            self._raise_unknown(f"{method.__name__}()", wrong[0], list(parameters))

    return checked  # type: ignore[return-value]


class _Sealed(type):
    """Closes a configuration once it is made: a field that nobody declared is a typing error, and not a new field."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        made = super().__call__(*args, **kwargs)
        object.__setattr__(made, "_sealed", True)
        return made


class ConfigBase(metaclass=_Sealed):
    """Fields by name. Subclasses declare theirs by setting them in ``__init__``."""

    _INTERNAL: ClassVar[frozenset[str]] = frozenset({"_is_frozen", "_sealed", "algo_class"})

    _merges: ClassVar[dict[str, str]] = {
        "env_config": MERGE,
        "model": KNOWN,
        "optimizer": MERGE,
        "custom_resources_per_worker": MERGE,
        "tf_session_args": MERGE,
        "local_tf_session_args": MERGE,
        "extra_python_environs_for_driver": MERGE,
        "extra_python_environs_for_worker": MERGE,
        "exploration_config": TYPE,
        "replay_buffer_config": TYPE,
        "input_config": MERGE,
        "output_config": MERGE,
    }
    """Fields with a dict that goes together with the one that is there. An algorithm adds its own."""

    algo_class: type[Any] | None
    _is_frozen: bool
    _sealed: bool

    def __init__(self) -> None:
        self._is_frozen = False
        self.algo_class = None

    # -- attributes --------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        mine = self.__dict__
        if mine.get("_is_frozen"):
            raise AttributeError(
                f"this {type(self).__name__} is frozen, because an algorithm was built from it: {name} cannot be set any more. "
                "Change a copy: config.copy(copy_frozen=False)"
            )
        if name not in mine and mine.get("_sealed") and not hasattr(type(self), name):
            if OLD_KEYS.get(name) not in mine:
                self._raise_unknown(type(self).__name__, name, self._fields(), AttributeError)
            name = OLD_KEYS[name]
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        mine = self.__dict__
        if name in OLD_KEYS and OLD_KEYS[name] in mine:
            return mine[OLD_KEYS[name]]
        if name.startswith("__") or "_sealed" not in mine:
            raise AttributeError(name)
        raise AttributeError(f"{type(self).__name__} has no setting {name!r}{nearest(name, self._fields())}")

    def _fields(self) -> list[str]:
        return [name for name in self.__dict__ if name not in self._INTERNAL]

    def _has(self, name: str) -> bool:
        return name in self.__dict__ and name not in self._INTERNAL

    def _raise_unknown(self, what: str, key: str, known: list[str], error: type[Exception] = TypeError) -> None:
        words = [*known, *(old for old, new in OLD_KEYS.items() if new in known)]
        raise error(f"{what} has no setting {key!r}{nearest(key, words)}")

    # -- setting -----------------------------------------------------------------------------------

    def _update(self, **given: Any) -> Self:
        """Set those fields that are given; what is ``NotProvided`` stays as it is. A dict goes together with what is there, where
        :attr:`_merges` says so."""
        for name, value in given.items():
            if value is NotProvided:
                continue
            if not self._has(name):
                self._raise_unknown(type(self).__name__, name, self._fields())
            setattr(self, name, self._merged(name, value))
        return self

    def _merged(self, name: str, value: Any) -> Any:
        how = self._merges.get(name)
        present = self.__dict__.get(name)
        if how is None or not isinstance(value, Mapping) or not isinstance(present, Mapping):
            return value
        if how == TYPE and "type" in value and value["type"] != present.get("type"):
            return dict(value)
        if how == KNOWN and present:
            for key in value:
                if key not in present:
                    raise KeyError(f"{name} has no setting {key!r}{nearest(str(key), present)}")
        return _deep_merge(present, value)

    def update_from_dict(self, config_dict: Mapping[str, Any]) -> Self:
        """Set fields from a dictionary, in today's spelling or an older one.

        Args:
            config_dict: Settings by name; ``multiagent`` may be a dictionary with those of :meth:`multi_agent`.

        Raises:
            KeyError: a name that this configuration does not have; the message has the nearest that it has.
        """
        first = "prioritized_replay"  # says which buffer it is that further keys are of
        for key, value in sorted(config_dict.items(), key=lambda item: item[0] != first):
            if key == "multiagent":
                self.update_from_dict({k: v for k, v in value.items() if k not in ("replay_mode", "policy_map_cache")})
            elif key not in ("algo_class", "_is_frozen", "_sealed"):
                self._set_key(key, value)
        return self

    def _set_key(self, key: str, value: Any) -> None:
        meant = translated(key, value, self._has)
        if meant is None:
            return
        name, value = meant
        if key == "prioritized_replay":
            kept = {
                k: v
                for k, v in self.__dict__[name].items()
                if value["type"].count("Prioritized") or "prioritized" not in k
            }
            value = {**kept, **value}
        if not self._has(name):
            words = [*self._fields(), *(old for old, new in OLD_KEYS.items() if self._has(new))]
            raise KeyError(f"{type(self).__name__} has no setting {key!r}{nearest(key, words)}")
        self._update(**{name: self._normalised(name, value)})

    def _normalised(self, name: str, value: Any) -> Any:
        """What a value of a dictionary is as a field's; sections say it of theirs."""
        return value

    # -- as a dictionary ---------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """All settings by name, in the spelling of dictionaries (``num_workers``, ``lambda``, ``framework``, ``multiagent``)."""
        return {SPELLED_AS.get(name, name): _copied(self.__dict__[name]) for name in self._fields()}

    def __getitem__(self, key: str) -> Any:
        if key == "multiagent":
            return getattr(self, key)
        name = key if self._has(key) else current_key(key)
        if not self._has(name):
            raise KeyError(f"{type(self).__name__} has no setting {key!r}{nearest(key, self._fields())}")
        return self.__dict__[name]

    def __setitem__(self, key: str, value: Any) -> None:
        meant = ("multiagent", value) if key == "multiagent" else translated(key, value, self._has)
        if meant is None:
            return
        name, value = meant
        if name == "multiagent":
            self.update_from_dict({name: value})
        elif not self._has(name):
            raise KeyError(f"{type(self).__name__} has no setting {key!r}{nearest(key, self._fields())}")
        else:
            setattr(self, name, self._normalised(name, value))

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and (key == "multiagent" or self._has(key) or self._has(current_key(key)))

    def __iter__(self) -> Iterator[str]:
        return iter(self.to_dict())

    def __len__(self) -> int:
        return len(self.to_dict())

    def get(self, key: str, default: Any = None) -> Any:
        """The setting of that name, or ``default`` if there is none."""
        # Not by way of the KeyError: its message looks for the nearest name, and algorithms ask all the time for what they
        # may not have.
        mine = self.__dict__
        if key in mine and key not in self._INTERNAL:
            return mine[key]
        if key == "multiagent":
            return self[key]
        return mine.get(OLD_KEYS.get(key, ""), default)

    def pop(self, key: str, default: Any = None) -> Any:
        """The same as :meth:`get`: a setting cannot be taken out."""
        return self.get(key, default)

    def keys(self) -> Any:
        """The names of all settings."""
        return self.to_dict().keys()

    def values(self) -> Any:
        """All settings."""
        return self.to_dict().values()

    def items(self) -> Any:
        """Names and settings."""
        return self.to_dict().items()

    def __repr__(self) -> str:
        try:
            default = type(self)().__dict__
        except TypeError:
            default = {}
        changed = [
            f"{name}={value!r}" for name, value in self.__dict__.items()
            if name not in self._INTERNAL and not _same(value, default.get(name, NotProvided))
        ]  # fmt: skip
        return f"{type(self).__name__}({', '.join(changed)})"

    # -- life --------------------------------------------------------------------------------------

    def copy(self, copy_frozen: bool | None = None) -> Self:
        """A copy that shares no dictionary with this one.

        Args:
            copy_frozen: Whether the copy is frozen; None: if this one is.
        """
        other = object.__new__(type(self))
        for name, value in self.__dict__.items():
            object.__setattr__(other, name, value if name in self._INTERNAL else _copied(value))
        object.__setattr__(other, "_is_frozen", self._is_frozen if copy_frozen is None else bool(copy_frozen))
        return other

    def freeze(self) -> None:
        """From now on, no field can be set. The algorithm does so with what it is built from."""
        object.__setattr__(self, "_is_frozen", True)
        inner = self.__dict__.get("evaluation_config")
        if isinstance(inner, ConfigBase):
            inner.freeze()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.copy()


def _deep_merge(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for key, value in new.items():
        present = merged.get(key)
        both = isinstance(value, dict) and isinstance(present, dict)
        merged[key] = _deep_merge(present, value) if both and _plain(value) else value  # type: ignore[arg-type]
    return merged


def _plain(value: dict[Any, Any]) -> bool:
    """Whether a dict is settings; one like ``{"grid_search": [...]}`` is one value."""
    return "grid_search" not in value


def _copied(value: Any) -> Any:
    if isinstance(value, (dict, list, set, tuple)):
        try:
            return copy.deepcopy(value)
        except Exception:  # something in it cannot be copied (a lock, a connection): it is shared
            return copy.copy(value)
    return value.copy() if isinstance(value, ConfigBase) else value


def _same(one: Any, other: Any) -> bool:
    try:
        return bool(one is other or one == other)
    except Exception:  # arrays and the like
        return False

"""Records, filters, and where the answers come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

DEFAULT_LIMIT = 100
MAX_LIMIT = 10_000
DEFAULT_TIMEOUT = 30

Filter = tuple[str, str, str | bool | int | float]


class StateRecord(Mapping[str, Any]):
    """One row of an answer: a mapping whose entries are attributes too (``task.state`` and ``task["state"]``)."""

    __slots__ = ("_data",)

    _key = "id"  # which entry identifies the row
    _detail: frozenset[str] = frozenset()  # entries that are shown with ``detail=True`` only

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = dict(data)

    def __getitem__(self, key: str) -> Any:
        return self._data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._data[name]
        except KeyError:
            raise AttributeError(
                f"{type(self).__name__} has no entry {name!r}; it has {', '.join(self._data)}"
            ) from None

    def asdict(self) -> dict[str, Any]:
        """All fields of it."""
        return dict(self._data)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in self._data.items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._data,)


class TaskState(StateRecord):
    """What is known of a task."""

    __slots__ = ()
    _key = "task_id"
    _detail = frozenset(
        {"events", "runtime_env_info", "error_message", "required_resources", "call_site", "label_selector"}
    )


class ActorState(StateRecord):
    """What is known of an actor."""

    __slots__ = ()
    _key = "actor_id"
    _detail = frozenset({"death_cause", "required_resources", "num_restarts", "call_site", "serialized_runtime_env"})


class ObjectState(StateRecord):
    """What is known of an object."""

    __slots__ = ()
    _key = "object_id"


class NodeState(StateRecord):
    """What is known of a node."""

    __slots__ = ()
    _key = "node_id"


class WorkerState(StateRecord):
    """What is known of a worker process."""

    __slots__ = ()
    _key = "worker_id"


class JobState(StateRecord):
    """What is known of a job."""

    __slots__ = ()
    _key = "job_id"


class PlacementGroupState(StateRecord):
    """What is known of a placement group."""

    __slots__ = ()
    _key = "placement_group_id"


class RuntimeEnvState(StateRecord):
    """What is known of a runtime environment."""

    __slots__ = ()
    _key = "runtime_env"


RECORDS: dict[str, type[StateRecord]] = {
    "tasks": TaskState,
    "actors": ActorState,
    "objects": ObjectState,
    "nodes": NodeState,
    "workers": WorkerState,
    "jobs": JobState,
    "placement_groups": PlacementGroupState,
    "runtime_envs": RuntimeEnvState,
}

Request = Callable[..., Any]  # request(method, **arguments), as Engine.request


def source(address: str | None, timeout: float) -> Request:
    """Whom to ask: the session at ``address``, else this process's, else the one started last on this machine."""
    from aktis import _session

    engine = _session.current
    if engine is not None and address in (None, "auto"):
        return engine.request
    from aktis.cli._client import ask_session

    def request(method: str, **arguments: Any) -> Any:
        return ask_session(address, timeout, method, arguments)

    return request


def check_filters(filters: Iterable[Filter] | None) -> list[Filter]:
    """The filters as a list. Raises ValueError for what is not (key, "=" or "!=", value)."""
    checked = []
    for one in filters or ():
        if not isinstance(one, (tuple, list)) or len(one) != 3:
            raise ValueError(
                f"a filter is (key, '=' or '!=', value), for example ('state', '=', 'RUNNING'), not {one!r}"
            )
        key, predicate, value = one
        if predicate not in ("=", "!="):
            raise ValueError(f"the predicate of a filter must be '=' or '!=', not {predicate!r}")
        if not isinstance(key, str):
            raise ValueError(f"the key of a filter must be a str, not {key!r}")
        checked.append((key, predicate, value))
    return checked


def matches(row: Mapping[str, Any], filters: Iterable[Filter]) -> bool:
    """Whether a row passes all filters. Values are compared as text, so that "3" finds 3."""
    return all((_text(row.get(key)) == _text(value)) == (predicate == "=") for key, predicate, value in filters)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, bool) or (isinstance(value, str) and value.lower() in ("true", "false")):
        return str(value).lower()
    return str(value)

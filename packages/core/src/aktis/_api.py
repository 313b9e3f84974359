"""The functions of ``import aktis`` that work on references, actors and the session."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

from aktis import _session
from aktis._generators import ObjectRefGenerator
from aktis.object_ref import STANDS_FOR, ObjectRef, reference_of

if TYPE_CHECKING:
    from aktis.actor import ActorHandle

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

RESULT = "__aktis_result__"


class HasResult(Protocol[T_co]):
    """An object of another library that stands for a result."""

    def __aktis_result__(self, timeout: float | None) -> T_co:
        """Wait for it, up to ``timeout`` seconds (then: GetTimeoutError)."""
        ...


def put(value: T) -> ObjectRef[T]:
    """Store a value once, so that any number of calls can use it by reference."""
    if isinstance(value, ObjectRef):
        raise TypeError(
            "put() of an ObjectRef is not allowed: the value is in the store already. To pass the reference itself, "
            "wrap it: aktis.put([ref])"
        )
    if isinstance(value, ObjectRefGenerator):
        raise TypeError("put() of an ObjectRefGenerator is not allowed: put the references that it gives")
    return (_session.current or _session.require_engine()).put(value)


@overload
def get(object_refs: ObjectRef[T], *, timeout: float | None = None) -> T: ...
@overload
def get(object_refs: list[ObjectRef[T]], *, timeout: float | None = None) -> list[T]: ...
@overload
def get(object_refs: ObjectRefGenerator[T], *, timeout: float | None = None) -> ObjectRefGenerator[T]: ...
@overload
def get(object_refs: list[Any], *, timeout: float | None = None) -> list[Any]: ...
@overload
def get(object_refs: HasResult[T], *, timeout: float | None = None) -> T: ...
def get(object_refs: Any, *, timeout: float | None = None) -> Any:
    """Wait for one reference, or for a list of them, and return the value(s).

    Raises what the call raised; with a list, the first error as soon as it is known. ``timeout`` in seconds: GetTimeoutError
    after it (0: at once).

    Objects that stand for a result, by a method ``__aktis_result__(timeout)``, can be in the place of references.
    """
    engine = _session.current or _session.require_engine()
    if timeout is not None:
        _check_timeout(timeout)
    if isinstance(object_refs, ObjectRef):
        return engine.get((object_refs,), timeout)[0]
    if isinstance(object_refs, list):
        for item in object_refs:
            if not isinstance(item, ObjectRef):
                return _get_mixed(object_refs, timeout)
        return engine.get(object_refs, timeout)
    if isinstance(object_refs, ObjectRefGenerator):
        return object_refs
    result = getattr(type(object_refs), RESULT, None)
    if result is not None:
        return result(object_refs, timeout)
    execute = getattr(object_refs, "_get_result", None)  # results of lazy graphs
    if execute is not None:
        return execute(timeout)
    raise ValueError(f"get() takes an ObjectRef or a list of them, got {object_refs!r} ({type(object_refs).__name__})")


def _get_mixed(items: list[Any], timeout: float | None) -> list[Any]:
    """The results of a list in which not all are references: those first, then the others one after the other."""
    for item in items:
        if not isinstance(item, ObjectRef) and not hasattr(type(item), RESULT):
            raise ValueError(
                f"get() takes an ObjectRef or a list of them; the list holds {item!r} ({type(item).__name__})"
            )
    deadline = None if timeout is None else monotonic() + timeout
    refs = [item for item in items if isinstance(item, ObjectRef)]
    values = iter((_session.current or _session.require_engine()).get(refs, timeout))
    results = []
    for item in items:
        if isinstance(item, ObjectRef):
            results.append(next(values))
        else:
            remaining = None if deadline is None else max(0.0, deadline - monotonic())
            results.append(type(item).__aktis_result__(item, remaining))
    return results


def _check_timeout(timeout: Any) -> None:
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout must be a number of seconds or None, got {timeout!r}")
    if timeout < 0 or timeout != timeout:
        raise ValueError(f"timeout must not be negative, got {timeout!r}")


def wait(
    object_refs: list[ObjectRef[T]], *, num_returns: int = 1, timeout: float | None = None, fetch_local: bool = True
) -> tuple[list[ObjectRef[T]], list[ObjectRef[T]]]:
    """Wait until ``num_returns`` of the references are ready: ``(ready, rest)``, both in the order given.

    At most ``num_returns`` are called ready, even if more are. A failed call is ready. Generators may be in the list,
    and objects that stand for a reference, by a method ``__aktis_ref__()``.
    """
    if isinstance(object_refs, (ObjectRef, ObjectRefGenerator)):
        raise TypeError("wait() takes a list of ObjectRefs, got a single one: use wait([ref])")
    if not isinstance(object_refs, list):
        raise TypeError(f"wait() takes a list of ObjectRefs, got {type(object_refs).__name__}")
    if timeout is not None:
        _check_timeout(timeout)
    for kind in set(map(type, object_refs)):  # many references, few types: waiting for one of thousands stays cheap
        if not issubclass(kind, (ObjectRef, ObjectRefGenerator)):
            if hasattr(kind, STANDS_FOR):
                return _wait_for_stand_ins(object_refs, num_returns, timeout, fetch_local)
            item = next(item for item in object_refs if type(item) is kind)
            raise TypeError(f"wait() takes a list of ObjectRefs; the list holds {item!r} ({kind.__name__})")
    engine = _session.current or _session.require_engine()
    if not object_refs:
        return [], []
    if isinstance(num_returns, bool) or not isinstance(num_returns, int):
        raise TypeError(f"num_returns must be an int, got {num_returns!r}")
    if num_returns < 1:
        raise ValueError(f"num_returns must be at least 1, got {num_returns}")
    if num_returns > len(object_refs):
        raise ValueError(f"num_returns={num_returns} is more than the {len(object_refs)} references given")
    return engine.wait(object_refs, num_returns, timeout, fetch_local)


def _wait_for_stand_ins(
    items: list[Any], num_returns: int, timeout: float | None, fetch_local: bool
) -> tuple[list[Any], list[Any]]:
    # Some know their final reference only when they are done: for waiting they have another one, which is ready about then.
    refs = [
        item.__aktis_pending__() if hasattr(type(item), "__aktis_pending__") else reference_of(item) for item in items
    ]
    given: dict[Any, Any] = dict(zip(refs, items))
    ready, rest = wait(refs, num_returns=num_returns, timeout=timeout, fetch_local=fetch_local)
    return [given[ref] for ref in ready], [given[ref] for ref in rest]


def kill(actor: ActorHandle[Any], *, no_restart: bool = True) -> None:
    """End an actor at once, without running its exit handlers. Calls that wait for it fail with ActorDiedError."""
    from aktis import actor as actor_module

    engine = _session.require_engine()
    if not isinstance(actor, actor_module.ActorHandle):
        raise ValueError(
            f"kill() takes an actor handle, got {actor!r} ({type(actor).__name__}); to stop a task use cancel()"
        )
    if actor._engine is not engine:
        actor_module._refuse_old_session(actor._class_name)
    engine.kill_actor(actor, no_restart)


def cancel(
    object_ref: ObjectRef[Any] | ObjectRefGenerator[Any], *, force: bool = False, recursive: bool = True
) -> None:
    """Cancel a call: one that waits never runs, one that runs is interrupted (``force``: its worker is killed).

    ``recursive``: calls that it submitted are cancelled too. A call that has finished is left alone.
    """
    engine = _session.require_engine()
    if isinstance(object_ref, ObjectRefGenerator):
        object_ref = object_ref.completed()
    if not isinstance(object_ref, ObjectRef):
        raise TypeError(
            f"cancel() takes an ObjectRef or an ObjectRefGenerator, got {object_ref!r} ({type(object_ref).__name__})"
        )
    engine.cancel(object_ref, force, recursive)


def get_actor(name: str, namespace: str | None = None) -> ActorHandle[Any]:
    """A handle of a named actor. It does not keep the actor alive. ValueError when there is none of that name."""
    if not isinstance(name, str):
        raise TypeError(f"name must be a str, got {name!r} ({type(name).__name__})")
    if not name:
        raise ValueError("name must not be an empty string")
    if namespace is not None:
        if not isinstance(namespace, str):
            raise TypeError(f"namespace must be a str, got {namespace!r} ({type(namespace).__name__})")
        if not namespace:
            raise ValueError("namespace must not be an empty string; None means this session's")
    return _session.require_engine().get_actor(name, namespace)


def get_gpu_ids() -> list[int] | list[str]:
    """Ids of the GPUs that the running task or actor may use."""
    ids = [str(item) for item in _session.require_engine().context().get("accelerator_ids", {}).get("GPU", [])]
    return [int(item) for item in ids] if all(item.isdigit() for item in ids) else ids


def nodes() -> list[dict[str, Any]]:
    """The machines of the session, as dicts."""
    result: list[dict[str, Any]] = _session.running_engine().request("nodes")
    return result


def cluster_resources() -> dict[str, float]:
    """All resources of the session by name."""
    result: dict[str, float] = _session.running_engine().request("cluster_resources")
    return result


def available_resources() -> dict[str, float]:
    """The resources that nobody holds now, by name; those that are used up are left out."""
    result: dict[str, float] = _session.running_engine().request("available_resources")
    return result


def timeline(filename: str | None = None) -> list[dict[str, Any]] | None:
    """What ran when, as events for chrome://tracing or Perfetto; written to ``filename`` as JSON when it is given."""
    events: list[dict[str, Any]] = _session.running_engine().request("timeline")
    if filename is None:
        return events
    import json

    with open(filename, "w", encoding="utf-8") as file:
        json.dump(events, file)
    return None


def free(object_refs: ObjectRef[Any] | Sequence[ObjectRef[Any]]) -> None:
    """Drop values before their references go; a later ``get`` raises ObjectFreedError."""
    if isinstance(object_refs, ObjectRef):
        object_refs = [object_refs]
    for item in object_refs:
        if not isinstance(item, ObjectRef):
            raise TypeError(f"free() takes ObjectRefs, got {item!r} ({type(item).__name__})")
    _session.require_engine().free(list(object_refs))


def get_object_locations(
    obj_refs: Sequence[ObjectRef[Any]], timeout_ms: int = -1
) -> dict[ObjectRef[Any], dict[str, Any]]:
    """Where values are: for each reference ``node_ids``, ``object_size`` (bytes) and ``did_spill``."""
    return _session.require_engine().object_locations(list(obj_refs))

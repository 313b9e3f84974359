"""What the public API asks of an engine, and nothing else.

Three implementations: ``aktis._inline`` (everything in the driver), ``aktis._native`` (processes) and ``aktis._ray`` (an
existing Ray cluster).
The API checks and normalises what the user gave before an engine sees it: options are frozen dataclasses
of :mod:`aktis._options`, signatures have been checked, exceptions for bad input have been raised.

Hot path: ``bind_task`` and ``bind_method`` are called once per function (method) and set of options, and return a
plain callable ``submit(args, kwargs)``, which the API calls for every ``.remote()``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from aktis._options import ActorOptions, MethodOptions, TaskOptions
    from aktis.actor import ActorHandle
    from aktis.object_ref import ObjectRef

Submit = Callable[[tuple[Any, ...], dict[str, Any]], Any]
"""Takes (args, kwargs); returns an ObjectRef, a list of them, a generator of them, or None (``num_returns=0``)."""


@dataclass(eq=False, slots=True)
class FunctionDescriptor:
    """A user's function as engines see it. One object per ``@remote`` function, compared by identity."""

    function: Callable[..., Any]
    name: str  # module-qualified, for people
    is_generator: bool  # sync or async generator function
    is_coroutine: bool
    signature: inspect.Signature | None
    engine_state: Any = None  # the engine keeps the pickled form here


@dataclass(eq=False, slots=True)
class MethodDescriptor:
    """A method of an actor class: everything a handle must know to call it."""

    name: str
    is_generator: bool
    is_coroutine: bool
    signature: inspect.Signature | None
    defaults: dict[str, Any] = field(default_factory=dict)  # from @aktis.method


@dataclass(eq=False, slots=True)
class ClassDescriptor:
    """An actor class as engines see it."""

    cls: type
    name: str
    methods: dict[str, MethodDescriptor]
    is_async: bool  # any coroutine method or async generator
    signature: inspect.Signature | None  # of the constructor, without self
    engine_state: Any = None


def outside_of_calls() -> dict[str, Any]:
    """The facts of :meth:`Engine.context` about what runs, where no call does; engines add to them, and change them in calls."""
    return {
        "task_id": None,
        "task_name": None,
        "task_function_name": None,
        "actor_id": None,
        "actor_name": None,
        "placement_group_id": None,
        "capture_child_tasks": False,
        "resources": {},
        "accelerator_ids": {"GPU": []},
        "was_restarted": False,
        "is_canceled": False,
        "is_async": False,
    }


class Engine(Protocol):
    """Everything the API needs. Methods may block; all are safe to call from any thread."""

    namespace: str
    mode: str  # "native" | "inline" | "ray"

    # calls -----------------------------------------------------------------------------------
    def bind_task(self, function: FunctionDescriptor, options: TaskOptions) -> Submit: ...

    def create_actor(
        self, cls: ClassDescriptor, options: ActorOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> ActorHandle[Any]:
        """Return at once; failures of ``__init__`` surface at method calls.

        Raises ActorAlreadyExistsError for a taken name (``get_if_exists`` returns the existing actor's handle).
        """
        ...

    def bind_method(self, handle: ActorHandle[Any], method: MethodDescriptor, options: MethodOptions) -> Submit:
        """The handle caches the method, so the callable must not refer to the handle: keep ``handle._hold`` instead.

        ``method.name`` may be one of the hidden methods of :mod:`aktis.actor` (READY, CALL, TERMINATE).
        """
        ...

    def get_actor(self, name: str, namespace: str | None) -> ActorHandle[Any]:
        """Weak handle of a living named actor. Raises ValueError when there is none."""
        ...

    def list_named_actors(self, all_namespaces: bool) -> list[dict[str, str]]: ...

    def reduce_handle(self, handle: ActorHandle[Any]) -> tuple[Any, ...]:
        """What ``ActorHandle.__reduce__`` returns. The copy that is unpickled holds the actor as the original does."""
        ...

    def current_actor(self) -> ActorHandle[Any] | None:
        """A weak handle of the actor whose method runs in this thread (or coroutine); None elsewhere."""
        ...

    def kill_actor(self, handle: ActorHandle[Any], no_restart: bool) -> None: ...

    def cancel(self, ref: ObjectRef[Any], force: bool, recursive: bool) -> None:
        """Cancel the call that makes ``ref`` (for a generator: its ``completed_ref``)."""
        ...

    # objects ---------------------------------------------------------------------------------
    def put(self, value: Any) -> ObjectRef[Any]: ...

    def get(self, refs: Sequence[ObjectRef[Any]], timeout: float | None) -> list[Any]:
        """Values in order. Raises the first error in order as soon as it is known, or GetTimeoutError."""
        ...

    def wait(
        self, refs: Sequence[ObjectRef[Any]], num_returns: int, timeout: float | None, fetch_local: bool
    ) -> tuple[list[Any], list[Any]]:
        """(ready, rest) in the order given. Raises ValueError when one is given twice.

        Items may also be ObjectRefGenerators: ready when ``_source.ready()``.
        """
        ...

    def add_done_callback(self, ref: ObjectRef[Any], callback: Callable[[], None]) -> None:
        """Call ``callback()`` once, from any thread, when ``get(ref)`` would not wait (now, if it is so already)."""
        ...

    def free(self, refs: Sequence[ObjectRef[Any]]) -> None: ...

    def object_locations(self, refs: Sequence[ObjectRef[Any]]) -> dict[ObjectRef[Any], dict[str, Any]]: ...

    # cluster ---------------------------------------------------------------------------------
    def request(self, method: str, **arguments: Any) -> Any:
        """Ask the control plane. Methods and their arguments (all values plain data):

        ``nodes()``, ``cluster_resources()``, ``available_resources()`` (floats by name),
        ``kv_put(namespace, key, value, overwrite) -> bool``, ``kv_get(namespace, key) -> bytes | None``,
        ``kv_del(namespace, key) -> bool``, ``kv_keys(namespace, prefix) -> list[bytes]``,
        ``pg_create(pg_id, bundles, strategy, name, namespace, detached) -> bytes | None`` (an id that replaces
        ``pg_id``), ``pg_remove(pg_id)``,
        ``pg_wait(pg_id, timeout) -> bool``, ``pg_table(pg_id | None) -> dict``, ``pg_by_name(name, namespace) -> dict``,
        ``state(kind, filters, limit) -> list[dict]`` with kind tasks, actors, objects, workers, nodes, jobs, placement_groups,
        ``timeline() -> list[dict]`` (Chrome trace events), ``stacks() -> list[dict]``, ``memory() -> dict``,
        ``metrics_address() -> str | None``.
        """
        ...

    def context(self) -> dict[str, Any]:
        """Facts about the running task, as :mod:`aktis.runtime_context` names them (``job_id``, ``node_id``,
        ``worker_id``, ``task_id``, ``task_name``, ``task_function_name``, ``actor_id``, ``actor_name``, ``placement_group_id``,
        ``capture_child_tasks``, ``resources``, ``accelerator_ids``, ``runtime_env``, ``session_name``,
        ``session_dir``, ``was_restarted``, ``is_canceled``, ``is_async``, ``mode``: "driver" or "worker", ``address``,
        ``node_ip_address``). Ids are hexadecimal; ``task_id`` etc. are None where there is none."""
        ...

    def explain(self, ref: ObjectRef[Any]) -> dict[str, Any]:
        """Why a reference is not ready, or what happened to it: ``state``, ``sentence`` and the data behind it."""
        ...

    def act_for_main_thread(self) -> None:
        """The calling thread does the work of its process's main thread, which waits for it: when it waits in ``get`` or
        ``wait``, the CPUs of the call are lent to others, as they are when the main thread waits."""
        ...

    def exit_actor(self) -> None: ...

    def shutdown(self) -> None: ...

"""Facts about the running task or actor, for user code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aktis import _session

if TYPE_CHECKING:
    from aktis._engine import Engine
    from aktis.actor import ActorHandle


class RuntimeContext:
    """Where and as what this code runs. Ids are hexadecimal strings; those of tasks and actors are None in a driver."""

    __slots__ = ("_engine",)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def _fact(self, name: str) -> Any:
        return self._engine.context().get(name)

    def get_job_id(self) -> str:
        """Id of the job: of the driver whose calls these are."""
        return str(self._fact("job_id"))

    def get_node_id(self) -> str:
        """Id of the node that this process is on."""
        return str(self._fact("node_id"))

    def get_worker_id(self) -> str:
        """Id of this process."""
        return str(self._fact("worker_id"))

    def get_task_id(self) -> str | None:
        """Id of the running task (or actor method call); None in a driver."""
        value: str | None = self._fact("task_id")
        return value

    def get_task_name(self) -> str | None:
        """Name of the running task: its ``name`` option, or the function's name. None in a driver."""
        value: str | None = self._fact("task_name")
        return value

    def get_task_function_name(self) -> str | None:
        """The function's name with its module. None in a driver."""
        value: str | None = self._fact("task_function_name")
        return value

    def get_actor_id(self) -> str | None:
        """Id of the actor whose method runs; None in drivers and tasks."""
        value: str | None = self._fact("actor_id")
        return value

    def get_actor_name(self) -> str | None:
        """The actor's name; None in drivers and tasks, "" for an actor without a name."""
        value: str | None = self._fact("actor_name")
        return value

    def get_placement_group_id(self) -> str | None:
        """Id of the placement group that the running task or actor is in; None outside of one."""
        value: str | None = self._fact("placement_group_id")
        return value

    def get_temp_dir(self) -> str:
        """The directory that sessions are in."""
        import os

        return os.path.dirname(str(self._fact("session_dir")))

    def get_session_name(self) -> str:
        """Name of the session."""
        return str(self._fact("session_name"))

    def get_session_dir(self) -> str:
        """The session's directory."""
        return str(self._fact("session_dir"))

    def get_assigned_resources(self) -> dict[str, float]:
        """What the running task or actor holds, by name: ``{}`` for an actor that asked for nothing."""
        facts = self._engine.context()
        if facts.get("mode") != "worker":
            raise RuntimeError("get_assigned_resources() works inside tasks and actors only; this is a driver")
        return dict(facts.get("resources") or {})

    def get_accelerator_ids(self) -> dict[str, list[str]]:
        """Ids of the accelerators that the running task or actor may use, by kind."""
        ids = self._fact("accelerator_ids") or {}
        return {"GPU": [], **{kind: [str(item) for item in items] for kind, items in ids.items()}}

    def get_node_labels(self) -> dict[str, str]:
        """Labels of the node that this process is on."""
        node_id = self._fact("node_id")
        for node in self._engine.request("nodes"):
            if node.get("NodeID") == node_id:
                return dict(node.get("Labels") or {})
        return {}

    def get_runtime_env_string(self) -> str:
        """The runtime environment in force, as JSON."""
        value = self._fact("runtime_env")
        return value if isinstance(value, str) and value else json.dumps(value or {}, sort_keys=True)

    def is_canceled(self) -> bool:
        """Whether ``cancel`` was called for the running task: methods of threaded actors poll it."""
        facts = self._engine.context()
        if facts.get("is_async"):
            raise RuntimeError("is_canceled() is not for async actors: their calls get asyncio.CancelledError")
        return bool(facts.get("is_canceled"))

    @property
    def namespace(self) -> str:
        """The namespace in which names of actors are looked up."""
        return self._engine.namespace

    @property
    def current_actor(self) -> ActorHandle[Any]:
        """A handle of the actor whose method runs, for passing to others. It does not keep the actor alive."""
        handle: ActorHandle[Any] | None = self._engine.current_actor()
        if handle is None:
            raise RuntimeError("current_actor works inside a method of an actor only")
        return handle

    @property
    def gcs_address(self) -> str:
        """Address of the cluster."""
        return str(self._fact("address"))

    @property
    def runtime_env(self) -> dict[str, Any]:
        """The runtime environment in force."""
        value: dict[str, Any] = json.loads(self.get_runtime_env_string())
        return value

    @property
    def was_current_actor_reconstructed(self) -> bool:
        """Whether the actor whose method runs was restarted."""
        facts = self._engine.context()
        if facts.get("actor_id") is None:
            raise RuntimeError("was_current_actor_reconstructed works inside a method of an actor only")
        return bool(facts.get("was_restarted"))

    @property
    def should_capture_child_tasks_in_placement_group(self) -> bool:
        """Whether calls go into the placement group that this one is in."""
        return bool(self._fact("capture_child_tasks"))

    # Properties of older programs.
    @property
    def job_id(self) -> str:
        """See :meth:`get_job_id`."""
        return self.get_job_id()

    @property
    def node_id(self) -> str:
        """See :meth:`get_node_id`."""
        return self.get_node_id()

    @property
    def task_id(self) -> str | None:
        """See :meth:`get_task_id`."""
        return self.get_task_id()

    @property
    def actor_id(self) -> str | None:
        """See :meth:`get_actor_id`."""
        return self.get_actor_id()

    @property
    def current_placement_group_id(self) -> str | None:
        """See :meth:`get_placement_group_id`."""
        return self.get_placement_group_id()

    @property
    def worker_id(self) -> str:
        """See :meth:`get_worker_id`."""
        return self.get_worker_id()

    def get(self) -> dict[str, Any]:
        """The ids in one dict, without those that do not apply."""
        names = ("job_id", "node_id", "task_id", "actor_id")
        facts = self._engine.context()
        return {name: facts[name] for name in names if facts.get(name) is not None} | {"namespace": self.namespace}

    def __repr__(self) -> str:
        return f"RuntimeContext({self.get()!r})"


def get_runtime_context() -> RuntimeContext:
    """Facts about the running task or actor, or about the driver."""
    return RuntimeContext(_session.require_engine())

"""The engine itself: what the API asks, passed on to Ray."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress, islice, repeat
from operator import is_
from typing import TYPE_CHECKING, Any

import ray

from aktis._engine import ClassDescriptor, FunctionDescriptor, MethodDescriptor, Submit
from aktis._options import ActorOptions, MethodOptions, TaskOptions
from aktis._ray import actors, errors, facts, refs, relay, serializers, tasks, travel
from aktis._ray.control import Control
from aktis._ray.refs import RayRef
from aktis._serialization.diagnose import explain_failure
from aktis.actor import ActorHandle
from aktis.exceptions import AktisSystemError, GetTimeoutError, ObjectFreedError
from aktis.object_ref import call_all, check_unique

if TYPE_CHECKING:
    from aktis._settings import InitSettings


class RayEngine:
    """See :class:`aktis._engine.Engine`."""

    mode = "ray"

    def __init__(self, namespace: str, job: travel.Job, disconnect: Callable[[], None] | None) -> None:
        self.namespace = namespace
        self.job = job
        self.epoch = refs.begin_epoch()
        self.is_driver = facts.is_driver(ray.get_runtime_context())
        self.control = Control(self)
        self.streams = relay.Streams() if facts.is_client(ray.get_runtime_context()) else None
        self._disconnect = disconnect
        self._freed: set[bytes] = set()
        serializers.begin()

    @classmethod
    def of_worker(cls, job: travel.Job) -> RayEngine:
        """The engine of a process that Ray started."""
        return cls(ray.get_runtime_context().namespace, job, None)

    # calls -----------------------------------------------------------------------------------

    def bind_task(self, function: FunctionDescriptor, options: TaskOptions) -> Submit:
        self._check_open()
        return tasks.bind(self, function, options)

    def create_actor(
        self, cls: ClassDescriptor, options: ActorOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> ActorHandle[Any]:
        self._check_open()
        return actors.create(self, cls, options, args, kwargs)

    def bind_method(self, handle: ActorHandle[Any], method: MethodDescriptor, options: MethodOptions) -> Submit:
        return actors.bind(handle, method, options)

    def get_actor(self, name: str, namespace: str | None) -> ActorHandle[Any]:
        self._check_open()
        return actors.by_name(self, name, namespace)

    def list_named_actors(self, all_namespaces: bool) -> list[dict[str, str]]:
        self._check_open()
        listed = ray.util.list_named_actors(all_namespaces=True)
        return [
            {"name": row["name"], "namespace": row["namespace"]}
            for row in listed
            if all_namespaces or row["namespace"] == self.namespace
        ]

    def reduce_handle(self, handle: ActorHandle[Any]) -> tuple[Any, ...]:
        return actors.reduce(handle)

    def current_actor(self) -> ActorHandle[Any] | None:
        self._check_open()
        context = ray.get_runtime_context()
        if facts.is_driver(context) or context.get_actor_id() is None:
            return None
        return actors.wrap(self, context.current_actor, weak=True)

    def kill_actor(self, handle: ActorHandle[Any], no_restart: bool) -> None:
        ray.kill(handle._hold.actor, no_restart=no_restart)

    def cancel(self, ref: Any, force: bool, recursive: bool) -> None:
        bare = ref.check()
        try:
            if self.streams is None:
                ray.cancel(bare, force=force, recursive=recursive)
            elif not self.streams.cancel(ref, force, recursive):
                relay.check_force(bare, force)
                ray.cancel(bare, force=force, recursive=recursive)
        except errors.RAY_ERRORS as error:
            raise errors.translate(error) from None

    def exit_actor(self) -> None:
        ray.actor.exit_actor()

    def act_for_main_thread(self) -> None:
        """Ray lends the CPUs of a call that waits, whichever thread waits."""

    # objects ---------------------------------------------------------------------------------

    def put(self, value: Any) -> RayRef:
        try:
            return RayRef(ray.put(value))
        except errors.RAY_ERRORS as error:
            raise errors.translate(error) from None
        except tasks.FAILURES as error:
            raise explain_failure(value, "value", error) from error

    def get(self, wanted: Sequence[Any], timeout: float | None) -> list[Any]:
        try:
            inner = [ref._ref for ref in wanted if ref._epoch == refs.epoch]
            if len(inner) != len(wanted) or self._freed:
                self._check(wanted)
            values = ray.get(inner, timeout=timeout)
            return list(map(refs.received, values)) if refs.DYNAMIC in map(type, values) else values
        except errors.RAY_ERRORS as error:
            raise self._failure(error, wanted, timeout) from None
        except AttributeError:
            self._check(wanted)
            raise

    def _check_open(self) -> None:
        if self.epoch != refs.epoch or not ray.is_initialized():
            raise AktisSystemError("the session was shut down, or the connection to the cluster is gone")

    def _check(self, wanted: Sequence[Any]) -> None:
        for ref in wanted:
            if not isinstance(ref, RayRef):
                raise AktisSystemError(f"{ref!r} belongs to a session that was shut down")
            ref.check()
            if ref.binary() in self._freed:
                raise ObjectFreedError(ref.hex())

    def _failure(self, error: BaseException, wanted: Sequence[Any], timeout: float | None) -> BaseException:
        found = errors.translate(error)
        if not isinstance(found, GetTimeoutError) or type(found) is not GetTimeoutError:
            return found
        ready, _ = ray.wait([ref._ref for ref in wanted], num_returns=len(wanted), timeout=0, fetch_local=False)
        return GetTimeoutError(
            f"{len(wanted) - len(ready)} of {len(wanted)} values not ready after {timeout} seconds. "
            "aktis.explain(ref) says why"
        )

    def wait(
        self, wanted: Sequence[Any], num_returns: int, timeout: float | None, fetch_local: bool
    ) -> tuple[list[Any], list[Any]]:
        try:
            inner = [item._ref for item in wanted if item._epoch == refs.epoch]
        except AttributeError:  # generators among them
            inner = []
        if len(inner) != len(wanted):
            inner = [item.check() if isinstance(item, RayRef) else item._source.items for item in wanted]
        try:
            ready, _ = ray.wait(inner, num_returns=num_returns, timeout=timeout, fetch_local=fetch_local)
        except Exception:  # of which class, Ray Client does not say
            check_unique(inner)  # Ray has looked already, in other words
            raise
        done: list[Any] = []
        rest: list[Any] = []
        begin = 0
        for bare in ready:  # in the order given, so that one pass finds them all
            place = _place(inner, bare, begin)
            done.append(wanted[place])
            rest += wanted[begin:place]
            begin = place + 1
        rest += wanted[begin:]
        return done, rest

    def add_done_callback(self, ref: Any, callback: Callable[[], None]) -> None:
        ref.check().future().add_done_callback(lambda _: call_all((callback,)))

    def free(self, unwanted: Sequence[Any]) -> None:
        """Ray has no public call for it: later ``get`` is refused here, and this process's hold is dropped."""
        for ref in unwanted:
            ref.check()
            self._freed.add(ref.binary())

    def object_locations(self, wanted: Sequence[Any]) -> dict[Any, dict[str, Any]]:
        inner = [ref.check() for ref in wanted]
        if self.streams is None:
            found = relay.locations(inner)
        else:
            found = ray.get(ray.remote(num_cpus=0)(relay.locations).remote(inner))
        return dict(zip(wanted, found))

    # cluster ---------------------------------------------------------------------------------

    def request(self, method: str, **arguments: Any) -> Any:
        self._check_open()
        return self.control.request(method, arguments)

    def context(self) -> dict[str, Any]:
        self._check_open()
        return facts.context()

    def explain(self, ref: Any) -> dict[str, Any]:
        self._check_open()
        return self.control.explain(ref)

    def shutdown(self) -> None:
        self.control.close()
        serializers.end()
        refs.begin_epoch()
        if self._disconnect is not None:
            self._disconnect()


def _place(refs: list[Any], ref: Any, begin: int) -> int:
    """Where ``ref`` is. A process of the cluster gets back what it gave; Ray Client makes new ones, and comparing is slower."""
    same = map(is_, islice(refs, begin, None), repeat(ref))
    place = next(compress(range(begin, len(refs)), same), None)
    return refs.index(ref, begin) if place is None else place


def start(settings: InitSettings) -> RayEngine:
    """What ``aktis.init("ray://...")`` calls."""
    from aktis._ray import connect

    return connect.start(settings)

"""Actors: creation, handles and their methods."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import ray

from aktis import _session
from aktis._engine import ClassDescriptor, MethodDescriptor, Submit
from aktis._options import ActorOptions, MethodOptions
from aktis._ray import errors, hosts, refs, tasks, travel
from aktis._ray import options as ray_options
from aktis._ray.exported import Exported
from aktis.actor import TERMINATE, ActorHandle
from aktis.exceptions import ActorAlreadyExistsError, AktisSystemError

if TYPE_CHECKING:
    from aktis._ray.engine import RayEngine


class Hold:
    """What a handle of ours holds on to: Ray's, and what pickles carry of the methods (see :mod:`aktis._ray.hosts`)."""

    __slots__ = ("actor", "card", "may_refuse")

    def __init__(self, actor: Any, card: str, may_refuse: bool = False) -> None:
        self.actor = actor
        self.card = card
        self.may_refuse = may_refuse  # too many calls that wait: a client is to ask for each


class ExportedClass(Exported[ClassDescriptor, ActorOptions]):
    """A user's class as Ray has it."""

    def __init__(self, engine: RayEngine, descriptor: ClassDescriptor) -> None:
        super().__init__(engine, descriptor)
        self.card = hosts.card(descriptor)

    def key(self, options: ActorOptions) -> Hashable:
        return tuple(sorted(options.concurrency_groups.items()))

    def make(self, options: ActorOptions) -> Any:
        shipped = travel.Shipped(self.engine.job, self.descriptor.name, self.target)
        host = hosts.host_of(self.descriptor, shipped, self.card)
        groups = dict(options.concurrency_groups)
        return ray.remote(concurrency_groups=groups)(host) if groups else ray.remote(host)


def create(
    engine: RayEngine, cls: ClassDescriptor, options: ActorOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> ActorHandle[Any]:
    exported = ExportedClass.of(engine, cls)
    given = ray_options.of_actor(engine, options, cls.is_async)
    args, kwargs = refs.bare_arguments(args, kwargs)
    try:
        actor = exported.remote(options).options(**given).remote(*args, **kwargs)
        actor_id = _id_of(actor)  # a client's waits until the actor is registered, or is told why it cannot be
    except errors.RAY_ERRORS as error:
        raise errors.translate(error) from None
    except tasks.FAILURES as error:
        if options.name and "already" in str(error):
            raise _taken(engine, options) from None
        tasks.explain(cls.cls, cls.name, cls.signature, args, kwargs, error, exported.by_reference)
        actor = exported.remote(options).options(**given).remote(*args, **kwargs)
        actor_id = _id_of(actor)
    may_refuse = options.max_pending_calls >= 0
    return ActorHandle(engine, actor_id, cls.name, cls.methods, Hold(actor, exported.card, may_refuse))


def _taken(engine: RayEngine, options: ActorOptions) -> ActorAlreadyExistsError:
    return ActorAlreadyExistsError(
        f"an actor named {options.name!r} exists already in namespace {options.namespace or engine.namespace!r}: "
        "choose another name, or pass get_if_exists=True"
    )


def _id_of(actor: Any) -> bytes:
    return bytes(actor._actor_id.binary())


def bind(handle: ActorHandle[Any], method: MethodDescriptor, options: MethodOptions) -> Submit:
    actor = handle._hold.actor
    if method.name == TERMINATE:
        bound = actor.__ray_terminate__
    else:
        bound = getattr(actor, hosts.name_for_ray(method))
    given = ray_options.of_method(options, method)
    streams = handle._engine.streams  # type: ignore[attr-defined]
    if streams is not None and "concurrency_group" in given:
        raise ValueError(
            f"concurrency_group={options.concurrency_group!r} cannot be chosen for a call of {method.name}() through Ray "
            "Client (ray://): say it in the class with @aktis.method(concurrency_group=...), or run on the cluster"
        )
    if streams is not None and options.num_returns == "streaming":
        return tasks.relayed(streams, "method", (actor, hosts.name_for_ray(method)), given)
    call = tasks.caller(bound, given)
    wrap = refs.wrapper(options.num_returns)
    if streams is not None and handle._hold.may_refuse:
        wrap = refs.known(wrap)
    bare = refs.bare_arguments

    def submit(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        args, kwargs = bare(args, kwargs)
        try:
            return wrap(call(*args, **kwargs))
        except errors.RAY_ERRORS as error:
            raise errors.translate(error) from None
        except tasks.FAILURES as error:
            tasks.explain_arguments(method.signature, args, kwargs, error)
            raise

    return submit


def by_name(engine: RayEngine, name: str, namespace: str | None) -> ActorHandle[Any]:
    try:
        actor = ray.get_actor(name, namespace=namespace)
    except ValueError:
        raise ValueError(
            f"there is no living actor named {name!r} in namespace {namespace or engine.namespace!r}"
        ) from None
    return wrap(engine, actor, weak=True)


def wrap(engine: RayEngine, actor: Any, weak: bool) -> ActorHandle[Any]:
    card = hosts.card_of(actor)
    name, methods = hosts.read_card(card)
    return ActorHandle(engine, _id_of(actor), name, methods, Hold(actor, card), weak)


def reduce(handle: ActorHandle[Any]) -> tuple[Any, ...]:
    """Whoever unpickles it asks nobody: it may be a thread that answers must come through."""
    return restore, (handle._hold.actor, handle._actor_id, handle._hold.card, handle._weak)


def restore(actor: Any, actor_id: bytes, card: str, weak: bool) -> ActorHandle[Any]:
    """What a handle unpickles with."""
    engine: Any = _session.current
    if engine is None or engine.mode != "ray":
        if not ray.is_initialized():
            raise AktisSystemError("an actor handle was unpickled where no session runs: call aktis.init() first")
        travel.enter(travel.Job())
        engine = _session.current
    name, methods = hosts.read_card(card)
    return ActorHandle(engine, actor_id, name, methods, Hold(actor, card), weak)

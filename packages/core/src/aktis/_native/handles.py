"""Making actor handles: at creation, by name, and out of pickles."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aktis import exceptions
from aktis._descriptors import describe, restore_methods
from aktis._native import protocol as op
from aktis._native import values
from aktis._native.actor_client import ActorClient, ActorHold, ActorToken
from aktis._native.calls import Call, encode_arguments, fill_slots, when_arguments_ready
from aktis._native.refs import VALUE, NativeRef
from aktis._serialization import pack_exception, pack_function
from aktis.actor import ActorHandle

if TYPE_CHECKING:
    from aktis._engine import ClassDescriptor
    from aktis._native.engine import NativeEngine
    from aktis._options import ActorOptions


def create(
    engine: NativeEngine, cls: ClassDescriptor, options: ActorOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> ActorHandle[Any]:
    """Start an actor. With a name, the node is asked at once whether it is free."""
    core = engine.core
    namespace = options.namespace or engine.namespace
    if options.get_if_exists:
        try:
            return by_name(engine, options.name, namespace)
        except ValueError:
            pass
    state = cls.engine_state
    if state is None or state[0] is not engine:
        state = cls.engine_state = (engine, pack_function(cls.cls), describe(cls.methods))
    counter = next(core.counters)
    actor_id = core.process_id + counter.to_bytes(8, "big")
    facts = {
        "max_pending": options.max_pending_calls,
        "max_task_retries": options.max_task_retries,
        "out_of_order": options.allow_out_of_order,
    }
    client = engine.actors.client(actor_id, cls.name, subscribe=False)
    configure(client, facts)
    token = None
    if not options.detached:
        token = ActorToken(core, counter, 0, None, None)
        token.actor_id = actor_id
        token.state = VALUE
    strategy = options.strategy
    if options.inherit_group:
        group = engine.capturing_group()
        if group:
            strategy = ("PG", group, -1, True)
    atoms, extra, references, pins = encode_arguments(core, args, kwargs)
    call = Call(core, counter, client, (op.ACTOR_CREATE, counter, "", atoms, extra, 0, None))
    call.arguments = references
    call.pins = pins
    if options.max_restarts or not options.detached:
        client.creation = call  # the arguments must stay alive: they are needed for restarts
    handle = pickle.dumps((cls.name, state[2], facts))
    spec = _spec(engine, cls, options, actor_id, strategy, handle)
    if options.name:
        _wait_for_arguments(core, references)
        answer = _send_creation(engine, client, spec, call, state[1], wait=True)
        if options.get_if_exists and answer == "exists":
            return by_name(engine, options.name, namespace)
    else:

        def send(_: Call) -> None:
            _send_creation(engine, client, spec, call, state[1], wait=False)

        when_arguments_ready(call, send)
    hold = ActorHold(client, token)
    return ActorHandle(engine, actor_id, cls.name, cls.methods, hold)


def _spec(
    engine: NativeEngine, cls: ClassDescriptor, options: ActorOptions, actor_id: bytes, strategy: Any, handle: bytes
) -> op.ActorSpec:
    """What the node is told about an actor; its class comes with the creation."""
    return op.ActorSpec(
        actor_id=actor_id,
        job_id=engine.job_id,
        owner=b"" if options.detached else engine.core.process_id,
        class_name=cls.name,
        payload=b"",
        placement_resources=dict(options.placement_resources),
        held_resources=dict(options.held_resources),
        name=options.name,
        namespace=options.namespace or engine.namespace,
        detached=options.detached,
        max_restarts=options.max_restarts,
        env=engine.call_env(options.runtime_env),
        strategy=strategy,
        options={
            "max_concurrency": options.max_concurrency,
            "concurrency_groups": dict(options.concurrency_groups),
            "is_async": cls.is_async,
            "method_groups": {
                name: method.defaults["concurrency_group"]
                for name, method in cls.methods.items()
                if method.defaults.get("concurrency_group")
            },
            "get_if_exists": options.get_if_exists,
            "group": (strategy[1], strategy[3]) if strategy[0] == "PG" else None,
        },
        handle=handle,
    )


def _wait_for_arguments(core: Any, references: list[tuple[Any, NativeRef]]) -> None:
    for _, ref in references:
        while not ref.state and not core.closed:
            core.wait_for(ref, None, False)


def _send_creation(
    engine: NativeEngine, client: ActorClient, spec: op.ActorSpec, call: Call, blob: bytes, wait: bool
) -> str | None:
    failed = fill_slots(call) if call.arguments else None
    if failed is not None:
        error = values.to_exception(failed)
        died = exceptions.ActorDiedError(
            f"Actor {spec.class_name} was not created: an argument of its constructor failed with {error!r}.",
            actor_id=spec.actor_id.hex(),
            actor_init_failed=True,
        )
        cause = op.DeathCause("init_failed", str(died), error=pack_exception(died))
        client.update(op.ActorView("DEAD", cause=cause))
        return None
    spec.payload = pickle.dumps({"cls": blob, "atoms": call.message[3], "extra": call.message[4]}, 5)
    if not wait:
        engine.core.requests.send(op.ACTOR_CREATE, spec, callback=lambda ok, value: _created(client, spec, ok, value))
        return None
    try:
        engine.core.requests.call(op.ACTOR_CREATE, spec)
    except exceptions.AktisSystemError as error:
        if isinstance(error, exceptions.LocalNodeDiedError):
            raise
        engine.actors.clients.pop(spec.actor_id, None)
        if "exists" in str(error) or "taken" in str(error):
            if spec.options.get("get_if_exists"):
                return "exists"
            raise exceptions.ActorAlreadyExistsError(
                f"The name {spec.name!r} is taken in namespace {spec.namespace!r}. Choose another, pass "
                "get_if_exists=True to share that actor, or kill it first."
            ) from None
        raise
    return None


def _created(client: ActorClient, spec: op.ActorSpec, ok: bool, value: Any) -> None:
    if not ok:
        client.update(op.ActorView("DEAD", cause=op.DeathCause("unschedulable", str(value))))


def configure(client: ActorClient, facts: Mapping[str, Any]) -> None:
    client.max_pending = facts["max_pending"]
    client.max_task_retries = facts["max_task_retries"]
    client.out_of_order = facts["out_of_order"]
    client.fast = client.max_pending < 0


def by_name(engine: NativeEngine, name: str, namespace: str) -> ActorHandle[Any]:
    """A weak handle of a living named actor. Raises ValueError when there is none."""
    found = engine.request("actor_by_name", name=name, namespace=namespace)
    if found is None:
        raise ValueError(
            f"There is no actor named {name!r} in namespace {namespace!r}. It may have ended, or live in another namespace: "
            "aktis.util.list_named_actors(all_namespaces=True) shows them all."
        )
    return of_parts(engine, found["actor_id"], found["handle"])


def of_parts(engine: NativeEngine, actor_id: bytes, handle: bytes) -> ActorHandle[Any]:
    class_name, rows, facts = pickle.loads(handle)
    client = engine.actors.client(actor_id, class_name, subscribe=True)
    configure(client, facts)
    return ActorHandle(engine, actor_id, class_name, restore_methods(rows), ActorHold(client, None), weak=True)


def of_spec(engine: NativeEngine, spec: op.ActorSpec) -> ActorHandle[Any]:
    return of_parts(engine, spec.actor_id, spec.handle)


def reduce(engine: NativeEngine, handle: ActorHandle[Any]) -> tuple[Any, ...]:
    """What a handle pickles as. The token of a strong handle travels as a nested reference and so is borrowed."""
    client: ActorClient = handle._hold.client
    facts = {
        "max_pending": client.max_pending,
        "max_task_retries": client.max_task_retries,
        "out_of_order": client.out_of_order,
    }
    rows = client.rows
    if rows is None:
        rows = client.rows = describe(handle._methods)
    return restore_handle, (handle._actor_id, handle._class_name, rows, facts, handle._hold.token)


def restore_handle(
    actor_id: bytes, class_name: str, rows: tuple[Any, ...], facts: dict[str, Any], token: NativeRef | None
) -> ActorHandle[Any]:
    from aktis import _session

    engine: Any = _session.current
    if engine is None or not hasattr(engine, "actors"):
        raise RuntimeError(
            "An actor handle was unpickled where no session of the native engine runs: call aktis.init() first."
        )
    client = engine.actors.client(actor_id, class_name, subscribe=True)
    configure(client, facts)
    return ActorHandle(
        engine, actor_id, class_name, restore_methods(rows), ActorHold(client, token), weak=token is None
    )

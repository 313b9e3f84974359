"""Birth, restarts and death of actors; async and threaded actors."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from typing import Any

import pytest

import aktis

from ..helpers.engines import ON_RAY

pytestmark = pytest.mark.usefixtures("session")

ActorDiedError = aktis.exceptions.ActorDiedError


@aktis.remote
class Plain:
    def __init__(self, name: str = "") -> None:
        self.count = 0

    def add(self) -> int:
        self.count += 1
        return self.count

    def leave(self) -> None:
        aktis.actor.exit_actor()

    def sys_exit(self) -> None:
        import sys

        sys.exit(1)


def _gone(name: str) -> bool:
    """Whether the actor of this name is gone, within some seconds."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            aktis.get_actor(name)
        except ValueError:
            return True
        time.sleep(0.01)
    return False


def _ended(name: str, engine: str) -> bool:
    """Whether the actor of this name, of which we still have a handle, has ended by itself, within some seconds.

    Ray lists it no more, but finds it by name as long as anybody has a handle (an actor that was killed it does not find).
    """
    if engine not in ("ray", ON_RAY):
        return _gone(name)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if name not in aktis.util.list_named_actors():
            return True
        time.sleep(0.01)
    return False


def _after_kill(engine: str, call: Callable[[], Any], expected: Any) -> Any:
    """What the actor says when it has been killed: Ray kills while calls go on, so that some may come through yet."""
    deadline = time.monotonic() + 20
    while (value := call()) != expected and engine in ("ray", ON_RAY) and time.monotonic() < deadline:
        time.sleep(0.01)
    return value


def test_kill(session: str) -> None:
    actor = Plain.remote()
    assert aktis.get(actor.add.remote()) == 1
    aktis.kill(actor)

    def is_dead() -> bool:
        try:
            aktis.get(actor.add.remote())
        except aktis.exceptions.RayActorError:
            return True
        return False

    assert _after_kill(session, is_dead, True)


def test_kill_fails_what_is_pending() -> None:
    @aktis.remote
    class Waits:
        async def wait(self) -> None:
            await asyncio.Event().wait()

    actor = Waits.remote()
    ref = actor.wait.remote()
    assert aktis.wait([ref], timeout=0.05)[0] == []
    aktis.kill(actor)
    with pytest.raises(ActorDiedError):
        aktis.get(ref)


@pytest.mark.parametrize("value", [1, None, "actor"])
def test_kill_of_something_else(value: Any) -> None:
    with pytest.raises(ValueError):
        aktis.kill(value)


def test_kill_frees_the_name() -> None:
    actor = Plain.options(name="mortal").remote()
    aktis.get(actor.add.remote())
    aktis.kill(actor)
    assert _gone("mortal")
    again = Plain.options(name="mortal").remote()
    assert aktis.get(again.add.remote()) == 1


def test_kill_with_restart(session: str) -> None:
    actor = Plain.options(max_restarts=1, max_task_retries=-1).remote()
    assert aktis.get([actor.add.remote(), actor.add.remote()]) == [1, 2]
    aktis.kill(actor, no_restart=False)

    def add() -> Any:
        try:
            return aktis.get(actor.add.remote())
        except aktis.exceptions.RayActorError:
            return "dead"

    assert _after_kill(session, add, 1) == 1
    aktis.kill(actor, no_restart=False)
    assert _after_kill(session, add, "dead") == "dead"


def test_was_reconstructed(session: str) -> None:
    @aktis.remote(max_restarts=-1, max_task_retries=-1)
    class A:
        def restarted(self) -> bool:
            return bool(aktis.get_runtime_context().was_current_actor_reconstructed)

    actor = A.remote()
    assert aktis.get(actor.restarted.remote()) is False
    aktis.kill(actor, no_restart=False)
    assert _after_kill(session, lambda: aktis.get(actor.restarted.remote()), True) is True


@pytest.mark.not_on_ray("it may have freed an object by then that nothing but the constructor's arguments names")
def test_restart_uses_the_original_arguments() -> None:
    @aktis.remote(max_restarts=1, max_task_retries=-1)
    class A:
        def __init__(self, items: Any, ref: Any) -> None:
            self.items, self.ref = items, ref

        def get(self) -> Any:
            return self.items, self.ref

    actor = A.remote([1, 2], aktis.put("value"))
    aktis.get(actor.get.remote())
    gc.collect()
    aktis.kill(actor, no_restart=False)
    assert aktis.get(actor.get.remote()) == ([1, 2], "value")


def test_exit_actor(session: str) -> None:
    actor = Plain.options(max_restarts=5, name="leaves").remote()
    with pytest.raises(aktis.exceptions.RayActorError):
        aktis.get(actor.leave.remote())
    with pytest.raises(aktis.exceptions.RayActorError):
        aktis.get(actor.add.remote())
    assert _ended("leaves", session)


def test_exit_actor_outside_of_an_actor() -> None:
    with pytest.raises(TypeError):
        aktis.actor.exit_actor()


def test_exit_actor_of_an_async_actor() -> None:
    @aktis.remote
    class A:
        async def leave(self) -> None:
            aktis.actor.exit_actor()

        async def ping(self) -> int:
            return 1

    actor = A.remote()
    assert aktis.get(actor.ping.remote()) == 1
    with pytest.raises(aktis.exceptions.RayActorError):
        aktis.get(actor.leave.remote())
    with pytest.raises(aktis.exceptions.RayActorError):
        aktis.get(actor.ping.remote())


def test_terminate(session: str) -> None:
    actor = Plain.options(name="terminated").remote()
    ref = actor.add.remote()
    actor.__ray_terminate__.remote()
    assert aktis.get(ref) == 1
    assert _ended("terminated", session)
    with pytest.raises(aktis.exceptions.RayActorError):
        aktis.get(actor.add.remote())


def test_sys_exit_ends_the_actor() -> None:
    actor = Plain.remote()
    with pytest.raises(aktis.exceptions.RayActorError):
        aktis.get(actor.sys_exit.remote())
    with pytest.raises(aktis.exceptions.RayActorError):
        aktis.get(actor.add.remote())


def test_the_last_handle_ends_the_actor_after_its_calls() -> None:
    actor = Plain.options(name="counted").remote()
    ref = actor.add.remote()
    del actor
    gc.collect()
    assert aktis.get(ref) == 1
    assert _gone("counted")


@pytest.mark.not_through_ray_client("its server keeps its handle of an actor that was found by name")
def test_weak_handles_do_not_keep_an_actor() -> None:
    actor = Plain.options(name="weakly").remote()
    weak = aktis.get_actor("weakly")
    assert aktis.get(weak.add.remote()) == 1
    del actor
    gc.collect()
    assert _gone("weakly")
    with pytest.raises(aktis.exceptions.RayActorError):
        aktis.get(weak.add.remote())


@pytest.mark.not_through_ray_client("what it found by name stays a weak handle, wherever it comes from later")
def test_a_stored_handle_keeps_the_actor() -> None:
    ref = aktis.put([Plain.options(name="stored").remote()])
    gc.collect()
    assert aktis.get(aktis.get_actor("stored").add.remote()) == 1
    (again,) = aktis.get(ref)
    del ref
    gc.collect()
    assert aktis.get(again.add.remote()) == 2
    del again
    gc.collect()
    assert _gone("stored")


def test_detached_actors_stay() -> None:
    actor = Plain.options(name="detached", lifetime="detached").remote()
    aktis.get(actor.add.remote())
    del actor
    gc.collect()
    again = aktis.get_actor("detached")
    assert aktis.get(again.add.remote()) == 2
    aktis.kill(again)
    assert _gone("detached")


def test_failure_of_the_constructor() -> None:
    @aktis.remote
    class Bad:
        def __init__(self) -> None:
            raise ValueError("in the constructor")

        def m(self) -> None:
            pass

    actor = Bad.remote()
    with pytest.raises(ActorDiedError) as caught:
        aktis.get(actor.m.remote())
    assert caught.value.actor_init_failed
    assert "in the constructor" in str(caught.value)


def test_actor_died_error_knows_the_actor(session: str) -> None:
    actor = Plain.remote()
    aktis.get(actor.add.remote())
    aktis.kill(actor)

    def add() -> Any:
        try:
            return aktis.get(actor.add.remote())
        except ActorDiedError as error:
            return bool(error.actor_id)

    assert _after_kill(session, add, True) is True


def test_children_die_with_their_parent() -> None:
    @aktis.remote
    class Parent:
        def make(self) -> Any:
            self.child = Plain.options(name="child").remote()
            aktis.get(self.child.add.remote())

    parent = Parent.remote()
    aktis.get(parent.make.remote())
    aktis.kill(parent)
    assert _gone("child")


def test_max_pending_calls() -> None:
    @aktis.remote(max_pending_calls=2)
    class A:
        def __init__(self) -> None:
            self.event = asyncio.Event()

        async def wait(self) -> None:
            await self.event.wait()

        async def go(self) -> None:
            self.event.set()

    actor = A.remote()
    refs = [actor.wait.remote(), actor.wait.remote()]
    with pytest.raises(aktis.exceptions.PendingCallsLimitExceeded):
        actor.wait.remote()
    aktis.kill(actor)
    for ref in refs:
        with pytest.raises(ActorDiedError):
            aktis.get(ref)


# async -----------------------------------------------------------------------------------------


@aktis.remote
class Signal:
    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.waiting = 0
        self.highest = 0

    async def wait(self) -> str:
        self.waiting += 1
        self.highest = max(self.highest, self.waiting)
        await self.event.wait()
        self.waiting -= 1
        return "set"

    async def send(self) -> None:
        self.event.set()

    def sync_method(self) -> bool:
        return asyncio.get_running_loop() is not None

    async def most(self) -> int:
        return self.highest

    async def reach(self, waiting: int) -> None:
        while self.waiting < waiting:
            await asyncio.sleep(0.001)


def test_calls_of_async_actors_overlap() -> None:
    signal = Signal.remote()
    refs = [signal.wait.remote() for _ in range(5)]
    aktis.get(
        signal.reach.remote(5)
    )  # Ray starts calls of async actors in any order: the signal could come before a wait
    assert aktis.wait(refs, timeout=0.02)[0] == []
    aktis.get(signal.send.remote())
    assert aktis.get(refs) == ["set"] * 5
    assert aktis.get(signal.most.remote()) == 5


def test_max_concurrency_of_async_actors() -> None:
    @aktis.remote(max_concurrency=2)
    class A:
        def __init__(self) -> None:
            self.now = self.highest = 0

        async def work(self) -> None:
            self.now += 1
            self.highest = max(self.now, self.highest)
            await asyncio.sleep(0.005)
            self.now -= 1

        async def most(self) -> int:
            return self.highest

    actor = A.remote()
    aktis.get([actor.work.remote() for _ in range(6)])
    assert aktis.get(actor.most.remote()) == 2


def test_sync_methods_of_async_actors_run_on_the_loop() -> None:
    assert aktis.get(_keep(Signal.remote()).sync_method.remote()) is True


_kept: list[Any] = []


def _keep(actor: Any) -> Any:
    _kept[:] = [actor]
    return actor


def test_async_methods_await_references() -> None:
    signal = Signal.remote()

    @aktis.remote
    class Waiter:
        async def through(self, refs: list[Any]) -> Any:
            return await refs[0]

    waiter = Waiter.remote()
    ref = waiter.through.remote([signal.wait.remote()])
    assert aktis.wait([ref], timeout=0.02)[0] == []
    signal.send.remote()
    assert aktis.get(ref) == "set"


def test_an_async_method_submits_and_awaits() -> None:
    @aktis.remote
    def square(x: int) -> int:
        return x * x

    @aktis.remote
    class A:
        async def total(self, n: int) -> int:
            return sum(await asyncio.gather(*[square.remote(i) for i in range(n)]))

    actor = A.remote()
    assert aktis.get(actor.total.remote(4)) == 14


def test_error_of_an_async_method() -> None:
    @aktis.remote
    class A:
        async def boom(self) -> None:
            await asyncio.sleep(0)
            raise KeyError("async")

    actor = A.remote()
    with pytest.raises(KeyError):
        aktis.get(actor.boom.remote())


def test_concurrency_groups() -> None:
    @aktis.remote(concurrency_groups={"io": 2, "compute": 1})
    class A:
        def __init__(self) -> None:
            self.event = asyncio.Event()

        @aktis.method(concurrency_group="io")
        async def io(self) -> str:
            self.loop = asyncio.get_running_loop()
            await self.event.wait()
            return "io"

        @aktis.method(concurrency_group="compute")
        async def compute(self) -> str:
            return "compute"

        async def other(self) -> str:
            return "other"

        async def go(self) -> None:
            self.loop.call_soon_threadsafe(self.event.set)  # Ray gives every group an event loop of its own

    actor = A.remote()
    refs = [actor.io.remote() for _ in range(3)]
    assert aktis.get(actor.compute.remote()) == "compute"
    assert aktis.get(actor.other.remote()) == "other"
    assert aktis.wait(refs, timeout=0.02)[0] == []
    aktis.get(actor.go.remote())
    assert aktis.get(refs) == ["io"] * 3


@pytest.mark.not_through_ray_client("it takes no concurrency_group of a call")
def test_the_concurrency_group_of_a_call() -> None:
    @aktis.remote(concurrency_groups={"compute": 1})
    class A:
        async def other(self) -> str:
            return "other"

    actor = A.remote()
    assert aktis.get(actor.other.options(concurrency_group="compute").remote()) == "other"


@pytest.mark.differs("Ray finds out later")
def test_unknown_concurrency_group() -> None:
    with pytest.raises(ValueError, match="concurrency group 'nope'"):

        @aktis.remote(concurrency_groups={"io": 1})
        class A:
            @aktis.method(concurrency_group="nope")
            def m(self) -> None:
                pass


def test_threaded_actor() -> None:
    @aktis.remote(max_concurrency=3)
    class A:
        def __init__(self) -> None:
            self.done: list[int] = []

        def note(self, i: int) -> int:
            self.done.append(i)
            return i

        def seen(self) -> list[int]:
            return sorted(self.done)

    actor = A.remote()
    assert aktis.get([actor.note.remote(i) for i in range(6)]) == list(range(6))
    assert aktis.get(actor.seen.remote()) == list(range(6))


@pytest.mark.only("native", "one thread runs everything inline")
def test_calls_of_threaded_actors_overlap() -> None:
    import threading

    @aktis.remote(max_concurrency=2)
    class A:
        def __init__(self) -> None:
            self.barrier = threading.Barrier(2)

        def meet(self) -> bool:
            self.barrier.wait(10)
            return True

    actor = A.remote()
    assert aktis.get([actor.meet.remote(), actor.meet.remote()]) == [True, True]


def test_a_threaded_actor_calls_itself() -> None:
    @aktis.remote(max_concurrency=2)
    class A:
        def outer(self) -> int:
            return 1 + int(aktis.get(aktis.get_runtime_context().current_actor.inner.remote()))

        def inner(self) -> int:
            return 1

    actor = A.remote()
    assert aktis.get(actor.outer.remote()) == 2


def test_a_plain_actor_submits_to_itself() -> None:
    @aktis.remote
    class A:
        def __init__(self) -> None:
            self.log: list[str] = []

        def first(self) -> Any:
            ref = aktis.get_runtime_context().current_actor.second.remote()
            self.log.append("first")
            return [ref]

        def second(self) -> list[str]:
            self.log.append("second")
            return self.log

    actor = A.remote()
    (ref,) = aktis.get(actor.first.remote())
    assert aktis.get(ref) == ["first", "second"]


def test_out_of_order_execution() -> None:
    signal = Signal.remote()

    @aktis.remote(allow_out_of_order_execution=True)
    class A:
        def echo(self, value: Any) -> Any:
            return value

    actor = A.remote()
    late = actor.echo.remote(signal.wait.remote())
    assert aktis.get(actor.echo.remote("quick")) == "quick"
    aktis.get(signal.send.remote())
    assert aktis.get(late) == "set"


def test_calls_of_a_plain_actor_wait_for_those_before_them() -> None:
    signal = Signal.remote()

    @aktis.remote
    class A:
        def __init__(self) -> None:
            self.seen: list[Any] = []

        def note(self, value: Any) -> list[Any]:
            self.seen.append(value)
            return self.seen

    actor = A.remote()
    late = actor.note.remote(signal.wait.remote())
    quick = actor.note.remote("quick")
    assert aktis.wait([late, quick], timeout=0.02)[0] == []
    aktis.get(signal.send.remote())
    assert aktis.get([late, quick]) == [["set"], ["set", "quick"]]

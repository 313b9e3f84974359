"""What the decorator makes, what handles and contexts are: the classes that programs annotate with and ask for."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import cloudpickle
import pytest

import aktis
from aktis.actor import ActorClass, ActorClassInheritanceException, ActorHandle, ActorMethod
from aktis.remote_function import RemoteFunction
from aktis.runtime_context import RuntimeContext


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    aktis.shutdown()
    aktis.init(mode="inline", num_cpus=2)
    yield
    aktis.shutdown()


@aktis.remote
def add(first: int, second: int = 1) -> int:
    """Adds."""
    return first + second


@aktis.remote
class Counter:
    def __init__(self) -> None:
        self.count = 0

    def add(self, amount: int, twice: bool = False) -> int:
        self.count += amount * (2 if twice else 1)
        return self.count

    def pair(self) -> tuple[int, int]:
        return self.count, -self.count


def test_a_function_becomes_a_remote_function() -> None:
    assert isinstance(add, RemoteFunction)
    assert (add.__name__, add.__doc__, add.__module__) == ("add", "Adds.", __name__)
    assert add.__wrapped__(2) == 3
    with pytest.raises(TypeError, match=r"add\.remote"):
        add(2)
    other = add.options(num_cpus=0, name="sum")
    assert isinstance(other, RemoteFunction) and other is not add
    assert aktis.get([add.remote(1), other.remote(1, second=5)]) == [2, 6]
    assert aktis.get(cloudpickle.loads(cloudpickle.dumps(other)).remote(4)) == 5
    with pytest.raises(TypeError, match="second"):
        add.remote(1, 2, second=3)


def test_a_method_is_called_through_its_handle_and_keeps_the_actor() -> None:
    counter = Counter.remote()
    assert isinstance(Counter, ActorClass) and isinstance(counter, ActorHandle)
    assert isinstance(counter.add, ActorMethod)
    assert "Counter.add" in repr(counter.add)
    with pytest.raises(TypeError, match=r"use \.add\.remote"):
        counter.add(1)
    with pytest.raises(TypeError, match=r"Counter\.add\.remote"):
        counter.add.remote(1, True, 3)
    with pytest.raises(AttributeError, match="subtract"):
        counter.subtract.remote(1)
    assert aktis.get(counter.add.remote(2, twice=True)) == 4
    assert aktis.get(counter.pair.options(num_returns=2).remote()) == [4, -4]
    method = Counter.remote().add  # the handle is gone, the actor is not
    gc.collect()
    assert aktis.get([method.remote(1), method.remote(1)]) == [1, 2]


@pytest.mark.parametrize("base", [Counter, ActorClass])
def test_actor_classes_have_no_subclasses(base: type) -> None:
    with pytest.raises(ActorClassInheritanceException, match="decorate") as caught:
        type("Fast", (base,), {}) if base is ActorClass else exec("class Fast(base): pass", {"base": base})
    assert isinstance(caught.value, TypeError)


def test_the_plain_class_has_subclasses() -> None:
    class Fast(Counter.__aktis_class__):
        def add(self, amount: int) -> int:
            return super().add(10 * amount)

    assert aktis.get(aktis.remote(Fast).remote().add.remote(2)) == 20


def test_the_context_tells_who_runs() -> None:
    @aktis.remote
    def look() -> tuple[bool, str, str | None, str | None]:
        context = aktis.get_runtime_context()
        return isinstance(context, RuntimeContext), context.get_job_id(), context.get_task_id(), context.get_actor_id()

    @aktis.remote
    class Looker:
        def look(self) -> str | None:
            return aktis.get_runtime_context().get_actor_id()

    here = aktis.get_runtime_context()
    assert isinstance(here, RuntimeContext)
    assert (here.get_task_id(), here.get_actor_id()) == (None, None)
    ref = look.remote()
    right, job, task, actor = aktis.get(ref)
    assert (right, job, task, actor) == (True, here.get_job_id(), ref.task_id(), None)
    looker = Looker.remote()
    assert aktis.get(looker.look.remote()) == looker._actor_id.hex()

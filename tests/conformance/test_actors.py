"""Actors: calls, order, names, options."""

from __future__ import annotations

import copy
from typing import Any

import pytest

import aktis

pytestmark = pytest.mark.usefixtures("session")


@aktis.remote
class Counter:
    """Counts."""

    def __init__(self, start: int = 0) -> None:
        self.count = start

    def add(self, amount: int = 1) -> int:
        self.count += amount
        return self.count

    def value(self) -> int:
        return self.count

    def boom(self) -> None:
        raise KeyError("boom")

    @aktis.method(num_returns=2)
    def pair(self) -> Any:
        return self.count, -self.count

    def _private(self) -> str:
        return "private"

    @staticmethod
    def static(x: int) -> int:
        return x

    @classmethod
    def name(cls) -> str:
        return cls.__name__


def test_calls() -> None:
    counter = Counter.remote(5)
    assert aktis.get(counter.add.remote()) == 6
    assert aktis.get(counter.add.remote(amount=4)) == 10


def test_calls_are_in_order() -> None:
    counter = Counter.remote()
    assert aktis.get([counter.add.remote() for _ in range(50)]) == list(range(1, 51))


def test_a_call_with_pending_arguments_holds_up_the_next() -> None:
    @aktis.remote
    class Log:
        def __init__(self) -> None:
            self.seen: list[Any] = []

        def note(self, value: Any) -> list[Any]:
            self.seen.append(value)
            return self.seen

    @aktis.remote
    def slow() -> str:
        import time

        time.sleep(0.05)
        return "slow"

    log = Log.remote()
    log.note.remote(slow.remote())
    assert aktis.get(log.note.remote("quick")) == ["slow", "quick"]


def test_an_error_does_not_end_the_actor() -> None:
    counter = Counter.remote()
    with pytest.raises(KeyError):
        aktis.get(counter.boom.remote())
    assert aktis.get(counter.add.remote()) == 1


def test_kinds_of_methods() -> None:
    counter = Counter.remote(3)
    assert aktis.get(counter.pair.remote()) == [3, -3]
    assert aktis.get(counter._private.remote()) == "private"
    assert aktis.get(counter.static.remote(4)) == 4
    assert aktis.get(counter.name.remote()) == "Counter"


def test_method_options() -> None:
    counter = Counter.remote(3)
    assert aktis.get(counter.pair.options(num_returns=1).remote()) == (3, -3)
    ref = counter.add.options(num_returns=0).remote()
    assert ref is None
    assert aktis.get(counter.value.remote()) == 4


def test_inherited_methods() -> None:
    class Base:
        def base(self) -> str:
            return "base"

    @aktis.remote
    class Derived(Base):
        def both(self) -> str:
            return self.base() + "d"

    actor = Derived.remote()
    assert aktis.get([actor.base.remote(), actor.both.remote()]) == ["base", "based"]


def test_instantiation_is_refused() -> None:
    with pytest.raises(TypeError):
        Counter()


def test_inheritance_is_refused() -> None:
    with pytest.raises(TypeError):

        class Sub(Counter):  # type: ignore[misc,valid-type]
            pass


def test_calling_a_method_directly_is_refused() -> None:
    counter = Counter.remote()
    with pytest.raises(TypeError):
        counter.add()


def test_an_unknown_method() -> None:
    counter = Counter.remote()
    with pytest.raises(AttributeError):
        counter.ad
    assert not hasattr(counter, "__array__")


@pytest.mark.differs("the wording of messages is ours")
def test_an_unknown_method_names_close_matches() -> None:
    with pytest.raises(AttributeError, match=r"Counter.*did you mean add"):
        Counter.remote().ad


@pytest.mark.parametrize(
    "call", [lambda c: c.add.remote(1, 2), lambda c: c.value.remote(1), lambda c: c.add.remote(x=1)]
)
def test_wrong_arguments_raise_at_the_caller(call: Any) -> None:
    counter = Counter.remote()
    with pytest.raises(TypeError):
        call(counter)


def test_wrong_constructor_arguments_raise_at_the_caller() -> None:
    with pytest.raises(TypeError):
        Counter.remote(1, 2)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_restart": 1}, ValueError),
        ({"max_restarts": -2}, ValueError),
        ({"max_task_retries": -2}, ValueError),
        ({"max_concurrency": 0}, ValueError),
        ({"max_concurrency": 1.5}, TypeError),
        ({"name": ""}, ValueError),
        ({"name": 5}, TypeError),
        ({"namespace": ""}, ValueError),
        ({"lifetime": "forever"}, ValueError),
        ({"get_if_exists": True}, ValueError),
        ({"num_returns": 2}, ValueError),
        ({"resources": {"CPU": 1}}, ValueError),
        ({"max_concurrency": 2, "allow_out_of_order_execution": False}, ValueError),
    ],
)
def test_bad_options(session: str, options: dict[str, Any], error: type[Exception]) -> None:
    if session == "ray" and options == {"max_concurrency": 0}:
        pytest.skip("Ray takes 0 for the default")
    with pytest.raises((ValueError, TypeError) if session == "ray" else error):
        Counter.options(**options).remote()


def test_concurrency_groups_are_not_for_options() -> None:
    with pytest.raises(ValueError):
        Counter.options(concurrency_groups={"io": 1}).remote()


def test_handles_are_equal_by_actor() -> None:
    counter = Counter.remote()

    @aktis.remote
    def same(handle: Any) -> Any:
        return handle

    again = aktis.get(same.remote(counter))
    assert again == counter
    assert hash(again) == hash(counter)
    assert counter != Counter.remote()
    assert len({counter, again}) == 1


def test_a_handle_passed_to_a_task() -> None:
    @aktis.remote
    def use(handle: Any) -> int:
        return int(aktis.get(handle.add.remote(10)))

    counter = Counter.remote()
    assert aktis.get(use.remote(counter)) == 10
    assert aktis.get(use.remote(counter)) == 20
    assert aktis.get(counter.value.remote()) == 20


def test_a_handle_inside_an_object() -> None:
    ref = aktis.put({"counter": Counter.remote(7)})
    assert aktis.get(aktis.get(ref)["counter"].value.remote()) == 7


@pytest.mark.differs("Ray pickles handles otherwise")
def test_copy_of_a_handle() -> None:
    counter = Counter.remote()
    assert copy.copy(counter) == counter


@pytest.mark.differs("Ray refuses: the handle is gone before the call")
def test_a_call_through_a_temporary_handle() -> None:
    assert aktis.get(Counter.remote(2).add.remote()) == 3


def test_a_bound_method_can_be_kept() -> None:
    counter = Counter.remote()
    add = counter.add
    assert aktis.get([add.remote(), add.remote()]) == [1, 2]


def test_named_actor() -> None:
    counter = Counter.options(name="named").remote(1)
    assert aktis.get_actor("named") == counter
    assert aktis.get(aktis.get_actor("named").add.remote()) == 2


def test_get_actor_of_nobody() -> None:
    with pytest.raises(ValueError):
        aktis.get_actor("nobody")
    with pytest.raises(ValueError):
        aktis.get_actor("")


def test_a_taken_name() -> None:
    first = Counter.options(name="taken").remote()
    with pytest.raises(aktis.exceptions.ActorAlreadyExistsError):
        Counter.options(name="taken").remote()
    with pytest.raises(ValueError):
        Counter.options(name="taken").remote()
    assert aktis.get(first.value.remote()) == 0


def test_get_if_exists() -> None:
    first = Counter.options(name="once", get_if_exists=True).remote(1)
    second = Counter.options(name="once", get_if_exists=True).remote(2)
    assert first == second
    assert aktis.get(second.value.remote()) == 1


def test_namespaces() -> None:
    other = Counter.options(name="x", namespace="other").remote(5)
    with pytest.raises(ValueError):
        aktis.get_actor("x")
    assert aktis.get_actor("x", namespace="other") == other
    mine = Counter.options(name="x").remote()
    assert aktis.get_actor("x") == mine


def test_list_named_actors() -> None:
    here = Counter.options(name="here").remote()
    there = Counter.options(name="there", namespace="elsewhere").remote()
    aktis.get([here.value.remote(), there.value.remote()])
    listed = aktis.util.list_named_actors()
    assert "here" in listed
    assert "there" not in listed
    everywhere = aktis.util.list_named_actors(all_namespaces=True)
    assert {"name": "there", "namespace": "elsewhere"} in everywhere


def test_actor_creates_actors() -> None:
    @aktis.remote
    class Parent:
        def __init__(self) -> None:
            self.child = Counter.remote(3)

        def ask(self) -> int:
            return int(aktis.get(self.child.add.remote()))

        def get_child(self) -> Any:
            return self.child

    parent = Parent.remote()
    assert aktis.get(parent.ask.remote()) == 4
    child = aktis.get(parent.get_child.remote())
    assert aktis.get(child.value.remote()) == 4


def test_hidden_methods() -> None:
    counter = Counter.remote(3)
    assert aktis.get(counter.__ray_ready__.remote())
    assert aktis.get(counter.__ray_call__.remote(lambda self, more: self.count + more, 4)) == 7


@pytest.mark.differs("names of ours")
def test_hidden_methods_by_our_names() -> None:
    counter = Counter.remote(3)
    assert aktis.get(counter.__aktis_ready__.remote()) is True
    assert aktis.get(counter.__aktis_call__.remote(lambda self: self.count)) == 3


def test_many_actors_fit_on_few_cpus() -> None:
    actors = [Counter.remote(i) for i in range(8)]
    assert aktis.get([actor.value.remote() for actor in actors]) == list(range(8))


def test_failed_argument_of_a_constructor() -> None:
    @aktis.remote(max_retries=0)
    def fail() -> int:
        raise ValueError

    counter = Counter.remote(fail.remote())
    with pytest.raises((ValueError, aktis.exceptions.RayActorError)):
        aktis.get(counter.value.remote())


def test_reference_as_constructor_argument() -> None:
    counter = Counter.remote(aktis.put(9))
    assert aktis.get(counter.value.remote()) == 9


def test_arguments_are_copies() -> None:
    @aktis.remote
    class Keeper:
        def __init__(self, items: list[int]) -> None:
            self.items = items

        def add(self) -> list[int]:
            self.items.append(1)
            return self.items

    items: list[int] = []
    keeper = Keeper.remote(items)
    first = aktis.get(keeper.add.remote())
    second = aktis.get(keeper.add.remote())
    assert (items, first, second) == ([], [1], [1, 1])


def test_retry_exceptions_of_a_method() -> None:
    @aktis.remote(max_task_retries=2)
    class Flaky:
        def __init__(self) -> None:
            self.tries = 0

        @aktis.method(retry_exceptions=[ValueError])
        def work(self) -> int:
            self.tries += 1
            if self.tries < 3:
                raise ValueError
            return self.tries

        def plain(self) -> None:
            self.tries += 1
            raise ValueError

        def count(self) -> int:
            return self.tries

    flaky = Flaky.remote()
    assert aktis.get(flaky.work.remote()) == 3
    with pytest.raises(ValueError):
        aktis.get(flaky.plain.remote())
    assert aktis.get(flaky.count.remote()) == 4


def test_bad_method_decorator() -> None:
    with pytest.raises((ValueError, TypeError, AssertionError)):
        aktis.method(nonsense=1)(lambda self: 1)
    with pytest.raises((ValueError, TypeError, AssertionError)):
        aktis.method(1)


def test_current_actor() -> None:
    @aktis.remote
    class Me:
        def me(self) -> Any:
            return aktis.get_runtime_context().current_actor

        def hello(self) -> str:
            return "hello"

    actor = Me.remote()
    again = aktis.get(actor.me.remote())
    assert again == actor
    assert aktis.get(again.hello.remote()) == "hello"


def test_a_class_with_slots_and_call() -> None:
    @aktis.remote
    class Callable:
        __slots__ = ("x",)

        def __init__(self) -> None:
            self.x = 1

        def __call__(self, y: int) -> int:
            return self.x + y

    actor = Callable.remote()
    assert aktis.get(actor.__call__.remote(2)) == 3


@pytest.mark.differs("Ray's has a docstring of its own")
def test_metadata_of_the_class_is_kept() -> None:
    assert Counter.__doc__ == "Counts."
    assert Counter.__name__ == "Counter"


def test_actor_class_passed_to_a_task() -> None:
    @aktis.remote
    def make(cls: Any) -> int:
        actor = cls.remote(4)
        return int(aktis.get(actor.add.remote()))

    assert aktis.get(make.remote(Counter)) == 5

"""Remote functions: options, arguments, results, retries."""

from __future__ import annotations

from typing import Any

import pytest

import aktis

pytestmark = pytest.mark.usefixtures("session")


@aktis.remote
def add(a: int, b: int = 1) -> int:
    return a + b


@aktis.remote
def identity(value: Any) -> Any:
    return value


def test_call() -> None:
    assert aktis.get(add.remote(1, 2)) == 3
    assert aktis.get(add.remote(1)) == 2
    assert aktis.get(add.remote(b=5, a=1)) == 6


def test_remote_of_a_function() -> None:
    assert aktis.get(aktis.remote(lambda x: x * 2).remote(4)) == 8


def test_decorator_with_options() -> None:
    @aktis.remote(num_cpus=2, max_retries=0)
    def f() -> int:
        return 1

    assert aktis.get(f.remote()) == 1


def test_direct_call_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot be called directly"):
        add(1, 2)


@pytest.mark.parametrize("arguments", [((), {}), ((1, 2, 3), {}), ((1,), {"c": 1}), ((1,), {"a": 1})])
def test_wrong_arguments_raise_at_the_caller(arguments: Any) -> None:
    args, kwargs = arguments
    with pytest.raises(TypeError):
        add.remote(*args, **kwargs)


def test_star_arguments() -> None:
    @aktis.remote
    def f(first: int, *rest: int, key: int = 0, **others: int) -> Any:
        return first, rest, key, others

    assert aktis.get(f.remote(1)) == (1, (), 0, {})
    assert aktis.get(f.remote(1, 2, 3, key=4, other=5)) == (1, (2, 3), 4, {"other": 5})


def test_required_keyword() -> None:
    @aktis.remote
    def f(*, key: int) -> int:
        return key

    assert aktis.get(f.remote(key=1)) == 1
    with pytest.raises(TypeError):
        f.remote()


def test_references_at_the_top_level_are_replaced() -> None:
    assert aktis.get(add.remote(add.remote(1), b=add.remote(2))) == 5


def test_nested_references_stay_references() -> None:
    @aktis.remote
    def f(items: list[Any]) -> Any:
        return isinstance(items[0], aktis.ObjectRef), aktis.get(items[0])

    assert aktis.get(f.remote([aktis.put(7)])) == (True, 7)


def test_arguments_are_copies() -> None:
    @aktis.remote
    def f(items: list[int]) -> list[int]:
        items.append(1)
        return items

    items: list[int] = []
    assert aktis.get(f.remote(items)) == [1]
    assert items == []


def test_arguments_are_taken_at_submit() -> None:
    items = [1]
    ref = identity.remote(items)
    items.append(2)
    assert aktis.get(ref) == [1]


def test_globals_are_taken_at_the_first_call() -> None:
    box = [1]

    @aktis.remote
    def f() -> int:
        return box[0]

    assert aktis.get(f.remote()) == 1
    box[0] = 2
    assert aktis.get(f.remote()) == 1


def test_nested_tasks() -> None:
    @aktis.remote
    def outer(n: int) -> int:
        return sum(aktis.get([add.remote(i) for i in range(n)]))

    assert aktis.get(outer.remote(3)) == 6


def test_recursion_deeper_than_there_are_cpus() -> None:
    @aktis.remote
    def down(n: int) -> int:
        return 0 if n == 0 else 1 + aktis.get(down.remote(n - 1))

    assert aktis.get(down.remote(8)) == 8


def test_returned_reference() -> None:
    @aktis.remote
    def f() -> Any:
        return add.remote(1)

    inner = aktis.get(f.remote())
    assert aktis.get(inner) == 2


@pytest.mark.parametrize("count", [2, 3])
def test_several_results(count: int) -> None:
    @aktis.remote(num_returns=count)
    def f() -> Any:
        return tuple(range(count))

    refs = f.remote()
    assert isinstance(refs, list)
    assert aktis.get(refs) == list(range(count))


def test_no_result() -> None:
    @aktis.remote(num_returns=0)
    def f() -> None:
        return None

    assert f.remote() is None


def test_num_returns_in_options() -> None:
    @aktis.remote
    def f() -> Any:
        return 1, 2

    a, b = f.options(num_returns=2).remote()
    assert aktis.get([a, b]) == [1, 2]
    assert aktis.get(f.remote()) == (1, 2)


@pytest.mark.parametrize("value", [(1,), (1, 2, 3), 5])
def test_wrong_number_of_results_fails_every_reference(value: Any) -> None:
    @aktis.remote(num_returns=2, max_retries=0)
    def f() -> Any:
        return value

    for ref in f.remote():
        with pytest.raises((ValueError, TypeError)):
            aktis.get(ref)


def test_options_do_not_change_the_original() -> None:
    named = add.options(name="other")
    assert named is not add
    assert aktis.get([named.remote(1), add.remote(1)]) == [2, 2]


@pytest.mark.differs("Ray's options() cannot be repeated")
def test_options_add_up() -> None:
    @aktis.remote
    def f() -> Any:
        context = aktis.get_runtime_context()
        return context.get_task_name(), context.get_assigned_resources().get("CPU")

    assert aktis.get(f.options(name="n").options(num_cpus=2).remote()) == ("n", 2)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"num_cpu": 1}, ValueError),
        ({"num_cpus": -1}, ValueError),
        ({"num_gpus": -1}, ValueError),
        ({"memory": -1}, ValueError),
        ({"resources": {"CPU": 1}}, ValueError),
        ({"resources": {"GPU": 1}}, ValueError),
        ({"resources": {"memory": 1}}, ValueError),
        ({"resources": {"widget": -1}}, ValueError),
        ({"resources": [1]}, TypeError),
        ({"num_cpus": "1"}, TypeError),
        ({"max_retries": -2}, ValueError),
        ({"max_retries": 1.5}, TypeError),
        ({"num_returns": -1}, ValueError),
        ({"num_returns": "many"}, ValueError),
        ({"num_returns": "streaming"}, ValueError),
        ({"num_returns": "dynamic"}, ValueError),
        ({"max_calls": -1}, ValueError),
        ({"name": 3}, TypeError),
        ({"scheduling_strategy": "NEAR"}, ValueError),
        ({"max_restarts": 1}, ValueError),
    ],
)
def test_bad_options(session: str, options: dict[str, Any], error: type[Exception]) -> None:
    if session == "ray" and ("resources" in options or "scheduling_strategy" in options):
        pytest.skip("Ray finds some of these out later")
    with pytest.raises((ValueError, TypeError) if session == "ray" else error):
        aktis.remote(**options)(lambda: 1)


def test_max_calls_is_not_for_options() -> None:
    with pytest.raises(ValueError, match="max_calls"):
        add.options(max_calls=1)


@pytest.mark.differs("the wording of messages is ours")
def test_unknown_option_names_the_valid_ones() -> None:
    with pytest.raises(ValueError, match=r"did you mean 'num_cpus'.*max_retries"):
        aktis.remote(num_cpu=1)(lambda: 1)


@pytest.mark.parametrize(
    "use", [lambda: aktis.remote(1), lambda: aktis.remote(add, num_cpus=1), lambda: aktis.remote()]
)
def test_bad_use_of_the_decorator(session: str, use: Any) -> None:
    with pytest.raises((TypeError, AssertionError)):
        use()


def test_a_failed_argument_fails_the_task_without_running_it() -> None:
    @aktis.remote(max_retries=0)
    def fail() -> None:
        raise KeyError("cause")

    @aktis.remote
    def mark(value: Any, box: Any) -> None:
        aktis.get(box.set.remote())

    @aktis.remote
    class Box:
        def __init__(self) -> None:
            self.hit = False

        def set(self) -> None:
            self.hit = True

        def get(self) -> bool:
            return self.hit

    box = Box.remote()
    with pytest.raises(KeyError):
        aktis.get(mark.remote(fail.remote(), box))
    assert aktis.get(box.get.remote()) is False


@aktis.remote
class Counter:
    def __init__(self) -> None:
        self.count = 0

    def add(self) -> int:
        self.count += 1
        return self.count

    def value(self) -> int:
        return self.count


@pytest.mark.parametrize(
    ("retry", "attempts"),
    [(False, 1), (True, 3), ([ValueError], 3), ([KeyError], 1), ([KeyError, LookupError, ValueError], 3)],
)
def test_retry_exceptions(retry: Any, attempts: int) -> None:
    counter = Counter.remote()

    @aktis.remote(max_retries=2, retry_exceptions=retry)
    def f(counter: Any) -> None:
        aktis.get(counter.add.remote())
        raise ValueError("again")

    with pytest.raises(ValueError):
        aktis.get(f.remote(counter))
    assert aktis.get(counter.value.remote()) == attempts


def test_retry_until_it_works() -> None:
    counter = Counter.remote()

    @aktis.remote(max_retries=-1, retry_exceptions=True)
    def f(counter: Any) -> int:
        count = aktis.get(counter.add.remote())
        if count < 5:
            raise ValueError
        return int(count)

    assert aktis.get(f.remote(counter)) == 5


def test_retry_exceptions_must_be_classes() -> None:
    with pytest.raises((TypeError, ValueError)):
        aktis.remote(retry_exceptions=["ValueError"])(lambda: 1)


def test_many_arguments() -> None:
    @aktis.remote
    def total(*values: int) -> int:
        return sum(values)

    assert aktis.get(total.remote(*range(300))) == sum(range(300))


def test_a_chain() -> None:
    ref = add.remote(0)
    for _ in range(100):
        ref = add.remote(ref)
    assert aktis.get(ref) == 101


def test_a_remote_function_as_argument() -> None:
    @aktis.remote
    def call(function: Any, value: int) -> Any:
        return aktis.get(function.remote(value))

    assert aktis.get(call.remote(add, 4)) == 5


@pytest.mark.differs("Ray does not run coroutine functions as tasks")
def test_async_task() -> None:
    @aktis.remote
    async def f(x: int) -> int:
        import asyncio

        await asyncio.sleep(0)
        return x + 1

    assert aktis.get(f.remote(1)) == 2


@pytest.mark.differs("Ray keeps the docstring only")
def test_metadata_of_the_function_is_kept() -> None:
    @aktis.remote
    def documented() -> None:
        """About it."""

    assert documented.__doc__ == "About it."
    assert documented.__name__ == "documented"


@pytest.mark.differs("priorities are ours")
def test_priority_is_an_int() -> None:
    assert aktis.get(add.options(priority=3).remote(1)) == 2
    with pytest.raises(TypeError, match="priority"):
        add.options(priority="high")


def test_unpicklable_argument() -> None:
    import threading

    with pytest.raises(TypeError):
        identity.remote({"lock": threading.Lock()})


def test_unpicklable_result() -> None:
    @aktis.remote(max_retries=0)
    def f() -> Any:
        import threading

        return threading.Lock()

    with pytest.raises((TypeError, aktis.exceptions.RayTaskError)):
        aktis.get(f.remote())


def test_sys_exit_is_a_crash() -> None:
    @aktis.remote(max_retries=0)
    def f() -> None:
        import sys

        sys.exit(3)

    with pytest.raises(aktis.exceptions.WorkerCrashedError):
        aktis.get(f.remote())

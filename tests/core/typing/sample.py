# ruff: noqa: F821, F841
"""What type checkers see. Checked by mypy in test_typing.py; never run.

A comment at the end of a line says what its ``reveal_type`` should be, or which error it should cause.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator

import aktis
from aktis import ObjectRef, typed


@aktis.remote
def add(a: int, b: int = 1) -> int:
    return a + b


@aktis.remote(num_cpus=2)
def greet(name: str, *, loud: bool = False) -> str:
    return name.upper() if loud else name


@aktis.remote
def numbers(n: int) -> Generator[int, None, None]:
    yield from range(n)


@aktis.remote
async def later(x: float) -> float:
    return x


@aktis.remote(num_returns=2)
def pair() -> tuple[int, str]:
    return 1, "a"


def functions() -> None:
    reveal_type(add.remote(1))  # is: ObjectRef[int]
    reveal_type(add.remote(1, b=2))  # is: ObjectRef[int]
    reveal_type(greet.remote("x", loud=True))  # is: ObjectRef[str]
    reveal_type(numbers.remote(3))  # is: ObjectRefGenerator[int]
    reveal_type(next(numbers.remote(3)))  # is: ObjectRef[int]
    reveal_type(later.remote(1.0))  # is: ObjectRef[float]
    reveal_type(pair.remote())  # is: list[ObjectRef[Any]]
    reveal_type(add.options(num_cpus=2).remote(1))  # is: ObjectRef[int]
    reveal_type(add.options(num_returns=2).remote(1))  # is: list[ObjectRef[Any]]
    add.remote("1")  # error: call-overload
    add.remote()  # error: call-overload
    add.remote(1, 2, 3)  # error: call-overload
    greet.remote("x", load=True)  # error: call-overload
    numbers.remote("3")  # error: call-overload


def references() -> None:
    ref = add.remote(1)
    reveal_type(add.remote(ref))  # is: ObjectRef[int]
    reveal_type(add.remote(1, ref))  # is: ObjectRef[int]
    reveal_type(aktis.get(ref))  # is: int
    reveal_type(aktis.get([ref, ref]))  # is: list[int]
    reveal_type(aktis.put("a"))  # is: ObjectRef[str]
    ready, rest = aktis.wait([ref])
    reveal_type(ready)  # is: list[ObjectRef[int]]
    wrong: ObjectRef[str] = ref  # error: assignment


async def awaiting() -> None:
    reveal_type(await add.remote(1))  # is: int
    async for item in numbers.remote(3):
        reveal_type(item)  # is: ObjectRef[int]


class Counter:
    def __init__(self, start: int = 0) -> None:
        self.count = start

    @aktis.method
    def add(self, amount: int) -> int:
        self.count += amount
        return self.count

    @aktis.method(concurrency_group="io")
    def name(self) -> str:
        return "counter"

    @aktis.method
    async def later(self, x: str) -> bytes:
        return x.encode()

    @aktis.method
    def items(self, n: int) -> Generator[int, None, None]:
        yield from range(n)

    @aktis.method
    async def async_items(self, n: int) -> AsyncGenerator[str, None]:
        yield "a"

    def plain(self) -> int:
        return self.count


# mypy ignores what a decorator makes of a class (pyright does not), so for mypy an actor class is made by a call.
CounterActor = aktis.remote(Counter)


def actors() -> None:
    reveal_type(CounterActor)  # is: ActorClass[Counter]
    reveal_type(aktis.remote(num_cpus=1)(Counter))  # is: ActorClass[Counter]
    counter = CounterActor.remote(1)
    reveal_type(counter)  # is: ActorHandle[Counter]
    reveal_type(CounterActor.options(name="x").remote())  # is: ActorHandle[Counter]
    reveal_type(counter.plain.remote())  # is: ObjectRef[Any]
    reveal_type(typed(counter).add.remote(1))  # is: ObjectRef[int]
    reveal_type(typed(counter).name.remote())  # is: ObjectRef[str]
    reveal_type(typed(counter).later.remote("a"))  # is: ObjectRef[bytes]
    reveal_type(typed(counter).items.remote(3))  # is: ObjectRefGenerator[int]
    reveal_type(typed(counter).async_items.remote(3))  # is: ObjectRefGenerator[str]
    typed(counter).add.remote("1")  # error: call-overload
    typed(counter).add.remote()  # error: call-overload
    typed(counter).plain.remote()  # error: attr-defined

"""The functions and the actor that run in workers: a thin shell around :mod:`aktis.data._execution.chain`.

A program (what all tasks of an operator share) is unpacked once per worker: calls carry its key, and itself (or, where it
is big, a reference to it), which they look at only when the key is not known yet.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Union

import cloudpickle

import aktis
from aktis.data._blocks.types import Block, BlockMetadata
from aktis.data._execution import chain
from aktis.data._execution.chain import BlockFailure, Made, Program
from aktis.data._execution.memory import keep_freed_memory
from aktis.data.exceptions import user_function_error

if TYPE_CHECKING:
    from aktis.data._exchanges._base import ExchangePlan, Piece
    from aktis.data.datasource._base import ReadTask

KEPT_PROGRAMS = 16

Rows = Union[tuple[int, int], None]
Shared = tuple[str, Union[bytes, Sequence["aktis.ObjectRef[Any]"]]]
"""A key; and the thing itself, pickled, or one reference to it in a list (so that it is not fetched for every call)."""

_kept: OrderedDict[str, Any] = OrderedDict()


def shared(where: Shared) -> Any:
    """What all tasks of an operator share, unpacked once per process."""
    key, packed = where
    value = _kept.get(key)
    if value is None:
        keep_freed_memory()
        value = _kept[key] = pickle.loads(packed) if isinstance(packed, bytes) else aktis.get(packed[0])
        while len(_kept) > KEPT_PROGRAMS:
            _kept.popitem(last=False)
    return value


def _shown(rows: Sequence[Rows], blocks: Sequence[Block]) -> list[Block]:
    return [b if r is None else b.slice(r[0], r[1] - r[0]) for r, b in zip(rows, blocks)]


def _items(outputs: Iterator[Union[Made, BlockFailure]]) -> Iterator[Any]:
    """Blocks and their metadata by turns. A failure: None, then the failure."""
    for output in outputs:
        if isinstance(output, BlockFailure):
            yield None
            yield BlockFailure(_sendable(output.error), output.task_goes_on)
        else:
            yield output[0]
            yield output[1]


def _sendable(error: BaseException) -> BaseException:
    """The error, or if it (or its cause) cannot be pickled, one that says the same."""
    try:
        pickle.loads(cloudpickle.dumps(error))
    except Exception:
        described = user_function_error(str(error), None)
        described.__dict__.update({key: value for key, value in vars(error).items() if isinstance(value, str)})
        return described
    return error


def run_chain(
    program: Shared, index: int, read: ReadTask | None, metadata: list[BlockMetadata], rows: list[Rows], *blocks: Block
) -> Iterator[Any]:
    yield from _items(chain.run_chain(shared(program), index, read, metadata, _shown(rows, blocks)))


def run_combine(
    program: Shared, plan: Shared, partition: int, layout: Sequence[int], rows: list[Rows], *blocks: Block
) -> Iterator[Any]:
    shown = _shown(rows, blocks)
    del blocks
    yield from _items(chain.run_combine(shared(program), shared(plan), partition, layout, shown))


def run_sample(program: Shared, port: int, index: int, rows: list[Rows], block: Block) -> Iterator[Any]:
    yield chain.run_sample(shared(program), port, index, _shown(rows, [block])[0])


def run_partition(
    program: Shared,
    plan: Shared,
    port: int,
    index: int,
    read: ReadTask | None,
    metadata: list[BlockMetadata],
    rows: list[Rows],
    *blocks: Block,
) -> Iterator[Any]:
    """All pieces, then the list of their metadata."""
    exchange_plan: ExchangePlan = shared(plan)
    made = chain.run_partition(shared(program), exchange_plan, port, index, read, metadata, _shown(rows, blocks))
    described = [meta for _, meta in made]
    made.reverse()
    while made:
        yield made.pop()[0]  # one by one, so that each is given up as soon as it is in the store
    yield described


def run_recipe(program: Shared, index: int, recipe: Sequence[Piece], rows: list[Rows], *blocks: Block) -> Iterator[Any]:
    yield from chain.run_recipe(shared(program), index, recipe, _shown(rows, blocks))


class MapActor:
    """One of a pool. Keeps the instances of callable classes that its chain needs."""

    def __init__(self, program: Program) -> None:
        keep_freed_memory()
        self._program = program

    def ready(self) -> BaseException | None:
        """Build the instances now, so that errors of constructors come up early: they are returned, not raised."""
        try:
            self._program.set_up()
        except Exception as error:
            return _sendable(error)
        return None

    def run(
        self, index: int, read: ReadTask | None, metadata: list[BlockMetadata], rows: list[Rows], *blocks: Block
    ) -> Iterator[Any]:
        yield from _items(chain.run_chain(self._program, index, read, metadata, _shown(rows, blocks)))

"""NumPy's matrix products on one thread.

The networks here are small: a second thread has nothing to gain, and on a machine whose processors are busy the two
wait for each other for fifty times as long as the product takes.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["one_thread"]


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Have NumPy's linear algebra use one thread inside of the block, in this process."""
    libraries = _libraries()
    before = [count() for count, _ in libraries]
    for _, limit in libraries:
        limit(1)
    try:
        yield
    finally:
        for (_, limit), threads in zip(libraries, before, strict=True):
            limit(threads)


@functools.cache
def _libraries() -> list[tuple[Callable[[], int], Callable[[int], Any]]]:
    """How many threads each library uses, and what changes it. Looked up once: NumPy's is loaded by now."""
    from threadpoolctl import ThreadpoolController

    found = ThreadpoolController().select(user_api="blas").lib_controllers
    return [(library.get_num_threads, library.set_num_threads) for library in found]

"""How the processes that transform batches deal with memory that was freed."""

from __future__ import annotations

import functools
import os

KEPT_BYTES = 64 << 20  # at most, of freed memory at the end of the heap
MMAP_BYTES = 32 << 20  # larger pieces go back to the system at once: the most that glibc takes here
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of <malloc.h>
_OF_THE_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES")


@functools.cache
def keep_freed_memory() -> bool:
    """Let glibc keep some of what this process frees: the next batch needs as much again.

    A function of batches makes arrays of megabytes and frees them, again and again. By default glibc gives them back each time,
    and page faults take a quarter of the time of, say, a small neural network. These are the bounds that glibc comes to by
    itself in a process that has once freed a piece of 32 MB.

    Returns:
        Whether that was done: not where the C library is another one, or where the user has set such bounds.
    """
    if any(name in os.environ for name in _OF_THE_USER):
        return False
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, MMAP_BYTES)) and bool(mallopt(_TRIM_THRESHOLD, KEPT_BYTES))

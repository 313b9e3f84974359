"""Threads that do the work of an actor's main thread."""

from __future__ import annotations

from aktis import _session

__all__ = ["act_for_main_thread"]


def act_for_main_thread() -> None:
    """Say that the calling thread works in place of its process's main thread, which waits for it meanwhile.

    A call that waits in ``get`` or ``wait`` lends its CPUs to others, so that what it waits for can run. That is known of the main
    thread only: a thread that a call hands its work to, and waits for, says so by this. It holds until the thread ends.
    """
    engine = _session.current
    if engine is not None:
        engine.act_for_main_thread()

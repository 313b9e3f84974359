"""Callbacks around the tasks of a graph.

Dask's own callbacks (``dask.callbacks.Callback``, ``dask.diagnostics.ProgressBar``) work too, in the driver.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

_HOOKS = ("_presubmit", "_postsubmit", "_pretask", "_posttask", "_postsubmit_all", "_finish")


class AktisDaskCallback:
    """Override any of the hooks, and use the object in a ``with`` block around ``compute()``.

    - ``_aktis_presubmit(task, key, deps)`` in the driver, before a task is submitted. If it returns something else
      than None, that is the task's result, and the task does not run.
    - ``_aktis_postsubmit(task, key, deps, ref)`` in the driver, after it.
    - ``_aktis_pretask(key, values)`` in the worker, before a task runs; what it returns is given to the next one.
    - ``_aktis_posttask(key, result, pre_state)`` in the worker, after it.
    - ``_aktis_postsubmit_all(refs, dsk)`` in the driver, when everything is submitted.
    - ``_aktis_finish(result)`` in the driver, at the end.

    Hooks that are called ``_ray_...`` work as well.
    """

    active: ClassVar[set[AktisDaskCallback]] = set()

    def __init__(self, **hooks: Any) -> None:
        for name, hook in hooks.items():
            bare = name.removeprefix("aktis").removeprefix("ray")
            if bare not in _HOOKS:
                known = ", ".join(f"aktis{known}" for known in _HOOKS)
                raise TypeError(f"unknown hook {name!r}; the hooks are {known}")
            setattr(self, f"_aktis{bare}", hook)

    def __enter__(self) -> AktisDaskCallback:
        self.register()
        return self

    def __exit__(self, *_: object) -> None:
        self.unregister()

    def register(self) -> None:
        """Switch it on for every graph that starts from now on."""
        AktisDaskCallback.active.add(self)

    def unregister(self) -> None:
        """Switch it off."""
        AktisDaskCallback.active.discard(self)


class ProgressBarCallback(AktisDaskCallback):
    """Shows how many tasks of the graph are done, while it is computed."""

    def _aktis_postsubmit_all(self, refs: list[Any], dsk: Any) -> None:
        from aktis.util.helpers import as_completed
        from aktis.util.tqdm import tqdm

        bar: tqdm[Any] = tqdm(total=len(refs), desc="dask")
        with bar:
            for _ in as_completed(refs, yield_obj_refs=True):
                bar.update(1)


class Hooks:
    """The hooks of all callbacks that are switched on, by their bare names ("presubmit", ...)."""

    def __init__(self, callbacks: list[AktisDaskCallback]) -> None:
        self._found = {
            bare: [hook for callback in callbacks if (hook := _hook(callback, bare)) is not None] for bare in _HOOKS
        }

    def __getitem__(self, bare: str) -> list[Any]:
        return self._found[f"_{bare}"]


def _hook(callback: AktisDaskCallback, bare: str) -> Any:
    return getattr(callback, f"_aktis{bare}", None) or getattr(callback, f"_ray{bare}", None)


@contextlib.contextmanager
def local_hooks(given: Any = None) -> Iterator[Hooks]:
    """The hooks for one graph. Graphs that its own tasks compute in this process do not see them."""
    if given is not None:
        yield Hooks(list(given) if isinstance(given, (list, tuple, set)) else [given])
        return
    active, AktisDaskCallback.active = AktisDaskCallback.active, set()
    try:
        yield Hooks(sorted(active, key=id))
    finally:
        AktisDaskCallback.active = active

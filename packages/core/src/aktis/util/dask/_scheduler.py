"""A Dask scheduler: every node of the graph becomes a task, and the edges become its arguments.

The whole graph is submitted at once, in Dask's order, so there is no scheduling loop in the driver: a task starts
when its arguments are ready, and the driver only waits for what it asked for. Intermediate results are freed as soon
as nothing that is left needs them, because the driver drops its references when everything is submitted.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

import dask
from dask._task_spec import Alias, DataNode, GraphNode, convert_legacy_graph
from dask.callbacks import local_callbacks, unpack_callbacks
from dask.core import flatten
from dask.order import order
from dask.utils import ensure_dict

import aktis
from aktis.object_ref import ObjectRef
from aktis.util.dask._callbacks import Hooks, local_hooks
from aktis.util.dask._references import find_refs, replace_refs

Key = Hashable
_SMALL = (int, float, complex, bool, str, bytes, type(None))


def aktis_dask_get(dsk: Any, keys: Any, **kwargs: Any) -> Any:
    """Compute ``keys`` of the graph ``dsk`` on Aktis: give it to Dask as ``scheduler=``.

    Keywords: ``aktis_persist=True`` returns references instead of values; ``aktis_remote_args={"num_cpus": 2}`` are
    options for every task; ``aktis_callbacks`` are :class:`AktisDaskCallback` objects for this graph alone.
    (With ``ray_`` for ``aktis_`` they work as well.) ``dask.annotate(aktis_remote_args={...})`` gives options to
    some tasks.
    """
    persist = bool(_option(kwargs, "persist", False))
    remote_args = dict(_option(kwargs, "remote_args", None) or {})
    annotations = _annotated_args(dsk)
    graph = _plain(dsk)
    wanted = set(flatten([keys]))
    with local_hooks(_option(kwargs, "callbacks", None)) as hooks, local_callbacks(kwargs.get("callbacks")) as plain:
        run = _Run(convert_legacy_graph(graph), wanted, hooks, remote_args, annotations)
        if plain:
            outcome = _with_dask_callbacks(run, graph, keys, plain, persist)
        else:
            run.submit_all()
            outcome = run.collect(keys, persist)
        for finish in hooks["finish"]:
            finish(outcome)
    return outcome


def aktis_dask_get_sync(dsk: Any, keys: Any, **kwargs: Any) -> Any:
    """Compute in this process, one task after the other, to look for mistakes: nothing is submitted.

    References in the graph, of persisted collections, are replaced by their values.
    """
    from dask.local import get_sync

    graph = _needed(convert_legacy_graph(_plain(dsk)), set(flatten([keys])))
    refs = {ref.hex(): ref for node in graph.values() for ref in find_refs(node)}
    values = dict(zip(refs, aktis.get(list(refs.values())))) if refs else {}
    return get_sync({key: replace_refs(node, values) for key, node in graph.items()} if refs else graph, keys)


def _plain(dsk: Any) -> dict[Key, Any]:
    return dict(ensure_dict(dsk.__dask_graph__() if hasattr(dsk, "__dask_graph__") else dsk))


def _option(kwargs: dict[str, Any], name: str, default: Any) -> Any:
    return kwargs.get(f"aktis_{name}", kwargs.get(f"ray_{name}", default))


class _Run:
    """One graph on its way through."""

    def __init__(
        self,
        graph: dict[Key, GraphNode],
        wanted: set[Key],
        hooks: Hooks,
        remote_args: dict[str, Any],
        annotations: dict[Key, dict[str, Any]],
    ) -> None:
        self.graph = _needed(graph, wanted)
        self.wanted = wanted
        self.results: dict[Key, Any] = {}  # references; or values, of literals in the graph
        self.submitted: list[Key] = []
        self._hooks = hooks
        self._remote_args = remote_args
        self._annotations = annotations
        self._pre, self._post = hooks["pretask"], hooks["posttask"]

    def submit_all(self) -> None:
        """Submit every task, dependencies first."""
        for key in in_order(self.graph):
            self._place(key, self.graph[key])
        refs = [self.results[key] for key in self.submitted]
        for hook in self._hooks["postsubmit_all"]:
            hook(refs, self.graph)
        # What nobody asked for is freed when the tasks that take it have run.
        self.results = {key: self.results[key] for key in self.wanted}

    def collect(self, keys: Any, persist: bool) -> Any:
        """The answer in the shape of ``keys``: nested lists give nested tuples, as from Dask's own schedulers."""
        if persist:
            return _nested(keys, lambda key: _as_ref(self.results[key]))
        order_of_refs = [key for key in self.wanted if isinstance(self.results[key], ObjectRef)]
        values = dict(zip(order_of_refs, aktis.get([self.results[key] for key in order_of_refs])))
        return _nested(keys, lambda key: values[key] if key in values else self.results[key])

    def _place(self, key: Key, node: GraphNode) -> None:
        if isinstance(node, Alias):
            self.results[key] = self.results[node.target]
        elif isinstance(node, DataNode):
            value = node.value
            # A persisted collection has references in its graph. Large values travel once, whoever takes them.
            self.results[key] = value if isinstance(value, (ObjectRef, *_SMALL)) else aktis.put(value)
        else:
            self._submit(key, node)

    def _submit(self, key: Key, node: GraphNode) -> None:
        names = list(node.dependencies)
        values = [self.results[name] for name in names]
        for hook in self._hooks["presubmit"]:
            replacement = hook(node, key, values)
            if replacement is not None:
                self.results[key] = aktis.put(replacement)
                return
        options = {**self._remote_args, **self._annotations.get(key, {})}
        task = _task().options(name=f"dask:{_label(key)}", **options)
        # Dask's optimizations move the references of a persisted collection into the tasks that use them.
        inner = find_refs(node)
        ref = task.remote(node, names, [one.hex() for one in inner], self._pre, self._post, *values, *inner)
        self.results[key] = ref
        self.submitted.append(key)
        for hook in self._hooks["postsubmit"]:
            hook(node, key, values, ref)


def _run_node(
    node: GraphNode, names: list[Key], inner: list[str], pre: list[Any], post: list[Any], *arguments: Any
) -> Any:
    """Body of the tasks. ``arguments`` are the values of ``names``, then of the references inside of the node."""
    values = arguments[: len(names)]
    if inner:
        node = replace_refs(node, dict(zip(inner, arguments[len(names) :])))
    states = [hook(node.key, values) for hook in pre]
    # A task may itself compute a collection: right here, whatever the driver's configuration says.
    with dask.config.set(scheduler="sync"):
        result = node(dict(zip(names, values)))
    for index, hook in enumerate(post):
        hook(node.key, result, states[index] if index < len(states) else None)
    return result


@functools.cache
def _task() -> Any:
    return aktis.remote(_run_node)


def in_order(graph: dict[Key, GraphNode]) -> list[Key]:
    """The keys, dependencies first; among those that could be next, the one Dask likes best."""
    rank = order(graph)
    return sorted(graph, key=rank.__getitem__)


def _needed(graph: dict[Key, GraphNode], wanted: set[Key]) -> dict[Key, GraphNode]:
    """The part of the graph that ``wanted`` depends on."""
    found: dict[Key, GraphNode] = {}
    stack = list(wanted)
    while stack:
        key = stack.pop()
        if key in found:
            continue
        try:
            node = found[key] = graph[key]
        except KeyError:
            raise KeyError(f"the graph has no key {key!r}") from None
        stack.extend(node.dependencies)
    return found


def _with_dask_callbacks(run: _Run, graph: Any, keys: Any, callbacks: Iterable[Any], persist: bool) -> Any:
    """Call Dask's own callbacks in the driver, in the order in which tasks finish."""
    starts, start_states, pretasks, posttasks, finishes = unpack_callbacks(callbacks)
    state = _state(run)
    for start in starts:
        start(graph)
    for start_state in start_states:
        start_state(graph, state)
    failed = True
    try:
        refs_by_key: dict[Key, Any] = {}
        run._hooks["postsubmit"].append(lambda node, key, deps, ref: refs_by_key.__setitem__(key, ref))
        run.submit_all()
        keys_by_ref = {ref: key for key, ref in refs_by_key.items()}
        refs_by_key.clear()
        for key in keys_by_ref.values():
            state["ready"].discard(key)
            state["running"].add(key)
            for pretask in pretasks:
                pretask(key, graph, state)
        rest = list(keys_by_ref)
        while rest:
            ready, rest = aktis.wait(rest, num_returns=1)
            for ref in ready:
                key = keys_by_ref.pop(ref)
                # Callbacks that measure results need them here; the others are not made to wait for the copy.
                result = aktis.get(ref) if posttasks else None
                state["running"].discard(key)
                state["finished"].add(key)
                for posttask in posttasks:
                    posttask(key, result, graph, state, "aktis")
        outcome = run.collect(keys, persist)
        failed = False
        return outcome
    finally:
        for finish in finishes:
            finish(graph, state, failed)


def _state(run: _Run) -> dict[str, Any]:
    """As much of the state of Dask's local scheduler as callbacks (the progress bar, the profilers) look at."""
    dependencies = {key: set(node.dependencies) for key, node in run.graph.items()}
    dependents: dict[Key, set[Key]] = {key: set() for key in run.graph}
    for key, needs in dependencies.items():
        for need in needs:
            dependents[need].add(key)
    tasks = [key for key, node in run.graph.items() if not isinstance(node, (Alias, DataNode))]
    return {
        "dependencies": dependencies,
        "dependents": dependents,
        "waiting": {},
        "waiting_data": {},
        "cache": {},
        "ready": set(tasks),
        "running": set(),
        "finished": set(),
        "released": set(),
    }


def _annotated_args(dsk: Any) -> dict[Key, dict[str, Any]]:
    """Options from ``dask.annotate(aktis_remote_args=...)``, by key."""
    if hasattr(dsk, "__dask_annotations__"):
        notes = dsk.__dask_annotations__()
        by_key = notes.get("aktis_remote_args") or notes.get("ray_remote_args") or {}
        return {key: dict(options) for key, options in by_key.items()}
    layers = getattr(dsk, "layers", None)
    found: dict[Key, dict[str, Any]] = {}
    for layer in layers.values() if isinstance(layers, Mapping) else ():
        of_layer = getattr(layer, "annotations", None) or {}
        options = of_layer.get("aktis_remote_args", of_layer.get("ray_remote_args"))
        if options:
            found.update((key, dict(options)) for key in layer)
    return found


def _as_ref(value: Any) -> ObjectRef[Any]:
    return value if isinstance(value, ObjectRef) else aktis.put(value)


def _nested(keys: Any, value_of: Callable[[Key], Any]) -> Any:
    if isinstance(keys, list):
        return tuple(_nested(key, value_of) for key in keys)
    return value_of(keys)


def _label(key: Key) -> str:
    """A short name for people: the first part of the key, without its hash."""
    name = str(key[0] if isinstance(key, tuple) and key else key)
    head, _, tail = name.rpartition("-")
    return head if head and len(tail) >= 16 else name

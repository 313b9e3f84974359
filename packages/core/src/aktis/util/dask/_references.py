"""References inside of the nodes of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dask._task_spec import DataNode, Task
from dask.base import normalize_token

from aktis.object_ref import ObjectRef


def _token(ref: ObjectRef[Any]) -> tuple[str, str]:
    """Dask names things by what they are made of; a reference stands for itself."""
    return "aktis.ObjectRef", ref.hex()


normalize_token.register(ObjectRef, _token)


def find_refs(obj: Any) -> list[ObjectRef[Any]]:
    """The references in a node, each once."""
    found: dict[ObjectRef[Any], None] = {}
    stack = [obj]
    while stack:
        one = stack.pop()
        if isinstance(one, ObjectRef):
            found[one] = None
        elif isinstance(one, DataNode):
            stack.append(one.value)
        elif isinstance(one, Task):
            stack.extend(one.args)
            stack.extend(one.kwargs.values())
        elif type(one) in (list, tuple, set, frozenset):
            stack.extend(one)
        elif type(one) is dict:
            stack.extend(one.values())
    return list(found)


def replace_refs(obj: Any, values: Mapping[str, Any]) -> Any:
    """The node with values (by the references' hexadecimal ids) in the place of references."""
    if isinstance(obj, ObjectRef):
        return values[obj.hex()]
    if isinstance(obj, DataNode):
        return DataNode(obj.key, replace_refs(obj.value, values))
    if isinstance(obj, Task):
        task = _copied(obj)
        task.args = tuple(replace_refs(one, values) for one in obj.args)
        task.kwargs = {name: replace_refs(one, values) for name, one in obj.kwargs.items()}
        return task
    if type(obj) in (list, tuple, set, frozenset):
        return type(obj)(replace_refs(one, values) for one in obj)
    if type(obj) is dict:
        return {key: replace_refs(one, values) for key, one in obj.items()}
    return obj


def _copied(task: Task) -> Task:
    """The same task as another object. (``Task.copy`` calls the constructor, which those of lists and dicts do not allow.)"""
    copied: Task = object.__new__(type(task))
    for cls in type(task).__mro__:
        for name in getattr(cls, "__slots__", ()):
            if name != "__weakref__" and hasattr(task, name):
                setattr(copied, name, getattr(task, name))
    return copied

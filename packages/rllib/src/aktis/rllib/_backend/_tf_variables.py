"""The variables of models in TensorFlow, by names that do not depend on how many models there are in the process.

Names of our own layers are the path of attributes (``hidden.0.weight``), as they are in PyTorch; variables of a
Keras layer or model are ``<attribute>.<index>.<name>``, because the names that Keras gives to layers count up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tensorflow as tf


class Part:
    """Marks what has variables, and attributes that have some: layers and models of ours."""


def named_variables(obj: Any) -> dict[str, Any]:
    """Every tf.Variable in a model, layer, list or dict, once, by name and in a fixed order."""
    found: dict[str, Any] = {}
    seen: set[int] = set()
    for name, variable in _walk(obj, "", seen):
        found[name or "variable"] = variable
    return found


def trainable(variables: dict[str, Any]) -> dict[str, Any]:
    """Those that are trained."""
    return {name: variable for name, variable in variables.items() if variable.trainable}


def _walk(obj: Any, prefix: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    if isinstance(obj, tf.Variable):
        if id(obj) not in seen:
            seen.add(id(obj))
            yield prefix, obj
        return
    if isinstance(obj, list | tuple):
        children = [(str(index), child) for index, child in enumerate(obj)]
    elif isinstance(obj, dict):
        children = [(str(key), child) for key, child in obj.items()]
    elif _is_keras(obj):
        children = [(f"{index}.{weight.name}", _value(weight)) for index, weight in enumerate(obj.weights)]
    elif isinstance(obj, Part | tf.Module):
        if id(obj) in seen:
            return
        seen.add(id(obj))
        children = [(name, child) for name, child in vars(obj).items() if _may_have_variables(child)]
    else:
        return
    for name, child in children:
        yield from _walk(child, f"{prefix}.{name}" if prefix else name, seen)


def _is_keras(obj: Any) -> bool:
    return hasattr(obj, "weights") and hasattr(obj, "trainable_weights") and isinstance(obj.weights, list)


def _value(weight: Any) -> Any:
    """The tf.Variable of a variable of Keras 3."""
    return weight if isinstance(weight, tf.Variable) else weight.value


def _may_have_variables(child: Any) -> bool:
    return isinstance(child, tf.Variable | list | tuple | dict | Part | tf.Module) or (
        not isinstance(child, type) and _is_keras(child)
    )

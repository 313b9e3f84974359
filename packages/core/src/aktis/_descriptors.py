"""What handles of actors must know of methods, as plain data that unpickles anywhere."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from aktis._engine import MethodDescriptor


def describe(methods: Mapping[str, MethodDescriptor]) -> tuple[Any, ...]:
    """Methods as plain data: signatures without annotations and default values, which may not unpickle elsewhere."""
    rows = []
    for method in methods.values():
        parameters = None
        if method.signature is not None:
            parameters = tuple(
                (p.name, int(p.kind), p.default is not inspect.Parameter.empty)
                for p in method.signature.parameters.values()
            )
        rows.append((method.name, method.is_generator, method.is_coroutine, parameters, method.defaults))
    return tuple(rows)


def restore_methods(rows: tuple[Any, ...]) -> dict[str, MethodDescriptor]:
    methods = {}
    for name, is_generator, is_coroutine, parameters, defaults in rows:
        signature = None
        if parameters is not None:
            signature = inspect.Signature(
                [
                    inspect.Parameter(
                        parameter, inspect._ParameterKind(kind), default=... if has_default else inspect.Parameter.empty
                    )
                    for parameter, kind, has_default in parameters
                ],
                __validate_parameters__=False,
            )
        methods[name] = MethodDescriptor(name, is_generator, is_coroutine, signature, defaults)
    return methods

"""From an import path to the application: ``module:name`` or ``module.name``, and builders called with ``args``."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from types import ModuleType, TracebackType
from typing import Any


class ImportPathError(Exception):
    """An import path that leads nowhere, or to something that is no application. The fault is not in the user's code."""


def import_target(path: str) -> Any:
    """What ``path`` names. Exceptions of the module's own code come out as they are."""
    module_name, name = split_path(path)
    module = _import_module(module_name, path)
    found: Any = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise ImportPathError(
                f"module {module_name!r} ({getattr(module, '__file__', None) or 'a package'}) has no {name!r}"
                + _nearest(name, found)
            ) from None
    return found


def split_path(path: str) -> tuple[str, str]:
    """Module and name in it."""
    module_name, _, name = path.partition(":") if ":" in path else path.rpartition(".")
    if not module_name or not name:
        raise ImportPathError(f"{path!r} is no import path: it looks like 'module:name'")
    return module_name, name


def _import_module(name: str, path: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise  # a module that the user's code imports
        places = ", ".join(dict.fromkeys(entry or "." for entry in sys.path[:4]))
        raise ImportPathError(
            f"{path!r}: there is no module {error.name!r}; looked in {places}, ... Name the directory of the code with "
            "--app-dir or --working-dir, or in a config file with runtime_env: working_dir"
        ) from None


def _nearest(name: str, where: Any) -> str:
    import difflib

    near = difflib.get_close_matches(
        name.rpartition(".")[2], [each for each in dir(where) if not each.startswith("_")], 1
    )
    return f"; did you mean {near[0]!r}?" if near else ""


def make_application(target: Any, path: str, args: dict[str, Any]) -> Any:
    """The application that ``target`` is, or that it builds from ``args``."""
    if _is_application(target):
        if args:
            raise ImportPathError(
                f"{path!r} is an application already, so it takes no arguments, and there are {', '.join(sorted(args))}: "
                "name a function that returns the application"
            )
        return target
    if hasattr(target, "bind") and hasattr(target, "func_or_class"):
        raise ImportPathError(
            f"{path!r} is a deployment that is not bound: write `app = {target.name}.bind(...)`, and name `app`"
        )
    if inspect.isclass(target) or not callable(target):
        raise ImportPathError(
            f"{path!r} must be an application (what .bind() gives) or a function that builds one, and it is {target!r}"
        )
    built = call_builder(target, path, args)
    if not _is_application(built):
        raise ImportPathError(f"{path!r} must return an application (what .bind() gives), and it returned {built!r}")
    return built


def _is_application(value: Any) -> bool:
    from aktis.dag import DAGNode
    from aktis.serve._graph.nodes import Application

    return isinstance(value, (Application, DAGNode))


def call_builder(builder: Callable[..., Any], path: str, args: dict[str, Any]) -> Any:
    """``builder(args)``; where its parameter is annotated with a model of pydantic, ``args`` become one."""
    parameters = list(inspect.signature(builder).parameters.values())
    needed = [
        each
        for each in parameters
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    if not parameters and not args:
        return builder()
    if len(needed) > 1 or not parameters:
        raise ImportPathError(
            f"{path!r} builds an application, so it takes one argument (a dict, or a model of pydantic), not {len(needed)}"
        )
    model = parameters[0].annotation
    if isinstance(model, str):
        import typing

        model = typing.get_type_hints(builder).get(parameters[0].name)
    if inspect.isclass(model) and hasattr(model, "model_validate"):
        import pydantic

        try:
            return builder(model.model_validate(args))
        except pydantic.ValidationError as error:
            if error.title != model.__name__:
                raise
            raise ImportPathError(f"the arguments of {path!r} do not fit {model.__name__}: {error}") from None
    return builder(args)


def user_traceback(error: BaseException) -> str:
    """The traceback from where the user's code begins: without the frames that imported it, or called it."""
    trace: TracebackType | None = error.__traceback__
    begin = trace
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__", "")) in _CALLERS and trace.tb_next is not None:
            begin = trace.tb_next
        trace = trace.tb_next
    while begin is not None and begin.tb_next is not None and "importlib" in begin.tb_frame.f_code.co_filename:
        begin = begin.tb_next
    return "".join(traceback.format_exception(type(error), error, begin)).rstrip()


_CALLERS = frozenset({"aktis.serve._building", "aktis.serve._importing", "aktis.serve.cli._build"})

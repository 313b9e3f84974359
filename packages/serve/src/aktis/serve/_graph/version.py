"""The version of code and arguments: equal when they are, in whichever process they are looked at.

Pickles will not do: those of classes have random names in them, those of sets any order.
"""

from __future__ import annotations

import builtins
import dis
import functools
import hashlib
import inspect
import pickle
import re
import sys
import threading
import types
import uuid
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import aktis
from aktis.dag import DAGNode
from aktis.serve._graph.asgi_app import is_app, parts_of_app
from aktis.serve._graph.nodes import DeploymentNode

# Parts of a class that say nothing about what it does.
_SKIPPED = {
    "__dict__",
    "__weakref__",
    "__doc__",
    "__module__",
    "__firstlineno__",
    "__static_attributes__",
    "__abstractmethods__",
    "__signature__",
    "_abc_impl",
}
_PYDANTIC = "__pydantic_"  # what pydantic makes of a class; its fields say it, too
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
# Of what is the same wherever it is made: only their type counts.
_BLANK = (type(threading.Lock()), type(threading.RLock()), weakref.ref, weakref.WeakKeyDictionary, weakref.WeakSet)


class _Digest:
    """Walks values, and digests what it meets. Objects met again are named by their number."""

    def __init__(self, root_module: str | None, name_of: Callable[[Any], str]) -> None:
        self._hash = hashlib.sha256()
        self._root_module = root_module
        self._name_of = name_of
        self._seen: dict[int, int] = {}
        self._alive: list[Any] = []  # so that no id is used twice

    def text(self, *parts: object) -> None:
        for part in parts:
            data = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
            self._hash.update(b"%d:" % len(data))
            self._hash.update(data)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()[:16]

    def add(self, value: Any) -> None:
        """Digest any value."""
        if value is None or (
            isinstance(value, (bool, int, float, complex, str, bytes)) and type(value).__module__ == "builtins"
        ):
            self.text(type(value).__name__, value if isinstance(value, bytes) else repr(value))
            return
        if id(value) in self._seen:
            self.text("again", self._seen[id(value)])
            return
        self._seen[id(value)] = len(self._seen)
        self._alive.append(value)
        if not self._add_container(value) and not self._add_code(value):
            self._add_object(value)

    def _add_container(self, value: Any) -> bool:
        kind = type(value)
        if kind in (list, tuple):
            self.text(kind.__name__, len(value))
            for item in value:
                self.add(item)
        elif kind is dict:
            self.text("dict", len(value))
            for key, item in value.items():
                self.add(key)
                self.add(item)
        elif kind in (set, frozenset):
            self.text(kind.__name__, *sorted(digest(item, self._root_module, self._name_of) for item in value))
        else:
            return False
        return True

    def _add_code(self, value: Any) -> bool:
        if isinstance(value, types.FunctionType):
            self._add_function(value)
        elif isinstance(value, type):
            self._add_class(value)
        elif isinstance(value, (types.MethodType,)):
            self.text("method")
            self.add(value.__func__)
            self.add(value.__self__)
        elif isinstance(value, (types.BuiltinFunctionType, types.ModuleType)):
            self.text("named", getattr(value, "__module__", ""), value.__name__)
        elif isinstance(value, types.CodeType):
            self._add_bytecode(value)
        elif isinstance(value, (staticmethod, classmethod)):
            self.text(type(value).__name__)
            self.add(value.__func__)
        elif isinstance(value, property):
            self.text("property")
            self.add([value.fget, value.fset, value.fdel])
        else:
            return False
        return True

    def _is_ours(self, value: Any) -> bool:
        """Whether the code of this function or class is to be looked into, or its name is enough."""
        module = getattr(value, "__module__", None)
        return (
            module in ("__main__", self._root_module) or module not in sys.modules or "<locals>" in value.__qualname__
        )

    def _add_function(self, function: types.FunctionType) -> None:
        self.text("function", function.__qualname__)
        if not self._is_ours(function):
            self.text(function.__module__)
            return
        self._add_bytecode(function.__code__)
        self.add([function.__defaults__, function.__kwdefaults__])
        for cell in function.__closure__ or ():
            try:
                self.add(cell.cell_contents)
            except ValueError:  # empty
                self.text("empty")
        for name in sorted(_global_names(function.__code__)):
            if name in function.__globals__:
                self.text("global", name)
                self.add(function.__globals__[name])
            elif not hasattr(builtins, name):
                self.text("missing", name)

    def _add_bytecode(self, code: types.CodeType) -> None:
        self.text("code", code.co_code, code.co_names, code.co_varnames, code.co_argcount, code.co_kwonlyargcount)
        for constant in code.co_consts:
            self.add(constant)

    def _add_class(self, cls: type) -> None:
        self.text("class", cls.__qualname__)
        if not self._is_ours(cls):
            self.text(cls.__module__)
            return
        self.add([base for base in cls.__bases__ if base is not object])
        for name, value in sorted(vars(cls).items()):
            if name == "__pydantic_fields__":
                self.text(name, _ADDRESS.sub("", repr(value)))
            elif name in _SKIPPED or name.startswith(_PYDANTIC):
                continue
            elif not isinstance(value, (types.GetSetDescriptorType, types.MemberDescriptorType)):
                self.text(name)
                self.add(value)

    def _add_object(self, value: Any) -> None:
        kind = type(value)
        named = self._name_of(value)
        if named:
            self.text("named", named)
            if isinstance(value, DeploymentNode) and value._is_call:  # the name is that of the function alone
                self.add([value.get_args(), value.get_kwargs()])
        elif isinstance(value, aktis.ObjectRef):
            self.text("reference")
            self.add(aktis.get(value))
        elif isinstance(value, DAGNode):
            self.text("node", kind.__name__)
            self.add(dict(vars(value)))
        elif isinstance(value, _BLANK):
            self.text("blank", kind.__name__)
        elif isinstance(value, functools.partial):
            self.text("partial")
            self.add([value.func, value.args, value.keywords])
        elif is_app(value):
            self.text("app", kind.__qualname__)
            self.add(parts_of_app(value))
        elif isinstance(getattr(value, "__wrapped__", None), types.FunctionType):  # such as of functools.lru_cache
            self.text("wrapped", kind.__qualname__)
            self.add(value.__wrapped__)
        else:
            self._add_state(value)

    def _add_state(self, value: Any) -> None:
        kind = type(value)
        self.text("object", kind.__module__, kind.__qualname__)
        if self._is_ours(kind):
            self.add(kind)
        mine = [vars(each) for each in kind.__mro__[:-1]]
        if not any("__reduce__" in each or "__reduce_ex__" in each for each in mine):
            if any("__getstate__" in each for each in mine):
                self.add(value.__getstate__())
                return
            if isinstance(getattr(value, "__dict__", None), Mapping):
                self.add(dict(vars(value)))
                return
        try:
            data = pickle.dumps(value, protocol=4)
        except Exception:  # nothing is known about it: never equal
            data = uuid.uuid4().bytes
        self.text(data)


def _global_names(code: types.CodeType) -> set[str]:
    names = {
        str(instruction.argval)
        for instruction in dis.get_instructions(code)
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _global_names(constant)
    return names


def digest(value: Any, root_module: str | None = None, name_of: Callable[[Any], str] = lambda value: "") -> str:
    """16 characters that are equal for equal values.

    Args:
        value: code (looked into), containers, objects.
        root_module: the module whose functions and classes are looked into (beside those that cannot be imported).
        name_of: of what has a name that says enough; "" for the others.
    """
    made = _Digest(root_module, name_of)
    made.add(value)
    return made.hexdigest()


def version_of(code: Any, args: Any, name_of: Callable[[Any], str], *rest: Any) -> str:
    """The version of a deployment: of its code, the code of its module that it uses, its arguments, and ``rest``."""
    return digest([code, args, *rest], getattr(inspect.unwrap(code), "__module__", None), name_of)

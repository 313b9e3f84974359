"""Whether code uses handles as in Ray 2.3, where ``await handle.remote()`` gives a reference, to be awaited again.

It does when it awaits (or gives to ``get`` or ``wait``) what an await of ``.remote()`` gave, or annotates a parameter as one
of Ray's older handles. Looked for in the source: names that hold such a value are followed through assignments, lists and loops.
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
import types
from typing import Any

from aktis.serve import _settings

_HANDLES = ("RayServeHandle", "RayServeDeploymentHandle", "RayServeDAGHandle")
_TAKERS = {"get", "wait", "gather", "as_completed", "wait_for", "ensure_future", "shield"}


def uses_legacy_handles(code: Any) -> bool:
    """Whether the class or function is written for handles of Ray 2.3. The environment decides where it says 0 or 1."""
    said = _settings.LEGACY_HANDLES.read()
    if said:
        return said not in ("0", "false", "False")
    classes = (
        [each for each in inspect.getmro(code) if each.__module__ != "builtins"] if inspect.isclass(code) else [code]
    )
    return any(_looks_legacy(each) for each in classes)


@functools.lru_cache(maxsize=256)
def _looks_legacy(code: Any) -> bool:
    # Function by function: they know their lines, also where a class has no file (notebooks), or two have one name.
    functions = vars(code).values() if inspect.isclass(code) else [code]
    return any(_function_looks_legacy(inspect.unwrap(getattr(each, "__func__", each))) for each in functions)


def _function_looks_legacy(function: Any) -> bool:
    if not inspect.isfunction(function):
        return False
    if any(_is_handle(annotation) for annotation in function.__annotations__.values()):
        return True
    if "remote" not in _names_of(function.__code__):
        return False
    try:
        return source_looks_legacy(ast.parse(textwrap.dedent(inspect.getsource(function))))
    except (OSError, TypeError, SyntaxError):
        return False  # no source: nothing says that it is old


def _is_handle(annotation: Any) -> bool:
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", repr(annotation))
    return any(name in text for name in _HANDLES)


def _names_of(code: types.CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names_of(constant)
    return names


def source_looks_legacy(tree: ast.AST) -> bool:
    """The same for a parsed source."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and node.annotation is not None and _names_handle(node.annotation):
            return True
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) and _Function().look(node):
            return True
    return False


def _names_handle(annotation: ast.AST) -> bool:
    for node in ast.walk(annotation):
        if (isinstance(node, ast.Name) and node.id in _HANDLES) or (
            isinstance(node, ast.Attribute) and node.attr in _HANDLES
        ):
            return True
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and any(name in node.value for name in _HANDLES)
        ):
            return True
    return False


class _Function:
    """Follows values in one function: ``tasks`` are names of what ``.remote()`` gave, ``refs`` of what their await gave."""

    def __init__(self) -> None:
        self.tasks: set[str] = set()
        self.refs: set[str] = set()

    def look(self, function: ast.AST) -> bool:
        nodes = list(ast.walk(function))
        while True:  # until nothing new is found: loops may use names before they are assigned
            before = len(self.tasks), len(self.refs)
            for node in nodes:
                self._assign(node)
            if (len(self.tasks), len(self.refs)) == before:
                break
        return any(self._uses_ref(node) for node in nodes)

    def _assign(self, node: ast.AST) -> None:
        pairs: list[tuple[ast.expr, ast.expr]] = []
        if isinstance(node, ast.Assign):
            pairs = [(target, node.value) for target in node.targets]
        elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)) and node.value is not None:
            pairs = [(node.target, node.value)]
        elif isinstance(node, (ast.For, ast.AsyncFor, ast.comprehension)):
            pairs = [(node.target, node.iter)]
        elif (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("append", "add")
        ):
            pairs = [(node.func.value, argument) for argument in node.args]
        for target, value in pairs:
            names = {each.id for each in ast.walk(target) if isinstance(each, ast.Name)}
            if self.is_ref(value):
                self.refs |= names
            elif self.is_task(value):
                self.tasks |= names

    def is_task(self, node: ast.AST) -> bool:
        """Whether this is what ``.remote()`` gives, or a collection of such."""
        if isinstance(node, ast.Call):
            return isinstance(node.func, ast.Attribute) and node.func.attr == "remote"
        return self._is(node, self.is_task, self.tasks)

    def is_ref(self, node: ast.AST) -> bool:
        """Whether this is what an await of ``.remote()`` gives, or a collection of such."""
        if isinstance(node, ast.Await):
            return self.is_task(node.value) or (
                isinstance(node.value, ast.Call)
                and _called(node.value) == "gather"
                and any(self.is_task(argument) for argument in node.value.args)
            )
        return self._is(node, self.is_ref, self.refs)

    def _is(self, node: ast.AST, is_one: Any, names: set[str]) -> bool:
        if isinstance(node, ast.Name):
            return node.id in names
        if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            return any(is_one(each) for each in node.elts)
        if isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp)):
            return bool(is_one(node.elt))
        if isinstance(node, ast.DictComp):
            return bool(is_one(node.value))
        if isinstance(node, (ast.Starred, ast.Subscript)):
            return bool(is_one(node.value))
        return False

    def _uses_ref(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Await):
            return self.is_ref(node.value)
        if isinstance(node, ast.Call) and _called(node) in _TAKERS:
            return any(self.is_ref(argument) for argument in node.args)
        return False


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")

"""Which public names a module has, and where each of them is defined: read from the sources, nothing is imported.

The API reference (``docs/api``) is made of this, and a test looks with it for public modules that no page shows.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Container
from pathlib import Path

from _workspace import ROOT


@functools.cache
def sources() -> dict[str, Path]:
    """All modules of all distributions by their dotted name."""
    found = {}
    for path in sorted(ROOT.glob("packages/*/src/aktis/**/*.py")):
        parts = path.with_suffix("").parts
        parts = parts[parts.index("src") + 1 :]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@functools.cache
def _tree(module: str) -> ast.Module:
    return ast.parse(sources()[module].read_text())


def _literal(module: str, variable: str) -> object:
    """The value of a module's variable, if it is written down as a literal."""
    for node in _tree(module).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == variable for target in targets):
            value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
            try:
                return ast.literal_eval(value) if value is not None else None
            except ValueError:
                return None
    return None


@functools.cache
def lazy_names(module: str) -> dict[str, str]:
    """Names that are imported when they are first used, and the modules that they come from."""
    table = _literal(module, "_NAMES") or _literal(module, "_HOMES")
    if not isinstance(table, dict):
        return {}
    return {str(name): f"{module}{home}" if str(home).startswith(".") else str(home) for name, home in table.items()}


@functools.cache
def _imports(module: str) -> dict[str, tuple[str, str]]:
    """``{name here: (module, name there)}``, those for type checkers only included: lazy packages list theirs so."""
    found = {}
    body = list(_tree(module).body)
    while body:
        node = body.pop()
        if isinstance(node, (ast.If, ast.Try)):
            body += node.body
        elif isinstance(node, ast.ImportFrom) and node.module:
            for name in node.names:
                found[name.asname or name.name] = (node.module, name.name)
    return found


def public_names(module: str) -> list[str]:
    """What the module lists in ``__all__``, or what it defines itself under a public name and with a docstring."""
    listed = _literal(module, "__all__")
    if isinstance(listed, (list, tuple)):
        return [str(name) for name in listed if name != "__version__"]
    if lazy_names(module):
        return sorted(lazy_names(module))
    defined = (
        node for node in _tree(module).body if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
    )
    return [node.name for node in defined if not node.name.startswith("_") and ast.get_docstring(node)]


def origin(module: str, name: str) -> str:
    """The full name under which something is defined, wherever it was imported from."""
    seen = set()
    while module in sources() and (module, name) not in seen:
        seen.add((module, name))
        there = _imports(module).get(name)
        if there is None and name in lazy_names(module):
            there = (lazy_names(module)[name], name)
        if there is None or (f"{module}.{name}" in sources() and there[0] == module):
            break
        module, name = there
    return f"{module}.{name}"


def is_put_together(module: str, name: str, described: Container[str]) -> bool:
    """Whether a class has bases in private modules that nobody describes: users take their methods for its own."""
    home, _, own = origin(module, name).rpartition(".")
    if home not in sources():
        return False
    for node in _tree(home).body:
        if isinstance(node, ast.ClassDef) and node.name == own:
            bases = [base.value if isinstance(base, ast.Subscript) else base for base in node.bases]
            origins = [origin(home, base.id) for base in bases if isinstance(base, ast.Name)]
            return any("._" in base and base not in described for base in origins)
    return False

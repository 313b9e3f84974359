"""What one program uses of Ray: a walk over its syntax tree.

Names are followed through imports and aliases, and, where the code says so itself, through variables: ``config =
PPOConfig()`` makes
``config.training(...)`` a method of that class. Nothing is executed, so that what is put together at run time stays unseen.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from aktis.compat._facts import Entry, Facts

__all__ = ["Use", "uses"]


@dataclass(frozen=True, slots=True)
class Use:
    """One use of one thing."""

    line: int
    kind: str  # "module", "name", "method", "string", "option", "variable", "address"
    module: str  # of Ray; for strings what they name ("trainable", ...)
    name: str  # "" for a module
    keywords: tuple[str, ...] = ()  # of a call

    @property
    def full(self) -> str:
        """Its name as a person writes it."""
        if self.kind in ("string", "option", "variable", "address"):
            return self.name
        return f"{self.module}.{self.name}" if self.name else self.module


@dataclass(frozen=True, slots=True)
class _Instance:
    """A value of a class of Ray's."""

    module: str
    name: str


_Meaning = str | _Instance  # a dotted name below ray, or a value

# Calls whose arguments name things: function -> (position or None, keyword, kind of the name)
_STRINGS: dict[str, tuple[tuple[int | None, str, str], ...]] = {
    "tune.run": (
        (0, "run_or_experiment", "trainable"),
        (None, "search_alg", "search_alg"),
        (None, "scheduler", "scheduler"),
    ),
    "tune.Tuner": ((0, "trainable", "trainable"),),
    "tune.Experiment": ((1, "run", "trainable"),),
    "tune.TuneConfig": ((None, "search_alg", "search_alg"), (None, "scheduler", "scheduler")),
    "tune.create_searcher": ((0, "search_alg", "search_alg"),),
    "tune.create_scheduler": ((0, "scheduler", "scheduler"),),
}


class _Walk(ast.NodeVisitor):
    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.found: list[Use] = []
        self.meanings: dict[str, _Meaning] = {}
        self._called: set[int] = set()  # nodes that are the function of a call, which is reported with it

    # names come into being
    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.name == "ray" or alias.name.startswith("ray."):
                self._use_module(node.lineno, alias.name)
                self.meanings[alias.asname or "ray"] = alias.name if alias.asname else "ray"

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        if node.level or not (module == "ray" or module.startswith("ray.")):
            return
        for alias in node.names:
            if alias.name == "*":
                self._use_module(node.lineno, module)
                for name in self.facts.names(module):
                    self.meanings.setdefault(name, f"{module}.{name}")
                continue
            full = f"{module}.{alias.name}"
            self.meanings[alias.asname or alias.name] = full
            if self.facts.is_module(full) and not self.facts.entry(module, alias.name):
                self._use_module(node.lineno, full)
            else:
                self.found.append(Use(node.lineno, "name", module, alias.name))

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        value = self._meaning(node.value)
        for target in node.targets:
            if isinstance(target, ast.Name):
                self._bind(target.id, value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.generic_visit(node)
        if isinstance(node.target, ast.Name) and node.value is not None:
            self._bind(node.target.id, self._meaning(node.value))

    def visit_With(self, node: ast.With) -> None:
        for item in node.items:
            if isinstance(item.optional_vars, ast.Name):
                self._bind(item.optional_vars.id, self._meaning(item.context_expr))
        self.generic_visit(node)

    def _bind(self, name: str, meaning: _Meaning | None) -> None:
        if meaning is not None:
            self.meanings[name] = meaning
        elif isinstance(self.meanings.get(name), _Instance):
            del self.meanings[name]  # it has become something else

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.generic_visit(node)
        self._decorated(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)
        self._decorated(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)
        self._decorated(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._function(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        """Inside, parameters hide what has their names outside."""
        outside = dict(self.meanings)
        given = node.args
        for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg):
            if argument is not None:
                self.meanings.pop(argument.arg, None)
        self.generic_visit(node)
        for name, meaning in outside.items():
            self.meanings.setdefault(name, meaning)

    def _decorated(self, node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call):
                decorator = decorator.func
            if self._full(decorator) in ("ray.serve.deployment", "ray.serve.api.deployment"):
                self.meanings[node.name] = _Instance("ray.serve.deployment", "Deployment")

    # names are used
    def visit_Attribute(self, node: ast.Attribute) -> None:
        if id(node) not in self._called:
            self._report(node, ())
        self._visit_inside(node)

    def visit_Call(self, node: ast.Call) -> None:
        keywords = tuple(each.arg for each in node.keywords if each.arg)
        self._called.add(id(node.func))
        self._report(node.func, keywords)
        full = self._full(node.func)
        if full == "ray.remote" or (
            isinstance(node.func, ast.Attribute) and node.func.attr == "options" and self._is_remote(node)
        ):
            self.found += [Use(node.lineno, "option", "ray.remote", name) for name in keywords]
        if full:
            self._strings(node, full)
        if full == "ray.init":
            self._address(node)
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, str) and value.startswith("RAY_") and value.replace("_", "").isalnum() and len(value) > 5:
            self.found.append(Use(node.lineno, "variable", "", value))

    def visit_Name(self, node: ast.Name) -> None:
        pass  # imports have told of it

    def _visit_inside(self, node: ast.Attribute) -> None:
        inner: ast.expr = node.value
        while isinstance(inner, ast.Attribute):  # `ray` and `ray.tune` in `ray.tune.run` are no uses of their own
            inner = inner.value
        if not isinstance(inner, ast.Name):
            self.visit(inner)

    def _is_remote(self, node: ast.Call) -> bool:
        # f.options(...).remote(): seen from the outer call, which is visited first
        return id(node) in self._called

    def _report(self, node: ast.expr, keywords: tuple[str, ...]) -> None:
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Call):
                self._called.add(id(node.value))
            owner = self._meaning(node.value)
            if isinstance(owner, _Instance):
                method = self.facts.method(owner.module, owner.name, node.attr)
                if method is not None:
                    self.found.append(Use(node.lineno, "method", method[0], method[1], keywords))
                else:
                    self.found.append(Use(node.lineno, "method", owner.module, f"{owner.name}.{node.attr}", keywords))
                return
        meaning = self._meaning(node)
        if not isinstance(meaning, str) or (isinstance(node, ast.Name) and not keywords):
            return
        module, name = self._split(meaning)
        self.found.append(Use(node.lineno, "name" if name else "module", module, name, keywords))

    def _use_module(self, line: int, name: str) -> None:
        self.found.append(Use(line, "module", name, ""))

    # what expressions mean
    def _meaning(self, node: ast.expr) -> _Meaning | None:
        if isinstance(node, ast.Name):
            return self.meanings.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = self._meaning(node.value)
            return f"{owner}.{node.attr}" if isinstance(owner, str) else None
        if isinstance(node, ast.Call):
            return self._result(node)
        return None

    def _result(self, node: ast.Call) -> _Meaning | None:
        """The value of a call, if it is of a class of Ray's."""
        if isinstance(node.func, ast.Attribute):
            owner = self._meaning(node.func.value)
            if isinstance(owner, _Instance):
                method = self.facts.method(owner.module, owner.name, node.func.attr)
                return self._returned(method[2], owner) if method is not None else None
        meaning = self._meaning(node.func)
        if not isinstance(meaning, str):
            return None
        module, name = self._split(meaning)
        found = self.facts.definition(module, name) if name else None
        if found is None:
            return None
        where, real, entry = found
        if entry.kind == "c":
            return _Instance(where, real)
        return self._returned(entry, None)

    def _returned(self, entry: Entry, owner: _Instance | None) -> _Instance | None:
        module, _, name = entry.returns.partition(":")
        if not name:
            return None
        if owner is not None and self._is_base(owner, module, name):
            return owner  # AlgorithmConfig.training() of a PPOConfig gives the PPOConfig
        return _Instance(module, name)

    def _is_base(self, owner: _Instance, module: str, name: str) -> bool:
        waiting, seen = [(owner.module, owner.name)], set()
        while waiting:
            here = waiting.pop()
            found = self.facts.definition(*here)
            if found is None or found[:2] in seen:
                continue
            if found[:2] == (module, name):
                return True
            seen.add(found[:2])
            waiting += [(base.partition(":")[0], base.partition(":")[2]) for base in found[2].bases]
        return False

    def _split(self, dotted: str) -> tuple[str, str]:
        """Module and name of a dotted name: the longest module that the table has."""
        parts = dotted.split(".")
        for cut in range(len(parts), 0, -1):
            module = ".".join(parts[:cut])
            if self.facts.is_module(module) and not (
                cut > 1 and self.facts.entry(".".join(parts[: cut - 1]), parts[cut - 1])
            ):
                return module, ".".join(parts[cut:])
        return dotted, ""

    def _full(self, node: ast.expr) -> str:
        meaning = self._meaning(node)
        return meaning if isinstance(meaning, str) else ""

    # strings that name things
    def _strings(self, node: ast.Call, full: str) -> None:
        for position, keyword, kind in _STRINGS.get(full.removeprefix("ray."), ()):
            given = next((each.value for each in node.keywords if each.arg == keyword), None)
            if given is None and position is not None and len(node.args) > position:
                given = node.args[position]
            if isinstance(given, ast.Constant) and isinstance(given.value, str):
                self.found.append(Use(given.lineno, "string", kind, given.value))

    def _address(self, node: ast.Call) -> None:
        given = next(
            (each.value for each in node.keywords if each.arg == "address"), node.args[0] if node.args else None
        )
        if isinstance(given, ast.Constant) and isinstance(given.value, str) and "://" in given.value:
            self.found.append(Use(given.lineno, "address", "ray", given.value))


def uses(tree: ast.Module, facts: Facts) -> list[Use]:
    """Everything of Ray that a program uses, in the order of its lines."""
    walk = _Walk(facts)
    # Imports anywhere first: functions are often written above those that their module makes later.
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            walk.visit(node)
    imports = len(walk.found)
    walk.visit(tree)
    again = {(use.line, use.full) for use in walk.found[:imports]}
    rest = [use for use in walk.found[imports:] if use.keywords or (use.line, use.full) not in again]
    found = {
        use for use in (*walk.found[:imports], *rest) if "__" not in use.full
    }  # every object has __name__ and the like
    return sorted(found, key=lambda use: (use.line, use.full))

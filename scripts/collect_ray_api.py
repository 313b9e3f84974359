"""Collect what Ray's public API is called: modules, names, kinds and parameter names, and in which releases.

    python scripts/collect_ray_api.py 1.9.2=ray-1.9.2-....whl ... 2.3.1=/path/to/site-packages

Each argument is a release and where it lies: a wheel, or a folder that has ``ray/``. The files are parsed, never run, so that no
release needs a Python of its time or a framework that it imports. Only facts are kept: names, no text and no code.
They are written to
``packages/core/src/aktis/compat/ray_api/``, one line per module; :mod:`aktis.compat._facts` says how to read them.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

OUTPUT = Path(__file__).resolve().parent.parent / "packages/core/src/aktis/compat/ray_api"
LIBRARIES = ("air", "data", "rllib", "serve", "train", "tune")  # each has a file, the rest is in core.json

# What nobody imports: generated files, the inside of libraries, tests, and other programs that come in the same wheel.
INSIDE = frozenset(
    {
        "_internal", "_private", "_raylet", "autoscaler", "benchmarks", "cloudpickle", "core", "dashboard", "generated", "impl",
        "includes", "internal", "scripts", "streaming", "tests", "thirdparty_files", "tuned_examples", "workers", "setup-dev",
    }
)  # fmt: skip
# Whole branches that are there, but not looked into: that they exist is enough.
SHALLOW = (
    "ray.workflow",
    "ray.job_submission",
    "ray.util.sgd",
    "ray.util.spark",
    "ray.util.client",
    "ray.experimental",
    "ray.rllib.core",
    "ray.rllib.contrib",
)
LEVELS = {"PublicAPI": "P", "DeveloperAPI": "D", "Deprecated": "X"}


@dataclass
class Module:
    """One parsed module of one release."""

    name: str
    package: bool
    functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = field(default_factory=dict)
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    values: dict[str, ast.expr | None] = field(default_factory=dict)
    imports: dict[str, tuple[str, str]] = field(
        default_factory=dict
    )  # name -> (module, name there, "" for the module itself)
    stars: list[str] = field(default_factory=list)
    exported: set[str] | None = None


def public(name: str) -> bool:
    """Whether a module is one that programs import."""
    parts = name.split(".")
    if any(part.startswith("_") or part in INSIDE for part in parts):
        return False
    if any(name.startswith(branch + ".") for branch in SHALLOW):
        return False
    if (parts[-1].startswith("test_") and parts[-1] != "test_utils") or "examples" in parts:
        return parts[:3] == ["ray", "rllib", "examples"] and parts[3:4] in (["env"], ["models"], ["policy"])
    return True


def sources(location: Path) -> Iterator[tuple[str, bool, str]]:
    """(module, whether it is a package, text) of every module of Ray that lies there."""
    if location.is_file():
        with zipfile.ZipFile(location) as wheel:
            for entry in wheel.namelist():
                path = entry.partition(".data/purelib/")[2] or entry
                if path.startswith("ray/") and path.endswith(".py") and wanted(path):
                    yield (*module_name(path), wheel.read(entry).decode())
        return
    for file in (location / "ray").rglob("*.py"):
        path = file.relative_to(location).as_posix()
        if wanted(path):
            yield (*module_name(path), file.read_text())


def wanted(path: str) -> bool:
    # Private modules are parsed, too: public ones take names from them. Generated and foreign ones are not.
    return not any(
        part in path
        for part in ("/thirdparty_files/", "/core/generated/", "/tests/", "/dashboard/", "/serve/generated/")
    )


def module_name(path: str) -> tuple[str, bool]:
    parts = path.removesuffix(".py").split("/")
    package = parts[-1] == "__init__"
    return ".".join(parts[:-1] if package else parts), package


def parse(name: str, package: bool, text: str) -> Module:
    module = Module(name, package)
    _statements(module, ast.parse(text).body)
    return module


def _statements(module: Module, body: list[ast.stmt]) -> None:
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            module.functions[node.name] = node
        elif isinstance(node, ast.ClassDef):
            module.classes[node.name] = node
        elif isinstance(node, ast.ImportFrom):
            _import_from(module, node)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("ray.") and alias.asname:
                    module.imports[alias.asname] = (alias.name, "")
        elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            _assignment(module, node)
        elif isinstance(node, ast.If):
            _statements(module, node.body)
            _statements(module, node.orelse)
        elif isinstance(node, ast.Try):
            for part in (node.body, *(handler.body for handler in node.handlers), node.orelse):
                _statements(module, part)


def _import_from(module: Module, node: ast.ImportFrom) -> None:
    base = node.module or ""
    if node.level:
        parts = module.name.split(".")
        parts = parts[: len(parts) - node.level + module.package]
        base = ".".join([*parts, *filter(None, [base])])
    if base.partition(".")[0] != "ray":
        return
    for alias in node.names:
        if alias.name == "*":
            module.stars.append(base)
        else:
            module.imports[alias.asname or alias.name] = (base, alias.name)


def _assignment(module: Module, node: ast.Assign | ast.AnnAssign | ast.AugAssign) -> None:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    for target in targets:
        if not isinstance(target, ast.Name):
            continue
        if target.id == "__all__":
            literals = {
                each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)
            }
            module.exported = (module.exported or set()) | literals
        elif not isinstance(node, ast.AugAssign):
            module.values[target.id] = node.value


class Release:
    """All modules of one release."""

    def __init__(self, location: Path) -> None:
        self.modules: dict[str, Module] = {}
        for name, package, text in sources(location):
            try:
                self.modules[name] = parse(name, package, text)
            except SyntaxError as error:
                print(f"{name}: {error}", file=sys.stderr)

    def find(self, module: str, name: str, seen: frozenset[tuple[str, str]] = frozenset()) -> tuple[str, str] | None:
        """Where what ``module`` calls ``name`` is defined; None: not in Ray."""
        found = self.modules.get(module)
        if found is None or (module, name) in seen:
            return None
        seen |= {(module, name)}
        if name in found.functions or name in found.classes:
            return module, name
        if name in found.imports:
            there, what = found.imports[name]
            if not what or f"{there}.{what}" in self.modules:
                return (f"{there}.{what}" if what else there), ""
            return self.find(there, what, seen)
        if name in found.values:
            value = found.values[name]
            if isinstance(value, ast.Name) and value.id != name and not value.id.startswith("_"):
                return self.find(module, value.id, seen) or (module, name)
            return module, name
        for star in found.stars:
            there_found = self.find(star, name, seen)
            if there_found:
                return there_found
        return None

    def names(self, module: Module) -> set[str]:
        """The public names of a module."""
        own = {*module.functions, *module.classes}
        own |= {name for name in module.values if name[:1].isupper()}  # constants, and classes that a function makes
        if module.package and module.exported is None:
            own |= set(module.imports)
            for star in module.stars:
                if star in self.modules:
                    own |= self.names(self.modules[star])
        return {name for name in own | (module.exported or set()) if not name.startswith("_")}

    def class_at(self, module: str, node: ast.expr) -> tuple[str, ast.ClassDef] | None:
        """The class of Ray that an expression in a module means."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value.partition("[")[0].strip()
            node = ast.Name(name) if name.isidentifier() else node
        if isinstance(node, ast.Subscript):
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        found = self.find(module, node.id)
        if found is None or found[1] not in self.modules[found[0]].classes:
            return None
        return found[0], self.modules[found[0]].classes[found[1]]

    def constructor(self, module: str, node: ast.ClassDef, depth: int = 0) -> str:
        """The parameters of a class; empty where nobody in Ray says."""
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
                return parameters(statement, skip_first=True)
        inherited = ""
        for base in node.bases:
            found = self.class_at(module, base)
            if found is not None and depth < 12:
                inherited = inherited or self.constructor(*found, depth + 1)
        if any("dataclass" in ast.dump(decorator) for decorator in node.decorator_list):
            fields = [
                statement.target.id + ("=" if statement.value is not None else "")
                for statement in node.body
                if isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and not statement.target.id.startswith("_")
                and "ClassVar" not in ast.dump(statement.annotation)
            ]
            return ",".join([*filter(None, inherited.split(",")), *fields])
        return inherited

    def entries(self, module: Module) -> dict[str, str]:
        """What is kept of a module: name to ``kind level parameters [> class returned] [< bases]``."""
        result: dict[str, str] = {}
        for name in sorted(self.names(module)):
            found = self.find(module.name, name)
            if found is None:
                if name in (module.exported or ()):
                    result[name] = "v -"
                continue
            if found != (module.name, name):
                if not found[1] and public(found[0]):
                    continue  # a submodule
                if found[1]:
                    result[name] = f"= {self.level(*found)} {found[0]}:{found[1]}"
                    if not public(found[0]):
                        result[name] = self.describe(*found)
                        if found[1] in self.modules[found[0]].classes:
                            result.update(self.methods(*found, as_name=name))
                continue
            result[name] = self.describe(module.name, name)
            if name in module.classes:
                result.update(self.methods(module.name, name, as_name=name))
        return result

    def level(self, module: str, name: str) -> str:
        found = self.modules[module]
        node = found.classes.get(name) or found.functions.get(name)
        return level(node) if node is not None else "-"

    def describe(self, module: str, name: str) -> str:
        found = self.modules[module]
        if name in found.functions:
            return self._function("f", module, found.functions[name], skip_first=False)
        if name in found.classes:
            node = found.classes[name]
            text = f"c {level(node)} {self.constructor(module, node)}".rstrip()
            found_bases = [self.class_at(module, base) for base in node.bases]
            bases = [f"{base[0]}:{base[1].name}" for base in found_bases if base is not None and public(base[0])]
            return f"{text} < {';'.join(bases)}" if bases else text
        return "v -"

    def _function(
        self, kind: str, module: str, node: ast.FunctionDef | ast.AsyncFunctionDef, *, skip_first: bool
    ) -> str:
        text = f"{kind} {level(node)} {parameters(node, skip_first=skip_first)}".rstrip()
        returned = self.class_at(module, node.returns) if node.returns is not None else None
        return f"{text} > {returned[0]}:{returned[1].name}" if returned is not None and public(returned[0]) else text

    def methods(self, module: str, name: str, as_name: str) -> dict[str, str]:
        """Methods, properties and attributes of a class; what is not marked itself is marked as the class is."""
        node = self.modules[module].classes[name]
        result = {f"{as_name}.{attribute}": "a -" for attribute in attributes(node)}
        for key, entry in self._methods(module, node, as_name).items():
            kind, mark, *rest = entry.split(" ", 2)
            result[key] = " ".join([kind, level(node) if mark == "-" else mark, *rest])
        return result

    def _methods(self, module: str, node: ast.ClassDef, as_name: str) -> dict[str, str]:
        result = {}
        for statement in node.body:
            if not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)) or statement.name.startswith("_"):
                continue
            decorators = {ast.unparse(each) for each in statement.decorator_list}
            if any(each.endswith(".setter") for each in decorators):
                continue
            if "property" in decorators or any("cached_property" in each for each in decorators):
                result[f"{as_name}.{statement.name}"] = f"p {level(statement)}"
            else:
                static = "staticmethod" in decorators
                result[f"{as_name}.{statement.name}"] = self._function("m", module, statement, skip_first=not static)
        return result


def attributes(node: ast.ClassDef) -> set[str]:
    """What instances have beside methods: fields, and what the constructor sets."""
    found = {
        each.target.id for each in node.body if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
    }
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            found |= {
                each.attr
                for each in ast.walk(statement)
                if isinstance(each, ast.Attribute)
                and isinstance(each.ctx, ast.Store)
                and isinstance(each.value, ast.Name)
                and each.value.id == "self"
            }
    return {name for name in found if not name.startswith("_")}


def level(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    for decorator in node.decorator_list:
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        name = target.id if isinstance(target, ast.Name) else getattr(target, "attr", "")
        if name in LEVELS:
            return LEVELS[name]
    return "-"


def parameters(node: ast.FunctionDef | ast.AsyncFunctionDef, *, skip_first: bool) -> str:
    """``a,b=,*,c=,**rest``: the names, ``=`` where there is a default."""
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    without = len(positional) - len(arguments.defaults)
    found = [each.arg + ("=" if index >= without else "") for index, each in enumerate(positional)][skip_first:]
    if arguments.vararg is not None:
        found.append("*" + arguments.vararg.arg)
    elif arguments.kwonlyargs:
        found.append("*")
    found += [
        each.arg + ("=" if default is not None else "")
        for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults)
    ]
    if arguments.kwarg is not None:
        found.append("**" + arguments.kwarg.arg)
    return ",".join(found)


def merge(releases: list[dict[str, dict[str, str]]]) -> dict[str, dict[str, str]]:
    """One table of all releases, oldest first: what the newest says, and in which each name is (bits, in hexadecimal).

    Parameters that only older ones have come last, with ``~`` before them.
    """
    result: dict[str, dict[str, str]] = {}
    for module in sorted({name for release in releases for name in release}):
        table: dict[str, str] = {}
        names = {name for release in releases for name in release.get(module, ())}
        for name in sorted(names):
            having = [release[module].get(name) if module in release else None for release in releases]
            bits = sum(1 << index for index, entry in enumerate(having) if entry)
            table[name] = f"{bits:x} {_with_older([entry for entry in having if entry])}"
        bits = sum(1 << index for index, release in enumerate(releases) if module in release)
        result[module] = {"": f"{bits:x}", **table}
    return result


def _with_older(entries: list[str]) -> str:
    newest = entries[-1]
    if newest[0] not in "fcm":
        return newest
    text, arrow, returned = newest.partition(" < " if newest[0] == "c" else " > ")
    kind, mark, *rest = text.split(" ", 2)
    given = rest[0].split(",") if rest else []
    known = {each.strip("*=") for each in given}
    older: list[str] = []
    for entry in entries[:-1]:
        parts = entry.partition(" < ")[0].partition(" > ")[0].split(" ", 2)
        if parts[0] != kind or len(parts) < 3:
            continue
        for each in parts[2].split(","):
            name = each.strip("=")
            if name and name[0] != "*" and name not in known:
                known.add(name)
                older.append("~" + name)
    return f"{kind} {mark} {','.join([*given, *older])}".rstrip() + arrow + returned


def write(table: dict[str, dict[str, str]], versions: list[str], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{json.dumps(module)}:{json.dumps(names, separators=(',', ':'))}" for module, names in table.items()]
    path.write_text(f'{{"versions":{json.dumps(versions)},"modules":{{\n' + ",\n".join(lines) + "\n}}\n")


def file_of(module: str) -> str:
    part = module.split(".")[1:2]
    return part[0] if part and part[0] in LIBRARIES else "core"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("releases", nargs="+", metavar="VERSION=PATH", help="oldest first")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    versions, tables = [], []
    for each in options.releases:
        version, _, path = each.partition("=")
        release = Release(Path(path))
        tables.append({name: release.entries(module) for name, module in release.modules.items() if public(name)})
        versions.append(version)
        print(f"{version}: {len(tables[-1])} modules, {sum(map(len, tables[-1].values()))} names")
    table = merge(tables)
    for library in ("core", *LIBRARIES):
        path = options.output / f"{library}.json"
        write({module: names for module, names in table.items() if file_of(module) == library}, versions, path)
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

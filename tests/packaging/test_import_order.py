"""Who may import whom (docs/architecture.md, section 1), read from the source: holds for what is not installed too."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAY_IMPORT = {
    "core": set(),
    "air": {"core"},
    "data": {"core"},
    "tune": {"core", "air"},
    "train": {"core", "air", "data", "tune"},
    "rllib": {"core", "air", "tune"},
    "serve": {"core", "air"},
}
LIBRARIES = MAY_IMPORT.keys() - {"core"}
PACKAGES = sorted(path.parent.name for path in ROOT.glob("packages/*/pyproject.toml"))


def imported_modules(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name == "aktis" or name.startswith("aktis.")}


def package_of(module: str) -> str:
    part = (module.split(".") + [""])[1]
    return part if part in LIBRARIES else "core"


def violations(package: str, sources: list[Path]) -> list[str]:
    allowed = MAY_IMPORT[package] | {package}
    return [
        f"{path.name} imports {module}"
        for path in sources
        for module in sorted(imported_modules(path))
        if package_of(module) not in allowed
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_what_the_architecture_allows(package: str) -> None:
    assert package in MAY_IMPORT, f"say in docs/architecture.md, and here, what packages/{package} may import"
    sources = sorted((ROOT / "packages" / package / "src").rglob("*.py"))
    assert sources
    assert violations(package, sources) == []


def private_imports(package: str, sources: list[Path]) -> list[str]:
    """Imports of underscore modules that belong to another distribution."""
    return [
        f"{path.name} imports {module}"
        for path in sources
        for module in sorted(imported_modules(path))
        if package_of(module) != package
        and any(part.startswith("_") and part != "__about__" for part in module.split("."))
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_use_the_public_api_of_the_others(package: str) -> None:
    assert private_imports(package, sorted((ROOT / "packages" / package / "src").rglob("*.py"))) == []


def test_the_check_sees_a_private_import(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text(
        "from aktis._session import current\nfrom aktis import _api\nimport aktis.util.queue\nimport aktis.data._plan\n"
    )
    assert private_imports("data", [bad]) == [
        "bad.py imports aktis._api", "bad.py imports aktis._session", "bad.py imports aktis._session.current"
    ]  # fmt: skip


def test_the_check_sees_a_violation(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    from aktis import tune\n    import aktis.serve.api\n")
    assert violations("core", [bad]) == ["bad.py imports aktis.serve.api", "bad.py imports aktis.tune"]
    assert violations("train", [bad]) == ["bad.py imports aktis.serve.api"]

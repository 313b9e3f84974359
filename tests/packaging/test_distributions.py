"""The distributions as people get them: built, and looked into."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
APART = {"hebo", "ray"}  # extras that cannot be installed beside the others, or that nobody wants by the way
PACKAGES = sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[zipfile.ZipFile]:
    outdir = tmp_path_factory.mktemp("dist")
    code = "import sys, pathlib, build_wheels as b; [b.build(p, pathlib.Path(sys.argv[1])) for p in b.packages()]"
    subprocess.run([sys.executable, "-c", code, str(outdir)], check=True, capture_output=True, cwd=ROOT / "scripts")
    return [zipfile.ZipFile(path) for path in sorted(outdir.glob("*.whl"))]


@pytest.mark.timeout(180)
def test_every_package_builds_one_wheel(wheels: list[zipfile.ZipFile]) -> None:
    assert len(wheels) == len(PACKAGES) > 0


def test_no_path_is_in_two_wheels(wheels: list[zipfile.ZipFile]) -> None:
    owners: dict[str, list[str]] = defaultdict(list)
    for wheel in wheels:
        for name in wheel.namelist():
            owners[name].append(Path(str(wheel.filename)).name)
    assert {name: found for name, found in owners.items() if len(found) > 1} == {}


def test_only_core_ships_the_namespace_file(wheels: list[zipfile.ZipFile]) -> None:
    owners = [Path(str(wheel.filename)).name for wheel in wheels if "aktis/__init__.py" in wheel.namelist()]
    assert len(owners) == 1
    assert owners[0].startswith("aktis_core-")


def test_data_needs_nothing_but_core_and_its_declared_dependencies(
    wheels: list[zipfile.ZipFile], tmp_path: Path
) -> None:
    """The two wheels, unpacked beside each other, without the checkout and with every optional library blocked."""
    for wheel in wheels:
        if Path(str(wheel.filename)).name.startswith(("aktis_core-", "aktis_data-")):
            wheel.extractall(tmp_path)
    optional = (
        "PIL",
        "crc32c",
        "dask",
        "datasets",
        "google.protobuf",
        "polars",
        "pymongo",
        "sklearn",
        "tensorflow",
        "torch",
    )
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        f"for name in {optional!r}: sys.modules[name] = None\n"
        "import aktis.data\n"
        f"assert aktis.data.__file__.startswith({str(tmp_path)!r}), aktis.data.__file__\n"
        "for name in aktis.data.__all__: getattr(aktis.data, name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr


def test_the_extra_named_all_has_every_other_extra() -> None:
    for package in PACKAGES:
        text = (
            (package / "pyproject.toml").read_text().partition("[project.optional-dependencies]")[2].partition("\n[")[0]
        )
        extras = [extra for extra in re.findall(r"^([a-z0-9]+) = ", text, re.MULTILINE) if extra not in APART]
        if extras:
            everything = re.search(r"^all = \[\n?(.*?)\n?\](?: #.*)?$", text, re.MULTILINE | re.DOTALL)
            assert everything is not None, package
            own, *others = re.findall(r'"(aktis-[a-z]+)\[([a-z0-9,]+)\]', everything.group(1))
            assert [*own[1].split(","), "all"] == extras, package
            siblings = {f"aktis-{path.name}" for path in PACKAGES} - {own[0]} if package.name == "air" else set()
            assert {name for name, extra in others if extra == "all"} == siblings, package


def test_messages_name_extras_that_there_are() -> None:
    declared = {package.name: (package / "pyproject.toml").read_text() for package in PACKAGES}
    for path in ROOT.glob("packages/*/src/**/*.py"):
        for name, extra in re.findall(r"aktis-([a-z]+)\[([a-z0-9]+)\]", path.read_text()):
            assert re.search(rf"^{extra} = ", declared[name], re.MULTILINE), f"{path.name} names aktis-{name}[{extra}]"


def test_typing_marker_and_licence_are_inside(wheels: list[zipfile.ZipFile]) -> None:
    for wheel in wheels:
        names = wheel.namelist()
        assert any(re.fullmatch(r"aktis/([a-z]+/)?py\.typed", name) for name in names), wheel.filename
        licences = [name for name in names if name.endswith(".dist-info/licenses/LICENSE")]
        assert len(licences) == 1, wheel.filename
        assert b"Apache License" in wheel.read(licences[0])


def test_wheels_hold_nothing_but_the_package(wheels: list[zipfile.ZipFile]) -> None:
    for wheel in wheels:
        for name in wheel.namelist():
            assert name.startswith("aktis/") or ".dist-info/" in name, f"{wheel.filename}: {name}"
            assert not name.endswith((".pyc", ".so")), f"{wheel.filename}: {name}"


def test_versions_agree() -> None:
    versions = {}
    for package in PACKAGES:
        (about,) = package.glob("src/aktis/**/__about__.py")
        match = re.search(r'__version__ = "([^"]+)"', about.read_text())
        assert match is not None
        versions[package.name] = match.group(1)
    assert len(set(versions.values())) == 1, versions


def test_siblings_are_pinned_to_the_same_version() -> None:
    (core,) = (ROOT / "packages/core").glob("src/aktis/__about__.py")
    match = re.search(r'__version__ = "([^"]+)"', core.read_text())
    assert match is not None
    for package in PACKAGES:
        text = (package / "pyproject.toml").read_text()
        own = re.search(r'^name = "(aktis-[a-z]+)"$', text, re.MULTILINE)
        assert own is not None, package
        for name, requirement in re.findall(r'"(aktis-[a-z]+)(?:\[[a-z0-9,]+\])?([^"\[]*)"', text):
            if name != own.group(1):
                assert requirement == f"=={match.group(1)}", f"{package.name} asks for {name}{requirement}"


def test_the_source_distribution_makes_the_same_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import build_wheels

    package = ROOT / "packages" / "serve"
    sdist, wheel = build_wheels.build(package, tmp_path, sdist=True), build_wheels.build(package, tmp_path)
    build_wheels.check(sdist, wheel, tmp_path / "work")
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("aktis/extra.py", "")
    with pytest.raises(SystemExit, match=r"makes another wheel than the source tree: aktis/extra\.py"):
        build_wheels.check(sdist, wheel, tmp_path / "again")


def test_every_dependency_is_on_the_page_of_licences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import write_licenses

    known = write_licenses.known()
    needed = {name for needs in write_licenses.dependencies().values() for name in needs}
    assert needed - {*known} == set(), "run: python scripts/write_licenses.py"
    assert write_licenses.render(known) == write_licenses.PAGE.read_text(), "run: python scripts/write_licenses.py"

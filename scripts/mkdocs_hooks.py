"""What the documentation's build does beside what mkdocs does by itself: the API reference.

A line ``::: aktis.tune.schedulers`` of a page in ``docs/api`` stands for the module's docstring and everything in its ``__all__``.
Each thing is described once, on the first page (in the order of the navigation) that has a module with it; later ones link there.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from _workspace import ROOT, packages
from api_names import is_put_together, origin, public_names, sources

MERGED = ROOT / "build" / "api"
"""One folder with all of the namespace package, as links: the analysis follows no ``extend_path``."""

DIRECTIVE = re.compile(r"^::: (aktis[\w.]*)$", re.MULTILINE)

ALSO = {"benchmarks.md": "benchmarks/README.md", "changelog.md": "CHANGELOG.md"}
"""Pages that are files of the repository."""

_homes: dict[str, str] = {}  # where something is defined -> the public name under which the reference describes it


def on_startup(command: str, dirty: bool) -> None:
    """Put the packages together."""
    shutil.rmtree(MERGED, ignore_errors=True)
    package = MERGED / "aktis"
    package.mkdir(parents=True)
    for folder in packages():
        for path in (folder / "src/aktis").iterdir():
            if path.name != "__pycache__":
                (package / path.name).symlink_to(path)


def _pages(nav: Any) -> list[str]:
    """The files of a navigation, in order."""
    if isinstance(nav, str):
        return [nav]
    return [page for item in (nav.values() if isinstance(nav, dict) else nav) for page in _pages(item)]


def on_config(config: Any) -> None:
    """Decide which page describes what."""
    _homes.clear()
    for page in _pages(config["nav"]):
        if page.startswith("api/"):
            for module in DIRECTIVE.findall(Path(config["docs_dir"], page).read_text()):
                for name in public_names(module):
                    _homes.setdefault(origin(module, name), f"{module}.{name}")


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File

    for page, source in ALSO.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def _expand(match: re.Match[str]) -> str:
    module = match[1]
    blocks = [f"::: {module}\n    options:\n      members: false\n      heading_level: 2\n"]
    elsewhere = []
    for name in public_names(module):
        full, defined = f"{module}.{name}", origin(module, name)
        if (full in sources() and full == defined) or not defined.startswith("aktis."):
            continue  # a module, which has a section of its own; or something of another library
        if _homes[defined] != full:
            elsewhere.append(f"[`{name}`][{_homes[defined]}]")
            continue
        inherited = "      inherited_members: true\n" if is_put_together(module, name, _homes) else ""
        blocks.append(f"::: {full}\n    options:\n      heading_level: 3\n{inherited}")
    if elsewhere:
        blocks.append(f"Also here, described elsewhere: {', '.join(elsewhere)}.\n")
    return "\n".join(blocks)


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    return DIRECTIVE.sub(_expand, markdown) if page.file.src_uri.startswith("api/") else markdown

"""Set one version for all distributions, and give the changelog's unreleased section its name.

python scripts/bump_version.py 0.2.0
"""

from __future__ import annotations

import argparse
import datetime
import re
from pathlib import Path

from _workspace import ROOT, VERSION, about_file, packages, read_version


def bump(version: str, today: datetime.date, root: Path = ROOT) -> list[Path]:
    """Returns the files that changed."""
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+|\.dev\d+)?", version):
        raise SystemExit(f"{version!r} is not a version such as 0.2.0, 0.2.0rc1 or 0.2.0.dev1")
    changed = []
    for package in packages():
        read_version(package)  # so that a file without the line is an error, not a silent no-op
        path = about_file(package)
        path.write_text(VERSION.sub(f'__version__ = "{version}"', path.read_text()))
        changed.append(path)
        project = package / "pyproject.toml"
        text = project.read_text()
        pinned = re.sub(r'"(aktis-[a-z]+)(\[[a-z,]+\])?==[^"]+"', rf'"\1\2=={version}"', text)
        if pinned != text:
            project.write_text(pinned)
            changed.append(project)
    changelog = root / "CHANGELOG.md"
    heading = f"## Unreleased\n\n## {version} ({today.isoformat()})\n"
    changelog.write_text(changelog.read_text().replace("## Unreleased\n", heading, 1))
    return [*changed, changelog]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version")
    for path in bump(parser.parse_args().version, datetime.date.today()):
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()

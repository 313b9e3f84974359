"""Type checkers see through ``@aktis.remote``: sample.py says what they should see."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


def expectations() -> dict[int, tuple[str, str]]:
    """Line number to ("is", type) or ("error", code)."""
    found = {}
    for number, line in enumerate((HERE / "sample.py").read_text().splitlines(), 1):
        match = re.search(r"# (is|error): (.+)$", line)
        if match:
            found[number] = (match[1], match[2])
    return found


def short(revealed: str) -> str:
    """The type without modules, as one writes it."""
    return re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", revealed)


@pytest.mark.timeout(120)
def test_sample(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    api = pytest.importorskip("mypy.api")
    monkeypatch.setenv("MYPYPATH", str(ROOT / "packages/core/src"))
    options = ["--strict", "--follow-imports=silent", "--namespace-packages", "--explicit-package-bases",
               "--hide-error-context", "--no-pretty", "--config-file=", f"--cache-dir={tmp_path}"]  # fmt: skip
    output, errors, _ = api.run([*options, str(HERE / "sample.py")])
    assert not errors
    seen: dict[int, tuple[str, str]] = {}
    for line in output.splitlines():
        match = re.match(r".*sample\.py:(\d+): (note|error): (.*)$", line)
        if not match:
            continue
        number, kind, text = int(match[1]), match[2], match[3]
        revealed = re.match(r'Revealed type is "(.*)"$', text)
        if revealed:
            seen[number] = ("is", short(revealed[1]))
        elif kind == "error":
            code = re.search(r"\[([\w-]+)\]$", text)
            seen[number] = ("error", code[1] if code else text)
    expected = expectations()
    differences = {n: (seen.get(n), expected.get(n)) for n in {*seen, *expected} if seen.get(n) != expected.get(n)}
    assert not differences, f"line: (seen, expected): {differences}"

"""The access log as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aktis.serve._observe.access_log import AccessLog
from aktis.serve._proxy.exchange import Exchange
from aktis.serve._proxy.routes import parse_target


def exchange(**values: Any) -> Exchange:
    ex = Exchange()
    ex.method, ex.target, ex.request_id, ex.status, ex.client = (
        "GET",
        parse_target(b"/a%0Ab?q"),
        "id",
        200,
        ("1.2.3.4", 5),
    )
    return ex


def test_a_line_of_text(tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path / "deep" / "access.log"))
    log.add(exchange(), 0.00123)
    assert (tmp_path / "deep" / "access.log").read_text() == ""
    log.flush()
    line = (tmp_path / "deep" / "access.log").read_text()
    assert line.endswith(" id 1.2.3.4 GET /a%0Ab 200 1.23ms 0B -\n")
    log.add(exchange(), 0.1)
    log.close()
    assert len((tmp_path / "deep" / "access.log").read_text().splitlines()) == 2


def test_files_are_rotated(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(str(path), most_bytes=100)
    for _ in range(12):
        log.add(exchange(), 0.1)
        log.flush()
    log.close()
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "access.log",
        "access.log.1",
        "access.log.2",
        "access.log.3",
    ]
    assert all(each.stat().st_size < 300 for each in tmp_path.iterdir())


def test_a_disk_that_is_full_costs_lines_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    (tmp_path / "access.log").symlink_to(full)
    log = AccessLog(str(tmp_path / "access.log"))
    log.add(exchange(), 0.1)
    log.flush()
    assert "cannot be written" in caplog.text
    log.close()

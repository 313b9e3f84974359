"""Who makes a page of a directory: found by entry points, by a file that is in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers.distributions import install

from aktis.air.reports import GROUP, find_writer
from aktis.air.result import Result

WRITER = """
def write(directory, output):
    target = output or directory / "report.html"
    target.write_text(f"a page of {directory.name}")
    return target
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "site"
    install(monkeypatch, folder, GROUP, {"made_by_a_test.jsonl": "writer_made_for_a_test:write"})
    (folder / "writer_made_for_a_test.py").write_text(WRITER)


def run_directory(tmp_path: Path) -> Path:
    directory = tmp_path / "run"
    directory.mkdir()
    (directory / "made_by_a_test.jsonl").touch()
    return directory


@pytest.mark.usefixtures("installed")
def test_a_writer_is_found_by_a_file_of_the_directory(tmp_path: Path) -> None:
    directory = run_directory(tmp_path)
    assert find_writer(tmp_path) is None
    writer = find_writer(directory)
    assert writer is not None and writer(directory, None).read_text() == "a page of run"


@pytest.mark.usefixtures("installed")
def test_a_result_writes_its_page(tmp_path: Path) -> None:
    result = Result(log_dir=run_directory(tmp_path))
    assert result.report_html() == tmp_path / "run" / "report.html"
    other = tmp_path / "other.html"
    assert result.report_html(str(other)) == other and other.read_text() == "a page of run"


def test_where_nobody_makes_a_page_the_error_says_who_would(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"aktis-train.*tune report"):
        Result(log_dir=tmp_path).report_html()
    with pytest.raises(ValueError, match="no directory"):
        Result().report_html()

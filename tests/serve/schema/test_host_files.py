"""Files that say where a service is, and URIs of code."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from aktis.serve import _settings, _state
from aktis.serve._uris import CodeNotFoundError, localized
from aktis.util.processes import started


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    chosen = tmp_path / "state"
    monkeypatch.setenv(_settings.STATE_DIR.full, str(chosen))
    return chosen


def _own(**changes: object) -> _state.HostState:
    state = _state.HostState(pid=os.getpid(), born=started(os.getpid()) or 0, rest="http://127.0.0.1:1")
    return replace(state, **changes)  # type: ignore[arg-type]


def test_only_processes_that_live_are_found(folder: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with child:
        _state.write_state(_own(pid=child.pid, born=started(child.pid), started=1.0))
        path = _state.write_state(_own(started=2.0))
        assert [state.pid for state in _state.living_hosts()] == [child.pid, os.getpid()]
        assert path.stat().st_mode & 0o777 == 0o600
        assert folder.stat().st_mode & 0o777 == 0o700
        child.communicate(b"\n")
    assert [state.pid for state in _state.living_hosts()] == [os.getpid()]
    assert [each.name for each in folder.iterdir()] == [path.name]


def test_another_process_with_the_same_number_is_not_believed(folder: Path) -> None:
    _state.write_state(_own(born=1))
    (folder / "9.json").write_text("{")
    (folder / "8.json").write_text(json.dumps({"pid": 1}))
    assert _state.living_hosts() == []


def test_a_directory_that_others_may_write_to_is_refused(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(_state.UnsafeDirectoryError, match="only this user can write to"):
        _state.living_hosts()


def test_uris_of_files(tmp_path: Path) -> None:
    code = tmp_path / "with space"
    code.mkdir()
    environment = {"working_dir": f"file://{tmp_path}/with%20space", "py_modules": ["pkg://abc"], "pip": ["x"]}
    assert localized(environment, tmp_path) == {**environment, "working_dir": str(code)}
    for uri, text in [
        (f"file://{tmp_path}/nothing", "does not exist"),
        ("file://relative/x", "must look like file:///"),
        ("s3://bucket/x.zip", "cannot be fetched, only https"),
        ("https://host/x.tar", "must end with .zip or .whl"),
    ]:
        with pytest.raises(CodeNotFoundError, match=text):
            localized({"working_dir": uri}, tmp_path)


def test_uris_of_archives_are_fetched(tmp_path: Path) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/code.zip" else 404)
            self.end_headers()
            self.wfile.write(b"archive")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        base = f"http://127.0.0.1:{server.server_port}"
        try:
            path = Path(localized({"py_modules": [f"{base}/code.zip"]}, tmp_path / "down")["py_modules"][0])
            with pytest.raises(CodeNotFoundError, match="404"):
                localized({"working_dir": f"{base}/other.zip"}, tmp_path / "down")
        finally:
            server.shutdown()
            thread.join()
    assert path.read_bytes() == b"archive"
    assert list(path.parent.iterdir()) == [path]

"""Copying to and from URIs: what is copied, when, and what is said when it fails."""

from __future__ import annotations

import os
import pickle
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from aktis.air import _transfer, storage
from aktis.air.checkpoint import Checkpoint
from aktis.air.config import SyncConfig
from aktis.air.exceptions import CheckpointNotFoundError, StorageError, StorageTimeoutError
from aktis.air.storage import FsspecSyncer, Syncer, get_node_to_storage_syncer


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    yield
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


@pytest.fixture(params=["memory", "file"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory://bucket/run" if request.param == "memory" else f"file://{tmp_path}/remote/run"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "local"
    (path / "sub" / "deep").mkdir(parents=True)
    (path / "a").write_text("a")
    (path / "sub" / "b").write_text("bb")
    (path / "sub" / "deep" / "c").write_text("ccc")
    return path


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are copied to URIs."""
    names: list[str] = []
    put = _transfer._put

    def recording(filesystem: Any, source: str, target: str) -> None:
        names.append(os.path.basename(source))
        put(filesystem, source, target)

    monkeypatch.setattr(_transfer, "_put", recording)
    return names


def files(path: Path) -> dict[str, str]:
    return {str(file.relative_to(path)): file.read_text() for file in sorted(path.rglob("*")) if file.is_file()}


def test_there_and_back(uri: str, directory: Path, tmp_path: Path) -> None:
    assert not storage.exists(uri)
    assert storage.list_files(uri) == {}
    storage.upload(directory, uri)
    assert storage.list_files(uri) == {"a": 1, "sub/b": 2, "sub/deep/c": 3}
    storage.download(uri, tmp_path / "back")
    assert files(tmp_path / "back") == files(directory)
    assert storage.delete(storage.join(uri, "sub"))
    assert storage.list_files(uri) == {"a": 1}
    assert storage.delete(uri)
    assert not storage.delete(uri)
    assert not storage.exists(uri)


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        (["sub"], {"a"}),
        (["sub/deep"], {"a", "sub/b"}),
        (["*/c"], {"a", "sub/b"}),
        (["b", "./a"], {"sub/deep/c"}),
        (["nothing*"], {"a", "sub/b", "sub/deep/c"}),
    ],
)
def test_what_is_left_out(exclude: list[str], left: set[str], uri: str, directory: Path, tmp_path: Path) -> None:
    storage.upload(directory, uri, exclude)
    assert set(storage.list_files(uri)) == left
    storage.upload(directory, uri)
    storage.download(uri, tmp_path / "back", exclude)
    assert set(files(tmp_path / "back")) == left


def test_only_what_changed_is_copied(
    uri: str, directory: Path, copied: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    syncer = FsspecSyncer()
    for change, names in (
        (lambda: None, ["a", "b", "c"]),
        (lambda: None, []),
        (lambda: (directory / "a").write_text("A"), ["a"]),
        (lambda: (directory / "new").write_text("new"), ["new"]),
        (lambda: (directory / "sub" / "b").unlink(), []),
    ):
        change()
        copied.clear()
        assert syncer.sync_up(str(directory), uri)
        syncer.wait()
        assert sorted(copied) == names
    # Another syncer, as after a restart, sees by size and time what is there.
    monkeypatch.setattr(_transfer, "CLOCK_SKEW_S", 0)
    copied.clear()
    (directory / "sub" / "deep" / "c").write_text("C")
    again = FsspecSyncer()
    again.sync_up(str(directory), uri)
    again.wait()
    assert copied == ["c"]


def test_a_file_in_the_place_of_another_is_copied(uri: str, directory: Path, copied: list[str]) -> None:
    (directory.parent / "other").write_text("x")
    first = FsspecSyncer()
    first.sync_up(str(directory), uri)
    first.wait()
    copied.clear()
    os.utime(directory.parent / "other", (0, 0))
    os.replace(directory.parent / "other", directory / "a")  # as old as can be, and of the same size
    second = FsspecSyncer()
    second.sync_up(str(directory), uri)
    second.wait()
    assert "a" in copied


def test_what_was_deleted_there_is_copied_again(uri: str, directory: Path, copied: list[str]) -> None:
    syncer = FsspecSyncer()
    for place, names in ((uri, ["a", "b", "c"]), (storage.join(uri, "sub"), ["b", "c"]), (storage.join(uri, "su"), [])):
        syncer.sync_up(str(directory), uri)
        syncer.wait()
        syncer.delete(place)
        syncer.wait()
        copied.clear()
        syncer.sync_up(str(directory), uri)
        syncer.wait()
        assert sorted(copied) == names


def test_in_doubt_it_looks_what_is_there(directory: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    syncer = FsspecSyncer()
    syncer.sync_up(str(directory), f"file://{target}")
    syncer.wait()
    before = files(target)
    shutil.rmtree(target)  # by somebody else
    syncer.sync_up(str(directory), f"file://{target}")
    syncer.wait()
    assert not target.exists() or files(target) != before
    syncer.doubt()
    syncer.sync_up(str(directory), f"file://{target}")
    syncer.wait()
    assert files(target) == before


def test_syncing_down(uri: str, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_transfer, "CLOCK_SKEW_S", 0)
    storage.upload(directory, uri)
    syncer = FsspecSyncer()
    back = tmp_path / "back"
    syncer.sync_down(uri, str(back), ["sub/deep"])
    syncer.wait()
    assert files(back) == {"a": "a", "sub/b": "bb"}
    downloaded: list[str] = []
    monkeypatch.setattr(_transfer, "download_file", lambda uri, name, target: downloaded.append(name))
    syncer.sync_down(uri, str(back))
    syncer.wait()
    assert downloaded == ["sub/deep/c"]


def test_what_says_that_a_checkpoint_is_whole_comes_last(directory: Path, copied: list[str]) -> None:
    Checkpoint.from_dict({"a": 1}).to_directory(directory / "checkpoint_1")
    (directory / ".half.x.tmp").write_text("being written")
    storage.upload(directory, "memory://bucket/run")
    assert copied[-1] == "checkpoint.json"
    assert ".half.x.tmp" not in copied
    assert Checkpoint.from_uri("memory://bucket/run/checkpoint_1").to_dict() == {"a": 1}


class Blocked:
    """Holds up whatever is copied until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()
        put = _transfer._put

        def blocking(filesystem: Any, source: str, target: str) -> None:
            self.begun.set()
            assert self.go.wait(30)
            put(filesystem, source, target)

        monkeypatch.setattr(_transfer, "_put", blocking)


def test_one_thing_at_a_time(
    directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = Blocked(monkeypatch)
    syncer = FsspecSyncer()
    assert syncer.sync_up(str(directory), "memory://bucket/run")
    assert blocked.begun.wait(30)
    assert not syncer.sync_up(str(directory), "memory://bucket/run")
    assert not syncer.delete("memory://bucket/run")
    assert "still under way" in caplog.text
    blocked.go.set()
    syncer.wait()
    assert len(storage.list_files("memory://bucket/run")) == 3
    syncer.wait()  # nothing is under way: nothing to wait for


def test_what_takes_too_long_is_given_up(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = Blocked(monkeypatch)
    syncer = FsspecSyncer(sync_timeout=0)
    syncer.sync_up(str(directory), "memory://bucket/run")
    transfer = syncer._transfer
    assert transfer is not None
    with pytest.raises(StorageTimeoutError, match=r"memory://bucket/run took longer than 0 s.*sync_timeout"):
        syncer.wait()
    blocked.go.set()
    assert transfer.done.wait(30)
    # It ends with the files that were begun, and is not believed: the next one copies what is not there.
    syncer.sync_timeout = 30
    syncer.sync_up(str(directory), "memory://bucket/run")
    syncer.wait()
    assert len(storage.list_files("memory://bucket/run")) == 3


def test_a_new_transfer_takes_the_place_of_one_that_is_too_slow(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = Blocked(monkeypatch)
    syncer = FsspecSyncer(sync_timeout=0)
    assert syncer.sync_up(str(directory), "memory://bucket/run")
    assert blocked.begun.wait(30)
    assert syncer.sync_up(str(directory), "memory://bucket/run")
    syncer.sync_timeout = 30
    blocked.go.set()
    syncer.wait()


def failing(monkeypatch: pytest.MonkeyPatch, times: int) -> list[int]:
    calls: list[int] = []
    put = _transfer._put

    def fail(filesystem: Any, source: str, target: str) -> None:
        if source.endswith("b"):
            calls.append(1)
            if len(calls) <= times:
                raise ConnectionError("the line is dead")
        put(filesystem, source, target)

    monkeypatch.setattr(_transfer, "_put", fail)
    return calls


def test_errors_name_the_file_and_the_uri(uri: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, 1)
    syncer = FsspecSyncer()
    syncer.sync_up(str(directory), uri)
    with pytest.raises(
        StorageError, match=rf"copying {directory}/sub/b to {uri} failed: ConnectionError: the line is dead"
    ):
        syncer.wait()
    syncer.wait()
    syncer.sync_up(str(directory), uri)
    syncer.wait()
    assert "sub/b" in storage.list_files(uri)


def test_retrying(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = failing(monkeypatch, 2)
    syncer = FsspecSyncer()
    with pytest.raises(StorageError, match="no transfer was started"):
        syncer.retry()
    syncer.sync_up(str(directory), "memory://bucket/run")
    syncer.wait_or_retry(max_retries=3, backoff_s=0)
    assert len(calls) == 3
    assert "sub/b" in storage.list_files("memory://bucket/run")
    failing(monkeypatch, 99)
    (directory / "sub" / "b").write_text("new")
    syncer.sync_up(str(directory), "memory://bucket/run")
    with pytest.raises(StorageError, match="failed 2 times, at last: copying .*sub/b"):
        syncer.wait_or_retry(max_retries=2, backoff_s=0)
    with pytest.raises(ValueError, match="not 0"):
        syncer.wait_or_retry(max_retries=0)


def test_periods(directory: Path, tmp_path: Path) -> None:
    now = 100.0

    class Clocked(FsspecSyncer):
        def _now(self) -> float:
            return now

    syncer = Clocked(sync_period=10)
    assert syncer.sync_up_if_needed(str(directory), "memory://bucket/run")
    syncer.wait()
    now = 109.0
    assert not syncer.sync_up_if_needed(str(directory), "memory://bucket/run")
    assert syncer.sync_down_if_needed("memory://bucket/run", str(tmp_path / "back"))
    syncer.wait()
    assert not syncer.sync_down_if_needed("memory://bucket/run", str(tmp_path / "back"))
    now = 110.0
    assert syncer.sync_up_if_needed(str(directory), "memory://bucket/run")
    syncer.wait()
    syncer.reset()
    assert syncer.sync_up_if_needed(str(directory), "memory://bucket/run")
    syncer.wait()


def test_syncers_are_pickled_without_what_is_under_way(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = Blocked(monkeypatch)
    syncer = FsspecSyncer(sync_period=7)
    syncer.sync_up(str(directory), "memory://bucket/run")
    copy = pickle.loads(pickle.dumps(syncer))
    blocked.go.set()
    syncer.wait()
    assert copy.sync_period == 7
    copy.wait()
    syncer.close()


def test_misuse(tmp_path: Path, directory: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no directory"):
        storage.upload(tmp_path / "nowhere", "memory://bucket/run")
    with pytest.raises(CheckpointNotFoundError, match="nothing at memory://bucket/nowhere"):
        storage.download("memory://bucket/nowhere", tmp_path / "x")
    for function in (storage.exists, storage.list_files, storage.delete, storage.check_uri):
        with pytest.raises(ValueError, match="must be a URI"):
            function("/a/path")
        with pytest.raises(ValueError, match="scheme that fsspec does not know"):
            function("nonsense://x")


class Mine(Syncer):
    def sync_up(self, local_dir: str, remote_dir: str, exclude: list[str] | None = None) -> bool:
        return True

    def sync_down(self, remote_dir: str, local_dir: str, exclude: list[str] | None = None) -> bool:
        return True

    def delete(self, remote_dir: str) -> bool:
        return True


class TestWhich:
    def test_what_the_configuration_says(self) -> None:
        assert get_node_to_storage_syncer(SyncConfig()) is None
        assert get_node_to_storage_syncer(SyncConfig(syncer=None)) is None
        syncer = get_node_to_storage_syncer(SyncConfig(upload_dir="memory://x", sync_period=7, sync_timeout=8))
        assert isinstance(syncer, FsspecSyncer)
        assert (syncer.sync_period, syncer.sync_timeout) == (7, 8)
        assert get_node_to_storage_syncer(SyncConfig(), "file:///tmp/x") is not None
        mine = Mine()
        assert get_node_to_storage_syncer(SyncConfig(upload_dir="what://ever", syncer=mine)) is mine

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: get_node_to_storage_syncer(SyncConfig(syncer=None), "memory://x"), "syncer=None forbids"),
            (lambda: get_node_to_storage_syncer(SyncConfig(syncer=Mine())), "nowhere to copy to"),
            (lambda: get_node_to_storage_syncer(SyncConfig(syncer=3), "memory://x"), "not 3"),  # type: ignore[arg-type]
            (lambda: get_node_to_storage_syncer(SyncConfig(upload_dir="nonsense://x")), "fsspec does not know"),
            (lambda: get_node_to_storage_syncer(SyncConfig(upload_dir="/a/path")), "upload_dir must be a URI"),
        ],
    )
    def test_what_makes_no_sense(self, make: Callable[[], Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            make()

    def test_a_syncer_that_cannot_retry_says_so(self) -> None:
        mine = Mine()
        mine.wait()
        with pytest.raises(NotImplementedError, match=r"define retry\(\)"):
            mine.retry()


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/a/b", "/a/b"),
        ("file:///a/b", "/a/b"),
        ("file:///a%20b", "/a b"),
        ("file://localhost/a", "/a"),
        ("local:///a", "/a"),
        ("~", os.path.expanduser("~")),
        ("s3://a/b", None),
        ("memory://a", None),
    ],
)
def test_what_is_local(text: str, path: str | None) -> None:
    assert storage.local_path(text) == path


def test_parts_of_uris() -> None:
    assert storage.join("s3://a/b/?endpoint_override=x", "c", "/d/") == "s3://a/b/c/d?endpoint_override=x"
    assert storage.join("/a/", "b") == "/a/b"
    assert storage.is_uri("s3://a")
    assert not storage.is_uri("/a://b")
    assert storage.local_path(storage.file_uri("/a b/ü")) == "/a b/ü"


def test_the_query_of_an_s3_uri_is_understood() -> None:
    assert _transfer._options(
        "s3", "endpoint_override=localhost:9000&scheme=http&region=eu&anonymous=true&access_key=k"
    ) == {
        "endpoint_url": "http://localhost:9000",
        "client_kwargs": {"region_name": "eu"},
        "anon": True,
        "key": "k",
    }
    assert _transfer._options("memory", "") == {}


def test_where_runs_go_that_name_no_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AKTIS_RESULTS_DIR", "TUNE_RESULT_DIR", "TEST_TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert storage.default_results_dir() == str(tmp_path / "aktis_results")
    monkeypatch.setenv("TUNE_RESULT_DIR", str(tmp_path / "old"))
    assert storage.default_results_dir() == str(tmp_path / "old")
    monkeypatch.setenv("AKTIS_RESULTS_DIR", "~/mine")
    assert storage.default_results_dir() == str(tmp_path / "mine")


def test_a_change_of_a_file_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").write_text("1")
    (tmp_path / "two").write_text("22")
    (tmp_path / ".half.tmp").write_text("on its way")
    before = storage.file_states(tmp_path, [".*.tmp"])
    assert {path: size for path, (size, _) in before.items()} == {"a/one": 1, "two": 2}
    assert set(storage.file_states(tmp_path)) == {"a/one", "two", ".half.tmp"}
    assert set(storage.file_states(tmp_path, exclude=["a/*", ".*.tmp"])) == {"two"}
    assert storage.file_states(tmp_path, [".*.tmp"]) == before
    os.utime(tmp_path / "two", ns=(1, 1))
    after = storage.file_states(tmp_path, [".*.tmp"])
    assert {path for path in after if after[path] != before[path]} == {"two"}
    assert storage.file_states(tmp_path / "nowhere") == {}

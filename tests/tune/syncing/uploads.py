"""What the tests of uploads share: a trainable, a syncer of one's own, and a way to look at what is at a URI."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Any

from aktis.air import Checkpoint, session, storage
from aktis.air.storage import Syncer

STEPS = 6
IGNORED = (".lock", ".downloaded.json", "experiment.sqlite-wal", "experiment.sqlite-shm")


def train(config: dict[str, Any]) -> None:
    """Counts to STEPS with a checkpoint each time; fails once on the way where it is told to."""
    found = session.get_checkpoint()
    start = found.to_dict()["step"] + 1 if found is not None else 0
    for step in range(start, STEPS):
        if step == config.get("fails_at") and not start:
            raise RuntimeError("as it was told to")
        session.report({"step": step, "started_at": start}, checkpoint=Checkpoint.from_dict({"step": step}))


def remote_files(uri: str) -> dict[str, int]:
    """Paths and sizes at a URI, without the journal, whose size says nothing."""
    return {name: size for name, size in storage.list_files(uri).items() if not name.startswith("experiment.sqlite")}


def local_files(directory: Path) -> dict[str, int]:
    """The same of a directory here, without what is not uploaded."""
    found = {str(path.relative_to(directory)): path.stat().st_size for path in directory.rglob("*") if path.is_file()}
    return {name: size for name, size in found.items() if name not in IGNORED and name != "experiment.sqlite"}


class FolderSyncer(Syncer):
    """Copies to a folder, in the caller's thread, and writes down what it was asked for.

    ``before_up`` is called before each copy: it may wait, or raise.
    """

    def __init__(self, root: str) -> None:
        super().__init__()
        self.root = root
        self.calls: list[str] = []
        self.before_up: Any = None

    def _place(self, uri: str) -> str:
        return os.path.join(self.root, uri.removeprefix("mine://"))

    def sync_up(self, local_dir: str, remote_dir: str, exclude: list[str] | None = None) -> bool:
        self.calls.append(f"up {os.path.basename(local_dir)}")
        if self.before_up is not None:
            self.before_up(local_dir)
        ignore = shutil.ignore_patterns(*(exclude or ()))
        try:
            shutil.copytree(local_dir, self._place(remote_dir), dirs_exist_ok=True, ignore=ignore)
        except shutil.Error as error:
            if any(os.path.exists(source) for source, _, _ in error.args[0]):
                raise  # else it vanished while it was copied
        return True

    def sync_down(self, remote_dir: str, local_dir: str, exclude: list[str] | None = None) -> bool:
        self.calls.append(f"down {os.path.basename(remote_dir)}")
        if not os.path.isdir(self._place(remote_dir)):
            raise FileNotFoundError(remote_dir)
        shutil.copytree(self._place(remote_dir), local_dir, dirs_exist_ok=True)
        return True

    def delete(self, remote_dir: str) -> bool:
        self.calls.append(f"delete {os.path.basename(remote_dir)}")
        shutil.rmtree(self._place(remote_dir), ignore_errors=True)
        return True


class Gate:
    """Holds up a copy until it is let through."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()

    def __call__(self, local_dir: str) -> None:
        self.reached.set()
        assert self.open.wait(30)

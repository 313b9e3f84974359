"""How a session begins and what it leaves behind, without importing much."""

from __future__ import annotations

import json
import os
import socket
import time

FACTS = "session.json"
KEEP_ENDED = 20
"""Newest sessions that are left alone: their logs may still be of interest."""
STARTING = 60.0
"""Seconds that a session without a socket may be one that is just starting."""


def zygote_code(paths: list[str]) -> str:
    """What an interpreter runs to become a zygote.

    Without the current directory, whose modules might hide those of the library; and we come last on the import path, after
    the packages of the environment that the interpreter belongs to.
    """
    library = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return (
        "import sys; sys.path[0] or sys.path.pop(0); "
        f"sys.path += [path for path in {[library, *paths]!r} if path not in sys.path]; "
        "from aktis._node.zygote import main; main()"
    )


def remove_tree(path: str) -> None:
    """Remove a directory and all in it; what is gone already, or is not ours, is passed over."""
    try:
        entries = list(os.scandir(path))
    except OSError:
        return
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                remove_tree(entry.path)
            else:
                os.unlink(entry.path)
        except OSError:
            continue
    try:
        os.rmdir(path)
    except OSError:
        pass


def remove_session(session_dir: str, store_dir: str, spill_dir: str = "") -> None:
    """Remove a session's sockets, shared memory and spilled objects. Its logs stay."""
    for path in (store_dir, spill_dir):
        if path:
            remove_tree(path)
    try:
        entries = list(os.scandir(session_dir))
    except OSError:
        return
    for entry in entries:
        if entry.name.endswith(".sock"):
            try:
                os.unlink(entry.path)
            except OSError:
                continue


def write_facts(session_dir: str, store_dir: str, spill_dir: str) -> None:
    """Note where a session keeps what, for :func:`prune_sessions` of a later one."""
    with open(os.path.join(session_dir, FACTS), "w") as file:
        json.dump({"store_dir": store_dir, "spill_dir": spill_dir}, file)


def prune_sessions(base: str, keep: int = KEEP_ENDED, most: int = 100) -> None:
    """Remove what sessions left whose processes were all killed at once, and the logs of all but the last few.

    At most ``most`` at a time, the oldest: somebody may be waiting for us.
    """
    try:
        names = sorted(name for name in os.listdir(base) if name.startswith("session_2"))
    except OSError:
        return
    for name in names[: max(0, len(names) - keep)][:most]:
        path = os.path.join(base, name)
        try:
            if os.path.islink(path) or os.stat(path).st_uid != os.getuid():
                continue
            sock = os.path.join(path, "node.sock")
            if os.path.exists(sock):
                if _answers(sock):
                    continue
            elif time.time() - os.stat(path).st_mtime < STARTING:
                continue
            with open(os.path.join(path, FACTS)) as file:
                facts = json.load(file)
            remove_session(path, facts["store_dir"], facts["spill_dir"])
        except (OSError, ValueError, KeyError):
            pass
        remove_tree(path)


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.setblocking(False)
        try:
            sock.connect(path)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return True


def name_process(name: str) -> None:
    """What ``top`` and ``ps -o comm`` show: 15 characters at most."""
    try:
        with open("/proc/self/comm", "w") as file:
            file.write(name[:15])
    except OSError:  # not Linux
        pass

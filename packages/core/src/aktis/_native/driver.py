"""A driver's way into a session: start a node, or find one; then the same engine as in workers."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING, Any

from aktis import exceptions
from aktis._native import output
from aktis._native import protocol as op
from aktis._native.core import Core
from aktis._native.engine import NativeEngine
from aktis._native.interrupts import guard
from aktis._native.pump import Waiter
from aktis._native.stores import open_store
from aktis._node.launch import NodeHandle, NodeOptions, NodeStartError, find_session, start_node

if TYPE_CHECKING:
    from aktis._native.connection import Connection, Message
    from aktis._settings import InitSettings

UNIT = 10_000
WELCOME_TIMEOUT = 30.0  # seconds; a node answers in milliseconds, unless the machine is swapping


def connect(settings: InitSettings) -> NativeEngine:
    """Start a session on this machine, or join the one at ``settings.address``."""
    raise_descriptor_limit()
    handle: NodeHandle | None = None
    if settings.address is None:
        try:
            handle = start_node(node_options(settings))
        except NodeStartError as error:
            raise exceptions.AktisSystemError(str(error)) from error
        address, session_dir = handle.address, handle.session_dir
    else:
        address = find_session(settings.address)
        session_dir = os.path.dirname(address.removeprefix("unix:"))
    try:
        return _join(settings, address, session_dir, handle)
    except BaseException:
        if handle is not None:
            handle.close()
        raise


def node_options(settings: InitSettings) -> NodeOptions:
    return NodeOptions(
        num_cpus=None if settings.num_cpus is None else settings.num_cpus / UNIT,
        num_gpus=None if settings.num_gpus is None else settings.num_gpus / UNIT,
        resources={name: amount / UNIT for name, amount in settings.resources.items()},
        memory=None if settings.memory is None else settings.memory // UNIT,
        object_store_memory=settings.object_store_memory,
        labels=settings.labels,
        preload=settings.preload,
        temp_dir=settings.temp_dir,
        store_dir=settings.store_dir,
        spill_dir=settings.spill_dir,
        config={"memory_limit": settings.memory_limit} if settings.memory_limit else {},
    )


def _join(settings: InitSettings, address: str, session_dir: str, handle: NodeHandle | None) -> NativeEngine:
    job_env = job_environment(settings, session_dir)
    core = Core("driver", session_dir)
    welcome: list[Message] = []
    waiter = Waiter()

    def greeted(_: Connection, message: Message) -> None:
        welcome.append(message)
        core.pump.wake_waiter(waiter)

    core.handlers[op.WELCOME] = core.handlers[op.REFUSED] = greeted
    core.handlers[op.LOG] = output.on_log
    core.handlers[op.NOTICE] = output.on_notice
    core.on_node_lost = lambda: core.pump.wake_waiter(waiter)
    core.listen()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(address.removeprefix("unix:"))
    except OSError as error:
        sock.close()
        core.close()
        raise ConnectionError(f"The session at {address} does not answer ({error.strerror}): it has ended.") from error
    core.attach_node(sock, hello(settings, job_env))
    core.pump.start()
    core.pump.wait(waiter, WELCOME_TIMEOUT)
    if not welcome or welcome[0][0] == op.REFUSED:
        core.close()
        why = welcome[0][1] if welcome else "it did not answer"
        raise ConnectionError(f"The session at {address} refused this driver: {why}.")
    info: dict[str, Any] = welcome[0][1]
    facts = {
        "node_id": info["node_id"],
        "worker_id": core.process_id + bytes(8),
        "job_id": info["job_id"],
        "session_name": info["session_name"],
        "session_dir": info["session_dir"],
        "namespace": info["namespace"],
        "runtime_env": job_env,
        "address": info["address"],
    }
    core.info = {"cpus": int(info["resources"].get("CPU", 1)) or 1}
    limits = {
        "spill_dir": info["spill_dir"],
        "object_store_memory": int(info["resources"].get("object_store_memory", 1 << 30)),
    }
    core.store = open_store(core, info["store_dir"], limits)
    engine = NativeEngine(core, facts)
    core.handlers[op.EXIT] = lambda _connection, message: core.node.close() if core.node is not None else None
    if handle is not None:
        engine.stop_session = handle.close
    guard.install()
    return engine


def hello(settings: InitSettings, job_env: str) -> dict[str, Any]:
    """What the node and the workers must know about this job."""
    path = [os.path.abspath(entry) if entry else os.getcwd() for entry in sys.path]
    main = sys.modules.get("__main__")
    script = getattr(main, "__file__", None)
    if script:
        directory = os.path.dirname(os.path.abspath(script))
        if directory not in path:
            path.insert(0, directory)
    return {
        "sys_path": path,
        "cwd": os.getcwd(),
        "namespace": settings.namespace,
        "runtime_env": job_env,
        "log_to_driver": settings.log_to_driver,
        "log_colour": sys.stdout is not None and sys.stdout.isatty(),
        "entrypoint": " ".join(sys.argv),
        "pid": os.getpid(),
        "hooks": [list(hook) for hook in settings.worker_hooks],
    }


def job_environment(settings: InitSettings, session_dir: str) -> str:
    """The job's runtime environment as canonical text, local directories packaged."""
    if not settings.runtime_env:
        return ""
    from aktis import _runtime_env

    return _runtime_env.canonical_json(settings.runtime_env, session_dir)


def raise_descriptor_limit() -> None:
    """Every mapped object and every worker costs a descriptor; the soft limit is often 1,024."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 65_536
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):
            pass

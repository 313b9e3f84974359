"""A worker process, from the fork on."""

from __future__ import annotations

import atexit
import os
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

from aktis import _config, _session
from aktis._native import protocol as op
from aktis._native import stdio
from aktis._native.actor_host import ActorHost
from aktis._native.call_log import CallLog
from aktis._native.core import Core
from aktis._native.engine import NativeEngine
from aktis._native.executor import Executor, current
from aktis._native.stores import open_store
from aktis._node.files import name_process

if TYPE_CHECKING:
    from aktis._native.connection import Connection, Message
    from aktis._node.worker_config import WorkerConfig


def run(config: WorkerConfig) -> None:
    """Serve until the node or the work says to leave. Returns the way a process does: not at all."""
    name_process("aktis-worker")
    core = Core("worker", config.session_dir, config.process_id)
    facts: dict[str, Any] = {
        "node_id": config.node_id,
        "worker_id": config.worker_id,
        "job_id": config.job_id,
        "session_name": config.session_name,
        "session_dir": config.session_dir,
        "namespace": config.namespace,
        "runtime_env": config.runtime_env,
        "address": config.node_address,
    }
    core.info = dict(config.limits)
    engine = NativeEngine(core, facts)
    executor = engine.executor = Executor(core, CallLog(core, config.worker_id, config.job_id), engine.cancel_record)
    core.store = open_store(core, config.store_dir, config.limits)
    _wire(engine, executor, config)
    stdio.install(executor.speaker)
    _session.attach(engine)
    core.listen()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(config.node_address.removeprefix("unix:"))
    core.attach_node(sock, {"worker_id": config.worker_id})
    core.pump.start()
    code = 0
    try:
        executor.run()
    except SystemExit:
        code = 1
    finally:
        _leave(engine, executor, code)


def _wire(engine: NativeEngine, executor: Executor, config: WorkerConfig) -> None:
    core = engine.core
    main_thread = threading.main_thread()

    def become_actor(_: Connection, message: Message) -> None:
        _op, spec, epoch, resources, accelerators = message
        engine.facts["actor_group"] = spec.options.get("group")
        engine.facts["actor_accelerators"] = accelerators
        _apply_lease(engine, resources, accelerators)
        host = ActorHost(executor, spec, epoch)
        executor.host = host
        executor.log.actor_id = host.actor_id.hex()
        name_process(f"aktis:{spec.class_name.rpartition('.')[2]}")
        executor.push(None, host.start)

    def terminate(_: Connection, message: Message) -> None:
        if executor.host is not None:
            executor.host.terminate()

    def leave(_: Connection, message: Message) -> None:
        os._exit(0)

    def node_lost() -> None:
        os._exit(1)

    def blocked(begins: bool) -> None:
        """The main thread's call waits: its CPUs are free, and calls behind it must not wait with it."""
        acts = threading.current_thread() is main_thread or getattr(core.acting, "main", False)
        if not acts or core.node is None:
            return
        core.node.send_now((op.BLOCKED,) if begins else (op.UNBLOCKED,))
        if begins:
            executor.flush_results()
            executor.give_back(None, 1 << 30)

    def track(record: Any) -> None:
        call = current.get()
        if call is not None:
            call.note_child(record)

    core.handlers[op.ACTOR_START] = become_actor
    core.handlers[op.ACTOR_TERMINATE] = terminate
    core.handlers[op.EXIT] = leave
    core.on_node_lost = node_lost
    core.on_blocked = blocked
    engine.tasks.track = track
    executor.on_lease = lambda lease: _apply_lease(engine, lease[1], lease[2])


def _apply_lease(engine: NativeEngine, resources: dict[str, int], accelerators: dict[str, Any]) -> None:
    """What a lease's resources mean for the process: visible GPUs, threads of numeric libraries."""
    from aktis._runtime_env.apply import thread_variables

    gpus = accelerators.get("GPU")
    if gpus and not _config.read("NOSET_CUDA_VISIBLE_DEVICES"):
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(str(gpu) for gpu in gpus)
    given = engine.facts.setdefault("thread_variables", {})
    for name in given:
        os.environ.pop(name, None)
    new = thread_variables(resources, os.environ)
    engine.facts["thread_variables"] = new
    os.environ.update(new)


def _leave(engine: NativeEngine, executor: Executor, code: int) -> None:
    core = engine.core
    reason = executor.leaving or "it is no longer needed"
    try:
        executor.flush_results()
        executor.log.push()
        if core.node is not None and executor.host is None:
            core.node.send_now((op.WORKER_EXITING, reason))
        core.drain_output()
        os.nice(10)  # nobody waits for the rest, and taking down a process with large libraries costs milliseconds
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)

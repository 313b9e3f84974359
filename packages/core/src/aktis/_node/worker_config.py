"""What a freshly forked worker is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """Everything a worker knows before it connects to its node.

    The zygote has applied all that concerns the process (environment, import path, directory, log files, setup hook) when
    ``aktis._native.worker.run`` gets this.
    """

    session_name: str
    session_dir: str
    store_dir: str
    node_address: str  # "unix:<path>"
    node_id: bytes
    worker_id: bytes  # 16 random bytes
    process_id: bytes  # the first 8 of them; names the worker's own socket, p-<hex>.sock
    job_id: bytes
    namespace: str = ""
    runtime_env: str = ""  # canonical JSON; what get_runtime_context() reports
    sys_path: tuple[str, ...] = ()
    cwd: str = ""
    hooks: tuple[
        tuple[str, ...], ...
    ] = ()  # (module, argument): module.start_worker(argument) is called before all else
    env_vars: dict[str, str] = field(default_factory=dict)  # of the job, under those of the runtime environment
    prepared: Any = None  # aktis._runtime_env.PreparedEnv, when the runtime environment needs more than env_vars
    stdout_path: str = ""
    stderr_path: str = ""
    limits: dict[str, Any] = field(default_factory=dict)  # the session's configuration, as in WELCOME

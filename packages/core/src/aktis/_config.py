"""Every environment variable that core reads, in one table.

Nothing else in it reads ``AKTIS_*`` from the environment. Variables are read when they are needed, not at import,
so a program may set them before :func:`aktis.init`. ``python -m aktis._config`` prints the table.
"""

from __future__ import annotations

from typing import Any

from aktis._variables import Variable, flag, names, size

_TABLE = (
    Variable("ADDRESS", str, None, "address that init() uses when it gets none, or 'auto'"),
    Variable("NAMESPACE", str, None, "namespace of the driver when init() gets none"),
    Variable("MODE", str, None, "engine that init() starts when it gets no mode: native, inline or ray"),
    Variable("NUM_CPUS", float, None, "CPUs of the node when init() gets none (default: those this process may use)"),
    Variable("TEMP_DIR", str, None, "where session directories are made (default: a folder 'aktis' in the system's)"),
    Variable("STORE_DIR", str, None, "where shared-memory segments are made (default: /dev/shm)"),
    Variable("SPILL_DIR", str, None, "where objects go when the store is full (default: in the session directory)"),
    Variable("OBJECT_STORE_MEMORY", size, None, "size of the object store when init() gets none"),
    Variable("TASK_MAX_RETRIES", int, 3, "max_retries of tasks that do not say"),
    Variable("LOG_TO_DRIVER", flag, True, "print what workers print on the driver's terminal"),
    Variable("DEDUP_LOGS", flag, True, "print a line that many workers print only once, with a count"),
    Variable("DEDUP_LOGS_WINDOW", float, 5.0, "seconds in which equal lines are put together"),
    Variable("LOG_FILE_BYTES", size, 100 << 20, "a worker's log file is rotated at this size"),
    Variable("LOG_FILE_BACKUPS", int, 2, "how many rotated log files are kept"),
    Variable(
        "MEMORY_LIMIT", size, None, "memory that the session may use before tasks are killed (default: the machine's)"
    ),
    Variable("MEMORY_THRESHOLD", float, 0.95, "share of the memory limit at which the newest retriable task is killed"),
    Variable("MEMORY_MONITOR_INTERVAL", float, 0.25, "seconds between two looks at memory; 0 switches the monitor off"),
    Variable("TASK_OOM_RETRIES", int, -1, "retries of a task that the memory monitor killed (-1: without end)"),
    Variable("EXPLAIN_AFTER", float, 10.0, "a get() that waits this many seconds logs why; 0 switches it off"),
    Variable(
        "PRELOAD", names, (), "modules, with commas between them, that workers are forked with, beside those of init()"
    ),
    Variable("MAX_WORKERS", int, None, "upper limit of worker processes of a node"),
    Variable("IDLE_WORKER_TIMEOUT", float, 60.0, "seconds after which a worker that has nothing to do is ended"),
    Variable(
        "SPARE_WORKER_TIMEOUT",
        float,
        3.0,
        "seconds until a worker that was started ahead, for a further actor, is ended",
    ),
    Variable("ENV_CACHE", str, None, "folder of cached pip environments (default: ~/.cache/aktis/envs)"),
    Variable("ENV_CACHE_BYTES", size, 10 << 30, "size at which the longest unused pip environments are deleted"),
    Variable("MAX_PACKAGE_BYTES", size, 512 << 20, "largest working_dir or module that is shipped to workers"),
    Variable("PACKAGE_STORAGE_BYTES", size, 10 << 30, "size at which unused packages of a session are deleted"),
    Variable("RUNTIME_ENV_IGNORE_GITIGNORE", flag, False, "ship what .gitignore files exclude, too"),
    Variable("NOSET_CUDA_VISIBLE_DEVICES", flag, False, "leave CUDA_VISIBLE_DEVICES of workers alone"),
    Variable("METRICS_PORT", int, None, "port of util.metrics.start_http_exporter() (default: any free one)"),
    Variable("SPIN_MICROSECONDS", float, 80.0, "how long who waits looks for messages before it sleeps; 0: it sleeps"),
)

VARIABLES: dict[str, Variable] = {variable.name: variable for variable in _TABLE}


def read(name: str) -> Any:
    """The value of ``AKTIS_<name>``, or its default. ``name`` must stand in the table."""
    return VARIABLES[name].read()


def describe() -> str:
    """The table as text, for people."""
    lines = []
    for variable in _TABLE:
        default = "" if variable.default is None else f" [{variable.default}]"
        lines.append(f"AKTIS_{variable.name:<26} {variable.meaning}{default}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(describe())

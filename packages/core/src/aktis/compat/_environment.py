"""``RAY_*`` variables: given to Aktis where it has the same setting, and named in one warning where it has not."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, MutableMapping

__all__ = ["HONOURED", "POINTLESS", "translate"]


def _same(text: str) -> str:
    return text


def _milliseconds(text: str) -> str:
    return repr(float(text) / 1000)


def _spill_directory(text: str) -> str:
    """The directory in Ray's JSON (``{"type": "filesystem", "params": {"directory_path": ...}}``)."""
    path = json.loads(text)["params"]["directory_path"]
    return str(path[0] if isinstance(path, list) else path)


# Ray's variable -> ours, and how its value is written here.
HONOURED: dict[str, tuple[str, Callable[[str], str]]] = {
    "RAY_ADDRESS": ("AKTIS_ADDRESS", _same),
    "RAY_NAMESPACE": ("AKTIS_NAMESPACE", _same),
    "RAY_TMPDIR": ("AKTIS_TEMP_DIR", _same),
    "RAY_DEDUP_LOGS": ("AKTIS_DEDUP_LOGS", _same),
    "RAY_DEDUP_LOGS_AGG_WINDOW_S": ("AKTIS_DEDUP_LOGS_WINDOW", _same),
    "RAY_ROTATION_MAX_BYTES": ("AKTIS_LOG_FILE_BYTES", _same),
    "RAY_ROTATION_BACKUP_COUNT": ("AKTIS_LOG_FILE_BACKUPS", _same),
    "RAY_memory_usage_threshold": ("AKTIS_MEMORY_THRESHOLD", _same),
    "RAY_memory_usage_threshold_fraction": ("AKTIS_MEMORY_THRESHOLD", _same),
    "RAY_memory_monitor_refresh_ms": ("AKTIS_MEMORY_MONITOR_INTERVAL", _milliseconds),
    "RAY_memory_monitor_interval_ms": ("AKTIS_MEMORY_MONITOR_INTERVAL", _milliseconds),
    "RAY_task_oom_retries": ("AKTIS_TASK_OOM_RETRIES", _same),
    "RAY_TASK_MAX_RETRIES": ("AKTIS_TASK_MAX_RETRIES", _same),
    "RAY_RUNTIME_ENV_IGNORE_GITIGNORE": ("AKTIS_RUNTIME_ENV_IGNORE_GITIGNORE", _same),
    "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": ("AKTIS_NOSET_CUDA_VISIBLE_DEVICES", _same),
    "RAY_object_spilling_config": ("AKTIS_SPILL_DIR", _spill_directory),
    "RAY_AIR_LOCAL_CACHE_DIR": ("AKTIS_RESULTS_DIR", _same),
}

# What they ask for is so in Aktis anyway, or there is nothing that could be asked: no word about them.
POINTLESS = frozenset(
    {
        "RAY_USAGE_STATS_ENABLED", "RAY_DISABLE_IMPORT_WARNING", "RAY_DISABLE_DASHBOARD_LOG_INFO", "RAY_IGNORE_UNHANDLED_ERRORS",
        "RAY_IGNORE_VENV_MISMATCH", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "RAY_DISABLE_PYARROW_VERSION_CHECK", "RAY_ML_DEV",
        "RAY_ENABLE_MAC_LARGE_OBJECT_STORE", "RAY_OBJECT_STORE_ALLOW_SLOW_STORAGE", "RAY_DISABLE_MEMORY_MONITOR_WARNING",
        "RAY_WARN_BLOCKING_GET_INSIDE_ASYNC", "RAY_LOG_TO_STDERR", "RAY_COLOR_PREFIX", "RAY_VERBOSE_SPILL_LOGS",
        "RAY_CHDIR_TO_TRIAL_DIR",
    }
)  # fmt: skip

_told: set[str] = set()  # named in a warning already


def translate(environ: MutableMapping[str, str] | None = None) -> list[str]:
    """Set the ``AKTIS_*`` variables that ``RAY_*`` variables ask for, unless they are set; warn once about the others.

    Called when the alias is installed, and again by every ``init()``, as scripts set variables just before it.

    Returns:
        The names without effect, sorted.

    Raises:
        ValueError: a value that cannot be read.
    """
    environ = os.environ if environ is None else environ
    without = []
    for name, value in sorted(environ.items()):
        if not name.startswith("RAY_") or name in POINTLESS:
            continue
        if name == "RAY_DISABLE_MEMORY_MONITOR":
            if value not in ("", "0"):
                environ.setdefault("AKTIS_MEMORY_MONITOR_INTERVAL", "0")
            continue
        ours, convert = HONOURED.get(name, ("", _same))
        if not ours:
            without.append(name)
            continue
        try:
            environ.setdefault(ours, convert(value))
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise ValueError(
                f"environment variable {name}={value!r} cannot be read ({error!r}); set {ours} instead"
            ) from None
    new = [name for name in without if name not in _told]
    if new:
        _told.update(new)
        warnings.warn(
            f"these variables have no effect in Aktis: {', '.join(new)}. Its own are in the documentation's table of "
            "environment variables",
            UserWarning,
            stacklevel=3,
        )
    return without

"""The worker's half: put a prepared environment into force in this process, before any user code."""

from __future__ import annotations

import base64
import importlib
import os
import pickle
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis._runtime_env.prepared import PreparedEnv

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_LIBRARY = re.compile(r"(^|/)(site-packages|dist-packages|lib(64)?/python[0-9.]+(\.zip|/lib-dynload)?)$")
_THREAD_VARIABLE = "OMP_NUM_THREADS"
RESOURCE_UNIT = 10_000  # resources are counted in units of 1/10,000


def expand(env_vars: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """``env_vars`` with each ``${NAME}`` replaced by the value outside, or by nothing."""
    return {
        name: _REFERENCE.sub(lambda found: environ.get(found.group(1), ""), text) for name, text in env_vars.items()
    }


def thread_variables(resources: Mapping[str, int], environ: Mapping[str, str]) -> dict[str, str]:
    """``OMP_NUM_THREADS`` for a worker with these resources (in units): as many threads as CPUs, one at least.

    Numerical libraries start one thread per core of the machine otherwise, in every worker. What the user set stays.
    """
    if environ.get(_THREAD_VARIABLE):
        return {}
    return {_THREAD_VARIABLE: str(max(1, resources.get("CPU", 0) // RESOURCE_UNIT))}


def own_libraries_first(paths: list[str]) -> list[str]:
    """Import paths of a worker whose interpreter is not the driver's, and that has got the driver's paths, too.

    The driver's own code stays in front. Of the libraries, those of this interpreter come before the driver's: a
    package of the environment must win over another version of it.
    """
    import sysconfig

    home = sysconfig.get_path("stdlib")
    own = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    own.add(os.path.join(home, "lib-dynload"))
    code: list[str] = []
    ours: list[str] = []
    others: list[str] = []
    for path in paths:
        (ours if path in own else others if _LIBRARY.search(path) else code).append(path)
    return code + ours + others


def apply(prepared: PreparedEnv) -> None:
    """Environment variables, current directory, import path. The setup hook is separate: see run_setup_hook."""
    os.environ.update(expand(prepared.env_vars, dict(os.environ)))
    if prepared.python_executable is not None:
        sys.path[:] = own_libraries_first(sys.path)
    if prepared.sys_path_prepend:
        sys.path[:0] = [path for path in prepared.sys_path_prepend if path not in sys.path]
        outer = os.environ.get("PYTHONPATH")  # programs that the user's code starts import the same modules
        os.environ["PYTHONPATH"] = os.pathsep.join([*prepared.sys_path_prepend, *([outer] if outer else [])])
        importlib.invalidate_caches()
    if prepared.cwd is not None:
        os.chdir(prepared.cwd)


def run_setup_hook(hook: str | Mapping[str, str] | None) -> None:
    """Call ``worker_process_setup_hook``, once per worker process. Raises RuntimeEnvSetupError when it fails."""
    if hook is None:
        return
    from aktis.exceptions import RuntimeEnvSetupError

    try:
        function = _find_hook(hook)
        function()
    except Exception as error:
        name = hook if isinstance(hook, str) else "the function"
        raise RuntimeEnvSetupError(
            f"worker_process_setup_hook ({name}) failed: {type(error).__name__}: {error}"
        ) from error


def _find_hook(hook: str | Mapping[str, str]) -> Any:
    if not isinstance(hook, str):
        return pickle.loads(base64.b64decode(hook["pickle"]))
    module_name, _, name = hook.rpartition(".")
    return getattr(importlib.import_module(module_name), name)

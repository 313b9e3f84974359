"""Runtime environments: what a worker needs around the user's code.

::

    driver                                         node daemon                          worker
    ------                                         -----------                          ------
    {"working_dir": ".", "pip": ["x"]}
      spec.normalize    check, fill in
      upload.resolve    local paths become         manager.EnvManager                   apply.apply
        content-hashed packages in the               packages -> directories              environment variables,
        session directory                            pip      -> cached environment       directory, import path,
      spec.dumps        canonical JSON  ─── lease ─►  PreparedEnv  ─── zygote of it ───►  setup hook

The canonical JSON text is an environment's identity: two calls whose texts are equal may share a worker.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis._runtime_env.manager import EnvManager
    from aktis._runtime_env.prepared import PreparedEnv
    from aktis._runtime_env.spec import env_hash, merge
    from aktis._runtime_env.upload import canonical_json

__all__ = ["EnvManager", "PreparedEnv", "canonical_json", "env_hash", "merge"]

_HOMES = {
    "EnvManager": "manager",
    "PreparedEnv": "prepared",
    "canonical_json": "upload",
    "env_hash": "spec",
    "merge": "spec",
}


def __getattr__(name: str) -> Any:
    """Import on first use: a worker needs ``apply`` only, most drivers need nothing at all."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)

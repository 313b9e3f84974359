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

from typing import TYPE_CHECKING

from aktis._lazy import lazy_names

if TYPE_CHECKING:
    from aktis._runtime_env.manager import EnvManager
    from aktis._runtime_env.prepared import PreparedEnv
    from aktis._runtime_env.spec import env_hash, merge
    from aktis._runtime_env.upload import canonical_json

__all__ = ["EnvManager", "PreparedEnv", "canonical_json", "env_hash", "merge"]

_HOMES = {
    "EnvManager": ".manager",
    "PreparedEnv": ".prepared",
    "canonical_json": ".upload",
    "env_hash": ".spec",
    "merge": ".spec",
}

# Imported on first use: a worker needs ``apply`` only, most drivers need nothing at all.
__getattr__, __dir__ = lazy_names(__name__, _HOMES)

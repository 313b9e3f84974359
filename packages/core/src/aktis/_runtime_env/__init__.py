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

from aktis._runtime_env.apply import apply, thread_variables
from aktis._runtime_env.manager import EnvManager, PreparedEnv
from aktis._runtime_env.spec import env_hash, merge
from aktis._runtime_env.upload import canonical_json

__all__ = ["EnvManager", "PreparedEnv", "apply", "canonical_json", "env_hash", "merge", "thread_variables"]

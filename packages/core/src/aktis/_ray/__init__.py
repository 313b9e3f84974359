"""The Ray engine: programs of Aktis on a Ray cluster that exists already.

::

    aktis.init("ray://host:10001")                 driver                        Ray worker (any node)
    connect.start ── ray.init(runtime_env) ───────► RayEngine                    travel.enter: RayEngine of its own
      shipping.prepare: Aktis and the                 tasks.bind ── travel.Shipped ──► the user's function
      user's modules, as one package                  actors.create ── hosts.Host ───► the user's object
                                                      refs.RayRef ◄── ray.ObjectRef ── results

Ray does everything that is distributed: this package turns our options into Ray's (``options``), our references into
Ray's and back (``refs``), Ray's errors into ours (``errors``), and what the API asks of a control plane into calls of
Ray's public API (``control``, ``facts``). Arguments are pickled once, by Ray; a reference inside of them pickles as Ray's.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any


def load() -> Any:
    """The module whose ``start`` connects. Raises ImportError that names the extra, where Ray is missing."""
    compat = sys.modules.get("aktis.compat._install")
    if compat is not None and compat.is_installed():
        raise ImportError(
            "in this process `import ray` means Aktis (aktis.compat), so that Ray itself, which a Ray cluster needs, cannot be "
            "imported: write `import aktis as ray` in the program, and run it without aktis.compat"
        )
    # A call after the end of a session is an error: Ray would start a cluster of its own. It asks once, when it is imported.
    given = "RAY_ENABLE_AUTO_CONNECT" in os.environ
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
    try:
        importlib.import_module("ray")
    except ImportError as error:
        raise ImportError(
            "programs run on a Ray cluster with the package ray, which is not installed here: "
            'pip install "aktis-core[ray]"'
        ) from error
    finally:
        if not given:
            del os.environ["RAY_ENABLE_AUTO_CONNECT"]
    return importlib.import_module("aktis._ray.engine")

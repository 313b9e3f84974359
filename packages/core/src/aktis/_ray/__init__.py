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
from typing import Any


def load() -> Any:
    """The module whose ``start`` connects. Raises ImportError that names the extra, where Ray is missing."""
    try:
        importlib.import_module("ray")
    except ImportError as error:
        raise ImportError(
            "programs run on a Ray cluster with the package ray, which is not installed here: "
            'pip install "aktis-core[ray]"'
        ) from error
    return importlib.import_module("aktis._ray.engine")

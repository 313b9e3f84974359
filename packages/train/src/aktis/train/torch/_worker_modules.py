"""Which modules workers are forked with, when a session starts: ``__worker_modules__`` of :mod:`aktis.train.torch`."""

from __future__ import annotations

import importlib.util
import sys

LIBRARIES = ("sklearn", "scipy", "torchvision", "transformers", "accelerate", "lightning")
"""What training loops use beside torch, slow to import, and free of threads at import.

Of these, workers get what the driver has imported by then: the training loop was most likely written with it.
"""


def worker_modules() -> tuple[str, ...]:
    """Our own modules, and the libraries in use; none where there is no torch, and so no loop of it."""
    if importlib.util.find_spec("torch") is None:
        return ()
    used = [
        name
        for name in tuple(sys.modules)
        if name.partition(".")[0] in LIBRARIES and name.count(".") < 2 and "._" not in name
    ]
    return ("aktis.train.torch._preload", *used)

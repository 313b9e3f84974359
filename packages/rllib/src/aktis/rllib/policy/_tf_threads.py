"""How many threads TensorFlow computes with in this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf


def set_threads(args: Mapping[str, Any], default: int | None) -> None:
    """Set the numbers of threads, where TensorFlow has not begun to compute yet (then they cannot be changed any more).

    Args:
        args: ``intra_op_parallelism_threads`` and ``inter_op_parallelism_threads``; other keys are ignored.
        default: Of both, where they are not given; None leaves them as they are.
    """
    setters = {
        "intra_op_parallelism_threads": tf.config.threading.set_intra_op_parallelism_threads,
        "inter_op_parallelism_threads": tf.config.threading.set_inter_op_parallelism_threads,
    }
    for name, setter in setters.items():
        threads = args.get(name, default)
        if threads is not None:
            try:
                setter(int(threads))
            except RuntimeError:  # another policy of this process computes already
                return

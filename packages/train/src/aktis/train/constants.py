"""Names under which results, files and settings of training runs are known."""

from __future__ import annotations

from typing import Any, Final

from aktis.air.constants import EVALUATION_DATASET_KEY, MODEL_KEY, PREPROCESSOR_KEY, TRAIN_DATASET_KEY, WILDCARD_KEY

__all__ = [
    "BASIC_AUTOFILLED_KEYS",
    "DATE",
    "DETAILED_AUTOFILLED_KEYS",
    "ENABLE_DETAILED_AUTOFILLED_METRICS_ENV",
    "EVALUATION_DATASET_KEY",
    "HOSTNAME",
    "MODEL_KEY",
    "NODE_IP",
    "PID",
    "PREPROCESSOR_KEY",
    "PYTORCH_PROFILER_KEY",
    "RESULT_FILE_JSON",
    "TIMESTAMP",
    "TIME_THIS_ITER_S",
    "TIME_TOTAL_S",
    "TRAINING_ITERATION",
    "TRAIN_CHECKPOINT_SUBDIR",
    "TRAIN_DATASET_KEY",
    "TRAIN_PLACEMENT_GROUP_TIMEOUT_S_ENV",
    "WILDCARD_KEY",
]

# -- what every result has besides what was reported -------------------------------------------------------------------

TIMESTAMP: Final = "_timestamp"
"""When it was reported, in seconds since 1970."""
TIME_THIS_ITER_S: Final = "_time_this_iter_s"
"""Seconds since the report before."""
TRAINING_ITERATION: Final = "_training_iteration"
"""Which report it is, from 1."""
BASIC_AUTOFILLED_KEYS: Final = frozenset({TIMESTAMP, TIME_THIS_ITER_S, TRAINING_ITERATION})

# -- and more, when asked for ------------------------------------------------------------------------------------------

ENABLE_DETAILED_AUTOFILLED_METRICS_ENV: Final = "TRAIN_RESULT_ENABLE_DETAILED_AUTOFILLED_METRICS"
"""The environment variable that asks for it: "1"."""
DATE: Final = "_date"
HOSTNAME: Final = "_hostname"
NODE_IP: Final = "_node_ip"
PID: Final = "_pid"
TIME_TOTAL_S: Final = "_time_total_s"
"""Seconds of all iterations so far."""
DETAILED_AUTOFILLED_KEYS: Final = frozenset({DATE, HOSTNAME, NODE_IP, PID, TIME_TOTAL_S})

# -- settings ----------------------------------------------------------------------------------------------------------

TRAIN_PLACEMENT_GROUP_TIMEOUT_S_ENV: Final = "TRAIN_PLACEMENT_GROUP_TIMEOUT_S"
"""The environment variable that says how many seconds workers may take to be there."""

# -- files -------------------------------------------------------------------------------------------------------------

RESULT_FILE_JSON: Final = "results.json"
TRAIN_CHECKPOINT_SUBDIR: Final = "checkpoints"
"""Where a run of the older ``Trainer`` keeps its checkpoints."""
PYTORCH_PROFILER_KEY: Final = "_train_torch_profiler"
"""Traces of the PyTorch profiler in a result: a list of pairs (file name, content)."""


def __getattr__(name: str) -> Any:
    if name == "DEFAULT_RESULTS_DIR":  # Ray's name; not a constant here, since the environment may change it
        from pathlib import Path

        from aktis.air.storage import default_results_dir

        return Path(default_results_dir())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

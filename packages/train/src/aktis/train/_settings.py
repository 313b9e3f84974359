"""Environment variables of aktis.train. Each is read here, when it is needed, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aktis.util.variables import Variable, flag, positive


def _ray(name: str, parse: Callable[[str], Any], default: Any, meaning: str) -> Variable:
    """A variable whose name without AKTIS_ counts as well."""
    return Variable(name, parse, default, meaning, others=(name,))


START_TIMEOUT = _ray("TRAIN_PLACEMENT_GROUP_TIMEOUT_S", positive, 100.0, "seconds that workers may take to be there")
HEARTBEAT_PERIOD = _ray(
    "TRAIN_HEARTBEAT_PERIOD_S", positive, 5.0, "how often workers are asked how they are, in seconds"
)
HEARTBEAT_TIMEOUT = _ray("TRAIN_HEARTBEAT_TIMEOUT_S", positive, 120.0, "seconds that a worker may take to answer that")
REPORT_TIMEOUT = _ray(
    "TRAIN_REPORT_TIMEOUT_S", positive, 1800.0, "seconds that a worker may take to report after another one has"
)
SHUTDOWN_PATIENCE = _ray("TRAIN_SHUTDOWN_PATIENCE_S", positive, 5.0, "seconds that workers may take to end")
DETAILED_METRICS = _ray(
    "TRAIN_RESULT_ENABLE_DETAILED_AUTOFILLED_METRICS",
    flag,
    False,
    "1: results of the older Trainer also say where they come from",
)
WORKER_SPREAD = _ray(
    "TRAIN_ENABLE_WORKER_SPREAD", flag, False, "1: workers of the older Trainer go on as many machines as possible"
)
VARIABLES = (
    START_TIMEOUT, HEARTBEAT_PERIOD, HEARTBEAT_TIMEOUT, REPORT_TIMEOUT, SHUTDOWN_PATIENCE, DETAILED_METRICS, WORKER_SPREAD,
)  # fmt: skip

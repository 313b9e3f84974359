"""Environment variables of aktis.serve. Each is read here, when it is needed, and nowhere else.

``scripts/write_environment_variables.py`` puts the table into docs/environment-variables.md.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable; ``others`` are names that mean the same, and count where this one is not set."""

    name: str
    meaning: str
    others: tuple[str, ...] = ()

    def read(self) -> str:
        """What it says; "" where it is not set."""
        return next((os.environ[name] for name in (self.name, *self.others) if os.environ.get(name)), "")


ADDRESS = Variable(
    "AKTIS_SERVE_ADDRESS",
    "where the command serve finds a service: the URL of its REST API, or a session's directory",
    ("RAY_AGENT_ADDRESS", "RAY_DASHBOARD_ADDRESS"),
)
TOKEN = Variable("AKTIS_SERVE_TOKEN", "what the REST API of Serve wants to see from its clients, and what they send")
STATE_DIR = Variable(
    "AKTIS_SERVE_STATE_DIR",
    "where services note where they are, for the commands (default: 'aktis-serve' in XDG_RUNTIME_DIR, "
    "or 'aktis-serve-UID' in the system's temporary directory)",
)
LEGACY_HANDLES = Variable(
    "AKTIS_SERVE_LEGACY_HANDLES",
    "1: deployments get handles of Ray 2.3, 0: newer ones (default: what their code looks like)",
)
TRACING_EXPORTER = Variable(
    "AKTIS_SERVE_TRACING_EXPORTER_IMPORT_PATH",
    "module:function that returns OpenTelemetry span processors; it switches tracing of Serve on",
    ("RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH",),
)
TRACING_RATIO = Variable(
    "AKTIS_SERVE_TRACING_SAMPLING_RATIO",
    "share of the requests that are traced",
    ("RAY_SERVE_TRACING_SAMPLING_RATIO",),
)
VARIABLES = (ADDRESS, TOKEN, STATE_DIR, LEGACY_HANDLES, TRACING_EXPORTER, TRACING_RATIO)

"""Environment variables of aktis.serve. Each is read here, when it is needed, and nowhere else.

``scripts/write_environment_variables.py`` puts the table into docs/environment-variables.md.
"""

from __future__ import annotations

from aktis.util.variables import Variable

ADDRESS = Variable(
    "SERVE_ADDRESS",
    str,
    "",
    "where the command serve finds a service: the URL of its REST API, or a session's directory",
    ("RAY_AGENT_ADDRESS", "RAY_DASHBOARD_ADDRESS"),
)
TOKEN = Variable("SERVE_TOKEN", str, "", "what the REST API of Serve wants to see from its clients, and what they send")
STATE_DIR = Variable(
    "SERVE_STATE_DIR",
    str,
    "",
    "where services note where they are, for the commands (default: 'aktis-serve' in XDG_RUNTIME_DIR, "
    "or 'aktis-serve-UID' in the system's temporary directory)",
)
LEGACY_HANDLES = Variable(
    "SERVE_LEGACY_HANDLES",
    str,
    "",
    "1: deployments get handles of Ray 2.3, 0: newer ones (default: what their code looks like)",
)
TRACING_EXPORTER = Variable(
    "SERVE_TRACING_EXPORTER_IMPORT_PATH",
    str,
    "",
    "module:function that returns OpenTelemetry span processors; it switches tracing of Serve on",
    ("RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH",),
)
TRACING_RATIO = Variable(
    "SERVE_TRACING_SAMPLING_RATIO",
    str,
    "",
    "share of the requests that are traced",
    ("RAY_SERVE_TRACING_SAMPLING_RATIO",),
)
VARIABLES = (ADDRESS, TOKEN, STATE_DIR, LEGACY_HANDLES, TRACING_EXPORTER, TRACING_RATIO)

"""The commands of ``aktis compat``."""

from __future__ import annotations

from aktis.compat.check import main
from aktis.compat.check._command import check

app = main.group()
app.command()(check)


@app.callback()
def _group() -> None:
    """Keeps `check` a command by name, though it is the only one."""

"""``tune report``: an experiment as one HTML page."""

from __future__ import annotations

from aktis.tune._report.page import write_report

__all__ = ["write_report"]

"""Acting with small dense networks in NumPy: a call into a framework costs more than their arithmetic."""

from __future__ import annotations

from typing import Any


def make_fast(policy: Any) -> Any:
    """What acts for a policy without its framework; None where that cannot be."""
    return None

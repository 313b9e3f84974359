"""How libraries declare the environment variables that they read."""

from __future__ import annotations

from aktis._variables import PREFIX, Variable, flag, positive, size

__all__ = ["PREFIX", "Variable", "flag", "positive", "size"]

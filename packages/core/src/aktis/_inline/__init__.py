"""The engine that runs everything in the driver: ``aktis.init(mode="inline")``."""

from aktis._inline.engine import start

__all__ = ["start"]

"""Comet: see :mod:`aktis.air.integrations.comet`."""

from aktis.air.integrations.comet import CometLoggerCallback

__all__ = ["CometLoggerCallback"]

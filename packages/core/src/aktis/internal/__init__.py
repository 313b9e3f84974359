"""Calls that cut corners: for libraries that know what they do."""

from aktis._api import free

__all__ = ["free"]

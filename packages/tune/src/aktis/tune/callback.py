"""Callbacks of a run: the classes of :mod:`aktis.air.callbacks`, under the name that users of Tune know."""

from aktis.air.callbacks import Callback, CallbackList

__all__ = ["Callback", "CallbackList"]

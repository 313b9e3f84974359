"""Callbacks by the name of earlier releases."""

from aktis.rllib.agents._old_names import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "DefaultCallbacks": "aktis.rllib.algorithms.callbacks:DefaultCallbacks",
        "MemoryTrackingCallbacks": "aktis.rllib.algorithms.callbacks:MemoryTrackingCallbacks",
        "MultiCallbacks": "aktis.rllib.algorithms.callbacks:MultiCallbacks",
    },
)

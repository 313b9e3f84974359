"""Where Ray has its NoopStopper."""

from aktis.tune.stopper.stopper import NoopStopper

__all__ = ["NoopStopper"]

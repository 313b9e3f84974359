"""What is in a batch, in words."""

from aktis.rllib.utils.debug.summary import summarize

__all__ = ["summarize"]

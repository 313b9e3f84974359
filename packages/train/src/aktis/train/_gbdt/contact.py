"""What the end of a worker looks like to the others."""

from __future__ import annotations

__all__ = ["LostContactError"]


class LostContactError(ConnectionError):
    """The network of the library broke: another worker failed or died, or could not be reached.

    A ConnectionError, which the run takes for the consequence of what happened elsewhere: that is what it reports.
    """

"""What a stopper is, and several as one."""

from __future__ import annotations

from typing import Any

__all__ = ["CombinedStopper", "NoopStopper", "Stopper"]


class Stopper:
    """Says when a trial ends, and when the whole run does.

    Stoppers are pure: what they know is what they are called with, and they can be pickled. A resumed run calls them again
    with the results that are in its journal.
    """

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether the trial ends with this result."""
        raise NotImplementedError(
            f"{type(self).__name__} does not say which trials end: define __call__(trial_id, result)"
        )

    def stop_all(self) -> bool:
        """Whether all trials end now, and no more begin. Asked after each event of the run."""
        raise NotImplementedError(f"{type(self).__name__} does not say when the run ends: define stop_all()")


class NoopStopper(Stopper):
    """Never stops anything."""

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return False


class CombinedStopper(Stopper):
    """Stops when any of several stoppers does. Each of them sees every result."""

    def __init__(self, *stoppers: Stopper) -> None:
        for stopper in stoppers:
            if not isinstance(stopper, Stopper):
                raise TypeError(
                    f"CombinedStopper takes instances of Stopper, got {stopper!r} ({type(stopper).__name__})"
                )
        self.stoppers = stoppers

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        said = [stopper(trial_id, result) for stopper in self.stoppers]
        return any(said)

    def stop_all(self) -> bool:
        said = [stopper.stop_all() for stopper in self.stoppers]
        return any(said)

    def __repr__(self) -> str:
        return f"CombinedStopper({', '.join(map(repr, self.stoppers))})"

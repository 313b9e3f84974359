"""Which trials fit: an account of what the trials of this run hold, or mean to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aktis.air.placement import PlacementGroupFactory

_UNIT = 10_000  # resources are counted in steps of 0.0001, as core does, so that sums do not drift


class ResourceAccount:
    """Totals and what is held, by name. The engine has the last word; this only says what is worth trying."""

    def __init__(self) -> None:
        self.total: dict[str, int] = {}
        self._held: dict[str, int] = {}
        self._needs: dict[PlacementGroupFactory, dict[str, int]] = {}

    def set_total(self, total: Mapping[str, float]) -> None:
        self.total = {name: round(amount * _UNIT) for name, amount in total.items()}

    def amounts(self) -> dict[str, float]:
        """The totals in the user's units."""
        return {name: amount / _UNIT for name, amount in self.total.items()}

    def held(self) -> dict[str, float]:
        """What is held, in the user's units."""
        return {name: amount / _UNIT for name, amount in self._held.items() if amount}

    def _need(self, factory: PlacementGroupFactory) -> dict[str, int]:
        need = self._needs.get(factory)
        if need is None:
            need = {name: round(amount * _UNIT) for name, amount in factory.required_resources.items() if amount}
            self._needs[factory] = need
        return need

    def fits(self, factory: PlacementGroupFactory, spare: Mapping[str, int] | None = None) -> bool:
        """Whether it fits beside what is held, with ``spare`` thought of as free."""
        for name, amount in self._need(factory).items():
            free = self.total.get(name, 0) - self._held.get(name, 0) + (spare.get(name, 0) if spare else 0)
            if amount > free:
                return False
        return True

    def lacking(self, factory: PlacementGroupFactory) -> dict[str, float]:
        """What it needs that the whole cluster does not have: name to amount needed. Empty when it could ever run."""
        return {
            name: amount / _UNIT for name, amount in self._need(factory).items() if amount > self.total.get(name, 0)
        }

    def hold(self, factory: PlacementGroupFactory) -> None:
        for name, amount in self._need(factory).items():
            self._held[name] = self._held.get(name, 0) + amount

    def release(self, factory: PlacementGroupFactory) -> None:
        for name, amount in self._need(factory).items():
            self._held[name] -= amount

    def add_to(self, spare: dict[str, int], factory: PlacementGroupFactory) -> None:
        """Add what ``factory`` holds to ``spare``."""
        for name, amount in self._need(factory).items():
            spare[name] = spare.get(name, 0) + amount

    def need_is_nothing_held(self) -> bool:
        """Whether all that was held has been released (a check for tests)."""
        return not any(self._held.values())

"""Who holds which resources, logically: nothing runs side by side here, but actors and placement groups hold theirs.

A running task gives its CPUs back as soon as it submits or waits, so CPUs of running tasks never stand in the way of
others; those of actors do, and so do all other resources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aktis._options import RESOURCE_UNIT

Amounts = dict[str, int]


@dataclass(eq=False, slots=True)
class Group:
    """A placement group: its bundles, and what is used of each."""

    group_id: bytes
    bundles: list[Amounts]
    strategy: str
    name: str
    namespace: str
    created: bool = False
    used: list[Amounts] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Lease:
    """What one running task or one living actor holds."""

    amounts: Amounts
    group: Group | None
    bundle: int
    is_task: bool
    gpus: list[tuple[int, int]]  # (index, amount)


class Ledger:
    """All resources of the one node."""

    def __init__(self, total: Mapping[str, int], gpu_ids: list[str]) -> None:
        self.total: Amounts = {name: amount for name, amount in total.items() if amount}
        self.held: Amounts = {}  # by actors and placement groups
        self.running: Amounts = {}  # by running tasks
        self.groups: dict[bytes, Group] = {}
        self._gpu_ids = gpu_ids
        self._gpu_free = [RESOURCE_UNIT] * len(gpu_ids)

    # groups ----------------------------------------------------------------------------------

    def create_group(self, group: Group) -> None:
        group.used = [{} for _ in group.bundles]
        self.groups[group.group_id] = group
        self.commit_groups()

    def commit_groups(self) -> None:
        """Reserve for the groups that fit now, all or nothing, in the order in which they were asked for."""
        for group in self.groups.values():
            sums = _sum(group.bundles)
            if not group.created and self._free(sums, self.total, self.held):
                group.created = True
                _add(self.held, sums)

    def fits_group(self, group: Group) -> bool:
        """Whether the group could ever be reserved on this one node."""
        if group.strategy == "STRICT_SPREAD" and len(group.bundles) > 1:
            return False
        return self._free(_sum(group.bundles), self.total, {})

    def remove_group(self, group_id: bytes) -> Group | None:
        group = self.groups.pop(group_id, None)
        if group is not None and group.created:
            _subtract(self.held, _sum(group.bundles))
        return group

    # leases ----------------------------------------------------------------------------------

    def possible(self, amounts: Amounts, strategy: tuple[Any, ...]) -> bool:
        """Whether the request could ever be met."""
        if strategy[0] == "PG":
            group = self.groups.get(strategy[1])
            return group is not None and (group.created or self.fits_group(group))
        return self._free(amounts, self.total, {})

    def acquire(
        self, amounts: Amounts, strategy: tuple[Any, ...], is_task: bool, held: Amounts | None = None
    ) -> Lease | None:
        """Take ``held`` (``amounts`` when not given) if ``amounts`` are free; None if they are not."""
        take = amounts if held is None else held
        if strategy[0] == "PG":
            return self._acquire_in_group(amounts, take, strategy, is_task)
        for name, need in amounts.items():
            busy = self.held.get(name, 0)
            if name != "CPU":
                busy += self.running.get(name, 0)
            if busy + need > self.total.get(name, 0):
                return None
        _add(self.running if is_task else self.held, take)
        return Lease(dict(take), None, -1, is_task, self._take_gpus(take))

    def _acquire_in_group(
        self, amounts: Amounts, take: Amounts, strategy: tuple[Any, ...], is_task: bool
    ) -> Lease | None:
        group = self.groups.get(strategy[1])
        if group is None or not group.created:
            return None
        for index in range(len(group.bundles)) if strategy[2] == -1 else [strategy[2]]:
            if self._free(amounts, group.bundles[index], group.used[index]):
                if not is_task:
                    _add(group.used[index], take)
                return Lease(dict(take), group, index, is_task, self._take_gpus(take))
        return None

    def release(self, lease: Lease) -> None:
        for index, amount in lease.gpus:
            self._gpu_free[index] += amount
        if lease.group is None:
            _subtract(self.running if lease.is_task else self.held, lease.amounts)
        elif not lease.is_task:
            _subtract(lease.group.used[lease.bundle], lease.amounts)

    def _take_gpus(self, amounts: Amounts) -> list[tuple[int, int]]:
        """Devices: a fraction shares the fullest that has room, whole ones are taken whole."""
        need = amounts.get("GPU", 0)
        taken = []
        if 0 < need < RESOURCE_UNIT:
            fitting = [index for index, free in enumerate(self._gpu_free) if free >= need]
            if fitting:
                taken = [(min(fitting, key=lambda index: self._gpu_free[index]), need)]
        else:
            whole = [index for index, free in enumerate(self._gpu_free) if free == RESOURCE_UNIT]
            taken = [(index, RESOURCE_UNIT) for index in whole[: need // RESOURCE_UNIT]]
        for index, amount in taken:
            self._gpu_free[index] -= amount
        return taken

    def gpu_ids(self, lease: Lease) -> list[str]:
        return [self._gpu_ids[index] for index, _ in lease.gpus]

    def available(self) -> Amounts:
        """What nobody holds."""
        free = {}
        for name, amount in self.total.items():
            rest = amount - self.held.get(name, 0) - self.running.get(name, 0)
            if rest > 0:
                free[name] = rest
        return free

    @staticmethod
    def _free(need: Amounts, total: Mapping[str, int], used: Mapping[str, int]) -> bool:
        return all(used.get(name, 0) + amount <= total.get(name, 0) for name, amount in need.items())


def _sum(bundles: list[Amounts]) -> Amounts:
    total: Amounts = {}
    for bundle in bundles:
        _add(total, bundle)
    return total


def _add(target: Amounts, amounts: Amounts) -> None:
    for name, amount in amounts.items():
        target[name] = target.get(name, 0) + amount


def _subtract(target: Amounts, amounts: Amounts) -> None:
    for name, amount in amounts.items():
        target[name] = target.get(name, 0) - amount

"""Amounts of resources: what a node has, what is taken, and which device goes to whom.

Amounts are integers in units of 1/10,000, so that ten tenths are one. Resources whose units are devices (GPU and the like)
are handed out by device id: fractions share a device, more than one is always whole devices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

UNIT = 10_000
UNIT_INSTANCE = frozenset({"GPU", "TPU", "NPU", "HPU", "neuron_cores"})
"""Resources that are devices with ids of their own."""

Amounts = dict[str, int]


def to_fixed(amounts: Mapping[str, float]) -> Amounts:
    """Floats as users write them to fixed point; zeros are dropped."""
    return {name: fixed for name, value in amounts.items() if (fixed := round(value * UNIT))}


def to_floats(amounts: Mapping[str, int]) -> dict[str, float]:
    """Fixed point to floats as users read them."""
    return {name: value / UNIT for name, value in amounts.items()}


def words(amounts: Mapping[str, int]) -> str:
    """``{"CPU": 20000, "GPU": 5000}`` as "2 CPU, 0.5 GPU"."""
    return ", ".join(f"{quantity(name, value)} {name}" for name, value in amounts.items() if value) or "nothing"


def quantity(name: str, value: int) -> str:
    """One amount for people; byte counts in the unit that fits."""
    if name in ("memory", "object_store_memory"):
        size = value / UNIT
        for unit in ("B", "KB", "MB", "GB"):
            if abs(size) < 1024:
                return f"{size:.4g} {unit}"
            size /= 1024
        return f"{size:.4g} TB"
    return f"{value / UNIT:g}"


@dataclass(slots=True)
class Allocation:
    """What one lease, actor or bundle has taken out of a pool."""

    amounts: Amounts
    instances: dict[str, dict[str, int]] = field(default_factory=dict)  # resource -> device id -> amount
    lent: int = 0  # CPU given back for the time of a blocking get

    def device_ids(self) -> dict[str, list[str]]:
        """Device ids by resource, as a worker is told."""
        return {name: list(ids) for name, ids in self.instances.items()}


class ResourcePool:
    """Capacity and what is free of it: a node, or a bundle of a placement group.

    The free CPU may become negative: a blocked worker that goes on takes its CPU back at once. Until that is paid off nothing
    that needs CPU is granted.
    """

    __slots__ = ("capacity", "free", "instances")

    def __init__(self, capacity: Amounts, instances: Mapping[str, Mapping[str, int]] | None = None) -> None:
        self.capacity = dict(capacity)
        self.free = dict(capacity)
        self.instances: dict[str, dict[str, int]] = {name: dict(ids) for name, ids in (instances or {}).items()}

    @staticmethod
    def of_node(capacity: Amounts, device_ids: Mapping[str, Iterable[str]] | None = None) -> ResourcePool:
        """A node's pool. Devices without given ids are numbered from 0."""
        given = device_ids or {}
        instances: dict[str, dict[str, int]] = {}
        for name in UNIT_INSTANCE & capacity.keys():
            count = capacity[name] // UNIT
            ids = list(given.get(name, ()))[:count] or [str(number) for number in range(count)]
            instances[name] = dict.fromkeys(ids, UNIT)
        return ResourcePool(capacity, instances)

    def clone(self) -> ResourcePool:
        """For trying out placements."""
        copy = ResourcePool(self.capacity, self.instances)
        copy.free = dict(self.free)
        return copy

    def feasible(self, request: Amounts) -> bool:
        """Whether the request would fit if nothing were taken."""
        capacity = self.capacity
        return all(amount <= capacity.get(name, 0) for name, amount in request.items())

    def shortage(self, request: Amounts) -> Amounts:
        """How much of which resource lacks for this request right now."""
        free = self.free
        return {
            name: amount - free.get(name, 0) for name, amount in request.items() if amount > max(0, free.get(name, 0))
        }

    def allocate(self, request: Amounts) -> Allocation | None:
        """Take what is asked, all or nothing."""
        free = self.free
        for name, amount in request.items():
            if amount > 0 and amount > free.get(name, 0):
                return None
        chosen: dict[str, dict[str, int]] = {}
        for name, amount in request.items():
            if amount > 0 and name in self.instances:
                devices = _choose_devices(self.instances[name], amount)
                if devices is None:  # enough in sum, but in pieces on several devices
                    return None
                chosen[name] = devices
        for name, amount in request.items():
            if amount > 0:
                free[name] -= amount
        for name, devices in chosen.items():
            for device, amount in devices.items():
                self.instances[name][device] -= amount
        return Allocation({name: amount for name, amount in request.items() if amount > 0}, chosen)

    def release(self, allocation: Allocation) -> None:
        """Give everything back. The allocation is empty afterwards, so a second release changes nothing."""
        for name, amount in allocation.amounts.items():
            self.free[name] += amount
        if allocation.lent:
            self.free["CPU"] -= allocation.lent
            allocation.lent = 0
        for name, devices in allocation.instances.items():
            for device, amount in devices.items():
                self.instances[name][device] += amount
        allocation.amounts = {}
        allocation.instances = {}

    def shrink(self, allocation: Allocation, keep: Amounts) -> None:
        """Give back all but ``keep`` (an actor needs more to be placed than it holds while it lives)."""
        for name, amount in list(allocation.amounts.items()):
            surplus = amount - keep.get(name, 0)
            if surplus <= 0:
                continue
            self.free[name] += surplus
            if surplus == amount:
                del allocation.amounts[name]
            else:
                allocation.amounts[name] = amount - surplus
            devices = allocation.instances.get(name, {})
            for device in list(devices):
                part = min(surplus, devices[device])
                self.instances[name][device] += part
                devices[device] -= part
                surplus -= part
                if not devices[device]:
                    del devices[device]
            if not devices:
                allocation.instances.pop(name, None)
        if allocation.lent > allocation.amounts.get("CPU", 0):
            surplus = allocation.lent - allocation.amounts.get("CPU", 0)
            self.free["CPU"] -= surplus
            allocation.lent -= surplus

    def lend(self, allocation: Allocation) -> None:
        """The holder blocks: others may use its CPU."""
        cpu = allocation.amounts.get("CPU", 0) - allocation.lent
        if cpu > 0:
            allocation.lent += cpu
            self.free["CPU"] += cpu

    def reclaim(self, allocation: Allocation) -> None:
        """The holder goes on: it has its CPU back at once, overdrawn or not."""
        if allocation.lent:
            self.free["CPU"] -= allocation.lent
            allocation.lent = 0

    def utilisation(self) -> float:
        """The fullest resource's share that is taken, of those that can run out."""
        worst = 0.0
        for name, total in self.capacity.items():
            if total > 0 and name != "object_store_memory":
                worst = max(worst, 1 - self.free[name] / total)
        return worst

    def validate(self, allocations: Iterable[Allocation]) -> None:
        """Check that free and taken add up to the capacity."""
        taken: Amounts = dict.fromkeys(self.capacity, 0)
        devices: dict[str, dict[str, int]] = {name: dict.fromkeys(ids, 0) for name, ids in self.instances.items()}
        for allocation in allocations:
            for name, amount in allocation.amounts.items():
                taken[name] += amount
            if allocation.lent:
                taken["CPU"] -= allocation.lent
            for name, ids in allocation.instances.items():
                assert sum(ids.values()) == allocation.amounts[name], (name, allocation)
                for device, amount in ids.items():
                    devices[name][device] += amount
        for name, total in self.capacity.items():
            assert self.free[name] + taken[name] == total, (name, self.free, taken, total)
            assert name == "CPU" or self.free[name] >= 0, (name, self.free)
        for name, ids in devices.items():
            for device, amount in ids.items():
                assert self.instances[name][device] >= 0, (name, device)
                assert amount + self.instances[name][device] <= UNIT, (name, device)


def _choose_devices(devices: Mapping[str, int], amount: int) -> dict[str, int] | None:
    if amount <= UNIT:
        # The fullest device that still has room: keeps whole devices free for those who need one.
        fitting = [(free, number, device) for number, (device, free) in enumerate(devices.items()) if free >= amount]
        return {min(fitting)[2]: amount} if fitting else None
    whole = [device for device, free in devices.items() if free == UNIT]
    count, rest = divmod(amount, UNIT)
    if rest or len(whole) < count:
        return None
    return dict.fromkeys(whole[:count], UNIT)

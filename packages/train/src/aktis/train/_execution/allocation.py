"""Where workers go: bundles of the trial's placement group, or of groups made for them.

The least number of workers of an elastic run is in the trial's group, like all workers of any other run: all or nothing, so that
two trials never hold half of what each needs. Every further worker is in a group of its own, taken only if it is there at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aktis
from aktis.air.config import ScalingConfig
from aktis.air.exceptions import WorkerStartError
from aktis.air.worker_group import Placement
from aktis.util.placement_group import (
    PlacementGroup,
    get_current_placement_group,
    placement_group,
    remove_placement_group,
)

if TYPE_CHECKING:
    from aktis.air.session_host import SessionHost

__all__ = [
    "Allocation",
    "TrialBundles",
    "allocate",
    "resources_per_worker",
    "room_for",
    "trial_bundles",
    "worker_range",
]

logger = logging.getLogger(__name__)

EXTRA_WAIT_S = 0.5  # how long a bundle that is not needed may take


@dataclass(frozen=True)
class TrialBundles:
    """The placement group of the trial that the trainer runs in, and the first bundle that is for a worker."""

    group: PlacementGroup
    first: int


def trial_bundles(host: SessionHost) -> TrialBundles | None:
    """The bundles for workers of the trial that this runs in; None: it has none of its own."""
    group, request = get_current_placement_group(), host.get_trial_resources()
    if group is None or request is None:
        return None
    return TrialBundles(group, 0 if request.head_bundle_is_empty else 1)


@dataclass
class Allocation:
    """What the workers of one start have.

    Attributes:
        placements: A bundle for each worker; None where they take nothing.
        owned: The groups that were made for them.
    """

    size: int
    placements: list[Placement] | None
    owned: list[PlacementGroup] = field(default_factory=list)

    def release(self) -> None:
        """Give back what was taken."""
        _remove(self.owned)
        self.owned.clear()


def allocate(scaling: ScalingConfig, trial: TrialBundles | None, timeout_s: float) -> Allocation:
    """Take the resources of the workers, and wait for them.

    Args:
        scaling: How many workers of what size.
        trial: Where their bundles are already; None: nowhere.
        timeout_s: How long to wait for what is needed at least.

    Raises:
        WorkerStartError: it is not free in time.
    """
    least, most = worker_range(scaling)
    bundle = {name: amount for name, amount in resources_per_worker(scaling).items() if amount}
    if not bundle:
        return Allocation(most, None)
    if trial is not None:
        allocation = Allocation(least, [Placement(trial.group, trial.first + index) for index in range(least)])
    else:
        base = placement_group([bundle] * least, scaling.placement_strategy)
        allocation = Allocation(least, [Placement(base, index) for index in range(least)], [base])
    try:
        if trial is None and not allocation.owned[0].wait(timeout_s):
            raise WorkerStartError(_too_little(least, bundle, timeout_s))
        if most > least:
            _add_extras(allocation, most - least, bundle)
    except BaseException:
        allocation.release()
        raise
    return allocation


def _add_extras(allocation: Allocation, count: int, bundle: Mapping[str, float]) -> None:
    """Take what there is for more workers."""
    wanted = min(count, room_for(bundle))
    groups = [placement_group([dict(bundle)], "PACK") for _ in range(wanted)]
    allocation.owned += groups
    deadline = time.monotonic() + EXTRA_WAIT_S
    assert allocation.placements is not None
    for group in groups:
        if group.wait(max(0.0, deadline - time.monotonic())):
            allocation.placements.append(Placement(group, 0))
            allocation.size += 1
        else:
            _remove([group])
            allocation.owned.remove(group)


def room_for(bundle: Mapping[str, float]) -> int:
    """How many more workers of this size the cluster has room for, as far as the sums tell."""
    free = aktis.available_resources()
    return min((int(free.get(name, 0.0) / amount + 1e-6) for name, amount in bundle.items() if amount), default=0)


def worker_range(scaling: ScalingConfig) -> tuple[int, int]:
    """The least and the most workers."""
    workers = scaling.num_workers
    if isinstance(workers, tuple):
        return int(workers[0]), int(workers[1])
    return (int(workers or 1),) * 2


def resources_per_worker(scaling: ScalingConfig) -> dict[str, float]:
    """Resources of each worker."""
    return {
        "CPU": scaling.num_cpus_per_worker,
        "GPU": scaling.num_gpus_per_worker,
        **scaling.additional_resources_per_worker,
    }


def _too_little(count: int, bundle: Mapping[str, float], timeout_s: float) -> str:
    free = {name: amount for name, amount in aktis.available_resources().items() if ":" not in name}
    total = {name: amount for name, amount in aktis.cluster_resources().items() if ":" not in name}
    return (
        f"{count} workers with {dict(bundle)} each could not be placed within {timeout_s:g} s (TRAIN_PLACEMENT_GROUP_TIMEOUT_S): "
        f"free are {free} of {total}. Ask for fewer workers or less for each in ScalingConfig, or add machines"
    )


def _remove(groups: Sequence[PlacementGroup]) -> None:
    for group in groups:
        try:
            remove_placement_group(group)
        except Exception as error:  # the session is gone, and the group with it
            logger.debug("a placement group could not be removed: %s", error)

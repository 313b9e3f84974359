"""Filters of all workers brought together."""

from __future__ import annotations

from typing import Any

__all__ = ["FilterManager"]


class FilterManager:
    """Manages filters between a local worker and remote ones."""

    @staticmethod
    def synchronize(
        local_filters: dict[str, Any],
        worker_set: Any,
        update_remote: bool = True,
        timeout_seconds: float | None = None,
        use_remote_data_for_update: bool = True,
    ) -> None:
        """Add what remote workers have seen since the last time to the local filters, and give them the sum.

        Args:
            local_filters: By policy id; changed in place.
            worker_set: Whose remote workers.
            update_remote: Whether remote workers get the local filters afterwards.
            timeout_seconds: How long to wait for a worker; who is late takes part the next time.
            use_remote_data_for_update: Whether what remote workers have seen is added (evaluation workers only receive).
        """
        if not any(type(filter_).__name__ != "NoFilter" for filter_ in local_filters.values()):
            return
        if use_remote_data_for_update:
            found = worker_set.foreach_worker(
                _take_filters, local_worker=False, healthy_only=True, timeout_seconds=timeout_seconds
            )
            for filters in found:
                for policy_id, filter_ in local_filters.items():
                    if policy_id in filters:
                        filter_.apply_changes(filters[policy_id], with_buffer=False)
        if update_remote:
            copies = {}
            for policy_id, filter_ in local_filters.items():
                copies[policy_id] = filter_.as_serializable()
                copies[policy_id].reset_buffer()
            worker_set.foreach_worker(
                _GiveFilters(copies), local_worker=False, healthy_only=True, timeout_seconds=timeout_seconds
            )


def _take_filters(worker: Any) -> dict[str, Any]:
    filters: dict[str, Any] = worker.get_filters(flush_after=True)
    return filters


class _GiveFilters:
    def __init__(self, filters: dict[str, Any]) -> None:
        self.filters = filters

    def __call__(self, worker: Any) -> None:
        worker.sync_filters(self.filters)

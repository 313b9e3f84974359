"""How many replicas a deployment should have, from the load. Pure: measurements and time in, a number out.

The rule::

    load     requests that run in replicas + requests that wait at callers, over look_back_period_s
    desired  ceil(current * (1 + (load / current / target - 1) * factor)), between min_replicas and max_replicas

A decision counts when it has lasted: all decisions of upscale_delay_s said "more" (downscale_delay_s: "fewer"). One that
says otherwise begins it anew. Fewer means the most that any of them wanted, so that a short lull takes nothing away.
From 0 it goes up at once, as soon as one request waits: somebody is waiting.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aktis.serve._protocol import DeploymentID, ReplicaID

WAITING_FORGOTTEN_S = 3.0  # callers report each second while anything waits: one that was silent so long is gone
EPSILON = 1e-9  # what floating point may add to a number that is whole


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoscalingContext:
    """What a custom policy gets. It returns the number of replicas, or (number, state for the next call)."""

    deployment_id: DeploymentID
    deployment_name: str
    app_name: str
    config: Any
    """The AutoscalingConfig."""
    current_num_replicas: int
    """Those that take requests."""
    target_num_replicas: int
    """Those that there should be, by the last decision."""
    running_replicas: tuple[ReplicaID, ...]
    total_num_requests: float
    """Running and waiting, over the look-back period."""
    total_running_requests: float
    total_queued_requests: float
    """Waiting at callers."""
    requests_per_replica: Mapping[ReplicaID, float]
    aggregated_metrics: Mapping[str, Mapping[ReplicaID, float]]
    """Of the user's record_autoscaling_stats(): by name of the metric and replica, over the look-back period."""
    raw_metrics: Mapping[str, Mapping[ReplicaID, tuple[tuple[float, float], ...]]]
    """The same as measured: (time, value)."""
    min_replicas: int
    max_replicas: int
    policy_state: Mapping[str, Any]
    current_time: float
    last_scale_up_time: float | None
    last_scale_down_time: float | None

    @property
    def capacity_adjusted_min_replicas(self) -> int:
        """``min_replicas``."""
        return self.min_replicas

    @property
    def capacity_adjusted_max_replicas(self) -> int:
        """``max_replicas``."""
        return self.max_replicas


@dataclass(slots=True)
class Series:
    """Measurements of the last seconds."""

    points: deque[tuple[float, float]] = field(default_factory=deque)

    def add(self, now: float, value: float, keep_s: float) -> None:
        """One more; those older than ``keep_s`` are forgotten, but for the newest."""
        self.points.append((now, value))
        while len(self.points) > 1 and self.points[0][0] < now - keep_s:
            self.points.popleft()

    def value(self, function: str) -> float:
        """Mean, max or min of what there is."""
        if not self.points:
            return 0.0
        values = [value for _, value in self.points]
        if function == "max":
            return max(values)
        return min(values) if function == "min" else sum(values) / len(values)


@dataclass(slots=True)
class _Decision:
    """One that lasts."""

    direction: int  # 1: more, -1: fewer
    since: float
    most: int  # the most that was wanted meanwhile


class Autoscaler:
    """Decides for one deployment. ``policy`` is the user's function, or None."""

    def __init__(self, id: DeploymentID, config: Any, policy: Callable[..., Any] | None = None) -> None:
        self.id = id
        self.config = config
        self.policy = policy
        self.policy_state: dict[str, Any] = {}
        self._running: dict[ReplicaID, Series] = {}
        self._user: dict[str, dict[ReplicaID, Series]] = {}
        self._waiting_now: dict[str, tuple[float, int]] = {}  # by caller: when it said so, how many
        self._waiting = Series()
        self._decision: _Decision | None = None
        self._last_up: float | None = None
        self._last_down: float | None = None

    def reconfigure(self, config: Any, policy: Callable[..., Any] | None) -> None:
        """Another configuration; what was measured stays."""
        self.config, self.policy = config, policy
        self._decision = None

    # -- measurements -------------------------------------------------------------------------

    def measured(self, id: ReplicaID, ongoing: float, user: Mapping[str, float], now: float) -> None:
        """What a replica said."""
        keep = self.config.look_back_period_s
        self._running.setdefault(id, Series()).add(now, ongoing, keep)
        for name, value in user.items():
            self._user.setdefault(name, {}).setdefault(id, Series()).add(now, float(value), keep)

    def waiting(self, caller: str, count: int, now: float) -> None:
        """How many requests wait at a caller."""
        if count > 0:
            self._waiting_now[caller] = (now, count)
        else:
            self._waiting_now.pop(caller, None)

    def forget(self, keep: set[ReplicaID]) -> None:
        """Replicas other than these do not run any more."""
        for series in (self._running, *self._user.values()):
            for id in set(series) - keep:
                del series[id]

    @property
    def queued(self) -> int:
        """How many requests wait at callers, as last heard."""
        return sum(count for _, count in self._waiting_now.values())

    def waiting_now(self, now: float) -> int:
        """How many requests wait at all callers."""
        for caller, (when, _) in list(self._waiting_now.items()):
            if when < now - WAITING_FORGOTTEN_S:
                del self._waiting_now[caller]
        return sum(count for _, count in self._waiting_now.values())

    def _note_waiting(self, now: float) -> int:
        waiting = self.waiting_now(now)
        if not self._waiting.points or self._waiting.points[-1][0] < now:
            self._waiting.add(now, waiting, self.config.look_back_period_s)
        return waiting

    # -- decisions ----------------------------------------------------------------------------

    def start_count(self, current: int | None) -> int:
        """How many to have when it is deployed: as many as before, if there were any, within the bounds."""
        if current is None:
            return int(self.config.start_replicas)
        return self._clamp(current)

    def decide(self, running: tuple[ReplicaID, ...], count: int, now: float, answer: Any = None) -> int:
        """How many replicas there should be now; ``count`` as long as nothing else has been wanted long enough.

        ``answer`` is what the policy returned for :meth:`context`, where there is one.
        """
        self.forget(set(running))
        waiting = self._note_waiting(now)
        desired = self._clamp(self._desired(running, count, waiting, answer))
        if desired == 0 and count > 1 and self.config.downscale_to_zero_delay_s is not None:
            desired = 1  # the last step has a delay of its own
        if desired == count:
            self._decision = None
            return count
        if count == 0 and waiting:
            return self._apply(desired, count, now)
        direction = 1 if desired > count else -1
        last = self._decision
        if last is None or last.direction != direction:
            last = self._decision = _Decision(direction, now, desired)
        last.most = max(last.most, desired)
        if now - last.since + EPSILON < self._delay(direction, desired, count):
            return count
        return self._apply(desired if direction > 0 else last.most, count, now)

    def next_decision(self, count: int, now: float) -> float:
        """When :meth:`decide` is worth calling again, if nothing is reported meanwhile."""
        soon = now + self.measure_interval_s
        last = self._decision
        if last is None:
            return soon
        wanted = last.since + self._delay(last.direction, last.most, count)
        return min(soon, wanted) if wanted > now else soon

    @property
    def measure_interval_s(self) -> float:
        """How often replicas are asked."""
        return float(self.config.metrics_interval_s)

    def _desired(self, running: tuple[ReplicaID, ...], count: int, waiting: int, answer: Any) -> int:
        if self.policy is not None:
            return self._read_answer(answer)
        function = self.config.aggregation_function
        if count == 0:
            # Nothing runs: what was measured before says nothing about what waits now.
            target = self.config.target_ongoing_requests
            return max(1, math.ceil(waiting / target * self.config.up_factor - EPSILON)) if waiting else 0
        if not running:
            return count  # they start: there is nothing to judge by yet
        load = sum(series.value(function) for series in self._running.values()) + self._waiting.value(function)
        error = load / len(running) / self.config.target_ongoing_requests
        factor = self.config.up_factor if error > 1 else self.config.down_factor
        desired = math.ceil(len(running) * (1 + (error - 1) * factor) - EPSILON)
        if load == 0 and desired == len(running):
            desired -= 1  # a small factor would round up to where it is, without end
        return int(max(desired, 1 if load > 0 else 0))

    def _read_answer(self, answer: Any) -> int:
        if isinstance(answer, tuple):
            answer, state = answer
            self.policy_state = dict(state or {})
        if isinstance(answer, bool) or not isinstance(answer, (int, float)) or not math.isfinite(answer):
            raise TypeError(f"an autoscaling policy must return a number of replicas, and it returned {answer!r}.")
        return math.ceil(answer - EPSILON)

    def context(self, running: tuple[ReplicaID, ...], count: int, now: float) -> AutoscalingContext:
        """What the policy gets."""
        function = self.config.aggregation_function
        per_replica = {id: self._running[id].value(function) if id in self._running else 0.0 for id in running}
        waiting: float = self._note_waiting(now)
        if count > 0:
            waiting = self._waiting.value(function)
        total = sum(per_replica.values())
        return AutoscalingContext(
            deployment_id=self.id,
            deployment_name=self.id.name,
            app_name=self.id.app,
            config=self.config,
            current_num_replicas=len(running),
            target_num_replicas=count,
            running_replicas=running,
            total_num_requests=total + waiting,
            total_running_requests=total,
            total_queued_requests=waiting,
            requests_per_replica=per_replica,
            aggregated_metrics={
                name: {id: series.value(function) for id, series in by_id.items()} for name, by_id in self._user.items()
            },
            raw_metrics={
                name: {id: tuple(series.points) for id, series in by_id.items()} for name, by_id in self._user.items()
            },
            min_replicas=self.config.min_replicas,
            max_replicas=self.config.max_replicas,
            policy_state=self.policy_state,
            current_time=now,
            last_scale_up_time=self._last_up,
            last_scale_down_time=self._last_down,
        )

    def _apply(self, desired: int, count: int, now: float) -> int:
        self._decision = None
        if desired > count:
            self._last_up = now
        elif desired < count:
            self._last_down = now
        if count == 0:
            self._waiting = Series()
        return desired

    def _delay(self, direction: int, desired: int, count: int) -> float:
        if direction > 0:
            return float(self.config.upscale_delay_s)
        to_zero = self.config.downscale_to_zero_delay_s
        if desired == 0 and count == 1 and to_zero is not None:
            return float(to_zero)
        return float(self.config.downscale_delay_s)

    def _clamp(self, desired: int) -> int:
        return int(min(max(desired, self.config.min_replicas), self.config.max_replicas))

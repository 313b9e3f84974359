"""A rollout worker inside of a policy server or client: an external environment, policies, and a thread that samples."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from aktis.rllib.env.external_env import EnvStopped, ExternalEnv
from aktis.rllib.env.external_multi_agent_env import ExternalMultiAgentEnv
from aktis.rllib.utils._codec import CodecError

__all__ = [
    "InferenceThread",
    "PassiveEnv",
    "PassiveMultiAgentEnv",
    "add_filter_changes",
    "check_filter_changes",
    "embedded_worker",
    "filter_changes",
    "filter_states",
    "take_filters",
]


class _Passive:
    """An external environment that does nothing by itself: others call its methods."""

    _over_now: threading.Event

    def run(self) -> None:
        self._over_now.wait()

    def close(self) -> None:
        self._over_now.set()


class PassiveEnv(_Passive, ExternalEnv):
    """Of one agent."""

    def __init__(self, action_space: Any, observation_space: Any) -> None:
        ExternalEnv.__init__(self, action_space, observation_space, max_concurrent=10_000)
        self._over_now = threading.Event()


class PassiveMultiAgentEnv(_Passive, ExternalMultiAgentEnv):
    """Of several."""

    def __init__(self, action_space: Any, observation_space: Any) -> None:
        ExternalMultiAgentEnv.__init__(self, action_space, observation_space, max_concurrent=10_000)
        self._over_now = threading.Event()


def embedded_worker(config: Any, spaces: Any, default_policy_class: Any, worker_index: int) -> tuple[Any, ExternalEnv]:
    """A worker whose environment is passive, and that environment.

    Args:
        config: The algorithm's; environment and input are replaced.
        spaces: By policy id: observation and action space.
        default_policy_class: Of policies of which none is named.
        worker_index: Number of the worker.
    """
    from aktis.rllib.evaluation.rollout_worker import RolloutWorker

    config = config.copy(copy_frozen=False)
    config.input_ = "sampler"
    config.output = None
    config.num_rollout_workers = 0
    config.num_envs_per_worker = 1
    config.remote_worker_envs = False
    config.disable_env_checking = True
    observation_space, action_space = next(iter(spaces.values()))
    kind = PassiveMultiAgentEnv if config.is_multi_agent() else PassiveEnv
    env = kind(action_space, observation_space)
    worker = RolloutWorker(
        env_creator=lambda context: env,
        config=config,
        worker_index=worker_index,
        num_workers=0,
        spaces=spaces,
        default_policy_class=default_policy_class,
    )
    return worker, env


def filter_states(worker: Any) -> dict[str, Any]:
    """The filters of a worker by policy id, as plain values; only those that have statistics."""
    return {name: filter_.to_state() for name, filter_ in worker.filters.items() if hasattr(filter_, "buffer")}


def filter_changes(worker: Any) -> dict[str, Any]:
    """What a worker's filters have seen since the last call."""
    changes = {}
    for name, filter_ in worker.filters.items():
        if hasattr(filter_, "buffer"):
            changes[name] = filter_.to_state()
            filter_.reset_buffer()
    return changes


def take_filters(worker: Any, states: dict[str, Any]) -> None:
    """Go on with filters that `filter_states` told of."""
    from aktis.rllib.utils.filter import Filter

    for name, state in states.items():
        if name in worker.filters and hasattr(worker.filters[name], "buffer"):
            worker.filters[name].sync(Filter.from_state(state))
            worker.filters[name].reset_buffer()


def check_filter_changes(worker: Any, states: Any) -> dict[str, Any]:
    """What a client says that its filters have seen, if that fits the worker's filters.

    Raises:
        CodecError: It does not.
    """
    from aktis.rllib.utils.filter import Filter

    if not isinstance(states, dict):
        raise CodecError("`filters` is a dict by policy")
    for name, state in states.items():
        mine = worker.filters.get(name)
        try:
            fits = tuple(Filter.from_state(state).shape) == tuple(mine.shape)  # type: ignore[attr-defined]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CodecError(f"the filter of policy {name!r} is none: {error}") from None
        if not fits:
            raise CodecError(f"the filter of policy {name!r} has another shape than that of the server")
    return states


def add_filter_changes(worker: Any, states: dict[str, Any]) -> None:
    """Add what `filter_changes` told of to a worker's own filters."""
    from aktis.rllib.utils.filter import Filter

    for name, state in states.items():
        mine = worker.filters.get(name)
        if hasattr(mine, "buffer"):
            seen = Filter.from_state(state).buffer  # type: ignore[attr-defined]
            mine.running_stats.update(seen)
            mine.buffer.update(seen)


class InferenceThread(threading.Thread):
    """Samples, and hands over what is sampled.

    Args:
        worker: From `embedded_worker`.
        send: `send(batch, metrics, filter_changes)`; the last by policy id, as plain values.
        before: Called before each batch, to take over new weights and filters.
    """

    def __init__(
        self,
        worker: Any,
        send: Callable[[Any, list[Any], dict[str, Any]], None],
        before: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(daemon=True, name="policy-inference")
        self.worker = worker
        self.error: BaseException | None = None
        self._stopping = False
        self._send = send
        self._before = before

    def run(self) -> None:
        """Until the environment is stopped, or something is wrong (then `error` says what)."""
        try:
            while True:
                if self._before is not None:
                    self._before()
                batch = self.worker.sample()
                self._send(batch, self.worker.get_metrics(), filter_changes(self.worker))
        except EnvStopped:
            pass
        except BaseException as error:
            if not self._stopping:
                self.error = error
                self.worker.stop()  # whoever waits for an action is told

    def stop(self, timeout: float = 10.0) -> None:
        """End the thread: everybody who waits for an action gets an error. What has been told already is sampled and sent."""
        self._stopping = True
        env = self.worker.async_env
        news, deadline = env.external_env._news, time.monotonic() + min(1.0, timeout)
        while not news.empty() and self.is_alive() and time.monotonic() < deadline:
            time.sleep(0.005)
        env.stop()
        if threading.current_thread() is not self:
            self.join(timeout)
        self.worker.stop()

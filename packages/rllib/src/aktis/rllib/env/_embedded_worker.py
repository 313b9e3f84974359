"""A rollout worker inside of a policy server or client: an external environment, policies, and a thread that samples."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from aktis.rllib.env.external_env import EnvStopped, ExternalEnv
from aktis.rllib.env.external_multi_agent_env import ExternalMultiAgentEnv

__all__ = ["InferenceThread", "PassiveEnv", "PassiveMultiAgentEnv", "embedded_worker"]


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


class InferenceThread(threading.Thread):
    """Samples, and hands over what is sampled.

    Args:
        worker: From `embedded_worker`.
        send: `send(batch, metrics)`.
        before: Called before each batch, to take over new weights.
    """

    def __init__(
        self, worker: Any, send: Callable[[Any, list[Any]], None], before: Callable[[], None] | None = None
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
                self._send(batch, self.worker.get_metrics())
        except EnvStopped:
            pass
        except BaseException as error:
            if not self._stopping:
                self.error = error
                self.worker.stop()  # whoever waits for an action is told

    def stop(self, timeout: float = 10.0) -> None:
        """End the thread: everybody who waits for an action gets an error."""
        self._stopping = True
        self.worker.stop()
        if threading.current_thread() is not self:
            self.join(timeout)

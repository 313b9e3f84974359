"""Environments that drive themselves: a thread asks for actions and logs rewards.

    ExternalEnv.run() (a thread)                        sampler (the worker's thread)
      get_action(obs) ── news of an episode ──►  queue ──► poll() ─► policy
          ◄───────────── the action ───────── slot of the episode ◄─ send_actions()

Guarantees: each episode is used by one thread at a time. `poll` returns when an episode has news, and raises what `run()`
raised. After `stop()` every waiting `get_action` raises `EnvStopped`, so that the thread ends.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import gymnasium as gym

from aktis.rllib.env.base_env import _DUMMY_AGENT_ID, BaseEnv, Poll

if TYPE_CHECKING:
    from aktis.rllib.env.multi_agent_env import MultiAgentDict, MultiEnvDict

__all__ = ["EnvStopped", "ExternalEnv", "ExternalEnvWrapper"]


class EnvStopped(RuntimeError):
    """The sampler that gave actions to an external environment has stopped."""


class ExternalEnv(threading.Thread):
    """An environment whose control flow is its own: a simulator, a service, a person.

    Subclass it and define `run()`, which loops over episodes: `start_episode`, then `get_action` (or `log_action`) and
    `log_returns` for each step, then `end_episode`. `run()` is started in a thread by the rollout worker.

    Args:
        action_space: Of the actions that it gets.
        observation_space: Of the observations that it gives.
        max_concurrent: How many episodes may go on at once.
    """

    def __init__(
        self, action_space: gym.Space[Any], observation_space: gym.Space[Any], max_concurrent: int = 100
    ) -> None:
        super().__init__(daemon=True, name=f"{type(self).__name__}")
        if max_concurrent < 1:
            raise ValueError(f"max_concurrent={max_concurrent}: at least one episode must be able to go on")
        self.action_space = action_space
        self.observation_space = observation_space
        self._max_concurrent = max_concurrent
        self._episodes: dict[str, _ExternalEpisode] = {}
        self._finished: dict[str, None] = {}  # in order of time
        self._lock = threading.Lock()
        self._news: queue.SimpleQueue[_News | None] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        self._over = False

    def run(self) -> None:
        """The loop over episodes; runs in a thread until the process or the worker ends."""
        raise NotImplementedError(f"{type(self).__name__} does not define run()")

    def start_episode(self, episode_id: str | None = None, training_enabled: bool = True) -> str:
        """Begin an episode.

        Args:
            episode_id: Its name; a new one is made without it.
            training_enabled: Whether its steps are learned from.

        Returns:
            The name.

        Raises:
            ValueError: The name was used, or there are `max_concurrent` episodes already.
        """
        episode_id = uuid.uuid4().hex if episode_id is None else episode_id
        with self._lock:
            if episode_id in self._finished:
                raise ValueError(f"episode {episode_id!r} has ended already; give a new episode another name")
            if episode_id in self._episodes:
                raise ValueError(f"episode {episode_id!r} is going on already")
            if len(self._episodes) >= self._max_concurrent:
                raise ValueError(
                    f"{self._max_concurrent} episodes are going on (max_concurrent); end one of them before another begins"
                )
            self._episodes[episode_id] = _ExternalEpisode(self, episode_id, training_enabled)
        return episode_id

    def get_action(self, episode_id: str, observation: Any) -> Any:
        """The policy's action for an observation.

        Raises:
            KeyError: There is no such episode.
            EnvStopped: The worker has stopped.
        """
        return self._get(episode_id).ask({_DUMMY_AGENT_ID: observation})[_DUMMY_AGENT_ID]

    def log_action(self, episode_id: str, observation: Any, action: Any) -> None:
        """An observation and the action that was done (chosen elsewhere): learned from off-policy.

        Raises:
            KeyError: There is no such episode.
        """
        self._get(episode_id).log({_DUMMY_AGENT_ID: observation}, {_DUMMY_AGENT_ID: action})

    def log_returns(self, episode_id: str, reward: float, info: dict[str, Any] | None = None) -> None:
        """A reward since the last action; several are added up until the next.

        Raises:
            KeyError: There is no such episode.
        """
        self._get(episode_id).reward({_DUMMY_AGENT_ID: reward}, {_DUMMY_AGENT_ID: info} if info else {}, {})

    def end_episode(self, episode_id: str, observation: Any) -> None:
        """The episode is over; `observation` is the last one.

        Raises:
            KeyError: There is no such episode.
        """
        self._finish(episode_id, {_DUMMY_AGENT_ID: observation})

    def to_base_env(
        self,
        make_env: Callable[[int], Any] | None = None,
        num_envs: int = 1,
        remote_envs: bool = False,
        remote_env_batch_wait_ms: int = 0,
        restart_failed_sub_environments: bool = False,
    ) -> BaseEnv:
        """This environment behind the interface that samplers use; starts its thread."""
        from aktis.rllib.env.base_env import convert_to_base_env

        return convert_to_base_env(self, make_env, num_envs, remote_envs, remote_env_batch_wait_ms)

    def _get(self, episode_id: str) -> _ExternalEpisode:
        with self._lock:
            if episode_id in self._finished:
                raise ValueError(f"episode {episode_id!r} has ended; begin another with start_episode()")
            if episode_id not in self._episodes:
                raise KeyError(f"there is no episode {episode_id!r}; begin one with start_episode()")
            return self._episodes[episode_id]

    def _finish(self, episode_id: str, observations: MultiAgentDict) -> None:
        episode = self._get(episode_id)
        with episode.turn():
            with self._lock:
                del self._episodes[episode_id]
                self._finished[episode_id] = None
                if len(self._finished) > 10_000:  # names of long ago may come again
                    del self._finished[next(iter(self._finished))]
            episode.end(observations)

    def _run_and_tell(self, run: Callable[[], None]) -> None:
        """What the thread runs: `run()`, and its end or error for `poll`."""
        try:
            run()
        except EnvStopped:
            pass
        except BaseException as error:
            self._error = error
        finally:
            self._over = True
            self._news.put(None)


class _ExternalEpisode:
    """One episode between two threads: rewards and infos since the last news, and the slot for its action."""

    def __init__(self, env: ExternalEnv, episode_id: str, training_enabled: bool) -> None:
        self.env = env
        self.episode_id = episode_id
        self.training_enabled = training_enabled
        self.answer: queue.SimpleQueue[MultiAgentDict | None] = queue.SimpleQueue()
        self._rewards: MultiAgentDict = {}
        self._infos: MultiAgentDict = {}
        self._dones: MultiAgentDict = {}
        self._turn = threading.Lock()
        self._began = False  # whether the sampler knows of it

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """One request at a time: of two that wait for an action, only one would get it.

        Raises:
            ValueError: Somebody else's request for this episode is being worked on.
        """
        if not self._turn.acquire(blocking=False):
            raise ValueError(
                f"episode {self.episode_id!r} waits for an action already: one request at a time, and an episode for each client"
            )
        try:
            yield
        finally:
            self._turn.release()

    def ask(self, observations: MultiAgentDict) -> MultiAgentDict:
        with self.turn():
            self._tell(observations, {}, False)
            actions = self.answer.get()
        if actions is None:
            raise EnvStopped("the rollout worker of this environment has stopped; there are no more actions")
        return actions

    def log(self, observations: MultiAgentDict, actions: MultiAgentDict) -> None:
        with self.turn():
            self._tell(observations, actions, False)
            taken_in = self.answer.get()  # without waiting, news of one step could overtake another's
        if taken_in is None:
            raise EnvStopped("the rollout worker of this environment has stopped")

    def reward(self, rewards: MultiAgentDict, infos: MultiAgentDict, dones: MultiAgentDict) -> None:
        for agent, reward in rewards.items():
            self._rewards[agent] = self._rewards.get(agent, 0.0) + reward
        self._infos.update(infos)
        self._dones.update(dones)

    def end(self, observations: MultiAgentDict) -> None:
        if self._began:  # one that ends before its first action is none
            self._tell(observations, {}, True)

    def _tell(self, observations: MultiAgentDict, logged: MultiAgentDict, over: bool) -> None:
        if self.env._stopped.is_set():
            raise EnvStopped("the rollout worker of this environment has stopped")
        infos = {agent: dict(self._infos.get(agent) or {}) for agent in observations}
        if not self.training_enabled:
            for info in infos.values():
                info["training_enabled"] = False
        news = _News(
            self,
            observations,
            self._rewards,
            {**self._dones, "__all__": over},
            infos,
            logged,
        )
        self._rewards, self._infos, self._dones = {}, {}, {}
        self._began = True
        self.env._news.put(news)
        if self.env._stopped.is_set():  # stop() may have looked for waiting episodes before this one was in the queue
            self.answer.put(None)


class _News:
    __slots__ = ("dones", "episode", "infos", "logged", "observations", "rewards")

    def __init__(
        self, episode: _ExternalEpisode, observations: Any, rewards: Any, dones: Any, infos: Any, logged: Any
    ) -> None:
        self.episode = episode
        self.observations = observations
        self.rewards = rewards
        self.dones = dones
        self.infos = infos
        self.logged = logged


class ExternalEnvWrapper(BaseEnv):
    """An ExternalEnv behind the interface of samplers. Environments are its episodes: env ids are their names.

    Args:
        external_env: The environment; its thread is started.
        preprocessor: Not needed: connectors and preprocessors are applied by the sampler.
    """

    def __init__(self, external_env: ExternalEnv, preprocessor: Any = None) -> None:
        self.external_env = external_env
        self._waiting: dict[str, _News] = {}
        run = external_env.run
        external_env.run = lambda: external_env._run_and_tell(run)  # type: ignore[method-assign]
        external_env.start()

    def poll(self) -> Poll:
        news = self._take()
        obs: MultiEnvDict = {}
        rewards: MultiEnvDict = {}
        terminateds: MultiEnvDict = {}
        truncateds: MultiEnvDict = {}
        infos: MultiEnvDict = {}
        logged: MultiEnvDict = {}
        for item in news:
            name = item.episode.episode_id
            obs[name], rewards[name], infos[name] = item.observations, item.rewards, item.infos
            terminateds[name], truncateds[name] = item.dones, {"__all__": False}
            if item.logged:
                logged[name] = item.logged
            if not item.dones["__all__"]:
                self._waiting[name] = item
        return obs, rewards, terminateds, truncateds, infos, logged

    def _take(self) -> list[_News]:
        """All news that there are, at least one."""
        env = self.external_env
        first = env._news.get() if not (env._over and env._news.empty()) else None
        taken: list[Any] = [first]
        while True:
            try:
                taken.append(env._news.get_nowait())
            except queue.Empty:
                break
        news = [item for item in taken if item is not None]
        if not news:
            if env._error is not None:
                raise RuntimeError(
                    f"{type(env).__name__}.run() raised {type(env._error).__name__}: {env._error}"
                ) from env._error
            if env._stopped.is_set():
                raise EnvStopped(f"{type(env).__name__} has been stopped")
            raise RuntimeError(
                f"{type(env).__name__}.run() has returned: there are no more episodes to learn from. It must loop for ever"
            )
        return news

    def send_actions(self, action_dict: MultiEnvDict) -> None:
        for name, actions in action_dict.items():
            item = self._waiting.pop(name, None)
            if item is None:
                raise ValueError(f"episode {name!r} did not ask for an action")
            item.episode.answer.put({**actions, **item.logged} if item.logged else actions)

    def try_render(self, env_id: Any = None) -> Any:
        return None

    def get_sub_environments(self, as_dict: bool = False) -> Any:
        return {0: self.external_env} if as_dict else [self.external_env]

    def get_agent_ids(self) -> set[Any]:
        return set(getattr(self.external_env, "_agent_ids", None) or {_DUMMY_AGENT_ID})

    def stop(self) -> None:
        env = self.external_env
        env._stopped.set()
        for item in self._waiting.values():
            item.episode.answer.put(None)
        self._waiting = {}
        while True:
            try:
                left = env._news.get_nowait()
            except queue.Empty:
                break
            if left is not None:
                left.episode.answer.put(None)
        env._news.put(None)
        close = getattr(env, "close", None)
        if callable(close):
            close()

    @property
    def observation_space(self) -> gym.Space[Any]:
        return self.external_env.observation_space

    @property
    def action_space(self) -> gym.Space[Any]:
        return self.external_env.action_space

"""The general sampler: any BaseEnv, with any number of agents, that act when they are ready.

    BaseEnv.poll() ─► _observe: rewards are added up, steps completed, episodes ended and begun
                              │ agents that were observed wait for actions, by policy
    BaseEnv.send_actions() ◄─ _act: one call of each policy for all agents of all environments that wait

What policies compute stays in their logs (`_policy_log.py`), a block for each call; agents keep the numbers of their rows
(`_agent_record.py`). When enough steps are there, rows become trajectories and these a batch (`_agent_batches.py`). For a
single-agent environment the batch is that of the VectorSampler.

Rules of an agent's step:

- It begins with an action and is complete with the agent's next observation, or its end. Rewards in between are added up.
- A reward for an agent that has not acted yet counts for the episode; nothing is learned from it, as no action led to it.
- A reward for an agent that is done belongs to its last step (unless that has been handed out in a batch before).
- An agent is terminated, or truncated, as the environment says of it, and otherwise as it says of `"__all__"`.
- What follows a truncated step, or the last of a fragment, is valued by the observation after it. If the environment
  gives none with a truncation, by the last one that there is.
"""

from __future__ import annotations

import time
import warnings
from collections import deque
from typing import Any

import numpy as np

from aktis.rllib.env.base_env import ASYNC_RESET_RETURN, BaseEnv
from aktis.rllib.evaluation._agent_batches import AgentBatches
from aktis.rllib.evaluation._agent_policies import Acting
from aktis.rllib.evaluation._agent_record import AgentRecord, Trajectory
from aktis.rllib.evaluation._endless import EndlessWatch
from aktis.rllib.evaluation._observations import EnvError
from aktis.rllib.evaluation._running_episode import EpisodeSamplerSettings, Running, forget_rows
from aktis.rllib.evaluation._trajectories import tell_exploration
from aktis.rllib.evaluation.episode import Episode
from aktis.rllib.evaluation.metrics import RolloutMetrics
from aktis.rllib.policy.sample_batch import DEFAULT_POLICY_ID, MultiAgentBatch, SampleBatch, SampleBatchType

__all__ = ["EpisodeSampler", "EpisodeSamplerSettings"]

Array = np.ndarray[Any, np.dtype[Any]]

_FIRST_CHECKS = 10  # polls in which every observation is checked against its space
_CHECK_EVERY = 1000  # and after that every so many
_FAILURES_IN_A_ROW = 20  # of one environment, until it is given up
_STEPS_WITHOUT_AGENTS = 100_000  # of environments, in none of which any agent acts


class EpisodeSampler:
    """Batches out of a BaseEnv.

    Args:
        worker: Has `policy_map`, `policy_mapping_fn`, `callbacks`, and by policy id `filters` and `preprocessors`.
        base_env: The environments.
        settings: How to sample.
        seeds: Of the environments, for their first episodes.
        after_trajectory: Whether somebody listens to `on_postprocess_trajectory`. None: look whether the callbacks override it.
    """

    def __init__(
        self,
        worker: Any,
        base_env: BaseEnv,
        settings: EpisodeSamplerSettings,
        seeds: list[int | None] | None = None,
        after_trajectory: bool | None = None,
    ) -> None:
        self.worker = worker
        self.base_env = base_env
        self.settings = settings
        self.num_envs = max(1, len(base_env.get_sub_environments()))
        self.metrics: list[RolloutMetrics] = []
        if seeds:
            base_env.seed_first_resets(seeds)
        listens = (
            _overrides(worker.callbacks, "on_postprocess_trajectory") if after_trajectory is None else after_trajectory
        )
        self._batches = AgentBatches(
            worker.policy_map,
            self._tell_postprocessed if listens else None,
            with_policy_ids=settings.with_policy_ids,
            compress=settings.compress,
            check=settings.check,
        )
        self._renders = bool(getattr(getattr(worker, "config", None), "render_env", False))
        self._listens_to_steps = _overrides(worker.callbacks, "on_episode_step")
        self._acting: dict[str, Acting] = {}
        self._running: dict[Any, Running] = {}
        self._ended: list[tuple[Running, list[Trajectory]]] = []  # in this batch, or (complete episodes) for the next
        self._finished: deque[tuple[Running, list[Trajectory], int]] = deque()
        first = (settings.worker_index << 44) + (settings.generation << 36)
        self._next_episode = first
        self._next_unroll = first
        self._failures: dict[Any, int] = {}
        self._watch = EndlessWatch()
        self._warned: set[str] = set()
        self._env_steps = self._agent_steps = self._idle_steps = self._polls = 0
        self._seconds = {"raw_obs_processing": 0.0, "inference": 0.0, "action_processing": 0.0, "env_wait": 0.0}

    # ---- the loop ----

    def sample(self, fragment: int) -> SampleBatchType:
        """The next batch.

        Args:
            fragment: With truncated episodes: steps of each environment. With complete ones: how many steps the batch has at least.
        """
        for acting in self._acting.values():
            acting.connectors.refresh()
        if self.settings.complete_episodes:
            return self._sample_complete(fragment)
        wanted = fragment * self.num_envs
        self._env_steps = self._agent_steps = 0
        by_agents = self.settings.count_steps_by == "agent_steps"
        while (self._agent_steps if by_agents else self._env_steps) < wanted:
            self._step()
        trajectories = [trajectory for running in self._in_order() for trajectory in self._cut(running)]
        self._ended = []
        return self._batch(trajectories, self._env_steps)

    def _sample_complete(self, wanted: int) -> SampleBatchType:
        while sum(size for _, _, size in self._finished) < wanted:
            self._step()
            self._watch.step(bool(self._ended))
            for running, trajectories in self._ended:
                size = (
                    sum(map(len, trajectories))
                    if self.settings.count_steps_by == "agent_steps"
                    else running.episode.length
                )
                self._finished.append((running, trajectories, size))
            self._ended = []
        trajectories = []
        ready = env_steps = 0
        while ready < wanted:
            running, mine, size = self._finished.popleft()
            trajectories.extend(mine)
            ready += size
            env_steps += running.episode.length
        return self._batch(trajectories, env_steps)

    def _step(self) -> None:
        clock, seconds = time.perf_counter, self._seconds
        start = clock()
        actions = self._act()
        acted = clock()
        if actions:
            self.base_env.send_actions(actions)
        polled = self.base_env.poll()
        stepped = clock()
        self._polls += 1
        self._observe(*polled)
        seconds["inference"] += acted - start
        seconds["env_wait"] += stepped - acted
        seconds["raw_obs_processing"] += clock() - stepped

    def get_metrics(self) -> list[RolloutMetrics]:
        """The episodes that ended since the last call, each once."""
        found, self.metrics = self.metrics, []
        return found

    def close(self) -> None:
        """Close the environments."""
        self.base_env.stop()

    # ---- actions ----

    def _act(self) -> dict[Any, dict[Any, Any]]:
        """What is sent to the environments that wait."""
        for policy_id, waiting in list(self._acting.items()):
            if not waiting.waits:
                continue
            acting = self._refresh(policy_id)
            for record, action, stored, extra in acting.act():
                running = self._running[record.episode.env_id]
                if record.agent_id in running.logged:
                    stored = acting.logged_instead(record, running.logged[record.agent_id])
                else:
                    running.actions[record.agent_id] = action
                record.episode.act(record.agent_id, stored, state=record.states, extra=extra)  # type: ignore[arg-type]
        sent: dict[Any, dict[Any, Any]] = {}
        for env_id, running in self._running.items():
            if running.waits:
                sent[env_id], running.actions, running.logged = running.actions, {}, {}
                running.waits = False
        return sent

    def _acting_for(self, policy_id: str) -> Acting:
        """What belongs to the policy of this id. The policy itself is not touched: it may not be in memory."""
        acting = self._acting.get(policy_id)
        if acting is None:
            acting = self._acting[policy_id] = self._new_acting(policy_id, self.worker.policy_map[policy_id])
        return acting

    def _new_acting(self, policy_id: str, policy: Any) -> Acting:
        settings = self.settings
        return Acting(
            policy,
            _of_policy(self.worker, "filters", policy_id),
            _of_policy(self.worker, "preprocessors", policy_id),
            normalize=settings.normalize_actions,
            clip=settings.clip_actions,
            update_filter=settings.update_filter,
            flatten=not getattr(getattr(self.worker, "config", None), "_disable_action_flattening", False),
        )

    def _refresh(self, policy_id: str) -> Acting:
        """The same with the policy itself: fetched into memory, or another one in its place (its waiting agents stay)."""
        acting, policy = self._acting[policy_id], self.worker.policy_map[policy_id]
        if acting.policy is not policy and not acting.replace_policy(policy):
            fresh = self._new_acting(policy_id, policy)
            fresh.take_over(acting)
            acting = self._acting[policy_id] = fresh
        return acting

    # ---- observations ----

    def _observe(self, obs: Any, rewards: Any, terminateds: Any, truncateds: Any, infos: Any, logged: Any) -> None:
        """Take in what `poll` gave."""
        for env_id, agents_obs in obs.items():
            if isinstance(agents_obs, Exception):
                self._fail(env_id, agents_obs)
                continue
            env_infos = infos.get(env_id, {})
            running = self._running.get(env_id)
            if running is None:
                running = self._begin(env_id)
                self._first_observations(running, agents_obs, env_infos)
            else:
                self._one_step(
                    running, agents_obs, rewards.get(env_id, {}), terminateds[env_id], truncateds[env_id], env_infos
                )
            if env_id in logged and env_id in self._running:
                running.logged = logged[env_id]
        for acting in self._acting.values():
            acting.filter_arrived()

    def _begin(self, env_id: Any) -> Running:
        worker = self.worker
        episode = Episode(
            worker.policy_map, worker.policy_mapping_fn, env_id, worker=worker, episode_id=self._next_episode
        )
        self._next_episode += 1
        running = self._running[env_id] = Running(env_id, episode)
        self._call("on_episode_created", running)
        return running

    def _first_observations(self, running: Running, agents_obs: dict[Any, Any], infos: dict[Any, Any]) -> None:
        agents_obs = self._transformed(running, agents_obs)
        for agent_id, observation in agents_obs.items():
            record, info = self._record(running, agent_id), infos.get(agent_id)
            row, _ = self._row(self._acting_for(record.policy_id), running, record, observation, info, False, False)
            if row is not None:
                self._arrive(running, record, row, observation, info)
        self._take_common(running, infos)
        running.waits = True
        self._call("on_episode_start", running)

    def _one_step(
        self,
        running: Running,
        agents_obs: dict[Any, Any],
        rewards: dict[Any, Any],
        terminateds: dict[Any, Any],
        truncateds: dict[Any, Any],
        infos: dict[Any, Any],
    ) -> None:
        """A step of one environment."""
        episode = running.episode
        episode.step()
        self._env_steps += 1
        self._watch_idle(running)
        for agent_id, reward in rewards.items():
            self._reward(running, agent_id, reward)
        over = bool(terminateds["__all__"] or truncateds["__all__"])
        agents_obs = self._transformed(running, agents_obs)
        self._take_common(running, infos)
        for agent_id, observation in agents_obs.items():
            record = running.records.get(agent_id)
            if record is None:
                if over or terminateds.get(agent_id) or truncateds.get(agent_id):
                    continue  # it never acted, and never will
                record = self._record(running, agent_id)
            self._agent_step(running, record, observation, terminateds, truncateds, infos.get(agent_id), over)
        if over or len(terminateds) > 1 or len(truncateds) > 1:
            for agent_id, record in running.records.items():
                done = over or terminateds.get(agent_id) or truncateds.get(agent_id)
                if done and agent_id not in agents_obs and not record.done:
                    self._agent_step(running, record, None, terminateds, truncateds, infos.get(agent_id), over)
        if self._renders:
            self._render(running.env_id)
        if self._listens_to_steps:
            self._call("on_episode_step", running)
        if over:
            self._end(running)
        else:
            running.waits = True

    def _agent_step(
        self,
        running: Running,
        record: AgentRecord,
        observation: Any,
        terminateds: dict[Any, Any],
        truncateds: dict[Any, Any],
        info: dict[str, Any] | None,
        over: bool,
    ) -> None:
        """One agent's part of a step: what it did is complete; it acts again, or is done."""
        agent_id = record.agent_id
        if record.done:
            self._warn_once(
                "done", f"agent {agent_id!r} was observed after its end in the same episode; it does not act again"
            )
            return
        terminated, truncated = bool(terminateds.get(agent_id)), bool(truncateds.get(agent_id))
        if over and not terminated and not truncated:
            terminated, truncated = bool(terminateds["__all__"]), bool(truncateds["__all__"])
        acting = self._acting_for(record.policy_id)
        row, reward = None, record.reward
        if observation is not None:
            row, reward = self._row(acting, running, record, observation, info, terminated, truncated)
        if record.current >= 0:
            if not record.rows:
                record.before = dict(record.recent)
            record.complete(reward, info or {})
            self._agent_steps += 1
            if record.recent:
                record.remember(float(self.settings.clip(np.array([reward]))[0]))
        if not (terminated or truncated):
            if row is not None:
                self._arrive(running, record, row, observation, info)
            return
        record.done, record.terminated, record.truncated = True, terminated, truncated
        running.episode.finish(agent_id, terminated=terminated, truncated=truncated)
        if row is not None:
            running.episode.observe(agent_id, row, raw=observation, info=info)
            acting.final(record, row)
        if record.pending:  # it was observed, and the environment ended its part before it acted
            self._drop_waiting(record)

    def _arrive(
        self, running: Running, record: AgentRecord, row: Any, observation: Any, info: dict[str, Any] | None
    ) -> None:
        """An agent has observed something that it acts on."""
        if record.pending:
            self._drop_waiting(record)
        acting = self._acting_for(record.policy_id)
        running.episode.observe(record.agent_id, row, raw=observation, info=info)
        if info and info.get("training_enabled") is False:
            running.learn = False
        acting.arrive(record, row)

    def _row(
        self,
        acting: Acting,
        running: Running,
        record: AgentRecord,
        observation: Any,
        info: dict[str, Any] | None,
        terminated: bool,
        truncated: bool,
    ) -> tuple[Any, float]:
        """What an agent's policy gets of an observation (None: connectors keep it back), and the reward that came with it."""
        agent_id = record.agent_id
        if self.settings.check and (self._polls <= _FIRST_CHECKS or not self._polls % _CHECK_EVERY):
            acting.reader.check(observation, self._where(running, agent_id))
        if acting.connectors.agent is None:
            return self._converted(acting, running, agent_id, observation), record.reward
        data = {
            "new_obs": observation,
            "rewards": record.reward,
            "terminateds": terminated,
            "truncateds": truncated,
            "infos": info or {},
            "t": running.episode.length - 1,
            "env_id": running.env_id,
            "agent_index": record.index,
        }
        through = acting.connectors.observe(running.env_id, agent_id, data)
        return (None, record.reward) if through is None else through

    def _converted(self, acting: Acting, running: Running, agent_id: Any, observation: Any) -> Any:
        try:
            row = acting.row(observation)
        except (TypeError, ValueError, KeyError, IndexError):
            acting.reader.check(
                observation, self._where(running, agent_id)
            )  # says what is wrong, if that is what it was
            raise
        if isinstance(row, np.ndarray) and row.shape != acting.reader.shape:
            acting.reader.check(observation, self._where(running, agent_id))
        return row

    def _record(self, running: Running, agent_id: Any) -> AgentRecord:
        episode = running.episode
        policy_id = episode.policy_for(agent_id)
        acting = self._acting_for(policy_id)
        record = AgentRecord(agent_id, policy_id, episode, episode.agent_index(agent_id), list(acting.initial))
        running.records[agent_id] = record
        return record

    def _reward(self, running: Running, agent_id: Any, reward: Any) -> None:
        try:
            value = float(reward)
        except (TypeError, ValueError):
            value = _one_number(reward, self._where(running, agent_id))
        if value - value != 0.0:  # nan, or infinite
            raise EnvError(
                f"{self._where(running, agent_id)}: the reward is {value}. Nothing can be learned from it: find out in the "
                "environment where it comes from"
            )
        running.episode.reward(agent_id, value)
        record = running.records.get(agent_id)
        if record is None:
            return
        if record.done:
            if not record.add_late(value) and value:
                self._warn_once(
                    "late", f"a reward of {value} came for agent {agent_id!r} after its last step was trained on"
                )
        elif record.current >= 0:
            record.reward += value

    def _transformed(self, running: Running, agents_obs: dict[Any, Any]) -> dict[Any, Any]:
        function = self.settings.observation_fn
        if function is None:
            return agents_obs
        worker = self.worker
        changed = function(
            agent_obs=agents_obs,
            worker=worker,
            base_env=self.base_env,
            policies=worker.policy_map,
            episode=running.episode,
        )
        if not isinstance(changed, dict):
            raise EnvError(f"observation_fn must return a dict of observations by agent, not {changed!r:.200}")
        return changed

    def _take_common(self, running: Running, infos: dict[Any, Any]) -> None:
        if "__common__" in infos:
            running.episode.set_last_info("__common__", infos["__common__"])

    def _drop_waiting(self, record: AgentRecord) -> None:
        record.pending = False
        self._acting[record.policy_id].forget({id(record)})

    def _watch_idle(self, running: Running) -> None:
        if any(record.current >= 0 for record in running.records.values()):
            self._idle_steps = 0
            return
        self._idle_steps += 1
        if self._idle_steps > _STEPS_WITHOUT_AGENTS:
            raise EnvError(
                f"{self._idle_steps} steps were done in which no agent acted: the environment observes no agents any more"
            )

    # ---- ends ----

    def _end(self, running: Running) -> None:
        """An episode is over: its metrics, its trajectories, and the next one."""
        episode = running.episode
        self._failures.pop(running.env_id, None)
        self._call("on_episode_end", running)
        self.metrics.append(
            RolloutMetrics(
                episode_length=episode.length,
                episode_reward=episode.total_reward,
                agent_rewards=dict(episode.agent_rewards),
                custom_metrics=episode.custom_metrics,
                perf_stats=self._perf_stats(),
                hist_data=episode.hist_data,
                media=episode.media,
            )
        )
        del self._running[running.env_id]
        for acting in self._acting.values():
            acting.connectors.reset(running.env_id)
        self._ended.append((running, self._cut_all(running)))
        self._reset(running.env_id)

    def _reset(self, env_id: Any) -> None:
        """Begin the next episode of an environment, if it is one that can be told to."""
        obs, infos = self.base_env.try_reset(env_id)
        first = None if obs is None else obs.get(env_id)
        if first is None or (isinstance(first, str) and first == ASYNC_RESET_RETURN):
            return
        if isinstance(first, Exception):
            self._fail(env_id, first)
            return
        self._first_observations(self._begin(env_id), first, (infos or {}).get(env_id) or {})

    def _fail(self, env_id: Any, error: Exception) -> None:
        """An environment raised: its episode is no experience; it is made anew."""
        failures = self._failures[env_id] = self._failures.get(env_id, 0) + 1
        running = self._running.pop(env_id, None)
        if running is not None:
            running.episode.is_faulty = True
            dropped = {id(record) for record in running.records.values()}
            for acting in self._acting.values():
                acting.forget(dropped)
        self.metrics.append(RolloutMetrics(episode_length=0, episode_reward=0.0, episode_faulty=True))
        self.worker.callbacks.on_episode_end(
            worker=self.worker, base_env=self.base_env, policies=self.worker.policy_map, episode=error, env_index=env_id
        )
        if failures >= _FAILURES_IN_A_ROW:
            raise EnvError(
                f"sub-environment {env_id} failed {failures} times in a row without ending an episode: {error!r}"
            ) from error
        self.base_env.try_restart(env_id)
        self._reset(env_id)

    def _cut(self, running: Running) -> list[Trajectory]:
        """Trajectories of a running or ended episode."""
        for ended, trajectories in self._ended:
            if ended is running:
                return trajectories
        return self._cut_all(running)

    def _cut_all(self, running: Running) -> list[Trajectory]:
        cut = [record.cut() for record in running.records.values()]
        return [trajectory for trajectory in cut if trajectory is not None] if running.learn else []

    def _in_order(self) -> list[Running]:
        """Environments in order, and the episodes of each in order of time."""
        episodes = [running for running, _ in self._ended] + list(self._running.values())
        return sorted(episodes, key=lambda running: running.env_id if isinstance(running.env_id, int) else -1)

    # ---- batches ----

    def _batch(self, trajectories: list[Trajectory], env_steps: int) -> SampleBatchType:
        logs = {policy_id: acting.log for policy_id, acting in self._acting.items()}
        views = {policy_id: acting.views for policy_id, acting in self._acting.items()}
        batches = self._batches.make(trajectories, logs, views, self._next_unroll, self.settings.clip)
        self._next_unroll += len(trajectories)
        forget_rows(self._acting, self._running.values(), [mine for _, mine, _ in self._finished])
        if self.settings.multi_agent:
            return MultiAgentBatch(batches, env_steps)
        return batches.get(DEFAULT_POLICY_ID, SampleBatch())

    # ---- callbacks and messages ----

    def _call(self, hook: str, running: Running) -> None:
        worker = self.worker
        getattr(worker.callbacks, hook)(
            worker=worker,
            base_env=self.base_env,
            policies=worker.policy_map,
            episode=running.episode,
            env_index=running.env_id,
        )
        if hook in ("on_episode_start", "on_episode_end"):
            for policy in worker.policy_map.values():
                tell_exploration(policy, hook, self.base_env, running.episode)

    def _tell_postprocessed(self, trajectory: Trajectory, processed: SampleBatch, originals: dict[Any, Any]) -> None:
        record = trajectory.record
        self.worker.callbacks.on_postprocess_trajectory(
            worker=self.worker,
            episode=record.episode,
            agent_id=record.agent_id,
            policy_id=record.policy_id,
            policies=self.worker.policy_map,
            postprocessed_batch=processed,
            original_batches=originals,
        )

    def _render(self, env_id: Any) -> None:
        try:
            self.base_env.try_render(env_id)
        except Exception as error:
            self._renders = False
            self._warn_once("render", f"environments cannot be shown: {type(error).__name__}: {error}")

    def _warn_once(self, kind: str, message: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            warnings.warn(f"{message} (said once)", stacklevel=2)

    def _where(self, running: Running, agent_id: Any) -> str:
        return f"sub-environment {running.env_id!r}, agent {agent_id!r}, step {running.episode.length}"

    def _perf_stats(self) -> dict[str, float]:
        """Milliseconds per poll of the environments, on average."""
        polls = max(1, self._polls)
        stats = {f"mean_{name}_ms": 1000.0 * seconds / polls for name, seconds in self._seconds.items()}
        stats["mean_env_render_ms"] = 0.0
        return stats


def _of_policy(worker: Any, name: str, policy_id: str) -> Any:
    found = getattr(worker, name, None)
    return found.get(policy_id) if found is not None else None


def _overrides(callbacks: Any, hook: str) -> bool:
    from aktis.rllib.algorithms.callbacks import overrides_hook

    return overrides_hook(callbacks, hook)


def _one_number(reward: Any, where: str) -> float:
    try:
        return float(np.asarray(reward, np.float64).reshape(()))
    except (TypeError, ValueError):
        raise EnvError(f"{where}: the reward must be a number, not {reward!r:.200}") from None

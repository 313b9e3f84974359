"""Sampling through connectors that users have changed: one agent at a time, so that each of them sees what it expects.

Policies whose connectors are the default ones are sampled by the other samplers, which do the same for whole batches.

::

    BaseEnv ─poll─► observations ─agent connectors─► rows and inputs ─policy─► ─action connectors─► send_actions ─► BaseEnv
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tree

from aktis.rllib.evaluation._action_transform import flatten_actions
from aktis.rllib.evaluation._endless import EndlessWatch
from aktis.rllib.evaluation._trajectories import handles_whole_rollouts
from aktis.rllib.evaluation.episode import Episode
from aktis.rllib.evaluation.metrics import RolloutMetrics
from aktis.rllib.evaluation.rollout import Rollout
from aktis.rllib.policy.sample_batch import DEFAULT_POLICY_ID, MultiAgentBatch, SampleBatch, concat_samples
from aktis.rllib.utils.typing import ActionConnectorDataType, AgentConnectorDataType

__all__ = ["ConnectorSampler"]


@dataclass
class _Agent:
    """An agent in a running episode: the rows that are done, and the step that waits for what comes of it."""

    policy_id: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    pending: dict[str, Any] | None = None
    states: list[Any] = field(default_factory=list)  # after the pending step
    reward: float = 0.0  # that came without an observation
    t: int = 0
    last_obs: Any = None


@dataclass
class _Running:
    episode: Episode
    agents: dict[Any, _Agent] = field(default_factory=dict)


class ConnectorSampler:
    """Batches out of a BaseEnv, through the connectors of each policy.

    Args:
        worker: Has ``policy_map``, ``policy_mapping_fn``, ``callbacks``, ``worker_index`` and ``recreated_worker``.
        base_env: The environments.
        settings: Of the episode sampler: ``complete_episodes``, ``multi_agent``, ``update_filter``, ``compress``,
            ``worker_index``, ``generation``.
        seeds: Of the environments, for their first episodes.
    """

    def __init__(self, worker: Any, base_env: Any, settings: Any, seeds: list[int | None]) -> None:
        self.worker = worker
        self.base_env = base_env
        self.settings = settings
        self.num_envs = max(1, len(base_env.get_sub_environments()))
        self.metrics: list[RolloutMetrics] = []
        base_env.seed_first_resets(seeds)
        self._running: dict[Any, _Running] = {}
        self._batches: dict[str, list[SampleBatch]] = {}
        self._watch = EndlessWatch()
        self._steps = 0  # that are to be handed over, or (complete episodes) that have ended
        self._next_id = (settings.worker_index << 44) + (settings.generation << 36)
        self._next_unroll = self._next_id

    def sample(self, fragment: int) -> SampleBatch | MultiAgentBatch:
        """The next batch: ``fragment`` steps of each environment, or whole episodes that have so many together."""
        for policy in self.worker.policy_map.values():
            for pipeline in (policy.agent_connectors, policy.action_connectors):
                if pipeline is not None:
                    (pipeline.in_training if self.settings.update_filter else pipeline.in_eval)()
        wanted = fragment if self.settings.complete_episodes else fragment * self.num_envs
        while self._steps < wanted:
            before = self._steps
            self._turn()
            self._watch.step(self._steps > before)
        if not self.settings.complete_episodes:
            for running in self._running.values():
                self._hand_over(running)
        batches, self._batches = self._batches, {}
        steps, self._steps = self._steps, 0
        whole: dict[str, Any] = {policy_id: concat_samples(parts) for policy_id, parts in batches.items()}
        if self.settings.compress:
            for batch in whole.values():
                batch.compress(columns=frozenset({"obs", "new_obs"}))
        if not self.settings.multi_agent:
            alone: SampleBatch = whole.get(DEFAULT_POLICY_ID, SampleBatch({}))
            return alone
        return MultiAgentBatch(whole, steps)

    def get_metrics(self) -> list[RolloutMetrics]:
        """The episodes that ended since the last call, each once."""
        found, self.metrics = self.metrics, []
        return found

    def close(self) -> None:
        """Close the environments."""
        self.base_env.stop()

    # A turn ---------------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        """What environments tell now, and the actions that they get for it."""
        actions: dict[Any, dict[Any, Any]] = {}
        ready = self._experience(*self.base_env.poll()[:5], actions=actions)
        for policy_id, waiting in ready.items():
            self._act(self.worker.policy_map[policy_id], waiting, actions)
        self.base_env.send_actions(actions)

    def _experience(
        self,
        obs: Any,
        rewards: Any,
        terminateds: Any,
        truncateds: Any,
        infos: Any,
        *,
        actions: dict[Any, dict[Any, Any]],
    ) -> dict[str, list[tuple[Any, Any, Any]]]:
        """Take what environments tell; by policy, the agents that are to act: (environment, agent, input)."""
        ready: dict[str, list[tuple[Any, Any, Any]]] = {}
        for env_id, seen in obs.items():
            if isinstance(seen, Exception):
                self._fail(env_id, seen, ready)
                continue
            actions.setdefault(env_id, {})
            told = [part.get(env_id, {}) for part in (rewards, terminateds, truncateds, infos)]
            self._one_env(env_id, seen, told, ready)
            if told[1].get("__all__") or told[2].get("__all__"):
                self._end(env_id)
                self._begin_anew(env_id, ready)
        return ready

    def _one_env(self, env_id: Any, seen: dict[Any, Any], told: list[Any], ready: dict[str, Any]) -> None:
        rewards, terminateds, truncateds, infos = told
        running = self._running.get(env_id)
        new = running is None
        if running is None:
            running = self._running[env_id] = _Running(self._new_episode(env_id))
            self._call("on_episode_start", env_id, running.episode)
        else:
            running.episode.step()
            self._steps += 0 if self.settings.complete_episodes else 1
        over = bool(terminateds.get("__all__") or truncateds.get("__all__"))
        for agent_id in {**dict.fromkeys(rewards), **seen}:
            agent = running.agents.get(agent_id)
            if agent_id in rewards:
                running.episode.reward(agent_id, float(rewards[agent_id]))
            ended = (
                bool(terminateds.get(agent_id) or (terminateds.get("__all__") and not truncateds.get(agent_id))),
                bool(truncateds.get(agent_id) or truncateds.get("__all__")),
            )
            if agent_id not in seen:
                self._without_observation(agent, rewards.get(agent_id, 0.0), ended)
                continue
            if agent is None:
                agent = running.agents[agent_id] = _Agent(running.episode.policy_for(agent_id))
            data = {"new_obs": seen[agent_id], "infos": infos.get(agent_id, {})}
            if agent.pending is not None:
                earlier, agent.reward = agent.reward, 0.0
                data |= {
                    "rewards": rewards.get(agent_id, 0.0) + earlier,
                    "terminateds": ended[0],
                    "truncateds": ended[1],
                }
            self._observe(running, env_id, agent_id, agent, data, ready if not (over or any(ended)) else None)
        if not new:
            self._call("on_episode_step", env_id, running.episode)

    def _observe(
        self, running: _Running, env_id: Any, agent_id: Any, agent: _Agent, data: dict[str, Any], ready: Any
    ) -> None:
        """One agent's experience through its connectors."""
        raw, info = data["new_obs"], data["infos"]
        policy = self.worker.policy_map[agent.policy_id]
        for passed in policy.agent_connectors([AgentConnectorDataType(env_id, agent_id, data)]):
            output = passed.data
            obs = np.asarray(output.sample_batch["obs"][0])
            running.episode.observe(agent_id, obs, raw=raw, info=info)
            agent.last_obs = obs
            if agent.pending is not None:
                kept = output.raw_dict
                self._close_row(agent, float(kept.get("rewards", 0.0)), obs, kept, info)
            if ready is not None:
                ready.setdefault(agent.policy_id, []).append((env_id, agent_id, output))

    def _without_observation(self, agent: _Agent | None, reward: float, ended: tuple[bool, bool]) -> None:
        """A reward for an agent that observes nothing now: it belongs to its last action."""
        if agent is None or agent.pending is None:
            if agent is not None and agent.rows:
                agent.rows[-1]["rewards"] += np.float32(reward)
            return
        agent.reward += reward
        if any(ended):
            earlier, agent.reward = agent.reward, 0.0
            self._close_row(agent, earlier, agent.last_obs, {"terminateds": ended[0], "truncateds": ended[1]}, {})

    @staticmethod
    def _close_row(agent: _Agent, reward: float, obs: Any, kept: dict[str, Any], info: Any) -> None:
        assert agent.pending is not None
        row, agent.pending = agent.pending, None
        row["rewards"] = np.float32(reward)
        row["terminateds"] = bool(kept.get("terminateds", False))
        row["truncateds"] = bool(kept.get("truncateds", False))
        row["new_obs"], row["infos"] = obs, info
        agent.rows.append(row)

    def _act(self, policy: Any, waiting: list[tuple[Any, Any, Any]], actions: dict[Any, dict[Any, Any]]) -> None:
        inputs = [output.sample_batch for _, _, output in waiting]
        batch = SampleBatch({key: np.concatenate([np.asarray(row[key]) for row in inputs]) for key in inputs[0]})
        decided, states, extras = policy.compute_actions_from_input_dict(batch, timestep=policy.global_timestep)
        stored = flatten_actions(policy.action_space, decided)
        for index, (env_id, agent_id, output) in enumerate(waiting):
            running = self._running[env_id]
            agent = running.agents[agent_id]
            one = tree.map_structure(lambda leaf, i=index: np.asarray(leaf)[i], (decided, list(states), dict(extras)))
            columns = {key: np.asarray(value)[0] for key, value in inputs[index].items() if key != "seq_lens"}
            agent.pending = {**columns, "actions": stored[index], **one[2], "t": agent.t}
            agent.states = one[1]
            agent.pending.update({f"state_out_{number}": state for number, state in enumerate(one[1])})
            agent.t += 1
            running.episode.act(agent_id, stored[index], state=one[1], extra=one[2])
            passed = ActionConnectorDataType(env_id, agent_id, output.raw_dict, one)
            policy.agent_connectors.on_policy_output(passed)
            if policy.action_connectors is not None:
                passed = policy.action_connectors(passed)
            action = passed.output[0]
            if isinstance(action, np.generic | np.ndarray) and action.ndim == 0 and action.dtype.kind in "iu":
                action = int(action)
            actions[env_id][agent_id] = action

    # Episodes -------------------------------------------------------------------------------------------------------

    def _new_episode(self, env_id: Any) -> Episode:
        worker = self.worker
        number, self._next_id = self._next_id, self._next_id + 1
        episode = Episode(worker.policy_map, worker.policy_mapping_fn, env_id, worker=worker, episode_id=number)
        self._call("on_episode_created", env_id, episode)
        return episode

    def _end(self, env_id: Any) -> None:
        running = self._running.pop(env_id)
        episode = running.episode
        self._call("on_episode_end", env_id, episode)
        self.metrics.append(
            RolloutMetrics(
                episode_length=episode.length,
                episode_reward=episode.total_reward,
                agent_rewards=dict(episode.agent_rewards),
                custom_metrics=episode.custom_metrics,
                hist_data=episode.hist_data,
                media=episode.media,
            )
        )
        if self.settings.complete_episodes:
            self._steps += episode.length
        self._hand_over(running)
        self._reset_connectors(env_id)

    def _begin_anew(self, env_id: Any, ready: dict[str, Any]) -> None:
        obs, infos = self.base_env.try_reset(env_id)
        seen = None if obs is None else obs.get(env_id)
        if isinstance(seen, dict):
            self._one_env(env_id, seen, [{}, {}, {}, (infos or {}).get(env_id, {})], ready)

    def _fail(self, env_id: Any, error: Exception, ready: dict[str, Any]) -> None:
        """An environment raised: its episode is dropped, and it is made anew."""
        running = self._running.pop(env_id, None)
        if running is not None:
            if not self.settings.complete_episodes:
                self._steps -= max((len(agent.rows) for agent in running.agents.values()), default=0)
            running.episode.is_faulty = True
        self._call("on_episode_end", env_id, error)
        self.metrics.append(RolloutMetrics(episode_length=0, episode_reward=0.0, episode_faulty=True))
        self._reset_connectors(env_id)
        self.base_env.try_restart(env_id)
        self._begin_anew(env_id, ready)

    def _reset_connectors(self, env_id: Any) -> None:
        for policy in self.worker.policy_map.values():
            policy.reset_connectors(env_id)

    def _hand_over(self, running: _Running) -> None:
        """The rows of each agent become a batch of its policy."""
        batches = {}
        for agent_id, agent in running.agents.items():
            if agent.rows:
                policy = self.worker.policy_map[agent.policy_id]
                batches[agent_id] = (agent.policy_id, policy, self._batch_of(running, agent_id, agent))
        for agent_id, (_, policy, batch) in batches.items():
            others = {other: pair for other, pair in batches.items() if other != agent_id}
            agent = running.agents[agent_id]
            processed = self._processed(policy, batch, agent, others, running.episode)
            self.worker.callbacks.on_postprocess_trajectory(
                worker=self.worker,
                episode=running.episode,
                agent_id=agent_id,
                policy_id=agent.policy_id,
                policies=self.worker.policy_map,
                postprocessed_batch=processed,
                original_batches=batches,
            )
            self._batches.setdefault(agent.policy_id, []).append(processed)

    def _batch_of(self, running: _Running, agent_id: Any, agent: _Agent) -> SampleBatch:
        rows, agent.rows = agent.rows, []
        columns = {key: np.stack([np.asarray(row[key]) for row in rows]) for key in rows[0] if key != "infos"}
        infos: Any = np.empty(len(rows), object)
        infos[:] = [row["infos"] for row in rows]
        number, self._next_unroll = self._next_unroll, self._next_unroll + 1
        constants = {
            "eps_id": running.episode.episode_id,
            "unroll_id": number,
            "agent_index": running.episode.agent_index(agent_id),
        }
        columns.update({key: np.full(len(rows), value, np.int64) for key, value in constants.items()})
        return SampleBatch({**columns, "infos": infos})

    def _processed(self, policy: Any, batch: SampleBatch, agent: _Agent, others: Any, episode: Episode) -> SampleBatch:
        if not handles_whole_rollouts(policy):
            processed: SampleBatch = policy.postprocess_trajectory(batch, others, episode)
            return processed
        if not hasattr(policy, "postprocess_rollout"):
            return batch
        columns = {name: np.asarray(column)[None] for name, column in batch.items()}
        open_ended = not batch["terminateds"][-1]
        cuts = np.array([batch.count - 1] if open_ended else [], np.int64)
        states = self._states_after(policy, agent) if open_ended else []
        rollout = Rollout(columns, cuts, columns["new_obs"][0][cuts], states)
        policy.postprocess_rollout(rollout)
        return SampleBatch({name: column[0] for name, column in rollout.columns.items()})

    @staticmethod
    def _states_after(policy: Any, agent: _Agent) -> list[Any]:
        """The recurrent states where the rows end: those with which the step that is pending began, or those after the last."""
        count = len(policy.get_initial_state())
        if agent.pending is not None:
            return [
                agent.pending[f"state_in_{index}"][None]
                for index in range(count)
                if f"state_in_{index}" in agent.pending
            ]
        return [np.asarray(state)[None] for state in agent.states[:count]]

    def _call(self, hook: str, env_id: Any, episode: Any) -> None:
        worker = self.worker
        getattr(worker.callbacks, hook)(
            worker=worker, base_env=self.base_env, policies=worker.policy_map, episode=episode, env_index=env_id
        )

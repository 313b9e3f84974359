"""The loop of a rollout: N environments, one policy, and columns that are filled step by step."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from aktis.rllib.evaluation._action_transform import ActionTransform, flatten_actions
from aktis.rllib.evaluation._block import Block
from aktis.rllib.evaluation._endless import EndlessWatch
from aktis.rllib.evaluation._episode_book import EpisodeBook
from aktis.rllib.evaluation._observations import refuse_nan
from aktis.rllib.evaluation._trajectories import exploration_listens, tell_exploration
from aktis.rllib.evaluation._views import Views, asked_for
from aktis.rllib.evaluation.metrics import RolloutMetrics

if TYPE_CHECKING:
    from aktis.rllib.evaluation._episode_tracker import EpisodeTracker
    from aktis.rllib.evaluation._steppers import Stepper

__all__ = ["Cut", "SamplerSettings", "Steps", "VectorRunner"]

Array: TypeAlias = Any  # np.ndarray
Cut = tuple[Array, list[Array]]  # what was observed after a step, and the recurrent states there


@dataclass(frozen=True, kw_only=True)
class SamplerSettings:
    """How to sample.

    Attributes:
        action_space: Of the environment.
        complete_episodes: Batches hold whole episodes; otherwise the same number of steps of each environment.
        clip_rewards: False: as they are. True: their sign. A number c: to [-c, c].
        normalize_actions: Policies act in [-1, 1].
        clip_actions: Actions are clipped to the space.
        update_filter: Whether sampling changes the statistics of the observation filter.
        compress: Whether observations are compressed in the batch.
        worker_index: Of the worker: episodes have numbers that no other worker gives.
        generation: How often the worker was made anew.
        check: Whether observations are looked at.
    """

    action_space: Any
    complete_episodes: bool = False
    clip_rewards: bool | float = False
    normalize_actions: bool = True
    clip_actions: bool = False
    update_filter: bool = True
    compress: bool = False
    worker_index: int = 0
    generation: int = 0
    check: bool = True


@dataclass
class Steps:
    """What a run gave.

    Attributes:
        columns: ``[N, T, ...]`` by name.
        mask: Which steps count, ``[N, T]``; None: all.
        truncated: By (environment, step): what was observed after truncated steps.
        current: What is observed now, after the last step.
    """

    columns: dict[str, Array]
    mask: Array | None
    truncated: dict[tuple[int, int], Cut]
    current: Array
    states: list[Array] = field(default_factory=list)

    def cut(self, env: int) -> Cut:
        """What is observed now in an environment, and its recurrent states."""
        return self.current[env].copy(), [state[env].copy() for state in self.states]


class VectorRunner:
    """Steps N environments with one policy.

    Args:
        stepper: The environments.
        get_policy: Gives the policy (it may be another one tomorrow).
        get_filter: Gives the filter of observations, or None.
        settings: How to sample.
        seeds: Of the environments, for their first episodes.
        tracker: Keeps episode objects for callbacks. None: nobody wants them.
    """

    def __init__(
        self,
        stepper: Stepper,
        get_policy: Callable[[], Any],
        get_filter: Callable[[], Any],
        settings: SamplerSettings,
        seeds: list[int | None],
        tracker: EpisodeTracker | None = None,
    ) -> None:
        self.stepper = stepper
        self.settings = settings
        self.num_envs = stepper.num_envs
        self.book = EpisodeBook(self.num_envs, settings.worker_index, settings.generation)
        self.metrics: list[RolloutMetrics] = []
        self.policy: Any = None
        self.tracker = tracker
        # Whether each trajectory is looked at by itself: with new_obs and state_out_*, even where the policy does not want them.
        self.for_trajectories = False
        self._get_policy = get_policy
        self._get_filter = get_filter
        self._filter: Any = None
        self._seeds = seeds
        self._transform = ActionTransform(
            settings.action_space, normalize=settings.normalize_actions, clip=settings.clip_actions
        )
        self._for_env = self._transform.batch if stepper.takes_batches else self._transform.each
        self._views = Views({}, self.num_envs)
        self._asked: set[str] = set()
        self._initial: list[Array] = []
        self._state: list[Array] = []
        self._current: Array | None = None
        self._finals: dict[tuple[int, int], Array] = {}
        self._truncated: dict[tuple[int, int], Cut] = {}
        self._ended_steps = 0
        self._watch = EndlessWatch()
        self._seconds = {"raw_obs_processing": 0.0, "inference": 0.0, "action_processing": 0.0, "env_wait": 0.0}
        self._vector_steps = 0

    def refresh(self) -> None:
        """Get ready for what comes: another policy may have taken the place of the last one."""
        policy = self._get_policy()
        self._filter = self._get_filter()
        if policy is self.policy:
            return
        self.policy = policy
        self._tells_exploration = exploration_listens(policy)
        requirements = getattr(policy, "view_requirements", None) or {}
        self._asked = asked_for(policy)
        self._views = Views(requirements, self.num_envs)
        states = [np.asarray(state) for state in policy.get_initial_state()]
        # A memory that is a view of earlier outputs (attention) is no state of ours.
        self._initial = [] if any(data.startswith("state_out_") for data in self._views.depth) else states
        self._state = [np.repeat(state[None], self.num_envs, axis=0) for state in self._initial]
        if self._current is None:
            self._reset_all()
        self._prepare_views(states)

    def _reset_all(self) -> None:
        self.stepper.reset(self._seeds)
        self._current = self._filtered(self.stepper.obs)
        if self.tracker is not None:
            for env, number in enumerate(self.book.ids.tolist()):
                self.tracker.begin(env, number, self.stepper)

    def _prepare_views(self, states: list[Array]) -> None:
        if not self._views.views:
            return
        current = self._current
        assert current is not None
        self._views.prepare("obs", current)
        self._views.prepare("rewards", np.zeros(self.num_envs, np.float32))
        self._views.prepare(
            "actions", flatten_actions(self.settings.action_space, _zero_actions(self.settings.action_space))
        )
        for index, state in enumerate(states):
            self._views.prepare(f"state_out_{index}", state[None])
        for env in range(self.num_envs):
            self._views.begin(env, current[env])

    # A run ----------------------------------------------------------------------------------------------------------

    def run(self, steps: int) -> Steps:
        """So many steps of each environment (on average, where environments need steps of their own for resets)."""
        block = self._begin(steps)
        missing = 0
        while block.steps * self.num_envs - missing < steps * self.num_envs:
            self._step(block)
            if self.stepper.skipped is not None:
                missing += int(self.stepper.skipped.sum())
        return self._finish(block)

    def run_until_ended(self, wanted: int) -> Steps:
        """Steps until episodes have ended that have ``wanted`` steps together."""
        block = self._begin(256)
        self._ended_steps = 0
        while self._ended_steps < wanted:
            self._step(block)
            self._watch.step(bool(self.stepper.ended))
        return self._finish(block)

    def _begin(self, capacity: int) -> Block:
        self.book.begin_block()
        self._finals, self._truncated = {}, {}
        self._before = {name: history.copy() for name, history in self._views.history.items()}
        return Block(self.num_envs, capacity)

    def _step(self, block: Block) -> None:
        if block.steps == block.capacity:
            block.grow()
        clock, stepper, obs, policy = time.perf_counter, self.stepper, self._current, self.policy
        assert obs is not None
        start = clock()
        inputs: dict[str, Any] = {"obs": obs}
        if self._views.views:
            inputs.update(self._views.inputs(obs))
        for index, state in enumerate(self._state):
            inputs[f"state_in_{index}"] = state
            block.write(f"state_in_{index}", state)
        episodes = None if self.tracker is None else self.tracker.episodes
        actions, states, extras = policy.compute_actions_from_input_dict(
            inputs, timestep=policy.global_timestep, episodes=episodes
        )
        inferred = clock()
        stored = flatten_actions(self.settings.action_space, actions) if self._transform.structured else actions
        block.write("obs", obs)
        block.write("actions", stored)
        for name, values in extras.items():
            block.write(name, values)
        for_env = self._for_env(actions)
        acted = clock()
        stepper.step(for_env)
        stepped = clock()
        rewards = self._clip(stepper.rewards)
        block.write("rewards", rewards)
        block.write("terminateds", stepper.terminateds)
        block.write("truncateds", stepper.truncateds)
        if "infos" in self._asked:
            block.write_objects("infos", stepper.infos)
        self._after(block, stored, states, rewards)
        seconds = self._seconds
        seconds["inference"] += inferred - start
        seconds["action_processing"] += acted - inferred
        seconds["env_wait"] += stepped - acted
        seconds["raw_obs_processing"] += clock() - stepped
        self._vector_steps += 1

    def _after(self, block: Block, stored: Array, states: list[Any], rewards: Array) -> None:
        """Take note of what the step brought: returns, states, ends and beginnings."""
        stepper, views = self.stepper, self._views
        self.book.add(stepper.rewards)
        if self._state:
            self._state = [np.array(state) for state in states]
        if views.views:
            views.push("obs", block.current("obs"))
            views.push("actions", stored)
            views.push("rewards", rewards)
            for index, state in enumerate(states):
                views.push(f"state_out_{index}", np.asarray(state))
        if not self._state or self.for_trajectories:
            for index, state in enumerate(states):
                block.write(f"state_out_{index}", state)
        if self.tracker is not None:
            self.tracker.step(stored, stepper)
        if stepper.ended:
            self._note_ends(block)
        if stepper.failed:
            self._drop_failed(block)
        if stepper.skipped is not None:
            for env in np.flatnonzero(stepper.skipped).tolist():
                block.drop(env, block.steps)
        self._current = self._filtered(stepper.obs)
        if stepper.begun:
            self._begin_episodes()
        block.steps += 1

    def _note_ends(self, block: Block) -> None:
        stepper, filter_, book = self.stepper, self._filter, self.book
        wants_new_obs = self.for_trajectories or "new_obs" in self._asked
        for env in stepper.ended:
            truncated = not stepper.terminateds[env]
            if truncated or wants_new_obs:
                final = stepper.final_obs[env]
                final = final if filter_ is None else filter_(final, update=False)
                self._finals[env, block.steps] = final
                if truncated:
                    self._truncated[env, block.steps] = (final, [state[env].copy() for state in self._state])
            extra = {} if self.tracker is None else self.tracker.end(env, stepper)
            if self._tells_exploration:
                tell_exploration(self.policy, "on_episode_end")
            length = int(book.lengths[env])
            self._ended_steps += length
            if stepper.monitors is None:
                self._note(length, float(book.returns[env]), **extra)
            else:  # what ends here may be one life of a game: the game itself is what is told of
                for total, steps in stepper.monitors[env].next_episode_results():
                    self._note(steps, total, **extra)

    def _begin_episodes(self) -> None:
        skipped = self.stepper.skipped
        assert self._current is not None
        for env in self.stepper.begun:
            if self._tells_exploration:
                tell_exploration(self.policy, "on_episode_start")
            number = self.book.restart(env, after_skip=skipped is not None and bool(skipped[env]))
            for state, initial in zip(self._state, self._initial, strict=True):
                state[env] = initial
            if self._views.views:
                self._views.begin(env, self._current[env])
            if self.tracker is not None:
                self.tracker.begin(env, number, self.stepper)

    def _drop_failed(self, block: Block) -> None:
        """The episode of an environment that raised is no experience: what the block has of it does not count."""
        for env, error in self.stepper.failed:
            if env in self.stepper.ended:  # it raised in the reset after its end: the episode is whole
                continue
            length = int(self.book.lengths[env])
            block.drop(env, max(0, block.steps + 1 - length))
            self._note(0, 0.0, faulty=True)
            if self.tracker is not None:
                self.tracker.fail(env, error)

    def _finish(self, block: Block) -> Steps:
        """The columns of a block, with those that follow from the others."""
        columns = block.columns()
        ended = columns["terminateds"] | columns["truncateds"]
        columns["t"], columns["eps_id"] = self.book.columns(ended)
        columns["agent_index"] = np.zeros(ended.shape, np.int64)
        if "env_id" in self._asked:
            columns["env_id"] = np.repeat(np.arange(self.num_envs)[:, None], block.steps, axis=1)
        if self._views.views:
            columns.update(self._views.columns(self._before, columns, columns["t"]))
        current = self._current
        assert current is not None
        if self.for_trajectories or "new_obs" in self._asked:
            obs = columns["obs"]
            following = np.empty_like(obs)
            following[:, :-1] = obs[:, 1:]
            following[:, -1] = current
            for at, final in self._finals.items():
                following[at] = final
            columns["new_obs"] = following
        mask = block.mask()
        if self.settings.check:
            first = self._vector_steps - block.steps
            refuse_nan(columns["obs"], lambda at: f"sub-environment {at[0]}, step {first + at[1]}", mask)
        return Steps(columns, mask, self._truncated, current, self._state)

    # Helpers --------------------------------------------------------------------------------------------------------

    def _filtered(self, obs: Array) -> Array:
        filter_ = self._filter
        if filter_ is None:
            return obs
        filtered: Array = filter_.batch(obs, update=self.settings.update_filter)
        return filtered

    def _clip(self, rewards: Array) -> Array:
        limit = self.settings.clip_rewards
        if limit is False:
            return rewards.astype(np.float32)
        clipped: Array = np.sign(rewards) if limit is True else np.clip(rewards, -limit, limit)
        return clipped.astype(np.float32)

    def _note(self, length: int, total: float, *, faulty: bool = False, **extra: Any) -> None:
        self.metrics.append(
            RolloutMetrics(
                episode_length=length,
                episode_reward=total,
                agent_rewards=extra.get("agent_rewards", {}),
                custom_metrics=extra.get("custom_metrics", {}),
                hist_data=extra.get("hist_data", {}),
                media=extra.get("media", {}),
                episode_faulty=faulty,
            )
        )

    def take_metrics(self) -> list[RolloutMetrics]:
        """The episodes that ended since the last call, each once."""
        found, self.metrics = self.metrics, []
        stats = self._perf_stats()
        return [episode._replace(perf_stats=stats) for episode in found]

    def _perf_stats(self) -> dict[str, float]:
        """Milliseconds per step of all environments, on average."""
        steps = max(1, self._vector_steps)
        stats = {f"mean_{name}_ms": 1000.0 * seconds / steps for name, seconds in self._seconds.items()}
        stats["mean_env_render_ms"] = 0.0
        return stats


def _zero_actions(space: Any) -> Any:
    """A batch of one action, of the structure of the space."""
    import tree

    return tree.map_structure(lambda leaf: np.zeros_like(np.asarray(leaf))[None], space.sample())

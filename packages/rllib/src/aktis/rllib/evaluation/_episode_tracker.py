"""Episode objects beside the arrays of a rollout, for the callbacks of users; nothing here runs where there are none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from aktis.rllib.evaluation.episode import AGENT, Episode

if TYPE_CHECKING:
    from aktis.rllib.evaluation._steppers import Stepper

__all__ = ["EpisodeTracker", "HOOKS"]

Array: TypeAlias = Any  # np.ndarray

# The hooks for which episodes have to be objects.
HOOKS = ("on_episode_created", "on_episode_start", "on_episode_step", "on_episode_end")


class EpisodeTracker:
    """The running episode of each environment, as an object, and the calls of the hooks of episodes.

    Args:
        worker: Given to the hooks; it has ``callbacks``, ``policy_map``, ``policy_mapping_fn`` and ``async_env``.
        num_envs: How many environments there are.
    """

    def __init__(self, worker: Any, num_envs: int) -> None:
        self.worker = worker
        self.episodes: list[Episode] = [self._new(env, 0) for env in range(num_envs)]
        self._ended: dict[int, Episode] = {}  # by episode id: post-processing asks for them at the end of the fragment

    def begin(self, env: int, episode_id: int, stepper: Stepper) -> None:
        """An episode begins; its first observation is in the stepper."""
        episode = self.episodes[env] = self._new(env, episode_id)
        self._call("on_episode_created", env, episode)
        info = stepper.reset_infos.get(env)
        episode.observe(AGENT, stepper.obs[env].copy(), raw=stepper.raw_obs[env], info=info)
        self._call("on_episode_start", env, episode)

    def step(self, actions: Array, stepper: Stepper) -> None:
        """A step of all environments has been done."""
        for env, episode in enumerate(self.episodes):
            if stepper.skipped is not None and stepper.skipped[env]:
                continue
            if any(env == failed for failed, _ in stepper.failed) and env not in stepper.ended:
                continue
            episode.step()
            episode.act(AGENT, actions[env])
            episode.reward(AGENT, float(stepper.rewards[env]))
            over = env in stepper.final_obs
            obs = stepper.final_obs[env] if over else stepper.obs[env].copy()
            raw = stepper.raw_final_obs.get(env) if over else stepper.raw_obs[env]
            episode.observe(AGENT, obs, raw=raw, info=stepper.infos[env])
            episode.finish(AGENT, terminated=bool(stepper.terminateds[env]), truncated=bool(stepper.truncateds[env]))
            self._call("on_episode_step", env, episode)

    def end(self, env: int, stepper: Stepper) -> dict[str, Any]:
        """An episode has ended: what callbacks put into it, for the metrics."""
        episode = self.episodes[env]
        self._call("on_episode_end", env, episode)
        self._ended[episode.episode_id] = episode
        return {
            "agent_rewards": dict(episode.agent_rewards),
            "custom_metrics": episode.custom_metrics,
            "hist_data": episode.hist_data,
            "media": episode.media,
        }

    def fail(self, env: int, error: BaseException) -> None:
        """The environment raised: the hook gets what it raised in place of an episode."""
        self.episodes[env].is_faulty = True
        self._call("on_episode_end", env, error)

    def episode_of(self, env: int, episode_id: int) -> Episode:
        """The episode of that number."""
        return self._ended.get(episode_id, self.episodes[env])

    def forget(self, episode_ids: Iterable[int]) -> None:
        """Post-processing is done: nobody asks for these episodes, if they have ended, any more."""
        for episode_id in episode_ids:
            self._ended.pop(episode_id, None)

    def _new(self, env: int, episode_id: int) -> Episode:
        worker = self.worker
        return Episode(worker.policy_map, worker.policy_mapping_fn, env, worker=worker, episode_id=episode_id)

    def _call(self, hook: str, env: int, episode: Any) -> None:
        worker = self.worker
        getattr(worker.callbacks, hook)(
            worker=worker, base_env=worker.async_env, policies=worker.policy_map, episode=episode, env_index=env
        )

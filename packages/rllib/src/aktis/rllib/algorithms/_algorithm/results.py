"""The result of an iteration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aktis.rllib.algorithms._algorithm.base import AlgorithmParts
from aktis.rllib.evaluation.metrics import collect_episodes, summarize_episodes, with_history
from aktis.rllib.utils.metrics import (
    LEARNER_INFO,
    NUM_AGENT_STEPS_SAMPLED,
    NUM_AGENT_STEPS_TRAINED,
    NUM_ENV_STEPS_SAMPLED,
    NUM_ENV_STEPS_TRAINED,
)

if TYPE_CHECKING:
    from aktis.rllib.algorithms._algorithm.iteration import Iteration
    from aktis.rllib.algorithms._algorithm.usage import Usage

__all__ = ["ResultsPart"]

STEPS = (NUM_ENV_STEPS_SAMPLED, NUM_AGENT_STEPS_SAMPLED, NUM_ENV_STEPS_TRAINED, NUM_AGENT_STEPS_TRAINED)
_TWICE = (
    "episode_reward_max", "episode_reward_min", "episode_reward_mean", "episode_len_mean", "episode_media", "episodes_this_iter",
    "policy_reward_min", "policy_reward_max", "policy_reward_mean", "custom_metrics", "hist_stats", "sampler_perf",
    "num_faulty_episodes", "connector_metrics",
)  # fmt: skip


class ResultsPart(AlgorithmParts):
    """Makes the dictionary that ``train()`` returns."""

    _usage: Usage | None

    def _new_episodes(self) -> list[Any]:
        """Episodes that ended since the last result."""
        held, self._episodes_to_be_collected = self._episodes_to_be_collected, []
        return held + collect_episodes(
            self.workers,
            self._remote_worker_ids_for_metrics(),
            timeout_seconds=self.config.metrics_episode_collection_timeout_s,
        )

    def _remote_worker_ids_for_metrics(self) -> list[int] | None:
        """Which remote workers are asked for metrics; None: all. An algorithm whose workers are busy says which can answer."""
        return None

    def _compile_iteration_results(
        self, *, episodes_this_iter: list[Any], step_ctx: Iteration, iteration_results: dict[str, Any]
    ) -> dict[str, Any]:
        """The result, of what ``training_step`` returned, the episodes, the counters and the timers."""
        learner = dict(iteration_results)
        evaluation = learner.pop("evaluation", None)
        results: dict[str, Any] = {} if evaluation is None else {"evaluation": evaluation}
        window, self._episode_history = with_history(
            episodes_this_iter, self._episode_history, self.config.metrics_num_episodes_for_smoothing
        )
        sampled = summarize_episodes(window, episodes_this_iter, self.config.keep_per_episode_custom_metrics)
        results["info"] = {LEARNER_INFO: learner, **self._counters}
        results["sampler_results"] = sampled
        results.update({key: sampled[key] for key in _TWICE})
        results.update(self._worker_facts())
        by_agents = self.config.count_steps_by == "agent_steps"
        for key in STEPS:
            results[key] = self._counters[key]
        for key in (
            (NUM_AGENT_STEPS_SAMPLED, NUM_AGENT_STEPS_TRAINED)
            if by_agents
            else (NUM_ENV_STEPS_SAMPLED, NUM_ENV_STEPS_TRAINED)
        ):
            results[f"{key}_this_iter"] = step_ctx.done(key)
        seconds = max(step_ctx.seconds(), 1e-9)
        for key in (NUM_ENV_STEPS_SAMPLED, NUM_ENV_STEPS_TRAINED):
            results[f"{key}_throughput_per_sec"] = step_ctx.done(key) / seconds
        results["timesteps_total"] = self._counters[NUM_AGENT_STEPS_SAMPLED if by_agents else NUM_ENV_STEPS_SAMPLED]
        results["num_steps_trained_this_iter"] = step_ctx.done(
            NUM_AGENT_STEPS_TRAINED if by_agents else NUM_ENV_STEPS_TRAINED
        )
        results["agent_timesteps_total"] = self._counters[NUM_AGENT_STEPS_SAMPLED]
        results["timers"] = self._timer_results()
        results["counters"] = dict(self._counters)
        if self._usage is not None:
            results["perf"] = self._usage.read()
        return results

    def _worker_facts(self) -> dict[str, Any]:
        workers = self.workers
        return {
            "num_healthy_workers": workers.num_healthy_remote_workers(),
            "num_in_flight_async_reqs": workers.num_in_flight_async_reqs(),
            "num_remote_worker_restarts": workers.num_remote_worker_restarts(),
        }

    def _timer_results(self) -> dict[str, float]:
        made: dict[str, float] = {}
        for name, timer in self._timers.items():
            made[f"{name}_time_ms"] = round(timer.mean * 1000, 3)
            if timer.has_units_processed():
                made[f"{name}_throughput"] = round(timer.mean_throughput, 3)
        return made

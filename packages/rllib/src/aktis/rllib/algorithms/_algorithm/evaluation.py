"""Evaluation: the policy on workers of its own, after training or beside it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aktis.rllib.algorithms._algorithm import evaluation_rounds as rounds
from aktis.rllib.algorithms._algorithm.base import AlgorithmParts
from aktis.rllib.evaluation.metrics import summarize_episodes
from aktis.rllib.utils.metrics import NUM_AGENT_STEPS_SAMPLED_THIS_ITER, NUM_ENV_STEPS_SAMPLED_THIS_ITER

if TYPE_CHECKING:
    from aktis.rllib.algorithms._algorithm.iteration import Iteration

__all__ = ["EvaluationPart"]


class EvaluationPart(AlgorithmParts):
    """Measures how good the policy is.

    Beside training, the iteration stays in the thread that called ``train()``, and the evaluation is in a thread of its
    own, which only asks the evaluation's workers and waits for them. They have the weights from before the iteration.
    """

    if TYPE_CHECKING:

        def _run_one_training_iteration(self) -> tuple[dict[str, Any], Iteration]: ...

        def _make_evaluation_workers(self) -> None: ...

        def _require_running(self, what: str) -> None: ...

    def evaluate(self, duration_fn: Callable[[int], int] | None = None) -> dict[str, Any]:
        """Evaluate the policy now.

        Args:
            duration_fn: ``f(done)`` returns how many more episodes (or steps) are to be run, when so many are done; 0
                ends it. By default ``evaluation_duration``.

        Returns:
            ``{"evaluation": {...}}``, the metrics of the episodes.
        """
        self._require_running("evaluate()")
        if self.evaluation_workers is None:
            self._make_evaluation_workers()
        self._prepare_evaluation()
        return self._evaluate_prepared(duration_fn)

    def _prepare_evaluation(self) -> None:
        """Bring the evaluation's workers up to date: those that died are made anew, and all get weights, time and filters."""
        evaluators = self.evaluation_workers
        assert evaluators is not None
        self._before_evaluate()
        self.restore_workers(evaluators)
        self._sync_weights_to_workers(worker_set=evaluators)
        if self.config.observation_filter != "NoFilter":
            filters = self._local.get_filters()
            evaluators.foreach_worker(
                lambda worker: worker.sync_filters(filters),
                timeout_seconds=self.config.sync_filters_on_rollout_workers_timeout_s,
            )

    def _evaluate_prepared(self, duration_fn: Callable[[int], int] | None) -> dict[str, Any]:
        evaluators = self.evaluation_workers
        assert evaluators is not None
        self.callbacks.on_evaluate_start(algorithm=self)  # type: ignore[arg-type]
        custom = self.config.custom_evaluation_function
        if custom is not None:
            metrics = custom(self, evaluators)
            if not isinstance(metrics, dict):
                raise ValueError(
                    f"custom_evaluation_function must return a dict of metrics, not {metrics!r} ({type(metrics).__name__})"
                )
        else:
            metrics = self._usual_evaluation(evaluators, duration_fn)
        metrics["num_healthy_workers"] = evaluators.num_healthy_remote_workers()
        metrics["num_in_flight_async_reqs"] = evaluators.num_in_flight_async_reqs()
        metrics["num_remote_worker_restarts"] = evaluators.num_remote_worker_restarts()
        self.evaluation_metrics = {"evaluation": metrics}
        self.callbacks.on_evaluate_end(algorithm=self, evaluation_metrics=self.evaluation_metrics)  # type: ignore[arg-type]
        return self.evaluation_metrics

    def _usual_evaluation(self, evaluators: Any, duration_fn: Callable[[int], int] | None) -> dict[str, Any]:
        unit = self.config.evaluation_duration_unit
        keep_batches = bool(self.reward_estimators)
        if duration_fn is None:
            duration = self.config.evaluation_duration
            if duration == "auto":  # asked for outside of training: nothing says how long that is
                duration = max(evaluators.num_remote_workers(), 1)
            duration_fn = _up_to(duration)
        run = rounds.of_local_worker
        if evaluators.num_remote_workers() > 0:
            run = rounds.of_workers_async if self.config.enable_async_evaluation else rounds.of_workers
        done = run(evaluators, duration_fn, unit, keep_batches, self.config)
        metrics = summarize_episodes(done.episodes, done.episodes, self.config.keep_per_episode_custom_metrics)
        metrics[NUM_AGENT_STEPS_SAMPLED_THIS_ITER] = done.agent_steps
        metrics[NUM_ENV_STEPS_SAMPLED_THIS_ITER] = done.env_steps
        metrics["timesteps_this_iter"] = (
            done.agent_steps if self.config.count_steps_by == "agent_steps" else done.env_steps
        )
        if self.reward_estimators:
            metrics["off_policy_estimator"] = self._estimates(done.batches)
        return metrics

    def _estimates(self, batches: list[Any]) -> dict[str, Any]:
        """What each off-policy estimator says of all that the evaluation has read."""
        from aktis.rllib.offline.estimators._setup import estimates

        return estimates(self.reward_estimators, batches, self.config.ope_split_batch_by_episode)

    # -- as a part of an iteration -------------------------------------------------------------------

    def _evaluates_this_iteration(self) -> bool:
        interval = self.config.evaluation_interval
        return bool(interval) and (self.iteration + 1) % interval == 0

    def _run_one_training_iteration_and_evaluation_in_parallel(self) -> tuple[dict[str, Any], Iteration]:
        trained = threading.Event()
        self._prepare_evaluation()  # before training changes the weights
        evaluation = _Thread(lambda: self._evaluate_prepared(self._duration_beside_training(trained)))
        evaluation.start()
        try:
            results, iteration = self._run_one_training_iteration()
        finally:
            trained.set()
            evaluation.join()
        results.update(evaluation.result())
        return results, iteration

    def _duration_beside_training(self, trained: threading.Event) -> Callable[[int], int] | None:
        """For "auto": another round for each worker, until training is over; and at least one."""
        if self.config.evaluation_duration != "auto":
            return None
        workers = max(self.config.evaluation_num_workers, 1)
        episodes = self.config.evaluation_duration_unit == "episodes"
        evaluation_config = self.evaluation_config
        assert evaluation_config is not None
        fragment = int(evaluation_config.get_rollout_fragment_length()) * evaluation_config.num_envs_per_worker
        one_round = workers * (1 if episodes else fragment)
        return lambda done: 0 if done and trained.is_set() else one_round

    def _before_evaluate(self) -> None:
        """For algorithms: called before each evaluation."""

    # -- workers that follow others ------------------------------------------------------------------

    def _sync_weights_to_workers(self, *, worker_set: Any) -> None:
        """Give a set of workers the weights (and the time) of the policies that learn."""
        local = self._local
        global_vars = local.get_global_vars() if hasattr(local, "get_global_vars") else None
        worker_set.sync_weights(from_worker=local, global_vars=global_vars, timeout_seconds=None)

    def _sync_filters_if_needed(self, *, from_worker: Any, workers: Any, timeout_seconds: float | None = None) -> None:
        """What workers have seen goes into the filters of ``from_worker``, and these to all workers."""
        if from_worker is None or self.config.observation_filter == "NoFilter":
            return
        from aktis.rllib.utils.filter_manager import FilterManager

        FilterManager.synchronize(
            from_worker.filters,
            workers,
            update_remote=self.config.synchronize_filters,
            timeout_seconds=timeout_seconds,
        )

    def restore_workers(self, workers: Any) -> None:
        """Get workers back that died, if the configuration says so; they have the state of the local one before they do anything.

        Args:
            workers: The set.
        """
        if self.config.recreate_failed_workers or self.config.ignore_worker_failures:
            workers.probe_unhealthy_workers()


def _up_to(duration: int) -> Callable[[int], int]:
    return lambda done: duration - done


class _Thread(threading.Thread):
    """A thread whose error is raised where its result is asked for."""

    def __init__(self, work: Callable[[], dict[str, Any]]) -> None:
        super().__init__(name="aktis-rllib-evaluation", daemon=True)
        self._work = work
        self._result: dict[str, Any] | None = None
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._result = self._work()
        except BaseException as error:
            self._error = error

    def result(self) -> dict[str, Any]:
        self.join()
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result

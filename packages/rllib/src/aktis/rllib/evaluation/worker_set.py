"""All workers of an algorithm: one in its own process, and any number of actors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import aktis
from aktis.rllib.env.env_context import EnvContext
from aktis.rllib.evaluation import _worker_requests as requests
from aktis.rllib.evaluation._env_setup import creator_of, whole_config
from aktis.rllib.evaluation._remote_workers import Answer, RemoteWorkers
from aktis.rllib.evaluation.rollout_worker import RolloutWorker

if TYPE_CHECKING:
    import gymnasium

    from aktis.rllib.policy.policy import Policy

__all__ = ["WorkerSet"]

T = TypeVar("T")

logger = logging.getLogger(__name__)


class WorkerSet:
    """A local worker (number 0), and remote ones that are numbered from 1, for life.

    Args:
        env_creator: ``f(EnvContext)`` makes an environment; by default, what ``config.env`` says.
        validate_env: ``f(env, EnvContext)`` raises where an environment will not do.
        default_policy_class: Of policies for which none is named.
        config: The algorithm's configuration.
        num_workers: How many remote workers there are.
        local_worker: Whether there is a local one.
        logdir: Where files of offline output go.
    """

    def __init__(
        self,
        *,
        env_creator: Callable[[EnvContext], Any] | None = None,
        validate_env: Callable[[Any, EnvContext], None] | None = None,
        default_policy_class: type[Policy] | None = None,
        config: Any = None,
        num_workers: int = 0,
        local_worker: bool = True,
        logdir: str | None = None,
        _setup: bool = True,
    ) -> None:
        config = whole_config(config)
        self._config = config
        self._env_creator = env_creator if env_creator is not None else creator_of(config)
        self._validate_env = validate_env
        self._policy_class = default_policy_class
        self._logdir = logdir
        self._num_workers = num_workers
        self._recreate = bool(config.recreate_failed_workers)
        self._tolerate = bool(config.ignore_worker_failures or config.recreate_failed_workers)
        self._failures_in_a_row = 0
        self._told_of: set[int] = set()  # ill workers whose failure is in the log
        self._cls: type[RolloutWorker] = config.worker_cls or RolloutWorker
        self._remote_cls: Any = None
        self._spaces: dict[str, tuple[Any, Any]] | None = None
        self._local_worker: RolloutWorker | None = None
        self._remote = RemoteWorkers(self._make_remote, config.max_requests_in_flight_per_sampler_worker)
        if _setup:
            self._set_up(num_workers, local_worker)

    def _set_up(self, num_workers: int, local_worker: bool) -> None:
        on_local = num_workers == 0 or self._config.create_env_on_local_worker
        try:
            if local_worker and on_local:
                self._local_worker = self._make_local(self._env_creator)
            self.add_workers(num_workers, validate=self._config.validate_workers_after_construction)
            if local_worker and not on_local:
                self._spaces = self._remote_spaces()
                self._local_worker = self._make_local(requests.no_env)
                self.sync_weights()
                self.foreach_worker(requests.nothing, local_worker=False)  # no sampling before the weights are there
        except BaseException:
            self.stop()
            raise

    # Making workers -------------------------------------------------------------------------------------------------

    def _make_local(self, env_creator: Callable[[EnvContext], Any]) -> RolloutWorker:
        return self._cls(
            env_creator=env_creator,
            validate_env=self._validate_env,
            config=self._config,
            worker_index=0,
            num_workers=self._num_workers,
            log_dir=self._logdir,
            spaces=self._spaces,
            default_policy_class=self._policy_class,
        )

    def _make_remote(self, worker_id: int, recreated: bool) -> Any:
        config = self._config
        if self._remote_cls is None:
            options = {
                "num_cpus": config.num_cpus_per_worker,
                "num_gpus": config.num_gpus_per_worker or None,
                "resources": config.custom_resources_per_worker or None,
            }
            self._remote_cls = aktis.remote(**{name: value for name, value in options.items() if value is not None})(
                self._cls
            )
        return self._remote_cls.remote(
            env_creator=self._env_creator,
            validate_env=self._validate_env,
            config=config,
            worker_index=worker_id,
            num_workers=self._num_workers,
            recreated_worker=recreated,
            log_dir=self._logdir,
            spaces=self._spaces,
            default_policy_class=self._policy_class,
        )

    def _remote_spaces(self) -> dict[str, tuple[Any, Any]]:
        answers = self._remote.ask(requests.spaces_of, self._remote.ids()[:1])
        if answers and answers[0].error is not None:
            raise answers[0].error
        return dict(answers[0].value) if answers else {}

    def add_workers(self, num_workers: int, validate: bool = False) -> None:
        """More remote workers, with the weights, filters and variables of the local one.

        Args:
            num_workers: How many.
            validate: Whether to wait until they are there, and raise what their making raised.
        """
        added = self._remote.add(num_workers)
        if self._local_worker is not None and added:
            self._restore(added)
        if validate and added:
            self._values(self._remote.ask(requests.check, added))

    def reset(self, new_remote_workers: list[Any]) -> None:
        """Other remote workers (actor handles) than before."""
        self._remote.replace_all(new_remote_workers)

    def stop(self) -> None:
        """End all workers."""
        try:
            if self._local_worker is not None:
                self._local_worker.stop()
        finally:
            self._remote.stop()

    def is_policy_to_train(self, policy_id: str, batch: Any = None) -> bool:
        """Whether a policy is to be trained."""
        local = self._local_worker
        if local is None:
            return bool(self._config.is_policy_to_train(policy_id, batch))
        return bool(local.is_policy_to_train(policy_id, batch))

    # Who there is ---------------------------------------------------------------------------------------------------

    def local_worker(self) -> RolloutWorker | None:
        """The worker in this process, or None."""
        return self._local_worker

    def remote_workers(self) -> list[Any]:
        """The actors, in the order of their numbers."""
        return self._remote.handles()

    def healthy_worker_ids(self) -> list[int]:
        """Numbers of the remote workers that are well."""
        return self._remote.ids(healthy_only=True)

    def num_remote_workers(self) -> int:
        """How many remote workers there are, healthy or not."""
        return len(self._remote.ids())

    def num_healthy_remote_workers(self) -> int:
        """How many remote workers are well."""
        return len(self.healthy_worker_ids())

    def num_healthy_workers(self) -> int:
        """The same, and the local one."""
        return self.num_healthy_remote_workers() + int(self._local_worker is not None)

    def num_in_flight_async_reqs(self) -> int:
        """How many asynchronous requests have not been fetched yet."""
        return self._remote.in_flight()

    def num_remote_worker_restarts(self) -> int:
        """How many workers have been made anew so far."""
        return self._remote.restarts

    # Asking workers -------------------------------------------------------------------------------------------------

    def foreach_worker(
        self,
        func: Callable[[Any], T] | Sequence[Callable[[Any], T]],
        *,
        local_worker: bool = True,
        healthy_only: bool = False,
        remote_worker_ids: Sequence[int] | None = None,
        timeout_seconds: float | None = None,
        return_obj_refs: bool = False,
        mark_healthy: bool = False,
    ) -> list[T]:
        """``func(worker)`` of each worker, in parallel.

        Args:
            func: One function for all, or a list with one for each.
            local_worker: Whether the local worker is asked too.
            healthy_only: Whether remote workers that are not well are left out.
            remote_worker_ids: Only these remote workers.
            timeout_seconds: How long to wait for remote workers; those that are late are left out. None: as long as they live.
            return_obj_refs: Values of remote workers stay where they are: the list has references to them.
            mark_healthy: Whether those that answer count as healthy from now on.

        Returns:
            The local worker's value first, then in the order of the remote workers' numbers.

        Raises:
            Exception: what a worker raised, or its death, unless failures are tolerated (``ignore_worker_failures``,
                ``recreate_failed_workers``).
        """
        self._told()
        chosen = self._remote.ids(healthy_only=healthy_only, among=remote_worker_ids)
        local = self._local_worker if local_worker else None
        functions: Any = func
        found: list[Any] = []
        if not callable(func):
            functions = list(func)[1:] if local is not None else list(func)
        # Remote workers begin first: the local one works meanwhile.
        refs = self._remote.send(functions, chosen)
        if local is not None:
            found.append((func if callable(func) else func[0])(local))
        answers = self._remote.collect(
            refs, timeout=timeout_seconds, as_refs=return_obj_refs, mark_healthy=mark_healthy
        )
        return [*found, *self._values(answers)]

    def foreach_worker_with_id(
        self,
        func: Callable[[int, Any], T],
        *,
        local_worker: bool = True,
        healthy_only: bool = False,
        remote_worker_ids: Sequence[int] | None = None,
        timeout_seconds: float | None = None,
    ) -> list[T]:
        """``func(worker_id, worker)`` of each worker; otherwise as :meth:`foreach_worker`."""
        chosen = self._remote.ids(healthy_only=healthy_only, among=remote_worker_ids)
        with_local = local_worker and self._local_worker is not None
        functions = [requests.WithId(func, worker_id) for worker_id in ([0] if with_local else []) + chosen]
        return self.foreach_worker(
            functions,
            local_worker=local_worker,
            healthy_only=healthy_only,
            remote_worker_ids=remote_worker_ids,
            timeout_seconds=timeout_seconds,
        )

    def foreach_worker_async(
        self,
        func: Callable[[Any], Any] | Sequence[Callable[[Any], Any]],
        *,
        healthy_only: bool = False,
        remote_worker_ids: Sequence[int] | None = None,
    ) -> int:
        """Ask remote workers without waiting.

        Who has ``max_requests_in_flight_per_sampler_worker`` requests already is passed over.

        Returns:
            How many were asked.
        """
        self._told()
        return self._remote.ask_async(func, self._remote.ids(healthy_only=healthy_only, among=remote_worker_ids))

    def fetch_ready_async_reqs(
        self,
        *,
        timeout_seconds: float | None = 0,
        return_obj_refs: bool = False,
        mark_healthy: bool = False,
    ) -> list[tuple[int, Any]]:
        """What :meth:`foreach_worker_async` has brought so far: (worker id, value).

        Args:
            timeout_seconds: How long to wait for the first one. None: until it is there.
            return_obj_refs: References to the values instead of them.
            mark_healthy: Whether those that answer count as healthy from now on.
        """
        answers = self._remote.fetch_ready(timeout=timeout_seconds, as_refs=return_obj_refs, mark_healthy=mark_healthy)
        self._values(answers)
        return [(answer.worker_id, answer.value) for answer in answers if answer.error is None]

    def foreach_policy(self, func: Callable[[Any, str], T]) -> list[T]:
        """``func(policy, policy_id)`` of each policy of each worker."""
        return _joined(self.foreach_worker(requests.ForEach("foreach_policy", func)))

    def foreach_policy_to_train(self, func: Callable[[Any, str], T]) -> list[T]:
        """The same, of policies that are to be trained."""
        return _joined(self.foreach_worker(requests.ForEach("foreach_policy_to_train", func)))

    def foreach_env(self, func: Callable[[Any], T]) -> list[list[T]]:
        """``func(env)`` of each sub-environment of each worker: a list for each worker."""
        return self.foreach_worker(requests.ForEach("foreach_env", func))

    def foreach_env_with_context(self, func: Callable[[Any, EnvContext], T]) -> list[list[T]]:
        """``func(env, env_context)`` of each sub-environment of each worker: a list for each worker."""
        return self.foreach_worker(requests.ForEach("foreach_env_with_context", func))

    # Weights and policies -------------------------------------------------------------------------------------------

    def sync_weights(
        self,
        policies: list[str] | None = None,
        from_worker: Any = None,
        to_worker_indices: Sequence[int] | None = None,
        global_vars: dict[str, Any] | None = None,
        timeout_seconds: float | None = 0,
    ) -> None:
        """Give all remote workers the weights of the local one; they are put into shared memory once, for all of them.

        Args:
            policies: Only of these policies.
            from_worker: Whose weights; the local worker's by default. With another one, the local worker gets them too.
            to_worker_indices: Only to these remote workers.
            global_vars: Global variables that go with them.
            timeout_seconds: How long to wait until workers have them. 0: not at all (a worker has them before whatever
                it is asked next).
                None: until they have.
        """
        source = from_worker if from_worker is not None else self._local_worker
        if source is None:
            raise ValueError("sync_weights() needs from_worker=: this WorkerSet has no local worker")
        self._told()
        chosen = self._remote.ids(healthy_only=True, among=to_worker_indices)
        if chosen or from_worker is not None:
            weights = source.get_weights(policies) if policies is not None else source.get_weights()
            if chosen:
                shared = aktis.put(weights)
                self._remote.tell("set_weights", chosen, shared, global_vars)
                if timeout_seconds is None or timeout_seconds > 0:
                    self._values(self._remote.ask(requests.nothing, chosen, timeout=timeout_seconds))
            if from_worker is not None and self._local_worker is not None and from_worker is not self._local_worker:
                self._local_worker.set_weights(weights)
        if global_vars and self._local_worker is not None:
            self._local_worker.set_global_vars(global_vars)

    def add_policy(
        self,
        policy_id: str,
        policy_cls: type[Policy] | None = None,
        policy: Policy | None = None,
        *,
        observation_space: gymnasium.Space[Any] | None = None,
        action_space: gymnasium.Space[Any] | None = None,
        config: Any = None,
        policy_state: dict[str, Any] | None = None,
        policy_mapping_fn: Callable[..., str] | None = None,
        policies_to_train: Container[str] | Callable[..., bool] | None = None,
    ) -> None:
        """One policy more, in each worker; see :meth:`RolloutWorker.add_policy`. All have the same weights."""
        if policy_cls is not None and policy is not None:
            raise ValueError("add_policy() takes policy_cls= or policy=, not both")
        given: dict[str, Any] = {
            "policy_id": policy_id,
            "policy_cls": policy_cls,
            "observation_space": observation_space,
            "action_space": action_space,
            "config": config,
            "policy_state": policy_state,
            "policy_mapping_fn": policy_mapping_fn,
            "policies_to_train": policies_to_train,
        }
        if policy is not None:  # others make one like it
            given["policy_cls"] = type(policy)
            given["observation_space"] = getattr(policy.observation_space, "original_space", policy.observation_space)
            given["action_space"] = policy.action_space
            given["config"] = policy.config
            given["policy_state"] = policy.get_state()
        local = self._local_worker
        if local is not None:
            if policy is not None:
                others = {name: given[name] for name in ("policy_id", "policy_mapping_fn", "policies_to_train")}
                local.add_policy(policy=policy, **others)
            else:
                local.add_policy(**given)
                given["policy_state"] = local.policy_map[policy_id].get_state()
            if given["observation_space"] is None:
                spec = local.policy_dict[policy_id]
                given["observation_space"], given["action_space"] = spec.observation_space, spec.action_space
        self.foreach_worker(requests.AddPolicy(given), local_worker=False)

    # Failures -------------------------------------------------------------------------------------------------------

    def probe_unhealthy_workers(self) -> list[int]:
        """Get unhealthy workers back: make them anew (``recreate_failed_workers``), or see whether they answer again.

        Those that come back have the weights, filters and global variables of the local worker before anything else is
        asked of them.

        Returns:
            The numbers of those that are well again.
        """
        ill = [worker_id for worker_id in self._remote.ids() if not self._remote.healthy(worker_id)]
        if not ill:
            return []
        timeout = self._config.worker_health_probe_timeout_s
        if self._recreate:
            for worker_id in ill:
                logger.warning("worker %d is made anew: %s", worker_id, self._remote.last_error)
                self._remote.remake(worker_id)
            timeout = self._config.worker_restore_timeout_s
        elif not self._config.ignore_worker_failures:
            return []
        back = [
            answer.worker_id for answer in self._remote.ask(requests.ping, ill, timeout=timeout) if answer.error is None
        ]
        self._told_of -= set(back)
        self._restore(back)
        answers = self._remote.ask(requests.ping, back, timeout=timeout, mark_healthy=True)
        return [answer.worker_id for answer in answers if answer.error is None]

    def restore_before_sampling(self, *, if_none_is_left: bool = False) -> None:
        """Workers that died are made anew (``recreate_failed_workers``), and somebody is there to sample.

        Args:
            if_none_is_left: Only if none is well any more: the others need not wait for it.

        Raises:
            RuntimeError: no remote worker is well.
        """
        healthy, every = self.num_healthy_remote_workers(), self.num_remote_workers()
        if every and (not healthy or (self._recreate and healthy < every and not if_none_is_left)):
            self.probe_unhealthy_workers()
        self.require_healthy_workers()

    def require_healthy_workers(self) -> None:
        """Raise what the last one died of, if no remote worker is well."""
        if self.num_remote_workers() and not self.num_healthy_remote_workers():
            error = self._remote.last_error
            hint = (
                "they could not be made anew"
                if self._recreate
                else "workers are made anew after a failure if config.rollouts(recreate_failed_workers=True)"
            )
            raise RuntimeError(
                f"none of the {self.num_remote_workers()} remote workers is well; {hint}. The last failure: {error}"
            ) from error

    def _restore(self, worker_ids: list[int]) -> None:
        """The state of the local worker (or of a healthy one) goes to these, before anything else."""
        if not worker_ids:
            return
        state: Any
        if self._local_worker is not None:
            state = requests.whole_state(self._local_worker)
        else:
            others = [worker_id for worker_id in self.healthy_worker_ids() if worker_id not in worker_ids]
            answers = self._remote.ask(requests.whole_state, others[:1])
            if not answers or answers[0].error is not None:
                return
            state = answers[0].value
        self._remote.tell("apply", worker_ids, requests.take_over, aktis.put(state))

    def _told(self) -> None:
        self._values(self._remote.check_told())

    def _values(self, answers: list[Answer]) -> list[Any]:
        """The values; errors raise, or are noted where failures are tolerated."""
        errors = [answer for answer in answers if answer.error is not None]
        for answer in errors:
            assert answer.error is not None
            self._failures_in_a_row += 1
            too_many = self._failures_in_a_row > self._config.num_consecutive_worker_failures_tolerance
            if not self._tolerate or too_many:
                raise answer.error
            if answer.worker_id not in self._told_of:  # once, not with each request that goes to it
                self._told_of.add(answer.worker_id)
                logger.error(
                    "worker %d failed (%d in a row): %s", answer.worker_id, self._failures_in_a_row, answer.error
                )
        values = [answer.value for answer in answers if answer.error is None]
        if values:
            self._failures_in_a_row = 0
            self._told_of -= {answer.worker_id for answer in answers if answer.error is None}
        return values


def _joined(lists: Sequence[Sequence[T]]) -> list[T]:
    return [value for part in lists for value in part]

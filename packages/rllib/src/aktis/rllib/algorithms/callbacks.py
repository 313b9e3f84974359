"""Hooks for code of users: what happens in an algorithm, when it happens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.rllib.algorithms.algorithm import Algorithm
    from aktis.rllib.policy.policy import Policy

__all__ = [
    "DefaultCallbacks",
    "MemoryTrackingCallbacks",
    "MultiCallbacks",
    "RE3UpdateCallbacks",
    "make_multi_callbacks",
]


class DefaultCallbacks:
    """Does nothing at each event. Subclass it and give the class to ``config.callbacks()``.

    Each process of an algorithm has an object of its own: the hooks of the algorithm (``on_algorithm_init``,
        ``on_train_result``,
    ``on_evaluate_*``) are called in its process, those of episodes and batches in the rollout workers.

    Args:
        legacy_callbacks_dict: Functions by the name of the hook (``{"on_episode_end": f}``), which are called with one
            dict of the arguments, as in the first releases of RLlib.
    """

    # Also of subclasses with a constructor that does not call this one.
    legacy_callbacks: dict[str, Callable[[dict[str, Any]], Any]] = MappingProxyType({})  # type: ignore[assignment]

    def __init__(self, legacy_callbacks_dict: dict[str, Callable[[dict[str, Any]], Any]] | None = None) -> None:
        self.legacy_callbacks = legacy_callbacks_dict or {}

    def on_algorithm_init(self, *, algorithm: Algorithm, **kwargs: Any) -> None:
        """The algorithm is set up: before its first iteration.

        Args:
            algorithm: It.
            kwargs: For arguments that later versions add.
        """

    def on_create_policy(self, *, policy_id: str, policy: Policy) -> None:
        """A policy was made.

        Args:
            policy_id: Its id.
            policy: It.
        """

    def on_sub_environment_created(
        self, *, worker: Any, sub_environment: Any, env_context: Any, env_index: int | None = None, **kwargs: Any
    ) -> None:
        """An environment was made.

        Args:
            worker: The rollout worker that has it.
            sub_environment: The environment (``gymnasium.Env``, ``MultiAgentEnv``, ...).
            env_context: The ``EnvContext`` that it got.
            env_index: Its number in the worker.
            kwargs: For arguments that later versions add.
        """

    def on_episode_created(
        self, *, worker: Any, base_env: Any, policies: dict[str, Policy], env_index: int, episode: Any, **kwargs: Any
    ) -> None:
        """An episode begins, and its environment will be reset.

        Args:
            worker: The rollout worker.
            base_env: Its environments; ``base_env.get_sub_environments()[env_index]`` is the one.
            policies: Policies by id.
            env_index: Number of the environment.
            episode: The episode, with ``user_data`` and ``hist_data`` for anything, and ``custom_metrics`` for results.
            kwargs: For arguments that later versions add.
        """

    def on_episode_start(
        self,
        *,
        worker: Any,
        base_env: Any,
        policies: dict[str, Policy],
        episode: Any,
        env_index: int | None = None,
        **kwargs: Any,
    ) -> None:
        """The environment was reset. Arguments as for :meth:`on_episode_created`."""
        if self.legacy_callbacks.get("on_episode_start"):
            self.legacy_callbacks["on_episode_start"](
                {"env": base_env, "policy": policies, "episode": episode, "worker": worker}
            )

    def on_episode_step(
        self,
        *,
        worker: Any,
        base_env: Any,
        policies: dict[str, Policy] | None = None,
        episode: Any,
        env_index: int | None = None,
        **kwargs: Any,
    ) -> None:
        """The environment made a step. Arguments as for :meth:`on_episode_created`."""
        if self.legacy_callbacks.get("on_episode_step"):
            self.legacy_callbacks["on_episode_step"]({"env": base_env, "episode": episode, "worker": worker})

    def on_episode_end(
        self,
        *,
        worker: Any,
        base_env: Any,
        policies: dict[str, Policy],
        episode: Any,
        env_index: int | None = None,
        **kwargs: Any,
    ) -> None:
        """The episode ended. Arguments as for :meth:`on_episode_created`; ``episode`` is an exception if the environment raised one
        (``restart_failed_sub_environments``)."""
        if self.legacy_callbacks.get("on_episode_end"):
            self.legacy_callbacks["on_episode_end"](
                {"env": base_env, "policy": policies, "episode": episode, "worker": worker}
            )

    def on_evaluate_start(self, *, algorithm: Algorithm, **kwargs: Any) -> None:
        """Evaluation begins.

        Args:
            algorithm: The algorithm.
            kwargs: For arguments that later versions add.
        """

    def on_evaluate_end(self, *, algorithm: Algorithm, evaluation_metrics: dict[str, Any], **kwargs: Any) -> None:
        """Evaluation is done.

        Args:
            algorithm: The algorithm.
            evaluation_metrics: Its result, ``{"evaluation": {...}}``, which may be added to.
            kwargs: For arguments that later versions add.
        """

    def on_postprocess_trajectory(
        self,
        *,
        worker: Any,
        episode: Any,
        agent_id: Any,
        policy_id: str,
        policies: dict[str, Policy],
        postprocessed_batch: Any,
        original_batches: dict[Any, tuple[str, Policy, Any]],
        **kwargs: Any,
    ) -> None:
        """A policy has post-processed a trajectory.

        Args:
            worker: The rollout worker.
            episode: The episode.
            agent_id: The agent.
            policy_id: Its policy.
            policies: Policies by id.
            postprocessed_batch: What is learned from; it may be changed.
            original_batches: Policy id, policy and batch before that, by agent.
            kwargs: For arguments that later versions add.
        """
        if self.legacy_callbacks.get("on_postprocess_traj"):
            self.legacy_callbacks["on_postprocess_traj"](
                {
                    "episode": episode,
                    "agent_id": agent_id,
                    "pre_batch": original_batches[agent_id],
                    "post_batch": postprocessed_batch,
                    "all_pre_batches": original_batches,
                }
            )

    def on_sample_end(self, *, worker: Any, samples: Any, **kwargs: Any) -> None:
        """``RolloutWorker.sample()`` returns.

        Args:
            worker: The rollout worker.
            samples: The batch; it may be changed.
            kwargs: For arguments that later versions add.
        """
        if self.legacy_callbacks.get("on_sample_end"):
            self.legacy_callbacks["on_sample_end"]({"worker": worker, "samples": samples})

    def on_learn_on_batch(self, *, policy: Policy, train_batch: Any, result: dict[str, Any], **kwargs: Any) -> None:
        """A policy is about to learn from a batch.

        Args:
            policy: It.
            train_batch: The batch; it may be changed.
            result: What is put here is reported as ``custom_metrics`` of the policy's learner information.
            kwargs: For arguments that later versions add.
        """

    def on_train_result(self, *, algorithm: Algorithm, result: dict[str, Any], **kwargs: Any) -> None:
        """An iteration is done.

        Args:
            algorithm: The algorithm.
            result: Its result, which may be added to.
            kwargs: For arguments that later versions add.
        """
        if self.legacy_callbacks.get("on_train_result"):
            self.legacy_callbacks["on_train_result"]({"trainer": algorithm, "algorithm": algorithm, "result": result})


HOOKS = tuple(sorted(name for name in vars(DefaultCallbacks) if name.startswith("on_")))
"""The names of all hooks."""


class MultiCallbacks(DefaultCallbacks):
    """Calls several, one after the other. Such an object can be given to ``config.callbacks()``, as a class can.

    Args:
        callback_class_list: Their classes.
    """

    def __init__(self, callback_class_list: Sequence[Callable[[], DefaultCallbacks]]) -> None:
        super().__init__()
        self._classes = tuple(callback_class_list)
        self._callback_list = [make() for make in self._classes]

    def __call__(self, *args: Any, **kwargs: Any) -> MultiCallbacks:
        """Others of the same classes: each worker has its own."""
        return MultiCallbacks(self._classes)

    def __reduce__(self) -> Any:
        return MultiCallbacks, (self._classes,)

    def _each(self, hook: str, arguments: dict[str, Any]) -> None:
        for callbacks in self._callback_list:
            getattr(callbacks, hook)(**arguments)


def _forward(hook: str) -> Callable[..., None]:
    def called(self: MultiCallbacks, **kwargs: Any) -> None:
        self._each(hook, kwargs)

    called.__name__ = hook
    called.__qualname__ = f"MultiCallbacks.{hook}"
    called.__doc__ = f"Calls ``{hook}`` of each."
    return called


for _hook in HOOKS:
    setattr(MultiCallbacks, _hook, _forward(_hook))


class _Several:
    """Makes MultiCallbacks; an object of a class, and not a function in one, so that it can be pickled and compared."""

    def __init__(self, classes: Sequence[Callable[[], DefaultCallbacks]]) -> None:
        self.classes = tuple(classes)

    def __call__(self) -> MultiCallbacks:
        return MultiCallbacks(self.classes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Several) and self.classes == other.classes

    def __hash__(self) -> int:
        return hash(self.classes)

    def __repr__(self) -> str:
        return f"make_multi_callbacks([{', '.join(getattr(c, '__name__', repr(c)) for c in self.classes)}])"


def make_multi_callbacks(callback_class_list: Sequence[Callable[[], DefaultCallbacks]]) -> Callable[[], MultiCallbacks]:
    """Several classes of callbacks as one, for ``config.callbacks()``.

    Args:
        callback_class_list: Subclasses of DefaultCallbacks. Each hook is called in this order.
    """
    return _Several(callback_class_list)


def overrides_hook(callbacks: DefaultCallbacks, hook: str) -> bool:
    """Whether an object does something at an event: the sampler leaves out the calls of hooks that nobody overrides.

    Args:
        callbacks: Object of callbacks.
        hook: Name of the method.
    """
    if isinstance(callbacks, MultiCallbacks):
        return any(overrides_hook(one, hook) for one in callbacks._callback_list)
    legacy = {"on_postprocess_trajectory": "on_postprocess_traj"}.get(hook, hook)
    return getattr(type(callbacks), hook) is not getattr(DefaultCallbacks, hook) or bool(
        callbacks.legacy_callbacks.get(legacy)
    )


class RE3UpdateCallbacks(DefaultCallbacks):
    """For scripts that mix it into their callbacks: the RE3 exploration adds its rewards, and lowers beta, without callbacks.

    Args:
        args: For DefaultCallbacks.
        embeds_dim: Said in ``exploration_config``, as the rest is.
        k_nn: The same.
        beta: The same.
        rho: The same.
        beta_schedule: The same.
        kwargs: For DefaultCallbacks.
    """

    def __init__(
        self,
        *args: Any,
        embeds_dim: int = 128,
        k_nn: int = 50,
        beta: float = 0.1,
        rho: float = 0.0001,
        beta_schedule: str = "constant",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)


class MemoryTrackingCallbacks(DefaultCallbacks):
    """Reports which lines of code hold the most memory, as custom metrics of episodes
    (``tracemalloc/<file>:<line>/size``, in bytes).

    It slows down everything: switch it on to find a leak.
    """

    def __init__(self) -> None:
        import tracemalloc

        super().__init__()
        tracemalloc.start(10)

    def on_episode_end(
        self,
        *,
        worker: Any,
        base_env: Any,
        policies: dict[str, Policy],
        episode: Any,
        env_index: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Adds the ten lines that hold most, and the resident size of the process."""
        import tracemalloc

        from aktis.util.processes import peak_memory

        if isinstance(episode, Exception):
            return
        for line in tracemalloc.take_snapshot().statistics("lineno")[:10]:
            frame = line.traceback[0]
            episode.custom_metrics[f"tracemalloc/{frame.filename}:{frame.lineno}/size"] = line.size
        episode.custom_metrics["tracemalloc/process/max_rss_kb"] = peak_memory() // 1024

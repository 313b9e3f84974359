"""What a WorkerSet sends to workers: functions of a worker that are at the top of a module, so that they travel by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.rllib.env.env_context import EnvContext

__all__ = [
    "AddPolicy",
    "ForEach",
    "WithContext",
    "WithId",
    "check",
    "no_env",
    "nothing",
    "ping",
    "spaces_of",
    "take_over",
    "whole_state",
]


class WithId:
    """``func(worker_id, worker)`` as a function of the worker."""

    def __init__(self, func: Callable[[int, Any], Any], worker_id: int) -> None:
        self.func = func
        self.worker_id = worker_id

    def __call__(self, worker: Any) -> Any:
        return self.func(self.worker_id, worker)


class ForEach:
    """``worker.<method>(func)``."""

    def __init__(self, method: str, func: Callable[..., Any]) -> None:
        self.method = method
        self.func = func

    def __call__(self, worker: Any) -> Any:
        return getattr(worker, self.method)(self.func)


class AddPolicy:
    """``worker.add_policy(**given)``."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given = given

    def __call__(self, worker: Any) -> None:
        worker.add_policy(**self.given)


class WithContext:
    """A function of an environment and a context, as one of the environment."""

    def __init__(self, func: Callable[[Any, EnvContext], Any], context: EnvContext) -> None:
        self.func = func
        self.context = context

    def __call__(self, env: Any) -> Any:
        return self.func(env, self.context)


def whole_state(worker: Any) -> dict[str, Any]:
    """All that a worker made anew goes on from."""
    return {"worker": worker.get_state(), "global_vars": worker.get_global_vars()}


def take_over(worker: Any, state: dict[str, Any]) -> None:
    """Give a worker what `whole_state` took from another."""
    worker.set_state(state["worker"])
    worker.set_global_vars(state["global_vars"])
    worker.get_filters(flush_after=True)  # what others have seen is not to be counted again


def spaces_of(worker: Any) -> dict[str, tuple[Any, Any]]:
    """What its policies (and ``"__env__"``) observe and do."""
    found = {policy_id: (spec.observation_space, spec.action_space) for policy_id, spec in worker.policy_dict.items()}
    if worker.env is not None:
        found["__env__"] = (getattr(worker.env, "observation_space", None), getattr(worker.env, "action_space", None))
    return found


def no_env(context: EnvContext) -> None:
    """Makes no environment."""


def nothing(worker: Any) -> None:
    """Answered when all that was asked before is done."""


def check(worker: Any) -> None:
    """Raises if the worker is not whole."""
    worker.assert_healthy()


def ping(worker: Any) -> str:
    """Answered if the worker is well."""
    return str(worker.ping())

"""Weights & Biases inside of trainables, as it was before :func:`aktis.air.integrations.wandb.setup_wandb`."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from aktis.air.integrations.wandb import WandbLoggerCallback, setup_wandb
from aktis.tune.integration._around import around

__all__ = ["setup_wandb", "WandbLoggerCallback", "WandbTrainableMixin", "wandb_mixin"]

_DEPRECATED = "{} is deprecated: call aktis.air.integrations.wandb.setup_wandb(config) in the function instead"


def wandb_mixin(func: Callable[..., Any]) -> Callable[..., Any]:
    """Run a trainable inside of a run of Weights & Biases. Deprecated: call ``setup_wandb(config)`` in it.

    ``config["wandb"]`` holds ``project`` and other arguments of ``wandb.init()``, and ``api_key`` or ``api_key_file``.

    Args:
        func: A function trainable, or a class (which then needs no :class:`WandbTrainableMixin`).
    """
    warnings.warn(_DEPRECATED.format("wandb_mixin"), DeprecationWarning, stacklevel=2)
    return around(func, WandbTrainableMixin, _run)


@contextlib.contextmanager
def _run(config: dict[str, Any]) -> Iterator[None]:
    run = setup_wandb(config)
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, (SystemExit, GeneratorExit))  # it was told to stop: nothing failed
        run.finish(exit_code=0 if stopped else 1)
        raise
    run.finish(exit_code=0)


class WandbTrainableMixin:
    """For class trainables: ``class Mine(WandbTrainableMixin, Trainable)``. Deprecated like :func:`wandb_mixin`."""

    def __init__(self, config: dict[str, Any] | None = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)  # type: ignore[call-arg]
        # A class runs outside of a session: its trial is known from itself.
        about = {"id": getattr(self, "trial_id", None), "name": getattr(self, "trial_name", None)}
        given = {**{key: value for key, value in about.items() if value}, **((config or {}).get("wandb") or {})}
        self.wandb: Any = setup_wandb({**(config or {}), "wandb": given})

    def stop(self) -> None:
        """End the run."""
        self.wandb.finish()
        super().stop()  # type: ignore[misc]

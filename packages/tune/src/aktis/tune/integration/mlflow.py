"""MLflow inside of trainables, as it was before :func:`aktis.air.integrations.mlflow.setup_mlflow`."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from aktis.air.integrations.mlflow import MLflowLoggerCallback, setup_mlflow
from aktis.tune.integration._around import around

__all__ = ["MLflowLoggerCallback", "MLflowTrainableMixin", "mlflow_mixin", "setup_mlflow"]

_DEPRECATED = "{} is deprecated: call aktis.air.integrations.mlflow.setup_mlflow(config) in the function instead"


def mlflow_mixin(func: Callable[..., Any]) -> Callable[..., Any]:
    """Run a trainable inside of an MLflow run. Deprecated: call ``setup_mlflow(config)`` in it.

    ``config["mlflow"]`` holds the arguments of ``setup_mlflow``.

    Args:
        func: A function trainable, or a class (which then needs no :class:`MLflowTrainableMixin`).
    """
    warnings.warn(_DEPRECATED.format("mlflow_mixin"), DeprecationWarning, stacklevel=2)
    return around(func, MLflowTrainableMixin, _run)


@contextlib.contextmanager
def _run(config: dict[str, Any]) -> Iterator[None]:
    tool: Any = setup_mlflow(config)
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, (SystemExit, GeneratorExit))  # it was told to stop: nothing failed
        tool.end_run("FINISHED" if stopped else "FAILED")
        raise
    tool.end_run()


class MLflowTrainableMixin:
    """For class trainables: ``class Mine(MLflowTrainableMixin, Trainable)``. Deprecated like :func:`mlflow_mixin`."""

    def __init__(self, config: dict[str, Any] | None = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)  # type: ignore[call-arg]
        self._mlflow: Any = setup_mlflow({**(config or {}), "mlflow": _with_trial(self, (config or {}).get("mlflow"))})

    def stop(self) -> None:
        """End the run."""
        self._mlflow.end_run()
        super().stop()  # type: ignore[misc]


def _with_trial(trainable: Any, given: dict[str, Any] | None) -> dict[str, Any]:
    """A class runs outside of a session: its trial is known from itself."""
    tags = {"trial_id": getattr(trainable, "trial_id", None), "trial_name": getattr(trainable, "trial_name", None)}
    arguments = dict(given or {})
    arguments["tags"] = {**{key: value for key, value in tags.items() if value}, **(arguments.get("tags") or {})}
    return arguments

"""Predictors as deployments: requests are batched for the model, and its results are split again."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from aktis.serve.deployment import Deployment

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint


class SimpleSchemaIngress:
    """A deployment that answers GET and POST with ``await self.predict(what the adapter made of the request)``.

    Args:
        http_adapter: see :mod:`aktis.serve.http_adapters`.
    """

    def __init__(self, http_adapter: str | Callable[..., Any] | None = None) -> None:
        self._http_adapter = http_adapter

    async def predict(self, inp: Any) -> Any:
        """The answer for one input. For subclasses."""
        raise TypeError(f"{type(self).__name__} has no method predict(): subclasses of SimpleSchemaIngress need one.")

    def __aktis_asgi__(self) -> Any:
        from aktis.serve.http_adapters import make_adapter_app

        return make_adapter_app({"/": self._answer}, self._http_adapter)

    async def _answer(self, inp: Any) -> Any:
        result = self.predict(inp)
        return await result if inspect.isawaitable(result) else result


class PredictorWrapper(SimpleSchemaIngress):
    """The code of :data:`PredictorDeployment`.

    Args:
        predictor_cls: the class of the predictor, or where to import it from.
        checkpoint: what it is made of; a string is the URI of one.
        http_adapter: makes the predictor's input of the request: an array, a DataFrame, or a dictionary of arrays.
        batching_params: of ``@serve.batch``; None or {}: its defaults. False: each request is predicted alone, as it is.
            With batches, an array (or each of a dictionary) is one item, without a dimension for the batch; of DataFrames,
            the rows of all requests are one DataFrame.
        predict_kwargs: for ``predictor.predict()``.
        predictor_from_checkpoint_kwargs: for ``predictor_cls.from_checkpoint()``.
    """

    def __init__(
        self,
        predictor_cls: str | type[Any],
        checkpoint: Checkpoint | str,
        http_adapter: str | Callable[..., Any] = "aktis.serve.http_adapters.json_to_ndarray",
        batching_params: Mapping[str, Any] | bool | None = None,
        predict_kwargs: dict[str, Any] | None = None,
        **predictor_from_checkpoint_kwargs: Any,
    ) -> None:
        super().__init__(http_adapter)
        self._predictor_cls = _load_class(predictor_cls)
        self._from_checkpoint_kwargs = predictor_from_checkpoint_kwargs
        self._predict_kwargs = dict(predict_kwargs or {})
        self.model = self._load(checkpoint)
        self._batched: Callable[[Any], Any] | None = None
        if batching_params is not False:
            from aktis.serve.batching import batch

            params = dict(batching_params) if isinstance(batching_params, Mapping) else {}

            async def predict_batch(items: list[Any]) -> list[Any]:
                batched, split = collate(items)
                return split(await _in_thread(self._predict_now, batched))

            self._batched = batch(**params)(predict_batch)

    def _load(self, checkpoint: Any) -> Any:
        if isinstance(checkpoint, (str, Mapping)):
            from aktis.air.checkpoint import Checkpoint

            checkpoint = (
                Checkpoint.from_uri(checkpoint)
                if isinstance(checkpoint, str)
                else Checkpoint.from_dict(dict(checkpoint))
            )
        return self._predictor_cls.from_checkpoint(checkpoint, **self._from_checkpoint_kwargs)

    async def predict(self, inp: Any) -> Any:
        """The prediction for one input; it may wait a moment for others, to be computed with them."""
        if self._batched is not None:
            return await self._batched(inp)
        return await _in_thread(self._predict_now, inp)

    def _predict_now(self, data: Any) -> Any:
        return self.model.predict(data, **self._predict_kwargs)

    def reconfigure(self, config: Any) -> None:
        """``user_config``: ``{"checkpoint": URI or dictionary, "predict_kwargs": ...}``; what is not in it stays."""
        given = dict(config or {})
        checkpoint = given.pop("checkpoint", None)
        kwargs = given.pop("predict_kwargs", None)
        if given:
            raise ValueError(
                f"user_config of PredictorDeployment may have 'checkpoint' and 'predict_kwargs', not {next(iter(given))!r}."
            )
        if kwargs is not None:
            self._predict_kwargs = dict(kwargs)
        if checkpoint is not None:
            self.model = self._load(checkpoint)


async def _in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """A model computes in a thread, so that health checks and other requests go on meanwhile."""
    import asyncio

    return await asyncio.to_thread(function, *args)


def _load_class(given: Any) -> type[Any]:
    if not isinstance(given, str):
        if not inspect.isclass(given) or not hasattr(given, "from_checkpoint"):
            raise TypeError(f"predictor_cls must be a class with from_checkpoint(), and it is {given!r}.")
        return given
    path = given.replace("ray.", "aktis.", 1) if given.startswith("ray.") else given
    module, _, name = path.partition(":") if ":" in path else path.rpartition(".")
    try:
        return _load_class(getattr(importlib.import_module(module), name))
    except ImportError as error:
        if path.startswith("aktis.train"):
            raise ImportError(f"predictor_cls {given!r} needs aktis.train: pip install aktis-train") from error
        raise


# Batches -------------------------------------------------------------------------------------------------------------


def collate(items: list[Any]) -> tuple[Any, Callable[[Any], list[Any]]]:
    """The items of a batch as one input of a predictor, and what splits its output into one result for each item.

    Raises:
        TypeError: items that cannot be put together.
        ValueError: arrays of different shapes.
    """
    import numpy as np

    first = items[0]
    if any(type(item) is not type(first) for item in items):
        raise TypeError(
            f"The inputs of a batch must be of one type, and are {sorted({type(i).__name__ for i in items})}."
        )
    if isinstance(first, np.ndarray):
        return _stacked("arrays", items), lambda output: split_items(output, len(items))
    if isinstance(first, Mapping):
        if any(set(item) != set(first) for item in items):
            raise ValueError("The inputs of a batch must have the same keys.")
        columns = {key: _stacked(f"arrays {key!r}", [np.asarray(item[key]) for item in items]) for key in first}
        return columns, lambda output: split_items(output, len(items))
    if type(first).__module__.partition(".")[0] == "pandas":
        import pandas as pd

        return pd.concat(items, ignore_index=True), lambda output: split_rows(output, [len(item) for item in items])
    raise TypeError(
        f"An input of PredictorDeployment must be an array, a DataFrame or a dictionary of arrays, and it is {first!r}. "
        "Another http_adapter can make it so; with batching_params=False any input goes to the predictor."
    )


def _stacked(what: str, arrays: list[Any]) -> Any:
    import numpy as np

    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        raise ValueError(f"The {what} of a batch must have one shape, and have {sorted(shapes)}.")
    return np.stack(arrays)


def split_items(output: Any, count: int) -> list[Any]:
    """One result for each item: of an array or list its elements, of a dictionary of arrays a dictionary, of a DataFrame a row."""
    if isinstance(output, Mapping):
        columns = {key: _checked_length(value, count) for key, value in output.items()}
        return [{key: value[index] for key, value in columns.items()} for index in range(count)]
    if hasattr(output, "iloc"):
        return split_rows(output, [1] * count)
    return list(_checked_length(output, count))


def split_rows(output: Any, lengths: list[int]) -> list[Any]:
    """As many rows (or elements) for each as it gave."""
    _checked_length(output, sum(lengths))
    rows = output.iloc if hasattr(output, "iloc") else output
    result, start = [], 0
    for length in lengths:
        part = rows[start : start + length]
        result.append(part.reset_index(drop=True) if hasattr(part, "reset_index") else part)
        start += length
    return result


def _checked_length(output: Any, count: int) -> Any:
    if not hasattr(output, "__len__") or len(output) != count:
        found = len(output) if hasattr(output, "__len__") else type(output).__name__
        raise ValueError(
            f"The predictor must give one result for each of the {count} inputs of the batch, and gave {found}."
        )
    return output


PredictorDeployment = Deployment.of(PredictorWrapper, "PredictorDeployment")
"""Serves a predictor: ``serve.run(PredictorDeployment.bind(XGBoostPredictor, checkpoint))``."""

ModelWrapper = PredictorWrapper
ModelWrapperDeployment = PredictorDeployment
AIRDeployment = PredictorDeployment

__all__ = [
    "AIRDeployment",
    "ModelWrapper",
    "ModelWrapperDeployment",
    "PredictorDeployment",
    "PredictorWrapper",
    "SimpleSchemaIngress",
    "collate",
]

"""Functions that make of an HTTP request what a model takes: for ``DAGDriver``, ``PredictorDeployment`` and FastAPI's Depends."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
from fastapi import Body, File, Request
from pydantic import BaseModel, Field

_KINDS = "biufcmM"  # of dtypes that a client may ask for: of text and records, it could choose how large an element is


class NdArray(BaseModel):
    """An array as JSON."""

    array: list[Any] = Field(description="The numbers, as lists of any depth; or flat, with shape.")
    shape: list[int] | None = Field(default=None, description="What the array is reshaped to.")
    dtype: str | None = Field(default=None, description="NumPy's name of the type, such as int64; by itself float64.")

    def to_numpy(self) -> np.ndarray[Any, Any]:
        """The array, of floats without a dtype. Raises HTTPException (422) when shape or dtype do not fit the numbers."""
        from fastapi import HTTPException

        try:
            made = np.array(self.array)
            if made.dtype == object or made.dtype.kind in "US":
                raise ValueError("the lists must hold numbers, and be of one length in each dimension")
            if self.shape is not None:
                made = made.reshape(self.shape)
            dtype = self.dtype  # without one, what a model gets is not to depend on whether a client wrote 1 or 1.0
            if dtype is None and made.dtype.kind in "biu":
                dtype = "float64"
            if dtype is not None and np.dtype(dtype).kind not in _KINDS:
                raise ValueError(f"dtype must be one of numbers, booleans or times, and it is {dtype!r}")
            result: np.ndarray[Any, Any] = made if dtype is None else made.astype(dtype)
            return result
        except (ValueError, TypeError) as error:
            raise HTTPException(422, f"The array cannot be made: {error}") from error


def json_to_ndarray(payload: NdArray) -> np.ndarray[Any, Any]:
    """``{"array": [[1, 2], [3, 4]], "shape": ..., "dtype": ...}`` as an array."""
    return payload.to_numpy()


def json_to_multi_ndarray(payload: dict[str, NdArray]) -> dict[str, np.ndarray[Any, Any]]:
    """``{"name": {"array": ...}, ...}`` as arrays by name."""
    return {key: value.to_numpy() for key, value in payload.items()}


def starlette_request(request: Request) -> Request:
    """The request as it is."""
    return request


async def json_request(request: Request) -> Any:
    """The JSON of the body."""
    from fastapi import HTTPException

    try:
        return await request.json()
    except ValueError as error:
        raise HTTPException(422, f"The body is not JSON: {error}") from error


def image_to_ndarray(img: bytes = File(...)) -> np.ndarray[Any, Any]:
    """A picture, sent as the form field ``img``, as an array (height, width, channels)."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError('image_to_ndarray needs Pillow: pip install "aktis-serve[images]"') from error
    from fastapi import HTTPException

    try:
        picture: np.ndarray[Any, Any] = np.array(Image.open(BytesIO(img)))
        return picture
    except (
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
    ) as error:  # no picture, or a damaged or huge one
        raise HTTPException(422, "The field img is not a picture that can be read.") from error


# Not all that pandas takes: clients must not choose how much is unpacked, or what is opened.
_JSON_OPTIONS = (
    "orient",
    "typ",
    "lines",
    "convert_axes",
    "convert_dates",
    "date_unit",
    "dtype",
    "encoding",
    "precise_float",
)


async def pandas_read_json(raw_request: Request) -> Any:
    """The body as a DataFrame, by ``pandas.read_json``; the query may say how it is written (``?orient=records``)."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError('pandas_read_json needs pandas: pip install "aktis-serve[pandas]"') from error
    from fastapi import HTTPException

    options: dict[str, Any] = dict(raw_request.query_params)
    for key, value in options.items():
        if key not in _JSON_OPTIONS:
            raise HTTPException(422, f"The query has {key!r}; it may have: {', '.join(_JSON_OPTIONS)}.")
        options[key] = {"true": True, "false": False}.get(value.lower(), value)
    body = await raw_request.body()
    try:
        return pd.read_json(BytesIO(body), **options)
    except (ValueError, TypeError) as error:
        raise HTTPException(422, f"The body is no table: {error}") from error


# Using them ----------------------------------------------------------------------------------------------------------


def load_http_adapter(adapter: Any) -> Callable[..., Any]:
    """The function that ``adapter`` means: a function, a pydantic model, where to import one from, or None (the request).

    Raises:
        ValueError, TypeError, ImportError: it is none of these.
    """
    if adapter is None:
        return starlette_request
    if isinstance(adapter, str):
        return load_http_adapter(_imported(adapter))
    if inspect.isclass(adapter) and issubclass(adapter, BaseModel):

        def body_of_model(inp: Any = Body(...)) -> Any:  # noqa: B008 - as FastAPI wants it
            return inp

        body_of_model.__annotations__["inp"] = adapter
        return body_of_model
    if not inspect.isroutine(adapter) and not callable(adapter):
        raise TypeError(
            f"http_adapter must be a function, a pydantic model or where to import one from, and it is {adapter!r}."
        )
    for name, parameter in inspect.signature(adapter).parameters.items():
        if parameter.annotation is parameter.empty and parameter.default is parameter.empty:
            raise ValueError(
                f"Parameter {name!r} of http_adapter {adapter!r} needs an annotation (such as starlette.requests.Request): "
                "FastAPI goes by it."
            )
    return adapter  # type: ignore[no-any-return]


def _imported(path: str) -> Any:
    import importlib

    if "." not in path and ":" not in path:
        path = f"{__name__}.{path}"
    path = path.replace("ray.serve.", "aktis.serve.", 1) if path.startswith("ray.") else path
    module, _, name = path.partition(":") if ":" in path else path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"http_adapter {path!r} cannot be imported: {error}") from error


def make_adapter_app(routes: dict[str, Callable[[Any], Any]], adapter: Any) -> Any:
    """A FastAPI app that gives each route's coroutine function what the adapter made of the request, for GET and POST."""
    from fastapi import Depends, FastAPI
    from starlette.responses import Response

    app = FastAPI()
    load = load_http_adapter(adapter)

    def add(route: str, call: Callable[[Any], Any]) -> None:
        async def endpoint(inp: Any = Depends(load)) -> Any:  # noqa: B008 - as FastAPI wants it
            from aktis.serve._replica.encode import encode

            value = await call(inp)
            if isinstance(value, Response):
                return value
            reply = encode(value)
            response = Response(reply.body, reply.status)
            response.raw_headers = list(reply.headers)
            return response

        app.add_api_route(route, endpoint, methods=["GET"], response_model=None)
        app.add_api_route(route, endpoint, methods=["POST"], response_model=None)

    for route, call in routes.items():
        add(route, call)
    app.add_middleware(_AtPrefix)
    return app


class _AtPrefix:
    """ASGI: the route prefix by itself is the root of the app, without a redirection (which many clients do not follow)."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == scope.get("root_path"):
            scope = {**scope, "path": scope["path"] + "/"}
        await self._app(scope, receive, send)


__all__ = [
    "NdArray",
    "image_to_ndarray",
    "json_request",
    "json_to_multi_ndarray",
    "json_to_ndarray",
    "load_http_adapter",
    "make_adapter_app",
    "pandas_read_json",
    "starlette_request",
]

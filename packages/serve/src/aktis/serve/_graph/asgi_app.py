"""``@serve.ingress(app)``: the app goes with the class, and in a replica its routes that are methods get their ``self``.

The app is pickled together with the class when it is deployed, so routes that are added after the decoration count, and
locks in it (FastAPI has some) are made anew. Routes whose endpoint is a method of another class are left out: several
classes can share an app.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

ASGIApp = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]
]
SOURCE = "__aktis_asgi_source__"
BUILD = "__aktis_asgi__"  # a class with such a method makes the app itself
_OWNED = "__aktis_route_method__"  # on functions that are routes and methods of a decorated class


class AsgiSource:
    """The app of a class, or the function that makes it."""

    def __init__(self, app: Any) -> None:
        self.app = app

    @property
    def is_builder(self) -> bool:
        """Whether it is a function without parameters that gives the app."""
        app = self.app
        if not (inspect.isfunction(app) or inspect.ismethod(app)):
            return False
        return not inspect.iscoroutinefunction(app) and not _required(app)

    @property
    def docs_path(self) -> str | None:
        """Where FastAPI has its page of documentation."""
        path = getattr(self.app, "docs_url", None)
        return path if isinstance(path, str) else None


def prepare(cls: Any) -> None:
    """Before the class is pickled: annotations of routes and dependencies that are strings become what they mean.

    FastAPI goes by them when the routes are made again in the replica, and what is only named in an annotation is not pickled.
    """
    source: AsgiSource | None = getattr(cls, SOURCE, None)
    if source is None or source.is_builder:
        return
    seen: set[int] = set()
    for route in _routes(source.app):
        _resolve(getattr(route, "endpoint", None), seen)
        _resolve_dependencies(getattr(route, "dependant", None), seen)


def _resolve_dependencies(dependant: Any, seen: set[int]) -> None:
    for each in getattr(dependant, "dependencies", ()):
        _resolve(getattr(each, "call", None), seen)
        _resolve_dependencies(each, seen)


def _resolve(call: Any, seen: set[int]) -> None:
    if inspect.isclass(call):
        call = call.__init__
    function = getattr(call, "__func__", call)
    if not inspect.isfunction(function):
        function = getattr(type(call), "__call__", None)  # noqa: B004 - it is the method that matters here
    if not inspect.isfunction(function) or id(function) in seen:
        return
    seen.add(id(function))
    for name, annotation in function.__annotations__.items():
        if isinstance(annotation, str):
            try:
                function.__annotations__[name] = eval(annotation, function.__globals__)  # as typing.get_type_hints does
            except Exception:  # FastAPI says what is wrong with it
                continue


def _required(function: Callable[..., Any]) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [
        each.name
        for each in inspect.signature(function).parameters.values()
        if each.default is each.empty and each.kind in kinds
    ]


def attach(app: Any, cls: Any) -> Any:
    """Marks ``cls`` as the code behind ``app``. Raises TypeError or ValueError when that cannot be."""
    from aktis.serve.deployment import Deployment

    if isinstance(cls, Deployment):
        raise TypeError("Write @serve.deployment above @serve.ingress(app), not below it.")
    if not inspect.isclass(cls):
        raise ValueError(f"@serve.ingress must be on a class, and it is on {cls!r}.")
    if "__call__" in {name for each in cls.__mro__ for name in vars(each) if each is not object}:
        raise ValueError(
            f"Class {cls.__name__} has a __call__ method, and @serve.ingress says that the app answers the requests. "
            "Make the method a route of the app, or leave @serve.ingress out."
        )
    setattr(cls, SOURCE, AsgiSource(app))
    mine = _functions_of(cls)
    for route in _routes(app):
        endpoint = getattr(route, "endpoint", None)
        if inspect.isfunction(endpoint) and endpoint in mine:
            setattr(endpoint, _OWNED, True)
    return cls


def check_app(app: Any) -> None:
    """Raises TypeError unless ``app`` is something that @serve.ingress takes."""
    if app is None or inspect.isclass(app) or (not callable(app) and not hasattr(app, "routes")):
        raise TypeError(
            "@serve.ingress(app) takes a FastAPI app, an APIRouter, another ASGI app, or a function that makes one; "
            f"this is {app!r}."
        )


def _functions_of(cls: type) -> dict[Any, str]:
    """Functions of a class and its bases, with their names."""
    found: dict[Any, str] = {}
    for each in reversed(cls.__mro__):
        for name, value in vars(each).items():
            if inspect.isfunction(value):
                found[value] = name
    return found


def _routes(app: Any) -> list[Any]:
    return list(getattr(getattr(app, "router", app), "routes", ()))


def is_app(value: Any) -> bool:
    """Whether this is an app, or a router, of Starlette or FastAPI (neither is imported for it)."""
    modules = {each.__module__.partition(".")[0] for each in type(value).__mro__}
    return bool(modules & {"fastapi", "starlette"}) and (
        hasattr(type(value), "routes") or "routes" in getattr(value, "__dict__", ())
    )


def parts_of_app(app: Any) -> list[Any]:
    """What an app does, for its version: code of routes and dependencies, handlers, middlewares, names."""
    router = getattr(app, "router", app)
    return [
        [getattr(app, name, None) for name in ("title", "version", "description", "docs_url", "root_path", "debug")],
        [_parts_of_route(route) for route in router.routes],
        [[str(key), handler] for key, handler in getattr(app, "exception_handlers", {}).items()],
        [
            [each.cls, getattr(each, "args", ()), getattr(each, "kwargs", {})]
            for each in getattr(app, "user_middleware", ())
        ],
        [getattr(router, name, None) for name in ("on_startup", "on_shutdown")],
        [getattr(router.lifespan_context, "__wrapped__", None)],
    ]


def _parts_of_route(route: Any) -> list[Any]:
    endpoint = getattr(route, "endpoint", None)
    if getattr(endpoint, "__module__", "") in _OF_FASTAPI:
        return []
    calls: list[Any] = []
    _calls_of(getattr(route, "dependant", None), calls)
    methods = sorted(getattr(route, "methods", None) or ())
    models = [
        getattr(route, name, None) for name in ("response_model", "status_code", "tags", "summary", "operation_id")
    ]
    return [
        getattr(route, "path", ""),
        methods,
        endpoint,
        calls,
        models,
        getattr(route, "app", None) if endpoint is None else None,
    ]


def _calls_of(dependant: Any, found: list[Any]) -> None:
    for each in getattr(dependant, "dependencies", ()):
        found.append(each.call)
        _calls_of(each, found)


def make_fastapi_app_bound_to(instance: Any, adapt: Callable[[Any], Any] | None = None) -> ASGIApp:
    """The ASGI app of an instance of a class that was decorated with ``@serve.ingress`` (or has a method
    ``__aktis_asgi__`` that makes one): called once, in the replica.

    ``adapt(method)`` gives the endpoint for a route that is a method. The app of the class itself is not changed: several replicas
    may be in one process.
    """
    if hasattr(instance, BUILD):
        return instance.__aktis_asgi__()  # type: ignore[no-any-return]
    source: AsgiSource = getattr(type(instance), SOURCE)
    app = source.app() if source.is_builder else source.app
    if _is_router(app):
        from fastapi import FastAPI

        whole = FastAPI()
        whole.router.routes.extend(_routes(app))
        whole.router.on_startup.extend(getattr(app, "on_startup", []))
        whole.router.on_shutdown.extend(getattr(app, "on_shutdown", []))
        whole.router.lifespan_context = app.lifespan_context
        app = whole
    elif not hasattr(app, "router") or not hasattr(app, "dependency_overrides"):
        return app  # type: ignore[no-any-return]  # another ASGI app: it has no methods of ours
    else:
        app = _copied(app)
    app.router.routes[:] = _bound_routes(app, instance, adapt)
    return app  # type: ignore[no-any-return]


def _is_router(app: Any) -> bool:
    return hasattr(app, "add_api_route") and not hasattr(app, "dependency_overrides")


# Routes that FastAPI makes by itself: they show the app that made them.
_OF_FASTAPI = ("fastapi.applications",)


def _copied(app: Any) -> Any:
    """A copy with routes of its own. What shows the app (OpenAPI and its pages) shows the copy."""
    made = copy.copy(app)
    made.router = copy.copy(app.router)
    for name, value in vars(app.router).items():  # Starlette's routers hold methods of their own
        if getattr(value, "__self__", None) is app.router:
            setattr(made.router, name, value.__func__.__get__(made.router))
    made.middleware_stack = None
    made.openapi_schema = None
    made.state = type(app.state)(dict(app.state._state))
    made.router.routes = []
    made.setup()
    made.router.routes += [
        route
        for route in app.router.routes
        if getattr(getattr(route, "endpoint", None), "__module__", "") not in _OF_FASTAPI
    ]
    return made


def _bound_routes(app: Any, instance: Any, adapt: Callable[[Any], Any] | None) -> list[Any]:
    mine = _functions_of(type(instance))
    result: list[Any] = []
    for route in app.router.routes:
        endpoint = getattr(route, "endpoint", None)
        name = mine.get(endpoint) if inspect.isfunction(endpoint) else None
        if name is not None:
            # An override of the method in a subclass answers, as Python users expect.
            bound = getattr(instance, name)
            result.extend(_remade(app, route, bound if adapt is None else adapt(bound)))
        elif not getattr(endpoint, _OWNED, False):
            result.append(route)
    return result


def _remade(app: Any, route: Any, bound: Callable[..., Any]) -> list[Any]:
    """The route, made again by FastAPI itself for the bound method: its signature has no ``self``."""
    from fastapi import APIRouter
    from fastapi.routing import APIRoute

    if isinstance(route, APIRoute):
        made = _made_directly(app, route, bound)
        if made is not None:
            return [made]
    again = copy.copy(route)
    again.endpoint = bound
    source, target = (
        APIRouter(),
        APIRouter(
            default_response_class=app.router.default_response_class,
            dependency_overrides_provider=app,
            generate_unique_id_function=app.router.generate_unique_id_function,
        ),
    )
    source.routes = [again]
    target.include_router(source)
    return list(target.routes)


def _made_directly(app: Any, route: Any, bound: Callable[..., Any]) -> Any:
    """An API route with the same settings; None where not each of them can be read from the route.

    Including a router does the same for every kind of route, but newer versions of FastAPI keep the router, and ask it with each
    request: a tenth of the time of a small one.
    """
    values = {"path": route.path, "endpoint": bound, "dependency_overrides_provider": app}
    try:
        for name in list(inspect.signature(type(route).__init__).parameters)[1:]:
            values.setdefault(name, getattr(route, name))
        return type(route)(**values)
    except (AttributeError, TypeError):
        return None

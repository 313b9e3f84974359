"""Remote functions: what ``bind_task`` returns."""

from __future__ import annotations

import inspect
import pickle
import warnings
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

import ray

from aktis._engine import FunctionDescriptor, Submit
from aktis._generators import ObjectRefGenerator
from aktis._options import TaskOptions
from aktis._ray import errors, refs, serializers, travel
from aktis._ray import options as ray_options
from aktis._ray.exported import Exported
from aktis._serialization.diagnose import explain_arguments as explain_which
from aktis._serialization.diagnose import explain_failure

if TYPE_CHECKING:
    from aktis._ray.engine import RayEngine
    from aktis._ray.relay import Streams

FAILURES = (TypeError, ValueError, AttributeError, RecursionError, pickle.PicklingError)
"""What Ray raises when something cannot be pickled."""


class ExportedFunction(Exported[FunctionDescriptor, TaskOptions]):
    """A user's function as Ray has it."""

    def key(self, options: TaskOptions) -> Hashable:
        return options.max_calls, _count(options)

    def make(self, options: TaskOptions) -> Any:
        descriptor, max_calls = self.descriptor, options.max_calls
        shipped = travel.Shipped(self.engine.job, descriptor.name, self.target, _count(options))
        task = travel.task_of(shipped, descriptor.is_generator, descriptor.is_coroutine)
        return ray.remote(max_calls=max_calls)(task) if max_calls else ray.remote(task)


def _count(options: TaskOptions) -> int:
    """How many results are to be counted."""
    count = options.num_returns
    return count if isinstance(count, int) and count != 1 else 1


def bind(engine: RayEngine, descriptor: FunctionDescriptor, options: TaskOptions) -> Submit:
    """Called once per function and set of options."""
    serializers.modules_by_value()
    exported = ExportedFunction.of(engine, descriptor)
    given = ray_options.of_task(engine, options, descriptor.is_generator)
    if engine.streams is not None and options.num_returns == "streaming":
        return relayed(engine.streams, "task", (exported.remote(options),), given)
    wrap = refs.wrapper(options.num_returns)
    if engine.streams is not None and options.strategy[0] == "PG":  # Ray looks whether the group has room for it
        wrap = refs.known(wrap)
    bare = refs.bare_arguments
    call = caller(exported.remote(options), given)

    def submit(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        args, kwargs = bare(args, kwargs)
        try:
            return wrap(call(*args, **kwargs))
        except errors.RAY_ERRORS as error:
            raise errors.translate(error) from None
        except FAILURES as error:
            return again(args, kwargs, error)

    def again(args: tuple[Any, ...], kwargs: dict[str, Any], error: BaseException) -> Any:
        nonlocal call
        explain(descriptor.function, descriptor.name, descriptor.signature, args, kwargs, error, exported.by_reference)
        call = caller(exported.remote(options), given)
        return wrap(call(*args, **kwargs))

    return submit


def relayed(streams: Streams, kind: str, target: tuple[Any, ...], given: dict[str, Any]) -> Submit:
    """Calls of a generator by a driver whose Ray cannot call any itself."""

    def submit(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        args, kwargs = refs.bare_arguments(args, kwargs)
        try:
            return ObjectRefGenerator(streams.open(kind, target, given, args, kwargs))
        except errors.RAY_ERRORS as error:
            raise errors.translate(error) from None

    return submit


def caller(remote: Any, given: dict[str, Any]) -> Any:
    if not given:
        return remote.remote
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # num_returns="dynamic" is old, and means the same with us
        return remote.options(**given).remote


def explain(
    target: Any,
    name: str,
    signature: inspect.Signature | None,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    error: BaseException,
    by_reference: Callable[[], bool],
) -> None:
    """A call could not be made: raise what says why; return when it may work now that the function goes by its name."""
    explain_arguments(signature, args, kwargs, error)
    try:
        ray.cloudpickle.dumps(target)
    except Exception as failed:
        if by_reference():
            return
        raise explain_failure(target, name, failed) from error
    raise error  # it was not about pickling


def explain_arguments(
    signature: inspect.Signature | None, args: tuple[Any, ...], kwargs: dict[str, Any], error: BaseException
) -> None:
    """Raise the error that says which argument cannot be pickled; return when all can."""
    try:
        ray.cloudpickle.dumps((args, kwargs))
    except Exception:
        names = tuple(signature.parameters) if signature is not None else ()
        whole = explain_failure((args, kwargs), "the arguments", error)
        raise explain_which(args, kwargs, names, whole) from error

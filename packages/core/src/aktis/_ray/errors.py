"""Ray's exceptions to ours."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Callable
from typing import Any

import ray.exceptions as theirs

from aktis import exceptions as ours
from aktis._ray.travel import Failed
from aktis._serialization import unpack_exception

RAY_ERRORS = (theirs.RayError,)
EXITS = (theirs.AsyncioActorExit,)  # how ``exit_actor`` leaves a coroutine: Ray is to see it

_MARK = "aktis-error:"
_MARKED = re.compile(_MARK + r"([A-Za-z0-9+/=]+)")
_COLOUR = re.compile(r"\x1b\[\d*m")
_NAME = re.compile(r"ray::([^\s(]+)\(")
_MARK_LIMIT = 1 << 18


def marked(failed: Failed) -> Failed:
    """The same with its bytes in the text: of a failed constructor, Ray passes nothing on but text."""
    if len(failed.data) > _MARK_LIMIT:
        return failed
    text = f"{failed.args[0]}\n[{_MARK}{base64.b64encode(zlib.compress(failed.data, 9)).decode()}]"
    return Failed(failed.data, text, failed.original)


def translate(error: BaseException) -> BaseException:
    """What to raise instead of ``error``."""
    if isinstance(error, theirs.RayTaskError):
        return _task_error(error)
    if isinstance(error, theirs.RayActorError):
        return _actor_error(error)
    if isinstance(error, theirs.ObjectLostError):
        return _object_error(error)
    if not isinstance(error, theirs.RayError):
        return error
    for cls, make in _PLAIN.items():
        if type(error) is cls:
            return make(error)
    name = type(error).__name__
    return _same_name(name)(str(error))


def _same_name(name: str) -> type[ours.AktisError]:
    cls = getattr(ours, name.replace("Ray", "Aktis"), None)
    return cls if isinstance(cls, type) and issubclass(cls, ours.AktisError) else ours.AktisSystemError


def _task_error(error: Any) -> BaseException:
    cause = error
    while isinstance(cause, theirs.RayTaskError):
        inner = getattr(cause, "cause", None)
        if inner is None or inner is cause:
            break
        cause = inner
    if isinstance(cause, Failed):
        return unpack_exception(cause.data)
    if isinstance(cause, theirs.RayError) and not isinstance(cause, theirs.RayTaskError):
        return translate(cause)
    text = _COLOUR.sub("", str(error))  # Ray's own fields are gone where it has made an instance of the cause's class
    if "No module named 'aktis'" in text:
        return ours.RuntimeEnvSetupError(
            "the workers of this cluster cannot import Aktis. It travels to them when aktis.init() makes the connection; here "
            "the program called ray.init() before: leave that out, or install Aktis on the nodes"
        )
    name = _NAME.match(text)
    return ours.AktisTaskError(
        name.group(1) if name else "the call", text, None if isinstance(cause, theirs.RayTaskError) else cause
    ).as_instanceof_cause()


def _actor_error(error: Any) -> Exception:
    text = str(error)
    actor_id = getattr(error, "actor_id", None)
    if isinstance(actor_id, bytes):
        actor_id = actor_id.hex()
    if isinstance(error, theirs.ActorUnavailableError):
        return ours.ActorUnavailableError(text, actor_id=actor_id)
    failed = bool(getattr(error, "_actor_init_failed", False))
    found = _MARKED.search(text)
    cause = unpack_exception(zlib.decompress(base64.b64decode(found.group(1)))) if found else None
    if found:  # the cause says the rest
        text = "the actor is dead: its constructor raised"
        failed = True
    return ours.ActorDiedError(text, actor_id=actor_id, actor_init_failed=failed, cause=cause,
                               preempted=bool(getattr(error, "preempted", False)))  # fmt: skip


def _object_error(error: Any) -> Exception:
    cls = _same_name(type(error).__name__)
    if not issubclass(cls, ours.ObjectLostError):
        cls = ours.ObjectLostError
    made = cls(getattr(error, "object_ref_hex", ""))
    made.message = str(error)
    return made


def _cancelled(error: Any) -> Exception:
    task_id = getattr(error, "task_id", None)
    return ours.TaskCancelledError(task_id.hex() if task_id is not None else None)


_PLAIN: dict[type, Callable[[Any], Exception]] = {
    theirs.TaskCancelledError: _cancelled,
    theirs.GetTimeoutError: lambda error: ours.GetTimeoutError(str(error)),
    theirs.WorkerCrashedError: lambda error: ours.WorkerCrashedError(str(error)),
    theirs.LocalRayletDiedError: lambda error: ours.LocalNodeDiedError(str(error)),
    theirs.OufOfBandObjectRefSerializationException: lambda error: ours.OutOfBandObjectRefSerializationException(
        str(error)
    ),
}

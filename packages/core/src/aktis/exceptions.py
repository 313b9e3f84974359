"""Everything that Aktis raises.

::

    AktisError
    ├── AktisTaskError                       user code raised; what ``get`` raises is also of the user's class
    ├── TaskCancelledError                   the task was cancelled, or something it depends on was
    ├── WorkerCrashedError                   the worker process died, and retries are used up
    ├── LocalNodeDiedError                   the node daemon of this machine died: the session is over
    ├── NodeDiedError                        another machine of the cluster died
    ├── AktisActorError
    │   ├── ActorDiedError                   dead for good
    │   └── ActorUnavailableError            restarting or unreachable, may come back
    ├── ObjectLostError
    │   ├── OwnerDiedError                   the process that made the reference is gone
    │   ├── ObjectReconstructionFailedError  ``.reason`` says why it could not be made again
    │   │   ├── ObjectReconstructionFailedMaxAttemptsExceededError
    │   │   └── ObjectReconstructionFailedLineageEvictedError
    │   ├── ObjectFetchTimedOutError         a copy exists, but did not arrive in time
    │   ├── ObjectFreedError                 somebody freed it by hand
    │   └── ReferenceCountingAssertionError  (AssertionError) let go too early: a bug in Aktis, please report it
    ├── GetTimeoutError                      (TimeoutError)
    ├── ObjectStoreFullError                 shared memory is full, and nothing can be spilled
    ├── OutOfDiskError                       no room to spill to
    ├── OutOfMemoryError                     the memory monitor ended the worker
    ├── PendingCallsLimitExceeded            the actor has ``max_pending_calls`` waiting
    ├── ActorAlreadyExistsError              (ValueError)
    ├── ActorHandleNotFoundError             (ValueError) a handle of another session
    ├── RuntimeEnvSetupError                 the runtime environment could not be made
    ├── TaskUnschedulableError / ActorUnschedulableError            no node can ever satisfy the request
    ├── TaskPlacementGroupRemoved / ActorPlacementGroupRemoved
    ├── SerializationError                   (TypeError) names the path to what cannot be pickled
    ├── OutOfBandObjectRefSerializationException   a reference was pickled behind our back
    ├── UserCodeException                    wraps what user code raised, where it cannot be passed on as it is
    ├── UnserializableException              an exception that could not be pickled, or unpickled: its text
    ├── AktisSystemError                     a broken promise of Aktis itself
    │   ├── StreamingGeneratorReplayInconsistentError
    │   ├── AktisChannelError
    │   │   └── AktisChannelTimeoutError     (TimeoutError)
    │   ├── AktisDirectTransportError
    │   └── AktisCgraphCapacityExceeded
    ├── RpcError, AuthenticationError, CrossLanguageError
    └── AsyncioActorExit, ObjectRefStreamEndOfStreamError, PlasmaObjectNotAvailable     control flow inside engines

Each of them also has the name that it has in Ray (``RayError``, ``RayTaskError``, ...), at the end of this module.
"""

from __future__ import annotations

from typing import Any, ClassVar


def _restore(cls: type[AktisError], args: tuple[Any, ...], state: dict[str, Any]) -> AktisError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class AktisError(Exception):
    """Root of everything that Aktis raises."""

    _default = ""  # the message, when none is given

    def __str__(self) -> str:
        return super().__str__() if self.args else self._default

    def __reduce__(self) -> tuple[Any, ...]:
        # By state, not by calling the constructor: subclasses are free in what their constructors take.
        return _restore, (type(self), self.args, self.__dict__)


# Failed code ---------------------------------------------------------------------------------------------------------


class AktisTaskError(AktisError):
    """A task or an actor's method raised.

    ``get`` raises :meth:`as_instanceof_cause`: an instance both of this class and of the class that the user's code
    raised, so that ``except ValueError`` and ``except AktisTaskError`` both catch it.

    ``cause`` is the user's exception (of nested tasks, the innermost), ``traceback_str`` the trimmed remote traceback.
    """

    def __init__(
        self,
        function_name: str = "",
        traceback_str: str = "",
        cause: BaseException | None = None,
        proctitle: str | None = None,
        pid: int | None = None,
        ip: str | None = None,
        actor_repr: str | None = None,
        actor_id: str | None = None,
    ) -> None:
        super().__init__()
        self.function_name = function_name
        self.traceback_str = traceback_str
        self.cause: BaseException | None = cause.cause if isinstance(cause, AktisTaskError) else cause
        self.proctitle = proctitle
        self.pid = pid
        self.ip = ip
        self.actor_repr = actor_repr
        self.actor_id = actor_id

    def as_instanceof_cause(self) -> AktisTaskError:
        """An exception that is an instance of this class and of the cause's class.

        This very object, when that cannot be: no cause, a class that cannot be subclassed, or one that the interpreter
        gives a meaning of its own (StopIteration, GeneratorExit, SystemExit, KeyboardInterrupt).
        """
        from aktis._serialization.dual import make_dual

        return make_dual(self)

    def __reduce__(self) -> tuple[Any, ...]:
        # The cause is pickled apart: it may fail to unpickle, and this error must arrive nevertheless.
        from aktis._serialization.dual import restore_task_error
        from aktis._serialization.errors import dump_exception

        state = dict(self.__dict__)
        return restore_task_error, (type(self), self.args, state, dump_exception(state.pop("cause")))

    def __str__(self) -> str:
        where = f"pid={self.pid}" if self.pid is not None else ""
        if self.ip:
            where += f", ip={self.ip}"
        if self.actor_id:
            where += f", actor_id={self.actor_id}"
        if self.actor_repr:
            where += f", repr={self.actor_repr}"
        head = f"{self.function_name}() failed" + (f" ({where})" if where else "")
        return f"{head}\n{self.traceback_str.rstrip()}" if self.traceback_str else f"{head}: {self.cause!r}"


class UserCodeException(AktisError):
    """User code raised where its exception cannot be passed on as it is."""


class TaskCancelledError(AktisError):
    """The task was cancelled, or a task was that it depends on."""

    def __init__(self, task_id: str | None = None, error_message: str | None = None) -> None:
        name = f"task {task_id}" if task_id else "this task"
        super().__init__(error_message or f"{name} was cancelled, or something that it depends on was")
        self.task_id = task_id


# Dead processes and machines -----------------------------------------------------------------------------------------


class WorkerCrashedError(AktisError):
    """The worker that ran the task died, and the task's retries are used up.

    ``exit_code`` or ``signal`` say how it ended, ``log_tail`` what it wrote last.
    """

    _default = "the worker process died while it ran this task"

    def __init__(
        self,
        message: str | None = None,
        *,
        pid: int | None = None,
        exit_code: int | None = None,
        signal: int | None = None,
        log_tail: str = "",
    ) -> None:
        super().__init__(*([message] if message else []))
        self.pid = pid
        self.exit_code = exit_code
        self.signal = signal
        self.log_tail = log_tail

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text}\nIts last output:\n{self.log_tail.rstrip()}" if self.log_tail else text


class LocalNodeDiedError(AktisError):
    """The node daemon of this machine is gone; call ``aktis.shutdown()`` and ``aktis.init()`` to go on."""

    _default = "the node daemon of this machine died: call aktis.shutdown() and aktis.init() to start a new session"


class NodeDiedError(AktisError):
    """A machine of the cluster died while it ran this task."""

    _default = "the node that ran this task died"


class AktisActorError(AktisError):
    """A call of an actor's method could not be done because of the actor's state. ``actor_id`` is hexadecimal."""

    _default = "the actor failed before it finished this call"

    def __init__(
        self,
        message: str | None = None,
        *,
        actor_id: str | None = None,
        actor_init_failed: bool = False,
        preempted: bool = False,
    ) -> None:
        super().__init__(*([message] if message else []))
        self.actor_id = actor_id
        self.actor_init_failed = actor_init_failed
        self.preempted = preempted


class ActorDiedError(AktisActorError):
    """The actor is dead for good: killed, crashed without restarts left, or its ``__init__`` raised.

    In the last case ``actor_init_failed`` is true, and ``cause`` is the AktisTaskError of ``__init__``. ``call_sent`` is false
    where the call had not left the caller's process, so that nothing of it can have run; true says nothing.
    """

    _default = "the actor is dead and will not be restarted"
    call_sent = True

    def __init__(
        self,
        message: str | None = None,
        *,
        actor_id: str | None = None,
        actor_init_failed: bool = False,
        preempted: bool = False,
        cause: BaseException | None = None,
    ) -> None:
        super().__init__(message, actor_id=actor_id, actor_init_failed=actor_init_failed, preempted=preempted)
        self.cause = cause

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text}\n{self.cause}" if self.cause is not None else text


class ActorUnavailableError(AktisActorError):
    """The actor cannot be reached now (it restarts, or the connection broke); the call may or may not have run."""

    _default = "the actor is temporarily unavailable: the call may or may not have run, try again later"


class OutOfMemoryError(AktisError):
    """The memory monitor ended the worker because the machine was about to run out of memory."""

    _default = "the worker was ended because the machine was about to run out of memory"


# Objects -------------------------------------------------------------------------------------------------------------


class ObjectLostError(AktisError):
    """The value of a reference is gone. ``object_ref_hex`` is the id of the object."""

    _default = "its value is gone from shared memory and from disk"

    def __init__(
        self,
        object_ref_hex: str = "",
        message: str | None = None,
        owner_address: str | None = None,
        call_site: str = "",
    ) -> None:
        super().__init__()
        self.object_ref_hex = object_ref_hex
        self.message = message
        self.owner_address = owner_address
        self.call_site = call_site

    def __str__(self) -> str:
        text = f"object {self.object_ref_hex or '(unknown)'}: {self.message or self._default}"
        return f"{text} (created at {self.call_site})" if self.call_site else text


class OwnerDiedError(ObjectLostError):
    """The process that made the reference (called ``.remote()`` or ``put``) is gone, and its objects with it."""

    _default = "the process that owned it (that called .remote() or put) has died"


class ObjectReconstructionFailedError(ObjectLostError):
    """The value was lost and could not be made again by running its task again.

    ``reason`` is one of ``"max_attempts"``, ``"lineage_evicted"``, ``"put"``, ``"retries_disabled"``, ``"borrowed"``,
    ``"ref_not_found"``, ``"cancelled"``, ``"disabled"``.
    """

    REASONS: ClassVar[dict[str, str]] = {
        "max_attempts": "its task was run again as often as max_retries allows",
        "lineage_evicted": "how to make it was forgotten to save memory (lineage limit)",
        "put": "it came from put(), which cannot be repeated",
        "retries_disabled": "its task has max_retries=0 (or its actor max_task_retries=0)",
        "borrowed": "only the owner of the reference can make it again",
        "ref_not_found": "its owner does not know it any more",
        "cancelled": "its task was cancelled",
        "disabled": "reconstruction is switched off",
    }
    _reason = ""

    def __init__(
        self,
        object_ref_hex: str = "",
        reason: str | None = None,
        message: str | None = None,
        owner_address: str | None = None,
        call_site: str = "",
    ) -> None:
        self.reason = reason or self._reason
        why = (
            message
            or f"its value was lost and could not be made again: {self.REASONS.get(self.reason, 'unknown reason')}"
        )
        super().__init__(object_ref_hex, why, owner_address, call_site)


class ObjectReconstructionFailedMaxAttemptsExceededError(ObjectReconstructionFailedError):
    """Its task was run again as often as allowed."""

    _reason = "max_attempts"


class ObjectReconstructionFailedLineageEvictedError(ObjectReconstructionFailedError):
    """How to make it was forgotten to save memory."""

    _reason = "lineage_evicted"


class ObjectFetchTimedOutError(ObjectLostError):
    """A copy exists, but it did not arrive in time."""

    _default = "it could not be fetched in time from the node that has it"


class ObjectFreedError(ObjectLostError):
    """The object was freed by hand (``aktis.internal.free``) and then asked for."""

    _default = "it was freed by hand; do not free what is still needed"


class ReferenceCountingAssertionError(ObjectLostError, AssertionError):
    """The object was let go although references to it live. A bug in Aktis: please report it."""

    _default = "it was let go although references to it live: a bug in Aktis, please report it"


class GetTimeoutError(AktisError, TimeoutError):
    """``get(timeout=...)`` ran out of time. The task goes on; cancel it if nobody wants it."""

    _default = "get() timed out: some objects are not ready"

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else self._default


class ObjectStoreFullError(AktisError):
    """Shared memory is full, nothing in it can be spilled, and nothing was freed while we waited."""

    _default = (
        "the object store is full: let go of references (and of arrays that are views of objects), "
        "or give it more room with aktis.init(object_store_memory=...)"
    )


class OutOfDiskError(AktisError):
    """There is no room on disk for objects that must leave shared memory."""

    _default = "the disk of the session directory is full: objects cannot be spilled to it"


class PlasmaObjectNotAvailable(AktisError):
    """The object is not in local shared memory (engines handle this themselves)."""


class ObjectRefStreamEndOfStreamError(AktisError):
    """A streaming generator has no more items (engines turn it into StopIteration)."""


# Asking for what cannot be -------------------------------------------------------------------------------------------


class PendingCallsLimitExceeded(AktisError):
    """The actor already has ``max_pending_calls`` calls waiting from this handle."""

    _default = "the actor has max_pending_calls calls waiting already: wait for some of them, or raise the limit"


class ActorAlreadyExistsError(AktisError, ValueError):
    """A living actor has this name in this namespace."""

    _default = "an actor with this name exists already: choose another name, or pass get_if_exists=True"


class ActorHandleNotFoundError(AktisError, ValueError):
    """The handle belongs to an actor of another session."""

    _default = "this actor handle belongs to another session"


class RuntimeEnvSetupError(AktisError):
    """The runtime environment of a task or actor could not be made."""

    _default = "the runtime environment could not be set up"


class TaskUnschedulableError(AktisError):
    """The task can never run: no node fits what it asks for."""

    _default = "this task can never be scheduled: no node fits what it asks for"


class ActorUnschedulableError(AktisError):
    """The actor can never run: no node fits what it asks for."""

    _default = "this actor can never be scheduled: no node fits what it asks for"


class TaskPlacementGroupRemoved(AktisError):
    """The placement group of the task was removed before the task ended."""

    _default = "the placement group of this task was removed"


class ActorPlacementGroupRemoved(AktisError):
    """The placement group of the actor was removed."""

    _default = "the placement group of this actor was removed"


class AsyncioActorExit(AktisError):
    """Ends an async actor from inside (raised by ``exit_actor``)."""


# Serialization -------------------------------------------------------------------------------------------------------


class SerializationError(AktisError, TypeError):
    """A value cannot be pickled.

    ``paths`` names what stands in the way, such as ``config["callbacks"][2].lock``.
    """

    def __init__(self, message: str = "", paths: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.paths = paths


class UnserializableException(AktisError):
    """Stands for an exception that could not be pickled by its raiser, or not be unpickled here.

    ``original_stack_trace`` is the text of the original.
    """

    def __init__(self, original_stack_trace: str = "", why: str = "") -> None:
        super().__init__(original_stack_trace)
        self.original_stack_trace = original_stack_trace
        self.why = why

    def __str__(self) -> str:
        return (
            f"an exception could not be passed on as an object: {self.why}\nThe original:\n{self.original_stack_trace}"
        )


class OutOfBandObjectRefSerializationException(AktisError):
    """A reference was pickled outside of a call or ``put``, where nobody can keep its object alive."""

    _default = (
        "an ObjectRef can only be serialized inside arguments, results and put() values: "
        "pass it in a container to .remote() or put(), or get() its value first"
    )


class CrossLanguageError(AktisError):
    """Code in another language failed."""


# Aktis itself --------------------------------------------------------------------------------------------------------


class AktisSystemError(AktisError):
    """Aktis broke a promise of its own."""

    _default = "an internal error of Aktis"


class StreamingGeneratorReplayInconsistentError(AktisSystemError):
    """A generator task was run again and made another number of items than the first time."""


class AktisChannelError(AktisSystemError):
    """A channel of a compiled graph failed."""


class AktisChannelTimeoutError(AktisChannelError, TimeoutError):
    """A channel was not read or written in time."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else self._default


class AktisDirectTransportError(AktisSystemError):
    """A direct transfer between devices failed."""


class AktisCgraphCapacityExceeded(AktisSystemError):
    """A compiled graph has too many executions in flight."""


class RpcError(AktisError):
    """A request to another process failed."""

    def __init__(self, message: str = "", rpc_code: int | None = None) -> None:
        super().__init__(message)
        self.rpc_code = rpc_code


class AuthenticationError(AktisError):
    """The peer did not show the token of the session."""

    _default = "authentication failed: the token of the session is missing or wrong"


# Ray's names ---------------------------------------------------------------------------------------------------------

RayError = AktisError
RayTaskError = AktisTaskError
RayActorError = AktisActorError
RaySystemError = AktisSystemError
RayChannelError = AktisChannelError
RayChannelTimeoutError = AktisChannelTimeoutError
RayDirectTransportError = AktisDirectTransportError
RayCgraphCapacityExceeded = AktisCgraphCapacityExceeded
LocalRayletDiedError = LocalNodeDiedError
OufOfBandObjectRefSerializationException = OutOfBandObjectRefSerializationException

__all__ = [
    "ActorAlreadyExistsError",
    "ActorDiedError",
    "ActorHandleNotFoundError",
    "ActorPlacementGroupRemoved",
    "ActorUnavailableError",
    "ActorUnschedulableError",
    "AktisActorError",
    "AktisCgraphCapacityExceeded",
    "AktisChannelError",
    "AktisChannelTimeoutError",
    "AktisDirectTransportError",
    "AktisError",
    "AktisSystemError",
    "AktisTaskError",
    "AsyncioActorExit",
    "AuthenticationError",
    "CrossLanguageError",
    "GetTimeoutError",
    "LocalNodeDiedError",
    "LocalRayletDiedError",
    "NodeDiedError",
    "ObjectFetchTimedOutError",
    "ObjectFreedError",
    "ObjectLostError",
    "ObjectReconstructionFailedError",
    "ObjectReconstructionFailedLineageEvictedError",
    "ObjectReconstructionFailedMaxAttemptsExceededError",
    "ObjectRefStreamEndOfStreamError",
    "ObjectStoreFullError",
    "OufOfBandObjectRefSerializationException",
    "OutOfBandObjectRefSerializationException",
    "OutOfDiskError",
    "OutOfMemoryError",
    "OwnerDiedError",
    "PendingCallsLimitExceeded",
    "PlasmaObjectNotAvailable",
    "RayActorError",
    "RayCgraphCapacityExceeded",
    "RayChannelError",
    "RayChannelTimeoutError",
    "RayDirectTransportError",
    "RayError",
    "RaySystemError",
    "RayTaskError",
    "ReferenceCountingAssertionError",
    "RpcError",
    "RuntimeEnvSetupError",
    "SerializationError",
    "StreamingGeneratorReplayInconsistentError",
    "TaskCancelledError",
    "TaskPlacementGroupRemoved",
    "TaskUnschedulableError",
    "UnserializableException",
    "UserCodeException",
    "WorkerCrashedError",
]

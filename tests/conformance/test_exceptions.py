"""What get raises."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

import aktis

pytestmark = pytest.mark.usefixtures("session")


@aktis.remote(max_retries=0)
def fail(error: Any) -> None:
    raise error


@pytest.mark.parametrize(
    "error",
    [
        ValueError("v"),
        KeyError("k"),
        ZeroDivisionError("z"),
        OSError(2, "gone"),
        AssertionError(),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_dual_type(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        aktis.get(fail.remote(error))
    assert isinstance(caught.value, aktis.exceptions.RayTaskError)
    assert isinstance(caught.value, aktis.exceptions.RayError)
    assert type(caught.value.cause) is type(error)


def test_attributes_of_the_cause() -> None:
    @aktis.remote(max_retries=0)
    def f() -> None:
        class Custom(Exception):
            def __init__(self, code: int) -> None:
                super().__init__(f"code {code}")
                self.code = code

        raise Custom(7)

    with pytest.raises(aktis.exceptions.RayTaskError) as caught:
        aktis.get(f.remote())
    assert caught.value.cause.code == 7
    assert "code 7" in str(caught.value)


def test_the_remote_traceback_is_in_the_message() -> None:
    @aktis.remote(max_retries=0)
    def deep() -> None:
        def inner() -> None:
            raise ValueError("at the bottom")

        inner()

    with pytest.raises(ValueError) as caught:
        aktis.get(deep.remote())
    text = str(caught.value)
    assert "in inner" in text
    assert "at the bottom" in text


def test_nested_failures_keep_the_cause() -> None:
    @aktis.remote(max_retries=0)
    def outer() -> None:
        aktis.get(fail.remote(KeyError("deep")))

    with pytest.raises(KeyError):
        aktis.get(outer.remote())


def test_an_error_can_be_raised_twice() -> None:
    ref = fail.remote(ValueError("again"))
    for _ in range(2):
        with pytest.raises(ValueError):
            aktis.get(ref)


@pytest.mark.differs("Ray's cannot always")
def test_errors_can_be_pickled() -> None:
    with pytest.raises(ValueError) as caught:
        aktis.get(fail.remote(ValueError("x")))
    again = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(again, ValueError)
    assert isinstance(again, aktis.exceptions.RayTaskError)


def test_an_error_that_cannot_be_pickled() -> None:
    @aktis.remote(max_retries=0)
    def f() -> None:
        import threading

        class Bad(Exception):
            def __init__(self) -> None:
                super().__init__("unpicklable")
                self.lock = threading.Lock()

        raise Bad

    with pytest.raises(aktis.exceptions.RayError, match="unpicklable"):
        aktis.get(f.remote())


def test_errors_of_methods_name_the_method() -> None:
    @aktis.remote
    class A:
        def boom(self) -> None:
            raise ValueError("in a method")

    actor = A.remote()
    with pytest.raises(ValueError, match=r"boom"):
        aktis.get(actor.boom.remote())


@pytest.mark.parametrize(
    ("child", "parent"),
    [
        ("GetTimeoutError", TimeoutError),
        ("ActorDiedError", "RayActorError"),
        ("ActorUnavailableError", "RayActorError"),
        ("OwnerDiedError", "ObjectLostError"),
        ("ObjectFreedError", "ObjectLostError"),
        ("ActorAlreadyExistsError", ValueError),
        ("ActorHandleNotFoundError", ValueError),
        ("WorkerCrashedError", "RayError"),
        ("TaskCancelledError", "RayError"),
        ("ObjectStoreFullError", "RayError"),
        ("OutOfMemoryError", "RayError"),
        ("RuntimeEnvSetupError", "RayError"),
        ("TaskUnschedulableError", "RayError"),
        ("PendingCallsLimitExceeded", "RayError"),
    ],
)
def test_taxonomy(child: str, parent: Any) -> None:
    errors = aktis.exceptions
    assert issubclass(getattr(errors, child), getattr(errors, parent) if isinstance(parent, str) else parent)


@pytest.mark.differs("paths are ours")
def test_serialization_errors_name_the_path() -> None:
    import threading

    @aktis.remote
    def f(config: Any) -> None:
        pass

    with pytest.raises(TypeError, match=r'\["callbacks"\]\[1\]'):
        f.remote(config={"callbacks": [1, threading.Lock()]})

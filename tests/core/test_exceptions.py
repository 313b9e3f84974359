"""The taxonomy, the dual exception, and that all of it survives pickle."""

from __future__ import annotations

import inspect
import pickle
import sys

import pytest

from aktis import exceptions
from aktis._serialization import pack_exception, unpack_exception
from aktis.exceptions import AktisError, AktisTaskError


class Plain(Exception):
    code = 1

    def __init__(self, first: str, second: int) -> None:
        super().__init__(f"{first} and {second}")
        self.first = first
        self.code = second

    def describe(self) -> str:
        return f"<{self.first}>"


class Slotted(Exception):
    __slots__ = ("where",)

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.where = where


class OddNew(Exception):
    def __new__(cls, one: int, two: int) -> OddNew:
        return super().__new__(cls, one, two)

    def __init__(self, one: int, two: int) -> None:
        pass


class FinalMeta(type):
    def __new__(mcs, name, bases, namespace):
        if any(isinstance(base, FinalMeta) for base in bases):
            raise TypeError("final")
        return super().__new__(mcs, name, bases, namespace)


class Final(Exception, metaclass=FinalMeta):
    pass


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def through(error: BaseException, **facts) -> Exception:
    return unpack_exception(pack_exception(raised(error), "module.f", **facts))


def all_classes() -> list[type[AktisError]]:
    found = [getattr(exceptions, name) for name in exceptions.__all__]
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("cls", all_classes(), ids=lambda cls: cls.__name__)
def test_every_class_can_be_made_bare_speaks_and_pickles_with_its_state(cls):
    parameters = inspect.signature(cls.__init__).parameters
    error = cls("some text") if cls is not AktisTaskError else cls("f", "text", ValueError(3))
    error.extra = 5
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is cls
    assert again.args == error.args
    assert str(again) == str(error)
    assert again.extra == 5
    for name in parameters:
        if hasattr(error, name) and name != "cause":
            assert getattr(again, name) == getattr(error, name)
    assert isinstance(str(cls()), str)


def test_names_of_ray_are_the_same_classes():
    assert exceptions.RayError is AktisError
    assert exceptions.RayTaskError is AktisTaskError
    assert exceptions.RayActorError is exceptions.AktisActorError
    assert exceptions.LocalRayletDiedError is exceptions.LocalNodeDiedError
    assert issubclass(exceptions.GetTimeoutError, TimeoutError)
    assert issubclass(exceptions.ActorAlreadyExistsError, ValueError)
    assert issubclass(exceptions.SerializationError, TypeError)
    assert issubclass(exceptions.ActorDiedError, exceptions.RayActorError)
    assert issubclass(exceptions.ReferenceCountingAssertionError, AssertionError)


def test_all_lists_what_is_there():
    here = {
        name
        for name, value in vars(exceptions).items()
        if isinstance(value, type) and issubclass(value, AktisError) and not name.startswith("_")
    }
    assert here == set(exceptions.__all__)


def test_docstring_draws_every_class():
    for cls in all_classes():
        assert cls.__name__ in exceptions.__doc__
        assert cls.__doc__


def test_reconstruction_says_why():
    error = exceptions.ObjectReconstructionFailedError("ab" * 20, "put")
    assert error.reason == "put"
    assert "put()" in str(error) and "abab" in str(error)
    assert exceptions.ObjectReconstructionFailedMaxAttemptsExceededError("ab").reason == "max_attempts"


def test_dual_is_both_and_answers_for_its_cause():
    error = through(Plain("x", 7), pid=42, actor_id="beef")
    assert isinstance(error, AktisTaskError) and isinstance(error, Plain)
    assert type(error).__name__ == "AktisTaskError(Plain)"
    assert error.args == ("x and 7",)
    assert (error.first, error.code, error.describe()) == ("x", 7, "<x>")
    assert type(error.cause) is Plain and error.cause.code == 7
    assert "module.f() failed (pid=42, actor_id=beef)" in str(error)
    assert "Plain: x and 7" in str(error)
    assert "in raised" in str(error)
    with pytest.raises(AttributeError):
        error.nothing


def test_dual_pickles_and_its_class_is_made_once():
    error = through(Plain("x", 7))
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert isinstance(again, Plain) and again.first == "x" and str(again) == str(error)
    assert pickle.loads(pickle.dumps(again)).cause.code == 7


@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (FileNotFoundError(2, "no such file", "x.txt"), {"errno": 2, "filename": "x.txt", "strerror": "no such file"}),
        (UnicodeDecodeError("utf-8", b"abc", 1, 2, "bad"), {"start": 1, "object": b"abc", "reason": "bad"}),
        (KeyError("k"), {"args": ("k",)}),
        (ImportError("no", name="mod"), {"name": "mod"}),
        (Slotted("here"), {"where": "here"}),
        (exceptions.GetTimeoutError("late"), {"args": ("late",)}),
        (OddNew(1, 2), {"args": (1, 2)}),
    ],
)
def test_fields_that_live_in_memory_of_the_exception(error, fields):
    dual = through(error)
    assert isinstance(dual, AktisTaskError) and isinstance(dual, type(error))
    for name, value in fields.items():
        assert getattr(dual, name) == value
        assert getattr(dual.cause, name) == value


@pytest.mark.parametrize("error", [Final("x"), StopIteration(3), KeyboardInterrupt(), SystemExit(2), GeneratorExit()])
def test_classes_that_cannot_be_mixed_in_come_as_the_cause_only(error):
    plain = through(error)
    assert type(plain) is AktisTaskError
    assert type(plain.cause) is type(error)
    assert type(error).__name__ in str(plain)


def test_nested_failure_is_the_innermost_and_shows_the_way():
    inner = through(ValueError("deep"))
    outer = unpack_exception(pack_exception(raised(inner), "module.g"))
    assert isinstance(outer, ValueError)
    assert type(outer.cause) is ValueError and outer.cause.args == ("deep",)
    text = str(outer)
    assert text.index("module.g() failed") < text.index("module.f() failed") < text.index("ValueError: deep")
    assert text.count("ValueError: deep") == 1


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups came with Python 3.11")
def test_groups_are_groups():
    group = ExceptionGroup("both", [ValueError(1), Plain("x", 2)])  # noqa: F821
    error = through(group)
    assert isinstance(error, AktisTaskError) and isinstance(error, ExceptionGroup)  # noqa: F821
    assert error.message == "both"
    assert [type(one) for one in error.exceptions] == [ValueError, Plain]
    assert error.subgroup(Plain).exceptions[0].code == 2
    assert isinstance(pickle.loads(pickle.dumps(error)), ExceptionGroup)  # noqa: F821


def test_framework_errors_come_as_they_are():
    error = unpack_exception(pack_exception(exceptions.ActorDiedError("gone", actor_id="ab", preempted=True)))
    assert type(error) is exceptions.ActorDiedError
    assert (error.actor_id, error.preempted, str(error)) == ("ab", True, "gone")


def test_actor_died_in_init_carries_the_cause():
    cause = through(ValueError("no"))
    error = exceptions.ActorDiedError("init failed", actor_init_failed=True, cause=cause)
    again = pickle.loads(pickle.dumps(error))
    assert again.actor_init_failed and isinstance(again.cause, ValueError) and "ValueError: no" in str(again)


@pytest.mark.parametrize(
    ("raised", "caught_by"),
    [
        ("NodeDiedError", "RayError"),
        ("LocalRayletDiedError", "RayError"),
        ("ObjectFetchTimedOutError", "ObjectLostError"),
        ("OwnerDiedError", "ObjectLostError"),
        ("ActorUnavailableError", "RayActorError"),
        ("RayChannelError", "RaySystemError"),
        ("RayChannelTimeoutError", "RayChannelError"),
        ("RayDirectTransportError", "RaySystemError"),
        ("RayCgraphCapacityExceeded", "RaySystemError"),
        ("StreamingGeneratorReplayInconsistentError", "AktisSystemError"),
        ("AktisCgraphCapacityExceeded", "RaySystemError"),
        ("AktisChannelError", "RayChannelError"),
        ("AktisChannelTimeoutError", "RayChannelTimeoutError"),
        ("AktisDirectTransportError", "RayDirectTransportError"),
        ("OufOfBandObjectRefSerializationException", "OutOfBandObjectRefSerializationException"),
        ("AsyncioActorExit", "RayError"),
        ("AuthenticationError", "RayError"),
        ("CrossLanguageError", "RayError"),
        ("ObjectRefStreamEndOfStreamError", "RayError"),
        ("PlasmaObjectNotAvailable", "RayError"),
        ("UserCodeException", "RayError"),
    ],
)
def test_what_a_program_catches(raised: str, caught_by: str) -> None:
    with pytest.raises(getattr(exceptions, caught_by)):
        raise getattr(exceptions, raised)()


@pytest.mark.parametrize("name", ["RayChannelTimeoutError", "GetTimeoutError"])
def test_timeouts_are_those_of_python_and_say_what_they_are_told(name: str) -> None:
    error = getattr(exceptions, name)("the channel was empty for 3 s")
    assert isinstance(error, TimeoutError)
    assert str(error) == "the channel was empty for 3 s"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("NodeDiedError", "node that ran this task died"),
        ("AuthenticationError", "token"),
        ("ObjectFetchTimedOutError", "not be fetched in time"),
        ("RaySystemError", "internal error of Aktis"),
        ("OutOfBandObjectRefSerializationException", "pass it in a container"),
    ],
)
def test_what_they_say_by_themselves(name: str, words: str) -> None:
    assert words in str(getattr(exceptions, name)())

"""What goes along with calls on a Ray cluster. Ray itself is not needed."""

from __future__ import annotations

import pickle

import cloudpickle
import pytest

from aktis._engine import MethodDescriptor
from aktis._options import MethodOptions
from aktis._ray import travel


@pytest.mark.parametrize("pickler", [pickle, cloudpickle])
def test_classes_that_stand_for_causes_can_be_pickled_plainly(pickler: object) -> None:
    """Ray Client pickles options with pickle, and a program's exceptions may be local."""

    class Own(Exception):
        pass

    made = travel.caused_by((Own, KeyError))
    again = pickle.loads(pickler.dumps(made))  # type: ignore[attr-defined]
    assert issubclass(again, Exception)
    assert isinstance(travel.Failed(b"", "", KeyError("x")), again)
    assert not isinstance(travel.Failed(b"", "", ValueError("x")), again)
    assert not isinstance(KeyError("x"), again)


def test_only_a_group_that_the_class_has_not_said_is_said_for_a_call() -> None:
    pytest.importorskip("ray")
    from aktis._ray.options import of_method

    plain = MethodDescriptor("m", False, False, None)
    grouped = MethodDescriptor("m", False, False, None, {"concurrency_group": "io"})
    assert of_method(MethodOptions(), plain) == {}
    assert of_method(MethodOptions(concurrency_group="io"), grouped) == {}
    assert of_method(MethodOptions(concurrency_group="io"), plain) == {"concurrency_group": "io"}

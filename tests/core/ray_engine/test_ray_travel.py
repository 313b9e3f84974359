"""What goes along with calls on a Ray cluster. Ray itself is not needed."""

from __future__ import annotations

import pickle

import cloudpickle
import pytest

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

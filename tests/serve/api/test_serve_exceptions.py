"""Exceptions keep what they know through pickles, and say it."""

from __future__ import annotations

import pickle

import pytest

from aktis.exceptions import AktisError
from aktis.serve import exceptions
from aktis.serve.context import get_replica_context


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (exceptions.BackPressureError(5, 4, "app#model"), "max_queued_requests is 4"),
        (exceptions.DeploymentUnavailableError("app#model", "it broke"), "'app#model' is not available: it broke"),
        (exceptions.RequestTimeoutError("id", 2.5), "Request id was not done within 2.5 s"),
        (exceptions.RequestCancelledError("id"), "Request id was cancelled"),
        (
            exceptions.DeploymentNotFoundError.of("application", "x", ["b", "a"]),
            "There is no application 'x'. There are: 'a', 'b'.",
        ),
        (
            exceptions.DeploymentFailedError("It failed.", deployment="d", user_traceback="Traceback: 1/0"),
            "Traceback: 1/0",
        ),
        (exceptions.ServeNotRunningError(), "serve.start()"),
        (exceptions.InvalidDeploymentError("no"), "no"),
    ],
)
def test_pickles(error: exceptions.ServeError, says: str) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and vars(again) == vars(error) and str(again) == str(error)
    assert says in str(error) and isinstance(error, AktisError)


def test_each_is_in_the_tree_of_the_docstring() -> None:
    for name in exceptions.__all__:
        assert name in (exceptions.__doc__ or "") or name == "RayServeTimeout"


def test_context_outside_of_replicas() -> None:
    with pytest.raises(exceptions.RayServeException, match="outside of a replica"):
        get_replica_context()

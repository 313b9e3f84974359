"""Applications: states out of deployments, order of coming and going, routes."""

from __future__ import annotations

from typing import Any

import pytest
from tests.serve.controller.brains import application, deployment, fresh, info

from aktis.serve._controller.application_brain import ApplicationBrain, check_routes
from aktis.serve._controller.replicas import Command, Drain, Kill, Start
from aktis.serve._protocol import ApplicationSpec, ApplicationState
from aktis.serve.exceptions import InvalidDeploymentError


class Stage:
    """An application's brain, and its open commands."""

    def __init__(self) -> None:
        self.app = ApplicationBrain("app", fresh)
        self.open: list[Command] = []
        self.now = 0.0

    def deploy(self, *deployments: Any, counts: dict[str, int] | None = None, **options: Any) -> None:
        spec = application(*deployments, **options)
        self.take(self.app.deploy(spec, counts or {}, self.now, 1000.0 + self.now))

    def take(self, commands: list[Command]) -> None:
        self.open += commands + self.app.settle(self.now)

    def answer(self, kinds: tuple[type, ...] = (Start, Drain, Kill), name: str | None = None, error: str = "") -> None:
        """Answer those that are open now (not what follows)."""
        for command in [each for each in self.open if isinstance(each, kinds) and name in (None, each.id.deployment)]:
            self.open.remove(command)
            brain = self.app.deployments[command.id.deployment]
            if isinstance(command, Start) and error:
                self.take(brain.start_failed(command.id, error, self.now))
            elif isinstance(command, Start):
                self.take(brain.started(command.id, info(), self.now))
            elif isinstance(command, Drain):
                self.take(brain.drained(command.id, self.now))
            elif isinstance(command, Kill):
                self.take(brain.gone(command.id, "killed", self.now))

    def rest(self, error: str = "") -> None:
        while self.open:
            self.answer(error=error)

    def delete(self) -> None:
        self.take(self.app.delete(self.now))
        assert self.leaving() == []  # requests may still come
        assert self.app.route() is None
        self.take(self.app.close(self.now))

    def leaving(self) -> list[str]:
        return [each.id.deployment for each in self.open if isinstance(each, (Drain, Kill))]

    @property
    def state(self) -> ApplicationState:
        return self.app.state()[0]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_an_application_runs_when_all_of_it_does(stage: Stage) -> None:
    stage.deploy(deployment("a"), deployment("b"))
    assert stage.state is ApplicationState.DEPLOYING
    stage.answer(name="a")
    assert stage.state is ApplicationState.DEPLOYING
    stage.answer(name="b")
    assert stage.state is ApplicationState.RUNNING


def test_what_breaks_while_deploying_is_a_failed_deployment_and_later_it_is_unhealthy(stage: Stage) -> None:
    stage.deploy(deployment("a", max_constructor_retry_count=1))
    stage.rest(error="Traceback: bad")
    state, message = stage.app.state()
    assert state is ApplicationState.DEPLOY_FAILED and "Traceback: bad" in message
    stage.deploy(deployment("a"))
    assert stage.state is ApplicationState.DEPLOYING
    stage.rest()
    assert stage.state is ApplicationState.RUNNING
    brain = stage.app.deployments["a"]
    stage.take(brain.gone(brain.view()[0].id, "killed by signal 9", stage.now))
    state, message = stage.app.state()
    assert state is ApplicationState.UNHEALTHY and "killed by signal 9" in message
    stage.rest()
    assert stage.state is ApplicationState.RUNNING


def test_deletion_goes_from_the_ingress_to_what_it_calls(stage: Stage) -> None:
    stage.deploy(deployment("deepest"), deployment("middle"), deployment("ingress"))
    stage.rest()
    assert stage.app.route() is not None
    stage.delete()
    assert stage.app.route() is None and stage.state is ApplicationState.DELETING
    order = []
    while stage.open:
        (name,) = set(stage.leaving())
        assert all(brain.view() or brain.deleting for brain in stage.app.deployments.values())
        order.append(name)
        stage.answer()
    assert list(dict.fromkeys(order)) == ["ingress", "middle", "deepest"]
    assert stage.app.is_gone


def test_what_an_update_leaves_out_stays_until_nothing_old_can_call_it(stage: Stage) -> None:
    stage.deploy(deployment("old"), deployment("ingress"))
    stage.rest()
    stage.deploy(deployment("new"), deployment("ingress", version="2"))
    assert stage.leaving() == []
    stage.answer((Start,))
    assert stage.leaving() == ["ingress"]  # its first version
    assert stage.state is ApplicationState.RUNNING
    stage.answer((Drain,))
    stage.answer((Kill,))
    assert stage.leaving() == ["old"]
    stage.rest()
    assert set(stage.app.deployments) == {"new", "ingress"}


def test_what_was_left_out_can_come_back_before_it_is_gone(stage: Stage) -> None:
    stage.deploy(deployment("a"), deployment("b"))
    stage.rest()
    stage.deploy(deployment("b", version="2"))
    stage.deploy(deployment("a"), deployment("b"))
    stage.rest()
    assert set(stage.app.deployments) == {"a", "b"} and stage.state is ApplicationState.RUNNING


def test_requests_go_to_the_old_ingress_until_one_of_another_name_runs(stage: Stage) -> None:
    stage.deploy(deployment("first"))
    stage.rest()
    stage.deploy(deployment("second"))
    route = stage.app.route()
    assert route is not None and route.deployment == "first"
    stage.answer((Start,))
    route = stage.app.route()
    assert route is not None and route.deployment == "second"
    stage.rest()
    assert set(stage.app.deployments) == {"second"}


def test_the_route_has_the_ingress_time_out(stage: Stage) -> None:
    stage.deploy(deployment("a", request_timeout_s=3), route="/x")
    route = stage.app.route()
    assert route is not None and (route.prefix, route.timeout_s) == ("/x", 3)
    stage.deploy(deployment("a"), route=None)
    assert stage.app.route() is None


def test_deploying_what_is_being_deleted(stage: Stage) -> None:
    stage.deploy(deployment("a"), deployment("b"))
    stage.rest()
    stage.delete()
    stage.answer((Drain,))
    stage.deploy(deployment("a"), deployment("b"))
    stage.rest()
    assert stage.state is ApplicationState.RUNNING and not stage.app.is_gone


def test_deleting_what_could_not_be_deployed(stage: Stage) -> None:
    stage.deploy(deployment("a", max_constructor_retry_count=1), deployment("b"))
    stage.rest(error="bad")
    stage.delete()
    stage.rest()
    assert stage.app.is_gone


def test_autoscaled_deployments_keep_their_number_over_deployments(stage: Stage) -> None:
    scaled = {"min_replicas": 1, "max_replicas": 5}
    stage.deploy(deployment("a", autoscaling_config={**scaled, "initial_replicas": 2}))
    assert stage.app.deployments["a"].count == 2
    stage.take(stage.app.deployments["a"].scale(4, stage.now))
    stage.deploy(deployment("a", version="2", autoscaling_config=scaled))
    assert stage.app.deployments["a"].count == 4
    stage.deploy(deployment("a", autoscaling_config={**scaled, "max_replicas": 3}))
    assert stage.app.deployments["a"].count == 3
    stage.deploy(deployment("a", num_replicas=1))
    assert stage.app.deployments["a"].count == 1 and not stage.app.scalers


def test_restored_applications_know_how_many_there_were() -> None:
    app = ApplicationBrain("app", fresh)
    spec = application(deployment("a", autoscaling_config={"max_replicas": 5}))
    app.restore(spec, [], {"a": 3}, 0.0, 1.0)
    assert app.deployments["a"].count == 3


@pytest.mark.parametrize(
    ("routes", "clash"),
    [
        ({"a": "/", "b": "/"}, True),
        ({"a": "/x", "b": "/x/"}, True),
        ({"a": "/x", "b": "/xy"}, False),
        ({"a": "/x", "b": "/x/y"}, False),
        ({"a": None, "b": None}, False),
    ],
)
def test_two_applications_on_one_route(routes: dict[str, str | None], clash: bool) -> None:
    first, second = (application(deployment(), name=name, route=route) for name, route in routes.items())

    def check(specs: list[ApplicationSpec], others: list[ApplicationSpec]) -> None:
        if not clash:
            check_routes(specs, others)
            return
        with pytest.raises(InvalidDeploymentError, match=r"'a' and 'b'.*route_prefix"):
            check_routes(specs, others)

    check([first, second], [])
    check([second], [first])
    check_routes([first], [first])  # itself, again


def test_what_an_update_left_out_is_named_last() -> None:
    stage = Stage()
    stage.deploy(deployment("Old"))
    stage.rest(error="its constructor raised")
    stage.deploy(deployment("New"))
    assert [brain.id.name for brain in stage.app.in_order()] == ["New", "Old"]  # so that errors name the new one first

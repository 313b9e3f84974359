"""Settings that were accepted and did nothing, or not where they should: log levels, the fake sampler, tasks, connectors."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from tests.helpers.rollouts import Counter, config_of, worker_of

from aktis.rllib.algorithms._algorithm.tasks import SetTask
from aktis.rllib.algorithms.callbacks import DefaultCallbacks
from aktis.rllib.connectors.agent.lambdas import register_lambda_agent_connector
from aktis.rllib.connectors.agent.pipeline import AgentConnectorPipeline
from aktis.rllib.connectors.connector import ConnectorContext
from aktis.rllib.evaluation._connector_sampler import ConnectorSampler
from aktis.rllib.evaluation._vector_sampler import VectorSampler
from aktis.rllib.utils._logs import LOGGER


@pytest.fixture
def quiet_again() -> Iterator[logging.Logger]:
    logger = logging.getLogger(LOGGER)
    handlers = list(logger.handlers)
    yield logger
    logger.setLevel(logging.NOTSET)
    logger.handlers[:] = handlers


def test_the_fake_sampler_samples_once() -> None:
    worker = worker_of(config_of().debugging(fake_sampler=True, seed=1))
    first = worker.sample()
    life = worker.env.life
    obs = first["obs"].copy()
    first["obs"][:] = -1  # what somebody does with a batch is not in the next one
    again = worker.sample()
    assert np.array_equal(again["obs"], obs) and again["t"].tolist() == first["t"].tolist()
    assert worker.env.life == life
    worker.stop()


def test_the_log_level_reaches_workers(quiet_again: logging.Logger, capfd: pytest.CaptureFixture[str]) -> None:
    worker = worker_of(config_of().debugging(log_level="DEBUG"), worker_index=1)
    worker.stop()
    assert quiet_again.isEnabledFor(logging.DEBUG)
    quiet_again.handlers[:] = []
    worker_of(config_of(), worker_index=1).stop()
    assert quiet_again.isEnabledFor(logging.DEBUG)  # the default leaves it as it is


class WithTasks(Counter):
    task: Any = 0

    def get_task(self) -> Any:
        return self.task

    def set_task(self, task: Any) -> None:
        self.task = task


def test_tasks_are_set_behind_wrappers() -> None:
    env = gym.wrappers.TimeLimit(WithTasks(), max_episode_steps=5)
    assert SetTask(lambda result, env, context: result["level"], {"level": 3})(env, None) == 3
    assert env.unwrapped.task == 3
    with pytest.raises(ValueError, match=r"get_task\(\) and set_task"):
        SetTask(lambda result, env, context: 1, {})(Counter(), None)


Tripled = register_lambda_agent_connector("Tripled", lambda data: data)


class Replaces(DefaultCallbacks):
    def on_create_policy(self, *, policy_id: str, policy: Any) -> None:
        own = Tripled(ConnectorContext.from_policy(policy))
        pipeline = policy.agent_connectors
        policy.agent_connectors = AgentConnectorPipeline(
            ConnectorContext.from_policy(policy), [own, *pipeline.connectors]
        )


class PutsIntoTheList(DefaultCallbacks):
    def on_create_policy(self, *, policy_id: str, policy: Any) -> None:
        policy.agent_connectors.connectors.insert(0, Tripled(ConnectorContext.from_policy(policy)))


@pytest.mark.parametrize("callbacks", [Replaces, PutsIntoTheList])
def test_other_pipelines_are_noticed_however_they_came(callbacks: Any) -> None:
    worker = worker_of(config_of().callbacks(callbacks))
    assert isinstance(worker.sampler, ConnectorSampler)
    worker.stop()
    worker = worker_of(config_of())
    assert isinstance(worker.sampler, VectorSampler)
    worker.stop()


class SeesOriginals(DefaultCallbacks):
    seen: list[Any]

    def on_postprocess_trajectory(self, *, original_batches: Any, **kwargs: Any) -> None:
        self.__dict__.setdefault("seen", []).append(original_batches)


class SeesThroughConnectors(SeesOriginals, Replaces):
    pass


@pytest.mark.parametrize("callbacks", [SeesOriginals, SeesThroughConnectors])
def test_original_batches_are_of_one_form(callbacks: Any) -> None:
    worker = worker_of(config_of().callbacks(callbacks))
    worker.sample()
    for originals in worker.callbacks.seen:
        for policy_id, policy, batch in originals.values():
            assert policy_id == "default_policy" and policy is worker.get_policy() and batch.count > 0
    assert worker.callbacks.seen
    worker.stop()

"""Checks for tests of one's own policies and algorithms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from aktis.rllib.utils.numpy import convert_to_numpy

__all__ = [
    "check",
    "check_compute_single_action",
    "check_learning_achieved",
    "check_train_results",
    "framework_iterator",
]


def framework_iterator(
    config: Any = None,
    frameworks: Sequence[str] | str = ("tf2", "torch"),
    session: bool = False,
    with_eager_tracing: bool = False,
    time_iterations: dict[str, float] | None = None,
) -> Iterator[str]:
    """Each framework that is installed, set in a configuration in turn.

    Args:
        config: An AlgorithmConfig or a dict, whose framework is set.
        frameworks: Which.
        session: Has no meaning: there are no sessions.
        with_eager_tracing: Has no meaning: tf2 is traced as the configuration says.
        time_iterations: Gets the seconds that were spent with each.
    """
    import importlib.util
    import time

    for framework in [frameworks] if isinstance(frameworks, str) else frameworks:
        module = "torch" if framework == "torch" else "tensorflow"
        if importlib.util.find_spec(module) is None:
            continue
        if isinstance(config, dict):
            config["framework"] = framework
        elif config is not None:
            config.framework(framework)
        began = time.perf_counter()
        yield framework
        if time_iterations is not None:
            time_iterations[framework] = time.perf_counter() - began


def check(
    x: Any, y: Any, decimals: int = 5, atol: float | None = None, rtol: float | None = None, false: bool = False
) -> None:
    """Check that two structures of numbers are (nearly) the same.

    Args:
        x: Numbers, arrays, tensors, texts, in dicts, lists and tuples.
        y: What is expected.
        decimals: After the point, where neither tolerance is given.
        atol: The absolute tolerance.
        rtol: The relative tolerance.
        false: Check that they are not.

    Raises:
        AssertionError: They are not (or, with `false`, they are).
    """
    difference = _difference(x, y, decimals, atol, rtol, "")
    if false and difference is None:
        raise AssertionError(f"{x} is the same as {y}, and should not be.")
    if not false and difference is not None:
        raise AssertionError(difference)


def _difference(x: Any, y: Any, decimals: int, atol: float | None, rtol: float | None, where: str) -> str | None:
    """What is different, in words; None if nothing is."""
    if isinstance(x, Mapping) and isinstance(y, Mapping):
        if x.keys() != y.keys():
            return f"{where or 'x'} has the keys {sorted(map(str, x))}, not {sorted(map(str, y))}."
        pairs = [(x[key], y[key], f"{where}[{key!r}]") for key in y]
    elif isinstance(x, list | tuple) and isinstance(y, list | tuple):
        if len(x) != len(y):
            return f"{where or 'x'} has {len(x)} entries, not {len(y)}."
        pairs = [(a, b, f"{where}[{i}]") for i, (a, b) in enumerate(zip(x, y, strict=True))]
    else:
        return _leaf_difference(convert_to_numpy(x), convert_to_numpy(y), decimals, atol, rtol, where)
    return next((d for d in (_difference(a, b, decimals, atol, rtol, at) for a, b, at in pairs) if d is not None), None)


def _leaf_difference(x: Any, y: Any, decimals: int, atol: float | None, rtol: float | None, where: str) -> str | None:
    numbers = all(np.asarray(v).dtype.kind in "biufc" for v in (x, y))
    if not numbers:
        same = bool(np.all(x == y))
    elif atol is None and rtol is None:
        same = _shapes_agree(x, y) and bool(np.all(_near(x, y, 1.5 * 10.0**-decimals, 0.0)))
    else:
        same = _shapes_agree(x, y) and bool(np.all(_near(x, y, atol or 0.0, 1e-7 if rtol is None else rtol)))
    return None if same else f"{where or 'x'} is {x}, not {y}."


def _shapes_agree(x: Any, y: Any) -> bool:
    return np.shape(x) == np.shape(y) or np.ndim(x) == 0 or np.ndim(y) == 0


def _near(x: Any, y: Any, atol: float, rtol: float) -> Any:
    return np.isclose(np.asarray(x, np.float64), np.asarray(y, np.float64), atol=atol, rtol=rtol, equal_nan=True)


def check_learning_achieved(tune_results: Any, min_reward: float, evaluation: bool = False, metric: str = "") -> None:
    """Check that the best trial got as far as it should.

    Args:
        tune_results: What `Tuner.fit()` or `tune.run()` returned.
        min_reward: The return that it should have reached.
        evaluation: Whether the return of evaluation counts.
        metric: Which number of the result counts instead, `"evaluation/episode_reward_mean"`.

    Raises:
        ValueError: It did not.
    """
    metric = metric or ("evaluation/episode_reward_mean" if evaluation else "episode_reward_mean")
    best = float(np.nanmax([_last(result, metric) for result in _results(tune_results)]))
    if not best >= min_reward:
        raise ValueError(f"{metric} should have reached {min_reward}, and reached {best}.")


def _results(tune_results: Any) -> list[Mapping[str, Any]]:
    if hasattr(tune_results, "trials"):
        return [trial.last_result for trial in tune_results.trials]
    return [result.metrics for result in tune_results if result.metrics]


def _last(result: Mapping[str, Any], metric: str) -> float:
    value: Any = result
    for key in metric.split("/"):
        value = value.get(key, {}) if isinstance(value, Mapping) else {}
    return float(value) if isinstance(value, int | float | np.number) else float("nan")


def check_train_results(train_results: Mapping[str, Any]) -> Mapping[str, Any]:
    """Check that a result of `Algorithm.train()` has what it should have, and return it.

    Raises:
        AssertionError: A key is missing.
    """
    keys = ("config", "custom_metrics", "episode_len_mean", "episode_reward_mean", "episodes_total", "hist_stats")
    more = ("info", "iterations_since_restore", "num_healthy_workers", "perf", "policy_reward_mean", "sampler_perf")
    rest = ("time_since_restore", "time_this_iter_s", "timers", "timesteps_total", "training_iteration")
    missing = [key for key in (*keys, *more, *rest) if key not in train_results]
    assert not missing, f"The result has no {missing}."
    for policy_id, info in train_results["info"].get("learner", {}).items():
        assert "learner_stats" in info, f"The learner's information of {policy_id!r} has no learner_stats: {info}"
    return train_results


def check_compute_single_action(
    algorithm: Any, include_state: bool = False, include_prev_action_reward: bool = False
) -> None:
    """Check that an algorithm acts on single observations, exploring and not.

    Args:
        algorithm: The algorithm.
        include_state: Hand over the initial state of a recurrent policy.
        include_prev_action_reward: Hand over a previous action and reward.

    Raises:
        AssertionError: An action is not of the action space.
    """
    policy = algorithm.get_policy()
    worker = algorithm.workers.local_worker()
    env = getattr(worker, "env", None)
    observations = getattr(env, "observation_space", None) or policy.observation_space
    for explore in (True, False):
        kwargs: dict[str, Any] = {"explore": explore, "full_fetch": True}
        if include_state:
            kwargs["state"] = policy.get_initial_state()
        if include_prev_action_reward:
            kwargs.update(prev_action=policy.action_space.sample(), prev_reward=1.0)
        action, _, _ = algorithm.compute_single_action(observations.sample(), **kwargs)
        assert policy.action_space.contains(action), f"{action!r} is not in {policy.action_space}."

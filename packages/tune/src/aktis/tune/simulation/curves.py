"""Learning curves for simulated runs: made up, or recorded from real ones.

A source of curves is anything that can be called with a configuration and a seed and returns a :class:`Curve`. Curves are pure: the
same configuration, seed and step always give the same result, in any order and in any process.
"""

from __future__ import annotations

import csv
import json
import math
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

__all__ = ["Curve", "CurveSource", "LearningCurves", "RecordedCurves"]


class Curve(Protocol):
    """What one trial would report. Steps count from 1."""

    @property
    def steps(self) -> int | None:
        """After how many steps the trial ends by itself; None: never."""

    def result(self, step: int) -> dict[str, Any]:
        """The metrics of a step."""

    def seconds(self, step: int) -> float:
        """How long the step takes."""


class CurveSource(Protocol):
    """Where curves come from."""

    def __call__(self, config: Mapping[str, Any], seed: int) -> Curve:
        """The curve of a trial with that configuration; the seed decides about its noise."""

    def space(self) -> dict[str, Any]:
        """A search space of configurations that have a curve."""


class LearningCurves:
    """Made-up training runs of a network with four hyperparameters, which behave as real ones do.

    The loss at step t falls from 1 to an asymptote: ``loss(t) = a + (1 - a) * shape(t / tau)``, with ``shape(x) = 1 / (1 + x)``
    (power law) or ``exp(-x)``, plus noise. With x = log10(lr) + 2:

    ===============  =======================================================================================================
    asymptote a      0.05 + 0.1 * (x + 0.5)^2 + 0.3 * (dropout - 0.2)^2 + 0.2 / log2(width): best at lr = 0.003, dropout = 0.2, wide
    time tau         3 * 10^(-0.6 x) * (width / 64)^0.3 steps: high rates are fast and end badly, so curves cross
    noise            standard deviation noise * (0.2 + falling part) * sqrt(32 / batch_size): it shrinks as the loss falls
    divergence       from lr = 0.5 on the loss is NaN after ``2 / lr`` to ``20 / lr`` steps (by the seed)
    seconds a step   0.5 + width / 256 + 8 / batch_size, times a lognormal factor of 5 %
    ===============  =======================================================================================================

    A result is ``{"loss": ..., "accuracy": 1 - loss}``, in one or two microseconds.

    Args:
        noise: Of the loss, relative to its falling part. 0 for none.
        shape: "power" or "exponential".
        steps: After how many steps a trial ends; None: never.

    Raises:
        ValueError: an argument that makes no sense.
    """

    DEFAULTS: ClassVar[Mapping[str, float]] = {"lr": 0.01, "dropout": 0.2, "width": 64, "batch_size": 32}

    def __init__(self, noise: float = 0.05, shape: str = "power", steps: int | None = None) -> None:
        if noise < 0:
            raise ValueError(f"noise must not be negative, got {noise!r}")
        if shape not in ("power", "exponential"):
            raise ValueError(f"shape must be 'power' or 'exponential', not {shape!r}")
        self.noise = noise
        self.shape = shape
        self.steps = steps

    def __call__(self, config: Mapping[str, Any], seed: int = 0) -> LearningCurve:
        """The curve of a configuration; what it lacks is as in ``DEFAULTS``, other entries are ignored.

        Raises:
            ValueError: a hyperparameter out of its range.
        """
        lr, dropout, width, batch_size = (config.get(key, default) for key, default in self.DEFAULTS.items())
        if not lr > 0 or not 0 <= dropout <= 1 or not width >= 2 or not batch_size >= 1:
            raise ValueError(
                f"there is a curve for lr > 0, dropout between 0 and 1, width >= 2 and batch_size >= 1, not for lr={lr!r}, "
                f"dropout={dropout!r}, width={width!r}, batch_size={batch_size!r}"
            )
        # The noise of each configuration is its own.
        own_seed = _mix(seed ^ zlib.crc32(repr((lr, dropout, width, batch_size)).encode()))
        x = math.log10(lr) + 2
        diverges_at = math.inf
        if lr >= 0.5:
            diverges_at = (2 + 18 * _uniform(own_seed)) / lr
        return LearningCurve(
            asymptote=0.05 + 0.1 * (x + 0.5) ** 2 + 0.3 * (dropout - 0.2) ** 2 + 0.2 / math.log2(width),
            tau=3 * 10 ** (-0.6 * x) * (width / 64) ** 0.3,
            exponential=self.shape == "exponential",
            noise=self.noise * math.sqrt(32 / batch_size),
            diverges_at=diverges_at,
            seconds_per_step=0.5 + width / 256 + 8 / batch_size,
            seed=own_seed,
            steps=self.steps,
        )

    def space(self) -> dict[str, Any]:
        """The search space that goes with it."""
        from aktis.tune.search.sample import choice, lograndint, loguniform, uniform

        return {
            "lr": loguniform(1e-4, 1),
            "dropout": uniform(0, 0.6),
            "width": lograndint(16, 513),
            "batch_size": choice([16, 32, 64, 128]),
        }


class LearningCurve:
    """One curve of :class:`LearningCurves`; ``asymptote`` is what its loss falls to."""

    __slots__ = ("_exponential", "_noise", "_seconds", "_seed", "asymptote", "diverges_at", "steps", "tau")

    def __init__(
        self, asymptote: float, tau: float, exponential: bool, noise: float, diverges_at: float, seconds_per_step: float,
        seed: int, steps: int | None,
    ) -> None:  # fmt: skip
        self.asymptote = asymptote
        self.tau = tau
        self.diverges_at = diverges_at
        self.steps = steps
        self._exponential = exponential
        self._noise = noise
        self._seconds = seconds_per_step
        self._seed = seed

    def result(self, step: int) -> dict[str, Any]:
        """Loss and accuracy of a step."""
        if step > self.diverges_at:
            return {"loss": math.nan, "accuracy": math.nan}
        x = step / self.tau
        falling = math.exp(-x) if self._exponential else 1 / (1 + x)
        loss = self.asymptote + (1 - self.asymptote) * falling
        if self._noise:
            loss += self._noise * (0.2 + falling) * _normal(self._seed + 2 * step)
        return {"loss": loss, "accuracy": 1 - loss}

    def seconds(self, step: int) -> float:
        """The duration of a step."""
        return self._seconds * math.exp(0.05 * _normal(self._seed + 2 * step + 1))


class RecordedCurves:
    """Curves that real trials had.

    Args:
        table: One entry for each trial: ``{"config": {...}, "results": [{...}, ...], "seconds": 2.5}``. ``results`` are the
            metrics of its steps; ``seconds`` the duration of a step, or a list of durations (1 second when it is left out).

    Raises:
        ValueError: an entry without configuration or results, or with another number of durations than results; no entry.
    """

    def __init__(self, table: Iterable[Mapping[str, Any]]) -> None:
        self.configs: list[dict[str, Any]] = []
        self._curves: list[RecordedCurve] = []
        self._index: dict[str, list[int]] = {}
        for number, entry in enumerate(table):
            if "config" not in entry or not entry.get("results"):
                raise ValueError(
                    f"entry {number} of the table must have a config and results, but has only {sorted(entry)}"
                )
            results = [dict(result) for result in entry["results"]]
            seconds = entry.get("seconds", 1.0)
            durations = list(seconds) if isinstance(seconds, Sequence) else [float(seconds)] * len(results)
            if len(durations) != len(results):
                raise ValueError(
                    f"entry {number} of the table has {len(results)} results, but {len(durations)} durations"
                )
            self._index.setdefault(_key(entry["config"]), []).append(number)
            self.configs.append(dict(entry["config"]))
            self._curves.append(RecordedCurve(results, durations))
        if not self._curves:
            raise ValueError("a table of curves must have at least one entry")

    @classmethod
    def from_json(cls, path: str | os.PathLike[str]) -> RecordedCurves:
        """From a file that has the table as a JSON list."""
        with open(path, encoding="utf-8") as file:
            table = json.load(file)
        if not isinstance(table, list):
            raise ValueError(f"{os.fspath(path)} must have a JSON list of trials, not {type(table).__name__}")
        return cls(table)

    @classmethod
    def from_csv(cls, path: str | os.PathLike[str], *, seconds: str = "time_this_iter_s") -> RecordedCurves:
        """From a file with a line for each result, as ``ResultGrid`` and ``ExperimentAnalysis`` give them.

        The columns ``config/<name>`` are the configuration, and lines with the same configuration (and ``trial_id``, if there is
        such a column) are the steps of a trial, in their order. The other columns are metrics.
        """
        trials: dict[tuple[str, str], dict[str, Any]] = {}
        with open(path, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                values = {name: _parsed(text) for name, text in row.items() if name and text not in (None, "")}
                config = {name[7:]: value for name, value in values.items() if name.startswith("config/")}
                metrics = {name: value for name, value in values.items() if not name.startswith("config/")}
                key = (str(metrics.get("trial_id", "")), _key(config))
                trial = trials.setdefault(key, {"config": config, "results": [], "seconds": []})
                trial["results"].append(metrics)
                trial["seconds"].append(float(metrics.get(seconds, 1.0)))
        return cls(trials.values())

    def __call__(self, config: Mapping[str, Any], seed: int = 0) -> RecordedCurve:
        """The curve of a recorded configuration (or of ``{"curve": number}``); of several with it, one by the seed.

        Raises:
            KeyError: no trial had that configuration.
        """
        number = config.get("curve")
        if isinstance(number, int) and _key(config) not in self._index and 0 <= number < len(self._curves):
            return self._curves[number]
        found = self._index.get(_key(config))
        if found is None:
            raise KeyError(
                f"no recorded trial had the configuration {dict(config)!r}: take those of .configs, or .space()"
            )
        return self._curves[found[seed % len(found)]]

    def space(self) -> dict[str, Any]:
        """The search space of all recorded trials: the number of the curve."""
        from aktis.tune.search.sample import choice

        return {"curve": choice(range(len(self._curves)))}


class RecordedCurve:
    """One curve of :class:`RecordedCurves`."""

    __slots__ = ("_results", "_seconds", "steps")

    def __init__(self, results: list[dict[str, Any]], seconds: list[float]) -> None:
        self._results = results
        self._seconds = seconds
        self.steps: int | None = len(results)

    def result(self, step: int) -> dict[str, Any]:
        """The metrics of a step. IndexError when there was no such step."""
        self._check(step)
        return dict(self._results[step - 1])

    def seconds(self, step: int) -> float:
        """The duration of a step. IndexError when there was no such step."""
        self._check(step)
        return self._seconds[step - 1]

    def _check(self, step: int) -> None:
        if not 1 <= step <= len(self._results):
            raise IndexError(f"steps 1 to {len(self._results)} are recorded, not step {step}")


def _key(config: Mapping[str, Any]) -> str:
    return json.dumps(config, sort_keys=True, default=str)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return float(text)  # nan and inf as pandas writes them
    except ValueError:
        return text


_MASK = (1 << 64) - 1


def _mix(value: int) -> int:
    """64 bits that look random: the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def _uniform(value: int) -> float:
    return (_mix(value) >> 11) * 2.0**-53


def _normal(value: int) -> float:
    """A standard normal number made of a counter (Box and Muller): no state, so steps may be asked for in any order."""
    bits = _mix(value)
    radius = math.sqrt(-2 * math.log(((bits >> 32) + 1) * 2.0**-32))
    return radius * math.cos((bits & 0xFFFFFFFF) * (math.tau * 2.0**-32))

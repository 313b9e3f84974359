"""PB2: population based bandits.

Jack Parker-Holder, Vu Nguyen, Stephen J. Roberts: "Provably Efficient Online Hyperparameter Optimization with Population-Based
Bandits", NeurIPS 2020, arXiv:2002.02518.
"""

from __future__ import annotations

import copy
import math
import random
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aktis.tune.error import TuneError
from aktis.tune.schedulers.pbt import PopulationBasedTraining, _Member

if TYPE_CHECKING:
    from aktis.tune.experiment.trial import Trial
    from aktis.tune.schedulers.trial_scheduler import TrialController

__all__ = ["PB2"]

MOST_OBSERVATIONS = 100
"""Older ones are left out: the kernel forgets them anyway, and the fit costs their number cubed (0.1 s at most)."""


class PB2(PopulationBasedTraining):
    """Population based training whose explore step is a bandit: it learns which hyperparameters improve the score most, now.

    A Gaussian process with a time-varying kernel is fitted to the change of the score per time of all trials (section 4),
    given the score before. The new hyperparameters maximise its upper confidence bound, away from those that other trials
    are trying at the moment. Needs numpy and scipy: ``pip install "aktis-tune[pb2]"``.

    Differences from Ray: what a configuration lacks is drawn between its bounds (Ray takes one of the two bounds); before
    there are observations the choice is random (Ray leaves the donor's configuration as it is); time is measured in
    perturbation intervals; integers are rounded.

    Args:
        time_attr: The attribute of results that says how far a trial is. It must grow.
        metric: The attribute of results that decides. None: that of the run.
        mode: "min" or "max". None: that of the run.
        perturbation_interval: Time between two moments at which a trial is ready, in units of ``time_attr``.
        hyperparam_bounds: name -> [lowest, highest]. Two integers make an integer hyperparameter.
        quantile_fraction: Between 0 and 0.5.
        log_config: Whether the history is written.
        require_attrs: Whether a result without ``time_attr`` or ``metric`` is an error. False: it is passed over.
        synch: Whether all trials are perturbed together.
        seed: For choosing donors and candidates.

    Raises:
        ImportError: numpy or scipy are missing.
        TuneError: no ``hyperparam_bounds``.
        ValueError: another argument that makes no sense.
    """

    def __init__(
        self,
        time_attr: str = "time_total_s",
        metric: str | None = None,
        mode: str | None = None,
        perturbation_interval: float = 60.0,
        hyperparam_bounds: Mapping[str, Any] | None = None,
        quantile_fraction: float = 0.25,
        log_config: bool = True,
        require_attrs: bool = True,
        synch: bool = False,
        *,
        seed: int | None = None,
    ) -> None:
        _check_dependencies()
        if not hyperparam_bounds:
            raise TuneError("PB2 needs hyperparam_bounds, for example {'lr': [1e-5, 1e-1]}")
        self._bounds: dict[str, _Bounds] = {key: _Bounds(key, value) for key, value in hyperparam_bounds.items()}
        super().__init__(
            time_attr=time_attr,
            metric=metric,
            mode=mode,
            perturbation_interval=perturbation_interval,
            hyperparam_mutations=dict(self._bounds),
            quantile_fraction=quantile_fraction,
            log_config=log_config,
            require_attrs=require_attrs,
            synch=synch,
            seed=seed,
        )
        # (time, score before, hyperparameters scaled to [0, 1], change of the score per time)
        self._observations: deque[tuple[float, float, list[float], float]] = deque(maxlen=MOST_OBSERVATIONS)
        self._since: dict[str, tuple[float, float, list[float]]] = {}  # of each trial: (time, score, hyperparameters)
        self._pending: dict[str, list[float]] = {}  # hyperparameters that were chosen and not yet observed

    def _new_member(self, trial: Trial) -> _Member:
        for key, bounds in self._bounds.items():
            if key in trial.config:
                bounds.integer = isinstance(trial.config[key], int)
        return super()._new_member(trial)

    def _record(self, trial: Trial, member: _Member, time: float, score: float, result: dict[str, Any]) -> None:
        """D = D and {x, t, f_t - f_(t-1)} (Algorithm 1)."""
        super()._record(trial, member, time, score, result)
        now = self._scaled(trial.config)
        before = self._since.get(trial.trial_id)
        if before is not None and time > before[0] and math.isfinite(score) and math.isfinite(before[1]):
            self._observations.append((time, before[1], now, (score - before[1]) / (time - before[0])))
        self._since[trial.trial_id] = (time, score, now)
        self._pending.pop(trial.trial_id, None)

    def _forget(self, trial: Trial) -> _Member | None:
        self._since.pop(trial.trial_id, None)
        self._pending.pop(trial.trial_id, None)
        return super()._forget(trial)

    def _new_config(self, trial: Trial, donor: Trial) -> dict[str, Any]:
        time, score, _ = self._since[donor.trial_id]
        chosen = self._choose(time + self._perturbation_interval, score)
        config = copy.deepcopy(donor.config)
        for (key, bounds), value in zip(self._bounds.items(), chosen):
            config[key] = bounds.at(value)
        self._pending[trial.trial_id] = self._scaled(config)
        return config

    def _exploit(self, controller: TrialController, trial: Trial, donor_id: str) -> bool:
        if not super()._exploit(controller, trial, donor_id):
            self._pending.pop(trial.trial_id, None)
            return False
        # It starts again from the donor's state, whose score that is.
        time, score, _ = self._since[donor_id]
        self._since[trial.trial_id] = (time, score, self._pending[trial.trial_id])
        return True

    def _choose(self, time: float, score: float) -> list[float]:
        """x = argmax of the upper confidence bound."""
        if len(self._observations) < 2 or not math.isfinite(score):
            return [self._rng.random() for _ in self._bounds]
        import numpy as np

        from aktis.tune.schedulers._bandit import TimeVaryingGP, choose

        times, scores, inputs, changes = (list(column) for column in zip(*self._observations))
        low, high = min(*scores, score), max(*scores, score)
        context = [(value - low) / (high - low) if high > low else 0.0 for value in [*scores, score]]
        x_ND = np.array([[before, *x] for before, x in zip(context, inputs)])
        gp = TimeVaryingGP(x_ND, np.array(times) / self._perturbation_interval, np.array(changes))
        pending_PD = np.array([[context[-1], *x] for x in self._pending.values()])
        return choose(gp, pending_PD, [context[-1]], time / self._perturbation_interval, len(self._bounds), self._rng)

    def _scaled(self, config: Mapping[str, Any]) -> list[float]:
        return [bounds.scale(config[key]) for key, bounds in self._bounds.items()]


class _Bounds:
    """The bounds of a hyperparameter. Called, it draws a value, like any function in ``hyperparam_mutations``."""

    def __init__(self, key: str, value: Any) -> None:
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            raise ValueError(f"hyperparam_bounds[{key!r}] must be [lowest, highest], not {value!r}")
        self.low: float
        self.high: float
        self.low, self.high = value
        if not self.low < self.high:
            raise ValueError(f"hyperparam_bounds[{key!r}] must have the lower bound first, got {value!r}")
        self.integer = isinstance(self.low, int) and isinstance(self.high, int)

    def at(self, position: float) -> float:
        """The value at a position from 0 to 1."""
        value = float(self.low + (self.high - self.low) * position)
        return round(value) if self.integer else value

    def scale(self, value: float) -> float:
        """The position of a value."""
        return (float(value) - self.low) / (self.high - self.low)

    def __call__(self) -> float:
        return random.randint(math.ceil(self.low), math.floor(self.high)) if self.integer else self.at(random.random())


def _check_dependencies() -> None:
    try:
        import aktis.tune.schedulers._bandit as bandit

        bandit.check_dependencies()
    except ImportError as error:
        raise ImportError(f'PB2 needs numpy and scipy ({error}): pip install "aktis-tune[pb2]"') from error

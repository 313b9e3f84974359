"""Search by SMAC: Lindauer et al.: SMAC3: A versatile Bayesian optimization package (JMLR 2022)."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aktis.tune.search._library.axis import Capabilities
from aktis.tune.search._library.config_space import ConfigSpaceSpace, is_config_space, make_config_space
from aktis.tune.search._library.quiet import quiet
from aktis.tune.search._library.randomness import PrivateRandom
from aktis.tune.search._library.searcher import LibrarySearcher, require
from aktis.tune.search._library.space import Point, Space, plain
from aktis.tune.search.searcher import Names

__all__ = ["SMACSearch"]

_BUDGET = 100
_FACADES = {
    "hyperparameter_optimization": "HyperparameterOptimizationFacade",  # random forests
    "blackbox": "BlackBoxFacade",  # Gaussian processes
    "random": "RandomFacade",
}


class SMACSearch(LibrarySearcher):
    """Search by SMAC: random forests, unless another facade is chosen.

    SMAC cannot be pickled, so a saved search holds what was asked and told, and goes through it again when it is restored.

    Args:
        space: Tune domains, or a ``ConfigSpace.ConfigurationSpace``. Left out, ``param_space`` is taken.
        metric: What is optimised.
        mode: ``"min"`` or ``"max"``.
        points_to_evaluate: Configurations to try first.
        evaluated_rewards: Values of the metric for the first of ``points_to_evaluate``, which are then not tried again.
        seed: Makes the search reproducible.
        facade: ``"hyperparameter_optimization"``, ``"blackbox"`` or ``"random"``.
        n_trials: How many trials there will be, of which a quarter at most is the initial design. The run's ``num_samples``
            where that is known, else 100.
    """

    able = Capabilities("SMAC", log_real=True, log_integer=True)

    def __init__(
        self,
        space: Any = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        evaluated_rewards: Sequence[Any] | None = None,
        seed: int | None = None,
        *,
        facade: str = "hyperparameter_optimization",
        n_trials: int | None = None,
    ) -> None:
        with quiet(ignore=(".*",)):
            require("smac", "smac", "smac")
        if facade not in _FACADES:
            raise ValueError(f"facade must be one of {list(_FACADES)}, got {facade!r}")
        self._facade_name = _FACADES[facade]
        self._n_trials = n_trials
        self._randomness = PrivateRandom(seed)
        self._config_space: Any = None
        self._smac_seed = 0
        self._smac: Any = None
        self._asked: list[Any] = []
        # What was done, in order: ("ask",) or ("tell", number of the question or None, point, loss).
        self._history: list[tuple[Any, ...]] = []
        super().__init__(space, metric, mode, points_to_evaluate, evaluated_rewards, seed)

    def set_search_properties(self, metric: Names, mode: Names, config: dict[str, Any], **spec: Any) -> bool:
        samples = spec.get("num_samples")
        if self._n_trials is None and isinstance(samples, int) and samples > 0:
            self._n_trials = samples
        return super().set_search_properties(metric, mode, config, **spec)

    def _own_space(self, space: Any) -> Space:
        if not is_config_space(space):
            raise ValueError(f"space must hold Tune domains, or be a ConfigSpace.ConfigurationSpace, got {space!r}")
        self._config_space = space
        return ConfigSpaceSpace(space)

    def _begin(self) -> None:
        with self._randomness:
            import numpy as np

            self._smac_seed = self._seed if self._seed is not None else int(np.random.randint(2**31))
        if self._config_space is None:
            self._config_space = make_config_space(self.axes, self._smac_seed)
        self._start()

    def _start(self) -> None:
        """Make SMAC, which wants a directory, and writes into it only what is not read again."""
        import smac

        kind = getattr(smac, self._facade_name)
        with self._working(), tempfile.TemporaryDirectory(prefix="aktis-smac-") as directory:
            scenario = smac.Scenario(
                self._config_space,
                deterministic=True,
                n_trials=self._n_trials or _BUDGET,
                seed=self._smac_seed,
                output_directory=Path(directory),
            )
            self._smac = kind(
                scenario,
                target_function=None,
                intensifier=kind.get_intensifier(scenario),
                logging_level=False,
                overwrite=True,
            )

    def _working(self) -> Any:
        from contextlib import ExitStack

        stack = ExitStack()
        stack.enter_context(self._randomness)
        stack.enter_context(quiet("smac", ignore=(".*",)))
        return stack

    def _ask(self, trial_id: str) -> tuple[Any, Point] | str:
        with self._working(), quiet("smac", level=logging.ERROR):
            try:
                info = self._smac.ask()
            except StopIteration:  # every configuration of a finite space was tried
                return self.FINISHED
            except Exception as error:
                if type(error).__name__ == "ConfigurationSpaceExhaustedException":  # the same, since SMAC 2.1
                    return self.FINISHED
                raise
        self._history.append(("ask",))
        self._asked.append(info)
        return len(self._asked) - 1, {str(name): plain(value) for name, value in dict(info.config).items()}

    def _tell(self, token: Any, point: Point, loss: float) -> None:
        # A failure is told as the worst loss so far: SMAC's own word for it, an infinite cost, breaks its models.
        self._history.append(("tell", token, point, loss))
        self._pass_on(token, point, loss)

    def _pass_on(self, token: Any, point: Point, loss: float) -> None:
        from ConfigSpace import Configuration
        from smac.runhistory.dataclasses import TrialInfo, TrialValue

        with self._working():
            info = (
                self._asked[token] if token is not None else TrialInfo(Configuration(self._config_space, point), seed=0)
            )
            self._smac.tell(info, TrialValue(cost=loss), save=False)

    # -- state -----------------------------------------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "_smac": None, "_asked": []}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        if not self._begun:
            return
        randomness, self._randomness = self._randomness, PrivateRandom(0)
        self._start()
        for event in self._history:
            if event[0] == "ask":
                with self._working():
                    self._asked.append(self._smac.ask())
            else:
                self._pass_on(*event[1:])
        self._randomness = randomness

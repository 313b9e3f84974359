"""Trials that somebody adds to a run, made from a specification in plain data."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aktis.tune.error import TuneError

if TYPE_CHECKING:
    from aktis.tune.experiment.experiment import Experiment
    from aktis.tune.experiment.trial import Trial

KEYS = ("config", "max_failures", "num_samples", "resources_per_trial", "run", "stop")
MOST = 1000  # trials at once


def trials_from(name: Any, spec: Any, experiments: Mapping[str, Experiment]) -> list[Trial]:
    """The trials that a specification asks for, placed and named.

    Args:
        name: Of the experiment; any, if there is only one.
        spec: ``config``, and what else may differ from the experiment: see :data:`KEYS`.
        experiments: Those of the run, by name.

    Raises:
        ValueError, TypeError, TuneError: it makes no sense; the message says what would.
    """
    from aktis.tune.experiment.experiment import Experiment
    from aktis.tune.search.basic_variant import BasicVariantGenerator
    from aktis.tune.search.search_algorithm import Suggestion

    experiment = _experiment(name, experiments)
    if not isinstance(spec, Mapping):
        raise TypeError(f"spec must be an object such as {{'config': {{...}}}}, not {spec!r}")
    unknown = sorted(set(spec) - set(KEYS))
    if unknown:
        raise ValueError(
            f"spec has the entry {unknown[0]!r}, which a trial that is added cannot have; it may have {', '.join(KEYS)}"
        )
    if spec.get("run", experiment.trainable_name) != experiment.trainable_name:
        raise ValueError(f"this run is one of {experiment.trainable_name!r}, and spec asks for {spec['run']!r}")
    if not isinstance(spec.get("stop", {}), Mapping):
        raise TypeError(f"stop must be an object such as {{'training_iteration': 10}}, not {spec['stop']!r}")
    arguments = {key: value for key, value in spec.items() if key != "run"}
    asked = Experiment(
        experiment.name, experiment.trainable, dirname=experiment.dirname, local_dir=experiment.local_dir, **arguments
    )
    if asked.num_samples == -1:
        raise ValueError("num_samples=-1 would add trials without end: give a number")
    generator = BasicVariantGenerator()
    generator.add_configurations([asked])
    made: list[Trial] = []
    while isinstance(found := generator.suggest(generator.make_trial_id()), Suggestion):
        if len(made) == MOST:
            raise ValueError(f"spec asks for more than {MOST} trials: add them in parts")
        trial = experiment.new_trial(os.urandom(4).hex(), found.config, found.evaluated_params, found.experiment_tag)
        trial.external = True
        if "stop" in spec:
            trial.stopping_criterion = asked.stopping_criterion
        if "max_failures" in spec:
            trial.max_failures = asked.max_failures
        experiment.place(trial, time.time())
        if "resources_per_trial" in spec:
            trial.placement_group_factory = asked.resources_for(trial.config)
        made.append(trial)
    return made


def _experiment(name: Any, experiments: Mapping[str, Experiment]) -> Experiment:
    if not isinstance(name, str):
        raise TypeError(f"name must be the name of an experiment, not {name!r}")
    if name in experiments:
        return experiments[name]
    if len(experiments) > 1:
        raise TuneError(f"there is no experiment {name!r} in this run; there are {', '.join(sorted(experiments))}")
    return next(iter(experiments.values()))

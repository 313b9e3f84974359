"""Checks of what an experiment is made of, one argument each. What passes is in the form that the rest uses."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING, Any

from aktis.tune.error import TuneError

if TYPE_CHECKING:
    from aktis.air.config import CheckpointConfig
    from aktis.air.placement import PlacementGroupFactory
    from aktis.tune.stopper import Stopper
    from aktis.tune.trainable import Trainable

_SPEC_KEYS = (
    "run", "stop", "time_budget_s", "config", "resources_per_trial", "num_samples", "local_dir", "checkpoint_config",
    "max_failures", "restore", "export_formats", "log_to_file", "trial_name_creator", "trial_dirname_creator",
)  # fmt: skip


def trainable(run: Any) -> type[Trainable]:
    from aktis.tune.registry import get_trainable_cls

    return get_trainable_cls(run)


def trainable_name(run: Any, cls: type[Trainable]) -> str:
    from aktis.tune.registry import trainable_name as name_of

    return name_of(run if isinstance(run, str) else cls)


def is_function(cls: type[Trainable]) -> bool:
    from aktis.tune.trainable import FunctionTrainable

    return issubclass(cls, FunctionTrainable)


def can_save(cls: type[Trainable]) -> bool:
    """Whether it makes a checkpoint when it is asked to: not functions, nor classes that define no save_checkpoint."""
    from aktis.tune.trainable import Trainable

    return not is_function(cls) and cls.save_checkpoint is not Trainable.save_checkpoint


def name(value: str | None) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"the name of an experiment must be a str, not {value!r} ({type(value).__name__})")
    if not value or value in (".", "..") or "/" in value or "\0" in value:
        raise ValueError(f"the name of an experiment is the name of its directory: {value!r} is no name of a directory")
    return value


def config(value: Mapping[str, Any] | None) -> dict[str, Any]:
    if value is None:
        return {}
    if hasattr(value, "to_dict") and not isinstance(value, Mapping):  # an AlgorithmConfig
        value = value.to_dict()
    if not isinstance(value, Mapping):
        raise TypeError(f"the configuration (search space) must be a dict, not {value!r} ({type(value).__name__})")
    return dict(value)


def num_samples(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"num_samples must be an int, not {value!r} ({type(value).__name__})")
    if value < 1 and value != -1:
        raise ValueError(f"num_samples must be at least 1, or -1 for no end, not {value}")
    return value


def max_failures(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"max_failures must be an int, not {value!r} ({type(value).__name__})")
    if value < -1:
        raise ValueError(f"max_failures must be 0 or more, or -1 for no limit, not {value}")
    return value


def stopping(stop: Any, time_budget_s: Any) -> tuple[dict[str, Any], Stopper | None]:
    from aktis.tune.stopper import NoopStopper, resolve_stop

    criterion, stopper = resolve_stop(stop, time_budget_s)
    return criterion, None if isinstance(stopper, NoopStopper) else stopper


def checkpoint_config(value: CheckpointConfig | None, of_function: bool) -> CheckpointConfig:
    from dataclasses import replace

    from aktis.air.config import CheckpointConfig

    if value is None:
        value = CheckpointConfig()
    if not isinstance(value, CheckpointConfig):
        raise TypeError(f"checkpoint_config must be a CheckpointConfig, not {value!r} ({type(value).__name__})")
    if of_function:
        if value.checkpoint_at_end:
            raise ValueError(
                "checkpoint_at_end is for class trainables: a function makes its checkpoints itself, with "
                "session.report(metrics, checkpoint=...)"
            )
        if value.checkpoint_frequency:
            raise ValueError(
                f"checkpoint_frequency={value.checkpoint_frequency} is for class trainables: a function makes its "
                "checkpoints itself, with session.report(metrics, checkpoint=...)"
            )
    return replace(value, checkpoint_at_end=bool(value.checkpoint_at_end))


def resources(value: Any, cls: type[Trainable]) -> Any:
    """None (what the trainable says), a PlacementGroupFactory, or a function of the configuration."""
    from aktis.air.placement import PlacementGroupFactory, resource_dict_to_pg_factory

    if value is None or isinstance(value, PlacementGroupFactory):
        return value
    if isinstance(value, Mapping):
        from aktis.tune.search.sample import Function

        if any(isinstance(amount, Function) for amount in value.values()):
            return partial(_amounts, dict(value))
        return resource_dict_to_pg_factory(dict(value))
    if callable(value):
        return value
    raise TypeError(
        'resources_per_trial must be a dict like {"cpu": 2, "gpu": 1}, a PlacementGroupFactory or a function of the '
        f"configuration, not {value!r} ({type(value).__name__})"
    )


def _amounts(resources: Mapping[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Resources of which some are functions of the configuration: ``{"cpu": tune.sample_from(lambda spec: spec.config.x)}``."""
    from aktis.tune.search._view import SpecView
    from aktis.tune.search.sample import Function

    spec = SpecView({"config": config})
    return {key: amount.call(spec) if isinstance(amount, Function) else amount for key, amount in resources.items()}


def resolved_resources(value: Any, cls: type[Trainable], config: dict[str, Any]) -> PlacementGroupFactory:
    from aktis.air.placement import PlacementGroupFactory, resource_dict_to_pg_factory

    asked = cls.default_resource_request(config)
    if value is None:
        value = asked
    elif asked is not None and _has_own_request(cls):
        raise TuneError(
            f"resources_per_trial={value!r} conflicts with {cls.__name__}, which says itself what it needs ({asked!r}): "
            "leave resources_per_trial out"
        )
    if callable(value) and not isinstance(value, PlacementGroupFactory):
        value = value(config)
    if isinstance(value, Mapping):
        value = resource_dict_to_pg_factory(dict(value))
    if value is not None and not isinstance(value, PlacementGroupFactory):
        raise TypeError(
            f"the resources of a trial must be a dict like {{'cpu': 1}} or a PlacementGroupFactory, and its function made "
            f"{value!r} ({type(value).__name__}) of the configuration"
        )
    return value if value is not None else _one_cpu()


def _has_own_request(cls: type[Trainable]) -> bool:
    from aktis.tune.trainable import FunctionTrainable, Trainable

    own = getattr(cls.default_resource_request, "__func__", None)
    return own not in (Trainable.default_resource_request.__func__, FunctionTrainable.default_resource_request.__func__)  # type: ignore[attr-defined]


_ONE_CPU: list[PlacementGroupFactory] = []


def _one_cpu() -> PlacementGroupFactory:
    """The default, one object for all trials: comparing it costs nothing."""
    if not _ONE_CPU:
        from aktis.air.placement import PlacementGroupFactory

        _ONE_CPU.append(PlacementGroupFactory([{"CPU": 1}]))
    return _ONE_CPU[0]


def log_to_file(value: Any) -> tuple[str, str] | None:
    if value is None or value is False:
        return None
    if value is True:
        return "stdout", "stderr"
    if isinstance(value, str) and value:
        return value, value
    if isinstance(value, (list, tuple)) and len(value) == 2 and all(isinstance(item, str) and item for item in value):
        return value[0], value[1]
    raise ValueError(
        f"log_to_file must be True, False, the name of a file, or the names of two (stdout, stderr), not {value!r}"
    )


def restore_path(value: str | None) -> str | None:
    if value is None:
        return None
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"restore must be the path of a checkpoint, not {value!r} ({type(value).__name__})")
    path = os.path.abspath(os.path.expanduser(os.fspath(value)))
    if not os.path.exists(path):
        raise ValueError(f"restore={value!r}: there is no such file or directory")
    return path


def creator(name: str, value: Callable[..., str] | None) -> Callable[..., str] | None:
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be a function of a trial that returns a str, not {value!r}")
    return value


def from_json(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of Experiment from its dict form."""
    from aktis.air.config import CheckpointConfig

    arguments = dict(spec)
    if "run" not in arguments:
        raise TuneError(f'the specification of experiment {name!r} says nothing of what to run: add "run"')
    if "env" in arguments:  # an old form
        arguments["config"] = {**arguments.get("config", {}), "env": arguments.pop("env")}
    old = {
        "keep_checkpoints_num": "num_to_keep",
        "checkpoint_score_attr": "checkpoint_score_attribute",
        "checkpoint_freq": "checkpoint_frequency",
        "checkpoint_at_end": "checkpoint_at_end",
    }
    given = {new: arguments.pop(key) for key, new in old.items() if key in arguments}
    if given:
        arguments["checkpoint_config"] = CheckpointConfig(**given)
    unknown = sorted(set(arguments) - set(_SPEC_KEYS))
    if unknown:
        near = get_close_matches(unknown[0], _SPEC_KEYS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else f" Known are {', '.join(_SPEC_KEYS)}."
        raise TuneError(f"the specification of experiment {name!r} has an unknown entry {unknown[0]!r}.{hint}")
    return arguments

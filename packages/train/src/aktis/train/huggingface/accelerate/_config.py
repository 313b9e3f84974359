"""What ``accelerate config`` writes: read where the trainer is made, put into force in each worker.

The trainer decides how many processes there are, on which machines and devices; all else is the configuration's. The
environment variables that ``Accelerator()`` reads are those that ``accelerate launch`` would have set: its own functions say so.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aktis.train.torch._need import need
from aktis.train.torch.config import TorchConfig, _TorchBackend

if TYPE_CHECKING:
    from aktis.air.worker_group import WorkerGroup
    from aktis.train.backend import Backend

DECIDED_BY_TRAINER = frozenset(
    {
        "gpu_ids",
        "machine_rank",
        "main_process_ip",
        "main_process_port",
        "num_machines",
        "num_processes",
        "rdzv_backend",
        "same_network",
        "use_cpu",
    }
)
_PREFIXES = ("ACCELERATE_", "FSDP_", "FP8_", "MEGATRON_LM_", "PARALLELISM_CONFIG_")
_DS_FILE = "deepspeed_config_file"


@dataclass
class AccelerateConfig(TorchConfig):
    """A TorchConfig, and what ``Accelerator()`` is to find in the workers.

    Args:
        accelerate: The configuration, as :func:`read` gives it.
    """

    accelerate: dict[str, Any] = field(default_factory=dict)

    @property
    def backend_cls(self) -> type[Backend]:
        return _AccelerateBackend


class _AccelerateBackend(_TorchBackend):
    def on_start(self, worker_group: WorkerGroup, backend_config: AccelerateConfig) -> None:  # type: ignore[override]
        super().on_start(worker_group, backend_config)
        worker_group.execute(put_into_force, backend_config.accelerate)


def read(config: Mapping[str, Any] | str | os.PathLike[str] | None) -> dict[str, Any]:
    """The configuration as a dict, with the file of DeepSpeed in it, so that it can be sent.

    Args:
        config: A dict; the path of a file that ``accelerate config`` wrote, YAML or JSON; None: the file at accelerate's default
            place, if there is one.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it has keys that accelerate does not know, or is no configuration.
    """
    need("accelerate", "AccelerateTrainer", "accelerate")
    from accelerate.commands.config.config_args import default_config_file

    if config is None:
        config = default_config_file if os.path.isfile(default_config_file) else {}
    if isinstance(config, Mapping):
        found, where = dict(config), "accelerate_config"
    else:
        where = os.path.abspath(os.path.expanduser(os.fspath(config)))
        found = _read_file(where)
    _check_keys(found, where)
    deepspeed = found.get("deepspeed_config")
    if isinstance(deepspeed, Mapping) and isinstance(deepspeed.get(_DS_FILE), str):
        folder = os.path.dirname(where) if os.path.isabs(where) else os.getcwd()
        path = os.path.join(folder, os.path.expanduser(deepspeed[_DS_FILE]))
        found["deepspeed_config"] = {**deepspeed, _DS_FILE: _read_file(path)}
    return found


def _read_file(path: str) -> dict[str, Any]:
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path}, which accelerate_config names, is no file: `accelerate config` writes one")
    with open(path, encoding="utf-8") as file:
        if path.endswith(".json"):
            found = json.load(file)
        else:
            import yaml  # type: ignore[import-untyped,unused-ignore]

            found = yaml.safe_load(file)
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds a {type(found).__name__}, not the settings that `accelerate config` writes")
    return found


def _check_keys(config: Mapping[str, Any], where: str) -> None:
    import inspect

    from accelerate.commands.config.config_args import ClusterConfig

    known = set(inspect.signature(ClusterConfig).parameters) | {"dynamo_backend", "mixed_precision"}
    unknown = sorted(str(name) for name in config if name not in known)
    if unknown:
        raise ValueError(
            f"accelerate does not know {', '.join(unknown)} (of {where}). What it knows: {', '.join(sorted(known))}"
        )


# -- in the workers ----------------------------------------------------------------------------------------------------


def put_into_force(config: Mapping[str, Any]) -> None:
    """Runs in every worker: set the variables that ``accelerate launch`` would have set."""
    for name, value in variables(config, int(os.environ["WORLD_SIZE"])).items():
        if name != "ACCELERATE_USE_CPU":  # which goes by the worker's device
            os.environ[name] = value


def variables(config: Mapping[str, Any], world_size: int) -> dict[str, str]:
    """The variables of a configuration, for one of ``world_size`` processes."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

    with tempfile.TemporaryDirectory(prefix="aktis_accelerate_") as folder:
        path = os.path.join(folder, "config.json")
        _write(path, _of_this_process(config, world_size, folder))
        arguments = launch_command_parser().parse_args(["--config_file", path, "training_loop"])
        before = dict(os.environ)
        try:
            arguments, _, _ = _validate_launch_command(arguments)
            arguments.main_process_port = arguments.main_process_port or 0
            if arguments.use_deepspeed:
                # as accelerate's own launcher says it: which of DeepSpeed's settings are of this configuration
                arguments.deepspeed_fields_from_accelerate_config = ",".join(config.get("deepspeed_config") or ())
                _, found = prepare_deepspeed_cmd_env(arguments)
            else:
                found = prepare_multi_gpu_env(arguments)
        finally:
            os.environ.clear()
            os.environ.update(before)
        kept = {name: str(value) for name, value in found.items() if name.startswith(_PREFIXES)}
        return {name: _with_content(value, folder) for name, value in kept.items()}


def _of_this_process(config: Mapping[str, Any], world_size: int, folder: str) -> dict[str, Any]:
    import torch

    has_gpu = torch.cuda.is_available()
    found = {name: value for name, value in config.items() if name not in DECIDED_BY_TRAINER}
    kind = str(found.get("distributed_type", "NO"))
    if kind in ("NO", "MULTI_GPU", "MULTI_CPU"):
        kind = "NO" if world_size == 1 else "MULTI_GPU" if has_gpu else "MULTI_CPU"
    found.update(
        compute_environment="LOCAL_MACHINE",
        debug=found.get("debug", False),
        distributed_type=kind,
        mixed_precision=str(found.get("mixed_precision", "no")),
        num_machines=1,
        num_processes=world_size,
        use_cpu=not has_gpu,
    )
    deepspeed = found.get("deepspeed_config")
    if isinstance(deepspeed, Mapping) and isinstance(deepspeed.get(_DS_FILE), Mapping):
        path = os.path.join(folder, "deepspeed.json")
        _write(path, deepspeed[_DS_FILE])
        found["deepspeed_config"] = {**deepspeed, _DS_FILE: path}
    return found


def _with_content(value: str, folder: str) -> str:
    """The variable of DeepSpeed names a file of a folder that is about to go: it may hold the content instead, in base64."""
    if not value.startswith(folder):
        return value
    import base64

    with open(value, "rb") as file:
        return base64.urlsafe_b64encode(file.read()).decode()


def _write(path: str, content: Mapping[str, Any]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file)

"""Sections python_environment(), resources() and framework()."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aktis.rllib.algorithms._config.base import ConfigBase, section
from aktis.rllib.utils.from_config import NotProvided

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ResourcesSection"]

logger = logging.getLogger(__name__)

FRAMEWORKS = {"torch": "torch", "tf2": "tensorflow"}
_OLD_FRAMEWORKS = {"tf": "tf2", "tfe": "tf2", "tf1": "tf2", "pytorch": "torch"}
_STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")


class ResourcesSection(ConfigBase):
    """What the processes of an algorithm take, and which framework computes."""

    def __init__(self) -> None:
        super().__init__()
        self.extra_python_environs_for_driver: dict[str, str] = {}
        self.extra_python_environs_for_worker: dict[str, str] = {}

        self.num_gpus: float = 0
        self.num_cpus_per_worker: float = 1
        self.num_gpus_per_worker: float = 0
        self._fake_gpus: bool = False
        self.num_cpus_for_local_worker: float = 1
        self.num_trainer_workers: int = 0
        self.num_gpus_per_trainer_worker: float = 0
        self.num_cpus_per_trainer_worker: float = 1
        self.custom_resources_per_worker: dict[str, float] = {}
        self.placement_strategy: str = "PACK"

        self.framework_str: str | None = "torch"
        self.eager_tracing: bool = True
        self.eager_max_retraces: int | None = 20
        self.tf_session_args: dict[str, Any] = {}
        self.local_tf_session_args: dict[str, Any] = {}

    @section
    def python_environment(
        self,
        *,
        extra_python_environs_for_driver: Mapping[str, str] = NotProvided,
        extra_python_environs_for_worker: Mapping[str, str] = NotProvided,
    ) -> Self:
        """Environment variables of the processes.

        Args:
            extra_python_environs_for_driver: Set in the process of the algorithm.
            extra_python_environs_for_worker: Set in those of the rollout workers.
        """
        return self._update(
            extra_python_environs_for_driver=extra_python_environs_for_driver,
            extra_python_environs_for_worker=extra_python_environs_for_worker,
        )

    @section
    def resources(
        self,
        *,
        num_gpus: float = NotProvided,
        _fake_gpus: bool = NotProvided,
        num_cpus_per_worker: float = NotProvided,
        num_gpus_per_worker: float = NotProvided,
        num_cpus_for_local_worker: float = NotProvided,
        num_trainer_workers: int = NotProvided,
        num_cpus_per_trainer_worker: float = NotProvided,
        num_gpus_per_trainer_worker: float = NotProvided,
        custom_resources_per_worker: Mapping[str, float] = NotProvided,
        placement_strategy: str = NotProvided,
    ) -> Self:
        """What the processes take.

        Args:
            num_gpus: GPUs of the process that learns; a part of one (0.5) shares it with others.
            _fake_gpus: Act as if there were GPUs, for tests.
            num_cpus_per_worker: CPUs of each rollout worker.
            num_gpus_per_worker: GPUs of each rollout worker.
            num_cpus_for_local_worker: CPUs of the process of the algorithm, where the local worker is.
            num_trainer_workers: Processes that learn together beside the algorithm's. 0: it learns itself, the only
                choice so far.
            num_cpus_per_trainer_worker: CPUs of each of those.
            num_gpus_per_trainer_worker: GPUs of each of those.
            custom_resources_per_worker: Further resources of each rollout worker, by name.
            placement_strategy: Of the placement group: PACK, SPREAD, STRICT_PACK or STRICT_SPREAD.
        """
        return self._update(
            num_gpus=num_gpus,
            _fake_gpus=_fake_gpus,
            num_cpus_per_worker=num_cpus_per_worker,
            num_gpus_per_worker=num_gpus_per_worker,
            num_cpus_for_local_worker=num_cpus_for_local_worker,
            num_trainer_workers=num_trainer_workers,
            num_cpus_per_trainer_worker=num_cpus_per_trainer_worker,
            num_gpus_per_trainer_worker=num_gpus_per_trainer_worker,
            custom_resources_per_worker=custom_resources_per_worker,
            placement_strategy=placement_strategy,
        )

    @section
    def framework(
        self,
        framework: str | None = NotProvided,
        *,
        eager_tracing: bool = NotProvided,
        eager_max_retraces: int | None = NotProvided,
        tf_session_args: Mapping[str, Any] = NotProvided,
        local_tf_session_args: Mapping[str, Any] = NotProvided,
    ) -> Self:
        """What computes.

        Args:
            framework: "torch" or "tf2". "tf" means "tf2", too: the graphs of TensorFlow 1 are no more; and "torch" where
                only that is installed. None: policies need neither (random or hand-written ones).
            eager_tracing: With TensorFlow: trace functions (``tf.function``), which makes them fast. False helps to debug.
            eager_max_retraces: With TensorFlow: how often a function may be traced before that is an error; None: as
                often as it likes.
            tf_session_args: Threads of TensorFlow: ``intra_op_parallelism_threads`` and
                ``inter_op_parallelism_threads`` count; what else a session of TensorFlow 1 had is ignored.
            local_tf_session_args: The same for the local worker, instead of those.
        """
        if framework is not NotProvided:
            framework = self._normalised("framework_str", framework)
        return self._update(
            framework_str=framework,
            eager_tracing=eager_tracing,
            eager_max_retraces=eager_max_retraces,
            tf_session_args=tf_session_args,
            local_tf_session_args=local_tf_session_args,
        )

    def _normalised(self, name: str, value: Any) -> Any:
        if name == "framework_str" and isinstance(value, str) and value in _OLD_FRAMEWORKS:
            if value in ("tf", "tf1"):
                return _instead_of_tensorflow_1(value)
            return _OLD_FRAMEWORKS[value]
        return super()._normalised(name, value)

    def _validate_resources(self) -> None:
        if self.framework_str not in (*FRAMEWORKS, None):
            raise ValueError(f"framework must be 'torch' or 'tf2', not {self.framework_str!r}")
        module = FRAMEWORKS.get(self.framework_str or "")
        if module is not None and not _is_installed(module):
            raise ImportError(
                f"framework={self.framework_str!r} needs {module}, which is not installed: "
                f'pip install "aktis-rllib[{module}]"'
            )
        for name in ("num_gpus", "num_cpus_per_worker", "num_gpus_per_worker", "num_cpus_for_local_worker"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
                raise ValueError(f"{name} must be a number that is not negative, not {value!r}")
        if self.num_trainer_workers:
            raise ValueError(
                f"num_trainer_workers={self.num_trainer_workers}: learning is in the algorithm's own process so far; leave it at 0"
            )
        if self.placement_strategy not in _STRATEGIES:
            raise ValueError(
                f"placement_strategy must be one of {', '.join(_STRATEGIES)}, not {self.placement_strategy!r}"
            )


def _instead_of_tensorflow_1(value: str) -> str:
    """TensorFlow 2, or PyTorch where only that is installed: files that were written for Ray name TensorFlow 1 as its default."""
    if not _is_installed("tensorflow") and _is_installed("torch"):
        logger.warning(
            "framework=%r means TensorFlow, which is not installed: framework='torch' is used (for TensorFlow: "
            "pip install 'aktis-rllib[tensorflow]')",
            value,
        )
        return "torch"
    logger.info("framework=%r means TensorFlow 1, which is no more: framework='tf2' is used", value)
    return "tf2"


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None

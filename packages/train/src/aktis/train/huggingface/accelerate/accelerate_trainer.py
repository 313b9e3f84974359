"""AccelerateTrainer: training loops that use Hugging Face Accelerate, configured as ``accelerate launch`` would."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from aktis.train.huggingface.accelerate._config import AccelerateConfig, read
from aktis.train.torch.config import TorchConfig
from aktis.train.torch.torch_trainer import TorchTrainer

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint
    from aktis.air.config import RunConfig, ScalingConfig
    from aktis.air.dataset_config import DatasetConfig
    from aktis.data.preprocessor import Preprocessor
    from aktis.train.base_trainer import GenDataset

__all__ = ["AccelerateTrainer"]


class AccelerateTrainer(TorchTrainer):
    """A TorchTrainer whose workers find the settings of ``accelerate config``.

    ::

        def train_loop_per_worker(config):
            accelerator = Accelerator()
            model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
            ...
            accelerator.backward(loss)


        trainer = AccelerateTrainer(train_loop_per_worker, accelerate_config={"mixed_precision": "bf16"},
                                    scaling_config=ScalingConfig(num_workers=2))

    How many processes there are, where, and on which devices is said by ``scaling_config``; what the configuration says about
    that is not used. ``Accelerator()`` without settings works in a TorchTrainer, too. All other arguments are those of
    :class:`aktis.train.torch.TorchTrainer`.

    Args:
        train_loop_per_worker: The loop, a function of a dict or of nothing.
        train_loop_config: What the loop is called with.
        accelerate_config: A dict of settings, or the path of a file that ``accelerate config`` wrote. None: the file at the
            default place of accelerate, if there is one. A configuration file of DeepSpeed that it names is sent along.

    Raises:
        ModuleNotFoundError: accelerate is not installed.
        FileNotFoundError: there is no such file.
        ValueError: settings that accelerate does not know.
    """

    def __init__(
        self,
        train_loop_per_worker: Callable[[], Any] | Callable[[dict[str, Any]], Any],
        *,
        train_loop_config: Mapping[str, Any] | None = None,
        accelerate_config: Mapping[str, Any] | str | os.PathLike[str] | None = None,
        torch_config: TorchConfig | None = None,
        scaling_config: ScalingConfig | None = None,
        dataset_config: Mapping[str, DatasetConfig] | Any = None,
        run_config: RunConfig | None = None,
        datasets: Mapping[str, GenDataset] | None = None,
        preprocessor: Preprocessor | None = None,
        resume_from_checkpoint: Checkpoint | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        if torch_config is not None and not isinstance(torch_config, TorchConfig):
            raise TypeError(f"torch_config must be a TorchConfig, not {torch_config!r}")
        settings = read(accelerate_config)
        self._arguments["accelerate_config"] = settings  # the file may not be where the trial runs
        plain = dataclasses.asdict(torch_config or TorchConfig())
        super().__init__(
            train_loop_per_worker,
            train_loop_config=train_loop_config,
            torch_config=AccelerateConfig(**{**plain, "accelerate": settings}),
            scaling_config=scaling_config,
            dataset_config=dataset_config,
            run_config=run_config,
            datasets=datasets,
            preprocessor=preprocessor,
            resume_from_checkpoint=resume_from_checkpoint,
            metadata=metadata,
        )

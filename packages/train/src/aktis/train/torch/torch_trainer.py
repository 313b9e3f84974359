"""TorchTrainer: a training loop of torch on several workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from aktis.train.data_parallel_trainer import DataParallelTrainer
from aktis.train.torch.config import TorchConfig

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint
    from aktis.air.config import RunConfig, ScalingConfig
    from aktis.air.dataset_config import DatasetConfig
    from aktis.data.preprocessor import Preprocessor
    from aktis.train.base_trainer import GenDataset

__all__ = ["TorchTrainer"]


class TorchTrainer(DataParallelTrainer):
    """Runs a training loop in each of several workers, which are one process group of ``torch.distributed``.

    ::

        def train_loop_per_worker(config):
            model = train.torch.prepare_model(Net())
            loader = train.torch.prepare_data_loader(DataLoader(dataset, batch_size=32, shuffle=True))
            optimizer = torch.optim.SGD(model.parameters(), lr=config["lr"])
            for epoch in range(config["epochs"]):
                for features, labels in loader:
                    loss = cross_entropy(model(features), labels)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                session.report({"loss": loss.item()}, checkpoint=TorchCheckpoint.from_model(model))


        trainer = TorchTrainer(train_loop_per_worker, train_loop_config={"lr": 0.1, "epochs": 5},
                               scaling_config=ScalingConfig(num_workers=2))
        result = trainer.fit()

    Args:
        train_loop_per_worker: The loop, a function of a dict or of nothing.
        train_loop_config: What the loop is called with.
        torch_config: How the process group is made.
        scaling_config: How many workers, and what each of them gets.
        dataset_config: What is done with each data set.
        run_config: Name and place of the run, failures, checkpoints.
        datasets: Data sets by name. "train" is split among the workers.
        preprocessor: Fitted on "train", applied to all.
        resume_from_checkpoint: What ``session.get_checkpoint()`` gives at first.
        metadata: Kept with the run: ``session.get_metadata()``.

    Raises:
        TypeError: ``torch_config`` is no TorchConfig.
        ValueError: the other arguments; the message names it.
    """

    _library: ClassVar[tuple[tuple[str, ...], str] | None] = (("torch",), 'pip install "aktis-train[torch]"')

    def __init__(
        self,
        train_loop_per_worker: Callable[[], Any] | Callable[[dict[str, Any]], Any],
        *,
        train_loop_config: Mapping[str, Any] | None = None,
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
        super().__init__(
            train_loop_per_worker,
            train_loop_config=train_loop_config,
            backend_config=torch_config or TorchConfig(),
            scaling_config=scaling_config,
            dataset_config=dataset_config,
            run_config=run_config,
            datasets=datasets,
            preprocessor=preprocessor,
            resume_from_checkpoint=resume_from_checkpoint,
            metadata=metadata,
        )

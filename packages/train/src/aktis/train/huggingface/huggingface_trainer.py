"""The Trainer of Transformers on several workers."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from aktis.air import session
from aktis.air.dataset_config import DatasetConfig
from aktis.train.huggingface import _libraries
from aktis.train.huggingface.huggingface_checkpoint import HuggingFaceCheckpoint
from aktis.train.torch.torch_trainer import TorchTrainer

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint
    from aktis.air.config import RunConfig, ScalingConfig
    from aktis.data.preprocessor import Preprocessor
    from aktis.train.base_trainer import GenDataset
    from aktis.train.torch.config import TorchConfig

__all__ = ["HuggingFaceTrainer", "TransformersTrainer"]

TRAIN, EVALUATION = "train", "evaluation"


class HuggingFaceTrainer(TorchTrainer):
    """Runs a ``transformers.Trainer`` in each of several workers, which train one model together.

    ::

        def trainer_init_per_worker(train_dataset, eval_dataset, **config):
            args = TrainingArguments("output", num_train_epochs=3, learning_rate=config["lr"],
                                     eval_strategy="epoch", save_strategy="epoch", report_to=[])
            return Trainer(make_model(), args, train_dataset=train_dataset, eval_dataset=eval_dataset)


        trainer = HuggingFaceTrainer(
            trainer_init_per_worker,
            trainer_init_config={"lr": 2e-5},
            datasets={"train": train, "evaluation": evaluation},
            scaling_config=ScalingConfig(num_workers=2),
        )
        result = trainer.fit()
        model = result.checkpoint.get_model(AutoModelForSequenceClassification)

    - The data sets arrive as iterable torch datasets of rows (dicts), with a length: epochs, ``max_steps`` and schedules are as
      they would be in one process. "train" is split among the workers. Of "evaluation" each worker has all rows, of which
      Transformers gives each a part; split it with ``dataset_config`` to have each worker read its own part only.
    - What Transformers logs at one step, evaluation included, is one report, with ``step`` and ``epoch``. When it saves at that
      step, the checkpoint goes with it, whatever the strategies of logging, evaluating and saving are. It is a
      :class:`HuggingFaceCheckpoint` with the state of optimizer, schedule and random numbers.
    - A relative ``output_dir`` is in the trial's directory.
    - A run that is started again, after a failure or with ``resume_from_checkpoint``, goes on at the very step.

    Args:
        trainer_init_per_worker: Makes the Trainer, from the data sets (None for one that is not there) and the configuration.
        datasets: "train" and "evaluation". None: the function makes data sets itself, which Transformers shares out.
        trainer_init_config: The configuration, as keyword arguments.
        torch_config: How the process group is made.
        scaling_config: How many workers, and what each of them gets.
        dataset_config: How each data set is handed out.
        run_config: Name and place of the run, failures, checkpoints.
        preprocessor: Fitted on "train", applied to all, and stored with the checkpoints.
        resume_from_checkpoint: What the training goes on from.

    Raises:
        TypeError: an argument that is something else.
        ValueError: a data set with another name, or another argument that makes no sense.
    """

    _dataset_config: ClassVar[Mapping[str, DatasetConfig]] = {
        TRAIN: DatasetConfig(fit=True, split=True),
        EVALUATION: DatasetConfig(split=False),
    }

    _library = (("transformers",), 'pip install "aktis-train[huggingface]"')

    def __init__(
        self,
        trainer_init_per_worker: Callable[..., Any],
        *,
        datasets: Mapping[str, GenDataset] | None = None,
        trainer_init_config: Mapping[str, Any] | None = None,
        torch_config: TorchConfig | None = None,
        scaling_config: ScalingConfig | None = None,
        dataset_config: Mapping[str, DatasetConfig] | None = None,
        run_config: RunConfig | None = None,
        preprocessor: Preprocessor | None = None,
        resume_from_checkpoint: Checkpoint | None = None,
    ) -> None:
        if not callable(trainer_init_per_worker):
            raise TypeError(
                "trainer_init_per_worker must be a function (train_dataset, eval_dataset, **config) that makes a "
                f"transformers.Trainer, not {trainer_init_per_worker!r}"
            )
        if trainer_init_config is not None and not isinstance(trainer_init_config, Mapping):
            raise TypeError(f"trainer_init_config must be a dict, not {trainer_init_config!r}")
        super().__init__(
            functools.partial(_train, trainer_init_per_worker),
            train_loop_config=None if trainer_init_config is None else dict(trainer_init_config),
            torch_config=torch_config,
            scaling_config=scaling_config,
            dataset_config=dataset_config,
            run_config=run_config,
            datasets=datasets,
            preprocessor=preprocessor,
            resume_from_checkpoint=resume_from_checkpoint,
        )


TransformersTrainer = HuggingFaceTrainer
"""The name in later versions of Ray."""


def _train(trainer_init_per_worker: Callable[..., Any], config: dict[str, Any]) -> None:
    """The training loop of each worker."""
    transformers = _libraries.transformers()
    from aktis.train.huggingface._reporting import RoundCallback
    from aktis.train.huggingface._sharding import prepare_trainer

    if session.get_world_rank() > 0:
        _be_quiet(transformers)
    trainer = trainer_init_per_worker(_rows(TRAIN), _rows(EVALUATION), **config)
    if not isinstance(trainer, transformers.Trainer):
        raise TypeError(f"trainer_init_per_worker must return a transformers.Trainer, not {trainer!r}")
    if trainer.args.push_to_hub:
        raise ValueError(
            "push_to_hub=True is not for workers: push the model of result.checkpoint when the run is over"
        )
    _write_into_trial(trainer.args)
    trainer = prepare_trainer(trainer)
    trainer.add_callback(RoundCallback())
    checkpoint = session.get_checkpoint()
    if checkpoint is None:
        trainer.train()
        return
    with HuggingFaceCheckpoint.from_checkpoint(checkpoint)._files() as path:
        trainer.train(resume_from_checkpoint=path)


def _write_into_trial(args: Any) -> None:
    """A relative ``output_dir`` is one in the trial's directory, so that trials that run side by side keep apart."""
    folder = session.get_trial_dir()
    if folder is None or os.path.isabs(args.output_dir):
        return
    made, args.output_dir = args.output_dir, os.path.join(folder, args.output_dir)
    with contextlib.suppress(OSError):  # made by the Trainer a moment ago, and empty
        os.rmdir(made)


def _rows(name: str) -> Any:
    from aktis.train.error import DatasetMissingError
    from aktis.train.huggingface._rows import RowStream

    try:
        shard = session.get_dataset_shard(name)
    except DatasetMissingError:
        return None
    return RowStream(shard, session.get_world_size())


def _be_quiet(transformers: Any) -> None:
    """Progress bars of all ranks at once cannot be read."""
    transformers.utils.logging.disable_progress_bar()
    with contextlib.suppress(ImportError):
        import datasets

        datasets.disable_progress_bars()

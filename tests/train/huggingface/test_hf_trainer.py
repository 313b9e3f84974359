"""HuggingFaceTrainer on two workers, against the same training in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.train.huggingface import tiny

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

import aktis.data  # noqa: E402
from aktis import air, train  # noqa: E402
from aktis.air.config import DatasetConfig, FailureConfig, ScalingConfig  # noqa: E402
from aktis.train.huggingface import HuggingFaceCheckpoint, HuggingFaceTrainer, TransformersTrainer  # noqa: E402
from aktis.train.torch import TorchTrainer  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("session"), pytest.mark.timeout(240)]


def encoded(texts: list[str] = tiny.TEXTS) -> pd.DataFrame:
    tokens = tiny.tokenizer()(texts, padding=True)
    labels = [int("good" in text) for text in texts]
    columns = {name: [np.array(row) for row in tokens[name]] for name in ("input_ids", "attention_mask")}
    return pd.DataFrame({**columns, "labels": labels})


def make(folder: str, batch_size: int, rows: Any, evaluation: Any, on_step: Callable[..., None] | None = None) -> Any:
    """All rows in each step, so that it does not matter who has which."""

    class Watch(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if on_step is not None:
                on_step(args, state)

    args = transformers.TrainingArguments(
        folder, per_device_train_batch_size=batch_size, per_device_eval_batch_size=batch_size, num_train_epochs=6,
        learning_rate=1e-2, logging_strategy="steps", logging_steps=1, eval_strategy="steps", eval_steps=2,
        save_strategy="steps", save_steps=2, report_to=[], disable_tqdm=True, use_cpu=batch_size == len(tiny.TEXTS),
        average_tokens_across_devices=False,  # with it, Transformers 5 counts the loss of this model once per worker
    )  # fmt: skip
    return transformers.Trainer(
        tiny.classifier(), args, train_dataset=rows, eval_dataset=evaluation, callbacks=[Watch()],
        compute_metrics=lambda found: {"rows": float(len(found.predictions))},
    )  # fmt: skip


def init_per_worker(rows: Any, evaluation: Any, folder: str, marker: str) -> Any:
    def fail_once(args: Any, state: Any) -> None:
        if state.global_step == 5 and args.process_index == 1 and not Path(marker).exists():
            Path(marker).touch()
            raise RuntimeError("the machine is on fire")

    return make(folder, len(tiny.TEXTS) // 2, rows, evaluation, fail_once)


def test_two_workers_that_fail_learn_what_one_process_does(tmp_path: Path, run_config: air.RunConfig) -> None:
    frame = encoded()
    alone = make(str(tmp_path / "alone"), len(frame), frame.to_dict("records"), frame.to_dict("records"))
    alone.train()

    data = aktis.data.from_pandas(frame)
    trainer = HuggingFaceTrainer(
        init_per_worker,
        trainer_init_config={"folder": "output", "marker": str(tmp_path / "failed")},
        datasets={"train": data, "evaluation": data},
        dataset_config={"evaluation": DatasetConfig(split=True)},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=run_config.__class__(
            name="run", local_dir=run_config.local_dir, verbose=0, failure_config=FailureConfig(max_failures=1)
        ),
    )
    result = trainer.fit()
    assert (tmp_path / "failed").exists()

    seen = result.metrics_dataframe
    assert seen["step"].tolist() == [1, 2, 3, 4, 5, 6]  # step 5 is not there twice
    losses = [entry["loss"] for entry in alone.state.log_history if "loss" in entry]
    np.testing.assert_allclose(seen["loss"], losses, rtol=1e-4)
    evaluations = [entry["eval_loss"] for entry in alone.state.log_history if "eval_loss" in entry]
    np.testing.assert_allclose(seen["eval_loss"].dropna(), evaluations, rtol=1e-4)
    assert set(seen["eval_rows"].dropna()) == {8.0}
    assert result.metrics["epoch"] == 6.0 and "train_loss" in result.metrics

    assert result.log_dir is not None and (Path(result.log_dir) / "output" / "checkpoint-6").is_dir()
    assert not Path("output").exists()
    checkpoint = result.checkpoint
    assert type(checkpoint) is HuggingFaceCheckpoint
    names = {path.name for path in Path(checkpoint.path).iterdir()}
    assert {"optimizer.pt", "scheduler.pt", "trainer_state.json", "rng_state_0.pth", "rng_state_1.pth"} <= names
    assert checkpoint.get_training_arguments().learning_rate == 1e-2
    model = checkpoint.get_model(transformers.AutoModelForSequenceClassification)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, alone.model.state_dict()[name], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_every_worker_has_all_of_the_evaluation_by_default(tmp_path: Path, run_config: air.RunConfig) -> None:
    data = aktis.data.from_pandas(encoded([*tiny.TEXTS, "very bad film"]))
    trainer = TransformersTrainer(
        init_per_worker,
        trainer_init_config={"folder": str(tmp_path / "output"), "marker": str(tmp_path)},
        datasets={"train": data, "evaluation": data},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=run_config,
    )
    result = trainer.fit()
    assert set(result.metrics_dataframe["eval_rows"].dropna()) == {9.0}  # each once, though they do not come out even
    assert result.metrics["step"] == 6  # 4 rows each: one is left out


def loop(config: dict[str, Any]) -> None:
    from aktis.train.huggingface.transformers import RayTrainReportCallback, prepare_trainer

    batches = train.get_dataset_shard("train").iter_torch_batches(batch_size=4)
    args = transformers.TrainingArguments(
        config["folder"], max_steps=4, save_strategy="steps", save_steps=2, logging_steps=1, report_to=[],
        disable_tqdm=True, learning_rate=1e-2,
    )  # fmt: skip
    trainer = prepare_trainer(transformers.Trainer(tiny.classifier(), args, train_dataset=batches))
    trainer.add_callback(RayTrainReportCallback())
    checkpoint = train.get_checkpoint()
    if checkpoint is None:
        trainer.train()
        return
    with checkpoint.as_directory() as path:
        trainer.train(resume_from_checkpoint=f"{path}/{RayTrainReportCallback.CHECKPOINT_NAME}")


@pytest.mark.slow
def test_a_loop_of_ones_own(tmp_path: Path, run_config: air.RunConfig) -> None:
    arguments: dict[str, Any] = {
        "datasets": {"train": aktis.data.from_pandas(encoded())},
        "scaling_config": ScalingConfig(num_workers=2),
        "run_config": run_config,
    }
    config = {"folder": str(tmp_path / "output")}
    result = TorchTrainer(loop, train_loop_config=config, **arguments).fit()
    assert result.metrics_dataframe["step"].tolist() == [2, 4]
    assert (Path(result.checkpoint.path) / "checkpoint" / "rng_state_1.pth").exists()
    model = HuggingFaceCheckpoint.from_checkpoint(result.checkpoint).get_model(
        transformers.AutoModelForSequenceClassification
    )
    assert not torch.equal(model.classifier.weight, tiny.classifier().classifier.weight)


def returns_a_number(rows: Any, evaluation: Any) -> int:
    return 3


def pushes(rows: Any, evaluation: Any) -> Any:
    args = transformers.TrainingArguments("output", push_to_hub=True, report_to=[], hub_token="none")
    trainer = object.__new__(transformers.Trainer)
    trainer.args = args
    return trainer


@pytest.mark.parametrize(
    ("init", "error", "message"),
    [
        (returns_a_number, TypeError, r"must return a transformers\.Trainer, not 3"),
        (pushes, ValueError, "push_to_hub=True is not for workers"),
    ],
)
def test_what_the_function_must_not_return(init: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        HuggingFaceTrainer(init)._train_loop_per_worker({})


def test_what_makes_no_sense_is_said_at_once() -> None:
    data = aktis.data.range(3)
    with pytest.raises(TypeError, match="trainer_init_per_worker must be a function"):
        HuggingFaceTrainer(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="trainer_init_config must be a dict"):
        HuggingFaceTrainer(returns_a_number, trainer_init_config=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'test' is not expected; expected are: 'train', 'evaluation'"):
        HuggingFaceTrainer(returns_a_number, datasets={"train": data, "test": data})

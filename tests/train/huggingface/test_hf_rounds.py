"""The Trainer of Transformers with our callbacks and data sets, in this process alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.train.huggingface import tiny

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

from aktis.air import session, session_host  # noqa: E402
from aktis.air.checkpoint import Checkpoint  # noqa: E402
from aktis.train.huggingface._reporting import RoundCallback  # noqa: E402
from aktis.train.huggingface._rows import RowStream  # noqa: E402
from aktis.train.huggingface.transformers import RayTrainReportCallback, prepare_trainer  # noqa: E402

pytestmark = pytest.mark.torch


class Recorder(session_host.SessionHost):
    """A session that keeps what is reported."""

    def __init__(self) -> None:
        self.reports: list[tuple[dict[str, Any], dict[str, Any] | None]] = []

    def report(self, metrics: dict[str, Any], *, checkpoint: Checkpoint | None = None) -> None:
        self.reports.append((metrics, None if checkpoint is None else self._look_into(checkpoint)))

    def _look_into(self, checkpoint: Checkpoint) -> dict[str, Any]:
        with checkpoint.as_directory() as path:
            (state,) = Path(path).rglob("trainer_state.json")
            return {
                "files": {str(file.relative_to(path)) for file in Path(path).rglob("*") if file.is_file()},
                "step": json.loads(state.read_text())["global_step"],
                "class": type(checkpoint).__name__,
            }

    def get_checkpoint(self) -> None: ...
    def get_experiment_name(self) -> None: ...
    def get_trial_name(self) -> None: ...
    def get_trial_id(self) -> None: ...
    def get_trial_resources(self) -> None: ...
    def get_trial_dir(self) -> None: ...


class Shard:
    """Rows as a shard hands them out, in two batches."""

    def __init__(self, **columns: np.ndarray) -> None:
        self.columns = columns
        self.epochs: list[int] = []

    def count(self) -> int:
        return len(next(iter(self.columns.values())))

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)

    def iter_batches(self, batch_size: int, batch_format: str) -> Iterator[dict[str, np.ndarray]]:
        assert batch_format == "numpy"
        for part in (slice(0, 3), slice(3, None)):
            yield {name: values[part] for name, values in self.columns.items()}

    def iter_torch_batches(self) -> None: ...


def texts() -> Shard:
    tokens = tiny.tokenizer()(tiny.TEXTS, padding=True, return_tensors="np")
    labels = np.array(["good" in text for text in tiny.TEXTS], dtype=np.int64)
    return Shard(**tokens, labels=labels)


def run(tmp_path: Path, callback: Any, train_dataset: Any = None, **arguments: Any) -> tuple[Recorder, Any]:
    args = transformers.TrainingArguments(
        str(tmp_path), per_device_train_batch_size=2, num_train_epochs=2, use_cpu=True, report_to=[], disable_tqdm=True,
        **{"save_strategy": "no", "logging_strategy": "no", **arguments},
    )  # fmt: skip
    rows = RowStream(texts())
    host = Recorder()
    with session_host.installed(host):
        trainer = transformers.Trainer(
            tiny.classifier(), args, train_dataset=train_dataset or rows, eval_dataset=RowStream(texts())
        )
        prepare_trainer(trainer).add_callback(callback)
        trainer.train()
    return host, trainer


def steps(host: Recorder) -> list[tuple[int, set[str], int | None]]:
    kinds = {"loss", "eval_loss", "train_loss"}
    return [(metrics["step"], metrics.keys() & kinds, found and found["step"]) for metrics, found in host.reports]


def test_all_of_a_step_is_one_report(tmp_path: Path) -> None:
    host, _ = run(
        tmp_path, RoundCallback(),
        logging_strategy="steps", logging_steps=2, eval_strategy="epoch", save_strategy="steps", save_steps=4,
    )  # fmt: skip
    assert steps(host) == [
        (2, {"loss"}, None),
        (4, {"loss", "eval_loss"}, 4),
        (6, {"loss"}, None),
        (8, {"loss", "eval_loss", "train_loss"}, 8),
    ]
    found = host.reports[1][1]
    assert found is not None and found["class"] == "HuggingFaceCheckpoint"
    assert {"config.json", "model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth"} <= found["files"]
    assert host.reports[1][0]["epoch"] == 1.0


def test_checkpoints_need_no_metrics_of_their_step(tmp_path: Path) -> None:
    host, _ = run(tmp_path, RoundCallback(), save_strategy="steps", save_steps=3, eval_strategy="epoch")
    assert steps(host) == [
        (3, set(), 3),
        (4, {"eval_loss"}, None),
        (6, {"eval_loss"}, 6),  # of step 4: what is known
        (8, {"eval_loss", "train_loss"}, 8),
    ]


def test_a_training_without_any_logs_reports_its_end(tmp_path: Path) -> None:
    host, _ = run(tmp_path, RoundCallback())
    assert steps(host) == [(8, {"train_loss"}, None)]


def test_the_best_model_is_saved_and_loaded(tmp_path: Path) -> None:
    host, trainer = run(
        tmp_path, RoundCallback(), eval_strategy="steps", eval_steps=2, save_strategy="best",
        metric_for_best_model="eval_loss", greater_is_better=False, load_best_model_at_end=True, learning_rate=1e-2,
    )  # fmt: skip
    saved = [found["step"] for _, found in host.reports if found]
    assert saved and trainer.state.best_global_step == saved[-1]
    assert all("eval_loss" in metrics for metrics, found in host.reports if found)


def test_the_callback_for_loops_of_ones_own(tmp_path: Path) -> None:
    host, _ = run(
        tmp_path, RayTrainReportCallback(), save_strategy="epoch", logging_strategy="epoch", eval_strategy="epoch"
    )
    assert steps(host) == [(4, {"loss", "eval_loss"}, 4), (8, {"loss", "eval_loss"}, 8)]
    found = host.reports[0][1]
    assert found is not None and "checkpoint/model.safetensors" in found["files"]


def test_rows_train_as_a_list_of_them_does(tmp_path: Path) -> None:
    shard = texts()
    rows = [{name: values[index] for name, values in shard.columns.items()} for index in range(shard.count())]
    listed = [{**row, "labels": int(row["labels"])} for row in rows]
    losses = []
    for dataset in (RowStream(shard), shard, listed):
        strategy = {"max_steps": 8} if dataset is shard else {"train_sampling_strategy": "sequential"}
        _, trainer = run(tmp_path, RoundCallback(), dataset, logging_strategy="steps", logging_steps=1, **strategy)
        assert trainer.state.max_steps == 8
        losses.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    assert losses[0] == losses[1] == losses[2]
    assert {0, 1} <= set(shard.epochs)  # told which epoch it is


def test_batches_are_taken_as_they_come(tmp_path: Path) -> None:
    columns = texts().columns
    tensors = {name: torch.as_tensor(values) for name, values in columns.items()}

    class Batches:
        def __iter__(self) -> Iterator[dict[str, Any]]:
            for start in (0, 4):
                yield {name: values[start : start + 4] for name, values in tensors.items()}

    host, _ = run(tmp_path, RoundCallback(), Batches(), max_steps=3, logging_strategy="steps", logging_steps=1)
    assert [metrics["step"] for metrics, _ in host.reports] == [1, 2, 3]


def test_rows_are_plain_python_values() -> None:
    shard = Shard(n=np.array([1, 2, 3, 4]), name=np.array(["a", "b", "c", "d"]), x=np.ones((4, 2), np.float32))
    rows = list(RowStream(shard))
    assert [type(rows[0][name]) for name in ("n", "name", "x")] == [int, str, np.ndarray]
    assert len(RowStream(shard)) == len(rows) == 4
    assert RowStream(shard, world_size=3).total_rows == 12


def test_what_is_no_trainer_is_refused() -> None:
    with pytest.raises(TypeError, match=r"needs a transformers\.Trainer, not dict"):
        prepare_trainer({})


def test_workers_that_do_not_know_each_other_are_refused(tmp_path: Path) -> None:
    class Two(Recorder):
        def get_world_size(self) -> int:
            return 2

    args = transformers.TrainingArguments(str(tmp_path), use_cpu=True, report_to=[])
    with session_host.installed(Two()):
        with pytest.raises(RuntimeError, match="there are 2 workers, but the TrainingArguments have world_size=1"):
            prepare_trainer(transformers.Trainer(tiny.classifier(), args))
    assert session.get_world_size() == 1

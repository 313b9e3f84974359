"""Event files: read with the parsers of TensorBoard, and with TensorBoard's own reader of directories."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.loggers import FakeTrial, result
from tests.tune.logger.events import read, scalars

from aktis.tune.logger import TBXLogger, TBXLoggerCallback, _events


@pytest.fixture
def trial(tmp_path: Path) -> FakeTrial:
    return FakeTrial("t1", str(tmp_path))


def log(trial: FakeTrial, *results: dict[str, Any], failed: bool = False) -> None:
    callback = TBXLoggerCallback()
    callback.log_trial_start(trial)
    for number, reported in enumerate(results):
        trial.last_result = reported
        callback.log_trial_result(number, trial, reported)
    callback.log_trial_end(trial, failed)


def test_numbers_are_where_ray_puts_them(trial: FakeTrial) -> None:
    first = result(
        1, loss=0.5, n={"x": 1, "y": {"z": float("nan")}}, text="x", flag=True, f32=np.float32(0.25), u8=np.uint8(7)
    )
    log(trial, first, result(2, loss=float("inf")))
    found = scalars(trial.logdir)
    assert found == {
        "ray/tune/loss": [(1, 0.5), (2, float("inf"))],
        "ray/tune/n/x": [(1, 1.0)],
        "ray/tune/flag": [(1, 1.0)],
        "ray/tune/f32": [(1, 0.25)],
        "ray/tune/u8": [(1, 7.0)],
        "ray/tune/done": [(1, 0.0), (2, 0.0)],
    }
    (name,) = [name for name in os.listdir(trial.logdir) if "tfevents" in name]
    assert socket.gethostname() in name


def test_time_steps_are_the_step_when_they_are_counted(trial: FakeTrial) -> None:
    log(trial, {**result(1, a=1.0), "timesteps_total": 1000}, {**result(2, a=2.0), "timesteps_total": np.int64(3000)})
    assert scalars(trial.logdir)["ray/tune/a"] == [(1000, 1.0), (3000, 2.0)]


def test_lists_and_arrays_are_histograms(trial: FakeTrial) -> None:
    values = [1.0, 2.0, 2.0, 4.0, float("nan")]
    log(
        trial,
        result(
            1,
            many=values,
            array=np.arange(6).reshape(2, 3),
            same=[3, 3],
            mixed=[1, "a"],
            none=[],
            huge=[1.7e308, -1.7e308],
        ),
    )
    found = {
        value.tag: value.histo
        for event in read(trial.logdir)
        for value in event.summary.value
        if value.HasField("histo")
    }
    assert sorted(found) == ["ray/tune/array", "ray/tune/huge", "ray/tune/many", "ray/tune/same"]
    many = found["ray/tune/many"]
    assert (many.min, many.max, many.num, many.sum, many.sum_squares) == (1.0, 4.0, 4.0, 9.0, 25.0)
    assert sum(many.bucket) == 4 and len(many.bucket) == len(many.bucket_limit) == 30
    assert many.bucket_limit[-1] == 4.0
    assert list(found["ray/tune/same"].bucket) == [2.0]


def test_hyper_parameters_are_written_at_the_end(trial: FakeTrial) -> None:
    plugin_data_pb2 = pytest.importorskip("tensorboard.plugins.hparams.plugin_data_pb2", exc_type=ImportError)
    trial.evaluated_params = {
        "net/width": np.int64(8),
        "name": "x",
        "flag": True,
        "np_flag": np.bool_(False),
        "layers": [1, 2],
        "none": None,
    }
    log(trial, result(1, a=1.0, n={"x": 1}), failed=True)
    plugin = {
        value.tag: plugin_data_pb2.HParamsPluginData.FromString(value.metadata.plugin_data.content)
        for event in read(trial.logdir)
        for value in event.summary.value
        if value.metadata.plugin_data.plugin_name == "hparams"
    }
    experiment = plugin["_hparams_/experiment"].experiment
    assert {info.name: info.type for info in experiment.hparam_infos} == {
        "net/width": 3, "name": 1, "flag": 2, "np_flag": 2, "layers": 1,
    }  # fmt: skip
    assert [info.name.tag for info in experiment.metric_infos] == ["ray/tune/a", "ray/tune/done", "ray/tune/n/x"]
    start = plugin["_hparams_/session_start_info"].session_start_info
    assert start.hparams["net/width"].number_value == 8.0
    assert start.hparams["name"].string_value == "x"
    assert start.hparams["flag"].bool_value is True
    assert start.hparams["layers"].string_value == "[1, 2]"
    assert start.group_name == "train_t1"
    end = plugin["_hparams_/session_end_info"].session_end_info
    assert end.status == 2  # failed
    assert end.end_time_secs > 1.5e9


def test_tensorboard_itself_reads_it(trial: FakeTrial) -> None:
    module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", exc_type=ImportError)
    log(trial, result(1, a=1.0, many=[1.0, 2.0]), result(2, a=2.0, many=[1.0, 2.0]))
    reader = module.EventAccumulator(trial.logdir)
    reader.Reload()
    assert [(event.step, event.value) for event in reader.Scalars("ray/tune/a")] == [(1, 1.0), (2, 2.0)]
    assert "_hparams_/experiment" in reader.summary_metadata
    assert "ray/tune/many" in reader.Tags()["tensors"] + reader.Tags()["histograms"]


def test_event_files_of_the_trial_itself_are_left_alone(trial: FakeTrial) -> None:
    other = Path(trial.logdir) / "events.out.tfevents.9999999999.host"
    other.write_bytes(b"not ours")
    callback = TBXLoggerCallback()
    callback.log_trial_start(trial)
    callback.log_trial_end(trial)
    assert other.read_bytes() == b"not ours"


def test_videos_need_tensorboardx_and_say_so(
    trial: FakeTrial, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX.summary", None)
    log(trial, result(1, a=1.0, video=np.zeros((1, 2, 3, 4, 4), dtype=np.uint8)))
    assert "pip install tensorboardX moviepy" in caplog.text
    assert scalars(trial.logdir)["ray/tune/a"] == [(1, 1.0)]


def test_the_old_logger_writes_hyper_parameters_when_it_knows_the_trial(tmp_path: Path, trial: FakeTrial) -> None:
    logger = TBXLogger(trial.config, trial.logdir, trial)
    logger.on_result(result(1, a=1.0))
    logger.close()
    logger.close()
    tags = [value.tag for event in read(trial.logdir) for value in event.summary.value]
    assert tags.count("_hparams_/experiment") == 1


def test_the_check_sum_without_the_library() -> None:
    # Test vectors of RFC 3720, B.4.
    for data, crc in [(b"", 0), (b"\0" * 32, 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E)]:
        assert _events._crc32c_in_python(data) == crc
        assert _events._crc32c()(data) == crc


@given(
    step=st.integers(0, 2**63 - 1),
    value=st.floats(width=32, allow_nan=False),
    tag=st.text(min_size=1).filter(lambda s: s.isprintable()),
)
def test_any_event(step: int, value: float, tag: str) -> None:
    event_pb2 = pytest.importorskip("tensorboard.compat.proto.event_pb2", exc_type=ImportError)
    data = _events.event([_events.scalar(tag, value), _events.scalar("other", 1.0)], step, 12.5)
    event = event_pb2.Event.FromString(data)
    assert (event.step, event.wall_time) == (step, 12.5)
    assert [(v.tag, v.simple_value) for v in event.summary.value] == [(tag, value), ("other", 1.0)]
    record = _events.record(data)
    assert struct.unpack_from("<Q", record)[0] == len(data)
    ((end, found, _),) = _events.read_events(record + record[:-1])
    assert (end, found) == (len(record), step)


def test_logging_imports_no_library_for_it() -> None:
    code = (
        "import sys, aktis.tune.logger\n"
        "heavy = {'numpy', 'tensorboardX', 'tensorboard', 'torch', 'yaml', 'pandas', 'cloudpickle', 'google.protobuf'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"

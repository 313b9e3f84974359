"""``tune resume`` with the real runner."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import aktis
from aktis import air, tune
from aktis.tune.cli import main

PROGRAM = """
from pathlib import Path
from aktis.air import session

def train(config):
    if config["x"] == 2 and not Path(config["marker"]).exists():
        raise RuntimeError("not yet")
    session.report({"score": config["x"]})
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "resumed_program.py").write_text(PROGRAM)
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "0")
    return tmp_path


def test_failed_trials_begin_anew(program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import resumed_program  # type: ignore[import-not-found]

    aktis.init(num_cpus=2, log_to_driver=False)
    try:
        marker = program / "marker"
        tuner = tune.Tuner(
            resumed_program.train,
            param_space={"x": tune.grid_search([1, 2]), "marker": str(marker)},
            run_config=air.RunConfig(name="e", local_dir=str(program), verbose=0),
        )
        assert tuner.fit().num_errors == 1
        with pytest.raises(SystemExit) as ended:
            main(["resume", str(program / "e"), "--restart-errored", "--trainable", "resumed_program:train"])
        assert ended.value.code == 1, "it failed again"
        assert "1 of 2 trials are done, 1 failed" in capsys.readouterr().out
        marker.write_text("")
        with pytest.raises(SystemExit) as ended:
            main(["resume", str(program / "e"), "--restart-errored", "--trainable", "resumed_program.py:train"])
        assert ended.value.code == 0
        assert "2 of 2 trials are done, 0 failed" in capsys.readouterr().out
    finally:
        aktis.shutdown()
        sys.modules.pop("resumed_program", None)

"""The mixins of old: a run around a trainable, with the real clients."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.offline import no_network  # noqa: F401  # a fixture, and settings that come before the client
from tests.helpers.sessions import Recorder

from aktis.air import session_host

pytestmark = pytest.mark.filterwarnings("ignore")


class Base:
    """What the mixins need of a class trainable."""

    trial_id = "t7"
    trial_name = "train_t7"
    stopped = False

    def __init__(self, config: dict[str, Any] | None = None, **kwargs: Any) -> None:
        self.config = config

    def stop(self) -> None:
        self.stopped = True


def good(config: dict[str, Any], data: int = 1) -> int:
    return config["lr"] + data


def bad(config: dict[str, Any]) -> None:
    raise ValueError("no")


def told_to_stop(config: dict[str, Any]) -> None:
    raise SystemExit


def yielding(config: dict[str, Any]) -> Iterator[int]:
    yield 1
    yield 2


class TestMlflow:
    @pytest.fixture(scope="class")
    def empty_store(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        mlflow = pytest.importorskip("mlflow", exc_type=ImportError)
        pytest.importorskip("sqlalchemy", exc_type=ImportError)
        path = tmp_path_factory.mktemp("mlflow") / "empty.db"
        mlflow.tracking.MlflowClient(f"sqlite:///{path}").search_experiments()
        return path

    @pytest.fixture
    def settings(self, tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
        mlflow = pytest.importorskip("mlflow", exc_type=ImportError)
        monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        monkeypatch.chdir(tmp_path)
        shutil.copy(empty_store, tmp_path / "runs.db")
        before = mlflow.get_tracking_uri()
        with session_host.installed(Recorder(tmp_path)):
            yield {"tracking_uri": f"sqlite:///{tmp_path}/runs.db", "experiment_name": "Default"}
        while mlflow.active_run() is not None:
            mlflow.end_run()
        mlflow.set_tracking_uri(before)

    @staticmethod
    def runs(settings: dict[str, Any]) -> list[tuple[str, str, dict[str, str]]]:
        mlflow = pytest.importorskip("mlflow", exc_type=ImportError)
        found = mlflow.tracking.MlflowClient(settings["tracking_uri"]).search_runs(
            ["0"], order_by=["attribute.start_time ASC"]
        )
        return [(run.info.status, run.data.tags["trial_id"], run.data.params) for run in found]

    def test_functions(self, settings: dict[str, Any]) -> None:
        from aktis.tune.integration.mlflow import mlflow_mixin

        config = {"lr": 2, "mlflow": settings}
        assert mlflow_mixin(good)(config, data=3) == 5
        with pytest.raises(ValueError, match="no"):
            mlflow_mixin(bad)(config)
        with pytest.raises(SystemExit):
            mlflow_mixin(told_to_stop)(config)
        assert list(mlflow_mixin(yielding)(config)) == [1, 2]
        assert self.runs(settings) == [
            (status, "t1", {"lr": "2"}) for status in ("FINISHED", "FAILED", "FINISHED", "FINISHED")
        ]

    @pytest.mark.parametrize("decorated", [True, False])
    def test_classes(self, settings: dict[str, Any], decorated: bool) -> None:
        from aktis.tune.integration.mlflow import MLflowTrainableMixin, mlflow_mixin

        kind: Any = mlflow_mixin(Base) if decorated else type("Mine", (MLflowTrainableMixin, Base), {})
        trainable = kind({"lr": 2, "mlflow": settings})
        trainable.stop()
        assert trainable.stopped
        assert self.runs(settings) == [("FINISHED", "t7", {"lr": "2"})]


class TestWandb:
    @pytest.fixture
    def settings(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
        wandb = pytest.importorskip("wandb", exc_type=ImportError)
        for name, value in {"MODE": "offline", "SILENT": "true", "ERROR_REPORTING": "false", "CONSOLE": "off"}.items():
            monkeypatch.setenv(f"WANDB_{name}", value)
        with session_host.installed(Recorder(tmp_path)):
            yield {"project": "p", "dir": str(tmp_path)}
        wandb.teardown()

    def test_functions(self, settings: dict[str, Any], tmp_path: Path) -> None:
        from aktis.tune.integration.wandb import wandb_mixin

        config = {"lr": 2, "wandb": settings}
        assert wandb_mixin(good)(config, data=3) == 5
        with pytest.raises(ValueError, match="no"):
            wandb_mixin(bad)(config)
        assert list(wandb_mixin(yielding)(config)) == [1, 2]
        assert {path.name for path in tmp_path.glob("wandb/offline-run-*/*.wandb")} == {"run-t1.wandb"}

    @pytest.mark.parametrize("decorated", [True, False])
    def test_classes(self, settings: dict[str, Any], tmp_path: Path, decorated: bool) -> None:
        from aktis.tune.integration.wandb import WandbTrainableMixin, wandb_mixin

        kind: Any = wandb_mixin(Base) if decorated else type("Mine", (WandbTrainableMixin, Base), {})
        trainable = kind({"lr": 2, "wandb": settings})
        trainable.wandb.log({"loss": 1})
        trainable.stop()
        assert trainable.stopped
        assert {path.name for path in tmp_path.glob("wandb/offline-run-*/*.wandb")} == {"run-t7.wandb"}


def test_they_say_what_to_use_instead() -> None:
    pytest.importorskip("mlflow", exc_type=ImportError)
    from aktis.tune.integration.mlflow import mlflow_mixin

    with pytest.warns(DeprecationWarning, match=r"call aktis.air.integrations.mlflow.setup_mlflow\(config\)"):
        mlflow_mixin(good)

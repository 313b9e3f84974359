"""Our classes on those of ``lightning.pytorch``."""

from __future__ import annotations

from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, FSDPStrategy

from aktis.train.lightning import _mixins

__all__ = [
    "MetricsCallback",
    "RayDDPStrategy",
    "RayDeepSpeedStrategy",
    "RayFSDPStrategy",
    "RayLightningEnvironment",
    "RayModelCheckpoint",
    "RayTrainReportCallback",
]


class RayDDPStrategy(_mixins.RankedStrategy, DDPStrategy):  # type: ignore[misc]
    """Distributed data parallel over the workers of a trainer. Takes what Lightning's ``DDPStrategy`` takes."""


class RayFSDPStrategy(_mixins.RankedStrategy, FSDPStrategy):  # type: ignore[misc]
    """Fully sharded data parallel over the workers of a trainer. Takes what Lightning's ``FSDPStrategy`` takes."""


class RayDeepSpeedStrategy(_mixins.RankedStrategy, DeepSpeedStrategy):  # type: ignore[misc]
    """DeepSpeed over the workers of a trainer. Takes what Lightning's ``DeepSpeedStrategy`` takes."""


class RayLightningEnvironment(_mixins.SessionEnvironment, LightningEnvironment):  # type: ignore[misc]
    """Tells Lightning the ranks of the workers of a trainer."""


class RayTrainReportCallback(_mixins.EpochReport, Callback):  # type: ignore[misc]
    """Reports what the module has logged, and a checkpoint, after each epoch of training, on every rank.

    ``session.get_checkpoint()`` then gives a directory in which ``checkpoint.ckpt`` (``CHECKPOINT_NAME``) is what
    ``Trainer.fit(ckpt_path=...)`` takes.
    """


class MetricsCallback(_mixins.EpochMetrics, Callback):  # type: ignore[misc]
    """Reports what the module has logged after each epoch of training, on every rank."""


class RayModelCheckpoint(_mixins.ReportingModelCheckpoint, ModelCheckpoint):  # type: ignore[misc]
    """Lightning's ``ModelCheckpoint``, which reports what it saves."""

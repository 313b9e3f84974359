"""PyTorch Lightning on several workers, under either of its names: ``lightning`` and ``pytorch_lightning``.

In the training loop of a ``TorchTrainer``::

    trainer = pl.Trainer(
        strategy=RayDDPStrategy(),
        plugins=[RayLightningEnvironment()],
        callbacks=[RayTrainReportCallback()],
        devices="auto",
    )
    trainer = prepare_trainer(trainer)
    trainer.fit(model, train_dataloaders=loader)

or all at once, with a ``LightningTrainer``. The strategies, the environment and the callback belong to the one of the two
libraries that is loaded when they are first asked for (to ``lightning``, when both are, or none): import the library before.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.train.lightning._for_lightning import (
        RayDDPStrategy,
        RayDeepSpeedStrategy,
        RayFSDPStrategy,
        RayLightningEnvironment,
        RayTrainReportCallback,
    )
    from aktis.train.lightning._library import prepare_trainer
    from aktis.train.lightning.lightning_checkpoint import LightningCheckpoint
    from aktis.train.lightning.lightning_config import LightningConfigBuilder
    from aktis.train.lightning.lightning_predictor import LightningPredictor
    from aktis.train.lightning.lightning_trainer import LightningTrainer

_NAMES = {
    "LightningCheckpoint": "aktis.train.lightning.lightning_checkpoint",
    "LightningConfigBuilder": "aktis.train.lightning.lightning_config",
    "LightningPredictor": "aktis.train.lightning.lightning_predictor",
    "LightningTrainer": "aktis.train.lightning.lightning_trainer",
    "prepare_trainer": "aktis.train.lightning._library",
}
_OF_THE_LIBRARY = frozenset(
    {
        "RayDDPStrategy",
        "RayDeepSpeedStrategy",
        "RayFSDPStrategy",
        "RayLightningEnvironment",
        "RayTrainReportCallback",
    }
)

__all__ = [
    "LightningCheckpoint",
    "LightningConfigBuilder",
    "LightningPredictor",
    "LightningTrainer",
    "RayDDPStrategy",
    "RayDeepSpeedStrategy",
    "RayFSDPStrategy",
    "RayLightningEnvironment",
    "RayTrainReportCallback",
    "prepare_trainer",
]


def _of_the_library(name: str) -> Any:
    from aktis.train.lightning._library import classes

    return getattr(classes(), name)


# Those of the library are not kept: another one may be loaded by the next time.
__getattr__, __dir__ = lazy_names(
    __name__, _NAMES, made={name: partial(_of_the_library, name) for name in _OF_THE_LIBRARY}
)

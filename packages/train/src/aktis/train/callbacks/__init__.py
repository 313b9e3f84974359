"""Callbacks of the older ``Trainer``: what is done with the results that the workers report."""

from aktis.train.callbacks.callback import TrainingCallback
from aktis.train.callbacks.logging import JsonLoggerCallback, MLflowLoggerCallback, TBXLoggerCallback
from aktis.train.callbacks.print import PrintCallback
from aktis.train.callbacks.profile import TorchTensorboardProfilerCallback

__all__ = [
    "JsonLoggerCallback",
    "MLflowLoggerCallback",
    "PrintCallback",
    "TBXLoggerCallback",
    "TorchTensorboardProfilerCallback",
    "TrainingCallback",
]

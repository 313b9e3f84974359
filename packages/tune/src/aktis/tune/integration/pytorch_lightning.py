"""Lightning: see :mod:`aktis.air.integrations.lightning`."""

from aktis.air.integrations.lightning import TuneCallback, TuneReportCallback, TuneReportCheckpointCallback

__all__ = ["TuneCallback", "TuneReportCallback", "TuneReportCheckpointCallback"]

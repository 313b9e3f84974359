"""Simulated runs: the decisions of a real one, over a virtual clock."""

from __future__ import annotations

from aktis.tune.simulation.curves import Curve, CurveSource, LearningCurves, RecordedCurves

__all__ = ["Curve", "CurveSource", "LearningCurves", "RecordedCurves"]

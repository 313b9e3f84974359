"""Simulated runs: the decisions of a real one, over a virtual clock."""

from __future__ import annotations

from aktis.tune.simulation.curves import Curve, CurveSource, LearningCurves, RecordedCurves
from aktis.tune.simulation.simulator import SimulationResult, simulate

__all__ = ["Curve", "CurveSource", "LearningCurves", "RecordedCurves", "SimulationResult", "simulate"]

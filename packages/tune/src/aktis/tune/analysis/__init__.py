"""What came out of an experiment: from a run, or from a directory alone."""

from __future__ import annotations

from aktis.tune.analysis.experiment_analysis import ExperimentAnalysis

__all__ = ["ExperimentAnalysis"]

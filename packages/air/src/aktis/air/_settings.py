"""Environment variables of aktis.air. Each is read here, when it is needed, and nowhere else."""

from __future__ import annotations

from aktis.util.variables import Variable

RESULTS_DIR = Variable(
    "RESULTS_DIR",
    str,
    "~/aktis_results",
    "where runs and experiments go that name no directory",
    ("TUNE_RESULT_DIR", "TEST_TMPDIR"),
)
VARIABLES = (RESULTS_DIR,)

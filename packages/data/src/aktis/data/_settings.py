"""Environment variables of aktis.data. Each is read here, when it is needed, and nowhere else."""

from __future__ import annotations

from aktis.util.variables import Variable, flag

PROGRESS = Variable("DATA_PROGRESS", flag, True, "0: no progress of executions on the terminal")
VARIABLES = (PROGRESS,)

"""Environment variables of aktis.rllib. Each is read here, when it is needed, and nowhere else."""

from __future__ import annotations

from aktis.util.variables import Variable

TOKEN = Variable("RLLIB_TOKEN", str, None, "the token that policy servers ask for, and policy clients show")
VARIABLES = (TOKEN,)

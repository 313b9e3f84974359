"""What rollout workers need, imported once in the process that workers are forked from: see ``__worker_modules__``.

Importing PyTorch takes 1.7 s, and every worker would spend that. Nothing here starts a thread or touches a GPU at import, so forks
of the process are as good as new ones. TensorFlow is not among it: it does not survive a fork.
"""

from __future__ import annotations

import importlib
import importlib.util

MODULES = (
    "gymnasium",
    "aktis.rllib.algorithms.algorithm",
    "aktis.rllib.evaluation.rollout_worker",
    "aktis.tune.trainable.host",
)
WITH_TORCH = ("torch", "aktis.rllib.policy.torch_policy_v2", "aktis.rllib.models.torch.fcnet")

for _name in MODULES:
    importlib.import_module(_name)
if importlib.util.find_spec("torch") is not None:
    for _name in WITH_TORCH:
        importlib.import_module(_name)

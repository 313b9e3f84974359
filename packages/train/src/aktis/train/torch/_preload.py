"""What training loops of torch need, imported once in the process that workers are forked from: see ``__worker_modules__``.

Importing torch takes 1.7 s, and the first optimizer or DistributedDataParallel another 1.6 s (``torch._dynamo``): each worker
would spend that. None of these starts a thread or touches a GPU at import, so forks of the process are as good as new ones.
"""

from __future__ import annotations

import importlib
import importlib.util

MODULES = (
    "torch",
    "torch._dynamo",
    "torch.nn.parallel.distributed",
    "torch.utils.data.distributed",
    "aktis.train.torch._data_loader",
    "aktis.train.torch._parallel",
    "aktis.train.torch._rendezvous",
    "aktis.train.torch.config",
    "aktis.train.torch.torch_checkpoint",
    "aktis.train.torch.torch_trainer",
    "aktis.train.torch.train_loop_utils",
)

if importlib.util.find_spec("torch") is not None:  # else the trainer says what is missing
    for _name in MODULES:
        importlib.import_module(_name)

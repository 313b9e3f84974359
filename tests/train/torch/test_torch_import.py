"""Importing the package is free, with torch installed or without."""

from __future__ import annotations

import subprocess
import sys


def test_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, aktis.train.torch as t; t.TorchConfig(); dir(t)\n"
        "heavy = {'torch', 'numpy', 'pandas', 'pyarrow', 'aktis.data'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "from aktis.train.torch import TorchTrainer, TorchCheckpoint, TorchPredictor, train_loop_utils\n"
        "heavy = {'torch', 'pandas', 'pyarrow'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert t.config.TorchConfig is t.TorchConfig\n"
        "try: t.nonsense\n"
        "except AttributeError as error: assert 'nonsense' in str(error)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_without_torch_the_error_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import aktis.train.torch as t\n"
        "for call in (t.get_device, lambda: t.prepare_model(1), lambda: t.TorchCheckpoint.from_state_dict({'a': 1})):\n"
        "    try: call()\n"
        "    except ModuleNotFoundError as error: assert 'pip install \"aktis-train[torch]\"' in str(error), error\n"
        "    else: raise AssertionError(call)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)

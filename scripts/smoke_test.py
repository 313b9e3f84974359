"""Try an installed distribution as a person would, where nothing else is installed: ``python smoke_test.py WHEEL``."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path


def library(wheel: str) -> str:
    """aktis_core-0.1.0-py3-none-any.whl is ``aktis``, aktis_tune-... is ``aktis.tune``."""
    name = wheel.split("-")[0].removeprefix("aktis_")
    return "aktis" if name == "core" else f"aktis.{name}"


def check_core() -> None:
    import numpy as np

    import aktis

    assert "site-packages" in str(aktis.__file__), f"this is not the installed one: {aktis.__file__}"

    @aktis.remote
    def total(array: np.ndarray) -> float:
        assert not array.flags.writeable, "a task got a copy"
        return float(array.sum())

    @aktis.remote
    class Counter:
        def __init__(self) -> None:
            self.n = 0

        def add(self, k: int) -> int:
            self.n += k
            return self.n

    with aktis.init(num_cpus=2):
        array = aktis.put(np.ones(1_000_000))
        assert aktis.get([total.remote(array) for _ in range(4)]) == [1e6] * 4
        counter = Counter.remote()
        assert aktis.get([counter.add.remote(1) for _ in range(5)]) == [1, 2, 3, 4, 5]
    assert not aktis.is_initialized()


def check_command_line() -> None:
    command = Path(sys.executable).with_name("aktis")
    done = subprocess.run([str(command), "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    for word in ("status", "memory", "timeline", "list", "stack", "stop"):
        assert word in done.stdout, f"`aktis --help` does not mention {word}:\n{done.stdout}"


def main() -> None:
    module = library(sys.argv[1])
    print(f"{importlib.import_module(module).__name__} from {sys.argv[1]}", flush=True)
    check_core()
    check_command_line()
    print("a task, an actor, a shared array and the command line work")


if __name__ == "__main__":
    main()

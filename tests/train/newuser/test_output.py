"""What programs print while they train."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, time
from aktis import air, train
import aktis

def loop():
    os.write(1, b"from C\\n")  # around sys.stdout, as compiled libraries do
    train.report({})

aktis.init(num_cpus=1)
train.DataParallelTrainer(loop, scaling_config=air.ScalingConfig(num_workers=1), run_config=air.RunConfig(verbose=0)).fit()
"""


def test_what_compiled_code_prints_has_the_name_of_the_trainer_in_front(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in (done.stdout + done.stderr).splitlines() if "from C" in line]
    assert line.startswith("(DataParallelTrainer")

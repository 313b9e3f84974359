"""Run a command that must not outlive its parent, nor leave children behind. A script: no imports from aktis.

Usage: ``python guard.py command ...`` in a session of its own, with a pipe as standard input. When the pipe
closes, because the parent closed it or died in whatever way, the whole process group is killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading


def main() -> int:
    def watch() -> None:
        while os.read(0, 1):
            pass
        os.killpg(os.getpgid(0), signal.SIGKILL)

    command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    threading.Thread(target=watch, daemon=True).start()
    code = command.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    os._exit(main())

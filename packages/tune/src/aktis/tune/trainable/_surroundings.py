"""What user code of a trial sees around it: working directory, environment variables, and where its output goes.

An actor that has its process to itself enters the surroundings of a trial when it starts and leaves them when it stops. Where
one process runs many trials in turn (inline mode), they are entered and left in each call.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from aktis.air.tee import Tee, open_log

__all__ = ["Surroundings"]

logger = logging.getLogger(__name__)


class Surroundings:
    """The surroundings of an actor's trials, one after the other.

    Args:
        stdout, stderr: The actor's tees, which serve all its trials.
    """

    def __init__(self, stdout: Tee, stderr: Tee) -> None:
        self._tees = (stdout, stderr)
        self._logdir = ""
        self._chdir = False
        self._env: Mapping[str, str] = {}
        self._names: tuple[str, str] | None = None
        self._saved_cwd: str | None = None
        self._saved_env: dict[str, str | None] = {}
        self._saved_streams: tuple[Any, Any] | None = None
        self._files: list[TextIO] = []
        self._inside = False

    def prepare(self, logdir: str, chdir: bool, env: Mapping[str, str], log_to_file: tuple[str, str] | None) -> None:
        """Take over what a trial is to see; :meth:`close` the earlier trial's before."""
        self._logdir, self._chdir, self._env, self._names = logdir, chdir, env, log_to_file
        if log_to_file is not None:
            paths = [os.path.join(logdir, name) for name in log_to_file]
            for path in dict.fromkeys(paths):
                self._files.append(open_log(path))
            for tee, file in zip(self._tees, (self._files[0], self._files[-1])):
                tee.file = file

    def enter(self) -> None:
        """Change to what the trial is to see."""
        if self._inside:
            return
        self._inside = True
        env = dict(self._env)
        if self._chdir:
            self._saved_cwd = _cwd()
            os.chdir(self._logdir)
            env.setdefault("TUNE_ORIG_WORKING_DIR", self._saved_cwd or "")
        for name, value in env.items():
            self._saved_env[name] = os.environ.get(name)
            os.environ[name] = value
        if self._names is not None:
            self._saved_streams = (sys.stdout, sys.stderr)
            for tee, stream in zip(self._tees, self._saved_streams):
                tee.stream = stream
            sys.stdout, sys.stderr = self._tees

    def leave(self) -> None:
        """Change back."""
        if not self._inside:
            return
        self._inside = False
        if self._saved_streams is not None:
            if sys.stdout is self._tees[0]:
                sys.stdout = self._saved_streams[0]
            if sys.stderr is self._tees[1]:
                sys.stderr = self._saved_streams[1]
            self._saved_streams = None
        for name, old in self._saved_env.items():
            if old is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = old
        self._saved_env.clear()
        cwd, self._saved_cwd = self._saved_cwd, None
        if cwd is not None:
            try:
                os.chdir(cwd)
            except OSError as error:
                logger.warning("the working directory %s is gone (%s): staying in %s", cwd, error, _cwd())

    def close(self) -> None:
        """The trial is over."""
        self.leave()
        for tee in self._tees:
            tee.file = None
        for file in self._files:
            file.close()
        self._files.clear()
        self._names = None


def _cwd() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None

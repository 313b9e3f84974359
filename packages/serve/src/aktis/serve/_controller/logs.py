"""Where the controller writes: all of it into the session's folder, warnings and errors also where the driver shows them."""

from __future__ import annotations

import logging
from pathlib import Path

FORMAT = "%(asctime)s %(levelname)s controller -- %(message)s"


def set_up(session_dir: str) -> Path:
    """Called once in the controller's process. Returns the file; a controller that comes after a crash goes on with it."""
    folder = Path(session_dir, "logs", "serve")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / "controller.log"
    console = logging.StreamHandler()
    console.setLevel(logging.WARNING)
    logger = logging.getLogger("aktis.serve")
    logger.setLevel(logging.INFO)
    for handler in (logging.FileHandler(path, delay=True), console):
        handler.setFormatter(logging.Formatter(FORMAT))
        logger.addHandler(handler)
    return path

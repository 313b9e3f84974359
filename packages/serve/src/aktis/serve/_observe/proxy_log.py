"""What a proxy has to say, beside the access log: into a file in the session's folder, and warnings to the driver as well."""

from __future__ import annotations

import logging
import os


def set_up(index: int, folder: str) -> str:
    """Writes the logs of this process, which is a proxy. Returns the file."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    path = os.path.join(folder, f"proxy_{index}.log")
    formatter = logging.Formatter(f"%(levelname)s %(asctime)s proxy_{index} %(filename)s:%(lineno)d - %(message)s")
    console = logging.StreamHandler()  # core shows it in the driver
    console.setLevel(logging.WARNING)
    for name, level in (("aktis.serve", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.setLevel(level)
        for old in list(logger.handlers):
            logger.removeHandler(old)
            old.close()
        for handler in (logging.FileHandler(path, delay=True), console):
            handler.setFormatter(formatter)
            logger.addHandler(handler)
        logger.propagate = False
    return path

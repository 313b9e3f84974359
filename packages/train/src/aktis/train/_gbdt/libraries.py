"""Imports of the two libraries, with an error that says how to get them."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["import_library"]


def import_library(name: str) -> Any:
    """The module ``xgboost`` or ``lightgbm``, or one in them.

    Raises:
        ImportError: it is not installed; says what installs it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        library = name.partition(".")[0]
        if error.name != library:
            raise  # it is there, and misses something itself
        without_gpu = ", or xgboost-cpu where there is no GPU" if library == "xgboost" else ""
        raise ImportError(
            f'this needs {library}, which is not installed: pip install "aktis-train[{library}]"{without_gpu}'
        ) from error

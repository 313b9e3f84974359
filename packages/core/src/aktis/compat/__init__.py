"""Programs written for Ray, run as they are: ``import ray`` means Aktis.

::

    python -m aktis.compat script.py [args]        a script
    python -m aktis.compat -m pytest tests         a module
    aktis compat check src/                        what a program uses of Ray, and what of it is here

or, as the first lines of a program::

    import aktis.compat

    aktis.compat.install_as_ray()
"""

from __future__ import annotations

from aktis.compat._errors import (
    CompatError,
    RayAttributeMissingError,
    RayModuleMissingError,
    RayNameMissingError,
    RealRayImportedError,
)
from aktis.compat._install import install_as_ray, is_installed, uninstall

__all__ = [
    "CompatError",
    "RayAttributeMissingError",
    "RayModuleMissingError",
    "RayNameMissingError",
    "RealRayImportedError",
    "install_as_ray",
    "is_installed",
    "uninstall",
]

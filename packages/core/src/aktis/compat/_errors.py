"""What is raised when a program asks for a part of Ray that is not here.

::

    CompatError                  root: ``.ray_name``, ``.nearest`` (a tuple of names that exist), ``.reason``
    ├── RayModuleMissingError    (ModuleNotFoundError) ``import ray.workflow``
    ├── RayNameMissingError      (ImportError) ``from ray.util import absent``
    └── RayAttributeMissingError (AttributeError) ``ray.util.absent``
    RealRayImportedError         (RuntimeError) install_as_ray() came too late: the real Ray is imported already

The first three exist beside each other because Python asks so: an import must raise ImportError, and ``hasattr`` must
see AttributeError.
"""

from __future__ import annotations

__all__ = [
    "CompatError",
    "RayAttributeMissingError",
    "RayModuleMissingError",
    "RayNameMissingError",
    "RealRayImportedError",
]


class CompatError(Exception):
    """A part of Ray's API that Aktis does not have.

    Attributes:
        ray_name: What the program asked for, such as ``"ray.workflow"``.
        nearest: Names that exist and come near, the nearest first; may be empty.
        reason: Why it is not there, where that was decided; otherwise empty.
    """

    ray_name: str = ""
    nearest: tuple[str, ...] = ()
    reason: str = ""


def _message(kind: str, ray_name: str, nearest: tuple[str, ...], reason: str) -> str:
    text = f"{ray_name}: Aktis has no such {kind}"
    if reason:
        text += f". It was left out on purpose: {reason}"
    if nearest:
        text += f". The nearest that exists: {', '.join(nearest)}"
    return text + ". `aktis compat check PATH` lists what a program needs, and what of it is there"


class RayModuleMissingError(CompatError, ModuleNotFoundError):
    """A module of Ray that Aktis does not have."""

    def __init__(self, ray_name: str, nearest: tuple[str, ...] = (), reason: str = "", text: str = "") -> None:
        ModuleNotFoundError.__init__(self, text or _message("module", ray_name, nearest, reason), name=ray_name)
        self.ray_name, self.nearest, self.reason = ray_name, nearest, reason

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.ray_name, self.nearest, self.reason, str(self))


class RayNameMissingError(CompatError, ImportError):
    """A name that a ``from ray... import`` asks for, and that Aktis does not have."""

    def __init__(self, ray_name: str, nearest: tuple[str, ...] = (), reason: str = "") -> None:
        ImportError.__init__(self, _message("name", ray_name, nearest, reason), name=ray_name.rpartition(".")[0])
        self.ray_name, self.nearest, self.reason = ray_name, nearest, reason

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.ray_name, self.nearest, self.reason)


class RayAttributeMissingError(CompatError, AttributeError):
    """An attribute of one of Ray's modules that Aktis does not have."""

    def __init__(self, ray_name: str, nearest: tuple[str, ...] = (), reason: str = "") -> None:
        AttributeError.__init__(self, _message("name", ray_name, nearest, reason))
        self.ray_name, self.nearest, self.reason = ray_name, nearest, reason

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.ray_name, self.nearest, self.reason)


class RealRayImportedError(CompatError, RuntimeError):
    """:func:`aktis.compat.install_as_ray` was called when the real Ray was imported already."""

"""The environment variables that this package reads, all in one place."""

from __future__ import annotations

import os
from pathlib import Path

MIB = 1 << 20
GIB = 1 << 30


def environment_cache() -> Path:
    """``AKTIS_ENV_CACHE``: where pip environments are kept between sessions."""
    chosen = os.environ.get("AKTIS_ENV_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "aktis" / "envs"


def environment_cache_limit() -> int:
    """``AKTIS_ENV_CACHE_BYTES``: the cache of pip environments is cut back to this (10 GiB)."""
    return _whole_number("AKTIS_ENV_CACHE_BYTES", 10 * GIB)


def package_limit() -> int:
    """``AKTIS_MAX_PACKAGE_BYTES``: the largest directory that is shipped to workers (512 MiB)."""
    return _whole_number("AKTIS_MAX_PACKAGE_BYTES", 512 * MIB)


def package_storage_limit() -> int:
    """``AKTIS_PACKAGE_STORAGE_BYTES``: unused packages of a session are removed above this (10 GiB)."""
    return _whole_number("AKTIS_PACKAGE_STORAGE_BYTES", 10 * GIB)


def ignore_gitignore() -> bool:
    """``AKTIS_RUNTIME_ENV_IGNORE_GITIGNORE=1``: ship what .gitignore files exclude, too."""
    return os.environ.get("AKTIS_RUNTIME_ENV_IGNORE_GITIGNORE", "") in ("1", "true", "True")


def _whole_number(name: str, default: int) -> int:
    text = os.environ.get(name)
    if text is None:
        return default
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{name}={text!r} must be a whole number of bytes, such as {default}") from None

"""Runtime environments of config files name code by URIs; core takes local paths. Here one becomes the other."""

from __future__ import annotations

import hashlib
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from aktis.util.files import written_whole

DOWNLOAD_TIMEOUT = 60.0  # seconds without a byte
MAX_DOWNLOAD = 1 << 30  # bytes
_PASSED_ON = ("pkg",)  # packages of the session: core knows them


class CodeNotFoundError(ValueError):
    """An URI of ``working_dir`` or ``py_modules`` that leads to nothing usable."""


def localized(runtime_env: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The environment with local paths in place of URIs; what must be fetched is put into ``folder``."""
    result = dict(runtime_env)
    if result.get("working_dir"):
        result["working_dir"] = local_path("working_dir", result["working_dir"], folder)
    modules = result.get("py_modules")
    if modules:
        items = [modules] if isinstance(modules, str) else modules
        result["py_modules"] = [local_path("py_modules", item, folder) for item in items]
    return result


def local_path(field: str, uri: Any, folder: Path) -> Any:
    """Where the code of ``uri`` is on this machine; local paths and packages of the session as they are."""
    if not isinstance(uri, str) or "://" not in uri:
        return uri
    parts = urllib.parse.urlsplit(uri)
    if parts.scheme in _PASSED_ON:
        return uri
    if parts.scheme == "file":
        path = urllib.parse.unquote(parts.path)
        if parts.netloc not in ("", "localhost") or not os.path.isabs(path):
            raise CodeNotFoundError(f"runtime_env[{field!r}]: {uri!r} must look like file:///absolute/path")
        if not os.path.exists(path):
            raise CodeNotFoundError(f"runtime_env[{field!r}]: {uri!r} does not exist on the machine that serves")
        return path
    if parts.scheme in ("http", "https"):
        return str(_download(field, uri, folder))
    raise CodeNotFoundError(
        f"runtime_env[{field!r}]: {uri!r} cannot be fetched, only https://, http:// and file://; download it, and name "
        "it by file://"
    )


def _download(field: str, uri: str, folder: Path) -> Path:
    """Fetch an archive, each time: what an URI leads to may change. Equal content is one package for core."""
    suffix = Path(urllib.parse.urlsplit(uri).path).suffix
    if suffix not in (".zip", ".whl"):
        raise CodeNotFoundError(f"runtime_env[{field!r}]: {uri!r} must end with .zip or .whl")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = folder / (hashlib.sha256(uri.encode()).hexdigest()[:16] + suffix)
    try:
        with (
            written_whole(target) as temporary,
            open(temporary, "wb") as file,
            urllib.request.urlopen(uri, timeout=DOWNLOAD_TIMEOUT) as answer,
        ):
            length = int(answer.headers.get("Content-Length") or 0)
            if length > MAX_DOWNLOAD:
                raise CodeNotFoundError(f"runtime_env[{field!r}]: {uri!r} has {length} bytes, more than {MAX_DOWNLOAD}")
            shutil.copyfileobj(answer, file)
    except (OSError, urllib.error.URLError) as error:
        raise CodeNotFoundError(f"runtime_env[{field!r}]: {uri!r} cannot be fetched: {error}") from error
    return target

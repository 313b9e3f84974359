"""Local folders in the environment of one task or actor. Ray ships those of a job only, so these travel by themselves.

::

    of_call: a folder ──► zip, named by its content ──► the job's key-value store
                                                              │
    worker with the variable PACKAGES: arrive() ◄─────────────┘  once per node, then on the import path (or the working folder)

The variable is part of Ray's runtime environment: calls with other packages run in other workers.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aktis import _config
from aktis._files import folder_made_whole, keep_the_other, private_folder
from aktis._ray import environment
from aktis._runtime_env import packaging, spec

if TYPE_CHECKING:
    from aktis._ray.engine import RayEngine

PACKAGES = "_AKTIS_RAY_PACKAGES"
_SPACE = "aktis.packages"
_REMOTE = ("gcs://", "s3://", "gs://", "https://", "http://", "hdfs://", "azure://", "abfss://")


def of_call(engine: RayEngine, text: str) -> dict[str, Any]:
    """The environment of a task or actor in Ray's words, from its canonical text."""
    env = environment.translate(spec.loads(text))
    excludes = env.get("excludes", [])
    rows = []
    if "working_dir" in env and not env["working_dir"].startswith(_REMOTE):
        rows.append(("working_dir", _send(engine, env.pop("working_dir"), excludes, as_module=False)))
    modules = env.pop("py_modules", [])
    remote = [item for item in modules if item.startswith(_REMOTE)]
    rows += [("py_modules", _send(engine, item, excludes, as_module=True)) for item in modules if item not in remote]
    if remote:
        env["py_modules"] = remote
    if rows:
        env["env_vars"] = {**env.get("env_vars", {}), PACKAGES: json.dumps(rows)}
        env.pop("excludes", None)
    return env


def _send(engine: RayEngine, item: str, excludes: list[str], as_module: bool) -> str:
    """Put a folder, module or archive into the store, unless it is there; returns its name."""
    path = Path(item)
    data = path.read_bytes() if path.suffix in packaging.ARCHIVES else _zip(path, excludes, as_module)
    limit = _config.read("MAX_PACKAGE_BYTES")
    if len(data) > limit:
        raise ValueError(
            f"{item} is {len(data) / 1e6:.0f} MB when packed, and at most {limit / 1e6:.0f} MB travel: leave out what is not "
            "needed with runtime_env={'excludes': [...]}"
        )
    name = hashlib.blake2b(data, digest_size=16).hexdigest()
    if not engine.request("kv_keys", namespace=_SPACE, prefix=name.encode()):
        engine.request("kv_put", namespace=_SPACE, key=name.encode(), value=data, overwrite=False)
    return name


def _zip(path: Path, excludes: list[str], as_module: bool) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        if path.is_dir():
            prefix = f"{path.name}/" if as_module else ""
            for entry in packaging.scan(path, excludes):
                if entry.kind != "directory" and os.path.isfile(entry.path):
                    archive.writestr(zipfile.ZipInfo(prefix + entry.name), Path(entry.path).read_bytes())
        else:
            archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes())
    return buffer.getvalue()


def arrive(engine: RayEngine) -> None:
    """In a worker, before anything of the user is imported: make what its environment names importable."""
    for use, name in json.loads(os.environ.get(PACKAGES) or "[]"):
        folder = str(_unpacked(engine, name))
        if folder not in sys.path:
            sys.path.insert(0, folder)
        if use == "working_dir":
            os.chdir(folder)


def _unpacked(engine: RayEngine, name: str) -> Path:
    folder = private_folder(Path(tempfile.gettempdir()) / f"aktis-packages-{os.getuid()}") / name
    if folder.is_dir():
        return folder
    data = engine.request("kv_get", namespace=_SPACE, key=name.encode())
    if data is None:
        raise RuntimeError(f"package {name} of this call's runtime_env is gone: its driver has ended")
    # Another worker of this node may be faster.
    with folder_made_whole(folder, keep_the_other) as building, zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(building)
    return folder

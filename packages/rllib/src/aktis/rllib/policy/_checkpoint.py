"""Policies on disk: numbers as JSON, arrays as npz, and nothing pickled but the class, spaces and configuration.

policy.json        everything but the arrays: scalars, exploration, time, connectors
weights.npz        parameters, by name
optimizer.npz      what optimizers keep
filters.npz        every other array of the state
spec.pkl           how to make the policy: class, spaces, configuration (it may hold functions)
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import zipfile
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import cloudpickle
import numpy as np

from aktis.util.files import written_whole

STATE_FILE = "policy.json"
INFO_FILE = "rllib_checkpoint.json"
VERSION = 1

# Which file the arrays of a part of the state go to; the others to filters.npz.
_FILES = {"weights": "weights.npz", "_optimizer_variables": "optimizer.npz"}
_REST = "filters.npz"


def write_policy(directory: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write the state of a policy into a directory (made if there is none); each file whole or not at all.

    Args:
        directory: Where to.
        state: What `Policy.get_state()` gave.
    """
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, dict[str, Any]] = {_REST: {}, **{file: {} for file in _FILES.values()}}
    encoded = {
        key: encode(value, arrays[_FILES.get(key, _REST)], key) for key, value in state.items() if key != "policy_spec"
    }
    for file, found in arrays.items():
        write_arrays(folder / file, found)
    with whole_file(folder / "spec.pkl") as out:
        cloudpickle.dump(state.get("policy_spec"), out)
    write_json(folder / STATE_FILE, {"version": VERSION, "state": encoded})
    write_json(folder / INFO_FILE, {"type": "Policy", "checkpoint_version": str(VERSION)})


def read_policy(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """The state that `write_policy` wrote.

    Raises:
        ValueError: There is none, or one of a later version.
    """
    folder = Path(directory)
    if not is_policy(folder):
        raise ValueError(f"There is no policy in {str(folder)!r}: it has no {STATE_FILE}.")
    with reading(folder / STATE_FILE) as file:
        content = json.loads(file.read_text())
        content = {"version": int(content["version"]), "state": dict(content["state"])}
    if content["version"] > VERSION:
        raise ValueError(f"The policy in {str(folder)!r} was written by a later version ({content['version']}).")
    arrays = {file: read_arrays(folder / file) for file in (_REST, *_FILES.values())}
    state = {}
    for key, value in content["state"].items():
        with reading(folder / _FILES.get(key, _REST)) as file:
            state[key] = decode(value, arrays[file.name])
    with reading(folder / "spec.pkl") as file:
        spec = cloudpickle.loads(file.read_bytes())
    return state if spec is None else {**state, "policy_spec": spec}


def is_policy(directory: str | os.PathLike[str]) -> bool:
    """Whether a policy was written into this directory."""
    return (Path(directory) / STATE_FILE).is_file()


def read_policies(
    directory: str | os.PathLike[str], policy_ids: Container[str] | None = None
) -> dict[str, dict[str, Any]]:
    """States of the policies in an algorithm's checkpoint, by id.

    Raises:
        ValueError: It is no checkpoint, or a policy that is asked for is not in it.
    """
    folder = Path(directory) / "policies"
    found = sorted(path for path in folder.iterdir() if is_policy(path)) if folder.is_dir() else []
    if not found:
        raise ValueError(
            f"{str(directory)!r} is no checkpoint of a policy or an algorithm: it has neither {STATE_FILE} nor policies/."
        )
    states = {path.name: read_policy(path) for path in found if policy_ids is None or path.name in policy_ids}
    if isinstance(policy_ids, list | tuple | set | frozenset):
        missing = sorted(set(policy_ids) - set(states))
        if missing:
            raise ValueError(
                f"The checkpoint {str(directory)!r} has no policies {missing}; it has {[p.name for p in found]}."
            )
    return states


# ---- values


def encode(value: Any, arrays: dict[str, Any], path: str = "") -> Any:
    """A value as JSON; arrays are put into `arrays`, under their path. What is neither is pickled into the text.

    Args:
        value: Numbers, text, arrays, and dicts, lists and tuples of them.
        arrays: Where arrays go.
        path: Names this value.
    """
    if value is None or (isinstance(value, bool | int | str) and not isinstance(value, np.generic)):
        return value
    if isinstance(value, float) and not isinstance(value, np.generic):
        return value if np.isfinite(value) else {"__float__": repr(value)}
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufc":
        while path in arrays:  # keys with slashes may lead to the same path
            path += "~"
        arrays[path] = np.asarray(value)
        return {"__scalar__" if isinstance(value, np.generic) else "__array__": path}
    if type(value) is dict and all(isinstance(key, str) and not key.startswith("__") for key in value):
        return {key: encode(inner, arrays, f"{path}/{key}") for key, inner in value.items()}
    if type(value) is dict:
        pairs = [(encode(key, {}), inner) for key, inner in value.items()]
        return {"__dict__": [[key, encode(inner, arrays, f"{path}/{i}")] for i, (key, inner) in enumerate(pairs)]}
    if type(value) in (list, tuple):
        inside = [encode(inner, arrays, f"{path}/{i}") for i, inner in enumerate(value)]
        return inside if isinstance(value, list) else {"__tuple__": inside}
    return {"__pickle__": base64.b64encode(cloudpickle.dumps(value)).decode()}


def decode(value: Any, arrays: Mapping[str, Any]) -> Any:
    """What `encode` was given."""
    if isinstance(value, list):
        return [decode(inner, arrays) for inner in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        (key, inner), *_ = value.items()
        if key == "__float__":
            return float(inner)
        if key == "__array__":
            return arrays[inner]
        if key == "__scalar__":
            return arrays[inner][()]
        if key == "__dict__":
            return {decode(k, {}): decode(v, arrays) for k, v in inner}
        if key == "__tuple__":
            return tuple(decode(item, arrays) for item in inner)
        if key == "__pickle__":
            return cloudpickle.loads(base64.b64decode(inner))
    return {key: decode(inner, arrays) for key, inner in value.items()}


# ---- files


@contextlib.contextmanager
def reading(path: Path) -> Iterator[Path]:
    """Whatever goes wrong inside is told of as what is wrong with this file.

    Raises:
        ValueError: It is not there, damaged, or needs what cannot be imported here.
    """
    try:
        yield path
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing: the checkpoint is damaged. Use another one") from error
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{path} needs what cannot be imported here ({type(error).__name__}: {error})") from error
    except Exception as error:  # of JSON, of zip files, of pickles: damaged bytes may lead to anything
        if isinstance(error, ValueError) and str(error).startswith(str(path)):
            raise
        what = "an array in it is missing" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} is damaged ({what}): use another checkpoint") from error


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write, which takes its name when everything is in it."""
    with written_whole(path) as temporary, open(temporary, "wb") as out:
        yield out


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, for people to read too."""
    with whole_file(path) as out:
        out.write(json.dumps(value, indent=1, allow_nan=False).encode())


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays by name, as `numpy.load` reads them (any name goes, also one with slashes)."""
    with whole_file(path) as out, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asarray(array), allow_pickle=False)


def read_arrays(path: Path) -> dict[str, Any]:
    """What `write_arrays` wrote; nothing where there is no file."""
    if not path.is_file():
        return {}
    with reading(path), open(path, "rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError("it is no archive of arrays")
        file.seek(0)
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

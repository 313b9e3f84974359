"""Writes the checkpoints in ``ray23/`` again, with Ray 2.3.1: ``python make_ray_checkpoints.py ray23``.

Run it where Ray 2.3.1 with its data and tune extras is installed; what it writes is in the repository.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys

import numpy as np

_process_class = dataclasses._process_class


def _with_hash(cls, *args, **kwargs):
    """Python 3.11 refuses defaults without a hash, of which ray.data 2.3 has one."""
    made = _process_class(cls, *args, **kwargs)
    if made.__module__.startswith("ray.") and made.__hash__ is None:
        made.__hash__ = object.__hash__
    return made


dataclasses._process_class = _with_hash

from ray.air import Checkpoint  # noqa: E402
from ray.data.preprocessors import StandardScaler  # noqa: E402


class NamedCheckpoint(Checkpoint):
    _SERIALIZED_ATTRS = (*Checkpoint._SERIALIZED_ATTRS, "label")
    label = ""


def main(out: str) -> None:
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)

    values = {"epoch": 3, "weights": np.arange(6.0).reshape(2, 3), "nested": {"t": (1, 2), 4: {5}}}
    path = Checkpoint.from_dict(values).to_directory(f"{out}/from_dict")
    os.makedirs(f"{path}/logs")
    with open(f"{path}/logs/extra.txt", "w") as file:
        file.write("beside\n")

    source = f"{out}/source"
    os.makedirs(f"{source}/sub")
    with open(f"{source}/model.txt", "w") as file:
        file.write("model\n")
    with open(f"{source}/sub/w.bin", "wb") as file:
        file.write(b"\x00\x01")
    values = Checkpoint.from_directory(source).to_dict()
    values["step"] = 7
    Checkpoint.from_dict(values).to_directory(f"{out}/from_directory")
    shutil.rmtree(source)

    checkpoint = Checkpoint.from_dict({"a": 1})
    checkpoint.set_preprocessor(StandardScaler(["x"]))
    checkpoint.to_directory(f"{out}/with_preprocessor")

    named = NamedCheckpoint.from_dict({"a": 1})
    named.label = "mine"
    named.to_directory(f"{out}/subclass")

    with open(f"{out}/dict.bytes", "wb") as file:
        file.write(Checkpoint.from_dict({"epoch": 3, "weights": np.arange(3)}).to_bytes())
    with open(f"{out}/directory.bytes", "wb") as file:
        file.write(Checkpoint.from_directory(f"{out}/from_directory").to_bytes())


if __name__ == "__main__":
    main(sys.argv[1])

"""Arrays in HDF5 files."""

from __future__ import annotations

from typing import Any


def read_arrays(path: str) -> dict[str, Any]:
    """Every data set of a file, by its name with dots between groups.

    Raises:
        ImportError: h5py is not installed.
    """
    try:
        import h5py  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as e:
        raise ImportError("Reading weights from an HDF5 file needs h5py: pip install h5py") from e
    arrays: dict[str, Any] = {}

    def keep(name: str, entry: Any) -> None:
        if isinstance(entry, h5py.Dataset):
            arrays[name.replace("/", ".")] = entry[()]

    with h5py.File(path, "r") as file:
        file.visititems(keep)
    return arrays

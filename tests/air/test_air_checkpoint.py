"""Checkpoints in all their forms: nothing is lost between them."""

from __future__ import annotations

import os
import pickle
import shutil
import stat
import sys
import tempfile
import types
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from aktis.air.checkpoint import Checkpoint
from aktis.air.exceptions import CheckpointContentError, CheckpointFormatError, CheckpointNotFoundError

Point = namedtuple("Point", "x y")


class Named(Checkpoint):
    _SERIALIZED_ATTRS = ("label", "array")


class MorelyNamed(Named):
    pass


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    yield
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


def tree(path: str | os.PathLike[str]) -> dict[str, bytes | None]:
    """Files and empty folders below a path."""
    top = Path(path)
    return {
        str(entry.relative_to(top)): None if entry.is_dir() else entry.read_bytes()
        for entry in sorted(top.rglob("*"))
        if entry.is_file() or not any(entry.iterdir())
    }


def through_directory(checkpoint: Checkpoint, tmp_path: Path) -> Checkpoint:
    return Checkpoint.from_directory(checkpoint.to_directory(tmp_path / os.urandom(4).hex()))


def through_bytes(checkpoint: Checkpoint, tmp_path: Path) -> Checkpoint:
    return Checkpoint.from_bytes(checkpoint.to_bytes())


def through_dict(checkpoint: Checkpoint, tmp_path: Path) -> Checkpoint:
    return Checkpoint.from_dict(checkpoint.to_dict())


def through_uri(checkpoint: Checkpoint, tmp_path: Path) -> Checkpoint:
    return Checkpoint.from_uri(checkpoint.to_uri(f"memory://checkpoints/{os.urandom(4).hex()}"))


def through_local_uri(checkpoint: Checkpoint, tmp_path: Path) -> Checkpoint:
    return Checkpoint.from_uri(checkpoint.to_uri(f"file://{tmp_path}/with space {os.urandom(4).hex()}"))


def through_pickle(checkpoint: Checkpoint, tmp_path: Path) -> Checkpoint:
    found: Checkpoint = pickle.loads(pickle.dumps(checkpoint))
    return found


TRIPS = [through_directory, through_bytes, through_dict, through_uri, through_local_uri, through_pickle]
Trip = Callable[[Checkpoint, Path], Checkpoint]

VALUES: dict[Any, Any] = {
    "int": 1,
    "big": 1 << 5000,
    "float": 0.1,
    "text": "ä\0\ud800",
    "none": None,
    "flags": [True, False],
    "tuple": (1, (2, [3])),
    "sets": [{1, 2}, frozenset({("a", 1)}), set()],
    "bytes": [b"\x00\xff", bytearray(b"x"), b"long" * 1000],
    "complex": 1 + 2j,
    "infinite": [float("inf"), -float("inf")],
    "nested": {1: {"$": "a tag of ours"}, None: 2, (1, 2): 3},
    "ordered": OrderedDict([("b", 1), ("a", 2)]),
    "scalars": [np.float32(1.5), np.int8(-3), np.bool_(True), np.datetime64("2020-01-01"), np.str_("x")],
    "point": Point(1, 2),
    "path": Path("/a/b"),
    "range": range(3),
    "class": OrderedDict,
    7: "a key that is no text",
}

ARRAYS = {
    "matrix": np.arange(6.0).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "scalar": np.array(3),
    "empty": np.zeros((0, 3), np.float32),
    "half": np.ones(3, np.float16),
    "flags": np.array([True, False]),
    "text": np.array(["a", "bcd"]),
    "bytes": np.array([b"a", b"bcd"]),
    "times": np.array(["2020-01-01", "NaT"], "datetime64[s]"),
    "complex": np.array([1 + 2j]),
    "big endian": np.arange(3, dtype=">i4"),
    "objects": np.array([{"a": 1}, None], dtype=object),
    "records": np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    "view": np.arange(10)[::2],
}


@pytest.mark.parametrize("trip", TRIPS)
def test_values_survive_every_trip(trip: Trip, tmp_path: Path) -> None:
    found = trip(Checkpoint.from_dict(VALUES), tmp_path).to_dict()
    assert found == VALUES
    assert list(found) == list(VALUES)
    for name, value in VALUES.items():
        assert type(found[name]) is type(value), name
    assert [type(value) for value in found["scalars"]] == [type(value) for value in VALUES["scalars"]]
    assert [type(value) for value in found["bytes"]] == [bytes, bytearray, bytes]
    assert type(found["flags"][0]) is bool


@pytest.mark.parametrize("trip", TRIPS)
def test_arrays_survive_every_trip(trip: Trip, tmp_path: Path) -> None:
    found = trip(Checkpoint.from_dict(ARRAYS), tmp_path).to_dict()
    for name, array in ARRAYS.items():
        if trip is not through_pickle:  # which makes big endian arrays native
            assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        np.testing.assert_array_equal(found[name], array, err_msg=name)
        found[name][...] = array  # they can be written to


def test_nan_and_the_sign_of_zero_survive(tmp_path: Path) -> None:
    found = through_directory(Checkpoint.from_dict({"v": [float("nan"), -0.0, complex("nan")]}), tmp_path).to_dict()
    assert np.isnan(found["v"][0])
    assert np.copysign(1, found["v"][1]) == -1
    assert np.isnan(found["v"][2])


def test_containers_in_a_circle_survive(tmp_path: Path) -> None:
    loop: list[Any] = [1]
    loop.append({"loop": loop})
    found = through_directory(Checkpoint.from_dict({"loop": loop, "plain": [1]}), tmp_path).to_dict()
    assert found["loop"][1]["loop"] is found["loop"]
    assert found["plain"] == [1]


def test_one_array_in_two_places_stays_one(tmp_path: Path) -> None:
    array = np.arange(1000.0)
    path = Checkpoint.from_dict({"a": array, "b": {"c": array}}).to_directory(tmp_path / "x")
    found = Checkpoint.from_directory(path).to_dict()
    assert found["a"] is found["b"]["c"]
    assert sum(len(content or b"") for content in tree(path).values()) < 1.5 * array.nbytes


class TestOnDisk:
    def test_plain_values_are_not_pickled(self, tmp_path: Path) -> None:
        plain = {"a": 1, "t": (1, 2), "b": b"x" * 5000, "array": np.ones(3), 3: {4}, "text": np.array(["x"])}
        path = Checkpoint.from_dict(plain).to_directory(tmp_path / "x")
        names = set(tree(path))
        assert names == {
            ".aktis_checkpoint/checkpoint.json",
            ".aktis_checkpoint/data.json",
            ".aktis_checkpoint/data.safetensors",
        }
        assert b'"pickled": []' in tree(path)[".aktis_checkpoint/checkpoint.json"]  # type: ignore[operator]

    def test_pickles_are_named(self, tmp_path: Path) -> None:
        path = Checkpoint.from_dict({"a": Point(1, 2)}).to_directory(tmp_path / "x")
        assert b'"data.pkl"' in tree(path)[".aktis_checkpoint/checkpoint.json"]  # type: ignore[operator]
        # A pickle that is not declared is never loaded, even if something refers to it.
        manifest = Path(path) / ".aktis_checkpoint/checkpoint.json"
        import json

        declared = json.loads(manifest.read_text())
        declared["pickled"] = []
        manifest.write_text(json.dumps(declared))
        with pytest.raises(CheckpointFormatError, match="does not declare"):
            Checkpoint.from_directory(path).to_dict()

    def test_the_safetensors_are_real(self, tmp_path: Path) -> None:
        from safetensors.numpy import load_file

        path = Checkpoint.from_dict(
            {"a": np.arange(3), "b": np.ones((2, 2), np.float16), "c": np.ones(1, bool)}
        ).to_directory(tmp_path / "x")
        found = load_file(f"{path}/.aktis_checkpoint/data.safetensors")
        assert [found[name].tolist() for name in ("a0", "a1", "a2")] == [[0, 1, 2], [[1, 1], [1, 1]], [True]]

    def test_the_same_dict_gives_the_same_files(self, tmp_path: Path) -> None:
        values = {"a": np.ones(3), "s": {3, 1, 2}}
        first = Checkpoint.from_dict(values).to_directory(tmp_path / "1")
        second = Checkpoint.from_dict(values).to_directory(tmp_path / "2")
        assert tree(first) == tree(second)

    def test_what_cannot_be_stored_is_named(self, tmp_path: Path) -> None:
        import threading

        with pytest.raises(
            CheckpointContentError, match=r"\['model'\]\['locks'\]\[1\] of the checkpoint, of type _thread"
        ):
            Checkpoint.from_dict({"model": {"locks": [1, threading.Lock()]}}).to_directory(tmp_path / "x")
        assert not (tmp_path / "x").exists()
        assert list(tmp_path.iterdir()) == []

    def test_what_cannot_be_loaded_says_why(self, tmp_path: Path) -> None:
        module = types.ModuleType("only_here_for_a_moment")
        module.Thing = type("Thing", (), {"__module__": module.__name__})  # type: ignore[attr-defined]
        sys.modules[module.__name__] = module
        path = Checkpoint.from_dict({"a": module.Thing()}).to_directory(tmp_path / "x")
        del sys.modules[module.__name__]
        with pytest.raises(CheckpointContentError, match="only_here_for_a_moment.*install what they were made with"):
            Checkpoint.from_directory(path).to_dict()

    def test_values_are_replaced_as_a_whole(self, tmp_path: Path) -> None:
        path = Checkpoint.from_dict({"a": Point(1, 2), "b": np.ones(3)}).to_directory(tmp_path / "x")
        (tmp_path / "x" / "extra.txt").write_text("mine")
        Checkpoint.from_dict({"c": 1}).to_directory(path)
        assert set(tree(path)) == {".aktis_checkpoint/checkpoint.json", ".aktis_checkpoint/data.json", "extra.txt"}

    def test_permissions_are_those_of_other_folders(self, tmp_path: Path) -> None:
        path = Checkpoint.from_dict({"a": 1}).to_directory(tmp_path / "x")
        (tmp_path / "y").mkdir()
        assert stat.S_IMODE(os.stat(path).st_mode) == stat.S_IMODE(os.stat(tmp_path / "y").st_mode)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    (path / "sub" / "deep").mkdir(parents=True)
    (path / "empty").mkdir()
    (path / "model.bin").write_bytes(os.urandom(1000))
    (path / "sub" / "deep" / "file").write_text("deep")
    (path / ".hidden").write_text("hidden")
    (path / "ünïcode name").write_text("x")
    script = path / "run.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    return path


class TestDirectories:
    @pytest.mark.parametrize("trip", TRIPS)
    def test_files_survive_every_trip(self, trip: Trip, directory: Path, tmp_path: Path) -> None:
        before = tree(directory)
        checkpoint = trip(Checkpoint.from_directory(directory), tmp_path)
        assert tree(checkpoint.to_directory(tmp_path / "out")) == before
        again = trip(trip(checkpoint, tmp_path), tmp_path)
        assert tree(again.to_directory(tmp_path / "again")) == before
        assert tree(directory) == before

    def test_modes_and_inner_links_survive(self, directory: Path, tmp_path: Path) -> None:
        (directory / "latest").symlink_to("sub/deep/file")
        (tmp_path / "outside").write_text("outside")
        (directory / "followed").symlink_to(tmp_path / "outside")
        for trip in (through_directory, through_bytes, through_pickle):
            out = Path(trip(Checkpoint.from_directory(directory), tmp_path).to_directory(tmp_path / trip.__name__))
            assert os.readlink(out / "latest") == "sub/deep/file"
            assert not (out / "followed").is_symlink()
            assert (out / "followed").read_text() == "outside"
            assert os.access(out / "run.sh", os.X_OK)
            assert not os.access(out / "model.bin", os.X_OK)

    def test_a_link_to_nothing_is_named(self, directory: Path, tmp_path: Path) -> None:
        (directory / "dangling").symlink_to("nowhere")
        with pytest.raises(CheckpointContentError, match=r"dangling is a link to nowhere"):
            Checkpoint.from_directory(directory).to_directory(tmp_path / "out")

    def test_a_link_in_a_circle_is_named(self, directory: Path, tmp_path: Path) -> None:
        (directory / "sub" / "up").symlink_to(tmp_path)
        with pytest.raises(CheckpointContentError, match="folder that it is in"):
            Checkpoint.from_directory(directory).to_directory(tmp_path.parent / f"{tmp_path.name}-out")

    @pytest.mark.parametrize("trip", TRIPS)
    def test_files_beside_a_dict_survive(self, trip: Trip, tmp_path: Path) -> None:
        path = Path(Checkpoint.from_dict({"a": 1}).to_directory(tmp_path / "x"))
        (path / "sub").mkdir()
        (path / "sub" / "extra").write_text("extra")
        checkpoint = trip(Checkpoint.from_directory(path), tmp_path)
        assert checkpoint.to_dict()["a"] == 1
        assert tree(checkpoint.to_directory(tmp_path / "out")) == tree(path)

    @pytest.mark.parametrize("trip", TRIPS)
    def test_values_added_to_a_directory_survive(self, trip: Trip, directory: Path, tmp_path: Path) -> None:
        values = Checkpoint.from_directory(directory).to_dict()
        values["step"] = (1, np.ones(2))
        checkpoint = trip(Checkpoint.from_dict(values), tmp_path)
        found = checkpoint.to_dict()
        assert found["step"][0] == 1
        assert found["step"][1].tolist() == [1, 1]
        out = tree(checkpoint.to_directory(tmp_path / "out"))
        assert {name: content for name, content in out.items() if not name.startswith(".aktis")} == tree(directory)

    def test_files_that_are_there_stay(self, directory: Path, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine").write_text("mine")
        Checkpoint.from_directory(directory).to_directory(tmp_path / "out")
        assert tree(tmp_path / "out") == {**tree(directory), "mine": b"mine"}

    @pytest.mark.parametrize("form", ["local", "uri", "dict"])
    def test_any_form_goes_into_a_directory_with_files(self, form: str, directory: Path, tmp_path: Path) -> None:
        checkpoint = Checkpoint.from_directory(directory)
        if form == "uri":
            checkpoint = through_uri(checkpoint, tmp_path)
        elif form == "dict":
            checkpoint = through_dict(checkpoint, tmp_path)
        out = Path(Checkpoint.from_dict({"old": 1}).to_directory(tmp_path / "out"))
        (out / "mine").write_text("mine")
        (out / "model.bin").write_text("older")
        assert checkpoint.to_directory(out) == str(out)
        assert tree(out) == {**tree(directory), "mine": b"mine"}
        checkpoint.set_preprocessor(Scaler(2))
        checkpoint.to_directory(out)
        assert Checkpoint.from_directory(out).get_preprocessor().factor == 2

    def test_changes_can_be_written_into_its_own_directory(self, directory: Path) -> None:
        before = tree(directory)
        checkpoint = Checkpoint.from_directory(directory)
        checkpoint.set_preprocessor(Scaler(2))
        checkpoint.to_directory(directory)
        again = Checkpoint.from_directory(directory)
        assert again.get_preprocessor().factor == 2
        again.set_preprocessor(Scaler(3))
        again.to_directory(directory)
        assert Checkpoint.from_directory(directory).get_preprocessor().factor == 3
        assert {name: content for name, content in tree(directory).items() if not name.startswith(".aktis")} == before

    def test_its_own_directory_is_not_copied(self, directory: Path) -> None:
        checkpoint = Checkpoint.from_directory(directory)
        assert checkpoint.to_directory(directory) == str(directory)
        with checkpoint.as_directory() as path:
            assert path == str(directory)
        assert checkpoint.path == str(directory)
        assert checkpoint.uri == f"file://{directory}"
        assert checkpoint.get_internal_representation() == ("local_path", str(directory))

    def test_a_pickled_directory_ships_its_files(self, directory: Path, tmp_path: Path) -> None:
        before = tree(directory)
        data = pickle.dumps(Checkpoint.from_directory(directory))
        shutil.rmtree(directory)
        checkpoint = pickle.loads(data)
        assert tree(checkpoint.to_directory(tmp_path / "out")) == before
        assert pickle.loads(pickle.dumps(checkpoint)).to_dict().keys() == {"fs_checkpoint"}

    def test_an_empty_directory_is_a_checkpoint(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        checkpoint = Checkpoint.from_directory(tmp_path / "empty")
        for trip in (through_directory, through_bytes, through_dict, through_pickle, through_uri):
            assert tree(trip(checkpoint, tmp_path).to_directory(tmp_path / trip.__name__)) == {}

    def test_a_hostile_archive_stays_inside(self, tmp_path: Path) -> None:
        import io
        import tarfile

        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            info = tarfile.TarInfo("../outside")
            info.size = 1
            archive.addfile(info, io.BytesIO(b"x"))
        with pytest.raises(CheckpointFormatError, match="outside"):
            Checkpoint.from_dict({"fs_checkpoint": buffer.getvalue()}).to_directory(tmp_path / "in")
        assert not (tmp_path / "outside").exists()
        with pytest.raises(CheckpointFormatError):
            Checkpoint.from_bytes(buffer.getvalue())


class TestSubclasses:
    @pytest.mark.parametrize("trip", TRIPS)
    @pytest.mark.parametrize("form", ["dict", "directory"])
    def test_class_and_attributes_survive_every_trip(
        self, trip: Trip, form: str, directory: Path, tmp_path: Path
    ) -> None:
        made = MorelyNamed.from_dict({"a": 1}) if form == "dict" else MorelyNamed.from_directory(directory)
        made.label = ("mine", 1)  # type: ignore[attr-defined]
        made.array = np.arange(3)  # type: ignore[attr-defined]
        checkpoint: Any = trip(trip(made, tmp_path), tmp_path)
        assert type(checkpoint) is MorelyNamed
        assert checkpoint.label == ("mine", 1)
        assert checkpoint.array.tolist() == [0, 1, 2]
        assert tree(checkpoint.to_directory(tmp_path / "out")) == tree(made.to_directory(tmp_path / "made"))

    def test_the_dict_of_a_subclass_is_like_any_other(self) -> None:
        values = Named.from_dict({"a": 1}).to_dict()
        assert values == {"a": 1}
        assert list(values) == ["a"]
        assert type(Checkpoint.from_dict(pickle.loads(pickle.dumps(values)))) is Named
        assert type(Checkpoint.from_dict({**values})) is Checkpoint

    @pytest.mark.parametrize("trip", TRIPS)
    def test_a_class_that_cannot_be_imported_survives(self, trip: Trip, tmp_path: Path) -> None:
        class Local(Checkpoint):
            def double(self) -> int:
                return 2 * int(self.to_dict()["a"])

        if trip is through_pickle:
            import cloudpickle

            checkpoint: Any = cloudpickle.loads(cloudpickle.dumps(Local.from_dict({"a": 2})))
        else:
            checkpoint = trip(Local.from_dict({"a": 2}), tmp_path)
        assert type(checkpoint).__name__ == "Local"
        assert checkpoint.double() == 4

    def test_the_more_special_class_wins(self, tmp_path: Path) -> None:
        path = Named.from_dict({"a": 1}).to_directory(tmp_path / "x")
        assert type(Checkpoint.from_directory(path)) is Named
        assert type(MorelyNamed.from_directory(path)) is MorelyNamed
        assert type(Named.from_directory(Checkpoint.from_dict({"a": 1}).to_directory(tmp_path / "y"))) is Named

    def test_from_another_checkpoint(self, directory: Path, tmp_path: Path) -> None:
        made = Named.from_dict({"a": 1})
        made.label = "x"  # type: ignore[attr-defined]
        assert type(Checkpoint.from_checkpoint(made)) is Checkpoint
        other: Any = MorelyNamed.from_checkpoint(made)
        assert type(other) is MorelyNamed
        assert (other.label, other.to_dict()) == ("x", {"a": 1})
        # The class goes along, although the directory that it came from says nothing of it.
        converted = Named.from_checkpoint(Checkpoint.from_directory(directory))
        assert type(through_directory(converted, tmp_path)) is Named
        assert tree(directory).keys() == {"model.bin", "sub/deep/file", ".hidden", "ünïcode name", "run.sh", "empty"}

    def test_a_class_that_is_gone_is_no_obstacle(self, tmp_path: Path) -> None:
        path = Path(Named.from_dict({"a": 1}).to_directory(tmp_path / "x"))
        manifest = path / ".aktis_checkpoint/checkpoint.json"
        manifest.write_text(manifest.read_text().replace(":Named", ":Gone"))
        assert Checkpoint.from_directory(path).to_dict() == {"a": 1}


class Scaler:
    def __init__(self, factor: int) -> None:
        self.factor = factor


class TestWhatGoesAlong:
    @pytest.mark.parametrize("trip", TRIPS)
    @pytest.mark.parametrize("form", ["dict", "directory"])
    def test_preprocessors_survive_every_trip(self, trip: Trip, form: str, directory: Path, tmp_path: Path) -> None:
        made = Checkpoint.from_dict({"a": 1}) if form == "dict" else Checkpoint.from_directory(directory)
        assert made.get_preprocessor() is None
        made.set_preprocessor(Scaler(3))
        before = tree(directory)
        checkpoint = trip(trip(made, tmp_path), tmp_path)
        assert checkpoint.get_preprocessor().factor == 3
        if form == "directory":
            assert tree(directory) == before
            assert checkpoint.to_dict().keys() == {"fs_checkpoint", "_preprocessor"}
        else:
            assert checkpoint.to_dict()["a"] == 1

    def test_the_preprocessor_of_a_dict_checkpoint_does_not_reach_its_source(self) -> None:
        values = {"a": 1}
        Checkpoint.from_dict(values).set_preprocessor(Scaler(1))
        assert values == {"a": 1}

    @pytest.mark.parametrize("trip", TRIPS)
    @pytest.mark.parametrize("form", ["dict", "directory"])
    def test_metadata_survive_every_trip(self, trip: Trip, form: str, directory: Path, tmp_path: Path) -> None:
        made = Checkpoint.from_dict({"a": 1}) if form == "dict" else Checkpoint.from_directory(directory)
        assert made.get_metadata() == {}
        made.set_metadata({"by": "me"})
        made.update_metadata({"epoch": 3})
        checkpoint = trip(trip(made, tmp_path), tmp_path)
        assert checkpoint.get_metadata() == {"by": "me", "epoch": 3}
        checkpoint.set_metadata({"only": 1})
        assert through_directory(checkpoint, tmp_path).get_metadata() == {"only": 1}
        assert checkpoint.to_dict().keys() == ({"a"} if form == "dict" else {"fs_checkpoint"})

    def test_metadata_of_newer_rays_are_read(self, directory: Path) -> None:
        (directory / ".metadata.json").write_text('{"lr": 0.1}')
        assert Checkpoint(str(directory)).get_metadata() == {"lr": 0.1}

    @pytest.mark.parametrize("metadata", [3, {"a": object()}, {"a": {1, 2}}])
    def test_metadata_are_json(self, metadata: Any) -> None:
        with pytest.raises(ValueError, match="metadata"):
            Checkpoint.from_dict({"a": 1}).set_metadata(metadata)


class TestMisuse:
    @pytest.mark.parametrize(
        "make",
        [
            lambda: Checkpoint(),
            lambda: Checkpoint.from_dict({}),
            lambda: Checkpoint.from_bytes(b""),
            lambda: Checkpoint.from_directory(""),
            lambda: Checkpoint.from_uri(""),
            lambda: Checkpoint("/tmp", data_dict={"a": 1}),
            lambda: Checkpoint.from_uri("/tmp"),
            lambda: Checkpoint.from_dict({"a": 1}).to_uri("/tmp"),
            lambda: Checkpoint.from_uri("nonsense://x"),
            lambda: Checkpoint.from_bytes(b"hello"),
            lambda: Checkpoint.from_bytes(b"\x80hello"),
        ],
    )
    def test_bad_values(self, make: Callable[[], Any]) -> None:
        with pytest.raises(ValueError):
            make()

    @pytest.mark.parametrize(
        "make",
        [
            lambda: Checkpoint.from_dict(None),  # type: ignore[arg-type]
            lambda: Checkpoint.from_dict([1]),  # type: ignore[arg-type]
            lambda: Checkpoint.from_bytes("text"),  # type: ignore[arg-type]
            lambda: os.fspath(Checkpoint.from_dict({"a": 1})),
            lambda: os.listdir(Checkpoint.from_dict({"a": 1})),
        ],
    )
    def test_bad_types(self, make: Callable[[], Any]) -> None:
        with pytest.raises(TypeError):
            make()

    def test_nothing_there(self, tmp_path: Path) -> None:
        for error in (CheckpointNotFoundError, FileNotFoundError, RuntimeError):  # the last is what Ray raises
            with pytest.raises(error, match="not there"):
                Checkpoint.from_directory(tmp_path / "nowhere")
        (tmp_path / "file").touch()
        with pytest.raises(CheckpointNotFoundError, match="a file, not a directory"):
            Checkpoint.from_directory(tmp_path / "file")
        with pytest.raises(CheckpointNotFoundError, match="memory://nowhere"):
            Checkpoint.from_uri("memory://nowhere/at/all")

    def test_a_newer_format_is_refused(self, tmp_path: Path) -> None:
        path = Path(Checkpoint.from_dict({"a": 1}).to_directory(tmp_path / "x"))
        manifest = path / ".aktis_checkpoint/checkpoint.json"
        manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 99'))
        with pytest.raises(CheckpointFormatError, match="format 99.*use a newer one"):
            Checkpoint.from_directory(path)
        manifest.write_text("[]")
        with pytest.raises(CheckpointFormatError, match="no valid"):
            Checkpoint.from_directory(path)


def test_without_a_path_there_is_a_temporary_directory() -> None:
    path = Checkpoint.from_dict({"a": 1}).to_directory()
    try:
        assert path.startswith(tempfile.gettempdir())
        assert Checkpoint.from_directory(path).to_dict() == {"a": 1}
    finally:
        shutil.rmtree(path)


def test_forms_and_how_they_are_shown(tmp_path: Path) -> None:
    in_memory = Checkpoint.from_dict({"a": 1, "b": 2})
    assert in_memory.get_internal_representation() == ("data_dict", {"a": 1, "b": 2})
    assert (in_memory.uri, in_memory.path) == (None, None)
    assert repr(in_memory) == "Checkpoint(a dict of a, b)"
    remote = Checkpoint.from_uri(in_memory.to_uri("memory://here/x"))
    assert remote.get_internal_representation() == ("uri", "memory://here/x")
    assert (remote.uri, remote.path) == ("memory://here/x", "memory://here/x")
    assert repr(remote) == "Checkpoint(memory://here/x)"
    assert Checkpoint("memory://here/x").to_dict() == {"a": 1, "b": 2}
    local = Checkpoint(in_memory.to_directory(tmp_path / "x"))
    assert repr(local) == f"Checkpoint({tmp_path / 'x'})"
    assert local.to_dict() == {"a": 1, "b": 2}


RAY = Path(__file__).parent / "data" / "ray23"


class TestRays:
    """Directories and bytes that Ray 2.3.1 wrote: see data/make_ray_checkpoints.py."""

    @pytest.mark.parametrize("trip", TRIPS)
    def test_a_dict(self, trip: Trip, tmp_path: Path) -> None:
        checkpoint = trip(Checkpoint.from_directory(RAY / "from_dict"), tmp_path)
        found = checkpoint.to_dict()
        assert found["epoch"] == 3
        assert found["weights"].tolist() == [[0, 1, 2], [3, 4, 5]]
        assert found["nested"] == {"t": (1, 2), 4: {5}}
        out = checkpoint.to_directory(tmp_path / "out")
        assert tree(out)["logs/extra.txt"] == b"beside\n"

    def test_a_copy_of_the_directory_is_a_copy(self, tmp_path: Path) -> None:
        assert tree(Checkpoint.from_directory(RAY / "from_dict").to_directory(tmp_path / "x")) == tree(
            RAY / "from_dict"
        )

    @pytest.mark.parametrize("trip", TRIPS)
    def test_a_directory_with_a_value_added(self, trip: Trip, tmp_path: Path) -> None:
        checkpoint = trip(Checkpoint.from_directory(RAY / "from_directory"), tmp_path)
        assert checkpoint.to_dict().keys() == {"fs_checkpoint", "step"}
        assert checkpoint.to_dict()["step"] == 7
        out = tree(Checkpoint.from_dict(checkpoint.to_dict()).to_directory(tmp_path / "out"))
        assert out["model.txt"] == b"model\n"
        assert out["sub/w.bin"] == b"\x00\x01"
        assert not any(name.endswith(".pkl") for name in out)

    def test_a_preprocessor(self) -> None:
        pytest.importorskip("aktis.data")
        checkpoint = Checkpoint.from_directory(RAY / "with_preprocessor")
        preprocessor = checkpoint.get_preprocessor()
        assert type(preprocessor).__module__.startswith("aktis.data")
        assert preprocessor.columns == ["x"]
        assert checkpoint.to_dict()["a"] == 1

    @pytest.mark.parametrize("trip", TRIPS)
    def test_a_subclass_with_an_attribute(self, trip: Trip, tmp_path: Path) -> None:
        if trip is through_pickle:
            pytest.skip("pickle refuses classes that cannot be imported")
        checkpoint: Any = trip(Checkpoint.from_directory(RAY / "subclass"), tmp_path)
        assert type(checkpoint).__name__ == "NamedCheckpoint"
        assert checkpoint.label == "mine"
        assert checkpoint.to_dict() == {"a": 1}

    def test_bytes(self) -> None:
        found = Checkpoint.from_bytes((RAY / "dict.bytes").read_bytes()).to_dict()
        assert found["epoch"] == 3
        assert found["weights"].tolist() == [0, 1, 2]

    def test_bytes_of_a_directory(self, tmp_path: Path) -> None:
        checkpoint = Checkpoint.from_bytes((RAY / "directory.bytes").read_bytes())
        assert tree(checkpoint.to_directory(tmp_path / "x"))["model.txt"] == b"model\n"

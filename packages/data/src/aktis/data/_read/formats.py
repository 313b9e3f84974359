"""Reads of files other than Parquet. The arguments that all have in common are described at :func:`read_csv`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union

from aktis.data._read._common import read_dataset
from aktis.data._read.files import HIVE, Shuffle
from aktis.data.dataset import Dataset
from aktis.data.datasource._listing import Paths
from aktis.data.datasource.binary_datasource import BinaryDatasource
from aktis.data.datasource.csv_datasource import CSVDatasource
from aktis.data.datasource.file_based_datasource import FileBasedDatasource
from aktis.data.datasource.file_meta_provider import BaseFileMetadataProvider, PathFilter
from aktis.data.datasource.image_datasource import ImageDatasource
from aktis.data.datasource.json_datasource import JSONDatasource
from aktis.data.datasource.numpy_datasource import NumpyDatasource
from aktis.data.datasource.partitioning import Partitioning
from aktis.data.datasource.text_datasource import TextDatasource
from aktis.data.datasource.tfrecords_datasource import TFRecordDatasource
from aktis.data.datasource.webdataset_datasource import Decoder, Renaming, Selection, WebDatasetDatasource

OnError = Union[Literal["raise", "skip"], None]


def _read(
    datasource: FileBasedDatasource,
    label: str,
    paths: Paths,
    *,
    parallelism: int,
    override_num_blocks: int | None,
    concurrency: int | None,
    ray_remote_args: Mapping[str, Any] | None,
    arrow_open_stream_args: Mapping[str, Any] | None = None,
    **reader_args: Any,
) -> Dataset:
    reader = datasource.create_reader(paths, open_stream_args=arrow_open_stream_args, **reader_args)
    return read_dataset(
        reader,
        label,
        parallelism=parallelism,
        override_num_blocks=override_num_blocks,
        concurrency=concurrency,
        remote_args=ray_remote_args,
        driver_only=reader.files.driver_only,
    )


def read_csv(
    paths: Paths,
    *,
    filesystem: Any = None,
    parallelism: int = -1,
    ray_remote_args: Mapping[str, Any] | None = None,
    arrow_open_stream_args: Mapping[str, Any] | None = None,
    meta_provider: BaseFileMetadataProvider | None = None,
    partition_filter: PathFilter | None = None,
    partitioning: Partitioning | None = HIVE,
    include_paths: bool = False,
    ignore_missing_paths: bool = False,
    shuffle: Shuffle = None,
    file_extensions: Sequence[str] | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    on_error: OnError = None,
    **arrow_csv_args: Any,
) -> Dataset:
    """Read CSV files. Large ones are read by several tasks, and decompressed by their extension (``.gz``, ``.zst`` ...).

    Args:
        paths: files, directories (searched recursively), patterns or URIs; one or several. ``local://`` before a path:
            on the driver's machine only.
        filesystem: a pyarrow or fsspec file system. Default: what the scheme of the paths says.
        parallelism: how many tasks. Default: tasks of about ``DatasetContext.read_task_size`` bytes.
        ray_remote_args: options of the read tasks (``num_cpus``, ``resources`` ...).
        arrow_open_stream_args: for ``pyarrow.fs.FileSystem.open_input_stream``, such as ``{"compression": "gzip"}``.
        meta_provider: finds files; a ``FastFileMetadataProvider`` takes the paths as they are.
        partition_filter: a function from paths to those that are to be read, such as a ``PathPartitionFilter``.
        partitioning: where columns are in paths; None: nowhere.
        include_paths: add a column ``path``.
        ignore_missing_paths: leave out paths that lead to nothing.
        shuffle: ``"files"`` or ``FileShuffleConfig(seed)``: read files in random order.
        file_extensions: only files that end so. Default, in directories: those with the extensions of the format, or all
            if none has one.
        concurrency: most read tasks at a time.
        override_num_blocks: the same as ``parallelism``.
        on_error: ``"skip"`` leaves out files that cannot be read. Default: ``DatasetContext.on_unreadable_file``.
        arrow_csv_args: ``read_options``, ``parse_options`` and ``convert_options`` of ``pyarrow.csv``.

    Raises:
        FileNotFoundError: at once, for a path that leads to nothing.
        ReadError: when the dataset is executed: a file that cannot be read.
        SchemaError: when it is executed: files that do not fit together.
    """
    return _read(
        CSVDatasource(),
        "ReadCSV",
        paths,
        filesystem=filesystem,
        parallelism=parallelism,
        ray_remote_args=ray_remote_args,
        arrow_open_stream_args=arrow_open_stream_args,
        meta_provider=meta_provider,
        partition_filter=partition_filter,
        partitioning=partitioning,
        include_paths=include_paths,
        ignore_missing_paths=ignore_missing_paths,
        shuffle=shuffle,
        file_extensions=file_extensions,
        concurrency=concurrency,
        override_num_blocks=override_num_blocks,
        on_error=on_error,
        **arrow_csv_args,
    )


def read_json(
    paths: Paths,
    *,
    filesystem: Any = None,
    parallelism: int = -1,
    ray_remote_args: Mapping[str, Any] | None = None,
    arrow_open_stream_args: Mapping[str, Any] | None = None,
    meta_provider: BaseFileMetadataProvider | None = None,
    partition_filter: PathFilter | None = None,
    partitioning: Partitioning | None = HIVE,
    include_paths: bool = False,
    ignore_missing_paths: bool = False,
    shuffle: Shuffle = None,
    file_extensions: Sequence[str] | None = None,
    lines: bool | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    on_error: OnError = None,
    **arrow_json_args: Any,
) -> Dataset:
    """Read JSON files: an object per line, or a file that is one array of objects, or one object.

    Only files of lines are read in parts; a file that is one value is parsed as a whole.

    Args:
        lines: accepted for compatibility; what a file is shows when it is read.
        arrow_json_args: ``read_options`` and ``parse_options`` of ``pyarrow.json``.

    The other arguments are those of :func:`read_csv`.
    """
    return _read(
        JSONDatasource(),
        "ReadJSON",
        paths,
        filesystem=filesystem,
        parallelism=parallelism,
        ray_remote_args=ray_remote_args,
        arrow_open_stream_args=arrow_open_stream_args,
        meta_provider=meta_provider,
        partition_filter=partition_filter,
        partitioning=partitioning,
        include_paths=include_paths,
        ignore_missing_paths=ignore_missing_paths,
        shuffle=shuffle,
        file_extensions=file_extensions,
        concurrency=concurrency,
        override_num_blocks=override_num_blocks,
        on_error=on_error,
        **arrow_json_args,
    )


def read_text(
    paths: Paths,
    *,
    encoding: str = "utf-8",
    errors: str = "ignore",
    drop_empty_lines: bool = True,
    filesystem: Any = None,
    parallelism: int = -1,
    ray_remote_args: Mapping[str, Any] | None = None,
    arrow_open_stream_args: Mapping[str, Any] | None = None,
    meta_provider: BaseFileMetadataProvider | None = None,
    partition_filter: PathFilter | None = None,
    partitioning: Partitioning | None = None,
    include_paths: bool = False,
    ignore_missing_paths: bool = False,
    shuffle: Shuffle = None,
    file_extensions: Sequence[str] | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    on_error: OnError = None,
) -> Dataset:
    """Read lines of text: rows are ``{"text": line}``.

    Args:
        encoding: of the files.
        errors: what becomes of bytes that are no text in it: ``"ignore"``, ``"replace"``, ``"strict"`` ...
        drop_empty_lines: leave out lines that are empty or blank.

    The other arguments are those of :func:`read_csv`.
    """
    import codecs

    codecs.lookup(encoding)  # raises LookupError for what is none
    codecs.lookup_error(errors)
    return _read(
        TextDatasource(),
        "ReadText",
        paths,
        encoding=encoding,
        errors=errors,
        drop_empty_lines=drop_empty_lines,
        filesystem=filesystem,
        parallelism=parallelism,
        ray_remote_args=ray_remote_args,
        arrow_open_stream_args=arrow_open_stream_args,
        meta_provider=meta_provider,
        partition_filter=partition_filter,
        partitioning=partitioning,
        include_paths=include_paths,
        ignore_missing_paths=ignore_missing_paths,
        shuffle=shuffle,
        file_extensions=file_extensions,
        concurrency=concurrency,
        override_num_blocks=override_num_blocks,
        on_error=on_error,
    )


def read_binary_files(
    paths: Paths,
    *,
    include_paths: bool = False,
    filesystem: Any = None,
    parallelism: int = -1,
    ray_remote_args: Mapping[str, Any] | None = None,
    arrow_open_stream_args: Mapping[str, Any] | None = None,
    meta_provider: BaseFileMetadataProvider | None = None,
    partition_filter: PathFilter | None = None,
    partitioning: Partitioning | None = None,
    ignore_missing_paths: bool = False,
    shuffle: Shuffle = None,
    file_extensions: Sequence[str] | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    on_error: OnError = None,
) -> Dataset:
    """Read whole files: rows are ``bytes``, or pairs of path and bytes.

    Args:
        include_paths: rows are ``(path, bytes)``.

    The other arguments are those of :func:`read_csv`. With a ``partitioning`` rows are mappings: ``bytes`` and its columns.
    """
    return _read(
        BinaryDatasource(pairs=include_paths),
        "ReadBinary",
        paths,
        filesystem=filesystem,
        parallelism=parallelism,
        ray_remote_args=ray_remote_args,
        arrow_open_stream_args=arrow_open_stream_args,
        meta_provider=meta_provider,
        partition_filter=partition_filter,
        partitioning=partitioning,
        ignore_missing_paths=ignore_missing_paths,
        shuffle=shuffle,
        file_extensions=file_extensions,
        concurrency=concurrency,
        override_num_blocks=override_num_blocks,
        on_error=on_error,
    )


def read_numpy(
    paths: Paths,
    *,
    filesystem: Any = None,
    parallelism: int = -1,
    ray_remote_args: Mapping[str, Any] | None = None,
    arrow_open_stream_args: Mapping[str, Any] | None = None,
    meta_provider: BaseFileMetadataProvider | None = None,
    partition_filter: PathFilter | None = None,
    partitioning: Partitioning | None = None,
    include_paths: bool = False,
    ignore_missing_paths: bool = False,
    shuffle: Shuffle = None,
    file_extensions: Sequence[str] | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    on_error: OnError = None,
    **numpy_load_args: Any,
) -> Dataset:
    """Read ``.npy`` files: rows are the items along the first axis of the arrays.

    Args:
        numpy_load_args: for ``numpy.load``. Pickled objects are refused unless ``allow_pickle=True``, which runs whatever
            code is in a file: for files of your own only.

    The other arguments are those of :func:`read_csv`.
    """
    return _read(
        NumpyDatasource(),
        "ReadNumpy",
        paths,
        filesystem=filesystem,
        parallelism=parallelism,
        ray_remote_args=ray_remote_args,
        arrow_open_stream_args=arrow_open_stream_args,
        meta_provider=meta_provider,
        partition_filter=partition_filter,
        partitioning=partitioning,
        include_paths=include_paths,
        ignore_missing_paths=ignore_missing_paths,
        shuffle=shuffle,
        file_extensions=file_extensions,
        concurrency=concurrency,
        override_num_blocks=override_num_blocks,
        on_error=on_error,
        **numpy_load_args,
    )


def read_images(
    paths: Paths,
    *,
    filesystem: Any = None,
    parallelism: int = -1,
    ray_remote_args: Mapping[str, Any] | None = None,
    arrow_open_stream_args: Mapping[str, Any] | None = None,
    meta_provider: BaseFileMetadataProvider | None = None,
    partition_filter: PathFilter | None = None,
    partitioning: Partitioning | None = None,
    size: tuple[int, int] | None = None,
    mode: str | None = None,
    include_paths: bool = False,
    ignore_missing_paths: bool = False,
    shuffle: Shuffle = None,
    file_extensions: Sequence[str] | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    on_error: OnError = None,
) -> Dataset:
    """Read pictures: rows are ``{"image": array}``, height x width (x channels).

    Args:
        size: (height, width) to which all are scaled. Default: as they are, which may differ.
        mode: of Pillow, such as ``"RGB"`` or ``"L"``. Default: as they are.
        include_paths: add a column ``path``.

    The other arguments are those of :func:`read_csv`.
    """
    return _read(
        ImageDatasource(),
        "ReadImage",
        paths,
        size=size,
        mode=mode,
        filesystem=filesystem,
        parallelism=parallelism,
        ray_remote_args=ray_remote_args,
        arrow_open_stream_args=arrow_open_stream_args,
        meta_provider=meta_provider,
        partition_filter=partition_filter,
        partitioning=partitioning,
        include_paths=include_paths,
        ignore_missing_paths=ignore_missing_paths,
        shuffle=shuffle,
        file_extensions=file_extensions,
        concurrency=concurrency,
        override_num_blocks=override_num_blocks,
        on_error=on_error,
    )


def read_tfrecords(
    paths: Paths,
    *,
    filesystem: Any = None,
    parallelism: int = -1,
    ray_remote_args: Mapping[str, Any] | None = None,
    arrow_open_stream_args: Mapping[str, Any] | None = None,
    meta_provider: BaseFileMetadataProvider | None = None,
    partition_filter: PathFilter | None = None,
    partitioning: Partitioning | None = None,
    include_paths: bool = False,
    ignore_missing_paths: bool = False,
    shuffle: Shuffle = None,
    file_extensions: Sequence[str] | None = None,
    list_columns: Sequence[str] = (),
    verify: bool = True,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    on_error: OnError = None,
) -> Dataset:
    """Read TFRecord files of ``tf.train.Example``: a column per feature, without TensorFlow.

    Args:
        list_columns: features that are lists also where all examples of a file have one value. Others are no lists then.
        verify: whether checksums are checked.

    The other arguments are those of :func:`read_csv`.
    """
    return _read(
        TFRecordDatasource(),
        "ReadTFRecord",
        paths,
        list_columns=tuple(list_columns),
        verify=verify,
        filesystem=filesystem,
        parallelism=parallelism,
        ray_remote_args=ray_remote_args,
        arrow_open_stream_args=arrow_open_stream_args,
        meta_provider=meta_provider,
        partition_filter=partition_filter,
        partitioning=partitioning,
        include_paths=include_paths,
        ignore_missing_paths=ignore_missing_paths,
        shuffle=shuffle,
        file_extensions=file_extensions,
        concurrency=concurrency,
        override_num_blocks=override_num_blocks,
        on_error=on_error,
    )


def read_webdataset(
    paths: Paths,
    *,
    filesystem: Any = None,
    parallelism: int = -1,
    ray_remote_args: Mapping[str, Any] | None = None,
    arrow_open_stream_args: Mapping[str, Any] | None = None,
    meta_provider: BaseFileMetadataProvider | None = None,
    partition_filter: PathFilter | None = None,
    decoder: Decoder | Sequence[Decoder] = True,
    fileselect: Selection = None,
    filerename: Renaming = None,
    suffixes: Selection = None,
    expand_json: bool = False,
    include_paths: bool = False,
    ignore_missing_paths: bool = False,
    shuffle: Shuffle = None,
    file_extensions: Sequence[str] | None = None,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    on_error: OnError = None,
) -> Dataset:
    """Read WebDataset tar files: a row per sample, ``__key__`` and a column per extension.

    Args:
        decoder: True decodes by extension (text, JSON, ``cls``, ``npy``, pictures), a mode such as ``"rgb"`` says how
            pictures are to be, a function gets and gives a sample, False and None leave bytes; or a list of such.
        fileselect: which files of the archives are read: patterns, or a function of the name.
        filerename: pairs of (old, new) text in names, or a function of the name.
        suffixes: which extensions are read.
        expand_json: the keys of ``json`` become columns.

    The other arguments are those of :func:`read_csv`. Pickles and torch files in archives stay bytes.
    """
    return _read(
        WebDatasetDatasource(),
        "ReadWebDataset",
        paths,
        decoder=decoder,
        fileselect=fileselect,
        filerename=filerename,
        suffixes=suffixes,
        expand_json=expand_json,
        filesystem=filesystem,
        parallelism=parallelism,
        ray_remote_args=ray_remote_args,
        arrow_open_stream_args=arrow_open_stream_args,
        meta_provider=meta_provider,
        partition_filter=partition_filter,
        include_paths=include_paths,
        ignore_missing_paths=ignore_missing_paths,
        shuffle=shuffle,
        file_extensions=file_extensions,
        concurrency=concurrency,
        override_num_blocks=override_num_blocks,
        on_error=on_error,
    )

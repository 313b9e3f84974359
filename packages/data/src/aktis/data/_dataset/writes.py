"""Writes of a Dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from aktis.data._dataset._base import DatasetBase
from aktis.data._plan.logical import Write
from aktis.data.datasource._base import Datasource
from aktis.data.datasource._sink import Sink
from aktis.data.datasource._staging import SaveMode

if TYPE_CHECKING:
    from aktis.data.datasource._file_sink import FileOptions
    from aktis.data.datasource.datasink import Datasink
    from aktis.data.datasource.filenames import BlockWritePathProvider, FilenameProvider
    from aktis.data.datasource.webdataset_sink import Encoder

RemoteArgs = Mapping[str, Any]


class Writes(DatasetBase):
    """Writes of a Dataset.

    All writes of files have these arguments in common:

    - ``path``: the folder to write to, as a path or URI.
    - ``filesystem``: a pyarrow or fsspec file system; None: the one that the path's scheme says.
    - ``try_create_dir``: make the folder if there is none.
    - ``arrow_open_stream_args``: for ``pyarrow.fs.FileSystem.open_output_stream``, such as ``{"compression": "gzip"}``.
    - ``filename_provider`` or ``block_path_provider``: how files are called. Else ``{uuid}_{number:06}.{extension}``, with numbers
      in the order of rows.
    - ``min_rows_per_file``, ``max_rows_per_file``: else there is a file for each block. ``num_rows_per_file``: so
      many in each file, but for what is left at the end.
    - ``mode``: what happens to what is there, see :class:`~aktis.data.datasource.SaveMode`; also as a string.
    - ``concurrency``: most writing tasks at a time. ``ray_remote_args``: for these tasks (``num_cpus`` ...).

    Nothing can be seen in the folder until everything is written, and nothing is left there if something fails: the files
    are written to a hidden folder and renamed at the end. All writes raise :class:`~aktis.data.exceptions.WriteError` (an
    ``OSError``) when storage fails, and :class:`~aktis.data.exceptions.SchemaError` for columns that the format has no place for.
    """

    def write_parquet(
        self,
        path: str,
        *,
        partition_cols: list[str] | None = None,
        filesystem: Any = None,
        try_create_dir: bool = True,
        arrow_open_stream_args: dict[str, Any] | None = None,
        block_path_provider: BlockWritePathProvider | None = None,
        filename_provider: FilenameProvider | None = None,
        arrow_parquet_args_fn: Callable[[], dict[str, Any]] | None = None,
        min_rows_per_file: int | None = None,
        max_rows_per_file: int | None = None,
        num_rows_per_file: int | None = None,
        ray_remote_args: RemoteArgs | None = None,
        concurrency: int | None = None,
        mode: SaveMode | str = SaveMode.APPEND,
        **arrow_parquet_args: Any,
    ) -> None:
        """Write Parquet files. Tensor columns keep their type. A data set without rows gives one file with its schema.

        Args:
            path: and other arguments: see :class:`Writes`.
            partition_cols: put rows into folders ``column=value`` by these columns, which the files then leave out.
            arrow_parquet_args_fn: called in the tasks, gives more of ``arrow_parquet_args``.
            arrow_parquet_args: for ``pyarrow.parquet.ParquetWriter``: ``compression`` ...; and ``row_group_size`` in rows.
        """
        from aktis.data.datasource.parquet_sink import ParquetSink

        options = _options(
            path,
            filesystem,
            try_create_dir,
            arrow_open_stream_args,
            mode,
            partition_cols=tuple(_names(partition_cols)),
            block_path_provider=block_path_provider,
            filename_provider=filename_provider,
            rows_per_file=(min_rows_per_file, max_rows_per_file, num_rows_per_file),
        )
        self._run_write(ParquetSink(options, arrow_parquet_args, arrow_parquet_args_fn), ray_remote_args, concurrency)

    def write_csv(
        self,
        path: str,
        *,
        partition_cols: list[str] | None = None,
        filesystem: Any = None,
        try_create_dir: bool = True,
        arrow_open_stream_args: dict[str, Any] | None = None,
        block_path_provider: BlockWritePathProvider | None = None,
        filename_provider: FilenameProvider | None = None,
        arrow_csv_args_fn: Callable[[], dict[str, Any]] | None = None,
        min_rows_per_file: int | None = None,
        max_rows_per_file: int | None = None,
        num_rows_per_file: int | None = None,
        ray_remote_args: RemoteArgs | None = None,
        concurrency: int | None = None,
        mode: SaveMode | str = SaveMode.APPEND,
        **arrow_csv_args: Any,
    ) -> None:
        """Write CSV files with a header line.

        Args:
            path: and other arguments: see :class:`Writes`.
            partition_cols: put rows into folders ``column=value`` by these columns, which the files then leave out.
            arrow_csv_args_fn: called in the tasks, gives more of ``arrow_csv_args``.
            arrow_csv_args: for ``pyarrow.csv.CSVWriter``: ``write_options``.
        """
        from aktis.data.datasource.csv_sink import CSVSink

        options = _options(
            path,
            filesystem,
            try_create_dir,
            arrow_open_stream_args,
            mode,
            partition_cols=tuple(_names(partition_cols)),
            block_path_provider=block_path_provider,
            filename_provider=filename_provider,
            rows_per_file=(min_rows_per_file, max_rows_per_file, num_rows_per_file),
        )
        self._run_write(CSVSink(options, arrow_csv_args, arrow_csv_args_fn), ray_remote_args, concurrency)

    def write_json(
        self,
        path: str,
        *,
        partition_cols: list[str] | None = None,
        filesystem: Any = None,
        try_create_dir: bool = True,
        arrow_open_stream_args: dict[str, Any] | None = None,
        block_path_provider: BlockWritePathProvider | None = None,
        filename_provider: FilenameProvider | None = None,
        pandas_json_args_fn: Callable[[], dict[str, Any]] | None = None,
        min_rows_per_file: int | None = None,
        max_rows_per_file: int | None = None,
        num_rows_per_file: int | None = None,
        ray_remote_args: RemoteArgs | None = None,
        concurrency: int | None = None,
        mode: SaveMode | str = SaveMode.APPEND,
        **pandas_json_args: Any,
    ) -> None:
        """Write JSON Lines: an object per row and line.

        Args:
            path: and other arguments: see :class:`Writes`.
            partition_cols: put rows into folders ``column=value`` by these columns, which the files then leave out.
            pandas_json_args_fn: called in the tasks, gives more of ``pandas_json_args``.
            pandas_json_args: for ``pandas.DataFrame.to_json``, which then does the writing.
        """
        from aktis.data.datasource.json_sink import JSONSink

        options = _options(
            path,
            filesystem,
            try_create_dir,
            arrow_open_stream_args,
            mode,
            partition_cols=tuple(_names(partition_cols)),
            block_path_provider=block_path_provider,
            filename_provider=filename_provider,
            rows_per_file=(min_rows_per_file, max_rows_per_file, num_rows_per_file),
        )
        self._run_write(JSONSink(options, pandas_json_args, pandas_json_args_fn), ray_remote_args, concurrency)

    def write_numpy(
        self,
        path: str,
        *,
        column: str = "__value__",
        filesystem: Any = None,
        try_create_dir: bool = True,
        arrow_open_stream_args: dict[str, Any] | None = None,
        block_path_provider: BlockWritePathProvider | None = None,
        filename_provider: FilenameProvider | None = None,
        min_rows_per_file: int | None = None,
        max_rows_per_file: int | None = None,
        num_rows_per_file: int | None = None,
        ray_remote_args: RemoteArgs | None = None,
        concurrency: int | None = None,
        mode: SaveMode | str = SaveMode.APPEND,
    ) -> None:
        """Write one column as ``.npy`` files.

        Args:
            path: and other arguments: see :class:`Writes`.
            column: which one. The default is that of data sets of arrays.
        """
        from aktis.data.datasource.numpy_sink import NumpySink

        options = _options(
            path,
            filesystem,
            try_create_dir,
            arrow_open_stream_args,
            mode,
            block_path_provider=block_path_provider,
            filename_provider=filename_provider,
            rows_per_file=(min_rows_per_file, max_rows_per_file, num_rows_per_file),
        )
        self._run_write(NumpySink(options, column), ray_remote_args, concurrency)

    def write_tfrecords(
        self,
        path: str,
        *,
        filesystem: Any = None,
        try_create_dir: bool = True,
        arrow_open_stream_args: dict[str, Any] | None = None,
        block_path_provider: BlockWritePathProvider | None = None,
        filename_provider: FilenameProvider | None = None,
        min_rows_per_file: int | None = None,
        max_rows_per_file: int | None = None,
        num_rows_per_file: int | None = None,
        ray_remote_args: RemoteArgs | None = None,
        concurrency: int | None = None,
        mode: SaveMode | str = SaveMode.APPEND,
    ) -> None:
        """Write TFRecord files of ``tf.train.Example``, without TensorFlow. Tensors are written flat.

        Args:
            path: and other arguments: see :class:`Writes`.
        """
        from aktis.data.datasource.tfrecords_sink import TFRecordsSink

        options = _options(
            path,
            filesystem,
            try_create_dir,
            arrow_open_stream_args,
            mode,
            block_path_provider=block_path_provider,
            filename_provider=filename_provider,
            rows_per_file=(min_rows_per_file, max_rows_per_file, num_rows_per_file),
        )
        self._run_write(TFRecordsSink(options), ray_remote_args, concurrency)

    def write_webdataset(
        self,
        path: str,
        *,
        filesystem: Any = None,
        try_create_dir: bool = True,
        arrow_open_stream_args: dict[str, Any] | None = None,
        filename_provider: FilenameProvider | None = None,
        min_rows_per_file: int | None = None,
        max_rows_per_file: int | None = None,
        num_rows_per_file: int | None = None,
        ray_remote_args: RemoteArgs | None = None,
        encoder: bool | Encoder | list[bool | Encoder] | None = True,
        concurrency: int | None = None,
        mode: SaveMode | str = SaveMode.APPEND,
    ) -> None:
        """Write WebDataset shards: tar files in which each row is some files, named by column, with the stem ``__key__``.

        Args:
            path: and other arguments: see :class:`Writes`.
            encoder: True: a column's name says how it is encoded (``json``, ``npy``, ``png``, ``cls``, ``txt`` ...). A function, or
                several, that turn a row into one of bytes and strings. None: they are bytes and strings already.
        """
        from aktis.data.datasource.webdataset_sink import WebDatasetSink

        options = _options(
            path,
            filesystem,
            try_create_dir,
            arrow_open_stream_args,
            mode,
            filename_provider=filename_provider,
            rows_per_file=(min_rows_per_file, max_rows_per_file, num_rows_per_file),
        )
        self._run_write(WebDatasetSink(options, encoder), ray_remote_args, concurrency)

    def write_images(
        self,
        path: str,
        column: str,
        file_format: str = "png",
        *,
        filesystem: Any = None,
        try_create_dir: bool = True,
        arrow_open_stream_args: dict[str, Any] | None = None,
        filename_provider: FilenameProvider | None = None,
        ray_remote_args: RemoteArgs | None = None,
        concurrency: int | None = None,
        mode: SaveMode | str = SaveMode.APPEND,
    ) -> None:
        """Write an image file for each row.

        Args:
            path: and other arguments: see :class:`Writes`.
            column: the one with arrays of shape (height, width[, channels]).
            file_format: "png", "jpeg" or another that Pillow knows; also the extension.
        """
        from aktis.data.datasource.images_sink import ImagesSink

        options = _options(
            path,
            filesystem,
            try_create_dir,
            arrow_open_stream_args,
            mode,
            filename_provider=filename_provider,
        )
        self._run_write(ImagesSink(options, column, file_format), ray_remote_args, concurrency)

    def write_sql(
        self,
        sql: str,
        connection_factory: Callable[[], Any],
        ray_remote_args: RemoteArgs | None = None,
        concurrency: int | None = None,
    ) -> None:
        """Execute a statement for each row, in one transaction per task.

        There is no way to commit several connections together: when one task fails, what others have committed stays, and
        a task whose worker dies right after its commit is run again. Write to a fresh table, or use a statement that may be
        repeated, where that matters.

        Args:
            sql: such as ``"INSERT INTO t VALUES (?, ?)"``, with a placeholder per column in the style of the module.
            connection_factory: opens a connection of Python's DB-API; called in each task.
            ray_remote_args: for the writing tasks.
            concurrency: most writing tasks at a time. 1 for databases with a single writer, such as SQLite.
        """
        from aktis.data.datasource._sql_sink import SQLSink

        self._run_write(SQLSink(sql, connection_factory), ray_remote_args, concurrency)

    def write_mongo(
        self,
        uri: str,
        database: str,
        collection: str,
        ray_remote_args: RemoteArgs | None = None,
        concurrency: int | None = None,
    ) -> None:
        """Insert each row as a document into MongoDB (``pip install 'aktis-data[mongo]'``).

        Args:
            uri: of the server.
            database: its name. It must exist.
            collection: its name. It must exist.
            ray_remote_args: for the writing tasks.
            concurrency: most writing tasks at a time.
        """
        from aktis.data.datasource._mongo_sink import MongoSink

        self._run_write(MongoSink(uri, database, collection), ray_remote_args, concurrency)

    def write_datasink(
        self, datasink: Datasink | Sink, *, ray_remote_args: RemoteArgs | None = None, concurrency: int | None = None
    ) -> None:
        """Write to a place of your own, see :class:`~aktis.data.datasource.Datasink`.

        Args:
            datasink: it.
            ray_remote_args: for the writing tasks.
            concurrency: most writing tasks at a time.
        """
        from aktis.data.datasource.datasink import Datasink

        if isinstance(datasink, Datasink):
            if not datasink.supports_distributed_writes:
                concurrency = 1
            datasink = datasink.as_sink()
        if not isinstance(datasink, Sink):
            raise TypeError(f"datasink is an instance of a subclass of Datasink, got {datasink!r}")
        self._run_write(datasink, ray_remote_args, concurrency)

    def write_datasource(
        self,
        datasource: Datasource,
        *,
        ray_remote_args: RemoteArgs | None = None,
        concurrency: int | None = None,
        **write_args: Any,
    ) -> None:
        """Write through a Datasource of your own.

        If it defines ``write(blocks, **write_args)``, that is called in each task. Else ``do_write`` is called in the driver with
        references to all blocks; then everything is in the object store (or spilled) at once.

        Args:
            datasource: it.
            ray_remote_args: for the writing tasks.
            concurrency: most writing tasks at a time, for ``write``.
            write_args: for the Datasource.
        """
        from aktis.data.datasource._datasource_sink import DatasourceSink

        if not isinstance(datasource, Datasource):
            self.write_datasink(datasource, ray_remote_args=ray_remote_args, concurrency=concurrency)
            return
        sink = datasource.create_sink(**write_args)
        if sink is None and callable(getattr(datasource, "write", None)):
            sink = DatasourceSink(datasource, write_args)
        if sink is not None:
            self._run_write(sink, ray_remote_args, concurrency)
            return
        self._do_write(datasource, dict(ray_remote_args or {}), write_args)

    def _do_write(self, datasource: Datasource, remote_args: dict[str, Any], write_args: dict[str, Any]) -> None:
        import aktis

        handles = self._handles()
        results: list[Any] = []
        try:
            references = [handle.ref() for handle in handles]
            metadata = [handle.metadata for handle in handles]
            results = datasource.do_write(references, metadata, remote_args, **write_args)
            done = aktis.get(results)
        except Exception as error:
            datasource.on_write_failed(results, error)
            raise
        datasource.on_write_complete(done)

    def _run_write(self, sink: Sink, remote_args: RemoteArgs | None = None, concurrency: int | None = None) -> None:
        """Execute the plan into a sink: all of it, or nothing."""
        from aktis.data._transforms.write import results_of

        if concurrency is not None and (isinstance(concurrency, bool) or concurrency < 1):
            raise ValueError(f"concurrency is a positive number of tasks, got {concurrency!r}")
        try:
            sink.start()
            if sink.skip:
                return
            root = Write(inputs=(self._root,), sink=sink, remote_args=dict(remote_args or {}), concurrency=concurrency)
            results: list[tuple[int, Any]] = []
            with self._stream(root) as stream:
                for handle in stream:
                    results.extend(results_of(handle.load()))
            results.sort(key=lambda item: item[0])
            sink.commit([result for _, result in results])
        except BaseException as error:
            sink.abort(error)
            raise


def _names(columns: Any) -> list[str]:
    if columns is None:
        return []
    if isinstance(columns, str) or not all(isinstance(name, str) for name in columns):
        raise TypeError(f"partition_cols is a list of column names, got {columns!r}")
    return list(columns)


def _options(
    path: str,
    filesystem: Any,
    try_create_dir: bool,
    open_stream_args: dict[str, Any] | None,
    mode: SaveMode | str,
    *,
    rows_per_file: tuple[int | None, int | None, int | None] = (None, None, None),
    **more: Any,
) -> FileOptions:
    from aktis.data.datasource._file_sink import FileOptions

    least, most, wanted = rows_per_file
    return FileOptions(
        path=path,
        filesystem=filesystem,
        try_create_dir=try_create_dir,
        open_stream_args=open_stream_args or {},
        mode=mode,
        min_rows_per_file=least,
        max_rows_per_file=most,
        num_rows_per_file=wanted,
        **more,
    )

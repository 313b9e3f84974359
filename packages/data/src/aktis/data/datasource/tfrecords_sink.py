"""Writing TFRecord files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aktis.data._blocks.types import Block
from aktis.data.datasource._file_sink import BlockFileSink
from aktis.data.datasource._tfrecord import check_encodable, encode_examples, frame

_ROWS = 4096  # rows whose Python values are in memory at a time


class TFRecordsSink(BlockFileSink):
    """Each row is a ``tf.train.Example``. TensorFlow is not needed."""

    name = "WriteTFRecords"
    extension = "tfrecords"
    tensors = True

    def prepare(self, block: Block) -> Block:
        block = super().prepare(block)
        check_encodable(block.schema)
        return block

    def write_file(self, blocks: Iterator[Block], stream: Any) -> None:
        for block in blocks:
            for start in range(0, block.num_rows, _ROWS):
                stream.write(b"".join(map(frame, encode_examples(block.slice(start, _ROWS)))))

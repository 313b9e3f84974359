"""What tasks of data sets need, imported once in the process that workers are forked from: see ``__worker_modules__``.

Nothing is done with these modules here; a worker that starts with them saves half a second.
"""

from __future__ import annotations

# ruff: noqa: F401
import pandas
import pyarrow.acero
import pyarrow.compute
import pyarrow.dataset
import pyarrow.parquet

import aktis.data
import aktis.data._exchanges.aggregate
import aktis.data._exchanges.shuffle
import aktis.data._exchanges.sort
import aktis.data._execution.worker
import aktis.data._transforms.partial_aggregate
import aktis.data._transforms.write
import aktis.data.datasource.parquet_sink
import aktis.data.expressions
import aktis.data.extensions
import aktis.data.grouped_dataset

"""The Dataset: everything that users do with data starts here.

Each theme is a module in ``_dataset``; this class puts them together.
"""

from __future__ import annotations

from aktis.data._dataset.conversions import Conversions
from aktis.data._dataset.inspection import Inspection
from aktis.data._dataset.iteration import Iteration
from aktis.data._dataset.reshaping import Reshaping
from aktis.data._dataset.splits import Splits
from aktis.data._dataset.transforms import Transforms
from aktis.data._dataset.writes import Writes


class Dataset(Transforms, Reshaping, Splits, Iteration, Inspection, Writes, Conversions):
    """A lazy collection of rows, in order, cut into blocks.

    Transforms (``map_batches``, ``filter``, ``sort`` ...) return a new Dataset at once and run nothing. What asks for
    data (``take``, ``iter_batches``, ``write_parquet``, ``count`` ...) executes the plan, streaming: blocks flow through
    all operators, and only as many are in memory as the budget allows. :meth:`materialize` keeps the result.

    Not made by calling the class: see :func:`aktis.data.read_parquet`, :func:`aktis.data.from_items` and the others.
    """


class MaterializedDataset(Dataset):
    """A Dataset whose blocks are in memory (or spilled): using it again does not compute anything again."""

"""What is done to results before a callback gets them."""

from aktis.train.callbacks.results_preprocessors.aggregate import (
    AverageResultsPreprocessor,
    MaxResultsPreprocessor,
    WeightedAverageResultsPreprocessor,
)
from aktis.train.callbacks.results_preprocessors.index import IndexedResultsPreprocessor
from aktis.train.callbacks.results_preprocessors.keys import ExcludedKeysResultsPreprocessor, KeysResultsPreprocessor
from aktis.train.callbacks.results_preprocessors.preprocessor import ResultsPreprocessor, SequentialResultsPreprocessor

__all__ = [
    "AverageResultsPreprocessor",
    "ExcludedKeysResultsPreprocessor",
    "IndexedResultsPreprocessor",
    "KeysResultsPreprocessor",
    "MaxResultsPreprocessor",
    "ResultsPreprocessor",
    "SequentialResultsPreprocessor",
    "WeightedAverageResultsPreprocessor",
]

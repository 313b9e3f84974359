"""Experience in files: reading it, writing it, and judging policies by it."""

from __future__ import annotations

from aktis.util.lazy import lazy_names

# Where each name is defined: imported when it is first used.
_NAMES = {
    "D4RLReader": "aktis.rllib.offline.d4rl_reader",
    "DatasetReader": "aktis.rllib.offline.dataset_reader",
    "DatasetWriter": "aktis.rllib.offline.dataset_writer",
    "EpisodeRecorder": "aktis.rllib.offline.episode_recorder",
    "FeatureImportance": "aktis.rllib.offline.feature_importance",
    "IOContext": "aktis.rllib.offline.io_context",
    "InputReader": "aktis.rllib.offline.input_reader",
    "JsonReader": "aktis.rllib.offline.json_reader",
    "JsonWriter": "aktis.rllib.offline.json_writer",
    "MixedInput": "aktis.rllib.offline.mixed_input",
    "NoopOutput": "aktis.rllib.offline.output_writer",
    "OfflineDataError": "aktis.rllib.offline.errors",
    "OfflineEvaluator": "aktis.rllib.offline.offline_evaluator",
    "OutputWriter": "aktis.rllib.offline.output_writer",
    "ParquetReader": "aktis.rllib.offline.parquet_reader",
    "ParquetWriter": "aktis.rllib.offline.parquet_writer",
    "ShuffledInput": "aktis.rllib.offline.shuffled_input",
    "get_dataset_and_shards": "aktis.rllib.offline.dataset_reader",
    "get_offline_io_resource_bundles": "aktis.rllib.offline.resource",
}

__all__ = [
    "D4RLReader",
    "DatasetReader",
    "DatasetWriter",
    "EpisodeRecorder",
    "FeatureImportance",
    "IOContext",
    "InputReader",
    "JsonReader",
    "JsonWriter",
    "MixedInput",
    "NoopOutput",
    "OfflineDataError",
    "OfflineEvaluator",
    "OutputWriter",
    "ParquetReader",
    "ParquetWriter",
    "ShuffledInput",
    "get_dataset_and_shards",
    "get_offline_io_resource_bundles",
]

__getattr__, __dir__ = lazy_names(__name__, _NAMES)

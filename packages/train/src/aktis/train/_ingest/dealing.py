"""What a configuration means to aktis.data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Union

import aktis
from aktis.air.dataset_config import DatasetConfig
from aktis.train.data_config import DataConfig

if TYPE_CHECKING:
    from aktis.data import Dataset
    from aktis.data.iterator import DataIterator
    from aktis.data.sharding import Sharding, ShardOptions

Configs = Union[Mapping[str, DatasetConfig], DataConfig]

KEPT_SHARE = 0.5  # of the object store, for all data sets that are kept whole; what flows through needs the rest


def config_of(configs: Mapping[str, DatasetConfig], name: str) -> DatasetConfig:
    """The configuration of a data set, complete."""
    return (configs.get(name) or configs.get("*") or DatasetConfig()).fill_defaults()


def shardings(datasets: Mapping[str, Dataset], configs: Configs) -> dict[str, Sharding]:
    """How each data set is to be dealt. Nothing is executed yet."""
    from aktis.data.sharding import Sharding

    made: dict[str, Sharding] = {}
    for name, dataset in datasets.items():
        if isinstance(configs, DataConfig):
            made[name] = Sharding(configs.apply_options(name, dataset), _plain(name, configs.splits(name)))
        else:
            made[name] = Sharding(dataset, _options(name, config_of(configs, name)))
    return made


def deal(made: Mapping[str, Sharding], workers: int) -> list[dict[str, DataIterator]]:
    """Shards for so many workers, by the names of data sets."""
    budget = int(KEPT_SHARE * _store_bytes())
    dealt: list[dict[str, DataIterator]] = [{} for _ in range(workers)]
    for name, sharding in made.items():
        for own, shard in zip(dealt, sharding.deal(workers, keep_bytes=max(0, budget))):
            own[name] = shard
        budget -= sharding.kept_bytes
    return dealt


def _plain(name: str, split: bool) -> ShardOptions:
    from aktis.data.sharding import ShardOptions

    return ShardOptions(split=split, keep=False, name=f"data set {name!r}")


def _options(name: str, config: DatasetConfig) -> ShardOptions:
    from aktis.data.sharding import ShardOptions

    fraction = config.max_object_store_memory_fraction
    assert fraction is not None
    preprocessor = config.per_epoch_preprocessor
    return ShardOptions(
        split=bool(config.split),
        keep=fraction == -1,
        global_shuffle=bool(config.global_shuffle),
        randomize_block_order=bool(config.randomize_block_order),
        window_bytes=max(1, int(fraction * _store_bytes())) if fraction > 0 else None,
        per_epoch=None if preprocessor is None else preprocessor.transform,
        name=f"data set {name!r}",
    )


def _store_bytes() -> float:
    if not aktis.is_initialized():
        aktis.init()
    return float(aktis.cluster_resources().get("object_store_memory", 1 << 30))

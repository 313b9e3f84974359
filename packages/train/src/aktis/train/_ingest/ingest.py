"""The data sets of a trainer, from what the user gave to what the workers get.

::

    driver    Ingest(...)     checks
    trial     .prepare()      calls functions that make data sets, fits the preprocessor, transforms (lazily)
              .shards(...)    for a group of workers; again when the group is made anew
              .close()
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Union

from aktis.air.dataset_config import DatasetConfig
from aktis.train._ingest.dealing import Configs, config_of, deal, shardings
from aktis.train.data_config import DataConfig
from aktis.train.error import TrainError

if TYPE_CHECKING:
    from aktis.air.worker_group import WorkerMetadata
    from aktis.data import Dataset, Preprocessor
    from aktis.data.iterator import DataIterator
    from aktis.data.sharding import Sharding

    Given = Union[Dataset, Callable[[], Dataset]]

FITTED_ON = "train"


class Ingest:
    """The data sets of one run. Used by one thread at a time.

    Args:
        datasets: Data sets by name, or functions that make them.
        configs: How each is handed out; "*" stands for all others.
        preprocessor: Fitted on one of them unless it is fitted, and applied to all that want it.

    Raises:
        TypeError, ValueError: an argument that is none; the message names it.
        DatasetMissingError: the configuration names a data set that is not there.
    """

    def __init__(
        self, datasets: Mapping[str, Given] | None, configs: Configs, preprocessor: Preprocessor | None
    ) -> None:
        self._given = check_datasets(datasets)
        self._configs = _check_configs(configs, self._given)
        self._preprocessor: Preprocessor | None = _check_preprocessor(preprocessor)
        self._datasets: dict[str, Dataset] | None = None
        self._shardings: dict[str, Sharding] | None = None

    def prepare(self) -> Preprocessor | None:
        """Make the data sets, fit the preprocessor on the one that it is to be fitted on, unless it is fitted, and apply it.

        Raises:
            TypeError: a function made something else than a Dataset.
            ValueError: the preprocessor is not fitted, and there is nothing to fit it on.
            TrainError: fitting failed, or a function did.
        """
        if self._datasets is None:
            made = {name: _made(name, value) for name, value in self._given.items()}
            self._fit(made)
            self._datasets = {name: self._transformed(name, dataset) for name, dataset in made.items()}
        return self._preprocessor

    @property
    def datasets(self) -> dict[str, Dataset]:
        """The data sets, transformed, after :meth:`prepare`."""
        if self._datasets is None:
            self.prepare()
        assert self._datasets is not None
        return dict(self._datasets)

    def shards(self, workers: Sequence[WorkerMetadata]) -> list[dict[str, DataIterator]]:
        """What each worker gets, in the order of ranks. Shards of an earlier call are void.

        Raises:
            ValueError: a data set that is to be split has fewer rows than there are workers.
        """
        datasets = self.datasets
        configs = self._configs
        if isinstance(configs, DataConfig) and type(configs).configure is not DataConfig.configure:
            nodes = [worker.node_id for worker in workers]
            return _checked(configs.configure(datasets, len(workers), worker_node_ids=nodes), len(workers), configs)
        if self._shardings is None:
            self._shardings = shardings(datasets, configs)
        return deal(self._shardings, len(workers))

    def close(self) -> None:
        """End what serves the shards of the latest call. Does not wait for anybody."""
        for sharding in (self._shardings or {}).values():
            sharding.close()

    def _fit(self, made: Mapping[str, Dataset]) -> None:
        from aktis.data.preprocessor import FitStatus

        preprocessor = self._preprocessor
        if preprocessor is None or not made:
            return
        if preprocessor.fit_status() not in (FitStatus.NOT_FITTED, FitStatus.PARTIALLY_FITTED):
            return
        name = next((name for name in made if self._is_fit(name)), None)
        if name is None:
            given = ", ".join(map(repr, made))
            raise ValueError(
                f"the preprocessor {preprocessor!r} is not fitted, and none of the data sets ({given}) is there for fitting it: "
                f"pass one named {FITTED_ON!r}, set DatasetConfig(fit=True) for one, or fit it before"
            )
        try:
            preprocessor.fit(made[name])
        except Exception as error:
            raise TrainError(
                f"fitting the preprocessor {preprocessor!r} on the data set {name!r} failed: {error}"
            ) from error

    def _is_fit(self, name: str) -> bool:
        if isinstance(self._configs, DataConfig):
            return name == FITTED_ON
        return bool(config_of(self._configs, name).fit) and (name in self._configs or "*" in self._configs)

    def _transformed(self, name: str, dataset: Dataset) -> Dataset:
        if self._preprocessor is None:
            return dataset
        if isinstance(self._configs, DataConfig) or config_of(self._configs, name).transform:
            transformed: Dataset = self._preprocessor.transform(dataset)
            return transformed
        return dataset


def check_datasets(datasets: Any) -> dict[str, Given]:
    """The data sets that a trainer was given, if that is what they are.

    Raises:
        TypeError, ValueError: naming the argument.
    """
    if datasets is None:
        return {}
    if not isinstance(datasets, Mapping):
        raise TypeError(f"datasets must be a dict of data sets by name, such as {{'train': dataset}}, not {datasets!r}")
    if not datasets:
        return {}
    from aktis.data import Dataset, DatasetPipeline

    for name, value in datasets.items():
        if not isinstance(name, str):
            raise TypeError(f"the names in datasets must be strings, not {name!r}")
        if isinstance(value, DatasetPipeline):
            raise ValueError(
                f"datasets[{name!r}] is a DatasetPipeline, which trainers do not take: pass the Dataset, and "
                "dataset_config={...: DatasetConfig(max_object_store_memory_fraction=0.2)} to have it streamed"
            )
        if not isinstance(value, Dataset) and not callable(value):
            raise ValueError(
                f"datasets[{name!r}] must be a Dataset, or a function that makes one, not {type(value).__name__}: {value!r}"
            )
    return dict(datasets)


def _check_configs(configs: Any, datasets: Mapping[str, Any]) -> Configs:
    if isinstance(configs, DataConfig):
        configs.check(datasets)
        return configs
    if not isinstance(configs, Mapping):
        raise TypeError(f"dataset_config must be a dict of DatasetConfig by name, or a DataConfig, not {configs!r}")
    for name, config in configs.items():
        if not isinstance(config, DatasetConfig):
            raise TypeError(f"dataset_config[{name!r}] must be a DatasetConfig, not {config!r}")
    return DatasetConfig.validated(configs, datasets)


def _check_preprocessor(preprocessor: Any) -> Any:
    if preprocessor is None:
        return None
    from aktis.data import Preprocessor

    if not isinstance(preprocessor, Preprocessor):
        raise ValueError(f"preprocessor must be an instance of aktis.data.Preprocessor, not {preprocessor!r}")
    return preprocessor


def _made(name: str, value: Any) -> Dataset:
    from aktis.data import Dataset

    if isinstance(value, Dataset):
        return value
    try:
        made = value()
    except Exception as error:
        raise TrainError(f"the function that makes the data set {name!r} ({value!r}) failed: {error}") from error
    if not isinstance(made, Dataset):
        raise TypeError(f"datasets[{name!r}] is a function that made {made!r}, but must make a Dataset")
    return made


def _checked(found: Any, workers: int, config: DataConfig) -> list[dict[str, DataIterator]]:
    if not isinstance(found, (list, tuple)) or len(found) != workers or not all(isinstance(own, dict) for own in found):
        raise TypeError(
            f"{type(config).__name__}.configure must return a list of {workers} dicts, one for each worker, not {found!r}"
        )
    return list(found)

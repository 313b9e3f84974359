"""The trainer for scikit-learn."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from aktis.air import session
from aktis.air.config import is_search_value
from aktis.air.constants import TRAIN_DATASET_KEY
from aktis.train.base_trainer import BaseTrainer
from aktis.train.error import CheckpointTypeError, DatasetMissingError
from aktis.train.sklearn import _parallel
from aktis.train.sklearn._features import as_features, is_array
from aktis.train.sklearn._scoring import as_scorers, check_names, cross_validated, scores
from aktis.train.sklearn.sklearn_checkpoint import SklearnCheckpoint, check_estimator

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint
    from aktis.air.config import RunConfig, ScalingConfig

__all__ = ["CV_GROUPS_COLUMN", "SklearnTrainer"]

CV_GROUPS_COLUMN = "cv_groups"
"""A column that is no feature: the groups of rows that cross-validation keeps together."""


@dataclasses.dataclass(frozen=True)
class _Table:
    """A data set as an estimator takes it."""

    name: str
    features: Any
    labels: Any
    groups: Any


class SklearnTrainer(BaseTrainer):
    """Fits an estimator of scikit-learn (or one that is like them) on ``datasets["train"]``, and scores it on all others.

    ::

        SklearnTrainer(
            estimator=RandomForestClassifier(),
            label_column="target",
            datasets={"train": train, "valid": valid},
            scoring=["accuracy", "roc_auc"],
            cv=5,
            scaling_config=ScalingConfig(trainer_resources={"CPU": 4}),
        ).fit()

    All happens in the trial itself, with the CPUs of ``trainer_resources``: joblib's calls become tasks, and numerical libraries
    use so many threads. The data must fit into the memory of that process.

    The results: ``fit_time``; for each other data set ``{name}/score_time`` and ``{name}/test_score`` (or ``test_{scorer}`` when
    scorers have names); with ``cv`` also ``cv/test_score`` and the like, an array with a value for each fold, and
    ``cv/test_score_mean`` and ``cv/test_score_std``.

    Args:
        estimator: The estimator, not fitted.
        datasets: Data sets by name; ``"train"`` must be among them. A column ``cv_groups`` is no feature, but the groups of rows
            that cross-validation keeps together.
        label_column: The column with the labels. None: there are none.
        params: Parameters of the estimator, set before it is fitted: what a search may vary.
        scoring: What to measure: a name that scikit-learn knows, a function ``(estimator, features, labels) -> float``, a list of
            these, or a dict by name. None: the estimator's own score.
        cv: Cross-validation besides: the number of folds, a splitter of scikit-learn, or pairs of indices.
        return_train_score_cv: Whether it scores the folds' training data, too.
        parallelize_cv: Whether folds run in parallel, each with one CPU, instead of what the estimator does in parallel. None:
            if the estimator can do nothing in parallel. Not with GPUs.
        set_estimator_cpus: Whether ``n_jobs`` (and ``thread_count``) of the estimator, and of those in it, are the CPUs of the
            trial while it is fitted.
        scaling_config: ``trainer_resources`` of the trial; there are no workers.
        run_config: Name, place, failures and checkpoints of the run.
        preprocessor: Fitted on ``"train"``, and applied to all data sets.
        resume_from_checkpoint: A checkpoint of the same class of estimator, which is fitted further, with ``params`` set. It must
            be one that can be: ``warm_start=True``.
        fit_params: For the estimator's ``fit``.

    Raises:
        ValueError: an argument that makes no sense, with its name.
        DatasetMissingError: there is no data set "train".
        CheckpointTypeError: ``estimator`` is none.
    """

    def __init__(
        self,
        *,
        estimator: Any,
        datasets: dict[str, Any],
        label_column: str | None = None,
        params: dict[str, Any] | None = None,
        scoring: str | Callable[..., float] | Iterable[Any] | Mapping[str, Any] | None = None,
        cv: int | Iterable[Any] | Any = None,
        return_train_score_cv: bool = False,
        parallelize_cv: bool | None = None,
        set_estimator_cpus: bool = True,
        scaling_config: ScalingConfig | None = None,
        run_config: RunConfig | None = None,
        preprocessor: Any = None,
        resume_from_checkpoint: Checkpoint | None = None,
        **fit_params: Any,
    ) -> None:
        _require_sklearn()
        self.estimator = estimator
        self.label_column = label_column
        self.params = params
        self.scoring = scoring
        self.cv = cv
        self.return_train_score_cv = return_train_score_cv
        self.parallelize_cv = parallelize_cv
        self.set_estimator_cpus = set_estimator_cpus
        self.fit_params = fit_params
        self._warm = resume_from_checkpoint
        super().__init__(
            scaling_config=scaling_config,
            run_config=run_config,
            datasets=datasets,
            preprocessor=preprocessor,
            resume_from_checkpoint=resume_from_checkpoint,
        )

    # -- arguments ----------------------------------------------------------------------------------

    def _check_arguments(self) -> None:
        super()._check_arguments()
        if TRAIN_DATASET_KEY not in self.datasets:
            given = ", ".join(map(repr, self.datasets)) or "none"
            raise DatasetMissingError(
                f"datasets must have {TRAIN_DATASET_KEY!r}, which the estimator is fitted on; given are: {given}"
            )
        self._check_estimator()
        if not is_search_value(self.scoring):
            if not isinstance(self.scoring, (str, Mapping)) and not callable(self.scoring) and self.scoring is not None:
                self.scoring = as_scorers(self.scoring)  # an iterator can be read once only
            check_names(self.scoring)
        if isinstance(self.cv, bool) or (isinstance(self.cv, int) and self.cv < 2):
            raise ValueError(f"cv must be 2 folds or more, a splitter, pairs of indices, or None, not {self.cv!r}")
        if self.parallelize_cv is True and not is_search_value(self.cv) and self._resources().get("GPU"):
            raise ValueError(
                "parallelize_cv=True shares out CPUs, but the trial has GPUs, which folds cannot share: set it to False"
            )
        for name, dataset in self.datasets.items():
            self._check_label(name, dataset)

    def _check_estimator(self) -> None:
        if is_search_value(self.estimator):
            return
        check_estimator(self.estimator, "estimator must be one of scikit-learn")
        if self.params is None or is_search_value(self.params):
            return
        if not isinstance(self.params, Mapping):
            raise ValueError(f"params must be a dict of the estimator's parameters, not {self.params!r}")
        known = self.estimator.get_params(deep=True)
        for name in self.params:
            if str(name).partition("__")[0] not in known:
                valid = ", ".join(sorted(name for name in known if "__" not in name))
                raise ValueError(
                    f"params names {name!r}, which {type(self.estimator).__name__} does not have; it has: {valid}"
                )

    def _check_label(self, name: str, dataset: Any) -> None:
        """The labels of a data set whose columns are known without computing it."""
        columns = getattr(dataset, "columns", None)
        if (
            self.label_column is None
            or self.preprocessor is not None
            or not callable(columns)
            or is_search_value(dataset)
        ):
            return
        known = columns(fetch_if_missing=False)
        if known is not None:
            _check_column(self.label_column, name, known)

    def _resources(self) -> dict[str, float]:
        try:
            return self.scaling_config.total_resources
        except ValueError:  # to be searched for
            return {}

    # -- training -----------------------------------------------------------------------------------

    def training_loop(self) -> None:
        """Cross-validate, fit, score, report."""
        resources = self._resources()
        cpus = max(1, int(resources.get("CPU", 1)))
        estimator = self._estimator_to_fit()
        train = self._table(TRAIN_DATASET_KEY)
        others = [self._table(name) for name in self.datasets if name != TRAIN_DATASET_KEY]
        with contextlib.ExitStack() as stack:
            stack.enter_context(_parallel.thread_limit(cpus))
            if cpus > 1:  # GPUs are this process's
                share = _parallel.joblib_threads if resources.get("GPU") else _parallel.joblib_tasks
                stack.enter_context(share(cpus))
            results = self._fitted(estimator, train, others, cpus)
        with tempfile.TemporaryDirectory(prefix="checkpoint_") as folder:
            checkpoint = SklearnCheckpoint.from_estimator(estimator, path=folder, preprocessor=self.preprocessor)
            session.report(results, checkpoint=checkpoint)

    def _fitted(self, estimator: Any, train: _Table, others: list[_Table], cpus: int) -> dict[str, Any]:
        """Fit the estimator; the results."""
        results: dict[str, Any] = {}
        used = cpus if self.set_estimator_cpus else None
        with _explained(train):
            if self.cv is not None:
                results["cv"] = self._cross_validated(estimator, train, cpus)
            with _parallel.estimator_cpus(estimator, used):
                start = time.perf_counter()
                if train.labels is None:
                    estimator.fit(train.features, **self.fit_params)
                else:
                    estimator.fit(train.features, train.labels, **self.fit_params)
                fit_time = time.perf_counter() - start
        for table in others:
            with _explained(table), _parallel.estimator_cpus(estimator, used):
                results[table.name] = scores(estimator, table.features, table.labels, self.scoring)
        results["fit_time"] = fit_time
        return results

    def _cross_validated(self, estimator: Any, train: _Table, cpus: int) -> dict[str, Any]:
        parallel = self.parallelize_cv
        if parallel is None:
            can = bool(_parallel.cpu_parameters(estimator)) and self.set_estimator_cpus
            parallel = not can and not self._resources().get("GPU")
        used = (1 if parallel else cpus) if self.set_estimator_cpus else None
        with _parallel.estimator_cpus(estimator, used):
            return cross_validated(
                estimator,
                train.features,
                train.labels,
                self.fit_params,
                groups=train.groups,
                scoring=self.scoring,
                cv=self.cv,
                n_jobs=cpus if parallel else 1,
                return_train_score=self.return_train_score_cv,
                error_score="raise",
            )

    def _estimator_to_fit(self) -> Any:
        if self._warm is None:
            estimator = copy.deepcopy(self.estimator)
        else:
            estimator = SklearnCheckpoint.from_checkpoint(self._warm).get_estimator()
            if type(estimator) is not type(self.estimator):
                raise CheckpointTypeError(
                    f"resume_from_checkpoint holds a {type(estimator).__name__}, but estimator is a "
                    f"{type(self.estimator).__name__}: they must be alike"
                )
        if self.params:
            estimator.set_params(**self.params)
        if self._warm is not None and not estimator.get_params().get("warm_start"):
            raise ValueError(
                f"resume_from_checkpoint is for estimators that can be fitted further, but this {type(estimator).__name__} would "
                "start anew: set params={'warm_start': True}, or leave it out"
            )
        return estimator

    # -- data ----------------------------------------------------------------------------------------

    def _table(self, name: str) -> _Table:
        frame = self.datasets[name].to_pandas(limit=None)
        if not len(frame):
            raise ValueError(f"the data set {name!r} is empty")
        known = list(frame.columns)
        labels = None
        if self.label_column is not None:
            _check_column(self.label_column, name, known)
            labels = _labels(frame.pop(self.label_column))
        groups = frame.pop(CV_GROUPS_COLUMN) if CV_GROUPS_COLUMN in frame.columns else None
        if not len(frame.columns):
            raise ValueError(f"the data set {name!r} has no features, but only {' and '.join(map(repr, known))}")
        return _Table(name, as_features(frame), labels, groups)


def _labels(column: Any) -> Any:
    """Labels as an array of numbers, texts or, for several outputs, rows."""
    if len(column) and is_array(column.iloc[0]):
        return as_features(column.to_frame()).to_numpy()
    return column


def _check_column(column: str, dataset: str, known: Iterable[Any]) -> None:
    names = list(known)
    if column not in names:
        raise ValueError(
            f"label_column={column!r} is no column of the data set {dataset!r}, which has: {', '.join(map(str, names)) or 'none'}"
        )


@contextlib.contextmanager
def _explained(table: _Table) -> Iterator[None]:
    """What scikit-learn says of the data, with which of them it means."""
    try:
        yield
    except ValueError as error:
        reasons = _reasons(table)
        if not reasons:
            raise
        raise ValueError(f"{error}\nIn the data set {table.name!r}, {'; '.join(reasons)}.") from error


def _reasons(table: _Table) -> list[str]:
    import pandas

    reasons = []
    if table.labels is not None:
        missing = int(pandas.isna(table.labels).sum().sum()) if getattr(table.labels, "ndim", 1) < 2 else 0
        if missing:
            reasons.append(
                f"{missing} of {len(table.labels)} labels are missing: leave these rows out (Dataset.filter)"
            )
    if isinstance(table.features, pandas.DataFrame):
        dtypes = table.features.dtypes
        texts = [str(name) for name, dtype in dtypes.items() if not pandas.api.types.is_numeric_dtype(dtype)]
        if texts:
            reasons.append(
                f"the columns {', '.join(map(repr, texts))} are no numbers: encode them (OrdinalEncoder, OneHotEncoder), or leave "
                "them out"
            )
        gaps = [str(name) for name, found in table.features.isna().any().items() if found]
        if gaps:
            reasons.append(
                f"the columns {', '.join(map(repr, gaps))} have missing values: fill them in (SimpleImputer)"
            )
    return reasons


def _require_sklearn() -> None:
    try:
        import sklearn  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "sklearn":
            raise
        raise ModuleNotFoundError(
            'scikit-learn is not installed: pip install "aktis-train[sklearn]"', name="sklearn"
        ) from None

"""How much each parameter matters for a metric.

With scikit-learn: a random forest learns the metric from the parameters, and a parameter's importance is how much the forest's
predictions of trials that it has not seen get worse when that parameter is shuffled (Breiman 2001, "Random Forests"). Without
it: the share of the variance of the metric's ranks that a parameter explains alone (epsilon squared over groups of similar values,
Kelley 1935, or the squared rank correlation where that is more), which sees no interactions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["MIN_TRIALS", "Importance", "parameter_importance"]

MIN_TRIALS = 10
_FOLDS = 4
_SHUFFLES = 3
_MOST_TRIALS = 2000


@dataclass
class Importance:
    """Shares of each parameter, which sum to 1, the largest first, and how they were found."""

    shares: list[tuple[str, float]]
    method: str
    trials: int
    fit: float | None = None  # share of the variance that the forest foresees; None without a forest


def parameter_importance(
    parameters: Mapping[str, Sequence[Any]], scores: Sequence[float | None], use_sklearn: bool | None = None
) -> Importance | None:
    """How much each parameter matters; None when there are too few trials, or nothing differs.

    Args:
        parameters: One value per trial: numbers, or anything else, which are then categories. None: the trial has none.
        scores: One per trial; None: it has none and is left out.
        use_sklearn: None: when it is installed.
    """
    import numpy as np

    rows = [index for index, score in enumerate(scores) if score is not None]
    if len(rows) > _MOST_TRIALS:  # evenly over the run
        rows = [rows[i * len(rows) // _MOST_TRIALS] for i in range(_MOST_TRIALS)]
    y = np.array([scores[index] for index in rows], dtype=float)
    if len(rows) < MIN_TRIALS or np.ptp(y) == 0:
        return None
    columns = {key: _encoded([values[index] for index in rows]) for key, values in parameters.items()}
    columns = {key: column for key, column in columns.items() if np.ptp(column[0]) > 0}
    if not columns:
        return None
    if use_sklearn is None:
        try:
            import sklearn.ensemble  # noqa: F401
        except ImportError:
            use_sklearn = False
        else:
            use_sklearn = True
    fit = None
    if use_sklearn:
        values, fit = _by_forest(np.column_stack([column for column, _ in columns.values()]), y)
        method = "random forest, permutation importance on trials it has not seen (scikit-learn)"
    else:
        ranks = _ranks(y)
        values = [_by_ranks(column, is_category, ranks) for column, is_category in columns.values()]
        method = (
            "share of the variance of ranks that each parameter explains alone (numpy; scikit-learn is not installed)"
        )
    total = sum(values)
    shares = [(key, value / total if total > 0 else 0.0) for key, value in zip(columns, values, strict=True)]
    shares.sort(key=lambda pair: -pair[1])
    return Importance(shares, method, len(rows), fit)


def _encoded(values: Sequence[Any]) -> tuple[Any, bool]:
    """A column of numbers, and whether they are numbers of categories."""
    import numpy as np

    known = [value for value in values if value is not None]
    if known and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in known):
        below = min(known) - 1.0  # what is not set is a value of its own
        return np.array([below if value is None else value for value in values], dtype=float), False
    names = {name: index for index, name in enumerate(sorted({str(value) for value in values}))}
    return np.array([names[str(value)] for value in values], dtype=float), True


def _by_forest(x: Any, y: Any) -> tuple[list[float], float]:
    """Mean squared error that shuffling adds, for each column, and the share of variance foreseen, over folds."""
    import numpy as np
    from sklearn.ensemble import RandomForestRegressor

    # Ranks: trials that failed to learn have scores far away, which would be all that the forest learns.
    y = _ranks(y) / len(y)
    random = np.random.default_rng(0)
    fold_of = random.permutation(len(y)) % _FOLDS
    added = np.zeros(x.shape[1])
    squares = 0.0
    for fold in range(_FOLDS):
        seen, unseen = fold_of != fold, fold_of == fold
        forest = RandomForestRegressor(n_estimators=50, min_samples_leaf=2, random_state=fold, n_jobs=1)
        forest.fit(x[seen], y[seen])
        error = float(np.sum((forest.predict(x[unseen]) - y[unseen]) ** 2))
        squares += error
        for column in range(x.shape[1]):
            for _ in range(_SHUFFLES):
                shuffled = x[unseen].copy()
                shuffled[:, column] = random.permutation(shuffled[:, column])
                added[column] += (float(np.sum((forest.predict(shuffled) - y[unseen]) ** 2)) - error) / _SHUFFLES
    fit = 1.0 - squares / float(np.sum((y - y.mean()) ** 2))
    return [float(value) for value in np.maximum(added, 0.0)], fit


def _ranks(values: Any) -> Any:
    """Ranks from 1; equal values share the mean of theirs."""
    import numpy as np

    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2.0)[inverse]


def _by_ranks(column: Any, is_category: bool, ranks: Any) -> float:
    import numpy as np

    groups = column
    linear = 0.0
    if not is_category:
        own = _ranks(column)
        if np.ptp(own) > 0:
            linear = float(np.corrcoef(own, ranks)[0, 1]) ** 2
        distinct = len(np.unique(column))
        bins = min(distinct, max(2, min(8, len(ranks) // 8)))
        groups = np.floor((own - 0.5) * bins / len(own)) if distinct > bins else column
    names = np.unique(groups)
    spread = float(np.sum((ranks - ranks.mean()) ** 2))
    between = sum(float(np.sum(groups == g)) * float(ranks[groups == g].mean() - ranks.mean()) ** 2 for g in names)
    within, count, kinds = spread - between, len(ranks), len(names)
    if count <= kinds:
        return max(0.0, linear)
    epsilon = (between - (kinds - 1) * within / (count - kinds)) / spread
    return max(0.0, linear, epsilon)

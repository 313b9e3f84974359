"""How good an estimator is: scores of a data set, and of cross-validation."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterable, Mapping
from typing import Any


def as_scorers(scoring: Any) -> Any:
    """What ``scoring`` says: one scorer (a name, a function, or None for the estimator's own), or a dict of them by name.

    Raises:
        TypeError: it is something else.
        ValueError: a list or dict without anything in it, or with a name twice.
    """
    if scoring is None or isinstance(scoring, str) or callable(scoring):
        return scoring
    if isinstance(scoring, Mapping):
        scorers = dict(scoring)
    elif isinstance(scoring, Iterable):
        named = [(_name(scorer), scorer) for scorer in scoring]
        scorers = dict(named)
        if len(scorers) < len(named):
            raise ValueError(f"scoring has a name twice: {', '.join(name for name, _ in named)}")
    else:
        raise TypeError(f"scoring must be a name, a function, a list or a dict of them, not {scoring!r}")
    if not scorers:
        raise ValueError("scoring is empty: leave it out to have the estimator's own score")
    for name, scorer in scorers.items():
        if not isinstance(name, str) or not (isinstance(scorer, str) or callable(scorer)):
            raise TypeError(f"scoring must have names and functions, not {name!r}: {scorer!r}")
    return scorers


def _name(scorer: Any) -> str:
    if isinstance(scorer, str):
        return scorer
    name = getattr(scorer, "__name__", None)
    if name is None:
        raise TypeError(f"scoring has {scorer!r}, which has no name: pass a dict, {{'name': scorer}}")
    return str(name)


def check_names(scoring: Any) -> None:
    """Raise unless scikit-learn knows all scorers that have names.

    Raises:
        ValueError: it does not.
    """
    from sklearn.metrics import get_scorer, get_scorer_names

    scorers = as_scorers(scoring)
    for scorer in scorers.values() if isinstance(scorers, dict) else [scorers]:
        if not isinstance(scorer, str):
            continue
        try:
            get_scorer(scorer)
        except (KeyError, ValueError):
            raise ValueError(
                f"scoring names {scorer!r}, which scikit-learn does not have; it has: {', '.join(get_scorer_names())}"
            ) from None


def scores(estimator: Any, features: Any, labels: Any, scoring: Any) -> dict[str, float]:
    """Scores of a data set: ``test_score``, or ``test_{name}`` for each scorer that has one, and ``score_time`` in seconds."""
    from sklearn.metrics import check_scoring

    scorers = as_scorers(scoring)
    start = time.perf_counter()
    if isinstance(scorers, dict):
        found = {
            f"test_{name}": _score(check_scoring(estimator, scorer), estimator, features, labels)
            for name, scorer in scorers.items()
        }
    else:
        found = {"test_score": _score(check_scoring(estimator, scorers), estimator, features, labels)}
    return {"score_time": time.perf_counter() - start, **found}


def _score(scorer: Any, estimator: Any, features: Any, labels: Any) -> Any:
    value = scorer(estimator, features) if labels is None else scorer(estimator, features, labels)
    return value.item() if hasattr(value, "item") and getattr(value, "size", 1) == 1 else value


def cross_validated(
    estimator: Any, features: Any, labels: Any, fit_params: dict[str, Any], **options: Any
) -> dict[str, Any]:
    """What cross-validation gives: an array for each time and score, and its mean and standard deviation.

    Args:
        estimator: The estimator; it is cloned for each fold.
        features: The data.
        labels: The labels; None: none.
        fit_params: For the estimator's ``fit``.
        options: For ``sklearn.model_selection.cross_validate``.
    """
    from sklearn.model_selection import cross_validate

    if fit_params:
        # The name changed in scikit-learn 1.4.
        name = "params" if "params" in inspect.signature(cross_validate).parameters else "fit_params"
        options[name] = fit_params
    options["scoring"] = as_scorers(options.get("scoring"))
    found = dict(cross_validate(estimator, features, labels, **options))
    for name, values in list(found.items()):
        found[f"{name}_mean"] = float(values.mean())
        found[f"{name}_std"] = float(values.std())
    return found

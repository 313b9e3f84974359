"""Hyperparameters of a scikit-learn model: Optuna suggests, cross-validation judges, bad ones stop after the first folds.

A trial reports its mean R² after each fold, so ASHA may end it before all folds are computed. The best configuration is
then fitted on all training data, and compared with scikit-learn's defaults on patients that no trial has seen.

Run: python examples/tune_sklearn.py
Needs: pip install "aktis-tune[optuna]" scikit-learn
Prints: the best configuration, how many folds were saved, and R² on new patients beside that of the defaults.
"""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.model_selection import KFold, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from aktis import air, tune
from aktis.air import session
from aktis.tune.schedulers import ASHAScheduler
from aktis.tune.search.optuna import OptunaSearch

FOLDS, TRIALS = 4, 16


def model_of(config: dict[str, Any]) -> Pipeline:
    return make_pipeline(StandardScaler(), SVR(**config))


def cross_validate(config: dict[str, Any], features: np.ndarray, progress: np.ndarray) -> None:
    scores: list[float] = []
    for train, test in KFold(FOLDS, shuffle=True, random_state=0).split(features):
        model = model_of(config).fit(features[train], progress[train])
        scores.append(float(model.score(features[test], progress[test])))
        session.report({"r2": float(np.mean(scores)), "folds": len(scores)})


def main() -> None:
    features, progress = load_diabetes(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(features, progress, random_state=0)
    with tempfile.TemporaryDirectory() as results_dir:
        tuner = tune.Tuner(
            tune.with_parameters(cross_validate, features=train_x, progress=train_y),
            param_space={
                "C": tune.loguniform(1e-1, 1e3),
                "epsilon": tune.loguniform(1e-1, 1e2),
                "gamma": tune.loguniform(1e-4, 1e0),
            },
            tune_config=tune.TuneConfig(
                metric="r2",
                mode="max",
                num_samples=TRIALS,
                search_alg=OptunaSearch(seed=0),
                scheduler=ASHAScheduler(max_t=FOLDS, grace_period=1, reduction_factor=2),
                max_concurrent_trials=2,
                reuse_actors=True,
            ),
            run_config=air.RunConfig(name="diabetes", local_dir=results_dir, verbose=1),
        )
        results = tuner.fit()
        best = results.get_best_result()
        folds = sum(result.metrics["folds"] for result in results)

    tuned = model_of(best.config).fit(train_x, train_y).score(test_x, test_y)
    default = model_of({}).fit(train_x, train_y).score(test_x, test_y)
    print(f"\nbest: {best.config}, cross-validated {best.metrics['r2']:.3f}")
    print(f"{folds} folds instead of {TRIALS * FOLDS}; R² on new patients {tuned:.3f}, with the defaults {default:.3f}")
    assert results.num_errors == 0 and folds < TRIALS * FOLDS
    assert tuned > default + 0.05


if __name__ == "__main__":
    main()

"""Cross-validation in parallel: every fold of every model is a task, and all of them read one copy of the data.

The data are put into shared memory once. Results are shown as they come in; at the end the means are those that scikit-learn's
own ``cross_val_score`` computes, to the last digit.

Run: python examples/cross_validation.py
Needs: pip install aktis-core scikit-learn
Prints: a line for each model, mean and spread of its accuracy, and the best one beside scikit-learn's figure for it.
"""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import aktis

MODELS = {
    "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)),
    "nearest neighbours": make_pipeline(StandardScaler(), KNeighborsClassifier(10)),
    "naive Bayes": GaussianNB(),
}
FOLDS = StratifiedKFold(n_splits=5, shuffle=True, random_state=0)


@aktis.remote
def score(model: BaseEstimator, features: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray) -> float:
    fitted = clone(model).fit(features[train], labels[train])
    return float(fitted.score(features[test], labels[test]))


def main() -> None:
    features, labels = load_breast_cancer(return_X_y=True)
    with aktis.init():
        shared = aktis.put(features), aktis.put(labels)
        names = {
            score.remote(model, *shared, train, test): name
            for name, model in MODELS.items()
            for train, test in FOLDS.split(features, labels)
        }
        scores: dict[str, list[float]] = {name: [] for name in MODELS}
        pending = list(names)
        while pending:
            (ready,), pending = aktis.wait(pending)
            name = names[ready]
            scores[name].append(aktis.get(ready))
            if len(scores[name]) == FOLDS.n_splits:
                print(f"{name:20} {np.mean(scores[name]):.4f} ± {np.std(scores[name]):.4f}")
    best = max(scores, key=lambda name: float(np.mean(scores[name])))
    alone = cross_val_score(MODELS[best], features, labels, cv=FOLDS)
    print(f"best: {best}, {np.mean(scores[best]):.4f}; by scikit-learn alone {alone.mean():.4f}")
    assert np.allclose(sorted(scores[best]), sorted(alone))


if __name__ == "__main__":
    main()

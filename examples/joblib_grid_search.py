"""Grid search of scikit-learn on a cluster: GridSearchCV stays as it is, and joblib gives its fits to Aktis.

Two lines make the difference: ``register_aktis()`` and ``joblib.parallel_backend("aktis")``. With the same folds and seeds
the search finds what it finds alone, to the last digit.

Run: python examples/joblib_grid_search.py
Needs: pip install "aktis-core[joblib]" scikit-learn
Prints: the best parameters with their score, the accuracy on digits not seen, and that the search alone agrees.
"""

from __future__ import annotations

import joblib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.svm import SVC

import aktis
from aktis.util.joblib import register_aktis

GRID = {"C": [0.5, 2, 8], "gamma": [2e-4, 8e-4, 3e-3]}


def main() -> None:
    features, labels = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(features, labels, random_state=0)

    search = GridSearchCV(SVC(), GRID, cv=3, n_jobs=-1)
    register_aktis()
    with aktis.init(), joblib.parallel_backend("aktis"):
        search.fit(train_x, train_y)
        fits = joblib.Parallel()(joblib.delayed(np.linalg.norm)(row) for row in test_x[:10])  # joblib's own loops, too
    print(
        f"best of {len(search.cv_results_['params'])}: {search.best_params_}, cross-validated {search.best_score_:.4f}"
    )
    print(f"accuracy on {len(test_y)} new digits: {search.score(test_x, test_y):.4f}")

    alone = GridSearchCV(SVC(), GRID, cv=3).fit(train_x, train_y)
    same = np.array_equal(alone.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"])
    print("without a cluster:", "the same scores" if same else "other scores")
    assert same and search.score(test_x, test_y) > 0.98
    assert np.allclose(fits, np.linalg.norm(test_x[:10], axis=1))


if __name__ == "__main__":
    main()

"""Run joblib, and with it scikit-learn, on Aktis.

import joblib
from aktis.util.joblib import register_aktis

register_aktis()
with joblib.parallel_backend("aktis"):
    search.fit(X, y)
"""

from __future__ import annotations

__all__ = ["register_aktis", "register_ray"]


def register_aktis() -> None:
    """Make ``joblib.parallel_backend("aktis")`` work; ``"ray"`` is the same backend, for scripts that name it so."""
    try:
        from joblib.parallel import register_parallel_backend
    except ModuleNotFoundError as error:
        if error.name != "joblib":
            raise
        raise ModuleNotFoundError("joblib is not installed: pip install aktis-core[joblib]", name="joblib") from None
    from aktis.util.joblib.backend import AktisBackend

    register_parallel_backend("aktis", AktisBackend)
    register_parallel_backend("ray", AktisBackend)


register_ray = register_aktis

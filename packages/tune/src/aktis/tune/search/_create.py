"""Searchers by name."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any, Union

from aktis.tune.search.searcher import Searcher

if TYPE_CHECKING:
    from aktis.tune.search.basic_variant import BasicVariantGenerator

__all__ = ["SEARCH_ALGORITHMS", "create_searcher"]

SEARCH_ALGORITHMS: dict[str, tuple[str, str]] = {
    "variant_generator": ("basic_variant", "BasicVariantGenerator"),
    "random": ("basic_variant", "BasicVariantGenerator"),
    "ax": ("ax", "AxSearch"),
    "bayesopt": ("bayesopt", "BayesOptSearch"),
    "blendsearch": ("flaml", "BlendSearch"),
    "bohb": ("bohb", "TuneBOHB"),
    "cfo": ("flaml", "CFO"),
    "hebo": ("hebo", "HEBOSearch"),
    "hyperopt": ("hyperopt", "HyperOptSearch"),
    "nevergrad": ("nevergrad", "NevergradSearch"),
    "optuna": ("optuna", "OptunaSearch"),
    "skopt": ("skopt", "SkOptSearch"),
    "smac": ("smac", "SMACSearch"),
    "zoopt": ("zoopt", "ZOOptSearch"),
}
"""Module (in ``aktis.tune.search``) and class of each name."""

# Searchers of Ray 2.3 whose services or libraries are gone, and what to take for them.
_GONE = {
    "dragonfly": (
        "Dragonfly is no longer kept up (its last release fails with numpy 2)",
        '"bayesopt" or "ax", which search by Gaussian processes, too',
    ),
    "sigopt": (
        "SigOpt was a hosted service, for which Ray has no searcher any more either",
        '"optuna", which also has several objectives, or "ax"',
    ),
}


def create_searcher(search_alg: str, **kwargs: Any) -> Union[Searcher, BasicVariantGenerator]:
    """Make a searcher of a name, so that a script can take the name as an argument.

    Args:
        search_alg: One of :data:`SEARCH_ALGORITHMS`, in any case: ``"random"``, ``"optuna"``, ``"hyperopt"``, ...
        kwargs: For the class. What it has no argument for is left out, so that names can be swapped.

    Raises:
        ValueError: There is no such searcher.
        ImportError: Its library is not installed; the message says how to get it.
    """
    if not isinstance(search_alg, str):
        raise TypeError(f"search_alg must be the name of a searcher, got {search_alg!r} ({type(search_alg).__name__})")
    name = search_alg.lower()
    if name in _GONE:
        reason, others = _GONE[name]
        raise ValueError(f"there is no searcher for {search_alg!r} here: {reason}. Use {others}")
    if name not in SEARCH_ALGORITHMS:
        raise ValueError(f"search_alg must be one of {sorted(SEARCH_ALGORITHMS)}, got {search_alg!r}")
    module, class_name = SEARCH_ALGORITHMS[name]
    found = getattr(importlib.import_module(f"aktis.tune.search.{module}"), class_name)
    parameters = inspect.signature(found).parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        known = {parameter.name for parameter in parameters}
        kwargs = {key: value for key, value in kwargs.items() if key in known}
    made: Union[Searcher, BasicVariantGenerator] = found(**kwargs)
    return made

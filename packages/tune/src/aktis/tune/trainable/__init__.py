"""Trainables: classes and functions that a trial runs."""

from aktis.tune.trainable.function_trainable import FunctionTrainable, wrap_function
from aktis.tune.trainable.trainable import Trainable
from aktis.tune.trainable.util import with_parameters, with_resources

__all__ = ["FunctionTrainable", "Trainable", "with_parameters", "with_resources", "wrap_function"]

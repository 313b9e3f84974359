"""Networks and distributions in TensorFlow 2."""

from importlib.util import find_spec as _find_spec

if _find_spec("tensorflow") is None:  # scripts for both frameworks import from here, and need not use it
    from aktis.rllib.models.tf._without_tensorflow import stand_in_modules

    stand_in_modules(__name__)

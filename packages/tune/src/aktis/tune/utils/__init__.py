"""Small helpers for trainables, searchers and loggers."""

from aktis.tune.utils.util import (
    date_str,
    deep_update,
    flatten_dict,
    merge_dicts,
    unflatten_dict,
    unflattened_lookup,
    validate_save_restore,
    wait_for_gpu,
)  # fmt: skip

__all__ = [
    "date_str", "deep_update", "flatten_dict", "merge_dicts", "unflatten_dict", "unflattened_lookup", "validate_save_restore",
    "wait_for_gpu",
]  # fmt: skip

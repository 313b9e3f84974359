"""Names under which trainers keep things."""

from typing import Final

MODEL_KEY: Final = "model"
"""The model in a checkpoint."""
PREPROCESSOR_KEY: Final = "_preprocessor"
"""The preprocessor in a checkpoint."""
TRAIN_DATASET_KEY: Final = "train"
"""The dataset to train on."""
EVALUATION_DATASET_KEY: Final = "evaluation"
TENSOR_COLUMN_NAME: Final = "__value__"
"""The one column of a dataset of tensors."""
WILDCARD_KEY: Final = "*"
"""Stands for all datasets that are not named."""

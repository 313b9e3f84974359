"""Preprocessors: transforms that learn from a data set, and then do the same to any data."""

from __future__ import annotations

from aktis.data.preprocessor import Preprocessor
from aktis.data.preprocessors.batch_mapper import BatchMapper
from aktis.data.preprocessors.chain import Chain
from aktis.data.preprocessors.concatenator import Concatenator
from aktis.data.preprocessors.discretizer import CustomKBinsDiscretizer, UniformKBinsDiscretizer
from aktis.data.preprocessors.encoder import Categorizer, LabelEncoder, MultiHotEncoder, OneHotEncoder, OrdinalEncoder
from aktis.data.preprocessors.hasher import FeatureHasher
from aktis.data.preprocessors.imputer import SimpleImputer
from aktis.data.preprocessors.normalizer import Normalizer
from aktis.data.preprocessors.scaler import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from aktis.data.preprocessors.tokenizer import Tokenizer
from aktis.data.preprocessors.torch import TorchVisionPreprocessor
from aktis.data.preprocessors.transformer import PowerTransformer
from aktis.data.preprocessors.vectorizer import CountVectorizer, HashingVectorizer

__all__ = [
    "BatchMapper",
    "Categorizer",
    "Chain",
    "Concatenator",
    "CountVectorizer",
    "CustomKBinsDiscretizer",
    "FeatureHasher",
    "HashingVectorizer",
    "LabelEncoder",
    "MaxAbsScaler",
    "MinMaxScaler",
    "MultiHotEncoder",
    "Normalizer",
    "OneHotEncoder",
    "OrdinalEncoder",
    "PowerTransformer",
    "Preprocessor",
    "RobustScaler",
    "SimpleImputer",
    "StandardScaler",
    "Tokenizer",
    "TorchVisionPreprocessor",
    "UniformKBinsDiscretizer",
]

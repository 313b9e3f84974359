"""In the trainer: from data sets and what the user said about them to what the workers are told; all that can be wrong is here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aktis.train._gbdt.blocks import Blocks
from aktis.train._gbdt.spec import TRAIN, DataSpec
from aktis.train.error import DatasetMissingError

__all__ = ["DataRules", "LabelError", "check_dmatrix_params", "check_label", "describe"]

# What Ray's matrices take besides; it is about how they are made, which is otherwise here.
_OF_RAY = frozenset({"num_actors", "filetype", "distributed", "sharding", "lazy"})


class LabelError(ValueError):
    """The label column is not in the data set."""


@dataclass(frozen=True)
class DataRules:
    """What a library knows of its data.

    Attributes:
        roles: Names of the arguments that are columns, and what the library calls them.
        options: Names of other arguments.
        refused: Arguments that cannot be used here, and what to do instead.
    """

    roles: Mapping[str, str]
    options: Collection[str]
    refused: Mapping[str, str]


def check_dmatrix_params(params: Any, datasets: Collection[str], rules: DataRules) -> dict[str, dict[str, Any]]:
    """``dmatrix_params``, if they make sense.

    Raises:
        ValueError: they do not; names what does not.
    """
    if params is None:
        return {}
    if not isinstance(params, Mapping) or not all(isinstance(value, Mapping) for value in params.values()):
        raise ValueError(
            f"dmatrix_params must be a dict with a dict for each data set, {{'train': {{...}}}}, not {params!r}"
        )
    unknown = [name for name in params if name not in datasets]
    if unknown:
        raise ValueError(
            f"dmatrix_params are for data sets that are not there: {_listed(unknown)}; there are {_listed(datasets)}"
        )
    known = {*rules.roles, *rules.options, "ignore"}
    for name, given in params.items():
        for key, value in given.items():
            if key in rules.refused:
                raise ValueError(f"dmatrix_params[{name!r}][{key!r}] cannot be used here: {rules.refused[key]}")
            if key not in known and key not in _OF_RAY:
                raise ValueError(f"dmatrix_params[{name!r}] has no {key!r}; it has {_listed(sorted(known))}")
            if key in rules.roles and value is not None:
                _check_columns(f"dmatrix_params[{name!r}][{key!r}]", value)
    return {
        name: {k: v for k, v in given.items() if k not in _OF_RAY and v is not None} for name, given in params.items()
    }


def _check_columns(what: str, value: Any) -> None:
    several = isinstance(value, (list, tuple)) and value and all(isinstance(name, str) for name in value)
    if not isinstance(value, str) and not several:
        raise ValueError(
            f"{what} must be the name of a column, or several, not {type(value).__name__}: each worker has its own rows, so put "
            "the values into the data set"
        )


def check_label(name: str, label: Sequence[str], columns: Sequence[str]) -> None:
    """Raise LabelError unless the label is there."""
    missing = [column for column in label if column not in columns]
    if missing:
        raise LabelError(
            f"the data set {name!r} has no column {_listed(missing)}, which label_column says; it has {_listed(columns)}"
        )


def describe(
    datasets: Mapping[str, Any],
    label: str | tuple[str, ...] | None,
    params: Mapping[str, Mapping[str, Any]],
    rules: DataRules,
) -> dict[str, DataSpec]:
    """Execute the data sets, and say what their columns are.

    Raises:
        LabelError: the label is missing.
        ValueError: a column is missing, or holds what cannot be learned from; a data set has no rows.
    """
    found: dict[str, DataSpec] = {}
    features: tuple[str, ...] | None = None
    categories: dict[str, list[Any]] = {}
    for name in sorted(datasets, key=lambda name: name != TRAIN):  # the others have the features of "train"
        dataset = datasets[name].materialize()  # what is asked of it below executes nothing any more
        blocks = Blocks.of(dataset)
        if not blocks.total:
            raise ValueError(f"the data set {name!r} has no rows")
        schema = _schema(name, dataset)
        roles, options, used = _columns(name, params.get(name, {}), schema.names, rules)
        labels = (label,) if isinstance(label, str) else label or ()
        check_label(name, labels, schema.names)
        if features is None:
            features = tuple(column for column in schema.names if column not in {*labels, *used})
            categories = _categories(name, dataset, schema, features)
        missing = [column for column in features if column not in schema.names]
        if missing:
            raise ValueError(
                f"the data set {name!r} has no column {_listed(missing)}, which 'train' has; it has {_listed(schema.names)}"
            )
        found[name] = DataSpec(blocks, label, features, roles, options, categories)
    return {name: found[name] for name in datasets}


def _schema(name: str, dataset: Any) -> Any:
    import pyarrow

    schema = dataset.schema()
    if not isinstance(schema, pyarrow.Schema):
        raise ValueError(
            f"the data set {name!r} has no named columns, but {schema}: make it one of tables, such as with from_pandas"
        )
    return schema


def _columns(
    name: str, params: Mapping[str, Any], columns: Sequence[str], rules: DataRules
) -> tuple[dict[str, Any], dict[str, Any], set[str]]:
    """What other columns are, other options, and the columns that are no features."""
    roles = {rules.roles[key]: value for key, value in params.items() if key in rules.roles}
    options = {key: value for key, value in params.items() if key in rules.options}
    ignored = params.get("ignore", ())
    used = {ignored} if isinstance(ignored, str) else set(ignored)
    for value in roles.values():
        used.update([value] if isinstance(value, str) else value)
    missing = sorted(used - set(columns))
    if missing:
        raise ValueError(
            f"the data set {name!r} has no column {_listed(missing)}, which dmatrix_params name; it has {_listed(columns)}"
        )
    return roles, options, used


def _categories(name: str, dataset: Any, schema: Any, features: Sequence[str]) -> dict[str, list[Any]]:
    """The values of columns of categories.

    Raises:
        ValueError: there are no features, or some hold what is neither numbers nor categories.
    """
    import pyarrow.types as types

    if not features:
        raise ValueError(f"the data set {name!r} has no columns to learn from but the label: {_listed(schema.names)}")
    found: dict[str, list[Any]] = {}
    wrong = []
    for column in features:
        kind = schema.field(column).type
        if types.is_dictionary(kind):
            values = [value for value in dataset.unique(column) if value is not None]
            found[column] = sorted(values, key=lambda value: (isinstance(value, str), value))
        elif not any(
            test(kind)
            for test in (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal, types.is_null)
        ):
            wrong.append(f"{column!r} ({kind})")
    if wrong:
        raise ValueError(
            f"columns of the data set {name!r} hold neither numbers nor categories: {', '.join(wrong)}. Use a preprocessor, such "
            "as Categorizer or OrdinalEncoder, or leave them out with dmatrix_params={'train': {'ignore': [...]}}"
        )
    return found


def _listed(names: Any) -> str:
    names = list(names)
    shown = ", ".join(repr(name) for name in names[:30])
    return f"{shown} and {len(names) - 30} more" if len(names) > 30 else shown or "none"


def check_train_dataset(datasets: Mapping[str, Any]) -> None:
    """Raise DatasetMissingError unless there is a data set to train on."""
    if TRAIN not in datasets:
        raise DatasetMissingError(f"there must be a data set {TRAIN!r} to train on; datasets has {_listed(datasets)}")

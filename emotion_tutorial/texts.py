"""Check what a helper is given as texts, labels or a split, in one place."""

import math
import numbers
import re
import sys
from collections.abc import Iterable, Mapping, Set
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from emotion_tutorial.exceptions import DataError, SettingsError

Texts: TypeAlias = str | Iterable[str]
"""One text or many: a string, or a list, a tuple, a generator, an array, a pandas Series, a column of a `Dataset`."""
HALF_CHARACTER = re.compile("[\ud800-\udfff]")
NUMBERS = (int, float, np.integer, np.floating, np.bool_)
NO_COLUMN = (str, bytes, Mapping, Set, pd.DataFrame)
"""Iterating over these yields letters, bytes, names or values in no particular order."""


def as_column(given: Any, name: str) -> tuple[list[Any], pd.Index]:
    """Return the values of one column, and their index.

    Parameters
    ----------
    given
        A list, tuple, generator, array, tensor, Series, Index, Arrow array or column of a `Dataset`; or a frame, a
        two-dimensional array or a `Dataset` that has a single column.
    name
        The caller's name for it, which appears in messages.

    Returns
    -------
    tuple of list and Index
        The values, as plain Python objects where the column knows how to convert them. Objects of pandas keep their
        index; the rows of everything else are counted from 0.

    Raises
    ------
    DataError
        If it is anything else. A set is refused too, because it has no order.
    """
    if _comes_from_datasets(given, "Dataset") and given.num_columns == 1:
        given = given.with_format(None)[given.column_names[0]]
    if _comes_from_datasets(given, "Column"):
        given = given[:]  # to iterate over it takes a hundred times as long
    shape = getattr(given, "shape", None)
    if isinstance(shape, tuple) and shape[1:] == (1,):
        given, shape = given.squeeze(axis=1), shape[:1]
    no_column = isinstance(given, NO_COLUMN) or _comes_from_datasets(given, "Dataset")
    if no_column or not isinstance(given, Iterable) or len([1] if shape is None else shape) != 1:
        found = f"{type(given).__name__} {shape or ''}".rstrip()
        raise DataError(f"{name}= is a {found}, not one column of values. Give a list, or a column such as data['x'].")
    if isinstance(given, np.ndarray) and given.dtype.kind in "mM":
        given = pd.Series(given)  # dates stay dates, while NumPy's own tolist() turns some into integers
    convert = getattr(given, "to_pylist", getattr(given, "tolist", None))
    values = convert() if convert else list(given)
    return values, given.index if isinstance(given, pd.Series) else pd.RangeIndex(len(values))


def as_texts(given: Any, name: str = "texts") -> tuple[list[str], pd.Index]:
    """Return texts as a list of plain strings, and their index as `as_column` does. A string is one text.

    Raises
    ------
    DataError
        If this is not one column, or a value is missing, is not a string, or contains half a character (a lone
        surrogate).
    """
    given = given.item() if isinstance(given, np.ndarray) and not given.shape else given
    values, index = ([given], pd.RangeIndex(1)) if isinstance(given, str) else as_column(given, name)
    for row, value in enumerate(values):
        if not isinstance(value, str) or not is_label(value):
            raise DataError(f"{_found(name, row, index, value)}, not a string of whole characters. Leave the row out.")
    return [*map(str.__str__, values)], index  # not str(), which gives the name of a member of an enumeration


def as_labels(given: Any, name: str, texts: int | None) -> list[Any]:
    """Return one label for each text, an id or a name.

    Parameters
    ----------
    given
        One column, as `as_column` takes it.
    name
        The caller's name for it, which appears in messages.
    texts
        The number of texts. None: as many as there are labels.

    Raises
    ------
    DataError
        If there is not one label for each text, or no label at all; or if a label is missing, is itself a list, or is
        neither a string nor a number.
    """
    values, index = as_column(given, name)
    if texts not in (None, len(values)) or not values:
        raise DataError(f"There are {texts} texts and {len(values)} labels in {name}=. Give one label per text.")
    for row, value in enumerate(values):
        if not is_label(value):
            raise DataError(f"{_found(name, row, index, value)}, not one label, a name or an id. Leave the row out.")
    return values


def as_ids(classes: int | None, texts: int | None = None, **given: Any) -> list[npt.NDArray[np.int64]]:
    """Return columns of label ids, which belong to the same texts, as arrays.

    Parameters
    ----------
    classes
        The number of label names. None: an id is any whole number.
    texts
        The number of texts. None: as many as the first column has.
    **given
        One or more columns, as `as_column` takes them, by the caller's name for each.

    Raises
    ------
    DataError
        If a value is not an id, such as a name or a fraction (3.0 stands for the id 3, and True for 1); if there is not
        one id for each text; or if the columns come from pandas and have different indexes.
    """
    require_one_index(**given)
    lowest, highest = (-(2**63), 2**63 - 1) if classes is None else (0, classes - 1)
    arrays = []
    for name, column in given.items():
        ids = as_labels(column, name, texts)
        texts = len(ids)
        for row, value in enumerate(ids):
            if isinstance(value, str) or value != int(value) or not lowest <= value <= highest:
                expected = "a whole number" if classes is None else f"an id from 0 to {highest}"
                raise DataError(f"{name}[{row}] is {shorten(value)}, not {expected}. Give the places of the names.")
        arrays.append(np.array([*map(int, ids)], dtype=np.int64))
    return arrays


def as_matrix(given: Any, name: str) -> npt.NDArray[Any]:
    """Return finite numbers as an array with a row for each text.

    Raises
    ------
    DataError
        If it is anything else.
    """
    from sklearn.utils import check_array

    try:
        matrix = check_array(given, ensure_all_finite=False)
    except (TypeError, ValueError, RuntimeError) as error:
        said = shorten(str(error), 200)
        raise DataError(f"{name}= is not a matrix of numbers with a row for each text: {said}. Make it one.") from error
    if not (finite := np.isfinite(matrix).all(axis=1)).all():
        raise DataError(f"{name}[{np.argmin(finite)}] is not finite: it has NaN or infinite values. Leave the row out.")
    return matrix


def require_one_index(**given: Any) -> None:
    """Raise a DataError if those that come from pandas have different indexes."""
    indexes = {name: thing.index for name, thing in given.items() if isinstance(thing, pd.Series | pd.DataFrame)}
    if any(not index.equals(next(iter(indexes.values()))) for index in indexes.values()):
        names = " and ".join(f"{name}=" for name in indexes)
        raise DataError(f"{names} have different indexes. Take them from one frame, or give arrays, in one order.")


def is_label(value: Any) -> bool:
    """Return whether a value can be a label: a string of whole characters, or a finite number."""
    if isinstance(value, str):
        return not HALF_CHARACTER.search(value)
    return isinstance(value, NUMBERS) and math.isfinite(value)


def require_labeled(dataset: Any, where: str) -> list[str]:
    """Return the label names of a split that has a `text` of strings and a `label` with names.

    Raises
    ------
    DataError
        If it is not such a split, or a label is missing or is not one of the ids.
    """
    from datasets import ClassLabel, Dataset, Value

    features = dataset.features if isinstance(dataset, Dataset) else {}
    text, label = features.get("text"), features.get("label")
    if text not in (Value("string"), Value("large_string")) or not isinstance(label, ClassLabel):
        found = f"has the columns {shorten(dict(features), 300)}" if features else f"is a {type(dataset).__name__}"
        raise DataError(f"{where} {found}; expected a Dataset of load_splits(), with a text and a ClassLabel label.")
    if len(dataset):
        as_ids(label.num_classes, **{f"{where}, label": dataset.with_format(None)["label"]})
    return label.names


def require_number(low: float, high: float = math.inf, **settings: Any) -> None:
    """Raise a SettingsError unless each setting is a finite number in a range; a whole one if `low` is an integer."""
    kind: Any
    kind, wanted = (numbers.Integral, "whole") if isinstance(low, int) else (numbers.Real, "finite")
    limits = f"from {low:,}" + (f" to {high:,}" if high < math.inf else "")
    for name, value in settings.items():
        if not isinstance(value, kind) or isinstance(value, bool) or not low <= value <= high or value == math.inf:
            raise SettingsError(f"{name}= is {shorten(value)}. Give a {wanted} number {limits}.")


def shorten(thing: object, length: int = 60) -> str:
    """Return how a thing is written in a message, cut to so many characters."""
    return shown if len(shown := repr(thing).replace("\n", " ")) <= length else shown[:length] + " ..."


def is_missing(value: Any) -> bool:
    """Return whether a value stands for none: None, NaN, or another of pandas."""
    return pd.api.types.is_scalar(value) and pd.isna(value)


def _comes_from_datasets(given: Any, kind: str) -> bool:
    """Return whether something is a `Dataset` or a `Column`; a service that has neither does without the library."""
    return isinstance(given, getattr(sys.modules.get("datasets"), kind, ()))


def _found(name: str, row: int, index: pd.Index, value: Any) -> str:
    place = "" if index.equals(pd.RangeIndex(len(index))) else f" (index {index[row]})"
    return f"{name}[{row}]{place} is {'missing' if is_missing(value) else shorten(value)}"

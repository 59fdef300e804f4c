"""Check what a helper is given as texts, labels or a split, in one place."""

import math
import numbers
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from datasets import ClassLabel, Column, Dataset, Value

from emotion_tutorial.exceptions import DataError, SettingsError

Texts: TypeAlias = str | Iterable[str]
"""One text or many: a string, or a list, a tuple, a generator, an array, a pandas Series, a column of a `Dataset`."""
HALF_CHARACTER = re.compile("[\ud800-\udfff]")
STRINGS = (Value("string"), Value("large_string"))
NUMBERS = (int, float, np.integer, np.floating, np.bool_)
NO_COLUMN = (str, bytes, bytearray, memoryview, Mapping, Set, pd.DataFrame, Dataset)
"""Iterating over these yields letters, bytes, names or rows, or values in no particular order."""


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
    if isinstance(given, Dataset) and len(given.column_names) == 1:
        given = given.with_format(None)[given.column_names[0]]
    elif isinstance(given, pd.DataFrame) and len(given.columns) == 1:
        given = given.iloc[:, 0]
    given = given[:] if isinstance(given, Column) else given  # to iterate over it takes a hundred times as long
    columns = getattr(given, "column_names", getattr(given, "columns", None))
    if columns is None and getattr(given, "shape", ())[1:] == (1,):
        given = given[:, 0]  # of np.matrix, this still has two dimensions
    shape = getattr(given, "shape", (1,))
    if isinstance(given, NO_COLUMN) or columns is not None or not isinstance(given, Iterable) or len(shape) != 1:
        found = type(given).__name__ + (f" of the shape {tuple(shape)}" if len(shape) != 1 else "")
        first = columns[0] if isinstance(columns, list | pd.Index) and len(columns) else None
        advice = (
            f"one column, such as {name}=data[{first!r}]" if first is not None else "a list, or one column of a split"
        )
        raise DataError(f"{name}= is a {found}, not one column of values. Give {advice}.")
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
    values, index = ([given], pd.RangeIndex(1)) if isinstance(given, str) else as_column(given, name)
    for row, value in enumerate(values):
        if not isinstance(value, str) or HALF_CHARACTER.search(value):
            reason = "has half a character" if isinstance(value, str) else "is not a string"
            reason = "is missing" if _is_missing(value) else reason
            where = _place(name, row, index)
            raise DataError(f"{where} {reason}: {shorten(value)}. Texts are strings: leave the row out, or correct it.")
    return [*map(str.__str__, values)], index  # not str(), which gives the name of a member of an enumeration


def as_labels(given: Any, name: str, texts: int) -> list[Any]:
    """Return one label for each text, an id or a name.

    Parameters
    ----------
    given
        One column, as `as_column` takes it.
    name
        The caller's name for it, which appears in messages.
    texts
        The number of texts.

    Raises
    ------
    DataError
        If there is not one label for each text, or no label at all; or if a label is missing, is itself a list, or is
        neither a string nor a number.
    """
    values, index = as_column(given, name)
    if len(values) != texts or not values:
        raise DataError(f"There are {texts} texts and {len(values)} labels in {name}=. Give one label per text.")
    for row, value in enumerate(values):
        if not is_label(value):
            found = "missing" if _is_missing(value) else shorten(value)
            where = _place(name, row, index)
            raise DataError(f"{where} is {found}. Each text has one label, a name or an id: leave the row out.")
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
        column = [*column] if isinstance(column, Iterator) else column
        texts = len(as_column(column, name)[0]) if texts is None else texts
        ids = as_labels(column, name, texts)
        for row, value in enumerate(ids):
            if isinstance(value, str) or value != int(value) or not lowest <= value <= highest:
                expected = "a whole number" if classes is None else f"an id from 0 to {highest}"
                advice = "The id of a label is its place among the names, counted from 0"
                raise DataError(f"{name}[{row}] is {shorten(value)}, not {expected}. {advice}.")
        arrays.append(np.array([*map(int, ids)], dtype=np.int64))
    return arrays


def as_matrix(given: Any, name: str) -> npt.NDArray[Any]:
    """Return finite numbers as an array with a row for each text.

    Raises
    ------
    DataError
        If it is anything else.
    """
    try:
        matrix = np.asarray(given)
        matrix = matrix.astype(np.float64) if matrix.dtype.kind == "O" else matrix
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{name}= is not an array of numbers: {shorten(str(error), 200)}. Make it one.") from error
    if matrix.dtype.kind not in "biuf":
        raise DataError(f"{name}= has values of the type {matrix.dtype}. Convert them to numbers.")
    if matrix.ndim != 2 or not matrix.size:
        found = f"{name}= is a {type(given).__name__} of the shape {matrix.shape}"
        raise DataError(f"{found}. Give a matrix with a row for each text and a column for each feature or label.")
    if not (finite := np.isfinite(matrix).all(axis=1)).all():
        raise DataError(f"{name}[{np.argmin(finite)}] is not finite: it has NaN or infinite values. Leave the row out.")
    return matrix


def require_one_index(**given: Any) -> None:
    """Raise a DataError if those that come from pandas have different indexes."""
    indexes = {name: thing.index for name, thing in given.items() if isinstance(thing, pd.Series | pd.DataFrame)}
    if any(not index.equals(next(iter(indexes.values()))) for index in indexes.values()):
        names = " and ".join(f"{name}=" for name in indexes)
        raise DataError(f"{names} have different indexes. Take them from one frame, or give arrays, in one order.")


def require_whole(least: int, **settings: Any) -> None:
    """Raise a SettingsError if a setting is not a whole number from `least`."""
    for name, value in settings.items():
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
            raise SettingsError(f"{name}= is {shorten(value)}. Give a whole number from {least}.")


def is_label(value: Any) -> bool:
    """Return whether a value can be a label: a string of whole characters, or a finite number."""
    if isinstance(value, str):
        return not HALF_CHARACTER.search(value)
    # To NumPy, a difference of times is an integer.
    return isinstance(value, NUMBERS) and not isinstance(value, np.timedelta64) and math.isfinite(value)


def require_labeled(dataset: Any, where: str) -> list[str]:
    """Return the label names of a split that has a `text` of strings and a `label` with names.

    Raises
    ------
    DataError
        If it is not such a split, or a label is missing or is not one of the ids.
    """
    features = dataset.features if isinstance(dataset, Dataset) else {}
    if features.get("text") not in STRINGS or not isinstance(features.get("label"), ClassLabel):
        found = f"has the columns {shorten(dict(features), 300)}" if features else f"is a {type(dataset).__name__}"
        needed = "a Dataset with a column 'text' of strings and a ClassLabel 'label'"
        advice = "Load it with load_splits(), which takes text_column= and label_column="
        raise DataError(f"{where} {found}; expected {needed}. {advice}.")
    names: list[str] = features["label"].names
    ids = dataset.data.column("label").to_pandas()  # of all rows, also those that are not selected, which is fast
    if not ids.between(0, len(names) - 1).all():
        ids = dataset.select_columns(["label"]).to_pandas()["label"]
    if (wrong := ~ids.between(0, len(names) - 1)).any():
        row = int(np.argmax(wrong))
        found = "missing" if pd.isna(ids[row]) else f"{ids[row]:.0f}, not 0 to {len(names) - 1}"
        raise DataError(f"{where}, row {row}: the label is {found}. Leave the row out.")
    return names


def require_number(name: str, value: Any, low: float, high: float) -> None:
    """Raise a SettingsError unless a value is a number in a range; if the ends are integers, it is one, too."""
    kind: Any = numbers.Integral if isinstance(low, int) else numbers.Real
    if not isinstance(value, kind) or isinstance(value, bool) or not low <= value <= high or value == math.inf:
        wanted = f"{'an integer' if isinstance(low, int) else 'a finite number'} from {low:,} to {high:,}"
        raise SettingsError(f"{name} is {shorten(value)}. Give {wanted}.")


def shorten(thing: object, length: int = 60) -> str:
    """Return how a thing is written in a message, cut to so many characters."""
    return shown if len(shown := repr(thing).replace("\n", " ")) <= length else shown[:length] + " ..."


def _is_missing(value: Any) -> bool:
    return pd.api.types.is_scalar(value) and pd.isna(value)


def _place(name: str, row: int, index: pd.Index) -> str:
    [label] = index[row : row + 1].tolist()
    return f"{name}[{row}]" + (
        "" if isinstance(index, pd.RangeIndex) and label == row else f" (index {shorten(label)})"
    )

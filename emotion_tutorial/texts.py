"""What a helper is given as texts, labels or a split, checked once and in one place."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from datasets import ClassLabel, Dataset, Value

from emotion_tutorial.exceptions import DataError

Texts: TypeAlias = str | Iterable[str]
"""One text; or many: a list, a tuple, a generator, an array, a pandas Series, a column of a `Dataset`."""
HALF_CHARACTER = re.compile("[\ud800-\udfff]")
STRINGS = (Value("string"), Value("large_string"))


def as_column(given: Any, name: str) -> tuple[list[Any], pd.Index]:
    """Return the values of one column and their index: that of pandas' objects is kept, others count from 0.

    Parameters
    ----------
    given
        A list, tuple, generator, array, Series, Index, column of a `Dataset`; or a frame, an array or a `Dataset` of
        one column.
    name
        What the caller calls it, for messages.

    Raises
    ------
    DataError
        If it is anything else: of a frame, a dictionary or a `DatasetDict`, Python would yield the names.
    """
    if isinstance(given, Dataset) and len(given.column_names) == 1:
        given = given[given.column_names[0]]
    shape: Any = getattr(given, "shape", None)
    if isinstance(given, pd.DataFrame | np.ndarray) and shape[1:] == (1,):
        given = given.iloc[:, 0] if isinstance(given, pd.DataFrame) else given[:, 0]
    if isinstance(given, pd.DataFrame | Dataset | Mapping | bytes) or not isinstance(given, Iterable):
        found, advice = type(given).__name__, "Give a list"
        columns = [*getattr(given, "columns", getattr(given, "column_names", None) or [])]
        if isinstance(given, pd.DataFrame | Dataset | Mapping):
            column = repr(columns[0] if columns and isinstance(given, pd.DataFrame | Dataset) else "text")
            found += f" of {len(columns)} columns" if isinstance(given, pd.DataFrame | Dataset) else ""
            advice = f"Give one column, such as {name}=data[{column}]" if len(columns) else "Give one column of a split"
        raise DataError(f"{name}= is a {found}, not one column of values. {advice}.")
    if len(shape or (1,)) != 1:
        raise DataError(f"{name}= has the shape {tuple(shape)}, not one column of values. Give one column.")
    if isinstance(given, pd.Series):
        return given.tolist(), given.index
    values = list(given)
    return values, pd.RangeIndex(len(values))


def as_texts(given: Any, name: str = "texts") -> tuple[list[str], pd.Index]:
    """Return texts as a list of strings, and their index; see `as_column`. A string is one text.

    Raises
    ------
    DataError
        If it is not one column, or a value is missing, is no string, or has half a character (a lone surrogate).
    """
    values, index = ([given], pd.RangeIndex(1)) if isinstance(given, str) else as_column(given, name)
    for row, value in enumerate(values):
        if not isinstance(value, str) or HALF_CHARACTER.search(value):
            where = f"{name}[{row}]" + ("" if index[row] == row else f" (index {index[row]!r})")
            reason = "has half a character" if isinstance(value, str) else "is no string"
            if not isinstance(value, str) and np.ndim(value) == 0 and pd.isna(value):
                reason = "is missing"
            raise DataError(f"{where} {reason}: {shorten(value)}. Texts are strings: leave the row out, or correct it.")
    return [str(value) for value in values], index


def as_labels(given: Any, name: str, texts: pd.Index) -> list[Any]:
    """Return one label for each text, as given: an id or a name.

    Parameters
    ----------
    given
        As in `as_column`.
    name
        What the caller calls it, for messages.
    texts
        The index of the texts, as `as_texts` returns it.

    Raises
    ------
    DataError
        If there is not one label for each text, none at all, a label is missing or is itself a list, or texts and
        labels are Series whose indexes differ.
    """
    values: list[Any]
    values, index = as_column(given, name)
    if len(values) != len(texts) or not values:
        raise DataError(f"There are {len(texts)} texts and {len(values)} labels in {name}=. Give one label per text.")
    if isinstance(given, pd.Series) and not isinstance(texts, pd.RangeIndex) and not index.equals(texts):
        raise DataError(f"The texts and {name}= have different indexes. Take both from one frame.")
    for row, value in enumerate(values):
        is_scalar = np.ndim(value) == 0 and isinstance(value, str | int | float | np.generic)
        if not is_scalar or pd.isna(value):
            found = "missing" if np.ndim(value) == 0 and pd.isna(value) else shorten(value)
            raise DataError(f"{name}[{row}] is {found}. Each text has one label, a name or an id: leave the row out.")
    return values


def require_labeled(dataset: Any, where: str) -> list[str]:
    """Return the label names of a split with a `text` of strings and a `label` with names.

    Raises
    ------
    DataError
        If it is not such a split, or a label is missing or not one of the ids.
    """
    features = dataset.features if isinstance(dataset, Dataset) else {}
    if features.get("text") not in STRINGS or not isinstance(features.get("label"), ClassLabel):
        found = f"has the columns {dict(features)}" if features else f"is a {type(dataset).__name__}"
        needed = "a Dataset with a column 'text' of strings and a ClassLabel 'label'"
        raise DataError(f"{where} {found}; expected {needed}. Load it with load_splits().")
    names: list[str] = features["label"].names
    ids = dataset.with_format(None).select_columns(["label"]).to_pandas()["label"]
    if (wrong := ~ids.isin(range(len(names)))).any():
        row = int(np.argmax(wrong))
        raise DataError(f"{where}, row {row}: the label is {ids[row]}, not 0 to {len(names) - 1}. Leave the row out.")
    return names


def shorten(thing: object) -> str:
    """Return how a thing is written in a message: not more than 60 characters of it."""
    return shown if len(shown := repr(thing)) <= 60 else shown[:60] + " ..."

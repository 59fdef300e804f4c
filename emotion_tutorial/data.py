"""Load labeled texts from any source as a `DatasetDict` of `text` and `label`, and turn a split into a frame."""

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from sklearn.model_selection import train_test_split

from emotion_tutorial.corpus import EMOTIONS
from emotion_tutorial.exceptions import DataError, DataWarning, SettingsError
from emotion_tutorial.reading import MissingLabelsError, read_file, require_columns
from emotion_tutorial.sources import SPLITS, open_source, pick_splits
from emotion_tutorial.texts import as_column, as_texts, is_label, require_labeled, shorten

MAX_CLASSES = 1_000
"""If there are more distinct labels than this, each must have ten rows on average."""

Part: TypeAlias = str | Path | pd.DataFrame | Dataset
Source: TypeAlias = Part | Mapping[str, Part]


def load_splits(
    source: Source = "embedded",
    *,
    name: str | None = None,
    revision: str | None = None,
    text_column: str = "text",
    label_column: str = "label",
    label_names: Sequence[str] | None = None,
    seed: int = 0,
    encoding: str = "utf-8",
) -> DatasetDict:
    """Load labeled texts.

    Parameters
    ----------
    source
        - `embedded`, the bundled corpus; `hub`, which is `dair-ai/emotion`; or the id of another data set on the Hub,
          such as `owner/name`
        - a file, in one of the formats of `emotion_tutorial.reading.read_file`; a path may begin with `~`
        - a folder with files for `train`, `validation` (or `val`, `valid`, `dev`) and `test`, in parts such as
          `train-00000-of-00002.parquet` or a subfolder `data` as on the Hub; other files are left alone
        - a folder written by `save_to_disk`
        - a pandas `DataFrame`, a `Dataset`, or a `DatasetDict` or dictionary of files, frames and data sets by split
    name, revision
        The configuration of a Hub data set that has several, and a branch, tag or commit. None: the default ones.
    text_column, label_column
        Names of the columns to use. Labels are names or numbers: 3, 3.0 and "3" are one label.
    label_names
        Names in the order of their ids. The labels in the data are these names, or ids into them. None: the names
        that the data set brings (as a `ClassLabel`), or else the sorted labels of the training rows. In that last
        case, ids in place of names are refused.
    seed
        The seed for the rows that are cut from the training rows.
    encoding
        The encoding of text files.

    Returns
    -------
    DatasetDict
        Splits `train`, `validation` and `test` with features `text: string` and `label: ClassLabel`. No row is left
        out. In these cases a `DataWarning` says what was done:

        - A split that is not there is cut from the training rows: a tenth of them, stratified.
        - A test split without a column of labels, or whose labels are all hidden (missing, or -1), is set aside, and
          another one is cut. Hidden labels in another split, or in some rows only, are an error.
        - Empty texts are kept as they are, and missing ones as empty strings.

    Raises
    ------
    NotFoundError, HubError
        If there is no such source, or the Hub does not answer.
    DataError, SettingsError
        If the source does not hold texts with one label each, or too few to train and test a classifier, or if an
        argument does not fit the source.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"text": ["I won", "I lost"] * 20, "label": ["joy", "sadness"] * 20})
    >>> splits = load_splits({"train": frame, "validation": frame[:8], "test": frame[:8]})
    >>> splits["train"].features["label"].names
    ['joy', 'sadness']
    """
    is_bundled = isinstance(source, str) and source == "embedded"
    if is_bundled:
        text_column, label_column = "text", "label"
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise SettingsError(f"seed= is {shorten(seed)}. Give a whole number, from 0 to 2**32 - 1.")
    title = str(source) if isinstance(source, str | Path) else f"the {type(source).__name__}"
    given = [] if label_names is None else _check_names(as_column(label_names, "label_names")[0], "label_names= is")
    names, frames = given, {}
    for split, parts in pick_splits(open_source(source, name, revision), title).items():
        found = []
        try:
            for part in parts:
                where = str(part) if len(parts) > 1 else f"{title}, split {split!r}"
                table = read_file(part, text_column, label_column, encoding) if isinstance(part, Path) else part
                feature = table.features.get(label_column) if isinstance(table, Dataset) else None
                own = feature.names if isinstance(feature, ClassLabel) else EMOTIONS if is_bundled else []
                names = names or (own and _check_names([*own], f"{where}: the label names are"))
                if own and given and {*map(_as_name, given)}.isdisjoint(map(_as_name, own)):
                    message = (
                        f"{where}: its label names {shorten([*own])} are replaced, in this order, by label_names=."
                    )
                    _warn(message, stacklevel=3)
                    own = []
                found.append(_check_rows(table, where, text_column, label_column, own))
        except MissingLabelsError as error:
            if split != "test":
                raise
            _warn(f"{title}: the test split has no labels. It is set aside. ({error})", stacklevel=3)
        else:
            frames[split] = pd.concat(found, ignore_index=True)
    ids_are_known = bool(names)
    names = names or _find_names(frames["train"]["label"], title)
    if "test" in frames and set(frames["test"]["label"].dropna()) <= {"-1"} - set(names):
        _warn(f"{title}: the labels of the test split are hidden. It is set aside.", stacklevel=3)
        del frames["test"]
    for split, frame in frames.items():
        frame["label"] = _label_ids(frame["label"], names, ids_are_known, f"{title}, split {split!r}")
    if len(names) < 2:
        there = f"{len(names)} class ({', '.join(map(shorten, names))})"
        raise DataError(f"{title} has {there}, not two or more. Check label_column=, label_names=.")
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    splits = {}
    for split in list(frames):  # pop() frees the memory of a frame
        splits[split] = Dataset.from_pandas(frames.pop(split), features=features, preserve_index=False)
    return _cut_missing(splits, title, seed)


def to_frame(dataset: Dataset) -> pd.DataFrame:
    """Return a split as a DataFrame with the columns `text`, `label` (an id) and `label_name`.

    Raises a `DataError` if the split lacks a `text` of strings or a `label` with names, or a label is missing.
    """
    names = require_labeled(dataset, "dataset=")
    frame = dataset.select_columns(["text", "label"]).to_pandas()
    return frame.assign(label_name=frame["label"].map(dict(enumerate(names))))


def _check_rows(part: Any, where: str, text_column: str, label_column: str, names: Sequence[str]) -> pd.DataFrame:
    """Return the rows as `text` (strings) and `label` (names), or say what is wrong with them, and in which row."""
    if not isinstance(part, pd.DataFrame | Dataset):
        raise SettingsError(f"{where}: expected one DataFrame, Dataset or file, not several; got {shorten(part)}.")
    columns = part.column_names if isinstance(part, Dataset) else part.columns
    require_columns(where, columns, text_column, label_column)
    frame = part.select_columns([text_column, label_column]).to_pandas() if isinstance(part, Dataset) else part
    if not len(frame):
        raise DataError(f"{where}: no rows. Leave the split out, or fill it.")
    texts, labels = (frame[column].reset_index(drop=True) for column in (text_column, label_column))
    if not isinstance(texts.dtype, pd.StringDtype):
        texts = texts.astype(object)
    texts = texts.where(texts.notna(), "")
    try:
        if pd.api.types.infer_dtype(texts) != "string":
            raise TypeError
        texts = texts.astype("string[pyarrow]")
    except (TypeError, UnicodeEncodeError):  # then each row is looked at, and a wrong one refused
        texts = pd.Series(as_texts(texts.tolist(), f"{where}, text")[0], dtype="string[pyarrow]")
    if (empty := np.flatnonzero(texts.str.strip() == "")).size:
        found = f"{empty.size} empty texts (rows {', '.join(map(str, empty[:5]))})"
        _warn(f"{where}: {found}. They are kept; filter them out if you do not want them.")
    return pd.DataFrame({"text": texts, "label": _read_labels(labels, where, dict(enumerate(names)))})


def _read_labels(labels: pd.Series, where: str, names: Mapping[int, str]) -> pd.Series:
    """Return labels as names: 3, 3.0 and "3" are one label; what is missing is None."""
    try:
        codes, values = pd.factorize(labels)
    except (TypeError, NotImplementedError):  # of lists and the like: then each row is looked at
        codes, values = np.arange(len(labels)), pd.Index(labels, dtype=object)
    for code, label in enumerate(values):
        if not is_label(label):
            row = np.argmax(codes == code)
            advice = "a text has one label, a string or a finite number. Convert the column"
            raise DataError(f"{where}, row {row}: the label is {shorten(label)}, but {advice}.")
    found = [_as_name(names.get(label, label)) for label in values]
    return pd.Series(np.array([*found, None], dtype=object)[codes], dtype=object)


def _as_name(label: Any) -> str | None:
    written = str.__str__(label) if isinstance(label, str) else str(label)  # str() of an enumeration gives another name
    return re.sub(r"^(-?[0-9]+)\.0+$", r"\1", written.strip()) or None


def _check_names(names: list[Any], where: str) -> list[str]:
    """Return label names, if they are names and differ."""
    known = {_as_name(name) for name in names if isinstance(name, str) and is_label(name)}
    if len(known - {None}) < max(len(names), 1):
        raise DataError(f"{where} {shorten(names)}. Give a list of different names, none of them empty.")
    return [*map(str.__str__, names)]


def _find_names(labels: pd.Series, title: str) -> list[str]:
    """Return the labels found, sorted, if they look like classes and not like ids or texts."""
    names = sorted(labels.dropna().unique())
    if len(names) > MAX_CLASSES and 10 * len(names) > len(labels):
        found = f"{len(names):,} distinct labels in {len(labels):,} rows, such as {shorten(names[0])}"
        raise DataError(f"{title} has {found}. Name the column of classes with label_column=, or give label_names=.")
    return sorted(names, key=int) if all(re.fullmatch(r"-?[0-9]{1,400}", name) for name in names) else names


def _label_ids(labels: pd.Series, names: Sequence[str], ids_are_known: bool, where: str) -> pd.Series:
    known: dict[Any, int] = {_as_name(name): i for i, name in enumerate(names)}
    if ids_are_known and not any(re.fullmatch(r"-?[0-9]+", str(name)) for name in known):
        known |= {str(i): i for i in range(len(names))}  # labels may be ids instead of names
    ids = labels.map(known)
    if (bad := ids.isna()).any():
        row, there = int(np.argmax(bad)), ", ".join(map(shorten, names[:20]))
        found = "no label" if labels[row] is None else f"unknown label {shorten(labels[row])}"
        advice = f"Known labels: {there}. Correct the row, or give label_names=."
        raise DataError(f"{where}, row {row}: {found}; {bad.sum()} such rows. {advice}")
    return ids.astype("int64")


def _cut_missing(splits: dict[str, Dataset], title: str, seed: int) -> DatasetDict:
    """Cut missing splits from train, all of one size."""
    missing = [split for split in SPLITS if split not in splits]
    train = splits["train"]
    names, labels = train.features["label"].names, train.data.column("label").to_numpy()
    size = max(round(len(train) / 10), len(np.unique(labels)))
    kept = np.arange(len(train))
    for split in reversed(missing):  # test first: it stays the same when a validation file is added
        classes, counts = np.unique(labels[kept], return_counts=True)
        if counts.min() < 2:  # otherwise there are enough rows, too
            rarest = f"the rarest class, {names[classes[counts.argmin()]]!r}, has 1, and both sides need one"
            found = f"rows for split {split!r} from the {len(kept)} training rows of {title}"
            raise DataError(f"Cannot cut {size} {found}: {rarest}. Give more rows, or a {split} split.")
        kept, cut = train_test_split(kept, test_size=size, stratify=labels[kept], random_state=seed)
        splits[split] = train.select(np.sort(cut))
    if missing:
        splits["train"] = train.select(np.sort(kept))
        cut_rows = f"{size} stratified rows each (seed {seed}) were cut from train, which keeps {len(kept)}"
        _warn(f"{title} has no {' and no '.join(missing)} split: {cut_rows}. See audit() for rows on both sides.")
    return DatasetDict({split: splits[split] for split in SPLITS})


def _warn(message: str, stacklevel: int = 4) -> None:
    warnings.warn(message, DataWarning, stacklevel=stacklevel)

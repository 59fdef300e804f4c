"""Load labeled texts from any source as a `DatasetDict` of `text` and `label`, and turn a split into a frame."""

import os
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value, load_from_disk
from sklearn.model_selection import train_test_split

from emotion_tutorial.corpus import CORPUS_FOLDER, EMOTIONS
from emotion_tutorial.exceptions import DataError, DataWarning, NotFoundError, SettingsError, damage_is_said
from emotion_tutorial.hub import HUB_DATASET, load_hub_dataset
from emotion_tutorial.reading import MissingLabelsError, file_format, read_file, require_columns
from emotion_tutorial.replacing import whole
from emotion_tutorial.texts import as_column, as_texts, is_label, is_missing, require_labeled, require_number, shorten

SPLITS = {"train": ("train",), "validation": ("validation", "val", "valid", "dev"), "test": ("test",)}
"""The splits, and the names under which a source may have them."""
PART_NUMBER = r"-(\d{5})-of-(\d{5}).*"
"""The end of a file's name on the Hub, where a split may come in several files."""

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
    other_columns: bool = False,
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
    other_columns
        Keep the other columns too, as strings; a missing value stays missing. One that is called `text` or `label`, or
        like a column before it, cannot be kept, and a `DataWarning` says so.
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
    require_number(0, 2**32 - 1, seed=seed)
    is_bundled = isinstance(source, str) and source == "embedded"
    if is_bundled:
        text_column, label_column = "text", "label"
    title = str(source) if isinstance(source, str | Path) else f"the {type(source).__name__}"
    given = [] if label_names is None else _check_names(as_column(label_names, "label_names")[0], "label_names= is")
    names, frames = given, {}
    for split, parts in _pick_splits(_open_source(source, name, revision), title).items():
        found = []
        try:
            for part in parts:
                where = str(part) if len(parts) > 1 else f"{title}, split {split!r}"
                table = read_file(part, text_column, label_column, encoding) if isinstance(part, Path) else part
                feature = table.features.get(label_column) if isinstance(table, Dataset) else None
                own = feature.names if isinstance(feature, ClassLabel) else [*EMOTIONS] if is_bundled else []
                names = names or (own and _check_names(own, f"{where}: the label names are"))
                if own and given and {*map(_as_name, given)}.isdisjoint(map(_as_name, own)):
                    _warn(f"{where}: its label names {shorten(own)} are replaced, in this order, by label_names=.", 3)
                    own = []
                rows = _check_rows(table, where, text_column, label_column, own)
                found.append(
                    rows.join(_other_columns(table, where, text_column, label_column)) if other_columns else rows
                )
        except MissingLabelsError as error:
            if split != "test":
                raise
            _warn(f"{title}: the test split has no labels. It is set aside. ({error})", 3)
        else:
            frames[split] = pd.concat(found, ignore_index=True)
    ids_are_known = bool(names)
    if not names:
        names = sorted(frames["train"]["label"].dropna().unique())
        names.sort(key=int if all(re.fullmatch("-?[0-9]+", name) for name in names) else None)
    if "test" in frames and set(frames["test"]["label"].dropna()) <= {"-1"} - set(names):
        _warn(f"{title}: the labels of the test split are hidden. It is set aside.", 3)
        del frames["test"]
    for split, frame in frames.items():
        frame["label"] = _label_ids(frame["label"], names, ids_are_known, f"{title}, split {split!r}")
    if len(names) < 2:
        raise DataError(f"{title} has {len(names)} class {shorten(names)}, not two or more. Check label_column=.")
    kept = dict.fromkeys(name for frame in frames.values() for name in frame)
    features = Features(dict.fromkeys(kept, Value("string")) | {"label": ClassLabel(names=names)})
    frames = {split: frame.reindex(columns=[*kept]) for split, frame in frames.items()}
    splits = {split: Dataset.from_pandas(frame, features, preserve_index=False) for split, frame in frames.items()}
    return _cut_missing(splits, title, seed)


def _open_source(source: Any, name: str | None = None, revision: str | None = None) -> Any:
    """Return what a source is or holds: a frame, a data set, the path of a file, or several of these by name."""
    path = Path()
    if isinstance(source, str | Path):
        # Path.expanduser and Path.exists fail for names that no file may have
        path = CORPUS_FOLDER if source == "embedded" else Path(os.path.expanduser(source))  # noqa: PTH111
        is_id = isinstance(source, str) and re.fullmatch(r"[\w-]+/[\w.-]+", source) and not file_format(path)
        if source == "hub" or (is_id and not os.path.exists(path)):  # noqa: PTH110
            return load_hub_dataset(HUB_DATASET if source == "hub" else str(source), name, revision)
    if name is not None or revision is not None:
        raise SettingsError("name= and revision= are for data sets on the Hub. Leave them out for this source.")
    if not isinstance(source, str | Path):
        return source
    if source == "" or not os.path.exists(path):  # noqa: PTH110
        advice = "Check it, or give 'embedded', 'hub' or the id of a Hub data set (owner/name)"
        raise NotFoundError(f"There is no file or folder {shorten(str(source), 300)} in {Path.cwd()}. {advice}.")
    if not path.is_dir():
        return path
    with whole(path.parent), whole(path):  # of both, a save that was interrupted is completed
        if any((path / f"{name}.json").is_file() for name in ("dataset_dict", "dataset_info")):
            with damage_is_said(path, "What save_to_disk wrote is damaged: save it again."):
                saved = load_from_disk(path)
                for part in saved.values() if isinstance(saved, DatasetDict) else [saved]:
                    part.data.validate(full=True)  # texts that are not UTF-8
                return saved
    top, data = (
        {file.name: file for file in sorted(path.glob(pattern)) if file.is_file() and file_format(file)}
        for pattern in ("*", "data/*")
    )
    return data if "train" in {*map(_split_name, data)} - {*map(_split_name, top)} else top


def _split_name(name: Any) -> str:
    """Return what a name says about the split: up to the first dot, or to the number of one of several parts."""
    return re.sub(PART_NUMBER, "", str(name).partition(".")[0]).lower()


def _pick_splits(found: Any, title: str) -> dict[str, list[Any]]:
    """Return the parts of each split, in order."""
    if not isinstance(found, Mapping):
        return {"train": [found]}
    picked = {}
    for split, aliases in SPLITS.items():
        if names := [name for name in found if _split_name(name) in aliases]:
            numbers = [re.search(PART_NUMBER, str(name)) for name in names]
            parts = {(int(number[1]), int(number[2])) if number else (0, 1) for number in numbers}
            if parts != {(i, len(names)) for i in range(len(names))}:
                there = f"{len(names)} parts for the split {split!r}, which do not fit together: {', '.join(names[:5])}"
                raise DataError(f"{title} has {there}. Keep one, or all the numbered files of a set.")
            picked[split] = [_open_source(found[name]) for name in names]
    if "train" not in picked:
        there = ", ".join(map(shorten, [*found][:10])) or "nothing that can be read"
        raise NotFoundError(f"{title} has no split 'train' (of a folder: no file such as train.csv). It has {there}.")
    return picked


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
    require_columns(where, part, text_column, label_column)
    frame = part.select_columns([text_column, label_column]).to_pandas() if isinstance(part, Dataset) else part
    if not len(frame):
        raise DataError(f"{where}: no rows. Leave the split out, or fill it.")
    given = frame[text_column].astype(object)
    texts, _ = as_texts(given.where(given.notna(), "").tolist(), f"{where}, text")
    if empty := [str(row) for row, text in enumerate(texts) if not text.strip()]:
        rows = f"{len(empty)} empty texts (rows {', '.join(empty[:5])})"
        _warn(f"{where}: {rows}. They are kept; filter them out if you do not want them.")
    by_id: dict[Any, str] = dict(enumerate(names))
    labels: list[str | None] = []
    for row, label in enumerate(frame[label_column].tolist()):
        if not is_label(label) and not is_missing(label):
            advice = "a text has one label, a string or a finite number. Convert the column"
            raise DataError(f"{where}, row {row}: the label is {shorten(label)}, but {advice}.")
        labels.append(None if is_missing(label) else _as_name(by_id.get(label, label)))
    return pd.DataFrame({"text": pd.Series(texts, dtype="string[pyarrow]"), "label": pd.Series(labels, dtype=object)})


def _other_columns(part: Any, where: str, *used: str) -> pd.DataFrame:
    """Return the columns that are neither text nor label, as strings."""
    frame = part.to_pandas() if isinstance(part, Dataset) else part.reset_index(drop=True)
    others = [place for place, name in enumerate(frame.columns) if name not in used]
    names = [str(frame.columns[place]) for place in others]
    if lost := [name for row, name in enumerate(names) if name in ("text", "label", *names[:row])]:
        _warn(f"{where}: the columns {shorten(lost)} are left out, because their names are taken. Rename them.")
    kept = {name: place for place, name in zip(others, names, strict=True) if name not in lost}
    values = {name: frame.iloc[:, place] for name, place in kept.items()}
    return pd.DataFrame({name: column.map(str, na_action="ignore").astype(object) for name, column in values.items()})


def _as_name(label: Any) -> str | None:
    """Return a label as a name: 3, 3.0 and "3" are one label."""
    return re.sub(r"^(-?[0-9]+)\.0+$", r"\1", label.strip() if isinstance(label, str) else str(label)) or None


def _check_names(names: list[Any], where: str) -> list[str]:
    """Return label names, if they are names and differ."""
    known = {_as_name(name) for name in names if isinstance(name, str) and is_label(name)}
    if len(known - {None}) < max(len(names), 1):
        raise DataError(f"{where} {shorten(names)}. Give a list of different names, none of them empty.")
    return [*map(str.__str__, names)]


def _label_ids(labels: pd.Series, names: Sequence[str], ids_are_known: bool, where: str) -> pd.Series:
    known = {_as_name(name): i for i, name in enumerate(names)}
    if ids_are_known and not any(re.fullmatch(r"-?[0-9]+", str(name)) for name in known):
        known |= {str(i): i for i in range(len(names))}  # labels may be ids instead of names
    ids = labels.map(known)
    if (bad := ids.isna()).any():
        row, advice = int(np.argmax(bad)), f"Correct the row, or give label_names=. Known labels: {shorten(names, 300)}"
        found = "no label" if labels[row] is None else f"unknown label {shorten(labels[row])}"
        raise DataError(f"{where}, row {row}: {found}; {bad.sum()} such rows. {advice}.")
    return ids.astype("int64")


def _cut_missing(splits: dict[str, Dataset], title: str, seed: int) -> DatasetDict:
    """Cut missing splits from train, all of one size."""
    missing = [split for split in SPLITS if split not in splits]
    train = splits["train"]
    labels = train.data.column("label").to_numpy()
    size = max(round(len(train) / 10), len(np.unique(labels)))
    kept = np.arange(len(train))
    for split in reversed(missing):  # test first: it stays the same when a validation file is added
        try:
            kept, cut = train_test_split(kept, test_size=size, stratify=labels[kept], random_state=seed)
        except ValueError as error:
            found = f"Cannot cut {size} rows for split {split!r} from the {len(kept)} training rows of {title}"
            ids, counts = np.unique(labels[kept], return_counts=True)
            rare = [train.features["label"].names[label] for label in ids[counts < 2]]
            why = f"Only 1 text is left with the label {shorten(rare[0])}" if rare else shorten(str(error), 300)
            for other in train.features["label"].names:
                if rare and other != rare[0] and other.casefold() == rare[0].casefold():
                    why += f", while others are called {shorten(other)}"
            raise DataError(f"{found}: {why}. Give more rows, or a {split} split.") from error
        splits[split] = train.select(np.sort(cut))
    if missing:
        splits["train"] = train.select(np.sort(kept))
        found = f"{title} has no {' and no '.join(missing)} split: {size} stratified rows each (seed {seed}) were cut"
        _warn(f"{found} from train, which keeps {len(kept)}. See audit() for rows on both sides.")
    return DatasetDict({split: splits[split] for split in SPLITS})


def _warn(message: str, stacklevel: int = 4) -> None:
    warnings.warn(message, DataWarning, stacklevel=stacklevel)

"""Any source of labelled texts in, a `DatasetDict` with text and label out; and frames."""

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
from emotion_tutorial.exceptions import DataError, DataWarning, NotFoundError, SettingsError
from emotion_tutorial.hub import HUB_DATASET, load_hub_dataset
from emotion_tutorial.reading import file_format, read_file, require_columns
from emotion_tutorial.texts import HALF_CHARACTER, shorten

SPLITS = {"train": ("train",), "validation": ("validation", "val", "valid", "dev"), "test": ("test",)}
"""The splits, and the names under which a source may have them."""
MAX_CLASSES = 1_000
"""If there are more distinct labels than this, each must have ten rows on average."""
LABEL_TYPES = (str, int, float, np.integer, np.floating, np.bool_, type(None))

Source: TypeAlias = str | Path | pd.DataFrame | Dataset | Mapping[str, pd.DataFrame | Dataset]


def load_splits(
    source: Source = "embedded",
    *,
    name: str | None = None,
    text_column: str = "text",
    label_column: str = "label",
    label_names: Sequence[str] | None = None,
    seed: int = 0,
    encoding: str = "utf-8",
) -> DatasetDict:
    """Load labelled texts.

    Parameters
    ----------
    source
        `embedded` (the bundled corpus), `hub` (`dair-ai/emotion`), the id of a Hub data set (`owner/name`); a file
        (for formats see `emotion_tutorial.reading.read_file`); a folder with `train`, `validation` (or `val`, `valid`,
        `dev`) and `test` files, or one written by `save_to_disk`; a pandas `DataFrame`, a `Dataset`, or a
        `DatasetDict` or dictionary of these by split.
    name
        The configuration of a Hub data set that has several.
    text_column, label_column
        Names of the columns to use. Labels are names or integers: 3, 3.0 and "3" are one label.
    label_names
        Names in id order. The labels in the data are these names, or ids into them. None: those that the data set
        brings, or else the labels found in the training rows, sorted; of integers, the integers as names.
    seed
        For the rows that are cut from the training rows if validation or test is missing.
    encoding
        Of text files.

    Returns
    -------
    DatasetDict
        Splits `train`, `validation` and `test` with features `text: string` and `label: ClassLabel`. A split that
        the source lacks is a stratified tenth of its training rows, and a `DataWarning` says so; the same goes for a
        test split whose labels are all hidden (missing, or -1). Texts are kept as they are, empty ones too (with a
        `DataWarning`). No row is left out.

    Raises
    ------
    NotFoundError, HubError
        If there is no such source, or the Hub does not answer.
    DataError, SettingsError
        If the source holds no texts with one label each, or too few to train and test a classifier.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"text": ["I won", "I lost"] * 20, "label": ["joy", "sadness"] * 20})
    >>> splits = load_splits({"train": frame, "validation": frame[:8], "test": frame[:8]})
    >>> splits["train"].features["label"].names
    ['joy', 'sadness']
    """
    if isinstance(source, str) and source == "embedded":
        text_column, label_column, label_names = "text", "label", EMOTIONS if label_names is None else label_names
    title = str(source) if isinstance(source, str | Path) else f"the {type(source).__name__}"
    names, frames = label_names, {}
    for split, part in _pick_splits(_open_source(source, name), title).items():
        where = f"{title}, split {split!r}"
        if isinstance(part, Path):
            part = read_file(part, text_column, label_column, encoding)
        frame = _check_rows(part, where, text_column, label_column)
        if isinstance(part, Dataset) and isinstance(part.features[label_column], ClassLabel):
            own_names = part.features[label_column].names
            names = own_names if names is None else names
            if label_names is None or set(label_names) & set(own_names):  # else the ids are into the given names
                frame["label"] = frame["label"].map(dict(enumerate(own_names)))
        frames[split] = frame.assign(label=_read_labels(frame["label"], where))
    names = _find_names(frames["train"]["label"], title) if names is None else _check_names(names)
    if len(names) < 2:
        found = ", ".join(map(shorten, names))
        raise DataError(
            f"{title} has {len(names)} class ({found}), not two or more. Check label_column=, label_names=."
        )
    if "test" in frames and set(frames["test"]["label"].dropna()) <= {"-1"} - set(names):
        _warn(f"{title}: the labels of the test split are hidden. It is set aside.", stacklevel=3)
        del frames["test"]
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    splits = {}
    for split in list(frames):
        frame = frames.pop(split)  # which frees its memory
        frame["label"] = _label_ids(frame["label"], names, f"{title}, split {split!r}")
        splits[split] = Dataset.from_pandas(frame, features=features, preserve_index=False)
    return _cut_missing(splits, title, seed)


def to_frame(dataset: Dataset) -> pd.DataFrame:
    """Return a split as a DataFrame with the columns `text`, `label` (an id) and `label_name`."""
    frame = dataset.select_columns(["text", "label"]).to_pandas()
    names = dataset.features["label"].names
    return frame.assign(label_name=[names[label] for label in frame["label"]])


def _open_source(source: Source, name: str | None) -> Any:
    """Return what a source is or holds: a frame, a data set, the path of a file, or several of these by name."""
    if not isinstance(source, str | Path):
        return source
    path = CORPUS_FOLDER if source == "embedded" else Path(source)
    if os.path.exists(path):  # noqa: PTH110 - Path.exists fails for names that no file may have
        if path.is_file():
            return path
        if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
            try:
                return load_from_disk(path)
            except ValueError as error:
                raise DataError(f"{path}: what save_to_disk wrote is damaged: {error}. Save it again.") from error
        return {file.name: file for file in sorted(path.iterdir()) if file.is_file() and file_format(file)}
    dataset_id = HUB_DATASET if source == "hub" else str(source)
    if isinstance(source, str) and re.fullmatch(r"[\w-]+/[\w.-]+", dataset_id) and not file_format(path):
        return load_hub_dataset(dataset_id, name)
    shown = str(source) if len(str(source)) < 300 else shorten(source)
    others = "a source may also be 'embedded', 'hub' or the id of a Hub data set (owner/name)"
    raise NotFoundError(f"There is no file or folder {shown}. Paths are relative to {Path.cwd()}; {others}.")


def _pick_splits(found: Any, title: str) -> dict[str, Any]:
    """Return the parts by split. A name counts up to its first dot."""
    if not isinstance(found, Mapping):
        return {"train": found}
    picked = {}
    for split, aliases in SPLITS.items():
        names = [name for name in found if str(name).partition(".")[0] in aliases]
        if len(names) > 1:
            raise DataError(f"{title} has {', '.join(names)} for the split {split!r}. Keep one.")
        if names:
            picked[split] = found[names[0]]
    if "train" not in picked:
        there = ", ".join(map(shorten, [*found][:10])) or "nothing that can be read"
        raise NotFoundError(f"{title} has no split 'train' (of a folder: no file such as train.csv). It has {there}.")
    return picked


def _check_rows(part: Any, where: str, text_column: str, label_column: str) -> pd.DataFrame:
    """Return the rows as `text` (strings) and `label` (as given), or say what is wrong with them, and in which row."""
    if not isinstance(part, pd.DataFrame | Dataset):
        raise SettingsError(f"{where}: expected a DataFrame, a Dataset, a path, or several by split; got {type(part)}.")
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
    except (TypeError, UnicodeEncodeError):
        row = int(np.argmax(texts.map(lambda text: not isinstance(text, str) or bool(HALF_CHARACTER.search(text)))))
        found = f"the text is {shorten(texts[row])}, of type {type(texts[row]).__name__}"
        raise DataError(f"{where}, row {row}: {found}. Texts are strings, without lone surrogates.") from None
    if (empty := np.flatnonzero(texts.str.strip() == "")).size:
        rows = ", ".join(map(str, empty[:5]))
        _warn(
            f"{where}: {empty.size} empty texts (rows {rows}). They are kept; filter them out if you do not want them."
        )
    return pd.DataFrame({"text": texts, "label": labels})


def _read_labels(labels: pd.Series, where: str) -> pd.Series:
    """Return labels as names: 3, 3.0 and "3" are one label; what is missing is None."""
    try:
        codes, values = pd.factorize(labels)
    except TypeError:  # of lists and the like: then each row is looked at
        codes, values = np.arange(len(labels)), pd.Index(labels)
    for code, label in enumerate(values):
        if not isinstance(label, LABEL_TYPES) or HALF_CHARACTER.search(str(label)):
            row = np.argmax(codes == code)
            raise DataError(f"{where}, row {row}: the label is {shorten(label)}, but a text has one label. Choose one.")
    return pd.Series(np.array([*map(_as_name, values), None], dtype=object)[codes], dtype=object)


def _as_name(label: Any) -> str | None:
    return re.sub(r"^(-?[0-9]+)\.0+$", r"\1", str(label).strip()) or None


def _check_names(names: Sequence[str]) -> list[str]:
    """Return label names, if they are names and differ."""
    known = set() if isinstance(names, str) else {_as_name(name) for name in names if isinstance(name, str)}
    if len(known - {None}) < len(names):
        raise DataError(f"label_names= is {shorten(list(names))}. Give a list of different names, none of them empty.")
    return list(names)


def _find_names(labels: pd.Series, title: str) -> list[str]:
    """Return the labels found, sorted, if they look like classes and not like ids or texts."""
    names = sorted(labels.dropna().unique())
    if len(names) > MAX_CLASSES and 10 * len(names) > len(labels):
        found = f"{len(names):,} distinct labels in {len(labels):,} rows, such as {shorten(names[0])}"
        raise DataError(f"{title} has {found}. Name the column of classes with label_column=, or give label_names=.")
    return sorted(names, key=int) if all(re.fullmatch(r"-?[0-9]{1,400}", name) for name in names) else names


def _label_ids(labels: pd.Series, names: Sequence[str], where: str) -> pd.Series:
    known: dict[Any, int] = {_as_name(name): i for i, name in enumerate(names)}
    if not any(re.fullmatch(r"-?[0-9]+", name) for name in names):
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
    size = max(round(len(train) / 10), len(names))
    kept = np.arange(len(train))
    for split in reversed(missing):  # test first: it stays the same when a validation file is added
        classes, counts = np.unique(labels[kept], return_counts=True)
        if counts.min() < 2 or len(kept) < size + len(classes):
            rarest = (
                f"the rarest class, {names[classes[counts.argmin()]]!r}, has {counts.min()}, and both sides need one"
            )
            found = f"rows for split {split!r} from the {len(kept)} training rows of {title}: {rarest}"
            raise DataError(f"Cannot cut {size} {found}. Give more rows, or a {split} split.")
        kept, cut = train_test_split(kept, test_size=size, stratify=labels[kept], random_state=seed)
        splits[split] = train.select(np.sort(cut))
    if missing:
        splits["train"] = train.select(np.sort(kept))
        cut_rows = f"{size} stratified rows each (seed {seed}) were cut from train, which keeps {len(kept)}"
        _warn(f"{title} has no {' and no '.join(missing)} split: {cut_rows}. See audit() for rows on both sides.")
    return DatasetDict({split: splits[split] for split in SPLITS})


def _warn(message: str, stacklevel: int = 4) -> None:
    warnings.warn(message, DataWarning, stacklevel=stacklevel)

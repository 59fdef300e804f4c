"""A source in, a `DatasetDict` with text and label out; frames."""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from emotion_tutorial.corpus import CORPUS_FOLDER, EMOTIONS
from emotion_tutorial.exceptions import (
    DataWarning,
    EmptySplitError,
    MalformedFileError,
    MissingColumnError,
    MissingFileError,
    TooFewClassesError,
    TooFewRowsError,
    UnknownLabelError,
    UnknownSourceError,
)
from emotion_tutorial.files import READERS, read_file
from emotion_tutorial.hub import HUB_DATASET, load_hub_dataset

SPLITS = {"train": ("train",), "validation": ("validation", "val", "valid", "dev"), "test": ("test",)}
"""The splits, and the names under which a folder or a Hub dataset may hold them."""
HELD_OUT_SHARE = 0.1
"""Of the training rows, how many are cut for a split that is missing."""


def load_splits(
    source: str | Path = "embedded",
    *,
    text_column: str = "text",
    label_column: str = "label",
    label_names: Sequence[str] | None = None,
    seed: int = 0,
) -> DatasetDict:
    """Load labelled texts.

    Parameters
    ----------
    source
        `embedded` (the corpus of this package), `hub` (`dair-ai/emotion`), the id of a Hub dataset
        (`owner/name`), a file, or a folder with `train`, `validation` (or `val`, `valid`, `dev`)
        and `test` files. For formats see `emotion_tutorial.files.read_file`.
    text_column, label_column
        Names of the columns to use. Labels are names or integers.
    label_names
        Names in id order. Labels in the data are these names, or ids into them. None: the labels
        found in the training rows, sorted; of integer labels, the integers as names.
    seed
        Of the rows that are cut from the training rows if validation or test is missing.

    Returns
    -------
    DatasetDict
        Splits `train`, `validation` and `test` with features `text: string` and
        `label: ClassLabel`. A split that the source lacks is a stratified tenth of its training
        rows, and a `DataWarning` says so. Texts are kept as they are, empty ones too (with a
        `DataWarning`): to a model they are a text without words.

    Raises
    ------
    UnknownSourceError, MissingFileError, MissingColumnError, MalformedFileError, NotUtf8Error
        If the source cannot be read.
    UnknownLabelError, EmptySplitError, TooFewClassesError, TooFewRowsError
        If what was read cannot train a classifier.
    HubUnavailableError
        If the Hub does not answer.
    """
    if source == "embedded":
        frames = _read_paths({split: CORPUS_FOLDER / f"{split}.parquet" for split in SPLITS})
        label_names = label_names or EMOTIONS
    elif (path := Path(source)).exists():
        paths = _find_files(path) if path.is_dir() else {"train": path}
        frames = _read_paths(paths, text_column, label_column)
    elif source == "hub" or _is_hub_id(source):
        found = load_hub_dataset(HUB_DATASET if source == "hub" else str(source))
        frames, hub_names = _hub_frames(found, str(source), text_column, label_column)
        label_names = label_names or hub_names
    elif isinstance(source, Path) or path.suffix or set(source) & set("/\\"):
        raise MissingFileError(f"There is no file or folder {source}. Check the path; it is relative to {Path.cwd()}.")
    else:
        raise UnknownSourceError(
            f"Unknown source {source!r}. Use 'embedded', 'hub', the id of a Hub dataset (owner/name), "
            "or the path of a file or folder."
        )
    for split, frame in frames.items():
        if frame.empty:
            raise EmptySplitError(f"Split {split!r} of {source} has no rows. Leave it out, or fill it.")
        _refuse_several_labels(frame)
    names = list(label_names) if label_names is not None else _find_label_names(frames["train"]["label"])
    if len(names) < 2:
        raise TooFewClassesError(
            f"{source} has {len(names)} class ({', '.join(names)}), and a classifier needs two or more. "
            "Check label_column= and label_names=."
        )
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    splits = DatasetDict()
    for split, frame in frames.items():
        texts = _clean_texts(frame, split)
        ids = _label_ids(frame, names, split)
        splits[split] = Dataset.from_dict({"text": texts, "label": ids}, features=features)
    return _complete(splits, source, seed)


def to_frame(dataset: Dataset) -> pd.DataFrame:
    """Return a split as a DataFrame `text, label, label_name`."""
    frame = dataset.select_columns(["text", "label"]).to_pandas()
    names = dataset.features["label"].names
    return frame.assign(label_name=[names[label] for label in frame["label"]])


def _is_hub_id(source: str | Path) -> bool:
    return (
        isinstance(source, str)
        and re.fullmatch(r"[\w-]+/[\w.-]+", source) is not None
        and Path(source).suffix.lower() not in READERS
    )


def _find_files(folder: Path) -> dict[str, Path]:
    paths: dict[str, Path] = {}
    for split, stems in SPLITS.items():
        candidates = [folder / (stem + suffix) for stem in stems for suffix in READERS]
        found = [path for path in candidates if path.is_file()]
        if len(found) > 1:
            raise MalformedFileError(
                f"{folder} has {len(found)} files for {split!r}: {', '.join(path.name for path in found)}. Keep one."
            )
        if found:
            paths[split] = found[0]
    if "train" not in paths:
        present = ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "nothing"
        raise MissingFileError(
            f"{folder} has no training file. Expected train with one of the suffixes {', '.join(READERS)}; "
            f"found {present}."
        )
    return paths


def _read_paths(paths: dict[str, Path], *columns: str) -> dict[str, pd.DataFrame]:
    frames = {}
    for split, path in paths.items():
        frame = read_file(path, *columns)
        frames[split] = frame.assign(where=[f"{path}, {where}" for where in frame["where"]])
    return frames


def _hub_frames(
    found: DatasetDict, source: str, text_column: str, label_column: str
) -> tuple[dict[str, pd.DataFrame], list[str] | None]:
    frames: dict[str, pd.DataFrame] = {}
    names: list[str] | None = None
    for split, aliases in SPLITS.items():
        for alias in aliases:
            if alias not in found or split in frames:
                continue
            dataset = found[alias]
            for column in (text_column, label_column):
                if column not in dataset.column_names:
                    raise MissingColumnError(
                        f"{source}, split {alias!r}: no column {column!r}. It has "
                        f"{', '.join(map(repr, dataset.column_names))}; name the right ones with text_column= "
                        "and label_column=."
                    )
            if isinstance(feature := dataset.features[label_column], ClassLabel):
                names = feature.names
            frame = dataset.select_columns([text_column, label_column]).to_pandas()
            frames[split] = pd.DataFrame(
                {
                    "text": frame[text_column],
                    "label": frame[label_column],
                    "where": [f"{source}, {alias} row {row}" for row in range(len(frame))],
                },
                dtype=object,
            )
    if "train" not in frames:
        raise MissingFileError(f"{source} has no split 'train', only {', '.join(map(repr, found))}.")
    return frames, names


def _refuse_several_labels(frame: pd.DataFrame) -> None:
    for where, label in zip(frame["where"], frame["label"], strict=True):
        if not pd.api.types.is_scalar(label):
            raise UnknownLabelError(
                f"{where}: the label is {label!r}, but a text has one label here. Choose one per text, or train one "
                "classifier for each label."
            )


def _as_name(label: object) -> str | None:
    """Return a label as text: 3, 3.0 and "3" are one label; None and NaN are none."""
    if label is None or (isinstance(label, float) and np.isnan(label)):
        return None
    if isinstance(label, float | np.floating) and float(label).is_integer():
        label = int(label)
    return str(label).strip() or None


def _find_label_names(labels: pd.Series) -> list[str]:
    names = {name for label in labels.unique() if (name := _as_name(label)) is not None}
    if all(re.fullmatch(r"-?\d+", name) for name in names):
        return sorted(names, key=int)
    return sorted(names)


def _label_ids(frame: pd.DataFrame, names: list[str], split: str) -> list[int]:
    ids = {name: i for i, name in enumerate(names)}
    if not any(re.fullmatch(r"-?\d+", name) for name in names):
        ids |= {str(i): i for i in range(len(names))}  # labels may be ids instead of names
    known = {label: ids.get(_as_name(label) or "") for label in frame["label"].unique() if label == label}
    result = [known.get(label) for label in frame["label"]]
    if None in result:
        row = result.index(None)
        label = frame["label"].iloc[row]
        found = "no label" if _as_name(label) is None else f"unknown label {label!r}"
        raise UnknownLabelError(
            f"{frame['where'].iloc[row]} (split {split!r}): {found}; {result.count(None)} such rows. Known labels: "
            f"{', '.join(names[:20])}{' ...' if len(names) > 20 else ''}. Correct the row, or give label_names=."
        )
    return [label for label in result if label is not None]


def _clean_texts(frame: pd.DataFrame, split: str) -> list[str]:
    texts = ["" if text is None or text != text else str(text) for text in frame["text"]]
    empty = [row for row, text in enumerate(texts) if not text.strip()]
    if empty:
        places = "; ".join(frame["where"].iloc[row] for row in empty[:5])
        warnings.warn(
            f"{len(empty)} empty texts in split {split!r} (rows {', '.join(map(str, empty[:5]))}: {places}). They "
            "are kept, as texts without words; filter them out if that is not what you want.",
            DataWarning,
            stacklevel=3,
        )
    return texts


def _complete(splits: DatasetDict, source: str | Path, seed: int) -> DatasetDict:
    """Cut missing splits from train, all of one size: the training rows of the source decide it."""
    missing = [split for split in SPLITS if split not in splits]
    classes = splits["train"].features["label"].num_classes
    size = max(round(HELD_OUT_SHARE * len(splits["train"])), classes)
    for split in reversed(missing):  # test first: it stays the same when a validation file is added
        try:
            parts = splits["train"].train_test_split(test_size=size, stratify_by_column="label", seed=seed)
        except ValueError as error:
            raise TooFewRowsError(
                f"Cannot cut {size} rows for split {split!r} from the {len(splits['train'])} training rows of "
                f"{source}: {error} Give a {split} file, or more rows of the rare classes."
            ) from error
        splits["train"], splits[split] = parts["train"], parts["test"]
    if missing:
        warnings.warn(
            f"{source} has no {' and no '.join(missing)} split: cut {size} stratified rows each (seed {seed}) from "
            f"train, which keeps {len(splits['train'])}. Rows that are alike may stand on both sides; see audit().",
            DataWarning,
            stacklevel=3,
        )
    return DatasetDict({split: splits[split] for split in SPLITS})

"""Find what a source of texts holds: frames, data sets or files, and which of them is which split."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import DatasetDict, load_from_disk
from pyarrow import ArrowException

from emotion_tutorial.corpus import CORPUS_FOLDER
from emotion_tutorial.exceptions import DataError, NotFoundError, SettingsError
from emotion_tutorial.hub import HUB_DATASET, load_hub_dataset
from emotion_tutorial.reading import file_format
from emotion_tutorial.texts import shorten

SPLITS = {"train": ("train",), "validation": ("validation", "val", "valid", "dev"), "test": ("test",)}
"""The splits, and the names under which a source may have them."""
PART_NUMBER = r"-(\d{5})-of-(\d{5}).*"
"""The end of a file's name on the Hub, where a split may come in several files."""


def open_source(source: Any, name: str | None = None, revision: str | None = None) -> Any:
    """Return what a source is or holds: a frame, a data set, the path of a file, or several of these by name."""
    if isinstance(source, str | Path):
        # Path.expanduser and Path.exists fail for names that no file may have
        path = CORPUS_FOLDER if source == "embedded" else Path(os.path.expanduser(source))  # noqa: PTH111
        exists = source not in ("", "hub") and os.path.exists(path)  # noqa: PTH110
        dataset_id = HUB_DATASET if source == "hub" else str(source)
        is_id = isinstance(source, str) and re.fullmatch(r"[\w-]+/[\w.-]+", dataset_id) and not file_format(path)
        if is_id and not exists:
            return load_hub_dataset(dataset_id, name, revision)
    if name is not None or revision is not None:
        raise SettingsError("name= and revision= are for data sets on the Hub. Leave them out for this source.")
    if not isinstance(source, str | Path):
        return source
    if not exists:
        shown = str(source) if len(str(source)) in range(1, 300) else shorten(source)
        others = "a source may also be 'embedded', 'hub' or the id of a Hub data set (owner/name)"
        raise NotFoundError(f"There is no file or folder {shown}. Paths are relative to {Path.cwd()}; {others}.")
    if not path.is_dir():
        return path
    if (path / "dataset_dict.json").is_file() or all((path / f"{n}.json").is_file() for n in ("state", "dataset_info")):
        try:
            saved = load_from_disk(path)
            for part in saved.values() if isinstance(saved, DatasetDict) else [saved]:
                part.data.validate(full=True)  # texts that are not UTF-8
            return saved
        except (ArrowException, AttributeError, OSError, KeyError, TypeError, ValueError) as error:
            if getattr(error, "errno", None) and not isinstance(error, FileNotFoundError):
                raise
            said = f"{type(error).__name__}: {error}"
            raise DataError(f"{path}: what save_to_disk wrote is damaged ({said}). Save it again.") from error
    places = [sorted(path.iterdir()), sorted(path.glob("data/*"))]
    top, data = ({file.name: file for file in place if file.is_file() and file_format(file)} for place in places)
    return data if "train" in {*map(_split_name, data)} - {*map(_split_name, top)} else top


def _split_name(name: Any) -> str:
    """Return what a name says about the split: up to the first dot, or to the number of one of several parts."""
    return re.sub(PART_NUMBER, "", str(name).partition(".")[0]).lower()


def pick_splits(found: Any, title: str) -> dict[str, list[Any]]:
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
            picked[split] = [open_source(found[name]) for name in names]
    if "train" not in picked:
        there = ", ".join(map(shorten, [*found][:10])) or "nothing that can be read"
        raise NotFoundError(f"{title} has no split 'train' (of a folder: no file such as train.csv). It has {there}.")
    return picked

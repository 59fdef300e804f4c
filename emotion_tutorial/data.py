"""A source in, a `DatasetDict` with text and label out; frames."""

import itertools
import os
import re
import tempfile
import uuid
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from datasets import ClassLabel, Dataset, DatasetDict
from datasets.utils.stratify import stratified_shuffle_split_generate_indices
from tqdm.auto import tqdm

from emotion_tutorial.corpus import CORPUS_FOLDER, EMOTIONS
from emotion_tutorial.exceptions import (
    EmptySplitError,
    LabelNamesError,
    MalformedFileError,
    MissingFileError,
    SeveralLabelsError,
    TooFewClassesError,
    TooFewRowsError,
    TooManyClassesError,
    UnknownLabelError,
    UnknownSourceError,
)
from emotion_tutorial.files import (
    BATCH_ROWS,
    READERS,
    Source,
    batch_rows,
    in_batches,
    open_file,
    require_columns,
    shorten,
    warn,
)
from emotion_tutorial.hub import HUB_DATASET, load_hub_dataset

SPLITS = {"train": ("train",), "validation": ("validation", "val", "valid", "dev"), "test": ("test",)}
"""The splits, and the names under which a folder or a Hub dataset may hold them."""
HELD_OUT_SHARE = 0.1
"""Of the training rows, how many are cut for a split that is missing."""
MAX_CLASSES = 1_000
"""Of more distinct labels than this, each has to have ten rows on average."""
MAX_NAMES = 100_000
"""Of more distinct labels than this, reading stops: they are in memory."""
ONE_LABEL = "Choose one per text, or train one classifier for each label."
TEXTS_SCHEMA = pa.schema({"text": pa.string()})


def load_splits(
    source: str | Path = "embedded",
    *,
    text_column: str = "text",
    label_column: str = "label",
    label_names: Sequence[str] | None = None,
    seed: int = 0,
    encoding: str = "utf-8",
) -> DatasetDict:
    """Load labelled texts.

    Texts are on disk, in a temporary folder (`TMPDIR` says where) that lasts as long as the process,
    and mapped into memory: a million rows need little more memory than a thousand.

    Parameters
    ----------
    source
        `embedded` (the corpus of this package), `hub` (`dair-ai/emotion`), the id of a Hub dataset
        (`owner/name`), a file, or a folder with `train`, `validation` (or `val`, `valid`, `dev`)
        and `test` files. For formats see `emotion_tutorial.files.read_file`.
    text_column, label_column
        Names of the columns to use. Labels are names or integers: 3, 3.0 and "3" are one label.
    label_names
        Names in id order. Labels in the data are these names, or ids into them. None: the labels
        found in the training rows, sorted; of integer labels, the integers as names.
    seed
        Of the rows that are cut from the training rows if validation or test is missing.
    encoding
        Of text files.

    Returns
    -------
    DatasetDict
        Splits `train`, `validation` and `test` with features `text: string` and
        `label: ClassLabel`. A split that the source lacks is a stratified tenth of its training
        rows, and a `DataWarning` says so. Texts are kept as they are, empty ones too (with a
        `DataWarning`): to a model they are a text without words.

    Raises
    ------
    UnknownSourceError, HubUnavailableError
        If there is no such source, or the Hub does not answer.
    TutorialError
        One of those of `read_file`, if a file cannot be read.
    UnknownLabelError, SeveralLabelsError, TooManyClassesError, LabelNamesError
        If the labels, or the names for them, are not of a fixed set with one label a text.
    EmptySplitError, TooFewClassesError, TooFewRowsError
        If what was read cannot train a classifier.
    """
    names = None if label_names is None else _check_names(label_names)
    if source == "embedded":
        sources = {split: open_file(CORPUS_FOLDER / f"{split}.parquet") for split in SPLITS}
        names = names or list(EMOTIONS)
    elif os.path.exists(source):  # noqa: PTH110 - Path.exists fails for names that no file may have
        path = Path(source)
        paths = _find_files(path) if path.is_dir() else {"train": path}
        sources = {split: open_file(one, text_column, label_column, encoding) for split, one in paths.items()}
    elif source == "hub" or _is_hub_id(source):
        found = load_hub_dataset(HUB_DATASET if source == "hub" else str(source))
        sources, hub_names = _hub_sources(found, str(source), text_column, label_column, names)
        names = names or hub_names
    elif isinstance(source, Path) or Path(source).suffix or set(source) & set("/\\"):
        raise MissingFileError(f"There is no file or folder {source}. Check the path; it is relative to {Path.cwd()}.")
    else:
        raise UnknownSourceError(
            f"Unknown source {shorten(source)}. Use 'embedded', 'hub', the id of a Hub dataset (owner/name), "
            "or the path of a file or folder."
        )
    with ExitStack() as undo:
        splits = _build(sources, names, str(source), seed, undo)
        undo.pop_all()
    return splits


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
        found = [path for path in candidates if path.exists()]
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


def _hub_sources(
    found: DatasetDict, source: str, text_column: str, label_column: str, given: list[str] | None
) -> tuple[dict[str, Source], list[str] | None]:
    sources: dict[str, Source] = {}
    names: list[str] | None = None
    for split, aliases in SPLITS.items():
        alias = next((alias for alias in aliases if alias in found), None)
        if alias is None:
            continue
        dataset = found[alias]
        require_columns(f"{source}, split {alias!r}", dataset.column_names, text_column, label_column)
        batches = dataset.with_format("arrow").iter(BATCH_ROWS)
        own_names = getattr(dataset.features[label_column], "names", None)  # of a ClassLabel
        names = names or (own_names and _check_names(own_names))
        by_name = own_names and (given is None or set(given) == set(own_names))  # else the ids are into the given names
        rows = batch_rows(batches, text_column, label_column, own_names if by_name else None)
        sources[split] = Source(f"{source}, {alias}", "row", rows)
    if "train" not in sources:
        raise MissingFileError(f"{source} has no split 'train', only {', '.join(map(repr, found))}.")
    return sources, names


def _build(sources: dict[str, Source], names: list[str] | None, source: str, seed: int, undo: ExitStack) -> DatasetDict:
    parts = {}
    for split, rows in sources.items():
        parts[split] = _store(rows, split, undo)
        if not len(parts[split].codes):
            raise EmptySplitError(f"Split {split!r} of {source} has no rows. Leave it out, or fill it.")
    names = _find_names(parts["train"]) if names is None else names
    if len(names) < 2:
        raise TooFewClassesError(
            f"{source} has {len(names)} class ({_list(names)}), and a classifier needs two or more. "
            "Check label_column= and label_names=."
        )
    splits, labels = DatasetDict(), {}
    for split, part in parts.items():
        ids = labels[split] = _label_ids(part, names, split)
        _warn_of_empty_texts(part, split)
        splits[split] = Dataset.from_file(str(part.file)).add_column("label", ids, feature=ClassLabel(names=names))
    return _complete(splits, labels["train"], source, seed)


@dataclass
class _Part:
    """A split as read: the texts in a file, the labels as positions in `names`, -1 for none."""

    source: Source
    file: Path
    names: list[str]
    codes: npt.NDArray[np.integer]
    places: npt.NDArray[np.integer]
    empty: npt.NDArray[np.integer]

    def where(self, row: int) -> str:
        return self.source.where(self.places[row])


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    """Return a folder that lasts as long as the process: texts are mapped into memory from there."""
    return tempfile.TemporaryDirectory(prefix="texts-", ignore_cleanup_errors=True)


def _store(source: Source, split: str, undo: ExitStack) -> _Part:
    """Read all rows, and write their texts to a file."""
    codes: dict[str, int] = {}
    labels, places, empty = columns = array("q"), array("q"), array("q")
    file = Path(_scratch().name) / f"{split}-{uuid.uuid4().hex}.arrow"
    undo.callback(_delete, file)
    with (
        tqdm(desc=f"read {split}", unit=" rows", delay=2) as progress,
        pa.OSFile(str(file), "wb") as sink,
        pa.ipc.new_stream(sink, TEXTS_SCHEMA) as writer,
    ):
        for batch in in_batches(source):
            texts = [text or "" for text, _, _ in batch]
            writer.write_batch(pa.record_batch([pa.array(texts, pa.string())], schema=TEXTS_SCHEMA))
            empty.extend(row for row, text in enumerate(texts, len(places)) if not text.strip())
            labels.extend(_find_code(label, codes, source, place) for _, label, place in batch)
            places.extend(place for _, _, place in batch)
            progress.update(len(batch))
    return _Part(source, file, list(codes), *(np.asarray(column) for column in columns))


def _delete(file: Path) -> None:
    with suppress(OSError):  # on Windows, while it is mapped; the folder goes with the process
        file.unlink()


def _find_code(label: Any, codes: dict[str, int], source: Source, place: int) -> int:
    """Return the code of a label: a new one for a label that is not in `codes` yet, -1 for none."""
    try:
        name = _as_name(label)
    except TypeError as error:
        kind = SeveralLabelsError if isinstance(label, list | dict) else UnknownLabelError
        raise kind(
            f"{source.where(place)}: the label is {shorten(label)}, but a text has one label here, a name or an "
            f"integer. {ONE_LABEL}"
        ) from error
    if name is None:
        return -1
    if name not in codes:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise MalformedFileError(
                f"{source.where(place)}: the label {shorten(name)} has half a character, a lone surrogate."
            ) from error
        codes[name] = len(codes)
        if len(codes) > MAX_NAMES:
            raise _too_many(source, codes, f"up to {source.unit} {place}")
    return codes[name]


@lru_cache(maxsize=4096, typed=True)
def _as_name(label: Any) -> str | None:
    """Return a label as text: 3, 3.0, "3" and "3.0" are one label; None, NaN and white space are none."""
    if label is None or label != label:
        return None
    if not isinstance(label, str | int | float):
        raise TypeError
    name = str(int(label)) if isinstance(label, float) and label.is_integer() else str(label).strip()
    return re.sub(r"^(-?[0-9]+)\.0+$", r"\1", name) or None


def _is_integer(name: str) -> bool:
    return re.fullmatch(r"-?[0-9]{1,400}", name) is not None  # of many more, int() refuses


def _check_names(names: Sequence[str]) -> list[str]:
    """Return the given label names, if they are names, and distinct as `_as_name` sees them."""
    if isinstance(names, str) or not all(isinstance(name, str) and name.strip() for name in names):
        raise LabelNamesError(f"label_names= is {names!r}. Give a list of names, of which none is empty.")
    counts = Counter(_as_name(name) for name in names)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise LabelNamesError(f"label_names= has {', '.join(map(repr, twice))} more than once. Give each name once.")
    return list(names)


def _find_names(part: _Part) -> list[str]:
    """Return the labels found, sorted, if they look like classes: not as many as ids or texts, no combinations."""
    if len(part.names) > MAX_CLASSES and 10 * len(part.names) > len(part.codes):
        raise _too_many(part.source, part.names, f"in {len(part.codes):,} rows")
    known = set(part.names)
    for code, name in enumerate(part.names):
        pieces = re.split(r"\s*[,|;/]\s*", name)
        if len(pieces) > 1 and known.issuperset(pieces):
            raise SeveralLabelsError(
                f"{part.where(int(np.argmax(part.codes == code)))}: the label {shorten(name)} is made of others, "
                f"and a text has one label here. {ONE_LABEL} If it is a class of its own, give label_names=."
            )
    names = sorted(part.names)
    return sorted(names, key=int) if all(map(_is_integer, names)) else names


def _too_many(source: Source, names: Iterable[str], where: str) -> TooManyClassesError:
    some = ", ".join(map(shorten, itertools.islice(names, 3)))
    return TooManyClassesError(
        f"{source.name}: {len(list(names)):,} distinct labels {where}, such as {some}. Is that an id, or a text? Name "
        "the column of classes with label_column=; if these are classes, give label_names=."
    )


def _list(names: list[str]) -> str:
    shown = [name if len(name) <= 60 and name.isprintable() else shorten(name) for name in names[:20]]
    return ", ".join(shown + ["..."] * (len(names) > 20))


def _label_ids(part: _Part, names: list[str], split: str) -> npt.NDArray[np.integer]:
    known = {_as_name(name): i for i, name in enumerate(names)}
    if not any(_is_integer(name) for name in names):
        known |= {str(i): i for i in range(len(names))}  # labels may be ids instead of names
    ids = np.array([*(known.get(name, -1) for name in part.names), -1])[part.codes]
    if (bad := np.flatnonzero(ids < 0)).size:
        code = part.codes[bad[0]]
        found = "no label" if code < 0 else f"unknown label {shorten(part.names[code])}"
        raise UnknownLabelError(
            f"{part.where(bad[0])} (split {split!r}): {found}; {bad.size} such rows. Known labels: "
            f"{_list(names)}. Correct the row, or give label_names=."
        )
    return ids


def _warn_of_empty_texts(part: _Part, split: str) -> None:
    if part.empty.size:
        rows = part.empty[:5].tolist()
        warn(
            f"{part.empty.size} empty texts in split {split!r} (rows {', '.join(map(str, rows))}: "
            f"{'; '.join(map(part.where, rows))}). They are kept, as texts without words; filter them out if that is "
            "not what you want."
        )


def _complete(splits: DatasetDict, labels: npt.NDArray[np.integer], source: str, seed: int) -> DatasetDict:
    """Cut missing splits from train, all of one size: the training rows of the source decide it."""
    missing = [split for split in SPLITS if split not in splits]
    train = splits["train"]
    names = train.features["label"].names
    size = max(round(HELD_OUT_SHARE * len(train)), len(names))
    kept = np.arange(len(train))
    for split in reversed(missing):  # test first: it stays the same when a validation file is added
        classes, counts = np.unique(labels[kept], return_counts=True)
        rarest, rows = classes[counts.argmin()], counts.min()
        if rows < 2 or len(kept) < size + len(classes):
            raise TooFewRowsError(
                f"Cannot cut {size} rows for split {split!r} from the {len(kept)} training rows of {source}: of class "
                f"{names[rarest]!r} there {'is' if rows == 1 else 'are'} {rows}, and each class has to stand on both "
                f"sides. Give a {split} file, or more rows of the rare classes."
            )
        # What Dataset.train_test_split calls, which would take the labels one by one.
        rng = np.random.default_rng(seed)
        parts = stratified_shuffle_split_generate_indices(labels[kept], len(kept) - size, size, rng)
        staying, leaving = next(parts)
        kept, splits[split] = kept[staying], train.select(kept[leaving])
    if missing:
        splits["train"] = train.select(kept)
        warn(
            f"{source} has no {' and no '.join(missing)} split: cut {size} stratified rows each (seed {seed}) from "
            f"train, which keeps {len(kept)}. Rows that are alike may stand on both sides; see audit()."
        )
    return DatasetDict({split: splits[split] for split in SPLITS})

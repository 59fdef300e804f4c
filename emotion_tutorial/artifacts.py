"""Where to keep what is expensive, so that no notebook computes it twice."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from datasets import DatasetDict

from emotion_tutorial.exceptions import CheckpointError


def artifacts_root() -> Path:
    """Return `EMOTION_TUTORIAL_ARTIFACTS`, or `artifacts` in the working folder."""
    return Path(os.environ.get("EMOTION_TUTORIAL_ARTIFACTS") or "artifacts")


def artifact_folder(kind: str, **shaped_by: object) -> Path:
    """Return the folder of an artifact: its kind, and a digest of everything that shaped it.

    Parameters
    ----------
    kind
        Such as `hidden-states` or `fine-tuned`.
    **shaped_by
        What a change of should make another artifact: a `DatasetDict` counts by its texts and
        labels, everything else by its JSON or text.
    """
    parts = {name: digest(value) if isinstance(value, DatasetDict) else value for name, value in shaped_by.items()}
    key = json.dumps(parts, sort_keys=True, default=str).encode()
    return artifacts_root() / f"{kind}-{hashlib.sha256(key).hexdigest()[:12]}"


def digest(splits: DatasetDict) -> str:
    """Return a digest of the texts, labels and label names of all splits."""
    sha = hashlib.sha256()
    for split, dataset in splits.items():
        frame = dataset.select_columns(["text", "label"]).to_pandas()
        sha.update(json.dumps([split, dataset.features["label"].names]).encode())
        sha.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return sha.hexdigest()


@contextmanager
def whole_folder(folder: Path, marker: str) -> Iterator[Path]:
    """Give an empty folder to write into, and put it in its place at the end: there it is whole or not at all.

    Parameters
    ----------
    folder
        Its place. What is there is replaced if it has the file `marker`, or is an empty folder.
    marker
        The file by which a folder of this kind is known, such as `config.json`.

    Raises
    ------
    CheckpointError
        If something else is there: it is left as it is.
    """
    if folder.exists() and not (folder / marker).is_file() and (folder.is_file() or any(folder.iterdir())):
        raise CheckpointError(f"{folder} is there and has no {marker}. Choose another folder, or empty this one.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{folder.name}.", dir=folder.parent) as beside:
        made = Path(beside) / "new"
        made.mkdir()
        yield made
        if folder.exists():
            folder.rename(Path(beside) / "old")
        made.rename(folder)

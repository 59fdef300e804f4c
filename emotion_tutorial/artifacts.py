"""Keep what is expensive in a folder of its own, so that no notebook computes it twice."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from datasets import DatasetDict
from filelock import FileLock


def artifacts_root() -> Path:
    """Return `EMOTION_TUTORIAL_ARTIFACTS`, or `artifacts` in the working folder."""
    return Path(os.environ.get("EMOTION_TUTORIAL_ARTIFACTS") or "artifacts")


def artifact_folder(kind: str, **shaped_by: object) -> Path:
    """Return the folder of an artifact: its kind, and a digest of everything that shaped it.

    Parameters
    ----------
    kind
        Such as `features` or `fine-tuned`.
    **shaped_by
        What a change of should make another artifact: a `DatasetDict` counts by its texts and
        labels, everything else by its JSON or text.
    """
    parts = {name: digest(value) if isinstance(value, DatasetDict) else value for name, value in shaped_by.items()}
    key = json.dumps(parts, sort_keys=True, default=str).encode()
    return artifacts_root() / f"{kind}-{hashlib.sha256(key).hexdigest()[:12]}"


def build_once(folder: Path, build: Callable[[Path], object]) -> Path:
    """Return the folder; if it is not there, let `build` fill one and rename it to `folder`.

    A lock beside the folder lets one process build while others wait. The folder exists only
    when it is complete.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            unfinished = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
            try:
                build(unfinished)
                unfinished.rename(folder)
            except BaseException:
                shutil.rmtree(unfinished, ignore_errors=True)
                raise
    return folder


def digest(splits: DatasetDict) -> str:
    """Return a digest of the texts, labels and label names of all splits."""
    sha = hashlib.sha256()
    for split, dataset in splits.items():
        frame = dataset.select_columns(["text", "label"]).to_pandas()
        sha.update(json.dumps([split, dataset.features["label"].names]).encode())
        sha.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return sha.hexdigest()

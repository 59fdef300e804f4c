"""Where to keep what is expensive, so that no notebook computes it twice."""

import hashlib
import json
import os
from pathlib import Path

import pandas as pd
from datasets import DatasetDict


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

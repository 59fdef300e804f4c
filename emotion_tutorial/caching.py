"""Where slow results are cached, under names that cover everything that shaped them."""

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from datasets import Dataset

from emotion_tutorial.exceptions import DataWarning
from emotion_tutorial.replacing import replaced_whole


def artifacts_folder() -> Path:
    """Return the folder for trained models and cached results: `EMOTION_TUTORIAL_ARTIFACTS`, or `artifacts`."""
    return Path(os.environ.get("EMOTION_TUTORIAL_ARTIFACTS") or "artifacts")


def digest(*things: Any) -> str:
    """Return 16 hexadecimal digits that differ whenever the things differ in content.

    Parameters
    ----------
    *things
        `Dataset`, models (by their configuration and weights), paths of folders (by their files, not those of
        subfolders), and whatever JSON can express: of splits, give each; of arrays, their `tolist()`.

    Raises
    ------
    TypeError
        If something is of another type: its name alone would not tell what it holds.
    """
    sha = hashlib.sha256()
    for thing in things:
        for piece in _pieces(thing):
            sha.update(len(piece).to_bytes(8, "big"))
            sha.update(piece)
    return sha.hexdigest()[:16]


def _pieces(thing: Any) -> Iterator[bytes]:
    yield type(thing).__name__.encode()
    if isinstance(thing, Dataset):
        yield repr(thing.features).encode()
        for batch in thing.with_format(None).iter(10_000):
            yield json.dumps(batch, default=str).encode()
    elif isinstance(thing, torch.nn.Module):
        yield str(getattr(thing, "config", "")).encode()
        for name, weight in thing.state_dict().items():
            yield f"{name} {weight.dtype} {tuple(weight.shape)}".encode()
            yield weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(thing, Path):
        for path in sorted(path for path in thing.iterdir() if path.is_file()):
            yield path.name.encode()
            with path.open("rb") as file:
                yield hashlib.file_digest(file, "sha256").digest()
    else:
        yield json.dumps(thing, sort_keys=True).encode()


def cached_array(kind: str, key: str, compute: Callable[[], npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Return an array from the artifacts folder, or compute it and keep it there.

    Parameters
    ----------
    kind, key
        Make the name of the file. The key is a `digest` of everything that shapes the array.
    compute
        Called if there is no such file, or it cannot be read.
    """
    path = artifacts_folder() / f"{kind}-{key}.npy"
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):  # not there, or damaged
        array = compute()
    try:
        with replaced_whole(path.parent) as new:
            np.save(new / path.name, array, allow_pickle=False)
    except OSError as error:  # such as a full disk: what was computed is worth more than its copy
        warnings.warn(f"The result could not be cached, and will be computed again: {error}", DataWarning, stacklevel=2)
    return array
